"""Many image ids at once, as 128-bit numbers: 16 bytes an id, compared in full.

Knows nothing of requests or collections. A set of Python strings takes some hundred bytes an id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_ID_BYTES = 16
_SORTED_AT_ONCE = 1_000_000

Numbers = npt.NDArray[np.uint64]


class ImageIds:
    """Image ids in the order in which they were added; an id can stand twice."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, ids: pa.Array) -> None:
        """Add a chunk of ids.

        Raises
        ------
        ValueError
            When one is not an image id.
        """
        wrong_ids = ids.filter(pc.invert(are_image_ids(ids)))
        if len(wrong_ids):
            raise ValueError(
                f"{wrong_ids[0].as_py()!r} is no image id, which has 32 hexadecimal digits; name the images first."
            )
        if not len(ids):
            return
        text = ids.cast(pa.string())
        start = np.frombuffer(text.buffers()[1], np.int32, 1, 4 * text.offset)[0]
        digits = text.buffers()[2].slice(int(start), 2 * _ID_BYTES * len(text))
        self._bytes += bytes.fromhex(digits.to_pybytes().decode())

    def add_digest(self, digest: bytes) -> None:
        """Add one id as its 16 bytes."""
        assert len(digest) == _ID_BYTES, digest
        self._bytes += digest

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._bytes) // _ID_BYTES

    def numbers(self) -> Numbers:
        """Return the ids; nothing can be added afterwards."""
        return np.frombuffer(self._bytes, np.uint64).reshape(-1, 2)  # (N, 2)


def are_image_ids(ids: pa.Array) -> pa.Array:
    """Return for each text whether it has the form of an image id; a null has not."""
    return pc.match_substring_regex(ids, "^[0-9a-f]{32}$").fill_null(False)


def ids_of(rows: pa.Table) -> ImageIds:
    """Return the ids of named rows, read chunk by chunk."""
    found = ImageIds()
    for ids in rows.column("image_id").iterchunks():
        found.add(ids)
    return found


class IdLookup:
    """Where image ids stand among many.

    Parameters
    ----------
    ids : ImageIds
        The many.
    among : ndarray of bool
        (N,), which of them to look among; of these none stands twice.
    """

    def __init__(self, ids: ImageIds, among: npt.NDArray[np.bool_]) -> None:
        numbers = ids.numbers()
        positions = np.flatnonzero(among)
        self._positions = positions[np.argsort(numbers[positions, 0])]
        self._firsts, self._seconds = (numbers[self._positions, half] for half in (0, 1))  # the halves of each id

    def find(self, ids: ImageIds) -> npt.NDArray[np.int64]:
        """Return the position of each id, -1 for one that is not there."""
        wanted = ids.numbers()
        found = np.full(len(wanted), -1, np.int64)
        at = np.searchsorted(self._firsts, wanted[:, 0])
        unsettled = np.arange(len(wanted))
        while len(unsettled):  # more than once only where two ids have one first half
            unsettled = unsettled[at[unsettled] < len(self._firsts)]
            here, sought = at[unsettled], wanted[unsettled]
            near = self._firsts[here] == sought[:, 0]
            hit = near & (self._seconds[here] == sought[:, 1])
            found[unsettled[hit]] = self._positions[here[hit]]
            unsettled = unsettled[near & ~hit]
            at[unsettled] += 1
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the ids asked for are new.

    Parameters
    ----------
    rows : ndarray of bool
        (N,), True where an id stands for the first time and is not held.
    firsts : ndarray of bool
        (N,), True where an id stands for the first time, held or not.
    """

    rows: npt.NDArray[np.bool_]
    firsts: npt.NDArray[np.bool_]

    @property
    def distinct(self) -> int:
        """Different ids asked for."""
        return int(np.count_nonzero(self.firsts))


def first_not_held(asked: ImageIds, held: ImageIds) -> Choice:
    """Choose each id that is asked for and not held, where it stands first.

    Ids are hashes, so any bits of them part them evenly; one share at a time is sorted, which bounds the memory.
    """
    ours, theirs = asked.numbers(), held.numbers()
    rows, firsts = np.zeros(len(ours), np.bool_), np.zeros(len(ours), np.bool_)
    shares = 1 + (len(ours) + len(theirs)) // _SORTED_AT_ONCE
    for share in range(shares):
        at = np.flatnonzero(ours[:, 0] % np.uint64(shares) == share)
        chosen, first = _choose(ours[at], theirs[theirs[:, 0] % np.uint64(shares) == share])
        rows[at[chosen]] = True
        firsts[at[first]] = True
    return Choice(rows, firsts)


def _choose(asked: Numbers, held: Numbers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of the asked are first and not held, and which are first."""
    both = np.concatenate([held, asked])
    order = np.lexsort((both[:, 1], both[:, 0]))  # stable: held ones before asked ones, then as they were asked for
    in_order = both[order]
    starts = np.ones(len(both), np.bool_)
    starts[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    is_asked = order >= len(held)
    asked_runs = np.cumsum(starts)[is_asked]
    firsts = order[is_asked][np.diff(asked_runs, prepend=0) != 0]
    return order[starts & is_asked] - len(held), firsts - len(held)
