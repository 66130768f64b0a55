"""Several processes for one stage: started, watched, stopped together; one error when one of them fails."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from . import Context, Interrupted
from .phases import Phases
from .signs import Pulse, end_with_parent

_POLL_SECONDS = 0.2
_LAST_WORD_SECONDS = 0.5
_TIMEOUT = timedelta(days=7)  # a process that is gone is noticed at once; one that is at work may take its time

Work = Callable[[Context], dict[str, Any]]


def in_ranks(work: Work, context: Context) -> dict[str, Any]:
    """Do ``work``, such as `perform` of a stage, in a process for each of ``context.ranks``: torch's process group.

    Ranks talk to one another by gloo on CPUs and by NCCL on GPUs, on this machine only.

    Returns:
        What ``work`` returned in rank 0. The phases of its ``cost`` have what was spent on starting and ending as
        ``ranks``, the peak of the memory is that of all together.

    Raises:
        Interrupted: when all ranks stopped on request.
        ChildProcessError: when a rank died; the others are ended.
        Exception: what a rank raised, with its traceback as the cause; the others are ended.
    """
    context.phases("ranks")
    if torch.cuda.is_initialized():  # what this process has measured leaves the memory to the ranks
        from .evaluate import forget_model

        forget_model()
        torch.cuda.empty_cache()
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    ranks: list[tuple[Any, Connection]] = []
    with tempfile.TemporaryDirectory(prefix="xstilts-ranks-") as folder:
        try:
            for number, device in enumerate(context.ranks):
                ours, theirs = spawn.Pipe(duplex=False)
                own = replace(context, device=device, stop=stop.is_set, report=_silent, phases=Phases())
                process = spawn.Process(target=_rank, args=(number, work, own, Path(folder) / "meeting", theirs))
                process.start()
                theirs.close()
                ranks.append((process, ours))
            done = _watched(ranks, stop, context)
        finally:
            for process, pipe in ranks:
                process.kill()
                process.join()
                pipe.close()
    context.phases.end()
    phases, own = context.phases.seconds, done[0]["cost"]["phases"]
    phases["ranks"] = max(0.0, phases["ranks"] - sum(own.values()))
    for name, seconds in own.items():
        phases[name] = phases.get(name, 0.0) + seconds
    return done[0] | {"cost": {"phases": phases, "peak_rss_bytes": sum(one["cost"]["peak_rss_bytes"] for one in done)}}


def _watched(ranks: list[tuple[Any, Connection]], stop: Any, context: Context) -> list[dict[str, Any]]:
    """What each rank returned; the first one's progress goes to the context, whose wish to stop goes to all."""
    ended: dict[int, Any] = {}  # what a rank returned or raised
    died: dict[int, int] = {}  # exit codes of those without a last word

    def listen(seconds: float) -> None:
        left = [(number, *rank) for number, rank in enumerate(ranks) if number not in ended and number not in died]
        wait([one for _, process, pipe in left for one in (pipe, process.sentinel)], timeout=seconds)
        for number, process, pipe in left:
            alive = process.is_alive()  # asked before its last word is looked for
            with contextlib.suppress(EOFError, OSError):
                while number not in ended and pipe.poll():
                    kind, *rest = pipe.recv()
                    if kind == "sign":
                        context.phases("ranks")  # a sign of this process, too
                    elif kind == "progress":
                        context.report(*rest)
                    else:
                        (ended[number],) = rest
            if number not in ended and not alive:
                died[number] = process.exitcode

    def failed() -> list[BaseException]:
        return [what for what in ended.values() if isinstance(what, Exception) and not isinstance(what, Interrupted)]

    while len(ended) < len(ranks) and not died and not failed():
        if context.stop():
            stop.set()
        listen(_POLL_SECONDS)
    if failed() and not died:  # of a lost connection or its own? whoever is its cause ends at the same time
        listen(_LAST_WORD_SECONDS)
    for number, code in died.items():
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ChildProcessError(
            f"rank {number} of {len(ranks)} ({context.ranks[number]}) died ({how}); out of memory, or killed from "
            "outside"
        )
    for error in sorted(failed(), key=lambda error: isinstance(error, RuntimeError)):  # as of a lost connection
        raise error
    if isinstance(ended[0], Interrupted):
        raise ended[0]
    return [ended[number] for number in range(len(ranks))]


def _silent(progress: dict[str, Any]) -> None:
    """Goes to a rank in the place of a report, which its own pipe takes over."""


def _rank(number: int, work: Work, context: Context, meeting: Path, pipe: Connection) -> None:
    """One process: joins the others, does its work, and says how it ended."""
    end_with_parent()
    for name in (signal.SIGTERM, signal.SIGINT):  # sent to the whole group, they are the driver's to handle
        signal.signal(name, signal.SIG_IGN)
    pulse = Pulse(pipe, context.device)
    context = replace(context, report=lambda progress: pulse.send(("progress", progress)))
    try:
        _join(number, context, meeting)
        if context.prepare:
            context.prepare[0](*context.prepare[1:])
        done: Any = work(context)
    except Exception as error:
        known = type(error).__module__ in ("builtins", "xstilts.engine")  # others may not survive the way
        done = error if known else RuntimeError(f"{type(error).__name__}: {error}")
        done.add_note(f"in rank {number}:\n{traceback.format_exc()}")
    pulse.send(("ended", done))


def _join(number: int, context: Context, meeting: Path) -> None:
    """Make the default process group, for tensors on CPUs and, where ranks have GPUs of their own, on these."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    own_gpus = context.device.startswith("cuda") and len(set(context.ranks)) == len(context.ranks)
    if context.device.startswith("cuda"):
        torch.cuda.set_device(context.device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if own_gpus else "gloo",
        init_method=f"file://{meeting}",
        rank=number,
        world_size=len(context.ranks),
        timeout=_TIMEOUT,
    )
