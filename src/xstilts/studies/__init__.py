"""The built-in studies, each a function with keyword parameters that yields the measurements it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xstilts.stage import Stage

from .scaling import demo, scaling

STUDIES: dict[str, Callable[..., Iterable[Stage]]] = {"demo": demo, "scaling": scaling}
