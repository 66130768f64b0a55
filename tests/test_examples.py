"""The studies in examples/: what they ask for."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

from xstilts.stage import Encoder, Evaluate, Train

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_retrieval_by_k_measures_every_model_of_its_design_alike() -> None:
    module = runpy.run_path(str(EXAMPLES / "retrieval_by_k.py"))
    leaves = [leaf for leaf in module["retrieval_by_k"](languages=("de", "sw")) if isinstance(leaf, Evaluate)]
    places = {("tatoeba", "de"), ("tatoeba", "sw"), ("lareqa", "mul"), ("ntrex", "ru"), ("ntrex", "sw")}
    by_model: dict[object, set[tuple[str, str]]] = {}
    for leaf in leaves:
        by_model.setdefault(leaf.model, set()).add((leaf.task, leaf.language))
        assert leaf.views.layers == tuple(range(13))
    assert {frozenset(found) for found in by_model.values()} == {frozenset(places)}
    models = [model for model in by_model if isinstance(model, Train) and isinstance(model.start, Train)]
    (start,) = {model.start for model in models}
    assert start in by_model
    assert isinstance(start.start, Encoder)
    assert {model.budget.amount for model in models} == {4000}
    sizes = Counter((len(model.mixture.tasks), model.seed) for model in models)
    middle = dict.fromkeys([(size, 0) for size in (2, 4, 6, 8)], 5)
    assert sizes == {(1, 0): 9, (1, 1): 9, (1, 2): 9, (9, 0): 1, (9, 1): 1, (9, 2): 1} | middle
    for size in (2, 4, 6, 8):
        uses = Counter(name for model in models if len(model.mixture.tasks) == size for name in model.mixture.tasks)
        assert len(uses) == 9
        assert max(uses.values()) - min(uses.values()) <= 1
