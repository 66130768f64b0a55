"""Arabic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

_PREFIXED = {("ل", "ADP"), ("ب", "ADP"), ("س", "AUX")}
_SUFFIXED = {("ه", "PRON"), ("ها", "PRON")}


class _Shape(NamedTuple):
    """What the words of a noun phrase agree in."""

    feminine: bool
    dual: bool
    definite: bool
    case: str  # nom, acc, gen


class Arabic(Grammar):
    """Gender, dual, polarity of numerals, accusative, annexation.

    Forms of nouns: a case (``acc``, ``gen``, else nominative), after ``the.`` of the definite noun and after
    ``all.`` of the kind (the mass noun with its article); ``unit`` counted by *how many*; ``pred`` of the subject;
    ``played`` an instrument.
    """

    code = "ar"
    agreements = ("m", "f")

    def agreement(self, phrase: Phrase) -> str:
        """Sex of a name, gender of a noun."""
        if phrase.category in ("name", "figure"):
            return "f" if phrase.lexeme in WOMEN else "m"
        return "f" if _feminine(self.lexicon[phrase.lexeme]) else "m"

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Numeral, noun with what belongs to it, adjective."""
        entry = self.lexicon[phrase.lexeme]
        kind, _, case = form.rpartition(".") if form in ("acc", "gen") or "." in form else (form, "", "nom")
        if phrase.category == "kin":
            return self.words(self.form(phrase.lexeme, "form", fact.subject), "NOUN")
        if phrase.category == "pronoun":
            return self.words(entry["acc" if case == "acc" else "form"], "NOUN")
        if kind == "pred" and self.agreement(fact.subject) == "f":
            entry = {**entry, "form": entry["form"] + "ة", "defective": False}
        count = phrase.count
        definite = phrase.definite or kind == "the"
        if kind == "unit":
            count, definite, case = 1, False, "acc"
        elif kind == "all":
            definite |= phrase.category in MASS
        elif kind == "played":
            definite = phrase.category != "hypernym"
            case = "gen"
        if count > 1:
            entry = entry.get("counted", entry)
        shape = _Shape(_feminine(entry), count == 2, definite, case)
        if count < 3:
            return self._phrase(entry["form"], entry, shape, phrase.adjective)
        numeral = dict(zip(self.agreements, self.lexicon[CATEGORIES["number"][count - 2]]["form"], strict=True))
        first = [] if definite else [Word(numeral["f" if shape.feminine else "m"], "NUM")]
        # What is not human has its plural agree as a feminine singular.
        shape = _Shape(True, False, definite, case if definite else "gen")
        return [*first, *self._phrase(entry["pl"], entry, shape, phrase.adjective)]

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Forms ``past``, ``jussive`` and ``present`` agree with the subject; ``past.m`` is for *who*."""
        entry = self.lexicon[phrase.lexeme]
        feminine = self.agreement(fact.subject) == "f" and form != "past.m"
        if form.startswith("past"):
            text = entry.get("f", entry["past"] + "ت") if feminine else entry["past"]
        else:
            text = entry.get(form, entry["present"])
            text = "ت" + text[1:] if feminine else text
        return [Word(text, "VERB")]

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Predicative adjectives are inflected, all else has its forms in the lexicon."""
        if phrase.category not in ("colour", "quality", "state"):
            return super().looked_up(phrase, form, fact)
        shape = _Shape(self.agreement(fact.subject) == "f", False, False, form or "nom")
        return [Word(self._adjective(self.lexicon[phrase.lexeme], shape), "ADJ")]

    def finish(self, words: list[Word]) -> list[Word]:
        """Join prefixes and suffixes; the article loses its alif after *to*."""
        joined = [words[0]]
        for before, word in itertools.pairwise(words):
            if (word.text, word.upos) in _SUFFIXED:
                word = replace(word, glued=True)
            elif (before.text, before.upos) in _PREFIXED:
                text = word.text[1:] if before.text == "ل" and word.text.startswith("ال") else word.text
                word = replace(word, text=text, glued=True)
            joined.append(word)
        return joined

    def _phrase(self, text: str, entry: Mapping[str, Any], shape: _Shape, adjective: str) -> list[Word]:
        found = [Word(_inflected(text, entry, shape, "of" in entry), "NOUN")]
        if "of" in entry:
            found.append(Word("ال" * shape.definite + entry["of"], "NOUN"))
        if "attribute" in entry:
            found.append(Word(self._adjective({"form": entry["attribute"]}, shape), "ADJ"))
        if adjective:
            found.append(Word(self._adjective(self.lexicon[adjective], shape), "ADJ"))
        return found

    def _adjective(self, entry: Mapping[str, Any], shape: _Shape) -> str:
        own = entry.get("f")
        text = (own or entry["form"] + "ة") if shape.feminine else entry["form"]
        exceptions: dict[str, Any] = {"acc": text} if own else {}  # diptotes
        return _inflected(text, exceptions if shape.feminine else {**entry, **exceptions}, shape)


def _feminine(entry: Mapping[str, Any]) -> bool:
    return entry.get("gender") == "f" or entry["form"].endswith("ة")


def _inflected(text: str, entry: Mapping[str, Any], shape: _Shape, construct: bool = False) -> str:
    """A noun or adjective; ``construct`` when the second term of an annexation follows, which bears the article."""
    if shape.dual:
        stem = text[:-1] + "ت" if text.endswith("ة") else text[:-1] + "و" if text.endswith("اء") else text
        text = entry.get("dual", stem) + ("ا" if shape.case == "nom" else "ي") + "ن" * (not construct)
    if construct:
        return text
    if shape.definite:
        return "ال" + text
    if shape.dual:
        return text
    if shape.case == "acc":
        return str(entry.get("acc", _tanwin(text)))
    return text[:-1] + "ٍ" if entry.get("defective") else text


def _tanwin(text: str) -> str:
    """The accusative of an indefinite noun, as far as it is written."""
    if text.endswith(("ة", "ا", "ى")):
        return text
    return text + ("ً" if text.endswith("اء") else "ًا")
