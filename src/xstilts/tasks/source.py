"""Where a task's rows come from: find them, identify them by content, read them, fetch them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from xstilts import spec

from .languages import PAIR
from .readers import BROKEN_GZIP, Row, parquet
from .task import Example, Files, Hub, Miniature, Pair, Source, Task, example_problem, kind_declaration, rows_of

_DIFFERENT_LABELS = 0.05  # PAWS-X: 43 of 2,000 at most


@dataclass(frozen=True)
class _Found:
    """The source that has the rows, the files that hold them and, for the hub, their snapshot's folder."""

    source: Source
    paths: tuple[Path, ...] = ()
    folder: Path | None = None


def available(task: Task, split: str, language: str, data_dir: Path | None = None) -> bool:
    """Whether the rows of one split in one language are on this machine.

    Raises:
        ValueError: for a split or a language that the task does not have.
    """
    task.count(split, language)
    if parts := _parts(task, language):
        return all(available(part, split, code, data_dir) for part, code in parts)
    return bool(sources_here(task, split, language, data_dir))


def sources_here(task: Task, split: str, language: str, data_dir: Path | None = None) -> tuple[Source, ...]:
    """Those of a task's own sources that have the rows of one split in one language, in order of preference.

    Raises:
        ValueError: for a split or a language that the task does not have.
    """
    task.count(split, language)
    return tuple(s for s in task.sources if isinstance(_look(s, task, split, language, data_dir), _Found))


def data_files(task: Task, split: str, language: str, data_dir: Path | None = None) -> list[Path]:
    """The files that hold the rows; none for a miniature.

    Raises:
        ValueError: for a split or a language that the task does not have, and for missing files, naming the
            paths looked for and what to do.
    """
    if parts := _parts(task, language):
        return [path for part, code in parts for path in data_files(part, split, code, data_dir)]
    return list(_find(task, split, language, data_dir).paths)


def content(
    task: Task, split: str, language: str, data_dir: Path | None = None, *, cache_dir: Path | None = None
) -> str:
    """A stable hex id of what `examples` returns.

    It counts the bytes (release files: SHA-256 of the unpacked bytes, so a plain and a gzip file are one;
    hub: repository, commit and files; miniature: its fingerprint) and how they are read: reader, columns,
    slice, labels, what they go through, kind and the task's version. Names and folders do not count.

    Args:
        task: the task.
        split: canonical split.
        language: language code.
        data_dir: folder of release files.
        cache_dir: where file hashes are remembered by path, size and modification time.

    Raises:
        ValueError: as `data_files`, and for broken gzip.
    """
    declaration: dict[str, Any] = {"kind": kind_declaration(task.kind), "version": task.version}
    if parts := _parts(task, language):
        declaration["crossed" if task.crosses else "members"] = [
            content(part, split, code, data_dir, cache_dir=cache_dir) for part, code in parts
        ]
        return spec.digest(spec.canonical_json(declaration))
    found = _find(task, split, language, data_dir)
    source = found.source
    if source.through:
        declaration["through"] = source.through.__name__
    if isinstance(source, Miniature):
        from xstilts import miniature

        made = [source.name, split, language, task.count(split, language), source.seed]
        declaration["miniature"] = [*made, miniature.fingerprint(), *([source.each] if source.through else [])]
        return spec.digest(spec.canonical_json(declaration))
    declaration |= {"labels": source.labels, "rows": rows_of(source, split)}
    if isinstance(source, Hub) and found.folder:
        names = [path.relative_to(found.folder).as_posix() for path in found.paths]
        declaration |= {"hub": [source.repo, found.folder.name, names]}
        declaration |= {"columns": dict(source.columns), "unlabelled": source.unlabelled}
    elif isinstance(source, Files):
        declaration |= {"files": [_sha256(path, cache_dir) for path in found.paths]}
        declaration |= {"columns": source.columns, "reader": source.reader.__name__}
    return spec.digest(spec.canonical_json(declaration))


def examples(task: Task, split: str, language: str, data_dir: Path | None = None) -> list[Example]:
    """Read one split in one language, in the release's order.

    Raises:
        ValueError: as `data_files`; with file and line for a row that does not fit the task; with both counts
            when the number of rows is not the declared one.
    """
    expected = task.count(split, language)
    if parts := _parts(task, language):
        sides = [examples(part, split, code, data_dir) for part, code in parts]
        read = list(_crossed(task, language, *sides)) if task.crosses else [one for side in sides for one in side]
        place = task.crosses or "its members " + ", ".join(task.members)
    else:
        found = _find(task, split, language, data_dir)
        rows = _rows(found, split, language, expected)
        read = [_example(task, row) for row in (found.source.through(rows) if found.source.through else rows)]
        place = ", ".join(map(str, found.paths)) or f"miniature {task.name!r}"
    if not read or (expected is not None and len(read) != expected):
        raise ValueError(
            f"{task.name}/{split} in {language!r}: expected {expected or 'some'} rows, got {len(read)} from {place}"
        )
    return read


def some_examples(task: Task, split: str, language: str, data_dir: Path | None, most: int) -> list[Example]:
    """The first examples of one split in one language, for an idea of what they are like; of a union each member's.

    Raises:
        ValueError: as `examples`, but for the number of rows.
    """
    if parts := _parts(task, language):
        return [one for part, code in parts for one in some_examples(part, split, code, data_dir, most)]
    found = _find(task, split, language, data_dir)
    rows: Iterable[Row] = _rows(found, split, language, most)
    rows = found.source.through(rows) if found.source.through else rows
    return [_example(task, row) for row in islice(rows, most)]


def download(task: Task) -> list[Path]:
    """Fetch every split and language of a task from the hub into the local Hugging Face cache.

    A branch is resolved to its commit, which is what counts in identity. Only ``fetch`` calls this.

    Returns:
        The files.

    Raises:
        ValueError: for a task that the hub does not have.
    """
    if parts := dict.fromkeys(part for part, _ in _parts(task, task.languages[0])):
        return [path for part in parts for path in download(part)]
    hub = next((source for source in task.sources if isinstance(source, Hub)), None)
    if hub is None:
        raise ValueError(f"task {task.name!r} cannot be fetched: {_advice(task)}")
    from huggingface_hub import snapshot_download

    cells = [(split, language) for split in hub.files for language in task.languages_of(split)]
    patterns = sorted({hub.files[split].format(language=language) for split, language in cells})
    snapshot_download(hub.repo, repo_type="dataset", revision=hub.revision, allow_patterns=patterns)
    _snapshot.cache_clear()
    files: dict[Path, None] = {}
    for split, language in cells:
        found = _look(hub, task, split, language, None)
        if isinstance(found, str):
            raise ValueError(f"task {task.name!r}: fetched, but not found: {found}")
        files |= dict.fromkeys(found.paths)
    return list(files)


def _parts(task: Task, language: str) -> list[tuple[Task, str]]:
    """The tasks whose rows a task's rows are, and in which languages: its members, or twice the one that it crosses."""
    from xstilts import tasks

    if task.crosses:
        return [(tasks.find(task.crosses), code) for code in language.split(PAIR)]
    return [(tasks.find(name), language) for name in task.members]


def _crossed(task: Task, language: str, first: list[Example], second: list[Example]) -> Iterator[Example]:
    """The first sentences of some pairs with the second ones of the same pairs in another language.

    Rows whose labels differ are left out: in one of the languages they are not what they are in the other (PAWS-X has
    ``NS`` for a sentence that was not translated, and the label 0).

    Raises:
        ValueError: when the rows are not the same pairs: another number, or more labels that differ.
    """
    pairs = [(one, other) for one, other in zip(first, second, strict=False) if isinstance(one, Pair)]
    same = [(one, other) for one, other in pairs if isinstance(other, Pair) and one.label == other.label]
    if len(first) != len(second) or len(same) < (1 - _DIFFERENT_LABELS) * len(first):
        raise ValueError(
            f"{task.name} in {language!r}: expected the same rows of {task.crosses} in both languages, "
            f"got {len(first)} and {len(second)}, of which {len(same)} have the same label"
        )
    return (Pair(one.first, other.second, one.label) for one, other in same if isinstance(other, Pair))


def _find(task: Task, split: str, language: str, data_dir: Path | None) -> _Found:
    """The first source that has the rows; `ValueError` with everything looked for if none has."""
    task.count(split, language)
    missing = []
    for source in task.sources:
        found = _look(source, task, split, language, data_dir)
        if isinstance(found, _Found):
            return found
        missing.append(found)
    raise ValueError(
        f"no rows of {task.name}/{split} in {language!r}: looked for {' and for '.join(missing)}; {_advice(task)}"
    )


def _look(source: Source, task: Task, split: str, language: str, data_dir: Path | None) -> _Found | str:
    """The source's files if it has them all, else what was looked for."""
    if isinstance(source, Miniature):
        from xstilts import miniature

        return _Found(source) if source.name in miniature.NAMES else f"the miniature {source.name!r}"
    if isinstance(source, Files):
        names = source.paths(task.splits.own(split), language)
        if data_dir is None:
            return f"{' and '.join(names)} in a data folder (none was given)"
        paths = []
        for name in names:
            plain = Path(data_dir) / name
            path = next((p for p in (plain, plain.with_name(plain.name + ".gz")) if p.is_file()), None)
            if path is None:
                return f"{plain} (or .gz)"
            paths.append(path)
        return _Found(source, tuple(paths))
    if split not in source.files:
        return f"{source.repo} on the hub (it has no {split} split)"
    pattern = source.files[split].format(language=language)
    folder = _cached_snapshot(source.repo, source.revision, pattern)
    shards = tuple(sorted(folder.glob(pattern))) if folder else ()
    if not shards:
        return f"{source.repo}@{source.revision}/{pattern} in the Hugging Face cache"
    return _Found(source, shards, folder)


def _cached_snapshot(repo: str, revision: str, pattern: str) -> Path | None:
    try:
        return _snapshot(repo, revision, pattern)
    except FileNotFoundError:  # not in the cache, or not whole
        return None


@functools.cache
def _snapshot(repo: str, revision: str, pattern: str) -> Path:
    """The folder of a revision in the local cache, named by its commit; never the network."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repo, repo_type="dataset", revision=revision, allow_patterns=[pattern], local_files_only=True
    )
    return Path(folder)


def _advice(task: Task) -> str:
    steps = []
    if any(isinstance(source, Files) for source in task.sources):
        steps.append("give the folder of its release files with `--data DIR`")
    if any(isinstance(source, Hub) for source in task.sources):
        from xstilts import tasks

        file = "" if task.name in {known.name for known in tasks.ALL} else "FILE.py:"
        steps.append(f"download it with `xstilts fetch {file}{task.name}`")
    return " or ".join(steps) or "it is made, not downloaded"


def _sha256(path: Path, cache_dir: Path | None) -> str:
    try:
        return spec.cached_sha256(path, cache_dir, unpacked=True)
    except BROKEN_GZIP as error:
        raise ValueError(f"{path}: expected whole gzip data, got a broken stream: {error}") from error


def _rows(found: _Found, split: str, language: str, size: int | None) -> Iterator[Row]:
    """Canonical rows: slice cut, unlabelled rows left out, columns renamed, label indices resolved."""
    source = found.source
    if isinstance(source, Miniature):
        from xstilts import miniature

        assert size is not None, "a miniature task declares its number of rows"
        made = miniature.rows(source.name, split, language, size * source.each, source.seed)
        place = f"miniature {source.name}/{split}/{language}"
        yield from (Row(values, place, number) for number, values in enumerate(made, 1))
        return
    if isinstance(source, Hub):
        raw = parquet(found.paths, columns=tuple(source.columns))
    else:
        raw = source.reader(*found.paths, columns=source.columns)
    for row in islice(raw, *(rows_of(source, split) or (0, None))):
        if isinstance(source, Hub):
            if source.unlabelled is not None and row["label"] == source.unlabelled:
                continue
            row = Row({canonical: row[own] for own, canonical in source.columns.items()}, row.path, row.line)
        if source.labels:
            row["label"] = _label(row, source.labels)
        yield row


def _label(row: Row, labels: tuple[str, ...]) -> str:
    index = str(row["label"])
    if index not in map(str, range(len(labels))):
        raise ValueError(f"{row.where}: expected a label from 0 to {len(labels) - 1}, got {row['label']!r}")
    return labels[int(index)]


def _example(task: Task, row: Row) -> Example:
    try:
        example = task.example(row)
        problem = example_problem(task.kind, example)
    except KeyError as error:
        raise ValueError(f"{row.where}: expected a column {error}, got {', '.join(row)}") from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{row.where}: expected a row of task {task.name!r}, got {dict(row)}: {error}") from error
    if problem:
        raise ValueError(f"{row.where}: {problem}")
    return example
