"""Pairs whose two sentences are in two languages: their rows, what is refused, and their tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from program import Call
from test_report import MODELS, fill, measure, train
from test_study import refusal
from test_tasks import toy
from xstilts import report, tasks
from xstilts.mixture import Mixture
from xstilts.report import blocks, rows, stats, tables, views
from xstilts.report.blocks import Number, Table
from xstilts.stage import Encoder, Evaluate, Stage
from xstilts.studies.parts import StandIns, find_target
from xstilts.studies.scaling import scaling
from xstilts.study import Sources
from xstilts.tasks import Classify, Files, Pair, Splits, Tag, Task, language, readers
from xstilts.tasks.languages import pairs
from xstilts.tasks.pairs import generalised

CODES = ("de", "en", "sw")


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Task:
    """A registered task in three languages and the one that crosses it."""
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    source = Files("toy/{split}-{language}.tsv", readers.tsv, ("first", "second", "label"))
    plain = toy(languages=CODES, splits=Splits(train="train", dev="dev"), rows={"dev": 4}, source=source)
    crossed = generalised(plain)
    tasks.register(plain, crossed)
    return crossed


def write(folder: Path, code: str, labels: Sequence[str], split: str = "dev") -> None:
    (folder / "toy").mkdir(exist_ok=True)
    lines = (f"{code} first {n}\t{code} second {n}\t{label}\n" for n, label in enumerate(labels))
    (folder / "toy" / f"{split}-{code}.tsv").write_text("".join(lines))


LABELS = ("no", "yes", "yes", "no")

# ------------------------------------------------------------ rows


def test_the_first_sentence_is_in_one_language_and_the_second_in_the_other(both: Task, tmp_path: Path) -> None:
    assert both.languages == pairs(CODES)
    assert both.languages[:4] == ("de-de", "de-en", "de-sw", "en-de")
    assert not tasks.available(both, "dev", "de-en", tmp_path)
    write(tmp_path, "de", LABELS)
    assert not tasks.available(both, "dev", "de-en", tmp_path)
    assert tasks.available(both, "dev", "de-de", tmp_path)
    with pytest.raises(ValueError, match=r"no rows of toy/dev in 'en': looked for .*dev-en\.tsv"):
        tasks.examples(both, "dev", "de-en", tmp_path)
    write(tmp_path, "en", LABELS)
    found = tasks.examples(both, "dev", "de-en", tmp_path)
    assert found == [Pair(f"de first {n}", f"en second {n}", label) for n, label in enumerate(LABELS)]
    assert tasks.examples(both, "dev", "en-en", tmp_path) == tasks.examples(tasks.find("toy"), "dev", "en", tmp_path)
    assert [path.name for path in tasks.data_files(both, "dev", "en-de", tmp_path)] == ["dev-en.tsv", "dev-de.tsv"]


def test_both_files_and_their_order_count(both: Task, tmp_path: Path) -> None:
    for code in CODES:
        write(tmp_path, code, LABELS)
    before = {code: tasks.content(both, "dev", code, tmp_path) for code in both.languages}
    assert len(set(before.values())) == 9
    assert tasks.content(tasks.find("toy"), "dev", "en", tmp_path) not in before.values()
    write(tmp_path, "sw", ("no", "yes", "yes", "yes"))
    changed = {code for code in both.languages if tasks.content(both, "dev", code, tmp_path) != before[code]}
    assert changed == {code for code in both.languages if "sw" in code}


def test_rows_with_two_labels_are_left_out_and_other_rows_are_refused(
    both: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = LABELS * 10
    write(tmp_path, "de", many)
    write(tmp_path, "en", ("yes", *many[1:]))
    for name in ("toy", "toy-generalised"):
        monkeypatch.setitem(tasks._known, name, replace(tasks.find(name), rows={}))
    task = tasks.find("toy-generalised")
    found = tasks.examples(task, "dev", "en-de", tmp_path)
    assert [example.first for example in found] == [f"en first {n}" for n in range(1, 40)]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="expected 40 rows, got 39 from toy"):
        tasks.examples(replace(task, rows={"dev": 40}), "dev", "en-de", tmp_path)
    write(tmp_path, "en", (*many[1:], "no"))
    with pytest.raises(ValueError, match="expected the same rows of toy in both languages, got 40 and 40, of which 20"):
        tasks.examples(task, "dev", "en-de", tmp_path)
    write(tmp_path, "en", many[1:])
    with pytest.raises(ValueError, match="got 39 and 40"):
        tasks.examples(task, "dev", "en-de", tmp_path)


@pytest.mark.parametrize(("name", "number"), [("xnli", 225), ("paws-x", 49)])
def test_the_published_numbers_of_pairs(name: str, number: int) -> None:
    task = tasks.find(f"{name}-generalised")
    assert len(task.languages) == number
    assert (task.trained_by, list(task.splits)) == (tasks.find(name).trained_by, ["dev", "test"])
    assert task.kind == tasks.find(name).kind


def test_pairs_of_the_miniature_say_the_same() -> None:
    task = tasks.find("mini-xnli-generalised")
    own = {code: tasks.examples(tasks.find("mini-xnli"), "test", code) for code in ("sw", "zh")}
    found = tasks.examples(task, "test", "zh-sw")
    assert [example.label for example in found] == [example.label for example in own["zh"]]  # type: ignore[union-attr]
    assert found[7] == Pair(own["zh"][7].first, own["sw"][7].second, own["sw"][7].label)  # type: ignore[union-attr]
    assert stats.is_miniature(task.name)
    assert not stats.is_miniature("xnli-generalised")


def test_a_pair_of_languages_is_what_its_two_have_in_common() -> None:
    both = language("de-nl")
    assert (both.code, both.name, both.script, both.family) == ("de-nl", "German and Dutch", "Latn", "IE: Germanic")
    assert language("de-ru").script == "Zyyy"
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        language("de-xx")


# ------------------------------------------------------------ refusals


def test_what_a_crossing_task_cannot_be_is_refused(both: Task) -> None:
    cases = [
        (lambda: replace(both, name="a", languages=("de",)), "expected pairs such as 'de-fr' where it crosses"),
        (lambda: replace(tasks.find("toy"), name="a", languages=("de-en",)), "expected pairs .* and only there"),
        (lambda: replace(both, name="a", members=("toy",)), "either a source, the members of a union, or the task"),
        (lambda: replace(both, name="a", kind=Tag(("no", "yes")), metric="accuracy"), "expected a kind of pairs"),
        (lambda: tasks.register(replace(both, name="a", languages=("de-fr",))), "unknown language of 'toy'.* 'fr'"),
        (lambda: tasks.register(replace(both, name="a", splits=Splits(test="x"), rows={})), "unknown split of 'toy'"),
        (lambda: tasks.register(replace(both, name="a", crosses="toi")), "task in crosses of 'a' 'toi'.*'toy'"),
        (lambda: tasks.register(replace(both, name="a", kind=Classify(("a", "b")))), "'toy', which it crosses"),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            make()


def test_training_rows_of_what_is_crossed_are_a_leak(tmp_path: Path) -> None:
    folder = tmp_path / "pawsx"
    folder.mkdir()
    for code in ("en", "de"):
        (folder / f"dev-{code}.tsv").write_text("a\tb\t0\n" * 2_000)
    model = train("paws-x-en@dev-half", start=Encoder("a", content="a"))
    leaf = Evaluate(model, "paws-x-generalised", "en-de", "dev")
    (line,) = refusal(Sources(tmp_path, tmp_path / "cache"), leaf)
    assert "leak: paws-x-en@dev-half is declared to share training rows with paws-x-generalised/dev" in line


def test_a_study_measures_pairs_of_the_languages_that_it_is_given() -> None:
    def codes(*languages: str, task: str = "xnli-generalised") -> tuple[str, ...]:
        return find_target(task, StandIns(), languages=languages).languages

    assert codes("en", "sw") == ("en-en", "en-sw", "sw-en", "sw-sw")
    assert codes("en-sw", "de-de") == ("en-sw", "de-de")
    assert len(codes()) == 225
    assert codes("en", "sw", task="xnli") == ("en", "sw")
    leaves = list(scaling(targets=("mini-xnli-generalised",), languages=("en", "tr"), k=(0,)))
    assert [leaf.language for leaf in leaves if isinstance(leaf, Evaluate)] == ["en-en", "en-tr", "tr-en", "tr-tr"]
    models = {leaf.model for leaf in leaves if isinstance(leaf, Evaluate)}
    assert [model.mixture for model in models if not isinstance(model, Encoder)] == [Mixture(("mini-nli",))]


# ------------------------------------------------------------ seen and reported


def test_a_pair_is_shown_as_a_model_sees_it(call: Call, cache_dir: Path) -> None:
    found = call("tasks", "show", "mini-xnli-generalised", "--language", "de-sw", "--encoder", "tiny", "--json",
                 "--cache", str(cache_dir))  # fmt: skip
    assert found.code == 0, found.err
    own = tasks.examples(tasks.find("mini-xnli-generalised"), "test", "de-sw")[0]
    assert own.first in found.out  # type: ignore[union-attr]
    assert '"crosses": "mini-xnli"' in found.out


LANGUAGES = ("de", "en", "sw")


@pytest.fixture(scope="module")
def leaves() -> list[Evaluate]:
    models = [train("mnli@sample", start=model) for model in MODELS[:3]]
    return [measure(model, code, "xnli-generalised") for model in models for code in pairs(LANGUAGES)]


def text(cell: blocks.Cell) -> str:
    return cell.text if isinstance(cell, Number) else str(cell)


def test_pairs_are_a_table_of_the_first_language_against_the_second(leaves: list[Evaluate], tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves)
    plan = store.plan("scaling")
    (section,) = stats.sections(rows.rows(store, plan), plan)
    (view,) = views.views(section)
    (one,) = stats.series(section)
    against, *matrices = tables.by_pair(section, one, view)
    values = {(run.k, run.seed, code): section.scores(run, view.where)[code] for run in section.runs
              for code in pairs(LANGUAGES)}  # fmt: skip
    assert len(values) == 27

    def mean(k: int, first: str = "", second: str = "", kind: str = "") -> str:
        chosen = [value for (own, _, code), value in values.items() if own == k and code.startswith(first)
                  and code.endswith(second) and kind in ("", "one" if code[:2] == code[3:] else "two")]  # fmt: skip
        return f"{100 * statistics.fmean(chosen):.1f}"

    assert len(matrices) == 2
    for k, matrix in enumerate(matrices):
        assert matrix.header == ("", *LANGUAGES, "mean")
        lines = [[text(cell) for cell in line] for line in matrix.lines]
        expected = [[first, *(mean(k, first, second) for second in (*LANGUAGES, ""))] for first in LANGUAGES]
        assert lines == [*expected, ["**mean**", *(mean(k, "", second) for second in (*LANGUAGES, ""))]]
    assert against.header == ("k", "one language (3)", "Δ", "two languages (6)", "Δ", "all (9)", "Δ")
    for k, line in enumerate(against.lines):
        assert isinstance(line, tuple)
        assert [text(cell) for cell in line[1::2]] == [mean(k, kind=kind) for kind in ("one", "two", "")]
    changed = float(mean(1, kind="two")) - float(mean(0, kind="two"))
    assert math.isclose(float(text(against.lines[1][4]).split(" ")[0]), changed, abs_tol=0.11)
    assert {cell.scale for cell in against.lines[1][2::2] if isinstance(cell, Number)} == {"change"}

    report.write(store, "scaling", tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "languages in every run: 9: all pairs of de en sw" in page
    assert "Every pair at k = 1: lines are the language of the first text" in page
    assert "same script as English" not in page


def test_a_pair_that_is_missing_leaves_no_mean(leaves: list[Evaluate], tmp_path: Path) -> None:
    def done(stage: Stage) -> bool:
        return not (isinstance(stage, Evaluate) and stage.language == "de-sw")

    store = fill(tmp_path / "store", leaves, score=done)
    plan = store.plan("scaling")
    (section,) = stats.sections(rows.rows(store, plan), plan)
    (view,) = views.views(section)
    against, matrix, _ = tables.by_pair(section, stats.series(section)[0], view)
    lines = {text(line[0]): [text(cell) for cell in line[1:]] for line in matrix.lines}
    assert [line.index("–") for line in lines.values() if "–" in line] == [2, 2]
    assert lines["de"][3] == lines["**mean**"][3] == "–"
    assert [text(cell) for cell in against.lines[0][1::2]][1:] == ["–", "–"]
    assert isinstance(matrix, Table)


def test_codes_are_spelt_shortly_where_that_says_all() -> None:
    assert tables.spelt(("de", "en")) == "de en"
    assert tables.spelt(pairs(("de", "en"))) == "all pairs of de en"
    assert tables.spelt(("de-en", "de-de")) == "de-en de-de"
    assert tables.spelt(()) == ""
