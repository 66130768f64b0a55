"""A frozen value -> canonical JSON -> id; the only place that hashes."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import os
import re
import time
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from . import untrusted

ID_HEX_DIGITS = 20
_CHUNK_BYTES = 1 << 20
_SETTLED_NS = 3 * 10**9
_SHA256 = re.compile(rb"[0-9a-f]{64}")


def near(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'a', 'b'?"`` for the names closest to ``name``, or ``""``."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return "; did you mean " + ", ".join(repr(other) for other in close) + "?" if close else ""


def one_of(what: str, name: str, names: Iterable[str]) -> None:
    """Raise ``ValueError`` with the choices and the near names unless ``name`` is one of ``names``."""
    choices = list(names)
    if name not in choices:
        raise ValueError(f"unknown {what} {name!r}: expected one of {', '.join(choices)}{near(name, choices)}")


def declared(*, default: Any = dataclasses.MISSING, counts: bool = True, absent: Any = dataclasses.MISSING) -> Any:
    """Declare a field of a `Value` with its part in identity.

    Args:
        default: the field's default value.
        counts: ``False`` when the field does not matter to any number (a path, a name, a device).
        absent: for a field that was added later: at this value the field is left out of the canonical
            JSON, so that every id made before the field existed stays what it was.
    """
    if absent is not dataclasses.MISSING and default is dataclasses.MISSING:
        default = absent
    return dataclasses.field(default=default, metadata={"counts": counts, "absent": absent})


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@dataclasses.dataclass(frozen=True)
class Value:
    """A frozen declaration: plain fields, a ``kind`` and a ``version``, one canonical JSON form.

    ``version`` is bumped when the same fields come to mean other numbers.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Normalise what Python lets a caller write in two ways: ints for floats, lists for tuples.

        Raises:
            ValueError: for text where a tuple is expected, a fraction where a whole number is, and by `check`.
        """
        cls: Any = type(self)
        for name, hint in _hints(cls).items():
            if typing.get_origin(hint) is not ClassVar and hint is not ClassVar:
                object.__setattr__(self, name, _normalised(getattr(self, name), hint, f"{self.kind}.{name}"))
        self.check()

    def check(self) -> None:
        """Raise ``ValueError`` for a field outside its range; overridden where there is one."""

    @functools.cached_property
    def id(self) -> str:
        """``<kind>-<20 hex digits>``: SHA-256 of the canonical JSON."""
        return f"{self.kind}-{digest(canonical_json(self.declaration()))}"

    def declaration(self) -> dict[str, Any]:
        """The canonical form: kind, version and every counting field; a stage among them by its id."""
        document: dict[str, Any] = {"kind": self.kind, "version": self.version}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not field.metadata.get("counts", True):
                continue
            if "absent" in field.metadata and value == field.metadata["absent"]:
                continue
            document[field.name] = canonical(value, f"{self.kind}.{field.name}")
        return document


def _normalised(value: Any, hint: Any, where: str) -> Any:
    """One spelling of values that compare equal, so that equal declarations have equal ids."""
    if isinstance(value, list):
        value = tuple(value)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str):
            raise ValueError(f"{where} is {value!r}: expected a tuple, such as ({value!r},)")
        if isinstance(value, tuple):
            return tuple(_normalised(item, typing.get_args(hint)[0], where) for item in value)
    wanted = {hint, *typing.get_args(hint)}
    if isinstance(value, (int, float)) and bool not in wanted:
        if float in wanted:
            return float(value)
        if int in wanted:
            if value != value // 1:
                raise ValueError(f"{where} is {value}: expected a whole number")
            return int(value)
    return value


def positive(value: Value, *names: str) -> None:
    """Raise ``ValueError`` unless the named numbers are above 0."""
    for name in names:
        number = getattr(value, name)
        if not number > 0:
            raise ValueError(f"{value.kind}.{name} is {number}: expected a number above 0")


class Node(Value):
    """A value that stands in another one by its id: a unit of work in the graph."""


def canonical(value: Any, where: str = "value") -> Any:
    """Turn a value into JSON data with one spelling; ``where`` names it in the error.

    Raises:
        ValueError: for a number that is not finite or a type that has no canonical form.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: expected a finite number")
        return value + 0.0  # -0.0 and 0.0 are one value
    if isinstance(value, Node):
        return {"stage": value.id}
    if isinstance(value, Value):
        return value.declaration()
    if isinstance(value, (tuple, list)):
        return [canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key], f"{where}.{key}") for key in sorted(value)}
    raise ValueError(f"{where} is a {type(value).__name__}: expected numbers, text, lists or declared values")


def canonical_json(document: Any) -> str:
    """Serialise JSON data with sorted keys and no white space."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str | bytes) -> str:
    """The first 20 hex digits of SHA-256."""
    data = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(data).hexdigest()[:ID_HEX_DIGITS]


def stream_seed(*key: str | int) -> int:
    """A 63-bit seed for the random stream named by ``key``, such as ``(seed, task, "order", 0)``.

    Keyed streams make a task's order and head the same in every subset of tasks, and every step's
    dropout a function of the step alone, so that nothing random has to be carried across a resume.
    """
    data = canonical_json([*key]).encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1


def file_sha256(path: Path, *, unpacked: bool = False) -> str:
    """SHA-256 of a file, of its unpacked bytes when ``unpacked`` is set and the file is gzip."""
    hasher = hashlib.sha256()
    with untrusted.unpacked(path) if unpacked else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def cached_sha256(path: Path, cache_dir: Path | None, *, unpacked: bool = False) -> str:
    """`file_sha256`, remembered by path, size and both times in ``cache_dir``: of writing, and of any change.

    The latter cannot be set by a program. A file that was changed in the last seconds, or in the future of a clock that
    was set back, is hashed every time: another content could still get the same times.

    The cache is one small file per hashed file, written by rename, so any number of processes may share it.
    """
    if cache_dir is None:
        return file_sha256(path, unpacked=unpacked)
    status = path.stat()
    times = [status.st_mtime_ns, status.st_ctime_ns]
    key = digest(canonical_json([str(path.resolve()), status.st_size, *times, unpacked]))
    entry = cache_dir / "hashes" / key
    if entry.is_file():
        known = entry.read_bytes()
        if _SHA256.fullmatch(known):
            return known.decode()
    value = file_sha256(path, unpacked=unpacked)
    if time.time_ns() - status.st_ctime_ns > _SETTLED_NS:
        write_atomically(entry, value)
    return value


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file by rename, so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        with name.open("xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException as error:
        name.unlink(missing_ok=True)
        if isinstance(error, OSError) and not error.filename:  # a full disk does not say which
            error.filename = str(path)
        raise
