"""One chunk's way to this host: from the origin or a peer into memory, where it is checked.

Knows nothing of where it goes then, nor of who wants it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from pressrun.cache.chunk_manifest import Chunk, hash_of
from pressrun.cache.messages import ORIGIN, Fault, Fetch
from workers.cache.bring import Bring
from workers.cache.chunk_client import ChunkClient, PeerBusy, PeerLacks, PeerRefused, PeerTimedOut
from workers.cache.origin import OriginFailed


class FetchFailed(Exception):
    """A chunk did not come, or not as it should.

    Parameters
    ----------
    fault : str
        What the registry calls it.
    reason : str
        What a person should read, without secrets.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """A chunk in memory, until the same thread fetches the next one.

    Parameters
    ----------
    data : memoryview
        Its bytes.
    xxh3 : str
        What they hash to.
    seconds : float
        How long they took to come.
    """

    data: memoryview
    xxh3: str
    seconds: float


class Fetcher:
    """Fetches chunks in many threads at once, with a buffer for each.

    Parameters
    ----------
    client : ChunkClient
        Fetches from peers.
    """

    def __init__(self, client: ChunkClient) -> None:
        self._client = client
        self._scratch = threading.local()

    def fetch(self, order: Fetch, chunk: Chunk, bring: Bring) -> Fetched:
        """Fetch a chunk as the registry says.

        Parameters
        ----------
        order : Fetch
            What it says.
        chunk : Chunk
            The chunk.
        bring : Bring
            Who waits for it, and knows the origin.

        Raises
        ------
        FetchFailed
            If it does not come, or other bytes than it should be.
        """
        into = self._buffer(chunk.size_bytes)
        began = time.monotonic()
        try:
            if order.source == ORIGIN:
                bring.read(chunk, into)
            else:
                self._client.fetch(order.address, order.chunk_id, into, order.timeout_s, order.stall_s)
        except (PeerLacks, PeerRefused, PeerTimedOut, OriginFailed) as error:
            raise FetchFailed(_fault_of(error), str(error)) from error
        seconds = time.monotonic() - began
        found = hash_of(into)
        if order.xxh3 and found != order.xxh3:
            reason = f"{chunk.path} has other bytes from {chunk.start} on than its hash says; publish the model again"
            raise FetchFailed("corrupt", reason)
        return Fetched(into, found, seconds)

    def close(self) -> None:
        """Let go of the peers."""
        self._client.close()

    def _buffer(self, size_bytes: int) -> memoryview:
        # Not straight into the file: until it is checked nothing may stand there, and a slow flight whose chunk came
        # another way meanwhile must not write over it.
        held: bytearray = getattr(self._scratch, "buffer", bytearray())
        if len(held) < size_bytes:
            held = self._scratch.buffer = bytearray(size_bytes)
        return memoryview(held)[:size_bytes]


def _fault_of(error: Exception) -> Fault:
    if isinstance(error, OriginFailed):
        return error.fault
    if isinstance(error, PeerLacks):
        return "missing"
    if isinstance(error, PeerBusy):
        return "busy"
    return "timeout" if isinstance(error, PeerTimedOut) else "refused"


__all__ = ["FetchFailed", "Fetched", "Fetcher"]
