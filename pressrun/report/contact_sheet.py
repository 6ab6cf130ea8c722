"""The contact sheet: one PNG with many pictures and what each was asked to show.

Knows nothing of collections. The font is the one inside Pillow, so that a sheet looks the same everywhere; signs
that it lacks lose their accents where that helps ("é" as "e"), and are drawn as boxes where it does not.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from pressrun.report.thumbnail import open_picture

MOST_TILES = 120

_PICTURE_PX = 128
_GAP_PX = 18
_MARGIN_PX = 32
_TITLE_PX = 64
_CAPTION_LINES = 3
_LINE_PX = 15
_CAPTION_GAP_PX = 6
_CELL_PX = _PICTURE_PX + _GAP_PX
_ROW_PX = _PICTURE_PX + _CAPTION_GAP_PX + _CAPTION_LINES * _LINE_PX + _GAP_PX
_SHAPE = 1.3  # width to height that a sheet aims at, in cells
_PAPER, _INK, _GREY, _FRAME = "#fbfaf7", "#1d1d1f", "#6e6e73", "#dedbd3"
_ELLIPSIS = "…"
_MOST_SIGNS = 400  # more than a caption holds; a prompt of 100,000 signs would take seconds to measure
_UNKNOWN_SIGN = "\uffff"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet.

    Parameters
    ----------
    png : bytes
        The picture, of any size; PNG, JPEG or WebP.
    caption : str
        Its prompt, of any length.
    """

    png: bytes
    caption: str


def choose_evenly(count: int, most: int = MOST_TILES) -> list[int]:
    """Return which of `count` pictures to show: all, or `most` of them with equal distances, the first and last too."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [0]
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def draw_contact_sheet(tiles: Sequence[Tile], title: str, subtitle: str = "") -> bytes:
    """Draw a contact sheet.

    Parameters
    ----------
    tiles : sequence of Tile
        0 .. `MOST_TILES` pictures, in reading order; `choose_evenly` picks them.
    title : str
        Line at the top.
    subtitle : str
        Smaller text beside it.

    Returns
    -------
    bytes
        A PNG; the same bytes for the same tiles and the same Pillow.

    Raises
    ------
    InvalidCollection
        When a tile's bytes are not a picture.
    """
    columns = max(4, math.ceil(math.sqrt(len(tiles) * _SHAPE * _ROW_PX / _CELL_PX)))
    rows = math.ceil(len(tiles) / columns)
    size = (2 * _MARGIN_PX + columns * _CELL_PX - _GAP_PX, _MARGIN_PX + _TITLE_PX + rows * _ROW_PX + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_title(draw, title, subtitle, size[0])
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        _draw_tile(sheet, draw, tile, _MARGIN_PX + column * _CELL_PX, _MARGIN_PX + _TITLE_PX + row * _ROW_PX)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw_title(draw: ImageDraw.ImageDraw, title: str, subtitle: str, width_px: int) -> None:
    font, small = _font(26), _font(14)
    room_px = width_px - 2 * _MARGIN_PX
    text = _elided(_printable(title), font, room_px)
    draw.text((_MARGIN_PX, _MARGIN_PX), text, _INK, font)
    left_px = math.ceil(font.getlength(text)) + 14
    if subtitle and room_px - left_px >= _PICTURE_PX:
        rest = _elided(_printable(subtitle), small, room_px - left_px)
        draw.text((_MARGIN_PX + left_px, _MARGIN_PX + 10), rest, _GREY, small)


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    picture = _fitted(open_picture(tile.png, tile.caption))
    x, y = left + (_PICTURE_PX - picture.width) // 2, top + (_PICTURE_PX - picture.height) // 2
    sheet.paste(picture, (x, y))
    draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=_FRAME)
    font = _font(12)
    for number, line in enumerate(wrapped(_printable(tile.caption), font, _PICTURE_PX)):
        draw.text((left, top + _PICTURE_PX + _CAPTION_GAP_PX + number * _LINE_PX), line, _GREY, font)


def _fitted(picture: Image.Image) -> Image.Image:
    """Return the picture with its longer side at the cell's width, enlarged if it is smaller."""
    scale = _PICTURE_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def wrapped(text: str, font: Font, width_px: int, lines: int = _CAPTION_LINES) -> list[str]:
    """Break text into lines that fit, at blanks where there are any; what is left over ends in an ellipsis.

    Parameters
    ----------
    text : str
        Without line breaks.
    font : ImageFont
        What it is drawn in.
    width_px : int
        Room a line.
    lines : int
        Lines at most, 1 or more.

    Returns
    -------
    list of str
        0 .. `lines` lines, none wider than `width_px`.
    """
    done: list[str] = []
    rest = text
    while rest and len(done) < lines - 1:
        head = rest[: _fitting(rest, font, width_px)]
        if len(head) < len(rest) and not rest[len(head)].isspace() and " " in head:
            head = head[: head.rindex(" ")]
        done.append(head.rstrip())
        rest = rest[len(head) :].lstrip()
    return [*done, _elided(rest, font, width_px)] if rest else done


def _elided(text: str, font: Font, width_px: float) -> str:
    if font.getlength(text) <= width_px:
        return text
    return text[: _fitting(text, font, width_px - font.getlength(_ELLIPSIS))].rstrip() + _ELLIPSIS


def _fitting(text: str, font: Font, width_px: float) -> int:
    """Return how many signs fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle]) <= width_px else (low, middle - 1)
    return low


def _printable(text: str) -> str:
    """Return the text on one line, in signs that can be drawn as far as there are any."""
    return " ".join("".join(_drawable(sign) for sign in text[:_MOST_SIGNS]).split())


@cache
def _drawable(sign: str) -> str:
    if not sign.isprintable():
        return " "
    font = _font(12)
    if bytes(font.getmask(sign)) != bytes(font.getmask(_UNKNOWN_SIGN)):
        return sign
    plain = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    return plain if plain.isascii() else sign


def _font(size_px: int) -> Font:
    return ImageFont.load_default(size=size_px)
