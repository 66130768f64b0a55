"""Rows -> token ids in memory-mapped Arrow, cached by (data, tokenizer, task, length) fingerprint."""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xstilts.spec import canonical_json, digest, file_sha256
from xstilts.stage import Data, Translate
from xstilts.tasks import Example, find
from xstilts.tasks import examples as read_examples
from xstilts.tasks.shuffling import shuffled_labels
from xstilts.tasks.synonyms import Synonyms, copied
from xstilts.tasks.translated import read_rows

from . import Context
from .kinds import KINDS
from .unfinished import making

ROWS = "rows.jsonl.gz"  # of a stage that translates

_CHUNK_EXAMPLES = 8192
_MAX_OPEN = 32  # files of a process, of up to 40 bytes an example in memory beside the mapped tokens
_FORMAT = 2  # 2: the rows of each language are in the schema, and text has the first tokens of words
_TYPES = {"ids": pa.list_(pa.int32()), "types": pa.list_(pa.int8()), "lengths": pa.list_(pa.int32())} | {
    "begins": pa.list_(pa.int8())
}
_LANGUAGES = b"languages"
SEQUENCE_COLUMNS = ("ids", "lengths")


class Tokenised:
    """The examples of one task, split and language as token ids; random access, nothing copied until asked for.

    Attributes:
        per_token: names of the columns with a value for each token: ``types``, for tokenizers that have them, and any
            target that is a list.
        targets: one value an example, [E] each, by name.
        num_tokens: [E] tokens of all of an example's sequences.
        lengths: [S] tokens of every sequence.
        first: [E + 1] the first sequence of every example, and S.
        languages: code and number of examples of each language, in the order of the examples; empty when not known.
    """

    def __init__(self, table: pa.Table) -> None:
        chunks = table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        known = json.loads((table.schema.metadata or {}).get(_LANGUAGES, b"[]"))
        self.languages: tuple[tuple[str, int], ...] = tuple((code, count) for code, count in known)
        columns = [field for field in table.schema if field.name not in SEQUENCE_COLUMNS]
        self.per_token = tuple(field.name for field in columns if pa.types.is_list(field.type))
        self.targets: dict[str, np.ndarray] = {
            field.name: table.column(field.name).to_numpy() for field in columns if field.name not in self.per_token
        }
        self._values = {  # every column of tokens by chunk
            name: [chunk.column(name).flatten().to_numpy() for chunk in chunks] for name in ("ids", *self.per_token)
        }
        lengths = [chunk.column("lengths") for chunk in chunks]
        sizes = [of.flatten().to_numpy() for of in lengths]
        self._chunk = np.repeat(np.arange(len(chunks)), [len(of) for of in sizes])  # [S]
        self._starts = np.concatenate([np.cumsum(of, dtype=np.int64) - of for of in sizes])  # [S] within the chunk
        self.lengths: np.ndarray = np.concatenate(sizes)
        self.first: np.ndarray = np.cumsum(np.concatenate([[0], *(np.diff(of.offsets) for of in lengths)]))
        self.num_tokens: np.ndarray = np.concatenate([np.diff(chunk.column("ids").offsets) for chunk in chunks])
        self.numbers: np.ndarray | None = None  # [V] new numbers of token ids, where a table was cut down

    @functools.cached_property
    def num_sequences(self) -> np.ndarray:
        """[E] sequences of every example."""
        return np.diff(self.first)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.lengths.max())

    def ids_in_use(self) -> np.ndarray:
        """The token ids that occur, ascending."""
        size = 1 + max((int(values.max(initial=-1)) for values in self._values["ids"]), default=-1)
        used = np.zeros(size, dtype=bool)
        for values in self._values["ids"]:
            used[values] = True
        return np.flatnonzero(used)

    def __len__(self) -> int:
        return len(self.num_tokens)

    def tokens(self, name: str, sequences: np.ndarray) -> np.ndarray:
        """The values [T] of a column of tokens, ``ids`` or one of `per_token`, of sequences one after the other."""
        starts, chunks = self._starts[sequences], self._values[name]
        spans = np.stack([self._chunk[sequences], starts, starts + self.lengths[sequences]], 1).tolist()
        found = np.concatenate([chunks[chunk][start:stop] for chunk, start, stop in spans])
        return found if name != "ids" or self.numbers is None else self.numbers[found]

    def example(self, row: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Token ids [t], the per-token columns [t] by name, and the lengths of its sequences, summing to t."""
        sequences = np.arange(self.first[row], self.first[row + 1])
        per_token = {name: self.tokens(name, sequences) for name in self.per_token}
        return self.tokens("ids", sequences), per_token, self.lengths[sequences]


def translations(stages: Sequence[Translate], context: Context) -> dict[Data, Path]:
    """The rows that stages made, as data with the hash of their file, and the files."""
    files = {stage: context.inputs[stage.id] / ROWS for stage in stages}
    return {Data(s.task, s.split, s.target, file_sha256(path)): path for s, path in files.items()}


def rows_of(part: Data, translated: Mapping[Data, Path], data_dir: Path | None) -> list[Example]:
    """The examples of a part of the data, read from its file where it is a translation."""
    if part in translated:
        return read_rows(translated[part], find(part.task))
    return read_examples(find(part.task), part.split, part.language, data_dir)


def tokenised(
    data: Sequence[Data],
    tokenizer: Any,
    tokenizer_key: str,
    *,
    max_tokens: int,
    prefix: str = "",
    synonyms: Synonyms | None = None,
    shuffled: int | None = None,
    translated: Mapping[Data, Path] | None = None,
    data_dir: Path | None,
    cache_dir: Path,
) -> Tokenised:
    """Tokenise the rows of ``data`` (one task), or their copies by ``synonyms``, or find them tokenised.

    With a seed ``shuffled`` their labels are permuted first.

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
                *([list(synonyms[1:])] if synonyms else []),
                *([{"shuffled": shuffled}] if shuffled is not None else []),
            ]
        )
    )
    path = cache_dir / "tokens" / f"{key}.arrow"
    if (found := _found(path)) is None:
        parts = [(part.language, rows_of(part, translated or {}, data_dir)) for part in data]
        examples = [example for _, part in parts for example in part]
        if shuffled is not None:
            examples = shuffled_labels(examples, task.name, shuffled)
        metadata = {_LANGUAGES: json.dumps([[code, len(part)] for code, part in parts])}
        encode = KINDS[task.kind.name].encode
        with making(path.with_name(f"{os.urandom(8).hex()}.part"), r"\w+\.part") as part:
            writer = None
            size = max(1, _CHUNK_EXAMPLES // (synonyms.num_copies if synonyms else 1))
            for start in range(0, max(len(examples), 1), size):
                chunk = examples[start : start + size]
                if synonyms:
                    chunk = list(copied(chunk, start, task.name, synonyms))
                columns = encode(task.kind, chunk, tokenizer, max_tokens, prefix)
                batch = pa.record_batch({name: pa.array(values, _TYPES.get(name)) for name, values in columns.items()})
                if writer is None:
                    writer = pa.ipc.new_file(str(part), batch.schema.with_metadata(metadata))
                writer.write_batch(batch)
            assert writer is not None
            writer.close()
            with part.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
        found = _found(path)
        assert found is not None
    return copy.copy(found)  # whoever has it may number its ids anew


def _found(path: Path) -> Tokenised | None:
    """A file of tokens, or nothing where it is not there from its beginning to its end: cut off, it is made anew."""
    try:
        status = path.stat()
        return _opened(path, status.st_ino, status.st_mtime_ns)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None


@functools.lru_cache(_MAX_OPEN)
def _opened(path: Path, *written: int) -> Tokenised:
    """The columns of a file, which stay open between the stages of a process."""
    return Tokenised(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
