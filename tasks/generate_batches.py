"""Stage 4, generate: one task a shard, two shards open at once, one window of batches over both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.tasks import exponential_backoff

from pressrun.errors import CollectionBusy, RunCancelled
from pressrun.ledger import Counts
from pressrun.manifest import compact_leftovers
from pressrun.plan import Shard, cut_model_shards
from pressrun.progress import listening
from pressrun.run import Run
from pressrun.tar_clearing import clear_tars
from tasks.cancellation_watch import watching_for_cancellation
from tasks.progress_artifact import ProgressArtifact
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from tasks.traffic_artifact import show_new_traffic
from workers.fleet import Fleet
from workers.generation import generate
from workers.order import PrintOrder
from workers.speed import Speed
from workers.turns import Turns
from workers.window import Window, open_window

_SHARDS_AHEAD = 4  # two are at work, the next ones wait for a thread; ten million pictures are 5,000 shards
_LANDING_S = 12.0  # of the 30 s that Prefect's runner gives a process it has asked to end


@task(
    name="generate shard",
    task_run_name="images {shard.start} to {shard.stop}",
    retries=3,
    retry_delay_seconds=exponential_backoff(2),
    retry_condition_fn=is_worth_retrying,
    cache_policy=NO_CACHE,
)
def generate_shard(run: Run, shard: Shard, speed: Speed, window: Window, turns: Turns) -> int:
    """Generate what is missing of one shard."""
    images = generate(run, shard, speed, window, turns)
    log_line(f"{images} images committed")
    return images


@task(name="generate batches", task_run_name="generate {run.plan.todo.num_rows} images", cache_policy=NO_CACHE)
def generate_batches(run: Run, fleet: Fleet, order: PrintOrder, speed: Speed) -> Counts:
    """Generate all shards and return what became of the images."""
    with stage(run, "generate batches", "drawing"):
        shards = list(cut_model_shards(run.plan.todo, run.job.shard_images, lambda model: speed.of(model).batch_sizes))
        run.ledger.start_generating()
        if shards:
            _generate_all(run, shards, speed, open_window(fleet, order, run.ledger.workers))
            run.check_claim()  # what follows removes what no row names, which may be another writer's by now
            compact_leftovers(run.store)  # of a shard's attempt that could not write its part
            clear_tars(run.store)
            show_new_traffic(run.ledger, "generate batches")
    counts = run.ledger.counts
    log_line(f"{counts.done} images done, {counts.failed} failed, of {counts.total}")
    return counts


def _generate_all(run: Run, shards: list[Shard], speed: Speed, window: Window) -> None:
    artifact = ProgressArtifact(f"{run.run_id} images")
    open_shards: set[PrefectFuture[int]] = set()
    with listening(artifact.update), watching_for_cancellation(window.cancel):
        turns = Turns(shards)
        try:
            _see_through((_submitted(run, shard, speed, window, turns) for shard in shards), open_shards)
        except BaseException:
            window.cancel()  # after an error or a signal, shards that are still open must not go on
            wait(list(open_shards), timeout=_LANDING_S)  # they commit what they have before cluster and claim go
            raise
        finally:
            artifact.finish()


def _see_through(submissions: Iterator[PrefectFuture[int]], open_shards: set[PrefectFuture[int]]) -> None:
    """Submit shards as others end, and raise the first failure when all have ended.

    Raises
    ------
    CollectionBusy, RunCancelled
        At once: no other shard may go on after them.
    """
    ended: SimpleQueue[PrefectFuture[int]] = SimpleQueue()
    failure: Exception | None = None
    while True:
        for future in islice(submissions, _SHARDS_AHEAD - len(open_shards)):
            open_shards.add(future)
            future.add_done_callback(ended.put)
        if not open_shards:
            break
        future = ended.get()
        open_shards.remove(future)
        try:
            future.result()
        except (CollectionBusy, RunCancelled):
            raise
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _submitted(run: Run, shard: Shard, speed: Speed, window: Window, turns: Turns) -> PrefectFuture[int]:
    future = generate_shard.submit(run, shard, speed, window, turns)
    future.add_done_callback(partial(_let_others_pass, turns, shard))
    return future


def _let_others_pass(turns: Turns, shard: Shard, future: PrefectFuture[Any]) -> None:
    turns.have_passed(shard)  # a shard may end before it has begun
