"""Retrieval: whether the nearest candidate is the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

VERSION = 1


class Accuracy(NamedTuple):
    """Accuracy of the nearest neighbour with what it rests on.

    Attributes:
        value: share of queries whose nearest candidate is the gold one, in [0, 1].
        num_examples: number of queries.
        num_ties: queries whose best similarity the gold candidate shares with another one, so that the
            order of the candidates decided.
    """

    value: float
    num_examples: int
    num_ties: int


def accuracy_at_1(neighbours: ArrayLike, similarities: ArrayLike, gold: ArrayLike) -> Accuracy:
    """Score nearest-neighbour retrieval as XTREME scores Tatoeba.

    XTREME's ``similarity_search`` (``third_party/utils_retrieve.py``) normalises both sides and asks faiss'
    ``IndexFlatL2``, an exact search, for the one nearest candidate, which for unit vectors is the one of
    highest cosine; accuracy is the share of queries that get their own translation. Of equally near
    candidates the one with the lowest index is taken, as by that index.

    Args:
        neighbours: [Q, K] candidate indices, in any order within a row; they hold every candidate of the
            best similarity, or at least the K lowest-indexed ones.
        similarities: [Q, K] their cosines.
        gold: [Q] index of the right candidate.

    Raises:
        ValueError: for shapes that do not fit, no queries, no neighbours or a similarity that is not finite.
    """
    import numpy as np

    indices = np.asarray(neighbours, dtype=np.int64)
    scores, right = np.asarray(similarities), np.asarray(gold)
    if indices.ndim != 2 or indices.shape != scores.shape or right.shape != indices.shape[:1]:
        raise ValueError(
            "accuracy at 1: expected neighbours [Q, K], similarities [Q, K] and gold [Q], got the shapes "
            f"{list(indices.shape)}, {list(scores.shape)} and {list(right.shape)}"
        )
    if not indices.size:
        raise ValueError("accuracy at 1: expected at least one query with one neighbour, got none")
    if not np.isfinite(scores).all():
        raise ValueError("accuracy at 1: a similarity is not finite: the encoder's states overflowed")
    best = scores == scores.max(axis=1, keepdims=True)  # [Q, K]
    first = np.where(best, indices, np.iinfo(np.int64).max).min(axis=1)  # [Q]
    shared = (best & (indices == right[:, None])).any(axis=1) & (best.sum(axis=1) > 1)
    return Accuracy(float(np.mean(first == right)), len(right), int(shared.sum()))
