"""A plan's stages as they are in the store: the graph, what is lacking, the time they took, how training went."""

from __future__ import annotations

import itertools
import json
import math
import shlex
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.stage import seconds_of
from xstilts.store import Store

from .blocks import STATES, Cell, Node, Number, Spark, Table, code
from .rows import Document, chain, leaves, missing, training
from .tables import MISSING, percent

MAX_LISTED = 20
MAX_MEMBERS = 8
MAX_TRAININGS = 100
_POINTS = 30
_SLOWEST = 10


@dataclass(frozen=True)
class Entry:
    """One stage of the plan as the store has it.

    Attributes:
        label: the stage in words.
        declaration: what it is.
        state: one of `STATES`.
        record: its record, ``None`` unless it is done.
        folder: where its files are.
        failure: the name and the last line of the log of its last failure.
    """

    id: str
    label: str
    declaration: Document
    state: str
    record: Document | None
    folder: Path
    failure: str = ""

    @property
    def seconds(self) -> float:
        """How long it took, 0 unless it is done."""
        return seconds_of(self.record) if self.record else 0.0

    @property
    def result(self) -> Mapping[str, Any]:
        """What its record says came out."""
        return self.record["result"] if self.record else {}


def entries(store: Store, plan: Document) -> dict[str, Entry]:
    """Every stage of a plan, in its order."""
    lacking = {id for id, _ in missing(store, plan)}
    found = {}
    for id, stage in plan["stages"].items():
        record = store.record(id) if store.exists(id) else None
        logs = store.failures(id) if id in lacking else []
        state = "done" if record else "failed" if logs else "missing" if id in lacking else "elsewhere"
        failure = f"{_last_line(logs[-1])}; log {code(logs[-1].name)}" if logs else ""
        label = stage.get("label", "")
        found[id] = Entry(id, label, stage["declaration"], state, record, store.folder(id), failure)
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def listed(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    return (*lines[:MAX_LISTED], *([f"… and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []))


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = round(seconds / 60), round(seconds / 60) // 60
    return f"{hours} h {minutes % 60} min" if hours else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


# -- the graph --------------------------------------------------------------------------------------------


def graph(plan: Document, stages: Mapping[str, Entry]) -> list[Node]:
    """The stages as trees, an encoder at the root of each; stages of one sort and one parent are one node.

    Trainings are of one sort when they have as many intermediate tasks, mixed and trained alike, and
    measurements when they are of one task and split.
    """
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    below: defaultdict[tuple[Any, ...], dict[tuple[Any, ...], None]] = defaultdict(dict)
    place: dict[str, tuple[Any, ...]] = {}
    roots: dict[tuple[Any, ...], str] = {}
    targets = _targets(plan)
    for id, entry in stages.items():
        if entry.declaration["kind"] == "translate":
            above = (("translations",),)
            roots[above] = "Translations"
            key = (*above, ("translated", *(entry.declaration[name] for name in ("task", "split", "source"))))
            below[above][key] = None
            groups.setdefault(key, []).append(entry)
            continue
        model = entry.declaration["model" if "model" in entry.declaration else "start"]
        if "stage" in model:
            parent = place[model["stage"]]
        else:
            steps = chain(plan, {"model": model})
            parent = (("encoder", steps.encoder_id),)
            name = entry.label.rpartition(" + ")[0] if "start" in entry.declaration else entry.label.partition(": ")[2]
            roots.setdefault(parent, name or steps.encoder["content"])
        key = (*parent, _sort(plan, entry, id in targets))
        place[id] = key
        below[parent][key] = None
        groups.setdefault(key, []).append(entry)

    def node(key: tuple[Any, ...]) -> Node:
        found = groups.get(key, [])
        children = tuple(map(node, below.get(key, ())))
        states = Counter(entry.state for entry in found)
        counted = {state: states[state] for state in STATES}
        if not found:
            return Node(roots[key], (), counted, (), children)
        title, facts = _about(key, found)
        return Node(title, tuple(facts), counted, tuple(_members(found)), children)

    return [node(root) for root in roots]


def _targets(plan: Document) -> set[str]:
    """The trainings that are some measurement's own, and no other's intermediate ones."""
    own: dict[str, bool] = {}
    for _, leaf in leaves(plan):
        if "stage" in leaf["model"]:
            is_target = bool(training(chain(plan, leaf), leaf["task"])["target"])
            own[leaf["model"]["stage"]] = own.get(leaf["model"]["stage"], True) and is_target
    return {id for id, is_target in own.items() if is_target}


def _sort(plan: Document, entry: Entry, is_target: bool) -> tuple[Any, ...]:
    declared = entry.declaration
    if declared["kind"] == "evaluate":
        return ("measured", declared["task"], declared["split"])
    if declared["kind"] == "probe":
        return ("probed", declared["task"], declared["split"])
    steps = chain(plan, {"model": {"stage": entry.id}})
    about = training(steps)
    if is_target:
        return ("target", *declared["mixture"]["tasks"], about["recipe"])
    if about["base"] == entry.id:
        return ("text", *steps.trains[-1][1]["mixture"]["tasks"], about["start"])
    return (
        "intermediate",
        about["k"],
        about["mlm"],
        about["policy"],
        about["budget"],
        about["recipe"],
        about["method"],
    )


def _about(key: tuple[Any, ...], found: Sequence[Entry]) -> tuple[str, list[str]]:
    role, *rest = key[-1]
    seconds = math.fsum(entry.seconds for entry in found)
    facts = [duration(seconds)] if seconds else []
    if role == "translated":
        task, split, source = rest
        codes = " ".join(dict.fromkeys(entry.declaration["target"] for entry in found))
        return f"{task}/{split}", [f"from {source} to {codes}", *facts]
    if role == "probed":
        return f"vectors of {rest[0]}/{rest[1]}", facts
    if role == "measured":
        task, split = rest
        models = len({json.dumps(entry.declaration["model"]) for entry in found})
        languages = len({entry.declaration["language"] for entry in found})
        return f"{task}/{split}", [f"{_plural(models, 'model')} in {_plural(languages, 'language')}", *facts]
    speeds = [entry.result["tokens_per_second"] for entry in found if "tokens_per_second" in entry.result]
    facts += [f"{statistics.median(speeds):,.0f} tokens/s"] if speeds else []
    facts += ["collapsed: " + str(sum(map(_collapsed, found)))] if any(map(_collapsed, found)) else []
    declared = found[0].declaration
    names = "+".join(declared["mixture"]["tasks"]) if declared["kind"] == "train" else "merged"
    if role != "intermediate":
        return f"{role} {names}", facts
    k, mlm, policy, budget, _, method = rest
    how = ", ".join(filter(None, (budget, policy, f"with {mlm}" if mlm else "", method)))
    return f"k = {k}" + (f": {names}" if len(found) == 1 else ""), [how, *facts]


def _members(found: Sequence[Entry]) -> Iterator[str]:
    """Every training of a small group, and of any group what is not done."""
    failed, lacking = ([e for e in found if e.state == state] for state in ("failed", "missing"))
    some = [*failed, *(lacking if len(lacking) < len(found) else [])]
    is_small = found[0].declaration["kind"] == "train" and 1 < len(found) <= MAX_MEMBERS
    yield from listed([_member(entry) for entry in (found if is_small else some)])


def _member(entry: Entry) -> str:
    declared = entry.declaration
    if declared["kind"] == "train":
        name = f"{'+'.join(declared['mixture']['tasks'])}, seed {declared['seed']}{' †' * _collapsed(entry)}"
    else:
        name = entry.label
    how = duration(entry.seconds) if entry.record else entry.failure or entry.state
    return f"{STATES[entry.state]} {name}: {how}"


def _collapsed(entry: Entry) -> bool:
    return bool(entry.result.get("collapsed", False))


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


# -- time and training ------------------------------------------------------------------------------------


def total_seconds(stages: Mapping[str, Entry]) -> float:
    """The stages' wall times, summed."""
    return math.fsum(entry.seconds for entry in stages.values())


def times(stages: Mapping[str, Entry]) -> list[Table]:
    """How long the stages took: by kind, and the slowest ones."""
    done = [entry for entry in stages.values() if entry.record]
    kinds: defaultdict[str, list[float]] = defaultdict(list)
    for entry in done:
        kinds[entry.declaration["kind"]].append(entry.seconds)
    lines: list[tuple[Cell, ...]] = []
    for kind, seconds in sorted(kinds.items()):
        total = math.fsum(seconds)
        typical = (f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}")
        lines.append((kind, str(len(seconds)), Number(f"{total:.1f}", total, "bar"), *typical))
    caption = f"Wall time by kind of stage, {duration(total_seconds(stages))} in all, summed over workers"
    header = ("stages", "number", "wall time (s)", "median (s)", "longest (s)")
    slowest = sorted(done, key=lambda entry: -entry.seconds)[:_SLOWEST]
    slow = [(entry.label or entry.id, Number(f"{entry.seconds:.1f}", entry.seconds, "bar")) for entry in slowest]
    tables = [Table(caption, header, tuple(lines))]
    return [*tables, Table("The slowest stages", ("stage", "wall time (s)"), tuple(slow))] if slow else tables


def trainings(plan: Document, stages: Mapping[str, Entry]) -> tuple[Table | None, Table | None]:
    """How the trainings that are done went, task by task: those on text alone, and the others."""
    parts: dict[bool, list[Entry]] = {True: [], False: []}
    for entry in stages.values():
        if entry.declaration["kind"] == "train" and entry.record:
            steps = chain(plan, {"model": {"stage": entry.id}})
            parts[training(steps)["base"] == entry.id].append(entry)
    text, rest = (_trainings(found, is_text) if found else None for is_text, found in parts.items())
    return text, rest


def _trainings(found: Sequence[Entry], is_text: bool) -> Table:
    header = ("task", "steps", "tokens", "first loss", "last loss", "loss", "dev", "majority class")
    what = "Masked language modelling" if is_text else "Intermediate and target training"
    some = f", the first {MAX_TRAININGS} of {len(found)}" if len(found) > MAX_TRAININGS else ""
    how = "loss in nats, its mean over the first tenth of the steps and over the last, and its course, drawn from 0"
    lines = tuple(line for entry in found[:MAX_TRAININGS] for line in _training(entry))
    return Table(f"{what}{some}; {how}", header, lines)


def _training(entry: Entry) -> Iterator[str | tuple[Cell, ...]]:
    names, result = entry.declaration["mixture"]["tasks"], entry.result
    facts = [f"seed {entry.declaration['seed']}", duration(entry.seconds)]
    facts += [f"{result['tokens_per_second']:,.0f} tokens/s"] if "tokens_per_second" in result else []
    yield f"{'+'.join(names)}{' †' * _collapsed(entry)}: {', '.join(facts)}"
    losses = _losses(entry.folder / "log.jsonl")
    for name in names:
        own, about = losses.get(name, []), result.get("tasks", {}).get(name, {})
        tenth, dev = max(1, len(own) // 10), about.get("dev", {})
        where = " (training rows)" if dev.get("on") == "train" else ""
        score = f"loss {dev['loss']:.2f}" if "loss" in dev else f"{percent(dev.get('accuracy'))} %" if dev else MISSING
        yield (
            name,
            *(f"{about[count]:,}" if count in about else MISSING for count in ("steps", "tokens")),
            *(f"{statistics.fmean(part):.2f}" if part else MISSING for part in (own[:tenth], own[-tenth:])),
            Spark(tuple(_binned(own))) if own else MISSING,
            score + where,
            f"{percent(dev['majority_share'])} %" if "majority_share" in dev else MISSING,
        )
    for name in names:
        dev = result.get("tasks", {}).get(name, {}).get("dev", {})
        if len(losses_of := dev.get("loss_by_language", {})) > 1:
            spelled = ", ".join(f"{code} {loss:.2f}" for code, loss in losses_of.items())
            yield f"{name}, loss by language on {dev['on']} rows: {spelled}"


def _losses(log: Path) -> dict[str, list[float]]:
    """The loss of every step by its task, none where there is no log."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    if log.is_file():
        with log.open() as stream:
            for line in map(json.loads, stream):
                if "loss" in line:
                    found[line["task"]].append(line["loss"])
    return found


def _binned(values: Sequence[float]) -> Iterator[float]:
    """Means of at most `_POINTS` runs of values, as long as one another to the nearest value."""
    count = min(_POINTS, len(values))
    bounds = [round(number * len(values) / count) for number in range(count + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield math.fsum(values[start:stop]) / (stop - start)


# -- what it was run with ---------------------------------------------------------------------------------


def versions(stages: Mapping[str, Entry]) -> Table:
    """Software and machine of the stages that are done."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in stages.values():
        if entry.record:
            for name, value in _flat(entry.record["environment"]):
                found[name][value] += 1
    lines = [
        (name, ", ".join(f"{value} ({count})" if len(values) > 1 else value for value, count in sorted(values.items())))
        for name, values in sorted(found.items())
    ]
    return Table(
        "Versions, and how many stages had each where they differ", ("software and machine", "version"), tuple(lines), 2
    )


def _flat(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif value not in ("", None):
            yield name, str(value)


def command(plan: Document) -> str:
    """The command that runs the study; a parameter without text has no spelling, so that it is left out."""
    words = [
        "xstilts",
        "run",
        plan["study"],
        *(f"{name}={value}" for name, value in plan["parameters"].items() if value),
    ]
    return shlex.join([*words, "--report", "report"])
