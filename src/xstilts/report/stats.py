"""From rows to runs, averages over languages and intervals over runs."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from xstilts.spec import canonical_json
from xstilts.tasks import benchmarks, find, with_members
from xstilts.tasks.task import Classify, Miniature, Search

from .rows import STAND_IN, TOGETHER, Chain, Document, chain, how_measured, leaves, training

if TYPE_CHECKING:
    import pyarrow as pa

CONFIDENCE = 0.95
SAME = 1e-12
"""An error below it, as a share of the values, is that of equal values summed in another order."""

Where = benchmarks.Cell


class Summary(NamedTuple):
    """Mean of independent runs with its two-sided Student-t interval; ``None`` where there is none."""

    mean: float | None
    low: float | None
    high: float | None
    num_runs: int


def summarise(values: Sequence[float]) -> Summary:
    """Mean and 95 % t interval over independent values, such as one a seed; no mean for none.

    No interval for fewer than two, nor for equal ones: what they vary by is not known. The t interval is taken since a
    percentile bootstrap of five values covers 83 % where 95 % is meant.
    """
    if not values:
        return Summary(None, None, None, 0)
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Summary(mean, None, None, 1)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    if error <= SAME * max(1, *map(abs, values)):
        return Summary(mean, None, None, len(values))
    half = _quantile(len(values) - 1) * error
    return Summary(mean, mean - half, mean + half, len(values))


def wilson(share: float, num_rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent rows (Wilson 1927): one run has no spread over runs."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    middle = (share + z * z / (2 * num_rows)) / (1 + z * z / num_rows)
    half = z * math.sqrt(share * (1 - share) / num_rows + z * z / (4 * num_rows**2)) / (1 + z * z / num_rows)
    return max(0.0, middle - half), min(1.0, middle + half)


@functools.cache
def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


@dataclass(frozen=True)
class Run:
    """One measured model: a subset of intermediate tasks under one seed, or the base model."""

    model: str
    k: int
    tasks: str
    mlm: str
    method: str
    policy: str
    budget: str
    recipe: str
    train_numeric_path: str
    seed: int | None
    target: str
    target_seed: int | None
    collapsed: bool
    distinct_k: int | None = None
    target_recipe: str = ""

    @property
    def name(self) -> str:
        """Its tasks, a dagger when a stage of it collapsed."""
        parts = [self.tasks or "none", *([f"with {self.mlm}"] if self.mlm else [])]
        parts += [f"then {self.target}"] if self.target else []
        return " ".join(parts) + (" †" if self.collapsed else "")


def tasks_of(run: Run) -> frozenset[str]:
    """A run's intermediate tasks, in whatever order; the name of a union of tasks may end with a plus."""
    return frozenset(re.split(r"[+>](?![+>]|$)", run.tasks))


def _trained(run: Run) -> tuple[str, ...]:
    """How a run was trained, in which runs of one series are alike."""
    return (run.policy.partition(TOGETHER)[0], run.budget, run.recipe, run.mlm, run.target_recipe)


_SORT = ("k", "policy", "budget", "recipe", "mlm", "target_recipe")
_ORDER = (
    "k",
    "tasks",
    "mlm",
    "method",
    "policy",
    "budget",
    "recipe",
    "train_numeric_path",
    "seed",
    "target",
    "target_recipe",
    "target_seed",
)


@dataclass(frozen=True)
class Section:
    """Numbers that may stand in one table: one task and split, one base model, one target training, one measuring.

    Attributes:
        key: the columns that are one value in the whole section.
        num_layers: the encoder's number of layers.
        runs: its models, smallest k first.
        languages: those planned for every one of its models, in the plan's order.
        cells: value by run, place and language.
        parts: the other numbers of the scores in the same order.
        profiles: names of the profiles that a cell belongs to, and whether to a slice's stand-in for their training.
        planned: number of models planned, by k, policy, budget, recipe, mlm and the target's recipe.
        num_examples: answers scored in all cells together.
        num_ties: those of them that the order of equally near candidates decided.
        num_candidates: rows measured, by language: for retrieval the number of candidates.
        miniature: whether anything its numbers rest on, its encoder included, is the embedded miniature.
        measurements: the stages that its numbers are of, by model.
        held_out: whether it is of dev rows to choose by, `held_out`, and so no target.
    """

    key: Mapping[str, Any]
    num_layers: int
    runs: tuple[Run, ...]
    languages: tuple[str, ...]
    cells: Mapping[tuple[str, Where], Mapping[str, float]] = field(repr=False)
    parts: Mapping[tuple[str, Where], Mapping[str, Mapping[str, float]]] = field(repr=False)
    profiles: Mapping[str, bool]
    planned: Mapping[tuple[Any, ...], int]
    num_examples: int
    num_ties: int
    num_candidates: Mapping[str, int]
    miniature: bool
    measurements: Mapping[str, Collection[str]] = field(default_factory=dict, repr=False)
    held_out: bool = False

    @property
    def kind(self) -> str:
        """The kind of its task."""
        return find(self.key["task"]).kind.name

    @property
    def in_percent(self) -> bool:
        """Whether a value is a share, which is printed in percent; perplexity and loss are not."""
        return self.key["metric"] not in ("perplexity", "loss")

    def chance(self, languages: Sequence[str]) -> float | None:
        """The accuracy of guessing, every answer equally often; ``None`` where that is not the metric."""
        if self.key["metric"] != "accuracy" or not languages:
            return None
        kind = find(self.key["task"]).kind
        if self.kind == "embed":
            return benchmarks.average({code: 1 / count for code, count in self.num_candidates.items()}, languages)
        return 1 / len(kind.labels) if isinstance(kind, Classify) else self.of_data("chance", languages)

    def of_data(self, part: str, languages: Sequence[str]) -> float | None:
        """The mean of a number that the scores repeat for every model, since it is the data's."""
        found = {code: parts[part] for cell in self.parts.values() for code, parts in cell.items() if part in parts}
        return benchmarks.average(found, languages) if languages else None

    @property
    def layers(self) -> tuple[int | None, ...]:
        """The layers that some run was measured at."""
        return tuple(sorted({where[0] for _, where in self.cells}, key=lambda layer: layer or 0))

    def scores(self, run: Run, where: Where) -> Mapping[str, float]:
        """A run's value by language at a layer, pooling and direction; empty when not measured there."""
        return self.cells.get((run.model, where), {})

    def mean(self, run: Run, where: Where, languages: Sequence[str]) -> float | None:
        """The mean over languages, ``None`` unless every one of them has a value."""
        return benchmarks.average(self.scores(run, where), languages) if languages else None

    @property
    def bases(self) -> tuple[Run, ...]:
        """The runs at k = 0 without mixed-in masked language modelling."""
        return tuple(run for run in self.runs if not run.k and not run.mlm)

    def pool(self, run: Run) -> frozenset[str]:
        """The intermediate tasks of all runs that were trained as a run was."""
        return self._pools.get(_trained(run), frozenset())

    @functools.cached_property
    def _pools(self) -> dict[tuple[str, ...], frozenset[str]]:
        found: dict[tuple[str, ...], frozenset[str]] = {}
        for run in self.runs:
            if run.k:
                found[_trained(run)] = found.get(_trained(run), frozenset()) | tasks_of(run)
        return found

    def bases_of(self, run: Run) -> tuple[Run, ...]:
        """Those after the same training for the target as a run's: two ways of that one have two k = 0."""
        return tuple(base for base in self.bases if base.target_recipe == run.target_recipe)

    def num_planned_bases(self, run: Run) -> int:
        """How many of those the plan asks for."""
        sorts = (dict(zip(_SORT, sort, strict=True)) | {"count": count} for sort, count in self.planned.items())
        own = ("k", "mlm", "target_recipe")
        return sum(s["count"] for s in sorts if [s[name] for name in own] == [0, "", run.target_recipe])


SECTION_KEY = (
    "study", "task", "split", "metric", "metric_version", "encoder_content", "tokenizer", "base", "start",
    "target", "protocol", "numeric_path",
)  # fmt: skip


def sections(table: pa.Table, plan: Document) -> list[Section]:
    """Group the rows of a study so that nothing is compared that must not be, in the plan's order.

    Two numeric paths, ways of measuring, base models, target training sets or metric versions are two sections.

    Raises:
        ValueError: when a cell has two values: two measurements of the same thing, or data of two contents.
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = (*SECTION_KEY, *Run.__dataclass_fields__, "stage", "encoder", "num_layers", "data_content")
    wheres = list(zip(*(table[name].to_pylist() for name in ("layer", "pooling", "direction")), strict=True))
    languages, values = table["language"].to_pylist(), table["value"].to_pylist()
    examples, ties = table["num_examples"].to_pylist(), table["num_ties"].to_pylist()
    parts, profiles = table["parts"].to_pylist(), table["profiles"].to_pylist()
    chosen_by = held_out(plan)
    for start, stop in _stages(table):
        facts = {name: table[name][start].as_py() for name in names}
        key = tuple(facts[name] for name in SECTION_KEY)
        fresh = {"facts": facts, "counts": [0, 0], "profiles": set()}
        fresh |= {name: {} for name in ("runs", "cells", "parts", "contents", "sizes", "measurements")}
        group = groups.setdefault(key, fresh)
        content = group["contents"].setdefault(languages[start], facts["data_content"])
        if content != facts["data_content"]:
            raise ValueError(
                f"{facts['task']}/{facts['split']} {languages[start]} was measured on two contents of "
                f"its data, {content[:12]} and {facts['data_content'][:12]}: they cannot stand in one column"
            )
        group["runs"][facts["model"]] = Run(**{name: facts[name] for name in Run.__dataclass_fields__})
        group["measurements"].setdefault(facts["model"], {})[facts["stage"]] = None
        for at in range(start, stop):
            cell = group["cells"].setdefault((facts["model"], wheres[at]), {})
            if languages[at] in cell:
                raise ValueError(
                    f"two values for {facts['task']}/{facts['split']} {languages[at]} of the model "
                    f"{facts['model']} at {wheres[at]}: expected one measurement"
                )
            cell[languages[at]] = values[at]
            if parts[at]:
                group["parts"].setdefault((facts["model"], wheres[at]), {})[languages[at]] = json.loads(parts[at])
            group["profiles"].update(profiles[at].split(";") if profiles[at] else ())
            group["sizes"][languages[at]] = examples[at]
            group["counts"][0] += examples[at]
            group["counts"][1] += ties[at] or 0
    found = []
    for key, group in groups.items():
        keyed = dict(zip(SECTION_KEY, key, strict=True)) | {"encoder": group["facts"]["encoder"]}
        common, planned, miniature = _planned(plan, keyed)
        runs = tuple(sorted(group["runs"].values(), key=order))
        marks = {name.removesuffix(STAND_IN): name.endswith(STAND_IN) for name in sorted(group["profiles"])}
        layers = group["facts"]["num_layers"]
        own = (*group["counts"], group["sizes"], miniature, group["measurements"])
        rest = (*own, (keyed["task"], keyed["split"]) in chosen_by)
        found.append(Section(keyed, layers, runs, common, group["cells"], group["parts"], marks, planned, *rest))
    return found


def held_out(plan: Document) -> set[tuple[str, str]]:
    """Task and split of dev rows of a bitext whose test rows a plan measures too: held out, to choose by."""
    measured = {(leaf["task"], leaf["split"]) for _, leaf in leaves(plan)}
    embedded = {task for task, split in measured if split == "test" and find(task).kind.name == "embed"}
    return {(task, split) for task, split in measured if split == "dev" and task in embedded}


def titles(sections: Sequence[Section]) -> list[str]:
    """A name for each of some sections: the task, a metric that is not its own, and what sets equal names apart.

    After which training is said where the task needs none.
    """
    keys, found = [section.key for section in sections], []
    for key in keys:
        task = find(key["task"])
        by = f" by {key['metric']}" * (key["metric"] != task.metric)
        found.append(f"{task.name}{by}" + f" after {key['target']}" * bool(key["target"] and task.is_retrieval))
    named = []
    for own, name in zip(keys, found, strict=True):
        same = [key for key, other in zip(keys, found, strict=True) if other == name]
        differ = (part for part in _APART if len({key[part] for key in same}) > 1)
        named.append(name + "".join(f", {own[part] or f'no {part}'}" for part in differ))
    return named


_APART = ("split", "encoder", "start", "target", "protocol", "numeric_path")


def order(run: Run) -> tuple[Any, ...]:
    """By what runs are sorted: smallest k first, then by what they differ in."""
    values = (getattr(run, name) for name in _ORDER)
    return (*(-1 if value is None else value for value in values), run.model)


def _stages(table: pa.Table) -> Iterator[tuple[int, int]]:
    """The bounds of each score document's rows, which follow one another with one stage and metric."""
    import numpy as np

    change = np.zeros(table.num_rows, dtype=bool)
    for name in ("stage", "metric"):
        codes = table[name].combine_chunks().dictionary_encode()
        change |= np.diff(codes.indices.to_numpy(), prepend=-1) != 0
    yield from itertools.pairwise([*np.flatnonzero(change).tolist(), table.num_rows])


def _planned(plan: Document, key: Document) -> tuple[tuple[str, ...], dict[tuple[Any, ...], int], bool]:
    """The languages planned for every model of a section, in order; its models by sort; `Section.miniature`."""
    wanted: dict[str, tuple[Any, dict[str, None]]] = {}
    miniature = is_miniature(key["task"])
    for _, leaf in leaves(plan):
        if (leaf["task"], leaf["split"], how_measured(plan, leaf)) != (key["task"], key["split"], key["protocol"]):
            continue
        model = canonical_json(leaf["model"])
        if model not in wanted:
            steps = chain(plan, leaf)
            wanted[model] = (training(steps, leaf["task"]), {})
            own = wanted[model][0]["base"] == key["base"]
            miniature = miniature or (own and any(map(is_miniature, read(steps))))
        wanted[model][1].update(dict.fromkeys(languages_of(leaf)))
    models = [
        (facts, languages)
        for facts, languages in wanted.values()
        if (facts["base"], facts["target"]) == (key["base"], key["target"])
    ]
    counts = Counter(tuple(facts[name] for name in _SORT) for facts, _ in models)
    common = (code for code in models[0][1] if all(code in languages for _, languages in models))
    return tuple(common), counts, miniature


def languages_of(leaf: Document) -> tuple[str, ...]:
    """The languages that a measurement has scores of: its own, or those of its queries."""
    kind = find(leaf["task"]).kind
    return kind.queries if isinstance(kind, Search) else (leaf["language"],)


def read(steps: Chain) -> Iterator[str]:
    """The tasks that a model was made from, the text of a tiny encoder's tokenizer included."""
    if tiny := steps.encoder.get("tiny"):
        yield tiny["text"]
    for _, train in steps.trains:
        yield from train["mixture"]["tasks"]


@functools.cache
def is_miniature(task: str) -> bool:
    """Whether a task, or one that it is made of, has the rows of the embedded miniature."""
    return any(isinstance(source, Miniature) for found in with_members(task) for source in found.sources)


@dataclass(frozen=True)
class Series:
    """Runs that differ in tasks and seed alone, so that a mean over them means something.

    The base runs belong to every series of a section whose target is trained as theirs, but for that of a control
    without tasks, which is no k = 0.
    """

    runs: tuple[Run, ...]
    policy: str = ""
    budget: str = ""
    recipe: str = ""
    mlm: str = ""
    train_numeric_path: str = ""
    target_recipe: str = ""

    @property
    def name(self) -> str:
        """What its runs share, in words; of the target's training only where the section has several."""
        parts = [f"{self.budget} in all" if self.budget.endswith(("examples", "steps")) else self.budget]
        parts += [
            "mixing " * (not self.policy.startswith("merged")) + self.policy,
            f"recipe {self.recipe}",
            f"trained on {self.train_numeric_path}",
        ]
        parts += [f"with {self.mlm}"] if self.mlm else []
        parts += [self.runs[-1].method] if self.runs and self.runs[-1].method else []
        last = f", target by recipe {self.target_recipe}" * bool(self.target_recipe)
        return (", ".join(parts) if self.policy else "no intermediate training") + last

    def planned(self, section: Section, k: int) -> int:
        """How many of its runs the plan asks for at ``k``."""
        own = self.runs[-1]
        if not k and self.runs[0] in section.bases:
            return section.num_planned_bases(own)
        policies = {self.policy, *([self.policy.partition(TOGETHER)[0]] if k == 1 else [])}
        rest = (self.budget, self.recipe, self.mlm, own.target_recipe)
        return sum(section.planned.get((k, one, *rest), 0) for one in policies)

    def by_k(self) -> dict[int, tuple[Run, ...]]:
        """Its runs by k, smallest first."""
        return {k: tuple(run for run in self.runs if run.k == k) for k in sorted({run.k for run in self.runs})}


def series(section: Section) -> list[Series]:
    """Split a section's runs into series, in their order; of base runs alone if there are no others.

    Runs of one task belong to every series that differs from theirs in how several tasks share the training.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in section.runs:
        if run not in section.bases:
            key = (run.policy, run.budget, run.recipe, run.mlm, run.train_numeric_path, run.target_recipe)
            groups.setdefault(key, []).append(run)
    recipes = dict.fromkeys(run.target_recipe for run in section.runs)
    named = {recipe: recipe * (len(recipes) > 1) for recipe in recipes}
    if not groups:
        return [
            Series(tuple(run for run in section.bases if run.target_recipe == recipe), target_recipe=name)
            for recipe, name in named.items()
        ]
    shared = {key: (key[0].partition(TOGETHER)[0], *key[1:]) for key in groups if TOGETHER in key[0]}
    first = {alone: [run for run in groups.get(alone, ()) if run.k == 1] for alone in shared.values()}
    for together, alone in shared.items():
        groups[together] = [*first[alone], *groups[together]]
    for plain, runs_of_one in first.items():
        if runs_of_one == groups.get(plain):
            del groups[plain]
    return [
        replace(
            Series((*(section.bases_of(runs[-1]) if runs[-1].k else ()), *runs), *key), target_recipe=named[key[-1]]
        )
        for key, runs in groups.items()
    ]


def values_at(section: Section, runs: Sequence[Run], where: Where, languages: Sequence[str]) -> list[float]:
    """The averages of those runs that have one."""
    return [mean for run in runs if (mean := section.mean(run, where, languages)) is not None]
