"""German."""

from __future__ import annotations

from xstilts.miniature.grammar import Grammar, Sentence, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

_THE = {"nom": "der die das die", "acc": "den die das die", "gen": "des der des der"}
_A = {"nom": "ein eine ein", "acc": "einen eine ein"}
_WEAK = {"nom": "e e e en", "acc": "en e e en", "gen": "en en en en"}
_MIXED = {"nom": "er e es en", "acc": "en e es en"}
"""By case: articles and endings of adjectives after *der* and after *ein*, for m, f, n and plural."""


class German(Grammar):
    """Gender, case, strong and weak adjectives, *kein*.

    Forms of nouns are a case (``nom``, the default, ``acc``, ``gen``), alone or followed by ``.the`` (definite),
    ``.neg`` (with *kein*) or ``.bare`` (no article); ``plural`` is the plural without article.
    """

    code = "de"
    agreements = ("m", "f", "n", "pl")

    def sentence(self, fact: Fact, template: str = "") -> Sentence:
        """A known object stands before the time in a denial: templates ``NAME-definite``."""
        name = template or fact.relation
        known = "object" in fact.roles and fact.roles["object"].definite
        return super().sentence(fact, f"{name}-definite" if known and f"{name}-definite" in self.templates else name)

    def agreement(self, phrase: Phrase) -> str:
        """Gender, or plural."""
        if phrase.category == "name":
            return "f" if phrase.lexeme in WOMEN else "m"
        return "pl" if phrase.count > 1 else str(self.lexicon[phrase.lexeme].get("gender", "m"))

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A name; the form ``gen`` ends in s, or in an apostrophe after an s sound."""
        text = self.form(phrase.lexeme, "form", fact.subject)
        if form == "gen":
            text += "'" if text[-1] in "sxzß" else "s"
        return self.words(text, "PROPN")

    def form(self, lexeme: str, form: str, subject: Phrase) -> str:
        """A form; ``rest``, the end of the verb phrase, may be lacking, ``work`` too; a verb agrees in number."""
        entry = self.lexicon[lexeme]
        if form == "rest":
            return str(entry.get("rest", ""))
        if form == "work" and "work" not in entry:
            form = "loc"
        if form == "form" and "pl" in entry and self.agreement(subject) == "pl":
            form = "pl"
        return super().form(lexeme, form, subject)

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Article or numeral, adjective, noun."""
        if phrase.category == "pronoun":
            return self.words(self.form(phrase.lexeme, form.split(".")[-1] or "nom", fact.subject), "PRON")
        case, _, how = ("nom", "", "bare") if form == "plural" else (form or "nom").partition(".")
        gender = "pl" if form == "plural" else self.agreement(phrase)
        noun = self.words(self._noun(phrase, case, gender, fact), "NOUN")
        first, adjective = self._before(phrase, case, gender, how)
        return [*self.words(first, "DET"), *self.words(adjective, "ADJ"), *noun]

    def _noun(self, phrase: Phrase, case: str, gender: str, fact: Fact) -> str:
        entry = self.lexicon[phrase.lexeme]
        if phrase.category in ("job", "kin") and fact.subject is not phrase:  # said of somebody
            sex = self.agreement(fact.subject)
            return str(entry[sex] if sex in entry else next(iter(entry.values())))
        if phrase.category == "job":
            return str(entry["m"])
        if gender == "pl":
            return str(entry.get("pl", entry.get("form")))
        return str(entry.get(case, entry["form"]))

    def _before(self, phrase: Phrase, case: str, gender: str, how: str) -> tuple[str, str]:
        """What stands before the noun: articles and numeral, and the adjective."""
        column = self.agreements.index(gender)
        plural = gender == "pl"
        bare = how == "bare" and phrase.category != "hypernym"
        ending = "e" if plural else _MIXED.get(case, _WEAK[case]).split()[column]
        if bare:
            first = ""
        elif phrase.definite or how == "the" or case == "gen":
            first, ending = _THE[case].split()[column], _WEAK[case].split()[column]
        elif how == "neg":
            first, ending = ("keine", "en") if plural else ("k" + _A[case].split()[column], ending)
        else:
            first = "" if plural or phrase.category in MASS else _A[case].split()[column]
        if phrase.count > 1 and not bare:
            first += f" {self.lexicon[CATEGORIES['number'][phrase.count - 2]]['form']}/NUM"
        if not phrase.adjective:
            return first, ""
        entry = self.lexicon[phrase.adjective]
        return first, str(entry.get("stem", entry["form"])) + ending
