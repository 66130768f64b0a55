"""What each task adds: exact values on hand-made games, samples of orders, and a report's tables."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from test_report import (
    ENCODER,
    LANGUAGES,
    NUM_LAYERS,
    PROFILE_LAYER,
    fill,
    measure,
    only,
    parse,
    sections_of,
    train,
    value_of,
)
from xstilts import report
from xstilts.report import attribution, stats, views
from xstilts.report.attribution import Subset, interaction, orders, sampled, shapley
from xstilts.report.blocks import Fold, Table
from xstilts.store import Store
from xstilts.studies.scaling import subsets

TASKS = ("a", "b", "c", "d")
Game = Mapping[Subset, float]


def all_subsets(tasks: Iterable[str] = TASKS) -> list[Subset]:
    names = tuple(tasks)
    return [frozenset(some) for size in range(len(names) + 1) for some in itertools.combinations(names, size)]


def made(seed: int, tasks: Iterable[str] = TASKS) -> dict[Subset, float]:
    rng = random.Random(seed)
    return {subset: rng.uniform(-1, 1) for subset in all_subsets(tasks)}


def exact(game: Game, tasks: tuple[str, ...] = TASKS) -> dict[str, float]:
    return shapley(tasks, game)


def by_permutations(game: Game, tasks: tuple[str, ...] = TASKS) -> dict[str, float]:
    """The definition: the mean marginal contribution over all orders."""
    total = dict.fromkeys(tasks, 0.0)
    permutations = list(itertools.permutations(tasks))
    for order in permutations:
        for at, task in enumerate(order):
            total[task] += game[frozenset(order[: at + 1])] - game[frozenset(order[:at])]
    return {task: value / len(permutations) for task, value in total.items()}


games = st.integers(0, 10**6).map(made)

# ------------------------------------------------------------ exact values


@given(games)
@settings(max_examples=30, deadline=None)
def test_all_subsets_give_the_definition(game: dict[Subset, float]) -> None:
    assert exact(game) == pytest.approx(by_permutations(game))


@given(games)
@settings(max_examples=30, deadline=None)
def test_efficiency(game: dict[Subset, float]) -> None:
    assert sum(exact(game).values()) == pytest.approx(game[frozenset(TASKS)] - game[frozenset()])


@given(games, games, st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_additivity(one: dict[Subset, float], other: dict[Subset, float], factor: float) -> None:
    both = {subset: one[subset] + factor * other[subset] for subset in one}
    expected = {task: exact(one)[task] + factor * exact(other)[task] for task in TASKS}
    assert exact(both) == pytest.approx(expected)


@given(games)
@settings(max_examples=30, deadline=None)
def test_symmetry(game: dict[Subset, float]) -> None:
    def swapped(subset: Subset) -> Subset:
        return frozenset({"a": "b", "b": "a"}.get(task, task) for task in subset)

    symmetric = {subset: (game[subset] + game[swapped(subset)]) / 2 for subset in game}
    found = exact(symmetric)
    assert found["a"] == pytest.approx(found["b"])


@given(games, st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_a_task_that_always_adds_the_same_has_that_value_and_no_interaction(
    game: dict[Subset, float], own: float
) -> None:
    dummy = {subset: game[subset - {"d"}] + own * ("d" in subset) for subset in game}
    assert exact(dummy)["d"] == pytest.approx(own, abs=1e-9)
    for other in ("a", "b", "c"):
        assert interaction(TASKS, dummy, "d", other) == pytest.approx(0, abs=1e-9)


def test_a_game_by_hand() -> None:
    """One left and two right gloves: 2/3 and 1/6 each."""
    tasks = ("left", "right", "right too")
    game = {subset: float("left" in subset and len(subset) > 1) for subset in all_subsets(tasks)}
    assert exact(game, tasks) == pytest.approx({"left": 2 / 3, "right": 1 / 6, "right too": 1 / 6})
    assert interaction(tasks, game, "left", "right") == pytest.approx(1 / 2)
    assert interaction(tasks, game, "right", "right too") == pytest.approx(-1 / 2)


@given(games)
@settings(max_examples=30, deadline=None)
def test_an_interaction_is_the_mean_second_difference_over_orders_that_add_both_in_turn(
    game: dict[Subset, float],
) -> None:
    for one, other in itertools.combinations(TASKS, 2):
        found = []
        for order in itertools.permutations(task for task in TASKS if task != other):
            before = frozenset(order[: order.index(one)])
            found.append(game[before | {one, other}] - game[before | {one}] - game[before | {other}] + game[before])
        assert interaction(TASKS, game, one, other) == pytest.approx(statistics.fmean(found))


# ------------------------------------------------------------ sampled orders


def prefixes(drawn: Iterable[tuple[str, ...]]) -> list[Subset]:
    return list({frozenset(order[:size]): None for order in drawn for size in range(len(order) + 1)})


def test_orders_that_share_no_prefix_are_found_again_with_their_t_interval() -> None:
    drawn = [tuple("aebdcf"), tuple("cefadb"), tuple("fbdeca")]
    tasks = tuple("abcdef")
    game = made(3, tasks)
    found = orders(tasks, prefixes(drawn))
    assert {*found} == {tuple(frozenset(order[:size]) for size in range(7)) for order in drawn}
    for task, summary in sampled(tasks, found, game).items():
        marginals = [
            game[frozenset(order[: order.index(task) + 1])] - game[frozenset(order[: order.index(task)])]
            for order in drawn
        ]
        interval = scipy.stats.t.interval(0.95, 2, statistics.fmean(marginals), scipy.stats.sem(marginals))
        assert (summary.mean, summary.low, summary.high) == pytest.approx((statistics.fmean(marginals), *interval))
    total = sum(summary.mean or 0 for summary in sampled(tasks, found, game).values())
    assert total == pytest.approx(game[frozenset(tasks)] - game[frozenset()]), "efficient as the exact one"


def test_one_order_has_no_interval_and_no_whole_order_no_value() -> None:
    found = orders(TASKS, prefixes([TASKS]))
    assert {summary.low for summary in sampled(TASKS, found, made(0)).values()} == {None}
    assert orders(TASKS, [frozenset(), frozenset("a"), frozenset("ab"), frozenset(TASKS)]) == []
    assert orders(TASKS, [frozenset("a"), frozenset("ab"), frozenset("abc"), frozenset(TASKS)]) == []


def test_the_sampled_estimate_converges_to_the_exact_one() -> None:
    tasks = tuple("abcdefg")
    game = made(11, tasks)
    truth = exact(game, tasks)
    rng = random.Random(5)

    def error(number: int) -> float:
        """The root mean square over 20 designs of so many orders."""
        squares = []
        for _ in range(20):
            found = orders(tasks, prefixes(tuple(rng.sample(tasks, len(tasks))) for _ in range(number)))
            own = sampled(tasks, found, game)
            squares += [((own[task].mean or 0) - truth[task]) ** 2 for task in tasks]
        return math.sqrt(statistics.fmean(squares))

    few, more = error(4), error(25)
    assert 0.25 < more / few < 0.6, "about 2 / 5, one over the root of their number"


def test_the_estimate_from_a_nested_design_is_unbiased_also_where_its_orders_cross() -> None:
    game = made(2)
    truth = by_permutations(game)
    rng = random.Random(0)
    sums = dict.fromkeys(TASKS, 0.0)
    others = 0
    for _ in range(4000):
        drawn = [tuple(rng.sample(TASKS, 4)) for _ in range(3)]
        found = orders(TASKS, prefixes(drawn))
        others += {*found} != {tuple(frozenset(order[:size]) for size in range(5)) for order in drawn}
        for task, summary in sampled(TASKS, found, game).items():
            sums[task] += (summary.mean or 0) / 4000
    assert others > 1000, "put together from prefixes of several orders"
    assert sums == pytest.approx(truth, abs=0.03)


@given(st.integers(1, 6), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_a_study_s_nested_design_holds_orders(number: int, count: int) -> None:
    names = tuple("abcdef"[:count])
    nested = [frozenset(some) for some in subsets(names, range(count + 1), "nested", number)]
    found = orders(names, nested)
    most = max(sum(len(subset) == size for subset in nested) for size in range(count + 1))
    assert len(found) == most
    for own in found:
        assert [len(subset) for subset in own] == [*range(count + 1)]
        assert all(one < other for one, other in itertools.pairwise(own))
        assert set(own) <= set(nested)
    assert orders(names, nested[::-1]) == found


# ------------------------------------------------------------ in a report

THREE = ("mnli@sample", "snli@sample", "paws-x-en@dev-half")
SEEDS = (0, 1, 2)


def store_of(folder: Path, chosen: Iterable[Subset]) -> Store:
    models: list[Any] = [ENCODER]
    models += [train(*sorted(some), seed=seed) for some in chosen if some for seed in SEEDS]
    return fill(folder, [measure(model, code) for model in models for code in LANGUAGES])


def value(some: Subset, seed: int, languages: Iterable[str] = LANGUAGES, layer: int = PROFILE_LAYER) -> float:
    model = train(*sorted(some), seed=seed) if some else ENCODER
    return statistics.fmean(value_of(measure(model, code), layer, "mean", "en->xx") for code in languages)


def shown(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def tables_of(store: Store) -> dict[str, Table]:
    section, series, view = only(store)
    found = list(attribution.blocks(section, attribution.games(section, series), view))
    inner = [other for block in found for other in (block.blocks if isinstance(block, Fold) else (block,))]
    return {table.caption.partition(":")[0].lower(): table for table in inner if isinstance(table, Table)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("whole") / "store", all_subsets(THREE))


def summaries(of: Callable[[int], float]) -> stats.Summary:
    return stats.summarise([of(seed) for seed in SEEDS])


def test_all_subsets_of_a_study_by_hand(whole: Store) -> None:
    tables = tables_of(whole)
    header, *lines = parse(tables["what each task adds"])
    assert header == ["task", "adds", "95 % interval"]
    assert (
        "Shapley values over all subsets, with Student-t intervals over seeds (3 seeds; 1 run collapsed †)"
        in tables["what each task adds"].caption
    )
    found = {
        task: summaries(lambda s, t=task: by_permutations({x: value(x, s) for x in all_subsets(THREE)}, THREE)[t])
        for task in THREE
    }
    expected = sorted(found, key=lambda task: -(found[task].mean or 0))
    assert [line[0] for line in lines] == expected
    for line in lines:
        summary = found[line[0]]
        assert summary.low is not None
        assert summary.high is not None
        assert line[1:] == [shown(summary.mean or 0), f"{shown(summary.low)} to {shown(summary.high)}"]
    for line in parse(tables["pairs of tasks"])[1:]:
        one, other = line[0].split(" and ")
        own = summaries(
            lambda s, o=one, p=other: interaction(THREE, {x: value(x, s) for x in all_subsets(THREE)}, o, p)
        )
        assert line[1] == shown(own.mean or 0)
    header, *lines = parse(tables["by language"])
    assert header == ["language", "script", "family", *sorted(THREE)]
    assert [line[:3] for line in lines] == [
        ["German (de)", "Latn", "IE: Germanic"],
        ["French (fr)", "Latn", "IE: Romance"],
        ["Swahili (sw)", "Latn", "Niger-Congo"],
    ]
    for code, line in zip(("de", "fr", "sw"), lines, strict=True):
        for task, cell in zip(sorted(THREE), line[3:], strict=True):
            own = summaries(
                lambda s, t=task, c=code: by_permutations({x: value(x, s, [c]) for x in all_subsets(THREE)}, THREE)[t]
            )
            assert cell == shown(own.mean or 0)
    lines = parse(tables["by layer"])[1:]
    assert len(lines) == NUM_LAYERS + 1
    for layer, line in enumerate(lines):
        for task, cell in zip(sorted(THREE), line[1:], strict=True):
            own = summaries(
                lambda s, t=task, n=layer: by_permutations(
                    {x: value(x, s, LANGUAGES, n) for x in all_subsets(THREE)}, THREE
                )[t]
            )
            assert cell == shown(own.mean or 0)


def test_nested_orders_of_a_study_are_a_sample(tmp_path: Path) -> None:
    drawn = [THREE, THREE[::-1]]
    tables = tables_of(store_of(tmp_path / "store", prefixes(drawn)))
    assert (
        "by sampled orders, with Student-t intervals over orders (3 seeds, 2 orders)"
        in tables["what each task adds"].caption
    )
    for line in parse(tables["what each task adds"])[1:]:
        marginals = []
        for order in drawn:
            at = order.index(line[0])
            sides = (frozenset(order[: at + 1]), frozenset(order[:at]))
            more, less = (statistics.fmean(value(side, seed) for seed in SEEDS) for side in sides)
            marginals.append(more - less)
        assert line[1] == shown(statistics.fmean(marginals))
        low, high = stats.summarise(marginals)[1:3]
        assert low is not None
        assert high is not None
        assert line[2] == f"{shown(low)} to {shown(high)}"
    assert "pairs of tasks" not in tables, "no two tasks were trained on alone and together"


def test_single_tasks_and_pairs_have_gains_alone_and_second_differences(tmp_path: Path) -> None:
    few = [some for some in all_subsets(THREE) if len(some) < 3]
    tables = tables_of(store_of(tmp_path / "store", few))
    assert "gains of each task alone over k = 0" in tables["what each task adds"].caption
    for line in parse(tables["what each task adds"])[1:]:
        own = summaries(lambda s, t=line[0]: value(frozenset({t}), s) - value(frozenset(), s))
        assert line[1] == shown(own.mean or 0)
    assert "second difference" in tables["pairs of tasks"].caption
    for line in parse(tables["pairs of tasks"])[1:]:
        one, other = (frozenset({name}) for name in line[0].split(" and "))
        own = summaries(lambda s, a=one, b=other: value(a | b, s) - value(a, s) - value(b, s) + value(frozenset(), s))
        assert line[1] == shown(own.mean or 0)


def test_a_study_that_is_not_done_attributes_nothing(whole: Store, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "store")
    own = Store.open(tmp_path / "store")
    report.write(own, "scaling", tmp_path / "before")
    assert "± half of its 95 % interval: Shapley values" in (tmp_path / "before" / "report.md").read_text()
    shutil.rmtree(own.folder(measure(train(*sorted(THREE[:2]), seed=1), "sw").id))
    section, series, view = only(own)
    assert list(attribution.blocks(section, attribution.games(section, series), view)) == []
    for code in LANGUAGES[:2]:
        shutil.rmtree(own.folder(measure(train(*sorted(THREE[:2]), seed=1), code).id))
    section, series, view = only(own)
    assert list(attribution.blocks(section, attribution.games(section, series), view)) == []
    for code, seed in itertools.product(LANGUAGES, (0, 2)):  # the same subset under every seed
        shutil.rmtree(own.folder(measure(train(*sorted(THREE[:2]), seed=seed), code).id))
    section, series, view = only(own)
    assert list(attribution.blocks(section, attribution.games(section, series), view)) == []
    report.write(own, "scaling", tmp_path / "after")
    assert "What each task adds" not in (tmp_path / "after" / "report.md").read_text()


def test_single_tasks_of_different_recipes_stand_in_one_map(tmp_path: Path) -> None:
    rates = dict(zip(THREE, (1e-5, 2e-5, 3e-5), strict=True))

    def model(task: str, seed: int) -> Any:
        return train(task, seed=seed, learning_rate=rates[task])

    models = [ENCODER, *(model(task, seed) for task in THREE for seed in SEEDS), train(*THREE)]
    store = fill(tmp_path / "store", [measure(one, code) for one in models for code in LANGUAGES])
    (section,) = sections_of(store)
    (view,) = views.views(section)
    assert all(attribution.games(section, one) is None for one in stats.series(section))
    found = attribution.single_tasks(section)
    assert found is not None
    assert (found.how, found.tasks) == (attribution.ALONE, tuple(sorted(THREE)))
    added = attribution.contributions(section, found, view, ["de"], PROFILE_LAYER)
    assert added is not None
    for task in THREE:
        ends = [
            value_of(measure(model(task, seed), "de"), PROFILE_LAYER, "mean", "en->xx")
            - value_of(measure(ENCODER, "de"), PROFILE_LAYER, "mean", "en->xx")
            for seed in SEEDS
        ]
        assert added[task] == pytest.approx(stats.summarise(ends))
    report.write(store, "scaling", tmp_path / "report")
    assert "(3 seeds; each by its own recipe and budget)" in (tmp_path / "report" / "report.md").read_text()
    for code in LANGUAGES:
        shutil.rmtree(store.folder(measure(model(THREE[0], 0), code).id))
    (section,) = sections_of(store)
    assert attribution.single_tasks(section) is None
