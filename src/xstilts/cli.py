"""The command line: tasks | plan | run | status | report | rescore | fetch | store."""

from __future__ import annotations

import inspect
import itertools
import os
import re
import sys
import types
import typing
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from .spec import one_of

if typing.TYPE_CHECKING:
    from .store import Store
    from .study import Plan, Sources

DEFAULT_STORE = Path("store")

app = typer.Typer(
    name="xstilts",
    help="Train multilingual encoders on English intermediate tasks and score them zero-shot.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(help="Move finished stages between stores.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store_app, name="store")

StudyArgument = Annotated[
    str,
    typer.Argument(help="A built-in study, or a Python file with a study function (FILE.py or FILE.py:FUNCTION)."),
]
StoredStudy = Annotated[
    str | None,
    typer.Argument(help="A study that was run, by its name or its Python file; all of them when left out."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Argument(help="The study's parameters as NAME=VALUE; lists as a,b,c; whole numbers also as 0..4."),
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


def main() -> None:
    """Run the command line; a refused input is one message on standard error and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"xstilts: {error}", file=sys.stderr)
        sys.exit(2)


@app.command("tasks")
def tasks_command(data: DataOption = None) -> None:
    """List the declared tasks, and whether their rows are on this machine.

    Example: xstilts tasks --data ~/benchmarks
    """
    from . import tasks

    _checked_data(data)
    print(f"{'name':22} {'kind':9} {'rows':>8} {'languages':>9}  here  licence")
    for name in tasks.names():
        task = tasks.find(name)
        splits = list(task.splits)
        present = [
            any(tasks.available(task, split, code, data) for code in task.languages_of(split)) for split in splits
        ]
        here = "yes" if all(present) else "part" if any(present) else "no"
        size = f"{task.official_size:,}" if task.official_size else "-"
        print(f"{name:22} {task.kind.name:9} {size:>8} {len(task.languages):>9}  {here:4}  {task.licence}")


@app.command("plan")
def plan_command(
    study: StudyArgument,
    parameters: Parameters = None,
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
    cache: CacheOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Name every stage, not only the first few.")] = False,
) -> None:
    """Print what a study would run, what is stored already, and why each stage runs.

    Example: xstilts plan scaling encoder=offline tasks=mnli@sample,snli@sample k=0..2 --data ~/benchmarks
    """
    from .store import Store
    from .study import explain, label

    found = _plan(study, parameters, data, cache)
    opened = Store.open(store, create=False) if (store / "format.json").is_file() else None
    todo = found.todo(opened.exists, opened.usable) if opened else dict.fromkeys(found.stages, "run")
    kinds: dict[str, list[str]] = {}
    for id, stage in found.stages.items():
        kinds.setdefault(stage.kind, []).append(id)
    print(f"{found.study}: {len(found.stages)} stages for {len(found.leaves)} leaves")
    for kind, ids in kinds.items():
        stored = sum(bool(opened and opened.exists(id)) for id in ids)
        print(f"  {kind:9} {len(ids):5} in all, {stored:5} stored, {sum(id in todo for id in ids):5} to run")
    declarations = {record["id"]: record["declaration"] for record in opened.records()} if opened and todo else {}
    shown = 0
    for id, what in todo.items():
        stage = found.stages[id]
        above = next((other.id for other in stage.inputs if other.id in todo), None)
        if above is not None and not verbose:
            continue
        shown += 1
        if shown > 20 and not verbose:
            print(f"  ... and more; --verbose names all {len(todo)}")
            break
        if what == "remake":
            why = "its weights were dropped and are needed again"
        elif above is not None:
            why = f"its input {above} runs"
        else:
            why = explain(stage, declarations)
        print(f"  {id}  {label(stage)}: {why}")


@app.command("run")
def run_command(
    study: StudyArgument,
    parameters: Parameters = None,
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
    cache: CacheOption = None,
    device: Annotated[
        str, typer.Option(help="auto, or devices with one worker each: cpu, cpu,cpu, cuda:0,cuda:1 ...")
    ] = "auto",
    keep: Annotated[str, typer.Option(help="Weights to keep: all, or none once nothing reads them.")] = "all",
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Least time between two checkpoints of a training; 0 is every step.")
    ] = 120.0,
    report: Annotated[Path | None, typer.Option(help="Write the report here when the study is done.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Run a study; what is done already is not done again, and a stopped run goes on where it was.

    Exit codes: 0 every measurement exists, 1 a stage failed, 2 refused before anything ran, 130 stopped by Ctrl-C.

    Example: xstilts run scaling encoder=offline tasks=mnli@sample,snli@sample k=0..2 --data ~/benchmarks
    """
    from .progress import view_for
    from .run import KEEP, Settings, run
    from .store import Store

    one_of("--keep", keep, KEEP)
    found = _plan(study, parameters, data, cache)
    settings = Settings(
        data_dir=data,
        cache_dir=_cache(cache),
        devices=_devices(device, found),
        checkpoint_seconds=checkpoint_seconds,
        keep=keep,
        study_file=_study_file(study),
    )
    opened = Store.open(store)
    opened.write_plan(found.study, found.document())
    outcome = run(found, opened, settings, view_for(sys.stderr, quiet=quiet))
    for id, what in outcome.failed.items():
        print(f"xstilts: {id} failed: {what}", file=sys.stderr)
    if report is not None and not outcome.interrupted:
        _report(opened, found.study, report, quiet=quiet)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


@app.command("status")
def status_command(
    study: StoredStudy = None,
    store: StoreOption = DEFAULT_STORE,
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte against its checksum.")] = False,
) -> None:
    """Say what is done, running and failed; with --verify, exit with 1 and name the stage if any byte changed.

    Example: xstilts status scaling --verify
    """
    from .store import Store

    opened = Store.open(store, create=False)
    for name in [_name(study)] if study else opened.plans():
        stages = opened.plan(name)["stages"]
        missing = [id for id in stages if not opened.exists(id)]
        print(f"{name}: {len(stages) - len(missing)} of {len(stages)} stages done")
        for id in missing:
            if opened.is_claimed(id):
                print(f"  running {id}  {stages[id]['label']}: {opened.holder(id)}")
            elif failures := opened.failures(id):
                print(f"  failed  {id}  {stages[id]['label']}: {failures[-1]}")
    if verify:
        problems = opened.verify()
        for problem in problems:
            print(problem)
        print(f"verified {len(opened.ids())} stages: " + (f"{len(problems)} problems" if problems else "all intact"))
        if problems:
            raise typer.Exit(1)


@app.command("report")
def report_command(
    study: Annotated[str, typer.Argument(help="A study that was run, by its name or its Python file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("report"),
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write rows (Parquet, CSV), tables (Markdown) and the curve of retrieval against k (SVG).

    Example: xstilts report scaling --out report
    """
    from .store import Store

    _report(Store.open(store, create=False), _name(study), out, quiet=False)


@app.command("rescore")
def rescore_command(study: StoredStudy = None, store: StoreOption = DEFAULT_STORE) -> None:
    """Score every stored measurement with the present metrics; predictions are read, nothing is run again.

    Example: xstilts rescore --store store
    """
    from .scoring import rescore
    from .store import Store

    opened = Store.open(store, create=False)
    wanted = [id for id in opened.plan(_name(study))["stages"] if opened.exists(id)] if study else opened.ids()
    measurements = [id for id in wanted if opened.record(id)["kind"] == "evaluate"]
    added = rescore(opened, measurements)
    print(f"{len(measurements)} measurements, {sum(map(len, added.values()))} new scores")


@app.command("fetch")
def fetch_command(
    names: Annotated[list[str], typer.Argument(help="Tasks, or encoders as HUB/NAME or HUB/NAME@REVISION.")],
) -> None:
    """Download tasks and encoders from the Hugging Face hub; the only command that uses the network.

    Example: xstilts fetch xnli FacebookAI/xlm-roberta-base
    """
    from . import tasks

    for name in names:  # all of them, before the first download
        if "/" not in name:
            tasks.find(name)
    for name in names:
        if "/" in name:
            from .hub import download_encoder

            repository, _, revision = name.partition("@")
            print(f"{name}: {download_encoder(repository, revision or 'main')}")
        else:
            files = tasks.download(tasks.find(name))
            print(f"{name}: {len(files)} files")


@store_app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(help="Folder to write; a store of its own.")],
    study: Annotated[str | None, typer.Option(help="Only the stages of this study.")] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="With weights; records and predictions only otherwise.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy finished stages out of a store, with their plans.

    Example: xstilts store export /mnt/share/results --study scaling
    """
    from .store import Store

    opened = Store.open(store, create=False)
    plans = [study] if study else opened.plans()
    ids = [id for id in opened.plan(study)["stages"] if opened.exists(id)] if study else opened.ids()
    count = opened.export(target, ids, weights)
    other = Store.open(target)
    for name in plans:
        other.write_plan(name, opened.plan(name))
    print(f"{count} stages exported to {target}")


@store_app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="A folder that `store export` wrote.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Take finished stages into a store; each is verified, nothing is overwritten.

    Example: xstilts store import /mnt/share/results
    """
    from .store import Store

    other = Store.open(source, create=False)
    opened = Store.open(store)
    taken = opened.import_from(source)
    known = set(opened.plans())
    for name in other.plans():
        if name not in known:
            opened.write_plan(name, other.plan(name))
    print(f"{len(taken.added)} added, {len(taken.completed)} completed, {len(taken.already)} already there")
    for problem in taken.refused:
        print(f"refused {problem}", file=sys.stderr)
    if taken.refused:
        raise typer.Exit(1)


def _report(store: Store, study: str, folder: Path, *, quiet: bool) -> None:
    from . import report

    for path in report.write(store, study, folder):
        if not quiet:
            print(path)


def _cache(given: Path | None) -> Path:
    return given or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xstilts"


def _checked_data(data: Path | None) -> None:
    if data is not None and not data.is_dir():
        raise ValueError(f"--data {data}: expected a folder of data sets")


def _study_file(study: str) -> Path | None:
    path = study.partition(":")[0]
    return Path(path) if path.endswith(".py") else None


def _study(study: str) -> tuple[str, Callable[..., Any]]:
    """The name and the function of a study; a user's file is imported, with the tasks it declares."""
    from .run import load_study_file
    from .studies import STUDIES

    path = _study_file(study)
    if path is None:
        one_of("study", study, STUDIES)
        return study, STUDIES[study]
    module = load_study_file(path)
    functions = {
        name: function
        for name, function in vars(module).items()
        if inspect.isgeneratorfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
    }
    wanted = study.partition(":")[2] or (next(iter(functions)) if len(functions) == 1 else path.stem)
    one_of(f"study function of {path}", wanted, functions)
    return wanted, functions[wanted]


def _name(study: str) -> str:
    """The name under which a study's plan is stored."""
    return _study(study)[0] if _study_file(study) else study


def _plan(study: str, given: list[str] | None, data: Path | None, cache: Path | None) -> Plan:
    from .study import Sources, make_plan

    _checked_data(data)
    name, function = _study(study)
    values = _parse(function, name, given or [])
    sources: Sources = Sources(data, _cache(cache))
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    parameters = {key: _spell(value) for key, value in (defaults | values).items()}
    return make_plan(name, function(**values), sources, parameters)


def _parse(function: Callable[..., Any], name: str, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE words as the study function's own types.

    Raises:
        ValueError: for a word without ``=``, an unknown parameter (with the near names), a value that does not fit,
            or a parameter without a default that is not given.
    """
    hints = typing.get_type_hints(function)
    declared = inspect.signature(function).parameters
    known = list(declared)
    values: dict[str, Any] = {}
    for word in given:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(
                f"{word!r}: expected NAME=VALUE with a parameter of the study {name!r}: {', '.join(known)}"
            )
        one_of(f"parameter of the study {name!r}", key, known)
        if key in values:
            raise ValueError(f"the parameter {key!r} is given twice")
        try:
            values[key] = _value(text, hints.get(key, str))
        except ValueError as error:
            raise ValueError(f"{key}={text}: {error}") from None
    if lacking := [key for key in known if declared[key].default is inspect.Parameter.empty and key not in values]:
        raise ValueError(f"the study {name!r} needs a value for {', '.join(lacking)}: expected NAME=VALUE for each")
    return values


def _value(text: str, hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        words = [word for word in text.split(",") if word]
        if not words:
            raise ValueError("expected one value or more, separated by commas")
        if inner is int:
            return tuple(number for word in words for number in _numbers(word))
        return tuple(_value(word, inner) for word in words)
    if hint is bool:
        one_of("value", text, ("true", "false"))
        return text == "true"
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"expected a {'whole ' if hint is int else ''}number") from None
    return text


def _numbers(word: str) -> list[int]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", word)
    if span and int(span[1]) <= int(span[2]):
        return list(range(int(span[1]), int(span[2]) + 1))
    if not re.fullmatch(r"-?\d+", word):
        raise ValueError("expected whole numbers like 0,2,5 or 0..4")
    return [int(word)]


def _spell(value: Any) -> str:
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _devices(given: str, plan: Plan) -> tuple[str, ...]:
    """One entry for each worker: every GPU, or as many CPU workers as cores allow for the stages' threads."""
    if given != "auto":
        names = tuple(name.strip() for name in given.split(","))
        for name in names:
            if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
                raise ValueError(f"--device {given}: expected auto, cpu, cuda or cuda:N, separated by commas")
        return names
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(p.name for p in Path("/dev").glob("nvidia[0-9]*")))
    # CUDA itself stops at the first negative number; a CPU build of torch sees none
    gpus = list(itertools.takewhile(lambda name: name and name[0] != "-", visible.split(",")))
    if gpus and not version("torch").endswith("+cpu"):
        return tuple(f"cuda:{number}" for number in range(len(gpus)))
    from .stage import Evaluate, Train

    num_threads = max(stage.num_threads for stage in plan.stages.values() if isinstance(stage, (Train, Evaluate)))
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ("cpu",) * max(1, num_cores // num_threads)
