"""What a verdict is: effects with intervals and Holm's p values, their direction, and how verdicts are shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import scaling
from .blocks import Block, Cell, Fold, Items, Table, Text
from .grid import Grid, Sample
from .stats import CONFIDENCE, SAME, Summary, summarise
from .tables import MISSING, gained, interval, p_text

SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = ANSWERS = "supported", "contradicted", "inconclusive", "not tested"
ABOVE, BELOW, UNCLEAR = "above 0", "below 0", "unclear"


class Claim(NamedTuple):
    """A statement about intermediate training, what was published of it, and the source's own confidence."""

    number: int
    text: str
    published: str
    confidence: float


@dataclass(frozen=True)
class Effect:
    """A comparison in numbers.

    Attributes:
        what: the comparison in words.
        found: mean and Student-t interval over seeds.
        without: the same without the seeds whose number rests on a collapsed training; ``None`` where none does.
        p: two-sided p value of no difference, by Holm's method over the comparisons that it was judged with; ``None``
            for one seed, or seeds that all agree.
        direction: whether ``p`` is below 5 %, and on which side of 0 the mean is; unclear also where it is another
            one without collapsed trainings.
        num_subsets: different subsets of tasks that it rests on.
    """

    what: str
    found: Summary
    without: Summary | None
    p: float | None
    direction: str
    num_subsets: int

    def is_surely_below(self, margin: float) -> bool:
        """Whether the interval ends below a margin, also without collapsed trainings."""
        ends = [found.high for found in (self.found, self.without) if found is not None]
        return all(end is not None and end < margin for end in ends)


@dataclass(frozen=True)
class Verdict:
    """An answer to a claim, and what it rests on.

    Attributes:
        claim: the claim.
        answer: one of `ANSWERS`.
        effects: comparisons; the first ones are those to read.
        reasons: what else decided, in words.
        missing: the cells that are lacking, in words.
        marks: what sets it apart from a published experiment, `Grid.marks`.
    """

    claim: Claim
    answer: str
    effects: tuple[Effect, ...] = ()
    reasons: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def effects(family: Mapping[str, Sample]) -> dict[str, Effect]:
    """Judge comparisons together; those that lack a cell are no members of the family and have no effect."""
    whole = {what: sample for what, sample in family.items() if not sample.missing and sample.values}
    values = {what: list(sample.values.values()) for what, sample in whole.items()}
    sound = {
        what: [value for seed, value in sample.values.items() if seed not in sample.collapsed]
        for what, sample in whole.items()
    }
    adjusted, adjusted_sound = (
        dict(zip(whole, holm([p_value(own) for own in of.values()]), strict=True)) for of in (values, sound)
    )
    found = {}
    for what, sample in whole.items():
        direction = _direction(values[what], adjusted[what])
        if any(other.collapsed for other in whole.values()):
            other = _direction(sound[what], adjusted_sound[what])
            direction = direction if direction == other else UNCLEAR
        without = summarise(sound[what]) if sample.collapsed else None
        summary = summarise(values[what])
        found[what] = Effect(what, summary, without, adjusted[what], direction, sample.num_subsets)
    return found


def p_value(differences: Sequence[float]) -> float | None:
    """The two-sided p value of a paired Student-t test of mean 0; ``None`` for fewer than two differences, or equal."""
    if len(differences) < 2:
        return None
    mean = math.fsum(differences) / len(differences)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (len(differences) - 1))
    if error <= SAME:
        return None
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / error * math.sqrt(len(differences)), len(differences) - 1))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values that hold the probability of any false one of a family, `scaling.holm`; ``None`` stays."""
    adjusted = iter(scaling.holm([p for p in values if p is not None]).tolist())
    return [None if p is None else next(adjusted) for p in values]


def _direction(values: Sequence[float], p: float | None) -> str:
    if p is None or p >= 1 - CONFIDENCE:
        return UNCLEAR
    return ABOVE if math.fsum(values) > 0 else BELOW


# -- shown ------------------------------------------------------------------------------------------------------------


def tables(grid: Grid, verdicts: Sequence[Verdict]) -> Iterator[Block]:
    """A line for each claim, and what every verdict rests on."""
    lines: list[tuple[Cell, ...]] = []
    for one in verdicts:
        answer = f"**{one.answer}**" + "".join(f", *{mark}*" for mark in ("miniature", "stand-ins") if _has(one, mark))
        first = one.effects[0] if one.effects else None
        numbers = _numbers(first) if first else (MISSING,) * 5
        what = f"{one.claim.number}. {one.claim.text}"
        lines.append((what, answer, first.what if first else MISSING, *numbers, one.claim.published))
    profile = f"profile {grid.profile}" if grid.marks.count("no profile") == 0 else "no profile"
    path = ", ".join(filter(None, (grid.encoder, profile, grid.way.measured)))
    header = ("claim", "verdict", "effect", *_HEADER, "published")
    yield Table(f"Claims on {path}; effects in points", header, tuple(lines), 3)
    if grid.marks:
        yield Text("Read every verdict with this:")
        yield Items(grid.marks)
    for one in verdicts:
        yield Fold(f"Claim {one.claim.number}: {one.answer}", tuple(_details(one)))


_HEADER = ("mean", "95 % interval", "p, Holm", "seeds", "subsets")


def _has(one: Verdict, mark: str) -> bool:
    return any(other.startswith(mark) for other in one.marks)


def _numbers(effect: Effect) -> tuple[Cell, ...]:
    found = effect.found
    collapsed = f" ({effect.found.num_runs - effect.without.num_runs} †)" if effect.without is not None else ""
    count = f"{found.num_runs}{collapsed}"
    return (gained(found._replace(high=None)), interval(found), p_text(effect.p), count, str(effect.num_subsets))


def _details(one: Verdict) -> Iterator[Block]:
    yield Text(f"Claim {one.claim.number} is **{one.answer}**: {one.claim.text}.")
    if lines := (*one.reasons, *(f"missing: {line}" for line in one.missing)):
        yield Items(lines)
    if one.effects:
        cells = tuple((effect.what, *_numbers(effect), effect.direction) for effect in one.effects)
        yield Table(f"Effects of claim {one.claim.number}", ("effect", *_HEADER, "direction"), cells)


def document(grid: Grid, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Verdicts as JSON data; effects are unrounded fractions."""
    return {
        "encoder": grid.encoder,
        "base": grid.base,
        "profile": grid.profile,
        "numeric_path": grid.way.measured,
        "train_numeric_path": grid.way.trained,
        "claims": [
            {
                **one.claim._asdict(),
                "answer": one.answer,
                "effects": [_effect(effect) for effect in one.effects],
                "reasons": list(one.reasons),
                "missing": list(one.missing),
                "marks": list(one.marks),
            }
            for one in verdicts
        ],
    }


def _effect(effect: Effect) -> dict[str, Any]:
    found = effect.found
    return {
        "what": effect.what,
        **{"mean": found.mean, "low": found.low, "high": found.high, "seeds": found.num_runs},
        **{"p": effect.p, "direction": effect.direction, "subsets": effect.num_subsets},
        "collapsed": found.num_runs - effect.without.num_runs if effect.without is not None else 0,
    }
