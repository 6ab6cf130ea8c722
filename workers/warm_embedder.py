"""The embedder a process keeps warm.

Knows nothing of which model it is; one embedder a process is enough, since a collection has one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workers.cache.runtimes import at_hand
from workers.model_host import model_host
from workers.order import PrintOrder

if TYPE_CHECKING:  # brings torch, which only a worker that embeds has to wait for
    from workers.embedder import Embedder

_lock = threading.Lock()
_warm: dict[str, Embedder] = {}


def warm_embedder(order: PrintOrder) -> Embedder | None:
    """Return the order's embedder, loaded at the first call, or None when its pictures are not embedded.

    Never call this with a renderer in hand: loading waits until the device is free.
    """
    if order.embedder is None or order.embedder_facts is None:
        return None
    from workers.embedder import Embedder

    revision = order.embedder_facts.revision
    with _lock:
        if revision not in _warm:
            _warm.clear()
            with at_hand(order, order.embedder, order.embedder_facts) as folder, model_host().undisturbed():
                _warm[revision] = Embedder(folder)
        return _warm[revision]
