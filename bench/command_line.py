"""Pressrun as its users run it: the command line, in a process and a home of its own.

Knows nothing of rivals. Stage times are read from the report that a run leaves in its collection.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.trial import ROOT, Finished, run_process

MODEL = ROOT / "models" / "shapes"
_COMMAND = "from deployments.cli import main; main()"
_GENERATE = "generate batches"


@dataclass(frozen=True, slots=True)
class PressRun:
    """A finished run.

    Parameters
    ----------
    finished : Finished
        The whole command, as seen from outside.
    summary : dict
        What the command printed.
    stages_s : dict of str to float
        Seconds of every stage; empty for a run with nothing to do.
    collection : Path
        Folder of the collection.
    """

    finished: Finished
    summary: dict[str, Any]
    stages_s: dict[str, float]
    collection: Path

    @property
    def generating_s(self) -> float:
        """Seconds from the first worker's readiness to the last committed row."""
        return self.stages_s[_GENERATE]

    def rows(self, columns: list[str]) -> pa.Table:
        """Return the manifest's rows."""
        return pq.read_table(self.collection / "manifest", columns=columns)


def press(prompts: Path, collection: Path, home: Path, options: Mapping[str, object]) -> PressRun:
    """Run `pressrun generate`.

    Parameters
    ----------
    prompts : Path
        Prompt file.
    collection : Path
        Folder of the collection.
    home : Path
        Home folder, where measurements and Prefect's database are kept from run to run.
    options : mapping
        Options of the command line by name, without dashes.
    """
    home.mkdir(parents=True, exist_ok=True)
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    places = ["--model", str(MODEL), "--output", str(collection), "--json"]
    command = [sys.executable, "-c", _COMMAND, "generate", str(prompts), *places, *arguments]
    log = collection.parent / f"{collection.name}.log"
    finished = run_process(command, log, {"HOME": str(home), "PREFECT_HOME": str(home / "prefect")})
    summary = json.loads(finished.output)
    return PressRun(finished, summary, _stages(collection, summary["run_id"]), collection)


def _stages(collection: Path, run_id: str) -> dict[str, float]:
    report = collection / "runs" / run_id / "report.json"
    if not report.exists():
        return {}
    return {stage["name"]: float(stage["seconds"]) for stage in json.loads(report.read_text())["stages"]}
