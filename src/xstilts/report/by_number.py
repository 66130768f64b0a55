"""Gain against the number of tasks, as a report shows it: intervals, trend, best subset, what the design could find."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scaling
from .alternatives import tasks_of
from .blocks import Block, Cell, Number, Table, Text
from .bootstrap import MIN_CLUSTERS, bootstrap
from .stats import Run, Section, Series
from .tables import MISSING, percent, points
from .trend import FALL, FLAT, INVERTED, MARGIN, OPEN, PLATEAU, RISE, trend
from .views import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SENTENCES = {
    RISE: "**Rise**: the score rises from the first k to the last, and still within the last half of the ks",
    PLATEAU: "**Plateau**: the score rises, and every k of the last half is within {margin} of their mean",
    INVERTED: "**Inverted U**: the score rises to a k between the first and the last, and falls from there",
    FALL: "**Fall**: the score falls from the first k to the last",
    FLAT: "**No trend**: every k is within {margin} of k = 0",
    OPEN: "**Not decided**: these runs show neither a shape nor that all ks are within {margin} of one another",
}


class Design(NamedTuple):
    """The runs of a series in which, at every k, every subset has every seed.

    Attributes:
        ks: the numbers of tasks, 0 first.
        subsets: of each k, one run of every subset.
        levels: of each k the values ``[num_subsets, num_seeds, num_languages, num_layers]``; one seed for a k = 0 that
            no seed reaches.
        layer: the place of the view's layer.
        existing: how many subsets of each size the tasks of all the runs have.
        chains: of each k the subset in every chain of subsets, where they form chains.
        num_left_out: runs whose subset lacks a seed, or whose seed few subsets have.
    """

    ks: tuple[int, ...]
    subsets: tuple[tuple[Run, ...], ...]
    levels: tuple[NDArray[Any], ...]
    layer: int
    existing: tuple[int, ...]
    chains: tuple[tuple[int, ...], ...] | None
    num_left_out: int

    @property
    def averages(self) -> list[NDArray[Any]]:
        """The averages over languages at the view's layer, by subset and seed."""
        return [level[..., self.layer].mean(-1) for level in self.levels]


def design(section: Section, series: Series, view: View) -> Design | None:
    """The most runs of a series at a view's cell that cross subsets with seeds, paired with k = 0.

    Seeds with many runs are kept first; runs of one subset and seed count as their mean.

    Returns:
        The design, or ``None`` where k = 0 is lacking or no two seeds cross.
    """
    import numpy as np

    if not view.languages:
        return None
    wheres = [view.at(layer) for layer in section.layers] if view.layer is not None else [view.where]
    complete = [run for run in series.runs if section.mean(run, view.where, view.languages) is not None]
    wheres = [at for at in wheres if all(section.mean(run, at, view.languages) is not None for run in complete)]
    base = {run.target_seed: run for run in complete if run in section.bases}
    if not base or len(base) < section.num_planned_bases:
        return None
    alone = [*base] == [None]
    groups: dict[int, dict[frozenset[str], dict[int | None, list[Run]]]] = {}
    counts: Counter[int | None] = Counter()
    for run in complete:
        seed = run.seed if alone else run.target_seed
        if run.k and (alone or seed in base):
            groups.setdefault(run.k, {}).setdefault(tasks_of(run), {}).setdefault(seed, []).append(run)
            counts[seed] += 1
    usual = [seed for seed, _ in counts.most_common()]
    crossed = [
        (seeds, {k: [own for own in groups[k].values() if {*seeds} <= {*own}] for k in sorted(groups)})
        for seeds in (usual[:count] for count in range(len(usual), 1, -1))
    ]
    if not crossed:
        return None
    seeds, most = max(crossed, key=lambda one: len(one[0]) * sum(map(len, one[1].values())))
    chosen = {k: subsets for k, subsets in most.items() if subsets}
    if not chosen:
        return None

    def values(runs: Sequence[Run]) -> NDArray[Any]:
        found = [[[section.scores(run, at)[code] for at in wheres] for code in view.languages] for run in runs]
        return np.mean(found, axis=0)

    levels = [np.stack([values([base[seed]]) for seed in ([None] if alone else seeds)])[None]]
    levels += [np.stack([[values(own[seed]) for seed in seeds] for own in subsets]) for subsets in chosen.values()]
    named = {k: tuple(own[seeds[0]][0] for own in subsets) for k, subsets in chosen.items()}
    num_tasks = len(frozenset[str]().union(*(subset for subsets in groups.values() for subset in subsets)))
    existing = (1, *(math.comb(num_tasks, k) for k in chosen))
    used = sum(len(own[seed]) for subsets in chosen.values() for own in subsets for seed in seeds)
    return Design(
        (0, *chosen),
        ((next(iter(base.values())),), *named.values()),
        tuple(levels),
        wheres.index(view.where),
        existing,
        None if all(map(eq, existing[1:], map(len, named.values()))) else _chains([*named.values()]),
        counts.total() - used,
    )


def _chains(levels: Sequence[Sequence[Run]]) -> tuple[tuple[int, ...], ...] | None:
    """At each level the place of every chain's subset, which the next one holds; ``None`` unless they take in all."""
    tasks = [[tasks_of(run) for run in runs] for runs in levels]
    widest = max(range(len(levels)), key=lambda at: len(levels[at]))
    places = {widest: tuple(range(len(levels[widest])))}
    for at, beside in [
        *((n, n - 1) for n in range(widest, 0, -1)),
        *((n, n + 1) for n in range(widest, len(levels) - 1)),
    ]:
        lower, found = beside < at, dict[int, int]()
        own = {chain: tasks[at][place] for chain, place in enumerate(places[at])}
        fits = {
            chain: [n for n, other in enumerate(tasks[beside]) if (other < subset if lower else subset < other)]
            for chain, subset in own.items()
        }
        for chain in sorted(fits, key=lambda chain: len(fits[chain])):
            if not fits[chain]:
                return None
            taken = [*found.values()]
            found[chain] = min(fits[chain], key=taken.count)
        if len({*found.values()}) < len(tasks[beside]):
            return None
        places[beside] = tuple(found[chain] for chain in sorted(found))
    return tuple(places[at] for at in range(len(levels)))


def by_number(section: Section, series: Series, view: View) -> Iterator[Block]:
    """The gain over k = 0 at a view's cell for every k, and in sentences its trend and where its variance is.

    Nothing for a metric that is no share, and where a `design` is lacking.
    """
    found = design(section, series, view) if section.in_percent else None
    if found is None:
        return
    averages = found.averages
    gains = scaling.gains(averages, found.existing)
    adjusted = scaling.holm([float(scaling.different(gain)) for gain in gains])
    over_languages = len(view.languages) >= MIN_CLUSTERS
    lines: list[tuple[Cell, ...]] = []
    for at, (gain, p) in enumerate(zip(gains, adjusted, strict=True), 1):
        k, runs = found.ks[at], found.subsets[at]
        low, high = scaling.interval(gain)
        smallest = percent(scaling.detectable(float(gain.error), float(gain.freedom)))
        line: list[Cell] = [str(k), f"{len(runs)} of {found.existing[at]}"]
        line += [Number(points(float(gain.value)), float(gain.value), "change")]
        line += [f"{points(float(low))} to {points(float(high))}", _p(float(p)), smallest]
        if len(runs) > 1:
            top = scaling.best(averages[at] - averages[0])
            line += [runs[int(top.index)].tasks, points(float(top.apparent)), points(float(top.expected))]
            line += [points(float(top.by_chance))]
        else:
            line += [MISSING] * 4
        if over_languages:
            differences = (found.levels[at] - found.levels[0])[..., found.layer].mean((0, 1))
            ends = bootstrap(differences, view.languages)
            line += [f"{points(ends.low)} to {points(ends.high)}"]
        lines.append(tuple(line))
    header = ["k", "subsets", "gain", "95 % interval", "p (Holm)", "detectable", "best subset", "its gain", "expected"]
    header += ["by chance", *(["95 % over languages"] if over_languages else [])]
    num_seeds = averages[1].shape[1]
    caption = f"Gain against the number of tasks: mean over subsets and {num_seeds} seeds less k = 0"
    yield Table(caption, tuple(header), tuple(lines))
    yield Text(_notes(found, over_languages))
    if len(found.ks) > 2:
        yield Text(_trend(found))
    yield Text(_shares(found))


def _notes(found: Design, over_languages: bool) -> str:
    text = (
        "The interval counts the error over seeds, and over which of these tasks' subsets were trained on; a k with "
        "one subset has that of its seeds alone. *Detectable* is the gain that such a study finds with 80 % power. "
        "The best subset's *expected* gain is that on seeds that did not choose it; *by chance* is what the best one "
        "would seem to have above the mean if all subsets were alike."
    )
    text += " *Over languages* is the interval for languages like these and the runs as they are." * over_languages
    if found.num_left_out:
        text += f" {found.num_left_out} runs are left out: not every subset has every seed."
    return text


def _trend(runs: Design) -> str:
    if runs.chains is None:
        found = trend(runs.averages, runs.ks, runs.existing)
    else:
        chained = [level[[*places]] for level, places in zip(runs.averages[1:], runs.chains, strict=True)]
        found = trend([runs.averages[0], *chained], runs.ks, nested=True)
    margin = f"{100 * MARGIN:g} point"
    text = _SENTENCES[str(found.verdict)].format(margin=margin)
    tests: Mapping[str, Any] = {
        "up": found.up,
        "down": found.down,
        "inverted U": found.inverted,
        "up in the last half": found.still_rising,
        "last half equal": found.level,
        "all equal to k = 0": found.same,
    }
    p_values = "; ".join(f"{name} {_p(float(p))}" for name, p in tests.items())
    along = f" along {len(runs.chains[0])} chains of subsets" if runs.chains else ""
    return f"{text} (tests at 5 %{along}, decided beforehand; p: {p_values})."


def _shares(found: Design) -> str:
    names = ("subset", "seed", "language", "layer", "interactions and noise")
    parts = scaling.components([level - found.levels[0] for level in found.levels[1:]])
    known = {name: float(part) for name, part in zip(names, parts, strict=True) if not math.isnan(part)}
    if not (total := math.fsum(known.values())):
        return "All gains of a k are equal."
    shares = ", ".join(f"{name} {100 * part / total:.0f} %" for name, part in known.items())
    return f"Variance of one run's gain in one language{' at one layer' * ('layer' in known)}, within a k: {shares}."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
