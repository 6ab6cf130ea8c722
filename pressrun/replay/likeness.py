"""How like a picture drawn again is to the stored one, and whether that is like enough.

Knows nothing of collections or of how pictures are drawn. A step is one of the 255 of an 8-bit value.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image, JpegImagePlugin

from pressrun.errors import InvalidCollection
from pressrun.picture_distance import Pixels, psnr_db

Provenance = Mapping[str, str | int]


class Verdict(StrEnum):
    """What came of comparing a picture."""

    equal = "equal"  # every bit
    within = "within tolerance"
    different = "different"
    unreadable = "unreadable"  # the stored picture is gone or damaged


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two pictures compared, over all their 8-bit values.

    Parameters
    ----------
    equal_share : float
        Share of equal values, 0 .. 1.
    max_steps : int
        Largest absolute difference, 0 .. 255.
    mean_steps : float
        Mean absolute difference.
    psnr_db : float or None
        Peak signal-to-noise ratio; None for equal pictures, where it is infinite.
    """

    equal_share: float
    max_steps: int
    mean_steps: float
    psnr_db: float | None


def compare(stored: Pixels, drawn: Pixels) -> Likeness:
    """Compare two pictures of one shape, (H, W, 3) uint8."""
    apart = np.abs(stored.astype(np.int16) - drawn.astype(np.int16))
    noise_db = psnr_db(stored, drawn)
    return Likeness(
        equal_share=float(np.mean(apart == 0)),
        max_steps=int(apart.max()),
        mean_steps=float(apart.mean()),
        psnr_db=None if math.isinf(noise_db) else noise_db,
    )


def compare_file(data: bytes, drawn: Pixels) -> Likeness:
    """Compare the picture in a file with one drawn again, which goes through the same loss first if the file lost any.

    Raises
    ------
    InvalidCollection
        When the file is no picture, or one of another size.
    """
    return compare(*comparable(data, drawn))


def comparable(data: bytes, drawn: Pixels) -> tuple[Pixels, Pixels]:
    """Return the picture in a file, and one drawn again after the same loss if the file lost any.

    Raises
    ------
    InvalidCollection
        When the file is no picture, or one of another size.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            stored = np.asarray(picture.convert("RGB"))
            if isinstance(picture, JpegImagePlugin.JpegImageFile):
                drawn = _through_jpeg(drawn, picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidCollection(f"the file cannot be read as a picture ({error})") from error
    if stored.shape != drawn.shape:
        raise InvalidCollection(f"the file holds {stored.shape} values, the picture drawn again {drawn.shape}")
    return stored, drawn


def judge(likeness: Likeness, allowed_steps: int) -> Verdict:
    """Return what a comparison means where no value may differ by more than `allowed_steps`."""
    if likeness.max_steps == 0:
        return Verdict.equal
    return Verdict.within if likeness.max_steps <= allowed_steps else Verdict.different


def changes(then: Provenance, now: Provenance) -> list[str]:
    """Return in which of the things that decide bits two drawings differ, as "torch 2.12.0 then, 2.13.0 now"."""
    names = [*then, *(name for name in now if name not in then)]
    return [
        f"{name} {then.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _through_jpeg(drawn: Pixels, stored: JpegImagePlugin.JpegImageFile) -> Pixels:
    buffer = io.BytesIO()
    sampling = JpegImagePlugin.get_sampling(stored)
    Image.fromarray(drawn).save(buffer, "JPEG", qtables=stored.quantization, subsampling=sampling)
    return np.asarray(Image.open(buffer))
