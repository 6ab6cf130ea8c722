"""`pressrun plan`: what `pressrun generate` would do and cost; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from deployments.console import ExitCode, err, out, show_error
from deployments.generate_command import GenerateOptions, Json, parameters_of
from deployments.prefect_environment import prepare_prefect
from pressrun.batch_sizes import BatchSizes, Bucket, Shape
from pressrun.draft import Draft, draft_run, picture_revision
from pressrun.engine_options import drawing
from pressrun.errors import QuoteRefused
from pressrun.job import Job
from pressrun.model_parts import todo_by_model
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.plan import Plan, count_batches, shapes
from pressrun.profile import Profile, profile_stores, recall_profiles
from pressrun.quote import Crew, Quote, Terms, make_quote
from pressrun.quote_wording import refusal, rows
from pressrun.workload import Workload, all_together, workload


def plan(prompts: str, options: GenerateOptions, *, as_json: Json = False) -> ExitCode:
    """Show what `generate` would do and what it would cost for every worker count; nothing is run.

    The figures come from earlier runs of the model, in the collection or on this machine, wherever they were measured;
    `generate` itself quotes again from the workers it runs on, their start included.

    Parameters
    ----------
    prompts : str
        CSV, TSV, JSONL, Parquet or text file; a path or any fsspec URL.
    options : GenerateOptions
        As for `generate`.
    as_json : bool
        Print the plan as JSON.
    """
    prepare_prefect(verbose=False)
    parameters = parameters_of(prompts, options)
    draft, fleet = draft_run(parameters.job()), parameters.fleet()
    try:
        largest = fleet.largest
    finally:
        fleet.close()
    drafted = draft.foresee()
    parts = _parts(draft, drafted)
    quote = _quote(draft.job, parts, largest)
    record = _record(draft, drafted, parts) | _quoted(quote, draft.job.workers or largest)
    if as_json:
        out.print_json(json.dumps(record))
    else:
        _show(record, quote)
    if draft.library.refusal:
        err.print(Text(draft.library.refusal), soft_wrap=True)
    return ExitCode.DONE if _is_possible(quote) else ExitCode.REFUSED


@dataclass(frozen=True, slots=True)
class _Part:
    """What a job has left to draw with one model, and what is remembered of that model's speed by picture size."""

    model: str
    todo: pa.Table
    asked: Mapping[Bucket, int]
    profiles: Mapping[Shape, Profile]

    def sizes(self, job: Job) -> BatchSizes | None:
        """Return the batch sizes; None when one is not known."""
        wanted, given = shapes(self.todo), job.batch_size
        if given is None and not all(shape in self.profiles for shape in wanted):
            return None
        most = {shape: given or self.profiles[shape].batch_size for shape in wanted}
        return BatchSizes(most, {} if job.keeps_batch_size else self.asked)

    def work(self, job: Job) -> Workload | None:
        """Return what there is to draw; None when its speed is not known."""
        sizes = self.sizes(job)
        return workload(self.todo, self.profiles, sizes) if sizes else None


def _parts(draft: Draft, drafted: Plan) -> list[_Part]:
    several = len(draft.models) > 1
    return [
        _Part(
            name,
            todo,
            drafted.asked_of(name) if several else drafted.asked,
            _profiles(draft.job, draft.models[name].facts),
        )
        for name, todo in todo_by_model(drafted.todo, draft.models).items()
    ]


def _profiles(job: Job, facts: ModelFacts) -> dict[Shape, Profile]:
    """Return what is remembered of a model's speed, at the batch sizes that the job would have."""
    revision, how = picture_revision(facts, job.engine), drawing(job.dtype, job.options)
    found = recall_profiles(profile_stores(job), revision, how)
    if job.batch_size is None:
        return {shape: profile.within(job.longest_batch_s) for shape, profile in found.items()}
    at_given = {shape: profile.at(job.batch_size) for shape, profile in found.items()}
    return {shape: profile for shape, profile in at_given.items() if profile is not None}


def _quote(job: Job, parts: Sequence[_Part], largest: int) -> Quote | None:
    work = all_together(part.work(job) for part in parts)
    if work is None or not work.batches:
        return None
    crew = Crew(largest, largest, price_per_worker_hour=job.price_per_worker_hour)
    return make_quote(work, crew, Terms(job.workers, job.deadline_s, job.budget))


def _is_possible(quote: Quote | None) -> bool:
    if quote is None or quote.chosen is not None:
        return True
    show_error(QuoteRefused(refusal(quote)))
    return False


def _record(draft: Draft, drafted: Plan, parts: Sequence[_Part]) -> dict[str, object]:
    measured = {
        part.profiles[shape].hardware for part in parts for shape in shapes(part.todo) if shape in part.profiles
    }
    return {
        "model": ", ".join(f"{model.facts.name} ({model.facts.pipeline_class})" for model in draft.models.values()),
        "asked": drafted.requests.num_rows,
        "duplicates": drafted.duplicates,
        "held": drafted.held,
        "to_render": drafted.todo.num_rows,
        "sizes": "; ".join(_said_sizes(part, len(draft.models) > 1) for part in parts) or "none",
        "batches": _batches(parts, draft.job),
        "measured_on": ", ".join(sorted(measured)) or None,
    }


def _said_sizes(part: _Part, with_model: bool) -> str:
    sizes = ", ".join(f"{count} of {width} x {height} px" for (width, height), count in shapes(part.todo).items())
    return f"{part.model}: {sizes}" if with_model else sizes


def _batches(parts: Sequence[_Part], job: Job) -> int | None:
    counts = 0
    for part in parts:
        sizes = part.sizes(job)
        if sizes is None:
            return None
        counts += count_batches(part.todo, sizes)
    return counts


def _quoted(quote: Quote | None, workers: int) -> dict[str, object]:
    chosen = quote.chosen if quote else None
    unquoted = workers if quote is None else None
    return {
        "workers": chosen.workers if chosen else unquoted,
        "worker_seconds": round(chosen.worker_s, 1) if chosen else None,
        "wall_seconds": round(chosen.wall_s, 1) if chosen else None,
        "cost": round(chosen.cost, 4) if chosen and chosen.cost is not None else None,
        "quote": [asdict(offer) for offer in quote.offers] if quote else None,
    }


def _show(record: dict[str, object], quote: Quote | None) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in record.items():
        if name != "quote":
            table.add_row(name.replace("_", " "), Text(_shown(value, quote)))
    out.print(table)
    if quote is not None:
        out.print(_offers(quote))


def _shown(value: object, quote: Quote | None) -> str:
    if value is None:
        return "not known before a first run" if quote is None else "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _offers(quote: Quote) -> Table:
    table = Table(box=None, padding=(0, 2))
    shown = rows(quote)
    for name in shown[0]:
        table.add_column("" if name == "choice" else name, justify="right")
    for row in shown:
        table.add_row(*map(Text, row.values()), style="bold" if row["choice"] else "")
    return table
