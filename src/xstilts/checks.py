"""What a plan refuses before anything runs: stages that cannot work, and leaks of what is measured into training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec

from .probes import Probe, probe_problems
from .spec import near
from .stage import SEARCH_NEIGHBOURS, Data, Evaluate, Merge, Stage, Train, Translate, chain, has_pooler, label, root
from .tasks import Task, find, with_members
from .tasks.languages import MINIATURE_LANGUAGES
from .tasks.shuffling import KINDS as LABELLED
from .tasks.synonyms import KINDS as COPIED
from .tasks.translated import KINDS, is_miniature
from .translators import MiniatureOracle, TranslationFile

Reader = Callable[[Task, str, str], Data]


def problems(stage: Stage, data: Reader) -> Iterator[str]:
    """Why a stage cannot work or would not mean what it says; ``data`` finds a task's rows in a language."""
    if isinstance(stage, Train):
        for name in stage.mixture.tasks:
            task = find(name)
            if stage.recipe.checkpoint == "best" and task.kind.name != "mlm" and "dev" not in task.splits:
                yield f"{name} has no English dev rows: checkpoint 'best' cannot choose on it; take checkpoint 'last'"
        kinds = {find(name).kind.name for name in stage.mixture.tasks}
        if stage.recipe.checkpoint == "best" and kinds == {"mlm"}:
            yield "text has no English dev rows with labels: checkpoint 'best' cannot choose; take checkpoint 'last'"
        if "mlm" not in kinds:
            yield from _about_text(stage)
        elif stage.mixture.text_share is not None and kinds == {"mlm"}:
            yield "mixture.text_share is the share of text among other tasks, and this mixture has text alone"
        yield from _encoder_problems(stage, kinds)
        yield from _robust_problems(stage)
        yield from _shuffling_problems(stage)
        for override in stage.recipe.overrides:
            if override.task not in stage.mixture.tasks:
                close = near(override.task, stage.mixture.tasks)
                yield f"recipe.overrides names {override.task!r}, which is not in the mixture{close}"
        yield from _step_problems(stage)
        yield from _training_translations(stage)
    if isinstance(stage, Translate):
        yield from _translation_problems(stage)
    if isinstance(stage, Probe):
        yield from probe_problems(stage)
    if isinstance(stage, Evaluate):
        task = find(stage.task)
        if stage.translated:
            yield from _measured_translation(stage, stage.translated)
        if task.is_retrieval:
            yield from _retrieval_problems(stage)
        elif stage.head is None:
            trained = f"train on {task.trained_by or task.name}" + (f" or {task.name}" if task.trained_by else "")
            yield f"no head for {stage.task} in the model {label(stage.model)}: {trained}"
        yield from _leaks(stage, data)


def _encoder_problems(stage: Train, kinds: set[str]) -> Iterator[str]:
    """What a recipe cannot do with the encoder and its layers."""
    recipe, tiny = stage.recipe, root(stage).tiny
    if recipe.aggregation != "last" and "embed" in kinds and recipe.dual_pooling != "pooler":
        yield (
            f"aggregation {recipe.aggregation!r} trains a dual encoder's vector that is of no hidden state, "
            f"which {recipe.dual_pooling!r} cannot measure: take dual_pooling 'pooler' or aggregation 'last'"
        )
    if recipe.lora is not None and find_spec("peft") is None:
        yield "recipe.lora needs a package that is not installed: pip install 'xstilts[peft]'"
    if recipe.lora is not None and recipe.frozen_layers is not None:
        yield "recipe.lora freezes all of the encoder but its adapters: leave recipe.frozen_layers out"
    layers = recipe.frozen_layers or 0
    if tiny is not None and layers > tiny.num_layers:
        yield f"recipe.frozen_layers is {layers}: the encoder {root(stage).name} has {tiny.num_layers} layers"


def _robust_problems(stage: Train) -> Iterator[str]:
    robust = stage.recipe.robust
    if robust is None:
        return
    kinds = {name: find(name).kind.name for name in stage.mixture.tasks}
    if set(kinds.values()) == {"mlm"}:
        yield f"recipe.robust is {robust.method}, which leaves text as it is, and this mixture has nothing else"
    takes = COPIED if robust.method == "synonyms" else ("classify", "tag", "span", "choose")
    for name, kind in kinds.items():
        if kind not in (*takes, "mlm"):
            yield f"recipe.robust is {robust.method}, which takes tasks of kind {', '.join(takes)}: {name} is {kind}"


def _shuffling_problems(stage: Train) -> Iterator[str]:
    kinds = {name: find(name).kind.name for name in stage.mixture.tasks if stage.mixture.shuffled_labels}
    if kinds and set(kinds.values()) == {"mlm"}:
        yield "mixture.shuffled_labels shuffles labels, which text does not have, and this mixture has nothing else"
    for name, kind in kinds.items():
        if kind not in (*LABELLED, "mlm"):
            yield f"mixture.shuffled_labels takes tasks of kind {', '.join(LABELLED)}: {name} is {kind}"


def selection_problems(stages: Iterable[Stage]) -> Iterator[str]:
    """Rows by which a greedy merge chooses its models, or probes tasks, and which the same plan measures."""
    stages = list(stages)
    chosen_by = {rows.content for stage in stages if isinstance(stage, Merge) for rows in stage.data}
    for stage in stages:
        for rows in stage.data if isinstance(stage, Evaluate) and chosen_by else ():
            if rows.content in chosen_by:
                what = f"{rows.task}/{rows.split} in {rows.language!r}"
                yield f"leak: a merge chooses its models by {what}, which would be scored: choose by other rows"
    probed = {rows.content: stage for stage in stages if isinstance(stage, Probe) for rows in stage.data}
    for stage in stages:
        for rows in stage.data if isinstance(stage, Evaluate) and stage.split == "test" and probed else ():
            if by := probed.get(rows.content):
                what = f"{rows.task}/{rows.split} in {rows.language!r}"
                yield f"leak: a probe of {by.task}/{by.split} reads the very rows of {what}, which would be scored"


def _step_problems(stage: Train) -> Iterator[str]:
    """What a step of several tasks cannot be."""
    parts, size = stage.mixture.tasks_per_step, stage.recipe.batch_examples
    if parts == 1:
        return
    for override in stage.recipe.overrides:
        if override.batch_examples not in (None, size):
            given = f"recipe.overrides gives {override.task} {override.batch_examples} examples a step"
            yield f"mixture.tasks_per_step is {parts!r}, and {given}: expected one size for all tasks, batch_examples"
        if override.learning_rate is not None:
            given = f"recipe.overrides gives {override.task} a learning rate"
            yield f"mixture.tasks_per_step is {parts!r}, and {given}: expected one rate for all tasks"
    if parts != "all" and size % int(parts):
        yield f"mixture.tasks_per_step is {parts}: expected a divisor of recipe.batch_examples, which is {size}"


def _translation_problems(stage: Translate) -> Iterator[str]:
    task = find(stage.task)
    if task.kind.name not in KINDS or (task.kind.name == "embed" and stage.split != "train"):
        why = (
            "its tags belong to words, and a translation keeps no words apart"
            if task.kind.name == "tag"
            else ("it is text in many languages already")
        )
        yield f"{stage.task} cannot be translated: {why}; expected a task of kind {', '.join(KINDS[:-1])}"
    if isinstance(stage.translator, MiniatureOracle):
        if not is_miniature(task):
            yield f"{stage.task} is no task of the miniature: its oracle translates that one's rows alone"
        elif stage.target not in MINIATURE_LANGUAGES:
            known = ", ".join(MINIATURE_LANGUAGES)
            yield f"the miniature is not said in {stage.target!r}: expected one of {known}"


def _training_translations(stage: Train) -> Iterator[str]:
    for one in stage.translated:
        place = f"{one.task}/{one.split}"
        if one.split != "train":
            yield f"a translation of {place} is no training data: expected the split train"
        if one.task not in stage.mixture.tasks:
            yield f"train.translated has {one.task!r}, not in the mixture{near(one.task, stage.mixture.tasks)}"


def _measured_translation(stage: Evaluate, one: Translate) -> Iterator[str]:
    if (one.task, one.split, one.source) != (stage.task, stage.split, stage.language):
        wanted = f"{stage.task}/{stage.split} in {stage.language!r}"
        yield f"evaluate.translated holds {one.task}/{one.split} in {one.source!r}: expected {wanted}"
    if find(stage.task).kind.name not in ("classify", "choose"):
        yield (
            f"{stage.task} cannot be measured in translation: its answers are words of the text; expected "
            "classification or multiple choice"
        )
    if isinstance(one.translator, TranslationFile) and one.translator.missing == "drop":
        yield "a measurement in translation drops no row: expected missing='error' of its file of translations"


def _about_text(stage: Train) -> Iterator[str]:
    """What a training without text says of text."""
    mixture, without = stage.mixture, "and this mixture has no text"
    if mixture.languages:
        yield f"mixture.languages names the languages of monolingual text, {without}"
    if mixture.text_share is not None:
        yield f"mixture.text_share is the share of monolingual text, {without}"
    if mixture.text_temperature != 1:
        yield f"mixture.text_temperature is that of the languages of monolingual text, {without}"
    if stage.recipe.whole_words:
        yield f"recipe.whole_words masks monolingual text, {without}"


def _retrieval_problems(stage: Evaluate) -> Iterator[str]:
    kind = find(stage.task).kind.name
    if stage.views is None:
        yield f"a measurement of {stage.task} needs views (poolings, number of neighbours)"
        return
    if kind == "mine" and stage.split != "test":
        yield f"a measurement of {stage.task} chooses its threshold on dev and scores test: expected the split test"
    if kind == "search" and stage.views.num_neighbours < SEARCH_NEIGHBOURS:
        found = f"expected at least {SEARCH_NEIGHBOURS} neighbours, got {stage.views.num_neighbours}"
        yield f"a measurement of {stage.task} looks {SEARCH_NEIGHBOURS} candidates far: {found}"
    pooled = any(pooling.partition("/")[0] == "pooler" for pooling in stage.views.poolings)
    if pooled and not has_pooler(stage):
        by = find(stage.task).trained_by or "a task that trains it"
        needs = f"the pooling 'pooler' needs a last training on {by} with dual_pooling 'pooler'"
        yield f"no dual encoder for {stage.task} in the model {label(stage.model)}: {needs}"


def _leaks(stage: Evaluate, data: Reader) -> Iterator[str]:
    """Training rows that the measurement would see again: declared overlaps, and the very same content.

    A translation counts as the rows that it was made of.
    """
    place = f"{stage.task}/{stage.split}"
    places = {name for task in with_members(stage.task) for name in (task.name, f"{task.name}/{stage.split}")}
    measured = {rows.content for rows in stage.data}
    for link in chain(stage.model):
        for name in link.mixture.tasks if isinstance(link, Train) else ():
            if any(places & set(task.overlaps) for task in with_members(name)):
                yield f"leak: {name} is declared to share training rows with {place}, which would be scored"
        for rows in link.data if isinstance(link, (Train, Translate)) else ():
            if rows.split != "train":
                continue
            _, *parts = with_members(rows.task)
            if measured & {rows.content, *(data(part, "train", rows.language).content for part in parts)}:
                yield f"leak: {place} in {stage.language!r} holds the very rows that {rows.task}/train was trained on"
