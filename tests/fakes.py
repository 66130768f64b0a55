"""Stages that do nothing but count how often they ran, for tests of the graph."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from xstilts.spec import declared
from xstilts.stage import Stage
from xstilts.study import Plan


@dataclass(frozen=True)
class Fake(Stage):
    """Reads up to two other stages; ``weights`` gives it a payload that retention may drop."""

    kind: ClassVar[str] = "fake"
    name: str
    first: Fake | None = None
    second: Fake | None = None
    weights: bool = declared(default=True, counts=False)


def plan_of(*leaves: Fake) -> Plan:
    """A plan of fakes, inputs first."""
    stages: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        for other in stage.inputs:
            add(other)
        stages.setdefault(stage.id, stage)

    for leaf in leaves:
        add(leaf)
    return Plan("fake", {}, stages, tuple(dict.fromkeys(leaf.id for leaf in leaves)))


def runs(folder: Path) -> dict[str, int]:
    """How often each stage was started, by name."""
    counts: dict[str, int] = {}
    for line in (folder / "runs").read_text().splitlines() if (folder / "runs").is_file() else ():
        counts[line] = counts.get(line, 0) + 1
    return counts


def perform(stage: Fake, out: Path, context: Any) -> dict[str, Any]:
    """Append the stage's name to ``runs`` in the data folder, then do what the file of its name there says."""
    from xstilts.engine import Interrupted

    folder: Path = context.data_dir
    for other in stage.inputs:
        assert (context.inputs[other.id] / "model").read_text() == other.name  # type: ignore[attr-defined]
    with (folder / "runs").open("a") as log:
        log.write(f"{stage.name}\n")
    order = folder / f"{stage.name}.order"
    what = order.read_text() if order.is_file() else ""
    if what == "fail":
        raise ValueError(f"{stage.name} was told to fail")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    once = folder / f"{stage.name}.order-once"
    if once.is_file():
        how = once.read_text()
        once.unlink()
        (context.work / "checkpoint").write_text("half")
        _strike(how, context)
    if what == "wait":
        (folder / f"{stage.name}.waits").touch()
        while not context.stop():
            time.sleep(0.01)
        (context.work / "checkpoint").write_text("half")
        raise Interrupted("stopped half way")
    if what == "slow":  # without a word to the driver, as tokenising is
        until = time.process_time() + 1.5
        while time.process_time() < until:
            pass
    if stage.weights:
        (out / "weights").mkdir()
        (out / "weights" / "model").write_text(stage.name)
    (out / "log").write_text(stage.name)
    return {"result": {"name": stage.name, "resumed": (context.work / "checkpoint").is_file()}}


def together(stage: Fake, out: Path, context: Any) -> dict[str, Any]:
    """`perform` in a process for each device; every rank notes its number and the modules of study files."""
    from xstilts.engine.launch import in_ranks

    return in_ranks(functools.partial(_noted, stage, out), context)


def _noted(stage: Fake, out: Path, context: Any) -> dict[str, Any]:
    from xstilts.engine import ranks

    files = [name for name in sys.modules if name.startswith("xstilts_study_")]
    (out / f"rank-{ranks.number()}-of-{ranks.count()}").write_text(" ".join(files))
    done = {"result": {}} if ranks.number() else perform(stage, out, context)
    return done | {"cost": {"phases": {}, "peak_rss_bytes": 1}}


def _strike(how: str, context: Any) -> None:
    """What can happen to a worker: it dies, hangs, is stopped from outside, or finds its own files damaged."""
    from xstilts.engine import Damaged

    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(1000)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "spin on a device":
        context.phases("steps")
        while True:
            pass
    if how == "damage":
        raise Damaged("a checkpoint is damaged: it is set aside")
    raise AssertionError(how)
