"""Faults of machines, injected: the study can be finished, nothing published is wrong, the message says what it was."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import pytest

from fakes import Fake, plan_of, runs
from test_run import ALL_NAMES, BASE, LEAVES, go, orders, store  # noqa: F401
from xstilts.engine.phases import Phases
from xstilts.engine.signs import Pulse
from xstilts.live import runs as live_runs
from xstilts.progress import Plain
from xstilts.run import Settings, run
from xstilts.stage import label
from xstilts.store import Store
from xstilts.watch import Patience

# -- workers that die or hang -----------------------------------------------------------------------------


KILLED = "the worker process died (signal 9); out of memory, or killed from outside; log: "
STALLED = "no sign of work for 5 s: the worker process was ended; log: "
FAULTS = {
    "base": ("hang", STALLED, "in _strike"),
    "left": ("stop", STALLED, "it does not say where it is: stopped from outside"),
    "right": ("spin on a device", STALLED, "in _strike"),
    "both": ("die", KILLED, "signal 9"),
    "leaf-left": ("damage", "a checkpoint is damaged: it is set aside; log: ", "in perform"),
}


def test_lost_stages_are_tried_again_from_where_they_were(store: Store, orders: Path) -> None:  # noqa: F811
    for name, (how, _, _) in FAULTS.items():
        (orders / f"{name}.order-once").write_text(how)
    out = io.StringIO()
    settings = Settings(orders, orders, ("cuda:0",) * 2, stall_seconds=5.0, perform="fakes:perform")
    plan = plan_of(*LEAVES)
    outcome = run(plan, store, settings, Plain(out))
    assert (outcome.exit_code, outcome.failed) == (0, {}), out.getvalue()
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1) | dict.fromkeys(FAULTS, 2)
    for id, stage in plan.stages.items():
        assert isinstance(stage, Fake)
        _, said, where = FAULTS.get(stage.name, ("", "", ""))
        assert store.record(id)["result"]["resumed"] is bool(said)
        assert len(store.failures(id)) == bool(said)
        if said:
            assert f"] lost fake {label(stage)} ({said}{store.failures(id)[0]})" in out.getvalue()
            assert where in store.failures(id)[0].read_text()
    assert store.verify() == []


def test_a_worker_that_works_gives_signs_and_one_that_waits_does_not() -> None:
    def signs(device: str, work: Callable[[], object]) -> int:
        ours, theirs = Pipe()
        with ours, theirs:
            Pulse(theirs, device, 0.8)
            work()
            return sum(1 for _ in iter(lambda: ours.poll() and ours.recv(), False))

    def compute() -> None:
        until = time.process_time() + 0.6
        while time.process_time() < until:
            pass

    phases = Phases()
    phases("data")
    assert signs("cpu", compute), "as rows are tokenised"
    assert signs("cuda:0", compute), "or an encoder is loaded"
    phases("forward")
    assert signs("cpu+cpu", compute), "on the first of several CPUs"
    phases("data")
    assert not signs("cpu", lambda: time.sleep(0.6))
    assert signs("cuda:0", lambda: (time.sleep(0.2), phases("steps"), time.sleep(0.3)))
    assert not signs("cuda:0", compute), "it waits for the device, as fast as it can"
    assert signs("cpu", compute)


def test_a_stage_that_kills_every_worker_fails_after_its_retries(store: Store, orders: Path) -> None:  # noqa: F811
    (orders / "base.order").write_text("die")
    outcome = go(plan_of(BASE), store, orders, retries=2)
    assert runs(orders) == {"base": 3}
    assert list(outcome.failed) == [BASE.id]
    assert len(store.failures(BASE.id)) == 3


def test_patience_does_not_count_time_in_which_the_driver_stood_still() -> None:
    now = [0.0]
    patience = Patience(10.0, lambda: now[0])
    patience.gave(0, starting=False)
    for now[0] in (4.0, 8.0, 10.0):
        assert patience.overdue() == []
    now[0] = 5000.0  # suspended
    assert patience.overdue() == []
    for now[0] in (5004.0, 5008.0):
        assert patience.overdue() == []
    now[0] = 5011.0
    assert patience.overdue() == [0]
    assert patience.overdue() == [], "once"
    patience.heard(1)
    patience.ended(1)
    patience.gave(2, starting=True)
    for now[0] in range(5011, 5300):
        assert patience.overdue() == []
    patience.heard(2)
    for now[0] in range(5300, 5309):
        assert patience.overdue() == []
    now[0] = 5311.0
    assert patience.overdue() == [2]


# -- drivers ----------------------------------------------------------------------------------------------


DRIVER = """
import sys
from pathlib import Path
from fakes import plan_of
from test_run import LEAVES
from xstilts.progress import Plain
from xstilts.run import Settings, run
from xstilts.store import Store
if __name__ == "__main__":
    orders = Path(sys.argv[2])
    settings = Settings(orders, orders, ("cpu",), perform="fakes:perform")
    sys.exit(run(plan_of(*LEAVES), Store.open(Path(sys.argv[1])), settings, Plain(sys.stdout)).exit_code)
"""


def test_two_drivers_on_one_store_share_the_work(store: Store, orders: Path, tmp_path: Path) -> None:  # noqa: F811
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    (orders / "base.order").write_text("slow")  # so that one of them waits for it
    command = [sys.executable, str(script), str(store.root), str(orders)]
    own = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) for _ in range(2)]
    said = [driver.communicate()[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1), said
    assert store.verify() == []
    busy = [[line for line in text.splitlines() if f"] busy fake {label(BASE)} " in line] for text in said]
    assert sorted(map(len, busy)) in ([0, 0], [0, 1]), "a stage elsewhere is named once"


def test_a_stopped_worker_ends_with_its_driver(store: Store, orders: Path, tmp_path: Path) -> None:  # noqa: F811
    """Else it would hold its stage for ever: nobody takes the claim of a live process."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    (orders / "base.order-once").write_text("stop")
    own = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, str(script), str(store.root), str(orders)], env=own)
    while not (store.root / "work" / BASE.id / "checkpoint").exists():
        assert driver.poll() is None
        time.sleep(0.02)
    worker = int(store.holder(BASE.id).split()[1])
    while Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 20
    while (claim := store.claim(BASE.id)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if claim is None:
        os.kill(worker, signal.SIGKILL)
    assert claim is not None, "the stopped worker still holds the stage"
    claim.release()
    assert go(plan_of(*LEAVES), store, orders).exit_code == 0


# -- disks and clocks --------------------------------------------------------------------------------------


def test_a_file_of_a_run_from_the_future_shows_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    folder = store.root / "work" / ".live"
    folder.mkdir()
    text = '{"study": "s", "host": "h", "process": 1, "todo": 1, "ended": 0, "failed": 0, "running": [], "updated": %s}'
    for late_seconds, shown in ((0, 1), (20, 1), (-20, 1), (3600, 0), (-3600, 0)):
        (folder / "h-1.json").write_text(text % (time.time() + late_seconds))
        assert len(live_runs(store.root)) == shown, late_seconds
