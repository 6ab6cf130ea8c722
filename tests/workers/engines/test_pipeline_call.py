"""How a batch is said to pipelines that differ in what they take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import diffusers
import pytest

from pressrun.errors import InvalidJob, InvalidModel
from tests.workers.tiny_models import make_batch
from workers.engines.pipeline_call import call_arguments, check_text_to_image


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("WanPipeline", "num_frames"),
        ("StableCascadeDecoderPipeline", "image_embeddings"),
        ("DDPMPipeline", "it takes no prompt"),
    ],
)
def test_a_pipeline_for_another_task_is_refused_by_what_it_takes(name: str, reason: str) -> None:
    pipeline = object.__new__(getattr(diffusers, name))
    with pytest.raises(InvalidModel, match=f"{name} does not make pictures from text alone .*{reason}"):
        check_text_to_image(pipeline)


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionPipeline",
        "StableDiffusion3Pipeline",
        "FluxPipeline",
        "QwenImagePipeline",
        "SanaPipeline",
        "ZImagePipeline",
        "KandinskyV22CombinedPipeline",
    ],
)
def test_text_to_image_pipelines_of_many_kinds_pass(name: str) -> None:
    check_text_to_image(object.__new__(getattr(diffusers, name)))


def test_a_pipeline_without_negative_prompts_says_so() -> None:
    class Plain:
        config: Mapping[str, Any] = MappingProxyType({})

        def __call__(self, prompt: object = None, guidance_scale: float = 1.0) -> None: ...

    batch = make_batch(["a", "b"], negative_prompt=["", "blurry"])
    with pytest.raises(InvalidJob, match=r"takes no negative prompt.*'blurry'.*leave negative_prompt empty"):
        call_arguments(Plain(), batch, [0, 1], lambda: False)


def test_pipelines_that_guide_by_true_cfg_get_the_scale_there() -> None:
    class Qwen:
        config: Mapping[str, Any] = MappingProxyType({})

        def __call__(
            self,
            prompt: object = None,
            negative_prompt: object = None,
            true_cfg_scale: float = 4.0,
            guidance_scale: float = 1,
        ) -> None: ...

    arguments = call_arguments(Qwen(), make_batch(["a"], guidance_scale=6.5), [0], lambda: False)
    assert arguments == {"prompt": ["a"], "negative_prompt": [""], "true_cfg_scale": 6.5}
