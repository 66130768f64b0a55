"""Readers of official release formats: one row at a time, with file and line in every error."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

GZIP_MAGIC = b"\x1f\x8b"
BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


class Row(dict[str, Any]):
    """One row by column name, which remembers the file and the line (from 1) that it came from."""

    __slots__ = ("line", "path")

    def __init__(self, values: dict[str, Any], path: Path | str, line: int) -> None:
        super().__init__(values)
        self.path = path
        self.line = line

    @property
    def where(self) -> str:
        """``file:line``, as editors understand it."""
        return f"{self.path}:{self.line}"


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield ``(number, line)`` of a UTF-8 file, plain or gzip by its content, without the line end.

    Only ``\n`` (or ``\r\n``) ends a line: U+2028, U+0085 and the ASCII separators occur inside sentences
    of real data. A byte-order mark is dropped.

    Raises:
        ValueError: for an empty file, a blank line, broken UTF-8 or broken gzip.
    """
    number = 0
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
        while True:
            try:
                data = stream.readline()
            except BROKEN_GZIP as error:
                raise ValueError(
                    f"{path}:{number + 1}: expected whole gzip data, got a broken stream: {error}"
                ) from error
            if not data:
                break
            number += 1
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            try:
                line = data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number}: expected UTF-8, got {error.reason} at byte {error.start}"
                ) from error
            if not line.strip():
                raise ValueError(f"{path}:{number}: expected a row, got a blank line")
            yield number, line
    if not number:
        raise ValueError(f"{path}: expected rows, got an empty file")


def jsonl(path: Path, *, columns: Sequence[str]) -> Iterator[Row]:
    """Read JSON lines: one object a line that holds at least ``columns``.

    Raises:
        ValueError: with file and line, for broken JSON, a line that is no object or a missing column.
    """
    for number, line in _text_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}:{number}: expected one JSON object, got broken JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}:{number}: expected one JSON object, got a {type(value).__name__}")
        missing = [column for column in columns if column not in value]
        if missing:
            raise ValueError(f"{path}:{number}: expected the columns {_list(columns)}, got {_list(value) or 'none'}")
        if "\\u" in line:  # a lone surrogate is valid JSON but no text: a tokenizer would fail on it much later
            for column in columns:
                if isinstance(value[column], str) and not _encodable(value[column]):
                    raise ValueError(f"{path}:{number}: expected text in {column!r}, got a lone surrogate")
        yield Row({column: value[column] for column in columns}, path, number)


def tsv(path: Path, *, columns: Sequence[str]) -> Iterator[Row]:
    """Read tab-separated columns without a header, as XTREME writes them.

    Quotes are ordinary characters: they are unbalanced in PAWS-X and XNLI, and a reader that honours them
    glues rows together.

    Raises:
        ValueError: with file and line, for another number of columns.
    """
    for number, line in _text_lines(path):
        fields = line.split("\t")
        if len(fields) != len(columns):
            raise ValueError(
                f"{path}:{number}: expected {len(columns)} columns separated by tabs "
                f"({_list(columns)}), got {len(fields)}"
            )
        yield Row(dict(zip(columns, fields, strict=True)), path, number)


def lines(path: Path, *, columns: Sequence[str] = ("text",)) -> Iterator[Row]:
    """Read monolingual text, one sentence a line, into the single column ``columns[0]``.

    Raises:
        ValueError: with file and line, for a blank line, broken UTF-8 or broken gzip.
    """
    (column,) = columns
    for number, line in _text_lines(path):
        yield Row({column: line}, path, number)


def bitext(first: Path, second: Path, *, columns: Sequence[str] = ("first", "second")) -> Iterator[Row]:
    """Read two files that are parallel by line.

    Raises:
        ValueError: with both files and their line counts, when one is longer; else as `lines`.
    """
    left, right = _text_lines(first), _text_lines(second)
    number = 0
    while True:
        one, two = next(left, None), next(right, None)
        if one is None and two is None:
            return
        if one is None or two is None:
            counts = [number + (line is not None) + sum(1 for _ in rest) for line, rest in ((one, left), (two, right))]
            raise ValueError(
                f"expected parallel files, got {counts[0]} lines in {first} and {counts[1]} lines in {second}"
            )
        number = one[0]
        yield Row(dict(zip(columns, (one[1], two[1]), strict=True)), first, number)


def parquet(paths: Sequence[Path], *, columns: Sequence[str]) -> Iterator[Row]:
    """Read ``columns`` of Parquet files in the order given; a row's line is its row number in its file.

    Raises:
        ValueError: for a file that is no Parquet or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                present = file.schema_arrow.names
                if not set(columns) <= set(present):
                    raise ValueError(f"{path}: expected the columns {_list(columns)}, got {_list(present)}")
                number = 0
                for batch in file.iter_batches(columns=list(columns)):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(values, path, number)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: expected a Parquet file, got a broken one: {error}") from error


def _list(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
