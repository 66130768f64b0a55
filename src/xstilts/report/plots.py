"""Retrieval against the number of intermediate tasks, as a deterministic SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .stats import Run, Section, Series, View, selected_layers, series, values_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DIRECTIONS = {"en->xx": "English asks", "xx->en": "English answers"}
# Okabe and Ito's palette without its yellow, too light for lines; the markers tell them apart in grey.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
_RC: dict[str, Any] = {
    "svg.hashsalt": "xstilts",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}
_ALPHA = 0.45
_DODGE, _JITTER = 0.1, 0.04  # in units of k: between layers, and the half-width of one layer's points


def retrieval_by_k(section: Section, view: View) -> Figure | None:
    """Draw the average over languages against k: a row of panels a series, a column a direction.

    A point is one run (subset x seed) at one of up to four layers: the view's, the last, 75 and 50 % of the
    depth. A line goes through the means of all runs of a k; where runs collapsed their points are crosses, and
    a dashed line goes through the means without them.

    Returns:
        The figure, ``None`` when no run has an average at any of these places.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    assert view.layer is not None, "only retrieval has layers"
    layers = sorted({*selected_layers(section.num_layers)[-3:], view.layer})
    shown = series(section)
    directions = [name for name in DIRECTIONS if _any(section, view, layers, name)]
    if not directions:
        return None
    with style.context(["default", _RC]):
        figure = Figure(figsize=(3.9 * len(directions) + 1.2, 3.1 * len(shown) + 0.9), layout="constrained")
        panels = figure.subplots(len(shown), len(directions), sharex=True, sharey=True, squeeze=False)
        for line, one in zip(panels, shown, strict=True):
            for panel, direction in zip(line, directions, strict=True):
                _panel(panel, section, one, view, layers, direction)
            line[0].set_ylabel("mean accuracy at 1 (%)")
            if len(shown) > 1:
                line[0].set_title(f"{one.name}\n{line[0].get_title('left')}", fontsize=9, loc="left")
        for panel in panels[-1]:
            panel.set_xlabel("number of intermediate tasks, k")
        figure.legend(
            handles=[*panels[0][0].get_legend_handles_labels()[0], *_key(any(run.collapsed for run in section.runs))],
            loc="outside right upper",
            frameon=False,
            alignment="left",
            fontsize=8.5,
        )
        figure.suptitle(_title(section, view), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def svg(figure: Figure) -> str:
    """Render to SVG: the same bytes for the same figure, without a date."""
    from matplotlib import style

    stream = io.StringIO()
    with style.context(["default", _RC]):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _title(section: Section, view: View) -> str:
    key = section.key
    name = f"{key['encoder']}: {key['task']}, mean over {len(view.languages)} languages, {view.pooling} pooling"
    return name + (" — miniature" if is_miniature(section) else "")


def is_miniature(section: Section) -> bool:
    """Whether a section's numbers rest on the embedded miniature, in what is measured or trained on."""
    trained = (task for run in section.runs for stage in run.tasks.split(">") for task in stage.split("+"))
    return section.key["task"].startswith("mini-") or any(task.startswith("mini-") for task in trained)


def _any(section: Section, view: View, layers: Sequence[int], direction: str) -> bool:
    return any(values_at(section, section.runs, (layer, view.pooling, direction), view.languages) for layer in layers)


def _key(collapsed: bool) -> list[Line2D]:
    """Legend entries that say what points and lines are."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color="#555555", linestyle="none", marker="o", alpha=_ALPHA, markersize=4, label="one run"),
        Line2D([], [], color="#555555", linewidth=1.4, label="mean of all runs"),
    ]
    if collapsed:
        entries += [
            Line2D([], [], color="#555555", linestyle="none", marker="x", markersize=5, label="collapsed run"),
            Line2D([], [], color="#555555", linewidth=1, linestyle="--", label="mean without them"),
        ]
    return entries


def _panel(panel: Axes, section: Section, one: Series, view: View, layers: Sequence[int], direction: str) -> None:
    groups = one.by_k()
    for number, layer in enumerate(layers):
        color, marker = _STYLES[number]
        where = (layer, view.pooling, direction)
        shift = _DODGE * (number - (len(layers) - 1) / 2)
        lines: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for k, runs in groups.items():
            points = [(run, mean) for run in runs if (mean := section.mean(run, where, view.languages)) is not None]
            for collapsed, line in lines.items():
                means = values_at(section, runs, where, view.languages, collapsed)
                if means:
                    line.append((k + shift, 100 * math.fsum(means) / len(means)))
            for place, (run, mean) in zip(_spread(len(points)), points, strict=True):
                _point(panel, k + shift + place, 100 * mean, run, color, marker)
        name = f"layer {layer}" + (" (last)" if layer == section.num_layers else "")
        name += f"\n{', '.join(view.names) or 'reference'}" if layer == view.layer else ""
        wide = 2.4 if layer == view.layer else 1.4
        look: dict[str, Any] = {
            "marker": marker,
            "markersize": 6,
            "markeredgecolor": "white",
            "label": name,
            "zorder": 3,
        }
        panel.plot(*_columns(lines[True]), color=color, linewidth=wide, **look)
        if lines[False] != lines[True]:
            panel.plot(*_columns(lines[False]), color=color, linewidth=1, linestyle="--", zorder=2)
    panel.set_title(f"{DIRECTIONS[direction]} ({direction.replace('->', ' → ')})", fontsize=9, loc="left")
    panel.set_xticks(sorted(groups))
    panel.set_xlim(min(groups) - 0.4, max(groups) + 0.4)
    panel.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    panel.set_axisbelow(True)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _point(panel: Axes, x: float, y: float, run: Run, color: str, marker: str) -> None:
    if run.collapsed:
        panel.plot([x], [y], linestyle="none", marker="x", color=color, markersize=5.5, zorder=4)
    else:
        panel.plot([x], [y], linestyle="none", marker=marker, color=color, alpha=_ALPHA, markersize=3.8, zorder=4)


def _spread(count: int) -> list[float]:
    """Offsets that spread ``count`` points evenly about 0."""
    return [_JITTER * (2 * number / (count - 1) - 1) for number in range(count)] if count > 1 else [0.0] * count
