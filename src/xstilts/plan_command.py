"""The command that says what a study would run, why, and at what cost, and makes a design fit into so many hours."""

from __future__ import annotations

import shlex
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import (
    DEFAULT_STORE,
    CacheOption,
    DataOption,
    JsonOption,
    Parameters,
    StoreOption,
    StudyArgument,
    devices_of,
    plan_of,
)

if typing.TYPE_CHECKING:
    from .cost import Cost, Estimate
    from .store import Store
    from .study import Plan, Todo

_MAX_SHOWN = 20


def plan_command(
    study: StudyArgument,
    parameters: Parameters = None,
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
    cache: CacheOption = None,
    device: Annotated[
        str, typer.Option(help="What the cost is estimated for: auto, or devices with one worker each, as of `run`.")
    ] = "auto",
    budget_hours: Annotated[
        float | None,
        typer.Option(help="Make the design smaller until it takes no more: fewer subsets per k, then fewer seeds."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Name every stage, not only the first few.")] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Print what a study would run, why, and what it will cost.

    What is stored already is not run again. Hours are estimated from like stages in the store, else by a default that
    is stated.

    Example: xstilts plan scaling encoder=offline tasks=mnli@sample,snli@sample k=0..2 --data ~/benchmarks
    """
    from .cost import Estimate
    from .speed import Known
    from .stage import label
    from .store import Store
    from .study import explain

    whole = found = plan_of(study, parameters, data, cache)
    opened = Store.open(store, create=False) if (store / "format.json").is_file() else None
    records = opened.records() if opened and _todo(whole, opened) else []
    asked = _Asked(study, tuple(parameters or ()), data, cache, device, opened, Estimate(Known(records), data))
    changes: dict[str, Any] = {}
    if budget_hours is not None:
        changes, found = asked.within(budget_hours, whole)
    todo = _todo(found, opened)
    cost = asked.cost(found)
    left_out = [stage for id, stage in whole.stages.items() if id not in found.stages]
    stored = {id: bool(opened and opened.exists(id)) for id in found.stages}
    declarations = {record["id"]: record["declaration"] for record in records}
    above = {id: next((o.id for o in found.stages[id].inputs if o.id in todo), None) for id in todo}

    def why(id: str) -> str:
        if todo[id] == "remake":
            return "its weights were dropped and are needed again"
        return f"its input {above[id]} runs" if above[id] else explain(found.stages[id], declarations)

    if as_json:
        stages = [
            {"id": id, "kind": stage.kind, "label": label(stage), "stored": stored[id]}
            | {"todo": todo.get(id), "why": why(id) if id in todo else None}
            for id, stage in found.stages.items()
        ]
        facts = {"study": found.study, "parameters": dict(found.parameters), "leaves": list(found.leaves)}
        out = [{"id": stage.id, "kind": stage.kind, "label": label(stage)} for stage in left_out]
        return ending.document({**facts, "stages": stages, "cost": cost.document(), "left_out": out})
    lines = [f"{found.study}: {len(found.stages)} stages for {len(found.leaves)} leaves"]
    lines += [found.note] if found.note else []
    for kind in dict.fromkeys(stage.kind for stage in found.stages.values()):
        ids = [id for id, stage in found.stages.items() if stage.kind == kind]
        num_stored, num_todo = sum(stored[id] for id in ids), sum(id in todo for id in ids)
        lines.append(f"  {kind:9} {len(ids):5} in all, {num_stored:5} stored, {num_todo:5} to run")
    shown = [id for id in todo if verbose or above[id] is None]
    num_shown = len(shown) if verbose else _MAX_SHOWN
    lines += [f"  {id}  {label(found.stages[id])}: {why(id)}" for id in shown[:num_shown]]
    if len(shown) > num_shown:
        lines.append(f"  ... and more; --verbose names all {len(todo)}")
    lines += cost.lines()
    if changes:
        trained = [label(stage) for stage in left_out if stage.kind in ("train", "merge")]
        lines.append(
            f"left out to keep within {budget_hours:g} h: {len(left_out)} of {len(whole.stages)} stages, "
            f"{len(trained)} of them models"
        )
        lines += [f"  {name}" for name in (trained if verbose else trained[:_MAX_SHOWN])]
        lines += ["  ... and more; --verbose names all"] * (len(trained) > _MAX_SHOWN and not verbose)
        lines.append(f"what is planned: {shlex.join(['xstilts', 'run', study, *asked.words(changes)])}")
    return ending.text(lines)


def _todo(plan: Plan, store: Store | None) -> dict[str, Todo]:
    """What of a plan has to be done."""
    return plan.todo(store.exists, store.usable) if store else dict.fromkeys(plan.stages, "run")


class _Asked(typing.NamedTuple):
    """A study as it was asked for, and where it would run."""

    study: str
    given: tuple[str, ...]
    data: Path | None
    cache: Path | None
    device: str
    store: Store | None
    estimate: Estimate

    def words(self, changes: Mapping[str, Any]) -> list[str]:
        """Its NAME=VALUE words with some parameters changed."""
        from .named import spelled

        kept = [word for word in self.given if word.partition("=")[0] not in changes]
        return [*kept, *(f"{name}={spelled(value)}" for name, value in changes.items())]

    def plan(self, changes: Mapping[str, Any]) -> Plan:
        """The plan with some parameters changed."""
        return plan_of(self.study, self.words(changes), self.data, self.cache)

    def cost(self, plan: Plan) -> Cost:
        """The cost of what has to be done."""
        todo = (plan.stages[id] for id in _todo(plan, self.store))
        return self.estimate.cost(todo, devices_of(self.device, plan, here=False))

    def within(self, hours: float, whole: Plan) -> tuple[dict[str, Any], Plan]:
        """The largest of ever smaller designs that takes at most so many hours, as changes of parameters, and its plan.

        Raises:
            ValueError: when even the smallest one takes more.
        """
        from .named import defaults, find_study, parse
        from .studies import smaller

        name, function = find_study(self.study)
        values = defaults(function) | parse(function, name, self.given)
        sizes: list[dict[str, Any]] = [{}, *smaller(values)]
        plans = {0: whole}

        def fits(number: int) -> bool:
            if number not in plans:
                plans[number] = self.plan(sizes[number])
            return self.cost(plans[number]).hours <= hours

        low, high = 0, len(sizes) - 1  # the cost falls from one to the next
        if not fits(high):
            least = self.cost(plans[high]).hours
            smallest = " ".join(self.words(sizes[high])) or name
            raise ValueError(
                f"--budget-hours {hours:g}: the smallest design takes {least:.2g} h by estimate: {smallest}"
            )
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle + 1, high)
        return sizes[low], plans[low] if low in plans else self.plan(sizes[low])
