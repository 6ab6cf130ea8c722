"""Weights brought into a device's memory through a few buffers that are used again and again.

Knows nothing of models, nor of what else is on the device.
"""

from __future__ import annotations

import queue
from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch

from workers.weights.file_reading import ALIGNMENT_BYTES, BLOCK_BYTES, THREADS, read_in_blocks
from workers.weights.safetensors_header import TensorPlace
from workers.weights.state_dict import StateDict, shaped

Read = Callable[[int, torch.Tensor], object]


def tensors_in_device_memory(places: Sequence[TensorPlace], read: Read, device: torch.device) -> StateDict:
    """Return a file's tensors in a device's memory, each with memory of its own.

    Parameters
    ----------
    places : sequence of TensorPlace
        From the file's header, in the order they lie in.
    read : callable
        Fills a buffer, (bytes,) uint8, with the file's bytes from a place on; asked by several threads at once.
    device : torch.device
        Where to; host memory holds no more of the file than a block for each reading thread.

    Returns
    -------
    dict of str to torch.Tensor
        In the order of `places`.
    """
    held = [torch.empty(place.size_bytes, dtype=torch.uint8, device=device) for place in places]  # (bytes,) each
    stops = [place.stop for place in places]
    buffers: queue.SimpleQueue[torch.Tensor] = queue.SimpleQueue()
    for _ in range(THREADS):
        buffers.put(_page_aligned(device))

    def bring(start: int, stop: int) -> None:
        buffer = buffers.get()  # (BLOCK_BYTES,) uint8; there are as many as threads
        try:
            read(start, buffer[: stop - start])
            for number in range(bisect_right(stops, start), len(places)):
                place = places[number]
                if place.start >= stop:
                    break
                first, last = max(start, place.start), min(stop, place.stop)
                piece = buffer[first - start : last - start]
                held[number][first - place.start : last - place.start].copy_(piece, non_blocking=True)
            if device.type == "cuda":
                torch.cuda.current_stream(device).synchronize()  # until then the copies read from the buffer
        finally:
            buffers.put(buffer)

    read_in_blocks(bring, stops[-1] if stops else 0)
    return {place.name: shaped(flat, place) for place, flat in zip(places, held, strict=True)}


def _page_aligned(device: torch.device) -> torch.Tensor:
    """Return a buffer that a disk can write to directly, and a GPU can read from directly."""
    pages = torch.empty(BLOCK_BYTES + ALIGNMENT_BYTES, dtype=torch.uint8, pin_memory=device.type == "cuda")
    return pages[-pages.data_ptr() % ALIGNMENT_BYTES :][:BLOCK_BYTES]


__all__ = ["tensors_in_device_memory"]
