"""What masked language modelling makes of an encoder: retrieval and held-out loss before, after some and after more.

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
    languages: tuple[str, ...] = ("de", "fr", "hi", "ru", "sw", "zh"),
    mlm: str = "from-contrastive",
    frozen_layers: int | None = None,
    precision: str = "bfloat16",
) -> Iterator[Evaluate]:
    """Yield Tatoeba by layer and the held-out MLM loss of every language, after numbers of MLM steps.

    Args:
        encoder: what to start from.
        steps: each a training of its own, with its own warm-up and decay; 0 is the encoder itself.
        batch_examples: sentences of a step; 64 of Leipzig are about 2,000 tokens.
        languages: languages that are measured; the text is of all languages there are.
        mlm: a named way of masked language modelling.
        frozen_layers: as in a recipe; 0 freezes the embeddings.
        precision: of training and measuring.
    """
    start, text = Encoder(encoder), "text@leipzig-dev"
    recipe = replace(pretraining(mlm).recipe, batch_examples=batch_examples, frozen_layers=frozen_layers)
    recipe = replace(recipe, precision=precision, evaluate_every_steps=100)
    views = Views(("mean",), prefix=prefix_of(encoder, "auto"))
    for number in steps:
        model = Train(start, Mixture((text,)), Budget(number, "steps"), recipe) if number else start
        for language in languages:
            yield Evaluate(model, "tatoeba", language, views=views, max_tokens=128, precision=precision)
            if number:
                yield Evaluate(model, text, language, "dev", max_tokens=128, precision=precision)
