"""Engine options put into effect on a diffusers pipeline.

Knows nothing of loading, nor of what the options cost or save. What a pipeline cannot do is refused by name.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import version
from typing import Any

import diffusers
import torch

from pressrun.engine_options import EngineOptions
from pressrun.errors import InvalidJob

_PACKAGES = {"flash": "flash_attn", "sage": "sageattention", "xformers": "xformers"}
_STEP_CACHES = {
    "first-block": "FirstBlockCacheConfig",
    "faster": "FasterCacheConfig",
    "attention-broadcast": "PyramidAttentionBroadcastConfig",
    "taylorseer": "TaylorSeerCacheConfig",
}
_QUANTIZERS = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}


def tune(pipeline: Any, options: EngineOptions, device: torch.device) -> None:
    """Apply the options to a loaded pipeline and bring it to its device.

    Raises
    ------
    InvalidJob
        When the pipeline, the device or an absent package rules an option out.
    """
    denoiser = denoiser_of(pipeline)
    if options.attention != "default":
        _use_attention(denoiser, options.attention, device)
    if options.vae_tiling or options.vae_slicing:
        _cut_decoding(pipeline, options)
    if options.step_cache != "none":
        _cache_steps(pipeline, denoiser, options.step_cache)
    _place(pipeline, options, device)
    if options.channels_last:
        for module in (denoiser, getattr(pipeline, "vae", None)):
            if module is not None:
                module.to(memory_format=torch.channels_last)
    if options.quantization != "none":
        _quantize(denoiser, options.quantization)
    if options.compile:
        _compile(denoiser)


def denoiser_of(pipeline: Any) -> Any:
    """Return the pipeline's UNet or transformer."""
    for name in ("unet", "transformer", "prior"):
        module = getattr(pipeline, name, None)
        if isinstance(module, torch.nn.Module):
            return module
    raise InvalidJob(f"{type(pipeline).__name__} has no denoiser that engine options could act on; leave them out.")


def versions(options: EngineOptions) -> dict[str, str]:
    """Return the versions of packages that only these options use, and that bits depend on."""
    return {"torchao": version("torchao")} if options.quantization != "none" else {}


def forget_steps(pipeline: Any) -> None:
    """Drop what a step cache holds of an earlier call; after one that failed it would be mixed into the next."""
    for name in ("unet", "transformer", "prior"):
        reset = getattr(getattr(pipeline, name, None), "_reset_stateful_cache", None)
        if callable(reset):
            reset()


def _place(pipeline: Any, options: EngineOptions, device: torch.device) -> None:
    if options.offload == "none":
        pipeline.to(device)  # weights that the files lack come to light here
        return
    if device.type == "cpu":
        raise InvalidJob(f"The offload {options.offload!r} moves weights between a GPU and the host; this is a CPU.")
    if options.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def _use_attention(denoiser: Any, name: str, device: torch.device) -> None:
    package = _PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InvalidJob(f"The attention {name!r} needs the package {package}, which is not installed on this worker.")
    if package is not None and device.type != "cuda":
        raise InvalidJob(f"The attention {name!r} needs a CUDA device, this worker has {device.type}; use 'native'.")
    if not hasattr(denoiser, "set_attention_backend"):
        raise InvalidJob(f"{type(denoiser).__name__} has one kind of attention only; leave the attention out.")
    try:
        denoiser.set_attention_backend(name)
    except (ValueError, RuntimeError, ImportError) as error:
        raise InvalidJob(f"The attention {name!r} cannot be used on this worker: {error}") from error


def _cut_decoding(pipeline: Any, options: EngineOptions) -> None:
    vae = getattr(pipeline, "vae", None)
    for wanted, name in ((options.vae_tiling, "enable_tiling"), (options.vae_slicing, "enable_slicing")):
        if not wanted:
            continue
        if not hasattr(vae, name):
            raise InvalidJob(f"{type(vae).__name__} has no {name.removeprefix('enable_')}; leave it out.")
        getattr(vae, name)()


def _cache_steps(pipeline: Any, denoiser: Any, name: str) -> None:
    config = getattr(diffusers, _STEP_CACHES[name])
    if not hasattr(denoiser, "enable_cache"):
        raise InvalidJob(
            f"The step cache {name!r} works on transformers; {type(denoiser).__name__} has none. Leave it out, or use "
            "fewer steps."
        )
    timestep = {"current_timestep_callback": lambda: pipeline.current_timestep}
    takes_timestep = "current_timestep_callback" in getattr(config, "__dataclass_fields__", {})
    denoiser.enable_cache(config(**timestep) if takes_timestep else config())


def _quantize(denoiser: Any, name: str) -> None:
    if importlib.util.find_spec("torchao") is None:
        raise InvalidJob(
            f"The quantization {name!r} needs the package torchao, which is not installed on this worker; install "
            "Pressrun's extra 'quantization'."
        )
    try:
        quantization = importlib.import_module("torchao.quantization")
        quantize, config = quantization.quantize_, getattr(quantization, _QUANTIZERS[name])
    except (ImportError, AttributeError) as error:
        raise InvalidJob(
            f"The quantization {name!r} cannot be used with torchao {version('torchao')} and torch {torch.__version__} "
            f"on this worker ({error}); install Pressrun's extra 'quantization'."
        ) from error
    quantize(denoiser, config())


def _compile(denoiser: Any) -> None:
    if not getattr(denoiser, "_repeated_blocks", None):
        raise InvalidJob(f"{type(denoiser).__name__} names no repeated blocks to compile; leave compile out.")
    denoiser.compile_repeated_blocks(dynamic=False)
