"""Damage done to a small collection, one way a function."""

from __future__ import annotations

import itertools

import pyarrow as pa

from pressrun import layout, manifest
from pressrun.index.generations import commit_index
from pressrun.storage import TEMPORARY, Store
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    held_ids,
    ids,
    png,
    put_images,
    stars,
)

IMAGES = 6


def held(store: Store) -> set[str]:
    return set(held_ids(store))


def lose_an_image(store: Store, rows: pa.Table) -> None:
    store.delete([rows.column("path")[1].as_py()])


def change_an_image(store: Store, rows: pa.Table) -> None:
    store.write(rows.column("path")[1].as_py(), png(99))


def lose_every_image(store: Store, rows: pa.Table) -> None:
    store.delete(rows.column("path").to_pylist())


def double_a_row(store: Store, rows: pa.Table) -> None:
    manifest.write_part(store, rows.slice(1, 1))


def double_rows_and_lose_their_neighbour(store: Store, rows: pa.Table) -> None:
    # What is left of a part gets the name of another one, whose turn has yet to come.
    parts = {ids(manifest.read_table(store, name))[0]: name for name in manifest.part_names(store)}
    for start, lost in itertools.product((0, 3), range(3)):
        part = rows.slice(start, 3)
        name = manifest.write_part(store, part.take([at for at in range(3) if at != lost]))
        if name > parts[ids(part)[0]]:
            store.delete([part.column("path")[lost].as_py()])
            return
        store.delete([name])
    raise AssertionError("no part comes later")


def add_an_orphan(store: Store, rows: pa.Table) -> None:
    store.write(layout.image("0" * 32), b"nobody's")


def leave_a_receipt(store: Store, rows: pa.Table) -> None:
    manifest.write_receipt(store, "batch", put_images(store, stars(2, first=100)))


def leave_a_receipt_of_a_lost_image(store: Store, rows: pa.Table) -> None:
    more = put_images(store, stars(2, first=100))
    manifest.write_receipt(store, "batch", more)
    store.delete([more.column("path")[0].as_py()])


def leave_a_temporary_object(store: Store, rows: pa.Table) -> None:
    store.write(f"{TEMPORARY}/half", b"x")


def damage_a_part(store: Store, rows: pa.Table) -> None:
    name = manifest.part_names(store)[0]
    store.write(name, store.read(name)[:-20])


def damage_the_pages_of_a_part(store: Store, rows: pa.Table) -> None:
    name = manifest.part_names(store)[0]
    data = store.read(name)
    store.write(name, data[:4] + bytes(len(data) // 4) + data[4 + len(data) // 4 :])


def damage_every_part(store: Store, rows: pa.Table) -> None:
    for name in manifest.part_names(store):
        store.write(name, b"")


def put_another_table_in_a_parts_place(store: Store, rows: pa.Table) -> None:
    store.write(manifest.part_names(store)[0], manifest.to_parquet(pa.table({"breed": ["collie"]})))


def leave_a_damaged_receipt(store: Store, rows: pa.Table) -> None:
    leave_a_receipt(store, rows)
    (name,) = manifest.receipt_names(store)
    store.write(name, store.read(name)[:100])


def write_down_a_wrong_size(store: Store, rows: pa.Table) -> None:
    store.delete(manifest.part_names(store))
    sizes = rows.column("size_bytes").to_pylist()
    sizes[1] += 1
    at = rows.column_names.index("size_bytes")
    manifest.write_part(store, rows.set_column(at, rows.schema.field(at), pa.array(sizes)))
    commit_index(store, DIMENSION, EMBEDDER)


def lose_the_index(store: Store, rows: pa.Table) -> None:
    store.delete([name for name, _ in store.walk(layout.INDEX)])


def leave_the_index_behind(store: Store, rows: pa.Table) -> None:
    manifest.write_part(store, put_images(store, stars(3, first=100)))


def leave_the_index_ahead(store: Store, rows: pa.Table) -> None:
    store.delete(manifest.part_names(store)[:1])
    left = held(store)
    store.delete(row["path"] for row in rows.to_pylist() if row["image_id"] not in left)


def damage_the_index(store: Store, rows: pa.Table) -> None:
    (name,) = [name for name, _ in store.walk(layout.INDEX) if name.endswith(".faiss")]
    store.write(name, store.read(name)[:-1] + b"?")


def damage_the_indexs_records(store: Store, rows: pa.Table) -> None:
    store.write(f"{layout.INDEX}/current.json", b"{")
