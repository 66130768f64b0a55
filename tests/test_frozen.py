"""Stores that earlier versions made: they load, verify, and report the numbers that they reported then."""

from __future__ import annotations

import json
import re
import statistics
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from program import Call
from xstilts import report
from xstilts.store import Store

DATA = Path(__file__).parent / "data"
ARCHIVES = sorted(DATA.glob("store-*.tar.xz"))
PLACE = ("stage", "metric", "metric_version", "language", "layer", "pooling", "direction")


def test_there_is_a_frozen_store() -> None:
    assert [path.name for path in ARCHIVES] == ["store-0.1.0.tar.xz"]
    assert all(path.stat().st_size < 60_000 for path in ARCHIVES)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_a_frozen_store_says_what_it_said(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "store", filter="data")
    store = Store.open(tmp_path / "store", create=False)
    expected = json.loads(archive.with_suffix("").with_suffix(".json").read_text())
    assert store.verify() == []
    report.write(store, "frozen", tmp_path / "report")
    rows = pq.read_table(tmp_path / "report" / "rows.parquet").to_pylist()
    assert {" ".join(str(row[name]) for name in PLACE): row["value"] for row in rows} == expected["values"]
    assert sorted({f"{row['task']} k={row['k']} {row['tasks']}" for row in rows}) == expected["facts"]
    # the page's own arithmetic, from the frozen values alone
    text = (tmp_path / "report" / "report.md").read_text()
    layer = int(re.findall(r"Rows: mini-bitext/test .*?, layer (\d+), mean, en->xx", text)[0])
    means: dict[int, list[float]] = {}
    for model in {row["model"] for row in rows if row["task"] == "mini-bitext"}:
        own = [r for r in rows if (r["model"], r["layer"], r["direction"]) == (model, layer, "en->xx")]
        assert {row["language"] for row in own} == {"de", "sw"}
        means.setdefault(own[0]["k"], []).append(statistics.fmean(row["value"] for row in own))
    assert len({statistics.fmean(of) for of in means.values()}) > 1  # so that a gain is a number other than 0
    for k in (1, 2):
        gain = 100 * (statistics.fmean(means[k]) - statistics.fmean(means[0]))
        line = next(line for line in text.splitlines() if line.startswith(("| mini-nli |", "| k = 2 |")[k - 1]))
        found = re.search(r"[+-]?\d+\.\d", line)
        assert found is not None
        assert float(found[0]) == pytest.approx(gain, abs=0.051)


def test_a_report_of_scores_alone_is_that_of_the_whole_store(call: Call, tmp_path: Path) -> None:
    with tarfile.open(ARCHIVES[0]) as packed:
        packed.extractall(tmp_path / "store", filter="data")
    small = str(tmp_path / "small")
    assert call("store", "export", small, "--scores-only", "--store", str(tmp_path / "store")).code == 0
    assert not list((tmp_path / "small").rglob("predictions.parquet"))
    for name in ("store", "small"):
        report.write(Store.open(tmp_path / name, create=False), "frozen", tmp_path / f"report-{name}")
    for name in ("rows.csv", "report.md"):
        assert (tmp_path / "report-small" / name).read_text() == (tmp_path / "report-store" / name).read_text()
    refused = call("store", "export", small, "--scores-only", "--weights", "--store", str(tmp_path / "store"))
    assert (refused.code, "at most one" in refused.err) == (2, True)
