"""Every kind of place that a collection can be in, for tests of what must hold in all of them."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from pressrun.location import Location
from pressrun.storage import Store
from tests.s3_server import S3Server


@pytest.fixture(params=["folder", "memory", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return Location(str(tmp_path / "out"))
    if request.param == "memory":
        return Location(f"memory://{uuid.uuid4().hex}")
    server: S3Server = request.getfixturevalue("s3_server")
    return Location(f"{server.make_bucket()}/out", server.storage_options)


@pytest.fixture
def store(location: Location) -> Store:
    return Store(location)
