from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection
from pressrun.index.generations import load_index
from pressrun.location import Location
from pressrun.storage import TEMPORARY, Store
from pressrun.verification import Verification, mend, verify
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    DyingStore,
    Killed,
    ids,
    make_collection,
    png,
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
    lose_the_index: {"index": 1},
    leave_the_index_behind: {"index": 1},
    leave_the_index_ahead: {"index": 1},
    damage_the_index: {"index": 1},
    damage_the_indexs_records: {"index": 1},
}
every_damage = pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)


def held(store: Store) -> set[str]:
    return set(manifest.held_ids(store).to_pylist())


def sound_images(store: Store, found: Verification) -> set[str]:
    bad = {flaw.name for flaw in found.flaws}
    rows = manifest.read_rows(store, ["image_id", "path"]).to_pylist()
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


@pytest.mark.parametrize("damage", [double_rows_and_lose_their_neighbour, leave_a_receipt_of_a_lost_image])
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
        assert held(store) >= kept
        mend(store, verify(store))
        assert verify(store).flaws == []
        assert held(store) == kept
    assert killed >= 5
