"""The embedded data: shapes, balance, separate splits, scripts, and no artefact that gives labels away."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import log

import pytest

from xstilts import miniature

FOREIGN = tuple(code for code in miniature.LANGUAGES if code != "en")
NLI_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different", "paraphrase")
NEGATION = {"no", "not", "nobody", "nothing", "never", "cannot", "without"}

ALL = [("nli", split, "en") for split in ("train", "dev")]
ALL += [("paraphrase", split, "en") for split in ("train", "dev")]
ALL += [("bitext", "test", language) for language in FOREIGN]
ALL += [("text", "train", language) for language in miniature.LANGUAGES]


def words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+", sentence.lower())


def sentences(name: str, split: str, language: str = "en") -> set[str]:
    return {text for row in miniature.rows(name, split, language) for key, text in row.items() if key != "label"}


def test_counts_and_columns() -> None:
    shapes = {
        (name, split, language): (len(rows), {tuple(row) for row in rows})
        for name, split, language in ALL
        for rows in [miniature.rows(name, split, language)]
    }
    nli, paraphrase = ("premise", "hypothesis", "label"), ("sentence1", "sentence2", "label")
    assert shapes["nli", "train", "en"] == (144, {nli})
    assert shapes["nli", "dev", "en"] == (36, {nli})
    assert shapes["paraphrase", "train", "en"] == (96, {paraphrase})
    assert shapes["paraphrase", "dev", "en"] == (24, {paraphrase})
    for language in FOREIGN:
        assert shapes["bitext", "test", language] == (100, {("first", "second")})
        assert shapes["text", "train", language] == (100, {("text",)})
    # 100 sentences of the bitext table, 48 hypotheses and 144 premises.
    assert shapes["text", "train", "en"] == (292, {("text",)})
    assert {name for name, _, _ in ALL} == set(miniature.NAMES)


@pytest.mark.parametrize(("name", "split", "language"), ALL)
def test_text_is_clean(name: str, split: str, language: str) -> None:
    for row in miniature.rows(name, split, language):
        for key, text in row.items():
            assert text, row
            assert text == " ".join(text.split()), row
            assert text == unicodedata.normalize("NFC", text), row
            assert all(char.isprintable() for char in text), row
            if key != "label":
                assert text[-1] in ".。", row
                assert text[0] == text[0].upper(), row


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_bitext_sentences_are_distinct(language: str) -> None:
    text = {row["text"] for row in miniature.rows("text", "train", language)}
    assert len(text) == len(miniature.rows("text", "train", language))
    column, other = ("second", FOREIGN[0]) if language == "en" else ("first", language)
    test = [row[column] for row in miniature.rows("bitext", "test", other)]
    assert len(set(test)) == len(test)
    assert not text & set(test)


def test_english_side_is_the_same_for_every_language_and_short() -> None:
    english = [[row["second"] for row in miniature.rows("bitext", "test", language)] for language in FOREIGN]
    assert all(side == english[0] for side in english)
    shared = miniature.rows("text", "train", "en")[:100]
    for sentence in english[0] + [row["text"] for row in shared]:
        assert 5 <= len(sentence.split()) <= 12, sentence


def test_retrieval_sentences_occur_nowhere_else() -> None:
    retrieval = {row["second"] for row in miniature.rows("bitext", "test", "de")}
    for name in ("nli", "paraphrase"):
        for split in ("train", "dev"):
            assert not retrieval & sentences(name, split), (name, split)


@pytest.mark.parametrize("name", ["nli", "paraphrase"])
def test_train_and_dev_share_no_sentence(name: str) -> None:
    assert not sentences(name, "train") & sentences(name, "dev")
    assert not sentences("text", "train") & sentences(name, "dev")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_labels_are_balanced_within_each_group(split: str) -> None:
    for name, key, labels in (
        ("nli", "hypothesis", NLI_LABELS),
        ("paraphrase", "sentence1", PARAPHRASE_LABELS),
    ):
        rows = miniature.rows(name, split, "en")
        groups = {row[key]: sorted(r["label"] for r in rows if r[key] == row[key]) for row in rows}
        assert all(found == sorted(labels) for found in groups.values()), name
        pairs = [tuple(row.values())[:2] for row in rows]
        assert len(set(pairs)) == len(pairs)
        assert all(first != second for first, second in pairs)


@pytest.mark.parametrize("language", miniature.LANGUAGES)
def test_script(language: str) -> None:
    # Names and dates are spelled in the script of the language, too.
    expected = {"ru": "CYRILLIC", "zh": "CJK UNIFIED"}.get(language, "LATIN")
    texts = [row["text"] for row in miniature.rows("text", "train", language)]
    if language != "en":
        texts += [row["first"] for row in miniature.rows("bitext", "test", language)]
    for text in texts:
        letters = [char for char in text if char.isalpha()]
        assert len(letters) >= 4
        assert all(unicodedata.name(char).startswith(expected) for char in letters), text
        assert text.endswith("。" if language == "zh" else "."), text


def naive_bayes_accuracy(name: str, column: str, labels: Sequence[str]) -> float:
    """Add-one multinomial naive Bayes on one column's words; a tie shares its point among the tied labels."""
    counts = {label: Counter[str]() for label in labels}
    for row in miniature.rows(name, "train", "en"):
        counts[row["label"]].update(words(row[column]))
    num_types = len(set().union(*counts.values()))
    points = []
    for row in miniature.rows(name, "dev", "en"):
        score = {
            label: sum(log((seen[word] + 1) / (seen.total() + num_types)) for word in words(row[column]))
            for label, seen in counts.items()
        }
        tied = [label for label in labels if score[label] > max(score.values()) - 1e-9]
        points.append(row["label"] in tied and 1 / len(tied))
    return sum(points) / len(points)


def test_one_side_alone_does_not_give_the_label_away() -> None:
    assert naive_bayes_accuracy("nli", "hypothesis", NLI_LABELS) < 0.5
    assert naive_bayes_accuracy("nli", "premise", NLI_LABELS) < 0.5
    assert naive_bayes_accuracy("paraphrase", "sentence1", PARAPHRASE_LABELS) < 0.65
    assert naive_bayes_accuracy("paraphrase", "sentence2", PARAPHRASE_LABELS) < 0.65


def test_negation_and_length_do_not_give_the_label_away() -> None:
    rows = [row for split in ("train", "dev") for row in miniature.rows("nli", split, "en")]
    per_label = {label: [words(row["premise"]) for row in rows if row["label"] == label] for label in NLI_LABELS}
    negated = [sum(bool(NEGATION & set(premise)) for premise in premises) for premises in per_label.values()]
    num_words = [sum(map(len, premises)) / len(premises) for premises in per_label.values()]
    assert min(negated) > 0
    assert max(negated) - min(negated) <= 5
    assert max(num_words) - min(num_words) < 0.5


def test_wrong_paraphrases_overlap_as_much_as_right_ones() -> None:
    rows = [row for split in ("train", "dev") for row in miniature.rows("paraphrase", split, "en")]
    overlap: dict[str, list[float]] = {label: [] for label in PARAPHRASE_LABELS}
    for row in rows:
        first, second = set(words(row["sentence1"])), set(words(row["sentence2"]))
        overlap[row["label"]].append(len(first & second) / len(first | second))
    mean = {label: sum(values) / len(values) for label, values in overlap.items()}
    assert mean["different"] > 0.7
    assert abs(mean["different"] - mean["paraphrase"]) < 0.05


def test_rows_are_the_callers_own_and_in_a_fixed_order() -> None:
    first = miniature.rows("nli", "train", "en")
    kept = [dict(row) for row in first]
    first[0]["label"] = "changed"
    first.reverse()
    assert miniature.rows("nli", "train", "en") == kept


def test_fingerprint_follows_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = miniature.fingerprint()
    assert re.fullmatch(r"[0-9a-f]{20}", known)
    read = miniature._read
    for changed in miniature._TABLES:
        monkeypatch.setattr(miniature, "_read", lambda file, changed=changed: read(file) + b" " * (file == changed))
        assert miniature.fingerprint.__wrapped__() != known
    monkeypatch.setattr(miniature, "_read", read)
    assert miniature.fingerprint.__wrapped__() == known


@pytest.mark.parametrize(
    ("name", "split", "language", "message"),
    [
        ("nlii", "train", "en", "unknown miniature 'nlii': expected one of nli, paraphrase, bitext, text"),
        ("nli", "test", "en", "unknown split of the miniature 'nli' 'test': expected one of train, dev"),
        ("bitext", "dev", "de", "expected one of test"),
        (
            "paraphrase",
            "train",
            "de",
            "unknown language of the miniature 'paraphrase' 'de': expected one of en",
        ),
        ("bitext", "test", "en", "expected one of de, fr, es, ru, tr, zh"),
        ("text", "train", "it", "expected one of en, de, fr, es, ru, tr, zh"),
    ],
)
def test_unknown_names_are_refused(name: str, split: str, language: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        miniature.rows(name, split, language)
