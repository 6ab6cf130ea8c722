"""The VAE stage: 64 px pictures to 16 x 16 x 4 latents and back.

The latents are taught, not found: three channels hold the mean colour of 4 x 4 px and the fourth the contrast among
them, each at mean 0 and deviation 1 over drawn pictures. Left to itself a VAE this small took ten times as long to keep
the colours apart. The decoder learns from latents with some noise, so that it forgives what a UNet gets slightly wrong.
Knows nothing of captions.

References
----------
Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022 (the network).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from models.pool import Pool, to_tensor
from models.training import Course, Plan
from models.world import PICTURE_PX

FACTOR = 4
LATENT_CHANNELS = 4
NOISE_TOP = 0.25
LOG_VARIANCE = -6.0


def new_vae() -> AutoencoderKL:
    """Give an untrained VAE of factor 4 with 4 latent channels, whose latents need no scaling."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=PICTURE_PX,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def _colour_and_contrast(pictures: torch.Tensor) -> torch.Tensor:
    colour = F.avg_pool2d(pictures, FACTOR)  # (B, 3, 16, 16)
    square = F.avg_pool2d(pictures.square(), FACTOR)
    spread = (square - colour.square()).clamp(min=0.0).sum(1, keepdim=True).sqrt()
    return torch.cat([colour, spread], dim=1)


class Latents:
    """What the latents of a picture shall be.

    Parameters
    ----------
    pictures : torch.Tensor
        float32 (B, 3, 64, 64) in [-1, 1], over which each channel gets mean 0 and deviation 1.
    """

    def __init__(self, pictures: torch.Tensor) -> None:
        raw = _colour_and_contrast(pictures)
        self._mean = raw.mean((0, 2, 3), keepdim=True)
        self._spread = raw.std((0, 2, 3), keepdim=True)

    def of(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give the latents of float32 (B, 3, 64, 64) pictures in [-1, 1]: float32 (B, 4, 16, 16)."""
        return (_colour_and_contrast(pictures) - self._mean) / self._spread

    def of_all(self, pool: Pool, batch: int = 512) -> torch.Tensor:
        """Give the latents of a whole pool: float16 (N, 4, 16, 16)."""
        starts = range(0, len(pool.scenes), batch)
        return torch.cat([self.of(to_tensor(pool.pictures[i : i + batch])).half() for i in starts])


def latents_for(pool: Pool) -> Latents:
    """Give the latents as measured on a pool's first thousand pictures."""
    return Latents(to_tensor(pool.pictures[:1024]))


def _edges(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pictures.diff(dim=2), pictures.diff(dim=3)


def reconstruction_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Give the mean error of pictures and of their edges, absolute and squared."""
    edges = [F.l1_loss(a, b) for a, b in zip(_edges(made), _edges(wanted), strict=True)]
    return F.mse_loss(made, wanted) + 0.5 * F.l1_loss(made, wanted) + 0.5 * torch.stack(edges).sum()


def _batch_loss(vae: AutoencoderKL, latents: Latents, pool: Pool, plan: Plan, step: int) -> torch.Tensor:
    rng = np.random.default_rng((plan.seed, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    rows = np.sort(rng.choice(len(pool.scenes), size=plan.batch, replace=False))
    pictures = to_tensor(pool.pictures[rows]).contiguous(memory_format=torch.channels_last)
    wanted = latents.of(pictures)
    level = torch.rand(plan.batch, 1, 1, 1, generator=generator).square() * NOISE_TOP
    made = vae.decode(wanted + level * torch.randn(wanted.shape, generator=generator)).sample
    hidden = vae.encode(pictures).latent_dist
    width = F.mse_loss(hidden.logvar, torch.full_like(hidden.logvar, LOG_VARIANCE))
    loss: torch.Tensor = reconstruction_loss(made, pictures) + F.mse_loss(hidden.mean, wanted) + 0.01 * width
    return loss


def train_vae(pool: Pool, plan: Plan, work: Path) -> tuple[AutoencoderKL, float]:
    """Train the VAE.

    Returns
    -------
    tuple
        The averaged model in evaluation mode, and the seconds its training took in all.
    """
    torch.manual_seed(plan.seed)
    latents = latents_for(pool)
    module: nn.Module = new_vae().to(memory_format=torch.channels_last)
    course = Course(module, plan, work)
    for step in course.steps():
        course.learn(_batch_loss(course.module, latents, pool, plan, step))
    vae: AutoencoderKL = course.average.eval()
    return vae, course.seconds
