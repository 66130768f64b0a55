"""Margin scores from nearest neighbours in both directions, and mining of sentence pairs with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from xstilts.spec import one_of

from .classification import f1_of
from .retrieval import Accuracy, Neighbours, accuracy_at_1, checked, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

VERSION = 1
MARGINS = ("ratio", "csls", "absolute")
RETRIEVALS = ("fwd", "bwd", "intersect", "max")


class Pairs(NamedTuple):
    """Mined sentence pairs, best first, of equals the lower source and then the lower target first.

    Attributes:
        sources: [N] index on the source side.
        targets: [N] index on the target side.
        scores: [N] margin score.
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    scores: NDArray[np.float64]


class PairF1(NamedTuple):
    """F1 of the pairs that reach a threshold, in [0, 1].

    Attributes:
        f1: harmonic mean of precision and recall; 0 when no pair is right.
        precision: share of the extracted pairs that are gold ones.
        recall: share of the gold pairs that are extracted.
        num_examples: number of gold pairs.
        num_extracted: number of pairs that reach the threshold.
        num_correct: number of gold pairs among them.
    """

    f1: float
    precision: float
    recall: float
    num_examples: int
    num_extracted: int
    num_correct: int

    @property
    def value(self) -> float:
        """F1, the number that XTREME averages."""
        return self.f1


class Sides(NamedTuple):
    """One split of a mining task.

    Attributes:
        forward: the nearest target texts of each source text.
        backward: the nearest source texts of each target text.
        gold: the right (source, target) pairs; one with a number below 0 cannot be extracted and counts as missed.
        source_ids: [Q] how many sentences have each source text.
        target_ids: [C] how many sentences have each target text.
    """

    forward: Neighbours
    backward: Neighbours
    gold: Collection[tuple[int, int]]
    source_ids: ArrayLike
    target_ids: ArrayLike


class Mined(NamedTuple):
    """F1 of mining with the threshold of another split, in [0, 1].

    Attributes:
        f1: as in `PairF1`, like the four after it.
        precision: share of the extracted pairs that are gold ones.
        recall: share of the gold pairs that are extracted.
        num_examples: number of gold pairs.
        num_extracted: number of pairs that reach the threshold.
        num_correct: number of gold pairs among them.
        threshold: the score from which on pairs are extracted, best on the development split.
        dev_f1: F1 there.
    """

    f1: float
    precision: float
    recall: float
    num_examples: int
    num_extracted: int
    num_correct: int
    threshold: float
    dev_f1: float

    @property
    def value(self) -> float:
        """F1, the number that XTREME averages."""
        return self.f1


def margin_scores(forward: Neighbours, backward: Neighbours, *, margin: str = "ratio", k: int = 4) -> Neighbours:
    """Score each query's ``k`` nearest candidates against how near both sides' neighbourhoods are.

    With r(x) the mean similarity of x to its ``k`` nearest on the other side:

    * ``ratio``: sim / ((r(x) + r(y)) / 2), Artetxe & Schwenk 2019 (arXiv 1811.01136), as in ``score_candidates`` of
      XTREME's ``third_party/utils_retrieve.py`` with k = 4. It means little where r(x) + r(y) is not above 0.
    * ``csls``: 2 sim - r(x) - r(y), Conneau et al. 2018 (arXiv 1710.04087) with k = 10 there; twice the difference
      margin that XTREME calls ``distance``.
    * ``absolute``: sim.

    `xstilts.metrics.retrieval.accuracy_at_1` of the result is margin-based retrieval from stored neighbours of both
    directions.

    Args:
        forward: the nearest of the C candidates for each of the Q queries, at least the k (or all C) nearest.
        backward: the nearest of the Q queries for each of the C candidates, at least the k (or all Q) nearest.
        margin: one of ``MARGINS``.
        k: size of a neighbourhood.

    Returns:
        [Q, min(k, C)] candidates in the order of their similarity and their scores in float64.

    Raises:
        ValueError: for an unknown margin, too few neighbours, an index that is not on the other side, or a score
            that is not finite because r(x) + r(y) is 0.
    """
    (indices, scores), _ = _both(forward, backward, margin, k)
    return Neighbours(indices, scores)


def mine(
    forward: Neighbours, backward: Neighbours, *, margin: str = "ratio", retrieval: str = "max", k: int = 4
) -> Pairs:
    """Mine sentence pairs as ``mine_bitext`` of XTREME's ``third_party/utils_retrieve.py`` (from LASER).

    Each sentence's best partner is that of the highest margin score among its ``k`` nearest.

    * ``fwd``: every source sentence with its best target.
    * ``bwd``: every target sentence with its best source.
    * ``intersect``: the pairs that both directions choose, with the forward score.
    * ``max``: the pairs of both directions from the best score down, each sentence once. XTREME's BUCC.

    Unlike there, ties go to the lower index, and ``max`` keeps pairs of scores at or below 0 for `best_threshold` to
    decide. The script mines unique sentences and drops from the candidates those that have several ids.

    Args:
        forward: the nearest target sentences of each source sentence.
        backward: the nearest source sentences of each target sentence.
        margin: as in `margin_scores`.
        retrieval: one of ``RETRIEVALS``.
        k: as in `margin_scores`.

    Raises:
        ValueError: as `margin_scores`, or for an unknown retrieval.
    """
    import numpy as np

    one_of("retrieval", retrieval, RETRIEVALS)
    ahead, back = (_best(*scored) for scored in _both(forward, backward, margin, k))
    if retrieval == "fwd":
        pairs = Pairs(np.arange(len(ahead[0])), *ahead)
    elif retrieval == "bwd":
        pairs = Pairs(back[0], np.arange(len(back[0])), back[1])
    elif retrieval == "intersect":
        sources = np.flatnonzero(back[0][ahead[0]] == np.arange(len(ahead[0])))
        pairs = Pairs(sources, ahead[0][sources], ahead[1][sources])
    else:
        return _one_to_one(
            _sorted(
                Pairs(
                    np.concatenate([np.arange(len(ahead[0])), back[0]]),
                    np.concatenate([ahead[0], np.arange(len(back[0]))]),
                    np.concatenate([ahead[1], back[1]]),
                )
            )
        )
    return _sorted(pairs)


def best_threshold(pairs: Pairs, gold: Collection[tuple[int, int]]) -> float:
    """The score from which on extracted pairs have the best F1 on the gold pairs of a development set.

    As ``bucc_optimize`` of XTREME's ``third_party/utils_retrieve.py``: half way between the last pair extracted and
    the next one, the highest such threshold of equally good ones, and 0 when no pair is right. Unlike there, only
    cuts between different scores are tried, since no threshold makes another one, and the last pair may be
    extracted, with its own score as the threshold.

    Raises:
        ValueError: for no gold pairs or pairs that are not in the order of their scores.
    """
    import numpy as np

    correct = np.cumsum(_right("best threshold", pairs, gold))
    scores = pairs.scores
    if not len(scores) or not correct[-1]:
        return 0.0
    f1 = 2 * correct / (np.arange(1, len(scores) + 1) + len(set(gold)))
    f1[:-1][scores[:-1] == scores[1:]] = -1.0
    last = int(f1.argmax())
    if last + 1 == len(scores):
        return float(scores[last])
    between = (scores[last] + scores[last + 1]) / 2
    return float(between if between > scores[last + 1] else scores[last])


def pair_f1(pairs: Pairs, gold: Collection[tuple[int, int]], threshold: float) -> PairF1:
    """Score the pairs whose score reaches a threshold, as ``bucc_extract`` and ``bucc_f1`` of XTREME, in percent there.

    Args:
        pairs: mined pairs.
        gold: the right (source, target) pairs.
        threshold: `best_threshold` on the development set's pairs.

    Raises:
        ValueError: as `best_threshold`.
    """
    right = _right("pair F1", pairs, gold)
    extracted = pairs.scores >= threshold
    num_correct, num_extracted, num_gold = int((right & extracted).sum()), int(extracted.sum()), len(set(gold))
    return PairF1(*f1_of(num_correct, num_extracted, num_gold), num_gold, num_extracted, num_correct)


def extract(
    dev: Sides, test: Sides, *, margin: str = "ratio", retrieval: str = "max", k: int = 4
) -> tuple[Pairs, float, float]:
    """Mine pairs of test, and choose on dev the score from which on they are extracted.

    As ``run_bucc2018.sh`` (ratio margin, 4 neighbours, ``max``, threshold of the best F1 on dev). Pairs of a text that
    several sentences have are dropped before the threshold is chosen, as ``bucc_eval`` does.

    Args:
        dev: the split that the threshold is chosen on.
        test: the split whose pairs are wanted.
        margin: as in `mine`.
        retrieval: as in `mine`.
        k: as in `mine`.

    Returns:
        The pairs of test, the threshold, and F1 on dev with it.

    Raises:
        ValueError: as `mine` and `best_threshold`.
    """
    import numpy as np

    found = []
    for side in (dev, test):
        pairs = mine(side.forward, side.backward, margin=margin, retrieval=retrieval, k=k)
        alone = (np.asarray(side.source_ids)[pairs.sources] == 1) & (np.asarray(side.target_ids)[pairs.targets] == 1)
        found.append(Pairs(*(column[alone] for column in pairs)))
    threshold = best_threshold(found[0], dev.gold)
    return found[1], threshold, pair_f1(found[0], dev.gold, threshold).f1


def mining_f1(dev: Sides, test: Sides, *, margin: str = "ratio", retrieval: str = "max", k: int = 4) -> Mined:
    """Score mining as XTREME scores BUCC: F1 on test of the pairs that `extract` finds.

    Args:
        dev: as in `extract`.
        test: as in `extract`.
        margin: as in `mine`.
        retrieval: as in `mine`.
        k: as in `mine`.

    Raises:
        ValueError: as `extract`.
    """
    pairs, threshold, dev_f1 = extract(dev, test, margin=margin, retrieval=retrieval, k=k)
    return Mined(*pair_f1(pairs, test.gold, threshold), threshold, dev_f1)


def margin_accuracy(forward: Neighbours, backward: Neighbours, gold: ArrayLike, *, margin: str, k: int = 4) -> Accuracy:
    """Accuracy at 1 by margin score instead of cosine: the best of each query's ``k`` nearest; not XTREME's Tatoeba.

    Args:
        forward: the nearest candidates of each query.
        backward: the nearest queries of each candidate.
        gold: [Q] index of the right candidate.
        margin: as in `margin_scores`.
        k: as in `margin_scores`.

    Raises:
        ValueError: as `margin_scores` and `xstilts.metrics.retrieval.accuracy_at_1`.
    """
    return accuracy_at_1(*margin_scores(forward, backward, margin=margin, k=k), gold)


def _both(
    forward: Neighbours, backward: Neighbours, margin: str, k: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The nearest and their margin scores, forward and then backward."""
    import numpy as np

    one_of("margin", margin, MARGINS)
    what = f"{margin} margin"
    ahead, back = (checked(what, side)[0] for side in (forward, backward))
    num_queries, num_candidates = len(ahead), len(back)
    for found, size in ((ahead, num_candidates), (back, num_queries)):
        if found.min() < 0 or found.max() >= size:
            raise ValueError(
                f"{what}: expected neighbours from 0 to {size - 1}, the rows of the other direction, got {found.min()} "
                f"to {found.max()}"
            )
    sides = [nearest(what, forward, min(k, num_candidates)), nearest(what, backward, min(k, num_queries))]
    means = [similarities.mean(axis=1, dtype=np.float64) for _, similarities in sides]
    for (indices, similarities), own, other in zip(sides, means, means[::-1], strict=True):
        yield indices, _margin(margin, similarities.astype(np.float64), own[:, None], other[indices])


def _margin(
    margin: str, similarities: NDArray[np.float64], own: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    import numpy as np

    if margin == "absolute":
        return similarities
    if margin == "csls":
        return 2 * similarities - own - other
    between = (own + other) / 2
    if not between.all():
        row = int(np.flatnonzero(~between.all(axis=1))[0])
        raise ValueError(f"ratio margin: row {row}: the mean similarity of the neighbourhoods is 0")
    return similarities / between


def _best(indices: NDArray[np.int64], scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The best-scored candidate of each row and its score, both [Q]; the lower index of equals."""
    chosen, best = nearest("mining", Neighbours(indices, scores), 1)
    return chosen[:, 0], best[:, 0]


def _sorted(pairs: Pairs) -> Pairs:
    import numpy as np

    order = np.lexsort((pairs.targets, pairs.sources, -pairs.scores))
    return Pairs(pairs.sources[order], pairs.targets[order], pairs.scores[order])


def _one_to_one(pairs: Pairs) -> Pairs:
    """The pairs of which neither side came before."""
    import numpy as np

    seen_sources, seen_targets = (np.zeros(column.max() + 1, bool) for column in (pairs.sources, pairs.targets))
    kept = []
    for number, (source, target) in enumerate(zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True)):
        if not seen_sources[source] and not seen_targets[target]:
            seen_sources[source] = seen_targets[target] = True
            kept.append(number)
    return Pairs(pairs.sources[kept], pairs.targets[kept], pairs.scores[kept])


def _right(what: str, pairs: Pairs, gold: Collection[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which of the pairs are gold ones [N]."""
    import numpy as np

    if not gold:
        raise ValueError(f"{what}: expected at least one gold pair, got none")
    if (np.diff(pairs.scores) > 0).any():
        raise ValueError(f"{what}: expected pairs in the order of their scores, best first")
    known = set(gold)
    mined = zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True)
    return np.fromiter((pair in known for pair in mined), dtype=bool, count=len(pairs.scores))
