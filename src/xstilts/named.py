"""A study by its name or its Python file, and its parameters: their types, defaults, texts, and NAME=VALUE words."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
import shutil
import sys
import textwrap
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .spec import digest, one_of

_MOST_NUMBERS = 100_000
_LISTS = (tuple, list, Sequence)
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a study for a person: its type in words, its default as one would write it, its text."""

    name: str
    type: str
    default: str | None
    text: str


def study_file(study: str) -> Path | None:
    """The Python file in ``FILE.py`` or ``FILE.py:FUNCTION``, ``None`` for the name of a built-in study."""
    path = study.partition(":")[0]
    return Path(path) if path.endswith(".py") else None


def find_study(study: str) -> tuple[str, Callable[..., Any]]:
    """The name and the function of a study; a user's file is imported, with the tasks it declares.

    Raises:
        ValueError: for an unknown name, or a file without a study, with the near names.
    """
    path = study_file(study)
    if path is None:
        from .studies import STUDIES

        one_of("study", study, STUDIES)
        return study, STUDIES[study]
    module = load_study_file(path)
    functions = {
        name: function
        for name, function in vars(module).items()
        if inspect.isgeneratorfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
    }
    if not functions:
        raise ValueError(f"{path} has no study: expected a function that yields stages, such as Evaluate(...)")
    wanted = study.partition(":")[2] or (next(iter(functions)) if len(functions) == 1 else path.stem)
    one_of(f"study function of {path}", wanted, functions)
    return wanted, functions[wanted]


def load_study_file(path: Path) -> Any:
    """Import a user's own study file as a module; it is the user's code and may declare tasks.

    Raises:
        ValueError: when it cannot be read or raises, with file and line.
    """
    name = f"xstilts_study_{digest(str(path.resolve()))}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None or not path.is_file():
        raise ValueError(f"{path}: expected a Python file with a study function")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        with _places(path):
            found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def leaves(study: str, function: Callable[..., Any], values: dict[str, Any]) -> list[Any]:
    """What a study yields; an error in a user's own file has its line.

    Raises:
        ValueError: whatever the user's file raises.
    """
    with _places(study_file(study)):
        return list(function(**values))


@contextlib.contextmanager
def _places(path: Path | None) -> Iterator[None]:
    """Turn what a user's own file raises into a `ValueError` with file and line; what it prints is no answer."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        if path is None:
            raise
        kind = "" if isinstance(error, (ValueError, SyntaxError)) else f"{type(error).__name__}: "
        if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path.resolve():
            raise ValueError(f"{path}:{error.lineno or 1}: {error.msg}") from error
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
        raise ValueError(f"{path}:{lines[-1] if lines else 1}: {kind}{error}") from error


def parse(function: Callable[..., Any], name: str, given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words as the study function's own types.

    Raises:
        ValueError: for a word without ``=``, an unknown parameter (with the near names), a value that does not fit,
            or a parameter without a default that is not given.
    """
    hints = _hints(function)
    declared = inspect.signature(function).parameters
    known = list(declared)
    values: dict[str, Any] = {}
    for word in given:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(
                f"{word!r}: expected NAME=VALUE with a parameter of the study {name!r}: {', '.join(known)}"
            )
        one_of(f"parameter of the study {name!r}", key, known)
        if key in values:
            raise ValueError(f"the parameter {key!r} is given twice")
        try:
            values[key] = _value(text, hints.get(key, str))
        except ValueError as error:
            raise ValueError(f"{key}={text}: {error}") from None
    if lacking := [key for key in known if declared[key].default is inspect.Parameter.empty and key not in values]:
        raise ValueError(f"the study {name!r} needs a value for {', '.join(lacking)}: expected NAME=VALUE for each")
    return values


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception as error:  # whatever the annotations of a user's own function raise
        raise ValueError(f"the study {function.__name__!r} has types that cannot be read: {error}") from error


def _one(hint: Any) -> Any:
    """The type beside ``None`` of an optional one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(option for option in typing.get_args(hint) if option is not type(None))
    return hint


def _value(text: str, hint: Any) -> Any:
    hint = _one(hint)
    if typing.get_origin(hint) in _LISTS:
        inner = typing.get_args(hint)[0]
        words = [word for word in text.split(",") if word]
        if not words:
            raise ValueError("expected one value or more, separated by commas")
        if inner is int:
            return tuple(number for word in words for number in _numbers(word))
        return tuple(_value(word, inner) for word in words)
    if hint is bool:
        one_of("value", text, ("true", "false"))
        return text == "true"
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"expected a {_TYPES[hint]}") from None
    return text


def _numbers(word: str) -> list[int]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", word)
    if span and int(span[1]) <= int(span[2]):
        if int(span[2]) - int(span[1]) >= _MOST_NUMBERS:
            raise ValueError(f"expected at most {_MOST_NUMBERS:,} numbers, got {word}")
        return list(range(int(span[1]), int(span[2]) + 1))
    if not re.fullmatch(r"-?\d+", word):
        raise ValueError("expected whole numbers like 0,2,5 or 0..4")
    return [int(word)]


def spelled(value: Any) -> str:
    """A value as one would write it behind ``NAME=``."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else ",".join(map(spelled, value)) if isinstance(value, tuple) else str(value)


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a study and their defaults, as Python declares them."""
    return {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}


def summary(function: Callable[..., Any]) -> str:
    """The first line of a study's docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def described(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a study, with the texts of its docstring's ``Args`` section."""
    hints, texts = _hints(function), _texts(inspect.getdoc(function) or "")
    return [
        Parameter(
            name,
            _type_in_words(hints.get(name, str)),
            None if default is inspect.Parameter.empty else spelled(default),
            texts.get(name, ""),
        )
        for name, default in defaults(function).items()
    ]


def in_words(name: str, function: Callable[..., Any]) -> list[str]:
    """The lines of a study's help: what it is, then every parameter, and what a built-in study says beside."""
    from .studies import NOTES, STUDIES

    width = max(40, min(shutil.get_terminal_size().columns, 100))
    lines = [f"{name}: {summary(function)}"]
    for one in described(function):
        given = f"= {one.default}" if one.default else "needed" if one.default is None else "may be left out"
        lines += ["", f"{one.name}  ({one.type}; {given})"]
        lines += textwrap.wrap(one.text, width, initial_indent="    ", subsequent_indent="    ")
    return [*lines, *(["", *NOTES[name](width)] if name in NOTES and STUDIES[name] is function else [])]


def _type_in_words(hint: Any) -> str:
    hint = _one(hint)
    if typing.get_origin(hint) in _LISTS:
        inner = typing.get_args(hint)[0]
        return (
            "whole numbers: 0,2,5 or 0..4" if inner is int else "numbers: a,b,c" if inner is float else "texts: a,b,c"
        )
    return _TYPES.get(hint, "text")


def _texts(docstring: str) -> dict[str, str]:
    """``name: text`` of an ``Args`` section, as Google's style writes it."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.findall(r"^    (\w+)[^:\n]*: (.*(?:\n {6,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
