"""What every target gains over k = 0: by intermediate task, language and layer, beside what was published."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from xstilts.tasks import find
from xstilts.tasks.languages import Language, language

from .blocks import Cell, Number, Table
from .estimates import change, delta, estimate, over_runs
from .scaling import Estimate
from .stats import Run, Section, Series, Summary, series, titles
from .tables import MISSING, gained, layer_name, percent, points
from .views import View, reading, views

PUBLISHED_PROFILE = "xtreme-2020"
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "xnli": {"value": (79.2, 80.0)},
    "paws-x": {"value": (86.4, 87.9)},
    "udpos": {"value": (73.8, 74.9)},
    "panx": {"value": (65.4, 64.0)},
    "xquad": {"f1": (76.6, 78.7), "exact_match": (60.8, 63.3)},
    "mlqa": {"f1": (71.6, 72.4), "exact_match": (53.2, 53.7)},
    "tydiqa": {"f1": (65.1, 76.0), "exact_match": (45.0, 59.5)},
}
"""Test scores in % of XLM-R Large and of X-STILTs, the best intermediate model for each target (Phang et al. 2020),
as Chung et al. 2021 (RemBERT), Table 16, print them."""
PUBLISHED_MEANS = (
    "Published means over the targets' dev sets (Phang et al. 2020, XLM-R Large, profile `stilts-2020`): SQuAD +8.2, "
    "MNLI +7.5, HellaSwag +7.0, all nine tasks together +8.7 points; on test with the best model for each target +5.4."
)


class Target(NamedTuple):
    """What a study measures a gain on: a section as its first view reads it.

    Attributes:
        name: the task, and after which training of its own where the task needs none.
        section: with the view's numbers as its values.
        view: the cell and the languages.
        series: the runs that differ in tasks and seed alone; the first one is that with most runs.
    """

    name: str
    section: Section
    view: View
    series: tuple[Series, ...]

    @property
    def main(self) -> Series:
        """The series that tables read."""
        return self.series[0]

    def gain(self, runs: Sequence[Run], layer: int | None, languages: Sequence[str]) -> Summary:
        """The mean gain of runs at a layer, with its interval; see `change`."""
        return change(self.section, runs, self.view.at(layer), languages)

    def estimate(self, runs: Sequence[Run]) -> Estimate | None:
        """The gain of runs over the view's languages with its error, see `estimate`."""
        return estimate(self.section, runs, self.view.where, self.view.languages)

    def of_run(self, run: Run) -> float | None:
        """A run's average over the view's languages less that of k = 0."""
        return delta(self.section, run, self.view.where, self.view.languages)


def targets(sections: Sequence[Section], *, every_metric: bool = False) -> list[Target]:
    """The sections with a share as their task's own metric and runs at k = 0 and above, retrieval first.

    With ``every_metric`` those of other metrics too. Rows that are held out to choose by are no target.
    """
    found = []
    for section in sections:
        view = views(section)[0]
        read = reading(section, view)
        own = find(section.key["task"]).metric == section.key["metric"]
        if not (own or every_metric) or section.held_out or not (section.in_percent and section.bases):
            continue
        if not view.languages:
            continue
        ways = sorted((one for one in series(read) if one.policy), key=lambda one: -len(one.runs))
        if ways:
            found.append(Target("", read, view, tuple(ways)))
    names = titles([target.section for target in found])
    named = [target._replace(name=name) for target, name in zip(found, names, strict=True)]
    return sorted(named, key=lambda target: not find(target.section.key["task"]).is_retrieval)


def by_task(found: Sequence[Target]) -> Table | None:
    """Mean gain by intermediate tasks (lines) and target (columns): every single task, then more tasks by k.

    The last column is the mean over the targets, of lines that have every one of them. The published line stands for
    targets with the whole average of `PUBLISHED_PROFILE`.
    """
    groups: dict[str, list[Sequence[Run]]] = {}
    for at, target in enumerate(found):
        for k, runs in target.main.by_k().items():
            named: dict[str, list[Run]] = {}
            for run in runs if k else ():
                named.setdefault(run.tasks if k == 1 else f"k = {k}", []).append(run)
            for name, own in named.items():
                groups.setdefault(name, [()] * len(found))[at] = own
    if not groups:
        return None
    lines: list[str | tuple[Cell, ...]] = []
    several = len(found) > 1
    for name in sorted(groups, key=_single_first):
        gains = [
            target.gain(runs, target.view.layer, target.view.languages)
            for target, runs in zip(found, groups[name], strict=True)
        ]
        means = [gain.mean for gain in gains]
        known = [mean for mean in means if mean is not None]
        whole = math.fsum(known) / len(known) if len(known) == len(means) else None
        lines.append((name, *map(gained, gains), *([Number(points(whole), whole, "change")] if several else [])))
    published = [_published(target) for target in found]
    if any(gain is not None for gain in published):
        lines.append(f"Published: XLM-R Large, best task for each target, profile {PUBLISHED_PROFILE}")
        lines.append(("X-STILTs", *(Number(points(gain), gain, "change") for gain in published), *[MISSING] * several))
    header = ("intermediate tasks", *(target.name for target in found), *(["mean"] if several else []))
    return Table(
        "Gain over k = 0 in points, by intermediate tasks and target, ± half of its 95 % interval", header, tuple(lines)
    )


def _single_first(name: str) -> tuple[int, str]:
    return (int(name[4:]), "") if name.startswith("k = ") else (1, name)


def _published(target: Target) -> float | None:
    """The published gain of a target that is read as published: the whole average, after the whole training set."""
    numbers, view = PUBLISHED.get(target.section.key["task"], {}), target.view
    of = view.numbers
    as_published = PUBLISHED_PROFILE in view.names and view.languages == view.official and not view.stand_in
    if not as_published or not all(name in numbers for name in of):
        return None
    return statistics.fmean(numbers[name][1] - numbers[name][0] for name in of) / 100


def by_language(found: Sequence[Target]) -> Table | None:
    """Gain of every language at each target's largest k, by family, then script, with its share of pretraining text."""
    codes = sorted(
        {code for target in found for code in target.view.languages},
        key=lambda code: (language(code).family, language(code).script, code),
    )
    most = [max((k for k in target.main.by_k()), default=0) for target in found]
    if not codes or not any(most):
        return None
    lines: list[str | tuple[Cell, ...]] = []
    family = ""
    for code in codes:
        about = language(code)
        if about.family != family:
            family = about.family
            lines.append(family)
        cells = (
            gained(target.gain(target.main.by_k()[k], target.view.layer, [code]))
            if code in target.view.languages
            else MISSING
            for target, k in zip(found, most, strict=True)
        )
        lines.append((f"{about.name} ({code})", about.script, _share(about), *cells))
    header = [f"{target.name}, k = {k}" for target, k in zip(found, most, strict=True)]
    caption = (
        "Gain over k = 0 in points by language, in order of family and script, beside its share of XLM-R's pretraining "
        "text (CC-100; another encoder has read other text)"
    )
    return Table(caption, ("language", "script", "pretraining text", *header), tuple(lines), 2)


def _share(about: Language) -> str:
    return MISSING if about.pretraining_share is None else f"{100 * about.pretraining_share:.2f} %"


def by_layer(target: Target) -> Table | None:
    """Score at k = 0 and gain at every k, by layer; ``None`` where there are no layers."""
    layers = [layer for layer in target.section.layers if layer is not None]
    if target.view.layer is None or len(layers) < 2:
        return None
    groups = target.main.by_k()
    at = [
        [over_runs(target.section, runs, target.view.at(layer), target.view.languages).mean for runs in groups.values()]
        for layer in layers
    ]
    lines: list[str | tuple[Cell, ...]] = []
    for layer, scores in zip(layers, at, strict=True):
        cells: list[Cell] = []
        for (k, runs), score in zip(groups.items(), scores, strict=True):
            gain = target.gain(runs, layer, target.view.languages).mean if k else None
            cells.append(Number(points(gain), gain, "change") if k else Number(percent(score), score))
        lines.append((layer_name(target.section, target.view, layer, ""), *cells))
    best: list[Cell] = []
    for column in zip(*at, strict=True):
        known = [(score, layer) for score, layer in zip(column, layers, strict=True) if score is not None]
        best.append(str(max(known)[1]) if known else MISSING)
    lines.append(("**best layer**", *best))
    caption = f"{target.name}, layer x k: score at k = 0 in %, then gain over k = 0 at the same layer in points"
    header = ("layer", *(f"k = {k}" + ", gain" * bool(k) for k in groups))
    return Table(caption, header, tuple(lines))


def incomplete(target: Target) -> Iterator[str]:
    """What the target's numbers lack of what was planned, in words; nothing where they are whole."""
    of = functools.partial(target.section.mean, where=target.view.where, languages=target.view.languages)
    for k, runs in target.main.by_k().items():
        done, planned = sum(of(run) is not None for run in runs), target.main.planned(target.section, k)
        if done < planned:
            yield f"k = {k}: {done} of {planned} runs have every language"
