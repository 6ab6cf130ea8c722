from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pressrun.errors import InvalidJob, InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.adapter_fit import read_adapters
from pressrun.models.diffusers_folder import read_model
from tests import runs
from tests.adapters import as_kohya_writes, write_adapter
from tests.pressrun.models.small_model import write_model
from tests.s3_server import S3Server

MODEL = Location(str(runs.MODEL))
SHAPES = {"shapes": (MODEL, read_model(MODEL))}
LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"  # 64 inputs, 64 outputs


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "ink.safetensors", runs.MODEL)


def read(place: Path | str, name: str = "ink") -> Adapter:
    (adapter,) = read_adapters({name: Location(str(place))}, SHAPES)["shapes"]
    return adapter


def write(folder: Path, **tensors: tuple[int, ...]) -> Path:
    file = folder / "other.safetensors"
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, file)
    return file


def pair(layer: str, inputs: int, outputs: int, ranks: tuple[int, int] = (2, 2)) -> dict[str, tuple[int, ...]]:
    return {f"{layer}.lora_A.weight": (ranks[0], inputs), f"{layer}.lora_B.weight": (outputs, ranks[1])}


def test_an_adapter_is_its_content_wherever_it_lies_and_whatever_its_file_is_called(ink: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("how it was made")
    shutil.copy(ink, folder / "pytorch_lora_weights.safetensors")
    here, there = read(ink), read(folder)
    assert here.revision == there.revision
    assert here.weight_bytes == there.weight_bytes == ink.stat().st_size
    assert read(write_adapter(tmp_path / "new" / "ink.safetensors", runs.MODEL, seed=1)).revision != here.revision


def test_in_a_bucket_only_the_file_itself_is_looked_at(ink: Path, s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    for name in ("ink", "wash"):
        runs.upload(s3_server, ink, f"{bucket}/{name}.safetensors")
    place = Location(f"{bucket}/ink.safetensors", s3_server.storage_options)
    (adapter,) = read_adapters({"ink": place}, SHAPES)["shapes"]
    assert [(file.path, file.digest[:5]) for file in adapter.files] == [("ink.safetensors", "etag:")]
    assert adapter.weight_bytes == ink.stat().st_size


@pytest.mark.parametrize("spelling", ["lora_A lora_B", "lora.down lora.up", "lora_A.default lora_B.default"])
@pytest.mark.parametrize("components", [("unet",), ("text_encoder",), ("unet", "text_encoder")])
def test_adapters_for_the_model_are_taken_in_every_spelling(
    spelling: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    assert read(write_adapter(tmp_path / "a.safetensors", runs.MODEL, components, spelling=spelling)).weight_bytes > 0


def test_kohyas_names_are_understood(ink: Path, tmp_path: Path) -> None:
    assert read(as_kohya_writes(ink)).name == "ink"
    layer = f"lora_{LAYER}".replace(".", "_")
    wrong = write(tmp_path, **{f"{layer}.lora_down.weight": (2, 320), f"{layer}.lora_up.weight": (320, 2)})
    with pytest.raises(InvalidModel, match="320 inputs and 320 outputs, which there has 64 and 64"):
        read(wrong)


def test_layers_that_a_file_names_in_its_own_way_are_left_to_loading(tmp_path: Path) -> None:
    assert read(write(tmp_path, **pair("lora_unet_input_blocks_1_1_to_q", 7, 7))).name == "ink"
    assert read(write(tmp_path, **pair("unet.down_blocks.1.attn1.processor.to_q_lora", 7, 7))).name == "ink"


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (pair(LAYER, 320, 640), "changes unet.* as a layer of 320 inputs and 640 outputs, which there has 64 and 64"),
        (pair(f"{LAYER}_2", 64, 64) | pair(LAYER, 64, 64), r"lacks 1 of the 2 layers that it changes \(unet.*to_q_2\)"),
        (pair(LAYER, 64, 64, (2, 4)), "have rank 2 and 4"),
        ({f"{LAYER}.lora_A.weight": (2, 64)}, "lacks one of its two matrices"),
        ({f"{LAYER}.weight": (64, 64)}, r"no LoRA adapter: it holds the tensor 'unet\..*'"),
        ({f"{LAYER}.alpha": (1,)}, "none of its 1 tensors is a pair of LoRA matrices"),
    ],
)
def test_what_does_not_fit_the_model_or_is_no_adapter_is_refused(
    tensors: dict[str, tuple[int, ...]], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidModel, match=f"adapter 'ink'.*{reason}"):
        read(write(tmp_path, **tensors))


def test_of_several_models_an_adapter_is_offered_for_those_that_it_fits(ink: Path, tmp_path: Path) -> None:
    small = Location(str(write_model(tmp_path / "small")))  # whose denoiser lacks all of these layers
    models = {**SHAPES, "small": (small, read_model(small))}
    words = write_adapter(tmp_path / "words.safetensors", runs.MODEL, ("text_encoder",))
    places = {"words": Location(str(words)), "ink": Location(str(ink))}
    found = read_adapters(places, models)
    assert {name: [adapter.name for adapter in fitting] for name, fitting in found.items()} == {
        "shapes": ["ink", "words"],
        "small": ["words"],
    }
    with pytest.raises(InvalidModel, match=r"'ink'.* is not made for the model small, which lacks"):
        read_adapters(places, {"small": models["small"]})


def cut_short(folder: Path, ink: Path) -> Path:
    ink.write_bytes(ink.read_bytes()[:-1])
    return ink


def pickled(folder: Path, ink: Path) -> Path:
    return ink.rename(folder / "ink.pt")


def two(folder: Path, ink: Path) -> Path:
    shutil.copy(ink, folder / "wash.safetensors")
    return folder


def gone(folder: Path, ink: Path) -> Path:
    return folder / "nowhere"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut_short, r"bytes, but its header says \d+; copy the file again"),
        (pickled, "Only safetensors are loaded"),
        (two, r"2 safetensors files \(ink.safetensors, wash.safetensors\); name one"),
        (gone, "Nothing found at .*nowhere. Give a safetensors file"),
    ],
)
def test_a_place_without_one_whole_safetensors_file_is_refused(
    spoil: Callable[[Path, Path], Path], reason: str, ink: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidModel, match=f"adapter 'ink' cannot be used.*{reason}"):
        read(spoil(tmp_path, ink))


@pytest.mark.parametrize("name", ["a:b", "a,b", "a.b", "none", "", "a b", "-a", "x" * 65])
def test_a_name_that_a_row_could_not_write_is_refused(name: str, ink: Path) -> None:
    with pytest.raises(InvalidJob, match="cannot be an adapter's name"):
        read(ink, name)
