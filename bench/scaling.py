"""How speed grows with workers whose device sleeps: what is lost is the machinery's share.

Every worker gets the same number of pictures, so that the runs last equally long where nothing is lost.
"""

from __future__ import annotations

from pathlib import Path

from bench.command_line import press
from bench.engines import IMAGE_S
from bench.findings import Findings, Row
from bench.timeline import busy, read_spans
from bench.workload import Mix, write_requests

_BATCH_SIZE = 16
_SIDE_PX = 64


def show_scaling(findings: Findings, workers: tuple[int, ...], requests_each: int, scratch: Path) -> None:
    """Run more and more workers and show their speed by the device's.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    workers : tuple of int
        Numbers of workers.
    requests_each : int
        Pictures for each of them.
    scratch : Path
        Folder for collections.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for count in workers:
        mix = Mix(requests_each * count, sizes=(((_SIDE_PX, _SIDE_PX), 1.0),))
        prompts = write_requests(mix, scratch / f"prompts-{count}.parquet")
        options = {"engine": "bench.engines:sleeping", "embedder": "none", "workers": count, "batch-size": _BATCH_SIZE}
        run = press(prompts, scratch / f"workers-{count}", scratch / "home", options)
        spans = read_spans(run.collection)
        drawing_s = max(s.end_s for s in spans) - min(s.start_s for s in spans)
        rows.append(
            {
                "workers": count,
                "images": mix.requests,
                "generating_s": run.generating_s,
                "drawing_s": drawing_s,
                "images/s": mix.requests / drawing_s,
                "device at work": busy(spans).rendering_share,
                "efficiency, drawing": requests_each * IMAGE_S / drawing_s,
                "efficiency, whole stage": requests_each * IMAGE_S / run.generating_s,
                "taken by others": run.finished.foreign_share,
            }
        )
        findings.say(str(rows[-1]))
    findings.show("workers with a device of 25 ms a picture", rows)
