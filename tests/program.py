"""The program as a person runs it, for tests: in this process or in one of its own, and what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = (sys.executable, "-c", "from xstilts.cli import main; main()")
OWN_VARIABLES = ("XSTILTS_STORE", "XSTILTS_DATA", "XSTILTS_CACHE", "XSTILTS_TRACEBACK")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


def environment() -> dict[str, str]:
    """One thread, buffered output, and no folders from the caller's environment."""
    others = {key: value for key, value in os.environ.items() if key not in OWN_VARIABLES}
    return others | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}


def process(*words: str, cwd: Path, **variables: str) -> Ended:
    """Run the program in a process of its own."""
    env = environment() | variables
    done = subprocess.run(
        [*PROGRAM, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def refused(ended: Ended, *parts: str) -> None:
    """Assert that a command was refused in one clear message on standard error."""
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("xstilts: ")
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder: its bytes and when they were written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
