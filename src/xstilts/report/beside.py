"""Two studies side by side: differences of runs that are alike but for what sets the studies apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xstilts.spec import write_atomically
from xstilts.store import Store
from xstilts.tasks.languages import language

from . import latex
from .blocks import Block, Cell, Code, Facts, Fold, Heading, Items, Number, Table, Text, code, markdown
from .estimates import over_differences
from .html import page
from .rows import IN_TRANSLATION, Document, rows
from .stages import command, listed
from .stats import Run, Section, Summary, sections, series, tasks_of
from .tables import FOOTNOTE, MISSING, percent, points, seeds
from .views import View, reading, views

if TYPE_CHECKING:
    import pyarrow as pa

LETTERS = ("A", "B")
_ALIKE = ("start", "protocol", "numeric_path")
_MAX_LANGUAGES = 60


class Pair(NamedTuple):
    """Two runs of the same tasks and seeds, one of each study, with their averages over the same languages.

    ``values`` lacks a run that lacks a language, and then there is no difference.
    """

    runs: tuple[Run, Run]
    values: tuple[float | None, float | None]

    @property
    def difference(self) -> float | None:
        """The second less the first."""
        first, second = self.values
        return None if first is None or second is None else second - first


class Matched(NamedTuple):
    """What two studies say of one target at one cell.

    Attributes:
        sections: of each study, its values those that the view reads.
        views: of each; a profile reads another layer in an encoder of another depth.
        profiles: those that both views are of.
        languages: measured by both in every run, on the same rows.
        others: languages of one study alone, by why.
        pairs: the runs that both have.
        alone: of each study the runs that the other lacks.
        unclear: of each study the runs that stand for one another without a choice.
    """

    sections: tuple[Section, Section]
    views: tuple[View, View]
    profiles: tuple[str, ...]
    languages: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]]
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[Run, ...], tuple[Run, ...]]
    unclear: tuple[tuple[Run, ...], tuple[Run, ...]]


def write(first: tuple[Store, str], second: tuple[Store, str], folder: Path) -> list[Path]:
    """Write ``comparison.md``, ``comparison.html``, ``pairs.parquet``, ``pairs.csv`` and ``tables`` of two studies.

    Reads plans and records only, as a study's own report. ``pairs`` has a row for every language of every pair of runs.

    Args:
        first: a store and a study in it.
        second: the same store with another study, or another store.
        folder: where to write.

    Raises:
        ValueError: for one study twice, an unknown plan, or as the reports of the two.
    """
    import pyarrow.csv
    import pyarrow.parquet

    if first == second:
        raise ValueError(f"report {first[1]} {second[1]}: expected two studies")
    plans = [store.plan(name) for store, name in (first, second)]
    tables = [rows(store, plan) for (store, _), plan in zip((first, second), plans, strict=True)]
    both = [sections(table, plan) for table, plan in zip(tables, plans, strict=True)]
    found = list(matched(both, [_contents(table) for table in tables]))
    blocks = list(_document(plans, [store.root.resolve().name for store, _ in (first, second)], both, found))
    folder.mkdir(parents=True, exist_ok=True)
    table = pairs_table(found)
    pyarrow.parquet.write_table(table, folder / "pairs.parquet", compression="zstd")
    pyarrow.csv.write_csv(table, folder / "pairs.csv")
    for name, text in {"comparison.md": markdown(blocks), "comparison.html": page(blocks)}.items():
        write_atomically(folder / name, text)
    names = ("comparison.md", "comparison.html", "pairs.parquet", "pairs.csv")
    return [*(folder / name for name in names), latex.write(blocks, folder)]


Contents = Mapping[tuple[str, str, str], frozenset[str]]


def _contents(table: pa.Table) -> Contents:
    """What the rows of every task, split and language were, by their hashes."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    names = ("task", "split", "language", "data_content")
    for row in table.select(names).group_by(list(names)).aggregate([]).to_pylist():
        found[row["task"], row["split"], row["language"]].add(row["data_content"])
    return {place: frozenset(contents) for place, contents in found.items()}


def matched(both: Sequence[Sequence[Section]], contents: Sequence[Contents]) -> Iterator[Matched]:
    """What two studies have in common, target by target, in the order of the first.

    Sections are of one target when task, split, metric and its version, the target's own training and whether rows were
    translated are the same; of several ones in the second study those count that share most of `_ALIKE`.
    """
    for first in both[0]:
        others = [second for second in both[1] if _target(second) == _target(first)]
        most = max((_likeness(first, second) for second in others), default=0)
        for second in others:
            if _likeness(first, second) == most:
                for own, other, profiles in _same_views(first, second):
                    yield _matched((first, second), (own, other), profiles, contents)


def _target(section: Section) -> tuple[Any, ...]:
    key = section.key
    names = ("task", "split", "metric", "metric_version", "target")
    return (*(key[name] for name in names), IN_TRANSLATION in key["protocol"])


def _likeness(first: Section, second: Section) -> int:
    return sum(first.key[name] == second.key[name] for name in _ALIKE)


def _same_views(first: Section, second: Section) -> Iterator[tuple[View, View, tuple[str, ...]]]:
    """Views of one profile, or of the same pooling and direction where none covers the task."""
    for own, other in product(views(first), views(second)):
        shared = tuple(name for name in own.names if name in other.names)
        bare = not own.names and not other.names and own.reference == other.reference
        if shared or (bare and own.at(None) == other.at(None)):
            yield own, other, shared


def _matched(
    both: tuple[Section, Section], of: tuple[View, View], profiles: tuple[str, ...], contents: Sequence[Contents]
) -> Matched:
    first, second = (reading(section, view) for section, view in zip(both, of, strict=True))
    task, split = first.key["task"], first.key["split"]
    shared = [code for code in of[0].languages if code in of[1].languages]
    hashes = {code: {found.get((task, split, code), frozenset()) for found in contents} for code in shared}
    same = tuple(code for code in shared if len(hashes[code]) == 1)
    others = {
        "only A measures in every run": tuple(code for code in of[0].languages if code not in shared),
        "only B measures in every run": tuple(code for code in of[1].languages if code not in shared),
        "rows of other contents": tuple(code for code in shared if code not in same),
    }
    pairs, alone, unclear = paired(first.runs, second.runs)
    found = tuple(
        Pair((one, two), (first.mean(one, of[0].where, same), second.mean(two, of[1].where, same)))
        for one, two in pairs
    )
    return Matched((first, second), of, profiles, same, others, found, alone, unclear)


_Runs = tuple[Run, ...]


def paired(first: _Runs, second: _Runs) -> tuple[list[tuple[Run, Run]], tuple[_Runs, _Runs], tuple[_Runs, _Runs]]:
    """Runs of the same tasks, in whatever order, and the same seeds, in the order of the first study.

    Where a study has several, those pair that are also mixed and trained alike, in words and at last by recipe.

    Returns:
        The pairs; of each study the runs that the other has nothing for; and those of which several would do.
    """
    left = [list(first), list(second)]
    pairs: list[tuple[Run, Run]] = []
    how = ("tasks", "mlm", "method", "policy", "budget")
    for names in ((), how, (*how, "recipe")):
        groups: dict[tuple[Any, ...], tuple[list[Run], list[Run]]] = {}
        for side, runs in enumerate(left):
            for run in runs:
                key = (*_place(run), *(getattr(run, name) for name in names))
                groups.setdefault(key, ([], []))[side].append(run)
        pairs += [(one[0], two[0]) for one, two in groups.values() if len(one) == len(two) == 1]
        taken = [{pair[side].model for pair in pairs} for side in (0, 1)]
        left = [[run for run in runs if run.model not in taken[side]] for side, runs in enumerate(left)]
    places = [{_place(run) for run in runs} for runs in (first, second)]
    alone = tuple(tuple(run for run in left[side] if _place(run) not in places[1 - side]) for side in (0, 1))
    unclear = tuple(tuple(run for run in left[side] if _place(run) in places[1 - side]) for side in (0, 1))
    pairs.sort(key=lambda pair: first.index(pair[0]))
    return pairs, (alone[0], alone[1]), (unclear[0], unclear[1])


def _place(run: Run) -> tuple[Any, ...]:
    return (run.k, tasks_of(run), run.seed, run.target_seed)


# -- the page -------------------------------------------------------------------------------------------------


def _document(
    plans: Sequence[Document],
    stores: Sequence[str],
    both: Sequence[Sequence[Section]],
    found: Sequence[Matched],
) -> Iterator[Block]:
    words = [plan["study"] for plan in plans]
    if len(set(stores)) > 1:
        words = [f"{store}:{name}" for store, name in zip(stores, words, strict=True)]
    names = list(map(code, words))
    yield Heading(1, f"Studies {names[0]} and {names[1]} side by side")
    yield Text(
        f"A is {names[0]}, B is {names[1]}. A difference is B less A, of two runs of the same "
        "intermediate tasks, seeds, target and languages, on the same rows; means are over such pairs, with the "
        "interval of the paired differences over subsets of tasks and seeds. What only one study has is in no number "
        "and is listed."
    )
    if any(section.miniature for own in both for section in own):
        yield Text("**Miniature.** Some numbers rest on embedded data made for trying things out.", notice=True)
    parameters = [plan["parameters"] for plan in plans]
    changed = [
        (name, *(code(str(own[name])) if own.get(name) else MISSING for own in parameters))
        for name in dict.fromkeys(name for own in parameters for name in own)
        if parameters[0].get(name) != parameters[1].get(name)
    ]
    if changed:
        yield Table("Parameters that differ", ("parameter", *LETTERS), tuple(changed), 3)
    for one in found:
        yield from _compared(one)
    lacking = list(_one_only(both, found))
    if lacking:
        yield Heading(2, "Targets of one study alone")
        yield Items(tuple(lacking))
    yield Heading(2, "Where the numbers come from")
    yield Text("The commands; folders of data sets and stores go with `--data` and `--store`:")
    yield Code("\n".join([*map(command, plans), f"xstilts report {' '.join(words)} --out comparison"]))
    yield Text("Every pair of runs in every language is a row of `pairs.parquet` and `pairs.csv`.")


def _one_only(both: Sequence[Sequence[Section]], found: Sequence[Matched]) -> Iterator[str]:
    known = {id(section.key) for one in found for section in one.sections}
    for letter, own in zip(LETTERS, both, strict=True):
        for section in own:
            if id(section.key) not in known:
                key = section.key
                after = f" after {key['target']}" * bool(key["target"])
                yield f"{letter}: {key['task']}/{key['split']}{after}, {key['metric']} {key['metric_version']}, " + (
                    f"{key['encoder']}, {key['protocol']}, {key['numeric_path']}"
                )


def _compared(one: Matched) -> Iterator[Block]:
    key = one.sections[0].key
    after = f" after {key['target']}" * bool(key["target"])
    names = ", ".join(map(code, one.profiles)) or "no profile"
    by = f" by {key['metric']}, version {key['metric_version']}"
    yield Heading(2, f"{key['task']}/{key['split']}{after}{by}: {names}")
    yield from _apart(one)
    yield Facts(
        {letter: _about(*of) for letter, of in zip(LETTERS, zip(one.sections, one.views, strict=True), strict=True)}
    )
    for why, codes in one.others.items():
        if codes:
            yield Text(f"Languages left out, {why}: {' '.join(codes)}.")
    if not one.languages or not one.pairs:
        yield Text("**Nothing to compare**: no run or no language is in both.", notice=True)
    else:
        yield Text(f"Mean over {len(one.languages)} languages: {' '.join(one.languages)}.")
        yield _by_k(one)
        by_language = _by_language(one)
        yield by_language if len(one.languages) <= _MAX_LANGUAGES else Fold(by_language.caption, (by_language,))
        yield Fold("Every pair of runs", (_by_pair(one),))
    if any(run.collapsed for pair in one.pairs for run in pair.runs):
        yield Text(FOOTNOTE.partition(" The run")[0])
    if lines := list(_left_out(one)):
        yield Text("In no difference:")
        yield Items(listed(lines))


def _apart(one: Matched) -> Iterator[Block]:
    """What else the two differ in beside what they are compared for, said before any number."""
    trained = [sorted({r.train_numeric_path for r in own.runs if r.train_numeric_path}) for own in one.sections]
    told = {
        "measured on different numeric paths": [own.key["numeric_path"] for own in one.sections],
        "trained on different numeric paths": [", ".join(paths) for paths in trained],
        "measured in different ways": [own.key["protocol"] for own in one.sections],
        "read at a published layer in one study and at a scaled one in the other": [
            "scaled" if view.scaled else "published" for view in one.views
        ],
        "trained on the whole set that the profile asks for in one study and on a slice in the other": [
            "slice" if view.stand_in else "whole" for view in one.views
        ],
    }
    for what, (own, other) in told.items():
        if own != other and own and other:
            yield Text(f"**The two were {what}** (A: {own}; B: {other}): a difference holds that too.", notice=True)


def _about(section: Section, view: View) -> str:
    key = section.key
    layer = f", layer {view.layer} of {section.num_layers}, {view.pooling} pooling, {view.direction}"
    scaled = ", scaled to this depth: not the published protocol" * view.scaled
    started = f" after {key['start']}" * bool(key["start"])
    trained = "; ".join(one.name for one in series(section))
    return f"{key['encoder']}{started}{layer * (view.layer is not None)}{scaled}; {key['protocol']}; {trained}"


def _by_k(one: Matched) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for k, pairs in _ks(one.pairs).items():
        known = [pair for pair in pairs if pair.difference is not None]
        count = f"{len(known)} of {len(pairs)}" if len(known) < len(pairs) else str(len(known))
        values = ([value for pair in known if (value := pair.values[side]) is not None] for side in (0, 1))
        means = (math.fsum(own) / len(own) if own else None for own in values)
        changes = {pair.runs[0]: pair.difference for pair in known if pair.difference is not None}
        own, change = one.sections[0].in_percent, over_differences(one.sections[0], changes)
        lines.append((str(k), count, *(percent(mean, own) for mean in means), _change(one, change)))
    caption = "Means over the pairs of runs by number of intermediate tasks, differences ± half of their 95 % interval"
    return Table(caption, ("k", "pairs", *LETTERS, "B less A"), tuple(lines))


def _by_language(one: Matched) -> Table:
    groups = _ks(one.pairs)
    lines: list[tuple[Cell, ...]] = []
    for codes in one.languages:
        cells: list[Cell] = []
        for pairs in groups.values():
            scores = {p.runs[0]: [_scores(one, side, p.runs[side]).get(codes) for side in (0, 1)] for p in pairs}
            known = {run: b - a for run, (a, b) in scores.items() if a is not None and b is not None}
            number = _change(one, over_differences(one.sections[0], known))
            short = f" ({len(known)} of {len(pairs)})" * (len(known) < len(pairs))
            cells.append(number._replace(text=number.text + short))
        lines.append((f"{language(codes).name} ({codes})", language(codes).script, *cells))
    header = ("language", "script", *(f"k = {k}" for k in groups))
    return Table("B less A in every language, ± half of its 95 % interval", header, tuple(lines), 2)


def _by_pair(one: Matched) -> Table:
    own = one.sections[0].in_percent
    lines: list[tuple[Cell, ...]] = []
    for pair in one.pairs:
        number = _change(one, Summary(pair.difference, None, None, 1))
        mark = " †" * (pair.runs[1].collapsed and not pair.runs[0].collapsed)
        values = (percent(value, own) for value in pair.values)
        lines.append((pair.runs[0].name + mark, str(pair.runs[0].k), seeds(pair.runs[0]), *values, number))
    return Table("Every pair of runs", ("tasks", "k", "seed", *LETTERS, "B less A"), tuple(lines))


def _left_out(one: Matched) -> Iterator[str]:
    for letter, runs in zip(LETTERS, one.alone, strict=True):
        yield from (f"only in {letter}: {run.name}, seed {seeds(run)}" for run in runs)
    for letter, runs in zip(LETTERS, one.unclear, strict=True):
        yield from (f"several that would pair, in {letter}: {_spelt(run)}" for run in runs)
    for pair in one.pairs:
        for side, letter in enumerate(LETTERS):
            found = _scores(one, side, pair.runs[side])
            if lacking := [codes for codes in one.languages if codes not in found]:
                yield f"{letter} lacks {' '.join(lacking)}: {pair.runs[side].name}, seed {seeds(pair.runs[side])}"


def _spelt(run: Run) -> str:
    how = ", ".join(filter(None, (run.policy, run.budget, run.method, f"recipe {run.recipe}" * bool(run.recipe))))
    return f"{run.name}, seed {seeds(run)} ({how})"


def _scores(one: Matched, side: int, run: Run) -> Mapping[str, float]:
    return one.sections[side].scores(run, one.views[side].where)


def _ks(pairs: Sequence[Pair]) -> dict[int, list[Pair]]:
    return {k: [pair for pair in pairs if pair.runs[0].k == k] for k in sorted({pair.runs[0].k for pair in pairs})}


def _change(one: Matched, found: Summary) -> Number:
    in_percent = one.sections[0].in_percent
    better = None if found.mean is None else found.mean if in_percent else -found.mean
    text = points(found.mean, in_percent)
    if found.mean is not None and found.high is not None:
        text += f" ± {percent(found.high - found.mean, in_percent)}"
    return Number(text, better, "change")


# -- the rows -------------------------------------------------------------------------------------------------

_SHARED = {"task": "string", "split": "string", "metric": "string", "metric_version": "int16", "target": "string"}
_PAIR = {
    "profiles": "string", "pooling": "string", "direction": "string", "language": "string", "k": "int16",
    "tasks": "string", "seed": "int64", "target_seed": "int64",
}  # fmt: skip
_SIDE = {
    "study": "string", "model": "string", "encoder": "string", "layer": "int16", "method": "string", "policy": "string",
    "budget": "string", "recipe": "string", "collapsed": "bool", "protocol": "string", "numeric_path": "string",
    "train_numeric_path": "string", "value": "float64",
}  # fmt: skip
COLUMNS = (*_SHARED, *_PAIR, *(f"{name}_{letter.lower()}" for letter in LETTERS for name in _SIDE), "difference")


def pairs_table(found: Sequence[Matched]) -> pa.Table:
    """A row for every language of every pair of runs that both have it; ``_a`` and ``_b`` are the two studies."""
    import pyarrow as pa

    sides = {f"{name}_{letter.lower()}": kind for letter in LETTERS for name, kind in _SIDE.items()}
    types = _SHARED | _PAIR | sides | {"difference": "float64"}
    columns: dict[str, list[Any]] = {name: [] for name in types}
    for one in found:
        for pair in one.pairs:
            scores = [_scores(one, side, pair.runs[side]) for side in (0, 1)]
            for codes in one.languages:
                if any(codes not in own for own in scores):
                    continue
                row = {name: one.sections[0].key[name] for name in _SHARED}
                row |= {"profiles": ";".join(one.profiles), "language": codes}
                row |= {"pooling": one.views[0].pooling, "direction": one.views[0].direction}
                row |= {name: getattr(pair.runs[0], name) for name in ("k", "seed", "target_seed")}
                row["tasks"] = "+".join(sorted(tasks_of(pair.runs[0]) - {""}))
                for side, letter in enumerate(LETTERS):
                    run, key, view = pair.runs[side], one.sections[side].key, one.views[side]
                    known = {**key, **vars(run), "layer": view.layer, "value": scores[side][codes]}
                    row |= {f"{name}_{letter.lower()}": known[name] for name in _SIDE}
                row["difference"] = scores[1][codes] - scores[0][codes]
                for name, column in columns.items():
                    column.append(row[name])
    return pa.table({name: pa.array(columns[name], pa.type_for_alias(kind)) for name, kind in types.items()})
