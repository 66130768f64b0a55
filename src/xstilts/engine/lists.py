"""What a forward gives back: lists for each example and the softmax over each, and no value that is not finite."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Lists(NamedTuple):
    """A list of values for each of E examples.

    Attributes:
        values: [V], the lists one after the other in the order of the examples.
        lengths: [E] int64, summing to V.
    """

    values: Tensor
    lengths: Tensor


def logsumexp_by(values: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """The logarithm of the summed exponentials of each group's values; no group may be without any.

    Args:
        values: [V] or [V, C] finite values.
        group: [V] int64, which of the groups each value belongs to.
        num_groups: G.

    Returns:
        [G] or [G, C].
    """
    index = group.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    shape = (num_groups, *values.shape[1:])
    highest = torch.full(shape, -torch.inf, dtype=values.dtype, device=values.device)
    highest = highest.scatter_reduce(0, index, values.detach(), "amax")  # [G, ..]
    total = torch.zeros_like(highest).index_add(0, group, (values - highest[group]).exp())
    return highest + total.log()


def refuse_overflow(values: np.ndarray | list[np.ndarray] | Tensor, what: str) -> None:
    """Raise ``FloatingPointError`` unless every value is finite: such a measurement could not be scored."""
    values = np.concatenate(values) if isinstance(values, list) else values
    tensor = torch.as_tensor(values)
    if tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():  # NaN is both of its extremes
        raise FloatingPointError(f"{what} are not finite: lower the learning rate, or take precision float32")
