"""Several processes for one training make what one makes, and begin, stop and fail together."""

from __future__ import annotations

import functools
import io
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from safetensors.torch import load_file

import fakes
from xstilts import tasks
from xstilts.engine import Context, Interrupted, encoder_folder, perform, ranks, step
from xstilts.engine.launch import in_ranks
from xstilts.engine.ranks import balanced
from xstilts.mixture import Budget, Mixture
from xstilts.options import devices_of, plan_of
from xstilts.progress import Plain, Quiet
from xstilts.recipe import STILTS, Robust
from xstilts.run import Settings, run
from xstilts.stage import Encoder, Tiny, Train
from xstilts.store import Store
from xstilts.study import Plan, Sources, make_plan

TINY = Encoder(
    "tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64, initializer_range=0.2)
)
RECIPE = replace(
    STILTS,
    learning_rate=1e-3,
    adam_epsilon=1e-4,
    batch_examples=5,
    max_tokens=40,
    hidden_dropout=0.0,
    evaluate_every_steps=100,
    dev_examples=4,
)
TWENTY = Budget(20, "steps")
TEXT = Mixture(("mini-text",), languages=("de", "en"))
ROWS = {
    "mini-nli": {"train": 96, "dev": 24},
    "mini-paraphrase": {"train": 96, "dev": 24},
    "mini-tags": {"train": 96, "dev": 24},
    "mini-text": {"train": 96},
    "mini-qa": {"train": 96, "dev": 24},
    "mini-choice": {"train": 96, "dev": 24},
    "mini-nli-triples": {"train": 96, "dev": 24},
}
CASES: dict[str, tuple[Mixture, Budget, Any]] = {
    "classify": (Mixture(("mini-nli",)), Budget(96), RECIPE),  # the last step has one example for two processes
    "tag": (Mixture(("mini-tags",)), TWENTY, RECIPE),
    "span": (Mixture(("mini-qa",)), TWENTY, RECIPE),
    "choose": (Mixture(("mini-choice",)), TWENTY, RECIPE),
    "mlm": (TEXT, TWENTY, replace(RECIPE, whole_words=True)),
    "embed": (Mixture(("mini-nli-triples",)), TWENTY, replace(RECIPE, dual_scale=5.0)),
    "adversarial": (
        Mixture(("mini-tags",)),
        TWENTY,
        replace(RECIPE, robust=Robust("adversarial", epsilon=0.1, start="zero")),
    ),
    "several": (
        Mixture(("mini-nli", "mini-text", "mini-tags"), policy="uniform", languages=("en",), tasks_per_step="all"),
        TWENTY,
        replace(RECIPE, loss_balance="uncertainty"),
    ),
}


def shrink() -> None:
    for name, rows in ROWS.items():
        tasks._known[name] = replace(tasks.find(name), rows=rows, official_size=None)


@pytest.fixture(scope="module", autouse=True)
def shrunk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_known", dict(tasks._known))
        shrink()
        yield


def stage_of(name: str, cache_dir: Path) -> Train:
    mixture, budget, recipe = CASES[name]
    plan = make_plan("test", [Train(TINY, mixture, budget, recipe)], Sources(None, cache_dir))
    stage = plan.stages[plan.leaves[0]]
    assert isinstance(stage, Train)
    return stage


def done(stage: Train, folder: Path, context: Context, **changes: Any) -> dict[str, Any]:
    """Train into a folder; a second time goes on from its checkpoint."""
    out, work = folder / "out", folder / "work"
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    return perform(stage, out, replace(context, work=work, **changes))


class After:
    """A wish to stop, the so manieth time that it is asked for."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def all_cases(stages: dict[str, Train], folder: Path, context: Context) -> dict[str, Any]:
    """Every case, and one of them in two halves: only rank 0 is asked to stop."""
    found = {name: done(stage, folder / name, context) for name, stage in stages.items()}
    with pytest.raises(Interrupted, match="stopped at step 7 of 20"):
        done(stages["mlm"], folder / "halves", context, stop=After(1000 if ranks.number() else 7))
    again = done(stages["mlm"], folder / "halves", context)
    return found["classify"] | {
        "results": {name: one["result"] for name, one in found.items()} | {"halves": again["result"]}
    }


def stopped_then_killed(folder: Path, context: Context) -> dict[str, Any]:
    """Rounds until a wish to stop comes from outside; then rank 1 dies while rank 0 waits for it."""
    assert "mini-nli" in tasks._known
    for round in itertools.count():
        context.report({"step": round})
        if ranks.told(context.stop()):
            break
    (folder / f"rank-{ranks.number()}").write_text(str(round))
    dist.barrier()
    if ranks.number() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()
    return {}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Context:
    return Context(
        inputs={}, work=tmp_path_factory.mktemp("ranks"), data_dir=None, cache_dir=cache_dir, prepare=(shrink,)
    )


@pytest.fixture(scope="module")
def both(context: Context) -> dict[str, dict[str, Any]]:
    """All cases by one process and by two."""
    work = functools.partial(all_cases, {name: stage_of(name, context.cache_dir) for name in CASES})
    one = work(context.work / "one", context)
    return {
        "one": one,
        "two": in_ranks(functools.partial(work, context.work / "two"), replace(context, device="cpu+cpu")),
    }


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "out/weights/encoder/model.safetensors") | load_file(
        folder / "out/weights/heads.safetensors"
    )


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out/log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_what_one_makes(name: str, both: dict[str, Any], context: Context) -> None:
    one, two = (context.work / which / name for which in ("one", "two"))
    here, there = ([line for line in log(folder) if "loss" in line] for folder in (one, two))
    assert len(here) == 20
    for mine, theirs in zip(here, there, strict=True):
        assert theirs.pop("loss") == pytest.approx(mine.pop("loss"), rel=1e-6)
        assert theirs == mine
    found, expected = weights(two), weights(one)
    assert found.keys() == expected.keys()
    for parameter, values in expected.items():
        assert float((found[parameter] - values).abs().max()) <= 1e-6, parameter
    before = load_file(encoder_folder(stage_of(name, context.cache_dir).start, context) / "model.safetensors")
    assert max(float((expected[key] - values).abs().max()) for key, values in before.items()) > 1e-3


def test_what_a_record_says_of_several_processes(both: dict[str, Any]) -> None:
    one, two = both["one"], both["two"]
    assert one["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread-rows"
    assert two["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread-2ranks-rows"
    assert two["cost"]["peak_rss_bytes"] > 1.5 * two["results"]["classify"]["checkpoint_bytes"]
    assert two["cost"]["phases"]["ranks"] > 0
    assert set(one["cost"]["phases"]) <= set(two["cost"]["phases"])
    timing = ("tokens_per_second", "final_loss", "tasks")
    for name in CASES:
        mine, theirs = ({k: v for k, v in by["results"][name].items() if k not in timing} for by in (one, two))
        assert mine == theirs


def test_stopped_and_gone_on_they_make_the_same_bytes(both: dict[str, Any], context: Context) -> None:
    whole, halves = context.work / "two" / "mlm", context.work / "two" / "halves"
    assert both["two"]["results"]["halves"]["resumed_at_step"] == 7
    for file in ("weights/encoder/model.safetensors", "weights/heads.safetensors", "log.jsonl"):
        assert (halves / "out" / file).read_bytes() == (whole / "out" / file).read_bytes()


def test_a_wish_to_stop_reaches_all_in_one_round_and_a_death_ends_all(context: Context) -> None:
    seen: list[dict[str, Any]] = []
    asked = replace(context, device="cpu+cpu", report=seen.append, stop=lambda: bool(seen))
    with pytest.raises(ChildProcessError, match=r"rank 1 of 2 \(cpu\) died \(signal 9\)"):
        in_ranks(functools.partial(stopped_then_killed, context.work), asked)
    rounds = [int((context.work / f"rank-{rank}").read_text()) for rank in (0, 1)]
    assert rounds[0] == rounds[1]
    assert multiprocessing.active_children() == []


def test_a_worker_on_two_devices_has_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    file = tmp_path / "mine.py"
    file.write_text("# a user's study file, which declares tasks")
    store, stage = Store.open(tmp_path / "store"), fakes.Fake("leaf", weights=False)
    settings = Settings(tmp_path, tmp_path, ("cpu+cpu",), study_file=file, perform="fakes:together")
    outcome = run(fakes.plan_of(stage), store, settings, Quiet())
    assert outcome.failed == {}
    noted = {path.name: path.read_text() for path in store.folder(stage.id).glob("rank-*")}
    assert set(noted) == {"rank-0-of-2", "rank-1-of-2"}
    assert all(files.startswith("xstilts_study_") for files in noted.values())
    assert store.record(stage.id)["cost"]["peak_rss_bytes"] == 2


@pytest.mark.parametrize("terms", [True, False])
def test_a_rank_that_stands_in_for_another_weighs_nothing(terms: bool) -> None:
    kind = SimpleNamespace(num_terms=lambda batch: batch.num if terms else None)
    for stands_in, expected in ((True, 0.0), (False, 0.25 if terms else 1.0)):
        shared = SimpleNamespace(stands_in=stands_in)
        part = SimpleNamespace(num=2, shared=shared, whole=SimpleNamespace(num=8, shared=None))
        ((_, factor),) = step._weights(kind, [part])  # type: ignore[arg-type, list-item]
        assert factor == expected


def test_rows_are_shared_by_their_tokens() -> None:
    tokens = np.array([3, 50, 7, 20, 20, 9, 1])
    parts = balanced(tokens, 3)
    assert [part.tolist() for part in parts] == [[1], [3, 5, 6], [0, 2, 4]]
    assert [part.tolist() for part in balanced(tokens[:1], 3)] == [[0], [], []]
    generator = np.random.default_rng(0)
    for _ in range(20):
        tokens = generator.integers(5, 128, size=64)
        parts = balanced(tokens, 4)
        assert sorted(np.concatenate(parts)) == list(range(64))
        sums = [tokens[part].sum() for part in parts]
        assert max(sums) - min(sums) <= tokens.min() + 128


STUDY = """
import os, pathlib, signal, sys, threading, time
from xstilts import Budget, Encoder, Evaluate, Mixture, Tiny, Train

def die():
    store = pathlib.Path(os.environ["STORE"])
    while not [*store.glob("work/*/checkpoint-[3-9]")]:
        time.sleep(0.001)
    (store / "died").touch()
    os.kill(os.getpid(), signal.SIGKILL)

dist = sys.modules.get("torch.distributed")
is_second = dist and dist.is_initialized() and dist.get_rank() == 1
if is_second and not pathlib.Path(os.environ["STORE"], "died").exists():
    threading.Thread(target=die, daemon=True).start()

def mine():
    encoder = Encoder("tiny", tiny=Tiny(vocab_size=400, hidden_size=16, intermediate_size=32, max_positions=64))
    yield Evaluate(Train(encoder, Mixture(("mini-nli",)), Budget(100, "steps")), "mini-xnli", "de")
"""


@pytest.mark.slow
def test_a_run_that_lost_a_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STUDY)
    plan = plan_of(str(file), [], None, cache_dir)
    devices = devices_of("cpu+cpu", plan)
    settings = Settings(None, cache_dir, devices, checkpoint_seconds=0, study_file=file)
    (train,) = (stage for stage in plan.stages.values() if isinstance(stage, Train))
    store = Store.open(tmp_path / "store")
    monkeypatch.setenv("STORE", str(store.root))
    out = io.StringIO()
    assert run(plan, store, settings, Plain(out)).exit_code == 0, out.getvalue()
    assert "] lost train " in out.getvalue()
    assert "rank 1 of 2 (cpu) died (signal 9)" in out.getvalue()
    assert len(store.failures(train.id)) == 1
    record = store.record(train.id)
    assert record["result"]["resumed_at_step"] >= 3
    assert record["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread-2ranks-rows"
    (measured,) = (store.record(leaf) for leaf in plan.leaves)
    assert measured["environment"]["numeric_path"] == "cpu-float32-sdpa-1thread"
    assert store.verify() == []


@pytest.mark.parametrize(
    ("device", "what"),
    [
        ("cpu+cuda:0", "cpu.cpu, or different GPUs"),
        ("cuda:0+cuda:0", "different GPUs"),
        ("cuda+cuda:1", "different GPUs"),
        ("mps+mps", "different GPUs"),
        ("cpu+", "expected auto"),
    ],
)
def test_devices_that_cannot_share_a_training_are_refused(device: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        devices_of(device, Plan("none", {}, {}, ()), here=False)
