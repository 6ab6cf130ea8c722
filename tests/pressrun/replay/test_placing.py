from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.batch import BUCKET_FIELDS
from pressrun.replay.placing import Placing, arrange
from pressrun.replay.sample import Sample
from pressrun.request import first_of_each
from tests.pressrun.small_collection import REVISION, ids, make_requests

MADE = {
    "path": "images/x.png",
    "sha256": "0",
    "model_revision": REVISION,
    "batch_size": 4,
    "provenance": "{}",
    "worker": "0",
    "run_id": "run-1",
}
CHANGES: list[dict[str, Any]] = [
    {},
    {"width_px": 16},
    {"steps": 3},
    {"scheduler": "ddim"},
    {"batch_size": 1},
    {"batch_size": 3},
    {"worker": "1"},
    {"run_id": "run-2"},
    {"provenance": '{"threads": 2}'},
    {"model_revision": "another"},
]
ROWS = st.lists(
    st.builds(
        lambda change, prompt, seed: change | {"prompt": prompt, "seed": seed},
        st.sampled_from(CHANGES),
        st.sampled_from("abc"),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=40,
)


def rows_of(made: list[dict[str, Any]]) -> pa.Table:
    """Return manifest rows; what a request has goes into it, the rest beside it."""
    whole = [MADE | {"steps": 2, "width_px": 8, "scheduler": "default"} | row for row in made]
    fields = {name: [row[name] for row in whole] for name in ("seed", "steps", "width_px", "scheduler")}
    table = make_requests([row["prompt"] for row in whole], **fields)
    for name in MADE:
        table = table.append_column(name, pa.array([row[name] for row in whole]))
    return first_of_each(table)


def sample_of(made: list[dict[str, Any]], count: int) -> Sample:
    rows = rows_of(made)
    return Sample(rows.slice(0, count), rows)


def drawings(placings: list[Placing]) -> dict[str, list[tuple[Placing, int]]]:
    """Return where each sampled picture is drawn."""
    found = defaultdict(list)
    for placing in placings:
        for image_id, slot in zip(ids(placing.rows), placing.slots, strict=True):
            found[image_id].append((placing, slot))
    return found


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20), st.integers(0, 2**63 - 1))
def test_every_picture_is_drawn_in_two_slots_of_full_batches_of_its_own_kind(
    made: list[dict[str, Any]], count: int, seed: int
) -> None:
    sample = sample_of(made, count)
    found = drawings(arrange(sample, seed))
    assert sorted(found) == sorted(ids(sample.rows))
    for row in sample.rows.to_pylist():
        places = found[row["image_id"]]
        assert len(places) == min(2, row["batch_size"])
        assert len({slot for _, slot in places}) == len(places)
        for placing, slot in places:
            assert placing.batch.requests.num_rows == placing.batch.size == row["batch_size"]
            assert ids(placing.batch.requests)[slot] == row["image_id"]
            assert all(set(placing.batch.column(name)) == {row[name]} for name in BUCKET_FIELDS)
            for name in ("worker", "provenance", "run_id", "model_revision", "batch_size"):
                assert set(placing.rows.column(name).to_pylist()) == {row[name]}


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20), st.integers(0, 2**63 - 1))
def test_no_picture_is_its_own_companion_and_all_are_of_its_model(
    made: list[dict[str, Any]], count: int, seed: int
) -> None:
    sample = sample_of(made, count)
    models = dict(zip(ids(sample.neighbours), sample.neighbours.column("model_revision").to_pylist(), strict=True))
    for placing in arrange(sample, seed):
        drawn = placing.batch.requests.select(["prompt", "seed"]).to_pylist()
        assert all(drawn.count(drawn[slot]) == 1 for slot in placing.slots)
        known = [image_id for image_id in ids(placing.batch.requests) if image_id in models]
        assert {models[image_id] for image_id in known} == {placing.shared("model_revision")}


@settings(max_examples=20, deadline=None)
@given(ROWS, st.integers(0, 2**63 - 1))
def test_the_same_seed_arranges_the_same_way(made: list[dict[str, Any]], seed: int) -> None:
    sample = sample_of(made, 10)
    once, again = arrange(sample, seed), arrange(sample, seed)
    assert [placing.batch.batch_id for placing in once] == [placing.batch.batch_id for placing in again]
    assert [placing.slots for placing in once] == [placing.slots for placing in again]


def test_companions_come_from_the_collection_as_far_as_they_go() -> None:
    many = sample_of([{"prompt": "a", "seed": seed} for seed in range(20)], 1)
    held = set(ids(many.neighbours))
    for placing in arrange(many, 7):
        assert set(ids(placing.batch.requests)) <= held
    few = sample_of([{"prompt": "a", "seed": seed} for seed in range(3)], 1)
    for placing in arrange(few, 7):
        assert set(ids(few.neighbours)) <= set(ids(placing.batch.requests))
        assert len(set(placing.batch.column("seed"))) == 4
