"""Tagging of words: a dropout-projection head on the first piece of every word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xstilts.engine.aggregation import states
from xstilts.engine.lists import Lists
from xstilts.metrics.classification import accuracy, majority_share
from xstilts.recipe import Recipe
from xstilts.tasks.task import Tag, Tokens

from .classify import COLLAPSED_SHARE
from .frame import Frame

IGNORED = -100


def encode(
    kind: Tag, examples: Sequence[Tokens], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise words joined by spaces; ``label`` is set at the first piece of each word, `IGNORED` elsewhere.

    In this way a word begins as the tokenizer itself begins words, whatever its kind; the pieces are those of
    ``is_split_into_words`` where that exists. As in XTREME's ``third_party/utils_tag.py``, a word of which the
    tokenizer leaves nothing, such as a control character, is the unknown token. A sentence of more than
    ``max_tokens`` is several sequences, cut between words as XTREME's ``utils_preprocess.py`` cuts them (jiant
    loses the rest); only a word that is too long by itself loses pieces, never its first.

    Raises:
        ValueError: for a prefix, or a word without pieces where the tokenizer has no unknown token.
    """
    if prefix:
        raise ValueError(f"prefix is {prefix!r}: expected none for words with tags")
    frame = Frame.of(tokenizer, 1)
    room = frame.room(max_tokens)
    texts = [" ".join(example.words) for example in examples]
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    columns: dict[str, list[Any]] = {"ids": [], "lengths": [], "label": []}
    if frame.special_types is not None:
        columns["types"] = []
    for number, example in enumerate(examples):
        ids, word = _pieces(example.words, encoded["input_ids"][number], encoded["offset_mapping"][number], tokenizer)
        counts = np.bincount(word, minlength=len(example.words))
        nth = np.arange(len(word)) - np.repeat(np.cumsum(counts) - counts, counts)  # of its word's pieces
        label = np.array([kind.labels.index(tag) for tag in example.tags], dtype=np.int16)[word]
        label = np.where(nth == 0, label, np.int16(IGNORED))
        fits = nth < room
        ids, label = ids[fits], label[fits]
        cuts = _cuts(np.minimum(counts, room), room)
        sequences = [frame.ids(part) for part in np.split(ids, cuts)]
        labels = [frame.column(part, special=IGNORED) for part in np.split(label, cuts)]
        columns["ids"].append(np.concatenate(sequences))
        columns["lengths"].append([len(sequence) for sequence in sequences])
        columns["label"].append(np.concatenate(labels))
        if "types" in columns:
            columns["types"].append(np.concatenate([frame.types(len(part)) for part in np.split(ids, cuts)]))
    return columns


def _pieces(
    words: Sequence[str], ids: Sequence[int], offsets: Sequence[tuple[int, int]], tokenizer: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [p] of joined words and the word of each [p], in order and every word at least once.

    A piece belongs to the word that it begins in, or that follows when it begins with the space between two.
    """
    ends = np.cumsum([len(word) + 1 for word in words]) - 1  # [W] in characters of the joined words
    begins = np.array([begin for begin, _ in offsets], dtype=np.int64)
    word = np.searchsorted(ends, begins, side="right")
    word = np.maximum.accumulate(word) if len(word) else word
    kept = word < len(words)
    pieces, word = np.array(ids, dtype=np.int32)[kept], word[kept]
    missing = np.setdiff1d(np.arange(len(words)), word)
    if len(missing):
        if tokenizer.unk_token_id is None:
            raise ValueError(f"the tokenizer leaves nothing of the word {words[missing[0]]!r} and has no unknown token")
        places = np.searchsorted(word, missing)
        pieces, word = np.insert(pieces, places, tokenizer.unk_token_id), np.insert(word, places, missing)
    return pieces, word


def _cuts(counts: np.ndarray, room: int) -> list[int]:
    """Where to cut pieces into sequences of at most ``room``, between words of so many pieces."""
    cuts, start, at = [], 0, 0
    for count in counts.tolist():
        if at + count - start > room:
            cuts.append(at)
            start = at
        at += count
    return cuts


class Head(nn.Module):
    """Dropout and a projection, as transformers' ``XLMRobertaForTokenClassification``, for any encoder."""

    def __init__(self, hidden_size: int, num_scores: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden_size, num_scores)
        nn.init.normal_(self.projection.weight, std=0.02)
        nn.init.zeros_(self.projection.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[.., H] states -> [.., C] logits in float32."""
        return self.projection(self.dropout(hidden)).float()


def head(kind: Tag, encoder: Any, tokenizer: Any, recipe: Recipe) -> Head:
    """A fresh head for the kind's labels, with the recipe's hidden dropout or else 0.1."""
    return Head(encoder.hidden_size, len(kind.labels), 0.1 if recipe.hidden_dropout is None else recipe.hidden_dropout)


def _logits(encoder: Any, head: Head, batch: Any) -> tuple[Tensor, Tensor]:
    """Logits [W, C] of all words and where their first pieces are [W], in the order of the examples."""
    where = (batch.targets["label"] != IGNORED).nonzero().squeeze(1)
    where = where[batch.segment[where].argsort(stable=True)]
    return head(states(encoder, head, batch, where)), where


def loss(encoder: Any, head: Head, batch: Any, rng: torch.Generator) -> Tensor:
    """Cross-entropy in nats, mean over the words of the batch."""
    return loss_of(outputs(encoder, head, batch), batch)


def outputs(encoder: Any, head: Head, batch: Any) -> Tensor:
    """Logits [T, C], of all tokens."""
    return head(states(encoder, head, batch))


def loss_of(logits: Tensor, batch: Any) -> Tensor:
    """`loss` of logits [T, C]."""
    return nn.functional.cross_entropy(logits, batch.targets["label"], ignore_index=IGNORED)


def log_probabilities(logits: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
    """Of the labels of each word [T, C], 0 where no word begins; how many words."""
    words = batch.targets["label"] != IGNORED  # [T]
    return logits.log_softmax(1).where(words[:, None], 0.0), words.sum()


def num_terms(batch: Any) -> int:
    """What the loss is a mean over: words."""
    return int((batch.targets["label"] != IGNORED).sum())


def uniform_loss(head: Head, batch: Any) -> float:
    """The loss of equally likely tags."""
    return math.log(head.projection.out_features)


def decode(encoder: Any, head: Head, batch: Any) -> dict[str, Lists]:
    """For each word of each example the predicted and the gold label, and the logit of the predicted one."""
    logits, where = _logits(encoder, head, batch)
    score, prediction = logits.max(1)
    lengths = torch.bincount(batch.example[batch.segment[where]], minlength=batch.num_examples)
    columns = {"prediction": prediction, "gold": batch.targets["label"][where], "score": score}
    return {name: Lists(values, lengths) for name, values in columns.items()}


def table(kind: Tag, columns: dict[str, Any], examples: Sequence[Tokens]) -> pa.Table:
    """A measurement's rows: one a sentence, with gold and predicted tags by name, one for every word."""
    named = np.array(kind.labels, dtype=object)
    return pa.table(
        {
            "row": pa.array(range(len(examples)), pa.int32()),
            "gold": pa.array([named[labels] for labels in columns["gold"]], pa.list_(pa.string())),
            "prediction": pa.array([named[labels] for labels in columns["prediction"]], pa.list_(pa.string())),
        }
    )


def dev_score(columns: dict[str, Any]) -> dict[str, Any]:
    """Accuracy over words; *collapsed* as for classification, with words in the place of examples."""
    predicted, gold = (np.concatenate(columns[name]).tolist() for name in ("prediction", "gold"))
    share = majority_share(gold)
    return {
        "accuracy": accuracy(predicted, gold),
        "majority_share": share,
        "collapsed": majority_share(predicted) >= COLLAPSED_SHARE > share,
    }
