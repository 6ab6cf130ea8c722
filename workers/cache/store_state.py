"""What lies in a host's cache folder, as a person wants to know it. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from workers.cache.eviction import DiskUse, changing
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
    """Return what lies in a cache folder; waits for whoever makes room in it."""
    use = DiskUse(root)
    folders = [folder for folder in revision_folders(root) if use.of(folder.revision)]
    states = tuple(_look_at(folder, use.of(folder.revision)) for folder in folders)
    return StoreState(root, budget_bytes, use.total_bytes, states)


def _look_at(folder: RevisionFolder, size_bytes: int) -> RevisionState:
    is_complete, last_used_s = folder.complete() is not None, folder.last_used_s()
    with changing(folder.root):  # else whoever drops or evicts it at this moment would take it for used
        is_filling, is_pinned = _is_filling(folder), _is_pinned(folder)
    return RevisionState(folder.revision, size_bytes, is_complete, is_pinned, is_filling, last_used_s)


def _is_pinned(folder: RevisionFolder) -> bool:
    with unpinned(folder.pin) as is_free:
        return not is_free


def _is_filling(folder: RevisionFolder) -> bool:
    lock = folder.lock()
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


__all__ = ["RevisionState", "StoreState", "look"]
