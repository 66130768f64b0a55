"""Verdicts on the shape of scores against k: their error rates and their power under planted shapes."""

from __future__ import annotations

import numpy as np
import pytest

from test_by_number import studies
from xstilts.report import scaling
from xstilts.report.trend import FALL, FLAT, INVERTED, LEVEL, PLATEAU, RISE, Trend, breaks, line, ordered, trend

KS = range(10)
FEW, MANY = (5, 5), (10, 10)
SPREAD = (0.7, 0.7, 0.3, 0.5)
MARGIN = 1.0
SHAPES = {
    "flat": [0.0 for k in KS],
    "rise": [0.8 * k for k in KS],
    "plateau": [4.0 * min(k, 2) / 2 for k in KS],
    "turn": [4 - 0.25 * (k - 4) ** 2 for k in KS],
    "early turn": [2.0 * k if k < 3 else 4 - 0.5 * (k - 2) for k in KS],
    "fall": [-0.5 * k for k in KS],
}


def found(shape: list[float], size: tuple[int, int] = FEW, count: int = 1000, seed: int = 0) -> Trend:
    subsets, seeds = size
    levels = studies(np.random.default_rng(seed), count, shape, subsets=subsets, seeds=seeds, spread=SPREAD)
    return trend(levels, KS, margin=MARGIN)


def share(verdicts: np.ndarray, *names: str) -> float:
    return float(np.isin(verdicts, names).mean())


def test_the_contrasts_by_hand() -> None:
    assert ordered(3) == pytest.approx([-np.sqrt(2 / 3), 0, np.sqrt(2 / 3)])
    assert ordered(4) == pytest.approx([-(0.75**0.5), 0.75**0.5 - 1, 1 - 0.75**0.5, 0.75**0.5])
    assert breaks(10) == [2, 4, 7]
    assert breaks(5) == [1, 2, 3]
    assert breaks(3) == [1]
    scores = np.array([9.0, 1.0, 4.0, 3.0, 9.0])
    ks = (0, 1, 2, 5, 9)
    fit = np.polyfit(ks[1:4], scores[1:4], 1)[0]
    assert np.dot(line(ks, 1, 3), scores) == pytest.approx(fit * 4)


@pytest.mark.parametrize(
    ("shape", "verdict", "power"),
    [("rise", RISE, 0.95), ("turn", INVERTED, 0.95), ("early turn", INVERTED, 0.8), ("fall", FALL, 0.95)],
)
def test_a_planted_shape_is_found_with_five_subsets_and_seeds(shape: str, verdict: str, power: float) -> None:
    assert share(found(SHAPES[shape]).verdict, verdict) >= power


def test_a_plateau_and_no_trend_take_ten_subsets_and_seeds() -> None:
    assert share(found(SHAPES["plateau"], MANY).verdict, PLATEAU) >= 0.8
    assert share(found(SHAPES["flat"], (20, 20), 300).verdict, FLAT) >= 0.8


def test_no_shape_is_seen_where_there_is_none() -> None:
    seen = found(SHAPES["flat"], count=4000)
    assert share(seen.verdict, RISE, PLATEAU, INVERTED, FALL) <= LEVEL


def test_the_ordered_contrast_has_its_level() -> None:
    levels = studies(np.random.default_rng(0), 4000, SHAPES["flat"], spread=SPREAD)
    p = scaling.different(scaling.contrast(levels, ordered(10)))
    assert 0.03 <= (p <= LEVEL).mean() <= 0.06


def test_chains_of_subsets_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    walks = rng.normal(0, 1, (2000, 9, 5, 1)).cumsum(1)  # a subset differs from the one it grew from by one step
    levels = [np.zeros((2000, 1, 1)), *(walks[:, at] + rng.normal(0, 0.3, (2000, 5, 5)) for at in range(9))]
    whole, apart = (scaling.different(scaling.contrast(levels, ordered(10), nested=n)) for n in (True, False))
    assert 0.035 <= (whole <= LEVEL).mean() <= 0.065
    assert (apart <= LEVEL).mean() > 0.08
    assert share(trend(levels, KS, margin=MARGIN, nested=True).verdict, RISE, PLATEAU, INVERTED, FALL) <= LEVEL + 0.01


@pytest.mark.parametrize("size", [FEW, MANY])
def test_a_wrong_shape_is_seen_no_more_often_than_the_level(size: tuple[int, int]) -> None:
    assert share(found(SHAPES["plateau"], size).verdict, INVERTED, FALL) <= LEVEL + 0.015
    assert share(found(SHAPES["plateau"], size).verdict, RISE) <= LEVEL + 0.015
    just_outside = [4.0 * min(k, 2) / 2 + (MARGIN if k == 9 else -MARGIN / 4 if k > 4 else 0) for k in KS]
    assert share(found(just_outside, size).verdict, PLATEAU) <= LEVEL + 0.015
    beyond = [MARGIN if k == 5 else 0.0 for k in KS]
    assert share(found(beyond, size).verdict, FLAT) <= LEVEL + 0.015


def test_a_quadratic_would_see_a_turn_in_a_plateau() -> None:
    levels = studies(np.random.default_rng(0), 1000, SHAPES["plateau"], spread=SPREAD)
    fit = np.linalg.pinv(np.vander(np.array(KS, float), 3, increasing=True))  # coefficients from means
    start, end = (fit[1] + 2 * fit[2] * k for k in (0, 9))  # slopes at both ends (Lind and Mehlum 2010)
    p = np.maximum(scaling.above(scaling.contrast(levels, start)), scaling.below(scaling.contrast(levels, end)))
    assert (p <= LEVEL).mean() > 0.3


def test_what_no_trend_can_be_said_of_is_refused() -> None:
    levels = [np.zeros((1, 1)), np.ones((2, 3)), np.ones((2, 3))]
    with pytest.raises(ValueError, match="k = 0, 1: expected three ks"):
        trend(levels[:2], (0, 1))
    with pytest.raises(ValueError, match="margin 0: expected"):
        trend(levels, (0, 1, 2), margin=0)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(3, 3), (3, 5), (5, 3), FEW, MANY])
def test_error_rates_in_many_studies(size: tuple[int, int]) -> None:
    assert share(found(SHAPES["flat"], size, 10_000, 1).verdict, RISE, PLATEAU, INVERTED, FALL) <= LEVEL + 0.005
    plateau = found(SHAPES["plateau"], size, 10_000, 1).verdict
    assert share(plateau, INVERTED, FALL) <= LEVEL + 0.005
    assert share(plateau, RISE) <= LEVEL + 0.005
