"""The benchmarks: each runs its smallest case from end to end and writes a result of the common layout."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from conftest import REPOSITORY
from xstilts import tasks
from xstilts.engine import model

FOLDER = REPOSITORY / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark as its own script does; what it declares and its children's environment are forgotten."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    for variable, value in {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(variable, value)
    yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)


def saved(folder: Path, name: str) -> dict[str, Any]:
    """The result file, held to the layout that every benchmark has."""
    document = json.loads((folder / f"{name}-cpu.json").read_text())
    assert {"what", "command", "device", "num_cpus", "versions", "date"} <= document.keys()
    assert document["name"] == name
    assert document["command"].startswith(f"python benchmarks/{name}.py")
    assert all(isinstance(line, str) for line in document["open"])
    assert document["rows"]
    for row in document["rows"]:
        assert row.keys() == {"case", "unit", "ours", "rivals", "ratio"}
        assert row["rivals"].keys() == row["ratio"].keys()
        for values in (row["ours"], *row["rivals"].values()):
            assert values
            assert all(value >= 0 for value in values)
        assert all(ratio > 0 for ratio in row["ratio"].values())
    return document


RIVALS = ("accelerate", "faiss", "sentence_transformers")


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_imports_and_says_its_command(load: Any, name: str) -> None:
    try:
        module = load(name)
    except ModuleNotFoundError as error:
        if error.name not in RIVALS:
            raise
        pytest.skip(f"{error.name} is not installed: pip install 'xstilts[bench]'")
    assert not hasattr(module, "main") or f"python benchmarks/{name}.py" in module.__doc__


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("training", ["--cases", "middle-nli"]),
        ("training", ["--rivals", "sorted"]),
        ("training", ["--device", "tpu"]),
        ("training", ["--steps", "5", "--warmup", "3", "--repeats", "3"]),
        ("economy", ["--tasks", "0"]),
        ("packing", ["--shapes", "few"]),
    ],
)
def test_options_that_cannot_work_are_refused(load: Any, name: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(name).main(words)
    assert ended.value.code == 2


# ------------------------------------------------------------ measuring


class Fake:
    """A side whose windows take the seconds it is given; ``log`` is what was asked of whom."""

    def __init__(self, measure: ModuleType, name: str, log: list[str], *, fails_at: int = 99) -> None:
        self._unable, self._name, self._log, self._left = measure.Unable, name, log, fails_at

    def go(self) -> None:
        self._log.append(self._name)

    def answer(self, expected: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._unable(f"{self._name} is out of memory")
        return {"ready": None, "window": 2.0, "done": f"{self._name}'s"}[expected]

    def end(self) -> None:
        self._log.append(f"{self._name} ends")


def test_sides_take_turns_in_one_order_and_then_the_other(load: Any) -> None:
    measure = load("measure")
    log: list[str] = []
    names = ("ours", "b", "late")
    works = {name: lambda name=name: Fake(measure, name, log, fails_at=2 if name == "late" else 99) for name in names}
    seconds, returned, unable = measure.race(works, repeats=2)
    assert log == ["ours", "b", "late", "late", "late ends", "b", "ours", "ours", "b", "ours ends", "b ends"]
    assert seconds == {"ours": [2.0, 2.0], "b": [2.0, 2.0]}
    assert returned == {"ours": "ours's", "b": "b's"}
    assert unable == {"late": "late is out of memory"}


def test_a_ratio_above_one_means_that_ours_is_faster(load: Any) -> None:
    row = load("measure").Row("case", "s", [1.0, 2.0, 4.0])
    row.against("slow", row.ours, [3.0, 8.0, 8.0], more_is_faster=False)
    assert row.ratio == {"slow": 3.0}
    row.against("half", row.ours, [0.5, 1.0, 1.0], more_is_faster=True)
    assert row.ratio["half"] == 2.0


# ------------------------------------------------------------ training


def test_training_beside_the_trainer(load: Any, tmp_path: Path) -> None:
    words = "--cases tiny-tokens --precisions float32 --steps 4 --warmup 2 --repeats 1 --threads 1 --peak-size 64"
    load("training").main([*words.split(), "--rivals", "grouped", "--save", "--results", str(tmp_path)])
    document = saved(tmp_path, "training")
    units = [row["unit"] for row in document["rows"]]
    assert units == ["non-padding tokens/s", "examples/s", "share of the bfloat16 peak"]
    tokens, examples, _ = (row["ours"] for row in document["rows"])
    assert 40 < tokens[0] / examples[0] < 44  # the mean length
    if find_spec("accelerate") is None:
        assert any("tiny-tokens, float32: grouped" in line and "accelerate" in line for line in document["open"])
    else:
        theirs = [row["rivals"]["grouped"][0] for row in document["rows"][:2]]
        assert 40 < theirs[0] / theirs[1] < 44


def test_a_stage_is_timed_cold_and_warm(load: Any, tmp_path: Path) -> None:
    words = "--cases tiny-nli-stage --precisions float32 --stage-steps 2 --repeats 1 --threads 1 --rivals"
    load("training").main([*words.split(), "--save", "--results", str(tmp_path)])
    cold, warm = saved(tmp_path, "training")["rows"]
    assert cold["unit"].endswith("cold start")
    assert warm["ours"] < cold["ours"]


def test_both_sides_read_the_same_questions(load: Any, tmp_path: Path) -> None:
    training = load("training")
    job = training.prepare(tmp_path, "tiny-qa", "float32", training.parse(["--cases", "tiny-qa"]), 2)
    table = job.tokenised()
    features = training.pickle.loads(job.features.read_bytes())
    assert len(table) == len(features) == 64
    for row, feature in enumerate(features):
        ids, columns, lengths = table.example(row)
        assert feature["input_ids"] == ids.tolist()
        assert len(lengths) == 1, "one window an example"
        assert columns["answer_first"][feature["start_positions"]] == 1
        assert 0 < feature["start_positions"] == feature["end_positions"] < len(ids) - 1
    assert 3 not in np.concatenate([table.example(row)[0] for row in range(64)]), "an unknown word"
    steps: list[int] = []
    returned = training.ours(None, job, steps.append)
    assert steps == [0, 1]
    assert sum(returned["tokens"]) == sum(table.num_tokens)
    assert len(returned["losses"]) == 2


def test_the_operations_of_a_token_are_counted_by_the_parameters_of_the_layers(load: Any, tmp_path: Path) -> None:
    made = load("made")
    shape = made.SHAPES["tiny"]
    layers = model.Model(made.encoder_folder(tmp_path, shape)).encoder.model.encoder.parameters()
    number = sum(parameter.numel() for parameter in layers)
    lengths = np.array([10, 30])
    attention = 12 * shape.num_layers * shape.hidden_size * (100 + 900)
    assert shape.flops_per_token(lengths) * 40 == pytest.approx(6 * number * 40 + attention)


# ------------------------------------------------------------ packing


def quantiles(token_counts: np.ndarray, num_shapes: int = 8) -> tuple[int, ...]:
    """A choice of shapes that is good enough for a test."""
    levels = np.linspace(1 / num_shapes, 1, num_shapes)
    return tuple(np.unique(np.quantile(token_counts, levels, method="higher")).tolist())


def test_wasted_tokens_by_hand(load: Any) -> None:
    bench = load("packing")
    assert bench.shape_tokens(np.array([3, 5, 6, 10]), (5, 10)) == 5 + 5 + 10 + 10
    with pytest.raises(ValueError, match="up to 11 tokens"):
        bench.shape_tokens(np.array([3, 11]), (5, 10))
    assert bench.padded_tokens(np.array([[1, 4], [2, 3]]), most=9) == {
        "padded to the longest allowed": 36,
        "padded to the longest": 2 * (4 + 3),
        "padded, grouped by length": 2 * (4 + 2),
    }


def test_wasted_tokens_of_every_distribution(load: Any, tmp_path: Path) -> None:
    bench = load("packing")
    words = ["--steps", "60", "--repeats", "2", "--save", "--results", str(tmp_path)]
    bench.main(words, quantiles)
    rows = saved(tmp_path, "packing")["rows"]
    assert len(rows) == len(bench.LENGTHS) * (len(bench.BATCHES) + 1)
    for row in rows:
        for rival in ("one shape", "padded to the longest allowed"):
            assert row["ratio"][rival] >= 1
        assert max(row["ours"]) < 0.3
    assert not saved(tmp_path, "packing")["open"]

    def longest(token_counts: np.ndarray, num_shapes: int) -> tuple[int, ...]:
        return (int(token_counts.max()) * 2,)

    bench.main(words, longest)
    assert len(saved(tmp_path, "packing")["open"]) == 1 + len(bench.LENGTHS), "goals that were missed"


# ------------------------------------------------------------ economy


@pytest.mark.slow
def test_a_study_with_sharing_beside_every_cell_by_itself(load: Any, cache_dir: Path, tmp_path: Path) -> None:
    words = "--tasks 1 --examples 32 --targets mini-bitext --languages de --repeats 1 --save"
    places = ["--cache", str(cache_dir), "--results", str(tmp_path)]
    load("economy").main([*words.split(), *places, "--rivals", "one process"])
    (row,) = saved(tmp_path, "economy")["rows"]
    assert row["case"] == "2 cells, 3 stages, 3 when nothing is shared"


# ------------------------------------------------------------ memory, quality


def test_memory_beyond_the_vectors(load: Any, tmp_path: Path) -> None:
    load("memory").main(["--scale", "0.002", "--save", "--results", str(tmp_path)])
    document = saved(tmp_path, "memory")
    assert [row["case"] for row in document["rows"]] == ["mewsli-x, 30 x 2,000 x 768", "bucc, 400 x 400 x 384"]
    assert not document["open"]
    for row in document["rows"]:
        assert 0 < row["ours"][0] < 1


def test_the_fast_path_and_the_plain_one_learn_from_the_same_steps(load: Any, tmp_path: Path) -> None:
    quality = load("quality")
    words = ["--seeds", "2", "--steps", "2", "--mlm", "32", "--save", "--results", str(tmp_path)]
    quality.main(words)
    (row,) = saved(tmp_path, "quality")["rows"]
    assert len(row["ours"]) == len(row["rivals"]["plain"]) == 2
    assert all(20 < value < 50 for value in [*row["ours"], *row["rivals"]["plain"]]), "guessing three labels"
    assert quality.difference([0.5, 0.7], [0.4, 0.4])[0] == pytest.approx(0.2)
    assert quality.difference([0.5, 0.7], [0.4, 0.4])[1] == pytest.approx(12.706 * 0.1, abs=1e-3)
