"""What the examples of every data set say: facts and the templates that say them, without a language.

Every generator is endless and yields groups; within a group the examples balance each other, so that no part of an
example says the label by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .inventory import CATEGORIES, HYPERNYMS, OPPOSITES, QUESTIONS, RELATIONS, VARIANTS
from .world import Fact, Phrase, World


class Said(NamedTuple):
    """A fact, and the template that says it or asks about it: the relation's own when it is empty."""

    fact: Fact
    template: str = ""


class Inference(NamedTuple):
    """Premise, hypothesis and whether the one entails the other."""

    premise: tuple[Said, ...]
    hypothesis: Said
    label: str


class Labelled(NamedTuple):
    """Two sentences and the label of the pair."""

    first: Said
    second: Said
    label: str


class Reading(NamedTuple):
    """A passage, a question on it, and facts that would answer it, of which the first is the passage's."""

    passage: tuple[Said, ...]
    question: Said
    options: tuple[Fact, ...]

    @property
    def asks(self) -> str:
        """The role that answers."""
        return QUESTIONS[self.question.template].asks


class _Trial(NamedTuple):
    """A hypothesis and what entails it, leaves it open and contradicts it."""

    hypothesis: Said
    entailment: Said
    neutral: Said
    contradiction: Said


_EXCLUSIVE = {
    **{"live": "city", "born": "city", "job": "job", "work_at": "place", "work_for": "company", "age": "age"},
    **{"quality": "quality", "at": "place", "cost": "price", "opens": "hour", "based": "city", "founded": "year"},
}
"""Relations in which the filler of one role excludes any other."""
WORK = ("job", "work_at", "work_for")  # which say something about each other
_DENIALS = {relation.negates: name for name, relation in RELATIONS.items() if relation.negates}
_GENERAL_VERBS = ("to_buy", "to_sell", "to_see", "to_photograph", "to_draw", "to_find")


def sentences(world: World) -> Iterator[list[Said]]:
    """Facts in any of their words; some of what is done, someone does."""
    while True:
        fact = world.fact()
        if fact.relation == "act" and world.rng.random() < 0.05:
            fact = fact.but(agent=Phrase("someone"))
        if fact.split == world.split:
            yield [Said(fact, world.rng.choice(templates(fact)))]


def inferences(world: World) -> Iterator[list[Inference]]:
    """Three premises for every hypothesis, one a label.

    Half of the groups have a second, unrelated sentence in every premise, and all of those whose premise would
    repeat the hypothesis. Denials, other wordings and circumstances are as often in the premises of one label as
    of another.
    """
    while True:
        trial = world.rng.choice(_TRIALS)(world)
        if trial is None or any(said.fact.split != world.split for said in trial):
            continue
        repeats = trial.hypothesis in trial[1:]
        beside = (Said(unrelated(world, [said.fact for said in trial])),) if repeats or world.rng.random() < 0.5 else ()
        before = world.rng.random() < 0.5
        group = [
            Inference((*beside, said) if before else (said, *beside), trial.hypothesis, label)
            for label, said in zip(trial._fields[1:], trial[1:], strict=True)
        ]
        yield world.rng.sample(group, len(group))


def _exclusive(world: World) -> _Trial | None:
    """Anna lives in Rome | Anna's home is in Rome | Peter lives in Rome | Anna lives in Cairo."""
    relation = world.rng.choice(tuple(_EXCLUSIVE))
    fact = world.fact(relation)
    subject = next(iter(fact.roles))
    against = world.other(fact, _EXCLUSIVE[relation])
    if relation == "quality":
        quality = fact.roles["quality"]
        if quality.category != "colour":
            against = fact.but(quality=Phrase(OPPOSITES[quality.lexeme])) if quality.lexeme in OPPOSITES else None
        elif against and against.roles["quality"].category != "colour":
            return None
    others = [name for name in _EXCLUSIVE if name != relation and next(iter(RELATIONS[name].roles)) == subject]
    others = [name for name in others if not {name, relation} <= set(WORK)]
    if others and world.rng.random() < 0.5:
        beside = world.find(world.rng.choice(others), **{subject: fact.subject})
    else:
        beside = world.other(fact, subject)
    if not against or not beside:
        return None
    hypothesis = Said(fact.but(year=None) if relation == "born" else fact)
    return _Trial(hypothesis, *(again(world, premise) for premise in (fact, beside, against)))


def _polar(world: World) -> _Trial | None:
    """Ali can swim | the same | Ali can sing | Ali cannot swim; or with all of it denied."""
    name = world.rng.choice(("like", "speak", "can", "feel"))
    fact = world.fact(world.rng.choice((name, _DENIALS[name])))
    beside = world.other(fact, world.rng.choice(tuple(fact.roles)))
    if beside is None:
        return None
    return _Trial(Said(fact), Said(fact), Said(world.rng.choice((beside, denial(beside)))), Said(denial(fact)))


def _circumstances(world: World) -> _Trial | None:
    """Eva bought a hat | Eva bought a red hat in the park | Eva bought a cup | Eva did not buy a hat; or denied."""
    fact = world.fact("act")
    beside = world.other(fact, world.rng.choice(("agent", "object")))
    if beside is None:
        return None
    bare, other = (
        one.but(place=None, time=None, object=replace(one.roles["object"], adjective="", count=1))
        for one in (fact, beside)
    )
    neutral = world.rng.choice((again(world, beside), Said(denial(other))))
    if world.rng.random() < 0.5:
        return _Trial(Said(bare), again(world, fact), neutral, Said(denial(bare)))
    return _Trial(Said(denial(bare)), Said(denial(bare)), neutral, again(world, fact))


def _general(world: World) -> _Trial | None:
    """Eva saw an animal | Eva saw a dog | Eva saw a hat | Eva did not see an animal; or with the last as premise."""
    kind, other = world.rng.sample(tuple(HYPERNYMS), 2)
    verb = Phrase(world.rng.choice(_GENERAL_VERBS))
    special = world.fact("act", verb=verb).but(object=Phrase(kind), place=None, time=None)
    general = special.but(object=Phrase(HYPERNYMS[kind]))
    if HYPERNYMS[kind] == HYPERNYMS[other]:
        return None
    beside = special.but(object=Phrase(other)), denial(special.but(object=Phrase(HYPERNYMS[other])))
    neutral = Said(world.rng.choice(beside))
    if world.rng.random() < 0.5:
        return _Trial(Said(general), Said(special), neutral, Said(denial(general)))
    return _Trial(Said(denial(special)), Said(denial(general)), neutral, Said(special))


def _converse(world: World) -> _Trial | None:
    """Eva is Max's mother | Max is Eva's son | Eva is Ali's mother | Max is Eva's father; comparisons likewise."""
    fact = world.fact(world.rng.choice(("kin", "compare")))
    beside, converse = world.other(fact, "other"), fact.converse()
    if beside is None or converse is None or fact.turned().key == fact.key:
        return None
    return _Trial(Said(fact), Said(converse), Said(beside), Said(fact.turned()))


_TRIALS: tuple[Callable[[World], _Trial | None], ...] = (
    *(_exclusive, _exclusive, _polar, _circumstances, _circumstances, _general, _converse),
)


def denial(fact: Fact) -> Fact:
    """The fact of opposite polarity, with the roles that both have."""
    name = RELATIONS[fact.relation].negates or _DENIALS[fact.relation]
    told = {role: phrase for role, phrase in fact.roles.items() if role in RELATIONS[name].roles}
    if "object" in told:
        told["object"] = replace(told["object"], count=1)
    return Fact(name, told)


def templates(fact: Fact) -> list[str]:
    """The templates that state a fact."""
    fronted = "time" in fact.roles or fact.relation == "count_at"
    names = VARIANTS.get(fact.relation, (fact.relation,))
    return [name for name in names if fronted or not name.endswith("-fronted")]


def questions(fact: Fact) -> list[str]:
    """The questions that a fact answers."""
    names = [name for name, one in QUESTIONS.items() if one.relation == fact.relation and one.asks in fact.roles]
    return [name for name in names if name != "q-quality" or fact.roles["quality"].category == "colour"]


def unrelated(world: World, facts: Iterable[Fact]) -> Fact:
    """A fact that names nothing that the others name."""
    known = {phrase.lexeme for fact in facts for phrase in fact.roles.values()}
    while True:
        fact = world.fact()
        if not known.intersection(phrase.lexeme for phrase in fact.roles.values()):
            return fact


def again(world: World, fact: Fact) -> Said:
    """The fact in other words than the relation's own, where there are any."""
    own, *others = templates(fact)
    return Said(fact, world.rng.choice(others or [own]))


def paraphrases(world: World) -> Iterator[list[Labelled]]:
    """A sentence with one that says the same, and one that says something else in the same words or form."""
    while True:
        fact = world.fact(world.rng.choice((*VARIANTS, "kin", "compare", "meet", "give", "sell_to")))
        converse = fact.converse() if len(templates(fact)) == 1 or world.rng.random() < 0.5 else None
        same = Said(converse) if converse else again(world, fact)
        if same.template == fact.relation:
            continue
        other: Fact | None = same.fact.turned() if "other" in fact.roles else None
        if other is None or other.key == fact.key:
            roles = [role for role in RELATIONS[fact.relation].core if role not in ("verb", "kin", "comparison")]
            other = world.other(same.fact, world.rng.choice(roles))
        if other and other.split == world.split:
            yield _both(world, Said(fact), paraphrase=same, different=same._replace(fact=other))


def duplicates(world: World) -> Iterator[list[Labelled]]:
    """A question in other words, and one about somebody else or about something else of the same one."""
    reworded = {question.same_as: name for name, question in QUESTIONS.items() if question.same_as}
    while True:
        first = asked(world, world.rng.choice(tuple(reworded)))
        name, other = reworded[first.template], _otherwise(world, first)
        subject = next(iter(first.fact.roles))
        others = [
            n for n in reworded.values() if n != name and next(iter(RELATIONS[QUESTIONS[n].relation].roles)) == subject
        ]
        same = Said(first.fact, name)
        if others and world.rng.random() < 0.4:
            name = world.rng.choice(others)
            other = world.find(QUESTIONS[name].relation, **{subject: first.fact.subject})
        if other:
            yield _both(world, first, duplicate=same, not_duplicate=Said(other, name))


def answers(world: World) -> Iterator[list[Labelled]]:
    """A question with a sentence that answers it, and with one that does not but nearly could."""
    while True:
        question = asked(world, world.rng.choice(tuple(QUESTIONS)))
        asks, fact = QUESTIONS[question.template].asks, question.fact
        leave_out = asks in RELATIONS[fact.relation].optional and world.rng.random() < 0.5
        other = fact.but(**{asks: None}) if leave_out else _otherwise(world, question)
        if other:
            yield _both(world, question, answered=Said(fact), not_answered=Said(other))


def readings(world: World) -> Iterator[list[Reading]]:
    """A passage of four facts, of which one answers the question and one says the same of somebody else."""
    while True:
        question = asked(world, world.rng.choice(tuple(QUESTIONS)))
        asks, fact = QUESTIONS[question.template].asks, question.fact
        near = _otherwise(world, question)
        options = [fact, *(found for _ in range(6) if (found := _instead(world, fact, asks)))]
        if near and (against := _instead(world, near, asks)):
            near = against
            if near.roles[asks] not in fact.roles.values():
                options.append(fact.but(**{asks: near.roles[asks]}))
        distinct = {option.roles[asks]: option for option in reversed(options)}
        if near is None or asks not in near.roles or len(distinct) < 4:
            continue
        others = [option for filler, option in distinct.items() if filler != fact.roles[asks]][:3]
        facts = [fact, near]
        facts += (unrelated(world, facts) for _ in range(2))
        yield [Reading(tuple(map(Said, world.rng.sample(facts, 4))), question, (fact, *others))]


def unanswerable(world: World) -> Iterator[list[Reading]]:
    """Every passage with its question twice: as it is, and with another fact in place of the one that answers."""
    for (reading,) in readings(world):
        told = [said.fact for said in reading.passage]
        other = Said(unrelated(world, told))
        passage = tuple(other if said.fact == reading.question.fact else said for said in reading.passage)
        yield world.rng.sample([reading, reading._replace(passage=passage)], 2)


def _instead(world: World, fact: Fact, asks: str) -> Fact | None:
    """The fact with another answer, whatever the split: it is an option, or beside another subject a fact."""
    if asks == "counted":
        counted = fact.roles[asks]
        return fact.but(
            counted=replace(counted, count=world.rng.choice([n for n in range(2, 10) if n != counted.count]))
        )
    if asks == "quality":
        colours = [colour for colour in CATEGORIES["colour"] if colour != fact.roles[asks].lexeme]
        return next((f for c in colours if (f := fact.but(quality=Phrase(c))).split == world.split), None)
    return world.other(fact, asks)


def asked(world: World, name: str) -> Said:
    """A question, with a fact that answers it."""
    while True:
        fact = world.fact(QUESTIONS[name].relation)
        if name in questions(fact):
            return Said(fact, name)


def _otherwise(world: World, question: Said) -> Fact | None:
    """The fact asked about, with something else in place of one thing that the question names."""
    relation, asks, _ = QUESTIONS[question.template]
    named = [role for role in RELATIONS[relation].core if role not in (asks, "verb", "kin")]
    return world.other(question.fact, world.rng.choice(named))


def _both(world: World, first: Said, **seconds: Said) -> list[Labelled]:
    pairs = [Labelled(first, second, label) for label, second in seconds.items()]
    return world.rng.sample(pairs, len(pairs))
