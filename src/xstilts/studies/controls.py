"""Controls: as much training as with the most intermediate tasks, without what these are meant to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xstilts.mixture import Budget
from xstilts.spec import one_of
from xstilts.stage import Train
from xstilts.tasks import find

CONTROLS = ("shuffled", "single", "text")


def check_controls(
    controls: Sequence[str], task: str, tasks: Sequence[str], most: int, translate: Sequence[str]
) -> None:
    """Refuse controls that are unknown, or have nothing to be the control of.

    Args:
        controls: some of `CONTROLS`.
        task: the task of ``single``, if one is named.
        tasks: the study's intermediate tasks.
        most: the largest number of them that are trained on together.
        translate: the languages that their rows are translated to.

    Raises:
        ValueError: saying what was expected.
    """
    for name in controls:
        one_of("control", name, CONTROLS)
    if task and "single" not in controls:
        raise ValueError(f"control_task={task}: it is the task of the control single: expected controls=single")
    if task:
        one_of("control_task", task, tasks)
    if controls and not most:
        raise ValueError(f"controls={','.join(controls)}: expected a k above 0, whose controls they are")
    if controls and translate:
        raise ValueError(f"controls={','.join(controls)}: expected no translate, whose rows would count as well")


def examples_at(budget: str, tasks: Sequence[str], most: int, examples: int) -> list[int]:
    """The examples of each of the ``most`` tasks that are trained on together, of the largest ones where it matters.

    Args:
        budget: fixed, proportional or per-task, of ``examples``.
        tasks: their names; one whose number of rows is not declared counts as having enough.
        most: how many are trained on together.
        examples: in all, at most of every task, or of every task.
    """
    if budget == "fixed":
        whole, more = divmod(examples, most)
        return [whole + (number < more) for number in range(most)]
    counts = [find(name).count("train", "en") for name in tasks] if budget == "proportional" else [None] * len(tasks)
    return sorted(examples if count is None else min(examples, count) for count in counts)[-most:]


def whole_budget(train: Train, examples: int) -> Train:
    """A training on one task, with the examples of several."""
    return replace(train, budget=Budget(examples), control="the whole budget on one task")


def on_text(train: Train, text: str, num_steps: int) -> Train:
    """Masked language modelling from where a training starts, in its way, for a number of steps."""
    mixture = replace(train.mixture, tasks=(text,))
    control = "text for as many steps"
    return replace(train, mixture=mixture, budget=Budget(num_steps, "steps"), control=control)
