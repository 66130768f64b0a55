"""Answer scores against hand-worked cases of every script's rules, brute force and properties."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts import metrics
from xstilts.metrics.qa import Answers, characters, mlqa, squad, squad_v2

MLQA_LANGUAGES = ["en", "es", "hi", "vi", "de", "ar", "zh"]

# metric, language, answer, gold answers, exact match, F1
CASES: list[tuple[Callable[..., Answers], str, str, list[str], float, float]] = [
    (squad, "en", "The  Eiffel-Tower!", ["eiffeltower"], 1, 1),  # case, article, punctuation, white space
    (squad, "en", "theatre an", ["theatre"], 1, 1),  # articles are whole words
    (squad, "en", "a the an", ["an"], 1, 0),  # nothing is left: exact, yet no token in common
    (squad, "en", "the", ["cat"], 0, 0),
    (squad, "en", "", ["cat"], 0, 0),
    (squad, "en", "black cat", ["cat", "black dog cat"], 0, 4 / 5),  # the best gold answer counts
    (squad, "en", "cat cat dog", ["cat dog dog"], 0, 2 / 3),  # multisets
    (squad, "en", "$5", ["5"], 1, 1),  # ASCII symbols are punctuation
    (squad, "en", "«5»", ["5"], 0, 0),  # other punctuation is not
    (squad, "de", "der Hund", ["Hund"], 0, 2 / 3),  # English articles only, in every language
    (squad, "zh", "北京市", ["北京"], 0, 0),  # no segmentation
    (squad, "th", "กรุงเทพมหานคร", ["กรุงเทพ"], 0, 0),
    (squad, "en", "cafe\u0301", ["caf\u00e9"], 0, 0),  # Unicode forms are not unified
    (mlqa, "en", "the «5»", ["5"], 1, 1),  # Unicode punctuation
    (mlqa, "en", "5€", ["5"], 0, 0),  # a symbol that is not ASCII stays
    (mlqa, "en", "$5", ["5"], 1, 1),
    (mlqa, "es", "los gatos y las casas", ["gatos y casas"], 1, 1),
    (mlqa, "es", "the gatos", ["gatos"], 0, 2 / 3),
    (mlqa, "de", "der Hund", ["Hund"], 1, 1),
    (mlqa, "de", "Eines Tages", ["tages"], 1, 1),
    (mlqa, "vi", "những con mèo của tôi", ["con mèo tôi"], 1, 1),
    (mlqa, "hi", "the एक घर", ["एक घर"], 0, 4 / 5),  # no articles
    (mlqa, "hi", "एक घर।", ["एक घर"], 1, 1),
    (mlqa, "ar", "الكتاب", ["كتاب"], 1, 1),
    (mlqa, "ar", "مال", ["م"], 1, 1),  # inside a word, too
    (mlqa, "zh", "北京市", ["北京"], 0, 4 / 5),  # a Chinese character is a token
    (mlqa, "zh", "在 Bell Labs工作", ["bell labs"], 0, 4 / 7),  # other words are split at white space
    (mlqa, "zh", "，北京。", ["北 京"], 1, 1),
    (mlqa, "zh", "the 北", ["北"], 0, 2 / 3),
    (characters, "zh", "北京市", ["北京"], 0, 4 / 5),
    (characters, "zh", "２０ 年。", ["20年"], 1, 1),  # NFKC
    (characters, "th", "กรุงเทพ", ["กรุงเทพ"], 1, 1),
    (characters, "th", "กุ", ["ก"], 0, 0),  # a vowel sign belongs to its consonant
    (characters, "th", "กุก", ["ก"], 0, 2 / 3),
    (characters, "hi", "कि", ["का"], 0, 0),
    (characters, "en", "The cat", ["cat"], 0, 2 / 3),  # articles stay
    (characters, "en", "cafe\u0301", ["caf\u00e9"], 1, 1),
    (characters, "km", "ក\u200bខ", ["កខ"], 1, 1),  # a zero-width space is no character
    (characters, "en", "...", ["!"], 1, 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-{case[2]}-{case[3][0]}")
def test_one_answer_by_hand(case: tuple[Callable[..., Answers], str, str, list[str], float, float]) -> None:
    function, language, answer, golds, exact_match, f1 = case
    found = function({"q": answer}, {"q": golds}, language)
    assert found.exact_match == exact_match
    assert found.f1 == pytest.approx(f1, abs=1e-15)
    assert found.num_examples == 1


def test_means_are_unrounded_fractions_over_questions() -> None:
    predictions = {"b": "black cat", "a": "dog", "c": "bird"}
    found = squad(predictions, {"a": ["dog"], "b": ["cat", "bird"], "c": ["cat"]}, "en")
    assert found == (1 / 3, (1 + 2 / 3) / 3, 3)
    assert found.value == (1 / 3 + (1 + 2 / 3) / 3) / 2


def test_refusals_by_hand() -> None:
    golds = {"right": ["cat"], "half": ["cat"], "silent": ["cat"], "refused": [], "invented": [], "empty": ["the", "."]}
    predictions = {"right": "the cat", "half": "black cat", "silent": "", "refused": "", "invented": "cat", "empty": ""}
    found = squad_v2(predictions, golds, "en")
    assert found[:3] == (3 / 6, (1 + 2 / 3 + 0 + 1 + 0 + 1) / 6, 6)
    assert found[3:6] == (2 / 4, pytest.approx((1 + 2 / 3 + 0 + 1) / 4), 4)  # "the" is an answer to the breakdown
    assert found[6:] == (1 / 2, 1 / 2, 2)
    assert squad_v2({"q": "the"}, {"q": []}, "en")[:2] == (1.0, 1.0)  # what normalises to nothing refuses


def test_a_breakdown_without_questions_is_none() -> None:
    assert squad_v2({"q": "cat"}, {"q": ["cat"]}, "en") == (1.0, 1.0, 1, 1.0, 1.0, 1, None, None, 0)
    assert squad_v2({"q": ""}, {"q": []}, "en") == (1.0, 1.0, 1, None, None, 0, 1.0, 1.0, 1)


ARTICLES = {
    "en": {"a", "an", "the"},
    "es": {"un", "una", "unos", "unas", "el", "la", "los", "las"},
    "de": {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"},
    "vi": {"của", "là", "cái", "chiếc", "những"},
}
ASCII_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@pytest.mark.parametrize("language", ARTICLES)
def test_every_article_is_left_out_and_only_in_its_language(language: str) -> None:
    for article in ARTICLES[language]:
        for other in MLQA_LANGUAGES:
            same = article in ARTICLES.get(other, set())
            assert mlqa({"q": f"x {article.upper()} y"}, {"q": ["x y"]}, other).exact_match == same


def words(text: str, language: str, unicode_marks: bool) -> list[str]:
    """The tokens without a regular expression: runs of letters and digits are words, and some are articles."""
    kept = ""
    for character in text.lower():
        if character not in ASCII_MARKS and not (unicode_marks and unicodedata.category(character).startswith("P")):
            kept += character
    if language == "ar":
        kept = " ".join(kept.split("ال"))
    runs = ["".join(run) for _, run in itertools.groupby(kept, str.isalnum)]
    kept = "".join(" " if run in ARTICLES.get(language, set()) else run for run in runs)
    if language == "zh":
        kept = "".join(f" {each} " if "\u4e00" <= each <= "\u9fa5" else each for each in kept)
    return kept.split()


def overlap(predicted: list[str], gold: list[str]) -> float:
    rest = list(gold)
    for token in predicted:
        if token in rest:
            rest.remove(token)
    common = len(gold) - len(rest)
    return 2 * common / (len(predicted) + len(gold)) if common else 0.0


PIECES = [
    *("a", "an", "the", "The", "cat", "cats", "dog", "el", "der", "Das", "của", "là", "ال", "الكتاب", "مال"),
    *("$5", "x-y", ".", "«", "।", "。", "北", "京", "市", "ไทย", "हिंदी", "caf\u00e9", "e\u0301", "İ", "½"),
]
texts = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", "\u00a0 "])), max_size=5).map(
    lambda pieces: "".join(itertools.chain.from_iterable(pieces))
)
questions = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=5)


def maps(asked: list[tuple[str, list[str]]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    return {f"q{i}": answer for i, (answer, _) in enumerate(asked)}, {f"q{i}": g for i, (_, g) in enumerate(asked)}


@given(questions, st.sampled_from(MLQA_LANGUAGES))
def test_squad_and_mlqa_equal_brute_force(asked: list[tuple[str, list[str]]], language: str) -> None:
    for function, rules, marks in ((squad, "en", False), (mlqa, language, True)):
        exact = f1 = 0.0
        for answer, golds in asked:
            ours, right = words(answer, rules, marks), [words(gold, rules, marks) for gold in golds]
            exact += any(" ".join(ours) == " ".join(gold) for gold in right)
            f1 += max(overlap(ours, gold) for gold in right)
        found = function(*maps(asked), language)
        assert found == (exact / len(asked), pytest.approx(f1 / len(asked), abs=1e-12), len(asked))


@given(questions.map(lambda asked: [(answer, golds if len(answer) % 2 else []) for answer, golds in asked]))
def test_squad_v2_equals_brute_force(asked: list[tuple[str, list[str]]]) -> None:
    scores = []
    for answer, golds in asked:
        ours = words(answer, "en", False)
        right = [tokens for gold in golds if (tokens := words(gold, "en", False))] or [[]]
        f1 = max(overlap(ours, gold) if ours and gold else float(ours == gold) for gold in right)
        scores.append((bool(golds), float(ours in right), f1))
    found = squad_v2(*maps(asked), "en")
    for picked, part in (
        (scores, found[:3]),
        ([s for s in scores if s[0]], found[3:6]),
        ([s for s in scores if not s[0]], found[6:]),
    ):
        size = len(picked)
        assert part[2] == size
        if size:
            assert part[0] == sum(s[1] for s in picked) / size
            assert part[1] == pytest.approx(sum(s[2] for s in picked) / size, abs=1e-12)


FUNCTIONS = (squad, mlqa, characters, squad_v2)


@given(questions, st.sampled_from(FUNCTIONS), st.sampled_from(MLQA_LANGUAGES), st.randoms(use_true_random=False))
def test_scores_keep_to_their_laws(
    asked: list[tuple[str, list[str]]], function: Callable[..., Answers], language: str, rng: random.Random
) -> None:
    predictions, golds = maps(asked)
    found = function(predictions, golds, language)
    ids = rng.sample(list(golds), len(golds))
    assert function({id: predictions[id] for id in ids[::-1]}, {id: golds[id] for id in ids}, language) == found
    assert 0 <= found.exact_match <= 1
    assert 0 <= found.f1 <= 1
    assert function({id: rng.choice(texts) for id, texts in golds.items()}, golds, language).exact_match >= (
        0 if function is squad_v2 else 1
    )
    more = {id: [*texts, predictions[id]] for id, texts in golds.items()}
    if function is not squad_v2:
        assert function(predictions, more, language).exact_match == 1


@given(questions, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_character_scores_do_not_depend_on_the_unicode_form(asked: list[tuple[str, list[str]]], form: str) -> None:
    predictions, golds = maps(asked)
    other = {id: unicodedata.normalize(form, text) for id, text in predictions.items()}  # type: ignore[arg-type]
    assert characters(other, golds, "hi") == characters(predictions, golds, "hi")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_ids_must_be_the_same(function: Callable[..., Answers]) -> None:
    with pytest.raises(ValueError, match="at least one question"):
        function({}, {}, "en")
    with pytest.raises(ValueError, match="1 of 2 questions have no prediction, 'q2' first"):
        function({"q1": "a"}, {"q1": ["a"], "q2": ["b"]}, "en")
    with pytest.raises(ValueError, match=r"1 predictions are for unknown questions, 'q11' first; did you mean 'q1'\?"):
        function({"q1": "a", "q11": ""}, {"q1": ["a"]}, "en")


def test_a_question_needs_a_gold_answer_and_mlqa_a_language_of_its_own() -> None:
    for function in (squad, mlqa, characters):
        with pytest.raises(ValueError, match=r"question 'q': expected at least one gold answer"):
            function({"q": ""}, {"q": []}, "en")
    with pytest.raises(ValueError, match="unknown language of MLQA 'th': expected one of en, es, hi, vi, de, ar, zh"):
        mlqa({"q": ""}, {"q": ["a"]}, "th")


def test_the_registry_has_the_scripts_by_name() -> None:
    for name, function in {"squad": squad, "squad-v2": squad_v2, "mlqa": mlqa, "characters": characters}.items():
        assert metrics.find("span", name) == (function, 1)
        assert metrics.find("span", name).options == {}


def test_real_gold_answers_are_right(data_dir: Path) -> None:
    path = data_dir / "mlqa" / "dev-context-zh-question-zh.json.gz"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    data = json.loads(gzip.decompress(path.read_bytes()))["data"]
    asked = [qa for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    golds = {qa["id"]: [answer["text"] for answer in qa["answers"]] for qa in asked}
    assert len(golds) > 100
    whole = {id: texts[0] for id, texts in golds.items()}
    assert mlqa(whole, golds, "zh") == (1.0, 1.0, len(golds))
    without_last = {id: text[:-1] for id, text in whole.items()}
    partly = mlqa(without_last, golds, "zh").f1
    assert 0.5 < partly < 1
    assert squad(without_last, golds, "zh").f1 < partly, "the SQuAD script does not segment"
