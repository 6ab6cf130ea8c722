"""How an engine may trade memory, time and lowest bits, as plain values.

Knows nothing of how an engine does it (`workers.engines.tuning`) nor of whether pictures suffer
(`workers.quality_gate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Literal

Attention = Literal["default", "native", "flash", "sage", "xformers", "flex"]
Offload = Literal["none", "model", "sequential"]
Quantization = Literal["none", "int8", "fp8"]
StepCache = Literal["none", "first-block", "faster", "attention-broadcast", "taylorseer"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of the diffusers engine; the defaults are the plain engine.

    Parameters
    ----------
    channels_last : bool
        Memory layout that suits some GPUs' convolutions.
    compile : bool
        `torch.compile` of the denoiser's repeated blocks.
    attention : str
        Attention kernels; all but "default" and "native" need a package or a GPU.
    vae_tiling : bool
        Decode in tiles: less memory for large pictures.
    vae_slicing : bool
        Decode one picture at a time: less memory for large batches.
    offload : str
        Keep idle weights in host memory: whole models, or layer by layer.
    quantization : str
        Weights of the denoiser in fewer bits, by torchao.
    step_cache : str
        Skip work between steps that differ little; denoisers that are transformers only.
    """

    channels_last: bool = False
    compile: bool = False
    attention: Attention = "default"
    vae_tiling: bool = False
    vae_slicing: bool = False
    offload: Offload = "none"
    quantization: Quantization = "none"
    step_cache: StepCache = "none"

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the options that differ from the plain engine."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    @property
    def label(self) -> str:
        """What was chosen, in one line; "" for the plain engine."""
        return ", ".join(_say(name, getattr(self, name)) for name in self.chosen)

    @classmethod
    def from_label(cls, label: str) -> EngineOptions:
        """Return the options that have this label; what no option says is passed over."""
        found: dict[str, Any] = {}
        for field, said in product(fields(cls), label.replace(" ", "_").split(",_")):
            if said == field.name:
                found[field.name] = True
            elif said.startswith(f"{field.name}_"):
                found[field.name] = said.removeprefix(f"{field.name}_")
        return cls(**found)

    def only(self, name: str) -> EngineOptions:
        """Return the plain engine with one of these options."""
        return replace(EngineOptions(), **{name: getattr(self, name)})


@dataclass(frozen=True, slots=True)
class QualityBudget:
    """How far pictures may be from the plain engine's.

    Parameters
    ----------
    least_psnr_db : float
        Mean peak signal-to-noise ratio over the sample, decibels; 30 is hard to see, equal pictures have infinity.
    least_similarity : float
        Mean cosine between the embeddings of both pictures, 0 .. 1; only where the job has an embedder.
    least_ssim : float
        Structural similarity of the sample picture that differs most, -1 .. 1; equal pictures have 1.
    falls_back : bool
        Whether a run over its budget goes on with the plain engine; otherwise it is refused.
    """

    least_psnr_db: float = 30.0
    least_similarity: float = 0.95
    least_ssim: float = 0.9
    falls_back: bool = False


@dataclass(frozen=True, slots=True)
class OptionTrial:
    """What options did to a sample, measured beside the plain engine.

    Parameters
    ----------
    name : str
        The options in one line.
    speedup : float
        Times the plain engine's speed.
    psnr_db : float
        Peak signal-to-noise ratio against its pictures, decibels; infinity for equal ones.
    ssim : float
        Structural similarity of the picture that differs most from its; 1 for equal ones.
    similarity : float or None
        Mean cosine between the embeddings of both; None without an embedder.
    """

    name: str
    speedup: float
    psnr_db: float
    ssim: float
    similarity: float | None = None

    @property
    def effect(self) -> str:
        """The measurements in one line."""
        alike = "" if self.similarity is None else f", similarity {self.similarity:.3f}"
        pixels = "the same pixels" if math.isinf(self.psnr_db) else f"PSNR {self.psnr_db:.1f} dB, SSIM {self.ssim:.3f}"
        return f"{self.speedup:.2f} times the plain engine's speed, {pixels}{alike}"


def drawing(dtype: str, options: EngineOptions) -> str:
    """Return number format and options in one line: what decides how fast pictures are drawn."""
    return f"{dtype}, {options.label}" if options.chosen else dtype


def _say(name: str, value: object) -> str:
    return name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
