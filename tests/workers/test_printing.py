from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from pressrun import layout, manifest
from pressrun.batch import Batch
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidJob, RunCancelled
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.plan import batch_name
from pressrun.storage import Store
from pressrun.verification import verify
from tests.pressrun.small_collection import (
    REVISION,
    DyingStore,
    Killed,
    held_ids,
    ids,
    make_requests,
    snapshot,
)
from tests.workers.faulty_engines import FaultyRenderer
from workers import printing
from workers.cancellation import stop_run
from workers.device_turn import device_turn
from workers.engines.loading import load_renderer
from workers.engines.null_renderer import NullRenderer
from workers.engines.renderer import OutOfMemory, Pixels
from workers.model_host import model_host
from workers.order import PrintOrder
from workers.printing import Receipt, print_batch, renderer_key

FACTS = ModelFacts("small", REVISION, "Pipeline", 8, 8, 8, False, 0, ())
FAULTY = "tests.workers.faulty_engines:faulty"


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    yield
    model_host().close()


@pytest.fixture
def order(tmp_path: Path) -> PrintOrder:
    where = Location(str(tmp_path / "out"))
    join_collection(Store(where), Identity("", 0))
    return PrintOrder("run-1", where, Location("nowhere"), FACTS, None, None, 0, FAULTY)


@pytest.fixture
def store(order: PrintOrder) -> Store:
    return Store(order.collection)


def batch_of(*prompts: str) -> Batch:
    requests = make_requests(prompts)
    return Batch(batch_name(requests, 4), requests, 4)


def engine(order: PrintOrder) -> FaultyRenderer:
    with model_host().renderer(renderer_key(order), lambda: load_renderer(order), 0) as renderer:
        return cast(FaultyRenderer, renderer)


def test_a_batch_without_memory_beside_another_is_drawn_alone_at_its_size(
    order: PrintOrder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    leave = threading.Event()

    def neighbour() -> None:
        with device_turn().beside():
            beside.set()
            assert leave.wait(10)

    def render(self: FaultyRenderer, batch: Batch) -> Pixels:
        sizes.append(batch.size)
        if not leave.is_set():
            leave.set()  # the neighbour is done a moment later
            raise OutOfMemory("the neighbour holds it")
        return NullRenderer().render(batch)

    engine(order)  # loading would wait for the neighbour
    monkeypatch.setattr(FaultyRenderer, "render", render)
    beside = threading.Event()
    thread = threading.Thread(target=neighbour)
    thread.start()
    assert beside.wait(10)
    receipt = print_batch(batch_of("a", "b", "c"), order)
    thread.join()
    assert (sizes, receipt.halvings) == ([4, 4], 0)
    assert receipt.rows.column("batch_size").to_pylist() == [4, 4, 4]


def reason(receipt: Receipt) -> list[tuple[str, str]]:
    return [(letter.image_id, letter.error_type) for letter in receipt.failures]


@pytest.mark.parametrize("name", ["null", FAULTY])
def test_a_batch_becomes_committed_pictures(order: PrintOrder, store: Store, name: str) -> None:
    batch = batch_of("a", "b", "c")
    receipt = print_batch(batch, replace(order, engine=name))
    assert (receipt.batch_id, receipt.worker, receipt.failures) == (batch.batch_id, "local", ())
    assert ids(receipt.rows) == ids(batch.requests)
    assert receipt.rows.equals(manifest.read_rows(store))
    assert manifest.receipt_names(store) == [layout.receipt(batch.batch_id)]
    assert receipt.render_s > 0
    assert verify(store).counts() == {"leftover": 1}


def test_printing_again_is_answered_from_the_receipt(order: PrintOrder, store: Store) -> None:
    batch = batch_of("a", "b")
    first = print_batch(batch, order)
    before = snapshot(store)
    again = print_batch(batch, order)
    assert engine(order).rendered == {"a": 1, "b": 1}
    assert again.rows.equals(first.rows)
    assert (again.render_s, again.publish_s) == (0.0, 0.0)
    assert snapshot(store) == before


def test_one_bad_request_costs_one_picture(order: PrintOrder, store: Store) -> None:
    batch = batch_of("a", "bad b", "c")
    receipt = print_batch(batch, order)
    assert reason(receipt) == [(ids(batch.requests)[1], "ValueError")]
    assert ids(receipt.rows) == [ids(batch.requests)[at] for at in (0, 2)]
    assert set(held_ids(store)) == set(ids(receipt.rows))


def test_a_dead_letter_is_not_lost_with_the_worker_that_wrote_it(order: PrintOrder, store: Store) -> None:
    batch = batch_of("a", "bad b", "c")
    first = print_batch(batch, order)  # its worker dies before anyone hears of it
    before = engine(order).rendered.copy()
    again = print_batch(batch, order)
    assert reason(again) == reason(first) != []
    assert again.rows.equals(first.rows)
    assert set(engine(order).rendered - before) == {"bad b"}  # finished pictures are not rendered again


def test_what_failed_the_first_time_can_join_its_receipt(order: PrintOrder, store: Store) -> None:
    batch = batch_of("a", "bad b", "c")
    print_batch(batch, order)
    mended = print_batch(batch, replace(order, engine="null"))
    assert mended.failures == ()
    assert sorted(ids(mended.rows)) == sorted(ids(batch.requests))
    assert manifest.read_rows(store).equals(mended.rows)
    assert manifest.receipt_names(store) == [layout.receipt(batch.batch_id)]


def test_a_batch_of_bad_requests_commits_nothing(order: PrintOrder, store: Store) -> None:
    batch = batch_of("bad a", "bad b")
    receipt = print_batch(batch, order)
    assert len(receipt.failures) == 2
    assert receipt.rows.num_rows == 0
    assert receipt.rows.schema.equals(manifest.manifest_schema(0))
    assert set(snapshot(store)) == {layout.COLLECTION}


def test_a_batch_too_large_is_halved_until_it_fits(order: PrintOrder) -> None:
    batch = batch_of("huge a", "huge b", "huge c")
    receipt = print_batch(batch, order)
    assert receipt.halvings == 3  # of four, and of both twos
    assert receipt.failures == ()
    assert ids(receipt.rows) == ids(batch.requests)
    assert receipt.rows.column("batch_size").to_pylist() == [1, 1, 1]


def test_a_cancelled_run_prints_nothing(order: PrintOrder, store: Store) -> None:
    cancelled = replace(order, run_id="cancelled before")
    stop_run("cancelled before")
    with pytest.raises(RunCancelled):
        print_batch(batch_of("a"), cancelled)
    with pytest.raises(RunCancelled):
        print_batch(batch_of("a", "stop"), order)  # found out between two steps
    assert set(snapshot(store)) == {layout.COLLECTION}
    assert len(print_batch(batch_of("a"), order).rows) == 1


@pytest.mark.parametrize("name", ["nul", "tests.workers.faulty_engines:none", "nowhere.at_all:engine"])
def test_an_engine_that_is_not_there_is_named(order: PrintOrder, name: str) -> None:
    with pytest.raises(InvalidJob, match=f"'{name}'"):
        print_batch(batch_of("a"), replace(order, engine=name))


def test_killed_at_any_write_a_batch_is_whole_after_the_next_try(
    order: PrintOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of("a", "bad b", "c")
    killed = 0
    for lives in range(5):
        there = replace(order, collection=order.collection.child(str(lives)))
        store = Store(there.collection)
        join_collection(store, Identity("", 0))
        with monkeypatch.context() as patch:
            patch.setattr(printing, "Store", lambda location, lives=lives: DyingStore(location, lives))
            try:
                print_batch(batch, there)
            except Killed:
                killed += 1
                assert held_ids(store) == []
        receipt = print_batch(batch, there)
        assert sorted(ids(receipt.rows)) == sorted(ids(manifest.read_rows(store)))
        assert len(receipt.rows) == 2
        assert reason(receipt) == [(ids(batch.requests)[1], "ValueError")]
        assert verify(store).counts() == {"leftover": 1}
    assert killed == 3  # before each picture, and before the receipt
