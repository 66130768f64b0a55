"""Which intermediate training to take for a target: rankers judged on a stored study, a choice, its gain, its cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from xstilts.metrics import selection
from xstilts.spec import one_of
from xstilts.stage import seconds_of
from xstilts.store import Store

from . import rows, stats
from .evidence import (
    FEW_SHOT,
    HELD_OUT,
    LOGME,
    MNLI,
    PROBE,
    SIZE,
    TASKEMB,
    TEXTEMB,
    TRAINED,
    Candidate,
    Scores,
    Study,
    Target,
)
from .stats import Summary, summarise

FITTED = "fitted"
ORDER = (HELD_OUT, FEW_SHOT, LOGME, PROBE, FITTED, TASKEMB, TRAINED, TEXTEMB, SIZE, MNLI)
"""The rankers; which of two comes first counts only where nothing measured tells them apart."""
CHOSEN = "as chosen here"
PENALTY = 1.0


class Quality(NamedTuple):
    """How well a ranker found a target's best candidates; `metrics.selection` has the definitions."""

    regret_1: float
    regret_3: float
    ndcg: float
    spearman: float | None


def select(store: Store, plan_name: str, task: str, split: str = "", languages: Sequence[str] = ()) -> dict[str, Any]:
    """The recommendation of a stored study for a target, as JSON data.

    The choice never reads the target's scored rows: a ranker is taken whose choices lost least on the *other* targets,
    and it ranks by evidence that no score is reported of. Only then the gain is read off the target's own
    measurements, where there are some; for a task that the study did not measure it is that of the other targets, with
    the interval for one more target.

    Args:
        store: where the study is.
        plan_name: its name.
        task: the target.
        split: which of its splits, where the study measured several.
        languages: some of its languages; those of the report when empty.

    Raises:
        ValueError: for a study without intermediate trainings on targets, or a split or language not measured.
    """
    plan = store.plan(plan_name)
    table = rows.rows(store, plan)
    study = Study(store, plan, stats.sections(table, plan))
    if not study.targets:
        raise ValueError(f"the study {plan_name!r} has no complete measurement of a target after intermediate training")
    own = [one for one in study.targets if one.section.key["task"] == task]
    if split and own:
        one_of(f"split of {task} in this study", split, dict.fromkeys(one.section.key["split"] for one in own))
        own = [one for one in own if one.section.key["split"] == split]
    found = judged(study)
    if own:
        facts = _measured(study, max(own, key=lambda one: len(one.candidates)), languages, found)
    else:
        facts = _elsewhere(study, task, languages, found)
    facts |= {"study": plan_name, "target": task, "miniature": any(one.section.miniature for one in study.targets)}
    asked = {(one.section.key["task"], one.section.key["split"]) for one in (own or study.targets)}
    planned = {id for id, declared in rows.leaves(plan) if (declared["task"], declared["split"]) in asked}
    missing = planned - set(table["stage"].to_pylist())
    return facts | {"rankers": _rankers(study, found), "planned": len(planned), "missing": len(missing)}


# -- how good the rankers are -----------------------------------------------------------------------------


Judged: TypeAlias = Mapping[str, tuple[Target, dict[str, Scores], dict[str, Quality]]]


def judged(study: Study) -> Judged:
    """By target what each ranker says of its candidates, and how well, of those that choose between several."""
    found = {}
    for target in study.targets:
        scores = study.scores(target) | fitted(study, target, [target.section.key["task"]])
        quality = {name: judge(target, said) for name, said in scores.items()} if len(target.candidates) > 1 else {}
        found[target.name] = target, scores, quality
    return found


def judge(target: Target, scores: Scores) -> Quality:
    """A ranker's scores against what the candidates of a target truly reached.

    The relevance of NDCG is where a candidate lies between the worst (0) and the best one (1) of the target.
    """
    true = [one.score for one in target.candidates]
    said = [scores[one.tasks] for one in target.candidates]
    low, spread = min(true), max(true) - min(true)
    relevances = [(score - low) / spread if spread else 0.0 for score in true]
    return Quality(
        selection.regret(true, said, 1),
        selection.regret(true, said, 3),
        selection.ndcg(relevances, said),
        selection.spearman(true, said),
    )


def fitted(study: Study, target: Target | None, without: Collection[str]) -> dict[str, Scores]:
    """Gains that a linear model of the gains of targets of other tasks than some predicts; nothing where there is none.

    Ridge regression of the gain over k = 0 on which tasks a candidate has and, where every target has it, the cosine of
    mean vectors (standardised within each target), with an intercept and penalty `PENALTY`. Choshen et al. 2022 (arXiv
    2211.00107) found effects of source and target nearly additive.
    """
    import numpy as np

    others = [one for one in study.targets if one.section.key["task"] not in without and one.base is not None]
    if not others:
        return {}
    own = target.candidates if target else _common(others)
    tasks = sorted({member for other in others for one in other.candidates for member in one.members})
    alike = [_standardised(study, one) for one in ([*others, target] if target else [])]
    with_cosines = bool(alike) and all(alike)

    def row(one: Candidate, cosines: Mapping[str, float]) -> list[float]:
        return [float(name in one.members) for name in tasks] + ([cosines[one.tasks]] if with_cosines else [])

    cosines = alike or [{}] * len(others)
    inputs = np.array([row(c, seen) for other, seen in zip(others, cosines, strict=False) for c in other.candidates])
    gains = np.array([c.score - other.base for other in others for c in other.candidates if other.base is not None])
    middle, mean = inputs.mean(axis=0), gains.mean()
    centred = inputs - middle
    square = centred.T @ centred + PENALTY * np.eye(centred.shape[1])
    weights = np.linalg.solve(square, centred.T @ (gains - mean))
    last = cosines[-1] if target else {}
    return {FITTED: {one.tasks: float((np.array(row(one, last)) - middle) @ weights + mean) for one in own}}


def _standardised(study: Study, target: Target) -> dict[str, float]:
    """The cosines of a target's candidates less their mean, by their standard deviation; nothing if one lacks it."""
    found = {one.tasks: study.similarity(target, one) for one in target.candidates}
    known = {tasks: value for tasks, value in found.items() if value is not None}
    if len(known) < len(found):
        return {}
    mean = math.fsum(known.values()) / len(known)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in known.values()) / len(known))
    return {tasks: (value - mean) / spread if spread else 0.0 for tasks, value in known.items()}


def choose(available: Sequence[str], others: Sequence[Mapping[str, Quality]]) -> tuple[str, str]:
    """The ranker whose first choices had the lowest regret on other targets, the higher NDCG among equals, and why.

    Rankers do not exist for every target, so each is compared with the size of the data set on those where both do. One
    that measures the candidates for the target itself is taken where no other target can judge it.
    """
    found = {}
    for name in ORDER:
        seen = [one for one in others if name in one and SIZE in one] if name in available else []
        if seen:
            above = math.fsum(one[name].regret_1 - one[SIZE].regret_1 for one in seen) / len(seen)
            order = math.fsum(one[SIZE].ndcg - one[name].ndcg for one in seen) / len(seen)
            found[name] = above, order, len(seen)
        elif name in available and name in (HELD_OUT, FEW_SHOT):
            return name, "it measures the candidates for this target, on rows of their own; no other target judges it"
    if not found:
        name = next(name for name in ORDER if name in available)
        return name, "no other target tells the rankers apart: the first one that there is"
    name = min(found, key=lambda name: found[name][:2])
    above, _, count = found[name]
    on = f"on {count} other target{'s' * (count > 1)}"
    if name == SIZE or not above:
        return name, f"no ranker's Regret@1 is lower {on}"
    return name, f"its Regret@1 is {100 * abs(above):.1f} points below that of {SIZE!r} {on}, and no ranker's lower"


def _rankers(study: Study, found: Judged) -> list[dict[str, Any]]:
    """How good each ranker was over all targets that it ranks, and the choice of a ranker by the other targets."""
    by_name: dict[str, dict[str, Quality]] = {name: {} for name in (*ORDER, CHOSEN)}
    for place, (target, _, quality) in found.items():
        for name, one in quality.items():
            by_name[name][place] = one
        others = _elsewhere_good(study, found, target.section.key["task"])
        if quality and others:
            by_name[CHOSEN][place] = quality[choose(list(quality), others)[0]]
    rankers = []
    for name, places in by_name.items():
        if places:
            columns = {key: [getattr(one, key) for one in places.values()] for key in Quality._fields}
            means = {
                key: None if None in values else math.fsum(values) / len(values) for key, values in columns.items()
            }
            rankers.append({"name": name, "targets": list(places), **means})
    return rankers


def _elsewhere_good(study: Study, found: Judged, task: str) -> list[dict[str, Quality]]:
    """The qualities on targets of other tasks than one, whose numbers a fitted model does not read either."""
    qualities = []
    for target, _, quality in found.values():
        if (name := target.section.key["task"]) != task and quality:
            again = fitted(study, target, (name, task)) if FITTED in quality else {}
            kept = {name: one for name, one in quality.items() if name != FITTED}
            qualities.append(kept | {name: judge(target, said) for name, said in again.items()})
    return qualities


# -- the answer -------------------------------------------------------------------------------------------


def _measured(study: Study, target: Target, languages: Sequence[str], found: Judged) -> dict[str, Any]:
    """The answer for a target of the study."""
    measured = target.section.languages
    for code in languages:
        one_of(f"language of {target.name} in this study", code, measured)
    asked = study.target(target.section, languages)
    if not asked.candidates:
        raise ValueError(f"{target.name}: no intermediate training has every one of the languages asked for")
    task = target.section.key["task"]
    scores = study.scores(asked) | fitted(study, asked, [task])
    ranker, why = choose(list(scores), _elsewhere_good(study, found, task))
    best = _first(asked.candidates, ranker, scores)
    where = dict(zip(("layer", "pooling", "direction"), asked.view.where, strict=True))
    return {
        "split": asked.section.key["split"],
        "measured": True,
        "name": target.name,
        "encoder": target.section.key["encoder"],
        "cell": where if asked.view.layer is not None else None,
        "languages": list(asked.languages),
        "metric": target.section.key["metric"],
        "base": asked.base,
        "recommended": {"tasks": best.tasks, "ranker": ranker, "why": why},
        "gain": _interval(asked.gain(best)) | {"rests_on": f"runs of its own on {target.name}"},
        "cost": _cost(study, asked, best),
        "candidates": [
            {"tasks": one.tasks, "score": one.score, **_interval(asked.gain(one)), **_cost(study, asked, one)}
            | {"collapsed": sum(run.collapsed for run in one.runs)}
            | {"says": {name: said[one.tasks] for name, said in scores.items()}}
            for one in asked.candidates
        ],
    }


def _elsewhere(study: Study, task: str, languages: Sequence[str], found: Judged) -> dict[str, Any]:
    """The answer for a task that the study did not measure: what helped its targets."""
    targets = []
    for target in study.targets:
        codes = [code for code in target.section.languages if code in languages]
        if codes or not languages:
            targets.append(study.target(target.section, codes))
    targets = [one for one in targets if one.base is not None and one.candidates]
    common = _common(targets)
    if not common:
        asked = f" in {', '.join(languages)}" if languages else ""
        raise ValueError(f"{task} was not measured, and no intermediate training was on every target{asked}")
    said_of = fitted(study, None, [task]) | {name: found[targets[0].name][1].get(name, {}) for name in (SIZE, MNLI)}
    known = {name: said for name, said in said_of.items() if all(one.tasks in said for one in common)}
    ranker, why = choose(list(known), _elsewhere_good(study, found, task))
    best = _first(common, ranker, known)
    gains = {one.tasks: _for_another([_gain(target, one.tasks) for target in targets]) for one in common}
    rests = f"{len(targets)} other targets of the study" if len(targets) > 1 else "one other target of the study"
    return {
        "split": "",
        "measured": False,
        "name": task,
        "encoder": targets[0].section.key["encoder"],
        "cell": None,
        "languages": list(languages),
        "metric": "",
        "base": None,
        "recommended": {"tasks": best.tasks, "ranker": ranker, "why": why},
        "gain": _interval(gains[best.tasks]) | {"rests_on": rests},
        "cost": _cost(study, targets[0], best),
        "candidates": [
            {"tasks": one.tasks, "score": None, **_interval(gains[one.tasks]), **_cost(study, targets[0], one)}
            | {"collapsed": 0, "says": {name: said[one.tasks] for name, said in known.items()}}
            for one in common
        ],
    }


def _first(candidates: Sequence[Candidate], ranker: str, scores: Mapping[str, Scores]) -> Candidate:
    """A ranker's first choice; where it says the same of several, the others decide in their order, then the name."""
    names = [ranker, *(name for name in ORDER if name in scores and name != ranker)]
    return min(candidates, key=lambda one: ([-scores[name][one.tasks] for name in names], one.tasks))


def _common(targets: Sequence[Target]) -> list[Candidate]:
    """The candidates that every target has, as the first one has them."""
    shared = [{one.tasks for one in target.candidates} for target in targets]
    return [one for one in (targets[0].candidates if targets else ()) if all(one.tasks in some for some in shared)]


def _gain(target: Target, tasks: str) -> float:
    assert target.base is not None, "only targets with a k = 0 are asked"
    return next(one.score for one in target.candidates if one.tasks == tasks) - target.base


def _for_another(gains: Sequence[float]) -> Summary:
    """The mean gain with the 95 % prediction interval of one more target, none from a single one."""
    found = summarise(gains)
    if found.mean is None or found.high is None:
        return found
    half = (found.high - found.mean) * math.sqrt(len(gains) + 1)  # t s sqrt(1 + 1 / n), where that is t s / sqrt(n)
    return found._replace(low=found.mean - half, high=found.mean + half)


def _interval(found: Summary) -> dict[str, Any]:
    return {"gain": found.mean, "low": found.low, "high": found.high, "num_runs": found.num_runs}


def _cost(study: Study, target: Target, one: Candidate) -> dict[str, float | None]:
    """Examples and hours of an intermediate training, means over its runs; ``None`` where a record lacks them."""
    examples: list[float | None] = []
    seconds: list[float | None] = []
    for run in one.runs:
        ids = study.stages_of(target.section, run)
        records = [study.store.record(id) for id in ids if study.store.exists(id)]
        counts = [record["result"].get("examples") for record in records]
        whole = len(records) == len(ids)
        examples.append(sum(counts) if whole and None not in counts else None)
        seconds.append(math.fsum(map(seconds_of, records)) if whole else None)
    found: dict[str, float | None] = {}
    for name, values, unit in (("examples", examples, 1), ("hours", seconds, 3600)):
        known = [value for value in values if value is not None]
        found[name] = math.fsum(known) / len(known) / unit if known and len(known) == len(values) else None
    return found
