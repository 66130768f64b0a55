"""What stages of one worker share: counted, and without a bit's difference to a worker for each stage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import fakes
from fakes import Fake
from xstilts import run as run_module
from xstilts import store as store_module
from xstilts.engine import Context, data, encoder, folders, perform
from xstilts.engine import evaluate as evaluate_module
from xstilts.engine.model import Model
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.run import Settings
from xstilts.stage import Encoder, Evaluate, Stage, Tiny, Train, Views
from xstilts.store import Store
from xstilts.study import Sources, make_plan

pytestmark = pytest.mark.usefixtures("small_miniature")

TINY = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
RECIPE = replace(STILTS, learning_rate=2e-3, batch_examples=4, max_tokens=40, dev_examples=12)


def study() -> list[Stage]:
    """Two trainings from one encoder and one from the first of them, each measured in two ways; the encoder too."""
    first, other = (Train(TINY, Mixture(("mini-nli",)), Budget(3, "steps"), RECIPE, seed) for seed in (0, 1))
    last = Train(first, Mixture(("mini-paraphrase",)), Budget(2, "steps"), RECIPE)
    views = Views(poolings=("mean",))
    measured = [
        Evaluate(model, "mini-bitext", "de", views=views, max_tokens=40) for model in (TINY, first, other, last)
    ]
    # the rows of the trainings' own dev evaluation, whose ids were numbered anew for them
    heads = [Evaluate(model, "mini-nli", "en", "dev", max_tokens=40) for model in (first, other)]
    return [measured[0], heads[0], measured[1], heads[1], *measured[2:]]


class Worker:
    """Does the stages of the study one after the other, with their models, tokenizers and files counted."""

    def __init__(self, folder: Path, cache_dir: Path, before: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
        plan = make_plan("test", study(), Sources(None, cache_dir))
        self.counts = {"models": 0, "tokenizers": 0, "files": 0, "checks": 0}
        self._count(patch, Model, "__init__", "models")
        self._count(patch, encoder.Encoder, "_runs_packed", "checks")
        self._count(patch, folders, "load_tokenizer", "tokenizers")
        self._count(patch, data.pa, "memory_map", "files")
        inputs: dict[str, Path] = {}
        self.bytes: dict[str, bytes] = {}
        self.trained: list[Path] = []
        for number, stage in enumerate(plan.stages.values()):
            before()
            work, out = folder / f"{number}-work", folder / f"{number}"
            work.mkdir(parents=True)
            out.mkdir()
            perform(stage, work, Context(inputs, work, None, cache_dir))
            work.rename(out / "published")  # as the store does
            inputs[stage.id] = out / "published" / "weights"
            for file in ("predictions.parquet", "weights/encoder/model.safetensors", "weights/heads.safetensors"):
                if (out / "published" / file).is_file():
                    self.bytes[f"{number}/{file}"] = (out / "published" / file).read_bytes()
        self.plan, self.inputs = plan, inputs

    def _count(self, patch: pytest.MonkeyPatch, where: Any, name: str, what: str) -> None:
        own = getattr(where, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.counts[what] += 1
            return own(*arguments, **named)

        patch.setattr(where, name, counted)


def forget_all() -> None:
    """As a new worker begins."""
    evaluate_module.forget_model()
    folders._tokenizers.clear()
    data._opened.cache_clear()
    encoder._padded.clear()


@pytest.fixture
def shared(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    forget_all()
    with monkeypatch.context() as patch:
        return Worker(tmp_path / "shared", cache_dir, lambda: None, patch)


def test_sharing_changes_no_bit_and_saves_loads(
    shared: Worker, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [stage.kind for stage in shared.plan.stages.values()]
    assert (kinds.count("train"), kinds.count("evaluate")) == (3, 6)
    with monkeypatch.context() as patch:
        alone = Worker(tmp_path / "alone", cache_dir, forget_all, patch)
    assert len(shared.bytes) == 3 * 2 + 6
    assert shared.bytes == alone.bytes
    assert alone.counts["models"] == alone.counts["tokenizers"] == alone.counts["checks"] == 9
    assert shared.counts["models"] == 1 + 3, "the encoder's measurement, and one start for each training"
    assert shared.counts["checks"] == 2, "the encoder, and the training that another one starts from"
    assert shared.counts["tokenizers"] == 1, "a training copies its start's files"
    # the bitext, mini-nli's train and dev rows, mini-paraphrase's
    assert shared.counts["files"] == 1 + 2 + 2 < alone.counts["files"]


def test_a_model_in_hand_is_used_for_the_very_files_it_was_written_to(
    shared: Worker, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = list(shared.plan.stages.values())[-1]
    assert isinstance(last, Evaluate)
    assert isinstance(last.model, Train)
    weights = shared.inputs[last.model.id]

    def measure(name: str) -> bytes:
        out = tmp_path / name
        out.mkdir()
        perform(last, out, Context(shared.inputs, out, None, cache_dir))
        return (out / "predictions.parquet").read_bytes()

    loads: list[Path] = []
    own = Model.load_trained.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Model, "load_trained", classmethod(lambda cls, at, *rest: loads.append(at) or own(cls, at, *rest))
    )
    same = measure("same")
    assert loads == []
    file = weights / "encoder" / "model.safetensors"
    tensors = load_file(file)
    save_file(
        {name: value + torch.rand_like(value) for name, value in tensors.items()}, file, metadata={"format": "pt"}
    )
    assert measure("other") != same
    assert loads == [weights]


def test_a_worker_hashes_no_input_that_it_published_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orders").mkdir()
    store = Store.open(tmp_path / "store")
    settings = Settings(tmp_path / "orders", tmp_path / "orders", perform="fakes:perform")
    base, imported = Fake("base"), Fake("imported")
    leaf = Fake("leaf", base, imported)
    verified: list[str] = []
    own = store_module.problems_in
    monkeypatch.setattr(store_module, "problems_in", lambda folder, id: verified.append(id) or own(folder, id))

    def attempt(stage: Fake, checked: set[str], perform: Any = fakes.perform) -> None:
        how, note = run_module._attempt(
            stage,
            "run",
            0.0,
            store,
            settings,
            "cpu",
            {},
            threading.Event(),
            perform,
            None,
            checked,  # type: ignore[arg-type]
        )
        assert how == "done", note

    def overtaken(stage: Fake, out: Path, context: Any) -> dict[str, Any]:
        """Another process publishes the stage while this one works on it."""
        (tmp_path / "theirs").mkdir()
        fakes.perform(stage, tmp_path / "theirs", context)
        store.publish(stage.id, tmp_path / "theirs", {"kind": "fake", "wall_seconds": 0.0})
        return fakes.perform(stage, out, context)

    checked: set[str] = set()
    attempt(base, checked)
    attempt(imported, checked, overtaken)
    assert checked == {base.id}
    attempt(leaf, checked)
    assert verified == [imported.id]
    assert checked == {base.id, imported.id, leaf.id}
