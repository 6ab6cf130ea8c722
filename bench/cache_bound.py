"""The least time in which a model can be on every host of a fleet, whatever the system."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pressrun.cache.bound import HostLink, least_s


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hosts that each want a whole model.

    Parameters
    ----------
    hosts : int
        How many.
    model_bytes : int
        Size of the model.
    origin_bytes_per_s : float
        What the origin gives, to all of them together.
    down_bytes_per_s : float
        What the slowest host can receive.
    up_bytes_per_s : float
        What a host can send.
    """

    hosts: int
    model_bytes: int
    origin_bytes_per_s: float
    down_bytes_per_s: float = math.inf
    up_bytes_per_s: float = math.inf

    @property
    def bound_s(self) -> float:
        """Seconds that nothing can beat, by `pressrun.cache.bound.least_s`."""
        link = HostLink(self.model_bytes, self.down_bytes_per_s, self.up_bytes_per_s)
        return least_s(self.model_bytes, self.origin_bytes_per_s, [link] * self.hosts)

    @property
    def direct_bound_s(self) -> float:
        """Seconds that nothing can beat which has every host read everything from the origin."""
        return max(self.hosts * self.model_bytes / self.origin_bytes_per_s, self.model_bytes / self.down_bytes_per_s)


__all__ = ["Fleet"]
