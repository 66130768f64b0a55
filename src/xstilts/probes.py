"""What a model makes of a task's rows, kept to choose intermediate tasks by: the declaration `Probe`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from .recipe import POOLINGS, PRECISIONS
from .spec import near, one_of, positive
from .stage import Data, Encoder, Merge, Stage, Train, label
from .tasks import find

LABELLED = ("classify", "choose", "tag")
"""Kinds whose rows have one label for a vector, so that a probe keeps labelled vectors."""
_WITH_GRADIENTS = ("classify", "choose", "tag", "span")  # their loss is a sum over examples


@dataclass(frozen=True)
class Probe(Stage):
    """Vectors of a task's rows, for choosing tasks; rows that are scored are refused.

    Kept are the mean vector of the rows, which needs no label (TextEmb), and one labelled vector each of at most
    ``num_examples``: of an example, of a choice (is it right?), or of a word (its tag). With ``gradients``, of a model
    that was trained on the task, also the mean squared gradient of its loss in every layer's output (TaskEmb).

    ``num_examples`` rows are drawn, the same for every model. ``layer`` is a hidden state, 0 for the embeddings and
    below 0 from the last one back. The plan fills ``data``.
    """

    kind: ClassVar[str] = "probe"
    model: Encoder | Train | Merge
    task: str
    split: str = "train"
    language: str = "en"
    num_examples: int = 1000
    layer: int = -1
    pooling: str = "mean"
    gradients: bool = False
    max_tokens: int = 256
    precision: str = "float32"
    num_threads: int = 1
    data: tuple[Data, ...] = ()

    @property
    def words(self) -> str:
        """What it is, for people."""
        how = " and gradients" if self.gradients else ""
        return f"vectors{how} of {self.task}/{self.split} {self.language}: {label(self.model)}"

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown pooling or precision, or a number below 1."""
        one_of("pooling", self.pooling, POOLINGS)
        one_of("precision", self.precision, PRECISIONS)
        positive(self, "num_examples", "max_tokens", "num_threads")


def probe_problems(stage: Probe) -> Iterator[str]:
    """Why a probe cannot work, or would choose by what is scored."""
    task = find(stage.task)
    if stage.split == "test":
        yield f"a probe of {stage.task}/test: what is scored chooses nothing; expected rows of train or dev"
    if stage.gradients:
        trained = stage.model.mixture.tasks if isinstance(stage.model, Train) else ()
        if stage.task not in trained:
            yield f"a probe with gradients needs a model trained on {stage.task}{near(stage.task, trained)}"
        if task.kind.name not in _WITH_GRADIENTS:
            kinds = ", ".join(_WITH_GRADIENTS)
            yield f"a probe with gradients takes tasks of kind {kinds}: {stage.task} is {task.kind.name}"
