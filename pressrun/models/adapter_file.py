"""What a LoRA adapter's file holds, read from its header and listing alone.

Knows nothing of torch or diffusers, nor of the model that the adapter is for (`pressrun.models.adapter_fit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pressrun.errors import InvalidJob, InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile, describe, revision_of
from pressrun.models.listing import ModelListing, list_model
from pressrun.models.weight_files import check_safetensors

_NAME = re.compile(r"(?!none$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ENDING = ".safetensors"
# A layer's pair of matrices, in the spellings of diffusers, PEFT and kohya's scripts.
_PART = re.compile(
    r"(?P<layer>.+?)[._](?:lora(?:_linear_layer)?[._](?:(?P<down>down|A)|up|B))(?:\.(?!weight$)[\w-]+)?\.weight"
)
_OF_LORA = re.compile(r"lora|alpha|dora")

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter before it is loaded.

    Parameters
    ----------
    name : str
        What requests call it.
    location : Location
        Its file, or the folder that holds it.
    revision : str
        32 hexadecimal digits over size and digest of the file, whatever its name, and over its place where the digest
        does not tell contents apart; part of the id of every picture that uses it.
    weight_bytes : int
        Size of the file.
    files : tuple of ModelFile
        The file.
    """

    name: str
    location: Location
    revision: str
    weight_bytes: int
    files: tuple[ModelFile, ...]


@dataclass(frozen=True, slots=True)
class LayerChange:
    """What an adapter does to one layer.

    Parameters
    ----------
    rank : int
        Of the change.
    inputs, outputs : int
        Of the layer that it is made for.
    """

    rank: int
    inputs: int
    outputs: int


def read_adapter(name: str, location: Location) -> tuple[Adapter, dict[str, LayerChange]]:
    """Read what an adapter is, and refuse it here if it cannot be used.

    Parameters
    ----------
    name : str
        What requests call it: letters, digits, _ and -.
    location : Location
        A safetensors file, or a folder that holds one; local or remote.

    Returns
    -------
    Adapter
        The file.
    dict of str to LayerChange
        What it changes, by the layer's name as the file spells it.

    Raises
    ------
    InvalidJob
        If the name cannot be one.
    InvalidModel
        If the location cannot be read, holds no or several safetensors files, or one that is damaged or no LoRA.
    """
    if not _NAME.fullmatch(name):
        raise InvalidJob(
            f"{name!r} cannot be an adapter's name; use 1 to 64 letters, digits, '_' and '-', and not 'none'."
        )
    try:
        listing = list_model(location, single_file=True)
        path = _only_weights(listing)
        shapes = tensor_shapes(check_safetensors(listing, path), f"{listing.location}/{path}")
        changes = _layer_changes(shapes, f"{listing.location}/{path}")
        (file,) = describe(listing, [path])
    except InvalidModel as error:
        raise InvalidModel(f"The adapter {name!r} cannot be used. {error}") from error
    # The same file under another name is the same adapter, where its digest tells that it is the same.
    revision = revision_of(listing.location.child(path), (replace(file, path="adapter"),))
    return Adapter(name, location, revision, file.size_bytes, (file,)), changes


def revisions_of(adapters: Iterable[Adapter]) -> dict[str, str]:
    """Return the adapters' revisions by name."""
    return {adapter.name: adapter.revision for adapter in adapters}


def tensor_shapes(header: Mapping[str, Any], where: str) -> dict[str, Shape]:
    """Return the shape of each tensor that a safetensors header names.

    Raises
    ------
    InvalidModel
        If it does not tell them.
    """
    try:
        return {
            name: tuple(int(side) for side in entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, ValueError):
        raise InvalidModel(f"{where}: the safetensors header is damaged; copy the file again.") from None


def _only_weights(listing: ModelListing) -> str:
    """Return the path of the one weight file there is."""
    found = sorted(path for path in listing.infos if "/" not in path and path.endswith(_ENDING))
    if len(found) == 1:
        return found[0]
    others = ", ".join(sorted(listing.infos)[:3])
    if not found:
        raise InvalidModel(
            f"{listing.location} has no safetensors file ({others}). Only safetensors are loaded: other formats can "
            "run code when opened. Save the adapter again with safe_serialization=True."
        )
    raise InvalidModel(f"{listing.location} has {len(found)} safetensors files ({', '.join(found[:3])}); name one.")


def _layer_changes(shapes: Mapping[str, Shape], where: str) -> dict[str, LayerChange]:
    halves: dict[str, dict[bool, Shape]] = {}
    for tensor, shape in shapes.items():
        part = _PART.fullmatch(tensor)
        if part:
            halves.setdefault(part["layer"], {})[part["down"] is not None] = shape
        elif not _OF_LORA.search(tensor):
            raise InvalidModel(
                f"{where} is no LoRA adapter: it holds the tensor {tensor!r}; give the adapter's own file."
            )
    if not halves:
        raise InvalidModel(
            f"{where} is no LoRA adapter: none of its {len(shapes)} tensors is a pair of LoRA matrices; other kinds "
            "(LoHa, LoKr, full weights) are not taken."
        )
    return {layer: _change(layer, found, where) for layer, found in halves.items()}


def _change(layer: str, found: Mapping[bool, Shape], where: str) -> LayerChange:
    down, up = found.get(True, ()), found.get(False, ())  # (rank, inputs, ...), (outputs, rank, ...)
    if len(down) < 2 or len(up) < 2:
        raise InvalidModel(f"{where}: the layer {layer} lacks one of its two matrices; copy the file again.")
    if down[0] != up[1]:
        raise InvalidModel(
            f"{where}: the matrices of the layer {layer} have rank {down[0]} and {up[1]}, which do not fit together."
        )
    return LayerChange(down[0], down[1], up[0])


__all__ = ["Adapter", "LayerChange", "read_adapter", "revisions_of", "tensor_shapes"]
