"""Tagging: parts of speech, named entities and CCG supertags."""

from __future__ import annotations

from . import readers
from .languages import langs
from .readers import Row
from .task import Files, Splits, Tag, Task, Tokens

UPOS = (
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
)
"""The 17 universal parts of speech (https://universaldependencies.org/u/pos)."""

NER_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")

_COLUMNS = ("words", "tags")
_PANX_LANGUAGES = langs(
    "af ar az bg bn de el en es et eu fa fi fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu ro ru "
    "sw ta te th tl tr uk ur vi yo zh"
)
_UDPOS_LANGUAGES = langs(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko lt mr nl pl pt ro ru ta te th tl tr uk ur vi wo yo zh"
)


def _tokens(row: Row) -> Tokens:
    return Tokens(row["words"], row["tags"])


def _by_size(sizes: dict[int, str], others: int) -> dict[str, int]:
    """PAN-X's rows by language: the languages of each size, and the size of all others."""
    own = {code: size for size, codes in sizes.items() for code in langs(codes)}
    return {code: own.get(code, others) for code in _PANX_LANGUAGES}


_PANX_DEV = _by_size({100: "gu jv my pa qu yo", 1_000: "af az bn hi kk ml mr ms sw ta te tl ur"}, 10_000)

PANX = Task(
    name="panx",
    kind=Tag(NER_LABELS),
    example=_tokens,
    languages=_PANX_LANGUAGES,
    splits=Splits(train="train", dev="dev", test="test"),
    source=(
        Files("panx/{language}/{split}", readers.wikiann, _COLUMNS),
        Files("panx/{split}-{language}.tsv", readers.conll, _COLUMNS),
    ),
    rows={
        "train": _by_size(
            {
                100: "gu jv my pa qu yo",
                1_000: "kk sw te",
                5_000: "af hi mr",
                10_000: "az bn eu ka lt ml tl",
                15_000: "et ta",
            },
            20_000,
        ),
        "dev": _PANX_DEV,
        "test": _PANX_DEV,
    },
    metric="span-f1",
    licence="not stated in the release; Wikipedia text (CC BY-SA)",
    official_size=20_000,
    trained_by="panx",
    note="WikiANN in the splits of Rahimi et al. 2019; XTREME's copy of test has no tags and is refused",
)

UDPOS = Task(
    name="udpos",
    kind=Tag(UPOS),
    example=_tokens,
    languages=_UDPOS_LANGUAGES,
    splits=Splits(train="train", dev="dev", test="test"),
    source=Files("udpos/{split}-{language}.tsv", readers.conll, _COLUMNS),
    rows={
        "train": {
            **{"af": 1_315, "ar": 6_075, "bg": 8_907, "el": 1_662, "en": 21_253, "eu": 5_396, "fa": 4_798},
            **{"fi": 27_198, "he": 5_241, "hu": 910, "id": 4_477, "ja": 7_125, "kk": 31, "lt": 2_494, "mr": 373},
            **{"nl": 18_051, "ta": 400, "te": 1_051, "tr": 3_664, "uk": 5_496, "ur": 4_043, "vi": 1_400},
            **{"wo": 1_188, "zh": 7_994},
        },
        "dev": {
            **{"af": 194, "ar": 909, "bg": 1_115, "de": 19_233, "el": 403, "en": 3_974, "es": 3_054, "et": 3_125},
            **{"eu": 1_798, "fa": 599, "fi": 3_239, "fr": 2_903, "he": 484, "hi": 1_659, "hu": 441, "id": 559},
            **{"it": 2_278, "ja": 511, "ko": 3_016, "lt": 672, "mr": 46, "nl": 1_394, "pl": 3_960, "pt": 1_770},
            **{"ro": 2_247, "ru": 8_108, "ta": 80, "te": 131, "tr": 988, "uk": 672, "ur": 552, "vi": 800},
            **{"wo": 449, "zh": 1_000},
        },
    },
    metric="span-f1",
    licence="by treebank of Universal Dependencies, several non-commercial",
    official_size=21_253,
    trained_by="udpos",
    note="treebanks of a language together, fused forms as one word; XTREME's copy of test has no tags and is "
    "refused, and its rows by language are not published; kk, th, tl and yo have no dev",
)

_PUD_LANGUAGES = {
    **{"ar": "Arabic", "de": "German", "es": "Spanish", "fi": "Finnish", "fr": "French", "hi": "Hindi"},
    **{"id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "pl": "Polish", "pt": "Portuguese"},
    **{"ru": "Russian", "th": "Thai", "tr": "Turkish", "zh": "Chinese"},
}
_TREEBANKS = {code: f"{name}-PUD/{code}_pud" for code, name in _PUD_LANGUAGES.items()} | {
    "en": "English-EWT/en_ewt",
    "ta": "Tamil-TTB/ta_ttb",
    "te": "Telugu-MTG/te_mtg",
    "vi": "Vietnamese-VTB/vi_vtb",
    "yo": "Yoruba-YTB/yo_ytb",
}

UD = Task(
    name="ud",
    kind=Tag(UPOS),
    example=_tokens,
    languages=tuple(sorted(_TREEBANKS)),
    splits=Splits(train="train", dev="dev", test="test"),
    source=Files("ud_conllu/UD_{language}-ud-{split}.conllu", readers.conllu, _COLUMNS, codes=_TREEBANKS),
    rows={
        "train": {"ta": 400, "te": 1_051, "vi": 1_400},
        "dev": {"en": 2_001, "ta": 80, "te": 131, "vi": 1_123},
        "test": {code: 1_000 for code in _PUD_LANGUAGES} | {"en": 2_077, "ta": 120, "te": 146, "vi": 800, "yo": 317},
    },
    metric="span-f1",
    licence="CC BY-SA 3.0 and 4.0 by treebank; Tamil TTB CC BY-NC-SA 3.0",
    trained_by="udpos",
    note="one treebank a language as Universal Dependencies release it, for want of XTREME's tagged test sets: "
    "PUD (parallel, 1,000 sentences) where there is one; syntactic words, not XTREME's fused forms",
)

TAGGING_TASKS = (PANX, UDPOS, UD)


def ccg(labels: tuple[str, ...]) -> Task:
    """CCG supertagging on the reader's own copy of CCGbank, which is not free (LDC2005T13), to be registered.

    Args:
        labels: the lexical categories of all its sections: a closed set that belongs to the release.

    Raises:
        ValueError: for fewer than two labels.
    """
    return Task(
        name="ccg",
        kind=Tag(labels),
        example=_tokens,
        languages=("en",),
        splits=Splits(train="wsj_02-21", dev="wsj_00", test="wsj_23"),
        source=Files("ccgbank/{split}.auto", readers.ccgbank, _COLUMNS),
        rows={"train": 39_604, "dev": 1_913, "test": 2_407},
        metric="accuracy",
        licence="LDC user agreement (LDC2005T13), not free",
        official_size=39_604,
        note="sections 02 to 21, 00 and 23, each as one file; Phang et al. 2020 count 38,015 training sentences",
    )
