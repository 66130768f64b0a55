"""Whether a worker still works: the signs of life that it gives, and how long its driver waits for one."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

_BEAT_SECONDS = 5.0
_CPU_SECONDS = 0.5  # between two signs; a thread that only waits and sends signs takes far less
_PR_SET_PDEATHSIG = 1
_STACK_SECONDS = 2.0
_START_SECONDS = 300.0
_STACK_BYTES = 1 << 16


class Pulse:
    """A worker's end of its pipe, and a thread that sends a sign for as long as the worker moves (`Motion`).

    Args:
        pipe: to the driver.
        device: of the stages.
        limit_seconds: how long the driver waits for a sign.
    """

    def __init__(self, pipe: Connection, device: str, limit_seconds: float) -> None:
        self._pipe, self._device, self._lock = pipe, device, threading.Lock()
        self._every = min(_BEAT_SECONDS, limit_seconds / 8)
        self._cpu = min(_CPU_SECONDS, limit_seconds / 50)
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message; any thread may."""
        with self._lock:
            self._pipe.send(message)

    def _beat(self) -> None:
        from .engine.phases import Motion

        moved = Motion(self._device, self._cpu)
        with contextlib.suppress(OSError):  # the driver is gone, and this process about to go
            while True:
                time.sleep(self._every)
                if moved():
                    self.send(("sign",))


class Patience:
    """How long ago a driver last heard of each worker, on its own monotonic clock.

    Time in which the driver itself stood still, as when both are suspended, does not count.
    """

    def __init__(self, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_seconds, self._clock, self._looked = limit_seconds, clock, clock()
        self._heard: dict[int, float] = {}

    def gave(self, slot: int, starting: bool) -> None:
        """The worker of a slot has been given a stage; one that is ``starting`` has packages to import first."""
        self._heard[slot] = self._clock() + (_START_SECONDS if starting else 0.0)

    def heard(self, slot: int) -> None:
        """The worker of a slot has sent something."""
        self._heard[slot] = self._clock()

    def overdue(self) -> list[int]:
        """The slots of which nothing was heard for too long, each once; asked several times a second."""
        now = self._clock()
        if now - self._looked > self.limit_seconds / 2:
            self._heard = {slot: now for slot in self._heard}
        self._looked = now
        late = [slot for slot, heard in self._heard.items() if now - heard > self.limit_seconds]
        return [slot for slot in late if self._heard.pop(slot)]

    def ended(self, slot: int) -> None:
        """The worker of a slot has nothing to do."""
        self._heard.pop(slot, None)


def end_with_driver() -> None:
    """Let this worker end when its driver does, however that ends; on Linux even if it is stopped or stuck by then."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def end() -> None:
        driver.join()
        os._exit(3)

    threading.Thread(target=end, daemon=True).start()


def show_stack_on_request(stacks: Connection) -> None:
    """Let `stack_of` learn where this process is, even while it holds the interpreter's lock."""
    faulthandler.register(signal.SIGUSR1, file=stacks.fileno(), all_threads=True)


def stack_of(pid: int, stacks: Connection) -> str:
    """Where every thread of a worker is; what it says is cut at 64 KiB."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGUSR1)
        wait([stacks], timeout=_STACK_SECONDS)
        time.sleep(0.1)  # it is written line by line
        os.set_blocking(stacks.fileno(), False)
        if text := os.read(stacks.fileno(), _STACK_BYTES).decode(errors="replace"):
            return text
    return "it does not say where it is: stopped from outside, starting, or held by the operating system"
