"""Published recipes as data: how each training is done, where that is from, and what is done differently here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace

from xstilts.mixture import T5_CAP
from xstilts.recipe import Override, Recipe
from xstilts.spec import one_of
from xstilts.tasks import find

RETRIEVAL_TOKENS = 512
"""Longest sentence of Tatoeba and BUCC, in tokens: jiant's and XTREME's scripts."""


@dataclass(frozen=True)
class Phase:
    """One training of a published recipe: passes over the English training rows, and how they are done."""

    epochs: float
    recipe: Recipe


@dataclass(frozen=True)
class Published:
    """A published way of training on the targets of XTREME; the other trainings are the same for all of these.

    Attributes:
        name: what ``recipe=`` takes.
        source: where it is from; [R] marks what is recalled and was not confirmed in a public source.
        targets: by target, for every training that the target names.
    """

    name: str
    source: str
    targets: Mapping[str, Phase]

    def target(self, name: str) -> Phase:
        """How a target of XTREME or XTREME-R is trained for."""
        return self.targets[name] if name in self.targets else XTREME_R[name]


def published(name: str) -> Published:
    """The recipe of a name.

    Raises:
        ValueError: for an unknown name, with the near ones.
    """
    one_of("recipe", name, RECIPES)
    return RECIPES[name]


def intermediate(name: str) -> Phase:
    """How an intermediate task is trained on alone; a slice as its whole."""
    whole = name if name in INTERMEDIATE else find(name).slice_of or name
    return INTERMEDIATE.get(whole, OTHER)


def together(phases: Mapping[str, Phase]) -> Phase:
    """How several intermediate tasks are trained on in one stage: each in its own batches and lengths."""
    overrides: list[Override] = []
    for name, phase in phases.items():
        own = {field: getattr(phase.recipe, field) for field in ("batch_examples", "max_tokens")}
        if changed := {field: value for field, value in own.items() if value != getattr(OTHER.recipe, field)}:
            overrides.append(Override(name, **changed))
    return Phase(TOGETHER_EPOCHS, replace(OTHER.recipe, overrides=tuple(overrides)))


def _stilts(epochs: float, batch_examples: int, max_tokens: int, learning_rate: float = 1e-5) -> Phase:
    """The optimiser of jiant 2: AdamW, weight decay 0.01, warm-up 10 %, linear decay, clipping at 1."""
    return Phase(epochs, Recipe(learning_rate=learning_rate, batch_examples=batch_examples, max_tokens=max_tokens))


def _script(
    epochs: float,
    learning_rate: float,
    max_tokens: int = 128,
    *,
    batch_examples: int = 32,
    weight_decay: float = 0.0,
    warmup_share: float = 0.0,
) -> Phase:
    """The scripts of google-research/xtreme: AdamW, linear decay, clipping at 1."""
    recipe = Recipe(
        name="xtreme",
        learning_rate=learning_rate,
        warmup_share=warmup_share,
        weight_decay=weight_decay,
        batch_examples=batch_examples,
        max_tokens=max_tokens,
    )
    return Phase(epochs, recipe)


def _squad_script(epochs: float) -> Phase:
    warmup_share = 500 / math.ceil(epochs * 87_599 / 32)  # 500 steps of those on SQuAD v1.1
    return _script(epochs, 3e-5, 384, weight_decay=1e-4, warmup_share=round(warmup_share, 3))


INTERMEDIATE = {
    "anli+": _stilts(2, 24, 256),
    "mnli": _stilts(2, 24, 256),
    "qqp": _stilts(3, 24, 256),
    "squad-v1": _stilts(3, 8, 384),
    "squad-v2": _stilts(3, 8, 384),
    "hellaswag": _stilts(7, 24, 256),
    "ccg": _stilts(15, 24, 256),
    "cosmosqa": _stilts(15, 4, 256),
    "commonsenseqa": _stilts(10, 4, 256),
}
"""The nine English intermediate tasks of Phang et al. 2020, and how each is trained on alone."""

OTHER = _stilts(3, 24, 256)
"""How any other task is trained on, and what of rate, batch and length is the same in a mixture of several."""

TOGETHER_EPOCHS = 3

XTREME_R = {
    "xcopa": _script(5, 3e-5),
    "tatoeba": _squad_script(2),
    "lareqa": _script(3, 2e-5, 256, batch_examples=16),
    "mewsli-x": _script(2, 1e-5, 64, batch_examples=32),
}
"""How targets that XTREME lacks, or measures untrained, are trained for: google-research/xtreme, for XLM-R Large."""


def _jiant_targets(learning_rate: float) -> dict[str, Phase]:
    epochs = {"xnli": 2, "paws-x": 5, "udpos": 10, "panx": 10}
    pairs_and_tags = {name: _stilts(number, 32, 256, learning_rate) for name, number in epochs.items()}
    return pairs_and_tags | {name: _stilts(2, 16, 384, learning_rate) for name in ("xquad", "mlqa", "tydiqa")}


@dataclass(frozen=True)
class Pretraining:
    """Masked language modelling of text before everything else.

    Attributes:
        name: what ``mlm=`` takes.
        source: what it is for, and where its numbers are from.
        examples: sentences in all, where a study does not say.
        recipe: how it is done.
    """

    name: str
    source: str
    examples: int
    recipe: Recipe


PRETRAINING: dict[str, Pretraining] = {
    found.name: found
    for found in (
        Pretraining(
            name="adaptive",
            source="continued pretraining of a masked-language-model encoder, adaptive to languages where a study "
            "names them; numbers of this project's own choice",
            examples=128_000,
            recipe=Recipe(name="adaptive", learning_rate=5e-5, batch_examples=64, max_tokens=128),
        ),
        Pretraining(
            name="from-contrastive",
            source="turns a contrastive encoder back into a masked-language-model encoder: 2,200 steps of about 8,000 "
            "tokens of Leipzig's sentences; numbers of this project's own choice",
            examples=2_200 * 256,
            recipe=Recipe(name="from-contrastive", learning_rate=3e-4, batch_examples=256, max_tokens=128),
        ),
        Pretraining(
            name="from-contrastive-cpu",
            source="the same in about an hour of one CPU core: 600 steps of about 4,000 tokens, the rate of every "
            "layer 0.75 times that of the next one up, so that the upper layers turn and the lower ones keep what they "
            "have; numbers of this project's own choice",
            examples=600 * 128,
            recipe=Recipe(
                name="from-contrastive-cpu",
                learning_rate=1e-3,
                batch_examples=128,
                max_tokens=128,
                layer_decay=0.75,
                evaluate_every_steps=100,
            ),
        ),
    )
}
"""Named ways of masked language modelling; all: AdamW, weight decay 0.01, warm-up 10 %, linear decay, 15 % masked."""


def pretraining(name: str) -> Pretraining:
    """The way of masked language modelling of a name.

    Raises:
        ValueError: for an unknown name, with the near ones.
    """
    one_of("mlm", name, PRETRAINING)
    return PRETRAINING[name]


RECIPES: dict[str, Published] = {
    recipe.name: recipe
    for recipe in (
        Published(
            name="jiant",
            source="nyu-mll/jiant, jiant/scripts/benchmarks/xtreme, as its guide guides/projects/xstilts.md uses it",
            targets=_jiant_targets(1e-5),
        ),
        Published(
            name="paper",
            source="Phang et al. 2020 (arXiv 2005.13013), appendix [R]: a rate of 3e-6; epochs, batch and length are "
            "jiant's, since the paper's are not known",
            targets=_jiant_targets(3e-6),
        ),
        Published(
            name="xtreme",
            source="google-research/xtreme, scripts/train_*.sh for XLM-R Large, the benchmark's own baseline; warm-up "
            "and weight decay in question answering only [R]",
            targets={
                "xnli": _script(5, 3e-5),
                "paws-x": _script(5, 2e-5),
                "udpos": _script(10, 2e-5),
                "panx": _script(10, 2e-5),
                **{name: _squad_script(3) for name in ("xquad", "mlqa", "tydiqa")},
            },
        ),
    )
}

DEPARTURES = (
    "attention dropout is 0, not the encoder's 0.1: kernels for sequences of different length have none",
    "the last checkpoint is taken, where jiant and XTREME's scripts for classification and tagging keep the best one "
    "on English dev rows of the training task (jiant: 500 of them), since SQuAD's dev rows hold XQuAD's English; "
    "checkpoint=best takes that one",
    "no early stopping: jiant stops after 30 evaluations, 1,000 steps apart, without improvement; no target's training "
    "is that long, some intermediate ones are",
    "all tasks together: each optimisation step is of one task, as in jiant, but every task gets exactly its share, in "
    "shuffled order, and shares are of examples; jiant draws each step's task, by shares of steps",
    "a step is one batch, not several accumulated ones: the same gradient, but for dual encoders, whose negatives are "
    "the other candidates of a batch: 15 for LAReQA, where XTREME-R's four batches of 4 give 3, and 31 for Mewsli-X, "
    "where its four of 8 give 7",
    "dual encoders: one length for both sides, where LAReQA's questions have at most 96 tokens; the last checkpoint, "
    "where LAReQA's is the one after 9,000 of about 16,425 steps; linear decay of the rate [R]",
    "recipe=xtreme: XTREME's warm-up of question answering, 500 steps, is the share that those are of SQuAD v1.1's "
    "steps, in TyDi QA too, whose 347 steps end inside XTREME's warm-up",
    "XCOPA: the head is drawn anew between SocialIQA and COPA, where XTREME-R goes on with it [R]; 128 tokens, as "
    "XTREME's other sentence tasks [R]",
    "Tatoeba after SQuAD v1.1, as in XTREME-R: a report counts that training as an intermediate task",
)
"""What is done differently from the sources."""


def in_words(width: int) -> list[str]:
    """The recipes and their departures for a person, in lines of at most ``width`` characters."""
    groups = {f"recipe={recipe.name}: targets as in {recipe.source}": recipe.targets for recipe in RECIPES.values()}
    groups["every recipe: targets that only XTREME-R trains for, as google-research/xtreme for XLM-R Large"] = XTREME_R
    ours = {**INTERMEDIATE, "any other": OTHER}
    groups["every recipe: intermediate tasks, Phang et al. 2020 [R], with jiant's lengths"] = ours
    lines = [*_wrapped("Recipes. [R]: recalled, not confirmed in a public source. All: AdamW, linear decay.", width)]
    for title, phases in groups.items():
        lines += ["", *_wrapped(title, width)]
        for phase in dict.fromkeys(phases.values()):
            names = ", ".join(name for name, other in phases.items() if other == phase)
            lines += _wrapped(f"{names}: {_spelled(phase.recipe, f'{phase.epochs:g} epochs')}", width, "    ")
    together = f"{TOGETHER_EPOCHS} epochs, shares by sizes of at most {T5_CAP:,}, rate, batches and lengths as above"
    lines += [*_wrapped(f"several together: {together}", width, "    "), "", "Done differently here:"]
    lines += [line for departure in DEPARTURES for line in _wrapped(f"- {departure}", width, "    ")]
    return [*lines, "", *pretraining_in_words(width)]


def pretraining_in_words(width: int) -> list[str]:
    """The ways of masked language modelling for a person, in lines of at most ``width`` characters."""
    lines = _wrapped("Masked language modelling before everything. All: AdamW, linear decay, 15 % of tokens.", width)
    for found in PRETRAINING.values():
        how = _spelled(found.recipe, f"{found.examples:,} sentences")
        lines += _wrapped(f"mlm={found.name}: {found.source}: {how}", width, "    ")
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    inner = indent + "    "
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=inner, break_on_hyphens=False)


def _spelled(recipe: Recipe, amount: str) -> str:
    size = f"{amount}, batch {recipe.batch_examples}, {recipe.max_tokens} tokens"
    rates = {"rate": recipe.learning_rate, "warm-up": recipe.warmup_share, "weight decay": recipe.weight_decay}
    return ", ".join([size, *(f"{name} {value:g}" for name, value in rates.items())])
