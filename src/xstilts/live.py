"""What runs right now, written beside the store's work by a run and read by `status --watch` and `serve`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .run import Outcome, Settings, View
from .stage import Stage, label
from .study import Plan, Todo
from .untrusted import parsed, redacted

STALE_SECONDS = 30.0
"""A run that has not written for so long is over, or its machine is."""
_EVERY_SECONDS = 1.0
_OLD_SECONDS = 86400.0
_MAX_LOSSES = 200


class Told:
    """A view that shows what another one shows, and writes what runs into a store for other processes to read.

    One small file for each run, replaced at most once a second while something runs and removed at its end. It is no
    part of any result: what cannot be written is left out.
    """

    def __init__(self, view: View, store: Path) -> None:
        self._view, self._path = view, _folder(store) / f"{socket.gethostname()}-{os.getpid()}.json"
        self._running: dict[int, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}
        self._last = 0.0

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """The run starts."""
        where = {"process": os.getpid(), "host": socket.gethostname()}
        self._facts = {"study": plan.study, "todo": len(todo), "ended": 0, "failed": 0} | where
        for path in self._path.parent.glob("*.json"):  # of runs that were killed
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD_SECONDS:
                    path.unlink()
        self._view.begin(plan, todo, settings)

    def started(self, slot: int, stage: Stage) -> None:
        """A stage starts on a slot."""
        about = {"id": stage.id, "kind": stage.kind, "label": label(stage)}
        self._running[slot] = {**about, "started": time.time(), "progress": {}, "losses": []}
        self._view.started(slot, stage)

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """A stage moves on."""
        own = self._running[slot]
        own["progress"] = progress
        if "loss" in progress:
            own["losses"] = [*own["losses"][-_MAX_LOSSES + 1 :], progress["loss"]]
        self._view.progress(slot, stage, progress)

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """A stage ended."""
        del self._running[slot]
        self._facts["ended"] += how in ("done", "failed")
        self._facts["failed"] += how == "failed"
        self._view.ended(slot, stage, how, note)

    def tick(self) -> None:
        """Time passed."""
        if self._running and time.monotonic() - self._last >= _EVERY_SECONDS:
            self._write()
            self._last = time.monotonic()
        self._view.tick()

    def stopping(self) -> None:
        """The user asked to stop."""
        self._view.stopping()

    def end(self, outcome: Outcome) -> None:
        """The run is over."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # unless another run is in it
        self._view.end(outcome)

    def _write(self) -> None:
        """Replace the file, without waiting for the disk: after a crash nothing in it is worth reading."""
        document = {**self._facts, "updated": time.time(), "running": list(self._running.values())}
        beside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(redacted(document)))
            os.replace(beside, self._path)


def runs(store: Path) -> list[dict[str, Any]]:
    """The runs on a store that have written in the last `STALE_SECONDS`, oldest file name first.

    Each has ``study``, ``todo``, ``ended``, ``failed``, ``host``, ``process``, ``updated`` and ``running``, a list of
    ``id``, ``kind``, ``label``, ``started``, ``progress`` and ``losses``. A file that another version or a crash has
    left in another form is passed over.
    """
    found = []
    for path in sorted(_folder(store).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            document = parsed(path.read_bytes())
            if abs(time.time() - document["updated"]) <= STALE_SECONDS and _whole(document):  # clocks are set back
                found.append(document)
    return found


def _whole(document: Mapping[str, Any]) -> bool:
    """Whether every number is one, so that whoever shows them need not ask."""
    numbers = [document["todo"], document["ended"], document["failed"]]
    texts = [document["study"], document["host"]]
    for one in document["running"]:
        numbers += [one["started"], *one["progress"].values(), *one["losses"]]
        texts += [one["id"], one["kind"], one["label"]]
    return all(map(math.isfinite, numbers)) and all(isinstance(text, str) for text in texts)


def _folder(store: Path) -> Path:
    return store / "work" / ".live"
