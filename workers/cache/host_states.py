"""What lies in the cache folder of this host, or of every host of a cluster, as people want to know it.

Joins no cache, so that a mistyped folder stays away.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workers.cache.folder_notes import KnownModel, known_model, noted_budget
from workers.cache.host_name import host_name, ip_of
from workers.cache.journal import lacking_bytes
from workers.cache.links import link_for
from workers.cache.revision_folder import JOURNAL_SUFFIX, PARTIAL_SUFFIX, RevisionFolder
from workers.cache.store_state import StoreState, look
from workers.cache.zone import zone_of

if TYPE_CHECKING:  # `pressrun cache` need not wait for Dask to look at its own host
    from distributed import Client, Worker


@dataclass(frozen=True, slots=True)
class HostPart:
    """A host's part in a cluster's cache.

    Parameters
    ----------
    zone : str
        Its zone; "" where it is told none.
    keeper : str
        Address of the worker that fetches and serves for it; "" where none does, as before the first run.
    address : str
        Address and port at which that one serves chunks; "" where none does.
    """

    zone: str
    keeper: str
    address: str


@dataclass(frozen=True, slots=True)
class HostState:
    """A cache folder of one host.

    Parameters
    ----------
    store : StoreState
        What lies there.
    known : mapping of str to KnownModel
        What its revisions are called and where they came from.
    arrived_bytes : mapping of str to int
        How much of each revision is there; the rest of its size is room that was taken for it.
    free_bytes : int
        Room on the disk.
    part : HostPart or None
        Its part in the cache of the cluster that it was looked at through.
    """

    store: StoreState
    known: Mapping[str, KnownModel]
    arrived_bytes: Mapping[str, int]
    free_bytes: int
    part: HostPart | None = None


def host_state(root: Path) -> HostState:
    """Return what lies in a cache folder of this host; one that is missing holds nothing.

    Raises
    ------
    OSError
        If it is no folder, or cannot be read.
    """
    store = look(root, noted_budget(root))
    revisions = store.revisions
    return HostState(
        store,
        {one.revision: known_model(root, one.revision) for one in revisions},
        {one.revision: one.size_bytes - _lacking_bytes(RevisionFolder(root, one.revision)) for one in revisions},
        shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free,
    )


def host_states(client: Client, folder: str) -> tuple[dict[str, HostState], dict[str, str]]:
    """Look at the folder on every host of a cluster that has it.

    Returns
    -------
    dict of str to HostState
        What lies there, by the host's name in the cache.
    dict of str to str
        Why it cannot be told, by the host's address.
    """
    found = client.run(_named_state, folder, on_error="return").items()
    told = [said for _, said in found if isinstance(said, tuple)]
    in_order = sorted(told, key=lambda said: said[1].part is not None and said[1].part.keeper != "")
    states: dict[str, HostState] = dict(in_order)  # of a host's workers the keeper knows most
    problems = {ip_of(worker): _reason(said, folder) for worker, said in found if isinstance(said, Exception)}
    return states, problems


async def _named_state(folder: str, dask_worker: Worker) -> tuple[str, HostState] | None:
    """Return a host's name and state, None where there is no such folder; called on the worker, beside its tasks."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        return None
    link, state = link_for(root), await asyncio.to_thread(host_state, root)
    address = link.serves_at if link else ""
    part = HostPart(zone_of(dask_worker), dask_worker.address if address else "", address)
    return host_name(ip_of(dask_worker.address), root), replace(state, part=part)


def _reason(error: Exception, folder: str) -> str:
    if isinstance(error, OSError):
        return f"The cache folder {folder} cannot be looked at ({error.strerror or error})."
    return f"It cannot tell what lies in the cache folder {folder} ({type(error).__name__}: {error})."


def _lacking_bytes(folder: RevisionFolder) -> int:
    lacking = 0
    for parent, _, names in os.walk(folder.path):
        for name in names:
            final = name.removesuffix(PARTIAL_SUFFIX)
            if name.endswith(PARTIAL_SUFFIX) and f"{final}{JOURNAL_SUFFIX}" in names and final not in names:
                lacking += lacking_bytes(Path(parent, f"{final}{JOURNAL_SUFFIX}"), _size_of(Path(parent, name)))
    return lacking


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it was published or dropped just now
        return 0


__all__ = ["HostPart", "HostState", "host_state", "host_states"]
