"""Extractive question answering: exact match and F1 of answer texts, as each data set's own script has them."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from xstilts.spec import near, one_of

from .classification import f1_of

VERSION = 1

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MLQA_ARTICLES: dict[str, re.Pattern[str] | None] = {
    "en": _ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "hi": None,
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    # The script's other alternative, "\sال^", can match nowhere; the article goes inside words, too.
    "ar": re.compile("ال"),
    "zh": None,
}
_CHINESE_CHARACTER = re.compile(r"([\u4e00-\u9fa5])")

Predictions = Mapping[str, str]
Golds = Mapping[str, Sequence[str]]


class Answers(NamedTuple):
    """Means over questions.

    Attributes:
        exact_match: share of the questions whose normalised answer is a gold one, in [0, 1].
        f1: mean over questions of the best F1 of the answer's tokens with a gold answer's, in [0, 1].
        num_examples: number of questions.
    """

    exact_match: float
    f1: float
    num_examples: int

    @property
    def value(self) -> float:
        """The number that XTREME averages (``evaluate.py``): the mean of exact match and F1."""
        return (self.exact_match + self.f1) / 2


class AnswersAndRefusals(NamedTuple):
    """Means over questions of which some have no answer; a breakdown without questions is ``None``.

    Attributes:
        exact_match: as in `Answers`, over all questions; the script's ``exact``.
        f1: as in `Answers`, over all questions.
        num_examples: number of questions.
        has_answer_exact_match: over the questions with an answer; the script's ``HasAns_exact``.
        has_answer_f1: ``HasAns_f1``.
        num_has_answer: ``HasAns_total``.
        no_answer_exact_match: over the questions without one; ``NoAns_exact``.
        no_answer_f1: ``NoAns_f1``.
        num_no_answer: ``NoAns_total``.
    """

    exact_match: float
    f1: float
    num_examples: int
    has_answer_exact_match: float | None
    has_answer_f1: float | None
    num_has_answer: int
    no_answer_exact_match: float | None
    no_answer_f1: float | None
    num_no_answer: int

    @property
    def value(self) -> float:
        """The mean of exact match and F1, as for every question-answering task."""
        return (self.exact_match + self.f1) / 2


def squad(predictions: Predictions, golds: Golds, language: str) -> Answers:
    """Score answers as SQuAD v1.1's ``evaluate-v1.1.py``, which gives percent.

    Both sides lose case, then the 32 ASCII punctuation marks, then the words a, an and the, and are split at white
    space; exact match compares the token lists, F1 their multisets; the best gold answer counts. XTREME scores XQuAD
    and TyDiQA-GoldP by this in every language (``third_party/evaluate_squad.py``): Chinese and Thai are not
    segmented, so that their F1 is near exact match. When nothing is left of an answer, F1 is 0 even on exact match.

    Args:
        predictions: answer by question id.
        golds: the gold answers by question id, at least one each.
        language: of the answers; the script treats every language alike.

    Raises:
        ValueError: for no questions, ids that are not the same (the script scores what is missing 0 and passes
            over what is unknown), or a question without a gold answer.
    """
    return _answers("squad", predictions, golds, _squad_tokens)


def mlqa(predictions: Predictions, golds: Golds, language: str) -> Answers:
    """Score answers as MLQA's ``mlqa_evaluation_v1.py``, which gives percent.

    As `squad`, but every character of a Unicode category P is punctuation, too, the articles are the language's own
    (none in Hindi and Chinese; in Arabic "ال" anywhere), and each Chinese character (U+4E00 to U+9FA5) is a token.

    Args:
        predictions: answer by question id.
        golds: the gold answers by question id, at least one each.
        language: of the context and so of the answers: en, es, hi, vi, de, ar or zh.

    Raises:
        ValueError: for another language, and as `squad`.
    """
    one_of("language of MLQA", language, _MLQA_ARTICLES)
    return _answers("mlqa", predictions, golds, lambda text: _mlqa_tokens(text, language))


def characters(predictions: Predictions, golds: Golds, language: str) -> Answers:
    """Score answers by their characters: a measure of our own for languages written without spaces.

    No official script does this. Texts are brought to NFKC and lower case and lose white space, control and format
    characters and punctuation (that of `mlqa`); a token is a character with the combining marks that follow it, so
    that a Thai or Devanagari syllable's vowel signs are not matched on their own. Articles stay.

    Args:
        predictions: answer by question id.
        golds: the gold answers by question id, at least one each.
        language: of the answers; every language is treated alike.

    Raises:
        ValueError: as `squad`.
    """
    return _answers("characters", predictions, golds, _characters)


def squad_v2(predictions: Predictions, golds: Golds, language: str) -> AnswersAndRefusals:
    """Score answers and refusals as SQuAD v2.0's ``evaluate-v2.0.py``, which gives percent.

    That is the script without its optional no-answer probabilities: an empty answer is the refusal.
    Normalised as in `squad`. Gold answers of which normalising leaves nothing are passed over, and where none is
    left the right answer is the empty one; against an empty answer F1 is 1 for another empty one and 0 otherwise.
    The breakdown goes by whether the data have an answer.

    Args:
        predictions: answer by question id, "" for none.
        golds: the gold answers by question id, none for questions that the paragraph does not answer.
        language: of the answers; the script treats every language alike.

    Raises:
        ValueError: for no questions, or ids that are not the same (the script averages over what is predicted).
    """
    _check_ids("squad-v2", predictions, golds)
    scores: dict[bool, list[tuple[bool, float]]] = {True: [], False: []}
    for id, texts in golds.items():
        answers = [tokens for text in texts if (tokens := _squad_tokens(text))] or [[]]
        scores[bool(texts)].append(_best(_squad_tokens(predictions[id]), answers, of_nothing=1.0))
    answered, refused = (_mean(scores[has]) if scores[has] else None for has in (True, False))
    return AnswersAndRefusals(
        *_mean([*scores[True], *scores[False]]),
        *(answered or (None, None, 0)),
        *(refused or (None, None, 0)),
    )


def _answers(what: str, predictions: Predictions, golds: Golds, tokens: Callable[[str], list[str]]) -> Answers:
    _check_ids(what, predictions, golds)
    scores = []
    for id, texts in golds.items():
        if not texts:
            raise ValueError(f"{what}: question {id!r}: expected at least one gold answer, got none")
        scores.append(_best(tokens(predictions[id]), [tokens(text) for text in texts], of_nothing=0.0))
    return _mean(scores)


def _check_ids(what: str, predictions: Predictions, golds: Golds) -> None:
    if not golds:
        raise ValueError(f"{what}: expected at least one question, got none")
    if missing := golds.keys() - predictions.keys():
        raise ValueError(f"{what}: {len(missing)} of {len(golds)} questions have no prediction, {min(missing)!r} first")
    if unknown := predictions.keys() - golds.keys():
        id = min(unknown)
        raise ValueError(f"{what}: {len(unknown)} predictions are for unknown questions, {id!r} first{near(id, golds)}")


def _best(predicted: list[str], golds: list[list[str]], of_nothing: float) -> tuple[bool, float]:
    """Exact match and F1 with the best gold answer; F1 is ``of_nothing`` where both have no tokens."""
    f1 = max(_f1(predicted, gold) if predicted or gold else of_nothing for gold in golds)
    return predicted in golds, f1


def _f1(predicted: list[str], gold: list[str]) -> float:
    return f1_of((Counter(predicted) & Counter(gold)).total(), len(predicted), len(gold))[0]


def _mean(scores: Sequence[tuple[bool, float]]) -> Answers:
    exact, f1 = zip(*scores, strict=True)
    return Answers(sum(exact) / len(scores), math.fsum(f1) / len(scores), len(scores))


def _squad_tokens(text: str) -> list[str]:
    return _ENGLISH_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split()


def _mlqa_tokens(text: str, language: str) -> list[str]:
    text = "".join(character for character in text.lower() if not _is_punctuation(character))
    articles = _MLQA_ARTICLES[language]
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        text = _CHINESE_CHARACTER.sub(r" \1 ", text)
    return text.split()


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character)[0] == "P"


def _characters(text: str) -> list[str]:
    def joined() -> Iterator[str]:
        open_ = ""
        for character in unicodedata.normalize("NFKC", text).lower():
            category = unicodedata.category(character)[0]
            if category in "ZC" or _is_punctuation(character):
                continue
            if category != "M" and open_:
                yield open_
                open_ = ""
            open_ += character
        if open_:
            yield open_

    return list(joined())
