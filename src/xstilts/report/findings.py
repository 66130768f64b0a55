"""What comes first in a report: the verdict and the curves of gain, and after the claims what a reader asks next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

from . import alternatives, attribution, gain_plot, gains, geometry
from .blocks import Block, Cell, Figure, Fold, Heading, Items, Table, Text, code
from .by_number import Family, variances
from .explorer import explorer
from .gains import Target
from .rows import Document
from .stages import Entry
from .stats import Section
from .tables import FOOTNOTE, MISSING
from .verdict import verdict

SUFFIX = "-gain-by-k"
MAX_CURVES = 12
_GIB = 2**30


def answer(
    found: Sequence[Target], sections: Sequence[Section], plan: Document, of: Mapping[Hashable, Family]
) -> Iterator[Block]:
    """Verdict and curve of every target; nothing without one."""
    if not found:
        return
    yield Heading(2, "What came out")
    yield Items(tuple(verdict(found, of)))
    if any(run.collapsed for target in found for run in target.main.runs):
        yield Text(FOOTNOTE)
    yield from curves(found, plan)
    every = gains.targets(sections, every_metric=True)
    if (cells := explorer(every, _source(plan, "every target and metric"))) is not None:
        yield cells


def details(
    found: Sequence[Target],
    sections: Sequence[Section],
    entries: Mapping[str, Entry],
    of: Mapping[Hashable, Family],
) -> Iterator[Block]:
    """The gain by task, language and layer, what each task adds, how sure that is, other ways, the cost, the gaps."""
    if not found:
        yield from alternatives.overview(sections)
        return
    yield Heading(2, "In detail")
    yield Heading(3, "Which tasks, for which target")
    if (table := gains.by_task(found)) is not None:
        yield table
    if any(target.section.key["task"] in gains.PUBLISHED for target in found):
        yield Text(gains.PUBLISHED_MEANS)
    others = {target.name: target.series[1:] for target in found if len(target.series) > 1}
    if others:
        names = "; ".join(f"{name}: {len(series)}" for name, series in others.items())
        yield Text(
            "Tables here read the way of training with most runs; other ways stand in each target's own part "
            f"({names})."
        )
    if (table := gains.by_language(found)) is not None:
        yield Heading(3, "Which languages")
        yield table
    yield from _by_target("Which layer", [gains.by_layer(target) for target in found])
    if (table := attribution.overview(found)) is not None:
        yield Heading(3, "What each task adds")
        yield table
    if (table := variances(found, of)) is not None:
        yield Heading(3, "How sure")
        yield table
    yield from alternatives.overview(sections, 3)
    ways = [geometry.by_geometry(one.section, sections, one.main, one.view, f", {one.name}") for one in found]
    yield from _by_target("A changed representation, or an offset", ways)
    yield Heading(3, "What it cost")
    yield cost(entries)
    yield Heading(3, "What is missing")
    lacking = [f"{target.name}: {'; '.join(gains.incomplete(target))}" for target in found]
    lines = [line for line in lacking if not line.endswith(": ")]
    if states := Counter(entry.state for entry in entries.values() if entry.state in ("failed", "missing")):
        lines.append(", ".join(f"{count} stages {state}" for state, count in states.items()) + ", named at the top")
    yield Items(tuple(lines)) if lines else Text("Nothing that was planned.")


def _by_target(title: str, tables: Sequence[Table | None]) -> Iterator[Block]:
    """The first target's table, and those of the others when asked."""
    known = [table for table in tables if table is not None]
    if known:
        yield Heading(3, title)
        yield known[0]
    if known[1:]:
        yield Fold("The other targets", tuple(known[1:]))


def curves(found: Sequence[Target], plan: Document, taken: Collection[str] = ()) -> Iterator[Figure | Fold]:
    """The curves of gain on one axis; from the thirteenth on, folded."""
    axis = gain_plot.axis_of(found)
    figures: list[Figure] = []
    names = set(taken)
    for target in found:
        task = target.section.key["task"]
        numbered = (f"{task}{SUFFIX}{f'-{n}' if n > 1 else ''}.svg" for n in range(1, len(found) + len(names) + 2))
        name = next(name for name in numbered if name not in names)
        names.add(name)
        text = f"Gain of {target.name} over k = 0 against k"
        figures.append(Figure(name, gain_plot.gain_curve(target, axis), text, _caption(target, plan)))
    yield from figures[:MAX_CURVES]
    if figures[MAX_CURVES:]:
        yield Fold("More targets", tuple(figures[MAX_CURVES:]))


def _caption(target: Target, plan: Document) -> str:
    view, key = target.view, target.section.key
    of = f"{', '.join(map(code, view.names)) or 'no profile'}, mean over {len(view.languages)} languages"
    where = "" if view.layer is None else f", layer {view.layer}, {view.pooling}, {view.direction}"
    dots = "A dot is a run, a line goes through the means, a bar is the 95 % interval."
    if any(run.collapsed for one in target.series[: gain_plot.MAX_SERIES] for run in one.runs):
        dots += " A cross is a run of which a training stage stayed at the majority class."
    left_out = len(target.series) - gain_plot.MAX_SERIES
    if left_out > 0:
        dots += f" {left_out} more ways of training are not drawn."
    if lacking := list(gains.incomplete(target)):
        dots += f" **Incomplete**: {'; '.join(lacking)}; the others are not drawn."
    what = f"{key['task']}/{key['split']} by {key['metric']}, {of}{where}"
    num_rows = sum(
        len(target.section.scores(run, view.where).keys() & {*view.languages}) for run in target.section.runs
    )
    return f"{dots} {_source(plan, f'{what}, {num_rows:,} rows')}"


def _source(plan: Document, what: str) -> str:
    command = f"xstilts report {plan['study']} --out report"
    return f"Rows: {what}, of `rows.parquet`. Made by {code(command)}."


def cost(entries: Mapping[str, Entry]) -> Table:
    """Hours of devices by kind of stage, from the records of what is done; of each process, on a CPU of each thread."""
    hours: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    threads: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    peaks: defaultdict[tuple[str, str], int] = defaultdict(int)
    for entry in entries.values():
        if entry.record is None:
            continue
        device, *path = str(entry.record["environment"]["numeric_path"]).split("-")
        key = (entry.declaration["kind"], device)
        num_ranks = next((int(part.removesuffix("ranks")) for part in path if part.endswith("ranks")), 1)
        hours[key].append(entry.seconds / 3600 * num_ranks)
        declared = entry.declaration.get("num_threads", entry.declaration.get("recipe", {}).get("num_threads", 1))
        threads[key].append(entry.seconds / 3600 * declared * num_ranks)
        peaks[key] = max(peaks[key], int(entry.record.get("cost", {}).get("peak_rss_bytes", 0)))
    lines: list[str | tuple[Cell, ...]] = []
    for (kind, device), own in sorted(hours.items()):
        peak = peaks[kind, device]
        of_cores = f"{sum(threads[kind, device]):.3f}" if device == "cpu" else MISSING
        of_gpus = f"{sum(own):.3f}" if device != "cpu" else MISSING
        lines.append((kind, device, str(len(own)), of_cores, of_gpus, f"{peak / _GIB:.2f}" if peak else MISSING))
    header = ("stages", "device", "number", "CPU core hours", "GPU hours", "peak memory (GiB)")
    return Table("Cost of the stages that are done, from their records", header, tuple(lines), 2)
