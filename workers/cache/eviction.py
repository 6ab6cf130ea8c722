"""Room in a host's cache: what lies there, what goes first, and what may not go.

Knows nothing of chunks. Safe beside other processes: who fills or pins a revision holds a lock that is only tried here.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pressrun.errors import CacheFull, CacheInUse, InvalidModel
from pressrun.wording import quantity
from workers.cache.folder_notes import noted_budget
from workers.cache.pins import unpinned
from workers.cache.revision_folder import (
    COMPLETE_NAME,
    JOURNAL_SUFFIX,
    MANIFEST_NAME,
    RevisionFolder,
    revision_folders,
)
from workers.cache.users import users_of

CHANGING_NAME = "budget.lock"
LOW_WATERMARK = 0.9  # of the budget: evicting a little more than needed keeps evictions rare

logger = logging.getLogger(__name__)


class DiskUse:
    """Bytes of the revisions in a cache folder; a file with several names counts once.

    Parameters
    ----------
    root : Path
        The cache folder.
    """

    def __init__(self, root: Path) -> None:
        self._sizes: dict[tuple[int, int], int] = {}
        self._owners: dict[tuple[int, int], set[str]] = defaultdict(set)
        for folder in revision_folders(root):
            for found in _weights_in(folder):
                inode = found.st_dev, found.st_ino
                self._sizes[inode] = found.st_size
                self._owners[inode].add(folder.revision)

    @property
    def total_bytes(self) -> int:
        """Bytes of all revisions."""
        return sum(self._sizes.values())

    def of(self, revision: str) -> int:
        """Return the bytes of a revision, shared ones included."""
        return sum(size for inode, size in self._sizes.items() if revision in self._owners[inode])

    def alone(self, revision: str) -> int:
        """Return the bytes that go with a revision."""
        return sum(size for inode, size in self._sizes.items() if self._owners[inode] == {revision})

    def without(self, revisions: Collection[str]) -> int:
        """Return the bytes that are left when these revisions go."""
        gone = set(revisions)
        return sum(size for inode, size in self._sizes.items() if not self._owners[inode] <= gone)

    def remove(self, revision: str) -> None:
        """Count without a revision."""
        for inode in [inode for inode, owners in self._owners.items() if revision in owners]:
            self._owners[inode].discard(revision)
            if not self._owners[inode]:
                del self._owners[inode], self._sizes[inode]


@dataclass(frozen=True, slots=True)
class Need:
    """Room that somebody needs.

    Parameters
    ----------
    revision : str
        For whom; it is never evicted for it.
    size_bytes : int
        How much.
    keeps_longest : collection of str
        Revisions that are evicted last, since chunks can be copied from them.
    """

    revision: str
    size_bytes: int
    keeps_longest: Collection[str] = ()


class StoreBudget:
    """The bytes that a cache folder may hold, and the eviction that keeps it so.

    Parameters
    ----------
    root : Path
        The cache folder.
    budget_bytes : int or None
        What all revisions together may hold; None takes what is noted in the folder, which may be no limit.
    leaves : callable
        Called with a revision before its files go.
    """

    def __init__(self, root: Path, budget_bytes: int | None, leaves: Callable[[str], None]) -> None:
        self.root = root
        self._own_bytes = budget_bytes
        self._leaves = leaves

    @property
    def budget_bytes(self) -> int | None:
        """What all revisions together may hold by now; None bounds them by the disk alone."""
        return noted_budget(self.root) if self._own_bytes is None else self._own_bytes

    def refuse_larger(self, revision: str, size_bytes: int) -> None:
        """Refuse what no eviction makes room for.

        Raises
        ------
        InvalidModel
            If the model is larger than the budget.
        """
        budget_bytes = self.budget_bytes
        if budget_bytes is not None and size_bytes > budget_bytes:
            raise InvalidModel(
                f"The model of revision {revision} has {_size(size_bytes)}, but the cache {self.root} may hold "
                f"{_size(budget_bytes)}; raise the cache's budget or use a smaller model."
            )

    def make_room(self, need: Need) -> None:
        """Evict what was used longest ago until the need fits into the budget and onto the disk.

        Raises
        ------
        CacheFull
            If it does not fit beside what is in use; nothing is evicted then.
        """
        if not need.size_bytes:
            return
        use, budget_bytes = DiskUse(self.root), self.budget_bytes
        if self._excess(use, need, budget_bytes) <= 0:
            return
        in_use_bytes = use.without([folder.revision for folder in self._others(need) if _is_free(folder)])
        if self._excess(use, need, budget_bytes) > use.total_bytes - in_use_bytes:
            raise self.full(need, in_use_bytes)
        spare_bytes = int((1 - LOW_WATERMARK) * budget_bytes) if budget_bytes is not None else 0
        self._evict(use, need, lambda: self._excess(use, need, budget_bytes) + spare_bytes)
        if self._excess(use, need, budget_bytes) > 0:  # somebody began to use one meanwhile
            raise self.full(need, use.total_bytes)

    def full(self, need: Need, in_use_bytes: int | None = None) -> CacheFull:
        """Return the error for a need that cannot be met, with what there is."""
        held_bytes = DiskUse(self.root).total_bytes if in_use_bytes is None else in_use_bytes
        budget_bytes = self.budget_bytes
        bound = "" if budget_bytes is None else f" of at most {_size(budget_bytes)}"
        return CacheFull(
            f"The model of revision {need.revision} needs {_size(need.size_bytes)} more in the cache {self.root}, "
            f"which holds {_size(held_bytes)}{bound} in use, on a disk with {_size(_free_bytes(self.root))} free; "
            "wait for other jobs to end, drop models, raise the cache's budget or choose a larger disk."
        )

    def shrink_to(self, size_bytes: int) -> int:
        """Evict until no more than so many bytes are held, as far as others let go of them; return what is held."""
        use = DiskUse(self.root)
        self._evict(use, Need("", 0), lambda: use.total_bytes - size_bytes)
        return use.total_bytes

    def drop(self, folder: RevisionFolder) -> None:
        """Remove a revision with all that is known of it.

        Raises
        ------
        CacheInUse
            If somebody uses or fills it.
        """
        if folder.path.exists() and not self._empty(folder, keeps_manifest=False):
            users = ", ".join(users_of(self.root, folder.revision))
            raise CacheInUse(
                f"The model of revision {folder.revision} in the cache {self.root} is being "
                f"{f'used by {users}' if users else 'used or filled'}; "
                "drop it when the jobs that use it have ended."
            )

    def _excess(self, use: DiskUse, need: Need, budget_bytes: int | None) -> int:
        over_disk = need.size_bytes - _free_bytes(self.root)
        if budget_bytes is None:
            return over_disk
        return max(over_disk, use.total_bytes + need.size_bytes - budget_bytes)

    def _evict(self, use: DiskUse, need: Need, excess: Callable[[], int]) -> None:
        in_turn = sorted(self._others(need), key=lambda f: (f.revision in need.keeps_longest, f.last_used_s()))
        for folder in in_turn:
            if excess() <= 0:
                return
            if use.alone(folder.revision):
                self._let_go(use, folder)
        # What is left shares all of its bytes: it frees some only together with the others that have them.
        free = {folder.revision for folder in in_turn if use.of(folder.revision) and _is_free(folder)}
        for folder in in_turn:
            if excess() <= 0:
                return
            if use.without(free - {folder.revision}) > use.without(free):
                self._let_go(use, folder)

    def _let_go(self, use: DiskUse, folder: RevisionFolder) -> None:
        freed_bytes = use.alone(folder.revision)
        if self._empty(folder, keeps_manifest=True):
            use.remove(folder.revision)
            logger.info("Evicted the model of revision %s: %s.", folder.revision, _size(freed_bytes))

    def _others(self, need: Need) -> Iterator[RevisionFolder]:
        return (folder for folder in revision_folders(self.root) if folder.revision != need.revision)

    def _empty(self, folder: RevisionFolder, keeps_manifest: bool) -> bool:
        """Remove a revision's files; False while somebody fills or pins it."""
        with _unused(folder) as is_free:
            if is_free:
                self._leaves(folder.revision)
                folder.empty(keeps_manifest)
        return is_free


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Let one process of the host at a time make room in a cache folder and take it, or see what may go."""
    with FileLock(root / CHANGING_NAME, mode=0o600, thread_local=False):
        yield


@contextmanager
def _unused(folder: RevisionFolder) -> Iterator[bool]:
    """Keep everybody from filling and pinning a revision, and tell whether that worked."""
    lock = folder.lock()
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        with unpinned(folder.pin) as is_free:
            yield is_free
    finally:
        lock.release()


def _is_free(folder: RevisionFolder) -> bool:
    with _unused(folder) as is_free:
        return is_free


def _weights_in(folder: RevisionFolder) -> Iterator[os.stat_result]:
    markers = {str(folder.path / name) for name in (COMPLETE_NAME, MANIFEST_NAME)}
    for parent, _, names in os.walk(folder.path):
        for name in names:
            path = os.path.join(parent, name)
            if name.endswith(JOURNAL_SUFFIX) or path in markers:
                continue
            try:
                yield os.lstat(path)
            except FileNotFoundError:
                continue  # another process renames or drops it


def _free_bytes(root: Path) -> int:
    return shutil.disk_usage(root).free


def _size(size_bytes: int) -> str:
    return f"{quantity(size_bytes / 1e9)} GB"


__all__ = ["CHANGING_NAME", "LOW_WATERMARK", "DiskUse", "Need", "StoreBudget", "changing"]
