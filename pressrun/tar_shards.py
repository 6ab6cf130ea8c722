"""Pictures in tars that WebDataset reads: how samples are written, and how a manifest part gets tars of its own.

Knows nothing of batches or of what commits rows. The bytes depend on requests and pictures alone: no times, users or
modes of this host go in.

References
----------
https://github.com/webdataset/webdataset: files of one sample are adjacent; its key is the name up to the first dot.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from pressrun import layout
from pressrun.errors import InvalidCollection
from pressrun.export.records import json_line
from pressrun.export.shards import Limits, cut
from pressrun.picture_place import read_picture
from pressrun.read_ahead import Row, each_row, side_by_side
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store
from pressrun.tar_path import TarPath

_LIMITS = Limits(10_000, 500_000_000)  # of a tar: what training tools like to read in one go
TOLD_FIELDS = (*REQUEST_SCHEMA.names, "model_name", "model_revision")  # of a sample's JSON: nothing that passes


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture as it stands in a tar, with its request and its prompt beside it.

    Parameters
    ----------
    row : mapping
        Values of `TOLD_FIELDS`.
    ending : str
        Of the picture's name, without the dot.
    picture : bytes
        The picture's file.
    """

    row: Mapping[str, Any]
    ending: str
    picture: bytes

    @property
    def name(self) -> str:
        """The picture's name in the tar."""
        return f"{self.row['image_id']}.{self.ending}"


def texts_of(row: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what stands beside a picture, by name in the tar: its request as JSON, its prompt as text."""
    told = json_line({name: row[name] for name in TOLD_FIELDS})
    return {f"{row['image_id']}.json": told, f"{row['image_id']}.txt": row["prompt"].encode()}


def write_samples(file: IO[bytes], name: str, samples: Iterable[Sample]) -> list[str]:
    """Write a whole tar, and return the paths of its pictures for their rows.

    Parameters
    ----------
    file : file
        Empty and open for writing.
    name : str
        What the tar will be called.
    samples : iterable of Sample
        In the order in which they are to stand.
    """
    paths = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            start_byte = file.tell() + tarfile.BLOCKSIZE  # a header is one block, since names and sizes are short
            paths.append(str(TarPath(name, start_byte, len(sample.picture), sample.name)))
            add_member(tar, sample.name, sample.picture)
            for text_name, text in texts_of(sample.row).items():
                add_member(tar, text_name, text)
    return paths


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to a tar."""
    member = tarfile.TarInfo(name)  # owner, group and time are 0
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def waiting_tars(rows: pa.Table) -> list[str]:
    """Return the tars beside receipts that hold pictures of some rows."""
    return sorted({tar for tar in _tars(rows) if tar.startswith(f"{layout.RECEIPTS}/")})


def is_packed(rows: pa.Table, part_id: str) -> bool:
    """Return whether no picture of these rows is in a tar that is not the part's own."""
    own = layout.part(part_id)
    return all(layout.part_of_shard(tar) == own for tar in _own_tars(rows))


def pack(store: Store, source: Store, rows: pa.Table, part_id: str, check: Callable[[], None]) -> pa.Table:
    """Write the pictures of a part into tars of its own, and return its rows with the paths there.

    Nothing is committed yet: until the part is written, the rows that are known name the pictures where they were.

    Parameters
    ----------
    store : Store
        The collection.
    source : Store
        The collection that the rows' paths are of.
    rows : pyarrow.Table
        One manifest row or more.
    part_id : str
        Names the part.
    check : callable
        Raises when this process should not go on; called for every picture, since moving many takes long.

    Raises
    ------
    InvalidCollection
        When a picture is missing or is not what its row says.
    """
    done = []
    rows = rows.sort_by("image_id")  # as a tar's name goes by its pictures alone, so must its bytes: it may come late
    for number, tables in cut([rows], _LIMITS):
        piece, name = pa.concat_tables(tables), layout.shard(part_id, number)
        with store.writing(name) as file:
            paths = write_samples(file, name, _samples(source, piece, check))
        check()
        at = piece.schema.get_field_index("path")
        done.append(piece.set_column(at, piece.schema.field(at), pa.array(paths, pa.string())))
    return pa.concat_tables(done)


def _samples(source: Store, rows: pa.Table, check: Callable[[], None]) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        check()
        return Sample(row, row["path"].rpartition(".")[2], _proven(source, row))

    return side_by_side(read, each_row([rows.select([*TOLD_FIELDS, "path", "sha256"])]))


def _proven(source: Store, row: Mapping[str, Any]) -> bytes:
    try:
        data = read_picture(source, row["path"])
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise InvalidCollection(
            f"{row['path']} in {source.location} is missing or not what its row says ({len(data)} bytes were read); "
            "`pressrun verify --repair` drops the row, the next run renders it again."
        )
    return data


def _own_tars(rows: pa.Table) -> set[str]:
    """Return the tars of this collection, and not of one that rows refer to, that hold pictures of some rows."""
    return {tar for tar in _tars(rows) if tar.startswith((f"{layout.SHARDS}/", f"{layout.RECEIPTS}/"))}


def _tars(rows: pa.Table) -> set[str]:
    places = map(TarPath.of, rows.column("path").to_pylist())
    return {place.tar for place in places if place is not None}
