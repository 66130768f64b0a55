"""Scores and gains against the number of tasks, as a report shows them: intervals, trend, best subset, variance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scaling
from .blocks import Block, Cell, Fold, Number, Table, Text
from .bootstrap import MIN_CLUSTERS, Interval, bootstrap
from .estimates import Subset, change, crossed, estimate, existing, means, over_runs, seed_of
from .gains import Target
from .stats import Run, Section, Series, tasks_of, values_at
from .tables import MISSING, gained, interval, p_text, percent, points
from .trend import FALL, FLAT, INVERTED, MARGIN, OPEN, PLATEAU, RISE, Trend, shape_tests, trend
from .verdicts import holm
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

    if not view.languages or not section.in_percent:
        return None
    wheres = [view.at(layer) for layer in section.layers] if view.layer is not None else [view.where]
    complete = [run for run in series.runs if section.mean(run, view.where, view.languages) is not None]
    wheres = [at for at in wheres if all(section.mean(run, at, view.languages) is not None for run in complete)]
    base = {seed_of(run): [run] for run in complete if run in section.bases}
    alone = [*base] == [None]
    trained = [run for run in complete if run.k]
    found = crossed([run for run in trained if alone or seed_of(run) in base])
    if not base or len(base) < series.planned(section, 0) or found is None:
        return None

    def level(subsets: Sequence[Subset], seeds: Sequence[int | None]) -> NDArray[Any]:
        each = [[means(section, subsets, seeds, at, [code]) for at in wheres] for code in view.languages]
        return np.moveaxis(np.array(each), (0, 1), (2, 3))

    subsets = found.subsets
    named = [tuple(own[found.seeds[0]][0] for own in of) for of in subsets.values()]
    sizes = (1, *(existing(section, runs[0]) for runs in named))
    return Design(
        (0, *subsets),
        ((next(iter(base.values()))[0],), *named),
        (level([base], [None] if alone else found.seeds), *(level(of, found.seeds) for of in subsets.values())),
        wheres.index(view.where),
        sizes,
        None if all(map(eq, sizes[1:], map(len, named))) else _chains(named),
        len(trained) - sum(len(own[seed]) for of in subsets.values() for own in of for seed in found.seeds),
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


def blocks(
    section: Section,
    series: Series,
    view: View,
    found: Design | None,
    family: Family | None = None,
    questions: Mapping[int, Interval] | None = None,
) -> Iterator[Block]:
    """Score and gain at a view's cell for every k, and where a `design` is there the trend and the best subsets.

    Args:
        section: with the scores.
        series: the runs.
        view: the cell and the languages averaged.
        found: their `design`.
        family: the adjusted p values and the trend, where these runs are part of the report's first answer.
        questions: of each k the gain's interval over questions.
    """
    yield by_k(section, series, view, family, questions)
    if found is None:
        return
    if len(found.ks) > 2:
        yield Text(_trend(found, family.trend if family and family.trend else _tested(found)))
    lines: list[tuple[Cell, ...]] = []
    for k, runs, level in zip(found.ks[1:], found.subsets[1:], found.averages[1:], strict=True):
        if len(runs) > 1:
            top = scaling.best(level - found.averages[0])
            gains = (points(float(gain)) for gain in (top.apparent, top.expected, top.by_chance))
            lines.append((str(k), runs[int(top.index)].tasks, *gains))
    if lines:
        caption = (
            "The best subset of each k: its gain; the gain to expect of it, on seeds that did not choose it; and by "
            "how much the best would seem to lie above the mean if all subsets were alike"
        )
        yield Fold(
            "The best subsets",
            (Table(caption, ("k", "best subset", "its gain", "expected", "by chance"), tuple(lines), 2),),
        )


def by_k(
    section: Section,
    series: Series,
    view: View,
    family: Family | None = None,
    questions: Mapping[int, Interval] | None = None,
) -> Table:
    """Score and gain over k = 0 at a view's cell, for every k; where a run collapsed also without it.

    The interval counts the errors of seeds and of choosing subsets, see `estimates.change`.
    """
    groups = series.by_k()
    estimates = {k: estimate(section, runs, view.where, view.languages) for k, runs in groups.items() if k}
    own = holm([None if one is None else float(scaling.different(one)) for one in estimates.values()])
    p_values = family.p_values if family else dict(zip(estimates, own, strict=True))
    daggers = any(run.collapsed for run in series.runs)
    languages = len(view.languages) >= MIN_CLUSTERS and section.in_percent
    header = ["k", "subsets", "runs", "mean", "gain", "95 % interval", "p (Holm)", "detectable"]
    header += ["95 % over languages"] * languages + ["95 % over questions"] * bool(questions)
    header += ["without †: runs", "mean", "gain"] * daggers
    lines: list[tuple[Cell, ...]] = []
    for k, runs in groups.items():
        mean = over_runs(section, runs, view.where, view.languages)
        gain = change(section, runs if k else (), view.where, view.languages)
        planned, one = series.planned(section, k), estimates.get(k)
        count = f"{mean.num_runs} of {planned}" if mean.num_runs < planned else str(mean.num_runs)
        subsets = f"{len({tasks_of(run) for run in runs})} of {existing(section, runs[0])}" if k else MISSING
        line: list[Cell] = [str(k), subsets, count, percent(mean.mean, section.in_percent)]
        line += [gained(gain._replace(high=None), section.in_percent), interval(gain, section.in_percent)]
        least = None if one is None else scaling.detectable(float(one.error), float(one.freedom))
        line += [p_text(p_values.get(k)), percent(least, section.in_percent)]
        if languages:
            line += [interval(_over_languages(section, series, runs, view) if gain.mean is not None else None)]
        if questions:
            line += [interval(questions.get(k))]
        if daggers:
            kept = [run for run in runs if not run.collapsed]
            mean = over_runs(section, kept, view.where, view.languages)
            gain = change(section, kept if k else (), view.where, view.languages)
            line += [str(mean.num_runs), percent(mean.mean, section.in_percent), points(gain.mean, section.in_percent)]
        lines.append(tuple(line))
    of = "all gains under *What came out*" if family else "this table"
    caption = (
        "Average against k: mean over subsets and seeds; gain over k = 0, its interval over seeds and over "
        f"which subsets were trained on; p adjusted over {of}; gain that such a study finds with 80 % power"
    )
    return Table(caption, tuple(header), tuple(lines))


def _over_languages(section: Section, series: Series, runs: Sequence[Run], view: View) -> Interval:
    """The gain for languages like these and the runs as they are."""
    whole = [run for run in runs if section.mean(run, view.where, view.languages) is not None]
    levels = [[values_at(section, of, view.where, [c]) for c in view.languages] for of in (whole, series.by_k()[0])]
    after, before = ([math.fsum(values) / len(values) for values in level] for level in levels)
    return bootstrap([one - other for one, other in zip(after, before, strict=True)], view.languages)


# -- the first answer -------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """What a report's first answer says of one target, adjusted for all that it says.

    Attributes:
        size: how many gains of the answer have a p value, of every k of every target.
        p_values: of each k, by Holm's method over all these gains; ``None`` where a gain has no error.
        design: the crossed runs, ``None`` where none cross.
        trend: the shape, by Holm's method over the tests of all targets; ``None`` for fewer than three ks.
    """

    size: int
    p_values: Mapping[int, float | None]
    design: Design | None
    trend: Trend | None


def place(section: Section, series: Series, view: View) -> Hashable:
    """What a `Family` is of."""
    return (*section.key.values(), series.name, view)


def families(found: Sequence[Target]) -> dict[Hashable, Family]:
    """The families of targets, by `place`."""
    raw: list[dict[int, float | None]] = []
    for target in found:
        gains = {k: target.estimate(runs) for k, runs in target.main.by_k().items() if k}
        raw.append({k: None if gain is None else float(scaling.different(gain)) for k, gain in gains.items()})
    every = [p for own in raw for p in own.values()]
    adjusted, size = iter(holm(every)), sum(p is not None for p in every)
    p_values = [{k: next(adjusted) for k in own} for own in raw]
    designs = [design(target.section, target.main, target.view) for target in found]
    tests = [shape_tests(*_levels(own)) if own is not None and len(own.ks) > 2 else () for own in designs]
    result = {}
    for at, target in enumerate(found):
        others = [float(p) for number, own in enumerate(tests) for p in own if number != at]
        own = designs[at]
        shape = _tested(own, others) if own is not None and tests[at] else None
        key = place(target.section, target.main, target.view)
        result[key] = Family(size, p_values[at], own, shape)
    return result


def variances(found: Sequence[Target], of: Mapping[Hashable, Family]) -> Table | None:
    """How far one run's gain in one language varies within a k with each factor, as standard deviations."""
    lines: list[tuple[Cell, ...]] = []
    for target in found:
        own = of[place(target.section, target.main, target.view)].design
        if own is not None:
            parts = scaling.components([level - own.levels[0] for level in own.levels[1:]])
            shown = (None if math.isnan(part) else math.sqrt(part) for part in parts)
            left_out = f" ({own.num_left_out} runs left out)" * bool(own.num_left_out)
            lines.append((target.name + left_out, *(Number(percent(one), one) for one in shown)))
    caption = (
        "How far one run's gain in one language, at one layer, varies within a k: standard deviations in points by "
        "subset of tasks, seed, language and layer, and of what is left, which is interactions of these and noise"
    )
    header = ("target", "subset", "seed", "language", "layer", "rest")
    return Table(caption, header, tuple(lines)) if lines else None


def _levels(runs: Design) -> tuple[list[NDArray[Any]], tuple[int, ...], tuple[int, ...] | None, bool]:
    """What `trend` takes of a design: along its chains, if it has any."""
    if runs.chains is None:
        return runs.averages, runs.ks, runs.existing, False
    chained = [level[[*places]] for level, places in zip(runs.averages[1:], runs.chains, strict=True)]
    return [runs.averages[0], *chained], runs.ks, None, True


def _tested(runs: Design, others: Sequence[float] = ()) -> Trend:
    levels, ks, existing, nested = _levels(runs)
    return trend(levels, ks, existing, nested=nested, others=others)


def _trend(runs: Design, found: Trend) -> str:
    text = _SENTENCES[str(found.verdict)].format(margin=f"{100 * MARGIN:g} point")
    tests: Mapping[str, Any] = {
        "up": found.up,
        "down": found.down,
        "inverted U": found.inverted,
        "up in the last half": found.still_rising,
        "last half equal": found.level,
        "all equal to k = 0": found.same,
    }
    p_values = "; ".join(f"{name} {p_text(float(p))}" for name, p in tests.items())
    along = f" along {len(runs.chains[0])} chains of subsets" if runs.chains else ""
    left_out = f" {runs.num_left_out} runs are left out: not every subset has every seed." * bool(runs.num_left_out)
    return f"{text} (tests at 5 %{along}, decided beforehand; p: {p_values}).{left_out}"
