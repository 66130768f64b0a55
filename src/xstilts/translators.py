"""Who translates a task's rows, as declared values: a model, a file made elsewhere, Apertium, or the miniature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from .recipe import PRECISIONS
from .spec import Value, declared, one_of, positive


@dataclass(frozen=True)
class Seq2Seq(Value):
    """A translation model: the Hugging Face folder or hub name of an M2M-100, an NLLB or a Marian (Opus-MT).

    Beam search (greedy with one beam), sentence by sentence; a sentence longer than ``max_tokens`` loses its end, and
    no translation is longer. Languages are given in the model's own way; ``prefix`` is text before every sentence,
    such as ``">>fra<< "`` for a Marian with several target languages. The plan fills ``content``, and that counts in
    the place of the name.
    """

    kind: ClassVar[str] = "seq2seq"
    name: str = declared(counts=False)
    revision: str = declared(default="main", counts=False)
    num_beams: int = 1
    max_tokens: int = 256
    prefix: str = ""
    precision: str = "float32"
    num_threads: int = 1
    content: str = ""

    def check(self) -> None:
        """Raise ``ValueError`` for an empty name, an unknown precision or a number that is not above 0."""
        if not self.name:
            raise ValueError("seq2seq.name is empty: expected a folder or a hub name")
        one_of("precision", self.precision, PRECISIONS)
        positive(self, "num_beams", "max_tokens", "num_threads")


@dataclass(frozen=True)
class TranslationFile(Value):
    """Translations made elsewhere, for one pair of languages: ``.tsv`` or ``.jsonl``, plain or gzip.

    Columns ``source`` and ``translation`` (TSV without a header): every text of an example as it stands, so a premise,
    a question, a whole context, and the answer by itself. ``missing`` says what becomes of a row with a text that is
    not there: an ``error`` that names it, or ``drop``, counted. ``path`` is relative to the data folder; the plan
    fills ``content`` with the SHA-256 of what is in the file, and that counts.
    """

    kind: ClassVar[str] = "translation-file"
    path: str = declared(counts=False)
    missing: str = "error"
    content: str = ""

    def check(self) -> None:
        """Raise ``ValueError`` for a file of another format or an unknown way with what is missing."""
        if not self.path.removesuffix(".gz").endswith((".tsv", ".jsonl")):
            raise ValueError(f"translation-file.path is {self.path!r}: expected a name that ends in .tsv or .jsonl")
        one_of("translation-file.missing", self.missing, ("error", "drop"))


@dataclass(frozen=True)
class Apertium(Value):
    """The rule-based translator of Debian's packages ``apertium`` and ``apertium-*``, run on this machine.

    ``mode`` is one of ``apertium -l``; when empty, the plan takes that of the two languages. The plan fills
    ``content`` with the program's version and a hash of the mode's rules and dictionaries.
    """

    kind: ClassVar[str] = "apertium"
    mode: str = ""
    content: str = ""


@dataclass(frozen=True)
class MiniatureOracle(Value):
    """The miniature's own rows in the other language: exact translations, for tasks of the miniature alone."""

    kind: ClassVar[str] = "miniature-oracle"


Translator: TypeAlias = Seq2Seq | TranslationFile | Apertium | MiniatureOracle


def name_of(translator: Translator) -> str:
    """A translator in a word or two, for people."""
    match translator:
        case Seq2Seq(name=name):
            return name
        case TranslationFile(path=path):
            return path
        case Apertium(mode=mode):
            return f"apertium {mode}".strip()
    return "the miniature"
