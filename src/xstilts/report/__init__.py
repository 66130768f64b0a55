"""Records joined into tidy rows, then statistics, tables and figures, as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.spec import write_atomically
from xstilts.store import Store
from xstilts.tasks import find

from . import attribution, by_number, claims, findings, gains, latex, pdf, rows, stages, verdicts, views
from .alternatives import overview
from .beside import write as write_beside
from .blocks import Block, Code, Facts, Figure, Fold, Heading, Items, Table, Text, code, markdown
from .by_number import Family, design, families, place
from .geometry import by_geometry
from .html import page
from .live_page import live_page
from .plots import curve, standalone
from .profiles import benchmark_tables
from .questions import over_questions
from .stats import Section, is_miniature, sections, series
from .tables import (
    FOOTNOTE,
    by_language,
    by_language_and_run,
    by_pair,
    by_part,
    by_run,
    incomplete,
    percent,
    spelt,
)
from .views import View, reading

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["claims_document", "claims_text", "live_page", "write", "write_beside"]

PLOT = "-by-k"
METHODS = "methods.md"
"""What a report says of methods beside the plain training, where a study has both."""
MAX_OPEN = 5


def write(store: Store, plan_name: str, folder: Path) -> list[Path]:
    """Write a study's report: ``rows.parquet``, ``rows.csv``, ``report.md``, ``report.html``, ``<task>-by-k.svg``.

    ``<task>-by-k.pdf`` too where the extra ``pdf`` is installed.

    ``tables``, a folder of all tables as LaTeX, and, where methods stand beside the plain training, `METHODS`. Reads
    the plan, the records and the rankings of searches only, so the same store gives the same bytes. A second group of
    numbers of a task that cannot share an axis with the first gets a figure ``<task>-by-k-2.svg``.

    Returns:
        The paths written; a task without averages has no figure.

    Raises:
        ValueError: for an unknown plan, a broken record or cells that contradict each other.
    """
    plan = store.plan(plan_name)
    table = rows.rows(store, plan)
    folder.mkdir(parents=True, exist_ok=True)
    paths = rows.write(table, folder)
    shown = sections(table, plan)
    blocks = list(_document(store, plan, table, shown))
    texts = {"report.md": markdown(blocks), "report.html": page(blocks)}
    if beside := list(overview(shown)):
        texts[METHODS] = markdown(beside)
    drawn = [part for block in blocks for part in (block.blocks if isinstance(block, Fold) else (block,))]
    figures = {block.name: block for block in drawn if isinstance(block, Figure)}
    texts |= {name: standalone(figure.svg) for name, figure in figures.items()}
    for stale in (*folder.glob(f"*{PLOT}*.svg"), *folder.glob(f"*{PLOT}*.pdf"), folder / METHODS):
        stale.unlink(missing_ok=True)
    for name, text in texts.items():
        write_atomically(folder / name, text)
        paths.append(folder / name)
    paths += pdf.write({name: (figure.svg, figure.text) for name, figure in figures.items()}, folder)
    return [*paths, latex.write(blocks, folder)]


def claims_document(store: Store, plan_name: str, profile: str = "") -> list[dict[str, Any]]:
    """A study's verdicts on published claims as JSON data; arguments and errors as `claims.judged`."""
    plan = store.plan(plan_name)
    shown = sections(rows.rows(store, plan), plan)
    return [verdicts.document(grid, found) for grid, found in claims.judged(store, plan, shown, profile)]


def claims_text(store: Store, plan_name: str, profile: str = "") -> str:
    """The same as Markdown."""
    plan = store.plan(plan_name)
    return markdown(claims.blocks(store, plan, sections(rows.rows(store, plan), plan), profile))


def _document(store: Store, plan: Mapping[str, Any], table: pa.Table, shown: Sequence[Section]) -> Iterator[Block]:
    entries = stages.entries(store, plan)
    yield from _head(store, plan, table, entries)
    figures: set[str] = set()
    found = gains.targets(shown)
    of = families(found)
    yield from findings.answer(found, shown, plan, of)
    yield from claims.blocks(store, plan, shown)
    yield from findings.details(found, shown, entries, of)
    for section in shown:
        yield from _section(section, figures, shown, of, store)
    yield from benchmark_tables(shown, plan)
    yield Heading(2, "Stages")
    yield Text("What reads what, from the encoder on the left to the measurements; stages of one sort are one box.")
    yield from stages.graph(plan, entries)
    text, rest = stages.trainings(plan, entries)
    if text or rest:
        yield Heading(2, "Training")
    if text:
        yield text
    if rest:
        yield rest if len(rest.lines) <= stages.MAX_LISTED else Fold("Every training", (rest,))
    yield from _provenance(plan, entries)


def _head(
    store: Store, plan: Mapping[str, Any], table: pa.Table, entries: Mapping[str, stages.Entry]
) -> Iterator[Block]:
    yield Heading(1, f"Study {code(plan['study'])}")
    wanted = [id for id, _ in rows.leaves(plan)]
    done = sum(entries[id].state == "done" for id in wanted)
    took = f" The stages took {stages.duration(seconds)}." if (seconds := stages.total_seconds(entries)) else ""
    yield Text(f"{done} of {len(wanted)} measurements are done.{took}")
    if names := sorted(name for name in _tasks(plan) if is_miniature(name)):
        yield Text(
            f"**Miniature.** Numbers here rest on embedded data made for trying things out ({', '.join(names)}): "
            "they show that everything works, not how languages transfer.",
            notice=True,
        )
    for state, what in {
        "failed": "**Failed stages**, which have no row and whose averages do not exist",
        "missing": "**Missing stages**, which have no row and whose averages do not exist",
    }.items():
        lacking = [entry for entry in entries.values() if entry.state == state]
        if lacking:
            yield Text(f"{what}: {len(lacking)}", notice=True)
            lines = [f"{e.label} ({code(e.id)})" + f": {e.failure}" * bool(e.failure) for e in lacking]
            yield _list(lines)
    if bare := rows.unscored(store, plan, table):
        yield Text(f"Measurements without a score (`xstilts rescore` adds it): {len(bare)}", notice=True)
        yield _list([f"{label} ({code(id)})" for id, label in bare])


def _list(lines: Sequence[str]) -> Block:
    items = Items(stages.listed(lines))
    return items if len(lines) <= MAX_OPEN else Fold("Which ones", (items,))


def _tasks(plan: Mapping[str, Any]) -> set[str]:
    """Every task that a plan measures or a model is made from."""
    found: set[str] = set()
    for stage in plan["stages"].values():
        declared = stage["declaration"]
        if declared["kind"] == "merge":  # its start is also that of its models
            continue
        model = declared.get("start", declared.get("model", {}))  # a translation has none
        found |= {tiny["text"]} if (tiny := model.get("tiny")) else set()
        found |= set(declared["mixture"]["tasks"]) if declared["kind"] == "train" else {declared["task"]}
    return found


def _section(
    section: Section,
    figures: set[str],
    others: Sequence[Section] = (),
    of: Mapping[Hashable, Family] | None = None,
    store: Store | None = None,
) -> Iterator[Block]:
    """A section's tables; what the report has said before of the runs that ``of`` has is not said again."""
    key, task = section.key, find(section.key["task"])
    what = f"{key['task']}/{key['split']}" + f" by {key['metric']}" * (key["metric"] != task.metric)
    what += f" after {key['target']}" * bool(key["target"] and task.is_retrieval)
    yield Heading(2, f"{what}, {key['encoder']}{', *miniature*' * section.miniature}")
    shown = views.views(section)
    if (svg := curve(reading(section, shown[0]), shown[0])) is not None:
        numbers = (f"{key['task']}{PLOT}{f'-{n}' if n > 1 else ''}.svg" for n in range(1, len(figures) + 2))
        name = next(name for name in numbers if name not in figures)
        figures.add(name)
        command = code(f"xstilts report {key['study']} --out report")
        rows_of = f"Rows: {key['task']}/{key['split']} by {key['metric']}, of `rows.parquet`. Made by {command}."
        yield Figure(name, svg, f"{key['task']} against k", rows_of)
    facts = {
        "encoder": f"{key['encoder']}, content {code(key['encoder_content'])}, {section.num_layers} layers",
        "tokenizer": code(key["tokenizer"]),
        "before k = 0": key["start"] or "nothing: the encoder as it was published",
        "trained for it on": key["target"] or "nothing: measured as it stands",
        "measured with": key["protocol"],
        "numeric path": key["numeric_path"],
        "metric": f"{key['metric']}, version {key['metric_version']}{', in %' * section.in_percent}",
        "languages in every run": f"{len(section.languages)}: {spelt(section.languages)}",
    }
    if (chance := section.chance(section.languages)) is not None:
        facts["guessing"] = f"{percent(chance)} % on average over these languages, every answer equally often"
    if (majority := section.of_data("majority_share", section.languages)) is not None:
        facts["one answer"] = f"{percent(majority)} % for always giving the most frequent label"
    if task.note:
        facts["note"] = task.note
    if section.kind == "embed":
        facts["ties"] = (
            f"{section.num_ties} of {section.num_examples} nearest neighbours were equally near as another "
            "candidate, over all layers, poolings and directions; the first candidate is taken"
        )
    yield Facts(facts)
    if any(run.collapsed for run in section.runs):
        yield Text(FOOTNOTE)
    swept: set[tuple[Any, ...]] = set()
    for view in shown:
        yield Heading(3, _view_title(section, view))
        yield Text(_view_note(section, view))
        if lines := list(incomplete(reading(section, view), view)):
            yield Text("Incomplete:")
            yield _list(lines)
        read = reading(section, view)
        for one in series(read):
            yield Text(f"**Training: {one.name}.**")
            family = (of or {}).get(place(read, one, view))
            asked = over_questions(store, read, one, view) if store and family else {}
            crossed = family.design if family else design(read, one, view)
            yield from by_number.blocks(read, one, view, crossed, family, asked)
            if (parts := by_part(read, one, view)) is not None:
                yield parts
            if not family and (ways := by_geometry(read, others, one, view)) is not None:
                yield ways
            yield from attribution.blocks(read, attribution.games(read, one), view, listed=not family)
            languages = by_pair(read, one, view) if task.crosses else [by_language(read, one, view)]
            if view == shown[0] or view.layer is not None:
                yield from languages
            else:
                yield Fold("Every language", tuple(languages))
            swept_key = (one.name, view.pooling, view.direction, view.languages)
            yield Fold("Every run", (by_run(read, one, view),))
            layers = gains.by_layer(gains.Target(key["task"], read, view, (one,))) if swept_key not in swept else None
            swept.add(swept_key)
            if layers is not None and not family:
                yield Fold("Every layer", (layers,))
            yield Fold("Every language of every run", tuple(by_language_and_run(read, one, view)))
        yield from attribution.blocks(read, attribution.single_tasks(read), view, "each by its own recipe and budget")


def _view_title(section: Section, view: View) -> str:
    cell = "all languages" if view.layer is None else f"layer {view.layer} of {section.num_layers}"
    if not view.names:
        return cell[0].upper() + cell[1:]
    return f"Profile{'s' * (len(view.names) > 1)} {', '.join(map(code, view.names))}: {cell}"


def _view_note(section: Section, view: View) -> str:
    text = f"Mean over {len(view.languages)} languages. "
    if view.layer is not None:
        text = f"{view.pooling} pooling, {view.direction}, mean over {len(view.languages)} languages. "
        if view.reference:
            text += f"No profile covers this: the layer is that of {code(view.reference)}, for reference. "
        elif not view.names:
            text += "No profile covers this: the layer is the last one measured. "
    if view.numbers != ("value",):
        of = "the mean of " * (len(view.numbers) > 1)
        text += f"The value is {of}{' and '.join(map(code, view.numbers))}. "
        if any(map(len, section.cells.values())) and not any(map(len, reading(section, view).cells.values())):
            text += "No score has it: `xstilts rescore` adds the current version. "
    if view.scaled:
        text += "The published layer is scaled to this depth, so this is **not the published protocol**. "
    if view.stand_in:
        text += "A slice stands in for the training set, so this is **not the published protocol**. "
    if view.languages != view.official:
        text += (
            f"The profile averages {len(view.official)} languages; every run of this study has "
            f"{len(view.languages)} of them, so this is **not the profile's average**. "
        )
    return text.rstrip()


def _provenance(plan: Mapping[str, Any], entries: Mapping[str, stages.Entry]) -> Iterator[Block]:
    yield Heading(2, "Where the numbers come from")
    yield Text("The commands; the folder of data sets, if there is one, goes with `--data`, the store with `--store`:")
    yield Code(f"{stages.command(plan)}\nxstilts report {plan['study']} --out report")
    if empty := [name for name, value in plan["parameters"].items() if not value]:
        yield Text(f"Left at the study's own choice, or empty: {', '.join(map(code, empty))}.")
    if lines := tuple((name, code(value)) for name, value in plan["parameters"].items()):
        yield Fold("Parameters", (Table("Parameters", ("parameter", "value"), lines, 2),))
    yield Text("Every number is a row of `rows.parquet` and `rows.csv`, with what it rests on.")
    yield from stages.times(entries)
    yield stages.versions(entries)
