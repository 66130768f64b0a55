"""The store: round trips, every flipped byte, every crash, every race, and a model."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from xstilts.stage import seconds_of
from xstilts.store import ImportReport, Store

# A forked child here does nothing but file operations, so threads of the parent do not matter to it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

TRAIN, OTHER, LEAF = (
    "train-0123456789abcdef0123",
    "train-3333333333333333aaaa",
    "evaluate-0123456789abcdef0123",
)


def staged(store: Store, id: str, weights: bytes = b"w" * 40) -> Path:
    folder = store.work(id) / "out"
    shutil.rmtree(folder, ignore_errors=True)
    if id.startswith("train"):
        (folder / "weights" / "tokenizer").mkdir(parents=True)
        (folder / "weights" / "model.safetensors").write_bytes(weights)
        (folder / "weights" / "tokenizer" / "vocab.txt").write_text("a\nb\n")
        (folder / "log.jsonl").write_text('{"step": 1}\n')
    else:
        folder.mkdir()
        (folder / "predictions.parquet").write_bytes(b"PAR1 rows PAR1")
    return folder


def record(id: str, **more: Any) -> dict[str, Any]:
    return {"kind": id.split("-")[0], "version": 1, "result": {"loss": 0.1, "name": "naïve"}, **more}


def publish(store: Store, id: str, weights: bytes = b"w" * 40, **more: Any) -> None:
    store.publish(id, staged(store, id, weights), record(id, **more))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def fork(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"child: {error!r}\n".encode())
        finally:
            os._exit(1)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# -- round trips and refusals -----------------------------------------------------------------------------


def test_round_trip(store: Store) -> None:
    assert not store.exists(TRAIN)
    assert not store.usable(TRAIN)
    publish(store, TRAIN)
    publish(store, LEAF)
    again = Store.open(store.root, create=False)
    assert again.ids() == [LEAF, TRAIN]
    assert again.usable(TRAIN)
    assert again.usable(LEAF)
    assert (again.weights(TRAIN) / "model.safetensors").read_bytes() == b"w" * 40
    found = again.record(TRAIN)
    assert (found["format"], found["id"], found["result"]) == (1, TRAIN, {"loss": 0.1, "name": "naïve"})
    assert {name: entry["bytes"] for name, entry in found["files"].items()} == {
        "log.jsonl": 12,
        "weights/model.safetensors": 40,
        "weights/tokenizer/vocab.txt": 4,
    }
    assert [entry["kind"] for entry in again.records()] == ["evaluate", "train"]
    assert [entry["id"] for entry in again.records("train")] == [TRAIN]
    assert again.verify() == []
    store.clear_work(TRAIN)
    assert not (store.root / "work" / TRAIN).exists()
    assert os.listdir(store.root / "work" / ".trash") == []
    with pytest.raises(ValueError, match=f"no stage 'train-0123.*did you mean '{TRAIN}'"):
        store.record(TRAIN[:-1] + "4")
    with pytest.raises(ValueError, match="no weights"):
        store.weights(LEAF)


def test_publishing_again_keeps_the_first_and_drops_the_staged(store: Store) -> None:
    publish(store, TRAIN, b"first")
    before = store.record(TRAIN)
    again = staged(store, TRAIN, b"second")
    store.publish(TRAIN, again, record(TRAIN))
    assert store.record(TRAIN) == before
    assert not again.exists()
    store.publish(TRAIN, again, record(TRAIN))  # the caller died after the rename and has nothing staged any more
    (store.folder(OTHER)).mkdir()
    (store.folder(OTHER) / "stray").touch()
    with pytest.raises(ValueError, match=r"in the way: it has no record\.json"):
        publish(store, OTHER)


@pytest.mark.parametrize("id", ["..", ".", "", "a/b", "/etc", "../x", "a\n", ".hidden", "a\0b"])
def test_ids_that_are_paths_are_refused(store: Store, id: str) -> None:
    calls = (
        store.exists,
        store.record,
        store.work,
        store.clear_work,
        store.claim,
        store.failures,
        store.holder,
    )
    more = (lambda id: store.add_score(id, "a", {}), lambda id: store.write_plan(id, {}), store.plan)
    publishing = (
        lambda id: store.publish(id, staged(store, TRAIN), record(TRAIN)),
        lambda id: store.verify([id]),
    )
    for call in (*calls, *more, *publishing):
        with pytest.raises(ValueError, match="never a path"):
            call(id)


@pytest.mark.parametrize(
    "name", [".hidden", "new\nline", "a b", "-rf", "record.json/x", "scores/a.json", "remade.json"]
)
def test_odd_and_reserved_names_are_refused(store: Store, name: str) -> None:
    folder = staged(store, TRAIN)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    with pytest.raises(ValueError, match=r"odd file name|keeps this name"):
        store.publish(TRAIN, folder, record(TRAIN))
    assert not store.exists(TRAIN)


def test_links_and_special_files_are_refused(store: Store) -> None:
    for make in (
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("/etc"),
        os.mkfifo,
    ):
        folder = staged(store, TRAIN)
        make(folder / "extra")
        with pytest.raises(ValueError, match="regular files only"):
            store.publish(TRAIN, folder, record(TRAIN))
    with pytest.raises(ValueError, match="not JSON data"):
        publish(store, TRAIN, loss=float("nan"))
    with pytest.raises(ValueError, match=f"the record of {TRAIN} has the id 'x'"):
        store.publish(TRAIN, staged(store, TRAIN), {"id": "x"})
    assert store.ids() == []


def test_opening_something_else_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.ogg").touch()
    with pytest.raises(ValueError, match=r"music is not a store \(found song\.ogg\)"):
        Store.open(tmp_path / "music")
    with pytest.raises(ValueError, match="it is a file"):
        Store.open(tmp_path / "music" / "song.ogg")
    with pytest.raises(OSError, match="cannot open the store"):
        Store.open(tmp_path / "music" / "song.ogg" / "store")
    with pytest.raises(ValueError, match=r"no format\.json"):
        Store.open(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()
    marker = Store.open(tmp_path / "store").root / "format.json"
    assert json.loads(marker.read_text()) == {"format": 1}
    for text, message in (
        ('{"format": 2}', "newer xstilts"),
        ("[]", "is not a store"),
        ("\xff", "is not a store"),
    ):
        marker.write_text(text, encoding="latin-1")
        with pytest.raises(ValueError, match=message):
            Store.open(tmp_path / "store")


def test_an_unwritable_store_opens_for_reading_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the suite may run as root, who may write all
    with pytest.raises(OSError, match=f"cannot open the store {store.root}: no permission to write") as error:
        Store.open(store.root)
    assert error.value.errno == errno.EACCES
    assert Store.open(store.root, create=False).ids() == []


def test_scores_are_written_once(store: Store) -> None:
    publish(store, LEAF)
    document = {"metric": "accuracy", "version": 1, "values": [{"layer": 0, "value": 1 / 3}]}
    store.add_score(LEAF, "accuracy-v1", document)
    store.add_score(LEAF, "accuracy-v1", document)
    with pytest.raises(ValueError, match="bump the metric's version"):
        store.add_score(LEAF, "accuracy-v1", {**document, "version": 2})
    assert store.scores(LEAF) == {"accuracy-v1": document}
    assert store.verify() == []
    path = store.folder(LEAF) / "scores" / "accuracy-v1.json"
    path.write_text(path.read_text().replace("0.333", "0.433"))
    with pytest.raises(ValueError, match=r"accuracy-v1\.json: damaged"):
        store.scores(LEAF)


def test_failures_and_plans(store: Store) -> None:
    assert store.failures(TRAIN) == []
    paths = [store.write_failure(TRAIN, "k = 1", f"Traceback {n} \ud800") for n in range(3)]
    store.write_failure(TRAIN + "-more", "another stage", "")
    assert store.failures(TRAIN) == paths
    assert "k = 1" in paths[1].read_text()
    assert "Traceback 1" in paths[1].read_text()
    for age, name in ((10, "scaling"), (5, "demo"), (20, "alternatives")):
        store.write_plan(name, {"study": name, "stages": {}})
        os.utime(store.root / "plans" / f"{name}.json", (1e9 - age, 1e9 - age))
    assert store.plans() == ["demo", "scaling", "alternatives"]
    store.write_plan("scaling", {"study": "scaling", "leaves": [1]})
    assert store.plan("scaling")["leaves"] == [1]
    with pytest.raises(ValueError, match="did you mean 'scaling'"):
        store.plan("scalling")


# -- retention --------------------------------------------------------------------------------------------


def test_drop_and_remake(store: Store) -> None:
    publish(store, TRAIN)
    first = (store.folder(TRAIN) / "record.json").read_bytes()
    for generation, weights in ((1, b"w" * 40), (2, b"other"), (3, b"w" * 40)):
        if generation > 1:
            assert store.remake(TRAIN, staged(store, TRAIN, weights), record(TRAIN)) is (weights == b"w" * 40)
        assert store.usable(TRAIN)
        assert (store.weights(TRAIN) / "model.safetensors").read_bytes() == weights
        unneeded = staged(store, TRAIN, b"too late")
        assert store.remake(TRAIN, unneeded, record(TRAIN)) is (weights == b"w" * 40)
        assert not unneeded.exists()
        assert store.verify() == []
        for _ in range(2):
            store.drop(TRAIN, "no longer needed")
        assert (store.exists(TRAIN), store.usable(TRAIN)) == (True, False)
        assert not list(store.root.rglob("model.safetensors*"))
        assert store.verify() == []
        with pytest.raises(ValueError, match=r"dropped \(no longer needed\)"):
            store.weights(TRAIN)
    assert (store.folder(TRAIN) / "record.json").read_bytes() == first
    publish(store, LEAF)
    with pytest.raises(ValueError, match="has no weights to drop"):
        store.drop(LEAF, "why not")
    with pytest.raises(ValueError, match="nothing to re-make"):
        store.remake(TRAIN, staged(store, LEAF), record(TRAIN))


def test_weights_lost_without_a_tombstone_are_a_problem_and_can_be_remade(store: Store) -> None:
    publish(store, TRAIN)
    shutil.rmtree(store.folder(TRAIN) / "weights")
    assert not store.usable(TRAIN)
    assert [problem.what for problem in store.verify([TRAIN])] == ["missing", "missing"]
    assert store.remake(TRAIN, staged(store, TRAIN), record(TRAIN))
    assert store.usable(TRAIN)
    assert store.verify() == []


# -- verify -----------------------------------------------------------------------------------------------


def test_verify_names_the_file_of_any_flipped_byte(store: Store) -> None:
    publish(store, TRAIN)
    publish(store, OTHER)
    store.add_score(TRAIN, "accuracy-v1", {"metric": "accuracy", "values": [0.5, 1e-7, 10]})
    store.drop(TRAIN, "flip")
    store.remake(TRAIN, staged(store, TRAIN), record(TRAIN))
    assert store.verify() == []
    paths = [path for path in store.folder(TRAIN).rglob("*") if path.is_file()]
    kinds = {path.name for path in paths}
    assert kinds >= {
        "record.json",
        "remade.json",
        "tombstone-1.json",
        "accuracy-v1.json",
        "model.safetensors",
    }
    for path in paths:
        data = bytearray(path.read_bytes())
        for at in range(0, len(data), 1 + len(data) // 150):
            mask = (0x01, 0x20, 0x29, 0xFF)[at % 4]  # 0x20 and 0x29 make white space and case of one another
            data[at] ^= mask
            path.write_bytes(data)
            found = store.verify()
            assert {problem.id for problem in found} == {TRAIN}, (path, at, mask)
            assert str(path.relative_to(store.folder(TRAIN))) in {problem.file for problem in found}
            data[at] ^= mask
        path.write_bytes(data)
    assert store.verify() == []


def test_verify_names_what_is_missing_unknown_edited_or_no_stage(store: Store) -> None:
    publish(store, TRAIN)
    folder = store.folder(TRAIN)
    (folder / "log.jsonl").rename(folder / "log2.jsonl")
    (folder / "weights" / "model.safetensors").unlink()
    (folder / "weights" / "model.safetensors").symlink_to("/etc/passwd")
    (store.root / "stages" / "half").mkdir()
    (store.root / "stages" / "file").touch()
    assert {(problem.id, problem.file, problem.what.split(":")[0]) for problem in store.verify()} == {
        (TRAIN, "log.jsonl", "missing"),
        (TRAIN, "log2.jsonl", "unknown file"),
        (TRAIN, "weights/model.safetensors", "not a regular file"),
        ("half", "record.json", "missing"),
        ("file", "", "not the folder of a stage"),
    }
    assert store.ids() == [TRAIN]
    record_file = folder / "record.json"
    for edit in (
        lambda text: text.replace('"loss": 0.1', '"loss": 0.2'),
        lambda text: text.replace('"loss": 0.1', '"loss": 0.10'),
        lambda text: text.rstrip(),
        lambda text: text.replace(TRAIN, OTHER),
        lambda text: "[]",
        lambda text: "",
    ):
        text = record_file.read_text()
        record_file.write_text(edit(text))
        assert [problem.file for problem in store.verify([TRAIN])] == ["record.json"]
        with pytest.raises(ValueError, match=r"record\.json: "):
            store.record(TRAIN)
        record_file.write_text(text)


# -- crashes ----------------------------------------------------------------------------------------------

_armed: list[Callable[[], None]] = []
_COUNTED = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "shutil.copyfile"}


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _armed and (event in _COUNTED or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))):
        _armed[0]()


sys.addaudithook(_audit)  # sees every file operation just before it happens, whoever asks for it


def arm(after: int, action: Callable[[], None]) -> None:
    """Let ``action`` strike once, in place of file operation number ``after``."""
    left = [after]

    def strike() -> None:
        left[0] -= 1
        if left[0] == 0:
            _armed.clear()
            action()

    _armed[:] = [strike]


def disk_full() -> None:
    raise OSError(errno.ENOSPC, "no space left")


def _prepare_import(root: Path) -> None:
    far, here = Store.open(root / "far"), Store.open(root / "store")
    for id in (TRAIN, OTHER, LEAF):
        publish(far, id)
    far.add_score(LEAF, "accuracy-v1", {"value": 1})
    far.export(here.root, [OTHER], payload=False)


def _operation(name: str, root: Path) -> None:
    store = Store.open(root / "store")
    if name == "publish":
        publish(store, TRAIN)
    elif name == "drop":
        store.drop(TRAIN, "crash test")
    elif name == "remake":
        store.remake(TRAIN, staged(store, TRAIN), record(TRAIN))
    elif name == "import":
        assert not store.import_from(root / "far").refused
    elif name == "export":
        Store.open(root / "far").export(store.root, [TRAIN, LEAF], payload=False)
    elif name == "score":
        store.add_score(TRAIN, "accuracy-v1", {"value": 1})
    elif name == "claim":
        claim = store.claim(TRAIN)
        assert claim is not None
        claim.release()


def _prepare(name: str, root: Path) -> None:
    if name in ("import", "export"):
        _prepare_import(root)
    elif name in ("drop", "remake", "score"):
        store = Store.open(root / "store")
        publish(store, TRAIN)
        if name == "remake":
            store.drop(TRAIN, "to be re-made")


@pytest.mark.parametrize("how", ["killed", "disk full"])
@pytest.mark.parametrize("name", ["publish", "drop", "remake", "import", "export", "score", "claim"])
def test_a_crash_at_any_file_operation_leaves_all_or_nothing(
    tmp_path: Path, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: _armed[0]() if _armed else None)  # counted, and fast
    _prepare(name, tmp_path / "ready")
    usable_after = name != "drop"
    for after in range(1, 10_000):
        root = tmp_path / str(after)
        shutil.copytree(tmp_path / "ready", root) if (tmp_path / "ready").exists() else root.mkdir()
        struck = True
        if how == "killed":

            def work(after: int = after, root: Path = root) -> None:
                arm(after, lambda: os._exit(77))
                _operation(name, root)

            struck = (code := exit_code(fork(work))) == 77
            assert code in (0, 77)
        else:
            arm(after, disk_full)
            with contextlib.suppress(OSError):
                _operation(name, root)
            struck = not _armed
            _armed.clear()
        store = Store.open(root / "store")
        assert store.verify() == []
        for id in store.ids():
            assert store.record(id)["id"] == id
            for weights in store.folder(id).rglob("weights"):
                assert len(list(weights.rglob("*.*"))) == 2, "a part of the weights"
            for weights in [store.weights(id)] if store.usable(id) and id != LEAF else []:
                assert (weights / "model.safetensors").read_bytes() == b"w" * 40
        _operation(name, root)
        assert store.verify() == []
        if name != "claim":
            expected = [LEAF, TRAIN, OTHER] if name in ("import", "export") else [TRAIN]
            assert store.ids() == expected
            assert store.usable(TRAIN) is (usable_after and name != "export")
        assert len(list((root / "store").rglob("model.safetensors"))) == {
            "drop": 0, "export": 0, "claim": 0, "import": 2,
        }.get(name, 1)  # fmt: skip  # what a crash left of weights is gone
        shutil.rmtree(root)
        if not struck:
            break
    assert after > (3 if name == "claim" else 5)


def test_publish_is_durable_before_it_is_visible(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = staged(store, TRAIN)
    events: list[str] = []
    rename = os.rename

    def fsync(handle: int) -> None:
        events.append("sync " + os.readlink(f"/proc/self/fd/{handle}"))

    def renaming(source: Any, target: Any) -> None:
        events.append(f"rename {target}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renaming)
    files = [folder, *folder.rglob("*"), folder / "record.json"]
    store.publish(TRAIN, folder, record(TRAIN))
    visible = events.index(f"rename {store.folder(TRAIN)}")
    assert {f"sync {path}" for path in files} <= set(events[:visible])
    assert f"sync {store.root / 'stages'}" in events[visible:]


# -- several processes ------------------------------------------------------------------------------------

_HOLDER = """
import sys; from pathlib import Path; from xstilts.store import Store
claim = Store.open(Path(sys.argv[1])).claim(sys.argv[2])
print(claim is not None, flush=True); sys.stdin.read()
"""


def test_a_claim_excludes_others_and_dies_with_its_holder(store: Store) -> None:
    command = [sys.executable, "-c", _HOLDER, str(store.root), TRAIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert store.claim(TRAIN) is None
        assert f"process {holder.pid} on " in store.holder(TRAIN)
        other = store.claim(OTHER)
        assert other is not None
        other.release()
        holder.send_signal(signal.SIGKILL)
    claim = store.claim(TRAIN)
    assert claim is not None
    with claim:
        assert f"process {os.getpid()} on " in store.holder(TRAIN)
        assert store.claim(TRAIN) is None  # nor may another part of this process
        assert exit_code(fork(lambda: os._exit(3 if store.claim(TRAIN) is None else 4))) == 3
    claim.release()
    assert store.holder(TRAIN) == "another process"
    again = store.claim(TRAIN)
    assert again is not None
    again.release()


def test_processes_that_publish_one_id_agree_on_one_of_them(store: Store) -> None:
    for number in range(5):
        id = f"train-{number:020x}"

        def work(name: str, id: str = id) -> None:
            folder = staged(Store(store.root / "work" / name), id, name.encode())
            store.publish(id, folder, record(id, who=name))

        assert [exit_code(pid) for pid in [fork(lambda n=n: work(n)) for n in ("one", "two", "three")]] == [0] * 3
        assert (store.weights(id) / "model.safetensors").read_text() == store.record(id)["who"]
    assert store.verify() == []


def test_verify_and_export_stay_clean_beside_drop_and_remake(store: Store, tmp_path: Path) -> None:
    publish(store, TRAIN)

    def work(name: str) -> None:
        for _ in range(12):
            store.drop(TRAIN, "race")
            store.remake(TRAIN, staged(Store(store.root / "work" / name), TRAIN), record(TRAIN))

    pids = [fork(lambda n=n: work(n)) for n in ("one", "two")]
    for round in range(20):
        assert store.verify() == []
        assert Store.open(tmp_path / f"copy{round}").import_from(store.root).added == (TRAIN,)
        assert Store.open(tmp_path / f"copy{round}").verify() == []
    assert [exit_code(pid) for pid in pids] == [0, 0]
    assert store.verify() == []


# -- export and import ------------------------------------------------------------------------------------


def test_export_and_import(store: Store, tmp_path: Path) -> None:
    for id in (TRAIN, OTHER, LEAF):
        publish(store, id)
    store.drop(OTHER, "before the export")
    store.add_score(LEAF, "accuracy-v1", {"value": 1})
    light, full, home = tmp_path / "light", tmp_path / "full", Store.open(tmp_path / "home")
    assert store.export(light, store.ids(), payload=False) == 3
    assert store.export(light, store.ids(), payload=False) == 0
    assert store.export(full, [TRAIN, LEAF], payload=True) == 2
    assert not list(light.rglob("model.safetensors"))
    assert Store.open(light, create=False).verify() == []
    assert home.import_from(light) == ImportReport((LEAF, TRAIN, OTHER), (), (), ())
    assert home.record(TRAIN) == store.record(TRAIN)
    assert home.scores(LEAF) == {"accuracy-v1": {"value": 1}}
    assert (home.usable(LEAF), home.usable(TRAIN)) == (True, False)
    store.add_score(LEAF, "accuracy-v2", {"value": 2})
    store.export(full, [LEAF], payload=True)
    assert home.import_from(full) == ImportReport((), (LEAF, TRAIN), (), ())
    assert home.usable(TRAIN)
    assert json.loads((home.folder(TRAIN) / "remade-2" / "remade.json").read_text())["identical"] is True
    assert home.scores(LEAF).keys() == {"accuracy-v1", "accuracy-v2"}
    assert home.import_from(full) == ImportReport((), (), (LEAF, TRAIN), ())
    assert home.verify() == []
    with pytest.raises(ValueError, match="no stage"):
        store.export(full, ["train-absent"], payload=True)
    home.add_score(LEAF, "accuracy-v3", {"value": 3})
    Store.open(full).add_score(LEAF, "accuracy-v3", {"value": 4})
    report = home.import_from(full)
    assert [problem.id for problem in report.refused] == [LEAF]
    assert "bump the metric's version" in report.refused[0].what


def test_an_export_of_scores_leaves_predictions_out_and_says_so(store: Store, tmp_path: Path) -> None:
    publish(store, TRAIN)
    publish(store, LEAF)
    store.add_score(LEAF, "accuracy-v1", {"value": 1})
    assert store.export(tmp_path / "small", store.ids(), payload=False, predictions=False) == 2
    small = Store.open(tmp_path / "small", create=False)
    assert not [*small.root.rglob("predictions.parquet"), *small.root.rglob("model.safetensors")]
    assert small.verify() == []
    assert (small.usable(LEAF), small.usable(TRAIN)) == (True, False)
    assert small.scores(LEAF) == store.scores(LEAF)
    assert json.loads((small.folder(LEAF) / "tombstone-1.json").read_text())["reason"] == "copied without predictions"
    assert Store.open(tmp_path / "home").import_from(small.root).refused == ()
    assert small.export(tmp_path / "on", [LEAF], payload=True) == 1  # what it lost before is no damage
    (small.folder(LEAF) / "tombstone-1.json").unlink()
    assert [(problem.file, problem.what) for problem in small.verify()] == [("predictions.parquet", "missing")]


def test_what_a_stage_took_counts_earlier_attempts() -> None:
    assert seconds_of({"wall_seconds": 2, "result": {"earlier_seconds": 3.5}}) == 5.5
    assert seconds_of({"wall_seconds": 2, "result": {}}) == 2


def test_a_stage_that_was_made_elsewhere_too_is_kept(store: Store, tmp_path: Path) -> None:
    far = Store.open(tmp_path / "far")
    publish(store, TRAIN, b"ours", wall_seconds=1)
    publish(far, TRAIN, b"theirs", wall_seconds=2)
    far.add_score(TRAIN, "accuracy-v1", {"value": 1})
    assert store.import_from(far.root).already == (TRAIN,)
    assert (store.weights(TRAIN) / "model.safetensors").read_bytes() == b"ours"
    assert store.scores(TRAIN) == {}  # a score belongs to the measurement that it was computed from
    store.drop(TRAIN, "to be restored")
    assert store.import_from(far.root).completed == (TRAIN,)
    assert json.loads((store.folder(TRAIN) / "remade-2" / "remade.json").read_text())["identical"] is False
    assert store.record(TRAIN)["wall_seconds"] == 1


@pytest.mark.parametrize("file", ["record.json", "log.jsonl", "weights/model.safetensors", "scores/a.json"])
def test_import_refuses_a_damaged_stage_and_takes_the_others(store: Store, tmp_path: Path, file: str) -> None:
    for id in (TRAIN, OTHER):
        publish(store, id)
    store.add_score(TRAIN, "a", {"value": 1})
    store.export(tmp_path / "sent", store.ids(), payload=True)
    (tmp_path / "sent" / "stages" / "link").symlink_to(store.folder(TRAIN))
    path = tmp_path / "sent" / "stages" / TRAIN / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    home = Store.open(tmp_path / "home")
    report = home.import_from(tmp_path / "sent")
    assert report.added == (OTHER,)
    assert [(problem.id, problem.file) for problem in report.refused if problem.id != "link"] == [(TRAIN, file)]
    assert home.ids() == [OTHER]
    with pytest.raises(ValueError, match=f"not exported: {TRAIN}: {file}"):
        Store.open(tmp_path / "sent").export(tmp_path / "on", [TRAIN, OTHER], payload=True)
    assert Store.open(tmp_path / "on").ids() == [OTHER]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.parents[4] / "secret"), os.mkfifo])
def test_import_follows_no_link(store: Store, tmp_path: Path, make: Callable[[Path], None]) -> None:
    publish(store, TRAIN)
    store.export(tmp_path / "sent", [TRAIN], payload=True)
    (tmp_path / "secret").write_bytes(b"w" * 40)
    weights = tmp_path / "sent" / "stages" / TRAIN / "weights" / "model.safetensors"
    weights.unlink()
    make(weights)
    store.drop(TRAIN, "to be restored from the link")
    for home in (store, Store.open(tmp_path / "home")):
        report = home.import_from(tmp_path / "sent")
        assert [problem.id for problem in report.refused] == [TRAIN]
        assert not home.usable(TRAIN)
        assert home.verify() == []


def test_import_copies_again_what_was_dropped_meanwhile(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, TRAIN)
    copy = shutil.copyfile

    def copy_slowly(source: str, *rest: Any, **options: Any) -> None:
        if source.endswith("vocab.txt"):
            store.drop(TRAIN, "while it is copied")
        copy(source, *rest, **options)

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    home = Store.open(tmp_path / "home")
    assert home.import_from(store.root).added == (TRAIN,)
    assert not home.usable(TRAIN)
    assert home.verify() == []


# -- the model --------------------------------------------------------------------------------------------

_IDS = st.sampled_from([TRAIN, OTHER, LEAF])
_SIDES = st.integers(0, 1)


class TwoStores(RuleBasedStateMachine):
    """Two stores beside two dicts: id -> [record's mark, weights or None, names of scores]."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        root = self.folder / str(len(os.listdir(self.folder)))
        self.stores = [Store.open(root / "0"), Store.open(root / "1")]
        self.models: list[dict[str, list[Any]]] = [{}, {}]
        self.mark = 0

    @rule(side=_SIDES, id=_IDS, weights=st.sampled_from([b"x", b"y"]))
    def publish(self, side: int, id: str, weights: bytes) -> None:
        self.mark += 1
        publish(self.stores[side], id, weights, mark=self.mark)
        self.models[side].setdefault(id, [self.mark, None if id == LEAF else weights, set()])

    @rule(side=_SIDES, id=st.sampled_from([TRAIN, OTHER]))
    def drop(self, side: int, id: str) -> None:
        if id in self.models[side]:
            self.stores[side].drop(id, "model")
            self.models[side][id][1] = None
        else:
            with pytest.raises(ValueError, match="no stage"):
                self.stores[side].drop(id, "model")

    @rule(side=_SIDES, id=st.sampled_from([TRAIN, OTHER]), weights=st.sampled_from([b"x", b"y"]))
    def remake(self, side: int, id: str, weights: bytes) -> None:
        if id in self.models[side]:
            self.stores[side].remake(id, staged(self.stores[side], id, weights), record(id))
            self.models[side][id][1] = self.models[side][id][1] or weights

    @rule(side=_SIDES, id=_IDS, name=st.sampled_from(["a-v1", "b-v1"]))
    def score(self, side: int, id: str, name: str) -> None:
        if id in self.models[side]:
            self.stores[side].add_score(id, name, {"metric": name})
            self.models[side][id][2].add(name)

    @precondition(lambda self: any(self.models))
    @rule(side=_SIDES, payload=st.booleans(), predictions=st.booleans(), exporting=st.booleans())
    def move(self, side: int, payload: bool, predictions: bool, exporting: bool) -> None:
        payload = payload or not exporting
        source, target = self.models[side], self.models[1 - side]
        if exporting:
            self.stores[side].export(self.stores[1 - side].root, list(source), payload, predictions)
        else:
            report = self.stores[1 - side].import_from(self.stores[side].root)
            assert not report.refused
            assert set(report.added) == source.keys() - target.keys()
        for id, (mark, weights, scores) in source.items():
            here = target.setdefault(id, [mark, None, set()])
            here[1] = here[1] or (weights if payload else None)
            here[2] |= scores if here[0] == mark else set()

    @invariant()
    def agree(self) -> None:
        for store, model in zip(self.stores, self.models, strict=True):
            assert store.verify() == []
            assert store.ids() == sorted(model)
            for id, (mark, weights, scores) in model.items():
                assert store.record(id)["mark"] == mark
                assert store.usable(id) is (id == LEAF or weights is not None)
                assert store.scores(id).keys() == scores
                if weights:
                    assert (store.weights(id) / "model.safetensors").read_bytes() == weights


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.usefixtures("fast_disk")
def test_two_stores_behave_like_two_dicts(tmp_path: Path) -> None:
    machine = type("Machine", (TwoStores,), {"folder": tmp_path})
    limits = settings(max_examples=60, stateful_step_count=12, deadline=None, database=None, derandomize=True)
    run_state_machine_as_test(machine, settings=limits)
