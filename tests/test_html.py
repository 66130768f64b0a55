"""The report as a page: what it says is what the Markdown says, and no name in it runs or is fetched."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from test_report import ENCODER, MODELS, NUM_LAYERS, PATH, fill, leaves, measure, train
from xstilts import report, tasks
from xstilts.report import blocks, html, stages, stats
from xstilts.stage import Encoder, Stage, label
from xstilts.store import Store
from xstilts.study import Plan

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>`</code>"


class Page(HTMLParser):
    """A page read as a browser would: every tag must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "lines": []})
        if tag == "tr":
            self.tables[-1]["lines"].append([])
        if tag in ("th", "td"):
            self.tables[-1]["lines"][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif "th" in self.open or "td" in self.open:
            self.tables[-1]["lines"][-1][-1] += data.replace("\xa0", " ")

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Retrieval and inference after seven models, one of them collapsed; not to be changed."""
    targets = [train("mnli", start=model, seed=3) for model in MODELS]
    own = [measure(model, code, "xnli") for model in targets for code in ("en", "de")]
    return fill(tmp_path_factory.mktemp("stored") / "store", [*leaves(), *own])


@pytest.fixture
def own(stored: Store, tmp_path: Path) -> Store:
    """A copy of that store for a test to change."""
    shutil.copytree(stored.root, tmp_path / "store")
    return Store.open(tmp_path / "store")


def written(store: Store, folder: Path) -> tuple[str, str]:
    """The report as Markdown and as a page."""
    report.write(store, "scaling", folder)
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


def miniature(kind: str) -> list[str]:
    """The miniature's tasks of a kind."""
    return [name for name in tasks.names() if stats.is_miniature(name) and tasks.find(name).kind.name == kind]


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text without their rules; bold and code marks left out."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("| "):
            cells = [re.sub(r"[*`]", "", cell).strip().replace("\\|", "|") for cell in re.split(r" \| ", line[2:-2])]
            if not inside:
                found.append([])
            if not set("".join(cells)) <= set(":-"):
                found[-1].append(cells)
        inside = line.startswith("| ")
    return found


# -- the same numbers ------------------------------------------------------------------------------------


def test_the_page_and_the_markdown_hold_the_same_tables(stored: Store, tmp_path: Path) -> None:
    markdown, text = written(stored, tmp_path)
    expected, found = markdown_tables(markdown), Page(text).tables
    assert len(found) == len(expected) > 10
    for table, lines in zip(found, expected, strict=True):
        assert f"{table['caption']}:" in re.sub(r"[*`]", "", markdown)
        for line, other in zip(table["lines"], lines, strict=True):
            cells = [cell.strip() for cell in line] + [""] * (len(other) - len(line))  # a title spans all columns
            assert cells == other
    texts = re.sub(r"[*`]", "", markdown)
    for fact in ("35 of 35", "this is not the published protocol", "every run of this study has 3 of them", PATH):
        assert fact in texts
        assert fact in Page(text).text


def test_english_stands_apart_from_the_languages_it_is_transferred_to(stored: Store, tmp_path: Path) -> None:
    tables = Page(written(stored, tmp_path)[1]).tables
    first = [line[0] for table in tables if "Every language" in table["caption"] for line in table["lines"]]
    first = first[first.index("English (en)") - 1 :]
    assert first[1:4] == ["English (en)", "Same script as English", "German (de)"]


def test_each_task_has_its_figure_in_the_page_and_beside_it(stored: Store, tmp_path: Path) -> None:
    _, text = written(stored, tmp_path)
    for name in ("tatoeba", "xnli"):
        svg = (tmp_path / f"{name}-by-k.svg").read_text()
        assert svg.startswith("<?xml")
        assert re.sub(r"\n<style>.*?</style>", "", svg, flags=re.DOTALL).partition("\n")[2].strip() in text
    page = Page(text)
    figures = [attributes for tag, attributes in page.tags if tag == "svg" and attributes["class"] == "curve"]
    assert ["tatoeba" in figures[0]["aria-label"], "xnli" in figures[1]["aria-label"]] == [True, True]


def test_one_run_has_no_interval(tmp_path: Path) -> None:
    _, text = written(fill(tmp_path / "store", leaves([ENCODER, train("mnli@sample")])), tmp_path)
    assert "whisker" in text.partition("</style>")[2]  # its sign in the legend, and no other
    assert text.partition("</style>")[2].partition("<script>")[0].count("whisker") == 1
    assert not any("±" in cell for table in Page(text).tables for line in table["lines"] for cell in line)
    (by_k,) = (table for table in Page(text).tables if table["caption"].startswith("Average against k"))
    assert [line[5] for line in by_k["lines"][1:]] == ["–", "–"]


# -- nothing runs, nothing is fetched --------------------------------------------------------------------


def test_names_are_text(own: Store, tmp_path: Path) -> None:
    plan = own.plan("scaling")
    plan["parameters"][EVIL] = EVIL
    plan["study"] = EVIL
    for stage in plan["stages"].values():
        stage["label"] = EVIL
    own.write_plan("scaling", plan)
    shutil.rmtree(own.folder(measure(MODELS[1], "de").id))
    own.write_failure(measure(MODELS[1], "de").id, "label", EVIL)
    _, text = written(own, tmp_path)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "link", "base", "form"}
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 10
    assert shlex.split(stages.command(plan)) == [
        "xstilts", "run", EVIL, "k=0,1,2", f"{EVIL}={EVIL}", "--report", "report",
    ]  # fmt: skip


def test_no_name_ends_the_element_of_the_cells() -> None:
    cells = json.dumps({"targets": [{"name": EVIL}]})
    text = html._html(blocks.Explorer(cells, EVIL))
    inside = text.partition('id="cells">')[2]
    assert inside.count("<") == 1
    assert json.loads(inside.removesuffix("</script>")) == {"targets": [{"name": EVIL}]}


def test_the_page_needs_nothing_but_itself(stored: Store, tmp_path: Path) -> None:
    _, text = written(stored, tmp_path)
    page = Page(text)
    named = [value for _, a in page.tags for key, value in a.items() if key in ("href", "src", "xlink:href", "srcset")]
    assert named
    assert all(value.startswith("#") for value in named)
    ids = [a["id"] for tag, a in page.tags if "id" in a and tag != "script"]
    assert sorted(ids) == sorted(set(ids)) == sorted(value[1:] for value in named)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|@font-face|//", style)
    before, _, script = text.rpartition("<script>")
    script, _, _ = script.partition("</script>")
    assert "//" not in before.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"fetch|XMLHttpRequest|import|eval|innerHTML|document\.write|WebSocket|new Image", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_the_page_is_for_everyone(stored: Store, tmp_path: Path) -> None:
    page = Page(written(stored, tmp_path)[1])
    names = [tag for tag, _ in page.tags]
    assert [names.count(tag) for tag in ("html", "head", "body", "main", "h1", "title", "nav")][:5] == [1] * 5
    assert names.count("table") == names.count("caption") == len(page.tables)
    assert all(table["caption"] for table in page.tables)
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.tags if tag == "svg")
    levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves([train(*miniature("classify")), *MODELS]))
    code = (
        "import sys; from pathlib import Path; from xstilts import report; from xstilts.store import Store; "
        "report.write(Store.open(Path(sys.argv[1]), create=False), 'scaling', Path(sys.argv[2]))"
    )
    pages = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(store.root), str(folder)], check=True, env=environment)
        pages.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert pages[0] == pages[1]


# -- what is there and what is not -----------------------------------------------------------------------


def test_missing_failed_and_collapsed_stages_are_named(own: Store, tmp_path: Path) -> None:
    failed, missing = measure(MODELS[1], "de"), measure(MODELS[2], "fr")
    for stage in (failed, missing):
        shutil.rmtree(own.folder(stage.id))
    own.write_failure(failed.id, label(failed), "Traceback\nValueError: too long\n\n")
    for text in (written(own, tmp_path)[0], Page(written(own, tmp_path)[1]).text):
        text = re.sub(r"[*`]", "", text)
        assert "Failed stages, which have no row and whose averages do not exist: 1" in text
        log = own.failures(failed.id)[0].name
        assert f"{label(failed)} ({failed.id}): ValueError: too long; log {log}" in text
        assert "Missing stages, which have no row and whose averages do not exist: 1" in text
        assert f"{label(missing)} ({missing.id})" in text
        assert "mnli@sample, seed 0: no average, since de is lacking" in text
        assert "✓ 10 done, ✗ 1 failed, ○ 1 missing" in text
        assert "snli@sample †" in text
        assert "stayed at the majority class" in text
        assert f"✗ {label(failed)}: ValueError: too long; log {log}" in text


def test_the_miniature_is_labelled_wherever_it_is_rested_on(stored: Store, tmp_path: Path) -> None:
    assert "iniature" not in written(stored, tmp_path / "real")[1]
    tiny = Encoder("tiny", content="content")  # its tokenizer is made from miniature text
    made = train("mnli@sample", start=train(miniature("mlm")[0])), train(miniature("classify")[0])
    models = (*made, train("mnli@sample", start=tiny))
    for number, model in enumerate(models):
        store = fill(tmp_path / f"store-{number}", [measure(model, "de")])
        page = written(store, tmp_path / f"report-{number}")[1]
        assert "<strong>Miniature.</strong>" in page
        assert '<h2 id="s2">tatoeba/test, offline, <em>miniature</em></h2>' in page
        assert "— miniature</text>" in page


def test_the_stages_are_a_tree_of_sorts(own: Store, tmp_path: Path) -> None:
    plan = own.plan("scaling")
    (root,) = stages.graph(plan, stages.entries(own, plan))
    assert root.title == "offline"
    titles = [child.title for child in root.children]
    assert titles == ["tatoeba/test", "k = 1", "k = 2", "target mnli"]
    one = next(child for child in root.children if child.title == "k = 1")
    assert one.states == {"done": 4, "failed": 0, "missing": 0, "elsewhere": 0}
    assert one.facts == ("2000 examples, proportional, official sizes", "6.0 s", "collapsed: 1")
    assert one.members[3] == "✓ snli@sample, seed 1 †: 1.5 s"
    below = {child.title: child for child in one.children}
    assert sorted(below) == ["target mnli", "tatoeba/test"]
    assert below["tatoeba/test"].facts == ("4 models in 3 languages", "18.0 s")
    assert [child.title for child in below["target mnli"].children] == ["xnli/test"]
    total = sum(sum(node.states.values()) for node in _nodes(root))
    assert total == len(plan["stages"])


def _nodes(node: blocks.Node) -> Iterator[blocks.Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def test_a_training_that_is_not_here_but_was_measured_is_not_missing(own: Store) -> None:
    plan = own.plan("scaling")
    shutil.rmtree(own.folder(MODELS[1].id))
    entries = stages.entries(own, plan)
    assert entries[MODELS[1].id].state == "elsewhere"
    assert {entry.state for entry in entries.values()} == {"done", "elsewhere"}


def test_training_shows_how_its_loss_went(own: Store, tmp_path: Path) -> None:
    text = train("text@leipzig")
    store = fill(tmp_path / "store", leaves([train("mnli@sample", "snli@sample", start=text)]))
    both = next(
        id
        for id, stage in store.plan("scaling")["stages"].items()
        if len(stage["declaration"].get("mixture", {}).get("tasks", ())) == 2
    )
    losses = [10 - step / 10 for step in range(50)]
    lines = [json.dumps({"step": n, "task": "text@leipzig", "loss": loss}) for n, loss in enumerate(losses)]
    (store.folder(text.id) / "log.jsonl").write_text("\n".join([*lines, '{"step": 50, "dev": {}}']) + "\n")
    lines = [
        json.dumps({"step": n, "task": ("mnli@sample", "snli@sample")[n % 2], "loss": 1 + n % 2}) for n in range(4)
    ]
    (store.folder(both) / "log.jsonl").write_text("\n".join(lines))
    dev = {"loss": 2.0, "loss_by_language": {"de": 1.5, "sw": 2.5}, "on": "dev", "num_examples": 2}
    (entry,) = (entry for id, entry in stages.entries(store, store.plan("scaling")).items() if id == text.id)
    assert entry.record is not None
    result = entry.record["result"] | {"tasks": {"text@leipzig": {"dev": dev}}}
    *_, last = stages._training(replace(entry, record=entry.record | {"result": result}))
    assert last == "text@leipzig, loss by language on dev rows: de 1.50, sw 2.50"
    tables = [table for table in Page(written(store, tmp_path)[1]).tables if "loss in nats" in table["caption"]]
    assert [table["caption"].split(";")[0] for table in tables] == [
        "Masked language modelling",
        "Intermediate and target training",
    ]
    assert tables[0]["lines"][2][:5] == ["text@leipzig", "–", "–", "9.80", "5.30"]
    assert [line[3:5] for line in tables[1]["lines"][2:]] == [["1.00", "1.00"], ["2.00", "2.00"]]
    points = re.findall(r"[\d.]+ ([\d.]+)", re.findall(r'class="spark".*?d="M(.*?)"', written(store, tmp_path)[1])[0])
    assert [float(y) for y in points] == sorted(map(float, points))  # downwards: a loss that falls
    assert float(points[0]) == 2.0


def test_commands_versions_and_times_are_those_of_the_records(stored: Store, tmp_path: Path) -> None:
    text = Page(written(stored, tmp_path)[1]).text
    assert "xstilts run scaling k=0,1,2 --report report\nxstilts report scaling --out report" in text
    plan = stored.plan("scaling") | {"parameters": {"prefix": "query: ", "target": "", "k": "0"}}
    assert stages.command(plan) == "xstilts run scaling 'prefix=query: ' k=0 --report report"
    tables = {table["caption"]: table["lines"] for table in Page(written(stored, tmp_path)[1]).tables}
    (kinds,) = (lines for caption, lines in tables.items() if caption.startswith("Wall time by kind"))
    trains = len({stage for stage in stored.plan("scaling")["stages"] if stage.startswith("train")})
    assert [line[:3] for line in kinds[1:]] == [
        ["evaluate", "35", "52.5"],
        ["train", str(trains), f"{1.5 * trains:.1f}"],
    ]
    assert len(tables["The slowest stages"]) == 11
    assert [stages.duration(seconds) for seconds in (0.04, 59.94, 61, 3599, 8170)] == [
        "0.0 s", "59.9 s", "1 min 1 s", "1 h 0 min", "2 h 16 min",
    ]  # fmt: skip


# -- marks and sizes -------------------------------------------------------------------------------------


def test_marks_in_text_become_elements_and_the_rest_is_text() -> None:
    assert html.inline("a `b*c*d` **e** *f* <g> & h") == (
        "a <code>b*c*d</code> <strong>e</strong> <em>f</em> &lt;g&gt; &amp; h"
    )
    for value in ("plain", "a`b", "``", "`x`", "<b>", "a*b*c **d**"):
        assert html.inline(blocks.code(value)) == f"<code>{html.escape(value)}</code>"
    assert blocks.code("") == ""


def test_cells_are_coloured_by_value_and_dashes_are_not() -> None:
    line = ("a", *(blocks.Number(str(value), value) for value in (0.0, 0.5, 1.0, None)))
    change = ("b", *(blocks.Number(str(value), value, "change") for value in (-0.2, 0.0, 0.1, None)))
    text = html._table(blocks.Table("c", ("x", "1", "2", "3", "4"), (line, change)))
    assert re.findall(r'<td(?: class="(\w+)")?>', text) == ["h0", "h4", "h8", "", "l8", "l0", "g4", ""]


class Memory:
    """A store whose records are made up when they are asked for."""

    def __init__(self, plan: Plan, done: Any) -> None:
        self.document, self.stages, self.done = plan.document(), plan.stages, done

    def plan(self, name: str) -> dict[str, Any]:
        return self.document

    def exists(self, id: str) -> bool:
        return bool(self.done(self.stages[id]))

    def failures(self, id: str) -> list[Path]:
        return []

    def folder(self, id: str) -> Path:
        return Path("/nowhere")

    def scores(self, id: str) -> dict[str, Any]:
        values = [
            {"layer": layer, "pooling": "mean", "direction": direction, "value": int(id[-4:], 16) / 65536}
            | {"num_examples": 1000, "num_ties": 0}
            for layer in range(NUM_LAYERS + 1)
            for direction in ("en->xx", "xx->en")
        ]
        return {"accuracy-v1": {"metric": "accuracy", "version": 1, "values": values}}

    def record(self, id: str) -> dict[str, Any]:
        environment = {"numeric_path": PATH}
        result = {"num_layers": NUM_LAYERS, "tokenizer_fingerprint": "f", "tokens_per_second": 1000.0}
        names = {"encoder": "offline"}
        return {"result": result, "names": names, "environment": environment, "wall_seconds": 1.0}


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_four_thousand_measurements_are_a_small_page(share: float, tmp_path: Path) -> None:
    names = ("mnli@sample", "snli@sample", "mnli", "snli", "qqp")
    languages = (
        "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi"
    )
    stages_: dict[str, Stage] = {}
    models = [ENCODER, *(train(*names[: 1 + seed % 5], seed=seed) for seed in range(115))]
    asked = [measure(model, code) for model in models for code in languages.split()]
    for leaf in asked:
        stages_ |= {stage.id: stage for stage in (*leaf.inputs, leaf)}
    store: Any = Memory(
        Plan("huge", {}, stages_, tuple(leaf.id for leaf in asked)),
        lambda stage: stage.kind == "train" or int(stage.id[-3:], 16) < 4096 * share,
    )
    started = time.process_time()
    report.write(store, "huge", tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert len(asked) >= 4000
    assert len(text.encode()) < 1_000_000
    assert text.count("<li>") < 300
    assert time.process_time() - started < 30
    assert "k = 5" in Page(text).text
