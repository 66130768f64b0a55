"""The average of runs that differ in tasks and seed, and its gain over k = 0, each with its one interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scaling
from .stats import Run, Section, Summary, Where, tasks_of, values_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

Subset = Mapping[int | None, Sequence[Run]]


class Crossed(NamedTuple):
    """Runs in which every subset of tasks has every seed.

    Attributes:
        seeds: those of the target's training, where there is one.
        subsets: of each k, the runs of every subset by seed.
    """

    seeds: tuple[int | None, ...]
    subsets: Mapping[int, Sequence[Subset]]


def crossed(runs: Sequence[Run]) -> Crossed | None:
    """The most of some runs that cross; seeds with many runs are kept first. ``None`` where no two seeds cross."""
    groups: dict[int, dict[frozenset[str], dict[int | None, list[Run]]]] = {}
    for run in runs:
        groups.setdefault(run.k, {}).setdefault(tasks_of(run), {}).setdefault(seed_of(run), []).append(run)
    usual = [seed for seed, _ in Counter(map(seed_of, runs)).most_common()]
    found = [
        (seeds, {k: [own for own in groups[k].values() if {*seeds} <= {*own}] for k in sorted(groups)})
        for seeds in (usual[:count] for count in range(len(usual), 1, -1))
    ]
    seeds, most = max(found, key=lambda one: len(one[0]) * sum(map(len, one[1].values())), default=((), {}))
    chosen = {k: subsets for k, subsets in most.items() if subsets}
    return Crossed(tuple(seeds), chosen) if chosen else None


def seed_of(run: Run) -> int | None:
    """The seed by which a run is paired with k = 0: that of the target's training, where there is one."""
    return run.seed if run.target_seed is None else run.target_seed


def delta(section: Section, run: Run, where: Where, languages: Sequence[str]) -> float | None:
    """A run's average less that of k = 0 there, ``None`` for a base run or where either is lacking."""
    if run in section.bases:
        return None
    mean, base = section.mean(run, where, languages), values_at(section, section.bases_of(run), where, languages)
    whole = base and len(base) >= section.num_planned_bases(run)
    return None if mean is None or not whole else mean - math.fsum(base) / len(base)


def over_runs(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> Summary:
    """The mean over those runs of one k that have one, with an interval as `change` has it."""
    known = [run for run in runs if section.mean(run, where, languages) is not None]
    return _summary(values_at(section, known, where, languages), _contrast(section, known, (), where, languages))


def change(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> Summary:
    """The mean of `delta` over runs of one k, with the interval of `estimate`, if there is one."""
    changes = [one for run in runs if (one := delta(section, run, where, languages)) is not None]
    return _summary(changes, estimate(section, runs, where, languages))


def estimate(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> scaling.Estimate | None:
    """The gain of runs of one k over k = 0, with subsets and seeds as crossed random effects, `scaling.contrast`.

    Its error is that of the runs that cross, each paired with the k = 0 of its seed. ``None`` where there is no gain
    or no error: no two seeds cross, nor has each run a subset and a seed of its own, or all of them agree.
    """
    changes = {run: one for run in runs if (one := delta(section, run, where, languages)) is not None}
    bases = section.bases_of(next(iter(changes))) if changes else ()
    found = _contrast(section, [*changes], bases, where, languages)
    return None if found is None else found._replace(value=math.fsum(changes.values()) / len(changes))


def over_differences(section: Section, differences: Mapping[Run, float]) -> Summary:
    """The mean of a difference a run, subsets of tasks and seeds as crossed random effects.

    A difference is to another run of its tasks and seed, so that what seeds and subsets share is not in it twice. Runs
    may be of several k; the interval is that of the differences that cross.
    """
    import numpy as np

    found = None
    if (cross := _crossed([*differences])) is not None:
        seeds, subsets = cross
        cells = [
            [math.fsum(differences[run] for run in own[seed]) / len(own[seed]) for seed in seeds] for own in subsets
        ]
        sizes = {next(iter(own.values()))[0].k: next(iter(own.values()))[0] for own in subsets}
        number = max(len(subsets), sum(existing(section, run) for run in sizes.values()))
        found = _known(scaling.contrast([np.array(cells)], [1.0], [number]))
    return _summary([*differences.values()], found)


def existing(section: Section, run: Run) -> int:
    """How many subsets of a run's size the tasks of all runs that were trained like it have."""
    return math.comb(len(section.pool(run)), run.k)


def _crossed(runs: Sequence[Run]) -> tuple[Sequence[int | None], Sequence[Subset]] | None:
    """`crossed`, or each run with a subset and a seed of its own: drawn anew each, as the seeds of one subset are."""
    if (found := crossed(runs)) is not None:
        return found.seeds, [own for of in found.subsets.values() for own in of]
    alone = {seed_of(run): [run] for run in runs}
    return ([*alone], [alone]) if 1 < len(alone) == len(runs) == len({*map(tasks_of, runs)}) else None


def _known(found: scaling.Estimate) -> scaling.Estimate | None:
    return None if math.isnan(found.error) else found


def _contrast(
    section: Section, runs: Sequence[Run], bases: Sequence[Run], where: Where, languages: Sequence[str]
) -> scaling.Estimate | None:
    base = {seed_of(run): [run] for run in bases}
    paired = [run for run in runs if not base or [*base] == [None] or seed_of(run) in base]
    if (found := _crossed(paired)) is None:
        return None
    seeds, subsets = found
    number = max(len(subsets), existing(section, paired[0]))
    level = means(section, subsets, seeds, where, languages)
    if not base:
        return _known(scaling.contrast([level], [1.0], [number]))
    before = means(section, [base], [None] if [*base] == [None] else seeds, where, languages)
    return _known(scaling.gains([before, level], [1, number])[0])


def means(
    section: Section, subsets: Sequence[Subset], seeds: Sequence[int | None], where: Where, languages: Sequence[str]
) -> NDArray[Any]:
    """The averages of runs ``[num_subsets, num_seeds]``, the mean of those of one subset and seed."""
    import numpy as np

    cells = [[values_at(section, own[seed], where, languages) for seed in seeds] for own in subsets]
    return np.array([[math.fsum(values) / len(values) for values in own] for own in cells])


def _summary(values: Sequence[float], found: scaling.Estimate | None) -> Summary:
    mean = math.fsum(values) / len(values) if values else None
    if found is None or mean is None:
        return Summary(mean, None, None, len(values))
    low, high = scaling.interval(found._replace(value=mean))
    return Summary(mean, float(low), float(high), len(values))
