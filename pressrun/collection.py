"""A collection: the identity written once, and the claim of the one run that may write to it.

Knows nothing of images, manifests or indexes; `pressrun.layout` names them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import psutil

from pressrun import layout
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.storage import TEMPORARY, Store

FORMAT_VERSION = 1
_BEAT_S = 15.0
_STALE_S = 90.0
_START_TOLERANCE_S = 1.5
_TURNS = 10
_CLAIM_FIELDS = {"run_id", "host", "pid", "process_started", "beat"}

logger = logging.getLogger(__name__)


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


_IDENTITY_FIELDS = {field.name for field in fields(Identity)}


def read_identity(store: Store) -> Identity:
    """Return what a collection says of itself.

    Raises
    ------
    InvalidCollection
        When there is no collection at the location, or one of another format.
    """
    try:
        record = _read_record(store, layout.COLLECTION)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidCollection(f"{store.location} holds no collection (no {layout.COLLECTION}).") from None
    if record.get("format_version") != FORMAT_VERSION or record.keys() != _IDENTITY_FIELDS:
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
    strangers = [name for name in (*store.names(""), *store.folders("")) if name not in (layout.WRITER, TEMPORARY)]
    if strangers:
        raise InvalidCollection(
            f"{store.location} is not empty and not a collection (it holds {strangers[0]!r}, "
            f"{len(strangers)} files and folders in all); choose a new or empty location."
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

    Attributes
    ----------
    is_lost : bool
        Whether another run took the claim over, because this one gave no sign of life for too long.
    """

    def __init__(self, store: Store, run_id: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._released = threading.Event()
        self._beating: threading.Thread | None = None
        self.is_lost = False

    def acquire(self) -> None:
        """Claim the collection; a claim whose holder died is taken over.

        Raises
        ------
        CollectionBusy
            When another run holds it and is alive.
        """
        self._take(layout.WRITER)
        self._beating = threading.Thread(target=self._beat, name="writer-claim", daemon=True)
        self._beating.start()

    def release(self) -> None:
        """Give the collection free; does nothing when another run holds it by now."""
        self._released.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        drop_claim(self._store, self._run_id)

    def _take(self, name: str) -> None:
        for _ in range(_TURNS):
            if self._store.create(name, self._record()):
                return
            holder = _read_claim(self._store, name)
            if holder is None:
                continue  # given free meanwhile
            if holder["run_id"] != self._run_id and not self._is_dead(holder):
                raise self._busy(holder)
            if self._replace(name, holder):
                return
        raise CollectionBusy(f"The claim on {self._store.location} changed hands {_TURNS} times; run the job again.")

    def _replace(self, name: str, dead: dict[str, Any]) -> bool:
        # Several may see the same dead claim. They take turns by claiming a name that only this one claim can have, and
        # whoever comes late finds another claim in its place. The turn of one that died is replaced in the same way.
        digest = hashlib.blake2b(json.dumps(dead, sort_keys=True).encode(), digest_size=16)
        turn = f"{TEMPORARY}/claim-{digest.hexdigest()}"
        self._take(turn)
        try:
            if _read_claim(self._store, name) != dead:
                return False
            self._store.write(name, self._record())
            return True
        finally:
            self._store.delete([turn])

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_S) and not self.is_lost:
            try:
                self._renew()
            except OSError:  # the next beat may get through
                place = self._store.location
                logger.warning("run %s could not renew its claim on %s", self._run_id, place, exc_info=True)

    def _renew(self) -> None:
        holder = _read_claim(self._store, layout.WRITER)
        if holder is None or holder["run_id"] == self._run_id:
            self._store.write(layout.WRITER, self._record())
            return
        self.is_lost = True
        logger.error(
            "run %s gave no sign of life for %.0f s and lost its claim on %s to run %s; stop one of the two, then run "
            "`pressrun verify`",
            self._run_id,
            _STALE_S,
            self._store.location,
            holder["run_id"],
        )

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

    def _busy(self, holder: dict[str, Any]) -> CollectionBusy:
        age_s = self._clock() - float(holder["beat"])
        return CollectionBusy(
            f"{self._store.location} is being written by run {holder['run_id']} on {holder['host']} (process "
            f"{holder['pid']}, last sign of life {age_s:.0f} s ago); wait for it, stop it, or choose another "
            f"location. A claim without a sign of life for {_STALE_S:.0f} s is taken over."
        )

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        if self._clock() - float(holder["beat"]) > _STALE_S:
            return True
        return holder["host"] == socket.gethostname() and not _is_running(holder)


def drop_claim(store: Store, run_id: str) -> None:
    """Remove the claim of a run, if it is the one that stands."""
    holder = _read_claim(store, layout.WRITER)
    if holder is not None and holder["run_id"] == run_id:
        store.delete([layout.WRITER])


def _read_claim(store: Store, name: str) -> dict[str, Any] | None:
    try:
        claim = _read_record(store, name)
    except FileNotFoundError:
        return None
    if not claim.keys() >= _CLAIM_FIELDS:
        raise InvalidCollection(f"{name} in {store.location} is not a claim of Pressrun's; move it elsewhere.")
    return claim


def _read_record(store: Store, name: str) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        record = json.loads(store.read(name))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _is_running(holder: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(int(holder["pid"]))
        # Process ids are used again, after a container's restart even this process's own. The start time moves a little
        # when the host's clock is set.
        same_process = abs(process.create_time() - float(holder["process_started"])) < _START_TOLERANCE_S
        return same_process and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
