from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.replay.draft import draft_replay
from pressrun.replay.placing import Placing
from pressrun.replay.record import ReplaySummary, Sighting, judged, summarise
from tests import engines, replays, runs
from tests.adapters import write_adapter
from workers import waiting_room
from workers.fleet import Fleet, JoinedFleet, LocalFleet
from workers.model_host import model_host
from workers.order import PrintOrder
from workers.replay_dispatch import replay
from workers.replaying import draw_again

SHAPES = ["a red star", "a small blue circle, left", "two green squares", "a yellow ring on a black background"]
EVERYTHING = 100


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    yield
    model_host().close()


@pytest.fixture(scope="module")
def plain(fleet: LocalFleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return replays.draw(fleet, tmp_path_factory.mktemp("plain") / "out", runs.prompts(10))


@pytest.fixture
def spoilt(plain: Path, tmp_path: Path) -> Path:
    """Give a copy that a test may spoil."""
    return shutil.copytree(plain, tmp_path / "out")


def replayed(fleet: Fleet, out: Path) -> list[Sighting]:
    return replay(draft_replay(Location(str(out)), EVERYTHING, 1), fleet, 2, "x")


def summary_of(sightings: list[Sighting]) -> ReplaySummary:
    return summarise("x", judged(sightings, None, 1, datetime.now(UTC)))


def first_placing(out: Path) -> tuple[Placing, PrintOrder, int | None]:
    """Return a batch of a replay as a worker gets it."""
    draft = draft_replay(Location(str(out)), EVERYTHING, 1)
    placing, setting = draft.placings[0]
    model = setting.model
    order = PrintOrder("replay", draft.collection, model.location, model.facts, None, None, 0, setting.engine)
    return placing, replace(order, dtype=setting.dtype), setting.threads


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_carried_model_draws_the_same_bits_elsewhere_in_a_batch_and_on_another_worker(
    precision: str, fleet: LocalFleet, tmp_path: Path
) -> None:
    ink = write_adapter(tmp_path / "ink.safetensors", runs.MODEL, ("unet", "text_encoder"))
    options = {"engine": "diffusers", "precision": precision, "defaults": {"steps": 2}, "adapters": {"ink": str(ink)}}
    with_ink = [{"prompt": prompt, "adapters": "ink:0.5"} for prompt in SHAPES]
    out = replays.draw(fleet, tmp_path / "out", [*SHAPES, *with_ink, "a"], **options)
    before = runs.rows(out), {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    sightings = replayed(fleet, out)
    summary = summary_of(sightings)
    assert sum("adapters" in sighting.provenance for sighting in sightings) == 8
    assert (summary.pictures, summary.drawings, summary.on_another_worker) == (9, 18, 18)
    assert (summary.verdicts, summary.changes, summary.allowed_steps) == ({"equal": 18}, {}, 0)
    assert {sighting.provenance["dtype"] for sighting in sightings} == {precision}
    assert (runs.rows(out), {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}) == before


@pytest.mark.slow
def test_a_picture_is_drawn_with_the_threads_of_its_row_which_leaves_the_process_its_own(
    fleet: LocalFleet, tmp_path: Path
) -> None:
    out = replays.draw(fleet, tmp_path / "out", SHAPES, engine="diffusers", defaults={"steps": 1})
    placing, order, threads = first_placing(out)
    assert threads == json.loads(placing.shared("provenance"))["threads"]
    before = torch.get_num_threads()
    for wanted in (1, 2):
        assert {seen.provenance["threads"] for seen in draw_again(placing, order, wanted)} == {wanted}
        assert torch.get_num_threads() == before


def test_a_picture_that_comes_out_otherwise_is_told(fleet: LocalFleet, spoilt: Path) -> None:
    replays.move_a_value(spoilt, 5)
    assert not runs.flaws(spoilt)  # nothing but drawing it again can tell
    summary = summary_of(replayed(fleet, spoilt))
    assert summary.verdicts == {"equal": 18, "different": 2}
    assert summary.max_steps == 5


def test_pictures_that_are_gone_or_not_the_rows_own_are_told_apart_from_different_ones(
    fleet: LocalFleet, spoilt: Path
) -> None:
    gone, other = [spoilt / row["path"] for row in list(runs.rows(spoilt).values())[:2]]
    shutil.copy(gone, other)
    gone.unlink()
    sightings = replayed(fleet, spoilt)
    assert summary_of(sightings).verdicts == {"equal": 16, "unreadable": 4}
    assert {sighting.problem for sighting in sightings} == {
        "",
        "there is no file",
        "the file is not the one of the manifest: its sha256 differs",
    }


def test_pictures_in_tars_are_found_and_compared(fleet: LocalFleet, tmp_path: Path) -> None:
    out = replays.draw(fleet, tmp_path / "out", runs.prompts(10), layout="webdataset")
    assert not runs.flaws(out)
    assert not list(out.glob("images/**/*"))
    assert summary_of(replayed(fleet, out)).verdicts == {"equal": 20}


def test_with_one_worker_that_one_draws_again(plain: Path) -> None:
    fleet = LocalFleet(1)
    try:
        summary = summary_of(replay(draft_replay(Location(str(plain)), 3, 1), fleet, 1, "x"))
    finally:
        fleet.close()
    assert summary.verdicts == {"equal": 6}
    assert summary.on_another_worker == sum(row["worker"] != "0" for row in chosen(plain, 3))


def chosen(out: Path, count: int) -> list[dict[str, str]]:
    """Return the rows of a sample, each as often as it is drawn."""
    placings = draft_replay(Location(str(out)), count, 1).placings
    return [row for placing, _ in placings for row in placing.rows.to_pylist()]


def test_a_worker_that_cannot_see_the_collection_says_so(plain: Path, tmp_path: Path) -> None:
    placing, order, threads = first_placing(plain)
    with pytest.raises(StageFailed, match="cannot see the collection"):
        draw_again(placing, replace(order, collection=Location(str(tmp_path))), threads)


def test_a_batch_that_no_longer_fits_into_memory_says_so(plain: Path) -> None:
    placing, order, threads = first_placing(plain)
    with pytest.raises(StageFailed, match=r"too little memory for 4 pictures at once.*fewer or larger workers"):
        draw_again(placing, replace(order, engine="tests.engines:small"), threads)


@pytest.mark.parametrize(
    ("prompt", "explanation"),
    [
        ("boom", r"Batch \w+ with images/\S+ could not be drawn again: ValueError: boom"),
        ("kill always", "died during the replay"),
    ],
)
def test_a_batch_that_fails_or_kills_its_worker_ends_the_replay(
    prompt: str, explanation: str, fleet: LocalFleet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    notes = engines.notes_folder(out)
    notes.mkdir()
    engines.heal(out)
    replays.draw(fleet, out, [prompt, "b", "c"], engine="tests.engines:faulty")
    shutil.rmtree(notes)
    before = runs.rows(out)
    with pytest.raises(StageFailed, match=explanation):
        replayed(fleet, out)
    assert runs.rows(out) == before


@pytest.mark.timeout(60)
def test_a_replay_waits_for_no_worker_that_a_run_holds_back(fleet: LocalFleet, plain: Path) -> None:
    client = fleet.open()
    joined = JoinedFleet(client.scheduler.address)
    held = sorted(client.nthreads())[0]
    waiting_room.enter(client, "drawing", [held])
    try:
        workers = {sighting.worker for sighting in replayed(joined, plain)}
    finally:
        joined.close()
        waiting_room.leave(client, "drawing")
    names = {address: str(worker["name"]) for address, worker in client.scheduler_info()["workers"].items()}
    assert workers == {names[address] for address in names if address != held}
