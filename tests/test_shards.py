"""Processes that divide an encoder's layers among them make what one process makes, and hold a part of it each."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from test_ranks import CASES, RECIPE, TINY, TWENTY, After, done, log, shrink, weights
from xstilts import tasks
from xstilts.engine import Context, Interrupted, encoder_folder, ranks, shards
from xstilts.engine import encoder as encoders
from xstilts.engine.checkpoint import MOMENTS
from xstilts.engine.folders import build_tiny
from xstilts.engine.launch import in_ranks
from xstilts.engine.model import Model
from xstilts.engine.step import adamw
from xstilts.mixture import Mixture
from xstilts.options import check_shard
from xstilts.recipe import Lora, Robust
from xstilts.stage import Train
from xstilts.study import Sources, make_plan

MINE: dict[str, tuple[Any, ...]] = {name: CASES[name] for name in ("classify", "span", "mlm", "embed", "several")}
MINE["best"] = (
    Mixture(("mini-nli",)),
    TWENTY,
    replace(RECIPE, checkpoint="best", evaluate_every_steps=5, layer_decay=0.9, frozen_layers=1),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def shrunk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_known", dict(tasks._known))
        shrink()
        yield


def stage_of(name: str, cache_dir: Path) -> Train:
    plan = make_plan("test", [Train(TINY, *MINE[name])], Sources(None, cache_dir))
    stage = plan.stages[plan.leaves[0]]
    assert isinstance(stage, Train)
    return stage


def all_cases(stages: dict[str, Train], folder: Path, context: Context) -> dict[str, Any]:
    """Every case; two processes also do one in two halves, and one with checkpoints and activations made again."""
    found = {name: done(stage, folder / name, context) for name, stage in stages.items()}
    if ranks.count() == 1:
        return found["classify"] | {"results": {name: one["result"] for name, one in found.items()}}
    held(folder, stages["mlm"], context)
    with pytest.raises(Interrupted, match="stopped at step 7 of 20"):
        done(stages["best"], folder / "halves", context, stop=After(1000 if ranks.number() else 7))
    again = done(stages["best"], folder / "halves", context)
    every = done(stages["span"], folder / "often", context, checkpoint_seconds=0.0, recompute_activations=True)
    results = {name: one["result"] for name, one in (found | {"halves": again, "often": every}).items()}
    return found["classify"] | {"results": results}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Context:
    return Context(
        inputs={}, work=tmp_path_factory.mktemp("shards"), data_dir=None, cache_dir=cache_dir, prepare=(shrink,)
    )


@pytest.fixture(scope="module")
def both(context: Context) -> dict[str, dict[str, Any]]:
    """All cases by one process and by two that divide the layers."""
    work = functools.partial(all_cases, {name: stage_of(name, context.cache_dir) for name in MINE})
    one = work(context.work / "one", context)
    together = replace(context, device="cpu+cpu", shard=True)
    return {"one": one, "two": in_ranks(functools.partial(work, context.work / "two"), together)}


@pytest.mark.parametrize("name", MINE)
def test_two_processes_with_half_the_layers_each_make_what_one_makes(
    name: str, both: dict[str, Any], context: Context
) -> None:
    one, two = (context.work / which / name for which in ("one", "two"))
    here, there = ([line for line in log(folder) if "loss" in line] for folder in (one, two))
    assert len(here) == 20
    accuracy = 5e-6 if name == "embed" else 1e-6  # its logits are cosines times a scale, which rounding is times too
    for mine, theirs in zip(here, there, strict=True):
        assert theirs.pop("loss") == pytest.approx(mine.pop("loss"), rel=accuracy)
        assert theirs == mine
    found, expected = weights(two), weights(one)
    assert found.keys() == expected.keys()
    for parameter, values in expected.items():
        assert float((found[parameter] - values).abs().max()) <= 1e-6, parameter
    before = load_file(encoder_folder(stage_of(name, context.cache_dir).start, context) / "model.safetensors")
    assert max(float((expected[key] - values).abs().max()) for key, values in before.items()) > 1e-3


def test_stopped_or_seldom_stopped_they_make_the_same_bytes(both: dict[str, Any], context: Context) -> None:
    results = both["two"]["results"]
    assert results["halves"]["resumed_at_step"] == 7
    for other, whole in {"halves": "best", "often": "span"}.items():
        mine, theirs = (context.work / "two" / name / "out" for name in (other, whole))
        for file in ("weights/encoder/model.safetensors", "weights/heads.safetensors", "log.jsonl"):
            assert (mine / file).read_bytes() == (theirs / file).read_bytes(), (other, file)


def test_what_is_written_of_divided_layers(both: dict[str, Any], context: Context) -> None:
    one, two = both["one"], both["two"]
    assert two["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread-2shards-rows"
    timing = ("tokens_per_second", "final_loss", "tasks")
    for name in MINE:
        mine, theirs = ({k: v for k, v in by["results"][name].items() if k not in timing} for by in (one, two))
        assert mine == theirs
        files = [context.work / which / name / "out" for which in ("one", "two")]
        configs = [json.loads((folder / "weights/encoder/config.json").read_text()) for folder in files]
        assert configs[0] == configs[1]
        assert configs[0]["architectures"] == ["XLMRobertaModel"]
        if MINE[name][2].frozen_layers is None:
            tables = [pq.read_table(folder / "moments.parquet")["vector"].to_numpy() for folder in files]
            np.testing.assert_allclose(np.concatenate(tables[1]), np.concatenate(tables[0]), rtol=1e-3)


def held(folder: Path, stage: Train, context: Context) -> None:
    """Write the bytes that this process has of layers and of all else, after a step: weights, gradients, moments."""
    model = Model(encoder_folder(stage.start, context))
    layers = {id(p) for layer in encoders.layers_of(model.encoder)[1] for p in layer.parameters()}
    assert layers
    whole = sum(p.nbytes for p in model.parameters() if id(p) in layers)
    shards.shard(model.encoder, stage.recipe, torch.device("cpu"))
    optimiser = adamw(model, stage.recipe, torch.device("cpu"))
    model.train()
    hidden = model.encoder(torch.arange(9, 16), [3, 4])
    assert isinstance(hidden, torch.Tensor)
    hidden.square().sum().backward()
    optimiser.step()
    found = {"whole": whole, "weights": 0, "gradients": 0, "moments": 0, "others": 0}
    for parameter in model.parameters():
        if not isinstance(parameter, DTensor):
            found["others"] += parameter.nbytes
            continue
        assert parameter.grad is not None
        found["weights"] += parameter.to_local().untyped_storage().nbytes()
        found["gradients"] += parameter.grad.to_local().nbytes
        found["moments"] += sum(optimiser.state[parameter][name].to_local().nbytes for name in MOMENTS[1:])
    (folder / f"held-{ranks.number()}.json").write_text(json.dumps(found))


def test_each_process_has_half_of_the_layers_weights_gradients_and_moments(
    both: dict[str, dict[str, Any]], context: Context
) -> None:
    first, second = (json.loads((context.work / "two" / f"held-{rank}.json").read_text()) for rank in (0, 1))
    whole = first["whole"]
    assert first["others"] == second["others"] > 0
    for what, times in {"weights": 1, "gradients": 1, "moments": 2}.items():
        assert first[what] + second[what] == times * whole, what
        assert 0.49 * times * whole <= first[what] <= 0.51 * times * whole, what


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"lora": Lora()}, "adapters"),
        ({"aggregation": "mix"}, "aggregation 'mix'"),
        ({"robust": Robust("adversarial", epsilon=0.1, start="zero")}, r"robust training \(adversarial\)"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_the_plan(changes: dict[str, Any], what: str, cache_dir: Path) -> None:
    stage = Train(TINY, Mixture(("mini-tags",)), TWENTY, replace(RECIPE, **changes))
    plan = make_plan("test", [stage], Sources(None, cache_dir))
    with pytest.raises(ValueError, match=f"--shard: tiny.*mini-tags.*{what}"):
        check_shard(True, ("cpu+cpu",), plan)
    check_shard(False, ("cpu+cpu",), plan)


def test_layers_are_divided_among_joined_devices_alone(cache_dir: Path) -> None:
    plan = make_plan("test", [stage_of("mlm", cache_dir)], Sources(None, cache_dir))
    check_shard(True, ("cpu+cpu",), plan)
    with pytest.raises(ValueError, match="--shard with a worker on cuda:2 alone: expected joined devices"):
        check_shard(True, ("cuda:0+cuda:1", "cuda:2"), plan)


@pytest.mark.parametrize(("architecture", "what"), [("albert", "no list of layers"), ("deberta-v2", "pads by itself")])
def test_encoders_that_cannot_be_divided_are_refused(architecture: str, what: str, tmp_path: Path) -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "num_layers": 2}
    build_tiny(tmp_path, ["a cat sat"], architecture=architecture, max_positions=64, **sizes)
    encoder = encoders.load(tmp_path, attention_dropout=None, hidden_dropout=None)
    with pytest.raises(ValueError, match=f"--shard: .*{what}"):
        shards.shard(encoder, RECIPE, torch.device("cpu"))
