"""Pictures that weigh what photographs weigh: smooth light, edges and grain.

Knows nothing of prompts. A PNG of one is about two thirds of its raw bytes, as a photograph's is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
_GRAIN = 7.0  # standard deviation where the picture is roughest, in 8-bit steps


def draw_photo(seed: int, width_px: int, height_px: int) -> Pixels:
    """Return one picture as (height_px, width_px, 3) uint8; takes tens of milliseconds."""
    rng = np.random.default_rng(seed)
    light = sum(_clouds(rng, width_px, height_px, cells) * 110 / cells**0.7 for cells in (2, 4, 9, 20, 45))
    tint = _clouds(rng, width_px, height_px, 3)[..., None] * rng.uniform(-40, 40, 3)
    rough = np.clip(_clouds(rng, width_px, height_px, 6) + 0.45, 0.1, 1)[..., None]  # skies are smoother than leaves
    grain = rng.normal(0, _GRAIN, (height_px, width_px, 3)) * rough
    picture = 128 + np.asarray(light)[..., None] + tint + grain  # (H, W, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, width_px: int, height_px: int, cells: int) -> npt.NDArray[np.float64]:
    """Return smooth noise in -1 .. 1, about `cells` lumps across, as (H, W)."""
    nodes = rng.uniform(-1, 1, (cells + 2, cells + 2))
    rows, row_share = _between(height_px, cells)
    columns, column_share = _between(width_px, cells)
    upper, lower = nodes[rows], nodes[rows + 1]
    along = upper + (lower - upper) * row_share[:, None]  # (H, cells + 2)
    left, right = along[:, columns], along[:, columns + 1]
    return np.asarray(left + (right - left) * column_share[None, :])


def _between(length_px: int, cells: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the node before every pixel, and how far the pixel is towards the next, eased."""
    places = np.arange(length_px) / length_px * cells
    nodes = places.astype(np.int64)
    share = places - nodes
    return nodes, share * share * (3 - 2 * share)
