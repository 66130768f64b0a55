"""Fixtures shared by the suite."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from program import OWN_VARIABLES, Call, Ended
from xstilts import cli, tasks
from xstilts.tasks import source

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real benchmark data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("XSTILTS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real benchmark data not found at {folder}; set XSTILTS_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole session: the tiny encoder is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty Hugging Face cache, so that no test depends on the machine's own."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    source._snapshot.cache_clear()
    yield folder
    source._snapshot.cache_clear()


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process, in an empty folder; a study file's tasks are forgotten afterwards."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in OWN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))

    def run(*words: str) -> Ended:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["xstilts", *words])
            patch.setattr(tasks, "_known", dict(tasks._known))
            with pytest.raises(SystemExit) as ended:
                cli.main()
        for name in [name for name in sys.modules if name.startswith("xstilts_study_")]:
            del sys.modules[name]
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def small_miniature() -> Iterator[None]:
    """The miniature's tasks with a hundredth of their rows, for what must train in a second; this process only."""
    sizes = {
        "mini-nli": {"train": 144, "dev": 36},
        "mini-paraphrase": {"train": 96, "dev": 24},
        "mini-bitext": {"dev": 60, "test": 100},
        "mini-text": {"train": 100},
        "mini-text-dev": {"train": 100, "dev": 100},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in sizes.items():
            patch.setitem(tasks._known, name, replace(tasks.find(name), rows=rows, official_size=None))
        yield
