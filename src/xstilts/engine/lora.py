"""Low-rank adapters in an encoder's linear layers, by peft: all else is frozen, and in the end they are merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from xstilts.recipe import Lora
from xstilts.spec import near


class Adapters:
    """The adapters that were put into a model, which has no other trained parameters from then on.

    Raises:
        ValueError: for a target that no linear layer of the model has.
    """

    def __init__(self, model: PreTrainedModel, lora: Lora) -> None:
        import peft

        self._config = peft.LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,  # type: ignore[arg-type]
            lora_dropout=lora.dropout,
            target_modules=_targets(model, lora.targets),
        )
        self._tuner = peft.LoraModel(model, self._config, "default")

    def save(self, folder: Path) -> None:
        """Write peft's two files, which ``peft.PeftModel`` loads on the encoder that training started from."""
        from peft import get_peft_model_state_dict

        found: dict[str, Tensor] = get_peft_model_state_dict(self._tuner, save_embedding_layers=False)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"base_model.{name}": value.detach().cpu().contiguous() for name, value in found.items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config: dict[str, Any] = self._config.to_dict() | {"inference_mode": True}
        text = json.dumps(config, indent=2, sort_keys=True, default=sorted)  # peft's sets have no order
        (folder / "adapter_config.json").write_text(text + "\n")

    def merge(self) -> None:
        """Add each adapter's product to the weights of its layer: the model is an ordinary one again."""
        self._tuner.merge_and_unload()


def _targets(model: nn.Module, wanted: tuple[str, ...]) -> list[str]:
    """Full names of the linear layers whose names are, or end in, one of ``wanted``; all when there are none."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in wanted:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ValueError(
                f"lora.targets names {target!r}, and no linear layer of {type(model).__name__} is called so: expected "
                f"some of {', '.join(known)}{near(target, known)}"
            )
    return [name for name in linear if not wanted or any(f".{name}".endswith(f".{target}") for target in wanted)]
