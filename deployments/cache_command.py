"""`pressrun cache`: what this host holds of models, brought beforehand and dropped by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cache_folder import writable_folder
from deployments.cache_place import CachePlace
from deployments.cache_showing import record, show
from deployments.cluster_cache import (
    bring_to_hosts,
    drain_hosts,
    drop_on_hosts,
    show_hosts,
    shrink_hosts,
    tell,
    too_much,
)
from deployments.console import ExitCode, err, out
from deployments.host_cache import drop_here, found_revision, host_state_of, shrink_here
from deployments.live_progress import LiveProgress
from deployments.model_place import model_place
from pressrun.cache.options import CacheOptions
from pressrun.cache.traffic import Pull, account_of_pulls
from pressrun.cache.traffic_wording import headline
from pressrun.errors import InvalidJob
from pressrun.location import Location
from pressrun.progress import listening
from pressrun.wording import count, read_duration, read_size, size

if TYPE_CHECKING:  # these bring Arrow and Dask, which `pressrun --help` need not wait for
    from pressrun.cache.traffic_report import TrafficReport
    from pressrun.models.any_folder import AnyFacts


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
    host = host_state_of(place.here)
    if as_json:
        out.print_json(json.dumps(record(host)))
    else:
        show(host)
    return ExitCode.DONE


@cache.command
def preload(
    url: str,
    *,
    store: str | None = None,
    cluster: str | None = None,
    budget: str | None = None,
    place: CachePlace = SHARED,
    as_json: Json = False,
) -> ExitCode:
    """Bring a model to this host, or to every host of a Dask cluster, so that no run waits for it.

    Parameters
    ----------
    url : str
        A model's or an embedder's folder, or an adapter's file: any fsspec URL. One on a local path is used in place.
    store : str
        Name of a `ModelStore` block with credentials; the URL is then a path below the block's.
    cluster : str
        Address of a running Dask scheduler, as tcp://scheduler:8786, to bring it to all of its workers' hosts; they
        read the URL with credentials of their own, or the block's.
    budget : str
        Disk that models may take on a host, as runs have it with --cache-budget: 200GB or "unlimited". It holds for
        later runs too.
    place : CachePlace
        Which cache.
    as_json : bool
        Print what was brought as JSON.
    """
    from pressrun.cache.budget import check_budget
    from pressrun.models.any_folder import read_any

    budget_bytes = _budget(budget)
    with LiveProgress(err) as progress, listening(progress):
        progress.say("check", "reading what it is")
        location = model_place(url, store)
        facts = read_any(location)
        if location.is_local:
            raise InvalidJob(f"{location} lies on a local path, where it is used in place; there is nothing to bring.")
        check_budget(CacheOptions(budget_bytes=budget_bytes), [(location, facts)])
        progress.say("preload", f"bringing {facts.name}")
        problems: dict[str, str] = {}
        if cluster is None:
            report = _bring_here(location, facts, place, budget_bytes)
        else:
            report, problems = bring_to_hosts(cluster, (location, facts), place.on_each_host, budget_bytes)
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
    state = host_state_of(root).store
    chosen = (
        state.revisions if everything else tuple(found_revision(state, digits) for digits in dict.fromkeys(revisions))
    )
    kept = drop_here(root, chosen)
    after = host_state_of(root).store
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
def shrink(
    to: Annotated[str, Parameter(name="SIZE")],
    *,
    cluster: str | None = None,
    place: CachePlace = SHARED,
    as_json: Json = False,
) -> ExitCode:
    """Drop the bytes of models used longest ago from a cache until the rest takes no more; what is in use stays.

    Manifests stay, so that a model that comes again is checked against them. The cache's budget stays as it is.

    Parameters
    ----------
    to : str
        What may be left on a host, as 200GB; 0 drops all that nobody uses.
    cluster : str
        Address of a running Dask scheduler, as tcp://scheduler:8786, to do so on all of its workers' hosts.
    place : CachePlace
        Which cache.
    as_json : bool
        Print what is left as JSON.
    """
    try:
        size_bytes = 0 if to.strip() == "0" else read_size(to)
    except ValueError as error:
        raise InvalidJob(f"SIZE {error} 0 drops all that nobody uses.") from error
    if cluster is not None:
        return shrink_hosts(cluster, size_bytes, place.on_each_host, as_json)
    held_bytes = host_state_of(place.here).store.size_bytes
    left_bytes = shrink_here(place.here, size_bytes) if held_bytes > size_bytes else held_bytes
    if as_json:
        out.print_json(json.dumps({"size_bytes": left_bytes, "freed_bytes": held_bytes - left_bytes}))
    else:
        freed = f"{size(held_bytes - left_bytes)} freed, {size(left_bytes)} left"
        out.print(f"[bold green]shrunk[/]: {freed}", highlight=False)
    problems = {str(place.here): too_much(left_bytes, size_bytes)} if left_bytes > size_bytes else {}
    tell(problems)
    return ExitCode.REFUSED if problems else ExitCode.DONE


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


def _budget(text: str | None) -> int | None:
    from pressrun.cache.budget import read_budget

    try:
        return None if text is None else read_budget(text)
    except ValueError as error:
        raise InvalidJob(f"--budget {error}") from error


def _bring_here(location: Location, facts: AnyFacts, place: CachePlace, budget_bytes: int | None) -> TrafficReport:
    from workers.model_cache import ensure_local

    brought = ensure_local(location, facts, writable_folder(place.here), budget_bytes=budget_bytes)
    held_bytes = max(0, sum(file.size_bytes for file in facts.files) - brought.origin_bytes)
    return account_of_pulls([Pull("this host", facts.revision, brought.origin_bytes, held_bytes)], brought.seconds)


__all__ = ["cache"]
