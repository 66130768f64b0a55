"""Every data set's rows in one language: what is said, rendered, each thing once.

What is said is drawn without regard to language, so the rows of a set are parallel in all of them; monolingual text
alone differs. The first rows of a set are the same however many are asked for.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xstilts.spec import digest

from .choices import Choice, causes, commonsense, endings
from .grammar import Grammar
from .inventory import QUESTIONS
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
    sentences,
    templates,
    unanswerable,
    unrelated,
)
from .languages import LANGUAGES, grammar
from .pools import Entity, Searched, answered, asked_passages, entities, mentioned, mined
from .world import Fact, World

Row = dict[str, Any]
_PATIENCE = 3000  # groups in a row that said nothing new


class Set(NamedTuple):
    """A data set.

    Attributes:
        groups: its items as facts, endless, in groups that belong together.
        names: what a group says, each thing once; of two groups with one in common the second is left out.
        row: an item as a row of one language.
        languages: those that it has rows in; `SEVERAL` where every row says its own.
    """

    groups: Callable[[World], Iterator[list[Any]]]
    names: Callable[[list[Any]], Iterable[str]]
    row: Callable[[Grammar, Any], Row]
    languages: tuple[str, ...] = LANGUAGES


def rows(name: str, split: str, language: str, size: int, seed: int = 0) -> list[Row]:
    """The first ``size`` rows of one of `SETS`.

    Raises:
        ValueError: when the world has not so many different ones.
    """
    return [dict(row) for row in _rendered(name, split, language, size, seed)]


@functools.lru_cache(maxsize=32)
def _rendered(name: str, split: str, language: str, size: int, seed: int) -> tuple[Row, ...]:
    items = _items(name, split, language if name == "text" else "en", size, seed)
    return tuple(SETS[name].row(grammar(item.language if language in SEVERAL else language), item) for item in items)


@functools.lru_cache(maxsize=32)
def _items(name: str, split: str, language: str, size: int, seed: int) -> tuple[Any, ...]:
    made = SETS[name]
    known: set[str] = set()
    items: list[Any] = []
    idle = 0
    for group in made.groups(World(split, f"{name} {language} {seed}")):
        names = list(made.names(group))
        if len(set(names)) < len(names) or not known.isdisjoint(names):
            idle += 1
            if idle > _PATIENCE:
                break
            continue
        idle = 0
        known.update(names)
        items += group
        if len(items) >= size:
            return tuple(items[:size])
    raise ValueError(f"miniature {name!r}/{split}: expected at most {len(items)} rows, got {size}")


def _lines(world: World) -> Iterator[list[Said]]:
    """Statements, and a question after every fourth."""
    for number, (said,) in enumerate(sentences(world)):
        yield [said]
        if number % 4 == 3 and (names := questions(said.fact)):
            yield [Said(said.fact, world.rng.choice(names))]


def _paragraphs(world: World) -> Iterator[list[tuple[Said, ...]]]:
    """Two or three sentences that come back to the first, in other words or asking, as text does."""
    for (said,) in sentences(world):
        fact = said.fact
        again = [Said(fact, name) for name in (*templates(fact), *questions(fact)) if name != said.template]
        again += [Said(converse)] if (converse := fact.converse()) else []
        between = [Said(unrelated(world, [fact]))] if world.rng.random() < 0.5 else []
        yield [(said, *between, *([world.rng.choice(again)] if again else []))]


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
    context, question = _say(language, *item.passage), _say(language, item.question)
    answer, start = "", -1
    before = [*itertools.takewhile(lambda said: said.fact is not item.question.fact, item.passage)]
    if len(before) < len(item.passage):
        answer, start = _answer(language, item.question.fact, item.asks)
        start += len(_say(language, *before)) + language.spaces if before else 0
    return {"context": context, "question": question, "answer": answer, "start": start}


def _reading_choice_row(language: Grammar, item: Reading) -> Row:
    texts = [_answer(language, fact, item.asks)[0] for fact in item.options]
    return _choice_row(_say(language, *item.passage, item.question), texts)


def _ending_row(language: Grammar, item: Choice) -> Row:
    return _choice_row(_say(language, *item.told), [_say(language, said) for said in item.choices])


def _commonsense_row(language: Grammar, item: Choice) -> Row:
    texts = [_answer(language, fact, QUESTIONS[template].asks)[0] for fact, template in item.choices]
    return _choice_row(_say(language, *item.told), texts)


def _choice_row(prompt: str, texts: list[str]) -> Row:
    """The right text is the first; a row has them in an order that says nothing of them."""
    choices = sorted(set(texts), key=digest)
    return {"prompt": prompt, "choices": tuple(choices), "label": choices.index(texts[0])}


def _cause_row(language: Grammar, item: Choice) -> Row:
    row = _ending_row(language, item)
    one, two = row["choices"]
    return {"premise": row["prompt"], "question": item.asks, "choice1": one, "choice2": two, "label": row["label"]}


def _tag_row(language: Grammar, item: Said) -> Row:
    words = language.sentence(*item).words
    return {"words": tuple(word.text for word in words), "tags": tuple(word.upos for word in words)}


def _category_row(language: Grammar, item: Said) -> Row:
    words = language.sentence(*item).words
    tags = tuple(f"{word.upos}.{word.role}" if word.role else word.upos for word in words)
    return {"words": tuple(word.text for word in words), "tags": tags}


def _entity_row(language: Grammar, item: Said) -> Row:
    words = language.sentence(*item).words
    tags = []
    for before, word in zip((None, *words), words, strict=False):
        inside = before is not None and (before.entity, before.role) == (word.entity, word.role)
        tags.append(f"{'I' if inside else 'B'}-{word.entity}" if word.entity else "O")
    return {"words": tuple(word.text for word in words), "tags": tuple(tags)}


def _bitext_row(language: Grammar, item: Said) -> Row:
    return {"first": _say(language, item), "second": _say(grammar("en"), item)}


def _searched_row(language: Grammar, item: Searched) -> Row:
    own = grammar(item.language) if item.language else language
    return {"side": item.side, "id": item.id, "language": own.code, "text": _say(own, *item.said), "pairs": item.pairs}


def _asked_row(language: Grammar, item: Searched) -> Row:
    return _searched_row(language, item) | {"context": _say(language, *item.context)}


def _mention(language: Grammar, said: Said, role: str) -> Row:
    """A sentence and where the mention stands in it."""
    sentence = language.sentence(*said)
    start, end = sentence.span(role, named=True)
    return {"text": sentence.text, "start": start, "end": end}


def _mentioned_row(language: Grammar, item: Searched) -> Row:
    mention = _mention(language, item.said[0], item.names) if item.names else {"start": 0, "end": 0}
    return _searched_row(language, item) | mention


def _lareqa_train_row(language: Grammar, item: Reading) -> Row:
    said = next(said for said in item.passage if said.fact is item.question.fact)
    question, context = _say(language, item.question), _say(language, *item.passage)
    return {"question": question, "sentence": _say(language, said), "context": context}


def _mewsli_train_row(language: Grammar, item: Entity) -> Row:
    return _mention(language, item.mention, item.names) | {"description": _say(language, *item.description)}


def _names(said: Callable[[Any], Iterable[Said]]) -> Callable[[list[Any]], Iterable[str]]:
    """A group's sentences, which no other group may have together."""
    return lambda group: [repr(list(said(group)))]


def _pair(group: list[Labelled]) -> list[Said]:
    return [group[0].first, *sorted((item.second for item in group), key=repr)]


def _everywhere(said: Said) -> Iterator[str]:
    """A sentence as every language writes it: some cannot tell apart what others can."""
    return (f"{code} {_say(grammar(code), said)}" for code in LANGUAGES)


def _mined_names(group: list[Searched]) -> Iterator[str]:
    return (name for item in group if item.side == "english" or not item.pairs for name in _everywhere(*item.said))


def _asked_names(group: list[Searched]) -> Iterator[str]:
    """Every text as it is written, and what the candidates answer, so that a question has one right sentence."""
    for item in group:
        if (item.side, item.language) == ("candidate", "en"):
            yield from answered(item.said[0].fact)
    yield from _mentioned_names(group)


def _mentioned_names(group: list[Searched]) -> Iterator[str]:
    return (f"{item.side} {item.language} {_say(grammar(item.language), *item.said)}" for item in group)


_question = _names(lambda group: [group[0].question])
_passage = _names(lambda group: [group[0].question, *group[0].passage])
_told = _names(lambda group: group[0].told)
_itself = _names(lambda group: group)
FOREIGN = LANGUAGES[1:]
SEVERAL = ("mul",)
SETS: Mapping[str, Set] = {
    "nli": Set(inferences, _names(lambda group: [group[0].hypothesis]), _inference_row),
    "paraphrase": Set(paraphrases, _names(lambda group: [group[0].first]), _pair_row),
    "questions": Set(duplicates, _names(_pair), _pair_row),
    "answers": Set(answers, _names(_pair), _pair_row),
    "qa": Set(readings, _passage, _qa_row),
    "unanswerable": Set(unanswerable, _question, _qa_row),
    "choice": Set(readings, _passage, _reading_choice_row),
    "endings": Set(endings, _told, _ending_row),
    "commonsense": Set(commonsense, _told, _commonsense_row),
    "causes": Set(causes, _told, _cause_row),
    "tags": Set(_lines, _itself, _tag_row),
    "categories": Set(_lines, _itself, _category_row),
    "entities": Set(_lines, _itself, _entity_row),
    "bitext": Set(sentences, lambda group: _everywhere(group[0]), _bitext_row, FOREIGN),
    "mining": Set(mined, _mined_names, _searched_row, FOREIGN),
    "lareqa": Set(asked_passages, _asked_names, _asked_row, SEVERAL),
    "lareqa-train": Set(readings, _passage, _lareqa_train_row),
    "mewsli": Set(mentioned, _mentioned_names, _mentioned_row, SEVERAL),
    "mewsli-train": Set(entities, _names(lambda group: group[0].description), _mewsli_train_row),
    "text": Set(_paragraphs, _names(lambda group: group[0]), lambda language, item: {"text": _say(language, *item)}),
}
"""The data sets by name."""
