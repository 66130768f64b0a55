"""What differs between task types and nothing else: encode, head, loss, decode, and what is said of the outcome.

A kind is a module with these functions. An example may hold several sequences (the choices of a question, the
windows of a context, the parts of a long sentence, the sides of a bitext), and targets may be per token.

* ``encode(kind, examples, tokenizer, max_tokens, prefix) -> columns``: ``ids`` and ``lengths`` (lists per
  example, its sequences one after the other), ``types`` where the tokenizer has them, and target columns: one
  number for each example, or for each token in lists as long as ``ids``.
* ``head(kind, encoder, tokenizer, recipe) -> nn.Module | None``: the trained part on top of the encoder.
* ``loss(encoder, head, batch, rng) -> Tensor []``: mean over the batch's examples, or over what each of them has
  several of (masked tokens, words, windows).
* ``outputs(encoder, head, batch) -> Tensor``, ``loss_of(outputs, batch) -> Tensor []`` and
  ``log_probabilities(outputs, batch) -> (Tensor, number)``, of the kinds that answer by distributions (``classify``,
  ``tag``, ``span``, ``choose``): what ``loss`` is made of, and the distributions that it is a mean over, 0 where a
  tensor has a place that is in none, and how many there are.
* ``num_terms(batch) -> int | None``: how many of these; ``None`` for a loss that is no sum over parts of a batch.
* ``uniform_loss(head, batch) -> float | Tensor []``: the loss of a model to which all outcomes are equally likely.
* ``decode(encoder, head, batch) -> columns``: tensors with one value for each example, or `Lists` with a list for
  each.
* ``table(kind, columns, examples) -> pyarrow.Table``: what a measurement stores of all examples, from the columns
  that ``decode`` gave (an array, or a list of arrays where it gave `Lists`), in the order of the examples.
* ``dev_score(columns) -> values``: what a training says of its dev rows, from the same columns: ``accuracy`` or
  ``loss``, and whether the model ``collapsed``, by a rule of the kind that its docstring names.

Retrieval is measured by vectors: `retrieval` makes the tables of ``embed``, ``mine`` and ``search``, which share a
module; loss and dev score are those of a dual encoder, which is trained on ``embed`` tasks.
"""

from __future__ import annotations

from types import ModuleType

from . import choose, classify, embed, mlm, span, tag

KINDS: dict[str, ModuleType] = {
    "classify": classify,
    "embed": embed,
    "mine": embed,
    "search": embed,
    "mlm": mlm,
    "tag": tag,
    "span": span,
    "choose": choose,
}
