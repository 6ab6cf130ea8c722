from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deployments import cli
from pressrun.run import open_run
from tests import replays, runs
from workers.fleet import LocalFleet

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[LocalFleet]:
    fleet = LocalFleet(2)
    fleet.open()
    fleet.scale(2)
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def made(fleet: LocalFleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return replays.draw(fleet, tmp_path_factory.mktemp("made") / "out", runs.prompts(12))


@pytest.fixture
def collection(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "out[/red]")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Give a function that runs a command and returns its exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.run([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def again(say: Say, collection: Path, fleet: LocalFleet) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Give a function that replays the collection on the fleet and returns exit code and record."""

    def run(*options: object) -> tuple[int, dict[str, Any]]:
        address = fleet.open().scheduler.address
        code, told, _ = say("replay", collection, "--dask", address, "--json", *options)
        return code, json.loads(told)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_replay_is_recorded_and_told_and_changes_nothing_else(say: Say, collection: Path) -> None:
    before = contents(collection)
    code, told, stages = say("replay", collection, "--sample", 5)
    assert code == 0
    assert "sound: 5 pictures drawn again 10 times, 10 of them by another worker: 10 equal" in told
    assert "replay" in stages
    (record,) = (collection / "replays").iterdir()
    assert record.name in told
    assert pq.read_table(record).num_rows == 10
    assert {name: data for name, data in contents(collection).items() if name in before} == before
    assert set(contents(collection)) - set(before) == {f"replays/{record.name}"}
    code, told, _ = say("verify", collection)
    assert "last replay, 20" in told
    assert "10 equal" in told


def test_pictures_taken_over_by_reference_are_verified_replayed_and_exported(
    say: Say, collection: Path, fleet: LocalFleet, tmp_path: Path
) -> None:
    referring, shards = tmp_path / "referring", tmp_path / "shards"
    reuse = {"reuse_from": [str(collection)], "reuse_as": "reference"}
    open_run(runs.job(referring, runs.prompts(12), **reuse).job(), "run-2").close()
    code, told, _ = say("verify", referring)
    assert (code, "sound: 12 images, 0 objects, 12 in other collections" in " ".join(told.split())) == (0, True)
    code, told, _ = say("replay", referring, "--dask", fleet.open().scheduler.address, "--sample", 4)
    assert (code, "8 equal" in told) == (0, True)
    assert say("export", referring, shards, "--format", "imagefolder")[0] == 0
    there, here = ({path.name: path.read_bytes() for path in folder.rglob("*.png")} for folder in (collection, shards))
    assert here == there


def test_a_picture_that_comes_out_otherwise_is_a_flaw_unless_it_is_tolerated(again: Any, collection: Path) -> None:
    replays.move_a_value(collection, 3)
    code, record = again()
    assert (code, record["sound"]) == (4, False)
    assert (record["verdicts"], record["max_steps"]) == ({"equal": 22, "different": 2}, 3)
    assert again("--tolerance", 2)[0] == 4
    assert again("--tolerance", 3)[0] == 0
    assert len(list((collection / "replays").iterdir())) == 3


def test_a_seed_chooses_the_same_pictures_again(again: Any, collection: Path) -> None:
    def pictures() -> set[str]:
        newest = max((collection / "replays").iterdir())
        return set(pq.read_table(newest).column("image_id").to_pylist())

    _, record = again("--sample", 4)
    first = pictures()
    assert len(first) == 4
    for file in (collection / "replays").iterdir():
        file.unlink()
    assert again("--sample", 4, "--seed", record["seed"])[1]["seed"] == record["seed"]
    assert pictures() == first


def test_verify_tells_the_last_replay_as_json(again: Any, say: Say, collection: Path) -> None:
    assert json.loads(say("verify", collection, "--json")[1])["last_replay"] is None
    _, record = again("--sample", 3)
    assert json.loads(say("verify", collection, "--json")[1])["last_replay"] == record


@pytest.mark.parametrize(
    ("options", "explanation"),
    [
        (["--sample", "0"], "--sample 0"),
        (["--workers", "0"], "--workers 0"),
        (["--tolerance", "256"], "--tolerance 256"),
        (["--seed", "-1"], "--seed -1"),
        (["--model", "nowhere"], "--model"),
    ],
)
def test_a_mistake_is_refused_with_its_reason_and_records_nothing(
    options: list[str], explanation: str, say: Say, collection: Path
) -> None:
    before = contents(collection)
    code, told, err = say("replay", collection, *options)
    assert (code, told) == (2, "")
    assert explanation in err
    assert contents(collection) == before


def test_no_collection_is_refused(say: Say, tmp_path: Path) -> None:
    code, _, err = say("replay", tmp_path)
    assert code == 2
    assert "no collection" in err
