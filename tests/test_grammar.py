"""What holds of every language of the miniature: its letters, tags and roles, and that nothing reads like another."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from importlib import resources
from typing import NamedTuple

import pytest

from saying import act, exchanged, fact, members, relation_of, required, situations, spoken, texts, verbs_of
from xstilts import miniature
from xstilts.miniature.grammar import ENTITIES, UPOS
from xstilts.miniature.inventory import CATEGORIES, CATEGORY, OBJECTS, QUESTIONS, RELATIONS, TEMPLATES, VALUES
from xstilts.miniature.languages import grammar
from xstilts.miniature.world import Phrase


class Writing(NamedTuple):
    """How a language is written: a pattern of its words, and its punctuation."""

    word: str
    inside: str = ""
    asking: str = "?"
    stating: str = "."
    opening: str = ""  # before a question
    before_asking: str = ""


WRITING = {
    "en": Writing("[A-Z]?[a-zé]*|'s|o'clock"),
    "ar": Writing("[\u0621-\u063a\u0641-\u064a\u064b\u064d\u064f\u0651]+", asking="؟"),
    "de": Writing("[A-ZÄÖÜ]?[a-zäöüßé]*'?", ","),
    "es": Writing("[A-ZÁÉ]?[a-záéíóúñ]*", opening="¿"),
    "fr": Writing("[A-ZÀÉ]?[a-zàâçèéêëîïôûù]*'?|[Qq]uelqu'un|-(t-)?(elle|il)|-ce", ",", before_asking=" "),
    "hi": Writing("[\u0900-\u0963\u0970-\u097f]+(-[\u0900-\u0963\u0970-\u097f]+)?", ",", stating="।"),
    "ru": Writing("[А-ЯЁ]?[а-яё]*(-[а-яё]+)?", "«»—,"),
    "sw": Writing("[A-Z]?[a-z]*('[a-z]+)?"),
    "tr": Writing("([A-ZÇĞİÖŞÜ]?[a-zçğıöşüâ]*|[0-9]+)('[a-zçğıöşü]+)?", ","),
    "zh": Writing("[\u4e00-\u9fff]+", "，", asking="？", stating="。"),
}
"""In words no letters but these, and a capital only as the first; figures are everywhere."""

DIVIDED = {
    "ar": {("because", "reaction")},
    "de": {
        *(("weather", "weather"), ("weather-fronted", "weather"), ("because", "reaction")),
        *(("did", "activity"), ("group_did", "activity")),
    },
    "fr": {("feel_not", "state")},
    "tr": {("q-act-agent", "verb"), ("q-act-time", "verb")},
}
"""The roles that a template of a language does not say in one stretch; nothing asks for one of them."""

NOT_NAMED = {"q-born-city": {"year"}, "q-born-year": {"city"}, "q-born-year2": {"city"}}
"""What a question leaves out beside what it asks for."""

ARTICLED = {("es", "cairo"), ("fr", "cairo")}
"""Proper nouns with an article of their own: *El Cairo*."""


@pytest.fixture(scope="module", params=miniature.LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Of the module, so that all is tested of one language before the next is said."""
    return request.param


def test_every_language_is_described() -> None:
    assert tuple(sorted(WRITING)) == tuple(sorted(miniature.LANGUAGES))
    assert not {(template, QUESTIONS[template].asks) for template in QUESTIONS} & set().union(*DIVIDED.values())


def test_the_sentences_are_of_every_template(language: str) -> None:
    times = Counter(said.template for said in spoken(language))
    assert set(times) == set(TEMPLATES)
    assert min(times.values()) >= 20
    assert times.total() == len(texts(language)) > 15_000


def test_a_template_needs_only_what_its_facts_have(language: str) -> None:
    for template in TEMPLATES:
        relation = RELATIONS[relation_of(template)]
        always = set(relation.roles) - set(relation.optional)
        if template.endswith("-fronted"):
            always.add("time")
        elif template in QUESTIONS:
            always.add(QUESTIONS[template].asks)
        assert required(grammar(language), template) <= always, template


def test_every_word_is_tagged(language: str) -> None:
    words = {(word.text, word.upos): said.text for said in spoken(language) for word in said.sentence.words}
    for (text, tag), sentence in words.items():
        assert tag in UPOS, sentence
        assert (tag == "PUNCT") == (not any(char.isalnum() for char in text)), sentence
        assert text not in ("", "None"), sentence


def test_every_sentence_is_in_the_languages_letters_and_punctuation(language: str) -> None:
    writing = WRITING[language]
    written = re.compile("|".join((writing.word, "[0-9]+", *writing.inside)))
    words = {}
    for said in spoken(language):
        asks = said.template in QUESTIONS
        first, *_, last = (word.text for word in said.sentence.words)
        assert last == (writing.asking if asks else writing.stating), said.text
        assert (first == writing.opening) == (asks and writing.opening != ""), said.text
        words |= {word.text: said.text for word in said.sentence.words[first == writing.opening : -1]}
        letter = next(char for char in said.text if char.isalnum())
        assert letter.isalpha(), said.text
        assert not letter.islower(), said.text
        assert unicodedata.is_normalized("NFC", said.text), said.text
    for word, sentence in words.items():
        assert written.fullmatch(word), sentence


def test_spaces_are_where_they_belong(language: str) -> None:
    writing = WRITING[language]
    wrong = re.compile(r"^\s|\s$|\s\s|\s[.,?؟،।»，。？]|[«¿]\s" if grammar(language).spaces else r"\s")
    for said in spoken(language):
        text = said.text
        if said.template in QUESTIONS and writing.before_asking:
            assert text.endswith(writing.before_asking + writing.asking), text
            text = text.removesuffix(writing.before_asking + writing.asking)
        assert not wrong.search(text), said.text


def test_every_role_is_said_and_what_is_asked_is_not(language: str) -> None:
    for said in spoken(language):
        expected = set(said.fact.roles)
        if said.template in QUESTIONS:
            asks = QUESTIONS[said.template].asks
            expected -= NOT_NAMED.get(said.template, set()) | ({asks} - {"counted"})
        assert {word.role for word in said.sentence.words} - {""} == expected, said.text


def test_every_role_is_one_stretch(language: str) -> None:
    divided, known = set(), set()
    for said in spoken(language):
        order = said.template, tuple((word.role, word.upos == "ADP") for word in said.sentence.words)
        for role in {word.role for word in said.sentence.words} - {""} if order not in known else ():
            try:
                start, end = said.sentence.span(role)
            except ValueError:
                divided.add((said.template, role))
            else:
                assert said.text[start:end] == said.text[start:end].strip() != "", said.text
        known.add(order)
    assert divided == DIVIDED.get(language, set())


def test_different_facts_read_differently(language: str) -> None:
    """Definiteness apart, which not every language marks and which verb and noun decide."""
    meant: dict[tuple[str, str], object] = {}
    for said in spoken(language):
        if said.template not in QUESTIONS:
            key = [(role, p.lexeme, p.count, p.adjective, p.figure) for role, p in said.fact.roles.items()]
            assert meant.setdefault((said.template, said.text), key) == key, said.text


def test_everything_that_fits_a_role_reads_differently(language: str) -> None:
    own = {id(said.fact): said.text for said in spoken(language) if said.template == said.fact.relation}
    for (relation, role), facts in exchanged().items():
        assert len({own[id(said)] for said in facts}) == len(facts), (relation, role)
    taken = {(verb, noun) for verb, nouns in OBJECTS.items() for noun in members(*nouns)}
    assert len({grammar(language).sentence(act(*pair)).text for pair in taken}) == len(taken)


def test_every_lexeme_is_in_every_slot_that_it_fits() -> None:
    """Of a role that takes a category every lexeme was said; a verb was with everything that it takes."""
    found: dict[tuple[str, str], set[str]] = {}
    facts = [situation.fact for situation in situations()]
    for said in facts:
        for role, phrase in said.roles.items():
            found.setdefault((said.relation, role), set()).update((phrase.lexeme, phrase.adjective))
            if phrase.count > 1:
                found.setdefault(("", "number"), set()).add(CATEGORIES["number"][phrase.count - 2])
    for relation, about in RELATIONS.items():
        for role, allowed in about.roles.items():
            verbs = verbs_of(relation) if role == "object" and "verb" in about.roles else ()
            nouns = {noun for verb in verbs for noun in members(*OBJECTS[verb], "pronoun")}
            assert {*members(*allowed), *nouns} <= found[relation, role] | {""}, (relation, role)
    assert set(CATEGORY) <= set().union(*found.values())
    figures = {(role, p.figure) for said in facts for role, p in said.roles.items() if role in VALUES}
    assert figures == {(role, value) for role, values in VALUES.items() for value in values}


def test_other_words_for_a_fact_are_other_words(language: str) -> None:
    for _, told in itertools.groupby(spoken(language), key=lambda said: id(said.fact)):
        ways = list(told)
        roles = ways[0].fact.roles
        if "time" in roles or "time" not in RELATIONS[ways[0].fact.relation].roles:
            assert len({said.text for said in ways}) == len(ways), ways[0].text


def test_entries_of_a_category_differ(language: str) -> None:
    """In the form, not only in the plural, or in what goes on from it: *war es kalt*, *war es heiß*."""
    lexicon = grammar(language).lexicon
    for category, lexemes in CATEGORIES.items():
        spelled = []
        for lexeme in lexemes:
            entry = {name: form for name, form in lexicon[lexeme].items() if name != "pl"}
            form = entry.get("form", entry.get("past", sorted(entry.items())))
            spelled.append(str([form, *(entry.get(name) for name in ("of", "attribute", "rest"))]))
        assert len(set(spelled)) == len(spelled), category


def test_a_proper_noun_is_one_word(language: str) -> None:
    speaks, home = grammar(language), fact("live", "anna", "rome")
    for category in ENTITIES:
        for lexeme in CATEGORIES[category]:
            tags = [word.upos for word in speaks.name(Phrase(lexeme), "", home)]
            assert tags == ["DET"] * ((language, lexeme) in ARTICLED) + ["PROPN"], lexeme


def test_the_file_is_composed_unicode(language: str) -> None:
    text = resources.files("xstilts.miniature").joinpath("languages", f"{language}.toml").read_text("utf-8")
    assert unicodedata.is_normalized("NFC", text)


def test_a_template_that_a_fact_cannot_fill_is_refused(language: str) -> None:
    speaks, bought = grammar(language), act("to_buy", "hat")
    with pytest.raises(
        ValueError, match=r"the template 'q-cost' needs the role 'thing', which 'act anna to_buy hat' lacks"
    ):
        speaks.sentence(bought, "q-cost")
    with pytest.raises(ValueError, match=rf"unknown template of {language} 'q-coast'.*did you mean 'q-cost'"):
        speaks.sentence(bought, "q-coast")
    sentence = speaks.sentence(bought)
    with pytest.raises(ValueError, match=re.escape(f"the role 'time' is no one stretch of {sentence.text!r}")):
        sentence.span("time")
