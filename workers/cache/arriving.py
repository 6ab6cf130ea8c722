"""A model whose files are loaded while later ones are still on their way to this host.

Knows nothing of what loads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pressrun.cache.chunk_manifest import ChunkManifest
from workers.cache.chunk_store import ChunkStore
from workers.model_cache import CachedModel
from workers.weights.component_files import Await

_LOOK_S = 0.02  # another process of the host may be the one that publishes files, so nobody tells


@contextmanager
def arriving(
    store: ChunkStore, manifest: ChunkManifest, bring: Callable[[], CachedModel]
) -> Iterator[tuple[Path, Await]]:
    """Bring a model in another thread, and lend its folder with what waits for its files.

    Parameters
    ----------
    store : ChunkStore
        The host's cache folder.
    manifest : ChunkManifest
        What the model consists of.
    bring : callable
        Returns once all of it is there.

    Yields
    ------
    Path
        Where the model's folder is or will be.
    Await
        Returns a file's path once the file is whole, and a folder's once the model is; raises what `bring` raised, and
        FileNotFoundError at once for what the model does not have.
    """
    folder = store.root / manifest.revision
    with ThreadPoolExecutor(1, thread_name_prefix="cache-arrival") as thread:
        brought = thread.submit(bring)
        yield folder, _Arrival(store, manifest, brought).file
        brought.result()


class _Arrival:
    def __init__(self, store: ChunkStore, manifest: ChunkManifest, brought: Future[CachedModel]) -> None:
        self._store, self._manifest, self._brought = store, manifest, brought
        self._folder = store.root / manifest.revision
        self._paths = {PurePosixPath(file.path) for file in manifest.files}
        self._folders = {folder for path in self._paths for folder in path.parents}

    def file(self, path: Path) -> Path:
        name = PurePosixPath(path.relative_to(self._folder))
        if name in self._folders:  # whole at the latest when everything is
            self._brought.result()
            return path
        if name not in self._paths:
            raise FileNotFoundError(path)
        while not self._brought.done():
            found = self._store.file_of(self._manifest, str(name))
            if found is not None:
                return found
            _wait(self._brought)
        self._brought.result()
        return path


def _wait(brought: Future[CachedModel]) -> None:
    try:
        brought.exception(timeout=_LOOK_S)
    except TimeoutError:
        return


__all__ = ["arriving"]
