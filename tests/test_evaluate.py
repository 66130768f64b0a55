"""Measurements: what predictions.parquet holds, against the saved encoder in plain transformers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from xstilts.engine import Context, Interrupted, encoder_folder, perform, retrieval
from xstilts.engine import evaluate as evaluate_module
from xstilts.engine.data import Tokenised, tokenised
from xstilts.engine.evaluate import predict
from xstilts.engine.model import Model
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.stage import Encoder, Evaluate, Stage, Tiny, Train, Views
from xstilts.study import Sources, make_plan
from xstilts.tasks import examples, find

pytestmark = pytest.mark.usefixtures("small_miniature")

TINY = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
RECIPE = replace(STILTS, learning_rate=3e-3, batch_examples=8, max_tokens=48, dev_examples=4)
POOLINGS = ("mean", "mean-no-special", "cls")
CPU = torch.device("cpu")


def resolved(stage: Stage, cache_dir: Path) -> Any:
    plan = make_plan("test", [stage], Sources(None, cache_dir))
    return plan.stages[plan.leaves[0]]


def enlarge(file: Path, deviation: float) -> None:
    """Add noise to stored weights: those of a short training give every sentence nearly the same first vector."""
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(file)
    for value in tensors.values():
        value += deviation * torch.randn(value.shape, generator=generator)
    save_file(tensors, file, metadata={"format": "pt"})


class Trained:
    """A model of two heads, trained once for this file."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.cache_dir = cache_dir
        mixture = Mixture(("mini-nli", "mini-paraphrase", "mini-text"), policy="uniform", languages=("de", "en"))
        self.stage: Train = resolved(Train(TINY, mixture, Budget(12, "steps"), RECIPE), cache_dir)
        (folder / "work").mkdir()
        self.context = Context(inputs={}, work=folder / "work", data_dir=None, cache_dir=cache_dir)
        perform(self.stage, folder, self.context)
        self.weights = folder / "weights"
        enlarge(self.weights / "encoder" / "model.safetensors", 0.4)
        enlarge(self.weights / "heads.safetensors", 0.3)
        self.context = replace(self.context, inputs={self.stage.id: self.weights})

    def measure(self, out: Path, task: str, language: str, **fields: Any) -> tuple[pa.Table, dict[str, Any]]:
        context = replace(self.context, **fields.pop("context", {}))
        stage = resolved(Evaluate(fields.pop("model", self.stage), task, language, **fields), self.cache_dir)
        result = perform(stage, out, context)["result"]
        assert [path.name for path in out.iterdir()] == ["predictions.parquet"]
        return pq.read_table(out / "predictions.parquet"), result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"), cache_dir)


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    evaluate_module._loaded.clear()
    yield
    evaluate_module._loaded.clear()


def states_of(folder: Path, texts: list[str], max_tokens: int = 64) -> list[list[np.ndarray]]:
    """Hidden states [L+1][t, H] in float64 of every sentence alone."""
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_tokens)
            found.append([h[0].double().numpy() for h in model(**ids, output_hidden_states=True).hidden_states])
    return found


def cells_of(table: pa.Table) -> dict[tuple[int, str, str], list[dict[str, Any]]]:
    """Rows by layer, pooling and direction."""
    cells: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        cells.setdefault((row["layer"], row["pooling"], row["direction"]), []).append(row)
    return cells


POOL = {
    "mean": lambda states: states.mean(0),
    "mean-no-special": lambda states: states[1:-1].mean(0),
    "cls": lambda states: states[0],
}


@pytest.mark.parametrize(("language", "prefix"), [("de", ""), ("zh", "query: ")])
def test_retrieval_is_brute_force_over_sentences_alone(
    language: str, prefix: str, trained: Trained, tmp_path: Path
) -> None:
    table, result = trained.measure(tmp_path, "mini-bitext", language, views=Views(prefix=prefix))
    pairs = examples(find("mini-bitext"), "test", language)
    encoder = trained.weights / "encoder"
    foreign, english = (
        states_of(encoder, [prefix + getattr(pair, side) for pair in pairs]) for side in ("first", "second")
    )
    assert table.schema.field("layer").type == pa.int16()
    assert table.schema.field("query").type == table.schema.field("gold").type == pa.int32()
    assert table.schema.field("neighbours").type == pa.list_(pa.int32(), 8)
    assert table.schema.field("similarities").type == pa.list_(pa.float32(), 8)
    assert table.num_rows == 3 * 3 * 2 * len(pairs)
    assert result["num_examples"] == len(pairs) == 100
    assert result["num_tokens"] == sum(len(states[0]) for states in foreign + english)
    assert result["num_layers"] == 2

    cells = cells_of(table)
    assert len(cells) == 18
    num_close = 0
    for (layer, pooling, direction), rows in cells.items():
        one, two = (
            np.stack([POOL[pooling](states[layer]) for states in side])
            for side in ((foreign, english) if direction == "xx->en" else (english, foreign))
        )
        cosine = (one @ two.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(two, axis=1)
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :9]
        expected = np.take_along_axis(cosine, order, 1)
        found = np.array([row["neighbours"] for row in rows])
        assert [row["query"] for row in rows] == [row["gold"] for row in rows] == list(range(100))
        np.testing.assert_allclose([row["similarities"] for row in rows], expected[:, :8], atol=1e-5)
        np.testing.assert_allclose(np.take_along_axis(cosine, found, 1), expected[:, :8], atol=1e-5)
        gaps = -np.diff(expected, axis=1)
        clear = (gaps > 1e-5) & (np.insert(gaps, 0, 1, axis=1)[:, :8] > 1e-5)
        assert (found == order[:, :8])[clear].all()
        if not (pooling == "cls" and layer == 0):  # the first token's embedding is the same in every sentence
            assert clear.mean() > 0.7, (layer, pooling, clear.mean())
        num_close += int((~clear).sum())
    assert num_close < 0.2 * table.num_rows * 8


def test_the_two_directions_are_transposes(trained: Trained, tmp_path: Path) -> None:
    views = Views(poolings=("mean",), num_neighbours=100)
    cells = cells_of(trained.measure(tmp_path, "mini-bitext", "fr", views=views)[0])
    full: dict[str, np.ndarray] = {}
    for direction in ("xx->en", "en->xx"):
        matrix = np.full((100, 100), np.nan)
        for row in cells[2, "mean", direction]:
            matrix[row["query"], row["neighbours"]] = row["similarities"]
        full[direction] = matrix
    np.testing.assert_allclose(full["xx->en"], full["en->xx"].T, atol=1e-6)
    assert np.abs(full["xx->en"] - full["xx->en"].T).max() > 1e-3


def test_views_choose_poolings_and_neighbours(trained: Trained, tmp_path: Path) -> None:
    views = Views(poolings=("cls", "mean"), num_neighbours=1000)
    table, _ = trained.measure(tmp_path, "mini-bitext", "de", views=views)
    assert table["pooling"].unique().to_pylist() == ["cls", "mean"]
    assert table.schema.field("neighbours").type == pa.list_(pa.int32(), 100)  # all candidates there are
    for row in table["neighbours"].to_pylist()[::50]:
        assert sorted(row) == list(range(100))


def test_long_sentences_are_cut(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    views = Views(poolings=("mean",))
    _, result = trained.measure(tmp_path / "short", "mini-bitext", "de", views=views, max_tokens=5)
    assert result["num_tokens"] == 100 * 2 * 5


@pytest.mark.parametrize("task", ["mini-nli", "mini-paraphrase"])
def test_classification_through_the_tasks_own_head(task: str, trained: Trained, tmp_path: Path) -> None:
    table, result = trained.measure(tmp_path, task, "en", split="dev")
    pairs = examples(find(task), "dev", "en")
    labels = find(task).kind.labels
    tokenizer = AutoTokenizer.from_pretrained(trained.weights / "encoder")
    model = AutoModel.from_pretrained(trained.weights / "encoder", add_pooling_layer=False).eval()
    heads = load_file(trained.weights / "heads.safetensors")
    dense, projection = (
        (heads[f"{task}.{layer}.weight"], heads[f"{task}.{layer}.bias"]) for layer in ("dense", "projection")
    )
    expected = []
    with torch.no_grad():
        for pair in pairs:
            ids = tokenizer(pair.first, pair.second, return_tensors="pt", truncation=True, max_length=64)
            first = model(**ids).last_hidden_state[0, 0]
            expected.append(projection[0] @ torch.tanh(dense[0] @ first + dense[1]) + projection[1])
    scores = torch.stack(expected).numpy()
    np.testing.assert_allclose(np.stack(table["scores"].to_pylist()), scores, atol=1e-5)
    assert table["gold"].to_pylist() == [pair.label for pair in pairs]
    assert table["row"].to_pylist() == list(range(len(pairs)))
    found = table["prediction"].to_pylist()
    margin = np.sort(scores, axis=1)[:, -1] - np.sort(scores, axis=1)[:, -2]
    assert (margin > 1e-4).all()
    assert found == [labels[best] for best in scores.argmax(1)]
    assert result["num_examples"] == len(pairs)


def test_a_head_trained_on_another_name(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zero-shot task without training rows takes the head of the task that trains it."""
    nli = find("mini-nli")
    splits, rows = replace(nli.splits, train=None), {"dev": nli.rows["dev"]}
    zero_shot = replace(nli, name="zero-shot", splits=splits, rows=rows, trained_by="mini-nli")
    from xstilts import tasks

    monkeypatch.setitem(tasks._known, "zero-shot", zero_shot)
    (tmp_path / "own").mkdir()
    (tmp_path / "zero-shot").mkdir()
    own, _ = trained.measure(tmp_path / "own", "mini-nli", "en", split="dev")
    other, _ = trained.measure(tmp_path / "zero-shot", "zero-shot", "en", split="dev")
    assert other.equals(own)


def test_a_model_without_the_head_is_refused(trained: Trained, tmp_path: Path) -> None:
    plain: Encoder = trained.stage.start
    with pytest.raises(ValueError, match="no head for mini-nli"):
        trained.measure(tmp_path, "mini-nli", "en", split="dev", model=plain)
    # what the plan refuses, the engine refuses too
    stage = Evaluate(plain, "mini-nli", "en", split="dev", data=trained.stage.data[:1])
    with pytest.raises(ValueError, match="has no head for mini-nli"):
        perform(stage, tmp_path, trained.context)


@pytest.mark.parametrize("tokens_per_batch", [1, 100, 700])
def test_batches_change_nothing(
    tokens_per_batch: int, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = Views(poolings=POOLINGS, num_neighbours=100)
    tables = []
    for number, size in enumerate((evaluate_module.TOKENS_PER_BATCH, tokens_per_batch)):
        monkeypatch.setattr(evaluate_module, "TOKENS_PER_BATCH", size)
        folders = [tmp_path / f"{kind}-{number}" for kind in "ab"]
        for folder in folders:
            folder.mkdir()
        tables.append(
            [
                trained.measure(folders[0], "mini-bitext", "ru", views=views)[0],
                trained.measure(folders[1], "mini-nli", "en", split="dev")[0],
            ]
        )
    (retrieved, classified), (retrieved_small, classified_small) = tables
    for column in ("layer", "pooling", "direction", "query", "gold"):
        assert retrieved[column].equals(retrieved_small[column])
    np.testing.assert_allclose(
        np.stack(retrieved["similarities"].to_pylist()),
        np.stack(retrieved_small["similarities"].to_pylist()),
        atol=2e-6,
    )
    for column in ("row", "gold", "prediction"):
        assert classified[column].equals(classified_small[column])
    np.testing.assert_allclose(
        np.stack(classified["scores"].to_pylist()), np.stack(classified_small["scores"].to_pylist()), atol=2e-6
    )


def test_vectors_made_in_several_passes_are_the_same(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = Views(poolings=("mean", "mean/centred", "cls"))
    tables = []
    for number in (1, 7):
        if number == 7:
            monkeypatch.setattr(retrieval, "passes", lambda wanted, *_: [wanted[:2], wanted[2:5], wanted[5:]])
        (tmp_path / str(number)).mkdir()
        tables.append(trained.measure(tmp_path / str(number), "mini-bitext", "tr", views=views)[0])
    assert tables[0].equals(tables[1])


def test_predict_keeps_the_order_of_the_rows_asked_for(trained: Trained) -> None:
    model = Model.load_trained(trained.weights).eval()
    data = rows_of(trained, model, "mini-nli")
    arguments: dict[str, Any] = {"precision": "float32", "device": CPU}
    head = model.head("mini-nli")
    everything = predict(model, head, "classify", data, rows=None, **arguments)
    rows = np.array([30, 2, 17, 5, 29])
    assert len(set(data.num_tokens[rows].tolist())) > 2, "rows of different lengths"
    some = predict(model, head, "classify", data, rows=rows, **arguments)
    np.testing.assert_allclose(some["scores"], everything["scores"][rows], atol=2e-6)
    assert some["gold"].tolist() == everything["gold"][rows].tolist() == data.targets["label"][rows].tolist()
    assert everything["gold"].tolist() == data.targets["label"].tolist()


def rows_of(trained: Trained, model: Model, task: str, split: str = "dev") -> Tokenised:
    parts = [part for part in trained.stage.data if part.task == task and part.split == split]
    return tokenised(
        parts, model.tokenizer, model.tokenizer_key, max_tokens=48, data_dir=None, cache_dir=trained.cache_dir
    )


def test_masked_tokens_are_counted_in_the_order_of_the_rows(trained: Trained) -> None:
    model = Model.load_trained(trained.weights).eval()
    data = rows_of(trained, model, "mini-text", "train")
    found = predict(model, model.head("mini-text"), "mlm", data, rows=None, precision="float32", device=CPU)
    assert found["num_masked"].shape == found["loss_sum"].shape == (len(data),)
    assert (found["num_masked"] <= data.num_tokens - 2).all()
    assert 0.12 < found["num_masked"].sum() / (data.num_tokens - 2).sum() < 0.18
    assert ((found["loss_sum"] > 0) == (found["num_masked"] > 0)).all()


def test_stages_of_one_model_share_its_load(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    own = Model.__init__

    def counted(self: Model, folder: Path, *rest: Any) -> None:
        loads.append(folder.parent.name)
        own(self, folder, *rest)

    monkeypatch.setattr(Model, "__init__", counted)
    views = Views(poolings=("mean",))
    names = (str(number) for number in itertools.count())

    def measure(task: str, language: str, **fields: Any) -> None:
        out = tmp_path / next(names)
        out.mkdir()
        trained.measure(out, task, language, **fields)

    for language in ("de", "fr", "tr"):
        measure("mini-bitext", language, views=views)
    measure("mini-nli", "en", split="dev")
    assert loads == ["weights"]
    for language in ("de", "fr"):
        measure("mini-bitext", language, views=views, model=TINY)
    assert len(loads) == 2
    measure("mini-bitext", "de", views=views)
    assert len(loads) == 3, "one model is kept at a time"


def test_a_pretrained_encoder_is_measured_as_it_is(trained: Trained, tmp_path: Path) -> None:
    table, _ = trained.measure(tmp_path, "mini-bitext", "es", views=Views(poolings=("mean",)), model=TINY)
    folder = encoder_folder(trained.stage.start, trained.context)
    pairs = examples(find("mini-bitext"), "test", "es")[:3]
    rows = cells_of(table)[2, "mean", "xx->en"]
    foreign = states_of(folder, [pair.first for pair in pairs])
    english = states_of(folder, [pair.second for pair in examples(find("mini-bitext"), "test", "es")])
    two = np.stack([states[2].mean(0) for states in english])
    for number, states in enumerate(foreign):
        one = states[2].mean(0)
        cosine = two @ one / np.linalg.norm(one) / np.linalg.norm(two, axis=1)
        np.testing.assert_allclose(rows[number]["similarities"], np.sort(cosine)[::-1][:8], atol=1e-5)


def test_a_measurement_stops_on_request_and_reports(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "TOKENS_PER_BATCH", 1000)
    reports: list[dict[str, Any]] = []
    fields: dict[str, Any] = {"views": Views(poolings=("mean",)), "context": {"report": reports.append}}
    trained.measure(tmp_path, "mini-bitext", "de", **fields)
    assert [report["step"] for report in reports] == list(range(1, reports[0]["steps"] + 1))
    assert len(reports) > 2
    calls = itertools.count()
    fields = {"views": Views(poolings=("mean",)), "context": {"stop": lambda: next(calls) >= 2}}
    (tmp_path / "stopped").mkdir()
    with pytest.raises(Interrupted):
        trained.measure(tmp_path / "stopped", "mini-bitext", "de", **fields)
    assert not list((tmp_path / "stopped").iterdir())


def test_bfloat16_is_near(trained: Trained, tmp_path: Path) -> None:
    similarities = []
    for precision in ("float32", "bfloat16"):
        (tmp_path / precision).mkdir()
        table, _ = trained.measure(
            tmp_path / precision, "mini-bitext", "de", views=Views(poolings=("mean",)), precision=precision
        )
        assert table.schema.field("similarities").type == pa.list_(pa.float32(), 8)
        similarities.append(np.stack(table["similarities"].to_pylist()))
    difference = np.abs(similarities[0] - similarities[1]).max()
    assert 0 < difference < 0.03
