"""A report's tables as LaTeX, in the rules of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from xstilts.spec import write_atomically

from .blocks import Block, Cell, Fold, Heading, Number, Spark, Table
from .html import INLINE

FOLDER = "tables"
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--", "…": r"\dots{}", "±": r"$\pm$", "×": r"$\times$", "Δ": r"$\Delta$", "→": r"$\to$",
    "†": r"\dag{}", "‡": r"\ddag{}", "−": "$-$", "≤": r"$\le$", "≥": r"$\ge$", "✓": r"$\checkmark$",
}  # fmt: skip
_SIGN = re.compile("[" + re.escape("".join(_SIGNS)) + "]")
_MINUS = re.compile(r"(?<![\w$-])-(?=\d)")
_MAX_NAME = 60


def write(blocks: Iterable[Block], folder: Path) -> Path:
    """Write every table of a report as ``tables/<section>-<caption>.tex`` into its folder; older ones go.

    A file is a ``tabular`` that needs ``booktabs`` (and ``amssymb`` for a check mark), with its headings and caption as
    comments above it. Of two tables of one name the second is ``...-2.tex``. A column of small curves is left out.

    Returns:
        The folder of the tables.
    """
    target = folder / FOLDER
    for stale in target.glob("*.tex"):
        stale.unlink()
    for name, headings, table in named(blocks):
        comments = "".join(f"% {' '.join(heading.split())}\n" for heading in headings)
        write_atomically(target / f"{name}.tex", comments + tabular(table))
    return target


def named(blocks: Iterable[Block]) -> Iterator[tuple[str, list[str], Table]]:
    """Every table by its name, which no other one has, with the headings of level 2 and 3 that it stands below."""
    headings: list[Heading] = []
    counts: dict[str, int] = {}
    for block in _flat(blocks):
        if isinstance(block, Heading):
            headings = [*(above for above in headings if above.level < block.level), block]
        elif isinstance(block, Table):
            titles = [heading.text for heading in headings if heading.level > 1]
            words = (*titles[:1], re.split("[:;,(]", block.caption)[0])
            name = "-".join(filter(None, map(_slug, words)))
            counts[name] = counts.get(name, 0) + 1
            yield name if counts[name] == 1 else f"{name}-{counts[name]}", titles, block


def tabular(table: Table) -> str:
    """A table as a ``tabular``; a line of text alone is set over all columns, above what it is the title of."""
    curves = {
        at for line in table.lines if isinstance(line, tuple) for at, c in enumerate(line) if isinstance(c, Spark)
    }
    kept = [at for at in range(len(table.header)) if at not in curves]
    columns = "".join("l" if at < table.num_left else "r" for at in kept)
    lines = [
        f"% {' '.join(table.caption.split())}",
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns}}}",
    ]
    lines += [r"\toprule", _row([table.header[at] for at in kept]), r"\midrule"]
    for number, line in enumerate(table.lines):
        if isinstance(line, str):
            lines += [r"\addlinespace"] * bool(number)
            lines.append(f"\\multicolumn{{{len(kept)}}}{{l}}{{\\emph{{{inline(line)}}}}} \\\\")
        else:
            lines.append(_row([line[at] for at in kept]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def inline(text: str) -> str:
    """Text with code, bold and italic marks as LaTeX; everything else in it is text."""
    parts, at = [], 0
    for match in INLINE.finditer(text):
        parts.append(_escaped(text[at : match.start()]))
        kind = next(name for name in ("code", "strong", "em") if match[name] is not None)
        command = {"code": "texttt", "strong": "textbf", "em": "emph"}[kind]
        parts.append(f"\\{command}{{{_escaped(match[kind].strip())}}}")
        at = match.end()
    return "".join([*parts, _escaped(text[at:])])


def _escaped(text: str) -> str:
    return _SIGN.sub(lambda match: _SIGNS[match[0]], re.sub(r"\s+", " ", text))


def _row(cells: Iterable[Cell]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: Cell) -> str:
    assert not isinstance(cell, Spark)  # its column is left out
    if isinstance(cell, Number):
        return _MINUS.sub("$-$", inline(cell.text))
    return _MINUS.sub("$-$", inline(cell)) if re.match(r"-\d", cell) else inline(cell)


def _flat(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        yield from _flat(block.blocks) if isinstance(block, Fold) else (block,)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_MAX_NAME].strip("-")
