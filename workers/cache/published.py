"""The complete revisions in a host's cache folder, as far as this process has learnt of them.

Knows nothing of revisions that are being filled, except that their chunks are somebody else's to forget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pressrun.cache.chunk_manifest import ChunkedFile
from workers.cache.held_chunks import HeldChunks, Place, ids_of
from workers.cache.piece import Piece
from workers.cache.revision_folder import COMPLETE_NAME, Marker, RevisionFolder, revision_folders

Cut = tuple[str, int, int]  # a file's content, size and size of chunks
_Stamp = tuple[int, int]
Editions = frozenset[tuple[str, _Stamp]]


@dataclass(frozen=True, slots=True)
class Donor:
    """A whole file that others of the same content may share.

    Parameters
    ----------
    path : Path
        Where it lies.
    hashes : tuple of str
        Its chunks' hashes.
    """

    path: Path
    hashes: tuple[str, ...]


class PublishedRevisions:
    """Reads every complete.json once, and again when it changed.

    Parameters
    ----------
    root : Path
        The cache folder.
    held : HeldChunks
        Told of their chunks.
    dropped : callable
        Told the ids of chunks that nobody on this host has any more.
    """

    def __init__(self, root: Path, held: HeldChunks, dropped: Callable[[tuple[str, ...]], None]) -> None:
        self._root = root
        self._held = held
        self._dropped = dropped
        self._scanning = Lock()
        self._known: dict[str, tuple[_Stamp, Marker]] = {}

    def scan(self, is_filling: Callable[[str], bool]) -> None:
        """Learn what was published or dropped since the last time, by any process.

        Parameters
        ----------
        is_filling : callable
            Tells whether this process is filling a revision, whose chunks are not to be forgotten then.
        """
        with self._scanning:
            found = {folder.revision: folder for folder in revision_folders(self._root)}
            for revision in [known for known in list(self._known) if known not in found and not is_filling(known)]:
                self.forget(revision)
            for folder in found.values():
                self._look_at(folder, is_filling(folder.revision))

    def forget(self, revision: str) -> None:
        """Forget a revision that is about to go, or gone."""
        self._known.pop(revision, None)
        without = self._held.remove(lambda place: place.revision == revision)
        if without:
            self._dropped(without)

    def editions(self) -> Editions:
        """Return the revisions that are known; one that was dropped and came again is another than before."""
        return frozenset((revision, stamp) for revision, (stamp, _) in list(self._known.items()))

    def donors(self, but: str) -> dict[Cut, Donor]:
        """Return files that a revision may share, by what they hold and how they are cut: those of all others."""
        return {
            cut_of(file): Donor(self._root / revision / file.path, file.hashes)
            for revision, (_, marker) in list(self._known.items())
            if revision != but and marker.manifest
            for file in marker.manifest.files
            if file.hashes or not file.size_bytes
        }

    def _look_at(self, folder: RevisionFolder, is_filling: bool) -> None:
        stamp, (known, before) = _stamp(folder.path / COMPLETE_NAME), self._known.get(folder.revision, (None, None))
        if stamp == known:
            return
        marker = folder.complete() if stamp else None
        if before and not is_filling and (marker is None or marker.manifest != before.manifest):
            self.forget(folder.revision)
        if stamp and marker:
            self._known[folder.revision] = stamp, marker
            self._hold(folder, marker)

    def _hold(self, folder: RevisionFolder, marker: Marker) -> None:
        for file in marker.manifest.files if marker.manifest else ():
            for chunk in file.chunks() if file.hashes else ():
                piece = Piece(folder.path / file.path, chunk.start, chunk.size_bytes)
                self._held.add(ids_of(chunk, chunk.xxh3), Place(folder.revision, file.path, piece, chunk.xxh3))


def cut_of(file: ChunkedFile) -> Cut:
    """Return what files have in common that can share bytes and hashes."""
    return file.content, file.size_bytes, file.chunk_bytes


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


__all__ = ["Cut", "Donor", "Editions", "PublishedRevisions", "cut_of"]
