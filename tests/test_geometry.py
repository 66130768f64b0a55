"""A report's view of what a gain rests on, and of trainings that differ in how tasks share them."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from test_report import ENCODER, LANGUAGES, MODELS, PROFILE_LAYER, fill, measure, parse, sections_of, train
from xstilts import report
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.report import by_number, rows, stats, views
from xstilts.report.geometry import by_geometry
from xstilts.stage import Evaluate, Train
from xstilts.store import Store
from xstilts.studies.parts import sequence

POOLINGS = ("mean/whitened", "cls", "mean/lir-4", "mean", "mean/lir", "mean/centred")


def score_of(stage: Evaluate, layer: int, pooling: str, direction: str, metric: str) -> float:
    return random.Random(f"{stage.id} {layer} {pooling} {direction} {metric}").randrange(100, 900) / 1000


def store_of(folder: Path, models: list[Any], metrics: tuple[str, ...]) -> tuple[Store, list[Evaluate]]:
    leaves = [measure(model, language) for model in models for language in LANGUAGES]
    store = fill(folder, leaves, score=lambda stage: False)
    for leaf in leaves:
        for metric in metrics:
            values = [
                {"layer": layer, "pooling": pooling, "direction": direction, "num_examples": 50, "num_ties": 0}
                | {"value": score_of(leaf, layer, pooling, direction, metric)}
                for layer in (PROFILE_LAYER, 4)
                for pooling in POOLINGS
                for direction in ("en->xx", "xx->en")
            ]
            document = {"metric": metric, "version": 1, "options": {}, "values": values}
            store.add_score(leaf.id, f"{metric}-v1", document)
    return store, leaves


def test_gains_stand_side_by_side_by_hand(tmp_path: Path) -> None:
    store, leaves = store_of(tmp_path / "store", MODELS, ("accuracy", "csls", "ratio-margin"))
    found = sections_of(store)
    assert [section.key["metric"] for section in found] == ["accuracy", "csls", "ratio-margin"]
    section, *others = found
    (series,) = stats.series(section)
    view = views.views(section)[0]
    table = by_geometry(section, found, series, view)
    assert table is not None
    header, *lines = parse(table)
    ways = ["mean", "mean/centred", "mean/lir", "mean/lir-4", "mean/whitened"]
    names = ["mean, accuracy", "/centred", "/lir", "/lir-4", "/whitened", "csls", "ratio-margin"]
    assert header == ["", *names]
    assert [line[0] for line in lines] == ["k = 0", "Δ at k = 1", "Δ at k = 2"]
    cells = [(pooling, "accuracy") for pooling in ways] + [("mean", "csls"), ("mean", "ratio-margin")]
    for column, (pooling, metric) in enumerate(cells, 1):

        def mean_of(model: Any, pooling: str = pooling, metric: str = metric) -> float:
            own = [leaf for leaf in leaves if leaf.model == model]
            return statistics.fmean(
                score_of(leaf, PROFILE_LAYER, pooling, view.direction or "", metric) for leaf in own
            )

        base = mean_of(ENCODER)
        assert lines[0][column] == f"{100 * base:.1f}"
        for k, line in ((1, lines[1]), (2, lines[2])):
            means = [mean_of(model) for model in MODELS[1:] if len(model.mixture.tasks) == k]
            if k == 1:  # two subsets of two tasks: both there are, so that seeds alone have an error
                means = [statistics.fmean(means[seed::2]) for seed in (0, 1)]
            interval = stats.summarise(means)
            change = 100 * (statistics.fmean(means) - base)
            text = f"{change:+.1f}" if f"{change:+.1f}" not in ("+0.0", "-0.0") else "0.0"
            assert line[column] == f"{text} ± {100 * (interval.high - interval.mean):.1f}"
    for other in others:
        assert by_geometry(other, found, series, views.views(other)[0]) is None, "once, where the task's own metric is"
    report.write(store, "scaling", tmp_path / "report")
    assert (tmp_path / "report" / "report.md").read_text().count("| mean, accuracy | /centred | /lir") == 1


def test_one_way_of_comparing_makes_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = store_of(tmp_path / "store", MODELS[:2], ("accuracy",))
    monkeypatch.setitem(globals(), "POOLINGS", ("mean", "cls"))
    plain, _ = store_of(tmp_path / "plain", MODELS[:2], ("accuracy",))
    for where, expected in ((store, True), (plain, False)):
        (section,) = sections_of(where)
        (series,) = stats.series(section)
        table = by_geometry(section, [section], series, views.views(section)[0])
        assert (table is not None) == expected


def test_trainings_that_share_in_other_ways_are_series_of_their_own_with_the_runs_of_one_task(tmp_path: Path) -> None:
    one, two = "mnli@sample", "snli@sample"
    how: dict[str, Any] = {"policy": "uniform"}
    alone = [sequence(ENCODER, (name,), [Budget(100)], STILTS, 0, **how) for name in (one, two)]
    joint = Train(ENCODER, Mixture((one, two), **how), Budget(100), STILTS, 0)
    in_turn = [sequence(ENCODER, names, [Budget(50)] * 2, STILTS, 0, **how) for names in ((one, two), (two, one))]
    mixed = Train(ENCODER, Mixture((one, two), tasks_per_step="all", **how), Budget(100), STILTS, 0)
    balanced = Train(ENCODER, Mixture((one, two), **how), Budget(100), replace(STILTS, loss_balance="log-classes"), 0)

    def series_of(name: str, *models: Any) -> dict[str, list[str]]:
        store = fill(tmp_path / name, [measure(model, "de") for model in (ENCODER, *models)])
        (section,) = sections_of(store)
        found = stats.series(section)
        for series in found:
            for k, runs in series.by_k().items():
                assert series.planned(section, k) == len(runs)
        by_number.by_k(section, found[0], views.views(section)[0])
        return {series.policy: [run.tasks for run in series.runs] for series in found}

    both = [one, two]
    assert series_of("sequence", *alone, *in_turn) == {
        "uniform; one stage after another": ["", *both, f"{one}>{two}", f"{two}>{one}"]
    }
    assert series_of("all", *alone, joint, *in_turn, mixed, balanced) == {
        "uniform": ["", *both, f"{one}+{two}"],
        "uniform; one stage after another": ["", *both, f"{one}>{two}", f"{two}>{one}"],
        "uniform; all tasks in a step": ["", *both, f"{one}+{two}"],
        "uniform, losses by log-classes": ["", f"{one}+{two}"],
    }


def test_budgets_of_a_sequence_are_one_sum_or_one_epoch() -> None:
    def said(*budgets: Budget) -> str:
        last: Any = ENCODER
        declared = []
        for number, budget in enumerate(budgets):
            last = train("mnli", "snli", seed=number, start=last)
            declared.append((f"id{number}", replace(last, budget=budget).declaration()))
        return str(rows.training(rows.Chain({"kind": "encoder"}, tuple(declared)))["budget"])

    assert said(Budget(30), Budget(20)) == "50 examples"
    assert said(Budget(1, "epochs"), Budget(1, "epochs")) == "1 epoch"
    assert said(Budget(1, "epochs"), Budget(2, "epochs")) == "1 epoch > 2 epochs"
    assert said(Budget(1, "epochs"), Budget(20)) == "1 epoch > 20 examples"
