"""Benchmarks: every model's task means and their mean under each profile, from the sections of the tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xstilts.spec import canonical_json
from xstilts.tasks import PROFILES, Profile, Protocol, average

from .blocks import Block, Cell, Facts, Fold, Heading, Items, Number, Table, Text, code
from .rows import IN_TRANSLATION, Chain, Document, chain, fit, leaves, training, tuned
from .stages import listed
from .stats import Run, Section, Series, languages_of, order
from .tables import FOOTNOTE, percent, points, seeds

MAX_OPEN = 20


class Score(NamedTuple):
    """A model's mean over a task's languages.

    Attributes:
        value: the mean; ``None`` for none.
        parts: the means of the numbers that make it up, where they are several.
        stand_ins: slices the model was trained on in place of what the protocol asks for.
        collapsed: whether a training stage of the model stayed at the majority class.
        problem: why there is no value.
    """

    value: float | None
    parts: tuple[float, ...] = ()
    stand_ins: tuple[str, ...] = ()
    collapsed: bool = False
    problem: str = ""

    @property
    def text(self) -> str:
        """The value in percent with its parts and its marks."""
        parts = f" ({'/'.join(map(percent, self.parts))})" * bool(self.parts)
        return percent(self.value) + parts + " ‡" * bool(self.stand_ins) + " †" * self.collapsed


class Way(NamedTuple):
    """The numeric paths of measuring and of training; no two of either stand in one table."""

    measured: str
    trained: str

    @staticmethod
    def of(section: Section, run: Run) -> Way:
        """That of a run; which embedding rows were in use follows from its declaration and is no part of it."""
        paths = {path.removesuffix("-rows") for path in run.train_numeric_path.split(";")}
        return Way(section.key["numeric_path"], ";".join(sorted(paths)))

    def holds(self, section: Section, run: Run) -> bool:
        """Whether a run of a section was measured and trained so; the model at k = 0 is beside all of its base."""
        if run.model == section.key["base"]:
            return bool(section.key["numeric_path"] == self.measured)
        return self.of(section, run) in (self, self._replace(trained=""))


def ways(found: Collection[Way]) -> list[Way]:
    """Those that tables are made of: models without training stand beside the trained ones that were measured so."""
    trained = {way.measured for way in found if way.trained}
    return sorted(way for way in found if way.trained or way.measured not in trained)


@dataclass(frozen=True)
class Board:
    """A profile's scores of the models on one base.

    Attributes:
        profile: the profile.
        protocols: those of its tasks that some model is measured on in all languages.
        partial: the number of languages measured of those tasks that no model is measured on in all.
        lines: a starting model under one seed of the trainings for the tasks, and its scores by task.
    """

    profile: Profile
    protocols: tuple[Protocol, ...]
    partial: Mapping[str, int]
    lines: tuple[tuple[Run, Mapping[str, Score]], ...]

    def mean(self, scores: Mapping[str, Score]) -> Score:
        """The benchmark's score of a line."""
        means = {task: score.value for task, score in scores.items() if score.value is not None}
        value = self.profile.mean(means)
        if value is None:
            return Score(None)
        stand_ins = tuple(name for task in means for name in scores[task].stand_ins)
        return Score(value, (), stand_ins, any(scores[task].collapsed for task in means))

    def change(self, scores: Mapping[str, Score], task: str = "") -> float | None:
        """A line's score of a task, or of the benchmark, less the mean over the lines at k = 0.

        ``None`` unless all of those have the score, of the same tasks and after the same trainings.
        """
        tasks = (task,) if task else tuple(scores)
        bases = [found for run, found in self.lines if is_base(run)]
        if not bases or any(self._basis(found, tasks) != self._basis(scores, tasks) for found in bases):
            return None
        own, *values = (found[task].value if task else self.mean(found).value for found in (scores, *bases))
        known = [value for value in values if value is not None]
        return None if own is None or len(known) < len(bases) else own - sum(known) / len(known)

    @staticmethod
    def _basis(scores: Mapping[str, Score], tasks: Sequence[str]) -> list[tuple[bool, tuple[str, ...]]]:
        return [(scores[task].value is None, scores[task].stand_ins) for task in tasks]


def is_base(run: Run) -> bool:
    """Whether a line is one at k = 0."""
    return not run.k and not run.mlm


class Candidate(NamedTuple):
    """A planned model that fits a protocol: its id, its `Score.stand_ins` and the languages it is measured in."""

    model: str
    stand_ins: tuple[str, ...]
    languages: frozenset[str]


@dataclass(frozen=True)
class Origin:
    """A starting model, and what fits each task by the seed of the last training, ``None`` without training."""

    run: Run
    found: dict[int | None, dict[str, list[Candidate]]] = field(default_factory=lambda: defaultdict(dict))


def benchmark_tables(sections: Sequence[Section], plan: Document) -> Iterator[Block]:
    """A table for every profile of which the study measures a whole task, by base model and numeric path."""
    blocks: list[Block] = []
    for_targets = tuned(plan)
    for base, key in {section.key["base"]: section.key for section in sections}.items():
        own = [section for section in sections if section.key["base"] == base]
        measured = [(section, run) for section in own for run in section.runs]
        trained = [(section, run) for section, run in measured if run.model != base] or measured
        paths = ways({Way.of(*one) for one in trained})
        for profile in PROFILES.values():
            origins = _origins(profile, plan, base, for_targets)
            for way in paths:
                found = board(profile, origins, own, way)
                scores = [score for _, by_task in found.lines for score in by_task.values()]
                if scores and (len(paths) == 1 or any(score.value is not None for score in scores)):
                    of_start = f" from {key['start']}" * bool(key["start"])
                    path = f", trained on {way.trained or 'nothing'}, measured on {way.measured}" * (len(paths) > 1)
                    blocks.append(Heading(3, f"Profile {code(profile.name)}, {key['encoder']}{of_start}{path}"))
                    blocks += _rendered(found, own)
    if blocks:
        yield Heading(2, "Benchmarks")
        yield Text(
            "A task's number is its mean over all languages that the profile counts. A model counts only where its "
            "last training is what the profile asks for; models that start from one model with one seed share a line."
        )
        yield from blocks


def board(profile: Profile, origins: Sequence[Origin], sections: Sequence[Section], way: Way) -> Board:
    """The scores of planned models under a profile; a task that two models of a line fit has none there."""
    planned: dict[str, list[frozenset[str]]] = defaultdict(list)
    for origin in origins:
        for by_task in origin.found.values():
            for task, models in by_task.items():
                planned[task] += [model.languages for model in models]
    whole = tuple(p for p in profile.protocols if any(set(p.languages) <= codes for codes in planned[p.task]))
    partial = {
        p.task: max(len(codes & {*p.languages}) for codes in planned[p.task])
        for p in profile.protocols
        if planned[p.task] and p not in whole
    }
    runs: list[Run] = []
    fitting: list[Mapping[str, list[Candidate]]] = []
    for origin in origins:
        as_it_stands = origin.found.get(None, {})
        path = way.trained if not is_base(origin.run) else ""
        seeds_of: list[int | None] = [*sorted(seed for seed in origin.found if seed is not None)]
        for seed in seeds_of or [None]:
            runs.append(Run(**{**vars(origin.run), "target_seed": seed, "train_numeric_path": path}))
            fitting.append(as_it_stands | origin.found.get(seed, {}))
    columns = {p.task: _column(p, [found.get(p.task, []) for found in fitting], sections, way) for p in whole}
    lines = [(run, {task: scores[at] for task, scores in columns.items()}) for at, run in enumerate(runs)]
    return Board(profile, whole, partial, tuple(line for line in lines if any(s != _ABSENT for s in line[1].values())))


_ABSENT = Score(None, problem="is not in the study")


def _origins(profile: Profile, plan: Document, base: str, for_targets: Collection[str]) -> list[Origin]:
    """The starting models on a base with the planned models that fit the profile's tasks, k = 0 first."""
    protocols = {(protocol.task, protocol.split): protocol for protocol in profile.protocols}
    measured: dict[tuple[str, str], list[Document]] = defaultdict(list)
    for _, leaf in leaves(plan):
        if (leaf["task"], leaf["split"]) in protocols and "translated" not in leaf:
            measured[leaf["task"], canonical_json(leaf["model"])].append(leaf)
    origins: dict[str, Origin] = {}
    for (task, _), own in measured.items():
        steps = chain(plan, own[0])
        found = fit(protocols[task, own[0]["split"]], steps.after_merge, steps.model in for_targets)
        if found is None:
            continue
        start = Chain(steps.encoder, steps.trains[: len(steps.trains) - found.num_stages])
        facts = training(start)
        if facts["base"] != base:
            continue
        facts |= {"model": start.model, "train_numeric_path": "", "collapsed": False}
        run = Run(**{name: facts[name] for name in Run.__dataclass_fields__})
        seed = steps.trains[-1][1]["seed"] if found.num_stages else None
        languages = frozenset(name for leaf in own for name in languages_of(leaf))
        by_task = origins.setdefault(start.model, Origin(run)).found[seed]
        by_task.setdefault(task, []).append(Candidate(steps.model, found.stand_ins, languages))
    return sorted(origins.values(), key=lambda origin: (not is_base(origin.run), _sort(origin.run), order(origin.run)))


def _column(
    protocol: Protocol, fitting: Sequence[Sequence[Candidate]], sections: Sequence[Section], way: Way
) -> list[Score]:
    """The score of every line; whole training sets go before slices of them."""
    chosen = [[model for model in models if not model.stand_ins] or models for models in fitting]
    wanted = {model.model for models in chosen for model in models}
    held: dict[str, list[tuple[Section, Run]]] = defaultdict(list)
    otherwise: set[str] = set()
    for section in sections:
        key = section.key
        for run in section.runs if (key["task"], key["split"]) == (protocol.task, protocol.split) else ():
            if IN_TRANSLATION in key["protocol"]:
                continue
            if run.model in wanted and way.holds(section, run):
                if key["metric"] == protocol.metric:
                    held[run.model].append((section, run))
                else:
                    otherwise.add(run.model)
    ways = {(section.key["protocol"], section.key["metric_version"]) for runs in held.values() for section, _ in runs}
    scores = []
    for models in chosen:
        if not models:
            scores.append(_ABSENT)
        elif len(models) > 1:
            scores.append(Score(None, problem=f"has {len(models)} models that fit"))
        elif len(ways) > 1:
            scores.append(Score(None, problem=f"was measured in {len(ways)} ways"))
        elif not held[models[0].model]:
            unscored = f"has no score by {protocol.metric}, which `xstilts rescore` adds"
            scores.append(Score(None, problem=unscored if models[0].model in otherwise else "is not done"))
        else:
            scores.append(_score(protocol, models[0], *held[models[0].model][0]))
    return scores


def _score(protocol: Protocol, model: Candidate, section: Section, run: Run) -> Score:
    cell, _ = protocol.cell(section.num_layers)
    parts = section.parts.get((run.model, cell), {})
    found = {code: {**parts.get(code, {}), "value": value} for code, value in section.scores(run, cell).items()}
    values = {code: value for code, numbers in found.items() if (value := protocol.value(numbers)) is not None}
    if (value := average(values, protocol.languages)) is None:
        lacking = [code for code in protocol.languages if code not in values]
        return Score(None, problem=f"lacks {' '.join(lacking)}")
    names = protocol.numbers if len(protocol.numbers) > 1 else ()
    means = (average({code: found[code][name] for code in values}, protocol.languages) for name in names)
    return Score(value, tuple(mean for mean in means if mean is not None), model.stand_ins, run.collapsed)


def _rendered(found: Board, sections: Sequence[Section]) -> Iterator[Block]:
    yield Facts(_about(found, sections))
    tables = [_table(found), _changes(found)]
    for table in tables if tables[1].lines else tables[:1]:
        yield table if len(found.lines) <= MAX_OPEN else Fold(table.caption, (table,))
    scores = [score for _, by_task in found.lines for score in by_task.values()]
    if stand_ins := sorted({name for score in scores for name in score.stand_ins}):
        yield Text(f"‡ The model was trained on a slice that stands in for the whole: {', '.join(stand_ins)}.")
    if any(score.collapsed for score in scores):
        yield Text(FOOTNOTE)
    yield from _missing(found)


def _about(found: Board, sections: Sequence[Section]) -> dict[str, str]:
    facts = {"source": found.profile.source}
    cells = []
    for protocol in found.protocols:
        depth = next((s.num_layers for s in sections if s.key["task"] == protocol.task), 0)
        if protocol.layer is not None and depth:
            (layer, pooling, direction), scaled = protocol.cell(depth)
            mark = ", scaled to this depth: **not the published protocol**" * scaled
            cells.append(f"{protocol.task} at layer {layer} of {depth}{mark}, {pooling} pooling, {direction}")
    if cells:
        facts["retrieval"] = "; ".join(cells)
    trained: dict[str, list[str]] = defaultdict(list)
    for protocol in found.protocols:
        trained[" then ".join(protocol.trained_by) or "nothing"].append(protocol.task)
    facts["trained last on"] = "; ".join(f"{names} for {', '.join(of)}" for names, of in trained.items())
    if notes := [f"{protocol.task}: {protocol.note}" for protocol in found.protocols if protocol.note]:
        facts["notes"] = "; ".join(notes)
    return facts


def _table(found: Board) -> Table:
    names = [f"{p.task} ({'/'.join(p.numbers)})" if len(p.numbers) > 1 else p.task for p in found.protocols]
    lines: list[str | tuple[Cell, ...]] = []
    sorts = {_sort(run) for run, _ in found.lines if not is_base(run)}
    last: tuple[str, ...] | None = None
    for run, scores in found.lines:
        if len(sorts) > 1 and not is_base(run) and _sort(run) != last:
            last = _sort(run)
            lines.append(Series((), *last).name)
        cells = (score.text for score in scores.values())
        lines.append((run.name, str(run.k), seeds(run), *cells, found.mean(scores).text))
    num_tasks = len(found.profile.tasks)
    header = ("model", "k", "seed", *names, f"mean of {num_tasks} tasks")
    return Table(f"Scores under {found.profile.name}, in %", header, tuple(lines))


def _sort(run: Run) -> tuple[str, ...]:
    return (run.policy, run.budget, run.recipe, run.mlm, run.train_numeric_path)


def _changes(found: Board) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for run, scores in found.lines:
        if not is_base(run):
            changes = [*(found.change(scores, protocol.task) for protocol in found.protocols), found.change(scores)]
            cells = (Number(points(change), change, "change") for change in changes)
            lines.append((run.name, str(run.k), seeds(run), *cells))
    header = ("model", "k", "seed", *(protocol.task for protocol in found.protocols), "mean")
    return Table("Difference to the mean at k = 0, in points", header, tuple(lines))


def _missing(found: Board) -> Iterator[Block]:
    """What the means lack: tasks of the whole study, then scores of single lines."""
    profile = found.profile
    absent = [task for task in profile.tasks if task not in found.partial and task not in found.lines[0][1]]
    sizes = {protocol.task: len(protocol.languages) for protocol in profile.protocols}
    parts = [f"{task} in {number} of {sizes[task]} languages only" for task, number in found.partial.items()]
    lacking = [f"{', '.join(absent)} not at all"] * bool(absent) + parts
    as_zero = profile.missing == "zero"
    if lacking:
        result = "counts what is missing as 0, so that its mean does" if as_zero else "has no mean"
        yield Text(f"The study measures {'; '.join(lacking)}: the profile {result}.")
    problems: dict[str, list[str]] = defaultdict(list)
    for run, scores in found.lines:
        for task, score in scores.items():
            if score.value is None:
                problems[f"{task} {score.problem}"].append(f"{run.name}, seed {seeds(run)}")
    if problems:
        yield Text("Scores that do not exist" + (", counted as 0 in the mean:" if as_zero else ", and so no mean:"))
        yield Items(
            tuple(
                f"{problem}: {'; '.join(listed(lines)) if len(lines) < len(found.lines) else 'every model'}"
                for problem, lines in problems.items()
            )
        )
    if profile.left_out:
        reasons = "; ".join(f"{task}, since {why}" for task, why in profile.left_out.items())
        yield Text(f"The published mean also counts what cannot be measured here: {reasons}.")
