"""The worker processes of a run on a Ray cluster: each beside an actor, which passes messages on."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .ending import complain, said
from .executor import Job, Local
from .spec import digest

_LISTEN_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0
_STACK_SECONDS = 10.0
_TOKEN = (
    "; something listens there: the token may be another one, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or "
    "RAY_AUTH_TOKEN) must be set here as at every `ray start` of the cluster"
)
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "ray")


class RayExecutor:
    """Workers on a Ray cluster; a stage whose worker or machine is lost is done again, from its last checkpoint.

    An actor lasts as long as a local worker does, so that the scheduler can give it the next stage of the model that
    it has in memory. Workers for which there is no room yet wait, also for machines that join later or come back.
    """

    def __init__(self, address: str | None) -> None:
        """Connect to the cluster at ``address``, else at ``RAY_ADDRESS``, else to one of this machine, started here.

        Raises:
            ValueError: when Ray is not installed, or no cluster answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would call home
        try:
            import ray
        except ImportError as error:
            raise ValueError("--executor ray: expected the package ray: pip install 'xstilts[ray]'") from error
        address = address or os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": 100 << 20}
        host, _, port = (address or "").rpartition(":")
        advice = ""
        with contextlib.ExitStack() as closing:
            nowhere = closing.enter_context(open(os.devnull, "w"))
            closing.enter_context(contextlib.redirect_stdout(nowhere))  # Ray prints where the answer belongs
            try:
                if port.isdigit():  # Ray itself knocks for ten minutes
                    socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_SECONDS).close()
                    advice = _TOKEN
                ray.init(address or "local", log_to_driver=False, logging_level="error", **own)
            except Exception as error:  # Ray has no type of its own for it
                if not isinstance(error, ConnectionError):  # Ray says no more when a token is refused
                    advice = ""
                raise ValueError(
                    f"--address {address}: expected HOST:PORT of a Ray cluster, or auto: {error}{advice}"
                ) from error
            closing.callback(ray.shutdown)
            self.closing = closing.pop_all()
        self.ray, self.address = ray, address
        self.last_ready = time.monotonic()

    def place(self, device: str, num_workers: int | None, gpus_each: float, num_threads: int) -> tuple[str, ...]:
        """The device of each worker: as many workers as fit on the cluster now, or ``num_workers``.

        Args:
            device: ``cpu``, ``cuda``, or ``auto``: the GPUs where the cluster has any.
            num_workers: how many, or ``None``; those that do not fit yet wait.
            gpus_each: what part of a GPU each worker has, at most a whole one.
            num_threads: how many CPUs each has.

        Raises:
            ValueError: for another device, an impossible part, or when no machine has room for a worker.
        """
        if not 0 < gpus_each <= 1:
            raise ValueError(f"--worker-gpus {gpus_each:g}: expected more than 0 and at most 1")
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"--device {device}: expected auto, cpu or cuda on a Ray cluster; --workers says how many")
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if device == "auto":
            device = "cuda" if any(node.get("GPU") for node in nodes) else "cpu"
        room = [int(node.get("CPU", 0) // num_threads) for node in nodes]
        if device == "cuda":
            each = int(1 / gpus_each + 1e-9)
            room = [min(cpus, int(node.get("GPU", 0)) * each) for cpus, node in zip(room, nodes, strict=True)]
        if num_workers is None and not sum(room):
            wanted = f"{num_threads} CPUs" + (f" and {gpus_each:g} of a GPU" if device == "cuda" else "")
            raise ValueError(f"no machine of the Ray cluster has room for a worker, which needs {wanted}")
        gpus = gpus_each if device == "cuda" else 0
        self.needs = {"num_cpus": num_threads, "num_gpus": gpus}
        where = f"at {self.address}" if self.address else "of this machine alone"
        self.where = f"the Ray cluster {where}, {len(nodes)} node{'s' * (len(nodes) != 1)}"
        return (device,) * (num_workers or sum(room))

    def begin(self, job: Job) -> None:
        """Hold a lock in the store, by which workers know the store and that locks reach from machine to machine."""
        from filelock import FileLock

        settings = job.settings
        paths = {name: getattr(settings, name) for name in ("data_dir", "cache_dir", "study_file")}
        settings = replace(settings, **{name: path and path.absolute() for name, path in paths.items()})
        root = job.store_root.absolute()
        lock = root / "locks" / f".driver-{uuid.uuid4().hex}.lock"
        self.closing.callback(lock.unlink, missing_ok=True)
        self.closing.enter_context(FileLock(lock))
        folder = os.getcwd()
        self.job = replace(job, store_root=root, settings=settings)
        self.home = Home(lock, folder, folder in sys.path, packages())
        self.actor = self.ray.remote(max_restarts=0, max_concurrency=3, scheduling_strategy="SPREAD", **self.needs)(
            Host
        )

    def start(self, device: str) -> RayProcess:
        """Ask for an actor, which gets its process as soon as there is room for it."""
        return RayProcess(self.ray, self.actor.remote(self.job, self.home, device))

    def wait(self, processes: Sequence[RayProcess], seconds: float) -> list[RayProcess]:
        """Wait for their replies."""
        replies = {process.reply: process for process in processes}
        self.ray.wait(list(replies), timeout=seconds)
        found, _ = self.ray.wait(list(replies), num_returns=len(replies), timeout=0)
        if any(process.ready() for process in processes):
            self.last_ready = time.monotonic()
        elif time.monotonic() - self.last_ready > _PATIENCE_SECONDS:
            self.last_ready = time.monotonic()
            complain(f"no worker is ready: waiting for a machine with {self.needs} to be free on the Ray cluster")
        return [replies[reply] for reply in found]

    def stop(self, processes: Sequence[RayProcess]) -> None:
        """Tell every actor."""
        for process in processes:
            process.actor.stop.remote()

    def close(self) -> None:
        """Leave the cluster, or end the one that was started here."""
        self.closing.close()


class RayProcess:
    """The driver's end of an actor; one question to it is always on its way."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.ray, self.actor = ray, actor
        self.reply = actor.hello.remote()
        self.host = self.died = ""

    def ready(self) -> bool:
        """Whether the actor has said where it is: until then it may wait for room on the cluster."""
        return bool(self.host)

    def send(self, message: Any) -> None:
        """Pass a stage on."""
        self.actor.send.remote(message)

    def received(self) -> Iterator[tuple[Any, ...]]:
        """The messages of the last reply."""
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = self.ray.get(self.reply)
        except RayError as error:
            if not self.host and (isinstance(error, RayTaskError) or getattr(error, "actor_init_failed", False)):
                raise ValueError(f"a machine of the Ray cluster cannot run xstilts: {error}") from error
            lines = [line for line in said(error).splitlines() if not line.startswith("\t")]  # those are Ray's own ids
            self.died = f"{self.host or 'before it was ready'}: {' '.join(lines)[:300]}"
            return
        if self.host:
            messages, self.died = answer
            self.reply = self.actor.listen.remote()
            yield from messages
            return
        self.host, found = answer
        if found:
            raise ValueError(f"{self.host} is left out: {found}")
        self.reply = self.actor.listen.remote()

    def death(self) -> str:
        """What the last reply said."""
        return self.died

    def stack(self) -> str:
        """What the actor says within a few seconds."""
        try:
            return str(self.ray.get(self.actor.stack.remote(), timeout=_STACK_SECONDS))
        except Exception:  # it, its machine, or the cluster, may be gone
            return f"{self.host} does not say where it is"

    def end(self, seconds: float) -> None:
        """Kill the actor, and with it the process; an idle one loses nothing, a stage goes on from its checkpoint."""
        with contextlib.suppress(Exception):  # it, or the cluster, may be gone
            self.ray.kill(self.actor)


@dataclass(frozen=True)
class Home:
    """What a worker must find on its machine as the driver has it.

    Attributes:
        lock: a file of the store that the driver has locked.
        folder: where the driver was started: relative names are read from there.
        on_path: whether modules are imported from there.
        packages: as `packages` gives them.
    """

    lock: Path
    folder: str
    on_path: bool
    packages: dict[str, str]


class Host:
    """The actor: starts a worker process on its machine as a local run does, and passes messages on."""

    def __init__(self, job: Job, home: Home, device: str) -> None:
        self.executor = Local()
        if os.path.isdir(home.folder):
            os.chdir(home.folder)
        if not home.on_path:
            sys.path[:] = [path for path in sys.path if path != home.folder]  # Ray puts it there
        # a spawned process imports the main module of its parent by this name: Ray's own, of no use to a stage
        vars(sys.modules["__main__"]).pop("__file__", None)
        self.executor.begin(job)
        self.problem = problem(job, home)
        if not self.problem:  # here, in the actor's main thread: the process ends with the thread that starts it
            self.process = self.executor.start(device)

    def hello(self) -> tuple[str, str]:
        """The machine's name, and why it cannot do stages of this run, if so; else the process is started."""
        return socket.gethostname(), self.problem

    def send(self, message: Any) -> None:
        """Give the process a stage, under this machine's clock: monotonic clocks differ between machines."""
        stage, todo, _ = message
        self.process.send((stage, todo, time.monotonic()))

    def listen(self) -> tuple[list[tuple[Any, ...]], str]:
        """What the process has said, and how it died, if so; waits a while for either."""
        self.executor.wait([self.process], _LISTEN_SECONDS)
        died = self.process.death()  # asked first: its last word is in the pipe by then
        return list(self.process.received()), died

    def stack(self) -> str:
        """Where the process is."""
        return self.process.stack()

    def stop(self) -> None:
        """Let the stage write a checkpoint and stop."""
        self.executor.stop([])


def problem(job: Job, home: Home) -> str:
    """Why this machine cannot do stages of a run; nothing when it can."""
    from filelock import FileLock, Timeout

    here = packages()
    for name, wanted in home.packages.items():
        if here.get(name) != wanted:
            return f"{name} is {here.get(name)} there and {wanted} at the driver: expected the same"
    if not home.lock.exists():
        return f"it does not see the driver's store {job.store_root}: expected a shared file system"
    lock = FileLock(home.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return ""
    lock.release()
    return (
        f"locks of other machines do not hold on the file system of {job.store_root}: expected flock to work between "
        "machines (NFS 4 with its lock service, Lustre mounted with `flock`)"
    )


def packages() -> dict[str, str]:
    """Versions of what numbers depend on, without the build (+cpu, +cu130), and a digest of xstilts' source files."""
    folder = Path(__file__).parent
    sources = (f"{path.relative_to(folder)}\n{path.read_text()}" for path in sorted(folder.rglob("*.py")))
    found = {"python": platform.python_version(), "the code of xstilts": digest("\n".join(sources))}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name).partition("+")[0]
    return found
