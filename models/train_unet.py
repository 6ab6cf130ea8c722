"""The UNet stage: from noise to latents, told by a caption.

It predicts the velocity on a schedule that ends in pure noise, else a plain background drifts to grey. Now and then
the caption is left empty, so that guidance has something to guide away from. Knows nothing of pixels.

References
----------
Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022 (velocity).
Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2024 (zero terminal SNR).
Ho and Salimans, Classifier-Free Diffusion Guidance, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from models.captions import DISTRACTORS
from models.pool import Pool
from models.train_clip import WIDTH, tokens
from models.train_vae import LATENT_CHANNELS
from models.training import Course, Plan

TIMES = 1000
EMPTY_SHARE = 0.1
DISTRACTED_SHARE = 0.03


def new_unet() -> UNet2DConditionModel:
    """Give an untrained UNet for 16 x 16 x 4 latents and text of width 128."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
    )


def new_scheduler() -> DDIMScheduler:
    """Give the noise schedule, which is also the sampler that the pipeline stores."""
    return DDIMScheduler(
        num_train_timesteps=TIMES,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


@dataclass(frozen=True, slots=True)
class Text:
    """The frozen tokenizer and text tower of the CLIP."""

    tokenizer: CLIPTokenizer
    tower: CLIPTextModel

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Encode texts as the pipeline does: float32 (B, 32, 128)."""
        with torch.no_grad():
            hidden: torch.Tensor = self.tower(tokens(self.tokenizer, texts, "max_length")).last_hidden_state
        return hidden


def silence_some(texts: list[str], rng: np.random.Generator) -> list[str]:
    """Replace a tenth of the captions by nothing, and a few by words that say nothing about the picture."""
    draws: NDArray[np.float64] = rng.random(len(texts))
    words = [DISTRACTORS[i] for i in rng.integers(len(DISTRACTORS), size=len(texts))]
    return [
        "" if draw < EMPTY_SHARE else word if draw < EMPTY_SHARE + DISTRACTED_SHARE else text
        for draw, word, text in zip(draws, words, texts, strict=True)
    ]


def noise_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """Pick times, one from each equal share of chances, twice as often midway, where shapes take form.

    Parameters
    ----------
    count : int
        How many.
    generator : torch.Generator
        Picks within each share.

    Returns
    -------
    torch.Tensor
        int64 (count,) in 0..999, ascending.
    """
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    midway = even + 0.6 * torch.sin(2 * torch.pi * even) / (2 * torch.pi)
    return (midway * TIMES).long().clamp(0, TIMES - 1)


class Lessons:
    """Batches of noisy latents and captions, decided by seed and step.

    Parameters
    ----------
    pool : Pool
        What the latents show.
    latents : torch.Tensor
        float16 (N, 4, 16, 16), in the pool's order.
    text : Text
        Encodes the captions.
    """

    def __init__(self, pool: Pool, latents: torch.Tensor, text: Text) -> None:
        self._pool, self._latents, self._text = pool, latents, text
        self._scheduler = new_scheduler()

    def loss(self, unet: UNet2DConditionModel, plan: Plan, step: int) -> torch.Tensor:
        """Give the mean squared error of the velocity in one step's batch."""
        rng = np.random.default_rng((plan.seed, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = rng.choice(len(self._pool.scenes), size=plan.batch, replace=False)
        hidden = self._text.encode(silence_some(self._pool.captions(rows, rng)[0], rng))
        clean = self._latents[torch.from_numpy(rows)].float()  # (B, 4, 16, 16)
        noise = torch.randn(clean.shape, generator=generator)
        times = noise_times(plan.batch, generator)
        noisy = self._scheduler.add_noise(clean, noise, times).contiguous(memory_format=torch.channels_last)
        wanted = self._scheduler.get_velocity(clean, noise, times)
        return F.mse_loss(unet(noisy, times, hidden).sample, wanted)


def train_unet(lessons: Lessons, plan: Plan, work: Path) -> tuple[UNet2DConditionModel, float]:
    """Train the UNet.

    Returns
    -------
    tuple
        The averaged model in evaluation mode, and the seconds its training took in all.
    """
    torch.manual_seed(plan.seed)
    course = Course(new_unet().to(memory_format=torch.channels_last), plan, work)
    for step in course.steps():
        course.learn(lessons.loss(course.module, plan, step))
    unet: UNet2DConditionModel = course.average.eval()
    return unet, course.seconds
