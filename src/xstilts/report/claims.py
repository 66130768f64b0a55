"""A study's verdicts on nine published claims: those on how it is made, and all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from xstilts.spec import canonical_json, one_of
from xstilts.store import Store
from xstilts.tasks import PROFILES, find, names

from . import gain_claims
from .blocks import Block, Heading, Text
from .grid import NO_PROFILE, Grid, grids, stands_for
from .published import NINE, PROFILE, READABLE, XLM_R_LARGE, Study, verdict
from .rows import Document, chain, leaves, training
from .stats import Section
from .verdicts import CONTRADICTED, NOT_TESTED, SUPPORTED, Verdict, tables


def judged(
    store: Store, plan: Document, sections: Sequence[Section], profile: str = ""
) -> list[tuple[Grid, list[Verdict]]]:
    """All claims on each grid of a study.

    Args:
        store: with the records.
        plan: the study's.
        sections: of its rows.
        profile: one of `READABLE`; when empty, `PROFILE` if the study measures a cell of it.

    Raises:
        ValueError: for another profile.
    """
    if not profile:
        cells = {(protocol.task, protocol.split) for protocol in PROFILES[PROFILE].protocols}
        covered = any((leaf["task"], leaf["split"]) in cells for _, leaf in leaves(plan))
        profile = PROFILE if covered else NO_PROFILE
    one_of("profile of the claims", profile, READABLE)
    found = []
    for grid in grids(sections, plan, profile):
        own = tuple(section for section in sections if section.key["base"] == grid.base)
        study = Study(grid, own, plan, store)
        found.append((grid, [replace(predicate(study), marks=grid.marks) for predicate in _PREDICATES]))
    return found


def blocks(store: Store, plan: Document, sections: Sequence[Section], profile: str = "") -> Iterator[Block]:
    """The claims as a section of a report."""
    yield Heading(2, "Published claims")
    yield Text(
        "What this study says of nine claims on English intermediate training (Phang et al. 2020). Differences are "
        "paired by seed, intervals are Student-t over seeds, and p values are adjusted by Holm's method over the "
        "comparisons of one question. A claim of which a cell is lacking is *not tested*, and a verdict that would be "
        "another one without collapsed trainings (†) is *inconclusive*."
    )
    found = judged(store, plan, sections, profile)
    for grid, verdicts in found:
        yield from tables(grid, verdicts)
    if not found:
        yield Text("None is tested: the study measures no cell of the profile.")


# -- 7 to 9: how the study is made ------------------------------------------------------------------------------------


def _public_start(study: Study) -> Verdict:
    if not study.sections:
        return verdict(7, NOT_TESTED, missing=["a measurement that is done"])
    if study.grid.is_random:
        return verdict(7, NOT_TESTED, missing=["a pretrained encoder: this one starts from random weights"])
    lacking: dict[str, None] = {}
    reasons: dict[str, None] = {}
    for key in (section.key for section in study.sections):
        name, content, tokenizer = key["encoder"], key["encoder_content"], key["tokenizer"]
        reasons[f"{name}: content {content}, tokenizer {tokenizer}"] = None
        if name.rpartition("/")[2] != XLM_R_LARGE:
            reasons[f"another encoder than {XLM_R_LARGE}"] = None
        if key["start"]:
            reasons[f"trained before k = 0 on {key['start']}"] = None
        for what, value in (("name", name), ("content", content), ("tokenizer", tokenizer)):
            if not value:
                lacking[f"records of {key['task']}/{key['split']} do not say the encoder's {what}"] = None
    return verdict(7, CONTRADICTED if lacking else SUPPORTED, reasons=[*reasons, *lacking])


def _phases(study: Study) -> Verdict:
    wrong: dict[str, None] = {}
    counts = {2: 0, 3: 0}
    seen: set[str] = set()
    for id, leaf in leaves(study.plan):
        model = canonical_json([leaf["model"], leaf["task"]])
        if model in seen or not study.store.exists(id):
            continue
        seen.add(model)
        steps = chain(study.plan, leaf)
        facts = training(steps, leaf["task"])
        if facts["base"] != study.grid.base or not facts["k"]:
            continue
        counts[2 + bool(facts["target"])] += 1
        label = study.plan["stages"][id].get("label", id)
        if not find(leaf["task"]).is_retrieval and not facts["target"]:
            wrong[f"{label}: no training for its target"] = None
        if leaf.get("head") not in (None, *steps.trains[-1][1]["mixture"]["tasks"]):
            wrong[f"{label}: its head is not of its last training"] = None
    if not wrong and not counts[3]:
        lacking = "a measurement, that is done, of a target that was trained for after an intermediate training (k = 1)"
        return verdict(8, NOT_TESTED, missing=[lacking])
    reasons = [f"models measured after three phases: {counts[3]}, after two: {counts[2]}"]
    if not wrong:
        reasons.append("every training has fresh heads, and every head that measures is of the last one")
    return verdict(8, CONTRADICTED if wrong else SUPPORTED, reasons=[*reasons, *wrong])


def _nine_tasks(study: Study) -> Verdict:
    missing = [f"{name} is not declared" for name in NINE if name not in names() and name not in study.singles]
    missing += study.no_singles
    if not any({*map(stands_for, tasks)} == set(NINE) for tasks in study.grid.plain):
        missing.append("no plain training on all nine tasks together (k = 9)")
    wrong, reasons = [], []
    for name, tasks in study.singles.items():
        rows: set[int] = set()
        for start in study.grid.plain[tasks].values():
            if not study.store.exists(start.model):
                missing.append(f"the training {start.name}, seed {start.seed}: is not done")
                continue
            result = study.store.record(start.model)["result"]
            rows |= {found["rows_present"] for found in result.get("tasks", {}).values() if "rows_present" in found}
        own = f" ({tasks[0]})" * (tasks[0] != name)
        reasons.append(
            f"{name}{own}: {' or '.join(f'{count:,}' for count in sorted(rows)) or 'unknown number of'} rows"
        )
        if not own and NINE[name] is not None and rows - {NINE[name]}:
            wrong.append(f"{name} had {', '.join(map(str, sorted(rows)))} training rows, published are {NINE[name]:,}")
    return verdict(9, CONTRADICTED if wrong else SUPPORTED, reasons=[*reasons, *wrong], missing=missing)


_PREDICATES: tuple[Callable[[Study], Verdict], ...] = (
    gain_claims.best_singles,
    gain_claims.all_together,
    gain_claims.retrieval_most,
    gain_claims.tydiqa,
    gain_claims.best_per_target,
    gain_claims.no_alternative,
    _public_start,
    _phases,
    _nine_tasks,
)
