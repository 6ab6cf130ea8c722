"""Files of a model are handed out as they become whole, while others are still on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pressrun.cache.chunk_manifest import cut
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.models.diffusers_folder import ModelFacts
from tests import runs
from workers.cache.arriving import arriving
from workers.cache.chunk_store import ChunkStore
from workers.cache.origin import Origin
from workers.model_cache import ensure_local


@pytest.fixture
def remote() -> Iterator[Location]:
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(runs.MODEL), "/arriving/shapes", recursive=True)
    yield Location("memory://arriving/shapes")
    filesystem.rm("/arriving", recursive=True)


def test_a_file_can_be_loaded_before_the_last_one_has_come(
    remote: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, may_come = read_any(remote), threading.Event()
    assert isinstance(facts, ModelFacts)
    late = next(file.path for file in facts.files if file.path.startswith("vae/") and file.path.endswith("safetensors"))
    read = Origin.read

    def read_late(self: Origin, path: str, *rest: Any) -> None:
        if path == late:
            assert may_come.wait(30)
        read(self, path, *rest)

    monkeypatch.setattr(Origin, "read", read_late)
    store, manifest = ChunkStore(tmp_path), cut(remote, facts.revision, facts.files)
    with arriving(store, manifest, lambda: ensure_local(remote, facts, tmp_path)) as (folder, await_file):
        for file in facts.files:
            if file.path != late:
                assert await_file(folder / file.path).stat().st_size == file.size_bytes
        assert store.folder_of(manifest) is None
        may_come.set()
        assert await_file(folder / late).read_bytes() == (runs.MODEL / late).read_bytes()
        assert await_file(folder) == folder
        with pytest.raises(FileNotFoundError):
            await_file(folder / "unet" / "no.safetensors")


def test_who_waits_for_a_file_that_cannot_come_is_told_why(
    remote: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = read_any(remote)
    remote.open_filesystem()[0].rm("/arriving/shapes/unet", recursive=True)
    manifest = cut(remote, facts.revision, facts.files)
    unet = next(file.path for file in facts.files if file.path.startswith("unet/"))

    def load() -> None:
        with arriving(ChunkStore(tmp_path), manifest, lambda: ensure_local(remote, facts, tmp_path)) as (
            folder,
            await_file,
        ):
            await_file(folder / unet)

    with pytest.raises(InvalidModel, match="unet"):
        load()
