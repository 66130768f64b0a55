"""Kinds: encode, loss and decode against one sequence at a time in plain transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models
from torch import Tensor, nn
from transformers import AutoModel

from small import SPECIAL, bert_folder
from xstilts.engine import Context, encoder_folder
from xstilts.engine.data import Tokenised
from xstilts.engine.kinds import KINDS, classify, embed, mlm
from xstilts.engine.model import Model
from xstilts.engine.packing import Batch, collate
from xstilts.recipe import STILTS
from xstilts.stage import Encoder, Tiny
from xstilts.tasks import Bitext, Classify, Embed, MaskedLM, Pair, Text, examples, find

CPU = torch.device("cpu")
LABELS = Classify(("yes", "no", "maybe"))
PAIRS = [
    Pair("A man walks.", "Somebody moves, and it is a man who does so.", "yes"),
    Pair("Two children are reading a book in the kitchen.", "They sleep.", "no"),
    Pair("The old bridge was closed on Monday.", "The old bridge was open on Sunday.", "maybe"),
    Pair("It rains.", "It rains.", "yes"),
    Pair("Nobody came to the station that evening, not even the driver.", "", "no"),
]
TEXTS = [Text(pair.first) for pair in PAIRS] + [Text("Der Zug kommt heute nicht."), Text("Сегодня идёт дождь.")]


def words_folder(folder: Path) -> Path:
    """A tiny BERT whose pieces are the words of `PAIRS`."""
    words = sorted({word for pair in PAIRS for text in (pair.first, pair.second) for word in text.lower().split()})
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *words])}
    return bert_folder(folder, models.WordLevel(vocabulary, unk_token="[UNK]"), 64)


@pytest.fixture(scope="module")
def folders(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Hugging Face folders of a tiny XLM-R and a tiny BERT."""
    tiny = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
    context = Context(inputs={}, work=cache_dir, data_dir=None, cache_dir=cache_dir)
    return {
        "xlm-roberta": encoder_folder(tiny, context),
        "bert": words_folder(tmp_path_factory.mktemp("bert") / "encoder"),
    }


@pytest.fixture(params=["xlm-roberta", "bert"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def model(folder: Path) -> Model:
    """A model in evaluation mode whose weights, norms and biases are all far from their initial values."""
    made = Model(folder).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.15)
    return made


def plain(model: Model, folder: Path) -> Any:
    """The same weights in a model of transformers' own, without packing."""
    theirs = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    theirs.load_state_dict(model.encoder.model.state_dict())
    return theirs


def randomise(head: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return head.eval()


def table_of(columns: dict[str, list[Any]]) -> Tokenised:
    types = {"ids": pa.list_(pa.int32()), "types": pa.list_(pa.int8()), "lengths": pa.list_(pa.int32())}
    types["begins"] = pa.list_(pa.int8())
    return Tokenised(pa.table({name: pa.array(v, types.get(name, pa.int64())) for name, v in columns.items()}))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_kind_has_every_function() -> None:
    assert set(KINDS) == {"classify", "embed", "mine", "search", "mlm", "tag", "span", "choose"}
    for kind in KINDS.values():
        own = ("vectors", "neighbours") if kind is embed else ("table",)
        functions = ("encode", "head", "loss", "decode", "dev_score", *own)
        assert all(callable(getattr(kind, function)) for function in functions)


# -------------------------------------------------------------------------------------------------- classify


def test_classify_encodes_as_the_tokenizer_does(folder: Path) -> None:
    tokenizer = Model(folder).tokenizer
    columns = classify.encode(LABELS, PAIRS, tokenizer, 60, "")
    expected = [tokenizer([pair.first], [pair.second]) for pair in PAIRS]
    assert columns["ids"] == [one["input_ids"][0] for one in expected]
    assert columns["lengths"] == [[len(one["input_ids"][0])] for one in expected]
    assert columns["label"] == [0, 1, 2, 0, 1]
    if "token_type_ids" in tokenizer.model_input_names:
        assert columns["types"] == [one["token_type_ids"][0] for one in expected]
        assert {0, 1} == {type for types in columns["types"] for type in types}
    else:
        assert "types" not in columns


@settings(deadline=None, max_examples=40)
@given(first=st.integers(0, 20), second=st.integers(0, 20), max_tokens=st.integers(8, 30))
def test_the_longer_segment_is_truncated_from_its_end(
    folders: dict[str, Path], first: int, second: int, max_tokens: int
) -> None:
    tokenizer = _tokenizer(folders["bert"])
    words = [word for word in tokenizer.get_vocab() if not word.startswith("[")]
    one, two = words[:first], words[-second:] if second else []
    columns = classify.encode(LABELS, [Pair(" ".join(one), " ".join(two), "no")], tokenizer, max_tokens, "")
    found = tokenizer.convert_ids_to_tokens(columns["ids"][0])
    assert found[0] == "[CLS]"
    assert found[-1] == "[SEP]"
    cut = found.index("[SEP]")
    kept_one, kept_two = found[1:cut], found[cut + 1 : -1]
    room = max_tokens - 3
    assert kept_one == one[: len(kept_one)]  # both lose tokens from the end
    assert kept_two == two[: len(kept_two)]
    assert len(kept_one) + len(kept_two) == min(room, first + second)
    if first + second > room:
        shorter, kept_shorter, kept_longer = min(
            (first, len(kept_one), len(kept_two)), (second, len(kept_two), len(kept_one))
        )
        if shorter <= room // 2:
            assert kept_shorter == shorter, "the shorter segment lost tokens while the longer had more"
        else:
            assert abs(kept_shorter - kept_longer) <= 1


_tokenizers: dict[Path, Any] = {}


def _tokenizer(folder: Path) -> Any:
    return _tokenizers.setdefault(folder, Model(folder).tokenizer)


def test_classify_is_the_plain_computation(model: Model, folder: Path) -> None:
    columns = classify.encode(LABELS, PAIRS, model.tokenizer, 20, "")
    head = randomise(classify.head(LABELS, model.encoder, model.tokenizer, STILTS))
    rows = [3, 0, 4, 1]
    batch = collate(table_of(columns), rows, CPU)
    theirs = plain(model, folder)
    with torch.no_grad():
        loss = classify.loss(model.encoder, head, batch, rng())
        found = classify.decode(model.encoder, head, batch)
        expected = []
        for row in rows:
            inputs = {"input_ids": torch.tensor([columns["ids"][row]])}
            if "types" in columns:
                inputs["token_type_ids"] = torch.tensor([columns["types"][row]])
            first = theirs(**inputs).last_hidden_state[0, 0]
            hidden = torch.tanh(head.dense.weight @ first + head.dense.bias)
            expected.append(head.projection.weight @ hidden + head.projection.bias)
        logits = torch.stack(expected)
        padded = model.tokenizer.pad(
            [{k: columns[c][row] for c, k in NAMES.items() if c in columns} for row in rows], return_tensors="pt"
        )
        together = theirs(**padded).last_hidden_state[:, 0]
    labels = torch.tensor([columns["label"][row] for row in rows])
    torch.testing.assert_close(found["scores"], logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["scores"], head.projection(torch.tanh(head.dense(together))), atol=1e-5, rtol=1e-5)
    nll = [-math.log(torch.softmax(row.double(), 0)[label]) for row, label in zip(logits, labels, strict=True)]
    assert float(loss) == pytest.approx(sum(nll) / len(nll), abs=1e-5)
    assert found["gold"].tolist() == labels.tolist()
    assert logits.std(0).min() > 0.01, "the test should tell one example from another"


NAMES = {"ids": "input_ids", "types": "token_type_ids"}


def test_token_types_reach_the_encoder(folders: dict[str, Path]) -> None:
    model = Model(folders["bert"]).eval()
    columns = classify.encode(LABELS, PAIRS, model.tokenizer, 20, "")
    head = classify.head(LABELS, model.encoder, model.tokenizer, STILTS).eval()
    batch = collate(table_of(columns), [0, 1], CPU)
    with torch.no_grad():
        with_types = classify.decode(model.encoder, head, batch)["scores"]
        without = classify.decode(model.encoder, head, replace(batch, types=None))["scores"]
    assert (with_types - without).abs().max() > 1e-4


def test_the_heads_dropout_is_the_recipes(folders: dict[str, Path]) -> None:
    model = Model(folders["xlm-roberta"])
    rates = {
        rate: classify.head(LABELS, model.encoder, model.tokenizer, replace(STILTS, hidden_dropout=rate)).dropout.p
        for rate in (None, 0.0, 0.3)
    }
    assert rates == {None: 0.1, 0.0: 0.0, 0.3: 0.3}
    head = classify.Head(64, 3, dropout=0.5)
    first = torch.ones(4, 64)
    assert not torch.equal(head(first), head(first))
    head.eval()
    assert torch.equal(head(first), head(first))


def test_the_classify_table_names_the_labels() -> None:
    scores = np.array([[0.1, 0.2, 0.3], [5, 1, 2]], dtype=np.float32)
    table = classify.table(LABELS, {"scores": scores, "gold": np.array([2, 1])})
    assert table["row"].to_pylist() == [0, 1]
    assert table["gold"].to_pylist() == ["maybe", "no"]
    assert table["prediction"].to_pylist() == ["maybe", "yes"]
    assert table["scores"].to_pylist() == scores.tolist()


# ------------------------------------------------------------------------------------------------------- mlm


def packed_row(lengths: Sequence[int], num_ids: int = 1000) -> Batch:
    columns = {
        "ids": [torch.randint(5, num_ids, (n,), generator=rng(n + i)).tolist() for i, n in enumerate(lengths)],
        "lengths": [[n] for n in lengths],
    }
    return collate(table_of(columns), range(len(lengths)), CPU)


def test_masking_follows_bert() -> None:
    num_ids, mask_id = 10**6, 4
    batch = packed_row([20, 3, 50, 7] * 1000)
    ids, labels = mlm.mask(batch, mask_id=mask_id, num_ids=num_ids, probability=0.15, rng=rng(1))
    chosen = labels != mlm.IGNORED
    edge = torch.zeros_like(chosen)
    edge[batch.starts] = True
    edge[batch.starts + batch.lengths - 1] = True
    assert int(edge.sum()) == 8000
    assert not (chosen & edge).any(), "a special token was chosen"
    assert torch.equal(labels[chosen], batch.ids[chosen])
    assert torch.equal(ids[~chosen], batch.ids[~chosen])

    def within(count: Tensor, total: Tensor, share: float) -> bool:
        n = int(total.sum())
        return abs(int(count.sum()) - n * share) < 5 * math.sqrt(n * share * (1 - share))

    assert within(chosen, ~edge, 0.15)
    became_mask, stayed = chosen & (ids == mask_id), chosen & (ids == batch.ids)
    other = chosen & ~became_mask & ~stayed
    assert within(became_mask, chosen, 0.8)
    assert within(stayed, chosen, 0.1)
    assert within(other, chosen, 0.1)
    drawn = ids[other].double()
    assert abs(drawn.mean() / num_ids - 0.5) < 5 / math.sqrt(12 * len(drawn))
    assert 0 <= drawn.min() <= drawn.max() < num_ids


def test_words_are_masked_as_a_whole_and_no_more_often() -> None:
    """Against a loop over the words of every sequence; the draws are those of masking by tokens."""
    num_ids, mask_id, generator = 10**6, 4, np.random.default_rng(3)
    sizes = [[1, *generator.choice([1, 1, 2, 3, 7], size=12).tolist(), 1] for _ in range(3000)]  # words, special tokens
    ids = [generator.integers(5, num_ids, sum(words)).tolist() for words in sizes]
    begins = [[int(at == 0) for size in words for at in range(size)] for words in sizes]
    batch = collate(table_of({"ids": ids, "lengths": [[len(row)] for row in ids], "begins": begins}), range(3000), CPU)
    settings = {"mask_id": mask_id, "num_ids": num_ids, "probability": 0.15}
    found, labels = mlm.mask(batch, **settings, rng=rng(1), whole_words=True)
    draws = torch.rand(batch.num_tokens, generator=rng(1))
    expected = torch.zeros(batch.num_tokens, dtype=torch.bool)
    for start, words in zip(batch.starts.tolist(), sizes, strict=True):
        at = start + 1
        for size in words[1:-1]:
            expected[at : at + size] = bool(draws[at] < 0.15)
            at += size
    chosen = labels != mlm.IGNORED
    assert torch.equal(chosen, expected)
    assert torch.equal(labels[chosen], batch.ids[chosen])
    inner = batch.num_tokens - 6000
    assert abs(int(chosen.sum()) / inner - 0.15) < 0.005, "a token is chosen as often as by itself"
    for share, which in ((0.8, found == mask_id), (0.1, found == batch.ids)):
        assert abs(int((chosen & which).sum()) / int(chosen.sum()) - share) < 0.01
    plain, _ = mlm.mask(batch, **settings, rng=rng(1))
    assert not torch.equal(plain, found)


def test_a_word_begins_where_the_tokenizer_says_unless_it_is_text_without_spaces(folders: dict[str, Path]) -> None:
    assert mlm.word_starts([None, 0, 0, 1, 2, 2, 2, None]) == [1, 1, 0, 1, 1, 0, 0, 1]
    assert mlm.word_starts([0] * 8 + [1] * 9 + [None]) == [1] + [0] * 7 + [1] * 9 + [1]
    tokenizer = _tokenizer(folders["xlm-roberta"])
    columns = mlm.encode(MaskedLM(), [Text("The trains are coming, Omar.")], tokenizer, 60)
    pieces = tokenizer.convert_ids_to_tokens(columns["ids"][0])
    words: list[str] = []
    for piece, begins in zip(pieces, columns["begins"][0], strict=True):
        words = [*words, piece] if begins else [*words[:-1], words[-1] + piece]
    assert words == ["<s>", "▁The", "▁trains", "▁are", "▁coming", ",", "▁Omar", ".", "</s>"]


def test_masking_is_a_function_of_the_seed() -> None:
    batch = packed_row([40, 30, 20])
    one, again, other = (
        mlm.mask(batch, mask_id=4, num_ids=1000, probability=0.15, rng=rng(seed)) for seed in (7, 7, 8)
    )
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[1], other[1])
    before = batch.ids.clone()
    mlm.mask(batch, mask_id=4, num_ids=1000, probability=0.9, rng=rng())
    assert torch.equal(batch.ids, before), "the batch itself is left alone"


def test_sequences_of_special_tokens_have_nothing_to_mask() -> None:
    _, labels = mlm.mask(packed_row([2, 1, 2]), mask_id=4, num_ids=1000, probability=0.99, rng=rng())
    assert (labels == mlm.IGNORED).all()


def test_mlm_is_the_plain_computation_over_all_logits(model: Model, folder: Path) -> None:
    columns = mlm.encode(MaskedLM(), TEXTS, model.tokenizer, 24, "")
    assert columns["ids"] == [model.tokenizer(t.text, truncation=True, max_length=24)["input_ids"] for t in TEXTS]
    head = randomise(mlm.head(MaskedLM(), model.encoder, model.tokenizer, replace(STILTS, mlm_probability=0.4)))
    batch = collate(table_of(columns), [2, 0, 5, 1, 6], CPU)
    theirs = plain(model, folder)
    word_table = theirs.get_input_embeddings().weight.detach()

    def expected(seed: int) -> tuple[list[float], list[int]]:
        """Summed loss and masked tokens of every sequence, run alone, with logits at every position."""
        ids, labels = mlm.mask(
            batch, mask_id=model.tokenizer.mask_token_id, num_ids=len(model.tokenizer), probability=0.4, rng=rng(seed)
        )
        sums, counts = [], []
        for start, length in zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True):
            part = slice(start, start + length)
            states = theirs(ids[None, part]).last_hidden_state[0]
            states = nn.functional.gelu(states @ head.dense.weight.T + head.dense.bias)
            centred = states - states.mean(1, keepdim=True)
            scaled = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + head.norm.eps)
            logits = (scaled * head.norm.weight + head.norm.bias) @ word_table.T + head.bias  # [L, V]
            log_p = logits.double().log_softmax(1)
            where = [i for i, label in enumerate(labels[part].tolist()) if label != mlm.IGNORED]
            sums.append(-sum(float(log_p[i, labels[start + i]]) for i in where))
            counts.append(len(where))
        return sums, counts

    with torch.no_grad():
        sums, counts = expected(seed=5)
        assert sum(counts) > 10
        loss = mlm.loss(model.encoder, head, batch, rng(5))
        assert float(loss) == pytest.approx(sum(sums) / sum(counts), abs=1e-5)
        found = mlm.decode(model.encoder, head, batch)
        sums, counts = expected(seed=0)
        assert found["num_masked"].tolist() == counts
        assert found["loss_sum"].tolist() == pytest.approx(sums, abs=1e-4)
        again = mlm.decode(model.encoder, head, batch)
        assert torch.equal(again["loss_sum"], found["loss_sum"])
    table = mlm.table(MaskedLM(), {name: value.numpy() for name, value in found.items()})
    assert table["row"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["num_masked"].to_pylist() == counts
    assert table["loss_sum"].to_pylist() == found["loss_sum"].tolist()


def test_the_mlm_head_is_tied_to_the_embeddings(model: Model) -> None:
    head = mlm.head(MaskedLM(), model.encoder, model.tokenizer, STILTS)
    columns = mlm.encode(MaskedLM(), TEXTS, model.tokenizer, 24, "")
    batch = collate(table_of(columns), range(5), CPU)
    mlm.loss(model.encoder, head, batch, rng(1)).backward()
    gradient = model.encoder.model.get_input_embeddings().weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all(), "every row is an output class, seen in the input or not"
    assert head.bias.grad is not None
    assert not any("table" in name or "embed" in name for name, _ in head.named_parameters())


def test_nothing_masked_is_a_loss_of_zero_with_a_gradient(model: Model) -> None:
    head = mlm.head(MaskedLM(), model.encoder, model.tokenizer, replace(STILTS, mlm_probability=0.0))
    columns = mlm.encode(MaskedLM(), TEXTS, model.tokenizer, 24, "")
    batch = collate(table_of(columns), [0, 1], CPU)
    loss = mlm.loss(model.encoder, head, batch, rng())
    assert loss.item() == 0
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    found = mlm.decode(model.encoder, head, batch)
    assert found["num_masked"].tolist() == [0, 0]
    assert found["loss_sum"].tolist() == [0, 0]


def test_a_tokenizer_without_a_mask_token_is_refused(folders: dict[str, Path]) -> None:
    model = Model(folders["bert"])
    model.tokenizer.mask_token = None
    with pytest.raises(ValueError, match="no mask token"):
        mlm.head(MaskedLM(), model.encoder, model.tokenizer, STILTS)


# ----------------------------------------------------------------------------------------------------- embed

BITEXTS = [
    Bitext("Der Zug kommt heute nicht.", "The train is not coming today."),
    Bitext("", "Nothing."),
    Bitext("Ja.", ""),
    Bitext("Сегодня идёт дождь, и никто не гуляет.", "It rains."),
]


def test_embed_encodes_two_sequences(folder: Path) -> None:
    tokenizer = Model(folder).tokenizer
    columns = embed.encode(Embed(), BITEXTS, tokenizer, 9, "query: ")
    for row, example in enumerate(BITEXTS):
        first, second = (
            tokenizer("query: " + text, truncation=True, max_length=9)["input_ids"]
            for text in (example.first, example.second)
        )
        assert columns["ids"][row] == first + second
        assert columns["lengths"][row] == [len(first), len(second)]
    assert max(max(lengths) for lengths in columns["lengths"]) == 9


@pytest.mark.parametrize("pooling", ["mean", "mean-no-special", "cls"])
def test_pooling_of_sentences_alone(pooling: str, model: Model, folder: Path) -> None:
    columns = embed.encode(Embed(), BITEXTS, model.tokenizer, 30, "")
    assert 2 in {n for pair in columns["lengths"] for n in pair}, "a sentence of special tokens only"
    rows = [2, 0, 3, 1]
    batch = collate(table_of(columns), rows, CPU)
    theirs = plain(model, folder)
    with torch.no_grad():
        vectors = embed.vectors(model.encoder, None, batch, [(layer, pooling) for layer in range(3)])  # [2E, L+1, H]
        number = 0
        for row in rows:
            for ids in torch.tensor(columns["ids"][row]).split(columns["lengths"][row]):
                layers = theirs(ids[None], output_hidden_states=True).hidden_states
                for layer, hidden in enumerate(layers):
                    found, states = vectors[number, layer], hidden[0].double()
                    if pooling == "cls":
                        expected = states[0]
                    elif pooling == "mean":
                        expected = sum(states) / len(states)
                    else:
                        expected = sum(states[1:-1], torch.zeros_like(states[0])) / max(1, len(states) - 2)
                    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
                number += 1
    assert number == len(vectors)
    assert vectors.shape == (8, 3, model.encoder.hidden_size)


@pytest.mark.parametrize("length", [1, 2])
def test_a_sentence_of_special_tokens_only_is_exactly_nothing(length: int) -> None:
    """Rounding noise in its place would be scaled to length 1 and would have neighbours."""
    batch = packed_row([length, 5, length, length, 9] * 20)
    hidden = torch.randn(batch.num_tokens, 64, generator=rng(length))
    found = embed.pool(hidden, batch, "mean-no-special")
    empty = batch.lengths == length
    assert not found[empty].any()
    assert found[~empty].all()


def test_cells_keep_their_order(model: Model) -> None:
    columns = embed.encode(Embed(), BITEXTS, model.tokenizer, 30, "")
    batch = collate(table_of(columns), range(4), CPU)
    cells = [(2, "cls"), (0, "mean"), (2, "mean")]
    with torch.no_grad():
        together = embed.vectors(model.encoder, None, batch, cells)
        for at, cell in enumerate(cells):
            assert torch.equal(together[:, at], embed.vectors(model.encoder, None, batch, [cell])[:, 0])
    assert together.dtype == torch.float32


def brute_force(queries: Tensor, candidates: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """All cosines in float64; the lower index first among equals."""
    one, two = (x.double().numpy() for x in (queries, candidates))
    cosine = (one @ two.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(two, axis=1)
    index = np.stack([np.lexsort((np.arange(len(two)), -row))[:count] for row in cosine])
    return index, np.take_along_axis(cosine, index, 1)


@pytest.mark.parametrize(("num_queries", "num_candidates", "count"), [(50, 300, 8), (7, 5, 8), (3, 8, 8), (1, 1, 3)])
def test_neighbours_against_float64(num_queries: int, num_candidates: int, count: int) -> None:
    queries, candidates = (
        torch.randn(num_queries, 24, generator=rng(1)),
        torch.randn(num_candidates, 24, generator=rng(2)),
    )
    candidates *= torch.rand(num_candidates, 1, generator=rng(3)) + 0.5  # cosine, not inner product
    found, similarity = embed.neighbours(queries, candidates, count)
    expected, cosine = brute_force(queries, candidates, num_candidates)
    keep = min(count, num_candidates)
    assert found.shape == similarity.shape == (num_queries, keep)
    assert similarity.dtype == torch.float32
    np.testing.assert_allclose(similarity, cosine[:, :keep], atol=1e-6)
    gaps = np.abs(np.diff(cosine, axis=1, append=-2))
    clear = (gaps[:, :keep] > 1e-6) & (np.insert(gaps, 0, 2, axis=1)[:, :keep] > 1e-6)
    assert clear.mean() > 0.99
    assert (found.numpy() == expected[:, :keep])[clear].all()


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 9),
    st.sampled_from([4, 16]),
    st.integers(1, 4),
    st.sampled_from([1, 3, 8, 100]),
    st.sampled_from([1, 2, 3]),
)
def test_ties_go_to_the_lower_index(
    seed: int, num_candidates: int, count: int, num_dimensions: int, num_different: int, block: int, group: int
) -> None:
    """Vectors of +-1 in 4 or 16 dimensions have exact cosines, and many candidates are equally near."""
    signs = torch.randint(0, 2, (num_different + 6, num_dimensions), generator=rng(seed)).float() * 2 - 1
    candidates = signs[torch.randint(0, num_different, (num_candidates,), generator=rng(seed + 1))]
    queries = signs[-6:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "_BLOCK_QUERIES", 4)
        patch.setattr(embed, "_BLOCK_CANDIDATES", block)
        patch.setattr(embed, "_GROUP", group)
        found, similarity = embed.neighbours(queries, candidates, count)
    expected, cosine = brute_force(queries, candidates, min(count, num_candidates))
    assert found.tolist() == expected.tolist()
    assert similarity.tolist() == cosine.tolist()


@pytest.mark.parametrize("num_candidates", [16 * 5 * 64, 16 * 5 * 64 + 1, 7000])
def test_a_long_row_is_searched_by_groups_with_the_same_result(num_candidates: int) -> None:
    similarity = torch.randint(0, 40, (30, num_candidates), generator=rng(4)).float()  # every value many times
    similarity[:20] = torch.randint(0, 3000, (20, num_candidates), generator=rng(5)).float()  # some values twice
    similarity[25:, -1] = 9.0  # the best is in what is left of the last group
    best, index = embed._nearest(similarity, 5)
    whole, position = similarity.sort(dim=1, descending=True, stable=True)
    assert torch.equal(best, whole[:, :5])
    assert torch.equal(index, position[:, :5])


def test_neighbours_copy_neither_side_whole() -> None:
    """What is beyond the vectors is blocks: the peak of a search of many candidates stays far below a copy of them."""
    queries, candidates = torch.randn(4, 64, generator=rng(1)), torch.randn(400_000, 64, generator=rng(2))  # 98 MiB
    with torch.profiler.profile(profile_memory=True) as profile:
        embed.neighbours(queries, candidates, 8)
    made = [event.self_cpu_memory_usage for event in profile.key_averages()]
    assert made
    allocated, peak = 0, 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            allocated += event.nbytes()
            peak = max(peak, allocated)
    assert 65536 * 64 * 4 < peak < 60 * 2**20


def test_duplicates_across_the_edge_of_the_list() -> None:
    queries = torch.randn(5, 32, generator=rng(1))
    candidates = torch.randn(40, 32, generator=rng(2))
    candidates[[39, 3, 17, 28, 11]] = queries[0]  # five equally best, in no order, of which three are kept
    found, similarity = embed.neighbours(queries, candidates, 3)
    assert found[0].tolist() == [3, 11, 17]
    assert similarity[0].tolist() == pytest.approx([1, 1, 1])
    found, _ = embed.neighbours(queries, candidates, 6)
    assert found[0, :5].tolist() == [3, 11, 17, 28, 39]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, candidates = torch.randn(23, 16, generator=rng(1)), torch.randn(31, 16, generator=rng(2))
    whole, similarity = embed.neighbours(queries, candidates, 8)
    for block in (1, 7, 23):
        monkeypatch.setattr(embed, "_BLOCK_QUERIES", block)
        monkeypatch.setattr(embed, "_BLOCK_CANDIDATES", block)
        found, values = embed.neighbours(queries, candidates, 8)
        assert torch.equal(found, whole)
        torch.testing.assert_close(values, similarity, atol=1e-6, rtol=0)


# --------------------------------------------------------------------------------------------------- together


def test_miniature_rows_pass_through_their_kind(folders: dict[str, Path]) -> None:
    tokenizer = _tokenizer(folders["xlm-roberta"])
    for name, split, language in (
        ("mini-nli", "dev", "en"),
        ("mini-paraphrase", "dev", "en"),
        ("mini-text", "train", "zh"),
        ("mini-bitext", "test", "ru"),
        ("mini-xtags", "test", "ar"),
        ("mini-xqa", "test", "hi"),
        ("mini-xchoice", "test", "tr"),
    ):
        task = find(name)
        rows = examples(task, split, language)
        columns = KINDS[task.kind.name].encode(task.kind, rows, tokenizer, 40, "")
        assert {len(values) for values in columns.values()} == {len(rows)}
        for ids, lengths in zip(columns["ids"], columns["lengths"], strict=True):
            assert sum(lengths) == len(ids)
            assert max(lengths) <= 40
