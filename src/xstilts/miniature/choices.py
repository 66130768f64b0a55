"""What multiple-choice examples say: the ending of a paragraph, what can be at all, cause and effect.

Every generator is endless and yields groups, as those of `items`; no choice says by itself whether it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from .inventory import CATEGORIES, RELATIONS
from .items import Said, asked, sentences, templates
from .world import Fact, Phrase, World


class Choice(NamedTuple):
    """What is told, and sentences of which the first is what is asked for: end, cause, effect or answer."""

    told: tuple[Said, ...]
    choices: tuple[Said, ...]
    asks: str


_GIVING = ("give", "sell_to")
_NEEDS = {"hungry": "to_eat", "thirsty": "to_drink"}
"""What somebody in a state wants to do."""

_ASKED: Mapping[str, tuple[str, ...]] = {
    "food": ("to_eat", "to_cook"),
    "drink": ("to_drink",),
    "text": ("to_read", "to_write"),
    "animal": ("to_feed",),
    "machine": ("to_repair",),
    "clothing": ("q-wear",),
    "city": ("q-live-city2",),
    "person": ("q-kin", "q-meet"),
    "company": ("q-work_for", "q-work_for2"),
    "job": ("q-job", "q-job2"),
    "language": ("q-speak",),
    "colour": ("q-quality",),
    "time": ("q-act-time",),
    "means": ("q-travel-means",),
}
"""Kinds of answers, with the questions, or verbs whose object is asked for, that no other kind answers."""
_NEARLY = tuple(
    set(pair.split())
    for pair in (
        *("food drink", "food animal", "person animal", "person job", "person company"),
        *("text language", "machine clothing", "machine means", "clothing colour"),
    )
)
"""Kinds of which one could pass for the other."""


def endings(world: World) -> Iterator[list[Choice]]:
    """Two sentences, and four that differ in two things: one comes back to what was told, in other words.

    The second sentence names a thing or person of the wrong ones, so that it is not enough to know who is named.
    """
    for (said,) in sentences(world):
        fact = said.fact
        ends = [Said(fact, name) for name in templates(fact) if name != said.template]
        follows = _has(fact) if fact.relation in _GIVING else fact.converse()
        ends += [Said(follows)] if follows and follows.split == world.split else []
        if not ends or fact.relation == "kin":  # which says the person's sex
            continue
        right = world.rng.choice(ends)
        one, two = [role for role in RELATIONS[right.fact.relation].core if role not in ("verb", "comparison")][-2:]
        beside, against = world.other(right.fact, one), world.other(right.fact, two)
        near = world.other(beside, two) if beside else None
        if beside and against and near and not near.roles[two].same_as(against.roles[two]):
            wrong = [right._replace(fact=f) for f in (beside, against, beside.but(**{two: against.roles[two]}))]
            yield [Choice(tuple(world.rng.sample((said, Said(near)), 2)), (right, *wrong), "end")]


def commonsense(world: World) -> Iterator[list[Choice]]:
    """A question on nothing that was told, and the answers to five questions: one is of the kind that is asked for."""
    while True:
        kinds = world.rng.sample(tuple(_ASKED), 5)
        if not any(pair <= set(kinds) for pair in _NEARLY):
            questions = tuple(_question(world, world.rng.choice(_ASKED[kind])) for kind in kinds)
            yield [Choice(questions[:1], questions, "answer")]


def _question(world: World, name: str) -> Said:
    if name in CATEGORIES["verb"]:
        return Said(world.fact("act", verb=Phrase(name)), "q-act-object")
    return asked(world, name)


def causes(world: World) -> Iterator[list[Choice]]:
    """Who was given or sold something has it, and who is hungry wants to eat; as effect and as cause."""
    while True:
        cause, effect, no_cause, no_effect = (_needs if world.rng.random() < 0.3 else _gains)(world)
        if cause.split == effect.split == world.split:
            forth = Choice((Said(cause),), (Said(effect), Said(no_effect)), "effect")
            back = Choice((Said(effect),), (Said(cause), Said(no_cause)), "cause")
            yield world.rng.sample([forth, back], 2)


def _gains(world: World) -> tuple[Fact, Fact, Fact, Fact]:
    """Eva gave Max a hat | Max has a hat | Max gave Eva a hat | Eva has a hat."""
    given = world.fact(world.rng.choice(_GIVING))
    given = given.but(object=replace(given.roles["object"], adjective=""))
    has = _has(given)
    return given, has, given.turned(), has.but(agent=given.subject)


def _needs(world: World) -> tuple[Fact, Fact, Fact, Fact]:
    """Eva is hungry | Eva wants to eat rice | Eva is thirsty | Eva wants to drink tea."""
    state, other = world.rng.sample(tuple(_NEEDS), 2)
    wish, other_wish = (world.fact("want", verb=Phrase(_NEEDS[name])) for name in (state, other))
    need = Fact("feel", {"agent": wish.subject, "state": Phrase(state)})
    return need, wish, need.but(state=Phrase(other)), other_wish.but(agent=wish.subject)


def _has(given: Fact) -> Fact:
    """What follows from giving or selling."""
    return Fact("own", {"agent": given.roles["other"], "object": given.roles["object"]})
