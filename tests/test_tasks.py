"""Declarations: one contract for every task; languages, profiles and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from small import canonical_row
from xstilts import metrics, tasks
from xstilts.tasks import Classify, Files, Hub, Miniature, Pair, Splits, Task, readers
from xstilts.tasks.readers import Row
from xstilts.tasks.task import Choices, Choose, Embed, Passage, Search, Span, Tag, Text, Tokens, example_problem

TASK_NAMES = [task.name for task in tasks.ALL]
UNCOUNTED = {
    ("udpos", "test"): "XTREME publishes no count by language",
    ("bucc", "dev"): "the release gives sentences and pairs no official count",
    ("bucc", "test"): "as dev",
}


pytestmark = pytest.mark.usefixtures("hub_cache")


def toy(**changes: Any) -> Task:
    """A small English pair task over ``toy/{split}.tsv``."""
    fields: dict[str, Any] = {
        "name": "toy",
        "kind": Classify(("no", "yes")),
        "example": lambda row: Pair(row["first"], row["second"], row["label"]),
        "languages": ("en",),
        "splits": Splits(train="train"),
        "source": Files("toy/{split}.tsv", readers.tsv, ("first", "second", "label")),
        "rows": {"train": 2},
        "metric": "accuracy",
        "licence": "none",
    }
    return Task(**(fields | changes))


# ------------------------------------------------------------ the contract


@pytest.mark.parametrize("name", TASK_NAMES)
def test_declaration_is_complete(name: str) -> None:
    task = tasks.find(name)
    made = any(isinstance(s, Miniature) for s in task.sources)
    assert task.licence not in ("", Task.licence), "stated, or why it is not"
    if set(task.splits) != {"train"}:
        metrics.find(task.kind.name, task.metric)
    if not made:
        uncounted = {split for split in task.splits if (name, split) in UNCOUNTED}
        assert set(task.rows) == set(task.splits) - uncounted, (
            "every split of a real data set states its official count"
        )
    if task.splits.train and "en" in task.languages_of("train") and task.kind.name != "mlm" and not made:
        assert task.official_size, "the weight of proportional mixing"
        assert task.slice_of or task.members or task.official_size == task.count("train", "en")
    if task.trained_by:
        training = tasks.find(task.trained_by)
        head = Embed() if isinstance(task.kind, Search) else task.kind
        assert training.kind == head, "the head of a zero-shot score"
        assert "en" in training.languages_of("train")
    if "@" in name and task.slice_of:
        whole = tasks.find(task.slice_of)
        assert (task.kind, task.official_size or whole.official_size) == (whole.kind, whole.official_size)
    for member in map(tasks.find, task.members):
        assert set(member.overlaps) <= set(task.overlaps), "a union leaks what its members leak"
    if task.members:
        for split in task.splits:
            assert task.rows[split] == sum(tasks.find(member).count(split, "en") or 0 for member in task.members)
        assert task.official_size == sum(tasks.find(member).official_size or 0 for member in task.members)
    for hub in task.sources:
        if isinstance(hub, Hub):
            assert len(hub.revision) == 40
            assert int(hub.revision, 16)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_three_rows_become_examples(name: str) -> None:
    task = tasks.find(name)
    for i in range(3):
        example = task.example(canonical_row(task, i))
        assert isinstance(example, task.kind.takes)
        assert example_problem(task.kind, example) is None
        assert str(i) in repr(example)


@pytest.mark.parametrize("name", [task.name for task in tasks.ALL if any(isinstance(s, Files) for s in task.sources)])
def test_a_row_of_a_release_has_the_columns_that_the_example_reads(name: str) -> None:
    task = tasks.find(name)
    for source in task.sources:
        if isinstance(source, Files):
            row = canonical_row(task, 1)
            task.example(Row({column: row[column] for column in source.columns}, "file", 1))


def test_names_are_unique_and_unknown_names_get_near_ones() -> None:
    assert len(set(TASK_NAMES)) == len(TASK_NAMES)
    with pytest.raises(ValueError, match=r"unknown task 'tatoba'.*did you mean 'tatoeba'"):
        tasks.find("tatoba")
    with pytest.raises(ValueError, match=r"unknown split of task 'xnli' 'tests'.*did you mean 'test'"):
        tasks.available(tasks.find("xnli"), "tests", "de")
    with pytest.raises(ValueError, match=r"unknown language of paws-x/train 'de': expected one of en"):
        tasks.examples(tasks.find("paws-x"), "train", "de")


def test_importing_tasks_is_cheap() -> None:
    """No heavy package comes in with the declarations."""
    code = "import sys, xstilts.tasks; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "pandas", "numpy", "pyarrow", "huggingface_hub"}
    assert "xstilts.tasks" in loaded
    assert not heavy & set(loaded)


# ------------------------------------------------------------ languages, benchmarks


def test_benchmarks_have_their_published_languages() -> None:
    """XTREME (Hu et al. 2020) and XTREME-R (Ruder et al. 2021); Tatoeba as in code and data."""
    expected = {
        "xtreme": {
            "xnli": 15,
            "paws-x": 7,
            "udpos": 33,
            "panx": 40,
            "xquad": 11,
            "mlqa": 7,
            "tydiqa": 9,
            "tatoeba": 36,
        },
        "xtreme-r": {
            "xnli": 15,
            "xcopa": 11,
            "udpos": 38,
            "panx": 48,
            "xquad": 12,
            "mlqa": 7,
            "tydiqa": 9,
            "tatoeba": 41,
        },
    }
    found = {name: {task: len(codes) for task, codes in own.items()} for name, own in tasks.BENCHMARKS.items()}
    assert found == expected
    for own in tasks.BENCHMARKS.values():
        for name, codes in own.items():
            *_, split = tasks.find(name).splits
            assert set(codes) <= set(tasks.find(name).languages_of(split))
            assert len(set(codes)) == len(codes)
    for name, codes in tasks.BENCHMARKS["xtreme"].items():
        assert name == "paws-x" or set(codes) <= set(tasks.BENCHMARKS["xtreme-r"][name])


def test_label_sets_are_the_published_ones() -> None:
    udpos, panx = (tasks.find(name).kind for name in ("udpos", "panx"))
    assert isinstance(udpos, Tag)
    assert isinstance(panx, Tag)
    assert len(udpos.labels) == 17
    assert {"SCONJ", "CCONJ"} <= set(udpos.labels)
    assert set(panx.labels) == {"O", *(f"{at}-{of}" for at in "BI" for of in ("PER", "ORG", "LOC"))}
    assert tasks.find("ud").kind == udpos


def test_ccg_is_declared_for_the_categories_of_ones_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    tasks.register(tasks.ccg(("NP", "S[dcl]\\NP")))
    task = tasks.find("ccg")
    assert task.official_size == task.count("train", "en") == 39_604
    (tmp_path / "ccgbank").mkdir()
    tree = "(<T S[dcl] 0 2> (<L NP NNP NNP Fido NP>) (<L S[dcl]\\NP VBZ VBZ barks S[dcl]\\NP>) )"
    (tmp_path / "ccgbank" / "wsj_00.auto").write_text(f"ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n{tree}\n")
    counted = replace(task, rows={"dev": 1})
    assert tasks.examples(counted, "dev", "en", tmp_path) == [Tokens(("Fido", "barks"), ("NP", "S[dcl]\\NP"))]
    with pytest.raises(ValueError, match="at least two different labels"):
        tasks.ccg(("NP",))


def test_tatoeba_has_the_benchmarks_languages_and_pairs() -> None:
    tatoeba = tasks.find("tatoeba")
    pairs = {code: tatoeba.count("test", code) or 0 for code in tatoeba.languages}
    assert (len(tasks.XTREME_LANGUAGES), len(tasks.XTREME_R_LANGUAGES)) == (36, 41)
    assert sum(pairs[code] for code in tasks.XTREME_LANGUAGES) == 31_692
    assert sum(pairs[code] for code in tasks.XTREME_R_LANGUAGES) == 36_692


def test_the_language_table_has_xtreme_r_and_one_code_each() -> None:
    table = tasks.LANGUAGES
    assert len(table) == 50
    assert all(code == row.code for code, row in table.items())
    assert len({row.iso639_3 for row in table.values()}) == len(table)
    assert all(len(row.iso639_3) == 3 and len(row.script) == 4 for row in table.values())
    shares = [row.pretraining_share for row in table.values() if row.pretraining_share is not None]
    assert 0.5 < sum(shares) < 1
    assert tasks.langs("zh en") == ("zh", "en")
    with pytest.raises(ValueError, match="unknown language 'cmn'"):
        tasks.langs("en cmn")


@pytest.mark.parametrize(
    ("name", "num_layers", "expected"),
    [
        ("xtreme-2020", 24, (14, False)),
        ("xtreme-2020", 12, (8, False)),
        ("stilts-2020", 24, (14, False)),
        ("stilts-2020", 12, (7, True)),
        ("xtreme-2020", 6, (4, True)),
        ("xtreme-2020", 48, (28, True)),
        ("xtreme-2020", 1, (1, True)),
    ],
)
def test_the_published_layer_is_exact_and_others_are_flagged(
    name: str, num_layers: int, expected: tuple[int, bool]
) -> None:
    assert tasks.layer_for(tasks.profile(name), num_layers) == expected


@pytest.mark.parametrize("num_layers", range(1, 60))
def test_a_scaled_layer_is_the_nearest_to_its_share(num_layers: int) -> None:
    layer, scaled = tasks.layer_for(tasks.profile("stilts-2020"), num_layers)
    assert 1 <= layer <= num_layers
    assert scaled == (num_layers != 24)
    assert abs(layer - num_layers * 14 / 24) <= 0.5


def test_profiles_name_real_tasks_and_languages() -> None:
    for profile in tasks.PROFILES.values():
        task = tasks.find(profile.task)
        assert set(profile.languages) <= set(task.languages_of(profile.split))
        metrics.find(task.kind.name, profile.metric)
    with pytest.raises(ValueError, match=r"unknown profile 'xtreme2020'.*did you mean 'xtreme-2020'"):
        tasks.profile("xtreme2020")
    with pytest.raises(ValueError, match="num_layers is 0"):
        tasks.layer_for(tasks.profile("xtreme-2020"), 0)


def test_an_average_is_never_padded() -> None:
    scores = {"de": 1.0, "fr": 0.25, "ja": 0.0}
    assert tasks.average(scores, ("de", "fr")) == 0.625
    assert tasks.average(scores, ("de", "ja")) == 0.5
    assert tasks.average(scores, ("de", "zh")) is None
    with pytest.raises(ValueError, match="at least one language"):
        tasks.average(scores, ())


# ------------------------------------------------------------ declarations that do not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Bad name"}, "task name 'Bad name'"),
        ({"languages": ()}, "languages is"),
        ({"languages": ("en", "en")}, "languages is"),
        ({"languages": ("en", "xx")}, "unknown language 'xx'"),
        ({"kind": "classify"}, "kind is 'classify'"),
        ({"kind": Classify(("one",))}, "at least two different labels"),
        ({"splits": Splits()}, "splits is empty"),
        ({"rows": {"dev": 2}}, "rows has the split 'dev'"),
        ({"rows": {"train": 0}}, "counts above 0"),
        ({"rows": {"train": {"de": 5}}}, "the task's own"),
        ({"source": ()}, "either a source or the members"),
        ({"members": ("mnli",)}, "either a source or the members"),
        ({"source": Hub("a/b", "main", {"test": "x"}, {})}, "source.files has the splits"),
        ({"source": Files("x", readers.lines, ("text",), rows=(5, 5))}, "source.rows is"),
        ({"licence": ""}, "licence is empty"),
        ({"metric": ""}, "metric is '': expected accuracy for kind 'classify'"),
        ({"official_size": 0}, "official_size is 0"),
        ({"version": 0}, "version is 0"),
        ({"overlaps": ("mnli/sample",)}, "overlaps has 'mnli/sample'"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy(**changes)


def test_own_tasks_are_found_and_a_taken_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    mine = toy(name="my-task", trained_by="mnli")
    tasks.register(mine)
    assert tasks.find("my-task") is mine
    assert "my-task" in tasks.names()
    with pytest.raises(ValueError, match="'mnli' is declared twice"):
        tasks.register(toy(name="my-other"), toy(name="mnli"))
    assert "my-other" not in tasks.names()
    for changes in ({"trained_by": "mnly"}, {"overlaps": ("mnly/dev",)}, {"slice_of": "mnly"}):
        with pytest.raises(ValueError, match="did you mean 'mnli'"):
            tasks.register(toy(name="my-other", **changes))
    with pytest.raises(ValueError, match=r"unknown split in overlaps of 'my-other' 'test'"):
        tasks.register(toy(name="my-other", overlaps=("mnli/test",)))
    with pytest.raises(ValueError, match=r"expected its member 'mnli' to have its kind"):
        tasks.register(toy(name="my-other", source=(), members=("mnli",)))


@pytest.mark.parametrize(
    ("kind", "example", "message"),
    [
        (Classify(("a", "b")), Text("x"), "expected a Pair"),
        (Classify(("a", "b")), Pair("x", "y", "c"), "expected a label among a, b, got 'c'"),
        (Classify(("a", "b")), Pair("x", None, "a"), "expected text, got None"),  # type: ignore[arg-type]
        (Tag(("N", "V")), Tokens(("a", "b"), ("N",)), "expected one tag for every word"),
        (Tag(("N", "V")), Tokens(("a",), ("X",)), "expected a label among N, V"),
        (Span(), Passage("a cat", "q", (("cat", 1),), "1"), "expected the answer 'cat' at offset 1"),
        (Span(), Passage("a cat", "q", (("cat", -3),), "1"), "expected the answer 'cat' at offset -3"),
        (Span(), Passage("a cat", "q", (), "1"), "expected an answer"),
        (Choose(), Choices("p", ("a", "b"), 2), "expected a label below 2, got 2"),
        (Tag(("N", "V")), Tokens(("a",), ("V",)), None),
        (Span(), Passage("a cat", "q", (("cat", 2),), "1"), None),
        (Span(unanswerable=True), Passage("a cat", "q", (), "1"), None),
        (Choose(), Choices("p", ("a", "b"), 1), None),
    ],
)
def test_examples_are_checked_against_their_kind(kind: Any, example: Any, message: str | None) -> None:
    problem = example_problem(kind, example)
    assert (problem is None) if message is None else message in (problem or "")
