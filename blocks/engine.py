"""The block for how the diffusers engine trades memory, time and lowest bits.

Knows nothing of how the options work. Options that change pixels come with a budget for how far.
"""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field

from pressrun.engine_options import Attention, EngineOptions, Offload, QualityBudget, Quantization, StepCache


class DiffusersEngine(Block):
    """How pictures are drawn by diffusers, and how far they may be from the plain engine's."""

    _block_type_name = "Pressrun Diffusers Engine"
    _block_type_slug = "pressrun-diffusers-engine"
    _description = (
        "Options of the diffusers engine. They are tried on a few pictures of the job before it starts; pictures that "
        "differ more from the plain engine's than the budget allows are refused."
    )

    channels_last: bool = Field(
        False, title="Channels last", description="Memory layout that suits some GPUs' convolutions."
    )
    compile: bool = Field(
        False, title="Compile", description="torch.compile of the denoiser's repeated blocks; pays in long runs."
    )
    attention: Attention = Field(
        "default", title="Attention", description="Attention kernels; all but default and native need a GPU."
    )
    vae_tiling: bool = Field(False, title="VAE tiling", description="Decode in tiles: less memory for large pictures.")
    vae_slicing: bool = Field(
        False, title="VAE slicing", description="Decode one picture at a time: less memory for large batches."
    )
    offload: Offload = Field(
        "none", title="CPU offload", description="Keep idle weights in host memory: whole models, or layer by layer."
    )
    quantization: Quantization = Field(
        "none", title="Quantization", description="Denoiser weights in 8 bits; needs the package torchao."
    )
    step_cache: StepCache = Field(
        "none",
        title="Step cache",
        description="Skip work between steps that differ little; transformers only. With first-block, a picture "
        "depends on its companions.",
    )
    least_psnr_db: float = Field(
        30.0, ge=0, le=100, title="Least PSNR (dB)", description="Mean over the sample; 30 is hard to see."
    )
    least_similarity: float = Field(
        0.95, ge=-1, le=1, title="Least similarity", description="Mean cosine of both pictures' embeddings."
    )
    least_ssim: float = Field(
        0.9, ge=-1, le=1, title="Least SSIM", description="Structural similarity of the picture that differs most."
    )
    falls_back: bool = Field(
        False,
        title="Fall back",
        description="Over the budget, draw with the plain engine; otherwise the run is refused.",
    )

    def options(self) -> EngineOptions:
        """Return the options as plain values."""
        return EngineOptions(
            channels_last=self.channels_last,
            compile=self.compile,
            attention=self.attention,
            vae_tiling=self.vae_tiling,
            vae_slicing=self.vae_slicing,
            offload=self.offload,
            quantization=self.quantization,
            step_cache=self.step_cache,
        )

    def quality(self) -> QualityBudget:
        """Return the budget as plain values."""
        return QualityBudget(self.least_psnr_db, self.least_similarity, self.least_ssim, self.falls_back)

    def check(self) -> str:
        """Return the options in one line."""
        return self.options().label or "the plain engine"
