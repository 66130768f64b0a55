"""Intervals of means by resampling clusters: languages, questions, subsets and seeds, crossed or within strata."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .stats import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MIN_CLUSTERS = 5
_CHUNK = 1 << 20


class Interval(NamedTuple):
    """A mean and both ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def paired(values: Mapping[Any, float], others: Mapping[Any, float]) -> dict[Any, float]:
    """``values`` less ``others`` of the same key, such as (seed, language, question).

    Raises:
        ValueError: where one has a key that the other lacks.
    """
    if lone := sorted(map(str, values.keys() ^ others.keys())):
        raise ValueError(f"pairs: {lone[0]} has a value on one side only, and {len(lone) - 1} more")
    return {key: value - others[key] for key, value in values.items()}


def bootstrap(
    values: ArrayLike,
    *clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of values with its studentised bootstrap interval.

    Each factor's clusters are drawn with replacement, independently of the other factors', and a value counts as often
    as all of its clusters were drawn together (Owen 2007). A cluster is drawn among those that lie in the same strata,
    so that questions asked in every language are drawn for all of them at once. A resample's distance from the mean is
    divided by its own standard error, that of crossed clusters (Cameron, Gelbach and Miller 2011).

    Args:
        values: such as differences to k = 0 of the same seed, language and question, see `paired`.
        clusters: for each factor, the cluster of every value; values alone are clusters if there is none.
        strata: of every value: the mean is that of the strata's means.
        num_resamples: number of resamples.
        seed: of the resampling.

    Raises:
        ValueError: for labels of another number than values, or a factor with fewer than five clusters.
    """
    import numpy as np

    y = np.asarray(values, dtype=float)
    factors = [_numbered(labels) for labels in clusters or (range(y.size),)]
    groups = _numbered(strata if strata is not None else [0] * y.size)
    for labels in (*factors, groups):
        if labels.shape != y.shape:
            raise ValueError(f"{labels.size} labels of {y.size} values: expected one for each")
    for number, labels in enumerate(factors, 1):
        if (found := int(labels.max()) + 1) < MIN_CLUSTERS:
            raise ValueError(f"factor {number} has {found} clusters: expected {MIN_CLUSTERS} or more to draw from")
    sums = _Sums(factors, groups)
    mean, error = sums.mean_and_error(y, [np.ones((1, int(labels.max()) + 1)) for labels in factors])
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // y.size)
    ratios = []
    for start in range(0, num_resamples, step):
        drawn = [_drawn(labels, groups, min(step, num_resamples - start), rng) for labels in factors]
        other, own = sums.mean_and_error(y, drawn)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(np.nan_to_num((other - mean) / own, nan=0.0, posinf=np.inf, neginf=-np.inf))
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(ratios), tails, method="median_unbiased")
    return Interval(float(mean[0]), float(mean[0] - high * error[0]), float(mean[0] - low * error[0]))


def _numbered(labels: Sequence[Hashable]) -> NDArray[Any]:
    import numpy as np

    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def _drawn(labels: NDArray[Any], strata: NDArray[Any], count: int, rng: Any) -> NDArray[Any]:
    """How often each cluster is drawn ``[count, num_clusters]``, among the clusters of the same strata."""
    import numpy as np

    drawn = np.zeros((count, int(labels.max()) + 1))
    for alike in _alike(labels, strata):
        drawn[:, alike] = rng.multinomial(len(alike), np.full(len(alike), 1 / len(alike)), size=count)
    return drawn


def _alike(labels: NDArray[Any], strata: NDArray[Any]) -> Iterator[list[int]]:
    """The clusters that lie in the same strata."""
    lies_in: dict[int, set[int]] = {}
    for label, stratum in zip(labels.tolist(), strata.tolist(), strict=True):
        lies_in.setdefault(label, set()).add(stratum)
    groups: dict[frozenset[int], list[int]] = {}
    for label, found in lies_in.items():
        groups.setdefault(frozenset(found), []).append(label)
    yield from groups.values()


class _Sums:
    """Means and standard errors of weighted values with crossed clusters."""

    def __init__(self, factors: Sequence[NDArray[Any]], strata: NDArray[Any]) -> None:
        import numpy as np
        from scipy.sparse import csr_array

        def indicator(labels: NDArray[Any]) -> Any:
            size = labels.size
            return csr_array((np.ones(size), (labels, np.arange(size))), shape=(int(labels.max()) + 1, size))

        self.factors, self.strata, self.in_stratum = factors, strata, indicator(strata)
        self.terms = []  # for each set of factors: their numbers, cells, the groups and the cells' factors
        for size in range(1, len(factors) + 1):
            for numbers in itertools.combinations(range(len(factors)), size):
                joint = _numbered(list(zip(*(factors[n].tolist() for n in numbers), strict=True)))
                _, first = np.unique(joint, return_index=True)
                own = [factors[n][first] for n in numbers]
                groups = [np.array(alike) for alike in _alike(joint, strata)]
                self.terms.append((numbers, indicator(joint), own, groups))

    def mean_and_error(self, y: NDArray[Any], drawn: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of resamples in which clusters were drawn so often: the mean of the strata's means, and its error."""
        import numpy as np

        weights = np.ones((len(drawn[0]), y.size))
        for labels, counts in zip(self.factors, drawn, strict=True):
            weights = weights * counts[:, labels]
        with np.errstate(invalid="ignore", divide="ignore"):
            total = (self.in_stratum @ weights.T).T
            means = (self.in_stratum @ (weights * y).T).T / total
            shift = weights * (y - means[:, self.strata]) / total[:, self.strata] / total.shape[1]
            parts = []
            for numbers, cells, own, groups in self.terms:
                sums = (cells @ shift.T).T
                copies = np.prod([drawn[n][:, labels] for n, labels in zip(numbers, own, strict=True)], axis=0)
                squares = np.where(copies > 0, sums**2 / copies, 0.0)
                part = sum(
                    len(g) / max(1, len(g) - 1) * (squares[:, g].sum(1) - sums[:, g].sum(1) ** 2 / len(g))
                    for g in groups
                )
                parts.append((len(numbers), part))
            crossed = sum(part if size % 2 else -part for size, part in parts)
            least = np.max([part for size, part in parts if size == 1], axis=0)
            return means.mean(1), np.sqrt(np.maximum(crossed, least))
