"""What sets an intermediate training apart from the plain one, in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from xstilts.recipe import Recipe
from xstilts.stage import Mixture


def method(stages: Sequence[Mapping[str, Any]]) -> str:
    """The methods of the intermediate stages of a chain, by their declarations; nothing for one plain training.

    These are more stages than one, a merge, translated rows, and every setting of recipe and mixture that a plain
    declaration does not have.
    """
    words = ["one task after another"] if len(stages) > 1 else []
    for train in stages:
        words += _merge(train) if "merged" in train else _training(train)
    return ", ".join(dict.fromkeys(words))


def _merge(merge: Mapping[str, Any]) -> list[str]:
    return [str(merge["policy"]), *([merge["method"]] if merge["method"] else [])]


def _training(train: Mapping[str, Any]) -> Iterator[str]:
    for declared, names in (
        (train["recipe"], _optional(Recipe)),
        (train["mixture"], _optional(Mixture)),
    ):
        yield from (_setting(name, declared[name]) for name in names if name in declared)
    if "translated" in train:
        codes = sorted({one["target"] for one in train["translated"]})
        yield f"rows {'also' if train.get('keep_source', True) else 'instead'} in {' '.join(codes)}"


@functools.cache
def _optional(declaration: type) -> tuple[str, ...]:
    """The fields that a plain declaration leaves out."""
    return tuple(field.name for field in fields(declaration) if "absent" in field.metadata)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        kind = str(value["kind"])
        return f"{kind}: {value['method']}" if "method" in value else kind
    words = name.replace("_", " ")
    return words if value is True else f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
