"""How a pipeline is loaded, and what its renderer asks and tells meanwhile.

Knows nothing of diffusers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pressrun.engine_options import EngineOptions
from workers.weights.component_files import Await, already_here
from workers.weights.host_pool import HostPool


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a pipeline is loaded.

    Parameters
    ----------
    dtype : str
        "fp32", "bf16", "fp16", or "auto": fp32 on a CPU, else bf16 where the device has it, else fp16.
    device : str
        A torch device, or "auto".
    variant : str or None
        Weight variant, from `pressrun.models.diffusers_folder.ModelFacts`.
    adapters : mapping
        LoRA adapters by name, each a safetensors file.
    tuning : EngineOptions
        What else is traded.
    pool : HostPool or None
        Where the host's processes share weights; without it the page cache does.
    """

    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    variant: str | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    tuning: EngineOptions = field(default_factory=EngineOptions)
    pool: HostPool | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a renderer asks and tells meanwhile.

    Parameters
    ----------
    should_stop : callable
        Asked after every denoising step; True ends the batch with `RunCancelled`.
    denoised : callable
        Told when only decoding is left of a batch, where another may then begin in another thread.
    await_file : Await
        Asked for each file, and at last for the folder, so that loading begins while files are still arriving.
    """

    should_stop: Callable[[], bool] = lambda: False
    denoised: Callable[[], None] = lambda: None
    await_file: Await = already_here


__all__ = ["Hooks", "RenderOptions"]
