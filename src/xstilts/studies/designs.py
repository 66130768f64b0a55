"""Designs: which subsets of tasks a study trains on, and how a design is made smaller without losing its balance."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from xstilts.spec import one_of, stream_seed

DESIGNS = ("all", "nested", "random", "leave-one-out", "single", "merged")


def sizes_of(design: str, num_tasks: int, asked: Sequence[int] = ()) -> tuple[int, ...]:
    """The subset sizes of a design, in order: those asked for, or all that it has.

    ``leave-one-out`` has the whole, all of it but one, and nothing; ``single`` nothing, one task and the whole; any
    other design every size.

    Raises:
        ValueError: for an unknown design, or a size that it does not have.
    """
    one_of("design", design, DESIGNS)
    whole = set(range(num_tasks + 1))
    has = {"leave-one-out": {0, num_tasks - 1, num_tasks}, "single": {0, 1, num_tasks}}.get(design, whole) & whole
    for size in asked:
        if size not in whole:
            raise ValueError(f"k = {size}: expected 0 to {num_tasks}, the number of tasks")
        if size not in has:
            known = ", ".join(map(str, sorted(has)))
            raise ValueError(f"k = {size}: expected one of {known}, all that design={design} of {num_tasks} tasks has")
    return tuple(sorted({*asked} or has))


def subsets(tasks: Sequence[str], sizes: Sequence[int], design: str, num_subsets: int) -> list[tuple[str, ...]]:
    """The subsets of a design, each once, smallest first.

    Deterministic in the names of the tasks; those of one size do not depend on the other sizes asked for.
    """
    rng = random.Random(stream_seed("subsets", design, *sorted(tasks)))
    orders = [shuffled(tasks, rng) for _ in range(num_subsets)]
    found: dict[tuple[str, ...], None] = {}
    for size in sorted(sizes):
        if design == "nested":
            chosen = [tuple(sorted(order[:size])) for order in orders]
        elif design == "random":
            of_size = random.Random(stream_seed("subsets", design, size, *sorted(tasks)))
            chosen = _balanced(tasks, size, num_subsets, of_size)
        else:
            chosen = list(itertools.combinations(sorted(tasks), size))
        found.update(dict.fromkeys(chosen))
    return list(found)


def drawn_order(tasks: Sequence[str], seed: int) -> list[str]:
    """The order of tasks that a seed draws; deterministic in their names."""
    return shuffled(tasks, random.Random(stream_seed(seed, "sequence", *sorted(tasks))))


def shuffled(tasks: Sequence[str], rng: random.Random) -> list[str]:
    """The tasks in an order that depends on their names and the generator alone."""
    return rng.sample(sorted(tasks), len(tasks))


def _balanced(tasks: Sequence[str], size: int, num_subsets: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Different subsets of one size, as many as there are, in which the tasks' counts differ by at most one."""
    names = sorted(tasks)
    counts = dict.fromkeys(names, 0)
    chosen: dict[tuple[str, ...], None] = {}
    while len(chosen) < min(num_subsets, math.comb(len(names), size)):
        order = shuffled(names, rng)
        order.sort(key=counts.__getitem__)
        subset = tuple(sorted(order[:size]))
        if subset in chosen:  # the balanced choice is taken: any other will do
            subset = tuple(sorted(rng.sample(names, size)))
        if subset not in chosen:
            chosen[subset] = None
            counts.update((task, counts[task] + 1) for task in subset)
    while counts and max(counts.values()) - min(counts.values()) > 1:
        # More subsets hold ``most`` and not ``least`` than the reverse, so that one can swap them and stay different.
        most, least = max(names, key=counts.__getitem__), min(names, key=counts.__getitem__)
        for subset in chosen:
            swapped = tuple(sorted({*subset, least} - {most}))
            if most in subset and least not in subset and swapped not in chosen:
                break
        chosen = {swapped if other == subset else other: None for other in chosen}
        counts |= {most: counts[most] - 1, least: counts[least] + 1}
    return list(chosen)


def smaller(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ever smaller designs of the same subset sizes, as changes to a study's parameters, the largest first.

    First there are fewer subsets of every size, down to one; then fewer seeds, the last ones first, down to one. No
    size is lost, k = 0 and the whole among them. ``all`` becomes ``random``, in which each task is in as many subsets
    of a size as any other, but for one; ``nested`` loses whole orders, the last drawn first. The subsets of
    ``leave-one-out``, ``single`` and ``merged`` are what these designs are, so that they lose seeds alone.

    Args:
        values: parameters of a study, with their defaults: of interest are ``tasks``, ``k``, ``design``,
            ``num_subsets`` and ``seeds``, as far as it has them.
    """
    design, tasks = values.get("design", "random"), values.get("tasks", ())
    most = values.get("num_subsets", 1)
    if design in ("all", "random") and {"design", "tasks", "k"} <= values.keys():
        largest = max(math.comb(len(tasks), size) for size in sizes_of(design, len(tasks), values["k"]))
        most = largest if design == "all" else min(most, largest)
    named = {"design": "random"} if design == "all" else {}
    changes: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    if "num_subsets" in values and design in ("all", "nested", "random"):
        for count in range(most - 1, 0, -1):
            changes = {**named, "num_subsets": count}
            found.append(changes)
    seeds = values.get("seeds", ())
    return found + [{**changes, "seeds": tuple(seeds[:count])} for count in range(len(seeds) - 1, 0, -1)]
