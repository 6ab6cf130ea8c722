"""`pressrun cache ... --cluster`, as `status` and `drain`: the caches of a Dask cluster's hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from deployments.cache_showing import record, show
from deployments.console import ExitCode, err, out
from deployments.host_cache import LEAST_DIGITS
from pressrun.errors import InvalidJob
from pressrun.wording import count, size

if TYPE_CHECKING:  # they bring Dask, which `pressrun --help` need not wait for
    from distributed import Client

    from pressrun.cache.traffic_report import TrafficReport
    from workers.cache.host_states import HostState
    from workers.cache.joining import SharedCache
    from workers.delivery import Need

    _Found = tuple[dict[str, HostState], dict[str, str]]  # what hosts have, and why others cannot tell


def show_hosts(cluster: str, folder: Path, as_json: bool) -> ExitCode:
    """Show what lies in the caches of a cluster's hosts; a host that cannot tell is named, and the others shown."""
    from workers.fleet import JoinedFleet

    fleet = JoinedFleet(cluster)
    try:
        states, problems = _states(fleet.open(), cluster, folder)
    finally:
        fleet.close()
    if as_json:
        hosts = {name: record(state) for name, state in states.items()}
        out.print_json(json.dumps({"hosts": hosts, "problems": problems}))
    else:
        for name, state in sorted(states.items()):
            show(state, name.removesuffix(f":{state.store.root}"))
    tell(problems)
    return ExitCode.FAILED if problems else ExitCode.DONE


def bring_to_hosts(
    cluster: str, need: Need, folder: Path, budget_bytes: int | None
) -> tuple[TrafficReport, dict[str, str]]:
    """Bring a model to a cluster's hosts, and return how it came, and why others did not get it."""
    from workers.cache.joining import SharedCache
    from workers.delivery import Delivery
    from workers.fleet import JoinedFleet

    fleet, cache = JoinedFleet(cluster), SharedCache(str(folder), budget_bytes)
    try:
        client = fleet.open()
        delivery = Delivery(client, cache)
        delivery.bring([need])
        if budget_bytes is not None:
            cache.shrink_to(client, budget_bytes)  # by now it is the one used last
        return delivery.traffic(), delivery.absent()
    finally:
        fleet.close()


def shrink_hosts(cluster: str, size_bytes: int, folder: Path, as_json: bool) -> ExitCode:
    """Have every host of a cluster drop what was used longest ago until no more than so many bytes are left."""
    with _joined(cluster, folder) as (client, cache, (states, problems)):
        left = cache.shrink_to(client, size_bytes)
    too_large = {host: too_much(bytes_left, size_bytes) for host, bytes_left in left.items() if bytes_left > size_bytes}
    held_bytes = sum(state.store.size_bytes for state in states.values())
    if as_json:
        hosts = {host: {"size_bytes": bytes_left} for host, bytes_left in left.items()}
        out.print_json(json.dumps({"hosts": hosts, "problems": problems | too_large}))
    else:
        freed = f"{size(max(0, held_bytes - sum(left.values())))} freed on {count(len(left), 'host')}"
        out.print(f"[bold green]shrunk[/]: {freed}", highlight=False)
    tell(problems | too_large)
    return ExitCode.FAILED if problems else ExitCode.REFUSED if too_large else ExitCode.DONE


def too_much(left_bytes: int, size_bytes: int) -> str:
    """Say why a cache could not be shrunk as far as was asked."""
    return (
        f"{size(left_bytes)} are left, not {size(size_bytes)}: the rest is in use or being filled; shrink it "
        "again when the jobs that use it have ended."
    )


def drop_on_hosts(cluster: str, revisions: tuple[str, ...], folder: Path, as_json: bool) -> ExitCode:
    """Drop revisions, by their first digits, or all where none are named, on every host of a cluster."""
    dropped: list[str] = []
    with _joined(cluster, folder) as (client, cache, (states, kept)):
        for revision in _found(states, revisions):
            said = cache.drop(client, revision)
            kept |= {f"{host}, {revision}": reason for host, reason in said.items() if reason}
            dropped += [] if any(said.values()) else [revision]
    if as_json:
        out.print_json(json.dumps({"dropped": dropped, "kept": kept}))
    else:
        out.print(f"[bold green]dropped[/]: {count(len(dropped), 'model')} on every host", highlight=False)
        tell(kept)
    return ExitCode.REFUSED if kept and revisions else ExitCode.DONE


def drain_hosts(cluster: str, workers: tuple[str, ...], folder: Path, timeout_s: float, as_json: bool) -> ExitCode:
    """Have hosts that stay take over what only the hosts of these workers have."""
    with _joined(cluster, folder) as (client, cache, (_, problems)):
        tell(problems)
        there = client.scheduler_info(n_workers=-1)["workers"]
        unknown = [worker for worker in workers if worker not in there]
        if unknown or not workers:
            named = ", ".join(unknown) or "none is named"
            raise InvalidJob(f"Not a worker of {cluster}: {named}; its workers are {', '.join(there)}.")
        problems = cache.drain(client, workers, timeout_s)
    lost = {revision: problem for revision, problem in problems.items() if problem}
    handed_over = [revision for revision in problems if revision not in lost]
    if as_json:
        out.print_json(json.dumps({"handed_over": handed_over, "lost": lost}))
    else:
        out.print(f"[bold green]handed over[/]: {count(len(handed_over), 'model')}", highlight=False)
        tell(lost)
    return ExitCode.FAILED if lost else ExitCode.DONE


def tell(reasons: dict[str, str]) -> None:
    """Print why something did not happen, by what it is about, beside the output."""
    for name, reason in reasons.items():
        err.print(Text(f"  {name}: {reason}"), soft_wrap=True)


@contextmanager
def _joined(cluster: str, folder: Path) -> Iterator[tuple[Client, SharedCache, _Found]]:
    from workers.cache.joining import SharedCache
    from workers.fleet import JoinedFleet

    fleet, cache = JoinedFleet(cluster), SharedCache(str(folder))
    try:
        client = fleet.open()
        found = _states(client, cluster, folder)  # first, as joining makes the folder everywhere
        cache.join(client)
        yield client, cache, found
    finally:
        fleet.close()


def _states(client: Client, cluster: str, folder: Path) -> _Found:
    from workers.cache.host_states import host_states

    states, problems = host_states(client, str(folder))
    if not states:
        host, problem = min(problems.items(), default=("", ""))
        lacking = f"can be looked at; {host}: {problem} Name" if problems else "is there; name"
        raise InvalidJob(
            f"No host of {cluster} has a cache folder {folder} that {lacking} the one that runs have, with --folder."
        )
    return states, problems


def _found(states: Mapping[str, HostState], revisions: tuple[str, ...]) -> list[str]:
    known = sorted({one.revision for state in states.values() for one in state.store.revisions})
    if not revisions:
        return known
    chosen = {digits: [revision for revision in known if revision.startswith(digits)] for digits in revisions}
    for digits, found in chosen.items():
        if len(found) != 1 or len(digits) < LEAST_DIGITS:
            raise InvalidJob(
                f"{digits!r} names {len(found)} of the {len(known)} revisions on the hosts; give at least "
                f"{LEAST_DIGITS} digits of one: {', '.join(known) or 'there are none'}."
            )
    return sorted({found[0] for found in chosen.values()})


__all__ = ["bring_to_hosts", "drain_hosts", "drop_on_hosts", "show_hosts", "shrink_hosts", "tell", "too_much"]
