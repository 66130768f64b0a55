"""The command that says what is done, running and failed, once or again and again."""

from __future__ import annotations

import sys
import time
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import DEFAULT_STORE, JsonOption, StoredStudy, StoreOption, stored_name

if typing.TYPE_CHECKING:
    from .store import Store

_WATCH_SECONDS = 2.0
_BARS = "▁▂▃▄▅▆▇█"
_MAX_BARS = 30


def status_command(
    study: StoredStudy = None,
    store: StoreOption = DEFAULT_STORE,
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte against its checksum.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Say it again every two seconds, until all is done or Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Say what is done, running and failed.

    With --verify, exit with 1 and name the stage if any byte changed.

    Example: xstilts status scaling --verify
    """
    from .store import Store

    if watch and (verify or as_json):
        raise ValueError(f"--watch with {'--verify' if verify else '--json'}: expected one of the two")
    opened = Store.open(store, create=False)
    names = [stored_name(study)] if study else None
    if watch:
        return _watched(opened, names)
    studies = list(_studies(opened, names))
    problems = opened.verify() if verify else []
    code = ending.FAILED if problems else 0
    if as_json:
        facts: dict[str, Any] = {"store": str(store), "studies": studies}
        if verify:
            facts |= {"verified": len(opened.ids()), "problems": [vars(problem) for problem in problems]}
        return ending.document(facts, code)
    lines = list(_lines(opened, studies))
    lines += map(str, problems)
    if verify:
        found_out = f"{len(problems)} problems" if problems else "all intact"
        lines.append(f"verified {len(opened.ids())} stages: {found_out}")
    if problems:
        lines.append(f"move a damaged stage's folder out of {opened.root / 'stages'}: the next run makes it again")
    return ending.text(lines, code)


def _studies(store: Store, names: list[str] | None) -> Iterator[dict[str, Any]]:
    for name in store.plans() if names is None else names:
        stages = store.plan(name)["stages"]
        missing = [
            dict(zip(("id", "label", "state", "note"), (id, stages[id]["label"], *_state(store, id)), strict=True))
            for id in stages
            if not store.exists(id)
        ]
        yield {"name": name, "stages": len(stages), "done": len(stages) - len(missing), "missing": missing}


def _state(store: Store, id: str) -> tuple[str, str]:
    """Whether a stage that is not done is running, failed or waiting, and by whom or where its log is."""
    if store.is_claimed(id):
        return "running", store.holder(id)
    failures = store.failures(id)
    return ("failed", str(failures[-1])) if failures else ("waiting", "")


def _lines(store: Store, studies: list[dict[str, Any]]) -> Iterator[str]:
    if not studies:
        yield f"no study was run in {store.root} yet"
    for one in studies:
        yield f"{one['name']}: {one['done']} of {one['stages']} stages done"
        for stage in one["missing"]:
            if stage["state"] != "waiting":
                yield f"  {stage['state']:7} {stage['id']}  {stage['label']}: {stage['note']}"


def _watched(store: Store, names: list[str] | None) -> Answer:
    """Print the state every two seconds, in place where that is a terminal; once more as the answer at the end."""
    from .progress import may_send_codes

    codes = may_send_codes(sys.stdout)
    last: list[str] = []
    try:
        while True:
            studies = list(_studies(store, names))
            lines = [*_lines(store, studies), *_running(store)]
            if all(one["done"] == one["stages"] for one in studies):
                break
            if codes:
                print("\x1b[H\x1b[J" + "\n".join(lines), flush=True)
            elif lines != last:
                print("\n".join(lines), flush=True)
            last = lines
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        return ending.text([])
    return ending.text(lines)


def _running(store: Store) -> Iterator[str]:
    """A line for every stage that a run works on: how far it is, its loss, its speed and the course of its loss."""
    from .live import runs
    from .progress import words

    for run in runs(store.root):
        yield f"{run['study']} on {run['host']}: {run['ended']} of {run['todo']} stages of this run"
        for one in run["running"]:
            moved = words(one["progress"]) or "starting"
            yield f"  {one['kind']} {one['label']}: {moved} {_bars(one['losses'])}".rstrip()


def _bars(values: list[float]) -> str:
    """A course as bars from 0 to its highest value, the last ones of it."""
    shown = values[-_MAX_BARS:]
    high = max(shown, default=0.0)
    return "".join(_BARS[round(max(value, 0.0) / high * (len(_BARS) - 1))] if high > 0 else _BARS[0] for value in shown)
