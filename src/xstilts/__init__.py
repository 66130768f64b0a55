"""xstilts: intermediate-task training of multilingual encoders, scored zero-shot."""

from .recipe import STILTS, Lora, Override, Recipe, Robust
from .stage import Budget, Encoder, Evaluate, HeldOut, Merge, Mixture, Tiny, Train, Views

__version__ = "0.1.0"

__all__ = [
    "STILTS",
    "Budget",
    "Encoder",
    "Evaluate",
    "HeldOut",
    "Lora",
    "Merge",
    "Mixture",
    "Override",
    "Recipe",
    "Robust",
    "Tiny",
    "Train",
    "Views",
]
