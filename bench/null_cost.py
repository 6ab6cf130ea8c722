"""What the machinery costs: pictures that take no time to draw, by the ten thousand, beside Ray Data and plain Dask.

Every system saves the same tiny PNGs and lists them. Cost is wall time by pictures, from start-up done to all listed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.command_line import press
from bench.findings import Findings, Row
from bench.machine import cores
from bench.rivals.ray_start import ray_is_here
from bench.trial import Finished, TrialFailed, run_rival
from bench.workload import Mix, write_requests

SIDE_PX = 16
_BATCH_SIZE = 32
_FUTURES_AT_MOST = 100_000  # one future a picture; more of them take plain Dask many minutes and gigabytes
_RIVALS = (
    ("Ray Data, map_batches of 32", "null_ray", _BATCH_SIZE),
    ("Dask, client.map of pictures", "null_dask", 1),
    ("Dask, client.map of 32", "null_dask", _BATCH_SIZE),
)


def compare_null_work(findings: Findings, counts: tuple[int, ...], scratch: Path) -> None:
    """Run every system at every number of requests, and show cost and memory.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    counts : tuple of int
        Numbers of requests.
    scratch : Path
        Folder for collections, removed as they are measured.
    """
    rows: list[Row] = []
    for count in counts:
        place = scratch / f"null-{count}"
        place.mkdir(parents=True, exist_ok=True)
        prompts = write_requests(Mix(count, sizes=(((SIDE_PX, SIDE_PX), 1.0),)), place / "prompts.parquet")
        rows.append(_pressed(findings, count, prompts, place))
        for name, module, batch_size in _RIVALS:
            if (module == "null_ray" and not ray_is_here()) or (batch_size == 1 and count > _FUTURES_AT_MOST):
                continue
            rows.append(_rival(name, module, batch_size, prompts, count))
            findings.say(f"{name}, {count}: {rows[-1].get('s')} s")
        shutil.rmtree(place)
    findings.show(f"null work, pictures of {SIDE_PX} px", rows)


def _pressed(findings: Findings, count: int, prompts: Path, place: Path) -> Row:
    options = {"engine": "null", "embedder": "none", "batch-size": _BATCH_SIZE, "workers": cores()}
    run = press(prompts, place / "press", place.parent / "home", options)
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in run.stages_s.items())
    findings.note(f"Pressrun, {count} requests: {run.summary['wall_s']:.1f} s in the run, of which {stages}")
    return _row("Pressrun", run.generating_s, run.finished, count)


def _rival(name: str, module: str, batch_size: int, prompts: Path, count: int) -> Row:
    folder = prompts.parent / f"{module}-{batch_size}"
    settings = {"prompts": str(prompts), "folder": str(folder), "batch_size": batch_size, "workers": cores()}
    try:
        finished, result = run_rival(module, settings | {"scratch": str(folder.parent.parent / "ray")}, folder)
    except TrialFailed as error:
        return {"system": name, "requests": count, "failed": str(error)[-200:]}
    finally:
        shutil.rmtree(folder / "images", ignore_errors=True)
    return _row(name, result["drawing_s"], finished, count)


def _row(name: str, seconds: float, finished: Finished, count: int) -> Row:
    return {
        "system": name,
        "requests": count,
        "s": seconds,
        "ms/image": seconds / count * 1000,
        "whole_s": finished.wall_s,
        "cpu ms/image": finished.cpu_s / count * 1000,
        "taken by others": finished.foreign_share,
        "driver MiB": finished.driver_bytes / 2**20,
        "all processes MiB": finished.all_bytes / 2**20,
    }
