"""Studies from Python: the notebook as it stands, and what each member says of a study that was run."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import xstilts
from conftest import REPOSITORY
from program import Call, environment
from xstilts import Evaluate, Study, score
from xstilts.run_command import run_command
from xstilts.store import Store

NOTEBOOK = REPOSITORY / "examples" / "notebook.ipynb"
RUN = """
import json, sys
cells = json.loads(open(sys.argv[1]).read())["cells"]
names = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), "cell", "exec"), names)
print(names["study"].status())
"""


@pytest.fixture(scope="module")
def project(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the notebook was run, cell by cell, and what it printed."""
    folder = tmp_path_factory.mktemp("notebook")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK)],
        cwd=folder,
        env=environment() | {"XSTILTS_CACHE": str(cache_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return folder, done.stdout


def mine() -> Any:
    """The notebook's study."""
    names: dict[str, Any] = {}
    source = next(cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code")["source"]
    exec("".join(source), names)
    return names["mine"]


def test_the_notebook_runs_and_is_stored_without_outputs(project: tuple[Path, str]) -> None:
    folder, printed = project
    lines = printed.splitlines()
    (train,) = (line.split()[1] for line in lines if line.startswith("run train-"))
    assert len([line for line in lines if line.startswith("run evaluate-")]) == 4
    assert len([line for line in lines if re.fullmatch(r"k = [01]  (de|sw)  \d+\.\d%", line)]) == 4
    assert lines[-1] == "{'done': 5, 'missing': [], 'name': 'mine', 'stages': 5}"
    assert f"{folder / 'report'}/report.html" in printed or "report/report.html" in printed
    assert (folder / "report" / "report.html").is_file()
    assert Store.open(folder / "store", create=False).exists(train)
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_every_member_says_what_its_command_says(
    project: tuple[Path, str], cache_dir: Path, tmp_path: Path, call: Call
) -> None:
    folder, _ = project
    store = folder / "store"
    study = Study(mine(), store=store, cache=cache_dir)
    assert (study.name, study.todo()) == ("mine", {})
    assert study.plan.document() == Store.open(store, create=False).plan("mine") | {"parameters": {"seeds": "0"}}
    where = ("--store", str(store), "--json")
    assert study.status() == json.loads(call("status", "mine", *where).out)["studies"][0]
    assert study.claims() == json.loads(call("claims", "mine", *where).out)["grids"]
    rows = study.rows().to_pylist()
    values = {
        (leaf, value["layer"], value["pooling"], value["direction"]): value["value"]
        for leaf in study.plan.leaves
        for one in Store.open(store, create=False).scores(leaf).values()
        for value in one["values"]
    }
    assert {(row["stage"], row["layer"], row["pooling"], row["direction"]): row["value"] for row in rows} == values
    (train,) = (id for id in study.plan.stages if id.startswith("train-"))
    assert study.export(tmp_path / "exported", train, layer=1)["layer"] == 1
    assert study.select("mini-bitext")["study"] == "mine"
    assert study.report(tmp_path / "report")[0].is_file()


def test_parameters_are_checked_as_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XSTILTS_STORE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    plans = [
        Study("scaling", {"k": range(2), "seeds": [0], "tasks": ("mini-nli",), "languages": ("de",)}).plan,
        Study("scaling", {"k": "0..1", "seeds": (0,), "tasks": "mini-nli", "languages": "de"}).plan,
    ]
    assert plans[0] == plans[1]
    assert Study("scaling").store_folder == tmp_path / "elsewhere"
    for given, what, message in (
        ("scaling", {"kk": 1}, "parameter of the study 'scaling'"),
        (mine(), {"seed": (0,)}, "did you mean"),
        ("scalin", {}, "did you mean"),
        (lambda: iter(["no stage"]), {}, "expected stages"),
        (lambda: [Evaluate(xstilts.Encoder("tiny"), "mini-bitex", "de")], {}, "mini-bitext"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            _ = Study(given, what).plan  # type: ignore[arg-type]
    study = Study(mine())
    with pytest.raises(ValueError, match="not both"):
        study.export(tmp_path / "out")
    with pytest.raises(ValueError, match="tensorboard"):
        study.run(track="tensorbord")
    with pytest.raises(ValueError, match="expected a folder"):
        score(tmp_path, data=tmp_path / "nowhere")
    assert not (tmp_path / "elsewhere").exists()


def test_scores_of_prediction_files(tmp_path: Path, call: Call) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "predictions" / "xnli").mkdir(parents=True)
    (tmp_path / "predictions" / "xnli" / "test-de.tsv").write_text("neutral\n")
    words = (str(tmp_path / "predictions"), "--data", str(tmp_path / "data"), "--json")
    found = score(tmp_path / "predictions", data=tmp_path / "data")
    assert found == json.loads(call("score", *words).out)


def test_a_run_has_the_options_of_its_command(tmp_path: Path) -> None:
    ours, commands = (inspect.signature(one).parameters for one in (Study.run, run_command))
    elsewhere = {"study", "parameters", "store", "data", "cache", "report", "profile", "as_json"}
    assert [name for name in commands if name not in elsewhere] == [name for name in ours if name != "self"]
    assert all(commands[name].default == one.default for name, one in ours.items() if name != "self")
    page = (REPOSITORY / "docs" / "python.md").read_text()
    assert all(f"`{name}`" in page for name in ours if name != "self")
    study = Study(mine(), store=tmp_path / "store", cache=tmp_path / "cache")
    for wrong, message in (
        ({"executor": "rai"}, "--executor"),
        ({"workers": 2}, "--workers 2: expected --executor ray"),
        ({"retries": -1}, "--retries -1: expected at least 0"),
        ({"stall_minutes": float("nan")}, "--stall-minutes nan: expected at least 0"),
        ({"remake": ["train-0"]}, "stage of the study"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            study.run(**wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()


def test_the_page_names_what_there_is() -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text()
    members = [name for name in vars(Study) if name[0] != "_"]
    assert set(re.findall(r"^\| `(\w+)", page[: page.index("## What declares")], re.MULTILINE)) == set(members)
    declares = page[page.index("## What declares") :]
    for name in set(xstilts.__all__) - {"Study", "score", "__version__"}:
        assert f"`{name}`" in declares, name
    for name in xstilts.__all__:
        assert hasattr(xstilts, name)
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    compile(block[1], "page", "exec")
    assert os.path.isfile(NOTEBOOK)
