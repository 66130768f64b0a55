"""What a study's numbers say of the main question, in a sentence for each target."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from .by_number import Family, families, place
from .gains import Target, incomplete
from .tables import interval, p_text, points
from .trend import LEVEL


def verdict(targets: Sequence[Target], of: Mapping[Hashable, Family] | None = None) -> Iterator[str]:
    """One sentence a target: the gain at its largest k, its interval, what is sure of its sign, and the shape over k.

    Sure is what Holm's method over the gains of all targets at every k leaves below 5 %.

    Args:
        targets: what is said together.
        of: their `families`, where they are known.
    """
    of = families(targets) if of is None else of
    for target in targets:
        k, runs = list(target.main.by_k().items())[-1]
        found = target.gain(runs, target.view.layer, target.view.languages)
        lacking = "; ".join(incomplete(target))
        if found.mean is None:
            yield f"**{target.name}**: no gain can be stated; {lacking or 'no run has an average'}."
            continue
        family = of[place(target.section, target.main, target.view)]
        text = f"**{target.name}**: {points(found.mean)} points at k = {k} over k = 0"
        so_far = f"; so far, {lacking}" * bool(lacking)
        p = family.p_values.get(k)
        if p is None:
            why = "since that takes two seeds or more that do not all agree, and every subset of tasks with each"
            yield f"{text}, without an interval: **undecided**, {why}{so_far}."
            continue
        what = "**undecided**" if p > LEVEL else "**higher**" if found.mean > 0 else "**lower**"
        about = f"95 % interval {interval(found)}, {found.num_runs} runs"
        about += f", {collapsed} of them †" if (collapsed := sum(run.collapsed for run in runs)) else ""
        about += f"; p {p_text(p)}" + f" among {family.size} gains" * (family.size > 1)
        shape = str(family.trend.verdict) if family.trend else ""
        over = f"; shape over k: **{shape}**" * bool(shape)
        yield f"{text} ({about}): {what}{over}{so_far}."
