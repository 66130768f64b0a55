"""What a run tells other processes while it runs, and the commands that show it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fakes import Fake, plan_of
from program import PROGRAM, Call, environment, refused
from xstilts import live, status_command
from xstilts.live import Told, runs
from xstilts.progress import Quiet
from xstilts.run import Outcome, Settings
from xstilts.serve_command import make_server
from xstilts.store import Store
from xstilts.study import Plan

STAGE = Fake("one")
SETTINGS = Settings(None, Path("cache"), ("cpu",))


class Kept(Quiet):
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("begin", "started", "progress", "ended", "tick", "stopping", "end"):
            object.__getattribute__(self, "calls").append(name)
        return object.__getattribute__(self, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.fixture
def told(tmp_path: Path, clock: list[float]) -> Told:
    told = Told(Quiet(), tmp_path)
    told.begin(plan_of(STAGE), {STAGE.id: "run"}, SETTINGS)
    return told


def test_what_killed_runs_left_is_removed_after_a_day(told: Told, tmp_path: Path, clock: list[float]) -> None:
    folder = tmp_path / "work" / ".live"
    folder.mkdir(parents=True)
    for name, age in (("killed", 90_000), ("fresh", 10), ("ahead", -90_000)):
        (folder / f"{name}.json").write_text("{}")
        os.utime(folder / f"{name}.json", (1e9 - age, 1e9 - age))
    clock[0] = 1e9
    told.begin(plan_of(STAGE), {STAGE.id: "run"}, SETTINGS)
    assert sorted(path.name for path in folder.iterdir()) == ["ahead.json", "fresh.json"]


def test_what_runs_can_be_read_by_others(told: Told, tmp_path: Path, clock: list[float]) -> None:
    told.tick()
    assert runs(tmp_path) == []  # nothing runs yet
    told.started(0, STAGE)
    for step in range(300):
        told.progress(0, STAGE, {"step": step, "steps": 300, "loss": 300.0 - step, "tokens_per_second": 5.0})
    told.tick()
    (run,) = runs(tmp_path)
    (one,) = run["running"]
    assert (run["study"], run["todo"], run["ended"], run["failed"]) == ("fake", 1, 0, 0)
    assert (one["id"], one["kind"], one["progress"]["step"], one["started"]) == (STAGE.id, STAGE.kind, 299, 1000.0)
    assert one["losses"] == [200.0 - step for step in range(200)]


def test_the_file_is_renewed_once_a_second_and_gone_at_the_end(told: Told, tmp_path: Path, clock: list[float]) -> None:
    told.started(0, STAGE)
    told.tick()
    told.progress(0, STAGE, {"step": 1, "steps": 2})
    clock[0] += 0.5
    told.tick()
    assert runs(tmp_path)[0]["running"][0]["progress"] == {}
    clock[0] += 0.6
    told.tick()
    assert runs(tmp_path)[0]["running"][0]["progress"] == {"step": 1, "steps": 2}
    told.ended(0, STAGE, "failed", "")
    assert told._facts["failed"] == told._facts["ended"] == 1
    told.end(Outcome())
    assert runs(tmp_path) == list((tmp_path / "work").iterdir()) == []


def test_the_view_inside_hears_everything(tmp_path: Path) -> None:
    kept = Kept()
    told = Told(kept, tmp_path)
    told.begin(plan_of(STAGE), {STAGE.id: "run"}, SETTINGS)
    told.started(0, STAGE)
    told.progress(0, STAGE, {"step": 1})
    told.tick()
    told.ended(0, STAGE, "done", "")
    told.stopping()
    told.end(Outcome())
    assert kept.calls == ["begin", "started", "progress", "tick", "ended", "stopping", "end"]


def test_a_store_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file in the way")
    told = Told(Quiet(), tmp_path)
    told.begin(plan_of(STAGE), {STAGE.id: "run"}, SETTINGS)
    told.started(0, STAGE)
    told.tick()
    told.end(Outcome())


def written(root: Path, **changes: Any) -> None:
    one = {"id": "i", "kind": "train", "label": "l", "started": 1.0, "progress": {"step": 1}, "losses": [1.0]}
    document = {"study": "s", "host": "h", "todo": 1, "ended": 0, "failed": 0, "updated": time.time(), "running": [one]}
    folder = root / "work" / ".live"
    folder.mkdir(parents=True, exist_ok=True)
    one |= changes.pop("one", {})
    (folder / "x.json").write_text(json.dumps({**document, **changes}))


def test_what_is_old_or_of_another_form_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path)
    assert len(runs(tmp_path)) == 1
    for changes in (
        {"updated": time.time() - live.STALE_SECONDS - 1},
        {"running": 3},
        {"study": 5},
        {"one": {"losses": ["<b>"]}},
        {"one": {"losses": [float("nan")]}},
        {"one": {"progress": {"step": "1"}}},
        {"one": {"label": None}},
    ):
        written(tmp_path, **changes)
        assert runs(tmp_path) == [], changes
    (tmp_path / "work" / ".live" / "x.json").write_text("{")
    assert runs(tmp_path) == []


def test_watching_ends_when_all_is_done_and_shows_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path / "store")
    store.write_plan("s", plan_of(STAGE).document())
    written(store.root, one={"losses": [4.0, 2.0, 0.0], "progress": {"step": 2, "steps": 8, "loss": 0.5}})
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            staged = store.work(STAGE.id) / "out"
            staged.mkdir()
            store.publish(STAGE.id, staged, {"kind": "fake"})

    monkeypatch.setattr(time, "sleep", sleep)
    answer = status_command.status_command("s", store.root, watch=True)
    assert waits == [2.0, 2.0]
    assert capsys.readouterr().out.count("s: 0 of 1 stages done") == 1  # the second time nothing had changed
    assert answer.text.splitlines() == [
        "s: 1 of 1 stages done",
        "s on h: 0 of 1 stages of this run",
        "  train l: 2/8, loss 0.500 █▅▁",
    ]
    assert answer.exit_code == 0


def test_watching_stops_with_ctrl_c_and_takes_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    store = Store.open(tmp_path / "store")
    store.write_plan("s", plan_of(STAGE).document())

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", stop)
    ended = call("status", "s", "--watch", "--store", os.fspath(store.root))
    assert (ended.code, ended.out) == (0, "s: 0 of 1 stages done\n")
    for other in ("--json", "--verify"):
        assert call("status", "--watch", other, "--store", os.fspath(store.root)).code == 2
    refused(call("status", "--watch", "--verify", "--store", os.fspath(store.root)), "expected one of the two")


def test_serve_prints_an_address_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.write_plan("s", Plan("s", {}, {}, ()).document())
    words = ("serve", "s", "--store", os.fspath(store.root))
    before = sorted(path for path in store.root.rglob("*"))
    with subprocess.Popen([*PROGRAM, *words], env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        own = threading.Timer(60, process.kill)  # whatever goes wrong, it ends
        own.start()
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address)
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        assert "0 of 0 stages are done" in text
        assert '<meta http-equiv="refresh" content="5">' in text
        port = int(address.split(":")[2].partition("/")[0])
        with pytest.raises(ValueError, match=f"--port {port}: .*: expected a free port"):
            make_server(str, port)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        own.cancel()
    assert sorted(path for path in store.root.rglob("*")) == before


def test_serve_refuses_what_was_not_run(tmp_path: Path, call: Call) -> None:
    Store.open(tmp_path / "store").write_plan("scaling", Plan("scaling", {}, {}, ()).document())
    refused(call("serve", "scalin", "--store", os.fspath(tmp_path / "store")), "did you mean 'scaling'?")
