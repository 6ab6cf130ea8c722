from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from pressrun.errors import InvalidCollection
from pressrun.report.contact_sheet import Tile, choose_evenly, draw_contact_sheet, wrapped
from pressrun.report.thumbnail import open_picture, thumbnail

FONT = ImageFont.load_default(size=12)


def png(width: int = 64, height: int = 64, colour: object = "red", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def opened(sheet: bytes) -> Image.Image:
    return Image.open(io.BytesIO(sheet)).convert("RGB")


def area_of(sheet: bytes, colour: tuple[int, int, int]) -> int:
    return sum(count for count, found in opened(sheet).getcolors(1 << 20) or [] if found == colour)


def test_every_picture_stands_on_the_sheet_at_its_full_size() -> None:
    sheet = draw_contact_sheet([Tile(png(), "a red square")] * 7, "Seven")
    assert area_of(sheet, (255, 0, 0)) == 7 * 128 * 128


@pytest.mark.parametrize(("width", "height"), [(64, 64), (2000, 1000), (1, 300), (300, 1), (128, 128)])
def test_any_size_fits_its_cell_and_keeps_its_shape(width: int, height: int) -> None:
    sheet = draw_contact_sheet([Tile(png(width, height), "")], "One")
    scale = 128 / max(width, height)
    assert area_of(sheet, (255, 0, 0)) == max(1, round(width * scale)) * max(1, round(height * scale))


def test_the_same_tiles_give_the_same_bytes() -> None:
    tiles = [Tile(png(colour=(i, 2 * i, 200)), f"picture {i}") for i in range(20)]
    assert draw_contact_sheet(tiles, "Twice", "again") == draw_contact_sheet(tiles, "Twice", "again")


def test_a_caption_changes_the_sheet() -> None:
    assert draw_contact_sheet([Tile(png(), "one")], "t") != draw_contact_sheet([Tile(png(), "two")], "t")


@pytest.mark.parametrize("count", [0, 1, 119, 120])
def test_a_sheet_of_any_count_is_not_much_longer_than_wide(count: int) -> None:
    sheet = opened(draw_contact_sheet([Tile(png(8, 8), "x")] * count, "Sheet"))
    assert sheet.height <= 1.5 * sheet.width
    assert sheet.width <= 2400


@pytest.mark.parametrize(
    "text",
    ["日本語のプロンプト", "🎨🖼️", "مرحبا بالعالم", "a\x00b\n\tc", "", " ", "x" * 100_000, "word " * 20_000, "\ud800"],
)
def test_any_prompt_can_stand_as_a_caption_and_title(text: str) -> None:
    assert opened(draw_contact_sheet([Tile(png(), text)], text, text)).width > 128


def test_accents_that_the_font_lacks_are_dropped_rather_than_boxed() -> None:
    assert draw_contact_sheet([Tile(png(), "ễ")], "t") == draw_contact_sheet([Tile(png(), "e")], "t")


def test_see_through_pictures_lie_on_white() -> None:
    assert open_picture(png(colour=(0, 0, 0, 0), mode="RGBA"), "x").getpixel((5, 5)) == (255, 255, 255)


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(InvalidCollection, match=r"'a red star' \(4 bytes\) cannot be read"):
        draw_contact_sheet([Tile(b"oops", "a red star")], "t")


@given(st.integers(0, 5000), st.integers(1, 200))
def test_pictures_are_chosen_evenly(count: int, most: int) -> None:
    chosen = choose_evenly(count, most)
    assert len(chosen) == len(set(chosen)) == min(count, most)
    assert all(0 <= number < count for number in chosen)
    steps = [b - a for a, b in itertools.pairwise(chosen)]
    assert not steps or max(steps) - min(steps) <= 1
    assert count <= most or most == 1 or (chosen[0], chosen[-1]) == (0, count - 1)


@settings(max_examples=60, deadline=None)
@example("a small red circle on a blue background, left", 3)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=120), st.integers(1, 4))
def test_lines_fit_and_hold_the_text_from_its_start(text: str, lines: int) -> None:
    broken = wrapped(text, FONT, 128, lines)
    assert len(broken) <= lines
    assert all(FONT.getlength(line) <= 128 for line in broken)
    joined = "".join(broken).replace(" ", "")
    assert text.replace(" ", "").startswith(joined.removesuffix("…"))
    assert joined.endswith("…") or joined == text.replace(" ", "")


def test_words_stay_whole_where_they_fit() -> None:
    assert wrapped("a small purple circle on a white background, left", FONT, 128) == [
        "a small purple circle",
        "on a white",
        "background, left",
    ]


def test_a_small_picture_is_its_own_thumbnail() -> None:
    assert thumbnail(png(320, 200)) == png(320, 200)


def test_a_large_picture_becomes_a_small_jpeg_of_the_same_shape() -> None:
    small = Image.open(io.BytesIO(thumbnail(png(1000, 500))))
    assert (small.format, small.size) == ("JPEG", (320, 160))
