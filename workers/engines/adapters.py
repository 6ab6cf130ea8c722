"""LoRA adapters on a diffusers pipeline: loaded once, switched between batches.

Knows nothing of where their files came from, nor of batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pressrun.adapter_use import adapter_scales
from pressrun.errors import InvalidJob, InvalidModel
from workers.engines.text_memo import TextMemo

_DENOISERS = ("unet", "transformer", "transformer_2")


class LoadedAdapters:
    """The adapters of one pipeline, and which of them are in effect.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        Takes the adapters; not yet compiled or offloaded, since both go by the layers that there are.
    files : mapping
        A safetensors file for each name.

    Raises
    ------
    InvalidModel
        If the pipeline takes no adapters, cannot load one, or has no layer that it changes.
    """

    def __init__(self, pipeline: Any, files: Mapping[str, Path]) -> None:
        # PEFT makes these part of its tensors' names, where some words have a meaning of their own.
        self._inner = {name: f"adapter{number}" for number, name in enumerate(files)}
        self._in_effect: str | None = None
        for name, file in files.items():
            _load(pipeline, name, file, self._inner[name])
        components = pipeline.get_list_adapters() if files else {}
        held = {inner for component in components for inner in components[component]}
        for name, inner in self._inner.items():
            if inner not in held:
                raise InvalidModel(
                    f"The adapter {name!r} ({files[name].name}) changes no layer of this {type(pipeline).__name__}; "
                    "use one that is made for it."
                )
        self._of_texts = {
            inner for component in components if component not in _DENOISERS for inner in components[component]
        }

    @property
    def leave_texts_alone(self) -> bool:
        """Whether none changes how texts are read, so that they can be read whichever is in effect."""
        return not self._of_texts

    def use(self, pipeline: Any, text: str) -> None:
        """Put the adapters of a request, and no others, into effect.

        Parameters
        ----------
        pipeline : diffusers.DiffusionPipeline
            The same as ever.
        text : str
            The request's adapters in their normal form; "" for none.

        Raises
        ------
        InvalidJob
            If one of them was not loaded.
        """
        if not self._inner and not text:
            return
        scales = adapter_scales(text)
        unknown = sorted(set(scales) - set(self._inner))
        if unknown:
            known = ", ".join(self._inner) or "none"
            raise InvalidJob(
                f"The adapter {unknown[0]!r} is not among the job's adapters ({known}); add it or leave it out."
            )
        if text == self._in_effect:
            return
        self._in_effect = None  # until the switch is made: one that fails half-way is made again
        _switch(pipeline, {self._inner[name]: scale for name, scale in scales.items()})
        memo = getattr(pipeline, "encode_prompt", None)
        if isinstance(memo, TextMemo):
            of_texts = {name: scale for name, scale in scales.items() if self._inner[name] in self._of_texts}
            memo.encoders = str(of_texts or "")
        self._in_effect = text


def _switch(pipeline: Any, scales: Mapping[str, float]) -> None:
    if not scales:
        pipeline.disable_lora()
        return
    pipeline.enable_lora()
    pipeline.set_adapters(list(scales), list(scales.values()))


def _load(pipeline: Any, name: str, file: Path, inner: str) -> None:
    if not hasattr(pipeline, "load_lora_weights"):
        raise InvalidModel(f"{type(pipeline).__name__} takes no LoRA adapters; leave {name!r} out.")
    where: dict[str, Any] = {"weight_name": file.name, "use_safetensors": True, "local_files_only": True}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several is what is meant
            pipeline.load_lora_weights(str(file.parent), adapter_name=inner, **where)
    except (KeyError, RuntimeError, ValueError) as error:
        if "memory" in str(error):  # the renderer tells a shortage apart
            raise
        raise InvalidModel(
            f"The adapter {name!r} ({file.name}) cannot be loaded into this {type(pipeline).__name__}: {error}"
        ) from error
