"""Other ways of training beside the plain one: the study that yields them, and the report that pairs them."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from test_report import ENCODER, LANGUAGES, PROFILE_LAYER, fill, measure, parse, sections_of
from xstilts import report
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Recipe, Robust
from xstilts.report import rows, stats, views
from xstilts.report.alternatives import PLAIN, named, overview, paired
from xstilts.report.blocks import Table
from xstilts.report.methods import method
from xstilts.report.stats import tasks_of
from xstilts.stage import Evaluate, Merge, Train
from xstilts.studies.alternatives import DEFAULT_METHODS, METHODS, alternatives
from xstilts.studies.parts import MINIATURE_TASKS
from xstilts.studies.scaling import scaling

ONE, TWO = "mnli@sample", "snli@sample"
SEEDS = (0, 1, 2)


def models_of(**parameters: Any) -> list[Any]:
    """The models that the study measures by retrieval, in its order."""
    found = alternatives(targets=("mini-bitext",), languages=("de",), **parameters)
    return list(dict.fromkeys(leaf.model for leaf in found))


def trainings(model: Any, start: Any) -> list[Train]:
    """The trainings of a model since a start, those of merged models included."""
    if model == start:
        return []
    if isinstance(model, Merge):
        return [one for part in model.models for one in trainings(part, start)]
    return [*trainings(model.start, start), model]


# ------------------------------------------------------------ the study


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_start_the_examples_and_the_seeds_of_the_plain_training(name: str) -> None:
    start, *models = models_of(methods=(name,), seeds=(3, 5), examples=4000)
    assert start.mixture.tasks == ("mini-text",)
    assert len(models) == 2
    for seed, model in zip((3, 5), models, strict=True):
        stages = trainings(model, start)
        assert sum(stage.budget.amount for stage in stages) == 4000
        assert {stage.budget.unit for stage in stages} == {"examples"}
        assert {stage.seed for stage in stages} == {seed}
        tasks = {task for stage in stages for task in stage.mixture.tasks}
        own = {"mlm": {*MINIATURE_TASKS, "mini-text"}, "contrastive": {"mini-nli-triples"}}
        assert tasks == own.get(name, {*MINIATURE_TASKS})


def test_the_plain_training_is_that_of_scaling() -> None:
    (plain,) = models_of(methods=("plain",), seeds=(0,), examples=2000)[1:]
    leaves = scaling(targets=("mini-bitext",), languages=("de",), k=(4,), budget="fixed", examples=2000)
    assert plain.id in {leaf.model.id for leaf in leaves}


def test_no_two_methods_are_one() -> None:
    _, *models = models_of(methods=METHODS, seeds=(0,))
    assert len({model.id for model in models}) == len(METHODS)
    assert set(DEFAULT_METHODS) <= set(METHODS)


def test_a_method_may_change_the_training_for_the_target() -> None:
    def recipes(where: str) -> tuple[Recipe, Recipe]:
        leaves = alternatives(methods=("r3f",), seeds=(0,), targets=("mini-xnli",), languages=("de",), where=where)
        last = list(leaves)[-1].model
        assert last.mixture.tasks == ("mini-nli",)
        return last.start.recipe, last.recipe

    for where, expected in {"intermediate": (True, False), "target": (False, True), "both": (True, True)}.items():
        assert tuple(recipe.robust is not None for recipe in recipes(where)) == expected


def test_sequential_is_one_stage_after_another_in_the_order_given() -> None:
    start, model = models_of(methods=("sequential",), seeds=(0,), tasks=MINIATURE_TASKS[::-1])
    stages = trainings(model, start)
    assert [stage.mixture.tasks for stage in stages] == [(name,) for name in MINIATURE_TASKS[::-1]]
    assert all(after.start == before for before, after in pairwise(stages))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"methods": ("plian",)}, "unknown method 'plian': .* did you mean 'plain'"),
        ({"where": "everywhere"}, "unknown where 'everywhere'"),
        ({"tasks": ("mini-nly",)}, "unknown task 'mini-nly'"),
    ],
)
def test_what_the_study_does_not_know_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models_of(**words)


# ------------------------------------------------------------ the report


def joint(seed: int, recipe: Recipe = STILTS, **mixture: Any) -> Train:
    return Train(ENCODER, Mixture((ONE, TWO), policy="uniform", **mixture), Budget(100), recipe, seed)


ROBUST = replace(STILTS, robust=Robust("r3f"))
OTHER = "quora"


def study() -> dict[str, list[Any]]:
    """Models by the name that a report gives their method."""
    singles = {seed: [Train(ENCODER, Mixture((n,)), Budget(50), STILTS, seed) for n in (ONE, TWO)] for seed in SEEDS}
    return {
        PLAIN: [joint(seed) for seed in SEEDS],
        "robust: r3f": [joint(seed, ROBUST) for seed in SEEDS],
        "all tasks in a step": [joint(seed, tasks_per_step="all") for seed in SEEDS],
        "merged by uniform": [Merge(tuple(singles[seed])) for seed in SEEDS],
        "dual pooling mean": [
            Train(
                ENCODER,
                Mixture(("mnli-triples@dev",), policy="uniform"),
                Budget(100),
                replace(STILTS, dual_pooling="mean"),
                1,
            )
        ],
    }


def score_of(stage: Evaluate, layer: int) -> float:
    return random.Random(f"{stage.id} {layer}").randrange(100, 900) / 1000


def store_of(folder: Path, models: list[Any]) -> Any:
    leaves = [measure(model, language) for model in models for language in LANGUAGES]
    store = fill(folder, leaves, score=lambda stage: False)
    for leaf in leaves:
        values = [
            {"layer": layer, "pooling": "mean", "direction": "xx->en", "num_examples": 50, "num_ties": 0}
            | {"value": score_of(leaf, layer)}
            for layer in (PROFILE_LAYER, 4)
        ]
        store.add_score(leaf.id, "accuracy-v1", {"metric": "accuracy", "version": 1, "options": {}, "values": values})
    return store


def test_methods_are_paired_with_the_plain_training_by_hand(tmp_path: Path) -> None:
    named = study()
    store = store_of(tmp_path / "store", [ENCODER, *(model for models in named.values() for model in models)])
    (section,) = sections_of(store)
    view = views.views(section)[0]

    def mean_of(model: Any) -> float:
        return statistics.fmean(score_of(measure(model, language), view.layer or 0) for language in LANGUAGES)

    found = paired(section, view)
    assert found[0].name == PLAIN
    assert {one.name for one in found} == set(named)
    plain = {model.seed: mean_of(model) for model in named[PLAIN]}
    for one in found:
        models = named[one.name]
        assert one.mean == pytest.approx(statistics.fmean(map(mean_of, models)))
        if one.name == PLAIN:
            assert one.change.num_runs == 0
            continue
        seeds = [model.models[0].seed if isinstance(model, Merge) else model.seed for model in models]
        differences = [mean_of(model) - plain[seed] for model, seed in zip(models, seeds, strict=True)]
        expected = stats.summarise(differences)
        assert one.change.num_runs == len(models)
        assert one.change.mean == pytest.approx(expected.mean)
        if len(models) > 1:
            assert one.change.low == pytest.approx(expected.low)
        else:
            assert one.change.low is None, "one seed has no interval"
    *_, table = overview([section])
    assert isinstance(table, Table)
    assert [line[0] for line in parse(table)[1:]] == [one.name for one in found]
    report.write(store, "scaling", tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert text.index("## Methods beside the plain training") < text.index("| robust: r3f")
    assert "| robust: r3f |" in (tmp_path / "report" / "methods.md").read_text(), "what the command prints"


def test_one_method_makes_no_table(tmp_path: Path) -> None:
    named = study()
    for number, models in enumerate((named[PLAIN], named["robust: r3f"])):
        (section,) = sections_of(store_of(tmp_path / str(number), [ENCODER, *models]))
        assert paired(section, views.views(section)[0]) == []
        assert list(overview([section])) == []


def test_columns_of_one_task_by_two_metrics_stand_apart_and_held_out_rows_are_none(tmp_path: Path) -> None:
    models = [ENCODER, *(model for name in (PLAIN, "robust: r3f") for model in study()[name])]
    both = [measure(model, "de", "mini-bitext", split=split) for split in ("test", "dev") for model in models]
    store = fill(tmp_path, both)
    for stage in both:
        found = store.scores(stage.id)["accuracy-v1"]
        values = [one | {"value": one["value"] / 2} for one in found["values"]]
        store.add_score(stage.id, "csls-v1", found | {"metric": "csls", "values": values})
    plan = store.plan("scaling")
    *_, table = overview(stats.sections(rows.rows(store, plan), plan))
    assert isinstance(table, Table)
    assert [name.partition(",")[0] for name in table.header] == ["method", "mini-bitext", "mini-bitext by csls"]
    plain, half = (float(parse(table)[1][at]) for at in (1, 2))
    assert half == pytest.approx(plain / 2, abs=0.06)


def test_a_run_that_lacks_a_language_is_in_no_pair(tmp_path: Path) -> None:
    named = study()
    models = [ENCODER, *named[PLAIN], *named["robust: r3f"]]
    leaves = [measure(model, language) for model in models for language in LANGUAGES]
    lacking = measure(named[PLAIN][0], LANGUAGES[0])
    store = fill(tmp_path, leaves, score=lambda stage: False)
    for leaf in leaves:
        if leaf != lacking:
            values = [
                {"layer": PROFILE_LAYER, "pooling": "mean", "direction": "xx->en", "num_examples": 50, "num_ties": 0}
                | {"value": score_of(leaf, 0)}
            ]
            store.add_score(
                leaf.id, "accuracy-v1", {"metric": "accuracy", "version": 1, "options": {}, "values": values}
            )
    (section,) = sections_of(store)
    plain, robust = paired(section, views.views(section)[0])
    assert (len(plain.runs), len(robust.runs), robust.change.num_runs) == (2, 3, 2)
    (_, _, table) = overview([section])
    assert isinstance(table, Table)
    assert [line[0] for line in table.lines] == [PLAIN, "robust: r3f"]


def test_settings_of_the_target_alone_are_named_and_those_of_all_runs_are_no_difference() -> None:
    plain, robust = joint(0).declaration(), joint(0, ROBUST).declaration()
    assert method([plain], [robust]) == "robust: r3f for the target"
    assert method([robust], [robust]) == "robust: r3f"
    run = stats.Run("m", 2, "a+b", "", "robust: r3f, lora", "uniform", "", "", "", 0, "", None, False)
    assert named(run, "uniform", {"lora"}) == "robust: r3f"
    assert named(run, "uniform", {"lora", "robust: r3f"}) == ""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("anli+", {"anli+"}),
        ("anli++mnli", {"anli+", "mnli"}),
        ("anli+mnli>anli+>qqp", {"anli", "mnli", "anli+", "qqp"}),
    ],
)
def test_tasks_are_told_apart_where_a_name_ends_with_a_plus(text: str, names: set[str]) -> None:
    run = stats.Run("", 1, text, "", "", "", "", "", "", 0, "", None, False)
    assert tasks_of(run) == names


def test_a_plain_declaration_has_no_method() -> None:
    assert method([joint(0).declaration()]) == ""
    recipe = replace(
        STILTS, robust=Robust("r3f"), aggregation="mix", layer_decay=0.5, frozen_layers=0, whole_words=True
    )
    words = method([joint(0, recipe).declaration()])
    assert set(words.split(", ")) == {
        "robust: r3f", "aggregation mix", "layer decay 0.5", "frozen layers 0", "whole words"
    }  # fmt: skip
