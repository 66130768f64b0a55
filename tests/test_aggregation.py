"""What heads read: mixes of and attention over all hidden states, under every kind, and after a model was saved."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from small import CPU, encoded, shaken, small_folders
from xstilts import tasks
from xstilts.engine.aggregation import LAST_SHARE, RATE_FACTOR, Attention, Mix, fresh
from xstilts.engine.kinds import KINDS, embed
from xstilts.engine.model import Model
from xstilts.engine.packing import Batch, collate
from xstilts.recipe import AGGREGATIONS, STILTS

NAMES = ("mini-nli", "mini-tags", "mini-qa", "mini-choice", "mini-lareqa-train", "mini-text")


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])


def hidden_states(num_states: int = 4, num_tokens: int = 5, size: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(num_tokens, size, generator=generator, requires_grad=True) for _ in range(num_states)]


def shake(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            alpha = 0.3 / (RATE_FACTOR if name.endswith("logits") else max(parameter.shape) ** 0.5)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=alpha)


def with_head(model: Model, name: str, aggregation: str, **changes: Any) -> tuple[Model, Batch]:
    """The model with a head for a task, its dropout off, and a batch of the task."""
    task = tasks.find(name)
    made = copy.deepcopy(model)
    made.add_heads((name,), replace(STILTS, aggregation=aggregation, **changes), seed=0)
    data = encoded(task.kind, tasks.examples(task, "train", "en")[:4], made.tokenizer, 90)
    return made.eval(), collate(data, [2, 0, 3], CPU)


def outcome(model: Model, name: str, batch: Batch, encoder: Any = None, head: Any = None) -> list[Tensor]:
    """The loss of a batch and every column of its predictions."""
    kind = KINDS[tasks.find(name).kind.name]
    given = (encoder or model.encoder, head or model.head(name), batch)
    columns = kind.decode(*given).values()
    values = [part if isinstance(part, Tensor) else part.values for part in columns]
    return [kind.loss(*given, torch.Generator().manual_seed(1)), *values]


# ------------------------------------------------------------ mathematics


def test_the_weights_of_the_layers_sum_to_one_for_each_token() -> None:
    layers = hidden_states()
    attention, mix = Attention(6), Mix(4)
    assert mix.weights().tolist() == pytest.approx([(1 - LAST_SHARE) / 3] * 3 + [LAST_SHARE], abs=1e-6)
    for module in (attention, mix):
        shake(module)
    assert attention.weights(layers).shape == (4, 5)
    torch.testing.assert_close(attention.weights(layers).sum(0), torch.ones(5))
    assert attention.weights(layers).std(1).min() > 1e-3, "each token has weights of its own"
    assert float(mix.weights().detach().sum()) == pytest.approx(1)


def test_a_mix_is_the_weighted_sum_times_its_scale() -> None:
    layers, mix = hidden_states(), Mix(4)
    with torch.no_grad():
        mix.logits.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]) / RATE_FACTOR)
        mix.scale.fill_(0.5)
    powers = [math.exp(x) for x in range(4)]
    by_hand = sum(p / sum(powers) * 0.5 * h.double() for p, h in zip(powers, layers, strict=True))
    torch.testing.assert_close(mix(layers).double(), by_hand, atol=1e-6, rtol=0)


def test_attention_is_what_a_loop_over_tokens_and_layers_gives() -> None:
    layers, attention = hidden_states(), Attention(6)
    assert torch.equal(attention(layers), layers[-1]), "training starts at the last layer"
    shake(attention)
    query, output = (x.weight.detach().double() for x in (attention.query, attention.output))
    found = attention(layers)
    for token in range(5):
        states = [hidden[token].detach().double() for hidden in layers]
        asked = query @ states[-1]
        scores = [math.exp(float(asked @ state) / math.sqrt(6)) for state in states]
        together = torch.zeros(6, dtype=torch.float64)
        for score, state in zip(scores, states, strict=True):
            together += score / sum(scores) * state
        torch.testing.assert_close(found[token].double(), states[-1] + output @ together, atol=1e-6, rtol=0)
    assert (found - layers[-1]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["mix", "attention"])
def test_a_gradient_reaches_every_layer_and_parameter(name: str) -> None:
    layers = hidden_states()
    module = fresh(name, SimpleNamespace(num_layers=3, hidden_size=6))
    assert module is not None
    shake(module)
    module(layers).square().sum().backward()
    for tensor in (*layers, *module.parameters()):
        assert tensor.grad is not None
        assert float(tensor.grad.abs().max()) > 1e-4


# ------------------------------------------------------------ under every kind


def test_last_is_no_part_of_a_head(model: Model) -> None:
    assert fresh("last", model.encoder) is None
    assert {name for name in AGGREGATIONS if fresh(name, model.encoder)} == {"mix", "attention"}
    heads = [with_head(model, "mini-nli", name)[0].heads.state_dict() for name in AGGREGATIONS]
    for more in heads[1:]:
        assert heads[0].keys() < more.keys()
        assert all(torch.equal(value, more[key]) for key, value in heads[0].items()), "a head starts the same"


@pytest.mark.parametrize("name", NAMES)
def test_a_mix_with_all_weight_on_the_last_layer_is_the_last_layer_exactly(name: str, model: Model) -> None:
    plain, batch = with_head(model, name, "last")
    mixed, _ = with_head(model, name, "mix")
    with torch.no_grad():
        mixed.head(name).aggregation.logits.copy_(torch.tensor([0.0, 0.0, 1e4]))
    for one, other in zip(outcome(mixed, name, batch), outcome(plain, name, batch), strict=True):
        assert torch.equal(one, other)


class Shown:
    """An encoder whose last hidden state is what an aggregation makes of all."""

    def __init__(self, encoder: Any, aggregation: Any) -> None:
        self.encoder, self.aggregation, self.model = encoder, aggregation, encoder.model

    def __call__(self, *given: Any) -> Tensor:
        return self.aggregation(self.encoder(*given, all_layers=True))


@pytest.mark.parametrize("aggregation", ["mix", "attention"])
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_reads_what_is_aggregated(name: str, aggregation: str, model: Model) -> None:
    made, batch = with_head(model, name, aggregation)
    shake(made.head(name))
    plain_head = copy.deepcopy(made.head(name))
    plain_head.aggregation = None
    shown = Shown(made.encoder, made.head(name).aggregation)
    found = outcome(made, name, batch)
    for one, other in zip(found, outcome(made, name, batch, shown, plain_head), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0], outcome(made, name, batch, head=plain_head)[0], atol=1e-4), "it matters"


def test_a_pooler_is_measured_as_it_was_trained_and_layers_as_they_are(model: Model) -> None:
    name = "mini-lareqa-train"
    made, batch = with_head(model, name, "attention")
    head = made.head(name)
    shake(head)
    last = made.encoder.num_layers
    vectors = embed.vectors(made.encoder, head, batch, [(last, "pooler"), (last, "mean"), (0, "cls")])
    unit = torch.nn.functional.normalize(vectors[:, 0], dim=1)
    torch.testing.assert_close(unit, embed.decode(made.encoder, head, batch)["vectors"].flatten(0, 1))
    frozen = embed.vectors(made.encoder, None, batch, [(last, "mean"), (0, "cls")])
    assert torch.equal(vectors[:, 1:], frozen)


@pytest.mark.parametrize("aggregation", ["mix", "attention"])
def test_a_saved_model_measures_the_same(aggregation: str, model: Model, tmp_path: Path) -> None:
    made, batch = with_head(model, "mini-tags", aggregation)
    shake(made.head("mini-tags"))
    made.save(tmp_path)
    again = Model.load_trained(tmp_path, replace(STILTS, aggregation=aggregation)).eval()
    for one, other in zip(outcome(made, "mini-tags", batch), outcome(again, "mini-tags", batch), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*aggregation"):
        Model.load_trained(tmp_path, STILTS)
