"""One picture asked for: its fields, their Arrow schema, and the id that names it.

Knows nothing of where requests come from, how they are grouped, or what renders them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# Everything that decides the pixels, in the order in which it is hashed. Never reorder: ids would change.
PIXEL_FIELDS = (
    "prompt",
    "negative_prompt",
    "seed",
    "width_px",
    "height_px",
    "steps",
    "guidance_scale",
    "scheduler",
    "adapters",
)

REQUEST_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # data row in the prompt file, from 1
        pa.field("image_number", pa.int32(), nullable=False),  # 0 .. images_per_prompt-1
        pa.field("user_id", pa.string()),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("negative_prompt", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),  # 0 .. 2**63-1
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("steps", pa.int32(), nullable=False),
        pa.field("guidance_scale", pa.float64(), nullable=False),
        pa.field("scheduler", pa.string(), nullable=False),  # "default": the model's own
        pa.field("adapters", pa.string(), nullable=False),  # "" or "name:scale,name:scale"
        pa.field("extra", pa.string(), nullable=False),  # JSON object of the file's other columns, keys sorted
    ]
)

# Requests of a job with several models, while they are planned and drawn; a picture's row says it as `model_name`.
MODELS_SCHEMA = REQUEST_SCHEMA.append(pa.field("model", pa.string(), nullable=False))

SCHEDULERS = (
    "default",
    "ddim",
    "ddpm",
    "dpmpp-2m",
    "dpmpp-2m-karras",
    "dpmpp-sde",
    "euler",
    "euler-ancestral",
    "flow-euler",
    "flow-heun",
    "heun",
    "lcm",
    "pndm",
    "tcd",
    "unipc",
)


@dataclass(frozen=True, slots=True)
class RequestDefaults:
    """What a row that leaves a field out gets.

    Parameters
    ----------
    negative_prompt : str
        Text to steer away from.
    seed : int or None
        None derives one seed a prompt from its text; a number is used as it is, plus the image number. 0 .. 2**63-1.
    width_px, height_px : int or None
        None takes the model's native size.
    steps : int
        Denoising steps, 1 .. 1000.
    guidance_scale : float
        Classifier-free guidance scale, 0 .. 100; 1 or less turns guidance off on most models.
    scheduler : str
        One of `SCHEDULERS`.
    adapters : str
        "" or "name:scale,...".
    images_per_prompt : int
        Pictures a row, each with its own seed, 1 .. 10000.
    """

    negative_prompt: str = ""
    seed: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = "default"
    adapters: str = ""
    images_per_prompt: int = 1


def image_id(pixel_fields: tuple[object, ...], model_revision: str) -> str:
    """Return the id of a picture: the same request on the same weights has the same id, in any run.

    Parameters
    ----------
    pixel_fields : tuple
        Values of `PIXEL_FIELDS`, in that order; floats as floats, whole numbers as ints.
    model_revision : str
        Digest of the model's files.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b, 128 bits).
    """
    digest = hashlib.blake2b(digest_size=16)
    for value in (*pixel_fields, model_revision):
        text = repr(value).encode() if not isinstance(value, str) else value.encode()
        digest.update(b"%d:" % len(text))  # the length keeps neighbours from running into one another
        digest.update(text)
    return digest.hexdigest()


def derived_seed(prompt: str, image_number: int) -> int:
    """Return the seed of a row that names none: fixed by its text, different from its neighbours'.

    Parameters
    ----------
    prompt : str
        The prompt.
    image_number : int
        0 .. images_per_prompt-1.

    Returns
    -------
    int
        0 .. 2**32-1.
    """
    digest = hashlib.blake2b(f"{image_number}:{prompt}".encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "big")


def first_of_each(rows: pa.Table) -> pa.Table:
    """Return the rows with every image kept at its first appearance only, in the order they stand."""
    ids = rows.column("image_id")
    if pc.count_distinct(ids).as_py() == rows.num_rows:
        return rows
    numbered = pa.table({"image_id": ids, "position": pa.array(range(rows.num_rows), pa.int64())})
    firsts = numbered.group_by("image_id").aggregate([("position", "min")]).column("position_min")
    return rows.take(firsts.take(pc.sort_indices(firsts)))
