"""What has been done: one folder per stage id, published by one rename and never edited."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .spec import canonical_json, digest, file_sha256, near, write_atomically

FORMAT = 1
RECORD, REMADE = "record.json", "remade.json"
_FOLDERS = ("stages", "work", "locks", "logs", "plans")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # never a path: no separator, no leading dot
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+=-]*")
_WEIGHTS = re.compile(r"(?:remade-([0-9]+)/)?weights/.+")
_TOMBSTONE = re.compile(r"tombstone-([1-9][0-9]*)\.json")
_SCORES = re.compile(r"scores/[^/]+\.json")
_MISSING = "missing"
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


@dataclass(frozen=True)
class ImportReport:
    """The ids an import added, completed (weights or scores that were lacking), had already, and refused."""

    added: tuple[str, ...]
    completed: tuple[str, ...]
    already: tuple[str, ...]
    refused: tuple[Problem, ...]


class Claim:
    """The exclusive right to work on one id; released on exit, by `release`, or when the process dies."""

    def __init__(self, lock: FileLock, holder: Path) -> None:
        self._lock, self._holder = lock, holder

    def release(self) -> None:
        """Give the id free; a second call does nothing."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class Store:
    """The append-only memory of a project, on any POSIX file system (local, or NFS with rename).

    A stage folder holds ``record.json``, its files, and ``weights/``, the payload that retention may drop.
    Weights have generations: the first lies in the folder itself, generation *n* in ``remade-<n>/`` beside
    its own ``remade.json``, and ``tombstone-<n>.json`` says that generation *n* was dropped. Every folder
    arrives by one rename and every document is sealed with its own digest, so any number of processes may
    use one store at once, and a crash leaves a stage absent or complete, with leftovers in ``work/`` only.
    """

    root: Path

    @classmethod
    def open(cls, root: Path, create: bool = True) -> Store:
        """Open the store at ``root``, made if absent and ``create``; without ``create`` nothing is written.

        Raises:
            ValueError: when ``root`` is something else, not there, or of a newer format.
            OSError: when it cannot be read, or written under ``create``.
        """
        root = Path(root)
        marker = root / "format.json"
        try:
            if not marker.is_file():
                names = os.listdir(root) if root.is_dir() else [] if not root.exists() else ["it is a file"]
                strangers = sorted(name for name in names if name not in _FOLDERS and not name.startswith("."))
                if strangers or not create:
                    found = f"found {', '.join(strangers[:3])}" if strangers else "it has no format.json"
                    raise ValueError(f"{root} is not a store ({found}): expected a store{' or a new folder' * create}")
                write_atomically(marker, json.dumps({"format": FORMAT}) + "\n")
            try:
                version = json.loads(marker.read_bytes())["format"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f'{marker}: expected {{"format": {FORMAT}}}, so {root} is not a store') from error
            _check_format(version, marker)
            for name in _FOLDERS if create else ():
                (root / name).mkdir(exist_ok=True)
                if not os.access(root / name, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "no permission to write", str(root / name))
        except OSError as error:
            raise OSError(error.errno, f"cannot open the store {root}: {error.strerror}") from error
        return cls(root)

    # -- reading ---------------------------------------------------------------------------------------

    def folder(self, id: str) -> Path:
        """The folder of a published stage, there or not; ``ValueError`` for an id that is a path."""
        return self.root / "stages" / _plain("stage id", id)

    def exists(self, id: str) -> bool:
        """Whether the stage is done; its existence is its completion."""
        return os.path.exists(self.folder(id) / RECORD)

    def usable(self, id: str) -> bool:
        """Whether the stage is done and its weights, if it ever had any, are present."""
        if not self.exists(id):
            return False
        folder = self.folder(id)
        last = _last_generation(folder)
        if os.path.exists(folder / f"tombstone-{last}.json"):
            return False
        return os.path.isdir(_generation(folder, last) / "weights") or not _weights_of(_record_of(folder, id, 1))

    def ids(self) -> list[str]:
        """The ids of all stages that are done, sorted."""
        return [name for name in _names(self.root / "stages") if _ID.fullmatch(name) and self.exists(name)]

    def record(self, id: str) -> Document:
        """The record of a stage.

        Raises:
            ValueError: when there is no such stage (with the near names), or its record is broken.
        """
        return _record_of(self._existing(id), id, 1)

    def records(self, kind: str | None = None) -> list[Document]:
        """All records, of one ``kind`` if given, in the order of their ids."""
        records = (self.record(id) for id in self.ids())
        return [record for record in records if kind is None or record.get("kind") == kind]

    def weights(self, id: str) -> Path:
        """The folder of the present weights, the first or the latest re-made; ``ValueError`` without any."""
        folder = self._existing(id)
        last = _last_generation(folder)
        path = _generation(folder, last) / "weights"
        tombstone = folder / f"tombstone-{last}.json"
        if tombstone.exists():
            raise ValueError(f"{id}: its weights were dropped ({_read(tombstone)['reason']}); they have to be re-made")
        if not path.is_dir():
            raise ValueError(f"{id}: no weights at {path}")
        return path

    def scores(self, id: str) -> dict[str, Document]:
        """The scores of a stage by name; ``ValueError`` naming the file when one is broken."""
        folder = self._existing(id) / "scores"
        names = [name for name in _names(folder) if name.endswith(".json")]
        return {name.removesuffix(".json"): _without(_read(folder / name), "sha256") for name in names}

    # -- working and publishing ------------------------------------------------------------------------

    def claim(self, id: str) -> Claim | None:
        """Claim an id for work, or return ``None`` when a live process holds it.

        The lock is the kernel's: it ends with its holder, however that ends. The store never deletes a lock
        file, so nobody can lock one that another has just removed. Keep the handle: the claim ends with it.
        """
        lock = FileLock(self.root / "locks" / f"{_plain('stage id', id)}.lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        holder = self.root / "locks" / f"{id}.holder"
        claim = Claim(lock, holder)
        try:
            self._write(holder, f"process {os.getpid()} on {socket.gethostname()} since {_now()}")
        except BaseException:
            claim.release()
            raise
        return claim

    def holder(self, id: str) -> str:
        """Who holds the claim that was just refused, in words for a message."""
        try:
            return (self.root / "locks" / f"{_plain('stage id', id)}.holder").read_text() or "another process"
        except FileNotFoundError:
            return "another process"

    def work(self, id: str) -> Path:
        """The folder for an unfinished stage's checkpoints and staged outputs, made if absent."""
        path = self.root / "work" / _plain("stage id", id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def clear_work(self, id: str) -> None:
        """Delete the stage's work folder."""
        self._discard(self.root / "work" / _plain("stage id", id))

    def publish(self, id: str, staged: Path, record: Mapping[str, Any]) -> None:
        """Make ``staged``, a folder on the store's file system, the stage ``id`` by one rename.

        ``format``, ``id``, ``files`` (checksums) and ``record_sha256`` are filled in. When the stage is there
        already, as when another process was faster, that one is kept and ``staged`` is dropped.

        Raises:
            ValueError: for a symlink, a special file or an odd or reserved name in ``staged``, or a record
                that is not JSON or of another id.
        """
        folder = self.folder(id)
        if not self.exists(id):
            if record.get("id", id) != id:
                raise ValueError(f"the record of {id} has the id {record['id']!r}")
            _check_format(record.get("format", FORMAT), staged / RECORD)
            files = _checksums(staged, RECORD)
            document = {"format": FORMAT, "id": id, **record, "files": files}
            self._write(staged / RECORD, _sealed(document, "record_sha256"))
            if _install(staged, folder):
                return
            if not self.exists(id):
                raise ValueError(f"{folder} is in the way: it has no {RECORD}; move it out of the store")
        self._discard(staged)

    def add_score(self, id: str, name: str, document: Mapping[str, Any]) -> None:
        """Write a score beside its stage, once; the same again does nothing.

        Raises:
            ValueError: when another content has the name; what a metric computes changes with its version.
        """
        path = self._existing(id) / "scores" / f"{_plain('score name', name)}.json"
        text = _sealed(document, "sha256")
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            _sync(path.parent.parent)
        if not self._write(path, text, once=True) and path.read_text() != text:
            raise ValueError(f"{path} exists with another content: bump the metric's version")

    # -- retention -------------------------------------------------------------------------------------

    def drop(self, id: str, reason: str) -> None:
        """Drop the weights of a stage, the tombstone first; again finishes what a crash left."""
        folder = self._existing(id)
        last = _last_generation(folder)
        self._bury(folder, id, last, reason)
        for generation in range(1, last + 1):
            if (folder / f"tombstone-{generation}.json").exists():
                self._discard(_generation(folder, generation) / "weights")

    def remake(self, id: str, staged: Path, record: Mapping[str, Any]) -> bool:
        """Publish ``staged``, with ``weights/`` in it, as the next generation of a stage without weights.

        ``record``, that of the new run, goes into ``remade.json``; the first record stays.
        When the stage is usable already, ``staged`` is dropped.

        Returns:
            Whether the present weights equal the first ones, byte for byte.
        """
        first = _weights_of(self.record(id))
        while not self.usable(id):
            folder = self.folder(id)
            last = _last_generation(folder)
            if not (folder / f"tombstone-{last}.json").exists():
                if (_generation(folder, last) / "weights").is_dir():
                    continue  # another process was faster
                self._bury(folder, id, last, "found missing when re-made")
            files = _checksums(staged, REMADE)
            again = _weights_of({"files": files})
            if not again:
                raise ValueError(f"{staged} has no weights/: nothing to re-make {id} with")
            own = {"format": FORMAT, "id": id, "generation": last + 1, "identical": again == first}
            self._write(staged / REMADE, _sealed({**record, **own, "files": files}, "record_sha256"))
            if _install(staged, _generation(folder, last + 1)):
                return again == first
        self._discard(staged)
        return _weights_of(_record_of(self.folder(id), id, _last_generation(self.folder(id)))) == first

    # -- verifying and moving --------------------------------------------------------------------------

    def verify(self, ids: Iterable[str] | None = None) -> list[Problem]:
        """Check every file of the given stages (default: all) against its checksum; ``[]`` when clean."""
        names = _names(self.root / "stages") if ids is None else [self._existing(id).name for id in ids]
        return [problem for name in names for problem in _problems(self.root / "stages" / name, name)]

    def export(self, target: Path, ids: Iterable[str], payload: bool) -> int:
        """Copy stages into the store at ``target`` (made if absent), with or without weights.

        A stage without its weights gets a tombstone there. Returns the number of stages that were new there.

        Raises:
            ValueError: for an unknown id, or, once all others are copied, naming every damaged stage.
        """
        wanted = [self._existing(id).name for id in dict.fromkeys(ids)]
        report = Store.open(target)._take(self, wanted, payload)
        if report.refused:
            raise ValueError("not exported: " + "; ".join(map(str, report.refused)))
        return len(report.added) + len(report.completed)

    def import_from(self, source: Path) -> ImportReport:
        """Take every stage of the store at ``source``, such as an export, that is lacking or incomplete here.

        What is copied is verified first: a damaged stage is refused and the others come in. What is here is
        never overwritten; lacking weights come in as re-made, scores only for the very same record.
        """
        return self._take(Store.open(source, create=False), _names(Path(source) / "stages"), payload=True)

    # -- logs and plans --------------------------------------------------------------------------------

    def write_failure(self, id: str, label: str, text: str) -> Path:
        """Keep the log of a failed stage and return its path."""
        while True:
            now = datetime.now(UTC)
            path = self.root / "logs" / f"{_plain('stage id', id)}-{now:%Y%m%dT%H%M%S.%fZ}.txt"
            body = f"{label}\n{id}\n{now.isoformat()}\n\n{text}\n"
            if self._write(path, body.encode(errors="backslashreplace"), once=True):
                return path

    def failures(self, id: str) -> list[Path]:
        """The logs of a stage's failures, oldest first."""
        pattern = re.compile(re.escape(_plain("stage id", id)) + r"-[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.txt")
        return [self.root / "logs" / name for name in _names(self.root / "logs") if pattern.fullmatch(name)]

    def write_plan(self, name: str, document: Mapping[str, Any]) -> None:
        """Write the plan of a study, over its earlier one."""
        self._write(self.root / "plans" / f"{_plain('plan name', name)}.json", _render(_json(document)))

    def plan(self, name: str) -> Document:
        """The last plan written under ``name``; ``ValueError`` with the near names when there is none."""
        path = self.root / "plans" / f"{_plain('plan name', name)}.json"
        if not path.is_file():
            raise ValueError(f"no plan {name!r} in {self.root}{near(name, self.plans())}")
        return _parse(path.read_bytes(), path)

    def plans(self) -> list[str]:
        """The names of all plans, newest first."""
        paths = [self.root / "plans" / name for name in _names(self.root / "plans") if name.endswith(".json")]
        return [path.stem for path in sorted(paths, key=lambda path: -path.stat().st_mtime_ns)]

    # -- inside ----------------------------------------------------------------------------------------

    def _existing(self, id: str) -> Path:
        if not self.exists(id):
            raise ValueError(f"no stage {id!r} in {self.root}{near(id, self.ids())}")
        return self.folder(id)

    def _write(self, path: Path, content: str | bytes, once: bool = False) -> bool:
        """Write by rename or, ``once``, by link (``False``: name taken); leftovers stay in ``work/``."""
        temporary = self.root / "work" / ".tmp" / uuid.uuid4().hex
        write_atomically(temporary, content)
        try:
            if once:
                os.link(temporary, path)
            else:
                os.replace(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
        return True

    def _discard(self, path: Path) -> None:
        """Delete a folder by way of the trash, and whatever earlier processes left there."""
        trash = self.root / "work" / ".trash"
        trash.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, trash / uuid.uuid4().hex)
        for name in _names(trash):
            shutil.rmtree(trash / name, ignore_errors=True)

    def _bury(self, folder: Path, id: str, generation: int, reason: str) -> None:
        files = _weights_of(_record_of(folder, id, generation))
        if not files:
            raise ValueError(f"{id} has no weights to drop")
        what = {"format": FORMAT, "id": id, "generation": generation, "files": files}
        text = _sealed({**what, "reason": reason, "dropped": _now()}, "sha256")
        self._write(folder / f"tombstone-{generation}.json", text, once=True)

    def _take(self, other: Store, names: Iterable[str], payload: bool) -> ImportReport:
        outcome: dict[str, list[str]] = {"added": [], "completed": [], "already": []}
        refused: list[Problem] = []
        # One import at a time: its holder may clear what a dead one left in the staging folder.
        with FileLock(self.root / "locks" / ".import.lock"):
            staging = self.root / "work" / ".import"
            for name in names:
                self._discard(staging)
                try:
                    take = self._complete if self.exists(name) else self._add
                    found = take(other, name, payload, staging)
                    if isinstance(found, str):
                        outcome[found].append(name)
                    else:
                        refused.extend(found)
                except ValueError as error:
                    refused.append(Problem(name, "", str(error)))
            self._discard(staging)
        added, completed, already = (tuple(outcome[key]) for key in ("added", "completed", "already"))
        return ImportReport(added, completed, already, tuple(refused))

    def _add(self, other: Store, id: str, payload: bool, staging: Path) -> str | list[Problem]:
        while True:
            before = _names(other.folder(id))
            self._discard(staging)
            with contextlib.suppress(FileNotFoundError):
                _copy(other.folder(id), staging, payload)
            if not payload:
                # Without weights there is nothing to bury; damage is found below, with the name of its file.
                with contextlib.suppress(FileNotFoundError, ValueError):
                    self._bury(staging, id, _last_generation(staging), "copied without weights")
            if not (problems := list(_problems(staging, id))):
                return "added" if _install(staging, self.folder(id)) else "already"
            if before == _names(other.folder(id)):  # else a drop or re-making there has spoilt the copy
                return problems

    def _complete(self, other: Store, id: str, payload: bool, staging: Path) -> str | list[Problem]:
        found = "already"
        if payload and not self.usable(id) and other.usable(id):
            weights = other.weights(id)
            document = _record_of(other.folder(id), id, _last_generation(other.folder(id)))
            for name, entry in _weights_of(document).items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError, shutil.SpecialFileError):
                    shutil.copyfile(weights.parent / name, path, follow_symlinks=False)
                if what := _difference(path, entry):
                    return [Problem(id, name, what)]
            self.remake(id, staging, document)
            found = "completed"
        if other.record(id) == self.record(id):
            here = self.scores(id)
            for name, score in other.scores(id).items():
                self.add_score(id, name, score)
                found = found if name in here else "completed"
        return found


# -- documents: JSON sealed with its own digest, checked byte by byte when read --------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _plain(what: str, name: str) -> str:
    if not _ID.fullmatch(name):
        raise ValueError(f"{what} {name!r}: expected letters, digits, '.', '_' and '-', never a path")
    return name


def _check_format(version: Any, path: Path) -> None:
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        hint = "; it was made by a newer xstilts: update" if newer else ""
        raise ValueError(f"{path}: its format is {version!r}, expected {FORMAT}{hint}")


def _json(document: Mapping[str, Any]) -> Document:
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a document for the store is not JSON data: {error}") from error


def _render(document: Document) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _without(document: Document, key: str) -> Document:
    return {name: value for name, value in document.items() if name != key}


def _sealed(document: Mapping[str, Any], key: str) -> str:
    """The text of a document with the digest of its canonical JSON under ``key``."""
    body = _without(_json(document), key)
    return _render({**body, key: digest(canonical_json(body))})


def _parse(data: bytes, path: Path) -> Document:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: damaged: expected a JSON object")
    return document


def _read(path: Path, key: str = "sha256") -> Document:
    """Read a sealed document; any byte that is not as it was written is a ``ValueError`` naming the file."""
    data = path.read_bytes()
    document = _parse(data, path)
    with contextlib.suppress(ValueError):  # a NaN, a half of a surrogate pair
        same = document.get(key) == digest(canonical_json(_without(document, key)))
        if same and _render(document).encode() == data:  # the digest does not see white space
            return document
    raise ValueError(f"{path}: damaged or edited: it does not match its own {key}")


def _record_of(folder: Path, id: str, generation: int) -> Document:
    """The document of one generation, with its id, format and list of files checked."""
    path = _generation(folder, generation) / (RECORD if generation == 1 else REMADE)
    document = _read(path, "record_sha256")
    _check_format(document.get("format"), path)
    if document.get("id") != id:
        raise ValueError(f"{path}: its id is {document.get('id')!r}, expected {id}")
    files = document.get("files")
    if not isinstance(files, dict) or not all(_is_plain_path(name) for name in files):
        raise ValueError(f"{path}: its 'files' is not a table of plain file names")
    return document


# -- one stage's folder -----------------------------------------------------------------------------------


def _generation(folder: Path, generation: int) -> Path:
    return folder if generation == 1 else folder / f"remade-{generation}"


def _last_generation(folder: Path) -> int:
    found = (re.fullmatch(r"remade-([1-9][0-9]{0,3})", name) for name in _names(folder))
    return max((int(match[1]) for match in found if match), default=1)


def _weights_of(document: Document) -> Document:
    return {name: entry for name, entry in document["files"].items() if name.startswith("weights/")}


def _is_plain_path(relative: str) -> bool:
    return all(_PART.fullmatch(part) for part in relative.split("/"))


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


def _checksums(staged: Path, own: str) -> Document:
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


def _difference(path: Path, entry: Any) -> str:
    """What is wrong with one file, ``""`` when nothing is."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if {"sha256": file_sha256(path), "bytes": status.st_size} != entry:
            return "its content is not what was published: the checksum differs"
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _problems(folder: Path, id: str) -> Iterator[Problem]:
    """Compare a stage's folder with its documents, safely beside processes that publish, drop or re-make."""
    if not _ID.fullmatch(id) or folder.is_symlink() or not folder.is_dir():
        yield Problem(id, "", "not the folder of a stage")
        return
    present = [relative for relative, _ in _walk(folder)]  # first, so that what comes later is not unknown
    known: set[str] = set()
    unread: list[str] = []
    last = _last_generation(folder)
    for generation in range(1, last + 1):
        base = _generation(folder, generation)
        prefix = "" if generation == 1 else f"{base.name}/"
        name = RECORD if generation == 1 else REMADE
        known.add(prefix + name)
        try:
            files = _record_of(folder, id, generation)["files"]
        except (OSError, ValueError) as error:
            what = _MISSING if isinstance(error, FileNotFoundError) else str(error)
            yield Problem(id, prefix + name, what.removeprefix(f"{base / name}: "))
            unread.append(prefix)
            continue
        for relative, entry in files.items():
            known.add(prefix + relative)
            what = _difference(base / relative, entry)
            dropped = what == _MISSING and relative.startswith("weights/")
            if what and not (dropped and (folder / f"tombstone-{generation}.json").exists()):
                yield Problem(id, prefix + relative, what)
    for relative in present:
        tombstone = _TOMBSTONE.fullmatch(relative)
        if _SCORES.fullmatch(relative) or (tombstone and int(tombstone[1]) <= last):
            try:
                if _read(folder / relative).get("id", id) != id:
                    yield Problem(id, relative, "belongs to another stage")
            except (OSError, ValueError) as error:
                yield Problem(id, relative, str(error).removeprefix(f"{folder / relative}: "))
        elif relative not in known and not any(relative.startswith(prefix) for prefix in unread):
            yield Problem(id, relative, "unknown file: no document of the stage lists it")


def _copy(source: Path, target: Path, payload: bool) -> None:
    """Copy a stage's folder without weights that have a tombstone and, unless ``payload``, without any."""
    for relative, entry in _walk(source):
        if weights := _WEIGHTS.fullmatch(relative):
            tombstone = source / f"tombstone-{weights[1] or 1}.json"
            if not payload or tombstone.exists():
                continue
        _check_plain_file(relative, entry)
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.path, target / relative, follow_symlinks=False)


def _sync(path: Path | str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems have no fsync of a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _install(folder: Path, target: Path) -> bool:
    """Make ``folder`` durable and rename it to ``target``; ``False`` when a folder is there already."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(os.path.join(parent, name))
        _sync(parent)
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    _sync(target.parent)
    return True
