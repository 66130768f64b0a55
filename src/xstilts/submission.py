"""A folder of prediction files -> the official scores and averages of XTREME or XTREME-R; anyone's predictions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import metrics, tasks
from .exchange import (
    NUM_RANKED,
    Misfit,
    file_of,
    folder_of,
    golds_of,
    read_pairs,
    read_predictions,
    read_rankings,
    released_as,
)
from .metrics.mining import PairF1
from .spec import near, one_of
from .tasks import Choose, Classify, Files, Protocol, Task
from .tasks.readers import mewsli_mentions

Document = dict[str, Any]

NOT_SCORED = {"lareqa": "evaluate.py has no files for it"}
SPLITS = ("test", "dev")

_BUCC_GOLD = {"test": "training", "dev": "sample"}
_MEASURES = {
    "classify": ("accuracy",),
    "choose": ("accuracy",),
    "embed": ("accuracy",),
    "span": ("f1", "exact_match"),
    "tag": (*(f"f1_{compat}" for compat in metrics.spans.COMPATS), "token_accuracy"),
    "mine": ("f1", "precision", "recall"),
    "search": ("mrr",),
}
_SPLIT_MARGIN = 0.1
_MAX_SHOWN = 10


def score(folder: Path, data_dir: Path | None, benchmark: str = "xtreme", split: str = "test") -> Document:
    """Score a folder in XTREME's layout (see `exchange`) as its ``evaluate.py`` does, which gives percent.

    Args:
        folder: has ``xnli/test-de.tsv`` and the like.
        data_dir: folder of release files with labels, as every task declares them; BUCC's as it is unpacked
            (``bucc2018/de-en/de-en.training.gold`` for test, ``sample`` for dev), of Mewsli-X the mentions alone.
        benchmark: a key of `PROFILE_OF`, whose profile says which languages and numbers count.
        split: which files: ``test``, or ``dev`` for those who only have the labels of dev.

    Returns:
        ``{"benchmark", "split", "tasks", "groups", "mean", "unread", "num_refused"}``. A task has ``languages``
        (by code the measures as unrounded fractions, ``num_examples``, and ``value``, which is averaged),
        ``counted`` (the measures whose mean is ``value``),
        ``no_predictions`` (codes), ``no_labels`` and ``refused`` (by code the reason), and ``mean`` over the
        languages that the benchmark defines: ``None`` unless all are there. ``groups`` and ``mean`` are ``None``
        unless every task has its mean. ``unread`` are files that no task asked for.

    Raises:
        ValueError: for an unknown benchmark or split, or a folder without any of the files.
    """
    one_of("benchmark", benchmark, tasks.PROFILE_OF)
    one_of("split", split, SPLITS)
    profile = tasks.profile(tasks.PROFILE_OF[benchmark])
    scored_here = [protocol for protocol in profile.protocols if protocol.task not in NOT_SCORED]
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    asked = {file_of(each.task, split, code) for each in scored_here for code in each.languages}
    if not asked & present:
        raise ValueError(_nothing(folder, split, profile.tasks))
    scored: dict[str, Document] = {
        protocol.task: _task(folder, data_dir, protocol, split)
        if protocol in scored_here
        else {"not_scored": NOT_SCORED[protocol.task], "mean": None}
        for protocol in profile.protocols
    }
    values = {name: found["mean"]["value"] for name, found in scored.items() if found["mean"]}
    return {
        "benchmark": benchmark,
        "split": split,
        "tasks": scored,
        "groups": {group: tasks.average(values, members) for group, members in profile.groups.items()},
        "mean": profile.mean(values),
        "unread": sorted(present - asked),
        "num_refused": sum(len(found.get("refused", ())) for found in scored.values()),
    }


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those in it; hidden ones are not counted."""
    for pattern in ("*", "*/*"):
        yield from (p for p in folder.glob(pattern) if p.is_file() and "/." not in f"/{p.relative_to(folder)}")


def _nothing(folder: Path, split: str, names: Sequence[str]) -> str:
    """Why a folder cannot be scored at all."""
    if not folder.is_dir():
        return f"{folder}: expected a folder of predictions"
    known = [folder_of(name) for name in names]
    found = sorted(path.name for path in folder.iterdir() if path.name not in known and path.name[0] != ".")
    hints = "".join(near(name, known) for name in found[:_MAX_SHOWN])
    example = file_of("xnli", split, "de")
    return f"{folder}: expected files such as {example} in the folders {', '.join(known)}, got none{hints}"


def _task(folder: Path, data_dir: Path | None, protocol: Protocol, split: str) -> Document:
    cells: dict[str, Document] = {}
    no_predictions: list[str] = []
    no_labels: dict[str, str] = {}
    refused: dict[str, str] = {}
    task = tasks.find(protocol.task)
    kind = task.kind.name
    own = released_as(task.name, split)
    mentions = functools.cache(_mentions)

    def labels_of(code: str) -> Any:
        if kind == "mine":
            return _pairs(data_dir, split, code)
        if kind != "search":
            return _labelled(task, own, code, data_dir)
        one_of("language of Mewsli-X's mentions", code, mentions(data_dir, split))
        return mentions(data_dir, split)[code]

    for code in protocol.languages:
        path = folder / file_of(task.name, split, code)
        if not path.is_file():
            no_predictions.append(code)
            continue
        try:
            labels = labels_of(code)
        except ValueError as error:
            no_labels[code] = str(error)
            continue
        try:
            if kind in ("mine", "search"):
                cells[code] = (_mined if kind == "mine" else _ranked)(path, code, labels)
            else:
                cells[code] = _cell(path, protocol, own, code, labels, data_dir)
        except ValueError as error:
            refused[code] = str(error)
    means = {
        measure: tasks.average({code: cell[measure] for code, cell in cells.items()}, protocol.languages)
        for measure in ("value", *_MEASURES[kind])
    }
    return {
        "metric": protocol.metric,
        "version": metrics.find(kind, protocol.metric).version,
        "measures": list(_MEASURES[kind]),
        "counted": list(protocol.numbers),
        "languages": cells,
        "no_predictions": no_predictions,
        "no_labels": no_labels,
        "refused": refused,
        "mean": None if means["value"] is None else means,
    }


# -- one task in one language -----------------------------------------------------------------------------------------


def _labelled(task: Task, split: str, language: str, data_dir: Path | None) -> list[Any]:
    """Rows with their labels; ``ValueError`` where there are none, also for copies with one label throughout."""
    rows: list[Any] = tasks.examples(task, split, language, data_dir)
    if isinstance(task.kind, Classify | Choose) and len({row.label for row in rows}) == 1:
        raise ValueError(
            f"{task.name}/{split} in {language!r}: every label is {rows[0].label!r}, as in XTREME's copy of the test "
            "set: expected the release with its labels"
        )
    return rows


def _cell(
    path: Path, protocol: Protocol, split: str, language: str, rows: Sequence[Any], data_dir: Path | None
) -> Document:
    task = tasks.find(protocol.task)
    try:
        predictions = read_predictions(path, task, rows)
    except Misfit as error:
        raise ValueError(f"{error}{_fits_elsewhere(path, task, split, language, error.num_rows, data_dir)}") from error
    numbers = _numbers(protocol, predictions, rows, language)
    for other in _others(task, split, language) if isinstance(task.kind, Classify | Choose) else ():
        if task.count(other, language) not in (None, len(rows)):
            continue
        others = (
            tasks.examples(task, other, language, data_dir) if tasks.available(task, other, language, data_dir) else []
        )
        if len(others) != len(rows):
            continue
        there = _numbers(protocol, predictions, others, language)
        if there["value"] > numbers["value"] + _SPLIT_MARGIN:
            raise ValueError(
                f"{path}: expected predictions for {task.name}/{split} ({numbers['value']:.1%} are right), got what "
                f"looks like those for {task.name}/{other} ({there['value']:.1%} are right)"
            )
    return numbers


def _others(task: Task, split: str, language: str) -> Iterator[str]:
    return (other for other in task.splits if other != split and language in task.languages_of(other))


def _fits_elsewhere(path: Path, task: Task, split: str, language: str, num_rows: int, data_dir: Path | None) -> str:
    """A hint where a file that does not fit its split fits another one."""
    for other in _others(task, split, language):
        if tasks.available(task, other, language, data_dir):
            with contextlib.suppress(ValueError):
                read_predictions(path, task, tasks.examples(task, other, language, data_dir))
                return f"; it fits {task.name}/{other}"
        elif num_rows == task.count(other, language):
            return f"; {num_rows:,} is the number of rows of {task.name}/{other}"
    return ""


def _numbers(protocol: Protocol, predictions: Any, rows: Sequence[Any], language: str) -> Document:
    """The measures of a task's kind, and ``value``, the one that the protocol counts."""
    kind = tasks.find(protocol.task).kind
    golds = golds_of(kind, rows)
    function = metrics.find(kind.name, protocol.metric).function
    found: Document
    if kind.name == "tag":
        found = {f"f1_{compat}": function(predictions, golds, compat=compat).value for compat in metrics.spans.COMPATS}
        found |= {"token_accuracy": metrics.spans.accuracy(predictions, golds).value}
    elif kind.name == "span":
        answers = function(predictions, golds, language)
        found = {"f1": answers.f1, "exact_match": answers.exact_match}
    elif kind.name == "embed":
        value = function([[index] for index in predictions], [[1.0]] * len(golds), golds).value
        found = {"value": value, "accuracy": value}
    else:
        value = function(predictions, golds)
        found = {"value": value, "accuracy": value}
    return {**found, "value": protocol.value(found), "num_examples": len(rows)}


def _pairs(data_dir: Path | None, split: str, language: str) -> set[tuple[str, str]]:
    """BUCC's gold pairs."""
    name = f"{language}-en.{_BUCC_GOLD[split]}.gold"
    folder = Path(data_dir or "") / folder_of("bucc")
    looked_for = [folder / part / name for part in (f"{language}-en", "")] if data_dir else []
    path = next((path for path in looked_for if path.is_file()), None)
    if path is None:
        raise ValueError(f"no gold pairs of BUCC 2018: looked for {' and '.join(map(str, looked_for)) or name}")
    return read_pairs(path, language)


def _mined(path: Path, language: str, golds: set[tuple[str, str]]) -> Document:
    """Set F1 of mined pairs, ``bucc_f1`` of XTREME's ``evaluate.py``."""
    mined = read_pairs(path, language)
    correct = len(mined & golds)
    found = PairF1(*metrics.classification.f1_of(correct, len(mined), len(golds)), len(golds), len(mined), correct)
    return {"value": found.value, **found._asdict()}


def _mentions(data_dir: Path | None, split: str) -> dict[str, dict[str, str]]:
    """By language and id of each of Mewsli-X's mentions its entity."""
    source = next(source for source in tasks.find("mewsli-x").sources if isinstance(source, Files))
    name = source.paths(split, "mul")[1]
    looked_for = [Path(data_dir) / (name + ending) for ending in ("", ".gz")] if data_dir else []
    path = next((path for path in looked_for if path.is_file()), None)
    if path is None:
        raise ValueError(f"no mentions of Mewsli-X: looked for {' and '.join(map(str, looked_for)) or name}")
    found: dict[str, dict[str, str]] = {}
    for row in mewsli_mentions(path):
        if not row["golds"][0]:
            raise ValueError(f"{row.where}: no entity, as in XTREME's copy of the test set: expected the release")
        found.setdefault(row["language"], {})[row["id"]] = row["golds"][0]
    return found


def _ranked(path: Path, language: str, golds: dict[str, str]) -> Document:
    """Mean reciprocal rank of rankings of entities, ``evaluate`` of XTREME's ``third_party/utils_mewslix.py``."""
    rankings = read_rankings(path, set(golds))
    places = [rankings[id].index(gold) if gold in rankings[id] else NUM_RANKED for id, gold in golds.items()]
    each = list(range(NUM_RANKED))
    found = metrics.retrieval.mean_reciprocal_rank(
        [each] * len(places), [each[::-1]] * len(places), places, [language] * len(places), k=NUM_RANKED
    )
    return {"value": found.value, "mrr": found.value, "num_examples": found.num_examples}


# -- for a person -----------------------------------------------------------------------------------------------------


def render(document: Document) -> list[str]:
    """The lines of `score` for a person: percent with two decimals, and whatever is missing by its name."""
    lines = [f"{document['benchmark']}, {document['split']}, in percent"]
    for name, found in document["tasks"].items():
        lines += ["", *_rendered(name, found, document["split"])]
    lines.append("")
    averages = {**document["groups"], document["benchmark"]: document["mean"]}
    members = tasks.profile(tasks.PROFILE_OF[document["benchmark"]]).groups
    for name, value in averages.items():
        of = members.get(name) or list(document["tasks"])
        lacking = [task for task in of if not document["tasks"][task]["mean"]]
        lines.append(f"{name:15} {_percent(value):>6}" + (f"  without {', '.join(lacking)}" if lacking else ""))
    if unread := document["unread"]:
        more = f" and {len(unread) - _MAX_SHOWN} more" if len(unread) > _MAX_SHOWN else ""
        lines += ["", f"not read: {', '.join(unread[:_MAX_SHOWN])}{more}"]
    return lines


def _rendered(name: str, found: Document, split: str) -> Iterable[str]:
    if "not_scored" in found:
        return [f"{name}: not scored: {found['not_scored']}"]
    if not found["languages"] and not found["no_labels"] and not found["refused"]:
        return [f"{name}: no predictions ({file_of(name, split, found['no_predictions'][0])} and so on)"]
    measures = found["measures"]
    width = 2 + max(map(len, measures))
    counted = "" if found["counted"] == ["value"] else f", {' and '.join(found['counted'])} counted"
    lines = [f"{name}: {found['metric']} v{found['version']}{counted}"]
    lines.append(" " * 6 + "".join(measure.rjust(width) for measure in measures))
    for code, row in {**found["languages"], "mean": found["mean"] or dict.fromkeys(measures)}.items():
        lines.append(f"  {code:4}" + "".join(_percent(row[measure]).rjust(width) for measure in measures))
    if found["no_predictions"]:
        lines.append(f"  no predictions: {', '.join(found['no_predictions'])}")
    if found["no_labels"]:
        lines.append(f"  no labels: {', '.join(found['no_labels'])}: {next(iter(found['no_labels'].values()))}")
    return lines + [f"  refused: {code}: {why}" for code, why in found["refused"].items()]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
