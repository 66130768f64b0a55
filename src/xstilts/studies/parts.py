"""What the studies share: where they start, slices in place of whole tasks, targets and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Recipe
from xstilts.spec import near, one_of
from xstilts.stage import SEARCH_NEIGHBOURS, Encoder, Evaluate, Merge, Tiny, Train, Translate, Views, has_pooler
from xstilts.tasks import Search, Task, find, names
from xstilts.tasks.languages import PAIR, pairs
from xstilts.translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile, Translator

from .recipes import pretraining

MINIATURE_TINY = Tiny(vocab_size=4000, hidden_size=128, num_heads=4, intermediate_size=256)
TINY_LEARNING_RATE = 5e-4
Model: TypeAlias = Encoder | Train | Merge
MINIATURE_TASKS = ("mini-nli", "mini-paraphrase", "mini-questions", "mini-answers")
MINIATURE_TARGETS = ("mini-bitext", "mini-xnli")
E5_PREFIX = "query: "
_TINY_MLM_EXAMPLES, _TINY_MLM_LEARNING_RATE = 40_000, 2e-3


def start_of(
    encoder: str,
    revision: str,
    text: str,
    mlm_examples: int | None,
    recipe: Recipe = STILTS,
    mlm: str = "",
    languages: tuple[str, ...] = (),
) -> Encoder | Train:
    """The encoder, after masked language modelling of as many examples of a text.

    When it is not given, that is 40,000 for ``tiny``, whose weights are random, and none for any other encoder. A named
    way ``mlm`` has its own number and recipe, on the text of which some is held out; of ``recipe`` it takes precision
    and threads.

    Raises:
        ValueError: for an unknown way, or languages without one.
    """
    is_tiny = encoder == "tiny"
    start = Encoder(encoder, revision=revision, tiny=MINIATURE_TINY if is_tiny else None)
    if mlm:
        named = pretraining(mlm)
        how = replace(named.recipe, precision=recipe.precision, num_threads=recipe.num_threads)
        amount = named.examples if mlm_examples is None else mlm_examples
        return Train(start, Mixture((f"{text}-dev",), languages=languages), Budget(amount), how)
    if languages:
        raise ValueError("mlm_languages are those of a named way of masked language modelling: give mlm=NAME")
    if mlm_examples is None:
        mlm_examples = _TINY_MLM_EXAMPLES if is_tiny else 0
    if not mlm_examples:
        return start
    learning_rate = _TINY_MLM_LEARNING_RATE if is_tiny else recipe.learning_rate
    plain = replace(recipe, name="mlm", learning_rate=learning_rate, aggregation="last", lora=None, layer_decay=1.0)
    return Train(start, Mixture((text,)), Budget(mlm_examples), plain)


def plain_recipe(encoder: str, learning_rate: float | None, **settings: Any) -> Recipe:
    """Jiant's recipe with other settings; without a rate, its own, or the one of ``tiny``."""
    usual = TINY_LEARNING_RATE if encoder == "tiny" else STILTS.learning_rate
    return replace(STILTS, learning_rate=usual if learning_rate is None else learning_rate, **settings)


def sequence(
    start: Encoder | Train,
    tasks: Sequence[str],
    budgets: Sequence[Budget],
    recipe: Recipe = STILTS,
    seed: int = 0,
    **mixture: Any,
) -> Encoder | Train:
    """Train on one task after another, each with a fresh head, in the order given; ``start`` itself without tasks.

    Args:
        start: what the first training starts from.
        tasks: their order.
        budgets: one for each of them.
        recipe: of every training, which gets its own task's overrides alone.
        seed: of every training.
        mixture: other fields of every training's `xstilts.Mixture`.
    """
    for name, budget in zip(tasks, budgets, strict=True):
        own = replace(recipe, overrides=tuple(override for override in recipe.overrides if override.task == name))
        start = Train(start, Mixture((name,), **mixture), budget, own, seed)
    return start


class Setting(NamedTuple):
    """What a study on one encoder, recipe and budget settles first.

    Attributes:
        miniature: whether all intermediate tasks are the miniature's.
        used: what is trained on, by the task asked for.
        targets: what is measured.
        recipe: of the plain training.
        views: what a retrieval measurement keeps.
    """

    miniature: bool
    used: Mapping[str, str]
    targets: tuple[Target, ...]
    recipe: Recipe
    views: Views


def setting_of(
    encoder: str,
    tasks: Sequence[str],
    targets: Sequence[str],
    *,
    languages: tuple[str, ...],
    stand_ins: Sequence[str],
    trains_retrieval: bool,
    learning_rate: float | None,
    poolings: tuple[str, ...],
    layers: tuple[int, ...],
    prefix: str,
    **settings: Any,
) -> Setting:
    """Settle what ``settings`` of the recipe and the other arguments, each that of a study, ask for.

    Targets are Tatoeba, or the miniature's bitext and inference after tasks of the miniature, when none is named.

    Raises:
        ValueError: as `find_target` and `StandIns`.
    """
    instead = StandIns(stand_ins)
    used = {name: instead.trained(name) for name in tasks}
    miniature = all(name.startswith("mini-") for name in tasks)
    words = targets or (MINIATURE_TARGETS if miniature else ("tatoeba",))
    found = [find_target(word, instead, languages=languages, trains_retrieval=trains_retrieval) for word in words]
    instead.check()
    views = Views(poolings, prefix=prefix_of(encoder, prefix), layers=layers)
    return Setting(miniature, used, tuple(found), plain_recipe(encoder, learning_rate, **settings), views)


def prefix_of(encoder: str, prefix: str) -> str:
    """The text before every retrieval sentence; ``auto`` is that of the encoder's makers."""
    return (E5_PREFIX if encoder == "offline" else "") if prefix == "auto" else prefix


def translator_of(word: str, **settings: Any) -> Translator:
    """A translator in a word, with the settings of a model.

    It is ``miniature``, ``apertium`` or ``apertium:MODE``, a file of translations (.tsv or .jsonl), or else a model's
    folder or its hub name, ``owner/name`` or ``owner/name@revision``.
    """
    name, _, detail = word.partition(":")
    if word == "miniature":
        return MiniatureOracle()
    if name == "apertium":
        return Apertium(detail)
    if word.removesuffix(".gz").endswith((".tsv", ".jsonl")):
        return TranslationFile(word)
    model, _, revision = word.partition("@")
    return Seq2Seq(model, revision or "main", **settings)


def in_languages(train: Train, languages: Sequence[str], translator: Translator, *, keep_english: bool = True) -> Train:
    """A training with its tasks' rows also in other languages, or in these alone; as it is for no language."""
    made = [Translate(task, code, translator) for task in train.mixture.tasks for code in languages]
    return replace(train, translated=tuple(made), keep_source=keep_english or not made)


class StandIns:
    """Slices that are used wherever a study asks for the tasks that they are slices of.

    A slice with training rows is trained on, one without is measured. ``miniature`` is another mapping, of real
    tasks to the miniature's, in which every task must be.

    Raises:
        ValueError: for what is no slice of a task, or two slices for one use.
    """

    def __init__(self, slices: Sequence[str] = (), miniature: Mapping[str, str] | None = None) -> None:
        self._miniature = miniature
        self._slices: dict[_Use, str] = {}
        self._asked: set[_Use] = set()
        for name in slices:
            if find(name).slice_of is None:
                known = [other for other in names() if find(other).slice_of]
                expected = f"expected one of {', '.join(known)}{near(name, known)}"
                raise ValueError(f"the stand-in {name!r} is no slice of a task: {expected}")
            use = _use_of(name)
            if self._slices.setdefault(use, name) != name:
                raise ValueError(f"two stand-ins for {use.task}: {self._slices[use]} and {name}")

    def trained(self, task: str) -> str:
        """What is trained on where ``task`` is asked for."""
        return self._instead(_Use(task, trains=True))

    def measured(self, task: str) -> str:
        """What is measured where ``task`` is asked for."""
        return self._instead(_Use(task, trains=False))

    def _instead(self, use: _Use) -> str:
        if self._miniature is not None:
            if use.task.startswith("mini-"):
                return find(use.task).name
            one_of("task that the miniature stands for", use.task, self._miniature)
            return self._miniature[use.task]
        find(use.task)
        self._asked.add(use)
        return self._slices.get(use, use.task)

    def check(self) -> None:
        """Refuse slices of what nothing asked for, when everything has been asked.

        Raises:
            ValueError: naming the slice, and those that could be used.
        """
        for use, name in self._slices.items():
            if not {use, _Use(name, use.trains)} & self._asked:
                known = [other for other in names() if find(other).slice_of and _use_of(other) in self._asked]
                what = "trains on" if use.trains else "measures"
                expected = f"expected one of {', '.join(known) or 'none'}{near(name, known)}"
                raise ValueError(
                    f"the stand-in {name!r} is a slice of {use.task!r}, which this study nowhere {what}: {expected}"
                )


class _Use(NamedTuple):
    """A task to train on, or one to measure."""

    task: str
    trains: bool


def _use_of(slice: str) -> _Use:
    """Where a slice can stand in."""
    task = find(slice)
    return _Use(task.slice_of or "", "train" in task.splits)


@dataclass(frozen=True)
class Target:
    """What a study measures: a task in languages of one split, as models stand and after trainings of its own.

    Attributes:
        name: the task as it was asked for.
        task: the task that is measured.
        split: a canonical split.
        languages: one measurement each.
        courses: trainings that go before, each on one task after another; an empty one is the model as it stands.
    """

    name: str
    task: Task
    split: str
    languages: tuple[str, ...]
    courses: tuple[tuple[str, ...], ...]

    def models(self, model: Model, seeds: Sequence[int], train: Callable[[Model, str, int], Train]) -> Iterator[Model]:
        """What is measured of a model: itself, and what ``train(start, task, seed)`` makes of it with each seed."""
        for course in self.courses:
            for seed in seeds if course else (0,):  # no random choice reaches the model itself
                tuned = model
                for name in course:
                    tuned = train(tuned, name, seed)
                yield tuned

    def leaves(self, models: Iterable[Model], views: Views, **settings: Any) -> Iterator[Evaluate]:
        """The measurements of models, with what else `xstilts.Evaluate` is to be given."""
        for model in models:
            own = views_of(model, self.task, views)
            for language in self.languages:
                yield Evaluate(model, self.task.name, language, self.split, own, **settings)


def find_target(
    word: str,
    stand_ins: StandIns,
    *,
    languages: tuple[str, ...] = (),
    trains_retrieval: bool = False,
    also: Sequence[tuple[str, ...]] = (),
) -> Target:
    """The target that ``TASK`` or ``TASK/SPLIT`` means: the split named, or the last there is, in languages or all.

    A retrieval task is measured as models stand and, with ``trains_retrieval``, after the tasks that it names as its
    training, and after those of ``also``; any other task after its training alone.

    Raises:
        ValueError: for an unknown task or split, or a task that can only be trained on.
    """
    name, _, split = word.partition("/")
    task = find(stand_ins.measured(name))
    splits = [other for other in task.splits if other != "train"]
    if not splits or (task.trained_by is None and not task.is_retrieval):
        known = [other for other in names() if find(other).trained_by or find(other).is_retrieval]
        raise ValueError(f"the target {name!r} names no task that it is trained by: expected one of {', '.join(known)}")
    if split:
        one_of(f"split of the target {task.name!r}", split, splits)
    split = split or splits[-1]
    courses = [(*task.trained_before, task.trained_by)] if task.trained_by else []
    if task.is_retrieval:
        courses = [(), *([*courses, *also] if trains_retrieval else [])]
    trained = tuple(tuple(map(stand_ins.trained, course)) for course in courses)
    in_one_pool = isinstance(task.kind, Search)
    codes = languages if languages and not in_one_pool else task.languages_of(split)
    if task.crosses and not all(PAIR in code for code in codes):
        codes = pairs(codes)
    return Target(name, task, split, codes, trained)


def views_of(model: Model, task: Task, views: Views) -> Views | None:
    """What a measurement of a task keeps: nothing but its answers where it is no retrieval task.

    A search in one pool keeps 20 neighbours, and the last layer only where ``views.layers`` names none; of a dual
    encoder of its own also the vector that its head makes.
    """
    if not task.is_retrieval:
        return None
    if not isinstance(task.kind, Search):
        return views
    pooler = ("pooler",) if has_pooler(Evaluate(model, task.name, task.languages[0])) else ()
    poolings = tuple(dict.fromkeys((*views.poolings, *pooler)))
    return replace(views, poolings=poolings, num_neighbours=SEARCH_NEIGHBOURS, layers=views.layers or (-1,))
