"""What choosing intermediate tasks rests on: single tasks against targets, and cheap evidence about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xstilts.mixture import Budget
from xstilts.probes import LABELLED, Probe
from xstilts.recipe import POOLINGS
from xstilts.spec import near
from xstilts.stage import Evaluate, Stage, Train, Views
from xstilts.tasks import Embed, find, names

from .parts import MINIATURE_TASKS, Model, prefix_of
from .scaling import scaling

MINIATURE_TARGETS = ("mini-bitext", "mini-xnli", "mini-xparaphrase", "mini-xchoice")
_FISHER = (*LABELLED, "span")


def selection(
    *,
    encoder: str = "tiny",
    revision: str = "main",
    tasks: tuple[str, ...] = MINIATURE_TASKS,
    targets: tuple[str, ...] = (),
    languages: tuple[str, ...] = (),
    k: tuple[int, ...] = (0, 1),
    held_out: str = "",
    probe_examples: int = 1000,
    few_examples: int = 256,
    gradients: bool = True,
    examples: int = 2000,
    target_examples: int = 2000,
    seeds: tuple[int, ...] = (0,),
    stand_ins: tuple[str, ...] = (),
    mlm_examples: int | None = None,
    learning_rate: float | None = None,
    batch_examples: int = 32,
    max_tokens: int = 128,
    precision: str = "float32",
    num_threads: int = 1,
    poolings: tuple[str, ...] = POOLINGS,
    layers: tuple[int, ...] = (),
    prefix: str = "auto",
) -> Iterator[Stage]:
    """Yield what ``xstilts select`` reads: single tasks measured on targets, as by scaling, and cheaper evidence.

    The evidence reads no row that is scored: vectors of training rows, English dev rows, and a bitext of its own.

    Args:
        encoder: as in ``scaling``.
        revision: revision of a hub encoder.
        tasks: the intermediate tasks to choose from.
        targets: as in ``scaling``; with the miniature's tasks, one of each sort when empty.
        languages: languages of the targets; all of them when empty.
        k: sizes of the subsets that are measured; 0 must be among them.
        held_out: bitext on whose dev rows models are measured for retrieval targets, or ``none``; ntrex, or mini-bitext
            when the tasks are the miniature's, if it is empty.
        probe_examples: rows whose vectors are kept, of every task and model; 0 for none.
        few_examples: examples of a short training of a target, which English dev rows measure; 0 for none.
        gradients: whether squared gradients (TaskEmb) are kept too.
        examples: at most so many rows of every intermediate task, seen once.
        target_examples: examples of every training of a target before it is measured.
        seeds: as in ``scaling``.
        stand_ins: as in ``scaling``.
        mlm_examples: as in ``scaling``.
        learning_rate: as in ``scaling``.
        batch_examples: examples of one optimisation step.
        max_tokens: longest training sequence.
        precision: float32 or bfloat16, of training, probing and measuring.
        num_threads: CPU threads of every stage.
        poolings: poolings that a retrieval measurement keeps; vectors are made by the first.
        layers: hidden states that a retrieval measurement keeps, as in ``scaling``.
        prefix: text before every retrieval sentence, as in ``scaling``.

    Raises:
        ValueError: as ``scaling``, without k = 0, or for a target that is measured on what it would be chosen by.
    """
    if 0 not in k:
        raise ValueError(f"k={','.join(map(str, k))}: expected 0 among them, which a gain is counted from")
    miniature = all(name.startswith("mini-") for name in tasks)
    common: dict[str, Any] = {"precision": precision, "num_threads": num_threads}
    leaves = [
        leaf
        for leaf in scaling(
            encoder=encoder,
            revision=revision,
            tasks=tasks,
            targets=targets or (MINIATURE_TARGETS if miniature else ()),
            languages=languages,
            k=k,
            examples=examples,
            target_examples=target_examples,
            seeds=seeds,
            stand_ins=stand_ins,
            mlm_examples=mlm_examples,
            learning_rate=learning_rate,
            batch_examples=batch_examples,
            max_tokens=max_tokens,
            poolings=poolings,
            layers=layers,
            prefix=prefix,
            **common,
        )
        if isinstance(leaf, Evaluate)
    ]
    yield from leaves
    bitext = held_out or ("mini-bitext" if miniature else "ntrex")
    if bitext != "none" and any(find(leaf.task).is_retrieval for leaf in leaves):
        views = Views(poolings, prefix=prefix_of(encoder, prefix), layers=layers)
        yield from _held_out(leaves, bitext, views, common)
    if few_examples:
        yield from _few(leaves, few_examples, common)
    if probe_examples:
        how = {"num_examples": probe_examples, "pooling": poolings[0], "max_tokens": max_tokens, **common}
        yield from _probes(leaves, None if bitext == "none" else bitext, gradients, how)


def before(leaf: Evaluate) -> Model:
    """The model that a measurement's own trainings started from: what intermediate training made."""
    task, model = find(leaf.task), leaf.model
    for _ in () if task.is_retrieval else (*task.trained_before, task.trained_by):
        assert isinstance(model, Train), "it is measured after its trainings"
        model = model.start
    return model


def _held_out(leaves: list[Evaluate], bitext: str, views: Views, common: dict[str, Any]) -> Iterator[Evaluate]:
    """Every model that a retrieval target measures, on dev rows of a bitext in the target's languages."""
    task = find(bitext)
    if not isinstance(task.kind, Embed) or "dev" not in task.splits:
        known = [name for name in names() if isinstance(find(name).kind, Embed) and "dev" in find(name).splits]
        raise ValueError(
            f"held_out={bitext}: expected a bitext with dev rows, one of {', '.join(known)}{near(bitext, known)}"
        )
    wanted = [leaf for leaf in leaves if find(leaf.task).is_retrieval]
    if any((leaf.task, leaf.split) == (bitext, "dev") for leaf in wanted):
        raise ValueError(f"held_out={bitext}: its dev rows are a target; choose by other rows, or take held_out=none")
    there = task.languages_of("dev")
    codes = [code for code in there if code in {leaf.language for leaf in wanted}] or there
    for model in dict.fromkeys(leaf.model for leaf in wanted):
        for code in codes:
            yield Evaluate(model, bitext, code, "dev", views, **common)


def _own(leaves: list[Evaluate]) -> Iterator[tuple[Train, str]]:
    """The trainings of targets right after intermediate ones, each once, with the task that they train on."""
    for model in dict.fromkeys(leaf.model for leaf in leaves if not find(leaf.task).is_retrieval):
        assert isinstance(model, Train), "it is measured after its training"
        yield model, model.mixture.tasks[0]


def _few(leaves: list[Evaluate], num_examples: int, common: dict[str, Any]) -> Iterator[Evaluate]:
    """Every model after a short training of its target, on the English dev rows of what it was trained on."""
    long = {leaf.model for leaf in leaves if find(leaf.task).trained_before}
    for model, name in _own(leaves):
        if "dev" not in find(name).splits or model in long:
            continue
        if any((leaf.task, leaf.split) == (name, "dev") for leaf in leaves):
            raise ValueError(f"few_examples={num_examples}: {name}/dev is a target; give few_examples=0")
        yield Evaluate(replace(model, budget=Budget(num_examples)), name, "en", "dev", **common)


def _probes(leaves: list[Evaluate], bitext: str | None, gradients: bool, how: dict[str, Any]) -> Iterator[Probe]:
    starts = list(dict.fromkeys(map(before, leaves)))
    base, *trained = starts  # the smallest subset comes first
    own = list(_own(leaves))
    sources = [(model, model.mixture.tasks) for model in trained if isinstance(model, Train)]
    rows = dict.fromkeys([name for _, some in sources for name in some] + [name for _, name in own])
    yield from (Probe(base, name, **how) for name in rows)
    if bitext and any(find(leaf.task).is_retrieval for leaf in leaves):
        yield Probe(base, bitext, "dev", find(bitext).languages_of("dev")[0], **how)
    scored = {(leaf.task, leaf.split) for leaf in leaves}
    for name in dict.fromkeys(name for _, name in own):
        if find(name).kind.name in LABELLED:  # rows that no candidate was trained on, where there are any
            split = "dev" if "dev" in find(name).splits and (name, "dev") not in scored else "train"
            yield from (Probe(model, name, split, **how) for model in trained)
    if gradients:
        single = [(model, some[0]) for model, some in sources if len(some) == 1]
        for model, name in (*single, *((model, name) for model, name in own if model.start == base)):
            if find(name).kind.name in _FISHER:
                yield Probe(model, name, gradients=True, **how)
