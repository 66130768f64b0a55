"""Prediction files in XTREME's layout: read against the rows that they are for, written from stored predictions.

One folder for each task, one file for each language: ``<task>/<split>-<language>.<ending>`` (google-research/xtreme,
README.md and ``evaluate.py``; ``mock_test_data`` has one of each).

* ``xnli``, ``pawsx``: tsv, one label a line, PAWS-X's as 0 and 1.
* ``udpos``, ``panx``: tsv, one tag a line and a blank line after each sentence.
* ``xquad``, ``mlqa``, ``tydiqa``: json, ``{id: answer}``; what TyDi QA releases as dev is XTREME's test.
* ``tatoeba``: tsv, one index from 0 a line: for each English sentence, in the order of their texts
  (``tatoeba_preprocess`` of ``utils_preprocess.py`` sorts them, so that the alignment is hidden), the foreign
  sentence found, whose order is the release's.
* ``bucc2018``: tsv, the mined pairs of ids.
* ``xcopa``, of XTREME-R: jsonl, ``{"label": 0}`` (``third_party/run_xcopa.py``).
* ``mewslix``, of XTREME-R: json, ``{id of a mention: [ids of entities, best first]}``, of which 20 count
  (``third_party/utils_mewslix.py``), one file for each language of mentions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .metrics.mining import extract
from .metrics.retrieval import Neighbours, nearest
from .scoring import mining_sides
from .spec import near, one_of
from .tasks import (
    Choose,
    Classify,
    Embed,
    Entry,
    Files,
    Kind,
    Mine,
    Search,
    Span,
    Tag,
    Task,
    examples,
    find,
    layer_for,
)
from .tasks import profile as find_profile
from .tasks.readers import jsonl, lines
from .tasks.readers.text import document_text, encodable, text_lines
from .untrusted import plain

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = ("xnli", "paws-x", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba", "bucc", "mewsli-x")
"""The declared tasks that the layout has files for."""

_FOLDERS = {"paws-x": "pawsx", "bucc": "bucc2018", "mewsli-x": "mewslix"}
_ENDINGS = {"span": "json", "search": "json", "choose": "jsonl"}
_RELEASED_AS = {("tydiqa", "test"): "dev"}
_COLUMNS = {
    "span": ("id", "prediction"),
    "embed": ("layer", "pooling", "direction", "query", "neighbours", "similarities"),
    "mine": ("split", "layer", "pooling", "direction", "query", "num_ids", "golds", "neighbours", "similarities"),
    "search": ("layer", "pooling", "direction", "query", "language", "neighbours", "similarities"),
}
NUM_RANKED = 20
_ORDER_MARGIN = 0.1


class Misfit(ValueError):
    """A file that is not for these rows: another number of lines, other sentence lengths or other ids.

    Attributes:
        num_rows: number of rows that the file has predictions for.
    """

    def __init__(self, message: str, num_rows: int) -> None:
        super().__init__(message)
        self.num_rows = num_rows


def folder_of(task: str) -> str:
    """The name of a task's folder in the layout."""
    return _FOLDERS.get(task, task)


def file_of(task: str, split: str, language: str) -> str:
    """The path of a task's predictions in one language, such as ``pawsx/test-de.tsv``; ``split`` is XTREME's name."""
    return f"{folder_of(task)}/{split}-{language}.{_ENDINGS.get(find(task).kind.name, 'tsv')}"


def files_of(task: str, split: str, language: str) -> list[str]:
    """The paths that a measurement of ``split``, as the task names it, becomes: one for each language that asks."""
    official = next((name for (of, name), own in _RELEASED_AS.items() if (of, own) == (task, split)), split)
    kind = find(task).kind
    return [
        file_of(task, plain("split", official), code)
        for code in (kind.queries if isinstance(kind, Search) else (language,))
    ]


def released_as(task: str, split: str) -> str:
    """The split of a task that XTREME's ``split`` is: the same, but TyDi QA's test, which is its dev."""
    return _RELEASED_AS.get((task, split), split)


def golds_of(kind: Kind, rows: Sequence[Any]) -> Any:
    """What `read_predictions` is compared with, in its order.

    Returns:
        For classification and multiple choice a list of labels, for tags one tuple a sentence, for spans the answer
        texts by question id, for retrieval each row's own index.
    """
    if isinstance(kind, Span):
        return {row.id: [text for text, _ in row.answers] for row in rows}
    if isinstance(kind, Tag):
        return [row.tags for row in rows]
    return list(range(len(rows))) if isinstance(kind, Embed) else [row.label for row in rows]


# -- reading --------------------------------------------------------------------------------------------------------


def read_predictions(path: Path, task: Task, rows: Sequence[Any]) -> Any:
    """Read the predictions for ``rows``, the examples of one split in one language.

    Returns:
        A prediction for each row in the order of the rows, or by question id; see `golds_of`.

    Raises:
        Misfit: when the file is for other rows, with both counts.
        ValueError: with file and line (or id), for an unknown label, an index out of range and broken text or JSON.
    """
    kind = task.kind
    if isinstance(kind, Span):
        return _by_id(path, {row.id for row in rows}, "answer", "questions", _text)
    if isinstance(kind, Tag):
        return _tags(path, kind.labels, [len(row.tags) for row in rows])
    if isinstance(kind, Choose):
        return _choices(path, [len(row.choices) for row in rows])
    if isinstance(kind, Classify):
        spelled = _spellings(task)
        return _lines(path, len(rows), lambda text: spelled[_known("label", text, spelled)])
    assert isinstance(kind, Embed), f"the layout has no {kind.name} task"
    return _neighbours(path, [row.second for row in rows])


def read_pairs(path: Path, language: str) -> set[tuple[str, str]]:
    """Read pairs of BUCC's sentence ids, ``de-000000001 TAB en-000000002`` a line, mined or gold.

    Raises:
        ValueError: with file and line, for anything else.
    """
    pattern = re.compile(rf"({language}-\d+)\t(en-\d+)")
    pairs = set()
    for row in lines(path):
        match = pattern.fullmatch(row["text"].strip())
        if match is None:
            raise ValueError(f"{row.where}: expected {language}-NUMBER, a tab and en-NUMBER, got {row['text'][:60]!r}")
        pairs.add((match[1], match[2]))
    return pairs


def read_rankings(path: Path, mentions: set[str]) -> dict[str, list[str]]:
    """Read Mewsli-X's rankings: by each id of ``mentions`` the ids of its entities, of which `NUM_RANKED` count.

    Raises:
        Misfit: for other ids.
        ValueError: for anything else.
    """
    return _by_id(path, mentions, "ranking", "mentions", _ranking)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected an answer as text, got {value!r}")
    return value


def _ranking(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entity, str) for entity in value):
        raise ValueError(f"expected a list of ids of entities, best first, got {str(value)[:60]}")
    return value


def _spellings(task: Task) -> dict[str, str]:
    """Label by what the release writes for it: its index where it writes one, else the label."""
    indexed = next((source.labels for source in task.sources if isinstance(source, Files)), ())
    labels: Sequence[str] = getattr(task.kind, "labels", ())
    return {str(i): label for i, label in enumerate(indexed)} or {label: label for label in labels}


def _known(what: str, text: str, names: Sequence[str] | dict[str, str]) -> str:
    if text not in names:
        raise ValueError(f"expected a {what} among {', '.join(names)}, got {text[:60]!r}{near(text, names)}")
    return text


def _lines(path: Path, num_rows: int, parse: Callable[[str], Any]) -> list[Any]:
    """One value a line, one line for each row."""
    read = list(lines(path))
    _check_count(path, num_rows, len(read))
    values = []
    for row in read:
        try:
            values.append(parse(row["text"].strip()))
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}") from error
    return values


def _check_count(path: Path, expected: int, got: int, what: str = "lines, one for each row") -> None:
    if got != expected:
        raise Misfit(f"{path}: expected {expected:,} {what}, got {got:,}", got)


def _tags(path: Path, labels: Sequence[str], lengths: Sequence[int]) -> list[tuple[str, ...]]:
    """Blocks of tags, as many and as long as the sentences."""
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, line in text_lines(path, blank=True):
        if tag := line.strip():
            blocks[-1].append((number, tag))
        elif blocks[-1]:
            blocks.append([])
        else:
            raise ValueError(f"{path}:{number}: expected a tag, got a blank line where no sentence ends")
    if not blocks[-1]:
        blocks.pop()
    _check_count(path, len(lengths), len(blocks), f"sentences ({sum(lengths):,} tags)")
    for number, (block, length) in enumerate(zip(blocks, lengths, strict=True), 1):
        if len(block) != length:
            where = f"{path}:{block[0][0]}: sentence {number:,}"
            raise Misfit(f"{where}: expected {length} tags, got {len(block)}", len(blocks))
    for number, tag in (line for block in blocks for line in block):
        try:
            _known("tag", tag, labels)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return [tuple(tag for _, tag in block) for block in blocks]


def _choices(path: Path, num_choices: Sequence[int]) -> list[int]:
    read = list(jsonl(path, columns=("label",)))
    _check_count(path, len(num_choices), len(read))
    for row, count in zip(read, num_choices, strict=True):
        if type(row["label"]) is not int or row["label"] not in range(count):
            raise ValueError(f"{row.where}: expected a label from 0 to {count - 1}, got {row['label']!r}")
    return [row["label"] for row in read]


def _by_id(path: Path, ids: set[str], what: str, asked: str, parse: Callable[[Any], Any]) -> dict[str, Any]:
    """One value by id, one for every id and no other."""
    source = document_text(path)
    try:
        pairs = json.JSONDecoder(object_pairs_hook=tuple).decode(source)
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{line}: expected one JSON object, got broken JSON: {error}") from error
    if not isinstance(pairs, tuple):
        raise ValueError(f"{path}: expected one JSON object of {what}s by id, got {str(pairs)[:60]!r}")
    found: dict[str, Any] = {}
    for id, value in pairs:
        if id in found:
            raise ValueError(f"{path}: expected one {what} for each id, got two for the id {id!r}")
        try:
            found[id] = parse(value)
        except ValueError as error:
            raise ValueError(f"{path}: id {id!r}: {error}") from error
        if not encodable([id, value]):
            raise ValueError(f"{path}: id {id!r}: expected text, got half of a surrogate pair in {value!r}")
    missing, unknown = sorted(ids - found.keys()), sorted(found.keys() - ids)
    if missing or unknown:
        message = f"{path}: expected one {what} for each of {len(ids):,} {asked}, got {len(found):,}"
        if missing:
            message += f"; {len(missing):,} are missing, the id {missing[0]!r} first"
        if unknown:
            message += f"; {len(unknown):,} have an unknown id, {unknown[0]!r} first{near(unknown[0], missing)}"
        raise Misfit(message, len(found))
    return found


def _by_text(english: Sequence[str]) -> list[int]:
    """The rows in the order of their English texts, as XTREME sorts them."""
    return sorted(range(len(english)), key=lambda row: english[row].strip())


def _neighbours(path: Path, english: Sequence[str]) -> list[int]:
    """Indices of foreign sentences by row, from lines in the order of the English texts."""

    def index(text: str) -> int:
        if not re.fullmatch(r"\d+", text, re.ASCII) or int(text) >= len(english):
            raise ValueError(f"expected the index of a sentence from 0 to {len(english) - 1}, got {text[:60]!r}")
        return int(text)

    found = _lines(path, len(english), index)
    order = _by_text(english)
    right = sum(map(int.__eq__, found, order))
    as_released = sum(map(int.__eq__, found, range(len(found))))
    if as_released - right > _ORDER_MARGIN * len(found):
        raise ValueError(
            f"{path}: expected lines for the English sentences in the order of their texts, as XTREME has them "
            f"({right} are right), got lines in the order of the release ({as_released} are right)"
        )
    by_row = [0] * len(found)
    for row, neighbour in zip(order, found, strict=True):
        by_row[row] = neighbour
    return by_row


# -- writing --------------------------------------------------------------------------------------------------------


def write_predictions(
    predictions: pa.Table,
    task: str,
    language: str,
    folder: Path,
    *,
    split: str,
    data_dir: Path | None = None,
    profile: str = "xtreme-2020",
    num_layers: int | None = None,
) -> list[Path]:
    """Write a measurement's stored predictions as a file of the layout, which scores as they do.

    A search in one pool becomes a file for each language of its queries.

    Args:
        predictions: the stored table.
        task: name of its task, one of `TASKS`.
        language: its language.
        folder: where to write the layout.
        split: canonical split of the task.
        data_dir: folder of release files; retrieval needs the English texts for the order of the lines.
        profile: which layer and pooling of a retrieval measurement.
        num_layers: of the encoder, by which the profile's layer goes; the highest hidden state that was measured when
            ``None``.

    Returns:
        The files: `files_of`.

    Raises:
        ValueError: for a task that the layout does not have, a column that is missing, a label without a spelling,
            or a retrieval measurement without the profile's cell.
        FileExistsError: for a file that is there; nothing is overwritten.
    """
    one_of("task of XTREME's layout", task, TASKS)
    declared = find(task)
    kind = declared.kind
    if missing := [name for name in _COLUMNS.get(kind.name, ("prediction",)) if name not in predictions.column_names]:
        got = ", ".join(predictions.column_names)
        raise ValueError(f"predictions of {task} lack {', '.join(missing)}: got the columns {got}")
    cell = (task, profile, num_layers)
    if isinstance(kind, Mine | Search):
        entries: list[Any] = examples(declared, split, language, data_dir)
    if isinstance(kind, Search):
        rankings = _rankings(predictions, *cell, entries)
        texts = [json.dumps(rankings[code], indent=1) + "\n" for code in kind.queries]
    elif isinstance(kind, Mine):
        texts = ["".join(f"{source}\t{target}\n" for source, target in _mined(predictions, *cell, entries))]
    elif isinstance(kind, Embed):
        english = [row.second for row in examples(declared, split, language, data_dir)]  # type: ignore[union-attr]
        found = nearest(f"profile {profile!r}", _cell(predictions, *cell, len(english)), 1)[0][:, 0]
        texts = ["".join(f"{found[row]}\n" for row in _by_text(english))]
    elif isinstance(kind, Span):
        answers = zip(predictions["id"].to_pylist(), predictions["prediction"].to_pylist(), strict=True)
        texts = [json.dumps(dict(answers), indent=1, ensure_ascii=False) + "\n"]
    else:
        values = predictions["prediction"].to_pylist()
        if isinstance(kind, Tag):
            texts = ["\n".join("".join(f"{tag}\n" for tag in tags) for tags in values)]
        elif isinstance(kind, Choose):
            texts = ["".join(json.dumps({"label": value}) + "\n" for value in values)]
        else:
            written = {label: spelled for spelled, label in _spellings(declared).items()}
            texts = ["".join(f"{written[_known('label', value, written)]}\n" for value in values)]
    paths = [folder / file for file in files_of(task, split, plain("language", language))]
    for path, text in zip(paths, texts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return paths


def _mined(
    predictions: pa.Table, task: str, profile: str, num_layers: int | None, entries: Sequence[Entry]
) -> list[tuple[str, str]]:
    """The pairs of ids that reach the threshold in a profile's layer and pooling, best first."""
    wanted, cells = find_profile(profile).protocol(task), list(mining_sides(predictions))
    layer, _ = layer_for(wanted, num_layers or max(cell[0] for cell in cells))
    at = next((cell for cell in cells if cell[:2] == (layer, wanted.pooling)), None)
    if at is None:
        raise ValueError(f"profile {profile!r}: expected layer {layer}, {wanted.pooling}, which was not measured")
    pairs, threshold, _ = extract(*at[2:])
    ids: list[list[str]] = []
    for queries in (True, False):
        first: dict[str, str] = {}
        for entry in entries:
            if entry.is_query == queries:
                first.setdefault(entry.text, entry.id)
        ids.append(list(first.values()))
    found = zip(pairs.sources.tolist(), pairs.targets.tolist(), pairs.scores.tolist(), strict=True)
    return [(ids[0][source], ids[1][target]) for source, target, score in found if score >= threshold]


def _rankings(
    predictions: pa.Table, task: str, profile: str, num_layers: int | None, entries: Sequence[Entry]
) -> dict[str, dict[str, list[str]]]:
    """By language and id of each query the ids of its nearest candidates in a profile's layer and pooling."""
    queries, pool = ([entry for entry in entries if entry.is_query == asks] for asks in (True, False))
    neighbours = _cell(predictions, task, profile, num_layers, len(queries))
    count = min(NUM_RANKED, len(pool))
    found: dict[str, dict[str, list[str]]] = {}
    for query, near_by in zip(queries, nearest(f"profile {profile!r}", neighbours, count)[0].tolist(), strict=True):
        found.setdefault(query.language, {})[query.id] = [pool[index].id for index in near_by]
    return found


def _cell(predictions: pa.Table, task: str, profile: str, num_layers: int | None, num_queries: int) -> Neighbours:
    """The neighbours of each query in a profile's layer, pooling and direction."""
    import pyarrow.compute as pc

    wanted = find_profile(profile).protocol(task)
    layer, _ = layer_for(wanted, num_layers or pc.max(predictions["layer"]).as_py())
    chosen = {"layer": layer, "pooling": wanted.pooling, "direction": wanted.direction}
    cell = predictions
    for name, value in chosen.items():
        cell = cell.filter(pc.equal(cell[name], value))
    cell = cell.sort_by("query")
    if cell["query"].to_pylist() != list(range(num_queries)):
        where = ", ".join(f"{name} {value}" for name, value in chosen.items())
        raise ValueError(
            f"profile {profile!r}: expected one row for each of {num_queries} queries at {where}, got {cell.num_rows}"
        )
    return Neighbours(cell["neighbours"].to_pylist(), cell["similarities"].to_pylist())
