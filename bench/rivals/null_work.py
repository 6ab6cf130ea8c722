"""Work that is all machinery: a tiny picture a request, drawn in no time, saved and listed.

The same picture that Pressrun's null engine draws, so that what differs is the machinery alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rivals.parts import null_picture


def make_folders(folder: str) -> None:
    """Make the folders for pictures: 256, as Pressrun has them, or one folder would hold them all."""
    for number in range(256):
        (Path(folder) / "images" / f"{number:02x}").mkdir(parents=True, exist_ok=True)


def print_picture(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """Draw and save one picture, and return its row."""
    data = null_picture(row["seed"], row["width"])
    path = f"{folder}/images/{row['seed'] % 256:02x}/{row['id']}.png"
    Path(path).write_bytes(data)
    return row | {"path": path, "size_bytes": len(data)}


def print_pictures(rows: Sequence[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Draw and save some pictures, and return their rows."""
    return [print_picture(row, folder) for row in rows]
