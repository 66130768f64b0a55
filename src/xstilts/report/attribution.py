"""What each intermediate task adds: Shapley values, pairwise interactions, and gains by language and by layer."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from xstilts.spec import stream_seed
from xstilts.tasks.languages import language

from .blocks import Block, Cell, Fold, Number, Table
from .gains import Target
from .stats import Run, Section, Series, Summary, summarise, tasks_of
from .tables import MISSING, gained, interval
from .views import View

Subset: TypeAlias = frozenset[str]
_Key = TypeVar("_Key")
ALONE, EXACT, SAMPLED = "alone", "exact", "sampled"


# -- games ------------------------------------------------------------------------------------------------------------


def shapley(tasks: Sequence[str], values: Mapping[Subset, float]) -> dict[str, float]:
    """Each task's Shapley value in a game with the values of all subsets of ``tasks`` (Shapley 1953).

    The sum over subsets S without the task of |S|! (n - |S| - 1)! / n! times v(S + task) - v(S): its mean marginal
    contribution over all n! orders.
    """
    num = len(tasks)
    shares = [math.factorial(size) * math.factorial(num - size - 1) / math.factorial(num) for size in range(num)]
    return {
        task: math.fsum(
            shares[len(subset)] * (values[subset | {task}] - values[subset]) for subset in values if task not in subset
        )
        for task in tasks
    }


def orders(tasks: Sequence[str], subsets: Collection[Subset]) -> list[tuple[Subset, ...]]:
    """Orders of ``tasks`` as their prefixes, all of them among ``subsets``, which share few of them.

    There are as many as subsets of the size that has most; none where no order has all its prefixes. In a nested design
    these are the orders that were drawn, or as many that are put together from the same prefixes. Which ones is drawn
    by a stream of the subsets, so that no task comes first by its name: every order is as likely.
    """
    whole = frozenset(tasks)
    known = sorted({subset for subset in subsets if subset <= whole}, key=lambda subset: (len(subset), sorted(subset)))
    begun, ending = {frozenset[str]()} & {*known}, {whole} & {*known}
    for subset in known:
        begun |= {subset} if any(subset - {task} in begun for task in subset) else set()
    for subset in reversed(known):
        ending |= {subset} if any(subset | {task} in ending for task in whole - subset) else set()
    used = [subset for subset in known if subset in begun and subset in ending]
    levels = [[subset for subset in used if len(subset) == size] for size in range(len(whole) + 1)]
    if not all(levels):
        return []
    rng = random.Random(stream_seed("orders", *("+".join(sorted(subset)) for subset in used)))
    found = [[frozenset[str]()] for _ in range(max(map(len, levels)))]
    for level in levels[1:]:
        for own, subset in zip(found, _spread([own[-1] for own in found], level, rng), strict=True):
            own.append(subset)
    return [tuple(own) for own in found]


def _spread(ends: Sequence[Subset], level: Sequence[Subset], rng: random.Random) -> list[Subset]:
    """A larger subset of a level for each of the ends, as many different ones as can be (augmenting paths)."""
    fitting = [[subset for subset in level if end < subset] for end in ends]
    for some in fitting:
        rng.shuffle(some)
    taken: dict[Subset, int] = {}

    def place(at: int, seen: set[Subset]) -> bool:
        for subset in fitting[at]:
            if subset not in seen:
                seen.add(subset)
                if subset not in taken or place(taken[subset], seen):
                    taken[subset] = at
                    return True
        return False

    for at in rng.sample(range(len(ends)), len(ends)):
        place(at, set())
    chosen = {at: subset for subset, at in taken.items()}
    return [chosen[at] if at in chosen else rng.choice(fitting[at]) for at in range(len(ends))]


def sampled(
    tasks: Sequence[str], found: Sequence[Sequence[Subset]], values: Mapping[Subset, float]
) -> dict[str, Summary]:
    """The mean marginal contribution of each task over a sample of orders, with its Student-t interval over orders."""
    added: dict[str, list[float]] = {task: [] for task in tasks}
    for own in found:
        for smaller, larger in itertools.pairwise(own):
            (task,) = larger - smaller
            added[task].append(values[larger] - values[smaller])
    return {task: summarise(each) for task, each in added.items()}


def interaction(tasks: Sequence[str], values: Mapping[Subset, float], one: str, other: str) -> float:
    """The Shapley interaction index of two tasks in a game with the values of all subsets of ``tasks``.

    The sum over subsets S without both of |S|! (n - |S| - 2)! / (n - 1)! times the second difference v(S + both) -
    v(S + one) - v(S + other) + v(S) (Grabisch and Roubens 1999): below 0 where one makes up for the other.
    """
    rest = [task for task in tasks if task not in (one, other)]
    total = []
    for size in range(len(rest) + 1):
        weight = math.factorial(size) * math.factorial(len(rest) - size) / math.factorial(len(tasks) - 1)
        for chosen in itertools.combinations(rest, size):
            total.append(weight * second_difference(values, frozenset(chosen), one, other))
    return math.fsum(total)


def second_difference(values: Mapping[Subset, float], subset: Subset, one: str, other: str) -> float:
    """How much more two tasks add to a subset together than each by itself."""
    both = values[subset | {one, other}]
    return both - values[subset | {one}] - values[subset | {other}] + values[subset]


# -- a study's games --------------------------------------------------------------------------------------------------


class Games(NamedTuple):
    """The games of a series: the value of each subset of tasks, one game for every seed.

    Attributes:
        tasks: all of them.
        runs: by seeds, the run of each subset; the base run is that of none.
        orders: a sample of orders as `orders`; none where no order has all its prefixes.
        how: `EXACT` where all subsets are there, `SAMPLED` of some orders, `ALONE` of neither.
    """

    tasks: tuple[str, ...]
    runs: Sequence[Mapping[Subset, Run]]
    orders: Sequence[Sequence[Subset]]
    how: str

    @property
    def subsets(self) -> list[Subset]:
        """Those that a task's share is made of."""
        if self.how == SAMPLED:
            return list(dict.fromkeys(subset for own in self.orders for subset in own))
        return [subset for subset in self.runs[0] if self.how == EXACT or len(subset) < 2]


def games(section: Section, series: Series) -> Games | None:
    """The games of a series, ``None`` for fewer than two tasks, subsets with several runs, or none of a task alone.

    The games of all seeds have the same subsets, or there is none: a study that is not done has to go on first.
    """
    if any(len(runs) < series.planned(section, k) for k, runs in series.by_k().items()):
        return None
    return _games(section, [run for run in series.runs if run.k])


def single_tasks(section: Section) -> Games | None:
    """The plain runs on one task each, where they are in no one series since recipe or budget are each task's own."""
    ones = [run for run in section.runs if run.k == 1 and not run.mlm]
    usual = min((run.policy for run in ones), key=len, default="")
    ones = [run for run in ones if run.policy == usual]
    asked = (n for (k, policy, _, _, mlm, _), n in section.planned.items() if (k, policy, mlm) == (1, usual, ""))
    plain = [run for run in ones if not run.method]
    paths = {run.train_numeric_path for run in plain}
    if len({(run.budget, run.recipe) for run in plain}) < 2 or len(paths) > 1 or len(ones) < sum(asked):
        return None
    return _games(section, plain)


def _games(section: Section, trained: Sequence[Run]) -> Games | None:
    by_seed: dict[tuple[int | None, int | None], dict[Subset, Run]] = {}
    for run in trained:
        own = by_seed.setdefault((run.seed, run.target_seed), {})
        if own.setdefault(tasks_of(run), run) != run:
            return None
    tasks = tuple(sorted({task for own in by_seed.values() for subset in own for task in subset}))
    if len(tasks) < 2 or len({frozenset(own) for own in by_seed.values()}) > 1:
        return None
    runs: list[Mapping[Subset, Run]] = []
    for (_, seed), own in by_seed.items():
        alike = section.bases_of(next(iter(own.values())))
        bases = [run for run in alike if run.target_seed in (None, seed)]
        if len(bases) != 1:
            return None
        runs.append({frozenset(): bases[0], **own})
    found = orders(tasks, runs[0])
    how = EXACT if len(runs[0]) == 2 ** len(tasks) else SAMPLED if found else ALONE
    if how == ALONE and any(frozenset({task}) not in runs[0] for task in tasks):
        return None
    return Games(tasks, runs, found, how)


def contributions(
    section: Section, found: Games, view: View, languages: Sequence[str], layer: int | None
) -> dict[str, Summary] | None:
    """What each task adds to the average over languages at a layer: over seeds, or over orders where they are sampled.

    That is its Shapley value or, where the subsets are too few, its gain alone, over k = 0. ``None`` where a run lacks
    a language.
    """
    values = _values(section, found, view, languages, layer)
    if values is None:
        return None
    if found.how == SAMPLED:
        means = {subset: math.fsum(own[subset] for own in values) / len(values) for subset in values[0]}
        return sampled(found.tasks, found.orders, means)
    if found.how == EXACT:
        each = [shapley(found.tasks, own) for own in values]
    else:
        each = [{task: own[frozenset({task})] - own[frozenset()] for task in found.tasks} for own in values]
    return {task: summarise([own[task] for own in each]) for task in found.tasks}


def interactions(section: Section, found: Games, view: View) -> dict[tuple[str, str], Summary]:
    """Every pair of tasks: the Shapley interaction index over seeds, or the second difference at no other task."""
    exact = found.how == EXACT
    pairs = [
        pair
        for pair in itertools.combinations(found.tasks, 2)
        if exact or {frozenset(pair), *(frozenset({task}) for task in pair)} <= set(found.runs[0])
    ]
    few = {frozenset(some) for pair in pairs for size in range(3) for some in itertools.combinations(pair, size)}
    needed = None if exact else few
    values = _values(section, found, view, view.languages, view.layer, needed)
    if values is None:
        return {}
    return {
        pair: summarise([
            interaction(found.tasks, own, *pair) if exact else second_difference(own, frozenset(), *pair)
            for own in values
        ])
        for pair in pairs
    }  # fmt: skip


def _values(
    section: Section,
    found: Games,
    view: View,
    languages: Sequence[str],
    layer: int | None,
    needed: Collection[Subset] | None = None,
) -> list[dict[Subset, float]] | None:
    """The value of each subset by seed, ``None`` where one lacks a language."""
    wanted = found.subsets if needed is None else needed
    values = []
    for runs in found.runs:
        own = {subset: section.mean(runs[subset], view.at(layer), languages) for subset in wanted}
        if any(value is None for value in own.values()):
            return None
        values.append({subset: value for subset, value in own.items() if value is not None})
    return values


# -- tables -----------------------------------------------------------------------------------------------------------

_WHAT = {
    EXACT: "Shapley values over all subsets, with Student-t intervals over seeds",
    SAMPLED: "Shapley values by sampled orders, with Student-t intervals over orders",
    ALONE: "gains of each task alone over k = 0, with Student-t intervals over seeds",
}


def overview(found: Sequence[Target]) -> Table | None:
    """What each task adds to every target (columns), in one line a task; ``None`` where no game is complete."""
    columns: dict[str, tuple[Section, Mapping[str, Summary]]] = {}
    hows: dict[str, None] = {}
    for target in found:
        own = games(target.section, target.main)
        added = (
            contributions(target.section, own, target.view, target.view.languages, target.view.layer) if own else None
        )
        if own and added:
            columns[f"{target.name}{_over(own)}"] = (target.section, added)
            hows[_WHAT[own.how]] = None
    tasks = sorted({task for _, added in columns.values() for task in added})
    lines: list[tuple[Cell, ...]] = []
    for task in tasks:
        cells = (
            gained(added[task], section.in_percent) if task in added else MISSING for section, added in columns.values()
        )
        lines.append((task, *cells))
    caption = f"What each task adds, in points, ± half of its 95 % interval: {'; '.join(hows)}"
    return Table(caption, ("task", *columns), tuple(lines)) if lines else None


def _over(found: Games, note: str = "") -> str:
    """What the contributions of games are means over, and the marks of what they rest on."""
    count, orders = len(found.runs), len(found.orders)
    over = f"{count} seed{'s' * (count > 1)}" + f"; {note}" * bool(note)
    over += f", {orders} order{'s' * (orders > 1)}" * (found.how == SAMPLED)
    daggers = len({run.model for runs in found.runs for run in runs.values() if run.collapsed})
    return f" ({over}" + f"; {daggers} run{'s' * (daggers > 1)} collapsed †" * bool(daggers) + ")"


def blocks(
    section: Section, found: Games | None, view: View, note: str = "", *, listed: bool = True
) -> Iterator[Block]:
    """What each task adds at a view's cell, how pairs interact, and both maps; nothing where no game is complete.

    Args:
        section: with the scores.
        found: `games` or `single_tasks`.
        view: the layer, pooling and direction, and the languages averaged.
        note: what else to say in the caption.
        listed: whether to begin with the table of what each task adds; `overview` may have it.
    """
    whole = contributions(section, found, view, view.languages, view.layer) if found and view.languages else None
    if found is None or whole is None:
        return
    if listed:
        lines = [(task, _plain(section, one), interval(one, section.in_percent)) for task, one in _sorted(whole)]
        caption = f"What each task adds: {_WHAT[found.how]}{_over(found, note)}"
        yield Table(caption, ("task", "adds", "95 % interval"), tuple(lines))
    pairs = interactions(section, found, view)
    if pairs:
        index = "Shapley interaction index" if found.how == EXACT else "second difference at no other task"
        title = f"Pairs of tasks: {index}; below 0 one makes up for the other, above 0 they need one another"
        rows = tuple(
            (" and ".join(pair), _plain(section, one), interval(one, section.in_percent))
            for pair, one in _sorted(pairs)
        )
        yield Fold("How tasks interact", (Table(title, ("tasks", "more together", "95 % interval"), rows),))
    maps = [by_language(section, found, view)]
    if view.layer is not None:
        maps.append(by_layer(section, found, view))
    yield Fold("What each task adds, by language and layer", tuple(maps))


def by_language(section: Section, found: Games, view: View) -> Table:
    """What each task adds in every language of a view, by family."""
    codes = sorted(view.languages, key=lambda code: (language(code).family, code))
    lines: list[tuple[Cell, ...]] = []
    for code in codes:
        about = language(code)
        cells = _cells(section, found, contributions(section, found, view, [code], view.layer))
        lines.append((f"{about.name} ({code})", about.script, about.family, *cells))
    caption = f"By language: {_WHAT[found.how].partition(', with')[0]}, in points"
    return Table(caption, ("language", "script", "family", *found.tasks), tuple(lines), 3)


def by_layer(section: Section, found: Games, view: View) -> Table:
    """What each task adds at every layer, on average over a view's languages."""
    lines = [
        (f"layer {layer}", *_cells(section, found, contributions(section, found, view, view.languages, layer)))
        for layer in section.layers
    ]
    caption = f"By layer: {_WHAT[found.how].partition(', with')[0]}, in points"
    return Table(caption, ("layer", *found.tasks), tuple(lines))


def _cells(section: Section, found: Games, added: Mapping[str, Summary] | None) -> list[Cell]:
    return [_plain(section, added[task]) if added else MISSING for task in found.tasks]


def _sorted(found: Mapping[_Key, Summary]) -> list[tuple[_Key, Summary]]:
    """The largest first."""
    return sorted(found.items(), key=lambda item: -(item[1].mean or 0))


def _plain(section: Section, one: Summary) -> Number:
    return gained(one._replace(high=None), section.in_percent)
