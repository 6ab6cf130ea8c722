"""SIGKILL at random moments while hosts load a model: `python -m bench.cache_kills --rounds 100`.

Every round has a cluster of hosts with two worker processes each load a model of many small chunks, and kills one role
in the middle: the process that keeps a host's cache, the host's other process, the scheduler, the client, or the
origin, which comes back a second later. Every file under its final name is then compared with its source, what was
killed is started again, and the load is run again: it has to end, with the right files on every host.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from cyclopts import App
from distributed import Client, Future

from bench.cache_fleet import MEMORY
from bench.cache_model import write_model
from bench.findings import Findings, Row
from bench.host_cluster import HostCluster, host_cluster
from bench.host_trial import FOLDER, HostLoad, HostTrial, bring
from bench.killable_origin import KillableOrigin
from bench.network_hosts import LinkSpeed, Network, network
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts
from workers.cache.links import link_for

Role = Literal["keeper", "other process", "scheduler", "client", "origin"]
ROLES: tuple[Role, ...] = ("keeper", "other process", "scheduler", "client", "origin")
_LOAD = HostLoad(3, 8_000_000, 64 * 1024, LinkSpeed(6e6, 6e6), 6e6)
_PROCESSES = 2
_PATIENCE_S = 120.0
_AWAY_S = 1.0
app = App(name="bench.cache_kills", help=__doc__)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round.

    Parameters
    ----------
    role : str
        What was killed.
    killed_at_s : float
        When, from submission.
    in_mid_load : bool
        Whether anybody was still waiting then.
    spoilt : int
        Files under their final names that were not the origin's: after the kill and at the end.
    stuck : int or None
        Loads that the kill should not have ended, and which did not finish; None where it ends all of them.
    rerun_s : float
        How long the rerun took.
    failure : str
        Why the rerun did not end with the right files everywhere; "" where it did.
    """

    role: Role
    killed_at_s: float
    in_mid_load: bool
    spoilt: int
    stuck: int | None
    rerun_s: float
    failure: str


@app.default
def kills(*, rounds: int = 100, seed: int = 0, json: Path | None = None, scratch: Path = MEMORY) -> None:
    """Kill and run again.

    Parameters
    ----------
    rounds : int
        How often; the roles take turns.
    seed : int
        Of the moments, as shares of the time that a load takes.
    json : Path
        File for the figures.
    scratch : Path
        Where a folder is made for what is measured, and removed.
    """
    findings, chance = Findings(path=json), random.Random(seed)
    done: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="kills-", dir=scratch, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        write_model(folder / "model", _LOAD.model_bytes)
        with network() as net:
            for _ in range(_LOAD.hosts):
                net.add_host(_LOAD.link)
            with KillableOrigin(folder / "model", _LOAD.origin_bytes_per_s, net.address) as origin:
                load_s = _Trial(net, origin, folder).undisturbed_s()
                findings.note(f"Nobody is killed: {load_s:.1f} s; kills come at any moment of that.")
                for number in range(rounds):
                    role = ROLES[number % len(ROLES)]
                    found = _Trial(net, origin, folder).round(role, chance.uniform(0, load_s))
                    done.append(found)
                    findings.say(f"{number + 1}: {found}")
                    _show(findings, done)


class _Trial:
    """One round."""

    def __init__(self, net: Network, origin: KillableOrigin, folder: Path) -> None:
        self._net, self._origin, self._model = net, origin, folder / "model"
        self._homes = folder / "homes"
        shutil.rmtree(self._homes, ignore_errors=True)

    def undisturbed_s(self) -> float:
        """Return how long a load takes."""
        with host_cluster(self._net, self._homes, self._net.hosts, _PROCESSES) as cluster:
            trial = self._shared(cluster)
            started_s = time.monotonic()
            cluster.client.gather(list(trial.submit(cluster.names()).values()))
            return time.monotonic() - started_s

    def round(self, role: Role, moment_s: float) -> Round:
        with host_cluster(self._net, self._homes, self._net.hosts, _PROCESSES) as cluster:
            trial = self._shared(cluster)
            waiting, futures = self._kill(role, trial, moment_s)
            spoilt = self._spoilt(trial)
            stuck = None if futures is None else self._stuck(futures)
            if role != "scheduler":
                return self._rerun(trial, Round(role, moment_s, waiting, spoilt, stuck, 0.0, ""))
        with host_cluster(self._net, self._homes, self._net.hosts, _PROCESSES) as cluster:
            return self._rerun(self._shared(cluster), Round(role, moment_s, waiting, spoilt, stuck, 0.0, ""))

    def _shared(self, cluster: HostCluster) -> HostTrial:
        trial = HostTrial(_LOAD, cluster, self._origin.running, self._model)
        trial.share()
        return trial

    def _kill(self, role: Role, trial: HostTrial, moment_s: float) -> tuple[bool, list[Future] | None]:
        """Load, kill, and return whether anybody was waiting then, and the loads that ought to finish all the same."""
        cluster, names = trial.cluster, trial.cluster.names()
        if role == "client":
            return self._kill_client(trial, moment_s), None
        keepers = cluster.client.gather(
            {name: cluster.client.submit(_is_keeper, workers=[name], pure=False) for name in names}
        )
        futures = trial.submit(names)
        time.sleep(moment_s)
        waiting = not all(future.done() for future in futures.values())
        if role == "origin":
            self._origin.kill()
            time.sleep(_AWAY_S)
            self._origin.start()
            return waiting, list(futures.values())
        if role == "scheduler":
            cluster.kill_scheduler()
            return waiting, None
        name = next(name for name in names if keepers[name] == (role == "keeper"))
        cluster.kill(name)
        cluster.start(cluster.host_of(name), int(name.rpartition("-")[2]))
        return waiting, [future for other, future in futures.items() if other != name]

    def _kill_client(self, trial: HostTrial, moment_s: float) -> bool:
        told, tells = multiprocessing.get_context("forkserver").Pipe(duplex=False)
        arguments = (trial.cluster.client.scheduler.address, trial.cluster.names(), trial.location, trial.facts, tells)
        client = multiprocessing.get_context("forkserver").Process(target=_load_elsewhere, args=arguments)
        client.start()
        told.recv()
        time.sleep(moment_s)
        waiting = not told.poll()
        client.kill()
        client.join()
        return waiting

    def _stuck(self, futures: Sequence[Future]) -> int:
        gives_up = time.monotonic() + _PATIENCE_S
        while not all(future.done() for future in futures) and time.monotonic() < gives_up:
            time.sleep(0.05)
        return sum(future.status != "finished" for future in futures)

    def _rerun(self, trial: HostTrial, found: Round) -> Round:
        trial.cluster.await_all()
        started_s = time.monotonic()
        futures = list(trial.submit(trial.cluster.names()).values())
        stuck = self._stuck(futures)
        seconds = time.monotonic() - started_s
        wrong = sum(trial.wrong_files(trial.cluster.home(host)) for host in self._net.hosts)
        errors = [str(future.exception()) for future in futures if future.status == "error"]
        failure = f"{stuck} not ended, {wrong} wrong files {errors[:1]}" if stuck or wrong else ""
        spoilt = found.spoilt + self._spoilt(trial)
        return Round(found.role, found.killed_at_s, found.in_mid_load, spoilt, found.stuck, seconds, failure)

    def _spoilt(self, trial: HostTrial) -> int:
        return sum(trial.spoilt_files(trial.cluster.home(host)) for host in self._net.hosts)


def _is_keeper() -> bool:
    link = link_for(Path(FOLDER).expanduser())
    return link is not None and link.is_keeper


def _load_elsewhere(scheduler: str, names: list[str], location: Location, facts: ModelFacts, tells: Connection) -> None:
    with Client(scheduler) as client:
        futures = [client.submit(bring, location, facts, workers=[name], pure=False) for name in names]
        tells.send("submitted")
        client.gather(futures)
        tells.send("done")
        time.sleep(_PATIENCE_S)


def _show(findings: Findings, done: Sequence[Round]) -> None:
    rows: list[Row] = []
    for role in ROLES:
        those = [found for found in done if found.role == role]
        if those:
            rows.append(
                {
                    "killed": role,
                    "rounds": len(those),
                    "in mid-load": sum(found.in_mid_load for found in those),
                    "spoilt files": sum(found.spoilt for found in those),
                    "others that did not end": _sum(found.stuck for found in those),
                    "reruns that did not end": sum(bool(found.failure) for found in those),
                    "longest rerun s": max(found.rerun_s for found in those),
                }
            )
    findings.show("SIGKILL at random moments", rows)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


if __name__ == "__main__":
    app()
