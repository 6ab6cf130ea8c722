"""Adapters on real pipelines: no picture can tell what was drawn before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pressrun.errors import InvalidModel
from tests.adapters import as_kohya_writes, write_adapter
from tests.workers.tiny_models import make_batch, save_tiny
from workers.engines.diffusers_renderer import DiffusersRenderer, RenderOptions

pytestmark = pytest.mark.usefixtures("_one_thread")

ADAPTERS = {"ink": ("unet",), "weight": ("unet",), "words": ("text_encoder",)}  # a name that PEFT's tensors have, too


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("sd", tmp_path_factory.mktemp("tiny") / "sd")


@pytest.fixture(scope="module")
def files(model: Path) -> dict[str, Path]:
    return {
        name: write_adapter(model.parent / f"{name}.safetensors", model, components, seed)
        for seed, (name, components) in enumerate(ADAPTERS.items())
    }


def draw(engine: DiffusersRenderer, adapters: str) -> Any:
    return engine.render(make_batch(["a red star", "a ring"], adapters=adapters))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_picture_has_the_same_bits_whatever_adapters_were_in_effect_before(
    dtype: Any, model: Path, files: dict[str, Path]
) -> None:
    def fresh(*names: str) -> DiffusersRenderer:
        return DiffusersRenderer(model, RenderOptions(dtype=dtype, adapters={name: files[name] for name in names}))

    alone = {
        "": draw(fresh(), ""),
        "ink:0.8": draw(fresh("ink"), "ink:0.8"),
        "ink:0.8,weight:-0.5": draw(fresh("ink", "weight"), "ink:0.8,weight:-0.5"),
        "words:1.0": draw(fresh("words"), "words:1.0"),
        "ink:0.8,words:1.0": draw(fresh("ink", "words"), "ink:0.8,words:1.0"),
    }
    assert len({pixels.tobytes() for pixels in alone.values()}) == len(alone)
    engine = fresh(*files)
    for adapters in [*alone, *reversed(alone), *sorted(alone)]:
        assert np.array_equal(draw(engine, adapters), alone[adapters]), adapters


def test_texts_are_read_again_only_where_an_adapter_changes_how_they_are_read(
    model: Path, files: dict[str, Path]
) -> None:
    engine, read = DiffusersRenderer(model, RenderOptions(adapters=files)), list[str]()
    memo = engine._pipeline.encode_prompt
    encode = memo._encode

    def noted(*arguments: Any, **named: Any) -> Any:
        read.append(adapters)
        return encode(*arguments, **named)

    memo._encode = noted
    for adapters in ("", "ink:1.0", "words:1.0", "ink:0.5,words:1.0", "words:0.5", "", "words:1.0"):
        draw(engine, adapters)
    assert read == ["", "words:1.0", "words:0.5"]


@pytest.mark.parametrize(("name", "may"), [("ink", True), ("words", False)])
def test_texts_are_read_ahead_only_where_a_switch_would_not_change_them(
    name: str, may: bool, model: Path, files: dict[str, Path]
) -> None:
    engine = DiffusersRenderer(model, RenderOptions(adapters={name: files[name]}))
    draw(engine, "")
    with_it = make_batch(["two squares", "a heart"], adapters=f"{name}:1.0")
    before = dict(engine._pipeline.encode_prompt._rows)
    engine.read_ahead(with_it)
    assert (engine._pipeline.encode_prompt._rows.keys() != before.keys()) is may
    fresh = DiffusersRenderer(model, RenderOptions(adapters={name: files[name]}))
    assert np.array_equal(engine.render(with_it), fresh.render(with_it))


def test_an_adapter_in_kohyas_spelling_does_the_same_at_its_own_strength(model: Path, files: dict[str, Path]) -> None:
    adapters = {"ink": files["ink"], "kohya": as_kohya_writes(files["ink"])}
    engine = DiffusersRenderer(model, RenderOptions(adapters=adapters))
    assert np.array_equal(draw(engine, "ink:0.5"), draw(engine, "kohya:1.0"))


def test_an_adapter_that_only_loading_can_judge_is_refused_by_name(
    model: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(files["ink"])
    strange = {f"other.{name}": tensor for name, tensor in tensors.items()}
    large = {name: np.tile(tensor, (1, 2) if "A" in name else (2, 1)) for name, tensor in tensors.items()}
    for wrong, reason in ((strange, "changes no layer of this"), (large, "cannot be loaded into this")):
        save_file(wrong, tmp_path / "ink.safetensors")
        with pytest.raises(InvalidModel, match=f"adapter 'ink'.*{reason} StableDiffusionPipeline"):
            DiffusersRenderer(model, RenderOptions(adapters={"ink": tmp_path / "ink.safetensors"}))


def test_a_pipeline_that_takes_no_adapters_says_so(model: Path, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="PixArtSigmaPipeline takes no LoRA adapters; leave 'ink' out"):
        DiffusersRenderer(save_tiny("pixart", tmp_path / "pixart"), RenderOptions(adapters={"ink": files["ink"]}))
