"""Sequence labelling: F1 over the entities of tag sequences as seqeval counts it, and token accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from xstilts.spec import one_of

from .classification import f1_of

VERSION = 2  # 2: a score has F1 by every version of seqeval
COMPATS = ("seqeval-0.0.12", "seqeval-1.2.2")

Tags = Sequence[Sequence[str]]


class Entity(NamedTuple):
    """A run of tags; positions count all sentences' tags and one place after each sentence."""

    type: str
    first: int
    last: int


class SpanF1(NamedTuple):
    """Micro-averaged F1 over entities with what it rests on.

    Attributes:
        f1: harmonic mean of precision and recall, in [0, 1]; 0 when there is nothing right, as in seqeval.
        precision: share of the predicted entities that are gold ones.
        recall: share of the gold entities that are predicted.
        num_examples: number of sentences.
        num_gold: number of gold entities.
        num_predicted: number of predicted entities.
        num_correct: number of entities that are in both with the same type, beginning and end.
    """

    f1: float
    precision: float
    recall: float
    num_examples: int
    num_gold: int
    num_predicted: int
    num_correct: int

    @property
    def value(self) -> float:
        """F1, the number that XTREME averages."""
        return self.f1


class TokenAccuracy(NamedTuple):
    """The share of right tags.

    Attributes:
        value: share of the tokens whose tag is the gold one, in [0, 1].
        num_examples: number of sentences.
        num_tokens: number of tokens.
    """

    value: float
    num_examples: int
    num_tokens: int


def span_f1(predictions: Tags, golds: Tags, *, compat: str = "seqeval-0.0.12") -> SpanF1:
    """Score tag sequences by their entities, as XTREME scores PAN-X and UDPOS and jiant both.

    XTREME's ``evaluate.py`` calls ``f1_score(labels, predictions)`` of whatever seqeval is installed (it gives
    percent); jiant pins 0.0.12. For IOB2 tags the two versions agree. For part-of-speech tags they do not: see
    `entities`. Neither is token accuracy, which XTREME's paper names for UDPOS.

    Args:
        predictions: for each sentence the predicted tags.
        golds: for each sentence the gold tags, as many.
        compat: the version of seqeval to agree with, one of ``COMPATS``.

    Raises:
        ValueError: for no sentences, other lengths, an empty tag or an unknown ``compat``.
    """
    one_of("compat", compat, COMPATS)
    _check("span F1", predictions, golds)
    predicted, gold = set(entities(predictions, compat)), set(entities(golds, compat))
    correct = len(predicted & gold)
    scores = f1_of(correct, len(predicted), len(gold))
    return SpanF1(*scores, len(golds), len(gold), len(predicted), correct)


def accuracy(predictions: Tags, golds: Tags) -> TokenAccuracy:
    """The share of tokens with the gold tag over all sentences (seqeval's ``accuracy_score``).

    Raises:
        ValueError: for no tokens, other lengths or an empty tag.
    """
    _check("token accuracy", predictions, golds)
    pairs = zip(itertools.chain(*predictions), itertools.chain(*golds), strict=True)
    right = [predicted == gold for predicted, gold in pairs]
    if not right:
        raise ValueError("token accuracy: expected at least one token, got none")
    return TokenAccuracy(sum(right) / len(right), len(golds), len(right))


def entities(sentences: Tags, compat: str) -> list[Entity]:
    """The entities of tag sequences, as ``get_entities`` of seqeval's default mode finds them.

    A tag's first letter is its prefix, and the rules of conlleval go by prefix and type: B and S begin, E and S end,
    a change of type ends and begins, I and E begin where nothing is open. Malformed sequences are read leniently.
    Consequences for tags without prefixes: a run of equal tags is one entity, except where the tag begins with S, B
    or E (SCONJ, SYM); a tag that begins with O or a full stop is no entity.

    The versions differ in the type of a tag:

    * ``seqeval-0.0.12``: what follows the last hyphen, the whole tag without one.
    * ``seqeval-1.2.2``: what follows the first letter up to the first hyphen, and "_" for nothing. NOUN is OUN.
      SCONJ and CCONJ are both CONJ: a CCONJ right before an SCONJ is no entity, one right after it begins with it.
      O, X and "_" are all "_": an X after an O, or in the beginning of any sentence but the first, begins where the
      entity before it did, and an X before an O or in the end of a sentence is no entity, so that the order of the
      sentences matters.
    """
    found = []
    prefix, type_, first = "O", "", 0
    for position, tag in enumerate(itertools.chain.from_iterable((*sentence, "O") for sentence in sentences)):
        before, type_before = prefix, type_
        prefix = tag[0]
        type_ = tag.split("-")[-1] if compat == "seqeval-0.0.12" else tag[1:].split("-", 1)[-1] or "_"
        changed = type_ != type_before
        if before in "ES" or (before in "BI" and prefix in "BSO") or (before not in "O." and changed):
            found.append(Entity(type_before, first, position - 1))
        if prefix in "BS" or (before in "ESO" and prefix in "EI") or (prefix not in "O." and changed):
            first = position
    return found


def _check(what: str, predictions: Tags, golds: Tags) -> None:
    if len(predictions) != len(golds) or not len(golds):
        raise ValueError(
            f"{what}: expected as many predicted as gold sentences, at least one, got {len(predictions)} and "
            f"{len(golds)}"
        )
    for number, (predicted, gold) in enumerate(zip(predictions, golds, strict=True)):
        if len(predicted) != len(gold):
            raise ValueError(f"{what}: sentence {number}: got {len(predicted)} predicted and {len(gold)} gold tags")
        if not all(predicted) or not all(gold):
            raise ValueError(f"{what}: sentence {number}: expected a tag for every token, got an empty one")
