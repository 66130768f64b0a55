"""docs/benchmarks.md from benchmarks/results/*.json.

    python benchmarks/table.py

A result file ``<name>-<device>.json`` is one run of ``benchmarks/<name>.py``:

    name, what, command    of the script; what was measured, in words; how it is run again
    device, num_cpus       name of the GPU or processor, number of cores
    load_at_start          the machine's load average over a minute before the run (optional)
    versions, date         of packages, ISO date
    rows                   a list, each with
        case               what was timed
        unit               of the values, seconds when it is left out
        ours               value of every repetition
        rivals             name -> value of every repetition
        ratio              name -> how many times faster ours is, above 1 where it is faster
        same               name -> how far the results agree, or any other value (optional)
    notes                  sentences that belong to the figures (optional)
    open                   what could not be measured (optional)

Files without rows have a layout of their own and are named at the end. A script that takes ``--device`` and has no
result of a GPU is listed as not measured there.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """What a row of a result is held to.

    Attributes:
        what: in words.
        result: the result's file, without its suffix.
        case: how the row's case begins.
        unit: of the row.
        rivals: against the fastest of these the ratio is to be at least ``least``; the row's own value when empty.
        least: or at most, where ``below`` is set.
        plain: how another row's case begins, which has the rivals: at their default precision.
    """

    what: str
    result: str
    case: str
    unit: str
    rivals: tuple[str, ...]
    least: float
    below: bool = False
    plain: str = ""


_TRAINER = ("max", "longest", "grouped", "max+compile", "longest+compile", "grouped+compile")
_TOKENS = "non-padding tokens/s"
_WASTE = "wasted share of tokens"
GOALS = (
    Goal("base NLI, against the best Trainer", "training-cuda", "base-nli, ", _TOKENS, _TRAINER, 6),
    Goal("base NLI, against padding to the longest", "training-cuda", "base-nli, ", _TOKENS, ("longest",), 8),
    Goal("base QA, against the best Trainer", "training-cuda", "base-qa, ", _TOKENS, _TRAINER, 4),
    Goal("large NLI, against the best Trainer", "training-cuda", "large-nli, ", _TOKENS, _TRAINER, 6),
    Goal("large QA, against the best Trainer", "training-cuda", "large-qa, ", _TOKENS, _TRAINER, 4),
    Goal("large, 16k tokens a step", "training-cuda", "large-tokens", "share of the bfloat16 peak", (), 0.45),
    Goal("a stage of 300 steps, warm", "training-cuda", "base-nli-stage", "seconds a stage, warm worker", _TRAINER, 3),
    Goal(
        "CPU training, bfloat16 against the Trainer's default", "training-cpu", "e5-small-nli, bfloat16", _TOKENS,
        ("longest",), 4, plain="e5-small-nli, float32",
    ),
    Goal("Tatoeba, CPU, bfloat16 against their default", "retrieval-cpu", "tatoeba", "s", ("default",), 2),
    Goal("Tatoeba, GPU", "retrieval-cuda", "tatoeba", "s", ("default",), 3),
    Goal(
        "k-NN against faiss, which is given unit vectors", "knn-cpu", "20 nearest", "s", ("faiss IndexFlatIP",), 1 / 1.1
    ),
    Goal(
        "k-NN against faiss, both from an encoder's vectors", "knn-cpu", "20 nearest", "s",
        ("faiss, normalising and adding included",), 1 / 1.1,
    ),
    Goal("waste of 32 NLI examples a step", "packing-cpu", "NLI, 32 ", _WASTE, (), 0.06, below=True),
    Goal("waste of 16k NLI tokens a step", "packing-cpu", "NLI, 390 ", _WASTE, (), 0.03, below=True),
    Goal("search of Mewsli-X's size, memory", "memory-cpu", "mewsli-x", "GiB", (), 4, below=True),
    Goal("mining of BUCC's size, memory", "memory-cpu", "bucc", "GiB", (), 4, below=True),
    Goal("report of 100,000 rows", "report-cpu", "100,", "s", (), 20, below=True),
    Goal("report of 100,000 rows, memory", "report-cpu", "100,", "GiB", (), 1, below=True),
)  # fmt: skip

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Speed, measured

Written by `python benchmarks/table.py` from `benchmarks/results/*.json`; edit neither by hand. Every figure is a median
over repetitions in alternating order, on the same data, machine and run; a ratio says how many times faster xstilts is.
What each script times, and what it leaves out, is in its docstring.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    print(PAGE)


def page() -> str:
    """The whole page, from the results that are there."""
    results = {path: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    parts = [HEAD, goals(results)]
    parts += [section(result) for result in results.values() if "rows" in result]
    parts.append("## Not measured\n\n" + "\n".join(f"* {line}" for line in missing(results)) + "\n")
    others = [path.name for path, result in results.items() if "rows" not in result]
    parts.append("## Other results\n\n" + "\n".join(f"* [{n}](../benchmarks/results/{n})" for n in others) + "\n")
    return "\n".join(parts)


def section(result: dict[str, Any]) -> str:
    """One result as a heading, a table and what belongs to it."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    load = f", load {result['load_at_start']:.1f} at the start" if "load_at_start" in result else ""
    lines = [
        f"## {result['what']}: {result['device']}",
        "",
        f"`{result['command']}`, {result['date']}, {result['num_cpus']} cores{load}; {versions}.",
        "",
        "| case | program | median | least to most | ratio |",
        "|---|---|---:|---:|---:|",
    ]
    for row in result["rows"]:
        unit = row.get("unit", "s")
        lines.append(f"| {row['case']}, {unit} | xstilts | {_values(row['ours'])} | |")
        for name, values in row["rivals"].items():
            lines.append(f"| | {name} | {_values(values)} | {row['ratio'][name]:.2f} |")
    for row in result["rows"]:
        for name, value in row.get("same", {}).items():
            said = ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else f"{value:g}"
            lines.append(f"\nAgreement, {row['case']}, {name.replace('_', ' ')}: {said.replace('_', ' ')}.")
    lines += [f"\n{note}" for note in result.get("notes", ())]
    lines += [f"\nOpen: {line}." for line in result.get("open", ())]
    return "\n".join(lines) + "\n"


def _values(values: list[float]) -> str:
    """Median, least and most, with four digits or all before the point."""
    middle, *ends = (
        f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} | {' to '.join(ends)}"


def goals(results: dict[Path, dict[str, Any]]) -> str:
    """A table of what is to be reached and what was measured."""
    lines = ["## Goals", "", "| goal | | measured | |", "|---|---:|---:|---|"]
    for goal in GOALS:
        value = _reached(goal, {path.stem: result.get("rows", []) for path, result in results.items()})
        sign = "<" if goal.below else "at least"
        met = "" if value is None else "met" if (value < goal.least) == goal.below else "**missed**"
        said = "not measured" if value is None else f"{value:.3g}"
        lines.append(f"| {goal.what} | {sign} {goal.least:.3g} | {said} | {met} |")
    return "\n".join(lines) + "\n"


def _reached(goal: Goal, rows: dict[str, list[dict[str, Any]]]) -> float | None:
    """A goal's value: the least ratio to its rivals, or the row's own median."""

    def row(case: str) -> dict[str, Any] | None:
        found = (r for r in rows.get(goal.result, ()) if r["case"].startswith(case) and r.get("unit", "s") == goal.unit)
        return next(found, None)

    own = row(goal.case)
    if own is None:
        return None
    if not goal.rivals:
        return statistics.median(own["ours"])
    if goal.plain:
        other = row(goal.plain)
        values = [] if other is None else [other["rivals"][name] for name in goal.rivals if name in other["rivals"]]
        return min((statistics.median(own["ours"]) / statistics.median(v) for v in values), default=None)
    ratios = [ratio for name, ratio in own["ratio"].items() if any(name.startswith(rival) for rival in goal.rivals)]
    return min(ratios, default=None)


def missing(results: dict[Path, dict[str, Any]]) -> list[str]:
    """Sentences on what has no figure."""
    names = {path.stem for path in results}
    no_figures = {"table", "soak"}  # what a soak shows is in docs/reliability.md
    scripts = [
        path for path in sorted(HERE.glob("*.py")) if '"--device"' in path.read_text() and path.stem not in no_figures
    ]
    lines = [
        f"`benchmarks/{script.name}` on {'a GPU' if device == 'cuda' else 'a CPU'}."
        for script in scripts
        for device in ("cpu", "cuda")
        if f"{script.stem}-{device}" not in names
    ]
    if "retrieval-cuda" not in names:
        lines.append("Tokens in a batch on a GPU: 16,384 is a guess (`--tokens-per-batch` of retrieval.py).")
    return lines


if __name__ == "__main__":
    main()
