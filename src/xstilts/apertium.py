"""Apertium, the rule-based translator of Debian's packages: its modes, their content, and sentences through it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .spec import cached_sha256, canonical_json, digest, one_of

MARKS = ("\u27e6", "\u27e7")
"""Brackets that no language uses: they stay where the words beside them go."""
_RESERVED = re.compile(r"([\\\[\]{}^$/@<>])")
_UNIT = re.compile(r"\\(.)|\[((?:\\.|[^\]\\])*)\]", re.DOTALL)
_FILE = re.compile(r"'(/[^']+)'")


def version() -> str:
    """The program's version.

    Raises:
        ValueError: when it is not installed, saying how to install it.
    """
    if shutil.which("apertium") is None:
        raise ValueError(
            "the program apertium is not installed: apt-get install apertium and a pair such as apertium-eng-spa"
        )
    return subprocess.run(["apertium", "-V"], capture_output=True, text=True, check=True).stdout.strip()


def find_mode(source: Sequence[str], target: Sequence[str], mode: str = "") -> str:
    """The installed mode that translates between two languages, or ``mode`` if it is installed.

    Args:
        source: codes of the source language, such as ``("en", "eng")``.
        target: those of the target language.
        mode: the mode asked for, if any.

    Raises:
        ValueError: when it is not installed, with those that are.
    """
    version()
    installed = sorted(path.stem for path in (_folder() / "modes").glob("*.mode"))
    wanted = [mode] if mode else [f"{one}-{other}" for one in source for other in target]
    found = next((name for name in wanted if name in installed), None)
    if found is None:
        one_of("mode of apertium", wanted[-1], installed)
    return str(found)


def content(mode: str, cache_dir: Path | None) -> str:
    """The version of the program, and a hash of a mode's pipeline with every file that it reads.

    Raises:
        ValueError: when a file is not there.
    """
    pipeline = (_folder() / "modes" / f"{mode}.mode").read_text()
    hashes = []
    for name in _FILE.findall(pipeline):
        if not Path(name).is_file():
            raise ValueError(f"apertium's mode {mode!r} reads {name}, which is not there: install its package again")
        hashes.append(cached_sha256(Path(name), cache_dir))
    steps = _FILE.sub(lambda match: Path(match[1]).name, pipeline)
    return f"{version()} {mode} {digest(canonical_json([steps, *hashes]))}"


def translate(sentences: Sequence[str], mode: str) -> list[str]:
    """Translate sentences, each by itself; words that are not in the dictionaries stay as they are, without a mark.

    Sentences go through one process in Apertium's stream format, with a null character after each, on which every
    program of the pipeline starts anew.

    Raises:
        ValueError: when the pipeline fails or gives back another number of sentences.
    """
    sent = "".join(f"{_escaped(sentence)}[]\0" for sentence in sentences)
    command = ["apertium", "-d", str(_folder()), "-u", "-z", "-f", "none", mode]
    done = subprocess.run(command, input=sent.encode("utf-8", "replace"), capture_output=True)
    got = done.stdout.decode("utf-8", "replace").split("\0")
    if done.returncode or b"rror" in done.stderr or len(got) < len(sentences):
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise ValueError(f"apertium {mode}: expected {len(sentences)} translations, got {len(got) - 1}: {said}")
    return [" ".join(_plain(text).split()) for text in got[: len(sentences)]]


def _escaped(sentence: str) -> str:
    """Text as Apertium's stream format has it: reserved characters escaped, ``~`` as a blank of its own."""
    return _RESERVED.sub(r"\\\1", " ".join(sentence.replace("\0", " ").split())).replace("~", "[~]")


def _plain(text: str) -> str:
    """The text of a stream: escapes undone, blanks as what they stand for."""
    return _UNIT.sub(lambda match: match[1] or (match[2] or "").replace("\\", ""), text)


def _folder() -> Path:
    """Where its data are, as the program itself has it."""
    return Path(os.environ.get("APERTIUM_DATADIR") or "/usr/share/apertium")
