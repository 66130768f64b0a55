"""An example in another language: which sentences are translated, what is made of them, and rows of it on disk."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from xstilts.spec import one_of

from .languages import MINIATURE_LANGUAGES
from .readers import jsonl
from .source import examples
from .task import Bitext, Choices, Example, Miniature, Pair, Passage, Task, example_problem

KINDS = ("classify", "span", "choose", "embed")
"""The kinds of task whose rows can be translated: their labels belong to whole texts, or to a span that is found."""
BY_BOTH, BY_SEARCH, BY_MARKS = (f"answers found by {way}" for way in ("marks and search", "search", "marks alone"))
LOST, AMBIGUOUS = "the answer is not in the translation", "the answer is in the translation more than once"
_UNSPACED = ("ja", "km", "lo", "my", "th", "zh")  # languages written without spaces between sentences
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\d_a-z]|\d)|(?<=[。！？।؟])\s*|\s*\n\s*")
_CLOSING = tuple(",.;:!?%)]»”")


@dataclass(frozen=True)
class Way:
    """How texts are translated.

    Attributes:
        say: a sentence to its translation; raises ``KeyError`` with a sentence that has none.
        target: code of the language that is translated to.
        splits: whether a text is translated sentence by sentence, or as it stands.
        marks: what is put around an answer and stays there in the translation, if the translator keeps anything.
    """

    say: Callable[[str], str]
    target: str
    splits: bool = True
    marks: tuple[str, str] | None = None

    @property
    def space(self) -> str:
        """What stands between two sentences."""
        return "" if self.target in _UNSPACED else " "

    def text(self, text: str) -> str:
        """The translation of a text; white space alone stays."""
        parts = sentences(text) if self.splits else [text]
        return self.space.join(self.say(part) for part in parts if part.strip()) if text.strip() else text


def sentences(text: str) -> list[str]:
    """Cut a text after full stops, exclamation and question marks that a capital or a number follows, and at line ends.

    An abbreviation before a name is cut too: nothing is lost, since the parts are joined again.
    """
    ends = [match.end() for match in _END.finditer(text)]
    parts = (text[start:end].strip() for start, end in itertools.pairwise((0, *ends, len(text))))
    return [part for part in parts if part]


class Said(NamedTuple):
    """An example in another language, ``None`` when it was lost, and what there is to count of it."""

    example: Example | None
    note: str = ""


def translated(example: Example, way: Way) -> Said:
    """Translate the texts of an example; its label stays.

    Of a passage the first answer is kept. Its sentence is translated with marks around it, and without. What stands
    between the marks is the answer if it is also the answer's own translation, or the answer itself. Else these are
    looked for in the translation without marks, since a translator that moves words may leave the marks behind. An
    answer that is not there is what stands between the marks. An example with neither, or with an answer that is there
    more than once, is lost.

    Raises:
        KeyError: a sentence without a translation.
        ValueError: an example whose label belongs to words, or that is half a translation itself.
    """
    match example:
        case Pair(first=first, second=second):
            return Said(replace(example, first=way.text(first), second=way.text(second)))
        case Bitext(first=first, second=second, context=context):
            return Said(Bitext(way.text(first), way.text(second), way.text(context)))
        case Choices(prompt=prompt, choices=choices):
            return Said(replace(example, prompt=way.text(prompt), choices=tuple(map(way.text, choices))))
        case Passage():
            return _passage(example, way)
    raise ValueError(f"a {type(example).__name__} is not translated: expected one of the kinds {', '.join(KINDS)}")


def _passage(example: Passage, way: Way) -> Said:
    question = way.text(example.question)
    if not example.answers:
        return Said(replace(example, context=way.text(example.context), question=question))
    given, start = example.answers[0]
    answer = given.strip()
    start += len(given) - len(given.lstrip())
    before, sentence, after = _around(example.context, start, start + len(answer), way.splits)
    at = example.context.index(sentence, len(before))
    plain, own = way.say(sentence), way.say(answer)
    hit, note = None, BY_BOTH
    if way.marks and not any(mark in sentence for mark in way.marks):
        opening, closing = way.marks
        stop = start - at + len(answer)
        marked = way.say(f"{sentence[: start - at]}{opening}{answer}{closing}{sentence[stop:]}")
        hit = _between(marked, opening, closing)
    if hit is None or not _same(hit[0][hit[1] : hit[2]], own, answer):
        spans = _occurrences(own, plain, way.space) or _occurrences(answer, plain, way.space)
        if len(spans) == 1:
            hit, note = (plain, *spans[0]), BY_SEARCH
        elif hit is None or spans:
            return Said(None, AMBIGUOUS if spans else LOST)
        else:
            note = BY_MARKS
    text, begin, end = hit
    left, right = (way.text(part) if part.strip() else "" for part in (before, after))
    left += way.space if left else ""
    context = left + text + (way.space + right if right else "")
    answers = ((text[begin:end], len(left) + begin),)
    return Said(Passage(context, question, answers, example.id), note)


def _around(text: str, start: int, end: int, splits: bool) -> tuple[str, str, str]:
    """What stands before, in and after the sentence that holds a span, or the sentences that it lies in."""
    cuts = [match.end() for match in _END.finditer(text)] if splits else []
    first = max((cut for cut in cuts if cut <= start), default=0)
    last = min((cut for cut in cuts if cut >= end), default=len(text))
    return text[:first], text[first:last].strip() if splits else text, text[last:]


def _between(marked: str, opening: str, closing: str) -> tuple[str, int, int] | None:
    """A text without its marks, and the span that they enclose; ``None`` unless each is there once, around something.

    A space that the marks brought with them goes with them.
    """
    if marked.count(opening) != 1 or marked.count(closing) != 1:
        return None
    left, _, rest = marked.partition(opening)
    answer, found, right = rest.partition(closing)
    answer = answer.strip()
    if not found or not answer:
        return None
    left = left.rstrip() + " " if left.rstrip() != left else left
    after = right.lstrip()
    right = after if after == right or after[:1] in _CLOSING else f" {after}"
    return left + answer + right.rstrip(), len(left), len(left) + len(answer)


def _same(found: str, *texts: str) -> bool:
    """Whether a text is one of others, whatever the case and a full stop at the end."""
    return found.removesuffix(".").casefold() in {text.strip().removesuffix(".").casefold() for text in texts}


def _occurrences(sought: str, text: str, space: str) -> list[tuple[int, int]]:
    """Where a text holds another one, whatever the case, as whole words in a language that separates them."""
    sought = sought.strip().removesuffix(".")
    if not sought:
        return []
    edge = (r"(?<!\w)", r"(?!\w)") if space else ("", "")
    pattern = re.compile(edge[0] + re.escape(sought) + edge[1], re.IGNORECASE)
    return [match.span() for match in pattern.finditer(text)]


def oracle(task: Task, split: str, source: str, target: str) -> list[Example]:
    """The rows of a task of the miniature in another language: the same things said, row by row.

    Raises:
        ValueError: for a task with other rows, or a language that the miniature has not.
    """
    one_of("language of the miniature", target, MINIATURE_LANGUAGES)
    if task.members:
        return [row for name in task.members for row in oracle(_find(name), split, source, target)]
    made = [one for one in task.sources if isinstance(one, Miniature)]
    if not made:
        raise ValueError(f"{task.name} is no task of the miniature: only that one's rows are there in {target!r}")
    count = task.count(split, source)
    assert count is not None, "a miniature task declares its number of rows"
    return examples(
        replace(task, languages=(target,), rows=dict.fromkeys(task.splits, count), source=made[0]), split, target
    )


def is_miniature(task: Task) -> bool:
    """Whether all of a task's rows are the miniature's."""
    if task.members:
        return all(is_miniature(_find(name)) for name in task.members)
    return all(isinstance(source, Miniature) for source in task.sources)


def write_rows(path: Path, rows: Iterable[Example]) -> None:
    """Write examples as JSON lines, gzip without a time in it, so that equal rows are equal files."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream:
        for row in rows:
            stream.write((json.dumps(asdict(row), ensure_ascii=False) + "\n").encode())


def read_rows(path: Path, task: Task) -> list[Example]:
    """Read what `write_rows` wrote.

    Raises:
        ValueError: with file and line, for a row that is no example of the task.
    """
    names = tuple(field.name for field in fields(task.kind.takes))
    rows: list[Example] = []
    for row in jsonl(path, columns=names):
        example = task.kind.takes(**{name: _tuples(row[name]) for name in names})
        try:
            problem = example_problem(task.kind, example)
        except (TypeError, ValueError) as error:
            problem = f"expected a row of task {task.name!r}: {error}"
        if problem:
            raise ValueError(f"{row.where}: {problem}")
        rows.append(example)
    return rows


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _find(name: str) -> Task:
    from xstilts import tasks

    return tasks.find(name)
