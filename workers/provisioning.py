"""Weights on every host, and the order that workers print by.

Knows nothing of how fast the model is. The cache reads each byte once for all hosts; a host's workers share its copy.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
from distributed import Client

from pressrun import layout
from pressrun.adapter_use import adapter_scales
from pressrun.cache.traffic_report import TrafficReport
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.model_parts import parts_of
from pressrun.models.adapter_file import Adapter
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.models.embedder_folder import EmbedderFacts
from pressrun.run import Run
from pressrun.storage import Store
from workers.cache.bring_watch import telling_progress
from workers.cache.joining import SharedCache
from workers.fleet import Fleet
from workers.model_cache import ensure_local
from workers.order import PrintOrder

Need = tuple[Location, ModelFacts | EmbedderFacts | Adapter]
FLEET = "fleet.json"  # written before anything is started, for whoever cleans up after a kill


def provision(run: Run, fleet: Fleet) -> PrintOrder:
    """Open the fleet at its smallest size and bring the weights to its hosts.

    Parameters
    ----------
    run : Run
        The run; nothing is opened when it has nothing to do.
    fleet : Fleet
        The workers.

    Returns
    -------
    PrintOrder
        The standing instructions.

    Raises
    ------
    StageFailed
        When the fleet cannot be opened.
    InvalidModel
        When a file of the model cannot be had.
    """
    parts = parts_of(run)
    order = _order(run).with_models({name: _order(part) for name, part in parts.items()})
    if run.is_idle:
        return order
    run.note(FLEET, dict(fleet.record()))  # before anything is created, for whoever cleans up after a kill
    client = _open(run, fleet)
    _check_reach(client, order)
    remote = [need for need in _needs(order, list(parts)) if not need[0].is_local]
    if remote:
        _bring_all(run, client, SharedCache(order.cache_folder), remote)
    return order


def _needs(order: PrintOrder, models: list[str]) -> list[Need]:
    """Return what the run loads; a model without a picture to draw stays where it is."""
    needs: list[Need] = []
    for model in map(order.of, models):
        needs.append((model.model, model.facts))
        needs += [(adapter.location, adapter) for adapter in model.adapters]
    if order.embedder is not None and order.embedder_facts is not None:
        needs.append((order.embedder, order.embedder_facts))
    return needs


def _bring_all(run: Run, client: Client, cache: SharedCache, needs: list[Need]) -> None:
    """Have every host bring what the run loads, and enter what came from where."""
    cache.join(client)
    before = cache.traffic(client)

    def came() -> TrafficReport:
        return cache.traffic(client).minus(before)

    run.ledger.read_traffic = came
    with telling_progress(came):
        for location, facts in needs:
            run.ledger.origin_bytes += _bring(client, location, facts, cache.folder)
    run.ledger.take_traffic()


def _open(run: Run, fleet: Fleet) -> Client:
    """Open the fleet, and note how long that took; another try finds it open."""
    started = run.ledger.clock()
    client = fleet.open()
    run.ledger.opening_s = max(run.ledger.opening_s, run.ledger.clock() - started)
    return client


def _order(run: Run) -> PrintOrder:
    job = run.job
    return PrintOrder(
        run_id=run.run_id,
        collection=job.collection,
        model=job.model,
        facts=run.facts,
        embedder=job.embedder,
        embedder_facts=run.embedder_facts,
        embedding_size=run.embedder_facts.dimension if run.embedder_facts else 0,
        engine=job.engine,
        dtype=job.dtype,
        cache_folder=f"{job.cache_folder}/models",
        options=job.options,
        picture_format=job.picture_format,
        adapters=_used_adapters(run),
        layout=job.layout,
    )


def _used_adapters(run: Run) -> tuple[Adapter, ...]:
    texts = pc.unique(run.plan.todo.column("adapters")).to_pylist()
    used = {name for text in texts for name in adapter_scales(text)}
    return tuple(adapter for adapter in run.adapters.get(run.facts.name, ()) if adapter.name in used)


def _check_reach(client: Client, order: PrintOrder) -> None:
    """Refuse workers that cannot see the collection: their pictures would lie where nobody looks for them."""
    blind = {worker.rpartition(":")[0] for worker, sees in client.run(_sees_run, order).items() if not sees}
    if blind:
        raise StageFailed(
            f"The workers on {', '.join(sorted(blind))} cannot see the collection {order.collection}; give a location "
            "that every host reaches under this name: a shared disk or a bucket."
        )


def _sees_run(order: PrintOrder) -> bool:
    return Store(order.collection).exists(layout.run(order.run_id, FLEET))


def _bring(client: Client, location: Location, facts: ModelFacts | EmbedderFacts | Adapter, cache_folder: str) -> int:
    """Have one worker of each host make sure of its copy, and return the bytes read from the origin."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    one_a_host = {address.rpartition(":")[0]: address for address in workers}
    futures = [
        client.submit(_ensure, location, facts, cache_folder, workers=[address], allow_other_workers=True, pure=False)
        for address in one_a_host.values()
    ]
    return sum(client.gather(futures))


def _ensure(location: Location, facts: ModelFacts | EmbedderFacts | Adapter, cache_folder: str) -> int:
    return ensure_local(location, facts, Path(cache_folder).expanduser()).origin_bytes
