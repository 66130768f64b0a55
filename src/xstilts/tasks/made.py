"""The embedded miniature's labelled tasks: English intermediate tasks and their targets in every language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .languages import MINIATURE_LANGUAGES
from .pairs import NLI_LABELS, PARAPHRASE_LABELS, QQP_LABELS, inference, paraphrase
from .readers import Row
from .tagging import NER_LABELS, UPOS
from .task import (
    MINIATURE_NOTE,
    Choices,
    Choose,
    Classify,
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


def _made(
    name: str, kind: Kind, example: Callable[[Row], Example], metric: str, *, train: int = 4_000, test: int = 600
) -> Iterator[Task]:
    """An English intermediate task and, where ``test`` is not 0, the same as a target in every language."""
    common: dict[str, Any] = {
        "kind": kind,
        "example": example,
        "source": Miniature(name),
        "metric": metric,
        "licence": "Apache-2.0",
        "note": MINIATURE_NOTE,
    }
    yield Task(
        name=f"mini-{name}",
        languages=("en",),
        splits=Splits(train="train", dev="dev"),
        rows={"train": train, "dev": 600},
        official_size=train,
        **common,
    )
    if test:
        yield Task(
            name=f"mini-x{name}",
            languages=MINIATURE_LANGUAGES,
            splits=Splits(test="test"),
            rows={"test": test},
            trained_by=f"mini-{name}",
            **common,
        )


MADE_TASKS = (
    *_made("nli", Classify(NLI_LABELS), inference, "accuracy", train=6_000, test=900),
    *_made("paraphrase", Classify(PARAPHRASE_LABELS), paraphrase, "accuracy", test=0),
    *_made("questions", Classify(QQP_LABELS), paraphrase, "accuracy", test=0),
    *_made("answers", Classify(("not_answered", "answered")), paraphrase, "accuracy", test=0),
    *_made("tags", Tag(UPOS), _tokens, "span-f1"),
    *_made("entities", Tag(NER_LABELS), _tokens, "span-f1"),
    *_made("qa", Span(), _passage, "squad"),
    *_made("choice", Choose(), _choices, "accuracy"),
)
