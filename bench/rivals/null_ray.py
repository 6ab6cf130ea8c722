"""Ray Data on null work, and its resume from checkpoints of a data set that is done.

`checkpoint` names the folder of its checkpoints; with all ids in it there is nothing left to do.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.rivals.null_work import make_folders, print_pictures
from bench.rivals.parts import Settings, clock, main
from bench.rivals.ray_start import start_ray


def run(settings: Settings) -> dict[str, Any]:
    """Print every request in batches of `batch_size`."""
    import ray.data

    make_folders(settings["folder"])
    start_ray(settings["scratch"])
    started = clock()
    if settings.get("checkpoint"):
        _resume_from(settings["checkpoint"])
    dataset = ray.data.read_parquet(settings["prompts"])
    printed = dataset.map_batches(
        partial(_print_batch, folder=settings["folder"]), batch_size=settings["batch_size"], batch_format="pyarrow"
    )
    printed.write_parquet(f"{settings['folder']}/manifest")
    ended = clock()
    return {"drawing_s": ended - started, "printed": sum(1 for _ in Path(settings["folder"], "images").rglob("*.png"))}


def _print_batch(batch: pa.Table, folder: str) -> pa.Table:
    return pa.Table.from_pylist(print_pictures(batch.to_pylist(), folder))


def _resume_from(folder: str) -> None:
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=folder, delete_checkpoint_on_success=False
    )


if __name__ == "__main__":
    main(run)
