"""A worker that Dask retires: what its host alone has is handed over before the worker closes.

Knows nothing of why it is retired. Dask has no hook for that, but tells the worker so before it has it close, and then
waits for its plugins. By then the scheduler counts it as gone, so its host announces itself once more, as one that only
gives. Workers that are killed, or told to close in any other way, hand nothing over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from distributed import Worker
from distributed.core import Status, clean_exception
from distributed.protocol.pickle import dumps

from pressrun.cache.messages import Left
from workers.cache.keeper import Keeper
from workers.cache.links import Link
from workers.cache.upkeep import Standing, look, rooms, sole, standing_here, take_over, too_large

LONGEST_S = 20.0
_STAYING = {Status.init.name, Status.running.name, Status.paused.name}  # runs hold workers back that they have to warm

logger = logging.getLogger(__name__)


class Leaving:
    """One worker's way out.

    Parameters
    ----------
    worker : distributed.Worker
        The worker.
    folder : str
        The cache's folder on each host.
    send : callable
        Takes news for the registry.
    """

    def __init__(self, worker: Worker, folder: str, send: Callable[[Left], None]) -> None:
        self._worker, self._folder, self._send = worker, folder, send
        self._is_retired = False
        self._pass_on = worker.stream_handlers["worker-status-change"]
        worker.stream_handlers["worker-status-change"] = self._hear

    async def hand_over(self, link: Link, keeper: Keeper | None) -> None:
        """Have hosts that stay take over what only this one has whole, if its worker is retired and there are any."""
        if not self._is_retired or keeper is None:
            return
        try:
            await asyncio.wait_for(self._hand_over(link, keeper), LONGEST_S)
        except Exception:  # it must not keep the worker from closing
            logger.warning("%s leaves, perhaps with the only copy of a model", link.host, exc_info=True)

    def _hear(self, status: str, stimulus_id: str) -> None:
        self._is_retired = status == Status.closing_gracefully.name
        self._pass_on(status=status, stimulus_id=stimulus_id)

    async def _hand_over(self, link: Link, keeper: Keeper) -> None:
        until_s = time.monotonic() + LONGEST_S
        me = self._worker.address
        standing = await self._of_others() | {me: await asyncio.to_thread(look, link)}
        room, alone = rooms(standing, {me}), sole(standing, {me})
        if alone and not room:
            logger.warning("%s leaves with the only copies of %d models: no host stays", link.host, len(alone))
        if not room or not alone:
            return
        keeper.announce(gives_only=True)
        for revision in alone:
            taker, size_bytes = max(room, key=lambda worker: room[worker]), standing[me].whole[revision]
            problem = too_large(revision, size_bytes, room[taker])
            try:
                problem = problem or await self._give(link, revision, taker, until_s - time.monotonic())
            except Exception as error:  # the others are tried all the same
                problem = f"The revision {revision} could not be handed over ({type(error).__name__}: {error})."
            if problem:
                logger.warning("%s leaves with the only copy of a model: %s", link.host, problem)
            else:
                room[taker] -= size_bytes
        self._send(Left(link.host))

    async def _give(self, link: Link, revision: str, taker: str, timeout_s: float) -> str:
        """Have a worker's host take over a revision, and return why it cannot, or ""."""
        manifest = await asyncio.to_thread(link.store.manifest_of, revision)
        if manifest is None:
            return f"The revision {revision} was gone before it could be handed over."
        problem: str = await self._run(taker, take_over, self._folder, manifest, timeout_s)
        return problem

    async def _of_others(self) -> dict[str, Standing]:
        known = await self._worker.scheduler.identity(n_workers=-1)
        staying = [
            address
            for address, worker in known["workers"].items()
            if worker["status"] in _STAYING and address != self._worker.address
        ]
        said = await asyncio.gather(
            *(self._run(worker, standing_here, self._folder) for worker in staying), return_exceptions=True
        )
        return {worker: one for worker, one in zip(staying, said, strict=True) if isinstance(one, Standing)}

    async def _run(self, worker: str, act: Callable[..., Any], *arguments: object) -> Any:
        answer = await self._worker.rpc(worker).run(function=dumps(act), args=dumps(arguments))
        if answer["status"] != "OK":
            raise clean_exception(**answer)[1]
        return answer["result"]


__all__ = ["LONGEST_S", "Leaving"]
