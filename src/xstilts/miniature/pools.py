"""What retrieval examples say: translations to be mined, sentences that answer, people and companies in context.

Every generator is endless and yields groups, as those of `items`; within a group candidates come before the queries
that they are right for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .inventory import QUESTIONS, RELATIONS
from .items import WORK, Said, again, questions, readings, sentences
from .languages import LANGUAGES
from .world import Fact, Phrase, World

_NUM_ASKED = 3  # sentences of a passage that are asked for
_NUM_TOLD = 3  # facts of a description
_NUM_NAMESAKES = 3
_SHARE_OF_COMPANIES = 0.1
_MAX_DRAWS = 8
_PATIENCE = 300  # names in a row of whom too little is left to tell
_ABOUT = {
    "agent": ("job", "live", "born", "age", "kin", "own", "speak", "work_at", "work_for", "like"),
    "company": ("based", "founded", "work_for"),
}
"""What is told of people and of companies, by the role that they fill."""


class Searched(NamedTuple):
    """One text that is searched for or with.

    Attributes:
        side: ``foreign`` or ``english``, or else ``query`` or ``candidate``.
        id: of its own on its side.
        language: that it is said in; empty for the one that rows are asked for in.
        said: its sentences.
        pairs: ids of its partners on the other side.
        context: the passage that it is a sentence of.
        names: the role whose filler is the mention in a query.
    """

    side: str
    id: str
    language: str
    said: tuple[Said, ...]
    pairs: tuple[str, ...] = ()
    context: tuple[Said, ...] = ()
    names: str = ""


class Entity(NamedTuple):
    """Somebody or a company, who fills the role ``names`` of ``facts``; ``mention`` says one of them."""

    names: str
    facts: tuple[Fact, ...]
    mention: Said

    @property
    def description(self) -> tuple[Said, ...]:
        """The facts, said plainly."""
        return tuple(map(Said, self.facts))


def mined(world: World) -> Iterator[list[Searched]]:
    """Three sentences: one on both sides, one on the foreign and one on the English side."""
    for number, three in enumerate(zip(*[sentences(world)] * 3, strict=True)):
        both, foreign, english = (f"{number}.{i}" for i in range(3))
        places = (("english", both), ("foreign", both), ("foreign", foreign), ("english", english))
        yield [
            Searched(
                side, id, "en" if side == "english" else "", tuple(three[int(id[-1])]), (id,) if id == both else ()
            )
            for side, id in places
        ]


def asked_passages(world: World) -> Iterator[list[Searched]]:
    """The sentences of a passage in every language, then questions that three of them answer, in every language."""
    for number, (reading,) in enumerate(readings(world)):
        told = {f"{number}.{i}": said for i, said in enumerate(reading.passage)}
        asked = {id: world.rng.choice(names) for id, said in told.items() if (names := questions(said.fact))}
        if len(asked) < _NUM_ASKED:
            continue
        group = [
            Searched("candidate", f"{id}.{code}", code, (said,), (), reading.passage)
            for code in LANGUAGES
            for id, said in told.items()
        ]
        yield group + [
            Searched("query", f"{id}.{code}", code, (Said(told[id].fact, name),), tuple(f"{id}.{c}" for c in LANGUAGES))
            for id, name in list(asked.items())[:_NUM_ASKED]
            for code in LANGUAGES
        ]


def answered(fact: Fact) -> set[str]:
    """What a fact answers: kind of fact, what is asked for and what is named, whatever the circumstances."""
    found = set()
    for one in (one for one in (fact, fact.converse()) if one):
        for asks in {QUESTIONS[name].asks for name in questions(one)}:
            named = [one.roles[role] for role in RELATIONS[one.relation].core if role != asks or role == "counted"]
            found.add(" ".join((one.relation, asks, *(f"{phrase.lexeme}{phrase.figure or ''}" for phrase in named))))
    return found


def entities(world: World) -> Iterator[list[Entity]]:
    """One at a time."""
    while True:
        if entity := _entity(world, _name(world), set()):
            yield [entity]


def mentioned(world: World) -> Iterator[list[Searched]]:
    """Three of one name, each described in another language, then mentions of the first in every language.

    Nothing is told of two of all these, so that a mention is of one. Ends when the world has no more to tell.
    """
    told: set[str] = set()
    number = idle = 0
    while idle < _PATIENCE:
        name, before = _name(world), set(told)
        found = [entity for _ in range(_NUM_NAMESAKES) if (entity := _entity(world, name, told))]
        if len(found) < _NUM_NAMESAKES:
            told, idle = before, idle + 1
            continue
        places = range(_NUM_NAMESAKES * number, _NUM_NAMESAKES * (number + 1))
        described = [
            Searched("candidate", str(place), LANGUAGES[place % len(LANGUAGES)], entity.description)
            for place, entity in zip(places, found, strict=True)
        ]
        first = found[0]
        yield described + [
            Searched("query", f"{number}.{code}", code, (first.mention,), (described[0].id,), (), first.names)
            for code in LANGUAGES
        ]
        number, idle = number + 1, 0


def _name(world: World) -> tuple[str, Phrase]:
    """A person or a company, with the role that it fills."""
    relation, role = ("founded", "company") if world.rng.random() < _SHARE_OF_COMPANIES else ("live", "agent")
    return role, world.fact(relation).roles[role]


def _entity(world: World, name: tuple[str, Phrase], told: set[str]) -> Entity | None:
    """Somebody of whom nothing in ``told`` is true, which grows by what is; ``None`` when there is too little left."""
    role, phrase = name
    facts: list[Fact] = []
    for relation in world.rng.sample(_ABOUT[role], len(_ABOUT[role])):
        if relation in WORK and any(fact.relation in WORK for fact in facts):
            continue
        drawn = (world.find(relation, **{role: phrase}) for _ in range(_MAX_DRAWS))
        if fact := next((fact for fact in drawn if fact and fact.key not in told), None):
            facts.append(fact.but(year=None) if relation == "born" else fact)  # which an age could contradict
        if len(facts) == _NUM_TOLD:
            told.update(fact.key for fact in facts)
            return Entity(role, tuple(facts), again(world, world.rng.choice(facts)))
    return None
