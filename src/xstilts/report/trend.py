"""Whether scores rise, level off or turn with the number of tasks: tests and a verdict, all decided beforehand."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .scaling import above, below, contrast, different, equivalent, holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 0.01
"""Differences smaller than this count as none: one point of a hundred."""
LEVEL = 0.05
RISE, PLATEAU, INVERTED, FALL, FLAT, OPEN = "rise", "plateau", "inverted U", "fall", "no trend", "not decided"


class Trend(NamedTuple):
    """A verdict and the p values that it rests on, the first three adjusted for one another.

    Attributes:
        verdict: rise, plateau, inverted U, fall, no trend or not decided.
        up: of a rise from the first k to the last.
        down: of a fall.
        inverted: of a rise to a k between the first and the last, and a fall from it.
        still_rising: of a rise within the last half of the ks.
        level: of the last half of the ks all lying within the margin of their mean.
        same: of every k lying within the margin of the first.
    """

    verdict: Any
    up: Any
    down: Any
    inverted: Any
    still_rising: Any
    level: Any
    same: Any


def ordered(count: int) -> list[float]:
    """Weights of the contrast that finds the monotone trend hardest to find best (Abelson and Tukey 1963)."""
    edges = [math.sqrt(place * (1 - place / count)) for place in range(count + 1)]
    return [before - after for before, after in itertools.pairwise(edges)]


def line(ks: Sequence[float], first: int, last: int) -> list[float]:
    """Weights of the change of a fitted straight line from one place of ``ks`` to another; 0 outside."""
    inside = ks[first : last + 1]
    middle = sum(inside) / len(inside)
    scale = (inside[-1] - inside[0]) / sum((k - middle) ** 2 for k in inside)
    return [scale * (k - middle) if first <= at <= last else 0.0 for at, k in enumerate(ks)]


def breaks(count: int) -> list[int]:
    """Places where an inverted U may turn: about a quarter, half and three quarters of the way, never at an end."""
    return sorted({min(max(1, round(part * (count - 1) / 4)), count - 2) for part in (1, 2, 3)})


def shape_tests(
    levels: Sequence[NDArray[Any]], ks: Sequence[float], existing: Sequence[float] | None = None, nested: bool = False
) -> tuple[Any, Any]:
    """The p values of a change from first to last and of an inverted U, not adjusted for each other; see `trend`."""
    import numpy as np

    test = functools.partial(contrast, levels, existing=existing, nested=nested)
    count, places = len(ks), breaks(len(ks))
    turns = [np.maximum(above(test(line(ks, 0, at))), below(test(line(ks, at, count - 1)))) for at in places]
    # Both directions of the ordered contrast are one two-sided test of the family.
    return different(test(ordered(count))), np.minimum(1, len(places) * np.min(turns, axis=0))


def trend(
    levels: Sequence[NDArray[Any]],
    ks: Sequence[float],
    existing: Sequence[float] | None = None,
    margin: float = MARGIN,
    *,
    nested: bool = False,
    others: Sequence[Any] = (),
) -> Trend:
    """Test the shape of scores against k.

    An inverted U is two lines (Simonsohn 2018): one up to a place and one down from it, for the places of `breaks`,
    with Bonferroni's correction. That and a change from first to last are one family at 5 % (Holm), in which may be
    more. A rise is one that
    goes on in the last half of the ks; a plateau is one after which the last half is equivalent within the margin.

    Args:
        levels: as of `scaling.contrast`, k = 0 first.
        ks: the number of tasks of each, smallest first.
        existing: as of `scaling.contrast`.
        margin: the largest difference that counts as none.
        nested: as of `scaling.contrast`.
        others: `shape_tests` of other scores that are in the family.

    Raises:
        ValueError: for fewer than three ks, or a margin that is not above 0.
    """
    import numpy as np

    count = len(ks)
    if count < 3:
        raise ValueError(f"a trend over k = {', '.join(map(str, ks))}: expected three ks or more")
    if margin <= 0:
        raise ValueError(f"margin {margin:g}: expected a difference above 0")
    test = functools.partial(contrast, levels, existing=existing, nested=nested)
    rises = test(ordered(count)).value > 0
    family = holm(np.stack([*shape_tests(levels, ks, existing, nested), *others], axis=-1))
    up, down = (np.where(own, family[..., 0], 1.0) for own in (rises, ~rises))
    inverted = family[..., 1]
    first = count // 2
    still_rising = above(test(line(ks, first, count - 1)))
    tail = [
        [(at == one) - 1 / (count - first) if at >= first else 0.0 for at in range(count)]
        for one in range(first, count)
    ]
    level = np.max([equivalent(test(weights), margin) for weights in tail], axis=0)
    steps = [[float(at == one) - (at == 0) for at in range(count)] for one in range(1, count)]
    same = np.max([equivalent(test(weights), margin) for weights in steps], axis=0)
    verdict = np.select(
        [
            inverted <= LEVEL,
            down <= LEVEL,
            (up <= LEVEL) & (level <= LEVEL),
            (up <= LEVEL) & (still_rising <= LEVEL),
            same <= LEVEL,
        ],
        [INVERTED, FALL, PLATEAU, RISE, FLAT],
        OPEN,
    )
    return Trend(verdict, up, down, inverted, still_rising, level, same)
