"""How a Train stage optimises, as one declared value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from .spec import Value, declared, one_of, positive

PRECISIONS = ("float32", "bfloat16")
POOLINGS = ("mean", "mean-no-special", "cls")
DUAL_POOLINGS = ("pooler", *POOLINGS)
AGGREGATIONS = ("last", "mix", "attention")
NORMS = ("l2-sequence", "l2-token", "linf")
_ROBUST: dict[str, dict[str, Any]] = {
    "adversarial": {
        **{"epsilon": None, "norm": "l2-sequence", "num_steps": 3, "step_size": None, "start": "random"},
        **{"clean_weight": 0.0},
    },
    "perturbation": {"epsilon": None, "norm": "l2-token", "clean_weight": 0.0},
    "synonyms": {"num_copies": 10, "neighbours": "wordnet", "neighbours_content": None},
    "r3f": {"epsilon": 1e-5, "norm": "linf", "weight": 1.0},
    "smart": {"epsilon": 1e-5, "norm": "linf", "num_steps": 1, "step_size": 1e-3, "weight": 1.0},
}
"""Which fields of `Robust` each method takes, and their values where none is given."""
LOSS_BALANCES = ("none", "log-classes", "uncertainty")


@dataclass(frozen=True)
class Override(Value):
    """What one task of a mixture does differently from the recipe; ``None`` leaves the recipe's value."""

    kind: ClassVar[str] = "override"
    task: str
    batch_examples: int | None = None
    max_tokens: int | None = None
    learning_rate: float | None = declared(absent=None)

    def check(self) -> None:
        """Raise ``ValueError`` for a number that is not above 0."""
        numbers = ("batch_examples", "max_tokens", "learning_rate")
        positive(self, *(name for name in numbers if getattr(self, name) is not None))


@dataclass(frozen=True)
class Lora(Value):
    """Low-rank adapters in the encoder's linear layers, all else of it frozen (Hu et al. 2021, arXiv 2106.09685).

    A layer of weights W gives ``W x + alpha / rank * B A dropout(x)``, A of ``rank`` rows and B zero at first.
    ``targets`` are names of linear layers or how these end, such as ``query`` or ``output.dense``; all when empty.
    """

    kind: ClassVar[str] = "lora"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ``ValueError`` for a rank or alpha that is not above 0, or a dropout outside [0, 1)."""
        positive(self, "rank", "alpha")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout is {self.dropout}: expected 0 <= rate < 1")
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))  # a set: one spelling, one id


@dataclass(frozen=True)
class Robust(Value):
    """Training that tolerates noise in the input; tasks of masked language modelling in a mixture stay as they are.

    ``adversarial`` minimises the loss at the worst perturbation of the word embeddings that ``num_steps`` of projected
    gradient ascent find in a ball of radius ``epsilon``; ``perturbation`` minimises it at a uniform one of the ball;
    ``synonyms`` replaces every training example by ``num_copies`` copies in which each word is itself or a neighbour
    (Huang et al. 2021, arXiv 2104.08645: adversarial training, RS-RP and RS-DA). ``r3f`` adds ``weight`` times the
    symmetric divergence of the outputs with and without a uniform perturbation (Aghajanyan et al. 2020, arXiv
    2008.03156), ``smart`` the same at the perturbation where ascent finds it large (Jiang et al. 2020, arXiv
    1911.03437, without its proximal term).

    ``norm``: ``l2-sequence`` of all of a sequence's embeddings together (Miyato et al. 2017, FreeLB), ``l2-token`` of
    each token's, ``linf`` of each number. ``step_size`` is 2.5 ``epsilon`` / ``num_steps`` (Madry et al. 2018) unless
    given. ``clean_weight`` is the share of the unperturbed loss in the mean of both (Goodfellow et al. 2015).
    ``neighbours`` is ``wordnet``, a folder of WordNet's database files, or a JSON file of words and lists of their
    neighbours; the plan fills ``neighbours_content``, which counts in its place. A field that a method does not take
    is ``None``; the others are never.
    """

    kind: ClassVar[str] = "robust"
    method: str
    epsilon: float | None = declared(absent=None)
    norm: str | None = declared(absent=None)
    num_steps: int | None = declared(absent=None)
    step_size: float | None = declared(absent=None)
    start: str | None = declared(absent=None)
    clean_weight: float | None = declared(absent=None)
    weight: float | None = declared(absent=None)
    num_copies: int | None = declared(absent=None)
    neighbours: str | None = declared(counts=False, absent=None)
    neighbours_content: str | None = declared(absent=None)

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown method, a field that it does not take, or a number out of range."""
        one_of("robust method", self.method, _ROBUST)
        takes = _ROBUST[self.method]
        for name in (field.name for field in fields(self) if field.name != "method"):
            value = getattr(self, name)
            if value is not None and name not in takes:
                raise ValueError(f"robust.{name} is {value!r}: {self.method} takes {', '.join(takes)} alone")
            if value is None:
                object.__setattr__(self, name, takes.get(name))
        if "epsilon" in takes and self.epsilon is None:
            raise ValueError(
                f"robust.epsilon is not given: {self.method} needs the radius, in units of the encoder's word "
                "embeddings; no value is published"
            )
        if "step_size" in takes and self.step_size is None:
            assert self.epsilon is not None and self.num_steps is not None  # noqa: PT018
            object.__setattr__(self, "step_size", 2.5 * self.epsilon / max(self.num_steps, 1))
        numbers = ("epsilon", "num_steps", "step_size", "weight", "num_copies")
        positive(self, *(name for name in numbers if name in takes))
        for name, known in ("norm", NORMS), ("start", ("random", "zero")):
            if name in takes:
                one_of(f"robust {name}", getattr(self, name), known)
        if self.clean_weight is not None and not 0 <= self.clean_weight < 1:
            raise ValueError(f"robust.clean_weight is {self.clean_weight}: expected 0 <= share < 1")


@dataclass(frozen=True)
class Recipe(Value):
    """How a Train stage optimises, by default with AdamW, linear warm-up and decay, clipping (jiant 2's defaults).

    No decay on biases and normalisation weights. Sequences longer than ``max_tokens`` lose tokens from the
    end of their longest segment first. ``hidden_dropout=None`` keeps the encoder's own rate;
    ``attention_dropout`` defaults to 0, a named departure from the encoders' 0.1, because fast
    variable-length kernels have none. Numbers depend on ``precision`` and ``num_threads``, so both count.

    A dual encoder's vector is made by ``dual_pooling`` of the last layer: a pooling of `Views`, or ``pooler``, a
    trained layer with tanh on the first token; ``dual_scale`` is the first value of its trained scale (XTREME-R:
    pooler, 100).

    A head reads what ``aggregation`` makes of the hidden states of each token: the ``last``, a learned ``mix`` of all,
    or ``attention`` over all from the last (``engine.aggregation`` has the formulas). ``layer_decay`` makes the rate of
    layer l of L ``learning_rate * layer_decay ** (L - l)``, l = 0 for the embeddings; heads have the full rate.
    ``frozen_layers`` leaves weights as they are: 0 those of the embeddings, n also those of the n lowest layers.

    ``loss_balance`` weighs the losses of a mixture's tasks: *log-classes* divides each by what guessing costs (Muppet);
    *uncertainty* by a trained variance of the task (Kendall et al. 2018), whose rate is ``variance_rate`` times the
    recipe's. ``whole_words`` masks text by words: all tokens of a word or none.
    """

    kind: ClassVar[str] = "recipe"
    name: str = declared(default="stilts", counts=False)
    learning_rate: float = 1e-5
    warmup_share: float = 0.1
    decay: str = "linear"
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    batch_examples: int = 32
    max_tokens: int = 256
    overrides: tuple[Override, ...] = ()
    hidden_dropout: float | None = None
    attention_dropout: float | None = 0.0
    mlm_probability: float = 0.15
    dual_pooling: str = declared(default="pooler", absent="pooler")
    dual_scale: float = declared(default=100.0, absent=100.0)
    robust: Robust | None = declared(absent=None)
    loss_balance: str = declared(absent="none")
    variance_rate: float = declared(absent=100.0)
    precision: str = "float32"
    num_threads: int = 1
    checkpoint: str = "last"
    evaluate_every_steps: int = 1000
    dev_examples: int = 500
    aggregation: str = declared(absent="last")
    lora: Lora | None = declared(absent=None)
    layer_decay: float = declared(absent=1.0)
    whole_words: bool = declared(absent=False)
    frozen_layers: int | None = declared(absent=None)

    def check(self) -> None:
        """Raise ``ValueError`` for a setting outside its range, and for choosing on target-language dev data."""
        positive(
            self,
            "learning_rate",
            "adam_epsilon",
            "max_grad_norm",
            "batch_examples",
            "max_tokens",
            "num_threads",
        )
        one_of("precision", self.precision, PRECISIONS)
        one_of("decay", self.decay, ("linear", "constant"))
        one_of("dual_pooling", self.dual_pooling, DUAL_POOLINGS)
        positive(self, "dual_scale", "variance_rate")
        one_of("aggregation", self.aggregation, AGGREGATIONS)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"recipe.layer_decay is {self.layer_decay}: expected 0 < decay <= 1")
        one_of("loss balance", self.loss_balance, LOSS_BALANCES)
        if self.checkpoint not in ("last", "best"):
            raise ValueError(
                f"recipe.checkpoint is {self.checkpoint!r}: expected 'last' or 'best' (on English dev data; a choice "
                "on target-language dev data is refused, since the transfer would no longer be zero-shot)"
            )
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"recipe.warmup_share is {self.warmup_share}: expected 0 <= share < 1")
        if self.weight_decay < 0:
            raise ValueError(f"recipe.weight_decay is {self.weight_decay}: expected 0 or more")
        if self.evaluate_every_steps < 1 or self.dev_examples < 1:
            raise ValueError("recipe.evaluate_every_steps and recipe.dev_examples must be at least 1")
        if self.frozen_layers is not None and self.frozen_layers < 0:
            raise ValueError(f"recipe.frozen_layers is {self.frozen_layers}: expected 0 (embeddings) or more, or None")
        for name in ("adam_beta1", "adam_beta2", "hidden_dropout", "attention_dropout", "mlm_probability"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise ValueError(f"recipe.{name} is {share}: expected 0 <= rate < 1")

    def batch_examples_of(self, task: str) -> int:
        """Examples in one optimisation step of ``task``."""
        return next(
            (o.batch_examples for o in self.overrides if o.task == task and o.batch_examples),
            self.batch_examples,
        )

    def max_tokens_of(self, task: str) -> int:
        """Longest sequence of ``task``, in tokens with the special ones."""
        return next((o.max_tokens for o in self.overrides if o.task == task and o.max_tokens), self.max_tokens)

    def learning_rate_of(self, task: str) -> float:
        """The rate of ``task`` after warm-up; its schedule is that of the other tasks."""
        return next((o.learning_rate for o in self.overrides if o.task == task and o.learning_rate), self.learning_rate)

    def shard_problem(self) -> str:
        """Why the layers of what this trains cannot be divided among processes (``--shard``), ``""`` if they can."""
        if self.lora is not None:
            return "adapters (lora) are merged into whole weights"
        if self.aggregation != "last":
            return f"aggregation {self.aggregation!r} reads the states of all layers"
        if self.robust is not None:
            return f"robust training ({self.robust.method}) looks for perturbations of its own on each device"
        return ""


STILTS = Recipe()
"""jiant 2's recipe for intermediate stages: AdamW 1e-5, decay 0.01, warm-up 10 %, clip 1.0, batch 32, 256 tokens."""
