"""`pressrun plan`: what `pressrun generate` would do and cost; nothing is run."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from deployments.console import ExitCode, err, out, show_error
from deployments.generate_command import GenerateOptions, Json, parameters_of
from deployments.prefect_environment import prepare_prefect
from pressrun.batch_sizes import BatchSizes, Shape
from pressrun.engine_options import drawing
from pressrun.errors import QuoteRefused
from pressrun.job import Job
from pressrun.plan import Plan, count_batches, shapes
from pressrun.profile import Profile, profile_stores, recall_profiles
from pressrun.quote import Crew, Quote, Terms, make_quote
from pressrun.quote_wording import refusal, rows
from pressrun.run import Draft, draft_run, picture_revision
from pressrun.workload import workload


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
    drafted, profiles = draft.foresee(), _profiles(draft)
    quote = _quote(draft.job, drafted, profiles, largest)
    record = _record(draft, drafted, profiles) | _quoted(quote, draft.job.workers or largest)
    if as_json:
        out.print_json(json.dumps(record))
    else:
        _show(record, quote)
    if draft.library.refusal:
        err.print(Text(draft.library.refusal), soft_wrap=True)
    return ExitCode.DONE if _is_possible(quote) else ExitCode.REFUSED


def _profiles(draft: Draft) -> dict[Shape, Profile]:
    """Return what is remembered of the job's speed, at the batch sizes that it would have."""
    job = draft.job
    revision, how = picture_revision(draft.facts, job.engine), drawing(job.dtype, job.options)
    found = recall_profiles(profile_stores(job), revision, how)
    if job.batch_size is None:
        return found
    at_given = {shape: profile.at(job.batch_size) for shape, profile in found.items()}
    return {shape: profile for shape, profile in at_given.items() if profile is not None}


def _quote(job: Job, drafted: Plan, profiles: dict[Shape, Profile], largest: int) -> Quote | None:
    most = {shape: profile.batch_size for shape, profile in profiles.items()}
    work = workload(drafted.todo, profiles, _sizes(job, drafted, most))
    if work is None or not work.batches:
        return None
    crew = Crew(largest, largest, price_per_worker_hour=job.price_per_worker_hour)
    return make_quote(work, crew, Terms(job.workers, job.deadline_s, job.budget))


def _sizes(job: Job, drafted: Plan, most: dict[Shape, int]) -> BatchSizes:
    return BatchSizes(most, {} if job.keeps_batch_size else drafted.asked)


def _is_possible(quote: Quote | None) -> bool:
    if quote is None or quote.chosen is not None:
        return True
    show_error(QuoteRefused(refusal(quote)))
    return False


def _record(draft: Draft, drafted: Plan, profiles: dict[Shape, Profile]) -> dict[str, object]:
    wanted, given = shapes(drafted.todo), draft.job.batch_size
    sizes = {shape: given or profiles[shape].batch_size for shape in wanted if given or shape in profiles}
    return {
        "model": f"{draft.facts.name} ({draft.facts.pipeline_class})",
        "asked": drafted.requests.num_rows,
        "duplicates": drafted.duplicates,
        "held": drafted.held,
        "to_render": drafted.todo.num_rows,
        "sizes": ", ".join(f"{count} of {width} x {height} px" for (width, height), count in wanted.items()) or "none",
        "batches": count_batches(drafted.todo, _sizes(draft.job, drafted, sizes))
        if len(sizes) == len(wanted)
        else None,
        "measured_on": ", ".join(sorted({profiles[shape].hardware for shape in wanted if shape in profiles})) or None,
    }


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
