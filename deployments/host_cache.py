"""The cache of the host at hand as `pressrun cache` finds and changes it. Knows nothing of other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pressrun.errors import CacheInUse, InvalidJob
from workers.cache.folder_notes import forget_model, noted_budget

if TYPE_CHECKING:  # these bring Arrow, which `pressrun --help` need not wait for
    from workers.cache.chunk_store import ChunkStore
    from workers.cache.host_states import HostState
    from workers.cache.store_state import RevisionState, StoreState

LEAST_DIGITS = 4  # of a revision that is named


def host_state_of(root: Path) -> HostState:
    """Return what lies in a cache folder of this host.

    Raises
    ------
    InvalidJob
        If it cannot be looked at.
    """
    from workers.cache.host_states import host_state

    try:
        return host_state(root)
    except OSError as error:
        raise InvalidJob(
            f"The cache folder {root} cannot be looked at ({error.strerror}); name one of this host with --folder."
        ) from error


def found_revision(state: StoreState, digits: str) -> RevisionState:
    """Return the revision that begins with these digits.

    Raises
    ------
    InvalidJob
        If they are too few, or more or less than one revision does.
    """
    found = [one for one in state.revisions if one.revision.startswith(digits)]
    exact = [one for one in found if one.revision == digits]
    if len(exact or found) == 1 and (exact or len(digits) >= LEAST_DIGITS):
        return (exact or found)[0]
    how_many = f"{len(found)} revisions begin" if len(digits) >= LEAST_DIGITS else "too short: a revision begins"
    raise InvalidJob(
        f"{digits!r} names no one revision in {state.root}: {how_many} with it; give at least {LEAST_DIGITS} digits "
        "of one that `pressrun cache status` shows."
    )


def drop_here(root: Path, chosen: tuple[RevisionState, ...]) -> dict[str, str]:
    """Drop revisions, and return those that stay with the reason."""
    kept: dict[str, str] = {}
    if not chosen:
        return kept
    store = _store(root)
    for one in chosen:
        try:
            store.drop(one.revision)
            forget_model(root, one.revision)
        except CacheInUse as error:
            kept[one.revision] = str(error)
    return kept


def shrink_here(root: Path, size_bytes: int) -> int:
    """Drop what was used longest ago, as far as nobody uses it, until no more than so many bytes are left.

    Returns
    -------
    int
        The bytes that are left.
    """
    return _store(root).shrink_to(size_bytes)


def _store(root: Path) -> ChunkStore:
    from workers.cache.chunk_store import ChunkStore

    return ChunkStore(root, noted_budget(root))


__all__ = ["LEAST_DIGITS", "drop_here", "found_revision", "host_state_of", "shrink_here"]
