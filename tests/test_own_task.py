"""A task of one's own, as docs/own-task.md declares it: the page's own code on small files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import REPOSITORY
from program import Call, refused
from test_tasks_command import TINY

PAGE = (REPOSITORY / "docs" / "own-task.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
DECLARATIONS = {name[1]: block for block in BLOCKS if (name := re.search(r'\n        name="(.+)",\n', block))}
MAX_LINES = 15

ROWS = {
    "my-nli/train.jsonl": "".join(
        json.dumps({"premise": "It rains.", "hypothesis": "It is wet.", "label": label}) + "\n"
        for label in ("entailment", "neutral", "contradiction")
    ),
    "my-nli/dev.jsonl": '{"premise": "a", "hypothesis": "b", "label": "neutral"}\n',
    "my-claims/test-de.tsv": 'Es "regnet.\tEs regnet.\t1\nEs regnet.\tEs schneit.\t0\n',
    "my-claims/test-sw.tsv": "Mvua inanyesha.\tKuna mvua.\t1\n",
    "my-ner/train-en.conll": "Anna\tB-PER\nsings\tO\n\nIn\tO\nNew\tB-LOC\nYork\tI-LOC\n\nYes\tO\n",
    "my-ner/test-en.conll": "Paul\tB-PER\n\nNo\tO\n",
    "my-ner/test-de.conll": "Paul\tB-PER\nsingt\tO\n\nNein\tO\n",
    "my-questions/train.json": json.dumps(
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "Anna sings in Rome.",
                            "qas": [
                                {"id": "1", "question": "Who?", "answers": [{"text": "Anna", "answer_start": 0}]},
                                {"id": "2", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 14}]},
                            ],
                        }
                    ]
                }
            ]
        }
    ),
}
ROWS["my-questions/dev.json"] = ROWS["my-questions/train.json"].replace("Anna", "Paul")
PLANNED_ONLY = ("pawsx/train-en.tsv", "pawsx/dev-en.tsv", "mnli/train.jsonl", "mnli/dev.jsonl")


@pytest.fixture
def mine(call: Call) -> Call:
    """The page's study in ``mine.py`` and its rows in ``DIR``."""
    Path("mine.py").write_text("\n".join([*DECLARATIONS.values(), *(b for b in BLOCKS if "register(" not in b)]))
    for name, text in (ROWS | dict.fromkeys(PLANNED_ONLY, "not read by a plan")).items():
        (Path("DIR") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("DIR") / name).write_text(text)
    return call


def test_the_page_declares_a_task_of_every_format_in_few_lines() -> None:
    readers = [re.search(r"readers\.(\w+),", block)[1] for block in DECLARATIONS.values()]  # type: ignore[index]
    assert readers == ["jsonl", "tsv", "conll", "squad"]
    for name, block in DECLARATIONS.items():
        assert len([line for line in block.splitlines() if line.strip()]) <= MAX_LINES, name
    (readme,) = re.findall(r"^from xstilts.tasks import .*?^\)\n", (REPOSITORY / "README.md").read_text(), re.M | re.S)
    assert len([line for line in readme.splitlines() if line.strip()]) <= MAX_LINES


@pytest.mark.parametrize(
    ("name", "count", "first", "target"),
    [
        ("my-nli", 3, {"first": "It rains.", "second": "It is wet.", "label": "entailment"}, "entailment"),
        ("my-claims", 2, {"first": 'Es "regnet.', "second": "Es regnet.", "label": "paraphrase"}, "paraphrase"),
        ("my-ner", 3, {"words": ["Anna", "sings"], "tags": ["B-PER", "O"]}, ["B-PER", "O"]),
        (
            "my-questions",
            2,
            {"context": "Anna sings in Rome.", "question": "Who?", "answers": [["Anna", 0]], "id": "1"},
            "Anna",
        ),
    ],
)
def test_what_the_page_declares_is_read_and_shown(
    name: str, count: int, first: dict[str, object], target: object, mine: Call, cache_dir: Path
) -> None:
    words = ("tasks", "show", f"mine.py:{name}", "--data", "DIR", *TINY, "--cache", str(cache_dir), "--json")
    document = json.loads(mine(*words).out)
    assert document["num_examples"] == count
    assert document["examples"][0]["fields"] == first
    assert document["examples"][0]["target"] == target
    assert document["licence"] == "not stated"


def test_the_commands_of_the_page_are_understood(mine: Call, cache_dir: Path) -> None:
    (script,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    commands = [line.partition("#")[0].split()[1:] for line in script.splitlines()]
    assert [words[0] for words in commands] == ["tasks", "plan", "run"]
    show, plan, run = commands
    assert "3 rows of train in 'en' read and checked" in mine(*show, *TINY, "--cache", str(cache_dir)).out
    assert mine(*plan).out.startswith("mine: 6 stages for 3 leaves\n")
    assert run[1:] == plan[1:]
    words = ("plan", "mine.py:with_mine", "--data", "DIR", "--cache", str(cache_dir))
    assert re.match(r"with_mine: 15 stages for 8 leaves\n", mine(*words).out)  # 4 subsets in 2 languages


@pytest.mark.parametrize(
    ("file", "old", "new", "task", "message"),
    [
        ("my-nli/train.jsonl", '"neutral"', '"maybe"', "my-nli", None),
        ("my-nli/train.jsonl", '"label": "neutral"}', '"label": ', "my-nli", "train.jsonl:2: expected one JSON object"),
        ("my-nli/train.jsonl", "premise", "text", "my-nli", "train.jsonl:1: expected the columns premise, hypothesis"),
        ("my-claims/test-de.tsv", "\t0", "\t2", "my-claims", "test-de.tsv:2: expected a label from 0 to 1, got '2'"),
        ("my-claims/test-de.tsv", "\t0", "", "my-claims", "test-de.tsv:2: expected 3 columns separated by tabs"),
        ("my-ner/train-en.conll", "I-LOC", "LOC", "my-ner", "train-en.conll:4: expected a label among O, B-PER"),
        ("my-ner/train-en.conll", "\tI-LOC", "", "my-ner", "train-en.conll:6: expected 2 columns separated by tabs"),
        (
            "my-ner/train-en.conll",
            "\n\nYes",
            "\nYes",
            "my-ner",
            "expected 3 rows, got 2 from DIR/my-ner/train-en.conll",
        ),
        (
            "my-questions/train.json",
            ": 14",
            ": 15",
            "my-questions",
            "train.json:data[0].paragraphs[0].qas[1]: expected",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_an_error_with_its_place(
    file: str, old: str, new: str, task: str, message: str | None, mine: Call
) -> None:
    path = Path("DIR") / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    ended = mine("tasks", "show", f"mine.py:{task}", "--data", "DIR")
    refused(ended, message or "")
    if message is None:
        assert f"```\n{ended.err}```\n" in PAGE


def test_a_task_of_a_study_file_has_near_names(mine: Call) -> None:
    refused(mine("tasks", "show", "mine.py:my-nly"), "unknown task 'my-nly'", "did you mean 'my-nli'")
    refused(mine("tasks", "show", "nowhere.py:my-nli"), "nowhere.py: expected a Python file")
    refused(mine("fetch", "mine.py:my-nli"), "task 'my-nli' cannot be fetched: give the folder of its release files")
