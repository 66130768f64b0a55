"""Half-written and damaged files: each is noticed, named, and made again or refused; none is read as if whole."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fakes
from fakes import Fake
from test_train import NLI, Bench, Done, bench, check_equal, undisturbed  # noqa: F401
from xstilts.ending import said
from xstilts.engine import Damaged, checkpoint
from xstilts.engine import data as data_module
from xstilts.engine.unfinished import making
from xstilts.mixture import Budget
from xstilts.run import Settings, _attempt
from xstilts.store import Store

SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "a byte changed": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    "zeros at the end": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
}


# -- checkpoints --------------------------------------------------------------------------------------------


class Training:
    """A model of one layer, its optimiser and its course."""

    def __init__(self, size: int = 4) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(size, size)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.course = checkpoint.Course("cpu")

    def step(self) -> None:
        self.model(torch.ones(1, self.model.in_features)).sum().backward()
        self.optimiser.step()
        self.course.step += 1

    def save(self, work: Path) -> None:
        checkpoint.save(work, self.model, self.optimiser, self.course)

    def resume(self, work: Path) -> checkpoint.Course:
        return checkpoint.resume(work, self.model, self.optimiser, "cpu")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The work folder of a training with its best weights of step 1 and a checkpoint of step 2."""
    training = Training()
    training.step()
    checkpoint.save_best(tmp_path / "work", training.model, training.course)
    training.course.best_score = 0.5
    training.step()
    training.save(tmp_path / "work")
    return tmp_path / "work"


def test_a_checkpoint_is_read_as_it_was_written(work: Path) -> None:
    training = Training()
    course = training.resume(work)
    assert (course.step, course.best, course.best_score) == (2, "best-1", 0.5)
    other = Training()
    other.step()
    other.step()
    for one, two in zip(training.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("spoil", [*SPOILS, "missing"])
@pytest.mark.parametrize(
    "file",
    [
        *("checkpoint-2/model.safetensors", "checkpoint-2/optimiser.safetensors", "checkpoint-2/course.json"),
        *("checkpoint-2/files.json", "best-1/model.safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_set_aside(file: str, spoil: str, work: Path) -> None:
    path = work / file
    if spoil == "missing":
        path.unlink()
    else:
        path.write_bytes(SPOILS[spoil](path.read_bytes()))
    named = r"checkpoint-2/\w+\.\w+" if file.endswith("files.json") else re.escape(file)
    with pytest.raises(Damaged, match=rf"{named} is (damaged|missing): the checkpoint is set aside"):
        Training().resume(work)
    again = Training()
    assert again.resume(work) == checkpoint.Course("cpu")
    again.step()
    again.save(work)
    assert [path.name for path in work.iterdir()] == ["checkpoint-1"], "what was set aside is gone"


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may mount a small file system")
def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode()}")
    try:
        training = Training(100)
        training.step()
        training.save(disk)
        training.step()
        with pytest.raises(Exception, match="No space left on device"):
            training.save(disk)
        assert Training(100).resume(disk).step == 1
    finally:
        subprocess.run(["umount", disk], check=True)


# -- a device without memory --------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_miniature")
@pytest.mark.parametrize("first", [0, 3])
def test_an_optimiser_without_memory_ends_the_stage_which_can_be_finished(
    first: int,
    bench: Bench,  # noqa: F811
    undisturbed: Callable[[str], Done],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some of its parameters may have moved, so the step must not be done again in parts, as a forward pass may."""
    stage = bench.stage(NLI, Budget(9, "steps"))
    steps, step = iter(range(99)), torch.optim.AdamW.step

    def full(optimiser: Any, *rest: Any) -> Any:
        step(optimiser, *rest)
        if next(steps) == first:
            raise torch.OutOfMemoryError("made")

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", full)
        with pytest.raises(MemoryError, match=f"step {first}.*the optimiser's moments do not fit"):
            bench.train(stage, checkpoint_seconds=0)
    assert not (bench.folder / "a" / "out" / "weights").exists()
    done = bench.train(stage)
    assert done.result["resumed_at_step"] == first
    check_equal(done, undisturbed("last"))


def test_what_does_not_fit_is_said_with_its_step_and_what_to_do() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    error.add_note("step 3: a step of 4 examples does not fit")
    what, step, advice = said(error).split("; ")
    assert (what, step) == ("OutOfMemoryError: CUDA out of memory", "step 3: a step of 4 examples does not fit")
    assert "fewer workers" in advice


# -- tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_miniature")
def test_tokens_that_are_cut_off_are_made_anew(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    bench.cache_dir = shutil.copytree(bench.cache_dir, tmp_path / "cache", ignore=lambda *_: ["tokens"])
    stage = bench.stage()
    model = bench.model(stage)
    rows = bench.rows(stage, model)
    (path,) = (bench.cache_dir / "tokens").iterdir()
    data = path.read_bytes()
    for length in (0, 6, 100, len(data) // 2, len(data) - 1):
        path.unlink()  # what is mapped already stays as it was
        path.write_bytes(data[:length])
        data_module._opened.cache_clear()
        again = bench.rows(stage, model)
        assert len(again) == len(rows)
        assert (again.example(5)[0] == rows.example(5)[0]).all()
        assert path.read_bytes() == data
    assert os.listdir(path.parent) == [path.name]


def test_what_a_killed_process_left_half_made_is_removed_by_the_next(tmp_path: Path) -> None:
    left, other, folder = tmp_path / "aa.part", tmp_path / "bb.txt", tmp_path / ".model.12.0123abcd"
    (tmp_path / ".model.backup").mkdir()
    for path in (left, other):
        path.touch()
    folder.mkdir()
    (folder / "model.safetensors").touch()
    with (tmp_path / "cc.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # whoever makes it is alive
        with making(tmp_path / "dd.part", r"\w+\.part") as path, making(tmp_path / "ee.part", r"\w+\.part"):
            assert sorted(os.listdir(tmp_path)) == sorted(
                [".model.12.0123abcd", ".model.backup", "bb.txt", "cc.part", "dd.part", "ee.part"]
            )
            path.rename(tmp_path / "done")
    name = r"\.model\.\d+\.[0-9a-f]{8}"
    with making(tmp_path / ".model.13.0123abcd", name, is_folder=True) as path:
        (path / "config.json").touch()
    assert sorted(os.listdir(tmp_path)) == [".model.backup", "bb.txt", "cc.part", "done"]


# -- published stages -------------------------------------------------------------------------------------------


def test_a_published_file_that_is_not_whole_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / "store")
    settings = Settings(tmp_path, tmp_path)
    base = Fake("base")
    leaf = Fake("leaf", base, weights=False)

    def attempt(stage: Fake) -> tuple[str, str]:
        rest: Any = (store, settings, "cpu", {}, threading.Event(), fakes.perform, None, set())
        return _attempt(stage, "run", 0.0, *rest)

    assert attempt(base)[0] == "done"
    folder = store.folder(base.id)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"record.json", "model", "log"}
    for path in files:
        data = path.read_bytes()
        for spoil in SPOILS.values():
            path.write_bytes(spoil(data))
            how, what = attempt(leaf)
            assert how == "failed"
            assert str(path.relative_to(folder)) in what
            assert base.id in what
            assert not store.exists(leaf.id)
            assert [problem.file for problem in store.verify()] == [str(path.relative_to(folder))]
        path.write_bytes(data)
    shutil.move(folder, tmp_path / "moved out")  # as the message says
    assert attempt(base)[0] == "done"
    assert attempt(leaf)[0] == "done"
    assert store.verify() == []
