"""The store on bad ground: crashes at any file operation, clocks that jump, NFS that lies, a read-only mount."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from xstilts import stored
from xstilts.store import Claim, Store

ENCODER, TRAIN, LEAF = "train-0123456789abcdef0123", "train-3333333333333333aaaa", "evaluate-0123456789abcdef0123"
WEIGHTS = {ENCODER: b"encoder" * 9, TRAIN: b"trained" * 9}


# -- a process that dies at a file operation --------------------------------------------------------------


class Died(BaseException):
    """The process that asked for this is no more."""


class Fate:
    """Lets the process die before a file operation, and do nothing to the disk from then on.

    Its clean-up code still runs, as nothing can keep Python from that, but every file operation of it is refused, so
    that the disk is as a killed process leaves it. The kernel's locks end with it.
    """

    counted = frozenset({"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "shutil.copyfile"})

    def __init__(self) -> None:
        self.left = self.operations = 0

    def seen(self, event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        if self.left and (event in self.counted or writes):
            self.operation()

    def operation(self) -> None:
        self.operations += 1
        if self.left and self.operations >= self.left:
            raise Died

    def __call__(self, at: int, work: Callable[[], object]) -> bool:
        """Whether ``work`` was done before operation number ``at``, at which its process dies."""
        self.left, self.operations = at, 0
        try:
            work()
        except Died:
            return False
        finally:
            self.left = 0
        return True


FATE = Fate()
sys.addaudithook(FATE.seen)  # sees every file operation just before it happens, whoever asks for it


@pytest.fixture
def counted_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not waited for; the waiting still counts as an operation."""
    monkeypatch.setattr(os, "fsync", lambda handle: FATE.operation())


def staged(store: Store, id: str, weights: bytes) -> Path:
    folder = store.work(id) / "out"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "log.jsonl").write_text("{}\n")
    if id in WEIGHTS:
        (folder / "weights").mkdir()
        (folder / "weights" / "model.safetensors").write_bytes(weights)
    return folder


def publish(store: Store, id: str, mark: int) -> bool:
    record = {"kind": id.partition("-")[0], "version": 1, "result": {"mark": mark}}
    return store.publish(id, staged(store, id, WEIGHTS.get(id, b"")), record)


_IDS = st.sampled_from([ENCODER, TRAIN, LEAF])
_TRAINED = st.sampled_from([ENCODER, TRAIN])
_WHEN = st.one_of(st.just(10_000), st.integers(1, 40))  # an operation that never comes, or any of the first


class Crashes(RuleBasedStateMachine):
    """One store used by a process that dies now and then, beside another process that lives and holds a claim.

    The model knows for every id the mark of its record, once it was seen, and whether weights may be, must be or cannot
    be there.
    """

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.root = self.folder / str(len(os.listdir(self.folder)))
        self.store = Store.open(self.root)
        self.marks: dict[str, dict[str, Any]] = {}
        self.sure: dict[str, bool] = {}  # whether weights are there, of the ids of which that is certain
        self.scored: set[str] = set()
        self.mark = 0
        self.elsewhere: dict[str, Claim] = {}

    def do(self, at: int, work: Callable[[Store], object]) -> bool:
        return FATE(at, lambda: work(Store.open(self.root)))

    @rule(id=_IDS, at=_WHEN)
    def publish(self, id: str, at: int) -> None:
        """As a worker does: under its claim, unless it is there."""
        self.mark += 1
        found: list[str] = []

        def work(store: Store) -> None:
            claim = store.claim(id)
            if claim is None:
                found.append("busy")
                return
            try:
                if not store.exists(id):
                    publish(store, id, self.mark)
                store.clear_work(id)
            finally:
                claim._lock.release()  # the kernel's part of it, which a death does not prevent

        done = self.do(at, work)
        assert found == (["busy"] if id in self.elsewhere else []) or (not done and not found)
        if done and not found:
            assert self.store.exists(id)

    @rule(id=_TRAINED, at=_WHEN)
    def drop(self, id: str, at: int) -> None:
        if self.store.exists(id):
            done = self.do(at, lambda store: store.drop(id, "no longer read"))
            self.sure.pop(id, None)
            if done:
                self.sure[id] = False

    @rule(id=_TRAINED, at=_WHEN)
    def remake(self, id: str, at: int) -> None:
        if self.store.exists(id):
            before = self.store.usable(id)

            def work(store: Store) -> None:
                store.remake(id, staged(store, id, WEIGHTS[id]), {"kind": "train", "version": 1})
                store.clear_work(id)

            done = self.do(at, work)
            self.sure.pop(id, None)
            if done or before:
                self.sure[id] = True

    @rule(id=_IDS, at=_WHEN)
    def score(self, id: str, at: int) -> None:
        if self.store.exists(id) and self.do(at, lambda store: store.add_score(id, "accuracy-v1", {"value": 0.5})):
            self.scored.add(id)

    @rule(id=_IDS, at=_WHEN)
    def fail(self, id: str, at: int) -> None:
        self.do(at, lambda store: store.write_failure(id, "a stage", "x" * 10))

    @rule(at=_WHEN)
    def plan(self, at: int) -> None:
        self.mark += 1
        if self.do(at, lambda store: store.write_plan("study", {"mark": self.mark})):
            assert self.store.plan("study") == {"mark": self.mark}

    @rule(at=_WHEN, payload=st.booleans(), predictions=st.booleans())
    def bring_home(self, at: int, payload: bool, predictions: bool) -> None:
        """An export and an import of all there is change nothing that is here, whenever they die."""
        target = self.root.with_name(f"{self.root.name}-copy")
        ids = self.store.ids()
        self.do(at, lambda store: store.export(target, ids, payload, predictions))
        if (target / "format.json").is_file():
            copy = Store.open(target)
            assert copy.verify() == []
            assert set(copy.ids()) <= set(self.store.ids())
            for id in ids:
                if not self.store.usable(id) and copy.exists(id) and copy.usable(id):
                    self.sure.pop(id, None)
            self.do(at, lambda store: store.import_from(target))

    @rule(id=_IDS)
    @precondition(lambda self: not self.elsewhere)
    def another_process_claims(self, id: str) -> None:
        claim = self.store.claim(id)
        assert claim is not None, "the lock of a dead process is taken over"
        self.elsewhere[id] = claim

    @rule()
    @precondition(lambda self: bool(self.elsewhere))
    def another_process_ends(self) -> None:
        for id, claim in self.elsewhere.items():
            assert self.store.claim(id) is None, "the lock of a live process is not"
            claim.release()
        self.elsewhere.clear()

    @invariant()
    def sound(self) -> None:
        store = Store.open(self.root)
        assert store.verify() == []
        assert [name for name in os.listdir(self.root / "stages") if not store.exists(name)] == []
        assert set(self.marks) <= set(store.ids()), "what was published stays"
        for id in store.ids():
            record = store.record(id)
            assert self.marks.setdefault(id, record) == record, "one truth for an id"
            assert (store.folder(id) / "log.jsonl").read_text() == "{}\n"
            if id in WEIGHTS:
                assert store.usable(id) is self.sure.get(id, store.usable(id))
                if store.usable(id):
                    (model,) = store.weights(id).iterdir()
                    assert model.read_bytes() == WEIGHTS[id]
        for id in self.scored:
            assert store.scores(id) == {"accuracy-v1": {"value": 0.5}}
        for id in self.elsewhere:
            assert store.claim(id) is None

    def teardown(self) -> None:
        """The next process finishes everything, and nothing of the dead is left but what a run clears."""
        for claim in self.elsewhere.values():
            claim.release()
        for id in (ENCODER, TRAIN, LEAF):
            self.elsewhere = {}
            self.publish(id, 10_000)
        for id in (ENCODER, TRAIN):
            self.remake(id, 10_000)
        self.sound()
        assert self.store.working() == []


@pytest.mark.usefixtures("counted_sync")
@pytest.mark.parametrize("num_histories", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_no_crash_makes_the_store_wrong(num_histories: int, tmp_path: Path) -> None:
    machine = type("Machine", (Crashes,), {"folder": tmp_path})
    limits = settings(max_examples=num_histories, stateful_step_count=15, deadline=None, database=None)
    run_state_machine_as_test(machine, settings=settings(limits, derandomize=True))


# -- file systems that lie ---------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A server that renames and links once, and says that it failed: its answer was lost, and the call was repeated."""
    told: list[str] = []
    rename, link = os.rename, os.link

    def renamed(source: Any, target: Any) -> None:
        rename(source, target)
        if not told and "stages" in str(target):
            told.append("rename")
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source), None, str(target))

    def linked(source: Any, target: Any) -> None:
        link(source, target)
        if "link" not in told:
            told.append("link")
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(target))

    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "link", linked)
    return told


def test_a_rename_that_was_done_and_reported_as_failed_is_done(store: Store, lying: list[str]) -> None:
    assert publish(store, TRAIN, 1) is True, "it is ours, and nobody was faster"
    assert store.record(TRAIN)["result"] == {"mark": 1}
    assert publish(store, TRAIN, 2) is False
    assert store.verify() == []
    assert lying == ["rename"]


def test_a_link_that_was_made_and_reported_as_failed_is_made_once(store: Store, lying: list[str]) -> None:
    lying.append("rename")
    log = store.write_failure(LEAF, "a stage", "why")
    assert store.failures(LEAF) == [log]
    assert lying == ["rename", "link"]
    lying.remove("link")
    publish(store, LEAF, 1)
    store.add_score(LEAF, "accuracy-v1", {"value": 1})
    assert store.scores(LEAF) == {"accuracy-v1": {"value": 1}}


def test_a_rename_that_fails_leaves_the_work_for_the_next_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: Any, target: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(source), None, str(target))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refused)
        with pytest.raises(OSError, match="Input/output error"):
            publish(store, TRAIN, 1)
    assert store.ids() == []
    assert publish(store, TRAIN, 2)
    assert store.verify() == []


def test_a_stale_view_makes_a_stage_again_but_never_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host has published meanwhile; this one's cache of names still says that there is nothing."""
    publish(store, TRAIN, 1)
    exists = os.path.exists
    stale = [store.folder(TRAIN) / "record.json"]
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "exists", lambda path: not (stale and path == stale[0] and stale.pop()) and exists(path))
        assert publish(store, TRAIN, 2) is False
    assert store.record(TRAIN)["result"] == {"mark": 1}
    listed = os.listdir
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path=".": [*listed(path), "train-gone0000000000000000"])
        assert store.ids() == [TRAIN]
        assert [record["id"] for record in store.records()] == [TRAIN]


def test_without_hard_links_the_file_is_named_and_nothing_is_half_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, LEAF, 1)

    def none(source: Any, target: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(target))

    monkeypatch.setattr(os, "link", none)
    with pytest.raises(PermissionError, match=r"accuracy-v1\.json"):
        store.add_score(LEAF, "accuracy-v1", {"value": 1})
    assert store.scores(LEAF) == {}
    assert os.listdir(store.root / "work" / ".tmp") == []
    assert store.verify() == []


# -- clocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-(10**9), 10**9])
def test_file_times_mean_nothing(store: Store, seconds: int) -> None:
    for number, id in enumerate((ENCODER, TRAIN, LEAF)):
        publish(store, id, number)
    store.drop(TRAIN, "no longer read")
    before = {id: (store.record(id), store.usable(id)) for id in store.ids()}
    claim = store.claim(TRAIN)
    assert claim is not None
    for path in (*store.root.rglob("*"), store.root):
        now = path.stat().st_mtime + seconds
        os.utime(path, (now, now))
    assert {id: (store.record(id), store.usable(id)) for id in store.ids()} == before
    assert store.verify() == []
    assert store.claim(TRAIN) is None, "no lock grows old"
    claim.release()
    assert store.remake(TRAIN, staged(store, TRAIN, WEIGHTS[TRAIN]), {"kind": "train", "version": 1})


def test_logs_are_in_order_though_the_clock_is_set_back_and_they_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(stored.datetime):
        year_now = 2040

        @classmethod
        def now(cls, zone: Any = None) -> Any:
            return stored.datetime(cls.year_now, 1, 1, tzinfo=zone)

    real = stored.datetime
    Clock.now = classmethod(lambda cls, zone=None: real(cls.year_now, 1, 1, tzinfo=zone))  # type: ignore[assignment]
    monkeypatch.setattr(stored, "datetime", Clock)
    paths = [store.write_failure(TRAIN, "a stage", f"first {number}") for number in range(3)]
    Clock.year_now = 2020
    paths += [store.write_failure(TRAIN, "a stage", f"then {number}" + "x" * 10**6) for number in range(9)]
    assert store.failures(TRAIN) == paths[2:], "the last ten"
    assert "then 8" in paths[-1].read_text()
    assert "2020" in paths[-1].read_text(), "when it was, by the clock"
    assert max(path.stat().st_size for path in store.failures(TRAIN)) < 70_000
    assert "characters left out" in paths[-1].read_text()


# -- read-only ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may mount a folder read-only")
def test_a_read_only_store_is_read_and_refuses_work(store: Store) -> None:
    publish(store, TRAIN, 1)
    claim = store.claim(LEAF)  # its process is killed: the sign of it stays
    assert claim is not None
    claim._lock.release()
    mounted = subprocess.run(["mount", "--bind", store.root, store.root], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted: {mounted.stderr.decode()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", store.root], check=True)
        readable = Store.open(store.root, create=False)
        assert readable.ids() == [TRAIN]
        assert readable.verify() == []
        assert readable.is_claimed(LEAF) is False
        with pytest.raises(OSError, match=re.escape(f"cannot open the store {store.root}: no permission to write")):
            Store.open(store.root)
        for work in (
            lambda: publish(store, LEAF, 2),
            lambda: store.claim(LEAF),
            lambda: store.drop(TRAIN, "no"),
            lambda: store.write_failure(LEAF, "a stage", "why"),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                work()
    finally:
        subprocess.run(["umount", store.root], check=True)
    assert stat.S_IMODE(store.root.stat().st_mode)
    assert store.usable(TRAIN)
    assert publish(store, LEAF, 2)
    assert store.verify() == []
