"""The command that recommends an intermediate training for a target, from a stored study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import DEFAULT_STORE, JsonOption, StoreOption, plans_like, stored_name, tasks_like

_MISSING = "–"


def select_command(
    target: Annotated[
        str, typer.Option("--target", help="Task to score, as xnli or panx/dev.", autocompletion=tasks_like)
    ],
    languages: Annotated[str, typer.Option("--languages", help="Some of its languages: de,sw,th.")] = "",
    study: Annotated[
        str, typer.Option("--study", help="The stored study that it rests on.", autocompletion=plans_like)
    ] = "selection",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> Answer:
    """Recommend intermediate tasks for a target.

    From a stored study, with the expected gain, its interval and its cost, and how good such choices were.

    Example: xstilts select --target xnli --languages de,sw
    """
    from . import tasks
    from .report.select import select
    from .spec import one_of
    from .store import Store

    name, _, split = target.partition("/")
    found = tasks.find(name)
    if split:
        one_of(f"split of the target {name!r}", split, found.splits)
    codes = tuple(dict.fromkeys(code for code in languages.split(",") if code))
    for code in codes:
        one_of(f"language of {name}", code, found.languages)
    said = select(Store.open(store, create=False), stored_name(study), name, split, codes)
    return ending.document(said) if as_json else ending.text(in_words(said))


def in_words(said: Mapping[str, Any]) -> list[str]:
    """The answer for a person: the recommendation, what it rests on, the candidates, and the rankers."""
    best, gain, cost = said["recommended"], said["gain"], said["cost"]
    languages = said["languages"]
    over = f", mean over {len(languages)} languages ({' '.join(languages)})" if languages else ""
    cell = ", layer {layer}, {pooling}, {direction}".format(**said["cell"]) if said["cell"] else ""
    lines = [f"{said['name']}{over}{cell}; study {said['study']}, encoder {said['encoder']}"]
    if said["miniature"]:
        lines.append("it rests on the embedded miniature: it shows the method, not which tasks to take")
    if not said["measured"]:
        lines.append("the study did not measure this task: what follows is what helped its targets")
    lost = gain["gain"] is not None and gain["gain"] <= 0
    unit = f"{gain['num_runs']} run{'s' * (gain['num_runs'] != 1)}" if said["measured"] else gain["rests_on"]
    between = "no interval" if gain["low"] is None else f"95 % {_points(gain['low'])} to {_points(gain['high'])}"
    lines += [
        f"{'ranked first' if lost else 'recommended'}: {best['tasks']}",
        f"  by {best['ranker']!r}: {best['why']}",
        f"  expected gain over no intermediate training: {_points(gain['gain'])} points ({between}; {unit})",
        f"  cost: {_number(cost['examples'], ',.0f')} examples, {_number(cost['hours'], ',.2f')} hours as recorded",
    ]
    if gain["high"] is not None and gain["high"] < 0:
        lines.append("  the gain is below 0: take no intermediate training")
    elif lost:
        lines.append(
            "  the expected gain is not above 0: by these numbers no intermediate training is the better choice"
        )
    elif gain["low"] is None or gain["low"] <= 0:
        lines.append("  the gain is not shown to be above 0: no intermediate training may do as well")
    gains = [one["gain"] for one in said["candidates"]]
    if len(gains) > 1 and all(value is not None and value <= 0 for value in gains):
        lines.append(f"  none of the {len(gains)} candidates gained anything")
    if missing := said["missing"]:
        lines.append(
            f"  incomplete: {missing} of {said['planned']} planned measurements have no score; a candidate, language "
            "or gain that needs one of them is left out"
        )
    names = [one["name"] for one in said["rankers"]]
    shown = [name for name in names if all(name in one["says"] for one in said["candidates"])]
    body = [
        [
            one["tasks"] + " †" * bool(one["collapsed"]),
            _number(one["score"], ".1%").removesuffix("%"),
            _points(one["gain"]),
            _number(one["examples"], ",.0f"),
            _number(one["hours"], ",.2f"),
            *(_ranked(one["says"][name]) for name in shown),
        ]
        for one in sorted(said["candidates"], key=lambda one: (-(one["gain"] or 0.0), one["tasks"]))
    ]
    lines += ["", "candidates, best first in hindsight, and what the rankers said of them beforehand"]
    lines += _columns(["tasks", "score", "gain", "examples", "hours", *shown], body)
    if any(one["collapsed"] for one in said["candidates"]):
        lines.append("† a training of it stayed at the majority class")
    body = [
        [
            one["name"],
            str(len(one["targets"])),
            *(_number(one[key], ".2%").removesuffix("%") for key in ("regret_1", "regret_3")),
            *(_number(one[key], ".3f") for key in ("ndcg", "spearman")),
        ]
        for one in said["rankers"]
    ]
    if body:
        lines += ["", "rankers over the study's targets: regret in %, lower is better; NDCG and Spearman, higher is"]
        lines += _columns(["ranker", "targets", "regret@1", "regret@3", "NDCG", "Spearman"], body)
    return lines


def _points(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:+.1f}"


def _number(value: float | None, how: str) -> str:
    return _MISSING if value is None else format(value, how)


def _ranked(value: float | None) -> str:
    """What a ranker says: a number of rows in full, anything else by its leading digits."""
    return _number(value, ",.0f" if abs(value or 0) >= 1000 else ".4g")


def _columns(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is text."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in (header, *body)
    ]
