"""Scores for the page's own controls: the curve of gain over chosen languages at a chosen layer, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xstilts.tasks.languages import language

from .blocks import Explorer
from .estimates import existing, seed_of
from .gains import Target
from .stats import Section, Where, tasks_of
from .tables import seeds

MAX_CELLS = 150_000
"""Most values in a page, five bytes each; above that only those of every target's first view, or nothing."""
_UNIT = 10_000


def explorer(targets: Sequence[Target], source: str) -> Explorer | None:
    """The block, ``None`` without targets or where even the views' own cells are too many.

    Values are in hundredths of a percent, by place (layer, pooling, direction), run and language; ``null`` where there
    is none.
    """
    for whole in (True, False):
        places = [_places(target, whole) for target in targets]
        counts = (
            len(of) * len(target.section.runs) * len(target.view.languages)
            for of, target in zip(places, targets, strict=True)
        )
        if targets and sum(counts) <= MAX_CELLS:
            break
    else:
        return None
    codes = sorted({code for target in targets for code in target.view.languages})
    about = {code: language(code) for code in codes}
    document = {
        "languages": {code: [one.name, one.script, one.family] for code, one in about.items()},
        "targets": [_target(target, of) for target, of in zip(targets, places, strict=True)],
    }
    return Explorer(json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False), source)


def _places(target: Target, whole: bool) -> list[Where]:
    found = {where for _, where in target.section.cells}
    if not whole:
        found = {where for where in found if where[1:] == target.view.where[1:]}
    return sorted(found, key=lambda where: (-1 if where[0] is None else where[0], where[1] or "", where[2] or ""))


def _target(target: Target, places: Sequence[Where]) -> dict[str, Any]:
    section, view = target.section, target.view
    chosen = target.main.runs
    subsets = list(map(tasks_of, chosen))
    runs = [
        [run.name, run.k, seeds(run), int(run.collapsed), subsets.index(own), seed_of(run)]
        for run, own in zip(chosen, subsets, strict=True)
    ]
    return {
        "name": target.name.replace(f" by {section.key['metric']}", ""),
        "metric": section.key["metric"],
        "series": target.main.name,
        "languages": view.languages,
        "places": places,
        "start": places.index(view.where) if view.where in places else 0,
        "planned": target.main.planned(section, 0),
        "existing": {k: existing(section, runs[0]) for k, runs in target.main.by_k().items() if k},
        "runs": runs,
        "values": [[_values(section, run.model, where, view.languages) for run in chosen] for where in places],
    }


def _values(section: Section, model: str, where: Where, languages: Sequence[str]) -> list[int | None]:
    found = section.cells.get((model, where), {})
    return [round(_UNIT * found[code]) if code in found else None for code in languages]
