"""The languages of the miniature: ``<code>.toml`` has the words and templates, ``<code>.py`` what agrees."""

from __future__ import annotations

import functools
import importlib

from xstilts.miniature.grammar import Grammar
from xstilts.spec import one_of

LANGUAGES = ("en", "ar", "de", "es", "fr", "hi", "ru", "sw", "tr", "zh")
"""The codes of the languages; English is the second side of every bitext."""


@functools.cache
def grammar(code: str) -> Grammar:
    """The grammar of a language.

    Raises:
        ValueError: for a language that the miniature does not have.
    """
    one_of("language of the miniature", code, LANGUAGES)
    module = importlib.import_module(f"{__name__}.{code}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Grammar) and value.code == code
    )
    return found()
