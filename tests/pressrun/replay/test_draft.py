from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.carried import CARRIED_EMBEDDER, CARRIED_MODEL
from pressrun.collection import Identity, join_collection
from pressrun.engine_options import EngineOptions
from pressrun.errors import InvalidCollection, InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, read_adapter
from pressrun.models.diffusers_folder import read_model
from pressrun.replay.draft import ReplayDraft, draft_replay
from pressrun.storage import Store
from tests.adapters import write_adapter
from tests.pressrun.small_collection import put_images, snapshot, stars

MODEL = Location(str(CARRIED_MODEL))
DRAWN = {"engine": "diffusers", "torch": "2.13.0", "dtype": "bf16", "threads": 3, "device": "cpu"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "out")))
    join_collection(store, Identity("", 0))
    return store


def put(store: Store, run_id: str = "run-1", **columns: Any) -> None:
    """Commit rows as the carried model would leave them, but for the columns given."""
    rows = put_images(store, stars(6), 0, run_id)
    whole = {"model_revision": read_model(MODEL).revision, "provenance": json.dumps(DRAWN)} | columns
    for name, value in whole.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array([value] * rows.num_rows, rows.schema.field(at).type))
    manifest.write_part(store, rows)


def note_job(store: Store, run_id: str = "run-1", **fields: Any) -> None:
    record = {"model": {"location": str(CARRIED_MODEL)}, "engine": "diffusers"} | fields
    store.write(layout.run(run_id, "job.json"), json.dumps(record).encode())


def draft(store: Store, *models: Location) -> ReplayDraft:
    return draft_replay(store.location, 4, 1, models)


def test_pictures_are_drawn_as_their_rows_say_with_the_model_their_run_names(store: Store) -> None:
    put(store)
    note_job(store, engine="package.module:factory")
    before = snapshot(store)
    for placing, setting in draft(store).placings:
        assert (setting.dtype, setting.threads, placing.batch.size) == ("bf16", 3, 2)
        assert (setting.engine, str(setting.model.location)) == ("package.module:factory", str(CARRIED_MODEL))
    assert snapshot(store) == before


def test_a_model_that_moved_is_taken_where_it_is_now(store: Store) -> None:
    put(store)
    note_job(store, model={"location": "/nowhere/shapes"})
    with pytest.raises(InvalidModel, match=r"/nowhere/shapes.*--model"):
        draft(store)
    assert draft(store, MODEL).placings


def test_of_several_models_of_a_run_those_are_read_that_drew_the_sample(store: Store) -> None:
    put(store)
    shapes = {"location": str(CARRIED_MODEL), "revision": read_model(MODEL).revision}
    note_job(store, models=[{"location": "/nowhere/ink", "revision": "feed" * 8}, shapes])
    assert {str(setting.model.location) for _, setting in draft(store).placings} == {str(CARRIED_MODEL)}


def test_without_a_record_of_the_run_the_model_must_be_given_and_the_row_names_the_engine(store: Store) -> None:
    put(store)
    with pytest.raises(InvalidModel, match=r"runs/run-1/job\.json.*--model"):
        draft(store)
    assert {setting.engine for _, setting in draft(store, MODEL).placings} == {"diffusers"}


def test_another_revision_than_the_pictures_is_refused_with_both(store: Store) -> None:
    put(store, model_revision="feed" * 8)
    note_job(store)
    with pytest.raises(
        InvalidModel, match=r"4 of 4 sampled pictures .* revision feedfeedfeed, but .*shapes has [0-9a-f]{12}"
    ):
        draft(store)


def test_what_is_no_model_is_refused(store: Store) -> None:
    put(store)
    with pytest.raises(InvalidModel, match="--model"):
        draft(store, Location(str(CARRIED_EMBEDDER)))


def test_an_engine_that_names_neither_dtype_nor_torch_is_left_to_itself(store: Store) -> None:
    put(store, provenance='{"engine": "null", "threads": 4}')
    note_job(store, engine="null")
    assert {(setting.dtype, setting.threads) for _, setting in draft(store).placings} == {("auto", None)}


@pytest.mark.parametrize("provenance", ["", "[]", "{"])
def test_a_row_that_does_not_tell_how_it_was_drawn_is_refused(store: Store, provenance: str) -> None:
    put(store, provenance=provenance)
    note_job(store)
    with pytest.raises(InvalidCollection, match="provenance"):
        draft(store)


def test_no_collection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCollection, match="no collection"):
        draft_replay(Location(str(tmp_path)), 4, 1)


def test_engine_options_are_those_that_the_pictures_say_they_were_drawn_with(store: Store) -> None:
    options = EngineOptions(compile=True, quantization="int8")
    put(store, provenance=json.dumps({"engine": "diffusers", "options": options.label}))
    note_job(store, options={"vae_slicing": True})  # the run took them over from another collection
    assert {setting.options for _, setting in draft(store).placings} == {options}


def test_pictures_of_a_run_that_fell_back_are_drawn_by_the_plain_engine(store: Store) -> None:
    put(store, provenance='{"engine": "diffusers"}')
    note_job(store, options={"compile": True})
    assert {setting.options for _, setting in draft(store).placings} == {EngineOptions()}


@pytest.fixture
def ink(tmp_path: Path) -> Adapter:
    file = write_adapter(tmp_path / "ink.safetensors", CARRIED_MODEL)
    adapter, _ = read_adapter("ink", Location(str(file)))
    return adapter


def put_with(store: Store, adapter: Adapter, **fields: Any) -> None:
    put(store, adapters="ink:0.5", provenance=json.dumps(DRAWN | {"adapters": f"ink={adapter.revision}"}))
    note_job(store, **fields)


def test_adapters_are_taken_where_the_run_found_them(store: Store, ink: Adapter) -> None:
    put_with(store, ink, adapters={"ink": {"location": str(ink.location)}, "unused": {"location": "/nowhere"}})
    assert [setting.adapters for _, setting in draft(store).placings] == [(ink,)] * 4


def test_an_adapter_that_moved_or_changed_is_asked_for_with_both_revisions(store: Store, ink: Adapter) -> None:
    put_with(store, ink, adapters={"ink": {"location": "/nowhere/ink"}})
    with pytest.raises(InvalidModel, match=r"Nothing found at /nowhere/ink.*--adapter ink=FILE"):
        draft(store)
    found = draft_replay(store.location, 4, 1, (), {"ink": ink.location})
    assert [setting.adapters for _, setting in found.placings] == [(ink,)] * 4
    write_adapter(Path(ink.location.url), CARRIED_MODEL, seed=1)
    with pytest.raises(InvalidModel, match=f"revision {ink.revision[:12]} of the adapter 'ink'.* has revision "):
        draft_replay(store.location, 4, 1, (), {"ink": ink.location})


def test_without_a_record_of_the_run_its_adapters_must_be_given(store: Store, ink: Adapter) -> None:
    put_with(store, ink)
    with pytest.raises(InvalidModel, match=r"does not say where the adapter 'ink' was.*--adapter ink=FILE"):
        draft(store)
