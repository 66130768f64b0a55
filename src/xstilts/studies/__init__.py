"""The built-in studies, each a function with keyword parameters that yields the measurements it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xstilts.stage import Stage

from .alternatives import alternatives
from .designs import smaller as smaller
from .recipes import in_words, pretraining_in_words
from .scaling import demo, scaling
from .selection import selection
from .xstilts2020 import xstilts2020

STUDIES: dict[str, Callable[..., Iterable[Stage]]] = {
    "demo": demo,
    "scaling": scaling,
    "xstilts2020": xstilts2020,
    "alternatives": alternatives,
    "selection": selection,
}

NOTES: dict[str, Callable[[int], list[str]]] = {"scaling": pretraining_in_words, "xstilts2020": in_words}
"""What the help of a study says after its parameters, in lines of at most a given width."""
