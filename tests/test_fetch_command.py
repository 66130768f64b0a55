"""Fetching from a hub that is not there: what is downloaded, written down, and found to differ later."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import xstilts
from program import Call, Ended, refused
from test_sources import publish
from xstilts import manifest, tasks

TASK, OTHER = "paws-x@dev-half", "qqp"
ENCODER = "some/small-encoder"
COMMIT = "89abcdef" * 5


@pytest.fixture(autouse=True)
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub that has what is asked for, and puts it into the cache as the real one does."""
    import huggingface_hub

    real = huggingface_hub.snapshot_download

    def download(repo: str, **options: Any) -> str:
        if options.get("local_files_only"):
            return real(repo, **options)
        if options.get("repo_type") == "dataset":
            for pattern in options["allow_patterns"]:
                name = pattern.replace("*", "00000-of-00001")
                if not (
                    hub_cache / f"datasets--{repo.replace('/', '--')}/snapshots/{options['revision']}/{name}"
                ).exists():
                    publish(hub_cache, repo, name, {"text": [name]}, commit=options["revision"])
            return ""
        folder = hub_cache / f"models--{repo.replace('/', '--')}" / "snapshots" / COMMIT
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / name).write_text(name)
        (folder / "pytorch_model.bin").touch()  # another program's
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return hub_cache


def entries(manifest: Path) -> list[dict[str, Any]]:
    document = json.loads(manifest.read_text())
    assert document["format"] == 1
    return list(document["files"])


def test_every_file_that_is_fetched_is_written_down(call: Call, hub: Path, tmp_path: Path) -> None:
    ended = call("fetch", TASK, ENCODER, "--manifest", "list.json")
    folder = hub / "models--some--small-encoder" / "snapshots" / COMMIT
    assert ended.out == f"{TASK}: 7 files\n{ENCODER}: {folder}\nlisted in list.json\n"
    found = entries(Path("list.json"))
    assert found == sorted(found, key=lambda entry: (entry["type"], entry["repo"], entry["path"]))
    languages = tasks.find(TASK).languages
    revision = "4cd8187c404bda33cb1f62b49b001115862acf37"
    assert [(entry["type"], entry["repo"], entry["commit"], entry["path"]) for entry in found] == [
        *(
            ("dataset", "google-research-datasets/paws-x", revision, f"{code}/validation-00000-of-00001.parquet")
            for code in languages
        ),
        *(("model", ENCODER, COMMIT, name) for name in ("config.json", "model.safetensors", "tokenizer.json")),
    ]
    config = found[-3]
    assert config["bytes"] == len("config.json")
    assert config["sha256"] == hashlib.sha256(b"config.json").hexdigest()
    assert config["xstilts"] == xstilts.__version__
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", config["date"])
    parquet = hub / "datasets--google-research-datasets--paws-x" / "snapshots" / revision / found[0]["path"]
    assert found[0]["sha256"] == hashlib.sha256(parquet.read_bytes()).hexdigest()
    assert not (tmp_path / "user-cache").exists()


def test_the_manifest_lies_in_the_cache_folder_and_grows(call: Call, tmp_path: Path) -> None:
    call("fetch", OTHER)
    manifest = tmp_path / "user-cache" / "xstilts" / "fetched.json"
    first = entries(manifest)
    assert {entry["repo"] for entry in first} == {"nyu-mll/glue"}
    document = json.loads(call("fetch", ENCODER, OTHER, "--json").out)
    assert document["manifest"] == str(manifest)
    assert [set(one) for one in document["fetched"]] == [{"name", "folder"}, {"name", "files"}]
    assert set(document) == {"fetched", "manifest", "problems"}
    second = entries(manifest)
    assert [entry for entry in second if entry["type"] == "dataset"] == first
    assert len(second) == len(first) + 3
    call("fetch", OTHER, "--cache", str(tmp_path / "other"))
    assert len(entries(tmp_path / "other" / "fetched.json")) == len(first)
    assert call("fetch", OTHER, "--quiet") == Ended(0, "", "")


def test_two_that_fetch_at_once_lose_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins while the first is about to write what it has read."""
    for name in (OTHER, ENCODER):  # into the cache
        call("fetch", name, "--manifest", f"{name.partition('/')[0]}.json")
    files = [Path(huggingface_hub.constants.HF_HUB_CACHE).rglob(name) for name in ("train-*.parquet", "config.json")]
    first, second = (next(iter(found)) for found in files)
    write, threads = manifest.write_atomically, list[threading.Thread]()

    def meanwhile(path: Path, text: str) -> None:
        if not threads:
            threads.append(threading.Thread(target=manifest.add, args=(path, [second], "1")))
            threads[0].start()
            threads[0].join(0.3)
        write(path, text)

    monkeypatch.setattr(manifest, "write_atomically", meanwhile)
    manifest.add(Path("both.json"), [first], "1")
    threads[0].join()
    assert {entry["type"] for entry in entries(Path("both.json"))} == {"dataset", "model"}


def test_what_came_before_a_failure_is_written_down(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, revision: str) -> Path:
        raise OSError("no route")

    monkeypatch.setattr("xstilts.hub.download_encoder", nothing)
    ended = call("fetch", OTHER, ENCODER, "--manifest", "list.json")
    assert ended.code == 1
    assert f"{ENCODER} cannot be fetched: no route; check the name and the network" in ended.err
    assert {entry["repo"] for entry in entries(Path("list.json"))} == {"nyu-mll/glue"}


def test_a_task_of_a_study_file_is_fetched_by_the_file_s_name(call: Call, cache_dir: Path) -> None:
    Path("folder").mkdir()
    Path("folder/mine.py").write_text(
        "from xstilts.tasks import Hub, MaskedLM, Splits, Task, Text, register\n"
        f"source = Hub('me/mine', '{COMMIT}', {{'train': 'rows-*.parquet'}}, {{'text': 'text'}})\n"
        "register(Task(name='mine', kind=MaskedLM(), example=lambda row: Text(row['text']), languages=('en',),\n"
        "    splits=Splits(train='train'), source=source, metric='perplexity'))\n"
    )
    words = ("tasks", "show", "folder/mine.py:mine", "--encoder", "tiny", "--cache", str(cache_dir))
    assert "download it with `xstilts fetch FILE.py:mine`" in call(*words).out
    assert call("fetch", "folder/mine.py:mine", "--manifest", "list.json").out.startswith(
        "folder/mine.py:mine: 1 files\n"
    )
    (entry,) = entries(Path("list.json"))
    assert (entry["repo"], entry["commit"], entry["path"]) == ("me/mine", COMMIT, "rows-00000-of-00001.parquet")
    shown = call(*words).out
    assert f"hub           me/mine@{COMMIT} (here: yes)" in shown
    assert "to get it     xstilts fetch folder/mine.py:mine\n" in shown


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (Path.unlink, "not in the Hugging Face cache"),
        (cut, "10 bytes, expected 11"),
        (flip, f"SHA-256 [0-9a-f]{{64}}, expected {hashlib.sha256(b'config.json').hexdigest()}"),
    ],
    ids=["missing", "shorter", "one bit"],
)
def test_a_file_that_differs_is_named(spoil: Callable[[Path], None], what: str, call: Call, hub: Path) -> None:
    words = ("fetch", "--verify", "--manifest", "list.json")
    call("fetch", ENCODER, OTHER, "--manifest", "list.json")
    sound = call(*words)
    assert sound == Ended(0, "verified 5 files of list.json: all intact\n", "")
    assert call(*words, "--quiet") == Ended(0, "", "")
    spoil(hub / "models--some--small-encoder" / "snapshots" / COMMIT / "config.json")
    ended = call(*words)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert re.fullmatch(f"model {ENCODER}@{COMMIT}/config.json: {what}", lines[0])
    assert lines[1] == "verified 5 files of list.json: 1 problems"
    assert "remove" in lines[2]
    assert call(*words, "--quiet") == ended
    document = json.loads(call(*words, "--json").out)
    assert document == {"manifest": "list.json", "verified": 5, "problems": lines[:1]}


def test_a_file_fetched_again_must_be_what_it_was(call: Call, hub: Path) -> None:
    words = ("fetch", OTHER, "--manifest", "list.json")
    call(*words)
    written = Path("list.json").read_bytes()
    (file,) = hub.glob("datasets--nyu-mll--glue/snapshots/*/qqp/train-*.parquet")
    flip(file)  # in the cache, where a download finds it whole
    ended = call(*words)
    assert ended.code == 1
    problem = re.escape("/qqp/train-00000-of-00001.parquet: not the bytes of 20")
    assert re.fullmatch(f"xstilts: dataset nyu-mll/glue@[0-9a-f]{{40}}{problem}.* in list.json\n", ended.err)
    assert Path("list.json").read_bytes() == written
    assert len(json.loads(call(*words, "--json").out)["problems"]) == 1


def linked(file: Path, blob: str) -> None:
    """Put a file's bytes where the hub's client puts them: into a blob that is named by the hub's hash of them."""
    target = file.parents[2] / "blobs" / blob
    target.parent.mkdir(exist_ok=True)
    file.rename(target)
    file.symlink_to(target)


@pytest.mark.parametrize("spoil", [None, cut, flip])
def test_a_download_must_have_the_hash_that_the_hub_names(
    spoil: Callable[[Path], None] | None, call: Call, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xstilts import hub as hub_module

    folder = Path(hub_module.download_encoder(ENCODER, "main"))
    monkeypatch.setattr(hub_module, "download_encoder", lambda *_: folder)  # it is there, and links
    large, small = folder / "model.safetensors", folder / "config.json"
    linked(large, hashlib.sha256(b"model.safetensors").hexdigest())
    linked(small, "92a4b8a6e2a4a0a4d3a9a6a4ff1dfc4b8ed5b0b5" if spoil else git_hash(b"config.json"))
    if spoil:
        spoil(large.resolve())
    ended = call("fetch", ENCODER, "--manifest", "list.json")
    assert ended.code == (1 if spoil else 0)
    listed = [entry["path"] for entry in entries(Path("list.json"))]
    assert listed == (["tokenizer.json"] if spoil else ["config.json", "model.safetensors", "tokenizer.json"])
    for file in (small, large) if spoil else ():
        what = f"{file.name}: not the bytes that the hub names; remove {file.resolve()} and fetch it again"
        assert what in ended.err


def git_hash(data: bytes) -> str:
    """As ``git hash-object`` says it."""
    done = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "list.json: no such file; expected a manifest that `xstilts fetch` wrote"),
        ("{", "list.json: expected a manifest, got Expecting"),
        ("[]", "list.json: expected a manifest of format 1"),
        ('{"format": 2, "files": []}', "list.json: expected a manifest of format 1"),
        ('{"format": 1, "files": [{"repo": "a"}]}', "list.json: files[0]: expected type, repo, commit, path, bytes"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str | None, message: str, call: Call, hub: Path) -> None:
    if text is not None:
        Path("list.json").write_text(text)
        refused(call("fetch", OTHER, "--manifest", "list.json"), message)
        assert Path("list.json").read_text() == text
        assert not hub.exists()  # before the first download
    refused(call("fetch", "--verify", "--manifest", "list.json"), message)


def test_wrong_usage(call: Call) -> None:
    for words in (("fetch",), ("fetch", TASK, "--verify")):
        refused(call(*words), "expected tasks or encoders to fetch, or --verify without any", "fetch --help")
    Path("folder").mkdir()
    refused(call("fetch", TASK, "--manifest", "folder"), "--manifest folder: it is a folder")


def test_an_unknown_name_asks_nobody(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *words, **_: asked.append(words))
    refused(call("fetch", "xnly"), "unknown task 'xnly'", "did you mean 'xnli'")
    refused(call("fetch", "someone/encoder", "qqp", "xnly"), "unknown task 'xnly'")  # before the first download
    refused(call("fetch", "mini-nli"), "task 'mini-nli' cannot be fetched: it is made, not downloaded")
    refused(call("fetch", "tatoeba"), "task 'tatoeba' cannot be fetched: give the folder of its release files")
    assert asked == []
    assert not (tmp_path / "user-cache").exists()
