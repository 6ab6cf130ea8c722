"""What this host's worker processes are started with: their environment, and how closely Dask watches them.

Knows nothing of who starts them.
"""

from __future__ import annotations

import os
from typing import Any

# Dask has workers hand freed memory back at once. Every layer of a model then asks for it anew, page by page: on a CPU
# drawing took twice as long. 32 MiB is the most that glibc takes for the second.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}

# Dask looks at each process up to a hundred times a second, which took a twentieth of every core from drawing.
UNWATCHED: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


def worker_environment(workers: int) -> dict[str, str]:
    """Return the workers' environment: cores shared out, libraries quiet, hubs never asked."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))  # Dask's nanny would preset one a process
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
        "DASK_LOGGING__DISTRIBUTED": "error",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
    }


__all__ = ["ALLOCATOR", "UNWATCHED", "worker_environment"]
