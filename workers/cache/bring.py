"""A revision on its way to this host: what it still lacks, and whether that can come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from pressrun.cache.chunk_manifest import Chunk
from pressrun.cache.messages import Abandoned, WantedChunk, Wants
from workers.cache.filling import Filling, LacksChunks
from workers.cache.origin import Origin, OriginFailed


@dataclass(frozen=True, slots=True)
class Brought:
    """A model that lies whole on this host.

    Parameters
    ----------
    path : Path
        Its folder.
    origin_bytes : int
        Bytes that this host read from the origin for it.
    """

    path: Path
    origin_bytes: int = 0


@dataclass(slots=True)
class Bring:
    """What one revision waits for; safe to use from many threads.

    Parameters
    ----------
    revision : str
        Which one.
    filling : Filling
        Where its chunks go.
    origin : Origin or None
        Where they come from at first; None where only peers may be asked.
    digests : dict of str to str
        What the listing says of each file.
    lacking : dict of str to Chunk
        Chunks that are not there yet, one of each id.
    place : str
        Where the origin lies, without secrets; faults of one place are not held against another.
    """

    revision: str
    filling: Filling
    origin: Origin | None
    digests: dict[str, str]
    lacking: dict[str, Chunk]
    place: str = ""
    origin_bytes: int = 0
    problem: str = ""
    _doubtful: set[str] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, chunk: Chunk, into: memoryview) -> None:
        """Read a chunk from the origin.

        Raises
        ------
        OriginFailed
            If it cannot be had.
        """
        if self.origin is None:
            raise OriginFailed("no host has it any more, and its origin is not known here")
        self.origin.read(chunk.path, chunk.start, self.digests[chunk.path], into)
        with self._lock:
            self.origin_bytes += len(into)

    def keep(self, chunk_id: str, data: memoryview | bytes, xxh3: str) -> bool:
        """Write a chunk that was checked to its place; one that came before is passed over.

        Returns
        -------
        bool
            False where it cannot be written, which is the end of the bring.
        """
        with self._lock:
            chunk = self.lacking.get(chunk_id)
        if chunk is None:
            return True
        try:
            if self.filling.put(chunk, data, xxh3):
                self.filling.publish_file(chunk.path)  # its fsync is done while others still come
            if chunk_id in self._doubtful:  # the word came while it was being written
                self.filling.remove(chunk.path, chunk.start)
        except Exception as error:
            self.fail(f"a chunk cannot be written to the cache folder ({type(error).__name__}: {error})")
            return False
        with self._lock:
            self.lacking.pop(chunk_id, None)
            if not self.lacking:
                self._done.set()
        return True

    def keep_held(self, only: Collection[str] | None = None) -> tuple[str, ...]:
        """Take what this host has by now, of these chunks or of all that lack; returns which ones that were."""
        came = []
        for chunk in [self.lacking.get(chunk_id) for chunk_id in (tuple(self.lacking) if only is None else only)]:
            found = self.filling.found_here(chunk) if chunk else None
            if chunk and found and self.keep(chunk.chunk_id, *found):
                came.append(chunk.chunk_id)
        return tuple(came)

    def lacks_again(self) -> bool:
        """Take note of chunks that were there and were found spoilt; returns whether there are any."""
        with self._lock:  # under which what came is put away
            again = {chunk.chunk_id: chunk for chunk in self.filling.lacking}
            if self.problem or again.keys() <= self.lacking.keys():
                return False
            self.lacking.update((chunk_id, again[chunk_id]) for chunk_id in again.keys() - self.lacking.keys())
            self._done.clear()
        return True

    def wants(self, host: str, only: Collection[str] | None = None) -> Wants:
        """Return the news that a host lacks its chunks, or some of them."""
        lacking = [chunk for chunk in tuple(self.lacking.values()) if only is None or chunk.chunk_id in only]
        wanted = tuple(WantedChunk(chunk.chunk_id, chunk.size_bytes, chunk.xxh3) for chunk in lacking)
        return Wants(host, wanted, place=self.place)

    def fail(self, problem: str) -> None:
        """Have whoever waits know why it cannot come; the first problem counts."""
        with self._lock:
            self.problem = self.problem or problem
            self._done.set()

    def give_up(self, command: Abandoned) -> None:
        """Fail if the revision has such a chunk; one that has come is of no use where others have other bytes of it."""
        mine = [chunk_id for chunk_id in command.chunk_ids if chunk_id in self.filling.chunk_ids]
        if command.are_doubtful:
            self._doubtful.update(mine)
        if any(chunk_id in self._doubtful or chunk_id in self.lacking for chunk_id in mine):
            self.fail(command.reason)

    def drop_doubtful(self) -> tuple[str, ...]:
        """Have what was given up after it had come be fetched again the next time; returns what is held no more."""
        here = self._doubtful - {chunk.chunk_id for chunk in self.filling.lacking}
        chunks = [chunk for chunk in self.filling.manifest.chunks() if chunk.chunk_id in here]
        return tuple(name for chunk in chunks for name in self.filling.remove(chunk.path, chunk.start))

    def wait(self, timeout_s: float | None = None) -> None:
        """Return once everything is there or cannot come; what is not there in time counts as what cannot come."""
        if self.lacking and not self._done.wait(timeout_s):
            self.fail(f"{len(self.lacking)} of its chunks did not come within {timeout_s:.0f} s")

    def publish(self, timeout_s: float | None, ask_again: Callable[[], None]) -> Path | None:
        """Return the revision's folder once it is whole; None if that cannot be.

        Parameters
        ----------
        timeout_s : float or None
            As `wait` takes it.
        ask_again : callable
            Called where some of what had come was found spoilt.
        """
        while True:
            self.wait(timeout_s)
            if self.problem:
                return None
            try:
                return self.filling.publish()
            except LacksChunks:
                self.lacks_again()
                ask_again()


def bring_of(filling: Filling, origin: Origin | None, place: str = "") -> Bring:
    """Return what a filling that has just begun waits for; `place` says without secrets where its origin lies."""
    lacking = {chunk.chunk_id: chunk for chunk in reversed(filling.lacking)}  # the first of an id counts
    digests = {file.path: file.digest for file in filling.manifest.files}
    return Bring(filling.manifest.revision, filling, origin, digests, dict(reversed(lacking.items())), place)


__all__ = ["Bring", "Brought", "bring_of"]
