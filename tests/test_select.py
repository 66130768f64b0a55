"""Choosing intermediate tasks: every number of a recommendation by hand, and the whole way on a small miniature."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from program import Call, refused
from xstilts import tasks as declared
from xstilts.engine import Context, perform
from xstilts.metrics import transferability
from xstilts.metrics.selection import ndcg, spearman
from xstilts.mixture import Budget, Mixture
from xstilts.probes import Probe
from xstilts.provenance import record_of
from xstilts.recipe import STILTS
from xstilts.report import rows, stats
from xstilts.report.evidence import (
    FEW_SHOT,
    HELD_OUT,
    LOGME,
    MNLI,
    PROBE,
    SIZE,
    TASKEMB,
    TEXTEMB,
    TRAINED,
    Study,
    is_mnli,
)
from xstilts.report.select import CHOSEN, FITTED, Quality, _elsewhere_good, choose, fitted, judge, judged, select
from xstilts.run import _finish
from xstilts.select_command import _ranked, in_words
from xstilts.stage import Data, Encoder, Evaluate, Stage, Tiny, Train, Views, label
from xstilts.store import Store
from xstilts.studies.selection import before, selection
from xstilts.study import Plan, Sources, make_plan
from xstilts.tasks import find

ENCODER = Encoder("offline", content="content")
TASKS = ("mnli@sample", "snli@sample", "squad-v1")
SEEDS = (0, 1)
# what a target's measurement is: of none, and of each task, a seed being worth a hundredth
NLI = {(): 0.50, ("mnli@sample",): 0.60, ("snli@sample",): 0.58, ("squad-v1",): 0.40}
PARAPHRASE = {(): 0.50, ("mnli@sample",): 0.55, ("snli@sample",): 0.57, ("squad-v1",): 0.45}
BITEXT = {(): 0.30, ("mnli@sample",): 0.20, ("snli@sample",): 0.25, ("squad-v1",): 0.35}
HELD = {(): 0.10, ("mnli@sample",): 0.11, ("snli@sample",): 0.12, ("squad-v1",): 0.15}
FEW = {(): 0.33, ("mnli@sample",): 0.60, ("snli@sample",): 0.50, ("squad-v1",): 0.34}


def trained(start: Any, *names: str, seed: int, amount: int = 2000) -> Train:
    return Train(start, Mixture(names), Budget(amount), STILTS, seed)


MODELS = {(): [ENCODER], **{(name,): [trained(ENCODER, name, seed=seed) for seed in SEEDS] for name in TASKS}}


def measured(model: Any, task: str, split: str, language: str) -> Evaluate:
    retrieval = find(task).is_retrieval
    data = (Data(task, split, language, f"{task} {split} {language}"),)
    return Evaluate(model, task, language, split, Views(("mean",)) if retrieval else None, data=data)


class Made:
    """A store in which a study of made-up numbers is done."""

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root)
        self.stages: dict[str, Stage] = {}
        self.leaves: list[str] = []

    def add(self, stage: Stage, **result: Any) -> Path | None:
        """Publish a stage and what it reads; what a probe wrote is put into the folder that is returned."""
        for other in stage.inputs:
            self.add(other)
        self.stages[stage.id] = stage
        if self.store.exists(stage.id):
            return None
        out = self.store.work(stage.id) / "out"
        out.mkdir()
        for name, table in result.pop("tables", {}).items():
            pq.write_table(table, out / name)
        record = {
            "kind": stage.kind,
            "declaration": stage.declaration(),
            "names": {"encoder": "offline", "label": label(stage)},
            "result": {"num_layers": 2, "tokenizer_fingerprint": "f" * 16, "examples": 2000, **result},
            "environment": {"numeric_path": "cpu", "packages": {}, "commit": ""},
            "wall_seconds": 1800.0,
        }
        self.store.publish(stage.id, out, record)
        return out

    def score(self, leaf: Evaluate, value: float) -> None:
        self.add(leaf)
        self.leaves.append(leaf.id)
        values: list[dict[str, Any]] = [{"value": value, "num_examples": 100}]
        if leaf.views is not None:
            where = [
                {"layer": layer, "pooling": "mean", "direction": way}
                for layer in (1, 2)
                for way in ("xx->en", "en->xx")
            ]
            values = [values[0] | {"num_ties": 0} | one for one in where]
        self.store.add_score(
            leaf.id, "accuracy-v1", {"metric": "accuracy", "version": 1, "options": {}, "values": values}
        )

    def target(
        self, task: str, values: Mapping[tuple[str, ...], float], languages: Sequence[str] = ("de", "fr")
    ) -> None:
        """Every model after the target's training, if it has one, on its test rows."""
        by = find(task).trained_by if not find(task).is_retrieval else None
        for names, models in MODELS.items():
            for model in models:
                for seed in SEEDS if model is ENCODER and by else (model.seed if names else 0,):
                    leaf_model = trained(model, by, seed=seed) if by else model
                    for language in languages:
                        self.score(measured(leaf_model, task, "test", language), values[names] + 0.01 * seed)

    def held_out(self, values: Mapping[tuple[str, ...], float], languages: Sequence[str] = ("de", "fr")) -> None:
        for names, models in MODELS.items():
            for model in models:
                for language in languages:
                    self.score(measured(model, "ntrex", "dev", language), values[names])

    def few_shot(self, task: str, values: Mapping[tuple[str, ...], float]) -> None:
        for names, models in MODELS.items():
            for model in models:
                for seed in SEEDS if model is ENCODER else (model.seed,):
                    self.score(measured(trained(model, task, seed=seed, amount=64), task, "dev", "en"), values[names])

    def probe(self, stage: Probe, **tables: Any) -> None:
        self.add(stage, tables=tables)
        self.leaves.append(stage.id)

    def done(self) -> Store:
        plan = Plan("selection", {}, self.stages, tuple(dict.fromkeys(self.leaves)))
        self.store.write_plan("selection", plan.document())
        return self.store


def study_of(store: Store) -> Study:
    plan = store.plan("selection")
    return Study(store, plan, stats.sections(rows.rows(store, plan), plan))


def embedding(text: Sequence[float], gradients: Sequence[Sequence[float]] = ()) -> pa.Table:
    vectors = [list(text), *map(list, gradients)]
    kinds = ["text", *["gradients"] * len(gradients)]
    column = pa.array(vectors, pa.list_(pa.float32(), len(vectors[0])))
    return pa.table({"what": kinds, "layer": pa.array(range(len(kinds)), pa.int16()), "vector": column})


def features(seed: int, apart: float) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 40)
    vectors = rng.normal(size=(40, 3)) + apart * labels[:, None]
    column = pa.array(vectors.astype(np.float32).tolist(), pa.list_(pa.float32(), 3))
    return pa.table({"example": pa.array(range(40), pa.int32()), "label": list(map(str, labels)), "vector": column})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three targets, a held-out bitext, short trainings and probes."""
    made = Made(tmp_path_factory.mktemp("made") / "store")
    made.target("xnli", NLI)
    made.target("paws-x", PARAPHRASE)
    made.target("tatoeba", BITEXT)
    made.held_out(HELD)
    made.few_shot("mnli", FEW)
    texts = {"mnli@sample": (1, 0), "snli@sample": (1, 1), "squad-v1": (0, 1), "mnli": (1, 0.1), "paws-x": (0, 2)}
    for name, text in texts.items():
        made.probe(Probe(ENCODER, name), **{"embedding.parquet": embedding(text)})
    made.probe(Probe(ENCODER, "ntrex", "dev", "de"), **{"embedding.parquet": embedding((0.5, 1))})
    for number, name in enumerate(TASKS):
        for model in MODELS[name,]:
            made.probe(
                Probe(model, name, gradients=True), **{"embedding.parquet": embedding((1, 1), [(1, number + 1)])}
            )
            tables = {"embedding.parquet": embedding((1, 1)), "features.parquet": features(model.seed, 2.0 - number)}
            made.probe(Probe(model, "mnli"), **tables)
    for seed in SEEDS:
        table = embedding((1, 1), [(1 + seed, 2 - seed)])
        made.probe(Probe(trained(ENCODER, "mnli", seed=seed), "mnli", gradients=True), **{"embedding.parquet": table})
    return made.done()


# ------------------------------------------------------------ the evidence


def test_targets_are_what_is_scored_and_evidence_is_not(store: Store) -> None:
    study = study_of(store)
    assert [target.name for target in study.targets] == ["xnli/test", "paws-x/test", "tatoeba/test"]
    nli = study.targets[0]
    assert [one.tasks for one in nli.candidates] == sorted(TASKS)
    assert [one.score for one in nli.candidates] == pytest.approx([0.605, 0.585, 0.405])
    assert nli.base == pytest.approx(0.505), "the mean over target seeds"
    assert (nli.trained_on, study.targets[2].trained_on) == ("mnli", "")
    assert nli.candidates[0].starts == tuple(model.id for model in MODELS["mnli@sample",])
    assert nli.gain(nli.candidates[0]).mean == pytest.approx(0.1)
    narrow = study.target(nli.section, ("de",))
    assert narrow.languages == ("de",)


def test_trainings_are_compared_by_what_they_kept_and_older_ones_by_nothing(tmp_path: Path) -> None:
    made, older = Made(tmp_path / "new"), Made(tmp_path / "old")
    kept = {model: (1, number + 1) for number, name in enumerate(TASKS) for model in MODELS[name,]}
    kept |= {trained(ENCODER, "mnli", seed=seed): (1 + seed, 2 - seed) for seed in SEEDS}
    for model, vector in kept.items():
        column = pa.array([list(vector)], pa.list_(pa.float32(), 2))
        table = pa.table({"layer": pa.array([1], pa.int16()), "vector": column})
        made.add(model, tables={transferability.MOMENTS: table})
    for one in (made, older):
        one.target("xnli", NLI)
        one.target("tatoeba", BITEXT)
    nli, bitext = (found := study_of(made.done())).targets
    cosines = {name: transferability.cosine((1.5, 1.5), (1, number + 1)) for number, name in enumerate(TASKS)}
    assert found.scores(nli)[TRAINED] == pytest.approx(cosines, abs=1e-6)
    assert TRAINED not in found.scores(bitext), "it has no training"
    assert TRAINED not in (found := study_of(older.done())).scores(found.targets[0])


def test_what_the_rankers_say_by_hand(store: Store) -> None:
    study = study_of(store)
    nli, paraphrase, bitext = study.targets
    said = study.scores(nli)
    names = sorted(TASKS)
    assert set(said) == {FEW_SHOT, LOGME, PROBE, TASKEMB, TEXTEMB, SIZE, MNLI}
    assert said[FEW_SHOT] == pytest.approx({name: FEW[name,] for name in names})
    assert said[MNLI] == {"mnli@sample": 1.0, "snli@sample": 0.0, "squad-v1": 0.0}
    assert said[SIZE] == {name: float(find(name).official_size or 0) for name in names}
    root = math.sqrt(1.01)
    assert said[TEXTEMB] == pytest.approx(
        {"mnli@sample": 1 / root, "snli@sample": 1.1 / root / math.sqrt(2), "squad-v1": 0.1 / root}, abs=1e-6
    )
    own = (1.5, 1.5)  # the mean over target seeds
    cosines = {name: transferability.cosine(own, (1, number + 1)) for number, name in enumerate(TASKS)}
    assert said[TASKEMB] == pytest.approx(cosines, abs=1e-6)
    for number, name in enumerate(TASKS):
        tables = [features(seed, 2.0 - number) for seed in SEEDS]
        labelled = [(np.array(table["vector"].to_pylist()), table["label"].to_pylist()) for table in tables]
        assert said[LOGME][name] == pytest.approx(np.mean([transferability.logme(*one) for one in labelled]), abs=1e-6)
        accuracies = [transferability.probe_accuracy(*one, range(40)) for one in labelled]
        assert said[PROBE][name] == pytest.approx(np.mean(accuracies))
    assert set(study.scores(paraphrase)) == {TEXTEMB, SIZE, MNLI}, "no other evidence was made for it"
    said = study.scores(bitext)
    assert set(said) == {HELD_OUT, TEXTEMB, SIZE, MNLI}
    assert said[HELD_OUT] == pytest.approx({name: HELD[name,] for name in names})
    assert said[TEXTEMB]["squad-v1"] == pytest.approx(1 / math.sqrt(1.25), abs=1e-6)


def test_a_ranker_that_lacks_a_candidate_says_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path / "store")
    made.target("tatoeba", BITEXT)
    for names, models in list(MODELS.items())[:-1]:  # one model was not measured
        for model in models:
            made.score(measured(model, "ntrex", "dev", "de"), HELD[names])
    assert HELD_OUT not in study_of(made.done()).scores(study_of(made.store).targets[0])


def test_a_candidate_without_one_language_is_none(tmp_path: Path) -> None:
    made = Made(tmp_path / "store")
    made.target("tatoeba", BITEXT, ("de",))
    for model in (*MODELS[()], *MODELS["snli@sample",]):
        made.score(measured(model, "tatoeba", "test", "fr"), 0.4)
    (target,) = study_of(made.done()).targets
    assert target.languages == ("de",), "the languages of every model"
    assert [one.tasks for one in study_of(made.store).target(target.section, ("de", "fr")).candidates] == [
        "snli@sample"
    ]


def test_english_dev_rows_are_evidence_of_the_very_task_that_was_trained_alone(tmp_path: Path) -> None:
    made = Made(tmp_path / "store")
    for names, models in MODELS.items():
        for model in models:
            for task in ("xnli", "mnli"):
                made.score(
                    measured(trained(model, "mnli", seed=getattr(model, "seed", 0)), task, "dev", "en"), NLI[names]
                )
    assert [target.name for target in study_of(made.done()).targets] == ["xnli/dev"]


def test_mnli_is_itself_its_slice_or_the_miniatures() -> None:
    assert [is_mnli(name) for name in ("mnli", "mnli@sample", "mini-nli", "snli", "xnli")] == [
        True,
        True,
        True,
        False,
        False,
    ]


# ------------------------------------------------------------ judging rankers


def test_how_good_a_ranker_was_by_hand(store: Store) -> None:
    nli = study_of(store).targets[0]  # 0.605, 0.585, 0.405
    found = judge(nli, {"mnli@sample": 1.0, "snli@sample": 2.0, "squad-v1": 3.0})
    relevances = [1, 0.18 / 0.2, 0]
    assert found.regret_1 == pytest.approx(0.2 / 0.605)
    assert found.regret_3 == 0
    assert found.ndcg == pytest.approx(ndcg(relevances, [1, 2, 3]))
    assert found.spearman == -1 == spearman([3, 2, 1], [1, 2, 3])


def test_the_fitted_ranker_is_a_ridge_on_the_other_targets(store: Store) -> None:
    study = study_of(store)
    nli = study.targets[0]
    inputs, gains = [], []
    for other in study.targets[1:]:
        cosines = [study.scores(other)[TEXTEMB][one.tasks] for one in other.candidates]
        for one, cosine in zip(other.candidates, (np.array(cosines) - np.mean(cosines)) / np.std(cosines), strict=True):
            inputs.append([*(float(name == one.tasks) for name in sorted(TASKS)), cosine])
            gains.append(one.score - other.base)  # type: ignore[operator]
    x = np.array(inputs)
    centred = x - x.mean(0)
    design = np.vstack([centred, np.eye(4)])  # penalty 1 as four more rows
    weights = np.linalg.lstsq(design, np.append(np.array(gains) - np.mean(gains), np.zeros(4)), rcond=None)[0]
    own = np.array([study.scores(nli)[TEXTEMB][one.tasks] for one in nli.candidates])
    own = (own - own.mean()) / own.std()
    rows_of = np.column_stack([np.eye(3), own])
    expected = (rows_of - x.mean(0)) @ weights + np.mean(gains)
    assert fitted(study, nli, ["xnli"])[FITTED] == pytest.approx(dict(zip(sorted(TASKS), expected, strict=True)))
    assert fitted(study, nli, [target.section.key["task"] for target in study.targets]) == {}


def test_a_ranker_is_chosen_by_what_it_lost_on_other_targets() -> None:
    def of(**regrets: float) -> dict[str, Quality]:
        return {name.replace("_", " "): Quality(regret, 0, 1, None) for name, regret in regrets.items()}

    others = [of(largest_data_set=0.2, TextEmb=0.1), of(largest_data_set=0.0, TextEmb=0.06, LogME=0.01)]
    assert choose([SIZE, TEXTEMB], others)[0] == TEXTEMB
    assert choose([SIZE, TEXTEMB, LOGME], others)[0] == TEXTEMB, "2 % less on two is more than 1 % more on one"
    assert choose([SIZE, LOGME], others)[0] == SIZE
    _, why = choose([SIZE, TEXTEMB], others)
    assert why.startswith("its Regret@1 is 2.0 points below that of 'largest data set' on 2 other targets")
    assert choose([SIZE], others) == (SIZE, "no ranker's Regret@1 is lower on 2 other targets")
    assert choose([MNLI, SIZE, TEXTEMB], []) == (
        TEXTEMB,
        "no other target tells the rankers apart: the first one that there is",
    )
    even = [{SIZE: Quality(0.1, 0, 0.7, None), LOGME: Quality(0.1, 0, 0.6, None), MNLI: Quality(0.1, 0, 0.8, None)}]
    assert choose([LOGME, SIZE, MNLI], even)[0] == MNLI, "the higher NDCG"


def test_what_measures_the_target_itself_is_taken_unless_other_targets_judge_it() -> None:
    others = [{SIZE: Quality(0.2, 0, 1, None), TEXTEMB: Quality(0.0, 0, 1, None)}]
    for name in (HELD_OUT, FEW_SHOT):
        assert choose([SIZE, TEXTEMB, name], others)[0] == name
        worse = [one | {name: Quality(0.1, 0, 1, None)} for one in others]
        assert choose([SIZE, TEXTEMB, name], worse)[0] == TEXTEMB


# ------------------------------------------------------------ the answer


def test_the_recommendation_by_hand(store: Store) -> None:
    said = select(store, "selection", "tatoeba")
    assert said["cell"] == {"layer": 1, "pooling": "mean", "direction": "en->xx"}
    assert said["base"] == pytest.approx(0.30)
    assert said["recommended"]["tasks"] == "squad-v1"
    assert said["recommended"]["ranker"] == HELD_OUT
    assert said["cost"] == {"examples": 2000.0, "hours": 0.5}
    squad = next(one for one in said["candidates"] if one["tasks"] == "squad-v1")
    assert squad["gain"] == said["gain"]["gain"] == pytest.approx(0.055)
    half = 12.706204736174698 * 0.005  # two runs, a hundredth apart, against a base that is one number
    assert (squad["low"], squad["high"]) == pytest.approx((0.055 - half, 0.055 + half))
    rankers = {one["name"]: one for one in said["rankers"]}
    assert rankers[HELD_OUT]["targets"] == ["tatoeba/test"]
    assert rankers[HELD_OUT]["regret_1"] == 0
    assert rankers[MNLI]["regret_1"] == pytest.approx((0 + 0.02 / 0.575 + 0.15 / 0.355) / 3)
    assert rankers[MNLI]["spearman"] is not None
    assert len(rankers[CHOSEN]["targets"]) == 3
    assert not said["miniature"]


def test_the_choice_never_reads_the_targets_own_scores(tmp_path: Path) -> None:
    """The same but for the target's test numbers: the same of every ranker, the same ranker, the same task."""
    found = []
    for number, bitext in enumerate((BITEXT, {names: 1 - value for names, value in BITEXT.items()})):
        made = Made(tmp_path / str(number))
        made.target("xnli", NLI)
        made.target("paws-x", PARAPHRASE)
        made.target("tatoeba", bitext)
        study = study_of(made.done())
        judged_elsewhere = _elsewhere_good(study, judged(study), "tatoeba")
        assert all(FITTED in one for one in judged_elsewhere)
        said = select(made.store, "selection", "tatoeba")
        found.append((said["recommended"], [one["says"] for one in said["candidates"]], judged_elsewhere))
    assert found[0] == found[1]


def test_a_held_out_bitext_chooses_where_no_other_target_does(tmp_path: Path) -> None:
    made = Made(tmp_path / "store")
    made.target("tatoeba", BITEXT)
    made.held_out(HELD)
    said = select(made.done(), "selection", "tatoeba", languages=("fr",))
    assert said["recommended"]["tasks"] == "squad-v1"
    assert said["recommended"]["ranker"] == HELD_OUT
    assert said["languages"] == ["fr"]
    assert said["gain"]["num_runs"] == 2
    assert [one["name"] for one in said["rankers"]] == [HELD_OUT, SIZE, MNLI]


def test_an_unmeasured_target_takes_what_helped_others_with_a_prediction_interval(store: Store) -> None:
    said = select(store, "selection", "xquad")
    assert not said["measured"]
    mnli = next(one for one in said["candidates"] if one["tasks"] == "mnli@sample")
    gains = [0.1, 0.05, -0.095]
    mean, spread = np.mean(gains), np.std(gains, ddof=1)
    half = 4.302652729911275 * spread * math.sqrt(1 + 1 / 3)
    assert (mnli["gain"], mnli["low"], mnli["high"]) == pytest.approx((mean, mean - half, mean + half))
    assert said["gain"]["rests_on"] == "3 other targets of the study"
    assert {FITTED, SIZE, MNLI} == set(mnli["says"])
    lines = in_words(said)
    assert any("the study did not measure this task" in line for line in lines)


def test_what_cannot_be_answered_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown language of tatoeba/test in this study 'sw': expected one of de, fr"):
        select(store, "selection", "tatoeba", languages=("sw",))
    with pytest.raises(ValueError, match="unknown split of xnli in this study 'dev': expected one of test"):
        select(store, "selection", "xnli", "dev")
    with pytest.raises(ValueError, match="no intermediate training was on every target in sw"):
        select(store, "selection", "xquad", languages=("sw",))
    made = Made(tmp_path / "store")
    made.score(measured(ENCODER, "tatoeba", "test", "de"), 0.3)
    with pytest.raises(ValueError, match="has no complete measurement of a target after intermediate training"):
        select(made.done(), "selection", "tatoeba")


def test_the_command_says_it_in_words_and_as_json(call: Call, store: Store) -> None:
    ended = call("select", "--target", "tatoeba", "--store", str(store.root))
    assert ended.code == 0, ended.err
    said = json.loads(call("select", "--target", "tatoeba", "--store", str(store.root), "--json").out)
    lines = ended.out.splitlines()
    assert (
        lines[0]
        == "tatoeba/test, mean over 2 languages (de fr), layer 1, mean, en->xx; study selection, encoder offline"
    )
    assert f"recommended: {said['recommended']['tasks']}" in lines
    assert any(line.startswith("  cost: 2,000 examples, 0.50 hours") for line in lines)
    assert any(line.startswith("squad-v1 ") and " 35.5 " in line and " +5.5 " in line for line in lines)
    for one in said["rankers"]:
        assert any(line.startswith(one["name"]) for line in lines)
    refused(call("select", "--target", "tatoba", "--store", str(store.root)), "unknown task 'tatoba'", "tatoeba")
    refused(
        call("select", "--target", "tatoeba", "--languages", "xx", "--store", str(store.root)), "language of tatoeba"
    )
    refused(call("select", "--target", "tatoeba/dev", "--store", str(store.root)), "split of the target")
    refused(call("select", "--target", "xnli", "--study", "selction", "--store", str(store.root)), "selection")


def test_a_loss_is_called_one_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    made = Made(tmp_path / "store")
    made.target("tatoeba", {names: value - 0.2 * bool(names) for names, value in BITEXT.items()})
    lines = in_words(select(made.done(), "selection", "tatoeba"))
    assert "  none of the 3 candidates gained anything" in lines
    assert not any(line.startswith("recommended") for line in lines)
    assert any("no intermediate training is the better choice" in line or "take no interm" in line for line in lines)
    assert not any("incomplete" in line for line in lines)
    lost = MODELS["squad-v1",][1]
    measurement = measured(lost, "tatoeba", "test", "fr")
    shutil.rmtree(made.store.folder(measurement.id))
    said = select(made.store, "selection", "tatoeba")
    assert (said["planned"], said["missing"]) == (14, 1)
    assert [one["tasks"] for one in said["candidates"]] == ["mnli@sample", "snli@sample"]
    assert any(line.startswith("  incomplete: 1 of 14 planned measurements") for line in in_words(said))
    assert select(made.store, "selection", "xnli")["planned"] == 14, "those of every target"


# ------------------------------------------------------------ the study, and the whole way


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch, small_miniature: None) -> None:
    sizes = {"mini-questions": {"train": 96, "dev": 24}, "mini-xnli": {"test": 60}}
    for name, counts in sizes.items():
        monkeypatch.setitem(declared._known, name, replace(find(name), rows=counts, official_size=None))


SMALL = {
    "tasks": ("mini-nli", "mini-paraphrase", "mini-questions"),
    "targets": ("mini-bitext", "mini-xnli", "mini-xparaphrase"),
    "languages": ("de",),
    "mlm_examples": 32,
    "examples": 64,
    "target_examples": 64,
    "few_examples": 32,
    "probe_examples": 40,
}


def test_the_study_yields_evidence_of_rows_that_are_not_scored() -> None:
    leaves = list(selection(**SMALL))  # type: ignore[arg-type]
    probes = [leaf for leaf in leaves if isinstance(leaf, Probe)]
    scored = [leaf for leaf in leaves if isinstance(leaf, Evaluate)]
    assert {leaf.split for leaf in probes} == {"train", "dev"}
    assert {(leaf.task, leaf.split) for leaf in scored} == {
        ("mini-bitext", "test"), ("mini-bitext", "dev"), ("mini-xnli", "test"), ("mini-xparaphrase", "test"),
        ("mini-nli", "dev"), ("mini-paraphrase", "dev"),
    }  # fmt: skip
    base = before(scored[0])
    assert {before(leaf).id for leaf in scored if leaf.split == "test"} == {
        base.id, *(leaf.model.id for leaf in scored if leaf.task == "mini-bitext" and leaf.split == "dev")
    }  # fmt: skip
    plain = [leaf for leaf in probes if not leaf.gradients]
    assert sorted(leaf.task for leaf in plain if leaf.model == base) == [
        "mini-bitext", "mini-nli", "mini-paraphrase", "mini-questions",
    ]  # fmt: skip
    labelled = [(leaf.task, leaf.split) for leaf in plain if leaf.model != base]
    assert sorted(labelled) == [("mini-nli", "dev")] * 3 + [("mini-paraphrase", "dev")] * 3, "seen by no candidate"
    assert len([leaf for leaf in probes if leaf.gradients]) == 3 + 2
    few = [leaf.model for leaf in scored if (leaf.split, leaf.language) == ("dev", "en")]
    assert {model.budget for model in few if isinstance(model, Train)} == {Budget(32)}
    without = list(selection(**(SMALL | {"few_examples": 0, "probe_examples": 0, "held_out": "none"})))  # type: ignore[arg-type]
    assert {leaf.split for leaf in without} == {"test"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": (1, 2)}, "expected 0 among them"),
        ({"held_out": "mini-xnli"}, "expected a bitext with dev rows, one of"),
        ({"targets": ("mini-bitext/dev",)}, "its dev rows are a target"),
        ({"targets": ("mini-nli/dev",)}, "names no task that it is trained by"),
    ],
)
def test_what_a_choice_cannot_rest_on_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(selection(**(SMALL | changes)))


@pytest.mark.usefixtures("smaller")
def test_the_whole_way_on_a_small_miniature(cache_dir: Path, tmp_path: Path, call: Call) -> None:
    encoder = Tiny(vocab_size=600, hidden_size=16, intermediate_size=32, max_positions=128)
    sources = Sources(None, cache_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xstilts.studies.parts.MINIATURE_TINY", encoder)
        fewer = SMALL | {"targets": ("mini-bitext", "mini-xnli")}
        plan = make_plan("selection", selection(**fewer), sources)  # type: ignore[arg-type]
    opened = Store.open(tmp_path / "store")
    opened.write_plan("selection", plan.document())
    for id, stage in plan.stages.items():
        out = opened.work(id) / "out"
        out.mkdir()
        inputs = {other.id: opened.payload(other.id) for other in stage.inputs}
        done = perform(stage, out, Context(inputs=inputs, work=opened.work(id), data_dir=None, cache_dir=cache_dir))
        opened.publish(id, out, record_of(stage, done, {}, datetime.now(UTC), 1.0))
        _finish(stage, opened)
    said = select(opened, "selection", "mini-xnli", languages=("de",))
    assert set(said["candidates"][0]["says"]) == {FEW_SHOT, LOGME, PROBE, TASKEMB, TRAINED, TEXTEMB, SIZE, MNLI, FITTED}
    assert said["miniature"]
    assert said["gain"]["gain"] == pytest.approx(
        next(one["score"] for one in said["candidates"] if one["tasks"] == said["recommended"]["tasks"]) - said["base"]
    )
    assert said["cost"] == {"examples": 64.0, "hours": 1 / 3600}
    bitext = select(opened, "selection", "mini-bitext")
    assert set(bitext["candidates"][0]["says"]) == {HELD_OUT, TEXTEMB, SIZE, MNLI, FITTED}
    names = {one["name"]: len(one["targets"]) for one in said["rankers"]}
    assert names == {
        HELD_OUT: 1, FEW_SHOT: 1, LOGME: 1, PROBE: 1, FITTED: 2, TASKEMB: 1, TRAINED: 1, TEXTEMB: 2, SIZE: 2, MNLI: 2,
        CHOSEN: 2,
    }  # fmt: skip
    assert call("select", "--target", "mini-xnli", "--store", str(opened.root)).code == 0
    ended = call("report", "selection", "--store", str(opened.root), "--out", str(tmp_path / "report"))
    assert ended.code == 0, ended.err
    text = (tmp_path / "report" / "report.md").read_text()
    num_measured = sum(isinstance(stage, Evaluate) for stage in plan.stages.values())
    assert f"{num_measured} of {num_measured} measurements are done" in text
    assert "vectors of mini-nli/train" in text


@pytest.mark.parametrize(
    ("value", "words"), [(14000.0, "14,000"), (0.0037664, "0.003766"), (-1234.5, "-1,234"), (None, "–")]
)
def test_what_a_ranker_says_is_printed_without_exponents(value: float | None, words: str) -> None:
    assert _ranked(value) == words
