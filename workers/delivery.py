"""Models brought to every host of a cluster, and the account of how they came.

Knows nothing of runs. A host's workers share one copy, so one of them asks for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, Future, wait

from pressrun.cache.published import manifest_for
from pressrun.cache.traffic import Traffic
from pressrun.cache.traffic_report import TrafficReport
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.models.any_folder import AnyFacts
from pressrun.processes import place_digest
from workers.cache.bring_watch import telling_progress
from workers.cache.joining import SharedCache
from workers.cache.links import link_for
from workers.cache.metrics import cache_metrics
from workers.cache.private_folder import make_private
from workers.cache.revision_folder import RevisionFolder
from workers.model_cache import ensure_local
from workers.wishes import addresses, submit_to

Need = tuple[Location, AnyFacts]
_POLL_S = 1.0


class Delivery:
    """What one caller has brought to the hosts of a cluster, which may hold much more.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    cache : SharedCache
        The cache that its workers share; joined if they do not yet.
    """

    def __init__(self, client: Client, cache: SharedCache) -> None:
        cache.join(client)
        self._client, self._cache = client, cache
        self._before = cache.traffic(client)
        self._held = TrafficReport()  # what was there before is no news to the registry

    def bring(self, needs: Sequence[Need]) -> int:
        """Have one worker of each host make sure of each model, telling how far they are.

        Parameters
        ----------
        needs : sequence of Need
            Models, embedders and adapters, each with its location; local ones are used in place.

        Returns
        -------
        int
            The hosts.

        Raises
        ------
        InvalidModel
            When a file cannot be had.
        StageFailed
            When no worker shares the cache.
        """
        one_a_host = self.one_a_host()
        for location, facts in needs:
            if not location.is_local:
                self._cache.offer(self._client, manifest_for(location, facts))
        asked = [
            (host, self._ask(address, location, facts))
            for location, facts in needs
            for host, address in one_a_host.items()
        ]
        with telling_progress(self.traffic):
            _settle([future for _, future in asked])
            self._enter(self._client.gather(asked))
        return len(one_a_host)

    def absent(self) -> dict[str, str]:
        """Return the hosts that do not share the cache, and so are brought nothing.

        Returns
        -------
        dict of str to str
            Why, by the address of one of the host's workers; empty where every host shares it.
        """
        answers = self._answers()
        sharing = {answer.place for answer in answers.values() if answer.host}
        outside = {answer.place: worker for worker, answer in sorted(answers.items()) if answer.place not in sharing}
        return {worker: answers[worker].problem for worker in outside.values()}

    def traffic(self) -> TrafficReport:
        """Return how things came so far, what came to hosts that joined later included."""
        return self._cache.traffic(self._client).minus(self._before).merged(self._held)

    def one_a_host(self) -> dict[str, str]:
        """Return a worker's address by host; a host whose workers take no tasks yet fills when they load.

        Raises
        ------
        StageFailed
            When no worker shares the cache.
        """
        answers = self._answers()
        shared = {address: answer.host for address, answer in answers.items() if answer.host}
        takers = shared.keys() & set(addresses(self._client)) or shared.keys()
        if not shared:
            address = min(answers, default="")
            problem = answers[address].problem if answers else "no worker is there"
            raise StageFailed(
                f"None of {len(answers)} workers could join the cache {self._cache.folder}. The worker {address}: "
                f"{problem}. Free the folder there, or name another one as the cache's."
            )
        return {shared[address]: address for address in sorted(takers)}

    def _answers(self) -> dict[str, _Membership]:
        answers: dict[str, _Membership] = self._client.run(_membership, self._cache.folder)
        return answers

    def _ask(self, address: str, location: Location, facts: AnyFacts) -> Future:
        return submit_to(self._client, address, _had_bytes, location, facts, self._cache.folder)

    def _enter(self, had: Iterable[tuple[str, int]]) -> None:
        found = Traffic()
        for host, had_bytes in had:
            if had_bytes:
                found.held(host, had_bytes)
        self._held = self._held.merged(found.snapshot(0.0))


def _settle(futures: Sequence[Future]) -> None:
    """Wait until all are done or one has failed, so that an interruption leaves nothing behind that nobody awaits."""
    pending = list(futures)
    while pending and not any(future.status == "error" for future in futures):
        with suppress(TimeoutError):
            pending = list(wait(pending, timeout=_POLL_S, return_when="FIRST_COMPLETED").not_done)


@dataclass(frozen=True, slots=True)
class _Membership:
    """Whether a worker shares the cache.

    Parameters
    ----------
    place : str
        What its host's workers have in common, also where there is no cache.
    host : str
        Name of its host in the cache; "" where it does not share it.
    problem : str
        Why it does not.
    """

    place: str
    host: str = ""
    problem: str = ""


def _membership(cache_folder: str) -> _Membership:
    """Return whether a worker shares the cache; called on the worker."""
    root = Path(cache_folder).expanduser()
    place, link = f"{place_digest()} {root}", link_for(root)
    if link:
        return _Membership(place, link.host)
    try:
        make_private(root)
    except OSError as error:
        return _Membership(place, problem=str(error))
    return _Membership(place, problem="it has not joined; its log says why")


def _had_bytes(location: Location, facts: AnyFacts, cache_folder: str) -> int:
    """Make sure of a model on a worker's host, and return its size if all of it was there; called on the worker."""
    root = Path(cache_folder).expanduser()
    was_here = RevisionFolder(root, facts.revision).complete() is not None
    ensure_local(location, facts, root)
    had_bytes = sum(file.size_bytes for file in facts.files) if was_here else 0
    cache_metrics().held(had_bytes)
    return had_bytes


__all__ = ["Delivery", "Need"]
