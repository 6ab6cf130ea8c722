"""Weights come into memory bit by bit as safetensors would give them, by whatever way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pressrun.errors import InvalidModel
from workers.weights import file_reading, page_cache, weight_file
from workers.weights.host_pool import HostPool
from workers.weights.state_dict import StateDict
from workers.weights.weight_file import load_weights

_BLOCK = 2**16
_DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.uint16, torch.int16, torch.float16, torch.bfloat16),
    *(torch.uint32, torch.int32, torch.float32, torch.uint64, torch.int64, torch.float64, torch.complex64),
)
Load = Callable[[Path], StateDict]


@pytest.fixture(params=["held", "brought", "direct", "plain", "pooled", "device", "device, pooled"])
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Load by one of the ways, in blocks so small that tensors are cut by them."""
    monkeypatch.setattr(file_reading, "BLOCK_BYTES", _BLOCK)
    monkeypatch.setattr(page_cache, "_STREAM_BYTES", _BLOCK)
    pool = HostPool(tmp_path / "pool", 10**9) if "pooled" in request.param else None
    if request.param in ("direct", "plain"):
        monkeypatch.setattr(weight_file, "mapped_whole", lambda path: None)
    if request.param == "brought":
        monkeypatch.setattr(page_cache, "cached_share", lambda mapped: 0.0)
    if request.param == "plain":
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    if "device" in request.param:  # any device's way, with the host's memory in its place
        return lambda path: weight_file._on_device(path, weight_file._pooled(path, pool), torch.device("cpu"))
    return lambda path: load_weights(path, pool=pool)


def _bits(state: StateDict) -> dict[str, tuple[torch.dtype, torch.Size, bytes]]:
    return {
        name: (tensor.dtype, tensor.shape, tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, tensor in state.items()
    }


def _random(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.randint(2, shape, dtype=torch.uint8).bool()
    size = torch.empty((), dtype=dtype).element_size()
    return torch.randint(256, (*shape[:-1], shape[-1] * size), dtype=torch.uint8).view(dtype)


def test_every_kind_of_number_and_shape_is_equal_bit_by_bit(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tensors = {str(dtype): _random(dtype, 3, 5) for dtype in _DTYPES}
    tensors |= {"large": _random(torch.bfloat16, 300, 500), "scalar": torch.tensor(2.5), "none": torch.empty(0, 4)}
    save_file(tensors, file)
    assert _bits(load(file)) == _bits(load_file(file))


def test_numbers_off_their_alignment_are_equal_too(load: Load, tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain.safetensors", tmp_path / "odd.safetensors"
    save_file({"a": _random(torch.float32, 7), "b": _random(torch.int64, 3)}, plain)
    content = plain.read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    # A header may be of any length; safetensors itself pads it.
    odd.write_bytes(
        (header_bytes + 3).to_bytes(8, "little") + content[8 : 8 + header_bytes] + b"   " + content[8 + header_bytes :]
    )
    assert _bits(load(odd)) == _bits(load_file(plain))
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in load(odd).values())


def test_what_is_changed_in_place_reaches_neither_the_file_nor_another_load(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(100_000.0)}, file)
    before = file.read_bytes()
    first, second = load(file), load(file)
    first["a"].mul_(0)
    assert torch.equal(second["a"], torch.arange(100_000.0))
    assert torch.equal(load(file)["a"], torch.arange(100_000.0))
    assert file.read_bytes() == before


def test_a_file_cut_short_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(10_000)}, file)
    with file_reading.FileReader(file, direct=True) as reader:
        os.truncate(file, 9_000)
        with pytest.raises(InvalidModel, match="ends at byte 9000, but 20000 were expected"):
            reader.read_into(0, memoryview(bytearray(20_000)))


def test_what_the_page_cache_holds_is_told_apart_from_what_it_does_not(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(10**6))
    assert page_cache.is_cached(file)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not page_cache.is_cached(file)
    assert page_cache.mapped_whole(file) is not None
    assert page_cache.is_cached(file)
