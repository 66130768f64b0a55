"""What sets an intermediate training apart from the plain one, in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from xstilts.mixture import Mixture
from xstilts.recipe import Recipe
from xstilts.tasks import find

CONTROL = "control: "
_IN_POLICY = ("loss_balance", "tasks_per_step", "text_share")


def method(stages: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]] = ()) -> str:
    """The settings of intermediate and target stages that a plain declaration does not have; nothing for none.

    What a stage is a control for comes first. Those of the target's training alone are named so. How several tasks
    share a training, and in what languages its rows are, is said by its policy.
    """
    own, last = _words(stages), _words(targets)
    return ", ".join([*own, *(f"{word} for the target" for word in last if word not in own)])


def _words(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    words = [word for train in stages for word in ([train["method"]] if "merged" in train else _settings(train))]
    controls = (CONTROL + train["control"] for train in stages if "control" in train)
    return list(filter(None, dict.fromkeys([*controls, *words])))


def num_before(trains: Sequence[Mapping[str, Any]]) -> int:
    """How many of the first trainings are where a study starts: those on text alone, which are no controls."""
    starts = (all(map(is_mlm, train["mixture"]["tasks"])) and "control" not in train for train in trains)
    return next((number for number, start in enumerate(starts) if not start), len(trains))


@functools.cache
def is_mlm(task: str) -> bool:
    """Whether a task is masked language modelling."""
    return find(task).kind.name == "mlm"


def _settings(train: Mapping[str, Any]) -> Iterator[str]:
    for declared, names in ((train["recipe"], _optional(Recipe)), (train["mixture"], _optional(Mixture))):
        yield from (_setting(name, declared[name]) for name in names if name in declared)


@functools.cache
def _optional(declaration: type) -> tuple[str, ...]:
    """The fields that a plain declaration leaves out."""
    optional = (field.name for field in fields(declaration) if "absent" in field.metadata)
    return tuple(name for name in optional if name not in _IN_POLICY)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['kind']}: {value['method']}" if "method" in value else str(value["kind"])
    words = name.replace("_", " ")
    return words if value is True else f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
