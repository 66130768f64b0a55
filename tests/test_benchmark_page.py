"""What benchmarks/ states: the page of figures is written from the results, and says what was not measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("table", BENCHMARKS / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(table: ModuleType) -> None:
    assert table.PAGE.read_text() == table.page(), "run python benchmarks/table.py"


def test_ratios_are_of_the_stored_seconds() -> None:
    for path in (BENCHMARKS / "results").glob("*.json"):
        for row in json.loads(path.read_text()).get("rows", ()):
            if "unit" in row:  # rates, whose ratios are of windows of one round
                continue
            middle = {name: sorted(of)[len(of) // 2] for name, of in row["rivals"].items() if len(of) % 2}
            ours = sorted(row["ours"])[len(row["ours"]) // 2]
            for name, value in middle.items():
                assert row["ratio"][name] == pytest.approx(value / ours), (path.name, row["case"], name)


def test_a_result_is_a_table_and_what_has_none_is_named(table: ModuleType) -> None:
    row = {"case": "a case", "ours": [3.0, 1.0, 2.0], "rivals": {"other": [4.0, 6.0, 5.0]}}
    row |= {"ratio": {"other": 2.5}, "same": {"num_different": 0}}
    result = {"name": "knn", "what": "Search", "command": "python it.py", "device": "a processor", "num_cpus": 2}
    result |= {"versions": {"torch": "1"}, "date": "2026-01-01", "rows": [row], "notes": ["Mind this."]}
    text = table.section(result)
    assert "| a case, s | xstilts | 2 | 1 to 3 | |" in text
    assert "| | other | 5 | 4 to 6 | 2.50 |" in text
    assert "num different: 0." in text
    assert "Mind this." in text
    lines = table.missing({Path("knn-cpu.json"): result})
    assert "`benchmarks/knn.py` on a GPU." in lines
    assert "`benchmarks/knn.py` on a CPU." not in lines
    assert "`benchmarks/retrieval.py` on a CPU." in lines
