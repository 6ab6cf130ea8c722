"""Engines that behave badly on purpose, named in jobs as "tests.engines:faulty".

What they drew is written down beside the collection, so that a test can count what was drawn twice.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from pressrun.batch import Batch
from pressrun.errors import RunCancelled
from workers.cancellation import should_stop
from workers.engines.null_renderer import NullRenderer
from workers.engines.renderer import OutOfMemory, Pixels
from workers.order import PrintOrder

SLOW_IMAGE_S = 0.4
HESITANT_IMAGE_S = 0.5
_STEP_S = 0.02
_HEALED = "healed"


class FaultyRenderer:
    """The null engine, with faults that prompts ask for: "boom", "kill always", "kill once".

    Parameters
    ----------
    order : PrintOrder
        The run's; its collection must be local.
    image_s : float
        Seconds a picture.
    most_pixels : int or None
        Pixels that memory has room for at once.
    """

    def __init__(self, order: PrintOrder, image_s: float = 0.0, most_pixels: int | None = None) -> None:
        self._null = NullRenderer(image_s, sleep_until_stopped)
        self._most_pixels = most_pixels
        self._notes = notes_folder(Path(order.collection.url))
        self._notes.mkdir(exist_ok=True)

    def render(self, batch: Batch) -> Pixels:
        pixels_wanted = batch.size * int(str(batch.shared("width_px"))) * int(str(batch.shared("height_px")))
        if self._most_pixels is not None and pixels_wanted > self._most_pixels:
            raise OutOfMemory(f"{pixels_wanted} pixels at once, {self._most_pixels} fit")
        if not (self._notes / _HEALED).exists():
            for prompt in map(str, batch.column("prompt")):
                self._misbehave(prompt)
        pixels = self._null.render(batch)
        if batch.batch_id not in ("trial", "sample"):
            self._note(batch)
        return pixels

    def provenance(self) -> dict[str, str | int]:
        return self._null.provenance()

    def close(self) -> None:
        self._null.close()

    def _misbehave(self, prompt: str) -> None:
        if "boom" in prompt:
            raise ValueError(f"boom [at] {prompt!r}")
        if "kill always" in prompt or ("kill once" in prompt and self._is_first_time()):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first_time(self) -> bool:
        try:
            (self._notes / "killed").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _note(self, batch: Batch) -> None:
        with (self._notes / f"{os.getpid()}.drawn").open("a") as file:
            file.write("".join(f"{image_id}\n" for image_id in batch.column("image_id")))


def faulty(order: PrintOrder) -> FaultyRenderer:
    return FaultyRenderer(order)


def slow(order: PrintOrder) -> FaultyRenderer:
    """Take long enough over each picture that a run can be interrupted between two, until it is healed."""
    healed = (notes_folder(Path(order.collection.url)) / _HEALED).exists()
    return FaultyRenderer(order, 0.0 if healed else SLOW_IMAGE_S)


def small(order: PrintOrder) -> FaultyRenderer:
    """Have memory for two pictures of 64 x 64 px at once."""
    return FaultyRenderer(order, most_pixels=2 * 64 * 64)


def loading(order: PrintOrder) -> FaultyRenderer:
    """Note which model is loaded, each time that one is; not so fast that threads overtake one another."""
    renderer = FaultyRenderer(order, _STEP_S)
    with (notes_folder(Path(order.collection.url)) / f"{os.getpid()}.loaded").open("a") as file:
        file.write(f"{order.facts.name}\n")
    return renderer


def hindered(order: PrintOrder) -> FaultyRenderer:
    """As `loading`, after waiting for as long as a test holds it up, and unless it is broken."""
    while hindrance(Path(order.collection.url), "held up").exists():
        time.sleep(_STEP_S)
    if hindrance(Path(order.collection.url), "broken").exists():
        raise RuntimeError("the device is broken")
    return loading(order)


def hindrance(collection: Path, what: str) -> Path:
    """Return the file that hinders loading while it is there."""
    notes_folder(collection).mkdir(exist_ok=True)
    return notes_folder(collection) / what


class HesitantRenderer(FaultyRenderer):
    """Slow only while it is measured, so that a quote is long and the run short."""

    def render(self, batch: Batch) -> Pixels:
        if batch.batch_id == "trial":
            time.sleep(HESITANT_IMAGE_S * len(batch))
        return super().render(batch)


def hesitant(order: PrintOrder) -> HesitantRenderer:
    return HesitantRenderer(order)


class TintedRenderer(NullRenderer):
    """Draws as the null engine does, and adds to every value what the name of the model's folder ends with."""

    def __init__(self, order: PrintOrder) -> None:
        super().__init__()
        self._tint = int(order.facts.name.rpartition("-")[2])

    def render(self, batch: Batch) -> Pixels:
        return np.minimum(super().render(batch).astype(np.uint16) + self._tint, 255).astype(np.uint8)


def tinted(order: PrintOrder) -> TintedRenderer:
    return TintedRenderer(order)


def sleep_until_stopped(seconds: float) -> None:
    """Sleep in steps, as a diffusion model draws in steps: between two it asks whether to stop."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if should_stop():
            raise RunCancelled("stopped between two steps")
        time.sleep(min(_STEP_S, max(0.0, ends - time.monotonic())))


def notes_folder(collection: Path) -> Path:
    return collection.parent / f"{collection.name}-notes"


def heal(collection: Path) -> None:
    """Have the prompts of a collection do no harm, and slow drawing end, from the next run on."""
    notes = notes_folder(collection)
    notes.mkdir(exist_ok=True)
    (notes / _HEALED).touch()


def loaded(collection: Path) -> list[list[str]]:
    """Return for each worker the models that it loaded, in order."""
    return [file.read_text().split() for file in sorted(notes_folder(collection).glob("*.loaded"))]


def drawn(collection: Path) -> list[str]:
    """Return the id of every picture drawn for the collection, as often as it was drawn."""
    return [line for file in sorted(notes_folder(collection).glob("*.drawn")) for line in file.read_text().split()]
