"""What says beforehand which intermediate training will help a target: evidence of a stored study, by model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xstilts.metrics import transferability
from xstilts.store import Store
from xstilts.tasks import find
from xstilts.tasks.made import MINIATURE_OF

from .estimates import change
from .rows import Document, chain
from .stats import Run, Section, Summary, series, values_at
from .views import View, reading, views

Scores = Mapping[str, float]
"""What a ranker says of each candidate, highest first; only complete ones exist."""

HELD_OUT, FEW_SHOT, LOGME, PROBE = "held-out bitext", "few-shot", "LogME", "linear probe"
_MAX_KEPT = 4096  # what probes said, of folders that never change
TASKEMB, TEXTEMB, SIZE, MNLI = "TaskEmb", "TextEmb", "largest data set", "always MNLI"
TRAINED = "trainings' gradients"


class Candidate(NamedTuple):
    """An intermediate training that a study measured on a target: a set of tasks, with all its seeds.

    Attributes:
        tasks: as a report names them.
        members: the tasks one by one.
        runs: its models as the target measured them.
        starts: the ids of its models before the target's own training, in the order of the runs.
        score: the mean over runs of the mean over languages.
    """

    tasks: str
    members: tuple[str, ...]
    runs: tuple[Run, ...]
    starts: tuple[str, ...]
    score: float


@dataclass(frozen=True)
class Target:
    """What a study measured of single tasks and subsets on one target, at one cell, in the same languages.

    Attributes:
        section: its numbers, as the view reads them.
        view: the cell.
        languages: those averaged.
        base: the mean at k = 0, ``None`` unless all planned runs of it have one.
        candidates: in the order of the report; only those of which every run has every language.
        trained_on: what the target's own training reads, or nothing.
    """

    section: Section
    view: View
    languages: tuple[str, ...]
    base: float | None
    candidates: tuple[Candidate, ...]
    trained_on: str

    @property
    def name(self) -> str:
        """Task and split, and its training where a retrieval task has one."""
        key = self.section.key
        after = f" after {key['target']}" if key["target"] and find(key["task"]).is_retrieval else ""
        return f"{key['task']}/{key['split']}{after}"

    def gain(self, candidate: Candidate) -> Summary:
        """The candidate's difference to k = 0, with its interval over runs."""
        return change(self.section, candidate.runs, self.view.where, self.languages)


class Study:
    """A stored study as far as choosing tasks reads it: its targets and its evidence.

    Evidence are the measurements on dev rows of a bitext or, after short trainings, on English dev rows; probes; and
    the sizes of training sets. What is left are the targets, of which only shares (accuracy, F1 ...) are read.
    """

    def __init__(self, store: Store, plan: Document, sections: Sequence[Section]) -> None:
        self.store, self.plan = store, plan
        self._held_out = [one for one in sections if _is_bitext(one)]
        self._few = [one for one in sections if _is_english_dev(one) and not _is_bitext(one)]
        self._probes: dict[tuple[str, str, bool], str] = {}
        for id, stage in plan["stages"].items():
            if (declared := stage["declaration"])["kind"] == "probe" and store.exists(id):
                model = chain(plan, declared).model
                self._probes[model, declared["task"], declared["gradients"]] = id
        others = [one for one in sections if one not in self._held_out + self._few and one.in_percent]
        self.targets = [target for one in others if (target := self.target(one)).candidates]

    def target(self, section: Section, languages: Sequence[str] = ()) -> Target:
        """A section as a target, in its view's languages or in some of them."""
        view = views(section)[0]
        read, codes = reading(section, view), tuple(languages) or view.languages
        runs = [run for one in series(read)[:1] for run in one.runs]
        for one in series(read):  # models that were trained alike; the most of them
            runs = list(one.runs) if len(one.runs) > len(runs) else runs
        by_tasks: dict[str, list[Run]] = {}
        for run in runs:
            if run.k and not run.mlm:
                by_tasks.setdefault(run.tasks, []).append(run)
        found = []
        for tasks, own in by_tasks.items():
            values = values_at(read, own, view.where, codes)
            if len(values) == len(own):
                members = tuple(tasks.replace(">", "+").split("+"))
                starts = tuple((self.stages_of(read, run) or [read.key["base"]])[-1] for run in own)
                found.append(Candidate(tasks, members, tuple(own), starts, math.fsum(values) / len(values)))
        alike = read.bases_of(runs[-1]) if runs else ()
        bases = values_at(read, alike, view.where, codes)
        base = math.fsum(bases) / len(bases) if bases and len(bases) == read.num_planned_bases(alike[0]) else None
        return Target(read, view, codes, base, tuple(found), self._trained_on(read))

    def stages_of(self, section: Section, run: Run) -> list[str]:
        """The ids of a run's intermediate stages, first trained first."""
        ids = [id for id, _ in self._chain(run)]
        base = section.key["base"]
        own = len(section.key["target"].split(">")) if section.key["target"] else 0
        return ids[ids.index(base) + 1 if base in ids else 0 : len(ids) - own]

    def _chain(self, run: Run) -> tuple[tuple[str, Document], ...]:
        return chain(self.plan, {"model": {"stage": run.model}}).trains if run.model in self.plan["stages"] else ()

    def _trained_on(self, section: Section) -> str:
        """The one task of a target's last training."""
        names = {"+".join(self._chain(run)[-1][1]["mixture"]["tasks"]) for run in section.runs if run.target}
        return names.pop() if len(names) == 1 else ""

    # -- the evidence --------------------------------------------------------------------------------------

    def scores(self, target: Target) -> dict[str, Scores]:
        """What every ranker says of the candidates of a target; one that lacks a candidate says nothing."""
        rankers: dict[str, Callable[[Candidate], Sequence[float | None]]] = {
            HELD_OUT: self._on_held_out(target),
            FEW_SHOT: self._on_dev(target),
            LOGME: functools.partial(self._labelled, target, transferability.logme),
            PROBE: functools.partial(self._labelled, target, transferability.probe_accuracy),
            TASKEMB: functools.partial(self._alike, target, self._mean_gradients),
            TRAINED: functools.partial(self._alike, target, self._mean_moments),
            TEXTEMB: functools.partial(self._text, target),
            SIZE: lambda one: [_size(one.members)],
            MNLI: lambda one: [float(any(map(is_mnli, one.members)))],
        }
        found: dict[str, Scores] = {}
        for name, values_of in rankers.items():
            scores = {one.tasks: _mean(values_of(one)) for one in target.candidates}
            known = {tasks: value for tasks, value in scores.items() if value is not None}
            if len(known) == len(scores):
                found[name] = known
        return found

    def _on_held_out(self, target: Target) -> Callable[[Candidate], Sequence[float | None]]:
        """The mean on the held-out bitext of the same models, at the target's cell where it has one there."""
        if not find(target.section.key["task"]).is_retrieval or target.trained_on:
            return lambda one: [None]
        for held in self._held_out:
            if held.key["base"] == target.section.key["base"]:
                cells = {where for _, where in held.cells}
                where = target.view.where if target.view.where in cells else views(held)[0].where
                codes = [code for code in held.languages if code in target.languages] or held.languages
                runs = {run.model: run for run in held.runs}
                return lambda one: [held.mean(runs[id], where, codes) if id in runs else None for id in one.starts]
        return lambda one: [None]

    def _on_dev(self, target: Target) -> Callable[[Candidate], Sequence[float | None]]:
        """The score after a short training of the target on the English dev rows of what it was trained on."""
        for few in self._few:
            key = few.key
            if target.trained_on and (key["task"], key["base"]) == (target.trained_on, target.section.key["base"]):
                view = views(few)[0]
                runs = {(self.stages_of(few, run) or [""])[-1]: run for run in few.runs}
                return lambda one: [
                    few.mean(runs[id], view.where, view.languages) if id in runs else None for id in one.starts
                ]
        return lambda one: [None]

    def _labelled(self, target: Target, metric: Callable[..., float], one: Candidate) -> Sequence[float | None]:
        """A metric of the labelled vectors that each of the candidate's models makes of the target's training rows."""
        ids = [self._probes.get((start, target.trained_on, False)) for start in one.starts]
        return [_of_labels(self.store.folder(id), metric) if id else None for id in ids]

    def _text(self, target: Target, one: Candidate) -> Sequence[float | None]:
        """Cosines of the mean vectors that the model at k = 0 makes of the members' rows and of the target's."""
        base = target.section.key["base"]
        own = target.trained_on
        if not own:
            bitexts = [task for model, task, _ in self._probes if model == base and find(task).kind.name == "embed"]
            own = bitexts[0] if bitexts and find(target.section.key["task"]).is_retrieval else ""
        ids = [self._probes.get((base, name, False)) for name in (own, *one.members)]
        vectors = [_embedding(self.store.folder(id), "text") if id else None for id in ids]
        return [_cosine(vectors[0], vector) for vector in vectors[1:]]

    def _alike(self, target: Target, seen: Callable[..., Any], one: Candidate) -> Sequence[float | None]:
        """Cosines of what single trainings on the members have left behind and what the target's at k = 0 has."""
        alone = {other.tasks: other.starts for other in target.candidates}
        own = seen([(run.model, target.trained_on) for run in target.section.bases if target.trained_on])
        return [_cosine(own, seen([(start, name) for start in alone.get(name, ())])) for name in one.members]

    def _mean_gradients(self, models: Sequence[tuple[str, str]]) -> Any:
        """The mean of the squared gradients [L, H] that probes have of models on tasks; ``None`` if one is lacking."""
        ids = [self._probes.get((model, task, True)) for model, task in models]
        return _mean_matrix([_embedding(self.store.folder(id), "gradients") if id else None for id in ids])

    def _mean_moments(self, models: Sequence[tuple[str, str]]) -> Any:
        """The same of what the trainings have kept themselves."""
        ids = [model if self.store.exists(model) else None for model, _ in models]
        return _mean_matrix([_moments(self.store.folder(id)) if id else None for id in ids])

    def similarity(self, target: Target, one: Candidate) -> float | None:
        """The mean cosine of `TEXTEMB`."""
        return _mean(self._text(target, one))


def is_mnli(task: str) -> bool:
    """Whether a task is MNLI, a slice of it or the miniature's."""
    return task in ("mnli", MINIATURE_OF["mnli"]) or find(task).slice_of == "mnli"


def _size(members: Sequence[str]) -> float | None:
    """The rows of the official training sets together."""
    sizes = [find(name).official_size or find(name).count("train", "en") for name in members]
    known = [size for size in sizes if size]
    return float(sum(known)) if len(known) == len(sizes) else None


def _is_english_dev(section: Section) -> bool:
    """Whether it is measured on the English dev rows of the very task that it was trained on."""
    key = section.key
    return (key["split"], section.languages, key["target"]) == ("dev", ("en",), key["task"])


def _is_bitext(section: Section) -> bool:
    return section.kind == "embed" and section.key["split"] == "dev"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _cosine(one: Any, other: Any) -> float | None:
    return None if one is None or other is None else transferability.cosine(one, other)


@functools.lru_cache(_MAX_KEPT)
def _embedding(folder: Path, what: str) -> Any:
    """The vector of the text [1, H], or those of the layers' gradients [L, H], of a probe."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "embedding.parquet")
    wanted = [at for at, name in enumerate(table["what"].to_pylist()) if name == what]
    return _matrix(table.take(wanted)["vector"])


@functools.lru_cache(_MAX_KEPT)
def _moments(folder: Path) -> Any:
    """The squared gradients [L, H] of a training, ``None`` where it kept none, as those of older versions."""
    import pyarrow.parquet as pq

    path = folder / transferability.MOMENTS
    return _matrix(pq.read_table(path, columns=["vector"])["vector"]) if path.is_file() else None


def _mean_matrix(found: Sequence[Any]) -> Any:
    import numpy as np

    return np.mean(found, axis=0) if found and all(one is not None for one in found) else None


@functools.lru_cache(_MAX_KEPT)
def _of_labels(folder: Path, metric: Callable[..., float]) -> float | None:
    """A metric of a probe's labelled vectors; ``None`` where it kept none, of one class, or of too few examples."""
    import pyarrow.parquet as pq

    path = folder / "features.parquet"
    if not path.is_file():
        return None
    table = pq.read_table(path)
    labels, examples = table["label"].to_pylist(), table["example"].to_pylist()
    if len(set(labels)) < 2 or len(set(examples)) < transferability.FOLDS:
        return None
    groups = [examples] if metric is transferability.probe_accuracy else []
    return metric(_matrix(table["vector"]), labels, *groups)


def _matrix(column: Any) -> Any:
    return column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
