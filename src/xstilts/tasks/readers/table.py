"""One row a line or a record: tab-separated, CSV, JSON lines and Parquet."""

from __future__ import annotations

import csv as _csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xstilts.untrusted import Unpacking

from .text import STRICT_JSON, Row, Unique, encodable, split_tabs, text_lines

_PARQUET_ROWS = 256  # of a batch, whose bytes are counted once it is unpacked


def jsonl(path: Path, *, columns: Sequence[str]) -> Iterator[Row]:
    """Read JSON lines: one object a line that holds at least ``columns``; a column ``id`` is different in every row.

    Raises:
        ValueError: with file and line, for broken JSON (NaN and Infinity are no JSON), a line that is no object, a
            missing column or an id that was given before.
    """
    seen = Unique(path) if "id" in columns else None
    for number, line in text_lines(path):
        value = _object(line, path, number)
        missing = [column for column in columns if column not in value]
        if missing:
            raise ValueError(f"{path}:{number}: expected the columns {_list(columns)}, got {_list(value) or 'none'}")
        if "\\u" in line:
            for column in columns:
                if not encodable(value[column]):
                    raise ValueError(f"{path}:{number}: expected text in {column!r}, got a lone surrogate")
        if seen is not None:
            seen.add(value["id"], number)
        yield Row({column: value[column] for column in columns}, path, number)


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        value = STRICT_JSON.decode(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}:{number}: expected one JSON object, got broken JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}:{number}: expected one JSON object, got a {type(value).__name__}")
    return value


def tsv(path: Path, *, columns: Sequence[str]) -> Iterator[Row]:
    """Read tab-separated columns without a header, as XTREME writes them.

    Quotes are ordinary characters: they are unbalanced in PAWS-X and XNLI, and a reader that honours them
    glues rows together.

    Raises:
        ValueError: with file and line, for another number of columns.
    """
    for number, line in text_lines(path):
        fields = split_tabs(line, columns, path, number)
        yield Row(dict(zip(columns, fields, strict=True)), path, number)


def csv(path: Path, *, columns: Sequence[str]) -> Iterator[Row]:
    """Read comma-separated values with a header and quotes (RFC 4180); a column ``id`` is different in every row.

    A quoted field may hold line ends; the line of a row is the one it starts on.

    Raises:
        ValueError: with file and line, for broken quotes, a header without ``columns``, a record of another length
            than the header, an id that was given before, and a header without records.
    """
    records = _records(path)
    line, header = next(records)
    if not set(columns) <= set(header) or len(set(header)) != len(header):
        raise ValueError(f"{path}:{line}: expected a header with the columns {_list(columns)}, got {_list(header)}")
    seen = Unique(path) if "id" in columns else None
    empty = True
    for line, fields in records:
        if len(fields) != len(header):
            raise ValueError(f"{path}:{line}: expected {len(header)} columns, as in the header, got {len(fields)}")
        values = dict(zip(header, fields, strict=True))
        if seen is not None:
            seen.add(values["id"], line)
        empty = False
        yield Row({column: values[column] for column in columns}, path, line)
    if empty:
        raise ValueError(f"{path}: expected rows, got a header only")


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each with the line it starts on."""
    reader = _csv.reader((line + "\n" for _, line in text_lines(path, blank=True)), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except _csv.Error as error:
            raise ValueError(f"{path}:{start}: expected comma-separated values, got broken ones: {error}") from error
        yield start, record


def parquet(paths: Sequence[Path], *, columns: Sequence[str]) -> Iterator[Row]:
    """Read ``columns`` of Parquet files in the order given; a row's line is its row number in its file.

    Raises:
        ValueError: for a file that is no Parquet, lacks a column, has Arrow dictionaries in one, or unpacks to more
            than it may.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            unpacking = Unpacking(path, path.stat().st_size)
            with pq.ParquetFile(path) as file:
                present = file.schema_arrow.names
                if not set(columns) <= set(present):
                    raise ValueError(f"{path}: expected the columns {_list(columns)}, got {_list(present)}")
                if packed := [name for name in columns if "dictionary<" in str(file.schema_arrow.field(name).type)]:
                    raise ValueError(f"{path}: expected plain values in {_list(packed)}, got Arrow dictionaries")
                number = 0
                for batch in file.iter_batches(_PARQUET_ROWS, columns=list(columns)):
                    unpacking.add(batch.nbytes)
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(values, path, number)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: expected a Parquet file, got a broken one: {error}") from error


def social_iqa(path: Path, *, columns: Sequence[str] = ("context", "question", "choices", "label")) -> Iterator[Row]:
    """Read SocialIQA's JSON lines; ``label`` becomes the index of the right one of three choices.

    The gold answer is ``correct`` (A, B, C) in release 1.4 and ``label`` (1, 2, 3) elsewhere.

    Raises:
        ValueError: as `jsonl`, and for neither or both of them, or another answer.
    """
    for number, line in text_lines(path):
        value = _object(line, path, number)
        gold = [(column, names) for column, names in (("correct", "ABC"), ("label", "123")) if column in value]
        if len(gold) != 1:
            raise ValueError(f"{path}:{number}: expected one of the columns correct, label, got {_list(value)}")
        ((column, names),) = gold
        if str(value[column]) not in tuple(names):
            expected = ", ".join(names)
            raise ValueError(f"{path}:{number}: expected {column!r} among {expected}, got {value[column]!r}")
        texts = [value.get(name) for name in ("context", "question", "answerA", "answerB", "answerC")]
        _check_texts(texts, "context, question, answerA, answerB, answerC", value, path, number)
        context, question, *choices = texts
        values = (context, question, tuple(choices), names.index(str(value[column])))
        yield Row(dict(zip(columns, values, strict=True)), path, number)


def commonsense_qa(path: Path, *, columns: Sequence[str] = ("id", "question", "choices", "label")) -> Iterator[Row]:
    """Read CommonsenseQA's JSON lines; ``label`` becomes the index of the right one of five choices, A to E.

    Both forms are read: the release's, with ``question.stem`` and ``question.choices[].{label,text}``, and the flat
    one of its copies, with ``question`` and ``choices.{label,text}[]``.

    Raises:
        ValueError: as `jsonl`, and for other choices than A to E in order.
    """
    seen = Unique(path)
    for number, line in text_lines(path):
        value = _object(line, path, number)
        seen.add(value.get("id"), number)
        asked = value.get("question")
        question, given = asked, value.get("choices")
        if isinstance(asked, dict):
            question, given = asked.get("stem"), asked.get("choices")
        pairs = _choices(given)
        if [label for label, _ in pairs] != list("ABCDE"):
            raise ValueError(f"{path}:{number}: expected the choices A, B, C, D, E, got {given!r}")
        if value.get("answerKey") not in tuple("ABCDE"):
            raise ValueError(f"{path}:{number}: expected an answerKey from A to E, got {value.get('answerKey')!r}")
        choices = tuple(text for _, text in pairs)
        _check_texts([question, *choices], "question, choices", value, path, number)
        values = (value["id"], question, choices, "ABCDE".index(value["answerKey"]))
        yield Row(dict(zip(columns, values, strict=True)), path, number)


def _choices(given: Any) -> list[tuple[Any, Any]]:
    """Labels with texts, from a list of objects or an object of lists; none when it is neither."""
    if isinstance(given, dict):
        labels, texts = given.get("label"), given.get("text")
        if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts):
            return list(zip(labels, texts, strict=True))
    if isinstance(given, list) and all(isinstance(choice, dict) for choice in given):
        return [(choice.get("label"), choice.get("text")) for choice in given]
    return []


def _check_texts(texts: Sequence[Any], names: str, value: dict[str, Any], path: Path, number: int) -> None:
    if not all(isinstance(text, str) and encodable(text) for text in texts):
        raise ValueError(f"{path}:{number}: expected text in {names}, got {value!r}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
