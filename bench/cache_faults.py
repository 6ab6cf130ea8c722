"""Section of `bench.cache` on hosts with links of their own where something fails in the middle of a load.

A host's worker is killed, a host is cut off without a word, a host sends other bytes than it holds, the origin refuses
a fifth of all requests: each by itself, and several at once. What counts is that the others have the right bytes, that
nobody waits for ever, and that the origin is not read again for it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Future

from bench.findings import Figure, Findings, Row
from bench.host_trial import FOLDER, HostLoad, HostTrial, host_trial
from workers.cache.links import link_for
from workers.cache.piece import Piece

_AT_SHARE = 0.4  # of the model read from the origin, when a host is killed or cut off
_REFUSED_SHARE = 0.2
_PATIENCE_S = 600.0
_SPOILER, _KILLED, _CUT_OFF = 0, 1, 2  # numbers of hosts


@dataclass(frozen=True, slots=True)
class Fault:
    """What fails.

    Parameters
    ----------
    name : str
        What tables call it.
    spoils, kills, cuts_off : bool
        Whether a host sends spoilt bytes, is killed, is cut off.
    refused_share : float
        Share of requests that the origin answers 503.
    """

    name: str
    spoils: bool = False
    kills: bool = False
    cuts_off: bool = False
    refused_share: float = 0.0


FAULTS = (
    Fault("none"),
    Fault("a host's worker is killed", kills=True),
    Fault("a host is cut off", cuts_off=True),
    Fault("a host sends spoilt bytes", spoils=True),
    Fault("the origin refuses a fifth", refused_share=_REFUSED_SHARE),
    Fault("all of these but the cut", spoils=True, kills=True, refused_share=_REFUSED_SHARE),
)


def show_faults(findings: Findings, load: HostLoad, scratch: Path, faults: tuple[Fault, ...] = FAULTS) -> None:
    """Load a model on all hosts at once, with something failing in the middle.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    load : HostLoad
        Hosts, three or more, model and links.
    scratch : Path
        Folder in memory.
    faults : tuple of Fault
        What fails, one after the other.
    """
    rows: list[Row] = []
    for fault in faults:
        folder = scratch / "faults"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with host_trial(replace(load, refused_share=fault.refused_share), folder) as trial:
            rows.append({"fault": fault.name} | _row(fault, trial))
        findings.say(str(rows[-1]))
    findings.show(f"{load.described()}: something fails", rows)


def _row(fault: Fault, trial: HostTrial) -> dict[str, Figure]:
    trial.share()
    names = trial.cluster.names()
    if fault.spoils:
        trial.cluster.client.submit(_spoil, workers=[names[_SPOILER]], pure=False).result()
    before, started_s = trial.origin.served(), time.monotonic()
    futures = trial.submit(names)
    gone = _fail(fault, trial, lambda: trial.origin.served().body_bytes - before.body_bytes)
    left = {name: future for name, future in futures.items() if name not in gone}
    waiting = _await(list(left.values()))
    seconds = time.monotonic() - started_s
    hosts, lost = ([trial.cluster.host_of(name) for name in names] for names in (left, gone))
    failed = sum(future.status == "error" for future in left.values())
    faults = Counter[str]()
    for host in trial.cache.traffic(trial.cluster.client).hosts:
        faults.update(host.faults)
    return trial.figures(seconds, trial.origin.served() - before, hosts) | {
        "wrong files, the lost hosts'": sum(trial.spoilt_files(trial.cluster.home(host)) for host in lost),
        "hosts that failed": failed,
        "hosts still waiting": waiting,
        "chunks that failed": ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())) or "none",
    }


def _fail(fault: Fault, trial: HostTrial, read_bytes: Callable[[], int]) -> list[str]:
    names = trial.cluster.names()
    gone: list[str] = []
    if not (fault.kills or fault.cuts_off):
        return gone
    while read_bytes() < _AT_SHARE * trial.size_bytes:
        time.sleep(0.05)
    if fault.kills:
        gone.append(names[_KILLED])
        trial.cluster.kill(names[_KILLED])
    if fault.cuts_off:
        gone.append(names[_CUT_OFF])
        trial.cluster.net.cut_off(trial.cluster.host_of(names[_CUT_OFF]))
    return gone


def _await(futures: list[Future]) -> int:
    """Wait for futures, and return how many did not end."""
    gives_up = time.monotonic() + _PATIENCE_S
    while (waiting := sum(not future.done() for future in futures)) and time.monotonic() < gives_up:
        time.sleep(0.05)
    return waiting


def _spoil() -> None:
    """Have this host send other bytes than it holds, from now on."""
    link: Any = link_for(Path(FOLDER).expanduser())
    server = link._server
    find, spoilt = server._find, Path.home() / "spoilt"

    def find_spoilt(chunk_id: str) -> Piece | None:
        piece = find(chunk_id)
        if piece is None:
            return None
        if not spoilt.exists() or spoilt.stat().st_size < piece.size_bytes:
            spoilt.write_bytes(os.urandom(piece.size_bytes))
        return Piece(spoilt, 0, piece.size_bytes)

    server._find = find_spoilt


__all__ = ["FAULTS", "Fault", "show_faults"]
