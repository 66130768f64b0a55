"""Verdicts on published claims from hand-made scores: what decides them, and what one lost record does."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from test_profiles import Memory, measure
from test_report import ENCODER, fill, train
from xstilts import report, tasks
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Robust
from xstilts.report import claims, rows, stats
from xstilts.report.grid import NO_PROFILE, NO_SEED, Sample, combined, grids, less, mean_of, stands_for
from xstilts.report.published import BEST, NINE
from xstilts.report.verdicts import ABOVE, ANSWERS, BELOW, UNCLEAR, Verdict, effects, holm
from xstilts.stage import Encoder, Evaluate, Merge, Tiny, Train, Translate
from xstilts.tasks import PROFILES
from xstilts.translators import MiniatureOracle

SEEDS = (0, 1, 2)
PROFILE = "stilts-2020"
SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = ANSWERS
GAINS = dict.fromkeys(NINE, 0.02) | {"squad-v1": 0.08, "mnli": 0.075, "hellaswag": 0.07, "ccg": 0.01}
TARGETS = {name: 1.0 for name in PROFILES[PROFILE].tasks} | {"bucc": 3.0, "tatoeba": 2.5, "xnli": 0.0}
Gain = Callable[[tuple[str, ...], str], float]


@pytest.fixture(autouse=True, scope="module")
def declared() -> Iterator[None]:
    """CCG, and two languages for each task of a profile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_known", dict(tasks._known))
        tasks.register(tasks.ccg(("N", "S")))
        for name, profile in PROFILES.items():
            two = tuple(replace(protocol, languages=protocol.languages[:2]) for protocol in profile.protocols)
            patch.setitem(PROFILES, name, replace(profile, protocols=two))
        yield


def usual(subset: tuple[str, ...], target: str) -> float:
    """The gain that the published claims speak of: that of the task, or more after all, times the target's share."""
    own = 0.095 if len(subset) == 9 else statistics.fmean(GAINS[name] for name in subset)
    return own * TARGETS[target]


class Told(Memory):
    """A store in which every score is a level of its target, a gain and noise of a seed."""

    def __init__(
        self,
        gain: Gain = usual,
        *,
        seeds: Iterable[int] = SEEDS,
        subsets: Iterable[tuple[str, ...]] = (*((name,) for name in NINE), tuple(NINE)),
        targets: Iterable[str] = tuple(TARGETS),
        noise: float = 0.0003,
        draw: int = 0,
        lost: Iterable[str] = (),
        more: Iterable[tuple[Train | Merge, str, tuple[str, ...], int]] = (),
        start: Any = ENCODER,
    ) -> None:
        self.about: dict[tuple[str, str], tuple[tuple[str, ...], int | None, int | None]] = {}
        self.bonus: dict[tuple[str, str], str] = {}
        self.gain, self.noise, self.draw = gain, noise, draw
        starts: list[Any] = [(start, "", (), None, seed) for seed in seeds]
        starts += [(train(*some, seed=seed, start=start), "", some, seed, seed) for some in subsets for seed in seeds]
        starts += [(model, words, some, seed, seed) for model, words, some, seed in more]
        leaves = []
        for model, words, some, own, seed in starts:
            for protocol in PROFILES[PROFILE].protocols:
                if protocol.task in targets:
                    found = model
                    for name in protocol.trained_by:
                        found = train(name, start=model, seed=seed)
                    self.about[found.id, protocol.task] = (some, own, seed if protocol.trained_by else None)
                    self.bonus[found.id, protocol.task] = words
                    leaves += [measure(found, protocol.task, code, protocol.split) for code in protocol.languages]
        super().__init__(leaves, self.scores_of, lost)

    def value(self, stage: Evaluate) -> float:
        subset, seed, target_seed = self.about[stage.model.id, stage.task]
        extra = {"helps": 0.05, "harms": -0.05}.get(self.bonus[stage.model.id, stage.task], 0.0)
        apart = [
            word for word in (self.bonus[stage.model.id, stage.task],) if word
        ]  # none is like another to the last bit
        place = (self.draw, subset, seed, target_seed, stage.task, stage.language, *apart)
        wobble = random.Random(repr(place)).uniform(-1, 1)
        return 0.5 + (self.gain(subset, stage.task) if subset else 0) + extra + self.noise * wobble

    def scores_of(self, stage: Evaluate) -> list[dict[str, Any]]:
        value = {"value": self.value(stage), "num_examples": 50}
        kind = tasks.find(stage.task).kind.name
        if kind == "span":
            return [value | {"f1": value["value"], "exact_match": value["value"]}]
        if kind == "tag":
            return [value | {"f1_seqeval-0.0.12": value["value"], "f1_seqeval-1.2.2": value["value"]}]
        protocol = PROFILES[PROFILE].protocol(stage.task)
        layer, pooling, direction = protocol.cell(12)[0]
        return [value if layer is None else value | {"layer": layer, "pooling": pooling, "direction": direction}]

    def record(self, id: str) -> dict[str, Any]:
        record = super().record(id)
        stage = self.stages[id]
        if isinstance(stage, Train):
            subset = stage.start.mixture.tasks if isinstance(stage.start, Train) else ()
            dev = {"on": "dev", "accuracy": 0.6 + (GAINS.get(subset[0], 0) if len(subset) == 1 else 0)}
            counts = {name: {"dev": dev, "rows_present": NINE.get(name) or 5} for name in stage.mixture.tasks}
            record["result"]["tasks"] = counts
        return record


def judged(store: Told, profile: str = "") -> dict[int, Verdict]:
    plan = store.document
    shown = stats.sections(rows.rows(store, plan), plan)  # type: ignore[arg-type]
    ((_, found),) = claims.judged(store, plan, shown, profile)  # type: ignore[arg-type]
    return {one.claim.number: one for one in found}


def answers(store: Told) -> dict[int, str]:
    return {number: one.answer for number, one in judged(store).items()}


def mean_of_model(store: Told, subset: tuple[str, ...], seed: int, only: Iterable[str] = tuple(TARGETS)) -> float:
    """The average over targets of means over languages, straight from the made-up values."""
    wanted = (subset, seed if subset else None)
    means = []
    for task in only:
        own = [
            store.value(leaf)
            for leaf in store.leaves.values()
            if leaf.task == task
            and store.about[leaf.model.id, leaf.task][:2] == wanted
            and store.about[leaf.model.id, leaf.task][2] in (None, seed)
        ]
        assert len(own) == 2
        means.append(statistics.fmean(own))
    return statistics.fmean(means)


@pytest.fixture(scope="module")
def whole() -> dict[int, Verdict]:
    return judged(Told())


# ------------------------------------------------------------ numbers by hand


def test_a_gain_is_the_paired_difference_of_official_averages(whole: dict[int, Verdict]) -> None:
    store = Told()
    by_what = {effect.what: effect for effect in whole[1].effects}
    p_values: dict[str, float] = {}
    for name in NINE:
        pairs = [(mean_of_model(store, (name,), s), mean_of_model(store, (), s)) for s in SEEDS]
        differences = [one - other for one, other in pairs]
        effect = by_what[f"{name} less k = 0"]
        test = scipy.stats.ttest_rel(*zip(*pairs, strict=True))
        interval = test.confidence_interval(0.95)
        assert effect.found.mean == pytest.approx(statistics.fmean(differences))
        assert (effect.found.low, effect.found.high) == pytest.approx((interval.low, interval.high))
        assert (effect.found.num_runs, effect.num_subsets, effect.without) == (3, 1, None)
        p_values[name] = float(test.pvalue)
    for family in BEST, [name for name in NINE if name not in BEST]:
        ordered = sorted(family, key=p_values.__getitem__)
        corrected = (min(1, (len(family) - at) * p_values[name]) for at, name in enumerate(ordered))
        expected = list(itertools.accumulate(corrected, max))
        assert [by_what[f"{name} less k = 0"].p for name in ordered] == pytest.approx(expected)


def test_the_published_pattern_supports_every_claim_that_can_be_tested(whole: dict[int, Verdict]) -> None:
    assert {number: one.answer for number, one in whole.items()} == {
        **dict.fromkeys((1, 2, 3, 4, 5, 7, 8, 9), SUPPORTED), 6: NOT_TESTED
    }  # fmt: skip
    assert whole[1].reasons[:3] == ("rank 1 of 9: squad-v1", "rank 2 of 9: mnli", "rank 3 of 9: hellaswag")
    assert [effect.what for effect in whole[2].effects] == [
        "k = 9 less k = 0", "k = 9 less the best smaller subset, squad-v1"
    ]  # fmt: skip
    assert "targets by gain: bucc, tatoeba" in whole[3].reasons[1]
    assert whole[4].reasons == (
        "tydiqa: 9 of 9 tasks surely improve it, 0 surely harm it",
        "xnli: 0 of 9 tasks surely improve it, 0 surely harm it",
    )
    assert {"xnli: squad-v1", "tatoeba: squad-v1"} <= set(whole[5].reasons), "the best on English dev rows"
    assert whole[7].reasons[0].startswith("offline: content content, tokenizer f")
    assert whole[8].reasons[0] == "models measured after three phases: 210, after two: 60"
    assert "anli+: 1,104,934 rows" in whole[9].reasons


def test_the_contrary_pattern_contradicts() -> None:
    found = judged(Told(lambda subset, target: -usual(subset, target)))
    assert {n: found[n].answer for n in (1, 2, 3, 4, 5)} == dict.fromkeys((1, 2, 3, 4, 5), CONTRADICTED)


def test_noise_and_a_single_seed_decide_nothing() -> None:
    noisy, single = answers(Told(lambda subset, target: 0.0, noise=0.1, draw=1)), judged(Told(seeds=(0,)))
    for number in (1, 2, 3, 4, 5):
        assert noisy[number] == INCONCLUSIVE, number
        assert single[number].answer == INCONCLUSIVE, number
        assert {effect.p for effect in single[number].effects} == {None}


def test_another_task_that_is_surely_better_contradicts_even_where_one_of_the_nine_is_lacking() -> None:
    def gain(subset: tuple[str, ...], target: str) -> float:
        return 0.2 if subset == ("qqp",) else usual(subset, target)

    without = [(name,) for name in NINE if name != "ccg"]
    assert judged(Told(gain, subsets=without))[1].answer == CONTRADICTED
    lacking = judged(Told(subsets=without))
    assert lacking[1].answer == NOT_TESTED
    assert lacking[1].missing == ("no plain training alone (k = 1) on ccg",)
    assert lacking[2].missing[0].startswith("no plain training on all nine tasks together (k = 9), and none on ccg")


def test_the_optimism_of_a_choice_on_test_is_the_difference_to_seeds_left_out(whole: dict[int, Verdict]) -> None:
    store = Told(lambda subset, target: 0.0, noise=0.1)
    effect = {e.what: e for e in judged(store)[5].effects}
    subsets = [*((name,) for name in NINE), tuple(NINE)]
    gain = {
        (some, t, s): mean_of_model(store, some, s, [t]) - mean_of_model(store, (), s, [t])
        for some in subsets for t in TARGETS for s in SEEDS
    }  # fmt: skip

    def best(target: str, over: tuple[int, ...]) -> tuple[str, ...]:
        return max(subsets, key=lambda some: sum(gain[some, target, s] for s in over))

    apparent = [statistics.fmean(gain[best(t, SEEDS), t, s] for t in TARGETS) for s in SEEDS]
    held_out = [
        statistics.fmean(gain[best(t, tuple(o for o in SEEDS if o != s)), t, s] for t in TARGETS) for s in SEEDS
    ]
    assert effect["chosen on the scored rows themselves, less k = 0"].found.mean == pytest.approx(
        statistics.fmean(apparent)
    )
    optimism = effect["optimism of that choice, by seeds left out"].found.mean
    assert optimism == pytest.approx(statistics.fmean(apparent) - statistics.fmean(held_out))
    assert optimism > 0.02, "of noise alone"


# ------------------------------------------------------------ what is missing


def model_of(store: Told, task: str, subset: tuple[str, ...], seed: int | None) -> str:
    """A measurement of a task after a subset."""
    return next(
        id
        for id, leaf in store.leaves.items()
        if leaf.task == task and store.about[leaf.model.id, leaf.task][:2] == (subset, seed if subset else None)
    )


@pytest.mark.parametrize(
    ("task", "subset", "affected"),
    [
        ("panx", ("qqp",), {1, 2, 3, 5}),
        ("tydiqa", ("mnli",), {1, 2, 3, 4, 5}),
        ("tatoeba", tuple(NINE), {2, 5}),
        ("xnli", (), {1, 2, 3, 4, 5}),
    ],
)
def test_one_lost_record_takes_exactly_the_claims_that_rest_on_it(
    whole: dict[int, Verdict], task: str, subset: tuple[str, ...], affected: set[int]
) -> None:
    gone = model_of(Told(), task, subset, 1)
    found = judged(Told(lost=[gone]))
    for number, before in whole.items():
        if number in affected:
            assert found[number].answer == NOT_TESTED
            assert found[number].effects == ()
            k = f"after {'+'.join(sorted(subset)) or 'no task'} (k = {len(subset)})"
            lines = [line for line in found[number].missing if line.startswith(f"{task} under {PROFILE} {k}, seed ")]
            assert len(lines) == 1
            assert "lacks " in lines[0]
        else:
            assert found[number] == before, number


@pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every record"])
def test_any_lost_record_takes_exactly_the_claims_that_read_its_cell(step: int) -> None:
    store = Told(seeds=(0, 1))
    before = judged(store)
    for gone, leaf in list(store.leaves.items())[::step]:
        subset, *_ = store.about[leaf.model.id, leaf.task]
        reads = {2, 5} | ({1, 3} if len(subset) < 2 else set())
        reads |= {4} if len(subset) < 2 and leaf.task in ("tydiqa", "xnli") else set()
        found = judged(Told(seeds=(0, 1), lost=[gone]))
        assert {number for number in before if found[number] != before[number]} == reads, (leaf.task, subset)
        cell = f"{leaf.task} under {PROFILE} after {'+'.join(sorted(subset)) or 'no task'} (k = {len(subset)}), seed "
        for number in reads:
            assert found[number].answer == NOT_TESTED
            assert found[number].missing
            assert all(line.startswith(cell) for line in found[number].missing)


def test_a_lost_training_record_takes_the_choice_by_english_dev_rows_alone(whole: dict[int, Verdict]) -> None:
    gone = Told().leaves[model_of(Told(), "xnli", ("qqp",), 1)].model.id
    found = judged(Told(lost=[gone]))
    assert {n for n in whole if found[n] != whole[n]} == {5}
    assert found[5].missing == ("English dev score of the training for xnli after qqp (k = 1), seed 1",)


def test_a_model_that_is_not_done_is_named_with_its_target_its_k_and_the_profile() -> None:
    store = Told()
    leaf = store.leaves[model_of(store, "mlqa", ("qqp",), 2)]
    gone = [id for id, other in store.leaves.items() if other.model == leaf.model and other.task == "mlqa"]
    (line,) = judged(Told(lost=gone))[1].missing
    assert line == f"mlqa under {PROFILE} after qqp (k = 1), seed 2 then 2: is not done, or has no score"


def test_nothing_done_is_not_tested() -> None:
    store = Told()
    found = judged(Told(lost=store.stages))
    assert {one.answer for one in found.values()} == {NOT_TESTED}
    assert "xnli under stilts-2020 after no task (k = 0), seed 0: is not done, or has no score" in found[1].missing


def test_a_target_of_another_split_is_no_cell_and_is_said() -> None:
    leaves = [measure(ENCODER, "tatoeba", "af"), measure(train("mnli"), "xnli", "ar", "dev")]
    store = Told(targets=())
    Memory.__init__(store, leaves, lambda stage: [{"value": 0.5, "num_examples": 1}])
    assert "(xnli/dev: no cell of it)" in judged(store)[4].missing[0]


# ------------------------------------------------------------ collapsed runs


def test_a_verdict_that_a_collapsed_training_makes_is_inconclusive_and_marked(whole: dict[int, Verdict]) -> None:
    store = Told(seeds=(0, 1))
    store.collapsed = train("hellaswag", seed=1).id
    found = judged(store)
    assert judged(Told(seeds=(0, 1)))[3].answer == SUPPORTED
    assert found[1].answer == found[3].answer == INCONCLUSIVE, "one sound seed is left"
    (effect,) = (e for e in found[1].effects if e.what == "hellaswag less k = 0")
    assert effect.without is not None
    assert (effect.found.num_runs, effect.without.num_runs) == (2, 1)
    assert "2 (1 †)" in report.claims_text(store, "scaling")  # type: ignore[arg-type]
    assert found[4].answer == INCONCLUSIVE
    three = Told()
    three.collapsed = train("hellaswag", seed=1).id
    assert judged(three)[3].answer == SUPPORTED, "with and without it"


# ------------------------------------------------------------ alternatives


def alternatives(kind: str, words: str, **changes: Any) -> list[tuple[Train, str, tuple[str, ...], int]]:
    found = []
    for seed in SEEDS:
        mixture = Mixture(("mnli", "text@leipzig") if kind == "mlm" else ("mnli",))
        model = Train(ENCODER, mixture, Budget(2000), STILTS, seed)
        if kind == "translated":
            model = replace(model, translated=(Translate("mnli", "de", MiniatureOracle()),))
        found.append((replace(model, **changes), words, ("mnli",), seed))
    return found


def sixth(mlm: str, translated: str, **changes: Any) -> Verdict:
    more = [*alternatives("mlm", mlm, **changes), *alternatives("translated", translated)]
    store = Told(subsets=[("mnli",)], targets=("tatoeba", "xnli"), more=more)
    return judged(store)[6]


def test_alternatives_are_paired_with_the_plain_training_of_the_same_tasks_budget_and_seed() -> None:
    assert sixth("harms", "same").answer == SUPPORTED
    assert sixth("helps", "same").answer == CONTRADICTED
    assert sixth("same", "helps").answer == CONTRADICTED
    found = sixth("helps", "harms")
    first, second = found.effects[:2]
    assert first.what == "masked language modelling mixed in (text@leipzig, 2000 examples) less plain"
    assert second.what.startswith("machine-translated rows (official sizes, also in de by ")
    assert (first.direction, second.direction) == (ABOVE, BELOW)
    assert first.found.mean == pytest.approx(0.05, abs=1e-3)
    assert (first.found.num_runs, first.num_subsets) == (3, 1)


def test_an_alternative_of_another_budget_or_recipe_is_none() -> None:
    for changes in ({"budget": Budget(1000)}, {"recipe": replace(STILTS, learning_rate=5e-6)}):
        found = sixth("helps", "same", **changes)
        assert found.answer == NOT_TESTED
        (line,) = found.missing
        assert line.startswith("no training with masked language modelling mixed in beside a plain one of the same")


def test_other_methods_are_no_plain_trainings() -> None:
    recipe = replace(STILTS, robust=Robust("r3f"))
    more: list[Any] = [
        (Train(ENCODER, Mixture(("mnli",)), Budget(2000), recipe, 0), "helps", ("mnli",), 0),
        (Merge((train("mnli", seed=0),)), "helps", ("mnli",), 0),
        (train("mnli", start=train("mnli", seed=0), seed=0), "helps", ("mnli",), 0),
        (train("mnli", loss_balance="uncertainty"), "helps", ("mnli",), 0),
    ]
    plain = Told(subsets=[("mnli",)], targets=("tatoeba",))
    with_others = Told(subsets=[("mnli",)], targets=("tatoeba",), more=more)
    one, other = (judged(store)[1].effects[0] for store in (plain, with_others))
    assert one == other


# ------------------------------------------------------------ variants and marks


def test_two_plain_trainings_of_the_same_tasks_are_judged_apart() -> None:
    more = [(Train(ENCODER, Mixture(("mnli",)), Budget(500), STILTS, seed), "harms", ("mnli",), seed) for seed in SEEDS]
    store = Told(subsets=[("mnli",)], targets=("tatoeba",), more=more)
    plan = store.document
    shown = stats.sections(rows.rows(store, plan), plan)  # type: ignore[arg-type]
    found = claims.judged(store, plan, shown)  # type: ignore[arg-type]
    assert len(found) == 2
    means = {grid.variant.split(",")[0]: one[0].effects[0].found.mean for grid, one in found}
    assert means["500 examples"] == pytest.approx((means["2000 examples"] or 0) - 0.05, abs=1e-3)
    assert all(grid.variant in grid.marks for grid, _ in found)


def test_measurements_on_two_numeric_paths_are_never_in_one_difference() -> None:
    store = Told(subsets=[("mnli",), ("qqp",)])
    other = [id for id, leaf in store.leaves.items() if store.about[leaf.model.id, leaf.task][0] == ("mnli",)]
    store.paths = dict.fromkeys(other, "cuda-bfloat16")
    plan = store.document
    shown = stats.sections(rows.rows(store, plan), plan)  # type: ignore[arg-type]
    found = {grid.way.measured: one for grid, one in claims.judged(store, plan, shown)}  # type: ignore[arg-type]
    assert len(found) == 2
    for path, one in found.items():
        assert one[0].answer == NOT_TESTED
        assert one[0].effects == ()
        lacking = {line.partition(" under ")[2].split(", seed")[0] for line in one[0].missing if " under " in line}
        k_0_and_qqp = {f"{PROFILE} after no task (k = 0)", f"{PROFILE} after qqp (k = 1)"}
        assert lacking == (k_0_and_qqp if path == "cuda-bfloat16" else {f"{PROFILE} after mnli (k = 1)"})


def test_which_embedding_rows_were_in_use_keeps_no_models_apart() -> None:
    start = train("text@leipzig", seed=9)
    more = [(replace(model, start=start), *rest) for model, *rest in alternatives("mlm", "harms")]
    store = Told(subsets=[("mnli",), ("qqp",)], targets=("tatoeba", "xnli"), more=more, start=start)
    with_text = {start.id, *(model.id for model, *_ in more)}
    store.paths = {id: "cpu" if id in with_text or id in store.leaves else "cpu-rows" for id in store.stages}
    found = judged(store)
    assert found[1].effects[0].found.num_runs == 3
    assert found[6].effects[0].found.mean == pytest.approx(-0.05, abs=1e-3)


def test_stand_ins_and_the_miniature_are_marked_in_every_verdict() -> None:
    store = Told(subsets=[("mnli@sample",)], targets=("tatoeba",), gain=lambda subset, target: 0.1)
    found = judged(store)
    assert {one.marks[0] for one in found.values()} == {"stand-ins: mnli@sample"}
    assert found[1].effects[0].what == "mnli less k = 0"
    text = report.claims_text(store, "scaling")  # type: ignore[arg-type]
    assert text.count("**, *stand-ins* |") == 9
    mini = [measure(model, "mini-bitext", "de") for model in (ENCODER, train("mini-nli"))]
    store = Told(targets=())
    Memory.__init__(
        store,
        mini,
        lambda stage: [{"layer": 8, "pooling": "mean", "direction": "en->xx", "num_examples": 9, "value": 0.5}],
    )
    found = judged(store)
    assert {one.marks for one in found.values()} == {("miniature", "no profile")}
    assert (stands_for("mini-bitext"), stands_for("mini-choice")) == ("tatoeba", "cosmosqa")


def test_random_weights_are_no_public_encoder() -> None:
    encoder = Encoder("tiny", tiny=Tiny(), content="x")
    store = Told(subsets=[("mnli",)], targets=("tatoeba",), start=encoder)
    assert judged(store)[7].answer == NOT_TESTED


def test_wrong_row_counts_and_a_record_without_a_tokenizer_contradict(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Told.record

    def record(self: Told, id: str) -> dict[str, Any]:
        found = plain(self, id)
        found["result"]["tokenizer_fingerprint"] = ""
        for about in found["result"].get("tasks", {}).values():
            about["rows_present"] = 7
        return found

    monkeypatch.setattr(Told, "record", record)
    found = judged(Told())
    assert (found[7].answer, found[9].answer) == (CONTRADICTED, CONTRADICTED)
    assert "mnli had 7 training rows, published are 392,702" in found[9].reasons
    assert "anli+: 7 rows" in found[9].reasons


def test_a_target_without_its_training_contradicts_the_phases() -> None:
    store = Told(targets=())
    leaves = [measure(train("snli"), "xnli", "ar")]
    Memory.__init__(store, leaves, lambda stage: [{"value": 0.5, "num_examples": 1}])
    found = judged(store, NO_PROFILE)
    assert found[8].answer == CONTRADICTED
    assert "no training for its target" in found[8].reasons[-1]


def test_retrieval_alone_shows_no_third_phase() -> None:
    found = judged(Told(targets=("tatoeba",), subsets=[("mnli",)]))[8]
    assert (found.answer, found.effects) == (NOT_TESTED, ())
    assert "trained for after an intermediate training" in found.missing[0]


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown profile of the claims 'stilts': .* did you mean 'stilts-2020'"):
        judged(Told(targets=("tatoeba",), subsets=[]), "stilts")


# ------------------------------------------------------------ statistics


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.5]) == pytest.approx([0.04, 0.09, 0.09, None, 0.5])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(list(values))
    for (p, q), (other, r) in itertools.combinations(zip(values, adjusted, strict=True), 2):
        assert q is not None
        assert r is not None
        assert (q <= r) if p <= other else (q >= r)
    for p, q in zip(values, adjusted, strict=True):
        assert q is not None
        assert p <= q <= min(1, len(values) * p) or q == pytest.approx(min(1, len(values) * p))


def test_a_family_makes_a_direction_harder_and_leaves_the_interval() -> None:
    sample = Sample({0: 0.10, 1: 0.12, 2: 0.05})
    alone = effects({"a": sample})["a"]
    noise = {str(at): Sample({0: 0.1 * at, 1: -0.1 * at, 2: 0.05}) for at in range(1, 9)}
    among = effects({"a": sample, **noise})["a"]
    assert (alone.direction, among.direction) == (ABOVE, UNCLEAR)
    assert alone.found == among.found


def test_seeds_that_all_agree_make_nothing_sure() -> None:
    same = effects({"a": Sample({0: 0.1, 1: 0.1, 2: 0.1 + 1e-17})})["a"]
    assert (same.p, same.direction, same.found) == (None, UNCLEAR, stats.Summary(pytest.approx(0.1), None, None, 3))
    assert not effects({"a": Sample({0: -0.1, 1: -0.1})})["a"].is_surely_below(0.01)


def test_dev_rows_that_are_held_out_to_choose_by_judge_no_claim(tmp_path: Path) -> None:
    models = [ENCODER, *(train("mnli", seed=seed) for seed in SEEDS)]
    both = [measure(m, "mini-bitext", "de", split) for split in ("dev", "test") for m in models]
    for leaves, split in ((both, "test"), (both[: len(models)], "dev")):
        (grid,) = grids([], fill(tmp_path / split, leaves).plan("scaling"), NO_PROFILE)
        assert [(target.task, target.split) for target in grid.targets] == [("mini-bitext", split)]


def test_samples_are_combined_over_the_seeds_that_all_have() -> None:
    one = Sample({0: 1.0, 1: 2.0}, frozenset({1}), (), 1)
    other = Sample({1: 5.0, 2: 7.0}, frozenset({2}), ("gone",), 1)
    assert less(one, other) == Sample({1: -3.0}, frozenset({1}), ("gone",), 1)
    assert mean_of([one, other]) == Sample({1: 3.5}, frozenset({1}), ("gone",), 2)
    assert less(one, Sample({7: 0.0})).missing == (NO_SEED,)
    assert combined([(2.0, one)]) == Sample({0: 2.0, 1: 4.0}, frozenset({1}), (), 1)


def test_the_three_named_tasks_are_of_the_nine() -> None:
    assert set(BEST) < set(NINE)
    assert set(NINE) <= set(tasks.names())
    for name, count in NINE.items():
        assert count is None or tasks.find(name).official_size == count
