"""How a batch is said to a diffusers pipeline: each takes other arguments and means other things by them.

Knows nothing of loading, devices or schedulers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch

from pressrun.batch import Batch
from pressrun.errors import InvalidJob, InvalidModel, RunCancelled

# Arguments that only pipelines for moving pictures or sound have.
_OTHER_OUTPUTS = ("num_frames", "audio_length_in_s", "audio_end_in_s", "video_length")
# Left on, these change the prompt or the size that was asked for.
_AS_ASKED = {"clean_caption": False, "use_resolution_binning": False}


def check_text_to_image(pipeline: Any) -> None:
    """Refuse a pipeline that cannot make a picture from a prompt alone.

    Raises
    ------
    InvalidModel
        If its call wants more than a prompt, or makes something else.
    """
    accepted = _accepted(pipeline)
    required = [p.name for p in accepted.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    more = [name for name in required if name != "prompt"] + [name for name in _OTHER_OUTPUTS if name in accepted]
    if "prompt" not in accepted or more:
        reason = ", ".join(more) or "it takes no prompt"
        raise InvalidModel(
            f"{type(pipeline).__name__} does not make pictures from text alone ({reason}); use the "
            "text-to-image pipeline of the same weights."
        )


def call_groups(pipeline: Any, batch: Batch) -> list[list[int]]:
    """Return which pictures of a batch can share one call, as row numbers.

    Some pipelines do another computation when there is no negative prompt at all. Pictures with and without one are
    kept apart there, so that no picture depends on its companions.
    """
    rows = list(range(len(batch)))
    if not _minds_negatives(pipeline):
        return [rows]
    negatives = batch.column("negative_prompt")
    groups = ([row for row in rows if negatives[row]], [row for row in rows if not negatives[row]])
    return [group for group in groups if group]


def call_arguments(pipeline: Any, batch: Batch, rows: Sequence[int], should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Return the keyword arguments of one pipeline call.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        The pipeline to be called.
    batch : Batch
        Its requests.
    rows : sequence of int
        The pictures to make, by row; a row may come several times.
    should_stop : callable
        Asked after every denoising step; True ends the call with `RunCancelled`.

    Returns
    -------
    dict
        Only arguments that the pipeline takes. One CPU generator a picture: neither place nor device decides its noise.

    Raises
    ------
    InvalidJob
        If a negative prompt is given to a pipeline that takes none.
    """
    accepted = _accepted(pipeline)
    seeds = cast(list[int], batch.column("seed"))
    wanted = {
        "prompt": _pick(batch, "prompt", rows),
        "width": batch.shared("width_px"),
        "height": batch.shared("height_px"),
        "num_inference_steps": batch.shared("steps"),
        "generator": [torch.Generator("cpu").manual_seed(seeds[row]) for row in rows],
        "output_type": "np",
        **_AS_ASKED,
        **_guidance(pipeline, batch, rows),
        **_stop_hook(accepted, should_stop),
    }
    return {name: value for name, value in wanted.items() if name in accepted}


def _guidance(pipeline: Any, batch: Batch, rows: Sequence[int]) -> dict[str, Any]:
    accepted, scale = _accepted(pipeline), batch.shared("guidance_scale")
    negatives = _pick(batch, "negative_prompt", rows)
    if any(negatives) and "negative_prompt" not in accepted:
        raise InvalidJob(
            f"{type(pipeline).__name__} takes no negative prompt, but batch {batch.batch_id} has "
            f"{next(filter(None, negatives))!r}; leave negative_prompt empty for this model."
        )
    if "true_cfg_scale" in accepted and _guides_by_default(accepted):
        return {"true_cfg_scale": scale, "negative_prompt": negatives}
    if not any(negatives) and _minds_negatives(pipeline):
        return {"guidance_scale": scale}
    if "true_cfg_scale" in accepted:
        # The distilled guidance is turned off, or the picture would be guided twice.
        return {"guidance_scale": 1.0, "true_cfg_scale": scale, "negative_prompt": negatives}
    return {"guidance_scale": scale, "negative_prompt": negatives}


def _minds_negatives(pipeline: Any) -> bool:
    accepted = _accepted(pipeline)
    if "true_cfg_scale" in accepted:
        return not _guides_by_default(accepted)
    return bool(pipeline.config.get("force_zeros_for_empty_prompt"))


def _guides_by_default(accepted: Mapping[str, inspect.Parameter]) -> bool:
    default = accepted["true_cfg_scale"].default
    return isinstance(default, int | float) and default > 1


def _stop_hook(accepted: Mapping[str, inspect.Parameter], should_stop: Callable[[], bool]) -> dict[str, Any]:
    def check() -> None:
        if should_stop():
            raise RunCancelled("The run was cancelled while a batch was being rendered; rerun it to go on.")

    def on_step_end(pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        check()
        return values

    def older_hook(step: int, timestep: Any, latents: Any) -> None:
        check()

    if "callback_on_step_end" in accepted:
        return {"callback_on_step_end": on_step_end}
    return {"callback": older_hook, "callback_steps": 1}


def _pick(batch: Batch, name: str, rows: Sequence[int]) -> list[Any]:
    values = batch.column(name)
    return [values[row] for row in rows]


def _accepted(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(pipeline.__call__).parameters


__all__ = ["call_arguments", "call_groups", "check_text_to_image"]
