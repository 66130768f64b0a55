"""How sentence retrieval changes with the number of English intermediate tasks, on public data.

xstilts run examples/retrieval_by_k.py --data ~/benchmarks
xstilts run examples/retrieval_by_k.py encoder=FacebookAI/xlm-roberta-large mlm= layers=0..24 \
    learning_rate=1e-5 --data ~/benchmarks
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xstilts import Evaluate
from xstilts.stage import Stage
from xstilts.studies import scaling

NINE = (
    "mnli@sample",
    "anli+@samples",
    "squad-v1@subset",
    "squad-v2@half-without-xquad",
    "hellaswag",
    "commonsenseqa",
    "cosmosqa@dev",
    "paws-x-en@dev-half",
    "udpos",
)
"""Stand-ins: samples of MNLI and of SNLI, parts of SQuAD, dev rows of Cosmos QA, PAWS-X for QQP, UDPOS for CCG."""


def retrieval_by_k(
    encoder: str = "offline",
    mlm: str = "from-contrastive-cpu",
    tasks: tuple[str, ...] = NINE,
    examples: int = 4000,
    seeds: tuple[int, ...] = (0, 1, 2),
    k: tuple[int, ...] = (4, 2, 6, 8),
    num_subsets: int = 5,
    languages: tuple[str, ...] = (),
    held_out_languages: tuple[str, ...] = ("ru", "sw"),
    layers: tuple[int, ...] = tuple(range(13)),
    learning_rate: float = 1e-4,
    precision: str = "bfloat16",
) -> Iterator[Stage]:
    """Yield Tatoeba, LAReQA and a held-out bitext at every layer, after none, each, some and all of the tasks.

    Every training has the same number of examples, so that the number of tasks is not the number of updates. The first
    seed comes first, with each task and all of them, then subsets, then the other seeds.

    Args:
        encoder: what to start from.
        mlm: a named way of masked language modelling before everything; none when empty.
        tasks: the English intermediate tasks.
        examples: of every intermediate training, shared equally by its tasks.
        seeds: of the trainings on one task and on all; subsets have the first one.
        k: sizes of the subsets between one task and all.
        num_subsets: of every size, in which each task is as often as any other, but for one.
        languages: of Tatoeba; all of them when empty.
        held_out_languages: of NTREX's dev rows, to choose a layer or a model by.
        layers: hidden states that are kept, 0 the embeddings.
        learning_rate: of the intermediate trainings.
        precision: of training and measuring.
    """
    common: dict[str, Any] = {
        "encoder": encoder,
        "mlm": mlm,
        "tasks": tasks,
        "budget": "fixed",
        "examples": examples,
        "learning_rate": learning_rate,
        "precision": precision,
        "poolings": ("mean", "mean/centred", "cls"),
        "layers": layers,
    }
    ends = (0, 1, len(tasks))
    first, *others = seeds
    parts = [
        {"design": "single", "k": ends, "seeds": (first,)},
        *({"design": "random", "k": (size,), "num_subsets": num_subsets, "seeds": (first,)} for size in k),
        *({"design": "single", "k": ends, "seeds": (seed,)} for seed in others),
    ]
    seen = set()
    for part in parts:
        for target, codes in (("tatoeba", languages), ("lareqa", ())):
            for leaf in scaling(**common, **part, targets=(target,), languages=codes):
                yield leaf
                if isinstance(leaf, Evaluate) and leaf.model not in seen:
                    seen.add(leaf.model)
                    for code in held_out_languages:
                        yield replace(leaf, task="ntrex", split="dev", language=code)
