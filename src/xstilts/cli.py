"""The command line: what a person types, handed to the files of the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import ending, version
from .claims_command import claims_command
from .ending import Answer
from .fetch_command import fetch_command
from .options import (
    DEFAULT_STORE,
    JsonOption,
    QuietOption,
    StoredStudy,
    StoreOption,
    check_folder,
    check_tasks,
    plans_like,
    stored_name,
    studies_like,
)
from .plan_command import plan_command
from .run_command import run_command, said_of, write_report
from .score_command import export_app, score_command
from .select_command import select_command
from .serve_command import serve_command
from .status_command import status_command
from .tasks_command import tasks_app

_EPILOG = """
Where to start: xstilts run demo

\b
Environment variables:
  XSTILTS_STORE      folder of finished stages, as --store
  XSTILTS_DATA       folder of data sets, as --data
  XSTILTS_CACHE      folder of what can be made again, as --cache
  XSTILTS_TRACEBACK  1 prints the traceback of every error
  NO_COLOR           plain lines without escape codes

\b
Exit codes:
  0    done
  1    a stage, a check or a download failed
  2    refused before anything ran
  130  stopped by Ctrl-C
"""


class _Commands(typer.core.TyperGroup):
    """Lists what a person needs first before the rest."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Every command's name."""
        first = ("studies", "tasks", "fetch")
        return [*first, *(name for name in super().list_commands(ctx) if name not in first)]


app = typer.Typer(
    cls=_Commands,
    name="xstilts",
    help="Train multilingual encoders on English intermediate tasks and score them zero-shot.",
    epilog=_EPILOG,
    result_callback=ending.printed,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(
    help="Move finished stages between stores.\n\nExample: xstilts store export results",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; whatever ends it early is one message on standard error, see `ending`."""
    sys.exit(ending.guarded(lambda: app(prog_name="xstilts", standalone_mode=False), as_json="--json" in sys.argv))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"xstilts {version.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


# -- commands ---------------------------------------------------------------------------------------------------------


@app.command("studies")
def studies_command(
    study: Annotated[
        str | None,
        typer.Argument(help="One study, by its name or its Python file: its parameters.", autocompletion=studies_like),
    ] = None,
    as_json: JsonOption = False,
) -> Answer:
    """List the built-in studies, or a study's parameters.

    Example: xstilts studies scaling
    """
    from .named import described, find_study, in_words, summary
    from .studies import STUDIES

    if study is None:
        found = {name: summary(function) for name, function in STUDIES.items()}
        if as_json:
            return ending.document({"studies": [{"name": name, "summary": line} for name, line in found.items()]})
        return ending.text([f"{name:12} {line}" for name, line in found.items()])
    name, function = find_study(study)
    if as_json:
        listed = [vars(parameter) for parameter in described(function)]
        return ending.document({"name": name, "summary": summary(function), "parameters": listed})
    return ending.text(in_words(name, function))


app.command("plan")(plan_command)
app.command("run")(run_command)


app.command("status")(status_command)
app.command("serve")(serve_command)


@app.command("report")
def report_command(
    studies: Annotated[
        list[str], typer.Argument(help="A study that was run, by name or file; or two.", autocompletion=plans_like)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("report"),
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Write a study's tables and curves, or two side by side.

    Rows are Parquet and CSV, tables Markdown and LaTeX, curves SVG and PDF.

    Example: xstilts report scaling --out report
    """
    check_folder("--out", out)
    name, *others = map(stored_name, studies)
    files = write_report(store, name, out, *others)
    if as_json:
        return ending.document({"study": name, "beside": others, "files": files})
    return ending.text([] if quiet else said_of(files))


@app.command("rescore")
def rescore_command(
    study: StoredStudy = None,
    metric: Annotated[
        str | None, typer.Option(help="Another metric, such as csls, of those measurements whose kind has it.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Score stored predictions with the present metrics.

    Nothing is run again; scores that exist stay.

    Example: xstilts rescore --store store
    """
    from .scoring import rescore
    from .store import Store

    opened = Store.open(store, create=False)
    if study:
        check_tasks(opened, name := stored_name(study))
    wanted = [id for id in opened.plan(name)["stages"] if opened.exists(id)] if study else opened.ids()
    measurements = [id for id in wanted if opened.record(id)["kind"] == "evaluate"]
    added = rescore(opened, measurements, metric)
    if as_json:
        return ending.document({"measurements": len(measurements), "added": added})
    line = f"{len(measurements)} measurements, {sum(map(len, added.values()))} new scores"
    return ending.text([] if quiet else [line])


@store_app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(help="Folder to write; a store of its own.")],
    study: Annotated[str | None, typer.Option(help="Only the stages of this study.", autocompletion=plans_like)] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="With weights; records and predictions only otherwise.")
    ] = False,
    scores_only: Annotated[
        bool, typer.Option("--scores-only", help="Without predictions too: small, and all that a report needs.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Copy finished stages out of a store, with their plans.

    Example: xstilts store export /mnt/share/results --study scaling
    """
    from .store import Store

    opened = Store.open(store, create=False)
    plans = [study] if study else opened.plans()
    ids = [id for id in opened.plan(study)["stages"] if opened.exists(id)] if study else opened.ids()
    if weights and scores_only:
        raise ValueError("--weights and --scores-only: expected at most one of them")
    count = opened.export(target, ids, weights, predictions=not scores_only)
    other = Store.open(target)
    for name in plans:
        other.write_plan(name, opened.plan(name))
    if as_json:
        return ending.document({"target": str(target), "stages": count, "studies": plans})
    return ending.text([] if quiet else [f"{count} stages exported to {target}"])


@store_app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="A folder that `store export` wrote.")],
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Take finished stages into a store.

    Each is verified, nothing is overwritten; a damaged one is refused, with exit code 1.

    Example: xstilts store import /mnt/share/results
    """
    from .store import Store

    other = Store.open(source, create=False)
    opened = Store.open(store)
    taken = opened.import_from(source)
    for name in [name for name in other.plans() if name not in opened.plans()]:
        opened.write_plan(name, other.plan(name))
    for problem in taken.refused:
        ending.complain(f"refused {problem}")
    code = ending.FAILED if taken.refused else 0
    if as_json:
        facts = {key: list(getattr(taken, key)) for key in ("added", "completed", "already")}
        return ending.document({**facts, "refused": [vars(problem) for problem in taken.refused]}, code)
    line = f"{len(taken.added)} added, {len(taken.completed)} completed, {len(taken.already)} already there"
    return ending.text([] if quiet else [line], code)


for _command in (claims_command, fetch_command, score_command, select_command):
    app.command(_command.__name__.removesuffix("_command"))(_command)
for _name, _group in {"tasks": tasks_app, "export": export_app, "store": store_app}.items():
    app.add_typer(_group, name=_name)
