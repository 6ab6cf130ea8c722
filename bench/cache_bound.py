"""The least time in which a model can be on every host, whatever the system. Plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
        """Seconds that nothing can beat: the origin sends the model once, the slowest host receives it whole, and
        all that is received was sent by somebody.
        """  # noqa: D205
        return max(
            self.model_bytes / self.origin_bytes_per_s,
            self.model_bytes / self.down_bytes_per_s,
            self.hosts * self.model_bytes / (self.origin_bytes_per_s + self.hosts * self.up_bytes_per_s),
        )

    @property
    def direct_bound_s(self) -> float:
        """Seconds that nothing can beat which has every host read everything from the origin."""
        return max(self.hosts * self.model_bytes / self.origin_bytes_per_s, self.model_bytes / self.down_bytes_per_s)


__all__ = ["Fleet"]
