"""How fast weights come from the local disk into memory: `python -m bench.weights --json found.json`.

One file of random bf16 tensors in a transformer's shapes, loaded by one library after another, each time in a process
of its own, from a cold page cache (the file's pages dropped) and from a warm one (the file just read). Each round goes
through all systems in an order of its own, so that none always follows the same other one. All memory but what a load
needs is held meanwhile, and what is free is touched before each: a virtual machine's host takes free memory back, and
without this the figures tell who was handed such pages.

Rivals: safetensors, and Run:ai's Model Streamer and fastsafetensors where they are installed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, Any

import safetensors.torch
import torch
from cyclopts import App, Parameter

from bench.findings import Findings, Row
from bench.resident_memory import all_but, resident
from bench.rivals.weight_loading import SYSTEMS, is_here
from bench.trial import run_rival

_WIDTH = 1536
_BLOCK_BYTES = 12 * _WIDTH * _WIDTH * 2
_DROPPED_SHARE = 0.01
_ROOM = 4  # times the file's length: more than any system needs, the page cache included
app = App(name="bench.weights", help=__doc__)

Runs = dict[tuple[bool, str], list[dict[str, Any]]]


class Unequal(Exception):
    """A system gave out other tensors than the rest."""


@app.default
def weights(
    *,
    size_gb: float = 2.0,
    rounds: int = 5,
    quick: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    scratch: Path | None = None,
) -> None:
    """Measure and show.

    Parameters
    ----------
    size_gb : float
        Length of the file.
    rounds : int
        How often each system loads it from each kind of cache.
    quick : bool
        A small run that only shows that everything works.
    json : Path
        File for the figures.
    scratch : Path
        Folder for the file, on the disk to be measured; a temporary one when left out.
    """
    findings = Findings(path=json)
    systems = [system for system in SYSTEMS if is_here(system)]
    if len(systems) < len(SYSTEMS):
        missing = sorted(set(SYSTEMS) - set(systems))
        findings.note(f"Not installed, and left out: {', '.join(missing)}.")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
        file = _write(Path(folder) / "model.safetensors", 0.05 if quick else size_gb)
        with resident(0 if quick else all_but(_ROOM * file.stat().st_size)):
            runs = _measure(findings, systems, file, 1 if quick else rounds)
    for cold in (True, False):
        rows = [_row(system, runs[cold, system]) for system in systems]
        findings.show(f"{'cold' if cold else 'warm'} page cache, medians (range)", rows)


def _write(path: Path, size_gb: float) -> Path:
    generator = torch.Generator().manual_seed(0)
    blocks = max(1, round(size_gb * 1e9 / _BLOCK_BYTES))
    safetensors.torch.save_file(
        {
            f"blocks.{number}.{name}": torch.randint(
                -(2**15), 2**15, shape, dtype=torch.int16, generator=generator
            ).view(torch.bfloat16)
            for number in range(blocks)
            for name, shape in _shapes()
        },
        path,
    )
    return path


def _shapes() -> list[tuple[str, tuple[int, ...]]]:
    matrices = {"q": 1, "k": 1, "v": 1, "out": 1, "mlp_in": 4}
    found: list[tuple[str, tuple[int, ...]]] = [("mlp_out.weight", (_WIDTH, 4 * _WIDTH)), ("mlp_out.bias", (_WIDTH,))]
    for name, times in matrices.items():
        found += [(f"{name}.weight", (times * _WIDTH, _WIDTH)), (f"{name}.bias", (times * _WIDTH,))]
    return found


def _measure(findings: Findings, systems: Sequence[str], file: Path, rounds: int) -> Runs:
    runs: Runs = {(cold, system): [] for cold in (True, False) for system in systems}
    foreign = []
    for number in range(rounds):
        for cold in (True, False):
            for system in Random(f"{number} {cold}").sample(systems, len(systems)):
                settings = {"system": system, "file": str(file), "cold": cold}
                finished, found = run_rival("weight_loading", settings, file.parent / "run")
                foreign.append(finished.foreign_share)
                runs[cold, system].append(found)
        findings.say(f"round {number + 1} of {rounds}: {_said(runs, systems)}")
    _check(runs)
    findings.note(
        f"{file.stat().st_size / 1e9:.2f} GB, {rounds} rounds; other processes took {median(foreign):.0%} of the cores "
        f"in the median process, {max(foreign):.0%} in the worst."
    )
    return runs


def _check(runs: Runs) -> None:
    digests = {(system, found["digest"]) for (_, system), several in runs.items() for found in several}
    if len({digest for _, digest in digests}) != 1:
        raise Unequal(f"The systems gave out different tensors: {sorted(digests)}")
    shares = [(cold, found["cached_before"]) for (cold, _), several in runs.items() for found in several]
    kept = max(share for cold, share in shares if cold)
    if kept > _DROPPED_SHARE:
        raise Unequal(f"The page cache still held {kept:.0%} of the file where it was to be cold; use another disk.")
    held = min(share for cold, share in shares if not cold)
    if held < 1 - _DROPPED_SHARE:
        raise Unequal(f"The page cache held only {held:.0%} of the file where it was to be warm; free some memory.")


def _said(runs: Runs, systems: Sequence[str]) -> str:
    return ", ".join(
        f"{system} {runs[True, system][-1]['read_s']:.2f}/{runs[False, system][-1]['read_s']:.2f} s"
        for system in systems
    )


def _row(system: str, several: Sequence[Mapping[str, Any]]) -> Row:
    row: dict[str, str | float] = {"system": system}
    for name in ("loaded_s", "loaded_cpu_s", "read_s", "read_cpu_s"):
        values = [found[name] for found in several]
        row[name] = f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
    row["own_memory_gb"] = median(found["own_bytes"] for found in several) / 1e9
    row["from_disk_gb"] = median(found["disk_bytes"] for found in several) / 1e9
    return row


if __name__ == "__main__":
    app()
