"""A collection: the identity written once, and the claim of the one run that may write to it.

Knows nothing of images, manifests or indexes; `pressrun.layout` names them.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from pressrun import layout
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.storage import Store

FORMAT_VERSION = 1
_BEAT_S = 15.0
_STALE_S = 90.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What every object of a collection agrees on.

    Parameters
    ----------
    embedder : str
        Revision digest of the model that embeds pictures; "" for a collection without embeddings.
    embedding_size : int
        Length of an embedding; 0 without embeddings.
    image_ending : str
        "png".
    format_version : int
        Version of the layout.
    """

    embedder: str
    embedding_size: int
    image_ending: str = "png"
    format_version: int = FORMAT_VERSION


def read_identity(store: Store) -> Identity:
    """Return what a collection says of itself.

    Raises
    ------
    InvalidCollection
        When there is no collection at the location, or one of another format.
    """
    try:
        record = json.loads(store.read(layout.COLLECTION))
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidCollection(f"{store.location} holds no collection (no {layout.COLLECTION}).") from None
    if record.get("format_version") != FORMAT_VERSION:
        raise InvalidCollection(
            f"{store.location} has format version {record.get('format_version')}, this Pressrun reads version "
            f"{FORMAT_VERSION}; use the Pressrun that wrote it or generate into a new location."
        )
    return Identity(**record)


def check_location(store: Store) -> None:
    """Refuse a location that holds other things than a collection this version reads.

    Raises
    ------
    InvalidCollection
        Naming what stands there.
    """
    if store.exists(layout.COLLECTION):
        read_identity(store)
        return
    strangers = [name for name in store.names("") if name != layout.WRITER]
    if strangers:
        raise InvalidCollection(
            f"{store.location} is not empty and not a collection (it holds {strangers[0]!r}, "
            f"{len(strangers)} files in all); choose a new or empty location."
        )


def join_collection(store: Store, wanted: Identity) -> Identity:
    """Create the collection, or check that the job fits the one that is there.

    Raises
    ------
    InvalidCollection
        When the collection was embedded by another model than the job's.
    """
    check_location(store)
    if store.create(layout.COLLECTION, json.dumps(asdict(wanted), indent=2).encode()):
        return wanted
    found = read_identity(store)
    if found != wanted:
        raise InvalidCollection(
            f"{store.location} was made with embedder {found.embedder[:12] or 'none'} ({found.embedding_size} values), "
            f"the job's is {wanted.embedder[:12] or 'none'} ({wanted.embedding_size} values); "
            "use the same embedder or generate into a new location."
        )
    return found


class WriterClaim:
    """The right to write to a collection, held by one run at a time and kept alive by a heartbeat.

    Parameters
    ----------
    store : Store
        The collection.
    run_id : str
        The run that claims.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, store: Store, run_id: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._released = threading.Event()
        self._beating: threading.Thread | None = None

    def acquire(self) -> None:
        """Claim the collection; a claim whose holder died is taken over.

        Raises
        ------
        CollectionBusy
            When another run holds it and is alive.
        """
        if not self._store.create(layout.WRITER, self._record()):
            holder = self._holder()
            if holder is not None and holder["run_id"] != self._run_id and not self._is_dead(holder):
                age_s = self._clock() - float(holder["beat"])
                raise CollectionBusy(
                    f"{self._store.location} is being written by run {holder['run_id']} on {holder['host']} (process "
                    f"{holder['pid']}, last sign of life {age_s:.0f} s ago); wait for it, stop it, or choose another "
                    f"location. A claim without a sign of life for {_STALE_S:.0f} s is taken over."
                )
            self._store.write(layout.WRITER, self._record())
        self._beating = threading.Thread(target=self._beat, name="writer-claim", daemon=True)
        self._beating.start()

    def release(self) -> None:
        """Give the collection free; does nothing when another run holds it by now."""
        self._released.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        drop_claim(self._store, self._run_id)

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_S):
            self._store.write(layout.WRITER, self._record())

    def _record(self) -> bytes:
        process = psutil.Process()
        record = {
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "pid": process.pid,
            "process_started": process.create_time(),
            "beat": self._clock(),
        }
        return json.dumps(record).encode()

    def _holder(self) -> dict[str, Any] | None:
        try:
            holder: dict[str, Any] = json.loads(self._store.read(layout.WRITER))
        except FileNotFoundError:
            return None
        return holder

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        if self._clock() - float(holder["beat"]) > _STALE_S:
            return True
        return holder["host"] == socket.gethostname() and not _is_running(holder)


def drop_claim(store: Store, run_id: str) -> None:
    """Remove the claim of a run that ended without doing so itself."""
    try:
        holder = json.loads(store.read(layout.WRITER))
    except FileNotFoundError:
        return
    if holder["run_id"] == run_id:
        store.delete([layout.WRITER])


def _is_running(holder: dict[str, Any]) -> bool:
    pid = int(holder["pid"])
    if pid == os.getpid():
        return True
    try:
        process = psutil.Process(pid)
        same_process = process.create_time() == holder["process_started"]  # process ids are used again
        return same_process and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
