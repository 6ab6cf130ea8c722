"""The best settings of the rivals on this machine, by trying them all on a few pictures.

Run it by `python -m bench.tuning`; what it finds is written down in `bench.carried_mix.BEST` by hand, so that every run
of the benchmarks measures the same settings.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from bench.carried_mix import Entry, run_entry
from bench.findings import Findings, Row
from bench.machine import cores
from bench.rivals.ray_start import ray_is_here
from bench.workload import plain, write_requests


def candidates() -> list[Entry]:
    """Return every setting worth trying."""
    base: dict[str, Any] = {"png_level": 1, "sorted": True}
    dtypes, many = ("fp32", "bf16"), cores()
    found = [
        Entry("naive loop", f"{dtype}, {threads} threads", "picture_loop", base | _options(dtype, threads, 1))
        for dtype, threads in product(dtypes, sorted({1, many}))
    ]
    found += [
        Entry("pipe(list)", f"{dtype}, {size}", "picture_loop", base | _options(dtype, many, size))
        for dtype, size in product(dtypes, (8, 16, 32))
    ]
    if ray_is_here():
        found += [
            Entry("Ray Data", f"{dtype}, {size}", "ray_pictures", base | _options(dtype, 1, size) | {"actors": many})
            for dtype, size in product(dtypes, (8, 16, 32))
        ]
    return found


def tune(requests: int, findings: Findings) -> None:
    """Try every candidate and show their drawing times."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        prompts = write_requests(plain(requests), scratch / "prompts.parquet")
        speeds: dict[Entry, float] = {}
        for entry in candidates():
            times = run_entry(entry, prompts, scratch / entry.name)
            speeds[entry] = requests / times.drawing_s
            findings.say(f"{entry.name}: {speeds[entry]:.2f} images/s, {times.foreign_share:.0%} taken by others")
    rows: list[Row] = [
        {"system": entry.system, "setting": entry.setting, "images/s": speeds[entry]}
        for entry in sorted(speeds, key=lambda entry: (entry.system, -speeds[entry]))
    ]
    findings.show("tuning of the rivals", rows)


def _options(dtype: str, threads: int, batch_size: int) -> dict[str, Any]:
    return {"dtype": dtype, "threads": threads, "batch_size": batch_size}


if __name__ == "__main__":
    tune(48, Findings())
