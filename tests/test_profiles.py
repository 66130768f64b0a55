"""Tables of benchmarks in a report, from hand-made scores: what counts, what it is a mean of, and what is named."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from test_report import ENCODER, PATH, parse, train
from xstilts import report, tasks
from xstilts.report import blocks, profiles, rows, stats, tables, views
from xstilts.report.blocks import markdown
from xstilts.stage import Data, Evaluate, Stage, Views
from xstilts.study import Plan
from xstilts.tasks import PROFILES, Bitext, Embed, Files, Splits, Task, readers

NUM_LAYERS = 12
DUAL_ENCODERS = {"lareqa": "lareqa-train", "mewsli-x": "mewsli-x-train"}


@pytest.fixture(autouse=True, scope="module")
def declared() -> Iterator[None]:
    """Two languages for each task of a profile, and the training sets of dual encoders, where they are missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_known", dict(tasks._known))
        for name, training in DUAL_ENCODERS.items():
            if training not in tasks.names():
                source = Files(f"{training}.tsv", readers.tsv, ("first", "second"))
                tasks.register(
                    Task(
                        training, Embed(), lambda row: Bitext("a", "b"), ("en",), Splits(train="train"), source,
                        {}, "accuracy", "none",
                    )
                )  # fmt: skip
            patch.setitem(tasks._known, name, replace(tasks.find(name), trained_by=training))
        for name, profile in PROFILES.items():
            two = (replace(protocol, languages=protocol.languages[:2]) for protocol in profile.protocols)
            patch.setitem(PROFILES, name, replace(profile, protocols=tuple(two)))
        yield


class Memory:
    """A store of hand-made scores."""

    def __init__(
        self, leaves: Iterable[Evaluate], score: Callable[[Evaluate], list[dict[str, Any]]], lost: Iterable[str] = ()
    ) -> None:
        self.leaves, self.score, self.lost = {leaf.id: leaf for leaf in leaves}, score, set(lost)
        self.stages: dict[str, Stage] = {}
        for leaf in self.leaves.values():
            self._add(leaf)
        self.paths: dict[str, str] = {}
        self.collapsed = ""
        self.document = Plan("scaling", {}, self.stages, tuple(self.leaves)).document()

    def _add(self, stage: Stage) -> None:
        for other in stage.inputs:
            self._add(other)
        self.stages[stage.id] = stage

    def plan(self, name: str) -> dict[str, Any]:
        return self.document

    def exists(self, id: str) -> bool:
        return id not in self.lost

    def failures(self, id: str) -> list[Path]:
        return []

    def folder(self, id: str) -> Path:
        return Path("/nowhere")

    def scores(self, id: str) -> dict[str, Any]:
        metric = metric_of(self.leaves[id].task)
        return {f"{metric}-v1": {"metric": metric, "version": 1, "values": self.score(self.leaves[id])}}

    def record(self, id: str) -> dict[str, Any]:
        result = {"num_layers": NUM_LAYERS, "tokenizer_fingerprint": "f", "collapsed": id == self.collapsed}
        environment = {"numeric_path": self.paths.get(id, PATH), "packages": {}, "commit": ""}
        return {"result": result, "names": {"encoder": "offline"}, "environment": environment, "wall_seconds": 1.0}


def metric_of(task: str) -> str:
    return tasks.find(task).metric


def measure(model: Any, task: str, language: str, split: str = "test", **settings: Any) -> Evaluate:
    views = Views() if tasks.find(task).is_retrieval else None
    data = (Data(task, split, language, f"content of {language}"),)
    return Evaluate(model, task, language, split, views=views, data=data, **settings)


def number(*key: Any) -> float:
    """A made-up share, different for every key."""
    return random.Random(repr(key)).randrange(100, 900) / 1000


def score(stage: Evaluate) -> list[dict[str, Any]]:
    """What `xstilts.scoring` says of a measurement, with made-up numbers."""
    kind, id = tasks.find(stage.task).kind, stage.id
    if kind.name == "span":
        f1, exact_match = number(id, "f1"), number(id, "em")
        value = {"value": (f1 + exact_match) / 2, "f1": f1, "exact_match": exact_match, "num_no_answer": 0}
    elif kind.name == "tag":
        f1 = {f"f1_{compat}": number(id, compat) for compat in ("seqeval-0.0.12", "seqeval-1.2.2")}
        value = {"value": f1["f1_seqeval-0.0.12"], "f1": f1["f1_seqeval-0.0.12"], **f1, "token_accuracy": 0.75}
    elif kind.name in ("embed", "mine", "search"):
        return [
            {"layer": layer, "pooling": pooling, "direction": direction, "num_examples": 50}
            | {"value": number(id, layer, pooling, direction, language), "language": language}
            for layer in range(NUM_LAYERS + 1)
            for pooling in ("mean", "cls", *["pooler"] * (kind.name == "search" and layer == NUM_LAYERS))
            for direction in {"embed": ("en->xx", "xx->en"), "mine": ("both",), "search": ("query->pool",)}[kind.name]
            for language in (kind.queries if isinstance(kind, tasks.Search) else (stage.language,))
        ]
    else:
        value = {"value": number(id), "majority_share": 0.4} | ({"chance": 0.45} if kind.name == "choose" else {})
    return [{**value, "num_examples": 50}]


def value_of(stage: Evaluate, *cell: Any) -> float:
    (found,) = (v for v in score(stage) if tuple(v.get(n) for n in ("layer", "pooling", "direction")) == cell)
    return float(found["value"])


def mean_of(model: Any, profile: str, task: str, name: str = "value") -> float:
    """The mean of a number over the two languages of a task, at the cell of a profile where it has one."""
    protocol = PROFILES[profile].protocol(task)
    cell, _ = protocol.cell(NUM_LAYERS)
    found = []
    for code in protocol.languages:
        for value in score(measure(model, task, code, protocol.split)):
            if tuple(value.get(n) for n in ("layer", "pooling", "direction")) == cell:
                found.append(float(value[name]))
    assert len(found) == 2
    return statistics.fmean(found)


def target(task: str, start: Any, seed: int) -> Any:
    """The model that a task is measured on: trained on its own training set."""
    trained_by = {"xcopa": "copa"}.get(task, tasks.find(task).trained_by)
    if task == "xcopa":
        start = train("socialiqa", start=start, seed=seed)
    return train(trained_by, start=start, seed=seed) if trained_by else start


def leaves_of(profile: str, start: Any, seed: int = 0, only: Iterable[str] = ()) -> Iterator[Evaluate]:
    """The measurements of a profile's tasks after a starting model."""
    for protocol in PROFILES[profile].protocols:
        if not only or protocol.task in only:
            model = start
            for name in protocol.trained_by:
                model = train(name, start=model, seed=seed)
            for code in ("mul",) if protocol.task in DUAL_ENCODERS else protocol.languages:
                yield measure(model, protocol.task, code, protocol.split)


def shown(store: Memory) -> list[blocks.Block]:
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    return list(profiles.benchmark_tables(stats.sections(table, store.document), store.document))


def part(found: list[blocks.Block], profile: str) -> tuple[list[list[list[str]]], str]:
    """The tables of a profile and its text."""
    starts = [at for at, block in enumerate(found) if isinstance(block, blocks.Heading) and block.level == 3]
    for start, stop in zip(starts, [*starts[1:], len(found)], strict=True):
        heading = found[start]
        assert isinstance(heading, blocks.Heading)
        if f"`{profile}`" in heading.text:
            own = found[start:stop]
            return [parse(b) for b in own if isinstance(b, blocks.Table)], markdown(own)
    raise AssertionError(f"no table of {profile} among {[found[at] for at in starts]}")


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


SNLI = [train("snli@sample", seed=seed) for seed in (0, 1)]


# ------------------------------------------------------------ lines and means


def test_a_whole_benchmark_has_its_mean_and_its_change_by_hand() -> None:
    name = "xtreme-2020"
    starts = [(ENCODER, 0), (ENCODER, 1), (SNLI[0], 0), (SNLI[1], 1)]
    store = Memory({leaf.id: leaf for at in starts for leaf in leaves_of(name, *at)}.values(), score)
    (values, changes), text = part(shown(store), name)
    names = PROFILES[name].tasks
    assert values[0] == [
        "model", "k", "seed", "xnli", "paws-x", "udpos", "panx", "xquad (f1/exact_match)", "mlqa (f1/exact_match)",
        "tydiqa (f1/exact_match)", "bucc", "tatoeba", "mean of 9 tasks",
    ]  # fmt: skip
    assert [line[:3] for line in values[1:]] == [
        ["none", "0", "0"],
        ["none", "0", "1"],
        ["snli@sample", "1", "0 then 0"],
        ["snli@sample", "1", "1 then 1"],
    ]
    means = [{task: mean_of(target(task, *at), name, task) for task in names} for at in starts]
    benchmark = [statistics.fmean(one.values()) for one in means]
    for line, at, mean in zip(values[1:], starts, benchmark, strict=True):
        for task, cell in zip(names, line[3:], strict=False):
            model, found = target(task, *at), percent(mean_of(target(task, *at), name, task))
            if task in ("xquad", "mlqa", "tydiqa"):
                found += f" ({'/'.join(percent(mean_of(model, name, task, n)) for n in ('f1', 'exact_match'))})"
            assert cell == found, task
        assert line[-1] == percent(mean)
    assert values[1][-3:-1] == values[2][-3:-1]  # as it stands, k = 0 is one model
    assert [line[0] for line in changes[1:]] == ["snli@sample"] * 2
    for line, own, mean in zip(changes[1:], means[2:], benchmark[2:], strict=True):
        expected = [own[task] - statistics.fmean(one[task] for one in means[:2]) for task in names]
        expected.append(mean - statistics.fmean(benchmark[:2]))
        assert line[3:] == [f"{100 * change:+.1f}" for change in expected]
    assert "no mean" not in text
    assert "bucc at layer 8 of 12, mean pooling, both" in text
    # The same measurements under another profile have their own table.
    assert part(shown(store), "stilts-2020")[0][0][0][-1] == "mean of 9 tasks"
    assert "tatoeba at layer 7 of 12, scaled to this depth: **not the published protocol**" in markdown(shown(store))


def test_one_missing_cell_takes_its_means_and_changes_away_and_is_named() -> None:
    name = "xtreme-2020"
    starts = [(ENCODER, 0), (SNLI[0], 0)]
    all_leaves = [leaf for at in starts for leaf in leaves_of(name, *at)]
    language = PROFILES[name].protocol("mlqa").languages[1]
    gone = measure(target("mlqa", ENCODER, 0), "mlqa", language)
    (values, changes), text = part(shown(Memory(all_leaves, score, {gone.id})), name)
    before, _ = part(shown(Memory(all_leaves, score)), name)
    different = [(y, x) for y in (1, 2) for x in range(13) if values[y][x] != before[0][y][x]]
    assert different == [(1, 8), (1, 12)]
    assert (values[1][8], values[1][12]) == ("–", "–")
    assert [x for x in range(13) if changes[1][x] != before[1][1][x]] == [8, 12]
    assert f"* mlqa lacks {language}: none, seed 0\n" in text
    assert "Scores that do not exist, and so no mean:" in text


def test_tasks_that_a_study_does_not_measure_are_named() -> None:
    only = ("xnli", "tatoeba", "panx")
    whole = list(leaves_of("xtreme-2020", ENCODER, only=only))
    lost_language = PROFILES["xtreme-2020"].protocol("panx").languages[0]
    own = [leaf for leaf in whole if (leaf.task, leaf.language) != ("panx", lost_language)]
    ((values,), text) = part(shown(Memory(own, score)), "xtreme-2020")
    assert values[0][3:] == ["xnli", "tatoeba", "mean of 9 tasks"]
    assert values[1][-1] == "–"
    assert (
        "The study measures paws-x, udpos, xquad, mlqa, tydiqa, bucc not at all; panx in 1 of 2 languages only: the "
        "profile has no mean."
    ) in text
    partial = [leaf for leaf in whole if leaf.language != PROFILES["xtreme-2020"].protocol(leaf.task).languages[0]]
    assert shown(Memory(partial, score)) == []


def test_only_mgte_counts_what_is_missing_as_0_and_says_so() -> None:
    own = [*leaves_of("mgte-2024", ENCODER, only=("xnli", "tatoeba")), *leaves_of("mgte-2024", SNLI[0], only=("xnli",))]
    (values, changes), text = part(shown(Memory(own, score)), "mgte-2024")
    dual = train("lareqa-train", start=ENCODER)
    means = [mean_of(target("xnli", ENCODER, 0), "mgte-2024", "xnli"), mean_of(dual, "mgte-2024", "tatoeba")]
    assert values[1][3:] == [*map(percent, means), percent(sum(means) / 9)]
    alone = mean_of(target("xnli", SNLI[0], 0), "mgte-2024", "xnli")
    assert values[2][3:] == [percent(alone), "–", percent(alone / 9)]
    assert changes[1][4:] == ["–", "–"]  # the means do not count the same tasks
    assert "mewsli-x not at all: the profile counts what is missing as 0, so that its mean does" in text
    assert "counted as 0 in the mean:\n\n* tatoeba is not in the study: snli@sample, seed 0 then 0\n" in text
    assert "The published mean also counts what cannot be measured here: lareqa, since" in text
    assert part(shown(Memory(own, score)), "xtreme-2020")[0][0][1][-1] == "–"


def test_answers_count_by_f1_alone_where_the_profile_says_so() -> None:
    own = list(leaves_of("xtreme-r-2021", ENCODER, only=("xquad", "udpos", "mlqa")))
    store = Memory(own, score)
    assert (
        "* mlqa has no score by squad, which `xstilts rescore` adds: every model\n"
        in part(shown(store), "mgte-2024")[1]
    )
    model = target("xquad", ENCODER, 0)
    codes = {name: PROFILES[name].protocol("xquad").languages for name in ("xtreme-r-2021", "mgte-2024")}
    assert len(set(codes.values())) == 1
    f1, exact_match = (mean_of(model, "mgte-2024", "xquad", n) for n in ("f1", "exact_match"))
    found = {name: part(shown(store), name)[0][0] for name in codes}
    at = {name: found[name][0].index("xquad" + " (f1/exact_match)" * (name[0] == "x")) for name in codes}
    assert found["mgte-2024"][1][at["mgte-2024"]] == percent(f1)
    text = f"{percent((f1 + exact_match) / 2)} ({percent(f1)}/{percent(exact_match)})"
    assert found["xtreme-r-2021"][1][at["xtreme-r-2021"]] == text
    tagger = target("udpos", ENCODER, 0)
    numbers = {name: percent(mean_of(tagger, name, "udpos", PROFILES[name].protocol("udpos").numbers[0]))
               for name in ("xtreme-2020", "xtreme-r-2021")}  # fmt: skip
    assert len(set(numbers.values())) == 2
    for name, expected in numbers.items():
        values = part(shown(store), name)[0][0]
        assert values[1][values[0].index("udpos")] == expected


# ------------------------------------------------------------ what counts


def test_tatoeba_counts_by_the_training_that_its_profile_asks_for() -> None:
    """XTREME as the model stands, XTREME-R after SQuAD, nlu-evals after a dual encoder."""
    squad, dual = train("squad-v1", start=SNLI[0]), train("lareqa-train", start=SNLI[0])
    codes = PROFILES["xtreme-2020"].protocol("tatoeba").languages
    own = [measure(model, "tatoeba", code) for model in (SNLI[0], squad, dual) for code in codes]
    own += [measure(squad, "xquad", code) for code in PROFILES["xtreme-2020"].protocol("xquad").languages]
    own.append(measure(dual, "lareqa", "mul"))
    found = shown(Memory(own, score))
    for name, model in (("xtreme-2020", SNLI[0]), ("xtreme-r-2021", squad), ("mgte-2024", dual)):
        values = part(found, name)[0][0]
        cells = [line[values[0].index("tatoeba")] for line in values[1:]]
        assert cells == [percent(mean_of(model, name, "tatoeba"))], name
        assert [line[0] for line in values[1:]] == ["snli@sample"]
    covered = {
        (row["model"], name)
        for row in rows.rows(Memory(own, score), Memory(own, score).document).to_pylist()  # type: ignore[arg-type]
        for name in row["profiles"].split(";")
        if row["task"] == "tatoeba" and name
    }
    assert covered == {
        (SNLI[0].id, "xtreme-2020"),
        (SNLI[0].id, "stilts-2020"),
        (squad.id, "xtreme-r-2021"),
        (dual.id, "mgte-2024"),
    }


def test_a_model_that_others_start_from_counts_as_it_stands_too() -> None:
    """SQuAD as an intermediate task is XQuAD's own training at k = 0: one stage with two meanings."""
    squad = train("squad-v1")
    both = [*leaves_of("xtreme-2020", ENCODER, only=("xquad", "tatoeba"))]
    both += leaves_of("xtreme-2020", squad, only=("xquad", "tatoeba"))
    values = part(shown(Memory({leaf.id: leaf for leaf in both}.values(), score)), "xtreme-2020")[0][0]
    assert [line[:2] for line in values[1:]] == [["none", "0"], ["squad-v1", "1"]]
    at = values[0].index("tatoeba")
    assert values[2][at] == percent(mean_of(squad, "xtreme-2020", "tatoeba"))
    assert values[1][at] == percent(mean_of(ENCODER, "xtreme-2020", "tatoeba"))


def test_a_slice_stands_in_with_a_mark_and_the_whole_goes_before_it() -> None:
    part_of = train("mnli@sample", start=SNLI[0])
    codes = PROFILES["xtreme-2020"].protocol("xnli").languages
    own = [measure(part_of, "xnli", code) for code in codes]
    base = [measure(train("mnli"), "xnli", code) for code in codes]
    store = Memory([*base, *own], score)
    (values, changes), text = part(shown(store), "xtreme-2020")
    assert values[2][3] == percent(mean_of(part_of, "xtreme-2020", "xnli")) + " ‡"
    assert changes[1][3] == "–"  # k = 0 was trained on all of it
    assert "stands in for the whole: mnli@sample." in text
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    marked = {row["model"]: row["profiles"].split(";")[0] for row in table.to_pylist()}
    assert marked == {part_of.id: "xtreme-2020 (stand-in)", train("mnli").id: "xtreme-2020"}
    ((first, second),) = [stats.sections(table, store.document)]
    assert [views.views(s)[0].stand_in for s in (first, second)] == [False, True]
    whole = train("mnli", start=SNLI[0])
    own += [measure(whole, "xnli", code) for code in codes]
    values = part(shown(Memory([*base, *own], score)), "xtreme-2020")[0][0]
    assert values[2][3] == percent(mean_of(whole, "xtreme-2020", "xnli"))


def test_xcopa_counts_after_socialiqa_and_copa() -> None:
    codes = PROFILES["xtreme-r-2021"].protocol("xcopa").languages
    both = train("copa", start=train("socialiqa"))
    own = [measure(model, "xcopa", code) for model in (both, train("copa")) for code in codes]
    values = part(shown(Memory(own, score)), "xtreme-r-2021")[0][0]
    assert [line[:4] for line in values[1:]] == [["none", "0", "0", percent(mean_of(both, "xtreme-r-2021", "xcopa"))]]
    alone = section_of(Memory(own[2:], score), "xcopa")
    assert [view.names for view in views.views(alone)] == [()]


def test_a_section_of_models_as_they_stand_has_no_profile_of_trained_ones() -> None:
    codes = PROFILES["xtreme-2020"].protocol("tatoeba").languages
    store = Memory([measure(train("squad-v1"), "tatoeba", code) for code in codes], score)
    section = section_of(store, "tatoeba")
    assert set(section.profiles) == {"xtreme-2020", "stilts-2020", "xtreme-r-2021"}
    assert [view.names for view in views.views(section)] == [("xtreme-2020",), ("stilts-2020",)]


def test_what_must_not_stand_in_one_column_does_not() -> None:
    codes = PROFILES["xtreme-2020"].protocol("xnli").languages
    model, other = train("mnli"), train("mnli", start=SNLI[0])
    fast = train("mnli", learning_rate=3e-5)
    two_models = [measure(one, "xnli", code) for one in (model, other, fast) for code in codes]
    ((values, *_), text) = part(shown(Memory(two_models, score)), "xtreme-2020")
    assert [line[3] for line in values[1:]] == ["–", percent(mean_of(other, "xtreme-2020", "xnli"))]
    assert "* xnli has 2 models that fit: none, seed 0\n" in text
    two_ways = [measure(model, "xnli", code) for code in codes]
    two_ways += [measure(other, "xnli", code, max_tokens=64) for code in codes]
    ((values, *_), text) = part(shown(Memory(two_ways, score)), "xtreme-2020")
    assert {line[3] for line in values[1:]} == {"–"}
    assert "* xnli was measured in 2 ways: every model\n" in text
    store = Memory([measure(one, "xnli", code) for one in (model, other) for code in codes], score)
    store.paths = {other.id: "cuda", SNLI[0].id: "cuda"}
    headings = [b.text for b in shown(store) if isinstance(b, blocks.Heading) and "`xtreme-2020`" in b.text]
    assert len(headings) == 2
    assert f"trained on {PATH}, measured on {PATH}" in headings[0]
    assert "trained on cuda" in headings[1]
    store.paths = {SNLI[0].id: "cuda"}
    ((first, *_), _) = part(shown(store), "xtreme-2020")
    assert [line[3] for line in first[1:]] == [percent(mean_of(model, "xtreme-2020", "xnli")), "–"]


def test_k_0_after_a_text_stage_stands_beside_what_was_trained_from_it() -> None:
    text = train("text@leipzig")
    models = [text, train("mnli", start=text), train("mnli", "text@leipzig", start=text)]
    codes = PROFILES["xtreme-2020"].protocol("tatoeba").languages
    store = Memory([measure(model, "tatoeba", code) for model in models for code in codes], score)
    store.paths = {models[1].id: f"{PATH}-rows"}  # text needs all embedding rows
    for path in (PATH, "cuda-bfloat16-varlen"):  # where it was trained first keeps it apart from nothing
        store.paths[text.id] = path
        assert [len(of.lines) for of in boards(store, "xtreme-2020", text.id)] == [3]


def boards(store: Memory, name: str, base: str) -> list[profiles.Board]:
    """Every board of a profile, one for each numeric path."""
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    shown = stats.sections(table, store.document)
    own = [(section, run) for section in shown for run in section.runs]
    origins = profiles._origins(PROFILES[name], store.document, base, rows.tuned(store.document))
    paths = profiles.ways({profiles.Way.of(*one) for one in own if one[1].model != base})
    found = [profiles.board(PROFILES[name], origins, shown, way) for way in paths]
    assert all(score.value is not None for of in found for _, by_task in of.lines for score in by_task.values())
    return found


def test_collapsed_runs_are_marked() -> None:
    own = list(leaves_of("xtreme-2020", SNLI[0], only=("xnli",)))
    store = Memory(own, score)
    store.collapsed = SNLI[0].id
    (values, *_), text = part(shown(store), "xtreme-2020")
    assert values[1][3].endswith(" †")
    assert tables.FOOTNOTE in text


# ------------------------------------------------------------ sections


def section_of(store: Memory, task: str) -> stats.Section:
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    (section,) = (s for s in stats.sections(table, store.document) if s.key["task"] == task)
    return section


def test_a_search_has_a_row_for_every_language_that_asks() -> None:
    """LAReQA's official number is the mean over all queries, which is that over languages: each asks 1,190."""
    dual = train("lareqa-train")
    queries = tasks.find("lareqa").kind.queries  # type: ignore[union-attr]
    by_language = {code: number("lareqa", code) for code in queries}

    def made(stage: Evaluate) -> list[dict[str, Any]]:
        place = {"layer": NUM_LAYERS, "pooling": "pooler", "direction": "query->pool", "num_examples": 1_190}
        bias = {"mono": 0.5, "cross": 0.25, "same_language_first": 0.75, "num_mono": 1_190}
        return [place | bias | {"language": code, "value": value} for code, value in by_language.items()]

    store = Memory([measure(dual, "lareqa", "mul")], made)
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    assert {row["language"]: row["value"] for row in table.to_pylist()} == by_language
    assert json.loads(table["parts"][0].as_py()) == {
        **{"mono": 0.5, "cross": 0.25, "same_language_first": 0.75, "num_mono": 1_190}
    }
    section = section_of(store, "lareqa")
    assert section.languages == queries
    (view,) = views.views(section)
    assert (view.names, view.where) == (("xtreme-r-2021",), (NUM_LAYERS, "pooler", "query->pool"))
    micro = sum(1_190 * value for value in by_language.values()) / (1_190 * len(queries))
    assert section.mean(section.runs[0], view.where, queries) == pytest.approx(micro)
    (series,) = stats.series(section)
    parts = tables.by_part(section, series, view)
    assert parts is not None
    assert parse(parts)[0] == ["k", "mean", "mono", "cross", "same_language_first"]
    assert parse(parts)[1][2:] == ["50.0", "25.0", "75.0"]
    assert tables.layer_name(section, view, 12) == "layer 12 (last; xtreme-r-2021)"


def test_a_dual_encoder_and_the_model_as_it_stands_are_two_sections() -> None:
    dual = train("lareqa-train")
    store = Memory([measure(model, "lareqa", "mul") for model in (ENCODER, dual)], score)
    table = rows.rows(store, store.document)  # type: ignore[arg-type]
    first, second = stats.sections(table, store.document)
    assert [s.key["target"] for s in (first, second)] == ["", "lareqa-train"]
    assert [len(s.runs) for s in (first, second)] == [1, 1]
    (view,) = views.views(first)
    assert (view.names, view.reference, view.pooling) == ((), "xtreme-r-2021", "pooler")
    text = "\n".join(markdown([block]) for block in report._section(second, set()))
    assert "## lareqa/test after lareqa-train, offline" in text


def test_mining_without_a_profile_is_read_where_bucc_is() -> None:
    store = Memory([measure(ENCODER, "bucc", code, "dev") for code in ("de", "fr")], score)
    section = section_of(store, "bucc")
    (view,) = views.views(section)
    assert (view.names, view.reference, view.where) == ((), "xtreme-2020", (8, "mean", "both"))
    assert report.curve(section, view) is not None


def test_every_kind_names_its_profiles_and_shows_its_parts() -> None:
    own = [leaf for name in ("xtreme-2020", "xtreme-r-2021") for leaf in leaves_of(name, ENCODER)]
    store = Memory({leaf.id: leaf for leaf in own}.values(), score)
    names = {
        "xnli": [("xtreme-2020", "stilts-2020", "xtreme-r-2021", "mgte-2024")],
        "xcopa": [("xtreme-r-2021", "mgte-2024")],
        "udpos": [("xtreme-2020", "stilts-2020"), ("xtreme-r-2021", "mgte-2024")],
        "xquad": [("xtreme-2020", "stilts-2020", "xtreme-r-2021"), ("mgte-2024",)],
    }
    for task, expected in names.items():
        assert [view.names for view in views.views(section_of(store, task))] == expected, task
    columns = {"xquad": ["f1", "exact_match"], "udpos": ["f1_seqeval-1.2.2", "token_accuracy"]}
    for task, parts in columns.items():
        section = section_of(store, task)
        table = tables.by_part(section, stats.series(section)[0], views.views(section)[0])
        assert table is not None
        assert parse(table)[0] == ["k", "mean", *parts]
        model = target(task, ENCODER, 0)
        assert parse(table)[1][2:] == [percent(mean_of(model, "xtreme-2020", task, part)) for part in parts]
    section = section_of(store, "xcopa")
    assert section.chance(section.languages) == 0.45
    text = "\n".join(markdown([block]) for block in report._section(section, set()))
    assert "* guessing: 45.0 %" in text
    assert "Profiles `xtreme-r-2021`, `mgte-2024`: all languages" in text
    xnli = section_of(store, "xnli")
    text = "\n".join(markdown([block]) for block in report._section(xnli, set()))
    assert "* one answer: 40.0 % for always giving the most frequent label" in text


def test_a_score_without_the_number_of_a_profile_is_no_cell_of_it() -> None:
    own = list(leaves_of("xtreme-2020", ENCODER, only=("udpos",)))
    store = Memory(own, lambda stage: [{"value": 0.5, "f1": 0.5, "num_examples": 50}])
    section = section_of(store, "udpos")
    (view, _) = views.views(section)
    assert views.reading(section, view).scores(section.runs[0], view.where) == {}
    text = "\n".join(markdown([block]) for block in report._section(section, set()))
    assert "No score has it: `xstilts rescore` adds the current version." in text
    (values,), text = part(shown(store), "xtreme-2020")
    assert values[1][3] == "–"


def test_the_whole_report_has_them_after_its_sections(tmp_path: Path) -> None:
    own = [leaf for start in (ENCODER, SNLI[0]) for leaf in leaves_of("xtreme-2020", start)]
    store: Any = Memory({leaf.id: leaf for leaf in own}.values(), score)
    report.write(store, "scaling", tmp_path)
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    assert text.index("## tatoeba/test") < text.index("## Benchmarks") < text.index("## Stages")
    assert text.count("Scores under xtreme-2020, in %:") == 1
    assert "Scores under xtreme-2020, in %</caption>" in page
