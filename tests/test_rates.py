"""Layer-wise learning rates: which layer a parameter is of, and what AdamW does with the rate it gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from small import CPU, small_folders
from test_encoder import ARCHITECTURES, make_folder
from xstilts.engine.encoder import load
from xstilts.engine.model import Model
from xstilts.engine.rates import layer_numbers, layer_share, rate_shares
from xstilts.engine.step import adamw, learning_rate, prepare
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Lora, Recipe
from xstilts.stage import Encoder, Train

EMBEDDINGS = {"embed_tokens", "embeddings", "tok_embeddings", "rel_embeddings"}
ABOVE = {"final_norm.weight", "norm.weight", "encoder.LayerNorm.weight", "encoder.LayerNorm.bias"}


@pytest.fixture
def model(cache_dir: Path, tmp_path: Path) -> Model:
    made = Model(small_folders(cache_dir, tmp_path / "characters")["characters"])
    made.add_heads(("mini-nli",), STILTS, seed=0)
    return made


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_has_its_layer(architecture: str, tmp_path: Path) -> None:
    encoder = load(make_folder(architecture, tmp_path / architecture), attention_dropout=None, hidden_dropout=None)
    numbers = layer_numbers(encoder)
    assert numbers.keys() == dict(encoder.model.named_parameters()).keys()
    count = encoder.num_layers
    assert set(numbers.values()) == set(range(count + 1))
    for name, number in numbers.items():
        inside = [int(part) for part in name.split(".") if part.isdigit()]
        if inside:
            assert number == inside[0] + 1
        elif EMBEDDINGS & set(name.split(".")):
            assert number == 0
        else:
            assert name in ABOVE
            assert number == count


def test_shared_layers_are_refused(tmp_path: Path) -> None:
    fields = {"vocab_size": 50, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    from transformers import AlbertConfig, AlbertModel

    with torch.random.fork_rng():
        AlbertModel(AlbertConfig(**fields, num_hidden_layers=3, embedding_size=8)).save_pretrained(tmp_path)
    encoder = load(tmp_path, attention_dropout=None, hidden_dropout=None)
    with pytest.raises(
        ValueError, match="layer_decay needs an encoder with a list of its 3 layers: AlbertModel has none"
    ):
        layer_numbers(encoder)


def test_the_shares_are_powers_of_the_decay(model: Model) -> None:
    shares = rate_shares(model, 0.5)
    assert shares["encoder.model.embeddings.word_embeddings.weight"] == layer_share(0.5, 0, 2) == 0.25
    assert shares["encoder.model.embeddings.LayerNorm.bias"] == 0.25
    assert shares["encoder.model.encoder.layer.0.attention.self.query.weight"] == 0.5
    assert shares["encoder.model.encoder.layer.1.output.dense.bias"] == 1
    assert {share for name, share in shares.items() if name.startswith("heads.")} == {1}
    assert shares.keys() == dict(model.named_parameters()).keys()
    model.adapt(Lora(rank=2), seed=0)
    shares = rate_shares(model, 0.5)
    assert shares["encoder.model.encoder.layer.0.attention.self.query.lora_A.default.weight"] == 0.5


def test_without_layer_decay_there_are_the_two_groups_of_adamw(model: Model) -> None:
    groups = adamw(model, STILTS, CPU).param_groups
    parameters = list(model.parameters())
    for group, matrices in zip(groups, (True, False), strict=True):
        own = [p for p in parameters if (p.ndim > 1) == matrices]
        assert [id(p) for p in group["params"]] == [id(p) for p in own]
        assert (group["weight_decay"], group["rate_share"]) == (0.01 if matrices else 0.0, 1)


def test_steps_are_adamw_by_hand_at_each_layer_s_own_rate(model: Model) -> None:
    recipe = replace(STILTS, learning_rate=1e-2, warmup_share=0.25, weight_decay=0.3, layer_decay=0.5)
    stage = Train(Encoder("tiny"), Mixture(("mini-nli",)), Budget(1), recipe)
    optimiser = adamw(model, recipe, CPU)
    table, low, top = (
        f"encoder.model.{name}"
        for name in (
            "embeddings.word_embeddings.weight",
            "encoder.layer.0.output.dense.bias",
            "encoder.layer.1.output.dense.weight",
        )
    )
    head = "heads.mini-nli.dense.weight"
    wanted = {table: (0.25, 0.3), low: (0.5, 0.0), top: (1.0, 0.3), head: (1.0, 0.3)}  # share of the rate, decay
    double = {name: p.detach().double() for name, p in model.named_parameters() if name in wanted}
    first, second = ({name: torch.zeros_like(p) for name, p in double.items()} for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        gradients = {name: torch.randn(p.shape, generator=generator) for name, p in double.items()}
        rate = learning_rate(recipe, step, 4)
        for name, (share, decay) in wanted.items():
            first[name] = 0.9 * first[name] + 0.1 * gradients[name]
            second[name] = 0.999 * second[name] + 0.001 * gradients[name].double() ** 2
            update = first[name] / (1 - 0.9 ** (step + 1)) / ((second[name] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
            double[name] = double[name] * (1 - share * rate * decay) - share * rate * update
        for name, parameter in model.named_parameters():
            parameter.grad = gradients.get(name)
        prepare(optimiser, stage, "", step, 4)
        optimiser.step()
        for name, parameter in model.named_parameters():
            if name in wanted:
                torch.testing.assert_close(parameter.detach().double(), double[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"recipe.layer_decay is .*: expected 0 < decay <= 1"):
        Recipe(layer_decay=decay)
