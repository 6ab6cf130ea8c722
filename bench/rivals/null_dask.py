"""Plain Dask on null work: `client.map` over the requests, or over chunks of them, and `client.gather`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, LocalCluster

from bench.rivals.null_work import make_folders, print_picture, print_pictures
from bench.rivals.parts import Settings, clock, main, read_rows


def run(settings: Settings) -> dict[str, Any]:
    """Print every request, `batch_size` a task."""
    folder, size = settings["folder"], settings["batch_size"]
    make_folders(folder)
    with (
        LocalCluster(n_workers=settings["workers"], threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(settings["workers"])
        started = clock()
        rows = read_rows(settings)
        if size == 1:
            done = client.gather(client.map(partial(print_picture, folder=folder), rows))
        else:
            chunks = [rows[first : first + size] for first in range(0, len(rows), size)]
            lists = client.gather(client.map(partial(print_pictures, folder=folder), chunks))
            done = [row for some in lists for row in some]
        pq.write_table(pa.Table.from_pylist(done), f"{folder}/manifest.parquet")
        return {"drawing_s": clock() - started}


if __name__ == "__main__":
    main(run)
