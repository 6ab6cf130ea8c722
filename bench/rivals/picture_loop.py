"""The diffusers loop: a call of the pipeline, a save loop, one embedding after the other; one prompt at a time or more.

Runs in one process. Batches hold one size each, since a call draws one size.
"""

from __future__ import annotations

from typing import Any

from bench.rivals.parts import Clip, Settings, Shelf, clock, draw, group_by_size, load_pipeline, main, read_rows


def run(settings: Settings) -> dict[str, Any]:
    """Draw every request; `batch_size` 1 is the loop as beginners write it."""
    pipeline, clip = load_pipeline(settings), Clip(settings["embedder"])
    shelf = Shelf(settings["folder"], settings["png_level"])
    rows, size = read_rows(settings), settings["batch_size"]
    started = clock()
    for group in [rows] if size == 1 else group_by_size(rows):
        for first in range(0, len(group), size):
            some = group[first : first + size]
            images = draw(pipeline, some)
            for row, image, embedding in zip(some, images, clip.embed(images), strict=True):
                shelf.put(row, image, embedding)
    shelf.write_manifest()
    return {"drawing_s": clock() - started}


if __name__ == "__main__":
    main(run)
