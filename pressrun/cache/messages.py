"""What hosts tell the registry and what it tells them: plain records, which any wire can carry.

A host is a machine with one cache folder, whatever number of worker processes share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ORIGIN = ""  # as the host that a chunk comes from
Fault = Literal[
    "corrupt", "timeout", "refused", "busy", "missing", "origin", "unreached", "denied", "gone", "disk", "unneeded"
]


@dataclass(frozen=True, slots=True)
class Joined:
    """A host is there, or there again after it was away; what it held before is forgotten.

    Parameters
    ----------
    host : str
        Its name, one a cache folder.
    zone : str
        Hosts of one zone have a faster or cheaper way to one another; "" is a zone too.
    address : str
        "host:port" of its chunk server.
    """

    host: str
    zone: str
    address: str


@dataclass(frozen=True, slots=True)
class Left:
    """A host is gone, with its leases and all it held."""

    host: str


@dataclass(frozen=True, slots=True)
class Holds:
    """A host has these chunks on disk and serves them.

    Parameters
    ----------
    host : str
        Who has them.
    chunks : mapping
        Their ids, and the hashes of their bytes.
    """

    host: str
    chunks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A host does not have these chunks any more."""

    host: str
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WantedChunk:
    """A chunk that a host lacks: its id, size and published hash ("" where there is none)."""

    chunk_id: str
    size_bytes: int
    xxh3: str = ""


@dataclass(frozen=True, slots=True)
class Wants:
    """A host lacks these chunks, in the order in which it would like them.

    Parameters
    ----------
    host : str
        Who lacks them.
    chunks : tuple of WantedChunk
        Those it lacks.
    had_bytes : int
        Bytes that it wanted with them and had on its disk already.
    place : str
        Where it would read them at the origin, without secrets; what fails at one place says nothing of others.
    """

    host: str
    chunks: tuple[WantedChunk, ...]
    had_bytes: int = 0
    place: str = ""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A host does without these chunks: it has them by another way, or gave up."""

    host: str
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Got:
    """A host has a chunk that it was sent for, checked and on disk.

    Parameters
    ----------
    host : str
        Who has it now.
    chunk_id : str
        The chunk.
    source : str
        The host it came from, or `ORIGIN`.
    seconds : float
        How long it took to come.
    xxh3 : str
        Hash of the bytes.
    """

    host: str
    chunk_id: str
    source: str
    seconds: float
    xxh3: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A host could not get a chunk where it was sent.

    Parameters
    ----------
    host : str
        Who tried.
    chunk_id : str
        The chunk.
    source : str
        Where it tried: a host, or `ORIGIN`.
    fault : str
        "corrupt": the bytes do not have the hash; "timeout": too slow; "refused": nobody answers or speaks the
        protocol; "busy": the peer sends as much as it may; "missing": the peer does not have it; "origin": the origin
        cannot give it, after every retry; "unreached": this host gets no answer from the origin; "denied": the origin
        does not let this host read; "gone": the origin has it no more, or has another; "disk": it cannot be written
        here; "unneeded": nobody here waits for it any more.
    reason : str
        What a person should read, without secrets.
    """

    host: str
    chunk_id: str
    source: str
    fault: Fault
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Alive:
    """A host is still reading these chunks from the origin; prolongs its leases."""

    host: str
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """To a host: get a chunk.

    Parameters
    ----------
    host : str
        Who is to get it.
    chunk_id : str
        The chunk.
    source : str
        The host to get it from, or `ORIGIN`, for which this is the lease.
    address, zone : str
        The source's "host:port" and zone; "" for the origin.
    xxh3 : str
        What the bytes must hash to; "" where nobody knows yet, which only an origin read may accept.
    timeout_s : float
        When to give up.
    stall_s : float
        When to give up a peer from which nothing at all comes.
    """

    host: str
    chunk_id: str
    source: str
    address: str
    zone: str
    xxh3: str
    timeout_s: float
    stall_s: float


@dataclass(frozen=True, slots=True)
class Recheck:
    """To a host: a peer received other bytes than this chunk should be; hash it and drop it if it is spoilt."""

    host: str
    chunk_id: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """To a host: chunks cannot be had; `reason` is what a person should read.

    Those that `are_doubtful` have other bytes on other hosts, so what this one may have of them is to be dropped.
    """

    host: str
    chunk_ids: tuple[str, ...]
    reason: str
    are_doubtful: bool = False


Event = Joined | Left | Holds | Dropped | Wants | Unwanted | Got | Failed | Alive
Command = Fetch | Recheck | Abandoned
