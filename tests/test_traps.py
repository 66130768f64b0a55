"""The traps of docs/traps.md: every one has tests that exist, and those that have no other home are here."""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import REPOSITORY
from small import encoded, some
from test_architecture import FILES, calls, imports, module_of, name_of
from test_encoder import ARCHITECTURES
from test_sources import COMMIT, publish, write
from xstilts import tasks
from xstilts.engine import Context, perform
from xstilts.engine.folders import build_tiny
from xstilts.engine.kinds import KINDS
from xstilts.engine.model import Model
from xstilts.engine.packing import collate
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS, Recipe
from xstilts.report import stats
from xstilts.stage import Encoder, Evaluate, Train
from xstilts.tasks import Hub, Text

pytestmark = pytest.mark.usefixtures("hub_cache")

TESTS = Path(__file__).parent
CPU = torch.device("cpu")
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
DEPENDENCIES = {
    *("filelock", "huggingface-hub", "numpy", "pyarrow", "rich", "safetensors", "scipy", "tokenizers", "torch"),
    *("transformers", "typer"),
}


def rows() -> dict[str, list[str]]:
    lines = (REPOSITORY / "docs" / "traps.md").read_text().splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| T")]
    return {row[0].strip(): row[1:] for row in cells}


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


# ------------------------------------------------------------ the page


def test_every_trap_is_on_the_page_with_what_is_done_and_tests_that_exist() -> None:
    found = rows()
    assert list(found) == [f"T{number}" for number in range(1, 25)]
    for name, (trap, done, tests) in found.items():
        assert trap.strip(), name
        assert done.strip(), name
        named = NAMED.findall(tests)
        assert named, f"{name} has no test"
        assert NAMED.sub("", tests).strip() == "", f"{name} names something that is no test"
        for file, test in named:
            assert test in functions(TESTS / file), f"{name}: {file} has no {test}"


def test_every_test_of_this_file_is_on_the_page() -> None:
    named = {test for _, _, tests in rows().values() for file, test in NAMED.findall(tests) if file == "test_traps.py"}
    ours = {name for name in functions(Path(__file__)) if name.startswith("test_")}
    assert ours - named == {
        "test_every_trap_is_on_the_page_with_what_is_done_and_tests_that_exist",
        "test_every_test_of_this_file_is_on_the_page",
    }


# ------------------------------------------------------------ data


@pytest.mark.parametrize(
    ("task", "path", "text", "message"),
    [
        ("xnli", "xnli/test-de.tsv", "Satz\tSatz\n", "expected 3 columns"),
        ("paws-x", "pawsx/test-de.tsv", "Satz\tSatz\n", "expected 3 columns"),
        ("paws-x", "pawsx/test-de.tsv", "Satz\tSatz\t\n", "expected a label from 0 to 1, got ''"),
        ("panx", "panx/test-de.tsv", "Wort\nWort\n", "expected 2 columns"),
        ("udpos", "udpos/test-de.tsv", "Wort\n", "expected 2 columns"),
    ],
)
def test_a_copy_without_labels_is_refused_with_its_place(
    task: str, path: str, text: str, message: str, tmp_path: Path
) -> None:
    """T4: as XTREME's preprocessing leaves its test sets."""
    write(tmp_path, text, path)
    with pytest.raises(ValueError, match=re.escape(path) + ":1: " + re.escape(message)):
        tasks.examples(tasks.find(task), "test", "de", tmp_path)


def test_shards_are_read_in_order_of_name(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T7: whatever order the file system has."""
    task = replace(
        tasks.find("mini-text"),
        languages=("en",),
        rows={},
        source=Hub("a/b", COMMIT, {"train": "part-*.parquet"}, {"text": "text"}),
    )
    for number in (2, 0, 1):
        publish(hub_cache, "a/b", f"part-{number}.parquet", {"text": [f"row {number}"]})
    expected = [Text(f"row {number}") for number in range(3)]
    assert tasks.examples(task, "train", "en") == expected
    unsorted = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *words: iter(sorted(unsorted(*words), reverse=True)))
    assert tasks.examples(task, "train", "en") == expected


def test_udpos_has_no_dev_rows_in_four_languages(tmp_path: Path) -> None:
    """T7."""
    udpos = tasks.find("udpos")
    assert set(udpos.languages) - set(udpos.languages_of("dev")) == {"kk", "th", "tl", "yo"}
    with pytest.raises(ValueError, match="unknown language of udpos/dev 'th'"):
        tasks.examples(udpos, "dev", "th", tmp_path)


# ------------------------------------------------------------ models


@pytest.fixture(scope="module")
def small_encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    texts = [example.text for example in tasks.examples(tasks.find("mini-text"), "train", "en")[:200]]
    folder = tmp_path_factory.mktemp("architectures")
    sizes = {"vocab_size": 200, "hidden_size": 16, "num_layers": 1, "intermediate_size": 24, "max_positions": 80}
    for architecture in ARCHITECTURES:
        build_tiny(folder / architecture, texts, architecture=architecture, **sizes)
    return {architecture: folder / architecture for architecture in ARCHITECTURES}


@pytest.mark.parametrize("name", ["mini-xnli", "mini-xtags", "mini-xqa", "mini-xchoice"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kind_has_a_head_on_every_architecture(
    architecture: str, name: str, small_encoders: dict[str, Path]
) -> None:
    """T11: a loss that every weight of the head has a part in, and the encoder down to its embeddings."""
    torch.manual_seed(0)
    model, kind = Model(small_encoders[architecture]), tasks.find(name).kind
    functions = KINDS[kind.name]
    batch = collate(encoded(kind, some(name, "en", 4), model.tokenizer, 60), range(4), CPU)
    head = functions.head(kind, model.encoder, model.tokenizer, STILTS)
    loss = functions.loss(model.encoder, head, batch, torch.Generator())
    loss.backward()
    assert loss.isfinite()
    idle = head.projection.bias if kind.name == "choose" else None  # the same for every choice
    assert all(parameter.grad.any() for parameter in head.parameters() if parameter is not idle)
    assert model.encoder.model.get_input_embeddings().weight.grad.any()


@pytest.mark.parametrize("precision", ["float16", "fp16", "auto"])
def test_half_precision_is_refused(precision: str) -> None:
    """T12."""
    for declare in (
        lambda: Recipe(precision=precision),
        lambda: Evaluate(Encoder("tiny"), "a", "de", precision=precision),
    ):
        with pytest.raises(ValueError, match=f"unknown precision '{precision}': expected one of float32, bfloat16"):
            declare()


def test_attention_dropout_counts_and_is_0_by_default() -> None:
    """T21: fast kernels have none, so it is a named departure from the encoders' 0.1."""
    assert STILTS.attention_dropout == 0
    assert len({replace(STILTS, attention_dropout=rate).id for rate in (0.0, 0.1, None)}) == 3


def test_a_stage_runs_on_the_threads_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T22."""
    seen: list[int] = []

    def train(*_: Any) -> dict[str, Any]:
        seen.append(torch.get_num_threads())
        return {}

    monkeypatch.setattr("xstilts.engine.train.train", train)
    before = torch.get_num_threads()
    context = Context({}, tmp_path, None, tmp_path)
    stages = [Train(Encoder("tiny"), Mixture(("mini-nli",)), Budget(1), Recipe(num_threads=n)) for n in (1, 2)]
    paths = [perform(stage, tmp_path, context)["environment"]["numeric_path"] for stage in stages]
    assert seen == [1, 2]
    assert torch.get_num_threads() == before
    assert paths == ["cpu-float32-sdpa-1thread-rows", "cpu-float32-sdpa-2thread-rows"]
    assert stages[0].id != stages[1].id


# ------------------------------------------------------------ packages and statistics


def test_the_packages_it_stands_on_are_few_and_pinned() -> None:
    """T14, T16, T18."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split("[<>=]", requirement)[0] for requirement in requirements}

    assert names(project["dependencies"]) == DEPENDENCIES
    locked = (REPOSITORY / "requirements.lock").read_text()
    entries = re.findall(r"^([\w-]+)==([\w.]+).*\\\n +--hash=sha256:[0-9a-f]{64}", locked, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\w", locked, re.MULTILINE)), "each has one version and hashes"
    known = {name for name, _ in entries}
    assert names(project["dependencies"]).union(*map(names, project["optional-dependencies"].values())) <= known
    assert not known & {"datasets", "lightning", "pytorch-lightning", "rliable", "arch", "pandas", "seqeval"}
    used = {i.module.split(".")[0] for path in FILES for i in imports(path.read_text(), module_of(path))}
    assert not used & {"datasets", "lightning", "rliable", "pandas", "seqeval"}


def test_no_global_generator_is_used() -> None:
    """T16: what draws has a seeded generator of its own."""
    own = {"np.random.default_rng", "random.Random"}
    named = [(path, call) for path in FILES for call in calls(path.read_text())]
    drawn = [(path, call) for path, call in named if re.fullmatch(r"((np|numpy)\.)?random\.\w+", call.name)]
    assert [f"{name_of(p)}:{call.node.lineno}: {call.name}" for p, call in drawn if call.name not in own] == []
    assert len(drawn) >= 3
    assert all(call.node.args for _, call in drawn), "without a seed"
    taken = {i.module for path in FILES for i in imports(path.read_text(), module_of(path))}
    assert {name for name in taken if re.match(r"(numpy\.)?random\b", name)} <= {"random"}


def test_intervals_of_five_runs_cover_what_they_say() -> None:
    """T23: 95 % of intervals hold the mean; a percentile bootstrap's hold it in 83 %."""
    samples = np.random.default_rng(0).normal(0.6, 0.02, (2000, 5))
    found = [stats.summarise(sample) for sample in samples.tolist()]
    covered = statistics.fmean(one.low <= 0.6 <= one.high for one in found)  # type: ignore[operator]
    assert 0.935 < covered < 0.965
