"""What was fetched from the hub: repository, commit, path, size and SHA-256 of every file; written and checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .spec import file_sha256, write_atomically
from .untrusted import parsed, plain

FORMAT = 1
_KEY = ("type", "repo", "commit", "path")
_ENTRY = {**dict.fromkeys(_KEY, str), "bytes": int, "sha256": str, "date": str, "xstilts": str}
_PART = re.compile(r"(?!\.\.?$)[^/\\\0]{1,255}")  # of a repository's own file names
_FOLDER = re.compile(r"(dataset|model)s--(.+)")


def add(manifest: Path, files: Iterable[Path], version: str) -> list[str]:
    """Enter files of the Hugging Face cache into a manifest, which is made if absent.

    An entry that is there already stays: a file of one commit never changes. Several processes may enter files into one
    manifest at once; a lock beside it, ``.NAME.lock``, which stays, lets one after the other.

    Args:
        manifest: JSON, ``{"format": 1, "files": [entry ...]}``; an entry has the repository's ``type`` (dataset or
            model), ``repo``, ``commit``, ``path``, ``bytes``, ``sha256``, the ``date`` (UTC) it was entered and the
            version of ``xstilts`` that did.
        files: paths in the cache, as downloads return them.
        version: of this package.

    Returns:
        What is wrong, for each file whose bytes differ from its entry, or from what the hub says of them; the latter
        are not entered.

    Raises:
        ValueError: for a file that is no manifest.
    """
    from filelock import FileLock

    date = datetime.now(UTC).isoformat(timespec="seconds")
    fetched: list[dict[str, Any]] = []
    problems: list[str] = []
    for file in files:
        sha256 = file_sha256(file)
        found = {**_place(file), "bytes": file.stat().st_size, "sha256": sha256}
        if _as_the_hub_says(file, sha256):
            fetched.append(found)
        else:
            blob = file.resolve()
            problems.append(f"{_name(found)}: not the bytes that the hub names; remove {blob} and fetch it again")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(manifest.with_name(f".{manifest.name}.lock")):
        entries = read(manifest) if manifest.exists() else {}
        for found in fetched:
            known = entries.setdefault(_name(found), found | {"date": date, "xstilts": version})
            if known["sha256"] != found["sha256"]:
                problems.append(f"{_name(found)}: not the bytes of {known['date']} in {manifest}")
        document = {"format": FORMAT, "files": [entries[name] for name in sorted(entries)]}
        write_atomically(manifest, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return problems


def read(manifest: Path) -> dict[str, dict[str, Any]]:
    """The entries of a manifest, by type, repository, commit and path in one text.

    Raises:
        ValueError: for a file that is no manifest, or none.
    """
    try:
        document = parsed(manifest.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{manifest}: no such file; expected a manifest that `xstilts fetch` wrote") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{manifest}: expected a manifest, got {error}") from error
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not isinstance(document.get("files"), list)
    ):
        raise ValueError(f"{manifest}: expected a manifest of format {FORMAT} with a list of files")
    entries = {}
    for number, entry in enumerate(document["files"]):
        if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in _ENTRY.items()):
            raise ValueError(f"{manifest}: files[{number}]: expected {', '.join(_ENTRY)}, got {entry!r}")
        try:
            for part in (*entry["repo"].split("/"), entry["commit"], *entry["path"].split("/")):
                plain("a part of a path", part, _PART)
        except ValueError as error:
            raise ValueError(f"{manifest}: files[{number}]: {error}") from error
        entries[_name(entry)] = entry
    return entries


def verify(manifest: Path) -> tuple[int, list[str]]:
    """Compare the files of the Hugging Face cache with a manifest.

    Returns:
        How many files it has, and what is wrong with each that is missing or differs.

    Raises:
        ValueError: for a file that is no manifest, or none.
    """
    entries = read(manifest)
    return len(entries), [f"{name}: {what}" for name, entry in entries.items() if (what := _difference(entry))]


def _difference(entry: dict[str, Any]) -> str:
    file = _cache() / f"{entry['type']}s--{entry['repo'].replace('/', '--')}" / "snapshots"
    file = file / entry["commit"] / entry["path"]
    if not os.path.isfile(file):  # of a name that is too long, too
        return "not in the Hugging Face cache"
    size = file.stat().st_size
    if size != entry["bytes"]:
        return f"{size} bytes, expected {entry['bytes']}"
    found = file_sha256(file)
    return "" if found == entry["sha256"] else f"SHA-256 {found}, expected {entry['sha256']}"


def _as_the_hub_says(file: Path, sha256: str) -> bool:
    """Whether a file has the hash that the hub gave with it, which is the name of the blob that it links to.

    That is the SHA-256 of a large file, and git's hash of a small one. Without a link it is not known: true.
    """
    name = file.resolve().name
    if not file.is_symlink() or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name):
        return True
    if len(name) == len(sha256):
        return name == sha256
    data = file.read_bytes()
    return name == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _place(file: Path) -> dict[str, str]:
    """Where a file of the cache comes from: ``<cache>/<type>s--<owner>--<name>/snapshots/<commit>/<path>``."""
    folder, _, commit, *path = file.relative_to(_cache()).parts
    found = _FOLDER.fullmatch(folder)
    assert found is not None, file
    return {"type": found[1], "repo": found[2].replace("--", "/"), "commit": commit, "path": "/".join(path)}


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['type']} {entry['repo']}@{entry['commit']}/{entry['path']}"
