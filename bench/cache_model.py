"""A model folder for the benchmarks of the cache: the layout and headers of a real one, random weights of any size."""

from __future__ import annotations

import json
import os
from pathlib import Path
from struct import pack

_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_SHARES = {"unet": 0.85, "vae": 0.15}
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_TENSORS = 32
_BLOCK_BYTES = 2**24


def write_model(folder: Path, size_bytes: int) -> list[str]:
    """Write a model whose weights are random bytes, which nothing on the way can make smaller.

    Parameters
    ----------
    folder : Path
        Made if missing.
    size_bytes : int
        Size of all weights together, headers left out; rounded down to whole tensors.

    Returns
    -------
    list of str
        Paths of the weight files, relative to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(_INDEX))
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    for name, share in _SHARES.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text("{}")
        _write_weights(folder / name / _WEIGHTS, int(size_bytes * share) // _TENSORS)
    return [f"{name}/{_WEIGHTS}" for name in _SHARES]


def _write_weights(path: Path, tensor_bytes: int) -> None:
    tensors = {
        f"layer.{number}.weight": {
            "dtype": "U8",
            "shape": [tensor_bytes],
            "data_offsets": [number * tensor_bytes, (number + 1) * tensor_bytes],
        }
        for number in range(_TENSORS)
    }
    header = json.dumps(tensors).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(pack("<Q", len(header)) + header)
        for start in range(0, _TENSORS * tensor_bytes, _BLOCK_BYTES):
            file.write(os.urandom(min(_BLOCK_BYTES, _TENSORS * tensor_bytes - start)))


__all__ = ["write_model"]
