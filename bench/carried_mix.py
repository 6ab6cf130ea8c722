"""The carried model on this machine's cores: Pressrun beside loops and Ray Data, from prompts to a finished collection.

Every system draws the same requests in a process of its own. Two times are taken of each: the whole process, and
drawing alone, from the moment when the first model is loaded to the last row of the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.command_line import MODEL, press
from bench.findings import Findings, Row
from bench.machine import cores
from bench.rivals.ray_start import ray_is_here
from bench.trial import Finished, run_rival
from bench.workload import Mix, write_requests

_PORTION = 0.2
EMBEDDER = MODEL.parent / "shapes-clip"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A system in one setting.

    Parameters
    ----------
    system : str
        What people call it.
    setting : str
        "default", "best", or what differs.
    module : str
        Module below `bench.rivals`; "" for Pressrun.
    options : dict
        Rival settings, or options of Pressrun's command line.
    portion : float
        Share of the requests that it draws, the first ones; its drawing time is then scaled up. For loops over single
        prompts, whose speed does not depend on how many follow.
    """

    system: str
    setting: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    portion: float = 1.0

    @property
    def name(self) -> str:
        """A name for folders."""
        return f"{self.system}-{self.setting}".replace(" ", "-").replace("(", "").replace(")", "").replace(",", "")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one run: whole, drawing alone, of all processors; and what other processes took meanwhile."""

    whole_s: float
    drawing_s: float
    cpu_s: float
    foreign_share: float

    @classmethod
    def of(cls, finished: Finished, drawing_s: float, portion: float = 1.0) -> Times:
        """Return the times of a finished process, its drawing scaled up to all requests."""
        starting_s, scaled_s = finished.wall_s - drawing_s, drawing_s / portion
        return cls(starting_s + scaled_s, scaled_s, finished.cpu_s / portion, finished.foreign_share)


def entries() -> list[Entry]:
    """Return every system in its default and its best setting, as found by `bench.tuning` on this kind of machine."""
    loop = {"dtype": "fp32", "threads": None, "batch_size": 1, "png_level": None}
    ray = loop | {"threads": 1, "batch_size": 8, "actors": cores(), "sorted": False}
    found = [
        Entry("naive loop", "default", "picture_loop", loop, _PORTION),
        Entry("naive loop", "best", "picture_loop", loop | {"png_level": 1} | BEST["naive loop"], _PORTION),
        Entry("pipe(list) of 8", "default", "picture_loop", loop | {"batch_size": 8}),
        Entry("pipe(list)", "best", "picture_loop", loop | {"png_level": 1} | BEST["pipe(list)"]),
    ]
    if ray_is_here():
        best = ray | {"png_level": 1, "sorted": True} | BEST["Ray Data"]
        found += [
            Entry("Ray Data", "default", "ray_pictures", ray),
            Entry("Ray Data", "best fp32", "ray_pictures", best | {"dtype": "fp32"}),
            Entry("Ray Data", "best", "ray_pictures", best),
        ]
    return [*found, Entry("Pressrun", "default", ""), Entry("Pressrun", "bf16", "", {"precision": "bf16"})]


# What `bench.tuning` found fastest; the defaults of a setting are left out.
BEST: dict[str, dict[str, Any]] = {
    "naive loop": {"threads": 1, "dtype": "fp32"},
    "pipe(list)": {"threads": 2, "batch_size": 32, "dtype": "bf16"},
    "Ray Data": {"actors": 2, "threads": 1, "batch_size": 16, "dtype": "bf16"},
}


def compare(findings: Findings, title: str, mix: Mix, scratch: Path, repeats: int) -> None:
    """Run every system on one mix, alternating, and show the medians.

    Parameters
    ----------
    findings : Findings
        Takes the table.
    title : str
        The table's.
    mix : Mix
        What is asked for.
    scratch : Path
        Folder for collections; about 10 kB a picture and system.
    repeats : int
        Turns of every system.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    prompts = write_requests(mix, scratch / "prompts.parquet")
    if not ray_is_here():
        findings.note("Ray Data is not installed (pip install 'ray[data]'), so its rows are left out.")
    systems = {entry.name: entry for entry in entries()}
    runs: dict[str, list[Times]] = {name: [] for name in systems}
    for turn in range(repeats):
        for name, entry in systems.items():
            times = run_entry(entry, prompts, scratch / f"{name}-{turn}")
            runs[name].append(times)
            findings.say(
                f"{name}: {times.whole_s:.1f} s in all, {times.drawing_s:.1f} s drawing, {times.cpu_s:.1f} processor "
                f"seconds, {times.foreign_share:.0%} of the cores taken by others"
            )
    findings.show(title, _rows(mix, systems, runs))


def run_entry(entry: Entry, prompts: Path, folder: Path) -> Times:
    """Run one system once."""
    if not entry.module:
        run = press(prompts, folder, folder.parent / "home", entry.options)
        return Times.of(run.finished, run.generating_s)
    places = {"model": str(MODEL), "embedder": str(EMBEDDER), "prompts": str(prompts), "folder": str(folder)}
    settings = entry.options | places | {"scratch": str(folder.parent / "ray"), "portion": entry.portion}
    finished, result = run_rival(entry.module, settings, folder)
    return Times.of(finished, result["drawing_s"], entry.portion)


def _rows(mix: Mix, systems: dict[str, Entry], runs: dict[str, list[Times]]) -> list[Row]:
    whole = {name: median(times.whole_s for times in of) for name, of in runs.items()}
    drawing = {name: median(times.drawing_s for times in of) for name, of in runs.items()}
    naive = next(name for name, entry in systems.items() if entry.system == "naive loop")
    return [
        {
            "system": entry.system,
            "setting": entry.setting,
            "options": ", ".join(f"{key}={value}" for key, value in entry.options.items() if key != "sorted"),
            "whole_s": whole[name],
            "drawing_s": drawing[name],
            "images/s whole": mix.requests / whole[name],
            "images/s drawing": mix.requests / drawing[name],
            "times naive whole": whole[naive] / whole[name],
            "times naive drawing": drawing[naive] / drawing[name],
            "cpu_s/image": median(times.cpu_s for times in runs[name]) / mix.requests,
            "taken by others": median(times.foreign_share for times in runs[name]),
        }
        for name, entry in systems.items()
    ]
