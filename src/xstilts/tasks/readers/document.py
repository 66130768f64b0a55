"""Questions on paragraphs: SQuAD's JSON and its relatives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .text import STRICT_JSON, Row, Unique, document_text, encodable

_SQUAD_COLUMNS = ("id", "context", "question", "answers")


class _Question(NamedTuple):
    """One question, the paragraph it is asked on, and the place of both in the document."""

    paragraph: dict[str, Any]
    at: str
    id: str
    question: str
    answers: tuple[tuple[str, int], ...]
    place: str


def squad(path: Path, *, columns: Sequence[str] = _SQUAD_COLUMNS) -> Iterator[Row]:
    """Read SQuAD's JSON, versions 1.1 and 2.0, and what shares its format: XQuAD, MLQA, TyDiQA-GoldP, XQuAD-R.

    A row is a question with its id, its paragraph and its answers as ``(text, offset in characters)``: none for an
    impossible one (``is_impossible``; plausible answers are not read). That an answer stands at its offset is
    checked with the example.

    Raises:
        ValueError: with file and place, for broken JSON, an object without its fields, an id that was given before,
            and an impossible question with answers, or a possible one of version 2 without.
    """
    for asked in questions(path):
        values = (asked.id, asked.paragraph["context"], asked.question, asked.answers)
        yield Row(dict(zip(columns, values, strict=True)), path, asked.place)


def squad_without(path: Path, excluded: Path, *, columns: Sequence[str] = _SQUAD_COLUMNS) -> Iterator[Row]:
    """Read `squad` but the questions on a paragraph of ``excluded``, another file of the format.

    Paragraphs are compared with white space normalised. What is left out leaks into ``excluded``'s task; how much is
    left is the declared number of rows.

    Raises:
        ValueError: as `squad`, for either file.
    """
    paragraphs = {_normal(asked.paragraph["context"]) for asked in questions(excluded)}
    for row in squad(path):
        if _normal(row["context"]) not in paragraphs:
            yield Row(dict(zip(columns, row.values(), strict=True)), row.path, row.line)


def _normal(text: str) -> str:
    return " ".join(text.split())


def questions(path: Path) -> Iterator[_Question]:
    """The questions of a document of SQuAD's format, each with its place."""
    source = document_text(path)
    try:
        document = STRICT_JSON.decode(source)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: expected a JSON document, got broken JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON document, got broken JSON: {error}") from error
    escaped = "\\u" in source
    del source
    seen = Unique(path)
    empty = True
    for i, article in enumerate(listed(document, "data", path, "")):
        for j, paragraph in enumerate(listed(article, "paragraphs", path, f"data[{i}]")):
            at = f"data[{i}].paragraphs[{j}]"
            context = _text(paragraph, "context", path, at)
            for k, asked in enumerate(listed(paragraph, "qas", path, at)):
                place = f"{at}.qas[{k}]"
                question, id = _text(asked, "question", path, place), _text(asked, "id", path, place)
                seen.add(id, place)
                answers = _answers(asked, path, place)
                if escaped and not encodable([context, question, answers]):
                    raise ValueError(f"{path}:{place}: expected text, got a lone surrogate")
                empty = False
                yield _Question(paragraph, at, id, question, answers, place)
    if empty:
        raise ValueError(f"{path}: expected questions, got none")


def _answers(asked: dict[str, Any], path: Path, place: str) -> tuple[tuple[str, int], ...]:
    answers = []
    for i, answer in enumerate(listed(asked, "answers", path, place)):
        own = f"{place}.answers[{i}]"
        text = _text(answer, "text", path, own)
        start = answer.get("answer_start")
        if not text or not isinstance(start, int) or isinstance(start, bool):
            raise ValueError(f"{path}:{own}: expected an answer and its answer_start, got {answer!r}")
        answers.append((text, start))
    impossible = asked.get("is_impossible")
    if impossible not in (None, True, False):
        raise ValueError(f"{path}:{place}: expected is_impossible true or false, got {impossible!r}")
    if impossible is not None and impossible == bool(answers):
        expected = "no answer to an impossible question" if impossible else "an answer to a possible question"
        raise ValueError(f"{path}:{place}: expected {expected}, got {len(answers)}")
    return tuple(answers)


def listed(value: Any, name: str, path: Path, place: int | str) -> list[Any]:
    """The list ``name`` of an object, or `ValueError` with its place."""
    if not isinstance(value, dict) or not isinstance(value.get(name), list):
        raise ValueError(f"{path}:{place or 1}: expected an object with the list {name!r}, got {str(value)[:60]!r}")
    return list(value[name])


def _text(value: Any, name: str, path: Path, place: str) -> str:
    if not isinstance(value, dict) or not isinstance(value.get(name), str):
        raise ValueError(f"{path}:{place}: expected an object with the text {name!r}, got {str(value)[:60]!r}")
    return str(value[name])
