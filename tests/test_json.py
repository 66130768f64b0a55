"""Every command answers with one JSON document, and every one that lists does so on a store without results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY
from program import Call
from test_cli import COMMAND, commands
from xstilts.store import Store

LISTINGS = {
    "studies": ("studies", "demo", "scaling"),
    "studies scaling": ("parameters", "seeds", "k"),
    "tasks": ("tasks", "mini-nli", "xnli"),
    "plan scaling k=0 targets=mini-bitext languages=de": ("stages", None),
    "status": ("studies", "mine"),
    "status mine --verify": ("studies", "mine"),
}


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_the_option_and_its_keys_on_the_page(words: tuple[str, ...]) -> None:
    command: Any = COMMAND
    for word in words:
        command = command.commands[word]
    offered = [name for parameter in command.params for name in parameter.opts]
    assert ("--json" in offered) == (words != ("serve",))
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    assert (f"\n| `{' '.join(words)}` |" in page[page.index("## JSON documents") :]) == ("--json" in offered)


@pytest.mark.parametrize("words", list(LISTINGS))
def test_what_lists_is_one_sorted_document(words: str, call: Call) -> None:
    store = Store.open(Path("store"))
    store.write_plan("mine", {"study": "mine", "parameters": {}, "stages": {}, "leaves": []})
    key, *names = LISTINGS[words]
    ended = call(*words.split(), "--json")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n" == ended.out
    assert document[str(key)]
    assert {name for name in names if name} <= {one.get("name") for one in document[str(key)]}
    quiet = call(*words.split())
    assert quiet.out != ended.out
    with pytest.raises(ValueError, match=r"Expecting|Extra data"):
        json.loads(quiet.out)
