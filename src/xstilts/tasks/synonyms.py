"""Copies of training examples in which words are replaced by their neighbours, and where neighbours come from."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from xstilts.spec import canonical_json, digest, stream_seed
from xstilts.untrusted import parsed

from .readers.text import text_lines
from .task import Choices, Example, Pair

WORDNET = "wordnet"
KINDS = ("classify", "choose")
"""The kinds whose examples can be copied: answers of others are places in a text, or words of it."""

_PACKAGE, _FOLDER = "wn", "data/wordnet-3.0"
_PARTS = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FEWEST_LETTERS = 3


class Synonyms(NamedTuple):
    """How examples are copied.

    Attributes:
        source: where the neighbours come from, see `neighbours_of`.
        content: that of the neighbours, see `neighbours_content`.
        num_copies: of every example, in its place.
        seed: of the draws.
    """

    source: str
    content: str
    num_copies: int
    seed: int


def neighbours_content(source: str) -> str:
    """A stable hex id of the neighbours of a source; names and folders do not count.

    Raises:
        ValueError: as `neighbours_of`.
    """
    return digest(canonical_json({word: list(near) for word, near in neighbours_of(source).items()}))


def neighbours_of(source: str) -> Mapping[str, tuple[str, ...]]:
    """The neighbours of every word that has some.

    ``wordnet`` are WordNet 3.0's files in the package ``wn`` 0.0.23, a folder others of their format (``index.noun``,
    ``data.noun`` ...), and a file is JSON of words and lists of neighbours, as Robust-XLT's counter-fitted ones are.
    WordNet's neighbours of a word are the others of its most frequent synset for each part of speech. Only single
    words of three small letters or more count, since the short ones are mostly abbreviations ("in", "as", "he").

    Raises:
        ValueError: for what is not there, or another format, saying what was expected.
    """
    folder = _wordnet_folder() if source == WORDNET else Path(source)
    if folder.is_dir():
        files = [folder / f"{what}.{part}" for part in _PARTS for what in ("index", "data")]
    else:
        files = [folder]
    for file in files:
        if not file.is_file():
            expected = "'wordnet', a JSON file of words and their neighbours, or a folder of WordNet's files"
            raise ValueError(f"no neighbours of words: {file} is not there; expected {expected}")
    return _read(folder, tuple(file.stat().st_mtime_ns for file in files))


def _wordnet_folder() -> Path:
    found = find_spec(_PACKAGE)
    places = [Path(place) / _FOLDER for place in (found.submodule_search_locations or ())] if found else []
    for place in places:
        if place.is_dir():
            return place
    raise ValueError(
        "the neighbours 'wordnet' come from a package that is not installed: pip install 'xstilts[synonyms]', or name "
        "a folder of WordNet's files (Debian's wordnet-base has /usr/share/wordnet)"
    )


@functools.lru_cache(maxsize=4)
def _read(place: Path, changed: tuple[int, ...]) -> Mapping[str, tuple[str, ...]]:
    return _read_wordnet(place) if place.is_dir() else _read_json(place)


def _read_json(path: Path) -> Mapping[str, tuple[str, ...]]:
    try:
        found: Any = parsed(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON of words and lists of their neighbours: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object of words and lists of their neighbours, got {found!r:.60}")
    for word, near in found.items():
        if not isinstance(near, list) or not all(isinstance(other, str) for other in near):
            raise ValueError(f"{path}: expected a list of words as the neighbours of {word!r}, got {near!r:.60}")
    return {word: tuple(near) for word, near in sorted(found.items()) if near}


def _read_wordnet(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """As wndb(5WN) describes the files: a synset is found by its offset, a lemma's are in order of frequency."""
    found: dict[str, dict[str, None]] = {}

    def synset(fields: list[str]) -> None:
        words = (word.partition("(")[0] for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2])
        synsets[fields[0]] = tuple(filter(_is_plain, words))

    def neighbours(fields: list[str]) -> None:
        lemma, num_synsets = fields[0], int(fields[2])
        if _is_plain(lemma):
            near = (word for word in synsets[fields[-num_synsets]] if word != lemma)
            found.setdefault(lemma, {}).update(dict.fromkeys(near))

    for part in _PARTS:
        synsets: dict[str, tuple[str, ...]] = {}
        _each_line(folder / f"data.{part}", synset)
        _each_line(folder / f"index.{part}", neighbours)
    return {word: tuple(sorted(near)) for word, near in sorted(found.items()) if near}


def _each_line(path: Path, take: Callable[[list[str]], None]) -> None:
    for number, line in text_lines(path, blank=True):
        if line.startswith(" "):  # the licence
            continue
        try:
            fields = line.partition(" | ")[0].split()
            if len(fields) < 6:
                raise ValueError(f"{line!r:.60}")
            take(fields)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"{path}:{number}: expected a line of WordNet's database, got {error}") from error


def _is_plain(word: str) -> bool:
    return len(word) >= _FEWEST_LETTERS and word.isascii() and word.isalpha() and word.islower()


def copied(examples: Iterable[Example], first_row: int, task: str, synonyms: Synonyms) -> Iterator[Example]:
    """Copies of examples in their place: each word is itself or one of its neighbours, all equally likely.

    As ``perturb.py`` of uclanlp/Robust-XLT (Huang et al. 2021), except that a word there is what is between two blanks
    and is looked up as it is written: here it is a run of letters, hyphens and apostrophes, and one that has no
    neighbours as it is written has those of its small letters, written as large as it is. A draw is a function of seed,
    task, row and copy.

    Args:
        examples: pairs of sentences or choices.
        first_row: the row of the first one.
        task: the task that they are of.
        synonyms: how.
    """
    neighbours = neighbours_of(synonyms.source)
    for row, example in enumerate(examples, first_row):
        for copy in range(synonyms.num_copies):
            rng = random.Random(stream_seed(synonyms.seed, task, "synonyms", row, copy))
            say = functools.partial(_replaced, neighbours=neighbours, rng=rng)
            match example:
                case Pair(first=first, second=second):
                    yield replace(example, first=say(first), second=say(second))
                case Choices(prompt=prompt, choices=choices):
                    yield replace(example, prompt=say(prompt), choices=tuple(map(say, choices)))


def _replaced(text: str, neighbours: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        word = match[0]
        near = neighbours.get(word)
        as_written = near is not None
        near = near or neighbours.get(word.lower(), ())
        at = rng.randrange(len(near) + 1)
        if at == len(near):
            return word
        if as_written or not word[0].isupper():
            return near[at]
        return near[at].upper() if word.isupper() and len(word) > 1 else near[at][0].upper() + near[at][1:]

    return _WORD.sub(other, text)
