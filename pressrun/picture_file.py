"""A picture as a file: its pixels, with the request that made it inside.

Knows nothing of where files go. The same arguments give the same bytes: nothing of the run or the time is inside.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pressrun.errors import InvalidJob
from pressrun.request import PIXEL_FIELDS

FormatName = Literal["png", "webp", "jpeg"]

_ENDINGS = {"png": "png", "webp": "webp", "jpeg": "jpg"}
_LEVELS = {"png": (0, 9), "webp": (0, 6), "jpeg": (1, 100)}
# Measured on 512 px pictures like photographs: PNG at 1 takes a third of Pillow's default time for 16% more size; WebP
# at 0 takes a third of that again, at the same size; each step above costs several times the time for a fifth of size.
_DEFAULT_LEVELS = {"png": 1, "webp": 0, "jpeg": 95}
_DESCRIPTION, _EXIF_FOLDER, _COMMENT = 0x010E, 0x8769, 0x9286  # EXIF 2.32: ImageDescription, Exif IFD, UserComment
_ASCII = b"ASCII\0\0\0"
_EXIF_BYTES = 65_000  # a JPEG segment holds 65,533


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """How pictures are written.

    Parameters
    ----------
    name : str
        "png" and "webp" keep every bit, "jpeg" does not.
    level : int or None
        PNG: compression, 0 .. 9. WebP: effort, 0 .. 6. JPEG: quality, 1 .. 100. None takes what was measured to be
        worth its time.

    Raises
    ------
    InvalidJob
        When the level is out of its format's range.
    """

    name: FormatName = "png"
    level: int | None = None

    def __post_init__(self) -> None:
        """Refuse a level that the format does not have."""
        least, most = _LEVELS[self.name]
        if self.level is not None and not least <= self.level <= most:
            raise InvalidJob(
                f"The image level {self.level} is out of range: {self.name} takes {least} to {most}; "
                f"leave it out for {_DEFAULT_LEVELS[self.name]}."
            )

    @property
    def ending(self) -> str:
        """The ending of file names."""
        return _ENDINGS[self.name]

    def encode(self, pixels: npt.NDArray[np.uint8], request: Mapping[str, object], model_revision: str) -> bytes:
        """Return a file that carries its request inside.

        Parameters
        ----------
        pixels : numpy.ndarray
            (H, W, 3) uint8.
        request : mapping
            Values of `PIXEL_FIELDS`.
        model_revision : str
            Digest of the weights.
        """
        level = _DEFAULT_LEVELS[self.name] if self.level is None else self.level
        parameters = {name: request[name] for name in PIXEL_FIELDS} | {"model_revision": model_revision}
        options = _OPTIONS[self.name](level, str(request["prompt"]), parameters)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, self.name, **options)
        return buffer.getvalue()


def request_inside(data: bytes) -> str | None:
    """Return the request inside a whole picture, as JSON; None when it is damaged or carries none."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            request = picture.info.get("pressrun") or _comment(picture)
    except (OSError, SyntaxError, ValueError):
        return None
    return None if request is None else str(request)


def _png(level: int, prompt: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    text = PngInfo()
    text.add_itxt("prompt", prompt)
    text.add_itxt("pressrun", json.dumps(parameters, ensure_ascii=False))
    return {"pnginfo": text, "compress_level": level}


def _webp(level: int, prompt: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    # For lossless pictures `quality` is effort too; more of it than 0 costs time and saves nothing.
    return {"lossless": True, "method": level, "quality": 0, "exif": _exif(prompt, parameters)}


def _jpeg(level: int, prompt: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    return {"quality": level, "subsampling": 0, "exif": _exif(prompt, parameters)}


_OPTIONS = {"png": _png, "webp": _webp, "jpeg": _jpeg}


def _exif(prompt: str, parameters: Mapping[str, object]) -> bytes:
    comment = _ASCII + json.dumps(parameters).encode("ascii")
    if len(comment) > _EXIF_BYTES:  # what identifies the request is kept; the manifest has it whole
        comment = _ASCII + json.dumps({"request_sha256": hashlib.sha256(comment).hexdigest()}).encode("ascii")
    exif = Image.Exif()
    description = prompt.encode()  # as bytes, or Pillow would make question marks of all but ASCII
    if len(description) + len(comment) < _EXIF_BYTES:
        exif[_DESCRIPTION] = description
    exif.get_ifd(_EXIF_FOLDER)[_COMMENT] = comment
    return exif.tobytes()


def _comment(picture: Image.Image) -> str | None:
    comment = picture.getexif().get_ifd(_EXIF_FOLDER).get(_COMMENT)
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        return None
    return comment.removeprefix(_ASCII).decode("ascii")
