"""One revision while it is filled: what it lacks, where its chunks go, and its publishing.

Knows nothing of where chunks come from, nor of budgets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition, Lock
from types import TracebackType

from filelock import FileLock

from pressrun.cache.chunk_manifest import Chunk, ChunkManifest, hash_of
from pressrun.errors import PressrunError
from workers.cache.filling_file import FillingFile, read_piece
from workers.cache.held_chunks import HeldChunks, Place, ids_of
from workers.cache.revision_folder import RevisionFolder, sync_folder

_THREADS = 4  # hashing lets go of the interpreter lock


class WrongChunk(PressrunError):
    """A chunk's bytes are not those that the manifest, or an earlier copy of it, says they are."""


class LacksChunks(ValueError):
    """A revision cannot be published, as chunks are lacking: they never came, or were found spoilt since."""


class Filling:
    """A revision that this process alone may write, until `close`.

    Made by `ChunkStore.begin`. All methods but `close` may be called by many threads at once.

    Parameters
    ----------
    folder : RevisionFolder
        Where it lies.
    manifest : ChunkManifest
        What it is to be.
    files : list of FillingFile
        Its files, open or final.
    held : HeldChunks
        Told of every chunk that is there.
    lock : FileLock
        The revision's lock, which is held; `close` releases it.
    """

    def __init__(
        self,
        folder: RevisionFolder,
        manifest: ChunkManifest,
        files: list[FillingFile],
        held: HeldChunks,
        lock: FileLock,
    ) -> None:
        self.manifest = manifest
        self.folder = folder.path
        self._folder = folder
        self._files = {file.file.path: file for file in files}
        self._held = held
        self._lock = lock
        self._changing = Condition()
        self._writing: set[tuple[str, int]] = set()
        self._publishing = Lock()
        self._lacking: dict[tuple[str, int], Chunk] = {}
        self._same: dict[str, list[Chunk]] = defaultdict(list)
        self.is_open = True
        for chunk in manifest.chunks():
            self._same[chunk.chunk_id].append(chunk)
            self._note(chunk)
        self._recover()

    def __enter__(self) -> Filling:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def lacking(self) -> list[Chunk]:
        """The chunks that are not there yet, in the manifest's order of files and offsets.

        Several may have one id; committing one of them copies it to the others.
        """
        with self._changing:
            return list(self._lacking.values())

    @property
    def chunk_ids(self) -> Collection[str]:
        """The ids of all chunks that the revision has or lacks."""
        return self._same.keys()

    def put(self, chunk: Chunk, data: memoryview | bytes, xxh3: str) -> bool:
        """Write a chunk's bytes into its place, and into those of the same id, and take it for good.

        Parameters
        ----------
        chunk : Chunk
            One of `lacking`; one that is there already is passed over.
        data : memoryview or bytes
            Its bytes.
        xxh3 : str
            What the caller found them to hash to.

        Returns
        -------
        bool
            Whether its file has all of its chunks now, so that `publish_file` may be called.

        Raises
        ------
        WrongChunk
            If the manifest says another hash, or another one was put before, or the length is not the chunk's.
        OSError
            If the disk does not take it.
        """
        file = self._files[chunk.path]
        known = file.file.hashes[chunk.number] if file.file.hashes else file.hashes.get(chunk.number, xxh3)
        if known != xxh3 or len(data) != chunk.size_bytes:
            raise WrongChunk(
                f"Chunk {chunk.number} of {chunk.path} has {chunk.size_bytes} bytes that hash to {known}, but "
                f"{len(data)} bytes came that hash to {xxh3}; fetch it elsewhere."
            )
        if self._write(chunk, data, xxh3):
            for twin in self._same[chunk.chunk_id]:
                self._write(twin, data, xxh3)
        return file.has_all

    def found_here(self, chunk: Chunk) -> tuple[bytes, str] | None:
        """Return a chunk's bytes and their hash from any file of this host that has them sound, else None."""
        for place in (*self._held.all(chunk.chunk_id), *self._held.all(chunk.alias)):
            if place.piece.size_bytes == chunk.size_bytes and place.xxh3 == (chunk.xxh3 or place.xxh3):
                data = read_piece(place.piece)
                if hash_of(data) == place.xxh3:
                    return data, place.xxh3
        return None

    def publish_file(self, path: str) -> Path:
        """Give a file that has all of its chunks its own name, so that other processes see it; waits for the disk.

        Parameters
        ----------
        path : str
            As in the manifest.

        Returns
        -------
        Path
            Where it stands.
        """
        with self._publishing:
            return self._publish_file(path)

    def publish(self) -> Path:
        """Make the revision complete, for everybody and for good; more than once does no harm.

        Returns
        -------
        Path
            Its folder.

        Raises
        ------
        LacksChunks
            If it does.
        """
        with self._publishing:
            if self._lacking:
                raise LacksChunks(f"{self.folder} lacks {len(self._lacking)} chunks and cannot be published.")
            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(self._publish_file, self._files))
            for parent in {file.path.parent for file in self._files.values()}:
                sync_folder(parent)
            whole, marker = self._with_hashes(), self._folder.marker()
            if marker is None or marker.manifest != whole:
                self._folder.write_marker(whole)
            for file in self._files.values():
                file.remove_journal()
        return self.folder

    def remove(self, chunk_path: str, start: int) -> tuple[str, ...]:
        """Take a chunk for spoilt: it is lacking again. Returns the ids that this host holds nowhere any more."""
        file = self._files[chunk_path]
        chunk = file.file.chunks()[start // file.file.chunk_bytes]
        with self._publishing, self._changing:
            file.remove(chunk)
            revision = self.manifest.revision
            without = self._held.remove(lambda place: (place.revision, place.file_path) == (revision, chunk_path))
            for other in file.file.chunks():
                self._note(other)
        return tuple(chunk_id for chunk_id in without if self._held.find(chunk_id) is None)

    def close(self) -> None:
        """Let go of the revision; what is there stays, and counts at the next `begin`. More than once does no harm."""
        self.is_open = False
        for file in self._files.values():
            file.close()
        self._lock.release()

    def _publish_file(self, path: str) -> Path:
        file = self._files[path]
        file.publish()
        with self._changing:
            for chunk in file.file.chunks():
                self._hold(chunk, file)
        return file.path

    def _note(self, chunk: Chunk) -> None:
        file = self._files[chunk.path]
        if chunk.number in file.hashes:
            self._hold(chunk, file)
        else:
            self._lacking[chunk.path, chunk.number] = chunk

    def _hold(self, chunk: Chunk, file: FillingFile) -> None:
        xxh3 = file.hashes[chunk.number]
        place = Place(self.manifest.revision, chunk.path, file.piece(chunk), xxh3)
        self._held.add(ids_of(chunk, xxh3), place)

    def _write(self, chunk: Chunk, data: memoryview | bytes, xxh3: str) -> bool:
        """Write and take a chunk; False if it is there already. Waits for who is writing the same one."""
        place = chunk.path, chunk.number
        with self._changing:
            self._changing.wait_for(lambda: place not in self._writing)
            if place not in self._lacking:
                return False
            self._writing.add(place)
        try:
            self._files[chunk.path].write(chunk, data)
            return self._take(chunk, xxh3)
        finally:
            with self._changing:
                self._writing.discard(place)
                self._changing.notify_all()

    def _take(self, chunk: Chunk, xxh3: str) -> bool:
        with self._changing:
            if (chunk.path, chunk.number) not in self._lacking:
                return False
            file = self._files[chunk.path]
            file.add(chunk, xxh3)
            del self._lacking[chunk.path, chunk.number]
            self._hold(chunk, file)
        return True

    def _recover(self) -> None:
        recorded = {path: file.recorded() for path, file in self._files.items() if not file.is_final}
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(lambda chunk: self._check(chunk, recorded[chunk.path].get(chunk.number)), self.lacking))
            list(threads.map(self._copy_from_here, self.lacking))

    def _check(self, chunk: Chunk, recorded: str | None) -> None:
        """Take a chunk that the journal says is there, if its bytes say so too."""
        if recorded and recorded == (chunk.xxh3 or recorded) == hash_of(self._files[chunk.path].read(chunk)):
            self._take(chunk, recorded)

    def _copy_from_here(self, chunk: Chunk) -> None:
        """Take a chunk from another file of this host."""
        found = self.found_here(chunk)
        if found:
            self._write(chunk, *found)

    def _with_hashes(self) -> ChunkManifest:
        found = {(path, number): xxh3 for path, file in self._files.items() for number, xxh3 in file.hashes.items()}
        return self.manifest.with_hashes(found)


__all__ = ["Filling", "LacksChunks", "WrongChunk"]
