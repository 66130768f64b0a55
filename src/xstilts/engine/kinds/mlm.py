"""Masked language modelling with logits at the masked positions only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xstilts.engine.aggregation import states
from xstilts.recipe import Recipe
from xstilts.tasks.task import MaskedLM, Text

IGNORED = -100
LONGEST_WORD = 8


def encode(
    kind: MaskedLM, examples: Sequence[Text], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise one sentence an example; ``begins`` is 1 for the first token of a word, and for special tokens."""
    encoded = tokenizer([prefix + example.text for example in examples], truncation=True, max_length=max_tokens)
    begins = [word_starts(encoded.word_ids(row)) for row in range(len(examples))]
    return {"ids": encoded["input_ids"], "lengths": [[len(ids)] for ids in encoded["input_ids"]], "begins": begins}


def word_starts(words: Sequence[int | None]) -> list[int]:
    """1 for the first token of every word, else 0, from the words that a tokenizer numbers (``None`` for no word).

    A run of more than `LONGEST_WORD` tokens is text that is written without spaces: each of its tokens is a word.
    """
    starts: list[int] = []
    for word, run in itertools.groupby(words):
        count = len(list(run))
        starts += [1] * count if word is None or count > LONGEST_WORD else [1, *[0] * (count - 1)]
    return starts


class Head(nn.Module):
    """BERT's transform and a decoder tied to the input embeddings, with a bias of its own."""

    def __init__(self, encoder: Any, mask_id: int, num_ids: int, probability: float, whole_words: bool) -> None:
        super().__init__()
        self.mask_id, self.num_ids, self.probability, self.whole_words = mask_id, num_ids, probability, whole_words
        table = encoder.model.get_input_embeddings().weight  # [V, E]
        self.dense = nn.Linear(encoder.hidden_size, table.shape[1])
        self.norm = nn.LayerNorm(table.shape[1])
        self.bias = nn.Parameter(torch.zeros(table.shape[0]))
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """[M, H] states of masked positions and the [V, E] embedding table -> [M, V] logits."""
        states = self.norm(nn.functional.gelu(self.dense(hidden)))
        return nn.functional.linear(states, table, self.bias)


def head(kind: MaskedLM, encoder: Any, tokenizer: Any, recipe: Recipe) -> Head:
    """A fresh head tied to ``encoder``'s embeddings.

    Raises:
        ValueError: when the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise ValueError("this encoder's tokenizer has no mask token: it cannot take a masked-language-model stage")
    return Head(encoder, tokenizer.mask_token_id, len(tokenizer), recipe.mlm_probability, recipe.whole_words)


def mask(
    batch: Any, *, mask_id: int, num_ids: int, probability: float, rng: torch.Generator, whole_words: bool = False
) -> tuple[Tensor, Tensor]:
    """Mask as BERT does (Devlin et al. 2019, section 3.1).

    Of the chosen tokens 80 % become the mask token, 10 % a random token, 10 % stay. First and last token of a
    sequence are special and never chosen. With ``whole_words`` the tokens of a word are chosen together, each still
    with ``probability``, and what becomes of one is drawn by itself, as in google-research/bert's
    create_pretraining_data.py.

    Returns:
        Input ids [T] and labels [T], `IGNORED` where nothing is to be predicted. Draws are made on the CPU, so
        that they are the same on every device.
    """
    device = batch.ids.device
    ids = batch.ids.cpu()
    num_tokens = ids.shape[0]
    draws = torch.rand(num_tokens, generator=rng)
    if whole_words:
        first = torch.where(batch.targets["begins"].cpu() != 0, torch.arange(num_tokens), 0).cummax(0).values
        draws = draws[first]
    chosen = draws < probability
    action = torch.rand(num_tokens, generator=rng)
    random_ids = torch.randint(num_ids, (num_tokens,), generator=rng)
    starts, lengths = batch.starts.cpu(), batch.lengths.cpu()
    chosen[starts] = False
    chosen[starts + lengths - 1] = False
    labels = torch.where(chosen, ids, torch.full_like(ids, IGNORED))
    masked = torch.where(chosen & (action < 0.8), torch.full_like(ids, mask_id), ids)
    masked = torch.where(chosen & (action >= 0.9), random_ids, masked)
    return masked.to(device), labels.to(device)


def _losses(
    encoder: Any, head: Head, batch: Any, rng: torch.Generator, whole_words: bool = False
) -> tuple[Tensor, Tensor, int]:
    """The loss of each masked token [M], where these are in the row [M], and how many the whole batch has."""
    ids, labels = mask(
        batch.whole,  # one mask, whoever does which part of it
        mask_id=head.mask_id,
        num_ids=head.num_ids,
        probability=head.probability,
        rng=rng,
        whole_words=whole_words,
    )
    num_masked = None
    if batch.shared is not None:
        num_masked = int((labels != IGNORED).sum())
        places = batch.shared.places(batch)
        ids, labels = ids[places].to(batch.ids.device), labels[places].to(batch.ids.device)
    where = (labels != IGNORED).nonzero().squeeze(1)  # [M]
    hidden = states(encoder, head, replace(batch, ids=ids), where)  # [M, H]
    logits = head(hidden, encoder.model.get_input_embeddings().weight).float()  # [M, V]
    losses = nn.functional.cross_entropy(logits, labels[where], reduction="none")
    return losses, where, len(where) if num_masked is None else num_masked


def loss(encoder: Any, head: Head, batch: Any, rng: torch.Generator) -> Tensor:
    """Cross-entropy in nats, mean over masked tokens; 0 with a gradient path when nothing was masked."""
    losses, _, num_masked = _losses(encoder, head, batch, rng, head.whole_words)
    return losses.sum() / max(num_masked, 1)


def num_terms(batch: Any) -> None:
    """Nothing that is known before the tokens are masked."""


def uniform_loss(head: Head, batch: Any) -> float:
    """The loss of equally likely tokens."""
    return math.log(len(head.bias))


def decode(encoder: Any, head: Head, batch: Any) -> dict[str, Tensor]:
    """Summed loss in nats and number of masked tokens for each example, under one fixed mask for a batch.

    Tokens are masked one by one here, so that models are comparable however they were trained.
    """
    rng = torch.Generator().manual_seed(0)
    losses, where, _ = _losses(encoder, head, batch, rng)
    example = batch.segment[where]
    zeros = torch.zeros(batch.num_examples, device=losses.device)
    return {
        "loss_sum": zeros.index_add(0, example, losses),
        "num_masked": zeros.index_add(0, example, torch.ones_like(losses)).long(),
    }


def table(kind: MaskedLM, columns: dict[str, np.ndarray], examples: Sequence[Text] = ()) -> pa.Table:
    """A measurement's rows: summed loss in nats and number of masked tokens."""
    return pa.table(
        {
            "row": pa.array(range(len(columns["loss_sum"])), pa.int32()),
            "num_masked": pa.array(columns["num_masked"], pa.int32()),
            "loss_sum": pa.array(columns["loss_sum"], pa.float32()),
        }
    )


def dev_score(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean loss in nats over the masked tokens."""
    return {"loss": float(columns["loss_sum"].sum() / max(1, columns["num_masked"].sum()))}
