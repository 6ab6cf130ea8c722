"""What the workers of a cluster have in common in one cache. Knows nothing of what they do with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pressrun.cache.sources import Limits


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What the workers of a cluster have in common in one cache.

    Parameters
    ----------
    channel : str
        Name of the cache in the cluster.
    folder : str
        Cache folder on every host; "~" is each host's own.
    token : bytes
        What peers prove to know; never shown.
    limits : Limits
        What may happen at once.
    """

    channel: str
    folder: str
    token: bytes = field(repr=False)
    limits: Limits


__all__ = ["CacheSettings"]
