"""Tensors made of a safetensors file's bytes, without a copy.

Knows nothing of how the bytes came into memory, nor of the models the tensors belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from workers.weights.safetensors_header import ITEM_BYTES, TensorPlace

_DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
}

StateDict = dict[str, torch.Tensor]


def tensors_in_host_memory(places: Iterable[TensorPlace], file_bytes: Any) -> StateDict:
    """Return the tensors as views of the file's bytes; each keeps the whole buffer alive.

    Parameters
    ----------
    places : iterable of TensorPlace
        From the file's header.
    file_bytes : buffer
        The whole file, writable; what is written to a tensor is written there.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU, in the order of `places`. A tensor that lies off its numbers' alignment is a copy.
    """
    return {place.name: _view(place, file_bytes) for place in places}


def shaped(flat: torch.Tensor, place: TensorPlace) -> torch.Tensor:
    """Return a tensor's bytes as what they mean.

    Parameters
    ----------
    flat : torch.Tensor
        (bytes,) uint8.
    place : TensorPlace
        What they are.

    Returns
    -------
    torch.Tensor
        A view; a copy where the bytes lie off the alignment of their numbers.
    """
    if flat.data_ptr() % ITEM_BYTES[place.dtype]:
        flat = flat.clone()
    return flat.view(_DTYPES[place.dtype]).reshape(place.shape)


def _view(place: TensorPlace, file_bytes: Any) -> torch.Tensor:
    if place.size_bytes == 0:
        return torch.empty(place.shape, dtype=_DTYPES[place.dtype])
    # A storage for each tensor, so that whoever copies one with its storage does not copy the file.
    return shaped(torch.frombuffer(file_bytes, dtype=torch.uint8, count=place.size_bytes, offset=place.start), place)


__all__ = ["StateDict", "shaped", "tensors_in_host_memory"]
