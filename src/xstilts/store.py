"""What has been done: one folder per stage id, published by one rename and never edited."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .spec import near, write_atomically
from .stored import (
    FORMAT,
    ID,
    RECORD,
    REMADE,
    Document,
    Problem,
    check_format,
    checksums,
    copy_stage,
    difference,
    droppable,
    generation_folder,
    install,
    json_data,
    last_generation,
    log_name,
    names_in,
    now,
    parsed,
    plain,
    problems_in,
    read_sealed,
    record_of,
    rendered,
    sealed,
    shortened,
    sync_folder,
    weights_of,
    without,
)
from .untrusted import redacted

_FOLDERS = ("stages", "work", "locks", "logs", "plans")
_MAX_LOGS = 10


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

    A stage folder holds ``record.json``, its files, and ``weights/``, the payload that retention may drop. Weights have
    generations: the first lies in the folder itself, generation *n* in ``remade-<n>/`` beside its own ``remade.json``,
    and ``tombstone-<n>.json`` says that generation *n* was dropped, or predictions by an export. Every folder arrives
    by one rename and every document is sealed with its own digest, so any number of processes may use one store at
    once, and a crash leaves a stage absent or complete, with leftovers in ``work/`` only.
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
                names = os.listdir(root) if root.is_dir() else []
                strangers = sorted(name for name in names if name not in _FOLDERS and not name.startswith("."))
                if strangers or not create or root.is_file():
                    found = f"found {', '.join(strangers[:3])}" if strangers else "it has no format.json"
                    found = "it is a file" if root.is_file() else found
                    wanted = "a store or a new folder" if create else "a folder that `run` or `store export` made"
                    raise ValueError(f"{root} is not a store ({found}): expected {wanted}")
                write_atomically(marker, json.dumps({"format": FORMAT}) + "\n")
            try:
                version = parsed(marker.read_bytes(), marker)["format"]
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f'{marker}: expected {{"format": {FORMAT}}}, so {root} is not a store') from error
            check_format(version, marker)
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
        return self.root / "stages" / plain("stage id", id)

    def exists(self, id: str) -> bool:
        """Whether the stage is done; its existence is its completion."""
        return os.path.exists(self.folder(id) / RECORD)

    def usable(self, id: str) -> bool:
        """Whether the stage is done and its weights, if it ever had any, are present."""
        if not self.exists(id):
            return False
        last = last_generation(folder := self.folder(id))
        if os.path.isdir(generation_folder(folder, last) / "weights"):
            return not os.path.exists(folder / f"tombstone-{last}.json")
        return not weights_of(record_of(folder, id, 1))

    def ids(self) -> list[str]:
        """The ids of all stages that are done, sorted."""
        return [name for name in names_in(self.root / "stages") if ID.fullmatch(name) and self.exists(name)]

    def record(self, id: str) -> Document:
        """The record of a stage.

        Raises:
            ValueError: when there is no such stage (with the near names), or its record is broken.
        """
        return record_of(self._existing(id), id, 1)

    def records(self, kind: str | None = None) -> list[Document]:
        """All records, of one ``kind`` if given, in the order of their ids."""
        records = (self.record(id) for id in self.ids())
        return [record for record in records if kind is None or record.get("kind") == kind]

    def weights(self, id: str) -> Path:
        """The folder of the present weights, the first or the latest re-made; ``ValueError`` without any."""
        folder = self._existing(id)
        last = last_generation(folder)
        path = generation_folder(folder, last) / "weights"
        tombstone = folder / f"tombstone-{last}.json"
        if tombstone.exists():
            raise ValueError(
                f"{id}: its weights were dropped ({read_sealed(tombstone)['reason']}); they have to be re-made"
            )
        if not path.is_dir():
            raise ValueError(f"{id}: no weights at {path}")
        return path

    def has_weights(self, id: str) -> bool:
        """Whether the stage was published with weights, be they there or dropped."""
        return bool(weights_of(self.record(id)))

    def payload(self, id: str) -> Path:
        """What the stages that read this one are given: its weights' folder, or its own where it made data."""
        return self.weights(id) if self.has_weights(id) else self.folder(id)

    def scores(self, id: str) -> dict[str, Document]:
        """The scores of a stage by name; ``ValueError`` naming the file when one is broken."""
        folder = self._existing(id) / "scores"
        names = [name for name in names_in(folder) if name.endswith(".json")]
        return {name.removesuffix(".json"): without(read_sealed(folder / name), "sha256") for name in names}

    # -- working and publishing ------------------------------------------------------------------------

    def claim(self, id: str) -> Claim | None:
        """Claim an id for work, or return ``None`` when a live process holds it.

        The lock is the kernel's: it ends with its holder, however that ends. The store never deletes a lock
        file, so nobody can lock one that another has just removed. Keep the handle: the claim ends with it.
        """
        lock = FileLock(self.root / "locks" / f"{plain('stage id', id)}.lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        holder = self.root / "locks" / f"{id}.holder"
        claim = Claim(lock, holder)
        try:
            self._write(holder, f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        except BaseException:
            claim.release()
            raise
        return claim

    def is_claimed(self, id: str) -> bool:
        """Whether a live process works on the id; asks the lock only where a claim has left its sign."""
        if not (self.root / "locks" / f"{plain('stage id', id)}.holder").exists():
            return False
        try:
            claim = self.claim(id)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES):  # nobody works on it by way of this mount
                return False
            raise
        if claim is not None:
            claim.release()
        return claim is None

    def holder(self, id: str) -> str:
        """Who holds the claim that was just refused, in words for a message."""
        try:
            return (self.root / "locks" / f"{plain('stage id', id)}.holder").read_text() or "another process"
        except FileNotFoundError:
            return "another process"

    def work(self, id: str) -> Path:
        """The folder for an unfinished stage's checkpoints and staged outputs, made if absent."""
        path = self.root / "work" / plain("stage id", id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def working(self) -> list[str]:
        """The names of the work folders there are."""
        return [name for name in names_in(self.root / "work") if ID.fullmatch(name)]

    def clear_work(self, id: str) -> None:
        """Delete the stage's work folder."""
        self._discard(self.root / "work" / plain("stage id", id))

    def publish(self, id: str, staged: Path, record: Mapping[str, Any]) -> bool:
        """Make ``staged``, a folder on the store's file system, the stage ``id`` by one rename; whether it became it.

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
            check_format(record.get("format", FORMAT), staged / RECORD)
            files = checksums(staged, RECORD)
            document = {"format": FORMAT, "id": id, **record, "files": files}
            self._write(staged / RECORD, sealed(document, "record_sha256"))
            if install(staged, folder):
                return True
            if not self.exists(id):
                raise ValueError(f"{folder} is in the way: it has no {RECORD}; move it out of the store")
        self._discard(staged)
        return False

    def add_score(self, id: str, name: str, document: Mapping[str, Any]) -> None:
        """Write a score beside its stage, once; the same again does nothing.

        Raises:
            ValueError: when another content has the name; what a metric computes changes with its version.
        """
        path = self._existing(id) / "scores" / f"{plain('score name', name)}.json"
        text = sealed(document, "sha256")
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            sync_folder(path.parent.parent)
        if not self._write(path, text, once=True) and path.read_text() != text:
            raise ValueError(f"{path} exists with another content: bump the metric's version")

    # -- retention -------------------------------------------------------------------------------------

    def drop(self, id: str, reason: str) -> None:
        """Drop the weights of a stage, the tombstone first; again finishes what a crash left."""
        folder = self._existing(id)
        last = last_generation(folder)
        self._bury(folder, id, last, reason)
        for generation in range(1, last + 1):
            if (folder / f"tombstone-{generation}.json").exists():
                self._discard(generation_folder(folder, generation) / "weights")

    def remake(self, id: str, staged: Path, record: Mapping[str, Any]) -> bool:
        """Publish ``staged``, with ``weights/`` in it, as the next generation of a stage without weights.

        ``record``, that of the new run, goes into ``remade.json``; the first record stays.
        When the stage is usable already, ``staged`` is dropped.

        Returns:
            Whether the present weights equal the first ones, byte for byte.
        """
        first = weights_of(self.record(id))
        while not self.usable(id):
            folder = self.folder(id)
            last = last_generation(folder)
            if not (folder / f"tombstone-{last}.json").exists():
                if (generation_folder(folder, last) / "weights").is_dir():
                    continue  # another process was faster
                self._bury(folder, id, last, "found missing when re-made")
            files = checksums(staged, REMADE)
            again = weights_of({"files": files})
            if not again:
                raise ValueError(f"{staged} has no weights/: nothing to re-make {id} with")
            own = {"format": FORMAT, "id": id, "generation": last + 1, "identical": again == first}
            self._write(staged / REMADE, sealed({**record, **own, "files": files}, "record_sha256"))
            if install(staged, generation_folder(folder, last + 1)):
                return again == first
        self._discard(staged)
        return weights_of(record_of(self.folder(id), id, last_generation(self.folder(id)))) == first

    # -- verifying and moving --------------------------------------------------------------------------

    def verify(self, ids: Iterable[str] | None = None) -> list[Problem]:
        """Check every file of the given stages (default: all) against its checksum; ``[]`` when clean."""
        names = names_in(self.root / "stages") if ids is None else [self._existing(id).name for id in ids]
        return [problem for name in names for problem in problems_in(self.root / "stages" / name, name)]

    def export(self, target: Path, ids: Iterable[str], payload: bool, predictions: bool = True) -> int:
        """Copy stages into the store at ``target`` (made if absent), with or without weights and predictions.

        A stage that loses some of them gets a tombstone there; a measurement keeps its scores and gets no others.
        Returns the number of stages that were new there.

        Raises:
            ValueError: for an unknown id, or, once all others are copied, naming every damaged stage.
        """
        wanted = [self._existing(id).name for id in dict.fromkeys(ids)]
        left_out = [what for what, kept in (("weights", payload), ("predictions", predictions)) if not kept]
        found = Store.open(target)._take(self, wanted, left_out)
        if found.refused:
            raise ValueError("not exported: " + "; ".join(map(str, found.refused)))
        return len(found.added) + len(found.completed)

    def import_from(self, source: Path) -> ImportReport:
        """Take every stage of the store at ``source``, such as an export, that is lacking or incomplete here.

        What is copied is verified first: a damaged stage is refused and the others come in. What is here is
        never overwritten; lacking weights come in as re-made, scores only for the very same record.
        """
        return self._take(Store.open(source, create=False), names_in(Path(source) / "stages"), leave_out=())

    # -- logs and plans --------------------------------------------------------------------------------

    def write_failure(self, id: str, label: str, text: str) -> Path:
        """Keep the log of a failed stage, at most 64 KiB of ``text``, and return its path; a stage's last ten stay."""
        while True:
            before = self.failures(id)
            path = self.root / "logs" / log_name(plain("stage id", id), before[-1].name if before else "")
            body = f"{label}\n{id}\n{now()}\n\n{shortened(text)}\n"
            if self._write(path, redacted(body).encode(errors="backslashreplace"), once=True):
                for old in before[: 1 - _MAX_LOGS]:
                    old.unlink(missing_ok=True)
                return path

    def failures(self, id: str) -> list[Path]:
        """The logs of a stage's failures, oldest first."""
        pattern = re.compile(re.escape(plain("stage id", id)) + r"-[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.txt")
        return [self.root / "logs" / name for name in names_in(self.root / "logs") if pattern.fullmatch(name)]

    def write_plan(self, name: str, document: Mapping[str, Any]) -> None:
        """Write the plan of a study, over its earlier one."""
        self._write(self.root / "plans" / f"{plain('plan name', name)}.json", rendered(json_data(document)))

    def plan(self, name: str) -> Document:
        """The last plan written under ``name``.

        Raises:
            ValueError: when there is none, with the near names, or it is damaged.
        """
        path = self.root / "plans" / f"{plain('plan name', name)}.json"
        if not path.is_file():
            known = f"expected one of {', '.join(self.plans())}" if self.plans() else "no study was run in it yet"
            raise ValueError(f"no plan {name!r} in {self.root}: {known}{near(name, self.plans())}")
        try:
            return parsed(path.read_bytes(), path)
        except ValueError as error:
            raise ValueError(f"{error}; running the study again writes it anew") from error

    def plans(self) -> list[str]:
        """The names of all plans, newest first."""
        paths = [self.root / "plans" / name for name in names_in(self.root / "plans") if name.endswith(".json")]
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
            if os.stat(temporary).st_nlink < 2:  # else it was done, and NFS has lost the answer
                return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def _discard(self, path: Path) -> None:
        """Delete a folder by way of the trash, and whatever earlier processes left there."""
        trash = self.root / "work" / ".trash"
        trash.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, trash / uuid.uuid4().hex)
        for name in names_in(trash):
            shutil.rmtree(trash / name, ignore_errors=True)

    def _bury(self, folder: Path, id: str, generation: int, reason: str, what: str = "weights") -> None:
        files = droppable(record_of(folder, id, generation), what)
        if not files:
            raise ValueError(f"{id} has no {what} to drop")
        said = {"format": FORMAT, "id": id, "generation": generation, "files": files, "reason": reason}
        path = folder / f"tombstone-{generation}.json"
        self._write(path, sealed({**said, "dropped": now()}, "sha256"), once=True)

    def _take(self, other: Store, names: Iterable[str], leave_out: Collection[str]) -> ImportReport:
        outcome: dict[str, list[str]] = {"added": [], "completed": [], "already": []}
        refused: list[Problem] = []
        # One import at a time: its holder may clear what a dead one left in the staging folder.
        with FileLock(self.root / "locks" / ".import.lock"):
            staging = self.root / "work" / ".import"
            for name in names:
                self._discard(staging)
                try:
                    take = self._complete if self.exists(name) else self._add
                    found = take(other, name, leave_out, staging)
                    if isinstance(found, str):
                        outcome[found].append(name)
                    else:
                        refused.extend(found)
                except ValueError as error:
                    refused.append(Problem(name, "", str(error)))
            self._discard(staging)
        added, completed, already = (tuple(outcome[key]) for key in ("added", "completed", "already"))
        return ImportReport(added, completed, already, tuple(refused))

    def _add(self, other: Store, id: str, leave_out: Collection[str], staging: Path) -> str | list[Problem]:
        while True:
            before = names_in(other.folder(id))
            self._discard(staging)
            with contextlib.suppress(FileNotFoundError):
                copy_stage(other.folder(id), staging, leave_out)
            for what in leave_out:  # of which it may have none; damage is found below, with the name of its file
                with contextlib.suppress(FileNotFoundError, ValueError):
                    self._bury(staging, id, last_generation(staging), f"copied without {what}", what)
            if not (problems := list(problems_in(staging, id))):
                return "added" if install(staging, self.folder(id)) else "already"
            if before == names_in(other.folder(id)):  # else a drop or re-making there has spoilt the copy
                return problems

    def _complete(self, other: Store, id: str, leave_out: Collection[str], staging: Path) -> str | list[Problem]:
        found = "already"
        if "weights" not in leave_out and not self.usable(id) and other.usable(id):
            weights = other.weights(id)
            document = record_of(other.folder(id), id, last_generation(other.folder(id)))
            for name, entry in weights_of(document).items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError, shutil.SpecialFileError):
                    shutil.copyfile(weights.parent / name, path, follow_symlinks=False)
                if what := difference(path, entry):
                    return [Problem(id, name, what)]
            self.remake(id, staging, document)
            found = "completed"
        if other.record(id) == self.record(id):
            here = self.scores(id)
            for name, score in other.scores(id).items():
                self.add_score(id, name, score)
                found = found if name in here else "completed"
        return found
