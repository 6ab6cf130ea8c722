"""Writes a folder that looks like a Stable Diffusion model, with weights of a few bytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

VAE = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4}
UNET = {"sample_size": 64, "block_out_channels": [320, 640]}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def safetensors(data_bytes: int = 16) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [data_bytes // 4], "data_offsets": [0, data_bytes]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


def make_index(**changes: Any) -> str:
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return json.dumps(index | changes)


def write_model(root: Path) -> Path:
    """Write the folder and return it."""
    files: dict[str, str | bytes] = {
        "model_index.json": make_index(),
        "scheduler/scheduler_config.json": json.dumps({"_class_name": "DDIMScheduler"}),
        "text_encoder/config.json": "{}",
        "text_encoder/model.safetensors": safetensors(),
        "tokenizer/merges.txt": "a b",
        "tokenizer/vocab.json": "{}",
        "unet/config.json": json.dumps(UNET),
        f"unet/{WEIGHTS}": safetensors(64),
        "vae/config.json": json.dumps(VAE),
        f"vae/{WEIGHTS}": safetensors(),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root
