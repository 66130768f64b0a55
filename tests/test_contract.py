"""One contract for every declared task: three rows go through its kind and its metric, and gold scores perfectly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from small import CPU, SIDES, Fed, Given, canonical_row, encoded, shaken, small_folders
from xstilts import tasks
from xstilts.engine import retrieval
from xstilts.engine.evaluate import predict
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.metrics.mining import Mined
from xstilts.recipe import STILTS
from xstilts.scoring import score
from xstilts.stage import Views
from xstilts.tasks import Entry, Example, Task

NAMES = [task.name for task in tasks.ALL]


@pytest.fixture(scope="module")
def model(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An encoder whose pieces are characters, so that no answer ends within a piece."""
    return shaken(small_folders(cache_dir, tmp_path_factory.mktemp("characters"))["characters"])


def three(task: Task) -> list[Any]:
    """The examples of three rows; of a search those of three queries and their candidates."""
    rows = [canonical_row(task, i) for i in range(3)]
    if task.kind.takes is not Entry:
        return [task.example(row) for row in rows]
    found: list[Example] = []
    for row in rows:
        for asks in (True, False):
            golds = (row["id"],) if asks else ()
            side = SIDES.get(task.name, (0, 1))[not asks]
            row |= {"side": side, "is_query": asks, "golds": golds, "pairs": golds}
            found.append(task.example(row))
    return found


def searched(task: Task, vectors: retrieval.Vectors, given: list[Any], each: int = 2) -> pa.Table:
    """A retrieval measurement of vectors of the examples; mining takes the same rows for dev and test."""
    if task.kind.name == "embed":
        return retrieval.bitext(vectors, len(given), 20, each)
    if task.kind.name == "mine":
        return retrieval.mining(vectors, [("dev", given), ("test", given)], 20)
    return retrieval.search(vectors, [*given, *(Entry(f"t{i}", f"i{i}", False, "de") for i in range(20))], 20)


@pytest.mark.parametrize("name", NAMES)
def test_three_rows_go_through_the_kind_and_the_metric(name: str, model: Model) -> None:
    task = tasks.find(name)
    kind, given = KINDS[task.kind.name], three(task)
    data = encoded(task.kind, given, model.tokenizer, 120)
    batch = collate(data, range(len(data)), CPU)
    head = kind.head(task.kind, model.encoder, model.tokenizer, STILTS)
    if task.kind.takes is not Entry:
        loss = kind.loss(model.encoder, head, batch, torch.Generator().manual_seed(0))
        assert loss.ndim == 0
        assert 0 < loss.item() < 1000
        loss.backward()
        assert all(parameter.grad is not None for parameter in head.parameters())
        model.zero_grad()
    if task.is_retrieval:
        sides = int(data.num_sequences.max())
        rows = np.arange(len(data))
        again = [(rows + offset, batch) for offset in ((0, len(data)) if task.kind.name == "mine" else (0,))]
        more = 20 if task.kind.name == "search" else 0
        with torch.no_grad():
            wanted = retrieval.cells(Views(), model.encoder.num_layers)
            vectors = retrieval.Vectors(model, None, wanted, again, len(data) * sides * len(again) + more, CPU)
        vectors._all[len(data) * sides * len(again) :] = torch.rand(more, *vectors._all.shape[1:])
        table = searched(task, vectors, given, sides)
    else:
        columns = predict(model, head, task.kind.name, data, rows=None, precision="float32", device=CPU)
        table = kind.table(task.kind, columns, given)
    for value in score(table, task.kind.name, task.metric, task.languages[0])["values"]:
        assert value["value"] >= 0
        assert value["value"] <= 1 or task.metric in ("perplexity", "loss")


@pytest.mark.parametrize("name", NAMES)
def test_gold_scores_perfectly(name: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.find(name)
    given = three(task)
    if task.kind.name == "mlm":
        table = KINDS["mlm"].table(task.kind, {"loss_sum": np.zeros(3), "num_masked": np.full(3, 2)}, given)
    elif task.is_retrieval:
        copies = 2 if task.kind.name == "mine" else 1
        right = torch.eye(3, 40).repeat_interleave(2, 0).repeat(copies, 1) + 0.1
        table = searched(task, Given(torch.cat([right, torch.eye(40)[20:] + 0.1]), "mean"), given)
    else:
        data = encoded(task.kind, given, model.tokenizer, 120)
        table = Fed(task.kind).predictions(data, given, monkeypatch)
    values = score(table, task.kind.name, task.metric, task.languages[0])["values"]
    assert [value["value"] for value in values] == pytest.approx([0 if task.metric == "loss" else 1] * len(values))
    assert values
    if task.kind.name == "mine":
        assert set(Mined._fields) <= set(values[0])
    assert not any(math.isnan(number) for value in values for number in value.values() if isinstance(number, float))
