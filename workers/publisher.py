"""From pixels to committed rows: encode, hash, embed, write each picture, then the receipt.

Knows nothing of rendering. The order is the guarantee: a receipt is written only after all the pictures it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pressrun import layout, manifest
from pressrun.layout import LayoutName
from pressrun.picture_file import PictureFormat, request_inside
from pressrun.plan import batch_name
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store
from pressrun.tar_shards import Sample
from workers.batch_tar import place_tar
from workers.engines.renderer import Pixels
from workers.rescue import Rendered

_FILES_AT_ONCE = 8
Embed = Callable[[Pixels], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Imprint:
    """What every picture of one run on one worker has in common.

    Parameters
    ----------
    model_name, model_revision : str
        The weights.
    run_id, worker : str
        Who made it.
    provenance : mapping
        Engine, versions, dtype, device, threads.
    picture_format : PictureFormat
        How pictures are written.
    layout : str
        Where: an object each ("files"), or a tar with all pictures of a piece ("webdataset").
    """

    model_name: str
    model_revision: str
    run_id: str
    worker: str
    provenance: Mapping[str, str | int]
    picture_format: PictureFormat = field(default_factory=PictureFormat)
    layout: LayoutName = "files"


def publish(store: Store, piece: Rendered, imprint: Imprint, seconds: float, embed: Embed | None) -> pa.Table:
    """Write the pictures of one piece and return their rows; nothing is committed yet.

    Parameters
    ----------
    store : Store
        The collection.
    piece : Rendered
        Pictures and their requests.
    imprint : Imprint
        What they have in common.
    seconds : float
        Rendering time of one picture.
    embed : callable or None
        (N, H, W, 3) uint8 -> (N, D) float32, L2-normalised.

    Returns
    -------
    pyarrow.Table
        Rows of `manifest_schema(D)`.
    """
    begin = _begin_tar if imprint.layout == "webdataset" else _begin_files
    with ThreadPoolExecutor(_FILES_AT_ONCE) as writers:
        finish = begin(store, piece, imprint, writers)
        vectors = embed(piece.pixels) if embed is not None else None  # beside encoding and uploads
        files = finish()
    return _rows(piece, files, _Making(imprint, seconds, vectors))


@dataclass(frozen=True, slots=True)
class _File:
    """What a row says of a file."""

    path: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: str, data: bytes) -> _File:
        return cls(path, hashlib.sha256(data).hexdigest(), len(data))


_Finish = Callable[[], list[_File]]


def _begin_files(store: Store, piece: Rendered, imprint: Imprint, writers: ThreadPoolExecutor) -> _Finish:
    """Begin to write every picture as an object of its own."""

    def write(pixels: Pixels, request: Mapping[str, object]) -> _File:
        path = layout.image(str(request["image_id"]), imprint.picture_format.ending)
        data = imprint.picture_format.encode(pixels, request, imprint.model_revision)
        return _File.of(path, _place(store, path, data))

    requests = piece.requests.to_pylist()
    coming = [writers.submit(write, *picture) for picture in zip(piece.pixels, requests, strict=True)]
    return lambda: [file.result() for file in coming]


def _begin_tar(store: Store, piece: Rendered, imprint: Imprint, writers: ThreadPoolExecutor) -> _Finish:
    """Begin to encode the pictures, which are then written as one tar, named by what is in it."""
    form, told = imprint.picture_format, {"model_name": imprint.model_name, "model_revision": imprint.model_revision}

    def encode(pixels: Pixels, row: Mapping[str, object]) -> Sample:
        return Sample(row, form.ending, form.encode(pixels, row, imprint.model_revision))

    rows = [request | told for request in piece.requests.to_pylist()]
    coming = [writers.submit(encode, *picture) for picture in zip(piece.pixels, rows, strict=True)]
    name = layout.batch_tar(batch_name(piece.requests, piece.batch_size))
    return lambda: [_File.of(*placed) for placed in place_tar(store, name, [sample.result() for sample in coming])]


def _place(store: Store, path: str, data: bytes) -> bytes:
    """Write a picture where none is, and return the bytes that stand there then.

    A late double of this batch must never change a picture that a row names already, so the first one stays; only what
    is not this picture at all is replaced.
    """
    if store.create(path, data):
        return data
    there = store.read(path)
    inside = request_inside(there)
    if there == data or (inside is not None and inside == request_inside(data)):
        return there
    store.write(path, data)
    return data


@dataclass(frozen=True, slots=True)
class _Making:
    imprint: Imprint
    seconds: float
    vectors: npt.NDArray[np.float32] | None


def _rows(piece: Rendered, files: Sequence[_File], making: _Making) -> pa.Table:
    count = len(files)
    imprint = making.imprint
    result: dict[str, object] = {
        "path": [file.path for file in files],
        "sha256": [file.sha256 for file in files],
        "size_bytes": [file.size_bytes for file in files],
        "model_name": [imprint.model_name] * count,
        "model_revision": [imprint.model_revision] * count,
        "batch_size": [piece.batch_size] * count,
        "provenance": [json.dumps(dict(imprint.provenance), sort_keys=True)] * count,
        "seconds": [making.seconds] * count,
        "worker": [imprint.worker] * count,
        "run_id": [imprint.run_id] * count,
        "created_at": [datetime.now(UTC)] * count,
    }
    dimension = 0
    if making.vectors is not None:
        dimension = making.vectors.shape[1]
        halves = pa.array(making.vectors.astype(np.float16).ravel())
        result["embedding"] = pa.FixedSizeListArray.from_arrays(halves, dimension)
    columns = {name: piece.requests.column(name) for name in REQUEST_SCHEMA.names} | result
    return pa.table(columns).cast(manifest.manifest_schema(dimension))
