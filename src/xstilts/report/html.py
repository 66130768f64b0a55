"""Blocks as one page that needs nothing else: no other file, no network, and no script but the report's own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources

from .blocks import (
    Block,
    Cell,
    Code,
    Explorer,
    Facts,
    Figure,
    Fold,
    Heading,
    Items,
    Node,
    Number,
    Spark,
    Table,
    Text,
    states_of,
)
from .plots import spark, style

INLINE = re.compile(r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)(?!`)|\*\*(?P<strong>.+?)\*\*|\*(?P<em>[^*]+?)\*")
_NOTICE = ' class="notice"'
_UNSEEN = ' class="unseen"'
_SHADES = 8
_SHORT = 24  # characters that stay on one line
# Nothing is fetched, and of scripts only the one with this digest runs, whatever a name holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src '{}'"


def page(blocks: Sequence[Block], *, refresh: int | None = None) -> str:
    """Blocks as a page; the first one is its heading.

    Args:
        blocks: what is on it.
        refresh: seconds after which a browser asks for it again, as a page that is served live does.
    """
    head = blocks[0]
    assert isinstance(head, Heading)
    titles = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    links = "".join(f'<li><a href="#s{number}">{inline(h.text)}</a></li>' for number, h in enumerate(titles, 1))
    css, script = style() + _part("page.css"), _part("page.js")
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    body = "\n".join(_body(blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(re.sub('[*`]', '', head.text))}</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
        f'<header><h1>{inline(head.text)}</h1></header>\n<nav aria-label="Contents"><ul>{links}</ul></nav>\n'
        f"<main>\n{body}\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def policy() -> str:
    """The content security policy of a page."""
    return _POLICY.format("sha256-" + base64.b64encode(hashlib.sha256(_part("page.js").encode()).digest()).decode())


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text()


def inline(text: str) -> str:
    """Text with code, bold and italic marks as HTML; everything else in it is text."""
    return INLINE.sub(_marked, escape(text))


def _marked(match: re.Match[str]) -> str:
    if match["code"] is not None:
        return f"<code>{match['code'].strip()}</code>"
    name = "strong" if match["strong"] is not None else "em"
    return f"<{name}>{match[name]}</{name}>"


def _body(blocks: Iterable[Block]) -> Iterator[str]:
    number = 0
    for block in list(blocks)[1:]:
        if isinstance(block, Heading) and block.level == 2:
            yield f"{'</section>' * bool(number)}"
            number += 1
            yield f'<section aria-labelledby="s{number}">\n<h2 id="s{number}">{inline(block.text)}</h2>'
        else:
            yield _html(block)
    yield "</section>" * bool(number)


def _html(block: Block) -> str:
    match block:
        case Heading(level=level, text=text):
            return f"<h{level}>{inline(text)}</h{level}>"
        case Text(text=text, notice=notice):
            return f"<p{_NOTICE * notice}>{inline(text)}</p>"
        case Items(lines=lines):
            return f"<ul>{''.join(f'<li>{inline(line)}</li>' for line in lines)}</ul>"
        case Facts(facts=facts):
            pairs = (f"<div><dt>{inline(name)}</dt><dd>{inline(fact)}</dd></div>" for name, fact in facts.items())
            return f"<dl>{''.join(pairs)}</dl>"
        case Table():
            return _table(block)
        case Figure(svg=svg, source=source):
            caption = f"<figcaption>{inline(source)}</figcaption>" if source else ""
            return f'<figure><div class="scroll">{svg}</div>{caption}</figure>'
        case Explorer(cells=cells, source=source):
            data = cells.replace("<", "\\u003c")  # no name in it ends the element
            return (
                f'<figure class="explorer" hidden><figcaption>{inline(source)}</figcaption></figure>'
                f'<script type="application/json" id="cells">{data}</script>'
            )
        case Code(text=text):
            return f'<pre class="scroll">{escape(text)}</pre>'
        case Node():
            return f'<div class="scroll"><ul class="tree">{_node(block)}</ul></div>'
        case Fold(title=title, blocks=inside):
            body = "".join(_table(part, title) if isinstance(part, Table) else _html(part) for part in inside)
            return f"<details><summary>{inline(title)}</summary>{body}</details>"


def _table(table: Table, title: str = "") -> str:
    """A table; a caption that repeats the title above it is for those who do not see that."""
    cells = [cell for line in table.lines if isinstance(line, tuple) for cell in line if isinstance(cell, Number)]
    bounds: dict[str, tuple[float, float]] = {}
    for scale in ("heat", "change", "bar"):
        values = [cell.value for cell in cells if cell.scale == scale and cell.value is not None]
        bounds[scale] = (min(values, default=0.0), max(values, default=0.0))
    left = table.num_left
    head = "".join(
        f'<th scope="col"{_left(at < left, name)}>{_broken(name)}</th>' for at, name in enumerate(table.header)
    )
    body, is_open = [], False
    for line in table.lines:
        if isinstance(line, str):
            body.append("</tbody>" * is_open + "<tbody>")
            body.append(f'<tr><th scope="rowgroup" colspan="{len(table.header)}">{inline(line)}</th></tr>')
        else:
            body.append("<tbody>" * (not is_open) + _row(line, left, bounds))
        is_open = True
    lines = "\n".join((f"<thead><tr>{head}</tr></thead>", *body)) + "</tbody>" * is_open
    caption = f"<caption{_UNSEEN * (table.caption == title)}>{inline(table.caption)}</caption>"
    return f'<div class="scroll"><table>{caption}{lines}</table></div>'


def _row(line: Sequence[Cell], num_left: int, bounds: dict[str, tuple[float, float]]) -> str:
    first, *rest = line
    assert isinstance(first, str)
    cells = "".join(_cell(cell, at < num_left, bounds) for at, cell in enumerate(rest, 1))
    return f'<tr><th scope="row"{_left(True, first)}>{_broken(first)}</th>{cells}</tr>'


def _cell(cell: Cell, is_text: bool, bounds: dict[str, tuple[float, float]]) -> str:
    if isinstance(cell, Spark):
        return f"<td>{spark(cell.values)}</td>"
    if isinstance(cell, str):
        return f"<td{_left(is_text, cell)}>{inline(cell)}</td>"
    low, high = bounds[cell.scale]
    mean, sign, half = escape(cell.text).partition(" ±")
    text = f"{mean}<small>{sign}{half}</small>" if sign else mean
    if cell.value is None or (low == high and cell.scale != "bar"):
        return f"<td>{text}</td>"
    if cell.scale == "bar":
        return f'<td class="bar" style="--w:{cell.value / (high or 1):.1%}">{text}</td>'
    if cell.scale == "heat":
        shade = f"h{round((cell.value - low) / (high - low) * _SHADES)}"
    else:
        strength = round(abs(cell.value) / max(high, -low) * _SHADES)
        shade = f"{'g' if cell.value > 0 else 'l'}{strength}"
    return f'<td class="{shade}">{text}</td>'


def _left(is_text: bool, text: str) -> str:
    return ' class="t"' if is_text and len(text) > _SHORT else ' class="t n"' if is_text else ""


def _broken(text: str) -> str:
    """Inline text in which a long name may break after a plus, and "k = 1" may not."""
    return inline(text).replace("+", "+<wbr>").replace(" = ", "&nbsp;=&nbsp;")


def _node(node: Node) -> str:
    worst = next((state for state in ("failed", "missing", "elsewhere", "done") if node.states.get(state)), "")
    facts = "".join(f"<span>{inline(fact)}</span>" for fact in (states_of(node), *node.facts) if fact)
    members = "".join(f"<li>{inline(member)}</li>" for member in node.members)
    inside = f"<details><summary>details</summary><ul>{members}</ul></details>" if members else ""
    children = f"<ul>{''.join(map(_node, node.children))}</ul>" if node.children else ""
    return f'<li><div class="node {worst}"><b>{inline(node.title)}</b>{facts}{inside}</div>{children}</li>'
