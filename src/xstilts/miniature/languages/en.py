"""English."""

from __future__ import annotations

from dataclasses import replace

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase


class English(Grammar):
    """Articles, plural, the possessive; forms of nouns: ``the``, ``bare``, ``plural``."""

    code = "en"
    agreements = ("he", "she")

    def agreement(self, phrase: Phrase) -> str:
        """The pronoun."""
        return "she" if phrase.lexeme in WOMEN else "he"

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A name, with ``'s`` in the form ``gen``."""
        if form != "gen":
            return self.looked_up(phrase, form, fact)
        return [*self.looked_up(phrase, "form", fact), Word("'s", "PART", glued=True)]

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Article or numeral, adjective, noun; a plural is the entry's ``pl`` or has an s."""
        entry = self.lexicon[phrase.lexeme]
        if phrase.category == "pronoun":
            return self.words(entry["form"], "PRON")
        plural = phrase.count > 1 or form == "plural"
        noun = self.words(entry.get("pl", entry["form"] + "s") if plural else entry["form"], "NOUN")
        adjective = self.words(self.lexicon[phrase.adjective]["form"], "ADJ") if phrase.adjective else []
        if form in ("bare", "plural"):
            first = []
        elif phrase.definite or form == "the":
            first = self.words("the", "DET")
        elif phrase.count > 1:
            first = self.words(self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"], "NUM")
        else:
            first = [] if phrase.category in MASS else self.words("a", "DET")
        return [*first, *adjective, *noun]

    def finish(self, words: list[Word]) -> list[Word]:
        """*an* before a vowel letter; no noun or adjective here begins with a vowel letter and a consonant's sound."""
        return [
            replace(word, text="an") if word.text == "a" and next.text[0] in "aeiou" else word
            for word, next in zip(words, [*words[1:], words[-1]], strict=True)
        ]
