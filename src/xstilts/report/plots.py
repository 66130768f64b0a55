"""Scores against the number of intermediate tasks, drawn as SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from .estimates import over_runs
from .stats import Run, Section, Series, Summary, Where, series, values_at
from .tables import percent, seeds
from .views import View, selected_layers

DIRECTIONS = {"en->xx": "English asks", "xx->en": "English answers"}
_MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.5L4.2 3.2H-4.2z",
    "M0-4.6L4.6 0L0 4.6L-4.6 0z",
)
_CROSS = "M-3-3L3 3M-3 3L3-3"
_WIDTH, _HEIGHT = 360, 250  # of a panel's axes
_LEFT, _GAP, _TOP, _BOTTOM = 52, 26, 26, 46
_LANE = 11  # most pixels between the layers' places at one k
_CHARACTER = 6.4  # pixels, a generous mean for the legend's text, whose font is the reader's
_REACH = 0.5  # of the range of means and runs: how far the axis follows intervals beyond it
_LEAST = 2  # points or units that the axis spans at least
_Lane = tuple[int, int | None]  # number of colour and marker, layer
_RUNS: _Lane = (-1, None)  # the place of the runs, beside the view's layer


def curve(section: Section, view: View) -> str | None:
    """Draw the average over languages against k: a row of panels a series, a column a direction.

    A line goes through the means of all runs of a k, at one of up to four layers: the view's, the last, 75 and
    50 % of the depth. At the view's layer a mean has its 95 % t interval and, beside it, a point for each run
    (subset x seed); where runs collapsed their points are crosses, and a dashed line goes through the means
    without them.

    Returns:
        The drawing, ``None`` when no run has an average at any of these places.
    """
    layers: list[int | None] = [view.layer]
    if view.layer is not None:
        layers += sorted({*selected_layers(section.num_layers)[-3:]} & {*section.layers} - {view.layer})
    lanes = list(enumerate(layers))
    directions: list[str | None] = [*DIRECTIONS] if view.direction in DIRECTIONS else [view.direction]
    wheres = {d: [(layer, view.pooling, d) for layer in layers] for d in directions}
    directions = [
        d for d in directions if any(values_at(section, section.runs, at, view.languages) for at in wheres[d])
    ]
    if not directions:
        return None
    shown = series(section)
    axis = _Axis.of(section, view, shown, layers, directions)
    title = _title(section, view)
    width = max(_LEFT + len(directions) * (_WIDTH + _GAP), math.ceil(1.2 * _CHARACTER * len(title)))
    rows = _legend(section, view, lanes, axis, width)
    head = 30 + 20 * len(rows)
    each = _TOP + _HEIGHT + _BOTTOM + 16 * (len(shown) > 1)
    height = head + each * len(shown)
    parts = [f'<text class="title" x="8" y="20">{escape(title)}</text>']
    for line, row in enumerate(rows):
        x = 10.0
        for drawn, text in row:
            parts.append(f'<g transform="translate({x:.1f} {40 + 20 * line})">{drawn}')
            parts.append(f'<text x="30" y="4">{escape(text)}</text></g>')
            x += _advance(text)
    for line, one in enumerate(shown):
        top = head + each * line + _TOP + 16 * (len(shown) > 1)
        if len(shown) > 1:
            parts.append(f'<text class="series" x="{_LEFT}" y="{top - 26}">{escape(one.name)}</text>')
        for column, direction in enumerate(directions):
            parts.append(f'<g transform="translate({_LEFT + column * (_WIDTH + _GAP)} {top})">')
            parts += _panel(section, one, view, lanes, direction, axis, first=not column)
            parts.append("</g>")
    label = escape(f"{title}, against the number of intermediate tasks")
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" class="curve" {size} role="img"'
    body = "\n".join(parts)
    return f'{start} aria-label="{label}">\n<rect class="paper" width="{width}" height="{height}"/>\n{body}\n</svg>\n'


def standalone(svg: str) -> str:
    """A drawing as a file of its own, with its style."""
    head, _, rest = svg.partition(">")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>\n<style>{style()}</style>{rest}'


def style() -> str:
    """The style sheet of a drawing; the colours are Okabe and Ito's."""
    return resources.files(__package__).joinpath("figure.css").read_text()


def spark(values: Sequence[float]) -> str:
    """A small curve without axes, drawn from 0."""
    points = [
        (2 + 76 * number / max(1, len(values) - 1), 18 - 16 * value / (max(values) or 1))
        for number, value in enumerate(values)
    ]
    line = "L".join(f"{x:.0f} {y:.1f}" for x, y in points)
    name = f"from {values[0]:.2f} to {values[-1]:.2f}"
    end = f'<circle cx="{points[-1][0]:.0f}" cy="{points[-1][1]:.1f}" r="1.8"/>'
    return f'<svg class="spark" viewBox="0 0 80 20" role="img" aria-label="{name}"><path d="M{line}"/>{end}</svg>'


class _Axis:
    """The values' axis that all panels share."""

    def __init__(self, low: float, high: float, chance: float | None, in_percent: bool) -> None:
        self.low, self.high, self.chance, self.scale = low, high, chance, 100 if in_percent else 1

    @classmethod
    def of(
        cls,
        section: Section,
        view: View,
        shown: Sequence[Series],
        layers: Sequence[int | None],
        directions: Sequence[str | None],
    ) -> _Axis:
        """Wide enough for every run and mean, and for the intervals up to `_REACH` beyond those."""
        values, ends = [], []
        for one, layer, direction in itertools.product(shown, layers, directions):
            for runs in one.by_k().values():
                where = (layer, view.pooling, direction)
                found = over_runs(section, runs, where, view.languages)
                if layer == view.layer:
                    values += values_at(section, runs, where, view.languages)
                    ends += [end for end in (found.low, found.high) if end is not None]
                elif found.mean is not None:
                    values.append(found.mean)
        low, high = min(values), max(values)
        span = max(high - low, _LEAST / 100 if section.in_percent else _LEAST)
        low, high = (low + high - span) / 2, (low + high + span) / 2
        chance = section.chance(view.languages)
        if chance is not None and (section.kind != "embed" or low - span / 2 < chance):
            low, high = min(low, chance), max(high, chance)
            span = high - low
        reach = _REACH * span
        low = max(min([low - 0.06 * span, *ends]), low - reach, 0.0)
        high = max(high + 0.06 * span, min(max([high, *ends]), high + reach))
        return cls(low, min(high, 1.0) if section.in_percent else high, chance, section.in_percent)

    def y(self, value: float) -> float:
        """Where a value is in a panel."""
        return _HEIGHT * (1 - (value - self.low) / (self.high - self.low))

    def holds(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Values to label, and their labels."""
        span = (self.high - self.low) * self.scale
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = next(power * times for times in (1, 2, 5, 10) if span / (power * times) <= 8)
        for number in range(math.ceil(self.low * self.scale / step), math.floor(self.high * self.scale / step) + 1):
            yield number * step / self.scale, f"{number * step:.{max(0, -math.floor(math.log10(step)))}f}"


def _title(section: Section, view: View) -> str:
    key = section.key
    title = f"{key['encoder']}: {key['task']}, mean over {len(view.languages)} languages"
    title += f", {view.pooling} pooling" if view.pooling else ""
    return title + (" — miniature" if section.miniature else "")


def _legend(
    section: Section, view: View, lanes: Sequence[_Lane], axis: _Axis, width: int
) -> list[list[tuple[str, str]]]:
    """Drawn signs and what they mean, in lines that fit."""
    entries = []
    for number, layer in lanes:
        names = ", ".join(view.names) or "reference"
        text = f"layer {layer}" + (f" ({names})" if layer == view.layer else "") if layer is not None else "mean"
        text += " (last)" if layer == section.num_layers else ""
        line = f'<path class="line c{number}{" main" * (not number)}" d="M0 0H24"/>'
        entries.append((f'{line}<path class="mark c{number}" transform="translate(12 0)" d="{_MARKS[number]}"/>', text))
    entries.append(('<path class="whisker c0" d="M12-8V8M9-8h6M9 8h6"/>', "95 % interval"))
    entries.append(('<circle class="dot c0" cx="12" r="3"/>', "one run"))
    if any(run.collapsed for run in section.runs):
        entries.append((f'<path class="cross c0" transform="translate(12 0)" d="{_CROSS}"/>', "collapsed run †"))
        entries.append(('<path class="line without c0" d="M0 0H24"/>', "mean without †"))
    if axis.chance is not None:
        below = "" if axis.holds(axis.chance) else ", below the axis"
        entries.append(('<path class="chance" d="M0 0H24"/>', f"guessing: {percent(axis.chance)} %{below}"))
    rows: list[list[tuple[str, str]]] = [[]]
    for entry in entries:
        if sum(_advance(text) for _, text in (*rows[-1], entry)) > width - 10:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _advance(text: str) -> float:
    return 46 + _CHARACTER * len(text)


def _panel(
    section: Section,
    one: Series,
    view: View,
    lanes: Sequence[_Lane],
    direction: str | None,
    axis: _Axis,
    *,
    first: bool,
) -> Iterator[str]:
    groups = one.by_k()
    span = max(max(groups) - min(groups), 1)
    step = _WIDTH / (span + 0.9)
    places = {k: step * (k - min(groups) + 0.45) if len(groups) > 1 else _WIDTH / 2 for k in groups}
    if direction in DIRECTIONS:
        arrow = direction.replace("->", " → ")
        yield f'<text class="panel" y="-8">{DIRECTIONS[direction]} ({arrow})</text>'
    for value, label in axis.ticks():
        yield f'<path class="grid" d="M0 {axis.y(value):.1f}H{_WIDTH}"/>'
        if first:
            yield f'<text class="y" x="-7" y="{axis.y(value) + 4:.1f}">{label}</text>'
    if first:
        unit = (
            "accuracy at 1 (%)" if section.kind == "embed" else f"{section.key['metric']}{' (%)' * section.in_percent}"
        )
        yield f'<text class="axis" transform="translate(-38 {_HEIGHT / 2}) rotate(-90)">mean {escape(unit)}</text>'
    yield f'<path class="edge" d="M0 {_HEIGHT}H{_WIDTH}"/>'
    for k, x in places.items():
        yield f'<path class="edge" d="M{x:.1f} {_HEIGHT}v4"/><text class="k" x="{x:.1f}" y="{_HEIGHT + 18}">{k}</text>'
    yield f'<text class="axis" x="{_WIDTH / 2}" y="{_HEIGHT + 36}">number of intermediate tasks, k</text>'
    if axis.chance is not None and axis.holds(axis.chance):
        yield f'<path class="chance" d="M0 {axis.y(axis.chance):.1f}H{_WIDTH}"/>'
    slots = [slot for lane in sorted(lanes, key=lambda lane: lane[1] or 0) for slot in (lane, *[_RUNS] * (not lane[0]))]
    lane_width = min(_LANE, 0.7 * step / len(slots))
    for slot in (*reversed(lanes), _RUNS):
        shift = lane_width * (slots.index(slot) - (len(slots) - 1) / 2)
        spots = {k: places[k] + shift for k in groups}
        if slot is _RUNS:
            where = (view.layer, view.pooling, direction)
            for k, runs in groups.items():
                yield from _dots(section, runs, view, where, spots[k], lane_width, axis)
        else:
            yield from _line(section, groups, view, (slot[1], view.pooling, direction), slot[0], spots, axis)


def _line(
    section: Section,
    groups: dict[int, tuple[Run, ...]],
    view: View,
    where: Where,
    number: int,
    spots: dict[int, float],
    axis: _Axis,
) -> Iterator[str]:
    kept = {k: [run for run in runs if not run.collapsed] for k, runs in groups.items()}
    found, sound = (
        {k: over_runs(section, runs, where, view.languages) for k, runs in of.items()} for of in (groups, kept)
    )
    yield f'<path class="line c{number}{" main" * (not number)}" d="{_path(found, spots, axis)}"/>'
    if not number and sound != found:
        yield f'<path class="line without c{number}" d="{_path(sound, spots, axis)}"/>'
    for k, summary in found.items():
        if summary.mean is None:
            continue
        text = f"k = {k}: {percent(summary.mean, section.in_percent)}"
        if summary.low is not None and summary.high is not None:
            if not number:
                yield f'<path class="whisker c0" d="{_whisker(summary.low, summary.high, spots[k], axis)}"/>'
            ends = (percent(end, section.in_percent) for end in (summary.low, summary.high))
            text += f", 95 % interval {' to '.join(ends)}"
        text += f", {summary.num_runs} run{'s' * (summary.num_runs != 1)}"
        layer = f"layer {where[0]}, " if where[0] is not None else ""
        place = f"translate({spots[k]:.1f} {axis.y(summary.mean):.1f})"
        mark = f'<path class="mark c{number}" transform="{place}" d="{_MARKS[number]}">'
        yield f"{mark}<title>{layer}{text}</title></path>"


def _path(found: dict[int, Summary], spots: dict[int, float], axis: _Axis) -> str:
    points = [f"{spots[k]:.1f} {axis.y(summary.mean):.1f}" for k, summary in found.items() if summary.mean is not None]
    return "M" + "L".join(points) if points else ""


def _whisker(low: float, high: float, x: float, axis: _Axis) -> str:
    """A line with bars at its ends; with a point where an end is beyond the axis."""
    top, bottom = axis.y(min(high, axis.high)), axis.y(max(low, axis.low))
    ends = [f"M{x - 3:.1f} {top:.1f}h6" if axis.holds(high) else f"M{x - 3:.1f} {top + 5:.1f}l3-5l3 5"]
    ends += [f"M{x - 3:.1f} {bottom:.1f}h6" if axis.holds(low) else f"M{x - 3:.1f} {bottom - 5:.1f}l3 5l3-5"]
    return f"M{x:.1f} {top:.1f}V{bottom:.1f}{''.join(ends)}"


def _dots(
    section: Section, runs: Sequence[Run], view: View, where: Where, x: float, lane: float, axis: _Axis
) -> Iterator[str]:
    found = [(run, mean) for run in runs if (mean := section.mean(run, where, view.languages)) is not None]
    for number, (run, mean) in enumerate(found):
        spread = 0.45 * lane * (2 * number / (len(found) - 1) - 1) if len(found) > 1 else 0.0
        seed = f", seed {seeds(run)}" if run.seed is not None or run.target_seed is not None else ""
        title = f"<title>{escape(run.name)}{seed}: {percent(mean, section.in_percent)}</title>"
        at_x, at_y = f"{x + spread:.1f}", f"{axis.y(mean):.1f}"
        if run.collapsed:
            yield f'<path class="cross c0" transform="translate({at_x} {at_y})" d="{_CROSS}">{title}</path>'
        else:
            yield f'<circle class="dot c0" cx="{at_x}" cy="{at_y}" r="3">{title}</circle>'
