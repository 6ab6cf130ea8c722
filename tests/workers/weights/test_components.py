"""Models built of weights that Pressrun read are those that diffusers and transformers build themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from pressrun.errors import InvalidModel
from tests.workers.tiny_models import MAKERS, make_batch, save_tiny
from workers.engines import diffusers_renderer
from workers.engines.diffusers_renderer import DiffusersRenderer, Hooks, RenderOptions
from workers.weights.component_files import already_here
from workers.weights.components import LoadOptions, load_components

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

_PARTS = {
    "sd": {"text_encoder", "unet", "vae"},
    "sdxl": {"text_encoder", "text_encoder_2", "unet", "vae"},
    "sd3": {"text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "vae"},
    "flux": {"text_encoder", "text_encoder_2", "transformer", "vae"},
    "pixart": {"text_encoder", "transformer", "vae"},
}
Folders = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    diffusers.utils.logging.disable_progress_bar()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("tiny")
    return lambda kind: root / kind if (root / kind).exists() else save_tiny(kind, root / kind)


def _everything(model: Any) -> dict[str, Any]:
    """Return what a model is made of, weights and buffers as bits."""
    tensors = {**dict(model.named_parameters()), **{f"buffer {name}": each for name, each in model.named_buffers()}}
    return {
        "class": type(model),
        "training": model.training,
        "config": {**(model.config if isinstance(model.config, dict) else model.config.to_dict())},
        **{
            name: (
                tensor.dtype,
                tensor.shape,
                tensor.requires_grad,
                tensor.detach().reshape(-1).view(torch.uint8).tolist(),
            )
            for name, tensor in tensors.items()
        },
    }


def _theirs(folder: Path, dtype: torch.dtype, variant: str | None = None) -> dict[str, Any]:
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, variant=variant, local_files_only=True)
    return {name: _everything(part) for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def _ours(folder: Path, dtype: torch.dtype, variant: str | None = None) -> dict[str, Any]:
    return {name: _everything(part) for name, part in load_components(folder, LoadOptions(dtype, variant)).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", MAKERS)
def test_every_model_of_every_kind_is_the_same_to_the_bit(kind: str, dtype: torch.dtype, folder: Folders) -> None:
    ours = _ours(folder(kind), dtype)
    assert set(ours) == _PARTS[kind]
    assert ours == _theirs(folder(kind), dtype)


@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_are_the_same_to_the_bit(kind: str, folder: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(["a red circle", "a star"])
    ours = DiffusersRenderer(folder(kind)).render(batch)
    monkeypatch.setattr(diffusers_renderer, "load_components", lambda folder, options: {})
    assert np.array_equal(ours, DiffusersRenderer(folder(kind)).render(batch))


@pytest.mark.parametrize("max_shard_size", ["10GB", "20KB"], ids=["one file", "shards"])
def test_a_variant_is_the_same_to_the_bit(max_shard_size: str, folder: Folders, tmp_path: Path) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folder("flux"), dtype=torch.float16)
    pipeline.save_pretrained(tmp_path, variant="fp16", max_shard_size=max_shard_size)
    shards = list((tmp_path / "transformer").glob("*index*.json"))
    assert len(shards) == (max_shard_size == "20KB")
    ours = _ours(tmp_path, torch.float32, "fp16")
    assert set(ours) == _PARTS["flux"]
    assert ours == _theirs(tmp_path, torch.float32, "fp16")


def test_weights_that_a_model_keeps_in_fp32_stay_so(folder: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers.UNet2DConditionModel, "_keep_in_fp32_modules", ["time_embedding"])
    ours = _ours(folder("sd"), torch.bfloat16)
    assert ours["unet"]["time_embedding.linear_1.weight"][0] == torch.float32
    assert ours == _theirs(folder("sd"), torch.bfloat16)


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _quantize(folder: Path) -> None:
    _edit(folder / "unet" / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    _edit(folder / "text_encoder" / "config.json", quantization_config={"quant_method": "bitsandbytes"})


def _narrow(folder: Path) -> None:
    _edit(folder / "unet" / "config.json", cross_attention_dim=4)
    _edit(folder / "text_encoder" / "config.json", intermediate_size=12)


def _damage(folder: Path) -> None:
    for file in (
        folder / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "text_encoder" / "model.safetensors",
    ):
        file.write_bytes(file.read_bytes()[:-1])


def _lose(folder: Path) -> None:
    for file in (
        folder / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "text_encoder" / "model.safetensors",
    ):
        file.unlink()


def _enstrange(folder: Path) -> None:
    _edit(folder / "model_index.json", unet=["my_library", "MyUNet"], text_encoder=["transformers", "AutoModel"])


@pytest.mark.parametrize("change", [_quantize, _narrow, _damage, _lose, _enstrange], ids=lambda change: change.__name__)
def test_what_is_not_plainly_theirs_is_left_to_the_libraries(change: Callable[[Path], None], tmp_path: Path) -> None:
    change(save_tiny("sd", tmp_path / "sd"))
    assert set(load_components(tmp_path / "sd", LoadOptions(torch.float32))) == {"vae"}


def test_a_damaged_model_is_refused_as_before(tmp_path: Path) -> None:
    _damage(save_tiny("sd", tmp_path / "sd"))
    with pytest.raises(InvalidModel, match="cannot be loaded"):
        DiffusersRenderer(tmp_path / "sd")


def test_models_are_built_while_later_files_are_still_arriving(folder: Folders, tmp_path: Path) -> None:
    whole, arriving = folder("sd"), tmp_path / "sd"
    is_building, asked = threading.Event(), []

    def await_file(path: Path) -> Path:
        asked.append(path.relative_to(tmp_path).as_posix())
        if path == arriving:  # the last question: by now all is in its place
            path.symlink_to(whole)
            return path
        if asked[-1] == "sd/text_encoder/config.json":
            is_building.set()
        if asked[-1] == "sd/unet/diffusion_pytorch_model.safetensors":
            assert is_building.wait(30), "the text encoder waits for the UNet's file"
        return already_here(whole / path.relative_to(arriving))

    engine = DiffusersRenderer(arriving, RenderOptions(), Hooks(await_file=await_file))
    assert asked[-1] == "sd"
    assert np.array_equal(engine.render(make_batch(["x"])), DiffusersRenderer(whole).render(make_batch(["x"])))
