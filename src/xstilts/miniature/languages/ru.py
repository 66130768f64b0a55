"""Russian."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

_CASES = ("gen", "dat", "acc", "ins", "prep")
_HARD = {"m": "ый", "f": "ая", "n": "ое", "pl": "ые", "facc": "ую", "gen": "ого", "fgen": "ой", "plgen": "ых"}
_SOFT = {"m": "ий", "f": "яя", "n": "ее", "pl": "ие", "facc": "юю", "gen": "его", "fgen": "ей", "plgen": "их"}
_VELARS_AND_HUSHERS = "гкхжчшщ"  # after which ы is written и


class Russian(Grammar):
    """Gender, case, animacy, government of numerals.

    Forms of nouns: none is the nominative, ``gen``, ``dat``, ``acc``, ``ins``, ``prep``, ``plgen`` without numeral,
    and ``part``, the genitive after verbs that take some of a drink, else the accusative. Forms of verbs: ``past``,
    ``neg`` (the past after не), ``who`` (the past after кто), ``pres``, ``inf``.
    """

    code = "ru"
    agreements = ("m", "f", "n", "pl")

    def agreement(self, phrase: Phrase) -> str:
        """The gender, by sex or by the entry's ``gender`` or by the ending, or the plural."""
        if phrase.category == "name":
            return "f" if phrase.lexeme in WOMEN else "m"
        if phrase.category == "group" or phrase.count > 1:
            return "pl"
        entry = self.lexicon[phrase.lexeme]
        return str(entry.get("gender") or {"а": "f", "я": "f", "о": "n", "е": "n"}.get(entry["form"][-1], "m"))

    def agreeing(self, options: Iterable[str], phrase: Phrase) -> str:
        """Four options are those of `agreements`; of three a figure chooses (год, года, лет); of two see `marked`."""
        options = list(options)
        if len(options) == 2:
            return options[self.marked(phrase)]
        if len(options) == 3:
            return options[_plural(phrase.figure or 0)]
        return super().agreeing(options, phrase)

    def marked(self, phrase: Phrase) -> bool:
        """Whether an object is animate, a verb one of motion, a job no employment."""
        return phrase.category == "animal" or bool(self.lexicon[phrase.lexeme].get("marked"))

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A proper noun in a case, by its ending where the entry does not say."""
        entry = self.lexicon[phrase.lexeme]
        name = entry["form"]
        if form in _CASES:
            name = entry.get(form) or _declined(name, form, phrase.category, woman=phrase.lexeme in WOMEN)
        return self.words(name, "PROPN")

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """The form, if the entry has one for the object or its category that one: ``past_fruit``."""
        entry, what = self.lexicon[phrase.lexeme], fact.roles["object"]
        wanted = {"neg": ("neg", "past"), "who": ("past",)}.get(form, (form,))
        keys = [f"{name}{end}" for name in wanted for end in (f"_{what.lexeme}", f"_{what.category}", "")]
        found = entry[next((key for key in keys if key in entry), form)]
        if wanted[-1] == "past":
            forms = _past(found)
            found = forms[0] if form == "who" else self.agreeing(forms, fact.subject)
        return self.words(found, "VERB")

    def form(self, lexeme: str, form: str, subject: Phrase) -> str:
        """Adjectives and the past of activities agree with the subject; what is carried is carried to a place."""
        if lexeme in CATEGORIES["colour"] or lexeme in CATEGORIES["quality"]:
            return self.adjective(lexeme, self.agreement(subject))
        if lexeme in CATEGORIES["activity"]:
            return self.agreeing(_past(self.lexicon[lexeme]["form"]), subject)
        return super().form(lexeme, form, subject)

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """The entry's form; the place of a verb of motion is where to."""
        to = form == "loc" and "verb" in fact.roles and self.marked(fact.roles["verb"])
        return super().looked_up(phrase, "dir" if to else form, fact)

    def adjective(self, lexeme: str, ending: str) -> str:
        """An adjective; endings are ``m``, ``f``, ``n``, ``pl``, ``facc``, ``gen``, ``fgen``, ``plgen``."""
        form = self.lexicon[lexeme]["form"]
        stem = form[:-2]
        if ending == "m":
            return str(form)
        found = (_SOFT if form.endswith("ний") else _HARD)[ending]
        return stem + (found.replace("ы", "и") if stem[-1] in _VELARS_AND_HUSHERS else found)

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Numeral, adjective and noun in a case; a job or relative by the sex of the one who is it."""
        entry, gender = self.lexicon[phrase.lexeme], self.agreement(replace(phrase, count=1))
        if form == "part":
            form = "gen" if phrase.category in MASS and self.lexicon[fact.roles["verb"].lexeme].get("part") else "acc"
        if phrase.category == "pronoun":
            return self.words(entry[form or "form"], "PRON")
        if phrase.category in ("job", "kin") and phrase != fact.subject:
            sex = self.agreement(fact.subject) if fact.subject.category == "name" else ""
            return self.words(entry.get(f"{form or 'form'}_{sex}") or entry[form or "form"], "NOUN")
        animate = form == "acc" and self.marked(phrase)
        if form == "plgen" or phrase.count > 1:
            return self._counted(phrase, gender, animate, numeral=form != "plgen")
        ending = gender
        if form == "gen" or (animate and gender == "m"):
            ending = "fgen" if gender == "f" else "gen"
        elif form == "acc" and gender == "f":
            ending = "facc"
        noun = entry["form"] if not form or (form == "acc" and "acc" not in entry) else entry[form]
        if animate and gender == "m":
            noun = entry["gen"]
        return [*self._described(phrase, ending), *self.words(noun, "NOUN")]

    def _described(self, phrase: Phrase, ending: str) -> list[Word]:
        return self.words(self.adjective(phrase.adjective, ending), "ADJ") if phrase.adjective else []

    def _counted(self, phrase: Phrase, gender: str, animate: bool, *, numeral: bool) -> list[Word]:
        """два + genitive singular, пять + genitive plural, двух + genitive plural of animate objects."""
        entry = self.lexicon[phrase.lexeme]
        few = numeral and phrase.count < 5 and not animate
        words = self._described(phrase, "pl" if few and gender == "f" else "plgen")
        words += self.words(entry.get("few", entry["gen"]) if few else entry["plgen"], "NOUN")
        if not numeral:
            return words
        number = self.lexicon[CATEGORIES["number"][phrase.count - 2]]
        text = number.get("animate" if animate else gender) or number["form"]
        return [*self.words(text, "NUM"), *words]

    def finish(self, words: list[Word]) -> list[Word]:
        """No space inside quotation marks; что-то as an object stands before the verb, unless that is denied."""
        objects = [word for word in words if word.role == "object" and word.upos == "PRON"]
        verbs = [i for i, word in enumerate(words) if word.role == "verb"]
        verbs = verbs or [i for i, word in enumerate(words) if word.upos == "VERB"]
        if objects and words[verbs[0] - 1].text != "не" and words.index(objects[0]) > verbs[0]:
            words = [word for word in words if word not in objects]
            words[verbs[0] : verbs[0]] = objects
        return [
            replace(word, glued=True) if word.text == "»" or (i and words[i - 1].text == "«") else word
            for i, word in enumerate(words)
        ]


def _plural(figure: int) -> int:
    """0 for 1, 21, ... (год), 1 for 2 to 4, 22, ... (года), 2 for the others (лет)."""
    last, teens = figure % 10, 10 < figure % 100 < 20
    return 0 if last == 1 and not teens else 1 if 1 < last < 5 and not teens else 2


def _past(form: str | list[str]) -> list[str]:
    """Masculine, feminine, neuter, plural: from купил, or смеялся, unless all four are given."""
    if not isinstance(form, str):
        return form
    verb, space, rest = form.partition(" ")
    ends = ("ся", "лась", "лось", "лись") if verb.endswith("ся") else ("", "ла", "ло", "ли")
    stem = verb.removesuffix("ся").removesuffix("л")
    return [form, *(stem + end + space + rest for end in ends[1:])]


def _declined(name: str, case: str, category: str, *, woman: bool) -> str:
    """A name in a case; women's names with a consonant at the end and names in и, е, о stay as they are."""
    stem, last = name[:-1], name[-1]
    if last == "а":
        after = stem[-1]
        gen = "и" if after in _VELARS_AND_HUSHERS else "ы"
        ends = (gen, "е", "у", "ей" if after in "жчшщц" else "ой", "е")
    elif last == "я":
        ends = ("и", "и", "ю", "ей", "и") if stem[-1] == "и" else ("и", "е", "ю", "ей", "е")
    elif woman or last in "иеоуэы":
        return name
    elif last in "ьй":
        ends = ("я", "ю", "я", "ем", "е")
    else:
        stem, ends = name, ("а", "у", "а", "ем" if last in "жчшщц" else "ом", "е")
    if case == "acc" and category == "city" and last not in "ая":
        return name
    return stem + ends[_CASES.index(case)]
