"""The warm models of one process: loaded once, kept by budget, denoising one batch at a time.

Knows nothing of what a model is or how it renders.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from pressrun.errors import InvalidModel
from workers.device_turn import DeviceTurn, Manner, device_turn
from workers.engines.renderer import OutOfMemory, Renderer
from workers.gpus import gpu_count

_SHARE_FOR_WEIGHTS = 0.8


@dataclass(frozen=True, slots=True)
class _Resident:
    renderer: Renderer
    weight_bytes: int


class ModelHost:
    """Keeps renderers by key, the least recently used going first when the budget is full.

    Parameters
    ----------
    budget_bytes : int or None
        Weights that may be loaded at once; None sets no limit.
    turn : DeviceTurn or None
        The device's turns; None makes them.
    """

    def __init__(self, budget_bytes: int | None = None, turn: DeviceTurn | None = None) -> None:
        self.budget_bytes = budget_bytes
        self._turn = turn or DeviceTurn()  # held through load and render: one of either at a time
        self._residents: OrderedDict[str, _Resident] = OrderedDict()

    @contextmanager
    def renderer(
        self, key: str, load: Callable[[], Renderer], weight_bytes: int, manner: Manner = "whole"
    ) -> Iterator[Renderer]:
        """Lend a renderer for one turn at the device, loading it at the first use.

        Never nest two of these in one thread: the second waits for the first. In a "shared" turn the renderer is asked
        for one batch only: it may give the turn up while it decodes.

        Parameters
        ----------
        key : str
            Names the model with its settings; equal keys share a renderer.
        load : callable
            Makes the renderer; called at most once while it stays.
        weight_bytes : int
            What it counts against the budget.
        manner : Manner
            How the turn is taken, see `workers.device_turn`.

        Raises
        ------
        InvalidModel
            If it alone is over the budget.
        """
        with self._turn.taken(manner) as stay:
            try:
                yield self._take(key, load, weight_bytes)
            except OutOfMemory as error:
                error.had_company = stay.had_company
                raise

    @contextmanager
    def beside(self, key: str) -> Iterator[Renderer | None]:
        """Lend a renderer that is loaded for work beside another's turn; None when it is not."""
        with self._turn.beside():
            resident = self._residents.get(key)
            yield resident.renderer if resident else None

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Hold the device: meanwhile no model is loaded or renders.

        Whoever loads another model holds it too: libraries set torch's defaults for the whole process while they load.
        """
        with self._turn.taken("alone"):
            yield

    def keys(self) -> list[str]:
        """Return the keys of the loaded models, least recently used first."""
        return list(self._residents)

    def unload(self, keys: Collection[str]) -> None:
        """Close these renderers, those that are loaded, once the one at work is done."""
        with self._turn.taken("alone"):
            for key in self._residents.keys() & keys:
                self._residents.pop(key).renderer.close()

    def close(self) -> None:
        """Close every renderer once the one at work is done; the host stays usable."""
        with self._turn.taken("alone"):
            self._evict_all()

    def _take(self, key: str, load: Callable[[], Renderer], weight_bytes: int) -> Renderer:
        if key not in self._residents:
            # A model that has to leave may still be decoding, and libraries set torch's defaults while they load.
            self._turn.wait_until_alone()
            self._make_room(key, weight_bytes)
            self._residents[key] = _Resident(self._load(load), weight_bytes)
        self._residents.move_to_end(key)
        return self._residents[key].renderer

    def _load(self, load: Callable[[], Renderer]) -> Renderer:
        try:
            return load()
        except OutOfMemory:
            if not self._residents:
                raise
        self._evict_all()  # outside the handler, whose traceback still holds the half-loaded model
        return load()

    def _make_room(self, key: str, weight_bytes: int) -> None:
        if self.budget_bytes is None:
            return
        if weight_bytes > self.budget_bytes:
            raise InvalidModel(
                f"The model {key} has {weight_bytes / 1e9:.3f} GB of weights, but models may hold "
                f"{self.budget_bytes / 1e9:.3f} GB on this worker; raise the budget or use a smaller model or dtype."
            )
        while self._held_bytes() + weight_bytes > self.budget_bytes:
            self._evict_oldest()

    def _held_bytes(self) -> int:
        return sum(resident.weight_bytes for resident in self._residents.values())

    def _evict_all(self) -> None:
        while self._residents:
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        _, oldest = self._residents.popitem(last=False)
        oldest.renderer.close()


def device_budget_bytes() -> int:
    """Return how much memory warm models may take: the rest is for what they work on."""
    if gpu_count():
        import torch  # only where there is a GPU; the null engine does without it

        return int(torch.cuda.get_device_properties(0).total_memory * _SHARE_FOR_WEIGHTS)
    return int(psutil.virtual_memory().total * _SHARE_FOR_WEIGHTS)


_host: ModelHost | None = None
_host_lock = threading.Lock()


def model_host() -> ModelHost:
    """Return this process's host, made at the first call with most of the device's memory as its budget."""
    global _host
    with _host_lock:
        if _host is None:
            _host = ModelHost(device_budget_bytes(), device_turn())
        return _host


def loaded_keys() -> tuple[str, ...]:
    """Return the keys of this process's loaded models, without making its host."""
    return tuple(_host.keys()) if _host is not None else ()
