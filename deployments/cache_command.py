"""`pressrun cache`: what this host holds of models, brought beforehand and dropped by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cache_folder import writable_folder
from deployments.cache_place import CachePlace
from deployments.cache_showing import record, show
from deployments.cluster_cache import LEAST_DIGITS, drain_hosts, drop_on_hosts, show_hosts, tell
from deployments.console import ExitCode, err, out
from deployments.live_progress import LiveProgress
from pressrun.cache.traffic import Pull, account_of_pulls
from pressrun.cache.traffic_wording import headline
from pressrun.errors import CacheInUse, InvalidJob
from pressrun.location import Location
from pressrun.progress import listening
from pressrun.wording import count, read_duration, size
from workers.cache.folder_notes import forget_model, noted_budget

if TYPE_CHECKING:  # these bring Arrow and Dask, which `pressrun --help` need not wait for
    from pressrun.cache.traffic_report import TrafficReport
    from pressrun.models.any_folder import AnyFacts
    from workers.cache.chunk_store import ChunkStore
    from workers.cache.host_states import HostState
    from workers.cache.store_state import RevisionState, StoreState


cache = App(name="cache", help="What this host holds of models: look, bring one beforehand, drop.")

SHARED = CachePlace()
Json = Annotated[bool, Parameter(name="--json", negative="")]


@cache.command
def status(*, cluster: str | None = None, place: CachePlace = SHARED, as_json: Json = False) -> ExitCode:
    """Show the models in this host's cache, or in a Dask cluster's: whether whole and in use, sizes, last uses.

    Parameters
    ----------
    cluster : str
        Address of a running Dask scheduler, as tcp://scheduler:8786, to look at all of its workers' hosts.
    place : CachePlace
        Which cache.
    as_json : bool
        Print it as JSON.
    """
    if cluster is not None:
        return show_hosts(cluster, place.on_each_host, as_json)
    host = _state(place.here)
    if as_json:
        out.print_json(json.dumps(record(host)))
    else:
        show(host)
    return ExitCode.DONE


@cache.command
def preload(url: str, *, cluster: str | None = None, place: CachePlace = SHARED, as_json: Json = False) -> ExitCode:
    """Bring a model to this host, or to every host of a Dask cluster, so that no run waits for it.

    Parameters
    ----------
    url : str
        A model's or an embedder's folder, or an adapter's file: any fsspec URL. One on a local path is used in place.
    cluster : str
        Address of a running Dask scheduler, as tcp://scheduler:8786, to bring it to all of its workers' hosts; they
        read the URL with credentials of their own.
    place : CachePlace
        Which cache.
    as_json : bool
        Print what was brought as JSON.
    """
    from pressrun.models.any_folder import read_any

    location = Location(url).absolute()
    with LiveProgress(err) as progress, listening(progress):
        progress.say("check", "reading what it is")
        facts = read_any(location)
        if location.is_local:
            raise InvalidJob(f"{location} lies on a local path, where it is used in place; there is nothing to bring.")
        progress.say("preload", f"bringing {facts.name}")
        report, problems = (
            (_bring_here(location, facts, place), {}) if cluster is None else _bring_to(cluster, location, facts, place)
        )
    size_bytes = sum(file.size_bytes for file in facts.files)
    if as_json:
        told = {"name": facts.name, "revision": facts.revision, "size_bytes": size_bytes}
        out.print_json(json.dumps(told | {"traffic": report.record(), "problems": problems}))
    else:
        outcome = "[bold yellow]not on every host[/]" if problems else "[bold green]in place[/]"
        out.print(f"{outcome}: {headline(report)}", highlight=False, soft_wrap=True)
        out.print(Text(f"  {facts.name}   {facts.revision}"), soft_wrap=True)
    tell(problems)
    return ExitCode.FAILED if problems else ExitCode.DONE


@cache.command
def drop(
    *revisions: str,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    cluster: str | None = None,
    place: CachePlace = SHARED,
    as_json: Json = False,
) -> ExitCode:
    """Drop models from this host's cache, or from those of a Dask cluster; what is in use or being filled stays.

    Parameters
    ----------
    revisions : str
        Revisions as `pressrun cache status` shows them, or their first digits.
    everything : bool
        Drop all that nobody uses.
    cluster : str
        Address of a running Dask scheduler, as tcp://scheduler:8786, to drop them on all of its workers' hosts.
    place : CachePlace
        Which cache.
    as_json : bool
        Print what was dropped as JSON.
    """
    if everything == bool(revisions):
        raise InvalidJob("Name the revisions to drop, or give --all; `pressrun cache status` lists them.")
    if cluster is not None:
        return drop_on_hosts(cluster, revisions, place.on_each_host, as_json)
    root = place.here
    state = _state(root).store
    chosen = state.revisions if everything else tuple(_found(state, digits) for digits in dict.fromkeys(revisions))
    kept = _drop(root, chosen)
    after = _state(root).store
    told = {
        "dropped": [one.revision for one in chosen if one.revision not in kept],
        "kept": list(kept),
        "freed_bytes": state.size_bytes - after.size_bytes,
    }
    if as_json:
        out.print_json(json.dumps(told))
    else:
        freed = size(state.size_bytes - after.size_bytes)
        out.print(f"[bold green]dropped[/]: {count(len(chosen) - len(kept), 'model')}, {freed} freed", highlight=False)
        for reason in kept.values():
            err.print(Text(f"  kept: {reason}"), soft_wrap=True)
    return ExitCode.DONE if everything or not kept else ExitCode.REFUSED


@cache.command
def drain(
    *workers: str, cluster: str, timeout: str = "10m", place: CachePlace = SHARED, as_json: Json = False
) -> ExitCode:
    """Before workers of a Dask cluster are retired, have hosts that stay take over the models that they alone have.

    Parameters
    ----------
    workers : str
        Addresses of the workers that are going to leave, as the scheduler names them.
    cluster : str
        Address of the scheduler, as tcp://scheduler:8786.
    timeout : str
        How long it may take, as 90s or 10m.
    place : CachePlace
        Which cache.
    as_json : bool
        Print what was handed over as JSON.
    """
    try:
        timeout_s = read_duration(timeout)
    except ValueError as error:
        raise InvalidJob(f"--timeout {error}") from error
    return drain_hosts(cluster, workers, place.on_each_host, timeout_s, as_json)


def _state(root: Path) -> HostState:
    from workers.cache.host_states import host_state

    try:
        return host_state(root)
    except OSError as error:
        raise InvalidJob(
            f"The cache folder {root} cannot be looked at ({error.strerror}); name one of this host with --folder."
        ) from error


def _store(root: Path) -> ChunkStore:
    from workers.cache.chunk_store import ChunkStore

    return ChunkStore(root, noted_budget(root))


def _found(state: StoreState, digits: str) -> RevisionState:
    found = [one for one in state.revisions if one.revision.startswith(digits)]
    exact = [one for one in found if one.revision == digits]
    if len(exact or found) == 1 and (exact or len(digits) >= LEAST_DIGITS):
        return (exact or found)[0]
    how_many = f"{len(found)} revisions begin" if len(digits) >= LEAST_DIGITS else "too short: a revision begins"
    raise InvalidJob(
        f"{digits!r} names no one revision in {state.root}: {how_many} with it; give at least {LEAST_DIGITS} digits "
        "of one that `pressrun cache status` shows."
    )


def _drop(root: Path, chosen: tuple[RevisionState, ...]) -> dict[str, str]:
    """Drop revisions, and return those that stay with the reason."""
    kept: dict[str, str] = {}
    if not chosen:
        return kept
    store = _store(root)
    for one in chosen:
        try:
            store.drop(one.revision)
            forget_model(root, one.revision)
        except CacheInUse as error:
            kept[one.revision] = str(error)
    return kept


def _bring_here(location: Location, facts: AnyFacts, place: CachePlace) -> TrafficReport:
    from workers.model_cache import ensure_local

    brought = ensure_local(location, facts, writable_folder(place.here))
    held_bytes = max(0, sum(file.size_bytes for file in facts.files) - brought.origin_bytes)
    return account_of_pulls([Pull("this host", facts.revision, brought.origin_bytes, held_bytes)], brought.seconds)


def _bring_to(
    cluster: str, location: Location, facts: AnyFacts, place: CachePlace
) -> tuple[TrafficReport, dict[str, str]]:
    """Bring a model to a cluster's hosts, and return how it came, and why others did not get it."""
    from workers.cache.joining import SharedCache
    from workers.delivery import Delivery
    from workers.fleet import JoinedFleet

    fleet = JoinedFleet(cluster)
    try:
        delivery = Delivery(fleet.open(), SharedCache(str(place.on_each_host)))
        delivery.bring([(location, facts)])
        return delivery.traffic(), delivery.absent()
    finally:
        fleet.close()


__all__ = ["cache"]
