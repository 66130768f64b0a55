"""What a study's numbers say of the main question, in a sentence for each target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .gains import Target, incomplete
from .tables import points


def verdict(targets: Sequence[Target]) -> Iterator[str]:
    """One sentence a target: the gain at its largest k, its interval, and whether that leaves a doubt of its sign.

    The interval is the Student-t or Welch interval of `stats.change`, without a correction for the number of targets.
    """
    for target in targets:
        k, runs = list(target.main.by_k().items())[-1]
        found = target.gain(runs, target.view.layer, target.view.languages)
        if found.mean is None:
            why = "; ".join(incomplete(target)) or "no run has an average"
            yield f"**{target.name}**: no gain can be stated; {why}."
            continue
        text = f"**{target.name}**: {points(found.mean)} points at k = {k} over k = 0"
        if found.low is None or found.high is None:
            yield f"{text}, without an interval: **undecided**, since it takes two runs or more on either side."
            continue
        what = (
            "**higher**" if found.low > 0 else "**lower**" if found.high < 0 else "**undecided**, the interval holds 0"
        )
        lacking = "; so far, " + "; ".join(incomplete(target)) if any(incomplete(target)) else ""
        interval = f"95 % interval {points(found.low)} to {points(found.high)}, {found.num_runs} runs"
        interval += f", {collapsed} of them †" if (collapsed := sum(run.collapsed for run in runs)) else ""
        yield f"{text} ({interval}): {what}{lacking}."
