from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.failures import FAILURE_SCHEMA, Failure, read_failures, write_failures
from pressrun.location import Location
from pressrun.request import MODELS_SCHEMA
from pressrun.storage import Store
from tests.pressrun.small_collection import ids, make_requests, put_images, stars

EARLY, LATE = "20260102-030405-ffffffff", "20260102-030406-00000000"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path)))


def failing(image_id: str, error: str = "no") -> Failure:
    return Failure.of(image_id, "render", ValueError(error), 2)


def reasons(store: Store, run_id: str | None = None) -> dict[str, str]:
    rows = read_failures(store, run_id).to_pylist()
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: row["error"] for row in rows}


def test_a_dead_letter_holds_the_request_and_the_reason(store: Store) -> None:
    requests = make_requests(["a", "<script>", "c"], user_id=["x", "y", "z"])
    write_failures(store, f"{EARLY}-00000", requests, [failing(ids(requests)[1], "too <red>")], EARLY)
    (row,) = read_failures(store).to_pylist()
    assert read_failures(store).schema.equals(FAILURE_SCHEMA)
    assert (row["prompt"], row["user_id"], row["row"]) == ("<script>", "y", 2)
    assert (row["stage"], row["error_type"], row["error"], row["attempts"]) == ("render", "ValueError", "too <red>", 2)
    assert row["run_id"] == EARLY


def test_a_dead_letter_of_a_job_with_several_models_names_its_model_and_older_letters_are_read_with_it(
    store: Store,
) -> None:
    requests = stars(2)
    whose = requests.append_column(MODELS_SCHEMA.field("model"), pa.array(["ink", "photo"]))
    first, second = ids(requests)
    write_failures(store, f"{LATE}-00000", whose, [failing(second)], LATE)
    write_failures(store, f"{EARLY}-00000", requests, [failing(first)], EARLY)
    older = manifest.read_table(store, layout.failures(f"{EARLY}-00000")).drop_columns(["model"])
    store.write(layout.failures(f"{EARLY}-00000"), manifest.to_parquet(older))
    assert {row["image_id"]: row["model"] for row in read_failures(store).to_pylist()} == {first: None, second: "photo"}


def test_dead_letters_stand_in_the_order_of_the_prompt_file(store: Store) -> None:
    requests = stars(50)
    write_failures(store, "a", requests.take([*range(25, 50), *range(25)]), [failing(i) for i in ids(requests)], "a")
    assert read_failures(store).column("row").to_pylist() == list(range(1, 51))


def test_a_collection_without_failures_has_none(store: Store) -> None:
    assert read_failures(store).num_rows == 0
    write_failures(store, "a", stars(2), [], "a")
    assert list(store.walk("")) == []


def test_a_failure_is_stale_once_its_image_is_there(store: Store) -> None:
    requests = stars(3)
    write_failures(store, "a", requests, [failing(image_id) for image_id in ids(requests)], EARLY)
    manifest.write_receipt(store, "later", put_images(store, requests.slice(0, 1)))
    manifest.write_part(store, put_images(store, requests.slice(1, 1)))
    assert list(reasons(store)) == ids(requests)[2:]
    assert list(reasons(store, EARLY)) == ids(requests)[2:]


def test_the_newest_run_wins_whatever_its_shard(store: Store) -> None:
    requests = stars(2)
    first, second = ids(requests)
    write_failures(store, f"{LATE}-00000", requests, [failing(first, "late")], LATE)
    write_failures(store, f"{EARLY}-00012", requests, [failing(first, "early"), failing(second, "early")], EARLY)
    assert reasons(store) == {first: "late", second: "early"}
    assert reasons(store, LATE) == {first: "late"}
    assert reasons(store, EARLY) == {second: "early"}


def test_shards_of_one_run_stand_side_by_side(store: Store) -> None:
    requests = stars(12)
    for number, image_id in enumerate(ids(requests)):
        write_failures(store, f"{EARLY}-{number:05d}", requests, [failing(image_id, str(number))], EARLY)
    assert reasons(store) == {image_id: str(number) for number, image_id in enumerate(ids(requests))}


def test_a_shard_tried_again_replaces_its_letters(store: Store) -> None:
    requests = stars(1)
    for error in ("first", "second"):
        write_failures(store, f"{EARLY}-00000", requests, [failing(ids(requests)[0], error)], EARLY)
    assert reasons(store) == {ids(requests)[0]: "second"}


def test_of_two_letters_for_one_image_the_last_is_kept(store: Store) -> None:
    requests = stars(1)
    write_failures(store, "a", requests, [failing(ids(requests)[0], error) for error in ("first", "last")], EARLY)
    assert reasons(store) == {ids(requests)[0]: "last"}


def test_long_errors_are_cut() -> None:
    assert len(failing("x", "y" * 10_000).error) == 2000
