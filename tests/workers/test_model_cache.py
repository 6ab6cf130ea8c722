"""One verified copy of a model a host, whatever happens while it is made."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from struct import pack
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts, read_model
from tests.s3_server import S3Server, s3_server  # noqa: F401
from workers.cache.origin import Origin
from workers.cache.revision_folder import COMPLETE_NAME
from workers.model_cache import ensure_local

HEADER = json.dumps({"w": {"dtype": "U8", "shape": [50_000], "data_offsets": [0, 50_000]}}).encode()
WEIGHTS = pack("<Q", len(HEADER)) + HEADER + bytes(50_000)
VAE_WEIGHTS = WEIGHTS[:-1] + b"v"
FILES = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "DDIMScheduler"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
    ).encode(),
    "README.md": b"not loaded, not copied",
    "scheduler/scheduler_config.json": b"{}",
    "unet/config.json": b"{  }",
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "vae/config.json": b"{ }",
    "vae/diffusion_pytorch_model.safetensors": VAE_WEIGHTS,
}
LOADED = {name: content for name, content in FILES.items() if name != "README.md"}
LOADED_BYTES = sum(map(len, LOADED.values()))
UNET = "unet/diffusion_pytorch_model.safetensors"

# Fetches, but stops for good at the vae's weights once the rest is there, and says so.
STOPPING_FETCH = """
import pickle, sys
import workers.model_cache as cache
from workers.cache.bring import Bring
from workers.cache.origin import Origin
location, facts, root = pickle.load(sys.stdin.buffer)
read, keep, kept = Origin.read, Bring.keep, []
def read_or_stop(self, path, *rest):
    while "vae/diffusion" in path:
        if len(kept) == len(facts.files) - 1:
            print("stopped", flush=True)
            sys.stdin.buffer.read(1)
    read(self, path, *rest)
def keep_and_count(self, *rest):
    keep(self, *rest)
    kept.append(rest)
Origin.read, Bring.keep = read_or_stop, keep_and_count
cache.ensure_local(location, facts, root)
"""


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Location:
    server: S3Server = request.getfixturevalue("s3_server")
    location = Location(f"{server.make_bucket()}/models/paint", server.storage_options)
    filesystem, root = location.open_filesystem()
    filesystem.pipe({f"{root}/{name}": content for name, content in FILES.items()})
    return location


@pytest.fixture
def memory() -> Any:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe({f"/cached/paint/{name}": content for name, content in FILES.items()})
    yield Location("memory://cached/paint")
    filesystem.rm("/cached", recursive=True)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE_NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def copy_bytes(location: Location, facts: ModelFacts, root: Path) -> int:
    return ensure_local(location, facts, root).origin_bytes


def test_a_local_model_is_used_in_place(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "paint" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "paint" / name).write_bytes(content)
    for url in (str(tmp_path / "paint"), f"file://{tmp_path}/paint"):
        location = Location(url)
        cached = ensure_local(location, read_model(location), tmp_path / "cache")
        assert (cached.path, cached.origin_bytes) == (tmp_path / "paint", 0)
    assert not (tmp_path / "cache").exists()


def test_a_remote_model_is_copied_once_and_only_what_is_loaded(bucket: Location, tmp_path: Path) -> None:
    facts = read_model(bucket)
    first = ensure_local(bucket, facts, tmp_path / "cache")
    again = ensure_local(bucket, facts, tmp_path / "cache")
    assert contents(first.path) == LOADED
    assert (first.origin_bytes, again.origin_bytes) == (LOADED_BYTES, 0)
    assert first.path == again.path == tmp_path / "cache" / facts.revision
    assert first.path.stat().st_mode & 0o777 == 0o700
    assert again.seconds >= 0


def test_a_copied_model_reads_as_the_same_pipeline(bucket: Location, tmp_path: Path) -> None:
    facts = read_model(bucket)
    copy = read_model(Location(str(ensure_local(bucket, facts, tmp_path / "cache").path)))
    assert [(file.path, file.size_bytes) for file in copy.files] == [(f.path, f.size_bytes) for f in facts.files]


def test_processes_that_ask_at_once_copy_once_between_them(bucket: Location, tmp_path: Path) -> None:
    call = partial(copy_bytes, bucket, read_model(bucket), tmp_path / "cache")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        asked = [processes.submit(call) for _ in range(3)]
        assert sorted(future.result() for future in asked) == [0, 0, LOADED_BYTES]


def test_a_killed_fetch_goes_on_with_what_it_lacks(bucket: Location, tmp_path: Path) -> None:
    import pickle

    facts = read_model(bucket)
    command = [sys.executable, "-c", STOPPING_FETCH]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps((bucket, facts, tmp_path / "cache")))
        process.stdin.flush()
        assert process.stdout.readline() == b"stopped\n"
        process.kill()
    assert not (tmp_path / "cache" / facts.revision / COMPLETE_NAME).exists()
    resumed = ensure_local(bucket, facts, tmp_path / "cache")
    assert resumed.origin_bytes == len(WEIGHTS)
    assert contents(resumed.path) == LOADED


def test_a_file_of_the_wrong_size_is_copied_again_and_nothing_else(bucket: Location, tmp_path: Path) -> None:
    facts = read_model(bucket)
    folder = ensure_local(bucket, facts, tmp_path / "cache").path
    (folder / UNET).write_bytes(WEIGHTS[:-1])
    (folder / "vae" / "config.json").unlink()
    assert ensure_local(bucket, facts, tmp_path / "cache").origin_bytes == len(WEIGHTS) + 3
    assert contents(folder) == LOADED


def test_missing_rights_name_the_file_and_show_no_secret(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cat_file(self: Any, path: str, **options: Any) -> bytes:
        raise PermissionError("https://bucket/x?X-Amz-Signature=hunter2")

    facts = read_model(memory)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    monkeypatch.setattr(MemoryFileSystem, "_open", cat_file)
    with pytest.raises(InvalidModel, match=r"PermissionError.*attempt 1 of") as caught:
        ensure_local(memory, facts, tmp_path / "cache")
    assert "hunter2" not in str(caught.value) + caplog.text
    assert not list((tmp_path / "cache").rglob(COMPLETE_NAME))


def test_a_model_that_changed_since_it_was_read_is_refused(bucket: Location, tmp_path: Path) -> None:
    facts = read_model(bucket)
    filesystem, root = bucket.open_filesystem()
    filesystem.pipe(f"{root}/{UNET}", WEIGHTS[:-1] + b"\x01")
    with pytest.raises(InvalidModel, match=f"{UNET} of the model .* changed after the run was planned"):
        ensure_local(bucket, facts, tmp_path / "cache")


def test_a_model_that_changes_while_it_is_fetched_is_refused(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = read_model(memory)
    read = Origin.read

    def read_and_change(self: Any, path: str, *rest: Any) -> None:
        read(self, path, *rest)
        memory.open_filesystem()[0].pipe(f"/cached/paint/{UNET}", WEIGHTS[:-1] + b"\x01")

    monkeypatch.setattr(Origin, "read", read_and_change)
    with pytest.raises(InvalidModel, match="changed after the run was planned"):
        ensure_local(memory, facts, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(COMPLETE_NAME))
