"""Statistics of a study that scales the number of tasks: gains, their errors, shares of variance, the best subset.

Pure functions of arrays, described in docs/statistics.md. The *levels* of a study are its ks, smallest first: for each
an array ``[..., num_subsets, num_seeds]`` of run averages with its seeds in one order, ``[..., 1, 1]`` where no random
choice reaches a level. Leading axes are studies of one shape, so that many are simulated at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .stats import CONFIDENCE, SAME

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

POWER = 0.8


class Estimate(NamedTuple):
    """A difference of means over subsets and seeds, its standard error, and the degrees of freedom of that.

    The last two are not a number where the levels have one seed, or scores so equal that nothing is known of the error.
    """

    value: Any
    error: Any
    freedom: Any


def contrast(
    levels: Sequence[NDArray[Any]],
    weights: Sequence[float],
    existing: Sequence[float] | None = None,
    *,
    nested: bool = False,
) -> Estimate:
    """The weighted sum of the levels' means, with subsets and seeds as crossed random effects.

    The seeds' part of the squared error is that of the mean of one contrast a seed, whatever seeds share over levels;
    each level's subsets add ``weight² (1 - S / existing) (MS_subset - MS_residual) / (S R)`` for S subsets and R seeds.
    The freedom is Satterthwaite's (1946), no less than the smallest of a part's; a sum over subsets that is negative
    counts as none.

    Args:
        levels: see the module; a level of one subset adds no error of choosing it.
        weights: one a level; they add to 0 for a difference.
        existing: how many subsets of each level's size there are to choose from: the estimate is of the mean over
            these, endlessly many when not given.
        nested: subsets at one place of all levels form a chain, as those along one order of tasks do: chains are what
            was drawn, out of endlessly many, and each has its own contrast; a level has all of them or one subset.

    Raises:
        ValueError: for levels whose numbers of seeds differ, or other numbers of weights than of levels.
    """
    import numpy as np

    num_seeds = max(level.shape[-1] for level in levels)
    if any(level.shape[-1] != num_seeds and level.shape[-2:] != (1, 1) for level in levels):
        counts = ", ".join(f"{level.shape[-2]} x {level.shape[-1]}" for level in levels)
        raise ValueError(f"expected every level to have all {num_seeds} seeds, found subsets x seeds {counts}")
    if nested:
        whole = sum(weight * level for weight, level in zip(weights, levels, strict=True))
        return contrast([np.broadcast_to(whole, (*np.shape(whole)[:-1], num_seeds))], [1.0])
    by_seed = sum(weight * level.mean(-2) for weight, level in zip(weights, levels, strict=True))
    value = np.mean(by_seed, axis=-1)
    if num_seeds < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    seeds = np.var(np.broadcast_to(by_seed, (*value.shape, num_seeds)), axis=-1, ddof=1) / num_seeds
    subsets, squares, least = np.zeros_like(value), np.zeros_like(value), num_seeds - 1
    for level, weight, number in zip(levels, weights, existing or [math.inf] * len(levels), strict=True):
        if not weight or (count := level.shape[-2]) < 2 or count >= number:
            continue
        means = level.mean(-1, keepdims=True)
        between = num_seeds * means[..., 0].var(-1, ddof=1)
        rest = level - means - level.mean(-2, keepdims=True) + level.mean((-2, -1), keepdims=True)
        residual = (rest**2).sum((-2, -1)) / ((count - 1) * (num_seeds - 1))
        factor = weight**2 * (1 - count / number) / (count * num_seeds)
        subsets = subsets + factor * (between - residual)
        squares = squares + factor**2 * (between**2 + residual**2 / (num_seeds - 1)) / (count - 1)
        least = min(least, count - 1)
    total = seeds + np.maximum(subsets, 0)
    total = np.where(np.sqrt(total) <= SAME * max(1.0, *(np.abs(level).max() for level in levels)), np.nan, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.maximum(total**2 / (seeds**2 / (num_seeds - 1) + squares), least)
    freedom = np.where(subsets > 0, freedom, num_seeds - 1)
    return Estimate(value, np.sqrt(total), np.where(np.isnan(total), np.nan, freedom))


def gains(levels: Sequence[NDArray[Any]], existing: Sequence[float] | None = None) -> list[Estimate]:
    """The `contrast` of each further level with the first, k = 0: paired by seed where that has one value a seed."""
    units = ([float(at == k) for at in range(1, len(levels))] for k in range(1, len(levels)))
    return [contrast(levels, [-1.0, *unit], existing) for unit in units]


def interval(estimate: Estimate) -> tuple[Any, Any]:
    """Both ends of the two-sided 95 % t interval."""
    half = critical(estimate.freedom) * estimate.error
    return estimate.value - half, estimate.value + half


def critical(freedom: Any, level: float = 1 - CONFIDENCE) -> Any:
    """Student's t that is exceeded in size with probability ``level``."""
    from scipy.stats import t

    return t.isf(level / 2, freedom)


def above(estimate: Estimate, least: float = 0.0) -> Any:
    """The one-sided p value of an estimate that is larger than ``least``; not a number without an error."""
    from scipy.stats import t

    return t.sf((estimate.value - least) / estimate.error, estimate.freedom)


def below(estimate: Estimate, most: float = 0.0) -> Any:
    """The one-sided p value of an estimate that is smaller than ``most``."""
    return above(estimate._replace(value=-estimate.value), -most)


def different(estimate: Estimate) -> Any:
    """The two-sided p value of an estimate that is not 0."""
    import numpy as np

    return 2 * np.minimum(above(estimate), below(estimate))


def equivalent(estimate: Estimate, margin: float) -> Any:
    """The p value of an estimate within ``margin`` of 0: the larger of two one-sided ones (Schuirmann 1987)."""
    import numpy as np

    return np.maximum(above(estimate, -margin), below(estimate, margin))


def holm(p_values: ArrayLike) -> NDArray[Any]:
    """Adjust the p values of a family, along the last axis, for being several (Holm 1979)."""
    import numpy as np

    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=-1)
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(steps, axis=-1), 1)
    return np.take_along_axis(adjusted, np.argsort(order, axis=-1), -1)


def detectable(error: float, freedom: float, power: float = POWER) -> float:
    """The smallest true difference that a two-sided t test at 5 % finds with a ``power``, by the noncentral t."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    limit = float(critical(freedom))

    def lacking(shift: float) -> float:
        return float(nct.sf(limit, freedom, shift)) + float(nct.sf(limit, freedom, -shift)) - power

    return error * float(brentq(lacking, 0, 4 * limit))


class Best(NamedTuple):
    """The best of a level's subsets.

    Attributes:
        index: of the subset whose mean over seeds is the highest.
        apparent: that mean, which is too high, since it was chosen for being high.
        expected: the mean on a seed of the subset that the other seeds choose, over all seeds.
        by_chance: by how much the highest mean exceeds the true one if all subsets are alike.
    """

    index: Any
    apparent: Any
    expected: Any
    by_chance: Any


def best(level: NDArray[Any]) -> Best:
    """The best subset of a level ``[..., num_subsets, num_seeds]`` and its value without the luck of being chosen.

    Raises:
        ValueError: for one seed, which cannot both choose and measure.
    """
    import numpy as np

    *_, num_subsets, num_seeds = level.shape
    if num_seeds < 2:
        raise ValueError(f"the best of {num_subsets} subsets: expected two seeds or more, some to choose by")
    total = level.sum(-1)
    chosen = np.argmax(total[..., None] - level, axis=-2)  # by all seeds but one
    expected = np.take_along_axis(level, chosen[..., None, :], -2)[..., 0, :].mean(-1)
    rest = level - level.mean(-2, keepdims=True)
    rest = rest - rest.mean(-1, keepdims=True)
    freedom = max(1, (num_subsets - 1) * (num_seeds - 1))
    noise = np.sqrt((rest**2).sum((-2, -1)) / freedom / num_seeds)
    return Best(total.argmax(-1), total.max(-1) / num_seeds, expected, noise * expected_maximum(num_subsets))


@functools.cache
def expected_maximum(count: int) -> float:
    """The mean of the largest of ``count`` independent standard normal numbers."""
    from scipy.integrate import quad
    from scipy.stats import norm

    return float(quad(lambda x: x * count * norm.pdf(x) * norm.cdf(x) ** (count - 1), -10, 10)[0])


def components(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The variance that each factor adds to a value, and last what is left: interactions of factors, and noise.

    The unbiased estimates of an analysis of variance with the factors' main effects, their mean over the levels where a
    factor has two values or more; a negative one is 0, one that no level has is not a number.

    Args:
        arrays: for every level an array with an axis a factor, in one order.
    """
    import numpy as np

    found = []
    for array in arrays:
        grand = array.mean()
        factors = [array.mean(tuple(at for at in range(array.ndim) if at != axis)) for axis in range(array.ndim)]
        fitted = np.full(array.shape, (1 - array.ndim) * grand)
        for axis, means in enumerate(factors):
            fitted = fitted + means.reshape([-1 if at == axis else 1 for at in range(array.ndim)])
        freedom = array.size - 1 - sum(size - 1 for size in array.shape)
        rest = ((array - fitted) ** 2).sum() / freedom if freedom else np.nan
        own = [means.var(ddof=1) - rest * means.size / array.size if means.size > 1 else np.nan for means in factors]
        found.append([*own, rest])
    table = np.asarray(found)
    known = ~np.isnan(table)
    sums = np.where(known, table, 0).sum(0)
    return np.where(known.any(0), np.maximum(sums, 0) / np.maximum(known.sum(0), 1), np.nan)
