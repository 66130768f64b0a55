"""Layer-wise learning rates: the layer of each parameter, and the share of the recipe's rate that it gets."""

from __future__ import annotations

from .encoder import Encoder, layers_of
from .model import Model


def layer_share(layer_decay: float, layer: int, num_layers: int) -> float:
    """``layer_decay ** (L - l)``, the share of the rate at layer l of L, 0 for the embeddings.

    The top layer has the full rate, as in ULMFiT (Howard and Ruder 2018, arXiv 1801.06146, section 3.2, with decay
    1 / 2.6). ELECTRA's ``model/optimization.py`` has L + 2 - l in the exponent, BEiT's ``optim_factory.py`` L + 1 - l.
    """
    return layer_decay ** (num_layers - layer)


def rate_shares(model: Model, layer_decay: float) -> dict[str, float]:
    """The share of the rate of each parameter of a model, by name; heads and what is above all layers have 1.

    Raises:
        ValueError: for an encoder whose layers are not one list.
    """
    encoder = model.encoder
    layers = layer_numbers(encoder)
    return {
        name: layer_share(
            layer_decay, layers.get(name.removeprefix("encoder.model."), encoder.num_layers), encoder.num_layers
        )
        for name, _ in model.named_parameters()
    }


def layer_numbers(encoder: Encoder) -> dict[str, int]:
    """The layer of each parameter of ``encoder.model``, by name: 1 to L, 0 for embeddings (of positions too).

    What is neither, such as a norm after the last layer, counts as L.

    Raises:
        ValueError: for an encoder whose layers are not one list.
    """
    model, count = encoder.model, encoder.num_layers
    prefix, layers = layers_of(encoder)
    if not layers:
        raise ValueError(
            f"layer_decay needs an encoder with a list of its {count} layers: {type(model).__name__} has none"
        )
    numbers = {}
    for name, _ in model.named_parameters():
        if name.startswith(f"{prefix}."):
            numbers[name] = 1 + int(name.removeprefix(f"{prefix}.").partition(".")[0])
        else:
            numbers[name] = 0 if "embed" in name.lower() else count
    return numbers
