"""Hugging Face image folder: the pictures as files, and `metadata.jsonl` that tells of them.

Knows nothing of which rows are chosen. The pictures come first, the metadata last.

References
----------
https://huggingface.co/docs/datasets/image_dataset: `file_name` is relative to the folder of metadata.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator

from pressrun import layout
from pressrun.export.destination import Destination
from pressrun.export.pictures import picture_ending, read_picture
from pressrun.export.records import json_line
from pressrun.export.selection import Selection
from pressrun.read_ahead import Row, each_row, side_by_side
from pressrun.storage import Store

METADATA = "metadata.jsonl"


def write_imagefolder(source: Store, selection: Selection, destination: Destination) -> None:
    """Write the pictures that are not there yet, then the metadata.

    Parameters
    ----------
    source : Store
        The collection.
    selection : Selection
        Its rows.
    destination : Destination
        Where they go.
    """

    def copy(row: Row) -> None:
        destination.write(_file_name(row), read_picture(source, row))

    for _ in side_by_side(copy, _missing(selection, destination)):
        destination.advance()
    if destination.holds(METADATA):
        return
    with destination.writing(METADATA) as file:
        for row in each_row(selection.rows):
            file.write(json_line({"file_name": _file_name(row), **row}) + b"\n")


def _missing(selection: Selection, destination: Destination) -> Iterator[Row]:
    for row in each_row(selection.rows):
        if destination.holds(_file_name(row)):
            destination.advance()
        else:
            yield row


def _file_name(row: Row) -> str:
    """Return where a picture goes; rows in the order of their ids fill one folder after the other."""
    return layout.image(row["image_id"], picture_ending(row))
