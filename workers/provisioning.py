"""Weights on every host, and the order that workers print by.

Knows nothing of how fast the model is. The cache reads each byte once for all hosts; a host's workers share its copy.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import pyarrow.compute as pc
from distributed import Client

from pressrun import layout
from pressrun.adapter_use import adapter_scales
from pressrun.cache.traffic import Pull, account_of_pulls
from pressrun.cache.traffic_report import TrafficReport
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.model_parts import parts_of
from pressrun.models.adapter_file import Adapter
from pressrun.models.any_folder import AnyFacts
from pressrun.run import Run
from pressrun.storage import Store
from workers.cache.joining import SharedCache
from workers.cache.runtimes import bring
from workers.delivery import Delivery, Need
from workers.direct_calls import call_each
from workers.fleet import Fleet
from workers.memory_loads import MemoryLoads
from workers.mounted_models import check_mounted
from workers.order import PrintOrder
from workers.printing import renderer_key
from workers.run_uses import run_uses
from workers.wishes import addresses, submit_to

FLEET = "fleet.json"  # written before anything is started, for whoever cleans up after a kill

logger = logging.getLogger(__name__)


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
        When a file of the model cannot be brought to a host.
    """
    parts = parts_of(run)
    order = _order(run).with_models({name: _order(part) for name, part in parts.items()})
    if run.is_idle:
        return order
    run.ledger.read_traffic = None  # of another try
    run.note(FLEET, dict(fleet.record()))  # before anything is created, for whoever cleans up after a kill
    client = _open(run, fleet)
    _check_reach(client, order)
    needed = list(_needed(order, parts))
    check_mounted(client, order, needed)
    remote = [need for need in needed if not need[0].is_local]
    if remote:
        bring_all = _share if order.cache.runtime == "peer" else _bring_each
        _keep(client, bring_all(run, client, order, remote), [order.of(name) for name in parts])
    _count_memory(run, client)
    return order


def _needed(order: PrintOrder, parts: Mapping[str, Run]) -> Iterator[Need]:
    """Yield what the hosts need; a model without a picture to draw stays where it is."""
    for name, part in parts.items():
        yield part.job.model, part.facts
        for adapter in order.of(name).adapters:
            yield adapter.location, adapter
    if order.embedder is not None and order.embedder_facts is not None:
        yield order.embedder, order.embedder_facts


def _share(run: Run, client: Client, order: PrintOrder, needs: list[Need]) -> Collection[str]:
    """Have hosts fill from one another, enter what came from where, and return a worker of each."""
    cache = SharedCache(order.cache_folder, order.cache.budget_bytes)
    delivery = Delivery(client, cache)
    run.ledger.read_traffic = delivery.traffic
    delivery.bring(needs)
    if cache.budget_bytes is not None:
        cache.shrink_to(client, cache.budget_bytes)  # by now these models are the ones used last
    run.ledger.take_traffic()
    run.ledger.origin_bytes += delivery.traffic().total.origin_bytes
    return delivery.one_a_host().values()


def _bring_each(run: Run, client: Client, order: PrintOrder, needs: list[Need]) -> Collection[str]:
    """Have one worker of each host make sure of its copies, enter what it read from the origin, and return these.

    A host whose workers take no tasks yet fills when they load.
    """
    began_s = run.ledger.clock()
    one_a_host = {address.rpartition(":")[0]: address for address in addresses(client)}
    pulls = client.gather(
        [
            submit_to(client, address, _ensure, order, host, *need)
            for need in needs
            for host, address in one_a_host.items()
        ]
    )
    if order.cache.runtime == "none":  # what is mounted comes by ways that nobody counts here
        run.ledger.traffic = account_of_pulls(pulls, run.ledger.clock() - began_s)
    run.ledger.origin_bytes += sum(pull.origin_bytes for pull in pulls)
    return one_a_host.values()


def _keep(client: Client, workers: Collection[str], orders: Sequence[PrintOrder]) -> None:
    """Have workers keep on their hosts what was brought there: the first tasks that use it may be long in coming."""
    try:
        call_each(client, _use, {worker: (orders,) for worker in workers})
    except OSError:  # a worker that is gone keeps nothing, and whoever comes instead makes sure of the model anew
        logger.warning("not every host keeps the run's models until they are used", exc_info=True)


def _use(orders: Sequence[PrintOrder]) -> None:
    for order in orders:
        with run_uses().working(order, renderer_key(order)):
            pass


def _count_memory(run: Run, client: Client) -> None:
    """Enter what workers will load from hosts' memory, where the run has some, beside what came to the hosts."""
    if run.job.cache.memory_bytes is None:
        return
    loads, read, brought = MemoryLoads(client, run.run_id), run.ledger.read_traffic, run.ledger.traffic
    run.ledger.read_traffic = lambda: ((read() if read else brought) or TrafficReport()).merged(loads.report())


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
        cache_folder=job.models_folder,
        options=job.options,
        picture_format=job.picture_format,
        adapters=_used_adapters(run),
        layout=job.layout,
        cache=job.cache,
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


def _ensure(order: PrintOrder, host: str, location: Location, facts: AnyFacts) -> Pull:
    origin_bytes = bring(order, location, facts).origin_bytes
    held_bytes = max(0, sum(file.size_bytes for file in facts.files) - origin_bytes)
    return Pull(urlsplit(host).hostname or host, facts.revision, origin_bytes, held_bytes)
