"""LoRA adapters with random weights, made for the layers that a model's folder has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

_STRENGTH = 0.3
_RANK = 2


def write_adapter(
    file: Path, model: Path, components: tuple[str, ...] = ("unet",), seed: int = 0, spelling: str = "lora_A lora_B"
) -> Path:
    """Write an adapter for the attention of some of a model's parts, and return its file.

    `spelling` has the words for the two matrices, as diffusers or kohya's scripts write them.
    """
    random = np.random.default_rng(seed)
    down, up = spelling.split()
    tensors = {}
    for layer, (outputs, inputs) in attention(model, components).items():
        tensors[f"{layer}.{down}.weight"] = random.normal(0, _STRENGTH, (_RANK, inputs)).astype(np.float32)
        tensors[f"{layer}.{up}.weight"] = random.normal(0, _STRENGTH, (outputs, _RANK)).astype(np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def as_kohya_writes(file: Path) -> Path:
    """Write a denoiser's adapter beside itself as kohya's scripts would, at half strength, and return its file."""
    tensors = {}
    for name, tensor in load_file(file).items():
        layer, _, matrix = name.removeprefix("unet.").rpartition(".lora_")
        flat = f"lora_unet_{layer.replace('.', '_')}"
        tensors[f"{flat}.{'lora_down' if matrix == 'A.weight' else 'lora_up'}.weight"] = tensor
        tensors[f"{flat}.alpha"] = np.array(_RANK / 2, np.float32)
    other = file.with_stem(f"{file.stem}-kohya")
    save_file(tensors, other)
    return other


def attention(model: Path, components: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return outputs and inputs of each layer that makes queries."""
    found = {}
    for component in components:
        (weights,) = (model / component).glob("*.safetensors")
        with safe_open(weights, "np") as header:
            for name in header.keys():
                if name.endswith((".to_q.weight", ".q_proj.weight")):
                    layer = f"{component}.{name.removesuffix('.weight')}"
                    found[layer] = tuple(header.get_slice(name).get_shape())
    return found
