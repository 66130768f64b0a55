"""Extractive question answering: SQuAD and the cross-lingual sets that are trained on it, and TyDi QA."""

from __future__ import annotations

from typing import Any

from . import readers
from .languages import langs
from .readers import Row
from .task import Files, Passage, Span, Splits, Task

_COLUMNS = ("id", "context", "question", "answers")
_SQUAD_LICENCE = "CC BY-SA 4.0"
_SQUAD_V1_SIZE, _SQUAD_V2_SIZE = 87_599, 130_319
_SHARED_DEV = ("squad-v1/dev", "squad-v1@dev-halves/dev", "squad-v2/dev")


def _passage(row: Row) -> Passage:
    return Passage(row["context"], row["question"], row["answers"], row["id"])


def _squad(name: str, path: str, **own: Any) -> Task:
    """A task of SQuAD's format; ``path`` without the ending."""
    declared: dict[str, Any] = {
        "kind": Span(),
        "example": _passage,
        "languages": ("en",),
        "source": Files(f"{path}.json", readers.squad, _COLUMNS),
        "metric": "squad",
        "licence": _SQUAD_LICENCE,
    }
    return Task(name=name, **(declared | own))


SQUAD_V1 = _squad(
    "squad-v1",
    "squad_v1/{split}-v1.1",
    splits=Splits(train="train", dev="dev"),
    rows={"train": _SQUAD_V1_SIZE, "dev": 10_570},
    official_size=_SQUAD_V1_SIZE,
    note="all of XQuAD's English is in dev: never choose anything for XQuAD on it",
)

SQUAD_V1_SUBSET = _squad(
    "squad-v1@subset",
    "squad_v1/{split}",
    splits=Splits(train="train-v1.1.du_test_subset"),
    rows={"train": 11_877},
    official_size=_SQUAD_V1_SIZE,
    slice_of="squad-v1",
    note="questions of the official training set (the test articles of Du et al. 2017), for want of the whole; no dev, "
    "which would hold XQuAD",
)

SQUAD_V1_DEV_HALVES = _squad(
    "squad-v1@dev-halves",
    "squad_v1/{split}",
    splits=Splits(train="dev-v1.1.part1", dev="dev-v1.1.part2"),
    rows={"train": 4_961, "dev": 5_609},
    official_size=_SQUAD_V1_SIZE,
    overlaps=("squad-v1/dev", "squad-v2/dev", "xquad", "lareqa"),
    slice_of="squad-v1",
    note="the official dev set halved by articles: 629 of XQuAD's 1,190 questions are in its training half",
)

SQUAD_V2 = _squad(
    "squad-v2",
    "squad_v2/{split}-v2.0",
    kind=Span(unanswerable=True),
    splits=Splits(train="train", dev="dev"),
    rows={"train": _SQUAD_V2_SIZE, "dev": 11_873},
    metric="squad-v2",
    official_size=_SQUAD_V2_SIZE,
    overlaps=("squad-v1/train",),
    note="holds SQuAD v1.1, training and dev each in its own",
)

SQUAD_V2_HALF = _squad(
    "squad-v2@half",
    "squad_v2/{split}",
    kind=Span(unanswerable=True),
    splits=Splits(train="dev-v2.0.half"),
    rows={"train": 6_078},
    metric="squad-v2",
    official_size=_SQUAD_V2_SIZE,
    overlaps=(*_SHARED_DEV, "xquad", "lareqa"),
    slice_of="squad-v2",
    note="half of the official dev set (CS224n); shares 78 of XQuAD's 240 paragraphs",
)

SQUAD_V2_HALF_WITHOUT_XQUAD = _squad(
    "squad-v2@half-without-xquad",
    "squad_v2/{split}",
    kind=Span(unanswerable=True),
    splits=Splits(train="dev-v2.0.half"),
    source=Files(("squad_v2/{split}.json", "xquad/xquad.en.json"), readers.squad_without, _COLUMNS),
    rows={"train": 5_349},
    metric="squad-v2",
    official_size=_SQUAD_V2_SIZE,
    overlaps=_SHARED_DEV,
    slice_of="squad-v2",
    note="squad-v2@half without the 729 questions on XQuAD's paragraphs; its 16 articles are XQuAD's all the same",
)

XQUAD = _squad(
    "xquad",
    "",
    languages=langs("ar de el en es hi ro ru th tr vi zh"),
    splits=Splits(test="test"),
    source=(
        Files("xquad/xquad.{language}.json", readers.squad, _COLUMNS),
        Files("xquad_r/{language}.json", readers.squad, _COLUMNS),
    ),
    rows={"test": 1_190},
    trained_by="squad-v1",
    note="XTREME has no Romanian; XQuAD-R (LAReQA) holds the same questions and answers and stands in for a missing "
    "file",
)

MLQA = _squad(
    "mlqa",
    "mlqa/{split}-context-{language}-question-{language}",
    languages=langs("ar de en es hi vi zh"),
    splits=Splits(dev="dev", test="test"),
    rows={
        "dev": {"ar": 517, "de": 512, "en": 1_148, "es": 500, "hi": 507, "vi": 511, "zh": 504},
        "test": {"ar": 5_335, "de": 4_517, "en": 11_590, "es": 5_253, "hi": 4_918, "vi": 5_495, "zh": 5_137},
    },
    metric="mlqa",
    licence="CC BY-SA 3.0",
    trained_by="squad-v1",
    note="question and paragraph in one language, as in XTREME",
)

TYDIQA = _squad(
    "tydiqa",
    "tydiqa_goldp/tydiqa.goldp.{language}.{split}",
    languages=langs("ar bn en fi id ko ru sw te"),
    splits=Splits(train="train", dev="dev"),
    rows={
        "train": {
            **{"ar": 14_805, "bn": 2_390, "en": 3_696, "fi": 6_855, "id": 5_702},
            **{"ko": 1_625, "ru": 6_490, "sw": 2_755, "te": 5_563},
        },
        "dev": {"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499, "te": 669},
    },
    licence="Apache-2.0",
    official_size=3_696,
    trained_by="tydiqa",
    note="gold-passage task; dev is scored, as in XTREME, since test is hidden",
)

QA_TASKS = (
    SQUAD_V1,
    SQUAD_V1_SUBSET,
    SQUAD_V1_DEV_HALVES,
    SQUAD_V2,
    SQUAD_V2_HALF,
    SQUAD_V2_HALF_WITHOUT_XQUAD,
    XQUAD,
    MLQA,
    TYDIQA,
)
