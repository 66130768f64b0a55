"""Monolingual text for masked-language modelling."""

from __future__ import annotations

from . import readers
from .languages import MINIATURE_LANGUAGES, langs
from .readers import Row
from .task import MINIATURE_NOTE, Files, MaskedLM, Miniature, Splits, Task, Text

_LEIPZIG_LANGUAGES = langs(
    "af ar az bg bn de el en es et eu fa fi fr gu he hi hu id it ja ka kk ko lt mr ms nl pa pl pt ro ru sw "
    "ta te th tl tr uk ur vi yo zh"
)


def _text(row: Row) -> Text:
    return Text(row["text"])


LEIPZIG = Task(
    name="text@leipzig",
    kind=MaskedLM(),
    example=_text,
    languages=_LEIPZIG_LANGUAGES,
    splits=Splits(train="raw"),
    source=Files("raw_leipzig_sentences/{language}.txt", readers.lines, ("text",)),
    rows={"train": {code: {"ja": 412, "zh": 729}.get(code, 1_000) for code in _LEIPZIG_LANGUAGES}},
    metric="perplexity",
    licence="CC BY",
    note="sentences of the Wortschatz Leipzig corpora, as pemistahl/lingua-py ships them",
)

MINI_TEXT = Task(
    name="mini-text",
    kind=MaskedLM(),
    example=_text,
    languages=MINIATURE_LANGUAGES,
    splits=Splits(train="train"),
    source=Miniature("text"),
    rows={"train": 2_000},
    metric="perplexity",
    licence="Apache-2.0",
    note=MINIATURE_NOTE,
)

TEXT_TASKS = (LEIPZIG, MINI_TEXT)
