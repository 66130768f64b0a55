"""Facts in few words, and the sentences of a language that its grammar is tested on."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from xstilts.miniature.grammar import Grammar, Sentence
from xstilts.miniature.inventory import (
    CATEGORIES,
    CATEGORY,
    DEFINITE_VERBS,
    GOODS,
    KIN_BY_SEX,
    MASS,
    MATERIAL_OF,
    OBJECTS,
    QUESTIONS,
    RELATIONS,
    TEMPLATES,
    VALUES,
    VARIANTS,
)
from xstilts.miniature.languages import grammar
from xstilts.miniature.world import SPLITS, Fact, Phrase, World

Filler = Phrase | str | int
SOMEONE = Phrase("someone")


def phrase(filler: Filler) -> Phrase:
    """A string is a lexeme, an int a figure."""
    if isinstance(filler, Phrase):
        return filler
    return Phrase(filler) if isinstance(filler, str) else Phrase(figure=filler)


def the(lexeme: str, adjective: str = "") -> Phrase:
    return Phrase(lexeme, definite=True, adjective=adjective)


def fact(relation: str, *fillers: Filler, **more: Filler) -> Fact:
    """A fact: fillers of the relation's first roles in order, the others by name."""
    order = tuple(RELATIONS[relation].roles)
    given = {**dict(zip(order, fillers, strict=False)), **more}
    assert len(given) == len(fillers) + len(more), "a role is filled once"
    assert set(given) <= set(order), f"{relation} has no {set(given) - set(order)}"
    return Fact(relation, {role: phrase(given[role]) for role in order if role in given})


def act(verb: str, what: Filler, relation: str = "act", **more: Filler) -> Fact:
    """What Anna did to something, or did not do."""
    return fact(relation, "anna", verb, what, **more)


def counted(thing: str, count: int, place: str) -> Fact:
    return fact("count_at", Phrase(thing, count=count), place)


def told(text: str) -> Fact:
    """``relation role=lexeme`` with ``*3`` for a count, ``/red`` for an adjective, ``!`` for definite."""
    relation, *pairs = text.split()
    roles: dict[str, Filler] = {}
    for pair in pairs:
        role, filler = pair.split("=")
        if filler.isdigit():
            roles[role] = int(filler)
            continue
        lexeme, count, adjective, definite = re.fullmatch(r"(\w+)(?:\*(\d))?(?:/(\w+))?(!?)", filler).groups()
        roles[role] = Phrase(lexeme, int(count or 1), bool(definite), adjective or "")
    return fact(relation, **roles)


def relation_of(template: str) -> str:
    return QUESTIONS[template].relation if template in QUESTIONS else template.split("-")[0]


def members(*names: str) -> list[str]:
    """The lexemes of categories; a lexeme is itself."""
    return [lexeme for name in names for lexeme in CATEGORIES.get(name, (name,))]


def verbs_of(relation: str) -> list[str]:
    return members(*RELATIONS[relation].roles["verb"])


def required(speaks: Grammar, template: str) -> set[str]:
    """The roles that a template of a language cannot do without."""
    return set(re.findall(r"\{(\w+)", re.sub(r"\[.*?\]", "", speaks.templates[template])))


# ------------------------------------------------------------ the facts

_TEMPLATES_OF: Mapping[str, tuple[str, ...]] = {
    relation: tuple(template for template in TEMPLATES if relation_of(template) == relation) for relation in RELATIONS
}


class Situation(NamedTuple):
    """A fact and the templates that it is said by."""

    fact: Fact
    templates: tuple[str, ...]


def _sampled() -> Iterator[Fact]:
    """Random facts of every relation and split; the agent of some is nobody known."""
    for split in SPLITS:
        world = World(split, "grammar")
        for relation in RELATIONS:
            drawn = [world.fact(relation) for _ in range(20 if split == "train" else 8)]
            yield from drawn
            if split == "train" and "agent" in RELATIONS[relation].roles and relation not in ("job", "kin"):
                yield from (found.but(agent=SOMEONE) for found in drawn)


def _with_objects() -> Iterator[Situation]:
    """Every verb with everything that it takes, known, unknown and three of it; the same denied, wanted and usual."""
    for verb, allowed in OBJECTS.items():
        known = verb in DEFINITE_VERBS
        for lexeme in members(*allowed, "pronoun", "hypernym"):
            whats = [what := Phrase(lexeme, definite=known)]
            if CATEGORY[lexeme] in (*GOODS, *MASS):
                whats.append(Phrase(lexeme, definite=not known))
            if CATEGORY[lexeme] in GOODS:
                whats.append(Phrase(lexeme, count=3))
            yield from (Situation(act(verb, one), ("act", "q-act-agent", "q-act-object")) for one in whats)
            yield Situation(act(verb, what, "act_not"), ("act_not",))
            if verb in verbs_of("want"):
                yield Situation(act(verb, what, "want"), ("want",))
            if verb in verbs_of("habit"):
                yield Situation(act(verb, what, "habit", frequency="every_day"), ("habit",))


def _described() -> Iterator[Situation]:
    """Every count noun with every adjective, and two and five of it; one noun with every number."""
    for lexeme in members(*GOODS):
        whats = [Phrase(lexeme, adjective=adjective) for adjective in members("colour", "quality")]
        whats += [Phrase(lexeme, count=count) for count in (range(2, 10) if lexeme == "lion" else (2, 5))]
        yield from (Situation(fact("own", "raj", what), ("own",)) for what in whats)


def _fillers(relation: str, role: str) -> list[Phrase]:
    """Everything that fits a role by itself: what a verb takes is in `_with_objects`."""
    about = RELATIONS[relation]
    if role in VALUES:
        return [Phrase(figure=value) for value in VALUES[role]]
    if "verb" in about.roles and role in ("verb", "object"):
        return []
    allowed = about.roles[role]
    if relation == "made_of" and role == "thing":
        allowed = tuple(dict.fromkeys(thing for things in MATERIAL_OF.values() for thing in things))
    return [Phrase(lexeme) for lexeme in members(*allowed)]


@functools.cache
def exchanged() -> Mapping[tuple[str, str], tuple[Fact, ...]]:
    """By relation and role: one fact with everything in that role that fits it, and nothing else changed."""
    found = {}
    for relation, about in RELATIONS.items():
        world = World("train", "exchanged")
        base = world.fact(relation)
        while base.roles.keys() != about.roles.keys():
            base = world.fact(relation)
        for role in about.roles:
            plain = replace(base.roles[role], adjective="")
            found[relation, role] = tuple(
                base.but(**{role: replace(plain, lexeme=filler.lexeme, figure=filler.figure)})
                for filler in _fillers(relation, role)
            )
    friend = fact("kin", "anna", "friend", "ali")
    for role in ("agent", "other"):
        found["kin", role] = tuple(friend.but(**{role: filler}) for filler in _fillers("kin", role))
    found["kin", "kin"] = tuple(  # what a woman is, and a man
        fact("kin", agent, words[sex], "ali") for words in KIN_BY_SEX for sex, agent in enumerate(("anna", "peter"))
    )
    return found


@functools.cache
def situations() -> tuple[Situation, ...]:
    found = [Situation(said, _TEMPLATES_OF[said.relation]) for said in _sampled()]
    found += (*_with_objects(), *_described())
    for (relation, _), facts in exchanged().items():
        found += (Situation(said, VARIANTS.get(relation, (relation,))) for said in facts)
    return tuple(found)


class Spoken(NamedTuple):
    """A fact and the sentence that says it by a template."""

    fact: Fact
    template: str
    sentence: Sentence
    text: str


@functools.lru_cache(maxsize=1)  # tens of megabytes a language
def spoken(code: str) -> tuple[Spoken, ...]:
    """Every situation, said by each of its templates that it can be said by; one situation's are neighbours."""
    speaks = grammar(code)
    needed = {template: required(speaks, template) for template in TEMPLATES}
    found = []
    for said, templates in situations():
        for template in templates:
            if needed[template] <= said.roles.keys():
                sentence = speaks.sentence(said, template)
                found.append(Spoken(said, template, sentence, sentence.text))
    return tuple(found)


@functools.cache
def texts(code: str) -> tuple[str, ...]:
    """What was spoken, as text alone, which is little enough to keep."""
    return tuple(said.text for said in spoken(code))
