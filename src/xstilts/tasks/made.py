"""Tags, entities, questions and choices of the embedded miniature: intermediate tasks and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .languages import MINIATURE_LANGUAGES
from .readers import Row
from .tagging import NER_LABELS, UPOS
from .task import (
    MINIATURE_NOTE,
    Choices,
    Choose,
    Example,
    Kind,
    Miniature,
    Passage,
    Span,
    Splits,
    Tag,
    Task,
    Tokens,
)


def _tokens(row: Row) -> Tokens:
    return Tokens(tuple(row["words"]), tuple(row["tags"]))


def _passage(row: Row) -> Passage:
    return Passage(row["context"], row["question"], ((row["answer"], row["start"]),), id=str(row.line))


def _choices(row: Row) -> Choices:
    return Choices(row["prompt"], tuple(row["choices"]), row["label"])


def _made(name: str, source: str, kind: Kind, example: Callable[[Row], Example], metric: str) -> Iterator[Task]:
    """An English intermediate task, and the same as a target in every language."""
    common: dict[str, Any] = {
        "kind": kind,
        "example": example,
        "source": Miniature(source),
        "metric": metric,
        "licence": "Apache-2.0",
        "note": MINIATURE_NOTE,
    }
    yield Task(
        name=f"mini-{name}",
        languages=("en",),
        splits=Splits(train="train", dev="dev"),
        rows={"train": 4_000, "dev": 600},
        official_size=4_000,
        **common,
    )
    yield Task(
        name=f"mini-x{name}",
        languages=MINIATURE_LANGUAGES,
        splits=Splits(test="test"),
        rows={"test": 600},
        trained_by=f"mini-{name}",
        **common,
    )


MADE_TASKS = (
    *_made("tags", "tags", Tag(UPOS), _tokens, "span-f1"),
    *_made("entities", "entities", Tag(NER_LABELS), _tokens, "span-f1"),
    *_made("qa", "qa", Span(), _passage, "squad"),
    *_made("choice", "choice", Choose(), _choices, "accuracy"),
)
