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


def ssim(one: Pixels, other: Pixels) -> float:
    """Return the structural similarity of the pair of pictures that are least alike, so that no bad one hides.

    Parameters
    ----------
    one, other : numpy.ndarray
        (N, H, W, 3) uint8, of equal shape; N is 1 or more, H and W 7 or more.

    Returns
    -------
    float
        -1 .. 1, 1 for equal pictures; the mean over 7 x 7 windows and channels.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural similarity (2004).
    """
    from skimage.metrics import structural_similarity  # a second that only the quality gate needs to wait

    return min(float(structural_similarity(a, b, channel_axis=-1)) for a, b in zip(one, other, strict=True))
