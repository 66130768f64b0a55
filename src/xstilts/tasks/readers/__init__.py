"""Readers of official release formats: one row at a time, with the file and the place in it in every error.

Every reader takes the paths of a `Files` source in order and the canonical names of the columns, tells gzip by its
content, and either yields every row of the release or raises: a row that is left out is left out by a rule in the
reader's name, and the declared number of rows counts it.
"""

from .document import lareqa, mewsli_x, squad, squad_without
from .table import commonsense_qa, csv, jsonl, parquet, social_iqa, tsv
from .tagged import ccgbank, conll, conllu, wikiann
from .text import BROKEN_GZIP, Row, bitext, bucc, lines

__all__ = [
    "BROKEN_GZIP",
    "Row",
    "bitext",
    "bucc",
    "ccgbank",
    "commonsense_qa",
    "conll",
    "conllu",
    "csv",
    "jsonl",
    "lareqa",
    "lines",
    "mewsli_x",
    "parquet",
    "social_iqa",
    "squad",
    "squad_without",
    "tsv",
    "wikiann",
]
