"""Made text of realistic lengths and word frequencies, and encoders of random weights that read it.

A word ``w<id>`` is one token. Ids follow Zipf's law (exponent 1) over 30,000 rows scattered over XLM-R's 250,002,
since that is how English text uses them: 6,000 examples of MNLI have 12,989 different pieces, 1,190 of XQuAD 7,533,
with exponents of 0.99 and 0.96. Lengths are log-normal, as there: MNLI's mean is 45 pieces with a deviation of 0.46 of
the logarithm, XQuAD's 205 with 0.40, special tokens included.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xstilts.spec import digest
from xstilts.stage import Data
from xstilts.tasks import Classify, Files, Pair, Passage, Span, Splits, Task, readers, register

NUM_SPECIAL = 4  # tokens of a pair: <s> first </s> </s> second </s>
NUM_ROWS_IN_USE = 30_000
LABELS = ("entailment", "neutral", "contradiction")
_QUESTION_WORDS = 12


@dataclass(frozen=True)
class Lengths:
    """Tokens of a pair: log-normal, at most ``most``."""

    mean: float
    deviation: float  # of the logarithm
    least: int
    most: int

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """[count] int64."""
        centre = np.log(self.mean) - self.deviation**2 / 2
        drawn = generator.lognormal(centre, self.deviation, size=count).round().astype(np.int64)
        return drawn.clip(self.least, self.most)


NLI = Lengths(42, 0.46, 9, 128)
QA = Lengths(200, 0.40, 48, 384)


@dataclass(frozen=True)
class Shape:
    """An XLM-R of random weights."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocab_size: int = 250_002

    @property
    def num_layer_parameters(self) -> int:
        """Parameters of all layers: weights, biases and norms, no embeddings."""
        h, f = self.hidden_size, self.intermediate_size
        return self.num_layers * (4 * (h * h + h) + 2 * h * f + f + h + 4 * h)

    def flops_per_token(self, lengths: np.ndarray) -> float:
        """Forward and backward: 6 a parameter of the layers, and attention's 12 L H len^2 of a sequence."""
        squares = float((lengths.astype(np.float64) ** 2).sum() / lengths.sum())
        return 6 * self.num_layer_parameters + 12 * self.num_layers * self.hidden_size * squares

    def gib(self, padded_tokens: int) -> float:
        """About how much memory a training takes: weights, gradients, AdamW, activations in half precision."""
        parameters = self.num_layer_parameters + self.vocab_size * self.hidden_size
        return (16 * parameters + 80 * padded_tokens * self.num_layers * self.hidden_size) / 2**30 + 1


SHAPES = {
    "base": Shape(12, 768, 12, 3072),
    "large": Shape(24, 1024, 16, 4096),
    "e5-small": Shape(12, 384, 12, 1536),
    "tiny": Shape(2, 32, 2, 64, vocab_size=2000),
}


def encoder_folder(folder: Path, shape: Shape) -> Path:
    """A Hugging Face folder of that shape below ``folder``: weights of seed 0, one token a word."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    path = folder / f"encoder-{digest(repr(shape))}"
    if path.is_dir():
        return path
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = {word: at for at, word in enumerate(special)}
    words |= {f"w{at}": at for at in range(len(special), shape.vocab_size - 1)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([AddedToken(word, normalized=False) for word in (*special, "<mask>")])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": word for name, word in names.items()},
    )
    config = AutoConfig.for_model(
        "xlm-roberta",
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=514,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    AutoModel.from_config(config, dtype=torch.float32, add_pooling_layer=False).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def declare() -> None:
    """Make the two tasks known, once in a process."""
    nli = Task(
        name="made-nli",
        kind=Classify(LABELS),
        example=lambda row: Pair(row["premise"], row["hypothesis"], row["label"]),
        languages=("en",),
        splits=Splits(train="train"),
        source=Files("made-nli.jsonl", readers.jsonl, ("premise", "hypothesis", "label")),
        metric="accuracy",
    )
    qa = Task(
        name="made-qa",
        kind=Span(),
        example=lambda row: Passage(row["context"], row["question"], ((row["answer"], int(row["start"])),), row["id"]),
        languages=("en",),
        splits=Splits(train="train"),
        source=Files("made-qa.jsonl", readers.jsonl, ("context", "question", "answer", "start", "id")),
        metric="squad-v2",
    )
    with contextlib.suppress(ValueError):  # declared before
        register(nli, qa)


def write_rows(folder: Path, task: str, num_rows: int, vocab_size: int) -> Data:
    """Write ``<task>.jsonl`` of examples whose answers can be learned: the label is a word's, the answer is a word's.

    Returns:
        What a stage names it by.
    """
    generator = np.random.default_rng(0)
    in_use = min(NUM_ROWS_IN_USE, vocab_size - 5)
    rows = generator.choice(np.arange(4, vocab_size - 1), size=in_use, replace=False)
    shares = 1 / np.arange(1, in_use + 1)
    lengths = (QA if task == "made-qa" else NLI).draw(generator, num_rows) - NUM_SPECIAL
    words = rows[generator.choice(in_use, size=int(lengths.sum()), p=shares / shares.sum())]
    make = _passage if task == "made-qa" else _pair
    examples = np.split(words, np.cumsum(lengths)[:-1])
    text = "".join(json.dumps(make(ids, number)) + "\n" for number, ids in enumerate(examples))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task}.jsonl").write_text(text)
    return Data(task, "train", "en", digest(text))


def _pair(ids: np.ndarray, number: int) -> dict[str, Any]:
    cut = max(1, len(ids) * 2 // 3)
    return {"premise": _text(ids[:cut]), "hypothesis": _text(ids[cut:]), "label": LABELS[int(ids[cut]) % 3]}


def _passage(ids: np.ndarray, number: int) -> dict[str, Any]:
    context = ids[_QUESTION_WORDS:]
    at = int(ids[0]) % len(context)
    start = len(_text(context[:at])) + (at > 0)
    answer = f"w{context[at]}"
    question = _text(ids[:_QUESTION_WORDS])
    return {"context": _text(context), "question": question, "answer": answer, "start": start, "id": str(number)}


def _text(ids: np.ndarray) -> str:
    return " ".join(f"w{i}" for i in ids)
