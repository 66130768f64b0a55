"""Embedding rows in use: only those that can occur in the data of a stage are trained, stored and moved."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from .data import Tokenised
from .encoder import Encoder


class RowsInUse:
    """A word-embedding table cut down to the rows that some data can reach, until `restore`.

    The other rows have no gradient, so AdamW leaves them alone but for its decay, a factor that `restore` applies:
    the weights are those of the whole table to float rounding. Not for masked language modelling, whose softmax
    reaches every row, nor for an encoder that pads by itself.

    Args:
        encoder: its table is replaced.
        data: everything that will be collated until then; it gives the new numbers of its ids from now on.
    """

    def __init__(self, encoder: Encoder, data: Iterable[Tokenised]) -> None:
        self._model = encoder.model
        whole = self._model.get_input_embeddings()
        assert isinstance(whole, nn.Embedding), "an encoder's input embeddings are a table"
        self._whole = whole
        table = whole.weight.data
        used = np.zeros(len(table), dtype=bool)
        parts = list(data)
        for part in parts:
            used[part.ids_in_use()] = True
        self._used = torch.from_numpy(np.flatnonzero(used))
        numbers = np.full(len(table), -1, dtype=np.int32)
        numbers[used] = np.arange(len(self._used), dtype=np.int32)
        for part in parts:
            part.numbers = numbers
        self.num_rows, self.num_whole = len(self._used), len(table)
        rows = table[self._used.to(table.device)].clone()
        small = nn.Embedding(rows.shape[0], rows.shape[1], _weight=rows)
        self._whole.weight.data = table.cpu()  # out of the accelerator's memory
        self._model.set_input_embeddings(small.train(self._whole.training))

    def restore(self, decay: float) -> None:
        """Put the whole table back, trained rows in their places and the others times ``decay``."""
        small = self._model.get_input_embeddings()
        assert isinstance(small, nn.Embedding)
        table = self._whole.weight.data
        if decay != 1:
            table = table.mul(decay)  # anew: to write into a mapped file's pages takes several times as long
        table[self._used] = small.weight.data.cpu()
        self._whole.weight.data = table
        self._model.set_input_embeddings(self._whole)
