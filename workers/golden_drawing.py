"""On one worker: golden pictures drawn by a new revision and compared with the stored ones.

Knows nothing of the other pictures, nor of what is like enough. Writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pressrun.committed_picture import read_committed
from pressrun.errors import InvalidCollection, StageFailed
from pressrun.picture_distance import psnr_db, ssim
from pressrun.release.golden import GoldenBatch
from pressrun.release.verdict import Comparison
from pressrun.replay.likeness import changes, comparable
from pressrun.storage import Store
from workers.cancellation import working_for
from workers.engines.renderer import OutOfMemory, Pixels
from workers.order import PrintOrder
from workers.printing import lend_renderer, worker_name


def draw_golden(golden: GoldenBatch, order: PrintOrder) -> list[Comparison]:
    """Draw a batch with the order's model, and compare every picture.

    Parameters
    ----------
    golden : GoldenBatch
        What to draw, and what it was drawn as.
    order : PrintOrder
        How to draw it, and the collection to compare with.

    Raises
    ------
    InvalidCollection
        When a golden picture is gone, damaged, or not its row's.
    StageFailed
        When the worker has too little memory for the batch.
    """
    pixels, provenance = _draw(golden, order)
    store = Store(order.collection)
    rows = golden.rows.to_pylist()
    return [_compare(store, row, drawn, provenance) for row, drawn in zip(rows, pixels, strict=True)]


def _draw(golden: GoldenBatch, order: PrintOrder) -> tuple[Pixels, Mapping[str, str | int]]:
    with working_for(order.run_id), lend_renderer(order) as renderer:
        try:
            return renderer.render(golden.batch), renderer.provenance()
        except OutOfMemory as error:
            raise StageFailed(
                f"The worker {worker_name()} has too little memory for {golden.batch.size} pictures at once, as which "
                f"the golden set was drawn ({error}); write one with a smaller batch size, or release on larger "
                "workers."
            ) from error


def _compare(store: Store, row: Mapping[str, Any], drawn: Pixels, provenance: Mapping[str, str | int]) -> Comparison:
    stored, drawn = comparable(_stored(store, row), drawn)
    return Comparison(
        image_id=row["image_id"],
        prompt=row["prompt"],
        path=row["path"],
        psnr_db=psnr_db(stored, drawn),
        ssim=ssim(stored[None], drawn[None]),
        changes=tuple(changes(json.loads(row["provenance"]), provenance)),
    )


def _stored(store: Store, row: Mapping[str, Any]) -> bytes:
    where = f"The golden picture {row['path']} of {store.location}"
    try:
        data = read_committed(store, row)
    except FileNotFoundError:
        raise InvalidCollection(
            f"{where} is not there for the worker {worker_name()}; see with `pressrun verify` whether it is gone, else "
            "give a location that every host reaches under this name."
        ) from None
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise InvalidCollection(f"{where} is not the one of its row: its sha256 differs; run `pressrun verify`.")
    return data
