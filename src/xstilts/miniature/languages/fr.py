"""French."""

from __future__ import annotations

import re
from dataclasses import replace

from xstilts.miniature.grammar import Grammar, Sentence, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

_ELIDING = {"le", "la", "de", "ne", "se", "que"}
_ASPIRATED = {"Hassan", "hibou", "hiboux", "hindi", "huit"}
_CONTRACTED = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
_APOSTROPHE = re.compile(r"((?:[cdlns]|qu)')(.+)")


def _elides(word: str) -> bool:
    return word[0].lower() in "aàâeéèêiîoôuûh" and word not in _ASPIRATED


class French(Grammar):
    """Gender, articles and partitives, adjectives before and after the noun, elision and contraction.

    Forms of nouns: with the article that they need (the default), ``the`` (definite), ``neg`` (*de* after *pas*),
    ``bare`` (no article), ``plural`` (no article either).
    """

    code = "fr"
    agreements = ("m", "f", "mp", "fp")

    def sentence(self, fact: Fact, template: str = "") -> Sentence:
        """*Rien* and *personne* have denials of their own: templates ``NAME-something``, ``NAME-someone``."""
        name = template or fact.relation
        special = f"{name}-{fact.roles['object'].lexeme}" if "object" in fact.roles else ""
        return super().sentence(fact, special if special in self.templates else name)

    def agreement(self, phrase: Phrase) -> str:
        """Gender and number; a job as subject is masculine."""
        if phrase.category == "name":
            return "f" if phrase.lexeme in WOMEN else "m"
        gender = str(self.lexicon[phrase.lexeme].get("gender", "m"))
        return gender + "p" if phrase.count > 1 else gender

    def words(self, text: str, tag: str) -> list[Word]:
        """*L'école* is two words."""
        found = []
        for word in super().words(text, tag):
            cut = _APOSTROPHE.fullmatch(word.text)
            found += (
                [replace(super().words(cut[1], tag)[0], glued=word.glued), replace(word, text=cut[2], glued=True)]
                if cut
                else [word]
            )
        return found

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """An activity that is a participle gets its auxiliary."""
        found = super().looked_up(phrase, form, fact)
        if phrase.category == "activity" and len(found) == 1:
            return [Word("ont" if self.agreement(fact.subject).endswith("p") else "a", "AUX"), *found]
        return found

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Article or numeral, noun, and the adjective where it stands."""
        entry = self.lexicon[phrase.lexeme]
        if phrase.category == "pronoun":
            return self.words(str(entry["neg" if form == "neg" else "form"]), "PRON")
        gender = self.agreement(phrase)
        text = str(entry.get("form", entry.get("m")))
        if phrase.category in ("job", "kin") and fact.subject is not phrase:  # said of somebody
            gender = self.agreement(fact.subject)
            text = str(entry.get(gender, entry.get("form")))
        elif form == "plural" or phrase.count > 1:
            gender = gender[0] + "p"
            text = str(entry.get("pl", self._plural(text)))
        noun = self.words(text, "NOUN")
        if phrase.adjective:
            noun = self._described(phrase, noun, gender)
        return [*self._before(phrase, form, gender), *noun]

    @staticmethod
    def _plural(text: str) -> str:
        """The regular plural."""
        if text[-1] in "sxz":
            return text
        if text.endswith("al"):
            return text[:-1] + "ux"
        return text + ("x" if text.endswith(("eau", "eu")) else "s")

    def _described(self, phrase: Phrase, noun: list[Word], gender: str) -> list[Word]:
        entry = self.lexicon[phrase.adjective]
        forms = entry.get("before", entry["form"])
        text = forms if isinstance(forms, str) else dict(zip(self.agreements, forms, strict=True))[gender]
        if "before" not in entry:
            return [*noun, *self.words(text, "ADJ")]
        if gender == "m" and _elides(noun[0].text):
            text = str(entry.get("vowel", text))
        return [*self.words(text, "ADJ"), *noun]

    def _before(self, phrase: Phrase, form: str, gender: str) -> list[Word]:
        """The article, the numeral, or both."""
        number = []
        if phrase.count > 1:
            number = self.words(self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"], "NUM")
        the = {"m": "le", "f": "la"}.get(gender, "les")
        if form in ("bare", "plural"):
            return []
        if phrase.definite or form == "the":
            return [Word(the, "DET"), *number]
        if number:
            return number
        if form == "neg":
            return [Word("de", "DET")]
        if phrase.category in MASS:
            return [Word("de", "DET"), Word(the, "DET")]
        return [Word({"m": "un", "f": "une"}.get(gender, "des"), "DET")]

    def finish(self, words: list[Word]) -> list[Word]:
        """Elision, then *du, des, au, aux*; a hyphen is glued; a question mark is not."""
        found: list[Word] = []
        for word in words:
            last = found[-1] if found else Word(".", "PUNCT")
            if word.text[0] == "-":
                word = replace(word, glued=True)
            elif word.text == "?":
                word = replace(word, glued=False)
            elif last.text in _ELIDING and _elides(word.text):
                found[-1] = replace(last, text=last.text[:-1] + "'")
                word = replace(word, glued=True)
            found.append(word)
        done: list[Word] = []
        for word in found:
            contracted = _CONTRACTED.get((done[-1].text, word.text.lower())) if done else None
            if contracted:
                done[-1] = replace(done[-1], text=contracted)
            else:
                done.append(word)
        return done
