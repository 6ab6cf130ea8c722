"""The engines of the benchmarks: pictures like photographs, at the pace of a device."""

from __future__ import annotations

import io
import time

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bench.engines import SleepingRenderer, TimedRenderer
from bench.photos import draw_photo
from bench.timeline import read_spans
from pressrun.batch import Batch
from pressrun.request import REQUEST_SCHEMA


def batch_of(seeds: list[int], side_px: int) -> Batch:
    blank = {field.name: "" if pa.types.is_string(field.type) else 1 for field in REQUEST_SCHEMA}
    sizes = {"width_px": side_px, "height_px": side_px}
    rows = [blank | sizes | {"seed": seed, "image_id": str(seed)} for seed in seeds]
    return Batch("batch", pa.Table.from_pylist(rows, schema=REQUEST_SCHEMA), len(seeds))


def png_bytes(pixels: np.ndarray) -> int:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return len(buffer.getvalue())


@pytest.mark.parametrize("seed", range(3))
def test_a_photograph_weighs_what_photographs_weigh(seed):
    assert 350_000 < png_bytes(draw_photo(seed, 512, 512)) < 650_000


def test_a_sleeping_device_takes_its_time_and_draws_different_pictures():
    renderer = SleepingRenderer(image_s=0.01)
    renderer.render(batch_of([0], 64))  # develops its photographs
    started = time.perf_counter()
    pixels = renderer.render(batch_of([1, 2, 9], 64))
    assert time.perf_counter() - started >= 0.03
    assert pixels.shape == (3, 64, 64, 3)
    assert not np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_every_rendering_is_noted_beside_the_collection(tmp_path):
    renderer = TimedRenderer(SleepingRenderer(0.0), tmp_path / "collection", lambda: 0.25)
    renderer.render(batch_of([1, 2], 64))
    (span,) = read_spans(tmp_path / "collection")
    assert (span.images, span.denoising_s) == (2, 0.25)
    assert span.end_s >= span.start_s
