"""Extractive question answering: start and end logits over windows of the context, answers as offsets of its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xstilts.engine.aggregation import states
from xstilts.engine.lists import logsumexp_by
from xstilts.recipe import Recipe
from xstilts.tasks.task import Passage, Span

from . import tag
from .classify import COLLAPSED_SHARE
from .frame import Frame

WINDOW_STEP = 128
MAX_QUESTION_TOKENS = 64
MAX_ANSWER_TOKENS = 30
COLLAPSED_F1 = 0.1
NOWHERE = -1

_MARKS = ("answer_first", "answer_last")
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


def encode(
    kind: Span, examples: Sequence[Passage], tokenizer: Any, max_tokens: int, prefix: str = ""
) -> dict[str, list[Any]]:
    """Tokenise questions with their contexts; a long context is several windows, each a sequence with the question.

    Windows begin every `WINDOW_STEP` context pieces, as in BERT's ``run_squad.py`` (``doc_stride``; XTREME's
    ``third_party/processors/squad.py``), or more closely where they are so short that an answer of
    `MAX_ANSWER_TOKENS` pieces would fit into none. The question keeps its first `MAX_QUESTION_TOKENS` pieces, and
    at most half of what there is room for.

    Per token: ``char_begin`` and ``char_end``, the offsets in the context without the spaces around (`NOWHERE` for
    what is no context), and ``answer_first`` and ``answer_last``, each 1 at one token of a window: where the first
    answer begins and ends, or at the first token for a window that does not hold it whole. Per example:
    ``gold_begin`` and ``gold_end``, the first answer's offsets, or `NOWHERE`.

    Raises:
        ValueError: for a ``max_tokens`` that leaves no room for a question and a context.
    """
    frame = Frame.of(tokenizer, 2)
    room = frame.room(max_tokens)
    questions = tokenizer([prefix + example.question for example in examples], add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    contexts = tokenizer(
        [example.context for example in examples], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    names = ("ids", "lengths", "char_begin", "char_end", "answer_first", "answer_last", "gold_begin", "gold_end")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    if frame.special_types is not None:
        columns["types"] = []
    for example, question, ids, offsets in zip(
        examples, questions, contexts["input_ids"], contexts["offset_mapping"], strict=True
    ):
        asked = np.array(question[: min(MAX_QUESTION_TOKENS, room // 2)], dtype=np.int32)
        pieces = np.array(ids, dtype=np.int32)
        spans = _trimmed(example.context, np.array(offsets, dtype=np.int64).reshape(-1, 2))  # [p, 2]
        text, start = example.answers[0] if example.answers else ("", 0)
        gold = _trimmed(example.context, np.array([[start, start + len(text)]]))[0]
        inside = np.flatnonzero((spans[:, 0] < gold[1]) & (spans[:, 1] > gold[0]) & (spans[:, 0] != NOWHERE))
        windows: dict[str, list[Any]] = {name: [] for name in columns}
        for first, stop in _windows(len(pieces), room - len(asked)):
            whole = len(inside) and first <= inside[0] and inside[-1] < stop
            sequence = frame.ids(asked, pieces[first:stop])
            windows["ids"].append(sequence)
            for side, name in enumerate(("char_begin", "char_end")):
                places = spans[first:stop, side].astype(np.int32)
                windows[name].append(frame.column(np.full_like(asked, NOWHERE), places, special=NOWHERE))
            offset = len(sequence) - len(frame.special[-1]) - stop  # from a context piece to its token
            for end, name in zip((0, -1), _MARKS, strict=True):
                marks = np.zeros(len(sequence), dtype=np.int8)
                marks[offset + inside[end] if whole else 0] = 1
                windows[name].append(marks)
            if "types" in columns:
                windows["types"].append(frame.types(len(asked), stop - first))
        for name in windows.keys() - {"lengths", "gold_begin", "gold_end"}:
            columns[name].append(np.concatenate(windows[name]))
        columns["lengths"].append([len(sequence) for sequence in windows["ids"]])
        columns["gold_begin"].append(int(gold[0]))
        columns["gold_end"].append(int(gold[1]))
    return columns


def _windows(num_pieces: int, room: int) -> list[tuple[int, int]]:
    """The first piece and the stop of each window of at most ``room`` pieces; one window even without a piece."""
    step = min(WINDOW_STEP, max(room - MAX_ANSWER_TOKENS + 1, room // 2, 1))
    starts = range(0, max(num_pieces - room, 0) + step, step)
    return [(start, min(start + room, num_pieces)) for start in starts]


def _trimmed(text: str, spans: np.ndarray) -> np.ndarray:
    """Spans [s, 2] in characters without the white space at both ends, `NOWHERE` where nothing is left."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    solid = ~np.isin(codes, _SPACES)
    at = np.arange(len(codes))
    following = np.minimum.accumulate(np.where(solid, at, len(codes))[::-1])[::-1]  # the next solid character
    preceding = np.maximum.accumulate(np.where(solid, at, -1)) + 1  # just after the last solid one
    begin = np.append(following, len(codes))[spans[:, 0]]
    end = np.append(0, preceding)[spans[:, 1]]
    return np.where((begin < end)[:, None], np.stack([begin, end], 1), NOWHERE)


class Head(tag.Head):
    """A projection to start and end logits without dropout of its own, as BERT's ``run_squad.py`` has it."""

    def __init__(self, hidden_size: int, unanswerable: bool) -> None:
        super().__init__(hidden_size, 2, dropout=0.0)
        self.unanswerable = unanswerable


def head(kind: Span, encoder: Any, tokenizer: Any, recipe: Recipe) -> Head:
    """A fresh head for the kind."""
    return Head(encoder.hidden_size, kind.unanswerable)


def outputs(encoder: Any, head: Head, batch: Any) -> Tensor:
    """Start and end logits [T, 2]."""
    return head(states(encoder, head, batch))


def _allowed(batch: Any) -> Tensor:
    """The tokens [T] that a span may begin or end at: context pieces, and the first of each window."""
    return (batch.targets["char_begin"] != NOWHERE).index_fill(0, batch.starts, True)


def loss(encoder: Any, head: Head, batch: Any, rng: torch.Generator) -> Tensor:
    """Cross-entropy in nats, the mean of start and end and over the windows of the batch.

    The softmax of a window is over its context pieces and its first token, which stands for "not here".
    """
    return loss_of(outputs(encoder, head, batch), batch)


def _normalisers(logits: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
    """Which tokens [T] the softmax of their window is over, and its normalisers [N, 2]."""
    allowed = _allowed(batch)
    num_windows = len(batch.lengths)
    return allowed, logsumexp_by(logits.where(allowed[:, None], -torch.inf), batch.segment, num_windows)


def loss_of(logits: Tensor, batch: Any) -> Tensor:
    """`loss` of logits [T, 2]."""
    _, total = _normalisers(logits, batch)
    marks = torch.stack([batch.targets[name] for name in _MARKS], 1)  # [T, 2], one 1 in each window
    right = torch.zeros_like(total).index_add(0, batch.segment, logits * marks)
    real = batch.example < batch.num_examples  # [N]
    return (total - right).where(real[:, None], 0.0).sum() / (2 * real.sum())


def log_probabilities(logits: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
    """Of the tokens that an answer may start and end at [T, 2], 0 elsewhere; two for each window."""
    allowed, total = _normalisers(logits, batch)
    real = batch.example < batch.num_examples  # [N]
    allowed = allowed & real[batch.segment]
    return (logits - total[batch.segment]).where(allowed[:, None], 0.0), 2 * real.sum()


def num_terms(batch: Any) -> int:
    """What the loss is a mean over: windows."""
    return int((batch.example < batch.num_examples).sum())


def uniform_loss(head: Head, batch: Any) -> Tensor:
    """The loss of equally likely places, []: the mean over windows of the logarithm of their number."""
    allowed = _allowed(batch).float()
    counts = torch.zeros(len(batch.lengths), device=allowed.device).index_add(0, batch.segment, allowed)
    real = batch.example < batch.num_examples  # [N]
    return counts.log().where(real, 0.0).sum() / real.sum()


def decode(encoder: Any, head: Head, batch: Any) -> dict[str, Tensor]:
    """The best span of each example over all its windows, and how it compares with no answer; [E] each.

    ``begin`` and ``end`` are offsets in the context. ``score`` is the sum of start and end logit, the highest
    among all spans of at most `MAX_ANSWER_TOKENS` pieces of one window; of equal ones the first. The search is
    exact, where ``run_squad.py`` looks among the 20 best starts and ends and takes a start only in the window that
    gives it most context. ``null_margin`` is the sum of both logits of the first token, the lowest among the
    windows, minus ``score`` (``run_squad.py``'s ``score_diff``); ``no_answer`` says that it is above 0 and that
    the kind has questions without an answer. A context without a piece has the span (0, 0) and margin 0.
    """
    logits = outputs(encoder, head, batch)
    begin, end = batch.targets["char_begin"], batch.targets["char_end"]
    num_tokens, num_examples = batch.num_tokens, batch.num_examples
    nothing = logits.new_full((num_tokens,), -torch.inf)
    starts, ends = (logits[:, side].where(begin != NOWHERE, nothing) for side in (0, 1))
    beyond = MAX_ANSWER_TOKENS - 1
    reach = torch.cat([ends, nothing.new_full((beyond,), -torch.inf)]).unfold(0, MAX_ANSWER_TOKENS, 1)  # [T, 30]
    segment = torch.cat([batch.segment, batch.segment.new_full((beyond,), -1)]).unfold(0, MAX_ANSWER_TOKENS, 1)
    furthest, steps = reach.where(segment == batch.segment[:, None], -torch.inf).max(1)  # [T]
    scores = starts + furthest
    example = batch.example[batch.segment]  # [T]
    score = nothing.new_full((num_examples,), -torch.inf).scatter_reduce(0, example, scores, "amax")
    order = torch.arange(num_tokens, device=scores.device)
    order = order.where(scores == score[example], num_tokens - 1)
    at = torch.full_like(score, num_tokens - 1, dtype=torch.int64).scatter_reduce(0, example, order, "amin")
    first = logits[batch.starts].sum(1)  # [N]
    null = torch.full_like(score, torch.inf).scatter_reduce(0, batch.example, first, "amin")
    found = score != -torch.inf
    score = score.where(found, null)
    margin = null - score
    return {
        "begin": begin[at].where(found, 0),
        "end": end[(at + steps[at]).clamp(max=num_tokens - 1)].where(found, 0),
        "score": score,
        "null_margin": margin,
        "no_answer": (margin > 0) & head.unanswerable,
        "gold_begin": batch.targets["gold_begin"],
        "gold_end": batch.targets["gold_end"],
    }


def table(kind: Span, columns: dict[str, np.ndarray], examples: Sequence[Passage]) -> pa.Table:
    """A measurement's rows: the prediction and the gold answers as texts of the context, never put together again.

    ``prediction`` is "" where the kind allows it and the null margin is above 0; ``answer`` is the best span
    whatever the margin, so that another threshold than 0 can be scored later.
    """
    answers = [e.context[b:s] for e, b, s in zip(examples, columns["begin"], columns["end"], strict=True)]
    predictions = ["" if none else answer for answer, none in zip(answers, columns["no_answer"], strict=True)]
    return pa.table(
        {
            "id": pa.array([example.id for example in examples], pa.string()),
            "prediction": pa.array(predictions, pa.string()),
            "golds": pa.array([[text for text, _ in e.answers] for e in examples], pa.list_(pa.string())),
            "answer": pa.array(answers, pa.string()),
            "score": pa.array(columns["score"], pa.float32()),
            "null_margin": pa.array(columns["null_margin"], pa.float32()),
        }
    )


def dev_score(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Exact match (``accuracy``) and mean F1 of the spans' characters against the first answer, no text compared.

    *Collapsed*: F1 below a tenth, or "no answer" for 99 % of the questions while more of them have one.
    """
    none = columns["no_answer"]
    begin, end = (np.where(none, NOWHERE, columns[name]) for name in ("begin", "end"))
    gold_begin, gold_end = columns["gold_begin"], columns["gold_end"]
    common = np.maximum(np.minimum(end, gold_end) - np.maximum(begin, gold_begin), 0)
    total = (end - begin) + (gold_end - gold_begin)
    right = (begin == gold_begin) & (end == gold_end)
    f1 = float(np.where(right, 1.0, 2 * common / np.maximum(total, 1)).mean())
    says_none, has_none = float(none.mean()), float((gold_begin == NOWHERE).mean())
    return {
        "accuracy": float(right.mean()),
        "f1": f1,
        "collapsed": f1 < COLLAPSED_F1 or says_none >= COLLAPSED_SHARE > has_none,
    }
