"""The commands on prediction files: what they print, how they exit, and that what is exported is what is stored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import REPOSITORY
from xstilts.mixture import Budget, Mixture
from xstilts.score_command import export_predictions_command, score_command
from xstilts.stage import Encoder, Evaluate, Stage, Train
from xstilts.store import Store

MODEL = Train(Encoder("offline", content="c"), Mixture(("squad-v1",)), Budget(10))
OTHER = Train(Encoder("offline", content="d"), Mixture(("squad-v1",)), Budget(10))
ANSWERS = pa.table({"id": ["x0", "x1"], "prediction": ["Ada", "in Köln"], "golds": [["Ada"], ["Köln"]]})


@pytest.fixture
def bucc(tmp_path: Path) -> Path:
    """Gold pairs of BUCC in one language, of which half are found."""
    gold, mined = tmp_path / "data/bucc2018/de-en/de-en.training.gold", tmp_path / "p/bucc2018/test-de.tsv"
    for path, text in ((gold, "de-01\ten-01\nde-02\ten-02\n"), (mined, "de-01\ten-01\nde-02\ten-03\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_scores_are_printed_in_percent_or_as_one_document_of_fractions(bucc: Path) -> None:
    answer = score_command(bucc / "p", bucc / "data")
    assert answer.exit_code == 0
    assert ["de", "50.00", "50.00", "50.00"] in [line.split() for line in answer.text.splitlines()]
    assert "  no predictions: fr, ru, zh\n" in answer.text
    document = json.loads(score_command(bucc / "p", bucc / "data", as_json=True).text)
    assert document["tasks"]["bucc"]["languages"]["de"]["f1"] == 0.5
    assert document["tasks"]["bucc"]["mean"] is None
    assert document["mean"] is None
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    (row,) = re.findall(r"^\| `score` \| (.+) \|$", page, re.MULTILINE)
    assert {*document["tasks"]["bucc"], "not_scored"} <= set(re.findall(r"\w+", row))


def test_the_document_has_the_keys_that_the_page_lists(bucc: Path) -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    (row,) = re.findall(r"^\| `score` \| (.+) \|$", page, re.MULTILINE)
    document = json.loads(score_command(bucc / "p", bucc / "data", as_json=True).text)
    scored, left_out = document["tasks"]["bucc"], document["tasks"]["tatoeba"]
    cell = {name for name in scored["languages"]["de"] if name not in scored["measures"]}
    assert left_out["mean"] is None
    assert set(re.findall(r"`(\w+)`", row)) == {*document, *scored, *cell, "not_scored"}
    assert "| `export predictions` | `files` |" in page


def test_a_refused_file_is_a_failure(bucc: Path) -> None:
    (bucc / "p/bucc2018/test-de.tsv").write_text("de-01 en-01\n")
    for as_json in (False, True):
        answer = score_command(bucc / "p", bucc / "data", as_json=as_json)
        assert answer.exit_code == 1
        assert "test-de.tsv:1: expected de-NUMBER, a tab and en-NUMBER" in answer.text
    with pytest.raises(ValueError, match="--data"):
        score_command(bucc / "p", bucc / "nowhere")


def publish(store: Store, stage: Stage, table: pa.Table) -> None:
    staged = store.work(stage.id) / "out"
    staged.mkdir()
    pq.write_table(table, staged / "predictions.parquet")
    store.publish(stage.id, staged, {"kind": stage.kind, "declaration": stage.declaration()})


def test_a_models_stored_predictions_become_a_folder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    for code in ("de", "ru"):
        publish(store, Evaluate(MODEL, "xquad", code), ANSWERS)
    for code in ("zh", "vi"):
        publish(store, Evaluate(OTHER, "xquad", code), ANSWERS)
    publish(store, Evaluate(MODEL, "squad-v1", "en", split="dev"), ANSWERS)
    wanted = [MODEL.id, Evaluate(OTHER, "xquad", "zh").id]
    answer = export_predictions_command(wanted, tmp_path / "out", store=tmp_path / "store", as_json=True)
    files = json.loads(answer.text)["files"]
    assert sorted(files) == [str(tmp_path / f"out/xquad/test-{code}.json") for code in ("de", "ru", "zh")]
    assert json.loads(Path(files[0]).read_text()) == {"x0": "Ada", "x1": "in Köln"}
    with pytest.raises(FileExistsError, match=r"xquad/test-(de|ru).json is there already"):
        export_predictions_command([MODEL.id], tmp_path / "out", store=tmp_path / "store")
    with pytest.raises(ValueError, match="unknown measurement or measured stage 'train-0'"):
        export_predictions_command(["train-0"], tmp_path / "out", store=tmp_path / "store")


def test_two_measurements_for_one_file_are_named_before_anything_is_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    both = [Evaluate(model, "xquad", "de") for model in (MODEL, OTHER)]
    for stage in (Evaluate(MODEL, "xquad", "ru"), *both):
        publish(store, stage, ANSWERS)
    with pytest.raises(ValueError, match=r"test-de.json: expected one measurement for it") as caught:
        export_predictions_command([MODEL.id, OTHER.id], tmp_path / "out", store=tmp_path / "store")
    assert all(stage.id in str(caught.value) for stage in both)
    assert not (tmp_path / "out").exists()


def test_damaged_predictions_are_not_exported(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    stage = Evaluate(MODEL, "xquad", "de")
    publish(store, stage, ANSWERS)
    pq.write_table(ANSWERS.slice(0, 1), store.folder(stage.id) / "predictions.parquet")
    with pytest.raises(ValueError, match=r"predictions.parquet: missing or not what was published"):
        export_predictions_command([MODEL.id], tmp_path / "out", store=tmp_path / "store")
