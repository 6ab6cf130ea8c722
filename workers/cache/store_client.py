"""How long obstore waits for an origin, and that it does not try again by itself.

Knows nothing of particular stores.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CONNECT_S = 10.0
SILENCE_S = 20.0
# A chunk of 8 MiB at 28 kB/s; obstore's own 30 s would refuse every large chunk on a shared, slow link.
REQUEST_S = 300.0
# The origin's reader tries again by its own rule; a store that did so as well would multiply requests unseen.
RETRY: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=REQUEST_S)}


def client_config(connect_s: float | None = None, silence_s: float | None = None) -> ClientConfig:
    """Return the settings of a store's HTTP client.

    Parameters
    ----------
    connect_s : float, optional
        Longest time until a connection stands.
    silence_s : float, optional
        Longest time without a byte.
    """
    return {
        "connect_timeout": timedelta(seconds=connect_s or CONNECT_S),
        "read_timeout": timedelta(seconds=silence_s or SILENCE_S),
        "timeout": timedelta(seconds=REQUEST_S),
        "user_agent": "pressrun",
    }


__all__ = ["RETRY", "client_config"]
