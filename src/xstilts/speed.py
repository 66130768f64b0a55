"""How fast stages are, by like ones in a store or by stated defaults, and how many tokens examples have."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .hub import find_encoder
from .spec import canonical_json
from .stage import Encoder, Stage, Train, Translate, root, seconds_of
from .tasks import find, names
from .untrusted import parsed

FLOPS: Mapping[tuple[str, str], float] = {
    ("cpu", "float32"): 8.5e10,
    ("cpu", "bfloat16"): 1.2e11,
    ("cuda", "float32"): 2e13,
    ("cuda", "bfloat16"): 8e13,
    ("mps", "float32"): 1e12,
    ("mps", "bfloat16"): 1e12,
}
"""Operations a second that training makes use of, on a CPU by each thread: docs/benchmarks.md's e5-small on two threads
and XLM-R base on an H100 in bfloat16; the others were not measured."""
OVERHEAD_SECONDS = {"train": 10.0, "evaluate": 1.0, "merge": 5.0, "translate": 10.0, "probe": 1.0}

_SAME_SIZE = 0.1  # largest difference of two encoders of one size, as a share
_OFFLINE = (250_037, 384, 12, 1536, 512)


class Shape(NamedTuple):
    """The sizes of an encoder that its cost follows from."""

    vocabulary: int
    hidden: int
    num_layers: int
    intermediate: int
    positions: int

    @property
    def num_layer_parameters(self) -> int:
        """Weights that every token meets: those of the layers, without the embeddings."""
        return self.num_layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)

    @property
    def num_bytes(self) -> int:
        """Of all weights in float32."""
        return 4 * (self.num_layer_parameters + (self.vocabulary + self.positions) * self.hidden)


def shape_of(encoder: Encoder) -> Shape | None:
    """The shape of an encoder on this machine; ``None`` where its configuration does not say."""
    if encoder.tiny is not None:
        tiny = encoder.tiny
        return Shape(tiny.vocab_size, tiny.hidden_size, tiny.num_layers, tiny.intermediate_size, tiny.max_positions)
    if encoder.name == "offline":
        return Shape(*_OFFLINE)
    folder = Path(encoder.name)
    if not folder.is_dir():
        folder = find_encoder(encoder.name, encoder.content.rpartition("@")[2] or encoder.revision)
    try:
        known = dict(parsed((folder / "config.json").read_bytes()))
    except (ValueError, TypeError):  # what loads it says what is wrong with it
        return None
    spellings = (
        ("vocab_size",),
        ("hidden_size", "dim"),
        ("num_hidden_layers", "n_layers"),
        ("intermediate_size", "hidden_dim"),
        ("max_position_embeddings",),
    )
    sizes = [next((known[name] for name in spelled if isinstance(known.get(name), int)), None) for spelled in spellings]
    return Shape(*sizes) if all(sizes) else None  # type: ignore[arg-type]


class _Key(NamedTuple):
    """What like stages have in common: the sort of work, and what it is done with."""

    kind: str
    how: str  # of a training whether it is on text, and robust; of a measurement whether it is of retrieval
    device: str
    precision: str
    num_threads: int
    num_ranks: int


def _how(tasks: Iterable[str], robust: str, is_retrieval: bool) -> str:
    known = set(names()) & {*tasks}  # a store may have tasks of other study files
    text = any(find(name).kind.name == "mlm" for name in known)
    return " ".join(filter(None, ("text" * text, robust, "retrieval" * is_retrieval)))


def _how_of(stage: Stage) -> str:
    if not isinstance(stage, Train):
        return _how((), "", getattr(stage, "views", None) is not None)
    return _how(stage.mixture.tasks, stage.recipe.robust.method if stage.recipe.robust else "", False)


def _how_declared(declaration: Mapping[str, Any]) -> str:
    robust = declaration.get("recipe", {}).get("robust", {}).get("method", "")
    return _how(declaration.get("mixture", {}).get("tasks", ()), robust, bool(declaration.get("views")))


class Known:
    """What the records of a store say of costs: how fast stages were, and how many tokens the examples of a task have.

    Args:
        records: of stages that are done, see `Store.records`.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]] = ()) -> None:
        self._records = records
        self._by_id = {record["id"]: record for record in records}
        self._paces: dict[tuple[_Key, Encoder | None, Shape | None], _Pace | None] = {}

    def seconds(
        self, stage: Stage, num_tokens: float, passes: int, device: str, shape: Shape | None, num_ranks: int = 1
    ) -> tuple[float, str]:
        """The seconds of a stage, and where they are from.

        By like stages where there are some: of the same kind, on a text or none, retrieval or none, with the same
        robust method, of the same type of device and precision, on a CPU the same number of threads, of the same
        encoder or of one of its size. Their time in all for each token in all, or for each stage where there are no
        tokens. Else by `FLOPS` and `OVERHEAD_SECONDS`: 2 operations a pass for each weight of the layers, and in masked
        language modelling of the embeddings at masked tokens (Kaplan et al. 2020, arXiv 2001.08361).

        Args:
            stage: what is done.
            num_tokens: how many it sees.
            passes: how often the cost of a forward pass each of them has; a backward pass counts two.
            device: cpu, cuda or mps.
            shape: of the encoder, if it is known.
            num_ranks: how many processes a training has; without like stages, it is taken to be so many times as fast.
        """
        num_ranks = num_ranks if isinstance(stage, Train) else 1
        threads = stage.num_threads if device == "cpu" else 1  # type: ignore[attr-defined]
        key = _Key(stage.kind, _how_of(stage), device, stage.precision, threads, num_ranks)  # type: ignore[attr-defined]
        alike = (key, None if isinstance(stage, Translate) else root(stage), shape)
        if alike not in self._paces:
            self._paces[alike] = self._pace(*alike)
        if (pace := self._paces[alike]) is not None:
            return num_tokens * pace.per_token + pace.per_stage, pace.by
        seconds = OVERHEAD_SECONDS[stage.kind]
        if not num_tokens:
            return seconds, f"{seconds:g} s a stage by default"
        if shape is None:
            return seconds, "not estimated: the encoder's configuration does not say its size"
        weights: float = shape.num_layer_parameters
        if isinstance(stage, Train) and key.how.startswith("text"):
            weights += stage.recipe.mlm_probability * shape.vocabulary * shape.hidden
        speed = FLOPS[device, key.precision] * threads * num_ranks / (2 * passes * weights)
        return seconds + num_tokens / speed, f"{speed:,.0f} tokens/s and {seconds:g} s a stage by default"

    @functools.cached_property
    def _sorted(self) -> dict[_Key, list[Mapping[str, Any]]]:
        found: dict[_Key, list[Mapping[str, Any]]] = {}
        for record in self._records:
            path = str(record.get("environment", {}).get("numeric_path", "")).split("-")
            declared = record["declaration"]
            threads = _number(path, "thread")
            precision = path[1] if len(path) > 1 else declared.get("precision", "float32")
            how = _how_declared(declared)
            key = _Key(record["kind"], how, path[0], precision, threads, _number(path, "ranks"))
            found.setdefault(key, []).append(record)
        return found

    def _pace(self, key: _Key, encoder: Encoder | None, shape: Shape | None) -> _Pace | None:
        declared = canonical_json(encoder.declaration()) if encoder else ""
        like = [
            one for one in self._sorted.get(key, ()) if key.kind == "translate" or self._is_like(one, declared, shape)
        ]
        counted = {"train": "tokens_per_second", "evaluate": "num_tokens"}.get(key.kind)
        like = [one for one in like if counted is None or one["result"].get(counted)]
        if not like:
            return None
        devices = ", ".join(sorted({str(record["environment"].get("device", "")) for record in like}))
        many = f"{len(like)} like stage{'s' * (len(like) > 1)} in the store ({devices}, {key.precision})"
        walls = [seconds_of(record) for record in like]
        results = [record["result"] for record in like]
        if key.kind == "train":
            steps = [one["tokens"] / one["tokens_per_second"] for one in results]
            per_token = math.fsum(steps) / sum(one["tokens"] for one in results)
            rest = statistics.median(max(0.0, wall - step) for wall, step in zip(walls, steps, strict=True))
            return _Pace(per_token, rest, f"{1 / per_token:,.0f} tokens/s and {rest:.1f} s a stage, as {many}")
        if key.kind == "evaluate":
            per_token = math.fsum(walls) / sum(one["num_tokens"] for one in results)
            return _Pace(per_token, 0.0, f"{1 / per_token:,.0f} tokens/s, as {many}")
        return _Pace(0.0, statistics.median(walls), f"{statistics.median(walls):.1f} s a stage, as {many}")

    def _is_like(self, record: Mapping[str, Any], encoder: str, shape: Shape | None) -> bool:
        trained = None  # the nearest stage with weights
        while True:
            declared = record["declaration"]
            if record["kind"] in ("train", "merge"):
                trained = trained or record
            model = declared.get("model", declared.get("start", {}))
            if "stage" not in model:
                break
            if model["stage"] not in self._by_id:
                return False
            record = self._by_id[model["stage"]]
        if canonical_json(model) == encoder:
            return True
        if shape is None or trained is None or trained["result"].get("num_layers") != shape.num_layers:
            return False
        files = trained.get("files", {}).items()
        size = sum(
            about["bytes"]
            for name, about in files
            if name.startswith("weights/encoder/") and name.endswith(".safetensors")
        )
        return abs(size / shape.num_bytes - 1) <= _SAME_SIZE

    @functools.cached_property
    def _tokens(self) -> dict[tuple[str, int], float]:
        """Mean tokens of the examples of a task at a length, as trainings and measurements saw them."""
        counts: dict[tuple[str, int], list[float]] = {}
        for record in self._records:
            declared, result = record["declaration"], record["result"]
            if record["kind"] == "train":
                own = {one["task"]: one.get("max_tokens") for one in declared["recipe"]["overrides"]}
                for name, about in result.get("tasks", {}).items():
                    length = own.get(name) or declared["recipe"]["max_tokens"]
                    _add(counts, (name, length), about.get("examples", 0), about.get("tokens", 0))
            elif record["kind"] == "evaluate" and "num_tokens" in result:
                key = (declared["task"], declared["max_tokens"])
                _add(counts, key, result.get("num_examples", 0), result["num_tokens"])
        return {key: tokens / seen for key, (seen, tokens) in counts.items() if seen}

    def tokens(self, task: str, max_tokens: int) -> float | None:
        """Mean tokens of an example of a task, ``None`` where no stage has seen any at this length."""
        return self._tokens.get((task, max_tokens))


def _number(path: Iterable[str], of: str) -> int:
    """The number before a word of a numeric path, such as 2 of ``2thread``; 1 where it is not there."""
    return next((int(part.removesuffix(of)) for part in path if part.endswith(of)), 1)


class _Pace(NamedTuple):
    """How fast like stages were: seconds for each token and for each stage, and which stages, in words."""

    per_token: float
    per_stage: float
    by: str


def _add(counts: dict[tuple[str, int], list[float]], key: tuple[str, int], seen: float, tokens: float) -> None:
    own = counts.setdefault(key, [0.0, 0.0])
    own[0] += seen
    own[1] += tokens
