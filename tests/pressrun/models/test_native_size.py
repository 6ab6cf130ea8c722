"""Picture sizes from the settings of real models' components."""

from __future__ import annotations

from typing import Any

import pytest

from pressrun.models.native_size import latent_factor, native_size_px, size_multiple_px

VAE = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4}
FLUX_VAE = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 16}


@pytest.mark.parametrize(
    ("kind", "denoiser", "decoder", "native_px", "multiple_px"),
    [
        ("SDXL", {"sample_size": 128, "block_out_channels": [320]}, VAE, (1024, 1024), 8),
        ("carried", {"sample_size": 16, "block_out_channels": [32]}, {"block_out_channels": [8, 8, 8]}, (64, 64), 8),
        ("SD3", {"sample_size": 128, "patch_size": 2, "in_channels": 16}, FLUX_VAE, (1024, 1024), 16),
        ("Flux", {"patch_size": 1, "in_channels": 64}, FLUX_VAE, (1024, 1024), 16),
        ("PixArt", {"sample_size": 128, "patch_size": 2, "in_channels": 4}, VAE, (1024, 1024), 16),
        ("Sana", {"sample_size": 32, "patch_size": 1}, {"encoder_block_out_channels": [128] * 6}, (1024, 1024), 32),
        ("Qwen", {"patch_size": 2, "in_channels": 64}, {"temperal_downsample": [False, True, True]}, (1024, 1024), 16),
        ("Z-Image", {"all_patch_size": [2], "in_channels": 16}, FLUX_VAE, (1024, 1024), 16),
        ("wide", {"sample_size": [48, 64], "block_out_channels": [320]}, VAE, (512, 384), 8),
        ("pixels", {"sample_size": 64, "block_out_channels": [320]}, None, (64, 64), 8),
        ("unknown", None, None, (1024, 1024), 16),
    ],
)
def test_native_size_and_multiple_are_those_of_the_real_models(
    kind: str, denoiser: Any, decoder: Any, native_px: tuple[int, int], multiple_px: int
) -> None:
    assert native_size_px(denoiser, decoder) == native_px
    assert size_multiple_px(denoiser, decoder) == multiple_px
    assert all(side % multiple_px == 0 for side in native_px)


def test_a_decoder_that_does_not_tell_its_stages_counts_as_the_usual_eight() -> None:
    assert latent_factor({}) == 8
