"""What lies in a host's cache folder, as a person wants to know it. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workers.cache.eviction import CHANGING_NAME, DiskUse
from workers.cache.lock_looks import is_locked, while_unlocked
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
    with while_unlocked(folder.root / CHANGING_NAME):  # else who drops or evicts it now would take it for used
        is_filling, is_pinned = is_locked(folder.lock_path), is_locked(folder.pin)
    return RevisionState(folder.revision, size_bytes, is_complete, is_pinned, is_filling, last_used_s)


__all__ = ["RevisionState", "StoreState", "look"]
