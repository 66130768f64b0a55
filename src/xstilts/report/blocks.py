"""What a report is made of, headings, tables, figures and a tree, and its rendering as Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_STEPS = "▁▂▃▄▅▆▇█"
STATES = {"done": "✓", "failed": "✗", "missing": "○", "elsewhere": "◌"}
"""The states of a stage and their marks; *elsewhere* is one whose measurements are here without it."""


class Number(NamedTuple):
    """A cell with the number behind its text, which a page colours.

    ``scale``: ``heat`` from the lowest to the highest of the table, ``change`` about 0, ``bar`` a length.
    """

    text: str
    value: float | None
    scale: str = "heat"


class Spark(NamedTuple):
    """A cell with a small curve of values that are not negative, drawn from 0."""

    values: tuple[float, ...]


Cell: TypeAlias = str | Number | Spark


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the report's own."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; ``notice`` sets it apart."""

    text: str
    notice: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names and what is true of them."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table whose first ``num_left`` columns are text and the others numbers.

    A line that is text alone is the title of the lines below it.
    """

    caption: str
    header: tuple[str, ...]
    lines: tuple[str | tuple[Cell, ...], ...]
    num_left: int = 1


@dataclass(frozen=True)
class Figure:
    """A drawing, beside the report as the file ``name``; ``source`` says which rows it draws and what makes it."""

    name: str
    svg: str
    text: str
    source: str = ""


@dataclass(frozen=True)
class Explorer:
    """Scores for a page's own controls, as JSON (`explorer.cells`); text and paper have the tables instead."""

    cells: str
    source: str


@dataclass(frozen=True)
class Code:
    """Something to type."""

    text: str


@dataclass(frozen=True)
class Node:
    """A group of stages that read the same, and the groups that read it.

    Attributes:
        title: what they are.
        facts: more about them.
        states: how many of them are in each state.
        members: some of them, one line each.
        children: the groups that read them.
    """

    title: str
    facts: tuple[str, ...]
    states: Mapping[str, int]
    members: tuple[str, ...]
    children: tuple[Node, ...]


@dataclass(frozen=True)
class Fold:
    """Blocks that a page shows when asked, under a title."""

    title: str
    blocks: tuple[Block, ...]


Block: TypeAlias = Heading | Text | Items | Facts | Table | Figure | Explorer | Code | Node | Fold


def code(text: str) -> str:
    """A name or value as inline code, whatever is in it; nothing for nothing."""
    fence = "`" * (1 + max((len(list(run)) for tick, run in itertools.groupby(text) if tick == "`"), default=0))
    pad = " " * (len(fence) > 1)
    return f"{fence}{pad}{text}{pad}{fence}" if text.strip() else ""


def states_of(node: Node) -> str:
    """The states of a group's stages in words, the number left out where it is one."""
    total = sum(node.states.values())
    return ", ".join(f"{STATES[s]} {s if total == 1 else f'{n} {s}'}" for s, n in node.states.items() if n)


def markdown(blocks: Iterable[Block]) -> str:
    """Blocks as Markdown."""
    return "\n".join(filter(None, map(_markdown, blocks)))


def _markdown(block: Block) -> str:
    match block:
        case Heading(level=level, text=text):
            return f"{'#' * level} {text}\n"
        case Text(text=text, notice=notice):
            return f"{'> ' * notice}{text}\n"
        case Items(lines=lines):
            return "".join(f"* {line}\n" for line in lines)
        case Facts(facts=facts):
            return "".join(f"* {name}: {fact}\n" for name, fact in facts.items())
        case Table():
            return f"{block.caption}:\n\n{_table(block)}"
        case Figure(name=name, text=text, source=source):
            return f"![{text}]({name})\n" + f"\n{source}\n" * bool(source)
        case Explorer():
            return ""
        case Code(text=text):
            return f"```\n{text}\n```\n"
        case Fold(blocks=inside):
            return markdown(inside)
        case Node():
            return "".join(f"{line}\n" for line in _tree(block))


def _table(table: Table) -> str:
    width = len(table.header)
    rule = [":--"] * table.num_left + ["--:"] * (width - table.num_left)
    lines = [line if isinstance(line, tuple) else (f"**{line}**", *[""] * (width - 1)) for line in table.lines]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in (table.header, rule, *lines))


def _cell(cell: Cell) -> str:
    text = _bars(cell.values) if isinstance(cell, Spark) else cell.text if isinstance(cell, Number) else cell
    return " ".join(text.replace("|", "\\|").split("\n"))


def _bars(values: Sequence[float]) -> str:
    high = max(values, default=0) or 1
    return "".join(_STEPS[round(value / high * (len(_STEPS) - 1))] for value in values)


def _tree(node: Node, indent: str = "") -> Iterator[str]:
    yield f"{indent}* {'; '.join((f'**{node.title}**', *filter(None, (states_of(node),)), *node.facts))}"
    for member in node.members:
        yield f"{indent}  * {member}"
    for child in node.children:
        yield from _tree(child, indent + "  ")
