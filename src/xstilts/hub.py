"""Encoders of the Hugging Face hub: found in the local cache, downloaded only when asked to."""

from __future__ import annotations

import json
from pathlib import Path

ENCODER_FILES = ["*.safetensors", "*.json", "*.model", "*.txt"]
TRANSLATOR_FILES = [*ENCODER_FILES, "*.spm"]  # Marian has a vocabulary for each of its two languages
TRANSLATORS = ("m2m_100", "marian")
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
    try:
        kind = dict(json.loads((folder / "config.json").read_text())).get("model_type")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / 'config.json'}: expected a JSON object; fetch or copy it again") from error
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
        shards = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{index}: expected a JSON object with a 'weight_map'; fetch or copy it again") from error
    return all((folder / shard).is_file() for shard in shards)
