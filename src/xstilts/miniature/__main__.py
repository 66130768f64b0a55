"""Print sentences of every language beside their English, to be read: ``python -m xstilts.miniature [SEED]``."""

from __future__ import annotations

import json
import sys

from . import LANGUAGES, NAMES, rows
from .languages import grammar
from .sets import SETS

HEAD = """# The miniature, read

Sentences of the miniature world drawn at random, with the English that says the same. They are made from
`src/xstilts/miniature/languages/<code>.toml` (words and sentence patterns, which a speaker can correct) and
`<code>.py` beside it (agreement). This page is what `python -m xstilts.miniature` prints; other sentences come with
another seed, `python -m xstilts.miniature 7`.

What is odd on purpose: facts are random, so an owl may be in the bank; they are never impossible in grammar.

## Data sets

One test row of each, in English where it has English; the sentences of all of them are made by the same patterns.
What they stand for is `MINIATURE_OF` in `src/xstilts/tasks/made.py`.
"""


def page(seed: int = 0, num_sentences: int = 20) -> str:
    """Markdown: a row of every data set, then a table of sentences for each language but English."""
    sets = "\n".join(f"| {name} | {_row(name, seed)} |" for name in NAMES)
    parts = [HEAD, f"| set | row |\n|---|---|\n{sets}\n"]
    for code in LANGUAGES[1:]:
        drawn = rows("bitext", "test", code, num_sentences, seed)
        parts.append(f"## {type(grammar(code)).__name__}\n\n| {code} | English |\n|---|---|")
        parts.append("\n".join(f"| {row['first']} | {row['second']} |" for row in drawn) + "\n")
    return "\n".join(parts)


def _row(name: str, seed: int) -> str:
    """A row of a set; of texts that are searched for or with a query."""
    drawn = rows(name, "test", SETS[name].languages[0], 50, seed)
    row = next((row for row in drawn if row.get("side") in ("foreign", "query")), drawn[0])
    return "; ".join(f"{column}: {json.dumps(value, ensure_ascii=False)}" for column, value in row.items())


if __name__ == "__main__":
    print(page(*map(int, sys.argv[1:2])), end="")
