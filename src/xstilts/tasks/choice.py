"""Multiple choice: the right one of several continuations or answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import readers
from .languages import langs
from .readers import Row
from .task import Choices, Choose, Files, Splits, Task

_COSMOS_COLUMNS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
_COPA_COLUMNS = ("premise", "choice1", "choice2", "question", "label")
_COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What was the effect?"}
_REBUILT = "the training rows at hand may be rebuilt from the request records of an evaluation suite"


def _label(row: Row, num_choices: int) -> int:
    """The index of the right choice, which releases write as a number or as text."""
    label = str(row["label"])
    if label not in map(str, range(num_choices)):
        raise ValueError(f"expected a label from 0 to {num_choices - 1}, got {row['label']!r}")
    return int(label)


def _endings(row: Row) -> Choices:
    """HellaSwag: jiant splits ``ctx`` differently, into ``ctx_a`` and ``ctx_b`` before the ending; same words."""
    endings = tuple(row["endings"])
    return Choices(row["ctx"], endings, _label(row, len(endings)))


def _swag(row: Row) -> Choices:
    """SWAG: as jiant (jiant/tasks/lib/swag.py)."""
    endings = tuple(f"{row['sent2']} {row[f'ending{i}']}" for i in range(4))
    return Choices(row["sent1"], endings, _label(row, 4))


def _cosmos(row: Row) -> Choices:
    """Cosmos QA: as jiant (jiant/tasks/lib/cosmosqa.py)."""
    answers = tuple(row[f"answer{i}"] for i in range(4))
    return Choices(f"{row['context']} {row['question']}", answers, _label(row, 4))


def _question(row: Row) -> Choices:
    """CommonsenseQA: as jiant (jiant/tasks/lib/commonsenseqa.py)."""
    return Choices(row["question"], row["choices"], row["label"])


def _social(row: Row) -> Choices:
    """SocialIQA: as XTREME-R (google-research/xtreme, third_party/run_xcopa.py) and jiant."""
    return Choices(f"{row['context']} {row['question']}", row["choices"], row["label"])


def copa(row: Row) -> Choices:
    """COPA and XCOPA: the question in English, as XTREME-R (google-research/xtreme, third_party/run_xcopa.py)."""
    if row["question"] not in _COPA_QUESTIONS:
        raise ValueError(f"expected the question cause or effect, got {row['question']!r}")
    prompt = f"{row['premise']} {_COPA_QUESTIONS[row['question']]}"
    return Choices(prompt, (row["choice1"], row["choice2"]), _label(row, 2))


def _choose(name: str, example: Callable[[Row], Choices], source: Files | tuple[Files, ...], **own: Any) -> Task:
    declared: dict[str, Any] = {"kind": Choose(), "languages": ("en",), "metric": "accuracy"}
    return Task(name=name, example=example, source=source, **(declared | own))


HELLASWAG = _choose(
    "hellaswag",
    _endings,
    Files("hellaswag/hellaswag_{split}.jsonl", readers.jsonl, ("ctx", "endings", "label")),
    splits=Splits(train="train", dev="val"),
    rows={"train": 39_905, "dev": 10_042},
    licence="MIT",
    official_size=39_905,
    note=f"{_REBUILT}, whose clean-up of [header] and [title] marks they then show and dev does not",
)

SWAG = _choose(
    "swag",
    _swag,
    Files("swag/{split}.csv", readers.csv, ("sent1", "sent2", "ending0", "ending1", "ending2", "ending3", "label")),
    splits=Splits(train="train", dev="val"),
    rows={"train": 73_546, "dev": 20_006},
    licence="MIT",
    official_size=73_546,
)

COSMOS_QA = _choose(
    "cosmosqa",
    _cosmos,
    (
        Files("cosmosqa/{split}.csv", readers.csv, _COSMOS_COLUMNS),
        Files("cosmosqa/{split}.jsonl", readers.jsonl, _COSMOS_COLUMNS),
    ),
    splits=Splits(train="train", dev="valid"),
    rows={"train": 25_262, "dev": 2_985},
    licence="CC BY 4.0; not stated in the release",
    official_size=25_262,
)

COSMOS_QA_IN_DEV = replace(
    COSMOS_QA,
    name="cosmosqa@dev",
    splits=Splits(train="valid"),
    rows={"train": 2_985},
    overlaps=("cosmosqa/dev",),
    slice_of="cosmosqa",
    note="the dev rows as training rows, for want of the training set",
)

COMMONSENSE_QA = _choose(
    "commonsenseqa",
    _question,
    (
        Files("commonsenseqa/{split}_rand_split.jsonl", readers.commonsense_qa, ("id", "question", "choices", "label")),
        Files("commonsenseqa/{split}.jsonl", readers.commonsense_qa, ("id", "question", "choices", "label")),
    ),
    splits=Splits(train="train", dev="dev"),
    rows={"train": 9_741, "dev": 1_221},
    licence="MIT",
    official_size=9_741,
    note=f"version 1.11, random split; {_REBUILT}",
)

SOCIAL_IQA = _choose(
    "socialiqa",
    _social,
    Files("siqa/{split}.jsonl", readers.social_iqa, ("context", "question", "choices", "label")),
    splits=Splits(train="train", dev="socialIQa_v1.4_dev", test="socialIQa_v1.4_tst"),
    rows={"train": 33_410, "dev": 1_954, "test": 2_224},
    licence="CC BY 4.0",
    official_size=33_410,
    note=f"version 1.4; the release's socialIQa_v1.4_trn.jsonl is read under the name train.jsonl; {_REBUILT}",
)

COPA = _choose(
    "copa",
    copa,
    Files("copa_en/{split}-en.jsonl", readers.jsonl, _COPA_COLUMNS),
    splits=Splits(train="train", dev="val"),
    rows={"train": 400, "dev": 100},
    licence="BSD 2-Clause",
    official_size=400,
    note="dev is what XCOPA's dev translates; the test copies at hand have no labels",
)

XCOPA = _choose(
    "xcopa",
    copa,
    Files("xcopa/data/{language}/{split}.{language}.jsonl", readers.jsonl, _COPA_COLUMNS),
    languages=langs("et ht id it qu sw ta th tr vi zh"),
    splits=Splits(dev="val", test="test"),
    rows={"dev": 100, "test": 500},
    licence="CC BY 4.0",
    trained_by="copa",
    trained_before=("socialiqa",),
    note="the training of XTREME-R's protocol",
)

CHOICE_TASKS = (HELLASWAG, SWAG, COSMOS_QA, COSMOS_QA_IN_DEV, COMMONSENSE_QA, SOCIAL_IQA, COPA, XCOPA)
