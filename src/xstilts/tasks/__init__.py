"""The declared tasks: what they are, where their rows come from; plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xstilts.spec import one_of

from .benchmarks import BENCHMARKS, PROFILE_OF, PROFILES, Profile, Protocol, average, layer_for, metrics_of, profile
from .choice import CHOICE_TASKS
from .contrastive import CONTRASTIVE_TASKS
from .languages import LANGUAGES, PAIR, Language, langs, language
from .made import MADE_TASKS
from .pairs import PAIR_TASKS
from .qa import QA_TASKS
from .retrieval import RETRIEVAL_TASKS, XTREME_LANGUAGES, XTREME_R_LANGUAGES
from .source import available, content, data_files, download, examples, some_examples, sources_here
from .tagging import TAGGING_TASKS, ccg
from .task import (
    Bitext,
    Choices,
    Choose,
    Classify,
    Embed,
    Entry,
    Example,
    Files,
    Hub,
    Kind,
    MaskedLM,
    Mine,
    Miniature,
    Pair,
    Passage,
    Search,
    Span,
    Splits,
    Tag,
    Task,
    Text,
    Tokens,
)
from .text import TEXT_TASKS

__all__ = [
    "ALL",
    "BENCHMARKS",
    "LANGUAGES",
    "PROFILES",
    "PROFILE_OF",
    "XTREME_LANGUAGES",
    "XTREME_R_LANGUAGES",
    "Bitext",
    "Choices",
    "Choose",
    "Classify",
    "Embed",
    "Entry",
    "Example",
    "Files",
    "Hub",
    "Kind",
    "Language",
    "MaskedLM",
    "Mine",
    "Miniature",
    "Pair",
    "Passage",
    "Profile",
    "Protocol",
    "Search",
    "Span",
    "Splits",
    "Tag",
    "Task",
    "Text",
    "Tokens",
    "available",
    "average",
    "ccg",
    "content",
    "data_files",
    "download",
    "examples",
    "find",
    "langs",
    "language",
    "layer_for",
    "metrics_of",
    "names",
    "num_distinct",
    "profile",
    "register",
    "some_examples",
    "sources_here",
    "with_members",
]

ALL: tuple[Task, ...] = (
    *PAIR_TASKS,
    *QA_TASKS,
    *CHOICE_TASKS,
    *TAGGING_TASKS,
    *RETRIEVAL_TASKS,
    *CONTRASTIVE_TASKS,
    *TEXT_TASKS,
    *MADE_TASKS,
)

_known: dict[str, Task] = {}


def names() -> tuple[str, ...]:
    """The names of all known tasks, registered ones last."""
    return tuple(_known)


def find(name: str) -> Task:
    """The task of a name, built in or registered.

    Raises:
        ValueError: for an unknown name, with the near ones.
    """
    if name == "ccg" and name not in _known:
        raise ValueError(
            "ccg is not declared, since CCGbank (LDC2005T13) is not free: register(ccg(LABELS)) from xstilts.tasks in "
            "a study file of your own, and ask for it as FILE.py:ccg"
        )
    one_of("task", name, _known)
    return _known[name]


def with_members(name: str) -> Iterator[Task]:
    """A task and what it is made of: everything in a union, or what it crosses."""
    task = find(name)
    yield task
    for member in (*task.members, *filter(None, (task.crosses,))):
        yield from with_members(member)


def num_distinct(tasks: Iterable[str]) -> int:
    """How many data sets tasks are: those that hold or share training rows are one.

    What is declared decides: a slice counts as its whole, a union (ANLI+) shares rows with its members, and any task
    with those in its ``overlaps`` as a whole or by their training rows (SQuAD v2 with v1.1). Sharing is passed on: a
    union makes one of all its members.
    """
    groups: list[set[str]] = []
    for name in tasks:
        own = _shared(name)
        groups = [group for group in groups if not group & own] + [own.union(*(g for g in groups if g & own))]
    return len(groups)


def _shared(name: str) -> set[str]:
    """The names of whole tasks whose training rows a task has some of."""
    found = {one.slice_of or one.name for one in with_members(name)}
    wholes = {name for whole in found for name in (whole, *(member.name for member in with_members(whole)))}
    declared = (overlap.partition("/") for whole in wholes for overlap in find(whole).overlaps)
    return wholes | {find(task).slice_of or task for task, _, split in declared if split in ("", "train")}


def register(*tasks: Task) -> None:
    """Make tasks of one's own known to `find`, all of them or none.

    Raises:
        ValueError: for a name that is taken, or a reference to a task that is not known.
    """
    together = dict(_known)
    for task in tasks:
        if task.name in together:
            raise ValueError(f"task {task.name!r} is declared twice: expected a name of its own")
        together[task.name] = task
    for task in tasks:
        _check_references(task, together)
    _known.update(together)


def _check_references(task: Task, known: dict[str, Task]) -> None:
    for field, references in (
        ("members", task.members),
        ("trained_by", (task.trained_by,) if task.trained_by else ()),
        ("trained_before", task.trained_before),
        ("slice_of", (task.slice_of,) if task.slice_of else ()),
        ("crosses", (task.crosses,) if task.crosses else ()),
        ("overlaps", task.overlaps),
    ):
        for reference in references:
            name, _, split = reference.partition("/")
            one_of(f"task in {field} of {task.name!r}", name, known)
            if split:
                one_of(f"split in {field} of {task.name!r}", split, known[name].splits)
    for name in task.trained_before:
        one_of(f"split of {name!r}, in trained_before of {task.name!r}", "train", known[name].splits)
    if task.crosses:
        crossed = known[task.crosses]
        for code in {part for pair in task.languages for part in pair.split(PAIR)}:
            one_of(f"language of {crossed.name!r}, which {task.name!r} crosses", code, crossed.languages)
        for split in task.splits:
            one_of(f"split of {crossed.name!r}, which {task.name!r} crosses", split, crossed.splits)
        if crossed.kind != task.kind or crossed.crosses:
            raise ValueError(f"task {task.name!r}: expected {crossed.name!r}, which it crosses, to have its kind")
    for member in (known[name] for name in task.members):
        if member.kind != task.kind or not set(task.languages) <= set(member.languages):
            raise ValueError(f"union {task.name!r}: expected its member {member.name!r} to have its kind and languages")
        for split in task.splits:
            one_of(f"split of {member.name!r}, a member of {task.name!r}", split, member.splits)


register(*ALL)
