"""Every data set's rows in one language: what is said, rendered, each thing once.

What is said is drawn without regard to language, so the rows of a set are parallel in all of them; monolingual text
alone differs. The first rows of a set are the same however many are asked for.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from .grammar import Grammar
from .items import (
    Inference,
    Labelled,
    Reading,
    Said,
    answers,
    duplicates,
    inferences,
    paraphrases,
    questions,
    readings,
    templates,
    unrelated,
)
from .languages import LANGUAGES, grammar
from .world import Fact, Phrase, World

Row = dict[str, Any]
_PATIENCE = 3000  # groups in a row that said nothing new


class Set(NamedTuple):
    """A data set.

    Attributes:
        groups: its items as facts, endless, in groups that belong together.
        names: the sentences of a group that no other group may have together.
        row: an item as a row of one language.
        parallel: whether ``names`` must differ as they are written in every language, and not only in what they say.
    """

    groups: Callable[[World], Iterator[list[Any]]]
    names: Callable[[list[Any]], list[Said]]
    row: Callable[[Grammar, Any], Row]
    parallel: bool = False


def rows(name: str, split: str, language: str, size: int, seed: int = 0) -> list[Row]:
    """The first ``size`` rows of one of `SETS`.

    Raises:
        ValueError: when the world has not so many different ones.
    """
    return [dict(row) for row in _rendered(name, split, language, size, seed)]


@functools.lru_cache(maxsize=32)
def _rendered(name: str, split: str, language: str, size: int, seed: int) -> tuple[Row, ...]:
    speaks = grammar(language)
    items = _items(name, split, language if name == "text" else "en", size, seed)
    return tuple(SETS[name].row(speaks, item) for item in items)


@functools.lru_cache(maxsize=32)
def _items(name: str, split: str, language: str, size: int, seed: int) -> tuple[Any, ...]:
    made = SETS[name]
    speaking = [grammar(code) for code in LANGUAGES] if made.parallel else []
    known: set[str] = set()
    items: list[Any] = []
    idle = 0
    for group in made.groups(World(split, f"{name} {language} {seed}")):
        said = made.names(group)
        names = {f"{one.code} {_say(one, *said)}" for one in speaking} or {repr(said)}
        if not known.isdisjoint(names):
            idle += 1
            if idle > _PATIENCE:
                raise ValueError(f"miniature {name!r}/{split}: expected at most {len(items)} rows, got {size}")
            continue
        idle = 0
        known |= names
        items += group
        if len(items) >= size:
            break
    return tuple(items[:size])


def _sentences(world: World) -> Iterator[list[Said]]:
    while True:
        fact = world.fact()
        if fact.relation == "act" and world.rng.random() < 0.05:
            fact = fact.but(agent=Phrase("someone"))
        if fact.split == world.split:
            yield [Said(fact, world.rng.choice(templates(fact)))]


def _lines(world: World) -> Iterator[list[Said]]:
    """Statements, and a question after every fourth."""
    for number, (said,) in enumerate(_sentences(world)):
        yield [said]
        if number % 4 == 3 and (names := questions(said.fact)):
            yield [Said(said.fact, world.rng.choice(names))]


def _paragraphs(world: World) -> Iterator[list[tuple[Said, ...]]]:
    """Two or three sentences that come back to the first, in other words or asking, as text does."""
    for (said,) in _sentences(world):
        fact = said.fact
        again = [Said(fact, name) for name in (*templates(fact), *questions(fact)) if name != said.template]
        again += [Said(converse)] if (converse := fact.converse()) else []
        between = [Said(unrelated(world, [fact]))] if world.rng.random() < 0.5 else []
        yield [(said, *between, *([world.rng.choice(again)] if again else []))]


class _Mined(NamedTuple):
    number: int
    said: Said
    sides: tuple[str, ...]


def _mining(world: World) -> Iterator[list[_Mined]]:
    """One sentence of three has its translation on the other side."""
    for number, (said,) in enumerate(_sentences(world)):
        sides = (("foreign", "english"), ("foreign",), ("english",))[number % 3]
        yield [_Mined(number, said, sides)]


def _say(language: Grammar, *said: Said) -> str:
    return (" " * language.spaces).join(language.sentence(*one).text for one in said)


def _pair_row(language: Grammar, item: Labelled) -> Row:
    return {"sentence1": _say(language, item.first), "sentence2": _say(language, item.second), "label": item.label}


def _inference_row(language: Grammar, item: Inference) -> Row:
    premise, hypothesis = _say(language, *item.premise), _say(language, item.hypothesis)
    return {"premise": premise, "hypothesis": hypothesis, "label": item.label}


def _answer(language: Grammar, fact: Fact, asks: str) -> tuple[str, int]:
    """The answer in the words of its statement, and where it starts there."""
    sentence = language.sentence(fact)
    start, end = sentence.span(asks)
    return sentence.text[start:end], start


def _qa_row(language: Grammar, item: Reading) -> Row:
    before = [said for said in itertools.takewhile(lambda said: said.fact is not item.question.fact, item.passage)]
    answer, start = _answer(language, item.question.fact, item.asks)
    if before:
        start += len(_say(language, *before)) + language.spaces
    context, question = _say(language, *item.passage), _say(language, item.question)
    return {"context": context, "question": question, "answer": answer, "start": start}


def _choice_row(language: Grammar, item: Reading) -> Row:
    right, *others = (_answer(language, fact, item.asks)[0] for fact in item.options)
    choices = sorted({right, *others})
    prompt = _say(language, *item.passage, item.question)
    return {"prompt": prompt, "choices": tuple(choices), "label": choices.index(right)}


def _tag_row(language: Grammar, item: Said) -> Row:
    words = language.sentence(*item).words
    return {"words": tuple(word.text for word in words), "tags": tuple(word.upos for word in words)}


def _entity_row(language: Grammar, item: Said) -> Row:
    words = language.sentence(*item).words
    tags = []
    for before, word in zip((None, *words), words, strict=False):
        inside = before is not None and (before.entity, before.role) == (word.entity, word.role)
        tags.append(f"{'I' if inside else 'B'}-{word.entity}" if word.entity else "O")
    return {"words": tuple(word.text for word in words), "tags": tuple(tags)}


def _bitext_row(language: Grammar, item: Said) -> Row:
    return {"first": _say(language, item), "second": _say(grammar("en"), item)}


def _mined_row(language: Grammar, item: _Mined) -> Row:
    return {
        "id": str(item.number),
        "foreign": _say(language, item.said) if "foreign" in item.sides else "",
        "english": _say(grammar("en"), item.said) if "english" in item.sides else "",
    }


def _hypothesis(group: list[Inference]) -> list[Said]:
    return [group[0].hypothesis]


def _pair(group: list[Labelled]) -> list[Said]:
    return [group[0].first, *sorted((item.second for item in group), key=repr)]


def _passage(group: list[Reading]) -> list[Said]:
    return [group[0].question, *group[0].passage]


def _itself(group: list[Said]) -> list[Said]:
    return group


SETS: Mapping[str, Set] = {
    "nli": Set(inferences, _hypothesis, _inference_row),
    "paraphrase": Set(paraphrases, lambda group: [group[0].first], _pair_row),
    "questions": Set(duplicates, _pair, _pair_row),
    "answers": Set(answers, _pair, _pair_row),
    "qa": Set(readings, _passage, _qa_row),
    "choice": Set(readings, _passage, _choice_row),
    "tags": Set(_lines, _itself, _tag_row),
    "entities": Set(_lines, _itself, _entity_row),
    "bitext": Set(_sentences, _itself, _bitext_row, parallel=True),
    "mining": Set(_mining, lambda group: [group[0].said], _mined_row, parallel=True),
    "text": Set(_paragraphs, lambda group: list(group[0]), lambda language, item: {"text": _say(language, *item)}),
}
"""The data sets by name."""
