"""Which chunks of a partial file are there: a record a chunk, beside the file, that survives a kill.

Knows nothing of the chunks' bytes. A record is a claim to be checked again, so nothing here waits for the disk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from pressrun.cache.chunk_manifest import ChunkedFile, chunk_bytes_of

_RECORD = struct.Struct("<16s8s8x")  # hash of the chunk, check of the record


class Journal:
    """The record of one partial file. Chunks have places of their own in it, so threads may write at once.

    It is opened for each record, so that a model of thousands of files takes no descriptors.

    Parameters
    ----------
    path : Path
        Where it lies; made if missing. Records of another content, or of other chunks, do not count.
    file : ChunkedFile
        The file it speaks of.

    Raises
    ------
    OSError
        If it cannot be written, or the disk has no room for it.
    """

    def __init__(self, path: Path, file: ChunkedFile) -> None:
        self.path = path
        self._salt = _salt_of(file)
        with opened(path, os.O_WRONLY | os.O_CREAT) as descriptor:
            # All of its room now, so that a disk that fills up later cannot stop a chunk from being recorded.
            allocate(descriptor, _RECORD.size * len(file))

    def add(self, number: int, xxh3: str) -> None:
        """Record that a chunk is there."""
        digest = bytes.fromhex(xxh3)
        self._write(number, _RECORD.pack(digest, _check(self._salt, number, digest)))

    def remove(self, number: int) -> None:
        """Record that a chunk is not there any more."""
        self._write(number, bytes(_RECORD.size))

    def _write(self, number: int, record: bytes) -> None:
        with opened(self.path, os.O_WRONLY) as descriptor:
            os.pwrite(descriptor, record, _RECORD.size * number)


def read_journal(path: Path, file: ChunkedFile) -> dict[int, str]:
    """Return the recorded chunks' hashes by number; what is missing, torn or of another file is left out."""
    try:
        told = path.read_bytes()
    except OSError:
        return {}
    salt, found = _salt_of(file), {}
    for number in range(min(len(file), len(told) // _RECORD.size)):
        digest, check = _RECORD.unpack_from(told, _RECORD.size * number)
        if check == _check(salt, number, digest):
            found[number] = digest.hex()
    return found


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file of the cache; one that is made is for this user only."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def allocate(descriptor: int, size_bytes: int) -> None:
    """Give a file its size and its room on disk.

    Raises
    ------
    OSError
        If the disk has no room for it.
    """
    if size_bytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:
        os.ftruncate(descriptor, size_bytes)


def _salt_of(file: ChunkedFile) -> bytes:
    return f"{file.content}\0{file.size_bytes}\0{file.chunk_bytes}\0".encode()


def lacking_bytes(path: Path, size_bytes: int) -> int:
    """Return how much of a partial file has no record, unchecked: a figure for people."""
    try:
        told = path.read_bytes()
    except OSError:
        return size_bytes
    chunk_bytes, empty = chunk_bytes_of(size_bytes), bytes(_RECORD.size)
    lacking = [start for start in range(0, len(told), _RECORD.size) if told[start : start + _RECORD.size] == empty]
    starts = (start // _RECORD.size * chunk_bytes for start in lacking)
    return sum(max(0, min(chunk_bytes, size_bytes - start)) for start in starts)


def _check(salt: bytes, number: int, digest: bytes) -> bytes:
    return xxhash.xxh3_64_digest(salt + number.to_bytes(8, "little") + digest)


__all__ = ["Journal", "allocate", "lacking_bytes", "opened", "read_journal"]
