"""When the origin counts as unable: of one chunk, or of anything, which is another matter and takes more patience.

Knows nothing of hosts, nor of what is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pressrun.cache.messages import Fault
from pressrun.cache.sources import Limits

Verdict = Literal["patience", "chunk lost", "origin lost"]


@dataclass(slots=True)
class _Faults:
    """Of one chunk: how many count, and what the origin had given in all when the last one came."""

    number: int = 0
    given: int = -1


class OriginFaults:
    """What failed at the origin since it last gave something.

    A chunk is given up after a few faults between which the origin gave others. While it gives nothing at all, it may
    be away for a while, and everybody waits for it longer.

    Parameters
    ----------
    limits : Limits
        How many faults, and how much patience.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_chunk: dict[str, _Faults] = {}
        self._given = 0
        self._in_a_row = 0
        self._first_s = 0.0
        self._last_s = 0.0

    def gave(self, chunk_id: str) -> None:
        """Note that a chunk came from the origin."""
        self._given += 1
        self._in_a_row = 0
        self.forget(chunk_id)

    def failed(self, chunk_id: str, fault: Fault, now_s: float) -> Verdict:
        """Note that a chunk did not come from the origin, and say what is to be thought of it.

        Parameters
        ----------
        chunk_id : str
            The chunk.
        fault : str
            What happened; after "gone" nobody tries again, and "corrupt" tells that the origin does answer.
        now_s : float
            The moment.
        """
        if fault in ("gone", "corrupt"):
            self._given += 1
            self._in_a_row = 0
        elif not self._in_a_row or now_s - self._last_s > self._limits.origin_patience_s:
            self._in_a_row, self._first_s = 1, now_s
        else:
            self._in_a_row += 1
        self._last_s = now_s
        faults = self._of_chunk.setdefault(chunk_id, _Faults())
        faults.number += self._given > faults.given
        faults.given = self._given
        if fault == "gone" or faults.number >= self._limits.attempts:
            return "chunk lost"
        enough = self._in_a_row >= self._limits.origin_faults
        if not enough or now_s - self._first_s < self._limits.origin_patience_s:
            return "patience"
        self._in_a_row = 0
        return "origin lost"

    def forget(self, chunk_id: str) -> None:
        """Forget what failed of a chunk; whoever asks for it later starts afresh."""
        self._of_chunk.pop(chunk_id, None)


__all__ = ["OriginFaults", "Verdict"]
