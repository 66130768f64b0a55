"""What a task is: examples, kinds, sources, splits and the Task itself; plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias, get_args

from xstilts.metrics import METRICS
from xstilts.spec import one_of

from .languages import PAIR
from .languages import language as _language
from .readers import Row

SPLITS = ("train", "dev", "test")
NOT_STATED = "not stated"
MINIATURE_NOTE = "miniature: made, not collected"
_NAME = re.compile(r"[a-z0-9][a-z0-9+@._-]*")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences and the label of the pair."""

    first: str
    second: str
    label: str


@dataclass(frozen=True, slots=True)
class Text:
    """Monolingual text: one sentence or paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bitext:
    """A sentence in the task's language (``first``) and its English translation (``second``).

    To train a dual encoder: a query and the candidate that belongs to it; ``context`` is text that the second is
    encoded together with, as its pair, and ``negative`` a candidate that does not belong to it, though it is near.
    """

    first: str
    second: str
    context: str = ""
    negative: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One text that is searched for or with: a query with the ids of its right candidates, or a candidate.

    ``context`` is text that it is encoded together with, as its pair.
    """

    text: str
    id: str
    is_query: bool
    language: str
    golds: tuple[str, ...] = ()
    context: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Words and one tag for each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A question on a paragraph; ``answers``: (text, offset in ``context`` in characters), maybe none."""

    context: str
    question: str
    answers: tuple[tuple[str, int], ...]
    id: str


@dataclass(frozen=True, slots=True)
class Choices:
    """A prompt, its continuations and the index of the right one."""

    prompt: str
    choices: tuple[str, ...]
    label: int


Example: TypeAlias = Pair | Text | Bitext | Entry | Tokens | Passage | Choices


@dataclass(frozen=True)
class Classify:
    """One label of a closed set for a pair of sentences."""

    name: ClassVar[str] = "classify"
    takes: ClassVar[type] = Pair
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Embed:
    """Sentence retrieval between two aligned sides by vector similarity; training rows train a dual encoder."""

    name: ClassVar[str] = "embed"
    takes: ClassVar[type] = Bitext


@dataclass(frozen=True)
class Mine:
    """Mining of translations from two sides that are not aligned; queries are the task's language.

    A pair is extracted from a score on that is chosen on the dev split, so a measurement reads both splits.
    """

    name: ClassVar[str] = "mine"
    takes: ClassVar[type] = Entry


@dataclass(frozen=True)
class Search:
    """Queries in several languages against one pool of candidates; its one language is ``mul``.

    ``queries`` are the languages that ask, each of which has a score of its own.
    """

    name: ClassVar[str] = "search"
    takes: ClassVar[type] = Entry
    queries: tuple[str, ...]


@dataclass(frozen=True)
class MaskedLM:
    """Masked-language modelling of plain text."""

    name: ClassVar[str] = "mlm"
    takes: ClassVar[type] = Text


@dataclass(frozen=True)
class Tag:
    """One label of a closed set for every word."""

    name: ClassVar[str] = "tag"
    takes: ClassVar[type] = Tokens
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """A span of a paragraph that answers a question, or none where ``unanswerable`` questions occur."""

    name: ClassVar[str] = "span"
    takes: ClassVar[type] = Passage
    unanswerable: bool = False


@dataclass(frozen=True)
class Choose:
    """The right one of several continuations."""

    name: ClassVar[str] = "choose"
    takes: ClassVar[type] = Choices


Kind: TypeAlias = Classify | Embed | Mine | Search | MaskedLM | Tag | Span | Choose


@dataclass(frozen=True)
class Splits:
    """Which splits there are: canonical name to the name that the release uses in its file names."""

    train: str | None = None
    dev: str | None = None
    test: str | None = None

    def __iter__(self) -> Iterator[str]:
        return (name for name in SPLITS if getattr(self, name) is not None)

    def own(self, split: str) -> str:
        """The release's own name of a canonical split."""
        return str(getattr(self, split))


Through: TypeAlias = Callable[[Iterable[Row]], Iterator[Row]]


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face hub, read as Parquet from the local cache, never downloaded here.

    Attributes:
        repo: ``owner/name``.
        revision: commit (40 hex digits) or branch; what counts in identity is the commit found in the cache.
        files: canonical split to a file pattern, which may hold ``{language}``.
        columns: the file's column name to the canonical one.
        labels: label of each index in column ``label``; empty when the column holds the label itself.
        unlabelled: index that marks a row without a gold label; such rows are left out.
        rows: ``(start, stop)`` of the file's rows, counted from 0, ``None`` for all.
        through: makes other rows of all of a split's rows, such as one of several that belong together.
    """

    repo: str
    revision: str
    files: Mapping[str, str] = field(hash=False)
    columns: Mapping[str, str] = field(hash=False)
    labels: tuple[str, ...] = ()
    unlabelled: int | None = None
    rows: tuple[int, int] | None = None
    through: Through | None = None


@dataclass(frozen=True)
class Files:
    """Official release files in a data folder, plain or gzip.

    Attributes:
        path: path in the folder, with ``{split}`` (the release's own name) and ``{language}``; two paths for
            a parallel text.
        reader: a function of `readers`.
        columns: canonical names of the columns read.
        labels: as in `Hub`, for releases that write an index.
        rows: ``(start, stop)`` of the file's rows, counted from 0, ``None`` for all; or these by split, of files that
            hold several.
        codes: language code to the one the release uses, where they differ.
        through: as in `Hub`.
    """

    path: str | tuple[str, ...]
    reader: Callable[..., Iterator[Row]]
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    rows: tuple[int, int] | Mapping[str, tuple[int, int]] | None = field(default=None, hash=False)
    codes: Mapping[str, str] = field(default_factory=dict, hash=False)
    through: Through | None = None

    def paths(self, own_split: str, language: str) -> tuple[str, ...]:
        """The relative paths of one split in one language, without ``.gz``."""
        templates = (self.path,) if isinstance(self.path, str) else self.path
        return tuple(t.format(split=own_split, language=self.codes.get(language, language)) for t in templates)


def rows_of(source: Hub | Files, split: str) -> tuple[int, int] | None:
    """Which of a file's rows are a split's, ``None`` for all."""
    return source.rows.get(split) if isinstance(source.rows, Mapping) else source.rows


@dataclass(frozen=True)
class Miniature:
    """Rows of the embedded miniature world, as many as the task's ``rows`` says.

    Attributes:
        name: a set of the miniature.
        seed: another seed gives other rows.
        through: as in `Hub`; every row that it makes is made of ``each`` rows of the set.
        each: see ``through``.
    """

    name: str
    seed: int = 0
    through: Through | None = None
    each: int = 1


Source: TypeAlias = Hub | Files | Miniature


@dataclass(frozen=True)
class Task:
    """A data set, how a row becomes an example, its kind, languages, splits and metric.

    Attributes:
        name: name in studies; a slice is named ``<whole>@<slice>``.
        kind: what is predicted.
        example: canonical row to example.
        languages: codes of ``xstilts.tasks.LANGUAGES``.
        splits: the splits there are.
        source: where rows come from: one source or several in order of preference; none for a union.
        rows: official number of rows: canonical split to a count, or to counts by language, which then
            also says which languages have the split. A split that is left out is not checked.
        metric: name of the metric its papers report; always given.
        licence: licence of the data, as a listing shows it.
        official_size: rows of the official training set, the weight of proportional mixing; a slice keeps
            that of its whole.
        version: bumped when ``example`` changes what it returns.
        trained_by: task whose English training rows a zero-shot score starts from (may be the task itself); of a
            task that is searched or mined, the one that trains its dual encoder.
        trained_before: tasks that are trained on before ``trained_by``, in order.
        overlaps: ``task`` or ``task/split`` that share rows with this task's training rows; training here and
            scoring there is refused.
        members: tasks whose rows, in this order, are the rows of this union with one head.
        slice_of: the task that this one is a slice of.
        crosses: a task of pairs of sentences in several languages, row for row the same, whose rows this one joins:
            the language ``de-fr`` has the first sentence from German and the second from French.
        note: what a reader of its numbers must know.
    """

    name: str
    kind: Kind
    example: Callable[[Row], Example]
    languages: tuple[str, ...]
    splits: Splits
    source: Source | tuple[Source, ...]
    rows: Mapping[str, int | Mapping[str, int]] = field(default_factory=dict, hash=False)
    metric: str = ""
    licence: str = NOT_STATED
    official_size: int | None = None
    version: int = 1
    trained_by: str | None = None
    trained_before: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    slice_of: str | None = None
    crosses: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Check the declaration.

        Raises:
            ValueError: naming the task and the field that does not fit.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"task name {self.name!r}: expected lower-case letters, digits and + @ . _ -")
        for problem in _problems(self):
            raise ValueError(f"task {self.name!r}: {problem}")

    @property
    def is_retrieval(self) -> bool:
        """Whether it is measured by vectors, which needs no head."""
        return self.kind.takes in (Bitext, Entry)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Its sources in order of preference."""
        return self.source if isinstance(self.source, tuple) else (self.source,)

    def languages_of(self, split: str) -> tuple[str, ...]:
        """The languages that have ``split``, in declared order.

        Raises:
            ValueError: for a split the task does not have.
        """
        one_of(f"split of task {self.name!r}", split, self.splits)
        counts = self.rows.get(split)
        if isinstance(counts, Mapping):
            return tuple(code for code in self.languages if code in counts)
        return self.languages

    def count(self, split: str, language: str) -> int | None:
        """The official number of rows, ``None`` where none is declared.

        Raises:
            ValueError: for a split, or a language of the split, that the task does not have.
        """
        one_of(f"language of {self.name}/{split}", language, self.languages_of(split))
        counts = self.rows.get(split)
        return counts[language] if isinstance(counts, Mapping) else counts


def _problems(task: Task) -> Iterator[str]:
    if not isinstance(task.kind, get_args(Kind)):
        known = ", ".join(kind.__name__ for kind in get_args(Kind))
        yield f"kind is {task.kind!r}: expected an instance of one of {known}"
    labels = getattr(task.kind, "labels", None)
    if labels is not None and (isinstance(labels, str) or len(labels) < 2 or len(set(labels)) != len(labels)):
        yield f"kind.labels is {labels!r}: expected at least two different labels"
    if not callable(task.example):
        yield "example: expected a function from a row to an example"
    if isinstance(task.languages, str) or not task.languages or len(set(task.languages)) != len(task.languages):
        yield f"languages is {task.languages!r}: expected a tuple of different language codes"
    for code in task.languages:
        _language(code)
    if not list(task.splits):
        yield "splits is empty: expected at least one of train, dev, test"
    if sum(map(bool, (task.members, task.sources, task.crosses))) != 1:
        yield "expected either a source, the members of a union, or the task that it crosses"
    if bool(task.crosses) != all(PAIR in code for code in task.languages):
        yield f"languages is {task.languages!r}: expected pairs such as 'de-fr' where it crosses a task, and only there"
    if task.crosses and not isinstance(task.kind, Classify):
        yield f"crosses is {task.crosses!r}: expected a kind of pairs of sentences, got {task.kind.name}"
    for source in task.sources:
        if not isinstance(source, Hub | Files | Miniature):
            yield f"source is {source!r}: expected Hub, Files or Miniature"
        if isinstance(source, Hub) and not set(source.files) <= set(task.splits):
            yield f"source.files has the splits {list(source.files)}: expected some of {list(task.splits)}"
        if isinstance(source, Miniature) and not set(task.splits) <= set(task.rows):
            yield f"rows has the splits {list(task.rows)}: expected a number for each of {list(task.splits)}"
        if isinstance(source, Hub | Files):
            for start, stop in filter(None, (rows_of(source, split) for split in task.splits)):
                if not 0 <= start < stop:
                    yield f"source.rows is {source.rows}: expected 0 <= start < stop"
    for split, counts in task.rows.items():
        if split not in tuple(task.splits):
            yield f"rows has the split {split!r}: expected one of {', '.join(task.splits)}"
        by_language = counts if isinstance(counts, Mapping) else {"": counts}
        unknown = sorted(set(by_language) - {"", *task.languages})
        if unknown or not by_language:
            yield f"rows[{split!r}] has the languages {unknown}: expected some of the task's own"
        if any(not isinstance(count, int) or count < 1 for count in by_language.values()):
            yield f"rows[{split!r}] is {counts}: expected counts above 0"
    if not task.licence:
        yield "licence is empty: expected a name, or leave it out"
    metrics = [metric for kind, metric in METRICS if kind == task.kind.name]
    if not task.metric or (metrics and task.metric not in metrics):
        yield f"metric is {task.metric!r}: expected {', '.join(metrics) or 'a name'} for kind {task.kind.name!r}"
    if task.trained_before and (not task.trained_by or task.trained_by in task.trained_before):
        yield f"trained_before is {task.trained_before}: expected tasks before another one in trained_by"
    if task.official_size is not None and task.official_size < 1:
        yield f"official_size is {task.official_size}: expected a count above 0, or None"
    if task.version < 1:
        yield f"version is {task.version}: expected 1 or more"
    for overlap in task.overlaps:
        if overlap.partition("/")[2] not in ("", *SPLITS):
            yield f"overlaps has {overlap!r}: expected 'task' or 'task/split'"


def kind_declaration(kind: Kind) -> dict[str, Any]:
    """The kind as data, for identity."""
    return {"kind": kind.name, **asdict(kind)}


def example_problem(kind: Kind, example: Example) -> str | None:
    """What is wrong with an example of a kind, as ``expected ..., got ...``; ``None`` if nothing is."""
    if not isinstance(example, kind.takes):
        return f"expected a {kind.takes.__name__} for kind {kind.name!r}, got {example!r}"
    match example:
        case Text(text=text):
            texts: Sequence[Any] = (text,)
        case Pair(first=first, second=second):
            texts = (first, second)
        case Bitext(first=first, second=second, context=context, negative=negative):
            texts = (first, second, context, negative)
        case Entry(text=text, id=id, language=code, golds=golds, context=context):
            texts = (text, id, code, *golds, context)
        case Tokens(words=words, tags=tags):
            texts = (*words, *tags)
            if not words or len(words) != len(tags):
                return f"expected one tag for every word, got {len(words)} words and {len(tags)} tags"
        case Passage(context=context, question=question, answers=answers):
            texts = (context, question, *(text for text, _ in answers))
        case Choices(prompt=prompt, choices=choices):
            texts = (prompt, *choices)
    for text in texts:
        if not isinstance(text, str):
            return f"expected text, got {text!r}"
    if isinstance(example, Passage):
        for answer, start in example.answers:
            if example.context[start : start + len(answer)] != answer or start < 0:
                found = example.context[max(start, 0) :][: len(answer)]
                return f"expected the answer {answer!r} at offset {start}, got {found!r}"
        if not example.answers and isinstance(kind, Span) and not kind.unanswerable:
            return "expected an answer, got none"
    if isinstance(example, Entry) and example.golds and not example.is_query:
        return f"expected no right candidates of a candidate, got {', '.join(example.golds)}"
    if isinstance(example, Choices) and example.label not in range(len(example.choices)):
        return f"expected a label below {len(example.choices)}, got {example.label!r}"
    if isinstance(example, Pair | Tokens) and isinstance(kind, Classify | Tag):
        for label in (example.label,) if isinstance(example, Pair) else example.tags:
            if label not in kind.labels:
                return f"expected a label among {', '.join(kind.labels)}, got {label!r}"
    return None
