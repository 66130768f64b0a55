"""Retrieval: whether the nearest candidates are the right ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

VERSION = 1


class Neighbours(NamedTuple):
    """What an exact search found; every query has its own row, in any order.

    Attributes:
        indices: [Q, K] the nearest candidates, each once.
        similarities: [Q, K] their similarities, or scores made of them.
    """

    indices: ArrayLike
    similarities: ArrayLike


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

    indices, scores = checked("accuracy at 1", Neighbours(neighbours, similarities))
    right = np.asarray(gold)
    if right.shape != indices.shape[:1]:
        raise ValueError(f"accuracy at 1: expected gold [{len(indices)}], got the shape {list(right.shape)}")
    best = scores == scores.max(axis=1, keepdims=True)  # [Q, K]
    first = np.where(best, indices, np.iinfo(np.int64).max).min(axis=1)  # [Q]
    shared = (best & (indices == right[:, None])).any(axis=1) & (best.sum(axis=1) > 1)
    return Accuracy(float(np.mean(first == right)), len(right), int(shared.sum()))


class Ranking(NamedTuple):
    """A mean over queries with its parts.

    Attributes:
        value: the mean, in [0, 1]; the function says whether over queries or over languages.
        num_examples: number of queries.
        by_language: mean over the queries of each language, in the order of their first query.
    """

    value: float
    num_examples: int
    by_language: dict[str, float]


class LanguageBias(NamedTuple):
    """How far the language of a candidate decides; a mean over no queries is ``None``.

    Attributes:
        same_language_first: share of the queries whose first candidate is in their own language.
        mono: mean average precision of the right candidates in the query's language.
        cross: mean average precision of the right candidates in other languages.
        num_examples: number of queries.
        num_mono: queries with a right candidate in their own language.
        num_cross: queries with a right candidate in another language.
    """

    same_language_first: float
    mono: float | None
    cross: float | None
    num_examples: int
    num_mono: int
    num_cross: int


def mean_average_precision(
    neighbours: ArrayLike,
    similarities: ArrayLike,
    golds: Sequence[Collection[int]],
    languages: Sequence[str],
    *,
    k: int = 20,
) -> Ranking:
    """Score retrieval with several right candidates as XTREME-R scores LAReQA: mAP@20, the mean over queries.

    A query's average precision is the sum, over the right ones among its first ``k`` candidates, of the precision up
    to their rank, divided by min(number of right candidates, k) (``average_precision_at_k`` of XTREME's
    ``third_party/utils_lareqa.py``). Finding only the same-language one of LAReQA's 11 answers gives 1/11. LAReQA's
    own mAP (Roy et al. 2020) has no cut. Of equally near candidates the one with the lower index comes first; the
    script leaves that to its sort.

    Args:
        neighbours: [Q, K] candidate indices, at least the ``k`` nearest, each once, in any order within a row.
        similarities: [Q, K] their similarities.
        golds: the indices of each query's right candidates, at least one.
        languages: the language of each query.
        k: where the ranking is cut; the number of candidates where there are fewer.

    Raises:
        ValueError: for shapes or lengths that do not fit, no queries, fewer than ``k`` neighbours, a neighbour that
            comes twice, an index below 0, a similarity that is not finite, or a query without a right candidate.
    """
    values = average_precisions(neighbours, similarities, golds, languages, k=k)
    return Ranking(float(values.mean()), len(values), _by_language(values, languages))


def average_precisions(
    neighbours: ArrayLike,
    similarities: ArrayLike,
    golds: Sequence[Collection[int]],
    languages: Sequence[str],
    *,
    k: int = 20,
    what: str = "mean average precision",
) -> NDArray[np.float64]:
    """The average precision of each query [Q], arguments and errors as of `mean_average_precision`.

    With one right candidate it is the reciprocal rank.
    """
    hits, counts = _hits(what, _ranked(what, neighbours, similarities, k), golds, languages)
    return _average_precision(hits, counts, k)


def mean_reciprocal_rank(
    neighbours: ArrayLike, similarities: ArrayLike, gold: ArrayLike, languages: Sequence[str], *, k: int = 20
) -> Ranking:
    """Score entity retrieval as Mewsli-X does: MRR cut at 20, the mean over languages of the means over queries.

    1 over the rank of the right candidate, 0 when it is not among the first ``k``; with one right candidate this is
    mAP@k (XTREME-R, Ruder et al. 2021; ``TOP_K`` of XTREME's ``third_party/utils_mewslix.py``).

    Args:
        neighbours: as in `mean_average_precision`.
        similarities: as in `mean_average_precision`.
        gold: [Q] index of the right candidate.
        languages: as in `mean_average_precision`.
        k: as in `mean_average_precision`.

    Raises:
        ValueError: as `mean_average_precision`.
    """
    import numpy as np

    golds = [(index,) for index in np.asarray(gold).tolist()]
    values = average_precisions(neighbours, similarities, golds, languages, k=k, what="mean reciprocal rank")
    by_language = _by_language(values, languages)
    return Ranking(sum(by_language.values()) / len(by_language), len(values), by_language)


def language_bias(
    neighbours: ArrayLike,
    similarities: ArrayLike,
    golds: Sequence[Collection[int]],
    query_languages: Sequence[str],
    candidate_languages: Sequence[str],
    *,
    k: int = 20,
) -> LanguageBias:
    """Measure how far retrieval from one multilingual pool prefers the query's own language; not an official score.

    ``mono`` and ``cross`` are mAP@k with only those right candidates counted that are in the query's language, or in
    another one; the other group's right candidates are left out of the ranking, so that they cost nothing and a
    perfect ranking has 1 in both. Queries without a right candidate in the group are left out.

    Args:
        neighbours: as in `mean_average_precision`.
        similarities: as in `mean_average_precision`.
        golds: as in `mean_average_precision`.
        query_languages: the language of each query.
        candidate_languages: the language of each candidate.
        k: as in `mean_average_precision`; other-group answers are left out after the cut.

    Raises:
        ValueError: as `mean_average_precision`, or for an index beyond the candidates' languages.
    """
    import numpy as np

    what = "language bias"
    ranked = _ranked(what, neighbours, similarities, k)
    hits, counts = _hits(what, ranked, golds, query_languages)
    indices = [int(ranked.min()), int(ranked.max()), *(index for right in golds for index in right)]
    if min(indices) < 0 or max(indices) >= len(candidate_languages):
        raise ValueError(
            f"{what}: expected candidates from 0 to {len(candidate_languages) - 1}, those with a language, got "
            f"{min(indices)} to {max(indices)}"
        )
    own = [
        {index for index in right if candidate_languages[index] == language}
        for right, language in zip(golds, query_languages, strict=True)
    ]
    own_hits, own_counts = _hits(what, ranked, own, query_languages, least=0)
    means: list[tuple[float | None, int]] = []
    for group, left_out, size in (
        (own_hits, hits & ~own_hits, own_counts),
        (hits & ~own_hits, own_hits, counts - own_counts),
    ):
        values = _average_precision(group, size, k, left_out)[size > 0]
        means.append((float(values.mean()) if len(values) else None, len(values)))
    (mono, num_mono), (cross, num_cross) = means
    pool = np.asarray(candidate_languages)
    first = float(np.mean(pool[ranked[:, 0]] == np.asarray(query_languages)))
    return LanguageBias(first, mono, cross, len(ranked), num_mono, num_cross)


def checked(what: str, neighbours: Neighbours) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The arrays of a search, both [Q, K].

    Raises:
        ValueError: for shapes that do not fit, no queries, no neighbours or a similarity that is not finite.
    """
    import numpy as np

    indices, scores = np.asarray(neighbours.indices, dtype=np.int64), np.asarray(neighbours.similarities)
    if indices.ndim != 2 or indices.shape != scores.shape:
        raise ValueError(
            f"{what}: expected neighbours [Q, K] and similarities [Q, K], got the shapes {list(indices.shape)} and "
            f"{list(scores.shape)}"
        )
    if not indices.size:
        raise ValueError(f"{what}: expected at least one query with one neighbour, got none")
    if not np.isfinite(scores).all():
        raise ValueError(f"{what}: a similarity is not finite: the encoder's states overflowed")
    return indices, scores


def nearest(what: str, neighbours: Neighbours, k: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The ``k`` best of each row, best first, the lower index first of equals: indices and scores, both [Q, k].

    Raises:
        ValueError: as `checked`, for fewer than ``k`` neighbours, or one that comes twice.
    """
    import numpy as np

    indices, scores = checked(what, neighbours)
    if not 1 <= k <= indices.shape[1]:
        raise ValueError(f"{what}: expected at least k = {k} neighbours (k > 0) for each query, got {indices.shape[1]}")
    in_order = np.sort(indices, axis=1)
    if (in_order[:, 1:] == in_order[:, :-1]).any():
        raise ValueError(f"{what}: a candidate comes twice among the neighbours of a query")
    order = np.lexsort((indices, -scores), axis=1)[:, :k]
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _ranked(what: str, neighbours: ArrayLike, similarities: ArrayLike, k: int) -> NDArray[np.int64]:
    return nearest(what, Neighbours(neighbours, similarities), k)[0]


def _hits(
    what: str,
    ranked: NDArray[np.int64],
    golds: Sequence[Collection[int]],
    languages: Sequence[str],
    *,
    least: int = 1,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which ranked candidates are right [Q, k], and how many right ones each query has [Q]."""
    import numpy as np

    if len(golds) != len(ranked) or len(languages) != len(ranked):
        raise ValueError(
            f"{what}: expected right candidates and a language for each of {len(ranked)} queries, got {len(golds)} "
            f"and {len(languages)}"
        )
    counts = np.array([len(set(right)) for right in golds], dtype=np.int64)
    if counts.min() < least:
        raise ValueError(f"{what}: query {int(counts.argmin())}: expected at least one right candidate, got none")
    flat = np.fromiter((index for right in golds for index in set(right)), dtype=np.int64, count=counts.sum())
    if min(ranked.min(), flat.min(initial=0)) < 0:
        raise ValueError(f"{what}: expected indices of candidates from 0, got {min(ranked.min(), flat.min(initial=0))}")
    width = max(int(ranked.max()), int(flat.max(initial=0))) + 1
    rows = np.arange(len(ranked))
    return np.isin(rows[:, None] * width + ranked, np.repeat(rows, counts) * width + flat), counts


def _average_precision(
    hits: NDArray[np.bool_], counts: NDArray[np.int64], k: int, left_out: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Average precision of each query [Q] from hits [Q, k], without the ranks ``left_out``; 0 where ``counts`` is 0."""
    import numpy as np

    ranks = np.arange(1, hits.shape[1] + 1) - (0 if left_out is None else np.cumsum(left_out, axis=1))
    precisions = np.where(hits, np.cumsum(hits, axis=1) / np.maximum(ranks, 1), 0.0)
    return precisions.sum(axis=1) / np.maximum(np.minimum(counts, k), 1)


def _by_language(values: NDArray[np.float64], languages: Sequence[str]) -> dict[str, float]:
    import numpy as np

    of = np.asarray(languages)
    return {language: float(values[of == language].mean()) for language in dict.fromkeys(languages)}
