"""Collections to replay: drawn on a real fleet, and spoiled so that only a replay can tell."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pressrun import manifest
from pressrun.batch_sizes import BatchSizes
from pressrun.location import Location
from pressrun.plan import Shard
from pressrun.run import open_run
from pressrun.storage import Store
from tests import runs
from workers.fleet import Fleet
from workers.generation import generate
from workers.provisioning import provision
from workers.speed import Speed
from workers.window import Window


def draw(fleet: Fleet, out: Path, prompts: Sequence[Any], batch_size: int = 4, **changes: Any) -> Path:
    """Fill a collection on an open fleet, without Prefect, and return it."""
    run = open_run(runs.job(out, prompts, **changes).job(), "run-1")
    try:
        window = Window(fleet.open(), provision(run, fleet), in_flight=6)
        assert generate(run, Shard(0, 0, len(prompts)), Speed(BatchSizes({(64, 64): batch_size})), window) == len(
            prompts
        )
    finally:
        run.close()
    return out


def move_a_value(out: Path, steps: int) -> None:
    """Change one value of one picture, and its row with it, as if it had been drawn so."""
    store = Store(Location(str(out)))
    rows = manifest.read_rows(store)
    file = out / rows.column("path")[0].as_py()
    pixels = np.asarray(Image.open(file)).copy()
    value = int(pixels[3, 4, 1])
    pixels[3, 4, 1] = value + steps if value + steps <= 255 else value - steps
    Image.fromarray(pixels).save(file)
    data = file.read_bytes()
    for name, value in {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}.items():
        at = rows.schema.get_field_index(name)
        values = [value, *rows.column(name).to_pylist()[1:]]
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
    store.delete(manifest.part_names(store))
    manifest.write_part(store, rows)
