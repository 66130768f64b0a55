"""Where the time of a run went: by kind of stage and phase, as a table, JSON and a trace that a browser draws."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .run import Outcome, Settings, View
from .spec import write_atomically
from .stage import Stage, label
from .store import Store
from .stored import last_generation, record_of
from .study import Plan, Todo
from .untrusted import redacted

BEFORE = ("start", "inputs")  # phases that come before the wall seconds of a record begin
OTHER, PUBLISHING = "other", "publishing"
PROFILE, TRACE = "profile.json", "trace.json"


@dataclass(frozen=True)
class Slice:
    """One stage on one slot, in seconds of the clock that `Timed` reads."""

    slot: int
    stage: Stage
    began: float
    ended: float
    how: str

    @property
    def seconds(self) -> float:
        """From the driver giving it out until the driver heard of its end."""
        return self.ended - self.began


class Timed:
    """A view that shows what another one shows, and notes when every stage began and ended on which slot.

    What happens before `begin` counts as planning, from when it was made.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._running: dict[int, float] = {}
        self.made_at = self.began_at = self.ended_at = time.monotonic()
        self.devices: tuple[str, ...] = ()
        self.slices: list[Slice] = []

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """The run starts."""
        self.began_at = time.monotonic()
        self.devices = settings.devices[: len(todo)]
        self._view.begin(plan, todo, settings)

    def started(self, slot: int, stage: Stage) -> None:
        """A stage starts on a slot."""
        self._running[slot] = time.monotonic()
        self._view.started(slot, stage)

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """A stage moves on."""
        self._view.progress(slot, stage, progress)

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """A stage ended."""
        self.slices.append(Slice(slot, stage, self._running.pop(slot), time.monotonic(), how))
        self._view.ended(slot, stage, how, note)

    def tick(self) -> None:
        """Time passed."""
        self._view.tick()

    def stopping(self) -> None:
        """The user asked to stop."""
        self._view.stopping()

    def end(self, outcome: Outcome) -> None:
        """The run is over."""
        self.ended_at = time.monotonic()
        self._view.end(outcome)


def phases_of(one: Slice, store: Store) -> dict[str, float]:
    """The seconds of a slice by phase, in their order, which add up to the slice.

    ``start``: until a worker has the stage, the start of its process among it. ``inputs``: the claim, and the inputs'
    checksums. Then those of the engine, ``other`` between them, and ``publishing``: checksums, files made durable, the
    score, and the way back to the driver. A stage that was not done has one phase, how it ended; one recorded by an
    earlier version has no phases of the engine.
    """
    if one.how != "done" or not store.exists(one.stage.id):
        return {one.how: one.seconds}
    folder = store.folder(one.stage.id)
    record = record_of(folder, one.stage.id, last_generation(folder))
    found: dict[str, float] = dict(record.get("cost", {}).get("phases", {}))
    before = sum(found.get(name, 0.0) for name in BEFORE)
    inside = sum(found.values()) - before
    wall = float(record["wall_seconds"])
    if before + max(wall, inside) > one.seconds:  # another run has done it meanwhile
        return {one.how: one.seconds}
    return found | {OTHER: max(0.0, wall - inside), PUBLISHING: one.seconds - before - max(wall, inside)}


def rows(timed: Timed, phases: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Where all slots spent their time, by kind of stage and phase; phases in the order in which they came.

    ``share`` is of all rows, ``stages`` how many had the phase. The driver's rows: ``planning``, before any slot was
    there, and ``idle slots``, seconds that a slot had no stage.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for one, seconds in zip(timed.slices, phases, strict=True):
        for phase, taken in seconds.items():
            found.setdefault((one.stage.kind, phase), []).append(taken)
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    last = (OTHER, PUBLISHING)
    ordered = sorted(found, key=lambda key: (kinds.index(key[0]), key[1] in last and 1 + last.index(key[1])))
    wall = timed.ended_at - timed.began_at
    busy = sum(one.seconds for one in timed.slices)
    listed = [(*key, sum(found[key]), len(found[key])) for key in ordered]
    listed += [("driver", "planning", timed.began_at - timed.made_at, 0)]
    listed += [("driver", "idle slots", max(0.0, wall * len(timed.devices) - busy), 0)]
    whole = sum(seconds for _, _, seconds, _ in listed)
    return [
        {"kind": kind, "phase": phase, "seconds": seconds, "share": seconds / whole, "stages": stages}
        for kind, phase, seconds, stages in listed
    ]


def table(found: list[dict[str, Any]]) -> list[str]:
    """The rows as lines, with a heading."""
    lines = [f"{'kind':9} {'phase':11} {'seconds':>10} {'share':>7} {'stages':>7}"]
    for row in found:
        share, stages = f"{100 * row['share']:.1f} %", row["stages"] or ""
        lines.append(f"{row['kind']:9} {row['phase']:11} {row['seconds']:10.2f} {share:>7} {stages:>7}".rstrip())
    return lines


def trace(timed: Timed, phases: list[dict[str, float]]) -> dict[str, Any]:
    """The run in Chrome's trace event format, microseconds from when planning began, for Perfetto or chrome://tracing.

    A row is a slot, with one slice for each stage and below it one for each of its phases. Those that alternate, as
    batches and steps do, are added up and laid one behind the other in the order in which they first began.
    """
    driver = len(timed.devices)

    def named(row: int, name: str) -> dict[str, Any]:
        return {"name": "thread_name", "ph": "M", "pid": 0, "tid": row, "args": {"name": name}}

    def event(row: int, name: str, kind: str, began: float, seconds: float, **about: str) -> dict[str, Any]:
        at = {"ts": (began - timed.made_at) * 1e6, "dur": seconds * 1e6, "pid": 0, "tid": row}
        return {"name": name, "cat": kind, "ph": "X", **at, "args": about}

    def events() -> Iterator[dict[str, Any]]:
        yield from (named(slot, f"slot {slot} ({device})") for slot, device in enumerate(timed.devices))
        yield named(driver, "driver")
        yield event(driver, "planning", "driver", timed.made_at, timed.began_at - timed.made_at)
        for one, seconds in zip(timed.slices, phases, strict=True):
            kind, about = one.stage.kind, {"id": one.stage.id, "ended": one.how}
            yield event(one.slot, f"{kind} {label(one.stage)}", kind, one.began, one.seconds, **about)
            began = one.began
            for phase, taken in seconds.items():
                yield event(one.slot, phase, kind, began, taken)
                began += taken

    return {"displayTimeUnit": "ms", "traceEvents": list(events())}


def write(timed: Timed, store: Store, study: str, folder: Path) -> dict[str, Any]:
    """Write ``profile.json`` and ``trace.json`` into a folder; what the first one says, and the files."""
    phases = [phases_of(one, store) for one in timed.slices]
    profile = {
        "study": study,
        "wall_seconds": timed.ended_at - timed.made_at,
        "slots": list(timed.devices),
        "rows": rows(timed, phases),
    }
    written = {folder / PROFILE: profile, folder / TRACE: trace(timed, phases)}
    for file, document in written.items():
        write_atomically(file, json.dumps(redacted(document), indent=1) + "\n")
    return profile | {"files": list(map(str, written))}
