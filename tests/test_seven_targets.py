"""The seven targets of XTREME that are trained, on the miniature: English training, then zero-shot scores.

Every stage is planned and performed as a run does. A tiny encoder learns to compare sentences from one intermediate
task first; that does not help inference, which starts from the encoder itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from xstilts import metrics
from xstilts.engine import Context, perform
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import STILTS
from xstilts.scoring import score
from xstilts.stage import Encoder, Evaluate, Tiny, Train
from xstilts.study import Sources, make_plan
from xstilts.tasks import Pair, Passage, Task, Tokens, examples, find
from xstilts.tasks.made import MINIATURE_OF

SHAPE = Tiny(architecture="modernbert", num_heads=4, max_positions=128)
RECIPE = replace(STILTS, learning_rate=2e-3, max_tokens=96, batch_examples=32, dev_examples=60, hidden_dropout=0.0)
LANGUAGES = ("en", "de", "zh")


class Target(NamedTuple):
    """How many steps it is trained, by how much its English score must be above chance, and what it starts from."""

    steps: int
    margin: float
    learning_rate: float = 2e-3
    after: str = "mini-causes"


# The margins are below what other seeds came to, so that another machine's rounding does not matter.
TARGETS = {
    "xnli": Target(1000, 0.08, learning_rate=1e-3, after=""),
    "paws-x": Target(800, 0.03, learning_rate=1e-3),
    "udpos": Target(80, 0.4),
    "panx": Target(80, 0.5),
    "xquad": Target(240, 0.03),
    "mlqa": Target(240, 0.03),
    "tydiqa": Target(220, 0.03),
}


def model(task: Task, target: Target) -> Train:
    """The tiny encoder after the intermediate task, if any, and the target's English training task."""
    start: Encoder | Train = Encoder("tiny", tiny=SHAPE)
    if target.after:
        start = Train(start, Mixture((target.after,)), Budget(500, "steps"), RECIPE)
    assert task.trained_by
    recipe = replace(RECIPE, learning_rate=target.learning_rate)
    return Train(start, Mixture((task.trained_by,)), Budget(target.steps, "steps"), recipe)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Callable[[list[Evaluate]], list[Path]]:
    """Plans measurements, performs every stage that was not yet, and gives the folders of the predictions."""
    folder = tmp_path_factory.mktemp("seven")

    def performed(leaves: list[Evaluate]) -> list[Path]:
        plan = make_plan("seven-targets", leaves, Sources(None, cache_dir))
        for id, stage in plan.stages.items():
            out, work = folder / id, folder / f"{id}-work"
            if not out.exists():
                out.mkdir()
                work.mkdir()
                inputs = {other.id: folder / other.id / "weights" for other in stage.inputs}
                perform(stage, out, Context(inputs, work, None, cache_dir))
        return [folder / id for id in plan.leaves]

    return performed


def by_chance(task: Task) -> float:
    """The best English score of one answer to everything: a label, a tag, or the last word of the same sentence."""
    given: list[Any] = examples(task, "test", "en")
    if isinstance(given[0], Passage):
        golds = {one.id: [text for text, _ in one.answers] for one in given}
        guesses: Iterator[Any] = (
            {one.id: one.context.split(". ")[place].split()[-1].rstrip(".") for one in given} for place in range(4)
        )
        function = metrics.find("span", task.metric).function
        return max(function(guess, golds, "en").value for guess in guesses)
    if isinstance(given[0], Tokens):
        ((tag, _),) = Counter(tag for one in given for tag in one.tags).most_common(1)
        found = metrics.find("tag", task.metric).function(
            [[tag] * len(one.tags) for one in given], [one.tags for one in given]
        )
        return float(found.value)
    assert isinstance(given[0], Pair)
    ((_, most),) = Counter(one.label for one in given).most_common(1)
    return most / len(given)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_learned_in_english_is_scored_in_other_languages(
    name: str, measured: Callable[[list[Evaluate]], list[Path]]
) -> None:
    task, target = find(MINIATURE_OF[name]), TARGETS[name]
    trained = model(task, target)
    folders = measured([Evaluate(trained, task.name, language, max_tokens=96) for language in LANGUAGES])
    scores = {}
    for language, folder in zip(LANGUAGES, folders, strict=True):
        table = pq.read_table(folder / "predictions.parquet")
        (values,) = score(table, task.kind.name, task.metric, language)["values"]
        assert values["num_examples"] == table.num_rows == task.count("test", language)
        scores[language] = values["value"]
    assert all(0 <= value <= 1 for value in scores.values())
    assert scores["en"] > by_chance(task) + target.margin, scores
