"""The command that puts published claims to the test."""

from __future__ import annotations

from typing import Annotated

import typer

from . import ending
from .ending import Answer
from .options import DEFAULT_STORE, JsonOption, StoreOption, check_tasks, plans_like, stored_name


def claims_command(
    study: Annotated[
        str, typer.Argument(help="A study that was run, by its name or its Python file.", autocompletion=plans_like)
    ],
    profile: Annotated[
        str,
        typer.Option(
            help="stilts-2020, xtreme-2020, or none: cells as the report reads them where no profile covers a task. "
            "Without it stilts-2020 if the study measures a cell of it, and else none."
        ),
    ] = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> Answer:
    """Say which of nine published claims a study supports.

    Each is supported, contradicted, inconclusive or not tested, with effects, intervals and what is missing.

    Example: xstilts claims xstilts2020 --json
    """
    from . import report
    from .store import Store

    name, opened = stored_name(study), Store.open(store, create=False)
    check_tasks(opened, name)
    if as_json:
        return ending.document({"study": name, "grids": report.claims_document(opened, name, profile)})
    return Answer(report.claims_text(opened, name, profile))
