"""What the benchmarks share: processes that take turns, medians, and the file of a result."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


class Unable(Exception):
    """A side that could not be measured, and why."""


@dataclass
class Row:
    """One case in one unit: every repeat of ours and of each rival; ``ratio`` above 1 means that ours is faster."""

    case: str
    unit: str
    ours: list[float]
    rivals: dict[str, list[float]] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)

    def against(self, name: str, ours: Sequence[float], theirs: Sequence[float], *, more_is_faster: bool) -> None:
        """Add a rival: the ratio is the median over repeats of ours and the rival's of the same round."""
        self.rivals[name] = list(theirs)
        pairs = list(zip(ours, theirs, strict=True))
        self.ratio[name] = statistics.median(a / b if more_is_faster else b / a for a, b in pairs)

    def show(self) -> None:
        """Print the medians, and the ratio to each rival."""
        print(f"{self.case}, {self.unit}: {statistics.median(self.ours):,.4g}")
        for name, values in self.rivals.items():
            print(f"    {name:36} {statistics.median(values):>10,.4g}   ratio {self.ratio[name]:.2f}")


@dataclass(frozen=True)
class Turns:
    """The clock of a side: called with the number of steps done, it waits for its turn where a window begins.

    Windows of ``window`` steps follow ``warmup`` steps; the device is waited for at both ends of a window only.
    """

    connection: Connection
    warmup: int
    window: int
    device: str
    _started: list[float] = field(default_factory=list)

    def __call__(self, step: int) -> None:
        """Between two steps."""
        if step < self.warmup or (step - self.warmup) % self.window:
            return
        wait_for(self.device)
        if self._started:
            self.connection.send(("window", time.perf_counter() - self._started.pop()))
        else:
            self.connection.send(("ready", None))
        self.connection.recv()
        self._started.append(time.perf_counter())


def wait_for(device: str) -> None:
    """Return when the device has done what it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


class Side:
    """A process of its own that does ``work(connection, *arguments)`` and answers (kind, value) messages."""

    def __init__(self, work: Callable[..., Any], *arguments: Any, patience: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._patience = patience
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_side, args=(theirs, work, arguments))  # may have workers of its own
        self._process.start()
        theirs.close()

    def go(self) -> None:
        """Give it the turn."""
        try:
            self._connection.send("go")
        except OSError:
            raise Unable("its process died") from None

    def answer(self, expected: str) -> Any:
        """The value of its next message.

        Raises:
            Unable: it failed, died, or did not answer in time.
        """
        if not self._connection.poll(self._patience):
            raise Unable(f"not {expected} after {self._patience:g} s")
        try:
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise Unable(f"its process died with exit code {self._process.exitcode}") from None
        if kind == "failed":
            raise Unable(value)
        assert kind == expected, (kind, expected)
        return value

    def end(self) -> None:
        """Stop the process if it is not done."""
        self._process.join(0.2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._connection.close()


def _side(connection: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        connection.send(("done", work(connection, *arguments)))
    except Exception as error:
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
        connection.send(("failed", f"{type(error).__name__}: {lines[0][:300]}"))


def race(
    works: Mapping[str, Callable[[], Side]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, Any], dict[str, str]]:
    """Let sides of `Turns` run their windows in turn, in one order and then in the other.

    All start and warm up at the same time; while one runs a window, the others wait.

    Returns:
        Seconds of each side's windows, what each side returned, and why the others could not be measured.
    """
    sides = {name: start() for name, start in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    returned: dict[str, Any] = {}
    unable: dict[str, str] = {}

    def ask(name: str, expected: str, *, go: bool = True) -> Any:
        if name not in unable:
            try:
                if go:
                    sides[name].go()
                return sides[name].answer(expected)
            except Unable as why:
                unable[name] = str(why)
                sides[name].end()
        return None

    try:
        for name in works:
            ask(name, "ready", go=False)
        for repeat in range(repeats):
            for name in list(works)[:: 1 if repeat % 2 == 0 else -1]:
                taken = ask(name, "window")
                if taken is not None:
                    seconds[name].append(taken)
        for name in works:
            returned[name] = ask(name, "done")
    finally:
        for name, side in sides.items():
            if name not in unable:
                side.end()
    fine = [name for name in works if name not in unable]
    return {name: seconds[name] for name in fine}, {name: returned[name] for name in fine}, unable


def device_name(device: str) -> str:
    """What the machine calls the device."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def finish(
    name: str, what: str, device: str, rows: Sequence[Row], missing: Sequence[str], folder: Path | None, **more: Any
) -> dict[str, Any]:
    """Print the rows and what could not be measured; write ``<name>-<device type>.json`` into a folder, if given.

    Returns:
        The document of the file.
    """
    document = {
        "name": name,
        "what": what,
        "command": " ".join(["python", f"benchmarks/{name}.py", *sys.argv[1:]]),
        "device": device_name(device),
        "num_cpus": os.cpu_count(),
        "versions": {"python": platform.python_version()} | {p: v for p in PACKAGES if (v := _version(p))},
        "date": datetime.now(UTC).date().isoformat(),
        "rows": [vars(row) for row in rows],
        "open": list(missing),
        **more,
    }
    for row in rows:
        row.show()
    for line in missing:
        print(f"open: {line}")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{device.partition(':')[0]}.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(path)
    return document


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
