"""Benchmarks and protocol profiles: their languages, and the choices behind a published score, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xstilts.spec import one_of

from .languages import langs
from .retrieval import XTREME_LANGUAGES, XTREME_R_LANGUAGES

_XNLI = langs("ar bg de el en es fr hi ru sw th tr ur vi zh")
_MLQA = langs("ar de en es hi vi zh")
_TYDIQA = langs("ar bn en fi id ko ru sw te")
_XQUAD = langs("ar de el en es hi ru th tr vi zh")
_UDPOS = langs("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = langs(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi "
    "yo zh"
)


def _with(languages: tuple[str, ...], more: str) -> tuple[str, ...]:
    return tuple(sorted((*languages, *langs(more))))


BENCHMARKS: dict[str, dict[str, tuple[str, ...]]] = {
    "xtreme": {
        "xnli": _XNLI,
        "paws-x": langs("de en es fr ja ko zh"),
        "udpos": _UDPOS,
        "panx": _PANX,
        "xquad": _XQUAD,
        "mlqa": _MLQA,
        "tydiqa": _TYDIQA,
        "tatoeba": XTREME_LANGUAGES,
    },
    "xtreme-r": {
        "xnli": _XNLI,
        "xcopa": langs("et ht id it qu sw ta th tr vi zh"),
        "udpos": _with(_UDPOS, "lt pl ro uk wo"),
        "panx": _with(_PANX, "az gu lt pa pl qu ro uk"),
        "xquad": _with(_XQUAD, "ro"),
        "mlqa": _MLQA,
        "tydiqa": _TYDIQA,
        "tatoeba": XTREME_R_LANGUAGES,
    },
}
"""The languages of every task of a benchmark that is declared here; google-research/xtreme, evaluate.py.

Not declared: BUCC (mining), LAReQA and Mewsli-X (retrieval from one multilingual pool), which no kind measures yet.
"""


@dataclass(frozen=True)
class Profile:
    """How one protocol turns a retrieval measurement into a score.

    Attributes:
        name: name in reports.
        task: the task measured.
        languages: languages of its average.
        split: canonical split.
        layer: published layer by the encoder's number of layers, as an index into the hidden states, where 0
            is the embedding output and ``num_layers`` the last layer.
        pooling: ``mean`` counts the special tokens, ``mean-no-special`` does not, ``cls`` is the first token.
        direction: which side asks: ``en->xx`` looks for each English sentence's nearest foreign one.
        metric: name of the metric; similarity is the cosine, one neighbour.
        average: the rule of its average in words; `average` does it.
        trained_by: task the encoder is trained on for it, ``None`` for a frozen encoder.
        source: where the choices are documented.
    """

    name: str
    task: str
    languages: tuple[str, ...]
    split: str
    layer: Mapping[int, int] = field(hash=False)
    pooling: str
    direction: str
    metric: str
    average: str
    trained_by: str | None
    source: str


_AVERAGE = "mean over the languages, each with the same weight; exists only when every language does"

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="xtreme-2020",
            task="tatoeba",
            languages=XTREME_LANGUAGES,
            split="test",
            layer={12: 8, 24: 14},
            pooling="mean",
            direction="en->xx",
            metric="accuracy",
            average=_AVERAGE,
            trained_by=None,
            source="Hu et al. 2020; google-research/xtreme, third_party/evaluate_retrieval.py",
        ),
        Profile(
            name="stilts-2020",
            task="tatoeba",
            languages=XTREME_LANGUAGES,
            split="test",
            layer={24: 14},
            pooling="mean",
            direction="en->xx",
            metric="accuracy",
            average=_AVERAGE,
            trained_by=None,
            source="Phang et al. 2020; nyu-mll/jiant, jiant/tasks/lib/tatoeba.py",
        ),
    )
}


def profile(name: str) -> Profile:
    """The profile of a name.

    Raises:
        ValueError: for an unknown name, with the near ones.
    """
    one_of("profile", name, PROFILES)
    return PROFILES[name]


def layer_for(profile: Profile, num_layers: int) -> tuple[int, bool]:
    """The hidden state a profile reads in an encoder of ``num_layers`` layers, and whether it was scaled.

    A published depth is exact. Any other depth takes the layer nearest to the deepest published one's share
    (14/24), halves upwards and at least 1; such a score is not the published protocol's.

    Raises:
        ValueError: for an encoder without layers.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers is {num_layers}: expected at least 1")
    if num_layers in profile.layer:
        return profile.layer[num_layers], False
    depth = max(profile.layer)
    return max(1, (2 * profile.layer[depth] * num_layers + depth) // (2 * depth)), True


def average(scores: Mapping[str, float], languages: Iterable[str]) -> float | None:
    """The unweighted mean over ``languages``, ``None`` when a score is missing; never padded.

    Raises:
        ValueError: for no languages.
    """
    names = tuple(languages)
    if not names:
        raise ValueError("an average needs at least one language")
    if any(name not in scores for name in names):
        return None
    return sum(scores[name] for name in names) / len(names)
