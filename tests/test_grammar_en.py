"""English of the miniature: articles, plurals, the possessive, pronouns, verb forms, word order of questions."""

from __future__ import annotations

import pytest

from saying import fact
from xstilts.miniature.inventory import CATEGORIES, GOODS
from xstilts.miniature.languages import grammar
from xstilts.miniature.world import Fact, Phrase

ENGLISH = grammar("en")


def bought(agent: str | Phrase = "anna", verb: str = "to_buy", **of_object: object) -> Fact:
    return fact("act", agent=agent, verb=verb, object=Phrase(**of_object))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "template", "expected"),
    [
        pytest.param(bought(lexeme="hat"), "", "Anna bought a hat.", id="a"),
        pytest.param(bought(lexeme="umbrella"), "", "Anna bought an umbrella.", id="an"),
        pytest.param(bought(lexeme="apple", adjective="green"), "", "Anna bought a green apple.", id="a-adjective"),
        pytest.param(bought(lexeme="hat", adjective="old"), "", "Anna bought an old hat.", id="an-adjective"),
        pytest.param(bought(lexeme="apple", count=3), "", "Anna bought three apples.", id="regular-plural"),
        pytest.param(bought(lexeme="knife", count=2), "", "Anna bought two knives.", id="plural-in-ves"),
        pytest.param(bought(lexeme="box", count=5), "", "Anna bought five boxes.", id="plural-in-es"),
        pytest.param(bought(lexeme="mouse", count=9), "", "Anna bought nine mice.", id="irregular-plural"),
        pytest.param(bought(lexeme="sheep", count=4), "", "Anna bought four sheep.", id="plural-like-singular"),
        pytest.param(bought(lexeme="bread"), "", "Anna bought bread.", id="mass-noun-has-no-article"),
        pytest.param(
            bought(Phrase("teacher", definite=True), "to_repair", lexeme="car", definite=True),
            "",
            "The teacher repaired the car.",
            id="definite",
        ),
        pytest.param(bought(lexeme="any_garment"), "", "Anna bought a piece of clothing.", id="hypernym"),
        pytest.param(bought("someone", lexeme="hat"), "", "Someone bought a hat.", id="pronoun"),
        pytest.param(bought(lexeme="hat"), "q-act-object", "What did Anna buy?", id="question-with-do"),
        pytest.param(bought(lexeme="hat"), "q-act-agent", "Who bought the hat?", id="question-for-the-subject"),
        pytest.param(
            bought(lexeme="hat").but(place=Phrase("market"), time=Phrase("on_monday")),
            "",
            "Anna bought a hat at the market on Monday.",
            id="circumstances",
        ),
        pytest.param(
            bought(lexeme="hat").but(time=Phrase("yesterday")),
            "act-fronted",
            "Yesterday Anna bought a hat.",
            id="fronted-time",
        ),
        pytest.param(
            fact("act_not", agent="ali", verb="to_sell", object="cup"), "", "Ali did not sell a cup.", id="negation"
        ),
        pytest.param(
            fact("kin", agent="anna", kin="mother", other="max"), "", "Anna is Max's mother.", id="possessive"
        ),
        pytest.param(
            fact("because", agent="anna", reaction="cried", state="sad"),
            "",
            "Anna cried because she was sad.",
            id="she",
        ),
        pytest.param(
            fact("because", agent="omar", reaction="cried", state="sad"), "", "Omar cried because he was sad.", id="he"
        ),
        pytest.param(fact("job", agent="eva", job="engineer"), "", "Eva is an engineer.", id="an-job"),
        pytest.param(
            fact("habit", agent="eva", verb="to_drink", object="tea", frequency="every_day"),
            "",
            "Eva drinks tea every day.",
            id="third-person",
        ),
        pytest.param(
            fact("want", agent="eva", verb="to_buy", object="orange"),
            "",
            "Eva wants to buy an orange.",
            id="infinitive",
        ),
        pytest.param(
            fact("count_at", counted=Phrase("shelf", count=3), place="library"),
            "q-count",
            "How many shelves are there in the library?",
            id="bare-plural",
        ),
        pytest.param(
            fact("age", agent="raj", age=Phrase(figure=34)), "", "Raj is 34 years old.", id="figure-and-plural"
        ),
    ],
)
def test_sentences(said: Fact, template: str, expected: str) -> None:
    assert ENGLISH.sentence(said, template).text == expected


def test_every_article_fits_the_word_after_it() -> None:
    for category in GOODS:
        for lexeme in CATEGORIES[category]:
            for adjective in ("", *CATEGORIES["colour"], *CATEGORIES["quality"]):
                words = ENGLISH.sentence(bought(lexeme=lexeme, adjective=adjective)).words
                article, after = words[2].text, words[3].text
                assert article == ("an" if after[0] in "aeiou" else "a"), f"{article} {after}"


def test_a_role_is_one_stretch_and_an_answer_has_no_preposition() -> None:
    said = bought(lexeme="hat", adjective="red").but(place=Phrase("market"))
    sentence = ENGLISH.sentence(said)
    start, end = sentence.span("object")
    assert sentence.text[start:end] == "a red hat"
    start, end = sentence.span("place")
    assert sentence.text[start:end] == "the market"
