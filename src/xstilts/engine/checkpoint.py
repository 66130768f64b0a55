"""Mid-stage checkpoints: trained weights, optimiser moments and the course so far, written whole by rename."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xstilts.spec import digest, file_sha256

from . import Damaged, ranks, shards

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Course:
    """How far a training has come; the step is the data cursor, the schedule position and the RNG state at once."""

    numeric_path: str
    step: int = 0
    losses: list[float] = field(default_factory=list)
    num_tokens: list[int] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    best: str = ""  # folder of the best weights so far, beside the checkpoint
    best_score: float = -math.inf
    best_sha256: str = ""
    seconds: float = 0.0  # spent on it, in all attempts


def tensors_of(module: nn.Module, leave_out: Container[str] = ()) -> dict[str, Tensor]:
    """A module's state on the CPU, contiguous, ready for safetensors; see `shards.saved` for that of divided layers."""
    return {name: shards.saved(value) for name, value in module.state_dict().items() if name not in leave_out}


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """`tensors_of` without the frozen parameters, which a resume finds in what the training started from."""
    return tensors_of(model, leave_out=_frozen(model))


def _frozen(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if not value.requires_grad}


def _load(model: nn.Module, file: Path) -> None:
    """Put back what `_trained` gave: every tensor of it, and no other."""
    own = model.state_dict()
    found = {name: shards.divided_as(value, own.get(name, value)) for name, value in load_file(file).items()}
    model.load_state_dict(found | _frozen(model))


def save_best(work: Path, model: nn.Module, course: Course) -> None:
    """Keep the present weights as the best; the next `save` makes them the ones that count."""
    course.best, weights = f"best-{course.step}", _trained(model)
    if ranks.number():
        return
    folder = work / course.best
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    course.best_sha256 = file_sha256(folder / "model.safetensors")
    _sync(folder)


def load_best(work: Path, model: nn.Module, course: Course) -> None:
    """Put the best weights back into ``model``."""
    _load(model, work / course.best / "model.safetensors")


def save(work: Path, model: nn.Module, optimiser: torch.optim.Optimizer, course: Course) -> None:
    """Write ``work/checkpoint-<step>``, then remove what it replaces; a crash leaves the older or the newer one.

    Of several processes the first one writes; where layers are divided, all must call it.
    """
    weights, state = _trained(model), optimiser.state_dict()["state"]
    moments = {f"{index}.{name}": shards.saved(values[name]) for index, values in state.items() for name in MOMENTS}
    if ranks.number():
        return
    part = work / "checkpoint.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(weights, part / "model.safetensors")
    save_file(moments, part / "optimiser.safetensors")
    text = json.dumps(dataclasses.asdict(course))
    files = {path.name: file_sha256(path) for path in part.iterdir()} | {"course.json": digest(text)}
    (part / "course.json").write_text(text)
    (part / "files.json").write_text(json.dumps(files))
    _sync(part)
    final = work / f"checkpoint-{course.step}"
    if final.exists():
        _set_aside(final)
    part.rename(final)
    for old in list(work.iterdir()):
        if old.name.startswith(("checkpoint-", "best-")) and old.name not in (final.name, course.best):
            _set_aside(old)
    for old in work.glob("discarded-*"):
        shutil.rmtree(old, ignore_errors=True)


def sizes(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, int]:
    """The bytes of AdamW's moments, and of all tensors that `save` writes: these and the weights."""
    moments = sum(values[name].nbytes for values in optimiser.state.values() for name in MOMENTS)
    weights = sum(value.nbytes for value in model.state_dict().values())
    return {"optimiser_bytes": moments, "checkpoint_bytes": moments + weights}


def _sync(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _set_aside(folder: Path) -> None:
    """Rename what is to be removed: a crash half-way must not leave something that looks like a checkpoint."""
    folder.rename(folder.with_name(f"discarded-{os.urandom(4).hex()}"))


def resume(work: Path, model: nn.Module, optimiser: torch.optim.Optimizer, numeric_path: str) -> Course:
    """Load the newest checkpoint into ``model`` and ``optimiser``, or start at step 0.

    A checkpoint of another numeric path is not used: one training is one path from end to end.

    Raises:
        Damaged: a file of it, or of the best weights that it names, is not as it was written. All of them are set
            aside: the next attempt starts at step 0.
    """
    found = sorted(work.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    if not found:
        return Course(numeric_path)
    if problem := _problem(found[-1]):
        for folder in [*found, *work.glob("best-*")]:
            _set_aside(folder)
        raise Damaged(f"{problem}: the checkpoint is set aside, the training starts anew")
    course = Course(**json.loads((found[-1] / "course.json").read_text()))
    if course.numeric_path != numeric_path:
        return Course(numeric_path)
    _load(model, found[-1] / "model.safetensors")
    state: dict[int, dict[str, Tensor]] = {}
    own = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, value in load_file(found[-1] / "optimiser.safetensors").items():
        index, _, moment = name.partition(".")
        kept = value if moment == "step" else shards.divided_as(value, own[int(index)])
        state.setdefault(int(index), {})[moment] = kept
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return course


def _problem(folder: Path) -> str:
    """Which file of a checkpoint is missing or not as it was written, ``""`` when all are."""
    try:
        files = dict(json.loads((folder / "files.json").read_text()))
        text = (folder / "course.json").read_text()
        if digest(text) != files.pop("course.json"):
            return f"{folder / 'course.json'} is damaged"
        expected = {folder / name: sha256 for name, sha256 in files.items()}
        course = json.loads(text)
        if course["best"]:
            expected[folder.parent / course["best"] / "model.safetensors"] = course["best_sha256"]
        return next((f"{path} is damaged" for path, sha256 in expected.items() if file_sha256(path) != sha256), "")
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{folder / 'files.json'} is damaged"
