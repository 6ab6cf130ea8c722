"""Builds small collections by hand, looks at all of their bytes, and kills writers between two writes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.index.generations import commit_index
from pressrun.location import Location
from pressrun.plan import batch_name, name_images
from pressrun.processes import this_process
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store
from pressrun.tar_shards import Sample, waiting_tars, write_samples

REVISION = "c0ffee" * 5
EMBEDDER = "decade" * 5
DIMENSION = 4
DEAD_PID = 2**22 + 1  # above the highest that Linux gives
DEFAULTS: dict[str, Any] = {
    "image_id": "",
    "image_number": 0,
    "user_id": None,
    "negative_prompt": "",
    "seed": 1,
    "width_px": 8,
    "height_px": 8,
    "steps": 2,
    "guidance_scale": 3.0,
    "scheduler": "default",
    "adapters": "",
    "extra": "{}",
}


def make_requests(prompts: Iterable[str], **fields: Any) -> pa.Table:
    """Return named requests; `fields` are values for every request, or lists with one each."""
    texts = list(prompts)
    columns = {
        name: value if isinstance(value, list) else [value] * len(texts) for name, value in (DEFAULTS | fields).items()
    }
    columns |= {"prompt": texts, "row": list(range(1, len(texts) + 1))}
    return name_images(pa.table(columns, schema=REQUEST_SCHEMA), REVISION)


def stars(count: int, first: int = 0) -> pa.Table:
    return make_requests([f"star {number}" for number in range(first, first + count)])


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, 80, 160)).save(buffer, "PNG")
    return buffer.getvalue()


def put_tar(store: Store, requests: pa.Table, dimension: int = DIMENSION) -> pa.Table:
    """Write the pictures of a batch into a tar and return their rows; nothing is committed yet."""
    rows = rows_of(requests, dimension)
    samples = [Sample(row, "png", png(number)) for number, row in enumerate(rows.to_pylist())]
    name, buffer = layout.batch_tar(batch_name(requests, 2)), io.BytesIO()
    paths = write_samples(buffer, name, samples)
    store.write(name, buffer.getvalue())
    at = rows.schema.get_field_index("path")
    return rows.set_column(at, rows.schema.field(at), pa.array(paths))


def put_images(store: Store, requests: pa.Table, dimension: int = DIMENSION, run_id: str = "run-1") -> pa.Table:
    """Write a picture for every request and return their rows; nothing is committed yet."""
    for number, image_id in enumerate(ids(requests)):
        store.write(layout.image(image_id), png(number))
    return rows_of(requests, dimension, run_id)


def rows_of(requests: pa.Table, dimension: int = DIMENSION, run_id: str = "run-1") -> pa.Table:
    """Return the rows of pictures, each an object of its own."""
    rows = []
    for number, request in enumerate(requests.to_pylist()):
        data = png(number)
        vector = np.random.default_rng(number).normal(size=dimension)
        rows.append(
            request
            | {
                "path": layout.image(request["image_id"]),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
                "model_name": "small",
                "model_revision": REVISION,
                "batch_size": 2,
                "provenance": "{}",
                "seconds": 0.1,
                "worker": "w",
                "run_id": run_id,
                "created_at": datetime(2026, 1, 2, tzinfo=UTC),
            }
            | ({"embedding": (vector / np.linalg.norm(vector)).astype(np.float16)} if dimension else {})
        )
    return pa.Table.from_pylist(rows, schema=manifest.manifest_schema(dimension))


def make_collection(store: Store, count: int = 6, dimension: int = DIMENSION) -> pa.Table:
    """Write a sound collection, index included, and return its rows."""
    join_collection(store, Identity(EMBEDDER if dimension else "", dimension))
    rows = put_images(store, stars(count), dimension)
    manifest.write_part(store, rows.slice(0, count // 2))
    manifest.write_part(store, rows.slice(count // 2))
    if dimension:
        commit_index(store, dimension, EMBEDDER)
    return rows


def make_tar_collection(store: Store, count: int = 6, dimension: int = DIMENSION) -> pa.Table:
    """Write a sound collection in tars, index included, and return its rows."""
    join_collection(store, Identity(EMBEDDER if dimension else "", dimension, layout="webdataset"))
    rows = put_tar(store, stars(count), dimension)
    manifest.write_part(store, rows.slice(0, count // 2))
    manifest.write_part(store, rows.slice(count // 2))
    store.delete(waiting_tars(rows))
    if dimension:
        commit_index(store, dimension, EMBEDDER)
    return manifest.read_rows(store)


def snapshot(store: Store) -> dict[str, bytes]:
    """Return every object of a store."""
    return {name: store.read(name) for name, _ in store.walk("")}


def ids(table: pa.Table) -> list[str]:
    column: list[str] = table.column("image_id").to_pylist()
    return column


def claim_of(run_id: str, **fields: Any) -> bytes:
    """Return a writer's claim as it stands in a collection; of a dead process of this host unless told."""
    claim = {**this_process(), "run_id": run_id, "pid": DEAD_PID, "beat": 0.0}
    return json.dumps(claim | fields).encode()


class Killed(BaseException):
    """The process ends here."""


class DyingStore(Store):
    """A store whose process is killed just before one of its changes: the first, the second, and so on."""

    def __init__(self, location: Location, lives: int) -> None:
        super().__init__(location)
        self._lives = lives

    def _live(self) -> None:
        if self._lives == 0:
            raise Killed
        self._lives -= 1

    def write(self, name: str, data: bytes) -> None:
        self._live()
        super().write(name, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        with super().writing(name) as file:
            yield file
            self._live()

    def create(self, name: str, data: bytes) -> bool:
        self._live()
        return super().create(name, data)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._live()
            super().delete([name])


def held_ids(store: Store) -> list[str]:
    """Return the ids of the images that a collection holds."""
    return [pair.tobytes().hex() for pair in manifest.held_images(store).numbers()]
