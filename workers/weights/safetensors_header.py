"""The header of a safetensors file: which tensor lies where.

Knows nothing of torch, nor of how the tensors' bytes are read. What it returns has been checked against the file's
length, so that no tensor reaches beyond it or into another.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pressrun.errors import InvalidModel

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_LENGTH_BYTES = 8
# Bytes of one number, by the format's names.
ITEM_BYTES: Mapping[str, int] = (
    dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1)
    | dict.fromkeys(("U16", "I16", "F16", "BF16"), 2)
    | dict.fromkeys(("U32", "I32", "F32"), 4)
    | dict.fromkeys(("U64", "I64", "F64", "C64"), 8)
)


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where one tensor lies, and what its bytes are.

    Parameters
    ----------
    name : str
        Its key in the state dict.
    dtype : str
        One of `ITEM_BYTES`.
    shape : tuple of int
        Empty for a scalar.
    start : int
        First byte in the file.
    size_bytes : int
        0 where a dimension is 0.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int

    @property
    def stop(self) -> int:
        """First byte after the tensor."""
        return self.start + self.size_bytes


def read_header(path: Path) -> list[TensorPlace]:
    """Return the tensors of a file in the order they lie in; without gaps they fill it to its end.

    Parameters
    ----------
    path : Path
        A local safetensors file.

    Returns
    -------
    list of TensorPlace

    Raises
    ------
    InvalidModel
        When the file is cut short, its header is damaged, or it holds numbers of a kind not known here.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size_bytes < _LENGTH_BYTES or header_bytes > min(size_bytes - _LENGTH_BYTES, MAX_HEADER_BYTES):
            raise InvalidModel(
                f"{path.name} has {size_bytes} bytes, but its header alone claims {header_bytes}: it is cut short or "
                "no safetensors file; copy the file again."
            )
        text = file.read(header_bytes)
    data_start = _LENGTH_BYTES + header_bytes
    try:
        entries = json.loads(text, object_pairs_hook=_once_each)
        places = [_place(name, entry, data_start) for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidModel(f"{path.name}: the safetensors header is damaged ({error}); copy the file again.") from None
    places.sort(key=lambda place: (place.start, place.stop))
    _check_filled(path, places, data_start, size_bytes)
    return places


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _place(name: str, entry: Mapping[str, Any], data_start: int) -> TensorPlace:
    dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
        raise ValueError(f"{name} has a shape or place that is no whole number")
    if dtype not in ITEM_BYTES:
        raise ValueError(f"{name} holds numbers of the unknown kind {dtype!r}")
    wanted_bytes = math.prod(shape) * ITEM_BYTES[dtype]
    if stop - start != wanted_bytes:
        raise ValueError(f"{name} has {stop - start} bytes, but its shape needs {wanted_bytes}")
    return TensorPlace(name, dtype, shape, data_start + start, wanted_bytes)


def _check_filled(path: Path, places: list[TensorPlace], data_start: int, size_bytes: int) -> None:
    for before, after in pairwise(places):
        if after.start != before.stop:
            raise InvalidModel(
                f"{path.name}: {before.name} ends at byte {before.stop}, but {after.name} begins at {after.start}; "
                "copy the file again."
            )
    first, last = (places[0].start, places[-1].stop) if places else (data_start, data_start)
    if (first, last) != (data_start, size_bytes):
        raise InvalidModel(
            f"{path.name} has its tensors in bytes {first} to {last}, but they should fill {data_start} to "
            f"{size_bytes}; copy the file again."
        )


__all__ = ["ITEM_BYTES", "MAX_HEADER_BYTES", "TensorPlace", "read_header"]
