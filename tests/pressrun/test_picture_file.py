from __future__ import annotations

import io
import json
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pressrun.errors import InvalidJob
from pressrun.picture_file import FormatName, PictureFormat, request_inside
from pressrun.request import PIXEL_FIELDS
from tests.pressrun.small_collection import REVISION, make_requests

PIXELS = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
NAMES: tuple[FormatName, ...] = get_args(FormatName)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def request_of(prompt: str, **fields: Any) -> dict[str, Any]:
    request: dict[str, Any] = make_requests([prompt], **fields).to_pylist()[0]
    return request


def encoded(name: FormatName, request: dict[str, Any]) -> bytes:
    return PictureFormat(name).encode(PIXELS, request, REVISION)


@pytest.mark.parametrize("name", NAMES)
@given(texts)
@example("日本語 🎨 مرحبا")
@example("a\x00b\r\n")
@example("")
def test_a_picture_carries_its_request(name: FormatName, prompt: str) -> None:
    request = request_of(prompt)
    told = json.loads(request_inside(encoded(name, request)) or "")
    assert told == {field: request[field] for field in PIXEL_FIELDS} | {"model_revision": REVISION}


@given(texts)
@example("long " * 20_000)
def test_a_png_shows_its_prompt_to_any_reader(prompt: str) -> None:
    picture = Image.open(io.BytesIO(encoded("png", request_of(prompt))))
    assert picture.text["prompt"] == prompt  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["webp", "jpeg"])
def test_a_photographers_reader_finds_the_prompt_as_the_description(name: FormatName) -> None:
    picture = Image.open(io.BytesIO(encoded(name, request_of("ein grüner Stern ★"))))
    description = picture.getexif()[0x010E]
    assert description.encode("latin-1").decode() == "ein grüner Stern ★"  # readers differ; the bytes are UTF-8


@pytest.mark.parametrize("name", ["png", "webp"])
@pytest.mark.parametrize("level", [None, 0, 6])
def test_lossless_formats_keep_every_bit_at_every_level(name: FormatName, level: int | None) -> None:
    data = PictureFormat(name, level).encode(PIXELS, request_of("a"), REVISION)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), PIXELS)


def test_a_higher_jpeg_level_is_nearer_to_the_pixels() -> None:
    def error(level: int) -> float:
        data = PictureFormat("jpeg", level).encode(PIXELS, request_of("a"), REVISION)
        return float(np.abs(np.asarray(Image.open(io.BytesIO(data)), float) - PIXELS).mean())

    assert error(98) < error(60) < error(10)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_bytes_whoever_asked(name: FormatName) -> None:
    requests = make_requests(["a", "a"], user_id=["x", "y"], extra=['{"k": 1}', "{}"], image_number=[0, 5])
    first, second = (encoded(name, request) for request in requests.to_pylist())
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_requests_too_long_for_a_file_are_still_told_apart(name: FormatName) -> None:
    long = "星" * 10_000
    inside = [
        request_inside(encoded(name, request_of(long, negative_prompt="🎨" * 10_000, seed=seed))) for seed in (1, 1, 2)
    ]
    assert inside[0] == inside[1] != inside[2]
    assert inside[0]


@pytest.mark.parametrize("data", [b"", b"no picture", encoded("png", request_of("a"))[:60]], ids=len)
def test_nothing_is_read_out_of_a_damaged_picture(data: bytes) -> None:
    assert request_inside(data) is None


def test_a_picture_of_somebody_else_carries_no_request() -> None:
    for name in NAMES:
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, name)
        assert request_inside(buffer.getvalue()) is None


@pytest.mark.parametrize(("name", "level"), [("png", 10), ("webp", 7), ("jpeg", 0), ("jpeg", 101)])
def test_a_level_out_of_range_is_refused_with_the_range(name: FormatName, level: int) -> None:
    with pytest.raises(InvalidJob, match=rf"{level} is out of range: {name} takes \d to \d+"):
        PictureFormat(name, level)
