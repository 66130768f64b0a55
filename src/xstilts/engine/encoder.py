"""Encoders: a local Hugging Face folder in, hidden states of packed rows, an ordinary folder out."""

from __future__ import annotations

import contextlib
import functools
import inspect
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import PACKED, Again, Packing, packed
from .folders import TOKENIZER_FILES, identity, quiet, read_config, without_pooler

_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
_HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout")


_padded: dict[tuple[tuple[int, ...], ...], bool] = {}  # by the files of an encoder, which are tried once a process


def load(folder: Path, *, attention_dropout: float | None, hidden_dropout: float | None) -> Encoder:
    """Loads the encoder of a local Hugging Face folder: float32, evaluation mode, no pooler, no head.

    Args:
        folder: config.json and safetensors weights, of any architecture that transformers itself knows.
        attention_dropout: replaces the config's dropout of attention weights; None leaves it. (ModernBERT
            uses the same field for the dropout after its attention.)
        hidden_dropout: replaces the config's other dropouts (embeddings, sublayers); None leaves them.

    Returns:
        The encoder, on the CPU.

    Raises:
        ValueError: no config or safetensors or broken ones, an architecture that needs remote code, weights that lack a
            tensor of the encoder, or a dropout that the architecture does not have.
    """
    config = read_config(folder)
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(p.name for p in folder.glob("*.bin"))) or "no weights"
        raise ValueError(f"{folder}: expected safetensors weights, found {found}; pickled weights are never loaded")
    original = {**_set_dropout(config, _ATTENTION_DROPOUT, attention_dropout, "attention dropout", folder)}
    original |= _set_dropout(config, _HIDDEN_DROPOUT, hidden_dropout, "hidden dropout", folder)
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **without_pooler(config),
            )
    except MemoryError:
        raise
    except Exception as error:  # of safetensors, and of whatever a broken config makes transformers do
        raise ValueError(f"{folder}: its weights cannot be read: {error}; copy or fetch them again") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"{folder}: the weights lack {len(missing)} tensors of {type(model).__name__}: {missing[:5]}")
    files = identity(sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")]))
    encoder = Encoder(model, original, _padded.get(files)).eval()
    _padded[files] = encoder.padded
    return encoder


class Encoder(torch.nn.Module):
    """A pretrained encoder that reads packed rows.

    Attributes:
        model: the Hugging Face model.
        hidden_size: H.
        num_layers: number of layers; there is one more hidden state.
        max_positions: the longest sequence in tokens (a RoBERTa-type table has `pad_token_id + 1` rows more).
        vocab_size: rows of the word embedding.
        padded: whether rows are padded inside, in groups of similar length, because the architecture cannot
            run packed (DeBERTa-v2, and whatever does not give the same hidden states packed as alone).
        recomputes: whether a training's backward pass computes each layer again.
        divided: whether each process of a training has a part of the layers alone; see `shards`.
    """

    def __init__(
        self, model: PreTrainedModel, original_config: dict[str, float] | None = None, padded: bool | None = None
    ) -> None:
        """Wraps `model`; `original_config` holds the config values that `save` restores.

        `padded` is what was found for the same weights before; it is tried out when None.
        """
        super().__init__()
        self.model = model
        self.hidden_size: int = model.config.hidden_size
        self.num_layers: int = model.config.num_hidden_layers
        self.vocab_size: int = model.config.vocab_size
        self.original_config = dict(original_config or {})
        # RoBERTa's family counts positions from pad_token_id + 1: its position table names a padding row.
        table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
        padding_row = getattr(table, "padding_idx", None)
        self.first_position = 0 if padding_row is None else padding_row + 1
        self.max_positions: int = model.config.max_position_embeddings - self.first_position
        arguments = inspect.signature(model.forward).parameters
        has_types = (getattr(model.config, "type_vocab_size", None) or 0) > 1
        self._reads_types = has_types and "token_type_ids" in arguments
        self._delta: torch.Tensor | None = None
        if padded is None:
            padded = "position_ids" not in arguments or not self._runs_packed()
        elif not padded:
            model.set_attn_implementation(PACKED)
        self.padded = padded
        self.recomputes = False
        self.divided = False

    def recompute_activations(self) -> None:
        """In training keep the input of each layer alone, and compute the layer again in the backward pass.

        Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174) by torch's checkpoint of the layers that
        transformers marks for it. Random generators are put back, so dropout, loss and gradients stay what they were.

        Raises:
            ValueError: for an architecture without such layers.
        """
        again = functools.partial(
            checkpoint, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), Again())
        )
        layers = [module for module in self.model.modules() if isinstance(module, GradientCheckpointingLayer)]
        if not layers:
            name = self.model.config.model_type
            raise ValueError(
                f"transformers marks no layer of {name} to be computed again: do not recompute activations"
            )
        for layer in layers:
            layer._gradient_checkpointing_func = again  # type: ignore[assignment]
            layer.gradient_checkpointing = True
        self.recomputes = True

    def forward(
        self,
        ids: torch.Tensor,
        packing: Packing | Sequence[int],
        types: torch.Tensor | None = None,
        all_layers: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Hidden states of the sequences of a packed row; each sequence sees itself only.

        Rows sorted by length run fastest (equal neighbours share one attention call).

        Args:
            ids: `[T]` int64 token ids, the sequences one after the other, special tokens included.
            packing: where the sequences lie, or the tokens of each, `sum(lengths) == T`.
            types: `[T]` int64 token types; ignored by architectures that have none or only one.
            all_layers: whether to return every hidden state.

        Returns:
            `[T, H]`, the last hidden state; or all of them, `num_layers + 1` tensors `[T, H]` that equal
            transformers' `hidden_states`: 0 is the embeddings' output (after their norm and dropout, where
            the architecture has them), then each layer's output; the last is `last_hidden_state`, which
            comes after the final norm of ModernBERT and EuroBERT, unlike those before it.

        Raises:
            ValueError: the lengths do not fit the row, or a sequence is too long for the encoder.
        """
        if not isinstance(packing, Packing):
            if sum(packing) != ids.shape[0] or min(packing, default=0) < 1:
                raise ValueError(
                    f"lengths {list(packing)!r} (sum {sum(packing)}) do not fit a row of {ids.shape[0]} tokens"
                )
            packing = Packing.of(packing, ids.device)
        if not packing.static and packing.longest > self.max_positions:
            raise ValueError(f"a sequence of {packing.longest} tokens, the encoder takes at most {self.max_positions}")
        types = types if self._reads_types else None
        if self.padded:
            return self._forward_padded(ids, packing.lengths, types, all_layers)
        return self._forward_packed(ids, packing, types, all_layers)

    @contextlib.contextmanager
    def perturbed(self, delta: torch.Tensor) -> Iterator[None]:
        """Within this context `delta` is added to the word embeddings of a row.

        Args:
            delta: `[T, E]`, before whatever the architecture adds to word embeddings or makes of them.
        """
        words = self.model.get_input_embeddings()
        self._delta = delta
        added = words.register_forward_hook(lambda module, given, found: found + self._delta.view_as(found))
        try:
            yield
        finally:
            added.remove()
            self._delta = None

    def _forward_packed(
        self, ids: torch.Tensor, packing: Packing, types: torch.Tensor | None, all_layers: bool
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        inputs = {"input_ids": ids[None], "position_ids": packing.positions[None] + self.first_position}
        if types is not None:
            inputs["token_type_ids"] = types[None]
        with packed(packing):
            output = self.model(**inputs, output_hidden_states=all_layers)
        if all_layers:
            return tuple(hidden[0] for hidden in output.hidden_states)
        return output.last_hidden_state[0]

    def _forward_padded(
        self, ids: torch.Tensor, lengths: Sequence[int], types: torch.Tensor | None, all_layers: bool
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
        pad_id = self.model.config.pad_token_id or 0
        groups, sources = [], []
        delta = self._delta
        for group in _similar_lengths(lengths):
            source = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in group])  # [t], rows in the packed row
            mask = torch.arange(lengths[group[0]]) < torch.tensor([lengths[i] for i in group])[:, None]  # [n, L]
            cells = mask.flatten().nonzero()[:, 0].to(ids.device)  # [t], where those tokens go
            source, mask = source.to(ids.device), mask.to(ids.device)
            grid = ids.new_full((mask.numel(),), pad_id).index_copy(0, cells, ids[source])
            inputs = {"input_ids": grid.view(mask.shape), "attention_mask": mask.long()}
            if types is not None:
                grid_types = types.new_zeros(mask.numel()).index_copy(0, cells, types[source])
                inputs["token_type_ids"] = grid_types.view(mask.shape)
            if delta is not None:  # what `perturbed` adds to the embeddings of this group
                nothing = delta.new_zeros(mask.numel(), delta.shape[1])
                self._delta = nothing.index_copy(0, cells, delta[source])
            output = self.model(**inputs, output_hidden_states=all_layers)
            hidden = output.hidden_states if all_layers else (output.last_hidden_state,)
            groups.append([h.flatten(0, 1)[cells] for h in hidden])  # each [t, H]
            sources.append(source)
        self._delta = delta
        order = torch.cat(sources).argsort()
        states = tuple(torch.cat(layer)[order] for layer in zip(*groups, strict=True))
        return states if all_layers else states[0]

    @torch.no_grad()
    def _runs_packed(self) -> bool:
        """Tries the packed path against transformers' own on short sequences, and keeps it if they agree."""
        model, lengths = self.model, [5, 2, 7]
        if not model._supports_attention_backend or max(lengths) > self.max_positions:
            return False
        own, was_training = model.config._attn_implementation, model.training
        model.eval()
        ids = (torch.arange(sum(lengths)) * 7919 + 11) % self.vocab_size
        ids[ids == model.config.pad_token_id] = (ids[0] + 1) % self.vocab_size
        ids = ids.to(model.device)
        alone = torch.cat([model(part[None]).last_hidden_state[0] for part in ids.split(lengths)])  # [T, H]
        model.set_attn_implementation(PACKED)
        try:
            together = self._forward_packed(ids, Packing.of(lengths, ids.device), None, all_layers=False)
            assert isinstance(together, torch.Tensor)
            agrees = bool((together - alone).abs().max() <= 1e-4 * alone.abs().max())
        except NotImplementedError:
            agrees = False
        if not agrees:
            model.set_attn_implementation(own)
        model.train(was_training)
        return agrees


def _similar_lengths(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices grouped by length, longest first; no sequence is padded by more than 1/8 (or 4 tokens)."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and lengths[group[0]] - lengths[i] > max(4, lengths[group[0]] // 8):
            yield group
            group = []
        group.append(i)
    yield group


def save(encoder: Encoder, tokenizer: Path | PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes an ordinary Hugging Face folder: AutoModel and AutoTokenizer load it without this package.

    The config is the one that was loaded: neither attention implementation nor dropout is changed in it.

    Args:
        encoder: what to save; float32 safetensors.
        tokenizer: a folder whose tokenizer files are copied as they are, or a tokenizer.
        folder: where to write; created if absent.

    Raises:
        ValueError: the tokenizer's folder holds no tokenizer file.
    """
    config = encoder.model.config
    current = {field: getattr(config, field) for field in encoder.original_config}
    config.update(encoder.original_config)
    try:
        with quiet():
            encoder.model.save_pretrained(folder)
    finally:
        config.update(current)
    if isinstance(tokenizer, Path):
        files = sorted({file for pattern in TOKENIZER_FILES for file in tokenizer.glob(pattern)})
        if not files:
            raise ValueError(f"{tokenizer}: no tokenizer files ({', '.join(TOKENIZER_FILES)})")
        for file in files:
            shutil.copyfile(file, folder / file.name)
    else:
        tokenizer.save_pretrained(folder)


def layers_of(encoder: Encoder) -> tuple[str, list[nn.Module]]:
    """The layers of ``encoder.model`` and the name of their list; none where they share their weights (ALBERT)."""
    for name, module in encoder.model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == encoder.num_layers:
            return name, list(module)
    return "", []


def freeze(encoder: Encoder, num_layers: int) -> None:
    """Let no gradient reach the embeddings (words, positions, types, their norm) and the ``num_layers`` lowest layers.

    What serves all layers, such as the relative positions of DeBERTa, stays trained.

    Raises:
        ValueError: the encoder has fewer layers, or layers that share their weights.
    """
    model = encoder.model
    _, layers = layers_of(encoder)
    if num_layers > len(layers):
        what = f"has {len(layers)} layers" if layers else "has no layers with weights of their own"
        raise ValueError(f"recipe.frozen_layers is {num_layers}: the encoder ({type(model).__name__}) {what}")
    for module in (getattr(model, "embeddings", model.get_input_embeddings()), *layers[:num_layers]):
        module.requires_grad_(False)


def _set_dropout(
    config: PreTrainedConfig, fields: Sequence[str], value: float | None, meaning: str, folder: Path
) -> dict[str, float]:
    """Sets those of `fields` that the config has, and returns what they were."""
    if value is None:
        return {}
    if not 0 <= value < 1:
        raise ValueError(f"{meaning} must be in [0, 1), got {value}")
    present = {field: getattr(config, field) for field in fields if hasattr(config, field)}
    if not present and value > 0:
        raise ValueError(f"{folder}: {config.model_type} has no {meaning}; {value} cannot be set, ask for 0 or None")
    config.update(dict.fromkeys(present, value))
    return present
