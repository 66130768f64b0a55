"""Swahili."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, CATEGORY, MASS
from xstilts.miniature.world import Fact, Phrase

PLURAL_CLASS = {"1": "2", "3": "4", "5": "6", "7": "8", "9": "10", "11": "10"}
CLASSES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")


def _by_class(*prefixes: str) -> dict[str, str]:
    return dict(zip(CLASSES, prefixes, strict=True))


SUBJECT = _by_class("a", "wa", "u", "i", "li", "ya", "ki", "vi", "i", "zi", "u")
OBJECT = SUBJECT | {"1": "m"}
ASSOCIATIVE = _by_class("wa", "wa", "wa", "ya", "la", "ya", "cha", "vya", "ya", "za", "wa")
BEFORE_CONSONANT = _by_class("m", "wa", "m", "mi", "", "ma", "ki", "vi", "n", "n", "m")
BEFORE_VOWEL = _by_class("mw", "w", "mw", "my", "j", "m", "ch", "vy", "ny", "ny", "mw")
IRREGULAR = {
    **{("wili", "9"): "mbili", ("wili", "10"): "mbili"},
    **{("pya", "5"): "jipya", ("pya", "9"): "mpya", ("pya", "10"): "mpya"},
}


def adjective(stem: str, noun_class: str) -> str:
    """An adjective or numeral of a class: ki-kubwa, ch-eusi, n-dogo."""
    if (stem, noun_class) in IRREGULAR:
        return IRREGULAR[stem, noun_class]
    if stem[0] in "aeiou":
        return BEFORE_VOWEL[noun_class] + stem
    prefix = BEFORE_CONSONANT[noun_class]
    if prefix == "n":  # only before these; m before a labial
        prefix = "n" if stem[0] in "dgz" else "m" if stem[0] in "bv" else ""
    return prefix + stem


def concord(text: str, noun_class: str, adjectival: bool = False) -> str:
    """Give a text that begins with a hyphen the prefix of a class.

    ``-a`` is the associative (cha, la, ya), ``-ngapi`` and what is adjectival has the prefix of adjectives, any
    other a verb's subject prefix, with ``-ko`` yu- instead of a-. A text without a hyphen does not change.
    """
    if not text.startswith("-"):
        return text
    stem = text[1:]
    if stem.split()[0] == "a":
        return ASSOCIATIVE[noun_class] + stem[1:]
    if adjectival or stem == "ngapi":
        return adjective(stem, noun_class)
    return ("yu" if stem == "ko" and noun_class == "1" else SUBJECT[noun_class]) + stem


class Swahili(Grammar):
    """Noun classes, numbered 1 to 11; every agreeing word is written ``-stem`` in the data.

    Forms of nouns are ``his``, for kin, and without the numeral ``the`` and ``plural``.
    Forms of verbs are ``past``, ``neg``, ``inf`` and ``hab``. An object is marked in the verb when it is known
    (``.the`` after the form says so of the template's) or a person, never with ``.what``, which adds nini.
    """

    code = "sw"
    agreements = CLASSES

    def agreement(self, phrase: Phrase) -> str:
        """The noun class; of people and animals it is 1 or 2, whatever the noun looks like."""
        if phrase.category in ("name", "job", "kin", "animal"):
            singular = "1"
        else:
            singular = self.lexicon[phrase.lexeme].get("class", "9") if phrase.lexeme else "9"
        return PLURAL_CLASS.get(singular, singular) if phrase.count > 1 else singular

    def agreeing(self, options: Iterable[str], phrase: Phrase) -> str:
        """The one option, with the concord of the phrase."""
        (option,) = options
        return concord(option, self.agreement(phrase))

    def form(self, lexeme: str, form: str, subject: Phrase) -> str:
        """The form with the concord of the subject."""
        text = super().form(lexeme, form, subject)
        return concord(text, self.agreement(subject), CATEGORY[lexeme] in ("colour", "quality"))

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Noun, adjective, numeral, and what belongs to the noun: vyombo vikubwa viwili vya usafiri."""
        entry = self.lexicon[phrase.lexeme]
        noun_class = self.agreement(phrase)
        text = entry.get("pl", entry["form"]) if phrase.count > 1 else entry["form"]
        if form == "his":
            text = entry["his"]
        elif "meal" in entry and (fact.relation.startswith("like") or self._verb(fact) in ("to_eat", "to_cook")):
            text = entry["meal"]
        elif "denied" in entry and fact.relation == "act_not" and phrase is fact.roles["object"]:
            text = entry["denied"]
        found = self.words(text, "NOUN")
        told = self.lexicon[phrase.adjective]["form"] if phrase.adjective else ""
        described = self.words(concord(told, noun_class, True), "ADJ")
        if phrase.count > 1 and form not in ("plural", "the"):
            number = self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"]
            counted = self.words(concord(number, noun_class, True), "NUM")
            # The numeral follows the adjective, but stands before an associative: viti viwili vya bluu.
            described = counted + described if told.startswith("-a ") else described + counted
        found += described
        return found + self.words(concord(entry.get("of", ""), noun_class), "NOUN")

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Prefixes of subject, tense and object, and the stem; a stem of one syllable keeps ku- after -li-."""
        entry = self.lexicon[phrase.lexeme]
        tense, _, known = form.partition(".")
        thing = fact.roles.get("object", Phrase("something"))
        stem = entry["clothes"] if "clothes" in entry and self._is_clothing(thing) else entry["stem"]
        rest = entry.get("rest", "")
        if known == "what":  # an animal fed is asked for as such
            rest += " " + entry.get("asked", "nini")
            known = "the" if "asked" in entry else "bare"
            thing = Phrase("any_animal") if "asked" in entry else thing
        marker = self._object(thing, entry, known)
        if marker == "m":
            marker = "mu" if stem[0] == "u" else "mw" if stem[0] in "aeio" else "m"
        subject = SUBJECT[self.agreement(fact.subject)]
        prefix = {
            "past": subject + "li" + ("ku" if entry.get("short") and not marker else ""),
            "neg": "h" + ("a" if subject == "a" else "a" + subject) + "ku",
            "inf": "ku",
            "hab": "hu",
        }[tense]
        return self.words(f"{prefix}{marker}{stem} {rest}", "VERB")

    def finish(self, words: list[Word]) -> list[Word]:
        """Hours are counted from six in the morning: seven o'clock is saa 1."""
        return [
            replace(word, text=str((int(word.text) - 7) % 12 + 1)) if word.role == "hour" else word for word in words
        ]

    def _object(self, thing: Phrase, verb: Mapping[str, Any], known: str) -> str:
        """The marker of the object in a verb, empty for none."""
        noun_class = self.agreement(thing)
        animate = noun_class in ("1", "2")
        person = animate and thing.category in ("name", "job", "pronoun")
        marked = person or thing.definite or known == "the" or (animate and "animate" in verb)
        # No marker: in a verb of one syllable, before "rest" (picha ya), for fish to eat, i- before i-.
        never = known == "bare" or "short" in verb or "rest" in verb or (animate and thing.category in MASS)
        marker = OBJECT[noun_class]
        return "" if never or not marked or marker + verb["stem"][0] == "ii" else marker

    @staticmethod
    def _verb(fact: Fact) -> str:
        return fact.roles["verb"].lexeme if "verb" in fact.roles else ""

    @staticmethod
    def _is_clothing(thing: Phrase) -> bool:
        return thing.category == "clothing" or thing.lexeme == "any_garment"
