"""Gain over k = 0 against the number of intermediate tasks, drawn as SVG: a drawing for each target, on one axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from .gains import Target
from .stats import Run, Summary
from .tables import points, seeds

MAX_SERIES = 4  # colours that stay apart without colour vision, each with a mark of its own
_WIDTH, _HEIGHT = 380, 220  # of the axes
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 34, 14, 46
_LEAST = 0.02  # the axis spans two points at least
_MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.5L4.2 3.2H-4.2z",
    "M0-4.6L4.6 0L0 4.6L-4.6 0z",
)
_LINE = 18  # pixels of a line of the legend

Axis = tuple[float, float]


def axis_of(targets: Sequence[Target]) -> Axis:
    """The gains that every drawing spans: all runs, means and intervals, and 0; intervals at most half as far again."""
    values, ends = [0.0], [0.0]
    for target in targets:
        for one in target.series[:MAX_SERIES]:
            values += [gain for run in one.runs if run.k and (gain := target.of_run(run)) is not None]
            for k, runs in one.by_k().items():
                found = (
                    target.gain(runs, target.view.layer, target.view.languages) if k else Summary(None, None, None, 0)
                )
                ends += [end for end in (found.low, found.high) if end is not None]
    low, high = min(values), max(values)
    missing = max(0.0, _LEAST - (high - low)) / 2
    low, high = low - missing, high + missing
    span = high - low
    bottom, top = min([low - 0.06 * span, *ends]), max([high + 0.06 * span, *ends])
    return max(bottom, low - span / 2), min(top, high + span / 2)


def gain_curve(target: Target, axis: Axis) -> str:
    """Draw a target: a line through the mean gain of each series, 95 % intervals, and every run as a dot.

    A run of which a training stage collapsed is a cross. At most `MAX_SERIES` series are drawn, those with most runs.
    """
    shown = target.series[:MAX_SERIES]
    ks = sorted({k for one in shown for k in one.by_k()})
    step = _WIDTH / max(1, len(ks))
    at = {k: step * (number + 0.5) for number, k in enumerate(ks)}
    lane = min(14.0, 0.7 * step / len(shown))
    legend = [one.name for one in shown] if len(shown) > 1 else []
    top = _TOP + _LINE * len(legend)
    width, height = _LEFT + _WIDTH + _RIGHT, top + _HEIGHT + _BOTTOM
    title = f"{target.name}: gain over k = 0" + " — miniature" * target.section.miniature
    parts = [f'<text class="title" x="8" y="20">{escape(title)}</text>']
    for number, name in enumerate(legend):
        sign = f'<path class="line c{number} main" d="M0 0H24"/>'
        sign += f'<path class="mark c{number}" d="{_MARKS[number]}" transform="translate(12 0)"/>'
        short = name if len(name) <= 60 else f"{name[:59]}…"
        parts.append(
            f'<g transform="translate(10 {38 + _LINE * number})">{sign}<text x="30" y="4">{escape(short)}</text></g>'
        )
    parts.append(f'<g transform="translate({_LEFT} {top})">')
    parts += _frame(axis, at)
    for number, one in reversed(list(enumerate(shown))):
        shift = lane * (number - (len(shown) - 1) / 2)
        gains = {k: target.gain(runs, target.view.layer, target.view.languages) for k, runs in one.by_k().items() if k}
        spots = {k: at[k] + shift for k in one.by_k()}
        parts += _series(gains, spots, axis, number)
        for k, runs in one.by_k().items():
            parts += _dots(target, runs, spots[k] + 5, lane, axis, number) if k else []
    parts.append("</g>")
    label = escape(f"{title}, in points, against the number of intermediate tasks; the table beside it has the numbers")
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curve gain" {size} role="img" aria-label="{label}">\n'
        f'<rect class="paper" width="{width}" height="{height}"/>\n{body}\n</svg>\n'
    )


def _y(value: float, axis: Axis) -> float:
    return _HEIGHT * (1 - (value - axis[0]) / (axis[1] - axis[0]))


def _frame(axis: Axis, at: dict[int, float]) -> Iterator[str]:
    span = 100 * (axis[1] - axis[0])
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * times for times in (1, 2, 5, 10) if span / (power * times) <= 8)
    digits = max(0, -math.floor(math.log10(step)))
    for number in range(math.ceil(100 * axis[0] / step), math.floor(100 * axis[1] / step) + 1):
        y = _y(number * step / 100, axis)
        kind = "edge" if number == 0 else "grid"
        yield f'<path class="{kind}" d="M0 {y:.1f}H{_WIDTH}"/>'
        yield f'<text class="y" x="-7" y="{y + 4:.1f}">{number * step:+.{digits}f}</text>'.replace("+0<", "0<")
    yield f'<text class="axis" transform="translate(-38 {_HEIGHT / 2}) rotate(-90)">gain in points</text>'
    for k, x in at.items():
        yield f'<text class="k" x="{x:.1f}" y="{_HEIGHT + 18}">{k}</text>'
    yield f'<text class="axis" x="{_WIDTH / 2}" y="{_HEIGHT + 36}">number of intermediate tasks, k</text>'


def _series(gains: dict[int, Summary], spots: dict[int, float], axis: Axis, number: int) -> Iterator[str]:
    means = {k: found.mean for k, found in gains.items() if found.mean is not None}
    line = [(spots[k], _y(mean, axis)) for k, mean in means.items()]
    line = [*([(spots[0], _y(0.0, axis))] if 0 in spots else []), *line]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
    yield f'<path class="line c{number} main" d="M{path}"/>' if line else ""
    for k, mean in means.items():
        found, text = gains[k], f"k = {k}: {points(mean)} points"
        if found.low is not None and found.high is not None:
            text += f", 95 % interval {points(found.low)} to {points(found.high)}"
            yield f'<path class="whisker c{number}" d="{_whisker(found.low, found.high, spots[k], axis)}"/>'
        text += f", {found.num_runs} run{'s' * (found.num_runs != 1)}"
        place = f"translate({spots[k]:.1f} {_y(mean, axis):.1f})"
        yield f'<path class="mark c{number}" transform="{place}" d="{_MARKS[number]}"><title>{text}</title></path>'


def _whisker(low: float, high: float, x: float, axis: Axis) -> str:
    """A line, with a point at an end that is beyond the axis."""
    top, bottom = _y(min(high, axis[1]), axis), _y(max(low, axis[0]), axis)
    up = f"M{x - 3:.1f} {top + 5:.1f}l3-5l3 5" if high > axis[1] else ""
    down = f"M{x - 3:.1f} {bottom - 5:.1f}l3 5l3-5" if low < axis[0] else ""
    return f"M{x:.1f} {top:.1f}V{bottom:.1f}{up}{down}"


def _dots(target: Target, runs: Sequence[Run], x: float, lane: float, axis: Axis, number: int) -> Iterator[str]:
    found = [(run, gain) for run in runs if (gain := target.of_run(run)) is not None]
    for at, (run, gain) in enumerate(found):
        spread = 0.6 * lane * at / (len(found) - 1) if len(found) > 1 else 0.0
        title = f"<title>{escape(run.name)}, seed {seeds(run)}: {points(gain)} points</title>"
        spot = f"{x + spread:.1f}", f"{_y(gain, axis):.1f}"
        if run.collapsed:
            place = f"translate({' '.join(spot)})"
            yield f'<path class="cross c{number}" transform="{place}" d="M-3-3L3 3M-3 3L3-3">{title}</path>'
        else:
            yield f'<circle class="dot c{number}" cx="{spot[0]}" cy="{spot[1]}" r="2.6">{title}</circle>'
