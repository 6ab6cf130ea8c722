"""A model's files on this host: used in place where they are local, else copied once and checked.

Knows nothing of what the files mean, nor of the other hosts; every host copies for itself.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fsspec
from filelock import FileLock
from fsspec.implementations.local import LocalFileSystem

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.diffusers_folder import ModelFacts, ModelFile
from pressrun.models.embedder_folder import EmbedderFacts
from pressrun.models.listing import ModelListing, list_model

COMPLETE_NAME = "complete.json"
ATTEMPTS = 5
_COPY_THREADS = 4
_FIRST_WAIT_S = 0.5
_PARTIAL_SUFFIX = ".partial"
# Trying again cannot help with these.
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, InvalidModel)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that can be loaded from this host's disk.

    Parameters
    ----------
    path : Path
        Folder in the diffusers layout.
    origin_bytes : int
        Bytes that this call read from the origin; 0 when everything was there.
    seconds : float
        Time the call took, waiting for another process included.
    """

    path: Path
    origin_bytes: int
    seconds: float


def ensure_local(
    location: Location,
    facts: ModelFacts | EmbedderFacts | Adapter,
    root: Path,
    sleep: Callable[[float], None] = time.sleep,
) -> CachedModel:
    """Make sure that a model lies on this host.

    One process of the host copies while the others wait. A killed copy goes on with the files it lacks.

    Parameters
    ----------
    location : Location
        Where the model, or an adapter's file, comes from; a local one is used in place.
    facts : ModelFacts, EmbedderFacts or Adapter
        What was read there; the folder is named by its revision.
    root : Path
        The host's cache folder; made if missing, for this user only.
    sleep : callable
        Waits the given seconds between attempts.

    Returns
    -------
    CachedModel

    Raises
    ------
    InvalidModel
        If a file cannot be copied whole, or the model changed at its origin since the facts were read.
    """
    began = time.monotonic()
    if location.is_local:
        return CachedModel(Path(LocalFileSystem._strip_protocol(location.url)), 0, time.monotonic() - began)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / facts.revision
    folder.mkdir(mode=0o700, exist_ok=True)
    with FileLock(root / f"{facts.revision}.lock", mode=0o600):
        lacking = _lacking(folder, facts.files)
        if lacking or not (folder / COMPLETE_NAME).exists():
            (folder / COMPLETE_NAME).unlink(missing_ok=True)
            _copy_files(lambda: list_model(location, isinstance(facts, Adapter)), folder, lacking, sleep)
            _write_marker(folder, facts)
    return CachedModel(folder, sum(file.size_bytes for file in lacking), time.monotonic() - began)


def _lacking(folder: Path, files: Iterable[ModelFile]) -> list[ModelFile]:
    return [file for file in files if not _is_whole(folder / file.path, file.size_bytes)]


def _is_whole(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes


def _copy_files(
    relist: Callable[[], ModelListing], folder: Path, files: list[ModelFile], sleep: Callable[[float], None]
) -> None:
    listing = relist()
    _check_unchanged(listing, files)
    with ThreadPoolExecutor(_COPY_THREADS) as threads:
        list(threads.map(lambda file: _copy_with_retries(listing, file, folder, sleep), files))
    # A model overwritten while it was copied would be a mixture under one revision.
    _check_unchanged(relist(), files)


def _check_unchanged(listing: ModelListing, files: Iterable[ModelFile]) -> None:
    for file in files:
        if file.path not in listing.infos or listing.digest(file.path) != file.digest:
            raise InvalidModel(
                f"The file {file.path} of the model {listing.location} changed after the run was planned; start the "
                "run again, and write a new model to a new place."
            )


def _copy_with_retries(listing: ModelListing, file: ModelFile, folder: Path, sleep: Callable[[float], None]) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _copy(listing.filesystem, listing.full_path(file.path), file, folder / file.path)
        except Exception as error:
            # Only the class name: the text may hold credentials or a signed URL.
            what = f"{file.path} of the model {listing.location}: {type(error).__name__}"
            if attempt == ATTEMPTS or isinstance(error, _PERMANENT):
                reason = str(error) if isinstance(error, InvalidModel | _ShortCopy) else "check the network and rights"
                raise InvalidModel(f"Cannot copy {what} at attempt {attempt} of {ATTEMPTS}; {reason}.") from None
            wait_s = _FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            logger.warning("Copying %s; trying again in %.1f s (%d of %d).", what, wait_s, attempt, ATTEMPTS)
            sleep(wait_s)
    raise AssertionError("the loop returns or raises")


class _ShortCopy(Exception):
    """The origin sent fewer or more bytes than its listing says."""


def _copy(filesystem: fsspec.AbstractFileSystem, origin: str, file: ModelFile, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(target.name + _PARTIAL_SUFFIX)
    filesystem.get_file(origin, str(partial))
    copied_bytes = partial.stat().st_size
    if copied_bytes != file.size_bytes:
        raise _ShortCopy(f"{copied_bytes} bytes came, {file.size_bytes} are listed")
    _publish(partial, target)


def _write_marker(folder: Path, facts: ModelFacts | EmbedderFacts | Adapter) -> None:
    partial = folder / (COMPLETE_NAME + _PARTIAL_SUFFIX)
    sizes = {file.path: file.size_bytes for file in facts.files}
    partial.write_text(json.dumps({"revision": facts.revision, "sizes": sizes}, indent=1), encoding="utf-8")
    _publish(partial, folder / COMPLETE_NAME)


def _publish(partial: Path, target: Path) -> None:
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["COMPLETE_NAME", "CachedModel", "ensure_local"]
