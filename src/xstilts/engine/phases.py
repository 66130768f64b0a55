"""What a stage costs: the seconds of its phases, and the peak of the process's memory."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path
from typing import ClassVar


class Phases:
    """The wall time of a stage by phase, on a monotonic clock: one phase at a time, each begun by its name.

    Beginning a phase costs a reading of the clock, so it may be done every step. A phase that comes again adds to its
    seconds. On CUDA the host's time is counted: work that a device still has to do falls into the phase that waits for
    it, so whoever ends a phase of queued work waits first.

    Attributes:
        seconds: by phase, in the order in which they first began.
        begun: how many phases this process has begun, and the last of them, for whoever asks whether it still moves.
    """

    begun: ClassVar[tuple[int, str]] = (0, "")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase = ""
        self._since = 0.0

    def __call__(self, phase: str) -> None:
        """End the phase before, if any, and begin another one."""
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] += now - self._since
        if phase:
            self.seconds.setdefault(phase, 0.0)
            Phases.begun = (Phases.begun[0] + 1, phase)
        self._phase, self._since = phase, now

    def end(self) -> None:
        """End the last phase."""
        self("")


def forget_peak_rss() -> None:
    """Let `peak_rss_bytes` count from now on, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """The most memory that was resident since `forget_peak_rss`, mapped files among it.

    Of the process's whole life where the system cannot forget.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # kilobytes everywhere else
