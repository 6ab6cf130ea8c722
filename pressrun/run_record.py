"""What a run writes down of its job when it opens.

Knows nothing of how the run goes on; no secret is part of it, since locations do not show theirs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pressrun.job_models import JobModel
from pressrun.location import Location

if TYPE_CHECKING:
    from pressrun.run import Run


def describe(run: Run) -> dict[str, object]:
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
        "engine": job.engine,
        "dtype": job.dtype,
        "options": asdict(job.options),
        "picture_format": asdict(job.picture_format),
        "layout": job.layout,
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
