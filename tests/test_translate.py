"""Translate stages: identity, plan, what is refused, translators, resume, training and measuring on translations."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small import TINY
from xstilts import apertium
from xstilts.checks import problems
from xstilts.engine import Context, Interrupted, perform
from xstilts.engine import translate as translate_module
from xstilts.engine.data import ROWS, tokenised
from xstilts.engine.model import Model
from xstilts.engine.translate import read_translations
from xstilts.mixture import Budget, Mixture
from xstilts.recipe import Recipe
from xstilts.report import rows as report_rows
from xstilts.run import Settings, run
from xstilts.spec import canonical_json
from xstilts.stage import Encoder, Evaluate, Stage, Train, Translate, Views, label
from xstilts.store import Store
from xstilts.studies.parts import translator_of
from xstilts.studies.scaling import scaling
from xstilts.study import Plan, Sources, make_plan
from xstilts.tasks import Classify, Files, Pair, Passage, Span, Splits, Task, find, readers, register
from xstilts.tasks.translated import oracle, read_rows
from xstilts.translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile, Translator

ORACLE = MiniatureOracle()
RECIPE = Recipe(learning_rate=1e-3, batch_examples=8, max_tokens=48, dev_examples=8, evaluate_every_steps=50)
"""Small, and on the path that every training takes."""

register(
    Task(
        name="hats",
        kind=Classify(("yes", "no")),
        example=lambda row: Pair(row["a"], row["b"], row["label"]),
        languages=("en",),
        splits=Splits(train="train", dev="dev"),
        source=Files("hats/{split}.jsonl", readers.jsonl, ("a", "b", "label")),
        metric="accuracy",
    ),
    Task(
        name="hats-qa",
        kind=Span(),
        example=lambda row: Passage(row["context"], row["question"], ((row["answer"], row["start"]),), str(row.line)),
        languages=("en",),
        splits=Splits(train="train"),
        source=Files("hats/qa.jsonl", readers.jsonl, ("context", "question", "answer", "start")),
        metric="squad",
    ),
)
PAIRS = [
    ("A red hat. It is big.", "A hat.", "yes"),
    ("Ann sings.", "A hat.", "no"),
    ("A red hat. Ann sings.", "x", "no"),
]
QUESTIONS = [
    ("It rained. Ann bought a red hat in Rome. The end.", "What did Ann buy?", "a red hat"),
    ("It rained. Ann bought a red hat in Rome. The end.", "Where?", "Rome"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two small tasks."""
    folder = tmp_path / "data" / "hats"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"a": a, "b": b, "label": label}) + "\n" for a, b, label in PAIRS)
    for split in ("train", "dev"):
        (folder / f"{split}.jsonl").write_text(lines)
    asked = [{"context": c, "question": q, "answer": a, "start": c.index(a)} for c, q, a in QUESTIONS]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def plan_of(*leaves: Stage, data: Path | None = None, cache: Path) -> Plan:
    return make_plan("own", leaves, Sources(data, cache))


def resolved(stage: Stage, data: Path | None, cache: Path) -> Any:
    return next(reversed(plan_of(stage, data=data, cache=cache).stages.values()))


def context_of(work: Path, data: Path | None, cache: Path, **settings: Any) -> Context:
    work.mkdir(parents=True, exist_ok=True)
    return Context(inputs={}, work=work, data_dir=data, cache_dir=cache, **settings)


def done(stage: Stage, tmp_path: Path, data: Path | None, cache: Path, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """The rows of a translation and what its record says."""
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    found = resolved(stage, data, cache)
    facts = perform(found, out, context_of(tmp_path / "work", data, cache, **settings))
    return read_rows(out / ROWS, find(found.task)), facts["result"]


def write_tsv(data: Path, known: dict[str, str], name: str = "known.tsv") -> TranslationFile:
    (data / name).write_text("".join(f"{source}\t{translation}\n" for source, translation in known.items()))
    return TranslationFile(name)


def upper(*rows: tuple[str, ...]) -> dict[str, str]:
    return {text: text.upper() for row in rows for text in row}


# ------------------------------------------------------------ declarations


def test_a_training_without_translations_is_the_one_it_was() -> None:
    plain = Train(TINY, Mixture(("mini-nli",)), Budget(8))
    assert plain == replace(plain, translated=(), keep_source=True)
    assert not {"translated", "keep_source"} & set(plain.declaration())
    measured = Evaluate(plain, "mini-xnli", "es")
    assert "translated" not in measured.declaration()


def test_translations_are_a_set_and_inputs() -> None:
    de, es = (Translate("mini-nli", code, ORACLE) for code in ("de", "es"))
    train = Train(TINY, Mixture(("mini-nli",)), Budget(8), translated=(es, de))
    assert train.translated == (de, es)
    assert train.inputs == (de, es)
    assert train.id != replace(train, keep_source=False).id != replace(train, translated=(de,)).id
    assert "also in de, es by the miniature" in label(train)
    assert "instead in" in label(replace(train, keep_source=False))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translate("mini-nli", "en", ORACLE), "to the same language"),
        (lambda: Translate("mini-nli", "Spanish", ORACLE), "'Spanish' is no language code"),
        (lambda: Train(TINY, Mixture(("a",)), Budget(1), keep_source=False), "without translated rows"),
        (
            lambda: Train(TINY, Mixture(("a",)), Budget(1), translated=(Translate("a", "de", ORACLE),) * 2),
            "has a in 'de' twice",
        ),
        (lambda: TranslationFile("known.csv"), "expected a name that ends in .tsv or .jsonl"),
        (lambda: TranslationFile("known.tsv", "skip"), "unknown translation-file.missing 'skip'"),
        (lambda: Seq2Seq("x", num_beams=0), "num_beams is 0"),
        (lambda: Seq2Seq(""), "name is empty"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------ the plan


def train_on(*translated: Translate, tasks: tuple[str, ...] = ("mini-nli",), **settings: Any) -> Train:
    return Train(TINY, Mixture(tasks), Budget(16), RECIPE, translated=translated, **settings)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Translate("mini-tags", "es", ORACLE), "mini-tags cannot be translated: its tags belong to words"),
        (Translate("mini-text", "es", ORACLE), "mini-text cannot be translated: it is text in many languages"),
        (Translate("mini-nli", "ja", ORACLE), "the miniature is not said in 'ja'"),
        (Translate("hats", "es", ORACLE), "hats is no task of the miniature"),
        (Translate("hats", "es", TranslationFile("none.tsv")), "no file of translations .*none.tsv"),
        (Translate("hats", "es", Seq2Seq("owner/absent")), "the translation model owner/absent@main is neither"),
        (train_on(Translate("mini-qa", "es", ORACLE)), "train.translated has 'mini-qa', not in the mixture"),
        (
            train_on(Translate("mini-nli", "es", ORACLE, split="dev")),
            "a translation of mini-nli/dev is no training data",
        ),
        (
            Train(
                TINY, Mixture(("mini-tydiqa",)), Budget(8), translated=(Translate("mini-tydiqa", "es", ORACLE, "test"),)
            ),
            "a translation of mini-tydiqa/test is no training data: expected the split train",
        ),
        (
            Evaluate(train_on(), "mini-xnli", "es", translated=Translate("mini-xnli", "en", ORACLE, "test", "de")),
            "evaluate.translated holds mini-xnli/test in 'de': expected mini-xnli/test in 'es'",
        ),
        (
            Evaluate(
                train_on(tasks=("mini-qa",)),
                "mini-xqa",
                "es",
                translated=Translate("mini-xqa", "en", ORACLE, "test", "es"),
            ),
            "mini-xqa cannot be measured in translation: its answers are words of the text",
        ),
    ],
)
def test_what_cannot_be_translated_is_refused_in_the_plan(stage: Stage, message: str, data: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(stage, data=data, cache=cache)


def test_a_measurement_in_translation_drops_no_row(data: Path, cache: Path) -> None:
    write_tsv(data, upper(*PAIRS))
    file = TranslationFile("known.tsv", missing="drop")
    model = Train(TINY, Mixture(("hats",)), Budget(4), RECIPE)
    stage = Evaluate(model, "hats", "en", "dev", translated=Translate("hats", "es", file, "dev"))
    with pytest.raises(ValueError, match="drops no row: expected missing='error'"):
        plan_of(stage, data=data, cache=cache)


def test_a_leak_is_seen_through_a_translation(cache: Path) -> None:
    train = train_on(Translate("mini-nli", "es", ORACLE), keep_source=False)
    resolved_train = resolved(train, None, cache)
    assert {(part.task, part.split) for part in resolved_train.data} == {("mini-nli", "dev")}
    (source,) = resolved_train.translated[0].data
    leaf = Evaluate(resolved_train, "mini-xnli", "es", data=(replace(source, task="mini-xnli", split="test"),))
    (leak,) = problems(replace(leaf, head="mini-nli"), Sources(None, cache).data)
    assert leak == "leak: mini-xnli/test in 'es' holds the very rows that mini-nli/train was trained on"


def test_the_source_rows_count_and_names_do_not(data: Path, cache: Path) -> None:
    known = write_tsv(data, upper(*PAIRS))
    one = resolved(Translate("hats", "es", known), data, cache)
    assert [(part.task, part.split, part.language) for part in one.data] == [("hats", "train", "en")]
    write_tsv(data, upper(*PAIRS), "other.tsv")
    (data / "packed.tsv.gz").write_bytes(gzip.compress((data / "known.tsv").read_bytes()))
    for name in ("other.tsv", "packed.tsv.gz"):
        assert resolved(Translate("hats", "es", TranslationFile(name)), data, cache).id == one.id
    write_tsv(data, upper(*PAIRS) | {"more": "MORE"}, "more.tsv")
    assert resolved(Translate("hats", "es", TranslationFile("more.tsv")), data, cache).id != one.id
    (data / "hats" / "train.jsonl").write_text(json.dumps({"a": "A", "b": "B", "label": "no"}) + "\n")
    assert resolved(Translate("hats", "es", known), data, cache).id != one.id


# ------------------------------------------------------------ a file of translations


def test_a_file_gives_every_text_as_it_stands(tmp_path: Path, data: Path, cache: Path) -> None:
    known = write_tsv(data, upper(*((a, b) for a, b, _ in PAIRS)))
    rows, facts = done(Translate("hats", "es", known), tmp_path, data, cache)
    assert rows == [Pair(a.upper(), b.upper(), label) for a, b, label in PAIRS]
    assert (facts["num_rows_in"], facts["num_rows_out"], facts["dropped"]) == (3, 3, {})
    assert facts["num_sentences"] == 5


def test_a_text_that_is_not_in_the_file_is_named_or_drops_its_row(tmp_path: Path, data: Path, cache: Path) -> None:
    known = write_tsv(data, upper(*((a, b) for a, b, _ in PAIRS[:2])))
    with pytest.raises(
        ValueError, match=r"known.tsv: 2 of 5 texts of hats/train have no translation, the first is 'A red"
    ):
        done(Translate("hats", "es", known), tmp_path, data, cache)
    rows, facts = done(Translate("hats", "es", replace(known, missing="drop")), tmp_path, data, cache)
    assert len(rows) == facts["num_rows_out"] == 2
    assert facts["dropped"] == {"a text has no translation": 1}
    write_tsv(data, {"nothing": "nada"})
    with pytest.raises(ValueError, match="hats/train in 'es': no row of 3 is left"):
        done(Translate("hats", "es", replace(known, missing="drop")), tmp_path, data, cache)


def test_a_broken_file_of_translations_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "twice.tsv").write_text("a\tb\na\tb\na\tc\n")
    with pytest.raises(ValueError, match=r"twice.tsv:3: expected one translation of 'a', got two different ones"):
        read_translations(tmp_path / "twice.tsv")
    (tmp_path / "number.jsonl").write_text('{"source": "a", "translation": 1}\n')
    with pytest.raises(ValueError, match=r"number.jsonl:1: expected text in source and translation"):
        read_translations(tmp_path / "number.jsonl")
    (tmp_path / "ok.jsonl").write_text('{"source": "a", "translation": "b"}\n')
    assert read_translations(tmp_path / "ok.jsonl") == {"a": "b"}


# ------------------------------------------------------------ the miniature


def test_the_oracle_gives_the_rows_of_the_other_language(tmp_path: Path, cache: Path) -> None:
    rows, facts = done(Translate("mini-nli", "es", ORACLE, "dev"), tmp_path, None, cache)
    assert rows == oracle(find("mini-nli"), "dev", "en", "es")
    assert facts["num_rows_in"] == facts["num_rows_out"] == 600


# ------------------------------------------------------------ interruption


def test_a_stopped_translation_goes_on_with_the_next_batch(
    tmp_path: Path, data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def say(texts: list[str], mode: str) -> list[str]:
        asked.append(list(texts))
        return [text.upper() for text in texts]

    monkeypatch.setattr(translate_module, "_APERTIUM_BATCH", 2)
    monkeypatch.setattr(apertium, "translate", say)
    stage = Translate("hats", "es", Apertium("eng-spa", content="given"))
    whole, _ = done(stage, tmp_path / "whole", data, cache)
    num_batches = len(asked)
    assert num_batches == 3
    assert [len(batch) for batch in asked] == [2, 2, 1]
    asked.clear()
    with pytest.raises(Interrupted, match="stopped after 2 of 3 batches"):
        done(stage, tmp_path, data, cache, stop=lambda: len(asked) == 2)
    log = tmp_path / "work" / "translated.jsonl"
    log.write_bytes(log.read_bytes() + b'["half a li')  # killed while it wrote
    rows, _ = done(stage, tmp_path, data, cache)
    assert rows == whole
    assert len(asked) == num_batches
    assert [len(json.loads(line)) for line in log.read_text().splitlines()] == [2, 2, 1]


# ------------------------------------------------------------ Apertium

installed = shutil.which("apertium") and (Path("/usr/share/apertium/modes") / "eng-spa.mode").is_file()
needs_apertium = pytest.mark.skipif(not installed, reason="apertium or its pair eng-spa is not installed here")


def test_without_apertium_the_plan_says_how_to_get_it(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="the program apertium is not installed: apt-get install apertium"):
        plan_of(Translate("hats", "es", Apertium()), data=data, cache=cache)


@pytest.mark.parametrize("text", ["a [b] {c} ^d$ e/f @g <h> \\i ~ j", "^^$$//\\\\", "~[~]~", "a\0b\nc", "«—»*#+"])
def test_apertiums_escapes_come_off_again(text: str) -> None:
    escaped = apertium._escaped(text)
    assert apertium._plain(escaped + "[]") == " ".join(text.replace("\0", " ").split())
    assert "\0" not in escaped
    assert "\n" not in escaped


@needs_apertium
def test_apertium_translates_every_sentence_by_itself(cache: Path) -> None:
    mode = apertium.find_mode(("en", "eng"), ("es", "spa"))
    assert mode == "eng-spa"
    texts = ["The dog [x] ~ a/b \\c @d {e} ^f$ <g>.", "red", "The big", "cats sleep zzunk.", "Is it 5% of $3?", "."]
    together = apertium.translate(texts, mode)
    assert together == [apertium.translate([text], mode)[0] for text in texts], "no sentence reaches into the next"
    assert "perro [x] ~" in together[0]
    assert "\\c @d {e} ^f$ <g>" in together[0]
    assert "zzunk" in together[3]
    assert "*" not in together[3]
    assert apertium.translate([], mode) == []


@needs_apertium
def test_apertiums_version_and_rules_are_in_the_identity(
    tmp_path: Path, data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolved(Translate("hats", "es", Apertium()), data, cache)
    assert found.translator.mode == "eng-spa"
    assert found.translator.content.startswith("Apertium 3.")
    assert resolved(Translate("hats", "es", Apertium("eng-spa")), data, cache).id == found.id
    with pytest.raises(ValueError, match="unknown mode of apertium 'eng-deu'"):
        plan_of(Translate("hats", "de", Apertium()), data=data, cache=cache)
    other = tmp_path / "apertium"
    pair = other / "apertium-eng-spa"
    shutil.copytree("/usr/share/apertium/apertium-eng-spa", pair)
    (other / "modes").mkdir()
    mode = Path("/usr/share/apertium/modes/eng-spa.mode").read_text()
    (other / "modes" / "eng-spa.mode").write_text(mode.replace("/usr/share/apertium", str(other)))
    monkeypatch.setenv("APERTIUM_DATADIR", str(other))
    assert resolved(Translate("hats", "es", Apertium()), data, cache).id == found.id, "a folder does not count"
    rules = pair / "eng-spa.autobil.bin"
    rules.write_bytes(rules.read_bytes() + b"\0")
    assert resolved(Translate("hats", "es", Apertium()), data, cache).id != found.id


@needs_apertium
def test_apertium_keeps_answers_in_their_marks(tmp_path: Path, data: Path, cache: Path) -> None:
    rows, facts = done(Translate("hats-qa", "es", Apertium()), tmp_path, data, cache)
    assert [row.answers[0][0] for row in rows] == ["un sombrero rojo", "Roma"]
    assert facts["notes"] == {"answers found by marks and search": 2}
    assert facts["sentences_per_second"] > 0


# ------------------------------------------------------------ training and measuring


def trained(stage: Train, tmp_path: Path, cache: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a training whose translations are made first, and what its record says."""
    from safetensors.torch import load_file

    found = resolved(stage, None, cache)
    inputs = {}
    for one in found.translated:
        folder = tmp_path / one.id
        folder.mkdir(exist_ok=True)
        perform(one, folder, context_of(tmp_path / "work" / one.id, None, cache))
        inputs[one.id] = folder
    out, work = tmp_path / found.id, tmp_path / "work" / found.id
    out.mkdir()
    result = perform(found, out, replace(context_of(work, None, cache), inputs=inputs))["result"]
    return load_file(out / "weights" / "encoder" / "model.safetensors"), result


def test_translations_are_drawn_from_one_pool_with_the_english_rows(tmp_path: Path, cache: Path) -> None:
    de, es = (Translate("mini-nli", code, ORACLE) for code in ("de", "es"))
    plain, alone = trained(train_on(), tmp_path, cache)
    more, pooled = trained(train_on(de, es), tmp_path, cache)
    other, replaced = trained(train_on(de, es, keep_source=False), tmp_path, cache)
    assert [one["tasks"]["mini-nli"]["rows_present"] for one in (alone, pooled, replaced)] == [6_000, 18_000, 12_000]
    assert [one["examples"] for one in (alone, pooled, replaced)] == [16, 16, 16], "the budget is in examples"
    assert replaced["tasks"]["mini-nli"]["dev"]["on"] == "dev"
    names = [name for name in plain if "query.weight" in name]
    assert names
    assert not any(torch.equal(plain[name], more[name]) for name in names)
    assert not any(torch.equal(more[name], other[name]) for name in names)


def test_a_pass_over_translations_in_the_place_of_english_is_one_over_those_rows(tmp_path: Path, cache: Path) -> None:
    one = resolved(Translate("mini-nli", "es", ORACLE, "dev"), None, cache)
    folder = tmp_path / "rows"
    folder.mkdir()
    context = context_of(tmp_path / "work", None, cache)
    perform(one, folder, context)
    from xstilts.engine import encoder_folder
    from xstilts.engine.data import translations

    model = Model(encoder_folder(resolved(train_on(), None, cache).start, context))
    parts = translations((one,), replace(context, inputs={one.id: folder}))
    (part,) = parts
    assert (part.task, part.split, part.language) == ("mini-nli", "dev", "es")
    settings: dict[str, Any] = {"max_tokens": 64, "data_dir": None, "cache_dir": cache}
    mine = tokenised(tuple(parts), model.tokenizer, model.tokenizer_key, translated=parts, **settings)
    assert len(mine) == 600
    first = oracle(find("mini-nli"), "dev", "en", "es")[0]
    assert isinstance(first, Pair)
    ids = model.tokenizer(first.first, first.second)["input_ids"]
    assert mine.example(0)[0].tolist() == ids


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Store, Plan]:
    """A store with translate-train and translate-test of the miniature beside zero-shot, run to the end."""
    root = tmp_path_factory.mktemp("translated")
    es = Translate("mini-nli", "es", ORACLE)
    models = (train_on(), train_on(es))
    leaves = [Evaluate(model, "mini-xnli", code) for model in models for code in ("es", "de")]
    back = Translate("mini-xnli", "en", ORACLE, "test", "es")
    leaves.append(Evaluate(models[0], "mini-xnli", "es", translated=back))
    leaves.append(Evaluate(models[0], "mini-xnli", "en"))
    plan = plan_of(*leaves, cache=cache)
    store = Store.open(root / "store")
    store.write_plan("own", plan.document())
    outcome = run(plan, store, Settings(None, cache, keep="none"), Silent())
    assert not outcome.failed, outcome.failed
    return store, plan


class Silent:
    """A view that shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def test_a_study_with_translations_runs_and_drops_weights_but_no_rows(finished: tuple[Store, Plan]) -> None:
    store, plan = finished
    assert all(store.exists(id) for id in plan.stages)
    for id, stage in plan.stages.items():
        assert store.usable(id) == (not isinstance(stage, Train))
        assert (store.folder(id) / ROWS).is_file() == isinstance(stage, Translate)
    assert store.verify() == []
    record = next(r for r in store.records("translate") if r["declaration"]["target"] == "es")
    assert record["result"]["num_rows_out"] == 6_000


def test_measuring_in_translation_is_measuring_those_rows(finished: tuple[Store, Plan]) -> None:
    import pyarrow.parquet as pq

    store, plan = finished
    leaves = [stage for stage in plan.stages.values() if isinstance(stage, Evaluate)]
    (inside,) = (stage for stage in leaves if stage.translated)
    (english,) = (stage for stage in leaves if stage.language == "en")
    one, other = (pq.read_table(store.folder(stage.id) / "predictions.parquet") for stage in (inside, english))
    assert one.equals(other), "an exact translation to English is the English test set"


def test_a_report_never_holds_translations_and_zero_shot_in_one_column(finished: tuple[Store, Plan]) -> None:
    from xstilts.report import stages, stats

    store, plan = finished
    document = plan.document()
    table = report_rows.rows(store, document)
    sections = stats.sections(table, document)
    keys = [(section.key["target"], section.key["protocol"]) for section in sections]
    assert len(set(keys)) == len(keys) == 3
    translated = [key for key in keys if "in translation to en by miniature-oracle" in key[1]]
    assert len(translated) == 1
    assert ("mini-nli, also in es by miniature-oracle", keys[0][1]) in keys
    by_key = {(s.key["target"], s.key["protocol"]): s.languages for s in sections}
    assert by_key[translated[0]] == ("es",)
    nodes = stages.graph(document, stages.entries(store, document))
    (made,) = [node for node in nodes if node.title == "Translations"]
    assert {child.title for child in made.children} == {"mini-nli/train", "mini-xnli/test"}


def test_a_whole_report_is_written_of_a_study_with_translations(finished: tuple[Store, Plan], tmp_path: Path) -> None:
    from xstilts import report

    store, _ = finished
    report.write(store, "own", tmp_path / "report")
    assert "in translation to en" in (tmp_path / "report" / "report.md").read_text()


def test_a_profile_counts_neither_translate_train_nor_translate_test() -> None:
    from xstilts.tasks import profile

    protocol = profile("xtreme-2020").protocol("xnli")
    train = {"mixture": {"tasks": ["mnli"]}}
    assert report_rows.fit(protocol, [train], False) is not None
    assert report_rows.fit(protocol, [train | {"translated": [{}]}], False) is None
    before = {"mixture": {"tasks": ["snli"]}, "translated": [{}]}
    assert report_rows.fit(protocol, [before, train], False) is not None, "translated intermediate data is zero-shot"


def test_scaling_translates_intermediate_tasks_and_targets_by_what_a_word_names() -> None:
    settings: dict[str, Any] = {"tasks": ("mini-nli",), "targets": ("mini-xnli",), "languages": ("es",), "k": (0, 1)}
    plain = list(scaling(**settings))
    bare, train = (
        leaf.model for leaf in scaling(**settings, translate=("de",), translate_targets=("es",), keep_english=False)
    )
    assert isinstance(bare, Train)
    assert isinstance(train, Train)
    assert isinstance(train.start, Train)
    assert [one.target for one in train.translated] == [one.target for one in bare.translated] == ["es"]
    assert train.start.translated == (Translate("mini-nli", "de", ORACLE),)
    assert not train.keep_source
    assert not train.start.keep_source
    assert bare.start == plain[0].model.start, "what comes before any task is not translated"  # type: ignore[attr-defined]
    assert list(scaling(**settings, translator="owner/name")) == plain
    with pytest.raises(ValueError, match="keep_english=false: expected languages in translate"):
        next(scaling(**settings, keep_english=False))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("miniature", ORACLE),
        ("apertium", Apertium()),
        ("apertium:eng-spa", Apertium("eng-spa")),
        ("my/de.tsv.gz", TranslationFile("my/de.tsv.gz")),
        ("facebook/nllb-200-distilled-600M@abc", Seq2Seq("facebook/nllb-200-distilled-600M", "abc", num_threads=2)),
        ("/models/marian", Seq2Seq("/models/marian", num_threads=2)),
    ],
)
def test_a_word_names_a_translator(word: str, expected: Translator) -> None:
    found = translator_of(word, num_threads=2)
    assert found == expected
    assert getattr(found, "revision", "") == getattr(expected, "revision", "")


def test_declarations_of_translators_are_plain_data() -> None:
    for translator in (Seq2Seq("a", content="c"), TranslationFile("a.tsv"), Apertium(), ORACLE):
        assert json.loads(canonical_json(translator.declaration()))["kind"] == translator.kind
    assert Seq2Seq("a", content="c").id == Seq2Seq("b", "v1", content="c").id
    assert Views().id == Views().id
    assert Encoder("a", content="c").id != Seq2Seq("a", content="c").id
