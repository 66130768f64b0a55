"""Trackers beside the store: what they are told, that they change nothing, and that their failures stay theirs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from program import Call, environment, process, refused
from small import TINY
from xstilts import Budget, Evaluate, Mixture, Train, Views, sinks
from xstilts.progress import Quiet
from xstilts.run import FOUND, Outcome, Settings, run
from xstilts.sinks import Track, Tracked
from xstilts.store import Store
from xstilts.study import Plan, Sources, make_plan

SECRET = "hf_a-secret-of-twenty"
STUDY = """
from small import TINY
from xstilts import Budget, Evaluate, Mixture, Train, Views


def leaves():
    model = Train(TINY, Mixture(("mini-nli+", "mini-paraphrase")), Budget(64), seed=3)
    yield Evaluate(model, "mini-nli", "en", split="dev")
    yield Evaluate(model, "mini-bitext", "de", views=Views())
    yield Evaluate(TINY, "mini-bitext", "de", views=Views())
"""
STUB = """
import json, os, sys, time
from pathlib import Path

class Writer:
    def __init__(self, folder):
        print("a tracker talks")
        Path(folder).mkdir(parents=True)
        self.file = open(Path(folder) / "told", "w")

    def add_scalar(self, key, value, step):
        {trouble}
        self.file.write(json.dumps([key, value, step]) + "\\n")

    def close(self):
        {at_close}
        self.file.close()
"""


def leaves() -> Iterator[Evaluate]:
    model = Train(TINY, Mixture(("mini-nli+", "mini-paraphrase")), Budget(64), seed=3)
    yield Evaluate(model, "mini-nli", "en", split="dev")
    yield Evaluate(model, "mini-bitext", "de", views=Views())
    yield Evaluate(TINY, "mini-bitext", "de", views=Views())


def stub(folder: Path, trouble: str = "pass", at_close: str = "pass") -> Path:
    """A package of TensorBoard's name that writes what it is told as lines of JSON."""
    (folder / "tensorboard").mkdir(parents=True)
    (folder / "tensorboard" / "__init__.py").touch()
    (folder / "tensorboard" / "summary.py").write_text(STUB.format(trouble=trouble, at_close=at_close))
    return folder


@dataclass(frozen=True)
class Done:
    """A study that was run with a tracker: its plan, its store, what the tracker has, what the command printed."""

    plan: Plan
    root: Path
    told: Path
    out: str
    err: str

    @property
    def store(self) -> Store:
        return Store.open(self.root, create=False)

    def replay(self, track: Track) -> None:
        """Tell a tracker of the stored stages, as the run did."""
        view = Tracked(Quiet(), self.root, (track,))
        view.begin(self.plan, dict.fromkeys(self.plan.stages, "run"), Settings(None, self.root))
        for stage in self.plan.stages.values():
            view.started(0, stage)
            view.ended(0, stage, "done", "1.0 s")
            view.tick()
        view.end(Outcome())


@pytest.fixture(scope="module")
def done(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "mine.py").write_text(STUDY)
    path = os.pathsep.join([str(stub(folder / "stub")), str(Path(__file__).parent), *filter(None, sys.path)])
    words = ("run", "mine.py:leaves", "--store", "store", "--cache", str(cache_dir), "--device", "cpu", "--json")
    ended = process(*words, "--track", "tensorboard:told", cwd=folder, PYTHONPATH=path, HF_TOKEN=SECRET)
    assert ended.code == 0, ended.err
    plan = make_plan("leaves", leaves(), Sources(None, cache_dir))
    return Done(plan, folder / "store", folder / "told" / "leaves", ended.out, ended.err)


def told(folder: Path) -> list[tuple[str, float, int]]:
    return [tuple(json.loads(line)) for line in (folder / "told").read_text().splitlines()]  # type: ignore[misc]


def expected(done: Done, id: str) -> dict[tuple[str, int], float]:
    """What a tracker has to have of a model, read from the store by hand."""
    found: dict[tuple[str, int], float] = {}
    stage = done.plan.stages.get(id)
    if stage is not None:
        lines = [json.loads(line) for line in (done.root / "stages" / id / "log.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        for line in steps:
            found |= {(f"train/{name}", line["step"]): line[name] for name in ("loss", "learning_rate", "tokens")}
        (dev,) = (line for line in lines if "dev" in line)
        for task in ("mini-nli+", "mini-paraphrase"):
            found[f"dev/{task}/accuracy", dev["step"]] = dev["dev"][task]["accuracy"]
        found["train/tokens_per_second", dev["step"]] = done.store.record(id)["result"]["tokens_per_second"]
    for leaf in done.plan.stages.values():
        if isinstance(leaf, Evaluate) and leaf.model.id == id:
            (score,) = done.store.scores(leaf.id).values()
            for value in score["values"]:
                name = f"{leaf.task}/{leaf.split}/{leaf.language}/accuracy"
                if leaf.task == "mini-bitext":
                    name += f"/{value['pooling']}/" + {"xx->en": "xx-to-en", "en->xx": "en-to-xx"}[value["direction"]]
                found[name, value.get("layer", 0)] = value["value"]
    return found


def models(done: Done) -> tuple[str, str]:
    """The ids of the training and of the encoder that was not trained."""
    train = next(id for id in done.plan.stages if id.startswith("train-"))
    (encoder,) = {leaf.model.id for leaf in done.plan.stages.values() if isinstance(leaf, Evaluate)} - {train}
    return train, encoder


def test_a_tracker_has_every_step_once_and_every_score(done: Done) -> None:
    assert {folder.name for folder in done.told.iterdir()} == {*models(done)}
    for id in models(done):
        values = told(done.told / id)
        assert len(values) == len({(key, step) for key, _, step in values})
        found = {(key, step): value for key, value, step in values}
        wanted = expected(done, id)
        assert {key: found[key] for key in wanted} == wanted
        assert {key for key in found if not key[0].startswith("dev/")} == {k for k in wanted if k[0][:4] != "dev/"}


def test_a_model_says_who_it_is_and_nothing_else(done: Done) -> None:
    train, encoder = models(done)
    config = json.loads((done.told / train / "config.json").read_text())
    assert (config["stage"], config["study"], config["kind"], config["encoder"]) == (train, "leaves", "train", "tiny")
    assert config["name"] == config["label"] == "tiny + mini-nli++mini-paraphrase (64 examples, seed 3)"
    assert (config["seed"], config["budget.amount"], config["mixture.tasks"]) == (3, 64, "mini-nli+, mini-paraphrase")
    assert not any(key.startswith("data") for key in config)
    assert json.loads((done.told / encoder / "config.json").read_text())["label"] == "tiny"
    files = [path for path in (*done.told.rglob("*"), *done.root.rglob("*")) if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_document_is_alone_on_standard_output(done: Done) -> None:
    assert len(json.loads(done.out)["done"]) == len(done.plan.stages)
    assert "a tracker talks" not in done.err
    assert "warning" not in done.err


def test_a_run_without_trackers_gives_the_same_bits(done: Done, cache_dir: Path, tmp_path: Path) -> None:
    plain = Store.open(tmp_path / "store")
    assert run(done.plan, plain, Settings(None, cache_dir), Quiet()).exit_code == 0
    assert plain.ids() == done.store.ids()
    for id in plain.ids():
        assert plain.record(id)["files"] == done.store.record(id)["files"]
        assert plain.scores(id) == done.store.scores(id)


# -- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "at_close", "why"),
    [
        ("raise OSError(28, 'No space left on device', 'told')", "pass", "told: No space left on device"),
        ("raise ConnectionError('no way to https://me:word@host/x, HF_TOKEN=' + os.environ['HF_TOKEN'])", "pass",
         "no way to https://***@host/x, HF_TOKEN=***\n"),
        ("os._exit(7)", "pass", "its process ended with code 7"),
        ("raise SystemExit(2)", "pass", "SystemExit: 2"),
        ("pass", "time.sleep(600)", "it did not end in 1 s"),
    ],
)  # fmt: skip
def test_a_tracker_that_fails_is_named_once_and_nothing_else_happens(
    trouble: str,
    at_close: str,
    why: str,
    done: Done,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(stub(tmp_path / "stub", trouble, at_close)))
    monkeypatch.setattr(sinks, "END_SECONDS", 300 if at_close == "pass" else 1)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    done.replay(Track("tensorboard", str(tmp_path / "told")))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("warning: --track tensorboard failed and is left out from here; the run goes on: ") == 1
    assert why in printed.err
    assert len(printed.err.splitlines()) == 1


def test_what_cannot_be_tracked_is_refused_before_anything_runs(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(call("run", "demo", "--track", "tensorbord"), "'tensorbord'", "tensorboard")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    refused(call("run", "demo", "--track", "wandb:mine"), "pip install 'xstilts[wandb]'")
    refused(call("run", "demo", "--track", "mlflow,mlflow:http://host:5000"), "mlflow is given twice")
    assert not list(Path().iterdir())
    assert sinks.parse("mlflow:http://host:5000,trackio") == (Track("mlflow", "http://host:5000"), Track("trackio"))


# -- what is told, and when ---------------------------------------------------------------------------------


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Id, name and number of points of all that trackers are told, in place of their processes."""
    found: list[tuple[str, str, int]] = []

    class Kept:
        def __init__(self, track: Track, study: str) -> None:
            found.append((track.name, study, -1))

        def put(self, id: str, name: str, config: Any, points: Any) -> None:
            found.append((id, name, len(points)))

        def end(self, deadline: float) -> None:
            assert found[-1] == ("", "", 0)

    monkeypatch.setattr(sinks, "_Outlet", Kept)
    return found


def test_a_stage_that_was_stopped_and_goes_on_is_told_once(done: Done, messages: list[tuple[str, str, int]]) -> None:
    train, encoder = models(done)
    others = [stage for id, stage in done.plan.stages.items() if id != train]
    view = Tracked(Quiet(), done.root, (Track("wandb"),))
    view.begin(done.plan, dict.fromkeys(done.plan.stages, "run"), Settings(None, done.root))
    for how in ("interrupted", "busy", "done"):
        view.started(0, done.plan.stages[train])
        view.ended(0, done.plan.stages[train], how, "")
    assert [message[0] for message in messages] == ["wandb", train]
    for stage, note in zip(others, ("1.0 s", FOUND, "1.0 s"), strict=True):
        view.started(0, stage)
        view.ended(0, stage, "done", note)
    view.end(Outcome())
    ends = [id for id, name, _ in messages if not name]
    assert sorted(ends) == sorted([train, encoder, ""])
    assert ends[-1] == ""
    assert [name for _, name, _ in messages].count("tiny") + [id for id, _, _ in messages].count(train) == 4


def test_a_stage_whose_worker_died_as_it_was_published_is_told(
    done: Done, messages: list[tuple[str, str, int]]
) -> None:
    train = done.plan.stages[models(done)[0]]
    view = Tracked(Quiet(), done.root, (Track("wandb"),))
    view.begin(done.plan, dict.fromkeys(done.plan.stages, "run"), Settings(None, done.root))
    for how, note in (("lost", "killed"), ("done", FOUND)):
        view.started(0, train)
        view.ended(0, train, how, note)
    assert [id for id, name, _ in messages if name].count(train.id) == 1


def test_weights_that_are_made_again_are_not_told_again(done: Done, messages: list[tuple[str, str, int]]) -> None:
    train = done.plan.stages[models(done)[0]]
    view = Tracked(Quiet(), done.root, (Track("wandb"),))
    view.begin(done.plan, {train.id: "remake"}, Settings(None, done.root))
    view.started(0, train)
    view.ended(0, train, "done", "")
    assert messages[1:] == [(train.id, "", 0)]


# -- the real packages, offline -----------------------------------------------------------------------------


def read_back(program: str, *arguments: object, **variables: str) -> Any:
    """What a program prints as JSON that reads what a tracker has written, in a process without our warnings."""
    words = [sys.executable, "-c", program, *map(str, arguments)]
    path = os.pathsep.join(filter(None, sys.path))
    found = subprocess.check_output(words, text=True, env=environment() | {"PYTHONPATH": path} | variables)
    return json.loads(found.splitlines()[-1])


def tensorboard_values(folder: Path, done: Done) -> dict[str, list[list[Any]]]:
    pytest.importorskip("tensorboard", reason="pip install 'xstilts[tensorboard]'")
    done.replay(Track("tensorboard", str(folder)))
    return read_back(
        """
import json, sys
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
found = {}
for run in (Path(sys.argv[1]) / "leaves").iterdir():
    events = EventAccumulator(str(run), {TENSORS: 0})
    events.Reload()
    found[run.name] = [[tag, event.step, float(make_ndarray(event.tensor_proto))]
                       for tag in events.Tags()["tensors"] for event in events.Tensors(tag)]
print(json.dumps(found))
""",
        folder,
    )


def mlflow_values(folder: Path, done: Done) -> dict[str, list[list[Any]]]:
    done.replay(Track("mlflow", folder.as_uri()))
    return read_back(
        """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
(experiment,) = [one for one in client.search_experiments() if one.name == "leaves"]
found = {}
for run in client.search_runs([experiment.experiment_id]):
    assert run.info.status == "FINISHED", run.info.status
    found[run.data.params["stage"]] = [[key, point.step, point.value] for key in run.data.metrics
                                       for point in client.get_metric_history(run.info.run_id, key)]
print(json.dumps(found))
""",
        folder.as_uri(),
    )


def trackio_values(folder: Path, done: Done) -> dict[str, list[list[Any]]]:
    done.replay(Track("trackio", "mine"))
    return read_back(
        """
import json, sys
from trackio.sqlite_storage import SQLiteStorage
found = {}
for name in SQLiteStorage.get_runs("mine"):
    name = name if isinstance(name, str) else name["name"]
    lines = SQLiteStorage.get_logs("mine", name)
    stage = name.rpartition("[")[2].rstrip("]")
    found[stage] = [[key, line["step"], value] for line in lines for key, value in line.items() if "/" in key]
print(json.dumps(found))
""",
    )


def wandb_values(folder: Path, done: Done) -> dict[str, list[list[Any]]]:
    done.replay(Track("wandb", "somebody/mine"))
    return read_back(
        """
import json, struct, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

def records(data):  # LevelDB's log format behind 7 bytes: blocks of parts with a checksum, a length and a type
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""

found = {}
for path in Path(sys.argv[1]).rglob("*.wandb"):
    values = []
    for record in records(path.read_bytes()):
        if record.HasField("run") and record.run.config.update:
            assert (record.run.entity, record.run.project, record.run.run_group) == ("somebody", "mine", "leaves")
            stage = next(json.loads(one.value_json) for one in record.run.config.update if one.key == "stage")
        if record.HasField("history"):
            line = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in record.history.item}
            values += [[key, line["step"], value] for key, value in line.items() if "/" in key]
    found[stage] = values
print(json.dumps(found))
""",
        folder,
    )


@pytest.mark.parametrize("values", [tensorboard_values, mlflow_values, trackio_values, wandb_values])
def test_the_real_package_has_what_the_store_has(
    values: Callable[[Path, Done], dict[str, list[list[Any]]]],
    done: Done,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = values.__name__.removesuffix("_values")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'xstilts[{package}]'")
    folder = tmp_path / "written"
    folder.mkdir()
    monkeypatch.setattr(sinks, "END_SECONDS", 600)  # a busy machine
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_API_KEY": SECRET,
        "HF_TOKEN": SECRET,
        "TRACKIO_DIR": str(folder),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    found = values(folder, done)
    assert capsys.readouterr() == ("", "")
    assert set(found) == {*models(done)}
    for id, told in found.items():
        points = {(key, step): value for key, step, value in told}
        assert len(points) == len(told)
        wanted = expected(done, id)
        if package == "mlflow":  # it refuses + and @ in names
            wanted = {(key.replace("+", "-"), step): value for (key, step), value in wanted.items()}
        assert {key: points[key] for key in wanted} == pytest.approx(wanted, rel=1e-6)  # TensorBoard has float32
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
