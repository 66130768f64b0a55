"""The gain of a search with its interval over questions, each of which is asked in several languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from xstilts import scoring
from xstilts.metrics.retrieval import average_precisions
from xstilts.store import Store

from .bootstrap import MIN_CLUSTERS, Interval, bootstrap
from .estimates import delta
from .stats import Run, Section, Series
from .views import View

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Asked(NamedTuple):
    """The queries of a search at one cell: average precisions ``[Q]``, their languages and their right candidates."""

    values: NDArray[Any]
    languages: tuple[str, ...]
    questions: tuple[tuple[int, ...], ...]


def over_questions(store: Store, section: Section, series: Series, view: View) -> dict[int, Interval]:
    """Of each k the mean gain with its interval over questions, the runs as they are; none of what is no search.

    Queries with the same right candidates are one question, drawn for all of its languages at once; the mean is that of
    the languages. What single queries score is read from the stored predictions: a k of which a run has none here (as
    after an import of records) has no interval.

    Raises:
        ValueError: for predictions that are not what was published.
    """
    import numpy as np

    if section.kind != "search" or section.key["metric"] not in ("map", "mrr") or view.numbers != ("value",):
        return {}
    levels: dict[int, NDArray[Any]] = {}
    asked = None
    for k, runs in series.by_k().items():
        found = [_asked(store, section, run, view) for run in runs]
        whole = not k or all(delta(section, run, view.where, view.languages) is not None for run in runs)
        if whole and found and all(one is not None for one in found):
            asked = found[0]
            levels[k] = np.mean([one.values for one in found if one is not None], axis=0)
    if asked is None or 0 not in levels or len({*asked.questions}) < MIN_CLUSTERS:
        return {}
    gains = {k: values - levels[0] for k, values in levels.items() if k}
    return {k: bootstrap(gain, asked.questions, strata=asked.languages) for k, gain in gains.items()}


def _asked(store: Store, section: Section, run: Run, view: View) -> _Asked | None:
    (id,) = section.measurements[run.model]
    if not (store.folder(id) / scoring.PREDICTIONS).is_file():
        return None
    table = scoring.predictions(store, id)
    columns: Mapping[str, Any] = {"layer": view.layer, "pooling": view.pooling, "direction": view.direction}
    rows = [at for at, row in enumerate(table.select([*columns]).to_pylist()) if row == columns]
    own = table.take(rows).sort_by("query")
    kept = [at for at, code in enumerate(own["language"].to_pylist()) if code in view.languages]
    if not kept:
        return None
    found = own.take(kept)
    golds, languages = found["golds"].to_pylist(), tuple(found["language"].to_pylist())
    near, similar = (found[name].to_pylist() for name in ("neighbours", "similarities"))
    values = average_precisions(near, similar, golds, languages)
    return _Asked(values, languages, tuple(tuple(sorted(right)) for right in golds))
