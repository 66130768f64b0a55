"""A Translate stage: rows of a task -> the same rows in another language, with what became of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xstilts import apertium
from xstilts.spec import file_sha256
from xstilts.stage import Translate
from xstilts.tasks import Example, examples, find, readers
from xstilts.tasks.translated import Said, Way, oracle, translated, write_rows
from xstilts.translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile, name_of

from . import Context, Interrupted
from .data import ROWS

MODEL_MARKS = ("[", "]")
"""What a translation model keeps around an answer more often than other signs (Chen et al. 2023, EasyProject)."""
NO_TRANSLATION = "a text has no translation"
_APERTIUM_BATCH = 500


def translate(stage: Translate, out: Path, context: Context) -> dict[str, Any]:
    """Write ``rows.jsonl.gz``: a line for each example, with the fields of its type in `xstilts.tasks`.

    Each different sentence is translated once. Batches that are done are kept in ``context.work``, so that a stage
    that was stopped goes on to the same rows.

    Returns:
        Counts for the record: rows, what was dropped and why, how answers were found, sentences.

    Raises:
        Interrupted: when ``context.stop()`` became true between two batches.
        ValueError: for a sentence without a translation where that is an error, or when no row is left.
    """
    task, translator = find(stage.task), stage.translator
    facts: dict[str, Any] = {"translator": name_of(translator)}
    if isinstance(translator, MiniatureOracle):
        rows: list[Example] = oracle(task, stage.split, stage.source, stage.target)
        said = [Said(row) for row in rows]
    else:
        rows = examples(task, stage.split, stage.source, context.data_dir)
        said = _said(stage, rows, facts, context)
    kept = [one.example for one in said if one.example is not None]
    if not kept:
        raise ValueError(f"{stage.task}/{stage.split} in {stage.target!r}: no row of {len(rows)} is left")
    write_rows(out / ROWS, kept)
    return {
        **facts,
        "num_rows_in": len(rows),
        "num_rows_out": len(kept),
        "dropped": dict(Counter(one.note for one in said if one.example is None)),
        "notes": dict(Counter(one.note for one in said if one.example is not None and one.note)),
        "rows_sha256": file_sha256(out / ROWS),
    }


def _said(stage: Translate, rows: Sequence[Example], facts: dict[str, Any], context: Context) -> list[Said]:
    """The rows in the other language; what is found out on the way goes into ``facts``."""
    translator = stage.translator
    splits = not isinstance(translator, TranslationFile)
    marks = apertium.MARKS if isinstance(translator, Apertium) else MODEL_MARKS if splits else None
    wanted: dict[str, None] = {}

    def note(sentence: str) -> str:
        wanted[sentence] = None
        return sentence

    for row in rows:
        translated(row, Way(note, stage.target, splits, marks))
    known = _known(stage, list(wanted), facts, context)
    way = Way(known.__getitem__, stage.target, splits, marks)

    def say(row: Example) -> Said:
        try:
            return translated(row, way)
        except KeyError:
            return Said(None, NO_TRANSLATION)

    facts |= {"num_sentences": len(wanted), "num_empty": sum(not known.get(sentence, "-") for sentence in wanted)}
    return [say(row) for row in rows]


def _known(stage: Translate, sentences: list[str], facts: dict[str, Any], context: Context) -> dict[str, str]:
    """The translation of every sentence that has one."""
    translator, clock = stage.translator, time.monotonic()
    if isinstance(translator, TranslationFile):
        path = (context.data_dir or Path()) / translator.path
        known = read_translations(path)
        lacking = [sentence for sentence in sentences if sentence not in known]
        if lacking and translator.missing == "error":
            raise ValueError(
                f"{path}: {len(lacking)} of {len(sentences)} texts of {stage.task}/{stage.split} have no translation, "
                f"the first is {lacking[0]!r}; missing='drop' leaves out the rows that hold them"
            )
        return known
    if isinstance(translator, Seq2Seq):
        from .seq2seq import Translator

        model = Translator(translator, stage.source, stage.target, context.device)
        batches = model.batches(sentences)
        say: Callable[[list[str]], list[str]] = model
        facts |= {"decoding": model.decoding, "num_cut": model.num_cut}
    else:
        assert isinstance(translator, Apertium)
        starts = range(0, len(sentences), _APERTIUM_BATCH)
        batches = [list(range(start, min(start + _APERTIUM_BATCH, len(sentences)))) for start in starts]
        say = partial(apertium.translate, mode=translator.mode)
    found = _in_batches(sentences, batches, say, context)
    facts["sentences_per_second"] = len(sentences) / max(time.monotonic() - clock, 1e-9)
    return dict(zip(sentences, found, strict=True))


def read_translations(path: Path) -> dict[str, str]:
    """Texts and their translations, from a TSV of two columns or JSON lines with ``source`` and ``translation``.

    Raises:
        ValueError: with file and line, for a row of another form, or a text with two different translations.
    """
    read = readers.tsv if path.name.removesuffix(".gz").endswith(".tsv") else readers.jsonl
    known: dict[str, str] = {}
    for row in read(path, columns=("source", "translation")):
        source, translation = row["source"], row["translation"]
        if not isinstance(source, str) or not isinstance(translation, str):
            raise ValueError(f"{row.where}: expected text in source and translation, got {dict(row)}")
        if known.setdefault(source, translation) != translation:
            raise ValueError(f"{row.where}: expected one translation of {source!r}, got two different ones")
    return known


def _in_batches(
    sentences: Sequence[str],
    batches: Sequence[Sequence[int]],
    say: Callable[[list[str]], list[str]],
    context: Context,
) -> list[str]:
    """Translate batches of sentences one after the other; those in ``context.work`` already are not done again.

    The batches depend on the sentences alone, so that a stopped stage meets the same ones again.
    """
    log = context.work / "translated.jsonl"
    done = _logged(log, [len(batch) for batch in batches])
    found = [""] * len(sentences)
    context.phases("forward")
    with log.open("a", encoding="utf-8") as stream:
        for number, batch in enumerate(batches):
            if number >= len(done):
                if context.stop():
                    raise Interrupted(f"stopped after {number} of {len(batches)} batches")
                done.append(say([sentences[index] for index in batch]))
                stream.write(json.dumps(done[-1]) + "\n")
                stream.flush()
                context.report({"step": number + 1, "steps": len(batches)})
            for index, translation in zip(batch, done[number], strict=True):
                found[index] = translation
    return found


def _logged(log: Path, sizes: Sequence[int]) -> list[list[str]]:
    """The batches of a log, which is cut after the last whole one."""
    done: list[list[str]] = []
    whole = 0
    if log.is_file():
        data = log.read_bytes()
        for line, size in zip(data.splitlines(keepends=True), sizes, strict=False):
            if not line.endswith(b"\n") or len(batch := json.loads(line)) != size:
                break
            done.append(batch)
            whole += len(line)
        with log.open("r+b") as stream:
            stream.truncate(whole)
    return done
