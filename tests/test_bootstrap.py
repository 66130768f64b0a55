"""Clustered bootstrap intervals: how often they cover a known mean, and what is drawn together."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from xstilts.report.bootstrap import Interval, _drawn, _numbered, _Sums, bootstrap, paired

Draw = Callable[[np.random.Generator, int], Interval]


def covering(draw: Draw, count: int) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([found.low <= 0 <= found.high for found in (draw(rng, n) for n in range(count))]))


def questions(rng: np.random.Generator, number: int) -> Interval:
    """Twenty questions with one to six answers each."""
    labels = np.repeat(np.arange(20), rng.integers(1, 7, 20))
    values = rng.normal(0, 1, 20)[labels] + rng.normal(0, 1, labels.size)
    return bootstrap(values, labels.tolist(), num_resamples=500, seed=number)


def subsets_and_seeds(rng: np.random.Generator, number: int) -> Interval:
    """Eight subsets crossed with eight seeds."""
    values = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, (1, 8)) + rng.normal(0, 1, (8, 8))
    subsets, seeds = (place.ravel().tolist() for place in np.indices((8, 8)))
    return bootstrap(values.ravel(), subsets, seeds, num_resamples=500, seed=number)


def languages_and_seeds(rng: np.random.Generator, number: int) -> Interval:
    """Questions asked in three languages, which are strata, under six seeds."""
    shape = (3, 12, 6)
    values = rng.normal(0, 1, (1, 12, 1)) + rng.normal(0, 0.7, (1, 1, 6)) + rng.normal(0, 1, shape)
    languages, asked, seeds = (place.ravel().tolist() for place in np.indices(shape))
    return bootstrap(values.ravel(), asked, seeds, strata=languages, num_resamples=500, seed=number)


@pytest.mark.parametrize("draw", [questions, subsets_and_seeds, languages_and_seeds])
def test_intervals_cover_the_mean(draw: Draw) -> None:
    assert 0.91 <= covering(draw, 300) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("draw", [questions, subsets_and_seeds, languages_and_seeds])
def test_intervals_cover_the_mean_in_many_studies(draw: Draw) -> None:
    assert 0.93 <= covering(draw, 2000) <= 0.97


def test_the_error_of_crossed_clusters_by_hand() -> None:
    y = np.random.default_rng(0).normal(0, 1, (6, 5))
    factors = [place.ravel() for place in np.indices(y.shape)]
    once = [np.ones((1, size)) for size in y.shape]
    mean, error = _Sums(factors, np.zeros(30, dtype=int)).mean_and_error(y.ravel(), once)
    shift = (y - y.mean()) / y.size
    parts = [
        count / (count - 1) * float((z**2).sum()) for count, z in ((6, shift.sum(1)), (5, shift.sum(0)), (30, shift))
    ]
    assert mean[0] == pytest.approx(y.mean())
    assert error[0] ** 2 == pytest.approx(max(parts[0] + parts[1] - parts[2], parts[0], parts[1]))


def test_rows_of_one_question_are_no_independent_rows() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 10)
    values = rng.normal(0, 1, 30)[labels] + rng.normal(0, 0.1, labels.size)
    clustered, rows = bootstrap(values, labels.tolist()), bootstrap(values)
    assert clustered.mean == pytest.approx(values.mean())
    assert clustered.high - clustered.low > 2.5 * (rows.high - rows.low)
    expected = 2 * 2.05 * values.reshape(30, 10).mean(1).std(ddof=1) / math.sqrt(30)  # a t interval over questions
    assert clustered.high - clustered.low == pytest.approx(expected, rel=0.15)


def test_the_mean_is_that_of_the_strata() -> None:
    values = [1.0] * 8 + [2.0, 4.0] * 3
    strata = ["de"] * 8 + ["sw"] * 6
    found = bootstrap(values, strata=strata)
    assert found.mean == pytest.approx(2)
    assert found.low < 2 < found.high


def test_a_question_in_every_language_is_drawn_for_all_of_them() -> None:
    rng = np.random.default_rng(0)
    strata = _numbered(["de", "sw"] * 6 + ["de"] * 4)
    labels = _numbered([n // 2 for n in range(12)] + [20, 21, 22, 23])  # six in both languages, four in one
    drawn = _drawn(labels, strata, 50, rng)
    assert drawn[:, :6].sum(1).tolist() == [6] * 50
    assert drawn[:, 6:].sum(1).tolist() == [4] * 50


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, 40)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_values_pair_by_what_they_are_of() -> None:
    assert paired({("de", 1): 3.0, ("sw", 1): 1.0}, {("sw", 1): 4.0, ("de", 1): 1.0}) == {("de", 1): 2, ("sw", 1): -3}
    with pytest.raises(ValueError, match=r"pairs: \('sw', 1\) has a value on one side only, and 1 more"):
        paired({("de", 1): 3.0, ("sw", 2): 1.0}, {("sw", 1): 4.0, ("de", 1): 1.0})


def test_few_clusters_and_other_numbers_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="factor 2 has 3 clusters: expected 5 or more"):
        bootstrap(range(15), range(15), [n % 3 for n in range(15)])
    with pytest.raises(ValueError, match="4 labels of 5 values"):
        bootstrap(range(5), range(5), strata=range(4))
