"""Measure the carried models on scenes kept from training: ``python -m models.evaluate``.

Draws with the pipeline as stored, has the judge look, and asks the CLIP to find each picture by its caption. Writes
``figures.json`` beside the model card and prints it as tables. Knows nothing of training.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from numpy.typing import NDArray

from models.captions import describe, full_caption, read
from models.judge import Judge
from models.publish import MODELS, SHAPES
from models.search import Search
from models.world import FIELDS, draw_many, split_scenes

FIRST_SEED = 1_000_000
BOTH = ("shape", "colour")


@dataclass(frozen=True, slots=True)
class Sampler:
    """How pictures are drawn; with nothing given, as the pipeline does on its own."""

    name: str = "as stored"
    scheduler: type[Any] | None = None
    steps: int | None = None
    guidance: float | None = None

    def arguments(self) -> dict[str, float]:
        """Give the pipeline's arguments that differ from its own."""
        given = {"num_inference_steps": self.steps, "guidance_scale": self.guidance}
        return {key: value for key, value in given.items() if value is not None}


SAMPLERS = (
    Sampler(),
    Sampler("as stored", None, 20, 5.0),  # what Pressrun asks for on its own
    Sampler("as stored", None, 20, 7.5),
    Sampler("as stored", None, 20, 3.0),
    Sampler("Euler", EulerDiscreteScheduler, 20, 5.0),
    Sampler("DPM++ 2M", DPMSolverMultistepScheduler, 20, 5.0),
)


def load_pipeline(folder: Path = SHAPES) -> Any:
    """Load the pipeline as any user would, with its progress bar off."""
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(pipeline: Any, prompts: list[str], sampler: Sampler, batch: int = 25) -> NDArray[np.uint8]:
    """Draw prompts, picture i with seed 1,000,000 + i.

    Returns
    -------
    numpy.ndarray
        uint8 (N, 64, 64, 3).
    """
    stored = pipeline.scheduler
    if sampler.scheduler is not None:
        pipeline.scheduler = sampler.scheduler.from_config(stored.config)
    parts = []
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        noise = [torch.Generator().manual_seed(FIRST_SEED + start + i) for i in range(len(some))]
        made = pipeline(some, generator=noise, output_type="np", **sampler.arguments()).images
        parts.append(np.rint(made * 255.0).astype(np.uint8))
    pipeline.scheduler = stored
    return np.concatenate(parts)


def judged(judge: Judge, prompts: list[str], pictures: NDArray[np.uint8]) -> dict[str, float]:
    """Give the share of pictures with the right shape, the right colour, both, and every word named."""
    pairs = list(zip(judge.look(pictures), map(read, prompts), strict=True))
    groups = {"shape": ("shape",), "colour": ("colour",), "shape and colour": BOTH, "all named": FIELDS}
    return {
        name: float(np.mean([verdict.agrees(named, fields) for verdict, named in pairs]))
        for name, fields in groups.items()
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """What draws and what judges, while figures are taken."""

    pipeline: Any
    judge: Judge

    def draw(self, sampler: Sampler, kind: str, prompts: list[str]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """Draw prompts of one kind: the figures as a row of the table, and the pictures."""
        started = time.perf_counter()
        pictures = generate(self.pipeline, prompts, sampler)
        seconds = (time.perf_counter() - started) / len(prompts)
        how = {"sampler": sampler.name, "steps": sampler.steps or 50, "guidance": sampler.guidance or 7.5}
        row = {**how, "prompts": kind, "pictures": len(prompts), **judged(self.judge, prompts, pictures)}
        row["seconds a picture"] = round(seconds, 3)
        print(json.dumps(row), flush=True)
        return row, pictures


def measure(count: int) -> dict[str, Any]:
    """Measure the carried models on `count` held-out scenes, 500 at most; other samplers on the first 200."""
    rng = np.random.default_rng(31_415)
    scenes = split_scenes()[1][:count]
    plain, free = [full_caption(scene) for scene in scenes], [describe(scene, rng)[0] for scene in scenes]
    bench, search, drawn = Bench(load_pipeline(), Judge.load()), Search.load(), draw_many(scenes, rng)
    row, made = bench.draw(SAMPLERS[0], "plain", plain)
    rows = [row, bench.draw(SAMPLERS[0], "free", free)[0]]
    rows.append(bench.draw(SAMPLERS[1], "plain", plain)[0])
    rows += [bench.draw(sampler, "plain", plain[:200])[0] for sampler in SAMPLERS[2:]]
    found = [
        {"pictures": kind, **search.recall(plain, some), "precision@5 of short queries": search.precision(scenes, some)}
        for kind, some in (("drawn", drawn), ("generated", made))
    ]
    return {"judge on drawn": judged(bench.judge, plain, drawn), "search": found, "drawing": rows}


def main() -> None:
    """Read the command line, measure, and write the figures."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--count", type=int, default=500, help="how many held-out scenes")
    reader.add_argument("--out", type=Path, default=MODELS / "figures.json")
    options = reader.parse_args()
    torch.set_num_threads(2)
    figures = measure(options.count)
    options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
