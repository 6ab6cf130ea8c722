"""Stage 4, generate: one task a shard, two shards open at once, one window of batches over both."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.tasks import exponential_backoff

from pressrun.ledger import Counts
from pressrun.manifest import compact_leftovers
from pressrun.plan import Shard, cut_shards
from pressrun.progress import listening
from pressrun.run import Run
from pressrun.tar_clearing import clear_tars
from tasks.cancellation_watch import watching_for_cancellation
from tasks.progress_artifact import ProgressArtifact
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.generation import generate
from workers.order import PrintOrder
from workers.speed import Speed
from workers.window import Window, open_window

_LANDING_S = 12.0  # of the 30 s that Prefect's runner gives a process it has asked to end


@task(
    name="generate shard",
    task_run_name="images {shard.start} to {shard.stop}",
    retries=3,
    retry_delay_seconds=exponential_backoff(2),
    retry_condition_fn=is_worth_retrying,
    cache_policy=NO_CACHE,
)
def generate_shard(run: Run, shard: Shard, speed: Speed, window: Window) -> int:
    """Generate what is missing of one shard."""
    images = generate(run, shard, speed, window)
    log_line(f"{images} images committed")
    return images


@task(name="generate batches", task_run_name="generate {run.plan.todo.num_rows} images", cache_policy=NO_CACHE)
def generate_batches(run: Run, fleet: Fleet, order: PrintOrder, speed: Speed) -> Counts:
    """Generate all shards and return what became of the images."""
    with stage(run, "generate batches", "drawing"):
        shards = list(cut_shards(run.plan.todo, run.job.shard_images, speed.batch_sizes))
        run.ledger.start_generating()
        if shards:
            _generate_all(run, shards, speed, open_window(fleet, order, run.ledger.workers))
            compact_leftovers(run.store)  # of a shard's attempt that could not write its part
            clear_tars(run.store)
    counts = run.ledger.counts
    log_line(f"{counts.done} images done, {counts.failed} failed, of {counts.total}")
    return counts


def _generate_all(run: Run, shards: list[Shard], speed: Speed, window: Window) -> None:
    artifact = ProgressArtifact(f"{run.run_id} images")
    with listening(artifact.update), watching_for_cancellation(window.cancel):
        futures: list[PrefectFuture[int]] = []
        try:
            futures += [generate_shard.submit(run, shard, speed, window) for shard in shards]
            wait(futures)
            for future in futures:
                future.result()
        except BaseException:
            window.cancel()  # after an error or a signal, shards that are still open must not go on
            wait(futures, timeout=_LANDING_S)  # they commit what is finished before the cluster and the claim go
            raise
        finally:
            artifact.finish()
