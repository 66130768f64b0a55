"""Other ways of intermediate training beside the plain one: same start, same budget, same seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import POOLINGS, Lora, Recipe, Robust
from xstilts.spec import one_of
from xstilts.stage import Encoder, Merge, Stage, Train
from xstilts.translators import Translator

from .parts import MINIATURE_TASKS, Model, in_languages, sequence, setting_of, start_of, translator_of

WHERE = ("intermediate", "target", "both")


@dataclass(frozen=True)
class _Setting:
    """What all methods share, and what single ones need."""

    start: Encoder | Train
    tasks: tuple[str, ...]
    examples: int
    recipe: Recipe
    text: str
    text_share: float
    translator: Translator
    languages: tuple[str, ...]
    contrastive: str
    epsilon: float

    def train(
        self, seed: int, recipe: Recipe | None = None, mixture: Mixture | None = None, **changes: object
    ) -> Train:
        """The plain training on all tasks, or one that differs in what is given."""
        mixture = mixture or Mixture(self.tasks, policy="uniform")
        return Train(self.start, mixture, Budget(self.examples), recipe or self.recipe, seed, **changes)  # type: ignore[arg-type]

    def singles(self, seed: int) -> tuple[Train, ...]:
        """One training for each task, which share the budget."""
        each = Budget(self.examples / len(self.tasks))
        return tuple(Train(self.start, Mixture((name,)), each, self.recipe, seed) for name in self.tasks)


_Method = Callable[[_Setting, int], Train | Merge]


def _by_recipe(change: Callable[[_Setting], Recipe]) -> _Method:
    return lambda setting, seed: setting.train(seed, change(setting))


def _robust(method: str, **fields: object) -> Callable[[_Setting], Recipe]:
    def change(setting: _Setting) -> Recipe:
        given = fields | ({"epsilon": setting.epsilon} if method in ("adversarial", "perturbation") else {})
        return replace(setting.recipe, robust=Robust(method, **given))  # type: ignore[arg-type]

    return change


def _with_text(setting: _Setting, seed: int) -> Train:
    mixture = Mixture((*setting.tasks, setting.text), policy="uniform", text_share=setting.text_share)
    return setting.train(seed, mixture=mixture)


def _translated(setting: _Setting, seed: int) -> Train:
    return in_languages(setting.train(seed), setting.languages, setting.translator)


def _sequential(setting: _Setting, seed: int) -> Train:
    budgets = [Budget(setting.examples / len(setting.tasks))] * len(setting.tasks)
    model = sequence(setting.start, setting.tasks, budgets, setting.recipe, seed, policy="uniform")
    assert isinstance(model, Train)
    return model


def _merged(method: str) -> _Method:
    return lambda setting, seed: Merge(setting.singles(seed), method)


def _contrastive(setting: _Setting, seed: int) -> Train:
    recipe = replace(setting.recipe, dual_pooling="mean", dual_scale=20.0)
    return setting.train(seed, recipe, Mixture((setting.contrastive,), policy="uniform"))


_RECIPES: dict[str, Callable[[_Setting], Recipe]] = {
    "adversarial": _robust("adversarial"),
    "perturbation": _robust("perturbation"),
    "synonyms": _robust("synonyms", num_copies=3),
    "r3f": _robust("r3f"),
    "smart": _robust("smart"),
    "mix": lambda setting: replace(setting.recipe, aggregation="mix"),
    "attention": lambda setting: replace(setting.recipe, aggregation="attention"),
    "lora": lambda setting: replace(setting.recipe, lora=Lora()),
    "frozen": lambda setting: replace(setting.recipe, frozen_layers=0),
    "layer-decay": lambda setting: replace(setting.recipe, layer_decay=0.8),
}
_METHODS: dict[str, _Method] = {
    "plain": lambda setting, seed: setting.train(seed),
    "mlm": _with_text,
    "translated": _translated,
    **{name: _by_recipe(change) for name, change in _RECIPES.items()},
    "sequential": _sequential,
    "log-classes": _by_recipe(lambda setting: replace(setting.recipe, loss_balance="log-classes")),
    "uncertainty": _by_recipe(lambda setting: replace(setting.recipe, loss_balance="uncertainty")),
    "mixed-steps": lambda setting, seed: setting.train(
        seed, mixture=Mixture(setting.tasks, policy="uniform", tasks_per_step="all")
    ),
    "merged": _merged("uniform"),
    "ties": _merged("ties"),
    "dare": _merged("dare"),
    "contrastive": _contrastive,
}
METHODS = tuple(_METHODS)
DEFAULT_METHODS = (
    "plain", "mlm", "translated", "adversarial", "perturbation", "r3f", "attention", "sequential", "uncertainty",
    "mixed-steps", "merged", "ties", "contrastive",
)  # fmt: skip


def alternatives(
    *,
    encoder: str = "tiny",
    revision: str = "main",
    tasks: tuple[str, ...] = MINIATURE_TASKS,
    methods: tuple[str, ...] = DEFAULT_METHODS,
    targets: tuple[str, ...] = (),
    languages: tuple[str, ...] = (),
    where: str = "intermediate",
    examples: int = 4000,
    target_examples: int = 2000,
    seeds: tuple[int, ...] = (0, 1, 2),
    stand_ins: tuple[str, ...] = (),
    train_retrieval: bool = False,
    text: str = "",
    text_share: float = 0.2,
    translator: str = "",
    translated: tuple[str, ...] = ("es",),
    contrastive: str = "",
    epsilon: float = 0.5,
    mlm: str = "",
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
    """Yield the plain English training and every other method from one start: same tasks, examples and seeds.

    A report pairs each method's runs with the plain ones by seed.

    Args:
        encoder: offline, tiny, a folder or a hub name, as in ``scaling``.
        revision: revision of a hub encoder.
        tasks: the intermediate tasks, in equal shares.
        methods: plain, mlm (masked language modelling mixed in), translated (rows also in ``translated``), adversarial,
            perturbation, synonyms, r3f, smart (robust training), mix, attention (layer aggregation), lora, frozen (the
            embeddings), layer-decay, sequential (task after task, in order), log-classes, uncertainty (loss balance),
            mixed-steps (all tasks in every step), merged, ties, dare (of one training a task, which share the
            examples), contrastive (SimCSE; other data, an upper reference for retrieval). The encoder as it starts is
            always measured.
        targets: as in ``scaling``.
        languages: languages of the targets; all of them when empty.
        where: the training that a method of robust training, layer aggregation, lora, frozen or layer-decay changes:
            intermediate, target (the intermediate one is plain) or both.
        examples: examples of the intermediate training, whatever the method.
        target_examples: examples of every training of a target before it is measured.
        seeds: seeds of the intermediate and of the target training.
        stand_ins: slices such as mnli@sample, used wherever the whole task is asked for.
        train_retrieval: measure retrieval tasks also after the training that they name.
        text: the monolingual text of mlm; the miniature's, or text@leipzig, when empty.
        text_share: share of the examples that are text, for mlm.
        translator: as in ``scaling``; the miniature's own for its tasks, or apertium, when empty.
        translated: languages of translated rows.
        contrastive: the task of contrastive; mini-nli-triples, or nli-triples@dev, when empty.
        epsilon: radius of adversarial (of a sequence's word embeddings together) and perturbation (of each token's).
        mlm: as in ``scaling``: a named way of the MLM stage before everything.
        mlm_examples: as in ``scaling``.
        learning_rate: as in ``scaling``.
        batch_examples: examples of one optimisation step.
        max_tokens: longest training sequence.
        precision: float32 or bfloat16, of training and of measuring.
        num_threads: CPU threads of every stage.
        poolings: poolings that a retrieval measurement keeps.
        layers: hidden states that a retrieval measurement keeps, as in ``scaling``.
        prefix: as in ``scaling``.

    Raises:
        ValueError: for an unknown method or target, or a target that cannot be trained.
    """
    for name in methods:
        one_of("method", name, METHODS)
    one_of("where", where, WHERE)
    miniature, used, measured, recipe, views = setting_of(
        encoder, tasks, targets, languages=languages, stand_ins=stand_ins, trains_retrieval=train_retrieval,
        learning_rate=learning_rate, poolings=poolings, layers=layers, prefix=prefix, precision=precision,
        num_threads=num_threads, batch_examples=batch_examples, max_tokens=max_tokens,
    )  # fmt: skip
    by = translator_of(translator or ("miniature" if miniature else "apertium"))
    text = text or ("mini-text" if miniature else "text@leipzig")
    setting = _Setting(
        start=start_of(encoder, revision, text, mlm_examples, recipe, mlm),
        tasks=tuple(used[name] for name in tasks),
        examples=examples,
        recipe=recipe,
        text=text,
        text_share=text_share,
        translator=by,
        languages=translated,
        contrastive=contrastive or ("mini-nli-triples" if miniature else "nli-triples@dev"),
        epsilon=epsilon,
    )

    def leaves(model: Model, own_seeds: tuple[int, ...], tuning: Recipe) -> Iterator[Stage]:
        def train(start: Model, task: str, seed: int) -> Train:
            return Train(start, Mixture((task,)), Budget(target_examples), tuning, seed)

        for target in measured:
            tuned = target.models(model, own_seeds, train)
            yield from target.leaves(tuned, views, precision=precision, num_threads=num_threads)

    yield from leaves(setting.start, seeds, recipe)
    for name in methods:
        changed = _RECIPES[name](setting) if name in _RECIPES else recipe
        for seed in seeds:
            early = where != "target" or name not in _RECIPES
            model = _METHODS[name if early else "plain"](setting, seed)
            yield from leaves(model, (seed,), recipe if where == "intermediate" else changed)
