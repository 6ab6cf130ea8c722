"""What is read of a model folder, and what is refused before anything is loaded."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from tests.pressrun.models.small_model import WEIGHTS, make_index, safetensors, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "paint")


@pytest.fixture
def remote(folder: Path) -> Iterator[Location]:
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/models/paint", recursive=True)
    yield Location("memory://models/paint")
    memory.rm("/models", recursive=True)


def read(folder: Path) -> Any:
    return read_model(Location(str(folder)))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        read(folder)
    for word in words:
        assert word in str(caught.value)


def test_the_facts_of_a_stable_diffusion_folder(folder: Path) -> None:
    facts = read(folder)
    assert (facts.name, facts.pipeline_class) == ("paint", "StableDiffusionPipeline")
    assert (facts.width_px, facts.height_px, facts.size_multiple_px) == (512, 512, 8)
    assert facts.flow_matching is False
    assert facts.weight_bytes == 2 * len(safetensors()) + len(safetensors(64))
    assert len(facts.files) == 10
    assert len(facts.revision) == 32
    assert int(facts.revision, 16)


def test_a_clone_elsewhere_has_the_same_revision_whatever_its_times(folder: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(folder, tmp_path / "elsewhere" / "other-name")
    os.utime(clone / "unet" / WEIGHTS, (1, 1))
    assert read(clone).revision == read(folder).revision


def test_links_to_files_and_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for path in folder.rglob("*"):
        there = linked / path.relative_to(folder)
        if path.is_dir() and path.name == "vae":
            there.symlink_to(path)
        elif path.is_dir():
            there.mkdir()
        elif path.parent.name != "vae":
            there.symlink_to(path)
    assert read(linked).revision == read(folder).revision


@pytest.mark.parametrize(
    "name", ["README.md", "picture.png", ".git/config", "unet/model.onnx", "unet/flax_model.msgpack"]
)
def test_files_that_are_not_loaded_do_not_touch_the_revision(folder: Path, name: str) -> None:
    before = read(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert read(folder) == before


@pytest.mark.parametrize("name", ["model_index.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"])
def test_a_changed_byte_in_a_loaded_file_changes_the_revision(folder: Path, name: str) -> None:
    before = read(folder).revision
    (folder / name).write_text((folder / name).read_text() + " ")
    assert read(folder).revision != before


def test_changed_weights_of_the_same_size_change_the_revision(folder: Path) -> None:
    before = read(folder).revision
    weights = folder / "unet" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert read(folder).revision != before


def test_a_remote_folder_tells_the_same_facts_but_for_the_digests(folder: Path, remote: Location) -> None:
    near, far = read(folder), read_model(remote)
    hide = {"files": (), "revision": ""}
    assert dataclasses.replace(far, **hide) == dataclasses.replace(near, **hide)
    assert [(f.path, f.size_bytes) for f in far.files] == [(f.path, f.size_bytes) for f in near.files]
    assert read_model(remote).revision == far.revision


def test_a_truncated_remote_weight_file_is_seen_from_its_header(remote: Location) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/models/paint/unet/{WEIGHTS}", safetensors(64)[:-10])
    with pytest.raises(InvalidModel, match="its header says"):
        read_model(remote)


def test_no_folder_and_no_index_are_told_apart(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "No model files found", "spelling")
    (folder / "model_index.json").unlink()
    refused(folder, "no model_index.json", "diffusers layout", "from_single_file")


def test_a_single_file_checkpoint_is_told_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "anything-v5.safetensors").write_bytes(safetensors())
    refused(tmp_path / "anything-v5.safetensors", "single file", "from_single_file")


def test_a_hub_id_is_told_that_nothing_is_downloaded() -> None:
    with pytest.raises(InvalidModel, match=r"stabilityai/sdxl.*not downloaded from a hub.*folder or bucket"):
        read_model(Location("stabilityai/sdxl"))


def test_a_missing_component_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    refused(folder, "tokenizer (CLIPTokenizer) is missing", "[null, null]")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unet": ["my_pipeline", "Net"]}, ["unet comes from 'my_pipeline'", "never"]),
        ({"_class_name": ["pipeline", "Mine"]}, ["_class_name", "never run"]),
        ({"_class_name": None}, ["_class_name"]),
        ({"_class_name": "StableDiffusionXLImg2ImgPipeline"}, ["Img2Img", "text-to-image pipeline"]),
        ({"_class_name": "HunyuanVideoPipeline"}, ["Video"]),
        ({"_class_name": "AudioLDM2Pipeline"}, ["Audio"]),
        ({"unet": ["diffusers"]}, ["[library, class] is wanted"]),
        ({"../evil": ["diffusers", "UNet"]}, ["cannot be a component's name"]),
    ],
)
def test_an_index_that_can_never_be_run_is_refused(folder: Path, change: dict[str, Any], words: list[str]) -> None:
    (folder / "model_index.json").write_text(make_index(**change))
    refused(folder, *words)


@pytest.mark.parametrize("name", ["pipeline.py", "unet/net.py"])
def test_a_folder_with_code_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("import os")
    refused(folder, name, "never run")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_index_is_named(folder: Path, content: str) -> None:
    (folder / "model_index.json").write_text(content)
    refused(folder, "model_index.json")


def test_no_secret_shows_when_a_bucket_cannot_be_reached() -> None:
    options = {"secret": "hunter2hunter2", "key": "AKIAEXAMPLE", "endpoint_url": "http://127.0.0.1:9"}
    location = Location(
        "s3://user:hunter2hunter2@bucket/model", options | {"config_kwargs": {"retries": {"max_attempts": 0}}}
    )
    with pytest.raises(InvalidModel) as caught:
        read_model(location)
    assert "credentials" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_unknown_protocol_is_explained() -> None:
    with pytest.raises(InvalidModel, match=r"nosuch://bucket/model cannot be read \(ValueError\)"):
        read_model(Location("nosuch://bucket/model"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, True),
        ({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"}, True),
        ({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "v_prediction"}, False),
    ],
)
def test_flow_matching_is_read_from_the_scheduler(folder: Path, settings: dict[str, str], expected: bool) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    assert read(folder).flow_matching is expected
