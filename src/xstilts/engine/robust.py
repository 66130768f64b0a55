"""Robust training in the embeddings: losses at perturbed inputs, and divergences between outputs with and without."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from xstilts.recipe import Robust

from .encoder import Encoder
from .packing import Batch

PERTURBS = ("adversarial", "perturbation", "r3f", "smart")
"""The methods of `Robust` that perturb embeddings."""


class Ball:
    """The perturbations [T, E] of a row's word embeddings whose norm is at most ``epsilon``.

    The norm is that of all tokens of a sequence together (``l2-sequence``), of each token (``l2-token``) or of each
    number (``linf``). Special tokens are perturbed as all others are, as in the released code of FreeLB, R3F and SMART.
    What only fills a static shape is a sequence of its own, so that it changes nothing for the others.
    """

    def __init__(self, norm: str, epsilon: float, batch: Batch, width: int) -> None:
        self._norm, self._epsilon, self._batch = norm, epsilon, batch
        self._shape = (batch.num_tokens, width)

    def _norms(self, values: Tensor) -> Tensor:
        """The norm of the token or sequence that each token is in, [T, 1]."""
        squares = values.square().sum(1, keepdim=True)
        if self._norm == "l2-sequence":
            whole = squares.new_zeros(len(self._batch.lengths), 1).index_add(0, self._batch.segment, squares)
            squares = whole[self._batch.segment]
        return squares.sqrt()

    def uniform(self) -> Tensor:
        """A uniform point of it, drawn on the device from the global generator, as dropout is.

        Of a Euclidean ball of d dimensions: a normal direction, and the d-th root of a uniform number as its length.
        """
        device = self._batch.ids.device
        if self._norm == "linf":
            return self._epsilon * (2 * torch.rand(self._shape, device=device) - 1)
        direction = torch.randn(self._shape, device=device)
        if self._norm == "l2-token":
            share = torch.rand(self._shape[0], 1, device=device) ** (1 / self._shape[1])
        else:
            lengths = self._batch.lengths.clamp(min=1)
            share = torch.rand(len(lengths), device=device) ** (1 / (self._shape[1] * lengths))
            share = share[self._batch.segment][:, None]
        return self._epsilon * share * direction / self._norms(direction)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """The steepest ascent of a norm of ``size`` along a gradient; none where the gradient is 0."""
        if self._norm == "linf":
            return size * gradient.sign()
        tiny = torch.finfo(gradient.dtype).tiny
        gradient = gradient / gradient.abs().amax().clamp(min=tiny)  # squares of small gradients are 0
        return size * gradient / self._norms(gradient).clamp(min=tiny)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of it."""
        if self._norm == "linf":
            return delta.clamp(-self._epsilon, self._epsilon)
        norms = self._norms(delta)
        return delta * (self._epsilon / norms.clamp(min=self._epsilon))


def symmetric_divergence(one: Tensor, other: Tensor, number: int | Tensor) -> Tensor:
    """KL(p, q) + KL(q, p) in nats, mean over distributions, [].

    Args:
        one: log-probabilities of ``number`` distributions, and 0 where there is none.
        other: those of others, with 0 in the same places.
        number: how many distributions there are.
    """
    return ((one.exp() - other.exp()) * (one - other)).sum() / number


def robust_loss(
    kind: ModuleType, encoder: Encoder, head: Any, batch: Batch, rng: torch.Generator, robust: Robust
) -> Tensor:
    """What `Robust` makes of the loss of a batch, [].

    The passes of ``adversarial`` share one dropout mask, so that the ascent is on the loss that is then minimised
    (FreeLB, arXiv 1909.11764, section 3.3); all other passes have their own, as in the released code of R3F and SMART,
    whose divergence is therefore not 0 without a perturbation where there is dropout.
    """
    assert robust.norm is not None, "Robust gives every method its fields"
    assert robust.epsilon is not None
    width = encoder.model.get_input_embeddings().embedding_dim
    assert isinstance(width, int)
    ball = Ball(robust.norm, robust.epsilon, batch, width)
    devices = [batch.ids.device] if batch.ids.device.type == "cuda" else []
    one_mask = robust.method == "adversarial"

    def loss_at(delta: Tensor, last: bool = False) -> Tensor:
        with torch.random.fork_rng(devices, enabled=one_mask and not last), encoder.perturbed(delta):
            return kind.loss(encoder, head, batch, rng)

    if robust.method in ("adversarial", "perturbation"):
        zero = torch.zeros(batch.num_tokens, width, device=batch.ids.device)
        delta = zero if robust.start == "zero" else ball.uniform()
        if robust.method == "adversarial":
            delta = _ascend(ball, delta, robust, loss_at)
        share = robust.clean_weight or 0.0
        clean = share * loss_at(zero) if share else 0.0
        return clean + (1 - share) * loss_at(delta, last=True)

    def log_probabilities(delta: Tensor) -> Tensor:
        with encoder.perturbed(delta):
            return kind.log_probabilities(kind.outputs(encoder, head, batch), batch)[0]

    outputs = kind.outputs(encoder, head, batch)
    clean, number = kind.log_probabilities(outputs, batch)
    delta = ball.uniform()
    if robust.method == "smart":
        fixed = clean.detach()
        delta = _ascend(ball, delta, robust, lambda at: symmetric_divergence(log_probabilities(at), fixed, number))
    assert robust.weight is not None
    return kind.loss_of(outputs, batch) + robust.weight * symmetric_divergence(clean, log_probabilities(delta), number)


def _ascend(ball: Ball, delta: Tensor, robust: Robust, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Projected gradient ascent from ``delta`` [T, E]; no gradient of it reaches a parameter."""
    assert robust.num_steps is not None, "Robust gives every method its fields"
    assert robust.step_size is not None
    for _ in range(robust.num_steps):
        delta = delta.detach().requires_grad_()
        found = value(delta)
        with torch.autocast(delta.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(found, delta)
        delta = ball.project(delta.detach() + ball.step(gradient, robust.step_size))
    return delta
