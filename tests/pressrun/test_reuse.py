"""What another collection holds already is copied, not drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import manifest
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection, InvalidJob
from pressrun.layout import LayoutName
from pressrun.location import Location
from pressrun.picture_place import read_picture
from pressrun.reuse import check_library, take_over
from pressrun.storage import Store
from pressrun.verification import verify
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    ids,
    make_collection,
    make_tar_collection,
    png,
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
    assert take_over(store, library, wanted, "run-2") == 2
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
    take_over(store, library, wanted, "run-2")
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
    assert take_over(store, source, stars(4), "run-2") == 4
    assert not flaws(store)
    rows = manifest.read_rows(store).to_pylist()
    assert {read_picture(store, row["path"]) for row in rows} == {png(number) for number in range(4)}
    assert {row["path"].partition("/")[0] for row in rows} == {"images" if ours == "files" else "shards"}


def test_a_picture_lost_from_a_library_of_tars_is_left_to_be_drawn(store: Store, tar_library: Store) -> None:
    (_, shard) = tar_library.names("shards")
    tar_library.write(shard, tar_library.read(shard)[:2000])  # one picture whole
    assert take_over(store, tar_library, stars(6), "run-2") == 4
    assert not flaws(store)


def test_doing_it_again_takes_nothing_twice(store: Store, library: Store) -> None:
    assert take_over(store, library, stars(6), "run-2") == 6
    before = snapshot(store)
    assert take_over(store, library, stars(6), "run-3") == 0
    assert snapshot(store) == before


def test_a_picture_that_stands_or_is_asked_for_twice_is_taken_once(store: Store, library: Store) -> None:
    manifest.write_receipt(library, "late", manifest.read_rows(library).slice(2, 2))
    wanted = pa.concat_tables([stars(5), stars(9, first=3)])
    assert take_over(store, library, wanted, "run-2") == 6
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
    assert take_over(store, library, stars(6), "run-2") == 4
    assert not flaws(store)


def test_an_orphan_in_the_place_of_a_picture_is_replaced(store: Store, library: Store) -> None:
    path = manifest.read_rows(library, ["path"]).column("path")[0].as_py()
    store.write(path, b"of a killed run")
    take_over(store, library, stars(6), "run-2")
    assert not flaws(store)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (Identity("f" * 32, DIMENSION), "its embedder is .* the job's is ffffffffffff"),
        (Identity("", 0), "the job's is none"),
        (Identity(EMBEDDER, DIMENSION, "webp"), "its image format is png, the job's is webp"),
    ],
)
def test_a_library_that_does_not_fit_is_refused(library: Store, identity: Identity, reason: str) -> None:
    with pytest.raises(InvalidJob, match=reason):
        check_library(library, identity)


def test_a_place_without_a_collection_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(InvalidCollection, match="holds no collection"):
        check_library(Store(Location(str(tmp_path / "nothing"))), IDENTITY)
