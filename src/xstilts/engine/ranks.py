"""What one of several processes that share a training needs of the others: its number, sums, one decision for all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

_BUCKET_NUMBERS = 25_000_000  # gradients are summed in pieces of 100 MB, so that their copy stays small


def count() -> int:
    """How many processes do this training: 1 where nothing is shared."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Which of them this one is, from 0; the first one measures, writes checkpoints and saves."""
    return dist.get_rank() if count() > 1 else 0


def told(flag: bool) -> bool:
    """What the first process says of a question that all of them ask at the same place."""
    if count() == 1:
        return flag
    said = torch.tensor([flag])
    dist.broadcast(said, 0)
    return bool(said)


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process do something before the others: what it writes into the cache, they find there."""
    if count() > 1 and number():
        dist.barrier()
    yield
    if count() > 1 and not number():
        dist.barrier()


def balanced(num_tokens: np.ndarray, num_parts: int) -> list[np.ndarray]:
    """The places of examples of ``num_tokens`` [E] in each of P parts, ascending; empty parts only if E < P.

    The longest example first, each to the part that has the fewest tokens so far (the first of equal ones).
    """
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    load = [0] * num_parts
    for place in np.argsort(-num_tokens, kind="stable").tolist():
        part = load.index(min(load))
        parts[part].append(place)
        load[part] += int(num_tokens[place])
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def summed(model: nn.Module, loss: Tensor) -> Tensor:
    """Make every gradient the sum of those of all processes, the same bits in each; the sum of their losses, [].

    Which parameters have a gradient is the same in all of them: a process without an example of a task does another's
    with weight 0. Those of divided layers (`shards`) are summed already.
    """
    if count() == 1:
        return loss
    total = loss.detach().clone().reshape(1)
    gradients = [p.grad for p in model.parameters() if p.grad is not None and not isinstance(p, DTensor)]
    for bucket in _buckets([total, *gradients]):
        flat = torch.cat([values.flatten() for values in bucket])
        dist.all_reduce(flat)
        for values, found in zip(bucket, flat.split([values.numel() for values in bucket]), strict=True):
            values.copy_(found.view_as(values))
    return total.squeeze(0)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(values.numel() for values in bucket) + tensor.numel() > _BUCKET_NUMBERS:
            yield bucket
            bucket = []
        bucket.append(tensor)
    yield bucket


@contextlib.contextmanager
def one_try() -> Iterator[None]:
    """What cannot be done again by one process alone, such as sums: too little memory is the end of the stage there.

    Raises:
        MemoryError: for `torch.OutOfMemoryError` in one of several processes.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        if count() == 1:
            raise
        raise MemoryError(f"rank {number()} in the sum of gradients or the update: {error}") from error


def gathered(own: Tensor, batch: Any) -> Tensor:
    """[e, ..] values of the examples of a process's part of a batch -> [E, ..] those of the whole batch.

    A gradient reaches the process's own values alone: of a loss of all values, which each process computes, the
    gradients of all processes sum to the whole one.
    """
    shared = batch.shared
    if shared is None:
        return own
    everyone = own.new_zeros(shared.whole.num_examples, *own.shape[1:])
    rows = torch.from_numpy(shared.rows).to(own.device)
    if not shared.stands_in:
        everyone[rows] = own.detach()
    dist.all_reduce(everyone)
    return everyone + 0 * own.sum() if shared.stands_in else everyone.index_copy(0, rows, own)


def once(value: Tensor) -> Tensor:
    """A value that every process has, with its gradient in the first one alone."""
    return value if number() == 0 else value.detach() + 0 * value


def check_alike(model: nn.Module) -> None:
    """Compare the weights that all processes have, by their sums; they begin alike and get the same updates.

    Raises:
        RuntimeError: they differ, so that the devices do not compute alike.
    """
    if count() == 1:
        return
    own = torch.stack([p.detach().double().sum() for p in model.parameters() if not isinstance(p, DTensor)]).cpu()
    first = own.clone()
    dist.broadcast(first, 0)
    differs = torch.tensor([int(not torch.equal(own, first))])
    dist.all_reduce(differs)
    if int(differs):
        raise RuntimeError(
            f"{int(differs)} of {count()} ranks have other weights than rank 0: take devices of one type"
        )
