"""Merges: each method by hand and against a slow reference, what is refused, and the stages around them."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from test_report import ENCODER as REPORTED
from test_report import fill, measure, sections_of
from test_report import train as reported
from xstilts import tasks
from xstilts.engine import Context, Interrupted, encoder_folder, perform
from xstilts.engine import evaluate as evaluate_module
from xstilts.engine import merge as merge_module
from xstilts.engine.merge import choose, dare, merge, smallest_kept, ties
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.report import rows, stats
from xstilts.stage import Encoder, Evaluate, HeldOut, Merge, Stage, Tiny, Train, Views, chain, label, root
from xstilts.studies.scaling import scaling
from xstilts.study import Plan, Sources, explain, make_plan
from xstilts.tasks import Splits, Task, find

BASE = Encoder("made-up", content="0123")
START = Train(BASE, Mixture(("mini-text",)), Budget(10))
Tensors = Mapping[str, Tensor]


def model(seed: int, start: Any = START, task: str = "mini-nli") -> Train:
    return Train(start, Mixture((task,)), Budget(10), seed=seed)


class Models:
    """Weights of a start and of models trained from it, as folders of tensors; no encoder of any kind."""

    def __init__(self, folder: Path, start: Tensors, *models: Tensors) -> None:
        self.folder = folder
        self.stages = [model(seed) for seed in range(len(models))]
        self.inputs = {START.id: self.write("start", start)}
        self.inputs |= {s.id: self.write(f"model-{s.seed}", m) for s, m in zip(self.stages, models, strict=True)}

    def write(self, name: str, tensors: Tensors) -> Path:
        encoder = self.folder / name / "encoder"
        encoder.mkdir(parents=True)
        save_file(dict(tensors), encoder / "model.safetensors", metadata={"format": "pt"})
        (encoder / "config.json").write_text(json.dumps({"name": name}))
        (encoder / "tokenizer.json").write_text("{}")
        return self.folder / name

    def context(self, **fields: Any) -> Context:
        return Context(inputs=self.inputs, work=self.folder / "work", data_dir=None, cache_dir=self.folder, **fields)

    def merge(self, method: str, only: Sequence[int] | None = None, **settings: Any) -> dict[str, Tensor]:
        chosen = self.stages if only is None else [self.stages[number] for number in only]
        out = self.folder / "out"
        merge(Merge(tuple(chosen), method, **settings), out, self.context())
        return load_file(out / "weights" / "encoder" / "model.safetensors")


@pytest.fixture
def square(tmp_path: Path) -> Models:
    """Two models of one matrix of two by two."""
    start = torch.tensor([[1.0, 1.0], [0.0, -1.0]])
    vectors = (torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([[-4.0, 1.0], [0.25, 2.0]]))
    return Models(tmp_path, {"w": start}, *({"w": start + vector} for vector in vectors))


def random_tensors(seed: int, number: int) -> list[dict[str, Tensor]]:
    """Tensors of several shapes, one without dimensions; the first ones are the start's."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (7, 3), "b": (11,), "c": (), "d": (2, 3, 4)}
    return [{n: torch.randn(s, generator=generator) for n, s in shapes.items()} for _ in range(number)]


# ------------------------------------------------------------ the methods by hand


def test_every_method_by_hand_on_two_by_two(square: Models) -> None:
    def found(method: str, **settings: Any) -> list[list[float]]:
        return square.merge(method, **settings)["w"].tolist()

    assert found("uniform") == [[-0.5, 0.5], [1.625, 0.25]]
    assert found("arithmetic", scale=2) == [[1 + 2 * -3, 1 + 2 * -1], [2 * 3.25, -1 + 2 * 2.5]]
    assert found("dare", scale=2, density=1) == found("arithmetic", scale=2)
    # signs - - + +: of the first entry only -4 has it, of the second -2, of the others both
    assert found("ties", scale=2, density=1) == [[1 - 8, 1 - 4], [3.25, -1 + 2.5]]
    # half of the entries: -2 and 3 of the first model, -4 and 2 of the second
    assert found("ties", density=0.5) == [[1 - 4, 1 - 2], [3, -1 + 2]]
    assert found("ties", density=0.25) == [[1 - 4, 1], [3, -1]]


def test_a_sign_is_elected_by_the_sum_and_none_by_a_sum_of_nothing() -> None:
    vectors = torch.tensor([[3.0, 1.0, 0.0, -1.0], [-1.0, -1.0, 0.0, -3.0], [-1.0, 0.0, 0.0, 2.0]])
    assert ties(vectors).tolist() == [3.0, 0.0, 0.0, -2.0]


def test_the_average_of_one_model_is_itself_bit_for_bit(tmp_path: Path) -> None:
    odd = torch.tensor([1e-42, -0.0, 0.1, 3e38, -1e-40])
    found = Models(tmp_path, {"w": odd}, {"w": odd}).merge("uniform")
    assert found["w"].numpy().tobytes() == odd.numpy().tobytes()


def test_arithmetic_of_one_over_the_number_of_models_is_the_average(tmp_path: Path) -> None:
    models = Models(tmp_path, *random_tensors(1, 6))
    average, vectors = models.merge("uniform"), models.merge("arithmetic", scale=1 / 5)
    for name in average:
        torch.testing.assert_close(average[name], vectors[name], rtol=0, atol=1e-6)


# ------------------------------------------------------------ against slow references


def slow_ties(start: Tensors, models: Sequence[Tensors], density: float, scale: float) -> dict[str, list[float]]:
    """Algorithm 1 of the paper, one entry after the other; of entries as large as the smallest kept all are kept."""
    vectors = [{n: (m[n] - start[n]).flatten().tolist() for n in start} for m in models]
    for vector in vectors:
        sizes = sorted((abs(v) for values in vector.values() for v in values), reverse=True)
        least = sizes[max(1, round(density * len(sizes))) - 1]
        for name, values in vector.items():
            vector[name] = [v if abs(v) >= least else 0.0 for v in values]
    found: dict[str, list[float]] = {}
    for name, first in start.items():
        found[name] = []
        for base, *entries in zip(first.flatten().tolist(), *(vector[name] for vector in vectors), strict=True):
            total = sum(entries)
            agreeing = [v for v in entries if v * total > 0]
            found[name].append(base + scale * (sum(agreeing) / len(agreeing) if agreeing else 0.0))
    return found


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.01, 1), st.booleans(), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_ties_is_the_algorithm_entry_by_entry(
    tmp_path_factory: pytest.TempPathFactory, seed: int, number: int, density: float, coarse: bool, part: int
) -> None:
    start, *models = random_tensors(seed, number + 1)
    if coarse:  # many entries of one magnitude
        start, *models = ({n: (2 * v).round() for n, v in tensors.items()} for tensors in (start, *models))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_module, "_PART", part)
        found = Models(tmp_path_factory.mktemp("ties"), start, *models).merge("ties", density=density, scale=1.5)
    for name, values in slow_ties(start, models, density, 1.5).items():
        assert found[name].flatten().tolist() == pytest.approx(values, abs=1e-5)
        assert found[name].shape == start[name].shape


@pytest.mark.parametrize("density", [0.001, 0.03, 0.2, 0.5, 0.99, 1.0])
def test_the_smallest_entry_that_is_kept_is_that_of_a_sort(
    density: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_module, "_PART", 100)
    generator = torch.Generator().manual_seed(3)
    sizes = torch.exp(6 * torch.randn(4000, generator=generator))  # of all orders of magnitude
    sizes[::7] = 0.5
    trained = {"a": sizes[:1000].view(50, 20), "b": sizes[1000:], "ids": torch.arange(5)}
    models = Models(tmp_path, {n: torch.zeros_like(v) for n, v in trained.items()}, trained)
    start, own = (merge_module.Weights(folder / "encoder") for folder in models.inputs.values())
    found = smallest_kept(own, start, density, models.context())
    assert found == sizes.sort(descending=True).values[max(1, round(density * 4000)) - 1]


def test_dare_keeps_the_expectation_and_the_share(tmp_path: Path) -> None:
    vector = torch.linspace(-2, 2, 500)
    drawn = torch.stack([dare(vector, 0.25, seed) for seed in range(2000)])
    kept = drawn != 0
    assert torch.equal(drawn[kept], (4 * vector.expand(2000, -1))[kept])
    assert abs(float(kept.float().mean()) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / kept.numel())
    error = vector.abs() * math.sqrt(3 / 2000)  # the standard error of the mean: p (1 / p)² - 1 is 3
    assert ((drawn.mean(0) - vector).abs() <= 5 * error).all()


def test_what_dare_drops_depends_on_seed_model_and_tensor_and_not_on_the_other_models(tmp_path: Path) -> None:
    zero = {name: torch.zeros(64) for name in ("a", "b")}
    one, two, four = ({name: torch.full((64,), value) for name in zero} for value in (1.0, 2.0, 4.0))
    models = Models(tmp_path, zero, one, two, four)

    def kept(seed: int, *only: int) -> dict[str, np.ndarray]:
        found = models.merge("dare", only, scale=0.5, density=0.5, seed=seed)
        return {name: value.numpy() for name, value in found.items()}  # ones, twos and fours

    together, again, other = kept(1, 0, 1, 2), kept(1, 2, 1, 0), kept(2, 0, 1, 2)
    for name in zero:
        alone = [kept(1, number)[name] for number in range(3)]
        assert np.array_equal(together[name], again[name])
        assert np.array_equal(together[name], sum(alone))
        assert not np.array_equal(together[name], other[name])
        assert not np.array_equal(alone[0] > 0, alone[1] > 0)
    assert not np.array_equal(together["a"], together["b"])


@pytest.mark.parametrize("method", ["uniform", "arithmetic", "ties"])
def test_parts_change_nothing(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(tmp_path, *random_tensors(5, 4))
    whole = models.merge(method)
    monkeypatch.setattr(merge_module, "_PART", 4)
    assert all(torch.equal(value, whole[name]) for name, value in models.merge(method).items())


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 6))
@settings(max_examples=80, deadline=None)
def test_a_greedy_soup_is_the_papers_recipe(seed: int, number: int, levels: int) -> None:
    names = [f"m{at}" for at in range(number)]
    rng = random.Random(seed)
    sets = [s for size in range(1, number + 1) for s in itertools.combinations(names, size)]
    scores = {s: rng.randrange(levels) / 10 for s in sets}  # few levels, so that many are equal
    asked: list[tuple[str, ...]] = []

    def score(chosen: tuple[str, ...]) -> float:
        asked.append(chosen)
        return scores[chosen]

    kept, record = choose(names, score)
    soup: set[str] = set()
    best = -1.0
    for name in sorted(names, key=lambda name: (-scores[(name,)], name)):  # Wortsman et al. 2022, Recipe 1
        with_it = scores[tuple(sorted({*soup, name}))]
        if with_it >= best:
            soup, best = {*soup, name}, with_it
    assert (kept, record["score"]) == (sorted(soup), best)
    assert record["kept"] == kept
    assert list(record["alone"].values()) == sorted((scores[(name,)] for name in names), reverse=True)
    assert len(asked) == len(set(asked)) == 2 * number - 1


# ------------------------------------------------------------ what cannot be merged


def test_other_shapes_and_vocabularies_are_refused(tmp_path: Path) -> None:
    def refused(number: int, other: Tensors, tokenizer: str = "{}") -> str:
        models = Models(tmp_path / str(number), {"w": torch.zeros(2)}, {"w": torch.zeros(2)}, other)
        for path in sorted((models.folder / "model-1").rglob("tokenizer.json")):
            path.write_text(tokenizer)
        with pytest.raises(ValueError, match=r"only encoders of one (shape and )?vocabulary") as caught:
            models.merge("uniform")
        return str(caught.value)

    assert "the tensor w is in " in refused(0, {"w": torch.zeros(3)})
    assert "[3]" in refused(1, {"w": torch.zeros(3)})
    assert "absent" in refused(2, {"v": torch.zeros(2)})
    assert "tokenizer.json differ" in refused(3, {"w": torch.zeros(2)}, "[]")


def test_what_is_no_weight_is_kept_and_must_be_one(tmp_path: Path) -> None:
    def models(number: int, *ids: int) -> Models:
        every = ({"w": torch.ones(2), "ids": torch.tensor([0, last])} for last in ids)
        return Models(tmp_path / str(number), *every)

    found = models(0, 7, 1, 1).merge("uniform")
    assert (found["ids"].dtype, found["ids"].tolist()) == (torch.int64, [0, 1])
    with pytest.raises(ValueError, match="the models differ in ids, whose numbers are no weights"):
        models(1, 1, 1, 2).merge("uniform")


def test_a_merge_stops_on_request(tmp_path: Path) -> None:
    models = Models(tmp_path, *random_tensors(1, 3))
    for method in ("uniform", "ties"):
        with pytest.raises(Interrupted):
            merge(Merge(tuple(models.stages), method), tmp_path / "out", models.context(stop=lambda: True))
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------ declarations


def test_the_order_of_the_models_means_nothing() -> None:
    models = [model(seed) for seed in range(4)]
    found = {Merge(tuple(order), "ties") for order in itertools.permutations(models)}
    assert len(found) == len({one.id for one in found}) == 1
    assert set(found.pop().models) == set(models)


def test_settings_are_the_papers_unless_given_and_say_the_same_either_way() -> None:
    models = (model(0), model(1))
    assert [
        (m.scale, m.density) for m in (Merge(models, name) for name in ("uniform", "arithmetic", "ties", "dare"))
    ] == [
        (None, None),
        (0.4, None),
        (1.0, 0.2),
        (0.4, 0.1),
    ]
    assert Merge(models, "ties").id == Merge(models, "ties", scale=1, density=0.2).id
    assert len({Merge(models, "ties", scale=s).id for s in (None, 0.5, 2)}) == 3


def test_the_start_is_the_nearest_one_that_all_models_share() -> None:
    deep = model(0, start=model(1), task="mini-paraphrase")
    other = model(2, start=BASE)
    assert Merge((deep,)).start == model(1)
    assert Merge((deep, model(3))).start == START
    assert Merge((deep, model(3)), start=BASE).start == BASE
    assert Merge((deep, other)).start == BASE
    above = Merge((model(4), model(5)))
    assert Merge((model(6, start=above), model(7, start=above))).start == above
    assert Merge((model(6, start=above), model(0))).start == START
    assert root(model(6, start=above)) == BASE


HELD_OUT = HeldOut("mini-bitext", ("de", "fr"))


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Merge(()), "expected a tuple of one Train or more"),
        (lambda: Merge(model(0)), "expected a tuple of one Train or more"),  # type: ignore[arg-type]
        (lambda: Merge((START, BASE)), "expected a tuple of one Train or more"),  # type: ignore[arg-type]
        (lambda: Merge((model(0), model(1), model(0))), "names a model twice: made-up"),
        (lambda: Merge((model(0),), "tie"), "unknown merge method 'tie': .*did you mean 'ties'"),
        (
            lambda: Merge((model(0), model(1, start=Encoder("x", content="9")))),
            r"expected models that were trained from one start, got made-up .*; x \+ mini-nli",
        ),
        (lambda: Merge((model(0),), start=model(1)), r"that were trained from made-up .* \+ mini-nli .*seed 1\), got"),
        (lambda: Merge((model(0),), scale=0.5), "merge.scale belongs to arithmetic, ties, dare: leave it out of 'uni"),
        (lambda: Merge((model(0),), "arithmetic", density=0.5), "merge.density belongs to ties, dare"),
        (lambda: Merge((model(0),), "ties", density=1.5), "merge.density is 1.5: expected 0 < density <= 1"),
        (lambda: Merge((model(0),), "dare", density=0), "merge.density is 0.0: expected a number above 0"),
        (lambda: Merge((model(0),), "ties", seed=1), "merge.seed is 1: 'ties' draws nothing"),
        (lambda: Merge((model(0),), "greedy"), "merge.held_out belongs to the method 'greedy'"),
        (lambda: Merge((model(0),), "ties", held_out=HELD_OUT), "merge.held_out belongs to the method 'greedy'"),
        (lambda: HeldOut("mini-bitext", ()), "expected one or more, each once"),
        (lambda: HeldOut("mini-bitext", ("de", "de")), "expected one or more, each once"),
        (lambda: HeldOut("mini-bitext", ("de",), pooling="men"), "unknown pooling 'men': .*did you mean 'mean'"),
    ],
)
def test_what_cannot_be_declared(declare: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare()


# ------------------------------------------------------------ plans


@pytest.fixture
def sources(tmp_path: Path, hub_cache: Path) -> Sources:
    return Sources(tmp_path / "data", tmp_path / "cache")


def bitext(model: Any, task: str = "mini-bitext", **fields: Any) -> Evaluate:
    return Evaluate(model, task, "de", **({"views": Views()} | fields))


def planned(sources: Sources, *leaves: Stage) -> Plan:
    return make_plan("test", leaves, sources)


def test_the_models_and_their_start_are_inputs_and_are_kept_until_a_merge_is_done(sources: Sources) -> None:
    above = Merge((model(0), model(1)))
    plan = planned(sources, bitext(model(2, start=above)))
    assert [stage.kind for stage in plan.stages.values()] == ["train", "train", "train", "merge", "train", "evaluate"]
    ids = list(plan.stages)
    assert {other.id for other in plan.stages[ids[3]].inputs} == set(ids[:3])
    assert all(ids[3] in plan.dependents()[id] for id in ids[:3])
    assert list(plan.todo(lambda id: id != ids[3] and id != ids[5], lambda id: id != ids[0])) == [ids[5]]
    assert list(plan.todo(lambda id: id not in ids[3:], lambda id: id != ids[0])) == [ids[0], *ids[3:]]


def test_resolved_models_are_in_the_order_of_their_resolved_ids(sources: Sources) -> None:
    for seeds in ((0, 1, 2), (5, 3, 4)):
        plan = planned(sources, bitext(Merge(tuple(map(model, seeds)))))
        (found,) = (stage for stage in plan.stages.values() if isinstance(stage, Merge))
        assert [m.id for m in found.models] == sorted(m.id for m in found.models)
        assert all(m.data and m.id in plan.stages for m in found.models)
        assert found.start in plan.stages.values()


def test_two_names_of_one_model_are_refused_in_the_plan(sources: Sources, tmp_path: Path) -> None:
    other = Encoder("other", content="0123")
    assert Merge((model(0, start=BASE), model(1, start=other)))
    with pytest.raises(ValueError, match="names a model twice"):
        planned(sources, bitext(Merge((model(0, start=BASE), model(0, start=other)))))


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (lambda: bitext(Merge((model(0, task="mini-nlu"),))), "unknown task 'mini-nlu'.*did you mean 'mini-nli'"),
        (
            lambda: Evaluate(Merge((model(0),)), "mini-xnli", "de"),
            r"no head for mini-xnli in the model made-up \+ .* \+ uniform merge of mini-nli .*: train on mini-nli",
        ),
        (
            lambda: bitext(Merge((model(0),)), views=Views(("pooler",))),
            "no dual encoder for mini-bitext in the model .*uniform merge of",
        ),
        (
            lambda: bitext(Merge((model(0),), "greedy", held_out=HeldOut("tatoeba", ("de",)))),
            "cannot choose its models by tatoeba: expected aligned texts with dev rows, one of ntrex, .*mini-bitext",
        ),
        (
            lambda: bitext(Merge((model(0),), "greedy", held_out=HeldOut("mini-mining", ("de",)))),
            "cannot choose its models by mini-mining: expected aligned texts with dev rows",
        ),
        (
            lambda: bitext(Merge((model(0),), "greedy", held_out=HeldOut("mini-bitext", ("dee",)))),
            "unknown language of mini-bitext/dev 'dee'",
        ),
        (
            lambda: bitext(Merge((model(0),), "greedy", held_out=HELD_OUT), split="dev"),
            "leak: a merge chooses its models by mini-bitext/dev in 'de', which would be scored",
        ),
    ],
)
def test_what_a_plan_refuses(leaf: Any, message: str, sources: Sources) -> None:
    with pytest.raises(ValueError, match=message):
        planned(sources, leaf())


def test_rows_that_choose_are_not_scored_by_any_other_model_of_the_plan_nor_under_another_name(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    twin = replace(find("mini-bitext"), name="twin", splits=Splits(test="dev"), rows={"test": 300})
    merged = bitext(Merge((model(0), model(1)), "greedy", held_out=HELD_OUT))
    assert planned(sources, merged, bitext(model(0)))
    with pytest.raises(ValueError, match="leak: a merge chooses its models by mini-bitext/dev in 'de'"):
        planned(sources, merged, bitext(model(3), split="dev"))
    source = sources.data

    def same(task: Task, split: str, language: str) -> Any:
        found = source(find("mini-bitext"), "dev", language) if task.name == "twin" else source(task, split, language)
        return replace(found, task=task.name, split=split)

    tasks.register(twin)
    monkeypatch.setattr(sources, "data", same)
    with pytest.raises(ValueError, match="leak: a merge chooses its models by twin/test in 'de'"):
        planned(sources, merged, bitext(model(0), "twin"))


def test_a_leak_is_seen_through_every_merged_model(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    leaky = replace(find("mini-paraphrase"), name="leaky", overlaps=("mini-bitext/test",))
    tasks.register(leaky)
    merged = Merge((model(0), model(1, task="leaky")))
    for stage in (merged, Merge((model(2, start=merged), model(3, start=merged)))):
        with pytest.raises(ValueError, match="leak: leaky is declared to share training rows with mini-bitext/test"):
            planned(sources, bitext(stage))


def test_every_link_of_a_chain_is_there_once() -> None:
    stage = bitext(Merge((model(0), model(1))))
    links = list(chain(stage))
    assert links[0] is stage
    assert [links.count(one) for one in (START, BASE, model(0), model(1))] == [1, 1, 1, 1]
    assert len(links) == 6


def test_labels_say_method_and_models() -> None:
    start = "made-up + mini-text (10 examples, seed 0)"
    models = (model(1, task="mini-questions"), model(1, task="mini-nli"))
    alike = "mini-nli, mini-questions (10 examples, seed 1)"
    other = (model(1), model(0, task="mini-paraphrase"))
    both = "mini-nli (10 examples, seed 1) and mini-paraphrase (10 examples, seed 0)"
    assert label(Merge(models)) == f"{start} + uniform merge of {alike}"
    assert label(Merge(models[:1])) == f"{start} + uniform merge of mini-questions (10 examples, seed 1)"
    assert label(Merge(other, "ties")) == f"{start} + ties (scale 1, density 0.2) merge of {both}"
    chosen = "greedy (by mini-bitext in 2 languages, mean of layer -1) merge of"
    assert label(Merge(other, "greedy", held_out=HELD_OUT)) == f"{start} + {chosen} {both}"


def test_why_a_merge_runs(sources: Sources) -> None:
    def why(new: Merge, old: Merge) -> str:
        stored = {id: stage.declaration() for id, stage in planned(sources, bitext(old)).stages.items()}
        plan = planned(sources, bitext(new))
        (stage,) = (stage for stage in plan.stages.values() if isinstance(stage, Merge))
        return explain(stage, stored).removeprefix("differs from the nearest stored stage in ")

    two = (model(0), model(0, task="mini-paraphrase"))
    assert why(Merge(two, "ties", density=0.5), Merge(two, "ties")) == "density: 0.2 -> 0.5"
    longer = replace(two[1], budget=Budget(20))
    changed = "models[mini-paraphrase, seed 0].budget.amount: 10.0 -> 20.0"
    assert why(Merge((two[0], longer)), Merge(two)) == changed


@pytest.mark.parametrize("method", ["uniform", "ties", "greedy"])
def test_a_study_merges_all_subsets_of_a_training_for_each_task(method: str, sources: Sources) -> None:
    names = [name for name in tasks.names() if name.startswith("mini-") and "train" in find(name).splits]
    nine = tuple(n for n in names if find(n).kind.name in ("classify", "choose", "tag") and "+" not in n)[:9]
    assert len(nine) == 9
    how: dict[str, Any] = {"tasks": nine, "design": "merged", "merge": method, "encoder": "tiny"}
    found = list(scaling(**how, languages=("de", "fr"), targets=("mini-bitext",)))
    plan = planned(sources, *found)
    kinds = [stage.kind for stage in plan.stages.values()]
    assert [kinds.count(kind) for kind in ("merge", "train", "evaluate")] == [511, 1 + 9, 2 * 512]
    merged = [stage for stage in plan.stages.values() if isinstance(stage, Merge)]
    sets = {tuple(sorted(task for m in stage.models for task in m.mixture.tasks)) for stage in merged}
    assert sets == {s for k in range(1, 10) for s in itertools.combinations(sorted(nine), k)}
    assert {stage.method for stage in merged} == {method}
    assert all(stage.start == merged[0].start and stage.start in plan.stages.values() for stage in merged)


def test_the_study_s_settings_reach_the_merges_and_its_seeds_stay_apart() -> None:
    common: dict[str, Any] = {"tasks": ("mini-nli", "mini-paraphrase"), "design": "merged", "languages": ("de",)}
    common |= {"encoder": "owner/name", "k": (0, 2), "targets": ("mini-bitext", "mini-xnli"), "seeds": (3, 4)}
    found = list(scaling(**common, merge="dare", merge_scale=0.7, merge_density=0.3))
    merged = {leaf.model for leaf in found if leaf.task == "mini-bitext"} - {Encoder("owner/name")}
    assert {(m.method, m.scale, m.density, m.seed) for m in merged} == {("dare", 0.7, 0.3, 3), ("dare", 0.7, 0.3, 4)}
    assert all({one.seed for one in m.models} == {m.seed} for m in merged)
    tuned = {leaf.model for leaf in found if leaf.task == "mini-xnli" and isinstance(leaf.model.start, Merge)}
    assert {(model.start, model.seed) for model in tuned} == {(m, m.seed) for m in merged}
    (greedy,) = {
        leaf.model
        for leaf in scaling(**{**common, "k": (2,), "seeds": (3,), "targets": ("tatoeba",)}, merge="greedy",
                            held_out="ntrex", held_out_layer=8, poolings=("cls", "mean"), prefix="p: ", num_threads=2)
    }  # fmt: skip
    expected = HeldOut("ntrex", find("ntrex").languages, 8, "cls", "p: ", num_threads=2)
    assert (greedy.held_out, greedy.num_threads, greedy.seed) == (expected, 2, 0)
    for wrong in ({"merge": "ties"}, {"merge_scale": 0.5}, {"held_out": "ntrex"}):
        with pytest.raises(ValueError, match="belong to design=merged, and this is design=all"):
            list(scaling(**{**common, "design": "all"}, **wrong))


# ------------------------------------------------------------ with encoders

TINY = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
RECIPE = replace(STILTS, learning_rate=1e-2, batch_examples=4, max_tokens=40, dev_examples=4)


class Done:
    """Stages done one after the other in one folder."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.folder, self.cache_dir = folder, cache_dir
        self.inputs: dict[str, Path] = {}

    def __call__(self, stage: Any) -> tuple[Any, Path, dict[str, Any]]:
        """Do a stage and what it reads; returns it as planned, its folder and its record."""
        plan = make_plan("test", [stage], Sources(None, self.cache_dir))
        found: dict[str, Any] = {}
        for id, one in plan.stages.items():
            out, work = self.folder / id / "out", self.folder / id / "work"
            if one.kind == "evaluate" or id not in self.inputs:
                for path in (out, work):
                    path.mkdir(parents=True, exist_ok=True)
                context = Context(inputs=self.inputs, work=work, data_dir=None, cache_dir=self.cache_dir)
                found = perform(one, out, context)
                self.inputs[id] = out / "weights"
        return plan.stages[plan.leaves[0]], self.folder / plan.leaves[0] / "out", found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, small_miniature: None) -> Iterator[Done]:
    yield Done(tmp_path_factory.mktemp("done"), cache_dir)
    evaluate_module.forget_model()


def short(task: str, start: Any = TINY, seed: int = 0) -> Train:
    return Train(start, Mixture((task,)), Budget(6, "steps"), RECIPE, seed)


ONE, TWO = short("mini-nli"), short("mini-paraphrase")


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights" / "encoder" / "model.safetensors")


def test_a_merge_is_an_ordinary_encoder_and_of_one_model_the_very_same(done: Done) -> None:
    from transformers import AutoModel, AutoTokenizer

    _, trained, _ = done(ONE)
    _, merged, record = done(Merge((ONE,)))
    before = {path.name: path.read_bytes() for path in (trained / "weights" / "encoder").iterdir()}
    after = {path.name: path.read_bytes() for path in (merged / "weights" / "encoder").iterdir()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] in ([], ["model.safetensors"])
    assert all(value.numpy().tobytes() == weights(merged)[n].numpy().tobytes() for n, value in weights(trained).items())
    assert [path.name for path in (merged / "weights").iterdir()] == ["encoder"]
    assert AutoModel.from_pretrained(merged / "weights" / "encoder", local_files_only=True)
    assert AutoTokenizer.from_pretrained(merged / "weights" / "encoder", local_files_only=True)
    assert record["environment"]["numeric_path"] == "cpu-float32"
    assert record["result"]["num_models"] == 1


def test_task_vectors_are_taken_from_a_pretrained_encoder(done: Done) -> None:
    (_, one, _), (_, two, _) = done(ONE), done(TWO)
    _, merged, _ = done(Merge((ONE, TWO), "arithmetic", scale=0.5))
    half = {name: (value + weights(two)[name]) / 2 for name, value in weights(one).items()}
    for name, value in weights(merged).items():  # half of both vectors is the average, wherever they start
        torch.testing.assert_close(value, half[name], rtol=0, atol=1e-6)
    twice = weights(done(Merge((ONE, TWO), "arithmetic", scale=1))[1])
    assert max(float((twice[name] - value).abs().max()) for name, value in half.items()) > 1e-3


def test_a_start_s_tensors_are_those_that_a_training_of_it_keeps(done: Done, tmp_path: Path) -> None:
    context = Context(inputs={}, work=tmp_path, data_dir=None, cache_dir=done.cache_dir)
    shutil.copytree(encoder_folder(root(done(ONE)[0]), context), tmp_path / "hub")
    file = tmp_path / "hub" / "model.safetensors"
    tensors = {f"roberta.{name}": value for name, value in load_file(file).items()}  # as a masked language model has it
    save_file(tensors | {"lm_head.bias": torch.zeros(400)}, file, metadata={"format": "pt"})
    one = short("mini-nli", start=Encoder(str(tmp_path / "hub")))
    (_, trained, _), (_, merged, _) = done(one), done(Merge((one,), "arithmetic", scale=1))
    for name, value in weights(trained).items():
        torch.testing.assert_close(weights(merged)[name], value, rtol=0, atol=1e-6)


def test_a_merge_is_measured_and_trained_from(done: Done) -> None:
    import pyarrow.parquet as pq

    both = Merge((ONE, TWO))
    one, alone, averaged = (
        pq.read_table(done(bitext(m))[1] / "predictions.parquet") for m in (ONE, Merge((ONE,)), both)
    )
    assert one.equals(alone)
    assert not one.equals(averaged)
    tuned = short("mini-nli", start=both, seed=1)
    _, _, record = done(Evaluate(tuned, "mini-nli", "en", "dev"))
    assert record["result"]["num_examples"] == 36
    assert not all(torch.equal(v, weights(done(both)[1])[n]) for n, v in weights(done(tuned)[1]).items())


def test_a_greedy_soup_is_the_average_of_those_that_the_held_out_rows_keep(done: Done) -> None:
    import pyarrow.parquet as pq

    trained = (ONE, TWO, short("mini-nli", seed=2))
    by = HeldOut("mini-bitext", ("de", "fr"), layer=1, pooling="cls", prefix="x ", max_tokens=32)
    stage, folder, record = done(Merge(trained, "greedy", held_out=by))
    found = record["result"]["held_out"]
    views = Views(("cls",), layers=(1,), prefix="x ")

    def accuracy(one: Any) -> float:
        shares = []
        for code in by.languages:
            measured = Evaluate(one, "mini-bitext", code, "dev", views, 32)
            table = pq.read_table(done(measured)[1] / "predictions.parquet")
            shares += [
                near[0] == gold
                for near, gold in zip(table["neighbours"].to_pylist(), table["gold"].to_pylist(), strict=True)
            ]
        return sum(shares) / len(shares)

    resolved = {m.id: m for m in stage.models}
    assert found["alone"] == pytest.approx({id: accuracy(m) for id, m in resolved.items()})
    kept = Merge(tuple(resolved[id] for id in found["kept"]))
    assert found["score"] == pytest.approx(accuracy(kept))
    assert all(torch.equal(v, weights(done(kept)[1])[n]) for n, v in weights(folder).items())
    assert record["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread"
    assert [path.name for path in (folder / "weights").iterdir()] == ["encoder"]


# ------------------------------------------------------------ reports


def test_merged_models_are_a_series_of_their_own_with_as_many_tasks_as_they_merge(tmp_path: Path) -> None:
    names = ("mnli@sample", "snli@sample")
    trains = [[reported(name, seed=seed) for name in names] for seed in (0, 1)]
    merged = [Merge(tuple(models)) for models in trains]
    trimmed = [Merge(tuple(models), "ties") for models in trains]
    by_one, by_two = (HeldOut("ntrex", (code,)) for code in ("ru", "el"))
    chosen = [Merge(tuple(trains[0]), "greedy", held_out=by) for by in (by_one, by_two)]
    mixed = [reported(*names, seed=seed) for seed in (0, 1)]
    models = [REPORTED, *itertools.chain(*trains), *mixed, *merged, *trimmed, *chosen]
    store = fill(tmp_path / "store", [measure(one, code) for one in models for code in ("de", "fr")])
    table = rows.rows(store, store.plan("scaling")).to_pylist()
    of = {row["model"]: row for row in table}
    for seed, one in enumerate(merged):
        row = of[one.id]
        assert (row["k"], row["tasks"], row["seed"], row["base"]) == (2, "+".join(names), seed, REPORTED.id)
        assert (row["policy"], row["budget"]) == ("merged by uniform", "2000 examples a model")
        assert row["collapsed"] == (seed == 1), "the training on snli@sample with seed 1 collapsed"
        assert row["profiles"] in ("", "xtreme-2020;stilts-2020")
    assert of[trimmed[0].id]["policy"] == "merged by ties (scale 1, density 0.2)"
    assert of[chosen[0].id]["policy"] == of[chosen[1].id]["policy"]
    (section,) = sections_of(store)
    assert len(stats.series(section)) == 5, "mixed, averaged, trimmed, and two that were chosen by different rows"
    found = {series.policy: [run.model for run in series.runs] for series in stats.series(section)}
    assert {of[one.id]["policy"] for one in (mixed[0], merged[0], trimmed[0], chosen[0])} == set(found)
    assert sorted(found["merged by uniform"]) == sorted([REPORTED.id, *(one.id for one in merged)])
    assert {series.name.count("mixing") for series in stats.series(section) if series.policy.startswith("merged")} == {
        0
    }
    for series in stats.series(section):
        for k, runs in series.by_k().items():
            assert len(runs) == series.planned(section, k)


def test_a_merge_ends_what_was_trained_for_a_target(tmp_path: Path) -> None:
    squad = reported("squad-v1")
    tuned = reported("squad-v1", start=Merge((reported("mnli"), reported("snli"))))
    alone = Merge((squad,))
    leaves = [measure(squad, "de", "xquad"), measure(tuned, "de", "xquad"), measure(alone, "de"), measure(squad, "de")]
    store = fill(tmp_path / "store", leaves)
    table = {(row["task"], row["model"]): row for row in rows.rows(store, store.plan("scaling")).to_pylist()}
    assert [table["xquad", one.id]["target"] for one in (squad, tuned)] == ["squad-v1", "squad-v1"]
    assert (table["xquad", tuned.id]["tasks"], table["xquad", tuned.id]["k"]) == ("mnli+snli", 2)
    at_cell = [row for row in rows.rows(store, store.plan("scaling")).to_pylist() if row["profiles"]]
    read = {(row["model"], name) for row in at_cell if row["task"] == "tatoeba" for name in row["profiles"].split(";")}
    assert (squad.id, "xtreme-r-2021") in read
    assert (alone.id, "xtreme-r-2021") not in read
    assert (alone.id, "xtreme-2020") in read
