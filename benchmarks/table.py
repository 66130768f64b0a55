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
from typing import Any

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
    parts = [HEAD]
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


def missing(results: dict[Path, dict[str, Any]]) -> list[str]:
    """Sentences on what has no figure."""
    names = {path.stem for path in results}
    scripts = [path for path in sorted(HERE.glob("*.py")) if '"--device"' in path.read_text() and path.stem != "table"]
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
