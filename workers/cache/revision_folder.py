"""One revision's folder in a host's cache: its files' names, what says that it is whole, its locks.

Knows nothing of budgets, nor of how files come.

    ROOT/<revision>/<path>            a whole file
    ROOT/<revision>/<path>.partial    a file that is being filled, of its final size
    ROOT/<revision>/<path>.journal    which chunks of it are there
    ROOT/<revision>/complete.json     the manifest with all hashes: every file is whole
    ROOT/<revision>/manifest.json     the same, after the files were dropped
    ROOT/<revision>.lock, .pin        who fills it; who uses it, and when it was used last
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pressrun.cache.chunk_manifest import ChunkedFile, ChunkManifest, manifest_of_json
from pressrun.errors import InvalidModel

COMPLETE_NAME = "complete.json"
MANIFEST_NAME = "manifest.json"
PARTIAL_SUFFIX = ".partial"
JOURNAL_SUFFIX = ".journal"
_REVISION = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]*")
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Marker:
    """What a complete.json says.

    Parameters
    ----------
    revision : str
        Whose it is.
    sizes : dict
        Every file's size by its path.
    manifest : ChunkManifest or None
        The chunks with their hashes; None as written by versions that knew no chunks.
    """

    revision: str
    sizes: dict[str, int]
    manifest: ChunkManifest | None

    def file(self, path: str) -> ChunkedFile | None:
        """Return what is known of a file's chunks."""
        files = self.manifest.files if self.manifest else ()
        return next((file for file in files if file.path == path), None)


class RevisionFolder:
    """Names and markers of one revision.

    Parameters
    ----------
    root : Path
        The cache folder.
    revision : str
        Digest of a model's listing.

    Raises
    ------
    InvalidModel
        If the revision cannot be a folder's name.
    """

    def __init__(self, root: Path, revision: str) -> None:
        if not _REVISION.fullmatch(revision):
            raise InvalidModel(
                f"The revision {revision!r} cannot name a folder of the cache; use letters, digits, '.', '_' and '-'."
            )
        self.root = root
        self.revision = revision
        self.path = root / revision
        self.pin = root / f"{revision}.pin"
        self.lock_path = root / f"{revision}.lock"

    def lock(self) -> FileLock:
        """Return the lock of whoever fills or drops the revision; any thread may release it."""
        return FileLock(self.lock_path, mode=0o600, thread_local=False)

    def marker(self, name: str = COMPLETE_NAME) -> Marker | None:
        """Return what complete.json (or manifest.json) says; None where there is none that can be read."""
        try:
            text = (self.path / name).read_text(encoding="utf-8")
            told = json.loads(text)
            if "sizes" in told:
                sizes = {str(path): int(size_bytes) for path, size_bytes in told["sizes"].items()}
                return Marker(str(told["revision"]), sizes, None)
            manifest = manifest_of_json(text, name)
        except (OSError, InvalidModel, AttributeError, KeyError, TypeError, ValueError):
            return None
        return Marker(manifest.revision, {file.path: file.size_bytes for file in manifest.files}, manifest)

    def complete(self) -> Marker | None:
        """Return what complete.json says, if it speaks of this revision and every file has its size."""
        marker = self.marker()
        if marker is None or marker.revision != self.revision:
            return None
        whole = all(is_whole(self.path / path, size_bytes) for path, size_bytes in marker.sizes.items())
        return marker if whole else None

    def write_marker(self, manifest: ChunkManifest) -> None:
        """Say that every file is whole; they must be on disk."""
        target = self.path / COMPLETE_NAME
        partial = target.with_name(COMPLETE_NAME + PARTIAL_SUFFIX)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(descriptor)
        partial.replace(target)
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        sync_folder(self.path)
        sync_folder(self.root)

    def last_used_s(self) -> float:
        """Return when it was filled or pinned last, in seconds since 1970."""
        return max(map(_mtime_s, (self.pin, self.path / COMPLETE_NAME, self.path)))

    def empty(self, keeps_manifest: bool) -> None:
        """Remove the files; the caller holds the locks.

        Parameters
        ----------
        keeps_manifest : bool
            Whether what is known of the chunks stays, as manifest.json.
        """
        complete, kept = self.path / COMPLETE_NAME, self.path / MANIFEST_NAME
        # It goes first: what is half removed must not look whole.
        if keeps_manifest and complete.exists():
            complete.replace(kept)
        complete.unlink(missing_ok=True)
        for folder, _, names in os.walk(self.path, topdown=False):
            for name in names:
                if not keeps_manifest or Path(folder, name) != kept:
                    Path(folder, name).unlink(missing_ok=True)
            if not os.listdir(folder):
                os.rmdir(folder)


def revision_folders(root: Path) -> Iterator[RevisionFolder]:
    """Iterate over the revisions in a cache folder, whole or not; not over others' folders that lie beside them."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and _REVISION.fullmatch(entry.name):
            folder = RevisionFolder(root, entry.name)
            if _is_models(folder):
                yield folder


def _is_models(folder: RevisionFolder) -> bool:
    """Return whether a folder is a model's: what is dropped or evicted is lost, so a name alone must be a digest."""
    if _DIGEST.fullmatch(folder.revision) or folder.pin.exists():
        return True
    return any(folder.marker(name) is not None for name in (COMPLETE_NAME, MANIFEST_NAME))


def is_whole(path: Path, size_bytes: int) -> bool:
    """Return whether a regular file of that size is there."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def make_folders(top: Path, folder: Path) -> None:
    """Make a folder and those between it and `top`, for this user only."""
    levels = [folder, *folder.parents]
    for level in reversed(levels[: levels.index(top) + 1]):
        level.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mtime_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


__all__ = [
    "COMPLETE_NAME",
    "JOURNAL_SUFFIX",
    "MANIFEST_NAME",
    "PARTIAL_SUFFIX",
    "Marker",
    "RevisionFolder",
    "is_whole",
    "make_folders",
    "revision_folders",
    "sync_folder",
]
