"""On one worker: a batch of a replay drawn and compared with the stored pictures.

Knows nothing of the other batches, nor of what is like enough. Writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pressrun import layout
from pressrun.committed_picture import read_committed
from pressrun.errors import InvalidCollection, StageFailed
from pressrun.replay.likeness import Likeness, compare_file
from pressrun.replay.placing import Placing
from pressrun.replay.record import Sighting
from pressrun.storage import Store
from workers.engines.renderer import OutOfMemory, Pixels
from workers.order import PrintOrder
from workers.printing import lend_renderer, worker_name


def draw_again(placing: Placing, order: PrintOrder, threads: int | None) -> list[Sighting]:
    """Draw a batch and compare the pictures in question.

    Parameters
    ----------
    placing : Placing
        The batch, and which of its pictures to compare.
    order : PrintOrder
        How to draw it, and the collection to compare with.
    threads : int or None
        Threads that torch draws with; None leaves them.

    Raises
    ------
    StageFailed
        When the worker cannot see the collection, or has too little memory for the batch.
    """
    store, worker = Store(order.collection), worker_name()
    if not store.exists(layout.COLLECTION):
        raise StageFailed(
            f"The worker {worker} cannot see the collection {order.collection}; give a location that every host "
            "reaches under this name: a shared disk or a bucket."
        )
    with lend_renderer(order) as renderer:
        with _torch_threads(threads):
            try:
                pixels = renderer.render(placing.batch)
            except OutOfMemory as error:
                raise StageFailed(
                    f"The worker {worker} has too little memory for {placing.batch.size} pictures at once, as which "
                    f"they were drawn ({error}); replay on fewer or larger workers."
                ) from error
            provenance = renderer.provenance() | order.provenance_of(str(placing.batch.shared("adapters")))
    seen = []
    for row, slot in zip(placing.rows.to_pylist(), placing.slots, strict=True):
        likeness, problem = _compare(store, row, pixels[slot])
        seen.append(Sighting(row, slot, worker, provenance, likeness, problem))
    return seen


def _compare(store: Store, row: Mapping[str, Any], drawn: Pixels) -> tuple[Likeness | None, str]:
    try:
        data = read_committed(store, row)
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            return None, "the file is not the one of the manifest: its sha256 differs"
        return compare_file(data, drawn), ""
    except FileNotFoundError:
        return None, "there is no file"
    except InvalidCollection as error:
        return None, str(error)


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    """Have torch use that many threads: where sums are split among them decides their lowest bits."""
    if threads is None:
        yield
        return
    import torch  # only for engines that said that they use it

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
