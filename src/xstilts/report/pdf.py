"""Figures as PDF for papers: drawings set by Typst, where its package is installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from xstilts.spec import write_atomically

from .plots import style

NUM_COLOURS = 4  # of figure.css: c0 to c3
_PAGE = """\
#set page(width: auto, height: auto, margin: 0pt)
#set document(title: sys.inputs.text, date: none)
#image(bytes(sys.inputs.svg), format: "svg", alt: sys.inputs.text)
"""


def write(drawings: Mapping[str, tuple[str, str]], folder: Path) -> list[Path]:
    """Write drawings, each an SVG and its text alternative by the name ``<name>.svg``, as ``<name>.pdf``.

    Nothing is written where the extra ``pdf`` is not installed. The fonts are Typst's own and lie in the file, which
    has no date, so that the same drawing gives the same bytes on every machine.
    """
    paths = []
    if importlib.util.find_spec("typst") is not None:
        for name, (svg, text) in drawings.items():
            paths.append(folder / f"{name.removesuffix('.svg')}.pdf")
            write_atomically(paths[-1], document(svg, text))
    return paths


def document(svg: str, text: str) -> bytes:
    """One drawing as a page of its own size, in the colours of paper."""
    import typst

    head, _, rest = svg.partition(">")
    inputs = {"svg": f"{head}><style>{plain(style())}</style>{rest}", "text": text}
    found = typst.compile(_PAGE.encode(), sys_inputs=inputs, ignore_system_fonts=True, format="pdf")
    assert isinstance(found, bytes)
    return found


def plain(css: str) -> str:
    """A figure's style sheet without variables, which are of browsers alone, and without what depends on a screen."""
    start, _, _ = css.partition("@media")
    values = dict(re.findall(r"(--\w+): *([^;]+);", start))
    top = re.sub(r"@media[^{]*\{\s*[^{}]*\{[^{}]*\}\s*\}|:root *\{[^{}]*\}", "", css)
    rules = []
    for names, body in re.findall(r"([^{}]+)\{([^{}]*)\}", top):
        if "var(--c)" in body:  # the colour of whatever class c0 to c3 the element has
            for number in range(NUM_COLOURS):
                selector = ", ".join(f"{name.strip()}.c{number}" for name in names.split(","))
                rules.append(f"{selector} {{{body.replace('var(--c)', f'var(--c{number})')}}}")
        elif "--c:" not in body:
            rules.append(f"{names.strip()} {{{body}}}")
    return re.sub(r"var\((--\w+)\)", lambda name: values[name[1]], "\n".join(rules))
