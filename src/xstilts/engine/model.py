"""A model in hand: encoder, tokenizer and task heads, as trained or as pretrained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from xstilts.recipe import STILTS, Lora, Recipe
from xstilts.spec import stream_seed
from xstilts.tasks import find

from . import aggregation, balance, folders
from . import encoder as encoders
from .checkpoint import tensors_of
from .kinds import KINDS
from .lora import Adapters


class Model(nn.Module):
    """An encoder with the heads of the tasks it was trained on; ``heads`` is empty for a pretrained encoder."""

    def __init__(self, folder: Path, recipe: Recipe = STILTS) -> None:
        super().__init__()
        self.folder = folder
        self.tokenizer, self.tokenizer_key, self.fingerprint = folders.read_tokenizer(folder)
        self.encoder = encoders.load(
            folder, attention_dropout=recipe.attention_dropout, hidden_dropout=recipe.hidden_dropout
        )
        self.heads = nn.ModuleDict()
        self.adapters: Adapters | None = None

    def add_heads(self, tasks: Sequence[str], recipe: Recipe, seed: int) -> None:
        """Give every task a fresh head, initialised from the stream (seed, task, "head").

        What aggregates hidden states for a head is a part of it.

        Raises:
            ValueError: for a task of a kind that is measured alone.
        """
        for name in tasks:
            task = find(name)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(seed, name, "head"))
                head = KINDS[task.kind.name].head(task.kind, self.encoder, self.tokenizer, recipe)
                read = aggregation.fresh(recipe.aggregation, self.encoder)
            if head is None:
                raise ValueError(f"{name} is a task of kind {task.kind.name}: it is measured, not trained on")
            head.aggregation = read
            if recipe.loss_balance == "uncertainty":
                balance.add_log_variance(head)
            self.heads[_key(name)] = head

    def head(self, task: str) -> Any:
        """The head of a task that this model was trained on, or ``None`` for a kind without one."""
        return dict(self.heads.items()).get(_key(task))

    def adapt(self, lora: Lora, seed: int) -> None:
        """Freeze the encoder but for fresh adapters, initialised from the stream (seed, "lora")."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(seed, "lora"))
            self.adapters = Adapters(self.encoder.model, lora)

    def save(self, folder: Path) -> None:
        """Write ``folder/encoder``, an ordinary Hugging Face folder, and the heads beside it.

        Adapters are written to ``folder/adapter`` and then merged into the encoder, here too.
        """
        if self.adapters is not None:
            self.adapters.save(folder / "adapter")
            self.adapters.merge()
            self.adapters = None
        encoders.save(self.encoder, self.folder, folder / "encoder")  # the tokenizer's files as they came
        save_file(tensors_of(self.heads), folder / "heads.safetensors")
        (folder / "heads.json").write_text(json.dumps([_name(key) for key in self.heads]))

    @classmethod
    def load_trained(cls, folder: Path, recipe: Recipe = STILTS) -> Model:
        """Read what `save` wrote, of a training by ``recipe``, which shapes aggregations and a dual encoder's head."""
        model = cls(folder / "encoder")
        model.add_heads(json.loads((folder / "heads.json").read_text()), recipe, seed=0)
        model.heads.load_state_dict(load_file(folder / "heads.safetensors"))
        return model


def _key(task: str) -> str:
    """A task's name as a module name, in which dots are not allowed."""
    return task.replace(".", "|")


def _name(key: str) -> str:
    return key.replace("|", ".")
