"""The diffusers engine: any text-to-image pipeline folder as a renderer.

Knows nothing of where the folder came from, of publishing, or of Dask.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import diffusers
import numpy as np
import numpy.typing as npt
import torch
import transformers
from diffusers import DiffusionPipeline

from pressrun.batch import Batch
from pressrun.errors import InvalidJob, InvalidModel, StageFailed
from workers.engines.adapters import LoadedAdapters
from workers.engines.decoding import may_work_beside, tell_before_decoding
from workers.engines.diffusers_schedulers import fresh_scheduler
from workers.engines.pipeline_call import call_arguments, call_groups, check_text_to_image
from workers.engines.render_options import Hooks, RenderOptions
from workers.engines.renderer import OutOfMemory, Pixels
from workers.engines.text_memo import TextMemo, share_texts
from workers.engines.tuning import forget_steps, tune, versions
from workers.weights.components import LoadOptions, load_components

Result = TypeVar("Result")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SHORTAGE_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


class DiffusersRenderer:
    """Renders batches with a pipeline folder; see `workers.engines.renderer.Renderer`.

    Parameters
    ----------
    folder : Path
        Local folder in the diffusers layout.
    options : RenderOptions
        How to load it.
    hooks : Hooks or None
        What it asks and tells meanwhile.

    Raises
    ------
    InvalidModel
        If the folder cannot be loaded, or makes something else than pictures from text.
    OutOfMemory
        If the device cannot hold it.
    """

    def __init__(self, folder: Path, options: RenderOptions | None = None, hooks: Hooks | None = None) -> None:
        options = options or RenderOptions()
        self._device = _device(options.device)
        self._dtype_name = _dtype_name(options.dtype, self._device)
        self._hooks = hooks or Hooks()
        self._is_last_call = True
        self._tuning = options.tuning
        _quieten()
        self._pipeline = _with_memory_check(partial(self._load, folder, options), f"loading {folder.name}")
        self._own_scheduler = self._pipeline.scheduler

    def render(self, batch: Batch) -> Pixels:
        """Return the batch's pictures, in order; each call computes `batch.size` of them.

        Parameters
        ----------
        batch : Batch
            1 .. `batch.size` requests of one bucket.

        Returns
        -------
        numpy.ndarray
            (len(batch), height_px, width_px, 3) uint8. A picture does not depend on its companions or its place.

        Raises
        ------
        OutOfMemory
            If the device cannot hold `batch.size` pictures.
        InvalidJob
            If the model cannot do what the requests ask for.
        RunCancelled
            If `Hooks.should_stop` said so.
        StageFailed
            If the model gives no picture: numbers overflowed, or the size differs.
        """
        self._adapters.use(self._pipeline, cast(str, batch.shared("adapters")))
        self._pipeline.scheduler = fresh_scheduler(self._own_scheduler, cast(str, batch.shared("scheduler")))
        what = (
            f"batch {batch.batch_id} ({batch.size} pictures of {batch.shared('width_px')}x{batch.shared('height_px')})"
        )
        pictures = np.empty(_shape(batch), np.uint8)  # (B, H, W, 3)
        calls = call_groups(self._pipeline, batch)
        for rows in calls:
            self._is_last_call = rows is calls[-1]
            pictures[rows] = _with_memory_check(partial(self._render_rows, batch, rows), what)
        return pictures

    def read_ahead(self, batch: Batch) -> None:
        """Encode the batch's texts, where that touches nothing that another batch is being drawn with."""
        memo = self._pipeline.encode_prompt if self._may_work_beside and self._adapters.leave_texts_alone else None
        if isinstance(memo, TextMemo):
            for rows in call_groups(self._pipeline, batch):
                padded = _padded(batch, rows)
                names = ("prompt", "negative_prompt")
                with torch.inference_mode():
                    memo.read_ahead({name: [batch.column(name)[row] for row in padded] for name in names})

    def provenance(self) -> dict[str, str | int]:
        """Return what a picture's bits depend on besides its request."""
        return {
            "engine": "diffusers",
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "torch": str(torch.__version__),  # a class of its own, which not every reader can unpickle
            "dtype": self._dtype_name,
            "device": _device_name(self._device),
            "threads": torch.get_num_threads(),
            **({"options": self._tuning.label, **versions(self._tuning)} if self._tuning.chosen else {}),
        }

    def close(self) -> None:
        """Free the device memory; the renderer is not used afterwards."""
        self._pipeline = self._own_scheduler = None
        _free_memory()

    def _load(self, folder: Path, options: RenderOptions) -> Any:
        try:
            models = load_components(folder, self._load_options(options))
            pipeline = DiffusionPipeline.from_pretrained(
                self._hooks.await_file(folder),
                dtype=_DTYPES[self._dtype_name],
                variant=options.variant,
                use_safetensors=True,
                local_files_only=True,
                **models,
            )
            self._adapters = LoadedAdapters(pipeline, options.adapters)
            tune(pipeline, options.tuning, self._device)
        except (InvalidJob, InvalidModel):
            raise
        except Exception as error:
            if _is_shortage(error):
                raise
            raise InvalidModel(f"The model {folder.name} cannot be loaded: {type(error).__name__}: {error}") from error
        check_text_to_image(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        share_texts(pipeline)
        self._may_work_beside = may_work_beside(pipeline, options.tuning)
        if self._may_work_beside:
            tell_before_decoding(pipeline, self._tell_denoised)
        return pipeline

    def _load_options(self, options: RenderOptions) -> LoadOptions:
        # What is offloaded is brought to the device piece by piece, and other devices than GPUs by the pipeline itself.
        straight = self._device.type == "cuda" and options.tuning.offload == "none"
        device = self._device if straight else torch.device("cpu")
        return LoadOptions(_DTYPES[self._dtype_name], options.variant, device, self._hooks.await_file, options.pool)

    def _tell_denoised(self) -> None:
        if self._is_last_call:
            self._hooks.denoised()

    def _render_rows(self, batch: Batch, rows: Sequence[int]) -> Pixels:
        arguments = call_arguments(self._pipeline, batch, _padded(batch, rows), self._hooks.should_stop)
        images = self._call(arguments, cast(str, batch.shared("scheduler")))[: len(rows)]  # (B, H, W, 3) float, 0..1
        wanted = (len(rows), *_shape(batch)[1:])
        if images.shape != wanted:
            raise StageFailed(
                f"The model gave pictures of shape {images.shape}, but {wanted} was asked for; change the size."
            )
        if not np.isfinite(images).all():
            raise StageFailed(
                f"Batch {batch.batch_id} came out as not-a-number in {self._dtype_name}, most likely an overflow; "
                "render with dtype bf16 or fp32."
            )
        return (images * 255).round().astype(np.uint8)

    def _call(self, arguments: dict[str, Any], scheduler: str) -> npt.NDArray[np.floating[Any]]:
        try:
            forget_steps(self._pipeline)
            with torch.inference_mode():
                return np.asarray(self._pipeline(**arguments).images)
        except (AssertionError, TypeError, ValueError) as error:
            if scheduler == "default":
                raise
            # Pipelines hand schedulers arguments that not every scheduler takes.
            raise InvalidJob(
                f"{type(self._pipeline).__name__} failed with the scheduler {scheduler!r}: {error} If 'default' works, "
                "use that."
            ) from error


def _padded(batch: Batch, rows: Sequence[int]) -> list[int]:
    """Return the rows filled up to the batch size."""
    return [*rows, *[rows[-1]] * (batch.size - len(rows))]


def _shape(batch: Batch) -> tuple[int, int, int, int]:
    return len(batch), cast(int, batch.shared("height_px")), cast(int, batch.shared("width_px")), 3


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype_name(name: str, device: torch.device) -> str:
    if name != "auto":
        return name
    if device.type == "cpu":
        return "fp32"
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp16"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    # The instructions decide the lowest bits, and the speed; torch's one word for them leaves out those for bf16.
    has = torch.cpu.get_capabilities()
    extensions = [name for name, key in (("BF16", "avx512_bf16"), ("AMX", "amx_bf16")) if has.get(key)]
    return " ".join(["cpu", torch.backends.cpu.get_cpu_capability(), *extensions])


def _quieten() -> None:
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _with_memory_check(call: Callable[[], Result], what: str) -> Result:
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if not _is_shortage(error):
            raise
        shortage = str(error).partition("\n")[0]
    # Outside the handler: the error's traceback would keep the tensors alive that were too many.
    _free_memory()
    raise OutOfMemory(f"The device has too little memory for {what}: {shortage}")


def _is_shortage(error: Exception) -> bool:
    # On a CPU torch has no error class of its own for it.
    return isinstance(error, MemoryError) or any(word in str(error) for word in _SHORTAGE_WORDS)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


__all__ = ["DiffusersRenderer", "Hooks", "RenderOptions"]
