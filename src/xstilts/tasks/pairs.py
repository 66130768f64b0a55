"""Sentence-pair classification: natural-language inference and paraphrase."""

from __future__ import annotations

from dataclasses import replace

from . import readers
from .languages import langs, pairs
from .readers import Row
from .task import Classify, Files, Hub, Pair, Splits, Task

NLI_LABELS = ("entailment", "neutral", "contradiction")
SCITAIL_LABELS = ("entails", "neutral")
QQP_LABELS = ("not_duplicate", "duplicate")
PARAPHRASE_LABELS = ("different", "paraphrase")

_NLI_COLUMNS = ("premise", "hypothesis", "label")
_PARAPHRASE_COLUMNS = ("sentence1", "sentence2", "label")
_PAWS_X_LANGUAGES = langs("de en es fr ja ko zh")
_PAWS_X_LICENCE = "free for any purpose with credit to Google; Wikipedia text"
_SAMPLE = "a random sample of the official training set, train and dev, for want of the whole"


def inference(row: Row) -> Pair:
    """Premise and hypothesis."""
    return Pair(row["premise"], row["hypothesis"], row["label"])


def paraphrase(row: Row) -> Pair:
    """Two sentences."""
    return Pair(row["sentence1"], row["sentence2"], row["label"])


def _nli_files(path: str) -> Files:
    return Files(path, readers.jsonl, _NLI_COLUMNS)


def _nli_hub(repo: str, revision: str, files: dict[str, str], unlabelled: int | None = None) -> Hub:
    return Hub(repo, revision, files, {name: name for name in _NLI_COLUMNS}, NLI_LABELS, unlabelled)


def _paws_x_files(rows: tuple[int, int] | None = None) -> Files:
    return Files("pawsx/{split}-{language}.tsv", readers.tsv, _PARAPHRASE_COLUMNS, PARAPHRASE_LABELS, rows)


def _paws_x_hub(files: dict[str, str], rows: tuple[int, int] | None = None) -> Hub:
    columns = {name: name for name in _PARAPHRASE_COLUMNS}
    revision = "4cd8187c404bda33cb1f62b49b001115862acf37"
    return Hub("google-research-datasets/paws-x", revision, files, columns, PARAPHRASE_LABELS, None, rows)


MNLI = Task(
    name="mnli",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="train", dev="dev"),
    source=(
        _nli_files("mnli/{split}.jsonl"),
        _nli_hub(
            "nyu-mll/glue",
            "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
            {"train": "mnli/train-*.parquet", "dev": "mnli/validation_matched-*.parquet"},
        ),
    ),
    rows={"train": 392_702, "dev": 9_815},
    metric="accuracy",
    licence="OANC; fiction under several permissive licences",
    official_size=392_702,
    overlaps=("mnli@sample/dev",),
    note="dev is dev-matched",
)

MNLI_SAMPLE = Task(
    name="mnli@sample",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="sample_train", dev="sample_dev"),
    source=_nli_files("mnli/{split}.jsonl"),
    rows={"train": 8_999, "dev": 1_000},
    metric="accuracy",
    licence=MNLI.licence,
    official_size=392_702,
    slice_of="mnli",
    note=_SAMPLE,
)

SNLI = Task(
    name="snli",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="train", dev="dev", test="test"),
    source=(
        _nli_files("snli/{split}.jsonl"),
        _nli_hub(
            "stanfordnlp/snli",
            "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
            {
                "train": "plain_text/train-*.parquet",
                "dev": "plain_text/validation-*.parquet",
                "test": "plain_text/test-*.parquet",
            },
            unlabelled=-1,
        ),
    ),
    rows={"train": 549_367, "dev": 9_842, "test": 9_824},
    metric="accuracy",
    licence="CC BY-SA 4.0",
    official_size=549_367,
    overlaps=("snli@sample/dev",),
    note="pairs without a majority label (785 of 550,152 training rows) are left out, as is usual",
)

SNLI_SAMPLE = Task(
    name="snli@sample",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="sample_train", dev="sample_dev"),
    source=_nli_files("snli/{split}.jsonl"),
    rows={"train": 8_999, "dev": 1_000},
    metric="accuracy",
    licence=SNLI.licence,
    official_size=549_367,
    slice_of="snli",
    note=_SAMPLE,
)

ANLI = Task(
    name="anli",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="train", dev="dev", test="test"),
    source=(
        _nli_files("anli/{split}.jsonl"),
        _nli_hub(
            "facebook/anli",
            "8e4813d81f46d313dac7892e1c28076917cfcdf9",
            {
                "train": "plain_text/train_r[123]-*.parquet",
                "dev": "plain_text/dev_r[123]-*.parquet",
                "test": "plain_text/test_r[123]-*.parquet",
            },
        ),
    ),
    rows={"train": 162_865, "dev": 3_200, "test": 3_200},
    metric="accuracy",
    licence="CC BY-NC 4.0",
    official_size=162_865,
    note="rounds 1 to 3 in order; its authors forbid tuning on test",
)

ANLI_PLUS = Task(
    name="anli+",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="train", dev="dev"),
    source=(),
    rows={"train": 1_104_934, "dev": 22_857},
    metric="accuracy",
    licence="CC BY-NC 4.0",
    official_size=1_104_934,
    overlaps=(*MNLI.overlaps, *SNLI.overlaps),
    members=("anli", "mnli", "snli"),
    note="ANLI, MNLI and SNLI under one head (jiant's full ANLI; Phang et al. 2020)",
)

ANLI_PLUS_SAMPLES = replace(
    ANLI_PLUS,
    name="anli+@samples",
    rows={"train": 17_998, "dev": 2_000},
    licence=f"{MNLI.licence}; {SNLI.licence}",
    overlaps=(),
    members=(MNLI_SAMPLE.name, SNLI_SAMPLE.name),
    slice_of="anli+",
    note="the samples of MNLI and SNLI under one head, without ANLI, whose training set is not at hand",
)

SCITAIL = Task(
    name="scitail",
    kind=Classify(SCITAIL_LABELS),
    example=inference,
    languages=("en",),
    splits=Splits(train="train", dev="dev", test="test"),
    source=Files("scitail/scitail_1.0_{split}.tsv", readers.tsv, _NLI_COLUMNS),
    rows={"train": 23_596, "dev": 1_304, "test": 2_126},
    metric="accuracy",
    licence="Apache-2.0",
    official_size=23_596,
)

QQP = Task(
    name="qqp",
    kind=Classify(QQP_LABELS),
    example=paraphrase,
    languages=("en",),
    splits=Splits(train="train", dev="dev"),
    source=(
        Files("qqp/{split}.jsonl", readers.jsonl, _PARAPHRASE_COLUMNS, QQP_LABELS),
        Hub(
            "nyu-mll/glue",
            "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
            {"train": "qqp/train-*.parquet", "dev": "qqp/validation-*.parquet"},
            {"question1": "sentence1", "question2": "sentence2", "label": "label"},
            QQP_LABELS,
        ),
    ),
    rows={"train": 363_846, "dev": 40_430},
    metric="accuracy",
    licence="Quora terms of use, non-commercial",
    official_size=363_846,
)

XNLI = Task(
    name="xnli",
    kind=Classify(NLI_LABELS),
    example=inference,
    languages=langs("ar bg de el en es fr hi ru sw th tr ur vi zh"),
    splits=Splits(dev="dev", test="test"),
    source=(
        Files("xnli/{split}-{language}.tsv", readers.tsv, _NLI_COLUMNS),
        _nli_hub(
            "facebook/xnli",
            "b8dd5d7af51114dbda02c0e3f6133f332186418e",
            {"dev": "{language}/validation-*.parquet", "test": "{language}/test-*.parquet"},
        ),
    ),
    rows={"dev": 2_490, "test": 5_010},
    metric="accuracy",
    licence="CC BY-NC 4.0",
    trained_by="mnli",
    note="shares no row with MNLI's training set; XTREME's copy of test has no labels and is refused",
)

PAWS_X = Task(
    name="paws-x",
    kind=Classify(PARAPHRASE_LABELS),
    example=paraphrase,
    languages=_PAWS_X_LANGUAGES,
    splits=Splits(train="train", dev="dev", test="test"),
    source=(
        _paws_x_files(),
        _paws_x_hub(
            {
                "train": "{language}/train-*.parquet",
                "dev": "{language}/validation-*.parquet",
                "test": "{language}/test-*.parquet",
            }
        ),
    ),
    rows={"train": {"en": 49_401}, "dev": 2_000, "test": 2_000},
    metric="accuracy",
    licence=_PAWS_X_LICENCE,
    official_size=49_401,
    trained_by="paws-x",
    note="files named .proxylabels hold labels of another language and are never read",
)

PAWS_X_EN_DEV_HALF = Task(
    name="paws-x-en@dev-half",
    kind=Classify(PARAPHRASE_LABELS),
    example=paraphrase,
    languages=("en",),
    splits=Splits(train="dev"),
    source=(_paws_x_files((0, 1_000)), _paws_x_hub({"train": "{language}/validation-*.parquet"}, (0, 1_000))),
    rows={"train": 1_000},
    metric="accuracy",
    licence=_PAWS_X_LICENCE,
    official_size=49_401,
    overlaps=("paws-x/dev",),
    slice_of="paws-x",
    note="English dev rows 1 to 1000 as training rows, for want of the English training set",
)

PAWS_X_DEV_HALF = Task(
    name="paws-x@dev-half",
    kind=Classify(PARAPHRASE_LABELS),
    example=paraphrase,
    languages=_PAWS_X_LANGUAGES,
    splits=Splits(dev="dev"),
    source=(
        _paws_x_files((1_000, 2_000)),
        _paws_x_hub({"dev": "{language}/validation-*.parquet"}, (1_000, 2_000)),
    ),
    rows={"dev": 1_000},
    metric="accuracy",
    licence=_PAWS_X_LICENCE,
    trained_by="paws-x-en@dev-half",
    slice_of="paws-x",
    note="dev rows 1001 to 2000; in English 2 pairs and 434 sentences also occur in rows 1 to 1000",
)


_OTHER_LABEL = {
    "de-en": (15, 17), "de-es": (14, 24), "de-fr": (15, 18), "de-ja": (22, 17), "de-ko": (22, 21), "de-zh": (17, 19),
    "en-es": (7, 9), "en-fr": (0, 3), "en-ja": (9, 0), "en-ko": (11, 12), "en-zh": (4, 6), "es-fr": (7, 12),
    "es-ja": (14, 9), "es-ko": (16, 21), "es-zh": (11, 15), "fr-ja": (9, 3), "fr-ko": (11, 15), "fr-zh": (4, 7),
    "ja-ko": (12, 12), "ja-zh": (13, 6), "ko-zh": (13, 16),
}  # fmt: skip
"""Rows of the halves of PAWS-X dev that have another label in another language: one has ``NS`` for a sentence and 0."""


def generalised(task: Task, *halves: int) -> Task:
    """A task whose first sentences are in one language and second ones in another, for every pair of its languages.

    The generalised setting of Huang et al. 2021 (uclanlp/Robust-XLT, ``scripts/eval_generalized_xnli.sh``). Given
    ``halves`` of PAWS-X dev, rows with two labels are left out; how many these are of its test is not declared.
    """
    whole, at, slice = task.name.partition("@")
    languages = pairs(task.languages)
    rows = {split: count for split, count in task.rows.items() if split != "train"}
    if halves:
        lost = (_OTHER_LABEL.get("-".join(sorted(code.split("-"))), (0, 0)) for code in languages)
        counts = (1_000 * len(halves) - sum(two[half] for half in halves) for two in lost)
        rows = {"dev": dict(zip(languages, counts, strict=True))}
    left_out = "rows whose labels differ between the two languages, where one was not translated, are left out"
    return replace(
        task,
        name=f"{whole}-generalised{at}{slice}",
        languages=languages,
        splits=replace(task.splits, train=None),
        source=(),
        rows=rows,
        official_size=None,
        overlaps=(),
        slice_of=f"{task.slice_of}-generalised" if task.slice_of else None,
        crosses=task.name,
        note="; ".join([task.note, *([left_out] if halves else [])]),
    )


XNLI_GENERALISED = generalised(XNLI)
PAWS_X_GENERALISED = generalised(PAWS_X, 0, 1)
PAWS_X_GENERALISED_DEV_HALF = generalised(PAWS_X_DEV_HALF, 1)

PAIR_TASKS = (
    MNLI,
    MNLI_SAMPLE,
    SNLI,
    SNLI_SAMPLE,
    ANLI,
    ANLI_PLUS,
    ANLI_PLUS_SAMPLES,
    SCITAIL,
    QQP,
    XNLI,
    PAWS_X,
    PAWS_X_EN_DEV_HALF,
    PAWS_X_DEV_HALF,
    XNLI_GENERALISED,
    PAWS_X_GENERALISED,
    PAWS_X_GENERALISED_DEV_HALF,
)
