"""Retrieval by vectors: bitexts whose second side is English, mining, queries against one multilingual pool."""

from __future__ import annotations

from typing import Any

from . import readers
from .languages import LANGUAGES, MINIATURE_LANGUAGES, langs
from .readers import Row
from .task import MINIATURE_NOTE, Bitext, Embed, Entry, Files, Mine, Miniature, Search, Splits, Task

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


def _side(row: Row) -> Entry:
    asks = row["side"] == 0
    return Entry(row["text"], row["id"], asks, "" if asks else "en", row["pairs"] if asks else ())


def _entry(row: Row) -> Entry:
    return Entry(row["text"], row["id"], row["is_query"], row["language"], row["golds"], row["context"])


_BUCC_COLUMNS = ("side", "id", "text", "pairs")

BUCC = Task(
    name="bucc",
    kind=Mine(),
    example=_side,
    languages=langs("de fr ru zh"),
    splits=Splits(dev="sample", test="training"),
    source=Files(
        tuple(f"bucc2018/{{language}}-en/{{language}}-en.{{split}}.{end}" for end in ("{language}", "en", "gold")),
        readers.bucc,
        _BUCC_COLUMNS,
    ),
    rows={},
    metric="f1",
    licence="research use, as the shared task's release says",
    note="XTREME's splits: BUCC's sample set is dev and its training set test, since its test labels are not public",
)

_XNLI_LANGUAGES = langs("ar bg de el es fr hi ru sw th tr ur vi zh")
_HALF = 1_660

BUCC_STANDIN = Task(
    name="bucc-standin",
    kind=Mine(),
    example=_side,
    languages=_XNLI_LANGUAGES,
    splits=Splits(dev="dev", test="dev"),
    source=Files(
        ("xnli/dev-{language}.tsv", "xnli/dev-en.tsv"),
        readers.hidden_pairs,
        _BUCC_COLUMNS,
        rows={"dev": (0, _HALF), "test": (_HALF, 2 * _HALF)},
    ),
    rows={"dev": _HALF, "test": _HALF},
    metric="f1",
    licence="CC BY-NC 4.0",
    note="stand-in for BUCC 2018, not BUCC: of every three hypotheses of XNLI dev one is on both sides, halves of the "
    "premises for dev and test",
)

LAREQA_LANGUAGES = langs("ar de el en es hi ru th tr vi zh")

LAREQA = Task(
    name="lareqa",
    kind=Search(LAREQA_LANGUAGES),
    example=_entry,
    languages=("mul",),
    splits=Splits(test="test"),
    source=Files(tuple(f"xquad_r/{code}.json" for code in LAREQA_LANGUAGES), readers.lareqa, readers.ENTRY_COLUMNS),
    rows={"test": {"mul": 11 * 1_190 + 13_014}},
    metric="map",
    licence="CC BY-SA 4.0",
    trained_by="lareqa-train",
    note="XQuAD-R: 1,190 questions in each of 11 languages against 13,014 sentences of all of them",
)

MLQA_R_LANGUAGES = langs("ar de en es hi vi zh")

MLQA_R = Task(
    name="mlqa-r",
    kind=Search(MLQA_R_LANGUAGES),
    example=_entry,
    languages=("mul",),
    splits=Splits(dev="dev"),
    source=Files(tuple(f"mlqa_r/{code}.json" for code in MLQA_R_LANGUAGES), readers.mlqa_r, readers.ENTRY_COLUMNS),
    rows={"dev": {"mul": 4_199 + 20_534}},
    metric="map",
    licence="CC BY-NC 4.0",
    trained_by="lareqa-train",
    note="LAReQA's second set, of MLQA's dev (its folder mlqa-dev-r); part of no benchmark; not tested on real data",
)


def _asked(row: Row) -> Bitext:
    return Bitext(row["question"], row["sentence"], row["context"])


_DUAL: dict[str, Any] = {
    "kind": Embed(),
    "languages": ("en",),
    "metric": "accuracy",
    "splits": Splits(train="train"),
}
_SQUAD_SIZE = 87_599


def _lareqa_train(name: str, file: str, size: int, **own: Any) -> Task:
    return Task(
        name=name,
        example=_asked,
        source=Files(f"squad_v1/{file}.json", readers.squad_sentences, ("question", "sentence", "context")),
        rows={"train": size},
        licence="CC BY-SA 4.0",
        official_size=_SQUAD_SIZE,
        **_DUAL,
        **own,
    )


LAREQA_TRAIN = _lareqa_train(
    "lareqa-train",
    "train-v1.1",
    _SQUAD_SIZE,
    note="questions of SQuAD v1.1 and the sentence of their answer with its paragraph; sentences by a rule of our own",
)

LAREQA_TRAIN_SUBSET = _lareqa_train(
    "lareqa-train@subset",
    "train-v1.1.du_test_subset",
    11_877,
    slice_of="lareqa-train",
    note="of the questions of squad-v1@subset; sentences by a rule of our own",
)

MEWSLI_X_LANGUAGES = langs("ar de en es fa ja pl ro ta tr uk")
_NUM_ENTITIES = 1_003_893

MEWSLI_X = Task(
    name="mewsli-x",
    kind=Search(MEWSLI_X_LANGUAGES),
    example=_entry,
    languages=("mul",),
    splits=Splits(dev="dev", test="test"),
    source=Files(
        ("mewsli_x/candidate_set_entities.jsonl", "mewsli_x/wikinews_mentions-{split}.jsonl"),
        readers.mewsli_x,
        readers.ENTRY_COLUMNS,
    ),
    rows={"dev": {"mul": 2_991 + _NUM_ENTITIES}, "test": {"mul": 14_624 + _NUM_ENTITIES}},
    metric="mrr",
    licence="Apache-2.0",
    trained_by="mewsli-x-train",
    note="release 20220518_6, whose scores are not comparable with the paper's; not tested on real data",
)

MEWSLI_X_TRAIN = Task(
    name="mewsli-x-train",
    example=_bitext,
    source=Files("mewsli_x/wikipedia_pairs-{split}.jsonl", readers.mewsli_pairs, ("first", "second")),
    rows={"train": 167_719, "dev": 14_051},
    licence="Apache-2.0",
    official_size=167_719,
    **_DUAL | {"splits": Splits(train="train", dev="dev")},
    note="mentions in English Wikipedia with the description of their entity; not tested on real data",
)

RETRIEVAL_TASKS = (
    TATOEBA,
    NTREX,
    BUCC,
    BUCC_STANDIN,
    LAREQA,
    MLQA_R,
    LAREQA_TRAIN,
    LAREQA_TRAIN_SUBSET,
    MEWSLI_X,
    MEWSLI_X_TRAIN,
    MINI_BITEXT,
)
