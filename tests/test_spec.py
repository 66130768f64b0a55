"""Identity: one canonical form, ids that stay, hashes of files, keyed seeds, atomic writes."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts import mixture, probes, recipe, spec, stage, translators
from xstilts.mixture import Budget, Mixture
from xstilts.probes import Probe
from xstilts.recipe import Lora, Override, Recipe, Robust
from xstilts.spec import (
    Node,
    Value,
    cached_sha256,
    canonical,
    canonical_json,
    declared,
    digest,
    file_sha256,
    near,
    one_of,
    stream_seed,
    write_atomically,
)
from xstilts.stage import Data, Encoder, Evaluate, HeldOut, Merge, Tiny, Train, Translate, Views
from xstilts.translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile


@dataclass(frozen=True)
class Box(Value):
    kind: ClassVar[str] = "box"
    number: float = 1.0
    count: int = 1
    words: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    rate: float | None = None
    table: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Unit(Node):
    kind: ClassVar[str] = "unit"
    size: int
    start: Unit | None = None
    box: Box | None = None


def text(value: Value) -> str:
    return canonical_json(value.declaration())


# ------------------------------------------------------------ canonical form


def test_an_id_is_the_kind_and_a_digest_of_the_canonical_json() -> None:
    box = Box(0.5, 2, ("a", "ß"))
    document = (
        '{"count":2,"kind":"box","number":0.5,"rate":null,"shares":[],"table":null,"version":1,"words":["a","ß"]}'
    )
    assert text(box) == document
    assert box.id == "box-" + hashlib.sha256(document.encode()).hexdigest()[:20]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Box(number=2), Box(number=2.0)),
        (Box(number=True), Box(number=1.0)),
        (Box(count=2.0), Box(count=2)),  # type: ignore[arg-type]
        (Box(count=True), Box(count=1)),
        (Box(rate=0), Box(rate=0.0)),
        (Box(number=-0.0), Box(number=0.0)),
        (Box(rate=-0.0), Box(rate=0)),
        (Box(shares=(1, 2)), Box(shares=(1.0, 2.0))),
        (Box(words=["a", "b"]), Box(words=("a", "b"))),  # type: ignore[arg-type]
        (Box(shares=[1, 2]), Box(shares=(1.0, 2.0))),  # type: ignore[arg-type]
        (Box(table={"a": 1, "b": 2}), Box(table={"b": 2, "a": 1})),
    ],
)
def test_two_spellings_of_one_value_have_one_id(one: Box, other: Box) -> None:
    assert one == other
    assert text(one) == text(other)
    assert one.id == other.id


def test_the_type_of_a_field_decides_between_int_and_float() -> None:
    declaration = Box(number=2, count=3.0, shares=(1,), rate=1).declaration()  # type: ignore[arg-type]
    assert [repr(declaration[name]) for name in ("number", "count", "shares", "rate")] == ["2.0", "3", "[1.0]", "1.0"]
    assert repr(Box(rate=None).declaration()["rate"]) == "None"


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53), st.lists(st.integers(0, 9)))
def test_equal_values_have_equal_ids_whatever_they_were_written_as(number: int, count: int, shares: list[int]) -> None:
    one = Box(number, count, shares=tuple(shares))
    other = Box(float(number), float(count), shares=[float(s) for s in shares])  # type: ignore[arg-type]
    assert one == other
    assert one.id == other.id
    assert Box(number + 1, count, shares=tuple(shares)).id != one.id or float(number + 1) == float(number)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=3),
        st.none()
        | st.booleans()
        | st.text()
        | st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_canonical_json_survives_a_round_trip(value: Any) -> None:
    document = canonical_json(canonical(value))
    assert canonical_json(canonical(json.loads(document))) == document


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_by_the_name_of_its_field(number: float) -> None:
    with pytest.raises(ValueError, match=r"box\.number is (nan|-?inf): expected a finite number"):
        _ = Box(number=number).id
    with pytest.raises(ValueError, match=r"box\.shares\[1\] is (nan|-?inf)"):
        _ = Box(shares=(1.0, number)).id
    with pytest.raises(ValueError, match=r"box\.table\.a is (nan|-?inf)"):
        _ = Box(table={"a": number}).id  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"box\.count is (nan|-?inf): expected a whole number"):
        Box(count=number)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"box\.number"):
        _ = Unit(1, box=Box(number=number)).id


@pytest.mark.parametrize("foreign", [{1, 2}, b"bytes", Path("p"), object(), len, 1j, Box])
def test_foreign_types_are_refused_by_the_name_of_their_field(foreign: Any) -> None:
    with pytest.raises(ValueError, match=rf"box\.rate is a {type(foreign).__name__}: expected numbers, text, lists"):
        _ = Box(rate=foreign).id
    with pytest.raises(ValueError, match=rf"box\.words\[1\] is a {type(foreign).__name__}"):
        _ = Box(words=("a", foreign)).id


def test_a_set_never_becomes_a_tuple_of_some_order() -> None:
    with pytest.raises(ValueError, match=r"box\.words is a set"):
        _ = Box(words={"a", "b"}).id  # type: ignore[arg-type]


def test_text_for_a_tuple_and_a_fraction_for_a_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mixture\.tasks is 'mnli': expected a tuple, such as \('mnli',\)"):
        Mixture("mnli")
    with pytest.raises(ValueError, match=r"recipe\.batch_examples is 1\.5: expected a whole number"):
        Recipe(batch_examples=1.5)


# ------------------------------------------------------------ the three doors


@dataclass(frozen=True)
class Old(Value):
    kind: ClassVar[str] = "thing"
    size: int


@dataclass(frozen=True)
class Added(Value):
    kind: ClassVar[str] = "thing"
    size: int
    extra: float = declared(absent=0.0)
    label: str = declared(default="", counts=False)


@dataclass(frozen=True)
class Careless(Value):
    kind: ClassVar[str] = "thing"
    size: int
    extra: float = 0.0


@dataclass(frozen=True)
class Bumped(Value):
    kind: ClassVar[str] = "thing"
    version: ClassVar[int] = 2
    size: int


def test_door_one_a_field_that_does_not_matter_is_not_in_the_id() -> None:
    assert Added(1, label="a").id == Added(1, label="b").id
    assert "label" not in Added(1, label="a").declaration()


def test_door_two_a_field_that_was_added_later_keeps_old_ids_at_its_absent_value() -> None:
    assert Added(1).extra == 0.0, "the absent value is the default when none is given"
    assert Added(1).id == Added(1, 0).id == Old(1).id
    assert Added(1, 0.5).id != Old(1).id
    assert Added(1, 0.5).declaration()["extra"] == 0.5
    assert Careless(1).id != Old(1).id, "a new field without a door changes every id"


def test_door_three_a_version_changes_the_id() -> None:
    assert Bumped(1).id != Old(1).id
    assert Bumped(1).declaration() == Old(1).declaration() | {"version": 2}


def test_a_stage_counts_by_its_id_and_a_value_by_its_fields() -> None:
    inner = Unit(1, box=Box(2.0))
    outer = Unit(2, start=inner, box=Box(3.0))
    assert outer.declaration()["start"] == {"stage": inner.id}
    assert outer.declaration()["box"] == Box(3.0).declaration()
    assert replace(outer, start=Unit(1, box=Box(9.0))).id != outer.id
    assert replace(outer, start=Unit(1, box=Box(2))).id == outer.id


PROGRAM = """
from xstilts.stage import *
from xstilts.spec import stream_seed
from xstilts.tasks import content, find
data = Data("mnli", "train", "en", content(find("mini-nli"), "train", "en"))
train = Train(Encoder("tiny"), Mixture(("snli", "mnli")), Budget(3), data=(data,))
print(Evaluate(train, "xnli", "de", views=Views()).id, stream_seed(0, "mnli", "order", 0))
"""


def test_ids_and_seeds_are_the_same_in_every_process() -> None:
    seen = set()
    for seed in ("0", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        seen.add(subprocess.check_output([sys.executable, "-c", PROGRAM], env=environment, text=True))
    assert len(seen) == 1
    assert seen.pop().startswith("evaluate-")


# ------------------------------------------------------------ golden ids

_TINY = Tiny("bert", 100, 8, 3, 4, 16, 64, 0.1, 7, "text@leipzig")
_ENCODER = Encoder("tiny", "v1", _TINY, "hub:owner/name@0123")
_DATA = Data("mnli", "train", "en", "00ff")
_MIXTURE = Mixture(("snli", "mnli"), "explicit", "present", 10, 2.0, (3.0, 1.0), ("en", "de"), "random")
_BUDGET = Budget(3, "epochs")
_OVERRIDE = Override("mnli", 16, 64)
_RECIPE = Recipe(
    name="other",
    learning_rate=2e-5,
    warmup_share=0.2,
    decay="constant",
    weight_decay=0.1,
    adam_beta1=0.8,
    adam_beta2=0.99,
    adam_epsilon=1e-6,
    max_grad_norm=2.0,
    batch_examples=16,
    max_tokens=128,
    overrides=(_OVERRIDE,),
    hidden_dropout=0.1,
    attention_dropout=0.2,
    mlm_probability=0.3,
    precision="bfloat16",
    num_threads=2,
    checkpoint="best",
    evaluate_every_steps=10,
    dev_examples=20,
)
_LORA = Lora(4, 8.0, 0.1, ("value", "query"))
_RECIPE_FOR_LAYERS = dataclasses.replace(_RECIPE, aggregation="attention", lora=_LORA, layer_decay=0.9)
_OVERRIDE_WITH_RATE = dataclasses.replace(_OVERRIDE, learning_rate=3e-5)
_MIXTURE_WITH_TEXT = dataclasses.replace(_MIXTURE, text_share=0.25, text_temperature=3.5)
_RECIPE_OF_TEXT = dataclasses.replace(_RECIPE, whole_words=True, frozen_layers=0)
_MIXTURE_SHUFFLED = dataclasses.replace(_MIXTURE, shuffled_labels=True)
_BUDGET_PER_TASK = Budget(3, "examples-per-task")
_VIEWS = Views(("cls", "mean"), 4, "query: ")
_TRAIN = Train(Train(_ENCODER, _MIXTURE, _BUDGET), _MIXTURE, _BUDGET, _RECIPE, 5, (_DATA,))
_EVALUATE = Evaluate(_TRAIN, "xnli", "de", "dev", _VIEWS, 128, "bfloat16", 2, (_DATA,))
_TRAIN_WITH_SIZES = dataclasses.replace(_TRAIN, official_sizes=(392702, None))
_ROBUST = Robust("adversarial", 0.5, "linf", 2, 0.1, "zero", 0.25)
_SMART = Robust("smart", 1e-3, "l2-token", 2, 0.1, weight=3.0)
_SYNONYMS = Robust("synonyms", num_copies=3, neighbours="a.json", neighbours_content="00ff")
_RECIPE_ROBUST = dataclasses.replace(_RECIPE, robust=_ROBUST)
_EVALUATE_WITH_HEAD = dataclasses.replace(_EVALUATE, head="mnli")
_MODELS = (_TRAIN, dataclasses.replace(_TRAIN, seed=6))
_HELD_OUT = HeldOut("ntrex", ("ru", "el"), 8, "cls", "query: ", 128, "bfloat16", 2)
_DARE = Merge(_MODELS, "dare", _ENCODER, 0.5, 0.3, 4)
_GREEDY = Merge(_MODELS, "greedy", held_out=_HELD_OUT, data=(_DATA,))
_SEQ2SEQ = Seq2Seq("owner/name", "v1", 4, 128, ">>fra<< ", "bfloat16", 2, "hub:owner/name@0123")
_TRANSLATION_FILE = TranslationFile("de.tsv", "drop", "00ff")
_APERTIUM = Apertium("eng-spa", "Apertium 3.8.3 eng-spa 00ff")
_TRANSLATE = Translate("mnli", "de", _SEQ2SEQ, "dev", "es", (_DATA,))
_TRAIN_ON_TRANSLATIONS = dataclasses.replace(_TRAIN, translated=(_TRANSLATE,), keep_source=False)
_EVALUATE_IN_TRANSLATION = dataclasses.replace(_EVALUATE, translated=_TRANSLATE)
_PROBE = Probe(_TRAIN, "mnli", "dev", "de", 50, 3, "cls", True, 128, "bfloat16", 2, (_DATA,))
_MIXTURE_IN_PARTS = dataclasses.replace(_MIXTURE, tasks_per_step="all")
_MIXTURE_IN_TWO_PARTS = dataclasses.replace(_MIXTURE, tasks_per_step=2)
_RECIPE_BALANCED = dataclasses.replace(_RECIPE, loss_balance="uncertainty", variance_rate=10)

# Results in stores go by these ids: a change here orphans them, so it needs one of three doors. A new field that does
# not matter to any number is declared(counts=False). A new field that matters is declared(absent=...) with the value
# that says what was done before: the ids below stay, and a value that has the field is pinned beside them. Where the
# same fields come to mean other numbers, the version of the class is bumped, and only then its id here changes.
GOLDEN: dict[Value, str] = {
    _TINY: "tiny-39126dba2dc5ccfd0303",
    _ENCODER: "encoder-f13d4f72dcf91c97ad00",
    _DATA: "data-54efcd2478306bbe799d",
    _MIXTURE: "mixture-3c93c2bea4dc2798f0c8",
    _BUDGET: "budget-278a437c8a193b14a3be",
    _OVERRIDE: "override-7bab340f1a0a3f2e89dc",
    _RECIPE: "recipe-45c6364c5f30274eb078",
    _LORA: "lora-4604c0b72355ec2eac54",
    _RECIPE_FOR_LAYERS: "recipe-9038d469c9a00930bd42",
    _VIEWS: "views-62f2a23f2007d4022ef0",
    _TRAIN: "train-002e2a9b3bf14625d924",
    _EVALUATE: "evaluate-2f807d0fce90422bf66d",
    _TRAIN_WITH_SIZES: "train-a7505fdd96f56c14c002",
    _EVALUATE_WITH_HEAD: "evaluate-f465f6ab4a7a28b31949",
    _HELD_OUT: "held-out-9c9990f393705d9ca239",
    _DARE: "merge-faf34fe6598d2cf8de29",
    _GREEDY: "merge-bd9691dc55886f42d44f",
    _SEQ2SEQ: "seq2seq-08f1f554b9555006693f",
    _TRANSLATION_FILE: "translation-file-82a79995f3b4ae9e2bca",
    _APERTIUM: "apertium-7f7ecfc160903f20ed71",
    MiniatureOracle(): "miniature-oracle-03b116785d4b884e84d5",
    _TRANSLATE: "translate-01b6d0679486ed8cd17b",
    _TRAIN_ON_TRANSLATIONS: "train-ded01fb71ef44041ccb6",
    _EVALUATE_IN_TRANSLATION: "evaluate-a3f6073dea61925dd9e4",
    _ROBUST: "robust-acca9411a999d9a499d8",
    _SMART: "robust-3749f6f2e3aa39af1d79",
    _SYNONYMS: "robust-11d10982821aa733f0b9",
    _RECIPE_ROBUST: "recipe-eec33e8dfd17e2178a0a",
    _MIXTURE_IN_PARTS: "mixture-602bcf0216a957ac9522",
    _MIXTURE_IN_TWO_PARTS: "mixture-e63c73c67667394f06ba",
    _RECIPE_BALANCED: "recipe-9788abe8bf21b9d3e247",
    _OVERRIDE_WITH_RATE: "override-b0ad80fe06b237551c2b",
    _MIXTURE_WITH_TEXT: "mixture-34a079614875a1349ffb",
    _RECIPE_OF_TEXT: "recipe-8957f2e980ce8f48f513",
    _MIXTURE_SHUFFLED: "mixture-68eb756bf3dd8ed2d8cd",
    _BUDGET_PER_TASK: "budget-ae5e926132a286cc1305",
    _PROBE: "probe-224bf05dd4a9f1346135",
}


def subclasses(cls: type[Value]) -> Iterator[type[Value]]:
    for below in cls.__subclasses__():
        yield below
        yield from subclasses(below)


def test_golden_ids() -> None:
    assert [value.id for value in GOLDEN] == list(GOLDEN.values())


def test_golden_ids_cover_every_declared_class() -> None:
    declared_here = {
        cls
        for cls in subclasses(Value)
        if cls.__module__ in [module.__name__ for module in (stage, mixture, recipe, translators, probes)]
    } - {stage.Stage}
    assert {type(value) for value in GOLDEN} == declared_here


@pytest.mark.parametrize("value", GOLDEN, ids=lambda value: value.kind)
def test_golden_values_leave_no_field_at_its_default_unless_it_came_later(value: Value) -> None:
    for field in dataclasses.fields(value):
        came_later = field.metadata.get("absent", dataclasses.MISSING) is not dataclasses.MISSING
        if field.default is not dataclasses.MISSING and not came_later:
            assert getattr(value, field.name) != field.default, f"{value.kind}.{field.name} is at its default"


def test_only_names_do_not_count() -> None:
    uncounted = {
        f"{value.kind}.{field.name}"
        for value in GOLDEN
        for field in dataclasses.fields(value)
        if not field.metadata.get("counts", True)
    }
    others = {"train.control", "robust.neighbours", "seq2seq.name", "seq2seq.revision", "translation-file.path"}
    assert uncounted == {"encoder.name", "encoder.revision", "recipe.name", *others}


# ------------------------------------------------------------ seeds


def test_stream_seeds_are_pinned() -> None:
    # The order of the data, the heads and the dropout of every stored result come from these.
    assert stream_seed(0, "mnli", "order", 0) == 8527668767271168608
    assert stream_seed("x") == 7400246612920684362


def test_stream_seeds_differ_by_every_part_of_their_key() -> None:
    keys: list[tuple[str | int, ...]] = [
        (seed, task, purpose, epoch)
        for seed in range(5)
        for task in ("mnli", "snli")
        for purpose in ("order", "head")
        for epoch in range(5)
    ]
    keys += [(0, "mnli"), ("0", "mnli"), (0, "mn", "li"), ("mnli", 0), ()]
    seeds = [stream_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


# ------------------------------------------------------------ hashes of files


@pytest.fixture
def count_hashing(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    hashed: list[Path] = []

    def counted(path: Path, *, unpacked: bool = False) -> str:
        hashed.append(path)
        return file_sha256(path, unpacked=unpacked)

    monkeypatch.setattr(spec, "file_sha256", counted)
    return hashed


def test_a_plain_file_and_its_gzip_have_one_hash_when_unpacked(tmp_path: Path) -> None:
    plain, packed = tmp_path / "rows.tsv", tmp_path / "rows.tsv.gz"
    content = b"a\tb\n" * 300_000  # more than one chunk
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content[:7]) + gzip.compress(content[7:]))  # gzip may come in members
    expected = hashlib.sha256(content).hexdigest()
    for cache in (None, tmp_path / "cache"):
        assert cached_sha256(plain, cache, unpacked=True) == cached_sha256(packed, cache, unpacked=True) == expected
        assert cached_sha256(plain, cache) == expected
        assert cached_sha256(packed, cache) == hashlib.sha256(packed.read_bytes()).hexdigest()


def test_a_hash_is_remembered_until_content_changes_even_at_the_same_size(
    tmp_path: Path, count_hashing: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec, "_SETTLED_NS", 0)
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_text("abc")
    first = cached_sha256(path, cache)
    assert cached_sha256(path, cache) == first
    assert len(count_hashing) == 1
    before = path.stat().st_mtime_ns
    path.write_text("abd")
    os.utime(path, ns=(before + 1, before + 1))
    assert cached_sha256(path, cache) == hashlib.sha256(b"abd").hexdigest() != first
    assert len(count_hashing) == 2
    path.write_text("abcd")
    os.utime(path, ns=(before, before))
    assert cached_sha256(path, cache) == hashlib.sha256(b"abcd").hexdigest()
    path.write_text("abce")
    os.utime(path, ns=(before, before))  # as a copy that keeps times
    assert cached_sha256(path, cache) == hashlib.sha256(b"abce").hexdigest()


@pytest.mark.parametrize("late_seconds", [-3600.0, 0.0, 2.0, 4.0])
def test_a_file_that_has_just_changed_or_will_is_not_remembered(
    late_seconds: float, tmp_path: Path, count_hashing: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_text("abc")
    now = path.stat().st_ctime_ns + int(late_seconds * 1e9)
    monkeypatch.setattr(spec.time, "time_ns", lambda: now)
    cached_sha256(path, cache)
    cached_sha256(path, cache)
    assert len(count_hashing) == (1 if late_seconds > 3 else 2)


@pytest.mark.parametrize("broken", [b"", b"12ab", b"\0" * 64, b"\xff" * 64, b"G" * 64])
def test_a_broken_cache_entry_is_computed_again(
    tmp_path: Path, count_hashing: list[Path], broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec, "_SETTLED_NS", 0)
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_text("abc")
    expected = cached_sha256(path, cache)
    (entry,) = (cache / "hashes").iterdir()
    entry.write_bytes(broken)
    assert cached_sha256(path, cache) == expected
    assert entry.read_text() == expected
    assert len(count_hashing) == 2


# ------------------------------------------------------------ atomic writes


def test_a_write_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, "old")
    write_atomically(path, "nëw".encode())
    assert path.read_text() == "nëw"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], function: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(error):
        write_atomically(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_a_write_honours_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


# ------------------------------------------------------------ near names


def test_an_unknown_name_is_refused_with_the_choices_and_the_near_ones() -> None:
    one_of("fruit", "apple", ("apple", "fig"))
    with pytest.raises(ValueError, match=r"^unknown fruit 'aple': expected one of apple, fig; did you mean 'apple'\?$"):
        one_of("fruit", "aple", ("apple", "fig"))
    with pytest.raises(ValueError, match=r"^unknown fruit 'zzz': expected one of apple, fig$"):
        one_of("fruit", "zzz", iter(("apple", "fig")))


def test_near_names_are_at_most_three_best_first() -> None:
    assert near("mnli", ["snli", "mnli2", "qqp", "mnly", "xnli"]) == "; did you mean 'mnli2', 'xnli', 'snli'?"
    assert near("mnli", []) == ""


def test_digest_is_the_first_twenty_hex_digits_of_sha256() -> None:
    assert digest("abc") == digest(b"abc") == hashlib.sha256(b"abc").hexdigest()[:20]
