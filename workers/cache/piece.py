"""Where a chunk's bytes lie on this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file on this host's disk that are a whole, checked chunk.

    Parameters
    ----------
    path : Path
        The file, published or still filling.
    start : int
        First byte.
    size_bytes : int
        Length.
    """

    path: Path
    start: int
    size_bytes: int
