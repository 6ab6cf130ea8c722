"""Stage 5, index: embeddings into FAISS, committed by generation."""

from __future__ import annotations

import os

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from pressrun.index.generations import commit_index
from pressrun.run import Run
from tasks.retries import is_worth_retrying
from tasks.run_log import log_line
from tasks.stage import stage
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.search_examples import find_examples


@task(
    name="index outputs",
    task_run_name="index {run.plan.requests.num_rows} images",
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_worth_retrying,
    timeout_seconds=12 * 3600,
    cache_policy=NO_CACHE,
)
def index_outputs(run: Run, fleet: Fleet, order: PrintOrder) -> int:
    """Bring the collection's index up to its manifest, and return its rows."""
    if run.embedder_facts is None:
        log_line("no embedder, no index")
        return 0
    with stage(run, "index outputs", "indexing"):
        run.check_claim()
        meta = commit_index(
            run.store, run.embedder_facts.dimension, run.embedder_facts.revision, threads=os.cpu_count() or 1
        )
        if meta is not None:
            find_examples(run, fleet, order)
    rows = meta.rows if meta else 0
    log_line(f"{rows} images can be searched")
    return rows
