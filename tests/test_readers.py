"""Readers: every official format, and every way a file can be broken."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts import tasks
from xstilts.tasks import Choices, readers
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
        (readers.lines, gzip.compress(b"", mtime=0), r"bad: expected rows, got an empty file"),
        (readers.lines, b"a\n\nb\n", r"bad:2: expected a row, got a blank line"),
        (readers.lines, b"a\n \r\n", r"bad:2: expected a row, got a blank line"),
        (readers.lines, b"a\nb\xff\n", r"bad:2: expected UTF-8, got .* at byte 1"),
        (readers.lines, "a\nb\n".encode("utf-16"), r"bad:1: expected UTF-8"),
        (readers.lines, gzip.compress(b"a\n" * 10_000, mtime=0)[:-12], r"bad:\d+: expected whole gzip data"),
        (readers.lines, b"\x1f\x8bnot gzip at all", r"bad:1: expected whole gzip data"),
        (
            tsv,
            b"a\tb\tx\na\tb\n",
            r"bad:2: expected 3 columns separated by tabs \(premise, hypothesis, label\), got 2",
        ),
        (tsv, b"a\tb\tx\ty\n", r"bad:1: expected 3 columns .*, got 4"),
        (jsonl, GOOD_JSON + b'{"premise": \n', r"bad:2: expected one JSON object, got broken JSON"),
        (jsonl, GOOD_JSON.replace(b'"x"', b"NaN"), r"bad:1: expected one JSON object, got .*NaN is not JSON"),
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


def test_an_id_is_given_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": "x"}\n{"id": "y"}\n{"id": "x"}\n')
    with pytest.raises(ValueError, match=r"a.jsonl:3: expected an id of its own, got 'x' of 1 again"):
        list(readers.jsonl(path, columns=("id",)))


# ------------------------------------------------------------ CSV


def test_csv_keeps_quoted_line_ends_and_knows_the_line_a_row_starts_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'id,b,unused\r\n1,"x, ""y""\r\n\r\nz",-\r\n2,"",-\r\n')
    rows = list(readers.csv(path, columns=("b", "id")))
    assert rows == [{"b": 'x, "y"\n\nz', "id": "1"}, {"b": "", "id": "2"}]
    assert [row.line for row in rows] == [2, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,a\n1,x\n", r"bad:1: expected a header with the columns id, b, got id, a"),
        ("id,b,b\n1,x,y\n", r"bad:1: expected a header"),
        ("id,b\n1,x\n2\n", r"bad:3: expected 2 columns, as in the header, got 1"),
        ("id,b\n1,x\n\n2,y\n", r"bad:3: expected 2 columns, as in the header, got 0"),
        ('id,b\n1,x\n2,"y\n', r"bad:3: expected comma-separated values, got broken ones: unexpected end of data"),
        ('id,b\n1,"x"y\n', r"bad:2: expected comma-separated values"),
        ("id,b\n1,x\n1,y\n", r"bad:3: expected an id of its own, got '1' of 2 again"),
        ("id,b\n,x\n", r"bad:2: expected an id, got ''"),
        ("id,b\n", r"bad: expected rows, got a header only"),
        ("", r"bad: expected rows, got an empty file"),
    ],
)
def test_a_broken_csv_is_an_error_that_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(readers.csv(write(tmp_path / "bad", content), columns=("id", "b")))


# ------------------------------------------------------------ parallel text and mining


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
    pq.write_table(pa.table({"n": pa.array(["a"]).dictionary_encode()}), paths[0])
    with pytest.raises(ValueError, match=r"/a: expected plain values in n, got Arrow dictionaries"):
        list(readers.parquet(paths, columns=("n",)))
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"/b: expected a Parquet file"):
        list(readers.parquet(paths[1:], columns=("n",)))


def bucc_files(folder: Path, **changed: str) -> list[Path]:
    files = {"de": "de-1\teins\nde-2\tzwei\n", "en": "en-7\ttwo\nen-8\tthree\nen-9\tone\n"}
    files |= {"gold": "de-1\ten-9\nde-2\ten-7\n"}
    return [write(folder / name, (files | changed)[name]) for name in ("de", "en", "gold")]


def test_bucc_gives_every_sentence_with_its_gold_pairs(tmp_path: Path) -> None:
    rows = list(readers.bucc(*bucc_files(tmp_path)))
    assert [tuple(row.values()) for row in rows] == [
        (0, "de-1", "eins", ("en-9",)),
        (0, "de-2", "zwei", ("en-7",)),
        (1, "en-7", "two", ("de-2",)),
        (1, "en-8", "three", ()),
        (1, "en-9", "one", ("de-1",)),
    ]
    assert rows[2].where == f"{tmp_path}/en:1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"de": "de-1\teins\n"}, r"gold:2: expected an id of .*/de, got 'de-2'"),
        ({"gold": "de-1\ten-1\n"}, r"gold:1: expected an id of .*/en, got 'en-1'"),
        ({"gold": "de-1\n"}, r"gold:1: expected 2 columns separated by tabs \(id, id\), got 1"),
        ({"en": "en-7\ttwo\nen-7\tone\n"}, r"en:2: expected an id of its own, got 'en-7' of 1 again"),
        ({"de": "de-1 eins\n"}, r"de:1: expected 2 columns separated by tabs \(id, sentence\), got 1"),
    ],
)
def test_broken_bucc_files_are_errors(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(readers.bucc(*bucc_files(tmp_path, **changed)))


# ------------------------------------------------------------ tagged sentences


def pairs(row: Row) -> list[tuple[str, str]]:
    return list(zip(row["words"], row["tags"], strict=True))


def test_conll_sentences_end_at_blank_lines_and_start_at_their_first_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "\nde:x\tO\n\u00a0\tB-PER\n\n\n12:30\tO")
    rows = list(readers.conll(path))
    assert [pairs(row) for row in rows] == [[("de:x", "O"), ("\u00a0", "B-PER")], [("12:30", "O")]]
    assert [row.line for row in rows] == [2, 6]


def test_wikiann_tokens_lose_the_language_of_their_file(tmp_path: Path) -> None:
    path = write(tmp_path / "train", gzip.compress(b"de:a:b\tO\nde::\tO\n\nde:c\tB-ORG\n\n"))
    assert [pairs(row) for row in readers.wikiann(path)] == [[("a:b", "O"), (":", "O")], [("c", "B-ORG")]]


CONLLU = """# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_
5.1\tvamos\tir\tVERB\t_\t_\t_\t_\t_\t_

1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


def test_conllu_counts_syntactic_words_only(tmp_path: Path) -> None:
    """The example of universaldependencies.org/format.html: fused forms and empty nodes are no words."""
    rows = list(readers.conllu(write(tmp_path / "a.conllu", CONLLU)))
    assert [row["words"] for row in rows] == [("vamos", "nos", "a", "el", "mar"), ("#",)]
    assert [row["tags"] for row in rows] == [("VERB", "PRON", "ADP", "DET", "NOUN"), ("SYM",)]
    assert [row.line for row in rows] == [1, 12]


TREE = (
    r"(<T S[dcl] 0 2> (<L NP PRP PRP We NP>) (<T S[dcl]\NP 0 2> (<L (S[dcl]\NP)/NP VBP VBP like (S[dcl]\NP_1)/NP_2>) "
    r"(<T NP 0 1> (<L N NNS NNS trees N>) ) ) )"
)
HEADER = "ID=wsj_0001.{} PARSER=GOLD NUMPARSE=1"


def test_ccgbank_supertags_are_the_categories_of_the_leaves(tmp_path: Path) -> None:
    path = write(tmp_path / "a.auto", "\n".join((HEADER.format(1), TREE, HEADER.format(2), TREE, "")))
    rows = list(readers.ccgbank(path))
    assert [pairs(row) for row in rows] == [[("We", "NP"), ("like", r"(S[dcl]\NP)/NP"), ("trees", "N")]] * 2
    assert [row.line for row in rows] == [2, 4]


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (readers.conll, "a\tO\nb\n", r"bad:2: expected 2 columns separated by tabs \(word, tag\), got 1"),
        (readers.conll, "a\tO\n \nb\tO\n", r"bad:2: expected 2 columns"),
        (readers.conll, "a\tO\textra\n", r"bad:1: expected 2 columns .*, got 3"),
        (readers.conll, "a\tO\n\tO\n", r"bad:2: expected a word and a tag"),
        (readers.conll, "a\t\n", r"bad:1: expected a word and a tag"),
        (readers.conll, "\n\n", r"bad: expected sentences, got blank lines"),
        (readers.conll, "", r"bad: expected rows, got an empty file"),
        (readers.wikiann, "de:a\tO\n\nb\tO\n", r"bad:3: expected a token after de:, got 'b'"),
        (readers.wikiann, "de:a\tO\nen:b\tO\n", r"bad:2: expected a token after de:, got 'en:b'"),
        (readers.wikiann, "de:\tO\n", r"bad:1: expected a token after its language:, got 'de:'"),
        (readers.conllu, CONLLU.replace("\n2\t", "\n3\t", 1), r"bad:5: expected the id 2, got '3'"),
        (readers.conllu, CONLLU.replace("3-4", "4-5"), r"bad:6: expected the id 3, got '4-5'"),
        (readers.conllu, CONLLU.replace("3-4", "3-3"), r"bad:6: expected the id 3, got '3-3'"),
        (
            readers.conllu,
            CONLLU.replace("\t0\troot", "", 1),
            r"bad:4: expected 10 columns separated by tabs \(ID, FORM",
        ),
        (readers.conllu, CONLLU + "\n# text = \n", r"bad:14: expected a sentence, got one without words"),
        (readers.conllu, CONLLU.replace("mar\tmar", "\tmar"), r"bad:9: expected a form and a part of speech"),
        (readers.ccgbank, f"{HEADER.format(1)}\n", r"bad:1: expected a derivation after wsj_0001.1, got the end"),
        (readers.ccgbank, f"{TREE}\n", r"bad:1: expected a line ID="),
        (readers.ccgbank, f"{HEADER.format(1)}\n{TREE[:-1]}\n", r"bad:2: expected the derivation of wsj_0001.1"),
        (readers.ccgbank, f"{HEADER.format(1)}\n{TREE} )\n", r"bad:2: expected the derivation of wsj_0001.1"),
        (readers.ccgbank, f"{HEADER.format(1)}\n{TREE.replace(' We', '')}\n", r"bad:2: expected the derivation"),
        (
            readers.ccgbank,
            f"{HEADER.format(1)}\n{TREE}\n" * 2,
            r"bad:3: expected an id of its own, got 'wsj_0001.1' of 1 again",
        ),
    ],
)
def test_broken_tagged_files_are_errors_that_name_the_line(
    tmp_path: Path, reader: Callable[[Path], Iterator[Row]], content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(reader(write(tmp_path / "bad", content)))


# ------------------------------------------------------------ questions on paragraphs


def document(*qas: dict[str, Any], context: str = "A cat sat.  It left.", **more: Any) -> dict[str, Any]:
    """A document of SQuAD's format: an article without questions and one with ``qas``."""
    empty = {"title": "empty", "paragraphs": [{"context": "Nothing.", "qas": []}]}
    return {"data": [empty, {"title": "t", "paragraphs": [{"context": context, "qas": list(qas)} | more]}]}


def asked(id: str = "q1", *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    own = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": f"{id}?", "answers": own} | more


def write_json(path: Path, value: Any) -> Path:
    return write(path, json.dumps(value))


def test_squad_rows_are_questions_with_their_place_in_the_document(tmp_path: Path) -> None:
    two = asked("q2", is_impossible=True, plausible_answers=[{"text": "sat", "answer_start": 6}])
    path = write_json(tmp_path / "a.json", document(asked("q1", ("cat", 2), ("A cat", 0)), two))
    rows = list(readers.squad(path))
    assert [row["answers"] for row in rows] == [(("cat", 2), ("A cat", 0)), ()]
    assert [row["id"] for row in rows] == ["q1", "q2"]
    assert rows[0] == {
        "id": "q1",
        "context": "A cat sat.  It left.",
        "question": "q1?",
        "answers": (("cat", 2), ("A cat", 0)),
    }
    assert rows[1].where == f"{path}:data[1].paragraphs[0].qas[1]"


def test_offsets_count_characters_and_are_checked_with_the_example(tmp_path: Path) -> None:
    good = document(asked("q1", ("كتاب", 3)), context="😀 \u0301كتاب")
    (tmp_path / "xquad").mkdir()
    one = replace(tasks.find("xquad"), rows={"test": 1})
    write_json(tmp_path / "xquad" / "xquad.ar.json", good)
    assert tasks.examples(one, "test", "ar", tmp_path)[0].answers == (("كتاب", 3),)  # type: ignore[union-attr]
    write_json(tmp_path / "xquad" / "xquad.ar.json", document(asked("q1", ("cat", 1))))
    with pytest.raises(ValueError, match=r"qas\[0\]: expected the answer 'cat' at offset 1, got ' ca'"):
        tasks.examples(one, "test", "ar", tmp_path)
    write_json(tmp_path / "xquad" / "xquad.ar.json", document(asked("q1")))
    with pytest.raises(ValueError, match=r"qas\[0\]: expected an answer, got none"):
        tasks.examples(one, "test", "ar", tmp_path)


def test_questions_on_excluded_paragraphs_are_left_out_whatever_their_white_space(tmp_path: Path) -> None:
    both = document(asked("q1", ("cat", 2)))
    both["data"].append({"title": "u", "paragraphs": [{"context": "A dog sat.", "qas": [asked("q3", ("dog", 2))]}]})
    path = write_json(tmp_path / "a.json", both)
    excluded = write_json(
        tmp_path / "b.json", document(asked("other", ("cat", 2)), context=" A cat\u00a0sat. It left.")
    )
    (row,) = readers.squad_without(path, excluded)
    assert row == list(readers.squad(path))[1]
    assert row.where == f"{path}:data[2].paragraphs[0].qas[0]"


BREAKS: dict[str, Any] = {"sentence_breaks": [[0, 10], [12, 20]], "sentences": ["A cat sat.", "It left."]}


def test_lareqa_is_one_pool_of_the_sentences_of_all_languages(tmp_path: Path) -> None:
    qas = (asked("q1", ("cat", 2)), asked("q2", ("left", 15), ("cat", 2)), asked("q3", ("sat.  It", 6)))
    german = {"context": "Weg. Sie sass.", "sentence_breaks": [[0, 4], [5, 14]], "sentences": ["Weg.", "Sie sass."]}
    other = (asked("q1", ("sass", 9)), asked("q2", ("Weg", 0)), asked("q3", ("sass", 9)))
    paths = [
        write_json(tmp_path / "en.json", document(*qas, **BREAKS)),
        write_json(tmp_path / "de.json", document(*other, **german)),
    ]
    rows = list(readers.lareqa(*paths))
    pool = {row["id"]: row for row in rows if not row["is_query"]}
    assert [row["text"] for row in pool.values()] == ["A cat sat.", "It left.", "Weg.", "Sie sass."]
    assert {row["context"] for row in pool.values() if row["language"] == "de"} == {"Weg. Sie sass."}
    asks = [row for row in rows if row["is_query"]]
    assert rows[: len(asks)] == asks, "queries come first"
    right = {row["id"]: [pool[gold]["text"] for gold in row["golds"]] for row in asks}
    assert right["en q1"] == right["de q1"] == ["A cat sat.", "Sie sass."]
    assert right["en q2"] == right["de q2"] == ["It left.", "Weg."]
    assert right["de q3"] == ["A cat sat.", "Sie sass."]
    fewer = write_json(tmp_path / "fr.json", document(*other[:2], **german))
    with pytest.raises(ValueError, match=r"fr.json: expected the questions of .*en.json, got .* for 'q3'"):
        list(readers.lareqa(*paths, fewer))
    answered = {row["id"]: [gold[:2] for gold in row["golds"]] for row in readers.mlqa_r(paths[0], fewer)}
    assert answered["en q1"] == answered["fr q1"] == ["en", "fr"]
    assert answered["en q3"] == ["en"], "MLQA asks each question in some of its languages"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat sat. It left.", ["A cat sat. ", "It left."]),
        ('He said "Go." Then 3 men left!  (All.)', ['He said "Go." ', "Then 3 men left!  ", "(All.)"]),
        ("J. R. Smith met Dr. Who on the 5th. of May", ["J. R. Smith met Dr. Who on the 5th. of May"]),
        ("No end", ["No end"]),
    ],
)
def test_sentences_end_before_capitals_but_not_after_initials(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in readers.sentences(text)] == expected


def test_squad_sentences_are_those_of_the_first_answer(tmp_path: Path) -> None:
    qas = (asked("q1", ("cat", 2)), asked("q2", ("left", 14), ("cat", 2)))
    path = write_json(tmp_path / "a.json", document(*qas, context="A cat sat. It left."))
    assert [(row["sentence"], row["context"]) for row in readers.squad_sentences(path)] == [
        ("A cat sat. ", "A cat sat. It left."),
        ("It left.", "A cat sat. It left."),
    ]


MENTIONED = "Snow {fell}. In Helsinki\nit  rained. Then sun."


def mentions(**changed: Any) -> str:
    span = {"start": 16, "end": 24, "text": "Helsinki"} | changed.pop("mention_span", {})
    spans = changed.pop("sentence_spans", [{"start": 0, "end": 12}, {"start": 13, "end": 36}, {"start": 37, "end": 46}])
    one = {"example_id": "m1", "mention_span": span, "entity_id": "Q1757"} | changed
    context = {"language": "en", "text": MENTIONED, "sentence_spans": spans}
    return json.dumps({"context": context, "mentions": [one]}) + "\n"


def entity(**changed: Any) -> dict[str, Any]:
    spans = [{"start": 0, "end": 7}, {"start": 8, "end": 13}]
    known = {"entity_id": "Q1757", "description": "A town.\nCold. Far.", "description_language": "fi"}
    return known | {"sentence_spans": spans} | changed


def test_mewsli_x_has_mentions_in_a_sentence_and_descriptions(tmp_path: Path) -> None:
    whole = [{"start": 0, "end": 36}]
    path = write(tmp_path / "mentions.jsonl", mentions() + mentions(example_id="m2", sentence_spans=whole))
    entities = write(tmp_path / "entities.jsonl", json.dumps(entity()) + "\n")
    rows = list(readers.mewsli_x(entities, path))
    assert [tuple(row.values()) for row in rows] == [
        ("Helsinki: In { Helsinki } it rained.", "m1", True, "en", ("Q1757",), ""),
        ("Helsinki: Snow (fell). In { Helsinki } it rained.", "m2", True, "en", ("Q1757",), ""),
        ("A town. Cold.", "Q1757", False, "fi", (), ""),
    ]
    assert rows[1].where == f"{path}:2:mentions[0]"


def test_mewsli_pairs_are_a_mention_and_its_description(tmp_path: Path) -> None:
    pair = json.loads(mentions())
    contextual = {"context": pair["context"], "mention": pair["mentions"][0]}
    path = write(tmp_path / "a.jsonl", json.dumps({"contextual_mention": contextual, "entity": entity()}) + "\n")
    (row,) = readers.mewsli_pairs(path)
    assert row == {"first": "Helsinki: In { Helsinki } it rained.", "second": "A town. Cold."}
    broken = write(tmp_path / "b.jsonl", json.dumps({"contextual_mention": contextual, "entity": {}}) + "\n")
    with pytest.raises(ValueError, match=r"b.jsonl:1: expected an entity with a description"):
        list(readers.mewsli_pairs(broken))


def mewsli(mentioned: Path) -> Iterator[Row]:
    """Mentions without candidates."""
    entities = mentioned.with_name("entities.jsonl")
    return readers.mewsli_x(write(entities, json.dumps(entity()) + "\n"), mentioned)


def test_hidden_pairs_are_the_first_hypothesis_of_every_premise(tmp_path: Path) -> None:
    sides = [[f"p{i // 3}\t{code} {i}\tneutral" for i in range(6)] for code in ("de", "en")]
    paths = [write(tmp_path / f"{i}.tsv", "\n".join(side) + "\n") for i, side in enumerate(sides)]
    rows = [tuple(row.values()) for row in readers.hidden_pairs(*paths)]
    assert rows[:4] == [(0, "1", "de 0", ("1",)), (1, "1", "en 0", ("1",)), (0, "2", "de 1", ()), (1, "3", "en 2", ())]
    assert len(rows) == 8
    shorter = write(tmp_path / "2.tsv", "\n".join(sides[1][:3]) + "\n")
    with pytest.raises(ValueError, match=r"expected parallel files, got 6 lines in .*0.tsv and 3 lines in"):
        list(readers.hidden_pairs(paths[0], shorter))


AT = r"bad:data\[1\].paragraphs\[0\]"


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (readers.squad, '{"data":\n[}', r"bad:2: expected a JSON document, got broken JSON"),
        (readers.squad, '{"data": [NaN]}', r"bad: expected a JSON document, got broken JSON: NaN is not JSON"),
        (readers.squad, "[]", r"bad:1: expected an object with the list 'data', got '\[\]'"),
        (readers.squad, document(), r"bad: expected questions, got none"),
        (
            readers.squad,
            document(asked(), {"id": "q2"}),
            rf"{AT}.qas\[1\]: expected an object with the text 'question'",
        ),
        (
            readers.squad,
            document(asked(), asked()),
            rf"{AT}.qas\[1\]: expected an id of its own, got 'q1' of data\[1\]",
        ),
        (readers.squad, document(asked(answers=None)), rf"{AT}.qas\[0\]: expected an object with the list 'answers'"),
        (readers.squad, document(asked("q1", ("", 0))), rf"{AT}.qas\[0\].answers\[0\]: expected an answer"),
        (readers.squad, document(asked("q1", ("cat", "2"))), r"answers\[0\]: expected an answer and its answer_start"),  # type: ignore[arg-type]
        (readers.squad, document(asked(is_impossible=False)), r"expected an answer to a possible question, got 0"),
        (
            readers.squad,
            document(asked("q1", ("cat", 2), is_impossible=True)),
            r"expected no answer to an impossible question, got 1",
        ),
        (readers.squad, document(asked(is_impossible="no")), r"expected is_impossible true or false, got 'no'"),
        (readers.squad, document(asked(question="\ud800")), rf"{AT}.qas\[0\]: expected text, got a lone surrogate"),
        (
            readers.lareqa,
            document(asked("q1", ("cat", 2))),
            rf"{AT}: expected an object with the list 'sentence_breaks'",
        ),
        (
            readers.lareqa,
            document(asked("q1", ("cat", 2)), **BREAKS | {"sentence_breaks": [[0, 10]]}),
            rf"{AT}: expected the offsets of its sentences",
        ),
        (
            readers.lareqa,
            document(asked("q1", ("cat", 2)), **BREAKS | {"sentence_breaks": [[0, 10], [9, 20]]}),
            rf"{AT}: expected the offsets of its sentences",
        ),
        (
            readers.lareqa,
            document(asked("q1", ("cat", 2)), **BREAKS | {"sentence_breaks": [[0, 10], [12, 21]]}),
            rf"{AT}: expected the offsets of its sentences",
        ),
        (
            readers.lareqa,
            document(asked("q1", ("cat", 2)), **BREAKS | {"sentence_breaks": [[0, 10], [12, "20"]]}),
            rf"{AT}: expected the offsets of its sentences",
        ),
        (
            readers.lareqa,
            document(asked("q1", (" ", 10)), **BREAKS),
            r"expected the answer ' ' in a sentence at offset 10",
        ),
        (readers.lareqa, document(asked("q1", ("dog", 2)), **BREAKS), r"expected the answer 'dog' in a sentence"),
        (readers.lareqa, document(asked("q1"), **BREAKS), r"qas\[0\]: expected an answer, got none"),
        (mewsli, mentions() + mentions(), r"bad:2:mentions\[0\]: expected an id of its own, got 'm1' of 1:"),
        (mewsli, mentions(mention_span={"start": 17}), r"expected 'Helsinki' at offset 17, got 'elsinki'"),
        (mewsli, mentions(mention_span={"end": None}), r"bad:1:mentions\[0\]: expected"),
        (mewsli, mentions(mention_span={"start": "3"}), r"bad:1:mentions\[0\]: expected"),
        (mewsli, mentions(sentence_spans=[]), r"bad:1:mentions\[0\]: expected a sentence that holds 'Helsinki'"),
        (mewsli, '{"context": {}, "mentions": [{}]}\n', r"bad:1:mentions\[0\]: expected a mention"),
    ],
)
def test_broken_documents_are_errors_that_name_the_place(
    tmp_path: Path, reader: Callable[[Path], Iterator[Row]], content: Any, message: str
) -> None:
    path = tmp_path / "bad"
    with pytest.raises(ValueError, match=message):
        list(reader(write(path, content) if isinstance(content, str) else write_json(path, content)))


# ------------------------------------------------------------ multiple choice


def social(**changed: Any) -> str:
    row = {"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "C"} | changed
    return json.dumps({name: value for name, value in row.items() if value is not None}) + "\n"


def test_social_iqa_writes_its_answers_in_two_ways(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", social() + social(correct=None, label="2") + social(correct=None, label=1))
    rows = list(readers.social_iqa(path))
    assert [row["label"] for row in rows] == [2, 1, 0]
    assert rows[0] == {"context": "c", "question": "q", "choices": ("a", "b", "c"), "label": 2}


def commonsense(*, flat: bool = True, **changed: Any) -> str:
    labels, texts = list(changed.pop("labels", "ABCDE")), [f"{i}" for i in range(5)]
    row: dict[str, Any] = {"id": "i1", "answerKey": "D"} | changed
    if flat:
        row |= {"question": "q", "choices": {"label": labels, "text": texts}}
    else:
        choices = [{"label": label, "text": text} for label, text in zip(labels, texts, strict=True)]
        row |= {"question": {"stem": "q", "question_concept": "x", "choices": choices}}
    return json.dumps(row) + "\n"


def test_commonsense_qa_is_read_in_both_forms(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", commonsense() + commonsense(flat=False, id="i2"))
    one, two = readers.commonsense_qa(path)
    assert one == {"id": "i1", "question": "q", "choices": ("0", "1", "2", "3", "4"), "label": 3}
    assert one | {"id": "i2"} == two


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (readers.social_iqa, social(label="3"), r"bad:1: expected one of the columns correct, label, got context"),
        (readers.social_iqa, social(correct=None), r"bad:1: expected one of the columns correct, label"),
        (readers.social_iqa, social() + social(correct="D"), r"bad:2: expected 'correct' among A, B, C, got 'D'"),
        (readers.social_iqa, social(correct=None, label=0), r"bad:1: expected 'label' among 1, 2, 3, got 0"),
        (readers.social_iqa, social(answerB=None), r"bad:1: expected text in context, question, answerA"),
        (readers.social_iqa, social(question="\ud800"), r"bad:1: expected text in context, question"),
        (readers.commonsense_qa, commonsense(labels="ABDCE"), r"bad:1: expected the choices A, B, C, D, E"),
        (readers.commonsense_qa, commonsense(flat=False, labels="ABCDD"), r"bad:1: expected the choices A, B, C, D, E"),
        (readers.commonsense_qa, commonsense(answerKey=""), r"bad:1: expected an answerKey from A to E, got ''"),
        (readers.commonsense_qa, commonsense() * 2, r"bad:2: expected an id of its own, got 'i1' of 1 again"),
        (readers.commonsense_qa, '{"id": "a", "answerKey": "A"}\n', r"bad:1: expected the choices"),
        (readers.commonsense_qa, '{"id": "a", "choices": {"label": 1, "text": []}}\n', r"bad:1: expected the choices"),
        (readers.commonsense_qa, '{"answerKey": "A"}\n', r"bad:1: expected an id, got None"),
    ],
)
def test_broken_choices_are_errors_that_name_the_line(
    tmp_path: Path, reader: Callable[[Path], Iterator[Row]], content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(reader(write(tmp_path / "bad", content)))


@pytest.mark.parametrize(
    ("name", "row", "prompt", "message"),
    [
        ("copa", {"question": "cause"}, "p What was the cause?", None),
        ("xcopa", {"question": "effect"}, "p What was the effect?", None),
        ("copa", {"question": "why"}, "", r"expected the question cause or effect, got 'why'"),
        ("copa", {"question": "cause", "label": 2}, "", r"expected a label from 0 to 1, got 2"),
        ("copa", {"question": "cause", "label": True}, "", r"expected a label from 0 to 1, got True"),
    ],
)
def test_copa_asks_for_the_cause_or_the_effect(
    name: str, row: dict[str, Any], prompt: str, message: str | None
) -> None:
    whole = Row({"premise": "p", "choice1": "a", "choice2": "b", "label": 1, "changed": True} | row, "f", 1)
    if message is None:
        assert tasks.find(name).example(whole) == Choices(prompt, ("a", "b"), 1)
        return
    with pytest.raises(ValueError, match=message):
        tasks.find(name).example(whole)
