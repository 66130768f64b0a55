"""The report in a browser: nothing is asked for, nothing complains, and its controls compute what the tables say."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import browser as chromium
from test_html import EVIL
from test_report import COLLAPSED, MODELS, PROFILE_LAYER, fill, leaves, measure, train
from xstilts import report
from xstilts.report import gains, rows, stats
from xstilts.serve_command import make_server
from xstilts.stage import Encoder
from xstilts.store import Store

TARGETS = [train("mnli", start=model, seed=3) for model in MODELS]


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Browser]:
    found = chromium.program()
    if found is None or shutil.which("bash") is None:
        pytest.skip("no Chromium on this machine; XSTILTS_BROWSER names one")
    tab = chromium.Browser(found)
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    own = [measure(model, code, "xnli") for model in TARGETS for code in ("en", "de")]
    return fill(tmp_path_factory.mktemp("stored") / "store", [*leaves(), *own])


@pytest.fixture(scope="module")
def address(stored: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    report.write(stored, "scaling", folder)
    return (folder / "report.html").as_uri()


def hostile(store: Store, root: Path) -> Store:
    """A copy in which every text that a plan may hold is markup."""
    shutil.copytree(store.root, root)
    own = Store.open(root)
    plan = own.plan("scaling")
    plan["study"] = plan["parameters"][EVIL] = EVIL
    for stage in plan["stages"].values():
        stage["label"] = EVIL
    own.write_plan("scaling", plan)
    return own


@pytest.mark.parametrize("width", chromium.WIDTHS)
@pytest.mark.parametrize("scheme", chromium.SCHEMES)
def test_nothing_is_asked_for_and_nothing_complains(
    tab: chromium.Browser, stored: Store, tmp_path: Path, width: str, scheme: str
) -> None:
    report.write(hostile(stored, tmp_path / "store"), "scaling", tmp_path)
    address = (tmp_path / "report.html").as_uri()
    tab.open(address, width=width, scheme=scheme)
    assert tab.requests == [address]
    assert tab.errors == []
    assert tab.value("document.querySelectorAll('img').length") == 0
    assert tab.value("document.querySelectorAll('script').length") == 2
    assert tab.value("document.documentElement.scrollWidth") <= chromium.WIDTHS[width][0]
    colour = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour))) > 384) == (scheme == "light")
    assert tab.value("document.querySelector('.explorer').hidden") is False


def test_a_policy_keeps_every_other_script_from_running(tab: chromium.Browser, address: str) -> None:
    tab.open(address)
    tab.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert tab.value("window.ran === undefined")
    assert any("Content Security Policy" in error for error in tab.errors)


def test_a_page_without_scripts_has_all_but_the_controls(tab: chromium.Browser, address: str) -> None:
    tab.open(address)
    tables = tab.value("document.querySelectorAll('table').length")
    tab.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(address)
        root = tab.do("DOM.getDocument")["root"]["nodeId"]
        count = {
            name: len(tab.do("DOM.querySelectorAll", nodeId=root, selector=name)["nodeIds"])
            for name in ("table", "svg.gain", "figure.explorer[hidden]", "thead button")
        }
        assert count == {"table": tables, "svg.gain": 2, "figure.explorer[hidden]": 1, "thead button": 0}
    finally:
        tab.do("Emulation.setScriptExecutionDisabled", value=False)


def test_paper_has_no_controls(tab: chromium.Browser, address: str) -> None:
    tab.open(address, media="print", scheme="dark")
    assert tab.value("getComputedStyle(document.querySelector('.explorer')).display") == "none"
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.do("Emulation.setEmulatedMedia", media="")


def test_a_table_sorts_by_the_column_that_is_pressed(tab: chromium.Browser, address: str) -> None:
    tab.open(address)
    table = "[...document.querySelectorAll('table')].find(t => t.caption.textContent.startsWith('Gain over k = 0 in'))"
    column = f"JSON.stringify([...{table}.tBodies[0].rows].map(row => parseFloat(row.cells[1].textContent)))"
    pressed = f"{table}.tHead.rows[0].cells[1].querySelector('button').click()"
    before = json.loads(tab.value(column))
    tab.value(pressed)
    down = json.loads(tab.value(column))
    tab.value(pressed)
    up = json.loads(tab.value(column))
    assert down == sorted(before, reverse=True)
    assert up == sorted(before)
    assert down != up
    assert tab.value(f"{table}.tHead.rows[0].cells[1].ariaSort") == "ascending"


def said(tab: chromium.Browser) -> list[tuple[float, ...]]:
    """The numbers of the explorer's sentence: for every k the gain and, if it has one, its interval."""
    text = tab.value("document.querySelector('.said').textContent")
    found = re.findall(r"k = \d+: ([+-]?[\d.]+) points(?:, 95 % interval ([+-]?[\d.]+) to ([+-]?[\d.]+))?", text)
    return [tuple(float(number) for number in numbers if number) for numbers in found]


def pick(tab: chromium.Browser, label: str, name: str) -> None:
    """Choose an option of the explorer by its text; the field is found by its label."""
    tab.value(
        "((label, name) => {"
        "const s = [...document.querySelectorAll('.controls > label:not([hidden])')]"
        ".find(l => l.firstChild.textContent.trim() === label).querySelector('select');"
        "s.focus(); s.value = [...s.options].findIndex(o => o.textContent === name);"
        f"s.dispatchEvent(new Event('change'))}})({json.dumps(label)}, {json.dumps(name)})"
    )


def expected(target: gains.Target, layer: int | None, languages: list[str]) -> list[tuple[float, ...]]:
    found = []
    for k, runs in target.main.by_k().items():
        if k:
            gain = target.gain(runs, layer, languages)
            found.append(tuple(100 * number for number in gain[:3] if number is not None))
    return found


def test_the_explorer_computes_what_the_report_does(tab: chromium.Browser, address: str, stored: Store) -> None:
    plan = stored.plan("scaling")
    targets = gains.targets(stats.sections(rows.rows(stored, plan), plan))
    tab.open(address)

    def agrees(target: gains.Target, layer: int | None, languages: list[str]) -> None:
        for one, other in zip(said(tab), expected(target, layer, languages), strict=True):
            assert one == pytest.approx(other, abs=0.06)

    for target in targets:
        pick(tab, "target", target.name)
        agrees(target, target.view.layer, list(target.view.languages))
        tab.value("document.querySelector('.controls fieldset input').click()")
        agrees(target, target.view.layer, list(target.view.languages[1:]))
    pick(tab, "target", targets[0].name)
    pick(tab, "layer", "4")
    agrees(targets[0], 4, list(targets[0].view.languages))
    assert tab.value("document.querySelectorAll('.explorer .cross').length") == (COLLAPSED in MODELS)
    assert tab.errors == []


def test_a_k_0_of_several_seeds_has_its_share_of_the_interval(tab: chromium.Browser, tmp_path: Path) -> None:
    store = fill(
        tmp_path / "store", [measure(model, code, "xnli") for model in TARGETS_OF_SEEDS for code in ("en", "de")]
    )
    report.write(store, "scaling", tmp_path)
    plan = store.plan("scaling")
    (target,) = gains.targets(stats.sections(rows.rows(store, plan), plan))
    tab.open((tmp_path / "report.html").as_uri())
    (one,), (other,) = said(tab), expected(target, None, list(target.view.languages))
    assert len(one) == 3
    assert one == pytest.approx(other, abs=0.06)


def test_runs_that_all_agree_have_no_interval_there_either(tab: chromium.Browser, tmp_path: Path) -> None:
    store = fill(tmp_path / "store", stages := leaves(), score=lambda stage: False)
    for stage in stages:
        value = {"layer": PROFILE_LAYER, "pooling": "mean", "direction": "xx->en", "num_examples": 50, "num_ties": 0}
        values = [value | {"value": 0.5 if isinstance(stage.model, Encoder) else 0.6}]
        store.add_score(stage.id, "accuracy-v1", {"metric": "accuracy", "version": 1, "options": {}, "values": values})
    report.write(store, "scaling", tmp_path)
    tab.open((tmp_path / "report.html").as_uri())
    assert said(tab) == [(10.0,)] * 2
    assert tab.value("document.querySelectorAll('.explorer .whisker').length") == 0


def test_the_explorer_leaves_out_runs_that_lack_a_language(tab: chromium.Browser, tmp_path: Path) -> None:
    lacking = measure(MODELS[6], "de")
    report.write(fill(tmp_path / "store", leaves(), score=lambda stage: stage != lacking), "scaling", tmp_path)
    tab.open((tmp_path / "report.html").as_uri())
    text = tab.value("document.querySelector('.said').textContent")
    assert text.endswith("1 run. Left out: 1 run that lacks one of these languages.")


def test_the_explorer_has_a_field_for_every_choice_and_keeps_the_focus(tab: chromium.Browser, tmp_path: Path) -> None:
    plain = [measure(model, code) for model in MODELS for code in ("de", "fr")]
    store = fill(tmp_path / "store", plain)
    for stage in plain:
        found = store.scores(stage.id)["accuracy-v1"]
        halves = [one | {"value": one["value"] / 2} for one in found["values"]]
        store.add_score(stage.id, "csls-v1", found | {"metric": "csls", "values": halves})
    report.write(store, "scaling", tmp_path)
    tab.open((tmp_path / "report.html").as_uri())
    fields = "[...document.querySelectorAll('.controls > label:not([hidden])')]"
    labels = json.loads(tab.value(f"JSON.stringify({fields}.map(l => l.firstChild.textContent.trim()))"))
    assert labels == ["metric", "layer", "pooling", "direction"], "one target: nothing to choose"
    plainly = said(tab)
    pick(tab, "metric", "csls")
    assert tab.value("document.activeElement.options[document.activeElement.value].textContent") == "csls"
    assert [one[0] for one in said(tab)] == pytest.approx([one[0] / 2 for one in plainly], abs=0.06)
    pick(tab, "direction", "xx->en")
    assert said(tab) != plainly
    assert tab.errors == []


def test_a_sign_says_its_value_under_the_pointer_and_by_keys(tab: chromium.Browser, address: str) -> None:
    tab.open(address)
    curve = "document.querySelector('svg.gain')"
    tip = "(t => t.hidden ? '' : t.textContent)(document.querySelector('.tip'))"
    number = tab.value(f"{curve}.querySelectorAll('g:last-of-type .mark, .dot, .cross').length")
    assert number > 4
    assert tab.value(tip) == ""
    tab.value(f"{curve}.focus()")
    key = f"{curve}.dispatchEvent(new KeyboardEvent('keydown', {{key: '%s', cancelable: true}}))"
    seen = []
    for _ in range(3):
        tab.value(key % "ArrowRight")
        seen.append(tab.value(tip))
    assert len(set(seen)) == 3
    assert all("points" in text for text in seen)
    tab.value(key % "ArrowLeft")
    assert tab.value(tip) == seen[1]
    box = json.loads(tab.value("JSON.stringify(document.querySelector('.tip').getBoundingClientRect())"))
    assert box["left"] >= 0
    assert box["right"] <= chromium.WIDTHS["desktop"][0]
    tab.value(key % "Escape")
    assert tab.value(tip) == ""
    place = json.loads(tab.value(f"JSON.stringify({curve}.querySelector('.dot').getBoundingClientRect())"))
    middle = {"x": place["x"] + place["width"] / 2, "y": place["y"] + place["height"] / 2}
    tab.do("Input.dispatchMouseEvent", type="mouseMoved", **middle)
    assert "seed" in tab.value(tip)
    tab.do("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert tab.value(tip) == ""


TARGETS_OF_SEEDS = [
    train("mnli", start=start, seed=seed)
    for seed in (0, 1, 2)
    for start in (MODELS[0], train("snli@sample", seed=seed))
]


# -- live ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(stored: Store, tmp_path: Path) -> Iterator[Any]:
    import threading

    store = hostile(stored, tmp_path / "store")
    shutil.rmtree(store.folder(measure(MODELS[1], "de").id))
    progress = {"step": 3, "steps": 9, "loss": 1.25, "tokens_per_second": 4321.0}
    one = {"id": "train-1", "kind": "train", "label": EVIL, "started": 0.0, "progress": progress, "losses": [2.0, 1.25]}
    run = {"study": EVIL, "todo": 4, "ended": 1, "failed": 0, "running": [one]}
    server = make_server(lambda: report.live_page(store, "scaling", [run], 5), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_live_page_is_text_in_a_browser(tab: chromium.Browser, served: Any) -> None:
    address = f"http://127.0.0.1:{served.server_address[1]}/{served.secret}/"
    tab.open(address)
    assert [url for url in tab.requests if not url.endswith("/favicon.ico")] == [address]
    assert [error for error in tab.errors if "404" not in error] == []
    text = tab.value("document.body.textContent")
    assert "3 of 9" in text
    assert "4,321" in text
    assert "Incomplete: k = 1: 3 of 4 runs" in text
    assert tab.value("document.querySelectorAll('svg.gain').length") == 2
    assert tab.value("document.querySelectorAll('img').length") == 0
    tab.open("about:blank")


@pytest.mark.parametrize("name", ["lo", "path", "host", "method"])
def test_only_the_secret_address_on_this_machine_answers(served: Any, name: str) -> None:
    host, port = served.server_address
    assert host == "127.0.0.1"
    address, headers, method = f"http://127.0.0.1:{port}/{served.secret}/", {}, "GET"
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.status == 200
    if name == "lo":
        address = address[:-2] + "/"
    elif name == "path":
        address = f"http://127.0.0.1:{port}/"
    elif name == "host":
        headers = {"Host": f"evil.example:{port}"}
    else:
        method = "POST"
    asked = urllib.request.Request(address, headers=headers, method=method, data=b"" if method == "POST" else None)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    assert refused.value.code == (501 if name == "method" else 404)
    body = refused.value.read()
    refused.value.close()
    assert b"Study" not in body
