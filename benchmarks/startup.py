"""What a person waits for before anything runs: `--help`, planning 4,000 leaves, a finished study run again.

    python benchmarks/startup.py [--save]

Every figure is the median of five whole processes (planning: of five plans in fresh processes). ``--save``
writes benchmarks/results/startup.json with device, versions and date.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

REPEATS = 5
XSTILTS = [sys.executable, "-c", "from xstilts.cli import main; main()"]
PLAN = """
import tempfile, time
from pathlib import Path
from xstilts.studies import scaling
from xstilts.study import Sources, make_plan
started = time.perf_counter()
with tempfile.TemporaryDirectory() as cache:
    plan = make_plan("scaling", scaling(seeds=tuple(range(222))), Sources(None, Path(cache)))
print(time.perf_counter() - started, len(plan.leaves), len(plan.stages))
"""


def seconds_of(command: Sequence[str]) -> list[float]:
    """Wall seconds of whole processes."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return times


def main() -> None:
    """Measure, print a table, and save it when asked."""
    rows: dict[str, dict[str, object]] = {}
    rows["xstilts --help"] = {"seconds": seconds_of([*XSTILTS, "--help"])}
    plans = [subprocess.run([sys.executable, "-c", PLAN], check=True, capture_output=True, text=True) for _ in range(5)]
    words = [plan.stdout.split() for plan in plans]
    rows[f"plan of {int(words[0][1]):,} leaves"] = {
        "seconds": [float(seconds) for seconds, _, _ in words],
        "leaves": int(words[0][1]),
        "stages": int(words[0][2]),
    }
    with tempfile.TemporaryDirectory() as folder:
        run = [*XSTILTS, "run", "scaling", "mlm_examples=320", "examples=64"]
        run += ["--store", f"{folder}/store", "--cache", f"{folder}/cache"]
        subprocess.run(run, check=True, capture_output=True)
        rows["finished study run again"] = {"seconds": seconds_of(run)}
    for name, row in rows.items():
        times = row["seconds"]
        assert isinstance(times, list)
        row["median_seconds"] = statistics.median(times)
        print(f"{name:26} median {row['median_seconds']:.3f} s, {min(times):.3f} to {max(times):.3f} s")
    if "--save" in sys.argv:
        document = {
            "command": "python benchmarks/startup.py --save",
            "date": datetime.now(UTC).date().isoformat(),
            "device": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()} | {n: version(n) for n in ("xstilts", "typer", "torch")},
            "results": rows,
        }
        target = Path(__file__).parent / "results" / "startup.json"
        target.write_text(json.dumps(document, indent=1) + "\n")
        print(target)


if __name__ == "__main__":
    main()
