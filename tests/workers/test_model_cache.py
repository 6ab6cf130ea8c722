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
from workers.model_cache import ATTEMPTS, COMPLETE_NAME, ensure_local

HEADER = json.dumps({"w": {"dtype": "U8", "shape": [50_000], "data_offsets": [0, 50_000]}}).encode()
WEIGHTS = pack("<Q", len(HEADER)) + HEADER + bytes(50_000)
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
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": WEIGHTS,
}
LOADED = {name: content for name, content in FILES.items() if name != "README.md"}
LOADED_BYTES = sum(map(len, LOADED.values()))
UNET = "unet/diffusion_pytorch_model.safetensors"

# Copies, but stops for good in the middle of the second weight file, and says so.
STOPPING_COPY = """
import pickle, sys
from pathlib import Path
import s3fs, workers.model_cache as cache
cache._COPY_THREADS = 1
location, facts, root = pickle.load(sys.stdin.buffer)
copy = s3fs.S3FileSystem.get_file
def get_file(self, origin, target, **options):
    if "vae/diffusion" in origin:
        Path(target).write_bytes(b"half")
        print("stopped", flush=True)
        sys.stdin.buffer.read(1)
    copy(self, origin, target, **options)
s3fs.S3FileSystem.get_file = get_file
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
    marker = json.loads((first.path / COMPLETE_NAME).read_text())
    assert marker["sizes"] == {name: len(content) for name, content in LOADED.items()}
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


def test_a_killed_copy_goes_on_with_what_it_lacks(bucket: Location, tmp_path: Path) -> None:
    import pickle

    facts = read_model(bucket)
    command = [sys.executable, "-c", STOPPING_COPY]
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
    assert ensure_local(bucket, facts, tmp_path / "cache").origin_bytes == len(WEIGHTS) + 2
    assert contents(folder) == LOADED


def fail_times(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception | None) -> list[str]:
    """Let copying the unet's weights fail: by an error, or by a short file."""
    copy, calls = MemoryFileSystem.get_file, list[str]()

    def get_file(self: Any, origin: str, target: str, **options: Any) -> None:
        if UNET in origin:
            calls.append(origin)
            if len(calls) <= times:
                if error:
                    raise error
                Path(target).write_bytes(WEIGHTS[:-5])
                return
        copy(self, origin, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    return calls


@pytest.mark.parametrize("error", [ConnectionError("reset"), None])
def test_a_passing_failure_is_tried_again_after_growing_waits(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    calls, waits = fail_times(monkeypatch, 3, error), list[float]()
    cached = ensure_local(memory, read_model(memory), tmp_path / "cache", sleep=waits.append)
    assert contents(cached.path) == LOADED
    assert len(calls) == 4
    assert all(0.25 * 2**n <= wait <= 0.75 * 2**n for n, wait in enumerate(waits))
    assert len(waits) == 3


def test_a_lasting_failure_names_the_file_and_shows_no_secret(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = fail_times(monkeypatch, 99, OSError("https://bucket/x?X-Amz-Signature=hunter2"))
    with pytest.raises(InvalidModel, match=rf"{UNET}.*OSError at attempt 5 of {ATTEMPTS}") as caught:
        ensure_local(memory, read_model(memory), tmp_path / "cache", sleep=lambda _: None)
    assert len(calls) == ATTEMPTS
    assert "hunter2" not in str(caught.value) + caplog.text
    assert not list((tmp_path / "cache").rglob(COMPLETE_NAME))


def test_a_short_copy_that_lasts_tells_both_sizes(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_times(monkeypatch, 99, None)
    with pytest.raises(InvalidModel, match=f"{len(WEIGHTS) - 5} bytes came, {len(WEIGHTS)} are listed"):
        ensure_local(memory, read_model(memory), tmp_path / "cache", sleep=lambda _: None)


def test_missing_rights_are_not_tried_again(memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fail_times(monkeypatch, 99, PermissionError("Forbidden"))
    with pytest.raises(InvalidModel, match="PermissionError at attempt 1"):
        ensure_local(memory, read_model(memory), tmp_path / "cache", sleep=lambda _: None)
    assert len(calls) == 1


def test_a_model_that_changed_since_it_was_read_is_refused(bucket: Location, tmp_path: Path) -> None:
    facts = read_model(bucket)
    filesystem, root = bucket.open_filesystem()
    filesystem.pipe(f"{root}/{UNET}", WEIGHTS[:-1] + b"\x01")
    with pytest.raises(InvalidModel, match=f"{UNET} of the model .* changed after the run was planned"):
        ensure_local(bucket, facts, tmp_path / "cache")


def test_a_model_that_changes_while_it_is_copied_is_refused(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = MemoryFileSystem.get_file

    def get_file(self: Any, origin: str, target: str, **options: Any) -> None:
        copy(self, origin, target, **options)
        if UNET in origin:
            self.pipe(f"/cached/paint/{UNET}", WEIGHTS[:-1] + b"\x01")

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    with pytest.raises(InvalidModel, match="changed after the run was planned"):
        ensure_local(memory, read_model(memory), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(COMPLETE_NAME))
