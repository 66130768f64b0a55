"""The hub's cache: encoders are found by commit, and downloads take no code."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from xstilts.hub import download_encoder, find_encoder


def test_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    command = f"xstilts fetch owner/name@{commit}"
    with pytest.raises(ValueError, match=command):
        find_encoder("owner/name", commit)
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=command):
        find_encoder("owner/name", commit)
    index = snapshot / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}')
    (snapshot / "model-1-of-2.safetensors").touch()
    with pytest.raises(ValueError, match=command):  # a shard is missing
        find_encoder("owner/name", commit)
    (snapshot / "model-2-of-2.safetensors").touch()
    assert find_encoder("owner/name", commit) == snapshot
    index.unlink()
    assert find_encoder("owner/name", commit) == snapshot
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert find_encoder("owner/name", "main") == snapshot


def test_download_takes_no_code_and_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["config.json", "model.safetensors", "tokenizer.json", "sentencepiece.bpe.model", "vocab.txt"]
    others = ["pytorch_model.bin", "modeling.py", "model.pt", "tf_model.h5", "onnx/model.json", "README.md"]
    asked = []

    def fake(name: str, *, revision: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        chosen = huggingface_hub.utils.filter_repo_objects(
            files + others, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        asked.append((name, revision, list(chosen)))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    with pytest.raises(ValueError, match="owner/name@main has no safetensors weights"):
        download_encoder("owner/name", "main")
    asked.clear()
    (tmp_path / "model.safetensors").touch()
    assert download_encoder("owner/name", "main") == tmp_path
    assert asked == [("owner/name", "main", files)]
