"""Nine published claims on English intermediate training, and what of a study is read to judge them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xstilts.store import Store
from xstilts.tasks import PROFILES

from .grid import NO_PROFILE, Grid, Target, stands_for
from .rows import Document
from .stats import Section
from .verdicts import CONTRADICTED, NOT_TESTED, Claim, Effect, Verdict

PROFILE = "stilts-2020"
READABLE = (PROFILE, "xtreme-2020", NO_PROFILE)
NINE: dict[str, int | None] = {
    "anli+": 1_104_934,
    "mnli": 392_702,
    "qqp": 363_846,
    "squad-v2": 130_319,
    "squad-v1": 87_599,
    "hellaswag": 39_905,
    "ccg": None,
    "cosmosqa": 25_262,
    "commonsenseqa": 9_741,
}
"""The intermediate tasks of Phang et al. 2020 and their training rows; CCG's number is confirmed nowhere."""
BEST = ("squad-v1", "mnli", "hellaswag")
RETRIEVAL = ("bucc", "tatoeba")
MANY = 5
MARGIN = 0.01
"""A gain that is surely below one point is none (claim 6)."""
ALTERNATIVES = {"mlm": "masked language modelling mixed in", "translated": "machine-translated rows"}
XLM_R_LARGE = "xlm-roberta-large"

CLAIMS = {
    claim.number: claim
    for claim in (
        Claim(1, "Training on SQuAD, MNLI and HellaSwag alone improves the target average most",
              "+8.2, +7.5, +7.0 points", 0.26),
        Claim(2, "Training on all nine tasks together performs best", "+8.7 points", 0.25),
        Claim(3, "BUCC and Tatoeba, retrieval without training data, gain the most",
              "about 30 of some 49 points in total", 0.29),
        Claim(4, "TyDiQA improves consistently with many intermediate tasks, XNLI does not",
              "TyDiQA +10.9 F1, XNLI +0.8 (test, best task)", 0.17),
        Claim(5, "The best model per target improves the XTREME average", "+5.4 points over XLM-R Large", 0.33),
        Claim(6, "Plain English training beats masked language modelling mixed in and machine-translated rows",
              "no consistent gain from either", 0.32),
        Claim(7, "The start is a strong public multilingual encoder", "XLM-R Large", 0.32),
        Claim(8, "Three phases: public encoder, intermediate training, target training but for retrieval",
              "three phases", 0.41),
        Claim(9, "Nine different English intermediate tasks are studied, alone and together", "nine tasks", 0.28),
    )
}  # fmt: skip
"""By number; confidences are the source's own."""


@dataclass(frozen=True)
class Study:
    """What the predicates read: a grid, the sections of its base, and the plan and the store that it was made from."""

    grid: Grid
    sections: tuple[Section, ...]
    plan: Document
    store: Store

    @functools.cached_property
    def singles(self) -> dict[str, tuple[str, ...]]:
        """Those of `NINE` that the study trains on alone, by the task that theirs stands for."""
        alone = {stands_for(tasks[0]): tasks for tasks in self.grid.plain if len(tasks) == 1}
        return {name: alone[name] for name in NINE if name in alone}

    @functools.cached_property
    def targets(self) -> dict[str, Target]:
        """The targets of the benchmark that the study measures."""
        found: dict[str, Target] = {}
        for target in self.grid.targets:
            if target.stands_for not in found or target.task == target.stands_for:
                found[target.stands_for] = target
        return {name: found[name] for name in PROFILES[PROFILE].tasks if name in found}

    @property
    def no_singles(self) -> list[str]:
        """Those of `NINE` that it does not train on alone, in words."""
        lacking = [name for name in NINE if name not in self.singles]
        return [f"no plain training alone (k = 1) on {', '.join(lacking)}"] if lacking else []

    def no_targets(self, wanted: Sequence[str] = PROFILES[PROFILE].tasks) -> list[str]:
        """Targets that it does not measure, in words."""
        lacking = [name for name in wanted if name not in self.targets]
        if not lacking:
            return []
        under = "" if self.grid.profile == NO_PROFILE else f" under {self.grid.profile}"
        other = [f"{target.task}/{target.split}" for target in self.grid.others if stands_for(target.task) in lacking]
        but = f" ({', '.join(other)}: no cell of it)" * bool(other)
        return [f"no measurement{under} of {', '.join(lacking)}{but}"]


def verdict(
    number: int,
    answer: str,
    found: Mapping[str, Effect] | Sequence[Effect] = (),
    reasons: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> Verdict:
    """A verdict that is *not tested* where anything is missing, unless the rest contradicts the claim."""
    shown = tuple(found.values() if isinstance(found, Mapping) else found)
    if missing and answer != CONTRADICTED:
        answer = NOT_TESTED
    return Verdict(CLAIMS[number], answer, shown, tuple(reasons), tuple(dict.fromkeys(missing)))
