"""What surrounds the package: its versions, extras, workflows, citation, and the pages for those who change it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import xstilts
from conftest import REPOSITORY
from xstilts.sinks import TRACKERS

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^(\w[\w-]*):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_only_and_calls_the_same_targets_as_a_person(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] == {"contents": "read"}
    assert document["name"] == path.stem
    steps = [step for job in document["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    ran = [step["run"] for step in steps if "run" in step]
    assert ran
    for command in ran:
        if command != ".ci/run":
            assert command.removeprefix("make ") in TARGETS, command
    assert re.findall(r"^make (\S+)$", read(".ci/run"), re.MULTILINE) == ["test"]


def test_the_suite_runs_on_every_python_that_is_promised() -> None:
    tested = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == ["3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == f">={tested[0]}"


def test_there_is_one_version() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["project"]["version"] == xstilts.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert [one["title"][:8] for one in citation["references"]] == ["English "]
    changes = read("CHANGELOG.md")
    assert re.findall(r"^## \[(.+?)\]", changes, re.MULTILINE)[0] == "Unreleased"
    assert xstilts.__version__ in changes


def test_extras_that_messages_and_pages_name_exist_and_have_pins() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    files = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md"]
    named = {name for file in files for name in re.findall(r"xstilts\[([a-z]+)\]", file.read_text())}
    assert named <= set(extras)
    assert set(TRACKERS) <= set(extras)
    pins = {line.partition("==")[0] for line in read("requirements.lock").splitlines()}
    for name in TRACKERS:
        packages = {re.split("[><=]", one)[0] for one in extras[name]}
        assert packages <= pins, name
        assert name in {package.removesuffix("-skinny") for package in packages}


def test_the_source_distribution_takes_what_is_there() -> None:
    taken = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert [name for name in taken if not (REPOSITORY / name).exists()] == []
    assert {"tests", "docs", "src", "examples"} <= set(taken)


def test_the_task_of_the_contributors_page_is_the_tested_one() -> None:
    (recipe,) = BLOCK.findall(read("CONTRIBUTING.md"))
    assert recipe == BLOCK.findall(read("docs/own-task.md"))[0]
    assert len(recipe.strip().splitlines()) <= 15
