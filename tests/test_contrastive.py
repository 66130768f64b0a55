"""Contrastive training: which triples are made of inference rows, and SimCSE's loss by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from small import CPU, TINY, encoded, shaken, small_folders
from xstilts import tasks
from xstilts.engine import Context, encoder_folder, perform
from xstilts.engine.kinds import embed
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.engine.show import show
from xstilts.recipe import Recipe
from xstilts.stage import Evaluate, Views
from xstilts.study import Sources, make_plan
from xstilts.tasks import Bitext, Embed, examples, find
from xstilts.tasks.contrastive import triples_by_hypothesis, triples_by_premise
from xstilts.tasks.readers import Row

TRIPLES = [
    Bitext("a man eats", "somebody eats", negative="nobody eats"),
    Bitext("two dogs run", "dogs run", negative="the dogs sleep"),
    Bitext("it rains", "the weather is wet", negative="the sun shines"),
]


def rows(*given: str) -> list[Row]:
    """Inference rows of words ``premise hypothesis label``, where the label is its first letter."""
    labels = {"e": "entailment", "n": "neutral", "c": "contradiction"}
    split = [words.split() for words in given]
    return [
        Row({"premise": p, "hypothesis": h, "label": labels[label]}, "file", n)
        for n, (p, h, label) in enumerate(split, 1)
    ]


def test_triples_are_every_entailment_with_the_contradictions_in_turn() -> None:
    given = rows("a 1 c", "b 2 e", "a 3 e", "c 4 e", "a 5 e", "a 6 n", "c 7 n", "a 8 c", "a 9 e", "b 0 c")
    found = list(triples_by_premise(given))
    expected = [("a", "3", "1"), ("a", "5", "8"), ("a", "9", "1"), ("b", "2", "0")]
    assert [(row["anchor"], row["positive"], row["negative"]) for row in found] == expected
    assert [row.line for row in found] == [3, 5, 9, 2], "a row is where its positive is"
    turned = [Row({**row, "premise": row["hypothesis"], "hypothesis": row["premise"]}, "f", row.line) for row in given]
    assert [dict(row) for row in triples_by_hypothesis(turned)] == [dict(row) for row in found]


def test_the_miniature_has_a_triple_for_every_hypothesis() -> None:
    plain = examples(find("mini-nli"), "train", "en")
    made = examples(find("mini-nli-triples"), "train", "en")
    assert len(made) * 3 == len(plain)
    labels = {(pair.first, pair.second): pair.label for pair in plain}
    for triple in made:
        assert labels[triple.second, triple.first] == "entailment"
        assert labels[triple.negative, triple.first] == "contradiction"


def test_what_rows_go_through_is_part_of_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("mini-nli-triples")
    contents = {
        tasks.content(replace(task, source=replace(task.source, **changes)), "train", "en")
        for changes in ({}, {"each": 4}, {"through": triples_by_premise}, {"seed": 1})
    }
    assert len(contents) == 4


@pytest.mark.parametrize("with_negatives", [True, False])
def test_the_loss_is_simcse_by_hand(with_negatives: bool) -> None:
    """Gao et al. 2021, equation 5: -log of e^(sim+/t) over the sum over all positives and hard negatives."""
    angles = {"anchor": (0, 25, 50), "positive": (10, 30, 80), "negative": (5, 40, 60)}
    names = [*angles][: 3 if with_negatives else 2]
    points = [
        [math.cos(math.radians(angles[name][i])), math.sin(math.radians(angles[name][i]))]
        for i in range(3)
        for name in names
    ]
    lengths = [5.0, 0.1, 2.0]  # of vectors, which must not count
    hidden = (
        torch.tensor(points, dtype=torch.float64) * torch.tensor([lengths[n % 3] for n in range(len(points))])[:, None]
    )
    head = embed.Head(2, "cls", scale=20.0)
    targets = {"negative": torch.ones(3)} if with_negatives else {}
    batch = SimpleNamespace(
        ids=None,
        packing=None,
        types=None,
        starts=torch.arange(len(points)),
        num_examples=3,
        targets=targets,
        shared=None,
    )
    found = embed.loss(lambda *_: hidden, head, batch, torch.Generator())
    terms = []
    for i in range(3):
        among = [angles[name][j] for name in names[1:] for j in range(3)]
        scores = [math.cos(math.radians(angles["anchor"][i] - angle)) / 0.05 for angle in among]
        terms.append(math.log(sum(map(math.exp, scores))) - scores[i])
    assert found.item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    assert torch.equal(
        embed.decode(lambda *_: hidden, head, batch)["vectors"],
        embed._sides(lambda *_: hidden, head, batch)[:, :2].float(),
    )


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])


def test_negatives_are_third_sequences_with_the_texts_in_their_place(model: Model) -> None:
    data = encoded(Embed(), TRIPLES, model.tokenizer, 60)
    assert data.num_sequences.tolist() == [3, 3, 3]
    batch = collate(data, [2, 0], CPU)
    head = embed.Head(model.encoder.hidden_size, "mean", 20.0)
    with torch.no_grad():
        found = embed._sides(model.encoder, head, batch)
        for number, row in enumerate((2, 0)):
            texts = [TRIPLES[row].first, TRIPLES[row].second, TRIPLES[row].negative]
            for side, text in enumerate(texts):
                (alone,) = embed._sides(
                    model.encoder, head, collate(encoded(Embed(), [Bitext(text, text)], model.tokenizer, 60), [0], CPU)
                )
                torch.testing.assert_close(found[number, side], alone[0], atol=1e-5, rtol=0)
    names = [part["name"] for part in show(Embed(), TRIPLES[:1], model.tokenizer, 60)[0]["sequences"]]
    assert names == ["first", "second", "negative"]


def test_some_examples_with_a_negative_and_some_without_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match=r"a hard negative in every example or in none, got Bitext\(first='x'"):
        embed.encode(Embed(), [*TRIPLES, Bitext("x", "y")], model.tokenizer, 60)


def test_the_same_sentence_twice_differs_by_dropout_alone(model: Model) -> None:
    (example, *_) = examples(find("mini-sentences"), "train", "en")
    assert example.first == example.second
    head = embed.head(Embed(), model.encoder, model.tokenizer, Recipe(dual_pooling="cls", dual_scale=20))
    batch = collate(
        encoded(Embed(), examples(find("mini-sentences"), "train", "en")[:4], model.tokenizer, 90), range(4), CPU
    )
    with torch.no_grad():
        one, two = embed._sides(model.encoder.eval(), head, batch).unbind(1)
        assert torch.allclose(one, two, atol=1e-5)
        one, two = embed._sides(model.encoder.train(), head, batch).unbind(1)
    model.encoder.eval()
    assert ((one * two).sum(1) < 0.999).all()


def test_triples_can_be_measured(cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sides of a task with negatives are found among three sequences an example."""
    small = replace(find("mini-nli-triples"), rows={"train": 20, "dev": 15})
    monkeypatch.setitem(tasks._known, small.name, small)
    views = Views(("mean",), layers=(-1,))
    plan = make_plan("t", [Evaluate(TINY, small.name, "en", "dev", views)], Sources(None, cache_dir))
    context = Context(inputs={}, work=tmp_path, data_dir=None, cache_dir=cache_dir)
    leaf = plan.stages[plan.leaves[0]]
    assert isinstance(leaf, Evaluate)
    perform(leaf, tmp_path, context)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.num_rows == 2 * 15
    assert set(table["gold"].to_pylist()) == set(range(15))
    given = examples(small, "dev", "en")
    model = Model(encoder_folder(leaf.model, context)).eval()
    data = encoded(Embed(), given, model.tokenizer, 128)
    with torch.no_grad():
        sides = embed._sides(model.encoder, embed.Head(16, "mean", 1.0), collate(data, range(15), CPU))
    cosines = sides[:, 0] @ sides[:, 1].T
    found = table.filter(pc.equal(table["direction"], "xx->en"))
    for query, (near, similarities) in enumerate(
        zip(found["neighbours"].to_pylist(), found["similarities"].to_pylist(), strict=True)
    ):
        np.testing.assert_allclose(similarities, cosines[query, near], atol=1e-5)
        np.testing.assert_allclose(similarities, cosines[query].sort(descending=True).values[:8], atol=1e-5)
