"""A plan and its records -> one tidy row for every score."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xstilts.spec import canonical_json, digest
from xstilts.stage import merged_by
from xstilts.store import Store
from xstilts.tasks import benchmarks, find, num_distinct

from .methods import is_mlm, method, num_before

if TYPE_CHECKING:
    import pyarrow as pa

Document = Mapping[str, Any]

STAND_IN = " (stand-in)"
IN_TRANSLATION = "in translation"
_NOT_HOW = ("tasks", "weights", "tasks_per_step")  # the last is in the policy, and one task alone has none
TOGETHER = "; "  # in a policy: what follows says how several tasks share the training
_STAGE_COLUMNS = {
    "study": "string",
    "stage": "string",
    "model": "string",
    "encoder": "string",
    "encoder_content": "string",
    "tokenizer": "string",
    "base": "string",
    "start": "string",
    "k": "int16",
    "distinct_k": "int16",
    "tasks": "string",
    "mlm": "string",
    "method": "string",
    "policy": "string",
    "budget": "string",
    "recipe": "string",
    "seed": "int64",
    "target": "string",
    "target_recipe": "string",
    "target_seed": "int64",
    "task": "string",
    "split": "string",
    "num_layers": "int16",
    "metric": "string",
    "metric_version": "int16",
    "collapsed": "bool",
    "protocol": "string",
    "numeric_path": "string",
    "train_numeric_path": "string",
    "data_content": "string",
}
_VALUE_COLUMNS = {
    "language": "string",
    "layer": "int16",
    "pooling": "string",
    "direction": "string",
    "value": "float64",
    "num_examples": "int32",
    "num_ties": "int32",
    "parts": "string",
    "profiles": "string",
}
COLUMNS = (*_STAGE_COLUMNS, *_VALUE_COLUMNS)
"""The columns of `rows`.

``model`` is the id of the last Train or Merge, or of the encoder. ``start`` says what came before the first
intermediate stage: stages of masked language modelling alone, or nothing; ``base`` is the id of that model,
the one at k = 0. ``k`` is the number of different intermediate tasks that are not masked language modelling, and
``distinct_k`` that of their data sets: tasks that share training rows are one (`tasks.num_distinct`). ``tasks`` are
those tasks, ``+`` between the tasks of one stage and ``>`` between stages, ``mlm`` the others that they were mixed
with. A merge counts as one stage on all tasks of the models that it merges, with a ``policy`` of its own. ``method`` is
what else sets the intermediate and target stages apart from plain ones, in words, and what they are a control for.
``policy``, ``budget`` and ``seed`` are those of the intermediate stages, empty without any. ``target`` and
``target_seed`` are those of the scored task's own trainings, ``>`` between them, ``target_recipe`` a digest of how they
were done, with their budget. ``recipe`` is a digest of how the intermediate and target stages were trained, tasks,
budget and seed apart. ``collapsed`` says that a stage of the chain stayed at the majority class. ``protocol`` says how
it was measured, ``numeric_path`` is that of the measurement, ``train_numeric_path`` that of the chain. ``language`` is
that of the queries where one measurement asks in several. ``value`` is an unrounded fraction, ``parts`` are the other
numbers of its score as JSON. ``profiles`` names the protocol profiles that this row is a cell of, with ``(stand-in)``
where the model was trained on a slice of the training set that the profile asks for. Where rows were translated,
``policy`` and ``target`` say to which languages, and ``protocol`` if those measured were.
"""


class Chain(NamedTuple):
    """What the stages before a measurement were.

    Attributes:
        encoder: the declaration of the encoder.
        trains: (id, declaration) of the trainings, first trained first; a merge is one of them, see `_merged`.
    """

    encoder: Document
    trains: tuple[tuple[str, Document], ...]

    @property
    def after_merge(self) -> list[Document]:
        """Its trainings after the last merge, which leaves no head of what was trained before."""
        after = itertools.takewhile(lambda train: "merged" not in train, (train for _, train in self.trains[::-1]))
        return list(after)[::-1]

    @property
    def stages(self) -> list[str]:
        """The ids of all trainings and merges, those of merged models included."""
        return list(dict.fromkeys(id for own, train in self.trains for id in (*train.get("merged", ()), own)))

    @property
    def encoder_id(self) -> str:
        """The encoder's id."""
        return f"{self.encoder['kind']}-{digest(canonical_json(self.encoder))}"

    @property
    def model(self) -> str:
        """The id of the model that was measured."""
        return self.trains[-1][0] if self.trains else self.encoder_id


def leaves(plan: Document) -> Iterator[tuple[str, Document]]:
    """The measurements of a plan, ``(id, declaration)``, in its order."""
    for id in plan["leaves"]:
        declaration = plan["stages"][id]["declaration"]
        if declaration["kind"] == "evaluate":
            yield id, declaration


def chain(plan: Document, declaration: Document) -> Chain:
    """Follow a measurement's model back to its encoder, through the declarations of a plan.

    Those of the stages that translate stand in the place of their ids.
    """
    trains: list[tuple[str, Document]] = []
    model = declaration["model"]
    while "stage" in model:
        train = plan["stages"][model["stage"]]["declaration"]
        if train["kind"] == "merge":
            id = model["stage"]  # it says all that is read here, whatever the plan
            train = _merges[id] if id in _merges else _merges.setdefault(id, _merged(plan, train))
        elif "translated" in train:
            made = [plan["stages"][one["stage"]]["declaration"] for one in train["translated"]]
            train = {**train, "translated": made}
        if control := plan["stages"][model["stage"]].get("control"):
            train = {**train, "control": control}
        trains.insert(0, (model["stage"], train))
        model = train["start"]
    return Chain(model, tuple(trains))


_merges: dict[str, Document] = {}


def _merged(plan: Document, merge: Document) -> Document:
    """A merge in the form of a training: its models' trainings since its start as one, on all of their tasks.

    ``merged`` are the ids of those trainings.
    """
    start = len(chain(plan, {"model": merge["start"]}).trains)
    steps = [chain(plan, {"model": model}) for model in merge["models"]]
    own = [train for model in steps for train in model.trains[start:]]
    trains = [train for _, train in own]
    seeds = {train["seed"] for train in trains}
    how = {name: merge[name] for name in ("method", "scale", "density", "held_out") if name in merge}
    return {
        "start": merge["start"],
        "merged": [id for model in steps for id in Chain(model.encoder, model.trains[start:]).stages],
        "mixture": {"tasks": sorted({task for train in trains for task in train["mixture"]["tasks"]})},
        "policy": f"merged by {merged_by(merge)}",
        "method": ", ".join(dict.fromkeys(filter(None, (method([train]) for train in trains)))),
        "budget": " or ".join(sorted({f"{_budget(train)} a model" for train in trains})),
        "recipe": [canonical_json(how), *sorted({canonical_json(_how(train)) for train in trains})],
        "seed": seeds.pop() if len(seeds) == 1 else None,
    }


def tuned(plan: Document) -> frozenset[str]:
    """The models that the plan measures on the task of their last training and that no such training starts from.

    What they say of a task without training is the model after another task's, so that no profile counts it.
    """
    models: set[str] = set()
    starts: set[str] = set()
    measured = {(canonical_json(leaf["model"]), leaf["task"]): leaf for _, leaf in leaves(plan)}
    for leaf in measured.values():
        steps = chain(plan, leaf)
        if training(steps, leaf["task"])["target"]:
            models.add(steps.model)
            starts.update(id for id, _ in steps.trains[:-1])
    return frozenset(models - starts)


def missing(store: Store, plan: Document) -> list[tuple[str, str]]:
    """The stages that a report lacks, ``(id, label)`` in the plan's order.

    These are the measurements that are not done and the stages they wait for; a Train that is not here but
    whose measurements are (as after an import of records) is not missing.
    """
    lacking: set[str] = set()
    waiting = [id for id in plan["leaves"]]
    while waiting:
        id = waiting.pop()
        if id not in lacking and not store.exists(id):
            lacking.add(id)
            waiting.extend(plan["stages"][id]["inputs"])
    return [(id, stage.get("label", "")) for id, stage in plan["stages"].items() if id in lacking]


def unscored(store: Store, plan: Document, table: pa.Table) -> list[tuple[str, str]]:
    """The measurements that are done but have no row in ``table``, since they have no score: ``(id, label)``."""
    scored = set(table["stage"].unique().to_pylist())
    lacking = (id for id, _ in leaves(plan) if id not in scored and store.exists(id))
    return [(id, plan["stages"][id].get("label", "")) for id in lacking]


def rows(store: Store, plan: Document) -> pa.Table:
    """Join a plan's records and scores into one table with the columns `COLUMNS`.

    A stage that is not done makes no row. Of a metric's versions the latest one is taken.

    Raises:
        ValueError: when a record is broken, or names a task that is not known.
    """
    import pyarrow as pa

    record_of = functools.cache(store.record)
    stages: dict[str, list[Any]] = {name: [] for name in _STAGE_COLUMNS}
    values: dict[str, list[Any]] = {name: [] for name in _VALUE_COLUMNS}
    counts: list[int] = []
    for_targets = tuned(plan)
    for id, declaration in leaves(plan):
        if not store.exists(id):
            continue
        facts: dict[str, Any] | None = None
        for document in _latest(store.scores(id).values()):
            facts = facts or _facts(store, plan, id, declaration, record_of)
            facts |= {"metric": document["metric"], "metric_version": document["version"]}
            for name, column in stages.items():
                column.append(facts[name])
            profiles = {} if "translated" in declaration else _profiles(
                facts["task"], facts["split"], facts["metric"], facts["num_layers"],
                chain(plan, declaration).after_merge, facts["model"] in for_targets,
            )  # fmt: skip
            counts.append(len(document["values"]))
            for value in document["values"]:
                row = {"language": declaration["language"], **value}
                covered = profiles.get((row.get("layer"), row.get("pooling"), row.get("direction")), {})
                row["profiles"] = ";".join(name for name, codes in covered.items() if row["language"] in codes)
                row["parts"] = _parts(value)
                for name, column in values.items():
                    column.append(row.get(name))
    repeat = _repeated(counts)
    arrays = [pa.array(stages[name], _type(kind)).take(repeat) for name, kind in _STAGE_COLUMNS.items()]
    arrays += [pa.array(values[name], _type(kind)) for name, kind in _VALUE_COLUMNS.items()]
    return pa.table(arrays, names=list(COLUMNS))


def write(table: pa.Table, folder: Path) -> list[Path]:
    """Write the rows as ``rows.parquet`` and ``rows.csv``."""
    import pyarrow.csv
    import pyarrow.parquet

    parquet, csv = folder / "rows.parquet", folder / "rows.csv"
    pyarrow.parquet.write_table(table, parquet, compression="zstd")
    pyarrow.csv.write_csv(table, csv)
    return [parquet, csv]


def _type(kind: str) -> pa.DataType:
    import pyarrow as pa

    return pa.type_for_alias(kind)


def _repeated(counts: Sequence[int]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    return pa.array(np.repeat(np.arange(len(counts)), counts))


def _latest(documents: Any) -> list[Document]:
    latest: dict[str, Document] = {}
    for document in sorted(documents, key=lambda document: (document["metric"], document["version"])):
        latest[document["metric"]] = document
    return list(latest.values())


def _facts(store: Store, plan: Document, id: str, declaration: Document, record_of: Any) -> dict[str, Any]:
    record = record_of(id)
    steps = chain(plan, declaration)
    trained = [record_of(train) for train in steps.stages if store.exists(train)]
    paths = dict.fromkeys(other["environment"]["numeric_path"] for other in trained)
    tiny = steps.encoder.get("tiny")
    return training(steps, declaration["task"]) | {
        "study": plan["study"],
        "stage": id,
        "model": steps.model,
        "encoder": record["names"].get("encoder", ""),
        "encoder_content": steps.encoder["content"] + (f" tiny {digest(canonical_json(tiny))[:8]}" if tiny else ""),
        "tokenizer": record["result"]["tokenizer_fingerprint"],
        "task": declaration["task"],
        "split": declaration["split"],
        "num_layers": record["result"]["num_layers"],
        "collapsed": any(other["result"].get("collapsed", False) for other in trained),
        "protocol": how_measured(plan, declaration),
        "numeric_path": record["environment"]["numeric_path"],
        "train_numeric_path": ";".join(paths),
        "data_content": "+".join(data["content"] for data in declaration["data"]),
    }


def training(steps: Chain, task: str | None = None) -> dict[str, Any]:
    """Split a chain into what it starts from, its intermediate stages and, with a scored task, its own trainings."""
    ids = [steps.encoder_id, *(id for id, _ in steps.trains)]
    trains = [declaration for _, declaration in steps.trains]
    begin = num_before(trains)
    after = Chain(steps.encoder, steps.trains[begin:]).after_merge
    own = _num_targets(task, [train["mixture"]["tasks"] for train in after]) if task else 0
    stages, targets = trains[begin : len(trains) - own], trains[len(trains) - own :]
    mixtures = [train["mixture"]["tasks"] for train in stages]
    names = [[name for name in mixture if not is_mlm(name)] for mixture in mixtures]
    how = [_how(train) for train in trains[begin:]]
    how[: len(stages)] = _once(how[: len(stages)])
    last = [[_how(train), _budget(train)] for train in targets]
    return {
        "base": ids[begin],
        "start": " > ".join(
            f"{'+'.join(train['mixture']['tasks'])} ({_budget(train)}, seed {train['seed']})"
            for train in trains[:begin]
        ),
        "k": len({name for stage in names for name in stage}),
        "distinct_k": num_distinct({name for stage in names for name in stage}),
        "tasks": ">".join("+".join(stage) for stage in names if stage),
        "mlm": "+".join(sorted({name for mixture in mixtures for name in mixture if is_mlm(name)})),
        "method": method(stages, targets),
        "policy": " > ".join(_once(list(map(_policy, stages))))
        + f"{TOGETHER}one stage after another" * (len(stages) > 1),
        "budget": _budgets(stages),
        "recipe": digest(canonical_json(how))[:8] if how else "",
        "seed": stages[-1]["seed"] if stages else None,
        "target": ">".join("+".join(train["mixture"]["tasks"]) + _also(train) for train in targets),
        "target_recipe": digest(canonical_json(last))[:8] if last else "",
        "target_seed": targets[-1]["seed"] if targets else None,
    }


def _how(train: Document) -> Document:
    """How a training was done: tasks, budget and seed apart."""
    mixture = {key: value for key, value in train["mixture"].items() if key not in _NOT_HOW}
    return {"recipe": train["recipe"], "mixture": mixture} | _translations(train)


def _translations(train: Document) -> dict[str, Any]:
    """Into which languages a training's rows were translated and by what; nothing where they were not."""
    if "translated" not in train:
        return {}
    how = {canonical_json([one["target"], one["translator"]]) for one in train["translated"]}
    return {"translated": sorted(how), "keep_source": train.get("keep_source", True)}


def _once(values: list[Any]) -> list[Any]:
    """One value where all are the same, as in a sequence of tasks that are trained on alike."""
    return values[:1] if all(value == values[0] for value in values) else values


def _budgets(stages: Sequence[Document]) -> str:
    """The sum of budgets in one unit but epochs, which are each task's own."""
    if any("merged" in train for train in stages):
        return " > ".join(map(_budget, stages))
    budgets = [train["budget"] for train in stages]
    units = {budget["unit"] for budget in budgets}
    if len(units) == 1 and units <= {"examples", "steps"}:
        return _budget({"budget": {"amount": sum(b["amount"] for b in budgets), "unit": units.pop()}})
    return " > ".join(_once(list(map(_budget, stages))))


def _budget(train: Document) -> str:
    if "merged" in train:
        return str(train["budget"])
    amount, unit = train["budget"]["amount"], train["budget"]["unit"]
    return f"{amount:g} {unit.removesuffix('s') if amount == 1 else unit}"


def _policy(train: Document) -> str:
    if "merged" in train:
        return str(train["policy"])
    mixture = train["mixture"]
    detail = {
        "capped": f" at {mixture['cap']}",
        "temperature": f" {mixture['temperature']:g}, cap {mixture['cap']}",
        "explicit": f" {':'.join(f'{weight:g}' for weight in mixture['weights'])}",
    }.get(mixture["policy"], "")
    sized = mixture["policy"] in ("proportional", "capped", "temperature")
    text = f", {mixture['text_share']:.0%} text" if "text_share" in mixture else ""
    balance = train["recipe"].get("loss_balance", "")
    each = mixture.get("tasks_per_step", "")
    return "".join((
        mixture["policy"], detail, f", {mixture['sizes']} sizes" if sized else "", text, _also(train),
        f", losses by {balance}" if balance else "", f"{TOGETHER}{each} tasks in a step" if each else "",
    ))  # fmt: skip


def _also(train: Document) -> str:
    """Into which languages the rows were translated and by what, in words."""
    if "translated" not in train:
        return ""
    codes, by = (
        {one["target"] for one in train["translated"]},
        {one["translator"]["kind"] for one in train["translated"]},
    )
    how = "also" if train.get("keep_source", True) else "instead"
    return f", {how} in {' '.join(sorted(codes))} by {' '.join(sorted(by))}"


def _num_targets(task: str, mixtures: Sequence[Sequence[str]]) -> int:
    """How many of the last trainings are the scored task's own: its training source, and what comes before that one."""
    declared = find(task)
    sources = [{name} for name in declared.trained_before]
    sources.append({name for name in (task, declared.trained_by, declared.slice_of) if name})
    own = 0
    for mixture, wanted in zip(reversed(mixtures), reversed(sources), strict=False):
        if not all(name in wanted or find(name).slice_of in wanted for name in mixture):
            break
        own += 1
    return own


def how_measured(plan: Document, declaration: Document) -> str:
    """The column ``protocol`` of a measurement."""
    threads = declaration["num_threads"]
    parts = [f"{declaration['max_tokens']} tokens", declaration["precision"]]
    parts.append(f"{threads} thread{'s' * (threads > 1)}")
    if prefix := (declaration["views"] or {}).get("prefix"):
        parts.append(f"prefix {prefix!r}")
    if "translated" in declaration:
        made = plan["stages"][declaration["translated"]["stage"]]["declaration"]
        by = f"{made['translator']['kind']} {digest(canonical_json(made['translator']))[:8]}"
        parts.append(f"{IN_TRANSLATION} to {made['target']} by {by}")
    return ", ".join(parts)


def _profiles(
    task: str, split: str, metric: str, num_layers: int, trains: Sequence[Document], is_tuned: bool
) -> dict[benchmarks.Cell, dict[str, tuple[str, ...]]]:
    """The names of the profiles and the languages that they count, by the cell that they read."""
    cells: dict[benchmarks.Cell, dict[str, tuple[str, ...]]] = {}
    for profile in benchmarks.PROFILES.values():
        for protocol in profile.protocols:
            if (protocol.task, protocol.split, protocol.metric) == (task, split, metric):
                if (found := fit(protocol, trains, is_tuned)) is None:
                    continue
                name = profile.name + STAND_IN * bool(found.stand_ins)
                cells.setdefault(protocol.cell(num_layers)[0], {})[name] = protocol.languages
    return cells


class Fit(NamedTuple):
    """How a model was trained for a protocol.

    Attributes:
        num_stages: how many of its last stages are the training that the protocol asks for.
        stand_ins: slices that it was trained on in place of the whole.
    """

    num_stages: int
    stand_ins: tuple[str, ...]


def fit(protocol: benchmarks.Protocol, trains: Sequence[Document], is_tuned: bool) -> Fit | None:
    """Whether a model was trained right before it was measured on what a protocol asks for, and on nothing else.

    Training on translations of it is another protocol (translate-train).

    Args:
        protocol: what is asked for.
        trains: the declarations of its stages, first trained first.
        is_tuned: whether it is a model of another task, see `tuned`.
    """
    wanted = protocol.trained_by
    if not wanted:
        return None if is_tuned else Fit(0, ())
    last = [train["mixture"]["tasks"] for train in trains[-len(wanted) :]]
    if len(last) < len(wanted) or any("translated" in train for train in trains[-len(wanted) :]):
        return None
    others = [(whole, name) for whole, names in zip(wanted, last, strict=True) for name in names if name != whole]
    if any(find(name).slice_of != whole for whole, name in others):
        return None
    return Fit(len(wanted), tuple(name for _, name in others))


def _parts(value: Document) -> str:
    """The numbers of a score that have no column of their own, as JSON; nothing for none."""
    others = [name for name in value if name not in _VALUE_COLUMNS]
    numbers = {name: value[name] for name in others if isinstance(value[name], int | float)}
    return canonical_json(numbers) if numbers else ""
