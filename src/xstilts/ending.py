"""How a command ends: with its answer, as text or JSON, or with one message that says why not; and the exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .untrusted import printable, redacted

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
_ROOM = "make room and give the same command again: what is finished stays"
_MEMORY = "fewer workers (--device), a smaller batch_examples or max_tokens need less"
_MAX_WORDS = 10_000
_ADVICE = {
    "no space left on device": _ROOM,
    "disk quota exceeded": _ROOM,
    "out of memory": _MEMORY,
    "allocate memory": _MEMORY,
}


@dataclass(frozen=True)
class Answer:
    """What a command prints on standard output at its end, and its exit code."""

    text: str
    exit_code: int = 0


def text(lines: Iterable[str], exit_code: int = 0) -> Answer:
    """An answer for a person."""
    return Answer("".join(f"{line}\n" for line in lines), exit_code)


def document(data: Mapping[str, Any], exit_code: int = 0) -> Answer:
    """An answer for a machine: one JSON document with sorted keys."""
    return Answer(
        json.dumps(redacted(data), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", exit_code
    )


def printed(answer: Answer, **_: Any) -> Answer:
    """Print an answer, as the last thing of a command."""
    print(answer.text, end="", flush=True)
    return answer


def said(error: BaseException) -> str:
    """An exception in words: what and where, and what to do when the disk or the memory is full."""
    if isinstance(error, OSError) and error.strerror:
        where = error.filename2 or error.filename
        words = f"{where}: {error.strerror}" if where else error.strerror
    elif isinstance(error, MemoryError):
        words = f"out of memory: {error}".removesuffix(": ")
    elif isinstance(error, (ValueError, OSError)):
        words = str(error)
    else:
        words = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    words = printable(redacted(words))
    if len(words) > _MAX_WORDS:
        words = f"{words[:_MAX_WORDS]} ... and {len(words) - _MAX_WORDS:,} more characters"
    advice = next((advice for what, advice in _ADVICE.items() if what in words.lower()), "")
    return f"{words}; {advice}" if advice else words


def complain(message: str) -> None:
    """Print one message on standard error."""
    with contextlib.suppress(OSError):  # nobody reads it any more
        print(f"xstilts: {printable(redacted(message))}", file=sys.stderr, flush=True)


def guarded(program: Callable[[], Answer | int | None], *, as_json: bool) -> int:
    """Run a command and return its exit code; say why when it has no answer.

    Args:
        program: prints its answer and returns it, or returns an exit code without one (help, Ctrl-C).
        as_json: an error is a document on standard output too: ``{"error": {"exit_code", "message"}}``.
    """
    try:
        answer = program()
        if answer == INTERRUPTED:
            raise KeyboardInterrupt
        return answer.exit_code if isinstance(answer, Answer) else answer or 0
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("XSTILTS_TRACEBACK"):
            print(redacted(traceback.format_exc()), file=sys.stderr)
        code, message = _judged(error)
        if message:
            complain(message)
        if as_json:
            try:
                printed(document({"error": {"exit_code": code, "message": message}}, code))
            except BrokenPipeError:  # nobody reads it any more; nor may the interpreter flush it at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code


def _judged(error: BaseException) -> tuple[int, str]:
    """The exit code and the message of an exception."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if hasattr(error, "format_message"):  # wrong usage, as typer has found it
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return REFUSED, ""
        context = getattr(error, "ctx", None)
        hint = f"\nTry '{context.command_path} --help' for help." if context else ""
        return REFUSED, redacted(error.format_message()) + hint
    words = said(error)
    if isinstance(error, (ConnectionError, MemoryError)) or words.endswith(_ROOM):
        return FAILED, words
    if isinstance(error, (ValueError, OSError)):
        return REFUSED, words
    return FAILED, _bug(error, words)


def _bug(error: BaseException, words: str) -> str:
    """A message for what nobody foresaw: where it happened, and the file that has the traceback."""
    *_, last = traceback.extract_tb(error.__traceback__)
    where = f"{words} ({os.path.basename(last.filename)}:{last.lineno})"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="xstilts-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(redacted("".join(traceback.format_exception(error))))
        kept = f"its traceback is in {file.name}"
    except OSError:
        kept = "XSTILTS_TRACEBACK=1 shows its traceback"
    return f"a bug in xstilts: {where}; what is finished stays; {kept}: please report it"
