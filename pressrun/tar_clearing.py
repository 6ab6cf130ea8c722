"""What killed writers left of tars, and what of it nobody can name any more.

Knows nothing of how tars are filled.
"""

from __future__ import annotations

import io
import tarfile

from pressrun import layout, manifest
from pressrun.storage import Store
from pressrun.tar_shards import waiting_tars


def clear_tars(store: Store) -> None:
    """Remove tars that no row names nor ever will: of parts that were not written, of batches that are in parts.

    A batch's tar without a receipt stays while one of its pictures is in no part: the worker that wrote it may be about
    to write the receipt. Where all are in parts, a late receipt does no harm, since readers take a part's row. Only the
    collection's single writer may call this, and not while it is compacting.
    """
    shards = {name: layout.part_of_shard(name) for name in store.names(layout.SHARDS)}
    missing = {name: _ids_in(store, name) for name in unnamed_batches(store)}
    if not shards and not missing:  # as where pictures are files
        return
    parts = set(manifest.part_names(store))
    store.delete([name for name, part in shards.items() if part is not None and part not in parts])
    for part in parts if missing else ():  # one at a time: a collection's ids may be millions
        held = set(manifest.ids_of_part(store, part).to_pylist())
        missing = {name: ids - held for name, ids in missing.items()}
    store.delete(sorted(name for name, ids in missing.items() if not ids))


def unnamed_batches(store: Store) -> list[str]:
    """Return the tars of batches that no receipt names."""
    waiting = set(store.names(layout.RECEIPTS, ".tar"))
    for name in manifest.receipt_names(store) if waiting else ():
        waiting.difference_update(waiting_tars(manifest.read_table(store, name, ["path"])))
    return sorted(waiting)


def _ids_in(store: Store, name: str) -> set[str]:
    """Return the images in a batch's tar; one that cannot be read holds none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(store.read(name))) as tar:
            return {member.partition(".")[0] for member in tar.getnames()}
    except (tarfile.TarError, FileNotFoundError):
        return set()
