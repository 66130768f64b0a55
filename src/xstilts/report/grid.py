"""A study as a grid of starting models and targets: each cell has a value, or words that say why it has none."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from xstilts.spec import canonical_json
from xstilts.tasks import PROFILES, find
from xstilts.tasks.made import MINIATURE_OF

from .methods import method
from .profiles import Way, ways
from .rows import Chain, Document, chain, fit, how_measured, leaves, training, tuned
from .stats import Run, Section, held_out, is_miniature, read
from .views import View, reading, views

NO_PROFILE = "none"
"""Read every target as the report does where no profile covers it."""
NOT_PLANNED = "is not in the study"
NOT_DONE = "is not done, or has no score"
NO_SEED = "a seed that all trainings of a comparison share"
_STANDS_FOR = {mini: real for real, mini in reversed(MINIATURE_OF.items())}


def stands_for(task: str) -> str:
    """The task that a slice or a task of the miniature stands for; itself of any other."""
    return _STANDS_FOR.get(task) or find(task).slice_of or task


@dataclass(frozen=True)
class Start:
    """A model from which targets are trained, or which is measured as it stands.

    Attributes:
        model: its id.
        tasks: its intermediate tasks, sorted; those of masked language modelling apart.
        seed: of its last intermediate stage.
        stages: the declarations of its intermediate stages.
        facts: what `rows.training` says of them.
    """

    model: str
    tasks: tuple[str, ...]
    seed: int | None
    stages: tuple[Document, ...] = field(repr=False, compare=False)
    facts: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether it was trained in one stage on the English rows of its tasks, and in no other way."""
        return len(self.stages) == 1 and bool(self.tasks) and not self.differs

    @property
    def differs(self) -> frozenset[str]:
        """In what it is no plain training: masked language modelling, translated rows, something else."""
        found = {"mlm"} if self.facts["mlm"] else set()
        found |= {"translated"} if any("translated" in stage for stage in self.stages) else set()
        shared = any(
            "tasks_per_step" in s["mixture"] or "loss_balance" in s["recipe"] for s in self.stages if _alone(s)
        )
        other = len(self.stages) > 1 or any(not _alone(s) for s in self.stages) or self.facts["method"] or shared
        return frozenset(found | ({"other"} if other else set()))

    @property
    def key(self) -> tuple[tuple[str, ...], int | None]:
        """Tasks and seed."""
        return self.tasks, self.seed

    @property
    def name(self) -> str:
        """Its tasks and their number, in words."""
        return f"after {'+'.join(self.tasks) or 'no task'} (k = {len(self.tasks)})"


def _alone(stage: Document) -> bool:
    return "merged" not in stage


@dataclass(frozen=True)
class Target:
    """What is measured: a task in a split after its own training, if it has one, in one way of measuring."""

    task: str
    split: str
    trained_on: str
    protocol: str

    @property
    def stands_for(self) -> str:
        """The task of the benchmark."""
        return stands_for(self.task)


class Score(NamedTuple):
    """A value with the mark of a collapsed training, or no value and the reasons."""

    value: float | None
    is_collapsed: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One number a seed: a difference of two models' averages, or what is made of such.

    Attributes:
        values: by seed.
        collapsed: seeds whose number rests on a collapsed training.
        missing: cells that it needs and that have no value; with any there is no number to judge.
        num_subsets: different subsets of tasks that it rests on.
    """

    values: Mapping[int | None, float]
    collapsed: frozenset[int | None] = frozenset()
    missing: tuple[str, ...] = ()
    num_subsets: int = 1


def combined(parts: Sequence[tuple[float, Sample]], num_subsets: int | None = None) -> Sample:
    """The weighted sum of samples over the seeds that all of them have."""
    common = [seed for seed in parts[0][1].values if all(seed in sample.values for _, sample in parts)]
    values = {seed: math.fsum(weight * sample.values[seed] for weight, sample in parts) for seed in common}
    collapsed = frozenset(seed for _, sample in parts for seed in sample.collapsed)
    missing = tuple(dict.fromkeys(line for _, sample in parts for line in sample.missing))
    missing = missing or (() if values else (NO_SEED,))
    count = num_subsets or max(sample.num_subsets for _, sample in parts)
    return Sample(values, collapsed & frozenset(common), missing, count)


def mean_of(samples: Sequence[Sample]) -> Sample:
    """The mean of samples, which are of different subsets."""
    return combined([(1 / len(samples), sample) for sample in samples], len(samples))


def less(one: Sample, other: Sample) -> Sample:
    """A sample less another one, by seed."""
    return combined([(1.0, one), (-1.0, other)])


@dataclass(frozen=True)
class Grid:
    """The models that start from one base, measured and trained on one numeric path, read by one profile.

    Attributes:
        profile: its name, or `NO_PROFILE`.
        encoder: what the records call the encoder; empty without any.
        base: the id of the model at k = 0.
        way: the numeric paths of measuring and of training; the model at k = 0 is in every grid of its base.
        starts: all of them; the one at k = 0 first.
        variant: what sets the plain trainings of this grid apart from those of another one, if there are several.
        targets: those that the profile counts and that are shares, in the plan's order.
        others: the planned targets that the profile does not count.
        models: what is planned: a cell's models, by start, target and seed of the target's training.
        sections: the section and the view of a target that has rows.
        is_random: whether the encoder has random weights.
        marks: what sets all of it apart from a published experiment.
    """

    profile: str
    encoder: str
    base: str
    way: Way
    starts: tuple[Start, ...]
    variant: str
    targets: tuple[Target, ...]
    others: tuple[Target, ...]
    models: Mapping[tuple[str, Target, int | None], tuple[str, ...]] = field(repr=False)
    sections: Mapping[Target, tuple[Section, View]] = field(repr=False)
    is_random: bool
    marks: tuple[str, ...]

    @functools.cached_property
    def zero(self) -> Start:
        """The model at k = 0."""
        found = [start for start in self.starts if start.model == self.base]
        return found[0] if found else Start(self.base, (), None, (), {"mlm": "", "method": "", "budget": ""})

    @functools.cached_property
    def plain(self) -> dict[tuple[str, ...], dict[int | None, Start]]:
        """The plain trainings by tasks and seed, in the order of the plan; single tasks first."""
        found: dict[tuple[str, ...], dict[int | None, Start]] = {}
        for start in sorted(self.starts, key=lambda start: len(start.tasks)):
            if start.is_plain:
                found.setdefault(start.tasks, {})[start.seed] = start
        return found

    @functools.cached_property
    def _runs(self) -> dict[tuple[Target, str], Run]:
        return {
            (target, run.model): run
            for target, (section, _) in self.sections.items()
            for run in section.runs
            if self.way.holds(section, run)
        }

    def score(self, start: Start, target: Target, seed: int | None) -> Score:
        """The mean over a target's languages of a start under the seed of the target's training."""
        where = f"{target.task} under {self.profile} {start.name}, seed {_seeds(start.seed, seed)}"
        models = self.models.get((start.model, target, seed if target.trained_on else None), ())
        if len(models) != 1:
            why = f"has {len(models)} models that fit" if models else NOT_PLANNED
            return Score(None, problems=(f"{where}: {why}",))
        run = self._runs.get((target, models[0]))
        if run is None:
            return Score(None, problems=(f"{where}: {NOT_DONE}",))
        section, view = self.sections[target]
        value = section.mean(run, view.where, view.languages)
        if value is None:
            lacking = [code for code in view.languages if code not in section.scores(run, view.where)]
            return Score(None, problems=(f"{where}: lacks {' '.join(lacking) or 'every language'}",))
        return Score(value, run.collapsed)

    def model(self, start: Start, target: Target, seed: int | None) -> str | None:
        """The id of the model that a cell measures, ``None`` unless there is one."""
        models = self.models.get((start.model, target, seed if target.trained_on else None), ())
        return models[0] if len(models) == 1 else None

    def average(self, start: Start, targets: Sequence[Target], seed: int | None) -> Score:
        """The mean over targets of `score`; without a value unless all of them have one."""
        found = [self.score(start, target, seed) for target in targets]
        values = [score.value for score in found if score.value is not None]
        collapsed = any(score.is_collapsed for score in found)
        if len(values) < len(found) or not found:
            return Score(None, collapsed, tuple(line for score in found for line in score.problems))
        return Score(math.fsum(values) / len(values), collapsed)

    def target_seeds(self, start: Start, targets: Sequence[Target]) -> list[int | None]:
        """The seeds of the trainings for targets after a start, ``None`` where no target is trained for."""
        wanted = {target for target in targets if target.trained_on}
        found = {seed for model, target, seed in self.models if model == start.model and target in wanted}
        return [*sorted(seed for seed in found if seed is not None)] or [None]

    def difference(
        self, one: Mapping[int | None, Start], other: Mapping[int | None, Start], targets: Sequence[Target]
    ) -> Sample:
        """The average over targets of one training less that of another, paired by seed.

        Both are given by seed; a model at k = 0 has none and pairs with every seed. Several seeds of the targets'
        trainings after one model are averaged first: they are no independent pairs.
        """
        values: dict[int | None, float] = {}
        collapsed, missing = set(), []
        for seed, start in one.items():
            against = other.get(seed) or other.get(None)
            if against is None:
                continue
            found = []
            for own in self.target_seeds(start, targets):
                pair = [self.average(start, targets, own), self.average(against, targets, own)]
                missing += [line for score in pair for line in score.problems]
                if any(score.is_collapsed for score in pair):
                    collapsed.add(seed)
                if pair[0].value is not None and pair[1].value is not None:
                    found.append(pair[0].value - pair[1].value)
            if found:
                values[seed] = math.fsum(found) / len(found)
        if not values and not missing:
            missing.append(NO_SEED)
        return Sample(values, frozenset(collapsed), tuple(dict.fromkeys(missing)))

    def gain(self, tasks: tuple[str, ...], targets: Sequence[Target]) -> Sample:
        """The average over targets after the plain training on ``tasks`` less that at k = 0."""
        return self.difference(self.plain[tasks], {None: self.zero}, targets)


def _seeds(*seeds: int | None) -> str:
    return " then ".join(str(seed) for seed in seeds if seed is not None) or "–"


class _Cell(NamedTuple):
    """A planned model of a target: what it starts from, the seed of its last training, and the tasks that it read."""

    start: Start
    target: Target
    seed: int | None
    model: str
    has_stand_in: bool
    is_random: bool
    read: frozenset[str]


def grids(sections: Sequence[Section], plan: Document, profile: str) -> list[Grid]:
    """The grids of a study: one for each base, numeric path and variant of the plain training.

    Args:
        sections: of the study's report.
        plan: its plan; cells that are planned and not done are in a grid, without a value.
        profile: the profile whose cells are read, or `NO_PROFILE`.
    """
    found: list[Grid] = []
    by_base: dict[str, list[_Cell]] = defaultdict(list)
    for base, cell in _cells(plan, profile):
        by_base[base].append(cell)
    others = _not_counted(plan, profile)
    for base, cells in by_base.items():
        own = [section for section in sections if section.key["base"] == base]
        for way in _compared_ways(own, cells):
            found += _grids(profile, base, way, cells, own, others)
    return found


def _is_compared(start: Start) -> bool:
    return start.is_plain or (len(start.differs) == 1 and "other" not in start.differs)


def _compared_ways(sections: Sequence[Section], cells: Sequence[_Cell]) -> list[Way]:
    """The numeric paths of the models that are compared, or of all where there are none of these."""
    found = {(run.model, Way.of(section, run)) for section in sections for run in section.runs}
    compared = {cell.model for cell in cells if _is_compared(cell.start)}
    planned = {cell.model for cell in cells}
    own = {way for model, way in found if model in compared} or {way for model, way in found if model in planned}
    return ways(own) or [Way("", "")]


def _cells(plan: Document, profile: str) -> Iterator[tuple[str, _Cell]]:
    """What a plan asks for and a profile counts: every model of a target once, by its base."""
    for_targets = tuned(plan)
    protocols = {} if profile == NO_PROFILE else {(p.task, p.split): p for p in PROFILES[profile].protocols}
    apart = held_out(plan) if profile == NO_PROFILE else set[tuple[str, str]]()
    measured: dict[tuple[Any, ...], list[Document]] = {}
    for _, leaf in leaves(plan):
        place = leaf["task"], leaf["split"]
        if "translated" not in leaf and place not in apart and (profile == NO_PROFILE or place in protocols):
            key = (*place, how_measured(plan, leaf), canonical_json(leaf["model"]))
            measured.setdefault(key, []).append(leaf)
    for (task, split, how, _), own in measured.items():
        steps = chain(plan, own[0])
        facts = training(steps, task)
        num_targets = len(facts["target"].split(">")) if facts["target"] else 0
        before = Chain(steps.encoder, steps.trains[: len(steps.trains) - num_targets])
        targets = [train for _, train in steps.trains[len(before.trains) :]]
        has_stand_in = False
        if protocols:
            fitting = fit(protocols[task, split], steps.after_merge, steps.model in for_targets)
            if fitting is None or fitting.num_stages != num_targets:
                continue
            has_stand_in = bool(fitting.stand_ins)
        if method(targets) or any("translated" in train for train in targets):
            continue  # the training for the target is another method
        seed = facts["target_seed"] if num_targets else None
        target = Target(task, split, facts["target"], how)
        about = (has_stand_in, "tiny" in steps.encoder, frozenset(read(steps)))
        yield facts["base"], _Cell(_start(before), target, seed, steps.model, *about)


def _start(steps: Chain) -> Start:
    facts = training(steps)
    ids = [steps.encoder_id, *(id for id, _ in steps.trains)]
    stages = tuple(train for _, train in steps.trains[ids.index(facts["base"]) :])
    names = {name for stage in stages for name in stage["mixture"]["tasks"] if find(name).kind.name != "mlm"}
    return Start(steps.model, tuple(sorted(names)), facts["seed"], stages, facts)


def _not_counted(plan: Document, profile: str) -> tuple[Target, ...]:
    if profile == NO_PROFILE:
        return ()
    protocols = {(p.task, p.split) for p in PROFILES[profile].protocols}
    found = (Target(leaf["task"], leaf["split"], "", "") for _, leaf in leaves(plan))
    return tuple(dict.fromkeys(target for target in found if (target.task, target.split) not in protocols))


def _grids(
    profile: str,
    base: str,
    way: Way,
    cells: Sequence[_Cell],
    sections: Sequence[Section],
    others: tuple[Target, ...],
) -> Iterator[Grid]:
    whole = {cell.target.task for cell in cells if not cell.has_stand_in}
    cells = [cell for cell in cells if not (cell.has_stand_in and cell.target.task in whole)]
    models: dict[tuple[str, Target, int | None], tuple[str, ...]] = {}
    for cell in cells:
        key = (cell.start.model, cell.target, cell.seed)
        models[key] = (*models.get(key, ()), cell.model)
    targets = [target for target in dict.fromkeys(cell.target for cell in cells) if _is_share(target)]
    marks = _marks(profile, cells)
    shown = {}
    for target in targets:
        found = [(s, v) for s in sections if _is_of(s, target, way) and (v := _view(s, profile)) is not None]
        num_ways = len(found) if profile == NO_PROFILE else max(len(found), _num_ways(target, targets))
        if num_ways > 1:  # no cell has a value
            marks.append(f"{target.task} was measured in {num_ways} ways that must not be mixed")
        elif found:
            section, view = found[0]
            shown[target] = (reading(section, view), view)
            if view.scaled:
                marks.append(f"{target.task} at a layer scaled to {section.num_layers} layers")
            if len(view.languages) < len(view.official):
                marks.append(f"{target.task} in {len(view.languages)} of {len(view.official)} languages")
    starts = {cell.start.model: cell.start for cell in cells}
    count = Counter(model for model, _, _ in models)
    encoder = next((section.key["encoder"] for section in sections), "")
    for variant, own in _variants(list(starts.values()), count):
        yield Grid(
            profile, encoder, base, way, tuple(own), variant, tuple(targets), others, models, shown,
            cells[0].is_random, tuple(dict.fromkeys([*marks, *([variant] if variant else [])])),
        )  # fmt: skip


def _num_ways(target: Target, targets: Sequence[Target]) -> int:
    return sum(other.task == target.task for other in targets)


def _is_share(target: Target) -> bool:
    return find(target.task).metric not in ("perplexity", "loss")


def _is_of(section: Section, target: Target, way: Way) -> bool:
    key = section.key
    same = (key["task"], key["split"], key["target"], key["protocol"])
    return same == (target.task, target.split, target.trained_on, target.protocol) and (
        key["numeric_path"] == way.measured
    )


def _view(section: Section, profile: str) -> View | None:
    if profile == NO_PROFILE:
        own = section.key["metric"] == find(section.key["task"]).metric
        return views(replace(section, profiles={}))[0] if own else None
    return next((view for view in views(section) if profile in view.names), None)


def _variants(starts: Sequence[Start], count: Mapping[str, int]) -> Iterator[tuple[str, list[Start]]]:
    """Starts such that no two plain ones have the same tasks and seed.

    Where several have, those from which more targets are measured stay; where that does not decide, each way of
    training, by policy, budget and recipe, is one variant.
    """
    plain: dict[tuple[tuple[str, ...], int | None], list[Start]] = defaultdict(list)
    for start in starts:
        if start.is_plain:
            plain[start.key].append(start)
    kept = {key: [s for s in own if count[s.model] == max(count[o.model] for o in own)] for key, own in plain.items()}
    rest = [start for start in starts if not start.is_plain]
    if all(len(own) == 1 for own in kept.values()):
        yield "", [*rest, *(start for own in kept.values() for start in own)]
        return
    groups: dict[str, list[Start]] = defaultdict(list)
    for start in (start for own in kept.values() for start in own):
        groups[f"{start.facts['budget']}, {start.facts['policy']}, recipe {start.facts['recipe']}"].append(start)
    for name, own in groups.items():
        yield name, [*rest, *own]


def _marks(profile: str, cells: Sequence[_Cell]) -> list[str]:
    """What a reader must know with every verdict: what the numbers rest on."""
    named = {name for cell in cells for name in (cell.target.task, *cell.read)}
    slices = sorted(name for name in named if find(name).slice_of)
    marks = ["miniature"] if any(map(is_miniature, named)) else []
    marks += [f"stand-ins: {', '.join(slices)}"] if slices else []
    return [*marks, *(["no profile"] if profile == NO_PROFILE else [])]
