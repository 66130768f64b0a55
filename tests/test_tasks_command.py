"""Tasks as a person finds them: the list, what one is, and its examples as a model sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import REPOSITORY
from program import Call, refused
from small import byte_tokenizer, small_folders, some
from xstilts import tasks
from xstilts.engine.folders import load_tokenizer
from xstilts.engine.kinds import KINDS
from xstilts.engine.show import show
from xstilts.tasks import Entry, Hub, Mine, Miniature, Pair, Passage, Search, Span, Task, Tokens
from xstilts.tasks_command import _chosen, _facts, _way

pytestmark = pytest.mark.usefixtures("hub_cache")

TINY = ("--encoder", "tiny")


@pytest.fixture(scope="module")
def folders(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_folders(cache_dir, tmp_path_factory.mktemp("characters"))


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# -- the list -----------------------------------------------------------------------------------------------


def test_every_task_is_listed_with_its_rows_and_what_is_here(call: Call, tmp_path: Path) -> None:
    def listed(*words: str) -> dict[str, list[str]]:
        heading, *lines = call("tasks", *words).out.splitlines()
        assert heading.split() == ["name", "kind", "languages", "train", "dev", "test", "from", "here", "licence"]
        return {line.split()[0]: re.split(" {2,}", line) for line in lines}

    found = listed()
    assert list(found) == list(tasks.names())
    assert found["xnli"][1:] == ["classify", "15", "-", "37,350", "75,150", "files, hub", "no", "CC BY-NC 4.0"]
    assert found["udpos"][5] == "?"
    assert found["anli+"][6:8] == ["members", "no"]
    assert found["mini-bitext"][6:8] == ["miniature", "yes"]
    put(tmp_path, "data/mnli/sample_train.jsonl", "{}\n")
    assert listed("--data", str(tmp_path / "data"))["mnli@sample"][7] == "part"
    put(tmp_path, "data/mnli/sample_dev.jsonl.gz", "{}\n")
    assert listed("--data", str(tmp_path / "data"))["mnli@sample"][7] == "yes"
    put(tmp_path, "data/xnli/dev-de.tsv", "\n")
    put(tmp_path, "data/xnli/test-de.tsv", "\n")
    assert listed("--data", str(tmp_path / "data"))["xnli"][7] == "part"  # one of 15 languages
    refused(call("tasks", "--data", "nowhere"), "--data nowhere: expected a folder")


def test_the_list_as_json_has_the_same(call: Call) -> None:
    listed = {one["name"]: one for one in json.loads(call("tasks", "--json").out)["tasks"]}
    assert list(listed) == list(tasks.names())
    xquad = listed["xquad"]
    assert (xquad["splits"], xquad["rows"], xquad["here"], xquad["sources"]) == (["test"], [14_280], "no", ["files"])
    assert listed["udpos"]["rows"][2] is None


# -- what one is --------------------------------------------------------------------------------------------


PAGE = (REPOSITORY / "docs" / "data.md").read_text()


def test_the_page_of_data_has_every_file_and_repository() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert table == [
        f"| {task.name} | `{source['where']}` | {source['format'] or 'Parquet, by `fetch`'} |"
        for task in tasks.ALL
        if not task.name.startswith("mini") and not task.slice_of
        for source in _facts(task, task.name, None)["sources"]
    ]


def test_ccg_is_a_task_of_those_who_have_it(call: Call) -> None:
    refused(call("tasks", "show", "ccg"), "ccg is not declared", "register(ccg(LABELS))", "FILE.py:ccg")
    tree = "(<T S[dcl] 1 2> (<L NP NNP NNP Ada NP>) (<L S[dcl]\\NP VBZ VBZ sings S[dcl]\\NP_1>) )"
    for part in ("00", "23"):
        put(Path("DIR"), f"ccgbank/wsj_{part}.auto", f"ID=wsj_{part}01.1 PARSER=GOLD NUMPARSE=1\n{tree}\n")
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    put(Path(), "nine.py", block)
    document = json.loads(call("tasks", "show", "nine.py:ccg", "--json").out)
    assert document["labels"] == ["NP", "S[dcl]\\NP"]
    refused(call("tasks", "show", "nine.py:ccg", "--data", "DIR"), "ccg/dev in 'en': expected 1913 rows, got 1 from")
    planned = call("plan", "nine.py:nine", "--data", "DIR").err
    assert planned.startswith("xstilts: the encoder FacebookAI/xlm-roberta-large@main is neither a folder nor")


def test_a_task_says_what_it_is_and_where_its_rows_are(call: Call, tmp_path: Path) -> None:
    put(tmp_path, "data/paws-x/x", "")
    words = ("tasks", "show", "paws-x", "--data", str(tmp_path / "data"))
    lines = call(*words).out.splitlines()
    assert lines[0] == "paws-x: classify, 7 languages"
    text = " ".join(" ".join(lines).split())
    for part in (
        "labels different, paraphrase official size 49,401 metric accuracy licence free for any purpose",
        "trained by paws-x note files named .proxylabels",
        "train 49,401 rows in en (here: none) dev 2,000 rows in de en es fr ja ko zh (here: none)",
        "files pawsx/{train,dev,test}-{language}.tsv, tsv: sentence1, sentence2, label (here: no)",
        "hub google-research-datasets/paws-x@4cd8187c404bda33cb1f62b49b001115862acf37 (here: no)",
        "to get it xstilts fetch paws-x; or release files",
        "no rows of paws-x/train in 'en': looked for ",
    ):
        assert part in text
    put(tmp_path, "data/pawsx/dev-de.tsv", "a\tb\n")
    document = json.loads(call(*words, "--language", "en", "--json").out)
    here = [(row["split"], row["language"], row["rows"]) for row in document["rows"] if row["here"]]
    assert here == [("dev", "de", 2_000)]
    assert [source["here"] for source in document["sources"]] == ["part", "no"]
    assert document["missing"].startswith("no rows of paws-x/train in 'en'")
    assert document["examples"] == []
    refused(call(*words), "dev-de.tsv:1: expected 3 columns")  # the one cell that is here is read and checked


@pytest.mark.parametrize("task", tasks.ALL, ids=lambda task: task.name)
def test_a_task_says_how_to_get_it(task: Task) -> None:
    parts = [part for part in tasks.with_members(task.name) if part.sources]
    if all(isinstance(source, Miniature) for part in parts for source in part.sources):
        expected = "made, nothing to get"
    elif all(any(isinstance(source, Hub) for source in part.sources) for part in parts):
        expected = f"xstilts fetch {task.name}"
    else:
        expected = "release files only: no repository on the hub is declared"
    assert _way(task, task.name).removesuffix("; or release files") == expected


def test_tasks_of_release_files_only_are_these() -> None:
    fetched = {"mnli", "snli", "anli", "anli+", "qqp", "xnli", "paws-x", "paws-x-en@dev-half", "paws-x@dev-half"}
    fetched |= {"xnli-generalised", "paws-x-generalised", "paws-x-generalised@dev-half"}
    fetched |= {"mnli-triples", "snli-triples", "nli-triples", "mnli-sentences", "snli-sentences"}
    assert {task.name for task in tasks.ALL if _way(task, task.name).startswith("xstilts fetch")} == fetched


def test_names_that_are_not_there_get_near_ones(call: Call) -> None:
    refused(call("tasks", "show", "mini-xnly"), "unknown task 'mini-xnly'", "did you mean 'mini-xnli'")
    words = ("tasks", "show", "panx")
    refused(call(*words, "--split", "tran"), "unknown split of task 'panx' 'tran'", "did you mean 'train'")
    refused(call(*words, "--language", "xx"), "unknown language of panx 'xx'", "expected one of en, af")
    refused(call("tasks", "show", "udpos", "--split", "train", "--language", "de"), "language of udpos/train 'de'")
    refused(call("tasks", "show", "mini-xnli", "--encoder", "tini"), "unknown encoder 'tini'", "did you mean 'tiny'")
    refused(call(*words, "--data", "nowhere"), "--data nowhere: expected a folder")


def test_options_before_show_hold_for_it(call: Call, tmp_path: Path) -> None:
    put(tmp_path, "data/xnli/dev-de.tsv", "")
    document = json.loads(call("tasks", "--data", str(tmp_path / "data"), "--json", "show", "tatoeba").out)
    assert str(tmp_path / "data" / "tatoeba") in document["missing"]


def test_examples_are_shown_as_text_and_as_json(call: Call, cache_dir: Path) -> None:
    words = ("tasks", "show", "mini-xtags", "--language", "de", *TINY, "--cache", str(cache_dir))
    document = json.loads(call(*words, "--json").out)
    assert (document["split"], document["language"], document["encoder"]) == ("test", "de", "tiny")
    assert (document["num_examples"], document["max_tokens"], len(document["examples"])) == (600, 256, 3)
    assert re.fullmatch("[0-9a-f]{16}", document["tokenizer"])
    first = document["examples"][0]
    assert first["fields"]["words"] == list(some("mini-xtags", "de", 1)[0].words)
    text = call(*words).out
    assert "600 rows of test in 'de' read and checked; as tiny sees them" in text
    for one in document["examples"]:
        assert " ".join(one["sequences"][0]["text"].split()) in " ".join(text.split())
    assert "test          600 rows in en ar de es fr hi ru sw tr zh (here: all)" in text
    cut = json.loads(call(*words, "--json", "--max-tokens", "8").out)["examples"]
    assert max(len(sequence["ids"]) for one in cut for sequence in one["sequences"]) <= 8
    assert len(cut[0]["sequences"]) > 1


# -- examples as a model sees them --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini-xnli", "mini-bitext", "mini-xtags", "mini-xqa", "mini-xchoice", "mini-text"])
@pytest.mark.parametrize("tokenizer", ["pieces", "characters"])
def test_what_is_shown_is_what_is_encoded(name: str, tokenizer: str, folders: dict[str, Path]) -> None:
    task, read = tasks.find(name), load_tokenizer(folders[tokenizer])
    given = tasks.examples(task, next(iter(task.splits)), "de")[:20]
    columns = KINDS[task.kind.name].encode(task.kind, given, read, 40)
    shown = show(task.kind, given, read, 40)
    for number, one in enumerate(shown):
        assert [len(sequence["ids"]) for sequence in one["sequences"]] == list(columns["lengths"][number])
        assert [i for sequence in one["sequences"] for i in sequence["ids"]] == list(columns["ids"][number])
        for sequence in one["sequences"]:
            pieces = [word for word in sequence["text"].split(" ") if word not in ("[[", "]]")]
            assert len(pieces) == len(sequence["ids"])
            whole = read.convert_ids_to_tokens(sequence["ids"])
            assert all(piece.startswith(token) for piece, token in zip(pieces, whole, strict=True))
            assert {pieces[0], pieces[-1]} in ({"<s>", "</s>"}, {"[CLS]", "[SEP]"})


def one(name: str, language: str, folder: Path, given: Any = None, max_tokens: int = 100) -> dict[str, Any]:
    task, read = tasks.find(name), load_tokenizer(folder)
    example = given or tasks.examples(task, next(iter(task.splits)), language)[0]
    (found,) = show(task.kind, [example], read, max_tokens)
    return {**found, "example": example}


def test_a_pair_has_its_label(folders: dict[str, Path]) -> None:
    found = one("mini-xnli", "en", folders["characters"], Pair("ab", "c", "neutral"))
    assert found["sequences"][0]["text"] == "[CLS] a ##b [SEP] c [SEP]"
    assert found["sequences"][0]["name"] == "sequence"
    assert found["target"] == "neutral"


def test_a_tag_stands_behind_the_first_piece_of_its_word(folders: dict[str, Path]) -> None:
    tokens = Tokens(("ab", "c", "de"), ("NOUN", "VERB", "X"))
    found = one("mini-xtags", "en", folders["characters"], tokens, max_tokens=5)
    assert [sequence["text"] for sequence in found["sequences"]] == [
        "[CLS] a/NOUN ##b c/VERB [SEP]",
        "[CLS] d/X ##e [SEP]",
    ]
    assert [sequence["name"] for sequence in found["sequences"]] == ["sequence 1 of 2", "sequence 2 of 2"]
    assert found["target"] == ["NOUN", "VERB", "X"]


def test_an_answer_stands_in_brackets_in_the_windows_that_hold_it(folders: dict[str, Path]) -> None:
    passage = Passage("ab cd ef", "g", (("cd", 3),), "1")
    found = one("mini-xqa", "en", folders["characters"], passage)
    assert found["sequences"][0]["text"] == "[CLS] g [SEP] a ##b [[ c ##d ]] e ##f [SEP]"
    assert (found["sequences"][0]["name"], found["target"]) == ("window", "cd")
    windows = one("mini-xqa", "en", folders["characters"], passage, max_tokens=7)["sequences"]
    assert [window["text"].count("[[") for window in windows] == [0, 1, 1, 0]
    read = load_tokenizer(folders["characters"])
    (none,) = show(Span(unanswerable=True), [Passage("ab", "g", (), "1")], read, 50)
    assert (none["sequences"][0]["text"], none["target"]) == ("[CLS] g [SEP] a ##b [SEP]", None)


def test_every_choice_is_a_sequence_and_both_sides_of_a_translation_are(folders: dict[str, Path]) -> None:
    choices = one("mini-xchoice", "en", folders["characters"])
    example = choices["example"]
    names = [f"choice {n} of {len(example.choices)}" for n in range(1, len(example.choices) + 1)]
    assert [sequence["name"] for sequence in choices["sequences"]] == names
    assert choices["target"] == example.choices[example.label]
    sides = one("mini-bitext", "de", folders["pieces"])
    assert [sequence["name"] for sequence in sides["sequences"]] == ["first", "second"]
    assert sides["target"] is None


def test_a_vocabulary_of_bytes_is_shown_as_text() -> None:
    (found,) = show(tasks.find("mini-text").kind, [tasks.Text("a b")], byte_tokenizer(), 50)
    assert found["sequences"][0]["text"] == "<s> a ▁ b </s>"


def test_three_queries_are_shown_with_a_right_candidate_each(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any kind whose ``encode`` gives ids and lengths is shown."""
    candidates = [Entry(f"{n}", f"c{n}", False, "en") for n in range(9)]
    queries = [Entry(f"{n}", f"q{n}", True, "de", golds=(f"c{n}", "c8") if n else ()) for n in range(5)]
    lost = Entry("lost", "q", True, "de", golds=("gone",))
    chosen = _chosen([*candidates, lost, *queries])
    assert [entry.id for entry in chosen if isinstance(entry, Entry)] == ["q1", "c1", "q2", "c2", "q3", "c3"]

    def encode(kind: Any, given: list[Entry], tokenizer: Any, max_tokens: int, prefix: str = "") -> dict[str, Any]:
        ids = tokenizer([entry.text for entry in given], max_length=max_tokens)["input_ids"]
        return {"ids": ids, "lengths": [[len(row)] for row in ids]}

    read = load_tokenizer(folders["pieces"])
    for kind in (Mine(), Search(("de", "en"))):
        monkeypatch.setitem(KINDS, kind.name, SimpleNamespace(encode=encode))
        shown = show(kind, chosen, read, 50)
        assert [one["sequences"][0]["name"] for one in shown] == ["query", "candidate"] * 3
        assert [one["target"] for one in shown] == [None] * 6
        assert shown[1]["sequences"][0]["ids"] == read("1")["input_ids"]
