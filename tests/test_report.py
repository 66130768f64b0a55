"""Reports of small hand-made stores, checked against the definition of every number in them."""

from __future__ import annotations

import csv
import math
import random
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from test_tasks import toy
from xstilts import report
from xstilts import tasks as declared
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.report import blocks, by_number, estimates, gains, plots, rows, scaling, stats, tables, views
from xstilts.stage import Data, Encoder, Evaluate, Stage, Train, Views, label
from xstilts.store import Store
from xstilts.study import Plan
from xstilts.tasks import Embed, Search, benchmarks, find

ENCODER = Encoder("offline", content="content")
LANGUAGES = ("de", "fr", "sw")
NUM_LAYERS = 4
PROFILE_LAYER = 2  # 14 / 24 of 4, to the nearest
PATH = "cpu-float32-sdpa-1thread"


def train(*tasks: str, seed: int = 0, start: Any = ENCODER, **settings: Any) -> Train:
    return Train(start, Mixture(tasks), Budget(2000), replace(STILTS, **settings), seed)


def measure(model: Any, language: str, task: str = "tatoeba", content: str = "", **settings: Any) -> Evaluate:
    views = Views() if find(task).kind.name == "embed" else None
    data = (Data(task, "test", language, content or f"content of {language}"),)
    return Evaluate(model, task, language, views=views, data=data, **settings)


MODELS = [
    ENCODER,
    *(train(task, seed=seed) for task in ("mnli@sample", "snli@sample") for seed in (0, 1)),
    *(train("mnli@sample", "snli@sample", seed=seed) for seed in (0, 1)),
]
COLLAPSED = train("snli@sample", seed=1)


def value_of(stage: Evaluate, layer: int, pooling: str, direction: str) -> float:
    """A made-up accuracy, different for every cell of every stage."""
    return random.Random(f"{stage.id} {layer} {pooling} {direction}").randrange(100, 900) / 1000


def values(stage: Evaluate) -> list[dict[str, Any]]:
    if stage.views is None:
        return [{"value": value_of(stage, 0, "", ""), "num_examples": 50}]
    return [
        {"layer": layer, "pooling": p, "direction": d, "value": value_of(stage, layer, p, d), "num_examples": 50}
        | {"num_ties": 1}
        for layer in range(NUM_LAYERS + 1)
        for p in ("mean", "cls")
        for d in ("en->xx", "xx->en")
    ]


def fill(
    root: Path,
    leaves: Iterable[Evaluate],
    *,
    path: Callable[[Stage], str] = lambda stage: PATH,
    score: Callable[[Evaluate], bool] = lambda stage: True,
) -> Store:
    """A store in which a study of these leaves is done, but for its weights."""
    store = Store.open(root)
    leaves = list(leaves)
    stages: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        for other in stage.inputs:
            add(other)
        stages[stage.id] = stage

    for leaf in leaves:
        add(leaf)
    plan = Plan("scaling", {"k": "0,1,2"}, stages, tuple(leaf.id for leaf in leaves))
    store.write_plan("scaling", plan.document())
    for id, stage in stages.items():
        staged = store.work(id) / "out"
        staged.mkdir()
        record = {
            "kind": stage.kind,
            "declaration": stage.declaration(),
            "names": {"encoder": "offline", "label": label(stage)},
            "result": {"num_layers": NUM_LAYERS, "tokenizer_fingerprint": "f" * 16, "collapsed": stage == COLLAPSED},
            "environment": {"numeric_path": path(stage), "packages": {"torch": "2.13.0"}, "commit": ""},
            "wall_seconds": 1.5,
        }
        store.publish(id, staged, record)
        if isinstance(stage, Evaluate) and score(stage):
            document = {"metric": "accuracy", "version": 1, "options": {}, "values": values(stage)}
            store.add_score(id, "accuracy-v1", document)
    return store


def leaves(models: Iterable[Any] = MODELS, languages: Iterable[str] = LANGUAGES) -> list[Evaluate]:
    return [measure(model, language) for model in models for language in languages]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Seven models in three languages, the encoder itself in one more; not to be changed."""
    return fill(tmp_path_factory.mktemp("stored") / "store", [*leaves(), measure(ENCODER, "ru")])


@pytest.fixture
def own(stored: Store, tmp_path: Path) -> Store:
    """A copy of that store for a test to change."""
    shutil.copytree(stored.root, tmp_path / "store")
    return Store.open(tmp_path / "store")


def sections_of(store: Store) -> list[stats.Section]:
    plan = store.plan("scaling")
    return stats.sections(rows.rows(store, plan), plan)


def only(store: Store) -> tuple[stats.Section, stats.Series, views.View]:
    (section,) = sections_of(store)
    (series,) = stats.series(section)
    (view,) = views.views(section)
    return section, series, view


def parse(table: blocks.Table) -> list[list[str]]:
    """The texts of a table, its header first, without the titles between its lines."""
    lines = [line for line in (table.header, *table.lines) if isinstance(line, tuple)]
    return [[cell if isinstance(cell, str) else cell.text for cell in line] for line in lines]  # type: ignore[union-attr]


def mean_of(model: Any, layer: int = PROFILE_LAYER, direction: str = "en->xx") -> float:
    return statistics.fmean(value_of(measure(model, code), layer, "mean", direction) for code in LANGUAGES)


# -- rows ------------------------------------------------------------------------------------------------


def test_every_value_is_one_row_that_says_where_it_comes_from(stored: Store) -> None:
    table = rows.rows(stored, stored.plan("scaling"))
    assert table.column_names == list(rows.COLUMNS)
    assert table.num_rows == (3 * len(MODELS) + 1) * (NUM_LAYERS + 1) * 4
    seen = set()
    for row in table.to_pylist():
        model = next(m for m in MODELS if m.id == row["model"])
        stage = measure(model, row["language"])
        assert row["stage"] == stage.id
        assert row["value"] == value_of(stage, row["layer"], row["pooling"], row["direction"])
        tasks = model.mixture.tasks if isinstance(model, Train) else ()
        assert (row["k"], row["tasks"]) == (len(tasks), "+".join(tasks))
        assert row["seed"] == (model.seed if isinstance(model, Train) else None)
        assert row["budget"] == ("2000 examples" if tasks else "")
        assert row["policy"] == ("proportional, official sizes" if tasks else "")
        assert row["collapsed"] == (model == COLLAPSED)
        assert row["base"] == ENCODER.id
        assert row["data_content"] == f"content of {row['language']}"
        assert (row["num_ties"], row["metric"], row["metric_version"]) == (1, "accuracy", 1)
        at_cell = (row["layer"], row["pooling"], row["direction"]) == (PROFILE_LAYER, "mean", "en->xx")
        assert row["profiles"] == ("xtreme-2020;stilts-2020" if at_cell else "")
        seen.add((row["stage"], row["layer"], row["pooling"], row["direction"]))
    assert len(seen) == table.num_rows


def test_a_language_outside_a_profile_is_no_cell_of_it(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", [measure(ENCODER, "az"), measure(ENCODER, "de")])
    table = rows.rows(store, store.plan("scaling"))
    assert {row["language"] for row in table.to_pylist() if row["profiles"]} == {"de"}


def test_the_parts_of_a_chain(tmp_path: Path) -> None:
    text = train("text@leipzig", start=ENCODER, seed=7)
    models = {
        "sequence": train("snli@sample", start=train("mnli@sample", start=text), seed=3),
        "again": train("mnli@sample", start=train("mnli@sample")),
        "mixed": train("mnli@sample", "text@leipzig"),
        "base": text,
    }
    target = train("mnli", start=train("snli@sample", seed=1), seed=5)
    stage_leaves = [*(measure(model, "de") for model in models.values()), measure(target, "de", "xnli")]
    store = fill(tmp_path / "store", stage_leaves)
    table = rows.rows(store, store.plan("scaling"))
    found = {row["stage"]: row for row in table.to_pylist()}
    row = {name: found[measure(model, "de").id] for name, model in models.items()}
    names = ("k", "tasks", "mlm", "seed", "base", "start")
    start = "text@leipzig (2000 examples, seed 7)"
    assert [row["sequence"][n] for n in names] == [2, "mnli@sample>snli@sample", "", 3, text.id, start]
    assert [row["again"][n] for n in names] == [1, "mnli@sample>mnli@sample", "", 0, ENCODER.id, ""]
    assert [row["mixed"][n] for n in names] == [1, "mnli@sample", "text@leipzig", 0, ENCODER.id, ""]
    assert [row["base"][n] for n in names] == [0, "", "", None, text.id, start]
    scored = found[measure(target, "de", "xnli").id]
    assert [scored[n] for n in names] == [1, "snli@sample", "", 1, ENCODER.id, ""]
    assert (scored["target"], scored["target_seed"], scored["layer"]) == ("mnli", 5, None)
    assert len({(s.key["base"], s.key["task"]) for s in sections_of(store)}) == len(sections_of(store)) == 3


@pytest.mark.parametrize(
    ("task", "stages", "k", "tasks", "target"),
    [
        ("xcopa", ["socialiqa", "copa"], 0, "", "socialiqa>copa"),
        ("xcopa", ["mnli", "socialiqa", "copa"], 1, "mnli", "socialiqa>copa"),
        ("xcopa", ["socialiqa", "socialiqa", "copa"], 1, "socialiqa", "socialiqa>copa"),
        ("xcopa", ["mnli", "copa"], 1, "mnli", "copa"),
        ("xcopa", ["copa", "socialiqa"], 2, "copa>socialiqa", ""),
        ("xcopa", ["socialiqa", "mnli"], 2, "socialiqa>mnli", ""),
        ("xcopa", ["text@leipzig", "socialiqa", "copa"], 0, "", "socialiqa>copa"),
        ("xquad", ["mnli", "squad-v1@subset"], 1, "mnli", "squad-v1@subset"),
        ("xquad", ["squad-v1", "squad-v1"], 1, "squad-v1", "squad-v1"),
        ("paws-x@dev-half", ["mnli", "paws-x"], 1, "mnli", "paws-x"),
        ("mnli", ["snli", "mnli"], 1, "snli", "mnli"),
        ("mnli", ["mnli+snli"], 2, "mnli+snli", ""),
        ("tatoeba", ["mnli", "squad-v1"], 2, "mnli>squad-v1", ""),
        ("pool", ["mnli", "duals"], 1, "mnli", "duals"),
        ("pool", ["duals", "mnli"], 2, "duals>mnli", ""),
    ],
)
def test_a_target_s_own_trainings_are_no_intermediate_ones(
    monkeypatch: pytest.MonkeyPatch, task: str, stages: list[str], k: int, tasks: str, target: str
) -> None:
    monkeypatch.setattr(declared, "_known", dict(declared._known))
    pool: dict[str, Any] = {"kind": Search(("de",)), "languages": ("mul",), "trained_by": "duals", "metric": "map"}
    declared.register(toy(name="duals", kind=Embed()), toy(name="pool", **pool))
    trains = tuple(
        (f"id{at}", {"mixture": {"tasks": names.split("+"), "policy": "uniform"}, "recipe": {}, "seed": at})
        for at, names in enumerate(stages)
    )
    for _, train in trains:
        train |= {"budget": {"amount": 2.0, "unit": "epochs"}}
        train["mixture"] |= {"cap": 1, "temperature": 1.0, "weights": (), "sizes": "official"}
    found = rows.training(rows.Chain({"kind": "encoder"}, trains), task)
    assert (found["k"], found["tasks"], found["target"]) == (k, tasks, target)
    assert found["target_seed"] == (len(stages) - 1 if target else None)
    num_targets = target.count(">") + bool(target)
    num_own = len(stages) - num_targets - (stages[0] == "text@leipzig")
    assert found["policy"] == ["", "uniform", "uniform; one stage after another"][min(num_own, 2)]
    assert rows.training(rows.Chain({"kind": "encoder"}, trains))["target"] == ""


def test_parquet_and_csv_hold_the_same_rows(stored: Store, tmp_path: Path) -> None:
    report.write(stored, "scaling", tmp_path)
    table = pq.read_table(tmp_path / "rows.parquet")
    with (tmp_path / "rows.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["value"]) for line in lines] == table["value"].to_pylist()
    assert {line["seed"] for line in lines if line["k"] == "0"} == {""}


def test_only_the_latest_version_of_a_metric_makes_rows(own: Store) -> None:
    stage = measure(ENCODER, "de")
    own.add_score(stage.id, "accuracy-v2", {"metric": "accuracy", "version": 2, "values": values(stage)[:1]})
    own.add_score(stage.id, "accuracy-v10", {"metric": "accuracy", "version": 10, "values": values(stage)[:1]})
    table = rows.rows(own, own.plan("scaling"))
    versions = [row["metric_version"] for row in table.to_pylist() if row["stage"] == stage.id]
    assert versions == [10]


# -- averages --------------------------------------------------------------------------------------------


def test_the_table_against_k_by_hand(stored: Store) -> None:
    section, series, view = only(stored)
    assert view.names == ("xtreme-2020", "stilts-2020")
    header, *lines = parse(by_number.by_k(section, series, view))
    columns = ["runs", "mean", "gain"]
    ending = ["95 % interval", "p (Holm)", "detectable", "without †: runs", *columns[1:]]
    assert header == ["k", "subsets", *columns, *ending]
    base = mean_of(ENCODER)
    assert lines[0] == ["0", "–", "1", f"{100 * base:.1f}", *["–"] * 4, "1", f"{100 * base:.1f}", "–"]
    for line, k in zip(lines[1:], (1, 2), strict=True):
        models = [model for model in MODELS[1:] if len(model.mixture.tasks) == k]
        assert line[1] == ["2 of 2", "1 of 1"][k - 1]
        for offset, chosen in ((2, models), (8, [model for model in models if model != COLLAPSED])):
            means = [mean_of(model) for model in chosen]
            assert line[offset] == str(len(means))
            assert line[offset + 1] == f"{100 * statistics.fmean(means):.1f}"
            assert line[offset + 2] == f"{100 * (statistics.fmean(means) - base):+.1f}"
    assert lines[1][3] != lines[1][9]  # the collapsed run matters, and both means are there
    assert lines[2][3] == lines[2][9]


def test_the_line_of_a_run_by_hand(stored: Store) -> None:
    section, series, view = only(stored)
    header, *lines = parse(tables.by_run(section, series, view))
    profile = "xtreme-2020, stilts-2020"
    assert header == [
        "tasks",
        "k",
        "seed",
        "layer 1",
        f"layer 2 ({profile})",
        "layer 3",
        "layer 4 (last)",
        "Δ to k = 0",
    ]
    assert [line[:3] for line in lines] == [
        ["none", "0", "–"],
        ["mnli@sample", "1", "0"],
        ["mnli@sample", "1", "1"],
        ["snli@sample", "1", "0"],
        ["snli@sample †", "1", "1"],
        ["mnli@sample+snli@sample", "2", "0"],
        ["mnli@sample+snli@sample", "2", "1"],
    ]
    for line, model in zip(lines, MODELS, strict=True):
        assert line[3:7] == [f"{100 * mean_of(model, layer):.1f}" for layer in (1, 2, 3, 4)]
        change = mean_of(model) - mean_of(ENCODER)
        assert line[7] == (f"{100 * change:+.1f}" if model != ENCODER else "–")


def test_the_languages_of_every_run_by_hand(stored: Store) -> None:
    section, series, view = only(stored)
    (table,) = tables.by_language_and_run(section, series, view)
    _, *lines = parse(table)
    assert [line[0] for line in lines] == [*LANGUAGES, "**mean of 3**", "ru (not in the mean)"]
    for code, line in zip(LANGUAGES, lines, strict=False):
        expected = (value_of(measure(model, code), PROFILE_LAYER, "mean", "en->xx") for model in MODELS)
        assert line[1:] == [f"{100 * value:.1f}" for value in expected]
    assert lines[-1][2:] == ["–"] * (len(MODELS) - 1)


def test_many_runs_stand_in_several_tables(tmp_path: Path) -> None:
    models = [*MODELS, *(train("mnli@sample", seed=seed) for seed in (2, 3))]
    section, series, view = only(fill(tmp_path / "store", leaves(models)))
    first, second = tables.by_language_and_run(section, series, view)
    assert len(first.header) + len(second.header) == 2 + len(models)


def test_removing_one_record_affects_exactly_its_averages(own: Store) -> None:
    before, series, view = only(own)
    gone = measure(MODELS[1], "sw")
    shutil.rmtree(own.folder(gone.id))
    after, series_after, _ = only(own)
    lost = set()
    for run in before.runs:
        for place in {place for _, place in before.cells}:
            mean = after.mean(run, place, view.languages)
            if mean is None:
                lost.add((run.model, place))
            else:
                assert mean == before.mean(run, place, view.languages)
    assert lost == {(MODELS[1].id, place) for _, place in before.cells}
    old, new = (parse(by_number.by_k(*of, view)) for of in ((before, series), (after, series_after)))
    assert [number for number, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]] == [2]
    assert new[2][2] == "3 of 4"
    kept = [mean_of(model) for model in MODELS[2:5]]
    assert new[2][3] == f"{100 * statistics.fmean(kept):.1f}"
    assert list(tables.incomplete(after, view)) == ["mnli@sample, seed 0: no average, since sw is lacking"]
    assert parse(tables.by_run(after, series_after, view))[2][3:] == ["–"] * 5
    assert rows.missing(own, own.plan("scaling")) == [(gone.id, label(gone))]
    (languages,) = tables.by_language_and_run(after, series_after, view)
    assert [line[2] for line in parse(languages)[3:5]] == ["–", "–"]


def said(section: stats.Section) -> dict[tuple[str, ...], str]:
    """The cells of the tables of averages by what they are of; adjusted p values are of all of a table."""
    (series,), (view,) = stats.series(section), views.views(section)
    (target,) = gains.targets([section]) or [None]
    of = {
        "k": by_number.by_k(section, series, view),
        "run": tables.by_run(section, series, view),
        "tasks": gains.by_task([target]) if target else None,
        "language": tables.by_language(section, series, view),
        "layer": gains.by_layer(target) if target else None,
    }
    found = {}
    for name, table in of.items():
        header, *lines = parse(table) if table else [[]]
        for line in lines:
            own = line[0] if name != "run" else " ".join(line[:3])
            cells = {(name, own, str(at), header[at]): cell for at, cell in enumerate(line)}
            found |= {place: cell for place, cell in cells.items() if "Holm" not in place[3]}
    return found


def test_any_lost_record_takes_exactly_the_numbers_that_rest_on_it(stored: Store) -> None:
    plan = stored.plan("scaling")
    table = rows.rows(stored, plan)
    (whole,) = stats.sections(table, plan)
    before = said(whole)
    names = {"de": "German (de)", "fr": "French (fr)", "sw": "Swahili (sw)", "ru": "Russian (ru)"}
    for leaf in [*leaves(), measure(ENCODER, "ru")]:
        model = next(run for run in whole.runs if run.model == leaf.model.id)
        (section,) = stats.sections(table.filter(pc.field("stage") != leaf.id), plan)
        after = said(section)
        changed = {place for place, cell in before.items() if after.get(place) != cell}
        assert changed, "it is missed"
        assert not after.keys() - before.keys()
        for name, own, _, column in changed:
            if leaf.language == "ru":  # in no mean
                assert (name, own) == ("language", names["ru"])
            elif name == "language":
                assert own.startswith(("**mean of", names[leaf.language]))
                assert not model.k or column in (f"k = {model.k}", "Δ")
            elif name == "layer":
                assert not model.k or f"k = {model.k}" in column or own == "**best layer**"
            elif name == "run":
                assert not model.k or own.startswith(f"{model.name} {model.k} ")
            elif name == "k":
                assert not model.k or own == str(model.k)
            else:
                assert not model.k or own == (model.tasks if model.k == 1 else f"k = {model.k}")
        if not model.k and leaf.language != "ru":
            assert {cell for place, cell in after.items() if place[3] in ("gain", "Δ to k = 0")} == {"–"}


def test_without_its_k_0_a_difference_does_not_exist(own: Store) -> None:
    for code in LANGUAGES:
        shutil.rmtree(own.folder(measure(ENCODER, code).id))
    section, series, view = only(own)  # Russian is still there at k = 0
    assert {line[4] for line in parse(by_number.by_k(section, series, view))[1:]} == {"–"}
    assert parse(by_number.by_k(section, series, view))[1][2:4] == ["0 of 1", "–"]
    assert {line[-1] for line in parse(tables.by_run(section, series, view))[1:]} == {"–"}


def test_a_difference_needs_every_run_at_k_0(tmp_path: Path) -> None:
    bases = [train("mnli", seed=seed) for seed in (0, 1)]  # XNLI's own training: k is 0, the target seed differs
    one = train("mnli", start=train("snli@sample"))
    store = fill(tmp_path / "store", [measure(model, "de", "xnli") for model in (*bases, one)])
    scores = [value_of(measure(model, "de", "xnli"), 0, "", "") for model in (*bases, one)]
    change = f"{100 * (scores[2] - statistics.fmean(scores[:2])):+.1f}"
    section, series, view = only(store)
    assert [run.k for run in section.runs] == [0, 0, 1]
    assert parse(tables.by_run(section, series, view))[3][-1] == change
    shutil.rmtree(store.folder(measure(bases[0], "de", "xnli").id))
    section, series, view = only(store)
    assert parse(tables.by_run(section, series, view))[2][-1] == "–"


def test_the_profile_s_own_average_stands_beside_a_part_of_it(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, profile in benchmarks.PROFILES.items():
        whole = [replace(protocol, languages=(*LANGUAGES, "ru")) for protocol in profile.protocols]
        monkeypatch.setitem(benchmarks.PROFILES, name, replace(profile, protocols=tuple(whole)))
    section, series, view = only(stored)
    assert (view.languages, view.official) == (LANGUAGES, (*LANGUAGES, "ru"))
    header, *lines = parse(tables.by_run(section, series, view))
    assert header[-1] == "all 4 languages"
    own_values = [value_of(measure(ENCODER, c), PROFILE_LAYER, "mean", "en->xx") for c in (*LANGUAGES, "ru")]
    assert [line[-1] for line in lines] == [f"{100 * statistics.fmean(own_values):.1f}"] + ["–"] * 6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(stored: Store, seed: int) -> None:
    plan = stored.plan("scaling")
    table = rows.rows(stored, plan)
    shuffled = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    (section,), (other,) = stats.sections(table, plan), stats.sections(shuffled, plan)
    assert (section.runs, section.languages, section.cells) == (other.runs, other.languages, other.cells)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.randoms())
def test_the_interval_is_student_s(numbers: list[float], shuffle: Any) -> None:
    found = stats.summarise(numbers)
    mean = statistics.fmean(numbers)
    assert found.mean == pytest.approx(mean)
    assert found.num_runs == len(numbers)
    quantile = {2: 12.7062, 3: 4.30265, 4: 3.18245, 5: 2.77645, 6: 2.57058, 7: 2.44691, 8: 2.36462}[len(numbers)]
    half = quantile * statistics.stdev(numbers) / math.sqrt(len(numbers))  # quantiles: a printed t table
    if len(set(numbers)) == 1:  # what they vary by is not known
        assert (found.low, found.high) == (None, None)
    elif found.low is None:
        assert half < 1e-6
    else:
        assert found.low == pytest.approx(mean - half, abs=1e-5)
        assert found.high == pytest.approx(mean + half, abs=1e-5)
    shuffle.shuffle(numbers)
    assert stats.summarise(numbers) == pytest.approx(found)


def test_one_run_has_no_interval_and_none_has_no_mean() -> None:
    assert stats.summarise([0.5]) == (0.5, None, None, 1)
    assert stats.summarise([]) == (None, None, None, 0)


def test_numbers_are_rounded_when_they_are_printed_only() -> None:
    assert [tables.percent(value) for value in (0.12345, 0.0, 1.0, None)] == ["12.3", "0.0", "100.0", "–"]
    assert [tables.points(value) for value in (0.0123, -0.0123, -0.0001, None)] == ["+1.2", "-1.2", "0.0", "–"]
    assert [views.selected_layers(n) for n in (1, 2, 12, 24)] == [[1], [1, 2], [3, 6, 9, 12], [6, 12, 18, 24]]


# -- what is kept apart ----------------------------------------------------------------------------------


def test_numeric_paths_of_measurements_never_share_a_table(tmp_path: Path) -> None:
    fast = {measure(MODELS[1], code).id for code in LANGUAGES}
    store = fill(tmp_path / "store", leaves(), path=lambda stage: "cuda" if stage.id in fast else PATH)
    first, second = sections_of(store)
    assert (first.key["numeric_path"], second.key["numeric_path"]) == (PATH, "cuda")
    assert [run.model for run in second.runs] == [MODELS[1].id]
    assert MODELS[1].id not in {run.model for run in first.runs}
    (series,), (view,) = stats.series(second), views.views(second)
    assert parse(tables.by_run(second, series, view))[1][-1] == "–"  # no k = 0 on this path


def test_models_trained_on_two_numeric_paths_are_two_series(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves(), path=lambda stage: "cuda" if stage == MODELS[2] else PATH)
    (section,) = sections_of(store)
    found = {one.train_numeric_path: {run.model for run in one.runs} for one in stats.series(section)}
    assert found["cuda"] == {ENCODER.id, MODELS[2].id}
    assert found[PATH] == {model.id for model in MODELS} - {MODELS[2].id}


def test_recipes_budgets_and_protocols_are_kept_apart(tmp_path: Path) -> None:
    slow = train("mnli@sample", learning_rate=1e-6)
    longer = replace(train("mnli@sample"), budget=Budget(1, "epochs"))
    others = [measure(MODELS[1], code, max_tokens=64) for code in LANGUAGES]
    store = fill(tmp_path / "store", [*leaves([ENCODER, MODELS[1], slow, longer]), *others])
    first, second = sections_of(store)
    assert [run.model for run in second.runs] == [MODELS[1].id]
    assert "64 tokens" in second.key["protocol"]
    assert [len(one.runs) for one in stats.series(first)] == [2, 2, 2]
    assert {one.budget for one in stats.series(first)} == {"2000 examples", "1 epoch"}


def test_two_contents_of_one_language_are_refused(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", [*leaves(), measure(train("mnli@sample", seed=9), "de", content="another")])
    with pytest.raises(ValueError, match=r"tatoeba/test de was measured on two contents"):
        sections_of(store)


def test_two_values_of_one_cell_are_refused(tmp_path: Path) -> None:
    twice = replace(measure(ENCODER, "de"), views=Views(num_neighbours=4))
    store = fill(tmp_path / "store", [measure(ENCODER, "de"), twice])
    with pytest.raises(ValueError, match="two values for tatoeba/test de"):
        sections_of(store)


# -- the report ------------------------------------------------------------------------------------------


def test_a_report_is_written_and_states_what_it_is(stored: Store, tmp_path: Path) -> None:
    paths = report.write(stored, "scaling", tmp_path / "new" / "report")
    curves = ["tatoeba-gain-by-k.svg", "tatoeba-by-k.svg"]
    names = ["rows.parquet", "rows.csv", "report.md", "report.html", *curves, "tables"]
    assert [path.name for path in paths if path.suffix != ".pdf"] == names
    text = paths[2].read_text()
    for part in (
        "22 of 22 measurements are done",
        "| k | `0,1,2` |",
        "Profiles `xtreme-2020`, `stilts-2020`: layer 2 of 4",
        "this is **not the published protocol**",
        "36 languages; every run of this study has 3 of them",
        f"numeric path: {PATH}",
        tables.FOOTNOTE,
        "| evaluate | 22 | 33.0 |",
        "| train | 6 | 9.0 |",
        "| torch | 2.13.0 |",
        "22 of 22",
        "440 of 22000 nearest neighbours",
    ):
        assert part in text
    assert "miniature" not in text
    assert "Missing" not in text


def test_the_same_store_gives_the_same_bytes(stored: Store, own: Store, tmp_path: Path) -> None:
    first = report.write(stored, "scaling", tmp_path / "a")
    second = report.write(own, "scaling", tmp_path / "b")
    files, others = ([*paths[:-1], *sorted(paths[-1].iterdir())] for paths in (first, second))
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in others]
    assert b"<dc:date>" not in first[-2].read_bytes()


def test_what_is_missing_or_unscored_is_named(tmp_path: Path) -> None:
    bare = measure(ENCODER, "fr")
    store = fill(tmp_path / "store", leaves(), score=lambda stage: stage != bare)
    for stage in (MODELS[1], *(measure(MODELS[1], code) for code in LANGUAGES), MODELS[3]):
        shutil.rmtree(store.folder(stage.id))
    plan = store.plan("scaling")
    lacking = [id for id, _ in rows.missing(store, plan)]
    assert sorted(lacking) == sorted([MODELS[1].id, *(measure(MODELS[1], code).id for code in LANGUAGES)])
    assert rows.unscored(store, plan, rows.rows(store, plan)) == [(bare.id, label(bare))]
    text = report.write(store, "scaling", tmp_path / "report")[2].read_text()
    assert "18 of 21 measurements are done" in text
    assert all(id in text for id in lacking)
    assert f"without a score (`xstilts rescore` adds it): 1\n\n* {label(bare)} (`{bare.id}`)" in text


def test_an_empty_study_is_reported_as_missing(stored: Store, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.write_plan("scaling", stored.plan("scaling"))
    paths = report.write(store, "scaling", tmp_path / "report")
    assert [path.name for path in paths] == ["rows.parquet", "rows.csv", "report.md", "report.html", "tables"]
    assert "0 of 22 measurements" in paths[2].read_text()
    assert "… and 8 more" in paths[2].read_text()


def test_the_miniature_is_labelled_and_other_kinds_are_reported(tmp_path: Path) -> None:
    small = [measure(model, code, "mini-bitext") for model in (ENCODER, train("mini-nli")) for code in ("de", "ru")]
    store = fill(tmp_path / "store", [*small, *(measure(train("mnli"), code, "xnli") for code in ("de", "sw"))])
    paths = report.write(store, "scaling", tmp_path / "report")
    text = paths[2].read_text()
    assert "## mini-bitext/test, offline, *miniature*" in text
    assert "No profile covers this: the layer is that of `xtreme-2020`, for reference." in text
    scores = [value_of(measure(train("mnli"), code, "xnli"), 0, "", "") for code in ("de", "sw")]
    assert f"| none then mnli | 0 | 0 | {100 * statistics.fmean(scores):.1f} | – |" in text
    curves = ["mini-bitext-gain-by-k.svg", "mini-bitext-by-k.svg", "xnli-by-k.svg"]
    assert [path.name for path in paths[4:-1] if path.suffix != ".pdf"] == curves
    assert "miniature" in paths[4].read_text()
    assert "miniature" in paths[5].read_text()
    assert "miniature" not in paths[6].read_text()


def drawn(svg: str) -> list[tuple[str, str, float]]:
    """What a figure names: the class of the sign, its text, and how high it stands in its panel."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        title = element.find("{http://www.w3.org/2000/svg}title")
        if title is not None:
            place = element.get("cy") or element.get("transform", "").rstrip(")").split()[-1]
            found.append((element.get("class", ""), title.text or "", float(place)))
    return found


def test_the_figure_shows_every_run_the_means_and_their_intervals(stored: Store) -> None:
    section, series, view = only(stored)
    svg = plots.curve(section, view)
    assert svg is not None
    assert "offline: tatoeba, mean over 3 languages, mean pooling</text>" in svg
    found = drawn(svg)
    runs = [(sign, text) for sign, text, _ in found if sign in ("dot c0", "cross c0")]
    expected = []
    for direction in ("en->xx", "xx->en"):
        for model, run in zip(MODELS, section.runs, strict=True):
            name = run.name + (f", seed {run.seed}" if run.k else "")
            value = f"{100 * mean_of(model, PROFILE_LAYER, direction):.1f}"
            expected.append(("cross c0" if model == COLLAPSED else "dot c0", f"{name}: {value}"))
    assert runs == expected
    lines = parse(by_number.by_k(section, series, view))[1:]

    def interval_of(k: int) -> str:
        found = estimates.over_runs(section, series.by_k()[k], view.where, view.languages)
        return f", 95 % interval {100 * found.low:.1f} to {100 * found.high:.1f}" if found.low is not None else ""

    means = [text for sign, text, _ in found if sign == "mark c0"][:3]
    assert means == [
        f"layer 2, k = {k}: {mean}" + interval_of(int(k)) + f", {n} run{'s' * (n != '1')}"
        for k, _, n, mean, *_ in lines
    ]
    others = [text for sign, text, _ in found if sign == "mark c2"]
    assert others[2].startswith(f"layer 4, k = 2: {100 * statistics.fmean(map(layer_4, MODELS[5:])):.1f}")
    assert svg.count('class="line without c0"') == 3  # in the legend and in two panels
    assert svg.count('class="whisker c0"') == 1 + 2 * 2  # none for the one run at k = 0


def layer_4(model: Any) -> float:
    return mean_of(model, 4)


def test_places_in_the_figure_are_the_values(stored: Store) -> None:
    section, _, view = only(stored)
    svg = plots.curve(section, view) or ""
    values = [(float(text.rpartition(": ")[2]), y) for sign, text, y in drawn(svg) if sign in ("dot c0", "cross c0")]
    slope, start = np.polyfit(*zip(*values, strict=True), 1)
    assert all(abs(slope * value + start - y) < 0.5 for value, y in values)
    ticks = re.findall(r'class="y" x="-7" y="([0-9.]+)">([0-9.]+)<', svg)
    assert len(ticks) > 3
    assert all(abs(slope * float(label) + start - (float(y) - 4)) < 0.5 for y, label in ticks)


def test_guessing_is_one_of_the_candidates_or_of_the_labels(stored: Store, tmp_path: Path) -> None:
    section, _, _ = only(stored)
    assert section.chance(LANGUAGES) == 1 / 50
    assert section.chance(["de", "no"]) is None
    (own,) = sections_of(fill(tmp_path / "store", [measure(train("mnli"), code, "xnli") for code in ("de", "sw")]))
    assert own.chance(["de"]) == 1 / 3
    assert "guessing: 33.3 %<" in (plots.curve(own, views.views(own)[0]) or "")


def test_a_difference_is_paired_by_seed_and_counts_what_models_share(tmp_path: Path) -> None:
    starts = [ENCODER, *(train("snli@sample", seed=seed) for seed in (0, 1, 2))]
    models = [train("mnli", start=start, seed=seed) for start in starts for seed in (0, 1)]
    store = fill(tmp_path / "store", [measure(model, "de", "xnli") for model in models])
    section, _, view = only(store)
    scores = [value_of(measure(model, "de", "xnli"), 0, "", "") for model in models]
    found = estimates.change(section, [run for run in section.runs if run.k], view.where, ["de"])
    after = [statistics.fmean(scores[2 + seed :: 2]) for seed in (0, 1)]  # three starts a seed of the target
    ends = scipy.stats.ttest_rel(after, scores[:2]).confidence_interval(0.95)
    assert found == pytest.approx((statistics.fmean(scores[2:]) - statistics.fmean(scores[:2]), ends.low, ends.high, 6))
    one = [model for model in models if model.seed == 0]
    section, _, view = only(fill(tmp_path / "one", [measure(model, "de", "xnli") for model in one]))
    assert estimates.change(section, [run for run in section.runs if run.k], view.where, ["de"])[1:] == (None, None, 3)


def test_runs_that_share_a_subset_or_a_seed_are_not_independent(tmp_path: Path) -> None:
    names = ("mnli@sample", "snli@sample", "anli", "scitail")
    pairs = [("mnli@sample", "snli@sample"), ("anli", "scitail"), ("mnli@sample", "anli")]
    models = [ENCODER, *(train(*of, seed=seed) for of in pairs for seed in (0, 1)), *(train(name) for name in names)]
    section, series, view = only(fill(tmp_path / "store", leaves(models)))
    level = np.array([[mean_of(train(*of, seed=seed)) for seed in (0, 1)] for of in pairs])
    expected = scaling.contrast([np.array([[mean_of(ENCODER)]]), level], [-1, 1], [1, math.comb(4, 2)])
    twos, ones = series.by_k()[2], series.by_k()[1]
    found = estimates.change(section, twos, view.where, view.languages)
    assert (found.low, found.high) == pytest.approx(tuple(map(float, scaling.interval(expected))))
    assert estimates.change(section, ones, view.where, view.languages)[1:] == (None, None, 4), (
        "one seed has no interval"
    )
    last = train(*pairs[2], seed=1).id
    some = [run for run in twos if run.model != last]
    fewer = estimates.change(section, some, view.where, view.languages)  # the third subset lacks a seed
    part = scaling.contrast([np.array([[mean_of(ENCODER)]]), level[:2]], [-1, 1], [1, math.comb(4, 2)])
    assert fewer.mean == pytest.approx(statistics.fmean(level.ravel()[:5]) - mean_of(ENCODER))
    assert fewer.high - fewer.mean == pytest.approx(float(scaling.interval(part)[1] - part.value))
    own = [train(*of, seed=seed) for seed, of in enumerate(pairs)]
    section, series, view = only(fill(tmp_path / "own", leaves([ENCODER, *own])))
    found = estimates.change(section, series.by_k()[2], view.where, view.languages)
    assert found == pytest.approx(stats.summarise([mean_of(model) - mean_of(ENCODER) for model in own]))


def test_two_trainings_for_a_target_have_two_k_0(tmp_path: Path) -> None:
    start = train("snli@sample")

    def tuned(model: Any, rate: float, amount: int) -> Train:
        return replace(train("mnli", start=model, seed=3, learning_rate=rate), budget=Budget(amount))

    ways = [(1e-5, 2000), (3e-5, 2000), (1e-5, 500)]
    models = [tuned(model, *way) for way in ways for model in (ENCODER, start)]
    (section,) = sections_of(fill(tmp_path / "store", [measure(model, "de", "xnli") for model in models]))
    found = stats.series(section)
    assert len(found) == 3
    assert len({one.name for one in found}) == 3
    scores = [value_of(measure(model, "de", "xnli"), 0, "", "") for model in models]
    view = views.views(section)[0]
    for one in found:
        base, run = one.runs
        at = [model.id for model in models].index(run.model)
        assert base.model == models[at - 1].id
        assert one.planned(section, 0) == one.planned(section, 1) == 1
        change = estimates.change(section, [run], view.where, ["de"]).mean
        assert change == pytest.approx(scores[at] - scores[at - 1])
    bases = fill(tmp_path / "bases", [measure(model, "de", "xnli") for model in models[::2]])
    assert [len(one.runs) for one in stats.series(sections_of(bases)[0])] == [1, 1, 1]


def test_languages_stand_by_script_with_their_means_and_changes(stored: Store) -> None:
    section, series, view = only(stored)
    table = tables.by_language(section, series, view)
    header = ("language", "script", "family", "k = 0", "95 % over rows", "k = 1", "Δ", "k = 2", "Δ")
    assert table.header == header
    base = {code: value_of(measure(ENCODER, code), PROFILE_LAYER, "mean", "en->xx") for code in (*LANGUAGES, "ru")}
    best_first = sorted(LANGUAGES, key=lambda code: -base[code])
    names = {"de": "German (de)", "fr": "French (fr)", "sw": "Swahili (sw)"}
    assert [line if isinstance(line, str) else line[0] for line in table.lines] == [
        "Same script as English",
        *(names[code] for code in best_first),
        "**mean of 3**",
        "Not in the mean",
        "Russian (ru)",
        "All 3 languages",
        "**mean of 3**",
    ]
    lines = {line[0]: line for line in parse(table)}
    ones = [value_of(measure(model, "sw"), PROFILE_LAYER, "mean", "en->xx") for model in MODELS[1:5]]
    by_seed = [statistics.fmean(ones[seed::2]) for seed in (0, 1)]  # both subsets of one task are there
    half = 12.7062 * statistics.stdev(by_seed) / math.sqrt(2) * 100
    mean = 100 * statistics.fmean(ones)
    num_rows = section.num_candidates["sw"]
    interval = scipy.stats.binomtest(round(base["sw"] * num_rows), num_rows).proportion_ci(method="wilson")
    assert stats.wilson(round(base["sw"] * num_rows) / num_rows, num_rows) == pytest.approx(tuple(interval))
    rows_interval = " to ".join(f"{100 * end:.1f}" for end in stats.wilson(base["sw"], num_rows))
    assert lines["Swahili (sw)"][1:7] == [
        "Latn", "Niger-Congo", f"{100 * base['sw']:.1f}", rows_interval, f"{mean:.1f} ± {half:.1f}",
        f"{mean - 100 * base['sw']:+.1f} ± {half:.1f}",
    ]  # fmt: skip
    assert lines["Russian (ru)"][3:4] + lines["Russian (ru)"][5:] == [
        f"{100 * base['ru']:.1f}", "– (0 of 4)", "–", "– (0 of 2)", "–",
    ]  # fmt: skip
    assert lines["**mean of 3**"][4] == "–"
    assert lines["**mean of 3**"][5].split(" ±")[0] == parse(by_number.by_k(section, series, view))[2][3]


def test_perplexity_is_no_percentage(tmp_path: Path) -> None:
    texts = [train("text@leipzig", seed=seed) for seed in (0,)]
    (section,) = sections_of(fill(tmp_path / "store", [measure(text, "de", "text@leipzig") for text in texts]))
    section = replace(section, key={**section.key, "metric": "perplexity"})
    (series,), (view,) = stats.series(section), views.views(section)
    value = value_of(measure(texts[0], "de", "text@leipzig"), 0, "", "")
    assert parse(by_number.by_k(section, series, view))[1][3] == f"{value:.1f}"
    assert section.chance(["de"]) is None
    assert "mean perplexity<" in (plots.curve(section, view) or "")


def test_reporting_and_scoring_load_no_torch() -> None:
    code = "import sys, xstilts.report, xstilts.scoring; print('torch' in sys.modules, 'xstilts.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
