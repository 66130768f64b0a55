"""Small encoders of hand-made tokenizers, and the miniature's examples for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from xstilts.engine import Context, encoder_folder
from xstilts.engine import evaluate as evaluate_module
from xstilts.engine.data import Tokenised
from xstilts.engine.evaluate import predict
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import Batch, collate
from xstilts.engine.retrieval import Cell, Vectors
from xstilts.stage import Encoder, Tiny
from xstilts.study import Sources
from xstilts.tasks import Choices, Choose, Kind, Passage, Task, Tokens, examples, find
from xstilts.tasks.readers import Row

TINY = Encoder("tiny", tiny=Tiny(vocab_size=600, hidden_size=16, intermediate_size=32, max_positions=128))
CPU = torch.device("cpu")
MADE = {"tag": "mini-xtags", "span": "mini-xqa", "choose": "mini-xchoice"}
SIDES = {"mini-mining": ("foreign", "english"), "mini-lareqa": ("query", "pool"), "mini-mewsli": ("query", "pool")}
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")


def characters_folder(folder: Path) -> Path:
    """A tiny BERT with token types whose pieces are characters: every answer begins and ends with a piece."""
    texts = [text for name in MADE.values() for code in ("en", "zh", "ar", "hi") for text in texts_of(name, code)]
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    words = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    pieces = {w: i for i, w in enumerate(words)}
    return bert_folder(folder, models.WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=500), 256)


def bert_folder(folder: Path, vocabulary: models.Model, max_positions: int) -> Path:
    """A tiny BERT with token types and large random weights, so that a mistake shows; texts split at white space.

    The vocabulary begins with `SPECIAL`.
    """
    backend = Tokenizer(vocabulary)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")},
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=backend.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=max_positions,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def texts_of(name: str, language: str) -> Iterator[str]:
    for example in some(name, language, 600):
        match example:
            case Tokens(words=words):
                yield " ".join(words)
            case Passage(context=context, question=question):
                yield from (context, question)
            case Choices(prompt=prompt, choices=choices):
                yield from (prompt, *choices)


def some(name: str, language: str, count: int) -> list[Any]:
    return examples(find(name), "test", language)[:count]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """RoBERTa's kind: a word's bytes, the space before it among them, offsets that count the space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", *alphabet])}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def small_folders(cache_dir: Path, folder: Path) -> dict[str, Path]:
    """Hugging Face folders of a tiny XLM-R with a trained vocabulary, and of a BERT of characters."""
    context = Context(inputs={}, work=cache_dir, data_dir=None, cache_dir=cache_dir)
    return {"pieces": encoder_folder(resolved(cache_dir), context), "characters": characters_folder(folder)}


def resolved(cache_dir: Path) -> Encoder:
    """`TINY` as a plan has it: its folder is found by the text that its tokenizer was trained on."""
    return replace(TINY, content=Sources(None, cache_dir).encoder(TINY))


def shaken(folder: Path) -> Model:
    """A model in evaluation mode whose weights are all far from their initial values."""
    made = Model(folder).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.15)
    return made


def table_of(columns: dict[str, list[Any]]) -> Tokenised:
    types = {"ids": pa.list_(pa.int32()), "types": pa.list_(pa.int8()), "lengths": pa.list_(pa.int32())}
    return Tokenised(pa.table({name: pa.array(v, types.get(name)) for name, v in columns.items()}))


def encoded(kind: Kind, given: list[Any], tokenizer: Any, max_tokens: int) -> Tokenised:
    return table_of(KINDS[kind.name].encode(kind, given, tokenizer, max_tokens))


class Fed(nn.Module):
    """An encoder and a head at once whose logits are right, made of the targets of the batch it is shown."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind, self.unanswerable = kind, getattr(kind, "unanswerable", False)
        self.batch: Batch | None = None

    def encoder(self, *arguments: Any) -> Tensor:
        assert self.batch is not None
        targets = self.batch.targets
        if self.kind.name == "tag":
            return nn.functional.one_hot(targets["label"].clamp(min=0), len(self.kind.labels)).float()  # type: ignore[union-attr]
        if self.kind.name == "span":
            return torch.stack([targets["answer_first"], targets["answer_last"]], 1).float()
        if self.kind.name == "classify":
            right = nn.functional.one_hot(targets["label"], len(self.kind.labels)).float()  # type: ignore[union-attr]
            return right[self.batch.example[self.batch.segment]]
        logits = torch.zeros(self.batch.num_tokens, 1)
        for number, right in enumerate(targets["label"].tolist()):
            logits[self.batch.starts[(self.batch.example == number).nonzero()[right]]] = 1
        return logits

    encoder.divided = False  # type: ignore[attr-defined]  # as an encoder's layers are but for sharded trainings

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden

    def predictions(self, data: Tokenised, given: list[Any], patch: pytest.MonkeyPatch, budget: int = 300) -> pa.Table:
        def shown(*arguments: Any) -> Batch:
            self.batch = collate(*arguments)
            return self.batch

        patch.setattr(evaluate_module, "collate", shown)
        patch.setattr(evaluate_module, "TOKENS_PER_BATCH", budget)
        columns = predict(self, self, self.kind.name, data, rows=None, precision="float32", device=CPU)  # type: ignore[arg-type]
        return KINDS[self.kind.name].table(self.kind, columns, given)


def canonical_row(task: Task, i: int) -> Row:
    """A row with every canonical column there is; its texts end in ``i``."""
    texts = ["premise", "hypothesis", "sentence1", "sentence2", "first", "second", "text", "id", "context"]
    texts += ["prompt", "ctx", "sent1", "sent2", "anchor", "positive", "negative"]
    texts += [f"{name}{j}" for name in ("answer", "ending", "choice") for j in range(5)]
    labels = getattr(task.kind, "labels", ("",))
    values: dict[str, Any] = {name: f"{name} {i}" for name in texts}
    values |= {"label": i % 2 if isinstance(task.kind, Choose) else labels[i % len(labels)]}
    values |= {"words": ("a", f"word{i}"), "tags": (labels[0], labels[-1])}
    values |= {"question": "effect" if task.example.__name__ == "copa" else f"question {i}"}
    values |= {"answers": ((str(i), len("context ")),), "answer": str(i), "start": len("context ")}
    values |= {"side": SIDES.get(task.name, (0, 1))[i % 2], "is_query": i % 2 == 0, "language": "de"}
    values |= dict.fromkeys(("pairs", "golds"), (f"id {i}",) if i % 2 == 0 else ())
    values |= {"sentence": f"sentence {i}", "description": f"description {i}", "end": len("context ")}
    values |= {"endings": ["a", f"ending {i}"], "choices": ("a", f"choice {i}")}
    return Row(values, "file", i)


class Given(Vectors):
    """Vectors that are there already."""

    def __init__(self, values: Tensor, *poolings: str) -> None:
        self.cells = [Cell(2, pooling) for pooling in poolings]
        self._plain = [(2, "mean")]
        self._all = values[:, None].float()
