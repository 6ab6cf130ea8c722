from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pressrun import layout
from pressrun.location import Location
from pressrun.replay.likeness import Likeness
from pressrun.replay.record import SCHEMA, Sighting, judged, last_replay, summarise, write_replay
from pressrun.storage import Store
from tests.s3_server import S3Server

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HERE = {"torch": "2.13.0", "dtype": "fp32", "threads": 1}
EQUAL = Likeness(1.0, 0, 0.0, None)


def apart(steps: int) -> Likeness:
    return Likeness(0.9, steps, 0.1, 40.0)


def seen(
    likeness: Likeness | None, then: dict[str, Any] | None = None, image_id: str = "a", worker: str = "1"
) -> Sighting:
    row = {
        "image_id": image_id,
        "path": f"images/{image_id}.png",
        "batch_size": 4,
        "provenance": json.dumps(HERE if then is None else then),
        "worker": "0",
        "run_id": "run-1",
    }
    return Sighting(row, 2, worker, HERE, likeness, "" if likeness else "there is no file")


def verdicts(sightings: list[Sighting], tolerance_steps: int | None = None) -> list[str]:
    return judged(sightings, tolerance_steps, 7, NOW).column("verdict").to_pylist()


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(Location(str(tmp_path / "out")))
    server: S3Server = request.getfixturevalue("s3_server")
    return Store(Location(f"{server.make_bucket()}/out", server.storage_options))


def test_where_nothing_has_changed_every_bit_must_be_equal() -> None:
    assert verdicts([seen(EQUAL), seen(apart(1))]) == ["equal", "different"]


@pytest.mark.parametrize("change", [{"torch": "2.12.0"}, {"device": "cpu AVX2"}, {"threads": 2}])
def test_where_something_has_changed_small_differences_are_allowed_and_large_ones_not(change: dict[str, Any]) -> None:
    then = HERE | change
    assert verdicts([seen(EQUAL, then), seen(apart(1), then), seen(apart(99), then)]) == [
        "equal",
        "within tolerance",
        "different",
    ]


def test_a_given_tolerance_holds_everywhere() -> None:
    sightings = [seen(apart(2)), seen(apart(3)), seen(apart(2), HERE | {"torch": "2.12.0"})]
    assert verdicts(sightings, 2) == ["within tolerance", "different", "within tolerance"]
    assert verdicts(sightings, 0) == ["different"] * 3


def test_a_picture_that_cannot_be_compared_is_a_flaw_whatever_the_tolerance() -> None:
    rows = judged([seen(None), seen(EQUAL)], 255, 7, NOW)
    assert rows.column("verdict").to_pylist() == ["unreadable", "equal"]
    assert rows.column("problem").to_pylist() == ["there is no file", ""]
    assert not summarise("x", rows).is_sound


def test_the_summary_counts_pictures_drawings_workers_and_changes() -> None:
    then = HERE | {"torch": "2.12.0"}
    sightings = [seen(EQUAL), seen(apart(3), then), seen(apart(1), then, "b", worker="0"), seen(None, image_id="c")]
    summary = summarise("x", judged(sightings, None, 7, NOW))
    assert (summary.pictures, summary.drawings, summary.on_another_worker, summary.seed) == (3, 4, 3, 7)
    assert summary.verdicts == {"equal": 1, "within tolerance": 2, "unreadable": 1}
    assert (summary.max_steps, summary.least_psnr_db) == (3, 40.0)
    assert summary.equal_share == pytest.approx((1 + 0.9 + 0.9) / 3)
    assert summary.changes == {"torch 2.12.0 then, 2.13.0 now": 2}
    assert json.loads(json.dumps(summary.record()))["sound"] is False


def test_the_last_replay_is_told_from_its_file_alone(store: Store) -> None:
    assert last_replay(store) is None
    write_replay(store, "20260101-000000-ff", judged([seen(apart(1))], None, 1, NOW))
    name = write_replay(store, "20260102-000000-00", judged([seen(EQUAL)], None, 2, NOW))
    assert name == layout.replay("20260102-000000-00")
    found = last_replay(store)
    assert found is not None
    assert (found.replay_id, found.seed, found.is_sound) == ("20260102-000000-00", 2, True)
    assert found.replayed_at == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize("data", [b"PAR1 torn", None], ids=["torn", "another's"])
def test_a_damaged_record_is_left_out(store: Store, data: bytes | None) -> None:
    if data is None:
        write_replay(store, "x", pa.table({"other": [1]}))
    else:
        store.write(layout.replay("x"), data)
    assert last_replay(store) is None


def test_rows_have_the_schema_that_the_architecture_names() -> None:
    assert judged([seen(EQUAL), seen(None)], None, 7, NOW).schema.equals(SCHEMA)
