"""Real release files: every one that a declared task names is read to its end, and holds what the manifest counts."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from xstilts import tasks
from xstilts.tasks import Entry, Files, Pair, Passage, Task, readers
from xstilts.tasks.task import rows_of

pytestmark = pytest.mark.usefixtures("hub_cache")

RELEASED = [task for task in tasks.ALL if not task.name.startswith("mini-")]
LARGE = ("panx/train-*", "udpos/train-*")

NOT_DECLARED = {
    "*LICEN[CS]E*": "no rows",
    "*README.md": "no rows",
    "ntrex/DOCUMENT_IDS.tsv": "no rows",
    "pawsx/*.proxylabels.tsv.gz": "labels of another language",
    "copa_en/test-en.nolabels.jsonl": "no labels",
    "copa_en/superglue_copa_val.jsonl": "copa's dev again",
    "mlqa/dev-context-??-question-??.json.gz": "question and paragraph in two languages; read below",
    "mewsli_x_sample/*": "three mentions without candidates; read below",
    "xcopa/data-gmt/*": "translations into English",
    "ud_conllu/UD_Czech-PUD/*": "no language of the benchmarks",
    "ud_conllu/UD_Swedish-PUD/*": "no language of the benchmarks",
    "raw_bible/*": "no language of the benchmarks",
    "raw_udhr/*": "no language of the benchmarks",
    "raw_leipzig_sentences/??.txt": "no language of the benchmarks",
    "ntrex/newstest2019-*": "no language of Tatoeba, or another English",
}
"""Files of the manifest that no declared task reads, and why."""


OWN_CODES = ("tatoeba", "ntrex", "text@udhr")
"""Tasks whose files have other codes of languages."""


class Listed(NamedTuple):
    """A file of the manifest."""

    language: str
    count: int


class Cell(NamedTuple):
    """One split of a task in one language, with its first file's path in the data folder."""

    task: Task
    split: str
    language: str
    path: str


@pytest.fixture(scope="module")
def manifest(data_dir: Path) -> dict[str, Listed]:
    """Every file that the manifest lists, by path."""
    line = re.compile(r"\s+- (\S+) \| [^|]+ \| ([^|]+) \| (\d+) [^|]*\|", re.ASCII)
    matches = map(line.match, (data_dir / "MANIFEST.md").read_text().splitlines())
    found = {match[1]: Listed(match[2].strip(), int(match[3])) for match in matches if match}
    assert len(found) > 500
    return found


def cells(data_dir: Path) -> Iterator[Cell]:
    """What is on this machine of every declared task that has files of its own."""
    for task in RELEASED:
        for split in task.splits if task.sources else ():
            for language in task.languages_of(split):
                if tasks.available(task, split, language, data_dir):
                    first, *_ = tasks.data_files(task, split, language, data_dir)
                    yield Cell(task, split, language, first.relative_to(data_dir).as_posix())


def is_large(cell: Cell) -> bool:
    return any(fnmatch(cell.path, pattern) for pattern in LARGE) and cell.language != "en"


def check(cell: Cell, manifest: dict[str, Listed], data_dir: Path) -> None:
    """Read a cell completely: as many examples as the manifest counts, or as the slice declares."""
    examples = tasks.examples(cell.task, cell.split, cell.language, data_dir)
    (source,) = (s for s in cell.task.sources if isinstance(s, Files) and is_from(s, cell))
    excluding = source.reader is readers.squad_without
    counted = manifest[cell.path].count
    if cell.task.kind.takes is Entry:  # queries and candidates, or four entries for three rows; see their own tests
        assert len(examples) == cell.task.count(cell.split, cell.language)
        return
    if rows := rows_of(source, cell.split):
        counted = min(rows[1], counted) - rows[0]
    if excluding or source.through:
        assert len(examples) < counted
    else:
        assert len(examples) == counted
    assert len(examples) == cell.task.count(cell.split, cell.language)
    assert cell.language in re.split(r"\W+", manifest[cell.path].language) or cell.task.name in OWN_CODES


def is_from(source: Files, cell: Cell) -> bool:
    return cell.path.removesuffix(".gz") == source.paths(cell.task.splits.own(cell.split), cell.language)[0]


@pytest.mark.parametrize("task", RELEASED, ids=lambda task: task.name)
def test_every_row_of_a_task_is_read(task: Task, data_dir: Path, manifest: dict[str, Listed]) -> None:
    present = [cell for cell in cells(data_dir) if cell.task is task and not is_large(cell)]
    if not present:
        pytest.skip(f"no file of {task.name} in {data_dir}")
    for cell in present:
        check(cell, manifest, data_dir)


@pytest.mark.slow
def test_every_row_of_the_largest_files_is_read(data_dir: Path, manifest: dict[str, Listed]) -> None:
    large = [cell for cell in cells(data_dir) if is_large(cell)]
    assert len(large) == 69
    for cell in large:
        check(cell, manifest, data_dir)


def test_a_file_of_the_manifest_is_read_by_a_task_or_says_why_not(data_dir: Path, manifest: dict[str, Listed]) -> None:
    read = {
        path.relative_to(data_dir).as_posix()
        for task, split, language, _ in cells(data_dir)
        for path in tasks.data_files(task, split, language, data_dir)
    }
    assert read <= set(manifest)
    unread = set(manifest) - read
    assert {path for path in unread if not any(fnmatch(path, pattern) for pattern in NOT_DECLARED)} == set()
    assert not {manifest[path].language for path in unread if path.startswith("raw_leipzig")} & set(tasks.LANGUAGES)
    assert {pattern for pattern in NOT_DECLARED if not any(fnmatch(path, pattern) for path in unread)} == set()


def test_every_answer_stands_at_its_offset(data_dir: Path) -> None:
    """No official file at hand needs a rule for answers that do not."""
    counted = 0
    for cell in cells(data_dir):
        if cell.task.kind.name == "span":
            for example in tasks.examples(cell.task, cell.split, cell.language, data_dir):
                assert isinstance(example, Passage)
                for text, start in example.answers:
                    assert example.context[start : start + len(text)] == text
                    counted += 1
    assert counted > 90_000


def test_mlqa_in_two_languages_is_read(data_dir: Path, manifest: dict[str, Listed]) -> None:
    for path in sorted(data_dir.glob("mlqa/*.json.gz")):
        rows = list(readers.squad(path))
        assert len(rows) == manifest[f"mlqa/{path.name}"].count
    assert len({row["id"] for row in rows}) == len(rows)


def test_xquad_r_is_xquad_with_13014_candidates(data_dir: Path, manifest: dict[str, Listed]) -> None:
    """LAReQA's README counts 13,014 candidate sentences over 11 languages, 1,180 of them English."""
    entries = tasks.examples(tasks.find("lareqa"), "test", "mul", data_dir)
    queries = [entry for entry in entries if isinstance(entry, Entry) and entry.is_query]
    candidates = {entry.id: entry for entry in entries if isinstance(entry, Entry) and not entry.is_query}
    counts = Counter(entry.language for entry in candidates.values())
    assert (len(candidates), counts["en"], counts["th"], len(counts)) == (13_014, 1_180, 852, 11)
    assert Counter(entry.language for entry in queries) == dict.fromkeys(counts, 1_190)
    for code in counts:
        assert manifest[f"xquad_r/{code}.json.gz"].count == 1_190
        path = data_dir / "xquad_r" / f"{code}.json.gz"
        answers = {row["id"]: row["answers"][0][0] for row in readers.squad(path)}
        found = {}
        for query in queries:
            assert [candidates[gold].language for gold in query.golds] == list(counts), "one answer in each language"
            found[query.id.split()[1]] = next(candidates[g] for g in query.golds if candidates[g].language == code)
        assert all(answer.strip() in found[id].context for id, answer in answers.items())
        assert all(answer.strip()[:2] in found[id].text for id, answer in answers.items()), "it starts there"
        original = data_dir / "xquad" / f"xquad.{code}.json.gz"
        assert code == "el" or list(readers.squad(original)) == list(readers.squad(path))


def test_the_mining_stand_in_reads_every_row_of_xnli_dev(data_dir: Path, manifest: dict[str, Listed]) -> None:
    task = tasks.find("bucc-standin")
    for code in task.languages:
        rows = list(readers.hidden_pairs(*(data_dir / f"xnli/dev-{side}.tsv.gz" for side in (code, "en"))))
        assert len(rows) == manifest[f"xnli/dev-{code}.tsv.gz"].count * 4 // 3
        read = [e for split in ("dev", "test") for e in tasks.examples(task, split, code, data_dir)]
        assert [e.text for e in read if isinstance(e, Entry)] == [row["text"] for row in rows]
        assert sum(len(e.golds) for e in read if isinstance(e, Entry)) == 830


def test_sentences_inferred_are_mostly_those_of_the_release(data_dir: Path) -> None:
    """Our own rule against XQuAD-R's English breaks: the sentence of the answer is what training reads."""
    path = data_dir / "xquad_r" / "en.json.gz"
    entries = list(readers.lareqa(path))
    texts = {row["id"]: row["text"] for row in entries if not row["is_query"]}
    released = [texts[row["golds"][0]].strip() for row in entries if row["is_query"]]
    inferred = [row["sentence"].strip() for row in readers.squad_sentences(path)]
    same = sum(one == two for one, two in zip(released, inferred, strict=True))
    assert same >= 0.95 * len(released)


def test_mewsli_x_mentions_are_queries_of_one_sentence(
    data_dir: Path, manifest: dict[str, Listed], tmp_path: Path
) -> None:
    path = data_dir / "mewsli_x_sample" / "example_mentions.jsonl"
    entity = {"entity_id": "Q1", "description": "A thing.", "description_language": "en"}
    entities = tmp_path / "entities.jsonl"
    entities.write_text(json.dumps(entity | {"sentence_spans": [{"start": 0, "end": 8}]}))
    *queries, candidate = readers.mewsli_x(entities, path)
    assert len(queries) == manifest["mewsli_x_sample/example_mentions.jsonl"].count
    assert {row["language"] for row in queries} == {"en", "ar"}
    assert all(row["golds"][0].startswith("Q") and " { " in row["text"] for row in queries)
    assert (candidate["text"], candidate["is_query"]) == ("A thing.", False)


@pytest.mark.parametrize("name", ["xnli-generalised", "paws-x-generalised", "paws-x-generalised@dev-half"])
def test_rows_in_two_languages_are_the_same_pairs(name: str, data_dir: Path) -> None:
    """Of every two languages labels agree but for the rows that are declared to be lost, in either order."""
    task = tasks.find(name)
    assert task.crosses
    crossed = tasks.find(task.crosses)
    codes = [code for code in crossed.languages if tasks.available(crossed, "dev", code, data_dir)]
    if not codes:
        pytest.skip(f"no dev rows of {crossed.name} in {data_dir}")
    rows = {code: tasks.examples(crossed, "dev", code, data_dir) for code in codes}
    for first, second in itertools.product(codes, codes):
        pairs = [(a, b) for a, b in zip(rows[first], rows[second], strict=True) if a.label == b.label]  # type: ignore[union-attr]
        assert len(pairs) == task.count("dev", f"{first}-{second}")
    pair = f"{codes[-1]}-{codes[0]}"
    assert tasks.examples(task, "dev", pair, data_dir) == [
        Pair(a.first, b.second, a.label)  # type: ignore[union-attr]
        for a, b in zip(rows[codes[-1]], rows[codes[0]], strict=True)
        if a.label == b.label  # type: ignore[union-attr]
    ]


def test_paws_x_rows_with_two_labels_were_not_translated(data_dir: Path) -> None:
    paws = tasks.find("paws-x")
    for first, second in ("en", "zh"), ("de", "ko"):
        sides = (tasks.examples(paws, "dev", code, data_dir) for code in (first, second))
        other = [(a, b) for a, b in zip(*sides, strict=True) if a.label != b.label]  # type: ignore[union-attr]
        assert all("NS" in (a.first, a.second, b.first, b.second) for a, b in other)  # type: ignore[union-attr]


# ------------------------------------------------------------ leaks between slices and targets


def texts(name: str, split: str, data_dir: Path, language: str = "en") -> list[Passage]:
    examples = tasks.examples(tasks.find(name), split, language, data_dir)
    assert all(isinstance(example, Passage) for example in examples)
    return examples  # type: ignore[return-value]


def paragraphs(examples: list[Passage]) -> set[str]:
    return {" ".join(example.context.split()) for example in examples}


def test_the_squad_subset_shares_nothing_with_xquad_and_the_halves_do(data_dir: Path) -> None:
    xquad = texts("xquad", "test", data_dir)
    ids = {example.id for example in xquad}
    subset, half = texts("squad-v1@subset", "train", data_dir), texts("squad-v1@dev-halves", "train", data_dir)
    assert not ids & {example.id for example in subset}
    assert not paragraphs(subset) & paragraphs(xquad)
    assert len(ids & {example.id for example in half}) == 629
    other = texts("squad-v1@dev-halves", "dev", data_dir)
    assert len(ids & {example.id for example in other}) == 1_190 - 629
    assert not paragraphs(half) & paragraphs(other)


def test_squad_v2_without_xquad_keeps_5349_of_6078_questions(data_dir: Path) -> None:
    xquad = paragraphs(texts("xquad", "test", data_dir))
    whole, kept = (texts(f"squad-v2@{name}", "train", data_dir) for name in ("half", "half-without-xquad"))
    assert (len(whole), len(kept)) == (6_078, 5_349)
    assert len(paragraphs(whole) & xquad) == 78
    assert not paragraphs(kept) & xquad
    assert kept == [example for example in whole if " ".join(example.context.split()) not in xquad]
    assert sum(not example.answers for example in whole) == 3_168
    assert paragraphs(kept) & paragraphs(texts("squad-v1@dev-halves", "dev", data_dir)), "as its overlaps say"
