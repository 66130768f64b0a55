"""What a head reads of an encoder: the last hidden state of each token, or what is made of all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

LAST_SHARE = 0.9
RATE_FACTOR = 100.0


def states(encoder: Any, head: Any, batch: Any, at: Tensor | None = None) -> Tensor:
    """The states that a head reads of a batch.

    Args:
        encoder: the encoder.
        head: its ``aggregation``, where it has one, is applied.
        batch: T tokens.
        at: [A] tokens that are wanted, all when ``None``.

    Returns:
        [A, H], or [T, H].
    """
    if getattr(head, "aggregation", None) is None:
        hidden = encoder(batch.ids, batch.packing, batch.types)
        return hidden if at is None else hidden[at]
    layers = encoder(batch.ids, batch.packing, batch.types, all_layers=True)
    return aggregated(head, layers if at is None else [hidden[at] for hidden in layers])


def aggregated(head: Any, layers: Sequence[Tensor]) -> Tensor:
    """What a head reads, [T, H], of the hidden states [T, H] of L layers and, first of all, of the embeddings."""
    aggregation = getattr(head, "aggregation", None)
    return layers[-1] if aggregation is None else aggregation(layers)


def fresh(name: str, encoder: Any) -> Mix | Attention | None:
    """The fresh trained part of one of `xstilts.recipe.AGGREGATIONS`; ``None`` for ``last``."""
    if name == "last":
        return None
    return Mix(encoder.num_layers + 1) if name == "mix" else Attention(encoder.hidden_size)


class Mix(nn.Module):
    """A weighted mean of all hidden states, the same for every token: ``scale * sum_l w_l h_l``, w a softmax.

    ELMo's scalar mix (Peters et al. 2018, arXiv 1802.05365, equation 1), which counts the embeddings too. It starts
    with `LAST_SHARE` of the weight on the last layer and equal parts on the others, and scale 1. The logits are
    `RATE_FACTOR` times the parameter: AdamW moves a parameter by about its rate, and at 1e-5, made for encoders, the
    weights would stay where they are; so they move as at 1e-3.
    """

    def __init__(self, num_states: int) -> None:
        super().__init__()
        logits = torch.zeros(num_states)
        logits[-1] = math.log(LAST_SHARE / (1 - LAST_SHARE) * (num_states - 1))
        self.logits = nn.Parameter(logits / RATE_FACTOR)
        self.scale = nn.Parameter(torch.ones(1))

    def weights(self) -> Tensor:
        """The weight of each hidden state, [L + 1]."""
        return (RATE_FACTOR * self.logits).softmax(0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """L + 1 tensors [T, H] -> [T, H]."""
        return self.scale * _weighted(self.weights(), layers)


class Attention(nn.Module):
    """Attention of each token's last state over its states of all layers, fused with the last state by addition.

    ``h_L + O sum_l a_l h_l`` with ``a = softmax_l((Q h_L) . h_l / sqrt(H))``: one head, whose key and value matrices
    are contained in Q and O, since a product with each would be another full matrix. It counts the embeddings (l = 0)
    and the last layer itself. O is zero at first, so that training starts at ``h_L``. Chen et al. 2022
    (arXiv 2205.08497) describe such a module and published no code; size, initial values and the sum are chosen here.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.normal_(self.query.weight, std=0.02)
        nn.init.zeros_(self.output.weight)

    def weights(self, layers: Sequence[Tensor]) -> Tensor:
        """The weight of each hidden state for each token, [L + 1, T], of L + 1 tensors [T, H]."""
        query = self.query(layers[-1]) / math.sqrt(layers[-1].shape[1])
        return torch.stack([(query * hidden).sum(1) for hidden in layers]).softmax(0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """L + 1 tensors [T, H] -> [T, H]."""
        return layers[-1] + self.output(_weighted(self.weights(layers).unsqueeze(2), layers))


def _weighted(weights: Iterable[Tensor], layers: Sequence[Tensor]) -> Tensor:
    """The sum of tensors times weights, one after the other: they are never copied into one."""
    products = (weight * hidden for weight, hidden in zip(weights, layers, strict=True))
    return functools.reduce(torch.add, products)
