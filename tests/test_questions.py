"""Gains of a search: the interval over questions, from stored predictions, against the same by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from test_report import ENCODER, fill, leaves, only, parse, train
from xstilts import report, scoring
from xstilts.report import by_number, gains
from xstilts.report.bootstrap import bootstrap
from xstilts.report.questions import over_questions
from xstilts.stage import Data, Evaluate, Views
from xstilts.store import Store
from xstilts.tasks import find

NUM_QUESTIONS, NUM_NEIGHBOURS, LAYER = 7, 20, 4
CODES = find("lareqa").kind.queries  # type: ignore[union-attr]
MODELS = [ENCODER, *(train("mnli@sample", seed=seed) for seed in (0, 1))]


def measured(model: Any) -> Evaluate:
    data = (Data("lareqa", "test", "mul", "content"),)
    return Evaluate(model, "lareqa", "mul", views=Views(num_neighbours=NUM_NEIGHBOURS, layers=(-1,)), data=data)


def asked() -> list[tuple[int, str]]:
    """Every question in every language, as the queries of the pool."""
    return [(question, code) for code in CODES for question in range(NUM_QUESTIONS)]


def golds(question: int) -> list[int]:
    return [question * len(CODES) + at for at in range(len(CODES))]


def predictions(model: Any) -> pa.Table:
    """Rankings that are good for the same questions in all languages."""
    rng = random.Random(model.id)
    luck = [rng.random() for _ in range(NUM_QUESTIONS)]
    rows = []
    for query, (question, code) in enumerate(asked()):
        right = golds(question)
        wrong = [n for n in range(NUM_QUESTIONS * len(CODES)) if n not in right]
        kept = [n for n in right if rng.random() < luck[question]]
        near = [*kept, *rng.sample(wrong, NUM_NEIGHBOURS - len(kept))]
        rng.shuffle(near)
        place = {"layer": LAYER, "pooling": "mean", "direction": "query->pool", "query": query, "language": code}
        similar = [1 - at / 100 for at in range(NUM_NEIGHBOURS)]
        candidates = {"golds": right, "gold_languages": [CODES[n % len(CODES)] for n in right]}
        found = {"neighbours": near, "neighbour_languages": [CODES[n % len(CODES)] for n in near]}
        rows.append({**place, **candidates, **found, "similarities": similar})
    return pa.Table.from_pylist(rows)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three models whose predictions are stored and scored."""
    publish = Store.publish

    def with_predictions(self: Store, id: str, staged: Path, record: Any) -> Any:
        if (model := next((m for m in MODELS if measured(m).id == id), None)) is not None:
            pq.write_table(predictions(model), staged / scoring.PREDICTIONS)
        return publish(self, id, staged, record)

    monkeypatch.setattr(Store, "publish", with_predictions)
    found = fill(tmp_path / "store", map(measured, MODELS), score=lambda stage: False)
    for model in MODELS:
        scoring.score_stage(found, measured(model).id)
    return found


def precision(near: list[int], right: list[int]) -> float:
    """Average precision of a ranking, by its definition."""
    hits = [at for at, n in enumerate(near) if n in right]
    return sum((number + 1) / (at + 1) for number, at in enumerate(hits)) / min(len(right), NUM_NEIGHBOURS)


def test_a_question_is_drawn_for_all_of_its_languages(store: Store, tmp_path: Path) -> None:
    section, series, view = only(store)
    assert view.where == (LAYER, "mean", "query->pool")
    levels = []
    for model in MODELS:
        near = predictions(model)["neighbours"].to_pylist()
        levels.append([precision(own, golds(q)) for own, (q, _) in zip(near, asked(), strict=True)])
    gain = np.mean(levels[1:], axis=0) - np.array(levels[0])
    questions, languages = zip(*asked(), strict=True)
    expected = bootstrap(gain, questions, strata=languages)
    assert over_questions(store, section, series, view) == {1: pytest.approx(expected)}
    change = gains.targets([section])[0].gain(series.by_k()[1], view.layer, view.languages).mean
    assert expected.mean == pytest.approx(change)
    alone = bootstrap(gain, strata=languages)
    assert expected.high - expected.low > 1.5 * (alone.high - alone.low), "what languages share is counted"
    table = by_number.by_k(section, series, view, questions={1: expected})
    at = parse(table)[0].index("95 % over questions")
    shown = f"{100 * expected.low:+.1f} to {100 * expected.high:+.1f}"
    assert [line[at] for line in parse(table)[1:]] == ["–", shown]
    text = report.write(store, "scaling", tmp_path / "report")[2].read_text()
    assert shown in text


def test_without_its_predictions_a_gain_has_no_interval_over_questions(store: Store) -> None:
    section, series, view = only(store)
    (path,) = (store.folder(id) / scoring.PREDICTIONS for id in section.measurements[MODELS[2].id])
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match="not what was published"):
        over_questions(store, section, series, view)
    path.unlink()
    assert over_questions(store, section, series, view) == {}


def test_other_kinds_have_no_questions(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", leaves(MODELS))
    assert over_questions(store, *only(store)) == {}
