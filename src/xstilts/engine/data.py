"""Rows -> token ids in memory-mapped Arrow, cached by (data, tokenizer, task, length) fingerprint."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xstilts.spec import canonical_json, digest
from xstilts.stage import Data
from xstilts.tasks import examples as read_examples
from xstilts.tasks import find

from .kinds import KINDS

_CHUNK_EXAMPLES = 8192
_FORMAT = 1
SEQUENCE_COLUMNS = ("ids", "types", "lengths")


class Tokenised:
    """The examples of one task, split and language as token ids; random access, nothing copied until asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._chunks = table.to_batches(max_chunksize=_CHUNK_EXAMPLES)
        self.targets: dict[str, np.ndarray] = {
            name: table.column(name).to_numpy() for name in table.column_names if name not in SEQUENCE_COLUMNS
        }
        self.num_tokens: np.ndarray = (
            np.concatenate([np.diff(batch.column("ids").offsets.to_numpy()) for batch in self._chunks])
            if self._chunks
            else np.zeros(0, dtype=np.int64)
        )  # [E] tokens of all of an example's sequences

    def __len__(self) -> int:
        return len(self.num_tokens)

    def example(self, row: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Token ids [t], token types [t] or ``None``, and the lengths of the example's sequences, summing to t."""
        batch = self._chunks[row // _CHUNK_EXAMPLES]
        at = row % _CHUNK_EXAMPLES
        ids = _slice(batch.column("ids"), at)
        types = _slice(batch.column("types"), at) if "types" in batch.schema.names else None
        return ids, types, _slice(batch.column("lengths"), at)


def _slice(column: Any, at: int) -> np.ndarray:
    offsets = column.offsets
    return column.values.to_numpy()[offsets[at].as_py() : offsets[at + 1].as_py()]


def tokenised(
    data: Sequence[Data],
    tokenizer: Any,
    tokenizer_key: str,
    *,
    max_tokens: int,
    prefix: str = "",
    data_dir: Path | None,
    cache_dir: Path,
) -> Tokenised:
    """Tokenise the rows of ``data`` (one task), or find them tokenised.

    The cache key covers the content of the rows, the task, the tokenizer and the length limit, so neither a
    changed file nor another tokenizer can meet an old entry; entries are written by rename.
    """
    names = {part.task for part in data}
    assert len(names) == 1, "one Tokenised holds one task"
    task = find(names.pop())
    key = digest(
        canonical_json(
            [
                _FORMAT,
                [[d.task, d.split, d.language, d.content] for d in data],
                tokenizer_key,
                max_tokens,
                prefix,
            ]
        )
    )
    path = cache_dir / "tokens" / f"{key}.arrow"
    if not path.is_file():
        examples = [e for d in data for e in read_examples(task, d.split, d.language, data_dir)]
        encode = KINDS[task.kind.name].encode
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            writer = None
            for start in range(0, max(len(examples), 1), _CHUNK_EXAMPLES):
                chunk = examples[start : start + _CHUNK_EXAMPLES]
                columns = encode(task.kind, chunk, tokenizer, max_tokens, prefix)
                batch = pa.record_batch({name: pa.array(values, _type(name)) for name, values in columns.items()})
                if writer is None:
                    writer = pa.ipc.new_file(name, batch.schema)
                writer.write_batch(batch)
            assert writer is not None
            writer.close()
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return Tokenised(pa.ipc.open_file(pa.memory_map(str(path))).read_all())


def _type(column: str) -> pa.DataType:
    return {"ids": pa.list_(pa.int32()), "types": pa.list_(pa.int8()), "lengths": pa.list_(pa.int32())}.get(
        column, pa.int64()
    )
