"""The program as a person runs it: every command on a tiny study, and what each says to a mistake."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
import typer

import xstilts
from conftest import REPOSITORY
from program import OWN_VARIABLES, PROGRAM, Call, Ended, content, environment, process, refused
from xstilts import cli, named, tasks
from xstilts.store import Store
from xstilts.studies import STUDIES, recipes

NOTE = "all data is the embedded miniature: the numbers show the method, not languages"
STUDY = (
    "scaling",
    "mlm_examples=64",
    "examples=32",
    "k=0..1",
    "tasks=mini-nli",
    "targets=mini-bitext",
    "languages=de,tr",
    "poolings=mean",
)  # 2 trainings, 4 measurements
COMMAND = typer.main.get_command(cli.app)


@dataclass(frozen=True)
class Project:
    """A store with a finished study, the cache that it was made with, and what the run printed."""

    store: Path
    cache: Path
    err: str

    def words(self, *study: str) -> tuple[str, ...]:
        """A study's words with this project's folders."""
        return (*(study or STUDY), "--store", str(self.store), "--cache", str(self.cache))

    def copy(self, folder: Path) -> Project:
        """The same store elsewhere, to be changed; the cache is shared."""
        return Project(Path(shutil.copytree(self.store, folder)), self.cache, self.err)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study, run once through a worker process."""
    folder = tmp_path_factory.mktemp("made")
    project = Project(folder / "store", folder / "cache", "")
    done = process("run", *project.words(), "--device", "cpu", "--profile", str(folder / "profile"), cwd=folder)
    assert done.code == 0, done.err
    (folder / "out").write_text(done.out)
    return Project(project.store, project.cache, done.err)


def leaves_of(project: Project) -> list[str]:
    leaves: list[str] = Store.open(project.store, create=False).plan("scaling")["leaves"]
    return leaves


def trains_of(project: Project) -> list[str]:
    """The ids of the trainings, the first one (of masked language modelling) first."""
    plan = Store.open(project.store, create=False).plan("scaling")["stages"]
    return [id for id in plan if id.startswith("train-")]


# -- help ---------------------------------------------------------------------------------------------------


def commands(command: Any = COMMAND, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    if hasattr(command, "commands"):
        if words and command.invoke_without_command:
            yield words
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))
    else:
        yield words


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_has_an_example_that_the_command_understands(words: tuple[str, ...], call: Call) -> None:
    ended = call(*words, "--help")
    assert ended.code == 0
    found = re.search(r"Example: (xstilts .*?)\n\n", ended.out, re.DOTALL)
    assert found, ended.out
    example = shlex.split(found[1])
    assert example[1 : 1 + len(words)] == list(words)
    command = COMMAND
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    command.make_context("example", example[1 + len(words) :])  # raises for an option that does not exist
    given = [word for word in example if re.fullmatch(r"[a-z_]+=.*", word)]
    assert set(named.parse(named.find_study("scaling")[1], "scaling", given)) == {
        word.partition("=")[0] for word in given
    }


def test_the_program_alone_lists_its_commands_and_what_holds_for_all(call: Call) -> None:
    out = call("--help").out
    listed = out[out.index("\nCommands:") : out.index("Where to start")]
    assert re.findall(r"^  (\w+) +\S", listed, re.MULTILINE) == [
        *("studies", "tasks", "fetch", "plan", "run", "status", "serve", "report", "rescore", "claims"),
        *("score", "select", "export", "store"),
    ]
    assert {words[0] for words in commands()} == set(re.findall(r"^  (\w+)", listed, re.MULTILINE))
    assert "..." not in listed  # every purpose fits into its line
    assert "Where to start: xstilts run demo\n" in out
    assert {*re.findall(r"XSTILTS_\w+", out)} == {*OWN_VARIABLES}
    assert re.findall(r"^    (\d+) ", out, re.MULTILINE) == ["0", "1", "2", "130"]
    assert call("store", "--help").out.count("Example: xstilts store export") == 1
    alone = call()
    assert (alone.code, alone.out, alone.err) == (2, "", out)


def test_version(call: Call) -> None:
    assert call("--version") == Ended(0, f"xstilts {xstilts.__version__}\n", "")


def test_the_package_is_the_program_but_for_a_worker_that_imports_it() -> None:
    words = [sys.executable, "-m", "xstilts", "--version"]
    assert subprocess.check_output(words, text=True) == f"xstilts {xstilts.__version__}\n"
    runpy.run_module("xstilts", run_name="__mp_main__")  # what a spawned process does; the command would exit


def test_the_page_has_every_command_exit_code_variable_and_key(call: Call, made: Project, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    for words in commands():
        assert f"| `xstilts {' '.join(words)}" in page
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == ["0", "1", "2", "130"]
    assert set(re.findall(r"^\| `(XSTILTS_\w+)` \|", page, re.MULTILINE)) == {*OWN_VARIABLES}
    rows = re.findall(r"^\| `([\w -]+)` \| (.+) \|$", page[page.index("## JSON documents") :], re.MULTILINE)
    keys = {command: set(re.findall(r"`(\w+)`", row)) - {"error"} for command, row in rows}
    keys["status --verify"] |= keys["status"]
    keys["select"] -= {"targets", "regret_1", "regret_3", "ndcg", "spearman"}  # of a study with several targets
    spoilt = made.copy(tmp_path / "store")
    first, second, *_ = leaves_of(spoilt)
    shutil.rmtree(spoilt.store / "stages" / first)
    (spoilt.store / "stages" / second / "unknown").touch()
    where, whole = ("--store", str(spoilt.store)), ("--store", str(made.store))
    Path("fetched.json").write_text('{"format": 1, "files": []}')
    documents = {
        "studies": ("studies",),
        "studies STUDY": ("studies", "scaling"),
        "tasks": ("tasks",),
        "tasks show": ("tasks", "show", "mini-bitext", "--encoder", "tiny", "--cache", str(made.cache)),
        "fetch --verify": ("fetch", "--verify", "--manifest", "fetched.json"),
        "plan": ("plan", *spoilt.words()),
        "status": ("status", *where),
        "status --verify": ("status", "--verify", *where),
        "report": ("report", "scaling", *whole),
        "claims": ("claims", "scaling", *whole),
        "rescore": ("rescore", *whole),
        "export encoder": ("export", "encoder", trains_of(made)[-1], "exported", *whole),
        "select": ("select", "--target", "mini-bitext", "--study", "scaling", *whole),
        "store export": ("store", "export", "copy", *whole, "--study", "scaling"),
        "store import": ("store", "import", str(spoilt.store), "--store", "home"),
        "run": ("run", *made.words(), "--profile", "profile"),
    }
    assert set(keys) == {*documents, "fetch", "score", "export predictions"}  # see test_score_command

    def found(value: Any) -> Iterator[str]:
        for item in value if isinstance(value, list) else ():
            yield from found(item)
        for key, item in value.items() if isinstance(value, dict) else ():
            yield key
            not_ours = ("failed", "parameters", "added", "fields", "says")  # their keys
            if isinstance(item, list) or key not in not_ours:
                yield from found(item)

    for command, words in documents.items():
        ended = call(*words, "--json")
        assert ended.code == int(command in ("status --verify", "store import")), ended
        document = json.loads(ended.out)
        assert json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n" == ended.out
        assert set(found(document)) == keys[command], command


def test_commands_that_need_no_model_load_no_torch(made: Project, tmp_path: Path) -> None:
    script = f"""
import sys
from xstilts.cli import main
for words in (["--help"], ["tasks"], ["plan", *{made.words()!r}], ["run", *{made.words()!r}],
              ["status", "--verify", "--store", {str(made.store)!r}], ["rescore", "--store", {str(made.store)!r}]):
    sys.argv = ["xstilts", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    assert not {{"torch", "transformers"}} & set(sys.modules), words
    assert words != ["--help"] or not {{"numpy", "pyarrow", "multiprocessing"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# -- plan and run -------------------------------------------------------------------------------------------


def test_plan_before_anything_is_stored(made: Project, call: Call) -> None:
    ended = call("plan", *STUDY, "--cache", str(made.cache))
    first = trains_of(made)[0]
    assert ended.code == 0
    assert "scaling: 6 stages for 4 leaves" in ended.out
    assert re.search(r"train +2 in all, +0 stored, +2 to run", ended.out)
    assert re.search(r"evaluate +4 in all, +0 stored, +4 to run", ended.out)
    assert f"{first}  tiny + mini-text (64 examples, seed 0): nothing like it is stored" in ended.out
    assert list(Path().iterdir()) == []  # a plan makes no store


def test_plan_of_a_finished_study_says_that_it_is_stored(made: Project, call: Call) -> None:
    before = content(made.store)
    ended = call("plan", *made.words())
    assert re.search(r"train +2 in all, +2 stored, +0 to run", ended.out)
    assert re.search(r"evaluate +4 in all, +4 stored, +0 to run", ended.out)
    assert NOTE in ended.out
    assert len(ended.out.splitlines()) == 4
    assert content(made.store) == before


@pytest.mark.parametrize(
    ("change", "num_to_run", "why"),
    [
        ("learning_rate=1e-3", 3, "recipe.learning_rate: 0.0005 -> 0.001"),
        ("examples=48", 3, "mixture.cap: 32 -> 48"),
        ("seeds=7", 3, "seed: 0 -> 7"),
        ("mlm_examples=96", 6, "budget.amount: 64.0 -> 96.0"),
        ("poolings=cls", 4, "views.poolings: ['mean'] -> ['cls']"),
        ("languages=ru", 2, "nothing like it is stored"),
    ],
)
def test_plan_says_why_a_stage_runs(change: str, num_to_run: int, why: str, made: Project, call: Call) -> None:
    name = change.partition("=")[0]
    study = [word for word in STUDY if word.partition("=")[0] != name]
    ended = call("plan", *made.words(*study, change), "--verbose")
    lines = [line for line in ended.out.splitlines() if re.match(r"  (train|evaluate)-", line)]
    assert len(lines) == num_to_run
    assert why in lines[0]
    causes = {line.split()[0] for line in lines}
    for line in lines[1:]:
        assert why in line or any(f"its input {cause} runs" in line for cause in causes)


def test_the_cost_of_more_is_estimated_by_what_is_stored(made: Project, call: Call) -> None:
    study = [word for word in STUDY if not word.startswith("seeds")]
    out = call("plan", *made.words(*study, "seeds=7"), "--device", "cpu").out
    assert re.search(
        r"  train +1 stages; 32 examples, .* tokens/s and .* s a stage, as 1 like stage in the store \(", out
    )
    assert re.search(r"  evaluate +2 stages; .* tokens/s, as 4 like stages in the store \(", out)
    assert re.search(r"  tokens +as stages in the store have counted: mini-bitext, mini-nli\n", out)


def test_plan_without_verbose_names_causes_only(made: Project, call: Call) -> None:
    study = [word for word in STUDY if not word.startswith("mlm_examples")]
    ended = call("plan", *made.words(*study, "mlm_examples=96"))
    assert len([line for line in ended.out.splitlines() if re.match(r"  (train|evaluate)-", line)]) == 1


def test_a_run_in_plain_lines_names_every_stage(made: Project) -> None:
    assert made.err.startswith("scaling: 6 stages to run on this machine (cpu), 0 need nothing\n")
    assert re.findall(r"\[(\d)/6\] done (\w+)", made.err) == [
        *zip("123456", ["train", "evaluate", "evaluate", "train", "evaluate", "evaluate"], strict=True)
    ]
    assert made.err.endswith("6 done, 0 needed nothing\n")


def test_running_again_does_nothing(made: Project, call: Call) -> None:
    before = content(made.store / "stages")
    ended = call("run", *made.words(), "--device", "cpu")
    assert (ended.code, ended.out) == (0, "")
    first, *others = ended.err.splitlines()
    assert first == "scaling: 0 stages to run on this machine (cpu), 6 need nothing"
    assert others == [NOTE, "0 done, 6 needed nothing"]
    assert content(made.store / "stages") == before


def test_a_quiet_run_says_nothing(made: Project, call: Call) -> None:
    assert call("run", *made.words(), "--quiet") == Ended(0, "", "")


# -- status -------------------------------------------------------------------------------------------------


def test_status_of_what_is_done_running_and_failed(made: Project, call: Call, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "store")
    where = ("--store", str(project.store))
    assert call("status", *where).out == "scaling: 6 of 6 stages done\n"
    store = Store.open(project.store)
    failed, held = leaves_of(project)[:2]
    for id in (failed, held):
        shutil.rmtree(store.folder(id))
    log = store.write_failure(failed, "label", "what happened")
    claim = store.claim(held)
    assert claim is not None
    with claim:
        lines = call("status", "scaling", *where).out.splitlines()
    assert lines[0] == "scaling: 4 of 6 stages done"
    assert lines[1].startswith(f"  failed  {failed}  mini-bitext/test de: tiny + mini-text")
    assert lines[1].endswith(f": {log}")
    assert lines[2].startswith(f"  running {held}  mini-bitext/test tr: tiny + mini-text")
    assert f"process {os.getpid()} on " in lines[2]
    refused(call("status", "scalin", *where), "no plan 'scalin'", "did you mean 'scaling'?")


def test_verify_finds_nothing_in_a_sound_store(made: Project, call: Call) -> None:
    ended = call("status", "--verify", "--store", str(made.store))
    assert ended.code == 0
    assert "verified 6 stages: all intact" in ended.out


@pytest.mark.parametrize(
    "file",
    ["record.json", "predictions.parquet", "scores/accuracy-v1.json", "log.jsonl", "weights/encoder/model.safetensors"],
)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_verify_finds_a_flipped_byte_and_names_the_stage(
    file: str, share: float, made: Project, call: Call, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "store")
    id = (trains_of if file.startswith(("log", "weights")) else leaves_of)(project)[-1]
    path = project.store / "stages" / id / file
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 1
    path.write_bytes(data)
    ended = call("status", "--verify", "--store", str(project.store))
    assert ended.code == 1
    (problem,) = (line for line in ended.out.splitlines() if line.startswith(("train-", "evaluate-")))
    assert problem.startswith(f"{id}: {file}: ")
    assert "verified 6 stages: 1 problems" in ended.out


def test_dropped_weights_come_back_under_their_id_and_are_exported(made: Project, call: Call, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "store")
    opened, id = Store.open(project.store), trains_of(project)[-1]
    before = opened.record(id)
    opened.drop(id, "to make room")
    words = ("export", "encoder", id, "exported", "--layer", "1", "--store", str(project.store))
    refused(call(*words), "were dropped; make them again, under the same id", f"--remake {id}")
    assert call("run", *project.words(), "--quiet").code == 0
    assert not opened.usable(id)
    again = ("run", *project.words(), "--device", "cpu", "--remake")
    refused(call(*again, "train-0"), "unknown stage of the study 'train-0'")
    refused(call(*again, id, "--keep", "none"), "the weights would be dropped again")
    assert call(*again, id).code == 0
    assert opened.usable(id)
    assert opened.record(id) == before
    assert call(*words).code == 0
    assert "hidden state 1 of 2, after which the encoder ends" in Path("exported/README.md").read_text()


# -- report and scores --------------------------------------------------------------------------------------


def test_report_numbers_equal_the_scores(made: Project, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ended = call("report", "scaling", "--out", str(out), "--store", str(made.store))
    assert ended.code == 0
    files = [line for line in ended.out.splitlines() if not line.startswith("figures as PDF need")]
    assert sorted(files) == sorted(str(path) for path in out.iterdir())
    store = Store.open(made.store, create=False)
    expected = {
        (id, value["layer"], value["pooling"], value["direction"]): value["value"]
        for id in leaves_of(made)
        for value in store.scores(id)["accuracy-v1"]["values"]
    }
    assert len(expected) == 4 * 3 * 2  # leaves, layers, directions
    for table in (pyarrow.parquet.read_table(out / "rows.parquet"), pyarrow.csv.read_csv(out / "rows.csv")):
        rows = table.to_pylist()
        assert len(rows) == len(expected)
        assert {(r["stage"], r["layer"], r["pooling"], r["direction"]): r["value"] for r in rows} == expected
    text = (out / "report.md").read_text()
    last = {(row["k"], row["language"]): 100 * row["value"] for row in rows if (row["layer"], row["direction"]) == LAST}
    means = [(last[k, "de"] + last[k, "tr"]) / 2 for k in (0, 1)]
    assert re.search(rf"^\| 2 \(last\) \| {means[0]:.1f} \| \+?{means[1] - means[0]:.1f} \|$", text, re.MULTILINE), text
    curves = list(out.glob("*.svg"))
    assert len(curves) == 2
    assert all(curve.read_text().lstrip().startswith("<?xml") for curve in curves)


LAST = (2, "en->xx")


def test_claims_are_those_of_the_report_and_say_what_is_missing(made: Project, call: Call, tmp_path: Path) -> None:
    store = ("--store", str(made.store))
    ended = call("claims", "scaling", *store)
    assert ended.code == 0
    assert ended.out.count("| **not tested**, *miniature* |") == 9
    assert "* missing: no measurement of xnli, paws-x, udpos, panx, xquad, mlqa, tydiqa, bucc\n" in ended.out
    assert call("report", "scaling", "--out", str(tmp_path / "report"), *store).code == 0
    assert ended.out.strip() in (tmp_path / "report" / "report.md").read_text()
    refused(call("claims", "scaling", "--profile", "stilts", *store), "did you mean 'stilts-2020'")


def test_run_writes_the_same_report(made: Project, call: Call) -> None:
    ended = call("run", *made.words(), "--quiet", "--report", "one")
    assert (ended.code, ended.out) == (0, "")
    assert call("report", "scaling", "--out", "two", "--store", str(made.store)).code == 0
    one, two = ({name: data for name, (data, _) in content(Path(folder)).items()} for folder in ("one", "two"))
    assert one == two
    assert {"rows.csv", "rows.parquet", "report.md"} < set(one)


def test_rescore_adds_what_is_lacking_and_nothing_else(made: Project, call: Call, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "store")
    where = ("--store", str(project.store))
    assert call("rescore", *where).out == "4 measurements, 0 new scores\n"
    before = {name: data for name, (data, _) in content(project.store / "stages").items()}
    for id in leaves_of(project)[:3]:
        shutil.rmtree(project.store / "stages" / id / "scores")
    assert call("rescore", "scaling", *where).out == "4 measurements, 3 new scores\n"
    assert {name: data for name, (data, _) in content(project.store / "stages").items()} == before
    assert call("rescore", "scaling", "--metric", "csls", *where).out.startswith("4 measurements, ")
    refused(call("rescore", "scaling", "--metric", "cslz", *where), "unknown metric 'cslz'", "did you mean 'csls'?")
    refused(call("rescore", "scalin", *where), "did you mean 'scaling'?")
    refused(call("rescore", "--store", "nowhere"), "nowhere is not a store")
    assert list(Path().iterdir()) == []


# -- moving stores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [False, True])
def test_results_come_home(weights: bool, made: Project, call: Call) -> None:
    words = ("--weights",) if weights else ()
    ended = call("store", "export", "out", *words, "--study", "scaling", "--store", str(made.store))
    assert (ended.code, ended.out) == (0, "6 stages exported to out\n")
    assert call("store", "import", "out", "--store", "home").out == "6 added, 0 completed, 0 already there\n"
    assert call("store", "import", "out", "--store", "home").out == "0 added, 0 completed, 6 already there\n"
    assert [Path(f"home/stages/{id}/weights").exists() for id in trains_of(made)] == [weights] * 2
    assert call("status", "--verify", "--store", "home").code == 0
    assert call("report", "scaling", "--store", "home").code == 0
    assert call("report", "scaling", "--out", "there", "--store", str(made.store)).code == 0
    assert Path("report/rows.csv").read_bytes() == Path("there/rows.csv").read_bytes()
    home = Project(Path("home"), made.cache, "")
    assert "0 stages to run" in call("run", *home.words()).err


def test_a_damaged_stage_is_not_imported(made: Project, call: Call) -> None:
    assert call("store", "export", "out", "--store", str(made.store)).code == 0
    id = leaves_of(made)[0]
    with Path(f"out/stages/{id}/predictions.parquet").open("ab") as file:
        file.write(b"\0")
    ended = call("store", "import", "out", "--store", "home")
    assert ended.code == 1
    assert ended.out == "5 added, 0 completed, 0 already there\n"
    assert ended.err.startswith(f"xstilts: refused {id}: predictions.parquet: ")
    assert not Path(f"home/stages/{id}").exists()


def test_export_and_import_of_nothing(made: Project, call: Call) -> None:
    refused(call("store", "import", "nowhere", "--store", "home"), "nowhere is not a store")
    refused(call("store", "export", "out", "--study", "scalin", "--store", str(made.store)), "did you mean 'scaling'?")
    assert list(Path().iterdir()) == []


# -- what is refused, before anything is written ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("run scalin", ("unknown study 'scalin': expected one of ", "did you mean 'scaling'")),
        ("run nowhere.py", ("nowhere.py: expected a Python file with a study function",)),
        ("run scaling encodr=tiny", ("unknown parameter of the study 'scaling' 'encodr'", "did you mean 'encoder'?")),
        ("run scaling k", ("'k': expected NAME=VALUE", "encoder, revision, tasks")),
        ("run scaling k=1 k=1", ("the parameter 'k' is given twice",)),
        ("run scaling k=one", ("k=one: expected whole numbers like 0,2,5 or 0..4",)),
        ("run scaling k=2..1", ("k=2..1: expected whole numbers like 0,2,5 or 0..4",)),
        ("run scaling k=", ("k=: expected one value or more",)),
        ("run scaling k=99", ("k = 99: expected 0 to ", ", the number of tasks")),
        ("run scaling examples=2.5", ("examples=2.5: expected a whole number",)),
        ("run scaling learning_rate=fast", ("learning_rate=fast: expected a number",)),
        ("run scaling learning_rate=nan", ("recipe.learning_rate is nan: expected a number above 0",)),
        ("run scaling learning_rate=inf", ("recipe.learning_rate is inf: expected a finite number",)),
        ("run scaling batch_examples=0", ("recipe.batch_examples is 0: expected a number above 0",)),
        ("run scaling design=neste", ("unknown design 'neste'", "did you mean 'nested'?")),
        ("run scaling precision=float16", ("unknown precision 'float16'", "did you mean 'bfloat16'")),
        ("run scaling poolings=maen", ("unknown pooling 'maen'", "did you mean 'mean'")),
        ("run scaling tasks=mini-nly", ("unknown task 'mini-nly'", "did you mean 'mini-nli'")),
        ("run scaling targets=tatoba", ("'tatoba'", "did you mean 'tatoeba'")),
        ("run scaling languages=xx", ("unknown language of mini-bitext/test 'xx'", ": expected one of ")),
        ("run scaling encoder=ofline", ("unknown encoder 'ofline'", "did you mean 'offline'?")),
        ("run scaling encoder=some/one", ("fetch it with: xstilts fetch some/one@main",)),
        ("run scaling --data nowhere", ("--data nowhere: expected a folder of data sets",)),
        ("run scaling --device gpu", ("--device gpu: expected auto, cpu, cuda or cuda:N",)),
        ("run scaling --device cpu,", ("--device cpu,: expected auto",)),
        ("run scaling --keep non", ("unknown --keep 'non'", "did you mean 'none'?")),
        ("plan scaling encodr=tiny", ("did you mean 'encoder'?",)),
        ("plan scaling --data nowhere", ("--data nowhere: expected a folder of data sets",)),
        ("status", ("store is not a store",)),
        ("status scaling --store nowhere", ("nowhere is not a store",)),
        ("report scaling", ("store is not a store",)),
    ],
)
def test_a_refusal_is_one_message_and_writes_nothing(
    words: str, parts: tuple[str, ...], call: Call, tmp_path: Path
) -> None:
    refused(call(*words.split()), *parts)
    assert list(Path().iterdir()) == []
    assert not (tmp_path / "user-cache").exists()


@pytest.mark.parametrize("words", ["run", "run scaling --checkpoint-seconds soon", "run scaling --nonsense", "fetch"])
def test_wrong_usage_is_a_short_message(words: str, call: Call) -> None:
    ended = call(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("xstilts: ")
    assert ended.err.endswith(f"Try 'xstilts {words.split()[0]} --help' for help.\n")
    assert list(Path().iterdir()) == []


def test_a_store_that_cannot_be_written(made: Project, call: Call) -> None:
    Path("file").write_text("not a folder")
    for store in ("file", "file/store"):
        refused(call("run", *STUDY, "--store", store, "--cache", str(made.cache)), store)
    Path("full").mkdir()
    Path("full/thesis.tex").touch()
    refused(call("run", *STUDY, "--store", "full", "--cache", str(made.cache)), "full is not a store", "thesis.tex")
    assert [path.name for path in Path("full").iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop the superuser")
def test_a_store_without_permission(made: Project, call: Call, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "store")
    (project.store / "work").chmod(0o555)
    try:
        refused(call("run", *project.words()), "cannot open the store", "no permission to write")
    finally:
        (project.store / "work").chmod(0o755)


# -- parameters ---------------------------------------------------------------------------------------------


def study(
    *,
    numbers: tuple[int, ...] = (),
    shares: tuple[float, ...] = (),
    names: tuple[str, ...] = (),
    maybe: tuple[int, ...] | None = None,
    number: int = 0,
    rate: float = 0.0,
    switch: bool = False,
    limit: int | None = None,
    name: str = "",
) -> Iterator[Any]:
    """A study of every type of parameter."""
    yield from ()


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("numbers=3", (3,)),
        ("numbers=0..4", (0, 1, 2, 3, 4)),
        ("numbers=7..7", (7,)),
        ("numbers=5,0..2,-1", (5, 0, 1, 2, -1)),
        ("shares=0.5,1e-3,2", (0.5, 0.001, 2.0)),
        ("names=de,pt-br,mnli@sample", ("de", "pt-br", "mnli@sample")),
        ("names=0..4", ("0..4",)),
        ("maybe=1..2", (1, 2)),
        ("number=-12", -12),
        ("rate=1e-5", 1e-5),
        ("rate=3", 3.0),
        ("switch=true", True),
        ("switch=false", False),
        ("limit=5", 5),
        ("name=a=b c", "a=b c"),
        ("name=", ""),
    ],
)
def test_words_become_values_of_the_parameters_own_types(word: str, value: Any) -> None:
    ((name, found),) = named.parse(study, "study", [word]).items()
    assert name == word.partition("=")[0]
    assert found == value
    assert [type(item) for item in (found if isinstance(found, tuple) else [found])] == [
        type(item) for item in (value if isinstance(value, tuple) else [value])
    ]


@pytest.mark.parametrize(
    "word",
    ["switch=yes", "switch=True", "number=1.0", "number=", "rate=x", "numbers=1..", "numbers=1.5", "limit=None"],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{word}: ")):
        named.parse(study, "study", [word])


def test_a_studys_parameters_are_listed_with_type_default_and_text(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def mine(*, seeds: tuple[int, ...], rate: float = 1e-3, on: bool = False, name: str | None = None):\n"
        '    """Do it.\n\n    Args:\n        seeds: which\n            seeds.\n        rate: how fast: in a step.\n\n'
        '    Raises:\n        ValueError: never.\n    """\n    yield\n'
    )
    file = str(tmp_path / "mine.py")
    assert call("studies", file).out.splitlines() == [
        *("mine: Do it.", "", "seeds  (whole numbers: 0,2,5 or 0..4; needed)", "    which seeds."),
        *("", "rate  (number; = 0.001)", "    how fast: in a step.", "", "on  (true or false; = false)"),
        *("", "name  (text; may be left out)"),
    ]
    document = json.loads(call("studies", file, "--json").out)
    assert document["parameters"][0] == {
        **{"name": "seeds", "type": "whole numbers: 0,2,5 or 0..4", "default": None, "text": "which seeds."}
    }
    assert [one["default"] for one in document["parameters"]] == [None, "0.001", "false", ""]
    refused(call("studies", "scalin"), "did you mean 'scaling'")


def test_what_a_study_file_prints_is_no_part_of_the_answer(call: Call, tmp_path: Path) -> None:
    text = "print('loaded')\ndef mine(*, k: int = 0):\n    print('asked')\n    yield from ()\n"
    (tmp_path / "mine.py").write_text(text)
    ended = call("studies", str(tmp_path / "mine.py"), "--json")
    assert json.loads(ended.out)["name"] == "mine"
    assert ended.err == "loaded\n"
    ended = call("plan", str(tmp_path / "mine.py"), "--json")
    assert json.loads(ended.out)["error"]["exit_code"] == 2
    assert ended.err.startswith("loaded\nasked\nxstilts: the study 'mine' asks for nothing")


def test_every_built_in_study_is_listed_and_says_what_its_parameters_are(call: Call) -> None:
    listed = json.loads(call("studies", "--json").out)["studies"]
    assert [one["name"] for one in listed] == list(STUDIES)
    assert call("studies").out == "".join(f"{one['name']:12} {one['summary']}\n" for one in listed)
    for one in listed:
        document = json.loads(call("studies", one["name"], "--json").out)
        assert document["summary"] == one["summary"] != ""
        assert [parameter["name"] for parameter in document["parameters"] if not parameter["text"]] == []
        defaults = [f"{p['name']}={p['default']}" for p in document["parameters"] if p["default"]]
        function = STUDIES[one["name"]]
        declared = named.defaults(function)
        assert named.parse(function, one["name"], defaults) == {
            word.partition("=")[0]: declared[word.partition("=")[0]] for word in defaults
        }


def test_the_study_of_benchmarks_says_its_recipes_and_refuses_what_is_not_declared(call: Call) -> None:
    told = " ".join(call("studies", "xstilts2020").out.split())
    assert "udpos, panx: 10 epochs, batch 32, 256 tokens, rate 1e-05" in told
    assert all(departure in told for departure in recipes.DEPARTURES)
    assert "Recipes." not in call("studies", "scaling").out
    refused(call("plan", "xstilts2020"), "ccg is not declared", "tasks=anli+,mnli,", "miniature=true")
    lacking = call(
        "plan", "xstilts2020", "tasks=mnli", "targets=xquad", "languages=de", "encoder=tiny", "mlm_examples=0"
    )
    refused(lacking, "mnli/train.jsonl", "squad_v1/train-v1.1.json", "--data DIR")


def test_a_run_says_where_its_time_went(made: Project, tmp_path: Path, call: Call) -> None:
    folder = made.store.parent
    printed, profile = (folder / "out").read_text(), json.loads((folder / "profile" / "profile.json").read_text())
    rows = {(row["kind"], row["phase"]): row for row in profile["rows"]}
    assert {("train", name) for name in ("load", "data", "steps", "dev", "save", "publishing")} <= set(rows)
    assert {("evaluate", name) for name in ("forward", "neighbours", "writing")} <= set(rows)
    assert (rows["train", "steps"]["stages"], rows["evaluate", "forward"]["stages"]) == (2, 4)
    assert sum(row["share"] for row in profile["rows"]) == pytest.approx(1)
    assert profile["wall_seconds"] == pytest.approx(sum(row["seconds"] for row in profile["rows"]), abs=1), "one slot"
    assert re.search(r"^train +steps +[\d.]+ +[\d.]+ % +2$", printed, re.MULTILINE)
    assert printed.endswith(f"{folder}/profile/profile.json\n{folder}/profile/trace.json\n")
    slices = [event for event in json.loads((folder / "profile" / "trace.json").read_text())["traceEvents"]]
    assert sum(event["ph"] == "X" and "id" in event["args"] for event in slices) == 6
    refused(call("run", *made.words(), "--profile", str(folder / "out")), "--profile", "it is a file")


# -- JSON and silence ---------------------------------------------------------------------------------------


def test_a_run_as_json_is_its_outcome(own: Path, made: Project) -> None:
    words = ("run", "own.py", "languages=de", "--data", "data", "--cache", str(made.cache), "--device", "cpu", "--json")
    train = own / "data" / "entails" / "train.jsonl"
    sound = train.read_text()
    train.write_text("[]\n")
    failed = process(*words, "--quiet", "--report", "report", "--profile", "profile", cwd=own)
    document = json.loads(failed.out)
    ((id, message),) = document.pop("failed").items()
    assert failed.err == f"xstilts: {id} failed: {message}\n"
    assert "train.jsonl:1: expected one JSON object, got a list" in message
    assert len(document.pop("blocked")) == 2
    assert document.pop("report")[0] == "report/rows.parquet"
    assert [row["phase"] for row in document.pop("profile")["rows"]] == ["failed", "planning", "idle slots"]
    assert document == {"study": "own", "store": "store", "exit_code": 1, "done": [], "found": 0, "interrupted": False}

    train.write_text(sound)
    done = process(*words, "--report", "data/entails/dev.jsonl", cwd=own)
    assert (done.code, json.loads(done.out)["error"]["exit_code"]) == (2, 2)
    done = process(*words, cwd=own)
    assert (done.code, len(json.loads(done.out)["done"])) == (0, 3)
    assert "3 done, 0 needed nothing" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "STUDY", "--report", "report"),
        ("report", "scaling", "STORE"),
        ("rescore", "STORE"),
        ("store", "export", "copy", "STORE"),
        ("store", "import", "copy", "STORE"),
    ],
    ids=" ".join,
)
def test_quiet_prints_nothing_and_with_json_the_document_alone(
    words: tuple[str, ...], made: Project, call: Call
) -> None:
    assert call("store", "export", "copy", "--store", str(made.store), "--quiet") == Ended(0, "", "")
    there = {"STUDY": made.words(), "STORE": ("--store", str(made.store))}
    full = [part for word in words for part in there.get(word, (word,))]
    assert call(*full, "--quiet") == Ended(0, "", "")
    ended = call(*full, "--quiet", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert isinstance(json.loads(ended.out), dict)


# -- what nobody foresaw ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("what and where"), 2, "what and where"),
        (OSError(13, "Permission denied", "a/file"), 2, "a/file: Permission denied"),
        (OSError(28, "No space left on device", "a/file"), 1, "a/file: No space left on device; make room and give"),
        (ConnectionError("the hub is away"), 1, "the hub is away"),
        (MemoryError(), 1, "out of memory; fewer workers"),
        (MemoryError("16 GiB"), 1, "out of memory: 16 GiB; fewer workers"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyError("stages"), 1, "a bug in xstilts: KeyError: 'stages' (test_cli.py:"),
        (RecursionError("too deep"), 1, "a bug in xstilts: RecursionError: too deep (test_cli.py:"),
    ],
)
def test_every_exception_ends_in_one_message_and_its_exit_code(
    error: BaseException,
    code: int,
    message: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def names() -> tuple[str, ...]:
        raise error

    monkeypatch.setattr(tasks, "names", names)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for words in (("tasks",), ("tasks", "--json")):
        ended = call(*words)
        assert ended.code == code
        assert ended.err.startswith(f"xstilts: {message}")
        assert ended.err.count("\n") == 1
        if "--json" in words:
            expected = {"exit_code": code, "message": ended.err.removeprefix("xstilts: ").rstrip("\n")}
            assert json.loads(ended.out) == {"error": expected}
        else:
            assert ended.out == ""
        bug = re.search(r"its traceback is in (\S+\.txt): please report it", ended.err)
        assert bool(bug) == message.startswith("a bug")
        if bug:
            text = Path(bug[1]).read_text()
            assert text.startswith("Traceback (most recent call last):\n")
            assert text.endswith(f"{type(error).__name__}: {error}\n")
    monkeypatch.setenv("XSTILTS_TRACEBACK", "1")
    shown = call("tasks").err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert f"\nxstilts: {message}" in shown


def test_a_bug_where_no_file_can_be_written(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "names", lambda: {}["x"])
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert "XSTILTS_TRACEBACK=1 shows its traceback" in call("tasks").err


@pytest.mark.parametrize("words", [("tasks",), ("tasks", "--json"), ("studies", "scalin", "--json"), ("--help",)])
def test_a_reader_that_went_away_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=tmp_path,
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    if "scalin" in words:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        assert (done.returncode, done.stderr) == (1, "")


def test_a_run_whose_messages_nobody_reads_ends_quietly(made: Project, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*PROGRAM, "run", *made.words()],
            cwd=tmp_path,
            env=environment(),
            stderr=writer,
            stdout=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stdout) == (1, b"")


# -- completion ---------------------------------------------------------------------------------------------


def completed(shell: str, words: str, cwd: Path) -> list[str]:
    """What a shell would offer for the last of ``words``, by the protocol of its completion script."""
    listed = words.split(" ")
    asked = {"bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(listed) - 1)}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": words}
    )
    asked |= {"_XSTILTS_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    script = """
import sys
from xstilts.cli import main
try:
    main()
finally:
    assert not {"torch", "transformers", "numpy", "pyarrow"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env=environment() | asked, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    if shell == "zsh":
        return [found[1] for line in lines if (found := re.search(r'^(?:.*\(\()?"([^"]+)"', line))]
    return [line.split("\t")[0] for line in lines if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("xstilts resc", ["rescore"]),
        ("xstilts run ", list(STUDIES)),
        ("xstilts studies sc", ["scaling"]),
        ("xstilts run scaling enc", ["encoder=", "encoder=tiny"]),
        ("xstilts run scaling encoder=tiny num_", ["num_subsets=", "num_threads="]),
        ("xstilts run scaling encoder=tiny enc", []),
        ("xstilts run own.py enc", []),
        ("xstilts run scalin enc", []),
        ("xstilts plan --dat", ["--data"]),
        ("xstilts fetch xnl", ["xnli"]),
        ("xstilts fetch xnli mini-", []),
        ("xstilts tasks sh", ["show"]),
        ("xstilts tasks show mini-xe", ["mini-xentities"]),
        ("xstilts status ", ["scaling"]),
        ("xstilts report sc", ["scaling"]),
        ("xstilts rescore --store nowhere ", []),
        ("xstilts rescore --store store ", ["scaling"]),
        ("xstilts store im", ["import"]),
        ("xstilts store export out --study ", ["scaling"]),
    ],
)
def test_completion(words: str, expected: list[str], made: Project) -> None:
    assert completed("bash", words, made.store.parent) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_in_other_shells(shell: str, made: Project) -> None:
    for words, expected in (
        ("xstilts resc", ["rescore"]),
        ("xstilts run scaling enc", ["encoder=", "encoder=tiny"]),
        ("xstilts status ", ["scaling"]),
        ("xstilts status nothing", []),
    ):
        assert completed(shell, words, made.store.parent) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("xstilts run scaling encoder =", []),
        ("xstilts run scaling encoder = ti", []),
        ("xstilts run scaling encoder = tiny enc", []),
        ("xstilts run scaling encoder = tiny k = 0 prec", ["precision=", "precision=float32"]),
    ],
)
def test_completion_of_words_that_bash_splits_at_the_equals_sign(
    words: str, expected: list[str], tmp_path: Path
) -> None:
    assert completed("bash", words, tmp_path) == expected


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _xstilts_completion xstilts"),
        ("zsh", "compdef _xstilts_completion xstilts"),
        ("fish", "complete --command xstilts --no-files"),
    ],
)
def test_the_completion_script_of_every_shell(shell: str, line: str, tmp_path: Path) -> None:
    def script(**variables: str) -> str:
        done = process(*variables.pop("words", "").split(), cwd=tmp_path, **variables)
        assert (done.code, done.err) == (0, "")
        return done.out

    assert line in script(_XSTILTS_COMPLETE=f"source_{shell}")
    chosen = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = script(words=f"--show-completion {shell}", **chosen)
    assert line in shown
    assert f"{shell} completion installed in {tmp_path}" in script(words=f"--install-completion {shell}", **chosen)
    installed = [path.read_text() for path in tmp_path.rglob("*xstilts*") if path.is_file()]
    assert [text.strip() for text in installed] == [shown.strip()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "xstilts"
    program.write_text(f"#!{sys.executable}\n{PROGRAM[2]}\n")
    program.chmod(0o755)
    script = f"""
export PATH={tmp_path}:$PATH
eval "$(_XSTILTS_COMPLETE=source_bash xstilts)"
COMP_WORDS=(xstilts run scaling see); COMP_CWORD=3
_xstilts_completion xstilts
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["seeds=", "seeds=0"], done


# -- a study of one's own -----------------------------------------------------------------------------------

OWN_STUDY = '''
"""A study of a task of one's own."""

from collections.abc import Iterator

from xstilts import Budget, Encoder, Evaluate, Mixture, Recipe, Train, Views, tasks
from xstilts.stage import Stage
from xstilts.tasks import Classify, Files, Pair, Splits, Task, readers

tasks.register(
    Task(
        name="entails",
        kind=Classify(("yes", "no")),
        example=lambda row: Pair(row["text"], row["claim"], row["label"]),
        languages=("en",),
        splits=Splits(train="train", dev="dev"),
        source=Files("entails/{split}.jsonl", readers.jsonl, ("text", "claim", "label")),
        rows={"train": 32, "dev": 8},
        metric="accuracy",
        licence="own",
    )
)


def _recipe(learning_rate: float) -> Recipe:
    return Recipe(learning_rate=learning_rate, batch_examples=8)


def own(*, languages: tuple[str, ...], learning_rate: float = 1e-3, untrained: bool = False) -> Iterator[Stage]:
    encoder = Encoder("tiny")
    trained = Train(encoder, Mixture(("entails",), sizes="present"), Budget(2, "epochs"), _recipe(learning_rate))
    yield Evaluate(trained, "entails", "en", split="dev")
    for model in (encoder, trained) if untrained else (trained,):
        for language in languages:
            yield Evaluate(model, "mini-bitext", language, views=Views(poolings=("mean",)))
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a study file and the data of its task; one training row is malformed."""
    folder = tmp_path / "own"
    (folder / "data" / "entails").mkdir(parents=True)
    (folder / "own.py").write_text(OWN_STUDY)
    for name, num_rows in (("train", 32), ("dev", 8)):
        rows = [
            {"text": f"{n} birds sing", "claim": f"{n + n % 2} birds sing", "label": "no" if n % 2 else "yes"}
            for n in range(num_rows)
        ]
        lines = [json.dumps(row) for row in rows]
        (folder / "data" / "entails" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_study_of_ones_own_with_a_task_of_ones_own(own: Path, made: Project) -> None:
    words = ("own.py", "languages=de,fr", "--data", "data", "--cache", str(made.cache))
    train = own / "data" / "entails" / "train.jsonl"
    sound = train.read_text()
    train.write_text(sound.replace('"label": "no"', '"label": "nope"', 1))  # in line 2
    ended = process("run", *words, "--device", "cpu", cwd=own)
    assert ended.code == 1
    assert "train.jsonl:2: expected a label among yes, no, got 'nope'" in ended.err
    assert "0 done, 0 needed nothing, 1 FAILED, 3 blocked by them" in ended.err
    assert "Traceback" not in ended.err
    (id, log), *others = re.findall(r"^xstilts: (train-\w+) failed: .*; log: (\S+)$", ended.err, re.M)
    assert others == []
    assert "Traceback" in (own / log).read_text()
    status = process("status", "own.py", cwd=own)
    assert f"own: 0 of 4 stages done\n  failed  {id}  tiny + entails (2 epochs, seed 0): {log}\n" in status.out

    train.write_text(sound)
    ended = process("run", *words, "untrained=true", "--device", "cpu", "--report", "report", cwd=own)
    assert ended.code == 0, ended.err
    assert "6 done, 0 needed nothing" in ended.err
    store = Store.open(own / "store", create=False)
    plan = store.plan("own")
    assert plan["parameters"] == {"languages": "de,fr", "learning_rate": "0.001", "untrained": "true"}
    (trained,) = store.records("train")
    assert trained["result"]["tasks"]["entails"]["examples"] == 64
    measured = [id for id in plan["leaves"] if store.record(id)["declaration"]["task"] == "entails"]
    (value,) = store.scores(measured[0])["accuracy-v1"]["values"]
    assert value["num_examples"] == 8
    assert {row["task"] for row in pyarrow.csv.read_csv(own / "report" / "rows.csv").to_pylist()} == {
        "entails",
        "mini-bitext",
    }

    assert process("report", "own.py", "--out", "again", cwd=own).code == 0  # knows the task from the file
    assert process("rescore", "own.py", cwd=own).out == "5 measurements, 0 new scores\n"
    assert (own / "again" / "report.md").read_bytes() == (own / "report" / "report.md").read_bytes()
    refused(process("rescore", cwd=own), "unknown task 'entails'")


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        ("x = 1\n\ndef own(:\n    yield 1\n", (), ("own.py:3: invalid syntax",)),
        ("def own():\nyield 1\n", (), ("own.py:2: expected an indented block",)),
        (OWN_STUDY, (), ("the study 'own' needs a value for languages",)),
        (OWN_STUDY, ("languages=de", "untrained=maybe"), ("untrained=maybe: ", "expected one of true, false")),
        (OWN_STUDY, ("langauges=de",), ("unknown parameter of the study 'own'", "did you mean 'languages'")),
        (OWN_STUDY, ("languages=de",), ("no rows of entails/train", "entails/train.jsonl", "--data DIR")),
        (OWN_STUDY.replace('"entails"', '"mini-nli"'), (), ("task 'mini-nli' is declared twice",)),
        ("def one():\n    yield\n\ndef two():\n    yield\n", (), ("unknown study function of own.py", "one, two")),
        ("def own():\n    yield from ()\n", (), ("the study 'own' asks for nothing",)),
    ],
)
def test_a_mistake_in_a_study_file(text: str, words: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(text)
    refused(process("run", "own.py", *words, cwd=tmp_path), *parts)
    assert not (tmp_path / "store").exists()


def test_a_study_function_by_name(made: Project, tmp_path: Path) -> None:
    text = (
        "from xstilts.studies.scaling import scaling\n\ndef small():\n"
        "    yield from scaling(k=(0,), languages=('de',), targets=('mini-bitext',))"
    )
    (tmp_path / "own.py").write_text(text + "\n\ndef large():\n    yield from scaling()\n")
    ended = process("plan", "own.py:small", "--cache", str(made.cache), cwd=tmp_path)
    assert ended.out.startswith("small: 2 stages for 1 leaves\n")
    refused(process("plan", "own.py:smal", cwd=tmp_path), "did you mean 'small'?")


# -- stopping, going on and retention -----------------------------------------------------------------------


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(made: Project, tmp_path: Path) -> None:
    study = ("scaling", "mlm_examples=960", "k=0", "targets=mini-bitext", "languages=de", "poolings=mean")
    words = ("run", *study, "--device", "cpu", "--store", "store", "--cache", str(made.cache))
    driver = subprocess.Popen(
        [*PROGRAM, *words, "--checkpoint-seconds", "0"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("store/work/train-*/checkpoint-*")):
            assert time.monotonic() < deadline
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.005)
        os.killpg(driver.pid, signal.SIGINT)  # a terminal sends it to the whole group
        _, err = driver.communicate(timeout=300)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 130
    assert "stopping: every worker writes a checkpoint first" in err
    stopped = re.search(r"interrupted train .* \(stopped at step (\d+) of 30\)", err)
    assert stopped, err
    assert "interrupted: 0 done, 0 needed nothing\nthe same command goes on from here\n" in err
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err

    ended = process(*words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (record,) = Store.open(tmp_path / "store", create=False).records("train")
    assert record["result"]["resumed_at_step"] == int(stopped[1]) > 0
    assert record["result"]["steps"] == 30
    assert not list(tmp_path.glob("store/work/train-*"))


def test_ctrl_c_before_anything_runs_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import sys, time\nprint('imported', file=sys.stderr, flush=True)\ntime.sleep(30)\ndef slow():\n    yield\n"
    )
    driver = subprocess.Popen(
        [*PROGRAM, "run", "slow.py"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    assert driver.stderr is not None
    assert driver.stderr.readline() == "imported\n"
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()


def test_keep_none_drops_weights_and_a_later_leaf_makes_them_again(made: Project, call: Call, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "store")
    store = Store.open(project.store)
    assert call("run", *project.words(), "--keep", "none").code == 0  # everything is done: only weights go
    trains = trains_of(project)
    assert [store.usable(id) for id in trains] == [False, False]
    assert "verified 6 stages: all intact" in call("status", "--verify", "--store", str(project.store)).out
    study = [word.replace("de,tr", "de,tr,fr") for word in STUDY]
    plan = call("plan", *project.words(*study)).out
    assert re.search(r"train +2 in all, +2 stored, +2 to run", plan)
    assert f"{trains[0]}  tiny + mini-text (64 examples, seed 0): its weights were dropped and are needed" in plan
    ended = process("run", *project.words(*study), "--keep", "none", "--device", "cpu", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert len(re.findall(r"s, made again\)", ended.err)) == 2  # with the same bytes as before
    assert "4 done, 4 needed nothing" in ended.err
    assert [store.usable(id) for id in trains] == [False, False]
    assert list((project.store / "stages").glob("*/**/*.safetensors")) == []
    assert "verified 8 stages: all intact" in call("status", "--verify", "--store", str(project.store)).out
