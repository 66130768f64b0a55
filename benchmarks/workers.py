"""Two workers against one on stages that do not depend on one another, on the CPU with one thread a stage.

    python benchmarks/workers.py [--seeds 8] [--examples 6400] [--repeats 3] [--ray] [--save]

The study is ``scaling`` on the miniature with the tiny encoder and no pretraining: for every seed one training and one
measurement that reads it. Each side is the whole command ``xstilts run`` with an empty store; encoder and tokens are in
a cache that one uncounted run has filled. Sides take turns, in one order and then in the other. ``--ray`` adds two
workers on a Ray cluster of this machine, whose start and end are part of its command (``pip install 'xstilts[ray]'``).

What limits the ratio is said beside it, from the profile of each run (`--profile`): the time of the optimisation steps
all together, which grows where two stages share caches, memory and clock of one processor (two cores that are two
threads of one core share all of it), and the time of the command before and after its stages, which no worker shortens.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import measure
from measure import Row

XSTILTS = (sys.executable, "-c", "from xstilts.cli import main; main()")
SIDES = {"one worker": ("--device=cpu",), "two workers": ("--device=cpu,cpu",)}
ON_RAY = {"two workers on Ray": ("--executor=ray", "--workers=2", "--device=cpu")}


@dataclass(frozen=True)
class Taken:
    """Seconds of one run: the command, its stages on all slots together, and what is in them of optimisation steps."""

    command: float
    stages: float
    steps: float


def run(asked: argparse.Namespace, where: tuple[str, ...], cache: Path) -> Taken:
    """Run the study once in an empty store."""
    words = ["run", "scaling", "tasks=mini-nli", "k=1..1", "mlm_examples=0", "targets=mini-bitext", "languages=de"]
    words += [f"examples={asked.examples}", f"seeds=0..{asked.seeds - 1}", *where, "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        words += ["--store", f"{folder}/store", "--cache", str(cache), "--profile", f"{folder}/profile"]
        started = time.perf_counter()
        subprocess.run([*XSTILTS, *words], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - started
        rows = json.loads(Path(folder, "profile", "profile.json").read_text())["rows"]
    stages = [row for row in rows if row["kind"] != "driver"]
    return Taken(
        seconds,
        sum(row["seconds"] for row in stages),
        sum(row["seconds"] for row in stages if row["phase"] == "steps"),
    )


def notes(taken: dict[str, list[Taken]]) -> list[str]:
    """What limits the ratios, in sentences."""
    found = []
    alone = statistics.median(one.steps for one in taken["one worker"])
    for name, runs in taken.items():
        slots = 1 if name == "one worker" else 2
        rest = statistics.median(one.command - one.stages / slots for one in runs)
        found.append(f"{name}: {rest:.1f} s of the command were not spent in stages by its {slots} slot(s)")
        if slots > 1:
            ratio = statistics.median(one.steps for one in runs) / alone
            found[-1] += f", and the same optimisation steps took {ratio:.2f} times as long as in one worker"
        found[-1] += "."
    return found


def main() -> None:
    """Measure, print, and save when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="independent trainings")
    parser.add_argument("--examples", type=int, default=6400, help="of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="two workers on Ray, too")
    parser.add_argument("--save", action="store_true", help="into benchmarks/results")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    sides = SIDES | (ON_RAY if asked.ray else {})
    taken: dict[str, list[Taken]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as cache:
        run(asked, SIDES["one worker"], Path(cache))
        for repeat in range(asked.repeats):
            for name in list(sides)[:: 1 if repeat % 2 == 0 else -1]:
                taken[name].append(run(asked, sides[name], Path(cache)))
    seconds = {name: [one.command for one in runs] for name, runs in taken.items()}
    rows = []
    for name in list(sides)[1:]:
        row = Row(f"{name}, {asked.seeds} trainings of {asked.examples} examples", "s", seconds[name])
        row.against("one worker", seconds[name], seconds["one worker"], more_is_faster=False)
        rows.append(row)
    what = "Two workers beside one, on stages that do not depend on one another"
    folder = measure.RESULTS if asked.save else None
    found = measure.finish("workers", what, "cpu", rows, [], folder, notes=notes(taken), load_at_start=load)
    print("\n".join(found["notes"]))


if __name__ == "__main__":
    main()
