"""Bad input of every kind: one clear error, nothing finished is lost, and the same command works once it is mended."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from program import Call, Ended, content, process
from xstilts.store import Store

STUDY = """
from collections.abc import Iterator

from xstilts import Budget, Encoder, Evaluate, Mixture, Recipe, Tiny, Train, Views
from xstilts.stage import Stage
from xstilts.tasks import Bitext, Classify, Embed, Files, MaskedLM, Pair, Splits, Task, Text, readers, register

ROWS = {"train": 24, "dev": 8}
BOTH = Splits(train="train", dev="dev")
register(
    Task(
        "own-text", MaskedLM(), lambda row: Text(row["text"]), ("en",), Splits(train="train"),
        Files("text/{split}.txt", readers.lines, ("text",)), {}, "perplexity", "own",
    ),
    Task(
        "own-pairs", Classify(("yes", "no")), lambda row: Pair(row["text"], row["claim"], row["label"]), ("en",), BOTH,
        Files("pairs/{split}.jsonl", readers.jsonl, ("text", "claim", "label")), ROWS, "accuracy", "own",
    ),
    Task(
        "own-topics", Classify(("no", "yes")), lambda row: Pair(row["one"], row["two"], row["label"]), ("en",), BOTH,
        Files("topics/{split}.tsv", readers.tsv, ("one", "two", "label"), labels=("no", "yes")),
        ROWS, "accuracy", "own",
    ),
    Task(
        "own-bitext", Embed(), lambda row: Bitext(row["first"], row["second"]), ("de", "sw"), Splits(test="test"),
        Files(("bitext/{language}.txt", "bitext/{language}.en.txt"), readers.bitext, ("first", "second")),
        {}, "accuracy", "own",
    ),
)


def own(
    *, encoder: str = "tiny", tasks: tuple[str, ...] = ("own-pairs",), languages: tuple[str, ...] = ("de",),
    split: str = "dev", learning_rate: float = 1e-3, weight_decay: float = 0.0, beta: float = 0.9, examples: int = 16,
    pooling: str = "mean", neighbours: int = 8, max_tokens: int = 64, precision: str = "float32",
) -> Iterator[Stage]:
    shape = Tiny(vocab_size=100, hidden_size=8, num_layers=1, intermediate_size=8, text="own-text")
    start = Encoder(encoder, tiny=shape if encoder == "tiny" else None)
    recipe = Recipe(
        learning_rate=learning_rate, weight_decay=weight_decay, adam_beta1=beta, batch_examples=8, precision=precision
    )
    trained = Train(start, Mixture(tasks, sizes="present"), Budget(examples), recipe)
    for name in tasks:
        yield Evaluate(trained, name, "en", split=split, max_tokens=max_tokens)
    for language in languages:
        yield Evaluate(start, "own-bitext", language, views=Views((pooling,), neighbours))
"""
WORDS = ("bird", "sings", "tree", "green", "river", "runs", "house", "small", "cat", "sleeps", "sun", "warm")
FULL = """
import errno, multiprocessing, os
real = os.{call}
def full(*args):
    if multiprocessing.parent_process() and {when}:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real(*args)
os.{call} = full
"""
NO_MEMORY = """
def no_memory():
    raise MemoryError
"""


@dataclass(frozen=True)
class Place:
    """A study file, its data and a store with its three finished stages."""

    folder: Path
    cache: Path

    @property
    def study(self) -> Path:
        return self.folder / "own.py"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def encoder(self) -> Path:
        """A copy of the trained encoder, an ordinary Hugging Face folder."""
        copy = self.folder / "encoder"
        if not copy.is_dir():
            (trained,) = self.stages("train")
            shutil.copytree(trained / "weights" / "encoder", copy)
        return copy

    def stages(self, kind: str = "") -> list[Path]:
        """The folders of the finished stages of a kind."""
        return sorted((self.store / "stages").glob(f"{kind}*"))

    def words(self, text: str) -> list[str]:
        """A command line: ``RUN`` is a run of the study, ``{...}`` a part of this place."""
        run = "run {study} --data {data} --store {store} --cache {cache} --device cpu"
        names = ("folder", "cache", "study", "data", "store")
        return [
            word.format(**{name: getattr(self, name) for name in names}) for word in text.replace("RUN", run).split()
        ]


def make(folder: Path) -> None:
    """Write the study and its data: 24 and 8 labelled pairs as JSON lines and TSV, 10 parallel sentences, text."""
    rng = random.Random(0)
    said = lambda: " ".join(rng.choices(WORDS, k=5))  # noqa: E731
    data = folder / "data"
    for name in ("text", "pairs", "topics", "bitext"):
        (data / name).mkdir(parents=True)
    (data / "text" / "train.txt").write_text("".join(f"{said()}\n" for _ in range(40)))
    for split, num_rows in (("train", 24), ("dev", 8)):
        rows = [{"text": said(), "claim": said(), "label": ("yes", "no")[n % 2]} for n in range(num_rows)]
        (data / "pairs" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (data / "topics" / f"{split}.tsv").write_text(
            "".join(f"{said()}\t{said()}\t{n % 2}\n" for n in range(num_rows))
        )
    for name in ("de.txt", "de.en.txt", "sw.txt", "sw.en.txt"):
        (data / "bitext" / name).write_text("".join(f"{said()}\n" for _ in range(10)))
    (folder / "own.py").write_text(STUDY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The study, run once."""
    place = Place(tmp_path_factory.mktemp("bad") / "finished", tmp_path_factory.mktemp("cache"))
    make(place.folder)
    done = process(*place.words("RUN"), cwd=place.folder)
    assert done.code == 0, done.err
    assert len(place.stages()) == 3
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    """A copy of it, to be spoilt."""
    return Place(Path(shutil.copytree(finished.folder, tmp_path / "place")), finished.cache)


@pytest.fixture(autouse=True, scope="module")
def quick_workers() -> Iterator[None]:
    """Workers are forked from one process that has loaded torch; each would load it anew otherwise."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xstilts.engine.train", "xstilts.engine.evaluate", "xstilts.scoring"])
    patch.setattr(multiprocessing, "get_context", lambda method=None: context)
    yield
    patch.undo()


# -- ways to spoil something --------------------------------------------------------------------------------

Spoil = Callable[[Place], object]


def nothing(place: Place) -> None:
    """The words of the command are bad enough."""


def data(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a data file's bytes."""
    return lambda place: (place.data / name).write_bytes(change((place.data / name).read_bytes()))


def line(number: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change one line of a file, counted from 1."""

    def changed(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        return b"".join(lines)

    return changed


def packed(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Put a file in place of a data file, named ``.gz``."""

    def spoil(place: Place) -> None:
        path = place.data / name
        (path.parent / f"{path.name}.gz").write_bytes(change(gzip.compress(path.read_bytes())))
        path.unlink()

    return spoil


def source(change: Callable[[str], str]) -> Spoil:
    """Change the study file's text."""
    return lambda place: place.study.write_text(change(STUDY))


def encoder(name: str, content: bytes | None) -> Spoil:
    """Give a file of the local encoder another content, or take it away."""

    def spoil(place: Place) -> None:
        (path,) = place.encoder.glob(name)
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return spoil


def model_type(place: Place) -> None:
    config = json.loads((place.encoder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoModel": "modeling_theirs.Model"}}
    (place.encoder / "config.json").write_text(json.dumps(config))


def pickled(place: Place) -> None:
    (place.encoder / "model.safetensors").rename(place.encoder / "pytorch_model.bin")


def stored(kind: str, file: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Damage a file of the first stored stage of a kind."""

    def spoil(place: Place) -> None:
        path = place.stages(kind)[0] / file
        path.write_bytes(change(path.read_bytes()))

    return spoil


def flip(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    spoilt = bytearray(content)
    spoilt[len(spoilt) // 2] ^= 1
    return bytes(spoilt)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def in_store(name: str, content: str) -> Spoil:
    """Give a file of the store itself another content."""
    return lambda place: (place.store / name).write_text(content)


def both(*spoils: Spoil) -> Spoil:
    return lambda place: [spoil(place) for spoil in spoils]


def unscored(place: Place) -> None:
    for folder in place.stages("evaluate"):
        shutil.rmtree(folder / "scores")


def a_file(place: Place) -> None:
    (place.folder / "file").write_text("not a folder")


# -- the kinds ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """One kind of bad input.

    Attributes:
        spoil: what is done to the place.
        words: the command.
        parts: what its one error says: the thing, where it is, what was expected or what to do.
        code: its exit code.
        again: the command that works once study and data are as they were; empty: none is tried.
        variables: environment variables of a process of its own.
    """

    spoil: Spoil
    words: str
    parts: tuple[str, ...]
    code: int = 2
    again: str = ""
    variables: tuple[tuple[str, str], ...] = ()


def unread(spoil: Spoil, words: str, *parts: str) -> Bad:
    """Rows that only the stage that reads them finds bad: it fails, the log is named, and mended it runs."""
    return Bad(spoil, words, (" failed: ", *parts, "; log: "), code=1, again=words)


TOPICS = "RUN tasks=own-topics"
TRAIN, LINES = "topics/train.tsv", "pairs/train.jsonl"
OTHER = "RUN encoder={folder}/encoder"
OFFLINE = (("HF_HUB_OFFLINE", "1"),)
UNREACHABLE = (("HF_HUB_OFFLINE", "0"), ("HF_ENDPOINT", "http://127.0.0.1:9"))

KINDS: dict[str, Bad] = {
    # data
    "a data file is missing": Bad(
        lambda place: (place.data / "topics/dev.tsv").unlink(), TOPICS,
        ("no rows of own-topics/dev in 'en'", "topics/dev.tsv (or .gz)", "--data DIR"), again=TOPICS,
    ),
    "the data folder is missing": Bad(
        nothing, "run {study} --data {folder}/nowhere --store {store}",
        ("--data", "nowhere: expected a folder of data sets"),
    ),
    "no data folder is given": Bad(
        nothing, "run {study} --store {store} --cache {cache}",
        ("no rows of own-pairs/train", "pairs/train.jsonl in a data folder (none was given)", "--data DIR"),
    ),
    "gzip is cut off": Bad(
        packed(TRAIN, half), TOPICS, ("topics/train.tsv.gz: expected whole gzip data", "ended before"), again=TOPICS
    ),
    "a file named .gz is not gzip": unread(
        packed(TRAIN, lambda _: b"\x00\xff\xfe" * 50), TOPICS, "topics/train.tsv.gz:1: expected UTF-8",
    ),
    "a column has another name": unread(
        data(LINES, lambda text: text.replace(b"claim", b"clam")), "RUN",
        "pairs/train.jsonl:1: expected the columns text, claim, label, got text, clam, label",
    ),
    "a column is missing in one line": unread(
        data(TRAIN, line(5, lambda text: text.split(b"\t")[0] + b"\n")), TOPICS,
        "topics/train.tsv:5: expected 3 columns separated by tabs (one, two, label), got 1",
    ),
    "a label is outside the set": unread(
        data(LINES, line(3, lambda text: text.replace(b"yes", b"maybe"))), "RUN",
        "pairs/train.jsonl:3: expected a label among yes, no, got 'maybe'",
    ),
    "a label's index is out of range": unread(
        data(TRAIN, line(4, lambda text: text[:-2] + b"7\n")), TOPICS,
        "topics/train.tsv:4: expected a label from 0 to 1, got '7'",
    ),
    "a row is cut off": unread(
        data(TRAIN, lambda text: text[: text.rstrip().rindex(b"\n") + 1]), TOPICS,
        "own-topics/train in 'en': expected 24 rows, got 23 from ", "topics/train.tsv",
    ),
    "the last row is half there": unread(
        data(TRAIN, lambda text: text[:-4]), TOPICS, "topics/train.tsv:24: expected 3 columns",
    ),
    "a file is empty": unread(
        data(TRAIN, lambda _: b""), TOPICS, "topics/train.tsv: expected rows, got an empty file",
    ),
    "UTF-8 is broken": unread(
        data(TRAIN, line(9, lambda text: b"\xff" + text)), TOPICS,
        "topics/train.tsv:9: expected UTF-8, got invalid start byte at byte 0",
    ),
    "a file is UTF-16": unread(
        data(TRAIN, lambda text: text.decode().encode("utf-16")), TOPICS, "topics/train.tsv:1: expected UTF-8",
    ),
    "a line is blank": unread(
        data(TRAIN, line(2, lambda _: b"\n")), TOPICS, "topics/train.tsv:2: expected a row, got a blank line",
    ),
    "JSON is broken": unread(
        data(LINES, line(3, lambda text: text.replace(b"}", b""))), "RUN",
        "pairs/train.jsonl:3: expected one JSON object, got broken JSON",
    ),
    "a JSON line is a list": unread(
        data(LINES, line(3, lambda _: b"[1]\n")), "RUN",
        "pairs/train.jsonl:3: expected one JSON object, got a list",
    ),
    "parallel files differ in length": unread(
        data("bitext/sw.txt", lambda text: text[: text.rstrip().rindex(b"\n") + 1]), "RUN languages=sw",
        "expected parallel files, got 9 lines in ", "bitext/sw.txt and 10 lines in ", "bitext/sw.en.txt",
    ),
    "evaluation rows are in the training": Bad(
        nothing, "RUN split=train",
        ("leak: own-pairs/train in 'en' holds the very rows that own-pairs/train was trained on",),
    ),
    "evaluation rows are a copy of the training": Bad(
        lambda place: shutil.copy(place.data / LINES, place.data / "pairs/dev.jsonl"), "RUN",
        ("leak: own-pairs/dev", "the very rows that own-pairs/train was trained on"), again="RUN",
    ),
    # parameters
    "a language is unknown": Bad(nothing, "RUN languages=xx", ("language of own-bitext/test 'xx'", "one of de, sw")),
    "a task lacks the language": Bad(nothing, "RUN languages=fr", ("own-bitext/test 'fr'", "one of de, sw")),
    "a split is unknown": Bad(nothing, "RUN split=tset", ("split of task 'own-pairs' 'tset'", "one of train, dev")),
    "a mixture has a task twice": Bad(
        nothing, "RUN tasks=own-pairs,own-pairs", ("own.py:", "mixture.tasks names a task twice: own-pairs, own-pairs")
    ),
    "a task is unknown": Bad(nothing, "RUN tasks=own-topic", ("task 'own-topic'", "did you mean 'own-topics'")),
    "a learning rate is NaN": Bad(
        nothing, "RUN learning_rate=nan", ("own.py:", "recipe.learning_rate is nan: expected a number above 0")
    ),
    "a learning rate is infinite": Bad(
        nothing, "RUN learning_rate=inf", ("recipe.learning_rate is inf: expected a finite number",)
    ),
    "weight decay is negative": Bad(
        nothing, "RUN weight_decay=-1", ("own.py:", "recipe.weight_decay is -1.0: expected 0 or more")
    ),
    "a beta is out of range": Bad(nothing, "RUN beta=1.5", ("recipe.adam_beta1 is 1.5: expected 0 <= rate < 1",)),
    "a budget is negative": Bad(nothing, "RUN examples=-5", ("budget.amount is -5.0: expected a number above 0",)),
    "k is out of range": Bad(nothing, "plan scaling k=99", ("k = 99: expected 0 to ", "the number of tasks")),
    "a pooling is unknown": Bad(nothing, "RUN pooling=maen", ("unknown pooling 'maen'", "did you mean 'mean'")),
    "a precision is unknown": Bad(
        nothing, "RUN precision=float16", ("unknown precision 'float16'", "did you mean 'bfloat16'")
    ),
    "no neighbours are asked for": Bad(
        nothing, "RUN neighbours=0", ("views.num_neighbours is 0: expected a number above 0",)
    ),
    "a parameter is unknown": Bad(
        nothing, "RUN lerning_rate=1", ("parameter of the study 'own' 'lerning_rate'", "did you mean 'learning_rate'?"),
    ),
    "a parameter has no =": Bad(nothing, "RUN examples", ("'examples': expected NAME=VALUE", "encoder, tasks")),
    "a value is no number": Bad(nothing, "RUN examples=many", ("examples=many: expected a whole number",)),
    # encoders
    "an encoder is not in the cache": Bad(
        nothing, "RUN encoder=some/one", ("the encoder some/one@main", "fetch it with: xstilts fetch some/one@main")
    ),
    "an encoder has no config": Bad(
        encoder("config.json", None), OTHER, ("/encoder: no config.json", "the folder of a Hugging Face encoder")
    ),
    "an encoder's config is broken": Bad(
        encoder("config.json", b"{"), OTHER, (" failed: ", "/encoder/config.json: expected a JSON object", "; log: "), 1
    ),
    "an encoder is pickled": Bad(
        pickled, OTHER, ("/encoder: expected safetensors", "found pytorch_model.bin; pickled weights are never loaded")
    ),
    "an encoder asks for its own code": Bad(
        model_type, OTHER,
        (" failed: ", "/encoder/config.json: ", "'theirs'; it asks for remote code (auto_map), which is never run"), 1,
    ),
    "an encoder's weights are cut off": Bad(
        encoder("model.safetensors", b"\x00" * 4), OTHER,
        ("/encoder: its weights cannot be read: ", "; copy or fetch them again", "; log: "), 1,
    ),
    "an encoder has no tokenizer": Bad(
        encoder("tokenizer.json", None), OTHER, ("/encoder: no tokenizer; expected one of tokenizer.json",)
    ),
    "an encoder's tokenizer is broken": Bad(
        encoder("tokenizer.json", b"{"), OTHER,
        ("/encoder: its tokenizer cannot be read: ", "; copy or fetch it again", "; log: "), 1,
    ),
    # study files
    "a study file has a syntax error": Bad(
        source(lambda text: text.replace("def own(", "def own((")), "RUN", ("own.py:", ": ", "'('"), again="RUN"
    ),
    "a study file raises as it loads": Bad(
        source(lambda text: text + "\n1 / 0\n"), "RUN", ("own.py:", ": ZeroDivisionError: division by zero"),
        again="RUN",
    ),
    "a study file needs what is not installed": Bad(
        source(lambda text: "import nowhere\n" + text), "RUN",
        ("own.py:1: ModuleNotFoundError", "'nowhere'"), again="RUN",
    ),
    "a study file ends the program": Bad(
        source(lambda text: "import sys\nsys.exit(0)\n" + text), "RUN", ("own.py:2: SystemExit: 0",), again="RUN"
    ),
    "a study raises": Bad(
        source(lambda text: text.replace("    for name in tasks:", "    None + 1\n    for name in tasks:")), "RUN",
        ("own.py:", "TypeError: "),
        again="RUN",
    ),
    "a study file declares a task twice": Bad(
        source(lambda text: text.replace('"own-topics"', '"own-pairs"')), "RUN",
        ("own.py:", "task 'own-pairs' is declared twice: expected a name of its own"), again="RUN",
    ),
    "a study file has no study": Bad(
        source(lambda text: text.replace("yield", "return")), "RUN",
        ("own.py has no study: expected a function that yields stages",), again="RUN",
    ),
    "a study yields no stage": Bad(
        source(lambda text: text + "        yield start\n"), "RUN",
        ("the study 'own' yields Encoder(", "expected stages, such as Evaluate(...)"), again="RUN",
    ),
    "a study yields nothing": Bad(
        source(lambda text: text.replace("    shape =", "    return\n    shape =")), "RUN",
        ("the study 'own' asks for nothing",), again="RUN",
    ),
    "a study file is missing": Bad(
        lambda place: place.study.unlink(), "RUN", ("own.py: expected a Python file with a study function",),
        again="RUN",
    ),
    "a study function is unknown": Bad(
        nothing, "run {study}:won --data {data} --store {store}", ("own.py 'won'", "did you mean 'own'?")
    ),
    "a study is unknown": Bad(nothing, "run scalin --store {store}", ("study 'scalin'", "did you mean 'scaling'")),
    # the machine
    "a device is unknown": Bad(nothing, "RUN --device tpu", ("--device tpu: expected auto, cpu, cuda or cuda:N",)),
    "a device is not here": Bad(nothing, "RUN --device cpu,cuda:99", ("device cuda:99: torch ", "one of cpu")),
    "the hub cannot be reached": Bad(
        nothing, "fetch some/one",
        ("some/one cannot be fetched: ", "check the name and the network", "stays in the cache"), 1,
        variables=UNREACHABLE,
    ),
    "the hub is switched off": Bad(
        nothing, "fetch xnli", ("xnli cannot be fetched: ", "HF_HUB_OFFLINE"), 1, variables=OFFLINE
    ),
    "the cache is a file": Bad(
        a_file, "RUN --cache {folder}/file", ("--cache ", "file: it is a file; expected a folder")
    ),
    "the report is a file": Bad(
        a_file, "report {study} --store {store} --out {folder}/file",
        ("--out ", "file: it is a file; expected a folder"),
    ),
    "memory runs out": Bad(
        source(lambda text: text.replace('Pair(row["one"]', 'no_memory() or Pair(row["one"]') + NO_MEMORY),
        f"{TOPICS} --cache {{folder}}/cache",
        (" failed: out of memory; fewer workers (--device), a smaller batch_examples", "; log: "), 1, again=TOPICS,
    ),
    "the disk is full as a stage begins": Bad(
        source(lambda text: FULL.format(call="fsync", when="True") + text), TOPICS,
        (" failed: ", "work/.tmp/", ": No space left on device; make room and give the same command again"), 1,
        again=TOPICS,
    ),
    "the disk is full as a stage is published": Bad(
        source(lambda text: FULL.format(call="rename", when='"/stages/" in str(args[1])') + text), TOPICS,
        (" failed: ", "No space left on device; make room and give the same command again"), 1, again=TOPICS,
    ),
    # stores
    "a store cannot be written": Bad(
        nothing, "RUN --store {study}/store", ("cannot open the store ", "own.py/store: Not a directory")
    ),
    "a store is a file": Bad(
        a_file, "RUN --store {folder}/file", ("file is not a store (it is a file): expected a store or a new folder",)
    ),
    "a store is of a newer version": Bad(
        in_store("format.json", '{"format": 2}'), "RUN",
        ("format.json: its format is 2, expected 1", "newer xstilts: update"),
    ),
    "a store's format is broken": Bad(in_store("format.json", "{"), "RUN", ('format.json: expected {"format": 1}',)),
    "a folder to import is no store": Bad(
        nothing, "store import {data} --store {store}",
        ("data is not a store (found bitext, pairs, text)", "a folder that `run` or `store export` made"),
    ),
    "a report is of a study that was never run": Bad(
        nothing, "report scaling --store {store}", ("no plan 'scaling' in ", "store: expected one of own")
    ),
    "a report of own tasks is asked for by name": Bad(
        nothing, "report own --store {store}", ("'own-pairs', a task that its own Python file declares", "FILE.py:own"),
        again="report {study} --store {store}",
    ),
    "a plan file is broken": Bad(
        in_store("plans/own.json", '{"study": '), "status --store {store}",
        ("plans/own.json: damaged: not JSON", "running the study again writes it anew"), again="RUN",
    ),
    # damage
    "weights that a stage reads are damaged": Bad(
        stored("train", "weights/encoder/model.safetensors", flip), "RUN max_tokens=32",
        (" failed: ", "an input is damaged: train-", "model.safetensors", "out of the store and run again"), 1,
    ),
    "predictions are damaged": Bad(
        both(unscored, stored("evaluate", "predictions.parquet", flip)), "rescore {study} --store {store}",
        ("predictions.parquet: missing or not what was published", "out of the store and run the study again"),
    ),
    "predictions are missing": Bad(
        both(unscored, lambda place: (place.stages("evaluate")[0] / "predictions.parquet").unlink()),
        "rescore {study} --store {store}",
        ("predictions.parquet: missing or not what was published", "out of the store and run the study again"),
    ),
    "a score is damaged": Bad(
        stored("evaluate", "scores/accuracy-v1.json", lambda text: text.replace(b'"value": 0', b'"value": 1')),
        "report {study} --store {store}", ("accuracy-v1.json: damaged or edited",),
    ),
    "a record is cut off": Bad(
        stored("evaluate", "record.json", half), "report {study} --store {store}", ("record.json: damaged: not JSON",)
    ),
    "a record is cut off and verified": Bad(
        stored("train", "record.json", half), "status --verify --store {store}",
        ("train-", "record.json: damaged: not JSON", "verified 3 stages: 1 problems", "the next run makes it again"), 1,
    ),
    # usage
    "a command is unknown": Bad(nothing, "rnu own", ("No such command 'rnu'", "Did you mean 'run'?", "xstilts --help")),
    "an option is unknown": Bad(
        nothing, "RUN --devise cpu", ("No such option: --devise", "--device", "Try 'xstilts run --help'")
    ),
    "an option's value is no number": Bad(
        nothing, "RUN --checkpoint-seconds soon", ("--checkpoint-seconds", "xstilts run --help")
    ),
    "an option's value is out of range": Bad(
        nothing, "RUN --checkpoint-seconds -1", ("--checkpoint-seconds", "Try 'xstilts run --help'")
    ),
}  # fmt: skip


def one_clear_error(ended: Ended, bad: Bad) -> None:
    """The exit code, and one error (the same one for every stage that fails of it) with all its parts."""
    assert ended.code == bad.code, ended
    assert "Traceback" not in ended.err + ended.out
    errors = re.findall(r"^xstilts: (.*(?:\n.*)*?)(?=\nxstilts: |\Z)", ended.err, re.MULTILINE) or [ended.out]
    assert len(errors) == 1 or all(" failed: " in error for error in errors)
    for error in errors:
        for part in bad.parts:
            assert part in error
    if bad.code == 2:
        assert (ended.out, ended.err.count("xstilts: ")) == ("", 1 + ended.err.count("newer xstilts: "))


@pytest.mark.parametrize("name", KINDS)
def test_one_clear_error_and_nothing_is_lost(name: str, finished: Place, place: Place, call: Call) -> None:
    bad = KINDS[name]
    bad.spoil(place)
    before = content(place.store / "stages")
    damaged = [problem.id for problem in Store(place.store).verify()]
    words = place.words(bad.words)
    if bad.variables:
        ended = process(*words, cwd=place.folder, HF_HOME=str(place.folder / "hub"), **dict(bad.variables))
    else:
        ended = call(*words)
    one_clear_error(ended, bad)
    if bad.code == 2:
        as_json = call(*words, "--json")
        assert json.loads(as_json.out) == {"error": {"exit_code": 2, "message": ended.err[len("xstilts: ") : -1]}}
        assert (as_json.code, as_json.err) == (2, ended.err)

    after = content(place.store / "stages")
    assert {file: after.get(file) for file in before} == before
    assert [problem.id for problem in Store(place.store).verify()] == damaged
    assert len(damaged) <= 1
    if bad.again:
        shutil.rmtree(place.data)
        shutil.copytree(finished.data, place.data)
        place.study.write_text(STUDY)
        mended = call(*place.words(bad.again))
        assert mended.code == 0, mended.err
        assert call("status", "--verify", "--store", str(place.store)).code == 0


@pytest.mark.parametrize(
    "spoil",
    [
        data(TRAIN, lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")),
        packed(TRAIN, lambda content: content),
        packed(TRAIN, gzip.decompress),
    ],
    ids=["byte-order mark and CRLF", "gzip", "plain text named .gz"],
)
def test_what_looks_bad_and_is_not(spoil: Spoil, place: Place, call: Call) -> None:
    ended = call(*place.words(TOPICS))
    assert ended.code == 0, ended.err
    weights = [path.read_bytes() for path in sorted(place.store.glob("stages/train-*/weights/heads.safetensors"))]
    spoil(place)
    ended = call(*place.words(TOPICS))
    assert ended.code == 0, ended.err
    again = [path.read_bytes() for path in sorted(place.store.glob("stages/train-*/weights/heads.safetensors"))]
    assert sorted(set(again)) == sorted(weights)  # the very same rows were read


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may mount a small file system")
@pytest.mark.parametrize("kilobytes", [0, 8, 24, 48])
def test_a_disk_that_fills_up_loses_nothing(kilobytes: int, place: Place, call: Call) -> None:
    disk = place.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode()}")
    try:
        store = Path(shutil.copytree(place.store, disk / "store"))
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - kilobytes * 1024
        (disk / "filler").write_bytes(b"\0" * room)
        before = content(store / "stages")
        words = place.words(f"{TOPICS} --store {store}")
        ended = call(*words)
        assert ended.code == 1
        assert "No space left on device" in ended.err
        assert "; make room and give the same command again: what is finished stays" in ended.err
        assert "Traceback" not in ended.err
        assert all(content(store / "stages")[file] == old for file, old in before.items())
        assert Store(store).verify() == []
        (disk / "filler").unlink()
        assert call(*words).code == 0
        assert call("status", "--verify", "--store", str(store)).code == 0
    finally:
        subprocess.run(["umount", disk], check=True)
