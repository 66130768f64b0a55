"""How a run looks to a person: a live table in a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any, TextIO

from .run import Outcome, Settings, View
from .stage import Evaluate, Stage, label
from .study import Plan, Todo

_PLAIN_SECONDS = 15.0


def view_for(stream: TextIO, *, quiet: bool) -> View:
    """The view that fits: `Quiet`, `Live` in a terminal that may be sent escape codes, `Plain` otherwise."""
    if quiet:
        return Quiet()
    return Live(stream) if may_send_codes(stream) else Plain(stream)


def may_send_codes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may be sent escape codes."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not os.environ.get("NO_COLOR")


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3:05`` or ``2:03:05``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def words(progress: dict[str, Any]) -> str:
    """A stage's progress in words: step, loss, tokens a second."""
    parts = []
    if "steps" in progress:
        parts.append(f"{progress['step']}/{progress['steps']}")
    if "loss" in progress:
        parts.append(f"loss {progress['loss']:.3f}")
    if "tokens_per_second" in progress:
        parts.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(parts)


class Quiet:
    """Says nothing and keeps the counts that the other views show."""

    def __init__(self) -> None:
        self.total = self.num_ended = self.num_failed = self.num_blocked = 0
        self.running: dict[int, tuple[Stage, float, dict[str, Any]]] = {}
        self.seconds: dict[str, list[float]] = {}
        self.waiting: dict[str, str] = {}  # kind of every stage that is neither ended nor blocked
        self.dependents: dict[str, list[str]] = {}
        self.num_slots = 1

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """Count what is to do."""
        self.total = len(todo)
        self.num_slots = max(1, min(len(settings.devices), len(todo)))
        self.waiting = {id: plan.stages[id].kind for id in todo}
        self.dependents = plan.dependents()

    def started(self, slot: int, stage: Stage) -> None:
        """A stage starts."""
        self.running[slot] = (stage, time.monotonic(), {})

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """Keep the latest progress."""
        self.running[slot] = (stage, self.running[slot][1], progress)

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """Count what ended and how long its kind takes."""
        _, started, _ = self.running.pop(slot)
        if how in ("done", "failed"):
            self.num_ended += 1
            del self.waiting[stage.id]
        if how == "done":
            self.seconds.setdefault(stage.kind, []).append(time.monotonic() - started)
        if how == "failed":
            self.num_failed += 1
            self._block(stage.id)

    def _block(self, id: str) -> None:
        """Wait no longer for what reads a stage that failed."""
        for other in self.dependents[id]:
            if self.waiting.pop(other, None):
                self.num_blocked += 1
                self._block(other)

    def eta_seconds(self) -> float | None:
        """Time left, from the mean of each kind so far; ``None`` while a kind is still unmeasured."""
        left = 0.0
        for kind, count in Counter(self.waiting.values()).items():
            if kind not in self.seconds:
                return None
            left += count * sum(self.seconds[kind]) / len(self.seconds[kind])
        return left / self.num_slots

    def tick(self) -> None:
        """Nothing to redraw."""

    def stopping(self) -> None:
        """Nothing to say."""

    def end(self, outcome: Outcome) -> None:
        """Nothing to say."""


def _stage_eta(started: float, progress: dict[str, Any]) -> str:
    done = progress.get("step", 0) - progress.get("first_step", 0)
    if done <= 0 or "steps" not in progress:
        return ""
    return duration((time.monotonic() - started) / done * (progress["steps"] - progress["step"]))


class Plain(Quiet):
    """One line for what ends, and now and then one for what runs long."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self.waited: set[str] = set()
        self.last_line: dict[int, float] = {}

    def say(self, line: str) -> None:
        """Print one line at once."""
        print(line, file=self.stream, flush=True)

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """Say what will run where."""
        super().begin(plan, todo, settings)
        found = len(plan.stages) - len(todo)
        where = f"{settings.where} ({', '.join(settings.devices[: self.num_slots])})"
        self.say(f"{plan.study}: {len(todo)} stages to run on {where}, {found} need nothing")
        if plan.note:
            self.say(plan.note)

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """Say something every few seconds of a long stage."""
        super().progress(slot, stage, progress)
        _, started, _ = self.running[slot]
        now = time.monotonic()
        if now - max(started, self.last_line.get(slot, 0.0)) >= _PLAIN_SECONDS:
            self.last_line[slot] = now
            left = _stage_eta(started, progress)
            self.say(f"  ... {label(stage)}: {words(progress)}" + (f", {left} left" if left else ""))

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """Say what ended and how."""
        super().ended(slot, stage, how, note)
        if how == "busy":  # asked again twice a second
            if stage.id in self.waited:
                return
            self.waited.add(stage.id)
        eta = self.eta_seconds()
        left = f", about {duration(eta)} left" if eta else ""
        self.say(f"[{self.num_ended}/{self.total}] {how} {stage.kind} {label(stage)} ({note}){left}")

    def stopping(self) -> None:
        """Say that the run is stopping."""
        self.say("stopping: every worker writes a checkpoint first; once more Ctrl-C ends them at once")

    def end(self, outcome: Outcome) -> None:
        """Sum up."""
        parts = [f"{len(outcome.done)} done", f"{outcome.found} needed nothing"]
        if outcome.failed:
            parts += [f"{len(outcome.failed)} FAILED", f"{len(outcome.blocked)} blocked by them"]
        self.say(("interrupted: " if outcome.interrupted else "") + ", ".join(parts))
        if outcome.interrupted:
            self.say("the same command goes on from here")


class Live(Plain):
    """A table that is redrawn in place: one line overall, one for every slot; lines that matter stay above."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(file=stream, highlight=False)
        self.live = RichLive(console=self.console, refresh_per_second=4, get_renderable=self.render)

    def say(self, line: str) -> None:
        """Print above the table."""
        self.console.print(line, markup=False, soft_wrap=True)  # the terminal wraps it: paths stay whole when copied

    def begin(self, plan: Plan, todo: dict[str, Todo], settings: Settings) -> None:
        """Start drawing when there is something to draw."""
        super().begin(plan, todo, settings)
        if todo:
            self.live.start()

    def progress(self, slot: int, stage: Stage, progress: dict[str, Any]) -> None:
        """Keep the progress; the table shows it."""
        Quiet.progress(self, slot, stage, progress)

    def ended(self, slot: int, stage: Stage, how: str, note: str) -> None:
        """Measurements are many and short: only trainings and failures stay on screen."""
        if how == "done" and isinstance(stage, Evaluate):
            Quiet.ended(self, slot, stage, how, note)
        else:
            super().ended(slot, stage, how, note)

    def overall(self, width: int) -> str:
        """How much is done, what failed and the time left, as fully as ``width`` columns allow."""
        done, eta = f"{self.num_ended}/{self.total}", self.eta_seconds()
        left = [] if eta is None else [f"{duration(eta)} left"]
        failed = [f"{self.num_failed} failed"] if self.num_failed else []
        blocked = [f"{self.num_blocked} blocked"] if self.num_blocked else []
        forms = (
            [f"{done} stages", *failed, *blocked, *(f"about {one}" for one in left)],
            [done, *failed, *blocked, *left],
            [done, *failed, *left],
            [done, *left],
        )
        return next((line for form in forms if len(line := ", ".join(form)) <= width), done)

    def render(self) -> Any:
        """The table as it is now, no line wider than the terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid()
        table.add_column(overflow="ellipsis", no_wrap=True)
        table.add_row(Text(self.overall(self.console.width), style="bold red" if self.num_failed else "bold"))
        for slot, (stage, started, progress) in sorted(self.running.items()):
            left = _stage_eta(started, progress)
            moved = ", ".join(part for part in (left and f"{left} left", words(progress)) if part)
            table.add_row(Text(f"{slot}  {moved or 'starting'}  {label(stage)}"))
        return table

    def end(self, outcome: Outcome) -> None:
        """Stop drawing and sum up."""
        if self.live.is_started:
            self.live.stop()
        super().end(outcome)
