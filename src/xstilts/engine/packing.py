"""Which examples each optimisation step sees, and how they become one packed row of tokens."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xstilts.mixture import PER_TASK, Budget, Mixture
from xstilts.spec import stream_seed
from xstilts.tasks import find

from . import ranks
from .attention import Packing
from .data import Tokenised

TOKEN_MULTIPLE = 16


@dataclass(frozen=True)
class Batch:
    """A batch without padding: N sequences in one row of T tokens.

    Sequences lie in the row by length, longest first, so that equal lengths are neighbours; ``starts``,
    ``lengths`` and ``segment`` number them in the order of the examples (an example's sequences together). In a batch
    of a static shape further sequences follow, of example number E: empty ones, and a last one of filling tokens.
    """

    ids: Tensor  # [T] int64
    types: Tensor | None  # [T] int64 token types, for tokenizers that have them
    packing: Packing  # of the row
    starts: Tensor  # [N] int64: first token of each sequence in the row
    lengths: Tensor  # [N] int64
    segment: Tensor  # [T] int64: the sequence of each token
    example: Tensor  # [N] int64: the example of each sequence, counted within the batch
    first: Tensor  # [E] int64: the first sequence of each example
    targets: dict[str, Tensor]  # int64, [E] each, or [T] where a target is per token
    rows: np.ndarray  # [E] the examples' row numbers
    shared: Shared | None = None  # of what this is one process's part

    @property
    def num_tokens(self) -> int:
        """T, with the filling tokens of a static shape."""
        return self.ids.shape[0]

    @property
    def num_examples(self) -> int:
        """E."""
        return len(self.rows)

    @property
    def whole(self) -> Batch:
        """The batch that this is a part of: itself, where one process does it."""
        return self if self.shared is None else self.shared.whole


@dataclass(frozen=True)
class Shared:
    """The whole batch of a step, on the CPU, of which each of several processes does a part."""

    whole: Batch
    rows: np.ndarray  # [E] the part's examples, by their place in the whole batch
    stands_in: bool  # whether there was none left for this process: it does one of another's with weight 0

    def places(self, part: Batch) -> Tensor:
        """Where each token of the part is in the row of the whole batch, [T] on the CPU."""
        whole = self.whole
        stops = torch.cat([whole.first, torch.tensor([len(whole.lengths)])]).tolist()
        sequences = torch.tensor([n for row in self.rows.tolist() for n in range(stops[row], stops[row + 1])])
        segment = part.segment.cpu()
        return whole.starts[sequences[segment]] + torch.arange(len(segment)) - part.starts.cpu()[segment]


class Shape(NamedTuple):
    """The static shape of a batch.

    Attributes:
        num_tokens: tokens with those that fill.
        num_sequences: sequences, of which the last holds the filling tokens.
        longest: an upper bound of a sequence's tokens, the filling one's included.
    """

    num_tokens: int
    num_sequences: int
    longest: int


def collate(
    data: Tokenised, rows: Sequence[int] | np.ndarray, device: torch.device, shape: Shape | None = None
) -> Batch:
    """Pack the examples ``rows`` of ``data`` into one batch on ``device``, filled up to a static shape if there is one.

    Targets of filling tokens are `FILLED`.
    """
    rows = np.asarray(rows, dtype=np.int64)
    first = data.first[rows]
    counts = data.first[rows + 1] - first  # [E] sequences of each example
    ends = np.cumsum(counts)
    sequences = np.repeat(first - ends + counts, counts) + np.arange(ends[-1])  # [N] their numbers in the data
    lengths = data.lengths[sequences]
    order = np.argsort(-lengths, kind="stable")
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]
    example = np.repeat(np.arange(len(rows)), counts)
    flat = {name: data.tokens(name, sequences[order]) for name in ("ids", *data.per_token)}
    flat["segment"] = np.repeat(order, lengths[order])
    if shape is not None:
        num_real, num_filling = len(flat["ids"]), shape.num_tokens - len(flat["ids"])
        more = shape.num_sequences - len(lengths)
        assert num_filling >= 0, "the shape holds the batch"
        assert more >= 1, "one sequence fills"
        bounds = np.concatenate([[0], np.cumsum(lengths[order]), np.full(more, num_real)])
        bounds[-1] = shape.num_tokens
        positions = np.concatenate([np.arange(n) for n in lengths[order]] + [np.zeros(num_filling, dtype=np.int64)])
        starts = np.append(starts, np.zeros(more, dtype=np.int64))
        lengths = np.append(lengths, [0] * (more - 1) + [num_filling])
        example = np.append(example, np.full(more, len(rows)))
        fill = FILLED | {"ids": flat["ids"][0], "segment": shape.num_sequences - 1}
        flat = {name: np.append(values, np.full(num_filling, fill.get(name, 0))) for name, values in flat.items()}

    def tensor(values: np.ndarray) -> Tensor:
        here = torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
        # from pinned memory the copy does not wait for what the GPU is doing
        return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)

    if shape is None:
        packing = Packing.of(lengths[order].tolist(), device)
    else:
        packing = Packing(shape.num_tokens, shape.longest, tensor(bounds).int(), tensor(positions))
    packed = {name: tensor(values) for name, values in flat.items()}
    return Batch(
        ids=packed.pop("ids"),
        types=packed.pop("types", None),
        packing=packing,
        starts=tensor(starts),
        lengths=tensor(lengths),
        segment=packed.pop("segment"),
        example=tensor(example),
        first=tensor(np.cumsum(counts) - counts),
        targets={name: tensor(values[rows]) for name, values in data.targets.items()} | packed,
        rows=rows,
    )


def own_part(data: Tokenised, rows: np.ndarray, device: torch.device) -> Batch:
    """The examples ``rows`` as one batch, or this process's part of it, where several do a training together."""
    if ranks.count() == 1:
        return collate(data, rows, device)
    own = ranks.balanced(data.num_tokens[rows], ranks.count())[ranks.number()]
    shown = own if len(own) else np.zeros(1, dtype=np.int64)
    shared = Shared(collate(data, rows, torch.device("cpu")), shown, not len(own))
    return replace(collate(data, rows[shown], device), shared=shared)


FILLED = {"label": -100}
"""Targets of filling tokens, 0 for any other name: no word to tag, and a place that some span may begin in."""


def token_shapes(num_tokens: np.ndarray, num_shapes: int = 8) -> tuple[int, ...]:
    """The static sizes that waste the fewest tokens when every step runs in the smallest one that holds it.

    Exact, by dynamic programming over the steps' sizes rounded up to `TOKEN_MULTIPLE`.

    Args:
        num_tokens: [S] tokens of the steps.
        num_shapes: how many sizes at most.

    Returns:
        The sizes, ascending; the last one holds the largest step.
    """
    sizes, counts = np.unique(-(-np.asarray(num_tokens) // TOKEN_MULTIPLE) * TOKEN_MULTIPLE, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # steps of the first n sizes
    best = np.full(len(sizes) + 1, np.inf)
    best[0] = 0
    choices = []
    for _ in range(min(num_shapes, len(sizes))):
        # best[j] = least over i < j of best[i] + what the sizes i .. j-1 cost in the shape of size j-1
        cost = best[:-1, None] + sizes[None, :] * (below[None, 1:] - below[:-1, None])
        cost[np.tril_indices(len(sizes), -1)] = np.inf
        choices.append(cost.argmin(axis=0))
        best = np.concatenate([[np.inf], cost.min(axis=0)])
    found: list[int] = []
    stop = len(sizes)
    for choice in reversed(choices):
        if stop == 0:
            break
        found.append(int(sizes[stop - 1]))
        stop = int(choice[stop - 1])
    return tuple(reversed(found))


def length_sorted_batches(num_tokens: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Split examples of ``num_tokens`` [E] into batches of at most ``token_budget`` tokens (one example at least).

    Longest first: an out-of-memory error comes at the start.
    """
    order = np.argsort(-num_tokens, kind="stable")
    batches: list[np.ndarray] = []
    start, tokens = 0, 0
    for position, row in enumerate(order):
        if position > start and tokens + num_tokens[row] > token_budget:
            batches.append(order[start:position])
            start, tokens = position, 0
        tokens += int(num_tokens[row])
    if len(order):
        batches.append(order[start:])
    return batches


def shares(mixture: Mixture, present: Sequence[int], official: Sequence[int | None]) -> np.ndarray:
    """Each task's share of the examples, [K] float64 summing to 1.

    Sources: T5 (arXiv 1910.10683, section 3.5.2) for the cap and the temperature; jiant's task samplers.
    ``official`` sizes fall back to the rows present where a task has no official training set. With ``text_share``
    the policy divides that share among the texts, and the rest among the other tasks.
    """
    if mixture.policy == "explicit":
        weights = np.array(mixture.weights)
    elif mixture.policy == "uniform":
        weights = np.ones(len(mixture.tasks))
    else:
        if mixture.reads_official_sizes:
            present = [whole or rows for rows, whole in zip(present, official, strict=True)]
        weights = np.array(present, dtype=np.float64)
        if mixture.policy in ("capped", "temperature"):
            weights = np.minimum(weights, mixture.cap)
        if mixture.policy == "temperature":
            weights = weights ** (1 / mixture.temperature)
    if mixture.text_share is not None:
        text = _is_text(mixture)
        for group, share in ((text, mixture.text_share), (~text, 1 - mixture.text_share)):
            weights[group] *= share / weights[group].sum()
    return weights / weights.sum()


def _is_text(mixture: Mixture) -> np.ndarray:
    """[K] which of the tasks are monolingual text."""
    return np.array([find(name).kind.name == "mlm" for name in mixture.tasks])


def apportion(total: int, parts: np.ndarray) -> np.ndarray:
    """Split ``total`` into whole numbers in proportion to ``parts`` (largest remainder; first on a tie)."""
    exact = total * parts
    whole = np.floor(exact).astype(np.int64)
    missing = total - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:missing]] += 1
    return whole


@dataclass(frozen=True)
class Schedule:
    """The whole course of a Train stage, known before it starts: a step's number is the only cursor.

    A step is one part or several that follow one another, each of one task.
    """

    tasks: tuple[str, ...]
    batch_examples: tuple[int, ...]  # [K] examples in a full part of each task
    sizes: tuple[int, ...]  # [K] rows present
    examples: np.ndarray  # [K] examples in all
    task_of_part: np.ndarray  # [P]
    occurrence: np.ndarray  # [P] how many parts of that task came before
    seed: int
    parts_per_step: int = 1
    temperature: float = 1.0  # of the languages of text
    languages: tuple[tuple[tuple[str, int], ...], ...] = ()  # [K] code and rows of each language of a text, else empty

    @property
    def num_steps(self) -> int:
        """S."""
        return -(-len(self.task_of_part) // self.parts_per_step)

    @property
    def task_of_step(self) -> np.ndarray:
        """The task of each step [S], where a step is one part."""
        assert self.parts_per_step == 1, "a step has one task"
        return self.task_of_part

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of the examples of ``step``, where a step is one part."""
        ((_, rows),) = self.parts(step)
        return rows

    def parts(self, step: int) -> list[tuple[int, np.ndarray]]:
        """The tasks of ``step``, ascending, with the row numbers of their examples; a pass that ends is reshuffled."""
        first = step * self.parts_per_step
        found: dict[int, list[int]] = {}
        for part in range(first, min(first + self.parts_per_step, len(self.task_of_part))):
            found.setdefault(int(self.task_of_part[part]), []).extend(self._rows(part))
        return [(task, np.array(found[task])) for task in sorted(found)]

    def names(self, step: int) -> str:
        """The tasks of ``step`` in words."""
        return "+".join(self.tasks[task] for task, _ in self.parts(step))

    def _rows(self, part: int) -> Iterator[int]:
        task = int(self.task_of_part[part])
        first = int(self.occurrence[part]) * self.batch_examples[task]
        last = min(first + self.batch_examples[task], int(self.examples[task]))
        size = self.sizes[task]
        return (self._pass(task, at // size)[at % size] for at in range(first, last))

    def _pass(self, task: int, epoch: int) -> np.ndarray:
        """The rows [R] of a pass over a task's R rows, in order."""
        if self.temperature == 1 or not self.languages[task]:
            return _order(self.seed, self.tasks[task], epoch, self.sizes[task])
        return _tempered(self.seed, self.tasks[task], epoch, self.languages[task], self.temperature)


@functools.lru_cache(maxsize=64)
def _order(seed: int, task: str, epoch: int, size: int, *language: str) -> np.ndarray:
    return np.random.default_rng(stream_seed(seed, task, "order", epoch, *language)).permutation(size)


@functools.lru_cache(maxsize=8)
def _tempered(
    seed: int, task: str, epoch: int, languages: tuple[tuple[str, int], ...], temperature: float
) -> np.ndarray:
    """A pass [R] in which each language has its share by temperature.

    Conneau et al. 2020 (arXiv 1911.02116, section 3.1), with 1/temperature for their alpha. A language goes on in the
    next pass where it was: each of its rows comes once before any comes again.
    """
    sizes = np.array([size for _, size in languages])
    weights = sizes ** (1 / temperature)
    chosen = []
    counts = apportion(int(sizes.sum()), weights / weights.sum())
    for (code, size), start, count in zip(languages, np.cumsum(sizes) - sizes, counts, strict=True):
        places = np.arange(epoch * count, (epoch + 1) * count)
        chosen += [start + _order(seed, task, int(at) // size, size, code)[at % size] for at in places]
    return np.array(chosen)[_order(seed, task, epoch, len(chosen))]


def schedule(
    mixture: Mixture,
    budget: Budget,
    seed: int,
    *,
    present: Sequence[int],
    official: Sequence[int | None],
    batch_examples: Sequence[int],
    languages: Sequence[Sequence[tuple[str, int]]] = (),
) -> Schedule:
    """Lay out a Train stage: one task a step, or a part of a step, every task its share of the budget.

    The last part of a task holds what is left of its examples, so that a budget in examples is met exactly. With
    ``tasks_per_step="all"`` a part is one example, and the n-th of a task's N comes at (n + u) / N of the way, for a
    random u of its own: of the B examples of a step a task of share p has p B, but for 1 + p K.
    An epoch is one pass over the rows present (of at most ``cap`` rows under policy *capped*), but not over text that
    has a share of its own. ``languages`` are those of each text's rows, empty for any other task.

    Raises:
        ValueError: when the budget is too small to give every task one example.
    """
    parts = shares(mixture, present, official)
    batch = np.array(batch_examples, dtype=np.int64)
    each = int(batch[0] if mixture.tasks_per_step == "all" else mixture.tasks_per_step)
    assert each == 1 or {*(batch % each).tolist(), *(batch - batch[0]).tolist()} == {0}, (
        "the plan refuses parts of different sizes"
    )
    batch //= each
    if budget.unit == "steps":
        steps = apportion(round(budget.amount) * each, parts)
        examples = steps * batch
    else:
        cap = mixture.cap if mixture.policy == "capped" else max(present)
        wholes = [1 if budget.unit == PER_TASK else min(size, cap) for size in present]
        passes: float = sum(wholes)
        if mixture.text_share is not None:
            others = [size for size, text in zip(wholes, _is_text(mixture), strict=True) if not text]
            passes = sum(others) / (1 - mixture.text_share)
        total = round(budget.amount if budget.unit == "examples" else budget.amount * passes)
        examples = apportion(total, parts)
        steps = -(-examples // batch)
    if (steps == 0).any():
        starved = ", ".join(task for task, count in zip(mixture.tasks, steps, strict=True) if count == 0)
        raise ValueError(f"a budget of {budget.amount:g} {budget.unit} leaves nothing for {starved}: raise the budget")
    generator = np.random.default_rng(stream_seed(seed, "mixture"))
    if mixture.draw == "random":
        order = generator.choice(len(parts), size=int(steps.sum()), p=parts)
        examples = np.bincount(order, minlength=len(parts)) * batch
    elif mixture.tasks_per_step == "all":
        way = [
            (np.arange(count) + start) / count for count, start in zip(steps, generator.random(len(parts)), strict=True)
        ]
        order = np.repeat(np.arange(len(parts)), steps)[np.argsort(np.concatenate(way), kind="stable")]
    else:
        last = examples % batch > 0 if each > 1 else np.zeros(len(parts), dtype=bool)  # steps before them stay whole
        order = generator.permutation(np.repeat(np.arange(len(parts)), steps - last))
        order = np.append(order, np.flatnonzero(last))
    occurrence = np.zeros(len(order), dtype=np.int64)
    for task in range(len(parts)):
        occurrence[order == task] = np.arange(int((order == task).sum()))
    return Schedule(
        tasks=mixture.tasks,
        batch_examples=tuple(int(b) for b in batch),
        sizes=tuple(present),
        examples=examples,
        task_of_part=order,
        occurrence=occurrence,
        seed=seed,
        parts_per_step=each,
        temperature=mixture.text_temperature,
        languages=tuple(tuple(found) for found in languages),
    )
