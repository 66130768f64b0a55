"""What one step minimises on a batch: the loss of its task's kind, and what a recipe makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from xstilts.recipe import Recipe
from xstilts.tasks.task import Task

from .kinds import KINDS
from .model import Model
from .packing import Batch
from .robust import PERTURBS, robust_loss


def objective(model: Model, task: Task, batch: Batch, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """The loss of a batch, [], under the autocast of the caller; ``rng`` is the step's, on the CPU."""
    kind, head, robust = KINDS[task.kind.name], model.head(task.name), recipe.robust
    if robust is not None and robust.method in PERTURBS and task.kind.name != "mlm":
        return robust_loss(kind, model.encoder, head, batch, rng, robust)
    return kind.loss(model.encoder, head, batch, rng)
