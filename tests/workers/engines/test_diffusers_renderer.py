"""The diffusers engine on one tiny pipeline of each kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pressrun.errors import InvalidJob, InvalidModel, RunCancelled, StageFailed
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.models.schedulers import schedulers_for
from tests.workers.tiny_models import MAKERS, Folders, make_batch
from workers.engines.diffusers_renderer import DiffusersRenderer, Hooks, RenderOptions
from workers.engines.renderer import OutOfMemory

# torch's own conversion to numpy inside diffusers' multistep schedulers.
pytestmark = [
    pytest.mark.usefixtures("_one_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(scope="session")
def renderer(folder: Folders) -> Callable[[str], DiffusersRenderer]:
    made: dict[str, DiffusersRenderer] = {}

    def get(kind: str) -> DiffusersRenderer:
        return made.setdefault(kind, made.get(kind) or DiffusersRenderer(folder(kind)))

    return get


Renderers = Callable[[str], DiffusersRenderer]


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_pipeline_draws_in_two_sizes_whatever_the_companions(kind: str, renderer: Renderers) -> None:
    engine = renderer(kind)
    three = engine.render(make_batch(["a red circle", "a star", "two squares"], size=4))
    moved = engine.render(make_batch(["x", "y", "a star"], size=4, seed=[8, 9, 1]))
    assert three.shape == (3, 32, 32, 3)
    assert np.array_equal(three[1], moved[2])
    assert not np.array_equal(three[1], three[2])
    assert engine.render(make_batch(["a", "b", "c"], size=4, width_px=48, height_px=32)).shape == (3, 32, 48, 3)


@pytest.mark.parametrize(
    ("kind", "native_px", "multiple_px", "flow"),
    [
        ("sd", 32, 8, False),
        ("sdxl", 32, 8, False),
        ("sd3", 32, 8, True),
        ("flux", 256, 4, True),
        ("pixart", 32, 8, False),
    ],
)
def test_the_facts_of_a_folder_are_what_its_pipeline_works_with(
    kind: str, native_px: int, multiple_px: int, flow: bool, folder: Folders
) -> None:
    facts = read_model(Location(str(folder(kind))))
    assert (facts.width_px, facts.height_px) == (native_px, native_px)
    assert (facts.size_multiple_px, facts.flow_matching, facts.variant) == (multiple_px, flow, None)
    assert facts.pipeline_class == type(MAKERS[kind]()).__name__
    weights = [path.stat().st_size for path in folder(kind).rglob("*.safetensors")]
    assert facts.weight_bytes == sum(weights)


@pytest.mark.parametrize("flow", [False, True])
def test_every_scheduler_of_the_table_draws_alike_at_every_place(flow: bool, renderer: Renderers) -> None:
    engine, seen = renderer("sd3" if flow else "sd"), set[bytes]()
    for scheduler in schedulers_for(flow):
        common = {"size": 2, "steps": 2, "width_px": 16, "height_px": 16, "scheduler": scheduler}
        pictures = engine.render(make_batch(["a", "b"], seed=[3, 4], **common))
        swapped = engine.render(make_batch(["b", "a"], seed=[4, 3], **common))
        assert np.array_equal(pictures, swapped[::-1]), scheduler
        seen.add(pictures.tobytes())
    assert len(seen) >= (3 if flow else 7)  # names stand for different schedulers


def test_a_scheduler_for_the_other_kind_of_model_is_refused(renderer: Renderers) -> None:
    with pytest.raises(InvalidJob, match=r"'euler' does not suit this flow-matching.*flow-euler"):
        renderer("sd3").render(make_batch(["a"], scheduler="euler"))
    with pytest.raises(InvalidJob, match="flow-euler"):
        renderer("sd").render(make_batch(["a"], scheduler="flow-euler"))


def test_a_scheduler_that_the_pipeline_cannot_drive_is_named(renderer: Renderers) -> None:
    with pytest.raises(InvalidJob, match=r"FluxPipeline failed with the scheduler 'flow-heun'.*default"):
        renderer("flux").render(make_batch(["a"], scheduler="flow-heun"))


def test_a_scheduler_leaves_nothing_behind_for_the_next_batch(renderer: Renderers) -> None:
    engine, batch = renderer("sd"), make_batch(["a", "b"])
    before = engine.render(batch)
    assert engine._own_scheduler.num_inference_steps is None  # never run itself, only copied
    engine.render(make_batch(["a"], scheduler="dpmpp-2m-karras", steps=5))
    assert np.array_equal(engine.render(batch), before)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "flux"])
def test_a_negative_prompt_moves_its_own_picture_only(kind: str, renderer: Renderers) -> None:
    engine = renderer(kind)
    plain = engine.render(make_batch(["a", "b", "c"], size=4))
    mixed = engine.render(make_batch(["a", "b", "c"], size=4, negative_prompt=["", "two yellow squares", ""]))
    assert np.array_equal(plain[[0, 2]], mixed[[0, 2]])
    assert not np.array_equal(plain[1], mixed[1])


def test_an_sdxl_picture_without_negative_prompt_is_what_diffusers_draws(renderer: Renderers, folder: Folders) -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder("sdxl"))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        image = pipeline(
            "a star", width=32, height=32, num_inference_steps=2, guidance_scale=3.0, generator=generator
        ).images[0]
    ours = renderer("sdxl").render(make_batch(["a star"], seed=5))[0]
    assert np.array_equal(ours, np.asarray(image))


@pytest.mark.parametrize("kind", ["sd", "pixart"])
def test_a_cancelled_run_stops_between_two_steps(kind: str, folder: Folders) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    engine = DiffusersRenderer(folder(kind), hooks=Hooks(should_stop))
    with pytest.raises(RunCancelled):
        engine.render(make_batch(["a"], steps=50))
    assert len(asked) == 3


@pytest.mark.parametrize(
    "shortage",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        MemoryError("cannot allocate"),
    ],
)
def test_too_little_memory_is_told_apart_from_other_failures(
    shortage: Exception, folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DiffusersRenderer(folder("sd"))

    def fail(*_: object, **__: object) -> None:
        raise shortage

    monkeypatch.setattr(engine._pipeline, "encode_prompt", fail)
    with pytest.raises(OutOfMemory, match=r"batch b+ \(4 pictures of 32x32\)") as caught:
        engine.render(make_batch(["a"], size=4))
    assert caught.value.__context__ is None  # it would hold the tensors that were too many


def test_other_failures_pass_through_unchanged(folder: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DiffusersRenderer(folder("sd"))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(engine._pipeline, "encode_prompt", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        engine.render(make_batch(["a"]))


def test_an_overflow_is_an_error_and_not_a_black_picture(folder: Folders) -> None:
    engine = DiffusersRenderer(folder("sd"))
    with torch.no_grad():
        engine._pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(StageFailed, match=r"not-a-number in fp32.*bf16 or fp32"):
        engine.render(make_batch(["a"]))


def test_bf16_is_taken_when_asked_for(folder: Folders) -> None:
    engine = DiffusersRenderer(folder("sd"), RenderOptions(dtype="bf16"))
    assert engine.provenance()["dtype"] == "bf16"
    assert engine._pipeline.unet.dtype == torch.bfloat16
    assert engine.render(make_batch(["a"])).std() > 1


def test_provenance_names_all_that_decides_bits_besides_the_request_and_the_batch_size(folder: Folders) -> None:
    provenance = DiffusersRenderer(folder("sd"), RenderOptions(device="cpu")).provenance()
    assert set(provenance) >= {"engine", "diffusers", "transformers", "torch", "dtype", "device", "threads"}
    assert (provenance["torch"], provenance["threads"]) == (torch.__version__, torch.get_num_threads())
    assert str(provenance["device"]).startswith(f"cpu {torch.backends.cpu.get_cpu_capability()}")


def test_a_folder_with_only_a_variant_loads_as_its_facts_say(folder: Folders, tmp_path: Path) -> None:
    copied = shutil.copytree(folder("sd"), tmp_path / "sd")
    for name in ("unet", "vae"):
        plain = copied / name / "diffusion_pytorch_model.safetensors"
        plain.rename(plain.with_name("diffusion_pytorch_model.fp16.safetensors"))
    facts = read_model(Location(str(copied)))
    assert facts.variant == "fp16"
    engine = DiffusersRenderer(copied, RenderOptions(variant=facts.variant))
    assert engine.render(make_batch(["a"])).shape == (1, 32, 32, 3)


def test_weights_that_lack_a_tensor_are_not_made_up(folder: Folders, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copied = shutil.copytree(folder("sd"), tmp_path / "sd")
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors.pop("conv_out.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(InvalidModel, match="sd cannot be loaded"):
        DiffusersRenderer(copied)


def test_pickle_weights_are_not_loaded_even_when_nobody_read_the_folder_first(folder: Folders, tmp_path: Path) -> None:
    copied = shutil.copytree(folder("sd"), tmp_path / "sd")
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(b"pickle")
    with pytest.raises(InvalidModel, match="safetensors"):
        DiffusersRenderer(copied)


def test_an_unknown_adapter_is_named_with_the_known_ones(renderer: Renderers) -> None:
    with pytest.raises(InvalidJob, match=r"'ink' is not among the job's adapters \(none\)"):
        renderer("sd").render(make_batch(["a"], adapters="ink:0.8"))


def test_every_call_has_the_size_of_the_batch(folder: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, sizes = DiffusersRenderer(folder("sdxl")), list[int]()
    encode = engine._pipeline.encode_prompt

    def encode_prompt(prompt: list[str], *rest: Any, **named: Any) -> Any:
        sizes.append(len(prompt))
        return encode(prompt, *rest, **named)

    monkeypatch.setattr(engine._pipeline, "encode_prompt", encode_prompt)
    engine.render(make_batch(["a", "b", "c"], size=4, negative_prompt=["", "x", ""]))
    assert sizes == [4, 4]
