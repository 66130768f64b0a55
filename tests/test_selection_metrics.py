"""Rankings and transferability: by hand, against slow references, and against other people's code."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.metrics import selection, transferability
from xstilts.metrics.selection import ndcg, regret, spearman
from xstilts.metrics.transferability import cosine, logme, probe_accuracy

FEW = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=5)


def orders(predicted: list[int]) -> list[tuple[int, ...]]:
    """Every order of the choices that a ranking allows."""
    every = itertools.permutations(range(len(predicted)))
    return [order for order in every if all(predicted[a] >= predicted[b] for a, b in itertools.pairwise(order))]


def test_regret_by_hand() -> None:
    scores, predicted = [0.8, 0.6, 0.5, 0.2], [1, 3, 2, 0]
    assert regret(scores, predicted, 1) == pytest.approx((0.8 - 0.6) / 0.8)
    assert regret(scores, predicted, 2) == pytest.approx((0.8 - 0.6) / 0.8)
    assert regret(scores, predicted, 3) == 0
    assert regret(scores, predicted, 9) == 0
    assert regret([0.4, 0.8], [0, 0], 1) == pytest.approx(0.25), "either of two: half of 0.4 / 0.8"
    assert regret([0.0, 0.0], [1, 0], 1) == 0


@given(FEW, st.integers(1, 6))
def test_regret_of_ties_is_the_mean_over_their_orders(pairs: list[tuple[int, int]], k: int) -> None:
    scores, predicted = [a / 4 for a, _ in pairs], [b for _, b in pairs]
    best = max(scores)
    losses = [(best - max(scores[at] for at in order[:k])) / best if best else 0.0 for order in orders(predicted)]
    assert regret(scores, predicted, k) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


def test_ndcg_by_hand() -> None:
    # gains 2^1 - 1 = 1, 2^0.5 - 1, 0; ranked second, first, third
    half = math.sqrt(2) - 1
    expected = (half + 1 / math.log2(3)) / (1 + half / math.log2(3))
    assert ndcg([1.0, 0.5, 0.0], [2, 3, 1]) == pytest.approx(expected)
    assert ndcg([1.0, 0.5, 0.0], [3, 2, 1]) == 1
    assert ndcg([0.0, 0.0], [1, 2]) == 1, "every order is the best one"


@given(FEW)
def test_ndcg_of_ties_is_the_mean_over_their_orders(pairs: list[tuple[int, int]]) -> None:
    relevances, predicted = [a / 4 for a, _ in pairs], [b for _, b in pairs]

    def discounted(order: Any) -> float:
        return sum((2 ** relevances[at] - 1) / math.log2(rank + 2) for rank, at in enumerate(order))

    ideal = discounted(sorted(range(len(pairs)), key=lambda at: -relevances[at]))
    every = [discounted(order) for order in orders(predicted)]
    expected = sum(every) / len(every) / ideal if ideal else 1.0
    assert ndcg(relevances, predicted) == pytest.approx(expected, abs=1e-12)


@given(FEW.filter(lambda pairs: len({a for a, _ in pairs}) > 1 and len({b for _, b in pairs}) > 1))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    scores, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    assert spearman(scores, predicted) == pytest.approx(scipy.stats.spearmanr(scores, predicted).statistic, abs=1e-12)


def test_a_constant_side_has_no_rank_correlation() -> None:
    assert spearman([1, 2], [0, 0]) is None
    assert spearman([1, 2, 3], [3, 2, 1]) == -1


@pytest.mark.parametrize("function", [ndcg, spearman, lambda a, b: regret(a, b, 1)])
def test_what_is_no_ranking_is_refused(function: Any) -> None:
    for scores, predicted in (([], []), ([1.0], [1.0, 2.0]), ([1.0, math.nan], [1, 2])):
        with pytest.raises(ValueError, match="expected"):
            function(scores, predicted)


def test_negative_worth_is_refused() -> None:
    with pytest.raises(ValueError, match="scores of 0 or more"):
        regret([-0.1, 0.2], [1, 2], 1)
    with pytest.raises(ValueError, match="relevances of 0 or more"):
        ndcg([-0.1, 0.2], [1, 2])
    assert selection.VERSION == transferability.VERSION == 1


# ------------------------------------------------------------ LogME


def dense_evidence(vectors: np.ndarray, target: np.ndarray) -> float:
    """The highest log density of y ~ N(0, I / beta + F F^T / alpha) over alpha and beta, with dense matrices."""
    gram = vectors @ vectors.T

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(target)) / beta + gram / alpha
        return -float(scipy.stats.multivariate_normal(np.zeros(len(target)), covariance).logpdf(target))

    how: dict[str, Any] = {"method": "Nelder-Mead", "bounds": [(-14, 14), (-6, 14)], "options": {"xatol": 1e-6}}
    starts = itertools.product((-4.0, 0.0, 4.0), (0.0, 3.0))
    found = [scipy.optimize.minimize(negative, start, **how) for start in starts]
    return -min(one.fun for one in found)


@pytest.mark.parametrize(("size", "width"), [(30, 4), (12, 20)])
def test_logme_is_the_best_evidence_of_a_dense_gaussian(size: int, width: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(size, width))
    labels = (vectors[:, 0] + rng.normal(size=size)) > 0
    expected = np.mean([dense_evidence(vectors, (labels == side).astype(float)) for side in (False, True)]) / size
    assert logme(vectors, labels) == pytest.approx(expected, abs=1e-5)


def test_logme_prefers_vectors_that_tell_the_classes_apart() -> None:
    rng = np.random.default_rng(1)
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, 90)]
    noise = rng.normal(size=(90, 6))
    apart = noise + 2 * np.array([[label == one for one in "abcabc"] for label in labels])
    assert logme(apart, labels) > logme(noise, labels) + 0.1
    turned = apart @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert logme(turned, labels) == pytest.approx(logme(apart, labels), abs=1e-9), "a rotation says nothing"
    assert logme(7 * apart, labels) == pytest.approx(logme(apart, labels), abs=1e-6), "nor does a scale"


# ------------------------------------------------------------ the linear probe


def slow_probe(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int) -> float:
    """The same by one fit for every row that is left out, and normal equations."""
    names = sorted(set(labels))
    targets = np.array([[float(label == name) for name in names] for label in labels])
    numbers = np.array([sorted(set(groups)).index(group) for group in groups])

    def fit(rows: np.ndarray, penalty: float) -> Any:
        middle, mean = vectors[rows].mean(0), targets[rows].mean(0)
        centred = vectors[rows] - middle
        square = centred.T @ centred + penalty * np.eye(vectors.shape[1])
        weights = np.linalg.solve(square, centred.T @ (targets[rows] - mean))
        return lambda x: (x - middle) @ weights + mean

    right = 0
    for fold in range(folds):
        rows, held = np.flatnonzero(numbers % folds != fold), np.flatnonzero(numbers % folds == fold)
        centred = vectors[rows] - vectors[rows].mean(0)
        unit = (np.linalg.svd(centred, compute_uv=False) ** 2).mean()
        errors = []
        for power in range(-6, 3):
            # a row left out of a ridge about the mean of all rows, whose intercept is then its own: fit with a column
            design = np.column_stack([np.ones(len(rows)), centred])
            square = design.T @ design + 10.0**power * unit * np.diag([0.0] + [1.0] * vectors.shape[1])
            error = 0.0
            for at in range(len(rows)):
                less = square - np.outer(design[at], design[at])
                weights = np.linalg.solve(less, design.T @ targets[rows] - np.outer(design[at], targets[rows][at]))
                error += float(np.square(targets[rows][at] - design[at] @ weights).mean()) / len(rows)
            errors.append(error)
        predict = fit(rows, 10.0 ** (int(np.argmin(errors)) - 6) * unit)
        right += sum(names[int(predict(vectors[at]).argmax())] == labels[at] for at in held)
    return right / len(labels)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_linear_probe_is_ridge_with_a_penalty_by_leaving_one_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b", "c"])[np.arange(36) % 3]
    vectors = rng.normal(size=(36, 5)) + 0.8 * np.array([[label == one for one in "abcab"] for label in labels])
    groups = rng.integers(0, 12, 36) * 10
    groups[:12] = np.arange(12) * 10
    assert probe_accuracy(vectors, labels, groups, folds=3) == slow_probe(vectors, labels, groups, 3)


def test_rows_of_one_group_are_never_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    labels = rng.integers(0, 2, 20)[groups]  # each group has a vector of its own and says nothing of other groups
    vectors = np.eye(20)[groups]
    assert probe_accuracy(vectors, labels, np.arange(80)) == 1, "its own rows give a group away"
    assert probe_accuracy(vectors, labels, groups) < 0.8


def test_what_has_no_classes_is_refused() -> None:
    vectors = np.ones((6, 2))
    for function in (logme, lambda v, y: probe_accuracy(v, y, range(6))):
        with pytest.raises(ValueError, match="two classes"):
            function(vectors, [1] * 6)
        with pytest.raises(ValueError, match="expected vectors"):
            function(vectors, [1, 2])
        with pytest.raises(ValueError, match="all of them are 0"):
            function(0 * vectors, [1, 2] * 3)
    with pytest.raises(ValueError, match="5 groups or more"):
        probe_accuracy(vectors, [1, 2] * 3, [0, 0, 1, 1, 2, 2])


def test_cosines() -> None:
    assert cosine([3, 4], [4, 3]) == pytest.approx(24 / 25)
    assert cosine([[1, 0], [0, 2]], [[1, 0], [0, -1]]) == 0, "the mean over rows"
    assert cosine([0, 0], [1, 1]) == 0
    with pytest.raises(ValueError, match="one shape"):
        cosine([1, 2], [1, 2, 3])
