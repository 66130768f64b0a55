"""Whether a gain in retrieval is a changed representation, or an offset of languages that is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xstilts.stage import TRANSFORMS, transform_of
from xstilts.tasks import find

from .blocks import Cell, Table
from .estimates import change, over_runs
from .stats import SECTION_KEY, Section, Series, Where
from .tables import gained, half_of, percent
from .views import View

CAPTION = (
    "The same vectors compared in other ways{}: the score at k = 0, then the difference Δ to it, ± half of the 95 % "
    "interval. A gain that is gone once each language is centred, or by CSLS, was an offset of languages or hubs; "
    "one that stays is a changed representation"
)
_SAME = tuple(name for name in SECTION_KEY if name not in ("metric", "metric_version"))


class _Way(NamedTuple):
    """A way of comparing the vectors of a view's layer: what it is called, and where its scores are."""

    name: str
    section: Section
    where: Where


def by_geometry(section: Section, others: Sequence[Section], series: Series, view: View, of: str = "") -> Table | None:
    """The score at k = 0 and the change with k, side by side for each transform and metric that was measured.

    Args:
        section: of the view.
        others: the report's sections; those of the same measurements by another metric count.
        series: the runs.
        view: the layer, pooling and direction, and the languages averaged.
        of: what they are of, in the caption.

    Returns:
        The table, or ``None`` where the vectors were compared in one way only, or the metric is not the task's own.
    """
    ways = list(_ways(section, others, view))
    if len(ways) < 2 or not view.languages or section.key["metric"] != find(section.key["task"]).metric:
        return None
    lines: list[tuple[Cell, ...]] = []
    for k, runs in series.by_k().items():
        line: list[Cell] = [f"Δ at k = {k}" if k else "k = 0"]
        for _, own, where in ways:
            found = (change if k else over_runs)(own, runs, where, view.languages)
            line.append(gained(found) if k else percent(found.mean) + half_of(found))
        lines.append(tuple(line))
    return Table(CAPTION.format(of), ("", *(way.name for way in ways)), tuple(lines))


def _ways(section: Section, others: Sequence[Section], view: View) -> Iterator[_Way]:
    """As the view reads them first, then transforms, then other metrics of the vectors as they are."""
    if view.layer is None or view.pooling is None:
        return
    yield _Way(f"{view.pooling}, {section.key['metric']}", section, view.where)
    plain = view.pooling.partition("/")[0]
    measured = {where[1] for _, where in section.cells if where[0] == view.layer and where[2] == view.direction}
    poolings = [name for name in measured if name and name != view.pooling and name.partition("/")[0] == plain]
    for name in sorted(poolings, key=_by_transform):
        yield _Way(name.removeprefix(plain) or plain, section, (view.layer, name, view.direction))
    for other in others:
        same = all(other.key[name] == section.key[name] for name in _SAME)
        if (
            same
            and other.key["metric"] != section.key["metric"]
            and any(where == view.where for _, where in other.cells)
        ):
            yield _Way(other.key["metric"], other, view.where)


def _by_transform(pooling: str) -> tuple[int, int]:
    name, count = transform_of(pooling)
    return (TRANSFORMS.index(name) if name else -1, count)
