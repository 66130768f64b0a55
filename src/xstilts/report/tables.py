"""Sections as Markdown tables; percent with one decimal, a dash where there is no number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .stats import Run, Section, Series, View, Where, delta, selected_layers, summarise, values_at

MISSING = "–"
MAX_COLUMNS = 8
FOOTNOTE = (
    "† A training stage of this run *collapsed*: it stayed at the majority class. The run is shown and "
    "counted, except where a column says *without †*."
)


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal, a dash for none."""
    return MISSING if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points with its sign, a dash for none."""
    if value is None:
        return MISSING
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], num_left: int = 1) -> str:
    """A Markdown table whose first ``num_left`` columns are text and the others numbers."""
    rule = [":--"] * num_left + ["--:"] * (len(header) - num_left)
    table = [header, rule, *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table) + "\n"


def by_k(section: Section, series: Series, view: View) -> str:
    """Average against k at a view's cell: number of runs, mean, 95 % t interval, difference to k = 0.

    The mean is over subsets and seeds, of each run's average over the view's languages. Where a run
    collapsed, mean and interval without it stand beside those of all.
    """
    groups = series.by_k()
    daggers = any(run.collapsed for run in series.runs)
    header = ["k", "runs", "mean", "95 % interval", "Δ to k = 0"]
    header += ["without †: runs", "mean", "95 % interval", "Δ to k = 0"] if daggers else []
    lines = []
    for k, runs in groups.items():
        line = [str(k)]
        for collapsed in (True, False)[: 1 + daggers]:
            found = summarise(values_at(section, runs, view.where, view.languages, collapsed))
            interval = MISSING if found.low is None else f"{percent(found.low)} to {percent(found.high)}"
            changes = [
                change
                for run in runs
                if (collapsed or not run.collapsed)
                and (change := delta(section, run, view.where, view.languages)) is not None
            ]
            planned = series.planned(section, k)
            short = collapsed and found.num_runs < planned
            count = f"{found.num_runs} of {planned}" if short else str(found.num_runs)
            change = summarise(changes).mean if k else None
            line += [count, percent(found.mean), interval, points(change)]
        lines.append(line)
    return markdown(header, lines)


def by_run(section: Section, series: Series, view: View) -> str:
    """One line a run: its average at 25, 50 and 75 % of the depth, the last layer and the view's layer.

    The last columns are the difference to k = 0 at the view's layer and, where a run has every language of a
    profile of which the study's runs have but a part, the profile's own average.
    """
    layers = selected_layers(section.num_layers, view.layer) if view.layer is not None else [None]
    header = ["tasks", "k", "seed", *(_layer_name(section, view, layer) for layer in layers), "Δ to k = 0"]
    whole = view.official != view.languages and any(
        section.mean(run, view.where, view.official) is not None for run in series.runs
    )
    header += [f"all {len(view.official)} languages"] if whole else []
    lines = []
    for run in series.runs:
        line = [run.name, str(run.k), _seeds(run)]
        line += [percent(section.mean(run, view.at(layer), view.languages)) for layer in layers]
        line += [points(delta(section, run, view.where, view.languages))]
        line += [percent(section.mean(run, view.where, view.official))] if whole else []
        lines.append(line)
    return markdown(header, lines)


def by_layer(section: Section, series: Series, view: View) -> str:
    """Average at every layer: a column for each run, or, for many runs, for the mean of each k."""
    layers = range(section.num_layers + 1)
    columns: list[tuple[str, list[Run]]] = []
    if len(series.runs) <= MAX_COLUMNS:
        columns = [(_column(series, run), [run]) for run in series.runs]
    else:
        for k, runs in series.by_k().items():
            columns.append((f"k = {k}", list(runs)))
            sound = [run for run in runs if not run.collapsed]
            columns += [(f"k = {k} without †", sound)] if len(sound) < len(runs) else []
    lines = [
        [_layer_name(section, view, layer, "")]
        + [_mean(section, runs, view.at(layer), view.languages) for _, runs in columns]
        for layer in layers
    ]
    return markdown(["layer", *(name for name, _ in columns)], lines)


def by_language(section: Section, series: Series, view: View) -> list[str]:
    """Every language at a view's cell: a column for each run, in tables of at most eight runs.

    Languages beyond the view's are listed below its average.
    """
    tables = []
    for start in range(0, len(series.runs), MAX_COLUMNS):
        runs = series.runs[start : start + MAX_COLUMNS]
        scores = [section.scores(run, view.where) for run in runs]
        others = dict.fromkeys(code for found in scores for code in found if code not in view.languages)
        lines = [[code, *(percent(found.get(code)) for found in scores)] for code in view.languages]
        if view.languages:
            means = (percent(section.mean(run, view.where, view.languages)) for run in runs)
            lines.append([f"**mean of {len(view.languages)}**", *(f"**{mean}**" for mean in means)])
        lines += [[f"{code} (not in the mean)", *(percent(found.get(code)) for found in scores)] for code in others]
        tables.append(markdown(["language", *(_column(series, run) for run in runs)], lines))
    return tables


def incomplete(section: Section, view: View) -> Iterator[str]:
    """One line for each run that lacks a language of a view's average and so has none."""
    for run in section.runs:
        found = section.scores(run, view.where)
        lacking = [code for code in view.languages if code not in found]
        if lacking:
            yield f"{run.name}, seed {_seeds(run)}: no average, since {', '.join(lacking)} is lacking"


def _mean(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> str:
    values = values_at(section, runs, where, languages)
    return percent(math.fsum(values) / len(values) if values else None)


def _layer_name(section: Section, view: View, layer: int | None, prefix: str = "layer ") -> str:
    if layer is None:
        return "mean"
    marks = [*(["embeddings"] if not layer else []), *(["last"] if layer == section.num_layers else [])]
    marks += [", ".join(view.names) or "reference"] if layer == view.layer else []
    return f"{prefix}{layer}" + (f" ({'; '.join(marks)})" if marks else "")


def _seeds(run: Run) -> str:
    seeds = [str(seed) for seed in (run.seed, run.target_seed) if seed is not None]
    return " then ".join(seeds) or MISSING


def _column(series: Series, run: Run) -> str:
    several = len({(other.seed, other.target_seed) for other in series.runs if other.tasks or other.target}) > 1
    return f"{run.name}, seed {_seeds(run)}" if several and _seeds(run) != MISSING else run.name
