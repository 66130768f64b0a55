"""A study as it runs, as a page: what runs, the curves as far as they go, and the graph."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xstilts.store import Store

from . import gains, rows, stages
from .blocks import Block, Cell, Heading, Items, Spark, Table, Text, code
from .findings import curves
from .html import page
from .stats import sections
from .tables import MISSING
from .verdict import verdict


def live_page(store: Store, plan_name: str, running: Sequence[Mapping[str, Any]], refresh: int) -> str:
    """The page of a study that runs; it asks for itself again after ``refresh`` seconds.

    Args:
        store: where the study is.
        plan_name: its name.
        running: what runs work on it, as `xstilts.live.runs` gives it; every text in it may be anything.
        refresh: seconds.
    """
    return page(list(_blocks(store, plan_name, running)), refresh=refresh)


def _blocks(store: Store, plan_name: str, running: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    plan = store.plan(plan_name)
    entries = stages.entries(store, plan)
    yield Heading(1, f"Study {code(plan['study'])}, live")
    done = sum(entry.record is not None for entry in entries.values())
    measured = sum(entries[id].state == "done" for id in plan["leaves"])
    yield Text(
        f"{done} of {len(entries)} stages are done, {measured} of {len(plan['leaves'])} measurements. The page reads "
        "the store again every few seconds and changes nothing in it."
    )
    yield Heading(2, "Running")
    working = [one for run in running for one in run["running"]]
    yield _working(working) if working else Text("Nothing has reported from this store in the last half minute.")
    failed = [entry for entry in entries.values() if entry.state == "failed"]
    if failed:
        yield Text(f"**Failed stages**: {len(failed)}", notice=True)
        yield Items(stages.listed([f"{e.label} ({code(e.id)}): {e.failure}" for e in failed]))
    found = gains.targets(sections(rows.rows(store, plan), plan))
    yield Heading(2, "The curve so far")
    if found:
        yield Items(tuple(verdict(found)))
        yield from curves(found, plan)
    else:
        yield Text("No target has runs at k = 0 and above yet.")
    yield Heading(2, "Stages")
    yield from stages.graph(plan, entries)


def _working(running: Sequence[Mapping[str, Any]]) -> Table:
    lines: list[str | tuple[Cell, ...]] = []
    for one in running:
        own = one["progress"]
        step = f"{own['step']:,} of {own['steps']:,}" if {"step", "steps"} <= own.keys() else "starting"
        speed = f"{own['tokens_per_second']:,.0f}" if "tokens_per_second" in own else MISSING
        loss = f"{own['loss']:.3f}" if "loss" in own else MISSING
        course: Cell = Spark(tuple(one["losses"])) if one["losses"] else MISSING
        took = stages.duration(max(0.0, time.time() - one["started"]))
        lines.append((f"{one['kind']} {one['label']}", step, loss, course, speed, took))
    header = ("stage", "step", "loss", "its course", "tokens/s", "for")
    return Table("What runs now", header, tuple(lines))
