"""Options put into effect on a real pipeline."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from pressrun.engine_options import EngineOptions, Quantization
from pressrun.errors import InvalidJob
from pressrun.picture_distance import psnr_db, ssim
from tests.workers.tiny_models import make_batch
from workers.engines import tuning
from workers.engines.diffusers_renderer import DiffusersRenderer, RenderOptions

MODEL = Path(__file__).parents[3] / "models" / "shapes"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torchao's own, about torch's next versions
@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_quantized_weights_are_smaller_and_draw_nearly_the_same_pictures(quantization: Quantization) -> None:
    pytest.importorskip("torchao", reason="the extra 'quantization' is not installed")
    batch = make_batch(["a red circle", "a blue star"], steps=4)
    plain = DiffusersRenderer(MODEL)
    quantized = DiffusersRenderer(MODEL, RenderOptions(tuning=EngineOptions(quantization=quantization)))
    pictures, others = plain.render(batch), quantized.render(batch)
    assert not np.array_equal(pictures, others)
    assert psnr_db(pictures, others) > 30
    assert ssim(pictures, others) > 0.9
    assert np.array_equal(others, quantized.render(batch))
    then = quantized.provenance()
    assert (then["options"], "torchao" in then) == (f"quantization {quantization}", True)
    assert "torchao" not in plain.provenance()


def test_a_torchao_that_does_not_fit_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.ModuleType("torchao")
    old.__spec__ = importlib.machinery.ModuleSpec("torchao", None)
    monkeypatch.setitem(sys.modules, "torchao", old)
    monkeypatch.setitem(sys.modules, "torchao.quantization", types.ModuleType("torchao.quantization"))
    monkeypatch.setattr(tuning, "version", lambda name: "0.1")
    pipeline = types.SimpleNamespace(unet=torch.nn.Linear(2, 2), to=lambda device: None)
    with pytest.raises(InvalidJob, match=r"'int8' cannot be used with torchao 0\.1 and torch .*extra 'quantization'"):
        tuning.tune(pipeline, EngineOptions(quantization="int8"), torch.device("cpu"))
