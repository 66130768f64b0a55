"""Hindi."""

from __future__ import annotations

from dataclasses import replace

from xstilts.miniature.grammar import Grammar, Word
from xstilts.miniature.inventory import CATEGORIES, MASS, WOMEN
from xstilts.miniature.world import Fact, Phrase

_THING = Phrase("something")  # what is no controller of agreement: masculine singular
_BARE = ("kin", "group", *MASS)
_ASKED = {"where": "कहाँ", "when": "कब"}


class Hindi(Grammar):
    """Gender, direct and oblique case, postpositions, the ergative.

    Forms of nouns and names, joined by dots: ``the`` (no *one*), ``bare``, ``neg`` (*any*), ``pred`` (a predicate),
    ``obl`` (oblique); with the postposition that the fact asks for ``subj`` (of its verb's subject), ``obj`` (of its
    verb's object), ``gen`` (the genitive of whose kin or thing it is); ``pron``, the pronoun before a state.

    Forms of verbs: ``past``, ``neg``, ``hab`` (*does*), ``inf``; with a question word ``who what where when``.
    """

    code = "hi"
    agreements = ("m", "f", "mp", "fp")

    def agreement(self, phrase: Phrase) -> str:
        """Gender and number; parents and spouses are honoured with the plural."""
        if phrase.lexeme in WOMEN:
            return "f"
        entry = self.lexicon.get(phrase.lexeme, {})
        plural = phrase.count > 1 or (phrase.figure is None and phrase.category == "group") or "honoured" in entry
        return str(entry.get("gender", "m")) + "p" * plural

    def name(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """A name, which never changes, and a postposition."""
        if form == "pron":
            return self._pronoun(fact)
        return [*self.looked_up(phrase, "form", fact), *self._postposition(phrase, form, fact)]

    def noun(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Determiner or numeral, adjective and noun in one case, and a postposition."""
        ways = form.split(".")
        if form == "pron":
            return self._pronoun(fact)
        entry = self.lexicon[phrase.lexeme]
        postposition = self._postposition(phrase, form, fact)
        oblique = bool(postposition) or "obl" in ways
        if phrase.category == "pronoun":
            return [*self.words(entry["obl" if oblique else "form"], "PRON"), *postposition]
        agreement, text = self.agreement(phrase), entry["form"]
        if (
            "f" in entry
            and self.agreement(fact.subject) == "f"
            and phrase in (fact.roles.get("job"), fact.roles.get("kin"))
        ):
            agreement, text = "f", entry["f"]  # what a woman is, or is to somebody
        if oblique and "obl" in entry:
            text = entry["obl"]
        elif "fixed" not in entry:
            text = declined(text, agreement[0], phrase.count > 1, oblique)
        found = self._determiner(phrase, ways, oblique)
        if phrase.adjective:
            found += self.words(self.adjective(phrase.adjective, agreement, oblique), "ADJ")
        return [*found, *self.words(text, "NOUN"), *postposition]

    def verb(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """The perfective agrees with an unmarked subject, else an unmarked object, else with nothing."""
        entry = self.lexicon[phrase.lexeme]
        subject = self._of_subject(fact)
        if form == "inf":
            return self.words(entry["inf"], "VERB")
        if form == "hab":
            ending, copula = self.agreeing(("ता है", "ती है", "ते हैं", "ती हैं"), fact.subject).split()
            return self.words(f"{entry['inf'].removesuffix('ना')}{ending} {copula}", "VERB")
        asked = form in ("who", "where", "when")  # of a known object
        if not subject:
            controller = _THING if form == "who" else fact.subject
        elif form == "what" or self._of_object(fact.roles["object"], asked, fact):
            controller = _THING
        else:
            controller = fact.roles["object"]
        past = entry.get("neg", entry["past"]) if form == "neg" else entry["past"]
        words = self.words(past if isinstance(past, str) else self.agreeing(past, controller), "VERB")
        if form == "past":
            return words
        if form == "neg":
            return [*words[:-1], *self.words("नहीं", "PART"), *words[-1:]]
        if form == "who":
            word = {"ने": "किसने", "को": "किसे", "": "कौन"}[subject]
        elif form == "what":
            word = {"को": "किसे", "की": "किसकी", "का": "किसका"}.get(entry.get("object", ""), "क्या")
        else:
            word = _ASKED[form]
        at = len(words) - 1 if asked and isinstance(past, str) else 0  # after a noun that belongs to the verb
        return [*words[:at], *self.words(word, "PRON"), *words[at:]]

    def looked_up(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        """Adjectives agree with the subject; states and skills are denied, states put in the past."""
        if phrase.category in ("colour", "quality"):
            return self.words(self.adjective(phrase.lexeme, self.agreement(fact.subject)), "ADJ")
        if form not in ("neg", "past") or form in self.lexicon[phrase.lexeme]:
            return super().looked_up(phrase, form, fact)
        words = super().looked_up(phrase, "form", fact)
        if form == "past":
            return [*words, *self.words(self.agreeing(("था", "थी", "थे", "थीं"), fact.subject), "AUX")]
        at = len(words) - (phrase.category == "skill")
        return [*words[:at], *self.words("नहीं", "PART"), *words[at:]]

    def finish(self, words: list[Word]) -> list[Word]:
        """A postposition, a question word and the pronoun of a clause express no role."""
        edges = [Word("", ""), *words, Word("", "")]
        return [
            replace(word, role="")
            if (word.upos == "ADP" and next.role != word.role)
            or (word.role == "verb" and word.upos in ("PRON", "ADV") and before.role != "verb")
            or word.text in ("वह", "उसे")
            else word
            for before, word, next in zip(edges, words, edges[2:], strict=False)
        ]

    def adjective(self, lexeme: str, agreement: str, oblique: bool = False) -> str:
        """An adjective in -ā agrees; others never change."""
        form = self.lexicon[lexeme]["form"]
        agreement = "mp" if oblique and agreement[0] == "m" else agreement
        if not isinstance(form, str):
            return str(dict(zip(self.agreements, form, strict=True))[agreement])
        if not form.endswith("ा"):
            return form
        return form[:-1] + {"m": "ा", "mp": "े"}.get(agreement, "ी")

    def _determiner(self, phrase: Phrase, ways: list[str], oblique: bool) -> list[Word]:
        """A numeral, *any* of what is denied, *one* of what is not known."""
        if phrase.definite or {"the", "pred"} & set(ways) or phrase.category in _BARE:
            return []
        if phrase.count > 1:
            return self.words(self.lexicon[CATEGORIES["number"][phrase.count - 2]]["form"], "NUM")
        if "neg" in ways:
            return self.words("किसी" if oblique else "कोई", "DET")
        return [] if "bare" in ways and phrase.category != "hypernym" else self.words("एक", "DET")

    def _postposition(self, phrase: Phrase, form: str, fact: Fact) -> list[Word]:
        ways = form.split(".")
        found = ""
        if "subj" in ways:
            found = self._of_subject(fact)
        elif "obj" in ways:
            found = self._of_object(phrase, "the" in ways, fact)
        elif "gen" in ways:
            head = fact.roles.get("kin") or fact.roles["object"]
            own = head.category == "kin" and "gender" not in self.lexicon[head.lexeme]  # a friend has the subject's
            found = self.agreeing(("का", "की", "के", "की"), fact.subject if own else head)
        return self.words(found, "ADP")

    def _of_subject(self, fact: Fact) -> str:
        """The subject's postposition in the perfective: the verb's own, else ``ने`` with an object and none without."""
        role = next(role for role in ("verb", "activity", "reaction", "state") if role in fact.roles)
        return str(self.lexicon[fact.roles[role].lexeme].get("subject", "ने" if role == "verb" else ""))

    def _of_object(self, phrase: Phrase, known: bool, fact: Fact) -> str:
        """The object's postposition: the verb's own, else ``को`` with persons and known animals."""
        verb = self.lexicon[fact.roles["verb"].lexeme]
        if "object" in verb:
            return str(verb["object"])
        alive = phrase.category == "animal" or phrase.lexeme == "any_animal"
        marked = phrase.lexeme == "someone" or (alive and (known or phrase.definite))
        return "को" if marked and verb.get("subject") != "को" else ""

    def _pronoun(self, fact: Fact) -> list[Word]:
        return self.words("उसे" if self.lexicon[fact.roles["state"].lexeme].get("subject") else "वह", "PRON")


def declined(noun: str, gender: str, plural: bool, oblique: bool) -> str:
    """A noun by its ending: the marked masculines in -ā, the feminines in -ī, -ā or a consonant, the rest."""
    stem, last = noun[:-1], noun[-1]
    if plural and oblique:
        marked = gender == "m" and last == "ा"
        if marked or last == "आ":
            return stem + ("ों" if marked else "ओं")
        return (
            noun
            if last in "ोे"
            else {"ी": stem + "ियों", "ई": stem + "इयों", "ू": stem + "ुओं", "ा": noun + "ओं"}.get(last, noun + "ों")
        )
    if gender == "f":
        if not plural:
            return noun
        return {"ी": stem + "ियाँ", "ई": stem + "इयाँ", "ा": noun + "एँ"}.get(last, noun + "ें")
    if (not plural and not oblique) or last not in "ाआ":
        return noun
    if noun.endswith("या"):
        return noun[:-2] + "ए"
    return stem + ("े" if last == "ा" else "ए")
