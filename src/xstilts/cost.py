"""What a plan will cost: tokens, bytes and hours of its stages, by like stages in a store or stated defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .mixture import PER_TASK, Mixture
from .probes import Probe
from .speed import Known, Shape, shape_of
from .stage import Encoder, Evaluate, Merge, Stage, Train, Translate, root
from .tasks import Bitext, Choices, Entry, Example, Pair, Passage, Task, Text, Tokens, examples, find, some_examples

CHARACTERS_PER_TOKEN = 4.0
_SAMPLE = 200
_SPECIAL = 3  # tokens around and between the texts of a sequence
_WINDOW_STEP = 128  # of a paragraph that is longer than a sequence, see the kind span


class Work(NamedTuple):
    """What one stage has to do.

    Attributes:
        examples: seen by a training, or measured.
        tokens: of these.
        passes: how often the cost of a forward pass each token has: a backward pass counts two.
        weights: bytes of weights that it leaves, which a run may drop once nothing reads them.
        files: bytes of all else that it leaves.
    """

    examples: float = 0.0
    tokens: float = 0.0
    passes: int = 0
    weights: float = 0.0
    files: float = 0.0


@dataclass(frozen=True)
class Share:
    """The cost of all stages of one kind.

    Attributes:
        stages: how many.
        seconds: of all of them together.
        by: where the seconds are from, in words.
    """

    stages: int
    work: Work
    seconds: float
    by: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """The cost of stages: by kind, and how the tokens of each task's examples were found.

    Attributes:
        tokens_by: names of tasks by how the number of their tokens is known.
    """

    kinds: Mapping[str, Share]
    num_workers: int
    tokens_by: Mapping[str, tuple[str, ...]]

    @property
    def seconds(self) -> float:
        """Of all stages, summed over workers."""
        return math.fsum(share.seconds for share in self.kinds.values())

    @property
    def hours(self) -> float:
        """From the beginning to the end, when every worker always has a stage."""
        return self.seconds / 3600 / self.num_workers

    def document(self) -> dict[str, Any]:
        """The cost as JSON data."""
        kinds = [
            {
                **{"kind": kind, "num_stages": share.stages, "examples": share.work.examples},
                **{"tokens": share.work.tokens, "weights_bytes": share.work.weights, "files_bytes": share.work.files},
                **{"seconds": share.seconds, "by": list(share.by)},
            }
            for kind, share in self.kinds.items()
        ]
        tokens_by = [{"by": how, "tasks": list(names)} for how, names in self.tokens_by.items()]
        return {"kinds": kinds, "num_workers": self.num_workers, "hours": self.hours, "tokens_by": tokens_by}

    def lines(self) -> list[str]:
        """The cost for a person; none where nothing is to run."""
        if not self.kinds:
            return []
        found = ["what is to run, by estimate:"]
        for kind, share in self.kinds.items():
            work = share.work
            amounts = [f"{share.stages:5} stages"]
            amounts += [f"{work.examples:,.0f} examples, {work.tokens:,.0f} tokens"] if work.examples else []
            found.append(f"  {kind:9} {'; '.join([*amounts, _hours(share.seconds), *dict.fromkeys(share.by)])}")
        weights = math.fsum(share.work.weights for share in self.kinds.values())
        files = math.fsum(share.work.files for share in self.kinds.values())
        found.append(f"  disk      {_bytes(weights + files)} with --keep all, {_bytes(files)} with --keep none")
        each = f"{self.num_workers} worker{'s' * (self.num_workers > 1)}"
        found.append(
            f"  time      {_hours(self.seconds)} of stages, {_hours(self.hours * 3600)} with {each} that never wait"
        )
        for how, names in self.tokens_by.items():
            found.append(f"  tokens    {how}: {', '.join(names)}")
        return found


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def shares(mixture: Mixture, present: Sequence[int], official: Sequence[int | None]) -> list[float]:
    """Each task's share of the examples, as `engine.packing.shares`, which needs numpy."""
    weights = [float(rows) for rows in present]
    if mixture.policy == "explicit":
        weights = list(mixture.weights)
    elif mixture.policy == "uniform":
        weights = [1.0] * len(present)
    elif mixture.reads_official_sizes:
        weights = [float(whole or rows) for rows, whole in zip(present, official, strict=True)]
    if mixture.policy in ("capped", "temperature"):
        weights = [min(weight, mixture.cap) for weight in weights]
    if mixture.policy == "temperature":
        weights = [weight ** (1 / mixture.temperature) for weight in weights]
    if mixture.text_share is not None:
        text = [find(name).kind.name == "mlm" for name in mixture.tasks]
        for is_text, share in ((True, mixture.text_share), (False, 1 - mixture.text_share)):
            whole = sum(weight for weight, own in zip(weights, text, strict=True) if own == is_text)
            weights = [
                weight * share / whole if own == is_text else weight for weight, own in zip(weights, text, strict=True)
            ]
    return [weight / sum(weights) for weight in weights]


def num_sequence_tokens(example: Example, max_tokens: int) -> float:
    """The tokens of an example at `CHARACTERS_PER_TOKEN`: all of its sequences, as its kind cuts them."""

    def of(*texts: str) -> float:
        return min(max_tokens, _SPECIAL + sum(map(len, texts)) / CHARACTERS_PER_TOKEN)

    match example:
        case Pair(first=first, second=second):
            return of(first, second)
        case Text(text=text):
            return of(text)
        case Bitext(first=first, second=second, context=context, negative=negative):
            return of(first) + of(second, context) + (of(negative) if negative else 0)
        case Entry(text=text, context=context):
            return of(text, context)
        case Choices(prompt=prompt, choices=choices):
            return sum(of(prompt, choice) for choice in choices)
        case Tokens(words=words):
            return _SPECIAL + len(" ".join(words)) / CHARACTERS_PER_TOKEN
        case Passage(context=context, question=question):
            asked = _SPECIAL + len(question) / CHARACTERS_PER_TOKEN
            room, rest = max(max_tokens - asked, 1), len(context) / CHARACTERS_PER_TOKEN
            windows = 1 + max(0, math.ceil((rest - room) / _WINDOW_STEP))
            return windows * min(max_tokens, asked + rest)


class Estimate:
    """The cost of stages on this machine.

    Args:
        known: what a store says.
        data_dir: the folder of data sets, of which the first rows are read where the store says nothing.
    """

    def __init__(self, known: Known, data_dir: Path | None) -> None:
        self._known, self._data_dir = known, data_dir
        self._lengths: dict[tuple[str, int], tuple[float, str]] = {}
        self._rows: dict[tuple[str, str, str], int] = {}
        self._shapes: dict[str, Shape | None] = {}
        self._places: dict[str, tuple[str, str]] = {}  # of each task, rows that are on this machine
        self._used: dict[tuple[str, int], None] = {}
        self._unread: dict[str, str] = {}

    def cost(self, stages: Iterable[Stage], devices: Sequence[str]) -> Cost:
        """What the stages cost together on devices of one type, each with one worker."""
        found: dict[str, list[tuple[Work, float, str]]] = {}
        self._used.clear()
        device, num_ranks = devices[0].partition(":")[0].partition("+")[0], devices[0].count("+") + 1
        for stage in stages:
            shape = None if isinstance(stage, Translate) else self._shape(root(stage))
            work = self.work(stage, shape)
            found.setdefault(stage.kind, []).append(
                (work, *self._known.seconds(stage, work.tokens, work.passes, device, shape, num_ranks))
            )
        kinds = {
            kind: Share(
                len(parts),
                _sum(work for work, _, _ in parts),
                math.fsum(seconds for _, seconds, _ in parts),
                tuple(dict.fromkeys(by for _, _, by in parts)),
            )
            for kind, parts in found.items()
        }
        tokens_by: dict[str, dict[str, None]] = {}
        for key in sorted(self._used):
            tokens_by.setdefault(self._lengths[key][1], {})[key[0]] = None
        return Cost(kinds, len(devices), {how: tuple(names) for how, names in tokens_by.items()})

    def work(self, stage: Stage, shape: Shape | None) -> Work:
        """What one stage has to do; its weights are in float32, what it writes beside them is a rough guess."""
        weights = float(shape.num_bytes) if shape else 0.0
        for data in getattr(stage, "data", ()):
            place = self._places.setdefault(data.task, (data.split, data.language))
            if data.language == "en" != place[1]:
                self._places[data.task] = data.split, data.language
        if isinstance(stage, Train):
            each = self.training_examples(stage)
            lengths = [self._tokens(name, stage.recipe.max_tokens_of(name)) for name in each]
            tokens = math.fsum(count * length for count, length in zip(each.values(), lengths, strict=True))
            return Work(sum(each.values()), tokens, 3, weights)
        rows = sum(self._count(data.task, data.split, data.language) for data in getattr(stage, "data", ()))
        if isinstance(stage, Evaluate):
            kept = 40.0
            if stage.views is not None:
                layers = len(stage.views.layers) or (shape.num_layers + 1 if shape else 1)
                kept = 2.0 * layers * len(stage.views.poolings) * stage.views.num_neighbours * 8
            return Work(rows, rows * self._tokens(stage.task, stage.max_tokens), 1, 0.0, rows * kept)
        if isinstance(stage, Probe):
            drawn = min(rows, stage.num_examples)
            passes = 4 if stage.gradients else 1
            return Work(drawn, drawn * self._tokens(stage.task, stage.max_tokens), passes)
        if isinstance(stage, Merge):
            seen = 2.0 * len(stage.models) * rows if stage.held_out else 0.0
            length = self._tokens(stage.held_out.task, stage.held_out.max_tokens) if stage.held_out else 0.0
            return Work(seen, seen * length, 1, weights)
        return Work(rows, 0.0, 0, 0.0, rows * 400.0)

    def training_examples(self, stage: Train) -> dict[str, float]:
        """The examples that a training sees of each task, before they are rounded to whole ones."""
        mixture, budget = stage.mixture, stage.budget
        present = [
            sum(self._count(d.task, d.split, d.language) for d in stage.data if (d.task, d.split) == (name, "train"))
            + sum(self._count(name, "train", one.source) for one in stage.translated if one.task == name)
            for name in mixture.tasks
        ]
        parts = shares(mixture, present, stage.official_sizes or [None] * len(present))
        if budget.unit == "steps":
            sizes = [stage.recipe.batch_examples_of(name) for name in mixture.tasks]
            return {
                name: budget.amount * part * size for name, part, size in zip(mixture.tasks, parts, sizes, strict=True)
            }
        cap = mixture.cap if mixture.policy == "capped" else max(present)
        wholes = [1 if budget.unit == PER_TASK else min(rows, cap) for rows in present]
        one_pass = float(sum(wholes))
        if mixture.text_share is not None:
            others = (size for size, name in zip(wholes, mixture.tasks, strict=True) if find(name).kind.name != "mlm")
            one_pass = sum(others) / (1 - mixture.text_share)
        total = budget.amount * (1 if budget.unit == "examples" else one_pass)
        return {name: total * part for name, part in zip(mixture.tasks, parts, strict=True)}

    def _count(self, name: str, split: str, language: str) -> int:
        """Rows of a task, read where no number is declared; one where they cannot be read."""
        key = (name, split, language)
        if key not in self._rows:
            declared = find(name).count(split, language)
            self._rows[key] = (
                declared or len(self._read(name, lambda task: examples(task, *key[1:], self._data_dir))) or 1
            )
        return self._rows[key]

    def _tokens(self, name: str, max_tokens: int) -> float:
        """Mean tokens of an example, 0 where none can be read."""
        key = (name, max_tokens)
        self._used[key] = None
        if key not in self._lengths:
            measured = self._known.tokens(name, max_tokens)
            if measured is not None:
                self._lengths[key] = measured, "as stages in the store have counted"
            else:
                self._lengths[key] = self._sampled(name, max_tokens)
        return self._lengths[key][0]

    def _sampled(self, name: str, max_tokens: int) -> tuple[float, str]:
        some = self._read(name, lambda task: some_examples(task, *self._places[name], self._data_dir, _SAMPLE))
        if name in self._unread:
            return 0.0, f"not estimated, since rows cannot be read ({self._unread[name]})"
        mean = math.fsum(num_sequence_tokens(example, max_tokens) for example in some) / max(len(some), 1)
        return mean, f"by the first {_SAMPLE} rows, {CHARACTERS_PER_TOKEN:g} characters a token"

    def _read(self, name: str, read: Callable[[Task], list[Example]]) -> list[Example]:
        """Examples of a task, none and a note where they cannot be read: that is for the stage to say."""
        try:
            return read(find(name))
        except ValueError as error:
            self._unread[name] = str(error)
            return []

    def _shape(self, encoder: Encoder) -> Shape | None:
        if encoder.id not in self._shapes:
            self._shapes[encoder.id] = shape_of(encoder)
        return self._shapes[encoder.id]


def _sum(works: Iterable[Work]) -> Work:
    return Work(*(sum(values) for values in zip(*works, strict=True)))
