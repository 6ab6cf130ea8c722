"""What the rivals share: settings in, result out, pictures saved, embedded and listed.

Knows nothing of how pictures come about. Plain code, as anybody would write it.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Settings = dict[str, Any]


def main(run: Callable[[Settings], dict[str, Any]]) -> None:
    """Run a rival: the first argument names its settings' file, the second the file for its result."""
    settings_file, result_file = map(Path, sys.argv[1:3])
    result = run(json.loads(settings_file.read_text()))
    result_file.write_text(json.dumps(result))


def load_pipeline(settings: Settings) -> Any:
    """Return the diffusers pipeline, loaded in the settings' dtype."""
    import diffusers
    import torch

    if settings.get("threads"):
        torch.set_num_threads(settings["threads"])
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[settings["dtype"]]
    pipeline = diffusers.DiffusionPipeline.from_pretrained(settings["model"], dtype=dtype, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, rows: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """Return the pictures of requests of one size, drawn in one call."""
    import torch

    first = rows[0]
    images: list[Image.Image] = pipeline(
        [row["prompt"] for row in rows],
        width=first["width"],
        height=first["height"],
        num_inference_steps=first["steps"],
        guidance_scale=first["guidance_scale"],
        generator=[torch.Generator("cpu").manual_seed(row["seed"]) for row in rows],
    ).images
    return images


def group_by_size(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows with each size by itself, in the order in which the sizes appear."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["width"], row["height"]), []).append(row)
    return list(groups.values())


class Clip:
    """The CLIP that the repository carries, by transformers.

    Parameters
    ----------
    folder : str
        Its folder.
    """

    def __init__(self, folder: str) -> None:
        from transformers import AutoModel, AutoProcessor

        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")

    def embed(self, images: Sequence[Image.Image]) -> npt.NDArray[np.float16]:
        """Return the pictures' embeddings as (N, D), L2-normalised."""
        import torch

        with torch.inference_mode():
            found = self._model.get_image_features(**self._processor(images=list(images), return_tensors="pt"))
        rows = found if isinstance(found, torch.Tensor) else found["pooler_output"]
        return np.asarray(torch.nn.functional.normalize(rows, dim=-1).numpy().astype(np.float16))


class Shelf:
    """A folder of pictures and the list of what is in it.

    Parameters
    ----------
    folder : str
        Where pictures go.
    png_level : int or None
        Compression 0 .. 9; None leaves it to Pillow.
    """

    def __init__(self, folder: str, png_level: int | None) -> None:
        self._folder = Path(folder)
        (self._folder / "images").mkdir(parents=True, exist_ok=True)
        self._options: dict[str, Any] = {} if png_level is None else {"compress_level": png_level}
        self._rows: list[dict[str, Any]] = []

    def put(self, row: dict[str, Any], image: Image.Image, embedding: Any = None) -> dict[str, Any]:
        """Save one picture, and return its row."""
        path = self._folder / "images" / f"{row['id']}.png"
        image.save(path, **self._options)
        listed = row | {"path": str(path)} | ({} if embedding is None else {"embedding": embedding})
        self._rows.append(listed)
        return listed

    def write_manifest(self) -> None:
        """Write the list of pictures."""
        pq.write_table(pa.Table.from_pylist(self._rows), self._folder / "manifest.parquet")


def null_picture(number: int, side_px: int) -> bytes:
    """Return the PNG of a picture that costs next to nothing to draw."""
    from workers.engines.null_renderer import _draw

    buffer = io.BytesIO()
    Image.fromarray(_draw(number, side_px, side_px)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_rows(settings: Settings) -> list[dict[str, Any]]:
    """Return the requests of the settings' prompt file, or its first ones where a `portion` is named."""
    table = pq.read_table(settings["prompts"])
    rows: list[dict[str, Any]] = table.slice(0, round(table.num_rows * settings.get("portion", 1.0))).to_pylist()
    return rows


def clock() -> float:
    """Return seconds since the epoch, the same in all processes."""
    return time.time()
