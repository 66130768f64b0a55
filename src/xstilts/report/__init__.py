"""Records joined into tidy rows, then statistics, tables and plots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.spec import write_atomically
from xstilts.store import Store
from xstilts.tasks import find

from . import rows
from .plots import is_miniature, retrieval_by_k, svg
from .stats import Section, View, sections, series, views
from .tables import FOOTNOTE, by_k, by_language, by_layer, by_run, incomplete, markdown

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["write"]

MAX_LISTED = 20
PLOT = "retrieval-by-k"


def write(store: Store, plan_name: str, folder: Path) -> list[Path]:
    """Write a study's report: ``rows.parquet``, ``rows.csv``, ``report.md``, ``retrieval-by-k.svg``.

    Reads the plan and the records only, so the same store gives the same bytes. A second retrieval task, or a
    second group of numbers that cannot share an axis with the first, gets a plot ``retrieval-by-k-2.svg``.

    Returns:
        The paths written; without retrieval averages there is no plot.

    Raises:
        ValueError: for an unknown plan, a broken record or cells that contradict each other.
    """
    plan = store.plan(plan_name)
    table = rows.rows(store, plan)
    folder.mkdir(parents=True, exist_ok=True)
    paths = rows.write(table, folder)
    parts = [_head(store, plan, table)]
    plots: list[Path] = []
    for stale in folder.glob(f"{PLOT}*.svg"):
        stale.unlink()
    for section in sections(table, plan):
        text, figure = _section(section), None
        if find(section.key["task"]).kind.name == "embed":
            figure = retrieval_by_k(section, views(section)[0])
        if figure is not None:
            path = folder / f"{PLOT}{f'-{len(plots) + 1}' if plots else ''}.svg"
            write_atomically(path, svg(figure))
            plots.append(path)
            text += f"![{section.key['task']} against k]({path.name})\n"
        parts.append(text)
    parts.append(_provenance(store, plan))
    path = folder / "report.md"
    write_atomically(path, "\n".join(parts))
    return [*paths, path, *plots]


def _head(store: Store, plan: Mapping[str, Any], table: pa.Table) -> str:
    lacking, bare = rows.missing(store, plan), rows.unscored(store, plan, table)
    total = len(plan["leaves"])
    done = sum(map(store.exists, plan["leaves"]))
    text = f"# Study `{plan['study']}`\n\n{done} of {total} measurements are done.\n\n"
    if lacking:
        text += f"Missing stages, which have no row and whose averages do not exist: {len(lacking)}\n\n"
        text += _listed(lacking)
    if bare:
        text += f"Measurements without a score (`xstilts rescore` adds it): {len(bare)}\n\n{_listed(bare)}"
    text += "## Parameters\n\n"
    return text + markdown(["parameter", "value"], [[n, f"`{v}`"] for n, v in plan["parameters"].items()], 2)


def _listed(stages: Sequence[tuple[str, str]]) -> str:
    lines = [f"* {label} (`{id}`)" for id, label in stages[:MAX_LISTED]]
    lines += [f"* … and {len(stages) - MAX_LISTED} more"] if len(stages) > MAX_LISTED else []
    return "\n".join(lines) + "\n\n"


def _section(section: Section) -> str:
    key = section.key
    text = f"## {key['task']}/{key['split']}, {key['encoder']}{', *miniature*' * is_miniature(section)}\n\n"
    facts = {
        "encoder": f"{key['encoder']}, content `{key['encoder_content']}`, {section.num_layers} layers",
        "tokenizer": f"`{key['tokenizer']}`",
        "before k = 0": key["start"] or "nothing: the encoder as it was published",
        "measured with": key["protocol"],
        "numeric path": key["numeric_path"],
        "metric": f"{key['metric']}, version {key['metric_version']}, in %",
        "languages in every run": f"{len(section.languages)}: {' '.join(section.languages)}",
    }
    if note := find(key["task"]).note:
        facts["note"] = note
    if find(key["task"]).kind.name == "embed":
        facts["ties"] = (
            f"{section.num_ties} of {section.num_examples} nearest neighbours were equally near as another "
            "candidate, over all layers, poolings and directions; the first candidate is taken"
        )
    text += "".join(f"* {name}: {fact}\n" for name, fact in facts.items()) + "\n"
    swept: set[tuple[Any, ...]] = set()
    for view in views(section):
        text += f"### {_view_title(section, view)}\n\n{_view_note(section, view)}\n\n"
        if lines := list(incomplete(section, view)):
            text += "Incomplete:\n\n" + "".join(f"* {line}\n" for line in lines) + "\n"
        for one in series(section):
            swept_key = (one.name, view.pooling, view.direction, view.languages)
            text += f"**Training: {one.name}.**\n\n"
            text += (
                f"Average against k, over subsets and seeds, with Student-t intervals:\n\n{by_k(section, one, view)}\n"
            )
            text += f"Every run:\n\n{by_run(section, one, view)}\n"
            if view.layer is not None and swept_key not in swept:
                swept.add(swept_key)
                text += f"Every layer:\n\n{by_layer(section, one, view)}\n"
            text += "Every language:\n\n" + "\n".join(by_language(section, one, view)) + "\n"
    if any(run.collapsed for run in section.runs):
        text += FOOTNOTE + "\n\n"
    return text


def _view_title(section: Section, view: View) -> str:
    if view.layer is None:
        return "All languages"
    if not view.names:
        return f"Layer {view.layer} of {section.num_layers}"
    names = ", ".join(f"`{name}`" for name in view.names)
    return f"Profile{'s' * (len(view.names) > 1)} {names}: layer {view.layer} of {section.num_layers}"


def _view_note(section: Section, view: View) -> str:
    if view.layer is None:
        return f"Mean over {len(view.languages)} languages."
    text = f"{view.pooling} pooling, {view.direction}, mean over {len(view.languages)} languages. "
    if not view.names:
        text += "No profile covers this task: the layer is that of `xtreme-2020`, for reference. "
    if view.scaled:
        text += "The published layer is scaled to this depth, so this is not the published protocol. "
    if view.languages != view.official:
        text += (
            f"The profile averages {len(view.official)} languages; every run of this study has "
            f"{len(view.languages)} of them, so this is **not the profile's average**. "
        )
    return text.rstrip()


def _provenance(store: Store, plan: Mapping[str, Any]) -> str:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    versions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for id in plan["stages"]:
        if not store.exists(id):
            continue
        record = store.record(id)
        seconds[record["kind"]].append(record["wall_seconds"])
        for name, value in _versions(record["environment"]):
            versions[name][value] += 1
    lines = [[kind, str(len(times)), f"{sum(times):.1f}"] for kind, times in sorted(seconds.items())]
    text = "## Where the numbers come from\n\n" + markdown(["stages", "number", "wall time (s)"], lines)
    lines = [
        [
            name,
            ", ".join(f"{value} ({count})" if len(found) > 1 else value for value, count in sorted(found.items())),
        ]
        for name, found in sorted(versions.items())
    ]
    return text + "\n" + markdown(["software and machine", "version (stages)"], lines, 2)


def _versions(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, Mapping):
            yield from _versions(value)
        elif value not in ("", None):
            yield name, str(value)
