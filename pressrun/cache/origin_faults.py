"""When an origin counts as unable: of one chunk, or of anything, which is another matter and takes more patience.

Knows nothing of hosts, nor of what is done about it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from pressrun.cache.messages import Fault
from pressrun.cache.sources import Limits

Verdict = Literal["patience", "chunk lost", "place lost"]


@dataclass(slots=True)
class _Faults:
    """Of one chunk: how many count, and what its place had given in all when the last one came."""

    number: int = 0
    given: int = -1


@dataclass(slots=True)
class _Place:
    """Of one place: what it gave in all, and what failed since it last did."""

    given: int = 0
    in_a_row: int = 0
    first_s: float = 0.0
    last_s: float = 0.0

    def answered(self) -> None:
        self.given += 1
        self.in_a_row = 0


class OriginFaults:
    """What failed at each place of the origin since it last gave something.

    A chunk is given up after a few faults between which its place gave others. While that gives nothing at all, it may
    be away for a while, and everybody waits for it longer. What happens at one place says nothing of another.

    Parameters
    ----------
    limits : Limits
        How many faults, and how much patience.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_chunk: dict[str, _Faults] = {}
        self._places: defaultdict[str, _Place] = defaultdict(_Place)

    def gave(self, place: str, chunk_id: str) -> None:
        """Note that a chunk came from the origin."""
        self._places[place].answered()
        self.forget(chunk_id)

    def failed(self, place: str, chunk_id: str, fault: Fault, now_s: float) -> Verdict:
        """Note that a chunk did not come from the origin, and say what is to be thought of it.

        Parameters
        ----------
        place : str
            Where it was to be read.
        chunk_id : str
            The chunk.
        fault : str
            What happened; after "gone" nobody tries again, "corrupt" tells that the origin does answer, and
            "unreached" says nothing of the chunk.
        now_s : float
            The moment.
        """
        of_place = self._places[place]
        if fault in ("gone", "corrupt"):
            of_place.answered()
        elif not of_place.in_a_row or now_s - of_place.last_s > self._limits.origin_patience_s:
            of_place.in_a_row, of_place.first_s = 1, now_s
        else:
            of_place.in_a_row += 1
        of_place.last_s = now_s
        faults = self._of_chunk.setdefault(chunk_id, _Faults())
        faults.number += of_place.given > faults.given and fault != "unreached"
        faults.given = of_place.given
        if fault == "gone" or faults.number >= self._limits.attempts:
            return "chunk lost"
        enough = of_place.in_a_row >= self._limits.origin_faults
        if not enough or now_s - of_place.first_s < self._limits.origin_patience_s:
            return "patience"
        of_place.in_a_row = 0
        return "place lost"

    def forget(self, chunk_id: str) -> None:
        """Forget what failed of a chunk; whoever asks for it later starts afresh."""
        self._of_chunk.pop(chunk_id, None)


__all__ = ["OriginFaults", "Verdict"]
