"""Where the worker processes of a run are: what a run asks of an executor, and the one for this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from .watch import stack_of


@dataclass(frozen=True)
class Job:
    """What every worker process of a run is started with.

    Attributes:
        target: the process's function: it gets a pipe, one for its stack, then ``store_root``, ``settings``, its
            device, ``code`` and an event that is set when the run is to stop.
        code: version and commit of the driver's code.
    """

    target: Callable[..., None]
    store_root: Path
    settings: Any
    code: Mapping[str, str]


class Process(Protocol):
    """One worker process, wherever it is. It is sent ``(stage, todo, monotonic seconds)``, and answers in tuples."""

    def ready(self) -> bool:
        """Whether it may be sent a stage."""

    def send(self, message: Any) -> None:
        """Send a stage; one to a process that is gone is lost, and `death` says so later."""

    def received(self) -> Iterator[tuple[Any, ...]]:
        """What has arrived, ``("progress", dict)`` or how a stage ended and a note; ``ValueError``: never usable."""

    def death(self) -> str:
        """How the process ended, in words; nothing while it lives."""

    def stack(self) -> str:
        """Where it is in its code now, as far as it can say."""

    def end(self, seconds: float) -> None:
        """End it; it may take so many seconds to do so by itself."""


class Executor(Protocol):
    """Starts processes and hears them."""

    def begin(self, job: Job) -> None:
        """Called once, before anything else."""

    def start(self, device: str) -> Any:
        """Start a `Process`."""

    def wait(self, processes: Sequence[Any], seconds: float) -> list[Any]:
        """Those of the processes that have something to say, or are gone; waits at most so long for the first."""

    def stop(self, processes: Sequence[Any]) -> None:
        """Ask every stage that runs to write a checkpoint and stop."""


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Let a process that is started inherit that Ctrl-C is ignored: it is the driver's to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class LocalProcess:
    """A process of this machine, at the other end of a pipe."""

    def __init__(self, process: Any, pipe: Connection, stacks: Connection) -> None:
        self.process, self.pipe, self.stacks = process, pipe, stacks

    def ready(self) -> bool:
        """At once: what is sent waits in the pipe."""
        return True

    def send(self, message: Any) -> None:
        """Send a stage."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def received(self) -> Iterator[tuple[Any, ...]]:
        """What lies in the pipe."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                yield self.pipe.recv()

    def death(self) -> str:
        """The signal or the exit code."""
        if self.process.is_alive():
            return ""
        code = self.process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def stack(self) -> str:
        """By a signal, which it answers even while it holds the interpreter's lock."""
        return stack_of(self.process.pid, self.stacks)

    def end(self, seconds: float) -> None:
        """Ask it to end, then kill it."""
        self.send(None)
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        self.stacks.close()


class Local:
    """Processes of this machine."""

    def begin(self, job: Job) -> None:
        """Keep what processes are started with."""
        self.job = job
        self.context = multiprocessing.get_context("spawn")
        self.stopping = self.context.Event()

    def start(self, device: str) -> LocalProcess:
        """Start a process."""
        job = self.job
        ours, theirs = self.context.Pipe()
        stacks, written = self.context.Pipe(duplex=False)
        args = (theirs, written, job.store_root, job.settings, device, job.code, self.stopping)
        process = self.context.Process(
            target=job.target,
            args=args,
            daemon="+" not in device,  # a daemon may start no process, and its stages have some on several devices
        )
        with without_interrupts():
            process.start()
        theirs.close()
        written.close()
        return LocalProcess(process, ours, stacks)

    def wait(self, processes: Sequence[LocalProcess], seconds: float) -> list[LocalProcess]:
        """Wait for their pipes and for their ends."""
        signs = {sign: one for one in processes for sign in (one.pipe, one.process.sentinel)}
        return list(dict.fromkeys(signs[ready] for ready in wait(list(signs), seconds)))

    def stop(self, processes: Sequence[LocalProcess]) -> None:
        """Set the event that every process has."""
        self.stopping.set()
