"""Print sentences of every language beside their English, to be read: ``python -m xstilts.miniature [SEED]``."""

from __future__ import annotations

import sys

from . import LANGUAGES, rows
from .languages import grammar

HEAD = """# The miniature, read

Sentences of the miniature world drawn at random, with the English that says the same. They are made from
`src/xstilts/miniature/languages/<code>.toml` (words and sentence patterns, which a speaker can correct) and
`<code>.py` beside it (agreement). This page is what `python -m xstilts.miniature` prints; other sentences come with
another seed, `python -m xstilts.miniature 7`.

What is odd on purpose: facts are random, so an owl may be in the bank; they are never impossible in grammar.
"""


def page(seed: int = 0, num_sentences: int = 20) -> str:
    """Markdown with a table for each language but English."""
    parts = [HEAD]
    for code in LANGUAGES[1:]:
        drawn = rows("bitext", "test", code, num_sentences, seed)
        parts.append(f"## {type(grammar(code)).__name__}\n\n| {code} | English |\n|---|---|")
        parts.append("\n".join(f"| {row['first']} | {row['second']} |" for row in drawn) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(*map(int, sys.argv[1:2])), end="")
