"""An encoder's layers divided among the processes of one training (FSDP): each holds a part of every weight of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from xstilts.recipe import Recipe

from . import ranks
from .encoder import Encoder, layers_of


def shard(encoder: Encoder, recipe: Recipe, device: torch.device) -> None:
    """Divide the weights of each layer among the processes, by their first dimension, and move the parts to ``device``.

    Their gradients and AdamW's moments are divided with them. A layer is whole while it computes, forward and backward,
    alone; its gradients are summed over the processes, as `ranks.summed` does with all others. Embeddings, what is
    above the layers, and heads stay whole on each process.

    Raises:
        ValueError: for an encoder or a recipe of which the layers cannot be divided.
    """
    name, (_, layers) = type(encoder.model).__name__, layers_of(encoder)
    if problem := recipe.shard_problem():
        raise ValueError(f"--shard: {problem}")
    if not layers:
        raise ValueError(f"--shard: {name} has no list of layers with weights of their own")
    if encoder.padded:
        raise ValueError(f"--shard: {name} pads by itself, so that processes would call its layers unequally often")
    mesh = DeviceMesh.from_group(dist.group.WORLD, device.type)  # type: ignore[arg-type]
    own = {parameter for layer in layers for parameter in layer.parameters()}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    rest = set(encoder.parameters()) - own
    fully_shard(encoder.model, mesh=mesh, ignored_params=rest)  # a layer's weights are fetched during the one before
    for module in encoder.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # losses of parts weigh what they are of the whole
            module.set_force_sum_reduction_for_comms(True)  # gloo has no other
    encoder.divided = True


def whole(tensor: Tensor) -> Tensor:
    """A tensor, of a divided one the whole, for which all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def saved(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, contiguous; of a divided one the whole, and that in the first process alone.

    All processes must ask for a divided one; others than the first get an empty tensor.
    """
    found = whole(tensor.detach())
    if isinstance(tensor, DTensor) and ranks.number():
        return torch.empty(0)
    return found.cpu().contiguous()


def divided_as(given: Tensor, own: Tensor) -> Tensor:
    """What this process keeps of a whole tensor in the place of its ``own``."""
    if not isinstance(own, DTensor):
        return given
    return distribute_tensor(given, own.device_mesh, own.placements, src_data_rank=None)


def apart(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Whole parameters and divided ones, which no fused operation takes together; one list where none is divided."""
    whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
    divided: list[nn.Parameter] = [parameter for parameter in parameters if isinstance(parameter, DTensor)]
    return [whole, divided] if divided else [whole]


def total_norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together, [], the same bits in each process."""
    norm = nn.utils.get_total_norm([values for values in gradients if not isinstance(values, DTensor)], foreach=True)
    parts = [values.to_local() for values in gradients if isinstance(values, DTensor)]
    if not parts:
        return norm
    square = nn.utils.get_total_norm(parts, foreach=True).square().to(norm.device)
    dist.all_reduce(square)
    return (norm.square() + square).sqrt()


def join(encoder: Encoder) -> None:
    """Put whole weights, on the CPU, in the place of divided ones, in the first process; all processes must call it.

    The encoder is to be saved then; it does not compute any more.
    """
    for module in encoder.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                setattr(module, name, nn.Parameter(saved(parameter), requires_grad=parameter.requires_grad))
