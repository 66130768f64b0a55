"""Readers of official release formats: one row at a time, with the file and the place in it in every error.

Every reader takes the paths of a `xstilts.tasks.Files` source in order and the canonical names of the columns, tells
gzip by its content, and either yields every row of the release or raises: a row that is left out is left out by a rule
in the reader's name, and the declared number of rows counts it.
"""

from .document import squad, squad_without
from .search import (
    ENTRY_COLUMNS,
    hidden_pairs,
    lareqa,
    mewsli_mentions,
    mewsli_pairs,
    mewsli_x,
    mlqa_r,
    sentences,
    squad_sentences,
)
from .table import commonsense_qa, csv, jsonl, parquet, social_iqa, tsv
from .tagged import ccgbank, conll, conllu, wikiann
from .text import BROKEN_GZIP, Row, bitext, bucc, lines

__all__ = [
    "BROKEN_GZIP",
    "ENTRY_COLUMNS",
    "Row",
    "bitext",
    "bucc",
    "ccgbank",
    "commonsense_qa",
    "conll",
    "conllu",
    "csv",
    "hidden_pairs",
    "jsonl",
    "lareqa",
    "lines",
    "mewsli_mentions",
    "mewsli_pairs",
    "mewsli_x",
    "mlqa_r",
    "parquet",
    "sentences",
    "social_iqa",
    "squad",
    "squad_sentences",
    "squad_without",
    "tsv",
    "wikiann",
]
