"""Packing: shares, schedules, batches without padding, and the cache of tokenised rows behind them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xstilts.engine import data as data_module
from xstilts.engine.data import Tokenised, tokenised
from xstilts.engine.kinds import classify
from xstilts.engine.packing import Schedule, apportion, collate, length_sorted_batches, schedule, shares
from xstilts.mixture import T5_CAP, Budget, Mixture
from xstilts.stage import Data
from xstilts.tasks import examples, find

pytestmark = pytest.mark.usefixtures("small_miniature")

TASKS = ("mini-nli", "mini-paraphrase", "mini-text")
CPU = torch.device("cpu")


def plan(
    budget: Budget,
    mixture: Mixture | None = None,
    *,
    sizes: Sequence[int] = (10, 7, 5),
    batch: Sequence[int] = (4, 3, 2),
    official: Sequence[int | None] | None = None,
    seed: int = 0,
) -> Schedule:
    mixture = mixture or Mixture(TASKS[: len(sizes)], sizes="present")
    return schedule(
        mixture, budget, seed, present=sizes, official=official or [None] * len(sizes), batch_examples=batch
    )


def rows_of(course: Schedule, task: int) -> list[np.ndarray]:
    """The rows of every step of one task, in order."""
    return [course.rows(step) for step in range(course.num_steps) if course.task_of_step[step] == task]


# ---------------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize(
    ("fields", "present", "official", "expected"),
    [
        ({}, (10, 20), (300, 100), (3 / 4, 1 / 4)),
        ({"sizes": "present"}, (10, 20), (300, 100), (1 / 3, 2 / 3)),
        ({}, (10, 20), (None, 40), (1 / 5, 4 / 5)),  # no official training set: the rows present
        ({"policy": "uniform"}, (10, 20), (300, 100), (1 / 2, 1 / 2)),
        ({"policy": "capped", "cap": 150}, (10, 20), (300, 100), (3 / 5, 2 / 5)),
        ({"policy": "capped", "cap": 15, "sizes": "present"}, (10, 20), (300, 100), (2 / 5, 3 / 5)),
        ({"policy": "capped"}, (1, 1), (392_702, T5_CAP // 2), (2 / 3, 1 / 3)),  # T5: K = 2^17
        ({"policy": "temperature", "temperature": 2}, (1, 1), (400, 100), (2 / 3, 1 / 3)),
        ({"policy": "temperature", "temperature": 2, "cap": 225}, (1, 1), (400, 100), (3 / 5, 2 / 5)),
        ({"policy": "temperature", "temperature": 1}, (1, 1), (300, 100), (3 / 4, 1 / 4)),
        ({"policy": "explicit", "weights": (3, 1)}, (10, 20), (300, 100), (3 / 4, 1 / 4)),
    ],
)
def test_shares_by_hand(
    fields: dict[str, Any], present: tuple[int, ...], official: tuple[int | None, ...], expected: tuple[float, ...]
) -> None:
    found = shares(Mixture(TASKS[:2], **fields), present, official)
    assert found == pytest.approx(expected, abs=1e-12)


def test_weights_stay_with_their_tasks() -> None:
    mixture = Mixture(("mini-paraphrase", "mini-nli"), policy="explicit", weights=(3, 1))
    assert mixture.tasks == ("mini-nli", "mini-paraphrase")
    assert shares(mixture, (1, 1), (None, None)).tolist() == [1 / 4, 3 / 4]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (0.8 * 3 / 4, 0.8 / 4, 0.2)),
        ({"policy": "uniform"}, (0.4, 0.4, 0.2)),
        ({"policy": "capped", "cap": 20}, (0.4, 0.4, 0.2)),
        ({"policy": "explicit", "weights": (1, 3, 7)}, (0.2, 0.6, 0.2)),
    ],
)
def test_text_has_its_share_whatever_the_policy_of_the_others(
    fields: dict[str, Any], expected: tuple[float, ...]
) -> None:
    mixture = Mixture(TASKS, sizes="present", text_share=0.2, **fields)
    assert shares(mixture, (60, 20, 5000), (None,) * 3) == pytest.approx(expected, abs=1e-12)


def test_two_texts_divide_their_share_by_the_policy() -> None:
    mixture = Mixture((*TASKS, "mini-text-dev"), sizes="present", text_share=0.5)
    found = shares(mixture, (60, 20, 300, 100), (None,) * 4)
    assert found == pytest.approx((0.5 * 3 / 4, 0.5 / 4, 0.5 * 3 / 4, 0.5 / 4), abs=1e-12)


def test_an_epoch_with_a_share_of_text_is_one_of_the_others() -> None:
    mixture = Mixture(TASKS, sizes="present", text_share=0.25)
    course = plan(Budget(2, "epochs"), mixture, sizes=(60, 30, 5000), batch=(4, 4, 8))
    assert course.examples.tolist() == [120, 60, 60]


def tempered(temperature: float, languages: Sequence[tuple[str, int]], num_passes: int, **rest: Any) -> Schedule:
    sizes = (sum(count for _, count in languages),)
    mixture = Mixture(("mini-text",), sizes="present", text_temperature=temperature)
    amount = Budget(num_passes, "epochs")
    return schedule(
        mixture, amount, 3, present=sizes, official=(None,), batch_examples=(7,), languages=(languages,), **rest
    )


def test_languages_of_a_text_have_their_shares_by_temperature_in_every_pass() -> None:
    """Conneau et al. 2020: a share of n^0.3; each row once before any comes again, as often as the next one."""
    languages, alpha = (("en", 800), ("sw", 30), ("th", 170)), 0.3
    course = tempered(1 / alpha, languages, 40)
    seen = np.concatenate(rows_of(course, 0)).reshape(40, 1000)
    starts = np.array([0, 800, 830, 1000])
    weights = np.array([800**alpha, 30**alpha, 170**alpha])
    expected = apportion(1000, weights / weights.sum())
    assert expected[1] > 100
    for one_pass in seen:
        assert np.histogram(one_pass, starts)[0].tolist() == expected.tolist()
    for start, stop in itertools.pairwise(starts):
        times = np.bincount(seen.ravel(), minlength=1000)[start:stop]
        assert times.max() - times.min() <= 1, "every row of a language as often as any other"
        own = seen.ravel()[(start <= seen.ravel()) & (seen.ravel() < stop)]
        assert not np.array_equal(own[: stop - start], own[stop - start :][: stop - start]), "in another order"
    english = (seen[0] < 800).astype(int)
    assert 0.3 < english[:500].mean() / english[500:].mean() < 3, "languages are mixed within a pass"


def test_rows_by_temperature_are_a_function_of_the_step_and_of_the_language_alone() -> None:
    languages = (("en", 50), ("sw", 9), ("th", 20))
    course, again = tempered(2.0, languages, 5), tempered(2.0, languages, 5)
    for step in reversed(range(course.num_steps)):
        assert course.rows(step).tolist() == again.rows(step).tolist()
    plain = tempered(1.0, languages, 2)
    assert np.sort(np.concatenate(rows_of(plain, 0))).tolist() == sorted([*range(79)] * 2), "1 is every row once"
    assert (
        plain.rows(0).tolist()
        == plan(Budget(2, "epochs"), Mixture(("mini-text",)), sizes=(79,), batch=(7,), seed=3).rows(0).tolist()
    )


@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=12))
def test_apportion_sums_and_stays_within_one(total: int, weights: list[int]) -> None:
    parts = np.array(weights) / sum(weights)
    whole = apportion(total, parts)
    assert whole.sum() == total
    assert (np.abs(whole - total * parts) < 1 + 1e-6).all()


def test_apportion_gives_a_tie_to_the_first() -> None:
    assert apportion(10, np.full(4, 0.25)).tolist() == [3, 3, 2, 2]
    assert apportion(3, np.array([0.25, 0.75])).tolist() == [1, 2]  # 0.75 and 2.25: the larger remainder


# ------------------------------------------------------------------------------------------------- schedules


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=3),
    st.integers(30, 90),
    st.integers(0, 5),
)
def test_a_budget_in_examples_is_met_exactly_in_whole_passes(
    tasks: list[tuple[int, int]], amount: int, seed: int
) -> None:
    sizes, batch = zip(*tasks, strict=True)
    course = plan(Budget(amount), Mixture(TASKS[: len(tasks)], policy="uniform"), sizes=sizes, batch=batch, seed=seed)
    share = apportion(amount, np.full(len(tasks), 1 / len(tasks)))
    assert course.examples.tolist() == share.tolist()
    for task, (size, full) in enumerate(tasks):
        steps = rows_of(course, task)
        assert [len(rows) for rows in steps[:-1]] == [full] * (len(steps) - 1)  # only the last may be partial
        seen = np.concatenate(steps)
        assert len(seen) == share[task]
        for first in range(0, len(seen), size):
            one_pass = seen[first : first + size].tolist()
            assert len(set(one_pass)) == len(one_pass), "a row came twice in one pass"
            assert set(one_pass) <= set(range(size))
            if len(one_pass) == size:
                assert sorted(one_pass) == list(range(size))


def test_a_second_pass_is_reshuffled_and_the_tasks_are_interleaved() -> None:
    course = plan(Budget(2, "epochs"), sizes=(50, 40), batch=(8, 8))
    for task, size in enumerate((50, 40)):
        seen = np.concatenate(rows_of(course, task))
        assert sorted(seen[:size]) == sorted(seen[size:]) == list(range(size))
        assert seen[:size].tolist() != seen[size:].tolist()
        assert seen[:size].tolist() != list(range(size))
    switches = int((np.diff(course.task_of_step) != 0).sum())
    assert switches > 4, "tasks should alternate, not come one after the other"


def test_another_seed_gives_another_order_and_mixture() -> None:
    one, two, again = (plan(Budget(60), sizes=(50, 40), batch=(2, 2), seed=seed) for seed in (1, 2, 1))
    assert one.task_of_step.tolist() == again.task_of_step.tolist() != two.task_of_step.tolist()
    assert one.rows(0).tolist() == again.rows(0).tolist()
    assert np.concatenate(rows_of(one, 0)).tolist() != np.concatenate(rows_of(two, 0)).tolist()


@pytest.mark.parametrize("draw", ["exact", "random"])
def test_a_tasks_order_is_the_same_in_every_subset(draw: str) -> None:
    sizes = dict(zip(TASKS, (10, 7, 5), strict=True))
    orders: dict[str, list[list[int]]] = {name: [] for name in TASKS}
    for count in (1, 2, 3):
        for subset in itertools.combinations(TASKS, count):
            present = [sizes[name] for name in subset]
            course = plan(
                Budget(90), Mixture(subset, policy="uniform", draw=draw), sizes=present, batch=[4] * count, seed=3
            )
            for number, name in enumerate(subset):
                orders[name].append(np.concatenate(rows_of(course, number)).tolist())
    for name, found in orders.items():
        assert len(found) == 4
        shortest = min(map(len, found))
        assert shortest > sizes[name]
        assert len({tuple(order[:shortest]) for order in found}) == 1


def test_random_draws_follow_the_shares() -> None:
    mixture = Mixture(TASKS, policy="explicit", weights=(6, 3, 1), draw="random")
    course = plan(Budget(20_000, "steps"), mixture, batch=(1, 1, 1))
    counts = np.bincount(course.task_of_step, minlength=3)
    expected = 20_000 * np.array([0.6, 0.3, 0.1])
    deviation = np.sqrt(expected * (1 - expected / 20_000))  # binomial
    assert (np.abs(counts - expected) < 5 * deviation).all()
    assert counts.tolist() != expected.tolist(), "a random draw that meets its shares exactly is not random"
    assert course.examples.tolist() == counts.tolist()
    neighbours = course.task_of_step[:-1] == course.task_of_step[1:]
    assert abs(neighbours.mean() - 0.46) < 0.02  # .36 + .09 + .01: steps are independent


def test_exact_draws_meet_the_shares_to_the_step() -> None:
    mixture = Mixture(TASKS, policy="explicit", weights=(6, 3, 1))
    course = plan(Budget(200, "steps"), mixture)
    assert np.bincount(course.task_of_step).tolist() == [120, 60, 20]
    assert course.examples.tolist() == [480, 180, 40]
    assert sum(map(len, rows_of(course, 1))) == 180


@pytest.mark.parametrize(
    ("budget", "mixture", "examples_of_tasks"),
    [
        (Budget(44), {}, [20, 14, 10]),
        (Budget(1, "epochs"), {}, [10, 7, 5]),
        (Budget(2.5, "epochs"), {}, [25, 18, 12]),  # 55 in all: 25, 17.5, 12.5
        (Budget(1, "epochs"), {"policy": "capped", "cap": 6}, [6, 6, 5]),
        (Budget(3, "epochs"), {"policy": "capped", "cap": 6}, [18, 18, 15]),
        (Budget(1, "epochs"), {"policy": "uniform"}, [8, 7, 7]),  # 22 rows in all, shared equally
        (Budget(1, "epochs"), {"policy": "temperature", "cap": 1}, [8, 7, 7]),  # the cap is for the shares alone
        (Budget(22, "steps"), {}, [40, 21, 10]),  # 10, 7, 5 steps of 4, 3, 2
    ],
)
def test_budgets(budget: Budget, mixture: dict[str, Any], examples_of_tasks: list[int]) -> None:
    course = plan(budget, Mixture(TASKS, sizes="present", **mixture))
    assert course.examples.tolist() == examples_of_tasks
    assert [sum(map(len, rows_of(course, task))) for task in range(3)] == examples_of_tasks


def test_an_epoch_counts_the_rows_present_though_shares_are_official() -> None:
    course = plan(Budget(1, "epochs"), Mixture(TASKS[:2]), sizes=(10, 10), batch=(2, 2), official=(300, 100))
    assert course.examples.tolist() == [15, 5]


@pytest.mark.parametrize("unit", ["examples", "steps"])
def test_a_starved_task_is_refused_by_name(unit: str) -> None:
    mixture = Mixture(TASKS, policy="explicit", weights=(100, 100, 1))
    with pytest.raises(ValueError, match=r"leaves nothing for mini-text: raise the budget"):
        plan(Budget(20, unit), mixture)


# ---------------------------------------------------------------------------------------------------- batches


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 100))
def test_length_sorted_batches_cover_every_row_within_the_budget(num_tokens: list[int], token_budget: int) -> None:
    lengths = np.array(num_tokens, dtype=np.int32)
    batches = length_sorted_batches(lengths, token_budget)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    ordered = [int(lengths[row]) for batch in batches for row in batch]
    assert ordered == sorted(num_tokens, reverse=True)
    for batch, following in itertools.zip_longest(batches, batches[1:]):
        used = int(lengths[batch].sum())
        assert used <= token_budget or len(batch) == 1
        if following is not None:
            assert used + lengths[following[0]] > token_budget, "the next row would still have fitted"


def table_of(example_lengths: Sequence[Sequence[int]], *, types: bool) -> pa.Table:
    """Examples of sequences of these lengths; every token of the table is another number."""
    counter = itertools.count(100)
    ids = [[next(counter) for _ in range(sum(lengths))] for lengths in example_lengths]
    columns = {
        "ids": pa.array(ids, pa.list_(pa.int32())),
        "lengths": pa.array(example_lengths, pa.list_(pa.int32())),
        "label": pa.array(range(1000, 1000 + len(ids)), pa.int64()),
    }
    if types:
        columns["types"] = pa.array([[i % 2 for i in row] for row in ids], pa.list_(pa.int8()))
    return pa.table(columns)


examples_lists = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=12)


@settings(deadline=None)
@given(examples_lists, st.data(), st.booleans())
def test_collate_against_a_reconstruction(example_lengths: list[list[int]], draw: st.DataObject, types: bool) -> None:
    table = table_of(example_lengths, types=types)
    rows = draw.draw(st.lists(st.integers(0, len(example_lengths) - 1), min_size=1, max_size=10))
    cut = draw.draw(st.integers(0, len(table)))
    batch = collate(Tokenised(pa.concat_tables([table.slice(0, cut), table.slice(cut)])), rows, CPU)

    sequences: list[list[int]] = []
    for row in rows:
        ids = table["ids"][row].as_py()
        for length in example_lengths[row]:
            sequences.append(ids[:length])
            ids = ids[length:]
    packed = batch.ids.tolist()
    assert batch.lengths.tolist() == [len(sequence) for sequence in sequences]
    for number, (start, sequence) in enumerate(zip(batch.starts.tolist(), sequences, strict=True)):
        assert packed[start : start + len(sequence)] == sequence
        assert batch.segment[start : start + len(sequence)].tolist() == [number] * len(sequence)
    assert batch.num_tokens == len(packed) == sum(map(len, sequences)) == sum(batch.packing.lengths)
    assert list(batch.packing.lengths) == sorted(map(len, sequences), reverse=True)
    in_row_order = sorted(range(len(sequences)), key=lambda number: batch.starts[number])
    assert [len(sequences[number]) for number in in_row_order] == list(batch.packing.lengths)
    assert batch.rows.tolist() == rows
    assert batch.num_examples == len(rows)
    assert batch.targets["label"].tolist() == [1000 + row for row in rows]
    assert batch.example.tolist() == [number for number, row in enumerate(rows) for _ in example_lengths[row]]
    assert {t.dtype for t in (batch.ids, batch.starts, batch.lengths, batch.segment, batch.example)} == {torch.int64}
    if types:
        assert batch.types is not None
        assert batch.types.tolist() == [id % 2 for id in packed]
    else:
        assert batch.types is None


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
def test_random_access_across_chunks(chunk: int) -> None:
    example_lengths = [[3], [1, 2], [5], [2, 2], [1], [4], [2, 1, 1]]
    table = table_of(example_lengths, types=True)
    data = Tokenised(pa.concat_tables([table.slice(start, chunk) for start in range(0, 7, chunk)]))
    assert len(data) == 7
    assert data.num_tokens.tolist() == [sum(lengths) for lengths in example_lengths]
    for row in (6, 0, 3, 2, 5, 4, 1):
        ids, per_token, lengths = data.example(row)
        assert ids.tolist() == table["ids"][row].as_py()
        assert list(per_token) == ["types"]
        assert per_token["types"].tolist() == table["types"][row].as_py()
        assert lengths.tolist() == example_lengths[row]


# ---------------------------------------------------------------------------------------------- tokenised rows

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "a", "is", "was", "has", "of", "in", "man", "woman", "not"]


def word_tokenizer(*, types: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of a few words in BERT's format, with token types or without."""
    tokenizer = Tokenizer(models.WordLevel({word: id for id, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
    )


class Cache:
    """The token cache of a folder, with a count of how often rows were encoded."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.num_encoded, encode = folder, 0, classify.encode

        def counted(kind: Any, chunk: Any, *rest: Any) -> Any:
            self.num_encoded += len(chunk)
            return encode(kind, chunk, *rest)

        monkeypatch.setattr(classify, "encode", counted)

    def read(self, part: Data, tokenizer: Any = None, fingerprint: str = "f", **rest: Any) -> Tokenised:
        arguments = {"max_tokens": 24, "data_dir": None, "cache_dir": self.folder} | rest
        return tokenised([part], tokenizer or word_tokenizer(), fingerprint, **arguments)


TRAIN = Data("mini-nli", "train", "en", content="1")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path / "cache", monkeypatch)


def test_rows_are_encoded_once(cache: Cache) -> None:
    first = cache.read(TRAIN)
    num_rows = len(examples(find("mini-nli"), "train", "en"))
    assert cache.num_encoded == len(first) == num_rows
    second = cache.read(TRAIN)
    assert cache.num_encoded == num_rows, "the second call should find the rows tokenised"
    for row in range(num_rows):
        assert first.example(row)[0].tolist() == second.example(row)[0].tolist()
    assert first.targets["label"].tolist() == second.targets["label"].tolist()
    assert [path.suffix for path in (cache.folder / "tokens").iterdir()] == [".arrow"]


def test_the_cache_key_sees_every_change(cache: Cache) -> None:
    cache.read(TRAIN)
    before = cache.num_encoded
    changes: list[tuple[Data, dict[str, Any]]] = [
        (replace(TRAIN, content="2"), {}),
        (replace(TRAIN, split="dev"), {}),
        (TRAIN, {"fingerprint": "g"}),
        (TRAIN, {"max_tokens": 23}),
        (TRAIN, {"prefix": "the "}),
    ]
    for part, change in changes:
        cache.read(part, **change)
        assert cache.num_encoded > before, f"{part} {change} met an old entry"
        before = cache.num_encoded
        cache.read(part, **change)
        assert cache.num_encoded == before
    assert len(list((cache.folder / "tokens").iterdir())) == 6


def test_a_prefix_goes_before_both_sentences(cache: Cache) -> None:
    plain, prefixed = cache.read(TRAIN, max_tokens=200), cache.read(TRAIN, max_tokens=200, prefix="the ")
    assert (prefixed.num_tokens == plain.num_tokens + 2).all()
    ids = prefixed.example(0)[0].tolist()
    assert [ids[1], ids[ids.index(2) + 1]] == [WORDS.index("the")] * 2


def test_chunks_change_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache.read(TRAIN)
    monkeypatch.setattr(data_module, "_CHUNK_EXAMPLES", 50)
    cut = cache.read(TRAIN, cache_dir=cache.folder / "cut")
    (file,) = (cache.folder / "cut" / "tokens").iterdir()
    with pa.memory_map(str(file)) as stream:
        assert pa.ipc.open_file(stream).num_record_batches == 3
    assert whole.num_tokens.tolist() == cut.num_tokens.tolist()
    assert whole.targets["label"].tolist() == cut.targets["label"].tolist()
    expected = [whole.example(row)[0].tolist() for row in range(len(whole))]
    assert [cut.example(row)[0].tolist() for row in range(len(cut))] == expected


def test_several_languages_are_one_after_the_other(tmp_path: Path) -> None:
    parts = [Data("mini-text", "train", code, content="1") for code in ("de", "en")]
    tokenizer = word_tokenizer()
    arguments: dict[str, Any] = {"max_tokens": 16, "data_dir": None, "cache_dir": tmp_path}
    together = tokenised(parts, tokenizer, "f", **arguments)
    alone = [tokenised([part], tokenizer, "f", **arguments) for part in parts]
    assert together.num_tokens.tolist() == [*alone[0].num_tokens.tolist(), *alone[1].num_tokens.tolist()]
    assert together.example(len(alone[0]))[0].tolist() == alone[1].example(0)[0].tolist()


def test_nothing_is_left_of_a_failure(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(classify, "encode", broken)
        with pytest.raises(RuntimeError, match="no memory"):
            cache.read(TRAIN)
    assert list((cache.folder / "tokens").iterdir()) == []
    assert len(cache.read(TRAIN)) > 0


def test_token_types_of_a_bert_tokenizer(cache: Cache) -> None:
    tokenizer = word_tokenizer(types=True)
    data = cache.read(TRAIN, tokenizer)
    pair = examples(find("mini-nli"), "train", "en")[5]
    expected = tokenizer(pair.first, pair.second, truncation="longest_first", max_length=24)
    ids, per_token, lengths = data.example(5)
    types = per_token["types"]
    assert (ids.tolist(), types.tolist()) == (expected["input_ids"], expected["token_type_ids"])
    assert set(types.tolist()) == {0, 1}
    assert lengths.tolist() == [len(ids)]
    batch = collate(data, [5, 9], CPU)
    assert batch.types is not None
    start = int(batch.starts[0])
    assert batch.types[start : start + len(ids)].tolist() == types.tolist()
    assert cache.read(TRAIN, fingerprint="no types").example(5)[1] == {}


def test_a_target_of_every_token_is_packed_like_the_tokens() -> None:
    ids = [[5, 6, 7], [8, 9], [1, 2, 3, 4]]
    tags = [[10 * id for id in example] for example in ids]
    table = pa.table({"ids": ids, "lengths": [[3], [2], [1, 3]], "tag": tags})
    batch = collate(Tokenised(table), [1, 2, 0], CPU)
    assert batch.targets["tag"].tolist() == [10 * id for id in batch.ids.tolist()]


# ------------------------------------------------------------------------------------- steps of several tasks


def seen_of(course: Schedule) -> list[list[int]]:
    """The rows of each task, in the order in which steps take them."""
    seen: list[list[int]] = [[] for _ in course.tasks]
    for step in range(course.num_steps):
        for task, rows in course.parts(step):
            seen[task].extend(rows.tolist())
    return seen


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20)), min_size=2, max_size=3),
    st.sampled_from((1, 2, 4, "all")),
    st.integers(40, 160),
    st.integers(0, 3),
)
def test_steps_of_several_tasks_keep_their_size_and_the_shares(
    tasks: list[tuple[int, int]], tasks_per_step: int | str, amount: int, seed: int
) -> None:
    sizes, weights = zip(*tasks, strict=True)
    names, num_tasks = TASKS[: len(tasks)], len(tasks)
    mixture = Mixture(names, policy="explicit", weights=weights, tasks_per_step=tasks_per_step)
    share = np.array(mixture.weights) / sum(weights)
    sizes = tuple(size for _, size in sorted(zip(names, sizes, strict=True)))
    if (apportion(amount, share) == 0).any():
        return
    course = plan(Budget(amount), mixture, sizes=sizes, batch=(8,) * num_tasks, seed=seed)
    assert course.examples.tolist() == apportion(amount, share).tolist()
    seen = seen_of(course)
    assert [len(rows) for rows in seen] == course.examples.tolist()
    for size, rows in zip(sizes, seen, strict=True):
        for first in range(0, len(rows), size):
            assert len({*rows[first : first + size]}) == len(rows[first : first + size]), "a row twice in one pass"
    counts = np.zeros((course.num_steps, num_tasks), dtype=int)
    for step in range(course.num_steps):
        for task, rows in course.parts(step):
            counts[step, task] = len(rows)
    if tasks_per_step == "all":
        assert (counts.sum(1)[:-1] == 8).all()
        exact = course.examples / amount * 8
        assert (np.abs(counts[:-1] - exact) <= 1 + num_tasks * exact / 8 + 1e-9).all(), "every step has the shares"
    elif tasks_per_step != 1:
        num_whole = int((course.examples // (8 // tasks_per_step)).sum()) // tasks_per_step
        assert (counts.sum(1)[:num_whole] == 8).all(), "what is left of a task comes last"
        assert ((counts > 0).sum(1) <= tasks_per_step).all()
    assert ((counts > 0).sum(1) > 1).any() or tasks_per_step != "all"


@pytest.mark.parametrize("tasks_per_step", [2, 4, "all"])
@pytest.mark.parametrize("draw", ["exact", "random"])
def test_a_tasks_order_does_not_depend_on_how_steps_are_made(tasks_per_step: int | str, draw: str) -> None:
    alone = plan(Budget(40, "steps"), Mixture(TASKS[:1]), sizes=(50,), batch=(8,))
    mixture = Mixture(TASKS, policy="uniform", draw=draw, tasks_per_step=tasks_per_step)
    course = plan(Budget(30, "steps"), mixture, sizes=(50, 7, 5), batch=(8, 8, 8))
    assert course.num_steps == 30
    assert course.examples.sum() == 240
    rows = seen_of(course)[0]
    assert rows == seen_of(alone)[0][: len(rows)]
    others = [tuple(task for task, _ in course.parts(step)) for step in range(30)]
    assert len({*others}) > 1 or tasks_per_step == "all"
    assert course.names(0) == "+".join(TASKS[task] for task in others[0])


def test_one_part_a_step_is_what_it_was() -> None:
    """The schedule of one task a step, pinned: stored trainings go by it."""
    course = plan(Budget(44))
    assert course.task_of_step.tolist() == [1, 2, 0, 2, 2, 0, 0, 1, 1, 1, 1, 0, 2, 0, 2]
    assert [rows.tolist() for _, rows in course.parts(0)] == [[4, 1, 6]]


def test_examples_of_all_tasks_in_every_step() -> None:
    mixture = Mixture(TASKS, policy="explicit", weights=(8, 5, 3), tasks_per_step="all")
    course = plan(Budget(50, "steps"), mixture, sizes=(50, 40, 30), batch=(16, 16, 16))
    assert course.examples.tolist() == [400, 250, 150]
    for step in range(50):
        counts = [len(rows) for _, rows in course.parts(step)]
        assert sum(counts) == 16
        assert np.abs(np.array(counts) - (8, 5, 3)).max() <= 1
