"""What a training leaves behind to choose tasks by: the mean squared gradients that its optimiser has kept anyway."""

from __future__ import annotations

from pathlib import Path

import torch

from xstilts.metrics.transferability import MOMENTS

from . import ranks, shards
from .encoder import layers_of
from .model import Model


def write(model: Model, optimiser: torch.optim.AdamW, folder: Path) -> None:
    """Write ``moments.parquet``: for every layer from 1 a ``vector`` [H] of squared gradients, float32.

    It is the sum over the layer's biases and norms of the hidden size of AdamW's second moments after the last step, a
    running mean of squared gradients of the batches' losses: a part of the diagonal of the empirical Fisher information
    (TaskEmb, Vu et al. 2020, arXiv 2005.00770, has that of examples) for nothing but these numbers. Their scale means
    nothing. There is no file where layers share weights, or one has no such parameter that was trained (frozen, LoRA).
    Of several processes the first one writes; where layers are divided, all must call it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoder, vectors = model.encoder, []
    for layer in layers_of(encoder)[1]:
        own = [p for p in layer.parameters() if p.shape == (encoder.hidden_size,) and p in optimiser.state]
        if own:
            moments = [shards.whole(optimiser.state[parameter]["exp_avg_sq"]).float() for parameter in own]
            vectors.append(torch.stack(moments).sum(0).cpu())
    if not ranks.number() and vectors and len(vectors) == encoder.num_layers:
        flat = pa.array(torch.cat(vectors).numpy())
        columns = {
            "layer": pa.array(range(1, len(vectors) + 1), pa.int16()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, encoder.hidden_size),
        }
        pq.write_table(pa.table(columns), folder / MOMENTS, compression="zstd")
