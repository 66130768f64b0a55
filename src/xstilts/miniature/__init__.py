"""The embedded default: hand-written sentences in seven languages, as plain rows.

Three tables lie beside this file, tab-separated with a header, written for this package and not collected:

- ``bitext.tsv``: 200 sentences, each in all of `LANGUAGES`; 100 are for retrieval, 100 are text for MLM;
- ``nli.tsv``: 60 hypotheses, each under three premises, one a label, so that a hypothesis alone says nothing;
- ``paraphrase.tsv``: 60 sentences, each with a paraphrase and a near-copy of other meaning, as PAWS has them.

The rows of one hypothesis (or one first sentence) stay in one split; retrieval sentences occur nowhere else.
"""

from __future__ import annotations

import functools
from importlib import resources

from xstilts.spec import digest, one_of

NAMES = ("nli", "paraphrase", "bitext", "text")
"""The names that `rows` knows."""

LANGUAGES = ("en", "de", "fr", "es", "ru", "tr", "zh")
"""The languages of the sentences; English is the second side of every bitext."""

_SPLITS = {
    "nli": ("train", "dev"),
    "paraphrase": ("train", "dev"),
    "bitext": ("test",),
    "text": ("train",),
}
_LANGUAGES = {"nli": ("en",), "paraphrase": ("en",), "bitext": LANGUAGES[1:], "text": LANGUAGES}
_TABLES = ("bitext.tsv", "nli.tsv", "paraphrase.tsv")


def rows(name: str, split: str, language: str) -> list[dict[str, str]]:
    """The rows of one split in one language, always in the same order.

    Args:
        name: one of `NAMES`.
        split: ``train`` or ``dev`` (nli, paraphrase), ``test`` (bitext), ``train`` (text).
        language: ``en`` for nli and paraphrase, the foreign side for bitext, any of `LANGUAGES` for text.

    Returns:
        Rows with the columns premise, hypothesis, label (nli); sentence1, sentence2, label (paraphrase);
        first, second, which is English (bitext); text (text). English text holds the distinct premises and
        hypotheses of nli's train split besides its share of the bitext table.

    Raises:
        ValueError: for a name, split or language that is not there; the message lists the choices.
    """
    one_of("miniature", name, NAMES)
    one_of(f"split of the miniature {name!r}", split, _SPLITS[name])
    one_of(f"language of the miniature {name!r}", language, _LANGUAGES[name])
    if name == "bitext":
        return [{"first": row[language], "second": row["en"]} for row in _split("bitext.tsv", "test")]
    if name == "text":
        texts = [row[language] for row in _split("bitext.tsv", "text")]
        if language == "en":
            texts += (row[column] for row in _split("nli.tsv", "train") for column in ("premise", "hypothesis"))
        return [{"text": text} for text in dict.fromkeys(texts)]
    return [{key: row[key] for key in row if key != "split"} for row in _split(f"{name}.tsv", split)]


@functools.cache
def fingerprint() -> str:
    """The digest of the data files, names and bytes."""
    return digest(b"".join(f"{file}\0{len(_read(file))}\0".encode() + _read(file) for file in _TABLES))


def _split(file: str, split: str) -> list[dict[str, str]]:
    return [row for row in _table(file) if row["split"] == split]


@functools.cache
def _table(file: str) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in _read(file).decode().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def _read(file: str) -> bytes:
    return resources.files(__name__).joinpath(file).read_bytes()
