"""The embedder: a CLIP or SigLIP folder that places pictures and texts in one space.

Knows nothing of where the folder came from, of Dask, or of what is done with the embeddings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging as library_logging

from pressrun.errors import InvalidModel
from workers.engines.renderer import Pixels
from workers.weights.components import LoadOptions, load_model

Embeddings = npt.NDArray[np.float32]

_AT_ONCE = 64  # bounds the memory of one forward pass whatever the caller's batch
# SigLIP's text tower has no attention mask and was trained on texts padded to full length.
_PADDED_TO_FULL_LENGTH = ("siglip", "siglip2")


class Embedder:
    """A loaded model that embeds pictures and texts; safe to share between threads.

    Parameters
    ----------
    folder : Path
        A transformers folder of a CLIP, SigLIP or SigLIP 2 model: config, safetensors weights, processor, tokenizer.
    device : str
        A torch device, or "auto" for the first CUDA device if there is one, else the CPU.

    Attributes
    ----------
    dimension : int
        Length D of every embedding.

    Raises
    ------
    InvalidModel
        When the folder lacks something, holds no safetensors weights, or is not a model of pictures and texts.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self._lock = threading.Lock()  # tokenizers refuse to be used from two threads at once
        self._device = torch.device(_resolved(device))
        self._model, self._processor = _load(folder)
        self._model.eval().requires_grad_(False).to(self._device)
        text = self._model.config.text_config
        self._most_tokens = int(text.max_position_embeddings)
        full = self._model.config.model_type in _PADDED_TO_FULL_LENGTH
        self._padding: str | bool = "max_length" if full else True
        self.dimension = int(self.embed_texts([""]).shape[1])

    def embed_images(self, pixels: Pixels) -> Embeddings:
        """Return the embeddings of pictures.

        Parameters
        ----------
        pixels : numpy.ndarray
            (N, H, W, 3) uint8.

        Returns
        -------
        numpy.ndarray
            (N, D) float32, L2-normalised, in order.
        """
        return self._in_slices(pixels, self._embed_image_slice)

    def embed_texts(self, texts: list[str]) -> Embeddings:
        """Return the embeddings of texts as (N, D) float32, L2-normalised; what the model cannot hold is cut off."""
        return self._in_slices(texts, self._embed_text_slice)

    def _in_slices(self, items: Any, embed: Callable[[Any], Embeddings]) -> Embeddings:
        if len(items) == 0:
            return np.empty((0, self.dimension), np.float32)
        with self._lock, torch.inference_mode():
            slices = [embed(items[at : at + _AT_ONCE]) for at in range(0, len(items), _AT_ONCE)]
        return np.concatenate(slices)

    def _embed_image_slice(self, pixels: Pixels) -> Embeddings:
        inputs = self._processor(images=list(pixels), input_data_format="channels_last", return_tensors="pt")
        return _unit_rows(self._model.get_image_features(**inputs.to(self._device)))

    def _embed_text_slice(self, texts: list[str]) -> Embeddings:
        inputs = self._processor(
            text=texts,
            padding=self._padding,
            truncation=True,
            max_length=self._most_tokens,
            return_tensors="pt",
        )
        return _unit_rows(self._model.get_text_features(**inputs.to(self._device)))


def _resolved(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _load(folder: Path) -> tuple[Any, Any]:
    """Return the model and its processor, from local files only; pickled weights are refused."""
    if not (folder / "config.json").is_file():
        raise InvalidModel(f"Embedder {folder} has no config.json; give the folder of a CLIP or SigLIP model.")
    options = {"local_files_only": True, "trust_remote_code": False}
    library_logging.disable_progress_bar()
    try:
        model: Any = load_model(folder, LoadOptions(torch.float32))
        if not _embeds(model):  # a name in the config that says less than its library knows, or something else
            model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        # Pillow resizes the same everywhere; torchvision, where it happens to be installed, does not.
        processor = AutoProcessor.from_pretrained(folder, backend="pil", **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InvalidModel(f"Embedder {folder} does not load: {error}") from error
    if not _embeds(model):
        kind = model.config.model_type
        raise InvalidModel(
            f"Embedder {folder} is a {kind!r} model, which does not embed pictures and texts in one space; "
            "give a CLIP, SigLIP or SigLIP 2 folder."
        )
    return model, processor


def _embeds(model: object) -> bool:
    return hasattr(model, "get_image_features") and hasattr(model, "get_text_features")


def _unit_rows(features: torch.Tensor | Mapping[str, torch.Tensor]) -> Embeddings:
    """Return features as (N, D) float32 rows of length 1; newer transformers wrap them in an output object."""
    rows = features if isinstance(features, torch.Tensor) else features["pooler_output"]
    unit: Embeddings = F.normalize(rows.float(), dim=-1).cpu().numpy()
    return unit
