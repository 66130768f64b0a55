"""The seven targets of XTREME that are trained for, fine-tuned on the miniature with a tiny encoder, zero-shot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from xstilts import tasks
from xstilts.engine import Context, perform
from xstilts.scoring import score
from xstilts.stage import Evaluate, Train
from xstilts.studies import xstilts2020
from xstilts.study import Sources, make_plan
from xstilts.tasks import Miniature
from xstilts.tasks.made import MINIATURE_OF

TARGETS = ("xnli", "paws-x", "udpos", "panx", "xquad", "mlqa", "tydiqa")
LANGUAGES = ("en", "de", "ru")
NUM_ROWS = 120


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[dict[tuple[str, str], Any]]:
    """The score of every target in every language, after one plan from the MLM stage to the measurements."""
    folder = tmp_path_factory.mktemp("seven")
    with pytest.MonkeyPatch.context() as patch:
        for task in tasks.ALL:
            if "test" in task.rows and any(isinstance(source, Miniature) for source in task.sources):
                patch.setitem(tasks._known, task.name, replace(task, rows={**task.rows, "test": NUM_ROWS}))
        leaves = xstilts2020(
            miniature=True,
            starts=("none",),
            targets=TARGETS,
            languages=LANGUAGES,
            seeds=(0,),
            mlm_examples=2_000,
            target_examples=1_500,
        )
        plan = make_plan("seven", leaves, Sources(None, cache_dir))
        trained: dict[str, Path] = {}
        found: dict[tuple[str, str], Any] = {}
        for id, stage in plan.stages.items():
            out = folder / id
            out.mkdir()
            result = perform(stage, out, Context(trained, folder / "work" / id, None, cache_dir))["result"]
            if isinstance(stage, Train):
                assert not set(result["tasks"]) - {"mini-text"} or result["examples"] <= 1_500
                trained[id] = out / "weights"
            elif isinstance(stage, Evaluate):
                task = tasks.find(stage.task)
                table = pq.read_table(out / "predictions.parquet")
                (found[stage.task, stage.language],) = score(table, task.kind.name, task.metric, stage.language)[
                    "values"
                ]
        yield found


def test_every_target_has_a_score_in_every_language(values: dict[tuple[str, str], Any]) -> None:
    languages = {
        target: [code for code in LANGUAGES if code in tasks.BENCHMARKS["xtreme"][target]] for target in TARGETS
    }
    wanted = {(MINIATURE_OF[target], code) for target in TARGETS for code in languages[target]}
    assert set(values) == wanted
    assert len(wanted) == 18, "PAWS-X and MLQA have no Russian, TyDi QA no German"
    for value in values.values():
        assert 0 <= value["value"] <= 1
        assert value.get("num_examples", NUM_ROWS) == NUM_ROWS


def test_what_a_tiny_encoder_can_learn_is_learned(values: dict[tuple[str, str], Any]) -> None:
    """Tags of words and answers, in English; pairs are beyond an encoder of this size and budget."""
    assert values["mini-xtags", "en"]["f1"] > 0.45
    assert values["mini-xentities", "en"]["f1"] > 0.5
    assert values["mini-xentities", "de"]["f1"] > 0.3, "names are written alike"
    for name in ("mini-xqa", "mini-mlqa", "mini-tydiqa"):
        assert values[name, "en"]["f1"] > 0.12
