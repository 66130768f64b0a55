"""What only a GPU can show: torch's variable-length kernel, and steps that are CUDA graphs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from xstilts.engine import Context, perform
from xstilts.engine import step as step_module
from xstilts.engine.attention import Packing, packed, packed_attention, reference_attention, varlen_problem
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Recipe
from xstilts.stage import Encoder, Evaluate, Tiny, Train, Views
from xstilts.study import Sources, make_plan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

TINY = Encoder("tiny", tiny=Tiny(vocab_size=600, hidden_size=64, intermediate_size=128, max_positions=128))
RECIPE = replace(STILTS, precision="bfloat16", batch_examples=8, max_tokens=100, learning_rate=1e-3, hidden_dropout=0.0)
TRAINED = ("mini-nli", "mini-tags", "mini-qa", "mini-choice", "mini-lareqa-train")


@pytest.mark.parametrize("window", [None, 5])
def test_the_kernel_is_the_definition(window: int | None) -> None:
    if problem := varlen_problem(window is not None):
        pytest.skip(problem)
    lengths = [30, 17, 5, 1]
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, 4, sum(lengths), 32, generator=generator).cuda().bfloat16() for _ in range(3)]
    for part in parts:
        part.requires_grad_()
    weight = torch.randn(1, sum(lengths), 4, 32, generator=generator).cuda()
    with packed(Packing.of(lengths, "cuda")):
        found, _ = packed_attention(torch.nn.Module(), *parts, None, sliding_window=window)
    gradients = torch.autograd.grad((found.float() * weight).sum(), parts)
    twins = [part.detach().double().requires_grad_() for part in parts]
    expected = reference_attention(*twins, lengths, sliding_window=window)
    theirs = torch.autograd.grad((expected * weight).sum(), twins)
    torch.testing.assert_close(found.double(), expected, atol=2e-2, rtol=2e-2)
    for own, other in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(own.double(), other, atol=6e-2, rtol=6e-2)


def trained(name: str, recipe: Recipe, tmp_path: Path, cache_dir: Path, num_steps: int = 24) -> Any:
    """The record and the losses of a training on the GPU."""
    stage = Train(TINY, Mixture((name,)), Budget(num_steps, "steps"), recipe)
    plan = make_plan("study", [stage], Sources(None, cache_dir))
    out = tmp_path / name
    out.mkdir(parents=True)
    context = Context({}, out / "work", None, cache_dir, "cuda:0")
    done = perform(plan.stages[plan.leaves[0]], out, context)
    lines = (out / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines[:num_steps]]
    return done, np.array(losses), load_file(out / "weights" / "encoder" / "model.safetensors")


@pytest.mark.parametrize("name", TRAINED)
def test_graphs_do_the_steps_of_the_plain_path(
    name: str, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem := varlen_problem():
        pytest.skip(problem)
    done, losses, weights = trained(name, RECIPE, tmp_path / "graph", cache_dir)
    assert done["result"]["step_path"] == "graph"
    assert done["environment"]["numeric_path"] == "cuda-bfloat16-varlen-rows"
    monkeypatch.setattr(step_module, "graph_problem", lambda *arguments: "compared")
    again, plain, plain_weights = trained(name, RECIPE, tmp_path / "plain", cache_dir)
    assert again["result"]["step_path"] == "plain: compared"
    np.testing.assert_allclose(losses, plain, rtol=0.03, atol=0.03)
    for tensor, value in plain_weights.items():
        torch.testing.assert_close(weights[tensor], value, atol=0.02, rtol=0.1, msg=tensor)


def test_dropout_of_a_replayed_step_is_its_own(tmp_path: Path, cache_dir: Path) -> None:
    """With a rate of next to nothing the losses of one batch differ by dropout alone, and come again."""
    if problem := varlen_problem():
        pytest.skip(problem)
    recipe = replace(RECIPE, hidden_dropout=0.3, learning_rate=1e-12, batch_examples=200)
    _, one, _ = trained("mini-tags", recipe, tmp_path / "one", cache_dir, 60)
    _, two, _ = trained("mini-tags", recipe, tmp_path / "two", cache_dir, 60)
    np.testing.assert_allclose(one, two, rtol=1e-3)
    assert len(set(np.round(one, 5))) > 40


def test_a_measurement_is_the_cpus_to_rounding(tmp_path: Path, cache_dir: Path) -> None:
    stage = Evaluate(TINY, "mini-bitext", "de", "dev", views=Views())
    plan = make_plan("study", [stage], Sources(None, cache_dir))
    values = {}
    for device in ("cpu", "cuda:0"):
        out = tmp_path / device[:3]
        out.mkdir()
        perform(plan.stages[plan.leaves[0]], out, Context({}, out, None, cache_dir, device))
        table = pq.read_table(out / "predictions.parquet")
        values[device] = np.array(table["similarities"].to_pylist())
    np.testing.assert_allclose(values["cpu"], values["cuda:0"], atol=1e-4)
