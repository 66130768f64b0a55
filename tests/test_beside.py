"""Two studies side by side: every difference by its definition, and what is in none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import scipy.stats

import test_report
from program import Call, refused
from test_html import Page
from test_report import ENCODER, LANGUAGES, fill, measure, train, value_of
from xstilts import report
from xstilts.report import beside, rows, stats
from xstilts.stage import Encoder, Evaluate
from xstilts.store import Store

OTHER = Encoder("offline", content="other")
SUBSETS = (("mnli@sample",), ("snli@sample",), ("mnli@sample", "snli@sample"))
WHERE = (2, "mean", "en->xx")  # the profile's, of four layers


def models(encoder: Encoder, seeds: Iterable[int] = (0, 1, 2)) -> list[Any]:
    return [encoder, *(train(*tasks, seed=seed, start=encoder) for tasks in SUBSETS for seed in seeds)]


def leaves(encoder: Encoder, languages: Iterable[str] = LANGUAGES, **settings: Any) -> list[Evaluate]:
    return [measure(model, code, **settings) for model in models(encoder) for code in languages]


def stored(root: Path, name: str, own: Iterable[Evaluate], **settings: Any) -> Store:
    """A store with one more study, by a name of its own."""
    store = fill(root, own, **settings)
    store.write_plan(name, {**store.plan("scaling"), "study": name, "parameters": {"k": "0,1,2", "encoder": name}})
    return store


def both(store: Store) -> list[beside.Matched]:
    tables = [rows.rows(store, store.plan(name)) for name in ("first", "second")]
    found = [stats.sections(t, store.plan(name)) for t, name in zip(tables, ("first", "second"), strict=True)]
    return list(beside.matched(found, [beside._contents(table) for table in tables]))


def texts(store: Store, folder: Path) -> str:
    report.write_beside((store, "first"), (store, "second"), folder)
    return (folder / "comparison.md").read_text()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same study of two encoders; not to be changed."""
    root = tmp_path_factory.mktemp("beside") / "store"
    stored(root, "first", leaves(ENCODER))
    return stored(root, "second", leaves(OTHER))


def mean(model: Any, where: tuple[int, str, str] = WHERE) -> float:
    return sum(value_of(measure(model, code), *where) for code in LANGUAGES) / len(LANGUAGES)


def test_every_run_is_paired_with_the_one_of_its_tasks_and_seed(store: Store) -> None:
    (found,) = both(store)
    assert found.profiles == ("xtreme-2020", "stilts-2020")
    assert found.languages == LANGUAGES
    assert found.alone == found.unclear == ((), ())
    expected = {one.id: two.id for one, two in zip(models(ENCODER), models(OTHER), strict=True)}
    assert {pair.runs[0].model: pair.runs[1].model for pair in found.pairs} == expected
    by_id = {model.id: model for model in (*models(ENCODER), *models(OTHER))}
    for pair in found.pairs:
        assert pair.values == pytest.approx((mean(by_id[pair.runs[0].model]), mean(by_id[pair.runs[1].model])))


def test_the_page_has_the_paired_differences_and_their_interval(store: Store, tmp_path: Path) -> None:
    text = texts(store, tmp_path)
    page = Page((tmp_path / "comparison.html").read_text())
    pairs = list(zip(models(ENCODER), models(OTHER), strict=True))
    for k, own in ((0, pairs[:1]), (1, pairs[1:7]), (2, pairs[7:])):
        one, two = (sum(mean(pair[side]) for pair in own) / len(own) for side in (0, 1))
        changes = [mean(b) - mean(a) for a, b in own]
        cell = f"{100 * (two - one):+.1f}"
        if k:  # both single tasks: over seeds
            of_seeds = [sum(changes[seed::3]) / len(changes[seed::3]) for seed in range(3)]
            low, high = scipy.stats.t.interval(0.95, 2, sum(of_seeds) / 3, scipy.stats.sem(of_seeds))
            cell += f" ± {100 * (high - low) / 2:.1f}"
        assert f"| {k} | {len(own)} | {100 * one:.1f} | {100 * two:.1f} | {cell} |" in text
    changes = [value_of(measure(b, "sw"), *WHERE) - value_of(measure(a, "sw"), *WHERE) for a, b in pairs[7:]]
    assert f"{100 * math.fsum(changes) / 3:+.1f} ± " in next(x for x in text.splitlines() if x.startswith("| Swahili"))
    assert "| encoder | `first` | `second` |" in text
    assert "| k |" not in text.partition("Parameters that differ")[2].partition("##")[0]
    assert any("B less A" in table["caption"] for table in page.tables)
    assert "numeric paths" not in text
    assert "Nothing to compare" not in text


def test_every_pair_in_every_language_is_a_row(store: Store, tmp_path: Path) -> None:
    report.write_beside((store, "first"), (store, "second"), tmp_path)
    table = pq.read_table(tmp_path / "pairs.parquet")
    assert table.column_names == list(beside.COLUMNS)
    assert table.num_rows == pyarrow.csv.read_csv(tmp_path / "pairs.csv").num_rows == len(models(OTHER)) * 3
    by_id = {model.id: model for model in (*models(ENCODER), *models(OTHER))}
    for row in table.to_pylist():
        one, two = (value_of(measure(by_id[row[name]], row["language"]), *WHERE) for name in ("model_a", "model_b"))
        assert (row["value_a"], row["value_b"], row["difference"]) == (one, two, two - one)
        assert (row["layer_a"], row["layer_b"], row["study_a"], row["study_b"]) == (2, 2, "first", "second")


def test_a_profile_reads_its_own_layer_in_each_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "store"
    stored(root, "first", leaves(ENCODER))
    monkeypatch.setattr(test_report, "NUM_LAYERS", 6)
    store = stored(root, "second", leaves(OTHER))
    (found,) = both(store)
    assert [view.layer for view in found.views] == [2, 4]
    assert found.pairs[0].values == pytest.approx((mean(ENCODER), mean(OTHER, (4, "mean", "en->xx"))))
    assert "layer 4 of 6" in texts(store, tmp_path / "out")


def test_what_one_study_lacks_is_listed_and_in_no_number(tmp_path: Path) -> None:
    root = tmp_path / "store"
    lacking = train("mnli@sample", seed=1, start=OTHER)
    own = [leaf for leaf in leaves(OTHER) if leaf.model != lacking]
    unscored = measure(train("snli@sample", seed=2, start=OTHER), "fr")
    target = [measure(train("mnli", start=OTHER, seed=7), "de", "xnli")]
    stored(root, "first", [*leaves(ENCODER), *(measure(m, "el") for m in models(ENCODER))])
    store = stored(root, "second", [*own, *target], score=lambda stage: stage != unscored)
    (found,) = both(store)
    assert found.languages == LANGUAGES
    assert [run.tasks for run in found.alone[0]] == ["mnli@sample"]
    assert found.alone[1] == ()
    text = texts(store, tmp_path / "out")
    assert "only in A: mnli@sample, seed 1" in text
    assert "Languages left out, only A measures in every run: el." in text
    assert "B lacks fr: snli@sample, seed 2" in text
    assert "| 1 | 4 of 5 |" in text
    assert re.search(r"^\| French \(fr\) \| Latn \| [^|]+ \| [^|]+ \(4 of 5\) \|", text, re.MULTILINE)
    assert "Targets of one study alone" in text
    assert "B: xnli/test after mnli, accuracy 1" in text


def test_rows_of_other_contents_are_never_compared(tmp_path: Path) -> None:
    root = tmp_path / "store"
    stored(root, "first", leaves(ENCODER))
    other = [measure(m, c, content="another release" * (c == "sw")) for m in models(OTHER) for c in LANGUAGES]
    store = stored(root, "second", other)
    (found,) = both(store)
    assert found.languages == ("de", "fr")
    assert "Languages left out, rows of other contents: sw." in texts(store, tmp_path / "out")


def test_other_paths_and_ways_of_measuring_are_said_first(tmp_path: Path) -> None:
    root = tmp_path / "store"
    stored(root, "first", leaves(ENCODER))
    store = stored(root, "second", leaves(OTHER, max_tokens=128), path=lambda stage: "cuda-bfloat16-varlen")
    text = texts(store, tmp_path / "out")
    first = text.index("| k | pairs |")
    for what in ("measured on different numeric paths", "trained on different numeric paths", "in different ways"):
        assert f"> **The two were {'measured ' * what.startswith('in')}{what}** (A: " in text[:first]
    assert "(A: cpu-float32-sdpa-1thread; B: cuda-bfloat16-varlen)" in text


def test_several_runs_that_would_do_pair_by_how_they_were_trained_or_not_at_all(tmp_path: Path) -> None:
    root = tmp_path / "store"
    faster = [train(*SUBSETS[0], seed=0, start=ENCODER, learning_rate=rate) for rate in (1e-5, 2e-5)]
    same = [train(*SUBSETS[0], seed=0, start=OTHER, learning_rate=rate) for rate in (1e-5, 2e-5)]
    stored(root, "first", [measure(m, c) for m in (ENCODER, *faster) for c in LANGUAGES])
    store = stored(root, "second", [measure(m, c) for m in (OTHER, *same) for c in LANGUAGES])
    (found,) = both(store)
    expected = {one.id: two.id for one, two in zip((ENCODER, *faster), (OTHER, *same), strict=True)}
    assert {pair.runs[0].model: pair.runs[1].model for pair in found.pairs} == expected
    store = stored(root, "second", [measure(m, c) for m in (OTHER, same[0]) for c in LANGUAGES])
    (found,) = both(store)
    assert {pair.runs[1].model for pair in found.pairs} == {OTHER.id, same[0].id}
    first = stored(root, "first", [measure(m, c) for m in (ENCODER, *faster) for c in LANGUAGES])
    third = train(*SUBSETS[0], seed=0, start=OTHER, learning_rate=3e-5)
    first.write_plan("first", first.plan("first"))
    store = stored(root, "second", [measure(m, c) for m in (OTHER, third) for c in LANGUAGES])
    (found,) = both(store)
    assert {pair.runs[1].model for pair in found.pairs} == {OTHER.id}
    assert len(found.unclear[0]) == 2
    assert "several that would pair, in A: mnli@sample, seed 0" in texts(store, tmp_path / "out")


def test_translated_rows_never_stand_beside_others(store: Store) -> None:
    (found,) = both(store)
    section = found.sections[1]
    other = replace(section, key={**section.key, "protocol": f"{section.key['protocol']}, in translation to en by x"})
    assert beside._target(section) == beside._target(found.sections[0])
    assert beside._target(other) != beside._target(section)


def test_the_command_writes_both_pages_and_the_same_bytes(store: Store, call: Call) -> None:
    where = ("--store", str(store.root))
    ended = call("report", "first", "second", "--out", "one", *where)
    assert ended.code == 0, ended
    assert sorted(ended.out.split()) == sorted(f"one/{path.name}" for path in Path("one").iterdir())
    assert call("report", "first", "second", "--out", "two", *where).code == 0
    files = [path.relative_to("one") for path in Path("one").rglob("*") if path.is_file()]
    assert len(files) > 5
    for file in files:
        assert (Path("one") / file).read_bytes() == (Path("two") / file).read_bytes()
    refused(call("report", "first", "first", *where), "expected two studies")
    refused(call("report", "first", "second", "scaling", *where), "expected one study, or two")
    refused(call("report", "first", "secnd", *where), "no plan 'secnd'", "did you mean 'second'")


def test_one_study_of_two_stores(store: Store, call: Call, tmp_path: Path) -> None:
    for name, encoder in (("one", ENCODER), ("two", OTHER)):
        fill(tmp_path / name, leaves(encoder))
    words = ("scaling", f"{tmp_path / 'two'}:scaling", "--store", str(tmp_path / "one"))
    assert call("report", *words, "--out", "out").code == 0
    text = Path("out/comparison.md").read_text()
    assert "A is `one:scaling`, B is `two:scaling`" in text
    assert str(tmp_path) not in text
    assert [line for line in text.splitlines() if line.startswith("| 2 |")] == [
        line for line in texts(store, tmp_path / "same").splitlines() if line.startswith("| 2 |")
    ]
    refused(call("report", "scaling", f"{tmp_path / 'no'}:scaling", *words[2:]), "no is not a store")
    named = (f"{tmp_path / 'one'}:scaling", f"{tmp_path / 'two'}:scaling", "--store", str(tmp_path / "none"))
    assert call("report", *named, "--out", str(tmp_path / "named")).code == 0
