"""One batch is decoded beside the next one's denoising, where neither touches the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from pressrun.batch import Batch
from pressrun.engine_options import EngineOptions
from tests.adapters import write_adapter
from tests.workers.tiny_models import Folders, make_batch
from workers.device_turn import DeviceTurn
from workers.engines.decoding import may_work_beside
from workers.engines.diffusers_renderer import DiffusersRenderer, Hooks, RenderOptions

# torch's own conversion to numpy inside diffusers' multistep schedulers.
pytestmark = [
    pytest.mark.usefixtures("_one_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def test_one_batch_is_decoded_while_the_next_is_denoised_and_the_pictures_are_the_same(folder: Folders) -> None:
    turn, denoised, inside, go_on = DeviceTurn(), Semaphore(0), Event(), Event()

    def tell() -> None:
        turn.end_early()
        denoised.release()

    adapters = {"ink": write_adapter(folder("sd").parent / "ink.safetensors", folder("sd"))}
    engine = DiffusersRenderer(folder("sd"), RenderOptions(adapters=adapters), Hooks(denoised=tell))
    other = {"guidance_scale": 1.0, "scheduler": "ddim", "adapters": "ink:1.0"}
    batches = [make_batch(["a", "b"], seed=[1, 2]), make_batch(["c"], size=2, **other)]
    apart = [engine.render(batch) for batch in batches]
    assert denoised.acquire()
    assert denoised.acquire()
    hold_decoding(engine, inside, go_on)

    def draw(batch: Batch) -> Any:
        with turn.taken("shared"):
            return engine.render(batch)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(draw, batches[0])
        assert inside.wait(60)
        assert denoised.acquire(timeout=60)
        second = threads.submit(draw, batches[1])
        assert denoised.acquire(timeout=60)  # the second as well, while the first is still being decoded
        assert not first.done()
        go_on.set()
        together = [first.result(), second.result()]
    assert all(np.array_equal(one, other) for one, other in zip(apart, together, strict=True))


def hold_decoding(engine: DiffusersRenderer, inside: Event, go_on: Event) -> None:
    decoder = engine._pipeline.vae.decoder
    forward = decoder.forward

    def held(*arguments: Any, **named: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return forward(*arguments, **named)

    decoder.forward = held


@pytest.mark.parametrize(
    ("options", "dtype", "may"),
    [
        (EngineOptions(), "fp32", True),
        (EngineOptions(vae_slicing=True), "bf16", True),
        (EngineOptions(offload="model"), "fp32", False),
        (EngineOptions(step_cache="first-block"), "fp32", False),
        (EngineOptions(), "fp16", False),  # its decoder is cast to fp32 for the time of decoding
    ],
)
def test_decoding_is_kept_apart_where_it_touches_what_denoising_uses(
    folder: Folders, options: EngineOptions, dtype: str, may: bool
) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folder("sdxl"), dtype=getattr(torch, DTYPES[dtype]))
    pipeline.vae.register_to_config(force_upcast=True)
    assert may_work_beside(pipeline, options) is may


DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
