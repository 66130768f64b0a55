"""Masked language modelling: how well the masked tokens were foreseen."""

from __future__ import annotations

import math
from collections.abc import Sequence

VERSION = 1


def loss(loss_sums: Sequence[float], num_masked: Sequence[int]) -> float:
    """The mean cross-entropy over all masked tokens, in nats.

    Args:
        loss_sums: summed cross-entropy of each example's masked tokens, in nats.
        num_masked: how many tokens of each example were masked.

    Raises:
        ValueError: for lengths that differ, or when no token was masked.
    """
    if len(loss_sums) != len(num_masked) or not sum(num_masked):
        raise ValueError(
            f"loss and perplexity: expected losses and counts of the same examples with masked tokens, got "
            f"{len(loss_sums)} losses and {len(num_masked)} counts of {sum(num_masked)} tokens"
        )
    return math.fsum(loss_sums) / sum(num_masked)


def perplexity(loss_sums: Sequence[float], num_masked: Sequence[int]) -> float:
    """The exponential of `loss` (pseudo-perplexity of a masked model)."""
    return math.exp(loss(loss_sums, num_masked))
