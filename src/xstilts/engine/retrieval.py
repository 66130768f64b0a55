"""Measurements by vectors: aligned bitexts, mining from two unaligned sides, queries against one pool."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xstilts.metrics.vectors import centre, remove_language_identity, whiten
from xstilts.stage import Views, transform_of
from xstilts.tasks.task import Entry

from .kinds import embed
from .lists import refuse_overflow
from .model import Model
from .packing import Batch

DIRECTIONS = ("xx->en", "en->xx")
POOL = "query->pool"
_TRANSFORMS: dict[str, Callable[[Any, int], Any]] = {
    "centred": lambda own, _: centre(own),
    "lir": lambda own, count: remove_language_identity(own, own, num_components=count),
    "whitened": lambda own, _: whiten(own),
}

Batches = Iterable[tuple[np.ndarray, Batch]]


class Cell(NamedTuple):
    """One way of making vectors: a hidden state, 0 for the embeddings, and a pooling with its transform."""

    layer: int
    pooling: str

    @property
    def plain(self) -> tuple[int, str]:
        """The cell before its transform."""
        return self.layer, self.pooling.partition("/")[0]


def cells(views: Views, num_layers: int) -> list[Cell]:
    """The cells of a measurement, by layer and then in the order of the poolings; ``pooler`` at the last layer alone.

    Raises:
        ValueError: for a layer that the encoder does not have.
    """
    wanted = {layer + num_layers + 1 if layer < 0 else layer for layer in views.layers} or set(range(num_layers + 1))
    if not wanted <= set(range(num_layers + 1)):
        raise ValueError(f"views.layers is {views.layers}: expected hidden states 0 to {num_layers}, or -1 downwards")
    return [
        Cell(layer, pooling)
        for layer in sorted(wanted)
        for pooling in views.poolings
        if layer == num_layers or not pooling.startswith("pooler")
    ]


def passes(
    wanted: Sequence[Cell], num_texts: int, hidden_size: int, device: torch.device, memory: int | None = None
) -> list[list[Cell]]:
    """The cells in groups, each for a forward of its own, whose vectors fill at most half of ``memory``.

    Args:
        wanted: the cells of a measurement.
        num_texts: how many texts there are.
        hidden_size: H.
        device: where the vectors are to lie.
        memory: bytes; those of the machine, or those that are free on a GPU, when ``None``.

    Raises:
        ValueError: when the vectors of one hidden state and pooling alone fill more.
    """
    if memory is None and device.type == "cuda":
        memory = torch.cuda.mem_get_info(device)[0]
    elif memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    one = 4 * num_texts * hidden_size
    together = memory // 2 // max(one, 1)
    if not together:
        raise ValueError(
            f"{num_texts} texts need {one / 2**30:.1f} GiB for one layer and pooling alone: expected at most half of "
            f"{memory / 2**30:.1f} GiB of memory; measure them where there is more"
        )
    plain = list(dict.fromkeys(cell.plain for cell in wanted))
    groups = [plain[start : start + together] for start in range(0, len(plain), together)]
    return [[cell for cell in wanted if cell.plain in group] for group in groups]


class Vectors:
    """The vectors of all texts of a measurement in some of its cells, from one forward.

    Args:
        model: the model.
        head: its dual encoder's head, for cells of ``pooler``.
        wanted: the cells.
        batches: positions of examples with their batch.
        num_texts: how many texts there are: examples times sequences in each.
        device: where the vectors lie.

    Raises:
        FloatingPointError: for states that are not finite.
    """

    def __init__(
        self, model: Model, head: Any, wanted: list[Cell], batches: Batches, num_texts: int, device: torch.device
    ) -> None:
        self.cells = wanted
        self._plain = list(dict.fromkeys(cell.plain for cell in wanted))
        shape = (num_texts, len(self._plain), model.encoder.hidden_size)
        self._all = torch.empty(shape, dtype=torch.float32, device=device)
        extremes = []
        for rows, batch in batches:
            found = embed.vectors(model.encoder, head, batch, self._plain)  # [N, C, H]
            extremes.append(torch.stack(found.aminmax()))  # read at the end: a GPU need not wait for each batch
            each = len(found) // len(rows)  # sequences of an example
            at = (rows[:, None] * each + np.arange(each)).ravel()
            self._all[torch.from_numpy(at).to(device, non_blocking=True)] = found
        if extremes:
            refuse_overflow(torch.stack(extremes), "the encoder's states")

    def of(self, cell: Cell, languages: Sequence[np.ndarray], groups: Sequence[np.ndarray]) -> list[Tensor]:
        """The vectors [n, H] of groups of texts, given as positions; a transform is of each language's texts.

        Those of a plain cell at positions of equal distance are not copied.
        """
        column = self._all[:, self._plain.index(cell.plain)]  # [N, H]
        name, count = transform_of(cell.pooling)
        if name:
            column = column.clone()
            for language in languages:
                at = torch.from_numpy(language).to(column.device)
                column[at] = torch.from_numpy(_TRANSFORMS[name](column[at].cpu().numpy(), count)).to(column)
        return [_rows(column, group) for group in groups]


def _rows(column: Tensor, positions: np.ndarray) -> Tensor:
    """Rows of a matrix [N, H]; a view of it where their distance is the same throughout."""
    distances = np.diff(positions)
    if len(distances) and distances[0] > 0 and (distances == distances[0]).all():
        return column[positions[0] : positions[-1] + 1 : distances[0]]
    return column[torch.from_numpy(positions).to(column.device)]


def bitext(vectors: Vectors, num_examples: int, num_neighbours: int, each: int = 2) -> pa.Table:
    """Both directions of an aligned bitext: a row for each cell, direction and query, best neighbour first.

    ``each`` is how many texts an example has, of which the first two are its sides.
    """
    gold = np.arange(num_examples, dtype=np.int32)
    sides = [each * np.arange(num_examples) + side for side in (0, 1)]
    tables = []
    for cell in vectors.cells:
        foreign, english = vectors.of(cell, sides, sides)
        for direction, queries, candidates in zip(DIRECTIONS, (foreign, english), (english, foreign), strict=True):
            found = _found(cell, direction, queries, candidates, num_neighbours, gold=pa.array(gold))
            tables.append(_fixed(found))
    return pa.concat_tables(tables)


def mining(vectors: Vectors, parts: Sequence[tuple[str, Sequence[Entry]]], num_neighbours: int) -> pa.Table:
    """Both directions between two unaligned sides, in each split.

    Like XTREME's ``mine_bitext`` (``third_party/utils_retrieve.py``) it searches among different texts: a query is the
    number of its text among those of its side, first come first, and ``num_ids`` says how many ids have it. ``golds``
    are the right candidates; one below 0 counts and cannot be found, since a text of several ids is never extracted.
    """
    tables = []
    start = 0
    for split, entries in parts:
        sides = [_Side(entries, asks) for asks in (True, False)]
        golds = _gold_pairs(*sides)
        positions = [start + side.positions for side in sides]
        for cell in vectors.cells:
            both = vectors.of(cell, positions, positions)
            for back, direction in enumerate(DIRECTIONS):
                queries, candidates = both[::-1] if back else both
                own = {
                    "split": pa.array([split] * len(queries)),
                    "num_ids": pa.array(sides[back].num_ids, pa.int32()),
                    "golds": pa.array(golds[back], pa.list_(pa.int32())),
                }
                tables.append(_found(cell, direction, queries, candidates, num_neighbours, **own))
        start += len(entries)
    return pa.concat_tables(tables)


class _Side:
    """The different texts of one side of a mining task, in the order of their first entry."""

    def __init__(self, entries: Sequence[Entry], queries: bool) -> None:
        own = [(at, entry) for at, entry in enumerate(entries) if entry.is_query == queries]
        first: dict[str, int] = {}
        for at, entry in own:
            first.setdefault(entry.text, at)
        number = {text: n for n, text in enumerate(first)}
        ids = Counter(entry.text for _, entry in own)
        self.positions = np.array(list(first.values()), dtype=np.int64)
        self.num_ids = [ids[text] for text in first]
        self.number_of = {entry.id: number[entry.text] for _, entry in own}
        self.pairs = [(entry.id, gold) for _, entry in own for gold in entry.golds]


def _gold_pairs(queries: _Side, candidates: _Side) -> tuple[list[list[int]], list[list[int]]]:
    """The right ones of every query and of every candidate; numbers below 0 for pairs that nothing can extract."""
    there: list[list[int]] = [[] for _ in queries.num_ids]
    back: list[list[int]] = [[] for _ in candidates.num_ids]
    for lost, (asking, wanted) in enumerate(queries.pairs, 1):
        if wanted not in candidates.number_of:
            raise ValueError(f"the query {asking!r} has the right candidate {wanted!r}, which is not there")
        source, target = queries.number_of[asking], candidates.number_of[wanted]
        alone = queries.num_ids[source] == candidates.num_ids[target] == 1
        there[source].append(target if alone else -lost)
        back[target].append(source if alone else -lost)
    return there, back


def search(vectors: Vectors, entries: Sequence[Entry], num_neighbours: int) -> pa.Table:
    """Every query against the one pool of candidates, with the languages of both.

    A transform is of each language's own vectors, queries and candidates together.
    """
    asking = np.array([at for at, entry in enumerate(entries) if entry.is_query], dtype=np.int64)
    pool = np.array([at for at, entry in enumerate(entries) if not entry.is_query], dtype=np.int64)
    number = {entries[at].id: n for n, at in enumerate(pool)}
    spoken = np.array([entry.language for entry in entries])
    of_language = [np.flatnonzero(spoken == code) for code in dict.fromkeys(spoken.tolist())]
    golds, unknown = [], ""
    for at in asking:
        unknown = next((id for id in entries[at].golds if id not in number), unknown)
        golds.append([number.get(id, -1) for id in entries[at].golds])
    if unknown:
        raise ValueError(f"a query has the right candidate {unknown!r}, which is not there")
    codes = spoken[pool]
    own = {
        "language": pa.array(spoken[asking]),
        "golds": pa.array(golds, pa.list_(pa.int32())),
        "gold_languages": pa.array([[codes[n] for n in right] for right in golds], pa.list_(pa.string())),
    }
    tables = []
    for cell in vectors.cells:
        queries, candidates = vectors.of(cell, of_language, (asking, pool))
        table = _found(cell, POOL, queries, candidates, num_neighbours, **own)
        near = table["neighbours"].combine_chunks()
        languages = pa.ListArray.from_arrays(near.offsets, pa.array(codes).take(near.values))
        tables.append(table.append_column("neighbour_languages", languages))
    return pa.concat_tables(tables)


def _found(
    cell: Cell, direction: str, queries: Tensor, candidates: Tensor, num_neighbours: int, **own: pa.Array
) -> pa.Table:
    """The rows of one cell and direction; neighbours in lists of any size, since a side may have fewer texts."""
    index, similarity = (found.cpu().numpy() for found in embed.neighbours(queries, candidates, num_neighbours))
    size, width = index.shape
    offsets = pa.array(np.arange(size + 1, dtype=np.int32) * width)
    return pa.table(
        {
            "layer": pa.array(np.full(size, cell.layer, dtype=np.int16)),
            "pooling": pa.array([cell.pooling] * size),
            "direction": pa.array([direction] * size),
            "query": pa.array(np.arange(size, dtype=np.int32)),
            **own,
            "neighbours": pa.ListArray.from_arrays(offsets, pa.array(index.astype(np.int32).ravel())),
            "similarities": pa.ListArray.from_arrays(offsets, pa.array(similarity.ravel())),
        }
    )


def _fixed(table: pa.Table) -> pa.Table:
    """The same with neighbours in lists of one size."""
    for name in ("neighbours", "similarities"):
        flat = table[name].combine_chunks().values
        lists = pa.FixedSizeListArray.from_arrays(flat, len(flat) // len(table))
        table = table.set_column(table.column_names.index(name), name, lists)
    return table
