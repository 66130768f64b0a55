"""Adapters: what they add, that nothing else of the encoder moves, and what is left of them when they are merged."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from test_train import NLI, RECIPE, Bench
from xstilts import Lora, Train, checks
from xstilts.engine import Interrupted, encoder_folder, environment, numeric_path
from xstilts.engine.data import Tokenised
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.engine.step import graph_problem
from xstilts.hub import check_encoder
from xstilts.mixture import Budget
from xstilts.study import Sources, make_plan

pytestmark = pytest.mark.usefixtures("small_miniature")

CPU = torch.device("cpu")
LORA = replace(RECIPE, lora=Lora(rank=3, alpha=6.0, dropout=0.1), learning_rate=1e-2)
FOUR_STEPS = Budget(4, "steps")


@pytest.fixture
def bench(tmp_path: Path, cache_dir: Path) -> Bench:
    return Bench(tmp_path, cache_dir)


def adapted(bench: Bench, lora: Lora = Lora(rank=3, alpha=6.0)) -> Model:  # noqa: B008
    """The model of a stage with adapters whose second factor is no longer zero."""
    model = bench.model(bench.stage())
    model.adapt(lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def states(model: Model, rows: Tokenised) -> torch.Tensor:
    batch = collate(rows, range(6), CPU)
    return model.encoder(batch.ids, batch.packing, batch.types)


def test_what_trains_is_the_adapters_and_the_heads(bench: Bench) -> None:
    model = adapted(bench)
    trained = sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
    # 2 layers: query, key, value and output of attention 16 -> 16, and 16 -> 32 -> 16; rank 3
    assert trained == 2 * 3 * (4 * (16 + 16) + 2 * (16 + 32))
    assert all(p.requires_grad for p in model.heads.parameters())
    only = adapted(bench, Lora(rank=3, targets=("value", "output.dense", "query")))
    trained = sum(p.numel() for p in only.encoder.parameters() if p.requires_grad)
    assert trained == 2 * 3 * (3 * (16 + 16) + (16 + 32)), "both layers called output.dense"


def test_an_adapter_is_its_formula_and_merging_keeps_it(bench: Bench, tmp_path: Path) -> None:
    model = adapted(bench)
    rows = bench.rows(bench.stage(), model)
    by_hand = bench.model(bench.stage()).eval()
    start = copy.deepcopy(by_hand.encoder.model.state_dict())
    parts = dict(model.encoder.model.named_parameters())
    weights = by_hand.encoder.model.state_dict()
    for name in [name for name in parts if "lora_A" in name]:
        layer = name.partition(".lora_A")[0]
        product = parts[name.replace("lora_A", "lora_B")].detach() @ parts[name].detach()
        weights[f"{layer}.weight"] += 6.0 / 3 * product
    expected = states(by_hand, rows)
    before = states(model, rows)
    torch.testing.assert_close(before, expected, atol=1e-5, rtol=0)
    model.save(tmp_path)
    torch.testing.assert_close(states(model, rows), before, atol=1e-6, rtol=1e-6)
    merged = load_file(tmp_path / "encoder" / "model.safetensors")
    assert merged.keys() == start.keys(), "an ordinary folder"
    assert {name for name in start if not torch.equal(start[name], merged[name])} == {
        f"{name.partition('.lora_A')[0]}.weight" for name in parts if "lora_A" in name
    }


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft reads it
def test_the_adapter_is_peft_s_own_and_loads_on_the_base(bench: Bench) -> None:
    stage = bench.stage(recipe=LORA, budget=FOUR_STEPS)
    done = bench.train(stage)
    weights = done.out / "weights"
    assert sorted(file.name for file in (weights / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((weights / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 6.0, 0.1)
    assert config["base_model_name_or_path"] is None, "no path of this machine"
    assert config["target_modules"] == sorted(config["target_modules"])
    base = AutoModel.from_pretrained(encoder_folder(stage.start, bench.context()), add_pooling_layer=False)
    by_peft = peft.PeftModel.from_pretrained(base, str(weights / "adapter")).eval()
    merged = AutoModel.from_pretrained(weights / "encoder", add_pooling_layer=False).eval()
    ids = torch.arange(5, 25)[None]
    torch.testing.assert_close(by_peft(ids).last_hidden_state, merged(ids).last_hidden_state, atol=1e-6, rtol=1e-6)
    start = AutoModel.from_pretrained(encoder_folder(stage.start, bench.context()), add_pooling_layer=False)
    moved = (start.eval()(ids).last_hidden_state - merged(ids).last_hidden_state).abs().max()
    assert moved > 1e-3, "training did something"
    assert done.result["embedding_rows"] is None


def test_frozen_weights_stay_bit_for_bit_and_checkpoints_leave_them_out(bench: Bench) -> None:
    stage = bench.stage(recipe=replace(LORA, weight_decay=0.5), budget=FOUR_STEPS)
    calls = iter([False, False, True])
    with pytest.raises(Interrupted):
        bench.train(stage, stop=lambda: next(calls))
    (folder,) = (bench.folder / "a" / "work").glob("checkpoint-*")
    kept = load_file(folder / "model.safetensors")
    assert all("lora_" in name or name.startswith("heads.") for name in kept)
    assert any("lora_A" in name for name in kept)
    done = bench.train(stage)
    assert done.result["resumed_at_step"] == 2
    start = load_file(encoder_folder(stage.start, bench.context()) / "model.safetensors")
    same = {name for name, value in done.weights().items() if torch.equal(value, start[name])}
    assert same == {
        name for name in start if not (name.endswith((".dense.weight", "query.weight", "key.weight", "value.weight")))
    }


def test_adapters_start_from_their_own_stream_and_heads_as_without(bench: Bench) -> None:
    stage = bench.stage()
    plain, one, two = (bench.model(stage) for _ in range(3))
    one.adapt(Lora(), seed=0)
    torch.rand(5)
    two.adapt(Lora(), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one.heads.parameters(), plain.heads.parameters(), strict=True))
    rows = bench.rows(stage, one)
    torch.testing.assert_close(states(one.eval(), rows), states(plain.eval(), rows), atol=0, rtol=0, msg="B is zero")


def test_a_target_that_is_no_linear_layer_is_refused_with_the_names(bench: Bench) -> None:
    with pytest.raises(
        ValueError, match=r"'quer', and no linear layer .*some of dense, key, query, value; did you mean"
    ):
        bench.model(bench.stage()).adapt(Lora(targets=("quer",)), seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"rank": 0}, "lora.rank is 0"), ({"dropout": 1.0}, "lora.dropout is 1")]
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lora(**wrong)


def test_targets_are_a_set() -> None:
    assert Lora(targets=("value", "query", "value")).id == Lora(targets=("query", "value")).id


def test_a_plan_refuses_adapters_without_their_package(
    cache_dir: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = bench.stage(recipe=LORA)
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"^recipe.lora needs a package that is not installed: pip install 'xstilts\[peft\]'$"
    ):
        make_plan("test", [Train(stage.start, NLI, FOUR_STEPS, LORA)], Sources(None, cache_dir))
    make_plan("test", [Train(stage.start, NLI, FOUR_STEPS, RECIPE)], Sources(None, cache_dir))


def test_a_record_says_which_peft_and_which_path(bench: Bench) -> None:
    plain, lora = bench.stage(), bench.stage(recipe=LORA)
    assert environment(lora, "cpu")["packages"]["peft"] == peft.__version__
    assert "peft" not in environment(plain, "cpu")["packages"]
    assert numeric_path(plain, "cpu") == numeric_path(lora, "cpu") + "-rows"
    recipe = replace(LORA, precision="bfloat16")
    problem = graph_problem(replace(lora, recipe=recipe), bench.model(plain), {"classify"}, torch.device("cuda"))
    assert problem == "the steps of adapters (lora) were not tried as graphs"


def test_an_encoder_with_an_adapter_beside_its_weights_is_refused(tmp_path: Path) -> None:
    """Transformers would apply it where peft is installed, and ignore it elsewhere."""
    for name in ("config.json", "model.safetensors", "tokenizer.json", "adapter_config.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="merge the adapter"):
        check_encoder(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    check_encoder(tmp_path)
