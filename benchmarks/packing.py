"""How many tokens static shapes waste: every step runs in the smallest of a few shapes that holds its tokens.

    python benchmarks/packing.py [--shapes 8] [--steps 20000] [--save]

Steps of made examples whose lengths are log-normal, as those of the training tasks are (see `made`), with a fixed
number of examples a step; five draws. Waste is 1 - tokens / tokens of the shapes that the steps run in. Goals: below
6 % for 32 NLI examples a step, below 3 % for steps of about 16,384 tokens. Rivals, by the tokens they compute for the
same examples: one shape of the largest step; padding to the longest allowed, to the longest of the batch, and to the
longest of batches sorted by length within 50 of them, as transformers' Trainer groups. The ratio is the rival's
tokens over ours. This needs no accelerator and no clock: the numbers are the same on every machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
from made import NLI, QA, Lengths
from measure import Row

LENGTHS = {
    "NLI": NLI,
    "question pairs": Lengths(32, 0.40, 8, 128),
    "short sentences": Lengths(16, 0.50, 3, 64),
    "QA": QA,
    "even": Lengths(128, 0.02, 8, 256),
    "wide": Lengths(100, 1.00, 3, 512),
}
BATCHES = (8, 16, 24, 32)
TOKENS_A_STEP = 16_384
GOALS = {("NLI", 32): 0.06}
GOAL_OF_MANY_TOKENS = 0.03
GROUP = 50  # batches that the Trainer sorts together

Choose = Callable[[np.ndarray, int], tuple[int, ...]]


def shape_tokens(token_counts: np.ndarray, shapes: Sequence[int]) -> int:
    """Tokens of the shapes that steps of ``token_counts`` [S] run in.

    Raises:
        ValueError: shapes that do not ascend, or a step that fits into none.
    """
    sizes = np.asarray(shapes)
    if (np.diff(sizes) <= 0).any() or token_counts.max() > sizes[-1]:
        raise ValueError(f"shapes {list(shapes)!r} for steps of up to {token_counts.max()} tokens")
    return int(sizes[np.searchsorted(sizes, token_counts)].sum())


def padded_tokens(lengths: np.ndarray, most: int) -> dict[str, int]:
    """Tokens that padding computes for the examples of steps [S, E]."""
    num_steps, batch = lengths.shape
    grouped = 0
    for start in range(0, num_steps, GROUP):
        ordered = np.sort(lengths[start : start + GROUP], axis=None)[::-1]
        grouped += int(ordered.reshape(-1, batch).max(1).sum()) * batch
    return {
        "padded to the longest allowed": lengths.size * most,
        "padded to the longest": int(lengths.max(1).sum()) * batch,
        "padded, grouped by length": grouped,
    }


def measured(name: str, batch: int, choose: Choose, num_shapes: int, num_steps: int, repeats: int) -> Row:
    """The waste of one distribution and batch size, and that of the rivals."""
    spread = LENGTHS[name]
    ours: list[float] = []
    computed: list[float] = []
    theirs: dict[str, list[float]] = {}
    others: dict[str, list[float]] = {}
    for seed in range(repeats):
        lengths = spread.draw(np.random.default_rng(seed), num_steps * batch).reshape(num_steps, batch)
        counts = lengths.sum(1)
        real = int(counts.sum())
        tokens = shape_tokens(counts, choose(counts, num_shapes))
        computed.append(float(tokens))
        ours.append(1 - real / tokens)
        rivals = {"one shape": int(counts.max()) * num_steps} | padded_tokens(lengths, spread.most)
        for rival, other in rivals.items():
            others.setdefault(rival, []).append(float(other))
            theirs.setdefault(rival, []).append(1 - real / other)
    row = Row(f"{name}, {batch} examples a step", "wasted share of tokens", ours, theirs)
    for rival, values in others.items():
        row.ratio[rival] = float(np.median(np.array(values) / np.array(computed)))
    return row


def main(words: Sequence[str] | None = None, choose: Choose | None = None) -> dict[str, Any]:
    """Measure every distribution at every size of a step; ``choose`` replaces the program's choice of shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5, help="draws of all lengths")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/packing-cpu.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    asked = parser.parse_args(words)
    if choose is None:
        from xstilts.engine.packing import token_shapes as choose
    assert choose is not None
    rows, verdicts = [], []
    for name, spread in LENGTHS.items():
        many = round(TOKENS_A_STEP / spread.mean)
        for batch in (*BATCHES, many):
            num_steps = max(1, asked.steps * 32 // max(32, batch))
            rows.append(measured(name, batch, choose, asked.shapes, num_steps, asked.repeats))
            goal = GOAL_OF_MANY_TOKENS if batch == many else GOALS.get((name, batch))
            if goal is not None:
                waste = float(np.median(rows[-1].ours))
                verdict = "met" if waste < goal else "MISSED"
                verdicts.append(f"{rows[-1].case}: {waste:.2%} wasted, goal {goal:.0%}: {verdict}")
    what = f"tokens wasted by {asked.shapes} static shapes; the ratio is the tokens that a rival computes over ours"
    missed = [verdict for verdict in verdicts if verdict.endswith("MISSED")]
    document = measure.finish("packing", what, "cpu", rows, missed, asked.results if asked.save else None)
    print("\n".join(verdicts))
    return document


if __name__ == "__main__":
    main()
