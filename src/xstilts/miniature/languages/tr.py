"""Turkish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, DEFINITE_VERBS, MASS
from xstilts.miniature.world import Fact, Phrase

_SUFFIXES = {
    "acc": "yI",
    "gen": "nIn",
    "dat": "yA",
    "loc": "DA",
    "abl": "DAn",
    "poss": "sI",
    "plural": "lAr",
}
"""A first y, n or s is the buffer letter after a vowel; A and I follow vowel harmony, D hardens."""
_BUFFERS = "yns"
_HARMONY = {"a": "ı", "â": "ı", "ı": "ı", "e": "i", "i": "i", "o": "u", "u": "u", "ö": "ü", "ü": "ü"}
"""Last vowel to the high vowel that follows it."""
_VOICELESS = "fstkçşhp"
_DIGITS = ("on", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz")
"""How a figure's last digit is read (10 for 0), as far as the hours go."""
_EATING = ("to_eat", "to_cook")
_LIKING = ("like", "like_not")


def attach(form: str, case: str, *, stem: str = "", said: str = "", compound: bool = False, mark: str = "") -> str:
    """A word with a suffix.

    Args:
        form: the word.
        case: a key of the suffixes.
        stem: the word before a suffix that begins with a vowel, where it changes: *kitab*.
        said: what the word sounds like at its end, where the spelling misleads: *maks*.
        compound: the word ends in a possessive suffix already, so that n stands before a case.
        mark: what stands between word and suffix: an apostrophe after a proper noun.
    """
    suffix = _SUFFIXES[case]
    if compound:
        if case == "poss":
            return form
        suffix = "n" + suffix.removeprefix("y").removeprefix("n")
    base = stem if stem and suffix[0] in _BUFFERS else form
    sound = said or base
    if suffix[0] in _BUFFERS and sound[-1] not in _HARMONY:
        suffix = suffix[1:]
    text = base + mark
    for letter in suffix:
        high = _HARMONY[next(vowel for vowel in reversed(sound.lower()) if vowel in _HARMONY)]
        if letter == "A":
            letter = "a" if high in "ıu" else "e"
        elif letter == "I":
            letter = high
        elif letter == "D":
            letter = "t" if sound[-1] in _VOICELESS else "d"
        text, sound = text + letter, sound + letter
    return text


class Turkish(Grammar):
    """Cases by vowel harmony.

    Forms of nouns: the cases, ``poss`` (*atı*), ``the`` (definite nominative), ``bare``; ``obj`` is the object (the
    accusative of a definite one only), ``neg`` the object of a denial (without *bir*).
    Forms of verbs: ``past``, ``neg``, ``inf``, ``aor``; ``pre`` is a noun that comes with the verb and stands before
    a question word, ``what`` and ``where`` are the question words in the case that the verb asks for.
    """

    code = "tr"
    agreements = ("worn", "attached")

    def agreement(self, phrase: Phrase) -> str:
        """Clothes are put on (*giymek*) or attached (*takmak*)."""
        return "attached" if self.lexicon.get(phrase.lexeme, {}).get("attached") else "worn"

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A name; a suffix stands after an apostrophe and never changes the name."""
        entry = self.lexicon[phrase.lexeme]
        text = attach(entry["form"], form, said=entry.get("said", ""), mark="'") if form else entry["form"]
        return [Word(text, "PROPN")]

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A place in its case: the one that the verb asks for instead of the locative."""
        entry = self.lexicon[phrase.lexeme]
        if phrase.category == "place":
            case = self._verb(fact).get("place", form) if form == "loc" else form
            return self.words(self._inflected(entry, case), "NOUN")
        if phrase.category == "state" and form == "because":
            return self.words(entry.get("because", f"{entry['form']} olduğu"), "ADJ")
        return super().looked_up(phrase, form, fact)

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A form of the verb, or of the question word that it governs; some objects ask for another verb."""
        if form == "what":
            known = "acc" if phrase.lexeme in DEFINITE_VERBS else ""
            case = self._verb(fact).get("object", known)
            return self.words(attach("ne", case, stem="ney") if case else "ne", "PRON")
        if form == "where":
            return self.words(attach("nere", self._verb(fact).get("place", "loc")), "PRON")
        if form == "pre":
            return self.words(self._verb(fact).get("pre", ""), "NOUN")
        return self.words(self._verb(fact)[form], "VERB")

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Adjective, *bir* or numeral, noun in its case; a noun after a numeral is singular."""
        entry = self.lexicon[phrase.lexeme]
        definite = phrase.definite or form in ("the", "acc")
        governed = self._verb(fact).get("object", "") if form in ("obj", "neg", "acc") else ""
        case = "" if form in ("obj", "neg", "the", "bare") else form
        if governed:
            case = governed
        elif form in ("obj", "neg") and (definite or phrase.lexeme == "someone"):
            case = "acc"
        verb = fact.roles.get("verb")
        if "eaten" in entry and (verb.lexeme in _EATING if verb else fact.relation in _LIKING):
            entry = {"form": entry["eaten"]}
        if phrase.category == "pronoun":
            return self.words(self._inflected(entry, case), "PRON")
        if definite and phrase.count > 1:
            entry = {"form": entry.get("pl") or self._inflected(entry, "plural"), "compound": "compound" in entry}
        noun = self.words(self._inflected(entry, case), "NOUN")
        adjective = self.words(self.lexicon[phrase.adjective]["form"], "ADJ") if phrase.adjective else []
        if definite or form == "bare":
            return [*adjective, *noun]
        if phrase.count > 1:
            return [*self.words(self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"], "NUM"), *adjective, *noun]
        if phrase.category in (*MASS, "job", "kin", "group") or (form == "neg" and not governed):
            return [*adjective, *noun]
        return [*adjective, *self.words("bir", "DET"), *noun]

    def finish(self, words: list[Word]) -> list[Word]:
        """A comma between a name as subject and another name, which would read as one; a case of a figure."""
        found: list[Word] = []
        for word in words:
            last = found[-1] if found else None
            if last and word.text == "'DA":
                said = _DIGITS[int(last.text[-1])]
                found[-1] = replace(last, text=last.text + attach(said, "loc", mark="'").removeprefix(said))
                continue
            if last and last.entity == "PER" and word.entity in ("PER", "ORG") and "'" not in last.text:
                found.append(Word(",", "PUNCT", glued=True))
            found.append(word)
        return found

    def capitalised(self, text: str) -> str:
        """With the two letters i of Turkish."""
        return {"i": "İ", "ı": "I"}.get(text[:1], text[:1].upper()) + text[1:]

    def _inflected(self, entry: Mapping[str, Any], case: str) -> str:
        features = {name: entry[name] for name in ("stem", "said", "compound") if name in entry}
        return str(entry.get(case) or attach(entry["form"], case, **features)) if case else str(entry["form"])

    def _verb(self, fact: Fact) -> Mapping[str, Any]:
        """The entry of the fact's verb, or of the one that its object asks for; empty without a verb."""
        if "verb" not in fact.roles:
            return {}
        verb = fact.roles["verb"].lexeme
        thing = fact.roles.get("object")
        return self.lexicon[self.lexicon[thing.lexeme].get(verb, verb) if thing else verb]
