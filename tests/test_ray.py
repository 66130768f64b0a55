"""A Ray cluster of three nodes on this machine: nodes and drivers killed, and the bytes of an undisturbed local run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from program import PROGRAM, environment
from test_kill import assert_same
from xstilts.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the package ray: make test-ray"),
]
STUDY = ("scaling", "tasks=mini-nli", "targets=mini-bitext", "examples=96", "mlm_examples=640", "k=0..1")
STUDY += ("languages=de", "poolings=mean", "--checkpoint-seconds", "0")  # 2 trainings, 2 measurements
SECONDS_TO_LIVE = 1200.0  # a guard against hanging, not a limit on a slow machine


class Nodes:
    """A head without a CPU for stages, and two nodes with one each."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, "object_store_memory": 80 << 20}
        head["_system_config"] = {
            "health_check_timeout_ms": 120_000
        }  # on a busy machine; one that is dead is seen at once
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            self.add()

    def add(self) -> None:
        self.cluster.add_node(num_cpus=1, object_store_memory=80 << 20)

    def kill_that_of(self, process: int) -> None:
        """End at once the node among whose processes this one is."""
        above = set(ancestors(process))
        (node,) = (n for n in self.cluster.worker_nodes if {i.process.pid for i in n.all_processes["raylet"]} & above)
        self.cluster.remove_node(node, allow_graceful=False)


def ancestors(process: int) -> Iterator[int]:
    """The process, its parent and so on."""
    while process > 1:
        yield process
        process = int(re.search(r"PPid:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])  # type: ignore[index]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = os.environ.copy()
    # niceness is 15 where it is not set: a busy machine would starve the workers
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # names of sockets are short
    found = None
    try:
        found = Nodes(folder)
        yield found
    finally:
        if found:
            found.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.clear()
        os.environ |= before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    with Life(folder, None) as life:
        assert life.ends() == 0, life.errors.read_text()
    return life.store


class Life:
    """One start of the program, on the cluster or by itself."""

    def __init__(self, folder: Path, nodes: Nodes | None, *more: str, study: Sequence[str] = STUDY) -> None:
        self.store, self.errors, self.answer = folder / "store", folder / "stderr", folder / "stdout"
        words = ["run", *study, "--store", "store", "--cache", "cache"]
        words += ["--executor", "ray", "--address", nodes.cluster.address] if nodes else ["--device", "cpu"]
        words += more
        streams = {"stdout": self.answer.open("w"), "stderr": self.errors.open("w")}
        self.driver = subprocess.Popen(
            [*PROGRAM, *words], **streams, env=environment(), cwd=folder, start_new_session=True
        )
        for stream in streams.values():
            stream.close()

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.kill()
        self.driver.wait()

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition while the program runs."""
        deadline = time.monotonic() + SECONDS_TO_LIVE
        while not (found := condition()):
            assert self.driver.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.005)
        return found

    def trains(self, least_step: int = 2) -> int:
        """The process that holds a training which has come that far."""
        for path in self.store.glob("work/train-*/checkpoint-*"):
            id = path.parent.name
            if int(path.name.rpartition("-")[2]) >= least_step and not (self.store / "stages" / id).exists():
                with contextlib.suppress(OSError):
                    return int(re.match(r"process (\d+) ", (self.store / f"locks/{id}.holder").read_text())[1])  # type: ignore[index]
        return 0

    def holders(self) -> list[int]:
        """The processes that hold a stage now."""
        found = [re.match(r"process (\d+) ", path.read_text()) for path in self.store.glob("locks/*-*.holder")]
        return [int(match[1]) for match in found if match]

    def ends(self) -> int:
        return self.driver.wait(SECONDS_TO_LIVE)


def resumed(store: Path) -> int:
    """How many trainings went on from a checkpoint."""
    trained = Store.open(store, create=False).records("train")
    return sum(record["result"]["resumed_at_step"] > 0 for record in trained)


def test_a_study_with_a_node_killed_in_a_training_ends_as_the_local_one(
    nodes: Nodes, undisturbed: Path, tmp_path: Path
) -> None:
    with Life(tmp_path, nodes, "--json") as life:
        nodes.kill_that_of(life.until(life.trains))
        assert life.ends() == 0, life.errors.read_text()
    assert len(json.loads(life.answer.read_text())["done"]) == 4  # and not a word of Ray's own
    said = life.errors.read_text()
    assert "on the Ray cluster at" in said
    assert re.search(r"\] lost train .*the worker process died \(", said)
    assert_same(life.store, undisturbed, 2, 2)
    assert resumed(life.store) == 1
    assert not list(life.store.glob("locks/.driver-*"))
    nodes.add()


def test_a_driver_stopped_then_killed_and_started_again_ends_as_the_local_one(
    nodes: Nodes, undisturbed: Path, tmp_path: Path
) -> None:
    with Life(tmp_path, nodes) as life:
        life.until(life.trains)
        life.driver.send_signal(signal.SIGINT)
        assert life.ends() == 130, life.errors.read_text()
        assert "] interrupted train" in life.errors.read_text()
        (left,) = life.store.glob("work/train-*/checkpoint-*")
    with Life(tmp_path, nodes) as life:
        life.until(lambda: life.trains(int(left.name.rpartition("-")[2]) + 1))
        life.driver.kill()
    with Life(tmp_path, nodes, "--workers", "1") as life:
        assert life.ends() == 0, life.errors.read_text()
    assert_same(life.store, undisturbed, 2, 2)
    assert resumed(life.store) == 1


def test_the_demo_with_a_node_killed_in_the_middle_ends_as_the_local_one(nodes: Nodes, tmp_path: Path) -> None:
    for name in ("local", "cluster"):
        (tmp_path / name).mkdir()
    with Life(tmp_path / "local", None, "--quiet", study=("demo",)) as alone:
        assert alone.ends() == 0, alone.errors.read_text()
    num_stages = len(Store.open(alone.store, create=False).ids())
    with Life(tmp_path / "cluster", nodes, study=("demo",)) as life:
        life.until(lambda: len([*life.store.glob("stages/*")]) >= num_stages // 2)
        nodes.kill_that_of(life.until(life.holders)[0])
        assert life.ends() == 0, life.errors.read_text()
    assert "the worker process died (" in life.errors.read_text()
    num_trainings = len(Store.open(alone.store, create=False).records("train"))
    assert_same(life.store, alone.store, num_stages - num_trainings, num_trainings)
    nodes.add()


SCRIPT = """
from xstilts import Study

if __name__ == "__main__":
    parameters = dict(word.split("=") for word in {words!r})
    study = Study("scaling", parameters, store="store", cache="cache")
    outcome = study.run(executor="ray", address={address!r}, quiet=True)
    assert (outcome.exit_code, len(outcome.done)) == (0, 4), outcome
"""


def test_a_study_of_a_script_ends_as_the_local_one(nodes: Nodes, undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT.format(words=STUDY[1:-2], address=nodes.cluster.address))
    done = subprocess.run(
        [PROGRAM[0], "mine.py"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_LIVE,
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "store", undisturbed, 2, 2)


def test_an_address_at_which_nobody_answers_is_refused(tmp_path: Path) -> None:
    words = ["run", *STUDY, "--store", "store", "--cache", "cache", "--executor", "ray", "--address", "127.0.0.1:1"]
    done = subprocess.run([*PROGRAM, *words], env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "--address 127.0.0.1:1: expected HOST:PORT of a Ray cluster" in done.stderr
