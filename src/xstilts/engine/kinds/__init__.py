"""What differs between task types and nothing else: encode, head, loss, decode.

A kind is a module with these functions. They already fit the kinds to come: an example may hold several
sequences (multiple choice, bitext, query and candidates), and targets may be per token (tags, spans).

* ``encode(kind, examples, tokenizer, max_tokens, prefix) -> columns``: ``ids`` and ``lengths`` (lists per
  example, its sequences one after the other), ``types`` where the tokenizer has them, and target columns.
* ``head(kind, encoder, tokenizer, recipe) -> nn.Module | None``: the trained part on top of the encoder.
* ``loss(encoder, head, batch, rng) -> Tensor []``: mean over the batch's examples.
* ``decode(encoder, head, batch) -> columns``: tensors with one value per example, and
  ``table(kind, columns) -> pyarrow.Table``: what a measurement stores of them.
"""

from __future__ import annotations

from types import ModuleType

from . import classify, embed, mlm

KINDS: dict[str, ModuleType] = {"classify": classify, "embed": embed, "mlm": mlm}
