"""The carried CLIP, asked for pictures in words, and how often it finds the right ones.

Knows nothing of how the pictures were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPTokenizer

from models.pool import to_tensor
from models.publish import SHAPES_CLIP
from models.train_clip import embed_pictures, embed_texts, tokens
from models.world import Scene


@dataclass(frozen=True, slots=True)
class Search:
    """A CLIP and its tokenizer."""

    clip: CLIPModel
    tokenizer: CLIPTokenizer

    @classmethod
    def load(cls, folder: Path = SHAPES_CLIP) -> Search:
        """Load the carried CLIP, or another one's folder."""
        return cls(CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder))

    def similarity(self, texts: list[str], pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Compare texts with uint8 (N, 64, 64, 3) pictures: float32 (texts, N) cosines."""
        with torch.inference_mode():
            text = embed_texts(self.clip, tokens(self.tokenizer, texts))
            return text @ embed_pictures(self.clip, to_tensor(pictures)).T

    def recall(self, captions: list[str], pictures: NDArray[np.uint8]) -> dict[str, Any]:
        """Tell how often a caption's own picture comes first, or among the first ten, of all pictures."""
        similar = self.similarity(captions, pictures)
        rank = (similar > similar.diagonal()[:, None]).sum(1)
        shares = {f"recall@{top}": float((rank < top).float().mean()) for top in (1, 10)}
        return {"among": len(captions), **shares}

    def precision(self, scenes: list[Scene], pictures: NDArray[np.uint8], top: int = 5) -> float:
        """Tell the share of right pictures among the first few for "a <colour> <shape>".

        Parameters
        ----------
        scenes : list of Scene
            What the pictures show.
        pictures : numpy.ndarray
            uint8 (N, 64, 64, 3).
        top : int
            How many of the first count; pairs of colour and shape with fewer pictures than that are not asked for.

        Returns
        -------
        float
            In [0, 1].
        """
        pairs = [(scene.colour, scene.shape) for scene in scenes]
        asked = [pair for pair in sorted(set(pairs)) if pairs.count(pair) >= top]
        similar = self.similarity([f"a {colour} {shape}" for colour, shape in asked], pictures)
        best = similar.topk(top, dim=1).indices.tolist()
        return float(np.mean([[pairs[i] == pair for i in row] for pair, row in zip(asked, best, strict=True)]))
