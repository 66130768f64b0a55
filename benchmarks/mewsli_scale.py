"""A search of Mewsli-X's full size on synthetic text: 14,624 queries against 1,003,893 candidates.

    python benchmarks/mewsli_scale.py [--entities N] [--queries N] [--encoder tiny|offline] [--device cpu] [--save]

Mewsli-X's candidate set is not at hand, so this proves that reader, forward, search and metric work at its size, on
made words in its release format; it says nothing about a score on real data. The measurement is the program's own
(last layer, mean pooling, 20 neighbours). 200 queries are checked against all similarities in float64. ``--save``
writes benchmarks/results/mewsli_scale-DEVICE.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from xstilts.engine import Context, perform, retrieval
from xstilts.scoring import score
from xstilts.stage import Encoder, Evaluate, Views
from xstilts.study import Sources
from xstilts.tasks import examples, find, register

NUM_CHECKED = 200
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def write_release(folder: Path, num_entities: int, num_queries: int, languages: tuple[str, ...]) -> None:
    """Entities described by made words, and mentions whose sentence repeats some of their entity's words."""
    generator = np.random.default_rng(0)
    (folder / "mewsli_x").mkdir()
    words = generator.integers(0, len(_SYLLABLES), size=(num_entities, 6, 3))
    described = (*languages, "fr", "ru", "zh", "hi", "sw")

    def said(entity: int, of: range) -> list[str]:
        return ["".join(_SYLLABLES[i] for i in words[entity, n]) for n in of]

    with (folder / "mewsli_x" / "candidate_set_entities.jsonl").open("w") as file:
        for entity in range(num_entities):
            text = " ".join(said(entity, range(6))).capitalize() + "."
            line = {
                "entity_id": f"Q{entity}",
                "title": "",
                "description": text,
                "description_language": described[entity % len(described)],
                "description_url": "",
                "sentence_spans": [{"start": 0, "end": len(text)}],
            }
            file.write(json.dumps(line) + "\n")
    asked = generator.choice(num_entities, size=num_queries, replace=False)
    with (folder / "mewsli_x" / "wikinews_mentions-test.jsonl").open("w") as file:
        for number, entity in enumerate(asked.tolist()):
            mention, *others = said(entity, range(5))
            text = " ".join([others[0], mention, *others[1:]]) + "."
            start = len(others[0]) + 1
            span = {"start": start, "end": start + len(mention), "text": mention}
            one = {"example_id": f"m{number}", "entity_id": f"Q{entity}", "mention_span": span}
            context = {"language": languages[number % len(languages)], "text": text}
            context |= {"sentence_spans": [{"start": 0, "end": len(text)}]}
            file.write(json.dumps({"context": context, "mentions": [one]}) + "\n")


def main() -> None:
    """Make the release, measure it, check it, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_003_893)
    parser.add_argument("--queries", type=int, default=14_624)
    parser.add_argument("--encoder", default="tiny", choices=("tiny", "offline"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    real = find("mewsli-x")
    size = {"test": {"mul": asked.entities + asked.queries}}
    task = replace(real, name="mewsli-x-synthetic", splits=replace(real.splits, dev=None), rows=size, trained_by=None)
    register(task)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds: dict[str, float] = {}
        started = time.perf_counter()
        write_release(folder, asked.entities, asked.queries, real.kind.queries)  # type: ignore[union-attr]
        seconds["writing the release"] = time.perf_counter() - started
        sources = Sources(folder, folder / "cache")
        encoder = Encoder(asked.encoder)
        stage = Evaluate(
            replace(encoder, content=sources.encoder(encoder)),
            task.name,
            "mul",
            views=Views(poolings=("mean",), num_neighbours=20, layers=(-1,)),
            max_tokens=64,
            num_threads=os.cpu_count() or 1,
            data=(sources.data(task, "test", "mul"),),
        )
        kept: list[retrieval.Vectors] = []
        make = retrieval.search

        def search(vectors: retrieval.Vectors, *rest: Any) -> Any:
            seconds["reading and forward"] = time.perf_counter() - started
            kept.append(vectors)
            return make(vectors, *rest)

        retrieval.search = search
        started = time.perf_counter()
        out = folder / "out"
        out.mkdir()
        result = perform(stage, out, Context({}, folder, folder, folder / "cache", asked.device))["result"]
        whole = time.perf_counter() - started
        seconds["search"] = whole - seconds["reading and forward"]
        started = time.perf_counter()
        table = pq.read_table(out / "predictions.parquet")
        values = score(table, "search", "mrr")["values"]
        seconds["scoring"] = time.perf_counter() - started
        entries = examples(task, "test", "mul", folder)
        vectors = kept[0]._all[:, 0]
        pool = torch.nn.functional.normalize(vectors[asked.queries :].double(), dim=1)
        found = table["neighbours"].to_pylist()
        same = 0
        for row in np.linspace(0, asked.queries - 1, min(NUM_CHECKED, asked.queries)).astype(int).tolist():
            similarity = pool @ torch.nn.functional.normalize(vectors[row].double(), dim=0)
            least = similarity.topk(20).values[-1]
            same += bool((similarity[found[row]] >= least - 1e-6).all()) and len(set(found[row])) == 20
        assert len(entries) == asked.entities + asked.queries
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    document = {
        "what": "synthetic Mewsli-X of full size; no score on real data",
        "command": f"python benchmarks/mewsli_scale.py --encoder {asked.encoder} --device {asked.device}",
        "num_queries": asked.queries,
        "num_candidates": asked.entities,
        "num_tokens": result["num_tokens"],
        "mrr": float(np.mean([value["value"] for value in values])),
        "chance_mrr": float(np.sum(1 / np.arange(1, 21)) / asked.entities),
        "queries_checked": min(NUM_CHECKED, asked.queries),
        "queries_equal_to_float64": same,
        "seconds": seconds,
        "peak_memory_gib": peak,
        "device": torch.cuda.get_device_name() if asked.device.startswith("cuda") else platform.machine(),
        "num_cpus": os.cpu_count(),
        "versions": {package: version(package) for package in ("torch", "transformers", "numpy")},
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(json.dumps(document, indent=2))
    if same < document["queries_checked"]:
        raise SystemExit(f"{document['queries_checked'] - same} queries differ from brute force")
    if asked.save:
        path = Path(__file__).parent / "results" / f"mewsli_scale-{asked.device.partition(':')[0]}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
