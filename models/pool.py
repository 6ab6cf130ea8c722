"""A pool of drawn pictures held in memory, from which all stages take their batches.

Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.captions import describe
from models.world import Scene, draw_many, split_scenes


@dataclass(frozen=True, slots=True)
class Pool:
    """Drawn pictures and what they show.

    Attributes
    ----------
    pictures : numpy.ndarray
        uint8 (N, 64, 64, 3).
    codes : numpy.ndarray
        int64 (N, 5), each scene's words as indices into the world's vocabulary.
    scenes : list of Scene
        The scenes, in the same order.
    """

    pictures: NDArray[np.uint8]
    codes: NDArray[np.int64]
    scenes: list[Scene]

    def captions(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[list[str], NDArray[np.int64]]:
        """Caption the pictures of some rows afresh: the texts, and int64 (B, 5) codes named (-1: silent)."""
        told = [describe(self.scenes[row], rng) for row in rows]
        return [text for text, _ in told], np.array([named.codes() for _, named in told], dtype=np.int64)


def drawn_pool(size: int, seed: int, work: Path | None = None) -> Pool:
    """Draw a pool from the training scenes, every scene about equally often.

    Parameters
    ----------
    size : int
        How many pictures.
    seed : int
        Which scenes in which order, and their jitter.
    work : pathlib.Path, optional
        Where the pictures are kept for the next run.

    Returns
    -------
    Pool
        The same for the same size and seed.
    """
    rng = np.random.default_rng(seed)
    shown, _ = split_scenes()
    order = np.concatenate([rng.permutation(len(shown)) for _ in range(-(-size // len(shown)))])[:size]
    scenes = [shown[i] for i in order]
    kept = work / f"pool-{size}-{seed}.npy" if work else None
    if kept and kept.exists():
        pictures: NDArray[np.uint8] = np.load(kept, mmap_mode="c")
    else:
        pictures = draw_many(scenes, rng)
        if kept:
            np.save(kept, pictures)
    return Pool(pictures, np.array([scene.codes() for scene in scenes], dtype=np.int64), scenes)


def to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 (B, 64, 64, 3) pictures into float32 (B, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def roughen(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Soften and speckle drawn pictures so that what learns from them also reads generated ones.

    Parameters
    ----------
    pictures : torch.Tensor
        float32 (B, 3, 64, 64) in [-1, 1].
    generator : torch.Generator
        Draws, a picture at a time, the share of blur, the noise and the shift in colour.

    Returns
    -------
    torch.Tensor
        Like `pictures`, values clamped to [-1, 1].
    """
    count = len(pictures)

    def share(top: float) -> torch.Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator).square() * top

    soft = torch.nn.functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    rough = torch.lerp(pictures, soft, share(1.0).expand_as(pictures))
    coarse = torch.randn(count, 3, 16, 16, generator=generator)
    coarse = torch.nn.functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")
    rough = rough + share(0.12) * torch.randn(pictures.shape, generator=generator) + share(0.12) * coarse
    shift = torch.randn(count, 3, 1, 1, generator=generator) * 0.04
    return (rough + shift).clamp(-1.0, 1.0)
