"""What can be wrong with tars of pictures is found, and mended without the loss of a sound picture."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.tar_path import TarPath
from pressrun.tar_shards import add_member
from pressrun.verification import mend, verify
from tests.pressrun.damage import damage_a_part, double_a_row, leave_a_temporary_object
from tests.pressrun.small_collection import (
    DIMENSION,
    DyingStore,
    Killed,
    held_ids,
    make_tar_collection,
    put_tar,
    snapshot,
    stars,
)

IMAGES = 6
Damage = Callable[[Store, pa.Table], None]


def place(rows: pa.Table, number: int = 1) -> TarPath:
    found = TarPath.of(rows.column("path")[number].as_py())
    assert found is not None
    return found


def lose_a_tar(store: Store, rows: pa.Table) -> None:
    store.delete([place(rows).tar])


def cut_a_tar(store: Store, rows: pa.Table) -> None:
    store.write(place(rows).tar, store.read(place(rows).tar)[: place(rows).start_byte + 10])


def change_a_byte(store: Store, rows: pa.Table) -> None:
    spoil(store, place(rows).tar, place(rows).start_byte + 40)


def change_a_header(store: Store, rows: pa.Table) -> None:
    spoil(store, place(rows).tar, place(rows).start_byte - 512 + 3)


def change_a_prompt(store: Store, rows: pa.Table) -> None:
    tar = place(rows).tar
    spoil(store, tar, store.read(tar).rindex(rows.column("prompt")[1].as_py().encode()))


def spoil(store: Store, name: str, at: int) -> None:
    data = bytearray(store.read(name))
    data[at] ^= 1
    store.write(name, bytes(data))


def add_a_stranger(store: Store, rows: pa.Table) -> None:
    tar = place(rows).tar
    buffer = io.BytesIO(store.read(tar))
    with tarfile.open(fileobj=buffer, mode="a") as opened:
        add_member(opened, "stranger.png", b"x")
    store.write(tar, buffer.getvalue())


def leave_a_tar_without_a_part(store: Store, rows: pa.Table) -> None:
    store.write(layout.shard("ab" * 10, 0), store.read(place(rows).tar))


def leave_a_tar_without_a_receipt(store: Store, rows: pa.Table) -> None:
    put_tar(store, stars(2, first=100))


def leave_a_receipt_whose_tar_is_cut(store: Store, rows: pa.Table) -> None:
    more = put_tar(store, stars(2, first=100), DIMENSION if "embedding" in rows.column_names else 0)
    manifest.write_receipt(store, "batch", more)
    store.write(place(more).tar, store.read(place(more).tar)[: place(more).start_byte])


DAMAGE: dict[Damage, dict[str, int]] = {
    lose_a_tar: {"missing": 3},
    cut_a_tar: {"changed": 2},
    change_a_byte: {"changed": 1},
    change_a_header: {"changed": 2},
    change_a_prompt: {"changed": 1},
    add_a_stranger: {"orphan": 1},
    leave_a_tar_without_a_part: {"orphan": 1},
    leave_a_tar_without_a_receipt: {"orphan": 1},
    leave_a_receipt_whose_tar_is_cut: {"leftover": 1, "changed": 1, "index": 1},
    double_a_row: {"twice": 1},
    damage_a_part: {"damaged": 1, "orphan": 1, "index": 1},
    leave_a_temporary_object: {"leftover": 1},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path)))


def bad_images(store: Store) -> set[str]:
    places = [TarPath.of(flaw.name) for flaw in verify(store).flaws]
    return {place.member.partition(".")[0] for place in places if place is not None}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_every_flaw_is_found_and_mended_and_no_sound_image_is_lost(store: Store, damage: Damage) -> None:
    damage(store, make_tar_collection(store, IMAGES))
    before = snapshot(store)
    found = verify(store)
    assert found.counts() == DAMAGE[damage]
    assert snapshot(store) == before
    kept = set(held_ids(store)) - bad_images(store) if "damaged" not in found.counts() else None
    mend(store, found)
    assert verify(store).flaws == []
    if kept is not None:
        assert set(held_ids(store)) == kept
    assert len(held_ids(store)) >= IMAGES // 2


def test_a_sound_collection_stays_the_same_to_the_byte(store: Store) -> None:
    rows = make_tar_collection(store, IMAGES)
    before = snapshot(store)
    found = verify(store)
    assert found.is_sound
    assert (found.images, found.objects, found.indexed) == (IMAGES, 2, IMAGES)
    assert found.size_bytes == sum(rows.column("size_bytes").to_pylist())
    mend(store, found)
    assert snapshot(store) == before


def test_killed_at_any_change_mending_can_be_done_again(tmp_path: Path) -> None:
    killed = 0
    for lives in range(30):
        store = Store(Location(str(tmp_path / str(lives))))
        rows = make_tar_collection(store, IMAGES, dimension=0)
        for damage in (change_a_byte, leave_a_receipt_whose_tar_is_cut):
            damage(store, rows)
        found = verify(store)
        kept = set(held_ids(store)) - bad_images(store)
        try:
            mend(DyingStore(store.location, lives), found)
        except Killed:
            killed += 1
        else:
            break
        mend(store, verify(store))
        assert verify(store).flaws == []
        assert set(held_ids(store)) == kept
    assert killed >= 5
