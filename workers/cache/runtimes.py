"""The ways by which a remote model comes to a host: from its peers, from a mounted filesystem, or from the origin.

Knows nothing of what the files mean. A local model is used in place whatever the way.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from pressrun.cache.chunk_manifest import cut
from pressrun.cache.mounts import mounted
from pressrun.cache.options import CacheOptions
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.any_folder import AnyFacts
from pressrun.models.diffusers_folder import ModelFile
from workers.cache.arriving import arriving
from workers.cache.chunk_store import ChunkStore
from workers.cache.pins import pinned
from workers.cache.private_folder import make_private
from workers.cache.revision_folder import RevisionFolder
from workers.model_cache import CachedModel, ensure_local
from workers.order import PrintOrder
from workers.weights.component_files import Await, already_here


class Runtime(Protocol):
    """A way by which remote models come to this host."""

    def bring(self, location: Location, facts: AnyFacts, root: Path) -> CachedModel:
        """Make sure that a remote model can be loaded from this host's disk.

        Parameters
        ----------
        location : Location
            Where the model, or an adapter's file, comes from.
        facts : AnyFacts
            What was read there.
        root : Path
            The host's cache folder.

        Raises
        ------
        InvalidModel
            When it cannot.
        """
        ...


class PeerRuntime:
    """Hosts share what one of them has read from the origin."""

    def bring(self, location: Location, facts: AnyFacts, root: Path) -> CachedModel:
        """Fill the host's cache folder, as `Runtime`."""
        return ensure_local(location, facts, root)


class OriginRuntime:
    """Every host reads the origin for itself, once for all of its workers.

    Parameters
    ----------
    budget_bytes : int or None
        What the host's cache folder may hold from now on; None leaves what is noted there.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        self._budget_bytes = budget_bytes

    def bring(self, location: Location, facts: AnyFacts, root: Path) -> CachedModel:
        """Fill the host's cache folder from the origin, as `Runtime`."""
        return ensure_local(location, facts, root, from_peers=False, budget_bytes=self._budget_bytes)


class MountRuntime:
    """Models are used in place in folders that every host has mounted.

    Parameters
    ----------
    mounts : mapping of str to str
        Folders by the URL of what is mounted there.
    """

    def __init__(self, mounts: Mapping[str, str]) -> None:
        self._mounts = mounts

    def bring(self, location: Location, facts: AnyFacts, root: Path) -> CachedModel:
        """Check that every file is there with its size, as `Runtime`; nothing is copied."""
        began = time.monotonic()
        folder = self._folder(location, facts)
        lacking = [file for file in facts.files if _size_bytes(folder / file.path) != file.size_bytes]
        if lacking:
            raise InvalidModel(_not_mounted(location, folder, lacking))
        return CachedModel(folder, 0, time.monotonic() - began)

    def _folder(self, location: Location, facts: AnyFacts) -> Path:
        place = mounted(location, self._mounts)
        if place is None:
            raise InvalidModel(f"{location} lies below none of the mounts; the job should have been refused for that.")
        is_file = isinstance(facts, Adapter) and place.name == facts.files[0].path  # an adapter may be a file or folder
        return place.parent if is_file else place


def runtime_of(options: CacheOptions) -> Runtime:
    """Return the way that a run has chosen."""
    if options.runtime == "mount":
        return MountRuntime(options.mounts)
    return PeerRuntime() if options.runtime == "peer" else OriginRuntime(options.budget_bytes)


def bring(order: PrintOrder, location: Location, facts: AnyFacts) -> CachedModel:
    """Make sure that a model of an order, its embedder or an adapter can be loaded from this host's disk.

    Raises
    ------
    InvalidModel
        When it cannot be brought whole.
    """
    runtime = OriginRuntime() if location.is_local else runtime_of(order.cache)
    return runtime.bring(location, facts, Path(order.cache_folder).expanduser())


@contextmanager
def at_hand(order: PrintOrder, location: Location, facts: AnyFacts) -> Iterator[Path]:
    """Lend a model's folder on this host for loading; the cache neither evicts nor drops it meanwhile.

    Raises
    ------
    InvalidModel
        When it cannot be brought whole.
    """
    with _pinned(order, location, facts):
        yield bring(order, location, facts).path


@contextmanager
def on_its_way(order: PrintOrder, location: Location, facts: AnyFacts) -> Iterator[tuple[Path, Await]]:
    """Lend a model's folder as `at_hand` does, but at once, with what waits for each of its files.

    Raises
    ------
    InvalidModel
        When it cannot be brought whole: from waiting for a file, or at the end of the block.
    """
    root = Path(order.cache_folder).expanduser()
    with _pinned(order, location, facts):
        manifest = cut(location, facts.revision, facts.files)
        if is_in_place(order, location) or (store := ChunkStore(root)).folder_of(manifest) is not None:
            yield bring(order, location, facts).path, already_here
            return
        with arriving(store, manifest, lambda: bring(order, location, facts)) as arrival:
            yield arrival


def is_in_place(order: PrintOrder, location: Location) -> bool:
    """Return whether a model is used where it lies, so that the cache has nothing of it."""
    return location.is_local or order.cache.runtime == "mount"


def _pinned(order: PrintOrder, location: Location, facts: AnyFacts) -> AbstractContextManager[None]:
    if is_in_place(order, location):
        return nullcontext()
    root = Path(order.cache_folder).expanduser()
    make_private(root)
    return pinned(RevisionFolder(root, facts.revision).pin)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # as a network filesystem answers whose server is away
        return 0


def _not_mounted(location: Location, folder: Path, lacking: list[ModelFile]) -> str:
    first = folder / lacking[0].path
    others = f" (and {len(lacking) - 1} more files)" if len(lacking) > 1 else ""
    had = f"{_size_bytes(first)} of the {lacking[0].size_bytes} bytes of" if os.path.isfile(first) else "no file"
    return (
        f"Host {socket.gethostname()} has {had} {first}{others}: the model {location} is not mounted there as its "
        "origin has it. Mount it on this host, or choose another cache than 'mount'."
    )
