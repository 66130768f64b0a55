"""One stage's folder on disk: sealed documents, generations of weights, checksums."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from . import untrusted
from .spec import canonical_json, digest, file_sha256

FORMAT = 1
RECORD, REMADE = "record.json", "remade.json"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # never a path: no separator, no leading dot
_WEIGHTS = re.compile(r"(?:remade-([0-9]+)/)?weights/.+")
_TOMBSTONE = re.compile(r"tombstone-([1-9][0-9]*)\.json")
_SCORES = re.compile(r"scores/[^/]+\.json")
MISSING = "missing"
_DROPPABLE = {"weights": re.compile(r"weights/.+"), "predictions": re.compile(r"predictions\.parquet")}
_LOG = "%Y%m%dT%H%M%S.%fZ.txt"
_LOG_CHARACTERS = 1 << 16
_RESERVED = re.compile(r"(?:record\.json|remade\.json|(?:tombstone|remade)-[^/]*|scores)(?:/.*)?")

Document = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a stored stage: which stage, which of its files, and what."""

    id: str
    file: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.id, self.file, self.what) if part)


# -- documents: JSON sealed with its own digest, checked byte by byte when read --------------------------


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; none when it is not there."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def log_name(id: str, last: str) -> str:
    """A name for a log of this moment which sorts behind the ``last`` one's, though the clock was set back."""
    moment = datetime.now(UTC)
    if last:
        moment = max(moment, datetime.strptime(last, f"{id}-{_LOG}").replace(tzinfo=UTC) + timedelta(microseconds=1))
    return f"{id}-{moment:{_LOG}}"


def shortened(text: str) -> str:
    """A text without its middle where it is longer than 64 KiB."""
    half = _LOG_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}" if left_out > 0 else text


def plain(what: str, name: str) -> str:
    """``name`` itself, or a ``ValueError`` when it could be a path."""
    return untrusted.plain(what, name, ID)


def check_format(version: Any, path: Path) -> None:
    """Refuse, with a ``ValueError``, a format that this version does not read."""
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        hint = "; it was made by a newer xstilts: update" if newer else ""
        raise ValueError(f"{path}: its format is {version!r}, expected {FORMAT}{hint}")


def json_data(document: Mapping[str, Any]) -> Document:
    """``document`` as plain JSON data, without secrets; ``ValueError`` for what JSON cannot hold."""
    try:
        return untrusted.redacted(json.loads(json.dumps(document, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a document for the store is not JSON data: {error}") from error


def rendered(document: Document) -> str:
    """The text of a document as the store writes it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def without(document: Document, key: str) -> Document:
    """A document without one of its keys."""
    return {name: value for name, value in document.items() if name != key}


def sealed(document: Mapping[str, Any], key: str) -> str:
    """The text of a document with the digest of its canonical JSON under ``key``."""
    body = without(json_data(document), key)
    return rendered({**body, key: digest(canonical_json(body))})


def parsed(data: bytes, path: Path) -> Document:
    """The JSON object in a file's bytes; ``ValueError`` naming the file when it is none."""
    try:
        document = untrusted.parsed(data)
    except ValueError as error:
        raise ValueError(f"{path}: damaged: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: damaged: expected a JSON object")
    return document


def read_sealed(path: Path, key: str = "sha256") -> Document:
    """Read a sealed document; any byte that is not as it was written is a ``ValueError`` naming the file."""
    data = path.read_bytes()
    document = parsed(data, path)
    with contextlib.suppress(ValueError):  # a NaN, a half of a surrogate pair
        same = document.get(key) == digest(canonical_json(without(document, key)))
        if same and rendered(document).encode() == data:  # the digest does not see white space
            return document
    raise ValueError(f"{path}: damaged or edited: it does not match its own {key}")


def record_of(folder: Path, id: str, generation: int) -> Document:
    """The document of one generation, with its id, format and list of files checked."""
    path = generation_folder(folder, generation) / (RECORD if generation == 1 else REMADE)
    document = read_sealed(path, "record_sha256")
    check_format(document.get("format"), path)
    if document.get("id") != id:
        raise ValueError(f"{path}: its id is {document.get('id')!r}, expected {id}")
    files = document.get("files")
    if not isinstance(files, dict) or not all(_is_plain_path(name) for name in files):
        raise ValueError(f"{path}: its 'files' is not a table of plain file names")
    return document


# -- one stage's folder -----------------------------------------------------------------------------------


def generation_folder(folder: Path, generation: int) -> Path:
    """Where a generation of weights lies: the stage's own folder, or ``remade-<n>`` in it."""
    return folder if generation == 1 else folder / f"remade-{generation}"


def last_generation(folder: Path) -> int:
    """The number of the newest generation, 1 when nothing was made again."""
    found = (re.fullmatch(r"remade-([1-9][0-9]{0,3})", name) for name in names_in(folder))
    return max((int(match[1]) for match in found if match), default=1)


def weights_of(document: Document) -> Document:
    """The entries of a document's weight files."""
    return droppable(document, "weights")


def droppable(document: Document, what: str) -> Document:
    """The entries of a document's files that a tombstone may stand for: its ``weights`` or its ``predictions``."""
    return {name: entry for name, entry in document["files"].items() if _DROPPABLE[what].fullmatch(name)}


def _is_plain_path(relative: str) -> bool:
    return all(untrusted.PLAIN.fullmatch(part) for part in relative.split("/"))


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below ``folder`` that is not a folder, by relative path; what vanishes is left out."""
    entries: list[os.DirEntry[str]] = []
    with contextlib.suppress(FileNotFoundError):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _check_plain_file(relative: str, entry: os.DirEntry[str]) -> None:
    if not entry.is_file(follow_symlinks=False):
        raise ValueError(f"{entry.path!r} is a link or a special file: expected regular files only")
    if not _is_plain_path(relative):
        raise ValueError(f"odd file name {entry.path!r}: expected letters, digits and '._@+=-', no leading '.'")


def checksums(staged: Path, own: str) -> Document:
    """SHA-256 and size of every file in ``staged`` but the document named ``own``."""
    if not staged.is_dir():
        raise ValueError(f"{staged} is not a folder: nothing to publish")
    files: Document = {}
    for relative, entry in _walk(staged):
        if relative == own:
            continue
        _check_plain_file(relative, entry)
        if _RESERVED.fullmatch(relative):
            raise ValueError(f"{entry.path!r}: the store keeps this name for itself")
        files[relative] = {
            "sha256": file_sha256(Path(entry.path)),
            "bytes": entry.stat(follow_symlinks=False).st_size,
        }
    return files


def difference(path: Path, entry: Any) -> str:
    """What is wrong with one file, ``""`` when nothing is."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if {"sha256": file_sha256(path), "bytes": status.st_size} != entry:
            return "its content is not what was published: the checksum differs"
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def problems_in(folder: Path, id: str) -> Iterator[Problem]:
    """Compare a stage's folder with its documents, safely beside processes that publish, drop or re-make."""
    if not ID.fullmatch(id) or folder.is_symlink() or not folder.is_dir():
        yield Problem(id, "", "not the folder of a stage")
        return
    present = [relative for relative, _ in _walk(folder)]  # first, so that what comes later is not unknown
    known: set[str] = set()
    unread: list[str] = []
    last = last_generation(folder)
    for generation in range(1, last + 1):
        base = generation_folder(folder, generation)
        prefix = "" if generation == 1 else f"{base.name}/"
        name = RECORD if generation == 1 else REMADE
        known.add(prefix + name)
        try:
            files = record_of(folder, id, generation)["files"]
        except (OSError, ValueError) as error:
            what = MISSING if isinstance(error, FileNotFoundError) else str(error)
            yield Problem(id, prefix + name, what.removeprefix(f"{base / name}: "))
            unread.append(prefix)
            continue
        for relative, entry in files.items():
            known.add(prefix + relative)
            what = difference(base / relative, entry)
            dropped = what == MISSING and any(pattern.fullmatch(relative) for pattern in _DROPPABLE.values())
            if what and not (dropped and (folder / f"tombstone-{generation}.json").exists()):
                yield Problem(id, prefix + relative, what)
    for relative in present:
        tombstone = _TOMBSTONE.fullmatch(relative)
        if _SCORES.fullmatch(relative) or (tombstone and int(tombstone[1]) <= last):
            try:
                if read_sealed(folder / relative).get("id", id) != id:
                    yield Problem(id, relative, "belongs to another stage")
            except (OSError, ValueError) as error:
                yield Problem(id, relative, str(error).removeprefix(f"{folder / relative}: "))
        elif relative not in known and not any(relative.startswith(prefix) for prefix in unread):
            yield Problem(id, relative, "unknown file: no document of the stage lists it")


def copy_stage(source: Path, target: Path, leave_out: Collection[str]) -> None:
    """Copy a stage's folder without weights that have a tombstone, and without any ``weights`` or ``predictions``."""
    for relative, entry in _walk(source):
        if "predictions" in leave_out and _DROPPABLE["predictions"].fullmatch(relative):
            continue
        if weights := _WEIGHTS.fullmatch(relative):
            tombstone = source / f"tombstone-{weights[1] or 1}.json"
            if "weights" in leave_out or tombstone.exists():
                continue
        _check_plain_file(relative, entry)
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.path, target / relative, follow_symlinks=False)


def sync_folder(path: Path | str) -> None:
    """Make a file or a folder's names durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems have no fsync of a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def install(folder: Path, target: Path) -> bool:
    """Make ``folder`` durable and rename it to ``target``; ``False`` when a folder is there already.

    A rename that is reported as failed and yet was done, as NFS does after a lost answer, counts as done.
    """
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_folder(os.path.join(parent, name))
        sync_folder(parent)
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():
            raise
        if folder.is_dir():
            return False
    sync_folder(target.parent)
    return True
