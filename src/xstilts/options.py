"""What commands share: arguments, options, what a shell completes for them, and the checks of their values."""

from __future__ import annotations

import itertools
import os
import re
import typing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

if typing.TYPE_CHECKING:
    from .store import Store
    from .study import Plan
    from .tasks import Task

DEFAULT_STORE = Path("store")

# -- what a shell completes -------------------------------------------------------------------------------------------


def studies_like(incomplete: str) -> list[str]:
    """Names of built-in studies."""
    from .studies import STUDIES

    return [name for name in STUDIES if name.startswith(incomplete)]


def parameters_like(ctx: typer.Context, incomplete: str) -> list[str]:
    """``NAME=``; the only one is offered with its default too, so that the shell puts no space behind it."""
    from .named import described, find_study, study_file

    words = re.sub(" = ?", "=", " ".join(ctx.params.get("parameters") or ())).split()  # bash splits them at =
    given = [word.partition("=")[0] for word in words]
    try:
        asked_for_a_value = words and not words[-1].partition("=")[2]
        if asked_for_a_value or study_file(ctx.params["study"]):  # a file of one's own is not run for this
            return []
        known = described(find_study(ctx.params["study"])[1])
    except (KeyError, TypeError, ValueError):
        return []
    found = [one for one in known if f"{one.name}=".startswith(incomplete) and one.name not in given]
    last = [f"{found[0].name}={found[0].default}"] if len(found) == 1 and found[0].default else []
    return [f"{one.name}=" for one in found] + last


def plans_like(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the studies that the store has plans of."""
    from .store import Store

    try:
        plans = Store.open(ctx.params.get("store") or DEFAULT_STORE, create=False).plans()
    except (OSError, ValueError):
        return []
    return [name for name in plans if name.startswith(incomplete)]


def tasks_like(incomplete: str) -> list[str]:
    """Names of tasks."""
    from . import tasks

    return [name for name in tasks.names() if name.startswith(incomplete)]


def fetchable_like(incomplete: str) -> list[str]:
    """Names of tasks that the hub has."""
    from . import tasks

    found = tasks_like(incomplete)
    return [name for name in found if any(isinstance(source, tasks.Hub) for source in tasks.find(name).sources)]


def trackers_like(incomplete: str) -> list[str]:
    """Names of trackers."""
    from .sinks import TRACKERS

    return [name for name in TRACKERS if name.startswith(incomplete)]


# -- arguments and options that commands share ------------------------------------------------------------------------

StudyArgument = Annotated[
    str,
    typer.Argument(
        help="A built-in study, or a Python file with a study function (FILE.py or FILE.py:FUNCTION).",
        autocompletion=studies_like,
    ),
]
StoredStudy = Annotated[
    str | None,
    typer.Argument(
        help="A study that was run, by its name or its Python file; all of them when left out.",
        autocompletion=plans_like,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Argument(
        help="The study's parameters as NAME=VALUE; lists as a,b,c; whole numbers also as 0..4. "
        "`xstilts studies STUDY` lists them.",
        autocompletion=parameters_like,
    ),
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of finished stages.", envvar="XSTILTS_STORE")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of data sets in their release formats.", envvar="XSTILTS_DATA"),
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder for tokenised data, hashes and converted encoders.", envvar="XSTILTS_CACHE"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


# -- checked values ---------------------------------------------------------------------------------------------------


def cache_folder(given: Path | None) -> Path:
    """The folder of what can be made again: the one given, or the user's own."""
    check_folder("--cache", given)
    return given or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xstilts"


def check_folder(option: str, path: Path | None) -> None:
    """Refuse, with a `ValueError`, a file where a folder is to be written."""
    if path is not None and path.exists() and not path.is_dir():
        raise ValueError(f"{option} {path}: it is a file; expected a folder, there or not")


def check_data(data: Path | None) -> None:
    """Refuse, with a `ValueError`, a data folder that is not there."""
    if data is not None and not data.is_dir():
        raise ValueError(f"--data {data}: expected a folder of data sets")


def stored_name(study: str) -> str:
    """The name under which a study's plan is stored; a Python file is imported, with the tasks it declares."""
    from .named import find_study, study_file

    return find_study(study)[0] if study_file(study) else study


def check_tasks(store: Store, study: str) -> None:
    """Refuse, with a `ValueError`, a stored study of tasks that only the Python file it came from declares."""
    from . import tasks

    for stage in store.plan(study)["stages"].values():
        task = stage["declaration"].get("task")
        if task not in (None, *tasks.names()):
            raise ValueError(
                f"the study {study!r} measures {task!r}, a task that its own Python file declares: "
                f"expected FILE.py:{study} in place of {study}"
            )


def task_of(name: str) -> Task:
    """The task of a name, or of ``FILE.py:TASK``: one that a user's own study file declares.

    Raises:
        ValueError: for an unknown one, with the near names.
    """
    from . import tasks
    from .named import load_study_file, study_file

    file = study_file(name)
    if file is None:
        return tasks.find(name)
    load_study_file(file)
    return tasks.find(name.partition(":")[2])


def plan_of(study: str, given: list[str] | None, data: Path | None, cache: Path | None) -> Plan:
    """The plan of a study and its NAME=VALUE words; `ValueError` for all that cannot work."""
    from .named import defaults, find_study, leaves, parse, spelled
    from .study import Sources, make_plan

    check_data(data)
    name, function = find_study(study)
    values = parse(function, name, given or [])
    parameters = {key: spelled(value) for key, value in (defaults(function) | values).items()}
    return make_plan(name, leaves(study, function, values), Sources(data, cache_folder(cache)), parameters)


def devices_of(given: str, plan: Plan, *, here: bool = True) -> tuple[str, ...]:
    """One entry for each worker: every GPU, or as many CPU workers as cores allow for the stages' threads.

    Those that are named must be on this machine, unless not ``here``.
    """
    if given != "auto":
        names = tuple(name.strip() for name in given.split(","))
        each = [name for together in names for name in together.split("+")]
        for name in each:
            if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
                raise ValueError(
                    f"--device {given}: expected auto, cpu, cuda or cuda:N, separated by commas, or by + where they do "
                    "one training together"
                )
        for together in (name.split("+") for name in names):
            different = {name for name in together if name.startswith("cuda:")}
            if len(together) > 1 and set(together) != {"cpu"} and len(different) < len(together):
                raise ValueError(f"--device {given}: expected cpu+cpu, or different GPUs, such as cuda:0+cuda:1")
        if here and set(each) != {"cpu"}:
            from .engine import check_devices

            check_devices(each)
        return names
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(p.name for p in Path("/dev").glob("nvidia[0-9]*")))
    # CUDA itself stops at the first negative number; a CPU build of torch sees none
    gpus = list(itertools.takewhile(lambda name: name and name[0] != "-", visible.split(",")))
    if gpus and not version("torch").endswith("+cpu"):
        return tuple(f"cuda:{number}" for number in range(len(gpus)))
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ("cpu",) * max(1, num_cores // threads_of(plan))


def check_shard(shard: bool, devices: tuple[str, ...], plan: Plan) -> None:
    """Refuse, with a `ValueError`, to divide layers where no devices are joined, or of a training that cannot be.

    What only the encoder itself shows is refused when its training starts.
    """
    from .stage import Train, label

    if not shard:
        return
    alone = [device for device in devices if "+" not in device]
    if alone:
        raise ValueError(
            f"--shard with a worker on {alone[0]} alone: expected joined devices, such as --device cuda:0+cuda:1"
        )
    for stage in plan.stages.values():
        if isinstance(stage, Train) and (problem := stage.recipe.shard_problem()):
            raise ValueError(f"--shard: {label(stage)}: {problem}; expected a run without it")


def threads_of(plan: Plan) -> int:
    """The most threads that a stage of the plan computes with on a CPU."""
    return max(getattr(stage, "num_threads", 1) for stage in plan.stages.values())
