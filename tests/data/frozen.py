"""Make the frozen store: a study of two tasks on the miniature, run by the program of the day.

    python tests/data/frozen.py tests/data/store-0.1.0.tar.xz

writes the archive and, beside it, ``store-0.1.0.json`` with the numbers that its report had. It is made once for a
version whose stores must stay readable; what it made before is never made again.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import xstilts
from xstilts import Budget, Encoder, Evaluate, Mixture, Recipe, Train, Views, report, tasks
from xstilts.progress import Quiet
from xstilts.run import Settings, run
from xstilts.stage import Tiny
from xstilts.store import Store
from xstilts.study import Sources, make_plan

SIZES = {
    "mini-nli": {"train": 144, "dev": 36},
    "mini-xnli": {"test": 36},
    "mini-paraphrase": {"train": 96, "dev": 24},
    "mini-bitext": {"dev": 20, "test": 20},
}
ENCODER = Encoder("tiny", tiny=Tiny(vocab_size=600, hidden_size=16, intermediate_size=32, max_positions=128))
NAME = "frozen"
for _name, _rows in SIZES.items():  # here, so that the processes of workers have them too
    tasks._known[_name] = replace(tasks.find(_name), rows=_rows, official_size=None)


def leaves() -> list[Evaluate]:
    """Retrieval in two languages at k = 0, 1 and 2, and inference after one target training."""
    recipe = Recipe(learning_rate=5e-3)
    models = [ENCODER, *(Train(ENCODER, Mixture(("mini-nli",)), Budget(640), recipe, seed) for seed in (0, 1))]
    models += [Train(ENCODER, Mixture(("mini-nli", "mini-paraphrase")), Budget(640), recipe, seed) for seed in (0, 1)]
    views = Views(poolings=("mean",))
    found = [Evaluate(model, "mini-bitext", code, views=views) for model in models for code in ("de", "sw")]
    target = Train(models[1], Mixture(("mini-nli",)), Budget(640), recipe, 0)
    return [*found, Evaluate(target, "mini-xnli", "de")]


def numbers(folder: Path, store: Store) -> dict[str, object]:
    """What a report must say again: every value by its stage and place, and what its model was trained on."""
    import pyarrow.parquet

    report.write(store, NAME, folder)
    rows = pyarrow.parquet.read_table(folder / "rows.parquet").to_pylist()
    names = ("stage", "metric", "metric_version", "language", "layer", "pooling", "direction")
    values = {" ".join(str(row[name]) for name in names): row["value"] for row in rows}
    return {"values": values, "facts": sorted({f"{row['task']} k={row['k']} {row['tasks']}" for row in rows})}


def main() -> None:
    """Run the study and pack its store without weights, every time stamp of the archive at 0."""
    archive = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        plan = make_plan(NAME, leaves(), Sources(None, root / "cache"))
        store = Store.open(root / "store")
        store.write_plan(NAME, plan.document())
        outcome = run(plan, store, Settings(None, root / "cache", ("cpu",)), Quiet())
        assert outcome.exit_code == 0, outcome
        small = Store.open(root / "small")
        store.export(root / "small", store.ids(), payload=False)
        small.write_plan(NAME, store.plan(NAME))
        archive.with_suffix("").with_suffix(".json").write_text(
            json.dumps({"version": xstilts.__version__, **numbers(root / "report", small)}, indent=1) + "\n"
        )
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            for path in sorted(path for path in (root / "small").rglob("*") if path.is_file()):
                content = path.read_bytes()
                about = tarfile.TarInfo(path.relative_to(root / "small").as_posix())
                about.size = len(content)
                packed.addfile(about, io.BytesIO(content))
    print(archive, archive.stat().st_size)


if __name__ == "__main__":
    main()
