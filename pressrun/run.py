"""A run: a job checked, planned, and holding the claim on its collection.

Knows nothing of clusters, nor of how jobs are checked (`pressrun.draft`).
"""

from __future__ import annotations

import json
from dataclasses import asdict

from pressrun import layout, manifest
from pressrun.collection import join_collection
from pressrun.draft import Draft, draft_of
from pressrun.errors import CollectionBusy
from pressrun.job import Job
from pressrun.job_models import JobModel
from pressrun.ledger import Ledger
from pressrun.location import Location
from pressrun.plan import Plan
from pressrun.reuse import take_over
from pressrun.storage import Store
from pressrun.tar_clearing import clear_tars
from pressrun.writer_claim import WriterClaim


class Run:
    """A planned job under way; the one writer of its collection until it is closed.

    Parameters
    ----------
    run_id : str
        Names the run in rows and folders.
    draft : Draft
        The checked job.
    plan : Plan
        What is left to do.
    claim : WriterClaim
        The acquired claim.
    """

    def __init__(self, run_id: str, draft: Draft, plan: Plan, claim: WriterClaim) -> None:
        self.run_id = run_id
        self.job = draft.job
        self.facts = draft.facts
        self.models = draft.models
        self.embedder_facts = draft.embedder_facts
        self.adapters = draft.adapters
        self.plan = plan
        self.library = draft.library
        self.store = Store(draft.job.collection)
        self.ledger = Ledger(total=plan.todo.num_rows)
        self.ledger.opened_at = draft.begun_at
        self._claim = claim
        self._is_closed = False

    @property
    def model_names(self) -> str:
        """The names of the job's models in one line, the main one's first."""
        return ", ".join(self.models) or self.facts.name

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to render."""
        return bool(self.plan.todo.num_rows == 0)

    def note(self, name: str, record: object) -> None:
        """Write one of the run's own JSON records."""
        self.store.write(layout.run(self.run_id, name), json.dumps(record, indent=2, default=str).encode())

    @property
    def holds_claim(self) -> bool:
        """Whether this run is still the one that may write."""
        return not self._claim.is_lost

    def check_claim(self) -> None:
        """Raise CollectionBusy when another run may write to the collection: this one seemed dead, or was closed."""
        if self._is_closed or not self.holds_claim:
            raise CollectionBusy(
                f"Run {self.run_id} gave no sign of life for too long, so that another may have taken "
                f"{self.store.location} over; what was finished is kept, run the job again when no other run is "
                "at work there."
            )

    def close(self) -> None:
        """Remove temporary objects and give the collection free; closing again does nothing."""
        try:
            if self.holds_claim:  # else the temporary objects are another run's
                self.store.sweep()
        finally:
            self._is_closed = True
            self._claim.release()

    def __repr__(self) -> str:
        """Return the run's id and size; never its options."""
        return f"Run({self.run_id!r}, {self.plan.todo.num_rows} images to do)"


def open_run(job: Job, run_id: str) -> Run:
    """Check and plan a job, claim its collection, and clear up what a killed run left there.

    Inside `pressrun.draft.drafted`, the same job's draft is taken as it is; what the collection holds is looked up
    under the claim either way.

    Raises
    ------
    CollectionBusy
        When another run writes to the collection.
    PressrunError
        Whatever `pressrun.draft.draft_run` and `join_collection` refuse.
    """
    draft = draft_of(job)
    store = Store(job.collection)
    claim = WriterClaim(store, run_id)
    claim.acquire()
    try:
        join_collection(store, draft.identity)
        store.sweep()
        manifest.compact_leftovers(store)
        clear_tars(store)
        reused = take_over(store, draft.library.collections, draft.requests, run_id, job.reuse.how)
        run = Run(run_id, draft, draft.plan(), claim)
        run.ledger.reused = reused
        manifest.write_large(run.store, layout.run(run_id, "plan.parquet"), draft.requests)
        run.note("job.json", _describe(run))
    except BaseException:
        claim.release()
        raise
    return run


def _describe(run: Run) -> dict[str, object]:
    """Return what `job.json` says: what was asked for, with what, and what of it is left to do."""
    job = run.job
    return {
        "run_id": run.run_id,
        "prompts": str(job.prompts) if isinstance(job.prompts, Location) else f"a list of {len(job.prompts)}",
        "model": _describe_model(next(iter(run.models.values()))),
        "models": [_describe_model(model) for model in run.models.values()],
        "adapters": {
            adapter.name: {"location": str(adapter.location), "revision": adapter.revision}
            for fitting in run.adapters.values()
            for adapter in fitting
        },
        "embedder": str(job.embedder) if job.embedder else None,
        "collection": str(job.collection),
        "defaults": asdict(job.defaults),
        "batch_size": job.batch_size,
        "longest_batch_s": job.longest_batch_s,
        "engine": job.engine,
        "dtype": job.dtype,
        "options": asdict(job.options),
        "picture_format": asdict(job.picture_format),
        "layout": job.layout,
        "cache": asdict(job.cache),
        "tenant": job.tenant,
        "reuse": _reuse(run),
        "deadline_s": job.deadline_s,
        "budget": job.budget,
        "price_per_worker_hour": job.price_per_worker_hour,
        "requested": run.plan.requests.num_rows,
        "duplicates": run.plan.duplicates,
        "held": run.plan.held,
        "reused": run.ledger.reused,
        "todo": run.plan.todo.num_rows,
    }


def _reuse(run: Run) -> dict[str, object]:
    reuse = run.job.reuse
    return {
        "from": [str(place) for place in run.library.collections],
        "passed_over": {reason: list(places) for reason, places in run.library.passed_over.items()},
        "how": reuse.how,
        "across_tenants": reuse.across_tenants,
    }


def _describe_model(model: JobModel) -> dict[str, str]:
    return {"location": str(model.location), "name": model.facts.name, "revision": model.facts.revision}
