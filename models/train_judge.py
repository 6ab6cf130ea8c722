"""The judge's lessons: drawn pictures, and drawn pictures spoiled so that they show no shape of the world.

Knows nothing of generated pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional as F

from models.judge import ANSWERS, OTHER, Eye, Judge
from models.pool import Pool, roughen, to_tensor
from models.training import Course, Plan
from models.world import PICTURE_PX

SPOILED_SHARE = 0.2


def _blob(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a crooked outline in a random colour on the picture's own background."""
    corners = int(rng.integers(5, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.25, 1.1, corners) * rng.uniform(9.0, 18.0)
    centre = rng.uniform(22.0, 42.0, size=2)
    points = (np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + centre) * 2
    canvas = Image.new("RGB", (PICTURE_PX * 2,) * 2, tuple(int(v) for v in picture[0, 0]))
    fill = tuple(int(v) for v in rng.integers(256, size=3))
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in points.tolist()], fill=fill)
    return np.asarray(canvas.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX))


def spoil(picture: NDArray[np.uint8], other: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make of two drawn pictures one that shows no shape of the world.

    Parameters
    ----------
    picture, other : numpy.ndarray
        uint8 (64, 64, 3).
    rng : numpy.random.Generator
        Picks the way: empty, a blob, a ghost of both, or halves of each.

    Returns
    -------
    numpy.ndarray
        uint8 (64, 64, 3).
    """
    way = rng.integers(4)
    if way == 0:
        return np.broadcast_to(picture[:1, :1], picture.shape)
    if way == 1:
        return _blob(picture, rng)
    if way == 2:
        share = rng.uniform(0.35, 0.65)
        return np.rint(picture * share + other * (1.0 - share)).astype(np.uint8)
    left = np.arange(PICTURE_PX)[None, :, None] < rng.integers(28, 37)
    mixed = np.where(left, picture, other)
    return mixed if rng.random() < 0.5 else mixed.swapaxes(0, 1)


def _batch(pool: Pool, plan: Plan, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng((plan.seed, step))
    rows = rng.choice(len(pool.scenes), size=plan.batch, replace=False)
    pictures, codes = pool.pictures[rows].copy(), pool.codes[rows].copy()
    for i in range(int(plan.batch * SPOILED_SHARE)):
        pictures[i] = spoil(pictures[i], pictures[-1 - i], rng)
        codes[i] = (ANSWERS["shape"].index(OTHER), -1, -1, -1, -1)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return roughen(to_tensor(pictures), generator), torch.from_numpy(codes)


def train_judge(pool: Pool, plan: Plan, work: Path) -> tuple[Judge, float]:
    """Train the judge.

    Returns
    -------
    tuple
        The judge, and the seconds its training took in all.
    """
    torch.manual_seed(plan.seed)
    course = Course(Eye(), plan, work)
    for step in course.steps():
        pictures, codes = _batch(pool, plan, step)
        losses = [F.cross_entropy(part, codes[:, i], ignore_index=-1) for i, part in enumerate(course.module(pictures))]
        course.learn(torch.stack(losses).sum())
    return Judge(course.average), course.seconds
