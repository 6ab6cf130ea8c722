"""The diffusers scheduler behind each name that a request may carry.

Knows nothing of pipelines; it turns one scheduler into another with the same noise schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers

from pressrun.errors import InvalidJob
from pressrun.models.schedulers import check_scheduler

_DPM: Mapping[str, object] = {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False}
_CLASSES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", _DPM),
    "dpmpp-2m-karras": ("DPMSolverMultistepScheduler", {**_DPM, "use_karras_sigmas": True}),
    # The multistep form draws its noise from each picture's own generator; the Brownian-tree form does not.
    "dpmpp-sde": ("DPMSolverMultistepScheduler", {**_DPM, "algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "flow-euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "flow-heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def fresh_scheduler(own: Any, name: str) -> Any:
    """Make a scheduler with no state left from another batch.

    Parameters
    ----------
    own : diffusers.SchedulerMixin
        The model's own scheduler; only its settings are read.
    name : str
        One of `pressrun.request.SCHEDULERS`; "default" makes one like `own`.

    Returns
    -------
    diffusers.SchedulerMixin
        Trained steps, noise schedule and prediction type are those of `own`.

    Raises
    ------
    InvalidJob
        If the scheduler does not suit the model or needs a package that is not installed.
    """
    flow = is_flow_matching(own.config)
    check_scheduler(name, flow)
    if name == "default":
        return type(own).from_config(own.config)
    class_name, settings = _CLASSES[name]
    inherited = _flow_settings(own.config) if flow else _missing_settings(own.config)
    try:
        return getattr(diffusers, class_name).from_config(own.config, **{**inherited, **settings})
    except ImportError:
        raise InvalidJob(
            f"The scheduler {name!r} needs a package that is not installed (scipy); install it or use another "
            "scheduler."
        ) from None


def is_flow_matching(config: Mapping[str, Any]) -> bool:
    """Return whether a scheduler's settings are those of a flow-matching model."""
    return (
        str(config.get("_class_name", "")).startswith("FlowMatch")
        or config.get("prediction_type") == "flow_prediction"
        or config.get("use_flow_sigmas") is True
    )


def _missing_settings(config: Mapping[str, Any]) -> Mapping[str, object]:
    # Where the model's own settings are silent, these classes' defaults suit models that work on pixels.
    return {"clip_sample": config.get("clip_sample", False), "skip_prk_steps": config.get("skip_prk_steps", True)}


def _flow_settings(config: Mapping[str, Any]) -> Mapping[str, object]:
    shift = config.get("shift", config.get("flow_shift", 1.0))
    return {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift, "shift": shift}


__all__ = ["fresh_scheduler", "is_flow_matching"]
