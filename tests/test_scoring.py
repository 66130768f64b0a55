"""Scores from stored predictions: equal to brute force, refused when incomplete, added and never edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xstilts import metrics
from xstilts.metrics import Metric
from xstilts.mixture import Budget, Mixture
from xstilts.scoring import rescore, score, score_stage
from xstilts.stage import Encoder, Evaluate, Stage, Train, Views
from xstilts.store import Store

ENCODER = Encoder("offline", content="c")
MODEL = Train(ENCODER, Mixture(("mnli@sample",)), Budget(10))
RETRIEVAL = Evaluate(MODEL, "tatoeba", "de", views=Views())
CELLS = [(layer, p, d) for layer in (0, 1) for p in ("cls", "mean") for d in ("en->xx", "xx->en")]


def predictions(num_queries: int = 9, seed: int = 0) -> tuple[pa.Table, dict[tuple[int, str, str], float]]:
    """A retrieval measurement of random vectors and, by plain search, the accuracy of each of its cells."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {n: [] for n in ("layer", "pooling", "direction", "query", "gold", "n", "s")}
    expected = {}
    for layer, pooling, direction in CELLS:
        candidates = rng.normal(size=(num_queries, 4))
        similarities = (candidates + rng.normal(size=candidates.shape)) @ candidates.T
        order = np.argsort(-similarities, axis=1)[:, :5]
        expected[layer, pooling, direction] = float(np.mean([row.argmax() == i for i, row in enumerate(similarities)]))
        for query in range(num_queries):
            row = (layer, pooling, direction, query, query, order[query], similarities[query][order[query]])
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    neighbours = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(columns.pop("n")), pa.int32()), 5)
    similar = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(columns.pop("s")), pa.float32()), 5)
    types = (pa.int16(), pa.string(), pa.string(), pa.int32(), pa.int32())
    arrays = {name: pa.array(column, kind) for (name, column), kind in zip(columns.items(), types, strict=True)}
    return pa.table(arrays | {"neighbours": neighbours, "similarities": similar}), expected


def test_every_cell_of_a_retrieval_measurement_has_its_own_accuracy() -> None:
    table, expected = predictions()
    document = score(table, "embed", "accuracy")
    assert (document["metric"], document["version"], document["options"]) == ("accuracy", 1, {})
    found = {(v["layer"], v["pooling"], v["direction"]): v["value"] for v in document["values"]}
    assert found == expected
    assert list(found) == sorted(CELLS)
    assert len(set(found.values())) > 2
    assert {value["num_examples"] for value in document["values"]} == {9}
    assert json.loads(json.dumps(document)) == document


def test_the_order_and_the_chunks_of_the_rows_do_not_matter() -> None:
    table, _ = predictions()
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    chunked = pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])
    assert score(chunked, "embed", "accuracy") == score(table, "embed", "accuracy")


def test_a_cell_that_lacks_a_query_is_refused() -> None:
    table, _ = predictions()
    for row in (0, 20, len(table) - 1):
        keep = [i for i in range(len(table)) if i != row]
        with pytest.raises(ValueError, match=r"expected one row for each of the queries"):
            score(table.take(keep), "embed", "accuracy")
    with pytest.raises(ValueError, match=r"expected one row for each of the queries"):
        score(pa.concat_tables([table, table.slice(0, 1)]), "embed", "accuracy")


def test_classification_is_scored_with_its_majority_share() -> None:
    table = pa.table({"row": [0, 1, 2, 3], "gold": ["a", "b", "b", "b"], "prediction": ["a", "a", "b", "b"]})
    values = score(table, "classify", "accuracy")["values"]
    assert values == [{"value": 0.75, "num_examples": 4, "majority_share": 0.75}]


def test_tags_are_scored_by_entities_and_by_tokens() -> None:
    gold = [["B-PER", "I-PER", "O"], ["O", "B-LOC"]]
    table = pa.table({"row": [0, 1], "gold": gold, "prediction": [["B-PER", "O", "O"], ["O", "B-LOC"]]})
    document = score(table, "tag", "span-f1")
    assert document["options"] == {"compat": "seqeval-0.0.12"}
    (value,) = document["values"]
    assert (value["value"], value["f1"], value["num_examples"]) == (0.5, 0.5, 2)
    assert value["token_accuracy"] == 0.8
    assert [value[f"f1_{compat}"] for compat in metrics.spans.COMPATS] == [0.5, 0.5]
    parts = pa.table({"gold": [["CCONJ", "X"]], "prediction": [["SCONJ", "X"]]})
    (other,) = score(parts, "tag", "span-f1")["values"]
    assert other["value"] == other["f1_seqeval-0.0.12"] == 0.5
    assert other["f1_seqeval-1.2.2"] == 1
    assert json.loads(json.dumps(document)) == document
    accuracy = score(table, "tag", "accuracy")
    assert (accuracy["values"][0]["value"], accuracy["options"]) == (0.8, {})


ANSWERS = {
    "id": ["a", "b", "c"],
    "prediction": ["der Hund", "", "Katze"],
    "golds": [["Hund", "ein Tier"], [], ["eine Maus"]],
    "null_margin": [-1.0, 1.0, -2.0],
}


def test_answers_are_scored_with_and_without_an_answer() -> None:
    table = pa.table(ANSWERS)
    (value,) = score(table, "span", "squad-v2", "de")["values"]
    assert value["exact_match"] == pytest.approx(1 / 3)
    assert value["f1"] == pytest.approx((2 / 3 + 1) / 3)
    assert value["value"] == (value["exact_match"] + value["f1"]) / 2
    assert (value["num_examples"], value["num_no_answer"], value["num_no_answer_predicted"]) == (3, 1, 1)
    answered = table.take([0, 2])
    assert score(answered, "span", "squad", "de")["values"][0]["exact_match"] == 0
    document = score(answered, "span", "mlqa", "de")  # German articles do not count there
    assert document["values"][0]["exact_match"] == 0.5
    assert json.loads(json.dumps(document)) == document
    with pytest.raises(ValueError, match="language of MLQA"):
        score(answered, "span", "mlqa", "fr")
    with pytest.raises(ValueError, match=r"every question once, got the id 'a' 2 times"):
        score(table.take([0, 0]), "span", "squad", "de")


def test_choices_are_scored_beside_chance() -> None:
    scores = [[0.0, 1.0], [2.0, 1.0, 0.0, 0.0], [1.0, 0.0]]
    table = pa.table({"row": [0, 1, 2], "gold": [1, 0, 1], "prediction": [1, 0, 0], "scores": scores})
    (value,) = score(table, "choose", "accuracy")["values"]
    assert value == {"value": 2 / 3, "num_examples": 3, "chance": pytest.approx((0.5 + 0.25 + 0.5) / 3)}


def test_the_language_of_a_measurement_reaches_its_metric(store: Store) -> None:
    stage = Evaluate(MODEL, "mlqa", "de")
    publish(store, stage, pa.table(ANSWERS).take([0, 2]))
    # A profile counts MLQA by SQuAD's script, to which German articles are words.
    assert score_stage(store, stage.id) == ["mlqa-v1", "squad-v1"]
    found = {name: document["values"][0]["exact_match"] for name, document in store.scores(stage.id).items()}
    assert found == {"mlqa-v1": 0.5, "squad-v1": 0.0}
    assert score_stage(store, stage.id) == []


def test_predictions_that_do_not_fit_are_refused() -> None:
    table, _ = predictions()
    with pytest.raises(ValueError, match="lack neighbours"):
        score(table.drop_columns("neighbours"), "embed", "accuracy")
    with pytest.raises(ValueError, match="empty"):
        score(table.slice(0, 0), "embed", "accuracy")
    with pytest.raises(ValueError, match="unknown metric 'f1'"):
        score(table, "embed", "f1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def publish(store: Store, stage: Stage, table: pa.Table | None) -> None:
    staged = store.work(stage.id) / "out"
    staged.mkdir()
    if table is None:
        (staged / "predictions.parquet").write_bytes(b"no parquet")
    else:
        pq.write_table(table, staged / "predictions.parquet")
    store.publish(stage.id, staged, {"kind": stage.kind, "declaration": stage.declaration()})


def test_a_stage_is_scored_once_and_anew_only_for_a_new_version(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = predictions()
    publish(store, RETRIEVAL, table)
    publish(store, MODEL, table)
    assert score_stage(store, RETRIEVAL.id) == ["accuracy-v1"]
    assert store.scores(RETRIEVAL.id) == {"accuracy-v1": score(table, "embed", "accuracy")}
    assert score_stage(store, RETRIEVAL.id) == []
    assert rescore(store, store.ids()) == {}
    function, _ = metrics.find("embed", "accuracy")
    monkeypatch.setitem(metrics.METRICS, ("embed", "accuracy"), Metric(function, 2))
    assert rescore(store, store.ids()) == {RETRIEVAL.id: ["accuracy-v2"]}
    assert [s["version"] for s in store.scores(RETRIEVAL.id).values()] == [1, 2]


def test_another_metric_can_be_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, RETRIEVAL, predictions()[0])
    function, _ = metrics.find("embed", "accuracy")
    monkeypatch.setitem(metrics.METRICS, ("embed", "other"), Metric(function, 3))
    assert rescore(store, [RETRIEVAL.id], metric="other") == {RETRIEVAL.id: ["other-v3"]}
    assert list(store.scores(RETRIEVAL.id)) == ["other-v3"]
    assert rescore(store, [RETRIEVAL.id], metric="characters") == {}, "a metric of answers"
    with pytest.raises(ValueError, match=r"unknown metric 'othr'.*did you mean 'other'"):
        rescore(store, [RETRIEVAL.id], metric="othr")


def test_what_cannot_be_scored_is_named(store: Store) -> None:
    publish(store, MODEL, None)
    publish(store, RETRIEVAL, None)
    with pytest.raises(ValueError, match=r"kind 'train': expected a measurement"):
        score_stage(store, MODEL.id)
    with pytest.raises(ValueError, match=r"predictions\.parquet: "):
        score_stage(store, RETRIEVAL.id)
    assert store.scores(RETRIEVAL.id) == {}
