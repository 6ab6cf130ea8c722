"""The least time in which hosts can fill from one origin and from one another.

Knows nothing of who sends what; arithmetic on speeds, whether those are told by the links or measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostLink:
    """What one host lacks, and how fast bytes can come to it and go from it.

    Parameters
    ----------
    lacked_bytes : int
        What has to come.
    down_bytes_s : float
        Bytes a second that it can receive; `math.inf` where only the others' links count.
    up_bytes_s : float
        Bytes a second that it can send to other hosts.
    """

    lacked_bytes: int
    down_bytes_s: float
    up_bytes_s: float


def least_s(content_bytes: int, origin_bytes_s: float, hosts: Sequence[HostLink]) -> float:
    """Return the seconds that no plan can beat.

    For N hosts that all lack S bytes which nobody has, this is max(S/B, S/D, N*S/(B + U)): the origin has to send each
    byte once, the slowest host has to receive all of it, and origin and hosts together have to send N copies.

    Parameters
    ----------
    content_bytes : int
        Different bytes that no host has, and which the origin therefore has to send.
    origin_bytes_s : float
        Bytes a second that the origin sends to all hosts together, B.
    hosts : sequence of HostLink
        Those that lack something; their uploads make U.

    Returns
    -------
    float
        0 when nothing is lacking, `math.inf` when what is lacking cannot come.

    References
    ----------
    R. Kumar, K. W. Ross: "Peer-Assisted File Distribution: The Minimum Distribution Time", HotWeb 2006.
    """
    sent_bytes_s = origin_bytes_s + sum(host.up_bytes_s for host in hosts)
    return max(
        _seconds(content_bytes, origin_bytes_s),
        _seconds(sum(host.lacked_bytes for host in hosts), sent_bytes_s),
        *(_seconds(host.lacked_bytes, host.down_bytes_s) for host in hosts),
    )


def efficiency(least_s: float, seconds: float) -> float | None:
    """Return the least time by the time taken; None where no time was taken."""
    return least_s / seconds if seconds > 0 else None


def _seconds(size_bytes: int, bytes_s: float) -> float:
    if not size_bytes:
        return 0.0
    return size_bytes / bytes_s if bytes_s > 0 else float("inf")


__all__ = ["HostLink", "efficiency", "least_s"]
