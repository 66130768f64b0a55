"""Dual encoders, mining and search from one pool: against one text at a time, and against brute force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from small import Given, encoded, shaken, small_folders
from xstilts import metrics
from xstilts.engine import retrieval
from xstilts.engine.kinds import embed
from xstilts.engine.lists import refuse_overflow
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.engine.retrieval import Cell, Vectors, _rows, cells, passes
from xstilts.metrics.retrieval import Neighbours
from xstilts.metrics.vectors import centre, remove_language_identity, whiten
from xstilts.recipe import DUAL_POOLINGS, Recipe
from xstilts.scoring import score
from xstilts.stage import Views
from xstilts.tasks import Bitext, Embed, Entry, Mine, Search

CPU = torch.device("cpu")
PAIRS = [
    Bitext("Who left?", "The man left the house.", "It rained. The man left the house."),
    Bitext("Where is the key?", "It lies on the table.", "The key is small. It lies on the table."),
    Bitext("When did it rain?", "It rained on Monday."),
    Bitext("Why?", "Because nobody asked.", "Because nobody asked. That is all."),
]


@pytest.fixture(scope="module")
def folders(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_folders(cache_dir, tmp_path_factory.mktemp("characters"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------ the dual encoder


@pytest.mark.parametrize("name", ["pieces", "characters"])
def test_a_text_with_a_context_is_a_pair(name: str, folders: dict[str, Path]) -> None:
    tokenizer = Model(folders[name]).tokenizer
    columns = embed.encode(Embed(), PAIRS, tokenizer, 24, "q ")
    entries = [Entry(pair.second, str(i), False, "en", context=pair.context) for i, pair in enumerate(PAIRS)]
    single = embed.encode(Search(("en",)), entries, tokenizer, 24, "q ")
    for row, pair in enumerate(PAIRS):
        texts = [(f"q {pair.first}",), (f"q {pair.second}", *([pair.context] if pair.context else []))]
        sides = [tokenizer(*side, truncation=True, max_length=24) for side in texts]
        assert columns["ids"][row] == [*sides[0]["input_ids"], *sides[1]["input_ids"]]
        assert columns["lengths"][row] == [len(side["input_ids"]) for side in sides]
        assert (single["ids"][row], single["lengths"][row]) == (sides[1]["input_ids"], [len(sides[1]["input_ids"])])
        if name == "characters":
            assert columns["types"][row] == [*sides[0]["token_type_ids"], *sides[1]["token_type_ids"]]
            assert (1 in single["types"][row]) == bool(pair.context)
    assert ("types" in columns) == ("types" in single) == (name == "characters")


@pytest.mark.parametrize("pooling", DUAL_POOLINGS)
def test_the_loss_is_a_softmax_over_the_batch_of_scaled_cosines(pooling: str, folders: dict[str, Path]) -> None:
    model = shaken(folders["characters"])
    head = embed.head(Embed(), model.encoder, model.tokenizer, Recipe(dual_pooling=pooling, dual_scale=7.0))
    assert head is not None
    data = encoded(Embed(), PAIRS, model.tokenizer, 60)
    order = [2, 0, 3, 1]
    with torch.no_grad():
        loss = embed.loss(model.encoder, head, collate(data, order, CPU), rng())
        sides: tuple[list[Tensor], list[Tensor]] = ([], [])
        for row in order:
            batch = collate(data, [row], CPU)
            hidden = model.encoder(batch.ids, batch.packing.lengths, batch.types)
            for side, (start, length) in enumerate(zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True)):
                own = hidden[start : start + length]
                if pooling == "pooler":
                    vector = torch.tanh(own[0] @ head.dense.weight.T + head.dense.bias)
                else:
                    vector = {"cls": own[0], "mean": own.mean(0), "mean-no-special": own[1:-1].mean(0)}[pooling]
                sides[side].append(vector / vector.norm())
        scores = 7.0 * torch.stack(sides[0]) @ torch.stack(sides[1]).T
        expected = -scores.log_softmax(1).diagonal().mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_training_reaches_every_weight_and_finds_the_pairs(folders: dict[str, Path]) -> None:
    model = Model(folders["pieces"], Recipe(hidden_dropout=0.0))
    model.add_heads(["lareqa-train"], Recipe(), seed=0)
    head = model.head("lareqa-train")
    data = encoded(Embed(), PAIRS, model.tokenizer, 60)
    batch = collate(data, range(4), CPU)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = embed.loss(model.encoder, head, batch, rng())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (*head.parameters(), *model.encoder.parameters()))
    assert head.scale.item() != 100
    with torch.no_grad():
        columns = {name: values.numpy() for name, values in embed.decode(model.encoder, head, batch).items()}
    assert embed.dev_score(columns) == {"accuracy": 1.0, "chance": 0.25, "collapsed": False}


def test_a_dual_encoder_that_finds_no_more_than_chance_collapsed() -> None:
    same = np.ones((100, 2, 4), dtype=np.float32) / 2
    assert embed.dev_score({"vectors": same}) == {"accuracy": 0.01, "chance": 0.01, "collapsed": True}
    apart = np.repeat(np.eye(100, dtype=np.float32)[:, None], 2, axis=1)
    assert embed.dev_score({"vectors": apart})["collapsed"] is False


def test_a_saved_dual_encoder_is_read_by_the_recipe_that_shaped_it(folders: dict[str, Path], tmp_path: Path) -> None:
    recipe = Recipe(dual_pooling="mean", dual_scale=20.0)
    model = Model(folders["pieces"])
    model.add_heads(["lareqa-train"], recipe, seed=0)
    model.save(tmp_path)
    head = Model.load_trained(tmp_path, recipe).head("lareqa-train")
    assert (head.pooling, head.scale.item(), len(list(head.parameters()))) == ("mean", 20, 1)


# ------------------------------------------------------------ which vectors


def test_cells_are_layers_under_poolings_and_the_pooler_is_of_the_last() -> None:
    views = Views(poolings=("mean", "pooler", "mean/lir"), layers=(-1, 0))
    assert cells(views, 3) == [Cell(0, "mean"), Cell(0, "mean/lir"), *(Cell(3, name) for name in views.poolings)]
    assert len(cells(Views(), 12)) == 13 * 3
    with pytest.raises(ValueError, match="hidden states 0 to 3"):
        cells(Views(layers=(4,)), 3)


@pytest.mark.parametrize(
    "wrong", ["mean/lir-1", "mean/lir-0", "mean/lir-02", "mean/centred-2", "mean/whitend", "mean/"]
)
def test_a_transform_is_refused_by_its_name(wrong: str) -> None:
    name = wrong.partition("/")[2]
    with pytest.raises(ValueError, match=f"unknown transform of a pooling '{name}': expected one of centred, lir, whi"):
        Views(poolings=(wrong,))


def test_vectors_are_of_the_texts_in_their_order_and_a_transform_is_of_each_language(folders: dict[str, Path]) -> None:
    model = shaken(folders["characters"])
    data = encoded(Embed(), PAIRS, model.tokenizer, 60)
    transforms = ("mean/centred", "mean/lir", "mean/lir-3", "mean/whitened")
    views = Views(poolings=("mean", *transforms, "cls"), layers=(1, 2))
    batches = [(np.array(rows), collate(data, rows, CPU)) for rows in ([3, 0], [2], [1])]
    with torch.no_grad():
        found = Vectors(model, None, cells(views, 2), batches, 8, CPU)
    sides = [np.arange(0, 8, 2), np.arange(1, 8, 2)]
    for cell in found.cells:
        plain = []
        for row in range(4):
            batch = collate(data, [row], CPU)
            with torch.no_grad():
                plain.append(embed.vectors(model.encoder, None, batch, [cell.plain])[:, 0])
        for side, (own, group) in enumerate(zip(found.of(cell, sides, sides), sides, strict=True)):
            texts = torch.stack([pair[side] for pair in plain]).numpy()
            expected = {
                "mean/centred": lambda of=texts: centre(of),
                "mean/lir": lambda of=texts: remove_language_identity(of, of),
                "mean/lir-3": lambda of=texts: remove_language_identity(of, of, num_components=3),
                "mean/whitened": lambda of=texts: whiten(of),
            }.get(cell.pooling, lambda of=texts: of)()
            np.testing.assert_allclose(own.numpy(), expected, atol=1e-5)
            assert len(group) == len(own)


def test_vectors_that_do_not_fit_together_are_made_in_several_passes() -> None:
    wanted = cells(Views(poolings=("mean", "mean/lir", "cls"), layers=(0, 1)), 2)
    one = 4 * 100 * 16  # bytes of a layer and pooling
    assert passes(wanted, 100, 16, CPU) == [wanted]
    assert passes(wanted, 100, 16, CPU, 2 * 4 * one) == [wanted]
    assert passes(wanted, 100, 16, CPU, 2 * 4 * one - 1) == [wanted[:5], wanted[5:]]
    assert passes(wanted, 100, 16, CPU, 2 * one) == [wanted[:2], wanted[2:3], wanted[3:5], wanted[5:]]
    with pytest.raises(ValueError, match=r"100 texts need .* expected at most half of"):
        passes(wanted, 100, 16, CPU, 2 * one - 1)
    with pytest.raises(ValueError, match="GiB for one layer and pooling alone"):
        passes(wanted, 10**12, 16, CPU)


def test_states_that_are_not_finite_are_refused(folders: dict[str, Path]) -> None:
    model = Model(folders["characters"])
    data = encoded(Embed(), PAIRS, model.tokenizer, 60)
    batches = [(np.arange(4), collate(data, range(4), CPU))]
    for bad in (torch.nan, torch.inf):
        with torch.no_grad():
            model.encoder.model.encoder.layer[1].output.dense.bias[3] = bad
        with torch.no_grad(), pytest.raises(FloatingPointError, match="the encoder's states are not finite"):
            Vectors(model, None, [Cell(0, "mean"), Cell(2, "cls")], batches, 8, CPU)
    for values in (torch.tensor([1.0, torch.inf]), np.array([torch.nan, 1]), [np.array([1.0]), np.array([-torch.inf])]):
        with pytest.raises(FloatingPointError, match="not finite"):
            refuse_overflow(values, "these")
    refuse_overflow(np.zeros((0, 3)), "no values")


def test_positions_of_equal_distance_are_a_view() -> None:
    matrix = torch.arange(24.0).view(12, 2)
    for positions in ([3, 4, 5], [1, 5, 9], [11], [4, 2, 0], [1, 2, 4], [7, 7, 7], []):
        of = _rows(matrix, np.array(positions, dtype=np.int64))
        assert torch.equal(of, matrix[positions])
        shared = len(positions) > 1 and positions in ([3, 4, 5], [1, 5, 9])
        assert (of.untyped_storage().data_ptr() == matrix.untyped_storage().data_ptr()) == shared


# ------------------------------------------------------------ measurements of given vectors


def cosines(one: Tensor, two: Tensor) -> np.ndarray:
    a, b = (nn.functional.normalize(x.double(), dim=1).numpy() for x in (one, two))
    return a @ b.T


def test_search_is_brute_force_with_languages() -> None:
    generator = np.random.default_rng(0)
    codes = ["de", "en", "zh"]
    entries = [Entry(f"c{i}", f"c{i}", False, codes[i % 3]) for i in range(40)]
    for i in range(21):
        golds = tuple(f"c{j}" for j in generator.choice(40, size=1 + i % 3, replace=False))
        entries.insert(int(generator.integers(len(entries))), Entry(f"q{i}", f"q{i}", True, codes[i % 3], golds))
    values = torch.randn(len(entries), 6, generator=rng(3))
    table = retrieval.search(Given(values, "mean", "mean/centred"), entries, 20)
    document = score(table, "search", "map")["values"]
    asks = [i for i, entry in enumerate(entries) if entry.is_query]
    pool = [i for i, entry in enumerate(entries) if not entry.is_query]
    number = {entries[at].id: n for n, at in enumerate(pool)}
    for pooling in ("mean", "mean/centred"):
        used = values.clone()
        if pooling == "mean/centred":
            for code in codes:
                own = [i for i, entry in enumerate(entries) if entry.language == code]
                used[own] = values[own] - values[own].mean(0)
        similarity = cosines(used[asks], used[pool])
        order = np.argsort(-similarity, axis=1)[:, :20]
        rows = table.filter(pa.compute.equal(table["pooling"], pooling))
        assert rows["neighbours"].to_pylist() == order.tolist()
        np.testing.assert_allclose(
            rows["similarities"].to_pylist(), np.take_along_axis(similarity, order, 1), atol=1e-6
        )
        for code in codes:
            mine = [n for n, at in enumerate(asks) if entries[at].language == code]
            golds = [[number[gold] for gold in entries[asks[n]].golds] for n in mine]
            found = Neighbours(order[mine], np.take_along_axis(similarity, order, 1)[mine])
            expected = metrics.retrieval.mean_average_precision(*found, golds, [code] * len(mine))
            languages = [entries[at].language for at in pool]
            bias = metrics.retrieval.language_bias(*found, golds, [code] * len(mine), languages)
            (cell,) = (v for v in document if (v["pooling"], v["language"]) == (pooling, code))
            assert cell["value"] == pytest.approx(expected.value)
            assert {name: cell[name] for name in bias._fields} == pytest.approx(bias._asdict())
            assert (cell["layer"], cell["direction"], cell["num_examples"]) == (2, "query->pool", len(mine))


def test_a_search_for_one_right_candidate_is_scored_by_its_rank() -> None:
    entries = [Entry(f"c{i}", f"c{i}", False, "en") for i in range(25)]
    entries += [Entry("q", "q", True, code, (gold,)) for code, gold in (("de", "c0"), ("de", "c1"), ("fi", "c24"))]
    line = torch.stack([torch.tensor([1.0, i / 10]) for i in range(25)])
    table = retrieval.search(Given(torch.cat([line, line[[0, 0, 0]]]), "mean"), entries, 20)
    values = {cell["language"]: cell["value"] for cell in score(table, "search", "mrr")["values"]}
    assert values == {"de": pytest.approx((1 + 1 / 2) / 2), "fi": 0}
    with pytest.raises(ValueError, match="the right candidate 'c99', which is not there"):
        retrieval.search(Given(line, "mean"), [*entries[:24], Entry("q", "q", True, "de", ("c99",))], 20)


def side(texts: str, queries: bool, golds: dict[str, str] | None = None) -> list[Entry]:
    """An entry for each letter, the n-th of which has the id n."""
    found = golds or {}
    return [
        Entry(text, str(n), queries, "de" if queries else "en", tuple(found.get(str(n), "")))
        for n, text in enumerate(texts)
    ]


def test_mining_extracts_by_the_threshold_of_dev() -> None:
    """The same letter is the same vector, any two others are nearly at right angles."""
    dev = [*side("abcx", True, {"0": "0", "1": "1", "2": "2"}), *side("abcy", False)]
    test = [*side("defz", True, {"0": "0", "1": "1"}), *side("deuv", False)]
    places = dict(zip("abcdefuvxyz", torch.eye(11) + 0.2 + 0.05 * torch.rand(11, 11, generator=rng()), strict=True))
    vectors = Given(torch.stack([places[entry.text] for entry in (*dev, *test)]), "mean")
    table = retrieval.mining(vectors, [("dev", dev), ("test", test)], 8)
    (found,) = score(table, "mine", "f1")["values"]
    assert (found["layer"], found["pooling"], found["direction"]) == (2, "mean", "both")
    sides = []
    for entries in (dev, test):
        asks, pool = ([e for e in entries if e.is_query == queries] for queries in (True, False))
        near = cosines(*(torch.stack([places[e.text] for e in x]) for x in (asks, pool)))
        gold = [(int(e.id), int(right)) for e in asks for right in e.golds]
        both = (near, near.T)
        ranked = [np.argsort(-one, axis=1, kind="stable") for one in both]
        sides.append(
            metrics.mining.Sides(
                *(Neighbours(r, np.take_along_axis(one, r, 1)) for r, one in zip(ranked, both, strict=True)),
                gold,
                [1] * len(asks),
                [1] * len(pool),
            )
        )
    expected = metrics.mining.mining_f1(*sides)
    assert {name: found[name] for name in expected._fields} == pytest.approx(expected._asdict(), abs=1e-6)
    assert found["dev_f1"] == 1
    assert (found["num_examples"], found["num_correct"]) == (2, 2)


def test_the_threshold_of_dev_may_cost_pairs_of_test() -> None:
    """By hand: dev's right pair scores 1.0 and its wrong one 0.9; of test's two right pairs one reaches 0.95."""

    def sides(near: list[float], gold: list[tuple[int, int]]) -> metrics.mining.Sides:
        found = Neighbours([[i] for i in range(len(near))], [[one] for one in near])
        return metrics.mining.Sides(found, found, gold, [1] * len(near), [1] * len(near))

    dev, test = sides([1.0, 0.9], [(0, 0)]), sides([0.97, 0.8], [(0, 0), (1, 1)])
    found = metrics.mining.mining_f1(dev, test, margin="absolute", k=1)
    assert found.threshold == pytest.approx(0.95)
    assert (found.precision, found.recall, found.f1, found.dev_f1) == (1, 0.5, pytest.approx(2 / 3), 1)
    assert metrics.mining.mining_f1(test, test, margin="absolute", k=1).f1 == 1


def test_a_text_of_two_ids_is_searched_once_and_never_extracted() -> None:
    """Its gold pairs count as missed, as in the official scorer."""
    dev = [*side("ab", True, {"0": "0", "1": "1"}), *side("ab", False)]
    test = [*side("aab", True, {"0": "0", "2": "1"}), *side("ab", False)]
    eye = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    values = torch.tensor([eye[entry.text] for entry in (*dev, *test)])
    table = retrieval.mining(Given(values, "mean"), [("dev", dev), ("test", test)], 8)
    asked = table.filter(pa.compute.equal(table["split"], "test")).to_pylist()
    assert [(row["num_ids"], row["golds"]) for row in asked if row["direction"] == "xx->en"] == [(2, [-1]), (1, [1])]
    (found,) = score(table, "mine", "f1")["values"]
    assert (found["num_examples"], found["num_extracted"], found["num_correct"]) == (2, 1, 1)
    assert (found["precision"], found["recall"]) == (1, 0.5)


def test_mining_lacks_nothing() -> None:
    dev = [*side("ab", True, {"0": "0"}), *side("ab", False)]
    values = torch.randn(8, 3, generator=rng())
    table = retrieval.mining(Given(values, "mean"), [("dev", dev), ("test", dev)], 8)
    for name, lost in (("split", "dev"), ("direction", "en->xx")):
        part = table.filter(pa.compute.not_equal(table[name], lost))
        with pytest.raises(ValueError, match="layer 2, mean: expected dev and test in both directions"):
            score(part, "mine", "f1")
    with pytest.raises(ValueError, match="the query '0' has the right candidate '9', which is not there"):
        retrieval.mining(Given(values, "mean"), [("dev", [*side("a", True, {"0": "9"}), *side("a", False)])], 8)


@pytest.mark.parametrize("metric", ["csls", "ratio-margin"])
def test_margin_retrieval_reads_both_directions(metric: str) -> None:
    values = torch.rand(60, 9, generator=rng(7))  # positive neighbourhoods
    values[1::2] = values[::2] + 0.4 * torch.randn(30, 9, generator=rng(8))
    table = retrieval.bitext(Given(values, "mean"), 30, 8)
    foreign, english = values[::2], values[1::2]
    for direction, one, two in (("xx->en", foreign, english), ("en->xx", english, foreign)):
        near = cosines(one, two)
        own, other = (np.sort(m, axis=1)[:, -4:].mean(1) for m in (near, near.T))
        margin = 2 * near - own[:, None] - other if metric == "csls" else near / ((own[:, None] + other) / 2)
        among = near >= np.sort(near, axis=1)[:, -4:-3]
        best = np.where(among, margin, -np.inf).argmax(1)
        (cell,) = (v for v in score(table, "embed", metric)["values"] if v["direction"] == direction)
        assert cell["value"] == np.mean(best == np.arange(30))
        assert 0.03 < cell["value"] < 1
    with pytest.raises(ValueError, match="a margin needs both directions"):
        score(table.filter(pa.compute.equal(table["direction"], "en->xx")), "embed", metric)


def test_search_and_mine_kinds_are_not_trained(folders: dict[str, Path]) -> None:
    for name in ("lareqa", "bucc"):
        with pytest.raises(ValueError, match="measured, not trained on"):
            Model(folders["pieces"]).add_heads([name], Recipe(), seed=0)
    kinds: Sequence[Any] = (Mine(), Search(("de",)))
    assert [embed.head(kind, None, None, Recipe()) for kind in kinds] == [None, None]
