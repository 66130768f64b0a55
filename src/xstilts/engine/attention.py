"""Variable-length attention: many sequences in one packed row, without padding and without masks.

A packed row holds the tokens of N sequences one after the other, `T = sum(lengths)`. Inside `packed(lengths)`
the attention function that transformers knows as `xstilts_packed` keeps every token within its own sequence.
On CUDA in half precision and without attention dropout torch's variable-length kernel does the work, anywhere else
scaled dot products, one call for each run of equal lengths.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

PACKED = "xstilts_packed"
HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Run:
    """Consecutive sequences of equal length: one attention call without padding.

    Attributes:
        start: index of the first token in the packed row.
        num_sequences: how many sequences.
        length: tokens of each.
    """

    start: int
    num_sequences: int
    length: int

    @property
    def stop(self) -> int:
        """Index after the last token in the packed row."""
        return self.start + self.num_sequences * self.length


@dataclass(frozen=True)
class Packing:
    """Where the sequences of a packed row lie.

    Attributes:
        num_tokens: T, the length of the row.
        longest: tokens of the longest sequence, or an upper bound of them.
        bounds: [N + 1] int32 on the row's device: where the sequences begin, and T.
        positions: [T] int64 on the row's device: each token's place in its sequence, from 0.
        lengths: tokens of each sequence, in the order of the row; none for a row of static shape, whose bounds change
            from step to step.
    """

    num_tokens: int
    longest: int
    bounds: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...] = ()

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
        """The packing of sequences of these lengths, each at least 1.

        Raises:
            ValueError: no sequence, or one without a token.
        """
        if len(lengths) == 0 or min(lengths) < 1:
            raise ValueError(f"a packed row needs sequences of at least one token, got lengths {list(lengths)!r}")
        bounds = torch.zeros(len(lengths) + 1, dtype=torch.int32)
        bounds[1:] = torch.tensor(lengths).cumsum(0)
        counts = bounds.diff().long()
        positions = torch.arange(int(bounds[-1])) - bounds[:-1].long().repeat_interleave(counts)
        return Packing(int(bounds[-1]), max(lengths), bounds.to(device), positions.to(device), tuple(lengths))

    @property
    def static(self) -> bool:
        """Whether it is of a static shape."""
        return not self.lengths

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """The sequences, equal neighbours joined; a row sorted by length has the fewest runs."""
        runs, start = [], 0
        for length, equals in groupby(self.lengths):
            runs.append(Run(start, len(list(equals)), length))
            start = runs[-1].stop
        return tuple(runs)


# A plain global: torch.compile cannot trace ContextVar.get. So there is one forward at a time per process.
_current: Packing | None = None


@contextlib.contextmanager
def packed(packing: Packing | Sequence[int]) -> Iterator[Packing]:
    """Within this context, attention treats a row as the sequences of a packing, or of lengths on the CPU."""
    global _current
    before, _current = _current, packing if isinstance(packing, Packing) else Packing.of(packing)
    try:
        yield _current
    finally:
        _current = before


class Again:
    """The context that a row had in the forward pass, for a layer that the backward pass computes again."""

    def __init__(self) -> None:
        self._packing = _current
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._packing is not None:  # an encoder that pads by itself has none
            self._entered.enter_context(packed(self._packing))

    def __exit__(self, *error: object) -> None:
        self._entered.close()


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each sequence of the packed row, with the signature of AttentionInterface.

    Args:
        module: the calling attention module (not read).
        query: `[1, num_heads, T, d]`.
        key: `[1, num_key_value_heads, T, d]`.
        value: `[1, num_key_value_heads, T, d]`.
        attention_mask: None; a packed row has no mask.
        dropout: probability of dropping an attention weight; callers pass 0 in evaluation.
        scaling: factor on the scores; None is `d ** -0.5`.
        sliding_window: token i sees token j where `|i - j| <= sliding_window - 1` (transformers passes
            ModernBERT's `local_attention // 2 + 1`, the exclusive bound of flash attention); None sees all.
        **kwargs: what else a model hands down; anything that would change the scores is refused.

    Returns:
        The context `[1, T, num_heads, d]`, and None in place of attention weights.

    Raises:
        RuntimeError: called outside `packed(...)`, or on a row that the context does not describe.
        NotImplementedError: the model adds a mask, a bias, a soft cap or attention sinks to its scores.
    """
    if _current is None:
        raise RuntimeError(f"the attention implementation {PACKED!r} works inside `with packed(lengths):` only")
    if query.shape[0] != 1 or query.shape[2] != _current.num_tokens:
        raise RuntimeError(f"expected one row of {_current.num_tokens} tokens, got query {tuple(query.shape)}")
    changes = [name for name in ("position_bias", "softcap", "s_aux") if kwargs.get(name) is not None]
    if attention_mask is not None or changes:
        raise NotImplementedError(f"packed attention takes no mask and no {', '.join(changes) or 'bias'}")
    radius = None if sliding_window is None else sliding_window - 1
    if query.is_cuda and query.dtype in HALF and not dropout and varlen_problem(radius is not None) is None:
        return _varlen(query, key, value, _current, scaling, radius), None
    if _current.static:
        raise RuntimeError("a row of static shape needs the variable-length kernel")
    return _sdpa(query, key, value, _current, dropout, scaling, radius), None


@functools.cache
def _varlen_arguments() -> frozenset[str]:
    """The arguments of torch's variable-length attention, none where torch has no such function."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def varlen_problem(window: bool = False) -> str | None:
    """Why torch's variable-length kernel cannot be used, or ``None``."""
    known = _varlen_arguments()
    if not known:
        return f"torch {torch.__version__} has no variable-length attention"
    lacking = [name for name in ("scale", *(["window_size"] if window else [])) if name not in known]
    return f"the variable-length attention of torch {torch.__version__} has no {lacking[0]}" if lacking else None


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packing: Packing,
    scaling: float | None,
    radius: int | None,
) -> torch.Tensor:
    """One call of torch's flash kernel for all sequences."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, heads, d]
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    window: dict[str, Any] = {} if radius is None else {"window_size": (radius, radius)}
    bounds, longest = packing.bounds, packing.longest
    context = varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scaling, **window)
    assert isinstance(context, torch.Tensor)
    return context.unsqueeze(0)


def _sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packing: Packing,
    dropout: float,
    scaling: float | None,
    radius: int | None,
) -> torch.Tensor:
    """One SDPA call per run; inputs are views, and a row of a single run is not copied at all."""
    gqa = query.shape[1] != key.shape[1]
    dtype = query.dtype
    upcast = query.device.type == "cpu" and query.requires_grad and dtype != torch.float64
    if upcast:  # half-precision gradients of the CPU kernel take several times as long as float32
        query, key, value = query.float(), key.float(), value.float()
    contexts = []
    sizes = [run.num_sequences * run.length for run in packing.runs]
    # split, not slices: the gradient of a slice is a whole row of zeros for every run
    for run, *parts in zip(packing.runs, *(x[0].split(sizes, dim=1) for x in (query, key, value)), strict=True):
        q, k, v = (
            part.unflatten(1, (run.num_sequences, run.length)).transpose(0, 1) for part in parts
        )  # [n, heads, L, d]
        mask = None
        if radius is not None and run.length - 1 > radius:
            mask = _window_mask(run.length, radius, query.device)
        with torch.autocast(q.device.type, enabled=False) if upcast else contextlib.nullcontext():
            context = scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling, enable_gqa=gqa
            )
        contexts.append(context.transpose(1, 2).flatten(0, 1))  # [n * L, heads, d]
    joined = contexts[0] if len(contexts) == 1 else torch.cat(contexts)
    return joined.unsqueeze(0).to(dtype)  # [1, T, heads, d]


def _window_mask(length: int, radius: int, device: torch.device) -> torch.Tensor:
    """`[L, L]`, true where `|i - j| <= radius`."""
    position = torch.arange(length, device=device)
    return (position[:, None] - position[None, :]).abs() <= radius


def _no_mask(attention_mask: torch.Tensor | None = None, **kwargs: Any) -> None:
    """The mask function of a packed row; a padding mask would be lost silently, so it is refused."""
    if attention_mask is not None:
        raise NotImplementedError(f"{PACKED!r} takes packed rows, not a padded batch with an attention mask")


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, _no_mask)


def reference_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """The definition, for tests: explicit softmax in float64, one sequence at a time (arguments as above).

    `softmax(scaling * q k^T) v` of Vaswani et al. 2017, section 3.2.1.

    Returns:
        The context `[1, T, num_heads, d]` in float64.
    """
    num_groups = query.shape[1] // key.shape[1]
    q = query[0].double()  # [heads, T, d]
    k, v = (x[0].double().repeat_interleave(num_groups, dim=0) for x in (key, value))
    contexts, start = [], 0
    for length in lengths:
        part = slice(start, start + length)
        scores = q[:, part] @ k[:, part].transpose(1, 2) * (scaling or query.shape[-1] ** -0.5)  # [heads, L, L]
        if sliding_window is not None:
            outside = ~_window_mask(length, sliding_window - 1, query.device)
            scores = scores.masked_fill(outside, -torch.inf)
        contexts.append(scores.softmax(-1) @ v[:, part])
        start += length
    return torch.cat(contexts, dim=1).transpose(0, 1).unsqueeze(0)
