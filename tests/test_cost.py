"""What a plan says that it will cost, and designs that are made to fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from program import Call, refused
from xstilts import cost, studies
from xstilts.cost import Cost, Estimate, Share, Work, num_sequence_tokens, shares
from xstilts.engine import packing
from xstilts.mixture import UNITS, Budget, Mixture
from xstilts.probes import Probe
from xstilts.recipe import STILTS, Override, Recipe
from xstilts.speed import Known, Shape, shape_of
from xstilts.stage import Data, Encoder, Evaluate, HeldOut, Merge, Stage, Train, Translate, Views
from xstilts.studies.scaling import scaling
from xstilts.study import Sources, make_plan
from xstilts.tasks import Bitext, Choices, Entry, Pair, Passage, Text, Tokens
from xstilts.translators import MiniatureOracle

NAMES = ("mini-nli", "mini-paraphrase", "mini-text")
ENCODER = Encoder("tiny", content="content")
SHAPE = Shape(100, 8, 3, 16, 64)


def data(name: str, split: str = "train", language: str = "en") -> Data:
    return Data(name, split, language, f"{name}/{split}/{language}")


def trained(*names: str, budget: Budget, recipe: Recipe = STILTS, start: Any = ENCODER, **mixture: Any) -> Train:
    parts = [data(name, split) for name in names for split in ("train", "dev")]
    return Train(start, Mixture(names, **mixture), budget, recipe, 0, tuple(parts))


# ------------------------------------------------------------ examples


@given(
    st.lists(st.integers(1, 3000), min_size=3, max_size=3),
    st.sampled_from(("proportional", "capped", "uniform", "temperature", "explicit")),
    st.sampled_from(("official", "present")),
    st.sampled_from((None, 0.25)),
    st.lists(st.none() | st.integers(1, 5000), min_size=3, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_shares_are_those_of_training(
    present: list[int], policy: str, sizes: str, text_share: float | None, official: list[int | None]
) -> None:
    weights = (3.0, 1.0, 2.0) if policy == "explicit" else ()
    mixture = Mixture(NAMES, policy, sizes, 1000, 2.0, weights, text_share=text_share)
    expected = packing.shares(mixture, present, official)
    assert shares(mixture, present, official) == pytest.approx(expected.tolist())


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text_share", [None, 0.25])
def test_examples_are_those_of_the_schedule(unit: str, text_share: float | None) -> None:
    names = NAMES if text_share else NAMES[:2]
    amount = {"epochs": 1.5, "steps": 90}.get(unit, 1200)
    recipe = replace(STILTS, overrides=(Override("mini-nli", 8),))
    stage = trained(
        *names,
        budget=Budget(amount, unit),
        recipe=recipe,
        policy="capped",
        cap=5000,
        sizes="present",
        text_share=text_share,
    )
    found = Estimate(Known(), None).training_examples(stage)
    rows = {"mini-nli": 6000, "mini-paraphrase": 4000, "mini-text": 2000}
    plan = packing.schedule(
        stage.mixture,
        stage.budget,
        0,
        present=[Estimate(Known(), None)._count(name, "train", "en") for name in names],
        official=[None] * len(names),
        batch_examples=[recipe.batch_examples_of(name) for name in names],
    )
    assert {name: rows[name] for name in names[:2]} == {
        name: Estimate(Known(), None)._count(name, "train", "en") for name in names[:2]
    }
    sizes = [recipe.batch_examples_of(name) if unit == "steps" else 1 for name in names]
    for (name, count), whole, size in zip(found.items(), plan.examples.tolist(), sizes, strict=True):
        assert abs(count - whole) <= size, (name, count, whole)


def test_a_probe_sees_some_rows_of_a_task() -> None:
    probe = Probe(ENCODER, "mini-nli", num_examples=50, data=(data("mini-nli"),))
    found = Estimate(Known([record(trained("mini-nli", budget=Budget(1)), tokens=20)]), None).cost([probe], ("cpu",))
    assert found.kinds["probe"].work[:3] == (50, 1000, 1)
    assert found.kinds["probe"].seconds > 1


def test_translated_rows_count_and_those_in_place_of_english_stand_for_it() -> None:
    made = tuple(Translate("mini-nli", code, MiniatureOracle()) for code in ("de", "es"))
    plain = trained("mini-nli", budget=Budget(1, "epochs"), sizes="present")
    assert Estimate(Known(), None).training_examples(plain) == {"mini-nli": 6000}
    both = replace(plain, translated=made)
    assert Estimate(Known(), None).training_examples(both) == {"mini-nli": 18_000}
    instead = replace(both, keep_source=False, data=(data("mini-nli", "dev"),))
    assert Estimate(Known(), None).training_examples(instead) == {"mini-nli": 12_000}


# ------------------------------------------------------------ tokens


def test_tokens_of_examples_by_hand() -> None:
    four = "four"  # a token
    for example, expected in [
        (Pair(four, four * 2, ""), 3 + 3),
        (Text(four * 10), 13),
        (Text(four * 100), 64),
        (Bitext(four, four * 2), 4 + 5),
        (Bitext(four, four, negative=four), 12),
        (Bitext(four, four, context=four * 4), 4 + 8),
        (Entry(four, "", True, "en"), 4),
        (Choices(four, (four, four * 2), 0), 5 + 6),
        (Tokens(("abc", "defg"), ("X", "Y")), 3 + 2),
        (Passage(four * 20, four, (), ""), 24),
        (Passage(four * 60 + four * 128, four, (), ""), 2 * 64),  # windows of 60 pieces, 128 further on
    ]:
        assert num_sequence_tokens(example, 64) == expected, example


def test_tokens_are_counted_where_the_store_knows_and_else_sampled() -> None:
    stage = trained("mini-nli", budget=Budget(1000), recipe=replace(STILTS, max_tokens=64))
    sampled = Estimate(Known(), None)
    work = sampled.work(stage, SHAPE)
    assert work.examples == 1000
    assert 10_000 < work.tokens < 64_000
    known = [record(stage, tokens=5000, examples=200)]
    assert Estimate(Known(known), None).work(stage, SHAPE).tokens == 25_000
    longer = replace(stage, recipe=replace(stage.recipe, max_tokens=128))
    assert Estimate(Known(known), None).work(longer, SHAPE).tokens == sampled.work(longer, SHAPE).tokens
    found = Estimate(Known(known), None).cost([stage, longer], ("cpu",))
    assert found.tokens_by == {
        "as stages in the store have counted": ("mini-nli",),
        "by the first 200 rows, 4 characters a token": ("mini-nli",),
    }


def test_rows_that_cannot_be_read_are_named_and_refuse_no_plan(tmp_path: Path) -> None:
    (tmp_path / "mnli").mkdir()
    (tmp_path / "mnli" / "sample_train.jsonl").write_text("none\n")
    found = Estimate(Known(), tmp_path).cost([trained("mnli@sample", budget=Budget(100))], ("cpu",))
    assert found.kinds["train"].work[:2] == (100, 0)
    ((how, names),) = found.tokens_by.items()
    assert names == ("mnli@sample",)
    assert re.fullmatch(r"not estimated, since rows cannot be read \(.*sample_train.jsonl:1: .*\)", how)


# ------------------------------------------------------------ time and disk


def record(
    stage: Stage, *, tokens: int = 0, examples: int = 1, speed: float = 100.0, wall: float = 60.0, **other: Any
) -> dict[str, Any]:
    """What a store keeps of a stage, as far as costs are concerned."""
    path = other.get("path", "cpu-float32-sdpa-1thread")
    result: dict[str, Any] = {"num_layers": 2}
    if isinstance(stage, Train):
        result |= {"tokens": tokens, "tokens_per_second": speed}
        result["tasks"] = {stage.mixture.tasks[0]: {"examples": examples, "tokens": tokens}}
    if isinstance(stage, Evaluate):
        result |= {"num_tokens": tokens, "num_examples": examples}
    files = {"weights/encoder/model.safetensors": {"bytes": other.get("bytes", 1)}}
    return {
        "id": stage.id, "kind": stage.kind, "declaration": stage.declaration(), "result": result, "files": files,
        "environment": {"numeric_path": path, "device": "a machine"}, "wall_seconds": wall,
    }  # fmt: skip


def test_seconds_are_those_of_like_stages() -> None:
    one, two = (replace(trained("mini-nli", budget=Budget(10)), seed=seed) for seed in (1, 2))
    asked = trained("mini-paraphrase", budget=Budget(100))
    known = Known([record(one, tokens=3000, speed=100, wall=40), record(two, tokens=1000, speed=50, wall=26)])
    # 30 + 20 seconds for 4000 tokens; beside the steps 10 and 6 seconds, the median of which is 8
    seconds, by = known.seconds(asked, 8000, 3, "cpu", SHAPE)
    assert seconds == pytest.approx(100 + 8)
    assert by == "80 tokens/s and 8.0 s a stage, as 2 like stages in the store (a machine, float32)"
    leaf = Evaluate(asked, "mini-bitext", "de", views=Views())
    done = Evaluate(one, "mini-mining", "es", views=Views())
    known = Known([record(one, tokens=1), record(done, tokens=500, wall=10)])
    assert known.seconds(leaf, 200, 1, "cpu", SHAPE)[0] == pytest.approx(4)
    merged = Merge((one, two))
    known = Known([record(one, tokens=1), record(merged, wall=7)])
    assert known.seconds(Merge((asked, one)), 0, 0, "cpu", SHAPE)[0] == 7


@pytest.mark.parametrize(
    ("changes", "is_like"),
    [
        ({}, True),
        ({"path": "cpu-float32-sdpa-1thread-rows"}, True),
        ({"path": "cpu-float32-sdpa-2thread"}, False),
        ({"path": "cpu-bfloat16-sdpa-1thread"}, False),
        ({"path": "cuda-float32-sdpa"}, False),
    ],
)
def test_stages_of_another_device_precision_or_number_of_threads_are_not_alike(
    changes: dict[str, Any], is_like: bool
) -> None:
    done, asked = trained("mini-nli", budget=Budget(10)), trained("mini-nli", budget=Budget(20))
    known = Known([record(done, tokens=1000, **changes)])
    _, by = known.seconds(asked, 10, 3, "cpu", SHAPE)
    assert ("by default" not in by) == is_like


def test_an_encoder_of_the_same_size_is_alike_and_one_of_another_is_not() -> None:
    other = replace(ENCODER, content="another")
    shape = shape_of(ENCODER)
    assert shape is not None
    done = trained("mini-nli", budget=Budget(10), start=trained("mini-nli", budget=Budget(5), start=other))
    asked = trained("mini-nli", budget=Budget(20))
    for size, is_like in ((1.05, True), (0.95, True), (1.2, False)):
        records = [record(s, tokens=1000, bytes=int(size * shape.num_bytes)) for s in (done, done.start)]
        _, by = Known(records).seconds(asked, 10, 3, "cpu", shape)
        assert ("by default" not in by) == is_like, size
    _, by = Known(records[:1]).seconds(asked, 10, 3, "cpu", shape)
    assert "by default" in by, "whose chain is not in the store"


def test_without_like_stages_a_default_is_stated() -> None:
    layers = 3 * (4 * 8**2 + 2 * 8 * 16)
    assert SHAPE.num_layer_parameters == layers
    assert SHAPE.num_bytes == 4 * (layers + 164 * 8)
    stage = replace(trained("mini-nli", budget=Budget(1)), recipe=replace(STILTS, num_threads=2))
    speed = 2 * 8.5e10 / (6 * layers)
    seconds, by = Known().seconds(stage, 1e9, 3, "cpu", SHAPE)
    assert seconds == pytest.approx(10 + 1e9 / speed)
    assert by == f"{speed:,.0f} tokens/s and 10 s a stage by default"
    seconds, _ = Known().seconds(stage, 1e9, 3, "cuda", SHAPE)
    assert seconds == pytest.approx(10 + 1e9 * 6 * layers / 2e13), "threads are a CPU's"
    text = trained("mini-text", budget=Budget(1))
    weights = layers + 0.15 * 100 * 8
    assert Known().seconds(text, 1e9, 3, "cpu", SHAPE)[0] == pytest.approx(10 + 1e9 * 6 * weights / 8.5e10)
    others = Known([record(trained("mini-nli", budget=Budget(2)), tokens=1000)])
    assert "by default" in others.seconds(text, 1e9, 3, "cpu", SHAPE)[1], "text has a softmax of its own"
    assert "not estimated" in Known().seconds(stage, 1, 3, "cpu", None)[1]


def test_costs_are_sums_over_stages_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "shape_of", lambda encoder: SHAPE)
    trains = [trained("mini-nli", budget=Budget(amount)) for amount in (100, 300)]
    leaves = [
        Evaluate(
            model, "mini-bitext", code, views=Views(("mean",), layers=(-1,)), data=(data("mini-bitext", "test", code),)
        )
        for model in trains
        for code in ("de", "es")
    ]
    known = [
        record(replace(trains[0], seed=9), tokens=2000, examples=100, speed=10, wall=203),
        record(
            Evaluate(replace(trains[0], seed=9), "mini-bitext", "de", views=Views()), tokens=700, examples=70, wall=7
        ),
    ]
    found = Estimate(Known(known), None).cost([*trains, *leaves], ("cpu", "cpu"))
    rows = find_count("mini-bitext")
    assert found.kinds["train"].stages == 2
    assert found.kinds["train"].work[:2] == (400, 400 * 20)
    assert found.kinds["train"].seconds == pytest.approx(400 * 20 / 10 + 2 * 3)
    assert found.kinds["train"].work.weights == 2 * SHAPE.num_bytes
    assert found.kinds["evaluate"].work[:2] == (4 * rows, 4 * rows * 10)
    assert found.kinds["evaluate"].seconds == pytest.approx(4 * rows * 10 / 100)
    assert found.kinds["evaluate"].work.files == 4 * rows * 2 * 8 * 8
    assert found.hours == pytest.approx((806 + 0.4 * rows) / 3600 / 2)
    text = "\n".join(found.lines())
    assert f"{2 * SHAPE.num_bytes / 1e6 + 4 * rows * 128 / 1e6:.1f} MB with --keep all" in text
    assert "with 2 workers" in text
    held = HeldOut("mini-bitext", ("de",))
    soup = Merge(tuple(trains), "greedy", held_out=held, data=(data("mini-bitext", "dev", "de"),))
    work = Estimate(Known(known), None).work(soup, SHAPE)
    assert work.examples == 2 * 2 * find_count("mini-bitext", "dev")


def find_count(name: str, split: str = "test") -> int:
    return Estimate(Known(), None)._count(name, split, "de")


def test_the_offline_encoder_has_the_shape_that_is_stated(tmp_path: Path) -> None:
    shape = shape_of(Encoder("offline"))
    assert shape is not None
    assert shape.num_layer_parameters == 12 * (4 * 384**2 + 2 * 384 * 1536)
    config = {"vocab_size": 10, "dim": 4, "n_layers": 2, "hidden_dim": 8, "max_position_embeddings": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert shape_of(Encoder(str(tmp_path))) == Shape(10, 4, 2, 8, 6)
    for broken in ("{}", "[1]", "{"):
        (tmp_path / "config.json").write_text(broken)
        assert shape_of(Encoder(str(tmp_path))) is None


# ------------------------------------------------------------ the command

SMALL = ("languages=de", "targets=mini-bitext", "mlm_examples=64", "examples=64")


def hours_of(**parameters: Any) -> tuple[float, Any]:
    """The estimate of a study in hours, on one CPU worker with nothing stored, and its plan."""
    given: dict[str, Any] = {"languages": ("de",), "targets": ("mini-bitext",), "mlm_examples": 64, "examples": 64}
    plan = make_plan("scaling", scaling(**given, **parameters), Sources(None, Path("/nowhere")))
    return Estimate(Known(), None).cost(plan.stages.values(), ("cpu",)).hours, plan


def test_plan_prints_the_cost_of_what_is_left(call: Call) -> None:
    ended = call("plan", "scaling", *SMALL, "k=0..1", "--device", "cuda:0,cuda:1")
    assert ended.code == 0
    assert re.search(r"  train +5 stages; 320 examples, [\d,]+ tokens; 0\.8 min; [\d,]+ tokens/s and 10 s", ended.out)
    assert "with 2 workers that never wait" in ended.out
    facts = json.loads(call("plan", "scaling", *SMALL, "k=0..1", "--device", "cpu", "--json").out)
    rows = find_count("mini-bitext")
    assert facts["cost"]["hours"] == pytest.approx(hours_of(k=(0, 1))[0])
    assert [(one["kind"], one["examples"]) for one in facts["cost"]["kinds"]] == [
        ("train", 320),
        ("evaluate", 5 * rows),
    ]
    assert facts["left_out"] == []
    refused(call("plan", "scaling", "--device", "tpu"), "expected auto, cpu, cuda")


@pytest.mark.parametrize("design", ["all", "random", "nested", "single"])
def test_budget_hours_takes_the_largest_design_that_fits(design: str, call: Call) -> None:
    whole: dict[str, Any] = {"design": design, "num_subsets": 3, "seeds": (0, 1, 2)}
    values: dict[str, Any] = {"tasks": scaling.__kwdefaults__["tasks"], "k": (), **whole}
    sizes = [{}, *studies.smaller(values)]
    hours = [hours_of(**whole | changes)[0] for changes in sizes]
    assert hours == sorted(hours, reverse=True)
    words = ("scaling", *SMALL, f"design={design}", "num_subsets=3", "seeds=0,1,2", "--device", "cpu")
    for number in {0, 1, len(sizes) // 2, len(sizes) - 1}:
        first = next(at for at, each in enumerate(hours) if each <= hours[number] + 1e-9)
        facts = json.loads(call("plan", *words, "--json", "--budget-hours", str(hours[number] + 1e-9)).out)
        _, expected = hours_of(**whole | sizes[first])
        assert [stage["id"] for stage in facts["stages"]] == list(expected.stages)
        assert facts["cost"]["hours"] == pytest.approx(hours[first])
        everything = set(hours_of(**whole)[1].stages)
        assert {stage["id"] for stage in facts["left_out"]} == everything - set(expected.stages)
    refused(
        call("plan", *words, "--budget-hours", str(hours[-1] / 2)),
        "the smallest design takes",
        "by estimate: ",
        "seeds=0",
    )


def test_what_was_left_out_is_named_with_the_command_of_the_rest(call: Call) -> None:
    words = ("scaling", *SMALL, "seeds=0,1", "--device", "cpu")
    limit = hours_of(design="random", num_subsets=2, seeds=(0, 1))[0] + 1e-9
    out = call("plan", *words, "--budget-hours", str(limit)).out
    assert re.search(r"left out to keep within [\d.e-]+ h: \d+ of \d+ stages, 16 of them models", out)
    assert (
        out.splitlines()[-1]
        == f"what is planned: xstilts run scaling {' '.join(SMALL)} seeds=0,1 design=random num_subsets=2"
    )
    assert out.count("  tiny + mini-text (64 examples, seed 0) + ") == 16
    plain = call("plan", *words, "--budget-hours", "1000").out
    assert "left out" not in plain
    assert "what is planned" not in plain


def test_nothing_left_costs_nothing() -> None:
    assert Cost({}, 2, {}).lines() == []
    share = Share(1, Work(10, 100, 3, 2e9, 5e5), 7200, ("by default",))
    assert Cost({"train": share}, 1, {}).lines() == [
        "what is to run, by estimate:",
        "  train         1 stages; 10 examples, 100 tokens; 2.0 h; by default",
        "  disk      2.0 GB with --keep all, 0.5 MB with --keep none",
        "  time      2.0 h of stages, 2.0 h with 1 worker that never wait",
    ]
    assert Cost({"train": share}, 4, {}).hours == 0.5
