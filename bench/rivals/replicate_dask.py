"""One Dask worker reads the model, `client.replicate` copies it to the others, each writes the files.

The one reads by obstore in eight threads, so that what is measured is the copying. The workers have no memory limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import Client, LocalCluster, wait

from bench.rivals.hosts import host_folder
from bench.rivals.parts import Settings, clock, main
from bench.rivals.pull_obstore import open_store, read_ranges, sizes_in

# Arrays travel between workers without being copied into a pickle.
Files = dict[str, npt.NDArray[np.uint8]]


def run(settings: Settings) -> dict[str, Any]:
    """Read once, replicate, write everywhere."""
    count = settings["hosts"]
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(count)
        workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        wait(client.map(_connect, [settings] * count, workers=workers, pure=False))
        started_s = clock()
        model = client.submit(_read, settings, workers=workers[:1], pure=False)
        wait(model)
        read_s = clock()
        client.replicate(model)
        replicated_s = clock()
        folders = [str(host_folder(settings, number)) for number in range(count)]
        written = [
            client.submit(_write, model, folder, workers=[worker], pure=False)
            for folder, worker in zip(folders, workers, strict=True)
        ]
        client.gather(written)
        return {
            "seconds": clock() - started_s,
            "reading_s": read_s - started_s,
            "replicating_s": replicated_s - read_s,
        }


def _connect(settings: Settings) -> None:
    sizes_in(open_store(settings))


def _read(settings: Settings) -> Files:
    store = open_store(settings)
    sizes = sizes_in(store)
    files = {path: np.empty(size, np.uint8) for path, size in sizes.items()}

    def put(path: str, start: int, data: memoryview) -> None:
        files[path][start : start + len(data)] = data

    read_ranges(store, sizes, put)
    return files


def _write(files: Files, folder: str) -> None:
    for path, data in files.items():
        (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / path).write_bytes(data.data)


if __name__ == "__main__":
    main(run)
