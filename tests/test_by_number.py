"""Gains against k: their errors under simulated studies of known truth, and what the report says of them."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from test_report import ENCODER, LANGUAGES, PROFILE_LAYER, fill, leaves, mean_of, measure, only, parse, train, value_of
from xstilts import report
from xstilts.report import gains, rows, scaling, stats
from xstilts.report.blocks import Fold, Table, Text
from xstilts.report.bootstrap import bootstrap
from xstilts.report.by_number import blocks, design, families, place, variances
from xstilts.report.estimates import over_differences
from xstilts.report.trend import OPEN, shape_tests, trend
from xstilts.stage import Encoder

CURVE = (0.0, 1.0, 3.0, 2.0)


def studies(
    rng: np.random.Generator,
    count: int,
    curve: Sequence[float] = CURVE,
    *,
    subsets: int = 5,
    seeds: int = 5,
    spread: Sequence[float] = (1, 1, 0.5, 1),
    seeded_base: bool = True,
) -> list[np.ndarray]:
    """Levels ``[count, subsets, seeds]`` about a curve.

    ``spread``: standard deviations of subsets, of seeds, of a seed at one k, and of what is left.
    """
    of_subset, of_seed, of_both, rest = spread
    shared = rng.normal(0, of_seed, (count, 1, seeds))
    levels = [
        curve[0] + shared + rng.normal(0, rest, (count, 1, seeds)) if seeded_base else np.full((count, 1, 1), curve[0])
    ]
    for mean in curve[1:]:
        own = shared + rng.normal(0, of_both, (count, 1, seeds)) + rng.normal(0, of_subset, (count, subsets, 1))
        levels.append(mean + own + rng.normal(0, rest, (count, subsets, seeds)))
    return levels


def covered(estimate: scaling.Estimate, truth: float) -> float:
    low, high = scaling.interval(estimate)
    return float(((low <= truth) & (truth <= high)).mean())


# ------------------------------------------------------------ by hand


def test_where_every_subset_was_trained_on_a_gain_is_a_paired_t_test_over_seeds() -> None:
    rng = np.random.default_rng(0)
    levels = [level[0] for level in studies(rng, 1)]
    for at, gain in enumerate(scaling.gains(levels, existing=[1, 5, 5, 5]), 1):
        found = scipy.stats.ttest_rel(levels[at].mean(0), levels[0][0])
        expected = (found.pvalue, *found.confidence_interval())
        assert (float(scaling.different(gain)), *map(float, scaling.interval(gain))) == pytest.approx(expected)


def test_the_error_by_hand() -> None:
    level = np.array([[1.0, 2.0, 6.0], [2.0, 5.0, 5.0]])  # means of subsets 3 and 4, of seeds 1.5, 3.5, 5.5
    found = scaling.contrast([np.zeros((1, 1)), level], [-1, 1], existing=[1, 4])
    of_seeds = 4 / 3  # variance 4 of three means
    between, residual = 3 * 0.5, 2 * (0 + 1 + 1) / 2  # rests 0, -1, 1 and 0, 1, -1
    of_subsets = (1 - 2 / 4) / 6 * (between - residual)
    assert of_subsets < 0
    assert found == pytest.approx((3.5, math.sqrt(of_seeds), 2))
    wider = scaling.contrast([np.zeros((1, 1)), level + np.array([[0], [4]])], [-1, 1], existing=[1, 4])
    between = 3 * 5**2 / 2
    parts = [of_seeds, between / 12, -residual / 12]
    freedom = sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, (2, 1, 2), strict=True))
    assert wider == pytest.approx((5.5, math.sqrt(sum(parts)), freedom))


def test_the_error_is_that_of_restricted_maximum_likelihood() -> None:
    level = studies(np.random.default_rng(3), 1, (0, 1), subsets=4, spread=(2, 1, 0, 0.5), seeded_base=False)[1][0]
    y, (subset, seed) = level.ravel(), (place.ravel() for place in np.indices(level.shape))
    ones = np.ones(y.size)

    def inverse(logs: np.ndarray) -> np.ndarray:
        same = (subset[:, None] == subset, seed[:, None] == seed, np.eye(y.size))
        return np.linalg.inv(sum(np.exp(log) * part for log, part in zip(logs, same, strict=True)))

    def loss(logs: np.ndarray) -> float:
        weights = inverse(logs)
        rest = y - (ones @ weights @ y) / (ones @ weights @ ones)
        return float(rest @ weights @ rest - np.linalg.slogdet(weights)[1] + np.log(ones @ weights @ ones))

    best = scipy.optimize.minimize(loss, np.zeros(3), method="BFGS")
    (gain,) = scaling.gains([np.zeros((1, 1)), level])
    assert gain.error == pytest.approx((ones @ inverse(best.x) @ ones) ** -0.5, rel=1e-3)


def test_one_seed_has_a_gain_without_error_and_uneven_seeds_are_refused() -> None:
    (gain,) = scaling.gains([np.zeros((1, 1)), np.array([[1.0], [2.0]])])
    assert gain.value == 1.5
    assert math.isnan(gain.error)
    assert np.isnan(scaling.different(gain))
    with pytest.raises(ValueError, match="all 3 seeds, found subsets x seeds 1 x 2, 4 x 3"):
        scaling.gains([np.zeros((1, 2)), np.zeros((4, 3))])
    with pytest.raises(ValueError, match="two seeds or more"):
        scaling.best(np.zeros((3, 1)))


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_runs_that_all_agree_say_nothing_of_their_error(value: float) -> None:
    level = np.full((2, 3), value) + np.array([[0, 1, -1], [1, 0, 0]]) * 1e-17
    (gain,) = scaling.gains([np.zeros((1, 1)), level], existing=[1, 4])
    assert gain.value == pytest.approx(value)
    assert np.isnan([gain.error, gain.freedom, scaling.different(gain), *scaling.interval(gain)]).all()
    assert stats.summarise([value, value, value + 1e-17]) == (pytest.approx(value), None, None, 3)
    shape = trend([np.zeros((1, 1)), level, level + 1], (0, 1, 2), existing=[1, 4, 6])
    assert shape.verdict == OPEN


def test_p_values_are_of_the_side_that_is_asked() -> None:
    estimate = scaling.Estimate(np.array([1.0]), np.array([0.5]), np.array([4.0]))
    sides = (scaling.above(estimate), scaling.below(estimate), scaling.above(estimate, 3.0))
    assert [float(p[0]) for p in sides] == pytest.approx([*scipy.stats.t.sf([2, -2, -4], 4)])
    assert scaling.equivalent(estimate, 3.0) == pytest.approx(scipy.stats.t.sf(4, 4))
    assert scaling.equivalent(estimate, 0.5)[0] > 0.5


def test_a_family_is_adjusted_step_by_step() -> None:
    assert scaling.holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert scaling.holm([[0.9, 0.6], [0.01, 0.5]]).tolist() == [[1, 1], pytest.approx([0.02, 0.5])]


def test_the_largest_of_normal_numbers() -> None:
    exact = {1: 0, 2: 1 / math.sqrt(math.pi), 3: 1.5 / math.sqrt(math.pi)}
    assert {n: scaling.expected_maximum(n) for n in exact} == pytest.approx(exact, abs=1e-8)


# ------------------------------------------------------------ simulated studies


DESIGNS = [(3, 5), (5, 3), (5, 5), (10, 5), (5, 10), (10, 10)]


@pytest.mark.parametrize("seeded_base", [True, False])
@pytest.mark.parametrize(("subsets", "seeds"), DESIGNS)
def test_intervals_cover_the_gain(subsets: int, seeds: int, seeded_base: bool) -> None:
    levels = studies(np.random.default_rng(0), 1000, subsets=subsets, seeds=seeds, seeded_base=seeded_base)
    shares = [covered(gain, truth) for gain, truth in zip(scaling.gains(levels), CURVE[1:], strict=True)]
    assert 0.93 <= statistics.fmean(shares) <= 0.975


def test_some_gain_of_several_targets_is_sure_where_there_is_none_in_at_most_5_percent_of_studies() -> None:
    rng = np.random.default_rng(0)
    flat = [scaling.gains(studies(rng, 1000, (0.0,) * 4)) for _ in range(3)]
    p = np.stack([scaling.different(gain) for target in flat for gain in target], axis=-1)
    assert (scaling.holm(p).min(-1) <= 0.05).mean() <= 0.065  # 0.05 and two standard errors of 1,000 studies
    assert (p.min(-1) <= 0.05).mean() > 0.15, "without the family"


def test_intervals_that_count_runs_as_independent_do_not() -> None:
    _, level = studies(np.random.default_rng(0), 1000, (0, 1), seeds=3, seeded_base=False)
    runs = level.reshape(1000, -1)
    naive = scaling.Estimate(runs.mean(-1), runs.std(-1, ddof=1) / math.sqrt(15), 14.0)
    assert covered(naive, 1) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("spread", [(0, 0, 0, 1), (2, 1, 0, 1), (1, 3, 0.5, 1), (3, 0.5, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize(("subsets", "seeds"), [(3, 3), *DESIGNS])
def test_intervals_cover_the_gain_in_many_studies(subsets: int, seeds: int, spread: Sequence[float]) -> None:
    levels = studies(np.random.default_rng(1), 20_000, subsets=subsets, seeds=seeds, spread=spread)
    shares = [covered(gain, truth) for gain, truth in zip(scaling.gains(levels), CURVE[1:], strict=True)]
    assert 0.93 <= statistics.fmean(shares) <= 0.975


def test_subsets_of_a_few_tasks_are_a_finite_population() -> None:
    rng = np.random.default_rng(0)
    worth = rng.normal(0, 2, 6)
    population = np.array([worth[list(subset)].mean() for subset in itertools.combinations(range(6), 2)])
    chosen = np.argsort(rng.random((2000, 15)), axis=-1)[:, :10]
    level = population[chosen][..., None] + rng.normal(0, 0.2, (2000, 1, 5)) + rng.normal(0, 0.2, (2000, 10, 5))
    levels = [np.zeros((2000, 1, 1)), level]
    (finite,), (endless,) = scaling.gains(levels, [1, 15]), scaling.gains(levels)
    assert 0.93 <= covered(finite, population.mean()) <= 0.97
    assert covered(endless, population.mean()) > 0.98


def test_a_gain_of_the_detectable_size_is_found_as_often_as_promised() -> None:
    error, freedom = 0.5, 4
    size = scaling.detectable(error, freedom)
    rng = np.random.default_rng(0)
    errors = error * np.sqrt(rng.chisquare(freedom, 20_000) / freedom)
    found = scaling.Estimate(rng.normal(size, error, 20_000), errors, np.full(20_000, freedom))
    assert (scaling.different(found) < 0.05).mean() == pytest.approx(scaling.POWER, abs=0.01)


def test_the_best_of_equal_subsets_is_best_by_chance() -> None:
    level = np.random.default_rng(0).normal(1, 2, (4000, 8, 5))
    found = scaling.best(level)
    assert found.expected.mean() == pytest.approx(1, abs=0.04)
    assert (found.apparent - level.mean((-2, -1))).mean() == pytest.approx(found.by_chance.mean(), rel=0.03)
    assert found.by_chance.mean() > 1


def test_the_best_subset_is_found_and_valued_by_the_seeds_that_did_not_choose_it() -> None:
    level = np.random.default_rng(0).normal(0, 1, (4000, 4, 6)) + np.array([0, 0, 3, 0])[:, None]
    found = scaling.best(level)
    assert (found.index == 2).mean() > 0.99
    assert found.expected.mean() == pytest.approx(3, abs=0.03)
    fold = np.array([[1.0, 5.0], [2.0, 3.0]])  # seed 0 chooses the second, which has 3; seed 1 the first, which has 1
    assert scaling.best(fold)[:3] == (0, 3, 2)


def test_variances_are_found_again() -> None:
    rng = np.random.default_rng(0)
    truth = (4.0, 1.0, 2.25, 0.25)
    sizes = (6, 5, 7)
    found = []
    for _ in range(300):
        parts = (rng.normal(0, math.sqrt(v), n) for v, n in zip(truth, sizes, strict=False))
        array = sum(part.reshape([-1 if a == at else 1 for a in range(3)]) for at, part in enumerate(parts))
        found.append(scaling.components([array + rng.normal(0, 0.5, sizes)]))
    assert np.mean(found, axis=0) == pytest.approx(truth, rel=0.12)


def test_a_factor_of_one_value_has_no_variance_and_a_negative_one_is_none() -> None:
    flat = np.array([[[1.0], [2.0]], [[2.0], [1.0]]])  # nothing but interaction
    found = scaling.components([flat])
    assert math.isnan(found[2])
    assert found[[0, 1, 3]].tolist() == [0, 0, 1]


# ------------------------------------------------------------ the report


TASKS = ("mnli@sample", "snli@sample", "anli")
SEEDS = (0, 1, 2)


def models() -> list[Any]:
    """k = 0, all three single tasks and one of the pairs, under three seeds."""
    subsets = [(name,) for name in TASKS] + [TASKS[:2]]
    return [ENCODER, *(train(*subset, seed=seed) for subset in subsets for seed in SEEDS)]


def blocks_of(section: Any, series: Any, view: Any) -> tuple[list[list[str]], list[str], list[list[str]]]:
    """The lines of the table by k, the sentences, and the lines of the best subsets."""
    table, *rest = blocks(section, series, view, design(section, series, view))
    assert isinstance(table, Table)
    best = [one for block in rest if isinstance(block, Fold) for one in block.blocks if isinstance(one, Table)]
    texts = [block.text for block in rest if isinstance(block, Text)]
    return parse(table), texts, [line for one in best for line in parse(one)[1:]]


def test_the_table_of_gains_by_hand(tmp_path: Path) -> None:
    found = only(fill(tmp_path / "store", leaves(models())))
    (header, zero, one, two), (verdict,), best = blocks_of(*found)
    base = mean_of(ENCODER)
    assert header[:8] == ["k", "subsets", "runs", "mean", "gain", "95 % interval", "p (Holm)", "detectable"]
    assert zero[:8] == ["0", "–", "1", f"{100 * base:.1f}", *["–"] * 4]
    by_seed = [statistics.fmean(mean_of(train(name, seed=seed)) for name in TASKS) - base for seed in SEEDS]
    low, high = scipy.stats.ttest_1samp(by_seed, 0).confidence_interval()
    gain = statistics.fmean(by_seed)
    mean = f"{100 * (base + gain):.1f}"
    assert one[:6] == ["1", "3 of 3", "9", mean, f"{100 * gain:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
    pairs = [mean_of(train(*TASKS[:2], seed=seed)) - base for seed in SEEDS]
    raw = [scipy.stats.ttest_1samp(own, 0).pvalue for own in (by_seed, pairs)]
    assert [one[6], two[6]] == [f"{p:.3f}" for p in scaling.holm(raw)]
    assert two[:3] == ["2", "1 of 3", "3"]
    means = {name: statistics.fmean(mean_of(train(name, seed=seed)) for seed in SEEDS) - base for name in TASKS}
    top = max(means, key=means.__getitem__)
    assert [line[:3] for line in best] == [["1", top, f"{100 * means[top]:+.1f}"]]
    assert "left out" not in verdict
    assert verdict.startswith("**Not decided**")


def test_a_subset_that_lacks_a_seed_is_left_out_of_errors_and_shapes_and_said_so(tmp_path: Path) -> None:
    lacking = train(TASKS[2], seed=1)
    kept = [model for model in models() if model != lacking]
    (_, _, one, _), (verdict,), _ = blocks_of(*only(fill(tmp_path / "store", leaves(kept))))
    own = [mean_of(model) - mean_of(ENCODER) for model in kept[1:] if len(model.mixture.tasks) == 1]
    level = np.array([[mean_of(train(name, seed=seed)) for seed in SEEDS] for name in TASKS[:2]])
    (gain,) = scaling.gains([np.array([[mean_of(ENCODER)]]), level], [1, 3])
    low, high = scaling.interval(gain._replace(value=statistics.fmean(own)))
    ends = f"{100 * low:+.1f} to {100 * high:+.1f}"
    assert one[1:3] + one[4:6] == ["3 of 3", "8", f"{100 * statistics.fmean(own):+.1f}", ends]
    assert "2 runs are left out: not every subset" in verdict


def test_a_seed_that_few_subsets_have_is_left_out(tmp_path: Path) -> None:
    more = train(TASKS[0], seed=7)
    crossed = design(*only(fill(tmp_path / "store", leaves([*models(), more]))))
    assert crossed is not None
    assert [level.shape for level in crossed.levels] == [(1, 1, 3, 5), (3, 3, 3, 5), (1, 3, 3, 5)]
    assert crossed.num_left_out == 1
    expected = mean_of(train(*TASKS[:2], seed=1))
    assert crossed.averages[2][0, 1] == pytest.approx(expected)
    assert crossed.layer == PROFILE_LAYER


def test_a_run_is_paired_with_the_k_0_of_its_own_target_seed(tmp_path: Path) -> None:
    starts: list[Any] = [[ENCODER] * 3, *([train(name, seed=seed) for seed in SEEDS] for name in TASKS[1:])]
    tuned = [[train("mnli", seed=seed, start=one) for seed, one in zip(SEEDS, own, strict=True)] for own in starts]
    store = fill(tmp_path / "store", (measure(m, code, "xnli") for own in tuned for m in own for code in ("de", "sw")))
    found = only(store)
    lines, _, _ = blocks_of(*found)
    base, *others = (
        [statistics.fmean(value_of(measure(m, code, "xnli"), 0, "", "") for code in ("de", "sw")) for m in own]
        for own in tuned
    )
    after = [statistics.fmean(pair) for pair in zip(*others, strict=True)]
    low, high = scipy.stats.ttest_rel(after, base).confidence_interval()
    gain = statistics.fmean(after) - statistics.fmean(base)
    assert lines[2][1:2] + lines[2][4:6] == ["2 of 2", f"{100 * gain:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
    crossed = design(*found)
    assert crossed is not None
    assert [level.shape for level in crossed.levels] == [(1, 3, 2, 1), (2, 3, 2, 1)]


def test_nested_subsets_are_compared_along_their_chains(tmp_path: Path) -> None:
    orders = [(*TASKS, "scitail"), ("scitail", "anli", "snli@sample", "mnli@sample")]
    nested = {tuple(sorted(order[:k])) for order in orders for k in range(1, 5)}
    runs = [ENCODER, *(train(*subset, seed=seed) for subset in sorted(nested) for seed in (0, 1))]
    found = only(fill(tmp_path / "store", leaves(runs)))
    crossed = design(*found)
    assert crossed is not None
    assert crossed.chains is not None
    along = [
        [set(runs[place].tasks.split("+")) for runs, place in zip(crossed.subsets[1:], chain, strict=True)]
        for chain in zip(*crossed.chains, strict=True)
    ]
    assert sorted(along, key=str) == sorted(([{*order[:k]} for k in range(1, 5)] for order in orders), key=str)
    assert "along 2 chains of subsets" in blocks_of(*found)[1][0]
    crossed = design(
        *only(fill(tmp_path / "other", leaves([*runs, *(train("anli", "snli@sample", seed=n) for n in (0, 1))])))
    )
    assert crossed is not None
    assert crossed.chains is None


def test_equal_scores_have_a_gain_and_no_interval_p_value_or_shape(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", stages := leaves(models()), score=lambda stage: False)
    for stage in stages:
        value = {"value": 0.5 if isinstance(stage.model, Encoder) else 0.625, "num_examples": 50, "num_ties": 0}
        values = [value | {"layer": layer, "pooling": "mean", "direction": "xx->en"} for layer in (4, PROFILE_LAYER)]
        store.add_score(stage.id, "accuracy-v1", {"metric": "accuracy", "version": 1, "options": {}, "values": values})
    lines, (text,), _ = blocks_of(*only(store))
    assert [line[4:8] for line in lines[2:]] == [["+12.5", "–", "–", "–"]] * 2
    assert "Not decided" in text
    report.write(store, "scaling", tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "+12.5 points at k = 2 over k = 0, without an interval: **undecided**" in page
    assert "nan" not in page


def test_an_interval_of_differences_is_of_crossed_subsets_and_seeds(tmp_path: Path) -> None:
    section, series, _ = only(fill(tmp_path / "store", leaves(models())))
    runs = [run for run in series.runs if run.k == 1]
    rng = np.random.default_rng(0)
    level = rng.normal(size=(3, 3)) + rng.normal(size=(1, 3)) + np.array([[0], [4], [9]])
    tasks = sorted({run.tasks for run in runs})
    differences = {run: float(level[tasks.index(run.tasks), run.seed]) for run in runs}  # type: ignore[index]
    whole = over_differences(section, differences)
    ends = scipy.stats.t.interval(0.95, 2, level.mean(), scipy.stats.sem(level.mean(0)))
    assert whole == pytest.approx((level.mean(), *ends, 9)), "all three single tasks: over seeds alone"
    some = over_differences(section, {run: value for run, value in differences.items() if run.tasks != tasks[0]})
    found = scaling.contrast([level[1:]], [1.0], [3])
    assert some == pytest.approx((level[1:].mean(), *map(float, scaling.interval(found)), 6))
    alone = {run: value for run, value in differences.items() if run.seed == 0}
    assert over_differences(section, alone).low is None


@pytest.mark.parametrize("without", [ENCODER, "seeds"])
def test_without_k_0_or_a_second_seed_there_is_no_interval_and_no_shape(without: Any, tmp_path: Path) -> None:
    kept = [m for m in models() if m != without and (without != "seeds" or isinstance(m, Encoder) or m.seed == 0)]
    lines, texts, best = blocks_of(*only(fill(tmp_path / "store", leaves(kept))))
    assert {cell for line in lines[1:] for cell in line[5:8]} == {"–"}
    assert (texts, best) == ([], [])


def test_five_languages_have_an_interval_over_languages(tmp_path: Path) -> None:
    codes = (*LANGUAGES, "ru", "tr")
    header, zero, *lines = blocks_of(*only(fill(tmp_path / "store", leaves(models(), codes))))[0]
    at = header.index("95 % over languages")
    assert zero[at] == "–"
    assert all(" to " in line[at] for line in lines)
    lost = measure(models()[1], "ru")  # whose other languages are in no average
    found = only(fill(tmp_path / "part", leaves(models(), codes), score=lambda stage: stage != lost))
    kept = [model for model in models()[2:] if len(model.mixture.tasks) == 1]

    def gain(code: str) -> float:
        values = [value_of(measure(model, code), PROFILE_LAYER, "mean", "en->xx") for model in (ENCODER, *kept)]
        return statistics.fmean(values[1:]) - values[0]

    expected = bootstrap([gain(code) for code in found[2].languages], found[2].languages)
    shown = f"{100 * expected.low:+.1f} to {100 * expected.high:+.1f}"
    assert blocks_of(*found)[0][2][at] == shown


def test_all_gains_and_all_shapes_of_the_first_answer_are_two_families(tmp_path: Path) -> None:
    starts = models()
    tuned = [train("mnli", seed=seed, start=start) for start in starts for seed in SEEDS if start == ENCODER]
    tuned += [train("mnli", seed=start.seed, start=start) for start in starts[1:]]
    own = [measure(model, code, "xnli") for model in tuned for code in ("de", "sw")]
    store = fill(tmp_path / "store", [*leaves(starts), *own])
    plan = store.plan("scaling")
    found = gains.targets(stats.sections(rows.rows(store, plan), plan))
    of = families(found)
    raw = [float(scaling.different(one.estimate(runs))) for one in found for k, runs in one.main.by_k().items() if k]
    own_family = [of[place(one.section, one.main, one.view)] for one in found]
    assert [p for one in own_family for p in one.p_values.values()] == pytest.approx(scaling.holm(raw).tolist())
    assert {one.size for one in own_family} == {len(raw)} == {4}
    tests = [shape_tests(one.design.averages, one.design.ks, one.design.existing) for one in own_family]
    first, *_ = adjusted = scaling.holm([p for pair in tests for p in pair])
    assert min(own_family[0].trend.up, own_family[0].trend.down) == pytest.approx(first)
    assert own_family[1].trend.inverted == pytest.approx(adjusted[3])
    text = report.write(store, "scaling", tmp_path / "report")[2].read_text()
    assert "among 4 gains" in text
    assert "p adjusted over all gains under *What came out*" in text


def test_what_a_gain_varies_with_is_in_one_table(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves(models()))
    plan = store.plan("scaling")
    found = gains.targets(stats.sections(rows.rows(store, plan), plan))
    crossed = design(found[0].section, found[0].main, found[0].view)
    table = variances(found, families(found))
    assert crossed is not None
    assert table is not None
    parts = scaling.components([level - crossed.levels[0] for level in crossed.levels[1:]])
    assert parse(table)[1:] == [["tatoeba", *(f"{100 * math.sqrt(part):.1f}" for part in parts)]]
