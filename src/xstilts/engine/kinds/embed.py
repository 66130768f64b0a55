"""Sentence embeddings for retrieval: poolings of every layer, and exact nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xstilts.stage import Recipe
from xstilts.tasks.task import Bitext, Embed

_BLOCK_QUERIES = 1024


def encode(
    kind: Embed, examples: Sequence[Bitext], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise both sides: two sequences an example, foreign first."""
    sides = [
        tokenizer([prefix + text for text in texts], truncation=True, max_length=max_tokens)["input_ids"]
        for texts in ([example.first for example in examples], [example.second for example in examples])
    ]
    pairs = list(zip(*sides, strict=True))
    return {
        "ids": [first + second for first, second in pairs],
        "lengths": [[len(first), len(second)] for first, second in pairs],
    }


def head(kind: Embed, encoder: Any, tokenizer: Any, recipe: Recipe) -> None:
    """No trained part: the encoder's states are the embeddings."""


def pool(hidden: Tensor, batch: Any, pooling: str) -> Tensor:
    """[T, H] token states -> [N, H] float32 sentence vectors, in the order of the examples.

    ``mean`` averages all tokens, special ones included, ``mean-no-special`` leaves out the first and the last
    token (XTREME's ``--pool_skip_special_token``), ``cls`` takes the first.
    """
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[batch.starts]
    total = hidden.new_zeros(len(batch.lengths), hidden.shape[1]).index_add_(0, batch.segment, hidden)
    count = batch.lengths
    if pooling == "mean-no-special":
        total = total - hidden[batch.starts] - hidden[batch.starts + batch.lengths - 1]
        total = total.where(count[:, None] > 2, 0.0)  # nothing else to average: no direction, not rounding noise
        count = (count - 2).clamp(min=1)
    return total / count[:, None]


def decode(encoder: Any, poolings: Sequence[str], batch: Any) -> dict[str, Tensor]:
    """Sentence vectors [N, L+1, P, H] of every layer (0 = embeddings) under every pooling, from one forward."""
    layers = encoder(batch.ids, batch.row_lengths, batch.types, all_layers=True)
    vectors = [torch.stack([pool(hidden, batch, pooling) for pooling in poolings], 1) for hidden in layers]
    return {"vectors": torch.stack(vectors, 1)}


def neighbours(queries: Tensor, candidates: Tensor, num_neighbours: int) -> tuple[Tensor, Tensor]:
    """The nearest candidates by cosine: indices [Q, K] int64 and similarities [Q, K] float32, best first.

    Exact, in blocks of queries. Of equally near candidates the one with the lower index comes first, as in
    faiss' flat index, which XTREME's ``similarity_search`` uses.
    """
    queries = torch.nn.functional.normalize(queries.float(), dim=1)
    candidates = torch.nn.functional.normalize(candidates.float(), dim=1)
    keep = min(num_neighbours, len(candidates))
    found: list[tuple[Tensor, Tensor]] = []
    for block in queries.split(_BLOCK_QUERIES):
        similarity = block @ candidates.T  # [q, C]
        best, index = similarity.topk(min(keep + 1, len(candidates)), dim=1)
        by_index = index.argsort(dim=1)
        best, index = best.gather(1, by_index), index.gather(1, by_index)
        order = best.argsort(dim=1, descending=True, stable=True)
        best, index = best.gather(1, order), index.gather(1, order)
        if best.shape[1] > keep:  # a tie across the edge of the list: sort the whole row
            tied = (best[:, keep - 1] == best[:, keep]).nonzero().squeeze(1)
            if len(tied):
                whole, position = similarity[tied].sort(dim=1, descending=True, stable=True)
                best[tied], index[tied] = whole[:, : keep + 1], position[:, : keep + 1]
        found.append((index[:, :keep], best[:, :keep]))
    return torch.cat([index for index, _ in found]), torch.cat([best for _, best in found])
