"""Methods of intermediate training beside the plain one: differences paired by seed, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .blocks import Block, Cell, Heading, Table, Text
from .estimates import over_differences
from .methods import CONTROL
from .stats import Run, Section, Summary, tasks_of, titles
from .tables import MISSING, gained, percent
from .views import View, reading, views

PLAIN = "plain"
NOTE = (
    "Every run less the plain run of the same seeds on the same tasks, or on all tasks where the method has data of "
    "its own or is a control for these; mean over subsets and seeds, with the interval of the paired differences over "
    "both. One seed has no interval."
)


class Paired(NamedTuple):
    """A method's runs in a section: their mean, and their differences to the plain runs that they pair with.

    Attributes:
        name: the method in words.
        runs: those with an average.
        mean: of their averages; ``None`` for none.
        change: of the paired differences, with its interval.
    """

    name: str
    runs: tuple[Run, ...]
    mean: float | None
    change: Summary


def paired(section: Section, view: View) -> list[Paired]:
    """The plain training and every method of a section; nothing unless it has both.

    A run has a difference only where it and the plain run have every language of the view.
    """
    trained = [run for run in section.runs if run.k or run.method]
    words = [set(run.method.split(", ")) for run in trained]
    shared = set.intersection(*words) if words else set[str]()
    policies = [run.policy for run in trained if not (set(run.method.split(", ")) - shared - {""} or run.mlm)]
    usual = min(policies, key=len, default="")
    groups: dict[str, list[Run]] = {}
    for run in trained:
        groups.setdefault(named(run, usual, shared), []).append(run)
    plain = groups.get("", [])
    if not plain or len(groups) < 2:
        return []
    most = max(run.k for run in plain)
    found = []
    for name, runs in groups.items():
        shown: dict[Run, float] = {}
        changes: dict[Run, float] = {}
        for run in runs:
            if (own := section.mean(run, view.where, view.languages)) is None:
                continue
            shown[run] = own
            others = [section.mean(other, view.where, view.languages) for other in _partners(run, plain, most)]
            known = [value for value in others if value is not None]
            if known and len(known) == len(others) and name:
                changes[run] = own - sum(known) / len(known)
        mean = math.fsum(shown.values()) / len(shown) if shown else None
        found.append(Paired(name or PLAIN, tuple(shown), mean, over_differences(section, changes)))
    return sorted(found, key=lambda one: one.name != PLAIN)


def named(run: Run, usual: str, shared: Collection[str]) -> str:
    """What sets a run apart from the plain training, whose policy is the ``usual`` one; nothing of a plain run.

    Settings that all runs share are no difference.
    """
    policy = run.policy.removeprefix(usual).lstrip(",; ")
    own = [word for word in run.method.split(", ") if word not in shared]
    return ", ".join(filter(None, (policy, *own, f"with {run.mlm}" if run.mlm else "")))


def _partners(run: Run, plain: Sequence[Run], most: int) -> list[Run]:
    """The plain runs of a run's seeds on its tasks, or else, and of a control for these, on the most tasks."""
    seeds = [other for other in plain if (other.seed, other.target_seed) == (run.seed, run.target_seed)]
    same = [other for other in seeds if tasks_of(other) == tasks_of(run)]
    whole = [other for other in seeds if other.k == most]
    return whole if run.method.startswith(CONTROL) else same or whole


def overview(sections: Sequence[Section], level: int = 2) -> Iterator[Block]:
    """One table of every method against the plain training, a column for each section's first view.

    ``level`` is that of its heading.
    """
    read = [(section, view := views(section)[0], paired(reading(section, view), view)) for section in sections]
    several = [(section, view, lines) for section, view, lines in read if lines and not section.held_out]
    if not several:
        return
    found = {}
    for name, (section, view, lines) in zip(titles([section for section, *_ in several]), several, strict=True):
        where = "" if view.layer is None else f", layer {view.layer}, {view.pooling}, {view.direction}"
        found[f"{name}{where}"] = (section, {one.name: one for one in lines})
    names = dict.fromkeys(name for _, lines in found.values() for name in lines)
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        cells: list[Cell] = []
        for section, by_name in found.values():
            one = by_name.get(name)
            if one is None:
                cells.append(MISSING)
            elif name == PLAIN:
                cells.append(percent(one.mean, section.in_percent))
            else:
                cells.append(gained(one.change, section.in_percent))
        rows.append((name, *cells))
    yield Heading(level, "Methods beside the plain training")
    yield Text(NOTE)
    yield Table(
        "Plain: mean, in %; every other: difference to it in points, ± half of its 95 % interval",
        ("method", *found),
        tuple(rows),
    )
