"""Tables as LaTeX: every sign of a text, the rules, and the files of a report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_report import fill, leaves
from xstilts import report
from xstilts.report import latex
from xstilts.report.blocks import Fold, Heading, Number, Spark, Table, Text

TABLE = Table(
    "Scores, by language: ± half",
    ("language", "loss", "Δ to k = 0"),
    (
        "Latin_script & others",
        ("**mean of 3**", Spark((1.0, 0.5)), Number("-1.2 ± 0.4", -0.012, "change")),
        ("Swahili (sw) †", "–", Number("+3.0", 0.03, "change")),
        ("a-1 `x_y`", "–", "-1.0 to +2.0"),
    ),
)


def test_a_table_is_a_tabular_with_the_rules_of_booktabs() -> None:
    assert latex.tabular(TABLE) == (
        "% Scores, by language: ± half\n"
        "% needs \\usepackage{booktabs}\n"
        "\\begin{tabular}{lr}\n"
        "\\toprule\n"
        "language & $\\Delta$ to k = 0 \\\\\n"
        "\\midrule\n"
        "\\multicolumn{2}{l}{\\emph{Latin\\_script \\& others}} \\\\\n"
        "\\textbf{mean of 3} & $-$1.2 $\\pm$ 0.4 \\\\\n"
        "Swahili (sw) \\dag{} & +3.0 \\\\\n"
        "a-1 \\texttt{x\\_y} & $-$1.0 to +2.0 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "50 % of #1 {a} ~b^c \\d $e",
            r"50 \% of \#1 \{a\} \textasciitilde{}b\textasciicircum{}c \textbackslash{}d \$e",
        ),
        ("mean of **3** languages", r"mean of \textbf{3} languages"),
        ("*miniature*, 2 × 3 → 6 ≥ 5", r"\emph{miniature}, 2 $\times$ 3 $\to$ 6 $\ge$ 5"),
        ("``a`b``", r"\texttt{a`b}"),
        ("a|b <c>", r"a\textbar{}b \textless{}c\textgreater{}"),
    ],
)
def test_marks_become_commands_and_every_other_sign_is_text(text: str, expected: str) -> None:
    assert latex.inline(text) == expected


def test_every_table_has_a_name_of_its_own() -> None:
    other = Table("Scores: all", ("a",), (("b",),))
    blocks = [
        Heading(1, "Study"), TABLE, Heading(2, "tatoeba/test, *tiny*"), TABLE, Fold("More", (Text("x"), other)),
        Heading(3, "Layer 2"), TABLE, Heading(2, "xnli/test"), TABLE,
    ]  # fmt: skip
    assert [name for name, *_ in latex.named(blocks)] == [
        "scores", "tatoeba-test-tiny-scores", "tatoeba-test-tiny-scores-2", "tatoeba-test-tiny-scores-3",
        "xnli-test-scores",
    ]  # fmt: skip
    assert [headings for _, headings, _ in latex.named(blocks)][-2:] == [
        ["tatoeba/test, *tiny*", "Layer 2"],
        ["xnli/test"],
    ]


def test_a_report_has_every_table_as_a_file_and_no_older_one(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves())
    folder = tmp_path / "report"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "old.tex").touch()
    assert report.write(store, "scaling", folder)[-1] == folder / "tables"
    files = {path.name: path.read_text() for path in (folder / "tables").iterdir()}
    assert "old.tex" not in files
    first = files["tatoeba-test-offline-average-against-k.tex"].splitlines()
    assert first[:2] == ["% tatoeba/test, offline", "% Profiles `xtreme-2020`, `stilts-2020`: layer 2 of 4"]
    tables = re.findall(r"^\| (?:-|:)-", (folder / "report.md").read_text(), re.MULTILINE)
    assert len(files) == len(tables) > 5
    for text in files.values():
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
        header = text[text.index(r"\toprule") :].splitlines()[1]
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert columns is not None
        assert re.sub(r"\\&", "", header).count("&") == len(columns[1]) - 1
        assert not re.search(r"(?<!\\)[%#_](?!\w* )", text.partition(r"\toprule")[2])
