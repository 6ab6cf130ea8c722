"""A release on a fleet: the new revision brought to every host, warmed on every worker, and checked.

Knows nothing of what is like enough, nor of how caches make room (`workers.cache.release`).
"""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Client, as_completed

from pressrun.errors import PressrunError, StageFailed
from pressrun.progress import News, tell
from pressrun.release.golden import golden_batches
from pressrun.release.release import Release
from pressrun.release.verdict import Comparison, Verdict
from workers.cache.joining import SharedCache
from workers.cache.release import still_there
from workers.cache.runtimes import bring
from workers.delivery import Delivery
from workers.direct_calls import call_each
from workers.fleet import Fleet
from workers.golden_drawing import draw_golden
from workers.mounted_models import check_mounted, read_through
from workers.order import PrintOrder
from workers.placement import Placement
from workers.speed import warm_up


def open_fleet(release: Release, fleet: Fleet) -> Client:
    """Open a fleet, bring it to the release's size, and return its client."""
    client = fleet.open()
    fleet.scale(release.order.workers or fleet.largest)
    return client


def preload(release: Release, fleet: Fleet) -> int:
    """Bring the new revision to every host, and return the bytes read from the origin, or through mounts.

    What hosts have mounted is read there once, so that the mount's own cache has it; what lies on a local path is left
    where it is.

    Raises
    ------
    InvalidModel
        When a file cannot be had.
    StageFailed
        When a host does not share the cache, and so would be without it.
    """
    order, client = release.order, fleet.open()
    if order.model.is_local:
        return 0
    if order.cache.runtime == "peer":
        delivery = Delivery(client, SharedCache(order.cache_folder))
        _refuse(delivery.absent(), release)
        delivery.bring([(order.model, release.facts)])
        return delivery.traffic().total.origin_bytes
    printing = print_order(release)
    check_mounted(client, printing, [(order.model, release.facts)])
    read = read_through if order.cache.runtime == "mount" else _read_origin
    hosts = still_there(client, order.cache_folder, release.caches)
    return sum(call_each(client, read, {address: (printing,) for address in hosts}).values())


def _refuse(absent: Mapping[str, str], release: Release) -> None:
    if absent:
        raise StageFailed(
            f"{len(absent)} of {len(release.caches)} hosts cannot join the cache {release.order.cache_folder}, so the "
            f"model {release.facts.name} is brought to none: "
            f"{'; '.join(f'{worker}: {problem}' for worker, problem in absent.items())}. Free the folder there, or "
            "name another one with --cache-folder."
        )


def _read_origin(order: PrintOrder) -> int:
    """Fill this host's cache from the origin, and return the bytes that were read there; called on a worker."""
    return bring(order, order.model, order.facts).origin_bytes


def warm(release: Release, fleet: Fleet) -> int:
    """Load the new revision on every worker that takes tasks, and have each draw one small picture; return how many do.

    Raises
    ------
    StageFailed
        When one of them cannot.
    """
    return len(warm_up(fleet.open(), print_order(release), release.sample()))


def check(release: Release, fleet: Fleet) -> Verdict:
    """Draw every golden picture with the new revision, and return how like they come out.

    Raises
    ------
    InvalidCollection
        When a golden picture is gone or damaged.
    StageFailed
        When one cannot be drawn.
    """
    order, total = print_order(release), release.rows.num_rows
    client = fleet.open()
    found: list[Comparison] = []
    try:
        with Placement(client, order, 0.0).at_work(release.sample()):  # who joins unfit spoils no good revision
            golden = golden_batches(release.rows)
            for future in as_completed([client.submit(draw_golden, batch, order, pure=False) for batch in golden]):
                found += future.result()
                tell(News("check golden", "", len(found), total))
    except PressrunError:
        raise
    except Exception as error:
        raise StageFailed(
            f"A golden picture could not be drawn with the model {release.facts.name}: {type(error).__name__}: "
            f"{error}. Look at the workers' memory and logs, and release again."
        ) from error
    return Verdict.of(found, release.order.budget)


def print_order(release: Release) -> PrintOrder:
    """Return how the workers of a release draw: as those of a run with these settings would."""
    order = release.order
    return PrintOrder(
        run_id=release.run_id,
        collection=order.golden,
        model=order.model,
        facts=release.facts,
        embedder=None,
        embedder_facts=None,
        embedding_size=0,
        engine=order.engine,
        dtype=order.dtype,
        cache_folder=order.cache_folder,
        cache=order.cache,
    )
