"""A model's files on this host: used in place where they are local, else brought by the cache.

Knows nothing of what the files mean, nor of chunks. On a worker of a cluster that shares a cache the bytes come from
the other hosts as far as they can; elsewhere this host reads the origin for itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from pressrun.cache.chunk_manifest import cut
from pressrun.cache.published import manifest_for
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.any_folder import AnyFacts
from workers.cache.alone import AloneKeeper
from workers.cache.bring import Brought
from workers.cache.chunk_store import ChunkStore
from workers.cache.folder_notes import note_budget, note_model
from workers.cache.links import Link, link_for
from workers.cache.pins import pinned
from workers.cache.private_folder import make_private
from workers.cache.revision_folder import RevisionFolder


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that can be loaded from this host's disk.

    Parameters
    ----------
    path : Path
        Folder in the diffusers layout.
    origin_bytes : int
        Bytes that this host read from the origin for this call; 0 when everything was there or came from other hosts.
    seconds : float
        Time the call took, waiting for another process included.
    """

    path: Path
    origin_bytes: int
    seconds: float


def ensure_local(
    location: Location,
    facts: AnyFacts,
    root: Path,
    from_peers: bool = True,
    budget_bytes: int | None = None,
) -> CachedModel:
    """Make sure that a model lies on this host.

    One process of the host fetches while the others wait. What a killed one fetched is not fetched again.

    Parameters
    ----------
    location : Location
        Where the model, or an adapter's file, comes from; a local one is used in place.
    facts : AnyFacts
        What was read there; the folder is named by its revision.
    root : Path
        The host's cache folder; made if missing, for this user only.
    from_peers : bool
        Whether other hosts are asked, where they share a cache with this one.
    budget_bytes : int or None
        What the folder may hold from now on, `UNLIMITED_BYTES` for no limit; None leaves what is noted there.

    Returns
    -------
    CachedModel

    Raises
    ------
    InvalidModel
        If a file cannot be had whole, the model changed at its origin since the facts were read, or it is larger than
        the budget.
    CacheFull, CacheInUse
        If it cannot be had for now, as others use this host's room or fill it.
    """
    began = time.monotonic()
    if location.is_local:
        return CachedModel(Path(LocalFileSystem._strip_protocol(location.url)), 0, time.monotonic() - began)
    make_private(root)
    with pinned(RevisionFolder(root, facts.revision).pin):  # it counts as a use, also of what is here
        if budget_bytes is not None:
            note_budget(root, budget_bytes)
        _note(root, facts, location)  # for people who look at what was interrupted
        brought = _bring(location, facts, root, link_for(root) if from_peers else None)
        if budget_bytes is not None:
            ChunkStore(root).shrink_to(budget_bytes)
    _note(root, facts, location)
    return CachedModel(brought.path, brought.origin_bytes, time.monotonic() - began)


def _note(root: Path, facts: AnyFacts, location: Location) -> None:
    with suppress(OSError):  # a full disk: no model is refused for want of its name
        note_model(root, facts.revision, facts.name, location)


def _bring(location: Location, facts: AnyFacts, root: Path, link: Link | None) -> Brought:
    manifest = cut(location, facts.revision, facts.files)
    single_file = isinstance(facts, Adapter)
    if link is not None:
        return link.bring(location, manifest, single_file)
    store = ChunkStore(root)
    folder = store.folder_of(manifest)
    if folder is not None:
        return Brought(folder)
    with AloneKeeper(store) as keeper:
        return keeper.bring(location, manifest_for(location, facts), single_file)


__all__ = ["CachedModel", "ensure_local"]
