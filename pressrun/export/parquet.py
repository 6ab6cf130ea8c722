"""Plain Parquet files with the manifest's columns and, unless left out, the pictures themselves.

Knows nothing of which rows are chosen. The column `image` is the struct of bytes and file name that Hugging Face's
datasets shows as a picture; the types stand in the file's metadata for it, and other readers pass over that.

References
----------
https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pressrun.export.destination import Destination
from pressrun.export.options import ExportOptions
from pressrun.export.pictures import each_picture, picture_name
from pressrun.export.selection import Selection
from pressrun.export.shards import Limits, cut
from pressrun.storage import Store

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_PIXELS = "image.bytes"
_DTYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}  # what Arrow calls otherwise
# Of pictures: few enough that a reader who wants one row reads little. Of rows alone: as many as pay.
_PICTURE_GROUP = Limits(100, 64 << 20)
_ROW_GROUP = Limits(10_000, None)


def write_parquet(source: Store, selection: Selection, options: ExportOptions, destination: Destination) -> None:
    """Write the files that are not there yet: `part-000000.parquet` and so on.

    Parameters
    ----------
    source : Store
        The collection.
    selection : Selection
        Its rows.
    options : ExportOptions
        What a file holds at most, and whether the pictures go along.
    destination : Destination
        Where they go.
    """
    schema = export_schema(selection.rows.schema, options.pictures)
    for number, tables in cut(selection.rows, options.limits):
        name = f"part-{number:06}.parquet"
        if destination.holds(name):
            destination.advance(sum(table.num_rows for table in tables))
            continue
        groups = _grouped(tables, _PICTURE_GROUP if options.pictures else _ROW_GROUP)
        if options.pictures:
            groups = _with_pictures(source, groups)
        with destination.writing(name) as file:
            _write_file(file, schema, groups, destination)


def export_schema(rows: pa.Schema, pictures: bool) -> pa.Schema:
    """Return the columns of an exported file, their Hugging Face types in the metadata.

    Parameters
    ----------
    rows : pyarrow.Schema
        The manifest's columns that are exported.
    pictures : bool
        Whether there is a column `image`.

    Returns
    -------
    pyarrow.Schema
        `image` first, if any, then the columns of `rows`.
    """
    features: dict[str, Any] = {"image": {"_type": "Image"}} if pictures else {}
    features |= {field.name: _feature(field.type) for field in rows}
    fields = [pa.field("image", _IMAGE)] if pictures else []
    return pa.schema([*fields, *rows], {"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}


def _write_file(file: IO[bytes], schema: pa.Schema, groups: Iterable[pa.Table], destination: Destination) -> None:
    # Pictures are packed already, and no two are the same.
    leaves = [leaf for field in schema for leaf in _leaves(field)]
    packing = {leaf: "none" if leaf == _PIXELS else "zstd" for leaf in leaves}
    repetitive = [leaf for leaf in leaves if leaf != _PIXELS]
    with pq.ParquetWriter(file, schema, compression=packing, use_dictionary=repetitive) as writer:
        for group in groups:
            writer.write_table(group.cast(schema), row_group_size=group.num_rows)
            destination.advance(group.num_rows)


def _leaves(field: pa.Field) -> list[str]:
    """Return the names that Parquet has for what a column is made of."""
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{part.name}" for part in field.type.fields]
    return [f"{field.name}.list.element" if pa.types.is_fixed_size_list(field.type) else field.name]


def _with_pictures(source: Store, groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for group in groups:
        found = list(each_picture(source, [group]))
        data = pa.array([data for _, data in found], pa.binary())
        names = pa.array([picture_name(row) for row, _ in found], pa.string())
        yield group.add_column(0, "image", pa.StructArray.from_arrays([data, names], fields=_IMAGE.fields))


def _grouped(tables: Iterable[pa.Table], limits: Limits) -> Iterator[pa.Table]:
    """Yield the rows of one row group after the other; memory holds one."""
    for _, pieces in cut(tables, limits):
        yield pa.concat_tables(pieces)
