"""Facts, each in one split, and random ones: the situations that every sentence of the miniature is about."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from xstilts.spec import digest, one_of

from .inventory import (
    ACTIVITY_PLACES,
    ANIMAL_ACTIVITIES,
    CATEGORIES,
    CATEGORY,
    CONVERSE_KIN,
    DEFINITE_VERBS,
    GOODS,
    KIN,
    KIN_BY_SEX,
    MATERIAL_OF,
    OBJECTS,
    OPPOSITES,
    REACTIONS,
    RELATIONS,
    VALUES,
    WOMEN,
)

SPLITS = ("train", "dev", "test")
_SHARES = (*("train",) * 7, "dev", "test", "test")  # of the facts, by hash
_FREQUENT = {"act": 8, "act_not": 2, "go": 2, "travel": 2, "give": 3, "own": 2, "did": 2, "group_did": 2, "habit": 2}
_BY_FREQUENCY = tuple(name for name in RELATIONS for _ in range(_FREQUENT.get(name, 1)))
_MAX_DRAWS = 300
_DESCRIBING = ("act", "own", "wear", "sell_to", "give", "want")  # whose objects may have an adjective
_MAKING = ("to_write", "to_draw", "to_bring")  # whose objects have none
_ADJECTIVES = {
    "animal": ("big", "small", "black", "white", "brown", "beautiful"),
    "readable": ("new", "old", "beautiful"),
}
_OF_THINGS = (*CATEGORIES["colour"], "big", "small", "new", "old", "expensive", "cheap", "beautiful")


@dataclass(frozen=True)
class Phrase:
    """What fills a role: a lexeme with its number, definiteness and adjective, or a figure."""

    lexeme: str = ""
    count: int = 1
    definite: bool = False
    adjective: str = ""
    figure: int | None = None

    @property
    def category(self) -> str:
        """The lexeme's category, ``figure`` for a figure."""
        return "figure" if self.figure is not None else CATEGORY[self.lexeme]

    def same_as(self, other: Phrase) -> bool:
        """Whether both name the same thing, however described, or the same figure."""
        return (self.lexeme, self.figure) == (other.lexeme, other.figure)


@dataclass(frozen=True)
class Fact:
    """A relation and what fills its roles, in the relation's order."""

    relation: str
    roles: Mapping[str, Phrase] = field(hash=False)

    @property
    def subject(self) -> Phrase:
        """The grammatical subject: the filler of the first role."""
        return self.roles[next(iter(RELATIONS[self.relation].roles))]

    def but(self, **roles: Phrase | None) -> Fact:
        """The fact with some roles filled otherwise, or left out."""
        merged = {**self.roles, **roles}
        order = RELATIONS[self.relation].roles
        return Fact(self.relation, {role: phrase for role in order if (phrase := merged.get(role)) is not None})

    @functools.cached_property
    def key(self) -> str:
        """The fact's identity: relation and core roles, one spelling for a denial, and for what has a converse."""
        keys = [fact._key() for fact in (self, self.converse()) if fact]
        return min(keys)

    def converse(self) -> Fact | None:
        """The same fact from the other person's side: B is A's son, B is shorter than A, B met A."""
        if self.relation not in ("kin", "compare", "meet"):
            return None
        turned = self.turned()
        if self.relation == "compare":
            return turned.but(comparison=Phrase(OPPOSITES[self.roles["comparison"].lexeme]))
        if self.relation == "kin":
            return turned.but(kin=_kin(CONVERSE_KIN[KIN[self.roles["kin"].lexeme]], turned.subject))
        return turned

    def turned(self) -> Fact:
        """The fact with agent and other person exchanged: as a rule another fact."""
        turned = self.but(agent=self.roles["other"], other=self.roles["agent"])
        return turned.but(kin=_kin(KIN[self.roles["kin"].lexeme], turned.subject)) if self.relation == "kin" else turned

    def _key(self) -> str:
        relation = RELATIONS[self.relation]
        core = [phrase for role in relation.core if (phrase := self.roles.get(role))]
        words = [phrase.lexeme if phrase.figure is None else str(phrase.figure) for phrase in core]
        return " ".join((relation.negates or self.relation, *words))

    @functools.cached_property
    def split(self) -> str:
        """The one split whose sentences may state this fact."""
        return _SHARES[int(digest(self.key)[:8], 16) % len(_SHARES)]


def _takes(role: str, roles: Mapping[str, Phrase]) -> bool:
    """Whether a fact so far takes a circumstance: where something is brought is where to."""
    return role != "place" or "verb" not in roles or roles["verb"].lexeme != "to_bring"


def _kin(row: int, person: Phrase) -> Phrase:
    return Phrase(KIN_BY_SEX[row][person.lexeme not in WOMEN])


class World:
    """A source of random facts of one split.

    Args:
        split: train, dev or test; no fact is in two.
        seed: of the randomness; the same seed gives the same facts in the same order.
    """

    def __init__(self, split: str, seed: int | str = 0):
        one_of("split of the miniature world", split, SPLITS)
        self.split = split
        self.rng = random.Random(f"miniature {split} {seed}")

    def fact(self, relation: str = "", **given: Phrase) -> Fact:
        """A random fact, of a random relation when none is named, with some roles given.

        Raises:
            ValueError: when the split has none.
        """
        if found := self.find(relation, **given):
            return found
        raise ValueError(f"no fact {relation} {given} was found in the split {self.split}")

    def find(self, relation: str = "", **given: Phrase) -> Fact | None:
        """As `fact`; ``None`` when the split has none, as happens where the given roles leave few choices."""
        for _ in range(_MAX_DRAWS):
            fact = self._draw(relation or self.rng.choice(_BY_FREQUENCY), given)
            if fact.split == self.split:
                return fact
        return None

    def other(self, fact: Fact, role: str) -> Fact | None:
        """The fact with another filler of a role, in the same split; ``None`` when there is none.

        Of the role's neighbours only those before it are minded, so another verb may not fit the object; but nobody
        meets himself, and no man is a wife.
        """
        own = fact.roles[role]
        before = {name: fact.roles[name] for name in itertools.takewhile(lambda name: name != role, fact.roles)}
        if role in VALUES:
            phrases = [Phrase(figure=figure) for figure in VALUES[role]]
        else:
            taken = {phrase.lexeme for phrase in fact.roles.values()}
            phrases = [Phrase(lexeme) for lexeme in self._fillers(fact.relation, role, before) if lexeme not in taken]
        for phrase in self.rng.sample(phrases, len(phrases)):
            changed = fact.but(**{role: self._described(phrase, fact.relation, role, before)})
            kin = changed.roles.get("kin")
            if changed.split != self.split or phrase.same_as(own):
                continue
            if kin is None or kin == _kin(KIN[kin.lexeme], changed.subject):
                return changed
        return None

    def _draw(self, name: str, given: Mapping[str, Phrase]) -> Fact:
        relation = RELATIONS[name]
        roles: dict[str, Phrase] = {}
        for role in relation.roles:
            if role in given:
                roles[role] = given[role]
            elif role in relation.optional and (self.rng.random() < 0.5 or not _takes(role, roles)):
                continue
            elif role in VALUES:
                roles[role] = Phrase(figure=self.rng.choice(VALUES[role]))
            else:
                lexeme = self.rng.choice(self._fillers(name, role, roles))
                roles[role] = self._described(Phrase(lexeme), name, role, roles)
        return Fact(name, roles)

    def _fillers(self, name: str, role: str, roles: Mapping[str, Phrase]) -> list[str]:
        """The lexemes that can fill a role beside the roles before it."""
        taken = {phrase.lexeme for phrase in roles.values()}
        said = {before: phrase.lexeme for before, phrase in roles.items()}
        allowed = RELATIONS[name].roles[role]
        if role == "object" and "verb" in said:
            allowed = OBJECTS[said["verb"]]
        elif role == "state" and "reaction" in said:
            allowed = tuple(state for state, reaction in REACTIONS.items() if reaction == said["reaction"])
        elif role == "thing" and name == "made_of":
            allowed = tuple(dict.fromkeys(thing for things in MATERIAL_OF.values() for thing in things))
        elif role == "material":
            allowed = tuple(material for material, things in MATERIAL_OF.items() if said["thing"] in things)
        elif role == "activity" and CATEGORY[said["agent" if "agent" in said else "group"]] == "animal":
            allowed = ANIMAL_ACTIVITIES
        elif role == "place" and "activity" in said:
            allowed = ACTIVITY_PLACES.get(said["activity"], allowed)
        pool = [lexeme for group in allowed for lexeme in CATEGORIES.get(group, (group,)) if lexeme not in taken]
        if said.get("weather") == "was_sunny":
            pool = [lexeme for lexeme in pool if lexeme != "last_night"]
        if role == "kin":
            pool = [words[said["agent"] not in WOMEN] for words in KIN_BY_SEX]
        if role == "other" and said.get("kin") in ("wife", "husband"):
            pool = [person for person in pool if (person in WOMEN) == (said["kin"] == "husband")]
        return pool

    def _described(self, phrase: Phrase, name: str, role: str, roles: Mapping[str, Phrase]) -> Phrase:
        """Number, definiteness and adjective, as the relation has them."""
        category = phrase.category
        if role in ("thing", "group") or (role == "agent" and category in ("job", "animal")):
            return replace(phrase, definite=True)
        if role == "counted":
            return replace(phrase, count=self.rng.randint(2, 9))
        if role != "object" or category not in GOODS:
            return phrase
        definite = "verb" in roles and roles["verb"].lexeme in DEFINITE_VERBS
        chance = self.rng.random()
        if name == "act" and chance < 0.2 and not definite and category != "readable":
            return replace(phrase, count=self.rng.randint(2, 9))
        described = name in _DESCRIBING and ("verb" not in roles or roles["verb"].lexeme not in _MAKING)
        if described and 0.2 <= chance < 0.6 and category != "fruit":
            adjectives = _ADJECTIVES.get(category, _OF_THINGS)
            return replace(phrase, definite=definite, adjective=self.rng.choice(adjectives))
        return replace(phrase, definite=definite)
