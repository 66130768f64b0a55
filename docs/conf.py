"""The documentation site: the pages of this folder, and a reference made of docstrings and help texts.

`make docs` builds it without the network; every warning, such as one of a link to nothing, is an error.
"""

from __future__ import annotations

import re
from collections import _tuplegetter

import typer.main
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

import xstilts
from xstilts.cli import app as commands

project = "xstilts"
author = copyright = "The xstilts authors"
version = release = xstilts.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # types in signatures; names in texts are py:obj
default_role = "py:obj"

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True

html_theme = "furo"
html_title = "xstilts"
html_copy_source = False


def ordered(text: str) -> str:
    """The order of the site, from that of the front page's lists: a toctree for each of its headings."""
    trees = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        pages = re.findall(r"^\* \[[^]]*\]\(([^)#]+)\.md\)", part, re.MULTILINE)
        if pages:
            caption = part.partition("\n")[0]
            trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]))
    return "\n".join(trees)


def help_texts() -> str:
    """What `--help` prints of every command, as Markdown."""
    command = typer.main.get_command(commands)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="xstilts")
    return text[text.index("## ") :]


def _made(app: Sphinx, name: str, source: list[str]) -> None:
    """Add to a page what is made when the site is built."""
    if name == "index":
        source[0] += "\n" + ordered(source[0])
    if name == "reference/commands":
        source[0] += help_texts()


def _skipped(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leave out the fields of named tuples, which their class describes."""
    return True if isinstance(member, _tuplegetter) else None


def setup(app: Sphinx) -> None:
    """Tell Sphinx of both."""
    app.connect("source-read", _made)
    app.connect("autodoc-skip-member", _skipped)
