"""Sentence embeddings for retrieval: poolings of every layer, exact nearest neighbours, and the dual encoder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xstilts.engine import ranks
from xstilts.engine.aggregation import aggregated, states
from xstilts.metrics.retrieval import accuracy_at_1
from xstilts.recipe import Recipe
from xstilts.tasks.task import Embed, Kind

_BLOCK_QUERIES = 1024
_BLOCK_CANDIDATES = 65536
_GROUP = 64  # candidates that a search passes over together, by their maximum


def encode(
    kind: Kind, examples: Sequence[Any], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise the sides of a `Bitext` as two sequences an example, foreign first; an `Entry` as one sequence.

    The negative of a `Bitext` is its third sequence, and then there is a column ``negative`` of ones. A text with a
    context is a pair with it, of which the longer loses its end first (XTREME-R's
    ``third_party/processors/lareqa.py``: answer sentence and paragraph).

    Raises:
        ValueError: when some examples have a negative and others none.
    """
    with_negative = [bool(e.negative) for e in examples] if isinstance(kind, Embed) else []
    if any(with_negative) and not all(with_negative):
        lacking = examples[with_negative.index(False)]
        raise ValueError(f"expected a hard negative in every example or in none, got {lacking!r} among others with one")
    if isinstance(kind, Embed):
        texts = [[(e.first, "") for e in examples], [(e.second, e.context) for e in examples]]
        texts += [[(e.negative, "") for e in examples]] if any(with_negative) else []
    else:
        texts = [[(e.text, e.context) for e in examples]]
    sides = [_tokenised(tokenizer, side, max_tokens, prefix) for side in texts]
    columns: dict[str, list[Any]] = {
        name: [list(itertools.chain(*parts)) for parts in zip(*(side[theirs] for side in sides), strict=True)]
        for name, theirs in (("ids", "input_ids"), ("types", "token_type_ids"))
        if theirs in sides[0]
    }
    lengths = zip(*(side["input_ids"] for side in sides), strict=True)
    columns |= {"lengths": [[len(ids) for ids in parts] for parts in lengths]}
    return columns | ({"negative": [1] * len(examples)} if any(with_negative) else {})


def _tokenised(
    tokenizer: Any, texts: Sequence[tuple[str, str]], max_tokens: int, prefix: str
) -> dict[str, list[list[int]]]:
    """The tokenizer's lists of (text, context) pairs, where an empty context makes a sequence of one text."""
    found: dict[str, list[list[int]]] = {"input_ids": [[] for _ in texts]}
    for paired in (False, True):
        rows = [row for row, (_, context) in enumerate(texts) if bool(context) == paired]
        if rows:
            columns = [[prefix + texts[row][0] for row in rows], [texts[row][1] for row in rows]][: 1 + paired]
            encoded = tokenizer(*columns, truncation=True, max_length=max_tokens)
            for name in encoded.keys() - {"attention_mask"}:
                column = found.setdefault(name, [[] for _ in texts])
                for row, values in zip(rows, encoded[name], strict=True):
                    column[row] = values
    return found


class Head(nn.Module):
    """A dual encoder's trained part: the scale of its cosines and, for ``pooler``, a layer on the first token.

    XTREME-R's dual encoder (``third_party/run_retrieval_qa.py``) takes the L2-normalised pooler output; that of XLM-R
    starts from random weights, as this one does for every encoder.
    """

    def __init__(self, hidden_size: int, pooling: str, scale: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.scale = nn.Parameter(torch.tensor([scale]))
        if pooling == "pooler":
            self.dense = nn.Linear(hidden_size, hidden_size)
            nn.init.normal_(self.dense.weight, std=0.02)
            nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, batch: Any) -> Tensor:
        """[T, H] states -> [N, H] float32 vectors, not normalised."""
        if self.pooling == "pooler":
            return torch.tanh(self.dense(hidden[batch.starts])).float()
        return pool(hidden, batch, self.pooling)


def head(kind: Kind, encoder: Any, tokenizer: Any, recipe: Recipe) -> Head | None:
    """A fresh head for a dual encoder; none for kinds that are measured alone."""
    return Head(encoder.hidden_size, recipe.dual_pooling, recipe.dual_scale) if isinstance(kind, Embed) else None


def pool(hidden: Tensor, batch: Any, pooling: str) -> Tensor:
    """[T, H] token states -> [N, H] float32 sentence vectors, in the order of the examples.

    ``mean`` averages all tokens, special ones included, ``mean-no-special`` leaves out the first and the last
    token (XTREME's ``--pool_skip_special_token``), ``cls`` takes the first.
    """
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[batch.starts]
    total = hidden.new_zeros(len(batch.lengths), hidden.shape[1]).index_add_(0, batch.segment, hidden)
    count = batch.lengths.clamp(min=1)
    if pooling == "mean-no-special":
        total = total - hidden[batch.starts] - hidden[batch.starts + batch.lengths - 1]
        total = total.where(count[:, None] > 2, 0.0)  # nothing else to average: no direction, not rounding noise
        count = (count - 2).clamp(min=1)
    return total / count[:, None]


def vectors(encoder: Any, head: Head | None, batch: Any, cells: Sequence[tuple[int, str]]) -> Tensor:
    """Sentence vectors [N, C, H] float32 of C cells (layer, pooling), 0 the embeddings, from one forward.

    ``pooler`` is the head's own vector, of what it reads of all layers.
    """
    layers = encoder(batch.ids, batch.packing, batch.types, all_layers=True)
    found = []
    for layer, pooling in cells:
        if pooling == "pooler":
            assert head is not None, "study refuses a pooler without a dual encoder"
            found.append(head(aggregated(head, layers), batch))
        else:
            found.append(pool(layers[layer], batch, pooling))
    return torch.stack(found, 1)


def _sides(encoder: Any, head: Head, batch: Any) -> Tensor:
    """Normalised vectors [E, S, H] of both sides, and of the negatives if there are any, under the head."""
    num_sides = 3 if "negative" in batch.targets else 2
    vectors = head(states(encoder, head, batch), batch)[: num_sides * batch.num_examples]
    return nn.functional.normalize(vectors, dim=1).unflatten(0, (batch.num_examples, num_sides))


def loss(encoder: Any, head: Head, batch: Any, rng: torch.Generator) -> Tensor:
    """In-batch softmax, in nats: each first side against all second sides of the batch, by scaled cosine.

    The other examples of an optimisation step are the negatives; the loss is of one direction, first to second
    (XTREME-R's ``third_party/run_retrieval_qa.py``). The hard negatives of all examples are candidates too (SimCSE,
    equation 5, with weight 1).
    """
    first, second, *negatives = ranks.gathered(_sides(encoder, head, batch), batch).unbind(1)
    candidates = torch.cat([second, *negatives]) if negatives else second
    scores = ranks.once(head.scale).float() * (first @ candidates.T).float()  # [E, E] or [E, 2 E]
    value = nn.functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
    return value if ranks.number() == 0 else value - value.detach()  # counted once in the sum of all processes


def num_terms(batch: Any) -> None:
    """Nothing: the examples of a step are one another's negatives, so it cannot be done in parts."""


def uniform_loss(head: Head, batch: Any) -> float:
    """The loss of equally likely candidates."""
    return math.log(batch.num_examples * (2 if "negative" in batch.targets else 1))


def decode(encoder: Any, head: Head, batch: Any) -> dict[str, Tensor]:
    """Normalised vectors of both sides [E, 2, H]; a hard negative's is left out."""
    return {"vectors": _sides(encoder, head, batch)[:, :2].float()}


def dev_score(columns: dict[str, Any]) -> dict[str, Any]:
    """Accuracy of finding the second side among those of all dev rows, and ``chance``, one over their number.

    *Collapsed* means that at most two rows, or as many as chance would find twice over, are found.
    """
    first, second = torch.from_numpy(columns["vectors"]).unbind(1)
    index, similarity = neighbours(first, second, 8)
    accuracy = accuracy_at_1(index.numpy(), similarity.numpy(), np.arange(len(first))).value
    return {"accuracy": accuracy, "chance": 1 / len(first), "collapsed": accuracy * len(first) <= 2 < len(first)}


def neighbours(queries: Tensor, candidates: Tensor, num_neighbours: int) -> tuple[Tensor, Tensor]:
    """The nearest candidates by cosine: indices [Q, K] int64 and similarities [Q, K] float32, best first.

    Exact, in blocks of candidates and of queries, which alone are copied. Of equally near candidates the one with the
    lower index comes first, as in faiss' flat index, which XTREME's ``similarity_search`` uses.
    """
    keep = min(num_neighbours, len(candidates))
    best = torch.empty(len(queries), 0, device=queries.device)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    sizes = min(_BLOCK_QUERIES, len(queries)), min(_BLOCK_CANDIDATES, len(candidates))
    # new memory for every block costs nearly as much as the arithmetic
    memory = torch.empty(sizes[0] * sizes[1], device=queries.device)
    unit = torch.empty(sizes[1], candidates.shape[1], device=queries.device)
    for first, part in enumerate(candidates.split(_BLOCK_CANDIDATES)):
        part = nn.functional.normalize(part.float(), dim=1, out=unit[: len(part)])
        found = []
        for block in queries.split(_BLOCK_QUERIES):
            similarity = memory[: len(block) * len(part)].view(len(block), len(part))
            torch.mm(nn.functional.normalize(block.float(), dim=1), part.T, out=similarity)
            found.append(_nearest(similarity, min(keep, len(part))))
        near, at = (torch.cat(values) for values in zip(*found, strict=True))
        best = torch.cat([best, near], 1)
        index = torch.cat([index, at + first * _BLOCK_CANDIDATES], 1)
        if first:  # earlier parts have the lower indices and come first, so a stable sort keeps the order of ties
            best, order = best.sort(dim=1, descending=True, stable=True)
            best, index = best[:, :keep], index.gather(1, order[:, :keep])
    return index, best


def _nearest(similarity: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` highest of each row [q, C], the lower index first of equals: similarities and indices [q, keep].

    A long row is searched in two passes: its best are in those groups of neighbours whose maxima are the best.
    """
    size = similarity.shape[1]
    if size <= 16 * keep * _GROUP:
        return _highest(similarity, keep)
    whole = size - size % _GROUP
    grouped = similarity[:, :whole].unflatten(1, (-1, _GROUP))  # [q, C / G, G]
    _, groups = _highest(grouped.amax(2), keep)
    groups = groups.sort(dim=1).values  # so that candidates stay in their order, and with it the order of ties
    values = grouped.gather(1, groups[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    best, at = _highest(torch.cat([values, similarity[:, whole:]], 1), keep)
    groups = nn.functional.pad(groups, (0, 1), value=whole // _GROUP)  # the rest counts as a group
    return best, groups.gather(1, at // _GROUP) * _GROUP + at % _GROUP


def _highest(similarity: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """What `_nearest` says, in one pass over all of the row."""
    best, index = similarity.topk(min(keep + 1, similarity.shape[1]), dim=1)
    by_index = index.argsort(dim=1)
    best, index = best.gather(1, by_index), index.gather(1, by_index)
    order = best.argsort(dim=1, descending=True, stable=True)
    best, index = best.gather(1, order), index.gather(1, order)
    if best.shape[1] > keep:  # a tie across the edge of the list: sort the whole row
        tied = (best[:, keep - 1] == best[:, keep]).nonzero().squeeze(1)
        if len(tied):
            whole, position = similarity[tied].sort(dim=1, descending=True, stable=True)
            best[tied], index[tied] = whole[:, : keep + 1], position[:, : keep + 1]
    return best[:, :keep], index[:, :keep]
