"""Where the time of a run went: phases that add up, and slices that lie where they were."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import Fake, plan_of
from xstilts import timing
from xstilts.engine.phases import Phases, forget_peak_rss, peak_rss_bytes
from xstilts.progress import Quiet
from xstilts.run import Outcome, Settings
from xstilts.store import Store

STAGES = (Fake("first", weights=False), Fake("second", weights=False))
PHASES = {"start": 1.0, "inputs": 0.5, "load": 2.0, "steps": 3.0}


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_phases_take_turns_and_add_up(clock: Clock) -> None:
    phases = Phases()
    clock.now += 50  # belongs to none
    for phase, seconds in (("load", 3), ("batches", 1), ("steps", 2), ("batches", 4), ("steps", 8), ("save", 16)):
        phases(phase)
        clock.now += seconds
    phases.end()
    clock.now += 50
    phases.end()
    assert phases.seconds == {"load": 3, "batches": 5, "steps": 10, "save": 16}
    assert list(phases.seconds) == ["load", "batches", "steps", "save"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a process's peak")
def test_peak_memory_is_that_of_the_time_since_it_was_forgotten() -> None:
    forget_peak_rss()
    before = peak_rss_bytes()
    size = 200 * 2**20
    held = np.ones(size, dtype=np.int8)
    with_it = peak_rss_bytes()
    assert with_it - before > 0.9 * size
    del held
    assert peak_rss_bytes() == pytest.approx(with_it, rel=0.05), "a peak stays"
    forget_peak_rss()
    assert with_it - peak_rss_bytes() > 0.9 * size


def published(store: Store, stage: Fake, **record: Any) -> None:
    out = store.work(stage.id) / "out"
    out.mkdir()
    (out / "log").write_text(stage.name)
    store.publish(stage.id, out, {"kind": "fake", "names": {}, **record})


def timed_run(clock: Clock, how: str = "done") -> timing.Timed:
    """Planning 2 s; on slot 0 ``first`` from 0 to 8 s, on slot 1 ``second`` from 1 to 9 s; over after 10 s."""
    timed = timing.Timed(Quiet())
    plan = plan_of(*STAGES)
    clock.now += 2
    timed.begin(plan, dict.fromkeys(plan.stages, "run"), Settings(None, Path("cache"), ("cpu", "cpu", "cpu")))  # type: ignore[arg-type]
    timed.started(0, STAGES[0])
    clock.now += 1
    timed.started(1, STAGES[1])
    timed.progress(0, STAGES[0], {})
    timed.tick()
    clock.now += 7
    timed.ended(0, STAGES[0], "done", "")
    clock.now += 1
    timed.ended(1, STAGES[1], how, "")
    clock.now += 1
    timed.end(Outcome())
    return timed


def test_the_seconds_of_all_slots_are_told_apart(clock: Clock, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    published(store, STAGES[0], wall_seconds=5.5, cost={"phases": PHASES})
    published(store, STAGES[1], wall_seconds=6.0)  # by an earlier version: no phases
    timed = timed_run(clock)
    found = {
        (row["phase"]): (row["seconds"], row["stages"])
        for row in timing.write(timed, store, "mine", tmp_path / "new")["rows"]
    }
    assert found == {
        "start": (1, 1),
        "inputs": (0.5, 1),
        "load": (2, 1),
        "steps": (3, 1),
        "other": (0.5 + 6, 2),
        "publishing": (1 + 2, 2),  # 8 - 1.5 - 5.5, and 8 - 6
        "planning": (2, 0),
        "idle slots": (4, 0),  # two slots of 10 s, each busy for 8; there are only two stages for three devices
    }
    profile = json.loads((tmp_path / "new" / "profile.json").read_text())
    assert sum(row["seconds"] for row in profile["rows"]) == 2 * 10 + 2
    assert sum(row["share"] for row in profile["rows"]) == pytest.approx(1)
    assert (profile["study"], profile["wall_seconds"], profile["slots"]) == ("mine", 12, ["cpu", "cpu"])
    assert timing.table(profile["rows"])[1].split() == ["fake", "start", "1.00", "4.5", "%", "1"]
    assert timing.table(profile["rows"])[-1].split() == ["driver", "idle", "slots", "4.00", "18.2", "%"]


def test_a_trace_has_a_row_for_each_slot_and_phases_within_their_stage(clock: Clock, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    for stage in STAGES:
        published(store, stage, wall_seconds=5.5, cost={"phases": PHASES})
    timing.write(timed_run(clock), store, "mine", tmp_path)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == [
        "slot 0 (cpu)",
        "slot 1 (cpu)",
        "driver",
    ]
    drawn = [event for event in events if event["ph"] == "X"]
    assert {event["pid"] for event in drawn} == {0}
    assert [(event["name"], event["ts"], event["dur"]) for event in drawn if event["tid"] == 2] == [
        ("planning", 0, 2e6)
    ]
    for slot, began in ((0, 2e6), (1, 3e6)):
        stage, *parts = (event for event in drawn if event["tid"] == slot)
        assert (stage["ts"], stage["dur"], stage["args"]["id"]) == (began, 8e6, STAGES[slot].id)
        assert [part["name"] for part in parts] == [*PHASES, "other", "publishing"]
        assert parts[0]["ts"] == began
        assert all(before["ts"] + before["dur"] == after["ts"] for before, after in pairwise(parts))
        assert parts[-1]["ts"] + parts[-1]["dur"] == began + 8e6


def test_a_stage_that_was_not_done_here_has_one_phase(clock: Clock, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    published(store, STAGES[0], wall_seconds=500.0, cost={"phases": PHASES})  # by another run, for longer than here
    timed = timed_run(clock, how="failed")
    assert [timing.phases_of(one, store) for one in timed.slices] == [{"done": 8}, {"failed": 8}]
