"""The save loop of a device that takes 25 ms a picture: draw, save, draw, save.

`threads` savers beside the loop make the best of it; 0 saves in line, as a plain loop does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep
from typing import Any

import numpy as np
from PIL import Image

from bench.photos import draw_photo
from bench.rivals.parts import Settings, Shelf, clock, main, read_rows

_NEGATIVES = 8


def run(settings: Settings) -> dict[str, Any]:
    """Hand out a photograph every `image_s` seconds, and save each."""
    shelf = Shelf(settings["folder"], settings["png_level"])
    rows = read_rows(settings)
    negatives = [draw_photo(seed, rows[0]["width"], rows[0]["height"]) for seed in range(_NEGATIVES)]
    savers = ThreadPoolExecutor(settings["threads"]) if settings["threads"] else None
    pending = []
    started = clock()
    for row in rows:
        ends = perf_counter() + settings["image_s"]
        image = Image.fromarray(np.roll(negatives[row["seed"] % _NEGATIVES], row["seed"] % 64, axis=0))
        sleep(max(0.0, ends - perf_counter()))
        if savers is None:
            shelf.put(row, image)
        else:
            pending.append(savers.submit(shelf.put, row, image))
    for future in pending:
        future.result()
    shelf.write_manifest()
    return {"drawing_s": clock() - started}


if __name__ == "__main__":
    main(run)
