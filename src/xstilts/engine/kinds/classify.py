"""Sentence-pair classification: a dense-tanh-dropout-projection head on the first token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xstilts.engine.aggregation import states
from xstilts.metrics.classification import accuracy, majority_share
from xstilts.recipe import Recipe
from xstilts.tasks.task import Classify, Pair

COLLAPSED_SHARE = 0.99


def encode(
    kind: Classify, examples: Sequence[Pair], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise pairs; the longer segment loses tokens from its end first."""
    encoded = tokenizer(
        [prefix + example.first for example in examples],
        [prefix + example.second for example in examples],
        truncation="longest_first",
        max_length=max_tokens,
    )
    columns: dict[str, list[Any]] = {
        "ids": encoded["input_ids"],
        "lengths": [[len(ids)] for ids in encoded["input_ids"]],
        "label": [kind.labels.index(example.label) for example in examples],
    }
    if "token_type_ids" in encoded:
        columns["types"] = encoded["token_type_ids"]
    return columns


class Head(nn.Module):
    """RoBERTa's classification head (fairseq `RobertaClassificationHead`), for any encoder."""

    def __init__(self, hidden_size: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.projection = nn.Linear(hidden_size, num_labels)
        for layer in (self.dense, self.projection):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, first: Tensor) -> Tensor:
        """[E, H] vectors of the first token -> [E, C] logits."""
        return self.projection(self.dropout(torch.tanh(self.dense(self.dropout(first)))))


def head(kind: Classify, encoder: Any, tokenizer: Any, recipe: Recipe) -> Head:
    """A fresh head for the kind's labels, with the recipe's hidden dropout or else 0.1."""
    return Head(encoder.hidden_size, len(kind.labels), 0.1 if recipe.hidden_dropout is None else recipe.hidden_dropout)


def outputs(encoder: Any, head: Head, batch: Any) -> Tensor:
    """Logits [E, C]."""
    return head(states(encoder, head, batch, batch.starts[batch.first])).float()


def loss(encoder: Any, head: Head, batch: Any, rng: torch.Generator) -> Tensor:
    """Cross-entropy in nats, mean over examples."""
    return loss_of(outputs(encoder, head, batch), batch)


def loss_of(logits: Tensor, batch: Any) -> Tensor:
    """`loss` of logits [E, C]."""
    return nn.functional.cross_entropy(logits, batch.targets["label"])


def log_probabilities(logits: Tensor, batch: Any) -> tuple[Tensor, int]:
    """Of the labels of each example [E, C]; E."""
    return logits.log_softmax(1), batch.num_examples


def num_terms(batch: Any) -> int:
    """What the loss is a mean over: examples."""
    return int(batch.num_examples)


def uniform_loss(head: Head, batch: Any) -> float:
    """The loss of equally likely labels."""
    return math.log(head.projection.out_features)


def decode(encoder: Any, head: Head, batch: Any) -> dict[str, Tensor]:
    """Logits [E, C] and gold labels [E]."""
    return {"scores": outputs(encoder, head, batch), "gold": batch.targets["label"]}


def table(kind: Classify, columns: dict[str, np.ndarray], examples: Sequence[Pair] = ()) -> pa.Table:
    """A measurement's rows: gold and predicted label by name, logits in the order of ``kind.labels``."""
    scores = columns["scores"]
    return pa.table(
        {
            "row": pa.array(range(len(scores)), pa.int32()),
            "gold": [kind.labels[label] for label in columns["gold"]],
            "prediction": [kind.labels[label] for label in scores.argmax(1)],
            "scores": pa.array(list(scores), pa.list_(pa.float32())),
        }
    )


def dev_score(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Accuracy and collapse.

    *Collapsed* means that one class takes at least 99 % of the predictions while the gold labels are more mixed
    than that: the model stayed at the majority class.
    """
    predicted, gold = columns["scores"].argmax(1).tolist(), columns["gold"].tolist()
    share = majority_share(gold)
    return {
        "accuracy": accuracy(predicted, gold),
        "majority_share": share,
        "collapsed": majority_share(predicted) >= COLLAPSED_SHARE > share,
    }
