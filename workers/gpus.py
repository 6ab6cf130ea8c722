"""The GPUs of this host, and a local cluster whose workers have one each. Knows nothing of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distributed import LocalCluster


def gpu_count() -> int:
    """Return how many GPUs this process may use, without importing torch where there can be none."""
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return 0
    import torch

    return int(torch.cuda.device_count())


class OneGpuEach(LocalCluster):  # type: ignore[misc]  # distributed carries no types
    """A local cluster whose workers see one GPU each, of those that this process sees; used without dask-cuda."""

    def new_worker_spec(self) -> dict[Any, Any]:
        """Return the next worker's spec with its GPU in the environment."""
        ((name, spec),) = super().new_worker_spec().items()
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = seen.split(",") if seen else [str(number) for number in range(max(1, gpu_count()))]
        held = [other["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES") for other in self.worker_spec.values()]
        freest = min(devices, key=held.count)  # names of workers that were closed are not used again
        environment = spec["options"].get("env", {}) | {"CUDA_VISIBLE_DEVICES": freest}
        return {name: spec | {"options": spec["options"] | {"env": environment}}}


__all__ = ["OneGpuEach", "gpu_count"]
