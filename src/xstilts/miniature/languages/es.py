"""Spanish."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

DEFINITE = {("m", 1): "el", ("f", 1): "la", ("m", 2): "los", ("f", 2): "las"}
UNACCENTED = str.maketrans("áéíóú", "aeiou")


def plural(word: str) -> str:
    """A regular plural: mesas, relojes, camiones, luces."""
    if word[-1] in "aeiouáéó":
        return word + "s"
    if word[-1] == "z":
        return word[:-1] + "ces"
    if word[-1] == "n":  # the stress stays where it was: balcón, balcones
        word = word[:-2] + word[-2:].translate(UNACCENTED)
    return word + "es"


def adjective(form: str, gender: str, several: bool) -> str:
    """An adjective of two endings (rojo, roja) or one (azul), in gender and number."""
    if gender == "f" and form.endswith("o"):
        form = form[:-1] + "a"
    return plural(form) if several else form


class Spanish(Grammar):
    """Articles, gender and number, personal a, contractions; adjectives stand after the noun.

    Forms of nouns are ``the``, ``bare`` (no article) and ``plural``; of verbs ``past``, ``inf``, ``pres`` and
    ``what``, the past after what asks for the object.
    """

    code = "es"
    agreements = ("m", "f")

    def agreement(self, phrase: Phrase) -> str:
        """The gender: that of the person, else the entry's, else f for a word in -a."""
        if phrase.category == "name":
            return "f" if phrase.lexeme in WOMEN else "m"
        entry = self.lexicon.get(phrase.lexeme, {"gender": "m"})
        if phrase.category in ("job", "group", "pronoun"):
            return "m"
        return entry.get("gender", "f" if entry["form"].endswith("a") else "m")

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Personal a, article or numeral, noun, adjective."""
        entry = self.lexicon[phrase.lexeme]
        a = self.words("a" if self._personal(phrase, form, fact) else "", "ADP")
        if phrase.category == "pronoun":
            denied = fact.relation == "act_not" and phrase is fact.roles["object"]
            return a + self.words(entry["denied" if denied else "form"], "PRON")
        if phrase.category == "kin":
            return self.words(self.form(phrase.lexeme, form or "form", fact.subject), "NOUN")
        gender, several = self.agreement(phrase), phrase.count > 1
        text = self.form(phrase.lexeme, "form", fact.subject if form == "bare" else phrase)
        if several:
            text = entry.get("pl") or plural(text)
        noun = self.words(text, "NOUN")
        if phrase.adjective:
            told = self.form(phrase.adjective, "form", fact.subject)
            noun += self.words(adjective(told, gender, several), "ADJ")
        return a + self._determiner(phrase, form, fact) + noun

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A form of the entry; the participle of *tomar prestado* agrees with the object."""
        entry = self.lexicon[phrase.lexeme]
        text = f"{entry.get('asked', 'qué')} {entry['past']}" if form == "what" else entry[form]
        participle = entry.get("participle", "")
        thing = fact.roles.get("object")
        if participle and thing and form != "what":
            participle = adjective(participle, self.agreement(thing), thing.count > 1)
        return self.words(f"{text} {participle}", "VERB")

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """The entry's form; an adjective agrees with the subject, an activity is in the plural after a group."""
        if phrase.category in ("colour", "quality"):
            told = self.form(phrase.lexeme, "form", fact.subject)
            return self.words(adjective(told, self.agreement(fact.subject), False), "ADJ")
        if phrase.category == "activity" and fact.subject.category == "group":
            form = "pl"
        return super().looked_up(phrase, form, fact)

    def finish(self, words: list[Word]) -> list[Word]:
        """*al*, *del*; *está* with what is a passing state; no space and a capital after ¿."""
        passing = [str(entry["form"])[:-1] for entry in self.lexicon.values() if "passing" in entry]
        found: list[Word] = []
        for word in words:
            last = found[-1] if found else None
            if last and last.text.lower() in ("a", "de") and (word.text, word.upos) == ("el", "DET"):
                found[-1] = replace(last, text=last.text + "l")
                continue
            if last and last.text == "es" and word.role == "quality" and word.text[:-1] in passing:
                found[-1] = replace(last, text="está")
            if last and last.text == "¿":
                word = replace(word, text=self.capitalised(word.text), glued=True)
            found.append(word)
        return found

    def _personal(self, phrase: Phrase, form: str, fact: Fact) -> bool:
        """Whether an object takes a: a person always, a known animal after the verbs that say so."""
        if phrase is not fact.roles.get("object") or "verb" not in fact.roles:
            return False
        verb: Any = self.lexicon[fact.roles["verb"].lexeme]
        animal = phrase.category == "animal" or phrase.lexeme == "any_animal"
        known = phrase.definite or form == "the"
        return phrase.lexeme == "someone" or phrase.category == "job" or (animal and known and "animal_a" in verb)

    def _determiner(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Article, numeral, ningún, or nothing."""
        gender, entry = self.agreement(phrase), self.lexicon[phrase.lexeme]
        if form in ("bare", "plural"):
            return []
        if phrase.definite or form == "the" or phrase.category == "group":
            masculine = "tonic" in entry and phrase.count == 1  # el agua
            plural = phrase.count > 1 or phrase.category == "group"
            return self.words(DEFINITE["m" if masculine else gender, 1 + plural], "DET")
        if phrase.count > 1:
            return self.words(self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"], "NUM")
        if phrase.category in MASS:
            return []
        article = ("ningún", "ninguna") if fact.relation == "act_not" else ("un", "una")
        return self.words(article[gender == "f"], "DET")
