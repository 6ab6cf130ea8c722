"""Runs as tests start them, in this process or as a command line of their own, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import s3fs

from blocks.storage import CollectionStore, ModelStore
from flows.parameters import GenerateParameters
from pressrun import manifest
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.verification import verify
from tests.forked_workers import forking_process
from tests.s3_server import S3Server

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "shapes"
_PATIENCE_S = 90.0
# What tells of one rendering; everything else is the same whenever a picture is drawn again.
_PASSING = {"seconds", "worker", "run_id", "created_at"}


def job(output: Path | str, prompts: Any, **changes: Any) -> GenerateParameters:
    """Return a quick job: pictures without a model, no embeddings, no measuring, two workers."""
    quick = {"model": str(MODEL), "engine": "null", "embedder": None, "batch_size": 2, "workers": 2}
    return GenerateParameters(**{**quick, "prompts": prompts, "output": str(output), **changes})


def prompts(count: int) -> list[str]:
    return [f"picture {number}" for number in range(count)]


def prompt_file(folder: Path, texts: Iterable[str]) -> Path:
    file = folder / "prompts.txt"
    file.write_text("".join(f"{text}\n" for text in texts))
    return file


def environment(api: str | None) -> dict[str, str]:
    """Return the environment of a command line: a new user of a machine, with that Prefect server if any."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "PREFECT_LOGGING_LEVEL")
    }
    server = {"PREFECT_API_URL": api} if api else {}
    return {**kept, **server, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def start(api: str | None, *arguments: object, **changes: Any) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    command = [str(Path(sys.executable).with_name("pressrun")), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(api) | changes.pop("env", {}), cwd=ROOT, **pipes, **changes)


def run(api: str | None, *arguments: object, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    process = start(api, *arguments, **changes)
    out, err = process.communicate(timeout=_PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def quick_options(output: Path | str, **changes: object) -> list[str]:
    """Return what `job` chooses, as options of the command line."""
    quick = {"model": MODEL, "output": output, "engine": "null", "embedder": "none", "batch-size": 2, "workers": 2}
    return [part for name, value in {**quick, **changes}.items() for part in (f"--{name}", str(value))]


def wait_until(condition: Callable[[], Any], what: str, seen: Callable[[], Any] = str) -> Any:
    """Return the condition's value as soon as there is one; otherwise fail and tell what was seen instead."""
    gives_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < gives_up:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {_PATIENCE_S:.0f} s: {what} {seen()}")


def catch(process: subprocess.Popen[str], condition: Callable[[], Any], what: str) -> None:
    """Return at the moment when the condition holds, with the process still at work."""
    wait_until(lambda: process.poll() is not None or condition(), what)
    if process.poll() is not None:
        raise AssertionError(f"the command ended with {process.returncode} before {what}: {process.communicate()}")


def upload(server: S3Server, folder: Path, url: str) -> None:
    """Copy a folder into a bucket."""
    s3fs.S3FileSystem(**server.storage_options).put(str(folder), url, recursive=True)


def model_store(server: S3Server, url: str) -> ModelStore:
    return ModelStore(url=url, **_access(server))


def collection_store(server: S3Server, url: str) -> CollectionStore:
    return CollectionStore(url=url, **_access(server))


def _access(server: S3Server) -> dict[str, Any]:
    options = dict(server.storage_options)
    return {"credentials": {name: options.pop(name) for name in ("key", "secret")}, "options": options}


def rows(collection: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest by image id, every column of it."""
    table = manifest.read_rows(Store(Location(str(collection))))
    return {row["image_id"]: row for row in table.to_pylist()}


def lasting(collection: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest without the columns that tell of one rendering."""
    return {
        image_id: {name: value for name, value in row.items() if name not in _PASSING}
        for image_id, row in rows(collection).items()
    }


def flaws(collection: Path) -> list[str]:
    """Return what is wrong with a collection, every picture looked at."""
    return [str(flaw) for flaw in verify(Store(Location(str(collection)))).flaws]


@dataclass(frozen=True)
class Traces:
    """What runs of this process have running and lying about at one moment."""

    processes: set[psutil.Process]
    folders: set[str]


def traces() -> Traces:
    return Traces(descendants(), set(scratch_folders()))


def leftovers(before: Traces) -> list[str]:
    """Return what has come since and stays."""
    _, alive = psutil.wait_procs(descendants() - before.processes, timeout=10)
    return [" ".join(process.cmdline()) for process in alive] + sorted(set(scratch_folders()) - before.folders)


def scratch_folders() -> list[str]:
    return [str(path) for path in Path(tempfile.gettempdir()).glob("pressrun-dask-*")]


def descendants() -> set[psutil.Process]:
    """Return this process's descendants, but for those that Python keeps for itself once it has started others."""
    children = psutil.Process().children(recursive=True)
    kept = forking_process()
    return {process for process in children if process.pid != kept and "resource_tracker" not in command_of(process)}


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
