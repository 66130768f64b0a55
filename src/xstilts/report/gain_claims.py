"""Predicates on gains: single tasks, all together, by target, the best model per target, alternatives."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from xstilts.tasks import PROFILES

from .grid import NO_SEED, Sample, Start, Target, less, mean_of, stands_for
from .published import ALTERNATIVES, BEST, MANY, MARGIN, NINE, PROFILE, RETRIEVAL, Study, verdict
from .verdicts import ABOVE, BELOW, CONTRADICTED, INCONCLUSIVE, NOT_TESTED, SUPPORTED, Effect, Verdict, effects


def _lacking(samples: Iterable[Sample]) -> list[str]:
    """The planned cells without a value, each once."""
    return list(dict.fromkeys(line for sample in samples for line in sample.missing))


def _directions(family: Mapping[str, Effect]) -> set[str]:
    return {effect.direction for effect in family.values()}


def _first(*families: Mapping[str, Effect]) -> dict[str, Effect]:
    """The effects of several families, the first family's first."""
    return {what: effect for family in families for what, effect in family.items()}


# -- 1 to 4: gains ----------------------------------------------------------------------------------------------------


def best_singles(study: Study) -> Verdict:
    """Claim 1: the gains of SQuAD v1.1, MNLI and HellaSwag over k = 0 and over the other single tasks."""
    absent = [*study.no_targets(), *study.no_singles]
    targets = list(study.targets.values())
    if not targets or not study.singles:
        return verdict(1, NOT_TESTED, missing=absent)
    gains = {name: study.grid.gain(tasks, targets) for name, tasks in study.singles.items()}
    named, others = [name for name in BEST if name in gains], [name for name in gains if name not in BEST]
    contrast: dict[str, Sample] = {}
    if named and others:
        means = (mean_of([gains[name] for name in some]) for some in (named, others))
        contrast = {f"{', '.join(named)} less the other {len(others)}": less(*means)}
    if lacking := _lacking([*gains.values(), *contrast.values()]):
        return verdict(1, NOT_TESTED, missing=[*lacking, *absent])
    of_named, of_others = (effects({f"{name} less k = 0": gains[name] for name in some}) for some in (named, others))
    ranks = sorted(gains, key=lambda name: -statistics.fmean(gains[name].values.values()))
    reasons = [f"rank {ranks.index(name) + 1} of {len(ranks)}: {name}" for name in named]
    if len(targets) < len(PROFILES[PROFILE].tasks):
        reasons.append(f"the mean is over these targets: {', '.join(study.targets)}")
    together = effects(contrast)
    pairs = effects({f"{one} less {other}": less(gains[one], gains[other]) for one in named for other in others})
    own = _directions(of_named)
    against = _directions(pairs) | (set() if study.no_singles else _directions(together))
    answer = INCONCLUSIVE
    if BELOW in own | against and not study.no_targets():
        answer = CONTRADICTED
    elif set(ranks[: len(BEST)]) == set(BEST) and own == _directions(together) == {ABOVE}:
        answer = SUPPORTED
    return verdict(1, answer, _first(of_named, together, of_others, pairs), reasons, absent)


def all_together(study: Study) -> Verdict:
    """Claim 2: all nine tasks against k = 0, the best single task and the best smaller subset."""
    targets = list(study.targets.values())
    whole = next((tasks for tasks in study.grid.plain if {*map(stands_for, tasks)} == set(NINE)), None)
    absent = study.no_targets()
    if whole is None:
        lacking = [name for name in NINE if all(name not in map(stands_for, tasks) for tasks in study.grid.plain)]
        on = f", and none on {', '.join(lacking)}" * bool(lacking)
        absent.append(f"no plain training on all nine tasks together (k = 9){on}")
    most = whole or max(study.grid.plain, key=len, default=())
    rivals = [tasks for tasks in study.grid.plain if {*tasks} < {*most}]
    alone = [tasks for tasks in rivals if len(tasks) == 1]
    if not alone:
        absent.append("no plain training on one of these tasks alone (k = 1)")
    if not targets or not alone:
        return verdict(2, NOT_TESTED, missing=absent)
    grid, name = study.grid, f"k = {len(most)}"
    gain = grid.gain(most, targets)
    contrasts = {tasks: grid.difference(grid.plain[most], grid.plain[tasks], targets) for tasks in rivals}
    if lacking := _lacking([gain, *contrasts.values()]):
        return verdict(2, NOT_TESTED, missing=[*lacking, *absent])
    # The best is the one that the largest training beats by least, over the seeds that they share.
    closest = sorted(rivals, key=lambda tasks: statistics.fmean(contrasts[tasks].values.values()))
    family = {f"{name} less k = 0": gain}
    for what, some in ("smaller subset", closest), ("single task", [tasks for tasks in closest if len(tasks) == 1]):
        if what == "smaller subset" or some[0] != closest[0]:
            best = replace(contrasts[some[0]], num_subsets=len(some))
            family[f"{name} less the best {what}, {'+'.join(some[0])}"] = best
    found = effects(family)
    each = effects({f"{name} less {'+'.join(tasks)}": sample for tasks, sample in contrasts.items()})
    answer = INCONCLUSIVE
    if absent:  # of fewer tasks or targets nothing follows for nine
        answer = NOT_TESTED
    elif BELOW in _directions(each) or found[f"{name} less k = 0"].direction == BELOW:
        answer = CONTRADICTED
    elif _directions(found) == {ABOVE}:
        answer = SUPPORTED
    return verdict(2, answer, found, [f"largest training: {'+'.join(most)}"], absent)


def retrieval_most(study: Study) -> Verdict:
    """Claim 3: the mean gain over trainings of k = 1 by target, BUCC's and Tatoeba's against the others'."""
    absent = study.no_targets()
    every = list(study.grid.plain)
    trained = [tasks for tasks in every if len(tasks) == 1] or every
    if not trained:
        return verdict(3, NOT_TESTED, missing=[*absent, "no plain training on one task or more (k = 1)"])
    gains = {
        name: mean_of([study.grid.gain(tasks, [target]) for tasks in trained]) for name, target in study.targets.items()
    }
    named = [name for name in RETRIEVAL if name in gains]
    others = [name for name in gains if name not in RETRIEVAL]
    contrasts: dict[str, Sample] = {}
    if others:
        rest = replace(mean_of([gains[name] for name in others]), num_subsets=len(trained))
        contrasts = {f"{name} less the mean of the others": less(gains[name], rest) for name in named}
    if lacking := _lacking([*gains.values(), *contrasts.values()]):
        return verdict(3, NOT_TESTED, missing=[*lacking, *absent])
    own = effects({f"{name} less k = 0": gains[name] for name in [*named, *others]})
    if not named or not others:
        return verdict(3, NOT_TESTED, own, missing=absent)
    against = effects(contrasts)
    pairs = effects({f"{one} less {other}": less(gains[one], gains[other]) for one in named for other in others})
    means = {name: statistics.fmean(gains[name].values.values()) for name in gains}
    ranks = sorted(means, key=lambda name: -means[name])
    of_them, total = (100 * sum(means[name] for name in some) for some in (named, means))
    reasons = [f"{of_them:+.1f} of {total:+.1f} points over {len(means)} targets are of {' and '.join(named)}"]
    reasons.append(f"targets by gain: {', '.join(ranks)}")
    answer = INCONCLUSIVE
    if BELOW in _directions(pairs) | (set() if absent else _directions(against)):
        answer = CONTRADICTED
    elif {*ranks[:2]} == {*RETRIEVAL} and _directions(against) == {ABOVE}:
        answer = SUPPORTED
    return verdict(3, answer, _first(against, own, pairs), reasons, absent)


def tydiqa(study: Study) -> Verdict:
    """Claim 4: on how many tasks TyDiQA and XNLI surely gain, and the difference of their mean gains."""
    both = ("tydiqa", "xnli")
    absent = study.no_targets(both)
    if len(study.singles) < MANY:
        absent += [f"{len(study.singles)} of the nine tasks alone, expected {MANY} or more", *study.no_singles]
    if absent:
        return verdict(4, NOT_TESTED, missing=absent)
    grid = study.grid
    gains = {
        f"{target}: {name} less k = 0": grid.gain(tasks, [study.targets[target]])
        for target in both
        for name, tasks in study.singles.items()
    }
    means = {t: mean_of([sample for what, sample in gains.items() if what.startswith(t)]) for t in both}
    contrast = less(means["tydiqa"], means["xnli"])
    if lacking := _lacking([*gains.values(), contrast]):
        return verdict(4, NOT_TESTED, missing=lacking)
    first = effects({"mean gain of tydiqa less that of xnli": contrast})
    each = effects(gains)
    directions = {t: [effect.direction for what, effect in each.items() if what.startswith(t)] for t in both}
    count = len(study.singles)
    consistent = {t: 2 * found.count(ABOVE) > count and BELOW not in found for t, found in directions.items()}
    reasons = [
        f"{t}: {found.count(ABOVE)} of {count} tasks surely improve it, {found.count(BELOW)} surely harm it"
        for t, found in directions.items()
    ]
    answer = INCONCLUSIVE
    if _directions(first) == {BELOW} or consistent["xnli"] or 2 * directions["tydiqa"].count(BELOW) > count:
        answer = CONTRADICTED
    elif consistent["tydiqa"] and _directions(first) == {ABOVE}:
        answer = SUPPORTED
    return verdict(4, answer, _first(first, each), reasons)


# -- 5: the best model per target -------------------------------------------------------------------------------------


def best_per_target(study: Study) -> Verdict:
    """Claim 5: for each target the training of the best English dev score, and the optimism of a choice on test."""
    grid, targets, absent = study.grid, list(study.targets.values()), study.no_targets()
    candidates = list(grid.plain)
    if len(candidates) < 2:
        absent.append("two plain trainings or more to choose from")
    if not targets or absent:
        return verdict(5, NOT_TESTED, missing=absent)
    gains = {(tasks, target): grid.gain(tasks, [target]) for tasks in candidates for target in targets}
    dev = {
        (tasks, target): _dev(study, tasks, target) for tasks in candidates for target in targets if target.trained_on
    }
    lacking = _lacking([*gains.values(), *dev.values()])
    if not dev:
        lacking.append("a target with training, whose English dev rows could choose")
    seeds = [seed for seed in next(iter(gains.values())).values if all(seed in own.values for own in gains.values())]
    if lacking or not seeds:
        return verdict(5, NOT_TESTED, missing=lacking or [NO_SEED])
    trained = [target for target in targets if target.trained_on]

    def english(tasks: tuple[str, ...], target: Target) -> float:
        """Its mean dev score; of a target without training that of all the others."""
        of = [target] if target.trained_on else trained
        return statistics.fmean(value for one in of for value in dev[tasks, one].values.values())

    chosen = {target: max(candidates, key=lambda tasks: english(tasks, target)) for target in targets}
    by_dev = mean_of([gains[chosen[target], target] for target in targets])
    found = effects({"chosen by English dev rows, less k = 0": replace(by_dev, num_subsets=len(candidates))})

    def best(target: Target, over: Sequence[int | None]) -> tuple[str, ...]:
        return max(candidates, key=lambda tasks: statistics.fmean(gains[tasks, target].values[seed] for seed in over))

    reasons = [f"{target.stands_for}: {'+'.join(tasks)}" for target, tasks in chosen.items()]
    if len(seeds) > 1:
        apparent, held_out = {}, {}
        for seed in seeds:
            others = [other for other in seeds if other != seed]
            apparent[seed] = statistics.fmean(gains[best(t, seeds), t].values[seed] for t in targets)
            held_out[seed] = statistics.fmean(gains[best(t, others), t].values[seed] for t in targets)
        collapsed = frozenset(seed for sample in gains.values() for seed in sample.collapsed)
        on_test, left_out = (Sample(of, collapsed, (), len(candidates)) for of in (apparent, held_out))
        found |= effects({"chosen on the scored rows themselves, less k = 0": on_test})
        found |= effects({"optimism of that choice, by seeds left out": less(on_test, left_out)})
    first = next(iter(found.values())).direction
    answer = {ABOVE: SUPPORTED, BELOW: CONTRADICTED}.get(first, INCONCLUSIVE)
    return verdict(5, answer, found, reasons)


def _dev(study: Study, tasks: tuple[str, ...], target: Target) -> Sample:
    """The score on English dev rows of the target's own training, by seed; missing where a record has none."""
    values: dict[int | None, float] = {}
    missing = []
    for seed, start in study.grid.plain[tasks].items():
        scores = []
        for own in study.grid.target_seeds(start, [target]):
            model = study.grid.model(start, target, own)
            result = study.store.record(model)["result"] if model and study.store.exists(model) else {}
            found = [about.get("dev", {}) for about in result.get("tasks", {}).values()]
            known = [dev["accuracy"] for dev in found if dev.get("on") == "dev" and "accuracy" in dev]
            if not known or len(known) < len(found):
                missing.append(f"English dev score of the training for {target.task} {start.name}, seed {seed}")
            else:
                scores.append(statistics.fmean(known))
        values |= {seed: statistics.fmean(scores)} if scores else {}
    return Sample(values, frozenset(), tuple(missing))


# -- 6: alternatives --------------------------------------------------------------------------------------------------


def no_alternative(study: Study) -> Verdict:
    """Claim 6: trainings with MLM or translated rows less the plain ones of the same tasks, budget and seeds."""
    targets = list(study.grid.targets)
    absent = [] if targets else ["a target that is a share"]
    whole: dict[str, Sample] = {}
    by_target: dict[str, Sample] = {}
    of_kind: dict[str, list[str]] = {}
    for kind, words in ALTERNATIVES.items():
        ways = _ways(study, kind)
        if not ways:
            absent.append(f"no training with {words} beside a plain one of the same tasks, budget and seeds")
        for way, pairs in ways.items() if targets else ():
            what = f"{words} ({way}) less plain"
            whole[what] = mean_of([study.grid.difference(*pair, targets) for pair in pairs])
            of_kind.setdefault(kind, []).append(what)
            for target in targets if len(targets) > 1 else ():
                sample = mean_of([study.grid.difference(*pair, [target]) for pair in pairs])
                by_target[f"{target.task}: {what}"] = sample
    if lacking := _lacking(whole.values()):
        return verdict(6, NOT_TESTED, missing=[*lacking, *absent])
    found, each = effects(whole), effects(by_target)
    gains = [
        what
        for what, effect in found.items()
        if effect.direction == ABOVE
        and not any(one.direction == BELOW for name, one in each.items() if name.endswith(what))
    ]
    none = all(found[what].is_surely_below(MARGIN) for kinds in of_kind.values() for what in kinds)
    answer = CONTRADICTED if gains else SUPPORTED if none and found else INCONCLUSIVE
    reasons = [f"the mean is over these targets: {', '.join(dict.fromkeys(t.task for t in targets))}"] if found else []
    reasons += [f"a consistent gain: {what}" for what in gains]
    return verdict(6, answer, _first(found, each), reasons, absent)


def _ways(study: Study, kind: str) -> dict[str, list[tuple[dict[int | None, Start], dict[int | None, Start]]]]:
    """Trainings that differ from plain ones in one thing, with those plain ones, by how they differ and tasks."""
    found: dict[str, dict[tuple[str, ...], tuple[dict[int | None, Start], dict[int | None, Start]]]] = {}
    for start in study.grid.starts:
        plain = study.grid.plain.get(start.tasks, {}).get(start.seed)
        if start.differs == {kind} and plain is not None and _same_but(start, plain):
            way = start.facts["mlm"] if kind == "mlm" else start.facts["policy"].partition(", ")[2]
            pair = found.setdefault(f"{way}, {start.facts['budget']}", {}).setdefault(start.tasks, ({}, {}))
            pair[0][start.seed], pair[1][start.seed] = start, plain
    return {way: list(by_tasks.values()) for way, by_tasks in found.items()}


def _same_but(start: Start, plain: Start) -> bool:
    """Whether two trainings have the same budget and recipe."""
    own, other = (one.stages[-1]["recipe"] for one in (start, plain))
    return bool(own == other and start.facts["budget"] == plain.facts["budget"])
