"""Every batch size timed by brute force, with Pressrun's own engine, all steps, and as many processes as workers.

The processes draw at the same time, as workers do, and each size comes round `turns` times.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa

from bench.rivals.parts import Settings, main


def run(settings: Settings) -> dict[str, Any]:
    """Return the median seconds a picture of every size, as one of the processes takes them."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(settings["processes"])
    with context.Pool(settings["processes"], _meet, (together,)) as pool:
        lists = pool.map(_time_sizes, [settings] * settings["processes"], chunksize=1)
    sizes = settings["sizes"]
    return {"image_s": {size: median(found[str(size)] for found in lists) for size in sizes}}


_together: Barrier | None = None


def _meet(together: Barrier) -> None:
    global _together
    _together = together


def _time_sizes(settings: Settings) -> dict[str, float]:
    import torch

    from pressrun.request import REQUEST_SCHEMA
    from workers.engines.diffusers_renderer import DiffusersRenderer, RenderOptions

    torch.set_num_threads(settings["threads"])
    renderer = DiffusersRenderer(Path(settings["model"]), RenderOptions(dtype=settings["dtype"]))
    taken: dict[str, list[float]] = {}
    for turn in range(settings["turns"] + 1):
        for size in settings["sizes"]:
            batch = _batch(settings, size, REQUEST_SCHEMA)
            assert _together is not None
            _together.wait()
            started = time.perf_counter()
            renderer.render(batch)
            if turn:  # the first pays for allocation and kernel choice
                taken.setdefault(str(size), []).append((time.perf_counter() - started) / size)
    return {size: median(times) for size, times in taken.items()}


def _batch(settings: Settings, size: int, schema: pa.Schema) -> Any:
    from pressrun.batch import Batch

    request = {field.name: "" for field in schema} | {
        "row": 1,
        "image_number": 0,
        "prompt": "a red circle",
        "width_px": settings["width"],
        "height_px": settings["height"],
        "steps": settings["steps"],
        "guidance_scale": 5.0,
        "scheduler": "default",
        "extra": "{}",
    }
    rows = [request | {"seed": number, "image_id": str(number)} for number in range(size)]
    return Batch("trial", pa.Table.from_pylist(rows, schema=schema), size)


if __name__ == "__main__":
    main(run)
