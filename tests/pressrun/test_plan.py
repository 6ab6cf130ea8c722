from __future__ import annotations

import pickle
from collections import Counter
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pressrun.batch import BUCKET_FIELDS, Batch
from pressrun.batch_sizes import BatchSizes
from pressrun.image_ids import ImageIds
from pressrun.plan import (
    Plan,
    batch_name,
    count_batches,
    cut_batches,
    cut_shards,
    plan_requests,
    shapes,
)
from pressrun.request import first_of_each
from tests.pressrun.small_collection import ids, make_requests, stars

MOST = {(width, height): width // 8 + height // 8 for width in (8, 16) for height in (8, 16)}
SIZES = BatchSizes(MOST)
PLAIN = {"width_px": 8, "height_px": 8, "steps": 1, "guidance_scale": 1.0, "scheduler": "default", "adapters": ""}
CHANGES = [
    {},
    {"width_px": 16},
    {"height_px": 16},
    {"steps": 2},
    {"guidance_scale": 1.5},
    {"scheduler": "ddim"},
    {"adapters": "ink:1"},
]
FEW = st.lists(
    st.builds(
        lambda change, prompt, seed: PLAIN | change | {"prompt": prompt, "seed": seed},
        st.sampled_from(CHANGES),
        st.sampled_from("abc"),
        st.integers(0, 2),
    ),
    max_size=40,
)
planning = settings(max_examples=40, deadline=None)
NOTHING = ImageIds()


def requests_of(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {"prompt": []}
    return make_requests(columns.pop("prompt"), **columns)


def plan_of(rows: list[dict[str, Any]], held: list[str] | None = None) -> Plan:
    return plan_requests(requests_of(rows), image_ids(held or []))


def image_ids(texts: list[str]) -> ImageIds:
    found = ImageIds()
    found.add(pa.array(texts, pa.string()))
    return found


def batches_of(plan: Plan) -> list[Batch]:
    return list(cut_batches(plan.todo, SIZES))


@planning
@given(FEW)
def test_every_distinct_request_is_in_exactly_one_batch(rows: list[dict[str, Any]]) -> None:
    plan = plan_of(rows)
    planned = Counter(image_id for batch in batches_of(plan) for image_id in ids(batch.requests))
    assert planned == Counter(set(ids(plan.requests)))
    assert plan.duplicates == len(rows) - len(planned)
    assert plan.requests.num_rows == len(rows)


@planning
@given(FEW)
def test_no_batch_mixes_buckets_or_is_over_its_size(rows: list[dict[str, Any]]) -> None:
    for batch in batches_of(plan_of(rows)):
        assert batch.size == MOST[batch.shared("width_px"), batch.shared("height_px")]  # type: ignore[index]
        assert 1 <= len(batch) <= batch.size
        for name in PLAIN:
            assert set(batch.column(name)) == {batch.shared(name)}


@planning
@given(FEW)
def test_only_the_last_batch_of_a_bucket_is_short(rows: list[dict[str, Any]]) -> None:
    plan = plan_of(rows)
    buckets = Counter(tuple(row.values()) for row in plan.todo.select(list(PLAIN)).to_pylist())
    sizes = {bucket: MOST[bucket[:2]] for bucket in buckets}
    wanted = sum(-(-images // sizes[bucket]) for bucket, images in buckets.items())
    assert count_batches(plan.todo, SIZES) == len(batches_of(plan)) == wanted


@planning
@given(FEW, st.data())
def test_what_is_held_is_never_planned(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    wanted = sorted(set(ids(requests_of(rows))))
    held = data.draw(st.lists(st.sampled_from(wanted), unique=True)) if wanted else []
    plan = plan_of(rows, [*held, "0" * 32, *held])  # an id that nobody asked for, and ids that stand twice
    assert set(ids(plan.todo)) == set(wanted) - set(held)
    assert plan.held == len(held)


@planning
@given(FEW, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_change_what_is_planned(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    plan, other = plan_of(rows), plan_of(shuffled)
    assert sorted(ids(plan.todo)) == sorted(ids(other.todo))
    assert (plan.duplicates, plan.held) == (other.duplicates, other.held)
    assert [len(batch) for batch in batches_of(plan)] == [len(batch) for batch in batches_of(other)]


@planning
@given(FEW)
def test_planning_again_gives_the_same_batches_with_the_same_names(rows: list[dict[str, Any]]) -> None:
    once, again = batches_of(plan_of(rows)), batches_of(plan_of(rows))
    assert [batch.batch_id for batch in once] == [batch.batch_id for batch in again]
    assert len({batch.batch_id for batch in once}) == len(once)


HEX_IDS = st.lists(st.sampled_from([letter * 32 for letter in "01ab"]), min_size=1, max_size=4)


@given(HEX_IDS, HEX_IDS, st.integers(1, 12), st.integers(1, 12))
def test_batch_names_are_equal_for_equal_pictures_and_size_only(
    one: list[str], other: list[str], size: int, other_size: int
) -> None:
    names = [
        batch_name(pa.table({"image_id": images}), at_once) for images, at_once in ((one, size), (other, other_size))
    ]
    assert (names[0] == names[1]) == ((one, size) == (other, other_size))


@planning
@given(FEW, st.integers(1, 30))
def test_shards_cover_the_plan_exactly_and_cut_no_batch(rows: list[dict[str, Any]], shard_images: int) -> None:
    plan = plan_of(rows)
    shards = list(cut_shards(plan.todo, shard_images, SIZES))
    assert [row for shard in shards for row in range(shard.start, shard.stop)] == list(range(plan.todo.num_rows))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    largest = max(MOST.values())
    assert all(shard_images <= shard.stop - shard.start < shard_images + largest for shard in shards[:-1])
    pieces = [plan.todo.slice(shard.start, shard.stop - shard.start) for shard in shards]
    assert [batch.batch_id for piece in pieces for batch in cut_batches(piece, SIZES)] == [
        batch.batch_id for batch in batches_of(plan)
    ]


@planning
@given(FEW, st.data())
def test_a_bucket_is_divided_evenly_and_in_the_same_way_whatever_is_held(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    wanted = sorted(set(ids(requests_of(rows))))
    held = data.draw(st.lists(st.sampled_from(wanted), unique=True)) if wanted else []
    whole, rest = plan_of(rows), plan_of(rows, held)
    assert whole.asked == rest.asked
    sizes = BatchSizes(MOST, whole.asked)
    for bucket, images in whole.asked.items():
        batches = -(-images // MOST[bucket[2:4]])  # type: ignore[index]
        assert sizes.of(bucket) * batches - images < batches
    padded = sum(batch.size for batch in cut_batches(whole.todo, sizes))
    assert count_batches(whole.todo, sizes) == count_batches(whole.todo, SIZES)
    assert padded <= sum(batch.size for batch in batches_of(whole))


@planning
@given(FEW)
def test_costly_pictures_come_first_and_adapters_are_switched_least(rows: list[dict[str, Any]]) -> None:
    todo = plan_of(rows).todo.to_pylist()
    assert [row["adapters"] for row in todo] == sorted(row["adapters"] for row in todo)
    for adapters in {row["adapters"] for row in todo}:
        work = [row["width_px"] * row["height_px"] * row["steps"] for row in todo if row["adapters"] == adapters]
        assert work == sorted(work, reverse=True)


def test_batches_can_be_cut_from_a_shard_that_was_filtered_into_pieces() -> None:
    todo = plan_requests(stars(10), NOTHING).todo
    pieces = pa.concat_tables([todo.slice(0, 3), todo.slice(4, 1), todo.slice(6, 4)])
    batches = list(cut_batches(pieces, BatchSizes({(8, 8): 3})))
    assert [image_id for batch in batches for image_id in ids(batch.requests)] == ids(pieces)
    assert [len(batch) for batch in batches] == [3, 3, 2]


@planning
@given(FEW)
def test_pictures_of_a_bucket_keep_the_order_of_the_prompt_file(rows: list[dict[str, Any]]) -> None:
    todo = plan_of(rows).todo
    for bucket in {tuple(row.values()) for row in todo.select(list(PLAIN)).to_pylist()}:
        at = [row["row"] for row in todo.to_pylist() if tuple(row[name] for name in PLAIN) == bucket]
        assert at == sorted(at)


def simple_plan(requests: pa.Table, held: list[str]) -> Plan:
    """Plan with whole tables and strings, as long as they fit memory."""
    distinct = first_of_each(requests)
    left = [row for row in distinct.to_pylist() if row["image_id"] not in held]
    left.sort(key=lambda row: (row["adapters"], -work(row), *(row[name] for name in BUCKET_FIELDS)))
    todo = pa.Table.from_pylist(left, schema=requests.schema)
    asked = Counter(tuple(row[name] for name in BUCKET_FIELDS) for row in distinct.to_pylist())
    return Plan(requests, todo, requests.num_rows - distinct.num_rows, distinct.num_rows - len(left), asked)


def work(row: dict[str, Any]) -> int:
    pixels: int = row["width_px"] * row["height_px"] * row["steps"]
    return pixels


@pytest.mark.parametrize(("shared_out", "written_down"), [(1_000_000, 50_000), (3, 4)])
@settings(planning, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FEW, st.lists(st.integers(0, 40), max_size=4), st.data())
def test_a_plan_in_pieces_is_the_plan_in_one(
    monkeypatch: pytest.MonkeyPatch,
    shared_out: int,
    written_down: int,
    rows: list[dict[str, Any]],
    cuts: list[int],
    data: st.DataObject,
) -> None:
    for place, value in (
        ("image_ids._SORTED_AT_ONCE", shared_out),
        ("spill._MOST_ROWS", written_down),
        ("bucket_order._ROWS_AT_ONCE", written_down),
    ):
        monkeypatch.setattr(f"pressrun.{place}", value)
    whole = requests_of(rows)
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    requests = pa.concat_tables(whole.slice(start, stop - start) for start, stop in pairwise(edges))
    held = data.draw(st.lists(st.sampled_from(ids(whole)), max_size=10)) if rows else []
    plan, simple = plan_requests(requests, image_ids(held)), simple_plan(whole, held)
    assert plan.todo.equals(simple.todo)
    assert (plan.duplicates, plan.held, plan.asked) == (simple.duplicates, simple.held, simple.asked)
    assert count_batches(plan.todo, SIZES) == len(batches_of(plan))
    assert [batch.batch_id for batch in batches_of(plan)] == [batch.batch_id for batch in batches_of(simple)]


def test_a_large_plan_is_the_same_as_whole_tables_give() -> None:
    count = 60_000
    requests = make_requests(
        [f"star {number % 55_000}" for number in range(count)],
        width_px=[8 + 8 * (number % 3) for number in range(count)],
        guidance_scale=[float(number % 7_919) for number in range(count)],
        adapters=[f"ink:{number % 5}" for number in range(count)],
    )
    held = ids(requests)[100:400]
    plan, simple = plan_requests(requests, image_ids(held)), simple_plan(requests, held=held)
    assert plan.todo.equals(simple.todo)
    assert (plan.duplicates, plan.held) == (simple.duplicates, simple.held)


def test_each_adapter_is_switched_to_once_whatever_else_changes() -> None:
    requests = make_requests(
        [f"star {number}" for number in range(60)],
        width_px=[8 + 8 * (number // 4 % 2) for number in range(60)],
        adapters=[("", "ink:0.5", "wash:1.0", "ink:0.5,wash:1.0")[number % 4] for number in range(60)],
    )
    drawn = [batch.shared("adapters") for batch in batches_of(plan_requests(requests, NOTHING))]
    assert len(drawn) > 8
    assert [adapters for adapters, _ in groupby(drawn)] == ["", "ink:0.5", "ink:0.5,wash:1.0", "wash:1.0"]


def test_the_first_of_two_equal_requests_gives_its_row() -> None:
    requests = make_requests(["a", "b", "a"], user_id=["x", "y", "z"])
    plan = plan_requests(requests, NOTHING)
    assert plan.todo.column("row").to_pylist() == [1, 2]
    assert plan.todo.column("user_id").to_pylist() == ["x", "y"]


def test_an_empty_job_is_an_empty_plan() -> None:
    plan = plan_requests(make_requests([]), NOTHING)
    assert (plan.todo.num_rows, plan.duplicates, plan.held) == (0, 0, 0)
    assert batches_of(plan) == []
    assert list(cut_shards(plan.todo, 10, SIZES)) == []


def test_shapes_are_counted_the_most_common_first() -> None:
    requests = make_requests("abcdef", width_px=[8, 8, 16, 16, 16, 32], height_px=8)
    assert list(shapes(requests).items()) == [((16, 8), 3), ((8, 8), 2), ((32, 8), 1)]


def test_a_batch_travels_without_the_rest_of_its_table() -> None:
    todo = plan_requests(stars(5000), NOTHING).todo
    batch = next(cut_batches(todo, BatchSizes({(8, 8): 4})))
    sent = pickle.dumps(batch)
    assert len(sent) < 10_000
    arrived = pickle.loads(sent)
    assert (arrived.batch_id, arrived.size) == (batch.batch_id, batch.size)
    assert arrived.requests.equals(batch.requests)
