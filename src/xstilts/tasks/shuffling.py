"""The rows of a task with their labels shuffled: the same texts, the same labels, and nothing that joins them."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from xstilts.spec import stream_seed

from .task import Choices, Example, Pair, Passage, Tokens

KINDS = ("classify", "tag", "span", "choose")
"""The kinds whose examples have labels."""


def shuffled_labels(examples: Sequence[Example], task: str, seed: int) -> list[Example]:
    """The examples in their order with their labels permuted; other examples, such as text, as they are.

    A permutation is uniform over the task: of the labels of pairs; of the tags of all words; of the right choices among
    examples with as many choices; and of the questions on paragraphs, which keep their answers, places in them. Every
    label is there as often as before. The draw is a function of seed and task.

    Args:
        examples: all rows of the task, whose order counts.
        task: the name of the task.
        seed: of the training.

    Raises:
        ValueError: when nothing could change: no two examples may swap their labels.
    """
    if not any(isinstance(example, Pair | Tokens | Choices | Passage) for example in examples):
        return list(examples)
    rng = random.Random(stream_seed(seed, task, "labels"))
    labels = [_labels(example) for example in examples]
    groups: dict[Hashable, list[tuple[int, int]]] = {}  # places that may swap: (example, label of it)
    for row, example in enumerate(examples):
        groups.setdefault(_group(example), []).extend((row, at) for at in range(len(labels[row])))
    if not any(len({labels[row][at] for row, at in places}) > 1 for places in groups.values()):
        raise ValueError(f"the labels of {task} cannot be shuffled: no two of its rows could swap theirs")
    found = [list(own) for own in labels]
    for places in groups.values():
        for (row, at), (other, there) in zip(places, rng.sample(places, len(places)), strict=True):
            found[row][at] = labels[other][there]
    return [_with(example, own) for example, own in zip(examples, found, strict=True)]


def _labels(example: Example) -> Sequence[Any]:
    match example:
        case Pair(label=label) | Choices(label=label):
            return (label,)
        case Tokens(tags=tags):
            return tags
        case Passage(question=question):
            return (question,)
    return ()


def _group(example: Example) -> Hashable:
    return len(example.choices) if isinstance(example, Choices) else None


def _with(example: Example, labels: Sequence[Any]) -> Example:
    match example:
        case Pair() | Choices():
            return replace(example, label=labels[0])
        case Tokens():
            return replace(example, tags=tuple(labels))
        case Passage():
            return replace(example, question=labels[0])
    return example
