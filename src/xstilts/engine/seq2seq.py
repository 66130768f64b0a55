"""Translation models: M2M-100, NLLB and Marian of a Hugging Face folder, with beam search, in batches by length."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from xstilts.hub import check_translator, find_encoder
from xstilts.spec import one_of
from xstilts.tasks import LANGUAGES
from xstilts.translators import Seq2Seq

from .folders import quiet
from .packing import length_sorted_batches

TOKENS_PER_BATCH = 4096
"""Source tokens of a batch, without the padding; of a size that does not depend on the device, nor do the batches."""
_FLORES = {"ar": "arb_Arab", "az": "azj_Latn", "ko": "kor_Hang", "ms": "zsm_Latn", "qu": "quy_Latn", "zh": "zho_Hans"}


def flores_code(code: str) -> str:
    """NLLB's code of a language, such as ``spa_Latn`` (FLORES-200).

    Raises:
        ValueError: for a language whose script is not known here.
    """
    one_of("language of an NLLB", code, LANGUAGES)
    language = LANGUAGES[code]
    return _FLORES.get(code, f"{language.iso639_3}_{language.script}")


class Translator:
    """A loaded translation model for one pair of languages; ``translator(sentences)`` translates a batch.

    Attributes:
        decoding: what decides a translation beside model and sentence, for the record.
        num_cut: sentences that were longer than what is read of them, as far as `batches` has seen them.

    Raises:
        ValueError: for a folder of another kind, or a language that the model has not.
    """

    def __init__(self, settings: Seq2Seq, source: str, target: str, device: str) -> None:
        folder = Path(settings.name)
        if not folder.is_dir():
            folder = find_encoder(settings.name, settings.content.rpartition("@")[2] or settings.revision)
        check_translator(folder)
        self.settings = settings
        self.num_cut = 0
        try:
            with warnings.catch_warnings():  # Marian's recommends a normaliser that it then does not use
                warnings.filterwarnings("ignore", message=".*sacremoses")
                self.tokenizer: Any = AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as error:  # of sentencepiece and tokenizers, which have no type of their own for a broken file
            raise ValueError(f"{folder}: its tokenizer cannot be read: {error}; copy or fetch it again") from error
        with quiet():
            self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.bfloat16 if settings.precision == "bfloat16" else torch.float32,
            )
        self.model.to(device).eval()
        first = self._languages(source, target) if self.model.config.model_type == "m2m_100" else None
        self.max_source = min(settings.max_tokens, self.model.config.max_position_embeddings)
        self.model.generation_config.max_length = None  # of the source and the translation together, or of either
        self.decoding = {
            "num_beams": settings.num_beams,
            "do_sample": False,
            "max_new_tokens": self.max_source,
            "forced_bos_token_id": first,
        }

    def _languages(self, source: str, target: str) -> int:
        """Set the source language; the token that a translation into the target begins with."""
        tokenizer = self.tokenizer

        def ids(tokens: list[str]) -> list[int | None]:
            return [None if id == tokenizer.unk_token_id else id for id in tokenizer.convert_tokens_to_ids(tokens)]

        is_nllb = ids(["eng_Latn"]) != [None]
        codes = [flores_code(code) if is_nllb else code for code in (source, target)]
        found = ids(codes if is_nllb else [f"__{code}__" for code in codes])
        for code, id in zip(codes, found, strict=True):
            if id is None:
                raise ValueError(f"{self.settings.name} has no language {code!r}")
        tokenizer.src_lang = codes[0]
        assert found[1] is not None
        return found[1]

    def batches(self, sentences: Sequence[str]) -> list[list[int]]:
        """Which sentences are translated together: those of like lengths, in batches of about as many tokens."""
        if not sentences:
            return []
        encoded = self.tokenizer([self.settings.prefix + sentence for sentence in sentences], verbose=False)
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        self.num_cut = int((lengths > self.max_source).sum())
        lengths = lengths.clip(max=self.max_source)
        return [batch.tolist() for batch in length_sorted_batches(lengths, TOKENS_PER_BATCH)]

    @torch.inference_mode()
    def __call__(self, sentences: list[str]) -> list[str]:
        """The translations of a batch of sentences."""
        texts = [self.settings.prefix + sentence for sentence in sentences]
        given = self.tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=self.max_source)
        made = self.model.generate(
            input_ids=given["input_ids"].to(self.model.device),
            attention_mask=given["attention_mask"].to(self.model.device),
            **self.decoding,
        )
        made = made[:, 1 if self.decoding["forced_bos_token_id"] is None else 2 :]  # without start and language
        found = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.split()) for text in found]
