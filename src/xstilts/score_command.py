"""The commands on prediction files: score a folder of them, and write stored predictions as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import ending
from .ending import Answer
from .export_command import export_encoder_command
from .options import DEFAULT_STORE, DataOption, JsonOption, QuietOption, StoreOption, check_data, check_folder

export_app = typer.Typer(
    help="Write what is stored in the formats of others.\n\nExample: xstilts export predictions --help",
    no_args_is_help=True,
    rich_markup_mode=None,
)
export_app.command("encoder")(export_encoder_command)


def score_command(
    folder: Annotated[Path, typer.Argument(help="Prediction files in XTREME's layout, such as xnli/test-de.tsv.")],
    data: DataOption = None,
    benchmark: Annotated[str, typer.Option("--benchmark", help="xtreme or xtreme-r.")] = "xtreme",
    split: Annotated[str, typer.Option("--split", help="Which files: test or dev.")] = "test",
    as_json: JsonOption = False,
) -> Answer:
    """Score prediction files against official labels.

    Anyone's predictions; what is missing is named, what does not fit its labels is refused, with exit code 1.

    Example: xstilts score predictions --data ~/benchmarks
    """
    from . import submission

    check_data(data)
    found = submission.score(folder, data, benchmark, split)
    code = ending.FAILED if found["num_refused"] else 0
    return ending.document(found, code) if as_json else ending.text(submission.render(found), code)


@export_app.command("predictions")
def export_predictions_command(
    ids: Annotated[list[str], typer.Argument(help="Measurements, or trained stages with all of theirs.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; nothing in it is overwritten.")],
    data: DataOption = None,
    profile: Annotated[str, typer.Option("--profile", help="Layer and pooling of retrieval.")] = "xtreme-2020",
    store: StoreOption = DEFAULT_STORE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Write stored predictions in XTREME's layout.

    A submission may take its tasks from several models; two measurements of one task and language are refused.

    Example: xstilts export predictions train-0123456789abcdef0123 --out predictions --data ~/benchmarks
    """
    import pyarrow.parquet as pq

    from .exchange import TASKS, files_of, write_predictions
    from .scoring import PREDICTIONS
    from .spec import file_sha256, one_of
    from .store import Store

    check_folder("--out", out)
    check_data(data)
    opened = Store.open(store, create=False)
    records = [record for record in opened.records() if record["kind"] == "evaluate"]
    measured = [
        record
        for record in records
        if record["declaration"]["task"] in TASKS and "translated" not in record["declaration"]  # no zero-shot results
    ]
    models = {record["id"]: record["declaration"]["model"].get("stage") for record in measured}
    for id in ids:
        one_of("measurement or measured stage", id, sorted({*models, *filter(None, models.values())}))
    places: dict[Path, str] = {}
    wanted = [record for record in measured if {record["id"], models[record["id"]]} & {*ids}]
    for record in wanted:  # before anything is written
        what = record["declaration"]
        for place in (out / file for file in files_of(what["task"], what["split"], what["language"])):
            if place in places:
                raise ValueError(f"{place}: expected one measurement for it, got {places[place]} and {record['id']}")
            if place.exists():
                raise FileExistsError(f"{place} is there already, and nothing is overwritten; expected another --out")
            places[place] = record["id"]
    for record in wanted:
        what = record["declaration"]
        path = opened.folder(record["id"]) / PREDICTIONS
        if not path.is_file() or file_sha256(path) != record["files"].get(PREDICTIONS, {}).get("sha256"):
            raise ValueError(f"{path}: missing or not what was published")
        write_predictions(
            pq.read_table(path),
            what["task"],
            what["language"],
            out,
            split=what["split"],
            data_dir=data,
            profile=profile,
            num_layers=record.get("result", {}).get("num_layers"),
        )
    files = list(map(str, places))
    if as_json:
        return ending.document({"files": files})
    return ending.text([] if quiet else [f"{len(files)} files written to {out}"])
