"""Which cell of a measurement a table reads: that of a profile, or one for reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xstilts.tasks import benchmarks

from .stats import Section, Where

_REFERENCES = {
    "embed": ("xtreme-2020", "tatoeba"),
    "mine": ("xtreme-2020", "bucc"),
    "search": ("xtreme-r-2021", "lareqa"),
}
"""The protocol whose cell is read for a retrieval task of a kind that no profile covers."""

_VALUE = ("value",)


@dataclass(frozen=True)
class View:
    """Which cell of a measurement a table reads, and the languages it averages.

    Attributes:
        names: the profiles that read exactly this cell; empty when none covers the task.
        layer: index of the hidden state, 0 for the embeddings; ``None`` where there are no layers.
        pooling: how a sentence vector is made of token states.
        direction: which side asks.
        languages: the languages averaged: the profile's, as far as the study measured them in every run.
        official: the languages of the profile's own average.
        scaled: whether the layer is a published one scaled to another depth.
        numbers: the numbers of a score whose mean is the value.
        stand_in: whether the models were trained on a slice of what the profile asks for.
        reference: the profile whose cell this is, where none covers the task.
    """

    names: tuple[str, ...]
    layer: int | None
    pooling: str | None
    direction: str | None
    languages: tuple[str, ...]
    official: tuple[str, ...]
    scaled: bool = False
    numbers: tuple[str, ...] = _VALUE
    stand_in: bool = False
    reference: str = ""

    @property
    def where(self) -> Where:
        """Layer, pooling and direction."""
        return (self.layer, self.pooling, self.direction)

    def at(self, layer: int | None) -> Where:
        """The same pooling and direction at another layer."""
        return (layer, self.pooling, self.direction)


def views(section: Section) -> list[View]:
    """The cells to report: one for each different cell, average and number of the profiles of the section's models.

    A profile that asks for the training of another task than the section's own has its table elsewhere. Without a
    profile a retrieval task is read at the cell of its kind in `_REFERENCES`, or at the last layer where that was not
    measured, over all languages.
    """
    key = section.key
    found: dict[View, list[str]] = {}
    for profile in benchmarks.PROFILES.values():
        for protocol in profile.protocols:
            of = (protocol.task, protocol.split, protocol.metric)
            own_training = bool(protocol.trained_by) == bool(key["target"])
            if of != (key["task"], key["split"], key["metric"]) or not own_training:
                continue
            languages = tuple(code for code in protocol.languages if code in section.languages)
            if profile.name in section.profiles and languages:
                cell, scaled = protocol.cell(section.num_layers)
                stand_in = section.profiles[profile.name]
                view = View((), *cell, languages, protocol.languages, scaled, protocol.numbers, stand_in)
                found.setdefault(view, []).append(profile.name)
    return [replace(view, names=tuple(names)) for view, names in found.items()] or [_reference(section)]


def _reference(section: Section) -> View:
    if section.kind not in _REFERENCES:
        return View((), None, None, None, section.languages, section.languages)
    name, task = _REFERENCES[section.kind]
    cell, _ = benchmarks.profile(name).protocol(task).cell(section.num_layers)
    measured = {where for _, where in section.cells}
    if cell in measured:
        return View((), *cell, section.languages, section.languages, reference=name)
    last = max(measured, key=lambda where: (where[2] == cell[2], where[1] == "mean", where[0] or 0, where[1] or ""))
    return View((), *last, section.languages, section.languages)


def reading(section: Section, view: View) -> Section:
    """The section with the numbers that a view averages as its values; a score without them has none."""
    if view.numbers == _VALUE:
        return section
    cells: dict[tuple[str, Where], dict[str, float]] = {}
    for place, found in section.parts.items():
        values = {code: benchmarks.average(parts, view.numbers) for code, parts in found.items()}
        cells[place] = {code: value for code, value in values.items() if value is not None}
    return replace(section, cells=cells)


def selected_layers(num_layers: int, *extra: int) -> list[int]:
    """The layers at 25, 50 and 75 % of the depth (halves upwards), the last one, and ``extra``."""
    quarters = {max(1, (2 * part * num_layers + 4) // 8) for part in (1, 2, 3, 4)}
    return sorted(quarters | set(extra))
