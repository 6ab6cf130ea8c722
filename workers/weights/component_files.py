"""Which files a pipeline's component is loaded from, found as the files arrive.

Knows nothing of tensors or models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Asked for a file or a folder of the model, by its final place: returns where it lies once it is whole. Raises
# FileNotFoundError when the model has none there.
Await = Callable[[Path], Path]

_STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}


def already_here(path: Path) -> Path:
    """Return the path as it is: `Await` for a model that lies on this host in full.

    Raises
    ------
    FileNotFoundError
        When nothing is there.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no object")
    return found


def weight_files(folder: Path, library: str, variant: str | None, await_file: Await) -> list[Path]:
    """Return where a component's weight files lie, in the order its library looks for them.

    Parameters
    ----------
    folder : Path
        The component's folder.
    library : str
        "diffusers" or "transformers".
    variant : str or None
        Weight variant; a component without it has its plain weights taken.
    await_file : Await
        Asked for each file.

    Returns
    -------
    list of Path
        Whole files; empty when there are none under names that both libraries agree on.
    """
    for chosen in dict.fromkeys((variant, None)):
        names = _names(_STEMS[library], chosen)
        for name in names if library == "transformers" else reversed(names):
            try:
                found = await_file(folder / name)
            except FileNotFoundError:
                continue
            return _shards(folder, found, await_file) if ".index." in name else [found]
    return []


def _names(stem: str, variant: str | None) -> list[str]:
    kind = f".{variant}" if variant else ""
    return [f"{stem}{kind}.safetensors", f"{stem}.safetensors.index{kind}.json"]


def _shards(folder: Path, index: Path, await_file: Await) -> list[Path]:
    names = sorted(set(read_json(index)["weight_map"].values()))
    if any(Path(name).name != name for name in names):
        raise ValueError(f"{index.name} names a file outside of its folder")
    return [await_file(folder / name) for name in names]


__all__ = ["Await", "already_here", "read_json", "weight_files"]
