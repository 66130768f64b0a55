"""The study of whole benchmarks: how much it asks for, which recipe reaches which training, stand-ins and chains."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from test_tasks import toy
from xstilts import tasks
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.stage import Encoder, Evaluate, Train, Views, root
from xstilts.studies import recipes, xstilts2020
from xstilts.studies.parts import MINIATURE_TINY, StandIns, find_target
from xstilts.study import Sources, make_plan
from xstilts.tasks import BENCHMARKS, Bitext, Embed, Entry, Mine, Search, Splits, find

NINE = ("anli+", "mnli", "qqp", "squad-v1", "squad-v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")
EIGHT = ("xnli", "paws-x", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba")
DOCUMENT = Path(__file__).parent.parent / "docs" / "recipes.md"

pytestmark = pytest.mark.usefixtures("hub_cache")


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """CCG, which needs a copy of one's own, and small tasks under the names of XTREME-R's searches."""
    searched = ("bucc", "lareqa", "lareqa-train", "lareqa-train@half", "mewsli-x", "mewsli-x-train")
    known = {name: task for name, task in tasks._known.items() if name not in searched}
    monkeypatch.setattr(tasks, "_known", known)
    entry: dict[str, Any] = {"example": lambda row: Entry(row["first"], "1", True, "en"), "rows": {}}
    pair: dict[str, Any] = {"example": lambda row: Bitext(row["first"], row["second"]), "kind": Embed()}
    search: dict[str, Any] = {"kind": Search(("ar", "de")), "languages": ("mul",), "splits": Splits(test="t")} | entry
    tasks.register(
        tasks.ccg(("NP", "S[dcl]\\NP")),
        toy(name="bucc", kind=Mine(), languages=("de", "fr"), splits=Splits(dev="d", test="t"), metric="f1", **entry),
        toy(name="lareqa-train", rows={"train": 50}, **pair),
        toy(name="lareqa-train@half", rows={"train": 25}, slice_of="lareqa-train", **pair),
        toy(name="mewsli-x-train", **pair),
        toy(name="lareqa", trained_by="lareqa-train", metric="map", **search),
        toy(name="mewsli-x", trained_by="mewsli-x-train", metric="mrr", **search),
    )
    for benchmark, added in (("xtreme", {"bucc": ("de", "fr")}), ("xtreme-r", {"lareqa": (), "mewsli-x": ()})):
        monkeypatch.setitem(BENCHMARKS, benchmark, BENCHMARKS[benchmark] | added)


def leaves(**parameters: Any) -> list[Evaluate]:
    found = list(xstilts2020(**parameters))
    assert all(isinstance(leaf, Evaluate) for leaf in found)
    return found


def chain(model: Encoder | Train) -> list[Train]:
    """The trainings of a model, first trained first."""
    return [*chain(model.start), model] if isinstance(model, Train) else []


def trained(model: Encoder | Train) -> tuple[tuple[str, ...], ...]:
    return tuple(train.mixture.tasks for train in chain(model))


def trainings(found: list[Evaluate]) -> set[Train]:
    return {train for leaf in found for train in chain(leaf.model)}


# ------------------------------------------------------------ how much


def test_xtreme_is_measured_after_eleven_starts_with_three_seeds() -> None:
    found = leaves(targets=EIGHT)
    # 9 single tasks and all of them, 3 seeds each, and the encoder itself: 31 models, which Tatoeba measures in 36
    # languages. A target's training starts from each of them, from the encoder with each seed: 33 models, measured in
    # 15 + 7 + 33 + 40 + 11 + 7 + 9 = 122 languages. XQuAD and MLQA share their training: 6 trainings from each start.
    assert Counter(leaf.task == "tatoeba" for leaf in found) == {True: 31 * 36, False: 33 * 122}
    stages = trainings(found)
    assert len(stages) == 30 + 33 * 6
    assert Counter(len(chain(train)) for train in stages) == {1: 30 + 3 * 6, 2: 30 * 6}
    assert {root(leaf) for leaf in found} == {Encoder("FacebookAI/xlm-roberta-large")}
    assert {leaf.split for leaf in found if leaf.task != "tydiqa"} == {"test"}
    assert {leaf.split for leaf in found if leaf.task == "tydiqa"} == {"dev"}
    assert {(leaf.precision, leaf.num_threads) for leaf in found} == {("float32", 1)}


@pytest.mark.parametrize("benchmark", ["xtreme", "xtreme-r"])
def test_every_target_of_a_benchmark_is_measured_in_its_languages(benchmark: str) -> None:
    found = leaves(benchmark=benchmark, starts=("none",), seeds=(0,))
    measured = {name: {leaf.language for leaf in found if leaf.task == name} for name in BENCHMARKS[benchmark]}
    one_pool = {"lareqa": {"mul"}, "mewsli-x": {"mul"}}
    expected = {name: one_pool.get(name, set(codes)) for name, codes in BENCHMARKS[benchmark].items()}
    assert measured == expected
    assert {leaf.task for leaf in found} == set(expected)


def test_a_target_starts_from_the_very_model_that_retrieval_measures() -> None:
    found = leaves(targets=("xquad", "mlqa", "tatoeba"), languages=("de",), tasks=("mnli", "qqp"), seeds=(0, 1))
    models = {name: {leaf.model for leaf in found if leaf.task == name} for name in ("xquad", "mlqa", "tatoeba")}
    assert models["xquad"] == models["mlqa"]
    assert {model.start for model in models["xquad"]} == models["tatoeba"]
    assert len(models["tatoeba"]) == 1 + 2 * 3
    assert len(models["xquad"]) == 2 + 2 * 3
    for model in models["xquad"]:
        assert isinstance(model.start, Encoder) or model.seed == model.start.seed
    assert Counter(trained(model)[:-1] for model in models["xquad"]) == dict.fromkeys(
        [(), (("mnli",),), (("qqp",),), (("mnli", "qqp"),)], 2
    )


@pytest.mark.parametrize(
    ("starts", "tasks", "subsets"),
    [
        (("none",), ("mnli", "qqp"), [()]),
        (("single",), ("mnli", "qqp"), [("mnli",), ("qqp",)]),
        (("all",), ("mnli", "qqp"), [("mnli", "qqp")]),
        (("single", "all"), ("mnli",), [("mnli",)]),
        (("none", "all"), (), [()]),
    ],
)
def test_starts_and_tasks_restrict_the_models(starts: Any, tasks: Any, subsets: list[tuple[str, ...]]) -> None:
    found = leaves(targets=("tatoeba",), languages=("de",), starts=starts, tasks=tasks, seeds=(0,))
    assert [trained(leaf.model) for leaf in found] == [(subset,) if subset else () for subset in subsets]


def test_languages_restrict_the_targets() -> None:
    found = leaves(benchmark="xtreme-r", languages=("sw", "de"), starts=("none",), seeds=(0,))
    measured = {(leaf.task, leaf.language) for leaf in found}
    assert {("xcopa", "sw"), ("xnli", "sw"), ("xnli", "de"), ("lareqa", "mul"), ("mlqa", "de")} <= measured
    assert {leaf.language for leaf in found} == {"sw", "de", "mul"}
    assert "mlqa" not in {leaf.task for leaf in leaves(benchmark="xtreme-r", languages=("sw",), starts=("none",))}
    assert "lareqa" not in {leaf.task for leaf in leaves(benchmark="xtreme-r", languages=("sw",), starts=("none",))}
    with pytest.raises(ValueError, match=r"unknown language of the targets 'tl': .*did you mean 'tr'"):
        leaves(targets=("xnli",), languages=("de", "tl"))


def test_a_split_is_measured_in_the_languages_that_it_has() -> None:
    found = leaves(targets=("udpos/dev", "panx"), starts=("none",), seeds=(0,))
    assert {(leaf.task, leaf.split) for leaf in found} == {("udpos", "dev"), ("panx", "test")}
    codes = {leaf.language for leaf in found if leaf.task == "udpos"}
    assert codes == set(BENCHMARKS["xtreme"]["udpos"]) - {"kk", "th", "tl", "yo"}


# ------------------------------------------------------------ recipes

_INTERMEDIATE = {
    "anli+": (2, 24, 256),
    "mnli": (2, 24, 256),
    "qqp": (3, 24, 256),
    "squad-v1": (3, 8, 384),
    "squad-v2": (3, 8, 384),
    "hellaswag": (7, 24, 256),
    "ccg": (15, 24, 256),
    "cosmosqa": (15, 4, 256),
    "commonsenseqa": (10, 4, 256),
}
_JIANT = {
    "xnli": ("mnli", 2, 32, 256),
    "paws-x": ("paws-x", 5, 32, 256),
    "udpos": ("udpos", 10, 32, 256),
    "panx": ("panx", 10, 32, 256),
    "xquad": ("squad-v1", 2, 16, 384),
    "mlqa": ("squad-v1", 2, 16, 384),
    "tydiqa": ("tydiqa", 2, 16, 384),
}


@pytest.mark.parametrize(("recipe", "learning_rate"), [("jiant", 1e-5), ("paper", 3e-6)])
def test_jiants_table_and_the_papers_rate_reach_the_targets_trainings(recipe: str, learning_rate: float) -> None:
    found = leaves(recipe=recipe, targets=tuple(_JIANT), starts=("single",), tasks=("mnli",), seeds=(0,))
    for leaf in found:
        intermediate, own = chain(leaf.model)
        row = (*own.mixture.tasks, own.budget.amount, own.recipe.batch_examples, own.recipe.max_tokens)
        assert row == _JIANT[leaf.task]
        assert own.budget.unit == "epochs"
        assert leaf.max_tokens == own.recipe.max_tokens
        assert own.recipe.learning_rate == learning_rate
        assert intermediate.recipe.learning_rate == 1e-5
        for train in (intermediate, own):
            rest = (train.recipe.warmup_share, train.recipe.weight_decay, train.recipe.decay, train.recipe.checkpoint)
            assert rest == (0.1, 0.01, "linear", "last")
            assert (train.recipe.evaluate_every_steps, train.recipe.dev_examples) == (1000, 500)
    assert {leaf.task for leaf in found} == set(_JIANT)


@pytest.mark.parametrize(
    ("target", "row"),
    [
        ("xnli", (5, 32, 128, 3e-5, 0, 0)),
        ("paws-x", (5, 32, 128, 2e-5, 0, 0)),
        ("panx", (10, 32, 128, 2e-5, 0, 0)),
        ("xquad", (3, 32, 384, 3e-5, 0.061, 1e-4)),
        ("tydiqa", (3, 32, 384, 3e-5, 0.061, 1e-4)),
    ],
)
def test_xtremes_own_scripts_are_a_recipe(target: str, row: tuple[float, ...]) -> None:
    (model,) = {leaf.model for leaf in leaves(recipe="xtreme", targets=(target,), starts=("none",), seeds=(0,))}
    assert isinstance(model, Train)
    how = model.recipe
    found = (how.batch_examples, how.max_tokens, how.learning_rate, how.warmup_share, how.weight_decay)
    assert (model.budget.amount, *found) == row


def test_every_intermediate_task_has_its_batch_epochs_and_length() -> None:
    found = leaves(targets=("tatoeba",), languages=("de",), starts=("single",), seeds=(0,))
    models = [leaf.model for leaf in found if isinstance(leaf.model, Train)]
    assert [model.mixture.tasks for model in models] == [(name,) for name in NINE]
    for model in models:
        row = (model.budget.amount, model.recipe.batch_examples, model.recipe.max_tokens)
        assert row == _INTERMEDIATE[model.mixture.tasks[0]]
        assert model.budget.unit == "epochs"


def test_all_nine_together_keep_their_own_batches_and_lengths() -> None:
    ((model,),) = [
        chain(leaf.model) for leaf in leaves(targets=("tatoeba",), languages=("de",), starts=("all",), seeds=(0,))
    ]
    assert model.mixture == Mixture(NINE, policy="capped", cap=131_072, sizes="official")
    assert model.budget == Budget(3, "epochs")
    for name, (_, batch_examples, max_tokens) in _INTERMEDIATE.items():
        assert model.recipe.batch_examples_of(name) == batch_examples
        assert model.recipe.max_tokens_of(name) == max_tokens
    assert {o.task for o in model.recipe.overrides} == {"squad-v1", "squad-v2", "cosmosqa", "commonsenseqa"}


def test_a_slice_is_trained_on_like_its_whole_and_any_other_task_by_a_rule() -> None:
    slice, other = recipes.intermediate("squad-v1@subset"), recipes.intermediate("scitail")
    assert slice == recipes.intermediate("squad-v1")
    assert (other.epochs, other.recipe.batch_examples, other.recipe.max_tokens) == (3, 24, 256)


def test_retrieval_of_pairs_is_measured_at_512_tokens_and_keeps_every_layer() -> None:
    found = leaves(targets=("tatoeba", "bucc"), starts=("none",), poolings=("mean",))
    assert {(leaf.max_tokens, leaf.views) for leaf in found} == {(512, Views(("mean",)))}
    assert {leaf.split for leaf in found} == {"test"}


def test_parameters_reach_every_stage() -> None:
    found = leaves(
        **{"encoder": "owner/name", "revision": "v1", "precision": "bfloat16", "num_threads": 2},
        **{"learning_rate": 7e-5, "checkpoint": "best", "mlm_examples": 100, "prefix": "x: ", "layers": (-1, 4)},
        **{"benchmark": "xtreme-r", "targets": ("tatoeba", "xcopa", "lareqa"), "tasks": ("mnli",), "seeds": (3,)},
    )
    assert {root(leaf) for leaf in found} == {Encoder("owner/name", revision="v1")}
    for leaf in found:
        assert (leaf.precision, leaf.num_threads) == ("bfloat16", 2)
        assert leaf.views is None or (leaf.views.prefix, leaf.views.layers) == ("x: ", (-1, 4))
        text, *stages = chain(leaf.model)
        assert (text.mixture.tasks, text.budget) == (("text@leipzig",), Budget(100))
        for stage in (text, *stages):
            assert stage.recipe.learning_rate == 7e-5
            assert (stage.recipe.precision, stage.recipe.num_threads) == ("bfloat16", 2)
        for stage in stages:
            assert stage.recipe.checkpoint == ("last" if stage.mixture.tasks == ("lareqa-train",) else "best")
            assert stage.seed == 3


# ------------------------------------------------------------ smaller runs


def test_caps_are_budgets_in_examples_and_never_more_than_the_recipe() -> None:
    small = {"starts": ("single", "all"), "tasks": ("mnli", "commonsenseqa"), "seeds": (0,)}
    measured = {"targets": ("xnli", "tydiqa", "tatoeba"), "languages": ("ru",)}
    capped = trainings(leaves(**small, **measured, examples=100_000, target_examples=5_000))
    budgets = {train.mixture.tasks: train.budget for train in capped if len(chain(train)) == 1}
    assert budgets == {
        ("mnli",): Budget(100_000),
        ("commonsenseqa",): Budget(10 * 9_741),  # all that ten epochs are
        ("commonsenseqa", "mnli"): Budget(200_000),
    }
    assert {train.budget.amount for train in capped if train.mixture.tasks == ("mnli",) and len(chain(train)) == 2} == {
        5_000
    }
    assert {train.budget.amount for train in capped if train.mixture.tasks == ("tydiqa",)} == {5_000}
    whole = trainings(leaves(**small, **measured, examples=10**9, target_examples=10**9))
    amounts = {train.mixture.tasks: train.budget for train in whole if len(chain(train)) == 1}
    assert amounts[("mnli",)] == Budget(2 * 392_702)
    assert amounts[("commonsenseqa", "mnli")] == Budget(3 * (9_741 + 131_072))
    assert {train.budget.amount for train in whole if train.mixture.tasks == ("tydiqa",)} == {2 * 3_696}


def test_a_capped_run_shares_no_training_with_a_full_one() -> None:
    small: dict[str, Any] = {"tasks": ("mnli", "qqp"), "seeds": (0,), "languages": ("ru",)}
    full = {train.id for train in trainings(leaves(**small))}
    assert not full & {train.id for train in trainings(leaves(**small, examples=10**9, target_examples=10**9))}


# ------------------------------------------------------------ XTREME-R


def test_xcopa_is_trained_for_on_socialiqa_and_then_on_copa() -> None:
    found = leaves(benchmark="xtreme-r", targets=("xcopa",), tasks=("mnli",), languages=("sw",), seeds=(5,))
    assert [trained(leaf.model) for leaf in found] == [
        (("socialiqa",), ("copa",)),
        (("mnli",), ("socialiqa",), ("copa",)),
    ]
    for leaf in found:
        for train in chain(leaf.model)[-2:]:
            assert (train.seed, train.budget, train.recipe.learning_rate) == (5, Budget(5, "epochs"), 3e-5)
            assert (train.recipe.batch_examples, train.recipe.max_tokens) == (32, 128)


def test_tatoeba_is_measured_after_squad_too_in_xtreme_r_alone() -> None:
    small: dict[str, Any] = {"targets": ("tatoeba",), "languages": ("de",), "tasks": ("mnli",), "seeds": (0,)}
    assert [trained(leaf.model) for leaf in leaves(**small)] == [(), (("mnli",),)]
    found = leaves(benchmark="xtreme-r", **small)
    assert [trained(leaf.model) for leaf in found] == [
        (),
        (("squad-v1",),),
        (("mnli",),),
        (("mnli",), ("squad-v1",)),
    ]
    own = found[1].model
    assert isinstance(own, Train)
    assert (own.budget, own.recipe.learning_rate, own.recipe.batch_examples) == (Budget(2, "epochs"), 3e-5, 32)
    assert (own.recipe.max_tokens, own.recipe.weight_decay, own.recipe.warmup_share) == (384, 1e-4, 0.091)
    assert {leaf.max_tokens for leaf in found} == {512}
    frozen = leaves(benchmark="xtreme-r", train_retrieval=False, **small)
    assert [trained(leaf.model) for leaf in frozen] == [(), (("mnli",),)]


@pytest.mark.parametrize(
    ("target", "source", "row"),
    [("lareqa", "lareqa-train", (3, 16, 256, 2e-5)), ("mewsli-x", "mewsli-x-train", (2, 32, 64, 1e-5))],
)
def test_one_pool_is_searched_by_the_model_as_it_stands_and_by_a_dual_encoder(
    target: str, source: str, row: tuple[Any, ...]
) -> None:
    found = leaves(benchmark="xtreme-r", targets=(target,), tasks=("mnli",), seeds=(0,), poolings=("mean", "cls"))
    assert [trained(leaf.model) for leaf in found] == [(), ((source,),), (("mnli",),), (("mnli",), (source,))]
    frozen = Views(("mean", "cls"), num_neighbours=20, layers=(-1,))
    dual = Views(("mean", "cls", "pooler"), num_neighbours=20, layers=(-1,))
    assert [leaf.views for leaf in found] == [frozen, dual, frozen, dual]
    assert {(leaf.language, leaf.split, leaf.max_tokens) for leaf in found} == {("mul", "test", row[2])}
    own = found[1].model
    assert isinstance(own, Train)
    how = own.recipe
    assert (own.budget.amount, how.batch_examples, how.max_tokens, how.learning_rate) == row
    assert (how.warmup_share, how.weight_decay, how.dual_pooling, how.dual_scale) == (0, 0, "pooler", 100)


# ------------------------------------------------------------ stand-ins


def test_slices_stand_in_wherever_the_whole_task_is_asked_for() -> None:
    found = leaves(
        tasks=("mnli", "squad-v1", "hellaswag"),
        targets=("xnli", "xquad", "paws-x"),
        languages=("de",),
        seeds=(0,),
        stand_ins=("mnli@sample", "squad-v1@subset", "paws-x-en@dev-half", "paws-x@dev-half"),
    )
    names = {name for train in trainings(found) for name in train.mixture.tasks}
    assert names == {"mnli@sample", "squad-v1@subset", "hellaswag", "paws-x-en@dev-half"}
    assert {(leaf.task, leaf.split) for leaf in found} == {
        ("xnli", "test"),
        ("xquad", "test"),
        ("paws-x@dev-half", "dev"),
    }
    (together,) = {train for train in trainings(found) if len(train.mixture.tasks) == 3}
    assert together.recipe.batch_examples_of("squad-v1@subset") == 8
    assert together.recipe.max_tokens_of("squad-v1@subset") == 384
    own = {train.mixture.tasks: train for train in trainings(found) if len(chain(train)) == 2}
    assert own[("squad-v1@subset",)].recipe.batch_examples == 16
    assert own[("paws-x-en@dev-half",)].budget == Budget(5, "epochs")


def test_a_measured_slice_brings_its_own_training() -> None:
    found = leaves(targets=("paws-x",), languages=("de",), starts=("none",), seeds=(0,), stand_ins=("paws-x@dev-half",))
    assert [(leaf.task, trained(leaf.model)) for leaf in found] == [("paws-x@dev-half", (("paws-x-en@dev-half",),))]


def test_a_slice_trains_the_dual_encoder_of_its_whole() -> None:
    found = leaves(
        benchmark="xtreme-r", targets=("lareqa",), starts=("none",), seeds=(0,), stand_ins=("lareqa-train@half",)
    )
    assert trained(found[1].model) == (("lareqa-train@half",),)
    assert found[1].views is not None
    assert "pooler" in found[1].views.poolings


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"stand_ins": ("snli@sample",), "tasks": ("mnli",), "targets": ("xnli",)},
            r"'snli@sample' is a slice of 'snli', which this study nowhere trains on: expected one of mnli@sample; did",
        ),
        (
            {"stand_ins": ("paws-x@dev-half",), "tasks": ("paws-x",), "targets": ("xnli",)},
            r"'paws-x@dev-half' is a slice of 'paws-x', which this study nowhere measures: .*-en@dev-half",
        ),
        ({"stand_ins": ("mnli",)}, "the stand-in 'mnli' is no slice of a task: expected one of mnli@sample, .*did you"),
        (
            {"stand_ins": ("squad-v1@subset", "squad-v1@dev-halves")},
            "two stand-ins for squad-v1: squad-v1@subset and squad-v1@dev-halves",
        ),
        ({"stand_ins": ("mnli@sampel",)}, "unknown task 'mnli@sampel': .*did you mean 'mnli@sample'"),
        ({"stand_ins": ("mnli@sample",), "miniature": True}, "stand_ins=mnli@sample: the miniature stands for whole"),
        ({"benchmark": "xtrem"}, "unknown benchmark 'xtrem': .*did you mean 'xtreme'"),
        ({"recipe": "giant"}, "unknown recipe 'giant': expected one of jiant, paper, xtreme; did you mean 'jiant'"),
        ({"starts": ("singel",)}, "unknown start 'singel': .*did you mean 'single'"),
        ({"targets": ("xcopa",)}, "unknown target of xtreme 'xcopa'"),
        ({"targets": ("panx/dve",)}, "unknown split of the target 'panx' 'dve': expected one of dev, test; did you"),
        ({"targets": ("panx/train",)}, "unknown split of the target 'panx' 'train': expected one of dev, test"),
        ({"tasks": ("mnly",)}, "unknown task 'mnly': .*did you mean 'mnli'"),
        ({"checkpoint": "first"}, "recipe.checkpoint is 'first': expected 'last' or 'best'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_near_names(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        leaves(**parameters)


def test_without_a_declared_ccg_the_study_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tasks._known, "ccg")
    others = ",".join(name for name in NINE if name != "ccg")
    with pytest.raises(ValueError, match=rf"ccg is not declared.*register\(ccg.*tasks={others.replace('+', '.')}; or"):
        leaves()
    assert leaves(tasks=tuple(others.split(",")), targets=("xnli",), languages=("de",), starts=("all",))


def test_stand_ins_are_asked_before_they_are_checked() -> None:
    instead = StandIns(("mnli@sample",))
    assert (instead.trained("mnli"), instead.measured("mnli"), instead.trained("qqp")) == ("mnli@sample", "mnli", "qqp")
    instead.check()
    with pytest.raises(ValueError, match="nowhere trains on: expected one of none"):
        StandIns(("mnli@sample",)).check()


@pytest.mark.parametrize("name", ["mnli", "mini-text", "lareqa-train", "copa"])
def test_what_is_only_trained_on_is_no_target(name: str) -> None:
    with pytest.raises(ValueError, match=rf"the target '{name}' names no task that it is trained by: expected one of"):
        find_target(name, StandIns())


# ------------------------------------------------------------ the miniature

_MADE = {
    **{"mnli": "mini-nli", "qqp": "mini-questions", "squad-v1": "mini-qa", "ccg": "mini-tags"},
    **{"xnli": "mini-xnli", "xquad": "mini-xqa", "udpos": "mini-xtags", "tatoeba": "mini-bitext"},
}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters of a study on the part of the miniature that `_MADE` names."""
    monkeypatch.setattr("xstilts.tasks.made.MINIATURE_OF", _MADE, raising=False)
    names = {"tasks": ("mnli", "qqp", "squad-v1", "ccg"), "targets": ("xnli", "xquad", "udpos", "tatoeba")}
    return {"miniature": True, "seeds": (0,), **names}


def test_the_miniature_stands_for_every_task_with_the_recipe_of_the_real_one(made: dict[str, Any]) -> None:
    found = leaves(**made)
    assert {leaf.task for leaf in found} == {"mini-xnli", "mini-xqa", "mini-xtags", "mini-bitext"}
    assert {root(leaf) for leaf in found} == {Encoder("tiny", tiny=MINIATURE_TINY)}
    for leaf in found:
        codes = [name for name, small in _MADE.items() if small == leaf.task]
        assert leaf.language in BENCHMARKS["xtreme"][codes[0]]
    names = {name for train in trainings(found) for name in train.mixture.tasks}
    assert names == {"mini-text", "mini-nli", "mini-questions", "mini-qa", "mini-tags"}
    for train in trainings(found):
        assert train.recipe.learning_rate == (5e-4 if chain(train)[1:] else 2e-3)
    rows = {}
    for leaf in leaves(**made | {"targets": ("tatoeba",), "starts": ("single",)}):
        _, own = chain(leaf.model)
        rows[own.mixture.tasks[0]] = (own.budget.amount, own.recipe.batch_examples, own.recipe.max_tokens)
    assert rows == {_MADE[name]: _INTERMEDIATE[name] for name in made["tasks"]}
    (text,) = {chain(leaf.model)[0] for leaf in found}
    assert (text.mixture.tasks, text.budget, text.recipe.learning_rate) == (("mini-text",), Budget(40_000), 2e-3)
    assert {leaf.language for leaf in found if leaf.task == "mini-xqa"} == {
        "ar",
        "de",
        "en",
        "es",
        "hi",
        "ru",
        "tr",
        "zh",
    }


def test_the_miniature_can_be_planned_without_data(made: dict[str, Any], tmp_path: Path) -> None:
    plan = make_plan("xstilts2020", leaves(**made), Sources(None, tmp_path))
    stages = Counter(stage.kind for stage in plan.stages.values())
    # MLM, 4 single tasks and all of them, each of the 6 starts trained for 3 targets
    assert stages["train"] == 1 + 5 + 6 * 3
    assert (
        stages["evaluate"]
        == len(plan.leaves)
        == 6 * sum(len({leaf.language for leaf in leaves(**made) if leaf.task == name}) for name in _MADE.values())
    )
    assert plan.note


@pytest.mark.parametrize("benchmark", ["xtreme", "xtreme-r"])
def test_the_whole_study_can_be_planned_on_the_miniature(benchmark: str, tmp_path: Path) -> None:
    of = vars(tasks.made).get("MINIATURE_OF")
    if of is None:
        pytest.skip("the miniature does not stand for every task yet")
    plan = make_plan("xstilts2020", leaves(benchmark=benchmark, miniature=True), Sources(None, tmp_path))
    measured = {stage.task for stage in plan.stages.values() if isinstance(stage, Evaluate)}
    assert measured == {of[name] for name in BENCHMARKS[benchmark]}
    names = {name for train in plan.stages.values() if isinstance(train, Train) for name in train.mixture.tasks}
    assert names >= {"mini-text", *(of[name] for name in NINE)}
    assert plan.note


def test_xtreme_rs_squad_training_is_the_miniatures_on_the_miniature(made: dict[str, Any]) -> None:
    found = leaves(**made | {"benchmark": "xtreme-r", "targets": ("tatoeba",), "starts": ("none",)})
    assert {trained(leaf.model) for leaf in found} == {(("mini-text",),), (("mini-text",), ("mini-qa",))}


def test_a_task_that_the_miniature_lacks_is_refused_by_name(made: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown task that the miniature stands for 'panx': expected one of"):
        leaves(**made | {"targets": ("panx",)})


# ------------------------------------------------------------ what a reader is told


def test_the_recipes_in_words_are_what_is_declared_and_fit_the_width() -> None:
    lines = recipes.in_words(70)
    assert max(map(len, lines)) <= 70
    text = " ".join(" ".join(lines).split())
    assert "xquad, mlqa, tydiqa: 2 epochs, batch 16, 384 tokens, rate 1e-05, warm-up 0.1, weight decay 0.01" in text
    assert "recipe=paper: targets as in Phang et al. 2020" in text
    assert all(departure in text for departure in recipes.DEPARTURES)
    for name in (*NINE, *EIGHT, "xcopa", "lareqa", "mewsli-x"):
        assert f"{name}," in text or f"{name}:" in text


def test_the_document_of_recipes_is_what_the_help_prints() -> None:
    _, opened, rest = DOCUMENT.read_text().partition("```text\n")
    assert opened
    assert list(takewhile(lambda line: line != "```", rest.splitlines())) == recipes.in_words(100)


def test_every_target_of_both_benchmarks_that_is_trained_for_has_a_phase() -> None:
    for recipe in recipes.RECIPES.values():
        for name in (name for own in BENCHMARKS.values() for name in own):
            if find(name).trained_by:
                assert recipe.target(name).epochs > 0
    assert {phase.recipe.learning_rate for phase in recipes.INTERMEDIATE.values()} == {STILTS.learning_rate}
