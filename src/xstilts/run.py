"""Walks a plan: skips what is done, runs what is ready, blocks what a failure blocks; one process per device slot."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from .ending import complain, said
from .executor import Executor, Job, Local, Process
from .named import load_study_file
from .probes import Probe
from .provenance import code_state, record_of
from .stage import Evaluate, Stage, label
from .store import Store
from .study import Plan, Todo
from .watch import Patience, show_stack_on_request

KEEP = ("all", "none")
FOUND = "found done"
_MAX_STAGES_PER_WORKER = 500
_BUSY_SECONDS, _POLL_SECONDS = 0.5, 0.2


@dataclass(frozen=True)
class Settings:
    """Where and how stages run; none of it changes a number.

    Attributes:
        devices: a worker process for each entry: ``("cpu", "cpu")`` is two, ``cpu+cpu`` one whose trainings share both.
        keep: which weights stay: ``all``, or ``none`` once every stage that reads them is done.
        recompute_activations: whether a training's backward pass computes each layer again, to save memory.
        shard: whether the joined devices of a worker divide the layers of what they train.
        stall_seconds: a worker that gives no sign of work for so long is ended; see `watch`.
        retries: how often a stage is tried again whose worker was ended, died, or met damaged files of its own,
            and so when one of its ranks died.
        study_file: a user's study file, imported by every worker for the tasks it declares.
        where: the machines of the devices, in words.
        perform: ``module:function`` that does a stage; another one only in tests of the graph.
    """

    data_dir: Path | None
    cache_dir: Path
    devices: tuple[str, ...] = ("cpu",)
    checkpoint_seconds: float = 120.0
    keep: str = "all"
    recompute_activations: bool = False
    shard: bool = False
    stall_seconds: float = 1800.0
    retries: int = 2
    study_file: Path | None = None
    where: str = "this machine"
    perform: str = "xstilts.engine:perform"


@dataclass
class Outcome:
    """What a run did: ids done now, ids found done, failures with their log, and what they blocked."""

    done: list[str] = field(default_factory=list)
    found: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 when every leaf exists, 1 after a failure, 130 when stopped by Ctrl-C."""
        return 130 if self.interrupted else 1 if self.failed else 0


class View(Protocol):
    """Shows a run to a person; every call comes from the driver's thread."""

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """The run starts."""

    def started(self, slot: int, stage: Stage) -> None:
        """A stage starts on a slot."""

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """A stage moves on: ``step``, ``steps``, ``loss``, ``tokens_per_second`` as far as known."""

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """A stage is ``done``, ``failed``, ``lost`` (tried again), ``busy`` elsewhere or ``interrupted``."""

    def tick(self) -> None:
        """Time passed."""

    def stopping(self) -> None:
        """The user asked to stop."""

    def end(self, outcome: Outcome) -> None:
        """The run is over."""


@dataclass(eq=False)
class _Worker:
    slot: int
    device: str
    process: Process
    stage: Stage | None = None
    model: str = ""
    num_stages: int = 0


def run(plan: Plan, store: Store, settings: Settings, view: View, executor: Executor | None = None) -> Outcome:
    """Do what a plan still lacks; see `Settings`. Without an executor, the workers are processes of this machine.

    A stage that fails leaves its log in the store and blocks its descendants only. The first Ctrl-C lets
    every worker write a checkpoint and stop; a second one ends them at once. Running again goes on.

    Raises:
        ValueError: when no machine of the executor can do stages.
    """
    todo = plan.todo(store.exists, store.usable)
    outcome = Outcome(found=len(plan.stages) - len(todo))
    for id in store.working():
        if id in plan.stages and id not in todo and store.usable(id) and (claim := store.claim(id)) is not None:
            with claim:  # a run was killed between publishing this stage and clearing its work
                try:
                    _finish(plan.stages[id], store)
                except ValueError as error:
                    outcome.failed[id] = str(error)
    if settings.keep == "none":
        _drop_unread(plan.dependents(), store, todo)
    view.begin(plan, todo, settings)
    try:
        if todo:
            with _signals() as interrupts:
                _Driver(plan, store, settings, view, todo, outcome, interrupts, executor or Local()).run()
    finally:
        view.end(outcome)
    return outcome


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of raising in the middle of something."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: signal.signal(number, lambda n, _: received.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Driver:
    """The state of one run: what waits, what runs where, what came out."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        settings: Settings,
        view: View,
        todo: dict[str, Todo],
        outcome: Outcome,
        interrupts: list[int],
        executor: Executor,
    ) -> None:
        self.plan, self.store, self.settings, self.view = plan, store, settings, view
        self.todo, self.outcome, self.interrupts = dict(todo), outcome, interrupts
        self.dependents = plan.dependents()
        self.unfinished = dict(todo)  # ids not yet done, failed or blocked
        self.not_before: dict[str, float] = {}
        self.num_losses: Counter[str] = Counter()
        self.patience = Patience(settings.stall_seconds)
        self.stopping = False
        self.executor = executor
        executor.begin(Job(_worker, store.root, settings, code_state()))
        self.workers: list[_Worker] = []

    def run(self) -> None:
        """Keep every slot busy until nothing is left, or until told to stop."""
        devices = self.settings.devices[: len(self.todo)]
        try:
            self.workers = [self._start(slot, device) for slot, device in enumerate(devices)]
            while True:
                if self.interrupts and not self.stopping:
                    self.outcome.interrupted = self.stopping = True
                    self.executor.stop([worker.process for worker in self.workers])
                    self.view.stopping()
                if not self.stopping:
                    self._assign()
                running = [worker for worker in self.workers if worker.stage is not None]
                if not running and (self.stopping or not self.unfinished):
                    return
                if len(self.interrupts) > 1:
                    return
                processes = {worker.process: worker for worker in self.workers}
                for ready in self.executor.wait(list(processes), _POLL_SECONDS):
                    self._listen(processes[ready])
                self._end_stalled()
                self.view.tick()
        finally:
            for worker in self.workers:
                self._end(worker)

    def _start(self, slot: int, device: str) -> _Worker:
        return _Worker(slot, device, self.executor.start(device))

    def _assign(self) -> None:
        for worker in self.workers:
            if worker.stage is None and worker.process.ready() and (stage := self._next(worker)) is not None:
                worker.stage = stage
                worker.model = _model_id(stage)
                self.patience.gave(worker.slot, starting=not worker.num_stages)
                self.view.started(worker.slot, stage)
                worker.process.send((stage, self.todo[stage.id], time.monotonic()))

    def _next(self, worker: _Worker) -> Stage | None:
        """A ready stage: one whose model this worker has loaded, else the first in plan order."""
        taken = {other.stage.id for other in self.workers if other.stage is not None}
        now = time.monotonic()
        first = None
        for id in self.unfinished:
            stage = self.plan.stages[id]
            if id in taken or self.not_before.get(id, 0.0) > now:
                continue
            if any(other.id in self.unfinished for other in stage.inputs):
                continue
            if _model_id(stage) == worker.model:
                return stage
            first = first or stage
        return first

    def _listen(self, worker: _Worker) -> None:
        """Take a worker's messages; what a worker did that is gone without its last word is lost, and may fail."""
        try:
            for kind, *rest in worker.process.received():
                if worker.stage is None:
                    continue  # a sign that was on its way
                self.patience.heard(worker.slot)
                if kind == "progress":
                    self.view.progress(worker.slot, worker.stage, rest[0])
                elif kind != "sign":
                    self._ended(worker, kind, rest[0])
                    return
        except ValueError as error:  # its machine cannot do stages; others may
            self.workers.remove(worker)
            self._end(worker)
            if not self.workers:
                raise
            complain(str(error))
            return
        if died := worker.process.death():
            if worker.stage is None:
                self._replace(worker)
                return
            text = f"the worker process died ({died}); out of memory, or killed from outside"
            self._ended(worker, "lost", text + _logged(self.store, worker.stage, text))

    def _end_stalled(self) -> None:
        """End every worker that has given no sign of work for too long."""
        late = self.patience.overdue()
        for worker in [worker for worker in self.workers if worker.slot in late]:
            assert worker.stage is not None
            text = f"no sign of work for {self.settings.stall_seconds:.0f} s: the worker process was ended"
            stack = worker.process.stack()
            self._ended(worker, "lost", text + _logged(self.store, worker.stage, f"{text}; it was here:\n{stack}"))

    def _ended(self, worker: _Worker, how: str, note: str) -> None:
        stage = worker.stage
        assert stage is not None
        worker.stage = None
        worker.num_stages += 1
        self.patience.ended(worker.slot)
        self.num_losses[stage.id] += how == "lost"
        gone = how == "lost"
        if gone and self.num_losses[stage.id] > self.settings.retries:
            how = "failed"
        self.view.ended(worker.slot, stage, how, note)
        if how == "busy":
            self.not_before[stage.id] = time.monotonic() + _BUSY_SECONDS
        elif how == "done":
            del self.unfinished[stage.id]
            self.outcome.done.append(stage.id)
            if self.settings.keep == "none":
                _drop_unread({i.id: self.dependents[i.id] for i in stage.inputs}, self.store, self.unfinished)
        elif how == "failed":
            self.outcome.failed[stage.id] = note
            self._block(stage.id)
        if gone or how == "failed" or worker.num_stages >= _MAX_STAGES_PER_WORKER:
            self._replace(worker, at_once=gone)

    def _replace(self, worker: _Worker, at_once: bool = False) -> None:
        self._end(worker, at_once)
        self.workers.remove(worker)
        if self.unfinished and not self.stopping:
            self.workers.append(self._start(worker.slot, worker.device))

    def _block(self, id: str) -> None:
        del self.unfinished[id]
        for other in self.dependents[id]:
            if other in self.unfinished:
                self._block(other)
                self.outcome.blocked.append(other)

    def _end(self, worker: _Worker, at_once: bool = False) -> None:
        waits = worker.stage is None and worker.num_stages and not at_once  # new ones may be importing
        worker.process.end(5.0 if waits else 0.0)


def _drop_unread(dependents: Mapping[str, list[str]], store: Store, unfinished: Mapping[str, Todo]) -> None:
    """Drop the weights of those stages whose dependents, as far as the plan goes, are all done."""
    for id, readers in dependents.items():
        read = readers and all(store.exists(other) and other not in unfinished for other in readers)
        if read and store.usable(id) and store.has_weights(id):
            store.drop(id, "every stage of the plan that reads them is done (keep none)")


def _finish(stage: Stage, store: Store) -> None:
    """What follows publishing: the score, then the end of the work folder; again after a kill in between."""
    if isinstance(stage, Evaluate):
        from .scoring import score_stage

        score_stage(store, stage.id)
    store.clear_work(stage.id)


def _model_id(stage: Stage) -> str:
    return stage.model.id if isinstance(stage, (Evaluate, Probe)) else stage.id


def _worker(
    pipe: Connection,
    stacks: Connection,
    store_root: Path,
    settings: Settings,
    device: str,
    code: dict[str, str],
    stop: Any,
) -> None:
    """A worker process: does stages until it is told to end or the driver is gone."""
    from .engine.signs import Pulse, end_with_parent

    end_with_parent()
    show_stack_on_request(stacks)
    pulse = Pulse(pipe, device, settings.stall_seconds)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group, it is the driver's to handle
    broken = ""
    if settings.study_file is not None:
        try:
            load_study_file(settings.study_file)
        except ValueError as error:  # it was sound when the run began
            broken = said(error)
    module, _, name = settings.perform.partition(":")
    store = Store.open(store_root)
    perform = getattr(importlib.import_module(module), name)
    checked: set[str] = set()
    if module == "xstilts.engine" and not pipe.poll():
        importlib.import_module(module).warm_up()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            return
        if message is None:
            return
        if broken:
            pulse.send(("failed", broken))
            continue
        stage, todo, sent = message
        pulse.send(("sign",))
        pulse.send(_attempt(stage, todo, sent, store, settings, device, code, stop, perform, pulse.send, checked))


def _attempt(
    stage: Stage,
    todo: Todo,
    sent: float,
    store: Store,
    settings: Settings,
    device: str,
    code: dict[str, str],
    stop: Any,
    perform: Callable[..., dict[str, Any]],
    send: Callable[[tuple[Any, ...]], None],
    checked: set[str],
) -> tuple[str, str]:
    """Do one stage under its claim and publish it; returns how it ended and a note.

    Inputs are read against their checksums, once for each worker: ``checked`` holds those that were, and those that
    this worker has itself made. The driver gave the stage out when its clock, which all processes share, said ``sent``.
    """
    from .engine import Context, Damaged, Interrupted
    from .engine.phases import Phases

    phases = Phases()
    phases.seconds["start"] = time.monotonic() - sent
    phases("inputs")
    try:
        claim = store.claim(stage.id)
    except OSError as error:
        return "failed", said(error)
    if claim is None:
        return "busy", store.holder(stage.id)
    with claim:
        try:
            if store.exists(stage.id) and (todo == "run" or store.usable(stage.id)):
                _finish(stage, store)
                return "done", FOUND
            work = store.work(stage.id)
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            inputs = {other.id: store.payload(other.id) for other in stage.inputs}
            for problem in store.verify(set(inputs) - checked):
                folder = store.folder(problem.id)
                raise ValueError(f"an input is damaged: {problem}; move {folder} out of the store and run again")
            checked |= set(inputs)
            context = Context(
                inputs=inputs,
                work=work,
                data_dir=settings.data_dir,
                cache_dir=settings.cache_dir,
                device=device,
                prepare=(load_study_file, settings.study_file) if settings.study_file else (),
                stop=stop.is_set,
                report=lambda progress: send(("progress", progress)),
                checkpoint_seconds=settings.checkpoint_seconds,
                recompute_activations=settings.recompute_activations,
                shard=settings.shard,
                phases=phases,
            )
            phases.end()
            started, clock = datetime.now(UTC), time.monotonic()
            done = perform(stage, out, context)
            seconds = time.monotonic() - clock
            record = record_of(stage, done, code, started, seconds)
            if todo == "remake":
                same = store.remake(stage.id, out, record)
                note = f"{seconds:.1f} s, made again" + ("" if same else ", with other bytes than before")
            else:
                if store.publish(stage.id, out, record):
                    checked.add(stage.id)  # its checksums were made of the files as they lie there
                note = f"{seconds:.1f} s"
            _finish(stage, store)
            return "done", note
        except Interrupted as error:
            return "interrupted", str(error)
        except (Damaged, ChildProcessError) as error:
            return "lost", said(error) + _logged(store, stage, traceback.format_exc())
        except Exception as error:
            return "failed", said(error) + _logged(store, stage, traceback.format_exc())


def _logged(store: Store, stage: Stage, text: str) -> str:
    """Where the failure is logged, for its message; nothing when even that cannot be written."""
    try:
        return f"; log: {store.write_failure(stage.id, label(stage), text)}"
    except OSError:
        return ""
