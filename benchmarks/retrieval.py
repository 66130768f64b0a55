"""A retrieval measurement, all layers under three poolings, against sentence-transformers and faiss on the last layer.

    python benchmarks/retrieval.py [--data DIR] [--languages ar,sw,te] [--encoder offline] [--device cpu]
                                   [--precision float32] [--tokens-per-batch N] [--repeats 5] [--save]

With ``--data`` the texts are Tatoeba's, in XTREME's format, else the miniature's. ``offline`` is multilingual-e5-small
in 4 bits; ``base`` has XLM-R base's shape (12 layers of width 768), random weights and a vocabulary of 8,000.
Ours is the whole measurement with the encoder loaded: reading, tokenising, one forward for every hidden state, three
poolings, both directions, the file of predictions and its scores. The rival is ``SentenceTransformer.encode`` of the
same texts, in its own order by length and with its default batch, mean pooling of the last layer alone, then
faiss' flat index in both directions; a further line is ours with the last layer and mean pooling alone. All have all
cores and the same precision, but for one line of the rival in float32, its default, beside a ``--precision`` of
bfloat16. Scores are compared at the last layer, with the rival's in the same precision. ``--save`` writes
benchmarks/results/retrieval-DEVICE.json. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from side_by_side import document, measure, save

from xstilts.engine import Context, encoder_folder, perform
from xstilts.engine import evaluate as engine_evaluate
from xstilts.scoring import score
from xstilts.stage import Encoder, Evaluate, Tiny, Views
from xstilts.study import Sources, make_plan
from xstilts.tasks import examples, find

BASE = Tiny(
    vocab_size=8000, hidden_size=768, num_layers=12, num_heads=12, intermediate_size=3072, initializer_range=0.02
)
PREFIX = "query: "
MAX_TOKENS = 256


def accuracy(one: np.ndarray, two: np.ndarray) -> float:
    """Share of vectors of length 1 whose own translation is nearest."""
    index = faiss.IndexFlatIP(two.shape[1])
    index.add(two)
    return float((index.search(one, 1)[1][:, 0] == np.arange(len(one))).mean())


def main() -> None:
    """Measure, compare, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--languages", default="ar,sw,te")
    parser.add_argument("--encoder", default="offline", choices=("offline", "base"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--tokens-per-batch", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    device = torch.device(asked.device)
    num_threads = os.cpu_count() or 1
    torch.set_num_threads(num_threads)
    faiss.omp_set_num_threads(num_threads)
    if asked.tokens_per_batch:
        name = "CUDA_TOKENS_PER_BATCH" if device.type == "cuda" else "TOKENS_PER_BATCH"
        setattr(engine_evaluate, name, asked.tokens_per_batch)
    task = find("tatoeba" if asked.data else "mini-bitext")
    languages = asked.languages.split(",")
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        context = Context({}, cache, asked.data, cache, asked.device)
        encoder = Encoder("offline") if asked.encoder == "offline" else Encoder("tiny", tiny=BASE)
        leaves = [
            Evaluate(
                encoder, task.name, code, max_tokens=MAX_TOKENS, precision=asked.precision, num_threads=num_threads
            )
            for code in languages
        ]

        def planned(views: Views) -> list[Any]:
            plan = make_plan("bench", [replace(leaf, views=views) for leaf in leaves], Sources(asked.data, cache))
            return [plan.stages[leaf] for leaf in plan.leaves]

        def measured(stages: list[Any]) -> dict[str, dict[tuple[Any, ...], float]]:
            shutil.rmtree(cache / "tokens", ignore_errors=True)
            found = {}
            for stage in stages:
                perform(stage, cache, context)
                table = pq.read_table(cache / "predictions.parquet")
                values = score(table, task.kind.name, task.metric)["values"]
                found[stage.language] = {(v["layer"], v["pooling"], v["direction"]): v["value"] for v in values}
            return found

        every, last = planned(Views(prefix=PREFIX)), planned(Views(prefix=PREFIX, layers=(-1,), poolings=("mean",)))
        folder = encoder_folder(every[0].model, context)
        reader = Transformer(str(folder), max_seq_length=MAX_TOKENS)
        rival = SentenceTransformer(modules=[reader, Pooling(reader.get_embedding_dimension())], device=asked.device)

        def theirs(precision: str = asked.precision) -> dict[str, tuple[float, float]]:
            found = {}
            for code in languages:
                pairs = examples(task, "test", code, asked.data)
                texts = [PREFIX + pair.first for pair in pairs] + [PREFIX + pair.second for pair in pairs]
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    vectors = rival.encode(texts, normalize_embeddings=True, show_progress_bar=False)
                vectors = np.ascontiguousarray(vectors, dtype=np.float32)
                one, two = vectors[: len(pairs)], vectors[len(pairs) :]
                found[code] = accuracy(one, two), accuracy(two, one)
            return found

        row, returned = measure(
            f"{task.name} {', '.join(languages)}; {asked.encoder}, {asked.precision}",
            lambda: measured(every),
            {
                "sentence-transformers + faiss, last layer": theirs,
                **({} if asked.precision == "float32" else {"default float32 of the same": lambda: theirs("float32")}),
                "ours, last layer and mean alone": lambda: measured(last),
            },
            device,
            asked.repeats,
        )
        top = max(layer for layer, _, _ in returned["xstilts"][languages[0]])
        row["same"] = {"largest_difference_of_accuracy": 0.0}
        for code in languages:
            for direction, other in zip(("xx->en", "en->xx"), returned[next(iter(row["rivals"]))][code], strict=True):
                own = returned["xstilts"][code][top, "mean", direction]
                print(code, direction, own, other)
                row["same"]["largest_difference_of_accuracy"] = max(
                    row["same"]["largest_difference_of_accuracy"], abs(own - other)
                )
        row["num_sentences"] = sum(2 * len(examples(task, "test", code, asked.data)) for code in languages)
        row["tokens_per_batch"] = asked.tokens_per_batch
    words = f"--languages {asked.languages} --encoder {asked.encoder} --device {asked.device}"
    words += f" --precision {asked.precision} --repeats {asked.repeats} --save"
    result = document(
        "retrieval",
        "A retrieval measurement of every layer (13 hidden states, three poolings) beside one layer of others",
        f"python benchmarks/retrieval.py {'--data DIR ' if asked.data else ''}{words}",
        device,
        ("torch", "transformers", "numpy", "sentence-transformers", "faiss-cpu"),
        [row],
        load,
    )
    if asked.save:
        save(result, device)


if __name__ == "__main__":
    main()
