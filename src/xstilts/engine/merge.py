"""Merging: encoders that were trained from one start -> one encoder, a part of a tensor at a time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from xstilts.metrics.retrieval import accuracy_at_1
from xstilts.spec import stream_seed
from xstilts.stage import Encoder, Evaluate, Merge, Views

from . import Context, Interrupted, start_folder
from . import encoder as encoders
from .evaluate import forget_model, predictions
from .model import Model

# Most entries of one model in memory at a time. It counts for dare, whose streams are keyed by part.
_PART = 1 << 18
_HALF = 1 << 16  # values of either half of a float32's 32 bits

Combine = Callable[["Part", Tensor], Tensor]
"""A part and its entries in every model [M, P] -> those of the merged model [P]."""


class Part(NamedTuple):
    """A range of a tensor's first dimension; all of a tensor without dimensions."""

    tensor: str
    start: int
    stop: int


class Weights:
    """The tensors of an encoder's folder, read part by part.

    Every read opens its file anew: the pages of an open file count as memory for as long as it is open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._file_of: dict[str, Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as stored:
                for name in stored.keys():  # noqa: SIM118
                    self.shapes[name] = tuple(stored.get_slice(name).get_shape())
                    self._file_of[name] = file

    def read(self, part: Part) -> Tensor:
        """The entries of a part, with the shape that they have in the tensor; floating ones as float32."""
        with safe_open(self._file_of[part.tensor], "pt") as stored:
            if self.shapes[part.tensor]:
                found = stored.get_slice(part.tensor)[part.start : part.stop]
            else:
                found = stored.get_tensor(part.tensor)
            return found.to(torch.float32 if found.is_floating_point() else found.dtype, copy=True)

    def parts(self) -> Iterator[Part]:
        """All parts, tensor after tensor."""
        for name, shape in self.shapes.items():
            length = shape[0] if shape else 1
            rows = max(1, _PART // max(1, math.prod(shape[1:])))
            yield from (Part(name, at, min(at + rows, length)) for at in range(0, length, rows))

    def check_same(self, other: Weights) -> None:
        """Raise ``ValueError`` unless another folder has the same tensors and the same tokenizer."""
        for name in {**self.shapes, **other.shapes}:
            if self.shapes.get(name) != other.shapes.get(name):
                sizes = (f"in {one.folder} {list(one.shapes.get(name, ())) or 'absent'}" for one in (self, other))
                raise ValueError(
                    f"the tensor {name} is {', '.join(sizes)}: only encoders of one shape and vocabulary can be merged"
                )
        files = [folder / "tokenizer.json" for folder in (self.folder, other.folder)]
        if all(file.is_file() for file in files) and files[0].read_bytes() != files[1].read_bytes():
            raise ValueError(f"{files[1]} and {files[0]} differ: only encoders of one vocabulary can be merged")


def merge(stage: Merge, out: Path, context: Context) -> dict[str, Any]:
    """Write the merged encoder as ``weights/encoder``, an ordinary Hugging Face folder; see `Merge` for the methods.

    Memory holds the merged model and a part of every other one, or one model while candidates are measured. An
    interrupted merge starts anew.

    Raises:
        ValueError: for models of different shapes or vocabularies.
        Interrupted: on request.
    """
    forget_model()
    models = {model.id: Weights(context.inputs[model.id] / "encoder") for model in stage.models}
    first, *others = models.values()
    for other in others:
        first.check_same(other)
    result: dict[str, Any] = {"num_models": len(models)}
    kept = list(models)
    if stage.held_out is not None:
        kept, result["held_out"] = choose(kept, partial(_held_out_score, stage, models, context))
    combine = _combine(stage, models, context)
    encoder = write([models[id] for id in kept], combine, out / "weights" / "encoder", context)
    shutil.rmtree(context.work / "soup", ignore_errors=True)
    return result | {"num_weights": sum(math.prod(shape) for shape in encoder.shapes.values())}


def write(models: Sequence[Weights], combine: Combine, folder: Path, context: Context) -> Weights:
    """Write what is combined of models of one shape, with the first one's config and tokenizer."""
    first = models[0]
    merged: dict[str, Tensor] = {}
    parts = list(first.parts())
    for number, part in enumerate(parts):
        if context.stop():
            raise Interrupted("stopped between tensors; a merge starts anew")
        entries = [weights.read(part) for weights in models]
        shape = entries[0].shape
        if entries[0].is_floating_point():
            found = combine(part, torch.stack([values.flatten() for values in entries])).view(shape)
        elif any(not torch.equal(values, entries[0]) for values in entries):
            raise ValueError(f"the models differ in {part.tensor}, whose numbers are no weights: they cannot be merged")
        else:
            found = entries[0]
        if part.tensor not in merged:
            merged[part.tensor] = torch.empty(first.shapes[part.tensor], dtype=found.dtype)
        merged[part.tensor][slice(part.start, part.stop) if shape else ...] = found
        context.report({"step": number + 1, "steps": len(parts)})
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(first.folder, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    save_file(merged, folder / "model.safetensors", metadata={"format": "pt"})
    return Weights(folder)


def _combine(stage: Merge, models: dict[str, Weights], context: Context) -> Combine:
    if stage.method in ("uniform", "greedy"):
        return lambda part, entries: uniform(entries)
    assert stage.start is not None, "filled when it was declared"
    assert stage.scale is not None, "filled when it was declared"
    scale, start = stage.scale, Weights(_start(stage.start, context))
    next(iter(models.values())).check_same(start)
    if stage.method == "ties":
        assert stage.density is not None, "filled when it was declared"
        share = stage.density
        limits = torch.stack([smallest_kept(own, start, share, context) for own in models.values()])[:, None]

    def combine(part: Part, entries: Tensor) -> Tensor:
        base = start.read(part).flatten()
        vectors = entries - base
        if stage.method == "ties":
            return base + scale * ties(vectors.where(vectors.abs() >= limits, 0.0))
        if stage.method == "dare":
            assert stage.density is not None, "filled when it was declared"
            keys = ((stage.seed, id, part.tensor, "dare", part.start) for id in models)
            vectors = torch.stack([dare(v, stage.density, stream_seed(*k)) for v, k in zip(vectors, keys, strict=True)])
        return base + scale * vectors.sum(0)

    return combine


def _start(model: Any, context: Context) -> Path:
    """A start's folder; that of a pretrained encoder with the tensors alone, and their names, that a training keeps."""
    folder = start_folder(model, context)
    if not isinstance(model, Encoder):
        return folder
    own = context.work / "start"
    shutil.rmtree(own, ignore_errors=True)
    encoders.save(encoders.load(folder, attention_dropout=None, hidden_dropout=None), folder, own)
    return own


# -- the methods ------------------------------------------------------------------------------------------


def uniform(entries: Tensor) -> Tensor:
    """[M, P] -> [P]: the mean over models; a single model is itself, bit for bit."""
    return entries[0] if len(entries) == 1 else entries.sum(0) / len(entries)


def ties(vectors: Tensor) -> Tensor:
    """Trimmed task vectors [M, P] -> [P]: the mean of those entries that have the sign of their sum.

    Algorithm 1 of Yadav et al. 2023 without its scale. A sum of exactly 0 elects no sign, as there; the notebook that
    they published (``ties_minimal.ipynb``) then takes the majority's over all parameters.
    """
    elected = vectors.sum(0).sign()
    agrees = vectors.sign() == elected  # where none is elected only zeros do
    return vectors.where(agrees, 0.0).sum(0) / agrees.sum(0).clamp(min=1)


def dare(vector: Tensor, density: float, seed: int) -> Tensor:
    """Keep each entry with probability ``density``, divided by it, and drop the others (Yu et al. 2023, eq. 3)."""
    generator = torch.Generator().manual_seed(seed)
    return vector.where(torch.rand(len(vector), generator=generator) < density, 0.0) / density


def smallest_kept(model: Weights, start: Weights, density: float, context: Context) -> Tensor:
    """The magnitude [] from which TIES keeps an entry of a task vector: that of number density * size, largest first.

    Exact in two passes, whatever the size: bits of magnitudes are in the order of the magnitudes, so the first pass
    counts their upper halves and the second the lower halves of those whose upper half is that of the one looked for.
    """
    upper = rank = 0
    for is_upper in (True, False):
        counts = torch.zeros(_HALF, dtype=torch.int64)
        for part in model.parts():
            if context.stop():
                raise Interrupted("stopped between tensors; a merge starts anew")
            values = model.read(part)
            if values.is_floating_point():
                bits = (values - start.read(part)).abs().flatten().view(torch.int32)
                halves = bits >> 16 if is_upper else bits[bits >> 16 == upper] & (_HALF - 1)
                counts += torch.bincount(halves, minlength=_HALF)
        rank = rank or max(1, round(density * int(counts.sum())))
        above = counts.flip(0).cumsum(0)  # how many are as large as the largest, the second largest ... half
        found = int((above < rank).sum())
        rank -= int(above[found - 1]) if found else 0
        upper = (upper << 16) + _HALF - 1 - found
    return torch.tensor(upper, dtype=torch.int32).view(torch.float32)


def choose(models: Sequence[str], score: Callable[[tuple[str, ...]], float]) -> tuple[list[str], dict[str, Any]]:
    """A greedy soup: the best model alone, then each next best one whose average with those kept is no worse.

    Args:
        models: names, in an order that decides between models of one score.
        score: the score of the average of some of them, in the order of ``models``.

    Returns:
        The models kept, in the order of ``models``, and for the record ``alone``, the scores of single models, best
        first, the ``score`` of those kept, and ``kept``.
    """
    alone = {model: score((model,)) for model in models}
    order = sorted(models, key=lambda model: -alone[model])
    kept, best = [order[0]], alone[order[0]]
    for model in order[1:]:
        trial = [other for other in models if other in (*kept, model)]
        if (found := score(tuple(trial))) >= best:
            kept, best = trial, found
    return kept, {"alone": {model: alone[model] for model in order}, "score": best, "kept": kept}


def _held_out_score(stage: Merge, models: dict[str, Weights], context: Context, chosen: tuple[str, ...]) -> float:
    """Mean accuracy over languages, and over both directions, of the average of some models."""
    by = stage.held_out
    assert by is not None, "only a greedy merge chooses"
    folder = context.work / "soup"
    write([models[id] for id in chosen], lambda part, entries: uniform(entries), folder, context)
    model = Model(folder).to(context.device).eval()
    accuracies = []
    for rows in stage.data:
        views = Views((by.pooling,), prefix=by.prefix, layers=(by.layer,))
        measured = Evaluate(
            stage, by.task, rows.language, "dev", views, by.max_tokens, by.precision, by.num_threads, (rows,)
        )
        table, _ = predictions(measured, model, context)
        near, scores = (_lists(table[name]) for name in ("neighbours", "similarities"))
        accuracies.append(accuracy_at_1(near, scores, table["gold"].to_numpy()).value)
    return math.fsum(accuracies) / len(accuracies)


def _lists(column: Any) -> Any:
    """A column of lists of one size as an array [R, K]."""
    return column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
