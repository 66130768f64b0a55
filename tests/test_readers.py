"""Readers: every official format, and every way a file can be broken."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.tasks import readers
from xstilts.tasks.readers import Row

THREE = ("premise", "hypothesis", "label")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_row_knows_its_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tb\tx\nc\td\ty\n")
    rows = list(readers.tsv(path, columns=THREE))
    assert rows == [
        {"premise": "a", "hypothesis": "b", "label": "x"},
        {"premise": "c", "hypothesis": "d", "label": "y"},
    ]
    assert [row.where for row in rows] == [f"{path}:1", f"{path}:2"]


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a"])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_gzip_is_told_by_content_and_not_by_name(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / name, pack("é\tb\tx\n".encode()))
    assert list(readers.tsv(path, columns=THREE)) == [{"premise": "é", "hypothesis": "b", "label": "x"}]


def test_byte_order_mark_and_crlf_are_tolerated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert [row["text"] for row in readers.lines(path)] == ["one", "two"]


def test_spaces_and_empty_columns_at_the_ends_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", " a \tb\t\r\n")
    assert list(readers.tsv(path, columns=THREE)) == [{"premise": " a ", "hypothesis": "b", "label": ""}]


def test_a_last_line_without_an_end_is_a_row(tmp_path: Path) -> None:
    assert len(list(readers.lines(write(tmp_path / "a.txt", "one\ntwo")))) == 2


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    sentence = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"
    path = write(tmp_path / "a.txt", f"{sentence}\nnext\n")
    assert [row["text"] for row in readers.lines(path)] == [sentence, "next"]
    path = write(tmp_path / "a.jsonl", json.dumps({"text": sentence}, ensure_ascii=False) + "\n")
    assert [row["text"] for row in readers.jsonl(path, columns=("text",))] == [sentence]


def test_quotes_are_ordinary_characters(tmp_path: Path) -> None:
    """Trap T5: a reader that honours quotes glues PAWS-X rows together."""
    path = write(tmp_path / "a.tsv", '"a ""b\tc"\tx\n"d\te\ty\n')
    rows = list(readers.tsv(path, columns=THREE))
    assert [row["premise"] for row in rows] == ['"a ""b', '"d']
    assert [row["hypothesis"] for row in rows] == ['c"', "e"]


texts = st.text(st.characters(exclude_characters="\n\r\t", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    pairs = [(first.removeprefix("\ufeff") or "x", second) for first, second in pairs]
    path = tmp_path_factory.mktemp("rows") / "a.tsv"
    write(path, "".join(f"{first}\t{second}\n" for first, second in pairs))
    assert [tuple(row.values()) for row in readers.tsv(path, columns=("first", "second"))] == pairs


def jsonl(path: Path) -> Iterator[Row]:
    return readers.jsonl(path, columns=THREE)


def tsv(path: Path) -> Iterator[Row]:
    return readers.tsv(path, columns=THREE)


GOOD_JSON = b'{"premise": "a", "hypothesis": "b", "label": "x"}\n'


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (readers.lines, b"", r"bad: expected rows, got an empty file"),
        (readers.lines, gzip.compress(b""), r"bad: expected rows, got an empty file"),
        (readers.lines, b"a\n\nb\n", r"bad:2: expected a row, got a blank line"),
        (readers.lines, b"a\n \r\n", r"bad:2: expected a row, got a blank line"),
        (readers.lines, b"a\nb\xff\n", r"bad:2: expected UTF-8, got .* at byte 1"),
        (readers.lines, "a\nb\n".encode("utf-16"), r"bad:1: expected UTF-8"),
        (readers.lines, gzip.compress(b"a\n" * 10_000)[:-12], r"bad:\d+: expected whole gzip data"),
        (readers.lines, b"\x1f\x8bnot gzip at all", r"bad:1: expected whole gzip data"),
        (
            tsv,
            b"a\tb\tx\na\tb\n",
            r"bad:2: expected 3 columns separated by tabs \(premise, hypothesis, label\), got 2",
        ),
        (tsv, b"a\tb\tx\ty\n", r"bad:1: expected 3 columns .*, got 4"),
        (jsonl, GOOD_JSON + b'{"premise": \n', r"bad:2: expected one JSON object, got broken JSON"),
        (jsonl, b"[" * 100_000, r"bad:1: expected one JSON object, got broken JSON"),
        (jsonl, GOOD_JSON + b"[1, 2]\n", r"bad:2: expected one JSON object, got a list"),
        (
            jsonl,
            b'{"premise": "a", "label": "x"}\n',
            r"bad:1: expected the columns .*hypothesis.*, got premise, label",
        ),
        (
            jsonl,
            GOOD_JSON.replace(b'"a"', b'"\\ud800"'),
            r"bad:1: expected text in 'premise', got a lone surrogate",
        ),
    ],
)
def test_a_broken_file_is_an_error_that_names_the_line(
    tmp_path: Path, reader: Callable[[Path], Iterator[Row]], content: bytes, message: str
) -> None:
    path = write(tmp_path / "bad", content)
    with pytest.raises(ValueError, match=message):
        list(reader(path))


def test_a_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD_JSON.replace(b'"a"', b'"\\ud83d\\ude00"'))
    assert next(jsonl(path))["premise"] == "😀"


def test_bitext_reads_two_files_in_parallel(tmp_path: Path) -> None:
    first, second = write(tmp_path / "x", "eins\nzwei\n"), write(tmp_path / "y", gzip.compress(b"one\ntwo\n"))
    assert list(readers.bitext(first, second)) == [
        {"first": "eins", "second": "one"},
        {"first": "zwei", "second": "two"},
    ]


@pytest.mark.parametrize(("left", "right"), [(2, 5), (5, 2), (2, 3), (3, 2)])
def test_bitext_of_unequal_length_names_both_files_and_counts(tmp_path: Path, left: int, right: int) -> None:
    first, second = write(tmp_path / "x", "a\n" * left), write(tmp_path / "y", "b\n" * right)
    with pytest.raises(ValueError, match=rf"got {left} lines in .*/x and {right} lines in .*/y"):
        list(readers.bitext(first, second))


def test_parquet_reads_shards_in_order_and_checks_columns(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path, values in zip(paths, ([1, 2], [3]), strict=True):
        pq.write_table(pa.table({"n": values, "unused": values}), path)
    rows = list(readers.parquet(paths, columns=("n",)))
    assert rows == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [row.line for row in rows] == [1, 2, 1]
    with pytest.raises(ValueError, match=r"/a: expected the columns text, got n, unused"):
        list(readers.parquet(paths, columns=("text",)))
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"/b: expected a Parquet file"):
        list(readers.parquet(paths, columns=("n",)))
