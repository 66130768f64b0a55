"""The scheduler over workers that may be elsewhere: late, lost, unusable; proved without any process."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

from fakes import Fake, plan_of
from program import Call, refused
from xstilts import run as run_module
from xstilts.executor import Job
from xstilts.progress import Quiet
from xstilts.ray_executor import Home, RayExecutor, packages, problem
from xstilts.run import Outcome, Settings, run
from xstilts.store import Store

BASE = Fake("base")
LEFT, RIGHT = Fake("left", BASE), Fake("right", BASE)
LEAVES = (Fake("leaf-left", LEFT, weights=False), Fake("leaf-right", RIGHT, weights=False))


@dataclass(eq=False)
class There:
    """A worker that does a stage by saying so, or what its cluster has planned for it."""

    cluster: Cluster
    number: int
    waits: int = 0
    inbox: list[Any] = field(default_factory=list)
    died: str = ""
    ended: bool = False

    def ready(self) -> bool:
        return self.waits <= 0

    def send(self, message: Any) -> None:
        assert self.ready()
        assert not self.ended
        self.inbox.append(message[0])

    def received(self) -> Iterator[tuple[Any, ...]]:
        if self.number in self.cluster.unusable:
            raise ValueError(f"machine {self.number} is left out: no store")
        while self.inbox:
            stage = self.inbox.pop()
            self.cluster.given.append((self.number, stage.name))
            if self.cluster.losses[stage.name]:
                self.cluster.losses[stage.name] -= 1
                self.died = "its node has died"
                return
            yield "progress", {"step": 1, "steps": 2}
            yield "done", ""

    def death(self) -> str:
        return self.died

    def end(self, seconds: float) -> None:
        self.ended = True


@dataclass
class Cluster:
    """An executor without processes. `losses`: how many workers each stage takes with it."""

    losses: Counter[str] = field(default_factory=Counter)
    unusable: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    max_losses: int = 2
    started: list[There] = field(default_factory=list)
    given: list[tuple[int, str]] = field(default_factory=list)

    def begin(self, job: Job) -> None:
        assert job.target is run_module._worker

    def start(self, device: str) -> There:
        self.started.append(There(self, len(self.started), 3 if len(self.started) in self.late else 0))
        return self.started[-1]

    def wait(self, processes: Sequence[There], seconds: float) -> list[There]:
        for process in processes:
            process.waits -= 1
        return list(processes)

    def stop(self, processes: Sequence[There]) -> None:
        raise AssertionError("nobody asked to stop")


class Seen(Quiet):
    """Keeps how stages ended."""

    def __init__(self) -> None:
        super().__init__()
        self.how: list[tuple[str, str]] = []
        self.over = False

    def ended(self, slot: int, stage: Any, how: str, note: str) -> None:
        super().ended(slot, stage, how, note)
        self.how.append((stage.name, how))

    def end(self, outcome: Outcome) -> None:
        self.over = True


def go(tmp_path: Path, cluster: Cluster, *leaves: Fake, slots: int) -> tuple[Outcome, Seen]:
    seen = Seen()
    settings = Settings(None, tmp_path, ("cpu",) * slots)
    try:
        return run(plan_of(*leaves), Store.open(tmp_path / "store"), settings, seen, cluster), seen
    finally:
        assert all(process.ended for process in cluster.started)
        assert seen.over


def test_a_stage_that_loses_its_worker_is_given_to_a_new_one(tmp_path: Path) -> None:
    cluster = Cluster(Counter(left=2))
    outcome, seen = go(tmp_path, cluster, *LEAVES, slots=1)
    assert outcome.exit_code == 0
    assert len(outcome.done) == 5
    assert [how for name, how in seen.how if name == "left"] == ["lost", "lost", "done"]
    assert [name for _, name in cluster.given].count("left") == 3
    assert len(cluster.started) == 3
    assert (seen.num_ended, seen.waiting) == (5, {})


def test_a_stage_that_loses_worker_after_worker_fails_and_blocks_its_descendants_only(tmp_path: Path) -> None:
    outcome, _ = go(tmp_path, Cluster(Counter(left=9)), *LEAVES, slots=2)
    assert list(outcome.failed) == [LEFT.id]
    assert "its node has died" in outcome.failed[LEFT.id]
    assert "log: " in outcome.failed[LEFT.id]
    assert outcome.blocked == [LEAVES[0].id]
    assert len(outcome.done) == 3


def test_a_worker_that_waits_for_room_is_given_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    cluster = Cluster(late=(0,))
    go(tmp_path, cluster, *(Fake(f"one-{n}") for n in range(5)), slots=2)
    assert [number for number, _ in cluster.given][:2] == [1, 1]
    assert 0 in [number for number, _ in cluster.given]


def test_an_unusable_machine_is_left_out_and_the_others_do_its_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(unusable=(0,), late=(0,))
    outcome, _ = go(tmp_path, cluster, *LEAVES, slots=2)
    assert outcome.exit_code == 0
    assert {number for number, _ in cluster.given} == {1}
    assert capsys.readouterr().err == "xstilts: machine 0 is left out: no store\n"


def test_a_run_without_a_usable_machine_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(unusable=(0, 1), late=(0, 1))
    with pytest.raises(ValueError, match="is left out: no store"):
        go(tmp_path, cluster, *LEAVES, slots=2)
    assert cluster.given == []


def test_a_machine_of_a_cluster_has_the_store_its_locks_and_the_same_code(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    home = Home(tmp_path / "lock", str(tmp_path), False, packages())
    job = Job(run_module._worker, tmp_path, None, run_module.code_state())
    with lock:
        assert problem(job, home) == ""
        assert "torch is 2." in problem(job, replace(home, packages=home.packages | {"torch": "1.0"}))
        other = home.packages | {"the code of xstilts": "0"}
        assert "the code of xstilts is" in problem(job, replace(home, packages=other))
    assert "locks of other machines do not hold" in problem(job, home)
    assert "does not see the driver's store" in problem(job, replace(home, lock=tmp_path / "elsewhere"))


def test_options_of_a_cluster_are_refused_without_one(call: Call) -> None:
    refused(call("run", "demo", "--workers", "2"), "--workers 2", "--executor ray")
    refused(call("run", "demo", "--address", "here:1"), "--address here:1", "--executor ray")
    refused(call("run", "demo", "--executor", "rai"), "--executor", "'rai'", "local, ray")


@pytest.mark.parametrize(
    ("error", "hinted"), [(ConnectionError("Failed to connect"), True), (RuntimeError("old"), False)]
)
def test_a_cluster_that_answers_and_lets_nobody_in_is_refused_with_a_word_on_its_token(
    monkeypatch: pytest.MonkeyPatch, error: Exception, hinted: bool
) -> None:
    """Ray itself says no more than that it has failed to connect."""
    ray = ModuleType("ray")

    def init(*_: object, **__: object) -> None:
        raise error

    ray.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"--address {address}: expected .*{error}") as refusal:
            RayExecutor(address)
    assert ("RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" in str(refusal.value)) is hinted
    with pytest.raises(ValueError, match="expected HOST:PORT") as refusal:
        RayExecutor(address)
    assert "RAY_AUTH" not in str(refusal.value)  # nobody listens any more
