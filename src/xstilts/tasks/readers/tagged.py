"""Sentences with one tag for every word: two-column CoNLL, WikiANN, CoNLL-U and CCGbank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .text import Row, Unique, split_tabs, text_lines

_CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_CONLLU_ID = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?|[0-9]+\.[1-9][0-9]*")
_WIKIANN_TOKEN = re.compile(r"([a-z][a-z-]{1,11}):(.+)", re.DOTALL)
_CCG_HEADER = re.compile(r"ID=(\S+) PARSER=\S+ NUMPARSE=\d+")
_CCG_LEAF = re.compile(r"<L (\S+) \S+ \S+ (\S+) \S+>")


def conll(path: Path, *, columns: Sequence[str] = ("words", "tags")) -> Iterator[Row]:
    """Read ``token TAB tag`` lines with blank lines between sentences, as XTREME writes PAN-X and UDPOS.

    A row's line is that of its first word.

    Raises:
        ValueError: with file and line, for another number of columns or an empty word or tag.
    """
    for start, sentence in _sentences(path):
        pairs = [_pair(line, path, number) for number, line in sentence]
        words, tags = zip(*pairs, strict=True)
        yield Row(dict(zip(columns, (words, tags), strict=True)), path, start)


def wikiann(path: Path, *, columns: Sequence[str] = ("words", "tags")) -> Iterator[Row]:
    """Read WikiANN's own files (Rahimi et al. 2019): as `conll`, every token after its language and a colon.

    Raises:
        ValueError: as `conll`, and for a token without the language of the file's first one.
    """
    language = None
    for start, sentence in _sentences(path):
        words, tags = [], []
        for number, line in sentence:
            token, tag = _pair(line, path, number)
            match = _WIKIANN_TOKEN.fullmatch(token)
            if match is None or match[1] != (language or match[1]):
                raise ValueError(
                    f"{path}:{number}: expected a token after {language or 'its language'}:, got {token!r}"
                )
            language = match[1]
            words.append(match[2])
            tags.append(tag)
        yield Row(dict(zip(columns, (tuple(words), tuple(tags)), strict=True)), path, start)


def conllu(path: Path, *, columns: Sequence[str] = ("words", "tags")) -> Iterator[Row]:
    """Read CoNLL-U: the forms and universal parts of speech of a sentence's syntactic words.

    Lines of multiword tokens (``3-4``) and empty nodes (``8.1``) are no words and have no part of speech of their
    own (https://universaldependencies.org/format.html). XTREME's UDPOS differs: it writes the fused form of a
    multiword token as one word (third_party/ud-conversion-tools, ``--replace_subtokens_with_fused_forms``).

    Raises:
        ValueError: with file and line, for another number of columns than ten, ids that do not count from 1, and a
            sentence without words.
    """
    for start, sentence in _sentences(path):
        words: list[str] = []
        tags: list[str] = []
        for number, line in sentence:
            if line.startswith("#") and not words:
                continue
            id, form, _, tag, *_ = split_tabs(line, _CONLLU_COLUMNS, path, number)
            match = _CONLLU_ID.fullmatch(id)
            if (
                match is None
                or (match[1] and int(match[1]) != len(words) + 1)
                or (match[2] and int(match[2]) <= int(match[1]))
            ):
                raise ValueError(f"{path}:{number}: expected the id {len(words) + 1}, got {id!r}")
            if not form or not tag:
                raise ValueError(f"{path}:{number}: expected a form and a part of speech, got {line!r}")
            if match[1] and not match[2]:
                words.append(form)
                tags.append(tag)
        if not words:
            raise ValueError(f"{path}:{start}: expected a sentence, got one without words")
        yield Row(dict(zip(columns, (tuple(words), tuple(tags)), strict=True)), path, start)


def ccgbank(path: Path, *, columns: Sequence[str] = ("words", "tags")) -> Iterator[Row]:
    """Read CCGbank's ``.auto`` derivations (LDC2005T13): words and lexical categories, the supertags.

    A sentence is a line ``ID=... PARSER=GOLD NUMPARSE=1`` and a line with its tree, whose leaves are
    ``(<L category modified-POS POS word category-with-indices>)``. Format: CCGbank: User's Manual (Hockenmaier and
    Steedman 2005).

    Raises:
        ValueError: with file and line, for a line that is none of the two, an id that was given before, a tree
            without leaves, with a broken leaf or with brackets that do not match.
    """
    seen = Unique(path)
    header: tuple[int, str] | None = None
    for number, line in text_lines(path):
        if header is None:
            match = _CCG_HEADER.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"{path}:{number}: expected a line ID=... PARSER=... NUMPARSE=..., got {line[:60]!r}")
            seen.add(match[1], number)
            header = number, match[1]
            continue
        leaves = _CCG_LEAF.findall(line)
        nodes = line.count("(<L ") + line.count("(<T ")
        if not leaves or len(leaves) != line.count("(<L ") or not line.startswith("(<") or nodes != _closed(line):
            raise ValueError(f"{path}:{number}: expected the derivation of {header[1]}, got {line[:60]!r}")
        tags, words = zip(*leaves, strict=True)
        yield Row(dict(zip(columns, (words, tags), strict=True)), path, number)
        header = None
    if header is not None:
        raise ValueError(f"{path}:{header[0]}: expected a derivation after {header[1]}, got the end of the file")


def _closed(line: str) -> int:
    """How many nodes a derivation closes: a bracket of its own, or right after a leaf."""
    return sum(part == ")" for part in line.replace(">)", "> )").split())


def _pair(line: str, path: Path, number: int) -> tuple[str, str]:
    word, tag = split_tabs(line, ("word", "tag"), path, number)
    if not word or not tag:
        raise ValueError(f"{path}:{number}: expected a word and a tag, got {line!r}")
    return word, tag


def _sentences(path: Path) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Blocks of numbered lines between blank ones, each with the number of its first line."""
    block: list[tuple[int, str]] = []
    empty = True
    for number, line in text_lines(path, blank=True):
        if line:
            block.append((number, line))
        elif block:
            empty = False
            yield block[0][0], block
            block = []
    if block:
        yield block[0][0], block
    elif empty:
        raise ValueError(f"{path}: expected sentences, got blank lines")
