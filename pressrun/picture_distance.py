"""How far pictures are from others of the same requests.

Knows nothing of who drew them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio of pictures, over all of them at once, so that no bad one hides.

    Parameters
    ----------
    one, other : numpy.ndarray
        (N, H, W, 3) uint8, of equal shape.

    Returns
    -------
    float
        Decibels, `10 log10(255**2 / mean squared error)`; infinity for equal pictures.
    """
    error = float(np.mean(np.square(one.astype(np.float64) - other.astype(np.float64))))
    return math.inf if error == 0 else 10.0 * math.log10(255.0**2 / error)
