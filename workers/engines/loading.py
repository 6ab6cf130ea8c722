"""Which engine renders an order, and how it is loaded.

Knows nothing of batches. Engines are imported only when an order names them.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import cast

from pressrun.engine_name import engine_factory
from pressrun.models.adapter_file import Adapter
from workers.cache.runtimes import at_hand, on_its_way
from workers.cancellation import should_stop
from workers.device_turn import device_turn
from workers.engines.renderer import Renderer
from workers.memory_loads import tell_memory_load
from workers.order import PrintOrder
from workers.weights.run_pool import run_pool


def load_renderer(order: PrintOrder) -> Renderer:
    """Return a ready renderer for the order; takes as long as the weights take to load.

    Raises
    ------
    InvalidJob
        When no engine has the order's name.
    """
    if order.engine == "diffusers":
        return _load_diffusers(order)
    if order.engine == "null":
        from workers.engines.null_renderer import NullRenderer

        return NullRenderer()
    return cast("Renderer", engine_factory(order.engine)(order))


def _load_diffusers(order: PrintOrder) -> Renderer:
    from workers.engines.diffusers_renderer import (  # torch takes seconds to import
        DiffusersRenderer,
        Hooks,
        RenderOptions,
    )

    pool = run_pool(order.cache)
    with ExitStack() as lent:
        folder, await_file = lent.enter_context(on_its_way(order, order.model, order.facts))
        adapters = {
            adapter.name: _file_in(lent.enter_context(at_hand(order, adapter.location, adapter)), adapter)
            for adapter in order.adapters
        }
        options = RenderOptions(
            dtype=order.dtype,
            variant=order.facts.variant,
            adapters=adapters,
            tuning=order.options,
            pool=pool,
        )
        renderer = DiffusersRenderer(folder, options, Hooks(should_stop, device_turn().end_early, await_file))
    tell_memory_load(order, pool.served_bytes if pool else 0)
    return renderer


def _file_in(place: Path, adapter: Adapter) -> Path:
    return place if place.is_file() else place / adapter.files[0].path
