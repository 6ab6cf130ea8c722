"""Ray Data: `map_batches` over an actor pool that holds the pipeline and the CLIP, and `write_parquet`.

Ray counts a core for every actor and needs one more for its read tasks, or it waits for ever; so it is told of two
cores more than there are. `sorted` hands it the requests by size, in blocks of a batch each.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.rivals.parts import Clip, Settings, Shelf, clock, draw, group_by_size, load_pipeline, main, read_rows
from bench.rivals.ray_start import start_ray


class Actor:
    """One pipeline of the pool.

    Parameters
    ----------
    settings : dict
        What to load and where pictures go.
    """

    def __init__(self, settings: Settings) -> None:
        self._pipeline, self._clip = load_pipeline(settings), Clip(settings["embedder"])
        self._shelf = Shelf(settings["folder"], settings["png_level"])
        self._ready = clock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Draw, save and embed a batch, and return its rows."""
        done = []
        for group in group_by_size(batch.to_pylist()):
            images = draw(self._pipeline, group)
            for row, image, embedding in zip(group, images, self._clip.embed(images), strict=True):
                done.append(self._shelf.put(row, image, embedding.tolist()) | {"ready": self._ready})
        return pa.Table.from_pylist(done)


def run(settings: Settings) -> dict[str, Any]:
    """Draw every request with `actors` actors in batches of `batch_size`."""
    import ray.data

    start_ray(settings["scratch"])
    if settings["sorted"]:
        rows = [row for group in group_by_size(read_rows(settings)) for row in group]
        dataset = ray.data.from_arrow(_blocks(rows, settings["batch_size"]))
    else:
        dataset = ray.data.read_parquet(settings["prompts"])
    drawn = dataset.map_batches(
        Actor,
        fn_constructor_args=(settings,),
        batch_size=settings["batch_size"],
        batch_format="pyarrow",
        concurrency=settings["actors"],
        num_cpus=settings["threads"],
    )
    drawn.write_parquet(f"{settings['folder']}/manifest")
    ended = clock()
    ready = pq.read_table(f"{settings['folder']}/manifest", columns=["ready"]).column("ready")
    return {"drawing_s": ended - min(ready.to_pylist())}


def _blocks(rows: list[dict[str, Any]], size: int) -> list[pa.Table]:
    blocks = []
    for _, group in groupby(rows, key=lambda row: (row["width"], row["height"])):
        some = list(group)
        blocks += [pa.Table.from_pylist(some[first : first + size]) for first in range(0, len(some), size)]
    return blocks


if __name__ == "__main__":
    main(run)
