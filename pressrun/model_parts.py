"""A run seen model by model: for each, the same run as if it had nothing else to draw.

Knows nothing of what is done with a part.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from pressrun.job_models import JobModel
from pressrun.plan import model_slices
from pressrun.run import Run


def todo_by_model(todo: pa.Table, models: Mapping[str, JobModel]) -> dict[str, pa.Table]:
    """Return the rows of every model that has any, by its name and in the order in which they are drawn."""
    main = next(iter(models), "")
    slices = model_slices(todo)
    return {part.model or main: todo.slice(part.start, part.stop - part.start) for part in slices}


def parts_of(run: Run) -> dict[str, Run]:
    """Return the run of each model that has something to draw, by name and in the order in which they are drawn.

    Parts share the run's ledger and claim, and are not closed. The only model's part is the run itself.
    """
    if len(run.models) < 2:
        return {run.facts.name: run}
    return {name: _part(run, run.models[name], rows) for name, rows in todo_by_model(run.plan.todo, run.models).items()}


def _part(run: Run, model: JobModel, todo: pa.Table) -> Run:
    part = copy.copy(run)
    part.facts = model.facts
    part.job = replace(run.job, model=model.location, models={})
    part.plan = replace(run.plan, todo=todo, asked=run.plan.asked_of(model.facts.name))
    return part
