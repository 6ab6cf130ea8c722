"""The pictures of a batch as one tar, written once and never changed.

Knows nothing of rows or receipts. A late double of a batch adopts the tar that stands.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from pressrun.picture_file import request_inside
from pressrun.storage import Store
from pressrun.tar_path import TarPath
from pressrun.tar_shards import Sample, write_samples

Placed = tuple[str, bytes]  # a picture's path, and its file


def place_tar(store: Store, name: str, samples: Sequence[Sample]) -> list[Placed]:
    """Write a tar where none is, and return path and file of each picture as they stand there then.

    A row may name the pictures of a tar that is there already, so it stays; only what does not hold these pictures is
    replaced.

    Parameters
    ----------
    store : Store
        The collection.
    name : str
        The tar's name, fixed by the pictures and their order.
    samples : sequence of Sample
        The pictures; memory holds the tar besides.
    """
    buffer = io.BytesIO()
    paths = write_samples(buffer, name, samples)
    data = buffer.getvalue()
    if not store.create(name, data):
        there = store.read(name)
        standing = None if there == data else _standing(there, name, samples)
        if standing is not None:
            return standing
        if there != data:
            store.write(name, data)
    return list(zip(paths, (sample.picture for sample in samples), strict=True))


def _standing(data: bytes, name: str, samples: Sequence[Sample]) -> list[Placed] | None:
    """Return path and file of each picture in a tar; None when it does not hold them all whole."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = {member.name: member for member in tar.getmembers()}
    except tarfile.TarError:
        return None
    placed = []
    for sample in samples:
        member = members.get(sample.name)
        if member is None:
            return None
        file = data[member.offset_data : member.offset_data + member.size]
        inside = request_inside(file)
        if inside is None or inside != request_inside(sample.picture):
            return None
        placed.append((str(TarPath(name, member.offset_data, len(file), sample.name)), file))
    return placed
