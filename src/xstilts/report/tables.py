"""A section's tables; percent with one decimal, a dash where there is no number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from xstilts.tasks import average
from xstilts.tasks.languages import PAIR, language, pairs

from .blocks import Cell, Number, Table
from .bootstrap import Interval
from .estimates import change, over_runs
from .stats import Run, Section, Series, Summary, Where, values_at, wilson
from .views import View, selected_layers

MISSING = "–"
MAX_COLUMNS = 8
FOOTNOTE = (
    "† A training stage of this run *collapsed*: it stayed at the majority class. The run is shown and "
    "counted, except where a column says *without †*."
)


def percent(value: float | None, in_percent: bool = True) -> str:
    """A fraction in percent with one decimal, a dash for none."""
    return MISSING if value is None else f"{100 * value if in_percent else value:.1f}"


def points(value: float | None, in_percent: bool = True) -> str:
    """A difference of fractions in percentage points with its sign, a dash for none."""
    if value is None:
        return MISSING
    text = f"{100 * value if in_percent else value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def gained(found: Summary, in_percent: bool = True) -> Number:
    """A difference in points, ± half of its interval where it has one; of no share less is better."""
    better = None if found.mean is None else found.mean if in_percent else -found.mean
    return Number(points(found.mean, in_percent) + half_of(found, in_percent), better, "change")


def half_of(found: Summary, in_percent: bool = True) -> str:
    """Half of an interval behind a ±, nothing for none."""
    if found.mean is None or found.high is None:
        return ""
    return f" ± {percent(found.high - found.mean, in_percent)}"


def interval(found: Summary | Interval | None, in_percent: bool = True) -> str:
    """Both ends of a difference's interval in points, a dash for none."""
    if found is None or found.low is None or found.low == found.high:
        return MISSING
    return f"{points(found.low, in_percent)} to {points(found.high, in_percent)}"


def p_text(p: float | None) -> str:
    """A p value, a dash for none."""
    return MISSING if p is None or math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


PARTS = (
    "f1", "exact_match", "f1_seqeval-0.0.12", "f1_seqeval-1.2.2", "precision", "recall", "token_accuracy", "dev_f1",
    "mono", "cross", "same_language_first",
)  # fmt: skip
"""The numbers of a score that are printed beside its value; others are the data's own, or no shares."""


def by_part(section: Section, series: Series, view: View) -> Table | None:
    """The parts of the score against k at a view's cell: means over runs of the mean over the view's languages.

    ``None`` where the score has no part, and without the parts that are the value itself.
    """
    places = [(section.parts.get((run.model, view.where), {}), section.scores(run, view.where)) for run in series.runs]
    cells = [(parts, values.get(code)) for found, values in places for code, parts in found.items()]
    names = [name for name in PARTS if any(name in parts and parts[name] != value for parts, value in cells)]
    if not names or not view.languages:
        return None
    lines: list[tuple[Cell, ...]] = []
    for k, runs in series.by_k().items():
        line: list[Cell] = [str(k), _mean(section, runs, view.where, view.languages)]
        for name in names:
            found = (section.parts.get((run.model, view.where), {}) for run in runs)
            numbers = [{code: parts[name] for code, parts in one.items() if name in parts} for one in found]
            means = [mean for one in numbers if (mean := average(one, view.languages)) is not None]
            line.append(percent(math.fsum(means) / len(means) if means else None))
        lines.append(tuple(line))
    return Table("Parts of the score against k: means over runs", ("k", "mean", *names), tuple(lines))


def by_run(section: Section, series: Series, view: View) -> Table:
    """One line a run: its average at 25, 50 and 75 % of the depth, the last layer and the view's layer.

    Where tasks share training rows, *distinct k* counts their data sets. The last columns are the difference to k = 0
    at the view's layer and, where a run has every language of a profile of which the study's runs have but a part, the
    profile's own average.
    """
    layers: list[int | None] = [view.layer]
    if view.layer is not None:
        layers = [n for n in selected_layers(section.num_layers, view.layer) if n in {view.layer, *section.layers}]
    overlap = any(run.distinct_k not in (None, run.k) for run in series.runs)
    header = [
        "tasks",
        "k",
        *(["distinct k"] if overlap else []),
        "seed",
        *(layer_name(section, view, layer) for layer in layers),
        "Δ to k = 0",
    ]
    whole = view.official != view.languages and any(
        section.mean(run, view.where, view.official) is not None for run in series.runs
    )
    header += [f"all {len(view.official)} languages"] if whole else []
    lines = []
    for run in series.runs:
        line: list[Cell] = [run.name, str(run.k), *([str(run.distinct_k)] if overlap else []), seeds(run)]
        line += [_number(section, section.mean(run, view.at(layer), view.languages)) for layer in layers]
        line += [gained(change(section, [run], view.where, view.languages), section.in_percent)]
        line += [_number(section, section.mean(run, view.where, view.official))] if whole else []
        lines.append(tuple(line))
    return Table("Every run", tuple(header), tuple(lines))


def by_language(section: Section, series: Series, view: View) -> Table:
    """Every language against k at a view's cell: mean over runs and difference to k = 0, with their intervals.

    English, the languages in its script and those in others stand apart, each with their mean; within a script
    the best at k = 0 is first. Languages beyond the view's come last, as they are in no mean. A single run at
    k = 0 has an interval over its rows instead of over runs.
    """
    groups = series.by_k()
    over_rows = ("95 % over rows",) if _alone(section, groups) else ()
    header = [name for k in groups for name in ((f"k = {k}", "Δ") if k else (f"k = {k}", *over_rows))]
    base = {
        code: over_runs(section, groups.get(0, ()), view.where, [code]).mean or 0.0
        for code in _measured(section, series, view)
    }
    parts: dict[str, list[str]] = {}
    for code in base:
        same = "same script as English" if language(code).script == language("en").script else "other scripts"
        part = "not in the mean" if code not in view.languages else "English" if code == "en" else same
        parts.setdefault(part, []).append(code)
    lines: list[str | tuple[Cell, ...]] = []
    for part in ("English", "same script as English", "other scripts", "not in the mean"):
        codes = parts.get(part, [])
        codes.sort(key=lambda code: (language(code).script, -base[code], code))
        lines += [part[0].upper() + part[1:]] if codes and part != "English" else []
        for code in codes:
            about = language(code)
            cells = _against_k(section, series, view, [code])
            lines.append((f"{about.name} ({code})", about.script, about.family, *cells))
        if len(codes) > 1 and part != "not in the mean":
            lines.append((f"**mean of {len(codes)}**", "", "", *_against_k(section, series, view, codes)))
    if len(view.languages) > 1:
        cells = _against_k(section, series, view, view.languages)
        lines.append(f"All {len(view.languages)} languages")
        lines.append((f"**mean of {len(view.languages)}**", "", "", *cells))
    caption = "Every language against k: mean over runs, ± half of its 95 % interval, and difference Δ to k = 0"
    return Table(caption, ("language", "script", "family", *header), tuple(lines), 3)


def by_pair(section: Section, series: Series, view: View) -> list[Table]:
    """For a task whose languages are pairs: one language and two against k, and for every k the mean of each pair.

    A line of the latter is the language of the first text, a column that of the second; means are over runs.
    """
    sides = {code: tuple(code.split(PAIR)) for code in view.languages}
    same = [code for code, (first, second) in sides.items() if first == second]
    groups = {"one language": same, "two languages": [code for code in sides if code not in same], "all": [*sides]}
    groups = {name: codes for name, codes in groups.items() if codes}
    header = (name for group, codes in groups.items() for name in (f"{group} ({len(codes)})", "Δ"))
    firsts, seconds = (tuple(dict.fromkeys(pair[side] for pair in sides.values())) for side in (0, 1))
    lines: list[tuple[Cell, ...]] = []
    tables = []
    for k, runs in series.by_k().items():
        against = (
            (
                _mean(section, runs, view.where, codes),
                gained(change(section, runs, view.where, codes), section.in_percent),
            )
            for codes in groups.values()
        )
        lines.append((str(k), *(cell for cells in against for cell in cells)))
        each: list[tuple[Cell, ...]] = []
        for line in (*firsts, ""):
            rows = [
                [code for code, (first, second) in sides.items() if line in (first, "") and column in (second, "")]
                for column in (*seconds, "")
            ]
            each.append((line or "**mean**", *(_mean(section, runs, view.where, codes) for codes in rows)))
        caption = f"Every pair at k = {k}: lines are the language of the first text, columns that of the second"
        tables.append(Table(caption, ("", *seconds, "mean"), tuple(each)))
    caption = "Both texts in one language and in two, against k: means over runs, and difference Δ to k = 0"
    return [Table(caption, ("k", *header), tuple(lines)), *tables]


def spelt(languages: Sequence[str]) -> str:
    """Codes of languages; of all pairs of some languages these alone."""
    own = tuple(dict.fromkeys(code.partition(PAIR)[0] for code in languages))
    whole = own and set(languages) == set(pairs(own))
    return f"all pairs of {' '.join(own)}" if whole else " ".join(languages)


def by_language_and_run(section: Section, series: Series, view: View) -> list[Table]:
    """Every language at a view's cell: a column for each run, in tables of at most eight runs.

    Languages beyond the view's are listed below its average.
    """
    tables = []
    for start in range(0, len(series.runs), MAX_COLUMNS):
        runs = series.runs[start : start + MAX_COLUMNS]
        scores = [section.scores(run, view.where) for run in runs]
        others = dict.fromkeys(code for found in scores for code in found if code not in view.languages)
        lines: list[tuple[Cell, ...]] = [
            (code, *(_number(section, found.get(code)) for found in scores)) for code in view.languages
        ]
        if view.languages:
            means = (section.mean(run, view.where, view.languages) for run in runs)
            lines.append((f"**mean of {len(view.languages)}**", *(_number(section, mean) for mean in means)))
        lines += [
            (f"{code} (not in the mean)", *(_number(section, found.get(code)) for found in scores)) for code in others
        ]
        span = f", runs {start + 1} to {start + len(runs)}" if len(series.runs) > MAX_COLUMNS else ""
        header = ("language", *(_column(series, run) for run in runs))
        tables.append(Table(f"Every language of every run{span}", header, tuple(lines)))
    return tables


def incomplete(section: Section, view: View) -> Iterator[str]:
    """One line for each run that lacks a language of a view's average and so has none."""
    for run in section.runs:
        found = section.scores(run, view.where)
        lacking = [code for code in view.languages if code not in found]
        if lacking:
            yield f"{run.name}, seed {seeds(run)}: no average, since {', '.join(lacking)} is lacking"


def seeds(run: Run) -> str:
    """The intermediate and the target seed of a run, a dash for none."""
    found = [str(seed) for seed in (run.seed, run.target_seed) if seed is not None]
    return " then ".join(found) or MISSING


def _measured(section: Section, series: Series, view: View) -> list[str]:
    """A view's languages, then the others that some run has."""
    others = (code for run in series.runs for code in section.scores(run, view.where))
    return list(dict.fromkeys([*view.languages, *others]))


def _against_k(section: Section, series: Series, view: View, codes: Sequence[str]) -> Iterator[Cell]:
    groups = series.by_k()
    for k, runs in groups.items():
        found = over_runs(section, runs, view.where, codes)
        planned = series.planned(section, k)
        short = f" ({found.num_runs} of {planned})" if found.num_runs < planned else ""
        yield Number(percent(found.mean, section.in_percent) + half_of(found, section.in_percent) + short, found.mean)
        if k:
            yield gained(change(section, runs, view.where, codes), section.in_percent)
        elif _alone(section, groups):
            num_rows = section.num_candidates.get(codes[0])
            if len(codes) > 1 or found.mean is None or not num_rows:
                yield MISSING
            else:
                yield " to ".join(percent(end) for end in wilson(found.mean, num_rows))


def _alone(section: Section, groups: Mapping[int, Sequence[Run]]) -> bool:
    """Whether k = 0 is one run, scored by the share of its rows that are right."""
    return len(groups.get(0, ())) == 1 and section.key["metric"] == "accuracy"


def _number(section: Section, value: float | None) -> Number:
    return Number(percent(value, section.in_percent), value)


def _mean(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> Number:
    values = values_at(section, runs, where, languages)
    return _number(section, math.fsum(values) / len(values) if values else None)


def layer_name(section: Section, view: View, layer: int | None, prefix: str = "layer ") -> str:
    """A layer by its number, and what it is: an end, or the one that a view reads."""
    if layer is None:
        return "mean"
    marks = [*(["embeddings"] if not layer else []), *(["last"] if layer == section.num_layers else [])]
    marks += [", ".join(view.names) or "reference"] if layer == view.layer else []
    return f"{prefix}{layer}" + (f" ({'; '.join(marks)})" if marks else "")


def _column(series: Series, run: Run) -> str:
    several = len({(other.seed, other.target_seed) for other in series.runs if other.tasks or other.target}) > 1
    return f"{run.name}, seed {seeds(run)}" if several and seeds(run) != MISSING else run.name
