"""The claim of the one run that may write to a collection, kept alive by a heartbeat.

Knows nothing of what the run writes. Clocks of two hosts are never trusted to agree: a holder elsewhere counts as dead
only after it was watched for longer than two of its beats and gave none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from pressrun import layout
from pressrun.errors import CollectionBusy, InvalidCollection
from pressrun.processes import is_of_this_place, is_running, this_process
from pressrun.storage import TEMPORARY, Store, reached

_BEAT_S = 15.0
_STALE_S = 90.0
_WATCH_S = 31.0
_LOOKS = 8
_TURNS = 10
_CLAIM_FIELDS = {"run_id", "host", "pid", "process_started", "beat"}

logger = logging.getLogger(__name__)


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
    pause : callable
        Waits for some seconds, while a silent holder is watched.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._pause = pause
        self._released = threading.Event()
        self._beating: threading.Thread | None = None
        self._is_taken_over = False
        self._renewed = math.inf  # by the monotonic clock; not held yet

    @property
    def is_lost(self) -> bool:
        """Whether another run took the claim over, or may have, as this one could give no sign of life for too long."""
        return self._is_taken_over or self._silent_s() > _STALE_S

    def acquire(self) -> None:
        """Claim the collection; a claim whose holder died is taken over.

        Raises
        ------
        CollectionBusy
            When another run holds it and is alive.
        InvalidCollection
            When the location cannot be written to.
        """
        reached(self._store, lambda: self._take(layout.WRITER))
        self._renewed = time.monotonic()
        self._beating = threading.Thread(target=self._beat, name="writer-claim", daemon=True)
        self._beating.start()

    def release(self) -> None:
        """Give the collection free; does nothing when another run holds it by now."""
        self._released.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        self._renewed = math.inf
        drop_claim(self._store, self._run_id)

    def _take(self, name: str) -> None:
        for _ in range(_TURNS):
            if self._store.create(name, self._record()):
                return
            holder = _read_claim(self._store, name)
            if holder is None:
                continue  # given free meanwhile
            alive = self._alive(name, holder) if holder["run_id"] != self._run_id else None
            if alive is not None:
                raise self._busy(alive)
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
        while not self._released.wait(_BEAT_S) and not self._is_taken_over:
            try:
                self._renew()
            except Exception:  # whatever it was, the next beat may get through; without beats two runs would write
                logger.warning(
                    "run %s could not renew its claim on %s, for %.0f s now; it gives up after %.0f s",
                    self._run_id,
                    self._store.location,
                    self._silent_s(),
                    _STALE_S,
                    exc_info=True,
                )

    def _silent_s(self) -> float:
        return time.monotonic() - self._renewed

    def _renew(self) -> None:
        holder = _read_claim(self._store, layout.WRITER)
        if holder is None or holder["run_id"] == self._run_id:
            begun = time.monotonic()  # the beat that others see is no younger than this
            self._store.write(layout.WRITER, self._record())
            self._renewed = begun
            return
        self._is_taken_over = True
        logger.error(
            "run %s gave no sign of life for %.0f s and lost its claim on %s to run %s; stop one of the two, then run "
            "`pressrun verify`",
            self._run_id,
            _STALE_S,
            self._store.location,
            holder["run_id"],
        )

    def _record(self) -> bytes:
        return json.dumps({"run_id": self._run_id, **this_process(), "beat": self._clock()}).encode()

    def _busy(self, holder: dict[str, Any]) -> CollectionBusy:
        age_s = self._clock() - float(holder["beat"])
        return CollectionBusy(
            f"{self._store.location} is being written by run {holder['run_id']} on {holder['host']} (process "
            f"{holder['pid']}, last sign of life {age_s:.0f} s ago); wait for it, stop it, or choose another "
            f"location. A claim without a sign of life for {_STALE_S:.0f} s is taken over."
        )

    def _alive(self, name: str, holder: dict[str, Any]) -> dict[str, Any] | None:
        """Return the claim of whoever is alive, or None when the holder is dead."""
        if is_of_this_place(holder) and not is_running(holder):
            return None
        if abs(self._clock() - float(holder["beat"])) <= _STALE_S:
            return holder
        for _ in range(_LOOKS):  # its clock may be wrong, or this one's
            self._pause(_WATCH_S / _LOOKS)
            now = _read_claim(self._store, name)
            if now != holder:
                return now
        return None


def drop_claim(store: Store, run_id: str) -> None:
    """Remove the claim of a run, if it is the one that stands."""
    holder = _read_claim(store, layout.WRITER)
    if holder is not None and holder["run_id"] == run_id:
        store.delete([layout.WRITER])


def _read_claim(store: Store, name: str) -> dict[str, Any] | None:
    try:
        claim = store.read_record(name)
    except FileNotFoundError:
        return None
    if not claim.keys() >= _CLAIM_FIELDS:
        raise InvalidCollection(f"{name} in {store.location} is not a claim of Pressrun's; move it elsewhere.")
    return claim
