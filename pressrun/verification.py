"""Proof that a collection is what its manifest says: every row one object, every object one row, the index the same.

Knows nothing of how it came about. Looking changes nothing; mending is a call of its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pressrun import layout, manifest
from pressrun.collection import Identity, read_identity
from pressrun.committed_picture import read_committed
from pressrun.errors import InvalidCollection
from pressrun.index.generations import commit_index, current_index, load_index
from pressrun.index.vectors import Index
from pressrun.picture_place import is_reference
from pressrun.request import first_of_each
from pressrun.storage import TEMPORARY, Store
from pressrun.tar_clearing import clear_tars
from pressrun.tar_path import TarPath, object_of
from pressrun.tar_verification import CHECKED_IN_TARS, by_tar, check_tar, in_tars

_READS_AT_ONCE = 16
_ROWS_AT_ONCE = 1000
_CHECKED = ["image_id", "path", "sha256", "size_bytes"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind : str
        "damaged" (a file of the manifest), "missing", "changed", "twice", "orphan", "leftover", "index".
    name : str
        The object or image concerned.
    detail : str
        What is wrong, with both values.
    """

    kind: str
    name: str
    detail: str


@dataclass(slots=True)
class Verification:
    """What looking at a collection found.

    Parameters
    ----------
    images : int
        Distinct images with a row.
    objects : int
        Objects that hold pictures: files under images/, tars under shards/ and beside receipts.
    references : int
        Images whose pictures are in other collections.
    size_bytes : int
        Bytes of the images that were read and hashed.
    indexed : int
        Images in the index.
    flaws : list of Flaw
        Empty for a sound collection.
    """

    images: int = 0
    objects: int = 0
    references: int = 0
    size_bytes: int = 0
    indexed: int = 0
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.flaws

    def counts(self) -> dict[str, int]:
        """Return the number of flaws by kind."""
        return dict(Counter(flaw.kind for flaw in self.flaws))


def verify(store: Store) -> Verification:
    """Read a whole collection, every image included, and compare it with its manifest.

    Raises
    ------
    InvalidCollection
        When there is no collection.
    """
    identity = read_identity(store)
    found = Verification()
    rows = _rows(store, found)
    found.images = rows.num_rows
    found.references = sum(map(is_reference, rows.column("path").to_pylist()))
    for chunk in _chunks(rows.filter(pc.invert(in_tars(rows))).to_batches(max_chunksize=_ROWS_AT_ONCE)):
        _check_objects(store, chunk, found)
    named = set(rows.column("path").to_pylist())
    if identity.layout == "webdataset":
        damaged = {flaw.name for flaw in found.flaws if flaw.kind == "damaged"}
        for name in sorted({*manifest.part_names(store), *manifest.receipt_names(store)} - damaged):
            named |= _check_tars(store, name, found)
    _check_orphans(store, named, found)
    if identity.embedding_size:
        _check_index(store, rows, found)
    return found


def mend(store: Store, found: Verification) -> None:
    """Put right what `verify` found, so that rerunning the job restores what is lost.

    What lies in other collections stays as it is. Rows without a sound object and files of the manifest that cannot be
    read are dropped (the images are rendered again by the next run), doubled rows and leftover receipts are compacted,
    orphans and temporary objects are deleted, and the index is brought up to the manifest.

    Parameters
    ----------
    store : Store
        The collection; no run may be writing to it.
    found : Verification
        What `verify` found in it.
    """
    lost = {flaw.name for flaw in found.flaws if flaw.kind in ("missing", "changed")}
    strangers = [TarPath.of(flaw.name) for flaw in found.flaws if flaw.kind == "orphan"]
    spoilt = {place.tar for place in strangers if place is not None}
    store.delete([flaw.name for flaw in found.flaws if flaw.kind == "damaged"])
    manifest.compact_leftovers(store, lost)  # before the parts: a lost image's row may be in a receipt
    if lost or spoilt or "twice" in found.counts():
        _rewrite_parts(store, lost, spoilt)
    paths = manifest.read_rows(store, ["path"]).to_pydict().get("path", [])  # a run may have ended after the look
    unwanted = {flaw.name for flaw in found.flaws if flaw.kind in ("orphan", "changed") and not is_reference(flaw.name)}
    store.delete(sorted(unwanted - set(map(object_of, paths))))
    clear_tars(store)
    store.sweep()
    _mend_index(store, read_identity(store))


def _rows(store: Store, found: Verification) -> pa.Table:
    """Return the rows to check, each image once, entering doubled ones and leftovers as flaws."""
    parts = _read_sound(store, manifest.part_names(store), found)
    receipts = _read_sound(store, manifest.receipt_names(store), found)
    names = Counter(image_id for part in parts.values() for image_id in part.column("image_id").to_pylist())
    found.flaws += [
        Flaw("twice", image_id, f"{count} rows in the manifest, 1 wanted")
        for image_id, count in names.items()
        if count > 1
    ]
    for name, receipt in receipts.items():
        found.flaws.append(Flaw("leftover", name, f"receipt of {receipt.num_rows} images, not compacted into a part"))
    empty = manifest.manifest_schema(0).empty_table().select(_CHECKED)
    return first_of_each(pa.concat_tables([empty, *parts.values(), *receipts.values()]))


def _read_sound(store: Store, names: list[str], found: Verification) -> dict[str, pa.Table]:
    """Return what is checked of each file of the manifest, entering those that cannot be read as flaws."""
    tables = {}
    for name in names:
        try:
            tables[name] = manifest.read_table(store, name).select(_CHECKED)  # whole: every column must be readable
        except (InvalidCollection, KeyError) as damage:
            found.flaws.append(Flaw("damaged", name, str(damage)))
    return tables


def _chunks(batches: list[pa.RecordBatch]) -> Iterator[list[dict[str, Any]]]:
    for batch in batches:
        rows = iter(batch.to_pylist())
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            yield chunk


def _check_objects(store: Store, rows: list[dict[str, Any]], found: Verification) -> None:
    with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
        for size_bytes, flaw in threads.map(lambda row: _check_object(store, row), rows):
            found.size_bytes += size_bytes
            if flaw is not None:
                found.flaws.append(flaw)


def _check_object(store: Store, row: dict[str, Any]) -> tuple[int, Flaw | None]:
    """Return how many bytes were read, and what is wrong with them."""
    path, sha256, size_bytes = row["path"], row["sha256"], row["size_bytes"]
    try:
        data = read_committed(store, row)
    except FileNotFoundError:
        where = " in the collection that it refers to" if is_reference(path) else ""
        return 0, Flaw("missing", path, f"the manifest has a row, there is no object{where}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        return len(data), Flaw("changed", path, f"sha256 is {digest[:12]}..., the manifest says {sha256[:12]}...")
    if len(data) != size_bytes:
        return len(data), Flaw("changed", path, f"the object has {len(data)} bytes, the manifest says {size_bytes}")
    return len(data), None


def _check_tars(store: Store, name: str, found: Verification) -> set[str]:
    """Read the tars with the pictures of one file of the manifest, and return their names."""
    tars = by_tar(manifest.read_table(store, name, list(CHECKED_IN_TARS)))
    with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
        for content in threads.map(lambda tar: check_tar(store, *tar), tars.items()):
            found.size_bytes += content.size_bytes
            found.flaws += [Flaw(*flaw) for flaw in content.flaws]
    return set(tars)


def _check_orphans(store: Store, named: set[str], found: Verification) -> None:
    waiting = [entry for entry in store.walk(layout.RECEIPTS) if entry[0].endswith(".tar")]
    for name, size_bytes in (*store.walk(layout.IMAGES), *store.walk(layout.SHARDS), *waiting):
        found.objects += 1
        if name not in named:
            found.flaws.append(Flaw("orphan", name, f"an object of {size_bytes} bytes that no row names"))
    for name, _ in store.walk(TEMPORARY):
        found.flaws.append(Flaw("leftover", name, "a temporary object of a killed run"))


def _check_index(store: Store, rows: pa.Table, found: Verification) -> None:
    try:
        index = _read_index(store)
    except InvalidCollection as damage:
        found.flaws.append(Flaw("index", layout.INDEX, str(damage)))
        return
    if index is None:
        if rows.num_rows:
            found.flaws.append(
                Flaw(
                    "index",
                    layout.INDEX,
                    f"no index, {rows.num_rows} images wanted; an unfinished run is finished by running its job again",
                )
            )
        return
    found.indexed = index.rows
    ids, wanted = index.ids, rows.column("image_id")
    missing = pc.sum(pc.invert(pc.is_in(wanted, value_set=ids.combine_chunks()))).as_py() or 0
    surplus = pc.sum(pc.invert(pc.is_in(ids, value_set=wanted.combine_chunks()))).as_py() or 0
    if missing or surplus:
        detail = f"{missing} images of the manifest are not in it, {surplus} of its images are not in the manifest"
        found.flaws.append(Flaw("index", layout.INDEX, detail))


def _read_index(store: Store) -> Index | None:
    try:
        meta = current_index(store)
        return load_index(store, meta)[0] if meta is not None else None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidCollection(f"The index's records cannot be read: {error!r}; mending builds it anew.") from error


def _rewrite_parts(store: Store, lost_paths: set[str], spoilt: set[str]) -> None:
    """Write every part that holds a lost or doubled row anew without it, the new part before the old one goes.

    So are parts with spoilt tars, which are then written anew.
    """
    seen: set[str] = set()
    good, stale = set(), set()
    for name in manifest.part_names(store):
        rows = manifest.read_table(store, name)
        ids, paths = rows.column("image_id").to_pylist(), rows.column("path").to_pylist()
        kept = [
            at
            for at, (one, path) in enumerate(zip(ids, paths, strict=True))
            if one not in seen and path not in lost_paths
        ]
        seen.update(ids)
        is_spoilt = not spoilt.isdisjoint(map(object_of, paths))
        if len(kept) == rows.num_rows and not is_spoilt:
            good.add(name)
            continue
        stale.add(name)
        if kept:  # the new name can be that of a part that comes later
            good.add(manifest.write_part(store, rows.take(kept), repack=is_spoilt))
    store.delete(sorted(stale - good))


def _mend_index(store: Store, identity: Identity) -> None:
    try:
        _read_index(store)
        is_of_use = bool(manifest.part_names(store))
    except InvalidCollection:
        is_of_use = False
    if not is_of_use:
        store.delete([name for name, _ in store.walk(layout.INDEX)])
    if identity.embedding_size:
        commit_index(store, identity.embedding_size, identity.embedder)
