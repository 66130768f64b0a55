"""A store carried by a plain copying tool, as object storage is reached: whole, half-way, again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from program import Call
from test_store import LEAF, OTHER, TRAIN, publish
from xstilts.store import Store


def sync(source: Path, target: Path, *names: str) -> None:
    """What docs/cluster.md copies: the published folders and the plans, new files only."""
    (target / "stages").mkdir(parents=True, exist_ok=True)
    for name in names or ("stages", "plans", "format.json"):
        subprocess.run(["cp", "-R", "--update", source / name, (target / name).parent], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path / "store")
    for id in (TRAIN, LEAF):
        publish(store, id)
    store.write_plan("scaling", {"stages": {}})
    store.work(OTHER)  # an unfinished one
    return store


def test_a_synced_copy_is_imported_whole(store: Store, tmp_path: Path, call: Call) -> None:
    sync(store.root, tmp_path / "bucket")
    ended = call("store", "import", str(tmp_path / "bucket"), "--store", str(tmp_path / "home"), "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["added"] == sorted([TRAIN, LEAF])
    home = Store.open(tmp_path / "home")
    assert home.records() == store.records()
    assert home.weights(TRAIN).is_dir()
    assert home.plans() == ["scaling"]


def test_what_is_half_way_is_refused_by_name_and_comes_in_once_it_is_there(
    store: Store, tmp_path: Path, call: Call
) -> None:
    bucket = tmp_path / "bucket"
    sync(store.root, bucket, "format.json", f"stages/{LEAF}")
    part = bucket / "stages" / TRAIN
    part.mkdir()
    for name in ("record.json", "log.jsonl"):  # the weights are on their way
        (part / name).write_bytes((store.folder(TRAIN) / name).read_bytes())
    words = ("store", "import", str(bucket), "--store", str(tmp_path / "home"))
    ended = call(*words)
    assert ended.code == 1
    assert f"refused {TRAIN}" in ended.err
    assert Store.open(tmp_path / "home").ids() == [LEAF]
    sync(store.root, bucket)
    assert call(*words).code == 0
    assert Store.open(tmp_path / "home").usable(TRAIN)


def test_scores_and_dropped_weights_that_come_later_are_synced_too(store: Store, tmp_path: Path, call: Call) -> None:
    bucket = tmp_path / "bucket"
    sync(store.root, bucket)
    store.add_score(LEAF, "accuracy-v1", {"value": 0.5})
    store.drop(TRAIN, "to make room")
    sync(store.root, bucket)  # copies what is new and removes nothing: the weights stay in the bucket
    assert Store.open(bucket, create=False).verify() == []
    assert call("store", "import", str(bucket), "--store", str(tmp_path / "home")).code == 0
    home = Store.open(tmp_path / "home")
    assert home.scores(LEAF) == {"accuracy-v1": {"value": 0.5}}
    assert home.verify() == []
    assert not home.usable(TRAIN)
