"""What comes from elsewhere: names that become paths, gzip, JSON, texts that may hold a secret or steer a terminal.

docs/security.md has what is trusted and what is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MAX_UNPACKED_BYTES = 1 << 36
"""The most that a packed file may unpack to: 64 GiB."""
MAX_RATIO = 200
"""How many times its size a packed file may unpack to; text reaches about 20, gzip itself 1,032."""
FREE_BYTES = 1 << 26
"""What a packed file may unpack to whatever its size: 64 MiB."""
MAX_JSON_BYTES = 1 << 28
"""The largest document of JSON that is not rows of a data set: 256 MiB."""

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+=-]{0,199}")
"""A part of a path: no separator, no leading dot."""

_GZIP_MAGIC = b"\x1f\x8b"
_HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|APIKEY|(?:API|ACCESS|PRIVATE|SECRET)_KEY)$", re.I
)
_SHORTEST_SECRET = 8
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/\"'<>]*@", re.I)
_URL_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>]+)\?[^\s#\"'<>)\]]+", re.I)
_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30,}|gh[opsu]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|sk-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|A[KS]IA[A-Z0-9]{16})\b|(?<=\bBearer )[\w.~+/=-]{8,}|(?<=\bAuthorization: )(?:\w+ )?\S+"
)
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(what: str, name: Any, pattern: re.Pattern[str] = PLAIN) -> str:
    """``name`` itself, that can only be a part of a path.

    Raises:
        ValueError: when it could be a path.
    """
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise ValueError(f"{what} {str(name)[:200]!r}: expected letters, digits, '.', '_' and '-', never a path")
    return name


def parsed(data: bytes) -> Any:
    """What a document of JSON says.

    Raises:
        ValueError: for what is none or no UTF-8, nested too deeply, larger than `MAX_JSON_BYTES`, or has half a
            surrogate pair.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"{len(data):,} bytes of JSON: expected at most {MAX_JSON_BYTES:,}")
    try:
        found = json.loads(data.decode("utf-8-sig"))
        if b"\\u" in data:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    return found


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, of a gzip file those that are packed in it; what it is says its content, not its name.

    Raises:
        ValueError: while it is read, for a gzip file that unpacks to more than it may.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        yield io.BufferedReader(_Gzip(path, raw), 1 << 20) if packed else raw


class Unpacking:
    """How far a packed file has been unpacked, up to the declared limits.

    Args:
        path: the file, for messages.
        size: its own bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._unpacked = path, 0
        self._most = min(MAX_UNPACKED_BYTES, max(FREE_BYTES, MAX_RATIO * size))

    def add(self, num_bytes: int) -> None:
        """Count bytes that were unpacked.

        Raises:
            ValueError: when they are more than the file may unpack to.
        """
        self._unpacked += num_bytes
        if self._unpacked > self._most:
            raise ValueError(
                f"{self._path}: it unpacks to more than {self._most:,} bytes, {MAX_RATIO} times its size or "
                f"{MAX_UNPACKED_BYTES:,} in all: no data set does; unpack it yourself if you trust it"
            )


class _Gzip(io.RawIOBase):
    """A gzip file as it unpacks."""

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._stream = gzip.GzipFile(fileobj=raw)
        self._unpacking = Unpacking(path, os.fstat(raw.fileno()).st_size)

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end."""
        count = self._stream.readinto(buffer)
        self._unpacking.add(count)
        return count


def redacted(value: Any) -> Any:
    """Text, or JSON data with every text in it, without secrets.

    Secrets are values of environment variables whose names end in TOKEN, PASSWORD, API_KEY and the like, tokens of
    known forms, and user names, passwords and queries of URLs.
    """
    secrets = [v for k, v in os.environ.items() if len(v) >= _SHORTEST_SECRET and _SECRET_NAME.search(k)]
    return _redacted(value, sorted(secrets, key=len, reverse=True))


def _redacted(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _HIDDEN)
        if "://" in value:
            value = _URL_QUERY.sub(rf"\1?{_HIDDEN}", _URL_USER.sub(rf"\1{_HIDDEN}@", value))
        return _TOKEN.sub(_HIDDEN, value)
    if isinstance(value, dict):
        return {_redacted(key, secrets): _redacted(one, secrets) for key, one in value.items()}
    return [_redacted(one, secrets) for one in value] if isinstance(value, list) else value


def printable(text: str) -> str:
    """Text in which control characters, which could steer a terminal, are spelt out; line ends and tabs stay."""
    return _STEERING.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
