"""Prediction files: gold ones score 1, others what the metric says, and what does not fit is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from small import Given
from xstilts import exchange, scoring, submission, tasks
from xstilts.engine.retrieval import mining, search
from xstilts.exchange import file_of, read_predictions, write_predictions
from xstilts.metrics import classification, qa, spans
from xstilts.submission import render, score

XTREME = tasks.BENCHMARKS["xtreme"]
TAGGED = ("B-PER I-PER O", "O B-LOC", "O")
PARTS = ("NOUN VERB", "SCONJ PRON X", "X")
NLI = ("entailment", "neutral", "contradiction")


def answer_of(task: str, row: Any) -> str:
    """What the layout has for a gold row, written without the code under test."""
    if task in ("panx", "udpos"):
        return "".join(f"{tag}\n" for tag in row.tags)
    if task == "xcopa":
        return json.dumps({"label": row.label})
    return str(("different", "paraphrase").index(row.label)) if task == "paws-x" else str(row.label)


def write_gold(folder: Path, task: str, split: str, language: str, data: Path, own: str | None = None) -> Path:
    """The gold labels of one split in one language as a prediction file."""
    rows: list[Any] = tasks.examples(tasks.find(task), own or split, language, data)
    ending = {"xquad": "json", "mlqa": "json", "tydiqa": "json", "xcopa": "jsonl"}.get(task, "tsv")
    path = folder / {"paws-x": "pawsx"}.get(task, task) / f"{split}-{language}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending == "json":
        text = json.dumps({row.id: row.answers[0][0] for row in rows}, ensure_ascii=False)
    elif task == "tatoeba":
        order = [i for _, i in sorted((row.second.strip(), i) for i, row in enumerate(rows))]
        text = "".join(f"{i}\n" for i in order)
    else:
        text = "\n".join(answer_of(task, row) for row in rows) + ("\n" if ending == "jsonl" or task[0] != "p" else "")
    path.write_text(text)
    return path


def squad_file(path: Path, prefix: str) -> None:
    context = "Ada saw Bo in Rome ."
    asked = [("who", "Ada", 0), ("whom", "Bo", 8), ("where", "in Rome", 11)]
    questions = [
        {"id": f"{prefix}{i}", "question": q, "answers": [{"text": text, "answer_start": at}]}
        for i, (q, text, at) in enumerate(asked)
    ]
    put(path, json.dumps({"data": [{"paragraphs": [{"context": context, "qas": questions}]}]}))


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def conll(sentences: tuple[str, ...]) -> str:
    return "\n".join("".join(f"w{i}\t{tag}\n" for i, tag in enumerate(tags.split())) for tags in sentences)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Release files of every task of both benchmarks, a few rows each, in all languages of XTREME."""
    known = {name: replace(task, rows={}) for name, task in tasks._known.items() if not name.startswith("mini")}
    monkeypatch.setattr(tasks, "_known", known)
    data = tmp_path / "data"
    for code in XTREME["xnli"]:
        put(data / f"xnli/test-{code}.tsv", "".join(f"a\tb\t{label}\n" for label in NLI * 2))
        put(data / f"xnli/dev-{code}.tsv", "".join(f"a\tb\t{label}\n" for label in NLI))
    for code in XTREME["paws-x"]:
        put(data / f"pawsx/test-{code}.tsv", "a\tb\t0\na\tb\t1\na\tb\t1\na\tb\t0\n")
        put(data / f"pawsx/dev-{code}.tsv", "a\tb\t1\na\tb\t0\na\tb\t0\na\tb\t1\n")
    for task, sentences in (("panx", TAGGED), ("udpos", PARTS)):
        for code in XTREME[task]:
            put(data / f"{task}/test-{code}.tsv", conll(sentences))
            put(data / f"{task}/dev-{code}.tsv", conll(sentences[::-1]))
    for code in XTREME["xquad"]:
        squad_file(data / f"xquad/xquad.{code}.json", "x")
    for code in XTREME["mlqa"]:
        for split in ("test", "dev"):
            squad_file(data / f"mlqa/{split}-context-{code}-question-{code}.json", split)
    for code in XTREME["tydiqa"]:
        squad_file(data / f"tydiqa_goldp/tydiqa.goldp.{code}.dev.json", "t")
    for code in XTREME["tatoeba"]:
        three = tasks.LANGUAGES[code].iso639_3
        put(data / f"tatoeba/tatoeba.{three}-eng.{three}", "vier\ndrei\nzwei\neins\nnull\n")
        put(data / f"tatoeba/tatoeba.{three}-eng.eng", "four\nthree\ntwo\none\nnought\n")
    for code in XTREME["bucc"]:
        put(data / f"bucc2018/{code}-en/{code}-en.training.gold", f"{code}-01\ten-02\n{code}-03\ten-01\n")
    for code in tasks.BENCHMARKS["xtreme-r"]["xcopa"]:
        rows = [{"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": n} for n in (0, 1, 1)]
        put(data / f"xcopa/data/{code}/test.{code}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return data


@pytest.fixture
def gold(small: Path, tmp_path: Path) -> Path:
    """A whole submission of gold labels to XTREME."""
    folder = tmp_path / "predictions"
    for task, codes in XTREME.items():
        for code in codes:
            if task == "bucc":
                put(folder / f"bucc2018/test-{code}.tsv", f"{code}-03\ten-01\n{code}-01\ten-02\n")
            else:
                write_gold(folder, task, "test", code, small, own="dev" if task == "tydiqa" else None)
    return folder


# ------------------------------------------------------------ averages


def test_a_whole_submission_of_gold_labels_scores_one(gold: Path, small: Path) -> None:
    document = score(gold, small)
    assert document["mean"] == 1
    assert document["groups"] == dict.fromkeys(("classification", "tagging", "qa", "retrieval"), 1)
    assert document["unread"] == []
    assert document["num_refused"] == 0
    for task, codes in XTREME.items():
        assert set(document["tasks"][task]["languages"]) == set(codes)
        assert not any(document["tasks"][task][name] for name in ("no_predictions", "no_labels", "refused"))
    assert document["tasks"]["udpos"]["languages"]["de"] == {
        **{"f1_seqeval-0.0.12": 1, "f1_seqeval-1.2.2": 1, "token_accuracy": 1, "value": 1, "num_examples": 3}
    }
    assert render(document)[-1].split() == ["xtreme", "100.00"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_benchmark_is_the_mean_of_tasks_of_means_of_languages(gold: Path, small: Path) -> None:
    put(gold / "xnli/test-de.tsv", "neutral\n" * 6)
    put(gold / "bucc2018/test-fr.tsv", "fr-01\ten-02\nfr-01\ten-02\nfr-02\ten-03\nfr-04\ten-04\n")
    answers = json.loads((gold / "xquad/test-el.json").read_text())
    put(gold / "xquad/test-el.json", json.dumps({**answers, "x2": "Rome"}))
    document = score(gold, small)
    found = document["tasks"]
    assert found["xnli"]["languages"]["de"] == {"value": 1 / 3, "accuracy": 1 / 3, "num_examples": 6}
    assert found["xnli"]["mean"]["value"] == pytest.approx((14 + 1 / 3) / 15)
    mined = found["bucc"]["languages"]["fr"]
    assert (mined["precision"], mined["recall"], mined["f1"]) == (1 / 3, 1 / 2, pytest.approx(2 / 5))
    assert found["bucc"]["mean"]["f1"] == pytest.approx(3.4 / 4)
    one = found["xquad"]["languages"]["el"]
    assert (one["exact_match"], one["f1"]) == (2 / 3, pytest.approx((2 + 2 / 3) / 3))
    assert found["xquad"]["mean"]["exact_match"] == pytest.approx((10 + 2 / 3) / 11)
    values = [task["mean"]["value"] for task in found.values()]
    assert document["mean"] == pytest.approx(sum(values) / 9)
    assert document["groups"]["classification"] == pytest.approx((1 + (14 + 1 / 3) / 15) / 2)
    assert document["groups"]["retrieval"] == pytest.approx((1 + 3.4 / 4) / 2)


@pytest.mark.parametrize("lost", ["predictions", "labels"])
def test_what_is_missing_is_named_and_takes_its_averages_away(gold: Path, small: Path, lost: str) -> None:
    (gold / "mlqa/test-hi.json" if lost == "predictions" else small / "mlqa/test-context-hi-question-hi.json").unlink()
    document = score(gold, small)
    mlqa = document["tasks"]["mlqa"]
    assert "hi" not in mlqa["languages"]
    assert mlqa["mean"] is None
    assert document["groups"] == {"classification": 1, "tagging": 1, "qa": None, "retrieval": 1}
    assert document["mean"] is None
    assert document["num_refused"] == 0
    text = "\n".join(render(document))
    if lost == "predictions":
        assert mlqa["no_predictions"] == ["hi"]
        assert "no predictions: hi" in text
    else:
        assert list(mlqa["no_labels"]) == ["hi"]
        assert "no labels: hi: no rows of mlqa/test in 'hi': looked for" in text
    assert render(document)[-1] == "xtreme               -  without mlqa"
    assert "qa                   -  without mlqa" in text


def test_xtreme_r_has_no_mean_while_lareqa_has_no_files(small: Path, tmp_path: Path) -> None:
    for code in tasks.BENCHMARKS["xtreme-r"]["xcopa"]:
        write_gold(tmp_path / "p", "xcopa", "test", code, small)
    document = score(tmp_path / "p", small, "xtreme-r")
    assert document["tasks"]["xcopa"]["mean"] == {"value": 1, "accuracy": 1}
    assert document["mean"] is None
    assert document["groups"]["retrieval"] is None
    lines = render(document)
    assert "xnli: no predictions (xnli/test-ar.tsv and so on)" in lines
    assert [line for line in lines if line.startswith("lareqa: not scored")]
    assert (
        lines[-1] == "xtreme-r             -  without xnli, udpos, panx, xquad, mlqa, tydiqa, tatoeba, lareqa, mewsli-x"
    )


def test_files_that_no_task_asked_for_are_named(gold: Path, small: Path) -> None:
    put(gold / "xnli/test_en.tsv", "neutral\n")
    put(gold / "xnli/.cache", "")
    put(gold / "notes.txt", "")
    document = score(gold, small)
    assert document["unread"] == ["notes.txt", "xnli/test_en.tsv"]
    assert render(document)[-1] == "not read: notes.txt, xnli/test_en.tsv"


def test_a_folder_without_any_file_of_the_layout_is_refused(small: Path, tmp_path: Path) -> None:
    put(tmp_path / "p/paws-x/test-de.tsv", "1\n")
    with pytest.raises(ValueError, match=r"expected files such as xnli/test-de.tsv .*; did you mean 'pawsx'"):
        score(tmp_path / "p", small)
    with pytest.raises(ValueError, match="expected a folder"):
        score(tmp_path / "nowhere", small)
    with pytest.raises(ValueError, match=r"unknown benchmark 'xtremer'.*'xtreme-r'"):
        score(tmp_path / "p", small, "xtremer")
    with pytest.raises(ValueError, match="unknown split 'train'"):
        score(tmp_path / "p", small, split="train")


# ------------------------------------------------------------ what is refused

WRONG: list[tuple[str, str, str]] = [
    ("xnli/test-de.tsv", "neutral\n" * 5, "test-de.tsv: expected 6 lines, one for each row, got 5"),
    ("xnli/test-de.tsv", "neutral\n" * 3, "expected 6 lines, one for each row, got 3; it fits xnli/dev"),
    (
        "xnli/test-de.tsv",
        "neutral\nneutrall\n" + "neutral\n" * 4,
        "test-de.tsv:2: expected a label among entailment, neutral, contradiction, got 'neutrall'; did you mean",
    ),
    ("xnli/test-de.tsv", "neutral\n\n" * 3, "test-de.tsv:2: expected a row, got a blank line"),
    ("pawsx/test-de.tsv", "0\n1\n2\n0\n", "test-de.tsv:3: expected a label among 0, 1, got '2'"),
    (
        "pawsx/test-de.tsv",
        "1\n0\n0\n1\n",
        "predictions for paws-x/test (0.0% are right), got what looks like those for paws-x/dev (100.0% are right)",
    ),
    ("panx/test-de.tsv", "B-PER\nI-PER\nO\n\nO\nB-LOC\n", "expected 3 sentences (6 tags), got 2"),
    ("panx/test-de.tsv", "O\nO\nO\n\nO\n\nO\n", "test-de.tsv:5: sentence 2: expected 2 tags, got 1"),
    (
        "panx/test-de.tsv",
        "O\n\nO\nO\n\nO\nO\nO\n",
        "test-de.tsv:1: sentence 1: expected 3 tags, got 1; it fits panx/dev",
    ),
    ("panx/test-de.tsv", "O\nO\nB-PRE\n\nO\nO\n\nO\n", "test-de.tsv:3: expected a tag among O, B-PER"),
    ("panx/test-de.tsv", "O\nO\nO\n\n\nO\nO\n\nO\n", "test-de.tsv:5: expected a tag, got a blank line"),
    ("mlqa/test-de.json", '{"test0": "a", "test1": "b"}', "3 questions, got 2; 1 are missing, the id 'test2' first"),
    (
        "mlqa/test-de.json",
        '{"test0": "a", "test1": "b", "tset2": "c"}',
        "1 have an unknown id, 'tset2' first; did you mean 'test2'?",
    ),
    ("mlqa/test-de.json", '{"dev0": "a", "dev1": "b", "dev2": "c"}', "; it fits mlqa/dev"),
    ("mlqa/test-de.json", '{"test0": "a", "test0": "b"}', "two for the id 'test0'"),
    ("mlqa/test-de.json", '{"test0": ["a"]}', "id 'test0': expected an answer as text"),
    ("mlqa/test-de.json", '{"test0":\n"a",}', "test-de.json:2: expected one JSON object, got broken JSON"),
    ("mlqa/test-de.json", '[["test0", "a"]]', "expected one JSON object of answers by id"),
    ("tatoeba/test-de.tsv", "0\n4\n3\n1\n5\n", "test-de.tsv:5: expected the index of a sentence from 0 to 4, got '5'"),
    ("tatoeba/test-de.tsv", "0\n4\n3\n1\n[2]\n", "test-de.tsv:5: expected the index of a sentence from 0 to 4"),
    ("tatoeba/test-de.tsv", "0\n1\n2\n3\n4\n", "(1 are right), got lines in the order of the release (5 are right)"),
    ("bucc2018/test-de.tsv", "de-01\ten-02\nen-01\tde-03\n", "test-de.tsv:2: expected de-NUMBER, a tab and en-NUMBER"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG)
def test_a_file_that_does_not_fit_is_refused_with_its_place(
    gold: Path, small: Path, name: str, text: str, message: str
) -> None:
    path = put(gold / name, text)
    document = score(gold, small)
    task = {"pawsx": "paws-x", "bucc2018": "bucc"}.get(path.parent.name, path.parent.name)
    why = document["tasks"][task]["refused"]["de"]
    assert message in why
    assert why.startswith(str(path))
    assert document["num_refused"] == 1
    assert "de" not in document["tasks"][task]["languages"]
    assert document["tasks"][task]["mean"] is None
    assert f"  refused: de: {why}" in render(document)


@pytest.mark.parametrize("text", ['{"label": 2}\n', '{"label": true}\n', '{"label": "1"}\n'])
def test_a_choice_is_an_index_of_the_choices(small: Path, tmp_path: Path, text: str) -> None:
    put(tmp_path / "p/xcopa/test-et.jsonl", '{"label": 0}\n' + text + '{"label": 1}\n')
    why = score(tmp_path / "p", small, "xtreme-r")["tasks"]["xcopa"]["refused"]["et"]
    assert "test-et.jsonl:2: expected a label from 0 to 1" in why


def test_the_number_of_rows_of_a_split_without_files_is_enough_to_name_it(
    gold: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tasks._known, "xnli", replace(tasks.find("xnli"), rows={"dev": 2_490}))
    for path in (small / "xnli").glob("dev-*"):
        path.unlink()
    put(gold / "xnli/test-de.tsv", "neutral\n" * 2_490)
    why = score(gold, small)["tasks"]["xnli"]["refused"]["de"]
    assert why.endswith("expected 6 lines, one for each row, got 2,490; 2,490 is the number of rows of xnli/dev")


def test_copies_without_labels_are_no_labels(gold: Path, small: Path, tmp_path: Path) -> None:
    put(small / "xnli/test-de.tsv", "a\tb\n" * 6)
    found = score(gold, small)["tasks"]["xnli"]
    assert "test-de.tsv:1: expected 3 columns" in found["no_labels"]["de"]
    assert found["refused"] == {}
    write_gold(tmp_path / "p", "xcopa", "test", "et", small)
    path = small / "xcopa/data/et/test.et.jsonl"
    put(path, path.read_text().replace('"label": 1', '"label": 0'))
    found = score(tmp_path / "p", small, "xtreme-r")["tasks"]["xcopa"]
    assert "every label is 0, as in XTREME's copy" in found["no_labels"]["et"]
    assert found["languages"] == {}


# ------------------------------------------------------------ real data


@pytest.mark.parametrize(("task", "code"), [("xnli", "ur"), ("paws-x", "ko"), ("panx", "ur"), ("udpos", "ur")])
def test_real_dev_labels_score_one_and_changed_ones_what_the_metric_says(
    task: str, code: str, data_dir: Path, tmp_path: Path
) -> None:
    if not tasks.available(tasks.find(task), "dev", code, data_dir):
        pytest.skip(f"no labels of {task}/dev in {data_dir}")
    path = write_gold(tmp_path, task, "dev", code, data_dir)
    found = score(tmp_path, data_dir, split="dev")["tasks"][task]["languages"][code]
    assert {value for name, value in found.items() if name != "num_examples"} == {1.0}
    golds = [block.split("\n") for block in path.read_text().strip("\n").split("\n\n")]
    if task in ("xnli", "paws-x"):
        ((*flat,),) = golds
        changed = [flat[0]] * (len(flat) // 3) + flat[len(flat) // 3 :]
        path.write_text("\n".join(changed))
        expected = {"accuracy": classification.accuracy(changed, flat)}
    else:
        swap = {"B-LOC": "B-ORG", "SCONJ": "CCONJ", "X": "SYM"}
        mixed = [[swap.get(tag, tag) for tag in tags] for tags in golds]
        path.write_text("\n\n".join("\n".join(tags) for tags in mixed))
        expected = {f"f1_{compat}": spans.span_f1(mixed, golds, compat=compat).f1 for compat in spans.COMPATS}
        expected["token_accuracy"] = spans.accuracy(mixed, golds).value
        assert (expected["f1_seqeval-0.0.12"] == expected["f1_seqeval-1.2.2"]) is (task == "panx")
    found = score(tmp_path, data_dir, split="dev")["tasks"][task]["languages"][code]
    assert 0 < found["value"] < 1
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("task", "own"), [("xquad", "test"), ("tydiqa", "dev")])
def test_real_questions_score_what_the_metric_says(task: str, own: str, data_dir: Path, tmp_path: Path) -> None:
    if not tasks.available(tasks.find(task), own, "ru", data_dir):
        pytest.skip(f"no labels of {task}/{own} in {data_dir}")
    path = write_gold(tmp_path, task, "test", "ru", data_dir, own)
    found = score(tmp_path, data_dir)["tasks"][task]
    assert found["languages"]["ru"]["exact_match"] == 1
    assert found["mean"] is None
    answers = {id: text[: max(1, len(text) // 2)] for id, text in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(answers))
    rows: list[Any] = tasks.examples(tasks.find(task), own, "ru", data_dir)
    expected = qa.squad(answers, {row.id: [text for text, _ in row.answers] for row in rows}, "ru")
    one = score(tmp_path, data_dir)["tasks"][task]["languages"]["ru"]
    assert (one["exact_match"], one["f1"], one["value"]) == (expected.exact_match, expected.f1, expected.value)
    assert 0 < one["value"] < 1


@pytest.mark.parametrize(
    ("language", "first"),
    [
        ("de", [367, 258, 374, 529, 528, 283, 348, 344, 282, 212]),
        ("fr", [957, 981, 721, 980, 912, 444, 973, 971, 970, 969]),
    ],
)
def test_tatoeba_has_the_order_of_xtremes_own_labels(
    language: str, first: list[int], data_dir: Path, tmp_path: Path
) -> None:
    """Ten first labels each: google-research/xtreme, mock_test_data/labels/tatoeba/test-de.tsv and test-fr.tsv."""
    if not tasks.available(tasks.find("tatoeba"), "test", language, data_dir):
        pytest.skip(f"no Tatoeba in {data_dir}")
    path = write_gold(tmp_path, "tatoeba", "test", language, data_dir)
    assert list(map(int, path.read_text().split()))[:10] == first
    assert score(tmp_path, data_dir)["tasks"]["tatoeba"]["languages"][language]["accuracy"] == 1
    wrong = path.read_text().split()
    wrong[10:110] = wrong[11:111]
    path.write_text("\n".join(wrong))
    assert score(tmp_path, data_dir)["tasks"]["tatoeba"]["languages"][language]["accuracy"] == 0.9


# ------------------------------------------------------------ written and read back


def retrieval(num_queries: int, layers: int = 12) -> pa.Table:
    """A retrieval measurement of random similarities, with ties, in shuffled rows."""
    rng = np.random.default_rng(0)
    rows = []
    for layer in range(layers + 1):
        for pooling in ("cls", "mean"):
            for direction in ("en->xx", "xx->en"):
                for query in range(num_queries):
                    similarities = rng.integers(0, 3, num_queries).astype(float)
                    rows.append((layer, pooling, direction, query, query, rng.permutation(num_queries), similarities))
    rng.shuffle(rows)  # type: ignore[arg-type]
    layer, pooling, direction, query, gold, _, similarities = zip(*rows, strict=True)
    order = [np.argsort(-s, kind="stable") for s in similarities]
    flat = pa.FixedSizeListArray.from_arrays
    return pa.table(
        {
            "layer": pa.array(layer, pa.int16()),
            "pooling": pa.array(pooling),
            "direction": pa.array(direction),
            "query": pa.array(query, pa.int32()),
            "gold": pa.array(gold, pa.int32()),
            "neighbours": flat(pa.array(np.concatenate(order), pa.int32()), num_queries),
            "similarities": flat(
                pa.array(np.concatenate([s[o] for s, o in zip(similarities, order, strict=True)])), num_queries
            ),
        }
    )


def stored(task: str, rows: list[Any]) -> pa.Table:
    """A stored measurement with mistakes, as `engine.kinds` writes its columns."""
    if task == "tatoeba":
        return retrieval(len(rows))
    if task == "mlqa":
        golds = [[text for text, _ in row.answers] for row in rows]
        texts = ["", *(f'"{texts[0]}"\n über' for texts in golds[1:])]
        return pa.table({"id": [row.id for row in rows], "prediction": texts, "golds": golds})
    if task in ("panx", "udpos"):
        golds = [list(row.tags) for row in rows]
        guesses = [[golds[-1][-1], *tags[1:]] for tags in golds]
        return pa.table({"row": range(len(rows)), "gold": golds, "prediction": guesses})
    labels = [row.label for row in rows]
    table = {"row": range(len(rows)), "gold": labels, "prediction": labels[1:] + labels[:1]}
    return pa.table(table | {"scores": [[0.0, 1.0]] * len(rows)})


@pytest.mark.parametrize("task", ["xnli", "paws-x", "panx", "udpos", "mlqa", "tatoeba", "xcopa"])
def test_what_is_written_scores_as_what_is_stored(task: str, small: Path, tmp_path: Path) -> None:
    declared = tasks.find(task)
    language = "vi" if task == "xcopa" else "hi" if task in ("mlqa", "tatoeba") else "de"
    rows: list[Any] = tasks.examples(declared, "test", language, small)
    table = stored(task, rows)
    written = write_predictions(table, task, language, tmp_path / "p", split="test", data_dir=small)
    assert [path.relative_to(tmp_path / "p").as_posix() for path in written] == [file_of(task, "test", language)]
    with pytest.raises(FileExistsError):
        write_predictions(table, task, language, tmp_path / "p", split="test", data_dir=small)
    benchmark = "xtreme-r" if task == "xcopa" else "xtreme"
    found = score(tmp_path / "p", small, benchmark)["tasks"][task]["languages"][language]
    values = scoring.score(table, declared.kind.name, declared.metric, language)["values"]
    if task == "tatoeba":
        values = [v for v in values if (v["layer"], v["pooling"], v["direction"]) == (8, "mean", "en->xx")]
    (expected,) = values
    assert found["value"] == expected["value"]
    assert found["num_examples"] == expected["num_examples"]
    assert 0 <= found["value"] < 1
    for name in ("token_accuracy", "exact_match", "f1"):
        assert name not in found or found[name] == expected[name]


def test_real_retrieval_is_written_in_the_order_of_the_english_texts(data_dir: Path, tmp_path: Path) -> None:
    if not tasks.available(tasks.find("tatoeba"), "test", "te", data_dir):
        pytest.skip(f"no Tatoeba in {data_dir}")
    table = retrieval(234, layers=1)
    (path,) = write_predictions(table, "tatoeba", "te", tmp_path, split="test", data_dir=data_dir)
    assert len(path.read_text().split()) == 234
    found = score(tmp_path, data_dir)["tasks"]["tatoeba"]["languages"]["te"]
    values = scoring.score(table, "embed", "accuracy")["values"]
    (expected,) = [v for v in values if (v["layer"], v["pooling"], v["direction"]) == (1, "mean", "en->xx")]
    assert found["value"] == expected["value"] > 0


def test_mined_pairs_are_written_by_the_threshold_of_dev(tmp_path: Path) -> None:
    """Sentences of one id each but the first two, which are equal; a wrong pair is far below dev's right ones."""
    data = tmp_path / "data/bucc2018/de-en"
    for split, words in (("sample", ["a", "b", "c"]), ("training", ["d", "d", "e", "f"])):
        for side, texts in (("de", words), ("en", [*words[:-1], "x"])):
            lines = [f"{side}-{n}\t{side} {word}\n" for n, word in enumerate(texts)]
            put(data / f"de-en.{split}.{side}", "".join(lines))
        put(data / f"de-en.{split}.gold", "".join(f"de-{n}\ten-{n}\n" for n in range(len(words) - 1)))
    task = tasks.find("bucc")
    parts: list[tuple[str, list[Any]]] = [
        (split, tasks.examples(task, split, "de", tmp_path / "data")) for split in ("dev", "test")
    ]
    vectors = {letter: torch.eye(8)[n] + 0.1 for n, letter in enumerate("abcdefx")}
    every = torch.stack([vectors[entry.text[-1]] for _, entries in parts for entry in entries])
    table = mining(Given(every, "mean"), parts, 8)
    table = table.set_column(table.column_names.index("layer"), "layer", pa.array([1] * len(table), pa.int16()))
    (path,) = write_predictions(table, "bucc", "de", tmp_path / "p", split="test", data_dir=tmp_path / "data")
    assert path.relative_to(tmp_path / "p").as_posix() == "bucc2018/test-de.tsv"
    assert path.read_text() == "de-2\ten-2\n"
    found = score(tmp_path / "p", tmp_path / "data")["tasks"]["bucc"]["languages"]["de"]
    (expected,) = scoring.score(table, "mine", "f1")["values"]
    assert {name: found[name] for name in ("value", "precision", "recall")} == {
        name: expected[name] for name in ("value", "precision", "recall")
    }
    with pytest.raises(ValueError, match="expected layer 1, mean, which was not measured"):
        write_predictions(
            table.set_column(table.column_names.index("pooling"), "pooling", pa.array(["cls"] * len(table))),
            "bucc",
            "de",
            tmp_path / "q",
            split="test",
            data_dir=tmp_path / "data",
        )


def test_the_profiles_layer_goes_by_the_encoders_depth(small: Path, tmp_path: Path) -> None:
    """An encoder of 24 layers of which 8 and 14 were measured: XTREME reads 14, not 14/24 of 14."""
    table = retrieval(5, layers=14)
    kept = table.filter([layer in (8, 14) for layer in table["layer"].to_pylist()])
    write_predictions(kept, "tatoeba", "de", tmp_path / "p", split="test", data_dir=small, num_layers=24)
    found = score(tmp_path / "p", small)["tasks"]["tatoeba"]["languages"]["de"]
    values = {v["layer"]: v["value"] for v in scoring.score(table, "embed", "accuracy")["values"] if at_mean(v)}
    assert found["value"] == values[14] != values[8]


def at_mean(value: dict[str, Any]) -> bool:
    return (value["pooling"], value["direction"]) == ("mean", "en->xx")


def mention(id: str, code: str, entity: str) -> dict[str, Any]:
    context = {"text": "A town.", "language": code, "sentence_spans": [{"start": 0, "end": 7}]}
    span = {"start": 2, "end": 6, "text": "town"}
    return {"context": context, "mentions": [{"example_id": id, "mention_span": span, "entity_id": entity}]}


@pytest.fixture
def mentions(tmp_path: Path) -> Path:
    """Mewsli-X with a mention in each language, two in Arabic, and 25 entities."""
    codes = [*tasks.BENCHMARKS["xtreme-r"]["mewsli-x"], "ar"]
    rows = [mention(f"m{n}", code, f"Q{n % 3}") for n, code in enumerate(codes)]
    put(tmp_path / "d/mewsli_x/wikinews_mentions-test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    spans = [{"start": 0, "end": 1}]
    entities = [{"entity_id": f"Q{n}", "description": f"{n}.", "description_language": "en"} for n in range(25)]
    text = "".join(json.dumps(one | {"sentence_spans": spans}) + "\n" for one in entities)
    put(tmp_path / "d/mewsli_x/candidate_set_entities.jsonl", text)
    return tmp_path / "d"


def test_rankings_of_entities_count_by_the_rank_of_the_right_one(mentions: Path, tmp_path: Path) -> None:
    """As XTREME-R's mock data: ``mewslix/test-ar.json`` with ids of entities by the id of a mention."""
    rankings: dict[str, dict[str, list[str]]] = {}
    for n, code in enumerate([*tasks.BENCHMARKS["xtreme-r"]["mewsli-x"], "ar"]):
        rankings.setdefault(code, {})[f"m{n}"] = [f"Q{(n + 1) % 3}", f"Q{n % 3}"]
    rankings["ar"] = {"m0": ["Q0"], "m11": [*(f"Q{n}" for n in range(3, 23)), "Q2"]}  # first, and behind the 20th
    for code, ranking in rankings.items():
        put(tmp_path / f"p/mewslix/test-{code}.json", json.dumps(ranking))
    document = score(tmp_path / "p", mentions, "xtreme-r")
    found = document["tasks"]["mewsli-x"]
    assert found["languages"] == {
        code: {"value": 0.5, "mrr": 0.5, "num_examples": len(ranking)} for code, ranking in rankings.items()
    }
    assert found["mean"] == {"value": 0.5, "mrr": 0.5}
    assert document["unread"] == []
    assert ["ar", "50.00"] in [line.split() for line in render(document)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"m0": ["Q0"]}', "expected one ranking for each of 2 mentions, got 1; 1 are missing, the id 'm11' first"),
        ('{"m0": ["Q0"], "m11": "Q0"}', "id 'm11': expected a list of ids of entities, best first, got Q0"),
        ('{"m0": ["Q0"], "m11": [5]}', "id 'm11': expected a list of ids of entities, best first, got [5]"),
    ],
)
def test_rankings_that_do_not_fit_are_refused(text: str, message: str, mentions: Path, tmp_path: Path) -> None:
    put(tmp_path / "p/mewslix/test-ar.json", text)
    assert message in score(tmp_path / "p", mentions, "xtreme-r")["tasks"]["mewsli-x"]["refused"]["ar"]


def test_mentions_without_their_entities_are_no_labels(mentions: Path, tmp_path: Path) -> None:
    put(tmp_path / "p/mewslix/test-ar.json", "{}")
    file = mentions / "mewsli_x/wikinews_mentions-test.jsonl"
    for text, why in (
        (file.read_text().replace('"Q2"', '""'), "jsonl:3:mentions[0]: no entity"),
        (json.dumps(mention("m", "de", "Q0")), "unknown language of Mewsli-X's mentions 'ar'"),
    ):
        file.write_text(text)
        assert why in score(tmp_path / "p", mentions, "xtreme-r")["tasks"]["mewsli-x"]["no_labels"]["ar"]
    assert "no mentions of Mewsli-X: looked for wikinews" in str(
        score(tmp_path / "p", None, "xtreme-r")["tasks"]["mewsli-x"]["no_labels"]["ar"]
    ).replace("mewsli_x/", "")


def test_a_search_is_written_as_a_file_for_each_language_and_scores_as_stored(
    mentions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tasks._known, "mewsli-x", replace(tasks.find("mewsli-x"), rows={}))
    entries: list[Any] = tasks.examples(tasks.find("mewsli-x"), "test", "mul", mentions)
    vectors = torch.rand(len(entries), 8, generator=torch.Generator().manual_seed(1))
    table = search(Given(vectors, "mean"), entries, 20)
    poolings = table.column_names.index("pooling")
    table = table.set_column(poolings, "pooling", pa.array(["pooler"] * len(table)))
    options: dict[str, Any] = {"split": "test", "data_dir": mentions, "profile": "xtreme-r-2021", "num_layers": 2}
    paths = write_predictions(table, "mewsli-x", "mul", tmp_path / "p", **options)
    assert [path.name for path in paths] == [f"test-{code}.json" for code in tasks.BENCHMARKS["xtreme-r"]["mewsli-x"]]
    found = score(tmp_path / "p", mentions, "xtreme-r")["tasks"]["mewsli-x"]["languages"]
    values = scoring.score(table, "search", "mrr")["values"]
    assert {code: cell["value"] for code, cell in found.items()} == {v["language"]: v["value"] for v in values}
    assert len({value["value"] for value in values}) > 1
    with pytest.raises(ValueError, match="at layer 24, pooling pooler, direction query->pool, got 0"):
        write_predictions(table, "mewsli-x", "mul", tmp_path / "q", **options | {"num_layers": 24})


def test_tydiqa_is_written_as_xtremes_test(small: Path, tmp_path: Path) -> None:
    rows: list[Any] = tasks.examples(tasks.find("tydiqa"), "dev", "sw", small)
    table = pa.table({"id": [row.id for row in rows], "prediction": [row.answers[0][0] for row in rows]})
    (path,) = write_predictions(table, "tydiqa", "sw", tmp_path / "p", split="dev")
    assert path == tmp_path / "p/tydiqa/test-sw.json"
    assert score(tmp_path / "p", small)["tasks"]["tydiqa"]["languages"]["sw"]["value"] == 1


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("xnli", lambda table: table.drop_columns("prediction"), "predictions of xnli lack prediction"),
        ("xnli", lambda table: table.set_column(2, "prediction", [["maybe"] * 6]), "expected a label among"),
        ("tatoeba", lambda table: table.drop_columns("pooling"), "lack pooling"),
        ("tatoeba", lambda table: table.slice(0, 200), "expected one row for each of 5 queries at layer 8"),
        ("mnli", lambda table: table, "unknown task of XTREME's layout 'mnli'"),
    ],
)
def test_what_cannot_be_written_is_refused(
    task: str, change: Callable[[pa.Table], pa.Table], message: str, small: Path, tmp_path: Path
) -> None:
    rows = tasks.examples(tasks.find("xnli" if task == "mnli" else task), "test", "de", small)
    with pytest.raises(ValueError, match=message):
        write_predictions(change(stored(task, rows)), task, "de", tmp_path / "p", split="test", data_dir=small)
    assert not list((tmp_path / "p").rglob("*.*"))


def test_every_task_of_the_benchmarks_has_a_place_in_the_layout() -> None:
    for tasks_of in tasks.BENCHMARKS.values():
        assert set(tasks_of) - {*submission.NOT_SCORED, "bucc"} <= set(exchange.TASKS)


def test_xtreme_r_counts_another_f1_of_tags_than_xtreme(gold: Path, small: Path) -> None:
    """Seqeval of 2020 and of 2021 differ for tags without a prefix: in the later one SCONJ and CCONJ are one type."""
    put(gold / "udpos/test-de.tsv", "NOUN\nVERB\n\nCCONJ\nPRON\nX\n\nX\n")
    found = {name: score(gold, small, name)["tasks"]["udpos"] for name in tasks.PROFILE_OF}
    (first, second), cells = (spans.COMPATS, [of["languages"]["de"] for of in found.values()])
    assert cells[0]["value"] == cells[0][f"f1_{first}"] < cells[1]["value"] == cells[1][f"f1_{second}"]
    assert f"udpos: span-f1 v{spans.VERSION}, f1_{first} counted" in render(score(gold, small))


def test_carriage_returns_and_a_missing_last_line_end_are_no_matter(tmp_path: Path) -> None:
    rows = [tasks.Tokens(("a", "b"), ("O", "B-LOC")), tasks.Tokens(("c",), ("O",))]
    path = tmp_path / "f"
    path.write_bytes(b"O\r\nB-LOC\r\n\r\nO")
    assert read_predictions(path, tasks.find("panx"), rows) == [("O", "B-LOC"), ("O",)]
