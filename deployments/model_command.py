"""`pressrun model`: what is done with a model once, for all runs that will use it."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.console import ExitCode, err, out
from deployments.live_progress import LiveProgress
from deployments.model_place import model_place
from pressrun.progress import listening

model = App(name="model", help="What is done with a model once, for all runs that will use it.")


@model.command
def publish(
    url: str, *, store: str | None = None, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> ExitCode:
    """Hash a model once, chunk by chunk, and write the hashes beside it as pressrun-chunks.json.

    Runs then know each chunk before they read it, fetch none that they hold already, of whatever model, and recognise
    one that was spoilt on its way from the bucket. The model's revision, and with it the ids of its pictures, stay as
    they are. Publish again after a file has changed: old hashes are passed over with a warning.

    Parameters
    ----------
    url : str
        Folder of a model or an embedder, or an adapter's safetensors file: a path or any fsspec URL that can be written
        to.
    store : str
        Name of a `ModelStore` block with credentials; the URL is then a path below the block's.
    as_json : bool
        Print what was published as JSON.
    """
    from pressrun.cache.publishing import publish as publish_hashes

    with LiveProgress(err) as progress, listening(progress):
        progress.say("hash", "listing the files")
        published = publish_hashes(model_place(url, store))
    if as_json:
        out.print_json(json.dumps(published.record()))
        return ExitCode.DONE
    manifest = published.manifest
    out.print(
        f"[bold green]published[/]: {len(manifest.files)} files in {len(manifest.chunks())} chunks, "
        f"{manifest.size_bytes / 1e6:.1f} MB, revision {manifest.revision[:12]}",
        highlight=False,
        soft_wrap=True,
    )
    out.print(Text(f"  {published.place}"), soft_wrap=True)
    return ExitCode.DONE
