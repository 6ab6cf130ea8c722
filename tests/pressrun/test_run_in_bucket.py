from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pressrun import layout, manifest
from pressrun.job import Job
from pressrun.location import Location
from pressrun.run import open_run
from pressrun.storage import Store
from tests.pressrun.models.small_model import write_model
from tests.pressrun.small_collection import put_images, snapshot
from tests.s3_server import S3Server

PROMPTS = ["a red star", "a blue ring", "a red star"]
SECRET = "hunter2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


def records(store: Store, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(layout.run(run_id, "job.json")))
    return found


def test_secrets_are_in_no_record_and_no_repr(s3_server: S3Server, model: Path) -> None:
    bucket = s3_server.make_bucket()
    options = {**s3_server.storage_options, "secret": SECRET}
    Store(Location(bucket, options)).write("in/prompts.csv", b"prompt\na red star\n")
    prompts = Location(f"{bucket}/in/prompts.csv", options)
    job = Job(prompts, Location(str(model), {"token": SECRET}), Location(f"{bucket}/out", options), None)
    run = open_run(job, "run-1")
    run.close()
    assert records(run.store, "run-1")["prompts"] == prompts.url
    for name, data in snapshot(run.store).items():
        assert SECRET.encode() not in data, name
    assert SECRET not in f"{job!r} {run!r} {prompts} {job.model!r}"


def test_a_collection_in_a_bucket_is_opened_and_opened_again(s3_server: S3Server, model: Path) -> None:
    options = {name: value for name, value in s3_server.storage_options.items() if name != "use_listings_cache"}
    job = Job(PROMPTS, Location(str(model)), Location(s3_server.make_bucket(), options), None)
    store = Store(job.collection)
    first = open_run(job, "run-1")
    manifest.write_receipt(store, "batch", put_images(store, first.plan.todo.slice(0, 1), dimension=0))
    first.close()
    second = open_run(job, "run-2")
    second.close()
    assert second.plan.held == 1
    assert not store.exists(layout.WRITER)
