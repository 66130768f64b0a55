"""The commands on tasks: list them, and show one with examples as a model sees them."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import CacheOption, DataOption, JsonOption, cache_folder, check_data, task_of, tasks_like

if typing.TYPE_CHECKING:
    from .tasks import Example, Task
    from .tasks.task import Source

_NUM_SHOWN = 3
_HEADINGS = ("name", "kind", "languages", "train", "dev", "test", "from", "here", "licence")
_COUNTS = slice(2, 6)

tasks_app = typer.Typer(
    help="List the data sets, or show one.\n\nExample: xstilts tasks --data ~/benchmarks",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@tasks_app.callback()
def tasks_command(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> Answer | None:
    """List the data sets and which are on this machine.

    Rows are those of all languages; ? where no number is declared. `xstilts tasks show NAME` says more.

    Example: xstilts tasks --data ~/benchmarks
    """
    if ctx.invoked_subcommand:
        return None
    from . import tasks

    check_data(data)
    found = [_listed(tasks.find(name), data) for name in tasks.names()]
    if as_json:
        return ending.document({"tasks": found})
    table = [_HEADINGS, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    counts = range(*_COUNTS.indices(len(_HEADINGS)))
    return ending.text(
        "  ".join(f"{cell:{'>' if i in counts else '<'}{widths[i]}}" for i, cell in enumerate(cells)).rstrip()
        for cells in table
    )


@tasks_app.command("show")
def show_command(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(help="A task, or FILE.py:TASK for one that a study file declares.", autocompletion=tasks_like),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="train, dev or test; the first with rows here else.")
    ] = None,
    language: Annotated[str | None, typer.Option("--language", help="Its code; English, or the first, else.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="offline, tiny, a folder or HUB/NAME; offline if installed, else tiny."),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest sequence.")] = 256,
    data: DataOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> Answer:
    """Say what a data set is, and show three examples as a model sees them.

    Every row of the split in the language is read and checked.

    Example: xstilts tasks show mini-xtags --language tr --encoder tiny
    """
    assert ctx.parent is not None
    data, as_json = data or ctx.parent.params["data"], as_json or ctx.parent.params["as_json"]
    check_data(data)
    task = task_of(name)
    facts = _facts(task, name, data)
    chosen = _place(task, split, language, data)
    if isinstance(chosen, str):
        facts |= {"missing": chosen, "examples": []}
    else:
        facts |= {"missing": None, **_shown(task, *chosen, encoder, max_tokens, data, cache)}
    return ending.document(facts) if as_json else ending.text(_in_words(facts))


def _listed(task: Task, data: Path | None) -> dict[str, Any]:
    from . import tasks

    splits = list(task.splits)
    counts = [[task.count(split, code) for code in task.languages_of(split)] for split in splits]
    here = [tasks.available(task, split, code, data) for split in splits for code in task.languages_of(split)]
    return {
        "name": task.name,
        "kind": task.kind.name,
        "languages": list(task.languages),
        "splits": splits,
        "rows": [None if None in some else sum(filter(None, some)) for some in counts],
        "official_size": task.official_size,
        "metric": task.metric,
        "sources": list(dict.fromkeys(map(_kind_of, task.sources))) or ["members" if task.members else "crossed"],
        "here": _share(here),
        "licence": task.licence,
    }


def _cells(listed: dict[str, Any]) -> tuple[str, ...]:
    rows = dict(zip(listed["splits"], listed["rows"], strict=True))
    counts = ["-" if split not in rows else _number(rows[split]) for split in ("train", "dev", "test")]
    languages, sources = str(len(listed["languages"])), ", ".join(listed["sources"])
    return (listed["name"], listed["kind"], languages, *counts, sources, listed["here"], listed["licence"])


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _kind_of(source: Source) -> str:
    return type(source).__name__.lower()


def _facts(task: Task, name: str, data: Path | None) -> dict[str, Any]:
    """What a task is and where its rows are, as a document; ``name`` is what it was asked for by."""
    from . import tasks

    facts = _listed(task, data)
    facts |= {name: list(getattr(task, name)) for name in ("overlaps", "members", "trained_before")}
    facts |= {name: getattr(task, name) for name in ("trained_by", "slice_of", "crosses", "note")}
    cells = [(split, code) for split in task.splits for code in task.languages_of(split)]
    here = {cell: tasks.sources_here(task, *cell, data) for cell in cells}
    facts["rows"] = [
        {
            "split": split,
            "language": code,
            "rows": task.count(split, code),
            "here": tasks.available(task, split, code, data),
        }
        for split, code in cells
    ]
    facts["sources"] = [
        {
            "from": _kind_of(source),
            "where": _where(task, source),
            "format": _format(source),
            "here": _share([source in here[cell] for cell in cells]),
        }
        for source in task.sources
    ]
    options = dataclasses.asdict(task.kind)
    return facts | {"labels": list(options.pop("labels", ())), "options": options, "get": _way(task, name)}


def _share(here: Sequence[bool]) -> str:
    return "yes" if all(here) else "part" if any(here) else "no"


def _where(task: Task, source: Source) -> str:
    """A repository, the miniature's name, or paths below ``--data``; ``{a,b}`` are the release's own split names."""
    from .tasks import Files, Hub

    if isinstance(source, Hub):
        return f"{source.repo}@{source.revision}"
    if isinstance(source, Files):
        names = list(dict.fromkeys(task.splits.own(split) for split in task.splits))
        split = names[0] if len(names) == 1 else f"{{{','.join(names)}}}"
        paths = (source.path,) if isinstance(source.path, str) else source.path
        return " and ".join(path.replace("{split}", split) for path in paths)
    return source.name


def _format(source: Source) -> str | None:
    """The reader of release files, with the columns where those are the file's own."""
    from .tasks import Files

    if not isinstance(source, Files):
        return None
    reader = source.reader.__name__
    return f"{reader}: {', '.join(source.columns)}" if reader in ("csv", "jsonl", "tsv") else reader


def _way(task: Task, name: str) -> str:
    """How its rows come to this machine."""
    from . import tasks

    parts = [tasks.find(name) for name in (*task.members, *filter(None, (task.crosses,)))] or [task]
    kinds = [{_kind_of(source) for source in part.sources} for part in parts]
    if all("miniature" in kind for kind in kinds):
        return "made, nothing to get"
    if all("hub" in kind for kind in kinds):
        return f"xstilts fetch {name}" + ("; or release files" if any("files" in kind for kind in kinds) else "")
    return "release files only: no repository on the hub is declared"


def _place(task: Task, split: str | None, language: str | None, data: Path | None) -> tuple[str, str] | str:
    """A split and a language whose rows are here, those asked for before others; else what was looked for."""
    from . import tasks
    from .spec import one_of

    splits = (split,) if split else tuple(task.splits)
    codes = {own: sorted(task.languages_of(own), key=lambda code: code != "en") for own in splits}
    if language:
        known = dict.fromkeys(code for some in codes.values() for code in some)
        one_of(f"language of {task.name}" + (f"/{split}" if split else ""), language, known)
    cells = [(own, code) for own in splits for code in codes[own] if language in (None, code)]
    for cell in cells:
        if tasks.available(task, *cell, data):
            return cell
    try:
        tasks.data_files(task, *cells[0], data)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{task.name}: neither here nor missing")


def _shown(
    task: Task, split: str, language: str, name: str | None, max_tokens: int, data: Path | None, cache: Path | None
) -> dict[str, Any]:
    """The first examples with the sequences and the target that the task's kind makes of them."""
    from importlib.util import find_spec

    from . import tasks
    from .stage import OFFLINE_PACKAGE, Encoder
    from .study import Sources

    every = tasks.examples(task, split, language, data)
    cache = cache_folder(cache)
    repository, _, revision = (name or ("offline" if find_spec(OFFLINE_PACKAGE) else "tiny")).partition("@")
    encoder = Encoder(repository, revision=revision or "main")
    encoder = dataclasses.replace(encoder, content=Sources(data, cache).encoder(encoder))
    from .engine import Context
    from .engine.show import show, tokenizer_of

    tokenizer, fingerprint = tokenizer_of(encoder, Context({}, cache, data, cache))
    examples = _chosen(every)
    shown = show(task.kind, examples, tokenizer, max_tokens)
    return {
        "split": split,
        "language": language,
        "num_examples": len(every),
        "encoder": encoder.name,
        "tokenizer": fingerprint,
        "max_tokens": max_tokens,
        "examples": [
            {"fields": dataclasses.asdict(example), **one} for example, one in zip(examples, shown, strict=True)
        ],
    }


def _chosen(examples: Sequence[Example]) -> list[Example]:
    """The first three; of texts to search for and with, three queries, each before its first right candidate."""
    from .tasks import Entry

    entries = [example for example in examples if isinstance(example, Entry)]
    if not entries:
        return list(examples[:_NUM_SHOWN])
    candidates = {entry.id: entry for entry in entries if not entry.is_query}
    pairs = ((entry, gold) for entry in entries if entry.is_query for gold in entry.golds[:1])
    found = [(query, candidates[gold]) for query, gold in pairs if gold in candidates]
    return [entry for pair in found[:_NUM_SHOWN] for entry in pair]


def _in_words(facts: dict[str, Any]) -> Iterator[str]:
    width = max(40, min(shutil.get_terminal_size().columns, 120))

    def wrapped(text: str, first: str) -> list[str]:
        lines = textwrap.TextWrapper(width, first, " " * len(first), break_on_hyphens=False, break_long_words=False)
        return lines.wrap(text)

    def line(name: str, value: Any, indent: str = "", between: str = ", ") -> list[str]:
        text = between.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        return wrapped(text, f"{indent}{name:14}")

    yield f"{facts['name']}: {facts['kind']}, {_languages(facts['languages'])}"
    yield from line("labels", facts["labels"])
    for name, value in facts["options"].items():
        yield from line(name, value)
    yield from line("official size", f"{facts['official_size']:,}" if facts["official_size"] else "")
    trained = filter(None, (*facts["trained_before"], facts["trained_by"]))
    shown = facts | {"trained_by": ", then ".join(trained)}
    for name in ("metric", "licence", "trained_by", "slice_of", "members", "overlaps", "note"):
        yield from line(name.replace("_", " "), shown[name] or "")
    for split in facts["splits"]:
        yield from line(split, _counts([row for row in facts["rows"] if row["split"] == split]))
    for source in facts["sources"]:
        read_as = f", {source['format']}" if source["format"] else ""
        yield from line(source["from"], f"{source['where']}{read_as} (here: {source['here']})")
    yield from line("to get it", facts["get"])
    if facts["missing"]:
        yield from ("", facts["missing"])
        return
    yield ""
    rows = f"{facts['num_examples']:,} rows of {facts['split']} in {facts['language']!r} read and checked"
    cut = f"at most {facts['max_tokens']} tokens a sequence"
    yield from wrapped(f"{rows}; as {facts['encoder']} sees them (tokenizer {facts['tokenizer']}), {cut}:", "")
    for number, example in enumerate(facts["examples"], 1):
        yield from ("", f"example {number}")
        for name, value in example["fields"].items():
            yield from line(name, value, "  ", " | ")
        for sequence in example["sequences"]:
            yield f"  {sequence['name']}, {len(sequence['ids'])} tokens"
            yield from wrapped(sequence["text"], "    ")
        nothing = "no answer" if facts["kind"] == "span" else ""
        yield from line("target", example["target"] or nothing, "  ", " | ")


def _languages(codes: Sequence[str]) -> str:
    return "1 language" if len(codes) == 1 else f"{len(codes)} languages"


def _counts(rows: list[dict[str, Any]]) -> str:
    """Rows by language, languages of one number together, and which are here."""
    by_count: dict[int | None, list[str]] = {}
    for row in rows:
        by_count.setdefault(row["rows"], []).append(row["language"])
    counts = [f"{_number(count)} rows in {' '.join(codes)}" for count, codes in by_count.items()]
    here, lacking = ([row["language"] for row in rows if row["here"] is there] for there in (True, False))
    but = f"all but {' '.join(lacking)}" if lacking else "all"
    return f"{'; '.join(counts)} (here: {but if len(lacking) < len(here) else ' '.join(here) or 'none'})"
