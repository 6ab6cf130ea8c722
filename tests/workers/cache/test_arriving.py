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
from workers.weights.component_files import weight_files

LATE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def remote() -> Iterator[Location]:
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(runs.MODEL), "/arriving/shapes", recursive=True)
    yield Location("memory://arriving/shapes")
    filesystem.rm("/arriving", recursive=True)


@pytest.fixture
def may_come(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Keep the vae's weights back until this is set."""
    read, event = Origin.read, threading.Event()

    def read_late(self: Origin, path: str, *rest: Any) -> None:
        if path == LATE:
            assert event.wait(30)
        read(self, path, *rest)

    monkeypatch.setattr(Origin, "read", read_late)
    return event


def test_a_file_can_be_loaded_before_the_last_one_has_come(
    remote: Location, tmp_path: Path, may_come: threading.Event
) -> None:
    facts = read_any(remote)
    assert isinstance(facts, ModelFacts)
    store, manifest = ChunkStore(tmp_path), cut(remote, facts.revision, facts.files)
    with arriving(store, manifest, lambda: ensure_local(remote, facts, tmp_path)) as (folder, await_file):
        for file in facts.files:
            if file.path != LATE:
                assert await_file(folder / file.path).stat().st_size == file.size_bytes
        assert store.folder_of(manifest) is None
        for absent in ("unet/no.safetensors", "une", "unet/config.json/no"):
            with pytest.raises(FileNotFoundError):
                await_file(folder / absent)
        assert store.folder_of(manifest) is None
        may_come.set()
        assert await_file(folder / LATE).read_bytes() == (runs.MODEL / LATE).read_bytes()
        assert await_file(folder / "vae") == folder / "vae"
        assert await_file(folder) == folder


def test_each_components_weights_are_given_while_another_ones_are_still_coming(
    remote: Location, tmp_path: Path, may_come: threading.Event
) -> None:
    facts = read_any(remote)
    store, manifest = ChunkStore(tmp_path), cut(remote, facts.revision, facts.files)
    with arriving(store, manifest, lambda: ensure_local(remote, facts, tmp_path)) as (folder, await_file):
        for component, library in (("unet", "diffusers"), ("text_encoder", "transformers")):
            (weights,) = weight_files(folder / component, library, None, await_file)
            name = weights.relative_to(folder)
            assert weights.read_bytes() == (runs.MODEL / name).read_bytes()
        assert store.folder_of(manifest) is None
        may_come.set()
        assert weight_files(folder / "vae", "diffusers", None, await_file) == [folder / LATE]


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
