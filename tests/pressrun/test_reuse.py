"""What other collections hold already is taken over, not drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import manifest
from pressrun.collection import Identity, join_collection
from pressrun.layout import LayoutName
from pressrun.location import Location
from pressrun.picture_place import read_picture
from pressrun.reuse import take_over
from pressrun.storage import Store
from pressrun.verification import mend, verify
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    ids,
    make_collection,
    make_tar_collection,
    png,
    put_tar,
    snapshot,
    stars,
)

IDENTITY = Identity(EMBEDDER, DIMENSION)


@pytest.fixture
def library(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "library")))
    make_collection(store, 6)
    return store


@pytest.fixture
def tar_library(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "tar-library")))
    make_tar_collection(store, 6)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "out")))
    join_collection(store, IDENTITY)
    return store


def flaws(store: Store) -> set[str]:
    return {flaw.kind for flaw in verify(store).flaws} - {"index"}  # the run's own stage makes the index


def test_held_pictures_are_copied_with_their_rows_and_the_library_stays_as_it_was(store: Store, library: Store) -> None:
    before = snapshot(library)
    wanted = stars(4, first=4)  # two of them are in the library
    assert take_over(store, [library.location], wanted, "run-2") == 2
    rows = manifest.read_rows(store)
    assert sorted(ids(rows)) == sorted(ids(wanted)[:2])
    assert set(rows.column("run_id").to_pylist()) == {"run-2"}
    assert not flaws(store)
    assert snapshot(library) == before


def test_rows_say_what_this_job_asked(store: Store, library: Store) -> None:
    wanted = stars(2)
    row, user = wanted.schema.get_field_index("row"), wanted.schema.get_field_index("user_id")
    wanted = wanted.set_column(row, wanted.schema.field(row), [[71, 72]])
    wanted = wanted.set_column(user, wanted.schema.field(user), [["mine", "yours"]])
    take_over(store, [library.location], wanted, "run-2")
    found = {
        row["image_id"]: (row["row"], row["user_id"], row["prompt"]) for row in manifest.read_rows(store).to_pylist()
    }
    assert found == {ids(wanted)[0]: (71, "mine", "star 0"), ids(wanted)[1]: (72, "yours", "star 1")}


@pytest.mark.parametrize(("theirs", "ours"), [("webdataset", "files"), ("files", "webdataset"), ("webdataset",) * 2])
def test_pictures_come_over_from_any_layout_into_any(
    theirs: str, ours: LayoutName, library: Store, tar_library: Store, tmp_path: Path
) -> None:
    source = tar_library if theirs == "webdataset" else library
    store = Store(Location(str(tmp_path / "new")))
    join_collection(store, replace(IDENTITY, layout=ours))
    assert take_over(store, [source.location], stars(4), "run-2") == 4
    assert not flaws(store)
    rows = manifest.read_rows(store).to_pylist()
    assert {read_picture(store, row["path"]) for row in rows} == {png(number) for number in range(4)}
    assert {row["path"].partition("/")[0] for row in rows} == {"images" if ours == "files" else "shards"}


def test_a_picture_lost_from_a_library_of_tars_is_left_to_be_drawn(store: Store, tar_library: Store) -> None:
    (_, shard) = tar_library.names("shards")
    tar_library.write(shard, tar_library.read(shard)[:2000])  # one picture whole
    assert take_over(store, [tar_library.location], stars(6), "run-2") == 4
    assert not flaws(store)


def test_a_reference_leads_into_a_tar_and_after_it_when_its_collection_moves_it(
    store: Store, tar_library: Store
) -> None:
    rows = put_tar(tar_library, stars(2, first=100))
    manifest.write_receipt(tar_library, "batch", rows)
    wanted = pa.concat_tables([stars(6), stars(2, first=100)])
    assert take_over(store, [tar_library.location], wanted, "run-2", "reference") == 8
    assert not flaws(store)
    manifest.compact(tar_library, [("batch", rows)])
    assert not flaws(store)


def test_doing_it_again_takes_nothing_twice(store: Store, library: Store) -> None:
    assert take_over(store, [library.location], stars(6), "run-2") == 6
    before = snapshot(store)
    assert take_over(store, [library.location], stars(6), "run-3") == 0
    assert snapshot(store) == before


def test_a_picture_that_stands_or_is_asked_for_twice_is_taken_once(store: Store, library: Store) -> None:
    manifest.write_receipt(library, "late", manifest.read_rows(library).slice(2, 2))
    wanted = pa.concat_tables([stars(5), stars(9, first=3)])
    assert take_over(store, [library.location], wanted, "run-2") == 6
    rows = manifest.read_rows(store)
    assert {row["image_id"]: row["row"] for row in rows.to_pylist()} == {
        image_id: wanted.column("row")[ids(wanted).index(image_id)].as_py() for image_id in ids(stars(6))
    }
    assert sum(manifest.read_table(store, name).num_rows for name in manifest.part_names(store)) == 6
    assert not flaws(store)


def test_a_damaged_or_lost_picture_is_left_to_be_drawn(store: Store, library: Store) -> None:
    paths = manifest.read_rows(library, ["path"]).column("path").to_pylist()
    library.write(paths[0], b"not the picture")
    library.delete([paths[1]])
    assert take_over(store, [library.location], stars(6), "run-2") == 4
    assert not flaws(store)


def test_an_orphan_in_the_place_of_a_picture_is_replaced(store: Store, library: Store) -> None:
    path = manifest.read_rows(library, ["path"]).column("path")[0].as_py()
    store.write(path, b"of a killed run")
    take_over(store, [library.location], stars(6), "run-2")
    assert not flaws(store)


def test_of_several_collections_the_first_that_holds_a_picture_whole_gives_it(
    store: Store, library: Store, tmp_path: Path
) -> None:
    second = Store(Location(str(tmp_path / "second")))
    make_collection(second, 8)
    before = snapshot(second)
    damaged = manifest.read_rows(library, ["path"]).column("path")[0].as_py()
    library.write(damaged, b"not the picture")
    assert take_over(store, [library.location, second.location], stars(9), "run-2") == 8
    assert sorted(ids(manifest.read_rows(store))) == sorted(ids(stars(8)))
    assert not flaws(store)
    assert snapshot(second) == before


def test_when_nothing_is_wanted_no_library_is_read(store: Store, library: Store) -> None:
    take_over(store, [library.location], stars(6), "run-2")
    library.write(manifest.part_names(library)[0], b"no manifest")
    assert take_over(store, [library.location], stars(6), "run-3") == 0


def test_by_reference_rows_lead_to_the_pictures_and_no_byte_is_copied(store: Store, library: Store) -> None:
    before = snapshot(store)
    assert take_over(store, [library.location], stars(6), "run-2", "reference") == 6
    rows = manifest.read_rows(store)
    assert set(snapshot(store)) - set(before) == set(manifest.part_names(store))
    theirs = {row["image_id"]: row for row in manifest.read_rows(library).to_pylist()}
    for row in rows.to_pylist():
        assert row["path"] == f"{library.location}/{theirs[row['image_id']]['path']}"
        assert (Path(row["path"]).stat().st_size, row["sha256"]) == (
            row["size_bytes"],
            theirs[row["image_id"]]["sha256"],
        )
    found = verify(store)
    assert (found.images, found.objects, found.references) == (6, 0, 6)
    assert found.counts() == {"index": 1}  # the run's own stage makes it


def test_references_lead_into_every_kind_of_place(location: Location) -> None:
    library, store = Store(location.child("shelf/first")), Store(location.child("out"))
    make_collection(library, 3)
    join_collection(store, IDENTITY)
    assert take_over(store, [library.location], stars(4), "run-2", "reference") == 3
    assert verify(store).references == 3
    assert not flaws(store)
    library.delete(manifest.read_rows(library, ["path"]).column("path").to_pylist()[:1])
    assert flaws(store) == {"missing"}


def test_references_of_references_lead_to_the_first_collection_and_are_copied_whole(
    store: Store, library: Store, tmp_path: Path
) -> None:
    take_over(store, [library.location], stars(6), "run-2", "reference")
    copied, referring = (Store(Location(str(tmp_path / name))) for name in ("copied", "referring"))
    for other, how in ((copied, "copy"), (referring, "reference")):
        join_collection(other, IDENTITY)
        assert take_over(other, [store.location], stars(6), "run-3", how) == 6
        assert not flaws(other)
    assert verify(copied).references == 0
    paths = manifest.read_rows(referring, ["path"]).column("path").to_pylist()
    assert all(path.startswith(f"{library.location}/images/") for path in paths)


def test_a_reference_back_to_the_collection_itself_is_no_reference(
    store: Store, library: Store, tmp_path: Path
) -> None:
    take_over(store, [library.location], stars(6), "run-2", "reference")
    library.delete(manifest.part_names(library))  # the pictures stay, as orphans
    assert take_over(library, [store.location], stars(6), "run-3", "reference") == 6
    assert verify(library).references == 0
    assert not flaws(library)


def test_a_lost_or_changed_reference_is_named_and_mending_drops_its_row_alone(store: Store, library: Store) -> None:
    take_over(store, [library.location], stars(6), "run-2", "reference")
    lost, changed, *sound = manifest.read_rows(store, ["path"]).column("path").to_pylist()
    Path(lost).unlink()
    Path(changed).write_bytes(b"another")
    before = snapshot(library)
    found = verify(store)
    told = {flaw.name: (flaw.kind, flaw.detail) for flaw in found.flaws if flaw.kind != "index"}
    assert {name: kind for name, (kind, _) in told.items()} == {lost: "missing", changed: "changed"}
    assert "in the collection that it refers to" in told[lost][1]
    mend(store, found)
    assert verify(store).is_sound
    assert sorted(manifest.read_rows(store, ["path"]).column("path").to_pylist()) == sorted(sound)
    assert snapshot(library) == before  # another's picture is not ours to delete
