"""Engines for the benchmarks, named in jobs as "bench.engines:sleeping" and the like.

Know nothing of the benchmarks' figures. What an engine notes of its own times lies beside the collection, see
`bench.timeline`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.photos import Pixels, draw_photo
from bench.timeline import Span, note_span
from pressrun.batch import Batch
from workers.engines.renderer import ReadsAhead, Renderer
from workers.order import PrintOrder

IMAGE_S = 0.025
_NEGATIVES = 8  # different photographs of one size; a picture is one of them, shifted by its seed


class SleepingRenderer:
    """A device that takes its time over each picture and leaves the processor alone meanwhile.

    Parameters
    ----------
    image_s : float
        Seconds a picture, the making of its pixels included.
    """

    def __init__(self, image_s: float = IMAGE_S) -> None:
        self._image_s = image_s
        self._negatives: dict[tuple[int, int], list[Pixels]] = {}

    def render(self, batch: Batch) -> Pixels:
        """Return the batch's pictures; see `workers.engines.renderer.Renderer`."""
        width_px, height_px = cast(int, batch.shared("width_px")), cast(int, batch.shared("height_px"))
        negatives = self._developed(width_px, height_px)
        ends = time.perf_counter() + self._image_s * len(batch)
        seeds = cast(list[int], batch.column("seed"))
        pixels = np.empty((len(seeds), height_px, width_px, 3), np.uint8)  # (B, H, W, 3)
        for place, seed in enumerate(seeds):
            pixels[place] = np.roll(negatives[seed % _NEGATIVES], seed % height_px, axis=0)
        time.sleep(max(0.0, ends - time.perf_counter()))
        return pixels

    def provenance(self) -> dict[str, str | int]:
        """Return what a picture's bits depend on besides its request."""
        return {"engine": "sleeping", "numpy": np.__version__, "device": "sleep"}

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _developed(self, width_px: int, height_px: int) -> list[Pixels]:
        size = width_px, height_px
        if size not in self._negatives:
            self._negatives[size] = [draw_photo(seed, width_px, height_px) for seed in range(_NEGATIVES)]
        return self._negatives[size]


def sleeping(order: PrintOrder) -> Renderer:
    """Return a device of 25 ms a picture that hands out photographs."""
    return TimedRenderer(SleepingRenderer(), Path(order.collection.url), lambda: 0.0)


def one_thread(order: PrintOrder) -> Renderer:
    """Return the diffusers engine with one thread, however few workers share the cores."""
    import torch

    torch.set_num_threads(1)
    return timed(order)


def timed(order: PrintOrder) -> Renderer:
    """Return the diffusers engine, with its times and its denoiser's noted down."""
    import diffusers

    from workers.cancellation import should_stop
    from workers.device_turn import device_turn
    from workers.engines.diffusers_renderer import DiffusersRenderer, Hooks, RenderOptions

    spent = _Stopwatch()
    denoiser = diffusers.UNet2DConditionModel
    denoiser.forward = spent.around(denoiser.forward)
    options = RenderOptions(dtype=order.dtype, variant=order.facts.variant)
    renderer = DiffusersRenderer(Path(order.model.url), options, Hooks(should_stop, device_turn().end_early))
    return TimedRenderer(renderer, Path(order.collection.url), spent.take)


class TimedRenderer:
    """Any renderer, with the beginning and end of every rendering noted beside the collection.

    Parameters
    ----------
    renderer : Renderer
        The one that draws.
    collection : Path
        Folder of the collection.
    denoising_s : callable
        Returns the seconds that the denoiser ran since the last call.
    """

    def __init__(self, renderer: Renderer, collection: Path, denoising_s: Callable[[], float]) -> None:
        self._renderer, self._collection, self._denoising_s = renderer, collection, denoising_s

    def render(self, batch: Batch) -> Pixels:
        """Return the batch's pictures; see `workers.engines.renderer.Renderer`."""
        started = time.time()
        pixels = self._renderer.render(batch)
        span = Span(os.getpid(), started, time.time(), len(batch), self._denoising_s())
        if batch.batch_id not in ("trial", "sample"):
            note_span(self._collection, span)
        return pixels

    def read_ahead(self, batch: Batch) -> None:
        """Have the renderer prepare a batch, if it can."""
        if isinstance(self._renderer, ReadsAhead):
            self._renderer.read_ahead(batch)

    def provenance(self) -> dict[str, str | int]:
        """Return the renderer's own."""
        return self._renderer.provenance()

    def close(self) -> None:
        """Close the renderer."""
        self._renderer.close()


class _Stopwatch:
    """Adds up the seconds that a function runs."""

    def __init__(self) -> None:
        self._spent_s = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self._spent_s += time.perf_counter() - started

        return watched

    def take(self) -> float:
        spent_s, self._spent_s = self._spent_s, 0.0
        return spent_s
