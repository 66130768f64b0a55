"""What masked language modelling makes of an encoder, and what intermediate tasks make of that one.

xstilts run examples/mlm_course.py --data ~/benchmarks
"""

from collections.abc import Iterator
from dataclasses import replace

from xstilts import Budget, Encoder, Evaluate, Mixture, Train, Views
from xstilts.studies.parts import prefix_of
from xstilts.studies.recipes import pretraining


def mlm_course(
    encoder: str = "offline",
    steps: tuple[int, ...] = (0, 80, 300),
    batch_examples: int = 64,
    learning_rate: float | None = None,
    tasks: tuple[str, ...] = (),
    examples: int = 1600,
    task_learning_rate: float = 2e-5,
    languages: tuple[str, ...] = ("de", "fr", "hi", "ru", "sw", "zh"),
    mlm: str = "from-contrastive",
    frozen_layers: int | None = None,
    layer_decay: float | None = None,
    precision: str = "bfloat16",
) -> Iterator[Evaluate]:
    """Yield Tatoeba by layer and the held-out MLM loss of every language, after numbers of MLM steps.

    With tasks, Tatoeba also after each of them and after all together, from the encoder of the last number of steps.

    Args:
        encoder: what to start from.
        steps: each a training of its own, with its own warm-up and decay; 0 is the encoder itself.
        batch_examples: sentences of an MLM step; 64 of Leipzig are about 2,000 tokens.
        learning_rate: of masked language modelling, in the place of the named way's.
        tasks: English intermediate tasks: k = 1, and k = all of them with the same number of examples.
        examples: of every intermediate training.
        task_learning_rate: of the intermediate trainings.
        languages: languages that are measured; the text is of all languages there are.
        mlm: a named way of masked language modelling.
        frozen_layers: as in a recipe, in masked language modelling; 0 freezes the embeddings.
        layer_decay: as in a recipe, in masked language modelling, in the place of the named way's.
        precision: of training and measuring.
    """
    text, named = "text@leipzig-dev", pretraining(mlm).recipe
    recipe = replace(named, batch_examples=batch_examples, frozen_layers=frozen_layers, precision=precision)
    recipe = replace(recipe, learning_rate=learning_rate or named.learning_rate, evaluate_every_steps=100)
    recipe = replace(recipe, layer_decay=layer_decay or named.layer_decay)
    views = Views(("mean",), prefix=prefix_of(encoder, "auto"))

    def tatoeba(model: Encoder | Train) -> Iterator[Evaluate]:
        for language in languages:
            yield Evaluate(model, "tatoeba", language, views=views, max_tokens=128, precision=precision)

    model: Encoder | Train = Encoder(encoder)
    for number in steps:
        model = Train(Encoder(encoder), Mixture((text,)), Budget(number, "steps"), recipe) if number else model
        yield from tatoeba(model)
        for language in languages if number else ():
            yield Evaluate(model, text, language, "dev", max_tokens=128, precision=precision)
    own = replace(named, name="stilts", learning_rate=task_learning_rate, batch_examples=32, precision=precision)
    for subset in (*((name,) for name in tasks), *([tasks] if len(tasks) > 1 else [])):
        yield from tatoeba(Train(model, Mixture(subset, policy="uniform"), Budget(examples), own))
