"""Decoding beside the next batch's denoising: when a pipeline may, and how it tells that it has come so far.

Knows nothing of turns. Works at the one seam that pipelines share, the `decode` of their `vae`, behind which they only
make pictures of what it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from pressrun.engine_options import EngineOptions


def may_work_beside(pipeline: Any, options: EngineOptions) -> bool:
    """Whether one thread can decode, or encode texts, while another denoises with the same pipeline.

    Not where the end of a call touches what the next call uses: offloading moves weights about, a step cache is
    emptied, and a decoder that overflows in fp16 is cast to fp32 and back.
    """
    vae: Any = getattr(pipeline, "vae", None)
    if not callable(getattr(vae, "decode", None)) or options.offload != "none" or options.step_cache != "none":
        return False
    is_cast = getattr(vae.config, "force_upcast", False) and vae.dtype == torch.float16
    return not is_cast


def tell_before_decoding(pipeline: Any, tell: Callable[[], None]) -> None:
    """Have a pipeline call `tell` when it is about to decode; one batch is decoded at a time."""
    decode, one_at_a_time = pipeline.vae.decode, threading.Lock()

    def decode_beside(*arguments: Any, **named: Any) -> Any:
        tell()
        with one_at_a_time:
            return decode(*arguments, **named)

    pipeline.vae.decode = decode_beside
