"""Local Hugging Face folders: config, tokenizer and its fingerprint, a tiny random encoder."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from xstilts import hub
from xstilts.spec import digest, file_sha256

from .unfinished import making

TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
_MAX_TOKENIZERS = 2  # kept in memory; where training writes an encoder's config in other words, one encoder has two

# More than 12 scripts, digits, emoji, characters that NFKC changes, decomposed accents, spaces at both ends,
# zero-width characters, texts of special tokens.
_PROBE_TEXTS = (
    "  The quick brown fox isn't over the lazy dog's 1,234.50 €!  ",
    "Ünïcödé: naïve façade, cafe\u0301, Æsir, ﬁne ＡＢＣ １２３ ① ½ x² ™ ～ …",
    "Быстрая лиса прыгает. Η γρήγορη αλεπού. Արագ աղվեսը։ სწრაფი მელა.",
    "الثعلب السريع ٣٤٥ — השועל המהיר — یہ ایک جملہ ہے۔",
    "तेज़ लोमड़ी क\u200dष १२३ দ্রুত শিয়াল விரைவான நரி వేగవంతమైన నక్క สุนัขจิ้งจอกที่รวดเร็ว",
    "敏捷的棕色狐狸。すばやい茶色のキツネ、ｶﾞｷﾞ。빠른 갈색 여우\u3000ፈጣን ቀበሮ",
    "👩‍👩‍👧‍👦🇫🇷 \u200b\ufeff\u00a0\t\n <mask> [MASK] </s> mbweha mwepesi, hızlı ıİ",
)


def read_config(folder: Path) -> PreTrainedConfig:
    """The config of a local folder, of an architecture that transformers itself knows.

    Raises:
        ValueError: no config.json, a broken one, or an unknown architecture; remote code is never run.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder}: no config.json; expected the folder of a Hugging Face encoder")
    values = hub.read_config(file)
    _check_architecture(str(values.get("model_type", "")), str(file), needs_code="auto_map" in values)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of the class's own checks, which have many types
        raise ValueError(f"{file}: expected the config of a {values['model_type']}: {error}") from error


def _check_architecture(name: str, where: str, needs_code: bool = False) -> None:
    if name in CONFIG_MAPPING and CONFIG_MAPPING[name] in MODEL_MAPPING:
        return
    near = difflib.get_close_matches(name, list(CONFIG_MAPPING.keys()), n=3)
    hint = f"; near names: {', '.join(near)}" if near else ""
    code = "; it asks for remote code (auto_map), which is never run" if needs_code else ""
    raise ValueError(f"{where}: transformers knows no encoder of model_type {name!r}{code}{hint}")


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """The keyword that leaves the pooler out, for the architectures that have one."""
    architecture = MODEL_MAPPING[type(config)]
    has_pooler = isinstance(architecture, type) and "add_pooling_layer" in signature(architecture).parameters
    return {"add_pooling_layer": False} if has_pooler else {}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a local Hugging Face folder.

    Raises:
        ValueError: it has no vocabulary, a broken one, or no fast form (no tokenizer.json and no file to build
            one from).
    """
    hub.check_tokenizer(folder)
    read_config(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of the tokenizers package, which has no type of its own for a broken file
        raise ValueError(f"{folder}: its tokenizer cannot be read: {error}; copy or fetch it again") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(f"{folder}: {type(tokenizer).__name__} is no fast tokenizer; expected a tokenizer.json")
    return tokenizer


def identity(files: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """What tells files on this machine from others, wherever they are moved: inode, size and time of the last write."""
    found = (file.stat() for file in files)
    return tuple((of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns) for of in found)


class ReadTokenizer(NamedTuple):
    """A tokenizer with what was taken of it before a call changed its truncation.

    Attributes:
        key: of the whole tokenizer; cached tokens are found by it.
        fingerprint: see `tokenizer_fingerprint`.
    """

    tokenizer: PreTrainedTokenizerFast
    key: str
    fingerprint: str


_tokenizers: dict[str, ReadTokenizer] = {}


def read_tokenizer(folder: Path) -> ReadTokenizer:
    """`load_tokenizer`, or the tokenizer that this process has built from files of the same content.

    Building one of XLM-R's vocabulary takes a second, hashing its files a hundredth of one.
    """
    files = sorted({file for pattern in (*TOKENIZER_FILES, "config.json") for file in folder.glob(pattern)})
    content = digest(json.dumps([[file.name, file_sha256(file)] for file in files]))
    if content not in _tokenizers:
        tokenizer = load_tokenizer(folder)
        read = ReadTokenizer(tokenizer, digest(tokenizer.backend_tokenizer.to_str()), tokenizer_fingerprint(tokenizer))
        while len(_tokenizers) >= _MAX_TOKENIZERS:
            del _tokenizers[next(iter(_tokenizers))]
        _tokenizers[content] = read
    return _tokenizers[content]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """16 hex digits of the sha256 over what a tokenizer makes of a multilingual probe, and its special ids.

    A library or a `tokenizer_class` that silently changes ids changes the fingerprint; a class that is merely
    renamed does not.
    """
    pairs = zip(_PROBE_TEXTS, _PROBE_TEXTS[1:] + _PROBE_TEXTS[:1], strict=True)
    outputs = [tokenizer(text) for text in _PROBE_TEXTS] + [tokenizer(*pair) for pair in pairs]
    observed = {
        "ids": [output["input_ids"] for output in outputs],
        "types": [output.get("token_type_ids") for output in outputs],
        "special": {name: tokenizer.convert_tokens_to_ids(t) for name, t in tokenizer.special_tokens_map.items()},
        "size": len(tokenizer),
    }
    return digest(json.dumps(observed, sort_keys=True))[:16]


def build_tiny(
    folder: Path,
    texts: Iterable[str],
    *,
    vocab_size: int = 2000,
    hidden_size: int = 64,
    num_layers: int = 2,
    num_heads: int = 2,
    intermediate_size: int = 128,
    max_positions: int = 512,
    initializer_range: float = 0.05,
    architecture: str = "xlm-roberta",
    seed: int = 0,
) -> None:
    """Writes a small encoder of random weights and a tokenizer trained on `texts` as a Hugging Face folder.

    Weights and tokenizer are the same bit for bit for the same arguments. The tokenizer is a BPE with
    XLM-R's special tokens (`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last); the Unigram trainer of
    `tokenizers` finds another vocabulary in every process.

    Args:
        folder: where to write; it appears complete or not at all.
        texts: the tokenizer's training text.
        vocab_size: at most so many tokens; at most half are single characters, the most frequent ones.
        hidden_size: H.
        num_layers: number of layers.
        num_heads: attention heads.
        intermediate_size: width of the feed-forward layers.
        max_positions: the longest sequence in tokens.
        initializer_range: standard deviation of the weights; models so small learn faster from more than the
            0.02 that is usual.
        architecture: transformers' `model_type`.
        seed: of the weights.

    Raises:
        ValueError: transformers does not know the architecture, or the folder is not empty.
    """
    _check_architecture(architecture, "architecture")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    tokenizer = _train_bpe(list(texts), vocab_size)
    sizes: dict[str, float] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "hidden_dim" if architecture == "distilbert" else "intermediate_size": intermediate_size,
        "max_position_embeddings": max_positions + (2 if "roberta" in architecture else 0),
        "initializer_range": initializer_range,
    }
    special = {"bos_token_id": 0, "cls_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    if "roberta" in architecture:
        sizes["type_vocab_size"] = 1
    config = AutoConfig.for_model(architecture, **sizes, **special)
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_positions,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in (names | {"mask": "<mask>"}).items()},
    )
    with torch.random.fork_rng(devices=[]), quiet(), appearing(folder) as unfinished:
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32, **without_pooler(config))
        model.save_pretrained(unfinished)
        fast.save_pretrained(unfinished)


def _train_bpe(texts: list[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    # The trainer breaks ties between equally frequent characters at random, so the alphabet is chosen here.
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update("".join(tokenizer.normalizer.normalize_str(text).split()))
    del counts["▁"]
    alphabet = ["▁", *sorted(counts, key=lambda c: (-counts[c], c))][: vocab_size // 2]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A sibling to write into, which becomes `folder` by one rename at the end.

    Nothing appears after an error. Where another process was first, its folder stays.
    """
    name = f".{folder.name}.{os.getpid()}.{os.urandom(4).hex()}"
    pattern = re.escape(f".{folder.name}.") + r"\d+\.[0-9a-f]{8}"
    with making(folder.with_name(name), pattern, is_folder=True) as unfinished:
        yield unfinished
        for file in unfinished.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        try:
            unfinished.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # not a lost race but a real failure
                raise


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars and its report of unused heads out of the log."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
