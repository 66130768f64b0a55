"""xstilts: intermediate-task training of multilingual encoders, scored zero-shot."""

from .api import Study, score
from .mixture import Budget, Mixture
from .probes import Probe
from .recipe import STILTS, Lora, Override, Recipe, Robust
from .stage import Encoder, Evaluate, HeldOut, Merge, Tiny, Train, Translate, Views
from .translators import Apertium, MiniatureOracle, Seq2Seq, TranslationFile
from .version import __version__

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
    "Study",
    "Tiny",
    "Train",
    "Translate",
    "TranslationFile",
    "Views",
    "__version__",
    "score",
]
