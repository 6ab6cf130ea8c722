"""A pipeline's models, or one by itself, made of weights that were read here instead of by their libraries.

Knows nothing of pipelines. A component for which it is not certain that its library would make the same of its files is
left to that library: one of another library or with loading of its own, quantized weights, names that do not match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import accelerate
import diffusers
import torch
import transformers

from pressrun.errors import InvalidModel
from workers.weights.component_files import Await, already_here, read_json, weight_files
from workers.weights.host_pool import HostPool
from workers.weights.state_dict import StateDict
from workers.weights.weight_file import load_weights

Result = TypeVar("Result")

_CPU = torch.device("cpu")
_CONFIG, _INDEX = "config.json", "model_index.json"
# What a file or a model may be like that only its library can deal with.
_STRANGE = (FileNotFoundError, InvalidModel, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How components are loaded.

    Parameters
    ----------
    dtype : torch.dtype
        Of floating-point weights, but for those that the model keeps in fp32.
    variant : str or None
        Weight variant.
    device : torch.device
        Where the weights go.
    await_file : Await
        Asked before a file is opened, so that loading begins while others are still arriving.
    pool : HostPool or None
        Where the host's processes share what one of them has read.
    """

    dtype: torch.dtype
    variant: str | None = None
    device: torch.device = _CPU
    await_file: Await = already_here
    pool: HostPool | None = None


def load_components(folder: Path, options: LoadOptions) -> dict[str, torch.nn.Module]:
    """Return those models of a pipeline that can be loaded here; one is built while the next one's files are read.

    Parameters
    ----------
    folder : Path
        The pipeline's, in the diffusers layout.
    options : LoadOptions
        How.

    Returns
    -------
    dict of str to torch.nn.Module
        By component name, equal bit by bit to what `from_pretrained` makes, in evaluation mode. What is missing is
        to be loaded by it.
    """
    candidates = list(_candidates(read_json(options.await_file(folder / _INDEX))))
    found: dict[str, torch.nn.Module] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="weights") as reader:
        states = _one_ahead(reader, [partial(_read, folder / name, kind, options) for name, kind in candidates])
        for (name, kind), state in zip(candidates, states, strict=True):
            model = _built(folder / name, kind, state, options)
            if model is not None:
                found[name] = model
    return found


def load_model(folder: Path, options: LoadOptions) -> torch.nn.Module | None:
    """Return the transformers model of a folder by itself, None where it is to be loaded by its library.

    Parameters
    ----------
    folder : Path
        The model's, with config and weights.
    options : LoadOptions
        How.

    Returns
    -------
    torch.nn.Module or None
        Of the class that the config names, equal bit by bit to what its `from_pretrained` makes, in evaluation mode.
    """
    names = read_json(options.await_file(folder / _CONFIG)).get("architectures") or [""]
    kind, ours = getattr(transformers, str(names[0]), None), transformers.PreTrainedModel
    if not (isinstance(kind, type) and issubclass(kind, ours) and _loads_plainly(kind, ours)):
        return None
    return _built(folder, kind, _read(folder, kind, options), options)


def _one_ahead(reader: ThreadPoolExecutor, reads: Sequence[Callable[[], Result]]) -> Iterator[Result]:
    """Yield what each call returns, while the next one is at work; no more than two results are held."""
    following = reader.submit(reads[0]) if reads else None
    for number in range(len(reads)):
        assert following is not None
        result = following.result()
        following = reader.submit(reads[number + 1]) if number + 1 < len(reads) else None
        yield result
        del result


def _candidates(index: Mapping[str, Any]) -> Iterator[tuple[str, type[torch.nn.Module]]]:
    for name, value in index.items():
        match value:
            case ["diffusers", str(class_name)]:
                kind, ours = getattr(diffusers, class_name, None), diffusers.ModelMixin
            case ["transformers", str(class_name)]:
                kind, ours = getattr(transformers, class_name, None), transformers.PreTrainedModel
            case _:
                continue
        if isinstance(kind, type) and issubclass(kind, ours) and _loads_plainly(kind, ours):
            yield name, kind


def _loads_plainly(kind: Any, ours: Any) -> bool:
    return kind.from_pretrained.__func__ is ours.from_pretrained.__func__


def _library(kind: type[torch.nn.Module]) -> str:
    return "diffusers" if issubclass(kind, diffusers.ModelMixin) else "transformers"


def _read(folder: Path, kind: type[torch.nn.Module], options: LoadOptions) -> StateDict | None:
    """Return a component's weights, None where they are not found under the usual names or are no plain safetensors."""
    try:
        files = weight_files(folder, _library(kind), options.variant, options.await_file)
        state: StateDict = {}
        for file in files:
            state |= load_weights(file, options.device, options.pool)
        return state or None
    except _STRANGE:
        return None


def _built(
    folder: Path, kind: type[torch.nn.Module], state: StateDict | None, options: LoadOptions
) -> torch.nn.Module | None:
    if state is None:
        return None
    make = _diffusers_model if _library(kind) == "diffusers" else _transformers_model
    try:
        model = make(kind, folder, state, options)
    except _STRANGE:
        return None
    if model is None or _is_lacking(model):
        return None
    return cast(torch.nn.Module, model.eval())


def _is_lacking(model: torch.nn.Module) -> bool:
    return any(tensor.is_meta for tensors in (model.parameters(), model.buffers()) for tensor in tensors)


def _diffusers_model(kind: Any, folder: Path, state: StateDict, options: LoadOptions) -> Any:
    config = kind.load_config(options.await_file(folder / _CONFIG), local_files_only=True)
    if config.get("quantization_config"):
        return None
    with _default_dtype(options.dtype), accelerate.init_empty_weights():
        model = kind.from_config(config)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    given = {name: tensor.shape for name, tensor in state.items() if not _is_ignored(kind, name)}
    if wanted != given:
        return None
    kept = set(kind._keep_in_fp32_modules or ())
    for name in list(state):
        state[name] = _cast(state[name], torch.float32 if kept & set(name.split(".")) else options.dtype)
    model.load_state_dict({name: state[name] for name in wanted}, assign=True)
    model.register_to_config(_name_or_path=str(folder))
    return model


def _is_ignored(kind: Any, name: str) -> bool:
    return any(re.search(pattern, name) for pattern in kind._keys_to_ignore_on_load_unexpected or ())


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _transformers_model(kind: Any, folder: Path, state: StateDict, options: LoadOptions) -> Any:
    config = kind.config_class.from_pretrained(options.await_file(folder / _CONFIG), local_files_only=True)
    special = ("quantization_config", "transformers_weights")
    if kind.can_generate() or type(config).extra_files or any(getattr(config, name, None) for name in special):
        return None
    device = {} if options.device.type == "cpu" else {"device_map": {"": options.device}}
    model, report = kind.from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=options.dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **device,
    )
    if any(report.values()):
        return None
    model.config.name_or_path = model.name_or_path = str(folder)
    return model


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


__all__ = ["LoadOptions", "load_components", "load_model"]
