"""Where a run's numbers go beside the store: TensorBoard, Weights & Biases, MLflow, Trackio; nothing comes back."""

from __future__ import annotations

import contextvars
import importlib.util
import json
import math
import multiprocessing
import os
import queue
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from .ending import complain, said
from .executor import without_interrupts
from .run import FOUND, Outcome, Settings, View
from .spec import one_of
from .stage import Encoder, Evaluate, Merge, Stage, Train, label, root
from .store import Store
from .study import Plan, Todo
from .untrusted import parsed, redacted

END_SECONDS = 120.0
"""How long a run waits at its end for a sink to write what it still has."""
_PARENT_SECONDS = 1.0
_MAX_TEXT = 500  # characters of a value of a configuration that every tracker takes
_MLFLOW_METRICS, _MLFLOW_PARAMETERS = 1000, 100  # what its server takes at once
_NOT_MLFLOW = re.compile(r"[^\w.\-/ ]")  # such as the @ of a slice: a name with it is refused
_LOG = "log.jsonl"

Point = tuple[int, dict[str, float]]


class Sink(NamedTuple):
    """A tracker's open run: takes the values of a step, in any order of steps, until it is closed."""

    scalar: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]


Open = Callable[[str, Mapping[str, Any]], Sink]
"""Opens a tracker's run by its name and configuration."""


@dataclass(frozen=True)
class Track:
    """A tracker and where it writes: a folder, a project or an address; its own default where that is empty."""

    name: str
    where: str = ""


def parse(words: str) -> tuple[Track, ...]:
    """Read ``tensorboard:DIR,wandb:PROJECT,mlflow:URI,trackio:PROJECT``; what follows a name may be left out.

    Raises:
        ValueError: for an unknown name, one that is given twice, or a package that is not installed.
    """
    found: list[Track] = []
    for word in words.split(","):
        name, _, where = word.partition(":")
        one_of("tracker of --track", name, TRACKERS)
        if name in (track.name for track in found):
            raise ValueError(f"--track: {name} is given twice")
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"--track {name}: its package is not installed: pip install 'xstilts[{name}]'")
        found.append(Track(name, where))
    return tuple(found)


# -- the trackers, each in a process of its own -----------------------------------------------------------------------


def _tensorboard(where: str, study: str) -> Open:
    """Event files and the configuration in ``DIR/STUDY/STAGE``, DIR being ``runs`` unless it is given."""
    from tensorboard.summary import Writer

    def opened(name: str, config: Mapping[str, Any]) -> Sink:
        folder = Path(where or "runs") / study / config["stage"]
        writer = Writer(str(folder))
        (folder / "config.json").write_text(json.dumps({"name": name, **config}, indent=1) + "\n")

        def scalar(step: int, values: Mapping[str, float]) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)

        return Sink(scalar, writer.close)

    return opened


def _wandb(where: str, study: str) -> Open:
    """A run of ``[ENTITY/]PROJECT``, ``xstilts`` unless it is given, in the study's group; nothing of the machine."""
    import wandb

    entity, _, project = where.rpartition("/")
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )

    def opened(name: str, config: Mapping[str, Any]) -> Sink:
        run = wandb.init(
            entity=entity or None,
            project=project or "xstilts",
            group=study,
            name=name,
            config=dict(config),
            reinit="create_new",
            settings=settings,
        )
        run.define_metric("*", step_metric="step")  # its own steps must not go back

        def scalar(step: int, values: Mapping[str, float]) -> None:
            run.log({**values, "step": step})

        return Sink(scalar, run.finish)

    return opened


def _mlflow(where: str, study: str) -> Open:
    """A run of the experiment of the study's name, at a tracking URI; MLflow's own choice unless it is given."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # of 7, which take minutes
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient
    from mlflow.utils.time import get_current_time_millis

    client = MlflowClient(tracking_uri=where or None)
    known = client.get_experiment_by_name(study)
    experiment = known.experiment_id if known else client.create_experiment(study)

    def opened(name: str, config: Mapping[str, Any]) -> Sink:
        run = client.create_run(experiment, run_name=name).info.run_id
        parameters = [Param(key, str(value)) for key, value in config.items()]
        for start in range(0, len(parameters), _MLFLOW_PARAMETERS):
            client.log_batch(run, params=parameters[start : start + _MLFLOW_PARAMETERS])
        waiting: list[Metric] = []

        def flush() -> None:
            for start in range(0, len(waiting), _MLFLOW_METRICS):
                client.log_batch(run, metrics=waiting[start : start + _MLFLOW_METRICS])
            waiting.clear()

        def scalar(step: int, values: Mapping[str, float]) -> None:
            now = get_current_time_millis()
            waiting.extend(Metric(_NOT_MLFLOW.sub("-", key), value, now, step) for key, value in values.items())
            if len(waiting) >= _MLFLOW_METRICS:
                flush()

        def close() -> None:
            flush()
            client.set_terminated(run)

        return Sink(scalar, close)

    return opened


def _trackio(where: str, study: str) -> Open:
    """A run of a project, ``xstilts`` unless it is given, in the study's group; local unless its variables say else."""
    import trackio

    def opened(name: str, config: Mapping[str, Any]) -> Sink:
        # It ends the run that its context has open, and several are: each has a context of its own.
        run = contextvars.Context().run(
            trackio.init,
            where or "xstilts",
            name=f"{name} [{config['stage']}]",
            group=study,
            config=dict(config),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

        def scalar(step: int, values: Mapping[str, float]) -> None:
            run.log(dict(values), step=step)

        return Sink(scalar, run.finish)

    return opened


TRACKERS: dict[str, Callable[[str, str], Open]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}


def _serve(track: Track, study: str, messages: Any, failure: Connection) -> None:
    """A tracker's process: does what the driver's messages say, until the last one, a failure or the driver's end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group, it is the driver's to handle
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what trackers print is no part of the command's answer
        os.dup2(silent, stream)
    parent = multiprocessing.parent_process()
    assert parent is not None
    open_runs: dict[str, Sink] = {}
    try:
        opener = TRACKERS[track.name](track.where, study)
        while True:
            try:
                id, name, config, points = messages.get(timeout=_PARENT_SECONDS)
            except queue.Empty:
                if parent.is_alive():
                    continue
                break
            if not id:
                break
            if name and id not in open_runs:
                open_runs[id] = opener(name, config)
            for step, values in points:
                open_runs[id].scalar(step, values)
            if not name and id in open_runs:
                open_runs.pop(id).close()
        for sink in open_runs.values():
            sink.close()
    except BaseException as error:  # whatever a tracker and the network below it raise; some end the interpreter
        failure.send(" ".join(said(error).split())[:_MAX_TEXT])


# -- the driver's side ------------------------------------------------------------------------------------------------


class _Outlet:
    """The driver's end of one tracker: never waits but at the end, and says once that it failed."""

    def __init__(self, track: Track, study: str) -> None:
        self.track, self.failed = track, False
        context = multiprocessing.get_context("spawn")
        self.messages = context.Queue()  # unbounded, and filled by a thread: whoever puts does not wait
        self.failure, theirs = context.Pipe(duplex=False)
        arguments = (track, study, self.messages, theirs)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with without_interrupts():
            self.process.start()
        theirs.close()

    def put(self, id: str, name: str, config: Mapping[str, Any], points: Sequence[Point]) -> None:
        """Values of a model's run, opened if need be; without a ``name`` it is closed, without an ``id`` all is."""
        if not self.failed:
            self.messages.put((id, name, config, points))

    def check(self, *, ends: bool = False) -> None:
        """Say once what its process failed of; one that ``ends`` may be gone."""
        gone = not self.process.is_alive()
        if self.failed or not (gone or self.failure.poll()):
            return
        try:
            self.fail(self.failure.recv())
        except (EOFError, OSError):  # it said nothing
            if not ends or self.process.exitcode:
                self.fail(f"its process ended with code {self.process.exitcode}")

    def fail(self, why: str) -> None:
        """Give up: the run and its numbers do not depend on it."""
        self.failed = True
        complain(f"warning: --track {self.track.name} failed and is left out from here; the run goes on: {why}")

    def end(self, deadline: float) -> None:
        """Wait until it has written what it still has, by the clock of `time.monotonic` no longer than a deadline."""
        if not self.failed:
            self.process.join(max(0.0, deadline - time.monotonic()))
            if self.process.is_alive():
                self.fail(f"it did not end in {END_SECONDS:g} s")
            self.check(ends=True)
        self.messages.cancel_join_thread()
        self.process.kill()
        self.process.join()


class Tracked:
    """A view that shows what another one shows, and tells trackers what the stages of a run have stored.

    A model is one run of a tracker: a training's losses, learning rates and tokens by step, its dev scores and its
    tokens/s, all when it is done, so that a stage that was stopped and went on gives every step once; and the values
    of its measurements, each at the step of its hidden layer, or 0. Only what this run has done is told.
    """

    def __init__(self, view: View, store: Path, tracks: Sequence[Track]) -> None:
        self._view, self._root, self._tracks = view, store, tracks
        self._outlets: list[_Outlet] = []
        self._study = ""
        self._todo: dict[str, Todo] = {}
        self._left: Counter[str] = Counter()
        self._lost: set[str] = set()

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """The run starts."""
        self._study, self._todo = plan.study, dict(todo)
        self._left = Counter(model.id for id in todo if (model := _model(plan.stages[id])) is not None)
        for track in self._tracks if self._left else ():
            try:
                self._outlets.append(_Outlet(track, plan.study))
            except OSError as error:
                complain(f"warning: --track {track.name} cannot start and is left out: {said(error)}")
        self._view.begin(plan, todo, settings)

    def started(self, slot: int, stage: Stage) -> None:
        """A stage starts on a slot."""
        self._view.started(slot, stage)

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """A stage moves on."""
        self._view.progress(slot, stage, progress)

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """A stage ended."""
        self._view.ended(slot, stage, how, note)
        model = _model(stage)
        if how == "lost":
            self._lost.add(stage.id)
        if model is None or how not in ("done", "failed"):
            return
        ours = note != FOUND or stage.id in self._lost  # a worker may die as soon as it has published
        if how == "done" and ours and self._todo[stage.id] == "run":
            try:
                points = list(points_of(Store.open(self._root, create=False), stage))
            except (OSError, ValueError, LookupError, TypeError) as error:
                complain(f"warning: --track: {stage.id} is left out: {said(error)}")
            else:
                self._put(model.id, label(model), config_of(self._study, model), points)
        self._left[model.id] -= 1
        if not self._left[model.id]:
            self._put(model.id, "", {}, ())

    def tick(self) -> None:
        """Time passed."""
        for outlet in self._outlets:
            outlet.check()
        self._view.tick()

    def stopping(self) -> None:
        """The user asked to stop."""
        self._view.stopping()

    def end(self, outcome: Outcome) -> None:
        """The run is over."""
        self._put("", "", {}, ())
        deadline = time.monotonic() + END_SECONDS
        for outlet in self._outlets:
            outlet.end(deadline)
        self._view.end(outcome)

    def _put(self, id: str, name: str, config: Mapping[str, Any], points: Sequence[Point]) -> None:
        for outlet in self._outlets:
            outlet.put(id, name, config, points)


def _model(stage: Stage) -> Stage | Encoder | None:
    """The model that a stage makes or measures, ``None`` of one that trackers are not told of."""
    if isinstance(stage, Evaluate):
        return stage.model
    return stage if isinstance(stage, (Train, Merge)) else None


def config_of(study: str, model: Stage | Encoder) -> dict[str, Any]:
    """Who a model is, for a tracker: study, id, label, encoder, and its declaration by dotted names; no data."""
    declared = model.declaration() if isinstance(model, Stage) else {"kind": "encoder"}
    known = {"study": study, "stage": model.id, "label": label(model), "encoder": root(model).name}
    flat = redacted(known | dict(_flat({key: value for key, value in declared.items() if key != "data"})))
    return {key: value[:_MAX_TEXT] if isinstance(value, str) else value for key, value in flat.items()}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield path, ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
    elif value is not None:
        yield path, value


def points_of(store: Store, stage: Stage) -> Iterator[Point]:
    """The steps and values of a stored stage: of a training its log, of a measurement its scores.

    Raises:
        ValueError: for a stage that is not stored or whose documents are broken.
    """
    if isinstance(stage, Evaluate):
        yield from _scores(store, stage)
    elif isinstance(stage, Train):
        last = 0
        for line in (store.folder(stage.id) / _LOG).read_bytes().splitlines():
            step, values = _logged(parsed(line))
            last = max(last, step)
            yield step, values
        yield last, {"train/tokens_per_second": store.record(stage.id)["result"]["tokens_per_second"]}


def _logged(line: Mapping[str, Any]) -> Point:
    """A line of a training's log: an optimisation step, or an evaluation on dev rows."""
    if "dev" not in line:
        return line["step"], {f"train/{name}": line[name] for name in ("loss", "learning_rate", "tokens")}
    return line["step"], {
        f"dev/{task}/{name}": value
        for task, values in line["dev"].items()
        for name, value in values.items()
        if isinstance(value, float) and math.isfinite(value)
    }


def _scores(store: Store, stage: Evaluate) -> Iterator[Point]:
    """``TASK/SPLIT/LANGUAGE/METRIC``, with pooling and direction of retrieval, at its layer or step 0."""
    to = f" to {stage.translated.target}" if stage.translated else ""
    by_layer: dict[int, dict[str, float]] = {}
    for score in store.scores(stage.id).values():
        for value in score["values"]:
            place = [value[name].replace("->", "-to-") for name in ("pooling", "direction") if name in value]
            language = value.get("language", stage.language) + to
            name = "/".join((stage.task, stage.split, language, score["metric"], *place))
            by_layer.setdefault(value.get("layer", 0), {})[name] = value["value"]
    yield from sorted(by_layer.items())
