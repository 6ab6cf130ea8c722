"""The engine seam: what turns a batch into pictures.

Knows nothing of models' whereabouts, of publishing, or of Dask.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pressrun.batch import Batch

Pixels = npt.NDArray[np.uint8]


class OutOfMemory(Exception):
    """The device had too little memory for a batch of this size; a smaller one may fit.

    Attributes
    ----------
    had_company : bool
        Whether another batch took some of the memory meanwhile.
    """

    had_company = False


@runtime_checkable
class ReadsAhead(Protocol):
    """A renderer that can prepare a batch while another one is being drawn."""

    def read_ahead(self, batch: Batch) -> None:
        """Do what of a batch's work disturbs no other batch, and keep it for `render`."""
        ...


class Renderer(Protocol):
    """Anything that renders a batch of requests."""

    def render(self, batch: Batch) -> Pixels:
        """Return the batch's pictures, in order.

        Parameters
        ----------
        batch : Batch
            1 .. `batch.size` requests of one bucket. Engines whose pictures depend on the batch size pad to it.

        Returns
        -------
        numpy.ndarray
            (len(batch), height_px, width_px, 3) uint8.

        Raises
        ------
        OutOfMemory
            When the device cannot hold the batch.
        """
        ...

    def provenance(self) -> dict[str, str | int]:
        """Return what a picture's bits depend on besides its request: engine, versions, dtype, device, threads."""
        ...

    def close(self) -> None:
        """Free the device memory; the renderer is not used afterwards."""
        ...
