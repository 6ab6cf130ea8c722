"""One safetensors file brought into host memory by one library, from a cold or a warm page cache.

Libraries are imported before the clock starts. "Loaded" is when the library gives out the tensors, "read" when each of
their bytes was read once besides: what a library puts off until then is counted there. Free memory is touched first and
let go as the clock starts, so that no system pays for memory that a virtual machine has to be given again.
"""

from __future__ import annotations

import importlib
import importlib.util
import mmap
import os
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import safetensors.torch
import torch
import xxhash

from bench.resident_memory import resident, unused_but
from bench.rivals.parts import Settings, main
from workers.weights.page_cache import cached_share
from workers.weights.weight_file import load_weights

Tensors = Mapping[str, torch.Tensor]


def _pressrun(path: str, held: ExitStack) -> Tensors:
    return load_weights(Path(path))


def _load_file(path: str, held: ExitStack) -> Tensors:
    return safetensors.torch.load_file(path)


def _load_file_pread(path: str, held: ExitStack) -> Tensors:
    return safetensors.torch.load_file(path, backend="pread")


def _load_file_clone(path: str, held: ExitStack) -> Tensors:
    return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}


def _runai(path: str, held: ExitStack) -> Tensors:
    streamer = held.enter_context(importlib.import_module("runai_model_streamer").SafetensorsStreamer())
    streamer.stream_file(path)
    return dict(streamer.get_tensors())


def _fastsafetensors(path: str, held: ExitStack) -> Tensors:
    library = importlib.import_module("fastsafetensors")
    opened = held.enter_context(library.fastsafe_open(filenames=[path], nogds=True, device="cpu"))
    return {name: opened.get_tensor(name) for name in opened.keys()}


_TOUCHED = 3  # times the file's length: more than any system needs
_LEFT_BYTES = 10**9  # for the kernel and for whoever else is at work: less, and it drops pages of the file
# System -> the package it needs besides Pressrun's own, and how it loads.
SYSTEMS: Mapping[str, tuple[str, Callable[[str, ExitStack], Tensors]]] = {
    "Pressrun": ("safetensors", _pressrun),
    "safetensors load_file": ("safetensors", _load_file),
    "safetensors load_file + clone": ("safetensors", _load_file_clone),
    "safetensors load_file, pread": ("safetensors", _load_file_pread),
    "Run:ai Model Streamer": ("runai_model_streamer", _runai),
    "fastsafetensors": ("fastsafetensors", _fastsafetensors),
}


def is_here(system: str) -> bool:
    """Return whether the system's package is installed."""
    return importlib.util.find_spec(SYSTEMS[system][0]) is not None


def run(settings: Settings) -> dict[str, Any]:
    """Load the file and say what it took."""
    package, load = SYSTEMS[settings["system"]]
    path = settings["file"]
    importlib.import_module(package)
    _set_cache(path, settings["cold"])
    with resident(min(unused_but(_LEFT_BYTES), _TOUCHED * os.stat(path).st_size)):
        cached_before = _cached_share(path)
    own_before, disk_before = _own_bytes(), _disk_bytes()
    with ExitStack() as held:
        began_s, began_cpu_s = time.perf_counter(), _cpu_s()
        tensors = load(path, held)
        loaded_s, loaded_cpu_s = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
        own_bytes = _own_bytes() - own_before
        digest = _digest(tensors)
        read_s, read_cpu_s = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
        return {
            "loaded_s": loaded_s,
            "loaded_cpu_s": loaded_cpu_s,
            "read_s": read_s,
            "read_cpu_s": read_cpu_s,
            "own_bytes": own_bytes,
            "disk_bytes": _disk_bytes() - disk_before,
            "cached_before": cached_before,
            "digest": digest,
        }


def _set_cache(path: str, cold: bool) -> None:
    """Empty the page cache of the file, or fill it."""
    with open(path, "rb", buffering=0) as file:
        if cold:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(2**24):
                continue


def _cached_share(path: str) -> float:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        return cached_share(mapped)


def _digest(tensors: Tensors) -> str:
    """Return a hash of every tensor's name, kind, shape and bytes."""
    found = xxhash.xxh3_64()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _own_bytes() -> int:
    """Return the memory that is this process's alone: neither the page cache's nor shared."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


def _disk_bytes() -> int:
    """Return what this process has had read from disks so far."""
    return int(psutil.Process().io_counters().read_bytes)


if __name__ == "__main__":
    main(run)
