"""Sentence retrieval: bitexts whose second side is English."""

from __future__ import annotations

from . import readers
from .languages import LANGUAGES, MINIATURE_LANGUAGES, langs
from .readers import Row
from .task import MINIATURE_NOTE, Bitext, Embed, Files, Miniature, Splits, Task

XTREME_LANGUAGES = langs(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)
"""The 36 languages of Tatoeba in XTREME's code and data (its paper's table says 33)."""

XTREME_R_LANGUAGES = tuple(sorted((*XTREME_LANGUAGES, *langs("az lt pl ro uk"))))
"""The 41 languages of Tatoeba in XTREME-R."""

_FEWER_THAN_1000 = {"jv": 205, "ka": 746, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "te": 234, "th": 548}
_NTREX_CODES = {
    "az": "aze-Latn",
    "el": "ell",
    "et": "est",
    "gu": "guj",
    "hi": "hin",
    "it": "ita",
    "ka": "kat",
    "kk": "kaz",
    "mr": "mar",
    "nl": "nld",
    "pa": "pan",
    "pt": "por",
    "ru": "rus",
    "sw": "swa",
    "tl": "fil",
    "uk": "ukr",
    "ur": "urd",
    "wo": "wol",
    "yo": "yor",
}


def _bitext(row: Row) -> Bitext:
    return Bitext(row["first"], row["second"])


TATOEBA = Task(
    name="tatoeba",
    kind=Embed(),
    example=_bitext,
    languages=XTREME_R_LANGUAGES,
    splits=Splits(test="test"),
    source=Files(
        ("tatoeba/tatoeba.{language}-eng.{language}", "tatoeba/tatoeba.{language}-eng.eng"),
        readers.bitext,
        ("first", "second"),
        codes={code: LANGUAGES[code].iso639_3 for code in XTREME_R_LANGUAGES},
    ),
    rows={"test": {code: _FEWER_THAN_1000.get(code, 1_000) for code in XTREME_R_LANGUAGES}},
    metric="accuracy",
    licence="CC BY 2.0 FR",
    note="LASER's first release; the English sides differ, so languages are not comparable with one another",
)

NTREX = Task(
    name="ntrex",
    kind=Embed(),
    example=_bitext,
    languages=tuple(_NTREX_CODES),
    splits=Splits(dev="newstest2019"),
    source=Files(
        ("ntrex/{split}-ref.{language}.txt", "ntrex/{split}-ref.eng-US.txt"),
        readers.bitext,
        ("first", "second"),
        codes=_NTREX_CODES,
    ),
    rows={"dev": 1_997},
    metric="accuracy",
    licence="CC BY-SA 4.0",
    note="held-out bitext for choosing layers and models, so that nothing is chosen on Tatoeba",
)

MINI_BITEXT = Task(
    name="mini-bitext",
    kind=Embed(),
    example=_bitext,
    languages=MINIATURE_LANGUAGES[1:],
    splits=Splits(dev="dev", test="test"),
    source=Miniature("bitext"),
    rows={"dev": 300, "test": 500},
    metric="accuracy",
    licence="Apache-2.0",
    note=MINIATURE_NOTE,
)

RETRIEVAL_TASKS = (TATOEBA, NTREX, MINI_BITEXT)
