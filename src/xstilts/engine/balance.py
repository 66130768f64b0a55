"""How the losses of a mixture's tasks weigh against one another: `Recipe.loss_balance`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xstilts.recipe import Recipe
from xstilts.tasks.task import Task

from .kinds import KINDS

_LOG_VARIANCE = "log_variance"


def add_log_variance(head: nn.Module) -> None:
    """Give a task's head the trained logarithm of its variance, [1], which begins at 0: a weight of 1."""
    setattr(head, _LOG_VARIANCE, nn.Parameter(torch.zeros(1)))


def log_variances(model: nn.Module) -> dict[int, nn.Parameter]:
    """The trained variances of a model's heads, by the identity of the parameter."""
    heads = getattr(model, "heads", {})
    return {id(p): p for head in heads.values() if (p := getattr(head, _LOG_VARIANCE, None)) is not None}


def weighing(
    task: Task, head: Any, parts: Sequence[Any], terms: Sequence[int], recipe: Recipe
) -> Callable[[Tensor, float], Tensor]:
    """What is minimised in place of a task's loss: a function of the loss of a part and of the part's weight in it.

    *log-classes*: the loss over that of a model to which all outcomes are equally likely, the mean of log n(i), at
    least log 2 (Muppet, arXiv 2101.11038, where n(i) is the number of predictions that example i chooses
    among). Every untrained task then has a loss of about 1.

    *uncertainty*: exp(-s) loss + s / 2, with a trained s of the task (Kendall, Gal and Cipolla 2018, arXiv 1705.07115,
    equation 10 for a softmax, s the logarithm of the variance). Where the gradient of s is 0, s = log(2 loss).
    """
    if recipe.loss_balance == "log-classes":
        uniform = KINDS[task.kind.name].uniform_loss
        mean = sum(uniform(head, part) * count for part, count in zip(parts, terms, strict=True)) / sum(terms)
        scale = torch.as_tensor(mean).clamp(min=math.log(2))
        return lambda loss, weight: loss / scale
    if recipe.loss_balance == "uncertainty":
        return lambda loss, weight: (torch.exp(-head.log_variance) * loss + weight / 2 * head.log_variance).squeeze()
    return lambda loss, weight: loss
