"""Runs killed with SIGKILL end, once started again, with the very bytes of an undisturbed run."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from xstilts.store import Store

PROGRAM = (sys.executable, "-c", "from xstilts.cli import main; main()")
STUDY = (
    "scaling",
    "tasks=mini-nli,mini-paraphrase",
    "targets=mini-bitext",
    "examples=96",
    "k=0..1",
    "languages=de,fr,ru",
    "poolings=mean",
)  # 3 trainings, 9 measurements
QUICK, LONG = ("mlm_examples=640",), ("mlm_examples=1600",)
NOT_COMPARED = {
    "started",
    "wall_seconds",
    "environment",
    "cost",
    "record_sha256",
}  # of a record: when and where it was made
NOT_COMPARED_RESULTS = {"tokens_per_second", "resumed_at_step", "earlier_seconds"}
SECONDS_TO_LIVE = 300.0  # a guard against hanging, not a limit on a slow machine


@dataclass
class Life:
    """One start of the program, in a process group of its own, and what its store shows meanwhile."""

    folder: Path
    study: tuple[str, ...]
    device: str = "cpu"
    worker: int = 0  # the process that last held a stage
    began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Life:
        words = ("run", *STUDY, *self.study, "--device", self.device, "--checkpoint-seconds", "0")
        words += ("--store", str(self.store), "--cache", str(self.folder / "cache"))
        self.before = self.signs()
        self.errors = self.folder / "stderr"
        with self.errors.open("w") as stream:
            self.driver = subprocess.Popen(
                [*PROGRAM, *words], stderr=stream, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:  # else nothing is cleared away: what a killed driver leaves meets the next life
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def signs(self) -> set[str]:
        """What this far has come of the work: checkpoints and published stages."""
        found = [*self.store.glob("work/*/checkpoint-*"), *self.store.glob("stages/*")]
        return {str(path.relative_to(self.store)) for path in found}

    def held(self) -> list[str]:
        """The stages that a worker of this life holds now."""
        found = []
        for path in self.store.glob("locks/*.holder"):
            with contextlib.suppress(OSError):
                words = re.match(r"process (\d+) on ", path.read_text())
                if words and os.getpgid(int(words[1])) == self.driver.pid:
                    self.worker = int(words[1])
                    found.append(path.stem)
        return found

    def works(self) -> bool:
        """Whether this life has brought the work forward."""
        return not self.signs() <= self.before

    def reached(self, moment: float) -> bool:
        """Whether it is time, and a worker holds a stage."""
        return time.monotonic() >= moment and bool(self.held())

    def until(self, condition: Callable[[], Any], poll_seconds: float = 0.005) -> bool:
        """Wait for a condition; ``False`` when the program has ended before."""
        while self.driver.poll() is None:
            if condition():
                return True
            assert time.monotonic() - self.began < SECONDS_TO_LIVE, self.errors.read_text()
            time.sleep(poll_seconds)
        return False

    def where(self) -> tuple[str, str]:
        """In which stage, and how far in it, this life is now."""
        for id in self.held():
            stage = Store.open(self.store, create=False).plan("scaling")["stages"][id]["declaration"]
            what = "+".join(stage["mixture"]["tasks"]) if stage["kind"] == "train" else stage["language"]
            steps = [int(path.name.rpartition("-")[2]) for path in self.store.glob(f"work/{id}/checkpoint-*")]
            if (self.store / "stages" / id).exists():
                return stage["kind"], f"{what}, published"
            return stage["kind"], f"{what}, " + (f"step {max(steps)}" if steps else "no checkpoint")
        return "between stages", ""

    def kill(self, victim: str) -> None:
        """SIGKILL to the driver alone, to the driver with its workers, or to one worker, whose stage then fails."""
        if victim == "driver":
            self.driver.kill()
        elif victim == "group":
            os.killpg(self.driver.pid, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(self.worker) == self.driver.pid:
                    os.kill(self.worker, signal.SIGKILL)
            self.driver.wait(SECONDS_TO_LIVE)
            assert self.driver.returncode in (0, 1)  # 0 when the worker had just ended its stage
            assert self.driver.returncode == 0 or "(signal 9)" in self.errors.read_text()
        self.driver.wait()


def run_to_the_end(folder: Path, study: tuple[str, ...]) -> float:
    """Run the study until it is done; returns the seconds from its first stage on."""
    with Life(folder, study) as life:
        life.until(life.held)
        started = time.monotonic()
        life.until(lambda: False)
        assert life.driver.returncode == 0, life.errors.read_text()
        return time.monotonic() - started


def files(store: Path) -> dict[str, bytes]:
    """Every file of every stage but the records, which hold times and places."""
    paths = (path for path in (store / "stages").rglob("*") if path.is_file() and path.name != "record.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def records(store: Path) -> list[dict[str, Any]]:
    """The records without what may differ."""
    found = [{k: v for k, v in r.items() if k not in NOT_COMPARED} for r in Store.open(store, create=False).records()]
    return [r | {"result": {k: v for k, v in r["result"].items() if k not in NOT_COMPARED_RESULTS}} for r in found]


def assert_same(killed: Path, undisturbed: Path, num_measurements: int = 9, num_trainings: int = 3) -> None:
    """Two stores hold the same bytes, nothing is damaged and nothing is left over."""
    store = Store.open(killed, create=False)
    assert [str(problem) for problem in store.verify()] == []
    one, two = files(killed), files(undisturbed)
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []
    assert sum(name.endswith("predictions.parquet") for name in one) == num_measurements
    assert sum(name.endswith("accuracy-v1.json") for name in one) == num_measurements
    assert sum(name.endswith("model.safetensors") for name in one) == num_trainings
    assert records(killed) == records(undisturbed)
    assert [path.name for path in (killed / "work").iterdir() if path.name[0] != "."] == []
    for id in store.ids():
        claim = store.claim(id)
        assert claim is not None
        claim.release()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store that nothing happened to, and the seconds that its stages took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    seconds = run_to_the_end(folder, QUICK)
    return folder / "store", seconds


@pytest.mark.parametrize(
    ("study", "victims", "seed"),
    [
        pytest.param(QUICK, ("driver", "group", "worker"), 0, id="3 kills", marks=pytest.mark.slow),
        pytest.param(
            LONG, ("driver", "group", "worker", "driver", "group") * 5, 1, id="25 kills", marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    study: tuple[str, ...], victims: tuple[str, ...], seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(seed)
    clock = time.monotonic()
    if study == QUICK:
        expected, seconds = request.getfixturevalue("undisturbed")
    else:
        expected = tmp_path / "undisturbed" / "store"
        expected.parent.mkdir()
        seconds = run_to_the_end(expected.parent, study)
        print(f"undisturbed: {time.monotonic() - clock:.1f} s, {seconds:.1f} s of them from the first stage on")
    waiting = rng.sample(victims, len(victims))
    folders = _folders(tmp_path)
    folder = next(folders)
    landed: Counter[str] = Counter()
    resumed = 0
    while waiting:
        device = "cpu" if study == QUICK else rng.choice(("cpu", "cpu,cpu"))
        from_start = rng.random() < 0.3
        with Life(folder, study, device) as life:
            life.until(life.held if from_start else life.works)
            moment = time.monotonic() + rng.uniform(0.0, seconds if from_start else seconds / 3)
            if life.until(functools.partial(life.reached, moment)):
                (kind, where), after = life.where(), time.monotonic() - life.began
                victim = waiting.pop()
                life.kill(victim)
                landed[kind] += 1
                print(f"kill {landed.total():2} {victim:6} after {after:4.1f} s on {device:7}: {kind} {where}")
            else:
                assert life.driver.returncode == 0, life.errors.read_text()
                resumed += assert_done(folder, expected)
                folder = next(folders)
                seconds = min(seconds, time.monotonic() - life.began)  # the machine may have become faster
    run_to_the_end(folder, study)
    resumed += assert_done(folder, expected)
    print(f"{dict(landed)}; {resumed} trainings resumed; {time.monotonic() - clock:.0f} s in all")
    assert resumed or study == QUICK


def _folders(parent: Path) -> Iterator[Path]:
    """A new folder for every store that is killed until it is done."""
    for number in range(1000):
        (parent / str(number)).mkdir()
        yield parent / str(number)


def assert_done(folder: Path, expected: Path) -> int:
    """Compare a finished store with the undisturbed one; returns how many trainings went on from a checkpoint."""
    assert_same(folder / "store", expected)
    trained = Store.open(folder / "store", create=False).records("train")
    resumed = sum(record["result"]["resumed_at_step"] > 0 for record in trained)
    print(f"done: {resumed} of {len(trained)} trainings went on from a checkpoint")
    return resumed


@pytest.mark.slow
@pytest.mark.parametrize(
    "window",
    [
        "cache/.tiny-*",  # the encoder is being made
        "cache/tokens/*.part",  # rows are being tokenised
        "store/work/train-*/checkpoint.part/*",
        "store/work/train-*/out/weights/encoder/*",
        "store/work/train-*/out/record.json",  # about to be published
        "store/work/evaluate-*/out/predictions.parquet",
        "store/stages/train-*",  # published, its work not yet cleared
        "store/stages/evaluate-*",  # published, not yet scored
    ],
)
@pytest.mark.parametrize("victim", ["driver", "group"])
def test_a_run_killed_while_something_is_half_done(
    window: str, victim: str, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    with Life(tmp_path, QUICK) as life:
        assert life.until(lambda: next(tmp_path.glob(window), None), 0.001), f"{window} never appeared"
        life.kill(victim)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(window))
    print(f"{window}: left {left}")
    run_to_the_end(tmp_path, QUICK)
    assert_same(tmp_path / "store", undisturbed[0])


def test_a_run_killed_between_publishing_and_scoring_scores_when_started_again(
    undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    shutil.copytree(undisturbed[0], tmp_path / "store")
    store = Store.open(tmp_path / "store")
    for record in store.records():
        (store.work(record["id"]) / "out").mkdir()  # cleared last
    for record in store.records("evaluate")[:4]:
        shutil.rmtree(store.folder(record["id"]) / "scores")
    run_to_the_end(tmp_path, QUICK)
    assert_same(tmp_path / "store", undisturbed[0])
