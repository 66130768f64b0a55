"""Files and folders in the making, in a cache that processes share: what a killed one left is removed by the next."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def making(path: Path, pattern: str, *, is_folder: bool = False) -> Iterator[Path]:
    """Make an empty file or folder at ``path``, to be filled and renamed; what is still there at the end is removed.

    It is locked by the kernel for so long. Its neighbours whose names are of the ``pattern`` (a regular expression) and
    whose locks are free have lost their process: they are removed first. A file system without locks keeps them.
    """
    parent = path.parent
    parent.mkdir(parents=True, exist_ok=True)
    turn = os.open(parent, os.O_RDONLY)
    try:
        if _lock(turn):
            for name in os.listdir(parent):
                if re.fullmatch(pattern, name):
                    _remove_if_left(parent / name)
        path.mkdir() if is_folder else path.touch(exist_ok=False)
        handle = os.open(path, os.O_RDONLY)
        _lock(handle)
    finally:
        os.close(turn)
    try:
        yield path
    finally:
        os.close(handle)
        _remove(path)


def _remove_if_left(path: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            if _lock(handle, wait=False):
                _remove(path)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(handle: int, wait: bool = True) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
