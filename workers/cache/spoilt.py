"""Chunks whose bytes on disk are not what they were: found, and their files taken back.

Knows nothing of who found out, nor of how the bytes come again.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace

from filelock import Timeout

from pressrun.cache.chunk_manifest import hash_of
from workers.cache.filling_file import FillingFile
from workers.cache.held_chunks import Place
from workers.cache.journal import opened
from workers.cache.revision_folder import RevisionFolder

_PATIENCE_S = 5.0  # with whoever has the revision's lock: most have it for an instant


def is_sound(place: Place) -> bool:
    """Return whether a chunk's bytes still hash to what they did."""
    try:
        with opened(place.piece.path) as descriptor:
            return hash_of(os.pread(descriptor, place.piece.size_bytes, place.piece.start)) == place.xxh3
    except OSError:
        return False


def take_back(folder: RevisionFolder, place: Place, even_sound: bool = False) -> None:
    """Have a file with a spoilt chunk published no more: a partial one that lacks the chunk, or none.

    What is a partial one already is hashed by whoever goes on with it.

    Parameters
    ----------
    folder : RevisionFolder
        The revision's.
    place : Place
        Where the chunk lies.
    even_sound : bool
        Whether the file goes though its bytes hash to what they did; else another process may have mended it.
    """
    lock = folder.lock()
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout:  # who fills the revision hashes no file that is marked as whole, but sees that one is missing
        if even_sound or not _is_repaired(folder, place):
            _unpublish(folder, place)
        return
    try:
        if not even_sound and _is_repaired(folder, place):
            return
        marker = folder.marker()
        known = marker.file(place.file_path) if marker else None
        if known is None:  # published alone: its journal, which speaks for it, is void without it
            _unpublish(folder, place)
            return
        file = FillingFile(folder.path, known)
        file.recognise(marker)
        if file.is_final:
            with closing(file):
                file.remove(known.chunks()[place.piece.start // known.chunk_bytes])
    finally:
        lock.release()


def _unpublish(folder: RevisionFolder, place: Place) -> None:
    (folder.path / place.file_path).unlink(missing_ok=True)


def _is_repaired(folder: RevisionFolder, place: Place) -> bool:
    """Return whether another process has published a sound file there meanwhile."""
    return is_sound(replace(place, piece=replace(place.piece, path=folder.path / place.file_path)))


__all__ = ["is_sound", "take_back"]
