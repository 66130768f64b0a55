"""Lines of text: one sentence a line, parallel files, and sentences with ids."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xstilts import untrusted

MAX_LINE_BYTES = 1 << 30
"""The longest line, and the largest document of one file, that is read: 1 GiB."""
BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


class Row(dict[str, Any]):
    """One row by column name, which remembers its file and its place: a line from 1, or a path into a document."""

    __slots__ = ("line", "path")

    def __init__(self, values: dict[str, Any], path: Path | str, line: int | str) -> None:
        super().__init__(values)
        self.path = path
        self.line = line

    @property
    def where(self) -> str:
        """``file:line``, as editors understand it, or ``file:data[0].paragraphs[2].qas[1]``."""
        return f"{self.path}:{self.line}"


def text_lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    r"""Yield ``(number, line)`` of a UTF-8 file, plain or gzip by its content, without the line end.

    Only ``\n`` (or ``\r\n``) ends a line: U+2028, U+0085 and the ASCII separators occur inside sentences
    of real data. A byte-order mark is dropped.

    Args:
        path: the file.
        blank: whether blank lines are part of the format.

    Raises:
        ValueError: for an empty file, a blank line where none belongs, broken UTF-8 or broken gzip, and what is too
            large: see `MAX_LINE_BYTES` and `xstilts.untrusted`.
    """
    number = 0
    with untrusted.unpacked(path) as stream:
        while True:
            try:
                data = stream.readline(MAX_LINE_BYTES + 1)
            except BROKEN_GZIP as error:
                raise ValueError(
                    f"{path}:{number + 1}: expected whole gzip data, got a broken stream: {error}"
                ) from error
            if not data:
                break
            number += 1
            if len(data) > MAX_LINE_BYTES:
                raise ValueError(
                    f"{path}:{number}: expected lines of at most {MAX_LINE_BYTES:,} bytes, got a longer one"
                )
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            try:
                line = data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number}: expected UTF-8, got {error.reason} at byte {error.start}"
                ) from error
            if not blank and not line.strip():
                raise ValueError(f"{path}:{number}: expected a row, got a blank line")
            yield number, line
    if not number:
        raise ValueError(f"{path}: expected rows, got an empty file")


def document_text(path: Path) -> str:
    """The whole text of a file that is one document.

    Raises:
        ValueError: as `text_lines`, and for more than `MAX_LINE_BYTES` characters.
    """
    parts, length = [], 0
    for number, line in text_lines(path, blank=True):
        parts.append(line)
        length += len(line) + 1
        if length > MAX_LINE_BYTES:
            raise ValueError(f"{path}:{number}: expected a document of at most {MAX_LINE_BYTES:,} characters")
    return "\n".join(parts)


def lines(path: Path, *, columns: Sequence[str] = ("text",)) -> Iterator[Row]:
    """Read monolingual text, one sentence a line, into the single column ``columns[0]``.

    Raises:
        ValueError: with file and line, for a blank line, broken UTF-8 or broken gzip.
    """
    (column,) = columns
    for number, line in text_lines(path):
        yield Row({column: line}, path, number)


def bitext(first: Path, second: Path, *, columns: Sequence[str] = ("first", "second")) -> Iterator[Row]:
    """Read two files that are parallel by line.

    Raises:
        ValueError: with both files and their line counts, when one is longer; else as `lines`.
    """
    left, right = text_lines(first), text_lines(second)
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


def bucc(
    first: Path, second: Path, gold: Path, *, columns: Sequence[str] = ("side", "id", "text", "pairs")
) -> Iterator[Row]:
    """Read the mining task of BUCC 2018: two files of ``id TAB sentence`` and one of gold pairs of ids.

    Every sentence is a row, those of ``first`` before those of ``second``: its side (0 or 1), id, text and the ids
    of its translations on the other side, mostly none. Format: https://comparable.limsi.fr/bucc2018

    Raises:
        ValueError: with file and line, for another number of columns, an id that is given twice, and a gold pair
            of an id that its file does not have.
    """
    pairs: tuple[dict[str, list[str]], ...] = ({}, {})
    lines_of: tuple[dict[str, int], ...] = ({}, {})
    for number, ids in _fields(gold, ("id", "id")):
        for side in (0, 1):
            pairs[side].setdefault(ids[side], []).append(ids[1 - side])
            lines_of[side].setdefault(ids[side], number)
    for side, path in enumerate((first, second)):
        seen = Unique(path)
        for number, (id, text) in _fields(path, ("id", "sentence")):
            seen.add(id, number)
            values = (side, id, text, tuple(pairs[side].get(id, ())))
            yield Row(dict(zip(columns, values, strict=True)), path, number)
        for id, number in lines_of[side].items():
            if id not in seen:
                raise ValueError(f"{gold}:{number}: expected an id of {path}, got {id!r}")


def _fields(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in text_lines(path):
        yield number, split_tabs(line, names, path, number)


def split_tabs(line: str, names: Sequence[str], path: Path, number: int) -> list[str]:
    """The fields of a line, one for each name.

    Raises:
        ValueError: with file and line, for another number of fields.
    """
    fields = line.split("\t")
    if len(fields) != len(names):
        raise ValueError(
            f"{path}:{number}: expected {len(names)} columns separated by tabs ({', '.join(names)}), got {len(fields)}"
        )
    return fields


class Unique(dict[str, int | str]):
    """Ids of a file with the place where each was given; a second time is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def add(self, id: Any, place: int | str) -> None:
        """Take an id.

        Raises:
            ValueError: with both places, for an id that was given before; for one that is no text or number.
        """
        if not isinstance(id, str | int) or id == "":
            raise ValueError(f"{self.path}:{place}: expected an id, got {id!r}")
        if str(id) in self:
            raise ValueError(f"{self.path}:{place}: expected an id of its own, got {id!r} of {self[str(id)]} again")
        self[str(id)] = place


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


STRICT_JSON = json.JSONDecoder(parse_constant=_refuse)
"""NaN and Infinity, which Python's reader takes, are no JSON."""


def encodable(value: Any) -> bool:
    """Whether all text in a JSON value is text: a lone surrogate is valid JSON and fails a tokenizer much later."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
