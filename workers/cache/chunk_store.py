"""One host's cache folder: revisions of models, whole or filling, and the chunks that can be served from it.

Knows nothing of other hosts, of the origin, nor of what the files mean. Processes of one host may share the folder.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import Timeout

from pressrun.cache.chunk_manifest import ChunkedFile, ChunkManifest
from pressrun.errors import CacheInUse, InvalidModel
from workers.cache.eviction import Need, StoreBudget, changing
from workers.cache.filling import Filling
from workers.cache.filling_file import FillingFile
from workers.cache.held_chunks import HeldChunks, Place
from workers.cache.journal import read_journal
from workers.cache.piece import Piece
from workers.cache.pins import pinned
from workers.cache.private_folder import make_private
from workers.cache.published import Editions, PublishedRevisions, cut_of
from workers.cache.revision_folder import (
    COMPLETE_NAME,
    JOURNAL_SUFFIX,
    MANIFEST_NAME,
    PARTIAL_SUFFIX,
    RevisionFolder,
    is_whole,
)
from workers.cache.spoilt import is_sound, take_back
from workers.cache.store_state import StoreState, look

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

logger = logging.getLogger(__name__)


class ChunkStore:
    """A host's cache folder.

    Parameters
    ----------
    root : Path
        The folder; made if missing, for this user only.
    budget_bytes : int or None
        What all revisions together may hold; None takes what is noted in the folder, if it is.
    dropped : callable
        Told the ids of chunks that this host has just lost: evicted, dropped or spoilt, by whatever process. It is
        called while locks are held, so it only notes them.
    """

    def __init__(
        self,
        root: Path,
        budget_bytes: int | None = None,
        dropped: Callable[[tuple[str, ...]], None] = lambda ids: None,
    ) -> None:
        self.root = make_private(root)
        self._dropped = dropped
        self._held = HeldChunks()
        self._published = PublishedRevisions(root, self._held, dropped)
        self._budget = StoreBudget(root, budget_bytes, self._published.forget)
        self._fillings: dict[str, Filling] = {}
        self._scan()

    def held(self) -> dict[str, str]:
        """Return the hashes of all whole, checked chunks by id and alias; those of other processes' revisions too."""
        self._scan()
        return self._held.hashes()

    def editions(self) -> Editions:
        """Return the complete revisions, those of other processes too; one that went and came again is another."""
        self._scan()
        return self._published.editions()

    def find(self, chunk_id: str) -> Piece | None:
        """Return where a chunk lies, by id or alias; its file may be gone by the time it is opened."""
        pieces = (place.piece for place in reversed(self._held.all(chunk_id)))
        return next((piece for piece in pieces if piece.path.exists()), None)  # another process may have dropped it

    def folder_of(self, manifest: ChunkManifest) -> Path | None:
        """Return the folder of a complete revision, else None.

        Every file has its size, and the hashes that were found agree with those that the manifest knows. Pin the
        revision before, so that it stays.
        """
        marker = self._folder(manifest.revision).complete()
        if marker is None or marker.sizes != {file.path: file.size_bytes for file in manifest.files}:
            return None
        agree = all(_agree(file, marker.file(file.path)) for file in manifest.files)
        return self.root / manifest.revision if agree else None

    def file_of(self, manifest: ChunkManifest, path: str) -> Path | None:
        """Return where a file of a revision lies once it is whole, though others may still be coming; else None."""
        folder, file = self._folder(manifest.revision), next(file for file in manifest.files if file.path == path)
        final = folder.path / path
        if not is_whole(final, file.size_bytes):
            return None
        marker = folder.marker()
        is_marked = marker is not None and marker.sizes.get(path) == file.size_bytes
        journal = final.with_name(final.name + JOURNAL_SUFFIX)
        return final if is_marked or len(read_journal(journal, file)) == len(file) else None

    def manifest_of(self, revision: str) -> ChunkManifest | None:
        """Return a revision's manifest with its hashes, if this host once had it whole; evicting it keeps that."""
        folder = self._folder(revision)
        marker = folder.marker() or folder.marker(MANIFEST_NAME)
        return marker.manifest if marker else None

    def begin(self, manifest: ChunkManifest, timeout_s: float | None = None) -> Filling:
        """Begin, or go on, to fill a revision; waits while another process does.

        Files of the same content are shared with other revisions, chunks that are here already are copied, what an
        interrupted filling left is checked.

        Parameters
        ----------
        manifest : ChunkManifest
            What the revision is to be.
        timeout_s : float or None
            How long to wait for another process; None as long as it takes.

        Returns
        -------
        Filling
            To be closed. It may lack nothing; `publish` it then too.

        Raises
        ------
        InvalidModel
            If the model is larger than the budget, or has a file with a name that the cache needs.
        CacheFull
            If the budget or the disk has no room for it beside what is in use.
        CacheInUse
            If another process is still filling it when the time is up.
        """
        folder = self._folder(manifest.revision)
        _check_names(manifest)
        self._budget.refuse_larger(manifest.revision, manifest.size_bytes)
        lock = folder.lock()
        try:
            lock.acquire(timeout=-1 if timeout_s is None else timeout_s)
        except Timeout:
            raise CacheInUse(
                f"Another process has been filling {folder.path} for more than {timeout_s} s; wait longer, or end it."
            ) from None
        files = [FillingFile(folder.path, file) for file in manifest.files]
        try:
            folder.path.mkdir(mode=0o700, exist_ok=True)
            self._prepare(folder, files)
            filling = Filling(folder, manifest, files, self._held, lock)
        except BaseException:
            for file in files:
                file.close()
            lock.release()
            raise
        self._fillings[manifest.revision] = filling
        return filling

    def recheck(self, chunk_id: str, even_sound: bool = False) -> bool:
        """Hash a chunk again wherever it lies, and drop it where it is spoilt.

        A file with a spoilt chunk does not count as whole any more: `folder_of` gives None, and `begin` repairs it.

        Parameters
        ----------
        chunk_id : str
            The chunk.
        even_sound : bool
            Whether it goes though its bytes are what they were, as others have other ones.

        Returns
        -------
        bool
            Whether the chunk is still held.
        """
        for place in self._held.all(chunk_id):
            if even_sound or not is_sound(place):
                logger.warning("Chunk %d bytes into %s is spoilt and was dropped.", place.piece.start, place.piece.path)
                self._drop_spoilt(place, even_sound)
        return self._held.find(chunk_id) is not None

    def pin(self, revision: str) -> AbstractContextManager[None]:
        """Keep a revision from being evicted or dropped, in any process; the kernel lets go of it when this one dies.

        It also counts as a use. Pin first, then ask `folder_of`.
        """
        return pinned(self._folder(revision).pin)

    def drop(self, revision: str) -> None:
        """Remove a revision with all that is known of it.

        Raises
        ------
        CacheInUse
            If somebody uses or fills it.
        """
        with changing(self.root):
            self._budget.drop(self._folder(revision))

    def shrink_to(self, size_bytes: int) -> int:
        """Drop the bytes of what was used longest ago, keeping manifests, until so many are left.

        Returns
        -------
        int
            The bytes that are left: more than asked for where revisions are in use.
        """
        with changing(self.root):
            return self._budget.shrink_to(size_bytes)

    def status(self) -> StoreState:
        """Return what is there."""
        return look(self.root, self._budget.budget_bytes)

    def _folder(self, revision: str) -> RevisionFolder:
        return RevisionFolder(self.root, revision)

    def _scan(self) -> None:
        self._published.scan(self._is_filling)
        for revision, filling in list(self._fillings.items()):
            if not filling.is_open and not filling.folder.exists():  # another process evicted what it had
                del self._fillings[revision]
                self._published.forget(revision)

    def _is_filling(self, revision: str) -> bool:
        filling = self._fillings.get(revision)
        return filling is not None and filling.is_open

    def _prepare(self, folder: RevisionFolder, files: list[FillingFile]) -> None:
        """Take up what is there, and give the rest its room on disk."""
        self._scan()
        donors, marker = self._published.donors(but=folder.revision), folder.marker()
        for file in files:
            file.recognise(marker)
            if not file.is_final and (donor := donors.get(cut_of(file.file))):
                file.link(donor.path, donor.hashes)
        lacking = [file for file in files if not file.is_final]
        need = Need(folder.revision, sum(file.unallocated_bytes for file in lacking), self._sources(lacking))
        with changing(self.root):
            self._budget.make_room(need)
            self._open(lacking, need)

    def _open(self, files: list[FillingFile], need: Need) -> None:
        begun = [file for file in files if file.unallocated_bytes]
        try:
            for file in files:
                file.open()
        except OSError as error:
            for file in begun:
                file.close()
                file.remove_partial()
            if error.errno in _NO_ROOM:
                raise self._budget.full(need) from error
            raise

    def _sources(self, files: list[FillingFile]) -> set[str]:
        """Return the revisions that have chunks of these files."""
        chunks = (chunk for file in files for chunk in file.file.chunks())
        places = (self._held.find(chunk.chunk_id) or self._held.find(chunk.alias) for chunk in chunks)
        return {place.revision for place in places if place}

    def _drop_spoilt(self, place: Place, even_sound: bool) -> None:
        if self._is_filling(place.revision):
            without = self._fillings[place.revision].remove(place.file_path, place.piece.start)
        else:
            take_back(self._folder(place.revision), place, even_sound)
            without = self._held.remove(
                lambda other: (other.revision, other.file_path) == (place.revision, place.file_path)
            )
        if without:
            self._dropped(without)


def _check_names(manifest: ChunkManifest) -> None:
    for file in manifest.files:
        if any(part in ("", ".", "..") for part in file.path.split("/")):
            raise InvalidModel(
                f"The model of revision {manifest.revision} has a file {file.path!r}, which is no path inside a "
                "folder; rename it."
            )
        if file.path in (COMPLETE_NAME, MANIFEST_NAME) or file.path.endswith((PARTIAL_SUFFIX, JOURNAL_SUFFIX)):
            raise InvalidModel(
                f"The model of revision {manifest.revision} has a file {file.path}, a name that the cache needs for "
                f"itself; rename it (no {COMPLETE_NAME}, {MANIFEST_NAME}, *{PARTIAL_SUFFIX}, *{JOURNAL_SUFFIX})."
            )


def _agree(wanted: ChunkedFile, found: ChunkedFile | None) -> bool:
    if found is None or not wanted.hashes or not found.hashes or wanted.chunk_bytes != found.chunk_bytes:
        return True
    return wanted.hashes == found.hashes


__all__ = ["ChunkStore"]
