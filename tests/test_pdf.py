"""Figures as PDF: the drawing of the report, in its colours, with its fonts; and what is said where they are absent."""

from __future__ import annotations

import importlib.util
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from test_html import EVIL
from test_report import fill, leaves
from xstilts import report
from xstilts.report import pdf, plots
from xstilts.run_command import said_of

NEEDED = pytest.mark.skipif(importlib.util.find_spec("typst") is None, reason="needs the extra pdf")
SVG = """<svg xmlns="http://www.w3.org/2000/svg" class="curve" width="200" height="100" viewBox="0 0 200 100">
<rect class="paper" width="200" height="100"/><path class="line c1 main" d="M0 0L200 100"/>
<text class="title" x="8" y="20">English asks (en \u2192 xx) \u2020</text></svg>
"""


def streams(document: bytes) -> list[bytes]:
    """What a PDF holds, unpacked."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL)
    return [zlib.decompress(one) if one[:1] == b"\x78" else one for one in found]


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def test_a_style_sheet_for_paper_has_no_variable_and_every_colour() -> None:
    css = pdf.plain(plots.style())
    assert "var(" not in css
    assert "@media" not in css
    for number, colour in enumerate(("#0072b2", "#d55e00", "#009e73", "#b5508c")):
        assert f".line.c{number} {{ stroke: {colour};" in css
        assert f".dot.c{number} {{ fill: {colour};" in css
    assert "svg.curve text { font: 11.5px" in css
    assert len(set(re.findall(r"\.c(\d)", plots.style()))) == pdf.NUM_COLOURS


@NEEDED
def test_a_drawing_is_one_page_of_its_size_with_its_colours_and_fonts() -> None:
    document = pdf.document(SVG, "a text")
    assert document == pdf.document(SVG, "a text")
    assert document.startswith(b"%PDF-")
    assert b"CreationDate" not in document
    box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", document)
    assert box is not None
    assert [float(side) for side in box.groups()] == pytest.approx([150, 75], abs=0.1)  # points of 1/72 inch
    text = b"\n".join(streams(document))
    used = [tuple(map(float, found)) for found in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) (?:scn|SCN|rg|RG)\b", text)]
    assert any(one == pytest.approx(rgb("#d55e00"), abs=0.002) for one in used), used
    assert b"/FontFile" in document
    assert b"<2192>" in text  # the arrow can be copied


@NEEDED
def test_no_name_is_anything_but_text(tmp_path: Path) -> None:
    name = '"); #read("/etc/passwd") #image("x'
    (path,) = pdf.write({"a.b.svg": (SVG, name + EVIL)}, tmp_path)
    assert path == tmp_path / "a.b.pdf"
    assert path.read_bytes().startswith(b"%PDF-")


@NEEDED
def test_a_report_has_every_figure_and_no_older_one(tmp_path: Path) -> None:
    (tmp_path / "old-by-k.pdf").write_bytes(b"")
    paths = report.write(fill(tmp_path / "store", leaves()), "scaling", tmp_path)
    figures = {path.stem for path in paths if path.suffix == ".svg"}
    assert figures
    assert {path.stem for path in tmp_path.glob("*.pdf")} == figures == {p.stem for p in paths if p.suffix == ".pdf"}
    assert said_of([str(path) for path in paths]) == [str(path) for path in paths]


def test_without_the_package_no_figure_is_written_and_the_command_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *package: Any) -> Any:
        return None if name == "typst" else found(name, *package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert pdf.write({"a.svg": (SVG, "")}, tmp_path) == []
    assert said_of(["a.svg", "report.md"])[2:] == ["figures as PDF need one more package: pip install 'xstilts[pdf]'"]
    assert said_of(["comparison.md"]) == ["comparison.md"]
