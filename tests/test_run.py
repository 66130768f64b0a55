"""The graph, proved with stages that only count how often they ran."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fakes import Fake, plan_of, runs
from program import Call
from xstilts import run as run_module
from xstilts.progress import Live, Plain, Quiet, duration, words
from xstilts.run import Outcome, Settings, run
from xstilts.store import Store
from xstilts.study import Plan

BASE = Fake("base")
LEFT, RIGHT = Fake("left", BASE), Fake("right", BASE)
BOTH = Fake("both", LEFT, RIGHT, weights=False)
LEAVES = (Fake("leaf-left", LEFT, weights=False), Fake("leaf-right", RIGHT, weights=False), BOTH)
ALL_NAMES = {"base", "left", "right", "both", "leaf-left", "leaf-right"}


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder through which fakes are told what to do and where they count."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    folder = tmp_path / "orders"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def go(plan: Plan, store: Store, orders: Path, *, slots: int = 1, keep: str = "all", **more: Any) -> Outcome:
    settings = Settings(orders, orders, ("cpu",) * slots, keep=keep, perform="fakes:perform", **more)
    return run(plan, store, settings, Quiet())


def test_every_stage_runs_once_and_a_finished_study_does_nothing(store: Store, orders: Path) -> None:
    plan = plan_of(*LEAVES)
    outcome = go(plan, store, orders, slots=2)
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1)
    assert sorted(outcome.done) == sorted(plan.stages)
    assert outcome.exit_code == 0
    again = go(plan, store, orders)
    assert (again.done, again.found, again.exit_code) == ([], 6, 0)
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1)
    assert store.verify() == []


def test_equal_values_are_one_stage(store: Store, orders: Path) -> None:
    go(plan_of(Fake("leaf", Fake("base")), Fake("leaf", Fake("base"))), store, orders)
    assert runs(orders) == {"base": 1, "leaf": 1}


def test_a_failure_blocks_only_descendants_and_running_again_runs_only_them(store: Store, orders: Path) -> None:
    (orders / "left.order").write_text("fail")
    plan = plan_of(*LEAVES)
    outcome = go(plan, store, orders)
    assert outcome.exit_code == 1
    assert list(outcome.failed) == [LEFT.id]
    assert "told to fail" in outcome.failed[LEFT.id]
    assert sorted(outcome.blocked) == sorted([LEAVES[0].id, BOTH.id])
    assert runs(orders) == dict.fromkeys(ALL_NAMES - {"both", "leaf-left"}, 1)
    assert "told to fail" in store.failures(LEFT.id)[0].read_text()
    (orders / "left.order").unlink()
    assert go(plan, store, orders).exit_code == 0
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1) | {"left": 2}


def test_a_worker_that_dies_fails_its_stage_and_the_rest_goes_on(store: Store, orders: Path) -> None:
    (orders / "left.order").write_text("die")
    outcome = go(plan_of(*LEAVES), store, orders, retries=1)
    assert list(outcome.failed) == [LEFT.id]
    assert "signal 9" in outcome.failed[LEFT.id]
    assert runs(orders) == dict.fromkeys(ALL_NAMES - {"both", "leaf-left"}, 1) | {"left": 2}


def test_keep_none_drops_weights_and_a_later_leaf_makes_them_again(store: Store, orders: Path) -> None:
    outcome = go(plan_of(*LEAVES), store, orders, keep="none")
    assert outcome.exit_code == 0
    assert not store.usable(BASE.id)
    assert not store.usable(LEFT.id)
    assert store.exists(LEFT.id)
    assert go(plan_of(*LEAVES), store, orders, keep="none").done == []
    later = Fake("later", LEFT, weights=False)
    outcome = go(plan_of(later), store, orders, keep="none")
    assert [*outcome.done] == [BASE.id, LEFT.id, later.id]
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1) | {"base": 2, "left": 2, "later": 1}
    assert not store.usable(LEFT.id)
    assert store.verify() == []


def test_a_dropped_stage_that_is_itself_a_leaf_is_made_again_for_what_reads_it(store: Store, orders: Path) -> None:
    go(plan_of(LEFT), store, orders)
    store.drop(LEFT.id, "to save space")
    assert go(plan_of(LEFT), store, orders).done == []
    assert go(plan_of(LEFT, LEAVES[0]), store, orders).exit_code == 0
    assert runs(orders) == {"base": 1, "left": 2, "leaf-left": 1}


def test_damaged_weights_are_never_read(store: Store, orders: Path) -> None:
    go(plan_of(LEFT), store, orders)
    model = store.weights(LEFT.id) / "model"
    model.write_text(model.read_text().upper())
    outcome = go(plan_of(LEAVES[0]), store, orders)
    assert list(outcome.failed) == [LEAVES[0].id]
    assert f"an input is damaged: {LEFT.id}: weights/model" in outcome.failed[LEAVES[0].id]
    assert "leaf-left" not in runs(orders)


def test_an_import_counts_as_done(store: Store, orders: Path, tmp_path: Path) -> None:
    go(plan_of(LEAVES[0]), store, orders)
    store.export(tmp_path / "export", store.ids(), payload=True)
    other = Store.open(tmp_path / "other")
    assert len(other.import_from(tmp_path / "export").added) == 3
    go(plan_of(*LEAVES), other, orders)
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1)


def test_an_import_without_weights_makes_only_needed_weights_again(store: Store, orders: Path, tmp_path: Path) -> None:
    go(plan_of(LEAVES[0]), store, orders)
    store.export(tmp_path / "export", store.ids(), payload=False)
    other = Store.open(tmp_path / "other")
    other.import_from(tmp_path / "export")
    assert go(plan_of(LEAVES[0]), other, orders).done == []
    go(plan_of(LEAVES[1]), other, orders)
    assert runs(orders) == {"base": 2, "left": 1, "leaf-left": 1, "right": 1, "leaf-right": 1}


def test_a_stage_held_by_another_run_is_waited_for(store: Store, orders: Path) -> None:
    claim = store.claim(BASE.id)
    assert claim is not None
    threading.Timer(1.0, claim.release).start()
    assert go(plan_of(BASE), store, orders).exit_code == 0
    assert runs(orders) == {"base": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_writes_a_checkpoint_and_the_next_run_resumes(
    store: Store, orders: Path, number: signal.Signals
) -> None:
    (orders / "left.order").write_text("wait")

    def stop() -> None:
        while not (orders / "left.waits").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    outcome = go(plan_of(*LEAVES), store, orders)
    assert outcome.interrupted
    assert outcome.exit_code == 130
    (orders / "left.order").unlink()
    assert go(plan_of(*LEAVES), store, orders).exit_code == 0
    assert store.record(LEFT.id)["result"]["resumed"]
    assert runs(orders) == dict.fromkeys(ALL_NAMES, 1) | {"left": 2}


DRIVER = """
import sys
from pathlib import Path
from fakes import plan_of
from test_run import LEAVES, go
from xstilts.store import Store
if __name__ == "__main__":
    sys.exit(go(plan_of(*LEAVES), Store.open(Path(sys.argv[1])), Path(sys.argv[2]), slots=2).exit_code)
"""


def test_workers_end_with_a_killed_driver(store: Store, orders: Path, tmp_path: Path) -> None:
    (orders / "left.order").write_text("wait")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, str(script), str(store.root), str(orders)])
    while not ((orders / "left.waits").exists() and store.exists(LEAVES[1].id)):
        time.sleep(0.02)  # now only left is running
    assert store.claim(LEFT.id) is None
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 20
    while (claim := store.claim(LEFT.id)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert claim is not None, "the worker outlived its driver and still holds the stage"
    claim.release()
    (orders / "left.order").unlink()
    assert go(plan_of(*LEAVES), store, orders).exit_code == 0
    counts = runs(orders)
    assert counts.pop("left") == 2
    assert counts == dict.fromkeys(ALL_NAMES - {"left"}, 1)


def test_a_plain_view_names_every_stage_and_where_it_runs(store: Store, orders: Path) -> None:
    (orders / "right.order").write_text("fail")
    out = io.StringIO()
    settings = Settings(orders, orders, ("cpu",), perform="fakes:perform")
    run(plan_of(*LEAVES), store, settings, Plain(out))
    text = out.getvalue()
    assert text.startswith("fake: 6 stages to run on this machine (cpu), 0 need nothing")
    assert text.count("] done fake") == 3
    assert "failed fake" in text
    assert "3 done, 0 needed nothing, 1 FAILED, 2 blocked by them" in text


def test_a_live_view_draws_in_a_narrow_terminal(store: Store, orders: Path) -> None:
    out = io.StringIO()
    view = Live(out)
    view.console.width = 30
    run(plan_of(*LEAVES), store, Settings(orders, orders, ("cpu",), perform="fakes:perform"), view)
    assert "6 done, 0 needed nothing" in out.getvalue().replace("\n", " ")


def test_words_of_progress() -> None:
    assert [duration(s) for s in (4.2, 65, 3723)] == ["4 s", "1:05", "1:02:03"]
    assert (
        words({"step": 3, "steps": 9, "loss": 0.25, "tokens_per_second": 1234.5}) == "3/9, loss 0.250, 1,234 tokens/s"
    )


def test_the_option_to_recompute_reaches_a_stage(
    store: Store, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Settings] = []
    monkeypatch.setattr(run_module, "run", lambda plan, store, settings, *_: given.append(settings) or Outcome())
    words = ("run", "scaling", "k=0", "targets=mini-bitext", "languages=de", "--store", str(tmp_path / "other"))
    assert call(*words).code == call(*words, "--recompute-activations").code == 0
    seen: list[bool] = []

    def perform(stage: Fake, out: Path, context: Any) -> dict[str, Any]:
        seen.append(context.recompute_activations)
        (out / "log").write_text("")
        return {"result": {}}

    for number, settings in enumerate(given):
        run_module._attempt(
            Fake(f"leaf {number}", weights=False),
            *("run", 0.0, store, settings, "cpu", {}, threading.Event(), perform, None, set()),  # type: ignore[arg-type]
        )
    assert seen == [False, True]
