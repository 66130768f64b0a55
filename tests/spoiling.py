"""Valid files, and ways to spoil them that keep most of their structure."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

DEEP = 20_000
LONG = 20_000
# What a reader may meet where it expects a letter, a number or the end of a line.
ODD = (
    *(b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n\n", b"\t", b"\t\t\t", b" ", b'"'),
    *("\u2028".encode(), "\x85".encode(), "\u200f".encode(), b"\x1b[2J", b"\x1f\x8b", b"PAR1", b"\\", b"'", b"{", b"]"),
    *(
        b"9" * 5000,
        b"-1",
        b"1e999",
        b"1" + b"0" * 400,
        b"NaN",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'"\\ud800"',
        b"\\ud800",
    ),
    *(
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"x" * LONG,
        b"\xe4\xb8\xad" * LONG,
        b"{ " * 2000,
        b'. "A' * 2000,
        b"(<L a " * 2000,
    ),
)
ODD_VALUES = (
    *(None, True, False, 0, -1, 1 << 70, 10**400, 1.5, 1e300, "", "\0", "\ud800", "../../../etc/passwd", "/etc/passwd"),
    *("x" * 10_000, [], {}, [[]], [None], {"a": None}, "A", "5", "\x1b[2J", "a\nb", "\u2028"),
)
Way = Callable[[bytes, random.Random], bytes]


def _at(content: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(content))


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: _at(content, rng)]


def behead(content: bytes, rng: random.Random) -> bytes:
    return content[_at(content, rng) :]


def flip(content: bytes, rng: random.Random) -> bytes:
    at = _at(content, rng)
    return (
        content[:at] + bytes([content[at] ^ (1 << rng.randint(0, 7))]) + content[at + 1 :]
        if (at < len(content))
        else content
    )


def put(content: bytes, rng: random.Random) -> bytes:
    at = _at(content, rng)
    return content[:at] + rng.choice(ODD) + content[at:]


def replace(content: bytes, rng: random.Random) -> bytes:
    at, length = _at(content, rng), rng.randint(1, 12)
    return content[:at] + rng.choice((rng.choice(ODD), rng.randbytes(rng.randint(0, 8)))) + content[at + length :]


def copy(content: bytes, rng: random.Random) -> bytes:
    """A stretch of the file once more, elsewhere."""
    start, end, at = (_at(content, rng) for _ in range(3))
    return content[:at] + content[min(start, end) : max(start, end)] + content[at:]


def lines(content: bytes, rng: random.Random) -> bytes:
    """A line doubled, dropped, moved or made blank."""
    found = content.split(b"\n")
    at, to = (rng.randint(0, len(found) - 1) for _ in range(2))
    how = rng.choice(("double", "drop", "move", "blank", "field"))
    if how == "double":
        found.insert(to, found[at])
    elif how == "drop":
        del found[at]
    elif how == "move":
        found[at], found[to] = found[to], found[at]
    elif how == "blank":
        found[at] = b""
    else:
        fields = found[at].split(b"\t")
        fields[rng.randint(0, len(fields) - 1)] = rng.choice(ODD)
        found[at] = b"\t".join(fields)
    return b"\n".join(found)


def whole(content: bytes, rng: random.Random) -> bytes:
    """What befalls a whole file: another encoding, other line ends, packed, packed twice, packed and cut."""
    how = rng.choice(("crlf", "bom", "utf-16", "gzip", "gzip twice", "cut gzip", "flipped gzip", "cr"))
    if how in ("crlf", "cr"):
        return content.replace(b"\n", b"\r\n" if how == "crlf" else b"\r")
    if how == "bom":
        return b"\xef\xbb\xbf" + content
    if how == "utf-16":
        return content.decode("utf-8", "replace").encode("utf-16")
    packed = gzip.compress(gzip.compress(content) if how == "gzip twice" else content)
    return truncate(packed, rng) if how == "cut gzip" else flip(packed, rng) if how == "flipped gzip" else packed


def value(content: bytes, rng: random.Random) -> bytes:
    """A value of a JSON document, or of a line of it, is another one, doubled, renamed or gone."""
    rows = content.split(b"\n")
    at = rng.randint(0, len(rows) - 1)
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError):
        try:
            rows[at] = _changed(json.loads(rows[at]), rng)
        except (ValueError, RecursionError):
            return put(content, rng)
        return b"\n".join(rows)
    return _changed(document, rng)


def _changed(document: Any, rng: random.Random) -> bytes:
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in inside:
            places.append((node, key))
            walk(child)

    walk(document)
    if not places:
        return json.dumps(rng.choice(ODD_VALUES)).encode()
    node, key = places[rng.randint(0, len(places) - 1)]
    how = rng.choice(("other", "other", "gone", "double", "wrap", "swap"))
    if how == "other":
        node[key] = rng.choice(ODD_VALUES)
    elif how == "gone":
        del node[key]
    elif how == "wrap":
        node[key] = [node[key]]
    elif how == "double" and isinstance(node, list):
        node.insert(key, node[key])
    else:
        other, name = places[rng.randint(0, len(places) - 1)]
        node[key] = json.loads(json.dumps(other[name]))
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


WAYS: tuple[Way, ...] = (truncate, behead, flip, put, replace, copy, lines, whole, value, value)


def spoilt(content: bytes, rng: random.Random) -> bytes:
    """A file spoilt in one to three ways; once in a while one that has nothing to do with it."""
    if rng.randint(0, 19) == 0:
        return rng.randbytes(rng.randint(0, 200))
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(WAYS)(content, rng)
    return content
