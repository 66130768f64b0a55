"""Protocol profiles: the choices behind the published scores of a benchmark, and its averages, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xstilts.spec import one_of

from .languages import langs
from .retrieval import LAREQA_LANGUAGES, MEWSLI_X_LANGUAGES, XTREME_LANGUAGES, XTREME_R_LANGUAGES

Cell = tuple[int | None, str | None, str | None]
"""Layer, pooling and direction of a retrieval score; ``None`` thrice for any other score."""


@dataclass(frozen=True)
class Protocol:
    """How a benchmark scores one task.

    Attributes:
        task: the task measured.
        group: the part of the benchmark that it counts to, as ``evaluate.py`` names it.
        languages: languages of its average, each with the same weight.
        metric: name of the metric.
        numbers: the numbers of the metric's score whose mean is a language's value.
        trained_by: what the encoder is trained on right before it is measured, in this order; nothing for one that
            is measured as it stands.
        split: canonical split.
        layer: for retrieval the published layer by the encoder's number of layers, as an index into the hidden
            states, where 0 is the embedding output and ``num_layers`` the last layer, or ``last``.
        pooling: ``mean`` counts the special tokens, ``mean-no-special`` does not, ``cls`` is the first token,
            ``pooler`` a dual encoder's own head.
        direction: which side asks: ``en->xx`` looks for each English sentence's nearest foreign one.
        note: what else its source does, or leaves open.
    """

    task: str
    group: str
    languages: tuple[str, ...]
    metric: str
    numbers: tuple[str, ...]
    trained_by: tuple[str, ...]
    split: str = "test"
    layer: Mapping[int, int] | str | None = field(default=None, hash=False)
    pooling: str | None = None
    direction: str | None = None
    note: str = ""

    def value(self, score: Mapping[str, Any]) -> float | None:
        """The number that counts of one language's score, ``None`` when the score lacks a part of it."""
        return average(score, self.numbers)

    def cell(self, num_layers: int) -> tuple[Cell, bool]:
        """The cell that it reads in an encoder of ``num_layers`` layers, and whether the layer was scaled.

        Raises:
            ValueError: as `layer_for`.
        """
        if self.layer is None:
            return (None, None, None), False
        layer, scaled = layer_for(self, num_layers)
        return (layer, self.pooling, self.direction), scaled


@dataclass(frozen=True)
class Profile:
    """The published protocol of a whole benchmark; its score is the mean over tasks of means over languages.

    Attributes:
        name: name in reports.
        protocols: its tasks, each once, in the order of its table.
        source: where the choices are documented.
        missing: what a task without a mean does to the benchmark's: ``refuse``, there is none, or ``zero``, it
            counts as 0.
        left_out: tasks of the published mean that no measurement here reproduces, and why; the mean is without them.
    """

    name: str
    protocols: tuple[Protocol, ...]
    source: str
    missing: str = "refuse"
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(protocol.task for protocol in self.protocols)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The names of its tasks by group, each in one group.

        XTREME-R's ``evaluate.py`` has XCOPA in two groups and LAReQA in none, and can print no mean of the benchmark.
        """
        groups = dict.fromkeys(protocol.group for protocol in self.protocols)
        return {group: tuple(p.task for p in self.protocols if p.group == group) for group in groups}

    def protocol(self, task: str) -> Protocol:
        """The protocol of one of its tasks.

        Raises:
            ValueError: for a task that it does not have, with the near ones.
        """
        one_of(f"task of profile {self.name!r}", task, self.tasks)
        return next(protocol for protocol in self.protocols if protocol.task == task)

    def mean(self, means: Mapping[str, float]) -> float | None:
        """The benchmark's score from the means of its tasks.

        Returns:
            The mean over tasks, each with the same weight; ``None`` when a task is missing, unless it counts as 0.
        """
        filled = dict.fromkeys(self.tasks, 0.0) if self.missing == "zero" else {}
        return average(filled | {**means}, self.tasks)


def average(scores: Mapping[str, float], names: Iterable[str]) -> float | None:
    """The unweighted mean over ``names`` (languages or tasks), ``None`` when a score is missing; never padded.

    Raises:
        ValueError: for no names.
    """
    wanted = tuple(names)
    if not wanted:
        raise ValueError("an average needs at least one name")
    if any(scores.get(name) is None for name in wanted):
        return None
    return sum(scores[name] for name in wanted) / len(wanted)


def layer_for(protocol: Protocol, num_layers: int) -> tuple[int, bool]:
    """The hidden state a retrieval protocol reads in an encoder of ``num_layers`` layers, and whether it was scaled.

    A published depth is exact, and so is ``last``. Any other depth takes the layer nearest to the deepest published
    one's share (14/24), halves upwards and at least 1; such a score is not the published protocol's.

    Raises:
        ValueError: for an encoder without layers, or a protocol that reads no layer.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers is {num_layers}: expected at least 1")
    if protocol.layer == "last":
        return num_layers, False
    if not isinstance(protocol.layer, Mapping):
        raise ValueError(f"the protocol of {protocol.task!r} reads no layer")
    if num_layers in protocol.layer:
        return protocol.layer[num_layers], False
    depth = max(protocol.layer)
    return max(1, (2 * protocol.layer[depth] * num_layers + depth) // (2 * depth)), True


# -- the profiles -----------------------------------------------------------------------------------------------------

_VALUE = ("value",)
_F1_AND_EM = ("f1", "exact_match")
_SEQEVAL_2020, _SEQEVAL_2021 = ("f1_seqeval-0.0.12",), ("f1_seqeval-1.2.2",)

_XNLI = langs("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWS_X = langs("de en es fr ja ko zh")
_XCOPA = langs("et ht id it qu sw ta th tr vi zh")
_UDPOS = langs("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = langs(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi "
    "yo zh"
)
_XQUAD = langs("ar de el en es hi ru th tr vi zh")
_MLQA = langs("ar de en es hi vi zh")
_TYDIQA = langs("ar bn en fi id ko ru sw te")


def _with(languages: tuple[str, ...], more: str) -> tuple[str, ...]:
    return tuple(sorted((*languages, *langs(more))))


_UDPOS_R, _PANX_R = _with(_UDPOS, "lt pl ro uk wo"), _with(_PANX, "az gu lt pa pl qu ro uk")

_ON_MNLI = Protocol("xnli", "classification", _XNLI, "accuracy", _VALUE, ("mnli",))
_ON_PAWS_X = Protocol("paws-x", "classification", _PAWS_X, "accuracy", _VALUE, ("paws-x",))
_ON_COPA = Protocol("xcopa", "classification", _XCOPA, "accuracy", _VALUE, ("socialiqa", "copa"))


def _tagging(udpos: tuple[str, ...], panx: tuple[str, ...], numbers: tuple[str, ...]) -> tuple[Protocol, ...]:
    """Tags by the F1 of a version of seqeval; XTREME's paper says accuracy of UDPOS, its code and table have this."""
    return (
        Protocol("udpos", "tagging", udpos, "span-f1", numbers, ("udpos",)),
        Protocol("panx", "tagging", panx, "span-f1", numbers, ("panx",)),
    )


def _answers(xquad: tuple[str, ...], numbers: tuple[str, ...] = _F1_AND_EM, mlqa: str = "mlqa") -> tuple[Protocol, ...]:
    return (
        Protocol("xquad", "qa", xquad, "squad", numbers, ("squad-v1",)),
        Protocol("mlqa", "qa", _MLQA, mlqa, numbers, ("squad-v1",)),
        Protocol("tydiqa", "qa", _TYDIQA, "squad", numbers, ("tydiqa",), "dev", note="test is hidden: dev is scored"),
    )


def _tatoeba(
    languages: tuple[str, ...],
    layer: Mapping[int, int] | str,
    *trained_by: str,
    pooling: str = "mean",
    direction: str = "en->xx",
    note: str = "",
) -> Protocol:
    return Protocol(
        "tatoeba", "retrieval", languages, "accuracy", _VALUE, trained_by,
        layer=layer, pooling=pooling, direction=direction, note=note,
    )  # fmt: skip


def _bucc(layer: Mapping[int, int], note: str) -> Protocol:
    return Protocol(
        "bucc", "retrieval", langs("de fr ru zh"), "f1", _VALUE, (),
        layer=layer, pooling="mean", direction="both",
        note=f"ratio margin over 4 neighbours, pairs one to one, threshold of the best F1 on dev; {note}",
    )  # fmt: skip


def _search(
    task: str, languages: tuple[str, ...], metric: str, trained_by: str, pooling: str, note: str = ""
) -> Protocol:
    return Protocol(
        task, "retrieval", languages, metric, _VALUE, (trained_by,),
        layer="last", pooling=pooling, direction="query->pool", note=note,
    )  # fmt: skip


_XTREME_2020 = Profile(
    name="xtreme-2020",
    protocols=(
        _ON_MNLI,
        _ON_PAWS_X,
        *_tagging(_UDPOS, _PANX, _SEQEVAL_2020),
        *_answers(_XQUAD),
        _bucc(
            {12: 8, 24: 20},
            "the script passes no number of layers, so that its layer 7 of 12 is hidden state 20 of XLM-R Large, "
            "and ignored --pool_type cls until October 2021",
        ),
        _tatoeba(XTREME_LANGUAGES, {12: 8, 24: 14}),
    ),
    source="Hu et al. 2020 (arXiv 2003.11080); google-research/xtreme, evaluate.py, run_tatoeba.sh and run_bucc2018.sh "
    "of 2020, seqeval of that time (0.0.12)",
)

_STILTS_2020 = Profile(
    name="stilts-2020",
    protocols=(
        _ON_MNLI,
        _ON_PAWS_X,
        *_tagging(_UDPOS, _PANX, _SEQEVAL_2020),
        *_answers(_XQUAD),
        _bucc({24: 14}, "hidden state 14, as for Tatoeba"),
        _tatoeba(XTREME_LANGUAGES, {24: 14}),
    ),
    source="Phang et al. 2020 (arXiv 2005.13013); nyu-mll/jiant, jiant/tasks/lib, which pins seqeval 0.0.12",
)

_XTREME_R_2021 = Profile(
    name="xtreme-r-2021",
    protocols=(
        _ON_MNLI,
        _ON_COPA,
        *_tagging(_UDPOS_R, _PANX_R, _SEQEVAL_2021),
        *_answers(_with(_XQUAD, "ro")),
        _tatoeba(
            XTREME_R_LANGUAGES, {12: 8, 24: 14}, "squad-v1", note="the encoder of the extractive SQuAD v1.1 model"
        ),
        _search(
            "lareqa", LAREQA_LANGUAGES, "map", "lareqa-train", "pooler",
            "mAP@20 over 13,090 questions, which is the mean over languages, since each asks 1,190",
        ),
        _search("mewsli-x", MEWSLI_X_LANGUAGES, "mrr", "mewsli-x-train", "pooler", "released data, not the paper's"),
    ),
    source="Ruder et al. 2021 (arXiv 2104.07412); google-research/xtreme at 838c13b, which pins no seqeval: 1.2.2 was "
    "the newest",
)  # fmt: skip

_MGTE_2024 = Profile(
    name="mgte-2024",
    protocols=(
        _ON_MNLI,
        _ON_COPA,
        *_tagging(_UDPOS_R, _PANX_R, _SEQEVAL_2021),
        *_answers(langs("ar de el en es ro ru th tr vi zh"), ("f1",), "squad"),
        _tatoeba(
            XTREME_R_LANGUAGES, "last", "lareqa-train", pooling="cls", direction="xx->en",
            note="the hub's copy, equal English sentences as one; its dual encoder is trained on whole paragraphs",
        ),
        _search("mewsli-x", MEWSLI_X_LANGUAGES, "mrr", "mewsli-x-train", "cls"),
    ),
    source="Zhang et al. 2024 (arXiv 2407.19669), XTREME-R in table 1; izhx/nlu-evals, tools/gather_xtreme.py; its "
    "XTREME is not here, since its BUCC looks for neighbours among aligned pairs",
    missing="zero",
    left_out={"lareqa": "it retrieves whole paragraphs instead of sentences"},
)  # fmt: skip

PROFILES: dict[str, Profile] = {
    profile.name: profile for profile in (_XTREME_2020, _STILTS_2020, _XTREME_R_2021, _MGTE_2024)
}

PROFILE_OF = {"xtreme": "xtreme-2020", "xtreme-r": "xtreme-r-2021"}
"""The profile with a benchmark's own definition of its scores."""

BENCHMARKS: dict[str, dict[str, tuple[str, ...]]] = {
    benchmark: {protocol.task: protocol.languages for protocol in PROFILES[name].protocols}
    for benchmark, name in PROFILE_OF.items()
}
"""The languages of every task of a benchmark; google-research/xtreme, evaluate.py."""


def profile(name: str) -> Profile:
    """The profile of a name.

    Raises:
        ValueError: for an unknown name, with the near ones.
    """
    one_of("profile", name, PROFILES)
    return PROFILES[name]


def metrics_of(task: str) -> tuple[str, ...]:
    """The metrics that the profiles count of a task, each once."""
    protocols = (protocol for found in PROFILES.values() for protocol in found.protocols)
    return tuple(dict.fromkeys(protocol.metric for protocol in protocols if protocol.task == task))
