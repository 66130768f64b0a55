"""Span F1 and token accuracy against pinned cases of both versions of seqeval, brute force and properties."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts import metrics
from xstilts.metrics.spans import COMPATS, accuracy, entities, span_f1

OLD, NEW = COMPATS
# Of CCONJ, X and _ the new version loses track; the pinned cases say how.
UD = ["ADJ", "ADP", "AUX", "DET", "INTJ", "NOUN", "NUM", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB"]
IOB = ["O", *(f"{prefix}-{type_}" for prefix in "BIES" for type_ in ("PER", "LOC"))]

# gold, predicted, F1 as seqeval 0.0.12 and as seqeval 1.2.2 give it
PINNED = {
    "SCONJ and CCONJ are one type from 1.0 on": ("NOUN SCONJ VERB", "NOUN CCONJ VERB", 2 / 3, 1.0),
    "a run of equal tags is one entity": ("NOUN NOUN VERB", "NOUN VERB VERB", 0.0, 0.0),
    "but not of tags that begin with S": ("SCONJ SCONJ", "SCONJ NOUN", 1 / 2, 1 / 2),
    "a CCONJ before an SCONJ is lost": ("CCONJ SCONJ", "NOUN SCONJ", 1 / 2, 2 / 3),
    "X in the end of a sentence is lost": ("NOUN X", "NOUN VERB", 1 / 2, 2 / 3),
    "X and _ are one type": ("NOUN X NOUN", "NOUN _ NOUN", 2 / 3, 1.0),
    "an entity may begin with I": ("B-PER I-PER O", "I-PER I-PER O", 1.0, 1.0),
    "a change of type begins one": ("B-PER I-LOC", "B-PER B-LOC", 1.0, 1.0),
    "B begins one of the same type": ("B-PER B-PER", "B-PER I-PER", 0.0, 0.0),
    "I after E and after S begins one": ("B-PER E-PER I-PER S-LOC I-LOC", "B-PER I-PER S-PER S-LOC B-LOC", 1.0, 1.0),
    "a hyphen in a type": ("B-A-B I-C-B", "B-A-B I-A-B", 1.0, 0.0),
    "wrong type": ("B-PER I-PER O B-LOC", "B-PER I-PER O B-ORG", 1 / 2, 1 / 2),
    "wrong end, one more, one less": ("B-PER I-PER O O B-LOC", "B-PER O B-ORG O B-LOC", 2 / 5, 2 / 5),
    "nothing there, nothing found": ("O O", "O O", 0.0, 0.0),
    "O ends a B of its own type": ("B O NOUN", "B O VERB", 1 / 2, 1 / 2),
    "a full stop is no entity": ("B-PER . .", "B-PER . I-PER", 2 / 3, 2 / 3),
}


@pytest.mark.parametrize("case", PINNED)
def test_f1_of_both_versions_by_hand(case: str) -> None:
    gold, predicted, old, new = PINNED[case]
    assert span_f1([predicted.split()], [gold.split()], compat=OLD).f1 == pytest.approx(old, abs=1e-15)
    assert span_f1([predicted.split()], [gold.split()], compat=NEW).f1 == pytest.approx(new, abs=1e-15)


def test_all_numbers_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG"], ["O"]]
    predicted = [["B-PER", "I-PER", "B-PER", "B-LOC"], ["I-LOC"], ["O"]]
    found = span_f1(predicted, gold)
    assert found == (pytest.approx(4 / 7), 2 / 4, 2 / 3, 3, 3, 4, 2)
    assert found.value == found.f1
    assert accuracy(predicted, gold) == (4 / 6, 3, 6)
    assert accuracy([["NOUN", "CCONJ", "VERB"]], [["NOUN", "SCONJ", "VERB"]]).value == 2 / 3


def test_an_x_after_an_o_begins_where_the_entity_before_it_did() -> None:
    assert entities([["NOUN"], ["X", "NOUN"]], NEW) == [("OUN", 0, 0), ("_", 0, 2), ("OUN", 3, 3)]
    assert entities([["NOUN"], ["X", "NOUN"]], OLD) == [("NOUN", 0, 0), ("X", 2, 2), ("NOUN", 3, 3)]


def test_where_sconj_and_cconj_meet_the_new_version_keeps_one_beginning() -> None:
    assert entities([["CCONJ", "SCONJ"]], NEW) == [("CONJ", 1, 1)]
    assert entities([["SCONJ", "CCONJ"]], NEW) == [("CONJ", 0, 0), ("CONJ", 0, 1)]
    assert entities([["SCONJ", "CCONJ"]], OLD) == [("SCONJ", 0, 0), ("CCONJ", 1, 1)]


def test_a_full_stop_begins_nothing() -> None:
    assert entities([["B-A", ".", "I-."]], OLD) == [("A", 0, 0), (".", 0, 2)]


def test_the_order_of_sentences_matters_to_the_new_version_alone_and_for_x_alone() -> None:
    gold, predicted = [["NOUN", "NOUN"], ["X", "VERB"]], [["NOUN", "VERB"], ["X", "VERB"]]
    assert span_f1(predicted, gold, compat=NEW).f1 == pytest.approx(2 / 7)
    assert span_f1(predicted[::-1], gold[::-1], compat=NEW).f1 == pytest.approx(4 / 7)
    assert span_f1(predicted, gold, compat=OLD) == span_f1(predicted[::-1], gold[::-1], compat=OLD)


def brute_force(sentences: list[list[str]], compat: str) -> set[tuple[int, str, int, int]]:
    """Entities sentence by sentence: cut a sentence wherever one may not go on, drop what is outside."""

    def type_of(tag: str) -> str:
        if tag[:2] in ("B-", "I-", "E-", "S-"):
            return tag[2:]
        return tag if compat == OLD else tag[1:]

    found = set()
    for number, tags in enumerate(sentences):
        first = 0
        for stop in range(1, len(tags) + 1):
            last = tags[stop - 1]
            if stop == len(tags) or type_of(tags[stop]) != type_of(last) or tags[stop][0] in "BS" or last[0] in "ES":
                if last != "O":
                    found.add((number, type_of(last), first, stop - 1))
                first = stop
    return found


def corpora(tags: list[str]) -> st.SearchStrategy[list[list[tuple[str, str]]]]:
    pair = st.tuples(st.sampled_from(tags), st.sampled_from(tags))
    return st.lists(st.lists(pair | st.sampled_from(tags).map(lambda tag: (tag, tag)), max_size=8), min_size=1)


@pytest.mark.parametrize("compat", COMPATS)
@given(corpus=corpora(UD) | corpora(IOB) | corpora(["O", "B-PER", "I-PER"]), rng=st.randoms(use_true_random=False))
def test_f1_equals_brute_force_in_any_order(
    compat: str, corpus: list[list[tuple[str, str]]], rng: random.Random
) -> None:
    predicted, gold = ([[pair[side] for pair in sentence] for sentence in corpus] for side in (0, 1))
    ours, right = brute_force(predicted, compat), brute_force(gold, compat)
    correct = len(ours & right)
    found = span_f1(predicted, gold, compat=compat)
    assert found[3:] == (len(corpus), len(right), len(ours), correct)
    assert found.f1 == pytest.approx(2 * correct / (len(ours) + len(right)) if correct else 0.0, abs=1e-15)
    order = rng.sample(range(len(corpus)), len(corpus))
    shuffled = span_f1([predicted[i] for i in order], [gold[i] for i in order], compat=compat)
    assert shuffled == found
    swapped = span_f1(gold, predicted, compat=compat)
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        ([], [], "at least one, got 0 and 0"),
        ([["O"]], [["O"], ["O"]], "got 1 and 2"),
        ([["O"], ["O"]], [["O"], ["O", "O"]], "sentence 1: got 1 predicted and 2 gold tags"),
        ([["O", ""]], [["O", "O"]], "sentence 0: expected a tag for every token"),
    ],
)
@pytest.mark.parametrize("function", [span_f1, accuracy])
def test_what_does_not_fit_is_refused(function: object, predicted: object, gold: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(predicted, gold)  # type: ignore[operator]


def test_no_tokens_have_no_accuracy_and_a_version_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        accuracy([[]], [[]])
    with pytest.raises(ValueError, match=r"unknown compat 'seqeval-1\.2'.*did you mean 'seqeval-1\.2\.2'"):
        span_f1([["O"]], [["O"]], compat="seqeval-1.2")


def test_the_registry_has_both_and_names_the_option() -> None:
    assert metrics.find("tag", "span-f1").options == {"compat": OLD}
    assert metrics.find("tag", "accuracy").options == {}
    assert metrics.find("tag", "span-f1").function is span_f1


@pytest.mark.parametrize("name", ["dev-de.tsv.gz", "dev-ar.tsv.gz"])
def test_real_entities_are_as_many_as_begin(data_dir: Path, name: str) -> None:
    path = data_dir / "panx" / name
    if not path.is_file():
        pytest.skip(f"no file {path}")
    blocks = gzip.decompress(path.read_bytes()).decode().strip().split("\n\n")
    gold = [[line.rsplit("\t", 1)[1] for line in block.split("\n")] for block in blocks]
    begins = sum(tag.startswith("B-") for tags in gold for tag in tags)
    assert begins > 100
    for compat in COMPATS:
        assert span_f1(gold, gold, compat=compat) == (1.0, 1.0, 1.0, len(gold), begins, begins, begins)
