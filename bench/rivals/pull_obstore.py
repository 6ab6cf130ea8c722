"""Every host pulls the model for itself by obstore: ranges of 8 MiB by eight threads, written to their places."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.rivals.hosts import Pull, pull_together
from bench.rivals.parts import Settings, main

if TYPE_CHECKING:
    from obstore.store import S3Store

_RANGE_BYTES = 8 * 2**20
_THREADS = 8


def run(settings: Settings) -> dict[str, Any]:
    """Pull on all hosts."""
    return pull_together(settings, open_pull)


def open_pull(settings: Settings, folder: Path) -> Pull:
    """Connect a host."""
    store = open_store(settings)
    sizes = sizes_in(store)
    return lambda: _pull(store, sizes, folder)


def open_store(settings: Settings) -> S3Store:
    """Return the bucket's store, with the model's folder as its root."""
    from obstore.store import S3Store

    place, options = urlsplit(settings["url"]), settings["options"]
    return S3Store(
        place.netloc,
        prefix=place.path.strip("/"),
        endpoint=options["endpoint_url"],
        access_key_id=options["key"],
        secret_access_key=options["secret"],
        region="us-east-1",
        client_options={"allow_http": True, "timeout": "300s"},
    )


def sizes_in(store: S3Store) -> dict[str, int]:
    """Return the size in bytes of every file by path."""
    import obstore

    return {entry["path"]: entry["size"] for entry in obstore.list(store).collect()}


def read_ranges(store: S3Store, sizes: dict[str, int], put: Any) -> None:
    """Read every file in ranges by several threads, and call `put` with path, first byte and bytes of each."""
    import obstore

    def read(span: tuple[str, int]) -> None:
        path, start = span
        end = min(start + _RANGE_BYTES, sizes[path])
        put(path, start, memoryview(obstore.get_range(store, path, start=start, end=end)))

    spans = [(path, start) for path, size in sizes.items() for start in range(0, size, _RANGE_BYTES)]
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(read, spans))


def _pull(store: S3Store, sizes: dict[str, int], folder: Path) -> None:
    opened: dict[str, int] = {}
    for path, size in sizes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        opened[path] = os.open(folder / path, os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(opened[path], size)
    read_ranges(store, sizes, lambda path, start, data: os.pwrite(opened[path], data, start))
    for descriptor in opened.values():
        os.close(descriptor)


if __name__ == "__main__":
    main(run)
