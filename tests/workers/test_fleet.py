from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from distributed.core import Status

from pressrun.errors import StageFailed
from pressrun.processes import place_digest
from tests import runs
from tests.forked_workers import workers_afresh
from workers import fleet as fleet_module
from workers import waiting_room
from workers.fleet import JoinedFleet, LocalFleet
from workers.worker_settings import worker_environment

WORKERS = 2


@pytest.fixture(scope="module", autouse=True)
def _afresh() -> Iterator[None]:
    with workers_afresh():
        yield


def addresses(fleet: LocalFleet | JoinedFleet) -> set[str]:
    return set(fleet.open().scheduler_info(n_workers=-1)["workers"])


def test_an_open_fleet_gives_the_same_client_again(fleet: LocalFleet) -> None:
    assert fleet.open() is fleet.open()


def test_every_worker_is_a_process_of_its_own(fleet: LocalFleet) -> None:
    pids = set(fleet.open().run(os.getpid).values())
    assert len(pids) == WORKERS
    assert os.getpid() not in pids


def test_workers_share_the_cores_among_them(fleet: LocalFleet) -> None:
    def threads() -> tuple[str | None, int]:
        import torch

        return os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()

    each = max(1, (os.cpu_count() or 1) // WORKERS)
    assert set(fleet.open().run(threads).values()) == {(str(each), each)}


@pytest.mark.parametrize("workers", [1, 2, 10_000])
def test_no_worker_is_left_without_a_thread(workers: int) -> None:
    threads = int(worker_environment(workers)["OMP_NUM_THREADS"])
    assert 1 <= threads <= max(1, (os.cpu_count() or 1) // workers)


def test_workers_leave_ctrl_c_to_the_process_that_started_them(fleet: LocalFleet) -> None:
    def ignores() -> bool:
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    assert set(fleet.open().run(ignores).values()) == {True}


def test_nothing_of_the_fleet_listens_beyond_this_host(fleet: LocalFleet) -> None:
    import psutil

    family = [psutil.Process(), *runs.descendants()]
    listening = {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::1"}


def test_a_fleet_is_never_scaled_beyond_its_largest(fleet: LocalFleet) -> None:
    assert fleet.scale(50) == WORKERS
    assert len(addresses(fleet)) == WORKERS


def test_a_worker_that_dies_is_replaced(fleet: LocalFleet) -> None:
    before = addresses(fleet)
    victim = next(iter(fleet.open().run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    runs.wait_until(lambda: len(addresses(fleet) - before) == 1 and len(addresses(fleet)) == WORKERS, "a new worker")


def test_a_closed_fleet_has_left_nothing_and_opens_again() -> None:
    before = runs.traces()
    fleet = LocalFleet(1)
    for _ in range(2):
        fleet.open()
        assert set(runs.scratch_folders()) > before.folders
        fleet.close()
        fleet.close()
        assert runs.leftovers(before) == []


def test_closing_removes_the_folder_of_a_process_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    here, pid = place_digest(), 2**22 + 1
    owners = (f"{here}-{pid}", f"{here}-{os.getpid()}", f"{here}-old", f"0123456789ab-{pid}", f"{pid}")
    dead, alive, strange, of_another_container, of_an_older_version = folders = [
        tmp_path / f"pressrun-dask-{owner}-x" for owner in owners
    ]
    for folder in folders:
        folder.mkdir()
    LocalFleet().close()
    assert not dead.exists()
    assert alive.exists()
    assert strange.exists()
    assert of_another_container.exists()
    assert of_an_older_version.exists()


def test_a_fleet_that_is_not_open_cannot_be_scaled() -> None:
    with pytest.raises(StageFailed, match="not open"):
        LocalFleet(1).scale(1)


def test_a_joined_fleet_borrows_the_workers_that_are_there_and_leaves_them(fleet: LocalFleet) -> None:
    owner = fleet.open()
    before = addresses(fleet)
    joined = JoinedFleet(owner.scheduler.address)
    assert joined.largest == WORKERS
    assert (joined.scale(1), joined.scale(50)) == (1, WORKERS)
    assert joined.open() is joined.open()
    joined.close()
    joined.close()
    assert addresses(fleet) == before
    assert joined.record() == {"kind": "joined", "address": owner.scheduler.address}


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with pytest.raises(StageFailed, match=r"tcp://127\.0\.0\.1:9 within 1 s"):
        JoinedFleet("tcp://127.0.0.1:9", connect_timeout_s=1).open()


def test_a_scheduler_without_workers_is_refused() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        with pytest.raises(StageFailed, match="has workers"):
            JoinedFleet(cluster.scheduler_address, connect_timeout_s=1).open()
        with Client(cluster) as client:
            assert client.scheduler_info()["workers"] == {}


def test_a_worker_that_a_run_holds_back_is_one_to_join() -> None:
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        waiting_room.enter(client, "drawing", list(client.nthreads()))
        joined = JoinedFleet(cluster.scheduler_address, connect_timeout_s=1)
        assert joined.largest == 1
        joined.close()


def test_workers_keep_the_memory_that_a_model_asks_for_again_and_again(fleet: LocalFleet) -> None:
    kept = fleet.open().run(lambda: (os.environ["MALLOC_TRIM_THRESHOLD_"], os.environ["MALLOC_MMAP_THRESHOLD_"]))
    assert set(kept.values()) == {(str(2**30), str(2**25))}


def test_a_fleet_that_could_not_open_leaves_nothing_behind_and_opens_at_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[LocalCluster] = []
    failing = LocalFleet(1)

    def none_came(client: Client, wanted: int) -> int:
        started.append(client.cluster)
        raise StageFailed(f"0 of {wanted} workers started")

    with monkeypatch.context() as patched:
        patched.setattr(fleet_module, "_await_workers", none_came)
        with pytest.raises(StageFailed, match="0 of 1 workers started"):
            failing.open()
    assert started[0].status == Status.closed
    assert failing.client is None
    try:
        assert len(failing.open().nthreads()) == 1
    finally:
        failing.close()
