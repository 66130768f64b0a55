"""Seconds of an optimisation step under each method of training, beside the plain step.

    python benchmarks/methods.py [--device cpu] [--methods plain adversarial ...] [--steps 12] [--repeats 5] [--save]

The stages are those of the study ``alternatives`` on the miniature's four tasks, 32 examples a step, from an encoder of
random weights, 6 layers of width 256 with a vocabulary of 4,000. A repeat trains every stage for
``--steps`` steps, in one order and then in the other, and takes the median of the steps after the first three; the
ratio is a method's seconds over the plain ones of the same repeat, the other way round than elsewhere: how many times
longer. How the steps are done (a captured graph, or plainly and why) is in the notes. Ways of combining trainings
(sequential, merged, ties, dare) have plain steps and are left out.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import measure
from measure import Row

from xstilts.mixture import Budget
from xstilts.stage import Encoder, Tiny, Train
from xstilts.studies.alternatives import METHODS, alternatives
from xstilts.study import Sources, make_plan

SHAPE = Tiny(
    vocab_size=4000, hidden_size=256, num_layers=6, num_heads=8, intermediate_size=1024, initializer_range=0.02
)
COMBINED = ("sequential", "merged", "ties", "dare")
WARMUP = 3


def planned(method: str, num_steps: int, precision: str, sources: Sources) -> list[Any]:
    """The training of a method, and before it the translations that it reads."""
    leaves = alternatives(
        methods=(method,), seeds=(0,), languages=("de",), targets=("mini-bitext",), mlm_examples=0, precision=precision
    )
    (train,) = {leaf.model for leaf in leaves if isinstance(leaf.model, Train)}
    recipe = replace(train.recipe, evaluate_every_steps=10**9, dev_examples=8)
    start = Encoder("tiny", tiny=SHAPE)
    train = replace(train, start=start, budget=Budget(num_steps, "steps"), recipe=recipe)
    return list(make_plan("methods", [train], sources).stages.values())


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Train with every method in turn."""
    known = [name for name in METHODS if name not in COMBINED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/methods-DEVICE.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    asked = parser.parse_args(words)
    if asked.steps <= WARMUP:
        parser.error(f"expected more than {WARMUP} steps")
    from xstilts.engine import Context, perform

    names = list(dict.fromkeys(("plain", *asked.methods)))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    how: dict[str, str] = {}
    missing = []
    with tempfile.TemporaryDirectory() as folder:
        cache, done = Path(folder), dict[str, Path]()

        def train(stage: Any, out: Path) -> list[float]:
            times: list[float] = []

            def stop() -> bool:
                measure.wait_for(asked.device)
                times.append(time.perf_counter())
                return False

            out.mkdir(parents=True, exist_ok=True)
            context = Context(done, out / "work", None, cache, asked.device, stop=stop, checkpoint_seconds=1e9)
            result = perform(stage, out, context)["result"]
            how[stage.id] = result.get("step_path", "")
            return [after - before for before, after in itertools.pairwise(times)]

        own: dict[str, Any] = {}
        for name in names:
            try:
                *before, own[name] = planned(name, asked.steps, asked.precision, Sources(None, cache))
            except ValueError as why:
                missing.append(f"{name}: {str(why).splitlines()[0]}")
                continue
            for stage in before:  # translations
                train(stage, cache / stage.id)
                done[stage.id] = cache / stage.id
        for repeat in range(asked.repeats):
            for name in list(own)[:: 1 if repeat % 2 == 0 else -1]:
                seconds[name].append(statistics.median(train(own[name], cache / f"{name}-{repeat}")[WARMUP:]))
    row = Row(f"a step of 32 examples, {asked.precision}", "s, ratio: times longer", seconds["plain"])
    for name in own:
        if name != "plain":
            row.against(name, seconds[name], seconds["plain"], more_is_faster=True)
            row.rivals[name] = seconds[name]
    paths = {name: how[stage.id] for name, stage in own.items()}
    notes = [
        f"Steps of {', '.join(n for n in paths if paths[n] == path)}: {path}." for path in dict.fromkeys(paths.values())
    ]
    what = "A step under each method beside the plain step; here the ratio says how many times longer it is"
    return measure.finish(
        "methods", what, asked.device, [row], missing, asked.results if asked.save else None, notes=notes
    )


if __name__ == "__main__":
    main()
