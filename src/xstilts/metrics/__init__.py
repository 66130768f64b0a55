"""Pure functions from predictions and gold answers to unrounded numbers, each with a version."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from xstilts.spec import near

from . import classification, language_model, mining, qa, retrieval, spans


class Metric(NamedTuple):
    """A metric's function and its version, which is bumped when the same predictions get another number.

    What a function is given in order is data, and always predictions before golds; its options are keyword-only.
    """

    function: Callable[..., Any]
    version: int

    @property
    def options(self) -> dict[str, Any]:
        """The function's options by name with the values that it has unless told otherwise."""
        parameters = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


METRICS: dict[tuple[str, str], Metric] = {
    ("choose", "accuracy"): Metric(classification.accuracy, classification.VERSION),
    ("classify", "accuracy"): Metric(classification.accuracy, classification.VERSION),
    ("embed", "accuracy"): Metric(retrieval.accuracy_at_1, retrieval.VERSION),
    ("embed", "csls"): Metric(partial(mining.margin_accuracy, margin="csls"), mining.VERSION),
    ("embed", "ratio-margin"): Metric(partial(mining.margin_accuracy, margin="ratio"), mining.VERSION),
    ("mine", "f1"): Metric(mining.mining_f1, mining.VERSION),
    ("mlm", "loss"): Metric(language_model.loss, language_model.VERSION),
    ("mlm", "perplexity"): Metric(language_model.perplexity, language_model.VERSION),
    ("search", "map"): Metric(retrieval.mean_average_precision, retrieval.VERSION),
    ("search", "mrr"): Metric(retrieval.mean_reciprocal_rank, retrieval.VERSION),
    ("span", "characters"): Metric(qa.characters, qa.VERSION),
    ("span", "mlqa"): Metric(qa.mlqa, qa.VERSION),
    ("span", "squad"): Metric(qa.squad, qa.VERSION),
    ("span", "squad-v2"): Metric(qa.squad_v2, qa.VERSION),
    ("tag", "accuracy"): Metric(spans.accuracy, spans.VERSION),
    ("tag", "span-f1"): Metric(spans.span_f1, spans.VERSION),
}
"""Every metric by (kind of task, name)."""


def find(kind: str, name: str) -> Metric:
    """The metric ``name`` of the tasks of a kind.

    Raises:
        ValueError: for an unknown name, with the near ones and those the kind has.
    """
    if (kind, name) not in METRICS:
        names = [metric for of, metric in METRICS if of == kind]
        known = ", ".join(names) or "none"
        raise ValueError(f"unknown metric {name!r} for kind {kind!r}: expected one of {known}{near(name, names)}")
    return METRICS[kind, name]
