"""A model's encoder as a folder that transformers and sentence-transformers load without any code of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xstilts.recipe import DUAL_POOLINGS
from xstilts.spec import one_of
from xstilts.tasks import find

from . import encoder as encoders

POOLINGS = ("mean", "cls", "pooler")
_MODULES = "sentence_transformers.models"  # the name that every version knows
_PROBE_LENGTHS = (7, 4)


class Exported(NamedTuple):
    """What was written.

    Attributes:
        layer: the hidden state that a vector is made of, 0 for the embeddings.
        num_layers: of the encoder that was exported.
        truncated: whether the layers above it were left out; it is else selected from all hidden states.
        max_tokens: the longest text in tokens.
        size: of a vector.
    """

    layer: int
    num_layers: int
    truncated: bool
    max_tokens: int
    size: int


def export(weights: Path, out: Path, *, layer: int, pooling: str, prefix: str, max_tokens: int) -> Exported:
    """Write an encoder, its tokenizer and what makes sentence vectors of it.

    ``AutoModel`` and ``AutoTokenizer`` load the folder, and ``SentenceTransformer(folder).encode`` gives the vectors of
    a measurement at this hidden state and pooling, with ``prefix`` before every text. A hidden state below the last one
    is the last of an encoder without the layers above it. Where that differs, since the architecture normalises what
    its last layer gives, and for the embeddings, all layers stay and ``sentence_bert_config.json`` names the hidden
    state, which sentence-transformers reads from version 5.4 on.

    Args:
        weights: the weights of a Train or Merge.
        out: an empty folder.
        layer: a hidden state, 0 for the embeddings and below 0 from the last one back.
        pooling: one of `POOLINGS`; ``pooler`` is the trained layer of a dual encoder.
        prefix: put before every text.
        max_tokens: the longest text in tokens, special ones and prefix included; at most what the encoder takes.

    Raises:
        ValueError: for a hidden state that is not there, a pooling that sentence-transformers does not have, or no
            dual encoder where its layer is asked for.
    """
    if pooling not in POOLINGS:
        one_of("pooling", pooling, DUAL_POOLINGS)
        raise ValueError(f"sentence-transformers has no pooling {pooling!r}: expected one of {', '.join(POOLINGS)}")
    source = weights / "encoder"
    encoder = encoders.load(source, attention_dropout=None, hidden_dropout=None)
    depth = encoder.num_layers
    number = layer + depth + 1 if layer < 0 else layer
    if not 0 <= number <= depth:
        raise ValueError(f"layer {layer}: expected a hidden state 0 to {depth}, or -1 downwards")
    dense = _dense(weights) if pooling == "pooler" else None
    if dense and number != depth:
        raise ValueError(f"layer {layer}: the pooler of a dual encoder reads the last hidden state, {depth}, alone")
    truncated = 0 < number < depth and _truncated(encoder, number)  # some architectures need a layer
    if number < depth and not truncated:
        encoder = encoders.load(source, attention_dropout=None, hidden_dropout=None)
    encoders.save(encoder, source, out)
    found = Exported(number, depth, truncated, min(max_tokens, encoder.max_positions), encoder.hidden_size)
    _write_modules(out, found, "cls" if dense else pooling, prefix, dense)
    return found


def _truncated(encoder: encoders.Encoder, number: int) -> bool:
    """Take the layers above a hidden state off; whether what is left gives that hidden state, bit for bit."""
    ids = (torch.arange(sum(_PROBE_LENGTHS)) * 7919 + 11) % encoder.vocab_size
    name, layers = encoders.layers_of(encoder)
    with torch.inference_mode():
        wanted = encoder(ids, _PROBE_LENGTHS, all_layers=True)[number]
        if layers:
            del encoder.model.get_submodule(name)[number:]  # type: ignore[operator]
        encoder.model.config.num_hidden_layers = number
        return torch.equal(encoder(ids, _PROBE_LENGTHS), wanted)


def _dense(weights: Path) -> dict[str, Tensor]:
    """The trained layer of the dual encoder among a training's heads, as a linear layer's weights."""
    file = weights / "heads.json"
    names = json.loads(file.read_text()) if file.is_file() else []
    heads = load_file(weights / "heads.safetensors") if names else {}
    found: list[dict[str, Tensor]] = []
    for name in names:
        own = {key.partition(".")[2]: value for key, value in heads.items() if key.startswith(f"{_key(name)}.")}
        if find(name).kind.name == "embed" and "dense.weight" in own:
            if any(key.startswith("aggregation.") for key in own):
                raise ValueError(f"the pooler of {name} reads all hidden states, which sentence-transformers cannot")
            found.append({f"linear.{part}": own[f"dense.{part}"].contiguous() for part in ("weight", "bias")})
    if len(found) != 1:
        what = f"{len(found)} dual encoders" if found else "no dual encoder"
        raise ValueError(f"the pooling 'pooler' needs the trained layer of a dual encoder: this model has {what}")
    return found[0]


def _key(task: str) -> str:
    return task.replace(".", "|")  # as `model` names heads


def _write_modules(out: Path, found: Exported, pooling: str, prefix: str, dense: dict[str, Tensor] | None) -> None:
    """The files of sentence-transformers; of several names of a setting the ones that old versions read too."""
    transformer: dict[str, Any] = {"max_seq_length": found.max_tokens, "do_lower_case": False}
    if found.layer < found.num_layers and not found.truncated:
        text = {"method": "forward", "method_output_name": ["hidden_states", found.layer]}
        transformer |= {"modality_config": {"text": text}, "module_output_name": "token_embeddings"}
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len_tokens": ""}
    pooled = {"word_embedding_dimension": found.size}
    pooled |= {f"pooling_mode_{name}": mode == pooling for name, mode in modes.items()}
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Dense", "Dense")] if dense else [])]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{name}"}
        for number, (path, name) in enumerate(parts)
    ]
    documents: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": transformer,
        "1_Pooling/config.json": pooled,
        "config_sentence_transformers.json": {
            "prompts": {"query": prefix, "document": prefix} if prefix else {},
            "default_prompt_name": "query" if prefix else None,
            "similarity_fn_name": "cosine",
        },
    }
    if dense:
        tanh = {"bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}
        documents["2_Dense/config.json"] = {"in_features": found.size, "out_features": found.size, **tanh}
    for name, document in documents.items():
        path = out / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")
    if dense:
        save_file(dense, out / "2_Dense" / "model.safetensors")
