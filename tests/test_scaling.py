"""The scaling study: which subsets of tasks, which budgets, which models and measurements."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_tasks import toy
from xstilts import tasks
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import POOLINGS, STILTS, Override
from xstilts.spec import canonical_json
from xstilts.stage import Encoder, Evaluate, Train, Views, chain, root
from xstilts.studies import STUDIES
from xstilts.studies.parts import MINIATURE_TARGETS, MINIATURE_TASKS, MINIATURE_TINY, sequence
from xstilts.studies.recipes import PRETRAINING
from xstilts.studies.scaling import demo, scaling, subsets
from xstilts.study import Sources, make_plan
from xstilts.tasks import Embed, Search, Splits

NAMES = tuple("abcdefgh")
THREE = ("mnli", "qqp", "snli")


def leaves(**parameters: Any) -> list[Evaluate]:
    found = list(scaling(**parameters))
    assert all(isinstance(leaf, Evaluate) for leaf in found)
    return found


def models(**parameters: Any) -> list[Encoder | Train]:
    """The models of the study in order, each once."""
    return list(dict.fromkeys(leaf.model for leaf in leaves(**({"encoder": "owner/name"} | parameters))))


def by_size(found: list[tuple[str, ...]]) -> dict[int, list[set[str]]]:
    return {size: [set(s) for s in found if len(s) == size] for size in sorted({len(s) for s in found})}


# ------------------------------------------------------------ subsets


def test_all_subsets_are_all_subsets() -> None:
    found = subsets(NAMES[:4], range(5), "all", 1)
    assert len(found) == 16
    assert sorted(found) == sorted(s for size in range(5) for s in itertools.combinations(NAMES[:4], size))
    assert [len(s) for s in found] == sorted(len(s) for s in found), "smallest first"
    assert subsets(NAMES[:4], (2,), "all", 1) == list(itertools.combinations(NAMES[:4], 2))


@given(st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_nested_subsets_form_chains_from_nothing_to_everything(num_tasks: int, num_subsets: int) -> None:
    names = NAMES[:num_tasks]
    sizes = by_size(subsets(names, range(num_tasks + 1), "nested", num_subsets))
    assert sizes[0] == [set()]
    assert sizes[num_tasks] == [set(names)]
    for size in range(num_tasks):
        assert 1 <= len(sizes[size]) <= num_subsets
        for small in sizes[size]:
            assert any(small < large for large in sizes[size + 1])
        for large in sizes[size + 1]:
            assert any(small < large for small in sizes[size])


def test_more_chains_keep_the_ones_there_are() -> None:
    few, more = (subsets(NAMES, range(9), "nested", number) for number in (2, 4))
    assert set(few) < set(more)


@given(st.integers(1, 8), st.data())
@settings(max_examples=60, deadline=None)
def test_random_subsets_are_different_and_use_every_task_equally_often(num_tasks: int, data: st.DataObject) -> None:
    names = NAMES[:num_tasks]
    size = data.draw(st.integers(0, num_tasks))
    num_subsets = data.draw(st.integers(1, 40))
    found = subsets(names, (size,), "random", num_subsets)
    assert len(set(found)) == len(found) == min(num_subsets, math.comb(num_tasks, size))
    assert all(len(set(s)) == size and list(s) == sorted(s) for s in found)
    counts = Counter({name: 0 for name in names})
    counts.update(itertools.chain.from_iterable(found))
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(("num_tasks", "size", "num_subsets"), [(5, 2, 8), (6, 4, 12), (7, 3, 28), (8, 3, 55)])
def test_random_subsets_are_balanced_where_drawing_the_least_used_is_a_dead_end(
    num_tasks: int, size: int, num_subsets: int
) -> None:
    for prefix in ("", "x", "y", "z"):
        names = [prefix + name for name in NAMES[:num_tasks]]
        counts = Counter(itertools.chain.from_iterable(subsets(names, (size,), "random", num_subsets)))
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("design", ["all", "nested", "random"])
def test_subsets_depend_on_the_names_of_the_tasks_only(design: str) -> None:
    first = subsets(NAMES, (1, 3, 5), design, 4)
    assert subsets(NAMES[::-1], (5, 1, 3, 1), design, 4) == first
    assert subsets(tuple(NAMES), (3,), design, 4) == [s for s in first if len(s) == 3], "nor on the other sizes"
    renamed = [tuple(name.upper() for name in s) for s in subsets([n.lower() for n in NAMES], (3,), design, 4)]
    other = subsets([name.upper() for name in NAMES], (3,), design, 4)
    assert (other == renamed) == (design == "all")


def test_subsets_of_chosen_tasks_are_pinned() -> None:
    # Another choice would leave what is stored of these designs without its neighbours.
    nested = ["cd", "ef", "bcd", "aef"]
    assert ["".join(s) for s in subsets(NAMES, (2, 3), "nested", 2)] == nested
    assert ["".join(s) for s in subsets(NAMES, (3,), "random", 3)] == ["bde", "afh", "cgh"]


# ------------------------------------------------------------ models


@pytest.mark.parametrize("sizes", [(4,), (0, 4), (-1,)])
def test_a_subset_larger_than_the_tasks_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"k = {sizes[-1]}: expected 0 to 3, the number of tasks"):
        leaves(tasks=THREE, k=sizes)


def test_unknown_designs_and_budgets_are_refused_with_the_near_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown design 'nest': .*did you mean 'nested'"):
        leaves(design="nest")
    with pytest.raises(ValueError, match=r"unknown budget 'fix': .*did you mean 'fixed'"):
        leaves(budget="fix")
    with pytest.raises(ValueError, match=r"unknown task 'tatoba': .*did you mean 'tatoeba'"):
        leaves(targets=("tatoba",))
    with pytest.raises(
        ValueError, match=r"the target 'mnli' names no task that it is trained by: expected one of .*xnli"
    ):
        leaves(targets=("mnli",))


def test_sizes_are_all_of_them_when_none_is_given() -> None:
    assert models(tasks=THREE) == models(tasks=THREE, k=(0, 1, 2, 3))
    assert len(models(tasks=THREE)) == 2**3


def test_without_tasks_all_seeds_share_the_one_model() -> None:
    found = models(tasks=THREE, k=(0, 1), seeds=(0, 1, 2))
    frozen = [model for model in found if isinstance(model, Encoder)]
    trained = [model for model in found if isinstance(model, Train)]
    assert frozen == [Encoder("owner/name")]
    assert len(trained) == 3 * 3
    assert {model.seed for model in trained} == {0, 1, 2}
    per_language = Counter(
        leaf.language for leaf in leaves(encoder="owner/name", tasks=THREE, k=(0, 1), seeds=(0, 1, 2))
    )
    assert set(per_language.values()) == {1 + 9}


def test_a_fixed_budget_is_shared_and_does_not_grow_with_k() -> None:
    for model in models(tasks=THREE, k=(1, 2, 3), budget="fixed", examples=600):
        assert isinstance(model, Train)
        assert (model.budget.amount, model.budget.unit) == (600, "examples")
        assert model.mixture == Mixture(model.mixture.tasks, policy="uniform")


def test_a_proportional_budget_is_one_pass_over_the_capped_rows_of_every_task() -> None:
    for model in models(tasks=THREE, k=(1, 2, 3), budget="proportional", examples=600):
        assert isinstance(model, Train)
        assert (model.budget.amount, model.budget.unit) == (1, "epochs")
        assert model.mixture == Mixture(model.mixture.tasks, policy="capped", cap=600, sizes="present")


@pytest.mark.parametrize("budget", ["fixed", "proportional"])
def test_sequential_training_is_one_stage_a_task_in_the_order_given(budget: str) -> None:
    how = {"tasks": THREE, "k": (0, 1, 3), "examples": 100, "budget": budget, "seeds": (4,)}
    given_order = ("snli", "mnli", "qqp")
    found = models(**how, training="sequential", order=given_order)
    joint = models(**how)
    recipe = replace(STILTS, max_tokens=128)
    assert [model.id for model in found[:4]] == [model.id for model in joint[:4]], "one task is one stage either way"
    made: Encoder | Train = found[0]
    for name, amount in zip(given_order, (34, 33, 33), strict=True):
        mixture, own = Mixture((name,), policy="uniform"), Budget(amount)
        if budget == "proportional":
            mixture, own = Mixture((name,), policy="capped", cap=100, sizes="present"), Budget(1, "epochs")
        made = Train(made, mixture, own, recipe, 4)
    assert found[4].id == made.id
    assert len(found) == 5


def test_a_drawn_order_is_the_seeds_and_the_same_in_every_subset() -> None:
    def order(model: Encoder | Train) -> tuple[str, ...]:
        return (*order(model.start), *model.mixture.tasks) if isinstance(model, Train) else ()

    names = ("anli", "mnli", "qqp", "scitail", "snli")
    found: dict[int, list[tuple[str, ...]]] = {}
    for model in models(tasks=names, training="sequential", seeds=tuple(range(6))):
        if isinstance(model, Train):
            found.setdefault(model.seed, []).append(order(model))
    wholes = {}
    for seed, orders in found.items():
        wholes[seed] = max(orders, key=len)
        assert sorted(wholes[seed]) == sorted(names)
        for one in orders:
            assert one == tuple(name for name in wholes[seed] if name in one)
        assert len(orders) == 31
    assert len({*wholes.values()}) > 3
    assert wholes[0] == ("mnli", "snli", "qqp", "anli", "scitail"), "stored sequences go by it"


def test_a_sequence_gives_every_training_its_own_overrides() -> None:
    overrides = (Override("mnli", 8), Override("snli", max_tokens=64))
    recipe = replace(STILTS, overrides=overrides)
    last = sequence(
        Encoder("tiny"), ("snli", "qqp", "mnli"), [Budget(n) for n in (1, 2, 3)], recipe, 5, sizes="present"
    )
    found = [link for link in chain(last) if isinstance(link, Train)]
    assert [link.mixture for link in found] == [Mixture((name,), sizes="present") for name in ("mnli", "qqp", "snli")]
    assert [link.recipe.overrides for link in found] == [overrides[:1], (), overrides[1:]]
    assert [(link.budget.amount, link.seed) for link in found] == [(3, 5), (2, 5), (1, 5)]
    assert sequence(Encoder("tiny"), (), []) == Encoder("tiny")


def test_how_tasks_share_a_stage_reaches_the_stage() -> None:
    plain = models(tasks=THREE, k=(2,))
    found = models(tasks=THREE, k=(2,), tasks_per_step="all", loss_balance="log-classes")
    assert [model.mixture.tasks_per_step for model in found] == ["all"] * 3
    assert {model.recipe.loss_balance for model in found} == {"log-classes"}
    assert [
        replace(m, mixture=replace(m.mixture, tasks_per_step=1), recipe=p.recipe)
        for m, p in zip(found, plain, strict=True)
    ] == plain
    assert {m.mixture.tasks_per_step for m in models(tasks=THREE, k=(2,), tasks_per_step="4")} == {4}
    own = {"loss_balance": "uncertainty", "dual_pooling": "cls", "dual_scale": 20.0}
    (tuned,) = models(tasks=("mnli", "snli"), k=(2,), targets=("xnli",), **own)
    assert {name: getattr(tuned.start.recipe, name) for name in own} == own
    assert replace(tuned.start.recipe, loss_balance="none", dual_pooling="pooler", dual_scale=100.0) == tuned.recipe


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"training": "sequental"}, "unknown training 'sequental'.*did you mean 'sequential'"),
        ({"order": THREE}, "order=mnli,qqp,snli: expected training=sequential and each of mnli, qqp, snli once"),
        ({"training": "sequential", "order": ("mnli", "snli")}, "order=mnli,snli: expected"),
        ({"training": "sequential", "tasks_per_step": "all"}, "tasks_per_step=all: training=sequential has one task"),
        ({"tasks_per_step": "al"}, r"mixture\.tasks_per_step is 'al'"),
        ({"loss_balance": "uncertain"}, "unknown loss balance 'uncertain'"),
    ],
)
def test_ways_of_sharing_that_make_no_sense_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models(tasks=THREE, **parameters)


def test_parameters_reach_training_and_measuring() -> None:
    found = leaves(
        encoder="owner/name",
        revision="v1",
        tasks=THREE,
        k=(3,),
        languages=("ru", "el"),
        targets=("ntrex",),
        learning_rate=3e-5,
        batch_examples=8,
        max_tokens=64,
        precision="bfloat16",
        num_threads=2,
        poolings=("cls",),
        prefix="x: ",
    )
    measured = [(leaf.task, leaf.language, leaf.split) for leaf in found]
    assert measured == [("ntrex", "ru", "dev"), ("ntrex", "el", "dev")]
    for leaf in found:
        assert (leaf.precision, leaf.num_threads) == ("bfloat16", 2)
        assert leaf.views is not None
        assert (leaf.views.poolings, leaf.views.prefix) == (("cls",), "x: ")
        assert isinstance(leaf.model, Train)
        recipe = leaf.model.recipe
        assert (recipe.learning_rate, recipe.batch_examples, recipe.max_tokens) == (3e-5, 8, 64)
        assert (recipe.precision, recipe.num_threads) == ("bfloat16", 2)
        assert root(leaf).revision == "v1"


def test_the_default_is_the_miniature_with_an_mlm_stage_before_everything() -> None:
    found = leaves()
    assert {leaf.task for leaf in found} == set(MINIATURE_TARGETS)
    (first,) = {
        leaf.model for leaf in found if leaf.task == "mini-bitext" and leaf.model.mixture.tasks == ("mini-text",)
    }
    assert isinstance(first, Train)
    assert (first.budget.amount, first.budget.unit) == (40_000, "examples")
    assert first.start == Encoder("tiny", tiny=MINIATURE_TINY)
    for leaf in found:
        chain = [leaf.model]
        while isinstance(chain[-1].start, Train):
            chain.append(chain[-1].start)
        assert chain[-1] == first
        between = chain[:-1]
        if leaf.task == "mini-xnli":
            target, *between = between
            assert target.mixture.tasks == ("mini-nli",)
        assert len(between) <= 1
        assert all(set(model.mixture.tasks) <= set(MINIATURE_TASKS) for model in between)
    assert len({leaf.model for leaf in found if leaf.task == "mini-bitext"}) == 2 ** len(MINIATURE_TASKS)
    assert len({leaf.model for leaf in found if leaf.task == "mini-xnli"}) == 2 ** len(MINIATURE_TASKS)


def test_a_target_that_is_trained_is_trained_after_every_model_with_its_seed() -> None:
    found = leaves(encoder="owner/name", tasks=THREE, targets=("xnli", "tatoeba"), k=(0, 1), seeds=(3, 4))
    trained = {leaf.model for leaf in found if leaf.task == "xnli"}
    starts = {leaf.model for leaf in found if leaf.task == "tatoeba"}
    assert {model.start for model in trained} == starts
    assert Counter(isinstance(model.start, Encoder) for model in trained) == {True: 2, False: 6}
    for model in trained:
        assert model.mixture.tasks == ("mnli",)
        assert (model.budget.amount, model.budget.unit) == (2000, "examples")
        assert model.seed in ((3, 4) if isinstance(model.start, Encoder) else (model.start.seed,))
    assert {leaf.views is None for leaf in found if leaf.task == "xnli"} == {True}
    assert {leaf.language for leaf in found if leaf.task == "xnli"} > {"en", "sw"}


def test_the_demo_is_the_whole_method_on_the_miniature_with_two_seeds() -> None:
    found = list(demo())
    assert {leaf.task for leaf in found} == set(MINIATURE_TARGETS)
    assert len({leaf.language for leaf in found}) >= 8
    models = {leaf.model for leaf in found if leaf.task == "mini-bitext"}
    by_size = Counter(0 if model.mixture.tasks == ("mini-text",) else len(model.mixture.tasks) for model in models)
    assert set(by_size) == {0, 1, 2, 3, 4}
    assert by_size[0] == 1
    assert by_size[4] == 2, "all tasks, two seeds"
    assert all(by_size[k] >= 4 for k in (1, 2, 3)), "subsets and two seeds"
    held_out = [leaf for leaf in found if leaf.split == "dev"]
    assert {leaf.model for leaf in held_out} == models, "each can be chosen"
    assert {leaf.task for leaf in held_out} == {"mini-bitext"}


def test_an_mlm_stage_is_asked_for_unless_the_encoder_is_random() -> None:
    assert models(tasks=THREE, k=(0,)) == [Encoder("owner/name")]
    (model,) = models(tasks=THREE, k=(0,), mlm_examples=100)
    assert isinstance(model, Train)
    assert (model.mixture.tasks, model.budget.amount) == (("text@leipzig",), 100)
    assert models(encoder="tiny", k=(0,), mlm_examples=0, targets=("mini-bitext",)) == [
        Encoder("tiny", tiny=MINIATURE_TINY)
    ]


def test_a_named_way_of_masked_language_modelling_is_that_of_its_recipe() -> None:
    named = PRETRAINING["from-contrastive"]
    (model,) = models(tasks=THREE, k=(0,), mlm="from-contrastive", mlm_languages=("sw", "en"), precision="bfloat16")
    assert isinstance(model, Train)
    assert model.mixture == Mixture(("text@leipzig-dev",), languages=("sw", "en"))
    assert (model.budget.amount, model.recipe) == (563_200, replace(named.recipe, precision="bfloat16"))
    (short,) = models(k=(0,), targets=("mini-bitext",), mlm="adaptive", mlm_examples=640)
    assert isinstance(short, Train)
    assert (short.mixture.tasks, short.budget.amount) == (("mini-text-dev",), 640)
    for recipe in (named.recipe, PRETRAINING["adaptive"].recipe):
        assert replace(recipe, name="stilts") != STILTS
    with pytest.raises(ValueError, match=r"unknown mlm 'adaptiv': .* did you mean 'adaptive'"):
        models(tasks=THREE, k=(0,), mlm="adaptiv")
    with pytest.raises(ValueError, match="give mlm=NAME"):
        models(tasks=THREE, k=(0,), mlm_languages=("sw",))


def test_learning_rates_are_the_papers_unless_the_encoder_is_random() -> None:
    def rate(**parameters: Any) -> float:
        model = models(k=(1,), **parameters)[0]
        assert isinstance(model, Train)
        return model.recipe.learning_rate

    assert rate() == STILTS.learning_rate == 1e-5
    assert rate(encoder="tiny") == 5e-4
    assert rate(encoder="tiny", learning_rate=1e-3) == 1e-3


@pytest.mark.parametrize(
    ("encoder", "prefix", "expected"),
    [
        ("offline", "auto", "query: "),
        ("tiny", "auto", ""),
        ("intfloat/multilingual-e5-small", "auto", ""),
        ("offline", "", ""),
        ("tiny", "query: ", "query: "),
    ],
)
def test_the_prefix_is_chosen_for_the_offline_encoder_alone(encoder: str, prefix: str, expected: str) -> None:
    found = {leaf.views.prefix for leaf in leaves(encoder=encoder, prefix=prefix) if leaf.views}
    assert found == {expected}


@pytest.mark.parametrize(("tasks", "targets"), [(THREE, {"tatoeba"}), (MINIATURE_TASKS, set(MINIATURE_TARGETS))])
def test_the_targets_follow_the_tasks(tasks: tuple[str, ...], targets: set[str]) -> None:
    assert {leaf.task for leaf in leaves(tasks=tasks, k=(1,))} == targets


def test_stand_ins_take_the_place_of_tasks_and_targets_and_leave_the_subsets_as_they_are() -> None:
    whole: dict[str, Any] = {"tasks": ("qqp", "mnli", "snli"), "design": "random", "num_subsets": 2, "k": (0, 1, 2)}
    slices = ("mnli@sample", "snli@sample", "paws-x@dev-half")
    targets = ("xnli", "paws-x")

    def trained(**parameters: Any) -> list[tuple[str, list[tuple[str, ...]]]]:
        found = []
        for leaf in leaves(encoder="owner/name", targets=targets, languages=("de",), **whole, **parameters):
            model, names = leaf.model, []
            while isinstance(model, Train):
                names.insert(0, model.mixture.tasks)
                model = model.start
            found.append((leaf.task, names))
        return found

    instead = {"mnli": "mnli@sample", "snli": "snli@sample", "paws-x": "paws-x-en@dev-half"}
    expected = [
        ("paws-x@dev-half" if task == "paws-x" else task, [tuple(instead.get(n, n) for n in names) for names in chain])
        for task, chain in trained()
    ]
    assert trained(stand_ins=slices) == expected
    with pytest.raises(
        ValueError, match=r"'squad-v1@subset' is a slice of 'squad-v1', which this study nowhere trains"
    ):
        trained(stand_ins=("squad-v1@subset",))


def test_a_target_may_name_its_split_and_be_trained_for_twice() -> None:
    found = leaves(encoder="owner/name", tasks=THREE, k=(0,), targets=("panx/dev", "xcopa"), languages=("sw",))
    assert [(leaf.task, leaf.split) for leaf in found] == [("panx", "dev"), ("xcopa", "test")]
    second = found[1].model
    assert isinstance(second, Train)
    assert isinstance(second.start, Train)
    assert (second.start.mixture.tasks, second.mixture.tasks) == (("socialiqa",), ("copa",))
    assert second.start.budget == second.budget
    with pytest.raises(ValueError, match=r"unknown split of the target 'panx' 'deb': .*did you mean 'dev'"):
        leaves(targets=("panx/deb",))


def test_a_search_in_one_pool_keeps_its_language_twenty_neighbours_and_the_last_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    fields: dict[str, Any] = {"languages": ("mul",), "rows": {}, "metric": "map", "splits": Splits(test="test")}
    tasks.register(
        toy(name="pool-train", kind=Embed()), toy(name="pool-train@half", kind=Embed(), slice_of="pool-train")
    )
    tasks.register(toy(name="pool", kind=Search(("de", "fr")), trained_by="pool-train", **fields))
    common: dict[str, Any] = {"encoder": "owner/name", "k": (0,), "tasks": THREE, "targets": ("pool", "tatoeba")}
    pool, *rest = leaves(**common, languages=("de",), poolings=("cls",))
    assert (pool.task, pool.language) == ("pool", "mul")
    assert pool.views == Views(("cls",), num_neighbours=20, layers=(-1,))
    assert [(leaf.language, leaf.views) for leaf in rest] == [("de", Views(("cls",)))]
    assert leaves(**common, layers=(2, 4))[0].views == Views(num_neighbours=20, layers=(2, 4))
    frozen, dual, _ = leaves(**common, languages=("de",), train_retrieval=True, stand_ins=("pool-train@half",))
    assert frozen.model == Encoder("owner/name")
    assert isinstance(dual.model, Train)
    assert dual.model.mixture.tasks == ("pool-train@half",)
    assert dual.views == Views((*POOLINGS, "pooler"), num_neighbours=20, layers=(-1,))


@pytest.mark.parametrize("name", ["scaling", "demo"])
def test_the_studies_of_the_miniature_can_be_planned_as_they_are(name: str, tmp_path: Path) -> None:
    plan = make_plan(name, STUDIES[name](), Sources(None, tmp_path))
    assert canonical_json(plan.document())
    kinds = Counter(stage.kind for stage in plan.stages.values())
    assert kinds["evaluate"] == len(plan.leaves) > 100
    assert kinds["train"] > 20
