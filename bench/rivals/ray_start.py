"""Ray on this machine, quiet.

Knows nothing of data sets.
"""

from __future__ import annotations

import importlib.util
import logging
import os

from bench.machine import cores

_SPARE_CORES = 2  # for reading and writing; without them an actor a core leaves nothing to read with


def ray_is_here() -> bool:
    """Return whether Ray Data can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("ray", "pandas"))


def start_ray(scratch: str) -> None:
    """Start Ray's processes, with its files below `scratch`."""
    import ray
    import ray.data

    os.environ["RAY_worker_niceness"] = "0"  # Ray's own is 15, which on a busy machine would tell of the neighbours
    ray.init(
        num_cpus=cores() + _SPARE_CORES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=scratch,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
