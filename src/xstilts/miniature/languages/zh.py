"""Chinese: Mandarin in simplified characters."""

from __future__ import annotations

from xstilts.miniature.grammar import Grammar, Sentence, Word
from xstilts.miniature.inventory import CATEGORIES, GOODS
from xstilts.miniature.world import Fact, Phrase

_COUNTED = (*GOODS, "hypernym")
_COOKED = ("to_eat", "to_cook")
_LIKING = ("like", "like_not")


class Chinese(Grammar):
    """Measure words.

    Forms of nouns: ``the`` (that one), ``bare`` (the noun alone), ``denied``
    (the object of a denial: bare unless it is known), ``measured`` (measure word and noun, after *how
    many*), ``other`` (a pronoun that is not the subject), ``played`` (an instrument after its verb).
    A template named ``<template>-<verb>`` replaces another for that verb.
    """

    code = "zh"
    agreements = ("worn", "headgear", "tied", "colour")
    spaces = False

    def sentence(self, fact: Fact, template: str = "") -> Sentence:
        """Say a fact by one of the templates, or by its verb's own variant of it."""
        template = template or fact.relation
        own = f"{template}-{fact.roles['verb'].lexeme}" if "verb" in fact.roles else ""
        return super().sentence(fact, own if own in self.templates else template)

    def agreement(self, phrase: Phrase) -> str:
        """How a garment is put on; a colour is told from other qualities."""
        if phrase.category == "colour":
            return "colour"
        return str(self.lexicon.get(phrase.lexeme, {}).get("wear", "worn"))

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A name has one form."""
        return self.looked_up(phrase, "", fact)

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Places: ``in`` (with the localiser) and ``loc`` (after *at*); activities that an animal does its own way."""
        entry = self.lexicon[phrase.lexeme]
        if phrase.category == "place" and form in ("in", "loc"):
            words = self.words(entry.get("in", entry["form"]), "NOUN")
            return [*self.words("在/ADP", "ADP"), *words] if form == "loc" else words
        if phrase.category == "state" and form == "neg" and "neg" not in entry:
            return self.words(entry["form"].replace("很", "不"), "ADJ")
        if phrase.category == "activity" and fact.subject.category in ("animal", "hypernym") and "animal" in entry:
            form = "animal"
        return super().looked_up(phrase, form, fact)

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """``base`` or ``past`` (with the aspect particle unless the entry says otherwise); some objects change it."""
        thing = fact.roles.get("object")
        entry = self.lexicon[phrase.lexeme]
        base = self.lexicon[thing.lexeme].get(phrase.lexeme) if thing else ""
        base = base or entry["form"]
        return self.words(entry.get("past", f"{base} 了") if form == "past" else base, "VERB")

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Numeral or demonstrative, measure word, adjective, noun."""
        entry = self.lexicon[phrase.lexeme]
        if phrase.category == "pronoun":
            subject = phrase == fact.subject and not form
            return self.words(entry["form"] if subject else entry["other"], "PRON")
        verb = fact.roles.get("verb")
        cooked = verb.lexeme in _COOKED if verb else fact.relation in _LIKING
        noun = self.words(entry["cooked"] if cooked and "cooked" in entry else entry["form"], "NOUN")
        described = [*self._attribute(phrase.adjective, noun[0].text), *noun]
        if form == "played":
            return [*self.words(entry.get("played", "演奏"), "VERB"), *noun]
        known = phrase.definite or form == "the"
        bare = form == "bare" or (form == "denied" and phrase.count == 1 and not known)
        if bare or phrase.category not in _COUNTED:
            return described
        measure = self.words(entry["cl"], "NOUN")
        if known:
            some = phrase.count > 1
            return [*self.words("那些" if some else "那", "DET"), *([] if some else measure), *described]
        if form == "measured":
            return [*measure, *described]
        number = self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"] if phrase.count > 1 else "一"
        return [*self.words(number, "NUM"), *measure, *described]

    def _attribute(self, adjective: str, noun: str) -> list[Word]:
        """An adjective before a noun: with 的 unless it is one of the short ones; 大的大衣, not 大大衣."""
        if not adjective:
            return []
        form = self.lexicon[adjective]["form"]
        short = form in "大小新旧" and not (form in "大小" and noun[0] in "大小")
        return self.words(form if short else f"{form} 的", "ADJ")
