"""The Dask task: one batch in, committed pictures out.

Knows nothing of the other batches. Safe to run twice: what has a receipt is answered from it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from distributed import get_worker

from pressrun import layout, manifest
from pressrun.batch import Batch
from pressrun.failures import Failure
from pressrun.models.adapter_file import revisions_of
from pressrun.storage import Store
from pressrun.table_bytes import from_bytes, to_bytes
from workers.batch_ceiling import batch_ceilings
from workers.cancellation import working_for
from workers.device_turn import Manner
from workers.engines.loading import load_renderer
from workers.engines.renderer import OutOfMemory, Pixels, ReadsAhead, Renderer
from workers.model_host import loaded_keys, model_host
from workers.order import PrintOrder
from workers.publisher import Embed, Imprint, publish
from workers.rescue import NotLoaded, Rescue, render_all
from workers.run_uses import run_uses
from workers.warm_embedder import warm_embedder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one batch.

    Parameters
    ----------
    batch_id : str
        The batch.
    rows : pyarrow.Table
        Its committed manifest rows.
    failures : tuple of Failure
        Its dead letters.
    worker : str
        Who printed it.
    render_s, publish_s : float
        Time at the device and after it; 0 for a batch answered from its receipt.
    halvings : int
        How often it was cut for want of memory.
    address : str
        Dask address of who printed it; "" outside a worker.
    in_memory : tuple of str
        Keys of the renderers that are loaded there now.
    """

    batch_id: str
    rows: pa.Table
    failures: tuple[Failure, ...]
    worker: str
    render_s: float = 0.0
    publish_s: float = 0.0
    halvings: int = 0
    address: str = ""
    in_memory: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Receipt], tuple[dict[str, Any]]]:
        """Return what travels to the run."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _arrived, (values | {"rows": to_bytes(self.rows)},)


def _arrived(values: dict[str, Any]) -> Receipt:
    return Receipt(**values | {"rows": from_bytes(values["rows"])})


def print_batch(batch: Batch, order: PrintOrder) -> Receipt:
    """Render, publish and commit one batch.

    Parameters
    ----------
    batch : Batch
        The requests.
    order : PrintOrder
        The run's standing instructions.

    Returns
    -------
    Receipt
        Rows are committed: the pictures and the receipt are written.

    Raises
    ------
    RunCancelled
        When the run was told to stop meanwhile; nothing of the batch is committed then.
    """
    with working_for(order.run_id):
        return replace(_print(batch, order), address=worker_address(), in_memory=loaded_keys())


def renderer_key(order: PrintOrder) -> str:
    """Return the name under which a process keeps the order's renderer warm."""
    adapters = "".join(f"/{name}={revision}" for name, revision in revisions_of(order.adapters).items())
    return f"{order.engine}/{order.facts.revision}/{order.drawing}{adapters}"


@contextmanager
def lend_renderer(order: PrintOrder, manner: Manner = "whole") -> Iterator[Renderer]:
    """Lend this process's renderer for an order; see `workers.model_host.ModelHost.renderer`.

    What it was loaded from stays on this host until the order's run has ended.
    """
    key = renderer_key(order)
    lent = model_host().renderer(key, lambda: load_renderer(order), order.weight_bytes, manner)
    with run_uses().working(order, key), lent as renderer:
        yield renderer


def worker_address() -> str:
    """Return the Dask worker's address, or "" outside one."""
    try:
        return str(get_worker().address)
    except ValueError:
        return ""


def worker_name() -> str:
    """Return the Dask worker's name, or "local" outside one."""
    try:
        return str(get_worker().name)
    except ValueError:
        return "local"


def _print(batch: Batch, order: PrintOrder) -> Receipt:
    store = Store(order.collection)
    worker = worker_name()
    committed = _committed(store, batch, order.embedding_size)
    missing = _without(batch, committed)
    if not len(missing):
        return Receipt(batch.batch_id, committed, (), worker)
    camera = _Camera(order)
    try:
        rescue = render_all(camera.draw, missing, batch_ceilings(), camera.key)
    except NotLoaded as failed:
        raise failed.error from None
    # The device has been left: the next batch is rendered while this one is published.
    facts = order.facts
    imprint = Imprint(
        facts.name, facts.revision, order.run_id, worker, camera.provenance, order.picture_format, order.layout
    )
    return _commit(store, missing, rescue, _Sitting(order, imprint, camera.render_s, committed))


class _Camera:
    """Draws one batch's pieces with the order's model, each in a turn of its own at the device."""

    def __init__(self, order: PrintOrder) -> None:
        self._order = order
        self.key = renderer_key(order)
        self.render_s = 0.0
        self.provenance: Mapping[str, str | int] = {}

    def draw(self, piece: Batch) -> Pixels:
        self._read_ahead(piece)
        try:
            return self._drawn(piece, "shared" if batch_ceilings().may_share(self.key) else "whole")
        except OutOfMemory as error:
            if not error.had_company:
                raise
        pixels = self._drawn(piece, "alone")
        batch_ceilings().crowded(self.key)
        return pixels

    def _read_ahead(self, piece: Batch) -> None:
        with model_host().beside(self.key) as loaded:
            if not isinstance(loaded, ReadsAhead):
                return
            try:
                loaded.read_ahead(piece)
            except Exception:  # what fails here fails again while drawing, and counts then
                logger.info("batch %s could not be read ahead", piece.batch_id, exc_info=True)

    def _drawn(self, piece: Batch, manner: Manner) -> Pixels:
        with ExitStack() as turn:
            try:
                renderer = turn.enter_context(lend_renderer(self._order, manner))
            except Exception as error:
                raise NotLoaded(error) from error
            started = time.perf_counter()
            pixels = renderer.render(piece)
            self.render_s += time.perf_counter() - started
            self.provenance = renderer.provenance() | self._order.provenance_of(str(piece.shared("adapters")))
        return pixels


@dataclass(frozen=True, slots=True)
class _Sitting:
    order: PrintOrder
    imprint: Imprint
    render_s: float
    committed: pa.Table


def _committed(store: Store, batch: Batch, embedding_size: int) -> pa.Table:
    """Return the rows that an earlier turn at this batch has committed; its dead letters may have been lost with it."""
    try:
        return manifest.read_table(store, layout.receipt(batch.batch_id))
    except FileNotFoundError:
        return manifest.manifest_schema(embedding_size).empty_table()


def _without(batch: Batch, committed: pa.Table) -> Batch:
    held = pc.is_in(batch.requests.column("image_id"), value_set=committed.column("image_id").combine_chunks())
    return replace(batch, requests=batch.requests.filter(pc.invert(held)))


def _commit(store: Store, batch: Batch, rescue: Rescue, sitting: _Sitting) -> Receipt:
    started = time.perf_counter()
    embedder = warm_embedder(sitting.order)
    embed: Embed | None = embedder.embed_images if embedder else None
    image_s = sitting.render_s / len(batch)
    tables = [publish(store, piece, sitting.imprint, image_s, embed) for piece in rescue.rendered]
    rows = pa.concat_tables([sitting.committed, *tables])
    if tables:
        manifest.write_receipt(store, batch.batch_id, rows)
    return Receipt(
        batch.batch_id,
        rows.combine_chunks(),
        tuple(rescue.failures),
        sitting.imprint.worker,
        sitting.render_s,
        time.perf_counter() - started,
        rescue.halvings,
    )
