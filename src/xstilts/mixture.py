"""What a Train stage trains on, and how much of it, as declared values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .spec import Value, declared, one_of, positive

POLICIES = ("proportional", "capped", "uniform", "temperature", "explicit")
PER_TASK = "examples-per-task"
UNITS = ("examples", "epochs", "steps", PER_TASK)
T5_CAP = 2**17


@dataclass(frozen=True)
class Mixture(Value):
    """Which tasks an intermediate stage trains on, and in what shares.

    One task is drawn for each optimisation step (jiant's and the X-STILTs paper's scheme). ``policy``:
    *proportional* to task size, *capped* at ``cap`` examples (T5, K = 2^17), *uniform*, *temperature*
    (size^(1/T) after the cap, jiant), *explicit* ``weights``. ``sizes`` says which sizes: the ``official``
    training-set size, which a slice inherits, or the rows ``present``.

    ``draw="exact"`` gives every task its share of the steps to the nearest step, in shuffled order;
    ``draw="random"`` draws every step's task independently, as jiant does.

    With ``tasks_per_step`` above 1 a step is so many parts of equal size, each of one task, drawn as whole steps are
    otherwise (Muppet's heterogeneous batches); ``"all"`` gives every step examples of all tasks in their shares.

    ``text_share`` is the share of the examples that monolingual text gets, whatever the policy, which then divides the
    rest among the other tasks, and this share among several texts; an epoch is then one pass over the others' rows.
    ``languages`` are those of the text. In every pass over it a language of n rows gets a share of them in proportion
    to n^(1/``text_temperature``) (Conneau et al. 2020: 1/0.3); 1 is every row once.

    ``shuffled_labels`` permutes the labels of each task's training rows among these, anew for every seed of the stage
    (``tasks.shuffling``): a control that sees the same text with the same labels and learns nothing of what they mean.
    """

    kind: ClassVar[str] = "mixture"
    tasks: tuple[str, ...]
    policy: str = "proportional"
    sizes: str = "official"
    cap: int = T5_CAP
    temperature: float = 1.0
    weights: tuple[float, ...] = ()
    languages: tuple[str, ...] = ()
    draw: str = "exact"
    tasks_per_step: int | str = declared(absent=1)
    text_share: float | None = declared(absent=None)
    text_temperature: float = declared(absent=1.0)
    shuffled_labels: bool = declared(absent=False)

    @property
    def reads_official_sizes(self) -> bool:
        """Whether shares follow from the official sizes of the training sets."""
        return self.sizes == "official" and self.policy in ("proportional", "capped", "temperature")

    def check(self) -> None:
        """Raise ``ValueError`` for an empty or repeated task list, or weights that do not fit."""
        if not self.tasks:
            raise ValueError("mixture.tasks is empty: expected at least one task")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"mixture.tasks names a task twice: {', '.join(self.tasks)}")
        one_of("mixture policy", self.policy, POLICIES)
        one_of("mixture sizes", self.sizes, ("official", "present"))
        one_of("mixture draw", self.draw, ("exact", "random"))
        positive(self, "cap", "temperature")
        if (self.policy == "explicit") != bool(self.weights):
            raise ValueError("mixture.weights belongs to policy 'explicit', and that policy needs it")
        if self.weights and (len(self.weights) != len(self.tasks) or min(self.weights) <= 0):
            raise ValueError(f"mixture.weights has {len(self.weights)} values for {len(self.tasks)} tasks, all above 0")
        if not (self.tasks_per_step == "all" or (isinstance(self.tasks_per_step, int) and self.tasks_per_step > 0)):
            raise ValueError(f"mixture.tasks_per_step is {self.tasks_per_step!r}: expected a number above 0, or 'all'")
        if len(self.tasks) == 1:  # the same steps
            object.__setattr__(self, "tasks_per_step", 1)
        if self.text_share is not None and not 0 < self.text_share < 1:
            raise ValueError(f"mixture.text_share is {self.text_share}: expected 0 < share < 1")
        if not self.text_temperature >= 1:  # below 1 a small language could have no row in any pass
            raise ValueError(f"mixture.text_temperature is {self.text_temperature}: expected 1 or more")
        order = sorted(range(len(self.tasks)), key=self.tasks.__getitem__)  # a mixture is a set: one spelling, one id
        object.__setattr__(self, "tasks", tuple(self.tasks[i] for i in order))
        object.__setattr__(self, "weights", tuple(self.weights[i] for i in order if self.weights))


@dataclass(frozen=True)
class Budget(Value):
    """How much a Train stage sees: examples or steps in all, epochs of all tasks' (capped) sizes, or examples per task.

    Examples per task are those of an average task, of each one under the policy *uniform*; text that has a share of its
    own comes beside them.
    """

    kind: ClassVar[str] = "budget"
    amount: float
    unit: str = "examples"

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown unit or an amount that is not positive."""
        one_of("budget unit", self.unit, UNITS)
        positive(self, "amount")
