"""Robust training: perturbations of embeddings and what is minimised at them, and copies with other words."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from small import CPU, encoded, shaken, small_folders
from test_step import NAMES as TRAINED
from test_step import readable
from test_train import NLI, RECIPE, Bench
from xstilts import tasks
from xstilts.engine import Interrupted, robust
from xstilts.engine.data import tokenised
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.objectives import objective
from xstilts.engine.packing import Batch, Shape, collate
from xstilts.engine.robust import Ball, symmetric_divergence
from xstilts.engine.step import graph_problem
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import NORMS, STILTS, Recipe, Robust
from xstilts.stage import Encoder, Train
from xstilts.study import Sources, make_plan
from xstilts.tasks import Choices, Pair, Text, synonyms
from xstilts.tasks.synonyms import Synonyms, copied

NAMES = [name for name in TRAINED if tasks.find(name).kind.name != "embed"]
WIDTH = 32
TINY_EPSILON = 1e-30  # lost in the sum with an embedding


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    made = shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])
    made.add_heads([*TRAINED, "mini-text"], Recipe(hidden_dropout=0.1), 0)
    with torch.no_grad():
        for parameter in made.heads.parameters():  # far from even distributions
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return made.eval()


def batch_of(model: Model, name: str, rows: Any = (2, 0, 3), shape: Callable[[Batch], Shape] | None = None) -> Batch:
    task = tasks.find(name)
    split = "train"
    data = encoded(task.kind, tasks.examples(task, split, "en")[:4], model.tokenizer, 90)
    batch = collate(data, rows, CPU)
    return readable(collate(data, rows, CPU, shape(batch))) if shape else batch


def filled(batch: Batch) -> Shape:
    return Shape(batch.num_tokens + 40, len(batch.lengths) + 4, 200)


def loss(model: Model, name: str, batch: Batch, method: Robust | None) -> Tensor:
    torch.manual_seed(1)
    return objective(model, tasks.find(name), batch, Recipe(robust=method), torch.Generator().manual_seed(2))


def sequences(batch: Batch) -> list[Tensor]:
    return [(batch.segment == number).nonzero().squeeze(1) for number in range(len(batch.lengths))]


def norms(delta: Tensor, norm: str, batch: Batch) -> list[float]:
    """The norms that a ball bounds, one by one."""
    delta = delta.detach()
    if norm == "linf":
        return [float(delta.abs().max())]
    if norm == "l2-token":
        return [float(row.norm()) for row in delta]
    return [float(delta[tokens].norm()) for tokens in sequences(batch) if len(tokens)]


# ------------------------------------------------------------ the ball


@pytest.mark.parametrize("norm", NORMS)
def test_a_projection_is_in_the_ball_and_leaves_what_is_in_it(norm: str, model: Model) -> None:
    batch = batch_of(model, "mini-choice", shape=filled)
    ball = Ball(norm, 0.5, batch, WIDTH)
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-4, 0.03, 0.3, 10.0):
        delta = scale * torch.randn(batch.num_tokens, WIDTH, generator=generator)
        delta[::7] = 0
        found = ball.project(delta)
        assert found.isfinite().all()
        assert max(norms(found, norm, batch)) <= 0.5 * (1 + 1e-5)
        if norm == "linf":
            torch.testing.assert_close(found, delta.clamp(-0.5, 0.5))
            continue
        groups = sequences(batch) if norm == "l2-sequence" else list(torch.arange(len(delta))[:, None])
        for tokens in (tokens for tokens in groups if len(tokens)):
            size = delta[tokens].norm()
            torch.testing.assert_close(found[tokens], delta[tokens] * (0.5 / size if size > 0.5 else 1.0))


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_is_the_steepest_of_its_size(norm: str, model: Model) -> None:
    batch = batch_of(model, "mini-nli")
    gradient = torch.randn(batch.num_tokens, WIDTH, generator=torch.Generator().manual_seed(0))
    gradient[3] = 0
    step = Ball(norm, 1.0, batch, WIDTH).step(1e-25 * gradient, 0.2)  # small as gradients of a divergence are
    assert step.isfinite().all()
    assert (step[3] == 0).all()
    for size in norms(step, norm, batch):
        assert size == pytest.approx(0.2, rel=1e-4) or (norm == "l2-token" and size == 0)
    gain = (step * gradient).sum()
    for seed in range(20):  # no other step of the size gains more
        other = torch.randn(step.shape, generator=torch.Generator().manual_seed(seed)) + seed % 3 * gradient
        other = Ball(norm, 0.2, batch, WIDTH).project(1e3 * other)
        assert (other * gradient).sum() <= gain + 1e-4


@pytest.mark.parametrize("norm", NORMS)
def test_noise_is_uniform_in_the_ball(norm: str, model: Model) -> None:
    batch = batch_of(model, "mini-choice", shape=filled)
    torch.manual_seed(0)
    drawn = [Ball(norm, 0.5, batch, 3).uniform() for _ in range(60)]
    assert all(max(norms(delta, norm, batch)) <= 0.5 * (1 + 1e-5) for delta in drawn)
    together = torch.cat(drawn)
    assert float(together.mean().abs()) < 0.01
    if norm == "linf":
        volumes = (together.flatten() / 0.5 + 1) / 2
    elif norm == "l2-token":
        volumes = (together.norm(dim=1) / 0.5) ** 3
    else:  # the length of a uniform point of d dimensions, to the power of d, is uniform
        groups = [(delta[tokens], len(tokens)) for delta in drawn for tokens in sequences(batch) if len(tokens)]
        volumes = torch.stack([(part.double().norm() / 0.5) ** (3 * count) for part, count in groups])
    assert kstest(volumes.numpy(), "uniform").pvalue > 0.01
    assert float(volumes.max()) > 0.97


# ------------------------------------------------------------ gradients


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_perturbation_is_that_of_finite_differences(name: str, model: Model) -> None:
    batch = batch_of(model, name)
    kind, head = KINDS[tasks.find(name).kind.name], model.head(name)

    def at(delta: Tensor) -> Tensor:
        with model.encoder.perturbed(delta):
            return kind.loss(model.encoder, head, batch, torch.Generator())

    zero = torch.zeros(batch.num_tokens, WIDTH, requires_grad=True)
    (gradient,) = torch.autograd.grad(at(zero), zero)
    assert all(parameter.grad is None for parameter in model.parameters())
    for seed in range(4):
        direction = torch.randn(zero.shape, generator=torch.Generator().manual_seed(seed))
        along = float((gradient * direction).sum())
        size = 2e-3
        with torch.no_grad():
            measured = float(at(size * direction) - at(-size * direction)) / (2 * size)
        assert measured == pytest.approx(along, rel=0.03, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_adversary_does_more_harm_than_noise_and_leaves_no_gradient(name: str, model: Model) -> None:
    batch = batch_of(model, name)
    method = Robust("adversarial", 1.0, num_steps=5)
    plain, noisy = loss(model, name, batch, None), loss(model, name, batch, Robust("perturbation", 1.0, "l2-sequence"))
    found = loss(model, name, batch, method)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert found > max(plain, noisy) + 0.01
    seen: list[Tensor] = []
    whole = model.encoder.perturbed

    def noted(delta: Tensor) -> Any:
        seen.append(delta)
        return whole(delta)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.encoder, "perturbed", noted)
        assert loss(model, name, batch, method) == found
    assert len(seen) == 6
    assert not seen[-1].requires_grad
    assert all(max(norms(delta, "l2-sequence", batch)) <= 1 + 1e-5 for delta in seen)
    # the gradients of the weights are those of the loss at the last perturbation, and of nothing else
    found.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with whole(seen[-1]):
        loss(model, name, batch, None).backward()
    for parameter, value in model.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(gradients[parameter], value.grad, atol=1e-6, rtol=1e-4)
    model.zero_grad()


def test_an_encoder_is_as_before_after_a_perturbation(model: Model) -> None:
    batch = batch_of(model, "mini-nli")
    before = loss(model, "mini-nli", batch, None)
    with pytest.raises(RuntimeError), model.encoder.perturbed(torch.zeros(2, 3)):
        model.encoder(batch.ids, batch.packing, batch.types)
    assert loss(model, "mini-nli", batch, None) == before


# ------------------------------------------------------------ what is minimised


@pytest.mark.parametrize("name", NAMES)
def test_without_room_the_loss_is_the_plain_one(name: str, model: Model) -> None:
    batch = batch_of(model, name)
    plain = loss(model, name, batch, None)
    for norm in NORMS:
        for method in ("perturbation", "adversarial", "r3f", "smart"):
            assert loss(model, name, batch, Robust(method, TINY_EPSILON, norm)) == plain
    model.train()
    try:  # one dropout mask for all passes of an adversary
        plain = loss(model, name, batch, None)
        adversarial = Robust("adversarial", TINY_EPSILON, start="zero")
        assert loss(model, name, batch, adversarial) == plain
        both = loss(model, name, batch, replace(adversarial, clean_weight=0.3))
        assert both.item() == pytest.approx(plain.item(), abs=1e-6)
        assert loss(model, name, batch, Robust("r3f", TINY_EPSILON, weight=1.0)) > plain, "masks of their own"
    finally:
        model.eval()


def test_the_clean_loss_has_its_share(model: Model) -> None:
    batch = batch_of(model, "mini-nli")
    plain = loss(model, "mini-nli", batch, None).item()
    for method in (Robust("perturbation", 3.0), Robust("adversarial", 3.0)):
        noisy, mixed = (loss(model, "mini-nli", batch, replace(method, clean_weight=w)).item() for w in (0.0, 0.25))
        assert abs(noisy - plain) > 0.01
        assert mixed == pytest.approx(0.25 * plain + 0.75 * noisy, rel=1e-5)


def test_the_divergence_is_that_of_both_directions() -> None:
    p, q = torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    # 0.5 ln(5/9) + 0.5 ln 5 = 0.5108..., 0.9 ln(9/5) + 0.1 ln(1/5) = 0.3681...
    by_hand = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1) + 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    assert float(symmetric_divergence(p.log(), q.log(), 2)) == pytest.approx(by_hand / 2)
    assert float(symmetric_divergence(q.log(), p.log(), 1)) == pytest.approx(by_hand)
    assert symmetric_divergence(p.log(), p.log(), 2) == 0


def distributions(name: str, model: Model, batch: Batch) -> tuple[list[list[Tensor]], Tensor]:
    """Every distribution of a batch and its gold place, one by one; and the loss as their mean."""
    kind = KINDS[tasks.find(name).kind.name]
    outputs = kind.outputs(model.encoder, model.head(name), batch)
    found, targets = [], batch.targets
    for number in range(batch.num_examples):
        own = (batch.example == number).nonzero().squeeze(1)
        if kind.__name__.endswith("classify"):
            found.append([outputs[number], targets["label"][number]])
        elif kind.__name__.endswith("choose"):
            found.append([outputs[own], targets["label"][number]])
        for tokens in ((batch.segment == one).nonzero().squeeze(1) for one in own):
            if kind.__name__.endswith("tag"):
                found += [[outputs[t], targets["label"][t]] for t in tokens if targets["label"][t] != -100]
            elif kind.__name__.endswith("span"):
                places = [t for t in tokens if targets["char_begin"][t] != -1 or t == tokens[0]]
                for side, mark in enumerate(("answer_first", "answer_last")):
                    gold = next(i for i, t in enumerate(places) if targets[mark][t])
                    found.append([outputs[torch.stack(places), side], torch.tensor(gold)])
    return found, torch.stack([-scores.log_softmax(0)[gold] for scores, gold in found]).mean()


@pytest.mark.parametrize("shape", [None, filled], ids=["", "filled"])
@pytest.mark.parametrize("name", NAMES)
def test_a_kind_gives_the_distributions_that_its_loss_is_a_mean_over(
    name: str, shape: Callable[[Batch], Shape] | None, model: Model
) -> None:
    batch = batch_of(model, name, shape=shape)
    kind, head = KINDS[tasks.find(name).kind.name], model.head(name)
    log_p, number = kind.log_probabilities(kind.outputs(model.encoder, head, batch), batch)
    one_by_one, mean = distributions(name, model, batch)
    assert number == len(one_by_one)
    torch.testing.assert_close(kind.loss(model.encoder, head, batch, torch.Generator()), mean, atol=1e-5, rtol=1e-5)
    entropy = torch.stack([-(s.softmax(0) * s.log_softmax(0)).sum() for s, _ in one_by_one]).sum()
    torch.testing.assert_close(-(log_p.exp() * log_p).sum(), entropy, atol=1e-4, rtol=1e-4)
    with model.encoder.perturbed(torch.randn(batch.num_tokens, WIDTH, generator=torch.Generator().manual_seed(0))):
        other, _ = kind.log_probabilities(kind.outputs(model.encoder, head, batch), batch)
        others, _ = distributions(name, model, batch)
    kl = torch.nn.functional.kl_div
    pairs = [(s.log_softmax(0), o.log_softmax(0)) for (s, _), (o, _) in zip(one_by_one, others, strict=True)]
    both = [kl(a, b, reduction="sum", log_target=True) + kl(b, a, reduction="sum", log_target=True) for a, b in pairs]
    expected = torch.stack(both).mean()
    assert expected > 1e-3
    torch.testing.assert_close(symmetric_divergence(log_p, other, number), expected, atol=1e-5, rtol=1e-3)


def test_r3f_and_smart_add_their_weight_of_the_divergence(model: Model) -> None:
    for name in NAMES:
        batch = batch_of(model, name)
        plain = loss(model, name, batch, None).item()
        added = {}
        for weight in (1.0, 3.0):
            for method in (Robust("r3f", 0.05, weight=weight), Robust("smart", 0.05, weight=weight, step_size=0.05)):
                added[method.method, weight] = loss(model, name, batch, method).item() - plain
        for method in ("r3f", "smart"):
            assert added[method, 3.0] == pytest.approx(3 * added[method, 1.0], rel=0.02, abs=1e-5)
        assert added["smart", 1.0] > added["r3f", 1.0] > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_step_and_what_fills_it_change_nothing(name: str, norm: str, model: Model) -> None:
    """No draw is made from a start at zero without dropout."""
    method = Robust("adversarial", 0.5, norm, num_steps=2, start="zero", clean_weight=0.25)
    if norm == "linf":  # of numbers near 0 rounding decides the sign
        method = replace(method, epsilon=0.02, step_size=0.001)
    whole = loss(model, name, batch_of(model, name), method)
    torch.testing.assert_close(
        loss(model, name, batch_of(model, name, shape=filled), method), whole, atol=2e-4, rtol=1e-3
    )
    parts = [batch_of(model, name, rows) for rows in ((2, 0), (3,))]
    terms = [KINDS[tasks.find(name).kind.name].num_terms(part) for part in parts]
    together = sum(loss(model, name, p, method) * n / sum(terms) for p, n in zip(parts, terms, strict=True))
    torch.testing.assert_close(together, whole, atol=2e-4, rtol=1e-3)


def test_text_in_a_mixture_stays_as_it_is(model: Model) -> None:
    batch = batch_of(model, "mini-text")
    plain = loss(model, "mini-text", batch, None)
    assert all(loss(model, "mini-text", batch, Robust(m, 5.0)) == plain for m in robust.PERTURBS)


# ------------------------------------------------------------ the declaration


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "freelb"}, "unknown robust method 'freelb': expected one of adversarial"),
        ({"method": "adverserial"}, "did you mean 'adversarial'"),
        ({"method": "adversarial"}, "robust.epsilon is not given: adversarial needs the radius"),
        ({"method": "perturbation"}, "robust.epsilon is not given"),
        ({"method": "r3f", "num_steps": 2}, "robust.num_steps is 2: r3f takes epsilon, norm, weight alone"),
        ({"method": "synonyms", "epsilon": 1}, "takes num_copies, neighbours, neighbours_content alone"),
        ({"method": "smart", "start": "zero"}, "robust.start is 'zero': smart takes"),
        ({"method": "adversarial", "epsilon": 0}, "robust.epsilon is 0.0: expected a number above 0"),
        ({"method": "adversarial", "epsilon": 1, "num_steps": 0}, "robust.num_steps is 0"),
        ({"method": "adversarial", "epsilon": 1, "norm": "l2"}, "unknown robust norm 'l2'"),
        ({"method": "adversarial", "epsilon": 1, "start": "normal"}, "unknown robust start 'normal'"),
        ({"method": "perturbation", "epsilon": 1, "clean_weight": 1}, "expected 0 <= share < 1"),
        ({"method": "synonyms", "num_copies": 0}, "robust.num_copies is 0"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Robust(**fields)


def test_fields_left_out_are_the_same_declaration_as_their_values() -> None:
    assert Robust("r3f").id == Robust("r3f", 1e-5, "linf", weight=1).id
    adversarial = Robust("adversarial", 0.6)
    assert adversarial.id == Robust("adversarial", 0.6, "l2-sequence", 3, 0.5, "random", 0.0).id
    ids = {Recipe(robust=one).id for one in (None, Robust("r3f"), Robust("smart"), adversarial)}
    assert len(ids) == 4
    assert Recipe(robust=None).id == STILTS.id


def test_a_step_with_gradients_inside_is_no_graph(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.engine.step.varlen_problem", lambda: None)

    def problem(method: Robust) -> str | None:
        stage = Train(Encoder("a", content="a"), NLI, Budget(1), replace(STILTS, robust=method, precision="bfloat16"))
        return graph_problem(stage, model, {"classify"}, torch.device("cuda"))

    assert problem(Robust("perturbation", 1.0)) is None
    assert problem(Robust("r3f")) is None
    for method in (Robust("adversarial", 1.0), Robust("smart")):
        assert "looks for a perturbation by gradients" in str(problem(method))


@pytest.mark.parametrize(
    ("names", "method", "message"),
    [
        (("mini-nli", "mini-lareqa-train"), Robust("r3f"), "mini-lareqa-train is embed"),
        (("mini-nli", "mini-tags"), Robust("synonyms", neighbours="near.json"), "mini-tags is tag"),
        (("mini-qa",), Robust("synonyms", neighbours="near.json"), "takes tasks of kind classify, choose: mini-qa"),
        (("mini-text",), Robust("r3f"), "leaves text as it is, and this mixture has nothing else"),
        (("mini-nli",), Robust("synonyms", neighbours="nearer.json"), "nearer.json is not there; expected 'wordnet'"),
        (("mini-nli",), Robust("synonyms", neighbours="list.json"), r"list.json: expected a JSON object .* got \[\]"),
        (
            ("mini-nli",),
            Robust("synonyms", neighbours="text.json"),
            "expected a list of words as the neighbours of 'a'",
        ),
        (("mini-nli",), Robust("synonyms", neighbours="not.json"), "not.json: expected JSON of words"),
        (("mini-nli",), Robust("synonyms", neighbours="."), "index.noun is not there"),
    ],
)
def test_a_plan_refuses_what_cannot_work(
    names: tuple[str, ...], method: Robust, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, text in {"near": '{"man": ["boy"]}', "list": "[]", "text": '{"a": "b"}', "not": "{"}.items():
        Path(f"{file}.json").write_text(text)
    stage = Train(Encoder("a", content="a"), Mixture(names), Budget(10), replace(STILTS, robust=method))
    with pytest.raises(ValueError, match=message):
        make_plan("test", [stage], Sources(None, tmp_path / "cache"))


# ------------------------------------------------------------ other words

NEAR = {"man": ["boy", "guy"], "sings": ["hums"], "Paris": ["Rome"], "it": []}


@pytest.fixture
def near(tmp_path: Path) -> str:
    (tmp_path / "near.json").write_text(json.dumps(NEAR))
    return str(tmp_path / "near.json")


def by(source: str, num_copies: int = 3, seed: int = 0) -> Synonyms:
    return Synonyms(source, "", num_copies, seed)


def test_only_words_with_neighbours_change_and_labels_never(near: str) -> None:
    given = [
        Pair("A man sings it , a Man , in Paris.", "The woman's man-made MAN; man's.", "neutral"),
        Pair("Nothing here.", "", "entailment"),
    ]
    found = list(copied(given, 0, "t", by(near, 600)))
    assert len(found) == 1200
    assert [example.label for example in found] == ["neutral"] * 600 + ["entailment"] * 600  # type: ignore[union-attr]
    assert found[600:] == [given[1]] * 600
    firsts, seconds = ({getattr(example, side) for example in found[:600]} for side in ("first", "second"))
    men, large, places = ("man", "boy", "guy"), ("Man", "Boy", "Guy"), ("Paris", "Rome")
    every = itertools.product(men, ("sings", "hums"), large, places)
    assert firsts == {f"A {m} {s} it , a {n} , in {p}." for m, s, n, p in every}
    assert seconds == {f"The woman's man-made {m}; man's." for m in ("MAN", "BOY", "GUY")}


def test_a_word_is_itself_or_any_neighbour_equally_often_and_by_itself(near: str) -> None:
    found = list(copied([Choices("man man", ("man", "x"), 0)], 0, "t", by(near, 9_000)))
    assert {example.label for example in found} == {0}  # type: ignore[union-attr]
    counts = Counter((*example.prompt.split(), *example.choices) for example in found)  # type: ignore[union-attr]
    assert len(counts) == 27
    assert all(abs(count - 9_000 / 27) < 5 * (9_000 / 27) ** 0.5 for count in counts.values())


def test_a_draw_is_a_function_of_seed_task_row_and_copy(near: str) -> None:
    given = [Pair("man man man man man man man man", "man", "neutral")] * 6
    first = list(copied(given, 0, "t", by(near)))
    assert len(set(first)) > 12
    assert first[9:] == list(copied(given[3:], 3, "t", by(near)))
    assert [example for n, example in enumerate(list(copied(given, 0, "t", by(near, 4)))) if n % 4 < 3] == first
    assert first not in (list(copied(given, 0, "u", by(near))), list(copied(given, 0, "t", by(near, seed=1))))


def test_wordnet_gives_the_others_of_the_most_frequent_synset(tmp_path: Path) -> None:
    data = {
        "noun": "00000001 03 n 03 couch 0 sofa 0 love_seat 0 000 | a seat\n00000002 03 n 02 couch 0 bed 0 000 | x\n",
        "verb": "00000003 03 v 02 couch 0 frame 0 000 | to word\n",
        "adj": "00000004 00 a 03 big(p) 0 large 0 Bach 0 000 | of size\n",
        "adv": "00000005 00 r 02 in 0 inwards 0 000 | to the inside\n",
    }
    index = {
        "noun": "bed n 1 0 1 0 00000002\ncouch n 2 1 @ 2 1 00000001 00000002\nlove_seat n 1 0 1 0 00000001\n"
        "sofa n 1 0 1 0 00000001\n",
        "verb": "couch v 1 0 1 0 00000003\nframe v 1 0 1 0 00000003\n",
        "adj": "big a 1 0 1 0 00000004\nlarge a 1 0 1 0 00000004\n",
        "adv": "in r 1 0 1 0 00000005\ninwards r 1 0 1 0 00000005\n",
    }
    for what, files in ("data", data), ("index", index):
        for part, text in files.items():
            (tmp_path / f"{what}.{part}").write_text(f"  1 This is the licence.  \n{text}")
    assert dict(synonyms.neighbours_of(str(tmp_path))) == {
        "bed": ("couch",),
        "big": ("large",),
        "couch": ("frame", "sofa"),
        "frame": ("couch",),
        "large": ("big",),
        "sofa": ("couch",),
    }
    (tmp_path / "data.adv").write_text("five\n")
    with pytest.raises(ValueError, match=r"data\.adv:1: expected a line of WordNet's database, got 'five"):
        synonyms.neighbours_of(str(tmp_path))


def test_wordnet_says_how_it_is_installed_or_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synonyms, "_PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match=r"pip install 'xstilts\[synonyms\]'.*/usr/share/wordnet"):
        synonyms.neighbours_of("wordnet")


def test_the_packaged_wordnet_is_read() -> None:
    try:
        found = synonyms.neighbours_of("wordnet")
    except ValueError as error:
        pytest.skip(str(error))
    assert found["movie"] == ("film", "flick", "pic", "picture")
    assert "the" not in found
    assert len(found) > 30_000
    assert synonyms.neighbours_content("wordnet") == "3a789c1bb5d13d515761"


# ------------------------------------------------------------ training


@pytest.fixture
def bench(tmp_path: Path, cache_dir: Path) -> Bench:
    return Bench(tmp_path, cache_dir)


@pytest.fixture
def words(tmp_path: Path) -> str:
    """Neighbours of the miniature's words: each has the next one of its sentence."""
    found: dict[str, list[str]] = {}
    for example in tasks.examples(tasks.find("mini-nli"), "train", "en")[:100]:
        words = [word.strip(".,?") for word in example.first.split()]  # type: ignore[union-attr]
        found.update({one: [other] for one, other in itertools.pairwise(words)})
    (tmp_path / "words.json").write_text(json.dumps(found))
    return str(tmp_path / "words.json")


def small(method: Robust, **changes: Any) -> Recipe:
    return replace(RECIPE, robust=method, **changes)


@pytest.mark.usefixtures("small_miniature")
class TestTraining:
    @pytest.mark.parametrize("which", ["adversarial", "perturbation", "r3f", "smart", "synonyms"])
    def test_a_stage_that_is_interrupted_ends_in_the_same_bytes(self, which: str, bench: Bench, words: str) -> None:
        fields: dict[str, Any] = {"neighbours": words} if which == "synonyms" else {"epsilon": 0.3}
        mixture = Mixture(("mini-nli", "mini-text"), policy="uniform", languages=("en",))
        stage = bench.stage(mixture, Budget(6, "steps"), small(Robust(which, **fields)))
        whole = bench.train(stage, "whole")
        assert whole.bytes != bench.train(bench.stage(mixture, Budget(6, "steps")), "plain").bytes
        calls = itertools.count()
        with pytest.raises(Interrupted):
            bench.train(stage, "cut", stop=lambda: next(calls) >= 3)
        assert bench.train(stage, "cut").bytes == whole.bytes

    def test_copies_replace_training_rows_and_dev_stays(self, bench: Bench, words: str) -> None:
        stage = bench.stage(
            budget=Budget(1, "epochs"), recipe=small(Robust("synonyms", num_copies=2, neighbours=words))
        )
        plain = bench.stage(budget=Budget(1, "epochs"))
        assert stage.data == plain.data
        done = bench.train(stage)
        assert done.result["tasks"]["mini-nli"]["rows_present"] == 2 * 144
        assert done.result["examples"] == 2 * 144
        model = bench.model(stage)
        parts = [part for part in stage.data if part.split == "train"]
        own = stage.recipe.robust
        assert own is not None
        assert own.neighbours_content
        how = Synonyms(words, own.neighbours_content, 2, stage.seed)
        settings: dict[str, Any] = {"max_tokens": 40, "data_dir": None, "cache_dir": bench.cache_dir}
        copies = tokenised(parts, model.tokenizer, model.tokenizer_key, synonyms=how, **settings)
        rows = bench.rows(stage, model)
        assert copies.targets["label"].tolist() == np.repeat(rows.targets["label"], 2).tolist()
        task = tasks.find("mini-nli")
        given = list(copied(tasks.examples(task, "train", "en"), 0, "mini-nli", how))
        ids = KINDS["classify"].encode(task.kind, given, model.tokenizer, 40)["ids"]
        assert [copies.example(row)[0].tolist() for row in range(len(copies))] == ids
        assert ids != [rows.example(row // 2)[0].tolist() for row in range(2 * len(rows))]

    def test_what_the_neighbours_say_counts_and_their_path_does_not(self, bench: Bench, words: str) -> None:
        def id_of(source: str, seed: int = 0) -> str:
            return bench.stage(recipe=small(Robust("synonyms", neighbours=source)), seed=seed).id

        copy = Path(words).with_name("copy.json")
        copy.write_text(json.dumps(dict(reversed(json.loads(Path(words).read_text()).items()))))
        before = id_of(words)
        assert id_of(str(copy)) == before
        Path(words).write_text(json.dumps({"man": ["boy"]}))
        assert id_of(words) != before

    def test_without_dev_rows_the_rows_themselves_are_measured(
        self, bench: Bench, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = replace(tasks.find("mini-nli"), splits=tasks.Splits(train="train"), rows={"train": 144})
        monkeypatch.setitem(tasks._known, "mini-nli", task)
        recipe = small(Robust("synonyms", num_copies=2, neighbours=words), dev_examples=500)
        dev = bench.train(bench.stage(budget=Budget(2, "steps"), recipe=recipe)).result["tasks"]["mini-nli"]["dev"]
        assert (dev["on"], dev["num_examples"]) == ("train", 144)


def test_a_text_is_no_example_to_copy(near: str) -> None:
    assert list(copied([Text("man")], 0, "t", by(near))) == []
    assert random.Random(0).random() == 0.8444218515250481  # what draws of copies rest on is pinned by Python
