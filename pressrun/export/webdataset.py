"""WebDataset: tar shards in which a picture and its row stand side by side, under the picture's id.

Knows nothing of which rows are chosen. The bytes depend on rows and pictures alone: no times, users or modes of this
host go in.

References
----------
https://github.com/webdataset/webdataset: files of one sample are adjacent; its key is the name up to the first dot.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from typing import IO

from pressrun.export.destination import Destination
from pressrun.export.pictures import Row, each_picture, picture_name
from pressrun.export.records import json_line
from pressrun.export.selection import Selection
from pressrun.export.shards import Limits, cut
from pressrun.storage import Store


def write_webdataset(source: Store, selection: Selection, limits: Limits, destination: Destination) -> None:
    """Write the shards that are not there yet: `shard-000000.tar` and so on.

    Parameters
    ----------
    source : Store
        The collection.
    selection : Selection
        Its rows.
    limits : Limits
        What a shard holds at most.
    destination : Destination
        Where they go.
    """
    for number, tables in cut(selection.rows, limits):
        name = f"shard-{number:06}.tar"
        if destination.holds(name):
            destination.advance(sum(table.num_rows for table in tables))
            continue
        with destination.writing(name) as file:
            _write_shard(file, each_picture(source, tables), destination)


def _write_shard(file: IO[bytes], pictures: Iterable[tuple[Row, bytes]], destination: Destination) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for row, data in pictures:
            _add(shard, picture_name(row), data)
            _add(shard, f"{row['image_id']}.json", json_line(row))
            destination.advance()


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time are 0
    member.size, member.mode = len(data), 0o644
    shard.addfile(member, io.BytesIO(data))
