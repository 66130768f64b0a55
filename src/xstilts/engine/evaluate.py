"""A measurement: one model on one task, language and split -> predictions.parquet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from xstilts.stage import Encoder, Evaluate, Merge, Train
from xstilts.tasks import examples as read_examples
from xstilts.tasks import find

from . import Context, Interrupted, retrieval, start_folder
from .data import Tokenised, rows_of, tokenised, translations
from .folders import identity
from .kinds import KINDS
from .lists import Lists, refuse_overflow
from .model import Model
from .packing import Batch, collate, length_sorted_batches

TOKENS_PER_BATCH = 4096
CUDA_TOKENS_PER_BATCH = 16384

_Key = tuple[str, str, tuple[tuple[int, ...], ...]]
_loaded: dict[_Key, Model] = {}


def forget_model() -> None:
    """Free the model that was measured last, before another one takes the memory."""
    _loaded.clear()


def keep_model(model: Model, id: str, weights: Path, device: str) -> None:
    """Keep a training's model, just saved to ``weights``: whoever measures those very files need not load them."""
    forget_model()
    model.zero_grad(set_to_none=True)
    _loaded[_key(id, weights, device)] = model.to(device).eval()


def _key(id: str, weights: Path | None, device: str) -> _Key:
    """What a model in memory is found by: its id, its device, and the files of its weights wherever they are moved."""
    return id, device, identity(sorted(weights.rglob("*.safetensors")) if weights else ())


def model_of(model: Encoder | Train | Merge, context: Context) -> Model:
    """Load a model, or find the one that this process used last: stages that share a model share its load."""
    key = _key(model.id, None if isinstance(model, Encoder) else context.inputs[model.id], context.device)
    if key not in _loaded:
        forget_model()
        if isinstance(model, Train):
            loaded = Model.load_trained(context.inputs[model.id], model.recipe)
        else:
            loaded = Model(start_folder(model, context))
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
    with _inference(device, precision, cache=not model.encoder.divided):
        for picked, batch in _batches(data, rows, device, context):
            parts.append(KINDS[kind].decode(model.encoder, head, batch))
            order.append(picked)
    back = np.argsort(np.concatenate(order))
    return {name: _joined([part[name] for part in parts], back) for name in parts[0]}


@contextlib.contextmanager
def _inference(device: torch.device, precision: str, cache: bool = True) -> Iterator[None]:
    """Without ``cache`` no cast of a weight outlives its use."""
    half = precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=cache):
        yield


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
    budget = CUDA_TOKENS_PER_BATCH if device.type == "cuda" else TOKENS_PER_BATCH
    batches = length_sorted_batches(data.num_tokens[rows], budget)
    for number, picked in enumerate(batches):
        if context is not None and context.stop():
            raise Interrupted("stopped between batches; a measurement starts anew")
        yield picked, collate(data, rows[picked], device)
        if context is not None:
            context.report({"step": number + 1, "steps": len(batches)})


def evaluate(stage: Evaluate, out: Path, context: Context) -> dict[str, Any]:
    """Measure one split in one language and write ``predictions.parquet``.

    Retrieval has one row for each layer (0 = embeddings), pooling, direction and query, with the indices and
    float32 cosines of its nearest candidates, best first; ``gold`` is the index of the right one, ``golds`` are those
    of all where there may be several. Mining has the rows of dev and test, a search the languages of both sides.
    Classification and multiple choice have gold, prediction and logits; tags a list of gold and one of predicted
    ones for each sentence; spans the predicted and gold texts with scores; masked tokens have summed loss and their
    number.

    Raises:
        ValueError: when the model has no head for the task.
    """
    context.phases("load")
    model = model_of(stage.model, context)
    table, data = predictions(stage, model, context)
    context.phases("writing")
    pq.write_table(table, out / "predictions.parquet", compression="zstd")
    return {
        "tokenizer_fingerprint": model.fingerprint,
        "num_layers": model.encoder.num_layers,
        "num_examples": len(data),
        "num_tokens": int(data.num_tokens.sum()),
    }


def predictions(stage: Evaluate, model: Model, context: Context) -> tuple[pa.Table, Tokenised]:
    """What `evaluate` writes, of a model in hand, and the rows that it was measured on."""
    phase, task = context.phases, find(stage.task)
    phase("data")
    translated = translations((stage.translated,) if stage.translated else (), context)
    data = tokenised(
        tuple(translated) or stage.data,
        model.tokenizer,
        model.tokenizer_key,
        max_tokens=min(stage.max_tokens, model.encoder.max_positions),
        prefix=stage.views.prefix if stage.views else "",
        translated=translated,
        data_dir=context.data_dir,
        cache_dir=context.cache_dir,
    )
    head = model.head(stage.head) if stage.head else None
    phase("forward")
    if task.is_retrieval:
        table = _by_vectors(stage, model, head, data, context)
    elif head is None:
        raise ValueError(f"the model of {stage.id} has no head for {stage.task}")
    else:
        columns = predict(
            model,
            head,
            task.kind.name,
            data,
            rows=None,
            precision=stage.precision,
            device=torch.device(context.device),
            context=context,
        )
        for values in columns.values():
            refuse_overflow(values, "the predictions")
        part = next(iter(translated or stage.data))
        examples = rows_of(part, translated, context.data_dir)
        table = KINDS[task.kind.name].table(task.kind, columns, examples)
    return table, data


def _by_vectors(stage: Evaluate, model: Model, head: Any, data: Tokenised, context: Context) -> pa.Table:
    views, task, device = stage.views, find(stage.task), torch.device(context.device)
    assert views is not None, "study gives every retrieval measurement its views"
    if head is None and any(pooling.startswith("pooler") for pooling in views.poolings):
        raise ValueError(f"the model of {stage.id} is no dual encoder: it has no pooler for {stage.task}")
    each = int(data.num_sequences.max())
    num_texts = len(data) * each
    parts: list[tuple[str, list[Any]]] = [
        (d.split, read_examples(task, d.split, d.language, context.data_dir)) for d in stage.data if each == 1
    ]
    tables = []
    cells = retrieval.cells(views, model.encoder.num_layers)
    for group in retrieval.passes(cells, num_texts, model.encoder.hidden_size, device):
        context.phases("forward")
        with _inference(device, stage.precision):
            vectors = retrieval.Vectors(model, head, group, _batches(data, None, device, context), num_texts, device)
        context.phases("neighbours")
        if task.kind.name == "embed":
            tables.append(retrieval.bitext(vectors, len(data), views.num_neighbours, each))
        elif task.kind.name == "mine":
            tables.append(retrieval.mining(vectors, parts, views.num_neighbours))
        else:
            tables.append(retrieval.search(vectors, parts[0][1], views.num_neighbours))
        del vectors  # before the next pass takes the memory
    return pa.concat_tables(tables)
