"""The picture sizes a model was made for, worked out from its components' settings.

Knows nothing of files; the settings are plain JSON objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]

FALLBACK_SIZE_PX = 1024
FALLBACK_MULTIPLE_PX = 16
# Pipelines that keep no sample size, such as Flux's, take 128 latent pixels.
_FALLBACK_SAMPLE_SIZE = 128


def native_size_px(denoiser: Settings | None, decoder: Settings | None) -> tuple[int, int]:
    """Return the picture size the model was trained at.

    Parameters
    ----------
    denoiser : mapping or None
        Settings of the unet or transformer.
    decoder : mapping or None
        Settings of the VAE (or movq, vqgan); None for models that work on pixels.

    Returns
    -------
    tuple of int
        Width and height. 1024 each where the settings do not tell.
    """
    if denoiser is None:
        return FALLBACK_SIZE_PX, FALLBACK_SIZE_PX
    factor, sample = latent_factor(decoder), denoiser.get("sample_size")
    if isinstance(sample, list | tuple) and len(sample) == 2 and all(isinstance(side, int) for side in sample):
        return int(sample[1]) * factor, int(sample[0]) * factor  # the settings say height first
    if isinstance(sample, int) and sample > 0:
        return sample * factor, sample * factor
    side = min(_FALLBACK_SAMPLE_SIZE * factor, FALLBACK_SIZE_PX)
    return side, side


def size_multiple_px(denoiser: Settings | None, decoder: Settings | None) -> int:
    """Return the number that width and height must be a multiple of.

    Parameters
    ----------
    denoiser, decoder : mapping or None
        As for `native_size_px`.

    Returns
    -------
    int
        Pixels a latent pixel times latent pixels a patch; for unets at least the 8 that their pipelines ask for.
    """
    if denoiser is None:
        return FALLBACK_MULTIPLE_PX
    factor = latent_factor(decoder)
    if "block_out_channels" in denoiser:
        return math.lcm(8, factor)
    multiple = factor * _patch_size(denoiser, decoder)
    # Transformer pipelines without patches of their own still check for 8.
    return math.lcm(8, multiple) if "sample_size" in denoiser else multiple


def latent_factor(decoder: Settings | None) -> int:
    """Return how many pixels wide one latent pixel is; 1 without a decoder."""
    if decoder is None:
        return 1
    stages = decoder.get("temperal_downsample")  # spelt so in the settings of Qwen's and Wan's VAEs
    if isinstance(stages, list):
        return int(2 ** len(stages))
    for key in ("encoder_block_out_channels", "block_out_channels", "down_block_types"):
        stages = decoder.get(key)
        if isinstance(stages, list) and stages:
            return int(2 ** (len(stages) - 1))
    return 8


def _patch_size(denoiser: Settings, decoder: Settings | None) -> int:
    patch = denoiser.get("patch_size") or denoiser.get("all_patch_size") or 1
    patch = patch[-1] if isinstance(patch, list) else patch
    if isinstance(patch, int) and patch > 1:
        return patch
    # Flux and its kin fold 2x2 latent pixels into the channels before the transformer sees them.
    packed = decoder is not None and denoiser.get("in_channels") == 4 * int(decoder.get("latent_channels") or 0)
    return 2 if packed else 1


__all__ = ["Settings", "latent_factor", "native_size_px", "size_multiple_px"]
