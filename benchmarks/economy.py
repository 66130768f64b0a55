"""A small study with sharing, against a script that makes every cell by itself.

    python benchmarks/economy.py [--tasks 3] [--examples 640] [--repeats 5] [--save]

The study is ``scaling`` on the miniature with the tiny encoder (no pretraining): every subset of the tasks, retrieval
as the model stands and inference after target training, in every language of both. Ours is ``xstilts run`` in one
worker: a prefix that cells share is trained once. A cell is one model and one target in all its languages; the rivals
go from the encoder through the cell's whole chain of trainings to its measurements, with the same code and recipe:

* ``a process a cell``: as a script that is called for each;
* ``one process``: the same without the start of a process, which leaves what sharing alone saves.

Every side begins with the encoder made and nothing else, and has one cache for all its tokens. Seconds of wall time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
from measure import Row

from xstilts.stage import root

XSTILTS = (sys.executable, "-c", "from xstilts.cli import main; main()")
TASKS = ("mini-nli", "mini-paraphrase", "mini-questions", "mini-answers")


def parameters(asked: argparse.Namespace) -> dict[str, Any]:
    """Of the study."""
    return {
        "tasks": TASKS[: asked.tasks],
        "mlm_examples": 0,
        "examples": asked.examples,
        "target_examples": asked.examples,
        "targets": tuple(asked.targets),
        "languages": tuple(asked.languages),
    }


def cells(asked: argparse.Namespace, cache: Path) -> tuple[list[list[Any]], int]:
    """The measurements of every cell, and how many stages they have when what is the same is one."""
    from xstilts.studies import scaling
    from xstilts.study import Sources, make_plan

    plan = make_plan("scaling", scaling(**parameters(asked)), Sources(None, cache))
    found: dict[tuple[str, str], list[Any]] = {}
    for id in plan.leaves:
        leaf: Any = plan.stages[id]
        found.setdefault((leaf.model.id, leaf.task), []).append(leaf)
    return list(found.values()), len(plan.stages)


def make_cell(leaves: Sequence[Any], folder: Path, cache: Path, device: str) -> None:
    """Train a cell's chain from the encoder and measure it."""
    from xstilts.engine import Context, perform

    done: dict[str, Path] = {}

    def do(stage: Any) -> None:
        for before in stage.inputs:
            if before.id not in done:
                do(before)
        out = folder / stage.id / "out"
        out.mkdir(parents=True)
        perform(stage, out, Context(done, folder / stage.id / "work", None, cache, device))
        done[stage.id] = out / "weights"

    for leaf in leaves:
        do(leaf)


def shared(asked: argparse.Namespace, folder: Path) -> None:
    """`xstilts run` in one worker."""
    given = {name: value for name, value in parameters(asked).items() if value != ()}
    words = [f"{name}={','.join(v) if isinstance(v, tuple) else v}" for name, v in given.items()]
    places = ["--store", f"{folder}/store", "--cache", f"{folder}/cache", "--device", asked.device, "--quiet"]
    subprocess.run([*XSTILTS, "run", "scaling", *words, *places], check=True)


def process_a_cell(asked: argparse.Namespace, folder: Path) -> None:
    """A fresh process for every cell."""
    for cell in range(len(cells(asked, folder / "cache")[0])):
        _process(asked, str(cell), folder)


def one_process(asked: argparse.Namespace, folder: Path) -> None:
    """All cells, one after the other, in a process of their own."""
    _process(asked, "all", folder)


def _process(asked: argparse.Namespace, cell: str, folder: Path) -> None:
    numbers = ["--tasks", str(asked.tasks), "--examples", str(asked.examples), "--device", asked.device]
    lists = ["--targets", *asked.targets, "--languages", *asked.languages]
    subprocess.run([sys.executable, __file__, *numbers, *lists, "--cell", cell, str(folder)], check=True)


SIDES: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "ours": shared,
    "a process a cell": process_a_cell,
    "one process": one_process,
}


def seconds_of(side: str, asked: argparse.Namespace, encoder: Path) -> float:
    """Wall seconds of the whole study, with nothing there before but the encoder."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(encoder, Path(folder, "cache", encoder.name))
        started = time.perf_counter()
        SIDES[side](asked, Path(folder))
        return time.perf_counter() - started


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=3, choices=range(1, len(TASKS) + 1))
    parser.add_argument("--examples", type=int, default=640, help="of every task in each training")
    parser.add_argument("--targets", nargs="+", default=("mini-bitext", "mini-xnli"))
    parser.add_argument("--languages", nargs="*", default=(), help="default: all of them")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rivals", nargs="*", default=list(SIDES)[1:], choices=list(SIDES)[1:])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="where the encoder is made and kept; default: a temporary folder")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/economy-DEVICE.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    parser.add_argument("--cell", nargs=2, metavar=("NUMBER", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if asked.cell:
        number, folder = asked.cell
        made, _ = cells(asked, Path(folder, "cache"))
        for at in range(len(made)) if number == "all" else [int(number)]:
            make_cell(made[at], Path(folder, f"cell-{at}"), Path(folder, "cache"), asked.device)
        return {}
    from xstilts.engine import Context, encoder_folder

    with tempfile.TemporaryDirectory() as temporary:
        cache = asked.cache or Path(temporary)
        found, num_stages = cells(asked, cache)
        encoder = encoder_folder(root(found[0][0]), Context({}, cache, None, cache))
        row = _row(asked, encoder, found, num_stages)
    what = "a study of the miniature with sharing, against every cell by itself; the ratio is the rival's wall time"
    return measure.finish("economy", what, asked.device, [row], [], asked.results if asked.save else None)


def _row(asked: argparse.Namespace, encoder: Path, found: Sequence[Sequence[Any]], num_stages: int) -> Row:
    names = ["ours", *asked.rivals]
    taken: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(asked.repeats):
        for name in names[:: 1 if repeat % 2 == 0 else -1]:
            taken[name].append(seconds_of(name, asked, encoder))
    alone = sum(num_stages_of(leaves) for leaves in found)
    case = f"{len(found)} cells, {num_stages} stages, {alone} when nothing is shared"
    row = Row(case, "seconds", taken["ours"])
    for name in asked.rivals:
        row.against(name, taken["ours"], taken[name], more_is_faster=False)
    return row


def num_stages_of(leaves: Sequence[Any]) -> int:
    """How many stages a cell has with everything before it."""
    seen: set[str] = set()
    waiting = list(leaves)
    while waiting:
        stage = waiting.pop()
        seen.add(stage.id)
        waiting += stage.inputs
    return len(seen)


if __name__ == "__main__":
    main()
