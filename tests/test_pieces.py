"""Words and contexts as pieces: no word is lost, no answer falls between two windows, offsets are the text's own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from small import byte_tokenizer, shaken, small_folders, some
from xstilts.engine.kinds import span, tag
from xstilts.engine.kinds.frame import Frame
from xstilts.engine.model import Model
from xstilts.tasks import Passage, Span, Tag, Tokens


@pytest.fixture(scope="module")
def folders(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small_folders(cache_dir, tmp_path_factory.mktemp("characters") / "encoder")


@pytest.fixture(params=["pieces", "characters"])
def model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Model:
    return shaken(folders[request.param])


# -------------------------------------------------------------------------------------------------------- tags

LABELS = Tag(("A", "B", "C"))


def tokens(*words: str) -> Tokens:
    return Tokens(words, tuple(LABELS.labels[i % 3] for i in range(len(words))))


def test_words_are_cut_as_the_tokenizer_cuts_words(model: Model) -> None:
    for language in ("en", "zh", "hi"):
        given = [tokens(*example.words) for example in some("mini-xtags", language, 40)]
        columns = tag.encode(LABELS, given, model.tokenizer, 120)
        for row, example in enumerate(given):
            theirs = model.tokenizer(list(example.words), is_split_into_words=True)
            assert columns["ids"][row].tolist() == theirs["input_ids"]
            words = theirs.word_ids()
            firsts = [
                place is not None and place != before for place, before in zip(words, [None, *words], strict=False)
            ]
            expected = [LABELS.labels.index(example.tags[w]) if f else -100 for w, f in zip(words, firsts, strict=True)]
            assert columns["label"][row].tolist() == expected
            if "types" in columns:
                assert columns["types"][row].tolist() == theirs["token_type_ids"]


def test_a_byte_tokenizer_sees_the_space_between_words() -> None:
    tokenizer = byte_tokenizer()
    columns = tag.encode(LABELS, [tokens("Ali", "saß", "da")], tokenizer, 40)
    assert tokenizer.decode(columns["ids"][0]) == "<s>Ali saß da</s>"
    pieces = tokenizer.convert_ids_to_tokens(columns["ids"][0].tolist())
    assert [pieces[at] for at in np.flatnonzero(columns["label"][0] != tag.IGNORED)] == ["A", "Ġ", "Ġ"]


def test_a_word_of_which_nothing_is_left_is_unknown_and_shifts_no_other(model: Model) -> None:
    tokenizer = model.tokenizer
    words = ("\u3000", "Ali", "\x85", "\u2028", "is", "", "here", "\u3000")
    columns = tag.encode(LABELS, [tokens(*words)], tokenizer, 60)
    ids, label = columns["ids"][0], columns["label"][0]
    assert label[label != tag.IGNORED].tolist() == [i % 3 for i in range(len(words))]
    firsts = ids[label != tag.IGNORED]
    unknown = [at for at, id in enumerate(firsts) if id == tokenizer.unk_token_id]
    assert unknown == [0, 2, 3, 5, 7]
    assert [int(id) for id in ids[1:-1] if id != tokenizer.unk_token_id] == [
        id for word in ("Ali", "is", "here") for id in tokenizer(word, add_special_tokens=False)["input_ids"]
    ]
    tokenizer.unk_token = None
    with pytest.raises(ValueError, match=r"leaves nothing of the word '\\u3000'"):
        tag.encode(LABELS, [tokens(*words)], tokenizer, 60)


def test_a_prefix_or_too_little_room_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="prefix is 'query: '"):
        tag.encode(LABELS, [tokens("a")], model.tokenizer, 60, "query: ")
    with pytest.raises(ValueError, match="max_tokens is 2: expected at least 3"):
        tag.encode(LABELS, [tokens("a")], model.tokenizer, 2)
    least = 6 if model.tokenizer.mask_token == "<mask>" else 5
    with pytest.raises(ValueError, match=f"max_tokens is {least - 1}: expected at least {least}"):
        span.encode(Span(), [Passage("a", "a", (("a", 0),), "0")], model.tokenizer, least - 1)


_tokenizers: dict[Path, Any] = {}


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 14), min_size=1, max_size=25), max_tokens=st.integers(3, 30))
def test_a_long_sentence_keeps_every_word(folders: dict[str, Path], lengths: list[int], max_tokens: int) -> None:
    folder = folders["characters"]
    tokenizer = _tokenizers.setdefault(folder, Model(folder).tokenizer)
    example = tokens(*("a" * (n - 1) + "b" for n in lengths))
    columns = tag.encode(LABELS, [example], tokenizer, max_tokens)
    room = max_tokens - 2
    sequences = np.split(columns["ids"][0], np.cumsum(columns["lengths"][0])[:-1])
    labels = np.split(columns["label"][0], np.cumsum(columns["lengths"][0])[:-1])
    assert all(len(ids) <= max_tokens and ids[0] == 1 and ids[-1] == 2 for ids in sequences)
    assert all(label[0] == label[-1] == tag.IGNORED and label[1] != tag.IGNORED for label in labels)
    kept = [id for ids in sequences for id in ids[1:-1].tolist()]
    whole = [tokenizer(word, add_special_tokens=False)["input_ids"][:room] for word in example.words]
    assert kept == list(itertools.chain(*whole))
    found = np.concatenate(labels)
    assert found[found != tag.IGNORED].tolist() == [LABELS.labels.index(t) for t in example.tags]
    inner = [len(ids) - 2 for ids in sequences]
    for before, label in zip(inner, labels[1:], strict=False):
        after = np.append(np.flatnonzero(label[2:-1] != tag.IGNORED), len(label) - 3)[0] + 1  # its first word
        assert before + after > room, "a word that had room in the sequence before"


# ------------------------------------------------------------------------------------------------------- spans


def bert_windows(num_pieces: int, room: int) -> list[tuple[int, int]]:
    """The loop of BERT's ``run_squad.py`` with ``doc_stride`` 128."""
    found, start = [], 0
    while start < num_pieces:
        length = min(num_pieces - start, room)
        found.append((start, start + length))
        if start + length == num_pieces:
            break
        start += min(length, 128)
    return found


@given(num_pieces=st.integers(0, 900), room=st.integers(1, 400))
def test_windows_cover_every_piece_and_every_short_answer(num_pieces: int, room: int) -> None:
    windows = span._windows(num_pieces, room)
    assert windows[0][0] == 0
    assert windows[-1][1] == num_pieces
    assert all(stop - start <= room for start, stop in windows)
    assert all(a[0] < b[0] <= a[1] < b[1] for a, b in itertools.pairwise(windows))
    if room >= 157 and num_pieces:
        assert windows == bert_windows(num_pieces, room)
    longest = 30 if room >= 59 else (room + 1) // 2
    for first in range(num_pieces - longest + 1):
        assert any(start <= first and first + longest <= stop for start, stop in windows), (first, windows)


@pytest.mark.parametrize("max_tokens", [40, 64, 110])
def test_windows_are_what_the_tokenizer_makes_of_them(max_tokens: int, model: Model) -> None:
    given = some("mini-xqa", "hi", 30)
    columns = span.encode(Span(), given, model.tokenizer, max_tokens)
    frame = Frame.of(model.tokenizer, 2)
    several = 0
    for row, example in enumerate(given):
        num_asked = len(model.tokenizer(example.question, add_special_tokens=False)["input_ids"])
        room = frame.room(max_tokens) - num_asked
        if num_asked > frame.room(max_tokens) // 2:
            continue
        num_pieces = len(model.tokenizer(example.context, add_special_tokens=False)["input_ids"])
        windows = span._windows(num_pieces, room)
        step = windows[1][0] if len(windows) > 1 else 1
        theirs = model.tokenizer(
            example.question,
            example.context,
            truncation="only_second",
            max_length=max_tokens,
            stride=room - step if len(windows) > 1 else 0,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        assert columns["ids"][row].tolist() == list(itertools.chain(*theirs["input_ids"]))
        assert columns["lengths"][row] == [len(ids) for ids in theirs["input_ids"]]
        if "types" in columns:
            assert columns["types"][row].tolist() == list(itertools.chain(*theirs["token_type_ids"]))
        places = [
            offset if place == 1 else (-1, -1)
            for window, offsets in enumerate(theirs["offset_mapping"])
            for place, offset in zip(theirs.sequence_ids(window), offsets, strict=True)
        ]
        assert list(zip(columns["char_begin"][row], columns["char_end"][row], strict=True)) == places
        several += len(windows) > 1
    assert several > 3 or max_tokens > 64


def test_every_window_points_at_the_answer_or_at_its_first_token(folders: dict[str, Path]) -> None:
    """Characters are pieces here, so that windows and answers can be counted by hand."""
    tokenizer = Model(folders["characters"]).tokenizer
    context = "a" * 40
    for start, length in itertools.product(range(0, 37, 3), (1, 3)):
        passage = Passage(context, "b", (("a" * length, start),), "0")
        columns = span.encode(Span(), [passage], tokenizer, 14)  # room 10, step 5
        lengths = columns["lengths"][0]
        assert len(lengths) == 7
        sequences = {n: np.split(columns[n][0], np.cumsum(lengths)[:-1]) for n in ("answer_first", "answer_last")}
        inside = 0
        for number in range(7):
            first, last = (int(np.flatnonzero(sequences[name][number]).item()) for name in sequences)
            if 5 * number <= start and start + length <= 5 * number + 10:
                assert (first, last) == (3 + start - 5 * number, 2 + start + length - 5 * number)
                inside += 1
            else:
                assert (first, last) == (0, 0), "an answer that is not whole in the window is not there"
        assert inside in (1, 2)
        assert (columns["gold_begin"], columns["gold_end"]) == ([start], [start + length])


def test_long_questions_are_cut(folders: dict[str, Path]) -> None:
    tokenizer = Model(folders["characters"]).tokenizer
    passage = Passage("a" * 10, "b" * 100, (("a", 0),), "0")
    for max_tokens, expected in ((200, 64), (103, 50)):
        columns = span.encode(Span(), [passage], tokenizer, max_tokens)
        (b,) = tokenizer("x b", add_special_tokens=False)["input_ids"][1:]
        assert np.isin(columns["ids"][0], [b, *tokenizer.convert_tokens_to_ids(["##b"])]).sum() == expected
        assert (columns["char_begin"][0] >= 0).sum() == 10


def test_spaces_around_pieces_are_no_part_of_an_answer() -> None:
    tokenizer = byte_tokenizer()
    context = "  In Köln \u3000 it  rained. "
    columns = span.encode(Span(), [Passage(context, "Where?", ((" Köln ", 4),), "0")], tokenizer, 60)
    begin, end = columns["char_begin"][0], columns["char_end"][0]
    first, last = (int(np.flatnonzero(columns[name][0]).item()) for name in ("answer_first", "answer_last"))
    assert context[begin[first] : end[last]] == "Köln"
    assert (columns["gold_begin"], columns["gold_end"]) == ([5], [9])
    for b, e in zip(begin, end, strict=True):
        assert (b, e) == (-1, -1) or context[b:e] == context[b:e].strip() != ""
    expected = [letter.strip() for letter in context if letter.strip() for _ in letter.encode()]
    assert [context[b:e] for b, e in zip(begin, end, strict=True) if b >= 0] == expected


@given(st.text(alphabet="ab \t\u3000é", max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_trimming_is_strip(text: str, begin: int, end: int) -> None:
    begin, end = min(begin, len(text)), min(end, len(text))
    found = span._trimmed(text, np.array([[begin, end]]))[0].tolist()
    expected = text[begin:end].strip()
    if not expected:
        assert found == [-1, -1]
    else:
        assert text[found[0] : found[1]] == expected
        assert begin <= found[0] < found[1] <= end


def test_answers_are_in_the_text_as_it_is_written() -> None:
    """A normaliser that changes lengths does not move offsets."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    context = "ﬁne ①② here"
    columns = span.encode(Span(), [Passage(context, "?", (("①②", 4),), "0")], tokenizer, 60)
    first, last = (int(np.flatnonzero(columns[name][0]).item()) for name in ("answer_first", "answer_last"))
    assert context[columns["char_begin"][0][first] : columns["char_end"][0][last]] == "①②"
