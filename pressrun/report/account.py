"""What a run leaves for people to look at: a report, the facts behind it, and a contact sheet.

Knows nothing of clusters; reads the ledger and the collection.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa

from pressrun import layout, manifest
from pressrun.errors import InvalidCollection
from pressrun.failures import read_failures
from pressrun.model_parts import parts_of
from pressrun.picture_place import read_picture
from pressrun.quote import Quote
from pressrun.quote_wording import headline
from pressrun.report.contact_sheet import MOST_TILES, Tile, choose_evenly, draw_contact_sheet
from pressrun.report.facts import (
    BatchSpeed,
    FailedImage,
    Picture,
    QuotedOffer,
    ReportFacts,
    SearchExample,
    StageTime,
    ThroughputPoint,
)
from pressrun.report.page import write_report
from pressrun.report.thumbnail import open_picture, thumbnail
from pressrun.run import Run
from pressrun.storage import Store
from pressrun.summary import Outcome, RunSummary
from pressrun.wording import amount, duration

logger = logging.getLogger(__name__)
_Sample = tuple[dict[str, Any], bytes]  # a manifest row and its picture's file
_SAMPLES = 24
_MOST_FAILURES = 100
_PARTS_LOOKED_AT = 12  # enough for variety; a large collection is never read whole for a picture of it
_READS_AT_ONCE = 16
_POINTS = 60
_OUTCOMES = {Outcome.complete: "completed", Outcome.partial: "partial", Outcome.unfinished: "failed"}


def write_account(run: Run, summary: RunSummary) -> ReportFacts:
    """Write the report and its facts for a run, and the collection's contact sheet.

    Parameters
    ----------
    run : Run
        The run, its stages done or broken off.
    summary : RunSummary
        How it ended.

    Returns
    -------
    ReportFacts
        What the report tells.
    """
    samples = _with_files(run.store, _sample_rows(run.store))
    facts = _facts(run, summary, samples)
    run.store.write(layout.run(run.run_id, "report.json"), facts.to_json())
    page = write_report(facts).encode()
    run.store.write(layout.run(run.run_id, layout.REPORT), page)
    run.store.write(layout.REPORT, page)
    if samples:
        run.store.write(layout.CONTACT_SHEET, _contact_sheet(run, samples))
    return facts


def _facts(run: Run, summary: RunSummary, samples: Sequence[_Sample]) -> ReportFacts:
    finished = datetime.now(UTC)
    ledger = run.ledger
    return ReportFacts(
        run_id=run.run_id,
        collection=summary.collection,
        outcome=_OUTCOMES[summary.outcome],
        started_at=(finished - timedelta(seconds=summary.wall_s)).isoformat(timespec="seconds"),
        finished_at=finished.isoformat(timespec="seconds"),
        images_asked=summary.asked - summary.duplicates,
        images_made=summary.done,
        images_reused=summary.held,
        images_failed=summary.failed,
        wall_s=summary.wall_s,
        images_per_s=summary.images_per_s,
        workers=ledger.workers,
        model_name=run.model_names,
        model_revision=", ".join(model.facts.revision for model in run.models.values()),
        cost=summary.cost,
        message=f"Stopped in the stage '{ledger.broken_stage}'. {ledger.broken_by}" if ledger.broken_stage else "",
        chosen_batch_size=ledger.profiles[0].batch_size if ledger.profiles else run.job.batch_size,
        stages=_stages(run),
        throughput=_throughput(ledger.points, ledger.workers),
        batch_speeds=_batch_speeds(run),
        offers=_offers(ledger.quote),
        quote=headline(ledger.quote) if ledger.quote else "",
        failures=_failures(run),
        samples=tuple(_picture(*samples[at]) for at in choose_evenly(len(samples), _SAMPLES)),
        searches=_searches(run),
        versions=_versions() | {name: str(value) for name, value in ledger.provenance.items()},
        settings=_settings(run),
        trials={trial.name: trial.effect for trial in ledger.trials},
        traffic=ledger.traffic,
    )


def _stages(run: Run) -> tuple[StageTime, ...]:
    broken = run.ledger.broken_stage
    return tuple(
        StageTime(name, seconds, "failed" if name == broken else "completed")
        for name, seconds in run.ledger.stages.items()
    )


def _throughput(points: Sequence[tuple[float, int]], workers: int) -> tuple[ThroughputPoint, ...]:
    """Return the speed between evenly spaced points of the count of finished images."""
    chosen = [points[at] for at in choose_evenly(len(points), min(_POINTS, max(2, len(points) // 4)))]
    return tuple(
        ThroughputPoint(end_s, (end - start) / (end_s - start_s), workers)
        for (start_s, start), (end_s, end) in pairwise(chosen)
        if end_s > start_s
    )


def _batch_speeds(run: Run) -> tuple[BatchSpeed, ...]:
    """Return the measured curve of the first model's most common picture size, in images/s at the trial's steps."""
    if not run.ledger.profiles:
        return ()
    profile = run.ledger.profiles[0]
    whose = f"{next(iter(parts_of(run)))}, " if len(run.models) > 1 else ""
    note = f"{whose}{profile.width_px} x {profile.height_px} px, {profile.steps} steps"
    return tuple(BatchSpeed(timing.batch_size, 1 / timing.image_s, note) for timing in profile.timings)


def _offers(quote: Quote | None) -> tuple[QuotedOffer, ...]:
    if quote is None:
        return ()
    return tuple(QuotedOffer(offer.workers, offer.wall_s, offer.cost, offer == quote.chosen) for offer in quote.offers)


def _failures(run: Run) -> tuple[FailedImage, ...]:
    if not run.ledger.failures:
        return ()
    rows = read_failures(run.store, run.run_id).slice(0, _MOST_FAILURES).to_pylist()
    return tuple(
        FailedImage(row["prompt"], row["stage"], f"{row['error_type']}: {row['error']}", row["attempts"])
        for row in rows
    )


def _searches(run: Run) -> tuple[SearchExample, ...]:
    found = {image_id for hits in run.ledger.searches.values() for image_id, _ in hits}
    if not found:
        return ()
    prompts = manifest.find_rows(run.store, found, ["image_id", "path", "prompt"])
    rows = {row["image_id"]: row for row in prompts.to_pylist()}
    return tuple(SearchExample(query, _hits(run.store, rows, hits)) for query, hits in run.ledger.searches.items())


def _hits(store: Store, rows: Mapping[str, dict[str, Any]], hits: Sequence[tuple[str, float]]) -> tuple[Picture, ...]:
    scores = dict(hits)
    found = _with_files(store, [rows[image_id] for image_id in scores if image_id in rows])
    return tuple(_picture(row, data, scores[row["image_id"]]) for row, data in found)


def _picture(row: dict[str, Any], data: bytes, score: float | None = None) -> Picture:
    return Picture(row["image_id"], row["prompt"], thumbnail(data), score)


def _contact_sheet(run: Run, samples: Sequence[_Sample]) -> bytes:
    tiles = [Tile(data, row["prompt"]) for row, data in samples]
    title = run.store.root.rpartition("/")[2] or str(run.store.location)
    held = run.plan.held + run.ledger.counts.done
    return draw_contact_sheet(tiles, title, f"{len(tiles)} of {held} images of the job, drawn by {run.model_names}")


def _sample_rows(store: Store) -> list[dict[str, Any]]:
    """Return rows for the contact sheet, spread evenly over the collection."""
    names = manifest.part_names(store)
    looked_at = [names[at] for at in choose_evenly(len(names), _PARTS_LOOKED_AT)]
    if not looked_at:
        return []
    tables = [manifest.read_table(store, name, ["image_id", "path", "prompt"]) for name in looked_at]
    rows: pa.Table = pa.concat_tables(tables)
    chosen: list[dict[str, Any]] = rows.take(choose_evenly(rows.num_rows, MOST_TILES)).to_pylist()
    return chosen


def _with_files(store: Store, rows: Sequence[dict[str, Any]]) -> list[_Sample]:
    """Return the rows with their files, but for those that are gone or damaged: they must not cost the report."""
    with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
        files = threads.map(lambda row: _read_picture(store, row["path"]), rows)
        return [(row, data) for row, data in zip(rows, files, strict=True) if data is not None]


def _read_picture(store: Store, path: str) -> bytes | None:
    try:
        data = read_picture(store, path)
        open_picture(data, path)
    except (FileNotFoundError, InvalidCollection) as error:
        logger.warning("left out of the report: %s", error)
        return None
    return data


def _versions() -> dict[str, str]:
    names = ("pressrun", "prefect", "distributed", "pyarrow", "faiss-cpu")
    return {name: importlib.metadata.version(name) for name in names}


def _settings(run: Run) -> dict[str, str]:
    job = run.job
    plain: dict[str, object] = {
        "model": job.model,
        **{f"model {name}": model.location for name, model in list(run.models.items())[1:]},
        "embedder": job.embedder or "none",
        "adapter files": ", ".join(f"{name} = {place}" for name, place in job.adapters.items()) or "none",
        "engine": job.engine,
        "dtype": job.dtype,
        "batch size": job.batch_size or "measured",
        "engine options": job.options.label or "none",
        "image format": job.picture_format.name,
        "layout": job.layout,
        "shard images": job.shard_images,
        "deadline": "none" if job.deadline_s is None else duration(job.deadline_s),
        "budget": "none" if job.budget is None else amount(job.budget),
    }
    asked = plain | {name: value for name, value in asdict(job.defaults).items() if value not in (None, "")}
    return {name.replace("_", " "): str(value) for name, value in asked.items()}
