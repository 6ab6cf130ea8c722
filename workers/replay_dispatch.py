"""A replay on a fleet: every batch pinned to another worker than the one that drew its pictures, where there is one.

Knows nothing of samples or verdicts. A replay is small and repeatable, so a worker that dies ends it.
"""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Client, Future, wait

from pressrun.errors import PressrunError, StageFailed
from pressrun.progress import News, tell
from pressrun.replay.draft import ReplayDraft, Setting
from pressrun.replay.placing import Placing
from pressrun.replay.record import Sighting
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.replaying import draw_again
from workers.run_end import leave_workers
from workers.wishes import takers

_POLL_S = 1.0


def replay(draft: ReplayDraft, fleet: Fleet, workers: int, replay_id: str) -> list[Sighting]:
    """Draw every batch of a replay, and return what was seen.

    Parameters
    ----------
    draft : ReplayDraft
        What to draw.
    fleet : Fleet
        Where; opened here, closed by the caller.
    workers : int
        Workers to scale to.
    replay_id : str
        Names the replay.

    Raises
    ------
    StageFailed
        When a batch cannot be drawn, or a worker dies of it.
    """
    tell(News("open workers", "starting workers"))
    client = fleet.open()
    fleet.scale(workers)
    names = {address: str(worker["name"]) for address, worker in takers(client).items()}
    tell(News("replay", "loading the model"))
    pinned: dict[Future, str] = {}
    for number, (placing, setting) in enumerate(draft.placings):
        address = _choose(names, placing.shared("worker"), number)
        order = _order(draft, setting, replay_id)
        # A firm place: Dask would move a batch with a mere wish to any idle worker, the first one's included.
        future = client.submit(draw_again, placing, order, setting.threads, workers=[address], pure=False)
        pinned[future] = address
    try:
        return _gather(client, pinned, draft)
    finally:
        leave_workers(fleet, _run_id(replay_id))


def _choose(names: Mapping[str, str], drawn_by: str, number: int) -> str:
    others = sorted(address for address, name in names.items() if name != drawn_by) or sorted(names)
    return others[number % len(others)]


def _order(draft: ReplayDraft, setting: Setting, replay_id: str) -> PrintOrder:
    return PrintOrder(
        run_id=_run_id(replay_id),
        collection=draft.collection,
        model=setting.model.location,
        facts=setting.model.facts,
        embedder=None,
        embedder_facts=None,
        embedding_size=0,
        engine=setting.engine,
        dtype=setting.dtype,
        options=setting.options,
        adapters=setting.adapters,
    )


def _run_id(replay_id: str) -> str:
    return f"replay-{replay_id}"


def _gather(client: Client, pinned: Mapping[Future, str], draft: ReplayDraft) -> list[Sighting]:
    pending = set(pinned)
    pictures = {future: len(placing.slots) for future, (placing, _) in zip(pinned, draft.placings, strict=True)}
    drawings = sum(pictures.values())
    while pending:
        try:
            pending = set(wait(pending, timeout=_POLL_S, return_when="FIRST_COMPLETED").not_done)
        except TimeoutError:
            _check_alive(client, {pinned[future] for future in pending})
        tell(News("replay", "", drawings - sum(pictures[future] for future in pending), drawings))
    return [
        sighting
        for future, (placing, _) in zip(pinned, draft.placings, strict=True)
        for sighting in _result(future, placing)
    ]


def _check_alive(client: Client, addresses: set[str]) -> None:
    gone = addresses - set(client.scheduler_info(n_workers=-1)["workers"])
    if gone:
        raise StageFailed(
            f"{len(gone)} workers died during the replay ({', '.join(sorted(gone))}); look at their memory and replay "
            "again: nothing was changed."
        )


def _result(future: Future, placing: Placing) -> list[Sighting]:
    try:
        sightings: list[Sighting] = future.result()
    except PressrunError:
        raise
    except Exception as error:
        raise StageFailed(
            f"Batch {placing.batch.batch_id} with {placing.shared('path')} could not be drawn again: "
            f"{type(error).__name__}: {error}"
        ) from error
    return sightings
