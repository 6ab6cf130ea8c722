"""Sections of `bench.cache` on hosts with links of their own: slow ones, more and more, a late joiner, two zones.

Figures are in payload by link speeds with headers, which at an MTU of 1,500 bytes take 3.5% of a link: no system can
show an efficiency above 0.965 where the hosts' links are the bound.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from bench.findings import Findings, Row
from bench.host_trial import HostLoad, host_trial, load_by_pressrun, load_by_rival
from bench.network_hosts import LinkSpeed

_MB = 1_000_000
_RIVALS = {"obstore, each host for itself": "pull_obstore", "s3fs, each host for itself": "pull_s3fs"}


def capped_load(hosts: int, model_mb: int, chunk_kib: int = 1024, origin_mb_per_s: float = 8.0) -> HostLoad:
    """Return a load of hosts whose links carry 4 MB/s in each direction."""
    return HostLoad(hosts, model_mb * _MB, chunk_kib * 1024, LinkSpeed(4e6, 4e6), origin_mb_per_s * _MB)


def show_capped(findings: Findings, load: HostLoad, scratch: Path, rivals: bool = True) -> None:
    """Load a model on hosts with slow links, by Pressrun and by rivals.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    load : HostLoad
        Hosts, model, links.
    scratch : Path
        Folder in memory.
    rivals : bool
        Whether to run those, too: they take longer by as many times as there are hosts.
    """
    rows: list[Row] = []
    with host_trial(load, _fresh(scratch)) as trial:
        rows.append({"system": "Pressrun"} | load_by_pressrun(trial))
        findings.say(str(rows[-1]))
        for name, module in _RIVALS.items() if rivals else ():
            rows.append({"system": name} | load_by_rival(trial, module))
            findings.say(str(rows[-1]))
    findings.show(f"{load.described()}: all at once", rows)


def show_growth(findings: Findings, counts: tuple[int, ...], load: HostLoad, scratch: Path) -> None:
    """Load the same model on more and more hosts."""
    rows: list[Row] = []
    for count in counts:
        with host_trial(replace(load, hosts=count), _fresh(scratch)) as trial:
            rows.append({"hosts": count} | load_by_pressrun(trial))
        findings.say(str(rows[-1]))
    fastest = min(float(str(row["T s"])) for row in rows)
    growth = [{**row, "T by the least": float(str(row["T s"])) / fastest} for row in rows]
    findings.show(f"{load.described(with_hosts=False)}: growth", growth)


def show_zones(findings: Findings, load: HostLoad, scratch: Path) -> None:
    """Load a model on hosts in two zones, and count what crosses between them."""
    with host_trial(replace(load, zones=("a", "b")), _fresh(scratch)) as trial:
        findings.show(f"{load.described()}: two zones, by turns", [load_by_pressrun(trial)])


def show_joiner(findings: Findings, load: HostLoad, scratch: Path) -> None:
    """Have one host join when all others have the model."""
    with host_trial(load, _fresh(scratch)) as trial:
        load_by_pressrun(trial)
        host = trial.cluster.net.add_host(load.link)
        name = trial.cluster.start(host)
        trial.cluster.await_all()
        trial.await_joined(load.hosts + 1)
        before, started_s = trial.origin.served(), time.monotonic()
        origin_bytes = trial.submit([name])[name].result()
        seconds = time.monotonic() - started_s
        found = trial.figures(seconds, trial.origin.served() - before, [host])
    least_s = trial.size_bytes / load.link.down_bytes_per_s
    joiner = {"bound s": least_s, "efficiency": None, "share of its link": least_s / seconds}
    findings.show(f"{load.described()}: one more joins", [found | joiner | {"from the origin": origin_bytes}])


def _fresh(scratch: Path) -> Path:
    folder = scratch / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


__all__ = ["capped_load", "show_capped", "show_growth", "show_joiner", "show_zones"]
