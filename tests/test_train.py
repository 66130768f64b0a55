"""The training loop: what it optimises, what it writes, and that an interrupted run ends in the same bytes."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

from xstilts.engine import Context, Interrupted, checkpoint, encoder_folder, numeric_path, perform
from xstilts.engine import encoder as encoders
from xstilts.engine import step as step_module
from xstilts.engine import train as train_module
from xstilts.engine.data import Tokenised, tokenised
from xstilts.engine.encoder import Encoder as PackedEncoder
from xstilts.engine.evaluate import predict
from xstilts.engine.kinds import classify
from xstilts.engine.model import Model
from xstilts.engine.packing import Batch, collate
from xstilts.engine.step import adamw, decay_factor, learning_rate
from xstilts.engine.train import dev_score
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Lora, Override, Recipe
from xstilts.scoring import score
from xstilts.spec import digest
from xstilts.stage import Encoder, Evaluate, Tiny, Train
from xstilts.study import Sources, make_plan
from xstilts.tasks import find
from xstilts.tasks.tagging import UPOS

pytestmark = pytest.mark.usefixtures("small_miniature")

CPU = torch.device("cpu")
TINY = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
RECIPE = replace(STILTS, learning_rate=2e-3, batch_examples=4, max_tokens=40, evaluate_every_steps=3, dev_examples=12)
NLI = Mixture(("mini-nli",))
TEN_STEPS = Budget(10, "steps")
MIXED = Mixture(("mini-nli", "mini-paraphrase", "mini-text"), policy="uniform", languages=("de", "en"))


class Bench:
    """Stages done one after the other in one folder."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.folder, self.cache_dir = folder, cache_dir
        self.inputs: dict[str, Path] = {}

    def stage(
        self,
        mixture: Mixture = NLI,
        budget: Budget = TEN_STEPS,
        recipe: Recipe = RECIPE,
        start: Encoder | Train = TINY,
        seed: int = 0,
    ) -> Train:
        plan = make_plan("test", [Train(start, mixture, budget, recipe, seed)], Sources(None, self.cache_dir))
        stage = plan.stages[plan.leaves[0]]
        assert isinstance(stage, Train)
        return stage

    def context(self, name: str = "a", **rest: Any) -> Context:
        work = self.folder / name / "work"
        work.mkdir(parents=True, exist_ok=True)
        return Context(inputs=self.inputs, work=work, data_dir=None, cache_dir=self.cache_dir, **rest)

    def train(self, stage: Train, name: str = "a", **rest: Any) -> Done:
        """Train into the folder ``name``; a second call under the same name goes on from its checkpoint."""
        context = self.context(name, **rest)
        out = self.folder / name / "out"
        out.mkdir(exist_ok=True)
        result = perform(stage, out, context)["result"]
        self.inputs[stage.id] = out / "weights"
        return Done(out, result)

    def model(self, stage: Train) -> Model:
        """A stage's model as it stands before the first step."""
        model = Model(encoder_folder(stage.start, self.context()), stage.recipe)
        model.add_heads(stage.mixture.tasks, stage.recipe, stage.seed)
        return model

    def rows(self, stage: Train, model: Model, split: str = "train") -> Tokenised:
        parts = [part for part in stage.data if part.split == split]
        return tokenised(
            parts, model.tokenizer, model.tokenizer_key, max_tokens=40, data_dir=None, cache_dir=self.cache_dir
        )


class Done:
    """The files and the result of a training."""

    def __init__(self, out: Path, result: dict[str, Any]) -> None:
        self.out, self.result = out, result
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        self.steps = [line for line in lines if "loss" in line]
        self.evaluations = [line for line in lines if "dev" in line]

    @property
    def bytes(self) -> dict[str, bytes]:
        """Every file but those of the tokenizer, which is copied."""
        names = ("weights/encoder/model.safetensors", "weights/heads.safetensors", "weights/heads.json", "log.jsonl")
        return {name: (self.out / name).read_bytes() for name in names}

    @property
    def lasting_result(self) -> dict[str, Any]:
        """The result without what a resume changes."""
        changed = ("tokens_per_second", "resumed_at_step", "earlier_seconds")
        return {k: v for k, v in self.result.items() if k not in changed}

    def heads(self) -> dict[str, torch.Tensor]:
        return load_file(self.out / "weights" / "heads.safetensors")

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.out / "weights" / "encoder" / "model.safetensors")


@pytest.fixture
def bench(tmp_path: Path, cache_dir: Path) -> Bench:
    return Bench(tmp_path, cache_dir)


@pytest.fixture(autouse=True)
def flushed(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Hundreds of checkpoints are written here: the disk is not waited for, but the inodes are noted."""
    inodes: set[int] = set()
    monkeypatch.setattr(checkpoint.os, "fsync", lambda number: inodes.add(os.fstat(number).st_ino))
    return inodes


# --------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize(("task", "num_steps"), [("mini-tags", 60), ("mini-text", 60)])
def test_the_loss_falls(task: str, num_steps: int, bench: Bench) -> None:
    recipe = replace(RECIPE, learning_rate=5e-3, batch_examples=16, hidden_dropout=0.0, evaluate_every_steps=1000)
    languages = ("de",) if task == "mini-text" else ()
    done = bench.train(bench.stage(Mixture((task,), languages=languages), Budget(num_steps, "steps"), recipe))
    losses = [line["loss"] for line in done.steps]
    assert len(losses) == num_steps
    start = math.log(len(UPOS)) if task == "mini-tags" else math.log(400)
    assert abs(np.mean(losses[:3]) - start) < 0.4
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert done.result["final_loss"] == losses[-1]


def test_what_a_result_and_a_log_say(bench: Bench) -> None:
    stage = bench.stage(MIXED, Budget(37))
    done = bench.train(stage)
    tasks = done.result["tasks"]
    assert list(tasks) == list(MIXED.tasks)
    assert {name: task["examples"] for name, task in tasks.items()} == {
        "mini-nli": 13,
        "mini-paraphrase": 12,
        "mini-text": 12,
    }
    assert {name: task["steps"] for name, task in tasks.items()} == {
        "mini-nli": 4,
        "mini-paraphrase": 3,
        "mini-text": 3,
    }
    assert done.result["steps"] == len(done.steps) == 10
    assert done.result["examples"] == 37
    assert [line["step"] for line in done.steps] == list(range(10))
    for name, task in tasks.items():
        assert task["tokens"] == sum(line["tokens"] for line in done.steps if line["task"] == name) > 0
    assert done.result["tokens"] == sum(task["tokens"] for task in tasks.values())
    assert [line["step"] for line in done.evaluations] == [3, 6, 9, 10]
    assert tasks["mini-nli"]["dev"] == done.evaluations[-1]["dev"]["mini-nli"]
    assert tasks["mini-nli"]["dev"]["on"] == "dev"
    assert tasks["mini-nli"]["dev"]["num_examples"] == 12
    assert tasks["mini-text"]["dev"]["on"] == "train"  # there is no dev split
    assert set(tasks["mini-text"]["dev"]) == {"loss", "loss_by_language", "on", "num_examples"}
    assert [line["learning_rate"] for line in done.steps] == [learning_rate(RECIPE, step, 10) for step in range(10)]
    assert done.result["checkpoint_step"] == 10
    assert done.result["num_layers"] == 2
    assert done.result["tokenizer_fingerprint"] == bench.model(stage).fingerprint


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(bench: Bench) -> None:
    one = bench.train(bench.stage(MIXED, Budget(5, "steps")), "one")
    again = bench.train(bench.stage(MIXED, Budget(5, "steps")), "again")
    other = bench.train(bench.stage(MIXED, Budget(5, "steps"), seed=1), "other")
    assert one.bytes == again.bytes
    assert one.lasting_result == again.lasting_result
    assert all(one.bytes[name] != other.bytes[name] for name in one.bytes if name != "weights/heads.json")


def test_progress_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "_REPORT_SECONDS", -1)
    reports: list[dict[str, Any]] = []
    done = bench.train(bench.stage(budget=Budget(4, "steps")), report=reports.append)
    assert [(report["step"], report["steps"]) for report in reports] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [report["loss"] for report in reports] == [line["loss"] for line in done.steps]
    assert all(report["tokens_per_second"] > 0 for report in reports)


def test_bfloat16_keeps_float32_weights(bench: Bench) -> None:
    exact = bench.train(bench.stage(budget=Budget(3, "steps")), "exact")
    rough = bench.train(bench.stage(budget=Budget(3, "steps"), recipe=replace(RECIPE, precision="bfloat16")), "rough")
    assert {value.dtype for value in rough.weights().values()} == {torch.float32}
    assert rough.bytes != exact.bytes
    losses = [[line["loss"] for line in done.steps] for done in (exact, rough)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


# ------------------------------------------------------------------------------------------------ the optimiser


@pytest.mark.parametrize(("share", "num_steps"), [(0.1, 100), (0.1, 7), (0.0, 5), (0.06, 1000), (0.5, 3), (0.1, 1)])
def test_the_learning_rate_is_transformers(share: float, num_steps: int) -> None:
    recipe = replace(STILTS, warmup_share=share, learning_rate=3e-4)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, math.ceil(share * num_steps), num_steps).lr_lambdas[0]
    found = [learning_rate(recipe, step, num_steps) for step in range(num_steps)]
    assert found == pytest.approx([3e-4 * theirs(step) for step in range(num_steps)], rel=1e-12)
    constant = [learning_rate(replace(recipe, decay="constant"), step, num_steps) for step in range(num_steps)]
    num_warmup = math.ceil(share * num_steps)
    assert constant == found[:num_warmup] + [3e-4] * (num_steps - num_warmup)


@pytest.mark.parametrize("max_grad_norm", [0.05, 1e6])
def test_two_steps_are_adamw_by_hand(max_grad_norm: float, bench: Bench) -> None:
    """Decoupled decay (Loshchilov and Hutter 2019, algorithm 2) after clipping, in float64."""
    recipe = replace(
        RECIPE,
        max_grad_norm=max_grad_norm,
        weight_decay=0.3,
        warmup_share=0.0,
        adam_beta1=0.8,
        adam_beta2=0.95,
        adam_epsilon=1e-6,
        learning_rate=1e-2,
    )
    stage = bench.stage(Mixture(("mini-nli",)), recipe=recipe)
    model = bench.model(stage)
    optimiser = adamw(model, recipe, CPU)
    rows = bench.rows(stage, model)
    double = {name: p.detach().double() for name, p in model.named_parameters()}
    first = {name: torch.zeros_like(p) for name, p in double.items()}
    second = {name: torch.zeros_like(p) for name, p in double.items()}
    clipped = []
    for step in range(2):
        batch = collate(rows, range(step * 4, step * 4 + 4), CPU)
        twin = copy.deepcopy(model)
        twin.train()
        torch.manual_seed(step_module.stream_seed(stage.seed, "dropout", step))
        classify.loss(twin.encoder, twin.head("mini-nli"), batch, torch.Generator()).backward()
        gradients = {name: p.grad.double() for name, p in twin.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
        clipped.append(norm > max_grad_norm)
        scale = min(1.0, max_grad_norm / (norm + 1e-6))
        rate = 1e-2 * (2 - step) / 2
        for name, g in gradients.items():
            decay = 0.0 if double[name].ndim == 1 else 0.3
            first[name] = 0.8 * first[name] + 0.2 * scale * g
            second[name] = 0.95 * second[name] + 0.05 * (scale * g) ** 2
            m = first[name] / (1 - 0.8 ** (step + 1))
            v = second[name] / (1 - 0.95 ** (step + 1))
            double[name] = double[name] * (1 - rate * decay) - rate * m / (v.sqrt() + 1e-6)
        step_module.plain_step(model, optimiser, find("mini-nli"), [batch], stage, step, num_steps=2)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach().double(), double[name], atol=2e-6, rtol=0, msg=name)
    assert clipped == [max_grad_norm < 1] * 2


@pytest.mark.parametrize(("weight_decay", "layer_decay"), [(0.0, 1.0), (0.3, 1.0), (0.3, 0.5)])
def test_the_rows_in_use_alone_are_the_whole_table_to_rounding(
    weight_decay: float, layer_decay: float, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that no token reaches have no gradient: AdamW's decay, at the embeddings' rate, is all that they see."""
    recipe = replace(RECIPE, weight_decay=weight_decay, learning_rate=1e-2, layer_decay=layer_decay)
    stage = bench.stage(Mixture(("mini-nli",)), Budget(6, "steps"), recipe)
    fast = bench.train(stage, "fast")
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_rows_in_use", lambda *arguments: None)
        plain = bench.train(stage, "plain")
    used, whole = fast.result["embedding_rows"]
    assert used < whole == len(plain.weights()[TABLE])
    assert plain.result["embedding_rows"] is None
    np.testing.assert_allclose([line["loss"] for line in fast.steps], [line["loss"] for line in plain.steps], rtol=1e-6)
    for name, value in plain.weights().items():
        torch.testing.assert_close(fast.weights()[name], value, atol=2e-6, rtol=1e-5, msg=name)
    start = load_file(encoder_folder(stage.start, bench.context()) / "model.safetensors")[TABLE]
    factor = torch.tensor(decay_factor(recipe, [""] * 6, 6, layer_decay**2))
    untouched = (fast.weights()[TABLE] / start).isclose(factor, rtol=1e-5).all(1)
    assert whole - used <= int(untouched.sum()) < whole, "dev rows are in the table and have no gradient"


@pytest.mark.parametrize("task", ["mini-nli", "mini-tags", "mini-qa", "mini-choice"])
def test_a_step_that_does_not_fit_is_done_in_parts(task: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(RECIPE, hidden_dropout=0.0, batch_examples=5, max_tokens=60)
    stage = bench.stage(Mixture((task,)), Budget(4, "steps"), recipe)
    whole = bench.train(stage, "whole")
    assert whole.result["step_parts"] == 1
    own_update = step_module.update

    def update(model: Model, optimiser: Any, task: Any, parts: list[Batch], *rest: Any, **more: Any) -> torch.Tensor:
        if max(part.num_examples for part in parts) > 2:
            raise torch.OutOfMemoryError("made")
        return own_update(model, optimiser, task, parts, *rest, **more)

    monkeypatch.setattr(step_module, "update", update)
    done = bench.train(stage, "parts")
    assert done.result["step_parts"] == 4
    assert done.result["step_path"] == "plain: out of memory, a step is done in 4 parts"
    for one, two in zip(done.steps, whole.steps, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)
        assert one["tokens"] == two["tokens"]
    for name, value in whole.weights().items():
        torch.testing.assert_close(done.weights()[name], value, atol=2e-4, rtol=1e-5, msg=name)  # lr 2e-3


def test_a_step_that_cannot_be_captured_is_done_plainly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is played by the CPU here: shapes are chosen and met, and the capture fails."""
    mixture = Mixture(("mini-nli", "mini-paraphrase"), policy="uniform")
    stage = bench.stage(mixture, Budget(24, "steps"))
    plain = bench.train(stage, "plain")
    tried: list[int] = []

    class Failing:
        def __init__(self, batch: Batch, *rest: Any) -> None:
            tried.append(batch.num_tokens)
            raise RuntimeError("operation not permitted\nwhen a stream is captured")

    monkeypatch.setattr(step_module, "graph_problem", lambda *arguments: None)
    monkeypatch.setattr(step_module, "_Graph", Failing)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    done = bench.train(stage, "failing")
    assert len(tried) == 1
    assert done.result["step_path"] == "plain: a step cannot be captured: operation not permitted"
    assert 0 < done.result["step_waste"] < 0.2
    assert done.bytes == plain.bytes


def test_what_does_not_fit_in_any_parts_is_an_error_that_says_what_to_lower(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(*arguments: Any, **more: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("made")

    monkeypatch.setattr(step_module, "update", update)
    for task, parts in (("mini-nli", 4), ("mini-lareqa-train", 1)):
        stage = bench.stage(Mixture((task,)), Budget(2, "steps"))
        with pytest.raises(torch.OutOfMemoryError) as refused:
            bench.train(stage, task)
        assert refused.value.__notes__ == [
            f"step 0: a step of 4 examples of {task} in {parts} parts does not fit: lower batch_examples or max_tokens"
        ]


def test_masked_language_modelling_trains_every_row(bench: Bench) -> None:
    done = bench.train(bench.stage(Mixture(("mini-text",), languages=("de",)), Budget(2, "steps")))
    assert done.result["embedding_rows"] is None


def test_biases_and_norms_do_not_decay(bench: Bench) -> None:
    stage = bench.stage(MIXED)
    model = bench.model(stage)
    optimiser = adamw(model, replace(RECIPE, weight_decay=0.25), CPU)
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    found = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    exempt = {name for name in found if name.endswith("bias") or "LayerNorm" in name or ".norm." in name}
    assert {name for name, value in found.items() if value == 0.0} == exempt
    assert {name for name, value in found.items() if value == 0.25} == set(found) - exempt
    assert len(exempt) > 20
    assert any("word_embeddings" in name for name in set(found) - exempt)


def test_only_the_steps_own_head_moves(bench: Bench) -> None:
    stage = bench.stage(MIXED)
    model = bench.model(stage)
    optimiser = adamw(model, RECIPE, CPU)
    nli = bench.stage(NLI)
    rows = bench.rows(nli, model)
    for step in (3, 4):  # moments of an earlier step must not move a head either
        before = copy.deepcopy(model.state_dict())
        step_module.plain_step(model, optimiser, find("mini-nli"), [collate(rows, [0, 1], CPU)], stage, step, 10)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert {name.split(".")[1] for name in moved if name.startswith("heads.")} == {"mini-nli"}
        assert any(name.startswith("encoder.") for name in moved)


@pytest.mark.parametrize(("task", "hidden_dropout"), [("mini-nli", 0.3), ("mini-text", 0.0)])
def test_dropout_and_masks_are_functions_of_seed_and_step(task: str, hidden_dropout: float, bench: Bench) -> None:
    mixture = Mixture((task,), languages=("de",) if task == "mini-text" else ())
    stage = bench.stage(mixture, recipe=replace(RECIPE, hidden_dropout=hidden_dropout))
    losses: dict[tuple[int, int, int], float] = {}
    for seed, step, attempt in itertools.product((0, 1), (2, 3), (0, 1)):
        model = bench.model(stage)
        torch.manual_seed(attempt)
        optimiser = adamw(model, RECIPE, CPU)
        batch = collate(bench.rows(stage, model), [0, 1, 2], CPU)
        loss = step_module.plain_step(model, optimiser, find(task), [batch], replace(stage, seed=seed), step, 10)
        losses[seed, step, attempt] = float(loss)
    for seed, step in itertools.product((0, 1), (2, 3)):
        assert losses[seed, step, 0] == losses[seed, step, 1]
    assert len(set(losses.values())) == 4


@pytest.mark.parametrize(("rate", "random"), [(0.0, False), (None, True), (0.4, True)])
def test_attention_dropout(rate: float | None, random: bool, bench: Bench) -> None:
    assert STILTS.attention_dropout == 0.0
    stage = bench.stage(recipe=replace(RECIPE, hidden_dropout=0.0, attention_dropout=rate))
    model = bench.model(stage)
    model.train()
    batch = collate(bench.rows(stage, model), range(6), CPU)
    one, two = (model.encoder(batch.ids, batch.packing.lengths) for _ in range(2))
    assert torch.equal(one, two) != random


# ----------------------------------------------------------------------------------------------------- heads


def test_a_head_starts_the_same_in_every_subset(bench: Bench) -> None:
    folder = encoder_folder(bench.stage().start, bench.context())
    starts: dict[str, list[dict[str, torch.Tensor]]] = {name: [] for name in MIXED.tasks}
    for count in (1, 2, 3):
        for subset in itertools.combinations(MIXED.tasks, count):
            model = Model(folder)
            torch.manual_seed(count)
            state = torch.get_rng_state()
            model.add_heads(subset, RECIPE, seed=4)
            assert torch.equal(torch.get_rng_state(), state), "a head must not draw from the global stream"
            for name in subset:
                starts[name].append(model.head(name).state_dict())
    for found in starts.values():
        assert len(found) == 4
        assert all(torch.equal(one[key], found[0][key]) for one in found for key in one)
    weights = [starts[name][0]["dense.weight"] for name in MIXED.tasks]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(weights, 2))
    model = Model(folder)
    model.add_heads(["mini-nli", "mnli"], RECIPE, seed=4)
    assert torch.equal(model.head("mini-nli").dense.weight, weights[0])
    assert not torch.equal(model.head("mnli").dense.weight, weights[0]), "two tasks of one kind have two streams"
    model.add_heads(["mini-nli"], RECIPE, seed=5)
    assert not torch.equal(model.head("mini-nli").dense.weight, weights[0])


def test_heads_do_not_pass_to_the_next_phase(bench: Bench) -> None:
    first_stage = bench.stage(NLI, seed=3)
    first = bench.train(first_stage, "first")
    still = replace(RECIPE, learning_rate=1e-30, weight_decay=0.0)
    second_stage = bench.stage(NLI, Budget(2, "steps"), still, start=first_stage, seed=3)
    assert second_stage.start == first_stage
    second = bench.train(second_stage, "second")
    fresh = bench.model(first_stage).heads.state_dict()
    for name, value in second.heads().items():
        torch.testing.assert_close(value, fresh[name], atol=1e-20, rtol=0)
    assert not torch.allclose(first.heads()["mini-nli.dense.weight"], fresh["mini-nli.dense.weight"], atol=1e-5)
    for name, value in second.weights().items():  # the encoder is the one that the first phase left
        torch.testing.assert_close(value, first.weights()[name], atol=1e-20, rtol=0)


def test_a_trained_model_is_read_back_whole(bench: Bench) -> None:
    stage = bench.stage(MIXED, Budget(4, "steps"))
    done = bench.train(stage)
    model = Model.load_trained(done.out / "weights")
    for name, value in done.heads().items():
        assert torch.equal(model.heads.state_dict()[name], value)
    assert not model.encoder.training
    assert model.head("mini-bitext") is None
    with pytest.raises(ValueError, match="measured, not trained on"):
        model.add_heads(["bucc"], STILTS, seed=0)


def test_the_encoder_loads_without_this_package(bench: Bench) -> None:
    stage = bench.stage(budget=Budget(4, "steps"))
    done = bench.train(stage)
    folder = done.out / "weights" / "encoder"
    theirs = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start = AutoModel.from_pretrained(encoder_folder(stage.start, bench.context()), add_pooling_layer=False)
    assert theirs.config.attention_probs_dropout_prob == start.config.attention_probs_dropout_prob == 0.1
    moved = [not torch.equal(a, b) for a, b in zip(theirs.parameters(), start.parameters(), strict=True)]
    assert all(moved), "every weight of the encoder is trained"
    ours = Model.load_trained(done.out / "weights")
    ids = tokenizer("A man walks.", return_tensors="pt")
    assert ids["input_ids"].tolist() == [ours.tokenizer("A man walks.")["input_ids"]]
    with torch.no_grad():
        expected = theirs(**ids).last_hidden_state[0]
        found = ours.encoder(ids["input_ids"][0], [ids["input_ids"].shape[1]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------- recipes


def test_overrides_are_for_their_task_alone(bench: Bench) -> None:
    overrides = (Override("mini-nli", batch_examples=3, max_tokens=14),)
    mixture = Mixture(("mini-nli", "mini-paraphrase"), policy="uniform")
    done = bench.train(bench.stage(mixture, Budget(24), replace(RECIPE, overrides=overrides)))
    steps = {name: task["steps"] for name, task in done.result["tasks"].items()}
    assert steps == {"mini-nli": 4, "mini-paraphrase": 3}
    tokens = {name: [line["tokens"] for line in done.steps if line["task"] == name] for name in mixture.tasks}
    assert tokens["mini-nli"] == [3 * 14] * 4  # every pair is longer than 14 tokens
    assert min(tokens["mini-paraphrase"]) > 4 * 14


def test_sequences_are_cut_to_what_the_encoder_takes(bench: Bench) -> None:
    short = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=8, num_layers=1, max_positions=12))
    done = bench.train(bench.stage(budget=Budget(2, "steps"), recipe=replace(RECIPE, max_tokens=256), start=short))
    assert [line["tokens"] for line in done.steps] == [4 * 12] * 2


def test_a_loss_that_is_not_finite_is_an_error_with_step_and_task(bench: Bench) -> None:
    recipe = replace(RECIPE, learning_rate=1e37, warmup_share=0.0, evaluate_every_steps=1000)
    with pytest.raises(FloatingPointError, match=r"became nan at step [12] \(mini-nli\): lower the learning rate"):
        bench.train(bench.stage(recipe=recipe))
    assert not (bench.folder / "a" / "out" / "weights").exists()


def test_a_checkpoint_is_not_written_of_a_broken_model(bench: Bench) -> None:
    recipe = replace(RECIPE, learning_rate=1e37, warmup_share=0.0, evaluate_every_steps=1000)
    for _ in range(2):  # the second attempt meets the last checkpoint that was sound
        with pytest.raises(FloatingPointError, match="became nan"):
            bench.train(bench.stage(recipe=recipe), checkpoint_seconds=0)


@pytest.mark.parametrize(("task", "chosen"), [("mini-nli", "last"), ("mini-nli", "best"), ("mini-text", "last")])
def test_weights_that_break_at_the_last_step_are_an_error(task: str, chosen: str, bench: Bench) -> None:
    """The loss of the last step is taken before its update, so only the dev rows show it."""
    recipe = replace(RECIPE, learning_rate=1e37, warmup_share=0.0, checkpoint=chosen)
    with pytest.raises(FloatingPointError, match=rf"step 1 .*{task}"):
        bench.train(bench.stage(Mixture((task,)), Budget(1, "steps"), recipe))


def test_collapse() -> None:
    def score(predicted: list[int], gold: list[int]) -> dict[str, Any]:
        return dev_score("classify", {"scores": np.eye(3)[predicted], "gold": np.array(gold)})

    assert score([1] * 100, [0, 1] * 50) == {"accuracy": 0.5, "majority_share": 0.5, "collapsed": True}
    assert score([1] * 99 + [0], [0, 1] * 50)["collapsed"] is True  # 99 % count
    assert score([1] * 98 + [0, 2], [0, 1] * 50)["collapsed"] is False
    assert score([1] * 100, [1] * 99 + [0])["collapsed"] is False  # the labels themselves are so
    assert score([0, 1, 2], [0, 1, 1]) == {"accuracy": 2 / 3, "majority_share": 2 / 3, "collapsed": False}
    loss = dev_score("mlm", {"loss_sum": np.array([6.0, 2.0]), "num_masked": np.array([1, 3])})
    assert loss == {"loss": 2.0}


def test_a_collapsed_training_is_marked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = classify.decode

    def always_one_class(*arguments: Any) -> dict[str, torch.Tensor]:
        found = decode(*arguments)
        found["scores"] = torch.zeros_like(found["scores"])
        return found

    mixture = Mixture(("mini-nli", "mini-text"), policy="uniform")
    stage = bench.stage(mixture, Budget(4, "steps"))
    assert bench.train(stage, "sound").result["tasks"]["mini-text"]["dev"].get("collapsed") is None
    monkeypatch.setattr(classify, "decode", always_one_class)
    result = bench.train(stage, "collapsed").result
    assert result["collapsed"] is True
    assert result["tasks"]["mini-nli"]["dev"]["collapsed"] is True


# ----------------------------------------------------------------------------------- checkpoints and resuming

TABLE = "embeddings.word_embeddings.weight"
CASES = {
    "last": (NLI, RECIPE),
    "best": (NLI, replace(RECIPE, checkpoint="best", evaluate_every_steps=2)),
    "mixed": (MIXED, RECIPE),
    "mixed best": (MIXED, replace(RECIPE, checkpoint="best")),
    "layers": (
        MIXED,
        replace(RECIPE, checkpoint="best", aggregation="mix", layer_decay=0.5, lora=Lora(2, dropout=0.1)),
    ),
    "text": (
        replace(MIXED, text_share=0.6, text_temperature=2.0),
        replace(RECIPE, frozen_layers=1, whole_words=True, overrides=(Override("mini-text", 3, 30, 5e-3),)),
    ),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Callable[[str], Done]:
    """The run of a case that nothing interrupts, done once."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed"), cache_dir)
    done: dict[str, Done] = {}

    def of(case: str) -> Done:
        if case not in done:
            mixture, recipe = CASES[case]
            done[case] = bench.train(bench.stage(mixture, Budget(9, "steps"), recipe), case)
        return done[case]

    return of


def check_equal(found: Done, expected: Done) -> None:
    assert found.bytes == expected.bytes
    assert found.lasting_result == expected.lasting_result


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("case", CASES)
def test_interrupted_again_and_again(case: str, every: int, bench: Bench, undisturbed: Callable[[str], Done]) -> None:
    mixture, recipe = CASES[case]
    stage = bench.stage(mixture, Budget(9, "steps"), recipe)
    with pytest.raises(Interrupted, match="stopped at step 0 of 9"):
        bench.train(stage, stop=lambda: True)
    for attempt in range(1, 20):
        calls = itertools.count()
        try:
            done = bench.train(stage, stop=lambda calls=calls: next(calls) >= every)
            break
        except Interrupted:
            assert (bench.folder / "a" / "work" / f"checkpoint-{attempt * every}").is_dir()
    assert done.result["resumed_at_step"] == (attempt - 1) * every > 0
    assert done.result["earlier_seconds"] > 0
    check_equal(done, undisturbed(case))


class Killed(BaseException):
    """What a killed process looks like from inside: nothing catches it."""


@pytest.mark.parametrize("seconds", [0, 6])
@pytest.mark.parametrize("case", CASES)
def test_killed_in_the_middle(
    case: str, seconds: int, bench: Bench, undisturbed: Callable[[str], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill after every step in turn; a clock that ticks with every look makes checkpoints rarer than steps."""
    ticks = itertools.count()
    monkeypatch.setattr(train_module.time, "monotonic", lambda: float(next(ticks)))
    mixture, recipe = CASES[case]
    stage = bench.stage(mixture, Budget(9, "steps"), recipe)
    own_step = step_module.plain_step
    resumed = []
    for killed_at in (1, 4, 5, 7):
        with monkeypatch.context() as patch:

            def step(*arguments: Any, killed_at: int = killed_at) -> Any:
                loss = own_step(*arguments)
                if arguments[5] == killed_at:
                    raise Killed
                return loss

            patch.setattr(step_module, "plain_step", step)
            with pytest.raises(Killed):
                bench.train(stage, checkpoint_seconds=seconds)
        folders = [path.name for path in (bench.folder / "a" / "work").glob("checkpoint-*")]
        resumed.append(max((int(name.partition("-")[2]) for name in folders), default=0))
    done = bench.train(stage, checkpoint_seconds=seconds)
    assert done.result["resumed_at_step"] == resumed[-1]
    assert resumed == [1, 4, 5, 7] if seconds == 0 else 0 < resumed[-1] < 7, "checkpoints as rare as asked for"
    check_equal(done, undisturbed(case))


@pytest.mark.parametrize("case", ["last", "best"])
def test_killed_while_a_folder_is_removed(
    case: str, bench: Bench, undisturbed: Callable[[str], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-removed folder must not stand in the way of a resume; every removal in turn."""
    mixture, recipe = CASES[case]
    stage = bench.stage(mixture, Budget(9, "steps"), recipe)
    own_rmtree = checkpoint.shutil.rmtree
    for removal in range(5):
        counter = itertools.count()

        def torn(path: Path, *rest: Any, counter: Any = counter, removal: int = removal, **options: Any) -> None:
            if path.exists() and next(counter) == removal:
                sorted(path.iterdir())[0].unlink()
                raise Killed
            own_rmtree(path, *rest, **options)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.shutil, "rmtree", torn)
            with pytest.raises(Killed):
                bench.train(stage, str(removal), checkpoint_seconds=0)
        done = bench.train(stage, str(removal), checkpoint_seconds=0)
        assert done.result["resumed_at_step"] > 0
        check_equal(done, undisturbed(case))


@pytest.mark.parametrize("case", ["last", "best"])
def test_killed_while_a_checkpoint_is_written(
    case: str, bench: Bench, undisturbed: Callable[[str], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture, recipe = CASES[case]
    stage = bench.stage(mixture, Budget(9, "steps"), recipe)
    own_save = checkpoint.save_file
    for written in (4, 7, 9):  # a half-written file each time
        counter = itertools.count()

        def torn(tensors: Any, path: Path, counter: Any = counter, written: int = written) -> None:
            own_save(tensors, path)
            if next(counter) == written:
                path.write_bytes(path.read_bytes()[:100])
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_file", torn)
            try:
                bench.train(stage, checkpoint_seconds=0)
            except Killed:
                continue
            break
    check_equal(bench.train(stage, checkpoint_seconds=0), undisturbed(case))


def test_a_checkpoint_of_another_numeric_path_is_not_used(
    bench: Bench, undisturbed: Callable[[str], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = bench.stage(NLI, Budget(9, "steps"))
    calls = itertools.count()
    with pytest.raises(Interrupted):
        bench.train(stage, stop=lambda: next(calls) >= 7)
    course = bench.folder / "a" / "work" / "checkpoint-7" / "course.json"
    document = json.loads(course.read_text())
    assert document["numeric_path"] == "cpu-float32-sdpa-1thread-rows"
    assert document["step"] == len(document["losses"]) == 7
    course.write_text(json.dumps(document | {"numeric_path": "cuda-float32-sdpa"}))
    files = json.loads((course.parent / "files.json").read_text()) | {"course.json": digest(course.read_text())}
    (course.parent / "files.json").write_text(json.dumps(files))
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_REPORT_SECONDS", -1)
        calls = itertools.count()
        with pytest.raises(Interrupted):
            bench.train(stage, stop=lambda: next(calls) >= 2)
    assert [path.name for path in course.parent.parent.iterdir()] == ["checkpoint-2"]
    done = bench.train(stage)
    assert done.result["resumed_at_step"] == 2
    check_equal(done, undisturbed("last"))


def test_a_checkpoint_is_flushed_to_the_disk_before_it_counts(
    bench: Bench, flushed: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_rename = Path.rename
    seen: list[str] = []

    def rename(self: Path, target: Path) -> Path:
        if target.name.startswith("checkpoint-"):
            best = json.loads((self / "course.json").read_text())["best"]
            files = [*self.iterdir(), self.parent / best / "model.safetensors"]
            assert len(files) == 5
            assert {file.stat().st_ino for file in files} <= flushed
            seen.append(target.name)
        return own_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    mixture, recipe = CASES["best"]
    bench.train(bench.stage(mixture, Budget(4, "steps"), recipe))
    assert seen == ["checkpoint-2", "checkpoint-4"]


def test_a_finished_training_leaves_one_checkpoint_at_most(bench: Bench) -> None:
    mixture, recipe = CASES["best"]
    bench.train(bench.stage(mixture, Budget(9, "steps"), recipe), checkpoint_seconds=0)
    work = bench.folder / "a" / "work"
    assert sorted(path.name.partition("-")[0] for path in work.iterdir()) == ["best", "checkpoint"]


@pytest.mark.parametrize("case", ["best", "mixed best"])
def test_the_best_checkpoint_is_the_first_of_the_highest(
    case: str, bench: Bench, undisturbed: Callable[[str], Done]
) -> None:
    done = undisturbed(case)

    def mean(evaluation: dict[str, Any]) -> float:
        scores = [score["accuracy"] for score in evaluation["dev"].values() if score["on"] == "dev"]
        return sum(scores) / len(scores)

    best = max(done.evaluations, key=mean)
    assert done.result["checkpoint_step"] == best["step"]
    assert {name: task["dev"] for name, task in done.result["tasks"].items()} == best["dev"]
    if case == "best":
        assert best["step"] < 9, "choose another seed: the best should not be the last"
    stage = bench.stage(NLI)  # what was saved scores what the log says of that step
    model = Model.load_trained(done.out / "weights").eval()
    rows = bench.rows(stage, model, "dev")
    columns = predict(
        model, model.head("mini-nli"), "classify", rows, rows=np.arange(12), precision="float32", device=CPU
    )
    assert dev_score("classify", columns)["accuracy"] == best["dev"]["mini-nli"]["accuracy"]


def test_the_best_weights_are_what_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, dict[str, torch.Tensor]] = {}
    own_evaluate = train_module._evaluate

    def evaluated(members: Any, model: Model, course: checkpoint.Course, *rest: Any) -> None:
        own_evaluate(members, model, course, *rest)
        seen[course.step] = copy.deepcopy(model.state_dict())

    monkeypatch.setattr(train_module, "_evaluate", evaluated)
    mixture, recipe = CASES["best"]
    for chosen in ("best", "last"):
        done = bench.train(bench.stage(mixture, Budget(9, "steps"), replace(recipe, checkpoint=chosen)), chosen)
        kept = seen[done.result["checkpoint_step"]]
        for name, value in done.heads().items():
            assert torch.equal(value, kept[f"heads.{name}"])
        for name, value in done.weights().items():
            assert name == TABLE or torch.equal(value, kept[f"encoder.model.{name}"])
        trained = {row.numpy().tobytes() for row in kept[f"encoder.model.{TABLE}"]}
        assert trained <= {row.numpy().tobytes() for row in done.weights()[TABLE]}
        if chosen == "best":
            assert not torch.equal(kept["heads.mini-nli.dense.weight"], seen[9]["heads.mini-nli.dense.weight"])


def test_measuring_leaves_the_course_alone(bench: Bench) -> None:
    """Dev evaluation between steps draws nothing and switches dropout back on."""
    often = bench.train(bench.stage(recipe=replace(RECIPE, evaluate_every_steps=1)), "often")
    never = bench.train(bench.stage(recipe=replace(RECIPE, evaluate_every_steps=1000)), "never")
    assert often.steps == never.steps
    assert len(often.evaluations) == 10
    assert len(never.evaluations) == 1
    assert often.bytes["weights/encoder/model.safetensors"] == never.bytes["weights/encoder/model.safetensors"]


def test_a_step_sees_the_rows_of_the_schedule(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[int]]] = []
    own_step = step_module.plain_step

    def step(model: Model, optimiser: Any, task: Any, parts: list[Batch], *rest: Any) -> torch.Tensor:
        (batch,) = parts
        seen.append((task.name, batch.rows.tolist()))
        return own_step(model, optimiser, task, parts, *rest)

    monkeypatch.setattr(step_module, "plain_step", step)
    mixture = Mixture(("mini-nli", "mini-paraphrase"), sizes="present")
    recipe = replace(RECIPE, batch_examples=50, evaluate_every_steps=1000)
    bench.train(bench.stage(mixture, Budget(1, "epochs"), recipe))
    for name, size in (("mini-nli", 144), ("mini-paraphrase", 96)):
        rows = [row for task, rows in seen if task == name for row in rows]
        assert sorted(rows) == list(range(size))
        assert rows != list(range(size))


def test_a_stage_leaves_the_process_as_it_was(bench: Bench) -> None:
    torch.set_num_threads(1)
    bench.train(bench.stage(recipe=replace(RECIPE, num_threads=2)))
    assert torch.get_num_threads() == 1
    assert float(torch.tensor([1e-39]) * 1) > 0  # a denormal number survives


# --------------------------------------------------------------------------------------------------- memory


def test_recomputed_activations_end_in_the_same_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = bench.stage(NLI, Budget(4, "steps"), replace(RECIPE, hidden_dropout=0.1, attention_dropout=0.1))
    kept = bench.train(stage, "kept")
    layers: list[int] = []
    own = PackedEncoder.recompute_activations
    monkeypatch.setattr(
        PackedEncoder, "recompute_activations", lambda self: layers.append(self.num_layers) or own(self)
    )
    check_equal(bench.train(stage, "again", recompute_activations=True), kept)
    assert layers == [2]


def test_the_sizes_of_a_checkpoint_are_told(bench: Bench) -> None:
    stage = bench.stage(NLI, Budget(3, "steps"))
    done = bench.train(stage, checkpoint_seconds=0)
    (written,) = (bench.folder / "a" / "work").glob("checkpoint-*")
    sizes = [
        sum(tensor.nbytes for tensor in load_file(written / f"{name}.safetensors").values())
        for name in ("optimiser", "model")
    ]
    assert done.result["optimiser_bytes"] == sizes[0]
    assert done.result["checkpoint_bytes"] == sum(sizes)


# ------------------------------------------------------------------------------------------------ frozen, by language


@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_frozen_layers_stay_and_have_no_state(num_layers: int, bench: Bench) -> None:
    stage = bench.stage(Mixture(("mini-text",)), recipe=replace(RECIPE, frozen_layers=num_layers, weight_decay=0.5))
    before = load_file(encoder_folder(stage.start, bench.context()) / "model.safetensors")
    calls = itertools.count()
    with pytest.raises(Interrupted):
        bench.train(stage, stop=lambda: next(calls) >= 4)
    saved = bench.folder / "a" / "work" / "checkpoint-4"
    after = bench.train(stage).weights()
    still = {name for name, value in after.items() if torch.equal(value, before[name])}
    frozen = ("embeddings.", *(f"encoder.layer.{number}." for number in range(num_layers)))
    assert still == {name for name in after if name.startswith(frozen)}
    assert "embeddings.LayerNorm.bias" in still, "decay or a gradient would show"
    heads = {f"heads.mini-text.{name}" for name in ("bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias")}
    trained = {f"encoder.model.{name}" for name in {*after} - still} | heads
    assert set(load_file(saved / "model.safetensors")) == trained
    moments = load_file(saved / "optimiser.safetensors")
    assert len(moments) == 3 * len(trained)


def test_more_layers_than_there_are_cannot_be_frozen(bench: Bench) -> None:
    with pytest.raises(ValueError, match="frozen_layers is 3: the encoder tiny has 2 layers"):
        bench.stage(recipe=replace(RECIPE, frozen_layers=3))
    model = bench.model(bench.stage())
    with pytest.raises(ValueError, match=r"frozen_layers is 3: the encoder \(XLMRobertaModel\) has 2 layers"):
        encoders.freeze(model.encoder, 3)


def test_frozen_embeddings_are_trained_upon_as_a_whole_table(bench: Bench) -> None:
    stage = bench.stage(recipe=replace(RECIPE, frozen_layers=0))
    assert bench.train(stage).result["embedding_rows"] is None
    assert numeric_path(stage, "cpu") == "cpu-float32-sdpa-1thread"


def test_held_out_loss_is_given_by_language(bench: Bench) -> None:
    recipe = replace(RECIPE, dev_examples=12, whole_words=True)
    stage = bench.stage(Mixture(("mini-text-dev",), languages=("sw", "en", "zh")), recipe=recipe)
    done = bench.train(stage)
    dev = done.result["tasks"]["mini-text-dev"]["dev"]
    assert (dev["on"], dev["num_examples"], list(dev["loss_by_language"])) == ("dev", 12, ["sw", "en", "zh"])
    model = Model.load_trained(bench.inputs[stage.id], recipe)
    rows = bench.rows(stage, model, "dev")
    assert rows.languages == (("sw", 100), ("en", 100), ("zh", 100))
    picked = np.arange(12) * 25  # the first four are of the first language
    head = model.head("mini-text-dev")
    found = predict(model.eval(), head, "mlm", rows, rows=picked, precision="float32", device=CPU)
    sums, counts = found["loss_sum"], found["num_masked"]
    for number, loss in enumerate(dev["loss_by_language"].values()):
        own = slice(number * 4, number * 4 + 4)
        assert loss == pytest.approx(float(sums[own].sum() / counts[own].sum()), rel=1e-6)
    assert dev["loss"] == pytest.approx(float(sums.sum() / counts.sum()), rel=1e-6)


def test_a_model_of_one_text_is_measured_on_another(bench: Bench) -> None:
    stage = bench.stage(Mixture(("mini-text",), languages=("sw", "en")))
    bench.train(stage)
    plan = make_plan("test", [Evaluate(stage, "mini-text-dev", "sw", "dev")], Sources(None, bench.cache_dir))
    leaf = plan.stages[plan.leaves[0]]
    assert isinstance(leaf, Evaluate)
    assert leaf.head == "mini-text"
    perform(leaf, bench.folder, bench.context())
    predictions = pq.read_table(bench.folder / "predictions.parquet")
    sums, counts = (predictions[name].to_pylist() for name in ("loss_sum", "num_masked"))
    (value,) = score(predictions, "mlm", "loss", "sw")["values"]
    assert value["value"] == pytest.approx(sum(sums) / sum(counts))
    (value,) = score(predictions, "mlm", "perplexity", "sw")["values"]
    assert value["value"] == pytest.approx(math.exp(sum(sums) / sum(counts)))


def test_the_step_of_a_task_has_the_rate_of_the_task(bench: Bench) -> None:
    recipe = replace(RECIPE, overrides=(Override("mini-text", learning_rate=4e-3),))
    done = bench.train(bench.stage(MIXED, recipe=recipe))
    for line in done.steps:
        rate = learning_rate(RECIPE, line["step"], 10)
        assert line["learning_rate"] == pytest.approx(2 * rate if line["task"] == "mini-text" else rate)
    same_rate = replace(recipe, overrides=(Override("mini-text", learning_rate=RECIPE.learning_rate),))
    plain, same = (bench.train(bench.stage(MIXED, recipe=one), name) for one, name in ((RECIPE, "p"), (same_rate, "s")))
    name = "weights/heads.safetensors"
    assert done.bytes[name] != plain.bytes[name] == same.bytes[name]
