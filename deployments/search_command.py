"""`pressrun search`: pictures of a collection by meaning."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from deployments.console import ExitCode, err, out
from pressrun import manifest
from pressrun.carried import CARRIED, embedder_folder
from pressrun.collection import read_identity
from pressrun.errors import InvalidCollection, InvalidQuery
from pressrun.location import Location
from pressrun.models.embedder_folder import read_embedder
from pressrun.picture_place import address
from pressrun.storage import Store

if TYPE_CHECKING:  # these bring faiss and torch, which `pressrun --help` need not wait for
    from pressrun.index.search import Hit
    from workers.embedder import Embedder

_CACHE_FOLDER = Path("~/.cache/pressrun/models")
_SHOWN = [
    "path",
    "prompt",
    "negative_prompt",
    "seed",
    "width_px",
    "height_px",
    "steps",
    "guidance_scale",
    "user_id",
    "extra",
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What to look for, and among what.

    Parameters
    ----------
    image : Path
        A picture to find others like it, instead of words.
    k : int
        Pictures wanted.
    where : sequence of str
        What every hit must fulfil, as "width_px=64", "prompt~star", "seed>=10" or "extra.campaign=summer"; may be given
        several times.
    embedder : str
        The CLIP or SigLIP folder that the collection was made with; "carried" is the one that comes with Pressrun.
    """

    image: Path | None = None
    k: Annotated[int, Parameter(alias="-k")] = 10
    where: Annotated[tuple[str, ...], Parameter(alias="-w", negative="")] = ()
    embedder: str = CARRIED


_PLAIN = SearchOptions()


def search(
    collection: str,
    query: str | None = None,
    options: SearchOptions = _PLAIN,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> ExitCode:
    """Find pictures by meaning: `pressrun search out "a blue star"`.

    Parameters
    ----------
    collection : str
        Folder or URL of a collection.
    query : str
        What to look for, in words.
    options : SearchOptions
        What to look for, and among what.
    as_json : bool
        Print the hits as JSON.
    """
    if (query is None) == (options.image is None):
        raise InvalidQuery("Give either words or --image FILE to search for: one of the two.")
    store = Store(Location(collection))
    hits = _find(store, query, options)
    if as_json:
        sys.stdout.write(json.dumps([asdict(hit) for hit in hits], indent=2, ensure_ascii=False, default=str) + "\n")
    else:
        _show(store, hits)
    return ExitCode.DONE


def _find(store: Store, query: str | None, options: SearchOptions) -> list[Hit]:
    from pressrun.index.generations import load_index
    from pressrun.index.query import parse_condition
    from pressrun.index.search import search as nearest

    identity = read_identity(store)
    conditions = [parse_condition(text, manifest.manifest_schema(identity.embedding_size)) for text in options.where]
    index, _ = load_index(store)
    embedder = Location(embedder_folder(options.embedder))
    facts = read_embedder(embedder)
    if facts.revision != identity.embedder:
        raise InvalidCollection(
            f"{store.location} was embedded by {identity.embedder[:12]}, {embedder} is {facts.revision[:12]}; "
            "give the embedder that the collection was made with."
        )
    columns = list(dict.fromkeys([*_SHOWN, *(condition.column for condition in conditions)]))
    rows = manifest.read_rows(store, ["image_id", *columns])
    return nearest(index, rows, _vector(_load(embedder), query, options.image), options.k, conditions)


def _load(location: Location) -> Embedder:
    from workers.embedder import Embedder
    from workers.model_cache import ensure_local

    return Embedder(ensure_local(location, read_embedder(location), _CACHE_FOLDER.expanduser()).path)


def _vector(embedder: Embedder, query: str | None, image: Path | None) -> npt.NDArray[np.float32]:
    if image is None:
        return np.asarray(embedder.embed_texts([query or ""])[0])
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(image) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InvalidQuery(f"{image} cannot be read as a picture: {error}.") from error
    return np.asarray(embedder.embed_images(pixels[None])[0])  # (1, H, W, 3) uint8


def _show(store: Store, hits: Sequence[Hit]) -> None:
    if not hits:
        err.print("no picture fulfils the conditions")
    if not out.is_terminal:  # for another program: one hit a line, nothing folded
        lines = (f"{hit.score:.3f}\t{address(store, hit.path)}\t{' '.join(hit.prompt.split())}\n" for hit in hits)
        sys.stdout.writelines(lines)
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name, justify in (("#", "right"), ("score", "right"), ("prompt", "left"), ("image", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for number, hit in enumerate(hits, 1):
        table.add_row(str(number), f"{hit.score:.3f}", Text(hit.prompt), Text(address(store, hit.path)))
    out.print(table)
