"""A process that another one waits for: the signs of work that it gives, and its end with its parent's."""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from .phases import Phases

_BEAT_SECONDS = 5.0
_CPU_SECONDS = 0.5  # between two signs; a thread that only waits and sends signs takes far less
_PR_SET_PDEATHSIG = 1
# Phases in which a host thread spins while it waits for a device.
_ON_DEVICE = ("steps", "dev", "forward", "gradients", "neighbours")


class Motion:
    """Whether this process has moved since it was last asked: begun a phase, or taken CPU time.

    A training begins a phase every step; to read and tokenise rows may take hours in one phase. In a phase that waits
    for another device than the CPU only phases count.
    """

    def __init__(self, device: str, cpu_seconds: float) -> None:
        """``cpu_seconds`` is far more than what a thread takes that waits and asks."""
        self._device, self._cpu_seconds = device, cpu_seconds
        self._begun, self._cpu = Phases.begun, time.process_time()

    def __call__(self) -> bool:
        """Asked from any one thread."""
        spins = not self._device.startswith("cpu") and Phases.begun[1] in _ON_DEVICE
        taken = time.process_time() - self._cpu
        if moved := Phases.begun != self._begun or (taken >= self._cpu_seconds and not spins):
            self._begun, self._cpu = Phases.begun, time.process_time()
        return moved


class Pulse:
    """A process's end of its pipe, and a thread that sends a sign for as long as the process moves (`Motion`).

    Args:
        pipe: to whoever waits for it.
        device: of its work.
        limit_seconds: how long is waited for a sign.
    """

    def __init__(self, pipe: Connection, device: str, limit_seconds: float = math.inf) -> None:
        self._pipe, self._device, self._lock = pipe, device, threading.Lock()
        self._every = min(_BEAT_SECONDS, limit_seconds / 8)
        self._cpu = min(_CPU_SECONDS, limit_seconds / 50)
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message; any thread may."""
        with self._lock:
            self._pipe.send(message)

    def _beat(self) -> None:
        moved = Motion(self._device, self._cpu)
        with contextlib.suppress(OSError):  # the parent is gone, and this process about to go
            while True:
                time.sleep(self._every)
                if moved():
                    self.send(("sign",))


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends; on Linux even if it is stopped or stuck by then.

    Linux takes the end of the thread that has started it for the end of the parent.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def end() -> None:
        parent.join()
        os._exit(3)

    threading.Thread(target=end, daemon=True).start()
