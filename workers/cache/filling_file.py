"""One file of a revision while its chunks come: a partial file, its journal, and its publishing.

Knows nothing of other files, of budgets, nor of where chunks come from. The caller holds the revision's lock.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from threading import Lock

from pressrun.cache.chunk_manifest import Chunk, ChunkedFile, hash_of
from workers.cache.journal import Journal, allocate, opened, read_journal
from workers.cache.piece import Piece
from workers.cache.revision_folder import (
    JOURNAL_SUFFIX,
    PARTIAL_SUFFIX,
    Marker,
    is_whole,
    make_folders,
)


class FillingFile:
    """One file on its way to being whole. It is opened for each chunk, so that a model may have any number of files.

    Parameters
    ----------
    folder : Path
        The revision's folder.
    file : ChunkedFile
        The file and its chunks.

    Attributes
    ----------
    hashes : dict
        What each chunk that is there hashes to, by number.
    is_final : bool
        Whether the file stands under its own name, whole.
    """

    def __init__(self, folder: Path, file: ChunkedFile) -> None:
        self.file = file
        self.hashes: dict[int, str] = {}
        self.is_final = False
        self._folder = folder
        self._final = folder / file.path
        self._partial = self._final.with_name(self._final.name + PARTIAL_SUFFIX)
        self._journal_path = self._final.with_name(self._final.name + JOURNAL_SUFFIX)
        self._journal: Journal | None = None
        self._is_closed = False
        self._publishing = Lock()

    @property
    def has_all(self) -> bool:
        """Whether no chunk is lacking."""
        return len(self.hashes) == len(self.file)

    @property
    def path(self) -> Path:
        """Where the bytes lie now."""
        return self._final if self.is_final else self._partial

    @property
    def unallocated_bytes(self) -> int:
        """Room on disk that the file does not have yet."""
        return 0 if self.is_final or is_whole(self._partial, self.file.size_bytes) else self.file.size_bytes

    def piece(self, chunk: Chunk) -> Piece:
        """Return where a chunk lies now."""
        return Piece(self.path, chunk.start, chunk.size_bytes)

    def recognise(self, marker: Marker | None) -> None:
        """Take up what is there; a file of which nothing says that it is whole is removed."""
        if not is_whole(self._final, self.file.size_bytes):
            self._final.unlink(missing_ok=True)
            return
        known = marker.file(self.file.path) if marker else None
        if known and known.hashes and _cut_alike(known, self.file):
            found = dict(enumerate(known.hashes))
        else:
            found = read_journal(self._journal_path, self.file)
        if len(found) < len(self.file) and marker and marker.sizes.get(self.file.path) == self.file.size_bytes:
            found = self._hashed()
        if len(found) == len(self.file) and (not self.file.hashes or dict(enumerate(self.file.hashes)) == found):
            self.hashes, self.is_final = found, True
        else:
            self._final.unlink()

    def link(self, donor: Path, hashes: tuple[str, ...]) -> bool:
        """Share a whole file of another revision; False where that cannot be."""
        if (self.file.hashes and self.file.hashes != hashes) or not is_whole(donor, self.file.size_bytes):
            return False
        make_folders(self._folder, self._final.parent)
        try:
            self._write_journal(dict(enumerate(hashes)))
            os.link(donor, self._final)
        except OSError:  # dropped a moment ago, too many names, or a filesystem without links
            return False
        self.hashes, self.is_final = dict(enumerate(hashes)), True
        return True

    def open(self) -> None:
        """Begin the partial file, or go on with it, and give it its room on disk.

        Raises
        ------
        OSError
            If the disk has no room.
        """
        make_folders(self._folder, self._partial.parent)
        is_new = bool(self.unallocated_bytes) or not self._partial.exists()
        if is_new:
            self._partial.unlink(missing_ok=True)
            self._journal_path.unlink(missing_ok=True)
            with opened(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
                allocate(descriptor, self.file.size_bytes)
        self._journal = Journal(self._journal_path, self.file)

    def recorded(self) -> dict[int, str]:
        """Return what the journal says is there; to be checked."""
        return read_journal(self._journal_path, self.file)

    def read(self, chunk: Chunk) -> bytes:
        """Return what stands in a chunk's place of the partial file."""
        with opened(self._partial) as descriptor:
            return os.pread(descriptor, chunk.size_bytes, chunk.start)

    def write(self, chunk: Chunk, data: memoryview | bytes) -> None:
        """Write a chunk's bytes into its place of the partial file.

        Raises
        ------
        OSError
            If the disk does not take them, or the file was closed meanwhile.
        """
        self._check_open()
        written = 0
        with memoryview(data) as whole, opened(self._partial, os.O_WRONLY) as descriptor:
            while written < len(whole):
                written += os.pwrite(descriptor, whole[written:], chunk.start + written)

    def add(self, chunk: Chunk, xxh3: str) -> None:
        """Record that a chunk's bytes are in place."""
        assert self._journal is not None, f"{self.file.path} is not open"
        self._journal.add(chunk.number, xxh3)
        self.hashes[chunk.number] = xxh3

    def remove(self, chunk: Chunk) -> None:
        """Record that a chunk is lacking again, and take the file's own name away.

        Where another revision shares the bytes, it is repaired along with this one.
        """
        with self._publishing:
            self._check_open()
            self.hashes.pop(chunk.number, None)
            if self._journal is None:
                self._reopen()
                return
            self._journal.remove(chunk.number)
            if self.is_final and self._partial.exists():
                self._final.unlink(missing_ok=True)
            elif self.is_final:
                self._final.replace(self._partial)
            self.is_final = False

    def publish(self) -> None:
        """Give the file its own name once its bytes are on disk; more than once does no harm.

        Its new name may be lost with the power until `sync_folder`. The partial one stays until `close`, for those
        who were told of it a moment ago.
        """
        with self._publishing:
            if self.is_final:
                return
            assert self._journal is not None, f"{self.file.path} is not open"
            assert self.has_all, f"{self.file.path} lacks chunks"
            with opened(self._partial, os.O_WRONLY) as descriptor:
                os.fsync(descriptor)
            try:
                os.link(self._partial, self._final)
            except OSError:  # a filesystem without links
                self._partial.replace(self._final)
            self.is_final = True

    def close(self) -> None:
        """Take no more chunks; more than once does no harm."""
        self._is_closed = True
        if self.is_final:
            self._partial.unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """Remove what was begun."""
        self._partial.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)

    def remove_journal(self) -> None:
        """Remove the record, once a complete.json says the same."""
        self._journal_path.unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._is_closed:  # another process may have the revision by now
            raise OSError(errno.EBADF, "The file was closed already; begin its revision again", str(self._final))

    def _reopen(self) -> None:
        """Make a whole file a partial one again."""
        self.is_final = False
        self._write_journal(self.hashes)
        self._partial.unlink(missing_ok=True)  # renaming one name of a file to another of its names does nothing
        self._final.replace(self._partial)
        self.open()

    def _write_journal(self, hashes: dict[int, str]) -> None:
        self._journal_path.unlink(missing_ok=True)
        journal = Journal(self._journal_path, self.file)
        for number, xxh3 in hashes.items():
            journal.add(number, xxh3)

    def _hashed(self) -> dict[int, str]:
        with opened(self._final) as descriptor:
            return {
                chunk.number: hash_of(os.pread(descriptor, chunk.size_bytes, chunk.start))
                for chunk in self.file.chunks()
            }


def read_piece(piece: Piece) -> bytes:
    """Return a piece's bytes; none where its file was dropped a moment ago."""
    try:
        with opened(piece.path) as descriptor:
            return os.pread(descriptor, piece.size_bytes, piece.start)
    except FileNotFoundError:
        return b""


def _cut_alike(one: ChunkedFile, other: ChunkedFile) -> bool:
    return (one.size_bytes, one.chunk_bytes) == (other.size_bytes, other.chunk_bytes)


__all__ = ["FillingFile", "read_piece"]
