"""How transfer changes with the number and the choice of intermediate tasks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from xstilts.mixture import PER_TASK, Budget, Mixture
from xstilts.recipe import POOLINGS
from xstilts.spec import one_of
from xstilts.stage import Evaluate, HeldOut, Merge, Stage, Train
from xstilts.tasks import find

from .controls import check_controls, examples_at, on_text, whole_budget
from .designs import drawn_order, sizes_of, subsets
from .parts import MINIATURE_TASKS, Model, in_languages, sequence, setting_of, start_of, translator_of

BUDGETS = ("fixed", "proportional", "per-task")
TRAININGS = ("joint", "sequential")
HELD_OUT_LANGUAGES = ("de", "sw", "zh")
"""In which the demo measures the dev rows of its bitext."""


def scaling(
    *,
    encoder: str = "tiny",
    revision: str = "main",
    tasks: tuple[str, ...] = MINIATURE_TASKS,
    targets: tuple[str, ...] = (),
    languages: tuple[str, ...] = (),
    k: tuple[int, ...] = (),
    design: str = "all",
    num_subsets: int = 3,
    merge: str = "uniform",
    merge_scale: float | None = None,
    merge_density: float | None = None,
    held_out: str = "",
    held_out_layer: int = -1,
    budget: str = "proportional",
    training: str = "joint",
    order: tuple[str, ...] = (),
    tasks_per_step: str = "1",
    loss_balance: str = "none",
    dual_pooling: str = "pooler",
    dual_scale: float = 100.0,
    examples: int = 2000,
    target_examples: int = 2000,
    seeds: tuple[int, ...] = (0,),
    controls: tuple[str, ...] = (),
    control_task: str = "",
    stand_ins: tuple[str, ...] = (),
    train_retrieval: bool = False,
    mlm_examples: int | None = None,
    mlm: str = "",
    mlm_languages: tuple[str, ...] = (),
    learning_rate: float | None = None,
    batch_examples: int = 32,
    max_tokens: int = 128,
    precision: str = "float32",
    num_threads: int = 1,
    poolings: tuple[str, ...] = POOLINGS,
    layers: tuple[int, ...] = (),
    prefix: str = "auto",
    translate: tuple[str, ...] = (),
    translate_targets: tuple[str, ...] = (),
    translator: str = "miniature",
    keep_english: bool = True,
) -> Iterator[Stage]:
    """Yield one measurement per subset of tasks, seed, target and language; k = 0 is the encoder itself.

    Args:
        encoder: offline, tiny, a folder or a hub name. Without one, and without data, the embedded miniature
            is used: a tiny random-weight encoder, pretrained on miniature text by a stage of its own.
        revision: revision of a hub encoder.
        tasks: the intermediate tasks to choose subsets from.
        targets: what to measure, as panx/dev or panx for the last split there is: retrieval tasks as the model
            stands, any other after training on the English tasks that it names; tatoeba when empty, or mini-bitext
            and mini-xnli when the tasks are the miniature's.
        languages: languages of the targets; all of them when empty.
        k: subset sizes; all that the design has when empty.
        design: ``all`` subsets; ``nested`` chains along random orders; ``random`` subsets, every task equally
            often; ``leave-one-out``: none, all tasks but each one, and all; ``single``: none, each task, and all;
            ``merged``: all subsets, by merging the trainings on single tasks instead of training on several.
        num_subsets: orders of ``nested``, or subsets per k of ``random``.
        merge: how ``merged`` merges: uniform, arithmetic, ties, dare or greedy; see docs/methods.md.
        merge_scale: factor of the task vectors; 0.4, or 1 for ties, when it is not given.
        merge_density: share of a task vector that is kept; 0.2 for ties and 0.1 for dare when it is not given.
        held_out: bitext by whose dev rows, in all its languages, ``greedy`` chooses; ntrex, or mini-bitext when the
            tasks are the miniature's, if it is empty.
        held_out_layer: the hidden state that it chooses by, below 0 from the last one back, under the first pooling.
        budget: ``fixed``: ``examples`` in all, shared equally, whatever k is; ``proportional``: one pass over
            at most ``examples`` rows of every task, so that training grows with k; ``per-task``: ``examples`` of every
            task, whatever its size, so that training is in proportion to k.
        training: ``joint``: one training on all tasks of a subset; ``sequential``: one after another, each with its
            share of the budget.
        order: all of ``tasks`` in the order of ``sequential``; when empty, one drawn for each seed, the same for all
            subsets.
        tasks_per_step: of ``joint``, how many parts a step has, each of one task, or ``all`` for examples of every
            task in every step.
        loss_balance: of the intermediate trainings: none, log-classes or uncertainty.
        dual_pooling: of a dual encoder's vector in intermediate trainings: pooler, mean, mean-no-special or cls.
        dual_scale: first scale of a dual encoder's cosines in intermediate trainings; SimCSE's is 20.
        examples: see ``budget``.
        target_examples: examples of every training of a target before it is measured.
        seeds: seeds of the intermediate and of the target training; they vary heads, data order, dropout and
            the mixture's order.
        controls: beside the largest k, with as much training: ``shuffled``: the same rows with their labels shuffled;
            ``single``: one task for the whole budget; ``text``: masked language modelling for as many steps.
        control_task: the task of ``single``; each one in turn when empty.
        stand_ins: slices such as mnli@sample, used wherever the whole task is asked for: one with training rows is
            trained on, one without (paws-x@dev-half) is measured.
        train_retrieval: measure retrieval tasks also after the training that they name, as dual encoders.
        mlm_examples: examples of an MLM stage before everything, k = 0 included; 40,000 for ``tiny`` and none
            otherwise when it is not given.
        mlm: a named way of the MLM stage, adaptive or from-contrastive (below), with its own number of examples where
            ``mlm_examples`` is not given.
        mlm_languages: languages of the text of a named way; all there are when empty.
        learning_rate: of the intermediate and target stages; 1e-5 (jiant), or 5e-4 for ``tiny``, when it is
            not given.
        batch_examples: examples of one optimisation step.
        max_tokens: longest training sequence.
        precision: float32 or bfloat16 (autocast over float32 weights), of training and of measuring.
        num_threads: CPU threads of every stage; they count, since they change sums.
        poolings: poolings that a retrieval measurement keeps, as mean or mean/centred, mean/lir, mean/lir-4 or
            mean/whitened, by each language's own vectors.
        layers: hidden states that a retrieval measurement keeps, counted back from the last one below 0; when empty,
            the last one of a search in one pool and all of any other task.
        prefix: text before every retrieval sentence; ``auto`` is "query: " for ``offline`` (an E5 model).
        translate: languages that the rows of every intermediate task are translated to, for training.
        translate_targets: languages that the training rows of every target are translated to (translate-train).
        translator: miniature (its own rows in the other languages), apertium, apertium:MODE, a file of translations
            (.tsv or .jsonl, in the data folder), or the folder or hub name of an M2M-100, NLLB or Marian model.
        keep_english: train on the English rows too, or on the translations alone.

    Raises:
        ValueError: for an unknown design, budget or target, a target that cannot be trained, a subset size, an order
            of other tasks, an unknown control, or nothing in the place of English.
    """
    one_of("budget", budget, BUDGETS)
    one_of("training", training, TRAININGS)
    if training == "sequential" and tasks_per_step != "1":
        raise ValueError(f"tasks_per_step={tasks_per_step}: training=sequential has one task in every step")
    if order and (training != "sequential" or sorted(order) != sorted(tasks)):
        needed = f"training=sequential and each of {', '.join(tasks)} once"
        raise ValueError(f"order={','.join(order)}: expected {needed}")
    if translate and training == "sequential":
        raise ValueError("translate: expected training=joint, whose tasks' rows are translated")
    if not keep_english and not (translate or translate_targets):
        raise ValueError("keep_english=false: expected languages in translate or translate_targets")
    sizes = sizes_of(design, len(tasks), k)
    check_controls(controls, control_task, tasks, sizes[-1], translate)
    miniature, used, measured, recipe, views = setting_of(
        encoder, tasks, targets, languages=languages, stand_ins=stand_ins, trains_retrieval=train_retrieval,
        learning_rate=learning_rate, poolings=poolings, layers=layers, prefix=prefix, precision=precision,
        num_threads=num_threads, batch_examples=batch_examples, max_tokens=max_tokens,
    )  # fmt: skip
    chosen_by = None
    if merge == "greedy" or held_out:
        bitext = find(held_out or ("mini-bitext" if miniature else "ntrex"))
        at: dict[str, Any] = {"layer": held_out_layer, "pooling": poolings[0], "prefix": views.prefix}
        chosen_by = HeldOut(bitext.name, bitext.languages, **at, precision=precision, num_threads=num_threads)
    how: dict[str, Any] = {"scale": merge_scale, "density": merge_density, "held_out": chosen_by}
    if design != "merged" and (merge != "uniform" or any(value is not None for value in how.values())):
        raise ValueError(f"merge, its settings and held_out belong to design=merged, and this is design={design}")
    text = "mini-text" if miniature else "text@leipzig"
    start = start_of(encoder, revision, text, mlm_examples, recipe, mlm, mlm_languages)

    by = translator_of(translator, precision=precision, num_threads=num_threads)

    def train(start: Model, task: str, seed: int) -> Train:
        plain = Train(start, Mixture((task,)), Budget(target_examples), recipe, seed)
        return in_languages(plain, translate_targets, by, keep_english=keep_english)

    own = replace(recipe, loss_balance=loss_balance, dual_pooling=dual_pooling, dual_scale=dual_scale)
    per_step = int(tasks_per_step) if tasks_per_step.isdecimal() else tasks_per_step

    share: dict[str, Any] = {"policy": "uniform"}
    if budget == "proportional":
        share = {"policy": "capped", "cap": examples, "sizes": "present"}
    one_pass = {"proportional": Budget(1, "epochs"), "per-task": Budget(examples, PER_TASK)}.get(budget)

    @functools.cache
    def intermediate(subset: tuple[str, ...], seed: int, shuffled: bool = False) -> Train:
        if training == "joint":
            named = tuple(used[name] for name in subset)
            mixture = Mixture(named, tasks_per_step=per_step, shuffled_labels=shuffled, **share)
            plain = Train(start, mixture, one_pass or Budget(examples), own, seed)
            return in_languages(plain, translate, by, keep_english=keep_english)
        turns = [used[name] for name in order or drawn_order(tasks, seed) if name in subset]
        whole, more = divmod(examples, len(turns))
        amounts = [one_pass or Budget(whole + (turn < more)) for turn in range(len(turns))]
        model = sequence(start, turns, amounts, own, seed, shuffled_labels=shuffled, **share)
        assert isinstance(model, Train)
        return model

    def models(subset: tuple[str, ...], shuffled: bool = False) -> Iterator[tuple[Model, Sequence[int]]]:
        if not subset:  # no random choice reaches it: one stage for all seeds
            yield start, seeds
        for seed in seeds if subset else ():
            if design == "merged":
                singles = tuple(intermediate((name,), seed, shuffled) for name in subset)
                yield Merge(singles, merge, seed=seed if merge == "dare" else 0, **how), (seed,)
            else:
                yield intermediate(subset, seed, shuffled), (seed,)

    def beside() -> Iterator[tuple[Model, Sequence[int]]]:
        largest = subsets(tasks, sizes[-1:], design, num_subsets)
        for subset in largest if "shuffled" in controls else ():
            yield from models(subset, shuffled=True)
        each = examples_at(budget, tuple(used.values()), sizes[-1], examples) if controls else []
        for seed in seeds:
            for name in ((control_task,) if control_task else tasks) if "single" in controls else ():
                alone = intermediate((name,), seed)
                yield alone if budget == "fixed" else whole_budget(alone, sum(each)), (seed,)
            if "text" in controls:
                steps_of = [-(-amount // batch_examples) for amount in each]
                mixed = training == "joint" and per_step != 1  # a step has examples of several tasks
                num_steps = -(-sum(each) // batch_examples) if mixed else sum(steps_of)
                yield on_text(intermediate(tasks[:1], seed), text, num_steps), (seed,)

    found = itertools.chain.from_iterable(map(models, subsets(tasks, sizes, design, num_subsets)))
    for model, own_seeds in itertools.chain(found, beside()):
        for target in measured:
            tuned = target.models(model, own_seeds, train)
            yield from target.leaves(tuned, views, precision=precision, num_threads=num_threads)


def demo(*, seeds: tuple[int, ...] = (0, 1), num_subsets: int = 2) -> Iterator[Stage]:
    """Yield the whole method on the embedded miniature, in minutes on two cores: nothing is downloaded.

    A tiny encoder of random weights is pretrained by masked language modelling, trained on k = 0 to 4 English
    tasks, and measured by retrieval and, after target training, by inference in every language. Dev rows of the
    bitext in three of them are measured too, to choose a model by.

    Args:
        seeds: as in ``scaling``.
        num_subsets: subsets of tasks for every k.
    """
    for leaf in scaling(
        design="random", num_subsets=num_subsets, seeds=seeds, mlm_examples=32_000, target_examples=8_000
    ):
        yield leaf
        if isinstance(leaf, Evaluate) and find(leaf.task).is_retrieval and leaf.language in HELD_OUT_LANGUAGES:
            yield replace(leaf, split="dev")
