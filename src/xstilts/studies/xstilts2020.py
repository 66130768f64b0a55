"""X-STILTs as published: single English intermediate tasks and all of them, against every target of a benchmark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import POOLINGS, STILTS
from xstilts.spec import one_of
from xstilts.stage import Encoder, Stage, Train, Views
from xstilts.tasks import BENCHMARKS, PROFILE_OF, Search, find, names, profile

from . import recipes
from .parts import TINY_LEARNING_RATE, StandIns, Target, find_target, prefix_of, start_of

STARTS = ("none", "single", "all")


def xstilts2020(
    *,
    benchmark: str = "xtreme",
    recipe: str = "jiant",
    encoder: str = "",
    revision: str = "main",
    tasks: tuple[str, ...] = tuple(recipes.INTERMEDIATE),
    starts: tuple[str, ...] = STARTS,
    targets: tuple[str, ...] = (),
    languages: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    stand_ins: tuple[str, ...] = (),
    miniature: bool = False,
    train_retrieval: bool = True,
    examples: int | None = None,
    target_examples: int | None = None,
    mlm_examples: int | None = None,
    mlm: str = "",
    mlm_languages: tuple[str, ...] = (),
    learning_rate: float | None = None,
    checkpoint: str = "last",
    precision: str = "float32",
    num_threads: int = 1,
    poolings: tuple[str, ...] = POOLINGS,
    layers: tuple[int, ...] = (),
    prefix: str = "auto",
) -> Iterator[Stage]:
    """Yield a benchmark's targets after none, each and all of nine English intermediate tasks (Phang et al. 2020).

    Args:
        benchmark: xtreme or xtreme-r; its targets, in its languages.
        recipe: jiant, paper or xtreme; what they say and what is done differently here follows below.
        encoder: offline, tiny, a folder or a hub name; when it is empty, FacebookAI/xlm-roberta-large, or tiny with
            ``miniature``.
        revision: revision of a hub encoder.
        tasks: the intermediate tasks. ccg is not free: a study file that registers the reader's own copy calls this
            study.
        starts: what a target's training starts from: ``none``, the encoder itself; ``single``, after each task alone;
            ``all``, after all of them together.
        targets: some of the benchmark's targets, all when empty; panx/dev is measured on dev. Without a split that is
            the last one there is: test, but TyDi QA's dev.
        languages: some of the targets' languages; all of them when empty.
        seeds: each of an intermediate training and the target's after it; without an intermediate one, of the target's.
        stand_ins: slices such as mnli@sample, used wherever the whole task is asked for: one with training rows is
            trained on, one without (paws-x@dev-half) is measured.
        miniature: every task is replaced by the one of the embedded miniature that stands for it.
        train_retrieval: measure retrieval targets also after the training that XTREME-R asks for: Tatoeba after
            SQuAD v1.1, LAReQA and Mewsli-X as dual encoders. They are measured as the models stand in any case.
        examples: at most so many examples for each task of an intermediate training, in all epochs together; several
            tasks share the sum by their sizes.
        target_examples: at most so many examples for each training of a target, in all epochs together.
        mlm_examples: examples of an MLM stage before everything; 40,000 for ``tiny`` and none otherwise when it is not
            given.
        mlm: a named way of the MLM stage, adaptive or from-contrastive (below), with its own number of examples where
            ``mlm_examples`` is not given.
        mlm_languages: languages of the text of a named way; all there are when empty.
        learning_rate: of all intermediate and target trainings, in place of the recipe's; 5e-4 for ``tiny`` when it is
            not given.
        checkpoint: ``last``, or ``best`` on the first 500 English dev rows of the tasks trained on, every 1,000 steps;
            dual encoders take the last one.
        precision: float32 or bfloat16 (autocast over float32 weights), of training and of measuring.
        num_threads: CPU threads of every stage; they count, since they change sums.
        poolings: poolings that a retrieval measurement keeps, as mean or mean/centred, mean/lir, mean/lir-4 or
            mean/whitened, by each language's own vectors.
        layers: hidden states that a retrieval measurement keeps, counted back from the last one below 0; when empty,
            the last one of a search in one pool and all of any other task.
        prefix: text before every retrieval sentence; ``auto`` is "query: " for ``offline`` (an E5 model).

    Raises:
        ValueError: for an unknown name, a language that no target has, or a stand-in for what is not asked for.
    """
    one_of("benchmark", benchmark, BENCHMARKS)
    for word in starts:
        one_of("start", word, STARTS)
    how = recipes.published(recipe)
    encoder = encoder or ("tiny" if miniature else "FacebookAI/xlm-roberta-large")
    if learning_rate is None and encoder == "tiny":
        learning_rate = TINY_LEARNING_RATE
    common: dict[str, Any] = {"precision": precision, "num_threads": num_threads}
    changes = common if learning_rate is None else common | {"learning_rate": learning_rate}

    instead = _stand_ins(stand_ins, miniature)
    tasks = _declared(tasks, miniature) if {"single", "all"} & {*starts} else ()
    used = {name: instead.trained(name) for name in tasks}
    wanted = [_target(word, benchmark, instead, train_retrieval) for word in targets or BENCHMARKS[benchmark]]
    instead.check()
    wanted = _in_languages(wanted, languages)

    def intermediate(subset: tuple[str, ...], seed: int) -> Train:
        if len(subset) == 1:
            phase, mixture = recipes.intermediate(subset[0]), Mixture((used[subset[0]],))
        else:
            phase = recipes.together({used[name]: recipes.intermediate(name) for name in subset})
            mixture = Mixture(tuple(used[name] for name in subset), policy="capped")
        amount = _budget(phase.epochs, mixture, examples)
        return Train(start, mixture, amount, replace(phase.recipe, **changes, checkpoint=checkpoint), seed)

    def target_training(target: Target, start: Encoder | Train, name: str, seed: int) -> Train:
        phase, mixture = how.target(target.name), Mixture((name,))
        kept = "last" if find(name).kind.name == "embed" else checkpoint
        amount = _budget(phase.epochs, mixture, target_examples)
        return Train(start, mixture, amount, replace(phase.recipe, **changes, checkpoint=kept), seed)

    text = "mini-text" if miniature else "text@leipzig"
    start = start_of(
        encoder, revision, text, mlm_examples, replace(STILTS, max_tokens=128, **changes), mlm, mlm_languages
    )
    subsets = [*([()] if "none" in starts else []), *([(name,) for name in tasks] if "single" in starts else [])]
    subsets += [tasks] if "all" in starts and tasks else []
    views = Views(poolings, prefix=prefix_of(encoder, prefix), layers=layers)
    for subset in dict.fromkeys(subsets):
        models = [(intermediate(subset, seed), (seed,)) for seed in seeds] if subset else [(start, seeds)]
        for (model, own_seeds), target in itertools.product(models, wanted):
            tuned = target.models(model, own_seeds, partial(target_training, target))
            yield from target.leaves(tuned, views, max_tokens=_max_tokens(how, target), **common)


def _declared(tasks: tuple[str, ...], miniature: bool) -> tuple[str, ...]:
    if "ccg" in tasks and "ccg" not in names() and not miniature:
        others = ",".join(name for name in tasks if name != "ccg")
        raise ValueError(
            "ccg is not declared, since CCGbank (LDC2005T13) is not free: in a study file of your own, "
            "register(ccg(LABELS)) from xstilts.tasks and yield from xstilts2020(...); or leave it out: "
            f"tasks={others}; or take the embedded data: miniature=true"
        )
    return tasks


def _stand_ins(slices: tuple[str, ...], miniature: bool) -> StandIns:
    if not miniature:
        return StandIns(slices)
    if slices:
        raise ValueError(f"stand_ins={','.join(slices)}: the miniature stands for whole tasks, leave them out")
    from xstilts.tasks.made import MINIATURE_OF

    return StandIns(miniature=MINIATURE_OF)


def _target(word: str, benchmark: str, instead: StandIns, train_retrieval: bool) -> Target:
    """A target in the benchmark's languages, as far as its split has them."""
    name = word.partition("/")[0]
    one_of(f"target of {benchmark}", name, BENCHMARKS[benchmark])
    asked = profile(PROFILE_OF[benchmark]).protocol(name).trained_by
    also = (asked,) if asked and find(name).trained_by is None else ()
    target = find_target(word, instead, trains_retrieval=train_retrieval, also=also)
    if isinstance(target.task.kind, Search):
        return target
    official = BENCHMARKS[benchmark][name]
    return replace(target, languages=tuple(code for code in target.languages if code in official))


def _in_languages(targets: list[Target], languages: tuple[str, ...]) -> list[Target]:
    """Targets in some of their languages; a search in one pool stays whole where any of them asks."""
    if not languages:
        return targets
    found, known = [], dict[str, None]()
    for target in targets:
        kind = target.task.kind
        asks = kind.queries if isinstance(kind, Search) else target.languages
        known |= dict.fromkeys(asks)
        wanted = tuple(code for code in asks if code in languages)
        if wanted:
            found.append(target if isinstance(kind, Search) else replace(target, languages=wanted))
    for code in languages:
        one_of("language of the targets", code, known)
    return found


def _budget(epochs: float, mixture: Mixture, most: int | None) -> Budget:
    """Epochs of the mixture's English training rows; no more examples than that and than ``most`` for each task."""
    if most is None:
        return Budget(epochs, "epochs")
    cap = mixture.cap if mixture.policy == "capped" else math.inf
    counts = [find(name).count("train", "en") for name in mixture.tasks]
    rows = sum(cap if count is None else min(cap, count) for count in counts)
    return Budget(min(most * len(counts), epochs * rows))


def _max_tokens(how: recipes.Published, target: Target) -> int:
    """The longest sequence that is measured: that of the target's training, but for what is retrieved untrained."""
    is_pairwise = target.task.kind.name in ("embed", "mine")
    return recipes.RETRIEVAL_TOKENS if is_pairwise else how.target(target.name).recipe.max_tokens
