"""The best model of a study by held-out bitext; a test set never chooses."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

from xstilts.spec import near, one_of
from xstilts.store import Store
from xstilts.tasks import find

from .rows import Document, chain, leaves, rows
from .tables import percent

SPLIT = "dev"


class Choice(NamedTuple):
    """Which model was chosen, and how, in words."""

    model: str
    words: str


def best(store: Store, plan: Document, task: str, *, layer: int, pooling: str, metric: str = "") -> Choice:
    """The model with the highest mean over languages and both directions on the dev rows of an aligned bitext.

    As a greedy merge chooses (`stage.HeldOut`). A model that lacks a language or a direction is no candidate, and the
    words say how many are none. Of equal ones the first of the plan is taken.

    Args:
        store: where the study's measurements are.
        plan: the study's.
        task: an aligned bitext of which the study measures dev rows.
        layer: the hidden state, 0 for the embeddings and below 0 from the last one back.
        pooling: how a vector is made of it.
        metric: the task's own unless given.

    Raises:
        ValueError: for a task without dev rows in the study, cells that no model has, measurements that cannot be
            compared, or where nothing is better than the encoder as it was published.
    """
    planned: dict[str, dict[str, None]] = defaultdict(dict)
    held_out: dict[str, None] = {}
    for _, leaf in leaves(plan):
        if find(leaf["task"]).kind.name == "embed" and leaf["split"] == SPLIT and "translated" not in leaf:
            held_out[leaf["task"]] = None
            if leaf["task"] == task:
                planned[chain(plan, leaf).model][leaf["language"]] = None
    if not planned:
        measured = f"the study measures {', '.join(held_out)}" if held_out else "the study measures none: add one"
        raise ValueError(
            f"the best model is chosen by held-out bitext, dev rows, and never by a test set; {measured}, "
            f"and not {task!r}{near(task, held_out)}"
        )
    metric = metric or find(task).metric
    table = rows(store, plan)
    cells: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    ways: dict[tuple[str, ...], None] = {}
    contents: dict[str, dict[str, None]] = defaultdict(dict)
    metrics: dict[str, None] = {}
    for row in table.select(_READ).to_pylist():
        if (row["task"], row["split"]) != (task, SPLIT) or row["model"] not in planned:
            continue
        metrics[row["metric"]] = None
        number = layer + row["num_layers"] + 1 if layer < 0 else layer
        if (row["metric"], row["layer"], row["pooling"]) == (metric, number, pooling):
            cells[row["model"]][row["language"], row["direction"]] = row["value"]
            ways[row["protocol"], row["numeric_path"], f"version {row['metric_version']} of the metric"] = None
            contents[row["language"]][row["data_content"]] = None
    if metrics:
        one_of(f"metric of {task}", metric, metrics)
    if len(ways) > 1:
        raise ValueError(f"{task} was measured in {len(ways)} ways: {'; '.join(map(', '.join, ways))}: choose by hand")
    if differing := [code for code, found in contents.items() if len(found) > 1]:
        raise ValueError(f"{task}/{SPLIT} was measured on several contents of its data in {', '.join(differing)}")
    wanted = [
        (code, direction)
        for code in dict.fromkeys(code for found in planned.values() for code in found)
        for direction in ("xx->en", "en->xx")
    ]
    whole = [model for model in planned if all(cell in cells[model] for cell in wanted)]
    means = {model: math.fsum(cells[model][cell] for cell in wanted) / len(wanted) for model in whole}
    where = f"{pooling} of layer {layer}"
    if not means:
        raise ValueError(f"no model has every language of {task}/{SPLIT} by {metric} at {where}: expected a full study")
    chosen = max(means, key=lambda model: means[model])
    score = f"{percent(means[chosen])} % {metric} on {task}/{SPLIT}, {where}"
    score += f", mean over {len(wanted) // 2} languages and both directions"
    if chosen not in plan["stages"]:
        raise ValueError(
            f"nothing is better than the encoder as it was published: {score}; there is no model to export"
        )
    lacking = len(planned) - len(means)
    others = f"the best of {len(means)} models" + f"; {lacking} more lack a language or direction" * bool(lacking)
    return Choice(chosen, f"{score}: {others}")


_READ = (
    "model", "task", "split", "metric", "metric_version", "protocol", "numeric_path", "data_content", "num_layers",
    "language", "layer", "pooling", "direction", "value",
)  # fmt: skip
