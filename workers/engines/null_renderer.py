"""An engine without a model: fast, deterministic colour, to measure everything around the engine.

Knows nothing of prompts; a picture depends on its seed and size alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import numpy as np

from pressrun.batch import Batch
from workers.engines.renderer import Pixels


class NullRenderer:
    """Draws a gradient between two colours with some noise.

    Parameters
    ----------
    seconds_per_image : float
        Time that each picture pretends to take, padding left out.
    sleep : callable
        Waits the given seconds.
    """

    def __init__(self, seconds_per_image: float = 0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._seconds_per_image = seconds_per_image
        self._sleep = sleep

    def render(self, batch: Batch) -> Pixels:
        """Return the batch's pictures, in order; see `workers.engines.renderer.Renderer`."""
        if self._seconds_per_image:
            self._sleep(self._seconds_per_image * len(batch))
        width_px, height_px = cast(int, batch.shared("width_px")), cast(int, batch.shared("height_px"))
        seeds = cast(list[int], batch.column("seed"))
        return np.stack([_draw(seed, width_px, height_px) for seed in seeds])  # (B, H, W, 3) uint8

    def provenance(self) -> dict[str, str | int]:
        """Return what a picture's bits depend on besides its request."""
        return {"engine": "null", "numpy": np.__version__, "device": "cpu"}

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _draw(seed: int, width_px: int, height_px: int) -> Pixels:
    rng = np.random.default_rng(seed)
    start, end = rng.integers(0, 225, (2, 3))
    slope = np.linspace(0, 1, width_px)[None, :, None]
    noise = rng.integers(0, 31, (height_px, width_px, 3))
    picture: Pixels = (start + (end - start) * slope + noise).astype(np.uint8)  # (H, W, 3)
    return picture


__all__ = ["NullRenderer"]
