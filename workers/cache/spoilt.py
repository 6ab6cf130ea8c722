"""Chunks whose bytes on disk are not what they were: found, and their files taken back.

Knows nothing of who found out, nor of how the bytes come again.
"""

from __future__ import annotations

import os
from contextlib import closing

from filelock import Timeout

from pressrun.cache.chunk_manifest import hash_of
from workers.cache.filling_file import FillingFile, opened
from workers.cache.held_chunks import Place
from workers.cache.revision_folder import RevisionFolder


def is_sound(place: Place) -> bool:
    """Return whether a chunk's bytes still hash to what they did."""
    try:
        with opened(place.piece.path) as descriptor:
            return hash_of(os.pread(descriptor, place.piece.size_bytes, place.piece.start)) == place.xxh3
    except OSError:
        return False


def take_back(folder: RevisionFolder, place: Place) -> None:
    """Make a published file with a spoilt chunk a partial one, which lacks that chunk."""
    lock = folder.lock()
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return  # another process is filling the revision, and checks what it takes
    try:
        marker = folder.marker()
        known = marker.file(place.file_path) if marker else None
        if known is None:
            return
        file = FillingFile(folder.path, known)
        file.recognise(marker)
        if file.is_final:
            with closing(file):
                file.remove(known.chunks()[place.piece.start // known.chunk_bytes])
    finally:
        lock.release()


__all__ = ["is_sound", "take_back"]
