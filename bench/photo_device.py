"""A device of 25 ms a picture and 512 px photographs, lossless: how much of the device's speed reaches the disk.

Knows nothing of models. The bound is pictures times 25 ms.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pyarrow.compute as pc

from bench.command_line import press
from bench.engines import IMAGE_S
from bench.findings import Findings, Row
from bench.timeline import busy, read_spans
from bench.trial import run_rival
from bench.workload import Mix, write_requests

_SIDE_PX = 512
_LOOPS: dict[str, dict[str, int | None]] = {
    "loop, PNG in line, Pillow's default": {"threads": 0, "png_level": None},
    "loop, PNG in line, level 1": {"threads": 0, "png_level": 1},
    "loop, 2 saver threads, level 1": {"threads": 2, "png_level": 1},
}


def compare_saving(findings: Findings, requests: int, scratch: Path, repeats: int) -> None:
    """Run the loops and Pressrun, alternating, and show the share of the bound that each reaches.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    requests : int
        Pictures; half a megabyte each.
    scratch : Path
        Folder for collections.
    repeats : int
        Turns.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    prompts = write_requests(Mix(requests, sizes=(((_SIDE_PX, _SIDE_PX), 1.0),)), scratch / "prompts.parquet")
    taken: dict[str, list[float]] = {}
    for turn in range(repeats):
        for name, options in _LOOPS.items():
            settings = options | {
                "prompts": str(prompts),
                "folder": str(scratch / f"{name}-{turn}"),
                "image_s": IMAGE_S,
            }
            _, result = run_rival("device_loop", settings, scratch / f"{name}-{turn}")
            taken.setdefault(name, []).append(result["drawing_s"])
        for batch_size in (8, 16):
            name = f"Pressrun, 1 worker, batches of {batch_size}"
            taken.setdefault(name, []).append(_pressed(findings, prompts, scratch / f"press-{batch_size}-{turn}"))
    bound_s = requests * IMAGE_S
    rows: list[Row] = [
        {"system": name, "drawing_s": median(times), "share of the bound": bound_s / median(times)}
        for name, times in taken.items()
    ]
    findings.show(f"{requests} photographs of {_SIDE_PX} px at 25 ms each, bound {bound_s:.1f} s", rows)


def _pressed(findings: Findings, prompts: Path, collection: Path) -> float:
    batch_size = collection.name.split("-")[1]
    options = {"engine": "bench.engines:sleeping", "embedder": "none", "workers": 1, "batch-size": batch_size}
    run = press(prompts, collection, collection.parent / "home", options)
    share = busy(read_spans(collection)).rendering_share
    size_bytes = pc.mean(run.rows(["size_bytes"]).column("size_bytes")).as_py()
    findings.say(
        f"{collection.name}: {run.generating_s:.1f} s, device at work {share:.1%} of its span, "
        f"{size_bytes / 1000:.0f} kB a picture"
    )
    return run.generating_s
