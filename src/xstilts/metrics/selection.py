"""How well a ranking of choices, such as intermediate tasks, finds the best of them.

Choices that a ranking does not tell apart come in every order equally often, and what is returned is the mean: no
number depends on the order in which they are given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

VERSION = 1


def regret(scores: Sequence[float], predicted: Sequence[float], k: int) -> float:
    """What is lost by the best of the ``k`` choices that a ranking puts first: (best - found) / best.

    Regret@k of Poth et al. 2021 (arXiv 2104.08247) and Kim et al. 2023 (TaskShop, arXiv 2305.13256).

    Args:
        scores: what each choice is truly worth, 0 or more.
        predicted: what the ranking says of it, highest first.
        k: how many choices may be tried, at least 1; all of them where there are fewer.

    Raises:
        ValueError: for lists of other lengths, none, a score below 0, or k below 1.
    """
    _check(scores, predicted)
    if min(scores) < 0 or k < 1:
        raise ValueError(f"regret: expected scores of 0 or more and k of 1 or more, got {min(scores)} and {k}")
    best, sure, left = max(scores), -math.inf, k
    if not best:
        return 0.0
    for tied in _groups(scores, predicted):
        if len(tied) <= left:
            sure, left = max(sure, *tied), left - len(tied)
            continue
        # the highest of `left` among m that come in any order is the j-th lowest in C(j - 1, left - 1) of C(m, left)
        ways = [math.comb(rank, left - 1) for rank in range(len(tied))] if left else []
        total = math.comb(len(tied), left)
        found = math.fsum(way / total * max(sure, one) for way, one in zip(ways, sorted(tied), strict=False))
        return (best - (found if left else sure)) / best
    return (best - sure) / best


def ndcg(relevances: Sequence[float], predicted: Sequence[float]) -> float:
    """Normalised discounted cumulative gain: sum of (2^relevance - 1) / log2(rank + 1) over that of the best order.

    Järvelin and Kekäläinen 2002 with the gains of Burges et al. 2005; ties by their mean (McSherry and Najork 2008).

    Raises:
        ValueError: for lists of other lengths, none, or a relevance below 0.
    """
    _check(relevances, predicted)
    if min(relevances) < 0:
        raise ValueError(f"ndcg: expected relevances of 0 or more, got {min(relevances)}")
    gains = [2**relevance - 1 for relevance in relevances]
    ideal = _discounted(gains, gains)
    return _discounted(gains, predicted) / ideal if ideal else 1.0


def spearman(scores: Sequence[float], predicted: Sequence[float]) -> float | None:
    """The correlation of ranks, equal values sharing their mean rank; ``None`` where either side is constant.

    Raises:
        ValueError: for lists of other lengths, or none.
    """
    _check(scores, predicted)
    one, other = _ranks(scores), _ranks(predicted)
    mean = (len(one) + 1) / 2
    spread = math.fsum((a - mean) ** 2 for a in one) * math.fsum((b - mean) ** 2 for b in other)
    if not spread:
        return None
    return math.fsum((a - mean) * (b - mean) for a, b in zip(one, other, strict=True)) / math.sqrt(spread)


def _discounted(gains: Sequence[float], predicted: Sequence[float]) -> float:
    total, rank = 0.0, 0
    for tied in _groups(gains, predicted):
        discounts = math.fsum(1 / math.log2(place + 2) for place in range(rank, rank + len(tied)))
        total += math.fsum(tied) / len(tied) * discounts
        rank += len(tied)
    return total


def _groups(values: Sequence[float], predicted: Sequence[float]) -> list[list[float]]:
    """The values by what is predicted of them, highest first, those of one prediction together."""
    order = sorted(zip(predicted, values, strict=True), key=lambda pair: -pair[0])
    return [[value for _, value in group] for _, group in groupby(order, key=lambda pair: pair[0])]


def _ranks(values: Sequence[float]) -> list[float]:
    place = {}
    start = 1
    for value, group in groupby(sorted(values)):
        count = len(list(group))
        place[value] = start + (count - 1) / 2
        start += count
    return [place[value] for value in values]


def _check(scores: Sequence[float], predicted: Sequence[float]) -> None:
    if not scores or len(scores) != len(predicted):
        raise ValueError(f"expected one prediction a score, got {len(predicted)} for {len(scores)}")
    if not all(map(math.isfinite, (*scores, *predicted))):
        raise ValueError("expected finite scores and predictions")
