"""Multiple choice: every choice a sequence with the prompt, a dropout-projection head on its first token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xstilts.engine.aggregation import states
from xstilts.engine.lists import Lists, logsumexp_by
from xstilts.metrics.classification import accuracy
from xstilts.recipe import Recipe
from xstilts.tasks.task import Choices, Choose

from . import tag
from .classify import COLLAPSED_SHARE
from .classify import num_terms as num_terms

EVEN = 0.01


def encode(
    kind: Choose, examples: Sequence[Choices], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise (prompt, choice) pairs, one sequence for each choice; the longer segment loses its end first."""
    pairs = [(prefix + example.prompt, choice) for example in examples for choice in example.choices]
    encoded = tokenizer(
        [prompt for prompt, _ in pairs],
        [choice for _, choice in pairs],
        truncation="longest_first",
        max_length=max_tokens,
    )
    columns: dict[str, list[Any]] = {"ids": [], "lengths": [], "label": [example.label for example in examples]}
    names = {"ids": "input_ids", "types": "token_type_ids"}
    columns |= {name: [] for name, theirs in names.items() if theirs in encoded}
    start = 0
    for example in examples:
        stop = start + len(example.choices)
        for name in columns.keys() & names.keys():
            columns[name].append(
                np.concatenate([np.array(s, dtype=np.int32) for s in encoded[names[name]][start:stop]])
            )
        columns["lengths"].append([len(ids) for ids in encoded["input_ids"][start:stop]])
        start = stop
    return columns


def head(kind: Choose, encoder: Any, tokenizer: Any, recipe: Recipe) -> tag.Head:
    """A fresh head that gives one score, with the recipe's hidden dropout or else 0.1."""
    return tag.Head(encoder.hidden_size, 1, 0.1 if recipe.hidden_dropout is None else recipe.hidden_dropout)


def outputs(encoder: Any, head: tag.Head, batch: Any) -> Tensor:
    """A score for each choice, [N]."""
    return head(states(encoder, head, batch, batch.starts)).squeeze(1)


def loss(encoder: Any, head: tag.Head, batch: Any, rng: torch.Generator) -> Tensor:
    """Cross-entropy in nats of a softmax over the choices of an example, however many; mean over examples."""
    return loss_of(outputs(encoder, head, batch), batch)


def loss_of(scores: Tensor, batch: Any) -> Tensor:
    """`loss` of scores [N]."""
    right = batch.first + batch.targets["label"]  # [E]
    total = logsumexp_by(scores, batch.example, batch.num_examples + 1)[:-1]  # the last group is what only fills
    return (total - scores[right]).mean()


def log_probabilities(scores: Tensor, batch: Any) -> tuple[Tensor, int]:
    """Of the choices of each example [N], 0 for what only fills; E."""
    total = logsumexp_by(scores, batch.example, batch.num_examples + 1)
    real = batch.example < batch.num_examples  # [N]
    return (scores - total[batch.example]).where(real, 0.0), batch.num_examples


def uniform_loss(head: tag.Head, batch: Any) -> Tensor:
    """The loss of equally likely choices, []."""
    ones = torch.ones(len(batch.example), device=batch.example.device)
    counts = torch.zeros(batch.num_examples + 1, device=ones.device).index_add(0, batch.example, ones)
    return counts[:-1].log().mean()


def decode(encoder: Any, head: tag.Head, batch: Any) -> dict[str, Tensor | Lists]:
    """The scores of each example's choices and the index of the right one [E]."""
    lengths = torch.bincount(batch.example, minlength=batch.num_examples)
    return {"scores": Lists(outputs(encoder, head, batch), lengths), "gold": batch.targets["label"]}


def table(kind: Choose, columns: dict[str, Any], examples: Sequence[Choices]) -> pa.Table:
    """A measurement's rows: index of the right and of the best choice (of equal ones the first), and all scores."""
    return pa.table(
        {
            "row": pa.array(range(len(examples)), pa.int32()),
            "gold": pa.array(columns["gold"], pa.int32()),
            "prediction": pa.array([int(scores.argmax()) for scores in columns["scores"]], pa.int32()),
            "scores": pa.array(columns["scores"], pa.list_(pa.float32())),
        }
    )


def dev_score(columns: dict[str, Any]) -> dict[str, Any]:
    """Accuracy, and ``chance``: the mean of 1/n over examples of n choices.

    *Collapsed* means that the model does not tell the choices apart: in at least 99 % of the examples even the
    likeliest has a probability of at most 1/n + 0.01.
    """
    even = []
    for scores in columns["scores"]:
        shares = np.exp(scores - scores.max(), dtype=np.float64)
        even.append(shares.max() / shares.sum() <= 1 / len(scores) + EVEN)
    return {
        "accuracy": accuracy([int(scores.argmax()) for scores in columns["scores"]], columns["gold"].tolist()),
        "chance": float(np.mean([1 / len(scores) for scores in columns["scores"]])),
        "collapsed": float(np.mean(even)) >= COLLAPSED_SHARE,
    }
