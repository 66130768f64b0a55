"""Metrics against hand-worked cases, brute force and properties."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts import metrics
from xstilts.metrics.classification import accuracy, f1_of, majority_share
from xstilts.metrics.language_model import loss, perplexity
from xstilts.metrics.retrieval import accuracy_at_1


def test_accuracy_is_the_share_of_equal_labels() -> None:
    assert accuracy(["a", "b", "c", "a"], ["a", "b", "a", "a"]) == 3 / 4
    assert accuracy([1], [2]) == 0.0


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    assert f1_of(2, 4, 3) == (pytest.approx(4 / 7), 2 / 4, 2 / 3)
    assert f1_of(3, 3, 3) == (1.0, 1.0, 1.0)
    assert f1_of(0, 0, 3) == f1_of(0, 3, 0) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("predictions", "golds"), [(["a"], []), ([], ["a"]), ([], []), (["a", "b"], ["a"])])
def test_accuracy_refuses_what_has_no_answer(predictions: list[str], golds: list[str]) -> None:
    with pytest.raises(ValueError, match="accuracy"):
        accuracy(predictions, golds)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1), st.randoms())
def test_accuracy_does_not_depend_on_the_order_of_examples(pairs: list[tuple[str, str]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert accuracy(*zip(*pairs, strict=True)) == accuracy(*zip(*shuffled, strict=True))


def test_majority_share_is_that_of_the_most_frequent_label() -> None:
    assert majority_share(["a", "b", "b", "c"]) == 2 / 4
    with pytest.raises(ValueError, match="at least one"):
        majority_share([])


def test_retrieval_by_hand() -> None:
    neighbours = [[0, 1], [2, 1], [1, 2], [3, 0], [4, 2]]
    similarities = [[0.9, 0.1], [0.5, 0.5], [0.7, 0.7], [0.8, 0.8], [0.6, 0.2]]
    found = accuracy_at_1(neighbours, similarities, [0, 1, 2, 3, 3])
    # right; tie won by index 1; tie lost to index 1; tie lost to index 0; wrong
    assert found == (2 / 5, 5, 3)


def test_a_tie_between_two_wrong_candidates_does_not_matter() -> None:
    assert accuracy_at_1([[1, 2, 0]], [[0.5, 0.5, 0.4]], [0]) == (0.0, 1, 0)


def brute_force(queries: np.ndarray, candidates: np.ndarray) -> tuple[float, int, int]:
    """XTREME's definition in plain loops: the first candidate of the highest dot product."""
    right = ties = 0
    for number, query in enumerate(queries):
        similarities = [float(query @ candidate) for candidate in candidates]
        best = max(similarities)
        right += similarities.index(best) == number
        ties += similarities[number] == best and similarities.count(best) > 1
    return right / len(queries), len(queries), ties


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 10_000))
def test_retrieval_equals_brute_force_in_any_order_of_rows_and_neighbours(size: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, candidates = rng.integers(-1, 2, (2, size, width)).astype(np.float64)  # coarse, so that ties are common
    similarities = queries @ candidates.T
    neighbours = np.argsort(-similarities, axis=1, kind="stable")
    similarities = np.take_along_axis(similarities, neighbours, axis=1)
    expected = brute_force(queries, candidates)
    gold = np.arange(size)
    assert accuracy_at_1(neighbours, similarities, gold) == expected
    rows, columns = rng.permutation(size), rng.permutation(size)
    assert accuracy_at_1(neighbours[rows][:, columns], similarities[rows][:, columns], gold[rows]) == expected


@pytest.mark.parametrize(
    ("neighbours", "similarities", "gold"),
    [
        ([[0]], [[0.1]], [0, 1]),
        ([[0, 1]], [[0.1]], [0]),
        ([0], [0.1], [0]),
        (np.zeros((0, 3)), np.zeros((0, 3)), []),
        (np.zeros((2, 0)), np.zeros((2, 0)), [0, 1]),
        ([[0, 1]], [[float("nan"), 0.1]], [0]),
    ],
)
def test_retrieval_refuses_what_has_no_answer(neighbours: object, similarities: object, gold: object) -> None:
    with pytest.raises(ValueError, match="accuracy at 1"):
        accuracy_at_1(neighbours, similarities, gold)  # type: ignore[arg-type]


def test_the_registry_knows_every_metric_by_kind_and_name() -> None:
    assert metrics.find("classify", "accuracy").function is accuracy
    assert metrics.find("choose", "accuracy").function is accuracy
    assert metrics.find("embed", "accuracy") == (accuracy_at_1, 1)
    assert metrics.find("embed", "accuracy").options == {}
    assert all(metric.version >= 1 for metric in metrics.METRICS.values())
    with pytest.raises(ValueError, match=r"unknown metric 'acuracy'.*did you mean 'accuracy'"):
        metrics.find("classify", "acuracy")
    with pytest.raises(ValueError, match="expected one of characters, mlqa, squad, squad-v2"):
        metrics.find("span", "f1")
    with pytest.raises(ValueError, match="expected one of none"):
        metrics.find("spam", "f1")


def test_importing_metrics_loads_nothing_heavy() -> None:
    code = "import sys, xstilts.metrics; print(*sorted({'numpy', 'torch', 'pyarrow', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_perplexity_is_over_all_masked_tokens() -> None:
    # 2 tokens of ln 2 nats each and 2 of ln 8: the geometric mean of 2, 2, 8, 8 is 4
    assert perplexity([2 * math.log(2), 0.0, 2 * math.log(8)], [2, 0, 2]) == pytest.approx(4.0)
    assert perplexity([math.log(2), 3 * math.log(8)], [1, 3]) == pytest.approx(2**2.5)
    assert loss([math.log(2), 3 * math.log(8)], [1, 3]) == pytest.approx(2.5 * math.log(2))


@pytest.mark.parametrize(("losses", "counts"), [([], []), ([0.0], [0]), ([1.0, 2.0], [1])])
def test_perplexity_without_masked_tokens_does_not_exist(losses: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match="perplexity"):
        perplexity(losses, counts)
