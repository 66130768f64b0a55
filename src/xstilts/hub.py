"""Encoders of the Hugging Face hub: found in the local cache, downloaded only when asked to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .untrusted import parsed, plain

ENCODER_FILES = ["*.safetensors", "*.json", "*.model", "*.txt"]
TRANSLATOR_FILES = [*ENCODER_FILES, "*.spm"]  # Marian has a vocabulary for each of its two languages
TRANSLATORS = ("m2m_100", "marian")
_LARGEST = {
    **dict.fromkeys(("num_hidden_layers", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 1 << 10),
    **dict.fromkeys(("num_attention_heads", "n_heads", "encoder_attention_heads", "decoder_attention_heads"), 1 << 12),
    **dict.fromkeys(("hidden_size", "dim", "d_model", "embedding_size"), 1 << 16),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 1 << 18),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "type_vocab_size"), 1 << 24),
}
_NO_SUBFOLDERS = ["*/*"]
_VOCABULARIES = ("tokenizer.json", "*.model", "vocab.txt", "vocab.json")


def find_encoder(name: str, revision: str, what: str = "encoder") -> Path:
    """The snapshot of an encoder in the local Hugging Face cache, in a folder named by its commit; no network.

    Args:
        name: the repository, ``owner/name``.
        revision: a commit (40 hex digits), or a tag or branch that was fetched under that name.
        what: what it is, for the error.

    Raises:
        ValueError: it is not there, or not completely.
    """
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
        complete = (folder / "config.json").is_file() and _has_weights(folder)
    except LocalEntryNotFoundError:
        complete = False
    if not complete:
        raise ValueError(
            f"the {what} {name}@{revision} is neither a folder nor (completely) in the local Hugging Face cache; "
            f"fetch it with: xstilts fetch {name}@{revision}"
        )
    return folder


def download_encoder(name: str, revision: str) -> Path:
    """Fetch an encoder or translator into the Hugging Face cache: config, safetensors, tokenizer; no code, no pickles.

    Args:
        name: the repository, ``owner/name``.
        revision: a commit, tag or branch.

    Returns:
        Its folder in the cache.

    Raises:
        ValueError: this revision has no safetensors weights.
    """
    import huggingface_hub

    folder = Path(
        huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=TRANSLATOR_FILES, ignore_patterns=_NO_SUBFOLDERS
        )
    )
    if not _has_weights(folder):
        raise ValueError(f"{name}@{revision} has no safetensors weights; pickled weights are never loaded")
    return folder


def encoder_files(folder: Path) -> list[Path]:
    """The files that make an encoder of a folder, in order of name: config, safetensors, tokenizer."""
    return sorted({file for pattern in ENCODER_FILES for file in folder.glob(pattern)})


def translator_files(folder: Path) -> list[Path]:
    """The files that make a translation model of a folder, in order of name."""
    return sorted({file for pattern in TRANSLATOR_FILES for file in folder.glob(pattern)})


def check_translator(folder: Path) -> None:
    """Refuse, with a `ValueError`, a folder that is no translation model of a known kind, as `check_encoder` does."""
    check_encoder(folder)
    kind = read_config(folder / "config.json").get("model_type")
    if kind not in TRANSLATORS:
        raise ValueError(
            f"{folder}: a model of model_type {kind!r} is no translator: expected {' or '.join(TRANSLATORS)}"
        )


def check_encoder(folder: Path) -> None:
    """Refuse, with a `ValueError`, a local folder that cannot be an encoder: config, weights and tokenizer.

    What is in the files is checked when they are loaded.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json; expected the folder of a Hugging Face encoder")
    if (folder / "adapter_config.json").is_file():  # transformers would apply it wherever peft is installed
        raise ValueError(f"{folder}: adapter_config.json beside the weights; merge the adapter into them first")
    if not _has_weights(folder):
        found = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "no weights"
        raise ValueError(
            f"{folder}: expected safetensors weights, every shard of them, found {found}; "
            "pickled weights are never loaded"
        )
    check_tokenizer(folder)


def read_config(file: Path) -> dict[str, Any]:
    """The JSON object of a model's config.json.

    Raises:
        ValueError: for a broken one, one that asks for code of others (transformers downloads and runs an attention
            implementation that is named like a repository of the hub), sizes that no model has, and quantised weights.
    """
    try:
        values = dict(parsed(file.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: expected a JSON object, got a broken one: {error}") from error
    for name, value in _settings(values):
        try:
            check_sizes({name: value})
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if name.endswith(("_implementation", "_implementation_internal")) and "/" in str(value):
            raise ValueError(f"{file}: {name} is {str(value)[:60]!r}: code of others is never run")
        if name == "quantization_config" and value:
            raise ValueError(f"{file}: its weights are quantised ({name}): expected float weights")
    return values


def check_sizes(values: Mapping[str, Any]) -> None:
    """Refuse, with a `ValueError`, sizes that no model has, which would fill the memory or last for ever."""
    for name, value in values.items():
        if (most := _LARGEST.get(name)) and value is not None and not (type(value) is int and 0 <= value <= most):
            raise ValueError(f"{name} is {str(value)[:60]}: expected a whole number up to {most:,}")


def _settings(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings of a config, and of those in it."""
    for name, value in values.items():
        yield name, value
        if isinstance(value, dict):
            yield from _settings(value)


def check_tokenizer(folder: Path) -> None:
    """Refuse, with a `ValueError`, a folder without a vocabulary: transformers would make one up."""
    if not any(path for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        raise ValueError(f"{folder}: no tokenizer; expected one of {', '.join(_VOCABULARIES)}")


def _has_weights(folder: Path) -> bool:
    """Whether the safetensors of a folder are there, every shard of them."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    try:
        shards = {plain("a shard", name) for name in parsed(index.read_bytes())["weight_map"].values()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{index}: expected a JSON object with a 'weight_map'; fetch or copy it again") from error
    return all((folder / shard).is_file() for shard in shards)
