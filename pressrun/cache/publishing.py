"""Hashing a model once, chunk by chunk, so that the hashes can stand beside it.

Knows nothing of how they are used (`pressrun.cache.published`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pressrun.cache.chunk_manifest import MIB, Chunk, ChunkedFile, ChunkManifest, cut, hash_of
from pressrun.cache.published import PublishedPlace, published_place, published_text
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.models.listing import ModelListing, list_model
from pressrun.progress import News, tell
from pressrun.storage import TEMPORARY, Store

_THREADS = 8  # each holds one chunk, of 8 to 16 MiB
_PART_BYTES = 8 * MIB  # in which Amazon's own tools upload larger files


@dataclass(frozen=True, slots=True)
class Publication:
    """Hashes that were published.

    Parameters
    ----------
    place : str
        The file that holds them.
    manifest : ChunkManifest
        The model's chunks.
    """

    place: str
    manifest: ChunkManifest

    def record(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "place": self.place,
            "revision": self.manifest.revision,
            "files": len(self.manifest.files),
            "chunks": len(self.manifest.chunks()),
            "size_bytes": self.manifest.size_bytes,
        }


def publish(location: Location) -> Publication:
    """Hash every file that loading a model reads, and write the hashes beside it.

    Parameters
    ----------
    location : Location
        A model's or an embedder's folder, or an adapter's file or folder.

    Raises
    ------
    InvalidModel
        If there is nothing that could be loaded, a file changes or cannot be read, or nothing can be written there.
    """
    before = _states(list_model(location, single_file=True))
    facts = read_any(location)
    plain = cut(location, facts.revision, facts.files)
    place = published_place(location, facts)
    hashes = _hash_all(place.store, plain)
    _check_unchanged(before, list_model(location, single_file=True), plain)
    manifest = plain.with_hashes({key: found.xxh3 for key, found in hashes.items()})
    names = {file.path: _other_names(file, hashes) for file in plain.files}
    _write(place, published_text(manifest, names).encode())
    return Publication(str(place), manifest)


@dataclass(frozen=True, slots=True)
class _Hashes:
    xxh3: str
    md5: bytes


def _hash_all(store: Store, manifest: ChunkManifest) -> dict[tuple[str, int], _Hashes]:
    """Return the hashes of all chunks by path and number; no more than a chunk a thread is in memory."""
    chunks = manifest.chunks()
    found: dict[tuple[str, int], _Hashes] = {}
    done_bytes = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            for chunk, hashes in zip(chunks, threads.map(partial(_hash, store), chunks), strict=True):
                found[chunk.path, chunk.number] = hashes
                done_bytes += chunk.size_bytes
                tell(News("hash", f"{done_bytes / 1e9:.2f} of {manifest.size_bytes / 1e9:.2f} GB"))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return found


def _hash(store: Store, chunk: Chunk) -> _Hashes:
    try:
        data = store.read_range(chunk.path, chunk.start, chunk.size_bytes)
    except Exception as error:
        # Only the class name: the text may hold credentials or a signed URL.
        raise InvalidModel(
            f"{chunk.path} of {store.location} cannot be read from byte {chunk.start} on ({type(error).__name__}); "
            "check the network and rights, and publish again."
        ) from None
    if len(data) != chunk.size_bytes:
        raise InvalidModel(
            f"{chunk.path} of {store.location} gave {len(data)} of {chunk.size_bytes} bytes from byte {chunk.start} "
            "on; publish again when nobody writes there."
        )
    return _Hashes(hash_of(data), hashlib.md5(data, usedforsecurity=False).digest())


def _other_names(file: ChunkedFile, hashes: Mapping[tuple[str, int], _Hashes]) -> tuple[str, ...]:
    """Return the ETags that S3 gives a file that is uploaded whole or in the usual parts, where they follow from these.

    A folder that is published on a disk can so be uploaded and still be known for what it is.
    """
    sums = [hashes[file.path, number].md5 for number in range(len(file))]
    if not sums:
        return (f"etag:{hashlib.md5(usedforsecurity=False).hexdigest()}",)
    if file.chunk_bytes != _PART_BYTES:
        return ()
    in_parts = f"etag:{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
    return (f"etag:{sums[0].hex()}", in_parts) if len(sums) == 1 else (in_parts,)


def _states(listing: ModelListing) -> dict[str, tuple[object, ...]]:
    """Return what changes when a file is written, without reading it."""
    return {path: _state(listing, path) for path in listing.infos}


def _state(listing: ModelListing, path: str) -> tuple[object, ...]:
    if not listing.location.is_local:
        return listing.size_bytes(path), listing.digest(path)
    with suppress(FileNotFoundError):
        status = os.stat(listing.full_path(path))
        return status.st_size, status.st_mtime_ns, status.st_ino
    return ()


def _check_unchanged(before: Mapping[str, tuple[object, ...]], listing: ModelListing, manifest: ChunkManifest) -> None:
    now = _states(listing)
    for file in manifest.files:
        if before.get(file.path) != now.get(file.path):
            raise InvalidModel(
                f"{file.path} of {listing.location} changed while it was hashed; publish again when nobody writes "
                "there."
            )


def _write(place: PublishedPlace, data: bytes) -> None:
    store = place.store
    try:
        store.write(place.name, data)
    except Exception as error:
        # Only the class name: the text may hold credentials or a signed URL.
        raise InvalidModel(
            f"{place} cannot be written ({type(error).__name__}); publish as somebody who may write there, and at a "
            "folder or bucket that takes writes."
        ) from None
    if store.is_local:
        with suppress(OSError):  # another publisher's file is in it
            os.rmdir(store.path(TEMPORARY))


__all__ = ["Publication", "publish"]
