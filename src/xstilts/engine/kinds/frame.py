"""What a tokenizer puts around texts: special tokens and token types, for sequences that are cut by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """The special tokens of a sequence of one text or two.

    Attributes:
        special: ids before the first text, between two and after the last.
        special_types: their token types; ``None`` for a tokenizer without types.
        text_types: the token type of each text's tokens.
    """

    special: tuple[np.ndarray, ...]
    special_types: tuple[np.ndarray, ...] | None
    text_types: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Any, num_texts: int) -> Frame:
        """Find out what a fast tokenizer puts around one text, or around two."""
        encoded = tokenizer(*["a"] * num_texts)
        places = encoded.sequence_ids(0)  # the text of each token, None for special ones
        bounds = [0, *(at for text in range(num_texts) for at in _bounds(places, text)), len(places)]
        gaps = list(zip(bounds[::2], bounds[1::2], strict=True))

        def parts(values: list[int]) -> tuple[np.ndarray, ...]:
            return tuple(np.array(values[start:stop], dtype=np.int32) for start, stop in gaps)

        types = encoded.get("token_type_ids")
        inside = tuple(types[places.index(text)] for text in range(num_texts)) if types else (0,) * num_texts
        return cls(parts(encoded["input_ids"]), parts(types) if types else None, inside)

    def room(self, max_tokens: int) -> int:
        """How many tokens of text fit into ``max_tokens``.

        Raises:
            ValueError: when not one token of each text does.
        """
        least = sum(map(len, self.special)) + len(self.text_types)
        if max_tokens < least:
            raise ValueError(f"max_tokens is {max_tokens}: expected at least {least} for this tokenizer and task")
        return max_tokens - least + len(self.text_types)

    def ids(self, *texts: np.ndarray) -> np.ndarray:
        """The whole sequence [t] of texts given as token ids."""
        return _woven(self.special, texts)

    def column(self, *texts: np.ndarray, special: int) -> np.ndarray:
        """Values of the texts' tokens as values of the whole sequence [t], ``special`` at special tokens."""
        return _woven([np.full(len(ids), special, texts[0].dtype) for ids in self.special], texts)

    def types(self, *lengths: int) -> np.ndarray | None:
        """Token types [t] of texts of so many tokens, ``None`` for a tokenizer without types."""
        if self.special_types is None:
            return None
        return _woven(
            self.special_types, [np.full(n, t, np.int32) for n, t in zip(lengths, self.text_types, strict=True)]
        )


def _bounds(places: list[int | None], text: int) -> tuple[int, int]:
    return places.index(text), len(places) - places[::-1].index(text)


def _woven(around: Any, texts: Any) -> np.ndarray:
    parts = [part for pair in zip(around, texts, strict=False) for part in pair]
    return np.concatenate([*parts, around[-1]])
