"""How a run looks: in terminals of any size, without escape codes where there may be none, and how long it says."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from fakes import Fake, plan_of
from xstilts import progress
from xstilts.mixture import Budget, Mixture
from xstilts.progress import Live, Plain, Quiet, view_for
from xstilts.run import Outcome, Settings
from xstilts.stage import Encoder, Evaluate, Stage, Train
from xstilts.study import Plan

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WIDTHS = [1, 5, 20, 40, 60, 80, 200]
HEIGHTS = [1, 5, 10, 24, 50]


class Terminal(io.StringIO):
    """A terminal's stream."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def settings(num_slots: int) -> Settings:
    return Settings(None, Path("cache"), ("cpu",) * num_slots)


def begin(view: Quiet, plan: Plan, num_slots: int = 1) -> None:
    view.begin(plan, dict.fromkeys(plan.stages, "run"), settings(num_slots))


# -- the time left ------------------------------------------------------------------------------------------

BASE = Fake("base")
LEFT, RIGHT = Fake("left", BASE), Fake("right", BASE)
BELOW_LEFT = Fake("below left", LEFT)
LEAVES = (Fake("leaf 1", LEFT), Fake("leaf 2", BELOW_LEFT), Fake("leaf 3", RIGHT), Fake("leaf 4", RIGHT, BELOW_LEFT))


def do(view: Quiet, clock: Clock, stage: Stage, how: str, seconds: float) -> None:
    view.started(0, stage)
    clock.now += seconds
    view.ended(0, stage, how, "note")


def test_the_time_left_counts_no_stage_that_a_failure_has_blocked(clock: Clock) -> None:
    view = Quiet()
    begin(view, plan_of(*LEAVES))  # base, left, below left, right and four leaves
    assert view.eta_seconds() is None
    do(view, clock, BASE, "done", 10)
    assert view.eta_seconds() == 7 * 10
    do(view, clock, LEFT, "failed", 1)  # its own time says nothing of the others'
    assert (view.num_ended, view.num_failed, view.num_blocked) == (2, 1, 4)
    assert view.eta_seconds() == 2 * 10  # right and leaf 3
    do(view, clock, RIGHT, "done", 20)
    assert view.eta_seconds() == 15
    do(view, clock, LEAVES[2], "done", 30)
    assert view.eta_seconds() == 0


def test_what_another_run_holds_and_what_was_interrupted_is_still_to_do(clock: Clock) -> None:
    view = Quiet()
    begin(view, plan_of(*LEAVES), num_slots=2)
    do(view, clock, BASE, "done", 10)
    for how in ("busy", "interrupted"):
        do(view, clock, LEFT, how, 1)
        assert view.eta_seconds() == 7 * 10 / 2


def test_a_plain_run_is_one_line_a_stage_with_counts_and_time_left(clock: Clock) -> None:
    out = io.StringIO()
    view = Plain(out)
    begin(view, plan_of(*LEAVES))
    do(view, clock, BASE, "done", 10)
    do(view, clock, LEFT, "failed", 1)
    do(view, clock, RIGHT, "done", 10)
    do(view, clock, LEAVES[2], "done", 10)
    view.end(Outcome(done=["base", "right", "leaf"], failed={"left": "note"}, blocked=["1", "2", "3", "4"]))
    assert out.getvalue().splitlines() == [
        "fake: 8 stages to run on this machine (cpu), 0 need nothing",
        f"[1/8] done fake {BASE.id} (note), about 1:10 left",
        f"[2/8] failed fake {LEFT.id} (note), about 20 s left",
        f"[3/8] done fake {RIGHT.id} (note), about 10 s left",
        f"[4/8] done fake {LEAVES[2].id} (note)",
        "3 done, 0 needed nothing, 1 FAILED, 4 blocked by them",
    ]


# -- terminals ----------------------------------------------------------------------------------------------

CHINESE = Encoder("/数据/多语言编码器/一个非常长的文件夹名字/模型")
TRAINS = [Train(CHINESE, Mixture(("mnli", "snli", "qqp")), Budget(2000), seed=seed) for seed in range(12)]
CELLS = [Evaluate(train, "tatoeba", language) for train in TRAINS for language in ("de", "sw", "th", "zh")]


def busy(width: int, height: int, clock: Clock, stream: io.StringIO | None = None) -> Live:
    """Eight slots in the middle of twelve trainings and their measurements; one training has failed."""
    view = Live(stream or Terminal())
    view.console.width, view.console.height = width, height
    view.begin(
        Plan("study", {}, {stage.id: stage for stage in (*TRAINS, *CELLS)}, ()),
        dict.fromkeys((stage.id for stage in (*TRAINS, *CELLS)), "run"),
        settings(8),
    )
    for stage, how in ((TRAINS[0], "done"), (CELLS[0], "done"), (TRAINS[1], "failed")):
        do(view, clock, stage, how, 3600)
    for slot, train in enumerate(TRAINS[2:10]):
        view.started(slot, train)
    clock.now += 60
    for slot, train in enumerate(TRAINS[2:9]):
        step = 7 * slot  # the first has done no step yet
        view.progress(slot, train, {"step": step, "steps": 63, "loss": 0.6931, "tokens_per_second": 12345.6})
    return view


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int, clock: Clock) -> None:
    view = busy(width, 24, clock)
    view.live.stop()
    with view.console.capture() as drawn:
        view.console.print(view.render())
    first, *slots = ESCAPE.sub("", drawn.get()).splitlines()
    assert len(slots) == 8
    assert max(map(cell_len, (first, *slots))) <= width
    if width >= 20:
        assert first.startswith("3/60")
        assert first.rstrip().endswith("left")  # the time is never cut
        assert slots[1].startswith("1  8:00 left, 7/63"[: width - 1])
        assert slots[0].startswith("0  0/63, loss 0.693"[: width - 1])
        assert slots[7].startswith("7  starting")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, "3/60 stages, 1 failed, 4 blocked, about 6:37:30 left"),
        (52, "3/60 stages, 1 failed, 4 blocked, about 6:37:30 left"),
        (40, "3/60, 1 failed, 4 blocked, 6:37:30 left"),
        (30, "3/60, 1 failed, 6:37:30 left"),
        (20, "3/60, 6:37:30 left"),
        (10, "3/60"),
    ],
)
def test_a_narrow_terminal_keeps_what_matters(width: int, line: str, clock: Clock) -> None:
    view = busy(width, 24, clock)
    view.live.stop()
    assert view.overall(width) == line


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_in_a_terminal_that_changes_its_size(width: int, height: int, clock: Clock) -> None:
    stream = Terminal()
    view = busy(width, height, clock, stream)
    view.live.refresh()
    with view.live._lock:  # its thread refreshes, too
        stream.truncate(stream.seek(0))
        view.live.refresh()
        shown = stream.getvalue()
    lines = ESCAPE.sub("", shown).replace("\r", "\n").splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len([line for line in lines if line]) <= height
    view.console.width, view.console.height = WIDTHS[-1] + 1 - width, HEIGHTS[-1] + 1 - height
    view.live.refresh()
    view.stopping()
    do(view, clock, TRAINS[10], "done", 1)
    view.end(Outcome(done=["one"], interrupted=True))
    said = ESCAPE.sub("", stream.getvalue())
    assert "the same command goes on from here" in said
    assert f"[4/60] done train {progress.label(TRAINS[10])} (note)" in said  # whole: the terminal wraps it


# -- escape codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "variables", "kind"),
    [
        (Terminal, {}, Live),
        (Terminal, {"NO_COLOR": ""}, Live),
        (Terminal, {"NO_COLOR": "1"}, Plain),
        (Terminal, {"TERM": "dumb"}, Plain),
        (io.StringIO, {}, Plain),
        (io.StringIO, {"FORCE_COLOR": "1"}, Plain),
    ],
)
def test_escape_codes_go_to_terminals_that_may_have_them(
    stream: type[io.StringIO],
    variables: dict[str, str],
    kind: type,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = stream()
    view = view_for(out, quiet=False)
    assert type(view) is kind
    begin(view, plan_of(*LEAVES))
    do(view, clock, BASE, "failed", 1)
    view.end(Outcome(failed={BASE.id: "note"}))
    assert ("\x1b" in out.getvalue()) == (kind is Live)
    assert "1 FAILED" in out.getvalue()


def test_a_quiet_run_writes_nothing(clock: Clock) -> None:
    out = Terminal()
    view = view_for(out, quiet=True)
    begin(view, plan_of(*LEAVES))
    do(view, clock, BASE, "failed", 1)
    view.stopping()
    view.end(Outcome(failed={BASE.id: "note"}))
    assert out.getvalue() == ""
