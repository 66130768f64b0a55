"""xstilts: intermediate-task training of multilingual encoders, scored zero-shot."""

from .mixture import Budget, Mixture
from .probes import Probe
from .recipe import STILTS, Lora, Override, Recipe, Robust
from .stage import Encoder, Evaluate, HeldOut, Merge, Tiny, Train, Translate, Views
from .translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile

__version__ = "0.1.0"

__all__ = [
    "STILTS",
    "Apertium",
    "Budget",
    "Encoder",
    "Evaluate",
    "HeldOut",
    "Lora",
    "Merge",
    "MiniatureOracle",
    "Mixture",
    "Override",
    "Probe",
    "Recipe",
    "Robust",
    "Seq2Seq",
    "Tiny",
    "Train",
    "Translate",
    "TranslationFile",
    "Views",
]
