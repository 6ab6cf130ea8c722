"""One safetensors file made into tensors, by the way that is quickest for where they go.

On a CPU the tensors are the page cache's own memory, which is the same for all processes of the host, and which, unlike
memory of one's own, is not cleared before the disk fills it. Files that cannot be mapped are read. Into a device's
memory they go through buffers that are used again. Knows nothing of models.
"""

from __future__ import annotations

import mmap
from functools import partial
from pathlib import Path

import torch

from workers.weights.device_memory import tensors_in_device_memory
from workers.weights.file_reading import FileReader, read_in_blocks
from workers.weights.host_pool import HostPool
from workers.weights.page_cache import is_cached, mapped_whole
from workers.weights.safetensors_header import read_header
from workers.weights.state_dict import StateDict, tensors_in_host_memory

_CPU = torch.device("cpu")


def load_weights(path: Path, device: torch.device = _CPU, pool: HostPool | None = None) -> StateDict:
    """Return a file's tensors, bit by bit those that safetensors' `load_file` gives.

    Parameters
    ----------
    path : Path
        A local safetensors file, whole; it must not be written to while the tensors are in use.
    device : torch.device
        Where to.
    pool : HostPool or None
        Where the host's processes share what one of them has read.

    Returns
    -------
    dict of str to torch.Tensor
        All in memory. What is written to a tensor changes neither the file nor what others loaded.

    Raises
    ------
    InvalidModel
        When the file is damaged.
    """
    pooled = _pooled(path, pool)
    if device.type != "cpu":
        return _on_device(path, pooled, device)
    return tensors_in_host_memory(read_header(path), pooled or mapped_whole(path) or _read_whole(path))


def _pooled(path: Path, pool: HostPool | None) -> mmap.mmap | None:
    return None if pool is None else pool.take(path, partial(read_past_cache, path))


def _on_device(path: Path, pooled: mmap.mmap | None, device: torch.device) -> StateDict:
    places = read_header(path)
    if pooled is not None:
        whole = torch.frombuffer(pooled, dtype=torch.uint8)  # (bytes,)
        return tensors_in_device_memory(
            places, lambda start, block: block.copy_(whole[start : start + len(block)]), device
        )
    with FileReader(path, direct=not is_cached(path)) as reader:

        def read(start: int, block: torch.Tensor) -> None:
            reader.read_into(start, block.numpy().data)

        return tensors_in_device_memory(places, read, device)


def read_past_cache(path: Path, target: mmap.mmap) -> None:
    """Fill memory that begins at a page with a file's bytes, leaving the page cache as it is where that is possible."""
    with FileReader(path, direct=True) as reader, memoryview(target) as memory:

        def read(start: int, stop: int) -> None:
            with memory[start:stop] as block:
                reader.read_into(start, block)

        read_in_blocks(read, reader.size_bytes)


def _read_whole(path: Path) -> mmap.mmap:
    whole = mmap.mmap(-1, max(path.stat().st_size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        whole.madvise(mmap.MADV_HUGEPAGE)
    read_past_cache(path, whole)
    return whole


__all__ = ["load_weights", "read_past_cache"]
