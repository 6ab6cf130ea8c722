"""Which chunks this process knows to be whole on this host, and where.

Knows nothing of how they came there, nor whether their files are still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

from pressrun.cache.chunk_manifest import Chunk
from workers.cache.piece import Piece


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies.

    Parameters
    ----------
    revision : str
        The revision that has it.
    file_path : str
        The file's path inside the revision.
    piece : Piece
        Its bytes.
    xxh3 : str
        What they hash to.
    """

    revision: str
    file_path: str
    piece: Piece
    xxh3: str

    def is_of(self, revision: str, file_path: str, start: int) -> bool:
        """Return whether this is that chunk of that file, final or partial."""
        return (self.revision, self.file_path, self.piece.start) == (revision, file_path, start)


class HeldChunks:
    """Places by chunk id. Reading takes no lock, so that a server may ask for every chunk it sends."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Place, ...]] = {}
        self._lock = Lock()

    def hashes(self) -> dict[str, str]:
        """Return the hash of every chunk by its id."""
        with self._lock:
            return {chunk_id: places[-1].xxh3 for chunk_id, places in self._places.items()}

    def find(self, chunk_id: str) -> Place | None:
        """Return where a chunk lies: the place that was told last."""
        places = self._places.get(chunk_id)
        return places[-1] if places else None

    def all(self, chunk_id: str) -> tuple[Place, ...]:
        """Return every place where a chunk lies."""
        return self._places.get(chunk_id, ())

    def add(self, ids: Iterable[str], place: Place) -> None:
        """Add a chunk's place; it takes the place of the same chunk of the same file."""
        where = place.revision, place.file_path, place.piece.start
        with self._lock:
            for chunk_id in ids:
                others = (other for other in self._places.get(chunk_id, ()) if not other.is_of(*where))
                self._places[chunk_id] = (*others, place)

    def remove(self, is_gone: Callable[[Place], bool]) -> tuple[str, ...]:
        """Forget places and return the ids that have none left."""
        with self._lock:
            changed = {
                chunk_id: tuple(place for place in places if not is_gone(place))
                for chunk_id, places in self._places.items()
                if any(map(is_gone, places))
            }
            self._places.update(changed)
            without = tuple(chunk_id for chunk_id, places in changed.items() if not places)
            for chunk_id in without:
                del self._places[chunk_id]
        return without


def ids_of(chunk: Chunk, xxh3: str) -> set[str]:
    """Return every id under which a chunk may be asked for: by its place in the content and by its hash."""
    return {chunk.chunk_id, chunk.alias, f"{xxh3}-{chunk.size_bytes}"} - {""}


__all__ = ["HeldChunks", "Place", "ids_of"]
