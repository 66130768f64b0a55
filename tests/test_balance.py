"""Several tasks in a stage: how their losses are balanced, and steps that hold examples of more than one."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small import CPU, encoded, shaken, small_folders
from test_step import readable
from test_train import CASES, RECIPE, Bench, bench, check_equal, flushed
from xstilts import tasks
from xstilts.engine import Interrupted, balance
from xstilts.engine import step as step_module
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import Batch, Shape, collate
from xstilts.engine.step import adamw, graph_problem, learning_rate
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Override, Recipe
from xstilts.stage import Encoder, Train
from xstilts.study import Sources, make_plan
from xstilts.tasks import find

pytestmark = pytest.mark.usefixtures("small_miniature")
__all__ = ["bench", "flushed"]

TWO = Mixture(("mini-nli", "mini-paraphrase"), policy="uniform")
STILL = replace(RECIPE, hidden_dropout=0.0)
TRAINABLE = ("mini-nli", "mini-tags", "mini-qa", "mini-choice", "mini-lareqa-train", "mini-nli-triples", "mini-text")


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])


# ------------------------------------------------------------ what guessing costs


@pytest.mark.parametrize(
    ("name", "filled"), [(name, filled) for name in TRAINABLE for filled in (False, True)][:-1]
)  # masked tokens are in no batch that is filled
def test_the_uniform_loss_is_that_of_a_head_without_weights(name: str, filled: bool, model: Model) -> None:
    task = find(name)
    kind = KINDS[task.kind.name]
    language = "de" if name == "mini-text" else "en"
    data = encoded(task.kind, tasks.examples(task, "train", language)[:5], model.tokenizer, 90)
    head = kind.head(task.kind, model.encoder, model.tokenizer, replace(STILTS, hidden_dropout=0.0))
    with torch.no_grad():
        for name_of, parameter in head.named_parameters():
            if not name_of.startswith("dense"):
                parameter.zero_()
        batch = collate(data, [4, 0, 2], CPU)
        if filled:
            shape = Shape(batch.num_tokens + 21, len(batch.lengths) + 3, 200)
            batch = readable(collate(data, [4, 0, 2], CPU, shape))
        loss = kind.loss(model.encoder, head, batch, torch.Generator().manual_seed(0))
    assert float(kind.uniform_loss(head, batch)) == pytest.approx(loss.item(), rel=1e-5)


def test_every_kind_that_is_trained_has_a_uniform_loss() -> None:
    assert {find(name).kind.name for name in TRAINABLE} == set(KINDS) - {"mine", "search"}


# ------------------------------------------------------------ balances


def gradients(
    bench: Bench, recipe: Recipe, groups: Sequence[tuple[str, Sequence[Sequence[int]]]], log_variance: float = 0.0
) -> tuple[float, dict[str, torch.Tensor]]:
    """The plain loss of a step on rows of tasks, each in parts, and the gradients that it leaves."""
    stage = bench.stage(Mixture(tuple(name for name, _ in groups)), recipe=recipe)
    model = bench.model(stage)
    with torch.no_grad():
        for parameter in balance.log_variances(model).values():
            parameter.fill_(log_variance)
    found = []
    for name, parts in groups:
        alone = bench.stage(Mixture((name,)), recipe=recipe)
        rows = bench.rows(alone, model)
        found.append((find(name), [collate(rows, part, CPU) for part in parts]))
    optimiser = adamw(model, recipe, CPU)
    rng = step_module.prepare(optimiser, stage, "", 3, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimiser, "step", lambda: None)
        loss = step_module.mixed_update(model, optimiser, found, stage, rng)
    return float(loss), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def check_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=2e-6, rtol=2e-5, msg=name)


@pytest.mark.parametrize("name", ["mini-nli", "mini-qa", "mini-choice", "mini-tags"])
def test_log_classes_divides_by_what_guessing_costs_in_parts_too(name: str, bench: Bench) -> None:
    scaled = replace(STILL, loss_balance="log-classes", max_tokens=60)
    plain_loss, plain = gradients(bench, replace(STILL, max_tokens=60), [(name, [[0, 1, 2, 3, 4]])])
    loss, whole = gradients(bench, scaled, [(name, [[0, 1, 2, 3, 4]])])
    assert loss == plain_loss, "what is logged is the plain loss"
    first = next(iter(plain))
    ratio = float(plain[first].norm() / whole[first].norm())
    check_close({key: value * ratio for key, value in whole.items()}, plain)
    classes = {"mini-nli": 3, "mini-tags": len(find(name).kind.labels) if name == "mini-tags" else 0}.get(name)
    if classes:
        assert ratio == pytest.approx(math.log(classes), rel=1e-4)
    in_parts, parts = gradients(bench, scaled, [(name, [[0, 1], [2, 3, 4]])])
    assert in_parts == pytest.approx(loss, rel=1e-5)
    check_close(parts, whole)


def test_log_classes_of_one_candidate_is_no_division_by_zero(bench: Bench) -> None:
    loss, found = gradients(bench, replace(STILL, loss_balance="log-classes"), [("mini-lareqa-train", [[0]])])
    assert loss == 0
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize("log_variance", [0.0, 0.7, -1.2])
def test_uncertainty_is_kendall_by_hand(log_variance: float, bench: Bench) -> None:
    recipe = replace(STILL, loss_balance="uncertainty")
    whole = [("mini-nli", [[0, 1, 2]]), ("mini-paraphrase", [[3, 4, 5, 6, 7]])]
    parts = [("mini-nli", [[0], [1, 2]]), ("mini-paraphrase", [[3, 4], [5, 6, 7]])]
    alone = [gradients(bench, STILL, [one]) for one in whole]
    for groups in (whole, parts):
        loss, found = gradients(bench, recipe, groups, log_variance)
        assert loss == pytest.approx(3 / 8 * alone[0][0] + 5 / 8 * alone[1][0], rel=1e-5)
        for (name, _), (own_loss, own), share in zip(whole, alone, (3 / 8, 5 / 8), strict=True):
            slope = found.pop(f"heads.{name}.log_variance")
            assert slope.item() == pytest.approx(share * (0.5 - math.exp(-log_variance) * own_loss), rel=1e-4)
            for key in own.keys() & found.keys():
                if key.startswith("heads."):
                    torch.testing.assert_close(
                        found[key], own[key] * share * math.exp(-log_variance), atol=2e-6, rtol=2e-5
                    )
        weight = math.exp(-log_variance)
        shared = {key: value for key, value in found.items() if key.startswith("encoder.")}
        by_hand = {key: weight * (3 / 8 * alone[0][1][key] + 5 / 8 * alone[1][1][key]) for key in shared}
        check_close(shared, by_hand)


def test_a_variance_has_a_rate_of_its_own_no_decay_and_no_part_in_clipping(bench: Bench) -> None:
    ends = {}
    for kind in ("none", "uncertainty"):
        recipe = replace(
            RECIPE, loss_balance=kind, weight_decay=0.5, max_grad_norm=0.05, variance_rate=40.0, warmup_share=0.0
        )
        stage = bench.stage(TWO, recipe=recipe)
        model = bench.model(stage)
        optimiser = adamw(model, recipe, CPU)
        rows = bench.rows(bench.stage(Mixture(("mini-nli",))), model)
        step_module.plain_step(model, optimiser, find("mini-nli"), [collate(rows, range(4), CPU)], stage, 2, 10)
        ends[kind] = model.state_dict()
    mine = ends["uncertainty"].pop("heads.mini-nli.log_variance")
    other = ends["uncertainty"].pop("heads.mini-paraphrase.log_variance")
    assert other.item() == 0, "the variance of a task that a step does not have"
    rate = learning_rate(RECIPE, 2, 10) if RECIPE.warmup_share == 0 else RECIPE.learning_rate * 8 / 10
    assert mine.item() == pytest.approx(40 * rate, rel=1e-3), "Adam's first step, upwards: the loss is above 1/2"
    for name, value in ends["none"].items():
        assert torch.equal(ends["uncertainty"][name], value), name


@pytest.mark.parametrize("kind", ["log-classes", "uncertainty"])
def test_a_balance_counts_in_a_training_and_a_resume_keeps_it(kind: str, bench: Bench) -> None:
    recipe = replace(RECIPE, loss_balance=kind, variance_rate=50.0)
    plain = bench.train(bench.stage(TWO, Budget(6, "steps")), "plain")
    stage = bench.stage(TWO, Budget(6, "steps"), recipe)
    done = bench.train(stage, "whole")
    assert done.steps[0]["loss"] == plain.steps[0]["loss"], "the log has plain losses"
    assert done.bytes["weights/encoder/model.safetensors"] != plain.bytes["weights/encoder/model.safetensors"]
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        bench.train(stage, "resumed", stop=lambda: next(calls) >= 3)
    check_equal(bench.train(stage, "resumed"), done)
    variances = {name: value for name, value in done.heads().items() if name.endswith("log_variance")}
    assert len(variances) == (2 if kind == "uncertainty" else 0)
    assert all(value.item() > 0 for value in variances.values())
    again = Model.load_trained(bench.inputs[stage.id], recipe)
    for name, value in done.heads().items():
        assert torch.equal(again.heads.state_dict()[name], value)


# ------------------------------------------------------------ steps of several tasks


@pytest.mark.parametrize("tasks_per_step", [2, "all"])
def test_a_step_of_several_tasks_is_the_mean_over_its_examples(
    tasks_per_step: int | str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = replace(TWO, policy="explicit", weights=(3, 1), tasks_per_step=tasks_per_step)
    stage = bench.stage(mixture, Budget(40), STILL)
    seen: list[dict[str, list[int]]] = []
    own = step_module.mixed_update

    def update(model: Model, optimiser: Any, groups: Any, *rest: Any) -> torch.Tensor:
        by_hand = []
        for task, (batch,) in groups:
            twin = copy.deepcopy(model).train()
            loss = KINDS[task.kind.name].loss(twin.encoder, twin.head(task.name), batch, torch.Generator())
            by_hand += [loss.item()] * batch.num_examples
        found = own(model, optimiser, groups, *rest)
        assert found.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
        seen.append({task.name: batch.rows.tolist() for task, (batch,) in groups})
        return found

    monkeypatch.setattr(step_module, "mixed_update", update)
    done = bench.train(stage)
    assert done.result["steps"] == len(done.steps) == 10
    assert done.result["examples"] == 40
    mixed = [line for line in done.steps if "+" in line["task"]]
    assert len(mixed) == len(seen) > 2
    assert {line["task"] for line in done.steps} <= {"mini-nli", "mini-paraphrase", "mini-nli+mini-paraphrase"}
    counts = {name: task["examples"] for name, task in done.result["tasks"].items()}
    assert counts == {"mini-nli": 30, "mini-paraphrase": 10}
    assert sum(task["tokens"] for task in done.result["tasks"].values()) == done.result["tokens"]
    steps = [task["steps"] for task in done.result["tasks"].values()]
    assert sum(steps) == 10 + len(mixed)
    assert done.result["step_path"] == "plain: the device is cpu"


@pytest.mark.parametrize("case", [2, "all"])
def test_steps_of_several_tasks_are_resumed_to_the_same_bytes(case: int | str, bench: Bench) -> None:
    mixture, recipe = CASES["mixed"]
    stage = bench.stage(replace(mixture, tasks_per_step=case), Budget(9, "steps"), recipe)
    whole = bench.train(stage, "whole")
    calls = iter(range(100))
    for _ in range(2):
        with pytest.raises(Interrupted):
            bench.train(stage, "resumed", stop=lambda: next(calls) % 5 == 4)
    done = bench.train(stage, "resumed")
    assert done.result["resumed_at_step"] > 4
    check_equal(done, whole)


def test_a_step_of_several_tasks_that_does_not_fit_is_done_in_parts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(STILL, batch_examples=6, learning_rate=1e-3)
    mixture = Mixture(("mini-lareqa-train", "mini-nli"), policy="uniform", tasks_per_step="all")
    stage = bench.stage(mixture, Budget(4, "steps"), recipe)
    whole = bench.train(stage, "whole")
    own = step_module.objective

    def objective(model: Model, task: Any, batch: Batch, *rest: Any) -> torch.Tensor:
        if task.name == "mini-nli" and batch.num_examples > 1:
            raise torch.OutOfMemoryError("made")
        return own(model, task, batch, *rest)

    monkeypatch.setattr(step_module, "objective", objective)
    done = bench.train(stage, "parts")
    assert done.result["step_parts"] == 4
    for one, two in zip(done.steps, whole.steps, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
    monkeypatch.setattr(step_module, "objective", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("made")))
    with pytest.raises(torch.OutOfMemoryError) as refused:
        bench.train(stage, "never")
    assert refused.value.__notes__ == [
        "step 0: a step of 6 examples of mini-lareqa-train+mini-nli in 4 parts does not fit: "
        "lower batch_examples or max_tokens"
    ]


# ------------------------------------------------------------ what is declared


def test_one_task_has_one_part_a_step_whatever_is_asked() -> None:
    assert Mixture(("mini-nli",), tasks_per_step="all").id == Mixture(("mini-nli",)).id
    assert replace(TWO, tasks_per_step=1).id == TWO.id
    assert len({replace(TWO, tasks_per_step=n).id for n in (1, 2, 4, "all")}) == 4


@pytest.mark.parametrize("wrong", [0, -1, "some", 1.5])
def test_a_number_of_tasks_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"mixture\.tasks_per_step is .*: expected a"):
        replace(TWO, tasks_per_step=wrong)


@pytest.mark.parametrize(
    ("mixture", "recipe", "message"),
    [
        (replace(TWO, tasks_per_step=3), STILTS, "tasks_per_step is 3: expected a divisor of recipe.batch_examples"),
        (
            replace(TWO, tasks_per_step="all"),
            replace(STILTS, overrides=(Override("mini-nli", 8),)),
            "tasks_per_step is 'all', and recipe.overrides gives mini-nli 8 examples a step: expected one size",
        ),
    ],
)
def test_steps_that_cannot_be_made_are_refused_in_the_plan(
    mixture: Mixture, recipe: Recipe, message: str, cache_dir: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan("t", [Train(Encoder("tiny"), mixture, Budget(64), recipe)], Sources(None, cache_dir))


def test_lengths_of_their_own_are_no_hindrance(cache_dir: Path) -> None:
    recipe = replace(STILTS, overrides=(Override("mini-nli", max_tokens=8), Override("mini-paraphrase", 32)))
    stage = Train(Encoder("tiny"), replace(TWO, tasks_per_step="all"), Budget(64), recipe)
    assert make_plan("t", [stage], Sources(None, cache_dir)).leaves


def test_unknown_balances_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown loss balance 'log_classes': expected one of none, log-classes"):
        Recipe(loss_balance="log_classes")
    with pytest.raises(ValueError, match=r"recipe\.variance_rate is 0.0"):
        Recipe(variance_rate=0)


def test_steps_of_several_tasks_are_no_graph(model: Model) -> None:
    stage = Train(Encoder("tiny"), replace(TWO, tasks_per_step="all"), Budget(1), replace(STILTS, precision="bfloat16"))
    assert graph_problem(stage, model, {"classify"}, torch.device("cuda")) == "a step has examples of several tasks"
