"""One optimisation step: forward, backward, clipping and AdamW; on CUDA one graph for each task and token shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xstilts.recipe import Recipe
from xstilts.spec import stream_seed
from xstilts.stage import Train
from xstilts.tasks.task import Task

from . import balance, ranks, shards
from .attention import varlen_problem
from .data import Tokenised
from .kinds import KINDS
from .model import Model
from .objectives import objective
from .packing import Batch, Schedule, Shape, collate, own_part, token_shapes
from .rates import rate_shares


def learning_rate(recipe: Recipe, step: int, num_steps: int, task: str = "") -> float:
    """Linear warm-up from 0 over ``warmup_share`` of the steps, then linear decay to 0, or constant.

    As transformers' ``get_linear_schedule_with_warmup``, up to the rate of the step's task; ``step`` counts from 0.
    """
    num_warmup, rate = math.ceil(recipe.warmup_share * num_steps), recipe.learning_rate_of(task)
    if step < num_warmup:
        return rate * step / num_warmup
    if recipe.decay == "constant":
        return rate
    return rate * (num_steps - step) / max(1, num_steps - num_warmup)


def decay_factor(recipe: Recipe, tasks: Sequence[str], num_steps: int, share: float = 1.0) -> float:
    """What AdamW's decay makes of a weight without a gradient in the first steps, of these tasks, as a factor.

    ``share`` is that of the recipe's rate which the weight gets.
    """
    rates = (share * learning_rate(recipe, step, num_steps, task) for step, task in enumerate(tasks))
    return math.prod(1 - rate * recipe.weight_decay for rate in rates)


def adamw(model: Model, recipe: Recipe, device: torch.device) -> torch.optim.AdamW:
    """AdamW without decay on biases, normalisation weights and tasks' variances: the parameters of one dimension.

    A group's ``rate_share`` is what its parameters get of the recipe's rate.

    Raises:
        ValueError: for a recipe with ``layer_decay`` and an encoder whose layers are not one list.
    """
    on_cuda = device.type == "cuda"
    shares = rate_shares(model, recipe.layer_decay) if recipe.layer_decay != 1 else {}
    variances = balance.log_variances(model)
    shares |= {name: recipe.variance_rate for name, p in model.named_parameters() if id(p) in variances}
    groups: list[dict[str, Any]] = []
    for share in sorted({1.0, *shares.values()}):
        own = [p for name, p in model.named_parameters() if p.requires_grad and shares.get(name, 1.0) == share]
        for parameters, decay in (
            ([p for p in own if p.ndim > 1], recipe.weight_decay),
            ([p for p in own if p.ndim <= 1], 0.0),
        ):
            rate = torch.zeros((), device=device) if on_cuda else recipe.learning_rate
            for apart in shards.apart(parameters):
                groups.append({"params": apart, "weight_decay": decay, "lr": rate, "rate_share": share})
    return torch.optim.AdamW(
        groups,
        lr=torch.zeros((), device=device) if on_cuda else recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
        capturable=on_cuda,
    )


def graph_problem(stage: Train, model: Model, kinds: set[str], device: torch.device) -> str | None:
    """Why the steps of a stage cannot be CUDA graphs, or ``None``."""
    if device.type != "cuda":
        return f"the device is {device.type}"
    if ranks.count() > 1:
        return f"{ranks.count()} processes share each step"
    if stage.recipe.precision != "bfloat16":
        return f"precision is {stage.recipe.precision}"
    if model.encoder.padded:
        return "the encoder pads by itself"
    if stage.recipe.attention_dropout != 0:
        return "attention dropout is not 0"
    if stage.recipe.lora is not None:
        return "the steps of adapters (lora) were not tried as graphs"
    if model.encoder.recomputes:
        return "activations are computed again in the backward pass"
    if stage.mixture.tasks_per_step != 1:
        return "a step has examples of several tasks"
    if "mlm" in kinds:
        return "masked language modelling has a varying number of masked tokens"
    if stage.recipe.robust is not None and stage.recipe.robust.method in ("adversarial", "smart"):
        return f"robust training by {stage.recipe.robust.method} looks for a perturbation by gradients within a step"
    return varlen_problem()


class Steps:
    """Does the steps of a stage.

    Every step of a shape and task that was met before replays one CUDA graph; the first one runs by itself, the second
    is captured. Dropout and masks are functions of (seed, step), in a replayed graph too, so a resume needs no state of
    a random generator.

    Attributes:
        path: ``graph``, or ``plain`` with the reason.
        num_parts: how many parts a step is done in, one after the other, so that it fits into the device's memory.
        waste: share of the tokens of all steps that only fill a shape.
    """

    def __init__(
        self,
        stage: Train,
        model: Model,
        optimiser: torch.optim.AdamW,
        plan: Schedule,
        tasks: list[Task],
        data: list[Tokenised],
        device: torch.device,
    ) -> None:
        self._stage, self._model, self._optimiser, self._plan = stage, model, optimiser, plan
        self._tasks, self._data, self._device = tasks, data, device
        problem = graph_problem(stage, model, {task.kind.name for task in tasks}, device)
        self.path = f"plain: {problem}" if problem else "graph"
        self.waste = 0.0
        self.num_parts = 1
        self._shapes = [] if problem else self._choose_shapes()
        self._graphs: dict[tuple[int, Shape], _Graph | None] = {}
        self._pool = None if problem else torch.cuda.graph_pool_handle()

    def _choose_shapes(self) -> list[dict[int, Shape]]:
        """For each task the shapes by number of tokens; all tasks share the sizes."""
        plan = self._plan
        tokens, sequences = np.zeros(plan.num_steps, np.int64), np.zeros(plan.num_steps, np.int64)
        for step in range(plan.num_steps):
            data, rows = self._data[int(plan.task_of_step[step])], plan.rows(step)
            tokens[step], sequences[step] = data.num_tokens[rows].sum(), data.num_sequences[rows].sum()
        sizes = token_shapes(tokens)
        held = np.array(sizes)[np.searchsorted(sizes, tokens)]
        self.waste = float(1 - tokens.sum() / held.sum())
        shapes = []
        for number, data in enumerate(self._data):
            own = plan.task_of_step == number
            most = int(sequences[own].max(initial=0)) + 1
            longest = max(data.longest, int((held - tokens)[own].max(initial=0)))
            shapes.append({size: Shape(size, most, longest) for size in sizes})
        return shapes

    def batch(self, step: int) -> tuple[list[tuple[int, Batch]], Shape | None]:
        """The tasks of a step by number with their batches, on the device, or on the CPU in the shape of its graph."""
        parts = self._plan.parts(step)
        shapes = self._shapes  # once: the thread that does the steps may give them up meanwhile
        number, rows = parts[0]
        if not shapes or len(rows) < self._plan.batch_examples[number]:  # what is left of a task's examples
            return [(task, own_part(self._data[task], own, self._device)) for task, own in parts], None
        num_tokens = int(self._data[number].num_tokens[rows].sum())
        shape = next(shape for size, shape in shapes[number].items() if size >= num_tokens)
        batch = collate(self._data[number], rows, torch.device("cpu"), shape)
        return [(number, _mapped(batch, Tensor.pin_memory))], shape

    def num_tokens(self, batches: list[tuple[int, Batch]]) -> int:
        """Tokens of a step's rows, those of all processes, without tokens that fill."""
        return sum(int(self._data[number].num_tokens[batch.whole.rows].sum()) for number, batch in batches)

    def __call__(self, step: int, batches: list[tuple[int, Batch]], shape: Shape | None) -> Tensor:
        """Do one step; the loss before it, [] on the device, to be read before the next step.

        When the device has not enough memory, this step and all further ones are done in twice as many parts.

        Raises:
            torch.OutOfMemoryError: for a step that cannot be done in parts, or one example that does not fit.
            MemoryError: the optimiser's moments do not fit.
        """
        while True:
            try:
                return self._step(step, batches, shape if self.num_parts == 1 else None)
            except MemoryError as error:
                raise MemoryError(f"step {step} ({self._plan.names(step)}): {error}") from error
            except torch.OutOfMemoryError as error:
                splits = [self._splits(number, batch) for number, batch in batches]
                # the others wait where a loss is of all examples, or layers are divided: one cannot do that again alone
                alone = self._model.encoder.divided or (ranks.count() > 1 and not all(splits))
                if not any(splits) or alone:
                    size = sum(batch.num_examples for _, batch in batches)
                    what = f"a step of {size} examples of {self._plan.names(step)} in {self.num_parts} parts"
                    error.add_note(f"step {step}: {what} does not fit: lower batch_examples or max_tokens")
                    raise
            self.num_parts *= 2
            self._give_up_graphs(f"out of memory, a step is done in {self.num_parts} parts")
            self._optimiser.zero_grad(set_to_none=True)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _splits(self, number: int, batch: Batch) -> bool:
        """Whether a task's batch can be done in more parts than now."""
        kind = KINDS[self._tasks[number].kind.name]
        return self.num_parts < batch.num_examples and kind.num_terms(batch) is not None

    def _parts(self, number: int, batch: Batch) -> list[Batch]:
        """A task's batch as it is, or in as many parts as steps are now done in, if it is a sum over parts."""
        if self.num_parts == 1 and not batch.packing.static:
            return [batch]
        is_sum = KINDS[self._tasks[number].kind.name].num_terms(batch) is not None
        rows = np.array_split(batch.rows, min(self.num_parts, batch.num_examples) if is_sum else 1)
        return [replace(collate(self._data[number], part, self._device), shared=batch.shared) for part in rows]

    def _step(self, step: int, batches: list[tuple[int, Batch]], shape: Shape | None) -> Tensor:
        model, optimiser, stage, plan = self._model, self._optimiser, self._stage, self._plan
        if len(batches) > 1:
            rng = prepare(optimiser, stage, plan.names(step), step, plan.num_steps)
            groups = [(self._tasks[number], self._parts(number, batch)) for number, batch in batches]
            return mixed_update(model, optimiser, groups, stage, rng)
        ((number, batch),) = batches
        task = self._tasks[number]
        if shape is not None and (number, shape) in self._graphs:
            rng = prepare(optimiser, stage, task.name, step, plan.num_steps)
            graph = self._graphs[number, shape]
            if graph is not None:
                return graph(batch)
            optimiser.zero_grad(set_to_none=True)
            own = _mapped(batch, self._to_device)
            try:
                graph = _Graph(own, lambda: update(model, optimiser, task, [own], stage, rng, cache=False), self._pool)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # the step was not done
                self._give_up_graphs(f"a step cannot be captured: {str(error).splitlines()[0]}")
                shape = None
            else:
                self._graphs[number, shape] = graph
                return graph(batch)
        parts = self._parts(number, batch)
        if shape is not None:
            self._graphs[number, shape] = None
        return plain_step(model, optimiser, task, parts, stage, step, plan.num_steps)

    def _give_up_graphs(self, reason: str) -> None:
        """Do all further steps plainly; no more batches of a static shape are made."""
        self.path = f"plain: {reason}"
        self._shapes = []
        self._graphs.clear()

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)


def plain_step(
    model: Model,
    optimiser: torch.optim.AdamW,
    task: Task,
    parts: Sequence[Batch],
    stage: Train,
    step: int,
    num_steps: int,
) -> Tensor:
    """One optimisation step on a batch in one part or several; the loss before it, []."""
    rng = prepare(optimiser, stage, task.name, step, num_steps)
    return update(model, optimiser, task, parts, stage, rng)


def prepare(optimiser: torch.optim.AdamW, stage: Train, task: str, step: int, num_steps: int) -> torch.Generator:
    """Set what a step depends on beside its batch: the rate, and the streams of (seed, step) for dropout and masks."""
    torch.manual_seed(stream_seed(stage.seed, "dropout", step, *([ranks.number()] if ranks.number() else [])))
    rate = learning_rate(stage.recipe, step, num_steps, task)
    for group in optimiser.param_groups:
        own = group["rate_share"] * rate
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own
    return torch.Generator().manual_seed(stream_seed(stage.seed, "mask", step))


def update(
    model: Model,
    optimiser: torch.optim.AdamW,
    task: Task,
    parts: Sequence[Batch],
    stage: Train,
    rng: torch.Generator,
    cache: bool = True,
) -> Tensor:
    """Forward, backward, clipping and AdamW; ``cache`` keeps the casts of weights, which a graph must not.

    Parts of a batch weigh as many terms as their losses are means over, so that their sum is the loss of the batch.
    """
    model.train()
    optimiser.zero_grad(set_to_none=True)
    return _descend(model, optimiser, stage.recipe, _backward(model, task, parts, stage, rng, cache))


def mixed_update(
    model: Model,
    optimiser: torch.optim.AdamW,
    groups: Sequence[tuple[Task, Sequence[Batch]]],
    stage: Train,
    rng: torch.Generator,
) -> Tensor:
    """`update` on several tasks at once: the mean of their losses, each weighing as many examples as it has."""
    counts = [sum(part.num_examples for part in _whole(parts)) for _, parts in groups]
    model.train()
    optimiser.zero_grad(set_to_none=True)
    losses = [
        _backward(model, task, parts, stage, rng, share=count / sum(counts))
        for (task, parts), count in zip(groups, counts, strict=True)
    ]
    return _descend(model, optimiser, stage.recipe, torch.stack(losses).sum())


def _whole(parts: Sequence[Batch]) -> Sequence[Batch]:
    """The parts that together are the batch of all processes."""
    return parts if parts[0].shared is None else [parts[0].whole]


def _weights(kind: ModuleType, parts: Sequence[Batch]) -> list[tuple[float, float]]:
    """For each part its share in the loss of the whole batch, and what the loss that its kind gives is multiplied by.

    That of a kind without `num_terms` is, of a process's part, the part's share already.
    """
    if len(parts) == 1 and parts[0].shared is None:
        return [(1.0, 1.0)]
    terms = [kind.num_terms(part) for part in parts]
    total = sum(terms) if parts[0].shared is None else kind.num_terms(parts[0].whole)
    stands_in = parts[0].shared is not None and parts[0].shared.stands_in
    if total is None:
        return [(1 / ranks.count(), float(not stands_in))]
    return [(0.0, 0.0) if stands_in else (count / total, count / total) for count in terms]


def _backward(
    model: Model,
    task: Task,
    parts: Sequence[Batch],
    stage: Train,
    rng: torch.Generator,
    cache: bool = True,
    share: float | None = None,
) -> Tensor:
    """Add the gradients of a task's loss, of its ``share`` if the step has other tasks; the plain loss, []."""
    kind, half = KINDS[task.kind.name], stage.recipe.precision == "bfloat16"
    cache = cache and not model.encoder.divided  # it would keep the casts of layers that are whole for a moment
    whole = _whole(parts)
    terms = [kind.num_terms(part) for part in whole] if len(whole) > 1 else [1]
    weigh = balance.weighing(task, model.head(task.name), whole, terms, stage.recipe)
    losses = []
    for part, (weight, factor) in zip(parts, _weights(kind, parts), strict=True):
        with torch.autocast(part.ids.device.type, torch.bfloat16, enabled=half, cache_enabled=cache):
            loss = objective(model, task, part, stage.recipe, rng)
        if share is not None:
            weight, factor = weight * share, factor * share
        loss = loss * factor if factor != 1 else loss
        weigh(loss, weight).backward()
        losses.append(loss.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


@ranks.one_try()
def _descend(model: Model, optimiser: torch.optim.AdamW, recipe: Recipe, loss: Tensor) -> Tensor:
    """Sum the gradients of all processes, clip them and take AdamW's step; the sum of the processes' losses, [].

    Trained variances have no part in the norm.

    Raises:
        MemoryError: the device has no room for the moments, which are made in the first step.
    """
    loss = ranks.summed(model, loss)
    variances = balance.log_variances(model)
    gradients = [p.grad for p in model.parameters() if p.grad is not None and id(p) not in variances]
    norm = shards.total_norm(gradients)
    # AdamW divides by it as it reads the gradients, which clip_grad_norm_ would read and write once more
    optimiser.grad_scale = ((norm + 1e-6) / recipe.max_grad_norm).clamp(min=1.0)  # type: ignore[attr-defined]
    try:
        optimiser.step()
    except torch.OutOfMemoryError as error:  # some parameters may have moved: the step cannot be done again in parts
        raise MemoryError(f"the optimiser's moments do not fit beside the weights and gradients: {error}") from error
    return loss


class _Graph:
    """A captured step and the tensors that it reads."""

    def __init__(self, batch: Batch, step: Callable[[], Tensor], pool: Any) -> None:
        self._batch = batch
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: the thread that makes the next batch allocates pinned memory meanwhile
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._loss = step()

    def __call__(self, batch: Batch) -> Tensor:
        """Replay on another batch of the shape, from the CPU."""
        for own, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._loss


def _tensors(batch: Batch) -> list[Tensor]:
    """Everything that a step reads of a batch, in one order."""
    found = [batch.ids, batch.packing.bounds, batch.packing.positions, batch.starts, batch.lengths, batch.segment]
    found += [batch.example, batch.first, *(batch.targets[name] for name in sorted(batch.targets))]
    return found if batch.types is None else [*found, batch.types]


def _mapped(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """A batch with another tensor in the place of each."""
    packing = replace(batch.packing, bounds=function(batch.packing.bounds), positions=function(batch.packing.positions))
    return replace(
        batch,
        ids=function(batch.ids),
        types=None if batch.types is None else function(batch.types),
        packing=packing,
        starts=function(batch.starts),
        lengths=function(batch.lengths),
        segment=function(batch.segment),
        example=function(batch.example),
        first=function(batch.first),
        targets={name: function(values) for name, values in batch.targets.items()},
    )
