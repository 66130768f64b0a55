"""Examples in another language: sentences, labels carried over, answers found again, rows on disk."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from xstilts import apertium
from xstilts.tasks import Bitext, Choices, Example, Pair, Passage, Tokens, examples, find
from xstilts.tasks.translated import (
    AMBIGUOUS,
    BY_BOTH,
    BY_MARKS,
    BY_SEARCH,
    LOST,
    Way,
    is_miniature,
    oracle,
    read_rows,
    sentences,
    translated,
    write_rows,
)

MARKS = ("[", "]")
WORDS = {"the": "el", "red": "rojo", "hat": "sombrero", "anna": "Ana", "bought": "compró", "rome": "Roma", "in": "en"}


def word_by_word(sentence: str) -> str:
    """A translator that keeps every sign where it stands."""
    out = "".join(c if c.isalnum() else f" {c} " for c in sentence).split(" ")
    return "".join(WORDS.get(word.lower(), word) if word else " " for word in out).replace("  ", " ").strip()


def backwards(sentence: str) -> str:
    """A translator that turns the words around, and leaves no mark."""
    return " ".join(word.strip("[].") for word in reversed(sentence.split()))


def way(say: Callable[[str], str], target: str = "es", **settings: object) -> Way:
    return Way(say, target, **settings)  # type: ignore[arg-type]


# ------------------------------------------------------------ sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("It cost 3.5 e.g. here. 12 came.", ["It cost 3.5 e.g. here.", "12 came."]),
        ("a line\n\nanother line ", ["a line", "another line"]),
        ("他来了。她走了！好", ["他来了。", "她走了！", "好"]),
        ("वह आया। वह गई।", ["वह आया।", "वह गई।"]),
        ("  ", []),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_cutting_loses_nothing_but_white_space() -> None:
    for language in ("en", "zh", "hi"):
        for row in oracle(find("mini-qa"), "dev", "en", language)[:50]:
            assert isinstance(row, Passage)
            assert "".join(sentences(row.context)).replace(" ", "") == row.context.replace(" ", "")


# ------------------------------------------------------------ labels


def test_every_text_is_translated_and_every_label_stays() -> None:
    by = way(str.upper)
    assert translated(Pair("a b. C d", "e", "neutral"), by) == (Pair("A B. C D", "E", "neutral"), "")
    assert translated(Choices("p", ("x", "y", ""), 1), by).example == Choices("P", ("X", "Y", ""), 1)
    assert translated(Bitext("q", "s", ""), by).example == Bitext("Q", "S", "")
    assert translated(Passage("No. Yes.", "why?", (), "7"), by).example == Passage("NO. YES.", "WHY?", (), "7")


def test_sentences_are_joined_as_the_language_writes_them() -> None:
    pair = Pair("One. Two.", "x", "l")
    assert translated(pair, way(lambda s: s[0] + "。", "zh")).example == Pair("O。T。", "x。", "l")
    assert translated(pair, way(lambda s: s[0] + ".", "fr")).example == Pair("O. T.", "x.", "l")
    asked: list[str] = []
    translated(pair, way(lambda s: asked.append(s) or s, splits=False))  # type: ignore[func-returns-value]
    assert asked == ["One. Two.", "x"]


def test_tags_are_not_translated() -> None:
    with pytest.raises(
        ValueError, match="a Tokens is not translated: expected one of the kinds classify, span, choose"
    ):
        translated(Tokens(("a",), ("B",)), way(str.upper))


# ------------------------------------------------------------ answers

CONTEXT = "It rained. Anna bought the red hat in Rome. The end."


def passage(answer: str, context: str = CONTEXT) -> Passage:
    return Passage(context, "what?", ((answer, context.index(answer)),), "1")


def answered(example: Example | None) -> str:
    assert isinstance(example, Passage)
    ((answer, start),) = example.answers
    assert example.context[start : start + len(answer)] == answer
    return answer


def test_marks_carry_an_answer_over_and_go() -> None:
    example, note = translated(passage("the red hat"), way(word_by_word, marks=MARKS))
    assert note == BY_BOTH
    assert answered(example) == "el rojo sombrero"
    assert isinstance(example, Passage)
    assert example.context.startswith("It rained. Ana compró el rojo sombrero en Roma")
    assert "[" not in example.context


def test_marks_are_not_put_where_the_text_has_them_already() -> None:
    text = "Anna [sic] bought the hat."
    assert translated(passage("hat", text), way(word_by_word, marks=MARKS)).note == BY_SEARCH


@pytest.mark.parametrize("marked", ["hat", "a ] hat [", "[ ] hat", "[a [hat]", "[hat] a]", "[hat"])
def test_lost_marks_leave_the_answer_to_the_search(marked: str) -> None:
    known = {"[hat]": marked, "A [hat].": marked, "A hat.": "Un Sombrero.", "hat": "sombrero", "what?": "?"}
    example, note = translated(passage("hat", "A hat."), way(known.__getitem__, marks=MARKS))
    assert note == BY_SEARCH
    assert answered(example) == "Sombrero"


def test_marks_that_were_left_behind_are_not_believed() -> None:
    known = {"At 14.": "A los 14.", "At [14].": "A [los] 14.", "14": "14", "what?": "?"}
    example, note = translated(passage("14", "At 14."), way(known.__getitem__, marks=MARKS))
    assert (answered(example), note) == ("14", BY_SEARCH)
    known["At 14."] = "14, 14."
    assert translated(passage("14", "At 14."), way(known.__getitem__, marks=MARKS)) == (None, AMBIGUOUS)
    known["At [14]."] = "14, [14.]"
    example, note = translated(passage("14", "At 14."), way(known.__getitem__, marks=MARKS))
    assert (answered(example), note) == ("14.", BY_BOTH)
    assert example == Passage("14, 14.", "?", (("14.", 4),), "1"), "the one that was marked"
    known |= {"At [14].": "[catorce].", "At 14.": "Catorces."}
    example, note = translated(passage("14", "At 14."), way(known.__getitem__, marks=MARKS))
    assert (answered(example), note) == ("catorce", BY_MARKS), "nothing better is there"


def test_an_answer_that_is_not_found_or_found_twice_is_lost() -> None:
    known = {"A hat.": "Un gorro, gorro.", "hat": "sombrero", "what?": "?"}
    assert translated(passage("hat", "A hat."), way(known.__getitem__)) == (None, LOST)
    known["hat"] = "gorro"
    assert translated(passage("hat", "A hat."), way(known.__getitem__)) == (None, AMBIGUOUS)
    known["A hat."], known["hat"] = "Un gorrocóptero.", "gorro"
    assert translated(passage("hat", "A hat."), way(known.__getitem__)) == (None, LOST), "no part of a word"
    assert translated(passage("hat", "A hat."), way(known.__getitem__, "zh")).note == BY_SEARCH, "but in Chinese"


def test_an_answer_that_stays_as_it_is_is_found_without_its_translation() -> None:
    known = {"In 1984.": "En 1984.", "1984": "mil novecientos", "what?": "?"}
    assert answered(translated(passage("1984", "In 1984."), way(known.__getitem__)).example) == "1984"


def test_an_answer_over_two_sentences_keeps_them_together() -> None:
    asked: list[str] = []

    def say(sentence: str) -> str:
        asked.append(sentence)
        return sentence

    example, _ = translated(passage("in Rome. The end"), way(say))
    assert answered(example) == "in Rome. The end"
    assert "Anna bought the red hat in Rome. The end." in asked
    assert isinstance(example, Passage)
    assert example.context == CONTEXT


def test_white_space_around_an_answer_and_several_answers_do_no_harm() -> None:
    context = "A  hat . B"
    example = Passage(context, "?", ((" hat ", 2), ("B", 9)), "1")
    assert answered(translated(example, way(lambda s: " ".join(s.split()))).example) == "hat"


@pytest.mark.parametrize("language", ["es", "zh", "ar"])
def test_a_translator_that_changes_nothing_gives_every_answer_back(language: str) -> None:
    for row in examples(find("mini-qa"), "dev", "en")[:100]:
        assert isinstance(row, Passage)
        for marks in (None, MARKS, apertium.MARKS):
            example, note = translated(row, way(lambda s: s, language, marks=marks))
            if marks:
                assert note == BY_BOTH
                assert answered(example) == row.answers[0][0].strip()


def test_a_translator_that_turns_words_around_keeps_single_words() -> None:
    assert answered(translated(passage("Rome"), way(backwards, marks=MARKS)).example) == "Rome"
    assert translated(passage("red hat"), way(backwards, marks=MARKS)).note == BY_SEARCH


# ------------------------------------------------------------ the miniature, and rows on disk


def test_the_oracle_says_the_same_things_in_the_other_language() -> None:
    english, spanish = (examples(find(name), "test", code) for name, code in (("mini-xnli", "en"), ("mini-xnli", "es")))
    assert oracle(find("mini-xnli"), "test", "en", "es") == spanish
    assert oracle(find("mini-xnli"), "test", "es", "en") == english
    rows = oracle(find("mini-nli"), "dev", "en", "ru")
    assert [row.label for row in rows] == [row.label for row in examples(find("mini-nli"), "dev", "en")]  # type: ignore[union-attr]
    assert len(oracle(find("mini-nli+"), "dev", "en", "de")) == 1200
    assert len(oracle(find("mini-tydiqa"), "train", "en", "sw")) == 2000, "rows that are declared for English alone"


def test_the_oracle_knows_the_miniature_alone() -> None:
    assert is_miniature(find("mini-nli+"))
    assert not is_miniature(find("anli+"))
    with pytest.raises(ValueError, match="mnli is no task of the miniature"):
        oracle(find("mnli"), "train", "en", "de")
    with pytest.raises(ValueError, match="unknown language of the miniature 'ja'"):
        oracle(find("mini-nli"), "train", "en", "ja")


@pytest.mark.parametrize("name", ["mini-nli", "mini-unanswerable", "mini-choice", "mini-lareqa-train"])
def test_rows_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    rows = oracle(find(name), "dev", "en", "hi")
    write_rows(tmp_path / "rows.jsonl.gz", rows)
    assert read_rows(tmp_path / "rows.jsonl.gz", find(name)) == rows
    before = (tmp_path / "rows.jsonl.gz").read_bytes()
    assert before[3:8] == b"\0" * 5, "no name, no time"


def test_a_row_that_is_no_example_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"first": "a", "second": "b", "label": "maybe"}\n'))
    with pytest.raises(ValueError, match=r"rows.jsonl.gz:1: expected a label among entailment"):
        read_rows(path, find("mini-nli"))
