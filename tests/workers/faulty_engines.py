"""Engines that fail as real ones do, steered by the words of the prompt; named in orders as `module:factory`."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pressrun.batch import Batch
from pressrun.errors import RunCancelled
from workers.engines.null_renderer import NullRenderer
from workers.engines.renderer import OutOfMemory, Pixels
from workers.order import PrintOrder


class FaultyRenderer:
    """Draws as the null engine, but fails on a batch in which a prompt says so.

    "bad" raises every time, "shaky" only at the first try, "huge" runs out of memory in company, "vast" even alone,
    "stop" finds the run cancelled, "crooked" comes out one pixel too wide.
    """

    def __init__(self) -> None:
        self.rendered: Counter[str] = Counter()
        self._null = NullRenderer()

    def render(self, batch: Batch) -> Pixels:
        prompts = [str(prompt) for prompt in batch.column("prompt")]
        self.rendered.update(prompts)
        text = " ".join(prompts)
        if "stop" in text:
            raise RunCancelled("The run was cancelled.")
        if "vast" in text or ("huge" in text and batch.size > 1):
            raise OutOfMemory(f"no memory for {batch.size} pictures")
        if "bad" in text or any("shaky" in prompt and self.rendered[prompt] == 1 for prompt in prompts):
            raise ValueError(f"cannot draw one of {len(batch)} pictures")
        pixels = self._null.render(batch)
        return np.pad(pixels, ((0, 0), (0, 0), (0, 1), (0, 0))) if "crooked" in text else pixels

    def provenance(self) -> dict[str, str | int]:
        return {"engine": "faulty"}

    def close(self) -> None:
        self._null.close()


def faulty(order: PrintOrder) -> FaultyRenderer:
    """Return an engine of its own for every order."""
    return FaultyRenderer()
