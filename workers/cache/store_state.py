"""What lies in a host's cache folder, as a person wants to know it. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from workers.cache.eviction import DiskUse
from workers.cache.pins import unpinned
from workers.cache.revision_folder import RevisionFolder, revision_folders


@dataclass(frozen=True, slots=True)
class RevisionState:
    """One revision on this host.

    Parameters
    ----------
    revision : str
        Digest of the model's listing.
    size_bytes : int
        On disk, what it shares with others included.
    is_complete : bool
        Whether it can be loaded.
    is_pinned : bool
        Whether it is in use.
    is_filling : bool
        Whether it is being written.
    last_used_s : float
        When it was filled or pinned last, in seconds since 1970.
    """

    revision: str
    size_bytes: int
    is_complete: bool
    is_pinned: bool
    is_filling: bool
    last_used_s: float


@dataclass(frozen=True, slots=True)
class StoreState:
    """A cache folder.

    Parameters
    ----------
    root : Path
        The folder.
    budget_bytes : int or None
        What it may hold.
    size_bytes : int
        What it holds; what revisions share counts once.
    revisions : tuple of RevisionState
        Those that have files, by revision.
    """

    root: Path
    budget_bytes: int | None
    size_bytes: int
    revisions: tuple[RevisionState, ...]


def look(root: Path, budget_bytes: int | None) -> StoreState:
    """Return what lies in a cache folder."""
    use = DiskUse(root)
    states = (_look_at(folder, use.of(folder.revision)) for folder in revision_folders(root))
    return StoreState(root, budget_bytes, use.total_bytes, tuple(state for state in states if state.size_bytes))


def _look_at(folder: RevisionFolder, size_bytes: int) -> RevisionState:
    is_filling = _is_filling(folder)
    with unpinned(folder.pin) as is_free:
        return RevisionState(
            revision=folder.revision,
            size_bytes=size_bytes,
            is_complete=folder.complete() is not None,
            is_pinned=not is_free,
            is_filling=is_filling,
            last_used_s=folder.last_used_s(),
        )


def _is_filling(folder: RevisionFolder) -> bool:
    lock = folder.lock()
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


__all__ = ["RevisionState", "StoreState", "look"]
