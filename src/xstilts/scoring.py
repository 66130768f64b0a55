"""A stored measurement -> scores, by metric and its version; pure and without torch."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import metrics, tasks
from .spec import file_sha256, one_of

if TYPE_CHECKING:
    import pyarrow as pa

Document = dict[str, Any]
PREDICTIONS = "predictions.parquet"
_MARGINS = ("csls", "ratio-margin")
_COLUMNS = {
    "classify": ("gold", "prediction"),
    "mlm": ("num_masked", "loss_sum"),
    "embed": ("layer", "pooling", "direction", "query", "gold", "neighbours", "similarities"),
    "mine": ("split", "layer", "pooling", "direction", "query", "num_ids", "golds", "neighbours", "similarities"),
    "search": (
        "layer",
        "pooling",
        "direction",
        "query",
        "language",
        "golds",
        "gold_languages",
        "neighbours",
        "similarities",
        "neighbour_languages",
    ),
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
        another program that it agrees with. Retrieval has one value for each layer, pooling and direction, and a
        search for each language of its queries; all others have one. A value is an unrounded fraction with its
        ``num_examples`` and what the metric says beside it.

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
        "embed": _embed_margin if metric in _MARGINS else _embed,
        "mine": _mine,
        "search": _search,
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


class _Cell(NamedTuple):
    """One search: the rows of a layer, pooling and direction (and split), in the order of the queries."""

    place: dict[str, Any]
    rows: Any  # [Q] row numbers


def _cells(predictions: pa.Table, *names: str, same: bool = True) -> Iterator[_Cell]:
    """The searches of a table, by the columns ``names`` in their order, each with a row for every query.

    Raises:
        ValueError: when a search lacks a query, or has others than the first one where they are the ``same``.
    """
    import numpy as np

    values, code = [], np.zeros(len(predictions), dtype=np.int64)
    for name in names:
        found, codes = np.unique(predictions[name].to_numpy(zero_copy_only=False), return_inverse=True)
        values.append(found)
        code = code * len(found) + codes
    query = predictions["query"].to_numpy()
    order = np.lexsort((query, code))
    bounds = np.flatnonzero(np.diff(code[order], prepend=-1, append=-1))  # where cells begin, and the end
    for start, stop in itertools.pairwise(bounds.tolist()):
        rows = order[start:stop]
        index, place = int(code[rows[0]]), dict[str, Any]()
        for name, found in zip(reversed(names), reversed(values), strict=True):
            index, at = divmod(index, len(found))
            place[name] = found[at].item() if hasattr(found[at], "item") else str(found[at])
        place = {name: place[name] for name in names}
        num_queries = int(bounds[1]) if same else len(rows)
        if not np.array_equal(query[rows], np.arange(num_queries)):
            named = ", ".join(f"layer {value}" if name == "layer" else value for name, value in place.items())
            raise ValueError(
                f"{named}: expected one row for each of the queries 0 to {num_queries - 1}, got {len(rows)} rows"
            )
        yield _Cell(place, rows)


def _embed(predictions: pa.Table, function: Callable[..., metrics.retrieval.Accuracy]) -> Iterator[Document]:
    """One value for each cell, in the order of layer, pooling and direction."""
    neighbours, similarities = (_matrix(predictions[name]) for name in ("neighbours", "similarities"))
    gold = predictions["gold"].to_numpy()
    for cell in _cells(predictions, "layer", "pooling", "direction"):
        found = function(neighbours[cell.rows], similarities[cell.rows], gold[cell.rows])
        yield {**cell.place, **found._asdict()}


def _embed_margin(predictions: pa.Table, function: Callable[..., metrics.retrieval.Accuracy]) -> Iterator[Document]:
    """The same of a metric that reads both directions."""
    gold = predictions["gold"].to_numpy()
    rows = {tuple(cell.place.values()): cell.rows for cell in _cells(predictions, "layer", "pooling", "direction")}
    for (layer, pooling, direction), own in rows.items():
        other = rows.get((layer, pooling, "->".join(reversed(direction.split("->")))))
        if other is None:
            raise ValueError(f"layer {layer}, {pooling}: a margin needs both directions, got {direction} alone")
        found = function(*(_neighbours(predictions, side) for side in (own, other)), gold[own])
        yield {"layer": layer, "pooling": pooling, "direction": direction, **found._asdict()}


def _mine(predictions: pa.Table, function: Callable[..., metrics.mining.Mined]) -> Iterator[Document]:
    """One value for each layer and pooling, from both directions and both splits."""
    for layer, pooling, dev, test in mining_sides(predictions):
        yield {"layer": layer, "pooling": pooling, "direction": "both", **_said(function(dev, test))}


def mining_sides(
    predictions: pa.Table,
) -> Iterator[tuple[int, str, metrics.mining.Sides, metrics.mining.Sides]]:
    """The searches of a mining measurement: layer, pooling, and both sides of dev and of test.

    Raises:
        ValueError: for a layer and pooling without both splits in both directions.
    """
    golds, num_ids = predictions["golds"], predictions["num_ids"].to_numpy()
    places: dict[tuple[Any, ...], dict[tuple[str, str], Any]] = {}
    for cell in _cells(predictions, "layer", "pooling", "split", "direction", same=False):
        layer, pooling, split, direction = cell.place.values()
        places.setdefault((layer, pooling), {})[split, direction] = cell.rows
    for (layer, pooling), rows in places.items():
        wanted = [(split, direction) for split in ("dev", "test") for direction in ("xx->en", "en->xx")]
        if set(rows) != set(wanted):
            raise ValueError(f"layer {layer}, {pooling}: expected dev and test in both directions, got {sorted(rows)}")
        sides = []
        for split in ("dev", "test"):
            there, back = rows[split, "xx->en"], rows[split, "en->xx"]
            pairs = [
                (source if target >= 0 else -1, target)
                for source, right in enumerate(golds.take(there).to_pylist())
                for target in right
            ]
            forward, backward = (_neighbours(predictions, side) for side in (there, back))
            sides.append(metrics.mining.Sides(forward, backward, pairs, num_ids[there], num_ids[back]))
        yield layer, pooling, *sides


def _search(predictions: pa.Table, function: Callable[..., metrics.retrieval.Ranking]) -> Iterator[Document]:
    """One value for each layer, pooling and language of the queries, and beside it how far that language decides."""
    one_gold = function is metrics.retrieval.mean_reciprocal_rank
    for cell in _cells(predictions, "layer", "pooling", "direction"):
        languages = predictions["language"].take(cell.rows).to_numpy(zero_copy_only=False)
        for code in dict.fromkeys(languages):
            rows = cell.rows[languages == code]
            asked, own = predictions.take(rows), [code] * len(rows)
            found = _neighbours(predictions, rows)
            golds = asked["golds"].to_pylist()
            value = function(*found, [right[0] for right in golds] if one_gold else golds, own)
            pool = dict(_languages(asked, "golds", "gold_languages"))
            pool |= dict(_languages(asked, "neighbours", "neighbour_languages"))
            codes = [pool.get(number, "") for number in range(max(pool) + 1)]
            bias = metrics.retrieval.language_bias(*found, golds, own, codes)
            yield {**cell.place, "language": str(code), "value": value.value, **bias._asdict()}


def _languages(table: pa.Table, numbers: str, codes: str) -> Iterator[tuple[int, str]]:
    """Candidates and their languages, from two columns of lists."""
    flat = (table[name].combine_chunks().flatten().to_pylist() for name in (numbers, codes))
    yield from zip(*flat, strict=True)


def _neighbours(predictions: pa.Table, rows: Any) -> metrics.retrieval.Neighbours:
    """The neighbours of some rows, which have the same number of them."""
    taken = (predictions[name].take(rows).combine_chunks() for name in ("neighbours", "similarities"))
    return metrics.retrieval.Neighbours(*(column.flatten().to_numpy().reshape(len(rows), -1) for column in taken))


def _tag(predictions: pa.Table, function: Callable[..., Any]) -> Iterator[Document]:
    """What the metric says, F1 by each version of seqeval, and ``token_accuracy``, which XTREME's paper names."""
    spans = metrics.spans
    tags = predictions["prediction"].to_pylist(), predictions["gold"].to_pylist()
    found = {**_said(function(*tags)), "token_accuracy": spans.accuracy(*tags).value}
    if "f1" in found:
        found |= {f"f1_{compat}": spans.span_f1(*tags, compat=compat).f1 for compat in spans.COMPATS}
    yield found


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
    """Score a stored measurement by its task's metric and those that profiles count, or by another one.

    Returns:
        The names of the scores added, ``<metric>-v<version>``; none when the current versions are there.

    Raises:
        ValueError: when the stage is no measurement, or as `score`, naming the file.
    """
    record = store.record(id)
    if record["kind"] != "evaluate":
        raise ValueError(f"{id} is a stage of kind {record['kind']!r}: expected a measurement ('evaluate')")
    task = tasks.find(record["declaration"]["task"])
    wanted = [metric] if metric else dict.fromkeys((task.metric, *tasks.metrics_of(task.name)))
    names = {f"{one}-v{metrics.find(task.kind.name, one).version}": one for one in wanted}
    known = store.scores(id)
    missing = {name: one for name, one in names.items() if name not in known}
    if not missing:
        return []
    path, table, language = store.folder(id) / PREDICTIONS, predictions(store, id), record["declaration"]["language"]
    try:
        documents = {name: score(table, task.kind.name, one, language) for name, one in missing.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for name, document in documents.items():
        store.add_score(id, name, document)
    return list(documents)


def predictions(store: Records, id: str) -> pa.Table:
    """The predictions of a stored measurement.

    Raises:
        ValueError: when they are missing, or not what was published, naming the file.
    """
    import pyarrow.parquet as pq

    path = store.folder(id) / PREDICTIONS
    if not path.is_file() or file_sha256(path) != store.record(id)["files"].get(PREDICTIONS, {}).get("sha256"):
        raise ValueError(
            f"{path}: missing or not what was published; move {path.parent} out of the store and run the study again"
        )
    try:
        return pq.read_table(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error


def rescore(store: Records, ids: Iterable[str], metric: str | None = None) -> dict[str, list[str]]:
    """Add what is lacking of the current scores to the measurements among ``ids``; nothing is edited.

    Args:
        store: the store.
        ids: stages; those that are no measurement are passed over.
        metric: a metric to use instead of those of `score_stage`, of the measurements whose kind has it.

    Returns:
        The names of the scores added, by the id of each stage that got some.

    Raises:
        ValueError: as `score_stage`, and for a metric that no kind has, with the near ones.
    """
    records = {id: store.record(id) for id in ids}
    measurements = [id for id, record in records.items() if record["kind"] == "evaluate"]
    if metric:
        one_of("metric", metric, sorted({name for _, name in metrics.METRICS}))
        kinds = {kind for kind, name in metrics.METRICS if name == metric}
        measurements = [id for id in measurements if tasks.find(records[id]["declaration"]["task"]).kind.name in kinds]
    return {id: added for id in measurements if (added := score_stage(store, id, metric))}
