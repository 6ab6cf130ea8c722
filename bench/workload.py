"""The prompt files that the benchmarks draw, the same for every system.

Knows nothing of who draws them. Every request carries its seed, so that all systems are asked for the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Size = tuple[int, int]  # width_px, height_px

_SIZES = ("small ", "big ", "")
_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
_SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond")
_GROUNDS = ("white", "black", "grey", "blue", "green", "yellow")
_PLACES = ("", ", left", ", right", ", top", ", bottom")


@dataclass(frozen=True, slots=True)
class Mix:
    """What a list of requests is made of.

    Parameters
    ----------
    requests : int
        Pictures asked for, repeats included.
    repeat_share : float
        Share of them that ask again for a picture asked for before, word for word and seed for seed; 0 .. 1.
    sizes : tuple of ((int, int), float)
        Picture sizes as (width_px, height_px), and the share of each.
    steps : int
        Denoising steps.
    guidance_scale : float
        Classifier-free guidance scale.
    """

    requests: int
    repeat_share: float = 0.0
    sizes: tuple[tuple[Size, float], ...] = (((64, 64), 1.0),)
    steps: int = 20
    guidance_scale: float = 5.0


def realistic(requests: int) -> Mix:
    """Return repeats and sizes as people ask for them: over a quarter asked for before, mostly one size."""
    sizes = (((64, 64), 0.7), ((96, 64), 0.12), ((64, 96), 0.1), ((96, 96), 0.08))
    return Mix(requests, repeat_share=0.28, sizes=sizes)


def plain(requests: int) -> Mix:
    """Return a mix that leaves nothing to plan: no repeats, one size."""
    return Mix(requests)


def draw_requests(mix: Mix, seed: int = 0) -> pa.Table:
    """Return the requests of a mix, in a random order that the seed fixes.

    Returns
    -------
    pyarrow.Table
        Columns id, prompt, seed, width, height, steps, guidance_scale; one row a request.
    """
    rng = np.random.default_rng(seed)
    distinct = mix.requests - round(mix.requests * mix.repeat_share)
    picks = np.concatenate([np.arange(distinct), rng.integers(0, distinct, mix.requests - distinct)])
    rng.shuffle(picks)
    sizes = _sizes(mix, distinct)
    return pa.table(
        {
            "id": [f"request-{number:07d}" for number in range(mix.requests)],
            "prompt": [_prompt(int(pick)) for pick in picks],
            "seed": pa.array(picks.astype(np.int64)),
            "width": [sizes[pick][0] for pick in picks],
            "height": [sizes[pick][1] for pick in picks],
            "steps": [mix.steps] * mix.requests,
            "guidance_scale": [mix.guidance_scale] * mix.requests,
        }
    )


def write_requests(mix: Mix, path: Path) -> Path:
    """Write the requests of a mix as a Parquet prompt file and return its path."""
    pq.write_table(draw_requests(mix), path)
    return path


def _sizes(mix: Mix, distinct: int) -> list[Size]:
    """Return the size of every distinct picture, in exact shares, in an order that does not follow the prompts."""
    ends = np.cumsum([share for _, share in mix.sizes])
    places = (np.arange(distinct) * 0.618034) % 1.0  # spreads every share evenly
    return [mix.sizes[int(np.searchsorted(ends, place * ends[-1], side="right"))][0] for place in places]


def _prompt(number: int) -> str:
    """Return one of 5,760 sentences, then the same ones again with a number."""
    words, rest = [], number
    for choices in (_COLOURS, _SHAPES, _GROUNDS, _PLACES, _SIZES):
        rest, at = divmod(rest, len(choices))
        words.append(choices[at])
    colour, shape, ground, place, size = words
    text = f"a {size}{colour} {shape} on a {ground} background{place}"
    return f"{text}, number {rest}" if rest else text
