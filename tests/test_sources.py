"""Sources: rows of release files, hub and miniature; their identity; what can be missing or wrong."""

from __future__ import annotations

import gzip
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from test_tasks import toy
from xstilts import tasks
from xstilts.mixture import Budget, Mixture
from xstilts.stage import Encoder, Evaluate, Train
from xstilts.study import Sources, make_plan
from xstilts.tasks import Classify, Files, Hub, Miniature, Pair, readers, source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


pytestmark = pytest.mark.usefixtures("hub_cache")


def write(folder: Path, content: str | bytes, name: str = "toy/train.tsv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def publish(cache: Path, repo: str, name: str, table: dict[str, list[Any]], commit: str = COMMIT) -> Path:
    """Put a Parquet file into the Hugging Face cache, as a download leaves it."""
    folder = cache / f"datasets--{repo.replace('/', '--')}"
    path = folder / "snapshots" / commit / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    pq.write_table(pa.table(table), path)
    return path


def test_rows_are_read_plain_and_gzip_and_have_one_content(tmp_path: Path) -> None:
    text = "a\tb\tyes\nc\td\tno\n"
    write(tmp_path / "plain", text)
    write(tmp_path / "packed", gzip.compress(text.encode()), "toy/train.tsv.gz")
    read = [tasks.examples(toy(), "train", "en", tmp_path / name) for name in ("plain", "packed")]
    assert read[0] == read[1] == [Pair("a", "b", "yes"), Pair("c", "d", "no")]
    assert tasks.data_files(toy(), "train", "en", tmp_path / "packed") == [tmp_path / "packed/toy/train.tsv.gz"]
    ids = {tasks.content(toy(), "train", "en", tmp_path / name) for name in ("plain", "packed")}
    assert len(ids) == 1
    assert int(ids.pop(), 16)


def test_content_counts_what_the_rows_depend_on(tmp_path: Path) -> None:
    path = write(tmp_path, "a\tb\tyes\nc\td\tno\n")
    files = Files("toy/{split}.tsv", readers.tsv, ("first", "second", "label"))
    variants = [
        toy(),
        toy(version=2),
        toy(kind=Classify(("yes", "no"))),
        toy(source=replace(files, rows=(0, 1))),
        toy(source=replace(files, labels=("no", "yes"))),
        toy(source=replace(files, reader=readers.jsonl)),
        toy(source=replace(files, columns=("second", "first", "label"))),
    ]
    ids = [tasks.content(task, "train", "en", tmp_path) for task in variants]
    assert len(set(ids)) == len(variants)
    assert tasks.content(toy(name="other", licence="other"), "train", "en", tmp_path) == ids[0]
    path.write_text("a\tb\tyes\nc\td\tyes\n")
    assert tasks.content(toy(), "train", "en", tmp_path) not in ids


def test_hashes_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xstilts.spec._SETTLED_NS", 0)
    path, cache = write(tmp_path, "a\tb\tyes\nc\td\tno\n"), tmp_path / "cache"
    first = tasks.content(toy(), "train", "en", tmp_path, cache_dir=cache)
    with monkeypatch.context() as patch:
        patch.setattr("xstilts.spec.file_sha256", lambda *_, **__: pytest.fail("hashed again"))
        assert tasks.content(toy(), "train", "en", tmp_path, cache_dir=cache) == first
    path.write_text("longer\tb\tyes\nc\td\tno\n")
    assert tasks.content(toy(), "train", "en", tmp_path, cache_dir=cache) != first


def test_a_slice_takes_its_rows_and_no_others(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"{i}\tx\tyes\n" for i in range(1, 7)))
    files = Files("toy/{split}.tsv", readers.tsv, ("first", "second", "label"), rows=(2, 4))
    read = tasks.examples(toy(source=files), "train", "en", tmp_path)
    assert [example.first for example in read] == ["3", "4"]


def test_the_halves_of_paws_x_share_no_row(data_dir: Path) -> None:
    train = tasks.examples(tasks.find("paws-x-en@dev-half"), "train", "en", data_dir)
    dev = tasks.examples(tasks.find("paws-x@dev-half"), "dev", "en", data_dir)
    assert train + dev == tasks.examples(tasks.find("paws-x"), "dev", "en", data_dir)
    assert tasks.find("paws-x-en@dev-half").overlaps == ("paws-x/dev",)


def test_labels_of_proxy_files_are_never_read(data_dir: Path) -> None:
    paws_x = tasks.find("paws-x")
    assert tasks.available(paws_x, "test", "de", data_dir)
    assert not tasks.available(paws_x, "test", "fr", data_dir)


def test_the_sides_of_a_bitext_are_not_swapped(data_dir: Path) -> None:
    for name in ("tatoeba", "ntrex"):
        task = tasks.find(name)
        pairs = tasks.examples(task, next(iter(task.splits)), "ru", data_dir)
        cyrillic = [
            sum("а" <= c <= "я" for c in "".join(side))
            for side in zip(*((p.first, p.second) for p in pairs), strict=True)
        ]
        assert cyrillic[0] > 1000 * cyrillic[1]


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("a\tb\tyes\n", {}, r"toy/train in 'en': expected 2 rows, got 1 from .*toy/train.tsv"),
        ("a\tb\tyes\nc\td\tno\ne\tf\tno\n", {}, r"expected 2 rows, got 3 from .*toy/train.tsv"),
        ("a\tb\tyes\nc\td\tmaybe\n", {}, r"train.tsv:2: expected a label among no, yes, got 'maybe'"),
        ("a\tb\tyes\nc\td\n", {}, r"train.tsv:2: expected 3 columns"),
        (
            "a\tb\t1\nc\td\t2\n",
            {"source": Files("toy/train.tsv", readers.tsv, ("first", "second", "label"), ("no", "yes"))},
            r"train.tsv:2: expected a label from 0 to 1, got '2'",
        ),
        (
            "a\tb\tyes\n",
            {"example": lambda row: row["premise"]},
            r"train.tsv:1: expected a column 'premise', got first",
        ),
        (
            "a\tb\tyes\n",
            {"example": lambda row: row["first"].x},
            r"train.tsv:1: expected a row of task 'toy', got",
        ),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, text: str, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        tasks.examples(toy(**changes), "train", "en", tmp_path)


def test_a_missing_file_names_the_path_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"looked for {tmp_path}/toy/train.tsv \(or .gz\); give .* `--data DIR`$"):
        tasks.examples(toy(), "train", "en", tmp_path)
    with pytest.raises(ValueError, match=r"toy/train.tsv in a data folder \(none was given\)"):
        tasks.content(toy(), "train", "en")
    with pytest.raises(
        ValueError, match=r"nyu-mll/glue@.*/mnli/train-\*.parquet .* or download .* `xstilts fetch mnli`"
    ):
        tasks.data_files(tasks.find("mnli"), "train", "en", tmp_path)
    assert not tasks.available(tasks.find("anli+"), "train", "en", tmp_path)


def test_broken_gzip_is_an_error_of_the_file_in_content_too(tmp_path: Path) -> None:
    write(tmp_path, gzip.compress(b"a\tb\tyes\n" * 5000)[:-9])
    with pytest.raises(ValueError, match=r"train.tsv: expected whole gzip data"):
        tasks.content(toy(), "train", "en", tmp_path)


def test_a_union_is_the_rows_of_its_members_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))
    for name in ("one", "two"):
        write(tmp_path, f"{name} a\tb\tyes\n{name} c\td\tno\n", f"{name}/train.tsv")
    files = {name: Files(f"{name}/train.tsv", readers.tsv, ("first", "second", "label")) for name in ("one", "two")}
    both = toy(name="both", source=(), members=("two", "one"), rows={"train": 4})
    swapped = replace(both, name="swapped", members=("one", "two"))
    tasks.register(*(toy(name=name, source=files[name]) for name in files), both, swapped)
    read = tasks.examples(both, "train", "en", tmp_path)
    assert [example.first for example in read] == ["two a", "two c", "one a", "one c"]
    assert len(tasks.data_files(both, "train", "en", tmp_path)) == 2
    ids = {tasks.content(task, "train", "en", tmp_path) for task in (both, swapped, tasks.find("one"))}
    assert len(ids) == 3
    with pytest.raises(ValueError, match="expected 5 rows, got 4 from its members two, one"):
        tasks.examples(replace(both, rows={"train": 5}), "train", "en", tmp_path)


def test_a_second_file_that_a_reader_excludes_by_counts_in_the_content(tmp_path: Path) -> None:
    task = tasks.find("squad-v2@half-without-xquad")
    write(tmp_path, "half", "squad_v2/dev-v2.0.half.json")
    assert not tasks.available(task, "train", "en", tmp_path)
    with pytest.raises(ValueError, match=r"looked for .*xquad/xquad.en.json \(or .gz\)"):
        tasks.content(task, "train", "en", tmp_path)
    excluded = write(tmp_path, "xquad", "xquad/xquad.en.json")
    first = tasks.content(task, "train", "en", tmp_path)
    assert tasks.content(tasks.find("squad-v2@half"), "train", "en", tmp_path) != first
    excluded.write_text("another xquad")
    assert tasks.content(task, "train", "en", tmp_path) != first


# ------------------------------------------------------------------------ leaks between declared tasks


def model(tmp_path: Path, *trained: str) -> Train:
    """A chain of trainings, one task each; their files hold nothing but their name."""
    start: Encoder | Train = Encoder("made-up", content="0123")
    for name in trained:
        start = Train(start, Mixture((name,)), Budget(10))
        for part in (tasks.find(name), *map(tasks.find, tasks.find(name).members)):
            for split in set(part.splits) & {"train", "dev"} if part.sources else ():
                put(tmp_path, part.name, split, "en")
    assert isinstance(start, Train)
    return start


def put(folder: Path, name: str, split: str, language: str) -> None:
    first = next(s for s in tasks.find(name).sources if isinstance(s, Files))
    for path in first.paths(tasks.find(name).splits.own(split), language):
        write(folder, path, path)


def refusals(folder: Path, trained: tuple[str, ...], task: str, split: str, language: str) -> str:
    put(folder, task, split, language)
    leaf = Evaluate(model(folder, *trained), task, language, split)
    try:
        make_plan("leaks", [leaf], Sources(folder, folder / "cache"))
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("trained", "task", "split", "languages"),
    [
        (("squad-v1@dev-halves",), "xquad", "test", ("en", "de", "zh")),
        (("squad-v1@dev-halves", "squad-v1@subset"), "xquad", "test", ("en", "th")),
        (("squad-v1@dev-halves",), "squad-v1", "dev", ("en",)),
        (("squad-v1@dev-halves",), "squad-v2", "dev", ("en",)),
        (("squad-v2@half", "squad-v1@subset"), "xquad", "test", ("en", "ru")),
        (("squad-v2@half",), "squad-v2", "dev", ("en",)),
        (("squad-v2@half-without-xquad",), "squad-v2", "dev", ("en",)),
        (("squad-v2@half-without-xquad", "squad-v1@subset"), "squad-v1", "dev", ("en",)),
        (("squad-v2@half-without-xquad", "squad-v1@subset"), "squad-v1@dev-halves", "dev", ("en",)),
        (("paws-x-en@dev-half",), "paws-x", "dev", ("en", "ko")),
        (("mnli",), "mnli@sample", "dev", ("en",)),
        (("snli",), "snli@sample", "dev", ("en",)),
        (("anli+",), "mnli@sample", "dev", ("en",)),
    ],
)
def test_a_plan_that_trains_on_what_it_scores_is_refused(
    tmp_path: Path, trained: tuple[str, ...], task: str, split: str, languages: tuple[str, ...]
) -> None:
    for language in languages:
        expected = f"leak: {trained[0]} is declared to share training rows with {task}/{split}, which would be scored"
        assert expected in refusals(tmp_path, trained, task, split, language)


@pytest.mark.parametrize(
    ("trained", "task", "split", "language"),
    [
        (("squad-v1@subset",), "xquad", "test", "de"),
        (("squad-v1",), "xquad", "test", "de"),
        (("squad-v2@half-without-xquad", "squad-v1@subset"), "xquad", "test", "de"),
        (("squad-v1@dev-halves",), "mlqa", "dev", "de"),
        (("squad-v1@dev-halves",), "squad-v1@dev-halves", "dev", "en"),
        (("paws-x-en@dev-half",), "paws-x@dev-half", "dev", "ko"),
        (("paws-x-en@dev-half",), "paws-x", "test", "de"),
        (("mnli@sample",), "xnli", "dev", "sw"),
        (("socialiqa", "copa"), "xcopa", "dev", "qu"),
        (("udpos",), "ud", "test", "yo"),
        (("panx",), "panx", "dev", "my"),
        (("tydiqa",), "tydiqa", "dev", "te"),
    ],
)
def test_a_plan_that_scores_what_it_never_saw_is_made(
    tmp_path: Path, trained: tuple[str, ...], task: str, split: str, language: str
) -> None:
    assert refusals(tmp_path, trained, task, split, language) == ""


# ------------------------------------------------------------------------ hub and miniature


def test_hub_rows_are_canonical(hub_cache: Path) -> None:
    qqp = tasks.find("qqp")
    files, hub = qqp.sources
    qqp = replace(qqp, source=(files, replace(hub, revision=COMMIT)), rows={"train": 2})
    table = {"question1": ["a", "c"], "question2": ["b", "d"], "label": [0, 1], "idx": [7, 8]}
    assert not tasks.available(qqp, "train", "en")
    path = publish(hub_cache, "nyu-mll/glue", "qqp/train-00000-of-00001.parquet", table)
    assert tasks.available(qqp, "train", "en")
    assert not tasks.available(qqp, "dev", "en")
    assert tasks.data_files(qqp, "train", "en") == [path]
    assert tasks.examples(qqp, "train", "en") == [
        Pair("a", "b", "not_duplicate"),
        Pair("c", "d", "duplicate"),
    ]
    text = '{"sentence1": "e", "sentence2": "f", "label": 1}\n' * 2
    write(hub_cache, text, "qqp/train.jsonl")
    assert tasks.examples(qqp, "train", "en", hub_cache) == [Pair("e", "f", "duplicate")] * 2


def test_rows_without_a_gold_label_are_left_out(hub_cache: Path) -> None:
    snli = tasks.find("snli")
    hub = replace(next(s for s in snli.sources if isinstance(s, Hub)), revision=COMMIT)
    table = {"premise": ["a", "b", "c"], "hypothesis": ["x", "y", "z"], "label": [2, -1, 0]}
    publish(hub_cache, "stanfordnlp/snli", "plain_text/train-00000-of-00001.parquet", table)
    read = tasks.examples(replace(snli, source=hub, rows={"train": 2}), "train", "en")
    assert read == [Pair("a", "x", "contradiction"), Pair("c", "z", "entailment")]
    strict = replace(snli, source=replace(hub, unlabelled=None), rows={"train": 2})
    with pytest.raises(ValueError, match=r"parquet:2: expected a label from 0 to 2, got -1"):
        tasks.examples(strict, "train", "en")


def test_a_hub_id_is_its_commit_and_not_its_branch(hub_cache: Path) -> None:
    hub = Hub(
        "a/b",
        "main",
        {"train": "{language}/*.parquet"},
        {"first": "first", "second": "second", "label": "label"},
    )
    table = {"first": ["a", "c"], "second": ["b", "d"], "label": ["yes", "no"]}
    publish(hub_cache, "a/b", "en/1.parquet", table)
    by_branch = tasks.content(toy(source=hub), "train", "en")
    assert tasks.content(toy(source=replace(hub, revision=COMMIT)), "train", "en") == by_branch
    source._snapshot.cache_clear()
    publish(hub_cache, "a/b", "en/1.parquet", table, commit="f" * 40)
    assert tasks.content(toy(source=hub), "train", "en") != by_branch
    assert tasks.content(toy(source=replace(hub, revision=COMMIT)), "train", "en") == by_branch


def test_a_download_of_some_files_is_enough_and_a_missing_shard_is_not(hub_cache: Path) -> None:
    columns = {"first": "first", "second": "second", "label": "label"}
    task = toy(source=Hub("a/b", COMMIT, {"train": "train-*.parquet"}, columns))
    table = {"first": ["a", "c"], "second": ["b", "d"], "label": ["yes", "no"]}
    publish(hub_cache, "a/b", "train-0-of-2.parquet", table)
    listing = hub_cache / "datasets--a--b" / "trees" / f"{COMMIT}.json"
    listing.parent.mkdir()
    names = ["train-0-of-2.parquet", "train-1-of-2.parquet", "test.parquet"]
    files = {name: {"size": 1, "blob_id": "0" * 40} for name in names}
    listing.write_text(json.dumps({"format_version": 1, "files": files}))
    assert not tasks.available(task, "train", "en")
    publish(hub_cache, "a/b", "train-1-of-2.parquet", table)
    assert tasks.available(task, "train", "en")


def test_release_files_are_preferred_to_the_hub(tmp_path: Path, hub_cache: Path) -> None:
    hub = Hub("a/b", "main", {"train": "*.parquet"}, {"first": "first", "second": "second", "label": "label"})
    task = toy(source=(toy().source, hub))
    publish(hub_cache, "a/b", "1.parquet", {"first": ["hub"] * 2, "second": ["b"] * 2, "label": ["yes"] * 2})
    assert tasks.examples(task, "train", "en", tmp_path)[0] == Pair("hub", "b", "yes")
    write(tmp_path, "file\tb\tyes\nfile\td\tno\n")
    assert tasks.examples(task, "train", "en", tmp_path)[0] == Pair("file", "b", "yes")


def test_fetch_downloads_exactly_the_declared_files(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    paws_x = tasks.find("paws-x@dev-half")
    real, calls = huggingface_hub.snapshot_download, []

    def download(repo: str, **options: Any) -> str:
        if options.get("local_files_only"):
            return real(repo, **options)
        calls.append((repo, options))
        for pattern in options["allow_patterns"]:
            name = pattern.replace("*", "00000-of-00001")
            publish(hub_cache, repo, name, {"sentence1": ["a"]}, commit=options["revision"])
        return ""

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    files = tasks.download(paws_x)
    ((repo, options),) = calls
    assert (repo, options["repo_type"]) == ("google-research-datasets/paws-x", "dataset")
    assert options["allow_patterns"] == [f"{code}/validation-*.parquet" for code in sorted(paws_x.languages)]
    assert len(files) == len(paws_x.languages)
    with pytest.raises(ValueError, match=r"'tatoeba' cannot be fetched: give the folder .* `--data DIR`"):
        tasks.download(tasks.find("tatoeba"))


def test_a_miniature_is_read_and_identified_by_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    import xstilts

    world = types.SimpleNamespace(
        NAMES=("toy",),
        fingerprint=lambda: "one",
        rows=lambda *asked: [{"first": " ".join(map(str, asked)), "second": "b", "label": "yes"}],
    )
    monkeypatch.setattr(xstilts, "miniature", world, raising=False)
    monkeypatch.setitem(sys.modules, "xstilts.miniature", world)
    task = toy(source=Miniature("toy", seed=7), rows={"train": 1})
    assert tasks.available(task, "train", "en")
    assert not tasks.available(toy(source=Miniature("nothing"), rows={"train": 1}), "train", "en")
    assert tasks.examples(task, "train", "en") == [Pair("toy train en 1 7", "b", "yes")]
    first = tasks.content(task, "train", "en")
    world.fingerprint = lambda: "two"
    assert tasks.content(task, "train", "en") != first
    for other in (replace(task, source=Miniature("toy")), replace(task, rows={"train": 2})):
        world.fingerprint = lambda: "one"
        assert tasks.content(other, "train", "en") != first
    world.rows = lambda *_: [{"first": "a", "second": "b", "label": json.dumps("yes")}]
    with pytest.raises(ValueError, match=r"miniature toy/train/en:1: expected a label among no, yes"):
        tasks.examples(task, "train", "en")


@pytest.mark.parametrize("name", [task.name for task in tasks.ALL if isinstance(task.source, Miniature)])
def test_miniature_tasks_offer_what_they_declare(name: str) -> None:
    task = tasks.find(name)
    for split in task.splits:
        for code in task.languages_of(split):
            assert len(tasks.examples(task, split, code)) >= 20
