"""Examples as a model sees them: the exact sequences that a kind makes of them, piece by piece, with the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from xstilts.stage import Encoder
from xstilts.tasks.task import Bitext, Choose, Classify, Entry, Example, Kind, Span, Tag

from . import Context, encoder_folder
from .folders import load_tokenizer, tokenizer_fingerprint
from .kinds import KINDS
from .kinds.span import NOWHERE
from .kinds.tag import IGNORED


def tokenizer_of(encoder: Encoder, context: Context) -> tuple[PreTrainedTokenizerFast, str]:
    """The tokenizer of an encoder that a plan resolved, and its fingerprint.

    Raises:
        ValueError: it is not there or cannot be read.
    """
    tokenizer = load_tokenizer(encoder_folder(encoder, context))
    return tokenizer, tokenizer_fingerprint(tokenizer)


def show(
    kind: Kind, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, max_tokens: int
) -> list[dict[str, Any]]:
    """Encode examples as training and measuring do, and say what came out.

    Args:
        kind: of the task.
        examples: of that kind.
        tokenizer: of the encoder.
        max_tokens: longest sequence; the tokenizer's own limit holds too.

    Returns:
        For each example its ``sequences``: ``name``, token ``ids`` and ``text``, the pieces with special tokens, one
        space between two, and what each token has for a target beside it (``/TAG`` after the first piece of a word,
        ``[[ ]]`` around an answer); and its ``target``, read back from the encoded columns: the label, the tags, the
        answer (``None`` where there is none), the right choice; ``None`` for kinds that have no label.
    """
    limit = min(max_tokens, tokenizer.model_max_length)
    columns = KINDS[kind.name].encode(kind, examples, tokenizer, limit)
    found = []
    for number, example in enumerate(examples):
        bounds = np.cumsum(columns["lengths"][number])[:-1]
        own = {  # what every token has is cut into sequences; one value of an example stays what it is
            name: np.split(np.asarray(values[number]), bounds) if np.ndim(values[number]) else values[number]
            for name, values in columns.items()
        }
        parts = [_pieces(ids.tolist(), tokenizer) for ids in own["ids"]]
        marked = _marked(kind, parts, own)
        names = _names(kind, example, len(parts))
        sequences = [
            {"name": name, "ids": ids.tolist(), "text": " ".join(pieces)}
            for name, ids, pieces in zip(names, own["ids"], marked, strict=True)
        ]
        found.append({"sequences": sequences, "target": _target(kind, example, own)})
    return found


def _pieces(ids: list[int], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Tokens as their vocabulary writes them; those of a vocabulary of bytes as text, with ▁ for a space."""
    pieces = list(tokenizer.convert_ids_to_tokens(ids))
    decoder = tokenizer.backend_tokenizer.decoder
    if not isinstance(decoder, decoders.ByteLevel):
        return pieces
    return [decoder.decode([piece]).replace(" ", "▁") for piece in pieces]


def _marked(kind: Kind, parts: list[list[str]], own: dict[str, Any]) -> Iterable[list[str]]:
    if isinstance(kind, Tag):
        return [
            [f"{piece}/{kind.labels[at]}" if at != IGNORED else piece for piece, at in zip(pieces, labels, strict=True)]
            for pieces, labels in zip(parts, own["label"], strict=True)
        ]
    if isinstance(kind, Span):
        windows = zip(parts, own["char_begin"], own["answer_first"], own["answer_last"], strict=True)
        return [_around(pieces, places, int(f.argmax()), int(t.argmax())) for pieces, places, f, t in windows]
    return parts


def _around(pieces: list[str], places: np.ndarray, first: int, last: int) -> list[str]:
    """A window's pieces with brackets around its answer, if the first and the last piece of it are context."""
    if places[first] == NOWHERE:
        return pieces
    return [*pieces[:first], "[[", *pieces[first : last + 1], "]]", *pieces[last + 1 :]]


def _names(kind: Kind, example: Example, count: int) -> list[str]:
    if isinstance(example, Bitext) and count in (2, 3):
        return ["first", "second", "negative"][:count]
    if isinstance(example, Entry):
        name = "query" if example.is_query else "candidate"
    else:
        name = "choice" if isinstance(kind, Choose) else "window" if isinstance(kind, Span) else "sequence"
    return [name] if count == 1 else [f"{name} {number} of {count}" for number in range(1, count + 1)]


def _target(kind: Kind, example: Any, own: dict[str, Any]) -> Any:
    if isinstance(kind, Classify):
        return kind.labels[own["label"]]
    if isinstance(kind, Tag):
        return [kind.labels[at] for labels in own["label"] for at in labels if at != IGNORED]
    if isinstance(kind, Span):
        begin, end = own["gold_begin"], own["gold_end"]
        return None if begin == NOWHERE else example.context[begin:end]
    return example.choices[own["label"]] if isinstance(kind, Choose) else None
