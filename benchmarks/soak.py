"""A long unattended run with faults: are all stages right, memory flat, logs bounded, and weights dropped as asked?

One driver after the other works on a study of the miniature, until it is done. Meanwhile, at seeded random moments,
SIGKILL goes to a worker, to the driver, or to all of them, and SIGSTOP to a worker. The answer is a table in Markdown;
the exit code is 1 where something was lost.

    python benchmarks/soak.py DIR [--kills 40] [--seeds 10] [--pause 5] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from xstilts.store import Store

PROGRAM = (sys.executable, "-c", "from xstilts.cli import main; main()")
LANGUAGES = "ar,de,es,fr,hi,ru,sw,tr,zh"
VICTIMS = {"worker killed": 10, "worker stopped": 2, "driver killed": 5, "driver and workers killed": 3}
MOST_GROWTH = 1.15  # of resident memory, from the first half of a life to its second
STAGES_PER_LINE = 20
LOG_BYTES_PER_STAGE = 10 * (2 * (1 << 16) + 4096)  # the bound of the store: ten logs of 64 Ki characters


@dataclass
class Seen:
    """What was measured at one moment."""

    life: int
    done: int
    driver_mb: float
    workers_mb: list[float]
    weights: int
    store_mb: float


@dataclass
class Soak:
    """A folder with a store and a cache, and what happens to the run on it."""

    folder: Path
    rng: random.Random
    seen: list[Seen] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    lives: int = 0

    @property
    def store(self) -> Path:
        """The store that faults happen to."""
        return self.folder / "store"

    def command(self, seeds: str, store: Path) -> list[str]:
        """A run of the study with so many seeds."""
        study = ["tasks=mini-nli,mini-paraphrase", "targets=mini-bitext", "examples=96", "k=0..1", "poolings=mean"]
        study += [f"languages={LANGUAGES}", f"seeds={seeds}", "mlm_examples=640"]
        words = ["--device", "cpu,cpu", "--keep", "none", "--checkpoint-seconds", "0", "--stall-minutes", "1"]
        words += ["--retries", "5", "--store", str(store), "--cache", str(self.folder / "cache")]
        return [*PROGRAM, "run", "scaling", *study, *words]

    def start(self, seeds: str, store: Path) -> subprocess.Popen[bytes]:
        """Start a driver in a process group of its own."""
        self.lives += 1
        with (self.folder / "stderr").open("ab") as stream:
            return subprocess.Popen(
                self.command(seeds, store),
                stderr=stream,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def go(self, seeds: str, kills: int, pause_seconds: float) -> None:
        """Run the study to its end, with so many faults, each a random time of that mean after work went on again."""
        while True:
            driver = self.start(seeds, self.store)
            before, moment = self.signs(), math.inf
            while driver.poll() is None:
                time.sleep(0.25)
                self.look(driver.pid)
                if moment == math.inf and not self.signs() <= before:
                    moment = time.monotonic() + self.rng.expovariate(1 / pause_seconds)
                workers = children(driver.pid)
                if self.injected.total() < kills and time.monotonic() > moment and workers:
                    self.strike(driver, workers)
                    before, moment = self.signs(), math.inf
            if driver.returncode == 0:
                return
            assert driver.returncode < 0, (self.folder / "stderr").read_text()[-2000:]

    def signs(self) -> set[str]:
        """What this far has come of the work: checkpoints and published stages."""
        return {path.name for pattern in ("work/*/checkpoint-*", "stages/*") for path in self.store.glob(pattern)}

    def strike(self, driver: subprocess.Popen[bytes], workers: list[int]) -> None:
        """Let a fault happen to a worker, the driver or all."""
        victim = self.rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        self.injected[victim] += 1
        print(f"{time.strftime('%H:%M:%S')} {self.num_done()} stages done: {victim}", flush=True)
        with contextlib.suppress(ProcessLookupError):
            if victim == "driver killed":
                driver.kill()
            elif victim == "driver and workers killed":
                os.killpg(driver.pid, signal.SIGKILL)
            else:
                os.kill(self.rng.choice(workers), signal.SIGKILL if victim == "worker killed" else signal.SIGSTOP)

    def num_done(self) -> int:
        """How many stages are published."""
        return sum(1 for _ in self.store.glob("stages/*/record.json"))

    def look(self, driver: int) -> None:
        """Measure once for every new stage."""
        done = self.num_done()
        if self.seen and (self.seen[-1].done, self.seen[-1].life) == (done, self.lives):
            return
        weights = sum(1 for _ in self.store.glob("stages/*/weights"))
        size = 0
        for path in self.store.rglob("*"):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        memory = [resident_mb(pid) for pid in children(driver)]
        self.seen.append(Seen(self.lives, done, resident_mb(driver), memory, weights, size / 1e6))


def children(pid: int) -> list[int]:
    """The workers of a driver: its children but multiprocessing's tracker of resources."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split() if b"spawn_main" in command_line(int(word))]
    return []


def command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def resident_mb(pid: int) -> float:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
    return 0.0


def files_of(store: Path, ids: list[str]) -> dict[str, bytes]:
    """Every file of stages that holds no times."""
    paths = [path for id in ids for path in (store / "stages" / id).rglob("*")]
    varies = ("record.json", "remade.json", "tombstone-")
    return {str(p.relative_to(store)): p.read_bytes() for p in paths if p.is_file() and not p.name.startswith(varies)}


def problems(soak: Soak, undisturbed: Path) -> list[str]:
    """What is wrong after all."""
    store, other = Store.open(soak.store, create=False), Store.open(undisturbed, create=False)
    found = [f"verify: {problem}" for problem in store.verify()]
    plan = store.plan("scaling")
    found += [f"not done: {id}" for id in plan["stages"] if not store.exists(id)]
    ids = other.ids()
    one, two = files_of(store.root, ids), files_of(other.root, ids)
    found += [f"differs: {name}" for name in {*one, *two} if one.get(name) != two.get(name)]
    found += [f"kept: {id}" for id in store.ids() if store.has_weights(id) and store.usable(id)]
    found += [f"left in work: {name}" for name in store.working()]
    found += [f"left in the cache: {path.name}" for path in (soak.folder / "cache").rglob("*.part")]
    for id in plan["stages"]:
        size = sum(path.stat().st_size for path in store.failures(id))
        found += [f"logs of {id}: {size} bytes"] * (size > LOG_BYTES_PER_STAGE)
    for life, seen in itertools.groupby(soak.seen, lambda one: one.life):
        found += grown(life, list(seen))
    return found


def grown(life: int, seen: list[Seen]) -> list[str]:
    """Whether the driver's memory grew in the second half of a long life."""
    sizes = [one.driver_mb for one in seen if one.driver_mb]
    if len(sizes) < 2 * STAGES_PER_LINE:
        return []
    first, second = max(sizes[: len(sizes) // 2]), max(sizes[len(sizes) // 2 :])
    return [f"driver of life {life}: {first:.0f} MB, then {second:.0f} MB"] * (second > first * MOST_GROWTH)


def main() -> None:
    """Do it and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder for store and cache")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=10, help="each adds 20 stages")
    parser.add_argument("--pause", type=float, default=5.0, help="mean seconds from a sign of work to the next fault")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    soak = Soak(asked.folder, random.Random(asked.seed))
    started = time.monotonic()
    soak.go(f"0..{asked.seeds - 1}", asked.kills, asked.pause)
    seconds = time.monotonic() - started
    undisturbed = asked.folder / "undisturbed"
    soak.start("0", undisturbed).wait()
    soak.lives -= 1
    found = problems(soak, undisturbed)
    print(f"\n{soak.num_done()} stages, {soak.injected.total()} faults, {soak.lives} drivers, {seconds:.0f} s\n")
    print("| fault | injected |\n|---|---|")
    for name, count in soak.injected.items():
        print(f"| {name} | {count} |")
    print("\n| stages done | driver MB | largest worker MB | weights in the store | store MB |\n|---|---|---|---|---|")
    for number, group in itertools.groupby(soak.seen, lambda one: one.done // STAGES_PER_LINE):
        seen = list(group)
        driver, worker = max(one.driver_mb for one in seen), max(max(one.workers_mb, default=0.0) for one in seen)
        weights, size = max(one.weights for one in seen), max(one.store_mb for one in seen)
        at = f"{number * STAGES_PER_LINE} to {(number + 1) * STAGES_PER_LINE - 1}"
        print(f"| {at} | {driver:.0f} | {worker:.0f} | {weights} | {size:.1f} |")
    logs = [path.stat().st_size for path in (soak.store / "logs").iterdir()]
    said = (soak.folder / "stderr").stat().st_size
    print(f"\nlogs of failures: {len(logs)}, {sum(logs)} bytes; what the drivers said: {said} bytes")
    print("\n".join(found) if found else "nothing lost, nothing left over")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
