"""From pixels to committed rows: encode, hash, embed, write each picture, then the receipt.

Knows nothing of rendering. The order is the guarantee: a receipt is written only after all the pictures it names.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pressrun import layout, manifest
from pressrun.request import PIXEL_FIELDS
from pressrun.storage import Store
from workers.engines.renderer import Pixels
from workers.rescue import Rendered

_UPLOADS_AT_ONCE = 8
_PNG_LEVEL = 1  # three times as fast as Pillow's default for a few per cent of size
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
    """

    model_name: str
    model_revision: str
    run_id: str
    worker: str
    provenance: Mapping[str, str | int]


def encode_png(pixels: Pixels, request: Mapping[str, object], model_revision: str) -> bytes:
    """Return a PNG that carries its request inside.

    Parameters
    ----------
    pixels : numpy.ndarray
        (H, W, 3) uint8.
    request : mapping
        Values of `PIXEL_FIELDS`.
    model_revision : str
        Digest of the weights.

    Returns
    -------
    bytes
        The same bytes for the same arguments: nothing of the run or the time is inside.
    """
    text = PngInfo()
    text.add_itxt("prompt", str(request["prompt"]))
    parameters = {name: request[name] for name in PIXEL_FIELDS} | {"model_revision": model_revision}
    text.add_itxt("pressrun", json.dumps(parameters, ensure_ascii=False))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, compress_level=_PNG_LEVEL)
    return buffer.getvalue()


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
    requests = piece.requests.to_pylist()
    files = [
        encode_png(pixels, request, imprint.model_revision)
        for pixels, request in zip(piece.pixels, requests, strict=True)
    ]
    paths = [layout.image(request["image_id"]) for request in requests]
    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as uploads:
        written = [uploads.submit(_place, store, path, data) for path, data in zip(paths, files, strict=True)]
        vectors = embed(piece.pixels) if embed is not None else None  # beside the uploads
    files = [write.result() for write in written]
    return _rows(piece, files, paths, _Making(imprint, seconds, vectors))


def _place(store: Store, path: str, data: bytes) -> bytes:
    """Write a picture where none is, and return the bytes that stand there then.

    A late double of this batch must never change a picture that a row names already, so the first one stays; only what
    is not this picture at all is replaced.
    """
    if store.create(path, data):
        return data
    there = store.read(path)
    if there == data or _request_of(there) == _request_of(data):
        return there
    store.write(path, data)
    return data


def _request_of(data: bytes) -> str | None:
    """Return the request inside a whole picture; None when it is damaged or carries none."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            request = picture.info.get("pressrun")
    except (OSError, SyntaxError, ValueError):
        return None
    return None if request is None else str(request)


@dataclass(frozen=True, slots=True)
class _Making:
    imprint: Imprint
    seconds: float
    vectors: npt.NDArray[np.float32] | None


def _rows(piece: Rendered, files: Sequence[bytes], paths: Sequence[str], making: _Making) -> pa.Table:
    count = len(files)
    imprint = making.imprint
    result: dict[str, object] = {
        "path": paths,
        "sha256": [hashlib.sha256(data).hexdigest() for data in files],
        "size_bytes": [len(data) for data in files],
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
    columns = {name: piece.requests.column(name) for name in piece.requests.column_names} | result
    return pa.table(columns).cast(manifest.manifest_schema(dimension))
