"""Designs and controls: subsets, budgets, shuffled labels, distinct data, and what a report makes of them."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small import TINY
from test_report import ENCODER, LANGUAGES, fill, measure, sections_of, value_of
from xstilts import report
from xstilts.engine import Context, encoder_folder
from xstilts.engine import train as train_module
from xstilts.engine.folders import load_tokenizer
from xstilts.engine.packing import schedule
from xstilts.mixture import PER_TASK, Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.report import rows, stats, tables, views
from xstilts.report.alternatives import paired
from xstilts.stage import Encoder, Evaluate, Merge, Train
from xstilts.studies.designs import DESIGNS, sizes_of, smaller, subsets
from xstilts.studies.scaling import scaling
from xstilts.study import Sources, make_plan
from xstilts.tasks import Choices, Pair, Passage, Text, Tokens, find, num_distinct
from xstilts.tasks.shuffling import shuffled_labels

NAMES = tuple("abcdefghi")
TASKS = ("mnli", "qqp", "snli")


def models(**parameters: Any) -> list[Any]:
    """The models of the study in order, each once."""
    given = {"encoder": "owner/name", "tasks": TASKS, "languages": ("de",), "examples": 600} | parameters
    return list(dict.fromkeys(leaf.model for leaf in scaling(**given) if isinstance(leaf, Evaluate)))


# ------------------------------------------------------------ subsets


@pytest.mark.parametrize("num_tasks", range(1, 10))
def test_designs_that_fix_their_sizes_have_all_subsets_of_them(num_tasks: int) -> None:
    names = NAMES[:num_tasks]
    for design, sizes in {"leave-one-out": (0, num_tasks - 1, num_tasks), "single": (0, 1, num_tasks)}.items():
        assert sizes_of(design, num_tasks) == tuple(sorted(set(sizes)))
        expected = [s for size in sorted(set(sizes)) for s in itertools.combinations(names, size)]
        assert subsets(names, sizes_of(design, num_tasks), design, 1) == expected
    assert sizes_of("nested", num_tasks) == tuple(range(num_tasks + 1))
    assert sizes_of("all", num_tasks, (num_tasks, 0)) == (0, num_tasks)


def test_a_size_that_a_design_does_not_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match="k = 2: expected one of 0, 3, 4, all that design=leave-one-out of 4 tasks has"
    ):
        sizes_of("leave-one-out", 4, (0, 2))
    with pytest.raises(ValueError, match="k = 5: expected 0 to 4"):
        sizes_of("single", 4, (5,))
    assert len(models(design="leave-one-out")) == 1 + 3 + 1
    assert len(models(design="single", k=(1,), seeds=(0, 1))) == 3 * 2


@given(st.sampled_from(DESIGNS), st.integers(1, 7), st.integers(1, 12), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_smaller_designs_keep_every_size_and_the_balance_of_tasks(
    design: str, num_tasks: int, num_subsets: int, num_seeds: int, some: bool
) -> None:
    names, seeds = NAMES[:num_tasks], tuple(range(num_seeds))
    k = (0, num_tasks) if some else ()
    sizes = sizes_of(design, num_tasks, k)
    whole = {"tasks": names, "k": k, "design": design, "num_subsets": num_subsets, "seeds": seeds}
    counts = []
    for changes in [{}, *smaller(whole)]:
        assert set(changes) <= {"design", "num_subsets", "seeds"}
        now = whole | changes
        found = subsets(names, sizes, now["design"], now["num_subsets"])
        assert {len(subset) for subset in found} == set(sizes), "no k is lost"
        assert now["seeds"] == seeds[: len(now["seeds"])]
        counts.append((len(now["seeds"]), len(found)))
        if now["design"] != "nested":
            for size in sizes:
                uses = Counter({name: 0 for name in names})
                uses.update(itertools.chain.from_iterable(s for s in found if len(s) == size))
                assert max(uses.values()) - min(uses.values()) <= 1, "every task equally often"
        if len(now["seeds"]) < num_seeds and design in ("all", "random", "nested"):
            assert now["num_subsets"] == 1 or max(math.comb(num_tasks, size) for size in sizes) == 1, "subsets first"
    assert counts == sorted(counts, reverse=True), "ever smaller"
    assert counts[-1][0] == 1


def test_a_study_without_subsets_loses_seeds_and_one_without_seeds_nothing() -> None:
    assert smaller({"seeds": (3, 4, 5), "tasks": TASKS}) == [{"seeds": (3, 4)}, {"seeds": (3,)}]
    assert smaller({"encoder": "tiny"}) == []
    assert smaller({"num_subsets": 3, "seeds": (0,)}) == [{"num_subsets": 2}, {"num_subsets": 1}]


# ------------------------------------------------------------ budgets


def test_a_budget_for_every_task_is_the_same_of_each_and_grows_with_k() -> None:
    for model in models(k=(1, 2, 3), budget="per-task"):
        assert model.budget == Budget(600, PER_TASK)
        assert model.mixture == Mixture(model.mixture.tasks, policy="uniform")
        num = len(model.mixture.tasks)
        plan = schedule(
            model.mixture, model.budget, 0, present=[50, 700, 9][:num], official=[None] * num, batch_examples=[32] * num
        )
        assert plan.examples.tolist() == [600] * num
    chained = models(k=(3,), budget="per-task", training="sequential")[0]
    assert chained.budget == chained.start.budget == Budget(600, PER_TASK)


def test_text_with_a_share_comes_beside_a_budget_for_every_task() -> None:
    mixture = Mixture(("mnli", "snli", "text@leipzig"), policy="uniform", text_share=0.2)
    sizes: dict[str, Any] = {"present": [10, 10, 10], "official": [None] * 3, "batch_examples": [8] * 3}
    assert schedule(mixture, Budget(40, PER_TASK), 0, **sizes).examples.tolist() == [40, 40, 20]


# ------------------------------------------------------------ controls


def test_controls_are_the_largest_k_in_other_ways() -> None:
    plain = models(budget="per-task", seeds=(0, 1))
    found = models(budget="per-task", seeds=(0, 1), controls=("shuffled", "single", "text"))
    assert found[: len(plain)] == plain
    added = found[len(plain) :]
    assert len(added) == 2 * (1 + 3 + 1)
    shuffled, alone, text = (
        added[:2],
        [m for m in added if "whole" in m.control],
        [m for m in added if "text" in m.control],
    )
    whole = [model for model in plain if isinstance(model, Train) and len(model.mixture.tasks) == 3]
    assert [replace(m, mixture=replace(m.mixture, shuffled_labels=False)) for m in shuffled] == whole
    assert {m.id for m in shuffled}.isdisjoint(m.id for m in whole), "the id says so"
    assert Counter((m.mixture.tasks, m.seed) for m in alone) == Counter(
        ((name,), seed) for name in TASKS for seed in (0, 1)
    )
    assert {m.budget for m in alone} == {Budget(1800)}
    steps = 3 * math.ceil(600 / 32)
    assert [(m.mixture.tasks, m.budget, m.seed) for m in text] == [
        (("text@leipzig",), Budget(steps, "steps"), seed) for seed in (0, 1)
    ]
    assert {m.start for m in (*alone, *text)} == {Encoder("owner/name")}


def test_the_steps_of_text_are_those_of_the_training_that_they_stand_beside() -> None:
    for budget, parameters in itertools.product(
        ("fixed", "per-task", "proportional"), ({}, {"tasks_per_step": "all"}, {"training": "sequential"})
    ):
        names = ("mini-nli", "mini-paraphrase", "mini-answers")
        how: dict[str, Any] = {"tasks": names, "k": (3,), "budget": budget, "examples": 100, "mlm_examples": 0}
        joint, text = models(**how, **parameters, controls=("text",), targets=("mini-bitext",))
        chain = [joint]
        while isinstance(chain[-1].start, Train):
            chain.append(chain[-1].start)
        num_steps = 0
        for model in chain:
            num = len(model.mixture.tasks)
            sizes = [find(name).count("train", "en") for name in model.mixture.tasks]
            num_steps += schedule(
                model.mixture, model.budget, 0, present=sizes, official=[None] * num, batch_examples=[32] * num
            ).num_steps
        assert text.budget == Budget(num_steps, "steps"), (budget, parameters)


def test_one_task_for_a_fixed_budget_is_no_other_stage() -> None:
    ids = {model.id for model in models(budget="fixed")}
    assert {model.id for model in models(budget="fixed", controls=("single",))} == ids
    (only,) = [model for model in models(budget="fixed", k=(3,), controls=("single",), control_task="qqp")][1:]
    assert only.mixture.tasks == ("qqp",)
    assert only.budget == Budget(600)
    (capped,) = models(budget="proportional", k=(2,), controls=("single",), control_task="qqp", examples=400_000)[3:]
    assert capped.budget == Budget(400_000 + 392_702), "of the two largest tasks"


def test_merged_models_have_shuffled_controls_too() -> None:
    merged = [m for m in models(design="merged", k=(2,), controls=("shuffled",)) if isinstance(m, Merge)]
    assert [m.models[0].mixture.shuffled_labels for m in merged] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"controls": ("shuffle",)}, "unknown control 'shuffle'.*did you mean 'shuffled'"),
        ({"control_task": "qqp"}, "control_task=qqp: .* expected controls=single"),
        ({"controls": ("single",), "control_task": "qqq"}, "unknown control_task 'qqq'.*did you mean 'qqp'"),
        ({"controls": ("text",), "k": (0,)}, "controls=text: expected a k above 0"),
        ({"controls": ("text",), "translate": ("es",)}, "controls=text: expected no translate"),
    ],
)
def test_controls_that_make_no_sense_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models(**parameters)


# ------------------------------------------------------------ shuffled labels

words = st.text("abc", min_size=1, max_size=3)
pairs = st.builds(Pair, words, words, st.sampled_from("xyz"))
choices = st.lists(words, min_size=2, max_size=4).flatmap(
    lambda texts: st.builds(Choices, words, st.just(tuple(texts)), st.integers(0, len(texts) - 1))
)
tagged = st.lists(st.tuples(words, st.sampled_from("NVO")), min_size=1, max_size=5).map(
    lambda found: Tokens(tuple(word for word, _ in found), tuple(tag for _, tag in found))
)
passages = st.builds(Passage, words, words, st.just((("a", 0),)), words)


@given(
    st.one_of(*(st.lists(kind, min_size=2, max_size=30) for kind in (pairs, choices, tagged, passages))),
    st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_shuffled_labels_are_the_same_labels_in_another_order(given_examples: list[Any], seed: int) -> None:
    def labels(examples: list[Any]) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for example in examples:
            match example:
                case Tokens(tags=tags):
                    found.update(tags)
                case Choices(choices=texts, label=label):
                    found[len(texts), label] += 1
                case Passage(question=question):
                    found[question] += 1
                case _:
                    found[example.label] += 1
        return found

    def rest(example: Any) -> Any:
        blank = {Tokens: {"tags": ()}, Passage: {"question": ""}}.get(type(example), {"label": 0})
        return replace(example, **blank)

    try:
        found = shuffled_labels(given_examples, "task", seed)
    except ValueError:
        groups: dict[Any, set[Any]] = {}
        for label in labels(given_examples):
            groups.setdefault(label[0] if isinstance(given_examples[0], Choices) else None, set()).add(label)
        assert all(len(group) == 1 for group in groups.values()), "refused where nothing can change, and only there"
        return
    assert labels(found) == labels(given_examples)
    assert [rest(example) for example in found] == [rest(example) for example in given_examples], "nothing else changes"
    assert all(len(e.tags) == len(e.words) for e in found if isinstance(e, Tokens))
    assert found == shuffled_labels(given_examples, "task", seed)


def test_a_shuffle_is_drawn_by_seed_and_task() -> None:
    many = [Pair(str(number), "", str(number)) for number in range(50)]
    drawn = {
        tuple(e.label for e in shuffled_labels(many, task, seed) if isinstance(e, Pair))
        for task, seed in itertools.product("ab", range(3))
    }
    assert len(drawn) == 6
    moved = [sum(a == b for a, b in enumerate(map(int, order))) for order in drawn]
    assert max(moved) < 10, "few stay where they were"
    texts = [Text("one"), Text("two")]
    assert shuffled_labels(texts, "text", 0) == texts


@pytest.mark.usefixtures("small_miniature")
def test_a_training_reads_its_rows_shuffled_and_its_dev_rows_as_they_are(cache_dir: Path, tmp_path: Path) -> None:
    context = Context(inputs={}, work=tmp_path, data_dir=None, cache_dir=cache_dir)
    tokenizer = load_tokenizer(encoder_folder(TINY, context))
    model: Any = SimpleNamespace(tokenizer=tokenizer, tokenizer_key="tiny", encoder=SimpleNamespace(max_positions=128))

    def read(seed: int, **mixture: Any) -> dict[str, Any]:
        stage = Train(TINY, Mixture(("mini-nli", "mini-text"), **mixture), Budget(8), STILTS, seed)
        plan = make_plan("p", [stage], Sources(None, cache_dir))
        return {
            member.task.name: member for member in train_module._members(plan.stages[plan.leaves[0]], model, context)
        }

    plain, one, other = read(0), read(0, shuffled_labels=True), read(1, shuffled_labels=True)
    labels = [found["mini-nli"].rows.targets["label"] for found in (plain, one, other)]
    assert all(np.bincount(own).tolist() == np.bincount(labels[0]).tolist() for own in labels)
    assert all((a != b).mean() > 0.3 for a, b in itertools.combinations(labels, 2))
    for row in range(20):
        assert one["mini-nli"].rows.example(row)[0].tolist() == plain["mini-nli"].rows.example(row)[0].tolist()
    dev = [found["mini-nli"].dev.targets["label"].tolist() for found in (plain, one)]
    assert dev[0] == dev[1]
    assert len(one["mini-text"].rows) == len(plain["mini-text"].rows)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mini-text",), "shuffles labels, which text does not have"),
        (
            ("mini-nli", "mini-nli-triples"),
            "takes tasks of kind classify, tag, span, choose: mini-nli-triples is embed",
        ),
    ],
)
def test_what_has_no_labels_cannot_be_shuffled(names: tuple[str, ...], message: str, cache_dir: Path) -> None:
    stage = Train(Encoder("tiny"), Mixture(names, shuffled_labels=True), Budget(8))
    with pytest.raises(ValueError, match=message):
        make_plan("p", [stage], Sources(None, cache_dir))


# ------------------------------------------------------------ distinct data

NINE = ("anli+", "mnli", "qqp", "squad-v2", "squad-v1", "hellaswag", "cosmosqa", "commonsenseqa", "socialiqa")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), 0),
        (NINE, 7),
        (("mnli", "snli", "anli"), 3),
        (("mnli", "snli", "anli+"), 1),
        (("anli+", "mnli", "snli"), 1),
        (("squad-v1", "squad-v2"), 1),
        (("squad-v2@half", "squad-v1@subset"), 1),
        (("mnli@sample", "mnli"), 1),
        (("mnli@sample", "snli@sample"), 2),
        (("mnli@sample", "anli+", "snli@sample"), 1),
        (("mini-nli+", "mini-nli-2", "mini-qa"), 2),
    ],
)
def test_tasks_that_share_training_rows_are_one_data_set(names: tuple[str, ...], expected: int) -> None:
    assert num_distinct(names) == expected
    assert num_distinct(reversed(names)) == expected


# ------------------------------------------------------------ the report

SEEDS = (0, 1, 2)


def joint(seed: int, *names: str, **mixture: Any) -> Train:
    return Train(ENCODER, Mixture(names, policy="uniform", **mixture), Budget(100, PER_TASK), STILTS, seed)


def test_a_report_names_controls_and_takes_none_for_a_start(tmp_path: Path) -> None:
    two = ("mnli", "anli+")
    text = [
        Train(
            ENCODER, Mixture(("text@leipzig",), policy="uniform"), Budget(7, "steps"), STILTS, s, control="as much text"
        )
        for s in SEEDS
    ]
    plain = {seed: joint(seed, *two) for seed in SEEDS}
    alone = [replace(joint(s, "mnli"), budget=Budget(200), control="whole budget") for s in SEEDS]
    mixed = [joint(s, *two, shuffled_labels=True) for s in SEEDS]
    every = [ENCODER, *(joint(s, "mnli") for s in SEEDS), *plain.values(), *text, *alone, *mixed]
    store = fill(tmp_path / "store", [measure(model, code) for model in every for code in LANGUAGES])
    (section,) = sections_of(store)
    assert [run.model for run in section.bases] == [ENCODER.id]
    assert section.num_planned_bases(section.runs[-1]) == 1
    found = {run.model: run for run in section.runs}
    assert {found[model.id].method for model in text} == {"control: as much text"}
    assert {(found[m.id].k, found[m.id].mlm, found[m.id].seed) for m in text} == {(0, "text@leipzig", s) for s in SEEDS}
    assert {found[model.id].method for model in alone} == {"control: whole budget"}
    assert {found[model.id].method for model in mixed} == {"shuffled labels"}
    assert {(found[model.id].k, found[model.id].distinct_k) for model in plain.values()} == {(2, 1)}

    names = {one.name.partition("trained on")[2]: one for one in stats.series(section)}
    assert len(names) == 4, "one plain series over all k, and one of each control"
    own = next(one for one in names.values() if "as much text" in one.name)
    assert {run.model for run in own.runs} == {model.id for model in text}, "no k = 0 among them"
    assert own.planned(section, 0) == 3
    curve = next(one for one in names.values() if {1, 2} <= one.by_k().keys())
    assert {k: len(runs) for k, runs in curve.by_k().items()} == {0: 1, 1: 3, 2: 3}

    view = views.views(section)[0]

    def mean_of(model: Any) -> float:
        cells = (value_of(measure(model, code), *(view.layer, view.pooling, view.direction)) for code in LANGUAGES)
        return math.fsum(cells) / len(LANGUAGES)

    by_name = {one.name: one for one in paired(section, view)}
    for name, own_models in {
        "control: as much text, with text@leipzig": text, "control: whole budget": alone, "shuffled labels": mixed
    }.items():  # fmt: skip
        expected = [mean_of(model) - mean_of(plain[model.seed]) for model in own_models]
        assert by_name[name].change.mean == pytest.approx(math.fsum(expected) / 3), name
    table = tables.by_run(section, curve, view)
    assert table.header[:4] == ("tasks", "k", "distinct k", "seed")
    assert [line[1:3] for line in table.lines if line[0] == "anli++mnli"] == [("2", "1")] * 3
    data = rows.rows(store, store.plan("scaling"))
    assert set(zip(data["k"].to_pylist(), data["distinct_k"].to_pylist(), strict=True)) == {(0, 0), (1, 1), (2, 1)}
    report.write(store, "scaling", tmp_path / "report")
    text_of = (tmp_path / "report" / "report.md").read_text()
    assert re.search(r"\*\*Training: 7 steps in all, .*, with text@leipzig, control: as much text\.\*\*", text_of)
    assert "| control: whole budget |" in text_of[text_of.index("## Methods beside the plain training") :]


def test_text_that_is_no_control_is_where_a_study_starts(tmp_path: Path) -> None:
    start = Train(ENCODER, Mixture(("text@leipzig",)), Budget(7, "steps"))
    again = replace(start, start=start, control="as much text")
    store = fill(tmp_path / "store", [measure(m, code) for m in (ENCODER, start, again) for code in LANGUAGES])
    sections = sections_of(store)
    assert [len(section.runs) for section in sections] == [1, 2]
    assert [run.method for run in sections[1].runs] == ["", "control: as much text"]
    assert sections[1].bases[0].model == start.id
    assert again.id == replace(again, control="").id, "the words are not in the id"
