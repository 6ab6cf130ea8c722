"""Which weight files are taken, and which are refused before anything is loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from tests.pressrun.models.small_model import WEIGHTS, safetensors, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "paint")


def read(folder: Path) -> Any:
    return read_model(Location(str(folder)))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        read(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["has 0 bytes", "copy the file again"]),
        (safetensors(64)[:40], ["cut short"]),
        (safetensors(64)[:-1], [f"has {len(safetensors(64)) - 1} bytes", f"says {len(safetensors(64))}"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", ["Git LFS"]),
        (struct.pack("<Q", 4) + b"{}}}", ["header is damaged"]),
        (struct.pack("<Q", 9) + b'{"w":[1]}', ["header is damaged"]),
    ],
)
def test_weights_that_are_not_whole_are_refused(folder: Path, content: bytes, words: list[str]) -> None:
    (folder / "unet" / WEIGHTS).write_bytes(content)
    refused(folder, f"unet/{WEIGHTS}", *words)


def test_pickle_weights_are_named_and_never_enough(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    refused(folder, "unet/diffusion_pytorch_model.bin", "only safetensors", "safe_serialization=True")


def test_pickle_weights_beside_safetensors_are_passed_over(folder: Path) -> None:
    before = read(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    assert read(folder) == before


def test_a_component_without_any_weights_is_named(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()
    refused(folder, "text_encoder (CLIPTextModel) has no safetensors weights")


def shard(folder: Path) -> Path:
    (folder / "text_encoder" / "model.safetensors").unlink()
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for name in names:
        (folder / "text_encoder" / name).write_bytes(safetensors())
    index = folder / "text_encoder" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}))
    return folder / "text_encoder" / names[1]


def test_weights_without_their_settings_are_refused(folder: Path) -> None:
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(InvalidModel, match=r"vae \(AutoencoderKL\) has weights but no config.json"):
        read_model(Location(str(folder)))


def test_sharded_weights_are_read_whole(folder: Path) -> None:
    shard(folder)
    paths = [file.path for file in read(folder).files if file.path.startswith("text_encoder/")]
    assert len(paths) == 4
    assert "text_encoder/model.safetensors.index.json" in paths


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard(folder).unlink()
    refused(folder, "names 2 shards, but 1 of them are missing", "model-00002-of-00002.safetensors")


def test_an_empty_shard_is_named(folder: Path) -> None:
    shard(folder).write_bytes(b"")
    refused(folder, "model-00002-of-00002.safetensors has 0 bytes")


@pytest.mark.parametrize("name", ["../unet/x.safetensors", "/etc/passwd"])
def test_a_shard_cannot_point_outside_its_folder(folder: Path, name: str) -> None:
    shard(folder)
    index = folder / "text_encoder" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    refused(folder, "missing", name)


def test_the_plain_weights_win_over_a_variant(folder: Path) -> None:
    before = read(folder)
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(safetensors())
    assert read(folder) == before


def test_a_variant_is_taken_and_recorded_where_it_is_all_there_is(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    facts = read(folder)
    assert facts.variant == "fp16"
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in {file.path for file in facts.files}
    (folder / "vae" / WEIGHTS).rename(folder / "vae" / "diffusion_pytorch_model.ema.safetensors")
    refused(folder, "no one weight variant", "unet: fp16", "vae: ema")
