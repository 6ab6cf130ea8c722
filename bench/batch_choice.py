"""Whether the batch size that Pressrun chooses is the best one.

The choice is read from the profile that a run with an empty memory leaves in its collection.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.command_line import MODEL, press
from bench.findings import Findings, Row
from bench.machine import cores
from bench.trial import run_rival
from bench.workload import Mix, Size, write_requests

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
_REQUESTS = 400  # the choice is for a number of pictures


def compare_batch_choice(findings: Findings, scratch: Path, side_px: Size, steps: int, turns: int) -> None:
    """Show the time of every batch size beside what a run measured and chose.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    scratch : Path
        Folder for collections and an empty home.
    side_px : (int, int)
        Picture size.
    steps : int
        Denoising steps of the brute force.
    turns : int
        Times every size is tried.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    prompts = write_requests(Mix(_REQUESTS, sizes=((side_px, 1.0),), steps=steps), scratch / "prompts.parquet")
    run = press(prompts, scratch / "choice", scratch / "fresh-home", {"workers": cores()})
    profile = json.loads(next((run.collection / "profiles").glob("*.json")).read_text())
    settings = {"model": str(MODEL), "dtype": "fp32", "steps": steps, "width": side_px[0], "height": side_px[1]}
    tried = sorted({*_SIZES, profile["batch_size"]})
    sizes = {"sizes": tried, "turns": turns, "threads": 1, "processes": cores()}
    _, result = run_rival("batch_sizes", settings | sizes, scratch / "brute")
    found = {int(size): float(image_s) for size, image_s in result["image_s"].items()}
    measured = {timing["batch_size"]: timing["image_s"] for timing in profile["timings"]}
    best = min(found, key=lambda size: found[size])
    rows: list[Row] = [
        {
            "batch size": size,
            "brute force s/image": found[size],
            "behind the best": found[size] / found[best] - 1,
            f"measured at warm-up s/image, {profile['steps']} steps": measured.get(size),
            "chosen": "chosen" if size == profile["batch_size"] else "",
        }
        for size in tried
    ]
    findings.show(f"batch size at {side_px[0]} x {side_px[1]} px, {steps} steps, {cores()} workers", rows)
    behind = found.get(profile["batch_size"], 0.0) / found[best] - 1
    findings.note(f"chosen {profile['batch_size']}, best {best}: {behind:.1%} behind the best")
