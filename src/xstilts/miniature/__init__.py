"""The embedded default: a small typed world, said in ten real languages, as plain rows of any number.

People, places, things, actions, times and quantities are in `inventory`; `world` draws facts, each of which belongs
to one split; `items` makes examples of facts; a `grammar` says them, from ``languages/<code>.toml``, which a speaker
can read and correct. Written for this package, not collected.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from xstilts.spec import digest, one_of

from .languages import LANGUAGES as LANGUAGES
from .sets import FOREIGN, SETS
from .sets import rows as _rows
from .world import SPLITS

NAMES = tuple(SETS)
"""The names that `rows` knows."""


def rows(name: str, split: str, language: str, size: int, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of one split in one language, always in the same order.

    Args:
        name: one of `NAMES`.
        split: train, dev or test; they share no fact.
        language: one of `LANGUAGES`; for bitext and mining the side that is not English, for lareqa and mewsli
            ``mul``: their rows are of every language.
        size: how many rows; fewer rows are the first of more.
        seed: another seed gives other rows of the same split.

    Returns:
        Rows with the columns premise, hypothesis, label (nli); sentence1, sentence2, label (paraphrase, questions,
        answers); context, question, answer, start, in unanswerable also without an answer and -1 (qa, unanswerable);
        prompt, choices, label (choice, endings, commonsense); premise, question, choice1, choice2, label (causes);
        words, tags (tags, categories, entities); first, second, which is English (bitext); side, id, language, text,
        pairs, context (mining, lareqa, mewsli, which has the mention's start and end in a query); question,
        sentence, context (lareqa-train); text, start, end, description (mewsli-train); text (text). Rows are
        parallel across languages, except for text.

    Raises:
        ValueError: for a name, split or language that is not there, and for more rows than the world has.
    """
    one_of("miniature", name, NAMES)
    one_of(f"split of the miniature {name!r}", split, SPLITS)
    if language == "en" and SETS[name].languages == FOREIGN:
        raise ValueError(f"the miniature {name!r} has no language 'en': English is its other side")
    one_of(f"language of the miniature {name!r}", language, SETS[name].languages)
    return _rows(name, split, language, size, seed)


@functools.cache
def fingerprint() -> str:
    """The digest of everything that makes a row: names and bytes of the package's files."""
    folder = resources.files(__name__)
    files = {f"{sub}{file.name}": file for sub in ("", "languages/") for file in folder.joinpath(sub).iterdir()}
    read = {name: file.read_bytes() for name, file in sorted(files.items()) if name.endswith((".py", ".toml"))}
    return digest(b"".join(f"{name}\0{len(text)}\0".encode() + text for name, text in read.items()))
