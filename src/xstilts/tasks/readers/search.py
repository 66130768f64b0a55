"""Queries and candidates: LAReQA, Mewsli-X, and a mining task made of a parallel release; and pairs to train on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .document import listed, questions
from .table import jsonl, tsv
from .text import Row, Unique

ENTRY_COLUMNS = ("text", "id", "is_query", "language", "golds", "context")

_OPENING = "\"'“‘«([{"
_SENTENCE_END = re.compile(rf"[.!?…][\"'”’»)\]]*\s+(?=[{re.escape(_OPENING)}]*[A-Z0-9])")
_NO_END = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|Mt|vs|Prof|Gen|Col|Lt|Capt|Rev|Hon|Vol|No|Inc|Ltd|Co|ca)\.)$"
)
_BRACES = re.compile(r"\{(.*?)\}")


def lareqa(*paths: Path, columns: Sequence[str] = ENTRY_COLUMNS) -> Iterator[Row]:
    """Read LAReQA's XQuAD-R: one file for each language, named by its code, as one multilingual pool.

    Every question is a query; every sentence of every paragraph is a candidate with the paragraph as its context. The
    right ones are the sentences, one in each language, in which the first answer of the question of that id starts
    (XTREME, ``third_party/processors/lareqa.py``). Sentences are cut at ``sentence_breaks``: the texts in
    ``sentences`` differ from them in two of 1,167 Turkish ones, and only their number is read. Queries come first.

    Raises:
        ValueError: as `squad`, for breaks that do not fit the paragraph, an answer outside all sentences or not at its
            offset, and files that do not ask the same questions.
    """
    return _pool(paths, columns, parallel=True)


def mlqa_r(*paths: Path, columns: Sequence[str] = ENTRY_COLUMNS) -> Iterator[Row]:
    """Read LAReQA's MLQA-R, as `lareqa`; a question is asked, and answered, in two to four of the languages.

    Raises:
        ValueError: as `lareqa`, but for other questions.
    """
    return _pool(paths, columns, parallel=False)


def _pool(paths: Sequence[Path], columns: Sequence[str], parallel: bool) -> Iterator[Row]:
    candidates: list[Row] = []
    queries: list[Row] = []
    golds: dict[str, list[str]] = {}
    first: set[str] = set()
    for path in paths:
        code, at = path.name.partition(".")[0], ""
        own: dict[str, str] = {}
        breaks: list[tuple[int, int]] = []
        for asked in questions(path):
            context = asked.paragraph["context"]
            if asked.at != at:
                at, breaks = asked.at, _breaks(asked.paragraph, path, asked.at)
                for number, (start, end) in enumerate(breaks):
                    id = f"{code} {at} {number}"
                    candidates.append(_row(columns, path, at, context[start:end], id, False, code, (), context))
            if not asked.answers:
                raise ValueError(f"{path}:{asked.place}: expected an answer, got none")
            text, offset = asked.answers[0]
            number = next((i for i, (start, end) in enumerate(breaks) if start <= offset < end), -1)
            if number < 0 or context[offset : offset + len(text)] != text:
                raise ValueError(f"{path}:{asked.place}: expected the answer {text!r} in a sentence at offset {offset}")
            own[asked.id] = f"{code} {at} {number}"
            values = (asked.question, f"{code} {asked.id}", True, code, asked.id, "")
            queries.append(_row(columns, path, asked.place, *values))
        first = first or set(own)
        if parallel and own.keys() != first:
            odd = min(own.keys() ^ first)
            raise ValueError(f"{path}: expected the questions of {paths[0]}, got another one or none for {odd!r}")
        for id, candidate in own.items():
            golds.setdefault(id, []).append(candidate)
    for query in queries:
        query[columns[4]] = tuple(golds[query[columns[4]]])
    yield from queries
    yield from candidates


def _breaks(paragraph: dict[str, Any], path: Path, at: str) -> list[tuple[int, int]]:
    """The offsets of a paragraph's sentences: in order, apart, inside it, and as many as there are texts."""
    given = listed(paragraph, "sentence_breaks", path, at)
    fits = len(given) == len(listed(paragraph, "sentences", path, at))
    breaks, last = [], 0
    for pair in given:
        start, end = pair if isinstance(pair, list) and list(map(type, pair)) == [int, int] else (0, 0)
        fits = fits and last <= start < end <= len(paragraph["context"])
        breaks.append((start, end))
        last = end
    if not fits:
        raise ValueError(f"{path}:{at}: expected the offsets of its sentences in sentence_breaks, got {given!r}")
    return breaks


def squad_sentences(path: Path, *, columns: Sequence[str] = ("question", "sentence", "context")) -> Iterator[Row]:
    """Read SQuAD 1.1's JSON as questions with the sentence in which their first answer starts, and its paragraph.

    XTREME trains LAReQA so, with sentences inferred by a script that is not at hand; see `sentences`.

    Raises:
        ValueError: as `squad`, and for a question without an answer.
    """
    for asked in questions(path):
        if not asked.answers:
            raise ValueError(f"{path}:{asked.place}: expected an answer, got none")
        context, (_, offset) = asked.paragraph["context"], asked.answers[0]
        found = [context[start:end] for start, end in sentences(context) if start <= offset < end]
        if not found:
            raise ValueError(f"{path}:{asked.place}: expected an answer in a sentence, got one at offset {offset}")
        yield _row(columns, path, asked.place, asked.question, found[0], context)


def sentences(text: str) -> list[tuple[int, int]]:
    """The offsets of an English text's sentences, white space around them left out except before the first answer.

    A sentence ends at ``.``, ``!``, ``?`` or ``…`` before white space and a capital letter or digit, but not after an
    initial or a common abbreviation.
    """
    ends = [
        m.end()
        for m in _SENTENCE_END.finditer(text)
        if not _NO_END.search(text[max(0, m.start() - 8) : m.end()].rstrip())
    ]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if start < end]


def mewsli_x(entities: Path, mentions: Path, *, columns: Sequence[str] = ENTRY_COLUMNS) -> Iterator[Row]:
    """Read Mewsli-X: mentions in documents as queries, then the candidate set of entities.

    A query is ``mention: left { mention } right`` of the one sentence that holds it, a candidate its description, as
    in XTREME's ``third_party/utils_mewslix.py`` (``preprocess_mention``, ``preprocess_entity_description``). Format:
    google-research, dense_representations_for_entity_retrieval/mel/mewsli-x.md.

    Raises:
        ValueError: as `jsonl`, with the mention's place, for fields that are missing, an id that was given before, and
            a mention that does not stand at its offset in characters or in one sentence.
    """
    yield from mewsli_mentions(mentions, columns=columns)
    for row in jsonl(entities, columns=("entity_id", "description", "description_language", "sentence_spans")):
        values = (_description(row, entities, row.line), row["entity_id"], False, row["description_language"], (), "")
        yield _row(columns, entities, row.line, *values)


def mewsli_mentions(path: Path, *, columns: Sequence[str] = ENTRY_COLUMNS) -> Iterator[Row]:
    """Read the queries of Mewsli-X alone.

    Raises:
        ValueError: as `mewsli_x`.
    """
    seen = Unique(path)
    for row in jsonl(path, columns=("context", "mentions")):
        for i, mention in enumerate(listed(row, "mentions", path, row.line)):
            place = f"{row.line}:mentions[{i}]"
            query = _mention(row["context"], mention, path, place)
            seen.add(query["id"], place)
            golds = (query["entity"],)
            yield _row(columns, path, place, query["text"], query["id"], True, query["language"], golds, "")


def mewsli_pairs(path: Path, *, columns: Sequence[str] = ("first", "second")) -> Iterator[Row]:
    """Read Mewsli-X's Wikipedia pairs of a mention and its entity's description; see `mewsli_x`.

    Raises:
        ValueError: as `mewsli_x`.
    """
    for row in jsonl(path, columns=("contextual_mention", "entity")):
        mention = row["contextual_mention"]
        if not isinstance(mention, dict) or not {"context", "mention"} <= mention.keys():
            raise ValueError(f"{path}:{row.line}: expected a contextual_mention with context and mention")
        query = _mention(mention["context"], mention["mention"], path, row.line)
        yield _row(columns, path, row.line, query["text"], _description(row["entity"], path, row.line))


def _mention(context: Any, mention: Any, path: Path, place: int | str) -> dict[str, str]:
    """The query of a mention, its id, language and entity."""
    try:
        document, span = context["text"], mention["mention_span"]
        text, start, end = span["text"], span["start"], span["end"]
        id, entity, language = mention["example_id"], mention["entity_id"], context["language"]
        found = document[max(start, 0) : end]
        spans = [(one["start"], one["end"]) for one in context["sentence_spans"]]
        around = next((pair for pair in spans if pair[0] <= start < end <= pair[1]), None)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}:{place}: expected a mention with its span, sentences and entity: {error}") from error
    if found != text or start < 0:
        raise ValueError(f"{path}:{place}: expected {text!r} at offset {start}, got {found!r}")
    if around is None:
        raise ValueError(f"{path}:{place}: expected a sentence that holds {text!r} at offset {start}, got none")
    left, right = (_BRACES.sub(r"(\1)", part) for part in (document[around[0] : start], document[end : around[1]]))
    return {"text": _one_line(f"{text}: {left} {{ {text} }} {right}"), "id": id, "language": language, "entity": entity}


def _description(entity: Any, path: Path, place: int | str) -> str:
    try:
        spans = ((one["start"], one["end"]) for one in entity["sentence_spans"])
        return _one_line(" ".join(entity["description"][start:end] for start, end in spans))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}:{place}: expected an entity with a description and its sentences: {error}") from error


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def hidden_pairs(
    foreign: Path, english: Path, *, columns: Sequence[str] = ("side", "id", "text", "pairs")
) -> Iterator[Row]:
    """Read two parallel files of XNLI as a mining task: of three hypotheses of a premise, one is on both sides.

    The first hypothesis of every premise has its translation on the other side, the second is in the foreign language
    alone, the third in English alone: four rows for three lines, in the columns of `bucc`. What a translation must be
    told apart from are sentences about the same premise.

    Raises:
        ValueError: as `tsv`, and for files of different lengths.
    """
    names = ("premise", "hypothesis", "label")
    sides = [[row["hypothesis"] for row in tsv(path, columns=names)] for path in (foreign, english)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"expected parallel files, got {len(sides[0])} lines in {foreign} and {len(sides[1])} lines in {english}"
        )
    for number in range(len(sides[0])):
        for side in ((0, 1), (0,), (1,))[number % 3]:
            pairs = (str(number + 1),) if number % 3 == 0 else ()
            place = (foreign, english)[side], number + 1
            yield _row(columns, *place, side, str(number + 1), sides[side][number], pairs)


def _row(columns: Sequence[str], path: Path, place: int | str, *values: Any) -> Row:
    return Row(dict(zip(columns, values, strict=True)), path, place)
