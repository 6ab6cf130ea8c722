"""What travels between a cache's registry on the Dask scheduler and its links on the workers, and under which name.

Dask's own streams carry it, so it is as safe as the cluster's comms, in order, and pushed rather than asked for.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from pressrun.cache.chunk_manifest import ChunkManifest
from pressrun.cache.messages import Command, Event
from pressrun.errors import CacheFull, CacheInUse, InvalidModel, PressrunError
from pressrun.location import Location


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker needs a revision on its host.

    Parameters
    ----------
    host : str
        The worker's host.
    location : Location
        Where the model comes from, with what it takes to read it.
    manifest : ChunkManifest
        What it consists of.
    single_file : bool
        Whether the location may be a file itself.
    """

    host: str
    location: Location = field(repr=False)
    manifest: ChunkManifest = field(repr=False)
    single_file: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The host and the revision: asks of the same key are one."""
        return self.host, self.manifest.revision


@dataclass(frozen=True, slots=True)
class Answer:
    """A revision lies on a host, or cannot.

    Parameters
    ----------
    host, revision : str
        What was asked for.
    origin_bytes : int
        Bytes that the host read from the origin for it.
    problem : str
        Why it cannot be had, with the host's name; "" where it is there.
    failure : type of PressrunError
        What whoever waits is to raise then: what another try may find otherwise is told apart from what it may not.
    """

    host: str
    revision: str
    origin_bytes: int = 0
    problem: str = ""
    failure: type[PressrunError] = InvalidModel

    @classmethod
    def refusal(cls, host: str, revision: str, error: Exception) -> Answer:
        """Return the answer that a revision cannot be had, for this reason."""
        problem = str(error) if host in str(error) else f"{host}: {error}"
        failure = type(error) if isinstance(error, CacheFull | CacheInUse) else InvalidModel
        return cls(host, revision, problem=problem, failure=failure)


@dataclass(frozen=True, slots=True)
class Budget:
    """To every keeper: what models may take on its host from now on.

    Parameters
    ----------
    budget_bytes : int
        The budget.
    is_known : bool
        Whether the host was told before; then what is noted there counts, as a release may have raised it since.
    """

    budget_bytes: int
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Stands:
    """A worker would keep its host's part of the cache, or cannot for now.

    Parameters
    ----------
    host : str
        Its host.
    problem : str
        Why it cannot; "" where it waits for its turn.
    """

    host: str
    problem: str = ""


Message = Ask | Answer | Budget | Stands | Event | Command


def stream_op(channel: str) -> str:
    """Return the name under which a channel's messages travel on Dask's streams."""
    return f"pressrun-cache-{channel}"


def packed(channel: str, message: Message) -> dict[str, Any]:
    """Return a message as Dask's streams carry it."""
    return {"op": stream_op(channel), "packed": pickle.dumps(message)}


def unpacked(data: bytes) -> Message:
    """Return the message that `packed` was given; only what came from the cluster's own comms may be passed in."""
    message: Message = pickle.loads(data)
    return message


__all__ = ["Answer", "Ask", "Budget", "Message", "Stands", "packed", "stream_op", "unpacked"]
