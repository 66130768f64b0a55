"""The one lock file: what pip may install, each package with the SHA-256 of its files.

    python .ci/lock.py write              requirements.lock anew, from pyproject.toml; needs uv and the network
    python .ci/lock.py install EXTRA ...  by pip into the environment of this Python what the package with these extras
                                          needs, and nothing but files whose hashes are in requirements.lock

A CUDA build of torch needs packages that a CPU build does not: they are installed where torch is one. Of the builds of
torch pip takes one of the index where both are allowed, so the one that its configuration here gives is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYTHON = "3.11"  # the oldest one; markers tell the others
HEADER = """\
# Every package of every extra, with the SHA-256 of its files. `make lock` writes it, `make` installs the part it needs.
# torch has those of the package index (CUDA builds on Linux) and of the CPU build that pip gave where it was written.
"""
_BLOCK = re.compile(r"^(?P<name>[\w.-]+)==.*(?:\n[ \t]+.*)*", re.MULTILINE)
_VIA = re.compile(r"#(?: via)? +([\w.-]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CUDA = re.compile(r"(nvidia|cuda|triton)\b")


def canonical(requirement: str) -> str:
    """The name in a requirement, as indexes spell it."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def blocks(text: str) -> dict[str, str]:
    """The entries of a lock file by name; those of other versions for other Pythons together."""
    found: dict[str, str] = {}
    for match in _BLOCK.finditer(text):
        found[match["name"]] = "\n".join([*filter(None, [found.get(match["name"])]), match[0]])
    return found


def shown(text: str, project: dict, extras: list[str], cuda: bool) -> str:
    """The entries that a project with some extras needs, and what builds it."""
    known = project["project"]["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in known]:
        raise SystemExit(f"unknown extras {', '.join(unknown)}: expected some of {', '.join(known)}")
    found = blocks(text)
    needs: dict[str, list[str]] = {}
    for name, block in found.items():
        for parent in _VIA.findall(block):
            if cuda or not _CUDA.match(name):
                needs.setdefault(parent, []).append(name)
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted = [*map(canonical, wanted + [one for extra in extras for one in known[extra]])]
    kept: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept.add(name)
            wanted += needs.get(name, [])
    if missing := sorted(kept - found.keys()):
        raise SystemExit(
            f"{LOCK.name} lacks {', '.join(missing)}: expected `make lock` after a change of pyproject.toml"
        )
    return "".join(f"{found[name]}\n" for name in sorted(kept))


def write(project: dict) -> None:
    """Resolve all extras for every Python and platform; what is locked already stays where it still fits."""
    before = blocks(LOCK.read_text()) if LOCK.exists() else {}
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON, "--generate-hashes"]
    command += ["--no-header", "--all-extras", "pyproject.toml", "-", "-o", LOCK.name]
    subprocess.run(command, cwd=ROOT, input="\n".join(project["build-system"]["requires"]), text=True, check=True)
    text = LOCK.read_text()
    torch = blocks(text)["torch"]
    version = torch.split()[0]
    own = {_own_hash(version), *(_HASH.findall(before["torch"]) if before.get("torch", "").startswith(version) else ())}
    more = [f"    --hash=sha256:{one}" for one in sorted(own - {*_HASH.findall(torch)})]
    last = torch.rindex("--hash=")
    end = torch.index("\n", last)
    LOCK.write_text(HEADER + text.replace(torch, torch[:end] + "".join(f" \\\n{one}" for one in more) + torch[end:]))


def _own_hash(requirement: str) -> str:
    """The SHA-256 of the file that pip's configuration on this machine gives for a requirement."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    report = subprocess.run([*command, "--report", "-", requirement], capture_output=True, text=True, check=True).stdout
    about = json.loads(report)["install"][0]["download_info"]
    url = urlsplit(about["url"])
    if url.scheme == "file":
        with open(unquote(url.path), "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return about["archive_info"]["hashes"]["sha256"]


def for_here(text: str) -> str:
    """Entries with the hash of one build of torch, that of this machine, if it is among them."""
    torch = blocks(text)["torch"]
    hashes, own = _HASH.findall(torch), _own_hash(torch.split()[0])
    if own not in hashes:
        print(f"{LOCK.name} lacks the build of torch that pip gives here; `make lock` adds it", file=sys.stderr)
        return text
    kept = torch.split("\n", 1)[0] + f"\n    --hash=sha256:{own}"
    return text.replace(torch, kept)


def install(project: dict, extras: list[str]) -> None:
    """Install what the package with some extras needs; the package itself is not among it."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for cuda in (False, True):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(for_here(shown(LOCK.read_text(), project, extras, cuda)))
            file.flush()
            subprocess.run([*pip, "install", "--no-deps", "--require-hashes", "--requirement", file.name], check=True)
        if subprocess.run([*pip, "check"]).returncode == 0:
            return
    raise SystemExit("what is installed does not fit together: see above")


def main(words: list[str]) -> None:
    """Do what the words say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    match words:
        case ["write"]:
            write(project)
        case ["install", *extras]:
            install(project, extras)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
