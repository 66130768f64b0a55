"""Timing of this program beside others: same data, same machine, one run, alternating order; and the JSON of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def measure(
    case: str, ours: Callable[[], Any], rivals: Mapping[str, Callable[[], Any]], device: torch.device, repeats: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One row of a result: wall seconds of each program, after one run that is not counted; and what each returned.

    The order turns around from one repetition to the next, so that neither is always the one that finds warm caches.
    """
    programs = {"xstilts": ours, **rivals}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    returned = {name: program() for name, program in programs.items()}
    for number in range(repeats):
        for name in list(programs)[:: 1 if number % 2 else -1]:
            _wait(device)
            started = time.perf_counter()
            returned[name] = programs[name]()
            _wait(device)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    row = {
        "case": case,
        "ours": seconds.pop("xstilts"),
        "rivals": seconds,
        "ratio": {name: medians[name] / medians["xstilts"] for name in rivals},
    }
    print(case)
    for name, median in medians.items():
        ratio = f", {row['ratio'][name]:.2f} times ours" if name in rivals else ""
        print(f"  {name:24} median {median:.3f} s{ratio}", flush=True)
    return row, returned


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def document(
    name: str,
    what: str,
    command: str,
    device: torch.device,
    packages: Sequence[str],
    rows: list[dict[str, Any]],
    load: float,
    **more: Any,
) -> dict[str, Any]:
    """The result in the layout that ``table.py`` describes; ``load`` is the machine's load average at the start."""
    cuda = device.type == "cuda"
    return {
        "name": name,
        "what": what,
        "command": command,
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "num_cpus": os.cpu_count(),
        "load_at_start": load,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "date": datetime.now(UTC).date().isoformat(),
        "rows": rows,
        **more,
    }


def save(result: dict[str, Any], device: torch.device) -> None:
    """Write ``results/<name>-<device>.json``."""
    path = RESULTS / f"{result['name']}-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
