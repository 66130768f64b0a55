"""A probe: what a model makes of a task's rows -> their mean vector, labelled vectors, squared gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from xstilts.probes import LABELLED, Probe
from xstilts.spec import stream_seed
from xstilts.tasks import find

from . import Context, Interrupted
from .data import Tokenised, tokenised
from .encoder import layers_of
from .evaluate import CUDA_TOKENS_PER_BATCH, TOKENS_PER_BATCH, model_of
from .kinds import KINDS
from .kinds.embed import pool
from .kinds.tag import IGNORED
from .lists import refuse_overflow
from .model import Model
from .packing import Batch, collate, length_sorted_batches

_CHOICES = ("wrong", "right")


def probe(stage: Probe, out: Path, context: Context) -> dict[str, Any]:
    """Write ``embedding.parquet`` and, of a labelled kind, ``features.parquet``; see `Probe`.

    The first has a ``vector`` [H] a row: ``text`` at the probe's layer and, with gradients, ``gradients`` of each
    layer from 1. The second has ``example`` (the number of the row in its data), ``label`` and ``vector``.

    Raises:
        ValueError: for a layer that the encoder does not have, no rows, or gradients where layers share weights.
        FloatingPointError: for states that are not finite.
    """
    phase, task = context.phases, find(stage.task)
    phase("load")
    model = model_of(stage.model, context)
    num_states = model.encoder.num_layers + 1
    if not -num_states <= stage.layer < num_states:
        raise ValueError(f"probe.layer is {stage.layer}: expected a hidden state, 0 to {num_states - 1}, or below 0")
    layer = stage.layer % num_states
    phase("data")
    data = tokenised(
        stage.data,
        model.tokenizer,
        model.tokenizer_key,
        max_tokens=min(stage.max_tokens, model.encoder.max_positions),
        data_dir=context.data_dir,
        cache_dir=context.cache_dir,
    )
    if not len(data):
        raise ValueError(f"{stage.task}/{stage.split} in {stage.language!r} has no rows to probe")
    rows = drawn(len(data), stage.num_examples, stage.task, "rows")
    phase("forward")
    text = np.zeros(model.encoder.hidden_size)
    kept: dict[str, list[np.ndarray]] = {"example": [], "label": [], "vector": []}
    with torch.inference_mode(), _autocast(stage.precision, context.device):
        for numbers, batch in _batches(data, rows, stage, context):
            mean, *labelled = _vectors(model, batch, layer, stage.pooling, task.kind.name)
            refuse_overflow(mean, "the encoder's states")
            text += mean.sum(0).double().cpu().numpy() / len(rows)
            for name, values in zip(kept, labelled, strict=False):
                found = values.cpu().numpy()
                kept[name].append(numbers[found] if name == "example" else found)
    vectors = [("text", layer, text)]
    if stage.gradients:
        phase("gradients")
        batches = _batches(data, rows, stage, context)
        squares = squared_gradients(model, model.head(stage.task), task.kind.name, batches, stage.precision)
        vectors += [("gradients", number, values) for number, values in enumerate(squares, 1)]
    phase("writing")
    columns = {
        "what": pa.array([what for what, _, _ in vectors]),
        "layer": pa.array([number for _, number, _ in vectors], pa.int16()),
        "vector": _column(np.stack([vector for _, _, vector in vectors])),
    }
    pq.write_table(pa.table(columns), out / "embedding.parquet", compression="zstd")
    num_vectors = 0
    if task.kind.name in LABELLED:
        names = _CHOICES if task.kind.name == "choose" else task.kind.labels  # type: ignore[union-attr]
        example, label, vector = (np.concatenate(kept[name]) for name in kept)
        order = np.argsort(example, kind="stable")  # whatever the batches were
        order = order[drawn(len(order), stage.num_examples, stage.task, "vectors")]
        num_vectors = len(order)
        labels = pa.array([names[number] for number in label[order]], pa.string())
        columns = {"example": pa.array(example[order], pa.int32()), "label": labels, "vector": _column(vector[order])}
        pq.write_table(pa.table(columns), out / "features.parquet", compression="zstd")
    return {
        "tokenizer_fingerprint": model.fingerprint,
        "num_layers": model.encoder.num_layers,
        "layer": layer,
        "num_examples": len(rows),
        "num_vectors": num_vectors,
        "num_tokens": int(data.num_tokens[rows].sum()),
    }


def drawn(size: int, count: int, *key: str) -> np.ndarray:
    """At most ``count`` of the numbers below ``size``, ascending, from the stream of a key."""
    order = np.random.default_rng(stream_seed("probe", *key)).permutation(size)
    return np.sort(order[:count])


def _autocast(precision: str, device: str) -> torch.autocast:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def _column(vectors: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def _batches(data: Tokenised, rows: np.ndarray, stage: Probe, context: Context) -> Iterator[tuple[np.ndarray, Batch]]:
    """The numbers of examples and their batch."""
    device = torch.device(context.device)
    budget = CUDA_TOKENS_PER_BATCH if device.type == "cuda" else TOKENS_PER_BATCH
    batches = length_sorted_batches(data.num_tokens[rows], budget)
    for number, picked in enumerate(batches):
        if context.stop():
            raise Interrupted("stopped between batches; a probe starts anew")
        yield rows[picked], collate(data, rows[picked], device)
        context.report({"step": number + 1, "steps": len(batches)})


def _vectors(model: Model, batch: Batch, layer: int, pooling: str, kind: str) -> tuple[Tensor, ...]:
    """The mean vector of each example [E, H]; of a labelled kind the example of each vector, its label, and it."""
    hidden = model.encoder(batch.ids, batch.packing, batch.types, all_layers=True)[layer].float()  # [T, H]
    pooled = pool(hidden, batch, pooling)  # [N, H]
    counts = torch.bincount(batch.example, minlength=batch.num_examples)
    means = pooled.new_zeros(batch.num_examples, pooled.shape[1]).index_add_(0, batch.example, pooled)
    means = means / counts[:, None]
    if kind == "classify":
        return means, torch.arange(batch.num_examples), batch.targets["label"], means
    if kind == "choose":
        right = torch.zeros_like(batch.example)
        right[batch.first + batch.targets["label"]] = 1
        return means, batch.example, right, pooled
    if kind == "tag":
        at = (batch.targets["label"] != IGNORED).nonzero()[:, 0]  # first pieces of words
        return means, batch.example[batch.segment[at]], batch.targets["label"][at], hidden[at]
    return (means,)


def squared_gradients(
    model: Model, head: Any, kind: str, batches: Iterable[tuple[np.ndarray, Batch]], precision: str = "float32"
) -> np.ndarray:
    """The mean over tokens of the squared gradient of the summed loss in each layer's output, [L, H] float64.

    The diagonal of the empirical Fisher information in the outputs of layers (TaskEmb, Vu et al. 2020, arXiv
    2005.00770, which has other parts of the encoder beside them). No example's loss depends on another one's tokens,
    so the gradients of a batch's sum are those of its examples.

    Raises:
        ValueError: for an encoder whose layers share their weights.
    """
    encoder, module = model.encoder, KINDS[kind]
    _, layers = layers_of(encoder)
    if not layers:
        name = type(encoder.model).__name__
        raise ValueError(f"a probe with gradients: the encoder ({name}) has no layers with weights of their own")
    sums = np.zeros((len(layers), encoder.hidden_size))
    num_tokens = 0

    def watch(number: int) -> Callable[[Any, Any, Any], None]:
        def add(gradient: Tensor) -> None:
            sums[number] += gradient.detach().double().flatten(0, -2).square().sum(0).cpu().numpy()

        def hook(layer: Any, given: Any, found: Any) -> None:
            (found[0] if isinstance(found, tuple) else found).register_hook(add)

        return hook

    hooks = [layer.register_forward_hook(watch(number)) for number, layer in enumerate(layers)]
    width = encoder.model.get_input_embeddings().embedding_dim
    assert isinstance(width, int)
    try:
        for _, batch in batches:
            with torch.enable_grad():
                # what the gradient is asked of: the way there leads through every layer and past every weight
                nothing = torch.zeros(batch.num_tokens, width, device=batch.ids.device, requires_grad=True)
                with encoder.perturbed(nothing), _autocast(precision, batch.ids.device.type):
                    loss = module.loss(encoder, head, batch, torch.Generator()) * module.num_terms(batch)
                torch.autograd.grad(loss, nothing)
            num_tokens += batch.num_tokens
    finally:
        for hook in hooks:
            hook.remove()
    if not np.isfinite(sums).all():
        raise FloatingPointError("the gradients are not finite: take precision float32")
    return sums / num_tokens
