"""How one stage is done; the only folder that imports torch. `perform` is the single door."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xstilts.hub import find_encoder
from xstilts.probes import Probe
from xstilts.stage import Encoder, Evaluate, Merge, Stage, Train, Translate

from .phases import Phases, forget_peak_rss, peak_rss_bytes


class Interrupted(Exception):
    """The stage stopped on request, with a checkpoint written: doing it again goes on where it was."""


class Damaged(ValueError):
    """A file that the stage had kept for itself was damaged and is set aside: doing it again goes on without it."""


@dataclass(frozen=True)
class Context:
    """Where a stage is done: nothing here changes a number.

    Attributes:
        inputs: the weights folder of every input stage, or the folder of one that made data, by id.
        work: the stage's folder for checkpoints, kept until the stage is published.
        device: where; ``cuda:0+cuda:1`` becomes the first of these, with all of them as ``ranks``.
        ranks: the devices of a training that as many processes do together; else empty.
        prepare: a function and its arguments, called first in each of these, to declare tasks that a stage may name.
        stop: asked between steps; ``True`` makes the stage write a checkpoint and raise `Interrupted`.
        report: called with progress: ``step``, ``steps``, ``loss``, ``tokens_per_second`` ...
        checkpoint_seconds: least time between two checkpoints of a training; 0 writes one every step.
        recompute_activations: whether the backward pass computes each layer's activations again, to save memory.
        shard: whether the processes of one training divide the weights of the encoder's layers among them.
        phases: the clock of the stage's phases.
    """

    inputs: Mapping[str, Path]
    work: Path
    data_dir: Path | None
    cache_dir: Path
    device: str = "cpu"
    ranks: tuple[str, ...] = ()
    prepare: tuple[Any, ...] = ()
    stop: Callable[[], bool] = field(default=lambda: False)
    report: Callable[[dict[str, Any]], None] = field(default=lambda progress: None)
    checkpoint_seconds: float = 120.0
    recompute_activations: bool = False
    shard: bool = False
    phases: Phases = field(default_factory=Phases)

    def __post_init__(self) -> None:
        if "+" in self.device:
            object.__setattr__(self, "ranks", tuple(self.device.split("+")))
            object.__setattr__(self, "device", self.ranks[0])


def perform(stage: Stage, out: Path, context: Context) -> dict[str, Any]:
    """Do one stage: write its files into ``out`` and return ``result``, ``environment`` and ``cost`` for its record.

    ``cost`` has the seconds of each phase and the peak of the process's memory while the stage was done.

    Raises:
        Interrupted: when ``context.stop()`` became true; a checkpoint is in ``context.work``.
        Damaged: when a checkpoint in ``context.work`` was not as it was written.
        ValueError: for input that does not fit the stage.
        FloatingPointError: when the loss stopped being a finite number.
        ChildProcessError: when one of several processes died.
    """
    context.phases("imports")
    import torch

    from . import ranks

    if isinstance(stage, Train) and context.ranks and ranks.count() == 1:
        from .launch import in_ranks

        return in_ranks(functools.partial(perform, stage, out), context)
    assert isinstance(stage, (Train, Merge, Evaluate, Translate, Probe))
    forget_peak_rss()
    num_threads = torch.get_num_threads()
    torch.set_num_threads(stage.num_threads)
    torch.set_flush_denormal(True)  # moments that fade to denormals would slow every step on a CPU
    try:
        if isinstance(stage, Train):
            from .train import train

            result = train(stage, out, context)
        elif isinstance(stage, Merge):
            from .merge import merge

            result = merge(stage, out, context)
        elif isinstance(stage, Translate):
            from .translate import translate

            result = translate(stage, out, context)
        elif isinstance(stage, Probe):
            from .probe import probe

            result = probe(stage, out, context)
        else:
            from .evaluate import evaluate

            result = evaluate(stage, out, context)
    finally:
        context.phases.end()
        torch.set_flush_denormal(False)
        torch.set_num_threads(num_threads)
    cost = {"phases": context.phases.seconds, "peak_rss_bytes": peak_rss_bytes()}
    about = environment(stage, context.device, ranks.count(), context.shard)
    return {"result": result, "environment": about, "cost": cost}


def warm_up() -> None:
    """Import what stages need, which takes seconds; a worker does it while there is no stage for it yet."""
    from . import evaluate, train  # noqa: F401


def check_devices(names: Iterable[str]) -> None:
    """Refuse, with a `ValueError`, a device that torch cannot use on this machine."""
    import torch

    num_gpus = torch.cuda.device_count()
    usable = ["cpu", *(["mps"] if torch.backends.mps.is_available() else []), *(f"cuda:{n}" for n in range(num_gpus))]
    for name in names:
        if name not in usable and not (name == "cuda" and num_gpus):
            raise ValueError(
                f"device {name}: torch {torch.__version__} finds none here: expected one of {', '.join(usable)}"
            )


def encoder_folder(encoder: Encoder, context: Context) -> Path:
    """The Hugging Face folder of a pretrained encoder, made on first use for ``tiny`` and ``offline``."""
    from . import folders, offline

    if encoder.name == "offline":
        return offline.folder_for_offline(context.cache_dir)
    if encoder.tiny is not None:
        from xstilts.spec import digest
        from xstilts.tasks import Text, examples, find

        folder = context.cache_dir / f"tiny-{digest(encoder.tiny.id + encoder.content)}"
        if not folder.is_dir():
            task = find(encoder.tiny.text)
            texts = (
                example.text
                for code in task.languages_of("train")
                for example in examples(task, "train", code, context.data_dir)
                if isinstance(example, Text)
            )
            tiny = encoder.tiny
            folders.build_tiny(
                folder,
                texts,
                vocab_size=tiny.vocab_size,
                hidden_size=tiny.hidden_size,
                num_layers=tiny.num_layers,
                num_heads=tiny.num_heads,
                intermediate_size=tiny.intermediate_size,
                max_positions=tiny.max_positions,
                initializer_range=tiny.initializer_range,
                architecture=tiny.architecture,
                seed=tiny.seed,
            )
        return folder
    if Path(encoder.name).is_dir():
        return Path(encoder.name)
    commit = encoder.content.rpartition("@")[2]  # the one that the plan found and that counts
    return find_encoder(encoder.name, commit or encoder.revision)


def start_folder(model: Encoder | Stage, context: Context) -> Path:
    """The Hugging Face folder of what a stage starts from or measures."""
    if isinstance(model, Encoder):
        return encoder_folder(model, context)
    return context.inputs[model.id] / "encoder"


def numeric_path(
    stage: Train | Merge | Evaluate | Translate | Probe, device: str, num_ranks: int = 1, shard: bool = False
) -> str:
    """What float results depend on beside the declaration.

    Device type, precision, attention kernel, threads on a CPU, the processes of a training that has several (whose sums
    have another order, and each its own dropout; ``shard`` if they divide the layers), and whether a training has the
    embedding rows in use alone, whose sums differ from those of the whole table in the last bits (adapters train no
    row). Weights are merged on the CPU whatever the device is; a device and its kernel count where models are chosen by
    what they measure.
    """
    from xstilts.tasks import find

    from .attention import varlen_problem

    if isinstance(stage, Merge) and stage.held_out is None:
        return "cpu-float32"
    threads = f"-{stage.num_threads}thread" if device == "cpu" else ""
    varlen = device.startswith("cuda") and stage.precision == "bfloat16" and varlen_problem() is None
    trained = stage.mixture.tasks if isinstance(stage, Train) else ()
    recipe = stage.recipe if isinstance(stage, Train) else None
    frozen = recipe is not None and (recipe.lora is not None or recipe.frozen_layers is not None)
    together = f"-{num_ranks}{'shards' if shard else 'ranks'}" if num_ranks > 1 else ""
    rows = "-rows" if trained and not frozen and all(find(name).kind.name != "mlm" for name in trained) else ""
    return f"{device.split(':')[0]}-{stage.precision}-{'varlen' if varlen else 'sdpa'}{threads}{together}{rows}"


def environment(
    stage: Train | Merge | Evaluate | Translate | Probe, device: str, num_ranks: int = 1, shard: bool = False
) -> dict[str, Any]:
    """What a record says of the machine and the packages that a stage ran on."""
    from importlib.metadata import version

    packages = ["torch", "transformers", "tokenizers", "numpy", "pyarrow"]
    packages += ["peft"] if isinstance(stage, Train) and stage.recipe.lora is not None else []
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "device": _device_name(device),
        "num_cpus": os.cpu_count(),
        "numeric_path": numeric_path(stage, device, num_ranks, shard),
    }


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
