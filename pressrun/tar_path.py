"""The path of a picture that is a member of a tar: which tar, which bytes of it, and the member's name.

Knows nothing of how tars are written. One range read of the tar is the picture, without a look at its headers.

    shards/3f09c2...-00000.tar#1536+20480/<image_id>.png     20,480 bytes from byte 1,536 on
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pressrun.storage import Store

_PATH = re.compile(r"(?P<tar>.+\.tar)#(?P<start>\d+)\+(?P<size>\d+)/(?P<member>[^/]+)")


@dataclass(frozen=True, slots=True)
class TarPath:
    """Where in a tar a picture is.

    Parameters
    ----------
    tar : str
        Name of the tar in its collection.
    start_byte : int
        Of the picture's first byte in the tar.
    size_bytes : int
        Of the picture.
    member : str
        The picture's name in the tar.
    """

    tar: str
    start_byte: int
    size_bytes: int
    member: str

    @classmethod
    def of(cls, path: str) -> TarPath | None:
        """Return what a row's path says of a tar; None for a picture that is an object of its own."""
        found = _PATH.fullmatch(path)
        return None if found is None else cls(found["tar"], int(found["start"]), int(found["size"]), found["member"])

    def __str__(self) -> str:
        """Return the path as it stands in rows."""
        return f"{self.tar}#{self.start_byte}+{self.size_bytes}/{self.member}"


def object_of(path: str) -> str:
    """Return the name of the object that holds a row's picture: the picture itself, or a tar."""
    place = TarPath.of(path)
    return path if place is None else place.tar


def read_named(store: Store, path: str) -> bytes:
    """Return the bytes of a picture of this collection; FileNotFoundError when there is no such object."""
    place = TarPath.of(path)
    if place is None:
        return store.read(path)
    return store.read_range(place.tar, place.start_byte, place.size_bytes)
