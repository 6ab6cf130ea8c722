"""How much of a run the denoiser works, and what a second worker brings, on the carried model.

Read from the notes of `bench.engines`: every rendering's beginning and end, and the seconds of its denoiser.
"""

from __future__ import annotations

from pathlib import Path

from bench.command_line import PressRun, press
from bench.findings import Findings, Row
from bench.timeline import busy, read_spans
from bench.workload import plain, write_requests


def show_busy_share(findings: Findings, requests: int, scratch: Path) -> None:
    """Run the carried model with one worker and two of a thread each, and show how busy they were.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    requests : int
        Pictures for two workers; one gets half of them.
    scratch : Path
        Folder for collections.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    speeds: dict[int, float] = {}
    for workers in (1, 2):
        prompts = write_requests(plain(requests * workers // 2), scratch / f"prompts-{workers}.parquet")
        options = {"engine": "bench.engines:one_thread", "workers": workers, "batch-size": 16}
        run = press(prompts, scratch / f"workers-{workers}", scratch / "home", options)
        speeds[workers] = _steady_speed(run)
        share = busy(read_spans(run.collection))
        rows.append(
            {
                "workers": workers,
                "images": run.summary["done"],
                "generating_s": run.generating_s,
                "rendering share": share.rendering_share,
                "denoising share": share.denoising_share,
                "share by receipts": _share_by_receipts(run, workers),
                "tail_s": share.tail_s,
                "images/s": speeds[workers],
                "efficiency": speeds[workers] / (workers * speeds[1]),
                "taken by others": run.finished.foreign_share,
            }
        )
    findings.show("the carried model's workers, one thread each", rows)


def _share_by_receipts(run: PressRun, workers: int) -> float:
    """Return the rendering time that the manifest names, by the workers' time in the whole stage."""
    seconds = run.rows(["seconds"]).column("seconds").to_pylist()
    return float(sum(seconds) / (workers * run.generating_s))


def _steady_speed(run: PressRun) -> float:
    """Return images/s from the first rendering to the last, all workers together."""
    spans = read_spans(run.collection)
    return sum(s.images for s in spans) / (max(s.end_s for s in spans) - min(s.start_s for s in spans))
