"""A model to every host of a fleet, from one origin of limited bandwidth: Pressrun and what people use instead.

Every system reads from the same server, restarted for none of them, and writes to memory-backed folders: the one disk
of one machine would otherwise bound hosts that have a disk each.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from bench.cache_bound import Fleet
from bench.cache_model import write_model
from bench.findings import Figure, Findings, Row
from bench.rivals.pull_runai import runai_is_here
from bench.throttled_origin import Served, ThrottledOrigin, throttled_origin
from bench.trial import Finished, TrialFailed, run_rival

MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class System:
    """A way to bring a model to hosts.

    Parameters
    ----------
    name : str
        What tables call it.
    module : str
        Its module in `bench.rivals`.
    writes_files : bool
        Whether hosts hold the model's files afterwards, which are then compared; else only its tensors in memory.
    is_here : callable
        Whether it is installed.
    """

    name: str
    module: str
    writes_files: bool = True
    is_here: Callable[[], bool] = lambda: True


PRESSRUN = System("Pressrun", "pull_pressrun")
RIVALS = (
    System("s3fs, each host for itself", "pull_s3fs"),
    System("obstore, each host for itself", "pull_obstore"),
    System("Run:ai Model Streamer, each host for itself", "pull_runai", writes_files=False, is_here=runai_is_here),
    System("Dask, one reads, replicate", "replicate_dask"),
)
SYSTEMS = (PRESSRUN, *RIVALS)


def compare_fleet(findings: Findings, fleet: Fleet, scratch: Path, systems: tuple[System, ...] = SYSTEMS) -> None:
    """Bring one model to every host by every system, and show time, bound and what the origin had to send.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    fleet : Fleet
        Hosts, size of the model, bandwidth of the origin.
    scratch : Path
        Folder for the model and the hosts' folders, in memory.
    systems : tuple of System
        What to compare.
    """
    findings.note(f"All folders lie in {scratch}, in memory, for every system.")
    direct = f"hosts reading each for itself are bound to {fleet.direct_bound_s:,.1f} s"
    findings.show(f"{_title(fleet)} ({direct})", _measured(findings, fleet, scratch, systems))


def show_growth(findings: Findings, fleets: Sequence[Fleet], scratch: Path) -> None:
    """Bring one model by Pressrun to more and more hosts; the time should stay what it is."""
    rows = [row for fleet in fleets for row in _measured(findings, fleet, scratch, (PRESSRUN,))]
    findings.show("more and more hosts", rows)


def show_refusals(findings: Findings, fleet: Fleet, scratch: Path, refused_share: float = 0.2) -> None:
    """Bring one model by Pressrun to every host, from an origin that answers 503 to a share of requests."""
    rows = _measured(findings, fleet, scratch, (PRESSRUN,), refused_share)
    findings.show(f"{_title(fleet)}, {refused_share:.0%} of requests answered 503", rows)


def _measured(
    findings: Findings, fleet: Fleet, scratch: Path, systems: tuple[System, ...], refused_share: float = 0.0
) -> list[Row]:
    model = scratch / "origin"
    weights = write_model(model, fleet.model_bytes)
    rows: list[Row] = []
    with throttled_origin(model, fleet.origin_bytes_per_s, refused_share) as origin:
        for system in systems:
            if not system.is_here():
                findings.note(f"{system.name}: not installed, so its row is left out.")
                continue
            rows.append(_row(system, Trial(fleet, origin, model, weights, scratch / "hosts")))
            findings.say(f"{system.name}, {fleet.hosts} hosts: {rows[-1].get('T s', 'failed')} s")
    shutil.rmtree(model)
    return rows


@dataclass(frozen=True, slots=True)
class Trial:
    """What one system is to do.

    Parameters
    ----------
    fleet : Fleet
        Hosts, size, bandwidth.
    origin : ThrottledOrigin
        Where the model is read from.
    model : Path
        The folder that the origin serves.
    weights : list of str
        Paths of its weight files.
    scratch : Path
        Where the hosts' folders are made, removed afterwards.
    """

    fleet: Fleet
    origin: ThrottledOrigin
    model: Path
    weights: list[str]
    scratch: Path


def _row(system: System, trial: Trial) -> Row:
    before = trial.origin.served()
    settings = {
        "url": trial.origin.url,
        "options": trial.origin.options,
        "weights": trial.weights,
        "hosts": trial.fleet.hosts,
        "hosts hold": "files" if system.writes_files else "tensors in memory",
        "folder": str(trial.scratch),
    }
    try:
        finished, result = run_rival(system.module, settings, trial.scratch)
        wrong = _wrong_files(trial) if system.writes_files else 0
    except TrialFailed as error:
        return {"system": system.name, "failed": str(error)[-200:]}
    finally:
        shutil.rmtree(trial.scratch, ignore_errors=True)
    return _figures(system, trial, result["seconds"], finished, trial.origin.served() - before) | {"wrong files": wrong}


def _figures(system: System, trial: Trial, seconds: float, finished: Finished, served: Served) -> dict[str, Figure]:
    return {
        "system": system.name,
        "hosts": trial.fleet.hosts,
        "hosts hold": "files" if system.writes_files else "tensors in memory",
        "T s": seconds,
        "bound s": trial.fleet.bound_s,
        "efficiency": trial.fleet.bound_s / seconds,
        "origin copies": served.body_bytes / _size_bytes(trial.model),
        "requests": served.requests,
        "refused": served.refused,
        "processor s": finished.cpu_s,
        "taken by others": finished.foreign_share,
    }


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _wrong_files(trial: Trial) -> int:
    """Return how many files of the hosts are missing or not the origin's."""
    paths = [path.relative_to(trial.model) for path in trial.model.rglob("*") if path.is_file()]
    right = {path: _hash(trial.model / path) for path in paths}
    wrong = 0
    for number in range(trial.fleet.hosts):
        found = list((trial.scratch / f"host-{number}").rglob("model_index.json"))
        folder = found[0].parent if found else trial.scratch / "none"
        wrong += sum(not (folder / path).is_file() or _hash(folder / path) != right[path] for path in paths)
    return wrong


def _hash(path: Path) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**24):
            hasher.update(block)
    return hasher.hexdigest()


def _title(fleet: Fleet) -> str:
    bandwidth = f"{fleet.origin_bytes_per_s / 1e6:,.0f} MB/s in all"
    return f"{fleet.hosts} hosts, {fleet.model_bytes / 1e6:,.0f} MB, origin {bandwidth}"


__all__ = ["MEMORY", "PRESSRUN", "RIVALS", "SYSTEMS", "System", "compare_fleet", "show_growth", "show_refusals"]
