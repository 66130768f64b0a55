"""Contrastive training of sentence vectors on English: triples of inference data, and sentences with themselves.

SimCSE (Gao et al. 2021, arXiv 2104.08821) trains on a premise, a hypothesis that it entails and one that it
contradicts, or on the same sentence twice under dropout; mSimCSE (Wang et al. 2022, arXiv 2211.06127) shows that the
first on English alone makes XLM-R a cross-lingual encoder of sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from .pairs import MNLI, MNLI_SAMPLE, SNLI, SNLI_SAMPLE
from .readers import Row
from .task import MINIATURE_NOTE, Bitext, Embed, Hub, Miniature, Source, Splits, Task


def triples_by_premise(rows: Iterable[Row]) -> Iterator[Row]:
    """A premise, a hypothesis that it entails and one that it contradicts: ``anchor``, ``positive``, ``negative``.

    Every entailed hypothesis makes one row, with the contradicted ones of its premise in turn; a premise without both
    makes none. Premises come in the order in which they are first met.
    """
    return _triples(rows, "premise", "hypothesis")


def triples_by_hypothesis(rows: Iterable[Row]) -> Iterator[Row]:
    """The same from several premises of one hypothesis, as the miniature has them."""
    return _triples(rows, "hypothesis", "premise")


def _triples(rows: Iterable[Row], shared: str, other: str) -> Iterator[Row]:
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row[shared], {}).setdefault(row["label"], []).append(row)
    for anchor, labelled in groups.items():
        against = labelled.get("contradiction", [])
        for number, row in enumerate(labelled.get("entailment", []) if against else []):
            negative = against[number % len(against)][other]
            yield Row({"anchor": anchor, "positive": row[other], "negative": negative}, row.path, row.line)


def _triple(row: Row) -> Bitext:
    return Bitext(row["anchor"], row["positive"], negative=row["negative"])


def _twice(column: str) -> Callable[[Row], Bitext]:
    return lambda row: Bitext(row[column], row[column])


_SELF = "each hypothesis is its own positive: only dropout makes the two vectors differ, so there must be some"
_TRIPLES = "one row for each entailed hypothesis whose premise also has a contradicted one"


def _through(source: Source) -> Source:
    return replace(source, through=triples_by_premise)


def _triples_of(task: Task, name: str, **own: Any) -> Task:
    declared: dict[str, Any] = {"official_size": None, "note": _TRIPLES}
    declared |= {"kind": Embed(), "example": _triple, "source": tuple(map(_through, task.sources)), "slice_of": None}
    return replace(task, name=name, **(declared | own))


def _alone(task: Task, name: str, **own: Any) -> Task:
    """The hypotheses of a task, each with itself; MNLI and SNLI have every premise three times."""
    declared: dict[str, Any] = {"kind": Embed(), "example": _twice("hypothesis"), "note": _SELF}
    return replace(task, name=name, **(declared | own))


def _in_dev(task: Task, name: str, whole: str, size: int) -> Task:
    files = tuple(source for source in task.sources if not isinstance(source, Hub))
    own = {"slice_of": whole, "splits": Splits(train="dev"), "rows": {"train": size}}
    note = f"the dev rows of {task.name}, for want of its training set; {_TRIPLES}"
    overlaps = (f"{task.name}/dev", *task.overlaps)
    return _triples_of(task, name, **own, source=tuple(map(_through, files)), overlaps=overlaps, note=note)


MNLI_TRIPLES = _triples_of(MNLI, "mnli-triples", rows={"dev": 3_243})
SNLI_TRIPLES = _triples_of(SNLI, "snli-triples", rows={"dev": 3_172})
NLI_TRIPLES = replace(
    MNLI_TRIPLES,
    name="nli-triples",
    source=(),
    rows={"dev": 6_415},
    members=("mnli-triples", "snli-triples"),
    overlaps=(*MNLI.overlaps, *SNLI.overlaps),
    licence=f"{MNLI.licence}; {SNLI.licence}",
    note=f"MNLI and SNLI together, as SimCSE takes them; {_TRIPLES}",
)
MNLI_TRIPLES_IN_DEV = _in_dev(MNLI, "mnli-triples@dev", "mnli-triples", 3_243)
SNLI_TRIPLES_IN_DEV = _in_dev(SNLI, "snli-triples@dev", "snli-triples", 3_172)
NLI_TRIPLES_IN_DEV = replace(
    NLI_TRIPLES,
    name="nli-triples@dev",
    splits=Splits(train="dev"),
    rows={"train": 6_415},
    members=(MNLI_TRIPLES_IN_DEV.name, SNLI_TRIPLES_IN_DEV.name),
    overlaps=(*MNLI_TRIPLES_IN_DEV.overlaps, *SNLI_TRIPLES_IN_DEV.overlaps),
    slice_of="nli-triples",
    note="of the dev rows of MNLI and SNLI, for want of their training sets",
)
MNLI_SENTENCES = _alone(MNLI, "mnli-sentences")
SNLI_SENTENCES = _alone(SNLI, "snli-sentences")
MNLI_SENTENCES_SAMPLE = _alone(MNLI_SAMPLE, "mnli-sentences@sample", slice_of="mnli-sentences")
SNLI_SENTENCES_SAMPLE = _alone(SNLI_SAMPLE, "snli-sentences@sample", slice_of="snli-sentences")

MINI_NLI_TRIPLES = Task(
    name="mini-nli-triples",
    kind=Embed(),
    example=_triple,
    languages=("en",),
    splits=Splits(train="train", dev="dev"),
    source=Miniature("nli", through=triples_by_hypothesis, each=3),
    rows={"train": 2_000, "dev": 200},
    metric="accuracy",
    licence="Apache-2.0",
    official_size=2_000,
    note=MINIATURE_NOTE,
)
MINI_SENTENCES = replace(
    MINI_NLI_TRIPLES,
    name="mini-sentences",
    example=_twice("premise"),
    source=Miniature("nli"),
    rows={"train": 6_000, "dev": 600},
    official_size=6_000,
)

CONTRASTIVE_TASKS = (
    MNLI_TRIPLES,
    SNLI_TRIPLES,
    NLI_TRIPLES,
    MNLI_TRIPLES_IN_DEV,
    SNLI_TRIPLES_IN_DEV,
    NLI_TRIPLES_IN_DEV,
    MNLI_SENTENCES,
    SNLI_SENTENCES,
    MNLI_SENTENCES_SAMPLE,
    SNLI_SENTENCES_SAMPLE,
    MINI_NLI_TRIPLES,
    MINI_SENTENCES,
)
