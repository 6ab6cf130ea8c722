"""How fast pictures come out, beside what people would use instead: `python -m bench.throughput --json found.json`.

Sections: `mix` (the carried model on a realistic list), `plain` (the same without repeats and with one size), `photos`
(a device of 25 ms a picture and large files), `busy` (how much the denoiser works), `batch` (the batch size chosen).

Rivals: the plain diffusers loop, a loop over batches, and Ray Data. Ray comes by `pip install 'ray[data]'`, or with the
extra `bench`; where it is absent its rows are left out, which the output says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from bench.batch_choice import compare_batch_choice
from bench.busy_share import show_busy_share
from bench.carried_mix import compare
from bench.findings import Findings
from bench.photo_device import compare_saving
from bench.workload import plain, realistic

Section = Literal["mix", "plain", "photos", "busy", "batch"]
_ALL: tuple[Section, ...] = ("mix", "plain", "photos", "busy", "batch")
app = App(name="bench.throughput", help=__doc__)


@app.default
def throughput(
    *,
    sections: Annotated[tuple[Section, ...], Parameter(consume_multiple=True)] = _ALL,
    requests: int = 400,
    repeats: int = 1,
    quick: Annotated[bool, Parameter(negative="")] = False,
    json: Path | None = None,
    scratch: Path | None = None,
) -> None:
    """Measure and show.

    Parameters
    ----------
    sections : tuple of str
        What to measure.
    requests : int
        Pictures asked for in the sections `mix`, `plain` and `photos`.
    repeats : int
        Turns of every system; medians are shown.
    quick : bool
        A small run that only shows that everything works.
    json : Path
        File for the figures.
    scratch : Path
        Folder for what is drawn, kept; a temporary one when left out.
    """
    findings = Findings(path=json)
    requests, repeats = (8, 1) if quick else (requests, repeats)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as temporary:
        place = (scratch or Path(temporary)).absolute()
        if "mix" in sections:
            compare(findings, f"{requests} requests, repeats and sizes", realistic(requests), place / "mix", repeats)
        if "plain" in sections:
            compare(findings, f"{requests} requests, all different", plain(requests), place / "plain", repeats)
        if "photos" in sections:
            compare_saving(findings, requests, place / "photos", repeats)
        if "busy" in sections:
            show_busy_share(findings, requests, place / "busy")
        if "batch" in sections:
            compare_batch_choice(findings, place / "batch", (64, 64), 2 if quick else 20, 1 if quick else 3)


if __name__ == "__main__":
    app()
