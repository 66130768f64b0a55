"""The report of a study of 100,000 rows: seconds and memory of a whole process, from the records to the page.

    python benchmarks/report.py [--save] [--models 56] [--languages 36]

The store is made here with numbers from a generator: every model is measured on Tatoeba in every language, at 25 layers
in both directions, as a Transformer of 24 layers is. No stage is run. ``--save`` writes
benchmarks/results/report-cpu.json.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import RESULTS, Row, finish

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.stage import Data, Encoder, Evaluate, Stage, Train, Views, label
from xstilts.store import Store
from xstilts.study import Plan
from xstilts.tasks.benchmarks import XTREME_LANGUAGES

REPEATS = 3
NUM_LAYERS = 24
TASKS = ("mnli", "qqp", "squad-v1", "hellaswag", "cosmosqa")
REPORT = """
import sys
from pathlib import Path
from xstilts import report
from xstilts.store import Store
report.write(Store.open(Path(sys.argv[1]), create=False), "scaling", Path(sys.argv[2]))
"""


def fill(root: Path, num_models: int, num_languages: int) -> int:
    """Write a store of a finished study; the number of its rows."""
    store = Store.open(root)
    encoder = Encoder("FacebookAI/xlm-roberta-large", content="content")
    subsets = [s for k in range(1, len(TASKS) + 1) for s in itertools.combinations(TASKS, k)]
    pairs = itertools.islice(((s, seed) for seed in range(100) for s in subsets), num_models - 1)
    models = [encoder, *(Train(encoder, Mixture(s), Budget(2000), STILTS, seed) for s, seed in pairs)]
    stages: dict[str, Stage] = {}
    leaves = []
    for model, code in itertools.product(models, XTREME_LANGUAGES[:num_languages]):
        leaf = Evaluate(model, "tatoeba", code, views=Views(), data=(Data("tatoeba", "test", code, code),))
        leaves.append(leaf.id)
        stages |= {stage.id: stage for stage in (*leaf.inputs, leaf)}
    store.write_plan("scaling", Plan("scaling", {}, stages, tuple(leaves)).document())
    num_rows = 0
    for id, stage in stages.items():
        staged = store.work(id) / "out"
        staged.mkdir()
        store.publish(id, staged, {
            "kind": stage.kind, "declaration": stage.declaration(), "wall_seconds": 1.5,
            "names": {"encoder": "FacebookAI/xlm-roberta-large", "label": label(stage)},
            "result": {"num_layers": NUM_LAYERS, "tokenizer_fingerprint": "f" * 16},
            "environment": {"numeric_path": "cuda-bfloat16-varlen", "packages": {"torch": "2.13.0"}},
        })  # fmt: skip
        if isinstance(stage, Evaluate):
            values = [
                {"layer": layer, "pooling": "mean", "direction": direction, "value": random.Random(id).random()}
                | {"num_examples": 1000, "num_ties": 0}
                for layer in range(NUM_LAYERS + 1)
                for direction in ("en->xx", "xx->en")
            ]
            num_rows += len(values)
            document = {"metric": "accuracy", "version": 1, "options": {}, "values": values}
            store.add_score(id, "accuracy-v1", document)
    return num_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--models", type=int, default=56)
    parser.add_argument("--languages", type=int, default=36)
    given = parser.parse_args()
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        num_rows = fill(Path(folder) / "store", given.models, given.languages)
        for number in range(REPEATS):
            started = time.perf_counter()
            out = Path(folder) / f"report-{number}"
            subprocess.run([sys.executable, "-c", REPORT, f"{folder}/store", str(out)], check=True)
            seconds.append(time.perf_counter() - started)
        size = (out / "report.html").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    case = f"{num_rows:,} rows"
    rows = [Row(case, "s", seconds), Row(case, "GiB", [peak]), Row(case, "MB of page", [size / 1e6])]
    finish("report", "The report of a large study", "cpu", rows, [], RESULTS if given.save else None)


if __name__ == "__main__":
    main()
