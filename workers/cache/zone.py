"""The zone that a Dask worker is in: hosts of one zone have a faster or cheaper way to one another.

Knows nothing of what is done with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

ZONE_VARIABLE = "PRESSRUN_ZONE"
_RESOURCE = "zone:"


def zone_of(worker: Any) -> str:
    """Return a worker's zone; called in its process.

    Parameters
    ----------
    worker : distributed.Worker
        The worker.

    Returns
    -------
    str
        `PRESSRUN_ZONE` of its environment, else the name after "zone:" among its Dask resources, else "".
    """
    return os.environ.get(ZONE_VARIABLE, "").strip() or _of_resources(worker.state.total_resources)


def _of_resources(resources: Mapping[str, float]) -> str:
    return next((name[len(_RESOURCE) :] for name in sorted(resources) if name.startswith(_RESOURCE)), "")
