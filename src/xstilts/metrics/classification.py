"""Classification: the share of right labels, and F1 from counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

VERSION = 1


def accuracy(predictions: Sequence[Hashable], golds: Sequence[Hashable]) -> float:
    """The share of positions where prediction and gold label are equal, in [0, 1].

    This is XNLI's and PAWS-X's metric (``simple_accuracy`` in XTREME's ``third_party/run_classify.py``).

    Raises:
        ValueError: when the two differ in length or are empty.
    """
    if len(predictions) != len(golds):
        raise ValueError(f"accuracy: got {len(predictions)} predictions for {len(golds)} gold labels")
    if not len(golds):
        raise ValueError("accuracy: expected at least one example, got none")
    return sum(a == b for a, b in zip(predictions, golds, strict=True)) / len(golds)


def majority_share(labels: Sequence[Hashable]) -> float:
    """The share of the most frequent label, in (0, 1]: the accuracy of always answering it.

    Raises:
        ValueError: when there are no labels.
    """
    if not len(labels):
        raise ValueError("majority share: expected at least one label, got none")
    return max(Counter(labels).values()) / len(labels)


def f1_of(num_correct: int, num_predicted: int, num_gold: int) -> tuple[float, float, float]:
    """F1, precision and recall from counts; each is 0 where nothing is right."""
    if not num_correct:
        return 0.0, 0.0, 0.0
    precision, recall = num_correct / num_predicted, num_correct / num_gold
    return 2 * precision * recall / (precision + recall), precision, recall
