"""A Dask worker's link to the cache: asks for models, and in one process of each host keeps the host's part of it.

Knows nothing of chunks; the keeper fetches, the registry decides.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin
from distributed.comm import CommClosedError
from tornado.ioloop import PeriodicCallback

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.messages import Abandoned, Dropped, Fetch, Joined, Recheck
from pressrun.errors import CacheFull, CacheInUse, InvalidModel
from pressrun.location import Location
from workers.cache.bring import Brought
from workers.cache.channel import Answer, Ask, Budget, Message, Stands, packed, stream_op, unpacked
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_server import ChunkServer
from workers.cache.chunk_store import ChunkStore
from workers.cache.eviction import DiskUse
from workers.cache.folder_notes import note_budget, noted_budget
from workers.cache.host_lock import HostLock
from workers.cache.host_name import digest_of, host_name, ip_of
from workers.cache.keeper import Keeper
from workers.cache.leaving import Leaving
from workers.cache.links import LINKS
from workers.cache.metrics import HostNow, cache_metrics
from workers.cache.origin import OriginFailed
from workers.cache.private_folder import make_private
from workers.cache.settings import CacheSettings
from workers.cache.sockets import address_of
from workers.cache.waits import Waits
from workers.cache.zone import zone_of

_BEAT_MS = 4000
_RETRY_S = 15.0

logger = logging.getLogger(__name__)


class CacheLink(WorkerPlugin):  # type: ignore[misc]  # distributed carries no types
    """One worker process's link; registered through the scheduler, so that workers that come later have it too.

    Parameters
    ----------
    settings : CacheSettings
        What the cluster's workers have in common.
    """

    idempotent = True

    def __init__(self, settings: CacheSettings) -> None:
        self.name = stream_op(settings.channel)
        self._settings = settings

    @property
    def host(self) -> str:
        """Name of this host in the cache."""
        return self._host

    def setup(self, worker: Worker) -> None:
        """Begin to listen, and stand for keeper of this host; called by Dask on the worker."""
        self._worker = worker
        self._root = Path(self._settings.folder).expanduser()
        make_private(self._root)
        self._keeper: Keeper | None = None
        self._host = host_name(ip_of(worker.address), self._root)
        self._waits = Waits()
        self._store = ChunkStore(self._root, dropped=self._tell_dropped)
        self._server: ChunkServer | None = None
        worker.stream_handlers[self.name] = self._hear
        self._leaving = Leaving(worker, self._settings.folder, self._send)
        self._beats = PeriodicCallback(self._beat, _BEAT_MS)
        self._beats.start()
        cluster = hashlib.sha256(self._settings.token).hexdigest()[:16]
        self._host_lock = HostLock(self._root / f"keeper-{cluster}-{digest_of(self._host)}.lock")
        self._stand()
        LINKS.append(self)

    async def teardown(self, worker: Worker) -> None:
        """Stop serving, fail whoever waits, and let another process be the keeper; called by Dask."""
        if self not in LINKS:  # its folder could not be had
            return
        await self._leaving.hand_over(self, self._keeper)
        LINKS.remove(self)
        self._beats.stop()
        self._stop_keeping()  # first, as the next keeper may have only this one's port
        self._host_lock.release()
        self._stop_keeping()  # it may have become the keeper meanwhile
        self._waits.close(Answer(self._host, "", problem="The worker was closed before the model was there."))

    def bring(self, location: Location, manifest: ChunkManifest, single_file: bool = False) -> Brought:
        """Return the folder of a revision once it lies whole on this host.

        Parameters
        ----------
        location : Location
            Where it comes from.
        manifest : ChunkManifest
            What it consists of.
        single_file : bool
            Whether the location may be a file itself.

        Raises
        ------
        InvalidModel
            If it cannot be had.
        CacheFull, CacheInUse
            If it cannot be had for now, as others use this host's room or fill it.
        """
        folder = self._store.folder_of(manifest)
        if folder is not None:
            return Brought(folder)
        wait = self._waits.join(manifest.revision)
        self._send(Ask(self._host, location, manifest, single_file))
        answer = wait.answered()
        if answer.problem:
            raise answer.failure(answer.problem)
        folder = self._store.folder_of(manifest)
        if folder is None:
            raise InvalidModel(f"The model {location} was brought to {self._host} and removed at once; run it again.")
        return Brought(folder, answer.origin_bytes)

    @property
    def store(self) -> ChunkStore:
        """The host's folder as this process sees it."""
        return self._store

    @property
    def is_keeper(self) -> bool:
        """Whether it is this process that fetches and serves for its host."""
        return self._keeper is not None

    @property
    def serves_at(self) -> str:
        """Address and port at which it serves its host's chunks; "" where another process does, or none."""
        server = self._server
        return address_of(ip_of(self._worker.address), server.port) if server is not None else ""

    def take_over(self, manifest: ChunkManifest, timeout_s: float) -> None:
        """Bring a revision to this host from its peers alone; only the keeper can.

        Parameters
        ----------
        manifest : ChunkManifest
            What it consists of, with every hash.
        timeout_s : float
            How long its chunks may take.

        Raises
        ------
        InvalidModel
            If no peer gives a chunk, or not in time, or the budget or the disk have no room.
        CacheInUse
            If another process is still filling it when the time is up.
        """
        if self._keeper is None:
            raise InvalidModel(f"The model of revision {manifest.revision} was asked of a worker that is no keeper.")
        self._keeper.bring(None, manifest, timeout_s=timeout_s)

    def _stand(self) -> None:
        self._send(Stands(self._host))
        self._host_lock.when_held(self._become_keeper, self._cannot_keep)

    def _become_keeper(self) -> None:
        """Serve this host's chunks; called from the lock's thread once this process has the lock."""
        connect = self._worker.security.get_connection_args("worker")
        host = ip_of(self._worker.address)
        self._server = self._listening(host)
        me = Joined(self._host, zone_of(self._worker), address_of(host, self._server.port))
        client = ChunkClient(self._settings.token, connect.get("ssl_context"))
        self._keeper = Keeper(me, self._store, client, self._send, self._settings.limits.downloads)
        self._keeper.announce()
        cache_metrics().shows(self._settings.folder, self._now)

    def _listening(self, host: str) -> ChunkServer:
        listen = self._worker.security.get_listen_args("worker")
        serve = partial(
            ChunkServer,
            self._store.find,
            self._settings.token,
            listen.get("ssl_context"),
            uploads=2 * self._settings.limits.uploads,
        )
        try:
            return serve(host=host)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return serve(host=ip_of(self._worker.listen_address))  # the others' address of it is a translated one

    def _cannot_keep(self, error: Exception) -> None:
        """Have another process of the host try, and this one again after a while; called from the lock's thread."""
        problem = f"{type(error).__name__}: {error}"
        logger.error("This worker cannot keep the part of %s in the cache.", self._host, exc_info=error)
        self._stop_keeping()
        self._send(Stands(self._host, problem))
        self._worker.loop.add_callback(self._worker.loop.call_later, _RETRY_S, self._stand)

    def _stop_keeping(self) -> None:
        cache_metrics().hides(self._settings.folder, self._now)
        keeper, self._keeper = self._keeper, None
        server, self._server = self._server, None
        if keeper is not None:
            keeper.close()
        if server is not None:
            server.close()

    def _now(self) -> HostNow:
        """Return how things stand here, for Prometheus."""
        held_bytes = DiskUse(self._root).total_bytes
        waiting_chunks = self._keeper.waiting_chunks if self._keeper else 0
        sent_bytes = self._server.sent_bytes if self._server else 0
        return HostNow(held_bytes, noted_budget(self._root), waiting_chunks, sent_bytes)

    def _hear(self, packed: bytes) -> None:
        try:
            self._take(unpacked(packed))
        except Exception:  # it would end the worker's stream, and with it the worker
            logger.exception("a message of the cache's registry could not be taken in")

    def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            self._waits.answer(message)
        elif isinstance(message, Budget):
            if not message.is_known or noted_budget(self._root) is None:
                note_budget(self._root, message.budget_bytes)
        elif self._keeper is None:
            logger.debug("%s came to a worker that is not the keeper", type(message).__name__)
        elif isinstance(message, Ask):
            self._begin(self._keeper, message)
        elif isinstance(message, Fetch | Recheck | Abandoned):
            self._keeper.obey(message)

    def _begin(self, keeper: Keeper, ask: Ask) -> None:
        try:
            threading.Thread(target=self._bring, args=(keeper, ask), name="cache-bring", daemon=True).start()
        except RuntimeError as error:  # no more threads; as it is under way here, nobody else answers
            self._send(Answer(self._host, ask.manifest.revision, problem=f"The cache failed ({error})."))

    def _bring(self, keeper: Keeper, ask: Ask) -> None:
        revision = ask.manifest.revision
        try:
            brought = keeper.bring(ask.location, ask.manifest, ask.single_file)
        except (CacheFull, CacheInUse, InvalidModel, OriginFailed) as error:
            answer = Answer.refusal(self._host, revision, error)
        except Exception as error:
            logger.exception("a model could not be brought to this host")
            failed = InvalidModel(f"The cache failed ({type(error).__name__}: {error}).")
            answer = Answer.refusal(self._host, revision, failed)
        else:
            answer = Answer(self._host, revision, brought.origin_bytes)
        if keeper is self._keeper:  # else this worker leaves, and the host's next keeper is asked
            self._send(answer)

    def _tell_dropped(self, chunk_ids: tuple[str, ...]) -> None:
        if self._keeper is not None:
            self._send(Dropped(self._host, chunk_ids))

    def _beat(self) -> None:
        if self._keeper is not None:
            self._keeper.beat()

    def _send(self, message: Message) -> None:
        self._worker.loop.add_callback(self._post, packed(self._settings.channel, message))

    def _post(self, told: dict[str, Any]) -> None:
        try:
            self._worker.batched_stream.send(told)
        except CommClosedError:  # the worker is closing; the registry learns of it by itself
            logger.debug("news of the cache could not be sent any more")


__all__ = ["CacheLink"]
