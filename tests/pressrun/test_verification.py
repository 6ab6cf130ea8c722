from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection
from pressrun.index.generations import load_index
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.verification import Verification, mend, verify
from tests.pressrun.damage import (
    add_an_orphan,
    change_an_image,
    damage_a_part,
    damage_every_part,
    damage_the_index,
    damage_the_indexs_records,
    damage_the_pages_of_a_part,
    double_a_row,
    double_rows_and_lose_their_neighbour,
    held,
    leave_a_damaged_receipt,
    leave_a_receipt,
    leave_a_receipt_of_a_lost_image,
    leave_a_temporary_object,
    leave_the_index_ahead,
    leave_the_index_behind,
    lose_an_image,
    lose_every_image,
    lose_the_index,
    put_another_table_in_a_parts_place,
    write_down_a_wrong_size,
)
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    DyingStore,
    Killed,
    ids,
    make_collection,
    put_images,
    snapshot,
    stars,
)
from tests.s3_server import S3Server

IMAGES = 6


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path)))


@pytest.fixture(params=["folder", "bucket"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(Location(str(tmp_path)))
    server: S3Server = request.getfixturevalue("s3_server")
    return Store(Location(f"{server.make_bucket()}/out", server.storage_options))


DAMAGE: dict[Callable[[Store, pa.Table], None], dict[str, int]] = {
    lose_an_image: {"missing": 1},
    change_an_image: {"changed": 1},
    lose_every_image: {"missing": IMAGES},
    double_a_row: {"twice": 1},
    double_rows_and_lose_their_neighbour: {"twice": 2, "missing": 1},
    add_an_orphan: {"orphan": 1},
    leave_a_receipt: {"leftover": 1, "index": 1},
    leave_a_receipt_of_a_lost_image: {"leftover": 1, "missing": 1, "index": 1},
    leave_a_temporary_object: {"leftover": 1},
    damage_a_part: {"damaged": 1, "orphan": IMAGES // 2, "index": 1},
    damage_the_pages_of_a_part: {"damaged": 1, "orphan": IMAGES // 2, "index": 1},
    damage_every_part: {"damaged": 2, "orphan": IMAGES, "index": 1},
    put_another_table_in_a_parts_place: {"damaged": 1, "orphan": IMAGES // 2, "index": 1},
    leave_a_damaged_receipt: {"damaged": 1, "orphan": 2},
    write_down_a_wrong_size: {"changed": 1},
    lose_the_index: {"index": 1},
    leave_the_index_behind: {"index": 1},
    leave_the_index_ahead: {"index": 1},
    damage_the_index: {"index": 1},
    damage_the_indexs_records: {"index": 1},
}
every_damage = pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)


def sound_images(store: Store, found: Verification) -> set[str]:
    bad = {flaw.name for flaw in found.flaws}
    damaged = {flaw.name for flaw in found.flaws if flaw.kind == "damaged"}
    names = sorted({*manifest.part_names(store), *manifest.receipt_names(store)} - damaged)
    rows = [row for name in names for row in manifest.read_table(store, name, ["image_id", "path"]).to_pylist()]
    return {row["image_id"] for row in rows if row["path"] not in bad}


@every_damage
def test_every_flaw_is_found_and_looking_changes_nothing(
    store: Store, damage: Callable[[Store, pa.Table], None]
) -> None:
    damage(store, make_collection(store, IMAGES))
    before = snapshot(store)
    found = verify(store)
    assert found.counts() == DAMAGE[damage]
    assert not found.is_sound
    assert snapshot(store) == before


@every_damage
def test_every_flaw_is_mended_and_no_sound_image_is_lost(
    store: Store, damage: Callable[[Store, pa.Table], None]
) -> None:
    damage(store, make_collection(store, IMAGES))
    found = verify(store)
    kept = sound_images(store, found)
    mend(store, found)
    after = verify(store)
    assert after.flaws == []
    assert held(store) == kept
    assert (after.images, after.objects, after.indexed) == (len(kept), len(kept), len(kept))
    assert manifest.receipt_names(store) == []


@pytest.mark.parametrize("dimension", [DIMENSION, 0])
def test_a_sound_collection_stays_the_same_to_the_byte(any_store: Store, dimension: int) -> None:
    store = any_store
    rows = make_collection(store, IMAGES, dimension)
    before = snapshot(store)
    found = verify(store)
    assert found.is_sound
    assert (found.images, found.objects, found.indexed) == (IMAGES, IMAGES, IMAGES if dimension else 0)
    assert found.size_bytes == sum(rows.column("size_bytes").to_pylist())
    mend(store, found)
    assert snapshot(store) == before


def test_a_flaw_says_both_values(store: Store) -> None:
    rows = make_collection(store, IMAGES)
    change_an_image(store, rows)
    (flaw,) = verify(store).flaws
    assert flaw.name == rows.column("path")[1].as_py()
    assert f"the manifest says {rows.column('sha256')[1].as_py()[:12]}" in flaw.detail


def test_the_bytes_counted_are_those_that_were_read(store: Store) -> None:
    rows = make_collection(store, IMAGES)
    lost, changed = rows.column("path").to_pylist()[:2]
    store.delete([lost])
    store.write(changed, b"short")
    write_down = rows.column("size_bytes").to_pylist()
    assert verify(store).size_bytes == sum(write_down[2:]) + len(b"short")


def test_an_empty_collection_is_sound(store: Store) -> None:
    join_collection(store, Identity(EMBEDDER, DIMENSION))
    found = verify(store)
    assert found.is_sound
    mend(store, found)
    assert set(snapshot(store)) == {layout.COLLECTION}


def test_where_there_is_no_collection_nothing_is_verified(store: Store) -> None:
    with pytest.raises(InvalidCollection, match="holds no collection"):
        verify(store)


def test_several_flaws_are_mended_together(any_store: Store) -> None:
    store = any_store
    rows = make_collection(store, IMAGES)
    for damage in (lose_an_image, double_a_row, add_an_orphan, leave_a_receipt, leave_a_temporary_object):
        damage(store, rows)
    mend(store, verify(store))
    assert verify(store).flaws == []
    assert manifest.read_rows(store).num_rows == IMAGES - 1 + 2
    assert sorted(load_index(store)[0].ids.to_pylist()) == sorted(ids(manifest.read_rows(store)))


def test_an_object_that_a_run_committed_after_the_look_is_kept(store: Store) -> None:
    make_collection(store, IMAGES)
    late = put_images(store, stars(1, first=100))
    found = verify(store)
    assert found.counts() == {"orphan": 1}
    manifest.write_part(store, late)
    mend(store, found)
    assert verify(store).flaws == []
    assert manifest.read_rows(store).num_rows == IMAGES + 1


@pytest.mark.parametrize(
    "damage", [double_rows_and_lose_their_neighbour, leave_a_receipt_of_a_lost_image, damage_a_part]
)
def test_killed_at_any_change_mending_can_be_done_again(
    tmp_path: Path, damage: Callable[[Store, pa.Table], None]
) -> None:
    killed = 0
    for lives in range(30):
        location = Location(str(tmp_path / str(lives)))
        store = Store(location)
        damage(store, make_collection(store, IMAGES))
        found = verify(store)
        kept = sound_images(store, found)
        try:
            mend(DyingStore(location, lives), found)
        except Killed:
            killed += 1
        else:
            break
        assert sound_images(store, verify(store)) >= kept
        mend(store, verify(store))
        assert verify(store).flaws == []
        assert held(store) == kept
    assert killed >= 5
