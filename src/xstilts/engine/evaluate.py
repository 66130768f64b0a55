"""A measurement: one model on one task, language and split -> predictions.parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from xstilts.stage import Encoder, Evaluate, Views
from xstilts.tasks import examples as read_examples
from xstilts.tasks import find

from . import Context, Interrupted, encoder_folder
from .data import Tokenised, tokenised
from .kinds import KINDS, embed
from .lists import Lists
from .model import Model
from .packing import Batch, collate, length_sorted_batches

TOKENS_PER_BATCH = 4096
DIRECTIONS = ("xx->en", "en->xx")

_loaded: dict[tuple[str, str], Model] = {}


def forget_model() -> None:
    """Free the model that was measured last, before another one takes the memory."""
    _loaded.clear()


def model_of(model: Encoder | Any, context: Context) -> Model:
    """Load a model, or find the one that this process used last: stages that share a model share its load."""
    key = (model.id, context.device)
    if key not in _loaded:
        forget_model()
        if isinstance(model, Encoder):
            loaded = Model(encoder_folder(model, context))
        else:
            loaded = Model.load_trained(context.inputs[model.id])
        _loaded[key] = loaded.to(context.device).eval()
    return _loaded[key]


def predict(
    model: Model,
    head: Any,
    kind: str,
    data: Tokenised,
    *,
    rows: np.ndarray | None,
    precision: str,
    device: torch.device,
    context: Context | None = None,
) -> dict[str, Any]:
    """Run ``decode`` over ``rows`` of ``data`` (all when ``None``).

    Returns:
        Columns in the order of the rows: an array with one value for each, or a list of arrays of `Lists`.
    """
    parts: list[dict[str, Tensor | Lists]] = []
    order: list[np.ndarray] = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for picked, batch in _batches(data, rows, device, context):
            parts.append(KINDS[kind].decode(model.encoder, head, batch))
            order.append(picked)
    back = np.argsort(np.concatenate(order))
    return {name: _joined([part[name] for part in parts], back) for name in parts[0]}


def _joined(parts: list[Any], order: np.ndarray) -> np.ndarray | list[np.ndarray]:
    if not isinstance(parts[0], Lists):
        return torch.cat(parts).cpu().numpy()[order]
    values, lengths = (torch.cat([getattr(part, name) for part in parts]).cpu().numpy() for name in Lists._fields)
    lists = np.split(values, np.cumsum(lengths)[:-1])
    return [lists[at] for at in order]


def _batches(
    data: Tokenised, rows: np.ndarray | None, device: torch.device, context: Context | None
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Positions in ``rows`` and their batch, sorted by length; stops and reports by ``context``."""
    rows = np.arange(len(data)) if rows is None else rows
    batches = length_sorted_batches(data.num_tokens[rows], TOKENS_PER_BATCH)
    for number, picked in enumerate(batches):
        if context is not None and context.stop():
            raise Interrupted("stopped between batches; a measurement starts anew")
        yield picked, collate(data, rows[picked], device)
        if context is not None:
            context.report({"step": number + 1, "steps": len(batches)})


def evaluate(stage: Evaluate, out: Path, context: Context) -> dict[str, Any]:
    """Measure one split in one language and write ``predictions.parquet``.

    Retrieval has one row for each layer (0 = embeddings), pooling, direction and query, with the indices and
    float32 cosines of its nearest candidates, best first; ``gold`` is the index of the right one.
    Classification and multiple choice have gold, prediction and logits; tags a list of gold and one of predicted
    ones for each sentence; spans the predicted and gold texts with scores; masked tokens have summed loss and their
    number.

    Raises:
        ValueError: when the model has no head for the task.
    """
    model = model_of(stage.model, context)
    device = torch.device(context.device)
    task = find(stage.task)
    data = tokenised(
        stage.data,
        model.tokenizer,
        model.tokenizer_key,
        max_tokens=min(stage.max_tokens, model.encoder.max_positions),
        prefix=stage.views.prefix if stage.views else "",
        data_dir=context.data_dir,
        cache_dir=context.cache_dir,
    )
    if task.kind.name == "embed":
        assert stage.views is not None, "study gives every retrieval measurement its views"
        table = _retrieval(model, data, stage.views, stage.precision, device, context)
    else:
        head = model.head(stage.head) if stage.head else None
        if head is None:
            raise ValueError(f"the model of {stage.id} has no head for {stage.task}")
        columns = predict(
            model,
            head,
            task.kind.name,
            data,
            rows=None,
            precision=stage.precision,
            device=device,
            context=context,
        )
        for values in columns.values():
            refuse_overflow(values, "the predictions")
        examples = read_examples(task, stage.split, stage.language, context.data_dir)
        table = KINDS[task.kind.name].table(task.kind, columns, examples)
    pq.write_table(table, out / "predictions.parquet", compression="zstd")
    return {
        "tokenizer_fingerprint": model.fingerprint,
        "num_layers": model.encoder.num_layers,
        "num_examples": len(data),
        "num_tokens": int(data.num_tokens.sum()),
    }


def _retrieval(
    model: Model, data: Tokenised, views: Views, precision: str, device: torch.device, context: Context
) -> pa.Table:
    vectors = _sentence_vectors(model, data, views, precision, device, context)  # [E, 2, L+1, P, H]
    num_examples, _, num_layers, _, _ = vectors.shape
    gold = np.arange(num_examples, dtype=np.int32)
    tables = []
    for layer in range(num_layers):
        for at, pooling in enumerate(views.poolings):
            foreign, english = vectors[:, 0, layer, at], vectors[:, 1, layer, at]
            for direction, queries, candidates in zip(DIRECTIONS, (foreign, english), (english, foreign), strict=True):
                index, similarity = embed.neighbours(queries, candidates, views.num_neighbours)
                keep = index.shape[1]
                tables.append(
                    pa.table(
                        {
                            "layer": pa.array(np.full(num_examples, layer, dtype=np.int16)),
                            "pooling": pa.array([pooling] * num_examples),
                            "direction": pa.array([direction] * num_examples),
                            "query": pa.array(gold),
                            "gold": pa.array(gold),
                            "neighbours": _lists(index.cpu().numpy().astype(np.int32), keep),
                            "similarities": _lists(similarity.cpu().numpy(), keep),
                        }
                    )
                )
    return pa.concat_tables(tables)


def refuse_overflow(values: np.ndarray | list[np.ndarray] | Tensor, what: str) -> None:
    """Raise ``FloatingPointError`` unless every value is finite: such a measurement could not be scored."""
    values = np.concatenate(values) if isinstance(values, list) else values
    if not torch.isfinite(torch.as_tensor(values)).all():
        raise FloatingPointError(f"{what} are not finite: lower the learning rate, or take precision float32")


def _lists(values: np.ndarray, width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width)


def _sentence_vectors(
    model: Model, data: Tokenised, views: Views, precision: str, device: torch.device, context: Context
) -> Tensor:
    """Every sentence's vectors [E, 2, L+1, P, H] float32 from one forward over all layers."""
    shape = (len(data), 2, model.encoder.num_layers + 1, len(views.poolings), model.encoder.hidden_size)
    vectors = torch.empty(shape, dtype=torch.float32, device=device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for rows, batch in _batches(data, None, device, context):
            found = embed.decode(model.encoder, views.poolings, batch)["vectors"]  # [2E, L+1, P, H]
            vectors[torch.from_numpy(rows).to(device)] = found.unflatten(0, (len(rows), 2))
            refuse_overflow(found, "the encoder's states")
    return vectors
