"""Rankings, margins, mining and transforms of vectors against hand-worked cases, brute force and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics.mining import MARGINS, RETRIEVALS, Pairs, best_threshold, margin_scores, mine, pair_f1
from xstilts.metrics.retrieval import (
    Neighbours,
    accuracy_at_1,
    language_bias,
    mean_average_precision,
    mean_reciprocal_rank,
)
from xstilts.metrics.vectors import centre, remove_language_identity, whiten

seeds = st.integers(0, 100_000)


def search(similarities: np.ndarray, k: int | None = None) -> Neighbours:
    """An exact search in a matrix of similarities [Q, C]: the k nearest, the lower index first of equals."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, : k or similarities.shape[1]]
    return Neighbours(order, np.take_along_axis(similarities, order, axis=1))


# ------------------------------------------------------------ rankings


def test_average_precision_by_hand() -> None:
    found = search(np.array([[0.9, 0.8, 0.7, 0.6], [0.6, 0.7, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5]]))
    golds = [{0, 2}, {0, 1, 2}, [1]]
    # 1/1 and 2/3 of two; 1/2 and 2/3 of two, since the cut leaves no room for the third; a tie lost to index 0
    expected = [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 3, 1 / 2]
    scored = mean_average_precision(*found, golds, ["de", "en", "de"], k=3)
    assert scored.value == pytest.approx(sum(expected) / 3)
    assert scored.num_examples == 3
    assert scored.by_language == pytest.approx({"de": (expected[0] + expected[2]) / 2, "en": expected[1]})
    assert list(scored.by_language) == ["de", "en"]


def test_the_divisor_is_at_most_the_cut() -> None:
    found = search(np.array([[0.9, 0.8, 0.7]]))
    assert mean_average_precision(*found, [{0, 1, 2}], ["en"], k=2).value == 1.0
    one_of_eleven = mean_average_precision(*search(-np.arange(30.0)[None]), [{0, *range(20, 30)}], ["en"])
    assert one_of_eleven.value == pytest.approx(1 / 11), "LAReQA's floor: only the answer in the same language"


def test_reciprocal_rank_is_cut_and_averaged_over_languages() -> None:
    rows = -np.abs(np.arange(25.0)[None] - np.array([[0.0], [0.2], [24.0]]))
    found = search(rows)
    scored = mean_reciprocal_rank(*found, [0, 2, 4], ["de", "de", "ta"])
    # rank 1; rank 3; rank 21, which is cut
    assert scored.by_language == pytest.approx({"de": (1 + 1 / 3) / 2, "ta": 0.0})
    assert scored.value == pytest.approx((1 + 1 / 3) / 4)
    assert mean_reciprocal_rank(*found, [0, 2, 5], ["de", "de", "ta"]).by_language["ta"] == 1 / 20


def test_language_bias_by_hand() -> None:
    # Candidates 0 and 1 are German, 2 and 3 English.
    languages = ["de", "de", "en", "en"]
    found = search(np.array([[0.9, 0.5, 0.8, 0.1], [0.9, 0.8, 0.1, 0.7]]))
    bias = language_bias(*found, [{0, 2}, {1, 3}], ["de", "en"], languages, k=4)
    # Query 0: 0, 2 right of 0 2 1 3. Its own answer comes first, and without it the other one does.
    # Query 1: 1, 3 right of 0 1 3 2. Without 1 its own answer is second, and so is 1 without 3.
    assert bias == (1 / 2, (1 + 1 / 2) / 2, (1 + 1 / 2) / 2, 2, 2, 2)
    only_cross = language_bias(*found, [{2}, {0, 1}], ["de", "en"], languages, k=4)
    assert only_cross == (1 / 2, None, (1 / 2 + 1) / 2, 2, 0, 2)


def ranking_of(similarities: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(similarities)), key=lambda index: (-similarities[index], index))[:k]


def precision_of(ranking: list[int], right: set[int], k: int) -> float:
    """Average precision by its definition."""
    precisions = [
        sum(other in right for other in ranking[:rank]) / rank
        for rank, index in enumerate(ranking, start=1)
        if index in right
    ]
    return sum(precisions) / min(len(right), k)


@given(st.integers(1, 8), st.integers(1, 10), st.integers(1, 10), seeds)
def test_rankings_equal_brute_force_in_any_order(queries: int, candidates: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = min(k, candidates)
    similarities = rng.integers(0, 4, (queries, candidates)) / 4  # coarse, so that ties are common
    golds = [set(rng.permutation(candidates)[: rng.integers(1, candidates + 1)].tolist()) for _ in range(queries)]
    own, of = (rng.choice(["de", "en", "th"], size=size).tolist() for size in (queries, candidates))
    rankings = [ranking_of(row, k) for row in similarities]
    expected = [precision_of(ranking, right, k) for ranking, right in zip(rankings, golds, strict=True)]

    rows = rng.permutation(queries)
    columns = rng.permutation(candidates)
    neighbours, scores = (np.asarray(part)[rows][:, columns] for part in search(similarities))
    shuffled = [golds[row] for row in rows], [own[row] for row in rows]
    found = mean_average_precision(neighbours, scores, *shuffled, k=k)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.by_language == pytest.approx(
        {lang: np.mean([e for e, o in zip(expected, own, strict=True) if o == lang]) for lang in own}
    )

    single = [min(right) for right in golds]
    ranks = [1 / (1 + r.index(g)) if g in r else 0.0 for r, g in zip(rankings, single, strict=True)]
    by_language = [np.mean([r for r, o in zip(ranks, own, strict=True) if o == lang]) for lang in set(own)]
    reciprocal = mean_reciprocal_rank(neighbours, scores, [single[row] for row in rows], shuffled[1], k=k)
    assert reciprocal.value == pytest.approx(np.mean(by_language))

    bias = language_bias(neighbours, scores, *shuffled, of, k=k)
    assert bias.same_language_first == np.mean([of[r[0]] == o for r, o in zip(rankings, own, strict=True)])
    for same, value, size in ((True, bias.mono, bias.num_mono), (False, bias.cross, bias.num_cross)):
        parts = []
        for ranking, right, language in zip(rankings, golds, own, strict=True):
            group = {index for index in right if (of[index] == language) == same}
            if group:
                parts.append(precision_of([i for i in ranking if i not in right - group], group, k))
        assert size == len(parts)
        assert value == (pytest.approx(np.mean(parts)) if parts else None)


ONE = Neighbours([[0, 1]], [[0.5, 0.4]])


@pytest.mark.parametrize(
    ("found", "golds", "languages", "message"),
    [
        (ONE, [{0}, {1}], ["en"], "each of 1 queries, got 2 and 1"),
        (ONE, [{0}], [], "each of 1 queries, got 1 and 0"),
        (ONE, [set()], ["en"], "query 0: expected at least one right candidate"),
        (ONE, [{-1}], ["en"], "indices of candidates from 0, got -1"),
        (Neighbours([[0, -1]], [[0.5, 0.4]]), [{0}], ["en"], "indices of candidates from 0, got -1"),
        (Neighbours([[0, 0]], [[0.5, 0.4]]), [{0}], ["en"], "a candidate comes twice"),
        (Neighbours([[0]], [[0.5]]), [{0}], ["en"], "at least k = 2 neighbours"),
        (Neighbours([[0, 1]], [[0.5, math.inf]]), [{0}], ["en"], "not finite"),
        (Neighbours([[0, 1]], [[0.5]]), [{0}], ["en"], r"the shapes \[1, 2\] and \[1, 1\]"),
        (Neighbours(np.zeros((0, 2)), np.zeros((0, 2))), [], [], "at least one query"),
    ],
)
def test_rankings_refuse_what_has_no_answer(
    found: Neighbours, golds: list[set[int]], languages: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=f"mean average precision.*{message}"):
        mean_average_precision(*found, golds, languages, k=2)
    with pytest.raises(ValueError, match=f"language bias.*{message}"):
        language_bias(*found, golds, languages, ["en", "de"], k=2)
    with pytest.raises(ValueError, match=r"language bias: expected candidates from 0 to 0.*got 0 to 1"):
        language_bias(*ONE, [{0}], ["en"], ["en"], k=2)


# ------------------------------------------------------------ margins and mining


def both(similarities: np.ndarray, k: int | None = None) -> tuple[Neighbours, Neighbours]:
    return search(similarities, k), search(similarities.T, k)


def test_a_margin_passes_over_a_hub_by_hand() -> None:
    forward, backward = both(np.array([[0.9, 0.5], [0.8, 0.7]]))
    assert accuracy_at_1(*forward, [0, 1]).value == 0.5, "candidate 0 is near to both queries"
    ratio = margin_scores(forward, backward, k=2)
    assert np.asarray(ratio.similarities) == pytest.approx(
        np.array([[0.9 / ((0.7 + 0.85) / 2), 0.5 / ((0.7 + 0.6) / 2)], [0.8 / ((0.75 + 0.85) / 2), 0.7 / 0.675]])
    )
    assert accuracy_at_1(*ratio, [0, 1]).value == 1.0
    csls = margin_scores(forward, backward, margin="csls", k=2)
    assert np.asarray(csls.similarities) == pytest.approx(
        np.array([[1.8 - 0.7 - 0.85, 1.0 - 0.7 - 0.6], [1.6 - 0.75 - 0.85, 1.4 - 0.75 - 0.6]])
    )
    assert accuracy_at_1(*margin_scores(forward, backward, margin="absolute", k=2), [0, 1]).value == 0.5


def margins_of(similarities: np.ndarray, margin: str, k: int) -> np.ndarray:
    """Margin scores of the whole matrix [Q, C], minus infinity for what is not among the k nearest of a row."""
    result = np.full(similarities.shape, -math.inf)
    for query, row in enumerate(similarities):
        mean = sum(sorted(row, reverse=True)[:k]) / min(k, len(row))
        for candidate in ranking_of(row, k):
            column = similarities[:, candidate]
            other = sum(sorted(column, reverse=True)[:k]) / min(k, len(column))
            similarity = row[candidate]
            ratio, csls = similarity / ((mean + other) / 2), 2 * similarity - mean - other
            result[query, candidate] = {"ratio": ratio, "csls": csls, "absolute": similarity}[margin]
    return result


def mined_by_hand(similarities: np.ndarray, margin: str, retrieval: str, k: int) -> list[tuple[int, int]]:
    """Pairs by the definitions, the best left over again and again."""
    ahead, back = margins_of(similarities, margin, k), margins_of(similarities.T, margin, k)
    forward = {(q, int(row.argmax())): float(row.max()) for q, row in enumerate(ahead)}
    backward = {(int(row.argmax()), c): float(row.max()) for c, row in enumerate(back)}
    if retrieval in ("fwd", "bwd"):
        chosen = forward if retrieval == "fwd" else backward
    elif retrieval == "intersect":
        chosen = {pair: score for pair, score in forward.items() if pair in backward}
    else:
        left, chosen = {**forward, **backward}, {}
        while left:
            best = min(left, key=lambda pair: (-left[pair], pair))
            chosen[best] = left[best]
            left = {pair: score for pair, score in left.items() if pair[0] != best[0] and pair[1] != best[1]}
    return sorted(chosen, key=lambda pair: (-chosen[pair], pair))


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from(MARGINS),
    st.sampled_from(RETRIEVALS),
    seeds,
)
def test_margins_and_mined_pairs_equal_brute_force(
    queries: int, candidates: int, k: int, margin: str, retrieval: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    similarities = 15 * 2.0 ** rng.integers(-2, 2, (queries, candidates))  # coarse; means of up to 5 of these are exact
    forward, backward = both(similarities, k=6)
    shuffle = rng.permutation(np.asarray(forward.indices).shape[1])
    forward = Neighbours(np.asarray(forward.indices)[:, shuffle], np.asarray(forward.similarities)[:, shuffle])
    expected = margins_of(similarities, margin, k)
    found = margin_scores(forward, backward, margin=margin, k=k)
    whole = np.full(similarities.shape, -math.inf)
    np.put_along_axis(whole, np.asarray(found.indices), np.asarray(found.similarities), axis=1)
    assert whole == pytest.approx(expected)
    pairs = mine(forward, backward, margin=margin, retrieval=retrieval, k=k)
    mined = list(zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True))
    assert mined == mined_by_hand(similarities, margin, retrieval, k)
    assert (np.diff(pairs.scores) <= 0).all()


def test_mining_by_hand() -> None:
    forward, backward = both(np.array([[0.9, 0.8, 0.1], [0.85, 0.2, 0.1]]))
    pairs = {
        retrieval: [
            (int(source), int(target), float(score))
            for source, target, score in zip(
                *mine(forward, backward, margin="absolute", retrieval=retrieval), strict=True
            )
        ]
        for retrieval in RETRIEVALS
    }
    assert pairs["fwd"] == [(0, 0, 0.9), (1, 0, 0.85)]
    assert pairs["bwd"] == [(0, 0, 0.9), (0, 1, 0.8), (0, 2, 0.1)]
    assert pairs["intersect"] == [(0, 0, 0.9)]
    assert pairs["max"] == [(0, 0, 0.9)], "every other pair has a sentence that is taken"


def pairs_of(scores: list[float]) -> Pairs:
    return Pairs(np.arange(len(scores)), np.arange(len(scores)), np.array(scores))


def test_threshold_and_f1_by_hand() -> None:
    pairs = pairs_of([1.4, 1.2, 1.2, 1.0, 0.8])
    gold = [(0, 0), (2, 2), (3, 3), (7, 7)]
    # F1 of 1, 3, 4 and 5 pairs: 2/5, 4/7, 6/8, 6/9
    assert best_threshold(pairs, gold) == pytest.approx(0.9)
    assert pair_f1(pairs, gold, best_threshold(pairs, gold)) == (3 / 4, 3 / 4, 3 / 4, 4, 4, 3)
    assert pair_f1(pairs, gold, 1.2)[3:] == (4, 3, 2)
    assert pair_f1(pairs, gold, 1.5) == (0.0, 0.0, 0.0, 4, 0, 0)
    assert pair_f1(pairs, gold, 1.2).value == pair_f1(pairs, gold, 1.2).f1
    assert best_threshold(pairs, [(9, 9)]) == 0.0
    assert best_threshold(pairs, [(number, number) for number in range(5)]) == 0.8, "all of them are extracted"
    assert best_threshold(pairs_of([]), gold) == 0.0
    above = math.nextafter(1.0, 2.0)
    assert best_threshold(pairs_of([above, 1.0]), [(0, 0)]) == above, "no number is half way between"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sets(st.integers(0, 14), min_size=1))
def test_no_threshold_is_better_than_the_best(scores: list[int], right: set[int]) -> None:
    pairs = pairs_of(sorted(map(float, scores), reverse=True))
    gold = [(number, number) for number in right]

    def f1(threshold: float) -> float:
        extracted = {number for number, score in enumerate(pairs.scores) if score >= threshold}
        return 2 * len(extracted & right) / (len(extracted) + len(right))

    best = best_threshold(pairs, gold)
    assert pair_f1(pairs, gold, best).f1 == pytest.approx(f1(best))
    assert f1(best) == max(f1(threshold / 2) for threshold in range(11))


def test_margins_and_mining_refuse_what_does_not_fit() -> None:
    forward, backward = both(np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2]]))
    with pytest.raises(ValueError, match=r"unknown margin 'ration'.*did you mean 'ratio'"):
        margin_scores(forward, backward, margin="ration")
    with pytest.raises(ValueError, match=r"unknown retrieval 'forward': expected one of fwd"):
        mine(forward, backward, retrieval="forward")
    with pytest.raises(ValueError, match=r"ratio margin: expected at least k = 3 neighbours .* got 2"):
        margin_scores(search(np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2]]), 2), backward)
    with pytest.raises(ValueError, match=r"csls margin: expected neighbours from 0 to 1"):
        margin_scores(forward, search(np.ones((2, 2))), margin="csls", k=2)
    with pytest.raises(ValueError, match="ratio margin: row 0: the mean similarity of the neighbourhoods is 0"):
        margin_scores(*both(np.zeros((2, 2))))
    for function in (best_threshold, lambda pairs, gold: pair_f1(pairs, gold, 0.0)):
        with pytest.raises(ValueError, match="at least one gold pair"):
            function(pairs_of([1.0]), [])
        with pytest.raises(ValueError, match="in the order of their scores"):
            function(pairs_of([1.0, 2.0]), [(0, 0)])


# ------------------------------------------------------------ transforms


def test_centring_takes_off_the_mean() -> None:
    assert centre([[1, 2], [3, 6]]).tolist() == [[-1, -2], [1, 2]]
    single = centre(np.array([[1, 2], [3, 6]], dtype=np.float32))
    assert single.dtype == np.float32
    offset = np.float64([1e3, -1e3])
    vectors = np.random.default_rng(0).normal(size=(50, 2))
    assert centre(vectors + offset) == pytest.approx(centre(vectors), abs=1e-9)


@given(st.integers(1, 6), st.integers(2, 12), st.integers(1, 3), seeds)
def test_language_identity_is_the_first_directions_of_the_language(
    size: int, dimensions: int, removed: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(20, dimensions)) + 3 * rng.normal(size=dimensions)
    vectors = rng.normal(size=(size, dimensions))
    removed = min(removed, dimensions)
    directions = np.linalg.svd(reference, full_matrices=False)[2][:removed]  # not centred
    expected = vectors.copy()
    for direction in directions:
        expected -= np.outer(vectors @ direction, direction)
    found = remove_language_identity(vectors, reference, num_components=removed)
    assert found == pytest.approx(expected, abs=1e-9)
    assert found @ directions.T == pytest.approx(np.zeros((size, removed)), abs=1e-9)
    again = remove_language_identity(found, rng.permutation(7 * reference), num_components=removed)
    assert again == pytest.approx(found, abs=1e-9)


def test_removing_language_identity_brings_translations_together() -> None:
    rng = np.random.default_rng(1)
    meaning = rng.normal(size=(40, 8))
    meaning[:, :2] = 0  # the first two dimensions hold nothing but the language
    sides = [meaning + 30 * np.eye(8)[language] for language in (0, 1)]
    pool = np.concatenate(sides)
    apart = language_bias(
        *search(sides[0] @ pool.T), [{i + 40} for i in range(40)], ["de"] * 40, ["de"] * 40 + ["en"] * 40
    )
    without = [remove_language_identity(side, side) for side in sides]
    joined = np.concatenate(without)
    unit = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    together = language_bias(
        *search(unit[:40] @ unit.T), [{i, i + 40} for i in range(40)], ["de"] * 40, ["de"] * 40 + ["en"] * 40
    )
    assert apart.same_language_first == 1.0
    assert apart.cross == 0.0
    assert together.cross == pytest.approx(1.0)
    assert together.mono == pytest.approx(1.0)


def shrunk_by_hand(vectors: np.ndarray) -> np.ndarray:
    """The covariance of Ledoit and Wolf 2004, term by term."""
    size, dimensions = vectors.shape
    rows = vectors - sum(vectors) / size
    sample = sum(np.outer(row, row) for row in rows) / size
    level = sum(sample[i, i] for i in range(dimensions)) / dimensions
    target = level * np.eye(dimensions)

    def squared(matrix: np.ndarray) -> float:
        return float((matrix**2).sum()) / dimensions

    distance = squared(sample - target)
    error = min(sum(squared(np.outer(row, row) - sample) for row in rows) / size**2, distance)
    return error / distance * target + (1 - error / distance) * sample


@pytest.mark.parametrize(("size", "dimensions"), [(400, 5), (40, 12), (7, 12), (3, 2)])
def test_whitening_is_the_inverse_root_of_the_shrunk_covariance(size: int, dimensions: int) -> None:
    rng = np.random.default_rng(size)
    vectors = rng.normal(size=(size, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + 5
    found = whiten(vectors)
    root = np.linalg.solve(shrunk_by_hand(vectors), np.eye(dimensions))  # inverse, whose root is to be found
    matrix = np.linalg.lstsq(vectors - vectors.mean(0), found, rcond=None)[0] if size > dimensions else None
    if matrix is not None:
        np.testing.assert_allclose(matrix @ matrix, root, rtol=1e-7, atol=1e-9 * abs(root).max())
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-8 * abs(matrix).max())
    gram = (vectors - vectors.mean(0)) @ root @ (vectors - vectors.mean(0)).T
    np.testing.assert_allclose(found @ found.T, gram, rtol=1e-7, atol=1e-9 * abs(gram).max())
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    single = whiten(vectors.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, atol=1e-3)


def test_whitening_many_vectors_leaves_no_correlation_and_keeps_the_axes() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(20_000, 4))
    stretched = plain * [1, 3, 0.5, 2] + [7, 0, -2, 1]
    found = whiten(stretched)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(4), atol=0.01)
    np.testing.assert_allclose(found, plain, atol=0.1)  # a turned basis would be another language's


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[1.0, 2.0]] * 3, np.zeros((4, 3))])
def test_whitening_of_vectors_without_variance_leaves_nothing(vectors: object) -> None:
    assert not whiten(vectors).any()  # type: ignore[arg-type]


def test_whitening_two_vectors_is_finite() -> None:
    found = whiten([[0.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    np.testing.assert_allclose(found, [[0, -1, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("vectors", "reference", "count", "message"),
    [
        ([[1.0, 2.0]], [[1.0]], 1, "the shapes"),
        ([[1.0, 2.0]], [[1.0, 2.0]], 2, "and 2 components"),
        ([[1.0, 2.0]], [[1.0, 2.0]], 0, "and 0 components"),
        ([1.0, 2.0], [[1.0, 2.0]], 1, r"the shape \[2\]"),
        (np.zeros((0, 2)), [[1.0, 2.0]], 1, r"the shape \[0, 2\]"),
        ([[1.0, math.nan]], [[1.0, 2.0]], 1, "not finite"),
    ],
)
def test_transforms_refuse_what_does_not_fit(vectors: object, reference: object, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"language identity.*{message}"):
        remove_language_identity(vectors, reference, num_components=count)  # type: ignore[arg-type]
    if "components" not in message and message != "the shapes":
        with pytest.raises(ValueError, match=f"centre.*{message}"):
            centre(vectors)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"whiten.*{message}"):
            whiten(vectors)  # type: ignore[arg-type]
