"""Pressrun itself: Dask workers that are hosts of their own, each with its own home, fill one shared cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from bench.rivals.hosts import host_folder
from bench.rivals.parts import Settings, clock, main

_FOLDER = "~/cache"


class _HostEach(LocalCluster):  # type: ignore[misc]  # distributed carries no types
    settings: Settings

    def new_worker_spec(self) -> dict[Any, Any]:
        ((name, spec),) = super().new_worker_spec().items()
        environment = {"HOME": str(host_folder(self.settings, int(name)))}
        return {name: spec | {"options": spec["options"] | {"env": environment}}}


def run(settings: Settings) -> dict[str, Any]:
    """Bring the model to all hosts."""
    from pressrun.cache.published import manifest_for
    from pressrun.location import Location
    from pressrun.models.diffusers_folder import read_model
    from workers.cache.joining import SharedCache

    count = settings["hosts"]
    kind = type("HostEach", (_HostEach,), {"settings": settings})
    location = Location(settings["url"], settings["options"])
    with (
        kind(n_workers=0, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(count)
        client.wait_for_workers(count)
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        facts = read_model(location)
        cache = SharedCache(_FOLDER)
        cache.join(client)
        cache.offer(client, manifest_for(location, facts))
        client.gather([client.submit(_connect, location, workers=[worker], pure=False) for worker in workers])
        started_s = clock()
        pulls = [client.submit(_pull, location, facts, workers=[worker], pure=False) for worker in workers]
        client.gather(pulls)
        return {"seconds": clock() - started_s, "efficiency_seen": cache.traffic(client).efficiency}


def _connect(location: Any) -> None:
    """Import and connect before the clock starts, as on the rivals' hosts."""
    import workers.model_cache  # noqa: F401
    from workers.cache.origin import open_origin

    open_origin(location)


def _pull(location: Any, facts: Any) -> None:
    from workers.model_cache import ensure_local

    ensure_local(location, facts, Path(_FOLDER).expanduser())


if __name__ == "__main__":
    main(run)
