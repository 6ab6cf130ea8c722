"""Small copies of pictures, for pages and sheets that show many.

Knows nothing of where pictures are kept or shown.
"""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from pressrun.errors import InvalidCollection

_JPEG_QUALITY = 85


def open_picture(data: bytes, name: str) -> Image.Image:
    """Return a picture as RGB, on white where it is transparent.

    Parameters
    ----------
    data : bytes
        PNG, JPEG or WebP.
    name : str
        What to call it in an error.

    Raises
    ------
    InvalidCollection
        When the bytes are not a picture.
    """
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InvalidCollection(
            f"Picture {name!r} ({len(data)} bytes) cannot be read; run `pressrun verify` on the collection."
        ) from error
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def thumbnail(data: bytes, most_px: int = 320, name: str = "") -> bytes:
    """Return a picture no larger than `most_px` on either side.

    Parameters
    ----------
    data : bytes
        PNG, JPEG or WebP.
    most_px : int
        Longest side allowed, 1 or more.
    name : str
        What to call the picture in an error.

    Returns
    -------
    bytes
        `data` itself when it is small enough, else a JPEG.
    """
    picture = open_picture(data, name)
    if max(picture.size) <= most_px:
        return data
    picture.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
