"""Pure functions from predictions and gold answers to unrounded numbers, each with a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xstilts.spec import near

from . import classification, language_model, retrieval


class Metric(NamedTuple):
    """A metric's function and its version, which is bumped when the same predictions get another number."""

    function: Callable[..., Any]
    version: int


METRICS: dict[tuple[str, str], Metric] = {
    ("classify", "accuracy"): Metric(classification.accuracy, classification.VERSION),
    ("embed", "accuracy"): Metric(retrieval.accuracy_at_1, retrieval.VERSION),
    ("mlm", "perplexity"): Metric(language_model.perplexity, language_model.VERSION),
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
