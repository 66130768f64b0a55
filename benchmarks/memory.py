"""Memory that exact search and mining take beyond the vectors, at the sizes of Mewsli-X and BUCC, on a CPU.

    python benchmarks/memory.py [--cases mewsli-x bucc] [--scale 1.0] [--save]

Random float32 vectors. Mewsli-X: 15,000 queries, the 20 nearest of 1,000,000 candidates of width 768. BUCC: the 8
nearest in both directions between 200,000 and 200,000 sentences of width 384, and their mining by ratio margin (its
largest sides have about 400,000 and 570,000; what grows with them is 12 bytes a neighbour). The figure is the peak of
resident memory during the search, less what was resident before it, with the vectors there. The goal is 4 GiB. The
rival is the whole matrix of similarities, by its size alone. Seconds are printed, of one run, on whatever else the
machine does. ``--scale`` makes both sides smaller, for a try. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
from measure import Row

CASES = {"mewsli-x": (15_000, 1_000_000, 768, 20), "bucc": (200_000, 200_000, 384, 8)}
GOAL_GIB = 4.0


def resident_gib(what: str) -> float:
    """``VmRSS``, what is resident now, or ``VmHWM``, its peak since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 2**20


def forget_peak() -> None:
    """Let the peak begin at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def measured(name: str, scale: float) -> Row:
    """The memory of one case beyond its vectors."""
    import numpy as np
    import torch

    from xstilts.engine.kinds.embed import neighbours
    from xstilts.metrics.mining import Neighbours, mine

    num_queries, num_candidates, width, keep = CASES[name]
    sizes = [max(keep, round(scale * number)) for number in (num_queries, num_candidates)]
    generator = torch.Generator().manual_seed(0)
    queries, candidates = (torch.randn(size, width, generator=generator) for size in sizes)
    forget_peak()
    before, started = resident_gib("VmRSS"), time.monotonic()
    found = neighbours(queries, candidates, keep)
    if name == "bucc":
        back = neighbours(candidates, queries, keep)
        both = (Neighbours(index.numpy(), values.numpy().astype(np.float64)) for index, values in (found, back))
        mine(*both)
    row = Row(f"{name}, {sizes[0]:,} x {sizes[1]:,} x {width}", "GiB", [max(2**-20, resident_gib("VmHWM") - before)])
    row.against("the whole matrix", row.ours, [sizes[0] * sizes[1] * 4 / 2**30], more_is_faster=False)
    print(f"{row.case}: {time.monotonic() - started:,.0f} s with {torch.get_num_threads()} threads")
    return row


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/memory-cpu.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    asked = parser.parse_args(words)
    rows = [measured(name, asked.scale) for name in asked.cases]
    missed = [f"{row.case}: {row.ours[0]:.1f} GiB, goal {GOAL_GIB:g}" for row in rows if row.ours[0] > GOAL_GIB]
    what = "Memory of exact search and mining beyond the vectors; the ratio is the whole matrix of similarities over it"
    return measure.finish("memory", what, "cpu", rows, missed, asked.results if asked.save else None)


if __name__ == "__main__":
    main()
