"""How long a driver waits for a sign of work from a worker, and where one that gives none is."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

_STACK_SECONDS = 2.0
_START_SECONDS = 300.0
_STACK_BYTES = 1 << 16


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
