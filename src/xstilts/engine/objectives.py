"""What one step minimises on a batch: the loss of its task's kind, and what a recipe makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from xstilts.recipe import Recipe
from xstilts.tasks.task import Task

from .kinds import KINDS
from .model import Model
from .packing import Batch


def objective(model: Model, task: Task, batch: Batch, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """The loss of a batch, [], under the autocast of the caller; ``rng`` is the step's, on the CPU."""
    return KINDS[task.kind.name].loss(model.encoder, model.head(task.name), batch, rng)
