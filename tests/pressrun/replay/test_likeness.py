from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pressrun.errors import InvalidCollection
from pressrun.replay.likeness import Likeness, Pixels, Verdict, changes, compare, compare_file, judge

PICTURES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(0, 255))


def noise(height: int = 16, width: int = 16, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def file_of(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@settings(max_examples=60, deadline=None)
@given(PICTURES)
def test_every_measure_is_that_of_the_definition(picture: tuple[int, int, int, int]) -> None:
    height, width, seed, most = picture
    stored = noise(height, width, seed)
    moves = np.random.default_rng(seed + 1).integers(-most, most + 1, stored.shape)
    drawn = np.clip(stored + moves, 0, 255).astype(np.uint8)
    apart = [abs(int(a) - int(b)) for a, b in zip(stored.ravel(), drawn.ravel(), strict=True)]
    found = compare(stored, drawn)
    assert (found.max_steps, found.mean_steps) == (max(apart), pytest.approx(sum(apart) / len(apart)))
    assert found.equal_share == pytest.approx(apart.count(0) / len(apart))
    if max(apart):
        error = sum(value**2 for value in apart) / len(apart)
        assert found.psnr_db == pytest.approx(20 * math.log10(255) - 10 * math.log10(error), abs=1e-6)
    else:
        assert found.psnr_db is None


@pytest.mark.parametrize(
    ("steps", "allowed", "verdict"),
    [(0, 0, Verdict.equal), (0, 9, Verdict.equal), (1, 0, Verdict.different), (3, 3, "within tolerance")],
)
def test_one_value_beyond_what_is_allowed_makes_a_picture_different(steps: int, allowed: int, verdict: str) -> None:
    assert judge(Likeness(1.0, steps, 0.0, None), allowed) == verdict


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 90})])
def test_a_picture_equals_its_own_file_in_whatever_format(kind: str, options: dict[str, object]) -> None:
    assert compare_file(file_of(noise(), kind, **options), noise()).max_steps == 0


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_loss_in_the_file_hides_no_other_picture(subsampling: int) -> None:
    data = file_of(noise(), "JPEG", quality=95, subsampling=subsampling)
    assert compare_file(data, noise()).max_steps == 0
    assert compare_file(data, noise(seed=2)).max_steps > 50


@pytest.mark.parametrize(
    "data", [b"", b"no picture", file_of(noise())[:-300], file_of(noise(8, 16))], ids=["none", "text", "torn", "size"]
)
def test_a_file_that_holds_no_such_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidCollection, match="the file"):
        compare_file(data, noise())


def test_what_changed_is_told_with_both_values() -> None:
    then = {"torch": "2.12.0", "threads": 1, "device": "cpu"}
    assert changes(then, dict(then)) == []
    assert changes(then, {"torch": "2.13.0", "threads": 1, "dtype": "fp32"}) == [
        "torch 2.12.0 then, 2.13.0 now",
        "device cpu then, unknown now",
        "dtype unknown then, fp32 now",
    ]
