"""From a fact to a sentence: lexicon, templates and agreement, one `Grammar` a language."""

from __future__ import annotations

import abc
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from xstilts.spec import one_of

from .inventory import CATEGORIES, CATEGORY, NOUNS, TEMPLATES
from .world import Fact, Phrase

UPOS = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "VERB")
"""The universal part-of-speech tags that occur (Universal Dependencies 2)."""

ENTITIES = {"name": "PER", "city": "LOC", "company": "ORG"}
"""The categories whose proper nouns are entities, as WikiANN names them."""

_CATEGORY_TAGS = {
    **dict.fromkeys(("name", "city", "company"), "PROPN"),
    **dict.fromkeys(("colour", "quality", "state", "comparison"), "ADJ"),
    **dict.fromkeys(("verb", "activity", "skill", "reaction", "weather"), "VERB"),
    **dict.fromkeys(("past_time", "future_time", "frequency"), "ADV"),
    **dict.fromkeys(("number", "figure"), "NUM"),
    "pronoun": "PRON",
}
_PIECE = re.compile(
    r"\{(?P<role>\w+)(?::(?P<form>[\w.]+))?(?P<options>(?:\|[^|}]*)*)\}|(?P<mark>[\[\]])|(?P<word>[^\s{}\[\]]+)"
)
_END = re.compile(r"(.*?)([,.;:?!。，？！；：؟،।]*)")


@dataclass(frozen=True, slots=True)
class Word:
    """One word or punctuation mark of a sentence.

    Attributes:
        text: as written.
        upos: universal part of speech.
        role: the role of the fact that it expresses, empty for what the template says.
        entity: PER, LOC, ORG or empty.
        glued: no space stands before it.
    """

    text: str
    upos: str
    role: str = ""
    entity: str = ""
    glued: bool = False


@dataclass(frozen=True)
class Sentence:
    """The words of a sentence."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The sentence as written."""
        return "".join(" " * (i > 0 and not word.glued) + word.text for i, word in enumerate(self.words))

    def span(self, role: str, *, named: bool = False) -> tuple[int, int]:
        """First and one-past-last character of what fills a role, without adpositions before it.

        Args:
            role: the role.
            named: only the words of a name, without what is attached to them.

        Raises:
            ValueError: when nothing, or no one stretch, of the sentence expresses the role.
        """
        places = [i for i, word in enumerate(self.words) if word.role == role and (word.entity or not named)]
        while places and self.words[places[0]].upos == "ADP":
            places.pop(0)
        if not places or places != list(range(places[0], places[-1] + 1)):
            raise ValueError(f"the role {role!r} is no one stretch of {self.text!r}")
        start = len(replace(self, words=self.words[: places[0] + 1]).text) - len(self.words[places[0]].text)
        return start, len(replace(self, words=self.words[: places[-1] + 1]).text)


class Grammar(abc.ABC):
    """A language: its lexicon and templates from ``<code>.toml``, and what agrees with what.

    A subclass says how nouns, and verbs where a table of forms does not do, are inflected: `noun`, `name`,
    `verb`, `agreement` and `finish`.

    The data file has a table ``[words]`` (universal part of speech to the words of templates and phrases that
    have it), ``[templates]`` (every name of `inventory.TEMPLATES`) and one table for each category of lexemes.
    An entry is a string, its only form, or a table of forms and features. A form that is a list has one spelling
    for each value of `agreement`, in the order of ``agreements``, and agrees with the subject.

    In templates ``{role}`` and ``{role:form}`` stand for what fills a role, ``{role|a|b}`` for the word that
    agrees with a role, in the order of ``agreements``; ``[...]`` is left out when one of its roles is not
    filled; ``word/TAG`` names a part of speech that ``[words]`` does not know or knows otherwise.
    """

    code = ""
    agreements: tuple[str, ...] = ("any",)
    spaces = True

    def __init__(self) -> None:
        text = resources.files("xstilts.miniature").joinpath("languages", f"{self.code}.toml").read_text("utf-8")
        data: dict[str, Any] = tomllib.loads(text)
        self._tags = {word: tag for tag, words in data.pop("words").items() for word in words.split()}
        self._split: dict[tuple[str, str], tuple[Word, ...]] = {}
        self.templates: Mapping[str, str] = data.pop("templates")
        self._pieces = {name: tuple(m.groupdict() for m in _PIECE.finditer(t)) for name, t in self.templates.items()}
        self.lexicon: dict[str, Mapping[str, Any]] = {}
        for category, entries in data.items():
            one_of(f"category of {self.code}.toml", category, CATEGORIES)
            for lexeme, entry in entries.items():
                one_of(f"lexeme of [{category}] in {self.code}.toml", lexeme, CATEGORIES[category])
                self.lexicon[lexeme] = {"form": entry} if isinstance(entry, str | list) else entry
        lacking = [name for name in TEMPLATES if name not in self.templates]
        lacking += [lexeme for lexeme in CATEGORY if lexeme not in self.lexicon]
        if lacking:
            raise ValueError(f"{self.code}.toml lacks {', '.join(lacking)}")

    def sentence(self, fact: Fact, template: str = "") -> Sentence:
        """Say a fact, or ask about it, by one of the templates.

        Args:
            fact: what to say.
            template: a name of `inventory.TEMPLATES`; the relation's own when it is empty.

        Raises:
            ValueError: for a template that does not exist or needs a role that the fact lacks.
        """
        template = template or fact.relation
        one_of(f"template of {self.code}", template, self.templates)
        words = self.finish(self._fill(template, fact))
        first = replace(words[0], text=self.capitalised(words[0].text), glued=True)
        return Sentence((first, *words[1:]))

    # What a language says about itself.

    @abc.abstractmethod
    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A noun phrase with article, number, adjective as the language has them.

        Args:
            phrase: a lexeme of `inventory.NOUNS`; ``count`` above 1 asks for the numeral, of category ``number``.
            form: what the template says after the colon, a case for instance; empty without one.
            fact: the whole fact, for agreement.
        """

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A proper noun: person, city or company; by default the entry's form."""
        return self.looked_up(phrase, form, fact)

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A verb that takes an object (category ``verb``); by default the entry's form, agreeing with the subject."""
        return self.looked_up(phrase, form, fact)

    def agreement(self, phrase: Phrase) -> str:
        """Which of ``agreements`` a noun phrase, or a figure, asks for."""
        return self.agreements[0]

    def finish(self, words: list[Word]) -> list[Word]:
        """What neighbouring words do to each other: elision, contraction, a or an."""
        return words

    def capitalised(self, text: str) -> str:
        """A sentence's first word as it is written there."""
        return text[:1].upper() + text[1:]

    # What languages use to say it.

    def words(self, text: str, tag: str) -> list[Word]:
        """Split a text at spaces; a word's tag is what follows its slash, else that of ``[words]``, else ``tag``."""
        if (text, tag) not in self._split:
            self._split[text, tag] = tuple(self._words(text, tag))
        return list(self._split[text, tag])

    def _words(self, text: str, tag: str) -> Iterator[Word]:
        for piece in text.split():
            body, end = _END.fullmatch(piece).groups()  # type: ignore[union-attr]
            if body:
                word, slash, own = body.partition("/")
                known = self._tags.get(word, self._tags.get(word.lower(), tag))
                yield Word(word, own if slash else known, glued=not self.spaces)
            yield from (Word(mark, "PUNCT", glued=True) for mark in end)

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """The entry's form of that name (``form`` when the template names none), agreeing with the subject."""
        tag = _CATEGORY_TAGS.get(phrase.category, "NOUN")
        return self.words(self.form(phrase.lexeme, form or "form", fact.subject), tag)

    def form(self, lexeme: str, form: str, subject: Phrase) -> str:
        """One form of an entry; of a list of forms the one that agrees with ``subject``.

        Raises:
            ValueError: for a form that the entry does not have.
        """
        entry = self.lexicon[lexeme]
        one_of(f"form of {lexeme!r} in {self.code}.toml", form, entry)
        found = entry[form]
        return found if isinstance(found, str) else self.agreeing(found, subject)

    def agreeing(self, options: Iterable[str], phrase: Phrase) -> str:
        """The option, one for each of ``agreements``, that a phrase asks for."""
        return dict(zip(self.agreements, options, strict=True))[self.agreement(phrase)]

    def _slot(self, role: str, form: str, fact: Fact) -> list[Word]:
        phrase = fact.roles[role]
        category = phrase.category
        if category == "figure":
            return [Word(str(phrase.figure), "NUM", glued=not self.spaces)]
        if category in ENTITIES:
            return self.name(phrase, form, fact)
        if category == "verb":
            return self.verb(phrase, form, fact)
        return self.noun(phrase, form, fact) if category in NOUNS else self.looked_up(phrase, form, fact)

    def _fill(self, template: str, fact: Fact) -> list[Word]:
        words: list[Word] = []
        optional: list[Word] | None = None  # inside brackets
        whole = True
        for piece in self._pieces[template]:
            target = words if optional is None else optional
            role = piece["role"]
            if piece["mark"] == "[":
                optional, whole = [], True
            elif piece["mark"] == "]":
                words += optional if whole and optional else []
                optional = None
            elif role and role not in fact.roles:
                if optional is None:
                    raise ValueError(f"the template {template!r} needs the role {role!r}, which {fact.key!r} lacks")
                whole = False
            elif role and piece["options"]:
                target += self.words(self.agreeing(piece["options"][1:].split("|"), fact.roles[role]), "VERB")
            elif role:
                entity = ENTITIES.get(fact.roles[role].category, "")
                target += (
                    Word(word.text, word.upos, role, entity if word.upos == "PROPN" else "", word.glued)
                    for word in self._slot(role, piece["form"] or "", fact)
                )
            else:
                target += self.words(piece["word"], "X")
        return words
