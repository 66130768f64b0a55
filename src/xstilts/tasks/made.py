"""The embedded miniature's labelled tasks: English intermediate tasks and their targets in every language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .choice import copa
from .languages import MINIATURE_LANGUAGES, MULTILINGUAL
from .pairs import NLI_LABELS, PARAPHRASE_LABELS, QQP_LABELS, generalised, inference, paraphrase
from .readers import Row
from .tagging import NER_LABELS, UPOS
from .task import (
    MINIATURE_NOTE,
    Bitext,
    Choices,
    Choose,
    Classify,
    Embed,
    Entry,
    Example,
    Kind,
    Mine,
    Miniature,
    Passage,
    Search,
    Span,
    Splits,
    Tag,
    Task,
    Tokens,
)

_ROLES = {
    "ADJ": "comparison object quality state weather",
    "ADP": "means place reaction time",
    "ADV": "reaction time",
    "AUX": "weather",
    "DET": "agent frequency group instrument job object place skill thing time",
    "NOUN": "agent counted frequency group instrument job kin language material means object place reaction skill "
    "thing time",
    "NUM": "age counted hour object price year",
    "PART": "agent other",
    "PRON": "agent reaction weather",
    "PROPN": "agent city company other time",
    "VERB": "activity reaction skill verb weather",
}
CATEGORIES = (
    *("ADJ", "ADP", "ADV", "AUX", "DET", "NOUN", "PART", "PRON", "PUNCT", "SCONJ", "VERB"),
    *(f"{upos}.{role}" for upos, roles in _ROLES.items() for role in roles.split()),
)
"""Part of speech, and the role of what the word names: who does something or to whom, what, where, when."""


def _tokens(row: Row) -> Tokens:
    return Tokens(tuple(row["words"]), tuple(row["tags"]))


def _passage(row: Row) -> Passage:
    answers = ((row["answer"], row["start"]),) if row["answer"] else ()
    return Passage(row["context"], row["question"], answers, id=str(row.line))


def _choices(row: Row) -> Choices:
    return Choices(row["prompt"], tuple(row["choices"]), row["label"])


def _side(row: Row) -> Entry:
    """A sentence of BUCC's kind: what is mined with has the ids of its translations."""
    is_query = row["side"] == "foreign"
    return Entry(row["text"], row["id"], is_query, row["language"], tuple(row["pairs"]) if is_query else ())


def _sentence(row: Row) -> Entry:
    """LAReQA: a question, or a sentence that is encoded as a pair with its paragraph."""
    is_query = row["side"] == "query"
    return Entry(row["text"], row["id"], is_query, row["language"], tuple(row["pairs"]), row["context"])


def _answering(row: Row) -> Bitext:
    return Bitext(row["question"], row["sentence"], row["context"])


def _marked(row: Row) -> str:
    """Mewsli-X: the mention, and its sentence in which it is marked.

    As `preprocess_mention` of google-research/xtreme, third_party/utils_mewslix.py.
    """
    text, start, end = row["text"], row["start"], row["end"]
    marked = f"{text[start:end]}: {text[:start]} {{ {text[start:end]} }} {text[end:]}"
    return marked.replace("  ", " ").strip()


def _described(row: Row) -> Entry:
    is_query = row["side"] == "query"
    text = _marked(row) if is_query else row["text"]
    return Entry(text, row["id"], is_query, row["language"], tuple(row["pairs"]))


def _description(row: Row) -> Bitext:
    return Bitext(_marked(row), row["description"])


def _task(name: str, kind: Kind, example: Callable[[Row], Example], metric: str, set: str, **own: Any) -> Task:
    """A task of a set of the miniature."""
    declared: dict[str, Any] = {"source": Miniature(set), "licence": "Apache-2.0", "note": MINIATURE_NOTE}
    return Task(name=name, kind=kind, example=example, metric=metric, **(declared | own))


def _english(
    name: str, kind: Kind, example: Callable[[Row], Example], metric: str, *, train: int = 4_000, **own: Any
) -> Task:
    """An English intermediate task on the set of its name."""
    declared: dict[str, Any] = {
        "set": name,
        "languages": ("en",),
        "splits": Splits(train="train", dev="dev"),
        "rows": {"train": train, "dev": 600},
        "official_size": train,
    }
    return _task(f"mini-{name}", kind, example, metric, **(declared | own))


def _target(task: Task, name: str, *, test: int = 600, **own: Any) -> Task:
    """The same as a target in every language, zero-shot from the English one."""
    declared: dict[str, Any] = {
        "languages": MINIATURE_LANGUAGES,
        "splits": Splits(test="test"),
        "rows": {"test": test},
        "official_size": None,
        "trained_by": task.name,
    }
    return replace(task, name=name, **(declared | own))


_NLI = _english("nli", Classify(NLI_LABELS), inference, "accuracy", train=6_000)
_NLI_2 = replace(_NLI, name="mini-nli-2", source=Miniature("nli", seed=1))
_NLI_PLUS = replace(
    _NLI,
    name="mini-nli+",
    source=(),
    members=(_NLI.name, _NLI_2.name),
    rows={"train": 12_000, "dev": 1_200},
    official_size=12_000,
)
_PARAPHRASE = _english("paraphrase", Classify(PARAPHRASE_LABELS), paraphrase, "accuracy")
_TAGS = _english("tags", Tag(UPOS), _tokens, "span-f1")
_ENTITIES = _english("entities", Tag(NER_LABELS), _tokens, "span-f1")
_QA = _english("qa", Span(), _passage, "squad")
_CHOICE = _english("choice", Choose(), _choices, "accuracy")
_CAUSES = _english("causes", Choose(), copa, "accuracy")
_LAREQA_TRAIN = _english("lareqa-train", Embed(), _answering, "accuracy")
_MEWSLI_TRAIN = _english("mewsli-train", Embed(), _description, "accuracy")
_XNLI = _target(_NLI, "mini-xnli", test=900)
_XPARAPHRASE = _target(_PARAPHRASE, "mini-xparaphrase")
_FROM_ONE_POOL = Search(queries=MINIATURE_LANGUAGES)

MADE_TASKS = (
    _NLI,
    _NLI_2,
    _NLI_PLUS,
    _XNLI,
    generalised(_XNLI),
    _PARAPHRASE,
    _XPARAPHRASE,
    generalised(_XPARAPHRASE),
    _english("questions", Classify(QQP_LABELS), paraphrase, "accuracy"),
    _english("answers", Classify(("not_answered", "answered")), paraphrase, "accuracy"),
    _TAGS,
    _target(_TAGS, "mini-xtags"),
    _ENTITIES,
    _target(_ENTITIES, "mini-xentities"),
    _english("categories", Tag(CATEGORIES), _tokens, "accuracy"),
    _QA,
    _target(_QA, "mini-xqa"),
    _target(_QA, "mini-mlqa", source=Miniature("qa", seed=1), metric="mlqa"),
    _target(
        _QA,
        "mini-tydiqa",
        source=Miniature("qa", seed=2),
        splits=Splits(train="train", dev="dev", test="test"),
        rows={"train": {"en": 2_000}, "dev": {"en": 600}, "test": 600},
        official_size=2_000,
        trained_by="mini-tydiqa",
    ),
    _english("unanswerable", Span(unanswerable=True), _passage, "squad-v2"),
    _CHOICE,
    _target(_CHOICE, "mini-xchoice"),
    _english("endings", Choose(), _choices, "accuracy"),
    _english("commonsense", Choose(), _choices, "accuracy"),
    _CAUSES,
    _target(_CAUSES, "mini-xcauses"),
    _task(
        "mini-mining",
        Mine(),
        _side,
        "f1",
        "mining",
        languages=MINIATURE_LANGUAGES[1:],
        splits=Splits(dev="dev", test="test"),
        rows={"dev": 400, "test": 800},
    ),
    _LAREQA_TRAIN,
    _task(
        "mini-lareqa",
        _FROM_ONE_POOL,
        _sentence,
        "map",
        "lareqa",
        languages=(MULTILINGUAL.code,),
        splits=Splits(test="test"),
        rows={"test": 2_100},
        trained_by=_LAREQA_TRAIN.name,
    ),
    _MEWSLI_TRAIN,
    _task(
        "mini-mewsli",
        _FROM_ONE_POOL,
        _described,
        "mrr",
        "mewsli",
        languages=(MULTILINGUAL.code,),
        splits=Splits(test="test"),
        rows={"test": 1_300},
        trained_by=_MEWSLI_TRAIN.name,
    ),
)

MINIATURE_OF: dict[str, str] = {
    # English tasks
    "anli+": "mini-nli+",
    "mnli": "mini-nli",
    "qqp": "mini-questions",
    "squad-v1": "mini-qa",
    "squad-v2": "mini-unanswerable",
    "hellaswag": "mini-endings",
    "ccg": "mini-categories",
    "cosmosqa": "mini-choice",
    "commonsenseqa": "mini-commonsense",
    "socialiqa": "mini-choice",
    "copa": "mini-causes",
    "lareqa-train": "mini-lareqa-train",
    "mewsli-x-train": "mini-mewsli-train",
    # targets
    "xnli": "mini-xnli",
    "paws-x": "mini-xparaphrase",
    "xnli-generalised": "mini-xnli-generalised",
    "paws-x-generalised": "mini-xparaphrase-generalised",
    "udpos": "mini-xtags",
    "panx": "mini-xentities",
    "xquad": "mini-xqa",
    "mlqa": "mini-mlqa",
    "tydiqa": "mini-tydiqa",
    "xcopa": "mini-xcauses",
    "tatoeba": "mini-bitext",
    "bucc": "mini-mining",
    "lareqa": "mini-lareqa",
    "mewsli-x": "mini-mewsli",
}
"""Real task -> the miniature task that stands for it: of the same kind, trained by the miniature of what trains it.

Where a real target has training rows of its own, what trains its miniature is that one's ``trained_by``.
"""
