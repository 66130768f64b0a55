"""The one training loop: one task a step, exact resume from a step number."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from xstilts.recipe import Recipe
from xstilts.stage import Train
from xstilts.tasks import find
from xstilts.tasks.shuffling import KINDS as LABELLED
from xstilts.tasks.synonyms import KINDS as COPIED
from xstilts.tasks.synonyms import Synonyms
from xstilts.tasks.task import Task

from . import Context, Interrupted, checkpoint, moments, numeric_path, ranks, shards, start_folder
from . import encoder as encoders
from .data import Tokenised, tokenised, translations
from .evaluate import forget_model, keep_model, predict
from .kinds import KINDS
from .lists import refuse_overflow
from .model import Model
from .packing import Schedule, schedule
from .rates import layer_share
from .rows import RowsInUse
from .step import Steps, adamw, decay_factor, learning_rate

_REPORT_SECONDS = 0.5
_T = TypeVar("_T")


@dataclass(frozen=True)
class Member:
    """One task of the mixture with its rows; ``dev`` is English dev data, or training rows where there is none."""

    task: Task
    rows: Tokenised
    dev: Tokenised
    dev_is: str


def train(stage: Train, out: Path, context: Context) -> dict[str, Any]:
    """Train a stage's encoder on its mixture; see `Train`, `Mixture` and `Recipe` for what each setting means.

    Writes ``weights/encoder`` (an ordinary Hugging Face folder), ``weights/heads.safetensors``, ``log.jsonl`` and, of a
    recipe with ``lora``, ``weights/adapter``.
    """
    recipe, device, phase = stage.recipe, torch.device(context.device), context.phases
    phase("load")
    forget_model()
    with ranks.first_alone():
        folder = start_folder(stage.start, context)
    model = Model(folder, recipe)
    if recipe.lora is not None:
        model.adapt(recipe.lora, stage.seed)
    model.add_heads(stage.mixture.tasks, recipe, stage.seed)
    if recipe.frozen_layers is not None:
        encoders.freeze(model.encoder, recipe.frozen_layers)
    if context.recompute_activations:
        model.encoder.recompute_activations()
    phase("data")
    with ranks.first_alone():
        members = _members(stage, model, context)
    in_use = _rows_in_use(model, members)
    phase("load")
    divided = context.shard and ranks.count() > 1
    if divided:
        shards.shard(model.encoder, recipe, device)
    works = divided or not ranks.number()  # what follows a step is done by the first process, or takes all of them
    model.to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    plan = schedule(
        stage.mixture,
        stage.budget,
        stage.seed,
        present=[len(member.rows) for member in members],
        official=stage.official_sizes or [None] * len(members),
        batch_examples=[recipe.batch_examples_of(member.task.name) for member in members],
        languages=[member.rows.languages if member.task.kind.name == "mlm" else () for member in members],
    )
    optimiser = adamw(model, recipe, device)
    path = numeric_path(stage, context.device, ranks.count(), context.shard)
    with ranks.first_alone():  # what is damaged is set aside once
        course = checkpoint.resume(context.work, model, optimiser, path)
    first_step, earlier_seconds, started = course.step, course.seconds, time.monotonic()
    checkpointed = reported = started

    losses = torch.zeros(plan.num_steps, device=device)
    losses[:first_step] = torch.tensor(course.losses, device=device)

    steps = Steps(stage, model, optimiser, plan, [m.task for m in members], [member.rows for member in members], device)
    saved_step = first_step

    def save() -> None:
        nonlocal saved_step
        if course.step == saved_step or not works:  # what is there is the same
            return
        course.losses = losses[: course.step].tolist()  # waits for the device
        course.seconds = earlier_seconds + time.monotonic() - started
        phase("checkpoint")
        _refuse_nan(course.losses, plan)
        checkpoint.save(context.work, model, optimiser, course)
        saved_step = course.step

    phase("batches")
    for step, (batches, shape) in _ahead(steps.batch, first_step, plan.num_steps):
        phase("steps")
        if ranks.told(context.stop()):
            save()
            raise Interrupted(f"stopped at step {course.step} of {plan.num_steps}")
        losses[step] = steps(step, batches, shape)
        course.num_tokens.append(steps.num_tokens(batches))
        course.step += 1
        if course.step == plan.num_steps or course.step % recipe.evaluate_every_steps == 0:
            _refuse_nan(losses[: course.step].tolist(), plan)  # waits for the device
            ranks.check_alike(model)
            phase("dev")
            if works:
                _evaluate(members, model, course, recipe, device, context.work)
            if recipe.checkpoint == "best":
                save()
        now = time.monotonic()
        due = now - checkpointed >= context.checkpoint_seconds
        if (ranks.told(due) if divided else due) and course.step < plan.num_steps:
            save()
            checkpointed = time.monotonic()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            speed = sum(course.num_tokens[first_step:]) / (now - started)
            loss = float(losses[step])
            context.report(
                {
                    "step": course.step,
                    "steps": plan.num_steps,
                    "first_step": first_step,
                    "loss": loss,
                    "tokens_per_second": speed,
                }
            )
        phase("batches")

    if not works:
        return {}
    seconds = time.monotonic() - started
    phase("save")
    course.losses = losses.tolist()  # finite: the last step was evaluated
    moments.write(model, optimiser, out)
    sizes = checkpoint.sizes(model, optimiser)
    if recipe.checkpoint == "best":
        if divided:
            ranks.told(True)  # waits until the first process has written them
        checkpoint.load_best(context.work, model, course)
    if divided:
        shards.join(model.encoder)
        if ranks.number():
            return {}
    result = _result(plan, members, course, recipe) | sizes
    if in_use:
        share = layer_share(recipe.layer_decay, 0, model.encoder.num_layers)
        names = [plan.names(step) for step in range(result["checkpoint_step"])]
        in_use.restore(decay_factor(recipe, names, plan.num_steps, share))
    model.save(out / "weights")
    _write_log(out / "log.jsonl", plan, course, recipe)
    if not divided:
        keep_model(model, stage.id, out / "weights", context.device)
    return result | {
        "step_path": steps.path,
        "step_parts": steps.num_parts,
        "step_waste": steps.waste,
        "embedding_rows": [in_use.num_rows, in_use.num_whole] if in_use else None,
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "tokenizer_fingerprint": model.fingerprint,
        "num_layers": model.encoder.num_layers,
        "tokens_per_second": sum(course.num_tokens[first_step:]) / max(seconds, 1e-9),
        "resumed_at_step": first_step,
        "earlier_seconds": earlier_seconds,
    }


def _ahead(make: Callable[[int], _T], start: int, stop: int) -> Iterator[tuple[int, _T]]:
    """Numbers and what is made of them, each made in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(make, start) if start < stop else None
        for number in range(start, stop):
            assert coming is not None
            made = coming.result()
            coming = thread.submit(make, number + 1) if number + 1 < stop else None
            yield number, made


def _rows_in_use(model: Model, members: list[Member]) -> RowsInUse | None:
    """The embedding table cut down to what the rows of a stage reach, where that is exact and the table is trained."""
    frozen = not model.encoder.model.get_input_embeddings().weight.requires_grad
    if model.encoder.padded or frozen or any(member.task.kind.name == "mlm" for member in members):
        return None
    data = {id(part): part for member in members for part in (member.rows, member.dev)}
    return RowsInUse(model.encoder, data.values())


def _members(stage: Train, model: Model, context: Context) -> list[Member]:
    translated = translations(stage.translated, context)
    robust = stage.recipe.robust
    synonyms = None
    if robust is not None and robust.method == "synonyms":
        assert robust.neighbours, "Robust gives every method its fields"
        assert robust.neighbours_content, "the plan fills it"
        assert robust.num_copies
        synonyms = Synonyms(robust.neighbours, robust.neighbours_content, robust.num_copies, stage.seed)

    def read(name: str, split: str, synonyms: Synonyms | None = None) -> Tokenised | None:
        parts = [part for part in (*stage.data, *translated) if part.task == name and part.split == split]
        if not parts:
            return None
        shuffles = stage.mixture.shuffled_labels and find(name).kind.name in LABELLED
        return tokenised(
            parts,
            model.tokenizer,
            model.tokenizer_key,
            max_tokens=min(stage.recipe.max_tokens_of(name), model.encoder.max_positions),
            synonyms=synonyms,
            shuffled=stage.seed if shuffles and split == "train" else None,
            translated=translated,
            data_dir=context.data_dir,
            cache_dir=context.cache_dir,
        )

    members = []
    for name in stage.mixture.tasks:
        task = find(name)
        own = synonyms if task.kind.name in COPIED else None
        rows, dev = read(name, "train", own), read(name, "dev")
        if rows is None or not len(rows):
            raise ValueError(f"{name} has no training rows")
        given = read(name, "train") if own and dev is None else rows
        members.append(Member(task, rows, dev or given or rows, "dev" if dev else "train"))
    return members


def _refuse_nan(losses: list[float], plan: Schedule) -> None:
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} at step {step} ({plan.names(step)}): lower the "
                "learning rate, or take precision float32 where the encoder overflows in half precision"
            )


def _evaluate(
    members: list[Member],
    model: Model,
    course: checkpoint.Course,
    recipe: Recipe,
    device: torch.device,
    work: Path,
) -> None:
    """Measure every task on English dev rows; their unweighted mean decides which checkpoint is best.

    These are the first ``dev_examples`` (Phang et al. 2020), or as many evenly spaced ones of a union or of
    text in several languages. Tasks measured on training rows have no say in the choice.

    Raises:
        FloatingPointError: the last update broke the weights, which its loss, taken before it, does not show.
    """
    model.eval()
    scores = {}
    for member in members:
        kind = member.task.kind.name
        count = min(recipe.dev_examples, len(member.dev))
        spread = len(member.dev) if member.task.members or kind == "mlm" else count
        rows = np.arange(count) * spread // count
        columns = predict(
            model,
            model.head(member.task.name),
            kind,
            member.dev,
            rows=rows,
            precision=recipe.precision,
            device=device,
        )
        for values in columns.values():
            refuse_overflow(values, f"the predictions after step {course.step} ({member.task.name})")
        scores[member.task.name] = dev_score(kind, columns) | {"on": member.dev_is, "num_examples": len(rows)}
        if kind == "mlm":
            scores[member.task.name]["loss_by_language"] = _loss_by_language(member.dev, rows, columns)
    course.evaluations.append({"step": course.step, "dev": scores})
    if recipe.checkpoint == "best":
        accuracies = [score["accuracy"] for score in scores.values() if score["on"] == "dev" and "accuracy" in score]
        mean = sum(accuracies) / len(accuracies)
        if ranks.told(mean > course.best_score) if model.encoder.divided else mean > course.best_score:
            course.best_score = mean
            checkpoint.save_best(work, model, course)


def _loss_by_language(dev: Tokenised, rows: np.ndarray, columns: dict[str, Any]) -> dict[str, float]:
    """The loss in nats of those of ``rows`` that are in each language, none where no token of it was masked."""
    bounds = np.cumsum([0, *(count for _, count in dev.languages)])
    found = {}
    for (code, _), start, stop in zip(dev.languages, bounds, bounds[1:], strict=False):
        own = {name: values[(start <= rows) & (rows < stop)] for name, values in columns.items()}
        if own["num_masked"].sum():
            found[code] = dev_score("mlm", own)["loss"]
    return found


def dev_score(kind: str, columns: dict[str, Any]) -> dict[str, Any]:
    """The kind's own: accuracy and collapse, or mean loss in nats for masked tokens.

    *Collapsed* means that the model learned nothing that depends on its input. Classification and tags: it stayed
    at the majority class. Multiple choice: it gives every choice the same probability, 1/n. Spans: F1 against the
    first answer below a tenth, or never an answer where there are some.
    """
    return KINDS[kind].dev_score(columns)


def _result(plan: Schedule, members: list[Member], course: checkpoint.Course, recipe: Recipe) -> dict[str, Any]:
    best_step = int(course.best.rpartition("-")[2]) if course.best else course.step
    chosen = next(e for e in course.evaluations if e["step"] == best_step)
    tokens = _tokens_by_task(plan, members, course.num_tokens)
    tasks = {}
    for number, member in enumerate(members):
        tasks[member.task.name] = {
            "steps": int((tokens[number] > 0).sum()),
            "examples": int(plan.examples[number]),
            "tokens": int(tokens[number].sum()),
            "rows_present": len(member.rows),
            "dev": chosen["dev"][member.task.name],
        }
    return {
        "steps": plan.num_steps,
        "examples": int(plan.examples.sum()),
        "tokens": sum(course.num_tokens),
        "final_loss": course.losses[-1],
        "checkpoint_step": best_step,
        "collapsed": any(task["dev"].get("collapsed", False) for task in tasks.values()),
        "tasks": tasks,
    }


def _tokens_by_task(plan: Schedule, members: list[Member], num_tokens: list[int]) -> np.ndarray:
    """Tokens of each task in each step [K, S]; of a step of one task they are the step's."""
    found = np.zeros((len(members), plan.num_steps), dtype=np.int64)
    if plan.parts_per_step == 1:
        found[plan.task_of_step, np.arange(plan.num_steps)] = num_tokens
        return found
    for step in range(plan.num_steps):
        for number, rows in plan.parts(step):
            found[number, step] = members[number].rows.num_tokens[rows].sum()
    return found


def _write_log(path: Path, plan: Schedule, course: checkpoint.Course, recipe: Recipe) -> None:
    """One JSON line a step and one a dev evaluation; no wall times, so that a resumed run writes the same bytes."""
    with path.open("w") as log:
        for step, (loss, num_tokens) in enumerate(zip(course.losses, course.num_tokens, strict=True)):
            task = plan.names(step)
            line = {
                "step": step,
                "task": task,
                "loss": loss,
                "learning_rate": learning_rate(recipe, step, plan.num_steps, task),
                "tokens": num_tokens,
            }
            log.write(json.dumps(line) + "\n")
        for evaluation in course.evaluations:
            log.write(json.dumps(evaluation) + "\n")
