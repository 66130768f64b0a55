"""The command that runs a study, and the report that it and `report` write."""

from __future__ import annotations

import contextlib
import math
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import (
    DEFAULT_STORE,
    CacheOption,
    DataOption,
    JsonOption,
    Parameters,
    QuietOption,
    StoreOption,
    StudyArgument,
    cache_folder,
    check_folder,
    check_shard,
    check_tasks,
    devices_of,
    plan_of,
    threads_of,
    trackers_like,
)
from .spec import one_of

if typing.TYPE_CHECKING:
    from .executor import Executor
    from .run import Outcome, View
    from .store import Store
    from .study import Plan

EXECUTORS = ("local", "ray")


def run_command(
    study: StudyArgument,
    parameters: Parameters = None,
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
    cache: CacheOption = None,
    device: Annotated[
        str,
        typer.Option(
            help="auto, or devices with one worker each: cpu, cpu,cpu, cuda:0,cuda:1 ...; cuda:0+cuda:1 is one worker "
            "whose trainings share both."
        ),
    ] = "auto",
    executor: Annotated[
        str, typer.Option(help="Where workers are: local, on this machine, or ray, on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, HOST:PORT; without it $RAY_ADDRESS, or one started here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many on the Ray cluster; as many as fit when left out.")
    ] = None,
    worker_gpus: Annotated[
        float | None, typer.Option(help="Which part of a GPU each worker on the Ray cluster has, such as 0.25.")
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Weights to keep: all, or none once no stage of the plan reads them.")
    ] = "all",
    remake: Annotated[
        list[str] | None, typer.Option(help="Id of a stage of the study whose dropped weights are wanted again.")
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0, help="Least time between two checkpoints of a training; 0 is every step.")
    ] = 120.0,
    stall_minutes: Annotated[
        float, typer.Option(min=0, help="End a worker that gives no sign of work for so long; 0 is never.")
    ] = 30.0,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a stage is tried again whose worker died or was ended.")
    ] = 2,
    recompute_activations: Annotated[
        bool,
        typer.Option(
            "--recompute-activations",
            help="Compute each layer again in the backward pass of a training (gradient checkpointing): less memory, "
            "more time, the same numbers.",
        ),
    ] = False,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Divide the weights of an encoder's layers, their gradients and moments among the joined devices of a "
            "worker (FSDP): for encoders that do not fit on one.",
        ),
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write the report here when the study is done.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Print where the time went, and write it here, with a trace for a browser.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Tell trackers too: tensorboard[:DIR], wandb[:PROJECT], mlflow[:URI], trackio[:PROJECT], or several.",
            autocompletion=trackers_like,
        ),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Run a study.

    What is done already is not done again, and a stopped run goes on where it was.

    Exit codes: 0 every measurement exists, 1 a stage failed, 2 refused before anything ran, 130 stopped by Ctrl-C.

    Example: xstilts run scaling encoder=offline tasks=mnli@sample,snli@sample k=0..2 --data ~/benchmarks
    """
    from .timing import Timed, table, write

    check_folder("--report", report)
    check_folder("--profile", profile)
    view = Timed(view_of(store, track, quiet=quiet))
    found = plan_of(study, parameters, data, cache)
    opened, outcome = carried_out(
        found,
        study,
        store,
        data,
        cache,
        view,
        device=device,
        executor=executor,
        address=address,
        workers=workers,
        worker_gpus=worker_gpus,
        keep=keep,
        remake=remake or (),
        checkpoint_seconds=checkpoint_seconds,
        stall_minutes=stall_minutes,
        retries=retries,
        recompute_activations=recompute_activations,
        shard=shard,
    )
    facts: dict[str, Any] = {"study": found.study, "store": str(store), "exit_code": outcome.exit_code}
    facts |= {"done": outcome.done, "found": outcome.found, "failed": outcome.failed, "blocked": outcome.blocked}
    facts |= {"interrupted": outcome.interrupted, "report": [], "profile": None}
    after: dict[str, tuple[Path | None, Callable[[Path], Any]]] = {
        "profile": (profile, lambda folder: write(view, opened, found.study, folder)),
        "report": (None if outcome.interrupted else report, lambda folder: write_report(opened, found.study, folder)),
    }
    for name, (folder, written) in after.items():
        try:
            facts |= {name: written(folder)} if folder is not None else {}
        except (ValueError, OSError) as error:  # what ran stays: this is no refusal
            message = f"no {name}: {ending.said(error)}"
            ending.complain(message)
            facts |= {"exit_code": ending.FAILED, "error": {"exit_code": ending.FAILED, "message": message}}
    if as_json:
        return ending.document(facts, facts["exit_code"])
    spent = facts["profile"]
    shown = [*(table(spent["rows"]) + spent["files"] if spent else []), *said_of(facts["report"])]
    return ending.text([] if quiet else shown, facts["exit_code"])


def view_of(store: Path, track: str | None, *, quiet: bool) -> View:
    """What shows a run: to a person, to other processes that read the store, and to trackers."""
    from .live import Told
    from .progress import view_for
    from .sinks import Tracked, parse

    view = Told(view_for(sys.stderr, quiet=quiet), store)
    return view if track is None else Tracked(view, store, parse(track))


def carried_out(
    plan: Plan,
    study: str,
    store: Path,
    data: Path | None,
    cache: Path | None,
    view: View,
    *,
    device: str,
    executor: str,
    address: str | None,
    workers: int | None,
    worker_gpus: float | None,
    keep: str,
    remake: Sequence[str],
    checkpoint_seconds: float,
    stall_minutes: float,
    retries: int,
    recompute_activations: bool,
    shard: bool,
) -> tuple[Store, Outcome]:
    """Run a plan with the options of `run_command`, and say what failed; ``study`` is as given, or empty.

    Raises:
        ValueError: for options that cannot work, before anything ran.
    """
    from .named import study_file
    from .run import KEEP, Settings, run
    from .store import Store

    one_of("--keep", keep, KEEP)
    one_of("--executor", executor, EXECUTORS)
    least = {"--workers": (workers, 1), "--checkpoint-seconds": (checkpoint_seconds, 0)}
    least |= {"--stall-minutes": (stall_minutes, 0), "--retries": (retries, 0)}
    for option, (value, lowest) in least.items():
        if value is not None and not value >= lowest:
            raise ValueError(f"{option} {value}: expected at least {lowest}")
    for id in remake:
        one_of("stage of the study", id, plan.stages)
    if remake and keep == "none":
        raise ValueError("--remake with --keep none: the weights would be dropped again; expected --keep all")
    plan = replace(plan, remade=tuple(remake))
    with _placed(executor, plan, device, address, workers, worker_gpus) as (on, devices, where):
        check_shard(shard, devices, plan)
        settings = Settings(
            data_dir=data,
            cache_dir=cache_folder(cache),
            devices=devices,
            where=where,
            checkpoint_seconds=checkpoint_seconds,
            keep=keep,
            stall_seconds=stall_minutes * 60 or math.inf,
            retries=retries,
            recompute_activations=recompute_activations,
            shard=shard,
            study_file=study_file(study),
        )
        opened = Store.open(store)
        opened.write_plan(plan.study, plan.document())
        outcome = run(plan, opened, settings, view, on)
    for id, what in outcome.failed.items():
        ending.complain(f"{id} failed: {what}")
    return opened, outcome


@contextlib.contextmanager
def _placed(
    executor: str, plan: Plan, device: str, address: str | None, workers: int | None, worker_gpus: float | None
) -> Iterator[tuple[Executor | None, tuple[str, ...], str]]:
    """The executor, the device of each worker, and where these are, in words."""
    if executor == "ray":
        from .ray_executor import RayExecutor

        with contextlib.closing(RayExecutor(address)) as found:
            devices = found.place(device, workers, 1.0 if worker_gpus is None else worker_gpus, threads_of(plan))
            yield found, devices, found.where
        return
    for option, value in {"--address": address, "--workers": workers, "--worker-gpus": worker_gpus}.items():
        if value is not None:
            raise ValueError(
                f"{option} {value}: expected --executor ray with it; --device is for this machine's workers"
            )
    yield None, devices_of(device, plan), "this machine"


def write_report(store: Store | Path, study: str, folder: Path, *others: str) -> list[str]:
    """Write the report of a stored study, or two studies side by side; the files, by their paths.

    Each may be in another store, as ``STORE:STUDY``; a store given as a folder is opened only where a word names none.
    """
    from . import report

    if not others:
        return list(map(str, report.write(*_located(store, study), folder)))
    if len(others) > 1:
        raise ValueError(f"report {study} {' '.join(others)}: expected one study, or two to stand side by side")
    first, second = (_located(store, word) for word in (study, *others))
    return list(map(str, report.write_beside(first, second, folder)))


def _located(store: Store | Path, word: str) -> tuple[Store, str]:
    """The store and the study of ``STUDY``, or of ``STORE:STUDY``."""
    from .store import Store

    root, _, name = word.rpartition(":")
    where = Path(root) if root else store
    found = Store.open(where, create=False) if isinstance(where, Path) else where
    check_tasks(found, name)
    return found, name


def said_of(files: list[str]) -> list[str]:
    """What a person is told of a report: its files, what figures as PDF need, and how methods compare."""
    from .report import METHODS

    found = [Path(file) for file in files if Path(file).name == METHODS]
    endings = {Path(file).suffix for file in files}
    without = ["figures as PDF need one more package: pip install 'xstilts[pdf]'"]
    without *= ".svg" in endings and ".pdf" not in endings
    return [*files, *without, *(line for file in found for line in file.read_text().splitlines())]
