"""What a record says of a stage: its declaration, its names, and the code that has done it."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from .probes import Probe
from .spec import digest
from .stage import Evaluate, Merge, Stage, Train, label, root
from .version import __version__


def code_state() -> dict[str, str]:
    """Version of the package, and commit and digest of uncommitted changes when it runs from a checkout."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    state = {"xstilts": __version__}
    listed = git("ls-files", "--error-unmatch", str(folder / "run.py"))
    commit = git("rev-parse", "HEAD") if listed else None
    if commit:
        changes = git("diff", "HEAD", "--", str(folder)) or ""
        state |= {"commit": commit.strip(), "uncommitted_changes": digest(changes) if changes else ""}
    return state


def record_of(
    stage: Stage, done: dict[str, Any], code: dict[str, str], started: datetime, seconds: float
) -> dict[str, Any]:
    """The record of a stage that ``perform`` has ``done`` from ``started`` (UTC) on in so many seconds."""
    names = {"label": label(stage)}
    if isinstance(stage, (Train, Merge, Evaluate, Probe)):
        names["encoder"] = root(stage).name
    if isinstance(stage, Train):
        names["recipe"] = stage.recipe.name
    return {
        "kind": stage.kind,
        "version": stage.version,
        "declaration": stage.declaration(),
        "inputs": [other.id for other in stage.inputs],
        "names": names,
        "result": done["result"],
        "environment": code | done.get("environment", {}),
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": seconds,
        "cost": done.get("cost", {}),
    }
