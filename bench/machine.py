"""What the figures were taken on, in general terms.

Knows nothing of what is measured.
"""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import psutil

_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
_PACKAGES = (
    *("torch", "diffusers", "distributed", "prefect", "pyarrow", "pillow", "ray"),
    *("obstore", "s3fs", "runai-model-streamer"),
)


def describe_machine() -> str:
    """Return the number of cores, their widest instructions and the memory, as "2 cores with AVX2, 24 GiB"."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{cores()} cores with {_widest_instructions()}, {memory_gib:.0f} GiB of memory"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the figures; those that are missing are left out."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _widest_instructions() -> str:
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), "no known vector instructions")
