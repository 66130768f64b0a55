"""A stored measurement -> scores, by metric and its version; pure and without torch."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import metrics, tasks
from .spec import file_sha256

if TYPE_CHECKING:
    import pyarrow as pa

Document = dict[str, Any]
PREDICTIONS = "predictions.parquet"
_COLUMNS = {
    "classify": ("gold", "prediction"),
    "mlm": ("num_masked", "loss_sum"),
    "embed": ("layer", "pooling", "direction", "query", "gold", "neighbours", "similarities"),
    "tag": ("gold", "prediction"),
    "span": ("id", "prediction", "golds"),
    "choose": ("gold", "prediction", "scores"),
}


class Records(Protocol):
    """What scoring needs of a store."""

    def record(self, id: str) -> Document:
        """The record of a stage."""

    def folder(self, id: str) -> Path:
        """The folder of a stage."""

    def scores(self, id: str) -> dict[str, Document]:
        """The scores of a stage by name."""

    def add_score(self, id: str, name: str, document: Mapping[str, Any]) -> None:
        """Write a score beside its stage."""


def score(predictions: pa.Table, kind: str, metric: str, language: str = "") -> Document:
    """Score a measurement's predictions.

    Args:
        predictions: the stored table. Retrieval has one row per layer, pooling, direction and query.
        kind: name of the task's kind.
        metric: name of the metric.
        language: code of the language of the predictions, which MLQA's metric of answers goes by.

    Returns:
        ``{"metric", "version", "options", "values"}``; ``options`` are the metric's own, such as the version of
        another program that it agrees with. Retrieval has one value for each layer, pooling and direction, all
        others have one. A value is an unrounded fraction with its ``num_examples`` and what the metric says
        beside it.

    Raises:
        ValueError: for an unknown metric, a missing column, no rows, or cells that do not hold one row for
            each of the same queries.
    """
    found = metrics.find(kind, metric)
    if missing := [name for name in _COLUMNS[kind] if name not in predictions.column_names]:
        columns = ", ".join(predictions.column_names)
        raise ValueError(f"predictions of kind {kind!r} lack {', '.join(missing)}: got the columns {columns}")
    if not predictions.num_rows:
        raise ValueError("expected predictions, got an empty table")
    cells: dict[str, Callable[..., Iterator[Document]]] = {
        "classify": _classify,
        "embed": _embed,
        "mlm": _mlm,
        "tag": _tag,
        "span": partial(_span, language=language),
        "choose": _choose,
    }
    values = list(cells[kind](predictions, found.function))
    return {"metric": metric, "version": found.version, "options": found.options, "values": values}


def _classify(predictions: pa.Table, function: Callable[..., float]) -> Iterator[Document]:
    golds = predictions["gold"].to_pylist()
    yield {
        "value": function(predictions["prediction"].to_pylist(), golds),
        "num_examples": len(golds),
        "majority_share": metrics.classification.majority_share(golds),
    }


def _mlm(predictions: pa.Table, function: Callable[..., float]) -> Iterator[Document]:
    num_masked = predictions["num_masked"].to_pylist()
    value = function(predictions["loss_sum"].to_pylist(), num_masked)
    yield {"value": value, "num_examples": len(num_masked)}


def _embed(predictions: pa.Table, function: Callable[..., metrics.retrieval.Accuracy]) -> Iterator[Document]:
    """One value for each cell, in the order of layer, pooling and direction."""
    import numpy as np

    predictions = predictions.combine_chunks()
    layers = predictions["layer"].to_numpy()
    query, gold = predictions["query"].to_numpy(), predictions["gold"].to_numpy()
    names, codes = [], [layers.astype(np.int64)]
    for column in ("pooling", "direction"):
        texts, code = np.unique(predictions[column].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        names.append(texts)
        codes.append(code)
    poolings, directions = names
    cell = (codes[0] * len(poolings) + codes[1]) * len(directions) + codes[2]  # [R]
    order = np.lexsort((query, cell))
    bounds = np.flatnonzero(np.diff(cell[order], prepend=-1, append=-1))  # where cells begin, and the end
    neighbours, similarities = (_matrix(predictions[name]) for name in ("neighbours", "similarities"))
    expected = np.arange(bounds[1])
    for start, stop in itertools.pairwise(bounds.tolist()):
        rows = order[start:stop]
        layer, pooling, direction = (
            int(layers[rows[0]]),
            poolings[codes[1][rows[0]]],
            directions[codes[2][rows[0]]],
        )
        if not np.array_equal(query[rows], expected):
            raise ValueError(
                f"layer {layer}, {pooling}, {direction}: expected one row for each of the queries 0 to "
                f"{len(expected) - 1}, got {stop - start} rows"
            )
        found = function(neighbours[rows], similarities[rows], gold[rows])
        yield {"layer": layer, "pooling": str(pooling), "direction": str(direction), **found._asdict()}


def _tag(predictions: pa.Table, function: Callable[..., Any]) -> Iterator[Document]:
    """What the metric says, and ``token_accuracy``, which XTREME's paper names where its code has F1."""
    tags = predictions["prediction"].to_pylist(), predictions["gold"].to_pylist()
    yield {**_said(function(*tags)), "token_accuracy": metrics.spans.accuracy(*tags).value}


def _span(predictions: pa.Table, function: Callable[..., Any], language: str) -> Iterator[Document]:
    """What the metric says, and how many questions have no answer and how many were given none."""
    ids, texts, golds = (predictions[name].to_pylist() for name in ("id", "prediction", "golds"))
    if repeated := [id for id, count in Counter(ids).items() if count > 1]:
        raise ValueError(f"expected every question once, got the id {repeated[0]!r} {ids.count(repeated[0])} times")
    found = function(dict(zip(ids, texts, strict=True)), dict(zip(ids, golds, strict=True)), language)
    counts = {"num_no_answer": golds.count([]), "num_no_answer_predicted": texts.count("")}
    yield {**_said(found), **counts}


def _choose(predictions: pa.Table, function: Callable[..., float]) -> Iterator[Document]:
    """The metric, and ``chance``, the mean of 1/n over questions with n choices."""
    golds = predictions["gold"].to_pylist()
    chance = statistics.fmean(1 / len(scores) for scores in predictions["scores"].to_pylist())
    value = function(predictions["prediction"].to_pylist(), golds)
    yield {"value": value, "num_examples": len(golds), "chance": chance}


def _said(found: Any) -> Document:
    """A metric's named numbers, the one that counts as ``value``."""
    return {"value": found.value, **found._asdict()}


def _matrix(column: pa.ChunkedArray) -> Any:
    """A fixed-size-list column as an array [R, K]."""
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if not pa.types.is_fixed_size_list(array.type) or array.null_count:
        raise ValueError(f"expected lists of one size without gaps, got {array.type} with {array.null_count} gaps")
    return array.flatten().to_numpy().reshape(len(array), array.type.list_size)


def score_stage(store: Records, id: str, metric: str | None = None) -> list[str]:
    """Score a stored measurement by its task's metric, or another one, unless that is done.

    Returns:
        The names of the scores added, ``<metric>-v<version>``; none when the current version is there.

    Raises:
        ValueError: when the stage is no measurement, or as `score`, naming the file.
    """
    import pyarrow.parquet as pq

    record = store.record(id)
    if record["kind"] != "evaluate":
        raise ValueError(f"{id} is a stage of kind {record['kind']!r}: expected a measurement ('evaluate')")
    task = tasks.find(record["declaration"]["task"])
    metric = metric or task.metric
    name = f"{metric}-v{metrics.find(task.kind.name, metric).version}"
    if name in store.scores(id):
        return []
    path = store.folder(id) / PREDICTIONS
    if not path.is_file() or file_sha256(path) != record["files"].get(PREDICTIONS, {}).get("sha256"):
        raise ValueError(
            f"{path}: missing or not what was published; move {path.parent} out of the store and run the study again"
        )
    try:
        document = score(pq.read_table(path), task.kind.name, metric, record["declaration"]["language"])
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    store.add_score(id, name, document)
    return [name]


def rescore(store: Records, ids: Iterable[str], metric: str | None = None) -> dict[str, list[str]]:
    """Add what is lacking of the current scores to the measurements among ``ids``; nothing is edited.

    Args:
        store: the store.
        ids: stages; those that are no measurement are passed over.
        metric: a metric to use instead of each task's own.

    Returns:
        The names of the scores added, by the id of each stage that got some.
    """
    measurements = [id for id in ids if store.record(id)["kind"] == "evaluate"]
    return {id: added for id in measurements if (added := score_stage(store, id, metric))}
