"""One step: batches of a static shape give the loss and the gradients of those without filling, for every kind."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small import CPU, encoded, shaken, small_folders
from xstilts import tasks
from xstilts.engine.attention import varlen_problem
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import TOKEN_MULTIPLE, Batch, Shape, collate, token_shapes
from xstilts.engine.step import _mapped, _tensors, decay_factor, graph_problem, learning_rate
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Override, Recipe
from xstilts.stage import Encoder, Train

NAMES = (
    "mini-nli",
    "mini-tags",
    "mini-qa",
    "mini-unanswerable",
    "mini-choice",
    "mini-lareqa-train",
    "mini-nli-triples",
)


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])


def readable(batch: Batch) -> Batch:
    """A filled batch whose attention the CPU can do, which has no kernel for lengths on the device."""
    lengths = batch.packing.bounds.diff().tolist()
    return replace(batch, packing=replace(batch.packing, lengths=tuple(n for n in lengths if n)))


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_filling_changes_no_loss_and_no_gradient(name: str, pooling: str, model: Model) -> None:
    task = tasks.find(name)
    kind = KINDS[task.kind.name]
    rows = [2, 0, 3]
    data = encoded(task.kind, tasks.examples(task, "train", "en")[:4], model.tokenizer, 90)
    head = kind.head(task.kind, model.encoder, model.tokenizer, Recipe(hidden_dropout=0.0, dual_pooling=pooling))
    plain = collate(data, rows, CPU)
    found = []
    for more_tokens, more_sequences in (None, None), (0, 1), (13, 1), (40, 4):
        batch = plain
        if more_tokens is not None:
            shape = Shape(plain.num_tokens + more_tokens, len(plain.lengths) + more_sequences, 200)
            batch = readable(collate(data, rows, CPU, shape))
            assert (batch.num_tokens, len(batch.lengths)) == shape[:2]
        model.zero_grad()
        head.zero_grad()
        loss = kind.loss(model.encoder, head, batch, torch.Generator())
        loss.backward()
        both = (*model.encoder.named_parameters(), *head.named_parameters())
        found.append((loss.detach(), {n: p.grad.clone() for n, p in both if p.grad is not None}))
    for loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][0], atol=1e-5, rtol=1e-5)
        assert gradients.keys() == found[0][1].keys()
        for parameter, value in gradients.items():
            assert value.isfinite().all()
            torch.testing.assert_close(value, found[0][1][parameter], atol=2e-4, rtol=1e-3, msg=parameter)


def test_a_filled_batch_is_one_list_of_tensors(model: Model) -> None:
    """A graph reads what `_tensors` lists, so every tensor of a batch must be in it."""
    task = tasks.find("mini-qa")
    data = encoded(task.kind, tasks.examples(task, "train", "en")[:3], model.tokenizer, 90)
    batch = collate(data, [0, 1], CPU, Shape(600, 12, 300))
    seen: list[int] = []

    def noted(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor.data_ptr())
        return tensor

    again = _mapped(batch, noted)
    assert sorted(seen) == sorted(tensor.data_ptr() for tensor in _tensors(again))
    tensors = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    assert len(seen) == len(tensors) + len(batch.targets) + 2, "bounds and positions of the packing"
    assert batch.packing.bounds[-1] == 600
    assert int(batch.packing.bounds.diff().max()) <= 300
    with pytest.raises(RuntimeError, match="needs the variable-length kernel"):
        model.encoder(batch.ids, batch.packing, batch.types)


# ------------------------------------------------------------ static sizes


def wasted(sizes: tuple[int, ...], tokens: np.ndarray) -> int:
    return int(sum(min(size for size in sizes if size >= n) - n for n in tokens))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(1, 4))
def test_token_shapes_waste_least_of_all_choices(tokens: list[int], num_shapes: int) -> None:
    steps = np.array(tokens)
    found = token_shapes(steps, num_shapes)
    assert 1 <= len(found) <= num_shapes
    assert list(found) == sorted(set(found))
    assert found[-1] >= steps.max()
    rounded = sorted({-(-n // TOKEN_MULTIPLE) * TOKEN_MULTIPLE for n in tokens})
    choices = itertools.combinations(rounded, min(num_shapes, len(rounded)))
    assert wasted(found, steps) == min(wasted(c, steps) for c in choices if c[-1] == rounded[-1])


@pytest.mark.parametrize(("batch", "mean", "most", "goal"), [(32, 42, 128, 0.06), (400, 42, 128, 0.03)])
def test_eight_shapes_waste_little(batch: int, mean: float, most: int, goal: float) -> None:
    """NLI-like lengths, log-normal: 32 examples a step, and about 16,000 tokens a step."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(np.log(mean) - 0.125, 0.5, size=(1000, batch)).astype(int), 6, most)
    steps = lengths.sum(1)
    held = np.array(token_shapes(steps))[np.searchsorted(token_shapes(steps), steps)]
    assert 1 - steps.sum() / held.sum() < goal


# ------------------------------------------------------------ when a step is a graph


def test_decay_of_a_weight_without_gradient_is_that_of_the_steps_done() -> None:
    recipe = replace(STILTS, weight_decay=0.1, learning_rate=0.5)
    parameter = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimiser = torch.optim.AdamW([parameter], weight_decay=0.1)
    recipe = replace(recipe, overrides=(Override("b", learning_rate=0.2),))
    tasks = "abbabba"
    for step, task in enumerate(tasks):
        parameter.grad = torch.zeros_like(parameter)
        optimiser.param_groups[0]["lr"] = learning_rate(recipe, step, 10, task)
        optimiser.step()
        assert parameter[0, 0].item() == pytest.approx(decay_factor(recipe, tasks[: step + 1], 10), rel=1e-12)
    assert decay_factor(recipe, "", 10) == 1
    assert learning_rate(recipe, 1, 10, "b") == 0.2
    assert learning_rate(recipe, 5, 10, "b") == pytest.approx(0.4 * learning_rate(recipe, 5, 10, "a"))


def test_why_steps_are_no_graph_is_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(device: str = "cuda", kinds: tuple[str, ...] = ("classify",), **changes: Any) -> str | None:
        recipe = replace(STILTS, precision="bfloat16", **changes)
        stage = Train(Encoder("tiny"), Mixture(("mini-nli",)), Budget(1), recipe)
        return graph_problem(stage, model, set(kinds), torch.device(device))

    assert problem() == varlen_problem() is None
    assert problem("cpu") == "the device is cpu"
    assert problem(attention_dropout=0.1) == "attention dropout is not 0"
    assert problem(kinds=("classify", "mlm")) == "masked language modelling has a varying number of masked tokens"
    stage = Train(Encoder("tiny"), Mixture(("mini-nli",)), Budget(1), STILTS)
    assert graph_problem(stage, model, {"tag"}, torch.device("cuda")) == "precision is float32"
    monkeypatch.setattr(model.encoder, "recomputes", True)
    assert problem() == "activations are computed again in the backward pass"
    monkeypatch.setattr(model.encoder, "padded", True)
    assert problem() == "the encoder pads by itself"


def test_every_trainable_kind_is_filled_in_a_test() -> None:
    kinds = {tasks.find(name).kind.name for name in NAMES}
    assert kinds == set(KINDS) - {"mlm", "mine", "search"}
