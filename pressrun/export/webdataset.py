"""WebDataset: tar shards in which a picture and its row stand side by side, under the picture's id.

Knows nothing of which rows are chosen. The bytes depend on rows and pictures alone: no times, users or modes of this
host go in.

References
----------
https://github.com/webdataset/webdataset: files of one sample are adjacent; its key is the name up to the first dot.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from typing import IO

from pressrun.export.destination import Destination
from pressrun.export.pictures import each_picture, picture_name
from pressrun.export.records import json_line
from pressrun.export.selection import Selection
from pressrun.export.shards import Limits, cut
from pressrun.read_ahead import Row
from pressrun.storage import Store
from pressrun.tar_shards import add_member


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
            add_member(shard, picture_name(row), data)
            add_member(shard, f"{row['image_id']}.json", json_line(row))
            destination.advance()
